//! One training pass of a neural differential equation: solve, loss, penalties, reverse.
//!
//! The loss that is differentiated is data loss + sum of weight x penalty. Its gradient is that of the frozen-step program ([`crate::adjoint`]).
//!
//! A **local** penalty looks at one more step, of length h from a sampled state y(t): the state and h are constants (as in the published code), and
//! the gradient is that of E, E^2 or S of this one step with respect to the parameters; its cost is one step forwards and back, whatever the
//! length of the solution. Here h is the length of the solver's own step around t (the published code takes a fresh initial-step guess).
//!
//! A pass of a stochastic equation lives on a Brownian path that the pass's random numbers choose; a local step takes an increment of its own, and sampled without bias it begins at
//! a uniformly distributed time, at which the solver is made to stop. Penalties along the path (TayNODE, RNODE) need a smooth solution and are refused there.

use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use super::error::TrainError;
use super::path::{PathPenalty, PathPoint, PathTerm};
use super::penalty::{Penalty, Scope};
use super::schedule::Progress;
use crate::adjoint::{
    Adjoint, Backward, Bars, Heuristic, Heuristics, LocalSample, Memory, Reverse, SampleRule, Transpose,
};
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::nn::Jets;
use crate::ode::{
    Auto, EveryStep, Integrate, Integrator, Method, OdeCounts, Options, SaveAt, StiffIntegrator,
};
use crate::sde::{Brownian, Sde, SdeIntegrator};

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
    /// One of several parts of a batch that holds this share of its samples: losses, means and penalties are averaged, work is summed.
    pub(crate) fn add(&mut self, part: &Self, share: f64) {
        self.loss += share * part.loss;
        self.data_loss += share * part.data_loss;
        self.penalties.resize(part.penalties.len(), 0.0);
        self.penalties.iter_mut().zip(&part.penalties).for_each(|(all, p)| *all += share * p);
        self.nfe += part.nfe;
        self.accepted += part.accepted;
        self.rejected += part.rejected;
        self.mean_step += share * part.mean_step;
        self.mean_error += share * part.mean_error;
        let most = part.max_stiffness.map(|s| self.max_stiffness.map_or(s, |m| m.max(s)));
        self.max_stiffness = most.or(self.max_stiffness);
        self.tape_bytes = self.tape_bytes.max(part.tape_bytes);
        self.forward_seconds += part.forward_seconds;
        self.reverse_seconds += part.reverse_seconds;
    }
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

/// What a kind of systems is to a pass besides its steps.
pub trait Guide<T: Scalar, S> {
    /// The system's own random choices of this pass; returns the seed of those of a local step.
    fn draw(system: &mut S, rng: &mut StdRng) -> u64 {
        let _ = (system, rng);
        0
    }
    /// Runs a local step over this span, with these choices.
    fn local<R>(system: &mut S, seed: u64, span: (f64, f64), run: impl FnOnce(&mut S) -> R) -> R {
        let _ = (seed, span);
        run(system)
    }
    /// The integrand of a path penalty at a point; weight times its derivative is ADDED to the bars of y and p.
    fn along(
        system: &mut S,
        penalty: &mut PathPenalty<T>,
        at: &PathPoint<'_, T>,
        bars: (&mut [T], &mut [T]),
    ) -> f64;
}

/// Fields with Taylor mode ([`Jets`]).
#[derive(Debug, Clone, Copy)]
pub struct Smooth;

impl<T: Scalar, M: Jets<T>> Guide<T, M> for Smooth {
    fn along(
        field: &mut M,
        penalty: &mut PathPenalty<T>,
        at: &PathPoint<'_, T>,
        bars: (&mut [T], &mut [T]),
    ) -> f64 {
        penalty.add(field, at, Some(bars))
    }
}

/// Stochastic equations: a pass follows a Brownian path that its random numbers choose, a local step one of its own.
#[derive(Debug, Clone, Copy)]
pub struct Noisy;

impl<T: Scalar, F: Map<T>, G: Map<T>> Guide<T, Sde<F, G>> for Noisy {
    fn draw(sde: &mut Sde<F, G>, rng: &mut StdRng) -> u64 {
        sde.follow(Brownian::new(rng.random()));
        rng.random()
    }
    fn local<R>(
        sde: &mut Sde<F, G>,
        seed: u64,
        (t0, t1): (f64, f64),
        run: impl FnOnce(&mut Sde<F, G>) -> R,
    ) -> R {
        let path = sde.path().clone();
        let out = run(sde.follow(Brownian::new(seed).over(t0, t1).with_cells(1)));
        sde.follow(path);
        out
    }
    /// Refused before: [`Pass::new`].
    fn along(
        _: &mut Sde<F, G>,
        _: &mut PathPenalty<T>,
        _: &PathPoint<'_, T>,
        _: (&mut [T], &mut [T]),
    ) -> f64 {
        0.0
    }
}

/// Integrators that a pass can train with.
pub trait Trainable<T: Scalar>: Transpose<T> {
    /// What their systems are.
    type Guide;
}
impl<T: Scalar> Trainable<T> for Integrator<T> {
    type Guide = Smooth;
}
impl<T: Scalar> Trainable<T> for StiffIntegrator<T> {
    type Guide = Smooth;
}
impl<T: Scalar> Trainable<T> for Auto<T> {
    type Guide = Smooth;
}
impl<T: Scalar> Trainable<T> for SdeIntegrator<T> {
    type Guide = Noisy;
}

/// Storage for passes of one batch size.
#[derive(Debug, Clone)]
pub struct Pass<T: Scalar, I: Trainable<T> = Integrator<T>> {
    adjoint: Adjoint<T, I>,
    /// One step, for local penalties.
    local: Adjoint<T, I>,
    local_heuristics: Heuristics<T>,
    sample: LocalSample<T>,
    /// Of the system's choices in a local step.
    local_seed: u64,
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

impl<T: Scalar, I: Trainable<T>> Pass<T, I> {
    /// For states of dim x batch. `stiffness`: record S_j even if no penalty wants it, where the method has it.
    pub fn new<D: Method<T, Integrator = I>>(
        method: D,
        (dim, batch): (usize, usize),
        options: &Options,
        memory: Memory,
        penalties: &[Penalty],
        stiffness: bool,
    ) -> Result<Self, TrainError> {
        if !I::Back::SMOOTH && penalties.iter().any(|p| p.path().is_some()) {
            let what =
                "penalties taylor, kinetic and jacobian need a smooth solution: not for stochastic tasks";
            return Err(TrainError::config(what));
        }
        let wants = |scope: fn(Scope) -> bool| {
            let stiff =
                |p: &Penalty| p.term().filter(|t| t.0.heuristic == Heuristic::Stiffness && scope(t.1));
            penalties.iter().any(|p| stiff(p).is_some())
        };
        let facts = method.integrator(dim, batch, options)?.facts();
        if facts.stability.is_infinite() && wants(|_| true) {
            let what = "the method has no stiffness estimate for a penalty on it; of the stochastic methods sosri2 has one";
            return Err(TrainError::config(what));
        }
        // A fixed step longer than any span: one step, to its end.
        let one = options.clone().with_fixed_step(1e30);
        let n = dim * batch;
        let recorder = |stiff: bool| {
            Heuristics::new(facts.stability, facts.control_order, stiff && facts.stability.is_finite())
        };
        Ok(Self {
            adjoint: Adjoint::new(method, dim, batch, options, memory)?,
            local: Adjoint::new(method, dim, batch, &one, Memory::Stages)?,
            local_heuristics: recorder(wants(|s| s != Scope::Global)),
            sample: LocalSample::new(SampleRule::Biased(0)),
            local_seed: 0,
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
    pub fn run<S>(
        &mut self,
        system: &mut S,
        problem: &Problem<'_, T>,
        now: &Progress,
        rng: &mut StdRng,
        loss: &mut Loss<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<PassStats, TrainError>
    where
        I: Integrate<T, S>,
        I::Back: Reverse<T, S>,
        I::Guide: Guide<T, S>,
    {
        let begun = Instant::now();
        let mut stats = self.forward(system, problem, rng)?;
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
            let value = self.penalty(system, problem, penalty, weight, p_bar)?;
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
        self.adjoint.reverse(system, problem.p, &bars, y0_bar, p_bar)?;
        stats.tape_bytes = self.adjoint.tape().bytes();
        stats.reverse_seconds = begun.elapsed().as_secs_f64();
        Ok(stats)
    }

    fn forward<S>(
        &mut self,
        system: &mut S,
        problem: &Problem<'_, T>,
        rng: &mut StdRng,
    ) -> Result<PassStats, TrainError>
    where
        I: Integrate<T, S>,
        I::Guide: Guide<T, S>,
    {
        let (t0, t1) = problem.span;
        if self.save_times != problem.times {
            self.save_times = problem.times.to_vec();
            self.save = SaveAt::new(problem.times);
        }
        // Drawn whether needed or not: a penalty more or less does not change what the others draw.
        self.local_seed = I::Guide::draw(system, rng);
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
        let report = self.adjoint.forward(system, problem.span, problem.y0, problem.p, &mut sinks)?;
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
    fn penalty<S>(
        &mut self,
        system: &mut S,
        problem: &Problem<'_, T>,
        penalty: &Penalty,
        weight: f64,
        p_bar: &mut [T],
    ) -> Result<f64, TrainError>
    where
        I: Integrate<T, S>,
        I::Back: Reverse<T, S>,
        I::Guide: Guide<T, S>,
    {
        if let Some(path) = penalty.path() {
            return Ok(self.along_path(system, problem, path, weight, p_bar));
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
        let (local, y, p) = (&mut self.local, &self.sample.y, problem.p);
        let report = I::Guide::local(system, self.local_seed, (t.f64(), (t + h).f64()), |system| {
            local.forward(system, (t, t + h), y, p, heuristics)
        })?;
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
        self.local.reverse(system, problem.p, &bars, &mut self.scratch, p_bar)?;
        Ok(value)
    }

    fn along_path<S>(
        &mut self,
        system: &mut S,
        problem: &Problem<'_, T>,
        term: PathTerm,
        weight: f64,
        p_bar: &mut [T],
    ) -> f64
    where
        I::Guide: Guide<T, S>,
    {
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
            let (y, p, direction) = (self.points.state(j), problem.p, &self.direction[..]);
            let at = PathPoint { term, t, y, p, direction, weight: weight * share };
            total += share * I::Guide::along(system, &mut self.path, &at, (&mut self.scratch, &mut *p_bar));
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

#[cfg(test)]
#[path = "sde_pass_tests.rs"]
mod sde_tests;
