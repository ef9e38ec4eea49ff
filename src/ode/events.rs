//! Events: zeros of g(t, y) along the solution, found on the interpolant.

use std::ops::ControlFlow;

use super::report::OdeStop;
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
    /// g at theta = `from`, where the search of this step stands.
    before: T,
    from: T,
    after: T,
    fires: bool,
    /// What was found where the step begins.
    fired: Option<Fired<T>>,
    times: Recent,
}

/// What is known of an event that fired at the start of a step.
#[derive(Debug, Clone, Copy)]
struct Fired<T> {
    /// |g| at the zero that was found: its rounding.
    rounding: T,
    /// Whether g is positive on the far side of that zero.
    rising: bool,
}

/// The last times at which an event ended a step.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    times: [f64; 13],
    count: usize,
}

impl Recent {
    fn push(&mut self, t: f64) {
        self.times.rotate_left(1);
        self.times[12] = t;
        self.count += 1;
    }
    /// Where times lead whose intervals shrink with a steady ratio q < 1, to t + d q / (1 - q): by the last nine intervals, or, as the last ones may be
    /// rounding, by those that end three before.
    fn limit(&self) -> Option<f64> {
        let by = |last: usize| {
            let d: [f64; 9] = std::array::from_fn(|k| self.times[last - 8 + k] - self.times[last - 9 + k]);
            let q: [f64; 8] = std::array::from_fn(|k| d[k + 1] / d[k]);
            let (low, high) = q.iter().fold((f64::INFINITY, 0.0f64), |(l, h), &q| (l.min(q), h.max(q)));
            let steady = low > 0.0 && high < 1.0 && high - low < 0.1 * (1.0 - high);
            (steady && self.count >= 22 - last).then(|| self.times[last] + d[8] * q[7] / (1.0 - q[7]))
        };
        by(12).or_else(|| by(9))
    }
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

/// Takes what happened, the state and the parameters.
type Handler<'f, T> = Box<dyn FnMut(&Occurrence<T>, &mut [T], &mut [T]) -> ControlFlow<()> + 'f>;

/// The event functions of a problem, as a sink: put it first in the tuple, for it may shorten the step.
///
/// A sign change between the ends of a step (or between its quarter points) is refined on the interpolant by bisection and regula falsi (Illinois) to rounding
/// accuracy of the time; events with the same time all fire, in the order they were added. An event function that is zero where the
/// integration (re)starts does not fire there; one that is NaN does not fire. Two zeros between neighbouring quarter points cancel and are not seen: limit the step with `max_step`.
///
/// After an event that was handled the next impact may follow closely: its sign there is the one it has where it first leaves rounding, looked for at
/// theta = 64 eps 4^j, and that step is searched between these points, too. Impacts whose intervals shrink with a steady ratio q < 1 accumulate at t + d q / (1 - q), d the
/// last interval: the integration ends with [`OdeStop::EventsAccumulate`] where that is near, or where the flight between them is lost in rounding.
pub struct Events<'f, T> {
    events: Vec<Event<'f, T>>,
    handler: Option<Handler<'f, T>>,
    /// Parameters at the start and now, for a handler that may change them; else empty.
    params: [Vec<T>; 2],
    happened: Vec<Occurrence<T>>,
    /// Where events accumulate, once it is known.
    accumulation: Option<f64>,
    /// How near that must be to end there.
    near: f64,
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
        Self {
            events: vec![],
            handler: None,
            params: [vec![], vec![]],
            happened: vec![],
            accumulation: None,
            near: 0.0,
            y: vec![],
            y2: vec![],
        }
    }
    /// Adds an event function g(t, y).
    pub fn when(mut self, crossing: Crossing, action: AtEvent, g: impl FnMut(T, &[T]) -> T + 'f) -> Self {
        let g = Box::new(g);
        self.events.push(Event {
            g,
            crossing,
            action,
            before: T::ZERO,
            from: T::ZERO,
            after: T::ZERO,
            fires: false,
            fired: None,
            times: Recent::default(),
        });
        self
    }
    /// The handler of all events with [`AtEvent::Handle`]: it may change the state; `Break` ends the integration.
    pub fn on_event(mut self, mut f: impl FnMut(&Occurrence<T>, &mut [T]) -> ControlFlow<()> + 'f) -> Self {
        self.handler = Some(Box::new(move |happened, y, _| f(happened, y)));
        self
    }
    /// As [`on_event`](Self::on_event) with a handler that may also change the parameters, its third argument, of which `p` are those that the run is given. Each run begins with these.
    pub fn on_event_with_params(
        mut self,
        p: &[T],
        f: impl FnMut(&Occurrence<T>, &mut [T], &mut [T]) -> ControlFlow<()> + 'f,
    ) -> Self {
        self.params = [p.to_vec(), p.to_vec()];
        self.handler = Some(Box::new(f));
        self
    }
    /// What happened, in order.
    pub fn happened(&self) -> &[Occurrence<T>] {
        &self.happened
    }

    /// Where the search of a step begins. An event that is zero there, or rounding after it fired, has the sign with which it leaves rounding: that of the first three
    /// points theta = 64 eps 4^j at which it grows.
    fn settle(&mut self, step: &mut Step<'_, T>) {
        for e in &mut self.events {
            e.from = T::ZERO;
        }
        if self.events.iter().all(|e| e.before != T::ZERO && e.fired.is_none()) {
            return;
        }
        let size = step.y0().iter().fold(T::ZERO, |m, y| if y.abs() > m { y.abs() } else { m });
        step.interpolate(T::ONE, &mut self.y);
        for i in 0..self.events.len() {
            let e = &mut self.events[i];
            let fired = e.fired.take();
            e.after = (e.g)(time(step, T::ONE), &self.y);
            let rounding = fired.map_or(T::ZERO, |f| f.rounding + T::EPSILON * (e.after.abs() + size));
            // A handler may have moved the state away from the zero.
            if e.before.abs() > T::of(64.0) * rounding {
                continue;
            }
            self.leave_rounding(step, i);
            let e = &mut self.events[i];
            // The flight after it fired is lost in rounding.
            if fired.is_some_and(|f| e.before != T::ZERO && (e.before > T::ZERO) == f.rising)
                && let Some(at) = e.times.limit()
            {
                self.accumulation = Some(at);
            }
        }
    }

    /// The sign of event i just after the start.
    fn leave_rounding(&mut self, step: &mut Step<'_, T>, i: usize) {
        let (mut theta, mut last, mut rises) = (T::of(64.0) * T::EPSILON, T::ZERO, 0);
        while theta < T::ONE {
            step.interpolate(theta, &mut self.y2);
            let g = (self.events[i].g)(time(step, theta), &self.y2);
            rises = if last * g > T::ZERO && g.abs() > T::of(1.5) * last.abs() { rises + 1 } else { 0 };
            if rises == 2 {
                (self.events[i].before, self.events[i].from) = (g, theta);
                return;
            }
            (last, theta) = (g, T::of(4.0) * theta);
        }
        self.events[i].before = self.events[i].after;
        self.events[i].from = T::ONE;
    }

    /// The earliest sign change after `lo`.
    fn earliest(&mut self, step: &mut Step<'_, T>, mut lo: T) -> Option<T> {
        // After an event that fired: from where its sign is known.
        for e in &self.events {
            lo = if lo == T::ZERO || (e.from > T::ZERO && e.from < lo) { e.from } else { lo };
        }
        while lo < T::ONE {
            let mark = next_mark(lo);
            step.interpolate(mark, &mut self.y);
            let mut best: Option<T> = None;
            for i in 0..self.events.len() {
                let e = &mut self.events[i];
                e.after = (e.g)(time(step, mark), &self.y);
                let Event { before, from, after, crossing, .. } = *e;
                if from < mark && crosses(before, after, crossing) {
                    let theta = self.root(step, i, (from, before), (mark, after));
                    best = Some(best.map_or(theta, |b| if theta < b { theta } else { b }));
                }
            }
            if best.is_some() {
                return best;
            }
            for e in self.events.iter_mut().filter(|e| e.from <= mark) {
                (e.before, e.from) = (e.after, mark);
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
            step.mark(step.theta_end, event);
            match (self.events[event].action, &mut self.handler) {
                (AtEvent::Stop, _) => flow = ControlFlow::Break(()),
                (AtEvent::Handle, Some(handler)) => {
                    let [start, now] = &mut self.params;
                    if handler(&happened, &mut self.y, now).is_break() {
                        flow = ControlFlow::Break(());
                    }
                    // Lengths agree, both are the state's.
                    let _ = step.set_state(&self.y);
                    if !start.is_empty() {
                        step.set_params(now);
                    }
                }
                _ => {}
            }
            self.happened.push(happened);
        }
        let y = std::mem::take(&mut self.y);
        self.evaluate_at(step.t1(), &y);
        self.y = y;
        for e in self.events.iter_mut().filter(|e| e.fires) {
            e.times.push(step.t1().f64());
            if let Some(at) = e.times.limit().filter(|at| (at - step.t1().f64()).abs() <= self.near) {
                self.accumulation = Some(at);
            }
        }
        flow
    }

    /// Ends the integration where this step ends.
    fn accumulate(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        if let Some(at) = self.accumulation {
            step.fired.reason = OdeStop::EventsAccumulate { at };
        }
        ControlFlow::Break(())
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
        if !start.smooth {
            let what = "events need an interpolant, which stochastic steps have not: look at the ends of steps with a sink of your own";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        if self.handler.is_none() && self.events.iter().any(|e| e.action == AtEvent::Handle) {
            let what =
                "an event is to be handled and there is no handler: give one with on_event".to_string();
            return Err(OdeError::Mismatch { what });
        }
        self.happened.clear();
        let [first, now] = &mut self.params;
        now.clone_from(first);
        let (t0, t1) = (start.t0.f64(), start.t1.f64());
        self.near = (1e-9 * (t1 - t0).abs()).max(1000.0 * T::EPSILON.f64() * t0.abs().max(t1.abs()));
        self.accumulation = None;
        for e in &mut self.events {
            (e.fired, e.times) = (None, Recent::default());
        }
        self.y.resize(start.y0.len(), T::ZERO);
        self.y2.resize(start.y0.len(), T::ZERO);
        self.evaluate_at(start.t0, start.y0);
        Ok(())
    }

    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        if self.events.is_empty() {
            return ControlFlow::Continue(());
        }
        self.settle(step);
        let mut lo = T::ZERO;
        while self.accumulation.is_none()
            && lo < T::ONE
            && let Some(theta) = self.earliest(step, lo)
        {
            step.interpolate(theta, &mut self.y);
            let mut ends = false;
            for e in &mut self.events {
                e.after = (e.g)(time(step, theta), &self.y);
                e.fires = e.from < theta && crosses(e.before, e.after, e.crossing);
                ends |= e.fires && e.action != AtEvent::Record;
                if e.fires {
                    e.fired = Some(Fired { rounding: e.after.abs(), rising: e.before < T::ZERO });
                }
                (e.before, e.from) = (e.after, theta);
            }
            if ends {
                step.shorten(theta, &mut self.y);
                let flow = self.act(step);
                return if self.accumulation.is_some() { self.accumulate(step) } else { flow };
            }
            for (event, e) in self.events.iter_mut().enumerate().filter(|(_, e)| e.fires) {
                // Its sign here is that of the far side.
                let fired = e.fired.take();
                if let Some(f) = fired.filter(|_| e.before == T::ZERO) {
                    e.before = if f.rising { T::EPSILON } else { -T::EPSILON };
                }
                step.mark(theta, event);
                self.happened.push(Occurrence { event, t: time(step, theta), y: self.y.clone() });
            }
            lo = theta;
        }
        if self.accumulation.is_some() {
            // The flight is lost in rounding: this step is not part of the solution.
            step.shorten(T::ZERO, &mut self.y);
            return self.accumulate(step);
        }
        ControlFlow::Continue(())
    }
}

/// The next point at which the events are looked at: quarters, and before them steps by eight from where the search begins.
fn next_mark<T: Scalar>(lo: T) -> T {
    let quarter = T::of(0.25);
    let next = [0.25, 0.5, 0.75].map(T::of).into_iter().find(|m| *m > lo).unwrap_or(T::ONE);
    let eight = T::of(8.0) * lo;
    if lo > T::ZERO && eight < quarter { eight } else { next }
}

/// Time at theta, exact at the end.
fn time<T: Scalar>(step: &Step<'_, T>, theta: T) -> T {
    if theta == T::ONE { step.t1() } else { step.t0() + theta * step.h() }
}
