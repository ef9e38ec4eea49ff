//! Solves with K, for a low-rank part of a learned Hessian too, and what needs nothing but solves.

use std::time::Instant;

use super::{DELTA, Env, Kkt, System};
use crate::linalg::{dot, norm_inf};
use crate::linsol::{Accuracy, LinSolError, Solved};

/// One direct solve with refinement.
pub(in crate::opt) const REFINED: Accuracy = Accuracy { relative: 1e-12, max_iterations: 10 };
/// An estimate only, and K of this system has no preconditioner: a few hundred products are enough.
const MULTIPLIER_ACCURACY: f64 = 1e-4;
const MULTIPLIER_PRODUCTS: usize = 300;

impl Kkt {
    /// Improves `step` towards K z = `rhs`.
    pub fn solve(&mut self, e: &mut Env<'_, '_>, accuracy: Accuracy) -> Result<Solved, LinSolError> {
        let (start, before) = (Instant::now(), e.problem.seconds);
        let result = match (&mut self.normal, &e.problem.form.jacobian) {
            (Some(normal), Some(pattern)) if matches!(self.system, System::Feasibility { .. }) => {
                let jacobian = pattern.with(&e.at.jacobian);
                normal.solve(jacobian, &self.rhs, &mut self.step, accuracy, e.stop)
            }
            _ => {
                let first = self.with_operator(e, |s, k, b, z, stop| s.solve(k, b, z, accuracy, stop));
                let low_rank = self.system == System::Optimality && self.direct;
                if low_rank && first.is_ok() { self.add_low_rank(e, accuracy).and(first) } else { first }
            }
        };
        if let Ok(solved) = &result {
            self.stats.solves += 1;
            self.stats.inner_iterations += solved.iterations as u64;
        }
        self.seconds += start.elapsed().as_secs_f64() - (e.problem.seconds - before);
        result
    }

    /// Corrects `step`, solved with K_0, for the low-rank part of a learned Hessian (`hessian/quasi_newton.rs`).
    fn add_low_rank(&mut self, e: &mut Env<'_, '_>, accuracy: Accuracy) -> Result<(), LinSolError> {
        let rows = self.n + self.m;
        let Some(b) = e.hessian.low_rank() else { return Ok(()) };
        if !b.corrected {
            // `rhs` and `step` are needed by the solves; what they hold waits aside.
            let columns = b.columns();
            let saved = std::mem::take(&mut self.scratch);
            let step = std::mem::replace(&mut self.step, saved);
            let rhs = std::mem::replace(
                &mut self.rhs,
                e.hessian.low_rank().map_or(Vec::new(), |b| b.take_rhs(rows)),
            );
            let mut result = Ok(());
            for k in 0..columns {
                if let Some(b) = e.hessian.low_rank() {
                    b.right_hand_side(k, &mut self.rhs);
                }
                self.step.fill(0.0);
                let solved = self.with_operator(e, |s, k, b, z, stop| s.solve(k, b, z, accuracy, stop));
                if let Err(error) = solved {
                    result = Err(error);
                    break;
                }
                if let Some(b) = e.hessian.low_rank() {
                    b.solution(k, rows).copy_from_slice(&self.step);
                }
            }
            let own = std::mem::replace(&mut self.rhs, rhs);
            self.scratch = std::mem::replace(&mut self.step, step);
            if let Some(b) = e.hessian.low_rank() {
                b.return_rhs(own);
            }
            result?;
            let singular = || LinSolError::Factorization { solver: "ldl", reason: "low-rank part".into() };
            e.hessian.low_rank().filter(|b| b.columns() == columns).ok_or_else(singular)?;
            if !e.hessian.low_rank().is_some_and(|b| b.finish(rows)) {
                return Err(singular());
            }
        }
        if let Some(b) = e.hessian.low_rank() {
            b.correct(&mut self.step);
        }
        Ok(())
    }

    /// step[n..] <- the y that minimizes |grad f + J'y - zl + zu| at the point; false if it is useless
    /// (Waechter and Biegler 2006, section 3.6).
    pub fn multipliers(&mut self, e: &mut Env<'_, '_>, largest: f64) -> bool {
        let (n, m) = (self.n, self.m);
        let p = e.at;
        self.rhs[..n].copy_from_slice(&p.grad);
        e.problem.form.bounds.add_multipliers(&p.zl, &p.zu, &mut self.rhs[..n]);
        self.rhs[..n].iter_mut().for_each(|r| *r = -*r);
        self.rhs[n..].fill(0.0);
        self.step.fill(0.0);
        self.fill(e, System::Multipliers);
        let accuracy = if self.direct {
            REFINED
        } else {
            let products = (10 * (n + m)).min(MULTIPLIER_PRODUCTS);
            Accuracy { relative: MULTIPLIER_ACCURACY, max_iterations: products }
        };
        self.factor(e, 1.0, DELTA).is_ok()
            && self.solve(e, accuracy).is_ok()
            && norm_inf(&self.step[n..]) <= largest
    }

    /// step <- d with d'(H + S) d < 0, J d = 0, descending along `slope`, as long as x is large: inverse iteration with the
    /// shifted matrix, whose smallest eigenvalue on null(J) belongs to the most negative one of H + S. False: none found.
    pub fn negative_curvature(&mut self, e: &mut Env<'_, '_>, slope: &[f64]) -> bool {
        const ITERATIONS: u64 = 4;
        let n = self.n;
        for (j, s) in self.step[..n].iter_mut().enumerate() {
            *s = 1.0 + ((j * 7919 + 13) % 101) as f64 / 101.0;
        }
        for _ in 0..ITERATIONS {
            let size = norm_inf(&self.step[..n]);
            for (r, (s, w)) in self.rhs[..n].iter_mut().zip(self.step.iter().zip(&self.weights)) {
                *r = w * s / size;
            }
            self.rhs[n..].fill(0.0);
            self.step.fill(0.0);
            let solved = self.solve(e, Accuracy { relative: 1e-6, max_iterations: 2 });
            let size = norm_inf(&self.step[..n]);
            if solved.is_err() || size == 0.0 || !size.is_finite() {
                return false;
            }
        }
        let x = &e.at.x;
        let size = self.step.iter().zip(x).fold(0.0f64, |a, (d, x)| a.max(d.abs() / x.abs().max(1.0)));
        let sign = if dot(slope, &self.step[..n]) > 0.0 { -1.0 } else { 1.0 };
        self.step[..n].iter_mut().for_each(|d| *d *= sign / size);
        self.step_curvature(e).is_some_and(|c| c < 0.0)
    }

    /// dx'(H + S) dx; `None` where a product fails.
    pub fn step_curvature(&mut self, e: &mut Env<'_, '_>) -> Option<f64> {
        let n = self.n;
        let mut product = std::mem::take(&mut self.scratch);
        let result = self.hess_mul(e, &self.step[..n], &mut product[..n]);
        let dx = &self.step[..n];
        let barrier: f64 = dx.iter().zip(&self.barrier).map(|(d, s)| d * d * s).sum();
        let curvature = dot(dx, &product[..n]) + barrier;
        self.scratch = product;
        result.is_ok().then_some(curvature)
    }

    /// dx'H dx; 0 where a product fails.
    pub fn hessian_curvature(&mut self, e: &mut Env<'_, '_>) -> f64 {
        let n = self.n;
        let mut product = std::mem::take(&mut self.scratch);
        let result = self.hess_mul(e, &self.step[..n], &mut product[..n]);
        let curvature = dot(&self.step[..n], &product[..n]);
        self.scratch = product;
        if result.is_ok() { curvature } else { 0.0 }
    }
}
