//! Forward pass, tape and reverse sweep of Rosenbrock methods.

use super::gradient::{Bars, Replay};
use super::reverse::StepBars;
use super::rosenbrock::RosTransposed;
use super::sweep::{
    AtEvent, EventBars, Steps, check_options, check_replay, check_reverse, end_bar, estimate_bars,
    find_saves, start_bar, sweep,
};
use super::tape::{Memory, Tape};
use crate::diff::{Linearizer, Map, Offers, need};
use crate::error::{catch, check_len};
use crate::linalg::Scalar;
use crate::linalg::kernels::Scale;
use crate::linsol::factors::Choice;
use crate::ode::stiff::Rosenbrock;
use crate::ode::{
    Norm, OdeCounts, OdeError, OdeReport, Options, RosenbrockTableau, StepSink, StiffIntegrator,
};

/// A differentiable solve of a stiff problem, as [`Adjoint`](super::Adjoint) for the methods of
/// [`StiffIntegrator`]: [`forward`](Self::forward) integrates and records, [`reverse`](Self::reverse) transposes what was done.
/// Banded and sparse Jacobians are held as there, and the sweep solves with the transpose of the same factors. Beside them it takes products of the field's
/// own: a pullback a stage, and one directional derivative of the pullback a stage.
///
/// ```
/// use costate::adjoint::{Bars, Memory, StiffAdjoint};
/// use costate::diff::{FnMap, Map};
/// use costate::ode::{Options, RODAS5P};
/// // y' = -p y, L = y(1): dL/dy0 = exp(-p), dL/dp = -exp(-p).
/// let field = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * y[0]).with_vjp(
///     |_t, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
///         yb[0] -= p[0] * w[0];
///         pb[0] -= y[0] * w[0];
///     },
/// );
/// let mut field = field.autonomous();
/// let mut solver = StiffAdjoint::new(&RODAS5P, 1, 1, &Options::tolerances(1e-10, 1e-10), Memory::States)?;
/// solver.forward(&mut field, (0.0, 1.0), &[1.0], &[2.0], &mut ())?;
/// let (mut y0_bar, mut p_bar) = ([0.0], [0.0]);
/// solver.reverse(&mut field, &[2.0], &Bars { y1: &[1.0], ..Bars::default() }, &mut y0_bar, &mut p_bar)?;
/// assert!((y0_bar[0] - (-2.0f64).exp()).abs() < 1e-9 && (p_bar[0] + (-2.0f64).exp()).abs() < 1e-9);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct StiffAdjoint<T: Scalar> {
    integrator: StiffIntegrator<T>,
    tape: Tape<T>,
    tr: RosTransposed<T>,
    scale: Scale<T>,
    dim: usize,
    saves: Vec<(T, usize)>,
}

impl<T: Scalar> StiffAdjoint<T> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static RosenbrockTableau,
        dim: usize,
        batch: usize,
        options: &Options,
        memory: Memory,
    ) -> Result<Self, OdeError> {
        check_options(options)?;
        Ok(Self {
            integrator: StiffIntegrator::new(method, dim, batch, options)?,
            tape: Tape::new(memory)?,
            tr: RosTransposed::new(Rosenbrock::new(method), dim, batch),
            scale: options.scale(dim, batch)?,
            dim,
            saves: vec![],
        })
    }
    /// The record of the last forward pass.
    pub fn tape(&self) -> &Tape<T> {
        &self.tape
    }
    /// As [`StiffIntegrator::structure`]; the reverse sweep solves with the same factors.
    pub fn structure(&self) -> Option<&Choice> {
        self.integrator.structure()
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
        self.tape.set_params(p);
        report.inspect_err(|_| self.tape.clear())
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

    /// As [`Adjoint::reverse_event`](super::Adjoint::reverse_event).
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
        let n = self.tr.st.y0.len();
        self.tape.check(n, event.is_some())?;
        check_len("the field's state", field.inputs(), self.dim)?;
        Linearizer::check(field, self.tr.ros.tab.name)?;
        need(field, Offers::VJP, "the reverse sweep")?;
        check_reverse(&self.tape, (n, field.n_params()), p, bars, y0_bar, p_bar)?;
        event.map_or(Ok(()), |e| e.check(n, p.len()))?;
        self.tr.st.prepare(field)?;
        end_bar(bars, &mut self.tr.lambda);
        self.tr.st.refill();
        self.tr.counts = OdeCounts { accepted: self.tape.len() as u64, ..OdeCounts::default() };
        let (t0, norm) = (self.tape.t[0], self.integrator.options().norm);
        let (tr, scale, saves) = (&mut self.tr, &self.scale, &mut self.saves);
        let event = event.map(|e| AtEvent::new(e, n));
        let mut pass = Pass { tr, scale, saves, norm, field, p, bars, event, p_bar };
        let swept = catch(|| sweep(&mut self.tape, &mut pass));
        let swept = swept.and_then(|()| pass.event.as_ref().map_or(Ok(()), AtEvent::finish));
        swept.inspect_err(|_| self.tape.clear())?;
        start_bar(bars, t0, &self.tr.lambda, y0_bar);
        Ok(self.tr.counts)
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
        self.tr.st.prepare(field)?;
        catch(|| self.replay_steps(field, p, y0, times))
    }

    fn replay_steps<F: Map<T>>(&mut self, field: &mut F, p: &[T], y0: &[T], times: &[T]) -> Replay<T> {
        let n = y0.len();
        let mut out = Replay::begin(&self.tape, y0, times);
        self.tr.st.y0.copy_from_slice(y0);
        self.tr.st.refill();
        let norm = self.integrator.options().norm;
        for j in 0..self.tape.len() {
            self.tr.step(field, self.tape.step(j), p);
            let (ros, st) = (&self.tr.ros, &mut self.tr.st);
            out.error.push(ros.error(norm, &self.scale, st));
            out.stiffness.push(ros.stiffness(st));
            find_saves(&self.tape, times, j, &mut self.saves);
            for &(theta, i) in &self.saves {
                let to = &mut out.saved[i * n..][..n];
                if theta == T::ONE {
                    to.copy_from_slice(&st.y1);
                } else {
                    ros.interpolate(theta, st, to);
                }
            }
            std::mem::swap(&mut st.y0, &mut st.y1);
        }
        out.y1 = self.tr.st.y0.clone();
        out
    }
}

/// One reverse sweep.
struct Pass<'a, 'b, T: Scalar, F> {
    tr: &'a mut RosTransposed<T>,
    scale: &'a Scale<T>,
    saves: &'a mut Vec<(T, usize)>,
    norm: Norm,
    field: &'a mut F,
    p: &'a [T],
    bars: &'a Bars<'b, T>,
    event: Option<AtEvent<'a, T>>,
    p_bar: &'a mut [T],
}

impl<T: Scalar, F: Map<T>> Steps<T> for Pass<'_, '_, T, F> {
    fn state(&mut self) -> &mut Vec<T> {
        &mut self.tr.st.y0
    }
    fn advance(&mut self, tape: &Tape<T>, a: usize, b: usize) {
        for j in a..b {
            self.tr.step(self.field, tape.step(j), self.p);
            std::mem::swap(&mut self.tr.st.y0, &mut self.tr.st.y1);
        }
        self.tr.counts.recomputed += (b - a) as u64;
    }
    fn reverse(&mut self, tape: &mut Tape<T>, j: usize) {
        let at = tape.step(j);
        let (error, stiffness) = estimate_bars(self.bars, j);
        let stored = tape.memory() == Memory::Stages;
        if stored {
            std::mem::swap(&mut self.tr.st.u, &mut tape.stages[j].k);
            self.tr.restore(self.field, at, self.p, stiffness != T::ZERO);
        } else {
            self.tr.step(self.field, at, self.p);
            self.tr.counts.recomputed += 1;
        }
        find_saves(tape, self.bars.times, j, self.saves);
        let mut end = None;
        if let Some(event) = self.event.as_mut().filter(|_| j + 1 == tape.len()) {
            let (theta, RosTransposed { ros, st, lambda, .. }) = (tape.end_of(j), &mut *self.tr);
            end = Some((theta, event.fix_time(|v| ros.rate(theta, at.1, st, v), lambda, self.p_bar)));
        }
        let bars = StepBars { error, stiffness, saves: self.saves, save_bars: self.bars.saved, end };
        self.tr.reverse(self.field, at, self.p, self.norm, self.scale, &bars, self.p_bar);
        if stored {
            std::mem::swap(&mut self.tr.st.u, &mut tape.stages[j].k);
        }
    }
}
