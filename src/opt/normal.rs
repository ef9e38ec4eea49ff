//! Normal equations for the feasibility phase of data fits: many more equations than unknowns, dense Jacobian.
//!
//! The augmented system of `feasibility` with right-hand side (bx, by) has the solution
//!
//! ```text
//!     (W + S + mu D + J'J) dx = bx + J'by,      r = J dx - by
//! ```
//!
//! an n x n system in place of one of n + m; J'J by one dense product. It squares the condition number of J, which the
//! damping limits and the step of a least-squares phase can afford; small systems are not worth it.

use super::model::Model;
use crate::linalg::{SparseMatrix, Storage, gram};
use crate::linsol::{Accuracy, Inertia, Ldl, LdlOptions, LinSolError, LinearSolver, Prepared, Solved};
use crate::nlp::Pattern;
use crate::observe::StopToken;

/// Equations per unknown from which this pays.
const RATIO: usize = 10;
const MOST_UNKNOWNS: usize = 500;
const MOST_ENTRIES: usize = 50_000_000;
/// Systems up to this size are factorized as they are.
const SMALL: usize = 150;

pub(super) struct NormalEquations {
    /// J, column by column.
    jacobian: Vec<f64>,
    /// J'J, full storage.
    product: Vec<f64>,
    matrix: SparseMatrix,
    solver: Ldl,
    rhs: Vec<f64>,
}

impl NormalEquations {
    /// `None` where the augmented system is the better choice.
    pub fn new(model: &Model<'_>) -> Option<Self> {
        let (n, m) = (model.n, model.m);
        let jacobian = model.jacobian()?;
        let dense = 4 * jacobian.values.len() >= n * m;
        if n == 0 || n > MOST_UNKNOWNS || m < RATIO * n || n + m <= SMALL || n * m > MOST_ENTRIES || !dense {
            return None;
        }
        let p = Pattern::dense_lower(n);
        let (matrix, _) = SparseMatrix::from_coordinates(n, n, &p.rows, &p.cols, Storage::SymmetricLower);
        Some(Self {
            jacobian: vec![0.0; n * m],
            product: vec![0.0; n * n],
            matrix,
            solver: Ldl::new(LdlOptions { dense_up_to: MOST_UNKNOWNS / 2, ..LdlOptions::default() }),
            rhs: vec![0.0; n],
        })
    }

    /// J'J at the model's Jacobian.
    pub fn fill(&mut self, model: &Model<'_>) {
        let (n, m) = (model.n, model.m);
        let Some(j) = model.jacobian() else { return };
        self.jacobian.fill(0.0);
        for col in 0..n {
            for p in j.col_ptr[col]..j.col_ptr[col + 1] {
                self.jacobian[col * m + j.row_idx[p]] = j.values[p];
            }
        }
        gram(m, n, &self.jacobian, &mut self.product);
    }

    /// Factorizes J'J + H + diag(s) + t D; H only if asked for. The inertia is that of the augmented system.
    pub fn prepare(
        &mut self,
        model: &Model<'_>,
        hessian: bool,
        (t, weights, barrier): (f64, &[f64], &[f64]),
        stop: &StopToken,
    ) -> Result<Prepared, LinSolError> {
        let n = model.n;
        let a = &mut self.matrix;
        for (j, weight) in weights.iter().enumerate() {
            let start = a.col_ptr[j];
            a.values[start..a.col_ptr[j + 1]].copy_from_slice(&self.product[j * n + j..(j + 1) * n]);
            a.values[start] += t * weight + barrier.get(j).copied().unwrap_or(0.0);
        }
        if hessian && let Some(h) = model.hessian() {
            for j in 0..n {
                for p in h.col_ptr[j]..h.col_ptr[j + 1] {
                    a.values[a.col_ptr[j] + h.row_idx[p] - j] += h.values[p];
                }
            }
        }
        let mut prepared = self.solver.prepare(a, stop)?;
        prepared.inertia = prepared.inertia.map(|i| Inertia { negative: i.negative + model.m, ..i });
        Ok(prepared)
    }

    /// `step` <- (dx, r) for the right-hand side (bx, by).
    pub fn solve(
        &mut self,
        model: &mut Model<'_>,
        rhs: &[f64],
        step: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        let (bx, by) = rhs.split_at(model.n);
        let (dx, r) = step.split_at_mut(model.n);
        self.rhs.copy_from_slice(bx);
        if let Some(j) = model.jacobian() {
            j.as_ref().apply_t(1.0, by, 1.0, &mut self.rhs);
        }
        let solved = self.solver.solve(&mut self.matrix, &self.rhs, dx, accuracy, stop)?;
        r.copy_from_slice(by);
        if let Some(j) = model.jacobian() {
            j.as_ref().apply(1.0, dx, -1.0, r);
        }
        Ok(solved)
    }
}
