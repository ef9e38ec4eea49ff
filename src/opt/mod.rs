//! Optimization: inexact Newton with randomized sketching on the exact augmented Lagrangian, and an interior-point method for
//! bounds and inequalities.
//!
//! Hong, Na, Mahoney, Kolar, "Constrained Optimization via Exact Augmented Lagrangian and Randomized Iterative Sketching",
//! ICML 2023. Signs and residuals: `docs/notation.md`. The phases:
//!
//! - `newton`: steps K z = -b by any [`LinearSolver`](crate::linsol::LinearSolver), line search on the merit function;
//! - `interior`: primal-dual steps with a barrier and a filter, or on an augmented Lagrangian with a barrier;
//! - `feasibility`: min |c|^2 / 2 for systems with more equations than unknowns, and when no step of the first phase helps.

mod attempts;
mod certified;
mod differences;
mod direction;
mod engine;
mod feasibility;
mod interior;
mod kkt;
mod merit;
mod model;
mod newton;
mod normal;
mod options;
mod quasi_newton;
mod restarts;
mod standard;
#[cfg(test)]
mod tests;
mod valley;

pub use options::{AccuracyRule, HessianModel, Method, Options, WarmStart};

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::linalg::SparseMatrix;
use crate::linsol::{self, LinearSolverKind};
use crate::nlp::{Nlp, NlpMeta};
use crate::observe::{Event, Header, Observer, StopToken};
use crate::report::{LinearStats, PointKind, Report, StopReason, Timings};
use engine::{Engine, FirstPoint, Progress, Regularization, Residuals};
use interior::Bounds;
use kkt::KktMatrix;
use merit::{Merit, Point};
use model::Model;
use normal::NormalEquations;
use standard::Standard;

/// Solves a nonlinear program. Without second derivatives their place is taken by a limited-memory approximation.
///
/// # Errors
/// [`Error::Problem`] if the meta data contradict each other, [`Error::Unsupported`] where the method asked for does not
/// treat the problem, [`Error::Option`] for an option outside its range or a linear solver that the
/// problem cannot feed. Everything else is a [`Report`].
pub fn solve(nlp: &mut dyn Nlp, options: &Options, observer: &mut dyn Observer) -> Result<Report, Error> {
    let start = Instant::now();
    nlp.meta().validate()?;
    options.validate()?;
    let meta = nlp.meta();
    options.validate_start(meta.n(), meta.m())?;
    let general = (0..meta.n()).any(|j| meta.is_bounded(j)) || (0..meta.m()).any(|i| !meta.is_equality(i));
    if general && options.method == Method::SketchedNewton {
        return Err(Error::Unsupported {
            name: meta.name.clone(),
            what: "it has bounds or inequalities, which the method sketched-newton does not treat".into(),
        });
    }
    let provided = meta.hessian.is_some() || meta.hessian_products;
    if options.hessian == HessianModel::Differences && meta.hessian.is_none() {
        return Err(Error::Option {
            option: "hessian".into(),
            what: "differences need the pattern of the Hessian's entries, which the problem does not give"
                .into(),
        });
    }
    let learned = options.hessian == HessianModel::LimitedMemory || !provided;
    if learned && meta.m() > 0 && options.method == Method::SketchedNewton {
        return Err(Error::Unsupported {
            name: meta.name.clone(),
            what: "the method sketched-newton needs its second derivatives (Hessian values or products)"
                .into(),
        });
    }
    let report = if general {
        let mut standard = Standard::new(nlp, options);
        let first = standard.first_point(options.warm_start.as_ref());
        let report = solve_standard(&mut standard, first, options, observer, start)?;
        standard.original_report(report, options.tolerance)
    } else {
        let first = match &options.warm_start {
            Some(w) => FirstPoint { x: w.x.clone(), y: w.y.clone(), z: Vec::new() },
            None => FirstPoint::of(nlp.meta()),
        };
        solve_standard(nlp, first, options, observer, start)?
    };
    let _ = observer.event(&Event::Stop(&report));
    Ok(report)
}

/// Solves a problem whose constraints are equalities; the report is that of this problem.
fn solve_standard(
    nlp: &mut dyn Nlp,
    first: FirstPoint,
    options: &Options,
    observer: &mut dyn Observer,
    start: Instant,
) -> Result<Report, Error> {
    let model = Model::new(nlp, options.hessian);
    let (kind, why) = choose_linear_solver(&model, options)?;
    let mut engine = Engine::new(model, first, options, observer, kind, start);
    let mut stop = engine.run(&why);
    if attempts::gave_up(&stop) && engine.is_solved_within_rounding(&engine.best_residuals) {
        stop = StopReason::Converged;
    }
    let second_order =
        if options.second_order && stop == StopReason::Converged { engine.second_order() } else { None };
    Ok(Report { second_order, ..engine.report(stop) })
}

/// The KKT matrix of the first step, as lower triangle: scaled, with slacks for inequalities, the barrier's diagonal for
/// bounds, not regularized (`docs/notation.md`). For measuring factorizations.
///
/// # Errors
/// As [`solve`], and [`Error::Problem`] if the problem gives products only or cannot be evaluated at its start.
pub fn first_kkt_matrix(nlp: &mut dyn Nlp, options: &Options) -> Result<SparseMatrix, Error> {
    nlp.meta().validate()?;
    options.validate()?;
    let name = nlp.meta().name.clone();
    let fail = |what: &str| Error::Problem { name: name.clone(), what: what.into() };
    let mut standard = Standard::new(nlp, options);
    let first = standard.first_point(None);
    let model = Model::new(&mut standard, options.hessian);
    let mut silent = crate::observe::Silent;
    let mut engine = Engine::new(model, first, options, &mut silent, LinearSolverKind::Ldl, Instant::now());
    engine.evaluate_start().map_err(|e| fail(&e.function))?;
    engine.first_matrix().ok_or_else(|| fail("it has no entries of a KKT matrix, only products"))
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
        mut model: Model<'a>,
        first: FirstPoint,
        options: &'a Options,
        observer: &'a mut dyn Observer,
        kind: LinearSolverKind,
        start: Instant,
    ) -> Self {
        let (n, m) = (model.n, model.m);
        let meta = model.nlp().meta();
        let bounds = Bounds::new(&meta.x_lower, &meta.x_upper);
        let bounded = bounds.count() > 0;
        let current = Point::new(&first.x, &first.y, bounded);
        let deadline = options.time_limit.map(|s| start + Duration::from_secs_f64(s.min(1e9)));
        let stop = StopToken {
            flag: options.stop.flag.clone(),
            deadline: [deadline, options.stop.deadline].into_iter().flatten().min(),
        };
        model.stop = stop.clone();
        let zeros = |k: usize| vec![0.0; k];
        Self {
            kkt: KktMatrix::new(&model),
            normal: (kind == LinearSolverKind::Ldl).then(|| NormalEquations::new(&model)).flatten(),
            solver: linsol::build(kind, options.seed, options.threads),
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
            first,
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
            attempt_deadline: None,
            attempt_patience: u64::MAX,
            started: 0,
            progress: Progress { residual: f64::INFINITY, iteration: 0 },
            relative_shift: false,
            keeps_delta: true,
            last_stationarity: f64::INFINITY,
            wrong_entry: None,
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

    fn header(&self, why: &str) -> Header {
        let scale = self.model.constraint_scale.iter().fold(1.0f64, |a, s| a.min(*s));
        Header {
            problem: self.model.nlp().meta().name.clone(),
            n: self.model.n,
            m: self.model.m,
            jacobian_nonzeros: self.model.jacobian().map(|j| j.values.len()),
            hessian_nonzeros: self.model.hessian().map(|h| h.values.len()),
            method: format!(
                "{}{}",
                self.method(),
                match (self.model.is_quasi_newton(), self.model.takes_differences()) {
                    (true, _) => ", limited-memory Hessian",
                    (_, true) => ", Hessian by differences",
                    _ => "",
                }
            ),
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
            second_order: None,
            wrong_entry: self.wrong_entry,
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
        StopReason::EvaluationPanicked { what } => what.clone(),
        StopReason::StartNotFinite { function } => format!("at the start point: {function}"),
    }
}
