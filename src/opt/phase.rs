//! A solve in progress: what its phases share, and how a phase ends.

use std::borrow::Cow;

use super::budget::{Budget, Over};
use super::hessian::Model;
use super::iterate::Iterate;
use super::judge::Judge;
use super::kkt::{Env, Kkt, NoDirection};
use super::options::Options;
use super::problem::{BadEvaluation, Evaluator};
use super::watch::Watch;

/// The parts of a solve. It has fields and no methods: each part keeps its own subject.
pub(super) struct Solve<'a> {
    pub problem: Evaluator<'a>,
    pub at: &'a mut Iterate,
    pub kkt: &'a mut Kkt,
    pub hessian: &'a mut Box<dyn Model>,
    pub budget: &'a mut Budget,
    pub watch: Watch<'a>,
    pub judge: &'a mut Judge,
    pub options: &'a Options,
}

/// K and what its operations borrow, at the current point.
pub(super) fn linear<'s, 'a>(s: &'s mut Solve<'a>) -> (&'s mut Kkt, Env<'s, 'a>) {
    let env = Env {
        problem: &mut s.problem,
        hessian: &mut **s.hessian,
        at: &s.at.current,
        stop: &s.budget.stop,
        options: s.options,
    };
    (s.kkt, env)
}

/// A limit of the attempt or of the user's is reached.
pub(super) fn over(s: &Solve<'_>) -> Option<Over> {
    s.budget.over(s.problem.counts.objective, s.problem.panicked.as_deref())
}

/// Why there is no step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Steps or changes are below rounding.
    Rounding,
    /// No trial point was acceptable.
    Search,
    /// Too many short steps, or no progress of what should fall.
    Slow,
    /// No linear system could be solved.
    Linear,
    /// A function could not be evaluated.
    Evaluation,
}

/// No acceptable step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NoStep {
    pub cause: Cause,
    /// In words.
    pub what: Cow<'static, str>,
}

/// A phase is over.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum PhaseEnd {
    /// The current point passed the test of a solution.
    Solved,
    /// The violation is stationary and not zero.
    Stationary,
    /// The feasibility phase reached its goal.
    Feasible,
    /// A certificate shows that rows and bounds contradict each other.
    Infeasible,
    /// The objective is below anything sensible.
    Unbounded,
    /// No acceptable step.
    NoStep(NoStep),
    /// A limit.
    Over(Over),
}

impl PhaseEnd {
    pub fn no_step(cause: Cause, what: impl Into<Cow<'static, str>>) -> Self {
        Self::NoStep(NoStep { cause, what: what.into() })
    }
}

impl From<BadEvaluation> for PhaseEnd {
    fn from(bad: BadEvaluation) -> Self {
        Self::no_step(Cause::Evaluation, bad.function)
    }
}

impl From<Over> for PhaseEnd {
    fn from(over: Over) -> Self {
        Self::Over(over)
    }
}

/// A direction failed: because the solve was stopped, or for its own reasons.
pub(super) fn no_direction(s: &Solve<'_>, failed: NoDirection) -> PhaseEnd {
    match failed {
        NoDirection::Stopped => stopped(s),
        NoDirection::Failed(what) => PhaseEnd::no_step(Cause::Linear, what),
        NoDirection::Unusable { .. } => {
            PhaseEnd::no_step(Cause::Linear, "the linear system could not be solved accurately")
        }
    }
}

/// A linear solver was told to stop.
pub(super) fn stopped(s: &Solve<'_>) -> PhaseEnd {
    PhaseEnd::Over(over(s).unwrap_or(Over::Interrupted))
}

/// Replaces y by the least-squares multipliers of the current point, or by 0 where they are useless or larger than `largest`.
pub(super) fn estimate_multipliers(s: &mut Solve<'_>, largest: f64) {
    if s.problem.form.m == 0 {
        return;
    }
    let (kkt, mut e) = linear(s);
    let usable = kkt.multipliers(&mut e, largest);
    let current = &mut s.at.current;
    if usable {
        current.y.copy_from_slice(&s.kkt.step[current.x.len()..]);
    } else {
        current.y.fill(0.0);
    }
    let _ = current.update_lagrangian_gradient(&mut s.problem);
}

/// A step was taken: what the table says of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub length: f64,
    pub trials: u32,
    /// |dx|, maximum norm.
    pub norm: f64,
    /// t and delta.
    pub shift: f64,
    pub dual: f64,
    pub inner_iterations: u64,
    /// Relative residual of the linear system; NaN: not of interest.
    pub linear_residual: f64,
    /// One letter (see the command's legend).
    pub kind: char,
}
