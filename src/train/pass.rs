//! One training pass of a neural ODE: solve, loss, penalties, reverse.
//!
//! The loss that is differentiated is data loss + sum of weight x penalty. Its gradient is that of the frozen-step program ([`crate::adjoint`]).
//!
//! A **local** penalty looks at one more step, of length h from a sampled state y(t): the state and h are constants (as in the published code), and
//! the gradient is that of E, E^2 or S of this one step with respect to the parameters; its cost is one step forwards and back, whatever the
//! length of the solution. Here h is the length of the solver's own step around t (the published code takes a fresh initial-step guess).

use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::path::{PathPenalty, PathTerm};
use super::schedule::{Progress, Schedule};
use crate::adjoint::{
    Adjoint, Aggregate, Bars, Heuristic, Heuristics, LocalSample, Memory, SampleRule, Term,
};
use crate::linalg::Scalar;
use crate::nn::{Jets, MAX_ORDERS};
use crate::ode::{EveryStep, OdeCounts, OdeError, Options, SaveAt, Tableau};

/// Where a solver heuristic is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All accepted steps, gradient through the whole solution.
    #[default]
    Global,
    /// One step from a start of the solver's own steps, uniformly.
    LocalBiased,
    /// One step from a uniformly distributed time.
    LocalUnbiased,
}

/// One penalty with its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Penalty {
    /// R_E: E_j |h_j|.
    Error {
        /// Its weight.
        weight: Schedule,
        /// Over the steps; default mean.
        #[serde(default = "mean")]
        aggregate: Aggregate,
        /// Whether multiplied by |h_j|; default true.
        #[serde(default = "yes")]
        times_step: bool,
        /// Global or local; default global.
        #[serde(default)]
        scope: Scope,
    },
    /// R_E2: E_j^2.
    ErrorSquared {
        /// Its weight.
        weight: Schedule,
        /// Over the steps; default sum.
        #[serde(default = "sum")]
        aggregate: Aggregate,
        /// Whether multiplied by |h_j|; default false.
        #[serde(default)]
        times_step: bool,
        /// Global or local; default global.
        #[serde(default)]
        scope: Scope,
    },
    /// Expected steps, sum E_j^(1/k): the weight is the price of a step, whatever the tolerance.
    ExpectedSteps {
        /// Its weight.
        weight: Schedule,
        /// Global or local; default global. A local sample is multiplied by the number of steps it stands for.
        #[serde(default)]
        scope: Scope,
    },
    /// R_S: S_j / stability size.
    Stiffness {
        /// Its weight.
        weight: Schedule,
        /// Over the steps; default max.
        #[serde(default = "max")]
        aggregate: Aggregate,
        /// Whether multiplied by |h_j|; default false.
        #[serde(default)]
        times_step: bool,
        /// Global or local; default global.
        #[serde(default)]
        scope: Scope,
    },
    /// TayNODE: mean square of the derivative of this order along the solution.
    Taylor {
        /// Its weight.
        weight: Schedule,
        /// K.
        order: usize,
    },
    /// RNODE's kinetic energy: mean square of dy/dt along the solution.
    Kinetic {
        /// Its weight.
        weight: Schedule,
    },
    /// RNODE's Jacobian norm along the solution, by one random direction a pass.
    Jacobian {
        /// Its weight.
        weight: Schedule,
    },
}

fn mean() -> Aggregate {
    Aggregate::Mean
}
fn sum() -> Aggregate {
    Aggregate::Sum
}
fn max() -> Aggregate {
    Aggregate::Max
}
fn yes() -> bool {
    true
}

impl Penalty {
    /// Its weight.
    pub fn weight(&self) -> &Schedule {
        match self {
            Self::Error { weight, .. }
            | Self::ErrorSquared { weight, .. }
            | Self::ExpectedSteps { weight, .. }
            | Self::Stiffness { weight, .. }
            | Self::Taylor { weight, .. }
            | Self::Kinetic { weight }
            | Self::Jacobian { weight } => weight,
        }
    }
    /// The term of the solver's heuristics and its scope, if it is one.
    pub fn term(&self) -> Option<(Term, Scope)> {
        let (heuristic, aggregate, times_step, scope) = match *self {
            Self::Error { aggregate, times_step, scope, .. } => {
                (Heuristic::Error, aggregate, times_step, scope)
            }
            Self::ErrorSquared { aggregate, times_step, scope, .. } => {
                (Heuristic::ErrorSquared, aggregate, times_step, scope)
            }
            Self::ExpectedSteps { scope, .. } => return Some((Term::expected_steps(), scope)),
            Self::Stiffness { aggregate, times_step, scope, .. } => {
                (Heuristic::Stiffness, aggregate, times_step, scope)
            }
            _ => return None,
        };
        Some((Term { heuristic, aggregate, times_step }, scope))
    }
    /// The term along the path, if it is one.
    pub fn path(&self) -> Option<PathTerm> {
        match *self {
            Self::Taylor { order, .. } => Some(PathTerm::Derivative(order)),
            Self::Kinetic { .. } => Some(PathTerm::Derivative(1)),
            Self::Jacobian { .. } => Some(PathTerm::Jacobian),
            _ => None,
        }
    }
    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Taylor { order, .. } if !(1..=MAX_ORDERS).contains(order) => {
                Some(format!("penalty taylor: order is {order}, it must be between 1 and {MAX_ORDERS}"))
            }
            _ => self.weight().problem("penalty weight"),
        }
    }
}

/// What one pass cost and gave.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PassStats {
    /// Data loss + sum of weight x penalty.
    pub loss: f64,
    /// Data loss alone.
    pub data_loss: f64,
    /// Values of the penalties, unweighted, in the order of the configuration.
    pub penalties: Vec<f64>,
    /// Evaluations of the field in the forward pass.
    pub nfe: u64,
    /// Accepted steps.
    pub accepted: u64,
    /// Rejected steps.
    pub rejected: u64,
    /// Mean |h_j|.
    pub mean_step: f64,
    /// Mean E_j.
    pub mean_error: f64,
    /// Largest S_j, if recorded.
    pub max_stiffness: Option<f64>,
    /// Bytes of the tape: what the reverse sweep needs of the forward pass.
    pub tape_bytes: usize,
    /// Seconds of the forward pass.
    pub forward_seconds: f64,
    /// Seconds of penalties and reverse sweep.
    pub reverse_seconds: f64,
}

impl PassStats {
    /// Means and maxima of what was recorded.
    pub(crate) fn of<T: Scalar>(h: &Heuristics<T>) -> Self {
        let share = 1.0 / h.len().max(1) as f64;
        let top = |v: &[T]| v.iter().fold(0.0f64, |m, s| m.max(s.f64()));
        Self {
            mean_step: share * h.steps().iter().map(|v| v.f64().abs()).sum::<f64>(),
            mean_error: share * h.error().iter().map(|v| v.f64()).sum::<f64>(),
            max_stiffness: (!h.stiffness().is_empty()).then(|| top(h.stiffness())),
            ..Self::default()
        }
    }
}

/// The problem of one pass.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a, T> {
    /// Start and end.
    pub span: (T, T),
    /// Start states, dim x batch.
    pub y0: &'a [T],
    /// Parameters of the field.
    pub p: &'a [T],
    /// Save points, ascending (in the order of integration).
    pub times: &'a [T],
}

/// Derivatives of the data loss, to be set by the loss function; both start as zeros.
#[derive(Debug)]
pub struct LossBars<'a, T> {
    /// With respect to y(t1).
    pub y1: &'a mut [T],
    /// With respect to the saved states.
    pub saved: &'a mut [T],
}

/// The data loss of y(t1) and the saved states, which sets its derivatives.
pub type Loss<'l, T> = dyn FnMut(&[T], &[T], LossBars<'_, T>) -> f64 + 'l;

/// Storage for passes of one batch size.
#[derive(Debug, Clone)]
pub struct OdePass<T: Scalar> {
    adjoint: Adjoint<T>,
    /// One step, for local penalties.
    local: Adjoint<T>,
    local_heuristics: Heuristics<T>,
    sample: LocalSample<T>,
    heuristics: Heuristics<T>,
    save: SaveAt<T>,
    save_times: Vec<T>,
    points: EveryStep<T>,
    path: PathPenalty<T>,
    penalties: Vec<Penalty>,
    y1_bar: Vec<T>,
    saved_bar: Vec<T>,
    merged: Merged<T>,
    direction: Vec<T>,
    scratch: Vec<T>,
}

/// Bars at save points and at the ends of steps, in the order of integration.
#[derive(Debug, Clone, Default)]
struct Merged<T> {
    times: Vec<T>,
    bars: Vec<T>,
}

impl<T: Scalar> OdePass<T> {
    /// For states of dim x batch. `stiffness`: record S_j even if no penalty wants it.
    pub fn new(
        method: &'static Tableau,
        (dim, batch): (usize, usize),
        options: &Options,
        memory: Memory,
        penalties: &[Penalty],
        stiffness: bool,
    ) -> Result<Self, OdeError> {
        let wants = |scope: fn(Scope) -> bool| {
            let stiff =
                |p: &Penalty| p.term().filter(|t| t.0.heuristic == Heuristic::Stiffness && scope(t.1));
            penalties.iter().any(|p| stiff(p).is_some())
        };
        // A fixed step longer than any span: one step, to its end.
        let one = Options { fixed_step: Some(1e30), ..options.clone() };
        let n = dim * batch;
        let recorder = |stiff| Heuristics::new(method.stability, (method.error_order + 1) as f64, stiff);
        Ok(Self {
            adjoint: Adjoint::new(method, dim, batch, options, memory)?,
            local: Adjoint::new(method, dim, batch, &one, Memory::Stages)?,
            local_heuristics: recorder(wants(|s| s != Scope::Global)),
            sample: LocalSample::new(SampleRule::Biased(0)),
            heuristics: recorder(stiffness || wants(|s| s == Scope::Global)),
            save: SaveAt::new(&[]),
            save_times: vec![],
            points: EveryStep::new(),
            path: PathPenalty::new(),
            penalties: penalties.to_vec(),
            y1_bar: vec![T::ZERO; n],
            saved_bar: vec![],
            merged: Merged { times: vec![], bars: vec![] },
            direction: vec![T::ZERO; n],
            scratch: vec![T::ZERO; n],
        })
    }

    /// Final state of the last pass.
    pub fn y1(&self) -> &[T] {
        self.adjoint.y()
    }
    /// Heuristics of the last pass.
    pub fn heuristics(&self) -> &Heuristics<T> {
        &self.heuristics
    }

    /// Solves, asks `loss(y1, saved, bars)` for the data loss and its derivatives, adds the penalties, and goes back: sets `y0_bar`, ADDS to `p_bar`.
    /// All random choices of the pass come from `rng`.
    #[allow(clippy::too_many_arguments)]
    pub fn run<M: Jets<T>>(
        &mut self,
        field: &mut M,
        problem: &Problem<'_, T>,
        now: &Progress,
        rng: &mut StdRng,
        loss: &mut Loss<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<PassStats, TrainError> {
        let begun = Instant::now();
        let mut stats = self.forward(field, problem, rng)?;
        stats.forward_seconds = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        self.y1_bar.fill(T::ZERO);
        self.saved_bar.clear();
        self.saved_bar.resize(self.save.states().len(), T::ZERO);
        let bars = LossBars { y1: &mut self.y1_bar, saved: &mut self.saved_bar };
        stats.data_loss = loss(self.adjoint.y(), self.save.states(), bars);
        self.merge_saves(problem.times);
        let penalties = std::mem::take(&mut self.penalties);
        stats.loss = stats.data_loss;
        for penalty in &penalties {
            let weight = penalty.weight().at(now);
            let value = self.penalty(field, problem, penalty, weight, p_bar)?;
            stats.loss += weight * value;
            stats.penalties.push(value);
        }
        self.penalties = penalties;
        let bars = Bars {
            y1: &self.y1_bar,
            times: &self.merged.times,
            saved: &self.merged.bars,
            error: self.heuristics.error_bar(),
            stiffness: self.heuristics.stiffness_bar(),
        };
        self.adjoint.reverse(field, problem.p, &bars, y0_bar, p_bar)?;
        stats.tape_bytes = self.adjoint.tape().bytes();
        stats.reverse_seconds = begun.elapsed().as_secs_f64();
        Ok(stats)
    }

    fn forward<M: Jets<T>>(
        &mut self,
        field: &mut M,
        problem: &Problem<'_, T>,
        rng: &mut StdRng,
    ) -> Result<PassStats, TrainError> {
        let (t0, t1) = problem.span;
        if self.save_times != problem.times {
            self.save_times = problem.times.to_vec();
            self.save = SaveAt::new(problem.times);
        }
        // Drawn whether needed or not: a penalty more or less does not change what the others draw.
        let (seed, share) = (rng.random::<u64>(), rng.random::<f64>());
        let scope = self.penalties.iter().filter_map(|p| p.term()).map(|t| t.1).find(|s| *s != Scope::Global);
        let at = t0 + T::of(share) * (t1 - t0);
        let unbiased = scope == Some(Scope::LocalUnbiased);
        self.sample.set_rule(if unbiased { SampleRule::Unbiased(at) } else { SampleRule::Biased(seed) });
        if self.penalties.iter().any(|p| p.path() == Some(PathTerm::Jacobian)) {
            self.direction.iter_mut().for_each(|e| {
                let z: f64 = StandardNormal.sample(rng);
                *e = T::of(z);
            });
        }
        let path = self.penalties.iter().any(|p| p.path().is_some());
        let sample = scope.map(|_| &mut self.sample);
        let points = path.then_some(&mut self.points);
        let mut sinks = (&mut self.save, &mut self.heuristics, sample, points);
        let report = self.adjoint.forward(field, problem.span, problem.y0, problem.p, &mut sinks)?;
        if !report.ok() {
            return Err(TrainError::Solver { what: report.message() });
        }
        let OdeCounts { evals, accepted, rejected, .. } = report.counts;
        Ok(PassStats { nfe: evals, accepted, rejected, ..PassStats::of(&self.heuristics) })
    }

    fn merge_saves(&mut self, times: &[T]) {
        self.merged.times.clear();
        self.merged.bars.clear();
        self.merged.times.extend_from_slice(times);
        self.merged.bars.extend_from_slice(&self.saved_bar);
    }

    /// Value of a penalty; its bars, times the weight, go where the reverse sweep finds them, or straight to p_bar.
    fn penalty<M: Jets<T>>(
        &mut self,
        field: &mut M,
        problem: &Problem<'_, T>,
        penalty: &Penalty,
        weight: f64,
        p_bar: &mut [T],
    ) -> Result<f64, TrainError> {
        if let Some(path) = penalty.path() {
            return Ok(self.along_path(field, problem, path, weight, p_bar));
        }
        let Some((term, scope)) = penalty.term() else { return Ok(0.0) };
        if scope == Scope::Global {
            return Ok(self.heuristics.add(&term, weight)?);
        }
        if !self.sample.found() {
            return Ok(0.0);
        }
        let (t, h) = (self.sample.t, self.sample.h);
        if t + h == t {
            return Ok(0.0);
        }
        let heuristics = &mut self.local_heuristics;
        let report = self.local.forward(field, (t, t + h), &self.sample.y, problem.p, heuristics)?;
        if !report.ok() {
            return Err(TrainError::Solver { what: report.message() });
        }
        let share = match term.heuristic {
            Heuristic::ExpectedSteps => self.sample.weight(self.heuristics.len(), problem.span.0),
            _ => 1.0,
        };
        let value = share * self.local_heuristics.add(&term, share * weight)?;
        let bars = Bars {
            error: self.local_heuristics.error_bar(),
            stiffness: self.local_heuristics.stiffness_bar(),
            ..Bars::default()
        };
        // The state is a constant: its bar is dropped.
        self.local.reverse(field, problem.p, &bars, &mut self.scratch, p_bar)?;
        Ok(value)
    }

    fn along_path<M: Jets<T>>(
        &mut self,
        field: &mut M,
        problem: &Problem<'_, T>,
        term: PathTerm,
        weight: f64,
        p_bar: &mut [T],
    ) -> f64 {
        let steps = self.heuristics.steps();
        let n = self.scratch.len();
        let mut total = 0.0;
        let mut next = Merged { times: vec![], bars: vec![] };
        let mut from = 0;
        let forward = problem.span.1 > problem.span.0;
        for (j, &t) in self.points.times().iter().enumerate() {
            // Trapezoidal rule.
            let left = if j > 0 { steps[j - 1].f64().abs() } else { 0.0 };
            let right = steps.get(j).map_or(0.0, |h| h.f64().abs());
            let share = 0.5 * (left + right);
            self.scratch.fill(T::ZERO);
            let bars = Some((&mut self.scratch[..], &mut *p_bar));
            let (y, map) = (self.points.state(j), &mut *field);
            total += share * self.path.add(map, term, t, y, problem.p, &self.direction, weight * share, bars);
            // Bars that come before this point in the order of integration.
            let before = |x: T| if forward { x <= t } else { x >= t };
            let to = from + self.merged.times[from..].iter().take_while(|x| before(**x)).count();
            next.times.extend_from_slice(&self.merged.times[from..to]);
            next.bars.extend_from_slice(&self.merged.bars[from * n..to * n]);
            next.times.push(t);
            next.bars.extend_from_slice(&self.scratch);
            from = to;
        }
        next.times.extend_from_slice(&self.merged.times[from..]);
        next.bars.extend_from_slice(&self.merged.bars[from * n..]);
        self.merged = next;
        total
    }
}

#[cfg(test)]
#[path = "pass_tests.rs"]
mod tests;
