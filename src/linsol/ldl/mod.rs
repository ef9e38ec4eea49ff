//! Sparse and dense LDL' of symmetric indefinite matrices: inertia, solves with iterative refinement (`docs/linear-algebra.md`).

mod dense;
mod equilibrate;
mod front;
mod multifrontal;
mod ordering;
mod part;
mod plan;
mod symbolic;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;
use std::time::Instant;

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::linalg::{LinOp, SparseRef, Storage, norm2};
use crate::linsol::common::{begin, residual, resize};
use crate::linsol::{Accuracy, LinSolError, LinearSolver, Prepared, SolveEnd, Solved, SolverFacts};
use crate::observe::StopToken;

pub(crate) use dense::DenseLdl;
use front::Thresholds;
use multifrontal::{DOUBT, Multifrontal};

const NAME: &str = "ldl";
/// Refinement that stalls above this calls for stricter pivoting.
const POOR: f64 = 1e-8;
/// With more than one in so many columns delayed, an order for other zeros on the diagonal is made anew, at most so often.
const MANY_DELAYED: usize = 10;
const MOST_ANALYSES: u32 = 4;
/// The pivot threshold is raised a hundredfold each time, up to this.
const STRICT: f64 = 0.1;
/// |b - A x| <= ROUNDING | |A| |x| + |b| | is rounding: b - A x itself is not known better, whatever the pivots (Arioli, Demmel, Duff 1989).
/// Of 238 stalls on the reference problems all but 6, of singular matrices, were at 1.1 eps or less.
const ROUNDING: f64 = 16.0 * f64::EPSILON;
/// A raised threshold is kept for later matrices while it costs at most so many times the multiplications of the given one,
const KEEP: f64 = 2.0;
/// and is not tried again once the strictest has been of no use so often.
const MOST_IN_VAIN: u32 = 3;
/// Where a factorization took so many times the planned multiplications, strict pivots are not tried for the sake of the inertia.
const FILLED_UP: f64 = 10.0;

/// Multiplications of a factorization from which threads are started for it.
const WORTH_THREADS: f64 = 5e6;

/// Options of [`Ldl`].
#[derive(Debug, Clone, PartialEq)]
pub struct LdlOptions {
    /// Systems of at most this many unknowns are factorized densely, and of three times as many if a quarter of the
    /// entries are there.
    pub dense_up_to: usize,
    /// A pivot of the equilibrated matrix counts as zero up to `zero_pivot` times the dimension.
    pub zero_pivot: f64,
    /// Threshold u of the sparse factorization: entries of L stay below 1/u. Where refinement stalls, it is raised, up to 0.1.
    pub pivot_threshold: f64,
    /// Where eigenvalues could be rounding, factorize once more with strict pivots, unless that takes more multiplications than this: the
    /// inertia of singular matrices is right more often, at a third more work on some sequences of matrices.
    pub settle_doubts: f64,
    /// Threads of the sparse factorization; the factors do not depend on their number.
    pub threads: usize,
}

impl Default for LdlOptions {
    fn default() -> Self {
        Self {
            dense_up_to: 50,
            zero_pivot: 4.0 * f64::EPSILON,
            pivot_threshold: 1e-6,
            settle_doubts: f64::INFINITY,
            threads: 1,
        }
    }
}

/// Direct solver for symmetric matrices given by entries.
pub struct Ldl {
    options: LdlOptions,
    n: usize,
    /// Pattern of the matrix, lower triangle.
    col_ptr: Vec<usize>,
    row_idx: Vec<usize>,
    /// Values of S A S.
    values: Vec<f64>,
    /// Diagonal of S.
    scale: Vec<f64>,
    dense: DenseLdl,
    sparse: Option<Multifrontal>,
    pool: Option<Arc<ThreadPool>>,
    /// u of this pattern, that of the next matrix, and how often the strictest was of no use.
    threshold: f64,
    next_threshold: f64,
    in_vain: u32,
    /// How often strict pivots were too dear to settle doubts about the inertia.
    dear: u32,
    /// How often in a row they only confirmed it.
    confirmed: u32,
    /// Eigenvalues of D that could be rounding.
    doubtful: usize,
    /// Multiplications of the last factorization with the given u.
    usual_work: f64,
    /// Symbolic analyses of this pattern.
    analyses: u32,
    times: FactorTimes,
    state: State,
    residual: Vec<f64>,
    best: Vec<f64>,
}

/// Seconds of the phases of the last `prepare`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct FactorTimes {
    /// Fill-reducing orderings, all that were tried; 0 where the pattern was known.
    pub ordering: f64,
    /// Assembly tree, counts, maps and memory; 0 where the pattern was known.
    pub analysis: f64,
    /// Equilibration and factorization.
    pub numeric: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Dense,
    Sparse,
}

impl Default for Ldl {
    fn default() -> Self {
        Self::new(LdlOptions::default())
    }
}

impl Ldl {
    /// A solver without a matrix yet.
    pub fn new(options: LdlOptions) -> Self {
        Self {
            options,
            n: 0,
            col_ptr: vec![0],
            row_idx: Vec::new(),
            values: Vec::new(),
            scale: Vec::new(),
            dense: DenseLdl::default(),
            sparse: None,
            pool: None,
            threshold: 0.0,
            next_threshold: 0.0,
            in_vain: 0,
            dear: 0,
            confirmed: 0,
            doubtful: 0,
            usual_work: f64::INFINITY,
            analyses: 0,
            times: FactorTimes::default(),
            state: State::Empty,
            residual: Vec::new(),
            best: Vec::new(),
        }
    }

    /// Ordering of the present pattern and multiplications of one factorization, about; dense matrices are not ordered.
    pub fn analysis(&self) -> (&'static str, f64) {
        match &self.sparse {
            Some(sparse) => (sparse.symbolic.ordering, sparse.symbolic.work),
            None => ("dense", (self.n as f64).powi(3) / 6.0),
        }
    }

    /// Where the time of the last `prepare` went. Measured: nothing depends on it.
    pub fn times(&self) -> FactorTimes {
        self.times
    }

    /// Eigenvalues of D of the last sparse factorization that count as positive or negative and could be rounding; strict pivots were too dear to
    /// tell, or did not suffice.
    pub fn doubtful_pivots(&self) -> usize {
        self.doubtful
    }

    /// Takes over the pattern unless it is the one at hand.
    fn adopt_pattern(&mut self, a: SparseRef<'_>) -> Result<(), LinSolError> {
        let n = a.ncols;
        if self.n == n
            && self.col_ptr == a.col_ptr
            && self.row_idx == a.row_idx
            && a.values.len() == a.row_idx.len()
        {
            return Ok(());
        }
        check_pattern(a).map_err(|found| LinSolError::Shape {
            solver: NAME,
            expected: "lower triangular, column by column ascending,",
            found,
        })?;
        self.n = n;
        self.col_ptr.clear();
        self.col_ptr.extend_from_slice(a.col_ptr);
        self.row_idx.clear();
        self.row_idx.extend_from_slice(a.row_idx);
        self.values.resize(a.row_idx.len(), 0.0);
        resize(n, &mut [&mut self.scale, &mut self.residual, &mut self.best]);
        self.sparse = None;
        self.analyses = 0;
        self.forget();
        Ok(())
    }

    /// Measured (benches/linsol.rs): dense n = 50 costs 40 us, n = 100 210 us; sparse about 0.5 us an unknown.
    fn dense_pays(&self) -> bool {
        let (n, most) = (self.n, self.options.dense_up_to);
        n <= most || (n <= most.saturating_mul(3) && 8 * self.row_idx.len() >= n * n)
    }

    fn factor_dense(&mut self, a: SparseRef<'_>) -> Prepared {
        let n = self.n;
        let full = self.dense.reset(n);
        for j in 0..n {
            for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                let i = a.row_idx[p];
                full[j * n + i] = a.values[p] * self.scale[i] * self.scale[j];
            }
        }
        let inertia = self.dense.factor(self.zero_pivot());
        self.state = State::Dense;
        let work = (n as f64).powi(3) / 6.0;
        Prepared { inertia: Some(inertia), factor_nonzeros: n * (n + 1) / 2, perturbed_pivots: 0, work }
    }

    fn factor_sparse(&mut self, a: SparseRef<'_>, stop: &StopToken) -> Result<Prepared, LinSolError> {
        for j in 0..self.n {
            for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                self.values[p] = a.values[p] * self.scale[a.row_idx[p]] * self.scale[j];
            }
        }
        let disordered = self.sparse.as_ref().is_some_and(|s| {
            s.delayed() > self.n / MANY_DELAYED
                && self.analyses < MOST_ANALYSES
                && s.symbolic.is_for_others(&self.col_ptr, &self.row_idx, &self.values)
        });
        if self.sparse.is_none() || disordered {
            self.analyses += 1;
            let Self { n, options, pool, col_ptr, row_idx, values, .. } = self;
            let threads = |work| threads(pool, options.threads, work);
            let start = Instant::now();
            let sparse = Multifrontal::new(*n, col_ptr, row_idx, values, stop, threads)?;
            self.times.ordering = sparse.symbolic.ordering_seconds;
            self.times.analysis = start.elapsed().as_secs_f64() - self.times.ordering;
            self.sparse = Some(sparse);
        }
        self.threshold = self.next_threshold;
        let prepared = self.factor_values(stop)?;
        let planned = self.sparse.as_ref().map_or(0.0, |s| s.symbolic.work);
        if self.doubtful > 0
            && prepared.work <= self.options.settle_doubts
            && self.threshold < STRICT
            && self.dear < MOST_IN_VAIN
            && self.confirmed < MOST_IN_VAIN
            && prepared.work <= FILLED_UP * planned
        {
            return self.settle_doubts(prepared, stop);
        }
        Ok(prepared)
    }

    /// Where eigenvalues of D could be rounding, as in singular matrices, strict pivots tell: once more with those, but not for more than
    /// KEEP times the work, and no more for this pattern after three confirmations. If that does not suffice, the doubts stay. The next matrix is factorized as this one was at first.
    fn settle_doubts(&mut self, first: Prepared, stop: &StopToken) -> Result<Prepared, LinSolError> {
        let given = std::mem::replace(&mut self.threshold, STRICT);
        let most = KEEP * first.work;
        let second = self.factor_within(most, stop)?;
        let (spent, result) = match second {
            Some(second) => {
                let same = second.inertia == first.inertia;
                self.confirmed = if same { self.confirmed + 1 } else { 0 };
                (first.work, second)
            }
            None => {
                self.dear += 1;
                self.threshold = given;
                (first.work + most, self.factor_values(stop)?)
            }
        };
        self.next_threshold = given;
        Ok(Prepared { work: spent + result.work, ..result })
    }

    /// Factorizes `values`.
    fn factor_values(&mut self, stop: &StopToken) -> Result<Prepared, LinSolError> {
        self.factor_within(f64::INFINITY, stop)?.ok_or_else(not_prepared)
    }

    /// Factorizes `values` unless it takes more than `most` multiplications.
    fn factor_within(&mut self, most: f64, stop: &StopToken) -> Result<Option<Prepared>, LinSolError> {
        let mut limits = Thresholds { relative: self.threshold, zero: self.zero_pivot() };
        if most.is_finite() {
            // In doubt, as `settle_doubts` asks.
            limits.zero = limits.zero.max(DOUBT / STRICT);
        }
        let Some(sparse) = &mut self.sparse else { return Err(not_prepared()) };
        self.state = State::Empty;
        let Some((inertia, doubtful)) = sparse.factor(&self.values, limits, most, stop)? else {
            return Ok(None);
        };
        self.doubtful = doubtful;
        self.state = State::Sparse;
        let (factor_nonzeros, work) = (sparse.factor_nonzeros(), sparse.work());
        if self.threshold == self.options.pivot_threshold {
            self.usual_work = work;
        }
        let keeps = work <= KEEP * self.usual_work;
        self.next_threshold = if keeps { self.threshold } else { self.options.pivot_threshold };
        Ok(Some(Prepared { inertia: Some(inertia), factor_nonzeros, perturbed_pivots: 0, work }))
    }

    /// Whether a residual r = |b - A x| is more than rounding, that is, whether other pivots could make it smaller. Overwrites `best`.
    fn is_poor(&mut self, a: &dyn LinOp, b: &[f64], x: &[f64], r: f64) -> bool {
        let Some(a) = a.as_sparse() else { return true };
        let size = &mut self.best;
        size.copy_from_slice(b);
        size.iter_mut().for_each(|v| *v = v.abs());
        for j in 0..a.ncols {
            for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                let (i, v) = (a.row_idx[p], a.values[p].abs());
                size[i] += v * x[j].abs();
                if i != j {
                    size[j] += v * x[i].abs();
                }
            }
        }
        let limit = ROUNDING * norm2(size);
        r.is_nan() || limit.is_nan() || r > limit
    }

    /// Factorizes the same matrix with a larger u; false if u is as large as it may be.
    fn factor_more_strictly(&mut self, stop: &StopToken) -> Result<bool, LinSolError> {
        if self.threshold >= STRICT {
            self.in_vain += 1;
            if self.in_vain >= MOST_IN_VAIN {
                self.next_threshold = self.options.pivot_threshold;
            }
            return Ok(false);
        }
        self.threshold = (100.0 * self.threshold).min(STRICT);
        self.factor_values(stop)?;
        Ok(true)
    }

    /// Rounding of a sum of n terms grows with n at worst, with its root as a rule.
    fn zero_pivot(&self) -> f64 {
        let n = self.n as f64;
        self.options.zero_pivot * n.min(30.0 * n.sqrt())
    }

    /// x += S (S A S)^-1 S r, r = `residual`; `residual` is overwritten.
    fn correct(&mut self, x: &mut [f64]) -> Result<(), LinSolError> {
        for (r, s) in self.residual.iter_mut().zip(&self.scale) {
            *r *= s;
        }
        match (self.state, &mut self.sparse) {
            (State::Dense, _) => self.dense.solve(&mut self.residual),
            (State::Sparse, Some(sparse)) => sparse.solve(&mut self.residual),
            _ => return Err(not_prepared()),
        }
        for ((xi, d), s) in x.iter_mut().zip(&self.residual).zip(&self.scale) {
            *xi += s * d;
        }
        Ok(())
    }
}

/// Threads for a factorization of `work` multiplications, if it is worth them.
fn threads(pool: &mut Option<Arc<ThreadPool>>, threads: usize, work: f64) -> Option<Arc<ThreadPool>> {
    if threads < 2 || work < WORTH_THREADS {
        return None;
    }
    if pool.is_none() {
        let new = ThreadPoolBuilder::new().num_threads(threads).build();
        // Without threads the calling one does the work.
        *pool = new.ok().map(Arc::new);
    }
    pool.clone()
}

/// Says what is wrong with the pattern of a lower triangle.
fn check_pattern(a: SparseRef<'_>) -> Result<(), String> {
    if a.col_ptr.len() != a.ncols + 1 || a.col_ptr[0] != 0 || a.col_ptr.windows(2).any(|w| w[0] > w[1]) {
        return Err("column pointers that are not a partition".into());
    }
    let nnz = a.col_ptr[a.ncols];
    if a.row_idx.len() != nnz || a.values.len() != nnz {
        return Err(format!(
            "{} row indices and {} values for {nnz} entries",
            a.row_idx.len(),
            a.values.len()
        ));
    }
    for j in 0..a.ncols {
        let rows = &a.row_idx[a.col_ptr[j]..a.col_ptr[j + 1]];
        let inside = rows.first().is_none_or(|&i| i >= j) && rows.last().is_none_or(|&i| i < a.ncols);
        if !inside || rows.windows(2).any(|w| w[0] >= w[1]) {
            return Err(format!("column {j} with other rows"));
        }
    }
    Ok(())
}

fn not_prepared() -> LinSolError {
    LinSolError::Factorization { solver: NAME, reason: "prepare comes first".into() }
}

impl LinearSolver for Ldl {
    fn forget(&mut self) {
        self.scale.fill(1.0);
        (self.in_vain, self.dear, self.confirmed) = (0, 0, 0);
        self.next_threshold = self.options.pivot_threshold;
        self.usual_work = f64::INFINITY;
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> SolverFacts {
        SolverFacts { inertia: true, needs_entries: true }
    }

    fn prepare(&mut self, a: &mut dyn LinOp, stop: &StopToken) -> Result<Prepared, LinSolError> {
        self.state = State::Empty;
        let (nrows, ncols) = (a.nrows(), a.ncols());
        if nrows != ncols {
            let found = format!("{nrows} x {ncols}");
            return Err(LinSolError::Shape { solver: NAME, expected: "square", found });
        }
        let Some(a) = a.as_sparse() else {
            return Err(LinSolError::NeedsEntries { solver: NAME });
        };
        if a.storage != Storage::SymmetricLower {
            let found = "one stored in full".into();
            return Err(LinSolError::Shape { solver: NAME, expected: "symmetric", found });
        }
        let start = Instant::now();
        self.times = FactorTimes::default();
        self.adopt_pattern(a)?;
        if !equilibrate::equilibrate(a, &mut self.scale, &mut self.residual) {
            return Err(LinSolError::NotFinite { solver: NAME, what: "matrix" });
        }
        if stop.check().is_some() {
            return Err(LinSolError::Stopped);
        }
        let prepared = if self.dense_pays() { Ok(self.factor_dense(a)) } else { self.factor_sparse(a, stop) };
        self.times.numeric = start.elapsed().as_secs_f64() - self.times.ordering - self.times.analysis;
        prepared
    }

    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        let Some(start) = begin(NAME, self.n, a, b, x, &mut self.residual)? else {
            return Ok(Solved {
                relative_residual: 0.0,
                at_rounding: false,
                iterations: 0,
                end: SolveEnd::Reached,
            });
        };
        let (norm_b, mut r) = (start.norm_b, start.norm_r);
        let target = accuracy.relative * norm_b;
        let (mut iterations, mut at_rounding) = (0, false);
        let from_zero = x.iter().all(|v| *v == 0.0);
        let end = loop {
            if r <= target {
                break SolveEnd::Reached;
            }
            if iterations >= accuracy.max_iterations {
                break SolveEnd::MaxIterations;
            }
            if stop.check().is_some() {
                break SolveEnd::Stopped;
            }
            self.best.copy_from_slice(x);
            self.correct(x)?;
            iterations += 1;
            let new = residual(a, b, x, &mut self.residual);
            // Not even halved: rounding level, or a singular inconsistent system.
            let stalled = new.is_nan() || new > 0.5 * r;
            // Where x is large beside b, even rounding may exceed b: the first solution counts all the same.
            let first = new >= r && from_zero && iterations == 1 && !self.is_poor(a, b, x, new);
            if new < r || first {
                r = new;
            } else if from_zero && iterations == 1 {
                x.fill(0.0);
            } else {
                x.copy_from_slice(&self.best);
            }
            if stalled && r > target {
                let doubtful = r > POOR * norm_b;
                at_rounding = first || doubtful && !self.is_poor(a, b, x, r);
                let stricter = self.state == State::Sparse
                    && doubtful
                    && !at_rounding
                    && self.in_vain < MOST_IN_VAIN
                    && self.factor_more_strictly(stop)?;
                if !stricter {
                    break SolveEnd::Stagnated;
                }
                residual(a, b, x, &mut self.residual);
            }
        };
        Ok(Solved { relative_residual: r / norm_b, at_rounding, iterations, end })
    }
}
