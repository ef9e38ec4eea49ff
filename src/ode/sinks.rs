//! What is kept of a solution: chosen times, every step, or a function of time.

use std::ops::ControlFlow;

use super::step::{Start, Step, StepSink};
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

const GO: ControlFlow<()> = ControlFlow::Continue(());

/// The save points must lie in the span, in the order of integration; equal neighbours are allowed.
pub(crate) fn check_save_points<T: Scalar>(times: &[T], t0: T, t1: T) -> Result<(), OdeError> {
    let (lo, hi) = if t0 < t1 { (t0, t1) } else { (t1, t0) };
    for (index, &t) in times.iter().enumerate() {
        if !(lo <= t && t <= hi) {
            return Err(OdeError::SaveOutside { index, t: t.f64(), t0: t0.f64(), t1: t1.f64() });
        }
        if index > 0 && (t1 - t0) * (t - times[index - 1]) < T::ZERO {
            return Err(OdeError::SaveUnsorted { index, t: t.f64(), previous: times[index - 1].f64() });
        }
    }
    Ok(())
}

/// States at given times, from the interpolant. Times after an early end keep NaN. A save point at the time of an event that ends a step, to rounding (16 units in the last
/// place), takes the state before the event changed it, or after ([`after_events`](Self::after_events)).
#[derive(Debug, Clone)]
pub struct SaveAt<T> {
    times: Vec<T>,
    states: Vec<T>,
    next: usize,
    n: usize,
    forward: bool,
    marked: Option<Marked<T>>,
    after: bool,
}

/// With events.
#[derive(Debug, Clone)]
struct Marked<T> {
    /// The times asked for.
    asked: Vec<T>,
    /// Save points that are events, and the events' numbers.
    points: Vec<(usize, usize)>,
}

impl<T: Scalar> SaveAt<T> {
    /// At these times, in the order of integration.
    pub fn new(times: &[T]) -> Self {
        let (times, states) = (times.to_vec(), Vec::new());
        Self { times, states, next: 0, n: 0, forward: true, marked: None, after: false }
    }
    /// The points at which events fire become save points, too, in their places: with the state before any change. [`event`](Self::event) tells which they are.
    pub fn with_events(mut self) -> Self {
        self.marked = Some(Marked { asked: self.times.clone(), points: vec![] });
        self
    }
    /// Save points at the time of an event take the state after it. For the adjoint the jumps say so, too ([`Jumps::after_events`](crate::adjoint::Jumps::after_events)).
    pub fn after_events(mut self) -> Self {
        self.after = true;
        self
    }
    /// The number of the event that fired at save point i; none if the time was asked for.
    pub fn event(&self, i: usize) -> Option<usize> {
        self.marked.as_ref()?.points.iter().find(|m| m.0 == i).map(|m| m.1)
    }
    /// The times.
    pub fn times(&self) -> &[T] {
        &self.times
    }
    /// How many of them were reached.
    pub fn len(&self) -> usize {
        self.next
    }
    /// Whether none was reached.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }
    /// Whether the next save point is in the step from t to t_next.
    #[inline(always)]
    pub(crate) fn reaches(&self, t: T, t_next: T) -> bool {
        self.times.get(self.next).is_some_and(|&s| if t_next > t { s <= t_next } else { s >= t_next })
    }
    /// State at save point i.
    pub fn state(&self, i: usize) -> &[T] {
        &self.states[i * self.n..][..self.n]
    }
    /// All states, one after another.
    pub fn states(&self) -> &[T] {
        &self.states
    }
    /// The first time not reached yet.
    fn next_time(&self) -> Option<T> {
        self.times.get(self.next).copied()
    }
    /// Stores y at all times equal to t.
    fn push_reached(&mut self, t: T, y: &[T]) {
        while self.next_time() == Some(t) {
            self.states[self.next * self.n..][..self.n].copy_from_slice(y);
            self.next += 1;
        }
    }
    /// Before the first step.
    fn begin(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        if let Some(Marked { asked, points }) = &mut self.marked {
            self.times.clone_from(asked);
            points.clear();
        }
        check_save_points(&self.times, start.t0, start.t1)?;
        (self.n, self.forward) = (start.y0.len(), start.t0 < start.t1);
        self.next = 0;
        self.states.clear();
        self.states.resize(self.n * self.times.len(), T::of(f64::NAN));
        self.push_reached(start.t0, start.y0);
        Ok(())
    }
}

impl<T: Scalar> StepSink<T> for SaveAt<T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.begin(start)
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        for k in 0..if self.marked.is_some() { step.events().len() } else { 0 } {
            let (theta, event) = step.events()[k];
            self.save_to(step, theta);
            self.insert_event(step, theta, event);
        }
        self.save_to(step, T::ONE);
        if step.is_shortened() || step.is_changed() {
            self.save_at_event(step);
        }
        GO
    }
    fn next_stop(&self, t: T) -> Option<T> {
        self.next_time().filter(|s| *s != t && (*s > t) == self.forward)
    }
}

impl<T: Scalar> SaveAt<T> {
    /// What is left at the time of the event that ended the step.
    #[cold]
    fn save_at_event(&mut self, step: &mut Step<'_, T>) {
        while self.next < self.times.len() && step.is_event_time(self.times[self.next]) {
            let y = if self.after && step.changed { &step.y_next[..] } else { step.y1() };
            self.states[self.next * self.n..][..self.n].copy_from_slice(y);
            self.next += 1;
        }
    }
    /// The points of the step up to theta.
    #[inline(always)]
    fn save_to(&mut self, step: &mut Step<'_, T>, end: T) {
        while self.next < self.times.len() && step.contains(self.times[self.next]) {
            let theta = step.theta(self.times[self.next]);
            if theta > end || (self.after && step.is_event_time(self.times[self.next])) {
                break;
            }
            step.interpolate(theta, &mut self.states[self.next * self.n..][..self.n]);
            self.next += 1;
        }
    }
    fn insert_event(&mut self, step: &mut Step<'_, T>, theta: T, event: usize) {
        let Some(marked) = &mut self.marked else { return };
        let (i, n) = (self.next, self.n);
        let t = if theta == step.theta_end { step.t1() } else { step.t0() + theta * step.h() };
        marked.points.push((i, event));
        self.times.insert(i, t);
        self.states.splice(i * n..i * n, step.y0().iter().copied());
        step.interpolate(theta, &mut self.states[i * n..][..n]);
        self.next += 1;
    }
}

/// Time and state at the start and after every accepted step.
#[derive(Debug, Clone, Default)]
pub struct EveryStep<T> {
    times: Vec<T>,
    states: Vec<T>,
    n: usize,
}

impl<T: Scalar> EveryStep<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { times: Vec::new(), states: Vec::new(), n: 0 }
    }
    /// Times, the start included.
    pub fn times(&self) -> &[T] {
        &self.times
    }
    /// State at the i-th of them.
    pub fn state(&self, i: usize) -> &[T] {
        &self.states[i * self.n..][..self.n]
    }
    /// Before the first step.
    fn begin(&mut self, start: &Start<'_, T>) {
        self.n = start.y0.len();
        self.times.clear();
        self.states.clear();
        self.push(start.t0, start.y0);
    }
    /// One more.
    fn push(&mut self, t: T, y: &[T]) {
        self.times.push(t);
        self.states.extend_from_slice(y);
    }
}

impl<T: Scalar> StepSink<T> for EveryStep<T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.begin(start);
        Ok(())
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        self.push(step.t1(), step.y1());
        GO
    }
}

/// The solution as a function of time: one polynomial a step.
#[derive(Debug, Clone)]
pub struct DenseSolution<T> {
    starts: Vec<T>,
    steps: Vec<T>,
    ends: Vec<T>,
    /// y0, y1 and the coefficients of a step, one step after another; an automatic choice mixes methods of different degrees.
    blocks: Vec<T>,
    /// Ends of the steps' blocks.
    block_ends: Vec<usize>,
    n: usize,
}

impl<T: Scalar> Default for DenseSolution<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> DenseSolution<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { starts: vec![], steps: vec![], ends: vec![], blocks: vec![], block_ends: vec![], n: 0 }
    }
    /// First and last time, if there was a step.
    pub fn span(&self) -> Option<(T, T)> {
        Some((*self.starts.first()?, *self.ends.last()?))
    }
    /// Ends of the steps.
    pub fn ends(&self) -> &[T] {
        &self.ends
    }
    /// Block of the step that contains t, its degree (the number of its coefficients), theta and h.
    fn locate(&self, t: T) -> Option<(&[T], usize, T, T)> {
        let (a, b) = self.span()?;
        let forward = b > a;
        if (forward && (t < a || t > b)) || (!forward && (t > a || t < b)) || !t.is_finite() {
            return None;
        }
        // First step whose end is not before t: at an event, the state before it.
        let i = self.ends.partition_point(|&e| if forward { e < t } else { e > t });
        let first = if i == 0 { 0 } else { self.block_ends[i - 1] };
        let block = &self.blocks[first..self.block_ends[i]];
        Some((block, block.len() / self.n - 2, (t - self.starts[i]) / self.steps[i], self.steps[i]))
    }
    /// out <- y(t); false outside the span.
    pub fn eval(&self, t: T, out: &mut [T]) -> bool {
        let Some((block, degree, theta, _)) = self.locate(t) else { return false };
        let n = self.n;
        for (i, o) in out.iter_mut().enumerate().take(n) {
            let z = (0..degree).rev().fold(T::ZERO, |s, m| s * theta + block[(2 + m) * n + i]);
            *o = (T::ONE - theta) * block[i] + theta * block[n + i] + theta * (T::ONE - theta) * z;
        }
        true
    }
    /// out <- dy/dt of the interpolant; false outside the span.
    pub fn derivative(&self, t: T, out: &mut [T]) -> bool {
        let Some((block, degree, theta, h)) = self.locate(t) else { return false };
        let n = self.n;
        for (i, o) in out.iter_mut().enumerate().take(n) {
            // z and dz/dtheta by Horner.
            let (mut z, mut dz) = (T::ZERO, T::ZERO);
            for m in (0..degree).rev() {
                dz = dz * theta + z;
                z = z * theta + block[(2 + m) * n + i];
            }
            let two = T::ONE + T::ONE;
            *o = (block[n + i] - block[i] + (T::ONE - two * theta) * z + theta * (T::ONE - theta) * dz) / h;
        }
        true
    }
    /// y(t) as a new vector; an error outside the span.
    pub fn at(&self, t: T) -> Result<Vec<T>, OdeError> {
        let mut out = vec![T::ZERO; self.n];
        if self.eval(t, &mut out) {
            return Ok(out);
        }
        let (t0, t1) = self.span().map_or((f64::NAN, f64::NAN), |(a, b)| (a.f64(), b.f64()));
        Err(OdeError::SaveOutside { index: 0, t: t.f64(), t0, t1 })
    }
    /// Checks a buffer for one state.
    pub fn check_buffer(&self, out: &[T]) -> Result<(), OdeError> {
        check_len("the output", out.len(), self.n)
    }
}

impl<T: Scalar> StepSink<T> for DenseSolution<T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.n = start.y0.len();
        self.starts.clear();
        self.steps.clear();
        self.ends.clear();
        self.blocks.clear();
        self.block_ends.clear();
        Ok(())
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        self.starts.push(step.t0());
        self.ends.push(step.t1());
        self.steps.push(step.h());
        let first = self.blocks.len();
        self.blocks.resize(first + (step.degree() + 2) * self.n, T::ZERO);
        step.polynomial(&mut self.blocks[first..]);
        self.block_ends.push(self.blocks.len());
        GO
    }
}
