//! Forward pass, tape and reverse sweep together.

use super::reverse::{StepBars, Transposed};
use super::sweep::{
    AtEvent, EventBars, Steps, check_options, check_replay, check_reverse, end_bar, estimate_bars,
    find_saves, start_bar, sweep,
};
use super::tape::{Memory, Tape};
use crate::diff::{Map, Offers, need};
use crate::error::{catch, check_len};
use crate::linalg::Scalar;
use crate::linalg::kernels::Scale;
use crate::ode::erk::Erk;
use crate::ode::{Integrator, Norm, OdeCounts, OdeError, OdeReport, Options, StepSink, Tableau};

/// Derivatives of the loss with respect to what the solver returned; empty slices are zeros.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars<'a, T> {
    /// With respect to y(t1).
    pub y1: &'a [T],
    /// Save points, in the order of integration.
    pub times: &'a [T],
    /// With respect to the states there, one after another.
    pub saved: &'a [T],
    /// With respect to each step's error estimate E_j.
    pub error: &'a [T],
    /// With respect to each step's stiffness estimate S_j.
    pub stiffness: &'a [T],
}

/// Results of the frozen-step program.
#[derive(Debug, Clone, Default)]
pub struct Replay<T> {
    /// Final state.
    pub y1: Vec<T>,
    /// States at the save points.
    pub saved: Vec<T>,
    /// E_j.
    pub error: Vec<T>,
    /// S_j.
    pub stiffness: Vec<T>,
}

impl<T: Scalar> Replay<T> {
    /// The save points at the start; zeros else.
    pub(crate) fn begin(tape: &Tape<T>, y0: &[T], times: &[T]) -> Self {
        let at = |t: &T| if *t == tape.span().0 { y0.to_vec() } else { vec![T::ZERO; y0.len()] };
        Self { saved: times.iter().flat_map(at).collect(), ..Self::default() }
    }
}

/// A differentiable solve: [`forward`](Self::forward) integrates and records, [`reverse`](Self::reverse) transposes what was done.
///
/// ```
/// use costate::adjoint::{Adjoint, Bars, Memory};
/// use costate::diff::{FnMap, Map};
/// use costate::ode::{Options, TSIT54};
/// // y' = -p y, L = y(1): dL/dy0 = exp(-p), dL/dp = -exp(-p).
/// let mut field = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * y[0]).with_vjp(
///     |_t, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
///         yb[0] -= p[0] * w[0];
///         pb[0] -= y[0] * w[0];
///     },
/// );
/// let mut solver = Adjoint::new(&TSIT54, 1, 1, &Options::tolerances(1e-10, 1e-10), Memory::States)?;
/// solver.forward(&mut field, (0.0, 1.0), &[1.0], &[2.0], &mut ())?;
/// let (mut y0_bar, mut p_bar) = ([0.0], [0.0]);
/// solver.reverse(&mut field, &[2.0], &Bars { y1: &[1.0], ..Bars::default() }, &mut y0_bar, &mut p_bar)?;
/// assert!((y0_bar[0] - (-2.0f64).exp()).abs() < 1e-9 && (p_bar[0] + (-2.0f64).exp()).abs() < 1e-9);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adjoint<T: Scalar> {
    integrator: Integrator<T>,
    tape: Tape<T>,
    tr: Transposed<T>,
    scale: Scale<T>,
    dim: usize,
    batch: usize,
    saves: Vec<(T, usize)>,
    y_start: Vec<T>,
    /// A copy of the final state, for Memory::Stages.
    y_final: Vec<T>,
}

impl<T: Scalar> Adjoint<T> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static Tableau,
        dim: usize,
        batch: usize,
        options: &Options,
        memory: Memory,
    ) -> Result<Self, OdeError> {
        check_options(options)?;
        Ok(Self {
            integrator: Integrator::new(method, dim, batch, options)?,
            tape: Tape::new(memory)?,
            tr: Transposed::new(Erk::new(method, dim), dim * batch),
            scale: options.scale(dim, batch)?,
            dim,
            batch,
            saves: vec![],
            y_start: vec![T::ZERO; dim * batch],
            y_final: vec![],
        })
    }
    /// The record of the last forward pass.
    pub fn tape(&self) -> &Tape<T> {
        &self.tape
    }
    /// The final state of the last forward pass.
    pub fn y(&self) -> &[T] {
        self.integrator.y()
    }

    /// Integrates, showing every step to `sinks` and recording it.
    pub fn forward<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        // After an error there is nothing to transpose, not even an earlier pass.
        self.tape.clear();
        let report = self.integrator.run(field, span, y0, p, &mut (sinks, &mut self.tape));
        let report = report.inspect_err(|_| self.tape.clear())?;
        self.tape.set_params(p);
        self.y_start.copy_from_slice(y0);
        if self.tape.memory() == Memory::Stages && !self.tape.is_empty() {
            // The end of the whole step where an event ended it.
            let whole = self.tape.end_of(self.tape.len() - 1) == T::ONE;
            let y = if whole { self.integrator.y() } else { &self.integrator.stepper.st.y1 };
            self.y_final.clear();
            self.y_final.extend_from_slice(y);
        }
        Ok(report)
    }

    /// Sets `y0_bar` to dL/dy(t0) and ADDS dL/dp to `p_bar`, for the steps of the last forward pass. The pass may have ended early; the bars then
    /// belong to where it ended. Can be called again only after another forward pass, except under [`Memory::Stages`] and [`Memory::States`].
    /// After an error `y0_bar` is as it was and `p_bar` may hold a part of the sum; a pullback that panics uses up the pass.
    pub fn reverse<F: Map<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        bars: &Bars<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError> {
        self.reverse_to(field, p, bars, None, y0_bar, p_bar)
    }

    /// As [`reverse`](Self::reverse) after a forward pass that a terminal event ([`AtEvent::Stop`](crate::ode::AtEvent::Stop)) ended: `bars.y1` belongs to the state at the event,
    /// whose time t_e moves with the start and the parameters as the event's function demands, on the interpolant of the last step. Save points stay where they are.
    pub fn reverse_event<F: Map<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        bars: &Bars<'_, T>,
        event: &EventBars<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError> {
        self.reverse_to(field, p, bars, Some(event), y0_bar, p_bar)
    }

    fn reverse_to<F: Map<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        bars: &Bars<'_, T>,
        event: Option<&EventBars<'_, T>>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError> {
        self.tape.check(self.tr.st.y0.len(), event.is_some())?;
        check_len("the field's state", field.inputs(), self.dim)?;
        need(field, Offers::VJP, "the reverse sweep")?;
        let (n, steps) = (self.tr.st.y0.len(), self.tape.len());
        check_reverse(&self.tape, (n, field.n_params()), p, bars, y0_bar, p_bar)?;
        event.map_or(Ok(()), |e| e.check(n, p.len()))?;
        self.tr.st.keep.resize(field.keep_len(self.batch) * self.tr.erk.tab.stages, T::ZERO);
        end_bar(bars, &mut self.tr.lambda);
        self.tr.has_handed = false;
        (self.tr.pullbacks, self.tr.evals) = (0, 0);
        let t0 = self.tape.t[0];
        let mut pass = Pass {
            tr: &mut self.tr,
            y_final: &mut self.y_final,
            scale: &self.scale,
            saves: &mut self.saves,
            norm: self.integrator.options().norm,
            field,
            p,
            bars,
            event: event.map(|e| AtEvent::new(e, n)),
            p_bar,
            recomputed: 0,
        };
        let swept = catch(|| {
            sweep(&mut self.tape, &mut pass);
            pass.tr.st.y0.copy_from_slice(&self.y_start);
            pass.tr.close(pass.field, t0, p, pass.p_bar);
        });
        let recomputed = pass.recomputed;
        let swept = swept.and_then(|()| pass.event.as_ref().map_or(Ok(()), AtEvent::finish));
        swept.inspect_err(|_| self.tape.clear())?;
        start_bar(bars, t0, &self.tr.lambda, y0_bar);
        Ok(OdeCounts {
            evals: self.tr.evals,
            pullbacks: self.tr.pullbacks,
            recomputed,
            accepted: steps as u64,
            ..OdeCounts::default()
        })
    }

    /// Runs the frozen steps of the last forward pass from another start or with other parameters: the program whose derivative `reverse` is.
    pub fn replay<F: Map<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        y0: &[T],
        times: &[T],
    ) -> Result<Replay<T>, OdeError> {
        self.tape.check(self.tr.st.y0.len(), false)?;
        check_len("the field's state", field.inputs(), self.dim)?;
        check_replay(&self.tape, (self.tr.st.y0.len(), field.n_params()), p, y0, times)?;
        catch(|| self.replay_steps(field, p, y0, times))
    }

    fn replay_steps<F: Map<T>>(&mut self, field: &mut F, p: &[T], y0: &[T], times: &[T]) -> Replay<T> {
        let n = y0.len();
        let mut out = Replay::begin(&self.tape, y0, times);
        self.tr.st.keep.clear();
        self.tr.st.y0.copy_from_slice(y0);
        let norm = self.integrator.options().norm;
        for j in 0..self.tape.len() {
            let (t, h) = self.tape.step(j);
            self.tr.run(field, (t, h), p, true);
            let (erk, st) = (&self.tr.erk, &mut self.tr.st);
            out.error.push(erk.error(norm, &self.scale, h, st));
            out.stiffness.push(erk.stiffness(h, st));
            find_saves(&self.tape, times, j, &mut self.saves);
            for &(theta, i) in &self.saves {
                let to = &mut out.saved[i * n..][..n];
                if theta == T::ONE {
                    to.copy_from_slice(&st.y1);
                } else {
                    erk.prepare_dense(field, t, h, p, st);
                    erk.interpolate(theta, h, st, to);
                }
            }
            std::mem::swap(&mut st.y0, &mut st.y1);
        }
        out.y1 = self.tr.st.y0.clone();
        out
    }
}

/// One reverse sweep.
struct Pass<'a, 'b, T, F> {
    tr: &'a mut Transposed<T>,
    /// Under Memory::Stages: the end of the last step.
    y_final: &'a mut Vec<T>,
    scale: &'a Scale<T>,
    saves: &'a mut Vec<(T, usize)>,
    norm: Norm,
    field: &'a mut F,
    p: &'a [T],
    bars: &'a Bars<'b, T>,
    event: Option<AtEvent<'a, T>>,
    p_bar: &'a mut [T],
    recomputed: u64,
}

impl<T: Scalar, F: Map<T>> Pass<'_, '_, T, F> {
    /// Exchanges stages and end of step j with what is stored; the end is the start of the next step, or the final state.
    fn swap_stored(&mut self, tape: &mut Tape<T>, j: usize) {
        let st = &mut self.tr.st;
        std::mem::swap(&mut st.k, &mut tape.stages[j].k);
        std::mem::swap(&mut st.keep, &mut tape.stages[j].keep);
        let end = match tape.held.get(j + 1) {
            Some(&(_, slot)) => &mut tape.slots[slot],
            None => &mut *self.y_final,
        };
        std::mem::swap(&mut st.y1, end);
        st.dense = false;
    }
}

impl<T: Scalar, F: Map<T>> Steps<T> for Pass<'_, '_, T, F> {
    fn state(&mut self) -> &mut Vec<T> {
        &mut self.tr.st.y0
    }
    fn advance(&mut self, tape: &Tape<T>, a: usize, b: usize) {
        let keep = std::mem::take(&mut self.tr.st.keep);
        for j in a..b {
            self.tr.run(self.field, tape.step(j), self.p, j == a || tape.restarts(j));
            std::mem::swap(&mut self.tr.st.y0, &mut self.tr.st.y1);
        }
        self.tr.st.keep = keep;
        self.recomputed += (b - a) as u64;
    }
    fn reverse(&mut self, tape: &mut Tape<T>, j: usize) {
        let at = tape.step(j);
        let stored = tape.memory() == Memory::Stages;
        if stored {
            self.swap_stored(tape, j);
        } else {
            self.tr.run(self.field, at, self.p, true);
            self.recomputed += 1;
        }
        find_saves(tape, self.bars.times, j, self.saves);
        let mut end = None;
        if let Some(event) = self.event.as_mut().filter(|_| j + 1 == tape.len()) {
            let (theta, Transposed { erk, st, lambda, .. }) = (tape.end_of(j), &mut *self.tr);
            erk.prepare_dense(self.field, at.0, at.1, self.p, st);
            end = Some((theta, event.fix_time(|v| erk.rate(theta, at.1, st, v), lambda, self.p_bar)));
        }
        let (error, stiffness) = estimate_bars(self.bars, j);
        let bars = StepBars { error, stiffness, saves: self.saves, save_bars: self.bars.saved, end };
        self.tr.reverse(self.field, at, self.p, self.norm, self.scale, &bars, self.p_bar);
        if tape.restarts(j) {
            self.tr.close(self.field, at.0, self.p, self.p_bar);
        }
        if stored {
            self.swap_stored(tape, j);
        }
    }
}
