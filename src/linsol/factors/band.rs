//! LU of a banded matrix with partial pivoting inside the band.

use super::narrow::{self, Parts};
use super::{FactorError, FactorFacts, Factors, reason, refill, right_hand_sides, well_formed};
use crate::linalg::{BandRef, MatrixRef, Scalar};

const NAME: &str = "band LU";

/// Bands of at most so many diagonals on each side stay in registers.
const NARROW: usize = 4;

/// P A = L D U of a band, rows exchanged inside it: U has lower + upper diagonals above the main one. 2 n lower (lower + upper)
/// operations and n (2 lower + upper + 1) numbers, as LAPACK's gbtrf.
///
/// Up to four diagonals on each side the rows being eliminated stay in registers (`narrow.rs`; the wider side counts); wider bands
/// are eliminated row by row in two windows that fit the cache. Several right-hand sides are solved four at a time.
#[derive(Debug, Clone)]
pub struct BandLu<T> {
    n: Option<usize>,
    /// Diagonals of the factored matrix, both [`NARROW`] or less and equal, or as they are.
    lower: usize,
    upper: usize,
    /// Multipliers, `lower` a column.
    l: Vec<T>,
    /// Unit rows of U without the 1, lower + upper numbers each.
    u: Vec<T>,
    inverses: Vec<T>,
    exchanges: Vec<u32>,
    /// Two windows of lower + 1 rows.
    windows: [Vec<T>; 2],
    /// The band of a matrix that came in another layout.
    band: Vec<T>,
}

impl<T: Scalar> Default for BandLu<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> BandLu<T> {
    /// Nothing is factored yet.
    pub fn new() -> Self {
        Self {
            n: None,
            lower: 0,
            upper: 0,
            l: Vec::new(),
            u: Vec::new(),
            inverses: Vec::new(),
            exchanges: Vec::new(),
            windows: [Vec::new(), Vec::new()],
            band: Vec::new(),
        }
    }

    /// Diagonals below and above the main one that are worked with.
    pub fn diagonals(&self) -> (usize, usize) {
        (self.lower, self.upper)
    }

    fn sizes(&mut self, n: usize, lower: usize, upper: usize) -> Result<(), FactorError> {
        let wider = lower.max(upper).max(1);
        (self.lower, self.upper) = if wider <= NARROW { (wider, wider) } else { (lower, upper) };
        let above = self.lower + self.upper;
        let numbers = |a: usize, b: usize| {
            a.checked_mul(b).ok_or(FactorError::Memory { solver: NAME, numbers: usize::MAX })
        };
        refill(NAME, &mut self.l, numbers(n, self.lower)?, T::ZERO)?;
        refill(NAME, &mut self.u, numbers(n, above)?, T::ZERO)?;
        refill(NAME, &mut self.inverses, n, T::ZERO)?;
        refill(NAME, &mut self.exchanges, n, 0)?;
        if wider > NARROW {
            let window = numbers(self.lower + 1, above + 1)?;
            for w in &mut self.windows {
                refill(NAME, w, window, T::ZERO)?;
            }
        }
        Ok(())
    }

    /// The band of A: as it is, or copied.
    fn copy_band(
        &mut self,
        n: usize,
        lower: usize,
        upper: usize,
        a: &MatrixRef<'_, T>,
    ) -> Result<(), FactorError> {
        let width = lower + upper + 1;
        let numbers =
            n.checked_mul(width).ok_or(FactorError::Memory { solver: NAME, numbers: usize::MAX })?;
        refill(NAME, &mut self.band, numbers, T::ZERO)?;
        let band = &mut self.band;
        a.for_each(|i, j, v| {
            // A zero outside the band of a dense matrix has no place.
            if v != T::ZERO {
                band[j * width + upper + i - j] += v;
            }
        });
        Ok(())
    }

    fn eliminate(&mut self, a: &BandRef<'_, T>) -> Result<bool, usize> {
        let lower = self.lower.max(self.upper);
        let parts = Parts {
            lower: &mut self.l,
            upper: &mut self.u,
            inverses: &mut self.inverses,
            exchanges: &mut self.exchanges,
        };
        let [one, two] = &mut self.windows;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || match lower {
                1 => narrow::factor::<T, 1, 2, 2, 3>(a, parts),
                2 => narrow::factor::<T, 2, 3, 4, 5>(a, parts),
                3 => narrow::factor::<T, 3, 4, 6, 7>(a, parts),
                4 => narrow::factor::<T, 4, 5, 8, 9>(a, parts),
                _ => factor_wide(a, one, two, parts),
            },
        )
    }

    #[inline(always)]
    fn solve_block<const R: usize>(&self, n: usize, b: &mut [T], transposed: bool) {
        let (l, u, d, p) = (&self.l[..], &self.u[..], &self.inverses[..], &self.exchanges[..]);
        match (self.lower.max(self.upper), transposed) {
            (1, false) => narrow::solve::<T, 1, 2, 2, R>(n, l, u, d, p, b),
            (2, false) => narrow::solve::<T, 2, 3, 4, R>(n, l, u, d, p, b),
            (3, false) => narrow::solve::<T, 3, 4, 6, R>(n, l, u, d, p, b),
            (4, false) => narrow::solve::<T, 4, 5, 8, R>(n, l, u, d, p, b),
            (1, true) => narrow::solve_t::<T, 1, 2, 2, R>(n, l, u, d, p, b),
            (2, true) => narrow::solve_t::<T, 2, 3, 4, R>(n, l, u, d, p, b),
            (3, true) => narrow::solve_t::<T, 3, 4, 6, R>(n, l, u, d, p, b),
            (4, true) => narrow::solve_t::<T, 4, 5, 8, R>(n, l, u, d, p, b),
            (_, false) => b.chunks_exact_mut(n).for_each(|b| self.solve_wide(b)),
            (_, true) => b.chunks_exact_mut(n).for_each(|b| self.solve_wide_t(b)),
        }
    }

    #[inline(always)]
    fn solve_wide(&self, b: &mut [T]) {
        let n = b.len();
        for j in 0..n {
            b.swap(j, j + self.exchanges[j] as usize);
            let x = b[j];
            let end = n.min(j + 1 + self.lower);
            subtract(x, &self.l[j * self.lower..], &mut b[j + 1..end]);
            b[j] = x * self.inverses[j];
        }
        let above = self.lower + self.upper;
        for j in (0..n).rev() {
            let end = n.min(j + 1 + above);
            let sum = dot(&self.u[j * above..], &b[j + 1..end]);
            b[j] -= sum;
        }
    }

    #[inline(always)]
    fn solve_wide_t(&self, b: &mut [T]) {
        let n = b.len();
        let above = self.lower + self.upper;
        for j in 0..n {
            let x = b[j];
            let end = n.min(j + 1 + above);
            subtract(x, &self.u[j * above..], &mut b[j + 1..end]);
            b[j] = x * self.inverses[j];
        }
        for j in (0..n).rev() {
            let end = n.min(j + 1 + self.lower);
            let sum = dot(&self.l[j * self.lower..], &b[j + 1..end]);
            b[j] -= sum;
            b.swap(j, j + self.exchanges[j] as usize);
        }
    }

    fn run(&mut self, b: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let Some(n) = self.n else {
            return Err(FactorError::Length { solver: NAME, found: b.len(), n: 0 });
        };
        if right_hand_sides(NAME, n, b.len())? == 0 {
            return Ok(());
        }
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let mut fours = b.chunks_exact_mut(4 * n);
                (&mut fours).for_each(|b| self.solve_block::<4>(n, b, transposed));
                let rest = fours.into_remainder();
                rest.chunks_exact_mut(n).for_each(|b| self.solve_block::<1>(n, b, transposed));
            },
        );
        Ok(())
    }
}

/// y <- y - f x, as far as y goes.
#[inline(always)]
fn subtract<T: Scalar>(f: T, x: &[T], y: &mut [T]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y -= f * *x);
}

/// x'y as far as y goes, in eight partial sums.
#[inline(always)]
fn dot<T: Scalar>(x: &[T], y: &[T]) -> T {
    let x = &x[..y.len()];
    let (mut a, mut b) = (x.chunks_exact(8), y.chunks_exact(8));
    let mut sums = [T::ZERO; 8];
    for (a, b) in (&mut a).zip(&mut b) {
        for l in 0..8 {
            sums[l] += a[l] * b[l];
        }
    }
    let rest = a.remainder().iter().zip(b.remainder()).fold(T::ZERO, |s, (a, b)| s + *a * *b);
    sums.into_iter().fold(rest, |s, v| s + v)
}

/// Elimination with a window of lower + 1 rows of lower + upper + 1 columns, each time read from one buffer and written, moved up and
/// left, to the other.
#[inline(always)]
fn factor_wide<T: Scalar>(
    a: &BandRef<'_, T>,
    from: &mut [T],
    to: &mut [T],
    parts: Parts<'_, T>,
) -> Result<bool, usize> {
    let (kl, width) = (a.lower, a.width());
    let (mut from, mut to) = (from, to);
    for (i, row) in from.chunks_exact_mut(width).enumerate() {
        let last = a.n.min(i + a.upper + 1);
        (0..last).for_each(|j| row[j] = if i < a.n { a.values[a.position(i, j)] } else { T::ZERO });
    }
    let mut finite = true;
    for j in 0..a.n {
        let l = &mut parts.lower[j * kl..(j + 1) * kl];
        let u = &mut parts.upper[j * (width - 1)..(j + 1) * (width - 1)];
        let (mut p, mut big) = (0, from[0].abs());
        for k in 1..=kl {
            let v = from[k * width].abs();
            if v > big {
                (p, big) = (k, v);
            }
        }
        if !(big > T::ZERO && big.is_finite()) {
            return Err(j);
        }
        let (pivot, others) = from.split_at_mut(width);
        if p != 0 {
            pivot.swap_with_slice(&mut others[(p - 1) * width..p * width]);
        }
        let d = T::ONE / pivot[0];
        (parts.inverses[j], parts.exchanges[j]) = (d, p as u32);
        let pivot = &pivot[1..];
        let mut sum = T::ZERO;
        for (u, v) in u.iter_mut().zip(pivot) {
            *u = *v * d;
        }
        u.iter().for_each(|u| sum += T::ZERO * *u);
        finite &= sum == T::ZERO;
        let rows = others.chunks_exact(width).zip(to.chunks_exact_mut(width));
        for ((row, out), l) in rows.zip(l) {
            let f = row[0] * d;
            *l = f;
            let (out, end) = out.split_at_mut(width - 1);
            if f == T::ZERO {
                out.copy_from_slice(&row[1..]);
            } else {
                for ((out, v), p) in out.iter_mut().zip(&row[1..]).zip(pivot) {
                    *out = *v - f * *p;
                }
            }
            end[0] = T::ZERO;
        }
        load_row(a, j + 1 + kl, &mut to[kl * width..]);
        (from, to) = (to, from);
    }
    Ok(finite)
}

/// Row i >= lower of the band from column i - lower on.
#[inline(always)]
fn load_row<T: Scalar>(a: &BandRef<'_, T>, i: usize, row: &mut [T]) {
    if i >= a.n {
        row.fill(T::ZERO);
        return;
    }
    let first = i - a.lower;
    let inside = a.n - first;
    let (start, step) = (a.position(i, first), a.width() - 1);
    for (c, v) in row.iter_mut().enumerate() {
        *v = if c < inside { a.values[start + c * step] } else { T::ZERO };
    }
}

impl<T: Scalar> Factors<T> for BandLu<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn factor(&mut self, a: MatrixRef<'_, T>) -> Result<(), FactorError> {
        self.n = None;
        let n = well_formed(NAME, &a)?;
        let (lower, upper) = a.bandwidth();
        self.sizes(n, lower, upper)?;
        let eliminated = match a {
            // A band that says more than n - 1 diagonals is copied.
            MatrixRef::Band(band) if (band.lower, band.upper) == (lower, upper) => self.eliminate(&band),
            _ => {
                self.copy_band(n, lower, upper, &a)?;
                let values = std::mem::take(&mut self.band);
                let done = self.eliminate(&BandRef { n, lower, upper, values: &values });
                self.band = values;
                done
            }
        };
        match eliminated {
            Ok(true) => self.n = Some(n),
            Ok(false) => return Err(reason(NAME, &a, FactorError::Overflow { solver: NAME })),
            Err(column) => return Err(reason(NAME, &a, FactorError::Singular { solver: NAME, column })),
        }
        Ok(())
    }

    fn solve(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, false)
    }

    fn solve_t(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, true)
    }

    fn facts(&self) -> FactorFacts {
        let n = self.n.unwrap_or(0);
        let (rows, kl, above) = (n as f64, self.lower as f64, (self.lower + self.upper) as f64);
        FactorFacts {
            n,
            flops: rows * (1.0 + kl + above + 2.0 * kl * above),
            solve_flops: rows * (1.0 + 2.0 * kl + 2.0 * above),
            fill: n * (2 * self.lower + self.upper + 1),
            iterations: 0,
        }
    }
}
