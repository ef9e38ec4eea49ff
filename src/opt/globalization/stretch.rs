//! Longer steps where a shift of the Hessian makes them creep: multiples of the full step, and directions of negative curvature.

use super::constants::*;
use super::filter::{FilterSearch, barrier_objective};
use super::{Globalization, Judgement};
use crate::linalg::norm1;
use crate::opt::phase::{Solve, linear};

impl FilterSearch {
    /// After an accepted step, which is in `trial`: its length, or that of a longer one.
    pub(super) fn stretch(&mut self, s: &mut Solve<'_>, alpha: f64) -> f64 {
        let shifted = alpha == 1.0 && s.kkt.t > 0.0;
        self.shifted_steps = if shifted { self.shifted_steps + 1 } else { 0 };
        if self.shifted_steps < SHIFTED_STEPS {
            return alpha;
        }
        let alpha = self.lengthen(s);
        if alpha == 1.0 {
            self.leave_saddle(s);
        }
        alpha
    }

    /// Doubles the full step as long as that pays. Returns its length.
    fn lengthen(&mut self, s: &mut Solve<'_>) -> f64 {
        let form = &*s.problem.form;
        let (n, mu, slope) = (form.n, self.mu, self.reference.slope);
        let longest = form.bounds.longest_step(&s.at.current.x, &s.kkt.step[..n], self.tau, LONGEST_STRETCH);
        let allowed = self.allowed_violation(&s.at.trial);
        let (mut alpha, mut phi) = (1.0, barrier_objective(&form.bounds, &s.at.trial, mu));
        if 2.0 > longest {
            return alpha;
        }
        while 2.0 * alpha <= longest {
            s.at.place(&s.problem.form.bounds, &s.kkt.step, 2.0 * alpha);
            if s.at.trial.functions(&mut s.problem).is_err() {
                break;
            }
            let next = barrier_objective(&s.problem.form.bounds, &s.at.trial, mu);
            let theta = norm1(&s.at.trial.c);
            // The model is linear in alpha by now: a quarter of its promise.
            let pays = next < phi + 0.25 * alpha * slope;
            if !(pays && theta <= allowed && self.filter.accepts(theta, next)) {
                break;
            }
            (alpha, phi) = (2.0 * alpha, next);
        }
        if !matches!(self.attempt(s, alpha), Judgement::Accepted { .. }) {
            alpha = 1.0;
            self.attempt(s, alpha);
        }
        alpha
    }

    /// Near a saddle point the shift makes every other direction slow: adds to the full step a multiple of a direction of
    /// negative curvature where that lowers phi further.
    fn leave_saddle(&mut self, s: &mut Solve<'_>) {
        let n = s.problem.form.n;
        let phi = barrier_objective(&s.problem.form.bounds, &s.at.trial, self.mu);
        let allowed = self.allowed_violation(&s.at.trial);
        self.kept.copy_from_slice(&s.kkt.step);
        let (kkt, mut e) = linear(s);
        let found = kkt.negative_curvature(&mut e, &self.gradient);
        // The direction is kept aside, the step comes back.
        kkt.kept.copy_from_slice(&kkt.step);
        kkt.step.copy_from_slice(&self.kept);
        if !found {
            return;
        }
        let mut length = s.problem.form.bounds.longest_step(&s.at.current.x, &s.kkt.kept[..n], self.tau, 1.0);
        for _ in 0..CURVATURE_TRIALS {
            let kkt = &mut *s.kkt;
            for ((step, own), d) in kkt.step[..n].iter_mut().zip(&self.kept).zip(&kkt.kept) {
                *step = own + length * d;
            }
            if s.problem.form.bounds.primal_step(&s.at.current.x, &kkt.step[..n], self.tau) == 1.0 {
                s.at.place(&s.problem.form.bounds, &s.kkt.step, 1.0);
                if s.at.trial.functions(&mut s.problem).is_err() {
                    s.at.trial.f = f64::NAN;
                }
                let next = barrier_objective(&s.problem.form.bounds, &s.at.trial, self.mu);
                let pays =
                    next < phi + ARMIJO_FILTER * self.reference.slope && norm1(&s.at.trial.c) <= allowed;
                if pays && matches!(self.attempt(s, 1.0), Judgement::Accepted { .. }) {
                    return;
                }
            }
            length *= 0.25;
        }
        s.kkt.step.copy_from_slice(&self.kept);
        self.attempt(s, 1.0);
    }
}
