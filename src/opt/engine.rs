//! State shared by the phases of a solve, and the tests that end it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::certified::{Certificate, LanczosWork};
use super::interior::Bounds;
use super::kkt::KktMatrix;
use super::merit::{Merit, Point};
use super::model::{BadEvaluation, Model};
use super::normal::NormalEquations;
use super::options::Options;
use crate::linalg::{norm_inf, norm1};
use crate::linsol::{LinearSolver, LinearSolverKind};
use crate::nlp::NlpMeta;
use crate::observe::{Event, IterationRow, Observer, StopCause, StopToken};
use crate::report::{LinearStats, StopReason, WrongEntry};

/// Residuals of a point.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Residuals {
    /// |c|, original.
    pub primal: f64,
    /// |grad f + J'y - zl + zu|, original.
    pub dual: f64,
    /// max |z_j d_j|, d the distances to the bounds, original.
    pub complementarity: f64,
    /// max(|g~| / s_d, |c~|, |z~ d| / s_c), s_d = max(100, mean of |y~|, z~) / 100, s_c = max(100, mean of z~) / 100
    /// (Waechter and Biegler 2006, (5)-(6)).
    pub scaled: f64,
    /// |c~|.
    pub scaled_primal: f64,
    /// |grad f|, original.
    pub gradient: f64,
}

pub(super) struct Engine<'a> {
    pub model: Model<'a>,
    pub options: &'a Options,
    pub observer: &'a mut dyn Observer,
    pub stop: StopToken,
    pub start: Instant,
    pub kkt: Option<KktMatrix>,
    /// In place of K in the feasibility phase, where that pays.
    pub normal: Option<NormalEquations>,
    pub solver: Box<dyn LinearSolver>,
    pub solver_kind: LinearSolverKind,
    pub linear: LinearStats,
    pub linear_seconds: f64,
    /// Start of an attempt: x, y (scaled), and z of the lower and upper bounds for a warm one.
    pub first: FirstPoint,
    /// Bounds of the variables; no entries without any.
    pub bounds: Bounds,
    /// S of the current matrix, length n; empty without bounds.
    pub barrier_hessian: Vec<f64>,
    pub current: Point,
    pub trial: Point,
    /// Point with the smallest scaled residual so far.
    pub best: Point,
    pub best_residuals: Residuals,
    pub merit: Merit,
    pub regularization: Regularization,
    /// D, length n.
    pub weights: Vec<f64>,
    /// z = (dx, dy), length n + m.
    pub step: Vec<f64>,
    /// -b, length n + m.
    pub rhs: Vec<f64>,
    pub scratch: Vec<f64>,
    pub scratch2: Vec<f64>,
    /// A step kept aside, length n + m.
    pub correction: Vec<f64>,
    pub terms: MeritTerms,
    pub certificate: Certificate,
    pub lanczos: LanczosWork,
    pub iteration: u64,
    /// Stationarity of the violation in the feasibility phase.
    pub last_stationarity: f64,
    /// A wrong second derivative, original scale.
    pub wrong_entry: Option<WrongEntry>,
    /// Iterations allowed in this attempt, counted from the start of the solve.
    pub iteration_limit: u64,
    /// End of this attempt's share of the time limit.
    pub attempt_deadline: Option<Instant>,
    /// Iterations without halving the residual after which the attempt ends.
    pub attempt_patience: u64,
    /// Iteration at which the present start was taken.
    pub started: u64,
    pub progress: Progress,
    /// The shift is relative to the curvature along each variable.
    pub relative_shift: bool,
    /// A Jacobian that was rank deficient once counts as such from then on.
    pub keeps_delta: bool,
    /// Consecutive short steps.
    pub short_steps: u32,
}

/// When the residual was halved last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub residual: f64,
    pub iteration: u64,
}

/// Where an attempt starts.
#[derive(Debug, Clone, Default)]
pub(super) struct FirstPoint {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    /// z = zu - zl, original; empty unless the start is a warm one.
    pub z: Vec<f64>,
}

impl FirstPoint {
    /// The problem's own start.
    pub fn of(meta: &NlpMeta) -> Self {
        Self { x: meta.x0.clone(), y: meta.y0.clone(), z: Vec::new() }
    }
}

/// Terms of the gradient of the merit function at the current point.
#[derive(Debug, Clone, Default)]
pub(super) struct MeritTerms {
    /// J'c.
    pub jt_c: Vec<f64>,
    /// H g.
    pub h_g: Vec<f64>,
    /// J g.
    pub j_g: Vec<f64>,
}

/// Memory of the regularization t D, -delta I.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Regularization {
    /// t of the current matrix.
    pub t: f64,
    /// delta of the current matrix.
    pub delta: f64,
    /// Last t > 0 that gave the right inertia.
    pub last_t: f64,
    /// t to begin with: raised when steps turn out to be too long for the model.
    pub floor: f64,
    /// J was found rank deficient: begin with delta > 0.
    pub deficient: bool,
    /// A delta that belongs to the method, not to the matrix; 0: none.
    pub penalty: f64,
}

/// A phase is over.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PhaseEnd {
    /// The solve is over.
    Done(StopReason),
    /// No acceptable step; the reason in words.
    NoStep(String),
    /// The feasibility phase reached its target.
    Feasible,
}

impl<'a> Engine<'a> {
    /// Evaluates f, c, grad f, J and g at `current`.
    pub fn evaluate_current(&mut self) -> Result<(), BadEvaluation> {
        let p = &mut self.current;
        p.f = self.model.obj_cons(&p.x, &mut p.c)?;
        self.model.grad_jac(&p.x, &mut p.grad)?;
        self.update_lagrangian_gradient()
    }

    /// g <- grad f + J'y at `current`, whose Jacobian must be the model's.
    pub fn update_lagrangian_gradient(&mut self) -> Result<(), BadEvaluation> {
        lagrangian_gradient(&mut self.model, &self.bounds, &mut self.current)
    }

    pub fn residuals(&self, p: &Point) -> Residuals {
        self.barrier_residuals(p, 0.0)
    }

    /// Residuals of the barrier problem; `complementarity` is max |z d - mu|.
    pub fn barrier_residuals(&self, p: &Point, mu: f64) -> Residuals {
        let (model, bounds) = (&self.model, &self.bounds);
        let primal = p.c.iter().zip(&model.constraint_scale).fold(0.0f64, |a, (c, s)| a.max((c / s).abs()));
        let dual = norm_inf(&p.lag_grad);
        let (nb, mut mean, mut mean_z, mut complementarity) = (bounds.count(), norm1(&p.y), 0.0, 0.0);
        if nb > 0 {
            let size = bounds.multiplier_norm(&p.zl, &p.zu);
            mean += size;
            mean_z = size / nb as f64;
            complementarity = bounds.complementarity(&p.x, &p.zl, &p.zu, mu);
        }
        mean /= (model.m + nb).max(1) as f64;
        let scaled_primal = norm_inf(&p.c);
        let scaled_dual = dual * 100.0 / mean.max(100.0);
        Residuals {
            primal,
            dual: dual / model.objective_scale,
            complementarity: complementarity / model.objective_scale,
            scaled: scaled_primal.max(scaled_dual).max(complementarity * 100.0 / mean_z.max(100.0)),
            scaled_primal,
            gradient: norm_inf(&p.grad) / model.objective_scale,
        }
    }

    /// The scaled residual within the tolerance, and the original ones not far from it: at the default tolerance 1e-6 for
    /// the constraints, 1e-4 for the complementarity and, relative to the gradient of the objective, 1e-3 for that of the
    /// Lagrangian.
    pub fn is_solved(&self, r: &Residuals) -> bool {
        let tol = self.options.tolerance;
        r.scaled <= tol
            && r.primal <= 100.0 * tol
            && r.dual <= 1e5 * tol * r.gradient.max(1.0)
            && r.complementarity <= 1e4 * tol
    }

    /// The scaled residual is within the tolerance, and the original gradient below 1 but not below its own limit: good
    /// enough where rounding allows no better, after every attempt.
    pub fn is_solved_within_rounding(&self, r: &Residuals) -> bool {
        let tol = self.options.tolerance;
        let dual_limit = (tol / self.model.objective_scale).min(1.0);
        r.scaled <= tol && r.primal <= 100.0 * tol && r.dual <= dual_limit
    }

    /// Keeps `current` if it is the best point so far: a solved point beats any other (huge multipliers can make the scaled
    /// residual of an unsolved one smaller); then the smallest residual or, without constraints, the lowest objective.
    pub fn remember_best(&mut self, r: &Residuals) {
        let best = &self.best_residuals;
        let (solved, was_solved) = (self.is_solved(r), self.is_solved(best));
        if r.scaled <= 0.5 * self.progress.residual {
            self.progress = Progress { residual: r.scaled, iteration: self.iteration };
        }
        let better = if best.scaled.is_nan() || solved != was_solved {
            best.scaled.is_nan() || solved
        } else if self.model.m > 0 || solved {
            r.scaled < best.scaled
        } else {
            self.current.f < self.best.f
        };
        if better {
            self.best.copy_from(&self.current);
            self.best_residuals = *r;
        }
    }

    /// Flag, deadline and limits.
    pub fn out_of_budget(&self) -> Option<StopReason> {
        match self.stop.check() {
            Some(StopCause::Interrupted) => return Some(StopReason::Interrupted),
            Some(StopCause::TimeLimit) => return Some(StopReason::TimeLimit),
            None => {}
        }
        if let Some(what) = &self.model.panicked {
            return Some(StopReason::EvaluationPanicked { what: what.clone() });
        }
        if self.options.max_evaluations.is_some_and(|most| self.model.counts.objective >= most) {
            return Some(StopReason::MaxEvaluations);
        }
        let late = self.attempt_deadline.is_some_and(|d| Instant::now() >= d)
            || self.iteration > self.progress.iteration.saturating_add(self.attempt_patience);
        (late || self.iteration >= self.iteration_limit).then_some(StopReason::MaxIterations)
    }

    /// The linear solver factors the matrix and knows its inertia.
    pub fn is_direct(&self) -> bool {
        self.solver_kind == LinearSolverKind::Ldl
    }

    pub fn note(&mut self, text: &str) {
        let _ = self.observer.event(&Event::Note { text });
    }

    /// Reports an iteration; an observer that breaks ends the solve.
    pub fn emit(&mut self, row: &IterationRow) -> Result<(), StopReason> {
        match self.observer.event(&Event::Iteration(row)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(StopReason::Interrupted),
        }
    }

    /// Adds the time of a linear operation.
    pub fn add_linear_time(&mut self, elapsed: Duration, evaluations_before: f64) {
        // Products with a matrix-free operator are evaluations, not linear algebra.
        self.linear_seconds += elapsed.as_secs_f64() - (self.model.seconds - evaluations_before);
    }
}

/// g <- grad f + J'y - zl + zu at a point whose Jacobian is the model's.
pub(super) fn lagrangian_gradient(
    model: &mut Model<'_>,
    bounds: &Bounds,
    p: &mut Point,
) -> Result<(), BadEvaluation> {
    model.jac_t_mul(&p.x, &p.y, &mut p.lag_grad)?;
    for (g, gf) in p.lag_grad.iter_mut().zip(&p.grad) {
        *g += gf;
    }
    bounds.add_multipliers(&p.zl, &p.zu, &mut p.lag_grad);
    Ok(())
}
