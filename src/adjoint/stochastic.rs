//! Forward pass, tape and reverse sweep of stochastic integrations.

use std::ops::ControlFlow;

use super::srk::SdeTransposed;
use super::sweep::{
    Steps, check_options, check_replay, check_reverse, end_bar, estimate_bars, find_saves, start_bar, sweep,
};
use super::{Bars, Memory, Replay, Tape};
use crate::diff::{Map, Offers, need};
use crate::error::{catch, check_len};
use crate::linalg::Scalar;
use crate::linalg::kernels::{Scale, scaled_norm};
use crate::ode::{Norm, OdeError, Start};
use crate::sde::integrator::check_noise;
use crate::sde::srk::{SdeStages, Srk};
use crate::sde::{
    Brownian, BrownianPath, Noise, Sde, SdeBuffers, SdeCounts, SdeIntegrator, SdeMethod, SdeOptions,
    SdeReport, SdeSink, SdeStep,
};

/// A differentiable stochastic solve: [`forward`](Self::forward) integrates and records, [`reverse`](Self::reverse) transposes what was done.
///
/// The program that is differentiated is the sequence of accepted steps with step sizes and Brownian increments FROZEN: rejected attempts, the
/// controller and the path leave no trace. Bars may be given on y(t1), on save points of the forward pass, and on each step's E_j and S_j.
/// Memory as in [`crate::adjoint`]: under [`Memory::Stages`] and [`Memory::States`] the increments (and I10, where the method uses it) are kept with the states; under
/// the other policies they are read from the path again, bit for bit the same.
///
/// ```
/// use costate::adjoint::{Bars, Memory, SdeAdjoint};
/// use costate::diff::{FnMap, Map};
/// use costate::sde::{Brownian, Noise, Sde, SdeOptions, SOSRI};
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
/// let (mut sde, p) = (Sde::new(drift, noise, Noise::Diagonal)?, [2.0, 0.5]);
/// let options = SdeOptions::tolerances(1e-3, 1e-3);
/// let mut solver = SdeAdjoint::new(&SOSRI, Noise::Diagonal, 1, 1, &options, Memory::States)?;
/// solver.forward(&mut sde, (0.0, 1.0), &[3.0], &p, &Brownian::new(1), &mut ())?;
/// let (mut y0_bar, mut p_bar) = ([0.0], [0.0; 2]);
/// solver.reverse(&mut sde, &p, &Bars { y1: &[1.0], ..Bars::default() }, &mut y0_bar, &mut p_bar)?;
/// assert!((y0_bar[0] - solver.y()[0] / 3.0).abs() < 1e-12);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SdeAdjoint<T: Scalar> {
    integrator: SdeIntegrator<T>,
    tape: Tape<T>,
    record: Record<T>,
    tr: SdeTransposed<T>,
    saves: Vec<(T, usize)>,
}

/// What the tape does not hold: where each step lies on the path, its noise and, if wanted, its stages.
#[derive(Debug, Clone, Default)]
struct Record<T> {
    ticks: Vec<(u64, u64)>,
    /// Whether the method uses I10.
    with_area: bool,
    stored: Vec<Stored<T>>,
}

#[derive(Debug, Clone, Default)]
struct Stored<T> {
    w: Vec<T>,
    x2: Vec<T>,
    k: Vec<T>,
    g: Vec<T>,
    keep_k: Vec<T>,
    keep_g: Vec<T>,
}

impl<T: Scalar> Stored<T> {
    /// Exchanges the noise, and the stages if wanted, with those in `st`.
    fn swap(&mut self, st: &mut SdeStages<T>, with_area: bool, stages: bool) {
        let exchange = |a: &mut Vec<T>, b: &mut Vec<T>| {
            a.resize(b.len(), T::ZERO);
            std::mem::swap(a, b);
        };
        exchange(&mut self.w, &mut st.x[0]);
        if with_area {
            exchange(&mut self.x2, &mut st.x[2]);
        }
        if stages {
            exchange(&mut self.k, &mut st.k);
            exchange(&mut self.g, &mut st.g);
            exchange(&mut self.keep_k, &mut st.keep_k);
            exchange(&mut self.keep_g, &mut st.keep_g);
        }
    }
}

struct Recorder<'a, T: Scalar>(&'a mut Tape<T>, &'a mut Record<T>);

impl<T: Scalar> SdeSink<T> for Recorder<'_, T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.0.begin(start.y0.len());
        self.1.ticks.clear();
        Ok(())
    }
    fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()> {
        self.0.record(step.t, step.h, step.t_next, &step.st.y0);
        self.1.ticks.push(step.ticks);
        ControlFlow::Continue(())
    }
    fn retain(&mut self, stages: &mut SdeBuffers<'_, T>) {
        let memory = self.0.memory();
        if !matches!(memory, Memory::Stages | Memory::States) {
            return;
        }
        let j = self.1.ticks.len() - 1;
        if self.1.stored.len() == j {
            self.1.stored.push(Stored::default());
        }
        self.1.stored[j].swap(stages.0, self.1.with_area, memory == Memory::Stages);
    }
    fn wants_keep(&self) -> bool {
        self.0.memory() == Memory::Stages
    }
}

impl<T: Scalar> SdeAdjoint<T> {
    /// Storage for states of dim x batch, with this shape of noise.
    pub fn new(
        method: &'static SdeMethod,
        noise: Noise,
        dim: usize,
        batch: usize,
        options: &SdeOptions,
        memory: Memory,
    ) -> Result<Self, OdeError> {
        let integrator = SdeIntegrator::new(method, noise, dim, batch, options)?;
        check_options(&integrator.options)?;
        Ok(Self {
            tape: Tape::new(memory)?,
            record: Record { with_area: method.needs_area(), ..Record::default() },
            tr: SdeTransposed::new(&integrator.srk),
            saves: vec![],
            integrator,
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
    /// Bytes kept of the forward pass.
    pub fn bytes(&self) -> usize {
        let of = |s: &Stored<T>| {
            [&s.w, &s.x2, &s.k, &s.g, &s.keep_k, &s.keep_g].iter().map(|v| v.capacity()).sum::<usize>()
        };
        let stored = self.record.stored.iter().map(of).sum::<usize>() * size_of::<T>();
        let headers = self.record.stored.capacity() * size_of::<Stored<T>>();
        self.tape.bytes() + stored + headers + self.record.ticks.capacity() * size_of::<(u64, u64)>()
    }

    /// Integrates, showing every step to `sinks` and recording it.
    pub fn forward<F: Map<T>, G: Map<T>, S: SdeSink<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        span: (T, T),
        y0: &[T],
        p: &[T],
        brownian: &Brownian,
        sinks: &mut S,
    ) -> Result<SdeReport, OdeError> {
        // After an error there is nothing to transpose, not even an earlier pass.
        self.tape.clear();
        let mut recorder = Recorder(&mut self.tape, &mut self.record);
        let report = self.integrator.run(sde, span, y0, p, brownian, &mut (sinks, &mut recorder));
        self.tape.set_params(p);
        report.inspect_err(|_| self.tape.clear())
    }

    /// Sets `y0_bar` to dL/dy(t0) and ADDS dL/dp to `p_bar`, for the steps of the last forward pass. The pass may have ended early; the bars then
    /// belong to where it ended. Times of the bars must be ends of steps: save points of the forward pass. Can be called again only
    /// after another forward pass, except under [`Memory::Stages`] and [`Memory::States`].
    /// After an error `y0_bar` is as it was and `p_bar` may hold a part of the sum; a pullback that panics uses up the pass.
    pub fn reverse<F: Map<T>, G: Map<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        p: &[T],
        bars: &Bars<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<SdeCounts, OdeError> {
        self.tape.check(self.integrator.srk.n(), false)?;
        self.check_equation(sde)?;
        need(&sde.drift, Offers::VJP, "the reverse sweep of the drift")?;
        need(&sde.diffusion, Offers::VJP, "the reverse sweep of the diffusion")?;
        let (n, t0) = (self.integrator.srk.n(), self.tape.t[0]);
        check_reverse(&self.tape, (n, sde.n_params()), p, bars, y0_bar, p_bar)?;
        self.check_saves(bars.times)?;
        self.integrator.srk.resize_keep(sde, true, &mut self.tr.st);
        end_bar(bars, &mut self.tr.lambda);
        self.tr.pullbacks = 0;
        let counts = SdeCounts { accepted: self.tape.len() as u64, ..SdeCounts::default() };
        let SdeIntegrator { srk, path, scale, options, .. } = &mut self.integrator;
        let mut pass = Pass {
            srk,
            path,
            error: (options.norm, scale),
            record: &mut self.record,
            tr: &mut self.tr,
            saves: &mut self.saves,
            sde,
            p,
            bars,
            p_bar,
            counts,
        };
        let swept = catch(|| sweep(&mut self.tape, &mut pass));
        let counts = pass.counts;
        swept.inspect_err(|_| self.tape.clear())?;
        start_bar(bars, t0, &self.tr.lambda, y0_bar);
        Ok(SdeCounts { pullbacks: self.tr.pullbacks, ..counts })
    }

    /// Runs the frozen steps of the last forward pass, with the same increments, from another start or with other parameters: the program
    /// whose derivative `reverse` is. Times must be ends of steps.
    pub fn replay<F: Map<T>, G: Map<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        p: &[T],
        y0: &[T],
        times: &[T],
    ) -> Result<Replay<T>, OdeError> {
        self.tape.check(self.integrator.srk.n(), false)?;
        self.check_equation(sde)?;
        check_replay(&self.tape, (self.integrator.srk.n(), sde.n_params()), p, y0, times)?;
        self.check_saves(times)?;
        catch(|| self.replay_steps(sde, p, y0, times))
    }

    fn replay_steps<F: Map<T>, G: Map<T>>(
        &mut self,
        sde: &mut Sde<F, G>,
        p: &[T],
        y0: &[T],
        times: &[T],
    ) -> Replay<T> {
        let n = y0.len();
        let mut out = Replay::begin(&self.tape, y0, times);
        let SdeIntegrator { srk, path, scale, options, .. } = &mut self.integrator;
        let st = &mut self.tr.st;
        srk.resize_keep(sde, false, st);
        st.y0.copy_from_slice(y0);
        for j in 0..self.tape.len() {
            let (t, h) = self.tape.step(j);
            noise_from_path(srk, path, self.record.ticks[j], h, st);
            srk.step(sde, t, h, p, st);
            srk.error(h, st);
            out.error.push(scaled_norm(options.norm, scale, &st.y0, &st.y1, &st.arg));
            out.stiffness.push(srk.stiffness(h, st));
            find_saves(&self.tape, times, j, &mut self.saves);
            for &(_, i) in &self.saves {
                out.saved[i * n..][..n].copy_from_slice(&st.y1);
            }
            std::mem::swap(&mut st.y0, &mut st.y1);
        }
        out.y1 = st.y0.clone();
        out
    }

    fn check_equation<F: Map<T>, G: Map<T>>(&self, sde: &Sde<F, G>) -> Result<(), OdeError> {
        let srk = &self.integrator.srk;
        check_len("the drift's state", sde.drift.inputs(), srk.dim)?;
        check_noise(srk.method, srk.noise, sde)
    }

    /// Every time must be t0 or the end of a step.
    fn check_saves(&self, times: &[T]) -> Result<(), OdeError> {
        let (t0, ends) = (self.tape.t[0], &self.tape.t_next);
        for (i, &t) in times.iter().enumerate() {
            let j = ends.partition_point(|&end| end < t);
            if t != t0 && ends.get(j) != Some(&t) {
                let what = format!("save point {i}, t = {}, was no save point of the forward pass", t.f64());
                return Err(OdeError::Mismatch { what });
            }
        }
        Ok(())
    }
}

/// The noise of a step, from the path.
fn noise_from_path<T: Scalar>(
    srk: &Srk<T>,
    path: &mut BrownianPath,
    (from, to): (u64, u64),
    h: T,
    st: &mut SdeStages<T>,
) {
    path.seek(from);
    let (w, area) = path.look(to);
    srk.set_noise(h, w, area, st);
    path.accept();
}

/// What stays the same during one reverse sweep.
struct Pass<'a, 'b, T: Scalar, F, G> {
    srk: &'a Srk<T>,
    path: &'a mut BrownianPath,
    error: (Norm, &'a Scale<T>),
    record: &'a mut Record<T>,
    tr: &'a mut SdeTransposed<T>,
    saves: &'a mut Vec<(T, usize)>,
    sde: &'a mut Sde<F, G>,
    p: &'a [T],
    bars: &'a Bars<'b, T>,
    p_bar: &'a mut [T],
    counts: SdeCounts,
}

impl<T: Scalar, F: Map<T>, G: Map<T>> Pass<'_, '_, T, F, G> {
    fn step(&mut self, (t, h): (T, T)) {
        let (f, g) = self.srk.step(self.sde, t, h, self.p, &mut self.tr.st);
        self.counts.drift += f;
        self.counts.diffusion += g;
        self.counts.recomputed += 1;
    }
}

impl<T: Scalar, F: Map<T>, G: Map<T>> Steps<T> for Pass<'_, '_, T, F, G> {
    fn state(&mut self) -> &mut Vec<T> {
        &mut self.tr.st.y0
    }

    fn advance(&mut self, tape: &Tape<T>, a: usize, b: usize) {
        let keep = (std::mem::take(&mut self.tr.st.keep_k), std::mem::take(&mut self.tr.st.keep_g));
        for j in a..b {
            let (t, h) = tape.step(j);
            noise_from_path(self.srk, self.path, self.record.ticks[j], h, &mut self.tr.st);
            self.step((t, h));
            std::mem::swap(&mut self.tr.st.y0, &mut self.tr.st.y1);
        }
        (self.tr.st.keep_k, self.tr.st.keep_g) = keep;
    }

    fn reverse(&mut self, tape: &mut Tape<T>, j: usize) {
        let (n, (t, h)) = (self.srk.n(), tape.step(j));
        // All of them at the end of the step.
        find_saves(tape, self.bars.times, j, self.saves);
        for &(_, i) in &*self.saves {
            let bar = &self.bars.saved[i * n..][..n];
            self.tr.lambda.iter_mut().zip(bar).for_each(|(l, b)| *l += *b);
        }
        let stages = tape.memory() == Memory::Stages;
        let stored = stages || tape.memory() == Memory::States;
        if stored {
            self.record.stored[j].swap(&mut self.tr.st, self.record.with_area, stages);
            self.srk.finish_noise(h, &mut self.tr.st);
        } else {
            noise_from_path(self.srk, self.path, self.record.ticks[j], h, &mut self.tr.st);
        }
        if stages {
            self.srk.finish(h, &mut self.tr.st);
        } else {
            self.step((t, h));
        }
        let estimates = estimate_bars(self.bars, j);
        self.tr.reverse(self.srk, self.sde, (t, h), self.p, self.error, estimates, self.p_bar);
        if stored {
            self.record.stored[j].swap(&mut self.tr.st, self.record.with_area, stages);
        }
    }
}
