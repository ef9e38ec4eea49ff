//! The solver's own heuristics as terms of a loss (Pal et al. 2021).
//!
//! With E_j the scaled error estimate of step j, h_j its (frozen) length, S_j Shampine's estimate of the dominant eigenvalue and s the size of
//! the method's stability interval, a [`Term`] is
//!
//! ```text
//! R = A_j q_j (|h_j|),   q_j = E_j,  E_j^2,  E_j^(1/k)  or  S_j / s,   A = sum, mean or max over the accepted steps
//! ```
//!
//! and its bars are dR/dE_j, dR/dS_j; at the maximum, those of the first largest step. The factor |h_j| is optional.
//! The published definitions differ between text and code: as coded, R_E = mean E_j |h_j| and R_S = max S_j / s without h.
//!
//! # Expected steps
//!
//! Let E = C(t) h^k, to leading order, be the error of a step of length h from t (k = 5 for a 5(4) pair; C is divided by the tolerances). An ideal
//! controller takes the step at which E = 1, h*(t) = C(t)^(-1/k), and so
//!
//! ```text
//! N = int dt / h*(t) = int C(t)^(1/k) dt  ~  sum_j |h_j| C_j^(1/k) = sum_j E_j^(1/k)
//! ```
//!
//! steps. The steps that were taken are only the quadrature of an integral that does not contain them: to leading order neither N nor its gradient
//! depends on h_j, and the gradient at frozen h_j is that of the number of steps, dN = sum_j (1/k) E_j^(1/k) dlog E_j. A weight is the price of a step, at
//! any tolerance. On steps of equal errors, as a controller makes them, the other heuristics have gradients of the same direction but other sizes,
//!
//! ```text
//! sum E_j^2:  2 E^2 sum_j dlog E_j,    mean E_j |h_j|:  (E T / n^2) sum_j dlog E_j  (n steps of length T / n)
//! ```
//!
//! the first depending on where the controller keeps E, the second fading as the steps become many; and neither value, on the controller's own steps,
//! says what the solution costs. For stochastic methods k is the order that their controller uses.
//!
//! A controller lengthens a step at most tenfold: at E_j < 10^-k a step counts as 0.1, and has no derivative; so E_j = 0 is safe.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::error::check_len;
use crate::linalg::Scalar;
use crate::ode::{OdeError, Start, Step, StepSink};

/// What is looked at in every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Heuristic {
    /// E_j.
    Error,
    /// E_j^2.
    ErrorSquared,
    /// E_j^(1/k), at least 0.1: the steps that an ideal controller takes in place of step j.
    ExpectedSteps,
    /// S_j / s.
    Stiffness,
}

/// How the steps are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Sum over the accepted steps.
    Sum,
    /// Their mean.
    Mean,
    /// The largest.
    Max,
}

/// One regularizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// q.
    pub heuristic: Heuristic,
    /// A.
    pub aggregate: Aggregate,
    /// Whether q_j is multiplied by |h_j|.
    pub times_step: bool,
}

impl Term {
    /// R_E = sum E_j |h_j| or mean E_j |h_j|.
    pub const fn error(aggregate: Aggregate) -> Self {
        Self { heuristic: Heuristic::Error, aggregate, times_step: true }
    }
    /// R_E2 = sum E_j^2.
    pub const fn error_squared() -> Self {
        Self { heuristic: Heuristic::ErrorSquared, aggregate: Aggregate::Sum, times_step: false }
    }
    /// N = sum E_j^(1/k).
    pub const fn expected_steps() -> Self {
        Self { heuristic: Heuristic::ExpectedSteps, aggregate: Aggregate::Sum, times_step: false }
    }
    /// R_S = max, mean or sum of S_j / s.
    pub const fn stiffness(aggregate: Aggregate) -> Self {
        Self { heuristic: Heuristic::Stiffness, aggregate, times_step: false }
    }
}

/// E_j, S_j and h_j of every accepted step, and the bars of what is made of them; a sink. Of a step that an event
/// ended, they are those of the whole step. Buffers are kept for the next pass.
#[derive(Debug, Clone)]
pub struct Heuristics<T> {
    error: Vec<T>,
    stiffness: Vec<T>,
    h: Vec<T>,
    error_bar: Vec<T>,
    stiffness_bar: Vec<T>,
    with_stiffness: bool,
    stability: f64,
    error_power: f64,
}

/// The shortest an accepted step may count: controllers lengthen steps at most tenfold.
const LEAST_STEP: f64 = 0.1;

/// What a step of error E counts where E behaves like h^k, max(E^(1/k), 1/10), with its first and second derivative by E.
pub(crate) fn expected_steps(e: f64, k: f64) -> [f64; 3] {
    let steps = e.powf(1.0 / k);
    if steps > LEAST_STEP {
        let slope = steps / (k * e);
        [steps, slope, slope * (1.0 / k - 1.0) / e]
    } else {
        [LEAST_STEP, 0.0, 0.0]
    }
}

impl<T: Scalar> Heuristics<T> {
    /// `stability` is s, the size of the method's stability interval ([`Tableau::stability`](crate::ode::Tableau)); `error_power` is k where E_j behaves like h^k
    /// (the tableau's `error_order` + 1). The stiffness estimate, one more pass over the state a step, is computed only if wanted.
    pub fn new(stability: f64, error_power: f64, with_stiffness: bool) -> Self {
        let none = Vec::new;
        Self {
            error: none(),
            stiffness: none(),
            h: none(),
            error_bar: none(),
            stiffness_bar: none(),
            with_stiffness,
            stability,
            error_power,
        }
    }
    /// Number of accepted steps.
    pub fn len(&self) -> usize {
        self.h.len()
    }
    /// Whether there was none.
    pub fn is_empty(&self) -> bool {
        self.h.is_empty()
    }
    /// E_j.
    pub fn error(&self) -> &[T] {
        &self.error
    }
    /// S_j; empty unless wanted.
    pub fn stiffness(&self) -> &[T] {
        &self.stiffness
    }
    /// h_j, negative backwards in time.
    pub fn steps(&self) -> &[T] {
        &self.h
    }
    /// dR/dE_j of all terms added since the pass: what [`Bars::error`](super::Bars) takes.
    pub fn error_bar(&self) -> &[T] {
        &self.error_bar
    }
    /// dR/dS_j; empty unless wanted.
    pub fn stiffness_bar(&self) -> &[T] {
        &self.stiffness_bar
    }
    /// Replaces what was recorded, as the frozen program with other parameters gives it ([`Adjoint::replay`](super::Adjoint::replay)).
    pub fn set(&mut self, error: &[T], stiffness: &[T]) -> Result<(), OdeError> {
        check_len("the error estimates", error.len(), self.error.len())?;
        if self.with_stiffness {
            check_len("the stiffness estimates", stiffness.len(), self.stiffness.len())?;
            self.stiffness.copy_from_slice(stiffness);
        }
        self.error.copy_from_slice(error);
        Ok(())
    }
    /// Forgets the last pass.
    fn begin(&mut self) {
        for v in
            [&mut self.error, &mut self.stiffness, &mut self.h, &mut self.error_bar, &mut self.stiffness_bar]
        {
            v.clear();
        }
    }
    /// One accepted step.
    pub(crate) fn push(&mut self, error: T, stiffness: T, h: T) {
        self.error.push(error);
        self.h.push(h);
        self.error_bar.push(T::ZERO);
        if self.with_stiffness {
            self.stiffness.push(stiffness);
            self.stiffness_bar.push(T::ZERO);
        }
    }
    /// dR/d. = 0.
    pub fn clear_bars(&mut self) {
        self.error_bar.fill(T::ZERO);
        self.stiffness_bar.fill(T::ZERO);
    }

    /// R of a term; `weight` dR is ADDED to the bars. An error if the term needs the stiffness estimates and they are not recorded.
    pub fn add(&mut self, term: &Term, weight: f64) -> Result<f64, OdeError> {
        let steps = self.h.len();
        let stiff = term.heuristic == Heuristic::Stiffness;
        if stiff && !self.with_stiffness {
            let what = "a stiffness term needs the stiffness estimates: make the heuristics with them";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        if steps == 0 {
            return Ok(0.0);
        }
        let one = |j: usize| self.one(term, j);
        let (share, range) = self.parts(term);
        let slopes: Vec<T> = range.clone().map(|j| T::of(weight * share * one(j)[1])).collect();
        let value = share * range.clone().map(|j| one(j)[0]).sum::<f64>();
        let bar = if stiff { &mut self.stiffness_bar } else { &mut self.error_bar };
        bar[range].iter_mut().zip(slopes).for_each(|(bar, slope)| *bar += slope);
        Ok(value)
    }

    /// Over which steps a term is summed, and the factor of the sum.
    fn parts(&self, term: &Term) -> (f64, std::ops::Range<usize>) {
        let steps = self.h.len();
        match term.aggregate {
            Aggregate::Sum => (1.0, 0..steps),
            Aggregate::Mean => (1.0 / steps.max(1) as f64, 0..steps),
            Aggregate::Max => {
                let value = |j: usize| self.one(term, j)[0];
                let top = (0..steps).fold(0, |m, j| if value(j) > value(m) { j } else { m });
                (1.0, top..(top + 1).min(steps))
            }
        }
    }

    /// Value, derivative and second derivative of one step's share in a term.
    fn one(&self, term: &Term, j: usize) -> [f64; 3] {
        let q = if term.heuristic == Heuristic::Stiffness { &self.stiffness } else { &self.error };
        let q = q[j].f64();
        let f = if term.times_step { self.h[j].f64().abs() } else { 1.0 };
        match term.heuristic {
            Heuristic::Error => [q * f, f, 0.0],
            Heuristic::ErrorSquared => [q * q * f, 2.0 * q * f, 2.0 * f],
            Heuristic::ExpectedSteps => expected_steps(q, self.error_power).map(|v| v * f),
            Heuristic::Stiffness => [q * f / self.stability, f / self.stability, 0.0],
        }
    }

    /// The derivative of what [`add`](Self::add) adds to the bars of E_j, where the estimates move along `error_dot` ([`Tangents::error_dot`](super::Tangents)); ADDED to `bar_dot`.
    /// An error for terms of the stiffness estimates.
    pub fn add_along(
        &self,
        term: &Term,
        weight: f64,
        error_dot: &[T],
        bar_dot: &mut [T],
    ) -> Result<(), OdeError> {
        if term.heuristic == Heuristic::Stiffness {
            let what = "a stiffness term has no second derivatives";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        let steps = self.h.len();
        check_len("derivatives of the error estimates", error_dot.len(), steps)?;
        check_len("the tangent of the bar of the error estimates", bar_dot.len(), steps)?;
        let (share, range) = self.parts(term);
        for j in range {
            bar_dot[j] += T::of(weight * share * self.one(term, j)[2] * error_dot[j].f64());
        }
        Ok(())
    }
}

impl<T: Scalar> StepSink<T> for Heuristics<T> {
    fn start(&mut self, _: &Start<'_, T>) -> Result<(), OdeError> {
        self.begin();
        Ok(())
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        let stiffness = if self.with_stiffness { step.stiffness() } else { T::ZERO };
        self.push(step.error(), stiffness, step.h());
        ControlFlow::Continue(())
    }
}

/// One step sampled from those taken, for local regularization (Pal et al. 2023): its time, length and start state; a sink.
///
/// Biased: uniform over the accepted steps, by reservoir sampling: the caller's numbers u_j, uniform in [0, 1), replace the sample at step j
/// if u_j (j + 1) < 1. Unbiased: the step that contains a given time, started from the dense output there, with the same length; a method without dense output
/// is made to stop there, and the step after it is taken.
#[derive(Debug, Clone)]
pub struct LocalSample<T> {
    rule: SampleRule<T>,
    t1: T,
    count: u64,
    /// Time of the sample.
    pub t: T,
    /// Length of the step it is in, cut at the end of the span.
    pub h: T,
    /// The state there.
    pub y: Vec<T>,
}

/// How a step is sampled.
#[derive(Debug, Clone)]
pub enum SampleRule<T> {
    /// Uniform over the accepted steps; the seed of the numbers u_j.
    Biased(u64),
    /// The step around this time.
    Unbiased(T),
}

impl<T: Scalar> LocalSample<T> {
    /// For one pass.
    pub fn new(rule: SampleRule<T>) -> Self {
        Self { rule, t1: T::ZERO, count: 0, t: T::ZERO, h: T::ZERO, y: vec![] }
    }
    /// For the next pass, with the same storage.
    pub fn set_rule(&mut self, rule: SampleRule<T>) {
        self.rule = rule;
    }
    /// The time asked for, if the rule is one.
    fn time(&self) -> Option<T> {
        match self.rule {
            SampleRule::Unbiased(at) => Some(at),
            SampleRule::Biased(_) => None,
        }
    }
    fn begin(&mut self, start: &Start<'_, T>) {
        self.t1 = start.t1;
        self.count = 0;
        self.h = T::ZERO;
        self.y.resize(start.y0.len(), T::ZERO);
    }
    /// Reservoir sampling: whether the step just accepted replaces the sample.
    fn draw(&mut self) -> bool {
        let SampleRule::Biased(seed) = self.rule else { return false };
        self.count += 1;
        uniform(seed, self.count - 1) * (self.count as f64) < 1.0
    }
    /// For how many steps the sample stands, of `accepted` on the way from t0: a sum over the steps is, in expectation, this times the sample's value
    /// (without bias, for values proportional to h).
    pub fn weight(&self, accepted: usize, t0: T) -> f64 {
        match self.rule {
            SampleRule::Biased(_) => accepted as f64,
            SampleRule::Unbiased(_) => ((self.t1 - t0) / self.h).f64().abs(),
        }
    }
    /// Whether a step was sampled.
    pub fn found(&self) -> bool {
        self.h != T::ZERO
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): output number `index` of the stream `seed`, in [0, 1).
fn uniform(seed: u64, index: u64) -> f64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

impl<T: Scalar> StepSink<T> for LocalSample<T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.begin(start);
        Ok(())
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        let (t, h) = (step.t0(), step.h());
        let at = match self.rule {
            SampleRule::Biased(_) => self.draw().then_some(t),
            // Half-open towards its end, at which the next step begins.
            SampleRule::Unbiased(at) => (at == t || (step.contains(at) && at != step.t1())).then_some(at),
        };
        if let Some(at) = at.filter(|at| *at != self.t1) {
            step.interpolate(step.theta(at), &mut self.y);
            let left = self.t1 - at;
            self.t = at;
            self.h = if left.abs() < h.abs() { left } else { h };
        }
        ControlFlow::Continue(())
    }
    fn next_stop(&self, t: T) -> Option<T> {
        self.time().filter(|at| (*at - t) * (self.t1 - *at) > T::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Heuristics<f64> {
        let mut h = Heuristics::new(3.5, 5.0, true);
        h.error = vec![0.5, 0.9, 0.2];
        h.stiffness = vec![7.0, 3.5, 14.0];
        h.h = vec![-0.1, -0.2, -0.4];
        h.error_bar = vec![0.0; 3];
        h.stiffness_bar = vec![0.0; 3];
        h
    }

    #[test]
    fn values_and_bars_by_hand() {
        let mut h = recorded();
        assert!((h.add(&Term::error(Aggregate::Sum), 2.0).unwrap() - (0.05 + 0.18 + 0.08)).abs() < 1e-15);
        assert_eq!(h.error_bar(), [0.2, 0.4, 0.8]);
        h.clear_bars();
        assert!((h.add(&Term::error_squared(), 1.0).unwrap() - (0.25 + 0.81 + 0.04)).abs() < 1e-15);
        assert_eq!(h.error_bar(), [1.0, 1.8, 0.4]);
        h.clear_bars();
        h.error = vec![0.5, 0.0, 1e-6];
        assert!((h.add(&Term::expected_steps(), 2.0).unwrap() - (0.5f64.powf(0.2) + 0.2)).abs() < 1e-15);
        assert!((h.error_bar()[0] - 0.4 * 0.5f64.powf(-0.8)).abs() < 1e-15);
        assert_eq!(h.error_bar()[1..], [0.0, 0.0]);
        assert_eq!(h.add(&Term::stiffness(Aggregate::Max), 7.0).unwrap(), 4.0);
        assert_eq!(h.stiffness_bar(), [0.0, 0.0, 2.0]);
        let mean = Term { times_step: true, ..Term::stiffness(Aggregate::Mean) };
        assert!((h.add(&mean, 0.0).unwrap() - (0.2 + 0.2 + 1.6) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn reservoir_sampling_is_uniform() {
        // Ten steps, 20 000 seeds: chi squared with 9 degrees of freedom; above 40 with probability 1e-5.
        let mut hits = [0u32; 10];
        for seed in 0..20_000u64 {
            let last = (0..10u64).rfind(|&j| uniform(seed * 7919, j) * ((j + 1) as f64) < 1.0);
            hits[last.unwrap() as usize] += 1;
        }
        let chi: f64 = hits.iter().map(|&o| (o as f64 - 2000.0).powi(2) / 2000.0).sum();
        assert!(chi < 40.0, "{hits:?}");
    }
}
