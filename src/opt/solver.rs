//! A solve from the user's problem to its report.

use std::time::{Duration, Instant};

use super::budget::{Budget, Over};
use super::hessian::{self, Model};
use super::iterate::{Iterate, Residuals};
use super::kkt::{Kkt, System};
use super::methods::{InteriorPoint, With};
use super::options::{HessianModel, Method, Options};
use super::phase::{PhaseEnd, Solve, linear};
use super::problem::{BadEvaluation, Buffers, Evaluator, FirstPoint, Form, OriginalPoint};
use super::strategy::{self, Search};
use super::verdict;
use super::watch::Watch;
use crate::error::Error;
use crate::linalg::SparseMatrix;
use crate::linsol::{self, LinearSolverKind};
use crate::nlp::{Nlp, NlpMeta};
use crate::observe::{Header, Observer, StopToken};
use crate::report::{PointKind, Report, SecondOrder, StopReason, Timings};

/// Curvature below this share of the largest entry of H, or below LEAST_SHIFT, shows no minimum.
const LEAST_CURVATURE: f64 = 1e-6;
const LEAST_SHIFT: f64 = 1e-7;

/// What a solve owns.
pub(super) struct Setup {
    form: Form,
    work: Buffers,
    first: FirstPoint,
    hessian: Box<dyn Model>,
    kkt: Kkt,
    at: Iterate,
    budget: Budget,
    /// Why this linear solver.
    why: String,
}

/// Contradictions between options and problem.
fn validate(meta: &NlpMeta, options: &Options) -> Result<(), Error> {
    meta.validate()?;
    options.validate()?;
    options.validate_start(meta.n(), meta.m())?;
    let general = (0..meta.n()).any(|j| meta.is_bounded(j)) || (0..meta.m()).any(|i| !meta.is_equality(i));
    let unsupported = |what: &str| Error::Unsupported { name: meta.name.clone(), what: what.into() };
    let newton = options.method == Method::SketchedNewton;
    if general && newton {
        return Err(unsupported(
            "it has bounds or inequalities, which the method sketched-newton does not treat",
        ));
    }
    if options.hessian == HessianModel::Differences && meta.hessian.is_none() {
        return Err(Error::Option {
            option: "hessian".into(),
            what: "differences need the pattern of the Hessian's entries, which the problem does not give"
                .into(),
        });
    }
    let provided = meta.hessian.is_some() || meta.hessian_products;
    let learned = options.hessian == HessianModel::LimitedMemory || !provided;
    if learned && meta.m() > 0 && newton {
        return Err(unsupported(
            "the method sketched-newton needs its second derivatives (Hessian values or products)",
        ));
    }
    Ok(())
}

fn choose_linear_solver(
    form: &Form,
    hessian: &dyn Model,
    options: &Options,
) -> Result<(LinearSolverKind, String), Error> {
    let needs_entries = matches!(
        options.linear,
        LinearSolverKind::Ldl
            | LinearSolverKind::Kaczmarz
            | LinearSolverKind::KaczmarzNorm
            | LinearSolverKind::BlockKaczmarz
    );
    let entries = hessian.coordinates().filter(|_| form.has_jacobian_entries());
    if needs_entries && entries.is_none() {
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
    let entries = entries.map(|h| h.rows.len() + form.jacobian_len());
    Ok(linsol::choose(linsol::Facts { unknowns: form.n + form.m, entries, symmetric: true }))
}

impl Setup {
    pub fn new(nlp: &mut dyn Nlp, options: &Options, start: Instant) -> Result<Self, Error> {
        validate(nlp.meta(), options)?;
        let mut form = Form::new(nlp.meta(), options.relax_bounds);
        let entries = nlp.meta().jacobian.as_ref().map_or(0, |p| p.len());
        let mut work = Buffers::new(&form, &nlp.meta().x0, entries);
        let first = FirstPoint::new(&mut form, &mut work, nlp, options);
        let hessian = hessian::build(options.hessian, &form);
        let (kind, why) = choose_linear_solver(&form, &*hessian, options)?;
        let solver = linsol::build(kind, options.seed, options.threads);
        let kkt = Kkt::new(&form, &*hessian, solver);
        let deadline = options.time_limit.map(|s| start + Duration::from_secs_f64(s.min(1e9)));
        let stop = StopToken {
            flag: options.stop.flag.clone(),
            deadline: [deadline, options.stop.deadline].into_iter().flatten().min(),
        };
        Ok(Self {
            at: Iterate::new(&form),
            budget: Budget::new(stop, options.max_iterations, options.max_evaluations),
            form,
            work,
            first,
            hessian,
            kkt,
            why,
        })
    }

    /// The parts of a solve of this problem.
    pub fn solve<'a>(
        &'a mut self,
        nlp: &'a mut dyn Nlp,
        options: &'a Options,
        observer: &'a mut dyn Observer,
    ) -> Solve<'a> {
        let stop = self.budget.stop.clone();
        Solve {
            problem: Evaluator::new(&mut self.form, nlp, &mut self.work, stop),
            at: &mut self.at,
            kkt: &mut self.kkt,
            hessian: &mut self.hessian,
            budget: &mut self.budget,
            watch: Watch::new(observer),
            options,
        }
    }
}

/// To the start point: evaluated, the functions scaled by it.
pub(super) fn evaluate_start(s: &mut Solve<'_>, first: &FirstPoint) -> Result<(), BadEvaluation> {
    let p = &mut s.at.current;
    p.x.copy_from_slice(&first.x);
    p.y.copy_from_slice(&first.y);
    p.evaluate(&mut s.problem)?;
    let form = &mut *s.problem.form;
    if s.options.scaling {
        form.set_scaling(&mut p.f, &mut p.grad, &mut p.c, &mut p.jacobian);
        for (y, scale) in p.y.iter_mut().zip(&form.scale.constraints) {
            *y *= form.scale.objective / scale;
        }
    }
    for (j, z) in first.z.iter().enumerate().filter(|_| form.bounds.count() > 0) {
        let z = z * form.scale.objective;
        (p.zl[j], p.zu[j]) = ((-z).max(0.0), z.max(0.0));
    }
    p.update_lagrangian_gradient(&mut s.problem)
}

fn header(s: &Solve<'_>, why: &str) -> Header {
    let form = &*s.problem.form;
    let method = strategy::describe_first(form, s.options.method, s.hessian.is_learned());
    Header {
        problem: s.problem.nlp().meta().name.clone(),
        n: form.n,
        m: form.m,
        jacobian_nonzeros: form.jacobian.is_some().then(|| form.jacobian_len()),
        hessian_nonzeros: s.kkt.hessian_len().or(s.hessian.coordinates().map(|h| h.rows.len())),
        method: format!("{method}{}", s.hessian.label()),
        linear: format!("{} ({why})", s.kkt.stats.solver),
        objective_scale: form.scale.objective,
        smallest_constraint_scale: form.scale.constraints.iter().fold(1.0f64, |a, s| a.min(*s)),
    }
}

/// Solves a nonlinear program. Without second derivatives their place is taken by a limited-memory approximation.
///
/// # Errors
/// [`Error::Problem`] if the meta data contradict each other, [`Error::Unsupported`] where the method asked for does not
/// treat the problem, [`Error::Option`] for an option outside its range or a linear solver that the
/// problem cannot feed. Everything else is a [`Report`].
pub fn solve(nlp: &mut dyn Nlp, options: &Options, observer: &mut dyn Observer) -> Result<Report, Error> {
    let start = Instant::now();
    let mut setup = Setup::new(nlp, options, start)?;
    let (first, why) = (std::mem::take(&mut setup.first), std::mem::take(&mut setup.why));
    let mut s = setup.solve(nlp, options, observer);
    let mut wrong_entry = None;
    let stop = match evaluate_start(&mut s, &first) {
        Err(bad) => StopReason::StartNotFinite { function: bad.function },
        Ok(()) => {
            let header = header(&s, &why);
            let end = match s.watch.start(&header) {
                Err(over) => over.into(),
                Ok(()) => {
                    let mut search = Search::new(&s, first);
                    let end = search.run(&mut s);
                    wrong_entry = search.wrong_entry;
                    end
                }
            };
            stop_of(&s, end)
        }
    };
    let second_order =
        if options.second_order && stop == StopReason::Converged { second_order(&mut s) } else { None };
    let mut report = report(&mut s, stop, start);
    report.second_order = second_order;
    report.wrong_entry = wrong_entry.map(|mut entry| {
        // Slacks are linear: both are variables.
        let free = &s.problem.form.free;
        (entry.row, entry.col) = (free[entry.row], free[entry.col]);
        entry
    });
    s.watch.stop(&report);
    Ok(report)
}

fn stop_of(s: &Solve<'_>, end: PhaseEnd) -> StopReason {
    let scale = s.problem.form.scale.objective;
    let rounded = verdict::is_solved_within_rounding(&s.at.best_residuals, s.options.tolerance, scale);
    match end {
        PhaseEnd::Solved => StopReason::Converged,
        PhaseEnd::Stationary | PhaseEnd::NoStep(_) | PhaseEnd::Over(Over::Iterations) if rounded => {
            StopReason::Converged
        }
        PhaseEnd::Stationary => StopReason::LocallyInfeasible,
        PhaseEnd::Feasible => StopReason::Converged,
        PhaseEnd::Unbounded => StopReason::Unbounded,
        PhaseEnd::NoStep(why) => StopReason::Stalled { what: why.what },
        PhaseEnd::Over(Over::Iterations) => StopReason::MaxIterations,
        PhaseEnd::Over(Over::Interrupted) => StopReason::Interrupted,
        PhaseEnd::Over(Over::TimeLimit) => StopReason::TimeLimit,
        PhaseEnd::Over(Over::Evaluations) => StopReason::MaxEvaluations,
        PhaseEnd::Over(Over::Panicked(what)) => StopReason::EvaluationPanicked { what },
    }
}

/// The inertia of K at the best point, H less a small multiple of I: (n, m, 0) shows a strict local minimum.
fn second_order(s: &mut Solve<'_>) -> Option<SecondOrder> {
    if !s.kkt.is_direct() || s.hessian.is_learned() {
        return None;
    }
    s.at.current.copy_from(&s.at.best);
    s.at.current.derivatives(&mut s.problem).ok()?;
    s.hessian.observe(&mut s.problem, &s.at.current, hessian::Of::Lagrangian).ok()?;
    let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
    if bounds.count() > 0 {
        bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut s.kkt.barrier);
    }
    s.kkt.weights.fill(1.0);
    let (kkt, mut e) = linear(s);
    kkt.fill(&e, System::Optimality);
    // The barrier of inactive bounds must not pass for curvature.
    let shift = (LEAST_CURVATURE * kkt.largest_hessian_entry()).max(LEAST_SHIFT);
    let inertia = kkt.factor(&mut e, -shift, 0.0).ok()?.inertia?;
    let form = &*s.problem.form;
    let minimum = inertia.positive == form.n && inertia.negative == form.m;
    Some(if minimum { SecondOrder::Minimum } else { SecondOrder::Unconfirmed })
}

fn report(s: &mut Solve<'_>, stop: StopReason, start: Instant) -> Report {
    let at_current = matches!(
        stop,
        StopReason::LocallyInfeasible | StopReason::Unbounded | StopReason::StartNotFinite { .. }
    ) || s.at.best_residuals.scaled.is_nan();
    let point = if at_current { &s.at.current } else { &s.at.best };
    let r = if at_current { Residuals::of(s.problem.form, point, 0.0) } else { s.at.best_residuals };
    let tol = s.options.tolerance;
    let mut original = OriginalPoint::default();
    let fixed = s.problem.user_x(&point.x).to_vec();
    let meta = s.problem.nlp().meta();
    original.set(s.problem.form, meta, &fixed, &point.scaled());
    let mut worst_constraints = Vec::new();
    original.worst_constraints(meta, tol, &mut worst_constraints);
    let objective = point.f / s.problem.form.scale.objective;
    let kind = match &stop {
        StopReason::Converged => PointKind::Kkt,
        StopReason::LocallyInfeasible => PointKind::LeastSquares,
        StopReason::StartNotFinite { .. } => PointKind::Infeasible,
        _ if r.primal <= 100.0 * tol => PointKind::Feasible,
        _ => PointKind::Infeasible,
    };
    s.problem.fixed_multipliers(&mut original);
    let mut report = Report {
        message: String::new(),
        point: kind,
        x: original.x,
        y: original.y,
        z: original.z,
        objective,
        primal: original.primal,
        dual: original.dual,
        complementarity: original.complementarity,
        scaled_residual: r.scaled,
        iterations: s.budget.iteration,
        counts: s.problem.counts,
        linear: s.kkt.stats.clone(),
        time: Timings {
            read: 0.0,
            solve: start.elapsed().as_secs_f64(),
            evaluations: s.problem.seconds,
            linear: s.kkt.seconds,
        },
        worst_constraints,
        second_order: None,
        wrong_entry: None,
        stop,
    };
    report.message = message(&report, s.problem.nlp().meta());
    report
}

/// One sentence for people.
fn message(report: &Report, meta: &NlpMeta) -> String {
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

/// The KKT matrix of the first step, as lower triangle: scaled, with slacks for inequalities, the barrier's diagonal for
/// bounds, not regularized (`docs/notation.md`). For measuring factorizations.
///
/// # Errors
/// As [`solve`], and [`Error::Problem`] if the problem gives products only or cannot be evaluated at its start.
pub fn first_kkt_matrix(nlp: &mut dyn Nlp, options: &Options) -> Result<SparseMatrix, Error> {
    let options = Options { method: Method::Auto, linear: LinearSolverKind::Ldl, ..options.clone() };
    let name = nlp.meta().name.clone();
    let fail = |what: &str| Error::Problem { name: name.clone(), what: what.into() };
    let no_entries = |e| match e {
        Error::Option { .. } => fail("it has no entries of a KKT matrix, only products"),
        other => other,
    };
    let mut setup = Setup::new(nlp, &options, Instant::now()).map_err(no_entries)?;
    let first = std::mem::take(&mut setup.first);
    let mut silent = crate::observe::Silent;
    let mut s = setup.solve(nlp, &options, &mut silent);
    evaluate_start(&mut s, &first).map_err(|e| fail(&e.function))?;
    let mut method = InteriorPoint::new(s.problem.form, With::default(), false);
    method.fill_first(&mut s).map_err(|_| fail("its second derivatives cannot be evaluated at the start"))?;
    s.kkt.unregularized().ok_or_else(|| fail("it has no entries of a KKT matrix, only products"))
}
