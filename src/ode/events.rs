//! Events: zeros of g(t, y) along the solution, found on the interpolant.

use std::ops::ControlFlow;

use super::error::OdeError;
use super::step::{Start, Step, StepSink};
use crate::linalg::Scalar;

/// Which sign change counts, in the direction of integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Crossing {
    /// Both.
    #[default]
    Any,
    /// From negative to positive.
    Rising,
    /// From positive to negative.
    Falling,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AtEvent {
    /// Record it and go on.
    #[default]
    Record,
    /// End the integration there.
    Stop,
    /// Call the handler given to [`Events::on_event`], which may change the state, and go on from there.
    Handle,
}

type EventFn<'f, T> = Box<dyn FnMut(T, &[T]) -> T + 'f>;

/// One event function.
pub struct Event<'f, T> {
    g: EventFn<'f, T>,
    crossing: Crossing,
    action: AtEvent,
    before: T,
    after: T,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence<T> {
    /// Index of the event function.
    pub event: usize,
    /// When.
    pub t: T,
    /// The state then, before any change.
    pub y: Vec<T>,
}

type Handler<'f, T> = Box<dyn FnMut(&Occurrence<T>, &mut [T]) -> ControlFlow<()> + 'f>;

/// The event functions of a problem, as a sink: put it first in the tuple, for it may shorten the step.
///
/// A sign change between the ends of a step (or between its quarter points) is refined on the interpolant by bisection and regula falsi (Illinois) to rounding
/// accuracy of the time; the earliest one wins. An event function that is zero where the integration (re)starts does not fire there.
/// Two zeros between neighbouring quarter points cancel and are not seen: limit the step with `max_step`.
pub struct Events<'f, T> {
    events: Vec<Event<'f, T>>,
    handler: Option<Handler<'f, T>>,
    happened: Vec<Occurrence<T>>,
    y: Vec<T>,
    y2: Vec<T>,
}

impl<T: Scalar> Default for Events<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'f, T: Scalar> Events<'f, T> {
    /// No event yet.
    pub fn new() -> Self {
        Self { events: vec![], handler: None, happened: vec![], y: vec![], y2: vec![] }
    }
    /// Adds an event function g(t, y).
    pub fn when(mut self, crossing: Crossing, action: AtEvent, g: impl FnMut(T, &[T]) -> T + 'f) -> Self {
        let g = Box::new(g);
        self.events.push(Event { g, crossing, action, before: T::ZERO, after: T::ZERO });
        self
    }
    /// The handler of all events with [`AtEvent::Handle`]: it may change the state; `Break` ends the integration.
    pub fn on_event(mut self, f: impl FnMut(&Occurrence<T>, &mut [T]) -> ControlFlow<()> + 'f) -> Self {
        self.handler = Some(Box::new(f));
        self
    }
    /// What happened, in order.
    pub fn happened(&self) -> &[Occurrence<T>] {
        &self.happened
    }

    /// The earliest sign change: (theta, event), if any.
    fn earliest(&mut self, step: &mut Step<'_, T>) -> Option<(T, usize)> {
        let mut best: Option<(T, usize)> = None;
        let mut lo = T::ZERO;
        if self.events.iter().any(|e| e.before == T::ZERO) {
            // Zero at the start of the step: its sign is the one just after.
            let theta = T::of(1.0 / 1024.0);
            step.interpolate(theta, &mut self.y);
            for e in self.events.iter_mut().filter(|e| e.before == T::ZERO) {
                e.before = (e.g)(step.t0() + theta * step.h(), &self.y);
            }
        }
        for quarter in 1..=4 {
            let hi = if quarter == 4 { T::ONE } else { T::of(0.25 * quarter as f64) };
            step.interpolate(hi, &mut self.y);
            let t_hi = if quarter == 4 { step.t1() } else { step.t0() + hi * step.h() };
            for event in &mut self.events {
                event.after = (event.g)(t_hi, &self.y);
            }
            for i in 0..self.events.len() {
                let e = &self.events[i];
                if crosses(e.before, e.after, e.crossing) {
                    let (a, b) = (e.before, e.after);
                    let theta = self.root(step, i, (lo, a), (hi, b));
                    if best.is_none_or(|(t, _)| theta < t) {
                        best = Some((theta, i));
                    }
                }
            }
            if best.is_some() {
                return best;
            }
            for event in &mut self.events {
                event.before = event.after;
            }
            lo = hi;
        }
        None
    }

    /// Zero of event i between lo and hi; the returned end has the sign of the far side, so the next step does not see it again.
    fn root(&mut self, step: &mut Step<'_, T>, i: usize, mut lo: (T, T), mut hi: (T, T)) -> T {
        let half = T::of(0.5);
        let mut side = 0i8;
        for iteration in 0..200 {
            let width = hi.0 - lo.0;
            if hi.1 == T::ZERO || width <= T::EPSILON * hi.0 {
                break;
            }
            let mut theta = (lo.0 * hi.1 - hi.0 * lo.1) / (hi.1 - lo.1);
            if iteration % 4 == 3 || !(theta > lo.0 && theta < hi.0) {
                theta = lo.0 + half * width;
                side = 0;
            }
            if theta <= lo.0 || theta >= hi.0 {
                break;
            }
            step.interpolate(theta, &mut self.y2);
            let g = (self.events[i].g)(step.t0() + theta * step.h(), &self.y2);
            if g == T::ZERO || (g > T::ZERO) == (hi.1 > T::ZERO) {
                hi = (theta, g);
                if side == 1 {
                    lo.1 *= half;
                }
                side = 1;
            } else {
                lo = (theta, g);
                if side == -1 {
                    hi.1 *= half;
                }
                side = -1;
            }
        }
        hi.0
    }

    fn evaluate_at(&mut self, t: T, y: &[T]) {
        for event in &mut self.events {
            event.before = (event.g)(t, y);
        }
    }
}

fn crosses<T: Scalar>(a: T, b: T, crossing: Crossing) -> bool {
    let rising = a < T::ZERO && b >= T::ZERO;
    let falling = a > T::ZERO && b <= T::ZERO;
    match crossing {
        Crossing::Any => rising || falling,
        Crossing::Rising => rising,
        Crossing::Falling => falling,
    }
}

impl<T: Scalar> StepSink<T> for Events<'_, T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.happened.clear();
        self.y.resize(start.y0.len(), T::ZERO);
        self.y2.resize(start.y0.len(), T::ZERO);
        self.evaluate_at(start.t0, start.y0);
        Ok(())
    }

    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        let Some((theta, i)) = self.earliest(step) else { return ControlFlow::Continue(()) };
        step.shorten(theta, &mut self.y);
        let happened = Occurrence { event: i, t: step.t1(), y: step.y1().to_vec() };
        let mut flow = ControlFlow::Continue(());
        self.y.copy_from_slice(step.y1());
        match self.events[i].action {
            AtEvent::Record => {}
            AtEvent::Stop => flow = ControlFlow::Break(()),
            AtEvent::Handle => {
                if let Some(handler) = &mut self.handler {
                    flow = handler(&happened, &mut self.y);
                    // Lengths agree, both are the state's.
                    let _ = step.set_state(&self.y);
                }
            }
        }
        let y = std::mem::take(&mut self.y);
        self.evaluate_at(step.t1(), &y);
        self.y = y;
        // Its sign here is rounding: take the one that follows.
        self.events[i].before = T::ZERO;
        self.happened.push(happened);
        flow
    }
}
