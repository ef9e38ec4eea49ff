//! The ways to solve a problem, and the order in which they are tried.

use std::time::Instant;

use super::engine::{Engine, PhaseEnd, Progress, Regularization};
use super::feasibility::Goal;
use super::interior::Start;
use super::merit::Merit;
use super::model;
use super::options::Method;
use super::restarts::Certified;
use crate::linalg::norm2;
use crate::report::StopReason;

/// Multipliers above this are not used as a start.
const LARGEST_START_MULTIPLIER: f64 = 1e3;
/// Times that the feasibility phase may hand back to the Newton phase.
const ROUNDS: usize = 8;

/// Fewer iterations than these are one attempt's.
const SHORT_LIMIT: u64 = 600;
/// Of the remaining time, for an attempt that is not the last; less for the exact augmented Lagrangian, which others follow.
const SHARE_OF_TIME: f64 = 0.75;
const SHARE_OF_EXACT: f64 = 0.3;

/// A violation is less than another below this share of it.
pub(super) const LESS: f64 = 1.0 - 1e-6;

/// Iterations without halving the residual, for an attempt that is not the last.
const PATIENCE: u64 = 1000;
const PATIENCE_OF_EXACT: u64 = 100;

/// A way to solve the problem from its start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Attempt {
    /// Unconstrained Newton, with a shift t I or one relative to the curvature along each variable.
    Newton { relative_shift: bool },
    /// Equality constraints: the exact augmented Lagrangian.
    Exact { violation_first: bool },
    /// The filter method, with a barrier where there are bounds.
    Filter { violation_first: bool, relative_shift: bool },
    /// The filter method; a Jacobian that was rank deficient once counts as such from then on.
    FilterDeficient,
    /// The augmented Lagrangian, with a barrier where there are bounds.
    Augmented,
    /// More equations than unknowns: the first attempt again, with rows scaled by their gradients.
    ScaledRows,
    /// More equations than unknowns: the first attempt from the problem's start point of this number.
    OtherStart(usize),
}

impl Attempt {
    /// In the order in which they are tried. Systems with more equations than unknowns begin with their violation.
    fn list(engine: &Engine<'_>) -> Vec<Self> {
        let (method, bounded) = (engine.options.method, engine.bounds.count() > 0);
        let (n, m, quasi_newton) = (engine.model.n, engine.model.m, engine.model.is_quasi_newton());
        let filter = Self::Filter { violation_first: m > n, relative_shift: false };
        let exact = Self::Exact { violation_first: m > n };
        let newton = [Self::Newton { relative_shift: false }, Self::Newton { relative_shift: true }];
        let over_determined = |first: Self| {
            let others = (0..engine.model.nlp().meta().other_starts.len()).map(Self::OtherStart);
            std::iter::once(first).chain(others).collect()
        };
        match method {
            Method::SketchedNewton if m == 0 => newton.to_vec(),
            Method::SketchedNewton if m > n => vec![exact],
            Method::SketchedNewton => vec![exact, Self::Exact { violation_first: true }],
            Method::InteriorPoint => vec![filter],
            Method::AugmentedLagrangian => vec![Self::Augmented],
            Method::Auto if bounded && m == 0 => {
                vec![filter, Self::Filter { violation_first: false, relative_shift: true }]
            }
            Method::Auto if bounded && m > n => over_determined(filter),
            Method::Auto if bounded => {
                let relative = Self::Filter { violation_first: false, relative_shift: true };
                vec![filter, Self::Augmented, relative, Self::FilterDeficient]
            }
            Method::Auto if m == 0 => newton.to_vec(),
            // The exact augmented Lagrangian needs the true Hessian for its gradient.
            Method::Auto if quasi_newton => vec![filter, Self::Augmented],
            Method::Auto if m > n => over_determined(exact),
            Method::Auto => vec![exact, filter, Self::Exact { violation_first: true }, Self::Augmented],
        }
    }

    /// The first of them that begins with the violation, from any start.
    pub fn violation_first(engine: &Engine<'_>) -> Self {
        match Self::list(engine)[0] {
            Self::Exact { .. } => Self::Exact { violation_first: true },
            _ => Self::Filter { violation_first: true, relative_shift: false },
        }
    }

    pub fn describe(self) -> &'static str {
        match self {
            Self::Newton { relative_shift: false } => "Newton with a line search",
            Self::Newton { relative_shift: true } => "Newton with a shift relative to the curvature",
            Self::Exact { violation_first: false } => "inexact Newton on the exact augmented Lagrangian",
            Self::Exact { violation_first: true } => {
                "least violation, then inexact Newton on the exact augmented Lagrangian"
            }
            Self::Filter { violation_first: true, .. } => "least violation, then primal-dual interior point",
            Self::Filter { relative_shift: true, .. } => {
                "primal-dual interior point with a shift relative to the curvature"
            }
            Self::Filter { .. } => "primal-dual interior point with a filter",
            Self::FilterDeficient => "primal-dual interior point, constraints regularized",
            Self::Augmented => "augmented Lagrangian with a barrier",
            Self::ScaledRows => "the same, rows scaled by their gradients",
            Self::OtherStart(_) => "the same",
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
pub(super) fn gave_up(stop: &StopReason) -> bool {
    matches!(stop, StopReason::LocallyInfeasible | StopReason::MaxIterations | StopReason::Stalled { .. })
}

impl Engine<'_> {
    /// What the header says of the method.
    pub fn method(&self) -> &'static str {
        Attempt::list(self)[0].describe()
    }

    /// One attempt after the other from the start until one ends well, or two find the same least violation. If none ends well, the first
    /// certificate counts, also where a limit ended a later attempt that had come no nearer to feasibility, or else
    /// the last end.
    pub fn attempts(&mut self) -> StopReason {
        let mut list = Attempt::list(self);
        let limit = self.options.max_iterations;
        let mut certified: Option<Certified> = None;
        let mut stop = StopReason::MaxIterations;
        let mut k = 0;
        while let Some(&attempt) = list.get(k) {
            // A certificate ends the search; `restarts` draws starts at random where they may help.
            if certified.is_some() && matches!(attempt, Attempt::OtherStart(_)) {
                break;
            }
            if k > 0 {
                let mut from = "the start";
                if let Attempt::OtherStart(s) = attempt {
                    self.first.x.copy_from_slice(&self.model.nlp().meta().other_starts[s]);
                    from = "another start of the problem";
                    self.started = self.iteration;
                }
                self.note(&format!("attempt {} from {from}: {}", k + 1, attempt.describe()));
                if self.restart().is_err() {
                    k += 1;
                    continue;
                }
            }
            self.give_budget(attempt, list.len() - k);
            self.progress = Progress { residual: f64::INFINITY, iteration: self.iteration };
            let end = self.attempt(attempt);
            (self.attempt_deadline, self.attempt_patience) = (None, u64::MAX);
            let limited = matches!(end, StopReason::TimeLimit | StopReason::MaxEvaluations);
            if !gave_up(&end) && !limited {
                return end;
            }
            if let Some((point, ..)) = &certified {
                let (least, now) = (norm2(&point.c), norm2(&self.current.c));
                if limited && norm2(&self.best.c) < LESS * least {
                    return end;
                }
                if end == StopReason::LocallyInfeasible && (now - least).abs() <= (1.0 - LESS) * least {
                    break;
                }
            } else if end == StopReason::LocallyInfeasible {
                certified = Some((self.current.clone(), self.best.clone(), self.best_residuals));
            }
            stop = end;
            if limited {
                break;
            }
            self.iteration_limit = limit;
            if self.out_of_budget().is_some() {
                break;
            }
            if k == 0 && stop != StopReason::LocallyInfeasible && self.doubts_hessian() {
                list.insert(1, attempt);
            } else if k == 0 && matches!(stop, StopReason::Stalled { .. }) && self.model.steep_rows {
                list.insert(1, Attempt::ScaledRows);
            }
            k += 1;
        }
        if let Some((current, best, residuals)) = certified {
            return self.other_starts((current, best, residuals));
        }
        stop
    }

    /// Differences of gradients show that second derivatives of the problem are wrong; they are used from now on.
    fn doubts_hessian(&mut self) -> bool {
        // Multipliers of zero would hide the constraints.
        let y: Vec<f64> = self.current.y.iter().map(|&y| if y == 0.0 { 1.0 } else { y }).collect();
        let x = std::mem::take(&mut self.current.x);
        let wrong = self.model.wrong_hessian(&x, &y);
        self.current.x = x;
        let Some(mut entry) = wrong else { return false };
        entry.given /= self.model.objective_scale;
        entry.expected /= self.model.objective_scale;
        self.wrong_entry = Some(entry);
        self.note("the second derivatives are not those of the gradients: differences are used from now on");
        self.model.take_differences();
        true
    }

    /// Iterations, time and patience of an attempt, of which `left` are left with it: even shares of the iterations, two
    /// thirds for the first of two.
    fn give_budget(&mut self, attempt: Attempt, left: usize) {
        let limit = self.options.max_iterations;
        // Short limits leave no room for another attempt.
        let last = left == 1 || limit < SHORT_LIMIT;
        let remaining = limit - self.iteration;
        let share = if left <= 2 { remaining / 3 * 2 } else { remaining / left as u64 };
        self.iteration_limit = if last { limit } else { self.iteration + share };
        let exact = matches!(attempt, Attempt::Exact { violation_first: false });
        self.attempt_deadline = self.stop.deadline.filter(|_| !last).map(|deadline| {
            let now = Instant::now();
            let share = if exact { SHARE_OF_EXACT } else { SHARE_OF_TIME };
            now + deadline.saturating_duration_since(now).mul_f64(share)
        });
        // Without constraints and bounds it is the objective that tells progress, and in data fits the least squares, along a valley for long.
        let (n, m) = (self.model.n, self.model.m);
        let measured = (m > 0 || self.bounds.count() > 0) && m <= n;
        self.attempt_patience = match exact {
            _ if last || !measured => u64::MAX,
            true => PATIENCE_OF_EXACT,
            false => PATIENCE,
        };
    }

    pub fn attempt(&mut self, attempt: Attempt) -> StopReason {
        match attempt {
            Attempt::Newton { relative_shift } => {
                self.relative_shift = relative_shift;
                self.restart_newton();
                stop_of(self.newton())
            }
            Attempt::Exact { violation_first } => self.constrained(violation_first),
            Attempt::Filter { violation_first, relative_shift } => {
                self.relative_shift = relative_shift;
                self.keeps_delta = false;
                if violation_first {
                    let goal = Goal { violation: self.options.tolerance, filter: None };
                    match self.feasibility(goal) {
                        PhaseEnd::Feasible => {}
                        end => return stop_of(end),
                    }
                }
                stop_of(self.interior_point(Start { mu: 0.1 }))
            }
            Attempt::FilterDeficient => stop_of(self.interior_point(Start { mu: 0.1 })),
            Attempt::Augmented => stop_of(self.augmented_lagrangian(Start { mu: 0.1 })),
            Attempt::ScaledRows => {
                self.scale_rows();
                self.attempt(Attempt::list(self)[0])
            }
            Attempt::OtherStart(_) => self.attempt(Attempt::list(self)[0]),
        }
    }

    /// Scales the rows at the start, which is evaluated, and the best point so far.
    fn scale_rows(&mut self) {
        self.model.scale_rows(&mut self.current.c);
        for (k, s) in self.model.constraint_scale.iter().enumerate() {
            self.best.c[k] *= s;
            self.best.y[k] /= s;
        }
        if !self.best_residuals.scaled.is_nan() {
            self.best_residuals = self.residuals(&self.best);
        }
    }

    /// Back to the start point.
    pub fn restart(&mut self) -> Result<(), model::BadEvaluation> {
        self.current.x.copy_from_slice(&self.first.x);
        self.current.y.fill(0.0);
        self.first.z.clear();
        self.model.forget();
        self.regularization = Regularization::default();
        self.relative_shift = false;
        self.keeps_delta = true;
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
}
