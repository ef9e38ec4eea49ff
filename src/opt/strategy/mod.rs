//! Which methods are tried on which problems, in which order, from which starts: the tables of `rows`. A row that gives up hands over to the
//! next; the best end counts.

mod relaxed;
mod rows;
mod starts;

use std::fmt;

pub(super) use rows::Means;
use rows::{From, INTERIOR, Kind, PLAIN, Row, describe, rows};

use crate::linalg::norm2;
use crate::opt::budget::Over;
use crate::opt::hessian;
use crate::opt::iterate::{Point, Residuals};
use crate::opt::kkt::Regularization;
use crate::opt::methods::{
    ActiveSet, AugmentedLagrangian, Goal, InteriorPoint, LeastViolation, Method as Iteration, Newton,
    PredictorCorrector, resume, run,
};
use crate::opt::options::{HessianModel, Method, Options};
use crate::opt::phase::{Cause, PhaseEnd, Solve, estimate_multipliers, over};
use crate::opt::problem::{BadEvaluation, FirstPoint, Form, WARM_PUSH};
use crate::opt::verdict;
use crate::report::WrongEntry;

/// Work of a row in the first round, in iterations of one factorization, and growth of work and patience from round to round. A row that is slow is paused, and gone
/// on with after the others: the total is at most a few times that of the best row, whichever that is (Luby, Sinclair, Zuckerman 1993).
const SHARE: f64 = 2000.0;
const ROUND_GROWTH: f64 = 4.0;
/// Variables so near a bound, relative to max(1, |bound|), may be moved onto it.
const NEARBY: f64 = 1e-6;
/// Multipliers above this are not used as a start.
const LARGEST_MULTIPLIER: f64 = 1e3;
/// Fewer iterations than these are one row's.
const SHORT_LIMIT: u64 = 600;

/// What gave the answer.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Nothing,
    /// Active-set steps from a warm start.
    Warm,
    /// A row, and its place in the table.
    Row(Row, usize),
}

/// What the header says of the method.
pub(super) fn describe_first(form: &Form, method: Method, means: Means) -> &'static str {
    describe(&rows(form, method, means)[0], form.m)
}

/// Another row may do better.
fn gave_up(end: &PhaseEnd) -> bool {
    matches!(end, PhaseEnd::Stationary | PhaseEnd::Over(Over::Iterations) | PhaseEnd::NoStep(_))
}

/// A limit that leaves a certificate its worth.
fn is_limited(end: &PhaseEnd) -> bool {
    matches!(end, PhaseEnd::Over(Over::TimeLimit | Over::Evaluations))
}

/// A stationary point of the violation: the current point, and the best one.
struct Certified {
    current: Point,
    best: Point,
    residuals: Residuals,
    solved: bool,
}

impl Certified {
    fn keep(s: &Solve<'_>) -> Self {
        Self {
            current: s.at.current.clone(),
            best: s.at.best.clone(),
            residuals: s.at.best_residuals,
            solved: s.at.best_solved,
        }
    }

    fn restore(self, s: &mut Solve<'_>) {
        s.at.current = self.current;
        s.at.best = self.best;
        (s.at.best_residuals, s.at.best_solved) = (self.residuals, self.solved);
    }
}

/// The methods, each made when it is first needed.
#[derive(Debug, Default)]
struct Methods {
    active_set: Option<ActiveSet>,
    newton: Option<Newton>,
    interior: Option<InteriorPoint>,
    augmented: Option<AugmentedLagrangian>,
    predictor: Option<PredictorCorrector>,
    least_violation: Option<LeastViolation>,
}

impl Methods {
    /// The method of a row that has begun.
    fn begun(&mut self, row: &Row) -> Option<&mut dyn Iteration> {
        match row.method {
            Kind::Newton => self.newton.as_mut().map(|m| m as _),
            Kind::Interior => self.interior.as_mut().map(|m| m as _),
            Kind::Augmented => self.augmented.as_mut().map(|m| m as _),
            Kind::Predictor => self.predictor.as_mut().map(|m| m as _),
        }
    }

    /// The method of a row, as new.
    fn of(&mut self, row: &Row, form: &Form, options: &Options, warm: bool) -> &mut dyn Iteration {
        let with = row.with;
        match row.method {
            Kind::Newton => {
                let method = self.newton.get_or_insert_with(|| Newton::new(form, with, options));
                method.renew(with);
                method
            }
            Kind::Interior => {
                let method = self.interior.get_or_insert_with(|| InteriorPoint::new(form, with, warm));
                method.renew(with, warm);
                method
            }
            Kind::Augmented => {
                let method = self.augmented.get_or_insert_with(|| AugmentedLagrangian::new(form, with, warm));
                method.renew(with, warm);
                method
            }
            Kind::Predictor => {
                let method = self.predictor.get_or_insert_with(|| PredictorCorrector::new(form, warm));
                method.renew(warm);
                method
            }
        }
    }
}

/// A row that was slow, to be gone on with in the next round.
#[derive(Debug)]
struct Paused {
    k: usize,
    /// While it minimized the violation.
    in_violation: bool,
    point: Point,
    memory: Regularization,
    methods: Methods,
}

impl Paused {
    fn keep(s: &Solve<'_>, k: usize, in_violation: bool, methods: Methods) -> Self {
        Self { k, in_violation, point: s.at.current.clone(), memory: s.kkt.memory, methods }
    }
}

/// The rows of one solve and what they have led to.
pub(super) struct Search {
    rows: Vec<Row>,
    pub first: FirstPoint,
    warm: bool,
    methods: Methods,
    paused: Vec<Paused>,
    /// The row that ran last was minimizing the violation.
    in_violation: bool,
    /// |c~| of the start.
    start_violation: f64,
    /// The row that ran last, or that found the certificate.
    answer: Answer,
    /// A second derivative of the problem that is wrong, in standard variables and original scale.
    pub wrong_entry: Option<WrongEntry>,
}

impl Search {
    /// From a first point.
    pub fn new(first: FirstPoint) -> Self {
        Self {
            rows: Vec::new(),
            warm: false,
            first,
            methods: Methods::default(),
            paused: Vec::new(),
            in_violation: false,
            start_violation: 0.0,
            answer: Answer::Nothing,
            wrong_entry: None,
        }
    }

    /// A solve begins, with the current point at `first`, evaluated.
    fn begin_solve(&mut self, s: &Solve<'_>) {
        let (form, method) = (&*s.problem.form, s.options.method);
        let first = rows(form, method, Means::of(s));
        self.rows.clear();
        self.rows.extend_from_slice(first);
        if method == Method::Auto && form.m > form.n && first.len() == 1 {
            let others = 0..self.first.others.len();
            self.rows.extend(others.map(|k| Row { from: From::Problem(k), ..first[0] }));
        }
        self.warm = !self.first.z.is_empty();
        self.start_violation = norm2(&s.at.current.c);
        self.forget();
    }

    /// Nothing has led to anything.
    pub fn forget(&mut self) {
        (self.answer, self.wrong_entry) = (Answer::Nothing, None);
        self.paused.clear();
    }

    /// The row that gave the answer, and where it started; nothing if none ran.
    pub fn describe(&self, m: usize, out: &mut impl fmt::Write) -> fmt::Result {
        match &self.answer {
            Answer::Nothing => Ok(()),
            Answer::Warm => out.write_str("active-set Newton steps from the warm start"),
            Answer::Row(row, k) => {
                write!(out, "{} from ", describe(row, m))?;
                match row.from {
                    From::Given => out.write_str("the start")?,
                    From::Problem(other) => write!(out, "start point {}", other + 2)?,
                }
                write!(out, " (attempt {})", k + 1)
            }
        }
    }

    /// Steps with the active bounds held come first, from a warm start. `None`: they led to nothing, and the point is the warm start again.
    fn run_warm(&mut self, s: &mut Solve<'_>) -> Option<PhaseEnd> {
        let applies = s.options.method == Method::Auto && s.kkt.is_direct() && !s.hessian.is_learned();
        let (applies, bounded) =
            (applies && s.problem.form.m <= s.problem.form.n, s.problem.form.bounds.count() > 0);
        if applies {
            let form = &*s.problem.form;
            let method = self.methods.active_set.get_or_insert_with(|| ActiveSet::new(form));
            self.answer = Answer::Warm;
            match run(method, s) {
                PhaseEnd::NoStep(_) => {}
                end => return Some(end),
            }
            s.kkt.restart();
            warm_point(s, &self.first);
        }
        if bounded {
            s.problem.form.bounds.push_inside(&mut s.at.current.x, WARM_PUSH, WARM_PUSH);
        }
        if applies || bounded {
            s.at.current.evaluate(&mut s.problem).err().map(PhaseEnd::from)
        } else {
            None
        }
    }

    /// The best end of the rows; a solution of theirs lies on its bounds.
    pub fn run(&mut self, s: &mut Solve<'_>) -> PhaseEnd {
        let end = self.run_rows(s);
        if end == PhaseEnd::Solved {
            settle_on_bounds(s);
        }
        end
    }

    /// One row after the other from the start until one ends well, or two find the same least violation. If none ends well, the first
    /// certificate counts, also where a limit ended a later row that had come no nearer to feasibility, or else the last end.
    fn run_rows(&mut self, s: &mut Solve<'_>) -> PhaseEnd {
        self.begin_solve(s);
        if self.warm
            && let Some(end) = self.run_warm(s)
        {
            return end;
        }
        let mut last = PhaseEnd::Over(Over::Iterations);
        for round in 0.. {
            let mut k = 0;
            while k < self.rows.len() {
                let Some(mut end) = self.run_in_round(s, k, round) else {
                    k += 1;
                    continue;
                };
                if round == 0 && self.is_paused(k) && over(s).is_none() && verdict::is_hopeless(s) {
                    // Then no other row comes further, but this one may.
                    end = self.run_in_round(s, k, 1).unwrap_or(end);
                }
                if end == PhaseEnd::Infeasible {
                    end = self.least_violation(s);
                }
                if end == PhaseEnd::Stationary {
                    return self.other_starts(s, Certified::keep(s));
                }
                if !gave_up(&end) {
                    return end;
                }
                last = end;
                if over(s).is_some() {
                    return last;
                }
                if verdict::is_hopeless(s) {
                    return self.relaxed(s).unwrap_or(last);
                }
                let warm = usize::from(!self.first.z.is_empty());
                if round == 0 && k < warm {
                    // The same again from the problem's own start.
                    self.rows.insert(k + 1, self.rows[k]);
                } else if round == 0 && k == warm {
                    self.amend(s, k);
                }
                k += 1;
            }
            if self.paused.is_empty() {
                break;
            }
        }
        last
    }

    fn is_paused(&self, k: usize) -> bool {
        self.paused.iter().any(|p| p.k == k)
    }

    /// Begins a row, or goes on with it where it was paused; `None`: it has ended, or cannot begin.
    fn run_in_round(&mut self, s: &mut Solve<'_>, k: usize, round: i32) -> Option<PhaseEnd> {
        let row = self.rows[k];
        let paused = self.paused.iter().position(|p| p.k == k).map(|at| self.paused.remove(at));
        match &paused {
            None if round > 0 => return None,
            None if k > 0 && self.begin(s, &row, k).is_err() => return None,
            _ => {}
        }
        self.answer = Answer::Row(row, k);
        let alone = self.paused.is_empty() && (round > 0 || k + 1 == self.rows.len());
        self.grant(s, &row, round, alone);
        let end = match paused {
            None => self.run_row(s, &row),
            Some(paused) => self.resume(s, &row, paused),
        };
        s.budget.end_attempt();
        if end == PhaseEnd::Over(Over::Iterations) && over(s).is_none() {
            let methods = std::mem::take(&mut self.methods);
            self.paused.push(Paused::keep(s, k, self.in_violation, methods));
        }
        Some(end)
    }

    /// Goes on where a row was paused.
    fn resume(&mut self, s: &mut Solve<'_>, row: &Row, paused: Paused) -> PhaseEnd {
        s.watch.note(format_args!("attempt {} goes on: {}", paused.k + 1, describe(row, s.problem.form.m)));
        self.methods = paused.methods;
        s.at.current = paused.point;
        s.hessian.forget();
        s.kkt.restart();
        s.kkt.memory = paused.memory;
        if paused.in_violation {
            return self.run_row(s, row);
        }
        if s.problem.form.m > 0 && s.at.current.y.iter().all(|&y| y == 0.0) {
            estimate_multipliers(s, LARGEST_MULTIPLIER);
        }
        match self.methods.begun(row) {
            Some(method) => resume(method, s),
            None => self.run_row(s, row),
        }
    }

    /// After the first row failed: again with other second derivatives if the given ones are wrong.
    fn amend(&mut self, s: &mut Solve<'_>, k: usize) {
        let row = self.rows[k];
        if self.doubts_hessian(s) {
            self.paused.clear();
            self.rows.insert(k + 1, row);
        }
    }

    /// To the start of a row.
    fn begin(&mut self, s: &mut Solve<'_>, row: &Row, k: usize) -> Result<(), BadEvaluation> {
        let mut from = "the start";
        if k == 1 && !self.first.z.is_empty() {
            self.first.leave_warm_start(&mut s.problem, &mut s.at.trial.c);
        }
        if let From::Problem(other) = row.from {
            self.first.x.copy_from_slice(&self.first.others[other]);
            from = "another start of the problem";
            s.budget.started = s.budget.iteration;
        }
        let what = describe(row, s.problem.form.m);
        s.watch.note(format_args!("attempt {} from {from}: {what}", k + 1));
        restart(s, &self.first.x)
    }

    fn run_row(&mut self, s: &mut Solve<'_>, row: &Row) -> PhaseEnd {
        self.in_violation = row.violation_first;
        if row.violation_first {
            let form = &*s.problem.form;
            let phase = self.methods.least_violation.get_or_insert_with(|| LeastViolation::new(form));
            phase.renew();
            phase.set_goal(Goal { violation: s.options.tolerance, filter: None });
            match run(phase, s) {
                PhaseEnd::Feasible => {}
                end => return end,
            }
        }
        self.in_violation = false;
        let warm = std::mem::take(&mut self.warm);
        run(self.methods.of(row, s.problem.form, s.options, warm), s)
    }

    /// Differences of gradients show that second derivatives of the problem are wrong; they are used from now on.
    fn doubts_hessian(&mut self, s: &mut Solve<'_>) -> bool {
        if !s.hessian.is_given() {
            return false;
        }
        // Multipliers of zero would hide the constraints.
        let y: Vec<f64> = s.at.current.y.iter().map(|&y| if y == 0.0 { 1.0 } else { y }).collect();
        let wrong = hessian::wrong_entry(&mut s.problem, &s.at.current.x, &y);
        let Some(mut entry) = wrong else { return false };
        let scale = s.problem.form.scale.objective;
        entry.given /= scale;
        entry.expected /= scale;
        self.wrong_entry = Some(entry);
        s.watch.note(format_args!(
            "the second derivatives are not those of the gradients: differences are used from now on"
        ));
        *s.hessian = hessian::build(HessianModel::Differences, s.problem.form);
        s.kkt.set_hessian(&**s.hessian);
        true
    }

    /// Work and patience of a row in a round; the last one left has what is left.
    fn grant(&self, s: &mut Solve<'_>, row: &Row, round: i32, alone: bool) {
        // Short limits leave no room for another row.
        if alone || s.options.max_iterations < SHORT_LIMIT {
            return s.budget.begin_attempt(f64::INFINITY, f64::INFINITY);
        }
        // Without constraints and bounds it is the objective that tells progress, and in data fits the least squares, along a valley for long.
        let form = &*s.problem.form;
        let measured = (form.m > 0 || form.bounds.count() > 0) && form.m <= form.n;
        // Another start of a fit helps few.
        let growth = ROUND_GROWTH.powi(round + i32::from(form.m > form.n));
        s.budget.begin_attempt(SHARE * growth, if measured { row.patience * growth } else { f64::INFINITY });
    }

    /// There is no feasible point, as the current one shows: the least violation from the start is what remains to be found.
    fn least_violation(&mut self, s: &mut Solve<'_>) -> PhaseEnd {
        let shown = Certified::keep(s);
        s.judge.contradiction = true;
        let form = &*s.problem.form;
        let phase = self.methods.least_violation.get_or_insert_with(|| LeastViolation::new(form));
        phase.renew();
        phase.set_goal(Goal { violation: s.options.tolerance, filter: None });
        match restart(s, &self.first.x).map(|()| run(phase, s)) {
            Ok(PhaseEnd::Stationary) => PhaseEnd::Stationary,
            Ok(PhaseEnd::Feasible) => {
                // There are such points, beyond the reach of the certificate.
                s.judge.contradiction = false;
                PhaseEnd::no_step(Cause::Search, "feasible points are far away only")
            }
            _ => {
                shown.restore(s);
                PhaseEnd::Infeasible
            }
        }
    }
}

/// The best point, which is solved, with the variables that lean on a bound exactly there, if that is as good.
fn settle_on_bounds(s: &mut Solve<'_>) {
    let (form, at) = (&*s.problem.form, &mut *s.at);
    at.current.copy_from(&at.best);
    let most = (form.free_count(), NEARBY);
    let Point { x, zl, zu, .. } = &mut at.current;
    if zl.is_empty() || !form.bounds.settle(x, zl, zu, most) || at.current.evaluate(&mut s.problem).is_err() {
        return;
    }
    let r = Residuals::of(s.problem.form, &s.at.current, 0.0);
    let (before, tenth) = (s.at.best_residuals, 0.1 * s.options.tolerance);
    let as_good = r.primal <= before.primal.max(0.1 * tenth) && r.scaled <= before.scaled.max(tenth);
    if as_good && verdict::is_close(s, &r) {
        s.at.best.copy_from(&s.at.current);
        s.at.best_residuals = r;
    }
}

/// The current point is a warm start, not evaluated.
pub(super) fn warm_point(s: &mut Solve<'_>, first: &FirstPoint) {
    let (p, form) = (&mut s.at.current, &*s.problem.form);
    p.x.copy_from_slice(&first.x);
    for (i, (y, given)) in p.y.iter_mut().zip(&first.y).enumerate() {
        *y = given * form.scale.objective / form.scale.constraints[i];
    }
    form.bounds.split_multipliers(&first.z, form.scale.objective, &mut p.zl, &mut p.zu);
}

/// To another start, with nothing remembered.
fn restart(s: &mut Solve<'_>, x: &[f64]) -> Result<(), BadEvaluation> {
    s.at.current.x.copy_from_slice(x);
    s.at.current.y.fill(0.0);
    s.hessian.forget();
    s.kkt.restart();
    s.at.current.evaluate(&mut s.problem)
}
