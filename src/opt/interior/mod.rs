//! Bounds and inequalities: a primal-dual interior-point method with a filter line search.
//!
//! Waechter and Biegler, "On the implementation of an interior-point filter line-search algorithm for large-scale nonlinear
//! programming", Math. Prog. 106, 2006. For a sequence mu -> 0 the barrier problem
//!
//! ```text
//!     min phi(x) = f(x) + B(x)   subject to c(x) = 0
//! ```
//!
//! is solved by Newton steps on its primal-dual conditions: K of the outer iteration with S = zl/(x - l) + zu/(u - x) added
//! to the Hessian. Where no step is acceptable, the feasibility phase minimizes the violation within the bounds.

mod augmented;
mod bounds;
mod filter;
mod search;

pub(super) use bounds::{Bounds, multiplier_length};
pub(super) use filter::Filter;

use super::direction::{DELTA, DirectionFailure, System};
use super::engine::{Engine, PhaseEnd};
use super::feasibility::{FilterGoal, Goal};
use crate::linalg::SparseMatrix;
use crate::linalg::{dot, norm_inf, norm1, norm2};
use crate::linsol::{Accuracy, LinSolError};
use crate::observe::IterationRow;
use crate::report::{SecondOrder, StopReason};

/// E_mu <= KAPPA_EPSILON mu ends a barrier problem.
const KAPPA_EPSILON: f64 = 10.0;
/// mu <- min(KAPPA_MU mu, mu^THETA_MU).
const KAPPA_MU: f64 = 0.2;
const THETA_MU: f64 = 1.5;
/// Least share of the way to a bound that a step may go.
const TAU_MIN: f64 = 0.99;
/// The feasibility phase must reduce the violation to this share.
const REQUIRED_REDUCTION: f64 = 0.9;
/// Multipliers above this are not used as a start.
const LARGEST_MULTIPLIER: f64 = 1e3;
/// This many steps in a row that needed more than SHORT_TRIALS trials are too many.
const PATIENCE: u32 = 12;
const SHORT_TRIALS: u32 = 5;
/// Curvature below this share of the largest entry of H, or below LEAST_SHIFT, shows no minimum.
const LEAST_CURVATURE: f64 = 1e-6;
const LEAST_SHIFT: f64 = 1e-7;
/// Restarts from a feasible point without an acceptable step.
const RESTARTS: u32 = 5;

/// How an attempt begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    /// First barrier parameter.
    pub mu: f64,
}

/// State of the method besides the point.
pub(super) struct Barrier {
    mu: f64,
    smallest_mu: f64,
    filter: Filter,
    theta_min: f64,
    theta_max: f64,
    /// grad phi.
    gradient: Vec<f64>,
    dzl: Vec<f64>,
    dzu: Vec<f64>,
    /// Right-hand side of a second-order correction.
    corrected: Vec<f64>,
    tiny_steps: u32,
    /// Steps in a row that the line search, not a bound, made short.
    short_steps: u32,
    /// Full steps in a row with a shift of the Hessian.
    shifted_steps: u32,
    restarts: u32,
}

impl Barrier {
    fn tau(&self) -> f64 {
        TAU_MIN.max(1.0 - self.mu)
    }
}

impl Engine<'_> {
    /// Iterates from `current` (evaluated, strictly inside its bounds) until the solve is over.
    pub fn interior_point(&mut self, start: Start) -> PhaseEnd {
        let mut b = self.begin_interior(start);
        let mut row = self.row('.');
        loop {
            let r = self.residuals(&self.current);
            self.remember_best(&r);
            self.fill_row(&mut row, &r);
            row.barrier = if self.bounds.count() > 0 { b.mu } else { 0.0 };
            if let Err(stop) = self.emit(&row) {
                return PhaseEnd::Done(stop);
            }
            if self.is_solved(&r) {
                return PhaseEnd::Done(StopReason::Converged);
            }
            if self.is_unbounded() {
                return PhaseEnd::Done(StopReason::Unbounded);
            }
            if let Some(stop) = self.out_of_budget() {
                return PhaseEnd::Done(stop);
            }
            self.lower_mu(&mut b, false);
            match self.interior_step(&mut b, &mut row) {
                Ok(()) => {}
                Err(PhaseEnd::NoStep(what)) => match self.recover(&mut b, what) {
                    Ok(()) => row.kind = '.',
                    Err(end) => return end,
                },
                Err(end) => return end,
            }
        }
    }

    fn begin_interior(&mut self, start: Start) -> Barrier {
        let (n, m) = (self.model.n, self.model.m);
        let nz = if self.bounds.count() > 0 { n } else { 0 };
        let tol = self.options.tolerance;
        let mu = self.first_multipliers(start);
        let theta = norm1(&self.current.c);
        Barrier {
            mu,
            // Low enough for the complementarity of the original problem, too.
            smallest_mu: tol.min(1e4 * tol * self.model.objective_scale) / (KAPPA_EPSILON + 1.0),
            filter: Filter::default(),
            theta_min: 1e-4 * theta.max(1.0),
            theta_max: 1e4 * theta.max(1.0),
            gradient: vec![0.0; n],
            dzl: vec![0.0; nz],
            dzu: vec![0.0; nz],
            corrected: vec![0.0; n + m],
            tiny_steps: 0,
            short_steps: 0,
            shifted_steps: 0,
            restarts: 0,
        }
    }

    /// K of the first step without regularization; None without entries.
    pub fn first_matrix(&mut self) -> Option<SparseMatrix> {
        let mut b = self.begin_interior(Start { mu: 0.1 });
        self.barrier_derivatives(&mut b).ok()?;
        self.fill_kkt(System::Optimality);
        let Self { kkt, weights, .. } = self;
        let kkt = kkt.as_mut()?;
        kkt.regularize(0.0, weights, 0.0);
        Some(kkt.matrix().clone())
    }

    /// The inertia of K at the best point, H less a small multiple of I: (n, m, 0) shows a strict local minimum.
    pub fn second_order(&mut self) -> Option<SecondOrder> {
        if !self.is_direct() || self.model.is_quasi_newton() {
            return None;
        }
        self.current.copy_from(&self.best);
        let p = &mut self.current;
        self.model.grad_jac(&p.x, &mut p.grad).ok()?;
        self.model.hess(&p.x, 1.0, &p.y).ok()?;
        if !self.barrier_hessian.is_empty() {
            self.bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut self.barrier_hessian);
        }
        // The barrier of inactive bounds must not pass for curvature.
        let largest = self.model.hessian().map_or(0.0, |h| norm_inf(&h.values));
        self.weights.fill(1.0);
        (self.regularization.t, self.regularization.delta) =
            (-(LEAST_CURVATURE * largest).max(LEAST_SHIFT), 0.0);
        self.fill_kkt(System::Optimality);
        let inertia = self.prepare(System::Optimality).ok()?.inertia?;
        let minimum = inertia.positive == self.model.n && inertia.negative == self.model.m;
        Some(if minimum { SecondOrder::Minimum } else { SecondOrder::Unconfirmed })
    }

    /// First z and y, and mu: from a warm start, or z = 1 and least-squares y.
    fn first_multipliers(&mut self, start: Start) -> f64 {
        if self.first.z.is_empty() {
            let p = &mut self.current;
            self.bounds.with_lower.iter().for_each(|&j| p.zl[j] = 1.0);
            self.bounds.with_upper.iter().for_each(|&j| p.zu[j] = 1.0);
            self.least_squares_multipliers(LARGEST_MULTIPLIER);
            return start.mu;
        }
        let p = &mut self.current;
        for (j, z) in self.first.z.iter().enumerate() {
            let z = z * self.model.objective_scale;
            (p.zl[j], p.zu[j]) = ((-z).max(0.0), z.max(0.0));
        }
        let _ = self.update_lagrangian_gradient();
        // As far from the bounds and as central as the start is good.
        let r = self.residuals(&self.current);
        let mu = r.scaled.clamp(0.1 * self.options.tolerance, start.mu);
        let Self { bounds, current: p, .. } = self;
        bounds.push_inside(&mut p.x, mu, 1e-2);
        bounds.raise_multipliers(&p.x, mu, &mut p.zl, &mut p.zu);
        let _ = self.evaluate_current();
        mu
    }

    /// Lowers mu as long as the barrier problem is solved well enough; at least once if `now`.
    fn lower_mu(&mut self, b: &mut Barrier, mut now: bool) {
        if self.bounds.count() == 0 {
            return;
        }
        while b.mu > b.smallest_mu
            && (now || self.barrier_residuals(&self.current, b.mu).scaled <= KAPPA_EPSILON * b.mu)
        {
            b.mu = (KAPPA_MU * b.mu).min(b.mu.powf(THETA_MU)).max(b.smallest_mu);
            b.filter.clear();
            b.tiny_steps = 0;
            now = false;
        }
    }

    /// One step: direction, line search, multipliers.
    fn interior_step(&mut self, b: &mut Barrier, row: &mut IterationRow) -> Result<(), PhaseEnd> {
        self.barrier_derivatives(b)?;
        let n = self.model.n;
        for (r, c) in self.rhs[n..].iter_mut().zip(&self.current.c) {
            *r = -c;
        }
        let (kind, inner) = self.interior_direction(b)?;
        self.multiplier_direction(b);
        let (length, trials) = self.filter_search(b)?;
        self.accept(b, row, length, trials);
        (row.kind, row.inner_iterations) = (kind, inner);
        b.short_steps = if trials > SHORT_TRIALS { b.short_steps + 1 } else { 0 };
        if b.short_steps >= PATIENCE {
            b.short_steps = 0;
            return Err(PhaseEnd::NoStep("short steps".into()));
        }
        Ok(())
    }

    /// H, S and grad phi at the current point.
    fn barrier_derivatives(&mut self, b: &mut Barrier) -> Result<(), PhaseEnd> {
        let p = &self.current;
        self.model.hess(&p.x, 1.0, &p.y).map_err(|e| PhaseEnd::NoStep(e.function))?;
        if !self.barrier_hessian.is_empty() {
            self.bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut self.barrier_hessian);
        }
        self.hessian_weights();
        let p = &self.current;
        b.gradient.copy_from_slice(&p.grad);
        self.bounds.add_barrier_gradient(&p.x, b.mu, &mut b.gradient);
        Ok(())
    }

    fn multiplier_direction(&self, b: &mut Barrier) {
        if self.bounds.count() > 0 {
            let p = &self.current;
            let dx = &self.step[..self.model.n];
            self.bounds.multiplier_step(&p.x, (&p.zl, &p.zu), b.mu, dx, (&mut b.dzl, &mut b.dzu));
        }
    }

    /// `trial` becomes the current point.
    fn accept(&mut self, b: &Barrier, row: &mut IterationRow, length: f64, trials: u32) {
        self.accept_multipliers(b);
        row.shift = self.regularization.t;
        row.dual_regularization = self.regularization.delta;
        row.step_norm = length * norm_inf(&self.step[..self.model.n]);
        row.step_length = length;
        row.trials = trials;
        std::mem::swap(&mut self.current, &mut self.trial);
        self.iteration += 1;
    }

    /// Solves K (dx, dy) = -(grad phi + J'y, c + delta (y_k - y)) into `step`; `rhs[n..]` is set by the caller.
    fn interior_direction(&mut self, b: &Barrier) -> Result<(char, u64), PhaseEnd> {
        let n = self.model.n;
        let p = &self.current;
        for (j, r) in self.rhs[..n].iter_mut().enumerate() {
            // J'y = g - grad f + zl - zu.
            let z = if p.zl.is_empty() { 0.0 } else { p.zl[j] - p.zu[j] };
            *r = -(p.lag_grad[j] + z + (b.gradient[j] - p.grad[j]));
        }
        if !self.is_direct() {
            return self.inexact_interior_direction();
        }
        self.fill_kkt(System::Optimality);
        // A Jacobian may be singular at some points only.
        self.regularization.deficient &= self.keeps_delta;
        let floor = self.regularization.floor;
        let mut inner = 0;
        for _ in 0..4 {
            let kind = match self.correct_inertia() {
                Ok(kind) => kind,
                Err(DirectionFailure::Stopped) => return Err(self.stopped()),
                Err(DirectionFailure::Failed(what)) => return Err(PhaseEnd::NoStep(what)),
            };
            self.step.fill(0.0);
            match self.solve_linear(System::Optimality, Self::refined()) {
                Ok(s) if s.relative_residual <= 1e-3 && self.step.iter().all(|v| v.is_finite()) => {
                    self.regularization.floor = floor;
                    return Ok((kind, inner + s.iterations as u64));
                }
                Ok(s) => inner += s.iterations as u64,
                Err(LinSolError::Stopped) => return Err(self.stopped()),
                Err(e) => return Err(PhaseEnd::NoStep(e.to_string())),
            }
            let reg = &mut self.regularization;
            reg.deficient |= self.model.m > 0;
            reg.floor = (10.0 * reg.t).max(1e-8);
        }
        self.regularization.floor = floor;
        Err(PhaseEnd::NoStep("the linear system could not be solved accurately".into()))
    }

    /// Why a linear solver was told to stop.
    fn stopped(&self) -> PhaseEnd {
        PhaseEnd::Done(self.out_of_budget().unwrap_or(StopReason::Interrupted))
    }

    /// The same by an iterative solver: no inertia is known, curvature along the step stands for it.
    fn inexact_interior_direction(&mut self) -> Result<(char, u64), PhaseEnd> {
        const LARGEST_SHIFT: f64 = 1e20;
        let failed = |s: &Self, e: LinSolError| match e {
            LinSolError::Stopped => s.stopped(),
            e => PhaseEnd::NoStep(e.to_string()),
        };
        let relative = (1e-2 * norm2(&self.rhs).sqrt()).clamp(1e-10, 1e-3);
        let accuracy = Accuracy { relative, max_iterations: self.options.max_inner_iterations };
        let reg = &mut self.regularization;
        reg.t = reg.floor;
        reg.delta = reg.penalty.max(if self.model.m > self.model.n { DELTA } else { 0.0 });
        let mut inner = 0;
        self.fill_kkt(System::Optimality);
        loop {
            self.prepare(System::Optimality).map_err(|e| failed(self, e))?;
            self.step.fill(0.0);
            let solved = self.solve_linear(System::Optimality, accuracy).map_err(|e| failed(self, e))?;
            if let Some(stop) = self.out_of_budget() {
                return Err(PhaseEnd::Done(stop));
            }
            inner += solved.iterations as u64;
            if solved.relative_residual > 1e-2 || !self.step.iter().all(|v| v.is_finite()) {
                return Err(PhaseEnd::NoStep("the linear system could not be solved accurately".into()));
            }
            if self.curvature_is_positive() {
                return Ok((if self.regularization.t > 0.0 { 'r' } else { ' ' }, inner));
            }
            let reg = &mut self.regularization;
            reg.t = if reg.t == 0.0 { (reg.last_t / 3.0).max(1e-4) } else { 8.0 * reg.t };
            reg.last_t = reg.t;
            if reg.t > LARGEST_SHIFT {
                return Err(PhaseEnd::NoStep("no shift of the Hessian gives positive curvature".into()));
            }
        }
    }

    /// z of `trial` with its own step length.
    fn accept_multipliers(&mut self, b: &Barrier) {
        if self.bounds.count() == 0 {
            return;
        }
        let Self { bounds, current, trial, .. } = self;
        let length = multiplier_length(&bounds.with_lower, &current.zl, &b.dzl, b.tau())
            .min(multiplier_length(&bounds.with_upper, &current.zu, &b.dzu, b.tau()));
        // The line search has put z of `current` into the gradient of `trial`.
        for &j in &bounds.with_lower {
            trial.zl[j] = current.zl[j] + length * b.dzl[j];
        }
        for &j in &bounds.with_upper {
            trial.zu[j] = current.zu[j] + length * b.dzu[j];
        }
        bounds.limit_multipliers(&trial.x, b.mu, &mut trial.zl, &mut trial.zu);
        for &j in &bounds.with_lower {
            trial.lag_grad[j] += current.zl[j] - trial.zl[j];
        }
        for &j in &bounds.with_upper {
            trial.lag_grad[j] -= current.zu[j] - trial.zu[j];
        }
    }

    /// phi.
    fn barrier_objective(&self, mu: f64, trial: bool) -> f64 {
        let p = if trial { &self.trial } else { &self.current };
        if self.bounds.count() > 0 { p.f + self.bounds.barrier(&p.x, mu) } else { p.f }
    }

    /// No acceptable step: minimizes the violation or, at a feasible point, begins anew with other multipliers.
    fn recover(&mut self, b: &mut Barrier, what: String) -> Result<(), PhaseEnd> {
        let stalled = |what: String| PhaseEnd::Done(StopReason::Stalled { what });
        if let Err(bad) = self.evaluate_current() {
            return Err(stalled(bad.function));
        }
        let tol = self.options.tolerance;
        let theta = norm1(&self.current.c);
        if norm_inf(&self.current.c) <= tol {
            b.restarts += 1;
            if b.restarts > RESTARTS {
                return Err(stalled(what));
            }
            self.note(&format!("{what}: the multipliers are estimated anew"));
            b.filter.clear();
            let p = &mut self.current;
            self.bounds.centre_multipliers(&p.x, b.mu, f64::INFINITY, &mut p.zl, &mut p.zu);
            self.least_squares_multipliers(f64::INFINITY);
            return Ok(());
        }
        self.note(&format!("{what}: the violation is minimized"));
        b.filter.add(theta, self.barrier_objective(b.mu, false));
        let filter = std::mem::take(&mut b.filter);
        let filter_goal = FilterGoal { theta: REQUIRED_REDUCTION * theta, mu: b.mu };
        let end = self.feasibility(Goal { violation: 0.1 * tol, filter: Some((&filter, filter_goal)) });
        b.filter = filter;
        match end {
            PhaseEnd::Feasible => {}
            PhaseEnd::NoStep(what) => return Err(stalled(what)),
            end => return Err(end),
        }
        let p = &mut self.current;
        self.bounds.centre_multipliers(&p.x, b.mu, LARGEST_MULTIPLIER, &mut p.zl, &mut p.zu);
        self.least_squares_multipliers(LARGEST_MULTIPLIER);
        Ok(())
    }

    /// grad phi'dx.
    fn barrier_slope(&self, b: &Barrier) -> f64 {
        dot(&b.gradient, &self.step[..self.model.n])
    }
}
