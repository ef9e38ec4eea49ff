//! A solve from the user's problem to its report, and many solves of problems with one structure.

use std::fmt::{self, Write};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::complementary;
use super::hessian::{self, Model};
use super::iterate::{Iterate, Residuals};
use super::judge::Judge;
use super::kkt::Kkt;
use super::message::message;
use super::methods::{InteriorPoint, With};
use super::minimized::{Minimized, in_sense};
use super::options::{HessianModel, Method, Options, WarmStart};
use super::phase::Solve;
use super::presolved;
use super::problem::{BadEvaluation, Buffers, Evaluator, FirstPoint, Form, Given};
use super::sensitivity::Sensitivity;
use super::strategy::{self, Means, Search, warm_point};
use super::verdict::{self, Verdict, Which};
use super::watch::Watch;
use crate::error::Error;
use crate::linalg::SparseMatrix;
use crate::linsol::{self, LinearSolver, LinearSolverKind};
use crate::nlp::{Nlp, NlpMeta};
use crate::observe::{Event, Header, Observer, Silent, StopToken};
use crate::report::{Fit, PointKind, Remark, Report, StopReason};

/// Kinks that are named, at most.
const MOST_KINKS: usize = 3;
/// Distance from a kink, relative to 1 and its operands, beyond which it is not named.
const FAR_KINK: f64 = 0.1;

/// What a solve owns.
pub(super) struct Setup {
    pub form: Form,
    work: Buffers,
    pub first: FirstPoint,
    hessian: Box<dyn Model>,
    kkt: Kkt,
    pub at: Iterate,
    budget: Budget,
    judge: Judge,
    /// Why this linear solver.
    why: String,
}

/// Contradictions between options and problem.
fn validate(meta: &NlpMeta, options: &Options) -> Result<(), Error> {
    meta.validate()?;
    let general = (0..meta.n()).any(|j| meta.is_bounded(j)) || (0..meta.m()).any(|i| !meta.is_equality(i));
    let unsupported = |what: &str| Error::Unsupported { name: meta.name.clone(), what: what.into() };
    let newton = options.method == Method::SketchedNewton;
    if general && newton {
        return Err(unsupported(
            "it has bounds or inequalities, which the method sketched-newton does not treat",
        ));
    }
    let provided = meta.hessian.is_some() || meta.hessian_products;
    let learned = options.hessian == HessianModel::LimitedMemory || !provided;
    if options.method == Method::PredictorCorrector && (learned || !Form::is_quadratic(meta)) {
        return Err(unsupported(
            "it is not known to be a linear or quadratic program with its second derivatives, which the method predictor-corrector treats",
        ));
    }
    if options.hessian == HessianModel::Differences && meta.hessian.is_none() {
        return Err(Error::Option {
            option: "hessian".into(),
            what: "differences need the pattern of the Hessian's entries, which the problem does not give"
                .into(),
        });
    }
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

/// The user's flag and time limit.
fn stop_token(options: &Options, begun: Instant) -> StopToken {
    let deadline = options.time_limit.map(|s| begun + Duration::from_secs_f64(s.min(1e9)));
    StopToken {
        flag: options.stop.flag.clone(),
        deadline: [deadline, options.stop.deadline].into_iter().flatten().min(),
    }
}

/// The solver that was handed in, or the one that the options say, and why.
fn linear_solver(
    own: &mut Option<Box<dyn LinearSolver>>,
    form: &Form,
    hessian: &dyn Model,
    options: &Options,
) -> Result<(Box<dyn LinearSolver>, String), Error> {
    let Some(given) = own.take() else {
        let (kind, why) = choose_linear_solver(form, hessian, options)?;
        return Ok((linsol::build(kind, options.seed, options.threads), why));
    };
    if given.facts().needs_entries && (hessian.coordinates().is_none() || !form.has_jacobian_entries()) {
        let what = format!(
            "{} needs the entries of the Jacobian and the Hessian, but the problem gives products only",
            given.name()
        );
        *own = Some(given);
        return Err(Error::Option { option: "linear solver".into(), what });
    }
    Ok((given, "handed in".into()))
}

impl Setup {
    /// For a problem, to begin at `warm` or at its own start; takes the linear solver `own` if there is one and nothing contradicts it.
    pub fn new(
        nlp: &mut dyn Nlp,
        options: &Options,
        (warm, begun): (Option<Given<'_>>, Instant),
        own: &mut Option<Box<dyn LinearSolver>>,
    ) -> Result<Self, Error> {
        validate(nlp.meta(), options)?;
        let mut form = Form::new(nlp.meta(), options.relax_bounds);
        let entries = nlp.meta().jacobian.as_ref().map_or(0, |p| p.len());
        let mut work = Buffers::new(&form, &nlp.meta().x0, entries);
        let mut first = FirstPoint::default();
        first.set(&mut form, &mut work, nlp, options, (warm, true));
        let hessian = hessian::build(options.hessian, &form);
        let (solver, why) = linear_solver(own, &form, &*hessian, options)?;
        let kkt = Kkt::new(&form, &*hessian, solver);
        let stop = stop_token(options, begun);
        Ok(Self {
            at: Iterate::new(&form),
            budget: Budget::new(stop, options.max_iterations, options.max_evaluations),
            judge: Judge::new(nlp.meta().n(), nlp.meta().m()),
            form,
            work,
            first,
            hessian,
            kkt,
            why,
        })
    }

    /// Ready for another problem of the same structure; `anew`: with scales and weights of its own.
    fn renew(
        &mut self,
        nlp: &mut dyn Nlp,
        options: &Options,
        (warm, begun): (Option<Given<'_>>, Instant),
        (first, anew): (&mut FirstPoint, bool),
    ) {
        self.form.renew(nlp.meta(), options.relax_bounds, anew);
        first.set(&mut self.form, &mut self.work, nlp, options, (warm, anew));
        self.hessian.forget();
        self.kkt.restart();
        self.kkt.reset_counts();
        self.at.renew();
        self.judge.renew();
        let stop = stop_token(options, begun);
        self.budget = Budget::new(stop, options.max_iterations, options.max_evaluations);
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

/// To the start point: evaluated; `anew`: the functions scaled by it.
pub(super) fn evaluate_start(s: &mut Solve<'_>, first: &FirstPoint, anew: bool) -> Result<(), BadEvaluation> {
    if !anew {
        warm_point(s, first);
        return s.at.current.evaluate(&mut s.problem);
    }
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
    if !first.z.is_empty() {
        form.bounds.split_multipliers(&first.z, form.scale.objective, &mut p.zl, &mut p.zu);
    }
    p.update_lagrangian_gradient(&mut s.problem)
}

/// `text` <- the arguments, in the memory that it has.
fn rewrite(text: &mut String, what: fmt::Arguments<'_>) {
    text.clear();
    let _ = text.write_fmt(what);
}

fn set_header(h: &mut Header, s: &Solve<'_>, why: &str) {
    let form = &*s.problem.form;
    let method = strategy::describe_first(form, s.options.method, Means::of(s));
    rewrite(&mut h.problem, format_args!("{}", s.problem.nlp().meta().name));
    rewrite(&mut h.method, format_args!("{method}{}", s.hessian.label()));
    rewrite(&mut h.linear, format_args!("{} ({why})", s.kkt.stats.solver));
    (h.n, h.m) = (form.n, form.m);
    h.jacobian_nonzeros = form.jacobian.is_some().then(|| form.jacobian_len());
    h.hessian_nonzeros = s.kkt.hessian_len().or(s.hessian.coordinates().map(|h| h.rows.len()));
    h.objective_scale = form.scale.objective;
    h.smallest_constraint_scale = form.scale.constraints.iter().fold(1.0f64, |a, s| a.min(*s));
}

/// What is kept between solves.
struct Kept {
    setup: Setup,
    search: Search,
    header: Header,
}

impl Kept {
    /// The same, whatever the last solve has changed for itself alone.
    fn fits(&self, meta: &NlpMeta) -> bool {
        self.search.wrong_entry.is_none() && self.setup.form.fits(meta)
    }
}

/// Where a solve begins.
#[derive(Debug, Clone, Copy, Default)]
pub enum Start<'a> {
    /// At the start of the problem, or at the warm start of the options.
    #[default]
    Problem,
    /// Where the last solve ended; at the start of the problem where there is none of the same sizes.
    Last,
    /// At this point, near the solution, with multipliers.
    At(&'a WarmStart),
}

/// Solves problems one after the other and keeps what they have in common.
///
/// Problems of the same structure (entries, fixed variables, equalities, finite bounds) share the form, the analysis of the KKT matrix and all
/// memory: from the second solve on nothing is allocated. Functions, values of bounds and sides may change between solves. A problem of another
/// structure is set up anew. What the linear solver keeps may change the last bits of a later solve, no more. A warm start ([`Start::Last`], [`Start::At`]) is tried with its active bounds held first, which takes one or two
/// factorizations where the solution is near; scales remain those of the last solve from [`Start::Problem`].
/// Presolve is left out: what it removes depends on the data; complementarity conditions are taken as the inequalities that they are.
///
/// ```
/// use costate::nlp::Problem;
/// use costate::observe::Silent;
/// use costate::opt::{Options, Solver, Start};
///
/// let mut solver = Solver::new(Options::default())?;
/// for target in [3.0, 3.1] {
///     let mut problem = Problem::new("near", 1)
///         .objective(move |x| (x[0] - target).powi(2))
///         .gradient(move |x, g| g[0] = 2.0 * (x[0] - target))
///         .hessian(|_, sigma, _, h| h[0] = 2.0 * sigma)
///         .build()?;
///     let report = solver.solve(&mut problem, Start::Last, &mut Silent)?;
///     assert!(report.solved() && (report.x[0] - target).abs() < 1e-6);
/// }
/// # Ok::<(), costate::error::Error>(())
/// ```
pub struct Solver {
    options: Options,
    kept: Option<Kept>,
    /// The user's, while no setup has it; `owns`: there is one.
    own: Option<Box<dyn LinearSolver>>,
    owns: bool,
    report: Report,
    /// The point of the report, for `Start::Last`.
    last: WarmStart,
    silent: Silent,
}

impl fmt::Debug for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Solver").field("options", &self.options).field("report", &self.report).finish()
    }
}

fn no_report() -> Report {
    Report {
        stop: StopReason::Interrupted,
        point: PointKind::Infeasible,
        x: Vec::new(),
        y: Vec::new(),
        z: Vec::new(),
        objective: f64::NAN,
        primal: f64::NAN,
        dual: f64::NAN,
        complementarity: f64::NAN,
        scaled_residual: f64::NAN,
        iterations: 0,
        counts: Default::default(),
        linear: Default::default(),
        time: Default::default(),
        message: String::new(),
        method: String::new(),
        remarks: Vec::new(),
        fit: None,
        worst_constraints: Vec::new(),
        kinks: Vec::new(),
        second_order: None,
        wrong_entry: None,
    }
}

impl Solver {
    /// A solver that has not seen a problem yet.
    ///
    /// # Errors
    /// [`Error::Option`] names the first option that is out of range.
    pub fn new(options: Options) -> Result<Self, Error> {
        options.validate()?;
        Ok(Self {
            options,
            kept: None,
            own: None,
            owns: false,
            report: no_report(),
            last: WarmStart::default(),
            silent: Silent,
        })
    }

    /// With a linear solver of your own in place of `Options::linear`. [`conformance`](crate::linsol::conformance) tells whether it is fit.
    #[must_use]
    pub fn with_linear_solver(mut self, solver: Box<dyn LinearSolver>) -> Self {
        (self.own, self.owns, self.kept) = (Some(solver), true, None);
        self
    }

    /// Solves a problem. The report is borrowed until the next solve.
    ///
    /// # Errors
    /// Those of [`solve`].
    pub fn solve(
        &mut self,
        nlp: &mut dyn Nlp,
        start: Start<'_>,
        observer: &mut dyn Observer,
    ) -> Result<&Report, Error> {
        let begun = Instant::now();
        let (n, m) = (nlp.meta().n(), nlp.meta().m());
        let report = &mut self.report;
        let known = self.kept.is_some() && (report.x.len(), report.y.len()) == (n, m);
        let warm = match start {
            Start::Problem => self.options.warm_start.as_ref(),
            Start::Last
                if known && report.x.iter().chain(&report.y).chain(&report.z).all(|v| v.is_finite()) =>
            {
                self.last.set(report);
                Some(&self.last)
            }
            Start::Last => None,
            Start::At(warm) => Some(warm),
        };
        let anew = matches!(start, Start::Problem) || warm.is_none();
        let kept = (&mut self.kept, &mut self.own, self.owns);
        in_sense(nlp, observer, report, &mut |nlp, observer, report| {
            let (slot, own, owns) = (&mut *kept.0, &mut *kept.1, kept.2);
            solve_from((slot, own, owns), nlp, &self.options, (warm, anew, begun), observer, report)
        })?;
        let _ = observer.event(&Event::Stop(&self.report));
        Ok(&self.report)
    }

    /// Derivatives of the solution of the last solve, of this problem, by parameters.
    ///
    /// # Errors
    /// See [`Sensitivity`].
    pub fn sensitivity<'a>(&'a mut self, nlp: &'a mut dyn Nlp) -> Result<Sensitivity<'a>, Error> {
        let unsolved = |what: &str| Error::Unsupported { name: nlp.meta().name.clone(), what: what.into() };
        let Some(kept) = self.kept.as_mut().filter(|k| k.setup.form.fits(nlp.meta())) else {
            return Err(unsolved("sensitivities belong to the problem that was solved last"));
        };
        if nlp.meta().maximize {
            return Err(unsolved("sensitivities are those of a minimum: minimize -f"));
        }
        if !self.report.is_answer() {
            return Err(unsolved("sensitivities need a solution, the last solve found none"));
        }
        Sensitivity::new(kept.setup.solve(nlp, &self.options, &mut self.silent), &self.report)
    }
}

type Slot<'k> = (&'k mut Option<Kept>, &'k mut Option<Box<dyn LinearSolver>>, bool);

/// Solves with what is kept if the structure is the same, else with a new setup that is kept from now on.
fn solve_from(
    (slot, own, owns): Slot<'_>,
    nlp: &mut dyn Nlp,
    options: &Options,
    (warm, anew, begun): (Option<&WarmStart>, bool, Instant),
    observer: &mut dyn Observer,
    report: &mut Report,
) -> Result<(), Error> {
    let meta = nlp.meta();
    meta.validate()?;
    warm.map_or(Ok(()), |w| w.validate(meta.n(), meta.m()))?;
    let from = (warm.map(Given::from), begun);
    let mut anew = anew;
    match slot {
        Some(kept) if kept.fits(meta) => {
            kept.setup.renew(nlp, options, from, (&mut kept.search.first, anew));
            kept.search.forget();
        }
        _ => {
            let old = slot.take();
            if owns && let Some(old) = old {
                *own = Some(old.setup.kkt.into_solver());
            }
            anew = true;
            let mut setup = Setup::new(nlp, options, from, own)?;
            let first = std::mem::take(&mut setup.first);
            *slot = Some(Kept { setup, search: Search::new(first), header: Header::default() });
        }
    }
    let Some(Kept { setup, search, header }) = slot else { return Ok(()) };
    let why = std::mem::take(&mut setup.why);
    let mut s = setup.solve(nlp, options, observer);
    s.judge.restart();
    let (verdict, ran) = match evaluate_start(&mut s, &search.first, anew) {
        Err(bad) => {
            let function = bad.describe(s.problem.nlp().meta());
            (verdict::at_start(&mut s, function), false)
        }
        Ok(()) => {
            set_header(header, &s, &why);
            let end = match s.watch.start(header) {
                Err(over) => over.into(),
                Ok(()) => search.run(&mut s),
            };
            (verdict::decide(&mut s, end), true)
        }
    };
    set_report(report, &mut s, verdict, ran.then_some(&*search), begun);
    setup.why = why;
    Ok(())
}

/// Solves a nonlinear program. Without second derivatives their place is taken by a limited-memory approximation. For many problems of the same
/// structure see [`Solver`].
///
/// # Errors
/// [`Error::Problem`] if the meta data contradict each other, [`Error::Unsupported`] where the method asked for does not
/// treat the problem, [`Error::Option`] for an option outside its range or a linear solver that the
/// problem cannot feed. Everything else is a [`Report`].
pub fn solve(nlp: &mut dyn Nlp, options: &Options, observer: &mut dyn Observer) -> Result<Report, Error> {
    let begun = Instant::now();
    options.validate()?;
    let mut report = no_report();
    let warm = options.warm_start.as_ref();
    nlp.meta().validate()?;
    warm.map_or(Ok(()), |w| w.validate(nlp.meta().n(), nlp.meta().m()))?;
    in_sense(nlp, observer, &mut report, &mut |nlp, observer, report| {
        complementary::solve(
            nlp,
            (options, warm),
            observer,
            report,
            &mut |nlp, (options, warm), observer, report| {
                presolved::solve(
                    nlp,
                    options,
                    warm,
                    (observer, report),
                    &mut |nlp, (options, warm), observer, report| {
                        let from = (warm, true, begun);
                        solve_from((&mut None, &mut None, false), nlp, options, from, observer, report)
                    },
                )
            },
        )
    })?;
    name_kinks(nlp, options, &mut report);
    let _ = observer.event(&Event::Stop(&report));
    Ok(report)
}

/// Names the operations with kinks where one is suspected, or no answer was found.
fn name_kinks(nlp: &dyn Nlp, options: &Options, report: &mut Report) {
    if (report.is_answer() && !report.remarks.contains(&Remark::Kink))
        || report.x.iter().any(|x| !x.is_finite())
    {
        return;
    }
    // An iteration that a kink disturbs may end far from it.
    let mut near = options.tolerance.sqrt();
    while report.kinks.is_empty() && near < FAR_KINK {
        near *= 10.0;
        report.kinks = nlp.kinks(&report.x, near);
    }
    report.kinks.truncate(MOST_KINKS);
    for (k, kink) in report.kinks.iter().enumerate() {
        let _ = write!(
            report.message,
            "{} {}",
            if k == 0 { "; kinks are near:" } else { "," },
            kink.describe(nlp.meta())
        );
    }
}

fn set_report(
    report: &mut Report,
    s: &mut Solve<'_>,
    verdict: Verdict,
    search: Option<&Search>,
    begun: Instant,
) {
    let settled = matches!(verdict.stop, StopReason::Converged | StopReason::ConvergedToRounding);
    report.remarks = if search.is_some() { verdict::remarks(s, &verdict) } else { Vec::new() };
    report.second_order = if s.options.second_order && settled { verdict::second_order(s) } else { None };
    verdict::measure(s, verdict.which);
    let meta = s.problem.nlp().meta();
    s.judge.original.worst_constraints(meta, s.options.tolerance, &mut report.worst_constraints);
    let p = if verdict.which == Which::Current { &s.at.current } else { &s.at.best };
    report.objective = p.f / s.problem.form.scale.objective;
    report.scaled_residual = match verdict.which {
        Which::Current => Residuals::of(s.problem.form, p, 0.0).scaled,
        Which::Best => s.at.best_residuals.scaled,
    };
    s.problem.fixed_multipliers(&mut s.judge.original);
    let original = &s.judge.original;
    report.fit = (verdict.stop == StopReason::LeastSquares)
        .then(|| Fit::of(&original.c, meta_sides(s), s.problem.form.n));
    report.wrong_entry = search.and_then(|search| search.wrong_entry).map(|mut entry| {
        // Slacks are linear: both are variables.
        let free = &s.problem.form.free;
        (entry.row, entry.col) = (free[entry.row], free[entry.col]);
        entry
    });
    report.method.clear();
    if let Some(search) = search {
        let _ = search.describe(s.problem.form.m, &mut report.method);
    }
    report.kinks.clear();
    report.x.clone_from(&original.x);
    report.y.clone_from(&original.y);
    report.z.clone_from(&original.z);
    report.primal = original.primal;
    report.dual = original.dual;
    report.complementarity = original.complementarity;
    report.iterations = s.budget.iteration;
    report.counts = s.problem.counts;
    let stats = &s.kkt.stats;
    report.linear.solver.clone_from(&stats.solver);
    report.linear.solves = stats.solves;
    report.linear.inner_iterations = stats.inner_iterations;
    report.linear.factorizations = stats.factorizations;
    report.time.read = 0.0;
    report.time.solve = begun.elapsed().as_secs_f64();
    report.time.evaluations = s.problem.seconds;
    report.time.linear = s.kkt.seconds;
    (report.stop, report.point) = (verdict.stop, verdict.point);
    let mut text = std::mem::take(&mut report.message);
    text.clear();
    let _ = message(report, s.problem.nlp().meta(), &mut text);
    report.message = text;
}

/// Sides of a system of equations.
fn meta_sides<'s>(s: &'s Solve<'_>) -> &'s [f64] {
    &s.problem.form.side
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
    options.validate()?;
    let mut minimized;
    let nlp: &mut dyn Nlp = if nlp.meta().maximize {
        minimized = Minimized(nlp);
        &mut minimized
    } else {
        nlp
    };
    let from = (options.warm_start.as_ref().map(Given::from), Instant::now());
    let mut setup = Setup::new(nlp, &options, from, &mut None).map_err(no_entries)?;
    let first = std::mem::take(&mut setup.first);
    let mut silent = Silent;
    let mut s = setup.solve(nlp, &options, &mut silent);
    evaluate_start(&mut s, &first, true).map_err(|e| fail(&e.function))?;
    let mut method = InteriorPoint::new(s.problem.form, With::default(), false);
    method.fill_first(&mut s).map_err(|_| fail("its second derivatives cannot be evaluated at the start"))?;
    s.kkt.unregularized().ok_or_else(|| fail("it has no entries of a KKT matrix, only products"))
}
