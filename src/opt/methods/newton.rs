//! Inexact Newton steps on K z = -b, Armijo backtracking on the exact augmented Lagrangian along (dx, dy) jointly. Where no step is
//! found, the multipliers are estimated anew at a feasible point, or else the violation is minimized first.

use super::least_violation::{Goal, LeastViolation};
use super::valley::Valley;
use super::{Method, With, fill_optimality, run};
use crate::linalg::norm_inf;
use crate::observe::IterationRow;
use crate::opt::globalization::{ExactMerit, backtrack};
use crate::opt::iterate::{Point, Residuals};
use crate::opt::kkt::{Direction, NoDirection, Regularization, Rule};
use crate::opt::options::Options;
use crate::opt::phase::{Cause, NoStep, PhaseEnd, Solve, Taken, estimate_multipliers, linear, no_direction};
use crate::opt::problem::Form;
use crate::opt::verdict;

/// A shift beyond this is never begun with.
const LARGEST_FLOOR: f64 = 1e2;
/// Iterations that may follow the first point within tolerance while the original residuals still fall.
const POLISH: u32 = 4;
/// A step without success is repeated with this much more regularization, so often.
const STRONGER: f64 = 100.0;
const REPEATS: u32 = 3;
/// Penalties beyond this make that useless.
const STIFF: f64 = 1e10;
/// Multipliers above this are not used as a start.
const LARGEST_START_MULTIPLIER: f64 = 1e3;
/// Times that the phase may begin anew.
const ROUNDS: u32 = 8;
/// Feasible points that are looked for where the objective seems unbounded.
const LOOKS: u32 = 6;
/// A round from a feasible point must reduce the residual to this share.
const ROUND_REDUCTION: f64 = 0.9;

const RULE: Rule = Rule {
    residual: (1e-2, f64::INFINITY),
    dual: 0.0,
    keep_floor: true,
    from_zero: false,
    largest_shift: 1e30,
};

/// Progress after the tolerance has been reached.
#[derive(Debug, Default)]
struct Polish {
    steps: u32,
    last: f64,
}

impl Polish {
    /// The tolerance holds; is it worth going on for the sake of the original residuals?
    fn goes_on(&mut self, r: &Residuals, tolerance: f64) -> bool {
        let worst = r.primal.max(r.dual);
        let improves = self.steps == 0 || worst <= 0.5 * self.last;
        self.last = worst;
        self.steps += 1;
        worst > tolerance && improves && self.steps <= POLISH
    }
}

/// See the module.
#[derive(Debug)]
pub(in crate::opt) struct Newton {
    exact: ExactMerit,
    with: With,
    restoration: Option<Box<LeastViolation>>,
    polish: Polish,
    valley: Valley,
    /// Repeats of the present step.
    repeats: u32,
    /// Consecutive short steps.
    short_steps: u32,
    rounds: u32,
    /// Feasible points that were looked for where the objective seemed unbounded.
    looks: u32,
    /// Residual at the end of the last round that ended at a feasible point.
    last: f64,
}

impl Newton {
    pub fn new(form: &Form, with: With, options: &Options) -> Self {
        Self {
            exact: ExactMerit::new(form, options),
            with,
            restoration: None,
            polish: Polish::default(),
            valley: Valley::default(),
            repeats: 0,
            short_steps: 0,
            rounds: 0,
            looks: 0,
            last: f64::INFINITY,
        }
    }

    /// As new, with its memory.
    pub fn renew(&mut self, with: With) {
        self.exact.renew();
        self.restoration.iter_mut().for_each(|phase| phase.renew());
        self.with = with;
        (self.rounds, self.last) = (0, f64::INFINITY);
    }

    /// A new round from the current point; only that J is deficient is remembered.
    fn begin_round(&mut self, s: &mut Solve<'_>) {
        let deficient = s.kkt.memory.deficient;
        s.kkt.memory = Regularization { deficient, ..Regularization::default() };
        self.exact.restart(s.problem.form.m, s.options);
        self.polish = Polish::default();
        self.valley = Valley::default();
        (self.repeats, self.short_steps) = (0, 0);
    }

    /// The step into `kkt.step`, its slope into the merit function.
    fn direction(&mut self, s: &mut Solve<'_>) -> Result<Direction, PhaseEnd> {
        let n = s.problem.form.n;
        for (r, g) in s.kkt.rhs[..n].iter_mut().zip(&s.at.current.lag_grad) {
            *r = -g;
        }
        for (r, c) in s.kkt.rhs[n..].iter_mut().zip(&s.at.current.c) {
            *r = -c;
        }
        self.exact.differentiate(s)?;
        let (kkt, mut e) = linear(s);
        let direction = kkt.direction(&mut e, &RULE, &mut self.exact);
        if let Some(wanted) = self.exact.unreachable.take() {
            s.watch.note(format_args!("certified accuracy {wanted:.1e} is below the floor, which binds"));
        }
        match direction {
            Ok(direction) => Ok(direction),
            Err(NoDirection::Unusable { inner_iterations }) => {
                self.exact.steepest_descent(&s.at.current, &mut s.kkt.step);
                Ok(Direction { inner_iterations, linear_residual: f64::NAN, kind: 'g' })
            }
            Err(failed) => Err(no_direction(s, failed)),
        }
    }

    /// Repeatedly short steps say that the model is trusted too far: begin with a larger shift.
    fn adapt_floor(&mut self, s: &mut Solve<'_>, length: f64) {
        let (t, memory) = (s.kkt.t, &mut s.kkt.memory);
        if length < 0.05 {
            self.short_steps += 1;
            if self.short_steps >= 2 {
                memory.floor = (10.0 * t).clamp(1e-8, LARGEST_FLOOR);
            }
        } else {
            self.short_steps = 0;
            memory.floor = if length > 0.5 { 0.1 * memory.floor } else { memory.floor };
            if memory.floor < 1e-10 {
                memory.floor = 0.0;
            }
        }
    }

    /// Replaces y by the least-squares multipliers where that lowers the merit function.
    fn improve_multipliers(&mut self, s: &mut Solve<'_>) {
        let Point { y, lag_grad, .. } = &s.at.current;
        s.at.trial.y.copy_from_slice(y);
        s.at.trial.lag_grad.copy_from_slice(lag_grad);
        let before = self.exact.merit.value(&s.at.current);
        estimate_multipliers(s, f64::INFINITY);
        let after = self.exact.merit.value(&s.at.current);
        if after.is_nan() || after >= before {
            let (current, trial) = (&mut s.at.current, &mut s.at.trial);
            std::mem::swap(&mut current.y, &mut trial.y);
            std::mem::swap(&mut current.lag_grad, &mut trial.lag_grad);
        }
    }

    /// Reduces the violation to `goal`; the multipliers are estimated after it.
    fn restore(&mut self, s: &mut Solve<'_>, goal: f64) -> Result<(), PhaseEnd> {
        let form = &*s.problem.form;
        let phase = self.restoration.get_or_insert_with(|| Box::new(LeastViolation::new(form)));
        phase.set_goal(Goal { violation: goal, filter: None });
        let end = run(&mut **phase, s);
        if end != PhaseEnd::Feasible {
            return Err(end);
        }
        estimate_multipliers(s, LARGEST_START_MULTIPLIER);
        Ok(())
    }

    /// A new round: with other multipliers from a feasible point, or from a less violated one.
    fn next_round(&mut self, s: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd> {
        let tol = s.options.tolerance;
        let r = Residuals::of(s.problem.form, &s.at.current, 0.0);
        if r.scaled_primal <= tol {
            if r.scaled >= ROUND_REDUCTION * self.last {
                return Err(PhaseEnd::NoStep(why));
            }
            self.last = r.scaled;
            s.watch.note(format_args!("{}: the multipliers are estimated anew", why.what));
            // However large, they may be all that is missing; a start from large ones leads nowhere.
            estimate_multipliers(s, f64::INFINITY);
            let r = Residuals::of(s.problem.form, &s.at.current, 0.0);
            if !verdict::is_close(s, &r) && norm_inf(&s.at.current.y) > LARGEST_START_MULTIPLIER {
                s.at.current.y.fill(0.0);
                s.at.current.update_lagrangian_gradient(&mut s.problem)?;
            }
        } else {
            s.watch.note(format_args!("{}: the violation is minimized", why.what));
            self.restore(s, (0.1 * r.scaled_primal).max(0.1 * tol))?;
        }
        self.rounds += 1;
        if self.rounds == ROUNDS {
            let what = "feasibility and optimality could not be reconciled";
            return Err(PhaseEnd::no_step(Cause::Slow, what));
        }
        self.begin_round(s);
        Ok(())
    }
}

impl Method for Newton {
    fn begin(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        (self.rounds, self.looks, self.last) = (0, 0, f64::INFINITY);
        if s.at.current.y.iter().all(|&y| y == 0.0) {
            estimate_multipliers(s, LARGEST_START_MULTIPLIER);
        }
        self.begin_round(s);
        Ok(())
    }

    fn test(&mut self, s: &mut Solve<'_>, r: &Residuals, solved: bool) -> Option<PhaseEnd> {
        if solved && self.polish.goes_on(r, s.options.tolerance) {
            return None;
        }
        if !solved && self.looks < LOOKS && s.problem.form.m > 0 && verdict::may_be_unbounded(s) {
            self.looks += 1;
            match self.restore(s, s.options.tolerance) {
                Ok(()) => self.begin_round(s),
                Err(PhaseEnd::NoStep(_) | PhaseEnd::Stationary) => {}
                Err(end) => return Some(end),
            }
        }
        verdict::ended(s, solved)
    }

    fn rescaled(&mut self, s: &mut Solve<'_>, _: f64) {
        self.begin_round(s);
    }

    fn step(&mut self, s: &mut Solve<'_>) -> Result<Taken, PhaseEnd> {
        let n = s.problem.form.n;
        fill_optimality(s, self.with.relative_shift)?;
        let direction = self.direction(s)?;
        self.exact.begin(&s.at.current, s.problem.form);
        let (length, trials) = backtrack(s, &mut self.exact, 1.0)?;
        self.adapt_floor(s, length);
        if s.at.current.x == s.at.trial.x && s.at.current.y == s.at.trial.y {
            return Err(PhaseEnd::no_step(Cause::Rounding, "the step is below rounding"));
        }
        Ok(Taken {
            length,
            trials,
            norm: length * norm_inf(&s.kkt.step[..n]),
            shift: s.kkt.t,
            dual: s.kkt.delta,
            inner_iterations: direction.inner_iterations,
            linear_residual: direction.linear_residual,
            kind: direction.kind,
        })
    }

    fn accepted(&mut self, s: &mut Solve<'_>, taken: &mut Taken) -> Result<(), PhaseEnd> {
        let (n, m) = (s.problem.form.n, s.problem.form.m);
        if m > 0 {
            // `trial` is the point before the step.
            let (before, after) = (norm_inf(&s.at.trial.lag_grad), norm_inf(&s.at.current.lag_grad));
            if taken.length < 0.25 || after > 10.0 * before {
                self.improve_multipliers(s);
            }
            let patience = match (s.kkt.is_direct(), m == n) {
                (true, true) => 2,
                (true, false) => 5,
                (false, _) => 15,
            };
            if self.short_steps >= patience {
                return Err(PhaseEnd::no_step(Cause::Slow, "short steps"));
            }
        }
        self.repeats = 0;
        if m == 0 && self.valley.follow(s) {
            taken.kind = 'v';
        }
        Ok(())
    }

    fn recover(&mut self, s: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd> {
        if self.polish.steps > 0 && s.at.best_solved {
            return Err(PhaseEnd::Solved);
        }
        // A more strongly regularized step is tried before giving up.
        if self.repeats < REPEATS && self.exact.merit.eta1 < STIFF && self.short_steps < 2 {
            self.repeats += 1;
            s.kkt.memory.floor = (STRONGER * s.kkt.t).max(1e-6);
            return Ok(());
        }
        if s.problem.form.m == 0 {
            return Err(PhaseEnd::NoStep(why));
        }
        self.next_round(s, why)
    }

    fn fill_row(&self, _: &Form, at: &Point, row: &mut IterationRow) {
        row.merit = self.exact.merit.value(at);
        row.penalty = (self.exact.merit.eta1, self.exact.merit.eta2);
    }
}
