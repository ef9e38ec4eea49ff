//! Algebraic multigrid by smoothed aggregation, for meshes without structure: Vanek, Mandel, Brezina, "Algebraic multigrid by smoothed aggregation
//! for second and fourth order elliptic problems", Computing 56 (1996). Chebyshev smoothing as in [`Multigrid`](super::Multigrid); constants are the
//! near null space. Products of matrices are serial, cycles are parallel over rows.

use super::krylov::{CgWork, Solved, System, conjugate_gradients};
use super::parallel::over;
use crate::error::Error;
use crate::linalg::{Cholesky, SparseMatrix, Storage};

/// a_ij is strong where a_ij^2 > STRONG^2 a_ii a_jj, half of it on each coarser level.
const STRONG: f64 = 0.08;
const COARSEST: usize = 100;
const LEVELS: usize = 20;
/// The smoother works from the largest eigenvalue of D^-1 A down to this share of it.
const SMOOTH_FROM: f64 = 0.25;
/// Chebyshev steps before and after a correction.
const DEGREE: usize = 2;

/// A matrix by rows.
#[derive(Debug, Clone, Default)]
struct Rows {
    columns: usize,
    starts: Vec<usize>,
    cols: Vec<u32>,
    values: Vec<f64>,
}

impl Rows {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }
    fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.starts[i]..self.starts[i + 1];
        self.cols[range.clone()].iter().zip(&self.values[range]).map(|(j, v)| (*j as usize, *v))
    }
    fn times(&self, i: usize, u: &[f64]) -> f64 {
        self.row(i).map(|(j, v)| v * u[j]).sum()
    }
    fn new(columns: usize) -> Self {
        Self { columns, starts: vec![0], ..Self::default() }
    }
    fn close_row(&mut self) {
        self.starts.push(self.cols.len());
    }
    fn diagonal(&self) -> Vec<f64> {
        (0..self.len()).map(|i| self.row(i).filter(|(j, _)| *j == i).map(|(_, v)| v).sum()).collect()
    }

    /// All entries of a symmetric matrix of which the lower triangle, or everything, is given by columns.
    fn symmetric(a: &SparseMatrix) -> Self {
        let n = a.nrows;
        let lower = a.storage == Storage::SymmetricLower;
        let mut counts = vec![0usize; n + 1];
        let each = |f: &mut dyn FnMut(usize, usize, f64)| {
            for j in 0..n {
                for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                    f(a.row_idx[p], j, a.values[p]);
                    if lower && a.row_idx[p] != j {
                        f(j, a.row_idx[p], a.values[p]);
                    }
                }
            }
        };
        each(&mut |i, _, _| counts[i + 1] += 1);
        (0..n).for_each(|i| counts[i + 1] += counts[i]);
        let (mut cols, mut values) = (vec![0u32; counts[n]], vec![0.0; counts[n]]);
        let mut next = counts.clone();
        each(&mut |i, j, v| {
            (cols[next[i]], values[next[i]]) = (j as u32, v);
            next[i] += 1;
        });
        Self { columns: n, starts: counts, cols, values }
    }

    fn transposed(&self) -> Self {
        let mut starts = vec![0usize; self.columns + 1];
        self.cols.iter().for_each(|j| starts[*j as usize + 1] += 1);
        (0..self.columns).for_each(|j| starts[j + 1] += starts[j]);
        let (mut cols, mut values) = (vec![0u32; self.cols.len()], vec![0.0; self.cols.len()]);
        let mut next = starts.clone();
        for i in 0..self.len() {
            for (j, v) in self.row(i) {
                (cols[next[j]], values[next[j]]) = (i as u32, v);
                next[j] += 1;
            }
        }
        Self { columns: self.len(), starts, cols, values }
    }

    /// This times another (Gustavson 1978).
    fn multiply(&self, b: &Self) -> Self {
        let mut out = Self::new(b.columns);
        let (mut sums, mut seen, mut touched) =
            (vec![0.0; b.columns], vec![usize::MAX; b.columns], Vec::new());
        for i in 0..self.len() {
            touched.clear();
            for (k, v) in self.row(i) {
                for (j, w) in b.row(k) {
                    if seen[j] != i {
                        seen[j] = i;
                        sums[j] = 0.0;
                        touched.push(j);
                    }
                    sums[j] += v * w;
                }
            }
            touched.sort_unstable();
            out.cols.extend(touched.iter().map(|j| *j as u32));
            out.values.extend(touched.iter().map(|j| sums[*j]));
            out.close_row();
        }
        out
    }
}

/// Groups of unknowns that are strongly connected: a root and its neighbours, then the left-over unknowns join a neighbour's group.
fn aggregates(a: &Rows, diagonal: &[f64], strong: f64) -> (Vec<u32>, usize) {
    const NONE: u32 = u32::MAX;
    let n = a.len();
    let strongly = |i: usize| {
        a.row(i).filter(move |(j, v)| *j != i && v * v > strong * strong * diagonal[i] * diagonal[*j])
    };
    let (mut group, mut count) = (vec![NONE; n], 0u32);
    for i in 0..n {
        if group[i] == NONE && strongly(i).all(|(j, _)| group[j] == NONE) {
            group[i] = count;
            strongly(i).for_each(|(j, _)| group[j] = count);
            count += 1;
        }
    }
    let first = group.clone();
    for (i, group) in group.iter_mut().enumerate() {
        if *group == NONE {
            let nearest =
                strongly(i).filter(|(j, _)| first[*j] != NONE).max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
            *group = match nearest {
                Some((j, _)) => first[j],
                None => {
                    count += 1;
                    count - 1
                }
            };
        }
    }
    (group, count as usize)
}

#[derive(Debug, Clone)]
struct Level {
    a: Rows,
    inverse: Vec<f64>,
    /// A bound of the eigenvalues of D^-1 A: its largest sum of absolute values in a row.
    largest: f64,
    /// P and P'; none on the coarsest level.
    transfer: Option<(Rows, Rows)>,
    f: Vec<f64>,
    u: Vec<f64>,
    work: Vec<f64>,
}

/// A hierarchy for A = K + diag(field), K symmetric positive definite.
#[derive(Debug, Clone)]
pub struct AlgebraicMultigrid {
    stiffness: Rows,
    levels: Vec<Level>,
    coarsest: Option<Cholesky>,
    cg: CgWork,
}

impl AlgebraicMultigrid {
    /// For K, of which the lower triangle is given.
    ///
    /// # Errors
    /// [`Error::Problem`] for a matrix that is not square, has entries that are not finite or a diagonal that is not positive, or is not positive
    /// definite on the coarsest level.
    pub fn new(stiffness: &SparseMatrix) -> Result<Self, Error> {
        let fail = |what: String| Err(Error::Problem { name: "algebraic multigrid".into(), what });
        if stiffness.nrows != stiffness.ncols || stiffness.nrows == 0 {
            return fail(format!("a matrix of {} rows and {} columns", stiffness.nrows, stiffness.ncols));
        }
        if stiffness.values.iter().any(|v| !v.is_finite()) {
            return fail("an entry that is not finite".into());
        }
        let stiffness = Rows::symmetric(stiffness);
        let mut out = Self { stiffness, levels: Vec::new(), coarsest: None, cg: CgWork::default() };
        out.set_field(&[])?;
        Ok(out)
    }

    /// A <- K + diag(field); an empty field is 0. Builds all levels anew.
    ///
    /// # Errors
    /// As [`AlgebraicMultigrid::new`], or for a field of the wrong length.
    pub fn set_field(&mut self, field: &[f64]) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Problem { name: "algebraic multigrid".into(), what });
        let n = self.unknowns();
        if !field.is_empty() && field.len() != n {
            return fail(format!("a field of {} entries for {n} unknowns", field.len()));
        }
        let mut a = self.stiffness.clone();
        for (i, d) in field.iter().enumerate() {
            let range = a.starts[i]..a.starts[i + 1];
            match a.cols[range.clone()].iter().position(|j| *j as usize == i) {
                Some(at) => a.values[range.start + at] += d,
                None => return fail(format!("no entry on the diagonal in row {i}")),
            }
        }
        self.levels.clear();
        let mut strong = STRONG;
        loop {
            let n = a.len();
            let diagonal = a.diagonal();
            if let Some(i) = diagonal.iter().position(|d| !(*d > 0.0 && d.is_finite())) {
                return fail(format!(
                    "the diagonal of row {i} is {}, expected a positive number",
                    diagonal[i]
                ));
            }
            let rows = |i: usize| a.row(i).map(|(_, v)| v.abs()).sum::<f64>() / diagonal[i];
            let largest = (0..n).map(rows).fold(0.0, f64::max);
            let mut level = Level {
                inverse: diagonal.iter().map(|d| 1.0 / d).collect(),
                largest,
                transfer: None,
                f: vec![0.0; n],
                u: vec![0.0; n],
                work: vec![0.0; n],
                a,
            };
            let (group, count) = aggregates(&level.a, &diagonal, strong);
            if n <= COARSEST || count as f64 > 0.8 * n as f64 || self.levels.len() + 1 == LEVELS {
                self.levels.push(level);
                break;
            }
            let p = interpolation(&level, &group, count);
            let restriction = p.transposed();
            a = restriction.multiply(&level.a.multiply(&p));
            level.transfer = Some((p, restriction));
            self.levels.push(level);
            strong *= 0.5;
        }
        self.factor()
    }

    fn factor(&mut self) -> Result<(), Error> {
        let fail = |what: &str| Err(Error::Problem { name: "algebraic multigrid".into(), what: what.into() });
        let Some(level) = self.levels.last() else { return Ok(()) };
        let n = level.a.len();
        // Where nothing is strongly connected, D is all of A that matters.
        if n > 20 * COARSEST {
            self.coarsest = None;
            return Ok(());
        }
        let mut dense = vec![0.0; n * n];
        for i in 0..n {
            level.a.row(i).for_each(|(j, v)| dense[j * n + i] += v);
        }
        match Cholesky::new(n, &dense) {
            Ok(factor) if factor.jitter() == 0.0 => self.coarsest = Some(factor),
            _ => return fail("the matrix is not positive definite"),
        }
        Ok(())
    }

    /// Number of unknowns.
    pub fn unknowns(&self) -> usize {
        self.stiffness.len()
    }
    /// Entries of all levels over those of the first.
    pub fn complexity(&self) -> f64 {
        let all: usize = self.levels.iter().map(|l| l.a.values.len()).sum();
        all as f64 / self.levels[0].a.values.len() as f64
    }
    /// out <- K u.
    pub fn apply_to(&self, u: &[f64], out: &mut [f64]) {
        over(out, |at, out| {
            out.iter_mut().enumerate().for_each(|(i, o)| *o = self.stiffness.times(at + i, u))
        });
    }
    /// u <- `cycles` V cycles from zero: a symmetric positive definite operator on f.
    pub fn cycles(&mut self, f: &[f64], u: &mut [f64], cycles: usize) {
        for k in 0..cycles {
            cycle(&mut self.levels, self.coarsest.as_ref(), f, u, k == 0);
        }
    }
    /// Conjugate gradients from u, preconditioned by a cycle, until |f - A u| <= tolerance |f|.
    pub fn conjugate_gradients(&mut self, f: &[f64], u: &mut [f64], tolerance: f64, most: usize) -> Solved {
        let mut work = std::mem::take(&mut self.cg);
        let solved = conjugate_gradients(self, &mut work, f, u, tolerance, most);
        self.cg = work;
        solved
    }
}

impl System for AlgebraicMultigrid {
    fn apply(&mut self, x: &[f64], y: &mut [f64]) {
        let a = &self.levels[0].a;
        over(y, |at, y| y.iter_mut().enumerate().for_each(|(i, y)| *y = a.times(at + i, x)));
    }
    fn precondition(&mut self, r: &[f64], z: &mut [f64]) {
        self.cycles(r, z, 1);
    }
}

/// (I - 4/3 D^-1 A / largest) times the indicators of the groups.
fn interpolation(level: &Level, group: &[u32], count: usize) -> Rows {
    let mut tentative = Rows::new(count);
    for g in group {
        tentative.cols.push(*g);
        tentative.values.push(1.0);
        tentative.close_row();
    }
    let omega = 4.0 / 3.0 / level.largest;
    let mut smooth = level.a.clone();
    for i in 0..smooth.len() {
        for at in smooth.starts[i]..smooth.starts[i + 1] {
            let own = if smooth.cols[at] as usize == i { 1.0 } else { 0.0 };
            smooth.values[at] = own - omega * level.inverse[i] * smooth.values[at];
        }
    }
    smooth.multiply(&tentative)
}

fn cycle(levels: &mut [Level], coarsest: Option<&Cholesky>, f: &[f64], u: &mut [f64], from_zero: bool) {
    let Some((level, coarser)) = levels.split_first_mut() else { return };
    let (Some((p, restriction)), Some(next)) = (&level.transfer, coarser.first_mut()) else {
        match coarsest {
            Some(factor) => {
                u.copy_from_slice(f);
                factor.solve(u);
            }
            None => u.iter_mut().zip(f).zip(&level.inverse).for_each(|((u, f), d)| *u = d * f),
        }
        return;
    };
    if from_zero {
        u.fill(0.0);
    }
    smooth(level_parts(&level.a, &level.inverse, level.largest), f, u, &mut level.work);
    let (a, work) = (&level.a, &mut level.work);
    over(work, |at, r| r.iter_mut().enumerate().for_each(|(i, r)| *r = f[at + i] - a.times(at + i, u)));
    let (mut cf, mut cu) = (std::mem::take(&mut next.f), std::mem::take(&mut next.u));
    let residual = &level.work;
    over(&mut cf, |at, c| {
        c.iter_mut().enumerate().for_each(|(i, c)| *c = restriction.times(at + i, residual))
    });
    cycle(coarser, coarsest, &cf, &mut cu, true);
    over(u, |at, u| u.iter_mut().enumerate().for_each(|(i, u)| *u += p.times(at + i, &cu)));
    (coarser[0].f, coarser[0].u) = (cf, cu);
    smooth(level_parts(&level.a, &level.inverse, level.largest), f, u, &mut level.work);
}

type Parts<'a> = (&'a Rows, &'a [f64], f64);

fn level_parts<'a>(a: &'a Rows, inverse: &'a [f64], largest: f64) -> Parts<'a> {
    (a, inverse, largest)
}

/// An even number of Chebyshev steps to and fro between u and the other vector.
fn smooth((a, inverse, largest): Parts<'_>, f: &[f64], u: &mut [f64], other: &mut [f64]) {
    let (theta, half) = (0.5 * largest * (1.0 + SMOOTH_FROM), 0.5 * largest * (1.0 - SMOOTH_FROM));
    let sigma = theta / half;
    let (mut rho, mut alpha, mut beta) = (1.0 / sigma, 0.0, 1.0 / theta);
    for k in 0..DEGREE {
        let (now, old) = if k % 2 == 0 { (&*u, &mut *other) } else { (&*other, &mut *u) };
        over(old, |at, old| {
            for (i, o) in old.iter_mut().enumerate() {
                let p = at + i;
                let before = if k == 0 { 0.0 } else { alpha * (now[p] - *o) };
                *o = now[p] + before + beta * inverse[p] * (f[p] - a.times(p, now));
            }
        });
        let next = 1.0 / (2.0 * sigma - rho);
        (alpha, beta) = (next * rho, 2.0 * next / half);
        rho = next;
    }
}
