//! Sparse multifrontal LDL' with threshold pivoting and delayed pivots (crate feral): the careful path.

use feral::scaling::ScalingStrategy;
use feral::symbolic::supernode::SupernodeParams;
use feral::{CscMatrix, FactorStatus, NumericParams, Solver, ZeroPivotAction};

use crate::linsol::{Inertia, LinSolError};

use super::NAME;

/// Owns feral's solver and the matrix in its form.
pub(super) struct Pivoting {
    solver: Solver,
    matrix: CscMatrix,
    zero_tol: f64,
}

/// What the factorization found.
pub(super) struct Found {
    pub(super) inertia: Inertia,
    pub(super) factor_nonzeros: usize,
    pub(super) perturbed: usize,
}

impl Pivoting {
    /// For a matrix of this pattern (lower triangle), equilibrated by the caller. Pivots of at most `zero_tol` count as zero.
    pub(super) fn new(n: usize, col_ptr: &[usize], row_idx: &[usize], threshold: f64, zero_tol: f64) -> Self {
        let mut numeric = NumericParams { scaling: ScalingStrategy::Identity, ..NumericParams::default() };
        numeric.bk.pivot_threshold = threshold;
        // A zero pivot is raised to just below the tolerance: of a singular consistent system the solution then has a
        // null-space component of rounding error over tolerance, which is harmless; feral's other choice divides by the noise.
        (numeric.bk.zero_tol, numeric.bk.null_pivot_tol) = (0.5 * zero_tol, 0.5 * zero_tol);
        (numeric.bk.zero_tol_2x2, numeric.bk.null_pivot_tol_2x2) = (zero_tol * zero_tol, zero_tol * zero_tol);
        numeric.bk.on_zero_pivot = ZeroPivotAction::PerturbToEps { abs_floor: 0.5 * zero_tol };
        let solver = Solver::with_params(numeric, SupernodeParams::default()).with_parallel(false);
        let matrix = CscMatrix {
            n,
            col_ptr: col_ptr.to_vec(),
            row_idx: row_idx.to_vec(),
            values: vec![0.0; row_idx.len()],
        };
        Self { solver, matrix, zero_tol }
    }

    /// Factorizes the equilibrated values.
    pub(super) fn factor(&mut self, values: &[f64]) -> Result<Found, LinSolError> {
        self.matrix.values.copy_from_slice(values);
        let zero_tol = self.zero_tol;
        let fail = |reason: String| LinSolError::Factorization { solver: NAME, reason };
        match self.solver.factor(&self.matrix, None) {
            FactorStatus::Success | FactorStatus::WrongInertia { .. } => {}
            FactorStatus::Singular => return Err(fail("singular to working precision".into())),
            FactorStatus::FatalError(e) => return Err(fail(e.to_string())),
        }
        let Some(factors) = self.solver.factors() else {
            return Err(fail("no factors".into()));
        };
        // feral counts tiny pivots by their sign; within the rank tolerance that sign is rounding noise: count zeros ourselves.
        let mut inertia = Inertia { positive: 0, negative: 0, zero: 0 };
        let mut factor_nonzeros = 0;
        for node in &factors.node_factors {
            let f = &node.frontal_factors;
            factor_nonzeros += f.nelim * (2 * f.nrow - f.nelim + 1) / 2;
            let mut k = 0;
            while k < f.nelim {
                let b = f.d_subdiag.get(k).copied().unwrap_or(0.0);
                if b != 0.0 && k + 1 < f.nelim {
                    let (lo, hi) = eigenvalues(f.d_diag[k], b, f.d_diag[k + 1]);
                    count(&mut inertia, lo, zero_tol);
                    count(&mut inertia, hi, zero_tol);
                    k += 2;
                } else {
                    count(&mut inertia, f.d_diag[k], zero_tol);
                    k += 1;
                }
            }
        }
        let perturbed = self.solver.last_factor_stats().map_or(0, |s| s.n_tiny.saturating_sub(inertia.zero));
        Ok(Found { inertia, factor_nonzeros, perturbed })
    }

    /// x <- A^-1 b with the last factors. feral allocates its work space in each call.
    pub(super) fn solve(&self, b: &[f64], x: &mut [f64]) -> Result<(), LinSolError> {
        self.solver
            .solve_into(b, x)
            .map_err(|e| LinSolError::Factorization { solver: NAME, reason: e.to_string() })
    }
}

/// Of [a b; b c].
fn eigenvalues(a: f64, b: f64, c: f64) -> (f64, f64) {
    let mean = 0.5 * (a + c);
    let radius = (0.5 * (a - c)).hypot(b);
    // The eigenvalue of larger magnitude without cancellation, the other from the determinant.
    let big = if mean >= 0.0 { mean + radius } else { mean - radius };
    if big == 0.0 {
        return (0.0, 0.0);
    }
    let small = (a / big) * c - (b / big) * b;
    (big, small)
}

fn count(inertia: &mut Inertia, d: f64, zero_tol: f64) {
    if d > zero_tol {
        inertia.positive += 1;
    } else if d < -zero_tol {
        inertia.negative += 1;
    } else {
        inertia.zero += 1;
    }
}
