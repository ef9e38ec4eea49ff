//! Bounds and inequalities: a primal-dual interior-point method with a filter line search.
//!
//! Waechter and Biegler, "On the implementation of an interior-point filter line-search algorithm for large-scale nonlinear
//! programming", Math. Prog. 106, 2006. For a sequence mu -> 0 the barrier problem
//!
//! ```text
//!     min phi(x) = f(x) + B(x)   subject to c(x) = 0
//! ```
//!
//! is solved by Newton steps on its primal-dual conditions: K with S = zl/(x - l) + zu/(u - x) added to the Hessian. Where no step
//! is acceptable, the feasibility phase minimizes the violation within the bounds.

use super::barrier::{Barrier, KAPPA_EPSILON, LARGEST_MULTIPLIER};
use super::least_violation::{FilterGoal, Goal, LeastViolation};
use super::{Method, With, run};
use crate::linalg::{norm_inf, norm1};
use crate::observe::IterationRow;
use crate::opt::globalization::{FilterSearch, backtrack};
use crate::opt::iterate::{Point, Residuals};
use crate::opt::phase::{Cause, NoStep, PhaseEnd, Solve, Taken, estimate_multipliers};
use crate::opt::problem::Form;
use crate::opt::verdict;

/// The feasibility phase must reduce the violation to this share.
const REQUIRED_REDUCTION: f64 = 0.9;
/// This many steps in a row that needed more than SHORT_TRIALS trials are too many.
const PATIENCE: u32 = 12;
const SHORT_TRIALS: u32 = 5;
/// Multipliers above this share of max(1, |grad f|), and a step that had to be short, where the violation is not above LEAST times the
/// least so far: Newton steps for c = 0 lead nowhere.
const LARGE_MULTIPLIER: f64 = 1e5;
const LEAST: f64 = 1.1;
/// Restarts from a feasible point without an acceptable step.
const RESTARTS: u32 = 5;
/// Steps in a row that may leave x as it is.
const STILL: u32 = 2;
/// Steps below this, relative to x, are taken as they are.
const TINY: f64 = 10.0 * f64::EPSILON;

/// See the module.
#[derive(Debug)]
pub(in crate::opt) struct InteriorPoint {
    barrier: Barrier,
    search: FilterSearch,
    restoration: Option<Box<LeastViolation>>,
    /// z of the current point is that of a warm start.
    warm: bool,
    tiny_steps: u32,
    /// Steps in a row that did not change x.
    still: u32,
    /// Steps in a row that the line search, not a bound, made short.
    short_steps: u32,
    restarts: u32,
    /// |c|, 1-norm, of the points so far.
    least_violation: f64,
}

impl InteriorPoint {
    pub fn new(form: &Form, with: With, warm: bool) -> Self {
        Self {
            barrier: Barrier::new(form, with),
            search: FilterSearch::new(form),
            restoration: None,
            warm,
            tiny_steps: 0,
            still: 0,
            short_steps: 0,
            restarts: 0,
            least_violation: f64::INFINITY,
        }
    }

    /// As new, with its memory.
    pub fn renew(&mut self, with: With, warm: bool) {
        self.barrier.with = with;
        self.warm = warm;
        self.restoration.iter_mut().for_each(|phase| phase.renew());
    }

    /// K of the first step, without regularization, is filled.
    pub fn fill_first(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        self.begin(s)?;
        self.barrier.prepare(s)
    }

    /// Lowers mu as long as the barrier problem is solved well enough; at least once if `now`.
    fn lower_mu(&mut self, s: &Solve<'_>, mut now: bool) {
        let (form, b) = (&*s.problem.form, &mut self.barrier);
        if form.bounds.count() == 0 {
            return;
        }
        while b.mu > b.smallest_mu
            && (now || Residuals::of(form, &s.at.current, b.mu).scaled <= KAPPA_EPSILON * b.mu)
        {
            b.lower();
            self.search.filter.clear();
            self.tiny_steps = 0;
            now = false;
        }
    }

    /// A step within rounding of x is taken without a test; the second one in a row ends the barrier problem.
    fn tiny_step(&mut self, s: &mut Solve<'_>, alpha: f64) -> Result<(f64, u32), PhaseEnd> {
        let below_rounding = || PhaseEnd::no_step(Cause::Rounding, "the step is below rounding");
        self.tiny_steps += 1;
        if self.tiny_steps > 1 {
            if self.barrier.mu <= self.barrier.smallest_mu || s.problem.form.bounds.count() == 0 {
                return Err(below_rounding());
            }
            self.lower_mu(s, true);
        }
        s.at.place(&s.problem.form.bounds, &s.kkt.step, alpha);
        match s.at.trial.evaluate(&mut s.problem) {
            Ok(()) => Ok((alpha, 1)),
            Err(_) => Err(below_rounding()),
        }
    }

    /// Minimizes the violation until the filter accepts a point.
    fn restore(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let tol = s.options.tolerance;
        let mu = self.barrier.mu;
        self.search.add(s.problem.form, &s.at.current, mu);
        let theta = REQUIRED_REDUCTION * norm1(&s.at.current.c);
        let filter = std::mem::take(&mut self.search.filter);
        let goal = Goal { violation: 0.1 * tol, filter: Some(FilterGoal { filter, theta, mu }) };
        let form = &*s.problem.form;
        let phase = self.restoration.get_or_insert_with(|| Box::new(LeastViolation::new(form)));
        phase.set_goal(goal);
        let end = run(&mut **phase, s);
        if let Some(goal) = phase.take_filter() {
            self.search.filter = goal.filter;
        }
        if end != PhaseEnd::Feasible {
            return Err(end);
        }
        let p = &mut s.at.current;
        s.problem.form.bounds.centre_multipliers(&p.x, mu, LARGEST_MULTIPLIER, &mut p.zl, &mut p.zu);
        estimate_multipliers(s, LARGEST_MULTIPLIER);
        Ok(())
    }
}

/// Multipliers are large beside grad f where the rows do not hold.
fn diverges(p: &Point, tol: f64) -> bool {
    norm_inf(&p.c) > tol && norm_inf(&p.y) > LARGE_MULTIPLIER * norm_inf(&p.grad).max(1.0)
}

impl Method for InteriorPoint {
    fn begin(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let warm = std::mem::take(&mut self.warm);
        self.barrier.begin(s, warm);
        self.search.restart(norm1(&s.at.current.c));
        (self.tiny_steps, self.still, self.short_steps, self.restarts) = (0, 0, 0, 0);
        self.least_violation = norm1(&s.at.current.c);
        Ok(())
    }

    fn test(&mut self, s: &mut Solve<'_>, _: &Residuals, solved: bool) -> Option<PhaseEnd> {
        verdict::ended(s, solved)
    }

    fn rescaled(&mut self, s: &mut Solve<'_>, ratio: f64) {
        self.barrier.rescaled(s, ratio);
        self.search.restart(norm1(&s.at.current.c));
    }

    fn tighten(&mut self, _: &mut Solve<'_>) -> bool {
        self.barrier.tighten()
    }

    fn update(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        self.lower_mu(s, false);
        Ok(())
    }

    fn step(&mut self, s: &mut Solve<'_>) -> Result<Taken, PhaseEnd> {
        let n = s.problem.form.n;
        self.barrier.prepare(s)?;
        for (r, c) in s.kkt.rhs[n..].iter_mut().zip(&s.at.current.c) {
            *r = -c;
        }
        let direction = self.barrier.direction(s, 0.0)?;
        let (x, dx) = (&s.at.current.x, &s.kkt.step[..n]);
        let longest = s.problem.form.bounds.primal_step(x, dx, self.barrier.tau());
        let (length, trials) = if dx.iter().zip(x).all(|(d, x)| d.abs() <= TINY * (1.0 + x.abs())) {
            self.tiny_step(s, longest)?
        } else {
            self.tiny_steps = 0;
            let b = &self.barrier;
            self.search.begin(s.problem.form, &s.at.current, (b.mu, b.tau()), &b.gradient, dx);
            backtrack(s, &mut self.search, longest)?
        };
        // Steps within rounding of f and c pass every test without end.
        self.still = if s.at.trial.x == s.at.current.x { self.still + 1 } else { 0 };
        if self.still > STILL {
            self.still = 0;
            return Err(PhaseEnd::no_step(Cause::Rounding, "the step is below rounding"));
        }
        Ok(self.barrier.finish(s, &direction, length, trials))
    }

    fn accepted(&mut self, s: &mut Solve<'_>, taken: &mut Taken) -> Result<(), PhaseEnd> {
        let violation = norm1(&s.at.current.c);
        self.least_violation = self.least_violation.min(violation);
        let least = violation <= LEAST * self.least_violation;
        if least && taken.trials >= SHORT_TRIALS && diverges(&s.at.current, s.options.tolerance) {
            return Err(PhaseEnd::no_step(Cause::Slow, "the multipliers grow, the violation does not fall"));
        }
        self.short_steps = if taken.trials > SHORT_TRIALS { self.short_steps + 1 } else { 0 };
        if self.short_steps >= PATIENCE {
            self.short_steps = 0;
            return Err(PhaseEnd::no_step(Cause::Slow, "short steps"));
        }
        Ok(())
    }

    /// Minimizes the violation or, at a feasible point, begins anew with other multipliers.
    fn recover(&mut self, s: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd> {
        if norm_inf(&s.at.current.c) > s.options.tolerance {
            s.watch.note(format_args!("{}: the violation is minimized", why.what));
            return self.restore(s);
        }
        self.restarts += 1;
        if self.restarts > RESTARTS {
            return Err(PhaseEnd::NoStep(why));
        }
        s.watch.note(format_args!("{}: the multipliers are estimated anew", why.what));
        self.search.filter.clear();
        let p = &mut s.at.current;
        s.problem.form.bounds.centre_multipliers(&p.x, self.barrier.mu, f64::INFINITY, &mut p.zl, &mut p.zu);
        estimate_multipliers(s, f64::INFINITY);
        Ok(())
    }

    fn fill_row(&self, form: &Form, at: &Point, row: &mut IterationRow) {
        row.merit = at.f;
        row.barrier = if form.bounds.count() > 0 { self.barrier.mu } else { 0.0 };
    }
}
