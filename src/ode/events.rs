//! Events: zeros of g(t, y) along the solution, found on the interpolant.

use std::ops::ControlFlow;

use super::step::{Start, Step, StepSink};
use crate::error::OdeError;
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
    /// Record it and go on; the steps do not change.
    #[default]
    Record,
    /// End the step and the integration there.
    Stop,
    /// End the step there, call the handler given to [`Events::on_event`], which may change the state, and go on from there.
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
    fires: bool,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence<T> {
    /// Index of the event function.
    pub event: usize,
    /// When.
    pub t: T,
    /// The state then, before any change (a handler's second argument has the changes of those before it).
    pub y: Vec<T>,
}

type Handler<'f, T> = Box<dyn FnMut(&Occurrence<T>, &mut [T]) -> ControlFlow<()> + 'f>;

/// The event functions of a problem, as a sink: put it first in the tuple, for it may shorten the step.
///
/// A sign change between the ends of a step (or between its quarter points) is refined on the interpolant by bisection and regula falsi (Illinois) to rounding
/// accuracy of the time; events with the same time all fire, in the order they were added. An event function that is zero where the
/// integration (re)starts does not fire there; one that is NaN does not fire. Two zeros between neighbouring quarter points cancel and are not seen: limit the step with `max_step`.
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
        self.events.push(Event { g, crossing, action, before: T::ZERO, after: T::ZERO, fires: false });
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

    /// Events that are zero at theta = `lo`: their sign is the one just after.
    fn settle(&mut self, step: &mut Step<'_, T>, lo: T) {
        if self.events.iter().all(|e| e.before != T::ZERO) {
            return;
        }
        let theta = lo + T::of(1.0 / 1024.0);
        let theta = if theta < T::ONE { theta } else { T::ONE };
        step.interpolate(theta, &mut self.y);
        for e in self.events.iter_mut().filter(|e| e.before == T::ZERO) {
            e.before = (e.g)(time(step, theta), &self.y);
        }
    }

    /// The earliest sign change after `lo`, the events' values there being in `before`.
    fn earliest(&mut self, step: &mut Step<'_, T>, mut lo: T) -> Option<T> {
        for mark in [0.25, 0.5, 0.75, 1.0].map(T::of) {
            if mark <= lo {
                continue;
            }
            step.interpolate(mark, &mut self.y);
            for event in &mut self.events {
                event.after = (event.g)(time(step, mark), &self.y);
            }
            let mut best: Option<T> = None;
            for i in 0..self.events.len() {
                let Event { before, after, crossing, .. } = self.events[i];
                if crosses(before, after, crossing) {
                    let theta = self.root(step, i, (lo, before), (mark, after));
                    best = Some(best.map_or(theta, |b| if theta < b { theta } else { b }));
                }
            }
            if best.is_some() {
                return best;
            }
            for event in &mut self.events {
                event.before = event.after;
            }
            lo = mark;
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
            let g = (self.events[i].g)(time(step, theta), &self.y2);
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

    /// All events that fire at the end of the shortened step, whose state is in `y`.
    fn act(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        let mut flow = ControlFlow::Continue(());
        for event in 0..self.events.len() {
            if !self.events[event].fires {
                continue;
            }
            let happened = Occurrence { event, t: step.t1(), y: step.y1().to_vec() };
            match (self.events[event].action, &mut self.handler) {
                (AtEvent::Stop, _) => flow = ControlFlow::Break(()),
                (AtEvent::Handle, Some(handler)) => {
                    if handler(&happened, &mut self.y).is_break() {
                        flow = ControlFlow::Break(());
                    }
                    // Lengths agree, both are the state's.
                    let _ = step.set_state(&self.y);
                }
                _ => {}
            }
            self.happened.push(happened);
        }
        let y = std::mem::take(&mut self.y);
        self.evaluate_at(step.t1(), &y);
        self.y = y;
        // The sign of what fired is rounding here: take the one that follows.
        self.events.iter_mut().filter(|e| e.fires).for_each(|e| e.before = T::ZERO);
        flow
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
        if self.handler.is_none() && self.events.iter().any(|e| e.action == AtEvent::Handle) {
            let what =
                "an event is to be handled and there is no handler: give one with on_event".to_string();
            return Err(OdeError::Mismatch { what });
        }
        self.happened.clear();
        self.y.resize(start.y0.len(), T::ZERO);
        self.y2.resize(start.y0.len(), T::ZERO);
        self.evaluate_at(start.t0, start.y0);
        Ok(())
    }

    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        let mut lo = T::ZERO;
        while lo < T::ONE && !self.events.is_empty() {
            self.settle(step, lo);
            let Some(theta) = self.earliest(step, lo) else { break };
            step.interpolate(theta, &mut self.y);
            let mut ends = false;
            for e in &mut self.events {
                e.after = (e.g)(time(step, theta), &self.y);
                e.fires = crosses(e.before, e.after, e.crossing);
                ends |= e.fires && e.action != AtEvent::Record;
                e.before = e.after;
            }
            if ends {
                step.shorten(theta, &mut self.y);
                return self.act(step);
            }
            for (event, _) in self.events.iter().enumerate().filter(|(_, e)| e.fires) {
                self.happened.push(Occurrence { event, t: time(step, theta), y: self.y.clone() });
            }
            lo = theta;
        }
        ControlFlow::Continue(())
    }
}

/// Time at theta, exact at the end.
fn time<T: Scalar>(step: &Step<'_, T>, theta: T) -> T {
    if theta == T::ONE { step.t1() } else { step.t0() + theta * step.h() }
}
