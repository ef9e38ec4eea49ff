//! The transpose of one stochastic step.
//!
//! With u = delta E1 + E2, E = |u / sc|, bars on y1, E and S, and the increments, like h, held fixed:
//!
//! ```text
//! u_bar, y1_bar += .., y0_bar += ..      from E;     K_i, H0_i_bar     from S
//! e2_bar = y1_bar + u_bar
//! K_i  += h (alpha_i y1_bar + delta e1_i u_bar + sum_{l>i} (a0_li H0_l_bar + a1_li H1_l_bar))
//! G_i   = (beta1_i x1 + beta2_i x11) y1_bar + (beta3_i x2 + beta4_i x3) e2_bar + sum_{l>i} (b0_li x2 H0_l_bar + sqrt(h) b1_li H1_l_bar)
//! H0_i_bar += (df/dy)'_i K_i,   H1_i_bar = (dg/dy)'_i G_i,   p_bar += (df/dp)'_i K_i + (dg/dp)'_i G_i
//! y0_bar += y1_bar + sum_i (H0_i_bar + H1_i_bar)
//! ```
//!
//! x1 = I1, x11 = I11/sqrt(h), x2 = I10/h, x3 = I111/h; for matrix noise a product x v stands for the matrix v x'.

use std::mem::{swap, take};

use super::norm::norm_bars;
use super::transpose::{Backward, Recorded, Redo, Reverse, StepBars, Stored, Transpose};
use crate::diff::{At, BarsMut, Kept, Map, Offers, need};
use crate::linalg::Scalar;
use crate::linalg::kernels::{add_scaled, scaled_norm};
use crate::ode::stepper::Measure;
use crate::ode::{OdeCounts, OdeError};
use crate::sde::path::Track;
use crate::sde::srk::{SdeStages, Srk};
use crate::sde::stepper::{check_equation, straight};
use crate::sde::{Sde, SdeIntegrator};

/// Stochastic steps backwards, along the path of the forward pass.
#[derive(Debug, Clone)]
pub struct StochasticTransposed<T: Scalar> {
    srk: Srk<T>,
    steps: SdeTransposed<T>,
    track: Track,
    /// Where the pass began on it.
    first: u64,
    /// The step at hand on it, and whether its noise is there already.
    ticks: (u64, u64),
    has_noise: bool,
    counts: OdeCounts,
}

impl<T: Scalar> StochasticTransposed<T> {
    /// All of the step, from its start.
    fn run<F: Map<T>, G: Map<T>>(&mut self, sde: &mut Sde<F, G>, (t, h): (T, T), p: &[T]) {
        let st = &mut self.steps.st;
        if self.has_noise {
            self.srk.finish_noise(h, st);
        } else {
            self.track.seek(self.ticks.0);
            let (w, area) = self.track.look(self.ticks.1);
            self.srk.set_noise(h, w, area, st);
            self.track.accept();
        }
        let (f, g) = self.srk.step(sde, t, h, p, st);
        (self.counts.evals, self.counts.diffusions) = (self.counts.evals + f, self.counts.diffusions + g);
    }
}

impl<T: Scalar> Transpose<T> for SdeIntegrator<T> {
    type Back = StochasticTransposed<T>;
    fn back(&self, _: usize, _: usize) -> StochasticTransposed<T> {
        let srk = self.stepper.srk.clone();
        StochasticTransposed {
            steps: SdeTransposed::new(&srk),
            srk,
            track: self.stepper.track.clone(),
            first: 0,
            ticks: (0, 0),
            has_noise: false,
            counts: OdeCounts::default(),
        }
    }
    fn hand_over(&mut self, back: &mut StochasticTransposed<T>) -> Result<(), OdeError> {
        if back.srk.noise != self.stepper.srk.noise {
            *back = self.back(0, 0);
        }
        self.take_back(back);
        back.first = self.stepper.read_again(&mut back.track)?;
        Ok(())
    }
    /// One path serves both.
    fn take_back(&mut self, back: &mut StochasticTransposed<T>) {
        swap(&mut self.stepper.track, &mut back.track);
    }
}

impl<T: Scalar> Backward<T> for StochasticTransposed<T> {
    const TAKES_END: bool = false;
    const KEEPS_NOISE: bool = true;
    const SMOOTH: bool = false;
    fn select(&mut self, step: Recorded) {
        (self.ticks, self.has_noise) = ((step.ticks.0.unwrap_or(self.first), step.ticks.1), false);
    }
    fn start(&mut self) -> &mut Vec<T> {
        &mut self.steps.st.y0
    }
    fn end(&self) -> &[T] {
        &self.steps.st.y1
    }
    fn go_on(&mut self) {
        swap(&mut self.steps.st.y0, &mut self.steps.st.y1);
    }
    fn lambda(&mut self) -> &mut Vec<T> {
        &mut self.steps.lambda
    }
    fn counts(&mut self) -> &mut OdeCounts {
        &mut self.counts
    }
    fn exchange(&mut self, stored: &mut Stored<T>, _: &mut Vec<T>, stages: bool) {
        stored.exchange(&mut self.steps.st.buffers(), stages);
        self.has_noise = true;
    }
    fn estimates(&mut self, by: Measure<'_, T>, h: T) -> (T, T) {
        let error = self.srk.scaled_error(h, by, &mut self.steps.st);
        (error, self.srk.stiffness(h, &mut self.steps.st))
    }
}

impl<T: Scalar, F: Map<T>, G: Map<T>> Reverse<T, Sde<F, G>> for StochasticTransposed<T> {
    fn check(&self, sde: &Sde<F, G>) -> Result<usize, OdeError> {
        check_equation(&self.srk, sde)?;
        if sde.noise() != self.srk.noise {
            let what = format!(
                "the diffusion has {:?} noise, that of the forward pass had {:?}",
                sde.noise(),
                self.srk.noise
            );
            return Err(OdeError::Mismatch { what });
        }
        need(&sde.drift, Offers::VJP, "the reverse sweep of the drift")?;
        need(&sde.diffusion, Offers::VJP, "the reverse sweep of the diffusion")?;
        Ok(sde.n_params())
    }
    fn prepare(&mut self, sde: &Sde<F, G>) -> Result<(), OdeError> {
        self.srk.resize_keep(sde, true, &mut self.steps.st);
        Ok(())
    }
    fn redo(&mut self, sde: &mut Sde<F, G>, step: (T, T), p: &[T], what: Redo) {
        if what == Redo::Transpose {
            return self.run(sde, step, p);
        }
        let st = &mut self.steps.st;
        let keep = (take(&mut st.keep_k), take(&mut st.keep_g));
        self.run(sde, step, p);
        (self.steps.st.keep_k, self.steps.st.keep_g) = keep;
    }
    fn restore(&mut self, _: &mut Sde<F, G>, (_, h): (T, T), _: &[T], _: bool) {
        self.srk.finish_noise(h, &mut self.steps.st);
        self.srk.finish(h, &mut self.steps.st);
    }
    fn interpolate(&mut self, _: &mut Sde<F, G>, _: (T, T), _: &[T], theta: T, out: &mut [T]) {
        straight(&self.steps.st.y0, &self.steps.st.y1, theta, out);
    }
    fn rate(&mut self, _: &mut Sde<F, G>, (_, h): (T, T), _: &[T], _: T, out: &mut [T]) {
        let st = &self.steps.st;
        out.iter_mut().zip(&st.y0).zip(&st.y1).for_each(|((o, a), b)| *o = (*b - *a) / h);
    }
    fn slope(&mut self, sde: &mut Sde<F, G>, t: T, y: &[T], p: &[T], out: &mut [T]) {
        let range = sde.ranges().0;
        sde.drift.value(At::new(t, y, &p[range]), out);
        self.counts.evals += 1;
    }
    /// Save points are ends of steps.
    fn reverse(
        &mut self,
        sde: &mut Sde<F, G>,
        step: (T, T),
        p: &[T],
        by: Measure<'_, T>,
        bars: &StepBars<'_, T>,
        p_bar: &mut [T],
    ) {
        for (_, bar) in bars.states(self.srk.n()) {
            add_scaled(&mut self.steps.lambda, T::ONE, bar);
        }
        self.steps.reverse(&self.srk, sde, step, p, by, (bars.error, bars.stiffness), p_bar);
        self.counts.pullbacks += take(&mut self.steps.pullbacks);
    }
}

/// The bars of one step.
#[derive(Debug, Clone)]
pub(crate) struct SdeTransposed<T> {
    pub st: SdeStages<T>,
    /// Bar of y1 on entry, of y0 on return.
    pub lambda: Vec<T>,
    y0_direct: Vec<T>,
    h0_bars: Vec<T>,
    h1_bars: Vec<T>,
    /// From S, for its two stages.
    k_stiff: [Vec<T>; 2],
    k_bar: Vec<T>,
    g_bar: Vec<T>,
    g0_bar: Vec<T>,
    u: Vec<T>,
    e2_bar: Vec<T>,
    pub pullbacks: u64,
}

impl<T: Scalar> SdeTransposed<T> {
    pub fn new(srk: &Srk<T>) -> Self {
        let (n, s) = (srk.n(), srk.method.stages());
        let zeros = |n: usize| vec![T::ZERO; n];
        Self {
            st: srk.stages(),
            lambda: zeros(n),
            y0_direct: zeros(n),
            h0_bars: zeros(s * n),
            h1_bars: zeros(s * n),
            k_stiff: [zeros(n), zeros(n)],
            k_bar: zeros(n),
            g_bar: zeros(srk.g_len()),
            g0_bar: zeros(if srk.columns > 0 { srk.g_len() } else { 0 }),
            u: zeros(n),
            e2_bar: zeros(n),
            pullbacks: 0,
        }
    }

    /// One step back: `st` holds y0, y1, E2, the noise and all stages. Updates `lambda`, adds to `p_bar`.
    #[allow(clippy::too_many_arguments)]
    pub fn reverse<F: Map<T>, G: Map<T>>(
        &mut self,
        srk: &Srk<T>,
        sde: &mut Sde<F, G>,
        (t, h): (T, T),
        p: &[T],
        by: Measure<'_, T>,
        (e_bar, s_bar): (T, T),
        p_bar: &mut [T],
    ) {
        let (n, s) = (srk.n(), srk.method.stages());
        self.y0_direct.fill(T::ZERO);
        self.h0_bars.fill(T::ZERO);
        self.h1_bars.fill(T::ZERO);
        let with_error = e_bar != T::ZERO;
        if with_error {
            self.reverse_error(srk, h, by, e_bar);
        }
        self.e2_bar.copy_from_slice(&self.lambda);
        if with_error {
            add_scaled(&mut self.e2_bar, T::ONE, &self.u);
        }
        let stiff = s_bar != T::ZERO && self.reverse_stiffness(srk, h, s_bar);
        if srk.columns > 0 {
            self.reverse_columns(srk, sde, (t, h), p, p_bar);
        } else {
            for i in (0..s).rev() {
                if srk.uses_g[i] {
                    self.gather_g(srk, i, h);
                    srk.diffusion_argument(i, h, &mut self.st);
                    self.pull_g(srk, sde, (i, i), t + srk.c1[i] * h, p, p_bar);
                }
                if srk.uses_k[i] {
                    self.gather_k(srk, i, h, with_error, stiff);
                    srk.drift_argument(i, h, &mut self.st);
                    self.pull_k(srk, sde, i, t + srk.c0[i] * h, p, p_bar);
                }
            }
        }
        add_scaled(&mut self.lambda, T::ONE, &self.y0_direct);
        for i in 0..s {
            add_scaled(&mut self.lambda, T::ONE, &self.h0_bars[i * n..][..n]);
            add_scaled(&mut self.lambda, T::ONE, &self.h1_bars[i * n..][..n]);
        }
    }

    /// H0_i_bar += (df/dy)' k_bar and p_bar += (df/dp)' k_bar at st.arg.
    fn pull_k<F: Map<T>, G: Map<T>>(
        &mut self,
        srk: &Srk<T>,
        sde: &mut Sde<F, G>,
        i: usize,
        t: T,
        p: &[T],
        p_bar: &mut [T],
    ) {
        let (n, range) = (srk.n(), sde.ranges().0);
        let (st, bar) = (&self.st, &mut self.h0_bars[i * n..][..n]);
        let (p, p_bar) = (&p[range.clone()], &mut p_bar[range]);
        let len = st.keep_k.len() / srk.method.stages();
        let of = Kept { y: &st.k[i * n..][..n], keep: &st.keep_k[i * len..][..len] };
        sde.drift.vjp(At::new(t, &st.arg, p), of, &self.k_bar, BarsMut::new(bar, p_bar));
        self.pullbacks += 1;
    }

    /// H1_to_bar += (dg/dy)' g_bar and p_bar += (dg/dp)' g_bar at st.arg, the argument of g_i.
    fn pull_g<F: Map<T>, G: Map<T>>(
        &mut self,
        srk: &Srk<T>,
        sde: &mut Sde<F, G>,
        (i, to): (usize, usize),
        t: T,
        p: &[T],
        p_bar: &mut [T],
    ) {
        let (n, gl, range) = (srk.n(), srk.g_len(), sde.ranges().1);
        let (st, bar) = (&self.st, &mut self.h1_bars[to * n..][..n]);
        let (p, p_bar) = (&p[range.clone()], &mut p_bar[range]);
        let len = st.keep_g.len() / srk.g_stages();
        let of = Kept { y: &st.g[i * gl..][..gl], keep: &st.keep_g[i * len..][..len] };
        sde.diffusion.vjp(At::new(t, &st.arg, p), of, &self.g_bar, BarsMut::new(bar, p_bar));
        self.pullbacks += 1;
    }

    /// Milstein's method for commutative matrix noise, with B_j the bar of column j's argument:
    ///
    /// ```text
    /// B_j = (dg/dy)'_j (y1_bar x_j'),   G_bar = y1_bar (I1 - sum_j x_j)' + sqrt(h) [B_0 .. B_(m-1)],   K_0 = h (y1_bar + sum_j B_j)
    /// ```
    fn reverse_columns<F: Map<T>, G: Map<T>>(
        &mut self,
        srk: &Srk<T>,
        sde: &mut Sde<F, G>,
        (t, h): (T, T),
        p: &[T],
        p_bar: &mut [T],
    ) {
        let (n, dim, m, root) = (srk.n(), srk.dim, srk.columns, h.sqrt());
        self.g0_bar.fill(T::ZERO);
        self.k_bar.fill(T::ZERO);
        add_scaled(&mut self.k_bar, h, &self.lambda);
        srk.noise.apply_t(dim, &mut self.g0_bar, T::ONE, &self.lambda, &self.st.x[0]);
        // H1_1_bar holds B_j, H1_0_bar collects their sum.
        for j in 0..m {
            srk.column_weights(j, h, &mut self.st);
            self.g_bar.fill(T::ZERO);
            srk.noise.apply_t(dim, &mut self.g_bar, T::ONE, &self.lambda, &self.st.x[1]);
            add_scaled(&mut self.g0_bar, -T::ONE, &self.g_bar);
            srk.column_argument(j, h, &mut self.st);
            self.h1_bars[n..2 * n].fill(T::ZERO);
            self.pull_g(srk, sde, (1 + j, 1), t + h, p, p_bar);
            let (sum, b) = self.h1_bars.split_at_mut(n);
            for (g, b) in self.g0_bar.chunks_exact_mut(dim * m).zip(b.chunks_exact(dim)) {
                add_scaled(&mut g[j * dim..][..dim], root, b);
            }
            add_scaled(sum, T::ONE, &b[..n]);
        }
        add_scaled(&mut self.k_bar, h, &self.h1_bars[..n]);
        self.h1_bars[n..2 * n].fill(T::ZERO);
        std::mem::swap(&mut self.g_bar, &mut self.g0_bar);
        self.st.arg.copy_from_slice(&self.st.y0);
        self.pull_g(srk, sde, (0, 1), t, p, p_bar);
        self.pull_k(srk, sde, 0, t, p, p_bar);
    }

    /// k_bar <- K_i.
    fn gather_k(&mut self, srk: &Srk<T>, i: usize, h: T, with_error: bool, stiff: bool) {
        let n = srk.n();
        let m = srk.method;
        self.k_bar.fill(T::ZERO);
        if stiff && let Some((a, b)) = m.stiffness {
            if i == a {
                self.k_bar.copy_from_slice(&self.k_stiff[0]);
            } else if i == b {
                self.k_bar.copy_from_slice(&self.k_stiff[1]);
            }
        }
        let mut add = |w: f64, x: &[T]| {
            if w != 0.0 {
                add_scaled(&mut self.k_bar, h * T::of(w), x);
            }
        };
        add(at(m.alpha, i), &self.lambda);
        if with_error {
            add(srk.delta.f64() * at(m.e1, i), &self.u);
        }
        for l in i + 1..m.stages() {
            add(at(m.a0[l], i), &self.h0_bars[l * n..][..n]);
            add(at(m.a1[l], i), &self.h1_bars[l * n..][..n]);
        }
    }

    /// g_bar <- G_i.
    fn gather_g(&mut self, srk: &Srk<T>, i: usize, h: T) {
        let (n, m, x) = (srk.n(), srk.method, &self.st.x);
        self.g_bar.fill(T::ZERO);
        for (c, beta) in m.beta.iter().enumerate().filter(|(_, b)| at(b, i) != 0.0) {
            let w = if c < 2 { &self.lambda } else { &self.e2_bar };
            srk.noise.apply_t(srk.dim, &mut self.g_bar, T::of(at(beta, i)), w, &x[c]);
        }
        for l in i + 1..m.stages() {
            let (b0, b1) = (at(m.b0[l], i), at(m.b1[l], i));
            if b0 != 0.0 {
                srk.noise.apply_t(srk.dim, &mut self.g_bar, T::of(b0), &self.h0_bars[l * n..][..n], &x[2]);
            }
            if b1 != 0.0 {
                add_scaled(&mut self.g_bar, h.sqrt() * T::of(b1), &self.h1_bars[l * n..][..n]);
            }
        }
    }

    /// u <- u_bar; adds to the bars of y1 and y0.
    fn reverse_error(&mut self, srk: &Srk<T>, h: T, by: Measure<'_, T>, e_bar: T) {
        srk.error(h, &mut self.st);
        self.u.copy_from_slice(&self.st.arg);
        let y = (&self.st.y0[..], &self.st.y1[..]);
        let value = scaled_norm(by.norm, by.scale, y.0, y.1, &self.u);
        norm_bars(by, y, &mut self.u, (value, e_bar), &mut self.y0_direct, &mut self.lambda);
    }

    /// Bars of the two stages of S. False where S was guarded to zero.
    fn reverse_stiffness(&mut self, srk: &Srk<T>, h: T, s_bar: T) -> bool {
        let Some((i, j)) = srk.method.stiffness else { return false };
        let n = srk.n();
        let value = srk.stiffness(h, &mut self.st);
        if value == T::ZERO {
            return false;
        }
        // `stiffness` leaves H0_j in st.arg and H0_i in st.e2.
        let st = &self.st;
        let (ki, kj) = (&st.k[i * n..][..n], &st.k[j * n..][..n]);
        let dk = |m: usize| kj[m] - ki[m];
        let dh = |m: usize| st.arg[m] - st.e2[m];
        let num = (0..n).map(|m| dk(m) * dk(m)).sum::<T>();
        let den = (0..n).map(|m| dh(m) * dh(m)).sum::<T>();
        let (wk, wh) = (s_bar * value / num, -s_bar * value / den);
        for m in 0..n {
            self.k_stiff[0][m] = -wk * dk(m);
            self.k_stiff[1][m] = wk * dk(m);
            self.h0_bars[i * n + m] = -wh * dh(m);
            self.h0_bars[j * n + m] = wh * dh(m);
        }
        true
    }
}

/// Entry i of a row without its trailing zeros.
fn at(row: &[f64], i: usize) -> f64 {
    row.get(i).copied().unwrap_or(0.0)
}
