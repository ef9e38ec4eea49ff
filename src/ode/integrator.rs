//! The driver: steps, control, limits.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::erk::{Erk, Stages};
use super::error::{OdeError, check_finite, check_len};
use super::field::VectorField;
use super::kernels::{self, Scale};
use super::options::{ControlState, Options};
use super::report::{OdeCounts, OdeReport, OdeStop};
use super::step::{Start, Step, StepBuffers, StepSink};
use super::tableau::Tableau;
use crate::linalg::Scalar;

/// A method with its storage: made once, used for any number of integrations; no allocation per step.
///
/// Storage: (stages + interpolant's stages + 4) times the length of the state.
#[derive(Debug, Clone)]
pub struct Integrator<T: Scalar> {
    erk: Erk<T>,
    st: Stages<T>,
    y_end: Vec<T>,
    scale: Scale<T>,
    options: Options,
    dim: usize,
    batch: usize,
}

/// What changes during an integration.
struct Drive<T> {
    t: T,
    t1: T,
    h: T,
    control: ControlState,
    counts: OdeCounts,
    err: T,
    stiffness: Option<T>,
    stiff: StiffCheck<T>,
    need_k0: bool,
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
        let erk = Erk::new(method);
        let n = dim * batch;
        let (st, scale) = (erk.stages(n, 0), options.scale(dim, batch)?);
        Ok(Self { erk, st, y_end: vec![T::ZERO; n], scale, options: options.clone(), dim, batch })
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

    /// Integrates from (t0, y0) to t1, forwards or backwards; `sinks` see every accepted step.
    pub fn run<F: VectorField<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        self.check(field, span, y0, p)?;
        sinks.start(&Start { t0: span.0, t1: span.1, y0, dim: self.dim })?;
        let keep = if sinks.wants_keep() { field.keep_len(self.batch) * self.erk.tab.stages } else { 0 };
        self.st.keep.resize(keep, T::ZERO);
        self.st.y0.copy_from_slice(y0);
        // A panic of the user's field becomes an error: all storage here is overwritten by the next run.
        match catch_unwind(AssertUnwindSafe(|| self.drive(field, span, p, sinks))) {
            Ok(report) => Ok(report),
            Err(cause) => match panic_text(cause.as_ref()) {
                Some(message) => Err(OdeError::FieldPanicked { message }),
                None => resume_unwind(cause),
            },
        }
    }

    fn check<F: VectorField<T>>(
        &self,
        field: &F,
        (t0, t1): (T, T),
        y0: &[T],
        p: &[T],
    ) -> Result<(), OdeError> {
        check_len("the field's state", field.dim(), self.dim)?;
        check_len("the start", y0.len(), self.dim * self.batch)?;
        check_len("the parameter vector", p.len(), field.n_params())?;
        if !(t0.is_finite() && t1.is_finite()) {
            return Err(OdeError::SpanNotFinite { t0: t0.f64(), t1: t1.f64() });
        }
        if t0 == t1 {
            return Err(OdeError::EmptySpan { t0: t0.f64() });
        }
        check_finite("the start", y0)?;
        check_finite("the parameter vector", p)
    }

    fn drive<F: VectorField<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        (t0, t1): (T, T),
        p: &[T],
        sinks: &mut S,
    ) -> OdeReport {
        let mut d = Drive {
            t: t0,
            t1,
            h: T::ZERO,
            control: ControlState::default(),
            counts: OdeCounts::default(),
            err: T::ZERO,
            stiffness: None,
            stiff: StiffCheck::default(),
            need_k0: false,
        };
        self.erk.eval_stage(field, 0, t0, T::ZERO, p, &mut self.st);
        d.counts.evals += 1;
        if !kernels::all_finite(&self.st.k[..self.st.y0.len()]) {
            return self.report(OdeStop::StartNotFinite, &d);
        }
        d.h = self.first_step(field, p, &mut d);
        let stop = self.steps(field, p, sinks, &mut d);
        if matches!(stop, OdeStop::MaxSteps | OdeStop::StepUnderflow) {
            self.probe(field, p, &mut d);
        }
        self.report(stop, &d)
    }

    fn steps<F: VectorField<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        sinks: &mut S,
        d: &mut Drive<T>,
    ) -> OdeStop {
        let k = (self.erk.tab.error_order + 1) as f64;
        let fixed = self.options.fixed_step.is_some();
        let late = !self.erk.tab.error_uses_last;
        let per_step = (self.erk.tab.stages - 1 - late as usize) as u64;
        let (min_step, max_step) = (T::of(self.options.min_step), T::of(self.options.max_step));
        let stretch =
            if fixed { T::ONE + T::of(64.0) * T::EPSILON.sqrt() * T::of(0.01) } else { T::of(1.01) };
        loop {
            let left = d.t1 - d.t;
            // Stretch a little rather than leave a sliver; the planned step is kept aside.
            let reach = if d.h.abs() * stretch > max_step { d.h.abs() } else { d.h.abs() * stretch };
            let last = reach >= left.abs();
            let h = if last { left } else { d.h };
            let tiny = T::of(16.0) * T::EPSILON * d.t.abs();
            if !last && (h.abs() < min_step || h.abs() <= tiny) {
                return OdeStop::StepUnderflow;
            }
            if d.counts.accepted + d.counts.rejected >= self.options.max_steps {
                return OdeStop::MaxSteps;
            }
            if d.need_k0 {
                self.erk.eval_stage(field, 0, d.t, T::ZERO, p, &mut self.st);
                (d.need_k0, d.counts.evals) = (false, d.counts.evals + 1);
            }
            self.erk.step(field, d.t, h, p, &mut self.st);
            d.counts.evals += per_step;
            d.err = self.erk.error(self.options.norm, &self.scale, h, &self.st);
            let mut e = d.err.f64();
            let mut good = e <= 1.0 || (fixed && e.is_finite());
            if good && late {
                d.counts.evals += 1;
                good = self.erk.finish(field, d.t, h, p, &mut self.st);
                if !good {
                    e = f64::NAN;
                    d.err = T::of(e);
                }
            }
            if !good {
                d.counts.rejected += 1;
                d.counts.not_finite += !e.is_finite() as u64;
                d.h = h * T::of(d.control.rejected(&self.options.controller, k, e));
                if fixed || d.t + d.h == d.t {
                    return OdeStop::StepUnderflow;
                }
                continue;
            }
            let factor = d.control.accepted(&self.options.controller, k, e);
            let t_next = if last { d.t1 } else { d.t + h };
            if !fixed {
                // A last step cut short by t1 must not shrink the plan.
                let next = h.abs() * T::of(factor);
                let next = if last && next < d.h.abs() { d.h.abs() } else { next };
                let next = if next > max_step { max_step } else { next };
                d.h = if h > T::ZERO { next } else { -next };
            }
            let flow = self.accept(field, p, sinks, d, h, t_next);
            if flow.is_break() {
                return OdeStop::Stopped;
            }
            if d.t == d.t1 {
                return OdeStop::Finished;
            }
        }
    }

    /// Shows the step to the sinks and moves on.
    fn accept<F: VectorField<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        sinks: &mut S,
        d: &mut Drive<T>,
        h: T,
        t_next: T,
    ) -> ControlFlow<()> {
        let n = self.st.y0.len();
        let check = d.stiff.due(d.counts.accepted);
        let mut step = Step {
            erk: &self.erk,
            st: &mut self.st,
            field,
            p,
            t: d.t,
            h,
            t_next,
            theta_end: T::ONE,
            err: d.err,
            index: d.counts.accepted,
            stiffness: None,
            y_end: &mut self.y_end,
            changed: false,
            counts: &mut d.counts,
        };
        let flow = sinks.accepted(&mut step);
        if check {
            let s = step.stiffness();
            d.stiff.add(d.t, (s * h).abs().f64(), self.erk.tab.stability);
        }
        d.stiffness = step.stiffness.or(d.stiffness);
        let t_end = step.t1();
        let moved = step.is_shortened() || step.changed;
        d.counts.accepted += 1;
        d.t = t_end;
        if moved {
            self.st.y0.copy_from_slice(&self.y_end);
            d.need_k0 = true;
        } else {
            // First same as last.
            std::mem::swap(&mut self.st.y0, &mut self.st.y1);
        }
        let last = (self.erk.tab.stages - 1) * n;
        let (first, rest) = self.y_end_and_k(last);
        first.copy_from_slice(rest);
        sinks.retain(&mut StepBuffers { k: &mut self.st.k, keep: &mut self.st.keep });
        if !d.need_k0 {
            self.st.k[..n].copy_from_slice(&self.y_end);
        }
        flow
    }

    /// (scratch, k_(s-1)).
    fn y_end_and_k(&mut self, last: usize) -> (&mut [T], &[T]) {
        let n = self.y_end.len();
        (&mut self.y_end, &self.st.k[last..last + n])
    }

    /// Hairer, Norsett, Wanner: Solving ODEs I, II.4: h with |h^(p+1) y^(p+1)| about 0.01.
    fn first_step<F: VectorField<T>>(&mut self, field: &mut F, p: &[T], d: &mut Drive<T>) -> T {
        let span = d.t1 - d.t;
        let sign = if span > T::ZERO { T::ONE } else { -T::ONE };
        let cap = span.abs().f64().min(self.options.max_step);
        if let Some(h) = self.options.fixed_step.or(self.options.first_step) {
            return sign * T::of(h.min(cap));
        }
        let n = self.st.y0.len();
        let norm = self.options.norm;
        let st = &mut self.st;
        let size = |x: &[T], y: &[T]| kernels::scaled_norm(norm, &self.scale, y, y, x).f64();
        let (d0, d1) = (size(&st.y0, &st.y0), size(&st.k[..n], &st.y0));
        let mut h0 = if d0 < 1e-5 || d1 < 1e-5 { 1e-6 } else { 0.01 * d0 / d1 };
        h0 = h0.min(cap);
        // One explicit Euler step; k_1 is free.
        let step = sign * T::of(h0);
        let (k0, k1) = st.k.split_at_mut(n);
        let k1 = &mut k1[..n];
        for ((g, &y), &k) in st.g.iter_mut().zip(&st.y0).zip(&*k0) {
            *g = y + step * k;
        }
        field.eval(d.t + step, &st.g, p, k1);
        d.counts.evals += 1;
        for (a, &b) in k1.iter_mut().zip(&*k0) {
            *a -= b;
        }
        let d2 = size(k1, &st.y0) / h0;
        let m = d1.max(d2);
        let h1 = if m <= 1e-15 {
            (h0 * 1e-3).max(1e-6)
        } else {
            (0.01 / m).powf(1.0 / (self.erk.tab.error_order + 1) as f64)
        };
        let h = if d2.is_finite() { (100.0 * h0).min(h1) } else { 0.1 * h0 };
        sign * T::of(h.min(cap).max(self.options.min_step))
    }

    /// Stiffness where the integration failed, from one more step that nobody else sees.
    fn probe<F: VectorField<T>>(&mut self, field: &mut F, p: &[T], d: &mut Drive<T>) {
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

fn panic_text(cause: &(dyn std::any::Any + Send)) -> Option<String> {
    cause.downcast_ref::<&str>().map(|s| s.to_string()).or_else(|| cause.downcast_ref::<String>().cloned())
}
