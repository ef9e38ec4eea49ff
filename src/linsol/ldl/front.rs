//! Partial LDL' of one dense front with threshold pivoting.
//!
//! ```text
//!     F = [ A  B' ]  p rows and columns that may be eliminated,      P A P' = L D L',  D of 1 x 1 and 2 x 2 blocks
//!         [ B  C  ]  the others, r of them
//! ```
//!
//! A pivot is taken if no entry of L exceeds 1/u (Duff and Reid 1983; Duff 2004, MA57): |d| >= u max |column|, or for a
//! block D of columns j and t |D^-1| (max |column j|, max |column t|)' <= 1/u, the maxima without the block. Columns
//! without a pivot stay behind, for the parent's front. Columns are brought up to date when they are looked at; the rest
//! of the front is updated once a panel.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::observe::StopToken;

/// Pivots of a panel, in fronts of at least LARGE rows and in others: wide panels suit the update, narrow ones the search.
const WIDE: usize = 64;
const NARROW: usize = 32;
const LARGE: usize = 1000;
/// Updates of at least so many multiplications are faer's.
const LARGE_UPDATE: usize = 20_000;

/// Updates of at least so many multiplications are shared out among threads, in strips of so many columns: the same strips for any number
/// of threads, so that the result is the same.
const PARALLEL_UPDATE: usize = 8_000_000;
const STRIP: usize = 128;

/// Columns from this length are summed four at once.
const LONG: usize = 32;

/// Rounds over the columns of a front that has a parent.
const ROUNDS: u32 = 3;
/// Below this u every column has a pivot.
const SMALLEST_THRESHOLD: f64 = 1e-30;

/// D: the diagonal entry of each pivot and the entry below it, not 0 in the first column of a 2 x 2 block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pivot {
    pub diagonal: f64,
    pub below: f64,
}

/// Pivots must not be smaller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thresholds {
    /// u.
    pub relative: f64,
    /// Smaller eigenvalues of D count as zero.
    pub zero: f64,
}

/// Storage that fronts share.
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    /// L D of the panel, columns of length s.
    panel: Vec<f64>,
    column: Vec<f64>,
    other: Vec<f64>,
    /// Large updates are shared out among the threads of the current pool.
    pub parallel: bool,
    /// The largest entry of L since this was set to 0: rounding errors grow with it.
    pub largest_l: f64,
}

/// A front in elimination: lower triangle of s x s, column by column.
struct Front<'a> {
    f: &'a mut [f64],
    s: usize,
    p: usize,
    index: &'a mut [u32],
    /// Pivots done, and those done before this panel.
    k: usize,
    k0: usize,
    panel: &'a mut [f64],
}

/// The largest entries of a column, by magnitude.
#[derive(Clone, Copy)]
struct Largest {
    /// Among the rows that may be eliminated; its row.
    inner: f64,
    row: usize,
    /// Among all.
    any: f64,
}

enum Choice {
    One,
    /// With this row.
    Two(usize),
    /// The other one.
    Other(usize),
    Zero,
    None,
}

/// Eliminates what it can of the first p columns (`all`: every one, with larger entries of L where need be) and appends D; returns the number of pivots, or None if stopped.
/// Afterwards the columns of the pivots hold L (without its diagonal), the rest the front of what is left; `index`, of
/// length s, is permuted with the rows.
#[inline(always)]
pub(super) fn eliminate(
    f: &mut [f64],
    p: usize,
    index: &mut [u32],
    limits: Thresholds,
    all: bool,
    (work, pivots): (&mut Work, &mut Vec<Pivot>),
    stop: &StopToken,
) -> Option<usize> {
    let s = index.len();
    let Work { panel, column, other, parallel, largest_l } = work;
    let parallel = *parallel;
    let width = if s >= LARGE { WIDE } else { NARROW };
    if panel.len() < width * s {
        panel.resize(width * s, 0.0);
    }
    if column.len() < s {
        column.resize(s, 0.0);
        other.resize(s, 0.0);
    }
    let mut front = Front { f, s, p, index, k: 0, k0: 0, panel };
    // Columns k..end are candidates, end..p were refused since this round began.
    let (mut end, mut progress, mut limits, mut rounds) = (p, false, limits, 0);
    loop {
        if front.k == end {
            rounds += 1;
            if end == p || !(all || progress && rounds < ROUNDS) {
                break;
            }
            if !progress {
                limits.relative *= 0.1;
            }
            (end, progress) = (p, false);
        }
        if front.k - front.k0 + 2 > width {
            front.update(parallel);
            if s > 256 && stop.check().is_some() {
                return None;
            }
        }
        let j = front.k;
        let (choice, size_l) = front.choose(j, limits, column, other);
        let choice = match choice {
            // Only numbers that are not finite have no pivot at any threshold.
            Choice::None if limits.relative < SMALLEST_THRESHOLD => Choice::Zero,
            choice => choice,
        };
        *largest_l = largest_l.max(size_l);
        match choice {
            Choice::One => front.one(j, column, pivots),
            Choice::Two(t) => front.two(j, t, column, other, pivots),
            Choice::Other(t) => front.one(t, other, pivots),
            Choice::Zero => {
                column[j..s].fill(0.0);
                column[j] = 0.5 * limits.zero;
                front.one(j, column, pivots);
            }
            Choice::None => {
                end -= 1;
                front.swap(j, end);
                continue;
            }
        }
        // A partner may have been one of the refused.
        (end, progress) = (end.max(front.k), true);
    }
    front.update(parallel);
    Some(front.k)
}

impl Front<'_> {
    /// out[k..s] <- column j of what is left, with the updates of this panel.
    #[inline(always)]
    fn fetch(&self, j: usize, out: &mut [f64]) {
        let (k, s) = (self.k, self.s);
        for (i, o) in out[k..j].iter_mut().enumerate() {
            *o = self.f[(k + i) * s + j];
        }
        out[j..s].copy_from_slice(&self.f[j * s + j..(j + 1) * s]);
        let width = k - self.k0;
        let w = |c: usize| self.panel[c * s + j];
        subtract(width, w, &self.f[self.k0 * s..k * s], k, &mut out[k..s], s);
    }

    #[inline(always)]
    fn largest(&self, column: &[f64], skip: usize) -> Largest {
        let mut l = Largest { inner: 0.0, row: skip, any: 0.0 };
        for (i, v) in column[self.k..self.p].iter().enumerate() {
            let i = self.k + i;
            if v.abs() > l.inner && i != skip {
                (l.inner, l.row) = (v.abs(), i);
            }
        }
        l.any = self.largest_below(column).max(l.inner);
        l
    }

    /// Largest magnitude but for rows j and t.
    #[inline(always)]
    fn largest_without(&self, column: &[f64], j: usize, t: usize) -> f64 {
        let rows = column[self.k..self.p].iter().enumerate();
        let others = rows.filter(|(i, _)| self.k + i != j && self.k + i != t);
        let inner = others.fold(0.0f64, |a, (_, v)| a.max(v.abs()));
        inner.max(self.largest_below(column))
    }

    /// Largest magnitude among the rows that stay.
    #[inline(always)]
    fn largest_below(&self, column: &[f64]) -> f64 {
        let mut most = [0.0f64; 4];
        let rest = column[self.p..self.s].chunks_exact(4);
        let tail = rest.remainder().iter().fold(0.0f64, |a, v| a.max(v.abs()));
        for v in rest {
            for (m, v) in most.iter_mut().zip(v) {
                *m = if v.abs() > *m { v.abs() } else { *m };
            }
        }
        most.iter().fold(tail, |a, m| a.max(*m))
    }

    /// What to eliminate, looking at column j, and about the largest entry of L that comes of it; `column` and `other` receive the
    /// columns concerned.
    #[inline(always)]
    fn choose(&self, j: usize, limits: Thresholds, column: &mut [f64], other: &mut [f64]) -> (Choice, f64) {
        let Thresholds { relative: u, zero } = limits;
        self.fetch(j, column);
        let d = column[j];
        let l = self.largest(column, j);
        if !(d.is_finite() && l.any.is_finite()) {
            return (Choice::Zero, 0.0);
        }
        if d.abs() > zero && d.abs() >= u * l.any {
            return (Choice::One, l.any / d.abs());
        }
        if d.abs() <= zero && l.any <= zero {
            return (Choice::Zero, 0.0);
        }
        if l.inner == 0.0 {
            return (Choice::None, 0.0);
        }
        let t = l.row;
        self.fetch(t, other);
        let (e, b) = (other[t], column[t]);
        // Maxima of both columns without the block.
        let (gj, gt) = (self.largest_without(column, j, t), self.largest_without(other, j, t));
        let determinant = d * e - b * b;
        let size = d.abs().max(e.abs()).max(b.abs());
        let bound = determinant.abs() / u;
        let (of_j, of_t) = (e.abs() * gj + b.abs() * gt, d.abs() * gt + b.abs() * gj);
        if determinant.abs() > zero * size && of_j <= bound && of_t <= bound {
            return (Choice::Two(t), of_j.max(of_t) / determinant.abs());
        }
        let most = gt.max(b.abs());
        if e.abs() > zero && e.abs() >= u * most {
            (Choice::Other(t), most / e.abs())
        } else {
            (Choice::None, 0.0)
        }
    }

    /// Exchanges rows and columns a and b of what is left, with the rows of L and of the panel.
    #[inline(always)]
    fn swap(&mut self, a: usize, b: usize) {
        if a == b {
            return;
        }
        let (a, b, s) = (a.min(b), a.max(b), self.s);
        self.index.swap(a, b);
        for c in 0..a {
            self.f.swap(c * s + a, c * s + b);
        }
        for c in 0..self.k - self.k0 {
            self.panel.swap(c * s + a, c * s + b);
        }
        self.f.swap(a * s + a, b * s + b);
        for c in a + 1..b {
            self.f.swap(a * s + c, c * s + b);
        }
        let (left, right) = self.f.split_at_mut(b * s);
        left[a * s + b + 1..(a + 1) * s].swap_with_slice(&mut right[b + 1..s]);
    }

    /// Eliminates column j, whose up-to-date values are in `column`.
    #[inline(always)]
    fn one(&mut self, j: usize, column: &mut [f64], pivots: &mut Vec<Pivot>) {
        let (k, s) = (self.k, self.s);
        self.swap(k, j);
        column.swap(k, j);
        let d = column[k];
        let inverse = 1.0 / d;
        let w = &mut self.panel[(k - self.k0) * s..][..s];
        let l = &mut self.f[k * s..(k + 1) * s];
        let (l4, w4, v4) = (&mut l[k + 1..], &mut w[k + 1..], &column[k + 1..s]);
        let whole = v4.len() & !3;
        let blocks = l4.chunks_exact_mut(4).zip(w4.chunks_exact_mut(4)).zip(v4.chunks_exact(4));
        for ((l, w), v) in blocks {
            for i in 0..4 {
                w[i] = v[i];
                l[i] = v[i] * inverse;
            }
        }
        for i in whole..v4.len() {
            w4[i] = v4[i];
            l4[i] = v4[i] * inverse;
        }
        l[k] = d;
        pivots.push(Pivot { diagonal: d, below: 0.0 });
        self.k += 1;
    }

    /// Eliminates columns j and t together.
    #[inline(always)]
    fn two(&mut self, j: usize, t: usize, column: &mut [f64], other: &mut [f64], pivots: &mut Vec<Pivot>) {
        let (k, s) = (self.k, self.s);
        let mut bring = |from: usize, to: usize| {
            self.swap(to, from);
            column.swap(to, from);
            other.swap(to, from);
        };
        bring(j, k);
        bring(if t == k { j } else { t }, k + 1);
        let (d, b, e) = (column[k], column[k + 1], other[k + 1]);
        // D^-1 without overflow: scaled by b, which is not small in a 2 x 2 pivot.
        let (db, eb) = (d / b, e / b);
        let scale = 1.0 / (b * (db * eb - 1.0));
        let at = (k - self.k0) * s;
        let (w1, w2) = self.panel[at..at + 2 * s].split_at_mut(s);
        let (l1, l2) = self.f[k * s..(k + 2) * s].split_at_mut(s);
        for i in k + 2..s {
            let (v, w) = (column[i], other[i]);
            (w1[i], w2[i]) = (v, w);
            l1[i] = scale * (eb * v - w);
            l2[i] = scale * (db * w - v);
        }
        (l1[k], l1[k + 1], l2[k + 1]) = (d, 0.0, e);
        // Row k + 1 of the panel's first column multiplies nothing that is left.
        pivots.push(Pivot { diagonal: d, below: b });
        pivots.push(Pivot { diagonal: e, below: 0.0 });
        self.k += 2;
    }

    /// Applies the panel to what is left: F <- F - L (L D)'.
    #[inline(always)]
    fn update(&mut self, parallel: bool) {
        let (k, k0, s) = (self.k, self.k0, self.s);
        let (width, rest) = (k - k0, s - k);
        self.k0 = k;
        if width == 0 || rest == 0 {
            return;
        }
        let (done, left) = self.f.split_at_mut(k * s);
        let l = &done[k0 * s..];
        if width * rest * rest < LARGE_UPDATE {
            for (j, column) in left.chunks_exact_mut(s).enumerate() {
                let j = k + j;
                let w = |c: usize| self.panel[c * s + j];
                subtract(width, w, l, j, &mut column[j..], s);
            }
            return;
        }
        let (l, w) = (&l[k..], &self.panel[k..]);
        if width * rest * rest < PARALLEL_UPDATE {
            update_strip(&mut left[k..], l, w, (rest, rest, width), s);
            return;
        }
        let strip = |(c, columns): (usize, &mut [f64])| {
            let first = c * STRIP;
            let wide = STRIP.min(rest - first);
            update_strip(&mut columns[k + first..], &l[first..], &w[first..], (rest - first, wide, width), s);
        };
        if parallel {
            left.par_chunks_mut(STRIP * s).enumerate().for_each(strip);
        } else {
            left.chunks_mut(STRIP * s).enumerate().for_each(strip);
        }
    }
}

/// Columns of the lower triangle: f <- f - l w', f rows x columns, l rows x width, w at least columns x width, all with column stride s.
fn update_strip(
    f: &mut [f64],
    l: &[f64],
    w: &[f64],
    (rows, columns, width): (usize, usize, usize),
    s: usize,
) {
    let l = MatRef::from_column_major_slice_with_stride(l, rows, width, s);
    let w = MatRef::from_column_major_slice_with_stride(w, columns, width, s);
    let (top, below) =
        MatMut::from_column_major_slice_with_stride_mut(f, rows, columns, s).split_at_row_mut(columns);
    let product = |to, shape, l| {
        let rectangle = BlockStructure::Rectangular;
        triangular::matmul(to, shape, Accum::Add, l, rectangle, w.transpose(), rectangle, -1.0, Par::Seq);
    };
    product(top, BlockStructure::TriangularLower, l.get(..columns, ..));
    if rows > columns {
        product(below, BlockStructure::Rectangular, l.get(columns.., ..));
    }
}

/// y <- y - sum over c < width of w(c) times column c of l from row `from` on; columns of length s. The order of the sum is that
/// of the columns; four at once save passes over y.
#[inline(always)]
fn subtract(width: usize, w: impl Fn(usize) -> f64, l: &[f64], from: usize, y: &mut [f64], s: usize) {
    let column = |c: usize| &l[c * s + from..(c + 1) * s];
    let mut c = 0;
    if y.len() >= LONG {
        while c + 4 <= width {
            let (a, b, d, e) = (w(c), w(c + 1), w(c + 2), w(c + 3));
            let (p, q, r, t) = (column(c), column(c + 1), column(c + 2), column(c + 3));
            let four = y.chunks_exact_mut(4).zip(p.chunks_exact(4)).zip(q.chunks_exact(4));
            for (((y, p), q), (r, t)) in four.zip(r.chunks_exact(4).zip(t.chunks_exact(4))) {
                for k in 0..4 {
                    y[k] = y[k] - a * p[k] - b * q[k] - d * r[k] - e * t[k];
                }
            }
            for k in y.len() & !3..y.len() {
                y[k] = y[k] - a * p[k] - b * q[k] - d * r[k] - e * t[k];
            }
            c += 4;
        }
    }
    for c in c..width {
        let w = w(c);
        if w != 0.0 {
            axpy(-w, column(c), y);
        }
    }
}

/// y <- y + a x.
#[inline(always)]
pub(super) fn axpy(a: f64, x: &[f64], y: &mut [f64]) {
    let n = x.len().min(y.len());
    let (x, y) = (&x[..n], &mut y[..n]);
    let whole = n & !3;
    // Blocks of four: most columns are too short for wider ones.
    for (y, x) in y.chunks_exact_mut(4).zip(x.chunks_exact(4)) {
        for k in 0..4 {
            y[k] += a * x[k];
        }
    }
    for (y, x) in y[whole..].iter_mut().zip(&x[whole..]) {
        *y += a * x;
    }
}
