//! Forward pass, tape and reverse sweep together.

use super::reverse::{StepBars, Transposed};
use super::tape::{Memory, Tape, split};
use crate::linalg::Scalar;
use crate::ode::internal::{Erk, Scale, catch, check_len, check_save_points};
use crate::ode::{
    Integrator, OdeCounts, OdeError, OdeReport, Options, Pullback, StepSink, Tableau, VectorField,
};

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

/// A differentiable solve: [`forward`](Self::forward) integrates and records, [`reverse`](Self::reverse) transposes what was done.
///
/// ```
/// use costate::adjoint::{Adjoint, Bars, Memory};
/// use costate::ode::{FnPullback, Options, TSIT54};
/// // y' = -p y, L = y(1): dL/dy0 = exp(-p), dL/dp = -exp(-p).
/// let mut field = FnPullback::new(
///     1,
///     1,
///     |_t, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * y[0],
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
    recomputed: u64,
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
        Ok(Self {
            integrator: Integrator::new(method, dim, batch, options)?,
            tape: Tape::new(memory)?,
            tr: Transposed::new(Erk::new(method), dim * batch),
            scale: options.scale(dim, batch)?,
            dim,
            batch,
            saves: vec![],
            recomputed: 0,
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
    pub fn forward<F: VectorField<T>, S: StepSink<T>>(
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
        self.y_start.copy_from_slice(y0);
        if self.tape.memory() == Memory::Stages {
            self.y_final.clear();
            self.y_final.extend_from_slice(self.integrator.y());
        }
        Ok(report)
    }

    /// Sets `y0_bar` to dL/dy(t0) and ADDS dL/dp to `p_bar`, for the steps of the last forward pass. The pass may have ended early; the bars then
    /// belong to where it ended. Can be called again only after another forward pass, except under [`Memory::Stages`] and [`Memory::States`].
    pub fn reverse<F: Pullback<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        bars: &Bars<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<OdeCounts, OdeError> {
        self.check(field, p, bars, y0_bar, p_bar)?;
        let counts = catch(|| self.sweep(field, p, bars, y0_bar, p_bar));
        counts.inspect_err(|_| self.tape.clear())
    }

    fn sweep<F: Pullback<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        bars: &Bars<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> OdeCounts {
        let (n, steps) = (self.dim * self.batch, self.tape.len());
        let keep = field.keep_len(self.batch) * self.tr.erk.tab.stages;
        self.tr.st.keep.resize(keep, T::ZERO);
        self.tr.lambda.fill(T::ZERO);
        if !bars.y1.is_empty() {
            self.tr.lambda.copy_from_slice(bars.y1);
        }
        self.tr.has_handed = false;
        (self.tr.pullbacks, self.tr.evals, self.recomputed) = (0, 0, 0);
        let mut sweep = Sweep { field, p, bars, p_bar };
        let mut end = steps;
        if matches!(self.tape.memory(), Memory::Stages | Memory::States) {
            for j in (0..steps).rev() {
                let slot = self.tape.held[j].1;
                std::mem::swap(&mut self.tr.st.y0, &mut self.tape.slots[slot]);
                self.reverse_step(&mut sweep, j);
                std::mem::swap(&mut self.tr.st.y0, &mut self.tape.slots[slot]);
            }
        } else {
            while let Some((a, slot)) = self.tape.held.pop() {
                let spare = self.tape.spare();
                self.segment(&mut sweep, a, end, slot, spare);
                self.tape.free.push(slot);
                end = a;
            }
        }
        self.tr.finish(sweep.field, self.tape.t[0], &self.y_start, p, sweep.p_bar);
        y0_bar.copy_from_slice(&self.tr.lambda);
        let t0 = self.tape.t[0];
        for (i, _) in bars.times.iter().enumerate().filter(|(_, t)| **t == t0) {
            for (y, b) in y0_bar.iter_mut().zip(&bars.saved[i * n..][..n]) {
                *y += *b;
            }
        }
        if !matches!(self.tape.memory(), Memory::Stages | Memory::States) {
            self.tape.clear();
        }
        OdeCounts {
            evals: self.tr.evals,
            pullbacks: self.tr.pullbacks,
            recomputed: self.recomputed,
            accepted: steps as u64,
            ..OdeCounts::default()
        }
    }

    /// Runs the frozen steps of the last forward pass from another start or with other parameters: the program whose derivative `reverse` is.
    pub fn replay<F: VectorField<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        y0: &[T],
        times: &[T],
    ) -> Result<Replay<T>, OdeError> {
        let n = self.dim * self.batch;
        self.tape.check(n)?;
        check_len("the field's state", field.dim(), self.dim)?;
        check_len("the start", y0.len(), n)?;
        check_save_points(times, self.tape.t[0], self.tape.t_next[self.tape.len() - 1])?;
        check_len("the parameter vector", p.len(), field.n_params())?;
        catch(|| self.replay_steps(field, p, y0, times))
    }

    fn replay_steps<F: VectorField<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        y0: &[T],
        times: &[T],
    ) -> Replay<T> {
        let n = self.dim * self.batch;
        let mut out = Replay { saved: vec![T::ZERO; n * times.len()], ..Replay::default() };
        for (i, _) in times.iter().enumerate().filter(|(_, t)| **t == self.tape.t[0]) {
            out.saved[i * n..][..n].copy_from_slice(y0);
        }
        self.tr.st.keep.clear();
        self.tr.st.y0.copy_from_slice(y0);
        let norm = self.integrator.options().norm;
        for j in 0..self.tape.len() {
            let (t, h) = self.tape.step(j);
            self.stages_of(field, p, j, true);
            let (erk, st) = (&self.tr.erk, &mut self.tr.st);
            out.error.push(erk.error(norm, &self.scale, h, st));
            out.stiffness.push(erk.stiffness(h, st));
            self.find_saves(times, j);
            for &(theta, i) in &self.saves {
                let (erk, st) = (&self.tr.erk, &mut self.tr.st);
                let to = &mut out.saved[i * n..][..n];
                if theta == T::ONE {
                    to.copy_from_slice(&st.y1);
                } else {
                    erk.prepare_dense(field, t, h, p, st);
                    erk.interpolate(theta, h, st, to);
                }
            }
            self.tr.st.y0.copy_from_slice(&self.tr.st.y1);
        }
        out.y1 = self.tr.st.y0.clone();
        out
    }

    fn check<F: Pullback<T>>(
        &self,
        field: &F,
        p: &[T],
        bars: &Bars<'_, T>,
        y0_bar: &[T],
        p_bar: &[T],
    ) -> Result<(), OdeError> {
        let n = self.dim * self.batch;
        self.tape.check(n)?;
        check_len("the field's state", field.dim(), self.dim)?;
        check_len("the parameter vector", p.len(), field.n_params())?;
        check_len("p_bar", p_bar.len(), p.len())?;
        check_len("y0_bar", y0_bar.len(), n)?;
        let steps = self.tape.len();
        for (what, len, want) in [
            ("the bar of y(t1)", bars.y1.len(), n),
            ("the bar of the error estimates", bars.error.len(), steps),
            ("the bar of the stiffness estimates", bars.stiffness.len(), steps),
        ] {
            if len != 0 {
                check_len(what, len, want)?;
            }
        }
        check_len("the bar of the saved states", bars.saved.len(), n * bars.times.len())?;
        check_save_points(bars.times, self.tape.t[0], self.tape.t_next[steps - 1])
    }

    /// Reverses steps a..b, y_a in `slot`, with `spare` slots left.
    fn segment<F: Pullback<T>>(
        &mut self,
        sweep: &mut Sweep<'_, '_, T, F>,
        a: usize,
        b: usize,
        slot: usize,
        spare: usize,
    ) {
        if b - a == 1 || spare == 0 {
            for j in (a..b).rev() {
                self.load(slot);
                self.advance(sweep, a, j);
                self.reverse_step(sweep, j);
            }
            return;
        }
        let m = a + split(b - a, spare + 1);
        self.load(slot);
        self.advance(sweep, a, m);
        let middle = self.tape.take_slot();
        self.tape.slots[middle].copy_from_slice(&self.tr.st.y0);
        self.segment(sweep, m, b, middle, spare - 1);
        self.tape.free.push(middle);
        self.segment(sweep, a, m, slot, spare);
    }

    fn load(&mut self, slot: usize) {
        self.tr.st.y0.copy_from_slice(&self.tape.slots[slot]);
    }

    /// st.y0 from y_a to y_b.
    fn advance<F: Pullback<T>>(&mut self, sweep: &mut Sweep<'_, '_, T, F>, a: usize, b: usize) {
        if a == b {
            return;
        }
        let keep = std::mem::take(&mut self.tr.st.keep);
        for j in a..b {
            self.stages_of(sweep.field, sweep.p, j, j == a);
            std::mem::swap(&mut self.tr.st.y0, &mut self.tr.st.y1);
        }
        self.recomputed += (b - a) as u64;
        self.tr.st.keep = keep;
    }

    /// All stages of step j from st.y0; unless `first`, the last stage of the step before is k_0.
    fn stages_of<F: VectorField<T>>(&mut self, field: &mut F, p: &[T], j: usize, first: bool) {
        let (t, h) = self.tape.step(j);
        let (erk, st) = (&self.tr.erk, &mut self.tr.st);
        let (n, s) = (st.y0.len(), erk.tab.stages);
        if first {
            erk.eval_stage(field, 0, t, T::ZERO, p, st);
        } else {
            st.k.copy_within((s - 1) * n..s * n, 0);
        }
        erk.step(field, t, h, p, st);
        erk.finish(field, t, h, p, st);
        self.tr.evals += (s - 1 + first as usize) as u64;
    }

    /// Save points inside step j: (theta, index).
    fn find_saves(&mut self, times: &[T], j: usize) {
        let (t, h) = self.tape.step(j);
        let end = self.tape.t_next[j];
        self.saves.clear();
        let forward = h > T::ZERO;
        let first = times.partition_point(|&x| if forward { x <= t } else { x >= t });
        for (i, &x) in times.iter().enumerate().skip(first) {
            if (forward && x > end) || (!forward && x < end) {
                break;
            }
            self.saves.push((if x == end { T::ONE } else { (x - t) / h }, i));
        }
    }

    /// Transposes step j, whose start is in st.y0.
    fn reverse_step<F: Pullback<T>>(&mut self, sweep: &mut Sweep<'_, '_, T, F>, j: usize) {
        let (t, h) = self.tape.step(j);
        let stored = self.tape.memory() == Memory::Stages;
        if stored {
            self.swap_stages(j);
            self.swap_end(j);
            self.tr.st.dense = false;
        } else {
            self.stages_of(sweep.field, sweep.p, j, true);
            self.recomputed += 1;
        }
        self.find_saves(sweep.bars.times, j);
        let pick = |x: &[T]| x.get(j).copied().unwrap_or(T::ZERO);
        let saves = std::mem::take(&mut self.saves);
        let bars = StepBars {
            error: pick(sweep.bars.error),
            stiffness: pick(sweep.bars.stiffness),
            saves: &saves,
            save_bars: sweep.bars.saved,
        };
        let norm = self.integrator.options().norm;
        self.tr.reverse(sweep.field, (t, h), sweep.p, norm, &self.scale, &bars, sweep.p_bar);
        self.saves = saves;
        if stored {
            self.swap_end(j);
            self.swap_stages(j);
        }
    }

    /// The end of step j is the start of the next, or the final state.
    fn swap_end(&mut self, j: usize) {
        let end = match self.tape.held.get(j + 1) {
            Some(&(_, slot)) => &mut self.tape.slots[slot],
            None => &mut self.y_final,
        };
        std::mem::swap(&mut self.tr.st.y1, end);
    }

    fn swap_stages(&mut self, j: usize) {
        std::mem::swap(&mut self.tr.st.k, &mut self.tape.stages[j].k);
        std::mem::swap(&mut self.tr.st.keep, &mut self.tape.stages[j].keep);
    }
}

/// What stays the same during one reverse sweep.
struct Sweep<'a, 'b, T, F> {
    field: &'a mut F,
    p: &'a [T],
    bars: &'a Bars<'b, T>,
    p_bar: &'a mut [T],
}
