//! An accepted step as sinks see it.

use std::ops::ControlFlow;

use super::erk::{Erk, Stages};
use super::report::{OdeCounts, OdeStop};
use crate::diff::Map;
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

/// Something that looks at every accepted step. Sinks compose as tuples and are called in order: events first (they may shorten the step),
/// then what stores.
pub trait StepSink<T: Scalar> {
    /// Before the first step.
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        let _ = start;
        Ok(())
    }
    /// After each accepted step. `Break` ends the integration at the end of this step.
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()>;
    /// After all sinks have seen the step: its buffers may be taken (swapped for others of the same length).
    fn retain(&mut self, buffers: &mut StepBuffers<'_, T>) {
        let _ = buffers;
    }
    /// Whether what `forward` keeps is wanted for every step.
    fn wants_keep(&self) -> bool {
        false
    }
    /// The first time after t at which a step must end; asked after every step of a method without interpolant ([`Start::smooth`]).
    fn next_stop(&self, t: T) -> Option<T> {
        let _ = t;
        None
    }
}

/// The problem a sink is about to see.
#[derive(Debug, Clone, Copy)]
pub struct Start<'a, T> {
    /// Start time.
    pub t0: T,
    /// End time.
    pub t1: T,
    /// Start state, dim x batch.
    pub y0: &'a [T],
    /// Length of one state.
    pub dim: usize,
    /// Whether steps have an interpolant of the method's order; those of stochastic methods have none, between their ends the solution is drawn straight.
    pub smooth: bool,
}

/// The stages of the step just accepted, to be taken by swapping.
#[derive(Debug)]
pub struct StepBuffers<'a, T> {
    /// All stages k_i.
    pub k: &'a mut Vec<T>,
    /// What the field kept.
    pub keep: &'a mut Vec<T>,
    /// Of stochastic steps: the diffusion's stages, what it kept, I1 and I10 / h; see [`SdeMethod`](crate::sde::SdeMethod).
    pub noise: Option<[&'a mut Vec<T>; 4]>,
}

/// Nothing looks at the steps.
impl<T: Scalar> StepSink<T> for () {
    fn accepted(&mut self, _: &mut Step<'_, T>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<T: Scalar, S: StepSink<T> + ?Sized> StepSink<T> for &mut S {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        (**self).start(start)
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        (**self).accepted(step)
    }
    fn retain(&mut self, buffers: &mut StepBuffers<'_, T>) {
        (**self).retain(buffers);
    }
    fn wants_keep(&self) -> bool {
        (**self).wants_keep()
    }
    fn next_stop(&self, t: T) -> Option<T> {
        (**self).next_stop(t)
    }
}

/// A sink that may be absent.
impl<T: Scalar, S: StepSink<T>> StepSink<T> for Option<S> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.as_mut().map_or(Ok(()), |s| s.start(start))
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        self.as_mut().map_or(ControlFlow::Continue(()), |s| s.accepted(step))
    }
    fn retain(&mut self, buffers: &mut StepBuffers<'_, T>) {
        if let Some(s) = self {
            s.retain(buffers);
        }
    }
    fn wants_keep(&self) -> bool {
        self.as_ref().is_some_and(|s| s.wants_keep())
    }
    fn next_stop(&self, t: T) -> Option<T> {
        self.as_ref().and_then(|s| s.next_stop(t))
    }
}

macro_rules! tuple_sink {
    ($($name:ident . $i:tt),+) => {
        impl<T: Scalar, $($name: StepSink<T>),+> StepSink<T> for ($($name,)+) {
            fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
                $(self.$i.start(start)?;)+
                Ok(())
            }
            fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
                let mut flow = ControlFlow::Continue(());
                $(if self.$i.accepted(step).is_break() { flow = ControlFlow::Break(()); })+
                flow
            }
            fn retain(&mut self, buffers: &mut StepBuffers<'_, T>) {
                $(self.$i.retain(buffers);)+
            }
            fn wants_keep(&self) -> bool {
                false $(|| self.$i.wants_keep())+
            }
            fn next_stop(&self, t: T) -> Option<T> {
                let mut first: Option<T> = None;
                $(if let Some(s) = self.$i.next_stop(t) {
                    first = Some(first.map_or(s, |f| if (s - t).abs() < (f - t).abs() { s } else { f }));
                })+
                first
            }
        }
    };
}
tuple_sink!(A.0);
tuple_sink!(A.0, B.1);
tuple_sink!(A.0, B.1, C.2);
tuple_sink!(A.0, B.1, C.2, D.3);

/// A sink from a closure.
#[derive(Debug, Clone)]
pub struct FnSink<F>(pub F);

impl<T: Scalar, F: FnMut(&mut Step<'_, T>) -> ControlFlow<()>> StepSink<T> for FnSink<F> {
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        (self.0)(step)
    }
}

/// What a method can say about the step it has just made.
pub trait StepBody<T: Scalar> {
    /// What a recording notes of the step besides its times: where it ends on a Brownian path.
    fn note(&self) -> Option<u64> {
        None
    }
    /// The Brownian increments over the step; empty where there is no noise.
    fn increments(&self) -> &[T] {
        &[]
    }
    fn y0(&self) -> &[T];
    fn y1(&self) -> &[T];
    fn dy0(&self) -> &[T];
    fn stiffness(&mut self, h: T) -> T;
    /// A bound on the spectral radius of df/dy, where the method has the matrix.
    fn radius(&self) -> Option<T> {
        None
    }
    /// Coefficients z_m of the interpolant.
    fn degree(&self) -> usize;
    /// What the interpolant needs besides the stages; returns evaluations made.
    fn prepare_dense(&mut self, t: T, h: T) -> u64;
    fn interpolate(&mut self, theta: T, h: T, out: &mut [T]);
    /// out <- z_0, z_1, ..
    fn coefficients(&mut self, h: T, out: &mut [T]);
}

/// An explicit step.
pub(crate) struct ErkBody<'a, T, F: ?Sized> {
    pub erk: &'a Erk<T>,
    pub st: &'a mut Stages<T>,
    pub field: &'a mut F,
    pub p: &'a [T],
}

impl<T: Scalar, F: Map<T> + ?Sized> StepBody<T> for ErkBody<'_, T, F> {
    fn y0(&self) -> &[T] {
        &self.st.y0
    }
    fn y1(&self) -> &[T] {
        &self.st.y1
    }
    fn dy0(&self) -> &[T] {
        &self.st.k[..self.st.y0.len()]
    }
    fn stiffness(&mut self, h: T) -> T {
        self.erk.stiffness(h, self.st)
    }
    fn degree(&self) -> usize {
        self.erk.degree
    }
    fn prepare_dense(&mut self, t: T, h: T) -> u64 {
        if self.st.dense {
            return 0;
        }
        self.erk.prepare_dense(self.field, t, h, self.p, self.st);
        self.erk.tab.extra_stages() as u64
    }
    fn interpolate(&mut self, theta: T, h: T, out: &mut [T]) {
        self.erk.interpolate(theta, h, self.st, out);
    }
    fn coefficients(&mut self, h: T, out: &mut [T]) {
        let n = self.st.y0.len();
        out.fill(T::ZERO);
        for (m, z) in out.chunks_exact_mut(n).enumerate() {
            for i in 0..self.erk.c.len() {
                let at = |q: &[f64]| T::of(q.get(m).copied().unwrap_or(0.0));
                let (w, k) = (at(self.erk.tab.q[i]), &self.st.k[i * n..][..n]);
                if let Some(ny) = &self.erk.nystrom {
                    ny.add(z, (h * h * w, h * at(ny.q(i))), k);
                } else if w != T::ZERO {
                    crate::linalg::kernels::add_scaled(z, h * w, k);
                }
            }
        }
    }
}

/// What events say of a step.
#[derive(Debug, Clone)]
pub(crate) struct Fired<T> {
    /// Why the integration ends if a sink ends it here.
    pub reason: OdeStop,
    /// Events that fired in this step: (theta, number).
    marks: Vec<(T, usize)>,
    /// The parameters from the end of this step on, where an event changed them; else empty.
    pub params: Vec<T>,
    /// Components that may not be negative were, and are zero at the end.
    pub clipped: bool,
}

impl<T> Default for Fired<T> {
    fn default() -> Self {
        Self { reason: OdeStop::Stopped, marks: vec![], params: vec![], clipped: false }
    }
}

impl<T> Fired<T> {
    /// Before the next step.
    #[inline(always)]
    pub fn clear(&mut self) {
        if !self.marks.is_empty() {
            self.marks.clear();
            self.params.clear();
        }
    }
}

/// An accepted step, lent to sinks.
pub struct Step<'a, T: Scalar> {
    pub(crate) body: &'a mut dyn StepBody<T>,
    /// The end of the step before: t, or the stop a little before it.
    from: T,
    pub(crate) t: T,
    pub(crate) h: T,
    /// End of the step as the integrator will use it (t1 exactly in the last one).
    pub(crate) t_next: T,
    /// Share of the step that counts, 1 unless an event shortened it.
    pub(crate) theta_end: T,
    pub(crate) err: T,
    pub(crate) index: u64,
    pub(crate) stiffness: Option<T>,
    /// Which of several methods made it.
    pub(crate) method: u8,
    /// The state at the end of a shortened step.
    pub(crate) y_end: &'a mut [T],
    /// The state an event changed it to.
    pub(crate) y_next: &'a mut Vec<T>,
    pub(crate) changed: bool,
    pub(crate) fired: &'a mut Fired<T>,
    pub(crate) counts: &'a mut OdeCounts,
}

/// Whether a save point is at the time of an event, which is known to rounding, in a step of length h.
pub(crate) fn same_time<T: Scalar>(save: T, event: T, h: T) -> bool {
    (save - event).abs() <= T::of(16.0) * T::EPSILON * (event.abs() + h.abs())
}

impl<'a, T: Scalar> Step<'a, T> {
    /// A step from t (in name `from`) to t_next, of length h, that no sink has seen yet; in `room` go the states that events make.
    pub(crate) fn new(
        body: &'a mut dyn StepBody<T>,
        (from, t, h, t_next): (T, T, T, T),
        err: T,
        index: u64,
        room: (&'a mut [T], &'a mut Vec<T>, &'a mut Fired<T>),
        counts: &'a mut OdeCounts,
    ) -> Self {
        let (y_end, y_next, fired) = room;
        let (theta_end, stiffness, changed) = (T::ONE, None, false);
        Self {
            body,
            from,
            t,
            h,
            t_next,
            theta_end,
            err,
            index,
            stiffness,
            method: 0,
            y_end,
            y_next,
            changed,
            fired,
            counts,
        }
    }
}

impl<T: Scalar> Step<'_, T> {
    /// Number of this step among the accepted ones, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// Its start.
    pub fn t0(&self) -> T {
        self.t
    }
    /// Its end, after shortening.
    pub fn t1(&self) -> T {
        if self.theta_end == T::ONE { self.t_next } else { self.t + self.theta_end * self.h }
    }
    /// Its length h before shortening; negative backwards.
    pub fn h(&self) -> T {
        self.h
    }
    /// State at its start.
    pub fn y0(&self) -> &[T] {
        self.body.y0()
    }
    /// State at its end, before any change by an event at this end.
    pub fn y1(&self) -> &[T] {
        if self.theta_end == T::ONE { self.body.y1() } else { self.y_end }
    }
    /// dy/dt at its start.
    pub fn dy0(&self) -> &[T] {
        self.body.dy0()
    }
    /// The Brownian increments over it, width x batch; empty where there is no noise.
    pub fn increments(&self) -> &[T] {
        self.body.increments()
    }
    /// Scaled error estimate E, at most one unless the step is fixed.
    pub fn error(&self) -> T {
        self.err
    }
    /// Whether an event shortened the step.
    pub fn is_shortened(&self) -> bool {
        self.theta_end != T::ONE
    }
    /// Whether an event changed the state at the end.
    pub fn is_changed(&self) -> bool {
        self.changed
    }
    /// Shampine's estimate S of the dominant eigenvalue, rough for [`BS32`](super::BS32) (see [`crate::ode`]); computed when first asked for.
    pub fn stiffness(&mut self) -> T {
        match self.stiffness {
            Some(s) => s,
            None => {
                let s = self.body.stiffness(self.h);
                self.stiffness = Some(s);
                s
            }
        }
    }
    /// Position of a time in this step: 0 at its start, 1 at its (unshortened) end.
    pub fn theta(&self, t: T) -> T {
        if t == self.t_next { T::ONE } else { (t - self.t) / self.h }
    }
    /// Whether t is after the start and not after the (shortened) end.
    pub fn contains(&self, t: T) -> bool {
        let (a, b) = (self.from, self.t1());
        if self.h > T::ZERO { a < t && t <= b } else { b <= t && t < a }
    }
    /// Whether an event ended or changed the step at its end, and t is that time to rounding.
    pub(crate) fn is_event_time(&self, t: T) -> bool {
        (self.is_shortened() || self.changed) && same_time(t, self.t1(), self.h)
    }
    /// out <- y(t0 + theta h) from the interpolant; exact at both ends.
    pub fn interpolate(&mut self, theta: T, out: &mut [T]) {
        if theta == T::ONE {
            return out.copy_from_slice(self.body.y1());
        }
        if theta == T::ZERO {
            return out.copy_from_slice(self.body.y0());
        }
        self.prepare_dense();
        self.body.interpolate(theta, self.h, out);
    }
    /// The polynomial of the interpolant: `out` has degree() + 2 blocks of the state's length: y0, y1, z_0, z_1, .. with
    /// y = (1 - theta) y0 + theta y1 + theta (1 - theta) sum_m z_m theta^m.
    pub fn polynomial(&mut self, out: &mut [T]) {
        self.prepare_dense();
        let n = self.body.y0().len();
        out[..n].copy_from_slice(self.body.y0());
        out[n..2 * n].copy_from_slice(self.body.y1());
        self.body.coefficients(self.h, &mut out[2 * n..]);
    }
    /// Number of polynomial coefficients beyond the two ends.
    pub fn degree(&self) -> usize {
        self.body.degree()
    }
    fn prepare_dense(&mut self) {
        self.counts.evals += self.body.prepare_dense(self.t, self.h);
    }
    /// Ends the step at t0 + theta h, 0 < theta <= 1: what an event does. The integration goes on from there.
    pub fn shorten(&mut self, theta: T, scratch: &mut [T]) {
        self.interpolate(theta, scratch);
        self.y_end.copy_from_slice(scratch);
        self.theta_end = theta;
    }
    /// Notes that an event fired at theta.
    pub(crate) fn mark(&mut self, theta: T, event: usize) {
        self.fired.marks.push((theta, event));
    }
    /// The events that fired in this step: (theta, number of the event), in their order.
    pub fn events(&self) -> &[(T, usize)] {
        &self.fired.marks
    }
    /// Replaces the parameters with which the integration goes on, and the state if it was not replaced before by the one at the end.
    pub(crate) fn set_params(&mut self, p: &[T]) {
        self.fired.params.clear();
        self.fired.params.extend_from_slice(p);
        if !self.changed {
            self.y_next.clear();
            let y1 = if self.theta_end == T::ONE { self.body.y1() } else { &*self.y_end };
            self.y_next.extend_from_slice(y1);
            self.changed = true;
        }
    }
    /// Replaces the state from which the integration goes on.
    pub fn set_state(&mut self, y: &[T]) -> Result<(), OdeError> {
        check_len("state", y.len(), self.y_end.len())?;
        self.y_next.clear();
        self.y_next.extend_from_slice(y);
        self.changed = true;
        Ok(())
    }
}
