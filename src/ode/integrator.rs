//! The driver: steps, control, limits.

use std::ops::ControlFlow;

use super::erk::{Erk, Stages};
use super::options::{ControlState, Controller, ObservedOrder, Options};
use super::report::{OdeCounts, OdeReport, OdeStop};
use super::step::{ErkBody, Start, Step, StepBuffers, StepSink};
use super::tableau::Tableau;
use crate::diff::{At, Map, Offers};
use crate::error::{OdeError, catch, check_len};
use crate::linalg::Scalar;
use crate::linalg::kernels;
use crate::linalg::kernels::Scale;
use crate::ode::check::{check_finite, check_span};

/// A method with its storage: made once, used for any number of integrations; no allocation per step.
///
/// Storage: (stages + interpolant's stages + 4) times the length of the state.
#[derive(Debug, Clone)]
pub struct Integrator<T: Scalar> {
    erk: Erk<T>,
    st: Stages<T>,
    y_end: Vec<T>,
    /// Empty until an event changes a state.
    y_next: Vec<T>,
    scale: Scale<T>,
    options: Options,
    dim: usize,
    batch: usize,
}

/// What changes during an integration.
pub(crate) struct Drive<T> {
    pub t: T,
    t1: T,
    pub h: T,
    control: ControlState,
    observed: ObservedOrder,
    pub counts: OdeCounts,
    pub err: T,
    pub stiffness: Option<T>,
    stiff: StiffCheck<T>,
    need_k0: bool,
}

/// The limits of all steps.
pub(crate) struct Limits<T> {
    controller: Controller,
    /// error order + 1.
    k: f64,
    fixed: bool,
    near_rounding: bool,
    min_step: T,
    max_step: T,
    max_steps: u64,
    stretch: T,
}

impl<T: Scalar> Limits<T> {
    pub fn new(o: &Options, error_order: usize) -> Self {
        let fixed = o.fixed_step.is_some();
        Self {
            controller: o.controller,
            k: (error_order + 1) as f64,
            fixed,
            near_rounding: o.near_rounding::<T>(),
            min_step: T::of(o.min_step),
            max_step: T::of(o.max_step),
            max_steps: o.max_steps,
            // With a fixed step only what rounding leaves of the span is added to the last one.
            stretch: if fixed { T::ONE + T::EPSILON.sqrt() } else { T::of(1.01) },
        }
    }
}

impl<T: Scalar> Drive<T> {
    pub fn new(t0: T, t1: T) -> Self {
        Self {
            t: t0,
            t1,
            h: T::ZERO,
            control: ControlState::default(),
            observed: ObservedOrder::default(),
            counts: OdeCounts::default(),
            err: T::ZERO,
            stiffness: None,
            stiff: StiffCheck::default(),
            need_k0: false,
        }
    }

    /// The next attempt: its step, and whether it ends at t1.
    #[inline(always)]
    pub fn plan(&self, lim: &Limits<T>) -> Result<(T, bool), OdeStop> {
        let left = self.t1 - self.t;
        // Stretch a little rather than leave a sliver; the planned step is kept aside.
        let size = self.h.abs();
        // Never after a rejection: the attempt must be shorter than the last.
        let keep = self.control.rejected || size * lim.stretch > lim.max_step;
        let reach = if keep { size } else { size * lim.stretch };
        let last = reach >= left.abs();
        let tiny = T::of(16.0) * T::EPSILON * self.t.abs();
        if !last && (size < lim.min_step || size <= tiny) {
            return Err(OdeStop::StepUnderflow);
        }
        if self.counts.accepted + self.counts.rejected >= lim.max_steps {
            return Err(OdeStop::MaxSteps);
        }
        Ok((if last { left } else { self.h }, last))
    }

    /// Whether the attempt is accepted, from the square of its error.
    #[inline(always)]
    pub fn passes(lim: &Limits<T>, square: f64) -> bool {
        square <= 1.0 || (lim.fixed && square.is_finite())
    }

    /// After a rejected attempt.
    pub fn reject(&mut self, lim: &Limits<T>, h: T, e: f64) -> Result<(), OdeStop> {
        self.counts.rejected += 1;
        self.counts.not_finite += !e.is_finite() as u64;
        if lim.fixed {
            return Err(OdeStop::NotFinite);
        }
        self.h = h * T::of(self.control.rejected(&lim.controller, lim.k, e));
        if self.t + self.h == self.t { Err(OdeStop::StepUnderflow) } else { Ok(()) }
    }

    /// After an accepted attempt with this square of its error: plans the next step and returns the end of this one.
    #[inline(always)]
    pub fn advance(&mut self, lim: &Limits<T>, h: T, last: bool, square: f64) -> T {
        if !lim.fixed {
            let limit = if self.control.rejected { 1.0 } else { f64::INFINITY };
            let mut factor = self.control.accepted(&lim.controller, lim.k, square);
            if lim.near_rounding
                && let Some(f) = self.observed.factor(&lim.controller, lim.k, h.f64(), square.sqrt())
            {
                factor = f.min(limit);
            }
            // A last step cut short by t1 must not shrink the plan.
            let next = h.abs() * T::of(factor);
            let next = if last && next < self.h.abs() { self.h.abs() } else { next };
            let next = if next > lim.max_step { lim.max_step } else { next };
            self.h = if h > T::ZERO { next } else { -next };
        }
        if last { self.t1 } else { self.t + h }
    }

    /// Whether the stiffness of the step just accepted is due.
    #[inline(always)]
    pub fn stiffness_due(&self) -> bool {
        self.stiff.due(self.counts.accepted)
    }

    /// Moves to the end of a step.
    #[inline(always)]
    pub fn move_to(&mut self, t: T) {
        self.counts.accepted += 1;
        self.t = t;
    }

    /// Whether t1 is reached.
    #[inline(always)]
    pub fn at_end(&self) -> bool {
        self.t == self.t1
    }
}

/// Every 64th accepted step, and every one while suspicious: |h| S against the stability interval.
#[derive(Default)]
struct StiffCheck<T> {
    hits: u32,
    misses: u32,
    first: Option<T>,
    at: Option<T>,
}

impl<T: Scalar> StiffCheck<T> {
    fn due(&self, accepted: u64) -> bool {
        self.at.is_none() && (self.hits > 0 || accepted % 64 == 63)
    }
    fn add(&mut self, t: T, hs: f64, stability: f64) {
        if hs > 0.9 * stability {
            self.first = self.first.or(Some(t));
            (self.hits, self.misses) = (self.hits + 1, 0);
            if self.hits == 15 {
                self.at = self.first;
            }
        } else {
            self.misses += 1;
            if self.misses >= 6 {
                *self = Self::default();
            }
        }
    }
}

impl<T: Scalar> Integrator<T> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static Tableau,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        options.check()?;
        if dim * batch == 0 {
            let what = format!("a state of {dim} components and a batch of {batch} is empty");
            return Err(OdeError::Mismatch { what });
        }
        let erk = Erk::new(method, dim);
        let n = dim * batch;
        let (st, scale) = (erk.stages(n, 0), options.scale(dim, batch)?);
        Ok(Self {
            erk,
            st,
            y_end: vec![T::ZERO; n],
            y_next: vec![],
            scale,
            options: options.clone(),
            dim,
            batch,
        })
    }

    /// The final state of the last run.
    pub fn y(&self) -> &[T] {
        &self.st.y0
    }
    /// The method.
    pub fn method(&self) -> &'static Tableau {
        self.erk.tab
    }
    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Integrates from (t0, y0) to t1, forwards or backwards; `sinks` see every accepted step.
    pub fn run<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        check_problem(field, (self.dim, self.batch), span, y0, p)?;
        check_order(self.erk.tab, field)?;
        // A panic of the user's field or sinks becomes an error: all storage here is overwritten by the next run.
        catch(|| {
            self.set_start(span, y0, sinks)?;
            let keep = if sinks.wants_keep() { field.keep_len(self.batch) * self.erk.tab.stages } else { 0 };
            self.st.keep.resize(keep, T::ZERO);
            Ok(self.drive(field, span, p, sinks))
        })?
    }

    pub(crate) fn set_start<S: StepSink<T>>(
        &mut self,
        span: (T, T),
        y0: &[T],
        sinks: &mut S,
    ) -> Result<(), OdeError> {
        sinks.start(&Start { t0: span.0, t1: span.1, y0, dim: self.dim })?;
        self.st.y0.copy_from_slice(y0);
        Ok(())
    }
    pub(crate) fn erk(&self) -> &Erk<T> {
        &self.erk
    }
    pub(crate) fn stages(&mut self) -> &mut Stages<T> {
        &mut self.st
    }

    fn drive<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        span: (T, T),
        p: &[T],
        sinks: &mut S,
    ) -> OdeReport {
        let (stop, mut d) = match self.begin(field, span, p) {
            Ok(mut d) => (self.steps(field, p, sinks, &mut d), d),
            Err(report) => return report,
        };
        self.end(field, p, stop, &mut d)
    }

    /// k_0 and the first step, from the start in y().
    #[allow(clippy::result_large_err)] // Once an integration.
    pub(crate) fn begin<F: Map<T>>(
        &mut self,
        field: &mut F,
        (t0, t1): (T, T),
        p: &[T],
    ) -> Result<Drive<T>, OdeReport> {
        let mut d = Drive::new(t0, t1);
        self.erk.eval_stage(field, 0, t0, T::ZERO, p, &mut self.st);
        d.counts.evals += 1;
        if !kernels::all_finite(&self.st.k[..self.st.y0.len()]) {
            return Err(self.report(OdeStop::StartNotFinite, &d));
        }
        d.h = self.first_step(field, p, &mut d);
        Ok(d)
    }

    /// The report, with the stiffness where the integration failed; the last state is in y().
    pub(crate) fn end<F: Map<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        stop: OdeStop,
        d: &mut Drive<T>,
    ) -> OdeReport {
        if matches!(stop, OdeStop::MaxSteps | OdeStop::StepUnderflow) {
            self.probe(field, p, d);
        }
        self.report(stop, d)
    }

    pub(crate) fn limits(&self) -> Limits<T> {
        Limits::new(&self.options, self.erk.tab.error_order)
    }

    fn steps<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        sinks: &mut S,
        d: &mut Drive<T>,
    ) -> OdeStop {
        let lim = self.limits();
        let late = !self.erk.tab.error_uses_last;
        let per_step = (self.erk.tab.stages - 1 - late as usize) as u64;
        loop {
            let (h, last) = match d.plan(&lim) {
                Ok(plan) => plan,
                Err(stop) => return stop,
            };
            if d.need_k0 {
                self.erk.eval_stage(field, 0, d.t, T::ZERO, p, &mut self.st);
                (d.need_k0, d.counts.evals) = (false, d.counts.evals + 1);
            }
            let square = self.erk.attempt(field, d.t, h, p, self.options.norm, &self.scale, &mut self.st);
            d.err = square.sqrt();
            d.counts.evals += per_step;
            let mut good = Drive::passes(&lim, square.f64());
            if good && late {
                d.counts.evals += 1;
                good = self.erk.finish(field, d.t, h, p, &mut self.st);
                if !good {
                    d.err = T::of(f64::NAN);
                }
            }
            if !good {
                match d.reject(&lim, h, d.err.f64()) {
                    Ok(()) => continue,
                    Err(stop) => return stop,
                }
            }
            let t_next = d.advance(&lim, h, last, square.f64());
            if self.accept(field, p, sinks, d, h, t_next).is_break() {
                return OdeStop::Stopped;
            }
            if d.at_end() {
                return OdeStop::Finished;
            }
        }
    }

    /// Shows the step to the sinks and moves on.
    fn accept<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        sinks: &mut S,
        d: &mut Drive<T>,
        h: T,
        t_next: T,
    ) -> ControlFlow<()> {
        let (flow, moved, t_end) = self.show(field, p, sinks, d, h, t_next);
        d.move_to(t_end);
        let (n, last) = (self.st.y0.len(), self.erk.tab.stages - 1);
        if moved {
            std::mem::swap(&mut self.st.y0, &mut self.y_end);
            d.need_k0 = true;
        } else {
            std::mem::swap(&mut self.st.y0, &mut self.st.y1);
        }
        // First same as last; the sinks may take the stages in between.
        copy(&mut self.y_end, &self.st.k[last * n..][..n]);
        sinks.retain(&mut StepBuffers { k: &mut self.st.k, keep: &mut self.st.keep });
        copy(&mut self.st.k[..n], &self.y_end);
        flow
    }

    /// Shows an accepted step, whose stages are in `st`, to the sinks: (flow, whether y_end is where to go on, the end).
    pub(crate) fn show<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        sinks: &mut S,
        d: &mut Drive<T>,
        h: T,
        t_next: T,
    ) -> (ControlFlow<()>, bool, T) {
        let check = d.stiffness_due();
        let mut body = ErkBody { erk: &self.erk, st: &mut self.st, field, p };
        let room = (&mut self.y_end[..], &mut self.y_next);
        let mut step = Step::new(&mut body, (d.t, h, t_next), d.err, d.counts.accepted, room, &mut d.counts);
        let flow = sinks.accepted(&mut step);
        if check {
            let s = step.stiffness();
            d.stiff.add(d.t, (s * h).abs().f64(), self.erk.tab.stability);
        }
        d.stiffness = step.stiffness.or(d.stiffness);
        let (changed, shortened, t_end) = (step.changed, step.is_shortened(), step.t1());
        if changed {
            self.y_end.copy_from_slice(&self.y_next);
        }
        (flow, changed || shortened, t_end)
    }

    fn first_step<F: Map<T>>(&mut self, field: &mut F, p: &[T], d: &mut Drive<T>) -> T {
        let st = &mut self.st;
        let (k0, k1) = st.k.split_at_mut(st.y0.len());
        let start = FirstStep { y0: &st.y0, k0, g: &mut st.g, k1 };
        let order = self.erk.tab.error_order;
        start.choose(field, &self.options, &self.scale, order, (d.t, d.t1), p, &mut d.counts)
    }

    /// Stiffness where the integration failed, from one more step that nobody else sees.
    fn probe<F: Map<T>>(&mut self, field: &mut F, p: &[T], d: &mut Drive<T>) {
        self.erk.eval_stage(field, 0, d.t, T::ZERO, p, &mut self.st);
        self.erk.step(field, d.t, d.h, p, &mut self.st);
        self.erk.finish(field, d.t, d.h, p, &mut self.st);
        d.counts.evals += self.erk.tab.stages as u64;
        d.stiffness = Some(self.erk.stiffness(d.h, &mut self.st)).filter(|s| *s > T::ZERO);
    }

    fn report(&self, stop: OdeStop, d: &Drive<T>) -> OdeReport {
        OdeReport {
            stop,
            t: d.t.f64(),
            h: d.h.f64(),
            error: d.err.f64(),
            stiffness: d.stiffness.map(T::f64),
            stability: self.erk.tab.stability,
            stiff_at: d.stiff.at.map(T::f64),
            counts: d.counts,
        }
    }
}

/// What must hold before an integration.
pub(super) fn check_problem<T: Scalar, F: Map<T> + ?Sized>(
    field: &F,
    (dim, batch): (usize, usize),
    span: (T, T),
    y0: &[T],
    p: &[T],
) -> Result<(), OdeError> {
    check_len("the field's state", field.inputs(), dim)?;
    check_len("the field's value", field.outputs(), dim)?;
    check_len("the start", y0.len(), dim * batch)?;
    check_len("the parameter vector", p.len(), field.n_params())?;
    check_span(span)?;
    check_finite("the start", y0)?;
    check_finite("the parameter vector", p)
}

/// A Nystrom method needs a field that says it is of second order.
pub(crate) fn check_order<T: Scalar, F: Map<T> + ?Sized>(
    method: &Tableau,
    field: &F,
) -> Result<(), OdeError> {
    if method.velocity.is_none() || field.offers().has(Offers::SECOND_ORDER) {
        return Ok(());
    }
    let name = method.name;
    let what =
        format!("{name} is a method for q'' = a(t, q): give it the acceleration as a SecondOrder field");
    Err(OdeError::Mismatch { what })
}

/// Hairer, Norsett, Wanner: Solving ODEs I, II.4: h with |h^(p+1) y^(p+1)| about 0.01.
pub(super) struct FirstStep<'a, T> {
    pub y0: &'a [T],
    /// f(t0, y0).
    pub k0: &'a [T],
    /// Room for a state and its derivative.
    pub g: &'a mut [T],
    pub k1: &'a mut [T],
}

impl<T: Scalar> FirstStep<'_, T> {
    #[allow(clippy::too_many_arguments)]
    pub fn choose<F: Map<T> + ?Sized>(
        self,
        field: &mut F,
        options: &Options,
        scale: &Scale<T>,
        error_order: usize,
        (t0, t1): (T, T),
        p: &[T],
        counts: &mut OdeCounts,
    ) -> T {
        let span = t1 - t0;
        let sign = if span > T::ZERO { T::ONE } else { -T::ONE };
        let cap = span.abs().f64().min(options.max_step);
        if let Some(h) = options.fixed_step.or(options.first_step) {
            return sign * T::of(h.min(cap));
        }
        let n = self.y0.len();
        let size = |x: &[T]| kernels::scaled_norm(options.norm, scale, self.y0, self.y0, x).f64();
        let (d0, d1) = (size(self.y0), size(&self.k0[..n]));
        // A zero tolerance at a zero of the start makes d0 or d1 infinite or NaN: no scale either.
        let known = d0 >= 1e-5 && d1 >= 1e-5 && d0.is_finite() && d1.is_finite();
        let mut h0 = if known { 0.01 * d0 / d1 } else { 1e-6 };
        // Far from t = 0 a short step would not move t.
        let resolved = 1024.0 * T::EPSILON.f64() * t0.abs().f64();
        h0 = h0.max(resolved).min(cap);
        // One explicit Euler step; k_1 is free.
        let step = sign * T::of(h0);
        let k1 = &mut self.k1[..n];
        for ((g, &y), &k) in self.g.iter_mut().zip(self.y0).zip(self.k0) {
            *g = y + step * k;
        }
        field.value(At::new(t0 + step, self.g, p), k1);
        counts.evals += 1;
        for (a, &b) in k1.iter_mut().zip(self.k0) {
            *a -= b;
        }
        let d2 = size(k1) / h0;
        let m = d1.max(d2);
        let h1 =
            if m <= 1e-15 { (h0 * 1e-3).max(1e-6) } else { (0.01 / m).powf(1.0 / (error_order + 1) as f64) };
        // A derivative whose norm overflows says nothing either.
        let h = if m.is_finite() && d2.is_finite() { (100.0 * h0).min(h1) } else { 0.1 * h0 };
        sign * T::of(h.max(resolved).min(cap).max(options.min_step))
    }
}

/// to <- from; short ones without a call.
#[inline(always)]
fn copy<T: Scalar>(to: &mut [T], from: &[T]) {
    if to.len() <= 4 {
        to.iter_mut().zip(from).for_each(|(t, f)| *t = *f);
    } else {
        to.copy_from_slice(from);
    }
}
