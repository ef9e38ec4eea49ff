//! The transpose of one Rosenbrock step.

use std::mem::swap;

use super::norm::norm_bars;
use super::transpose::{Backward, Redo, Reverse, StepBars, Stored, Transpose};
use crate::diff::{At, BarsMut, Dots, Kept, Linearizer, Map, Offers, VjpRoom, need, tangent_differences};
use crate::error::check_len;
use crate::linalg::kernels::{Scale, add_scaled, scaled_norm};
use crate::linalg::{Norm, Scalar};
use crate::ode::stepper::Measure;
use crate::ode::stiff::{RosStages, Rosenbrock};
use crate::ode::{OdeCounts, OdeError, StiffIntegrator};

/// A method and the bars of one step.
#[derive(Debug, Clone)]
pub struct RosTransposed<T: Scalar> {
    ros: Rosenbrock<T>,
    st: RosStages<T>,
    /// Bars of U_i at i n.
    u_bars: Vec<T>,
    /// W^-T times them.
    r_bars: Vec<T>,
    /// Bars of f_i.
    f_bars: Vec<T>,
    /// Gamma and its inverse, s x s by rows: U = Gamma K.
    gamma: Vec<T>,
    gamma_inverse: Vec<T>,
    /// K_i and their bars; behind them the direction of time.
    k: Vec<T>,
    k_bars: Vec<T>,
    times: Vec<T>,
    /// Tangents along them.
    y_dot: Vec<T>,
    keep_dot: Vec<T>,
    /// For a pullback where nothing was kept.
    room: VjpRoom<T>,
    g_bar: Vec<T>,
    /// Bar of df/dt.
    tau: Vec<T>,
    work: Vec<T>,
    /// Bar of y1 on entry, of y0 on return.
    lambda: Vec<T>,
    y0_bar: Vec<T>,
    counts: OdeCounts,
}

impl<T: Scalar> RosTransposed<T> {
    fn new(ros: Rosenbrock<T>, dim: usize, batch: usize, measure: (Norm, Scale<T>)) -> Self {
        let (n, s) = (dim * batch, ros.s);
        let zeros = |len: usize| vec![T::ZERO; len];
        let (gamma, gamma_inverse) = gammas(&ros);
        Self {
            gamma,
            gamma_inverse,
            k: zeros((s + 1) * n),
            k_bars: zeros((s + 1) * n),
            times: zeros(s + 1),
            y_dot: vec![],
            keep_dot: vec![],
            room: VjpRoom::default(),
            st: ros.stages(dim, batch, measure),
            u_bars: zeros(s * n),
            r_bars: zeros(s * n),
            f_bars: zeros(s * n),
            g_bar: zeros(n),
            tau: zeros(n),
            work: zeros(3 * n),
            lambda: zeros(n),
            y0_bar: zeros(n),
            counts: OdeCounts::default(),
            ros,
        }
    }

    /// The derivatives and factors of a step that starts at st.y0.
    fn linearize<F: Map<T>>(&mut self, f: &mut F, (t, h): (T, T), p: &[T]) {
        self.ros.linearize(f, t, h, p, &mut self.st, &mut self.counts);
        // It was regular in the forward pass; a replay may meet another matrix.
        if !self.ros.factor(h, &mut self.st) {
            self.st.matrices.spoil();
        }
        self.counts.factorizations += self.st.matrices.are_held() as u64;
    }

    /// ADDS the derivatives of `sum_i k_bar_i' (df/dy) k_i + tau' df/dt` with respect to y0 and p: the tangent of the pullback along the k_i, and along time.
    fn second_order<F: Map<T>>(&mut self, f: &mut F, (t, h): (T, T), p: &[T], p_bar: &mut [T]) {
        let (n, s) = (self.lambda.len(), self.ros.s);
        let (at, bars) = (At::new(t, &self.st.y0, p), BarsMut::new(&mut self.y0_bar, p_bar));
        if !f.offers().has(Offers::TANGENT) {
            let (v, w) = (&self.k[..s * n], &self.k_bars[..s * n]);
            let room = (&mut self.work[..], &mut self.room);
            self.counts.pullbacks += tangent_differences(f, at, h, (v, w), &self.tau, bars, room).vjps;
            return;
        }
        // One more direction: of time, with the weight tau; where differences are taken along it, in units of h.
        let unit = if f.directions() > 0 { h } else { T::ONE };
        self.k_bars[s * n..].iter_mut().zip(&self.tau).for_each(|(w, tau)| *w = *tau / unit);
        self.times[s] = unit;
        let dots = Dots { count: s + 1, t: &self.times, x: &self.k, p: &[] };
        let alone = f.offers().has(Offers::TANGENT_ALONE);
        let of = if alone { Kept::NONE } else { self.room.evaluate(f, at) };
        let dot = if of.y.is_empty() {
            Kept::NONE
        } else {
            self.y_dot.resize((s + 1) * of.y.len(), T::ZERO);
            self.keep_dot.resize((s + 1) * of.keep.len(), T::ZERO);
            f.jvp(at, of, dots, &mut self.y_dot, &mut self.keep_dot);
            Kept { y: &self.y_dot, keep: &self.keep_dot }
        };
        f.vjp_tangent(at, of, dots, dot, &self.k_bars, &[], bars);
    }

    /// sum_i R_i U_i' = sum_j (sum_i gamma_ij R_i) K_j' with U_i = sum_j gamma_ij K_j: in the K_j, increments of size h f, nothing large cancels.
    fn untransform(&mut self) {
        let (n, s) = (self.lambda.len(), self.ros.s);
        self.k.fill(T::ZERO);
        self.k_bars.fill(T::ZERO);
        for i in 0..s {
            for j in 0..=i {
                let (g, inverse) = (self.gamma[i * s + j], self.gamma_inverse[i * s + j]);
                add_scaled(&mut self.k[i * n..][..n], inverse, &self.st.u[j * n..][..n]);
                add_scaled(&mut self.k_bars[j * n..][..n], g, &self.r_bars[i * n..][..n]);
            }
        }
    }

    fn reverse_stage<F: Map<T>>(&mut self, f: &mut F, i: usize, (t, h): (T, T), p: &[T], p_bar: &mut [T]) {
        let (n, s) = (self.lambda.len(), self.ros.s);
        let (u, r) = (&mut self.u_bars[i * n..][..n], &mut self.r_bars[i * n..][..n]);
        self.st.matrices.solve_transposed(self.st.dim, f, At::new(t, &self.st.y0, p), u, r);
        let r = &self.r_bars[i * n..][..n];
        add_scaled(&mut self.f_bars[i * n..][..n], T::ONE, r);
        add_scaled(&mut self.tau, h * self.ros.d[i], r);
        for j in 0..i {
            let c = self.ros.c[i * s + j];
            if c != T::ZERO {
                add_scaled(&mut self.u_bars[j * n..][..n], c / h, r);
            }
        }
        if let Some(l) = self.ros.repeats[i] {
            let (before, after) = self.f_bars.split_at_mut(i * n);
            return add_scaled(&mut before[l * n..][..n], T::ONE, &after[..n]);
        }
        self.ros.argument(i, &mut self.st);
        self.g_bar.fill(T::ZERO);
        let ti = t + self.ros.alpha[i] * h;
        let (at, bars) = (At::new(ti, &self.st.g, p), BarsMut::new(&mut self.g_bar, p_bar));
        self.room.add(f, at, &self.f_bars[i * n..][..n], bars);
        self.counts.pullbacks += 1;
        add_scaled(&mut self.y0_bar, T::ONE, &self.g_bar);
        for j in 0..i {
            let a = self.ros.a[i * s + j];
            if a != T::ZERO {
                add_scaled(&mut self.u_bars[j * n..][..n], a, &self.g_bar);
            }
        }
    }

    /// Bars of the U_i, of y1 and of y0 from E_bar.
    fn reverse_error(&mut self, by: Measure<'_, T>, bar: T) {
        let n = self.lambda.len();
        let u = &mut self.g_bar;
        u.fill(T::ZERO);
        for (e, x) in self.ros.e.iter().zip(self.st.u.chunks_exact(n)) {
            if *e != T::ZERO {
                add_scaled(u, *e, x);
            }
        }
        let ends = (&self.st.y0[..], &self.st.y1[..]);
        let value = scaled_norm(by.norm, by.scale, ends.0, ends.1, u);
        norm_bars(by, ends, u, (value, bar), &mut self.y0_bar, &mut self.lambda);
        for (e, x) in self.ros.e.iter().zip(self.u_bars.chunks_exact_mut(n)) {
            if *e != T::ZERO {
                add_scaled(x, *e, u);
            }
        }
    }

    /// Bars of f_{s-1}, f_{s-2} and U_{s-2} from S_bar; nothing where S is zero.
    fn reverse_stiffness(&mut self, bar: T) {
        let (n, s) = (self.lambda.len(), self.ros.s);
        let value = self.ros.stiffness(&self.st);
        if value == T::ZERO {
            return;
        }
        let (fa, fb) = (&self.st.f[(s - 1) * n..][..n], &self.st.f[(s - 2) * n..][..n]);
        let u = &self.st.u[(s - 2) * n..][..n];
        let num: T = fa.iter().zip(fb).map(|(a, b)| (*a - *b) * (*a - *b)).sum();
        let den: T = u.iter().map(|v| *v * *v).sum();
        let (wf, wu) = (bar * value / num, bar * value / den);
        for m in 0..n {
            let d = fa[m] - fb[m];
            self.f_bars[(s - 1) * n + m] += wf * d;
            self.f_bars[(s - 2) * n + m] -= wf * d;
            self.u_bars[(s - 2) * n + m] -= wu * u[m];
        }
    }

    /// Bars from states saved inside the step, through the interpolant.
    fn reverse_saves(&mut self, bars: &StepBars<'_, T>) {
        let n = self.lambda.len();
        for (theta, v) in bars.states(n) {
            add_scaled(&mut self.lambda, theta, v);
            if theta == T::ONE {
                continue;
            }
            add_scaled(&mut self.y0_bar, T::ONE - theta, v);
            for (j, bar) in self.u_bars.chunks_exact_mut(n).enumerate() {
                add_scaled(bar, self.ros.dense_weight(j, theta), v);
            }
        }
    }
}

impl<T: Scalar> Transpose<T> for StiffIntegrator<T> {
    type Back = RosTransposed<T>;
    fn back(&self, dim: usize, batch: usize) -> RosTransposed<T> {
        let measure = (self.options().norm, self.scale.clone());
        RosTransposed::new(self.stepper.ros.clone(), dim, batch, measure)
    }
}

impl<T: Scalar> Backward<T> for RosTransposed<T> {
    const TAKES_END: bool = false;
    fn start(&mut self) -> &mut Vec<T> {
        &mut self.st.y0
    }
    fn end(&self) -> &[T] {
        &self.st.y1
    }
    fn go_on(&mut self) {
        swap(&mut self.st.y0, &mut self.st.y1);
    }
    fn lambda(&mut self) -> &mut Vec<T> {
        &mut self.lambda
    }
    fn counts(&mut self) -> &mut OdeCounts {
        &mut self.counts
    }
    /// The end is computed from the stages.
    fn exchange(&mut self, stored: &mut Stored<T>, _: &mut Vec<T>, _: bool) {
        swap(&mut self.st.u, &mut stored.k);
    }
    fn estimates(&mut self, by: Measure<'_, T>, _: T) -> (T, T) {
        (self.ros.error(by.norm, by.scale, &mut self.st), self.ros.stiffness(&self.st))
    }
}

impl<T: Scalar, F: Map<T>> Reverse<T, F> for RosTransposed<T> {
    fn check(&self, f: &F) -> Result<usize, OdeError> {
        need(f, Offers::VJP, "the reverse sweep")?;
        Reverse::<T, F>::check_again(self, f)
    }
    fn check_again(&self, f: &F) -> Result<usize, OdeError> {
        check_len("the field's state", f.inputs(), self.st.dim)?;
        Linearizer::check(f, self.ros.tab.name)?;
        Ok(f.n_params())
    }
    fn prepare(&mut self, f: &F) -> Result<(), OdeError> {
        self.st.prepare(f)?;
        self.st.refill();
        Ok(())
    }
    fn redo(&mut self, f: &mut F, (t, h): (T, T), p: &[T], _: Redo) {
        self.linearize(f, (t, h), p);
        self.ros.step(f, t, h, p, &mut self.st);
        self.counts.evals += self.ros.evals();
        self.st.matrices.tell(&mut self.counts);
    }
    fn restore(&mut self, f: &mut F, (t, h): (T, T), p: &[T], stiffness: bool) {
        let (n, s) = (self.st.y0.len(), self.ros.s);
        self.linearize(f, (t, h), p);
        if stiffness {
            for i in [s - 2, s - 1] {
                self.ros.argument(i, &mut self.st);
                let ti = t + self.ros.alpha[i] * h;
                f.value(At::new(ti, &self.st.g, p), &mut self.st.f[i * n..][..n]);
                self.counts.evals += 1;
            }
        }
        self.ros.argument(s - 1, &mut self.st);
        let u = &self.st.u[(s - 1) * n..][..n];
        for ((y, &g), &u) in self.st.y1.iter_mut().zip(&self.st.g).zip(u) {
            *y = g + u;
        }
        self.ros.keep_invariants(self.st.dim, &self.st.y0, &mut self.st.y1);
    }
    fn interpolate(&mut self, _: &mut F, _: (T, T), _: &[T], theta: T, out: &mut [T]) {
        self.ros.interpolate(theta, &self.st, out);
    }
    fn rate(&mut self, _: &mut F, (_, h): (T, T), _: &[T], theta: T, out: &mut [T]) {
        self.ros.rate(theta, h, &self.st, out);
    }
    fn slope(&mut self, f: &mut F, t: T, y: &[T], p: &[T], out: &mut [T]) {
        f.value(At::new(t, y, p), out);
        self.counts.evals += 1;
    }
    /// `st` holds y0, y1, U_i, the derivatives and the factors, and, where S has a bar, the last two f_i.
    fn reverse(
        &mut self,
        f: &mut F,
        (t, h): (T, T),
        p: &[T],
        by: Measure<'_, T>,
        bars: &StepBars<'_, T>,
        p_bar: &mut [T],
    ) {
        let (n, s) = (self.lambda.len(), self.ros.s);
        for bar in [&mut self.u_bars, &mut self.f_bars, &mut self.tau, &mut self.y0_bar] {
            bar.fill(T::ZERO);
        }
        if bars.error != T::ZERO {
            self.reverse_error(by, bars.error);
        }
        if bars.stiffness != T::ZERO {
            self.reverse_stiffness(bars.stiffness);
        }
        self.reverse_saves(bars);
        // y1 = y0 + sum_j m_j U_j.
        add_scaled(&mut self.y0_bar, T::ONE, &self.lambda);
        for (j, bar) in self.u_bars.chunks_exact_mut(n).enumerate() {
            add_scaled(bar, T::of(self.ros.tab.m(j)), &self.lambda);
        }
        for i in (0..s).rev() {
            self.reverse_stage(f, i, (t, h), p, p_bar);
        }
        self.untransform();
        self.second_order(f, (t, h), p, p_bar);
        self.lambda.copy_from_slice(&self.y0_bar);
        self.st.matrices.tell(&mut self.counts);
    }
}

/// Gamma^-1 = I / gamma - C, lower triangular, and Gamma.
fn gammas<T: Scalar>(ros: &Rosenbrock<T>) -> (Vec<T>, Vec<T>) {
    let (s, tab) = (ros.s, ros.tab);
    let inverse = |i: usize, j: usize| {
        if i == j { 1.0 / tab.gamma } else { -tab.c[i].get(j).copied().unwrap_or(0.0) }
    };
    let mut gamma = vec![0.0; s * s];
    for j in 0..s {
        gamma[j * s + j] = tab.gamma;
        for i in j + 1..s {
            let sum: f64 = (j..i).map(|l| inverse(i, l) * gamma[l * s + j]).sum();
            gamma[i * s + j] = -tab.gamma * sum;
        }
    }
    let inverse = (0..s * s).map(|k| if k % s > k / s { 0.0 } else { inverse(k / s, k % s) });
    (gamma.iter().map(|&g| T::of(g)).collect(), inverse.map(T::of).collect())
}
