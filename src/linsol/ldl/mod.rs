//! Sparse and dense LDL' of symmetric indefinite matrices: inertia, solves with iterative refinement.

mod dense;
mod equilibrate;
mod pivoting;
#[cfg(test)]
mod tests;

use crate::linalg::{LinOp, SparseRef, Storage, norm2};
use crate::linsol::{Accuracy, LinSolError, LinearSolver, Prepared, SolveEnd, Solved};
use crate::observe::StopToken;

use dense::DenseLdl;
use pivoting::Pivoting;

const NAME: &str = "ldl";

/// Options of [`Ldl`].
#[derive(Debug, Clone, PartialEq)]
pub struct LdlOptions {
    /// Systems of at most this many unknowns are factorized densely.
    pub dense_up_to: usize,
    /// A pivot of the equilibrated matrix counts as zero up to `zero_pivot` times the dimension.
    pub zero_pivot: f64,
    /// Threshold of the pivoting sparse factorization: entries of L stay below its reciprocal.
    pub pivot_threshold: f64,
}

impl Default for LdlOptions {
    fn default() -> Self {
        Self { dense_up_to: 100, zero_pivot: 4.0 * f64::EPSILON, pivot_threshold: 0.01 }
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
    pivoting: Option<Pivoting>,
    state: State,
    residual: Vec<f64>,
    step: Vec<f64>,
    best: Vec<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Dense,
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
            pivoting: None,
            state: State::Empty,
            residual: Vec::new(),
            step: Vec::new(),
            best: Vec::new(),
        }
    }

    /// Takes over the pattern unless it is the one at hand.
    fn adopt_pattern(&mut self, a: SparseRef<'_>) {
        let n = a.ncols;
        let nnz = a.col_ptr[n];
        if self.n == n && self.col_ptr == a.col_ptr && self.row_idx == a.row_idx[..nnz] {
            return;
        }
        self.n = n;
        self.col_ptr.clear();
        self.col_ptr.extend_from_slice(&a.col_ptr[..n + 1]);
        self.row_idx.clear();
        self.row_idx.extend_from_slice(&a.row_idx[..nnz]);
        self.values.resize(nnz, 0.0);
        for v in [&mut self.scale, &mut self.residual, &mut self.step, &mut self.best] {
            v.clear();
            v.resize(n, 0.0);
        }
        self.pivoting = None;
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

    fn factor_pivoting(&mut self, a: SparseRef<'_>) -> Result<Prepared, LinSolError> {
        for j in 0..self.n {
            for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                self.values[p] = a.values[p] * self.scale[a.row_idx[p]] * self.scale[j];
            }
        }
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
        let step = match (self.state, &self.pivoting) {
            (State::Dense, _) => {
                self.dense.solve(&mut self.residual);
                &self.residual
            }
            (State::Pivoting, Some(pivoting)) => {
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

/// residual <- b - A x, returns its norm.
fn residual(a: &mut dyn LinOp, b: &[f64], x: &[f64], r: &mut [f64]) -> f64 {
    r.copy_from_slice(b);
    a.apply(-1.0, x, 1.0, r);
    norm2(r)
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
        self.adopt_pattern(a);
        if !equilibrate::equilibrate(a, &mut self.scale, &mut self.residual) {
            return Err(LinSolError::NotFinite { solver: NAME, what: "matrix" });
        }
        if stop.check().is_some() {
            return Err(LinSolError::Stopped);
        }
        if self.n <= self.options.dense_up_to { Ok(self.factor_dense(a)) } else { self.factor_pivoting(a) }
    }

    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        let n = self.n;
        if a.nrows() != n || b.len() != n || x.len() != n {
            let found = format!("{} rows, {} of b, {} of x", a.nrows(), b.len(), x.len());
            return Err(LinSolError::Shape { solver: NAME, expected: "prepared", found });
        }
        let norm_b = norm2(b);
        if !norm_b.is_finite() {
            return Err(LinSolError::NotFinite { solver: NAME, what: "right-hand side" });
        }
        let done = |relative_residual, iterations, end| Ok(Solved { relative_residual, iterations, end });
        if norm_b == 0.0 {
            x.fill(0.0);
            return done(0.0, 0, SolveEnd::Reached);
        }
        let target = accuracy.relative * norm_b;
        let mut r = residual(a, b, x, &mut self.residual);
        if !r.is_finite() {
            x.fill(0.0);
            self.residual.copy_from_slice(b);
            r = norm_b;
        }
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
                break SolveEnd::Stagnated;
            }
        };
        done(r / norm_b, iterations, end)
    }
}
