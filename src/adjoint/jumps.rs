//! Events with derivatives: where they move, what they make of the state, and both transposed.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::rc::Rc;

use crate::diff::{At, BarsMut, Dots, Map, Offers, VjpRoom, need};
use crate::linalg::Scalar;
use crate::ode::{AtEvent, Crossing, Events, Occurrence, OdeError, Step};

type Boxed<'m, T> = RefCell<Box<dyn Map<T> + 'm>>;

/// Events that the discrete adjoint goes through ([`Adjoint::forward_jumps`](super::Adjoint::forward_jumps), [`Adjoint::reverse_jumps`](super::Adjoint::reverse_jumps)): zeros of g(t, y, p) where the
/// state becomes H(t, y, p), or where the integration ends. g and H are maps of the whole state, dim x batch numbers, as one column, with the parameters of the system, or
/// with none. They need a vector-Jacobian product, and a derivative by time unless they are [autonomous](Map::autonomous).
///
/// An event may change the parameters, too ([`when_params`](Self::when_params)). An event at a fixed time t* is g = t - t*.
///
/// ```
/// use costate::adjoint::{Adjoint, Bars, Jumps, Memory};
/// use costate::diff::{FnMap, Map};
/// use costate::ode::{Crossing, Options, TSIT54};
/// // A ball falls from y0, y'' = -p, and bounces once with three quarters of its speed.
/// let mut ball = FnMap::new(2, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy.copy_from_slice(&[y[1], -p[0]]))
///     .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
///         yb[1] += w[0];
///         pb[0] -= w[1];
///     });
/// let ground = FnMap::with_outputs(2, 1, 0, |_, y: &[f64], _: &[f64], g: &mut [f64]| g[0] = y[0])
///     .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], _: &mut [f64]| yb[0] += w[0])
///     .autonomous();
/// let bounce = FnMap::new(2, 0, |_, y: &[f64], _: &[f64], to: &mut [f64]| to.copy_from_slice(&[y[0], -0.75 * y[1]]))
///     .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], _: &mut [f64]| {
///         yb[0] += w[0];
///         yb[1] -= 0.75 * w[1];
///     })
///     .autonomous();
/// let jumps = Jumps::new().when(Crossing::Falling, ground, bounce);
/// let mut solver = Adjoint::new(&TSIT54, 2, 1, &Options::tolerances(1e-9, 1e-9), Memory::States)?;
/// let (y0, p) = ([2.0, 0.0], [9.81]);
/// solver.forward_jumps(&mut ball, (0.0, 1.0), &y0, &p, &jumps, &mut ())?;
/// let (mut y0_bar, mut p_bar) = ([0.0; 2], [0.0]);
/// let bars = Bars { y1: &[1.0, 0.0], ..Bars::default() };
/// solver.reverse_jumps(&mut ball, &p, &bars, &jumps, 0.0, &mut y0_bar, &mut p_bar)?;
/// // With s = sqrt(2 y0 p), t_e = s / p: y(1) = 0.75 s (1 - t_e) - p (1 - t_e)^2 / 2.
/// let (s, te) = ((2.0 * 2.0 * p[0]).sqrt(), (2.0 * 2.0 / p[0]).sqrt());
/// let want = 0.75 * (p[0] / s * (1.0 - te) - 1.0) + p[0] * (1.0 - te) / s;
/// assert!((y0_bar[0] - want).abs() < 1e-7);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
pub struct Jumps<'m, T> {
    all: Vec<Jump<'m, T>>,
    after: bool,
}

struct Jump<'m, T> {
    crossing: Crossing,
    g: Boxed<'m, T>,
    /// None: the integration ends.
    h: Option<Boxed<'m, T>>,
    /// What becomes of the parameters.
    params: Option<Boxed<'m, T>>,
}

impl<T: Scalar> Default for Jumps<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'m, T: Scalar> Jumps<'m, T> {
    /// None yet.
    pub fn new() -> Self {
        Self { all: vec![], after: false }
    }
    /// Where g changes its sign in this direction, the state becomes h(t, y, p).
    pub fn when(mut self, crossing: Crossing, g: impl Map<T> + 'm, h: impl Map<T> + 'm) -> Self {
        let h = Some(RefCell::new(Box::new(h) as _));
        self.all.push(Jump { crossing, g: RefCell::new(Box::new(g)), h, params: None });
        self
    }
    /// As [`when`](Self::when), and from there on the parameters are `params` of what they were, a map of all of them to as many without parameters of its own.
    pub fn when_params(
        mut self,
        crossing: Crossing,
        g: impl Map<T> + 'm,
        h: impl Map<T> + 'm,
        params: impl Map<T> + 'm,
    ) -> Self {
        self = self.when(crossing, g, h);
        if let Some(last) = self.all.last_mut() {
            last.params = Some(RefCell::new(Box::new(params)));
        }
        self
    }
    /// Where g changes its sign in this direction, the integration ends.
    pub fn stop(mut self, crossing: Crossing, g: impl Map<T> + 'm) -> Self {
        self.all.push(Jump { crossing, g: RefCell::new(Box::new(g)), h: None, params: None });
        self
    }

    /// The bars of states saved at the time of an event, to rounding, are those of the state after it, as [`SaveAt::after_events`](crate::ode::SaveAt::after_events) saves it.
    pub fn after_events(mut self) -> Self {
        self.after = true;
        self
    }

    /// For states of n numbers in all.
    pub(super) fn check(&self, n: usize, n_params: usize) -> Result<(), OdeError> {
        for (i, jump) in self.all.iter().enumerate() {
            check_map(&**jump.g.borrow(), &format!("the function of event {i}"), (n, 1, n_params))?;
            if let Some(h) = &jump.h {
                check_map(&**h.borrow(), &format!("the jump of event {i}"), (n, n, n_params))?;
            }
            if let Some(params) = &jump.params {
                let (map, what) = (&**params.borrow(), format!("the change of parameters by event {i}"));
                let size = map.size();
                if (size.inputs, size.outputs, size.params) != (n_params, n_params, 0) {
                    let what = format!(
                        "{what} must take {n_params} parameters to as many, without parameters of its own"
                    );
                    return Err(OdeError::Mismatch { what });
                }
                need(map, Offers::VJP, &format!("the adjoint through {what}"))?;
            }
        }
        Ok(())
    }

    /// As events of one run with the parameters p.
    pub(super) fn events<'a>(&'a self, p: &'a [T]) -> Events<'a, T> {
        // Those of now.
        let now = Rc::new(RefCell::new(p.to_vec()));
        let mut events = Events::new();
        for jump in &self.all {
            let action = if jump.h.is_some() { AtEvent::Handle } else { AtEvent::Stop };
            let now = now.clone();
            events = events.when(jump.crossing, action, move |t, y: &[T]| {
                let mut g = [T::ZERO];
                evaluate(&jump.g, t, y, &now.borrow(), &mut g);
                g[0]
            });
        }
        let mut from = vec![];
        let mut handle = move |happened: &Occurrence<T>, y: &mut [T], p: &mut [T]| {
            let jump = &self.all[happened.event];
            if let Some(h) = &jump.h {
                from.clear();
                from.extend_from_slice(y);
                evaluate(h, happened.t, &from, &now.borrow(), y);
            }
            if let Some(params) = &jump.params {
                evaluate(params, happened.t, &now.borrow(), &[], p);
                now.borrow_mut().copy_from_slice(p);
            }
            ControlFlow::Continue(())
        };
        if self.all.iter().all(|jump| jump.params.is_none()) {
            return events.on_event(move |happened, y| handle(happened, y, &mut []));
        }
        events.on_event_with_params(p, handle)
    }
}

fn evaluate<T: Scalar>(map: &Boxed<'_, T>, t: T, y: &[T], p: &[T], out: &mut [T]) {
    let mut map = map.borrow_mut();
    let n_params = map.n_params();
    map.value(At::new(t, y, &p[..n_params]), out);
}

fn check_map<T: Scalar>(
    map: &(dyn Map<T> + '_),
    what: &str,
    (inputs, outputs, n_params): (usize, usize, usize),
) -> Result<(), OdeError> {
    let size = map.size();
    if (size.inputs, size.outputs) != (inputs, outputs) || ![0, n_params].contains(&size.params) {
        let what = format!(
            "{what} takes {} numbers to {} with {} parameters: it must take {inputs} to {outputs} with {n_params} or none",
            size.inputs, size.outputs, size.params
        );
        return Err(OdeError::Mismatch { what });
    }
    need(map, Offers::VJP, &format!("the adjoint through {what}"))?;
    let offers = map.offers();
    if [Offers::AUTONOMOUS, Offers::DT, Offers::JVP].iter().any(|o| offers.has(*o)) {
        return Ok(());
    }
    let what = format!(
        "{what} may depend on time: say `autonomous`, or give its derivative (`with_time_derivative`)"
    );
    Err(OdeError::Mismatch { what })
}

/// What the tape knows of an event that ended a step.
#[derive(Debug, Clone)]
pub(super) struct Happened<T> {
    pub step: usize,
    /// Share of the step that counts.
    pub theta: T,
    pub t: T,
    pub changed: bool,
    /// The events that fired there.
    pub events: Vec<usize>,
    /// The state there, and the one from which the integration goes on.
    pub before: Vec<T>,
    pub after: Vec<T>,
    /// The parameters from there on, where the event changed them; else empty.
    pub params: Vec<T>,
    /// Under Memory::Stages: the end of the whole step.
    pub whole: Vec<T>,
}

impl<T: Scalar> Happened<T> {
    /// At the end of step j.
    pub fn of(step: &Step<'_, T>, j: usize, whole: Vec<T>) -> Self {
        let (theta, changed, before) = (step.theta_end, step.is_changed(), step.y1().to_vec());
        let after = if changed { step.y_next.clone() } else { before.clone() };
        let events = step.events().iter().filter(|e| e.0 == theta).map(|e| e.1).collect();
        let params = step.fired.params.clone();
        Self { step: j, theta, t: step.t1(), changed, events, before, after, params, whole }
    }
}

/// The jumps during one sweep.
pub(super) struct Crossed<'a, 'm, T> {
    jumps: &'a Jumps<'m, T>,
    /// Bar of the time at which the integration ended.
    t_bar: T,
    /// dy/dt before and after.
    rate: Vec<T>,
    pub slope: Vec<T>,
    bar: Vec<T>,
    g_y: Vec<T>,
    g_p: Vec<T>,
    dt: Vec<T>,
    keep_dot: Vec<T>,
    room: VjpRoom<T>,
    still: Option<(usize, T)>,
}

impl<'a, 'm, T: Scalar> Crossed<'a, 'm, T> {
    pub fn new(jumps: &'a Jumps<'m, T>, t_bar: T, (n, n_params): (usize, usize)) -> Self {
        let zeros = |n| vec![T::ZERO; n];
        Self {
            jumps,
            t_bar,
            rate: zeros(n),
            slope: zeros(n),
            bar: zeros(n),
            g_y: zeros(n),
            g_p: zeros(n_params),
            dt: zeros(n),
            keep_dot: vec![],
            room: VjpRoom::default(),
            still: None,
        }
    }
    /// Every event of the pass must be one of these, alone at its time.
    pub fn check(&self, happened: &[Happened<T>], steps: usize) -> Result<(), OdeError> {
        for at in happened {
            let t = at.t.f64();
            let what = match at.events[..] {
                [event] if event < self.jumps.all.len() => {
                    let goes_on = self.jumps.all[event].h.is_some();
                    if goes_on || at.step + 1 == steps {
                        continue;
                    }
                    format!("event {event} at t = {t} did not end the forward pass, but is said to")
                }
                [event] => format!("event {event} at t = {t} is not among the jumps that were given"),
                [] => format!(
                    "the forward pass ended at t = {t} without an event, where events accumulate: there is no derivative"
                ),
                _ => format!(
                    "{} events at t = {t}: which comes first changes with the start, so there is no derivative",
                    at.events.len()
                ),
            };
            return Err(OdeError::Mismatch { what });
        }
        Ok(())
    }
    /// Whether states saved at the times of events are those after them.
    pub fn saves_after(&self) -> bool {
        self.jumps.after
    }
    /// Where dy/dt before the event goes.
    pub fn rate(&mut self) -> &mut [T] {
        &mut self.rate
    }
    /// Whether the integration goes on behind the event, so that `slope` counts: dy/dt behind it.
    pub fn goes_on(&self, at: &Happened<T>) -> bool {
        at.events.first().is_some_and(|&e| self.jumps.all[e].h.is_some())
    }

    /// g_y, g_p, and dg/dt along the solution: what the time of the event moves by.
    fn condition(&mut self, at: &Happened<T>, p: &[T]) -> T {
        let (event, g) = (at.events[0], &mut **self.jumps.all[at.events[0]].g.borrow_mut());
        let k = g.n_params();
        let point = At::new(at.t, &at.before, &p[..k]);
        self.g_y.fill(T::ZERO);
        self.g_p.fill(T::ZERO);
        self.room.add(g, point, &[T::ONE], BarsMut::new(&mut self.g_y, &mut self.g_p[..k]));
        along_time(g, point, &mut self.room, &mut self.keep_dot, &mut self.dt[..1]);
        let along = self.dt[0] + dot(&self.g_y, &self.rate);
        if along == T::ZERO || !along.is_finite() {
            self.still = Some((event, at.t));
        }
        along
    }

    /// Takes the tangents of the state before the event, at fixed time, to those of the state after it, one direction after another, and `t_dot` to those of its time: the transpose of
    /// [`transpose`](Self::transpose). `p_dot` has directions of the parameters.
    pub fn push(&mut self, at: &Happened<T>, p: &[T], p_dot: &[T], y_dot: &mut [T], t_dot: &mut [T]) {
        let n = self.rate.len();
        let along = self.condition(at, p);
        for (i, (t_dot, y)) in t_dot.iter_mut().zip(y_dot.chunks_exact(n)).enumerate() {
            *t_dot = -(dot(&self.g_y, y) + dot(&self.g_p, &p_dot[i * p.len()..][..p.len()])) / along;
        }
        let jump = &self.jumps.all[at.events[0]];
        let Some(h) = &jump.h else {
            for (t_dot, y) in t_dot.iter().zip(y_dot.chunks_exact_mut(n)) {
                y.iter_mut().zip(&self.rate).for_each(|(y, v)| *y += *v * *t_dot);
            }
            return;
        };
        let h = &mut **h.borrow_mut();
        let point = At::new(at.t, &at.before, &p[..h.n_params()]);
        along_time(h, point, &mut self.room, &mut self.keep_dot, &mut self.dt);
        let (before, mut row) = (y_dot.to_vec(), vec![T::ZERO; n]);
        for r in 0..n {
            // Row r of H_y and H_p.
            row.fill(T::ZERO);
            row[r] = T::ONE;
            self.bar.fill(T::ZERO);
            self.g_p.fill(T::ZERO);
            self.room.add(h, point, &row, BarsMut::new(&mut self.bar, &mut self.g_p[..point.p.len()]));
            let moved = dot(&self.bar, &self.rate) + self.dt[r] - self.slope[r];
            for (i, t_dot) in t_dot.iter().enumerate() {
                let by_p = dot(&self.g_p, &p_dot[i * p.len()..][..p.len()]);
                y_dot[i * n + r] = dot(&self.bar, &before[i * n..][..n]) + by_p + moved * *t_dot;
            }
        }
    }

    /// Takes the bar of the state after the event out of `lambda` and returns that of the state before it, at fixed time. See [`crate::adjoint`].
    pub fn transpose(&mut self, at: &Happened<T>, p: &[T], lambda: &mut [T], p_bar: &mut [T]) -> &[T] {
        let jump = &self.jumps.all[at.events[0]];
        let moved = if let Some(h) = &jump.h {
            let h = &mut **h.borrow_mut();
            let k = h.n_params();
            let point = At::new(at.t, &at.before, &p[..k]);
            self.bar.fill(T::ZERO);
            self.room.add(h, point, lambda, BarsMut::new(&mut self.bar, &mut p_bar[..k]));
            along_time(h, point, &mut self.room, &mut self.keep_dot, &mut self.dt);
            dot(&self.bar, &self.rate) + dot(lambda, &self.dt) - dot(lambda, &self.slope)
        } else {
            self.bar.copy_from_slice(lambda);
            dot(&self.bar, &self.rate) + self.t_bar
        };
        let a = moved / self.condition(at, p);
        self.bar.iter_mut().zip(&self.g_y).for_each(|(b, g)| *b -= a * *g);
        p_bar.iter_mut().zip(&self.g_p).for_each(|(b, g)| *b -= a * *g);
        lambda.fill(T::ZERO);
        &self.bar
    }
    /// p_bar of the parameters after the event becomes that of those before it, p.
    pub fn transpose_params(&mut self, at: &Happened<T>, p: &[T], p_bar: &mut [T]) {
        if at.params.is_empty() {
            return;
        }
        if let Some(params) = &self.jumps.all[at.events[0]].params {
            let w = p_bar.to_vec();
            p_bar.fill(T::ZERO);
            self.room.add(
                &mut **params.borrow_mut(),
                At::new(at.t, p, &[]),
                &w,
                BarsMut::new(p_bar, &mut []),
            );
        }
    }
    /// After the sweep: an error if the time of an event has no derivative.
    pub fn finish(&self) -> Result<(), OdeError> {
        let Some((event, t)) = self.still else { return Ok(()) };
        let t = t.f64();
        let what = format!(
            "the function of event {event} does not change along the solution at t = {t}: its time has no derivative"
        );
        Err(OdeError::Mismatch { what })
    }
}

fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).fold(T::ZERO, |s, (a, b)| s + *a * *b)
}

/// dt <- dA/dt at a point, of a map that offers it or does not depend on time.
fn along_time<T: Scalar>(
    map: &mut (dyn Map<T> + '_),
    at: At<'_, T>,
    room: &mut VjpRoom<T>,
    keep_dot: &mut Vec<T>,
    dt: &mut [T],
) {
    let offers = map.offers();
    if offers.has(Offers::AUTONOMOUS) {
        dt.fill(T::ZERO);
    } else if offers.has(Offers::DT) {
        map.time_derivative(at, dt);
    } else {
        keep_dot.resize(map.keep_len(1), T::ZERO);
        let of = room.evaluate(map, at);
        map.jvp(at, of, Dots { count: 1, t: &[T::ONE], x: &[], p: &[] }, dt, keep_dot);
    }
}
