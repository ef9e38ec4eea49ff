//! A solve from the user's problem to its report.

use std::time::{Duration, Instant};

use super::budget::Budget;
use super::hessian::{self, Model};
use super::iterate::{Iterate, Residuals};
use super::judge::Judge;
use super::kkt::Kkt;
use super::methods::{InteriorPoint, With};
use super::options::{HessianModel, Method, Options};
use super::phase::Solve;
use super::problem::{BadEvaluation, Buffers, Evaluator, FirstPoint, Form};
use super::strategy::{self, Search};
use super::verdict::{self, Verdict, Which};
use super::watch::Watch;
use crate::error::Error;
use crate::linalg::SparseMatrix;
use crate::linsol::{self, LinearSolverKind};
use crate::nlp::{Nlp, NlpMeta};
use crate::observe::{Header, Observer, StopToken};
use crate::report::{Fit, Report, StopReason, Timings};

/// What a solve owns.
pub(super) struct Setup {
    form: Form,
    work: Buffers,
    first: FirstPoint,
    hessian: Box<dyn Model>,
    kkt: Kkt,
    at: Iterate,
    budget: Budget,
    judge: Judge,
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
            judge: Judge::default(),
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
            judge: &mut self.judge,
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
    s.judge.restart();
    let (verdict, search) = match evaluate_start(&mut s, &first) {
        Err(bad) => (verdict::at_start(&mut s, bad.function), None),
        Ok(()) => {
            let header = header(&s, &why);
            let mut search = Search::new(&s, first);
            let end = match s.watch.start(&header) {
                Err(over) => over.into(),
                Ok(()) => search.run(&mut s),
            };
            (verdict::decide(&mut s, end), Some(search))
        }
    };
    let report = report(&mut s, verdict, search.as_ref(), start);
    s.watch.stop(&report);
    Ok(report)
}

fn report(s: &mut Solve<'_>, verdict: Verdict, search: Option<&Search>, start: Instant) -> Report {
    let settled = matches!(verdict.stop, StopReason::Converged | StopReason::ConvergedToRounding);
    let remarks = if search.is_some() { verdict::remarks(s, &verdict) } else { Vec::new() };
    let second_order = if s.options.second_order && settled { verdict::second_order(s) } else { None };
    verdict::measure(s, verdict.which);
    let meta = s.problem.nlp().meta();
    let mut worst_constraints = Vec::new();
    s.judge.original.worst_constraints(meta, s.options.tolerance, &mut worst_constraints);
    let p = if verdict.which == Which::Current { &s.at.current } else { &s.at.best };
    let objective = p.f / s.problem.form.scale.objective;
    let scaled_residual = match verdict.which {
        Which::Current => Residuals::of(s.problem.form, p, 0.0).scaled,
        Which::Best => s.at.best_residuals.scaled,
    };
    s.problem.fixed_multipliers(&mut s.judge.original);
    let original = std::mem::take(&mut s.judge.original);
    let fit = (verdict.stop == StopReason::LeastSquares)
        .then(|| Fit::of(&original.c, meta_sides(s), s.problem.form.n));
    let wrong_entry = search.and_then(|search| search.wrong_entry).map(|mut entry| {
        // Slacks are linear: both are variables.
        let free = &s.problem.form.free;
        (entry.row, entry.col) = (free[entry.row], free[entry.col]);
        entry
    });
    let mut report = Report {
        message: String::new(),
        point: verdict.point,
        method: search.map_or(String::new(), Search::describe),
        remarks,
        fit,
        x: original.x,
        y: original.y,
        z: original.z,
        objective,
        primal: original.primal,
        dual: original.dual,
        complementarity: original.complementarity,
        scaled_residual,
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
        second_order,
        wrong_entry,
        stop: verdict.stop,
    };
    report.message = message(&report, s.problem.nlp().meta());
    report
}

/// Sides of a system of equations.
fn meta_sides<'s>(s: &'s Solve<'_>) -> &'s [f64] {
    &s.problem.form.side
}

/// One sentence for people.
fn message(report: &Report, meta: &NlpMeta) -> String {
    let worst = report.worst_constraints.first();
    let worst = worst
        .map(|(i, v)| format!("; worst is {} with {v:.2e}", meta.constraint_name(*i)))
        .unwrap_or_default();
    let mut text = match &report.stop {
        StopReason::Converged => "a KKT point within tolerance".into(),
        StopReason::ConvergedToRounding => {
            "as near to a KKT point as rounding allows: no step makes it better".into()
        }
        StopReason::LeastSquares => match &report.fit {
            Some(fit) => format!(
                "a least-squares solution: residual norm {:.6e}, standard error {:.3e}",
                fit.residual_norm, fit.standard_error
            ),
            None => "a least-squares solution".into(),
        },
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
    };
    for remark in &report.remarks {
        text.push_str("; ");
        text.push_str(remark.describe());
    }
    text
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
