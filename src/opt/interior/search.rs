//! The filter line search with second-order corrections.

use super::Barrier;
use super::filter::{improves, not_above, shortest_step, switches};
use crate::linalg::{dot, norm_inf, norm1};
use crate::opt::direction::System;
use crate::opt::engine::{Engine, PhaseEnd, lagrangian_gradient};

const ARMIJO: f64 = 1e-8;
/// Second-order corrections of one step, and the reduction each must bring.
const CORRECTIONS: u32 = 4;
const CORRECTION_REDUCTION: f64 = 0.99;
/// Steps below this, relative to x, are taken as they are.
const TINY: f64 = 10.0 * f64::EPSILON;

/// The current point as the line search compares with it.
#[derive(Clone, Copy)]
struct Reference {
    theta: f64,
    phi: f64,
    slope: f64,
}

/// What is said of a trial point.
#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    /// Acceptable; `armijo`: by decrease of phi, so that the filter stays as it is.
    Accepted { armijo: bool },
    /// Refused, with its violation.
    Refused { theta: f64 },
    /// Not evaluated.
    Failed,
}

impl Engine<'_> {
    /// Leaves an accepted, fully evaluated point in `trial`, with z of `current`.
    pub(super) fn filter_search(&mut self, b: &mut Barrier) -> Result<(f64, u32), PhaseEnd> {
        let n = self.model.n;
        let reference = Reference {
            theta: norm1(&self.current.c),
            phi: self.barrier_objective(b.mu, false),
            slope: self.barrier_slope(b),
        };
        let largest = self.bounds.primal_step(&self.current.x, &self.step[..n], b.tau());
        if self.is_tiny() {
            return self.tiny_step(b, largest);
        }
        b.tiny_steps = 0;
        let shortest = shortest_step(reference.theta, reference.slope, b.theta_min);
        let mut alpha = largest;
        let mut trials = 0;
        while alpha > shortest.max(1e-14) {
            if self.stop.check().is_some() {
                break;
            }
            trials += 1;
            let mut verdict = self.try_step(b, alpha, &reference);
            if let Verdict::Refused { theta } = verdict
                && trials == 1
                && theta >= reference.theta
            {
                verdict = self.second_order_corrections(b, alpha, &reference, theta);
            }
            if let Verdict::Accepted { armijo } = verdict {
                if !armijo {
                    b.filter.add(reference.theta, reference.phi);
                } else if self.creeps(b, alpha) {
                    alpha = self.lengthen(b, &reference);
                    if alpha == 1.0 {
                        self.leave_saddle(b, &reference);
                    }
                }
                return Ok((alpha, trials));
            }
            alpha *= 0.5;
        }
        if let Some(stop) = self.out_of_budget() {
            return Err(PhaseEnd::Done(stop));
        }
        Err(PhaseEnd::NoStep("no acceptable step".into()))
    }

    /// This is one of several full steps in a row with a shift of the Hessian.
    fn creeps(&self, b: &mut Barrier, alpha: f64) -> bool {
        const PATIENCE: u32 = 4;
        let shifted = alpha == 1.0 && self.regularization.t > 0.0;
        b.shifted_steps = if shifted { b.shifted_steps + 1 } else { 0 };
        b.shifted_steps >= PATIENCE
    }

    /// A shift of the Hessian makes steps shorter than the model wants them: doubles the full step, which is in `trial`, as
    /// long as that pays. Returns its length; `trial` is as after `try_step`.
    fn lengthen(&mut self, b: &Barrier, reference: &Reference) -> f64 {
        const MOST: f64 = 1e6;
        let n = self.model.n;
        let longest = self.bounds.longest_step(&self.current.x, &self.step[..n], b.tau(), MOST);
        let allowed = reference.theta.max(norm1(&self.trial.c)).max(1e-2 * b.theta_min);
        let (mut alpha, mut phi, first) = (1.0, self.barrier_objective(b.mu, true), self.trial.f);
        while 2.0 * alpha <= longest {
            self.move_trial(2.0 * alpha);
            let Ok(f) = self.model.obj_cons(&self.trial.x, &mut self.trial.c) else { break };
            self.trial.f = f;
            let next = self.barrier_objective(b.mu, true);
            let theta = norm1(&self.trial.c);
            // The model is linear in alpha by now: a quarter of its promise.
            let pays = next < phi + 0.25 * alpha * reference.slope;
            if !(pays && theta <= allowed && b.filter.accepts(theta, next)) {
                break;
            }
            (alpha, phi) = (2.0 * alpha, next);
        }
        if self.trial.f == first && alpha == 1.0 {
            return alpha;
        }
        if !matches!(self.try_step(b, alpha, reference), Verdict::Accepted { .. }) {
            alpha = 1.0;
            self.try_step(b, alpha, reference);
        }
        alpha
    }

    /// Near a saddle point the shift makes every other direction slow: adds to the full step, which is in `trial`, a
    /// multiple of a direction of negative curvature where that lowers phi further.
    fn leave_saddle(&mut self, b: &Barrier, reference: &Reference) {
        const TRIALS: u32 = 12;
        let n = self.model.n;
        let phi = self.barrier_objective(b.mu, true);
        let allowed = reference.theta.max(norm1(&self.trial.c)).max(1e-2 * b.theta_min);
        self.correction.copy_from_slice(&self.step);
        if !self.negative_curvature(b) {
            self.step.copy_from_slice(&self.correction);
            return;
        }
        // The direction is in `step`, the step in `correction`; afterwards they have changed places.
        std::mem::swap(&mut self.step, &mut self.correction);
        let mut length = self.bounds.longest_step(&self.current.x, &self.correction[..n], b.tau(), 1.0);
        for _ in 0..TRIALS {
            for (s, d) in self.step[..n].iter_mut().zip(&self.correction) {
                *s += length * d;
            }
            if self.bounds.primal_step(&self.current.x, &self.step[..n], b.tau()) == 1.0 {
                self.move_trial(1.0);
                let evaluated = self.model.obj_cons(&self.trial.x, &mut self.trial.c);
                self.trial.f = evaluated.unwrap_or(f64::NAN);
                let next = self.barrier_objective(b.mu, true);
                let pays = next < phi + ARMIJO * reference.slope && norm1(&self.trial.c) <= allowed;
                if pays && matches!(self.try_step(b, 1.0, reference), Verdict::Accepted { .. }) {
                    return;
                }
            }
            for (s, d) in self.step[..n].iter_mut().zip(&self.correction) {
                *s -= length * d;
            }
            length *= 0.25;
        }
        self.try_step(b, 1.0, reference);
    }

    /// step <- d with d'(H + S) d < 0, J d = 0, descending on phi, as long as x is large: inverse iteration with the
    /// shifted matrix, whose smallest eigenvalue on null(J) belongs to the most negative one of H + S. False: none found.
    fn negative_curvature(&mut self, b: &Barrier) -> bool {
        const ITERATIONS: u64 = 3;
        let n = self.model.n;
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
            let accuracy = crate::linsol::Accuracy { relative: 1e-6, max_iterations: 2 };
            let solved = self.solve_linear(System::Optimality, accuracy);
            let size = norm_inf(&self.step[..n]);
            if solved.is_err() || size == 0.0 || !size.is_finite() {
                return false;
            }
        }
        let x = &self.current.x;
        let size = self.step.iter().zip(x).fold(0.0f64, |a, (d, x)| a.max(d.abs() / x.abs().max(1.0)));
        let sign = if self.barrier_slope(b) > 0.0 { -1.0 } else { 1.0 };
        self.step[..n].iter_mut().for_each(|d| *d *= sign / size);
        let (d, hd) = (&self.step[..n], &mut self.scratch[..n]);
        if self.model.hess_mul(x, 1.0, &self.current.y, d, hd).is_err() {
            return false;
        }
        let barrier: f64 = d.iter().zip(&self.barrier_hessian).map(|(d, s)| d * d * s).sum();
        dot(d, hd) + barrier < 0.0
    }

    fn is_tiny(&self) -> bool {
        self.step.iter().zip(&self.current.x).all(|(d, x)| d.abs() <= TINY * (1.0 + x.abs()))
    }

    /// A step within rounding of x is taken without a test; the second one in a row ends the barrier problem.
    fn tiny_step(&mut self, b: &mut Barrier, alpha: f64) -> Result<(f64, u32), PhaseEnd> {
        b.tiny_steps += 1;
        if b.tiny_steps > 1 {
            if b.mu <= b.smallest_mu || self.bounds.count() == 0 {
                return Err(PhaseEnd::NoStep("the step is below rounding".into()));
            }
            self.lower_mu(b, true);
        }
        self.move_trial(alpha);
        let bad = |_| PhaseEnd::NoStep("the step is below rounding".into());
        self.trial.f = self.model.obj_cons(&self.trial.x, &mut self.trial.c).map_err(bad)?;
        if self.finish_trial() { Ok((alpha, 1)) } else { Err(bad(Default::default())) }
    }

    /// trial <- current + alpha step, y at most by a full step, z kept.
    pub(super) fn move_trial(&mut self, alpha: f64) {
        let n = self.model.n;
        let Self { current, trial, step, bounds, .. } = self;
        let (dx, dy) = step.split_at(n);
        for (t, (x, d)) in trial.x.iter_mut().zip(current.x.iter().zip(dx)) {
            *t = x + alpha * d;
        }
        for (t, (y, d)) in trial.y.iter_mut().zip(current.y.iter().zip(dy)) {
            *t = y + alpha.min(1.0) * d;
        }
        trial.zl.copy_from_slice(&current.zl);
        trial.zu.copy_from_slice(&current.zu);
        bounds.clamp(&mut trial.x);
    }

    /// Derivatives at `trial`.
    pub(super) fn finish_trial(&mut self) -> bool {
        let Self { model, bounds, trial, .. } = self;
        model.grad_jac(&trial.x, &mut trial.grad).is_ok() && lagrangian_gradient(model, bounds, trial).is_ok()
    }

    fn try_step(&mut self, b: &Barrier, alpha: f64, reference: &Reference) -> Verdict {
        self.move_trial(alpha);
        match self.model.obj_cons(&self.trial.x, &mut self.trial.c) {
            Ok(f) => self.trial.f = f,
            Err(_) => return Verdict::Failed,
        }
        let theta = norm1(&self.trial.c);
        let phi = self.barrier_objective(b.mu, true);
        let by_phi = reference.theta <= b.theta_min && switches(alpha, reference.slope, reference.theta);
        let armijo = not_above(phi, reference.phi + ARMIJO * alpha * reference.slope);
        let progress = if by_phi { armijo } else { improves(theta, phi, reference.theta, reference.phi) };
        if !phi.is_finite() || theta > b.theta_max || !progress || !b.filter.accepts(theta, phi) {
            return Verdict::Refused { theta };
        }
        if !self.finish_trial() {
            return Verdict::Failed;
        }
        Verdict::Accepted { armijo: by_phi && armijo }
    }

    /// Steps that aim at c(x) + J d = -(alpha c + c(x + alpha dx)) with the same matrix (Waechter and Biegler 2006, (27)).
    /// Restores `step` where none is acceptable.
    fn second_order_corrections(
        &mut self,
        b: &mut Barrier,
        alpha: f64,
        reference: &Reference,
        mut theta: f64,
    ) -> Verdict {
        let n = self.model.n;
        self.correction.copy_from_slice(&self.step);
        b.corrected.copy_from_slice(&self.rhs);
        let mut length = alpha;
        let mut last = reference.theta;
        for _ in 0..CORRECTIONS {
            if theta > CORRECTION_REDUCTION * last && last < reference.theta {
                break;
            }
            last = theta;
            for (r, c) in b.corrected[n..].iter_mut().zip(&self.trial.c) {
                *r = length * *r - c;
            }
            self.rhs.copy_from_slice(&b.corrected);
            self.step.fill(0.0);
            let solved = self.solve_linear(System::Optimality, Self::refined());
            if solved.is_err() || !self.step.iter().all(|v| v.is_finite()) {
                break;
            }
            length = self.bounds.primal_step(&self.current.x, &self.step[..n], b.tau());
            match self.try_step(b, length, reference) {
                Verdict::Refused { theta: t } => theta = t,
                Verdict::Failed => break,
                accepted => return accepted,
            }
        }
        self.step.copy_from_slice(&self.correction);
        Verdict::Refused { theta }
    }
}
