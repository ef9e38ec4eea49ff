//! The feasibility phase: min |c(x)|^2 / 2 by a Levenberg-Marquardt method with exact second derivatives where they help.
//!
//! With r = c + J dx the step (W + J'J + mu D) dx = -J'c, W = sum c_i hess c_i, is the solution of
//!
//! ```text
//!     [ W + mu D   J' ] [ dx ]   [  0 ]
//!     [ J         -I  ] [ r  ] = [ -c ]
//! ```
//!
//! which has inertia (n, m, 0) exactly if the quadratic model is convex; otherwise W is dropped (Gauss-Newton) or, after many
//! iterations, mu is raised.
//! D holds the largest squared column norms of J so far (More 1978). The damping mu follows the ratio of actual to
//! predicted reduction (Nielsen 1999).
//!
//! With bounds the same is done for |c|^2 / 2 + B(x), B the logarithmic barrier with a parameter of its own that falls with
//! |c|^2: S joins W, -grad B the right-hand side, and steps end before the bounds.

use super::direction::System;
use super::engine::{Engine, PhaseEnd, lagrangian_gradient};
use super::interior::{Filter, multiplier_length};
use crate::linalg::{dot, norm_inf, norm1, norm2};
use crate::linsol::{LinSolError, SolveEnd};
use crate::report::StopReason;

/// Steps with a smaller ratio of actual to predicted reduction are refused.
const ACCEPT: f64 = 1e-4;
/// Where |c|^2 cannot be resolved further, the violation counts as stationary up to this relative gradient.
const ROUNDED_STATIONARITY: f64 = 1e-6;
/// What a gradient may be relative to the present columns of J, in units of what it may be relative to the largest so far.
const SLACK: f64 = 100.0;
/// Below this ratio a second-order correction is tried.
const POOR: f64 = 0.5;
const LARGEST_DAMPING: f64 = 1e25;
/// Iterations after which no more Gauss-Newton steps are taken where W is known.
const LONG_VALLEY: u64 = 1000;
/// Share of the way to a bound that a step may go.
const TO_BOUNDARY: f64 = 0.99;

/// Barrier terms may be this share of |c|^2.
const BARRIER_SHARE: f64 = 1e-2;

/// What ends the phase before the violation is stationary.
#[derive(Clone, Copy)]
pub(super) struct Goal<'f> {
    /// |c~| <= this.
    pub violation: f64,
    /// |c~|_1 <= `theta`, and the filter accepts the point with barrier parameter `mu`.
    pub filter: Option<(&'f Filter, FilterGoal)>,
}

#[derive(Clone, Copy)]
pub(super) struct FilterGoal {
    pub theta: f64,
    pub mu: f64,
}

/// Damping of the method and its barrier parameter.
struct Violation {
    damping: f64,
    growth: f64,
    barrier: f64,
    /// grad B, length n (empty without bounds).
    gradient: Vec<f64>,
    dzl: Vec<f64>,
    dzu: Vec<f64>,
    /// c at x + dx, length m, while a correction is tried.
    uncorrected: Vec<f64>,
}

impl Engine<'_> {
    /// Runs until the goal, a stationary point of the violation, or the end of the budget.
    /// `current` must be evaluated. On `Feasible` the multipliers are y = 0, and z those of the barrier.
    pub fn feasibility(&mut self, goal: Goal<'_>) -> PhaseEnd {
        self.current.y.fill(0.0);
        let mut row = self.row('f');
        let tol = self.options.tolerance;
        let mut squares = vec![0.0; self.model.n];
        self.weights.fill(0.0);
        let mut violation = self.begin_feasibility(&goal);
        let end = loop {
            if let Err(e) = self.update_lagrangian_gradient() {
                break PhaseEnd::NoStep(e.function);
            }
            let r = self.residuals(&self.current);
            self.remember_best(&r);
            self.fill_row(&mut row, &r);
            row.barrier = violation.barrier;
            if let Err(stop) = self.emit(&row) {
                break PhaseEnd::Done(stop);
            }
            if r.scaled_primal <= goal.violation || self.filter_is_pleased(&goal) {
                break PhaseEnd::Feasible;
            }
            if let Some(stop) = self.out_of_budget() {
                break PhaseEnd::Done(stop);
            }
            self.update_weights(&mut squares);
            self.last_stationarity = self.stationarity(&squares);
            if self.last_stationarity <= tol {
                break PhaseEnd::Done(StopReason::LocallyInfeasible);
            }
            self.lower_barrier(&mut violation);
            match self.damped_step(&mut violation, &mut row) {
                Ok(()) => self.iteration += 1,
                Err(end) => break end,
            }
        };
        self.weights.fill(1.0);
        end
    }

    fn begin_feasibility(&mut self, goal: &Goal<'_>) -> Violation {
        let nz = if self.bounds.count() > 0 { self.model.n } else { 0 };
        let mut violation = Violation {
            damping: 1e-3,
            growth: 2.0,
            barrier: 0.0,
            gradient: vec![0.0; nz],
            dzl: vec![0.0; nz],
            dzu: vec![0.0; nz],
            uncorrected: vec![0.0; self.model.m],
        };
        if nz > 0 {
            violation.barrier = goal.filter.map_or(0.1, |(_, g)| g.mu).min(self.largest_barrier());
            let p = &mut self.current;
            self.bounds.centre_multipliers(&p.x, violation.barrier, f64::INFINITY, &mut p.zl, &mut p.zu);
        }
        violation
    }

    /// The barrier must not outweigh the violation.
    fn largest_barrier(&self) -> f64 {
        let size = dot(&self.current.c, &self.current.c);
        (BARRIER_SHARE * size / (self.bounds.count() as f64).sqrt()).max(1e-30)
    }

    fn filter_is_pleased(&self, goal: &Goal<'_>) -> bool {
        let Some((filter, g)) = goal.filter else { return false };
        let p = &self.current;
        let theta = norm1(&p.c);
        theta <= g.theta && filter.accepts(theta, p.f + self.bounds.barrier(&p.x, g.mu))
    }

    /// Lowers the barrier parameter where its subproblem is solved or |c| has fallen; needs J'c in `terms`.
    fn lower_barrier(&mut self, violation: &mut Violation) {
        if violation.gradient.is_empty() {
            return;
        }
        let p = &self.current;
        let mut mu = violation.barrier.min(self.largest_barrier());
        let residual = norm_inf(&self.terms.jt_c).max(self.bounds.complementarity(&p.x, &p.zl, &p.zu, mu));
        if residual <= 10.0 * mu {
            mu = (0.2 * mu).min(mu.powf(1.5));
        }
        violation.barrier = mu.max(1e-30);
        violation.gradient.fill(0.0);
        self.bounds.add_barrier_gradient(&p.x, violation.barrier, &mut violation.gradient);
        self.bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut self.barrier_hessian);
    }

    /// D <- max(D, squared column norms of J).
    fn update_weights(&mut self, squares: &mut [f64]) {
        if let Some(jac) = self.model.jacobian() {
            for (j, s) in squares.iter_mut().enumerate() {
                *s = jac.values[jac.col_ptr[j]..jac.col_ptr[j + 1]].iter().map(|v| v * v).sum();
            }
        } else {
            squares.fill(1.0);
        }
        let largest = norm_inf(squares).max(f64::MIN_POSITIVE);
        for (w, s) in self.weights.iter_mut().zip(squares) {
            *w = w.max(*s).max(1e-16 * largest);
        }
    }

    /// max_j |J_j'c - zl + zu| / (max(1, |J_j|) |c|) and max_j |z d| / |c|^2 at the current point: 0 where the violation is
    /// stationary. |J_j| is the largest so far: the gradient has fallen; but relative to the present one, from its `squares`, it must be small, too, if
    /// `SLACK` times less so: else gradients that fell because |J_j| did would pass for small. Leaves J'c - zl + zu in `terms`.
    fn stationarity(&mut self, squares: &[f64]) -> f64 {
        let p = &self.current;
        if self.model.jac_t_mul(&p.x, &p.c, &mut self.terms.jt_c).is_err() {
            return f64::INFINITY;
        }
        self.bounds.add_multipliers(&p.zl, &p.zu, &mut self.terms.jt_c);
        let size = norm2(&p.c).max(f64::MIN_POSITIVE);
        let complementarity = self.bounds.complementarity(&p.x, &p.zl, &p.zu, 0.0) / (size * size);
        let terms = self.terms.jt_c.iter().zip(self.weights.iter().zip(squares));
        let relative = |g: f64, square: f64| g.abs() / (square.sqrt().max(1.0) * size);
        terms.fold(complementarity, |a, (&g, (&w, &s))| a.max(relative(g, w)).max(relative(g, s) / SLACK))
    }

    /// |J'c|, weighted, is smaller at `trial` (whose Jacobian the model holds) than at `current` (in `terms`).
    fn gradient_falls(&mut self) -> bool {
        let n = self.model.n;
        let (p, sx) = (&self.trial, &mut self.scratch[..n]);
        if self.model.jac_t_mul(&p.x, &p.c, sx).is_err() {
            return false;
        }
        self.bounds.add_multipliers(&p.zl, &p.zu, sx);
        let weighted = |g: &[f64]| g.iter().zip(&self.weights).map(|(g, w)| g * g / w).sum::<f64>();
        weighted(sx) < weighted(&self.terms.jt_c)
    }

    /// trial x <- x + alpha dx.
    fn place_trial(&mut self, alpha: f64) {
        let Self { trial, current, step, bounds, .. } = self;
        for (x, (from, d)) in trial.x.iter_mut().zip(current.x.iter().zip(&*step)) {
            *x = from + alpha * d;
        }
        trial.y.fill(0.0);
        bounds.clamp(&mut trial.x);
    }

    /// Evaluates c at x + alpha dx; actual over predicted reduction, negative infinity where c cannot be evaluated.
    fn trial_ratio(&mut self, alpha: f64, barrier: f64, predicted: f64) -> f64 {
        self.place_trial(alpha);
        let Self { model, trial, current, bounds, .. } = self;
        match model.obj_cons(&trial.x, &mut trial.c) {
            Ok(f) => {
                trial.f = f;
                let mut actual = 0.5 * (dot(&current.c, &current.c) - dot(&trial.c, &trial.c));
                if barrier > 0.0 {
                    actual += bounds.barrier(&current.x, barrier) - bounds.barrier(&trial.x, barrier);
                }
                if predicted > 0.0 { actual / predicted } else { -1.0 }
            }
            Err(_) => f64::NEG_INFINITY,
        }
    }

    /// Adds to dx the correction d of min |c(x + dx) + J d|^2 + mu |d|^2, which follows a curved valley; one more
    /// evaluation of c, no factorization. Keeps dx, of this ratio, where the correction does not help. Returns the better ratio.
    fn second_order_correction(
        &mut self,
        system: System,
        violation: &mut Violation,
        (predicted, uncorrected): (f64, f64),
    ) -> f64 {
        let n = self.model.n;
        let f = self.trial.f;
        violation.uncorrected.copy_from_slice(&self.trial.c);
        let before = dot(&self.trial.c, &self.trial.c);
        self.correction.copy_from_slice(&self.step);
        self.rhs[..n].fill(0.0);
        for (r, c) in self.rhs[n..].iter_mut().zip(&self.trial.c) {
            *r = -c;
        }
        self.step.fill(0.0);
        let solved = self.solve_linear(system, Self::refined());
        for (s, d) in self.step[..n].iter_mut().zip(&self.correction) {
            *s += d;
        }
        let inside = self.bounds.primal_step(&self.current.x, &self.step, TO_BOUNDARY) == 1.0;
        let ratio = match solved {
            Ok(_) if inside && self.step.iter().all(|v| v.is_finite()) => {
                self.trial_ratio(1.0, violation.barrier, predicted)
            }
            _ => f64::NEG_INFINITY,
        };
        if ratio.is_finite() && dot(&self.trial.c, &self.trial.c) < before {
            return ratio;
        }
        self.step.copy_from_slice(&self.correction);
        self.place_trial(1.0);
        self.trial.f = f;
        self.trial.c.copy_from_slice(&violation.uncorrected);
        uncorrected
    }

    /// Raises the damping until a step reduces |c|^2 / 2 + B.
    fn damped_step(
        &mut self,
        violation: &mut Violation,
        row: &mut crate::observe::IterationRow,
    ) -> Result<(), PhaseEnd> {
        let n = self.model.n;
        self.model.hess(&self.current.x, 0.0, &self.current.c).map_err(|e| PhaseEnd::NoStep(e.function))?;
        if let Some(normal) = &mut self.normal {
            normal.fill(&self.model);
        }
        let size = dot(&self.current.c, &self.current.c);
        let mut trials = 0;
        let mut jacobian_is_current = true;
        loop {
            if let Some(stop) = self.out_of_budget() {
                return Err(PhaseEnd::Done(stop));
            }
            if violation.damping > LARGEST_DAMPING {
                return Err(PhaseEnd::NoStep("the damping of the feasibility phase has no limit".into()));
            }
            if !jacobian_is_current {
                let p = &mut self.current;
                self.model.grad_jac(&p.x, &mut p.grad).map_err(|e| PhaseEnd::NoStep(e.function))?;
                jacobian_is_current = true;
            }
            trials += 1;
            let Some((hessian, inner)) = self.damped_direction(violation)? else {
                violation.grow();
                continue;
            };
            let alpha = self.bounds.primal_step(&self.current.x, &self.step, TO_BOUNDARY);
            let predicted = self.predicted_reduction(violation, hessian, alpha);
            let mut ratio = self.trial_ratio(alpha, violation.barrier, predicted);
            if ratio < POOR && predicted > 0.0 && ratio.is_finite() && self.is_direct() && alpha == 1.0 {
                let system = System::Feasibility { hessian };
                ratio = ratio.max(self.second_order_correction(system, violation, (predicted, ratio)));
            }
            // Below rounding of |c|^2 only the gradient tells progress.
            let noise = predicted <= 10.0 * f64::EPSILON * size;
            if ratio > ACCEPT || (noise && ratio.is_finite()) {
                jacobian_is_current = false;
                self.step_multipliers(violation);
                let Self { model, bounds, trial, .. } = self;
                let usable = model.grad_jac(&trial.x, &mut trial.grad).is_ok()
                    && lagrangian_gradient(model, bounds, trial).is_ok();
                if usable && (ratio > ACCEPT || self.gradient_falls()) {
                    row.shift = violation.damping;
                    row.dual_regularization = 1.0;
                    row.step_norm = alpha * norm_inf(&self.step[..n]);
                    row.step_length = alpha;
                    row.trials = trials;
                    row.inner_iterations = inner;
                    row.kind = if hessian { 'F' } else { 'f' };
                    std::mem::swap(&mut self.current, &mut self.trial);
                    violation.accepted(ratio);
                    return Ok(());
                }
            }
            let tiny = (0..n).all(|j| alpha * self.step[j].abs() <= 1e-16 * (1e-3 + self.current.x[j].abs()));
            if tiny || noise {
                // As stationary as rounding allows?
                if self.last_stationarity <= (100.0 * self.options.tolerance).min(ROUNDED_STATIONARITY) {
                    return Err(PhaseEnd::Done(StopReason::LocallyInfeasible));
                }
                if tiny {
                    return Err(PhaseEnd::NoStep("steps of the feasibility phase are below rounding".into()));
                }
            }
            violation.grow();
        }
    }

    /// |c|^2 / 2 - |c + alpha J dx|^2 / 2 - alpha grad B'dx - alpha^2 dx'(W + S) dx / 2, where J dx = r - c.
    fn predicted_reduction(&mut self, violation: &Violation, hessian: bool, alpha: f64) -> f64 {
        let n = self.model.n;
        let curvature = self.curvature(hessian);
        let (dx, r) = self.step.split_at(n);
        let linear: f64 = self
            .current
            .c
            .iter()
            .zip(r)
            .map(|(c, r)| {
                let next = c + alpha * (r - c);
                c * c - next * next
            })
            .sum();
        let barrier: f64 = dx.iter().zip(&self.barrier_hessian).map(|(d, s)| d * d * s).sum();
        0.5 * linear - alpha * dot(dx, &violation.gradient) - 0.5 * alpha * alpha * (curvature + barrier)
    }

    /// z of `trial` by the Newton step of the multipliers.
    fn step_multipliers(&mut self, violation: &mut Violation) {
        if violation.gradient.is_empty() {
            return;
        }
        let Self { bounds, current, trial, step, .. } = self;
        let Violation { dzl, dzu, barrier, .. } = violation;
        let z = (&current.zl[..], &current.zu[..]);
        bounds.multiplier_step(&current.x, z, *barrier, &step[..dzl.len()], (dzl, dzu));
        let length = multiplier_length(&bounds.with_lower, &current.zl, dzl, TO_BOUNDARY)
            .min(multiplier_length(&bounds.with_upper, &current.zu, dzu, TO_BOUNDARY));
        for (t, (z, d)) in trial.zl.iter_mut().zip(current.zl.iter().zip(&*dzl)) {
            *t = z + length * d;
        }
        for (t, (z, d)) in trial.zu.iter_mut().zip(current.zu.iter().zip(&*dzu)) {
            *t = z + length * d;
        }
        bounds.limit_multipliers(&trial.x, *barrier, &mut trial.zl, &mut trial.zu);
    }

    /// Solves for (dx, r), with W if that is convex and the solver can tell; `None`: not solvable at this damping.
    fn damped_direction(&mut self, violation: &Violation) -> Result<Option<(bool, u64)>, PhaseEnd> {
        let (n, m) = (self.model.n, self.model.m);
        self.rhs[..n].fill(0.0);
        for (r, g) in self.rhs[..n].iter_mut().zip(&violation.gradient) {
            *r = -g;
        }
        for (r, c) in self.rhs[n..].iter_mut().zip(&self.current.c) {
            *r = -c;
        }
        self.regularization.t = violation.damping;
        let direct = self.is_direct();
        // Along long curved valleys more damping leads further than Gauss-Newton steps.
        let convex_only = direct && self.iteration - self.started >= LONG_VALLEY;
        for hessian in [true, false] {
            if hessian && !direct || !hessian && convex_only {
                continue;
            }
            let system = System::Feasibility { hessian };
            self.fill_kkt(system);
            let prepared = match self.prepare(system) {
                Ok(p) => p,
                Err(LinSolError::Stopped) => {
                    return Err(PhaseEnd::Done(self.out_of_budget().unwrap_or(StopReason::Interrupted)));
                }
                Err(LinSolError::Factorization { .. }) => continue,
                Err(e) => return Err(PhaseEnd::NoStep(e.to_string())),
            };
            if direct && !prepared.inertia.is_some_and(|i| i.positive == n && i.negative == m) {
                continue;
            }
            self.step.fill(0.0);
            let mut accuracy = Self::refined();
            if !direct {
                accuracy.relative = norm2(&self.current.c).sqrt().clamp(1e-10, 1e-2);
                accuracy.max_iterations = self.options.max_inner_iterations;
            }
            match self.solve_linear(system, accuracy) {
                Ok(s) if s.end == SolveEnd::Stopped => {
                    return Err(PhaseEnd::Done(self.out_of_budget().unwrap_or(StopReason::Interrupted)));
                }
                Ok(s) if self.step.iter().all(|v| v.is_finite()) => {
                    return Ok(Some((hessian, s.iterations as u64)));
                }
                _ => continue,
            }
        }
        Ok(None)
    }

    /// dx' W dx.
    fn curvature(&mut self, hessian: bool) -> f64 {
        if !hessian {
            return 0.0;
        }
        let n = self.model.n;
        let (p, sx) = (&self.current, &mut self.scratch[..n]);
        match self.model.hess_mul(&p.x, 0.0, &p.c, &self.step[..n], sx) {
            Ok(()) => dot(&self.step[..n], sx),
            Err(_) => 0.0,
        }
    }
}

impl Violation {
    fn accepted(&mut self, ratio: f64) {
        let factor =
            if ratio > 0.9 { 0.1 } else { (1.0 - (2.0 * ratio - 1.0).powi(3)).clamp(1.0 / 3.0, 2.0) };
        self.damping = (self.damping * factor).max(1e-20);
        self.growth = 2.0;
    }

    fn grow(&mut self) {
        self.damping = self.damping.max(1e-15) * self.growth;
        self.growth *= 2.0;
    }
}
