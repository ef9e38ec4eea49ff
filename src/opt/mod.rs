//! Optimization: inexact Newton with randomized sketching on the exact augmented Lagrangian.
//!
//! Hong, Na, Mahoney, Kolar, "Constrained Optimization via Exact Augmented Lagrangian and Randomized Iterative Sketching",
//! ICML 2023. Signs and residuals: `docs/notation.md`. The phases:
//!
//! - `newton`: steps K z = -b by any [`LinearSolver`](crate::linsol::LinearSolver), line search on the merit function;
//! - `feasibility`: min |c|^2 / 2 for systems with more equations than unknowns, and when no step of the first phase helps.

mod certified;
mod direction;
mod engine;
mod feasibility;
mod interior;
mod kkt;
mod merit;
mod model;
mod newton;
mod options;
mod standard;
#[cfg(test)]
mod tests;

pub use options::{AccuracyRule, Options};

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::linalg::SparseMatrix;
use crate::linsol::{self, LinearSolverKind};
use crate::nlp::{Nlp, NlpMeta};
use crate::observe::{Event, Header, Observer, StopToken};
use crate::report::{LinearStats, PointKind, Report, StopReason, Timings};
use feasibility::Goal;
use interior::{Bounds, Start};
use standard::Standard;
use engine::{Engine, PhaseEnd, Regularization, Residuals};
use kkt::KktMatrix;
use merit::{Merit, Point};
use model::Model;

/// Multipliers above this are not used as a start.
const LARGEST_START_MULTIPLIER: f64 = 1e3;

/// A way to solve the problem from its start.
#[derive(Debug, Clone, Copy)]
enum Attempt {
    /// Unconstrained Newton, with a shift t I or one relative to the curvature along each variable.
    Newton { relative_shift: bool },
    /// Equality constraints: the exact augmented Lagrangian.
    Exact { violation_first: bool },
    /// The filter method, with a barrier where there are bounds.
    Filter { violation_first: bool, relative_shift: bool },
    /// The augmented Lagrangian, with a barrier where there are bounds.
    Augmented,
}

impl Attempt {
    fn list(bounded: bool, n: usize, m: usize) -> &'static [Self] {
        const FILTER: Attempt = Attempt::Filter { violation_first: false, relative_shift: false };
        match (bounded, m) {
            (false, 0) => &[Self::Newton { relative_shift: false }, Self::Newton { relative_shift: true }],
            (false, m) if m > n => &[Self::Exact { violation_first: true }],
            (false, _) => &[
                Self::Exact { violation_first: false },
                Self::Exact { violation_first: true },
                FILTER,
                Self::Augmented,
            ],
            (true, 0) => &[FILTER, Self::Filter { violation_first: false, relative_shift: true }],
            (true, m) if m > n => &[Self::Filter { violation_first: true, relative_shift: false }],
            (true, _) => &[FILTER, Self::Augmented],
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Newton { relative_shift: false } => "Newton",
            Self::Newton { relative_shift: true } => {
                "Newton with a shift relative to the curvature along each variable"
            }
            Self::Exact { violation_first: false } => "exact augmented Lagrangian",
            Self::Exact { violation_first: true } => "the violation first, then the exact augmented Lagrangian",
            Self::Filter { violation_first: true, .. } => "the violation first, then the filter method",
            Self::Filter { relative_shift: true, .. } => {
                "filter method with a shift relative to the curvature along each variable"
            }
            Self::Filter { .. } => "filter method",
            Self::Augmented => "augmented Lagrangian",
        }
    }
}

/// The end of a last phase.
fn stop_of(end: PhaseEnd) -> StopReason {
    match end {
        PhaseEnd::Done(stop) => stop,
        PhaseEnd::NoStep(what) => StopReason::Stalled { what },
        PhaseEnd::Feasible => StopReason::Converged,
    }
}

/// Another attempt may do better.
fn gave_up(stop: &StopReason) -> bool {
    matches!(stop, StopReason::LocallyInfeasible | StopReason::MaxIterations | StopReason::Stalled { .. })
}

/// Times that the feasibility phase may hand back to the Newton phase.
const ROUNDS: usize = 8;

/// Solves a nonlinear program with equality constraints, or without constraints.
///
/// # Errors
/// [`Error::Problem`] if the meta data contradict each other, [`Error::Unsupported`] for bounds and inequalities or a
/// problem without second derivatives, [`Error::Option`] for an option outside its range or a linear solver that the
/// problem cannot feed. Everything else is a [`Report`].
pub fn solve(nlp: &mut dyn Nlp, options: &Options, observer: &mut dyn Observer) -> Result<Report, Error> {
    let start = Instant::now();
    nlp.meta().validate()?;
    options.validate()?;
    refuse_unsupported(nlp.meta())?;
    let meta = nlp.meta();
    let general =
        (0..meta.n()).any(|j| meta.is_bounded(j)) || (0..meta.m()).any(|i| !meta.is_equality(i));
    let report = if general {
        let mut standard = Standard::new(nlp, options.scaling);
        let report = solve_standard(&mut standard, options, observer, start)?;
        standard.original_report(report, options.tolerance)
    } else {
        solve_standard(nlp, options, observer, start)?
    };
    let _ = observer.event(&Event::Stop(&report));
    Ok(report)
}

/// Solves a problem whose constraints are equalities; the report is that of this problem.
fn solve_standard(
    nlp: &mut dyn Nlp,
    options: &Options,
    observer: &mut dyn Observer,
    start: Instant,
) -> Result<Report, Error> {
    let model = Model::new(nlp);
    let (kind, why) = choose_linear_solver(&model, options)?;
    let mut engine = Engine::new(model, options, observer, kind, start);
    let mut stop = engine.run(&why);
    let gave_up = matches!(stop, StopReason::Stalled { .. } | StopReason::MaxIterations);
    if gave_up && engine.is_solved_within_rounding(&engine.best_residuals) {
        stop = StopReason::Converged;
    }
    Ok(engine.report(stop))
}

fn refuse_unsupported(meta: &NlpMeta) -> Result<(), Error> {
    let unsupported = |what: String| Err(Error::Unsupported { name: meta.name.clone(), what });
    if meta.hessian.is_none() && !meta.hessian_products {
        return unsupported("it provides no second derivatives (neither Hessian values nor products)".into());
    }
    Ok(())
}

fn choose_linear_solver(model: &Model<'_>, options: &Options) -> Result<(LinearSolverKind, String), Error> {
    let needs_entries = matches!(
        options.linear,
        LinearSolverKind::Ldl
            | LinearSolverKind::Kaczmarz
            | LinearSolverKind::KaczmarzNorm
            | LinearSolverKind::BlockKaczmarz
    );
    if needs_entries && !model.has_entries() {
        return Err(Error::Option {
            option: "linear".into(),
            what: format!(
                "{} needs the entries of the Jacobian and the Hessian, but the problem gives products only",
                options.linear
            ),
        });
    }
    if options.linear != LinearSolverKind::Auto {
        return Ok((options.linear, "asked for".into()));
    }
    let count = |matrix: Option<&SparseMatrix>| matrix.map_or(0, |a| a.values.len());
    let entries = model.has_entries().then(|| count(model.hessian()) + count(model.jacobian()));
    Ok(linsol::choose(linsol::Facts { unknowns: model.n + model.m, entries, symmetric: true }))
}

impl<'a> Engine<'a> {
    fn new(
        model: Model<'a>,
        options: &'a Options,
        observer: &'a mut dyn Observer,
        kind: LinearSolverKind,
        start: Instant,
    ) -> Self {
        let (n, m) = (model.n, model.m);
        let meta = model.nlp().meta();
        let bounds = Bounds::new(&meta.x_lower, &meta.x_upper);
        let bounded = bounds.count() > 0;
        let current = Point::new(&meta.x0, &meta.y0, bounded);
        let deadline = options.time_limit.map(|s| start + Duration::from_secs_f64(s.min(1e9)));
        let stop = StopToken {
            flag: options.stop.flag.clone(),
            deadline: [deadline, options.stop.deadline].into_iter().flatten().min(),
        };
        let zeros = |k: usize| vec![0.0; k];
        Self {
            kkt: KktMatrix::new(&model),
            solver: linsol::build(kind, options.seed),
            solver_kind: kind,
            linear: LinearStats { solver: kind.as_str().into(), ..LinearStats::default() },
            linear_seconds: 0.0,
            trial: current.clone(),
            best: current.clone(),
            best_residuals: Residuals { scaled: f64::NAN, ..Residuals::default() },
            current,
            merit: Merit { eta1: options.initial_penalty, eta2: options.initial_dual_penalty },
            regularization: Regularization::default(),
            weights: vec![1.0; n],
            barrier_hessian: zeros(if bounded { n } else { 0 }),
            bounds,
            step: zeros(n + m),
            rhs: zeros(n + m),
            scratch: zeros(n + m),
            scratch2: zeros(n + m),
            correction: zeros(n + m),
            terms: engine::MeritTerms { jt_c: zeros(n), h_g: zeros(n), j_g: zeros(m) },
            certificate: certified::Certificate::default(),
            lanczos: certified::LanczosWork::default(),
            iteration: 0,
            short_steps: 0,
            iteration_limit: options.max_iterations,
            relative_shift: false,
            last_stationarity: f64::INFINITY,
            model,
            options,
            observer,
            stop,
            start,
        }
    }

    /// All phases.
    fn run(&mut self, why: &str) -> StopReason {
        if let Err(bad) = self.evaluate_start() {
            return StopReason::StartNotFinite { function: bad.function };
        }
        let header = self.header(why);
        if self.observer.event(&Event::Start(&header)).is_break() {
            return StopReason::Interrupted;
        }
        self.attempts()
    }

    /// One attempt after the other from the start until one ends well. If none does, the first certificate counts, or else
    /// the last end.
    fn attempts(&mut self) -> StopReason {
        let list = Attempt::list(self.bounds.count() > 0, self.model.n, self.model.m);
        let limit = self.options.max_iterations;
        let mut certified: Option<(Point, Point, Residuals)> = None;
        let mut stop = StopReason::MaxIterations;
        for (k, &attempt) in list.iter().enumerate() {
            if k > 0 {
                self.note(&format!("attempt {} from the start: {}", k + 1, attempt.describe()));
                if self.restart().is_err() {
                    break;
                }
            }
            let left = limit - self.iteration;
            // Short limits leave no room for another attempt.
            let last = k + 1 == list.len() || limit < 600;
            self.iteration_limit = if last { limit } else { self.iteration + left * 2 / 3 };
            let end = self.attempt(attempt);
            if !gave_up(&end) {
                return end;
            }
            if end == StopReason::LocallyInfeasible && certified.is_none() {
                certified = Some((self.current.clone(), self.best.clone(), self.best_residuals));
            }
            stop = end;
            self.iteration_limit = limit;
            if self.out_of_budget().is_some() {
                break;
            }
        }
        if let Some((current, best, residuals)) = certified {
            (self.current, self.best, self.best_residuals) = (current, best, residuals);
            return StopReason::LocallyInfeasible;
        }
        stop
    }

    fn attempt(&mut self, attempt: Attempt) -> StopReason {
        match attempt {
            Attempt::Newton { relative_shift } => {
                self.relative_shift = relative_shift;
                self.restart_newton();
                stop_of(self.newton())
            }
            Attempt::Exact { violation_first } => self.constrained(violation_first),
            Attempt::Filter { violation_first, relative_shift } => {
                self.relative_shift = relative_shift;
                if violation_first {
                    let goal = Goal { violation: self.options.tolerance, filter: None };
                    match self.feasibility(goal) {
                        PhaseEnd::Feasible => {}
                        end => return stop_of(end),
                    }
                }
                stop_of(self.interior_point(Start { mu: 0.1 }))
            }
            Attempt::Augmented => stop_of(self.augmented_lagrangian(Start { mu: 0.1 })),
        }
    }

    /// Back to the start point.
    fn restart(&mut self) -> Result<(), model::BadEvaluation> {
        self.current.x.copy_from_slice(&self.model.nlp().meta().x0);
        self.current.y.fill(0.0);
        self.regularization = Regularization::default();
        self.relative_shift = false;
        self.weights.fill(1.0);
        self.evaluate_current()
    }

    /// Newton and feasibility phases in turn.
    fn constrained(&mut self, violation_first: bool) -> StopReason {
        let tol = self.options.tolerance;
        if violation_first {
            match self.feasibility(Goal { violation: tol, filter: None }) {
                PhaseEnd::Feasible => {}
                PhaseEnd::Done(stop) => return stop,
                PhaseEnd::NoStep(what) => return StopReason::Stalled { what },
            }
        }
        if self.current.y.iter().all(|&y| y == 0.0) {
            self.least_squares_multipliers(LARGEST_START_MULTIPLIER);
        }
        let mut last = f64::INFINITY;
        for _ in 0..ROUNDS {
            self.restart_newton();
            let what = match self.newton() {
                PhaseEnd::Done(stop) => return stop,
                PhaseEnd::Feasible => String::new(),
                PhaseEnd::NoStep(what) => what,
            };
            let r = self.residuals(&self.current);
            if r.scaled_primal <= tol {
                if r.scaled >= 0.9 * last {
                    return StopReason::Stalled { what };
                }
                last = r.scaled;
                self.note(&format!("{what}: the multipliers are estimated anew"));
                if let Err(bad) = self.evaluate_current() {
                    return StopReason::Stalled { what: bad.function };
                }
                self.least_squares_multipliers(LARGEST_START_MULTIPLIER);
                continue;
            }
            self.note(&format!("{what}: the violation is minimized"));
            if let Err(bad) = self.evaluate_current() {
                return StopReason::Stalled { what: bad.function };
            }
            let goal = Goal { violation: (0.1 * r.scaled_primal).max(0.1 * tol), filter: None };
            match self.feasibility(goal) {
                PhaseEnd::Feasible => self.least_squares_multipliers(LARGEST_START_MULTIPLIER),
                PhaseEnd::Done(stop) => return stop,
                PhaseEnd::NoStep(what) => return StopReason::Stalled { what },
            }
        }
        StopReason::Stalled { what: "feasibility and optimality could not be reconciled".into() }
    }

    fn evaluate_start(&mut self) -> Result<(), model::BadEvaluation> {
        self.evaluate_current()?;
        if self.options.scaling {
            let p = &mut self.current;
            self.model.set_scaling(&mut p.grad, &mut p.c, &mut p.f);
            for (y, s) in p.y.iter_mut().zip(&self.model.constraint_scale) {
                *y *= self.model.objective_scale / s;
            }
        }
        self.update_lagrangian_gradient()
    }

    fn restart_newton(&mut self) {
        let deficient = self.regularization.deficient;
        self.regularization = Regularization { deficient, ..Regularization::default() };
        self.merit = Merit { eta1: self.options.initial_penalty, eta2: self.options.initial_dual_penalty };
        if self.model.m == 0 {
            // Without constraints A = f + eta2/2 |grad f|^2: the second term only delays.
            self.merit.eta2 = 0.0;
        }
        self.short_steps = 0;
    }

    fn header(&self, why: &str) -> Header {
        let scale = self.model.constraint_scale.iter().fold(1.0f64, |a, s| a.min(*s));
        Header {
            problem: self.model.nlp().meta().name.clone(),
            n: self.model.n,
            m: self.model.m,
            jacobian_nonzeros: self.model.jacobian().map(|j| j.values.len()),
            hessian_nonzeros: self.model.hessian().map(|h| h.values.len()),
            method: "inexact Newton on the exact augmented Lagrangian".into(),
            linear: format!("{} ({why})", self.solver_kind),
            objective_scale: self.model.objective_scale,
            smallest_constraint_scale: scale,
        }
    }

    fn report(mut self, stop: StopReason) -> Report {
        let at_current = matches!(
            stop,
            StopReason::LocallyInfeasible | StopReason::Unbounded | StopReason::StartNotFinite { .. }
        ) || self.best_residuals.scaled.is_nan();
        let point = if at_current { &self.current } else { &self.best };
        let r = if at_current { self.residuals(point) } else { self.best_residuals };
        let tol = self.options.tolerance;
        let kind = if stop == StopReason::Converged {
            PointKind::Kkt
        } else if stop == StopReason::LocallyInfeasible {
            PointKind::LeastSquares
        } else if !matches!(stop, StopReason::StartNotFinite { .. }) && r.primal <= 100.0 * tol {
            PointKind::Feasible
        } else {
            PointKind::Infeasible
        };
        let model = &self.model;
        let scale = &model.constraint_scale;
        let mut worst: Vec<(usize, f64)> = point
            .c
            .iter()
            .zip(scale)
            .map(|(c, s)| (c / s).abs())
            .enumerate()
            .filter(|(_, v)| *v > tol)
            .collect();
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        worst.truncate(10);
        let y = point.y.iter().zip(scale).map(|(y, s)| y * s / model.objective_scale).collect();
        let mut report = Report {
            message: String::new(),
            point: kind,
            x: point.x.clone(),
            y,
            z: if point.zl.is_empty() {
                vec![0.0; model.n]
            } else {
                point.zu.iter().zip(&point.zl).map(|(u, l)| (u - l) / model.objective_scale).collect()
            },
            objective: point.f / model.objective_scale,
            primal: r.primal,
            dual: r.dual,
            complementarity: r.complementarity,
            scaled_residual: r.scaled,
            iterations: self.iteration,
            counts: model.counts,
            linear: std::mem::take(&mut self.linear),
            time: Timings {
                read: 0.0,
                solve: self.start.elapsed().as_secs_f64(),
                evaluations: model.seconds,
                linear: self.linear_seconds,
            },
            worst_constraints: worst,
            stop,
        };
        report.message = message(&report, model.nlp().meta());
        report
    }
}

/// One sentence for people.
pub(super) fn message(report: &Report, meta: &NlpMeta) -> String {
    let worst = report.worst_constraints.first();
    let worst = worst
        .map(|(i, v)| format!("; worst is {} with {v:.2e}", meta.constraint_name(*i)))
        .unwrap_or_default();
    match &report.stop {
        StopReason::Converged => "a KKT point within tolerance".into(),
        StopReason::LocallyInfeasible => {
            format!("a stationary point of the constraint violation: no feasible point near{worst}")
        }
        StopReason::Unbounded => "the objective falls without limit along feasible points".into(),
        StopReason::MaxIterations => "the iteration limit was reached".into(),
        StopReason::MaxEvaluations => "the limit on evaluations was reached".into(),
        StopReason::TimeLimit => "the time limit was reached".into(),
        StopReason::Interrupted => "interrupted".into(),
        StopReason::Stalled { what } => format!("no further progress: {what}"),
        StopReason::LinearSolveFailed { what } => format!("the linear system could not be solved: {what}"),
        StopReason::StartNotFinite { function } => format!("at the start point: {function}"),
    }
}
