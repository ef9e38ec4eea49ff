//! The feasibility phase: min |c(x)|^2 / 2 by a Levenberg-Marquardt method with exact second derivatives where they help.
//!
//! With r = c + J dx the step (W + J'J + mu D) dx = -J'c, W = sum c_i hess c_i, is the solution of
//!
//! ```text
//!     [ W + mu D   J' ] [ dx ]   [  0 ]
//!     [ J         -I  ] [ r  ] = [ -c ]
//! ```
//!
//! which has inertia (n, m, 0) exactly if the quadratic model is convex; otherwise W is dropped (Gauss-Newton).
//! D holds the largest squared column norms of J so far (More 1978). The damping mu follows the ratio of actual to
//! predicted reduction (Nielsen 1999).

use super::direction::System;
use super::engine::{Engine, PhaseEnd, lagrangian_gradient};
use crate::linalg::{dot, norm_inf, norm2};
use crate::linsol::{LinSolError, SolveEnd};
use crate::report::StopReason;

/// Steps with a smaller ratio of actual to predicted reduction are refused.
const ACCEPT: f64 = 1e-4;
/// Where |c|^2 cannot be resolved further, the violation counts as stationary up to this relative gradient.
const ROUNDED_STATIONARITY: f64 = 1e-6;
/// Below this ratio a second-order correction is tried.
const POOR: f64 = 0.5;
const LARGEST_DAMPING: f64 = 1e25;

/// Damping of the method.
struct Damping {
    mu: f64,
    growth: f64,
}

impl Engine<'_> {
    /// Runs until |c~| <= target, a stationary point of the violation, or the end of the budget.
    /// `current` must be evaluated. On `Feasible` the multipliers are y = 0.
    pub fn feasibility(&mut self, target: f64) -> PhaseEnd {
        self.current.y.fill(0.0);
        let mut row = self.row('f');
        let mut damping = Damping { mu: 1e-3, growth: 2.0 };
        let tol = self.options.tolerance;
        let mut squares = vec![0.0; self.model.n];
        self.weights.fill(0.0);
        let end = loop {
            if let Err(e) = self.update_lagrangian_gradient() {
                break PhaseEnd::NoStep(e.function);
            }
            let r = self.residuals(&self.current);
            self.remember_best(&r);
            self.fill_row(&mut row, &r);
            if let Err(stop) = self.emit(&row) {
                break PhaseEnd::Done(stop);
            }
            if r.scaled_primal <= target {
                break PhaseEnd::Feasible;
            }
            if let Some(stop) = self.out_of_budget() {
                break PhaseEnd::Done(stop);
            }
            self.update_weights(&mut squares);
            self.last_stationarity = self.stationarity();
            if self.last_stationarity <= tol {
                break PhaseEnd::Done(StopReason::LocallyInfeasible);
            }
            match self.damped_step(&mut damping, &mut row) {
                Ok(()) => self.iteration += 1,
                Err(end) => break end,
            }
        };
        self.weights.fill(1.0);
        end
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

    /// max_j |J_j'c| / (max(1, |J_j|) |c|) at the current point: 0 where the violation is stationary.
    fn stationarity(&mut self) -> f64 {
        let p = &self.current;
        if self.model.jac_t_mul(&p.x, &p.c, &mut self.terms.jt_c).is_err() {
            return f64::INFINITY;
        }
        let size = norm2(&p.c).max(f64::MIN_POSITIVE);
        let terms = self.terms.jt_c.iter().zip(&self.weights);
        terms.fold(0.0, |a, (g, w)| a.max(g.abs() / (w.sqrt().max(1.0) * size)))
    }

    /// |J'c|, weighted, is smaller at `trial` (whose Jacobian the model holds) than at `current` (in `terms`).
    fn gradient_falls(&mut self) -> bool {
        let n = self.model.n;
        let (p, sx) = (&self.trial, &mut self.scratch[..n]);
        if self.model.jac_t_mul(&p.x, &p.c, sx).is_err() {
            return false;
        }
        let weighted = |g: &[f64]| g.iter().zip(&self.weights).map(|(g, w)| g * g / w).sum::<f64>();
        weighted(sx) < weighted(&self.terms.jt_c)
    }

    /// Evaluates c at x + dx; actual over predicted reduction, negative infinity where c cannot be evaluated.
    fn trial_ratio(&mut self, size: f64, predicted: f64) -> f64 {
        for (j, x) in self.trial.x.iter_mut().enumerate() {
            *x = self.current.x[j] + self.step[j];
        }
        self.trial.y.fill(0.0);
        let (model, trial) = (&mut self.model, &mut self.trial);
        match model.obj_cons(&trial.x, &mut trial.c) {
            Ok(f) => {
                trial.f = f;
                let actual = 0.5 * (size - dot(&trial.c, &trial.c));
                if predicted > 0.0 { actual / predicted } else { -1.0 }
            }
            Err(_) => f64::NEG_INFINITY,
        }
    }

    /// Adds to dx the correction d of min |c(x + dx) + J d|^2 + mu |d|^2, which follows a curved valley; one more
    /// evaluation of c, no factorization. Keeps dx where the correction does not help. Returns the better ratio.
    fn second_order_correction(&mut self, system: System, size: f64, predicted: f64) -> f64 {
        let n = self.model.n;
        let before = dot(&self.trial.c, &self.trial.c);
        self.correction.copy_from_slice(&self.step);
        for (r, c) in self.rhs[n..].iter_mut().zip(&self.trial.c) {
            *r = -c;
        }
        self.step.fill(0.0);
        let solved = self.solve_linear(system, Self::refined());
        for (s, d) in self.step[..n].iter_mut().zip(&self.correction) {
            *s += d;
        }
        let ratio = match solved {
            Ok(_) if self.step.iter().all(|v| v.is_finite()) => self.trial_ratio(size, predicted),
            _ => f64::NEG_INFINITY,
        };
        if ratio.is_finite() && dot(&self.trial.c, &self.trial.c) < before {
            return ratio;
        }
        self.step.copy_from_slice(&self.correction);
        self.trial_ratio(size, predicted)
    }

    /// Raises the damping until a step reduces |c|^2.
    fn damped_step(
        &mut self,
        damping: &mut Damping,
        row: &mut crate::observe::IterationRow,
    ) -> Result<(), PhaseEnd> {
        let n = self.model.n;
        self.model.hess(&self.current.x, 0.0, &self.current.c).map_err(|e| PhaseEnd::NoStep(e.function))?;
        let size = dot(&self.current.c, &self.current.c);
        let mut trials = 0;
        let mut jacobian_is_current = true;
        loop {
            if let Some(stop) = self.out_of_budget() {
                return Err(PhaseEnd::Done(stop));
            }
            if damping.mu > LARGEST_DAMPING {
                return Err(PhaseEnd::NoStep("the damping of the feasibility phase has no limit".into()));
            }
            if !jacobian_is_current {
                let p = &mut self.current;
                self.model.grad_jac(&p.x, &mut p.grad).map_err(|e| PhaseEnd::NoStep(e.function))?;
                jacobian_is_current = true;
            }
            trials += 1;
            let Some((hessian, inner)) = self.damped_direction(damping.mu)? else {
                damping.grow();
                continue;
            };
            let predicted =
                0.5 * (size - dot(&self.step[n..], &self.step[n..])) - 0.5 * self.curvature(hessian);
            let mut ratio = self.trial_ratio(size, predicted);
            if ratio < POOR && predicted > 0.0 && ratio.is_finite() && self.is_direct() {
                let corrected =
                    self.second_order_correction(System::Feasibility { hessian }, size, predicted);
                ratio = ratio.max(corrected);
            }
            // Below rounding of |c|^2 only the gradient tells progress.
            let noise = predicted <= 10.0 * f64::EPSILON * size;
            if ratio > ACCEPT || (noise && ratio.is_finite()) {
                jacobian_is_current = false;
                let (model, trial) = (&mut self.model, &mut self.trial);
                let usable = model.grad_jac(&trial.x, &mut trial.grad).is_ok()
                    && lagrangian_gradient(model, trial).is_ok();
                if usable && (ratio > ACCEPT || self.gradient_falls()) {
                    row.shift = damping.mu;
                    row.dual_regularization = 1.0;
                    row.step_norm = norm_inf(&self.step[..n]);
                    row.step_length = 1.0;
                    row.trials = trials;
                    row.inner_iterations = inner;
                    row.kind = if hessian { 'F' } else { 'f' };
                    std::mem::swap(&mut self.current, &mut self.trial);
                    damping.accepted(ratio);
                    return Ok(());
                }
            }
            let tiny = (0..n).all(|j| self.step[j].abs() <= 1e-16 * (1e-3 + self.current.x[j].abs()));
            if tiny || noise {
                // As stationary as rounding allows?
                if self.last_stationarity <= (100.0 * self.options.tolerance).min(ROUNDED_STATIONARITY) {
                    return Err(PhaseEnd::Done(StopReason::LocallyInfeasible));
                }
                if tiny {
                    return Err(PhaseEnd::NoStep("steps of the feasibility phase are below rounding".into()));
                }
            }
            damping.grow();
        }
    }

    /// Solves for (dx, r), with W if that is convex and the solver can tell; `None`: not solvable at this damping.
    fn damped_direction(&mut self, mu: f64) -> Result<Option<(bool, u64)>, PhaseEnd> {
        let (n, m) = (self.model.n, self.model.m);
        self.rhs[..n].fill(0.0);
        for (r, c) in self.rhs[n..].iter_mut().zip(&self.current.c) {
            *r = -c;
        }
        self.regularization.t = mu;
        let direct = self.is_direct();
        for hessian in [true, false] {
            if hessian && !direct {
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

impl Damping {
    fn accepted(&mut self, ratio: f64) {
        let factor =
            if ratio > 0.9 { 0.1 } else { (1.0 - (2.0 * ratio - 1.0).powi(3)).clamp(1.0 / 3.0, 2.0) };
        self.mu = (self.mu * factor).max(1e-20);
        self.growth = 2.0;
    }

    fn grow(&mut self) {
        self.mu = self.mu.max(1e-15) * self.growth;
        self.growth *= 2.0;
    }
}
