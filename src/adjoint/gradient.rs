//! Forward pass, tape and reverse sweep together.

use super::jumps::{Crossed, Happened, Jumps};
use super::sweep::{
    AtEvent, EventBars, Steps, add_after_event, check_replay, check_reverse, end_bar, estimate_bars,
    find_saves, start_bar, sweep,
};
use super::tape::{Memory, Tape};
use super::transpose::{Backward, Bars, Redo, Reverse, StepBars, Transpose};
use crate::error::catch;
use crate::linalg::kernels::Scale;
use crate::linalg::{Norm, Scalar};
use crate::linsol::factors::Choice;
use crate::ode::stepper::Measure;
use crate::ode::{
    Integrate, Integrator, Method, OdeCounts, OdeError, OdeReport, Options, StepSink, StiffIntegrator,
};
use crate::sde::SdeIntegrator;

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
/// The method is any [`Method`]: explicit, Nystrom's, linearly implicit, the automatic choice, or stochastic ([`SdeAdjoint`]).
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
pub struct Adjoint<T: Scalar, I: Transpose<T> = Integrator<T>> {
    integrator: I,
    tape: Tape<T>,
    back: I::Back,
    norm: Norm,
    scale: Scale<T>,
    dim: usize,
    /// Components that may not be negative.
    floors: Vec<usize>,
    n: usize,
    saves: Vec<(T, usize)>,
    /// In a pass along a direction: the bars of the derivatives of E_j.
    error_dot: Option<Vec<T>>,
}

/// A differentiable solve of a stiff problem by a Rosenbrock method. Banded and sparse Jacobians are held as by [`StiffIntegrator`], and the sweep solves with the
/// transpose of the same factors. Beside them it takes products of the field's own: a pullback a stage, and one directional derivative of the pullback a stage.
pub type StiffAdjoint<T> = Adjoint<T, StiffIntegrator<T>>;

/// A differentiable solve of a stochastic equation.
///
/// Step sizes AND Brownian increments are frozen: rejected attempts, the controller and the path leave no trace. Bars may be given on y(t1), on save points of the
/// forward pass, at which its steps end, and on each step's E_j and S_j. Under [`Memory::Stages`] and [`Memory::States`] the increments (and I10, where the method uses it) are
/// kept with the states; under the other policies they are read from the path again, bit for bit the same.
///
/// ```
/// use costate::adjoint::{Bars, Memory, SdeAdjoint};
/// use costate::diff::{FnMap, Map};
/// use costate::ode::Options;
/// use costate::sde::{Brownian, Noise, SOSRI, Sde};
/// // dy = -p0 y dt + p1 y dW, L = y(1): y(1) is linear in y0, so dL/dy0 = y(1) / y0.
/// let drift = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * y[0]).with_vjp(
///     |_t, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
///         yb[0] -= p[0] * w[0];
///         pb[0] -= y[0] * w[0];
///     },
/// );
/// let noise = FnMap::new(1, 1, |_t, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]).with_vjp(
///     |_t, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
///         yb[0] += p[0] * w[0];
///         pb[0] += y[0] * w[0];
///     },
/// );
/// let (mut sde, p) = (Sde::new(drift, noise, Noise::Diagonal)?.along(Brownian::new(1)), [2.0, 0.5]);
/// let options = Options::noisy().with_tolerances(1e-3, 1e-3);
/// let mut solver = SdeAdjoint::new(&SOSRI, 1, 1, &options, Memory::States)?;
/// solver.forward(&mut sde, (0.0, 1.0), &[3.0], &p, &mut ())?;
/// let (mut y0_bar, mut p_bar) = ([0.0], [0.0; 2]);
/// solver.reverse(&mut sde, &p, &Bars { y1: &[1.0], ..Bars::default() }, &mut y0_bar, &mut p_bar)?;
/// assert!((y0_bar[0] - solver.y()[0] / 3.0).abs() < 1e-12);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
pub type SdeAdjoint<T> = Adjoint<T, SdeIntegrator<T>>;

impl<T: Scalar> StiffAdjoint<T> {
    /// As [`StiffIntegrator::structure`]; the reverse sweep solves with the same factors.
    pub fn structure(&self) -> Option<&Choice> {
        self.integrator.structure()
    }
}

impl<T: Scalar, I: Transpose<T>> Adjoint<T, I> {
    /// Storage for states of dim x batch.
    pub fn new<D: Method<T, Integrator = I>>(
        method: D,
        dim: usize,
        batch: usize,
        options: &Options,
        memory: Memory,
    ) -> Result<Self, OdeError> {
        let integrator = method.integrator(dim, batch, options)?;
        Ok(Self {
            tape: Tape::new(memory)?,
            back: integrator.back(dim, batch),
            integrator,
            norm: options.norm,
            scale: options.scale(dim, batch)?,
            dim,
            floors: options.non_negative.clone(),
            n: dim * batch,
            saves: vec![],
            error_dot: None,
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
    pub fn forward<S, K: StepSink<T>>(
        &mut self,
        system: &mut S,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError>
    where
        I: Integrate<T, S>,
    {
        self.tape.with_jumps = false;
        self.record(system, span, y0, p, sinks)
    }

    /// As [`forward`](Self::forward) with events whose derivatives are known, which [`reverse_jumps`](Self::reverse_jumps) goes through. A save point at the time of an event, to rounding, takes the
    /// state before it, or after it ([`SaveAt::after_events`](crate::ode::SaveAt::after_events) and [`Jumps::after_events`]).
    pub fn forward_jumps<S, K: StepSink<T>>(
        &mut self,
        system: &mut S,
        span: (T, T),
        y0: &[T],
        p: &[T],
        jumps: &Jumps<'_, T>,
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError>
    where
        I: Integrate<T, S>,
    {
        self.tape.clear();
        jumps.check(self.n, p.len())?;
        self.tape.with_jumps = true;
        self.record(system, span, y0, p, &mut (&mut jumps.events(p), sinks))
    }

    fn record<S, K: StepSink<T>>(
        &mut self,
        system: &mut S,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError>
    where
        I: Integrate<T, S>,
    {
        // After an error there is nothing to transpose, not even an earlier pass.
        self.tape.clear();
        self.integrator.take_back(&mut self.back);
        let report = self.integrator.run(system, span, y0, p, &mut (sinks, &mut self.tape));
        let report = report.inspect_err(|_| self.tape.clear())?;
        self.integrator.hand_over(&mut self.back)?;
        self.tape.finish(p, if I::Back::TAKES_END { self.integrator.y() } else { &[] });
        Ok(report)
    }

    pub(super) fn n(&self) -> usize {
        self.n
    }
    pub(super) fn back_mut(&mut self) -> &mut I::Back {
        &mut self.back
    }
    /// The bars of the derivatives of E_j, for a pass along a direction.
    pub(super) fn error_dot_mut(&mut self) -> &mut Option<Vec<T>> {
        &mut self.error_dot
    }
    /// The same for `parts` times as large a batch. It has no forward pass of its own, but [`follow`](Self::follow).
    pub(super) fn wider(&self, parts: usize) -> Result<Self, OdeError> {
        let memory = if self.tape.memory() == Memory::Stages { Memory::States } else { self.tape.memory() };
        let n = self.n * parts;
        Ok(Self {
            tape: Tape::new(memory)?,
            back: self.integrator.back(self.dim, n / self.dim),
            integrator: self.integrator.clone(),
            scale: self.scale.clone(),
            floors: self.floors.clone(),
            saves: vec![],
            error_dot: None,
            n,
            ..*self
        })
    }
    /// Records the steps of another tape, made from y0 with the parameters p for a system that is here; `look` sees each step and its length.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn follow<S>(
        &mut self,
        of: &Tape<T>,
        system: &mut S,
        p: &[T],
        y0: &[T],
        times: &[T],
        mut look: impl FnMut(&mut I::Back, Measure<'_, T>, T),
        cross: impl FnMut(&mut I::Back, &mut S, &Happened<T>, (T, T), &mut [T]),
    ) -> Result<Replay<T>, OdeError>
    where
        I::Back: Reverse<T, S>,
    {
        let by = Measure { norm: self.norm, scale: &self.scale };
        let Self { back, tape, saves, n, .. } = self;
        tape.follow(of, *n);
        let prepared = back.prepare(system);
        let mut again = Again { back, tape: of, saves, system, p, times };
        let made = prepared.and_then(|()| {
            let see = |back: &mut I::Back, j: usize, h| {
                tape.record(of.t[j], h, of.t_next[j], back.start());
                look(back, by, h);
            };
            catch(|| again.run(y0, false, see, cross))
        });
        tape.finish(p, &[]);
        made.inspect_err(|_| tape.clear())
    }

    /// Sets `y0_bar` to dL/dy(t0) and ADDS dL/dp to `p_bar`, for the steps of the last forward pass, whose parameters `p` must be. The pass may have ended
    /// early; the bars then belong to where it ended. Can be called again only after another forward pass, except under [`Memory::Stages`] and [`Memory::States`].
    /// After an error `y0_bar` is as it was and `p_bar` may hold a part of the sum; a pullback that panics uses up the pass.
    pub fn reverse<S>(
        &mut self,
        system: &mut S,
        p: &[T],
        bars: &Bars<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError>
    where
        I::Back: Reverse<T, S>,
    {
        self.tape.check(self.n, false)?;
        self.reverse_to(system, p, bars, Through::Nothing, y0_bar, p_bar)
    }

    /// As [`reverse`](Self::reverse) after a forward pass that a terminal event ([`AtEvent::Stop`](crate::ode::AtEvent::Stop)) ended: `bars.y1` belongs to the state at the event,
    /// whose time t_e moves with the start and the parameters as the event's function demands, on the interpolant of the last step. Save points stay where they are.
    pub fn reverse_event<S>(
        &mut self,
        system: &mut S,
        p: &[T],
        bars: &Bars<'_, T>,
        event: &EventBars<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError>
    where
        I::Back: Reverse<T, S>,
    {
        self.tape.check(self.n, true)?;
        event.check(self.n, p.len())?;
        self.reverse_to(system, p, bars, Through::End(AtEvent::new(event, self.n)), y0_bar, p_bar)
    }

    /// As [`reverse`](Self::reverse) after [`forward_jumps`](Self::forward_jumps) with the same jumps. Where one of them ended the integration, `t_bar` is dL/dt of its time and `bars.y1`
    /// belongs to the state there. The step behind an event begins at a time that moves, which counts with dy/dt there: gradients are right to the method's error.
    #[allow(clippy::too_many_arguments)]
    pub fn reverse_jumps<S>(
        &mut self,
        system: &mut S,
        p: &[T],
        bars: &Bars<'_, T>,
        jumps: &Jumps<'_, T>,
        t_bar: T,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError>
    where
        I::Back: Reverse<T, S>,
    {
        self.tape.check_size(self.n)?;
        if !self.tape.with_jumps {
            self.tape.check(self.n, false)?;
        }
        jumps.check(self.n, p.len())?;
        let crossed = Crossed::new(jumps, t_bar, (self.n, p.len()));
        crossed.check(&self.tape.happened, self.tape.len())?;
        self.reverse_to(system, p, bars, Through::Jumps(crossed), y0_bar, p_bar)
    }

    fn reverse_to<S>(
        &mut self,
        system: &mut S,
        p: &[T],
        bars: &Bars<'_, T>,
        through: Through<'_, '_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError>
    where
        I::Back: Reverse<T, S>,
    {
        let sizes = (self.n, self.back.check(system)?);
        check_reverse(&self.tape, sizes, p, bars, y0_bar, p_bar)?;
        if !I::Back::SMOOTH {
            self.tape.check_ends(bars.times)?;
        }
        self.back.prepare(system)?;
        self.tape.after_events = matches!(&through, Through::Jumps(crossed) if crossed.saves_after());
        end_bar(bars, self.back.lambda());
        *self.back.counts() = OdeCounts { accepted: self.tape.len() as u64, ..OdeCounts::default() };
        let t0 = self.tape.t[0];
        // A change of parameters transposes the sum of all that came behind it, and nothing else.
        let mut own = vec![T::ZERO; if self.tape.changes_params() { p.len() } else { 0 }];
        let mut pass = Pass {
            back: &mut self.back,
            by: Measure { norm: self.norm, scale: &self.scale },
            saves: &mut self.saves,
            system,
            p,
            bars,
            error_dot: self.error_dot.as_deref(),
            through,
            p_bar: if own.is_empty() { &mut *p_bar } else { &mut own },
            changed: vec![],
            floors: (&self.floors, self.dim),
        };
        let swept = catch(|| sweep(&mut self.tape, &mut pass));
        let swept = swept.and_then(|()| pass.through.finish());
        swept.inspect_err(|_| self.tape.clear())?;
        p_bar.iter_mut().zip(&own).for_each(|(p, own)| *p += *own);
        start_bar(bars, t0, self.back.lambda(), y0_bar);
        Ok(*self.back.counts())
    }

    /// As [`forward`](Self::forward), but with the steps of a pass that a solver made with the same arguments recorded, whatever their errors become: with them
    /// the results are smooth functions of start and parameters. What [`reverse`](Self::reverse) and [`Tangent`](super::Tangent) take afterwards is this pass.
    ///
    /// # Errors
    /// A pass with events or cut off at zero, or save points where it has none.
    pub fn forward_along<S>(
        &mut self,
        of: &Tape<T>,
        system: &mut S,
        p: &[T],
        y0: &[T],
        times: &[T],
    ) -> Result<Replay<T>, OdeError>
    where
        I::Back: Reverse<T, S>,
    {
        of.check(self.n, false)?;
        let refused = |what: &str| Err(OdeError::Mismatch { what: what.to_string() });
        if self.tape.memory() == Memory::Stages {
            return refused(
                "along recorded steps a solver holds states, not stages: make it with Memory::States",
            );
        }
        let sizes = (self.n, self.back.check(system)?);
        check_replay(of, sizes, p, y0, times)?;
        if !I::Back::SMOOTH {
            of.check_ends(times)?;
        }
        self.tape.with_jumps = false;
        let (mut error, mut stiffness) = (vec![], vec![]);
        let look = |back: &mut I::Back, by: Measure<'_, T>, h: T| {
            let estimates = back.estimates(by, h);
            error.push(estimates.0);
            stiffness.push(estimates.1);
        };
        let out = self.follow(of, system, p, y0, times, look, |_, _, _, _, _| {})?;
        Ok(Replay { error, stiffness, ..out })
    }

    /// Runs the frozen steps of the last forward pass from another start or with other parameters: the program whose derivative `reverse` is.
    pub fn replay<S>(&mut self, system: &mut S, p: &[T], y0: &[T], times: &[T]) -> Result<Replay<T>, OdeError>
    where
        I::Back: Reverse<T, S>,
    {
        self.tape.check(self.n, false)?;
        let sizes = (self.n, self.back.check(system)?);
        check_replay(&self.tape, sizes, p, y0, times)?;
        if !I::Back::SMOOTH {
            self.tape.check_ends(times)?;
        }
        self.back.prepare(system)?;
        let (by, saves) = (Measure { norm: self.norm, scale: &self.scale }, &mut self.saves);
        let mut again = Again { back: &mut self.back, tape: &self.tape, saves, system, p, times };
        catch(|| {
            let (mut error, mut stiffness) = (vec![], vec![]);
            let look = |back: &mut I::Back, _, h| {
                let estimates = back.estimates(by, h);
                error.push(estimates.0);
                stiffness.push(estimates.1);
            };
            let out = again.run(y0, true, look, |_, _, _, _, _| {});
            Replay { error, stiffness, ..out }
        })
    }
}

/// The steps of a tape made again.
pub(super) struct Again<'a, T, B, S> {
    pub back: &'a mut B,
    pub tape: &'a Tape<T>,
    pub saves: &'a mut Vec<(T, usize)>,
    pub system: &'a mut S,
    pub p: &'a [T],
    pub times: &'a [T],
}

impl<T: Scalar, S, B: Reverse<T, S>> Again<'_, T, B, S> {
    /// From y0; `fresh`: no step takes anything over from the one before. `look` sees each step, its number and length; `cross` gets those that an event ended, of (t, h), and writes
    /// the state from which to go on.
    pub fn run(
        &mut self,
        y0: &[T],
        fresh: bool,
        mut look: impl FnMut(&mut B, usize, T),
        mut cross: impl FnMut(&mut B, &mut S, &Happened<T>, (T, T), &mut [T]),
    ) -> Replay<T> {
        let Self { back, tape, saves, system, p, times } = self;
        let n = y0.len();
        let (mut out, mut after) = (Replay::begin(tape, y0, times), vec![]);
        back.select(tape.recorded(0));
        back.start().copy_from_slice(y0);
        for j in 0..tape.len() {
            let step = tape.step(j);
            back.select(tape.recorded(j));
            back.redo(system, step, p, Redo::Advance { fresh: fresh || tape.is_fresh(j) });
            look(back, j, step.1);
            find_saves(tape, times, j, saves);
            for &(theta, i) in saves.iter() {
                let to = &mut out.saved[i * n..][..n];
                if theta == T::ONE {
                    to.copy_from_slice(back.end());
                } else {
                    back.interpolate(system, step, p, theta, to);
                }
            }
            let event = tape.event(j);
            if let Some(event) = event {
                after.resize(n, T::ZERO);
                cross(back, system, event, step, &mut after);
            }
            back.go_on();
            if event.is_some() {
                back.start().copy_from_slice(&after);
            }
        }
        out.y1 = back.start().clone();
        out
    }
}

/// The events that a sweep goes through.
enum Through<'a, 'm, T> {
    Nothing,
    End(AtEvent<'a, T>),
    Jumps(Crossed<'a, 'm, T>),
}

impl<T: Scalar> Through<'_, '_, T> {
    fn finish(&self) -> Result<(), OdeError> {
        match self {
            Self::Nothing => Ok(()),
            Self::End(event) => event.finish(),
            Self::Jumps(crossed) => crossed.finish(),
        }
    }
}

/// One reverse sweep.
struct Pass<'a, 'b, 'm, T, B, S> {
    back: &'a mut B,
    by: Measure<'a, T>,
    saves: &'a mut Vec<(T, usize)>,
    system: &'a mut S,
    p: &'a [T],
    bars: &'a Bars<'b, T>,
    error_dot: Option<&'a [T]>,
    through: Through<'a, 'm, T>,
    p_bar: &'a mut [T],
    /// The parameters of the step, where events change them.
    changed: Vec<T>,
    floors: Floors<'a>,
}

/// Components that are cut off at zero, of so many.
type Floors<'a> = (&'a [usize], usize);

/// The bars of what was cut off at the end of a step vanish: lambda is what the bars of states inside the step will add to that of its end, with the other sign.
fn cut_off<T: Scalar, B: Backward<T>>(back: &mut B, (floors, dim): Floors<'_>, bars: &StepBars<'_, T>) {
    for k in 0..back.end().len() {
        // Cut off, or about to be, as the end is stored or made again.
        if floors.contains(&(k % dim)) && back.end()[k] <= T::ZERO {
            let lambda = back.lambda();
            lambda[k] = -bars.states(lambda.len()).fold(T::ZERO, |sum, (theta, v)| sum + theta * v[k]);
        }
    }
}

impl<T: Scalar, S, B: Reverse<T, S>> Steps<T> for Pass<'_, '_, '_, T, B, S> {
    fn state(&mut self) -> &mut Vec<T> {
        self.back.start()
    }
    fn advance(&mut self, tape: &Tape<T>, a: usize, b: usize) {
        for j in a..b {
            self.back.select(tape.recorded(j));
            let fresh = j == a || tape.is_fresh(j);
            self.back.redo(self.system, tape.step(j), tape.params(j, self.p), Redo::Advance { fresh });
            self.back.go_on();
            if tape.is_clipped(j) {
                let (floors, dim) = self.floors;
                let state = self.back.start().iter_mut().enumerate();
                state
                    .filter(|(k, y)| floors.contains(&(k % dim)) && **y < T::ZERO)
                    .for_each(|(_, y)| *y = T::ZERO);
            }
            if let Some(event) = tape.event(j) {
                self.back.start().copy_from_slice(&event.after);
            }
        }
        self.back.counts().recomputed += (b - a) as u64;
    }
    fn reverse(&mut self, tape: &mut Tape<T>, j: usize) {
        let step = tape.step(j);
        if tape.changes_params() {
            self.changed.clear();
            self.changed.extend_from_slice(tape.params(j, self.p));
        }
        let p = if self.changed.is_empty() { self.p } else { &self.changed[..] };
        self.back.select(tape.recorded(j));
        let (error, stiffness) = estimate_bars(self.bars, j);
        let stages = tape.memory() == Memory::Stages;
        let stored = stages || (tape.memory() == Memory::States && B::KEEPS_NOISE);
        if stored {
            let (buffers, end) = tape.stored(j);
            self.back.exchange(buffers, end, stages);
        }
        if stages {
            self.back.restore(self.system, step, p, stiffness != T::ZERO);
        } else {
            self.back.redo(self.system, step, p, Redo::Transpose);
            self.back.counts().recomputed += 1;
        }
        find_saves(tape, self.bars.times, j, self.saves);
        let (back, theta) = (&mut *self.back, tape.end_of(j));
        add_after_event(tape, self.bars, j, back.lambda());
        let mut end = None;
        match (&mut self.through, tape.event(j)) {
            (Through::End(event), _) if j + 1 == tape.len() => {
                back.rate(self.system, step, p, theta, event.rate());
                end = Some((theta, event.fix_time(back.lambda(), self.p_bar)));
            }
            (Through::Jumps(crossed), Some(at)) => {
                back.rate(self.system, step, p, theta, crossed.rate());
                if crossed.goes_on(at) {
                    let behind = if at.params.is_empty() { p } else { &at.params };
                    back.slope(self.system, at.t, &at.after, behind, &mut crossed.slope);
                }
                crossed.transpose_params(at, p, self.p_bar);
                end = Some((theta, crossed.transpose(at, p, back.lambda(), self.p_bar)));
            }
            _ => {}
        }
        let error_dot = self.error_dot.map(|b| b.get(j).copied().unwrap_or(T::ZERO));
        let (saves, save_bars) = (&self.saves[..], self.bars.saved);
        let bars = StepBars { error, stiffness, error_dot, saves, save_bars, end };
        if tape.is_clipped(j) {
            cut_off(self.back, self.floors, &bars);
        }
        self.back.reverse(self.system, step, p, self.by, &bars, self.p_bar);
        if stored {
            let (buffers, end) = tape.stored(j);
            self.back.exchange(buffers, end, stages);
        }
        if tape.is_fresh(j) {
            self.back.close(self.system, step.0, p, self.p_bar);
        }
    }
}
