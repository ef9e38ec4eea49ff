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

use crate::linalg::{SparseMatrix, SparseRef, Storage, gram};
use crate::linsol::{Accuracy, Inertia, Ldl, LdlOptions, LinSolError, LinearSolver, Prepared, Solved};
use crate::nlp::Pattern;
use crate::observe::StopToken;
use crate::opt::problem::{Coordinates, DROPPED, Form};

/// Equations per unknown from which this pays.
const RATIO: usize = 10;
const MOST_UNKNOWNS: usize = 500;
const MOST_ENTRIES: usize = 50_000_000;
/// Systems up to this size are factorized as they are.
const SMALL: usize = 150;

pub(super) struct NormalEquations {
    n: usize,
    m: usize,
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
    pub fn new(form: &Form) -> Option<Self> {
        let (n, m) = (form.n, form.m);
        let dense = form.jacobian.is_some() && 4 * form.jacobian_len() >= n * m;
        if n == 0 || n > MOST_UNKNOWNS || m < RATIO * n || n + m <= SMALL || n * m > MOST_ENTRIES || !dense {
            return None;
        }
        let p = Pattern::dense_lower(n);
        let (matrix, _) = SparseMatrix::from_coordinates(n, n, &p.rows, &p.cols, Storage::SymmetricLower);
        Some(Self {
            n,
            m,
            jacobian: vec![0.0; n * m],
            product: vec![0.0; n * n],
            matrix,
            solver: Ldl::new(LdlOptions { dense_up_to: MOST_UNKNOWNS / 2, ..LdlOptions::default() }),
            rhs: vec![0.0; n],
        })
    }

    /// J'J.
    pub fn fill(&mut self, j: SparseRef<'_>) {
        let (n, m) = (self.n, self.m);
        self.jacobian.fill(0.0);
        for col in 0..n {
            for p in j.col_ptr[col]..j.col_ptr[col + 1] {
                self.jacobian[col * m + j.row_idx[p]] = j.values[p];
            }
        }
        gram(m, n, &self.jacobian, &mut self.product);
    }

    /// Factorizes J'J + H + diag(s) + t D; `hessian`: places and values of H, if it is wanted. The inertia is that of the
    /// augmented system.
    pub fn prepare(
        &mut self,
        hessian: Option<(Option<&Coordinates>, &[f64])>,
        (t, weights, barrier): (f64, &[f64], &[f64]),
        stop: &StopToken,
    ) -> Result<Prepared, LinSolError> {
        let n = self.n;
        let a = &mut self.matrix;
        for (j, weight) in weights.iter().enumerate() {
            let start = a.col_ptr[j];
            a.values[start..a.col_ptr[j + 1]].copy_from_slice(&self.product[j * n + j..(j + 1) * n]);
            a.values[start] += t * weight + barrier.get(j).copied().unwrap_or(0.0);
        }
        if let Some((Some(places), values)) = hessian {
            for ((&i, &j), v) in places.rows.iter().zip(&places.cols).zip(values) {
                if i != DROPPED {
                    let (i, j) = (i.max(j) as usize, i.min(j) as usize);
                    a.values[a.col_ptr[j] + i - j] += v;
                }
            }
        }
        let mut prepared = self.solver.prepare(a, stop)?;
        prepared.inertia = prepared.inertia.map(|i| Inertia { negative: i.negative + self.m, ..i });
        Ok(prepared)
    }

    /// `step` <- (dx, r) for the right-hand side (bx, by).
    pub fn solve(
        &mut self,
        jacobian: SparseRef<'_>,
        rhs: &[f64],
        step: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        let (bx, by) = rhs.split_at(self.n);
        let (dx, r) = step.split_at_mut(self.n);
        self.rhs.copy_from_slice(bx);
        jacobian.apply_t(1.0, by, 1.0, &mut self.rhs);
        let solved = self.solver.solve(&mut self.matrix, &self.rhs, dx, accuracy, stop)?;
        r.copy_from_slice(by);
        jacobian.apply(1.0, dx, -1.0, r);
        Ok(solved)
    }
}
