//! Sparse and dense LDL' of symmetric indefinite matrices: inertia, solves with iterative refinement.

mod dense;
mod equilibrate;
mod pivoting;
mod supernodal;
#[cfg(test)]
mod tests;

use crate::linalg::{LinOp, SparseRef, Storage, norm2};
use crate::linsol::common::{begin, residual, resize};
use crate::linsol::{Accuracy, LinSolError, LinearSolver, Prepared, SolveEnd, Solved};
use crate::observe::StopToken;

use dense::DenseLdl;
use pivoting::Pivoting;
use supernodal::Supernodal;

const NAME: &str = "ldl";
/// See `Ldl::probe`.
const PROBE_REDUCTION: f64 = 1e-4;
const PROBE_STEPS: usize = 5;
/// Refinement that stalls above this calls for the pivoting factorization.
const POOR: f64 = 1e-10;
const TOO_MUCH_WORK: &str = "a zero pivot, and too much work for a factorization with pivoting";

/// Options of [`Ldl`].
#[derive(Debug, Clone, PartialEq)]
pub struct LdlOptions {
    /// Systems of at most this many unknowns are factorized densely, and of three times as many if a quarter of the
    /// entries are there.
    pub dense_up_to: usize,
    /// A pivot of the equilibrated matrix counts as zero up to `zero_pivot` times the dimension.
    pub zero_pivot: f64,
    /// The fast sparse factorization adds this to (or subtracts it from) the diagonal of the equilibrated matrix, and
    /// where that proves wrong tries once more with 100 times as much; refinement and the inertia test are against the
    /// matrix itself. 0 switches the fast factorization off.
    pub regularization: f64,
    /// Signs of that regularization: positive for primal, negative for dual unknowns; empty: those of the diagonal,
    /// negative where it is zero.
    pub signs: Vec<i8>,
    /// Threshold of the pivoting sparse factorization: entries of L stay below its reciprocal.
    pub pivot_threshold: f64,
    /// The pivoting factorization, which takes about a nanosecond a multiplication and cannot be interrupted, is not tried
    /// where the fast one needs more multiplications than this: then `perturbed_pivots` says that the inertia is in doubt.
    pub pivoting_work: f64,
}

impl Default for LdlOptions {
    fn default() -> Self {
        Self {
            dense_up_to: 50,
            zero_pivot: 4.0 * f64::EPSILON,
            regularization: 1e-10,
            signs: Vec::new(),
            pivot_threshold: 0.01,
            pivoting_work: 1e10,
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
    supernodal: Option<Supernodal>,
    pivoting: Option<Pivoting>,
    /// Calls of `prepare` that go straight to the pivoting factorization, and how many after the next failure.
    skip: u32,
    skip_next: u32,
    /// Whether the larger regularization is tried first: it was the last to be good.
    more: bool,
    probe_seed: u64,
    state: State,
    residual: Vec<f64>,
    step: Vec<f64>,
    best: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Dense,
    Fast,
    Pivoting,
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
            supernodal: None,
            pivoting: None,
            skip: 0,
            skip_next: 1,
            more: false,
            probe_seed: 0,
            state: State::Empty,
            residual: Vec::new(),
            step: Vec::new(),
            best: Vec::new(),
        }
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
        resize(n, &mut [&mut self.scale, &mut self.residual, &mut self.step, &mut self.best]);
        (self.supernodal, self.pivoting) = (None, None);
        (self.skip, self.skip_next) = (0, 1);
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
        let inertia = self.dense.factor(self.options.zero_pivot * n as f64);
        self.state = State::Dense;
        Prepared { inertia: Some(inertia), factor_nonzeros: n * (n + 1) / 2, perturbed_pivots: 0 }
    }

    fn factor_sparse(&mut self, a: SparseRef<'_>, stop: &StopToken) -> Result<Prepared, LinSolError> {
        for j in 0..self.n {
            for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                self.values[p] = a.values[p] * self.scale[a.row_idx[p]] * self.scale[j];
            }
        }
        if self.options.regularization == 0.0 {
            return self.factor_pivoting();
        }
        if self.skip > 0 {
            self.skip -= 1;
            return self.factor_pivoting();
        }
        let mut prepared = self.factor_fast(stop)?;
        if stop.check().is_some() {
            return Err(LinSolError::Stopped);
        }
        if prepared.perturbed_pivots == 0 {
            self.skip_next = 1;
            return Ok(prepared);
        }
        if !self.may_pivot() {
            // Without a single usable pivot there is nothing to fall back on.
            if prepared.inertia.is_none() {
                return Err(LinSolError::TooLarge { solver: NAME, reason: TOO_MUCH_WORK.into() });
            }
            self.state = State::Fast;
            prepared.perturbed_pivots = 1;
            return Ok(prepared);
        }
        self.skip = self.skip_next;
        self.skip_next = (2 * self.skip_next).min(16);
        self.factor_pivoting()
    }

    /// `perturbed_pivots` is not 0 if the factors are not good enough to be trusted.
    fn factor_fast(&mut self, stop: &StopToken) -> Result<Prepared, LinSolError> {
        let mut fast = match self.supernodal.take() {
            Some(fast) => fast,
            None => Supernodal::new(self.n, &self.col_ptr, &self.row_idx)?,
        };
        if stop.check().is_some() {
            return Err(LinSolError::Stopped);
        }
        let signs = std::mem::take(&mut self.options.signs);
        let sign = |j: usize, ajj: f64| match signs.get(j) {
            Some(&s) => f64::from(s.signum()),
            None if ajj > 0.0 => 1.0,
            None => -1.0,
        };
        // Little regularization suits ill-conditioned matrices, more of it those whose elimination grows.
        let (mut inertia, mut trusted) = (None, false);
        for _ in 0..2 {
            let delta = self.options.regularization * if self.more { 100.0 } else { 1.0 };
            inertia = fast.factor(&self.values, delta, sign);
            trusted = inertia.is_some() && self.probe(&mut fast);
            if trusted || stop.check().is_some() {
                break;
            }
            self.more = !self.more;
        }
        self.options.signs = signs;
        let factor_nonzeros = fast.factor_nonzeros();
        self.supernodal = Some(fast);
        if trusted {
            self.state = State::Fast;
        }
        Ok(Prepared { inertia, factor_nonzeros, perturbed_pivots: usize::from(!trusted) })
    }

    /// Whether refinement with these factors converges, which certifies their inertia.
    ///
    /// The factors are exact for K + F, F the regularization and all rounding errors. Along K + t F, 0 <= t <= 1, an
    /// eigenvalue changes sign only if -1/t is an eigenvalue of F K^-1, that is, if M = F (K + F)^-1 has a real
    /// eigenvalue mu >= 1 (mu = 1: K itself is singular). M is the iteration matrix of refinement, r <- M r. With left
    /// eigenvector u, |r_k| >= |u'r_k|/|u| >= |u'r_0|/|u|, and for a random r_0 this is about |r_0|/sqrt(n). So a residual
    /// below 1e-4 |r_0|/sqrt(n) excludes such a mu but with probability 1e-4.
    fn probe(&mut self, fast: &mut Supernodal) -> bool {
        let n = self.n;
        let k = SparseRef {
            nrows: n,
            ncols: n,
            col_ptr: &self.col_ptr,
            row_idx: &self.row_idx,
            values: &self.values,
            storage: Storage::SymmetricLower,
        };
        self.probe_seed = self.probe_seed.wrapping_add(1);
        let r = &mut self.residual;
        for (i, ri) in r.iter_mut().enumerate() {
            *ri = hash(self.probe_seed, i as u64);
        }
        let first = norm2(r);
        let goal = PROBE_REDUCTION * first / (n as f64).sqrt();
        let mut last = first;
        for _ in 0..PROBE_STEPS {
            self.step.copy_from_slice(r);
            fast.solve(&mut self.step);
            k.apply(-1.0, &self.step, 1.0, r);
            let now = norm2(r);
            if now <= goal {
                return true;
            }
            if now.is_nan() || now > 0.3 * last {
                return false;
            }
            last = now;
        }
        false
    }

    /// Whether the pivoting factorization is affordable, judged by the work of the fast one.
    fn may_pivot(&self) -> bool {
        self.supernodal.as_ref().is_none_or(|f| f.work() <= self.options.pivoting_work)
    }

    fn factor_pivoting(&mut self) -> Result<Prepared, LinSolError> {
        let pivoting = self.pivoting.get_or_insert_with(|| {
            let zero_tol = self.options.zero_pivot * self.n as f64;
            Pivoting::new(self.n, &self.col_ptr, &self.row_idx, self.options.pivot_threshold, zero_tol)
        });
        let found = pivoting.factor(&self.values)?;
        self.state = State::Pivoting;
        Ok(Prepared {
            inertia: Some(found.inertia),
            factor_nonzeros: found.factor_nonzeros,
            perturbed_pivots: found.perturbed,
        })
    }

    /// x += S (S A S)^-1 S r, r = `residual`; `residual` is overwritten.
    fn correct(&mut self, x: &mut [f64]) -> Result<(), LinSolError> {
        for (r, s) in self.residual.iter_mut().zip(&self.scale) {
            *r *= s;
        }
        let step = match (self.state, &mut self.supernodal, &self.pivoting) {
            (State::Dense, ..) => {
                self.dense.solve(&mut self.residual);
                &self.residual
            }
            (State::Fast, Some(fast), _) => {
                fast.solve(&mut self.residual);
                &self.residual
            }
            (State::Pivoting, _, Some(pivoting)) => {
                pivoting.solve(&self.residual, &mut self.step)?;
                &self.step
            }
            _ => {
                return Err(LinSolError::Factorization {
                    solver: NAME,
                    reason: "prepare comes first".into(),
                });
            }
        };
        for ((xi, d), s) in x.iter_mut().zip(step).zip(&self.scale) {
            *xi += s * d;
        }
        Ok(())
    }
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

/// A number in [-1, 1) for each seed and index (splitmix64).
fn hash(seed: u64, i: u64) -> f64 {
    let mut z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(i.wrapping_mul(0xbf58_476d_1ce4_e5b9));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

impl LinearSolver for Ldl {
    fn name(&self) -> &'static str {
        NAME
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
        self.adopt_pattern(a)?;
        if !equilibrate::equilibrate(a, &mut self.scale, &mut self.residual) {
            return Err(LinSolError::NotFinite { solver: NAME, what: "matrix" });
        }
        if stop.check().is_some() {
            return Err(LinSolError::Stopped);
        }
        if self.dense_pays() { Ok(self.factor_dense(a)) } else { self.factor_sparse(a, stop) }
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
            return Ok(Solved { relative_residual: 0.0, iterations: 0, end: SolveEnd::Reached });
        };
        let (norm_b, mut r) = (start.norm_b, start.norm_r);
        let target = accuracy.relative * norm_b;
        let mut iterations = 0;
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
            let improved = new < r;
            // Not even halved: rounding level, or a singular inconsistent system.
            let stalled = new.is_nan() || new > 0.5 * r;
            if improved {
                r = new;
            } else {
                x.copy_from_slice(&self.best);
            }
            if stalled && r > target {
                if self.state == State::Fast && r > POOR * norm_b && self.may_pivot() {
                    self.factor_pivoting()?;
                    residual(a, b, x, &mut self.residual);
                    continue;
                }
                break SolveEnd::Stagnated;
            }
        };
        Ok(Solved { relative_residual: r / norm_b, iterations, end })
    }
}
