//! The KKT matrix of a step, lower triangle:
//!
//! ```text
//!     K = [ H + S + t D    J'       ]   n        H = sigma hess f + sum y_i hess c_i, or 0
//!         [ J             -delta I  ]   m        S = zl / (x - xl) + zu / (xu - x), 0 without bounds
//! ```
//!
//! formed from entries, or applied by products. Products with K use entries where there are any.

use super::model::Model;
use crate::linalg::{LinOp, SparseMatrix, SparseRef, Storage};

/// K by entries. The entries of H and J are copied in once per point, the diagonal once per regularization.
pub(super) struct KktMatrix {
    n: usize,
    matrix: SparseMatrix,
    hessian_at: Vec<usize>,
    jacobian_at: Vec<usize>,
    diagonal_at: Vec<usize>,
    /// Diagonal without regularization.
    diagonal: Vec<f64>,
}

impl KktMatrix {
    /// Sets up the pattern; `None` without entries.
    pub fn new(model: &Model<'_>) -> Option<Self> {
        let hessian = model.hessian()?;
        if !model.has_entries() {
            return None;
        }
        let (n, m) = (model.n, model.m);
        let (mut rows, mut cols) = (Vec::new(), Vec::new());
        let mut push = |matrix: &SparseMatrix, row_shift: usize| {
            for j in 0..matrix.ncols {
                for p in matrix.col_ptr[j]..matrix.col_ptr[j + 1] {
                    rows.push(matrix.row_idx[p] + row_shift);
                    cols.push(j);
                }
            }
        };
        push(hessian, 0);
        if let Some(jacobian) = model.jacobian() {
            push(jacobian, n);
        }
        rows.extend(0..n + m);
        cols.extend(0..n + m);
        let (matrix, position) =
            SparseMatrix::from_coordinates(n + m, n + m, &rows, &cols, Storage::SymmetricLower);
        let (hessian_at, rest) = position.split_at(hessian.values.len());
        let (jacobian_at, diagonal_at) = rest.split_at(rest.len() - (n + m));
        Some(Self {
            n,
            hessian_at: hessian_at.to_vec(),
            jacobian_at: jacobian_at.to_vec(),
            diagonal_at: diagonal_at.to_vec(),
            diagonal: vec![0.0; n + m],
            matrix,
        })
    }

    /// Copies H (or zero) and J of the model and adds the diagonal S (empty: none); no regularization yet.
    pub fn fill(&mut self, model: &Model<'_>, with_hessian: bool, barrier: &[f64]) {
        let values = &mut self.matrix.values;
        values.fill(0.0);
        if with_hessian && let Some(h) = model.hessian() {
            for (&p, v) in self.hessian_at.iter().zip(&h.values) {
                values[p] += v;
            }
        }
        if let Some(j) = model.jacobian() {
            for (&p, v) in self.jacobian_at.iter().zip(&j.values) {
                values[p] += v;
            }
        }
        for (d, &p) in self.diagonal.iter_mut().zip(&self.diagonal_at) {
            *d = values[p];
        }
        for (d, s) in self.diagonal.iter_mut().zip(barrier) {
            *d += s;
        }
    }

    pub fn matrix(&self) -> &SparseMatrix {
        &self.matrix
    }

    /// Sets the regularization t D and -delta I.
    pub fn regularize(&mut self, t: f64, weights: &[f64], delta: f64) {
        for (k, (&p, d)) in self.diagonal_at.iter().zip(&self.diagonal).enumerate() {
            let shift = if k < self.n { t * weights[k] } else { -delta };
            self.matrix.values[p] = d + shift;
        }
    }
}

/// K as an operator for the linear solvers: borrowed for one direction.
pub(super) struct KktOperator<'k, 'm> {
    pub model: &'k mut Model<'m>,
    pub matrix: Option<&'k KktMatrix>,
    pub x: &'k [f64],
    pub y: &'k [f64],
    pub sigma: f64,
    pub with_hessian: bool,
    pub t: f64,
    pub weights: &'k [f64],
    /// S, or empty.
    pub barrier: &'k [f64],
    pub delta: f64,
    /// K is the matrix that the problem's preconditioner is made for.
    pub preconditioned: bool,
    /// Scratch, length n + m.
    pub scratch: &'k mut [f64],
}

impl LinOp for KktOperator<'_, '_> {
    fn nrows(&self) -> usize {
        self.model.n + self.model.m
    }
    fn ncols(&self) -> usize {
        self.nrows()
    }

    fn apply(&mut self, alpha: f64, v: &[f64], beta: f64, out: &mut [f64]) {
        if let Some(k) = self.matrix {
            return k.matrix.as_ref().apply(alpha, v, beta, out);
        }
        crate::linalg::scale(beta, out);
        let n = self.model.n;
        let (vx, vy) = v.split_at(n);
        let (ox, oy) = out.split_at_mut(n);
        let (sx, sy) = self.scratch.split_at_mut(n);
        // A failing product leaves NaN, which every solver reports as "not finite".
        let add = |ok: bool, s: &[f64], o: &mut [f64]| {
            for (oi, si) in o.iter_mut().zip(s) {
                *oi += if ok { alpha * si } else { f64::NAN };
            }
        };
        if self.with_hessian {
            let ok = self.model.hess_mul(self.x, self.sigma, self.y, vx, sx).is_ok();
            add(ok, sx, ox);
        }
        if self.model.m > 0 {
            let ok = self.model.jac_t_mul(self.x, vy, sx).is_ok();
            add(ok, sx, ox);
            let ok = self.model.jac_mul(self.x, vx, sy).is_ok();
            add(ok, sy, oy);
        }
        for ((o, vi), w) in ox.iter_mut().zip(vx).zip(self.weights) {
            *o += alpha * self.t * w * vi;
        }
        for ((o, vi), s) in ox.iter_mut().zip(vx).zip(self.barrier) {
            *o += alpha * s * vi;
        }
        for (o, vi) in oy.iter_mut().zip(vy) {
            *o -= alpha * self.delta * vi;
        }
    }

    fn apply_t(&mut self, alpha: f64, v: &[f64], beta: f64, out: &mut [f64]) {
        self.apply(alpha, v, beta, out);
    }

    fn precondition(&mut self, r: &[f64], z: &mut [f64]) -> bool {
        // The feasibility phase and the multiplier estimate have other matrices.
        if self.preconditioned && self.model.precondition(self.x, self.y, r, z, self.scratch) {
            return true;
        }
        if self.barrier.is_empty() {
            return false;
        }
        // The barrier's diagonal is what spoils the condition; everything else counts as 1.
        let (rx, ry) = r.split_at(self.model.n);
        let (zx, zy) = z.split_at_mut(self.model.n);
        for (j, (z, r)) in zx.iter_mut().zip(rx).enumerate() {
            *z = r / (1.0 + self.barrier[j] + self.t * self.weights[j]);
        }
        for (z, r) in zy.iter_mut().zip(ry) {
            *z = r / (1.0 + self.delta);
        }
        true
    }

    fn as_sparse(&self) -> Option<SparseRef<'_>> {
        self.matrix.map(|k| k.matrix.as_ref())
    }
}
