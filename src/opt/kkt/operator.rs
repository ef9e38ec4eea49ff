//! K as an operator for the linear solvers, borrowed for one call: by entries where there are any, else by products.

use super::matrix::KktMatrix;
use crate::linalg::{LinOp, SparseRef};
use crate::opt::hessian::{Model, Of};
use crate::opt::iterate::Point;
use crate::opt::problem::{Evaluator, Preconditioned};

/// See the module.
pub(super) struct KktOperator<'k, 'p> {
    pub problem: &'k mut Evaluator<'p>,
    pub hessian: &'k mut dyn Model,
    pub at: &'k Point,
    pub matrix: Option<&'k KktMatrix>,
    /// H of which function; `None`: 0.
    pub of: Option<Of>,
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
        self.problem.form.n + self.problem.form.m
    }
    fn ncols(&self) -> usize {
        self.nrows()
    }

    fn apply(&mut self, alpha: f64, v: &[f64], beta: f64, out: &mut [f64]) {
        if let Some(k) = self.matrix {
            return k.matrix().as_ref().apply(alpha, v, beta, out);
        }
        crate::linalg::scale(beta, out);
        let n = self.problem.form.n;
        let (vx, vy) = v.split_at(n);
        let (ox, oy) = out.split_at_mut(n);
        let (sx, sy) = self.scratch.split_at_mut(n);
        // A failing product leaves NaN, which every solver reports as "not finite".
        let add = |ok: bool, s: &[f64], o: &mut [f64]| {
            for (oi, si) in o.iter_mut().zip(s) {
                *oi += if ok { alpha * si } else { f64::NAN };
            }
        };
        if let Some(of) = self.of {
            let ok = self.hessian.apply(self.problem, self.at, of, vx, sx).is_ok();
            add(ok, sx, ox);
        }
        if !vy.is_empty() {
            let ok = self.problem.jac_t_mul(self.at.at(), vy, sx).is_ok();
            add(ok, sx, ox);
            let ok = self.problem.jac_mul(self.at.at(), vx, sy).is_ok();
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
        let at = Preconditioned {
            x: &self.at.x,
            y: &self.at.y,
            barrier: self.barrier,
            shift: self.t,
            weights: self.weights,
            dual: self.delta,
        };
        if self.preconditioned && self.problem.precondition(&at, r, z) {
            return true;
        }
        if self.barrier.is_empty() {
            return false;
        }
        // The barrier's diagonal is what spoils the condition; everything else counts as 1.
        let (rx, ry) = r.split_at(self.problem.form.n);
        let (zx, zy) = z.split_at_mut(self.problem.form.n);
        for (j, (z, r)) in zx.iter_mut().zip(rx).enumerate() {
            *z = r / (1.0 + self.barrier[j] + self.t * self.weights[j]);
        }
        for (z, r) in zy.iter_mut().zip(ry) {
            *z = r / (1.0 + self.delta);
        }
        true
    }

    fn as_sparse(&self) -> Option<SparseRef<'_>> {
        self.matrix.map(|k| k.matrix().as_ref())
    }
}
