//! The one loop: limits, control, rejections, sinks and events, reports. It knows no family of methods.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::diagnosis::{Diagnosis, Evidence, Jump, jump};
use super::domain::{Domain, Place};
use super::options::Options;
use super::pace::{Bits, Limits, Pace, SavedPace};
use super::report::{OdeCounts, OdeReport, OdeStop};
use super::step::{Fired, Start, Step, StepSink};
use super::stepper::{Ask, Carrier, Lost, Measure, Stepper};
use crate::diff::At;
use crate::error::{OdeError, catch, check_len};
use crate::linalg::kernels::Scale;
use crate::linalg::{Norm, Scalar};

/// Where an integration stands between two steps: time, state, what the method carries, and the memory of the controller. Can be written and read (serde).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    y: Vec<Bits>,
    carried: Vec<u64>,
    pace: SavedPace,
}

impl Saved {
    /// The time.
    pub fn t(&self) -> f64 {
        self.pace.t.0
    }
    /// The state, dim x batch.
    pub fn y(&self) -> Vec<f64> {
        self.y.iter().map(|b| b.0).collect()
    }
    /// The length that the next step is planned to have.
    pub(super) fn h(&self) -> f64 {
        self.pace.h.0
    }
    /// What the run took so far.
    pub fn counts(&self) -> &OdeCounts {
        &self.pace.counts
    }
    /// An error where the run came from the side on which t1 lies.
    pub(super) fn goes_on_to(&self, t1: f64) -> Result<(), OdeError> {
        let (t0, t) = (self.pace.t0.0, self.t());
        if (t1 > t) != (t > t0) && t != t0 {
            let what = format!("the run went from {t0} to {t}: it cannot go on to {t1}");
            return Err(OdeError::Mismatch { what });
        }
        Ok(())
    }
}

/// A method with its storage: made once, used for any number of integrations; no allocation per step. See [`Integrator`](super::Integrator) for explicit methods
/// and [`StiffIntegrator`](super::StiffIntegrator) for linearly implicit ones.
#[derive(Debug, Clone)]
pub struct Driver<T: Scalar, M> {
    pub(crate) stepper: M,
    /// The state at the end of a step that an event shortened.
    y_end: Vec<T>,
    /// The state that an event changed it to; empty until one does.
    y_next: Vec<T>,
    pub(crate) scale: Scale<T>,
    domain: Domain<T>,
    fired: Fired<T>,
    /// How the last run stood after its last step.
    last: Option<Pace<T>>,
    options: Options,
    dim: usize,
    batch: usize,
    /// Whether a jump of the field is looked for where a sink ended the run, too: some 500 evaluations.
    pub(super) explains_stops: bool,
}

impl<T: Scalar, M> Driver<T, M> {
    /// Storage for states of dim x batch; `make` makes the stepper's, told how errors are measured.
    pub(crate) fn make(
        dim: usize,
        batch: usize,
        options: &Options,
        make: impl FnOnce((Norm, &Scale<T>)) -> M,
    ) -> Result<Self, OdeError> {
        options.check()?;
        if dim * batch == 0 {
            let what = format!("a state of {dim} components and a batch of {batch} is empty");
            return Err(OdeError::Mismatch { what });
        }
        let (scale, y_end) = (options.scale(dim, batch)?, vec![T::ZERO; dim * batch]);
        let domain = Domain::new(options, dim)?;
        Ok(Self {
            stepper: make((options.norm, &scale)),
            y_end,
            y_next: vec![],
            scale,
            domain,
            fired: Fired::default(),
            last: None,
            options: options.clone(),
            dim,
            batch,
            explains_stops: true,
        })
    }
    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }
    pub(super) fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }
}

impl<T: Scalar, M: Carrier<T>> Driver<T, M> {
    /// The final state of the last run.
    pub fn y(&self) -> &[T] {
        self.stepper.y()
    }
    pub(super) fn limits(&self) -> Limits<T> {
        Limits::new(&self.options, self.stepper.facts().control_order)
    }
    pub(super) fn set_start<K: StepSink<T>>(
        &mut self,
        span: (T, T),
        y0: &[T],
        sinks: &mut K,
    ) -> Result<(), OdeError> {
        sinks.start(&Start { t0: span.0, t1: span.1, y0, dim: self.dim, smooth: M::SMOOTH })?;
        self.stepper.start(y0);
        Ok(())
    }

    /// Integrates from (t0, y0) to t1, forwards or backwards; `sinks` see every accepted step.
    pub fn run<S, K: StepSink<T>>(
        &mut self,
        system: &mut S,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError>
    where
        M: Stepper<T, S>,
    {
        self.stepper.check(system, &Ask { dim: self.dim, batch: self.batch, span, y0, p })?;
        // A panic of the user's functions or sinks becomes an error: all storage here is overwritten by the next run.
        catch(|| {
            self.set_start(span, y0, sinks)?;
            self.stepper.prepare(system, span, sinks.wants_keep())?;
            Ok(self.drive(system, span, p, sinks))
        })?
    }

    fn drive<S, K: StepSink<T>>(&mut self, s: &mut S, span: (T, T), p: &[T], sinks: &mut K) -> OdeReport
    where
        M: Stepper<T, S>,
    {
        self.last = None;
        match self.begin(s, span, p) {
            Ok(d) => self.go(s, d, p, sinks),
            Err(report) => report,
        }
    }

    fn go<S, K: StepSink<T>>(&mut self, s: &mut S, mut d: Pace<T>, p: &[T], sinks: &mut K) -> OdeReport
    where
        M: Stepper<T, S>,
    {
        let mut changed = vec![];
        let mut stop = self.steps(s, p, sinks, &mut d, &mut changed);
        let early = matches!(stop, OdeStop::StepUnderflow | OdeStop::NotFinite) && d.counts.accepted == 0;
        if early && !self.stepper.starts(s, d.t, p, &mut d.counts) {
            stop = OdeStop::StartNotFinite;
        }
        self.last = Some(d.clone());
        self.end(s, if changed.is_empty() { p } else { &changed }, stop, &mut d)
    }

    /// Where the last run stood after its last step, to go on from there ([`resume`](Self::resume)) with this integrator or another of the same method and options; none before
    /// the first run, or where the start was not finite.
    pub fn saved(&self) -> Option<Saved> {
        let numbers = |x: &[T]| x.iter().map(|v| Bits(v.f64())).collect();
        let pace = self.last.as_ref()?.save();
        Some(Saved { y: numbers(self.stepper.y()), carried: self.stepper.carried(), pace })
    }

    /// Goes on from a saved state to t1: the steps are, bit for bit, those of the run that was interrupted after a step. Counts go on, too; the sinks begin anew.
    pub fn resume<S, K: StepSink<T>>(
        &mut self,
        system: &mut S,
        saved: &Saved,
        t1: T,
        p: &[T],
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError>
    where
        M: Stepper<T, S>,
    {
        let y: Vec<T> = saved.y.iter().map(|v| T::of(v.0)).collect();
        let t = T::of(saved.t());
        let ask = Ask { dim: self.dim, batch: self.batch, span: (t, t1), y0: &y, p };
        self.stepper.check(system, &ask)?;
        check_len("what is carried besides the state", saved.carried.len(), self.stepper.carried().len())?;
        saved.goes_on_to(t1.f64())?;
        catch(|| {
            self.last = None;
            self.set_start((t, t1), &y, sinks)?;
            self.stepper.prepare(system, (t, t1), sinks.wants_keep())?;
            self.stepper.carry(&saved.carried)?;
            let pace = Pace::resume(&saved.pace, t1, &self.options.stops);
            Ok(self.go(system, pace, p, sinks))
        })?
    }

    /// The derivative at the start and the first step, from the start in y().
    #[allow(clippy::result_large_err)] // Once an integration.
    pub(super) fn begin<S>(&mut self, s: &mut S, span: (T, T), p: &[T]) -> Result<Pace<T>, OdeReport>
    where
        M: Stepper<T, S>,
    {
        let mut d = Pace::new(span, &self.options.stops);
        match self.stepper.begin(s, span, p, (&self.options, &self.scale), &mut d.counts) {
            Some(h) => d.h = h,
            None => {
                let report = self.report(OdeStop::StartNotFinite, &d);
                let component = self.stepper.slope().iter().position(|k| !k.is_finite());
                let diagnosis = component.map(|component| Diagnosis::NotFinite { component });
                return Err(OdeReport { diagnosis, ..report });
            }
        }
        Ok(d)
    }

    /// The report, with the stiffness where the integration failed; the last state is in y().
    pub(super) fn end<S>(&mut self, s: &mut S, p: &[T], stop: OdeStop, d: &mut Pace<T>) -> OdeReport
    where
        M: Stepper<T, S>,
    {
        if matches!(stop, OdeStop::MaxSteps | OdeStop::StepUnderflow) {
            d.stiffness = self.stepper.probe(s, (d.t, d.h), p, &mut d.counts);
        }
        let hard = matches!(stop, OdeStop::MaxSteps | OdeStop::StepUnderflow);
        let asked = stop != OdeStop::Stopped || self.explains_stops;
        if M::SMOOTH && (hard || (asked && (d.stiff.at.is_some() || d.rough.many(&d.counts)))) {
            d.jump = self.find_jump(s, p, d);
        }
        let lost = if stop == OdeStop::Finished {
            self.stepper.lost(s, d.t, p, &self.scale, &mut d.counts)
        } else {
            None
        };
        let report = self.report(stop, d);
        let lost = lost.map(|Lost { component, change, tolerance }| Diagnosis::InvariantLost {
            component,
            change,
            tolerance,
        });
        OdeReport { diagnosis: report.diagnosis.or(lost), ..report }
    }

    /// A jump of the field near the end: along y + theta h f, or in time.
    #[cold]
    fn find_jump<S>(&mut self, s: &mut S, p: &[T], d: &mut Pace<T>) -> Option<Jump>
    where
        M: Stepper<T, S>,
    {
        let (t, h, counts, stepper) = (d.t, d.h, &mut d.counts, &self.stepper);
        let y = stepper.y();
        let (mut f, mut at) = (y.to_vec(), y.to_vec());
        stepper.derivative(s, At::new(t, y, p), &mut f, counts);
        let along = |theta: T, out: &mut [T]| {
            at.iter_mut().zip(y).zip(&f).for_each(|((a, y), f)| *a = *y + theta * h * *f);
            stepper.derivative(s, At::new(t, &at, p), out, counts);
        };
        if let Some((component, [a, b])) = jump(along, y.len()) {
            return Some(Jump { component, points_back: a * b < T::ZERO });
        }
        let in_time = |theta: T, out: &mut [T]| {
            stepper.derivative(s, At::new(t + T::of(16.0) * theta * h, y, p), out, counts);
        };
        jump(in_time, y.len()).map(|(component, _)| Jump { component, points_back: false })
    }

    /// `changed`: the parameters once an event has changed them.
    #[inline(never)]
    fn steps<S, K: StepSink<T>>(
        &mut self,
        s: &mut S,
        given: &[T],
        sinks: &mut K,
        d: &mut Pace<T>,
        changed: &mut Vec<T>,
    ) -> OdeStop
    where
        M: Stepper<T, S>,
    {
        let (lim, bounded) = (self.limits(), !self.domain.is_everything());
        self.fired = Fired::default();
        if !M::SMOOTH {
            d.aim(sinks.next_stop(d.t));
        }
        loop {
            let p = if changed.is_empty() { given } else { &changed[..] };
            let (mut h, mut last) = match d.plan(&lim) {
                Ok(plan) => plan,
                Err(stop) => return stop,
            };
            let mut end = None;
            if !M::SMOOTH {
                let Some(step) = self.stepper.align(d.stretch(), h, last) else {
                    return OdeStop::StepUnderflow;
                };
                (h, last, end) = (step.h, step.last, Some(step.t_next));
            }
            if d.moved {
                self.stepper.refresh(s, d.t, p, &mut d.counts);
                d.moved = false;
            }
            let by = Measure { norm: self.options.norm, scale: &self.scale };
            let trial = self.stepper.attempt(s, (d.t, h), p, by, &mut d.counts);
            d.err = trial.error;
            let mut good = Pace::passes(&lim, trial.square);
            if good && !self.stepper.finish(s, (d.t, h), p, &mut d.counts) {
                (good, d.err) = (false, T::of(f64::NAN));
            }
            if good && bounded {
                good = self.stays(d);
            }
            if !good {
                if M::SMOOTH {
                    d.rough.add(d.t.f64(), h.f64(), d.err.f64());
                }
                match d.reject(&lim, h, d.err.f64()) {
                    Ok(()) => continue,
                    Err(stop) => return stop,
                }
            }
            let t_next = d.advance(&lim, h, last, trial.square);
            let t_next = end.unwrap_or(t_next);
            if self.accept(s, p, sinks, d, h, t_next).is_break() {
                return self.fired.reason;
            }
            if !self.fired.params.is_empty() {
                changed.clone_from(&self.fired.params);
            }
            if d.at_end() {
                return OdeStop::Finished;
            }
            if !M::SMOOTH {
                d.aim(sinks.next_stop(d.t));
            }
        }
    }

    /// Whether the step ends inside the domain, or may end outside.
    #[cold]
    fn stays(&mut self, d: &mut Pace<T>) -> bool {
        let place = self.domain.place(self.stepper.end_mut());
        self.fired.clipped = place == Place::Clipped;
        d.moved |= self.fired.clipped;
        d.counts.outside += (place == Place::Outside) as u64;
        let stays = place != Place::Outside || self.options.fixed_step.is_some();
        if !stays {
            // No error of the method, so a finite one: the next attempt is as short as the controller allows.
            d.err = T::of(f32::MAX as f64);
        }
        stays
    }

    /// Shows the step to the sinks and moves on.
    #[inline(always)]
    fn accept<S, K: StepSink<T>>(
        &mut self,
        s: &mut S,
        p: &[T],
        sinks: &mut K,
        d: &mut Pace<T>,
        h: T,
        t_next: T,
    ) -> ControlFlow<()>
    where
        M: Stepper<T, S>,
    {
        let (flow, moved, t_end) = self.show(s, p, sinks, d, h, t_next);
        d.moved |= moved;
        d.move_to(t_end);
        self.stepper.commit(if moved { Some(&mut self.y_end) } else { None });
        self.stepper.lend(
            #[inline(always)]
            |buffers| sinks.retain(buffers),
        );
        flow
    }

    /// Shows an accepted step to the sinks: (flow, whether y_end is where to go on, the end).
    #[inline(always)]
    pub(super) fn show<S, K: StepSink<T>>(
        &mut self,
        s: &mut S,
        p: &[T],
        sinks: &mut K,
        d: &mut Pace<T>,
        h: T,
        t_next: T,
    ) -> (ControlFlow<()>, bool, T)
    where
        M: Stepper<T, S>,
    {
        let stability = self.stepper.facts().stability;
        let check = stability.is_finite() && d.stiffness_due();
        let mut body = self.stepper.body(s, p);
        self.fired.clear();
        let room = (&mut self.y_end[..], &mut self.y_next, &mut self.fired);
        let mut step =
            Step::new(&mut body, (d.from, d.t, h, t_next), d.err, d.counts.accepted, room, &mut d.counts);
        let flow = sinks.accepted(&mut step);
        if check {
            let estimate = step.stiffness();
            d.stiff.add(d.t, (estimate * h).abs().f64(), stability);
        }
        d.stiffness = step.stiffness.or(d.stiffness);
        let (changed, shortened, t_end) = (step.changed, step.is_shortened(), step.t1());
        drop(body);
        if changed {
            self.y_end.copy_from_slice(&self.y_next);
        }
        (flow, changed || shortened, t_end)
    }

    fn report(&self, stop: OdeStop, d: &Pace<T>) -> OdeReport {
        let stability = self.stepper.facts().stability;
        let stiff = d.stiffness.map(|s| (s * d.h).abs().f64() / stability);
        let (t, h, error, epsilon) = (d.t.f64(), d.h.f64(), d.err.f64(), T::EPSILON.f64());
        let (span, counts, rough) = (d.span().f64(), &d.counts, &d.rough);
        let (stiff_from, jump) = (d.stiff.at.map(T::f64), d.jump);
        let evidence = Evidence { stop, t, h, error, span, epsilon, stiff, stiff_from, counts, rough, jump };
        let diagnosis = evidence.diagnosis();
        let chatters = matches!(diagnosis, Some(Diagnosis::Chattering { .. }));
        OdeReport {
            stop,
            t: d.t.f64(),
            h: d.h.f64(),
            error: d.err.f64(),
            stiffness: d.stiffness.map(T::f64),
            stability,
            // Crossing a jump looks like a large eigenvalue.
            stiff_at: d.stiff.at.filter(|_| !chatters).map(T::f64),
            diagnosis,
            counts: d.counts,
        }
    }
}
