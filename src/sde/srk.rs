//! One step of a stochastic Runge-Kutta method: stages, error estimate, stiffness estimate. Equations in [`SdeMethod`]'s module.

use super::field::{Noise, Sde};
use super::method::{SdeMethod, Suits};
use crate::diff::{At, Map};
use crate::linalg::Scalar;
use crate::linalg::kernels::{Rows, add_scaled, combine, combine_zero, scaled_norm};
use crate::ode::StepBuffers;
use crate::ode::stepper::Measure;

/// A method in the precision of the computation, rows sparse.
#[derive(Debug, Clone)]
pub(crate) struct Srk<T> {
    pub method: &'static SdeMethod,
    pub noise: Noise,
    /// n.
    pub dim: usize,
    pub batch: usize,
    pub c0: Vec<T>,
    pub c1: Vec<T>,
    pub a0: Rows<T>,
    pub a1: Rows<T>,
    pub b0: Rows<T>,
    pub b1: Rows<T>,
    pub alpha: Rows<T>,
    pub beta: Rows<T>,
    pub e1: Rows<T>,
    pub delta: T,
    /// m where Milstein's method meets matrix noise, else 0: see [`Srk::column_step`].
    pub columns: usize,
    /// Whether the diffusion is in H0_i, H1_i; whether beta_m is not zero.
    with_b0: Vec<bool>,
    with_b1: Vec<bool>,
    with_beta: [bool; 4],
    /// Whether k_i, g_i are used at all.
    pub uses_k: Vec<bool>,
    pub uses_g: Vec<bool>,
}

/// The stages of one attempted step.
#[derive(Debug, Clone, Default)]
pub(crate) struct SdeStages<T> {
    /// State at the step's start.
    pub y0: Vec<T>,
    /// State at its end.
    pub y1: Vec<T>,
    /// k_i at i n batch.
    pub k: Vec<T>,
    /// g_i at i len batch.
    pub g: Vec<T>,
    /// What the two `forward` kept; empty unless wanted.
    pub keep_k: Vec<T>,
    pub keep_g: Vec<T>,
    /// I1, I11/sqrt(h), I10/h, I111/h, each width x batch; I10/h empty where the method has no use for it.
    pub x: [Vec<T>; 4],
    /// E2.
    pub e2: Vec<T>,
    /// Argument of a stage.
    pub arg: Vec<T>,
    /// A combination of g_i.
    pub sum: Vec<T>,
}

impl<T> SdeStages<T> {
    /// What sinks may take.
    pub fn buffers(&mut self) -> StepBuffers<'_, T> {
        let [w, _, i10, _] = &mut self.x;
        let noise = Some([&mut self.g, &mut self.keep_g, w, i10]);
        StepBuffers { k: &mut self.k, keep: &mut self.keep_k, noise }
    }
}

impl<T: Scalar> Srk<T> {
    pub fn new(method: &'static SdeMethod, noise: Noise, dim: usize, batch: usize, delta: f64) -> Self {
        let in_use = |i: usize, lists: &[&[f64]], tables: &[&[&[f64]]]| {
            let at = |r: &[f64]| r.get(i).is_some_and(|&v| v != 0.0);
            lists.iter().any(|r| at(r)) || tables.iter().any(|t| t.iter().any(|r| at(r)))
        };
        let s = method.stages();
        let [b1, b2, b3, b4] = method.beta;
        let any = |r: &[f64]| r.iter().any(|&v| v != 0.0);
        Self {
            method,
            noise,
            dim,
            batch,
            c0: method.c0.iter().map(|&c| T::of(c)).collect(),
            c1: method.c1.iter().map(|&c| T::of(c)).collect(),
            a0: Rows::new(method.a0),
            a1: Rows::new(method.a1),
            b0: Rows::new(method.b0),
            b1: Rows::new(method.b1),
            alpha: Rows::new(&[method.alpha]),
            beta: Rows::new(&method.beta),
            e1: Rows::new(&[method.e1]),
            delta: T::of(delta),
            columns: match noise {
                Noise::Matrix(m) if method.suits == Suits::Commutative => m,
                _ => 0,
            },
            with_b0: method.b0.iter().map(|r| any(r)).collect(),
            with_b1: method.b1.iter().map(|r| any(r)).collect(),
            with_beta: method.beta.map(any),
            uses_k: (0..s).map(|i| in_use(i, &[method.alpha, method.e1], &[method.a0, method.a1])).collect(),
            uses_g: (0..s).map(|i| in_use(i, &[b1, b2, b3, b4], &[method.b0, method.b1])).collect(),
        }
    }

    /// Length of the state.
    pub fn n(&self) -> usize {
        self.dim * self.batch
    }
    /// Length of g.
    pub fn g_len(&self) -> usize {
        self.noise.len(self.dim) * self.batch
    }
    /// Length of an increment.
    pub fn w_len(&self) -> usize {
        self.noise.width(self.dim) * self.batch
    }

    /// Number of evaluations of g in a step.
    pub fn g_stages(&self) -> usize {
        if self.columns > 0 { 1 + self.columns } else { self.method.stages() }
    }

    pub fn stages(&self) -> SdeStages<T> {
        let (s, zeros) = (self.method.stages(), |n: usize| vec![T::ZERO; n]);
        SdeStages {
            y0: zeros(self.n()),
            y1: zeros(self.n()),
            k: zeros(s * self.n()),
            g: zeros(self.g_stages() * self.g_len()),
            keep_k: vec![],
            keep_g: vec![],
            x: std::array::from_fn(|m| {
                zeros(if m == 2 && !self.method.needs_area() { 0 } else { self.w_len() })
            }),
            e2: zeros(self.n()),
            arg: zeros(self.n()),
            sum: zeros(self.g_len()),
        }
    }

    /// Room for what the pullbacks want, or none.
    pub fn resize_keep<F: Map<T>, G: Map<T>>(&self, sde: &Sde<F, G>, wanted: bool, st: &mut SdeStages<T>) {
        let (s, sg) = if wanted { (self.method.stages(), self.g_stages()) } else { (0, 0) };
        st.keep_k.resize(s * sde.drift.keep_len(self.batch), T::ZERO);
        st.keep_g.resize(sg * sde.diffusion.keep_len(self.batch), T::ZERO);
    }

    /// x from the increments w and areas H of a step: I1 = w, I10/h = w/2 + H.
    pub fn set_noise(&self, h: T, w: &[f64], area: &[f64], st: &mut SdeStages<T>) {
        st.x[0].iter_mut().zip(w).for_each(|(x, w)| *x = T::of(*w));
        if self.method.needs_area() {
            st.x[2].iter_mut().zip(w).zip(area).for_each(|((x, w), a)| *x = T::of(0.5 * w + a));
        }
        self.finish_noise(h, st);
    }

    /// I11/sqrt(h) and I111/h from I1.
    pub fn finish_noise(&self, h: T, st: &mut SdeStages<T>) {
        let [x1, x11, _, x3] = &mut st.x;
        if self.with_beta[1] {
            let c = T::of(0.5) / h.sqrt();
            x11.iter_mut().zip(&*x1).for_each(|(x, &w)| *x = c * (w * w - h));
        }
        if self.with_beta[3] {
            let c = T::ONE / (T::of(6.0) * h);
            let three_h = T::of(3.0) * h;
            x3.iter_mut().zip(&*x1).for_each(|(x, &w)| *x = c * w * (w * w - three_h));
        }
    }

    /// arg <- H0_i.
    pub fn drift_argument(&self, i: usize, h: T, st: &mut SdeStages<T>) {
        combine(&mut st.arg, &st.y0, h, self.a0.row(i), &st.k);
        if self.with_b0[i] {
            combine_zero(&mut st.sum, T::ONE, self.b0.row(i), &st.g);
            self.noise.apply(self.dim, &st.sum, &st.x[2], &mut st.arg);
        }
    }

    /// arg <- H1_i.
    pub fn diffusion_argument(&self, i: usize, h: T, st: &mut SdeStages<T>) {
        combine(&mut st.arg, &st.y0, h, self.a1.row(i), &st.k);
        if self.with_b1[i] {
            combine_zero(&mut st.sum, h.sqrt(), self.b1.row(i), &st.g);
            add_scaled(&mut st.arg, T::ONE, &st.sum);
        }
    }

    /// All stages, E2 and y1, from y0 and the noise. Returns the numbers of evaluations of f and g.
    pub fn step<F: Map<T>, G: Map<T>>(
        &self,
        sde: &mut Sde<F, G>,
        t: T,
        h: T,
        p: &[T],
        st: &mut SdeStages<T>,
    ) -> (u64, u64) {
        let mut counts = (0, 0);
        if self.columns > 0 {
            counts = self.column_step(sde, t, h, p, st);
        } else {
            for i in 0..self.method.stages() {
                if self.uses_k[i] {
                    self.drift_argument(i, h, st);
                    self.eval_k(sde, i, t + self.c0[i] * h, p, st);
                    counts.0 += 1;
                }
                if self.uses_g[i] {
                    self.diffusion_argument(i, h, st);
                    self.eval_g(sde, i, t + self.c1[i] * h, p, st);
                    counts.1 += 1;
                }
            }
        }
        self.finish(h, st);
        counts
    }

    /// k_i <- f(t, arg).
    fn eval_k<F: Map<T>, G: Map<T>>(
        &self,
        sde: &mut Sde<F, G>,
        i: usize,
        t: T,
        p: &[T],
        st: &mut SdeStages<T>,
    ) {
        let (n, p) = (self.n(), &p[sde.ranges().0]);
        let ki = &mut st.k[i * n..][..n];
        let len = st.keep_k.len() / self.method.stages();
        if len == 0 {
            sde.drift.value(At::new(t, &st.arg, p), ki);
        } else {
            sde.drift.forward(At::new(t, &st.arg, p), ki, &mut st.keep_k[i * len..][..len]);
        }
    }

    /// g_i <- g(t, arg).
    fn eval_g<F: Map<T>, G: Map<T>>(
        &self,
        sde: &mut Sde<F, G>,
        i: usize,
        t: T,
        p: &[T],
        st: &mut SdeStages<T>,
    ) {
        let (n, p) = (self.g_len(), &p[sde.ranges().1]);
        let gi = &mut st.g[i * n..][..n];
        let len = st.keep_g.len() / self.g_stages();
        if len == 0 {
            sde.diffusion.value(At::new(t, &st.arg, p), gi);
        } else {
            sde.diffusion.forward(At::new(t, &st.arg, p), gi, &mut st.keep_g[i * len..][..len]);
        }
    }

    /// Milstein's method for commutative matrix noise (Kloeden and Platen 1992, 11.1), one more g for every column j of G = g(t, y):
    ///
    /// ```text
    /// G_j = g(t + h, y + h k_0 + sqrt(h) G e_j),   y1 = y + h k_0 + G I1 + sum_j (G_j - G) x_j,   x_jl = (I1_j I1_l - h [j = l]) / (2 sqrt(h))
    /// ```
    fn column_step<F: Map<T>, G: Map<T>>(
        &self,
        sde: &mut Sde<F, G>,
        t: T,
        h: T,
        p: &[T],
        st: &mut SdeStages<T>,
    ) -> (u64, u64) {
        st.arg.copy_from_slice(&st.y0);
        self.eval_k(sde, 0, t, p, st);
        self.eval_g(sde, 0, t, p, st);
        for j in 0..self.columns {
            self.column_argument(j, h, st);
            self.eval_g(sde, 1 + j, t + h, p, st);
        }
        (1, 1 + self.columns as u64)
    }

    /// arg <- y + h k_0 + sqrt(h) G e_j.
    pub fn column_argument(&self, j: usize, h: T, st: &mut SdeStages<T>) {
        combine(&mut st.arg, &st.y0, h, self.a1.row(1), &st.k);
        let (n, root) = (self.dim, h.sqrt());
        for (y, g) in st.arg.chunks_exact_mut(n).zip(st.g.chunks_exact(n * self.columns)) {
            add_scaled(y, root, &g[j * n..][..n]);
        }
    }

    /// x[1] <- x_j.
    pub fn column_weights(&self, j: usize, h: T, st: &mut SdeStages<T>) {
        let (m, c) = (self.columns, T::of(0.5) / h.sqrt());
        let [w, x, ..] = &mut st.x;
        for (w, x) in w.chunks_exact(m).zip(x.chunks_exact_mut(m)) {
            x.iter_mut().zip(w).for_each(|(x, &wl)| *x = c * w[j] * wl);
            x[j] -= c * h;
        }
    }

    fn finish_columns(&self, h: T, st: &mut SdeStages<T>) {
        self.noise.apply(self.dim, &st.g[..self.g_len()], &st.x[0], &mut st.y1);
        for j in 0..self.columns {
            self.column_weights(j, h, st);
            let gl = self.g_len();
            st.sum.copy_from_slice(&st.g[(1 + j) * gl..][..gl]);
            add_scaled(&mut st.sum, -T::ONE, &st.g[..gl]);
            self.noise.apply(self.dim, &st.sum, &st.x[1], &mut st.y1);
        }
    }

    /// E2 and y1 from the stages.
    pub fn finish(&self, h: T, st: &mut SdeStages<T>) {
        combine(&mut st.y1, &st.y0, h, self.alpha.row(0), &st.k);
        st.e2.fill(T::ZERO);
        if self.columns > 0 {
            return self.finish_columns(h, st);
        }
        for m in (0..4).filter(|&m| self.with_beta[m]) {
            combine_zero(&mut st.sum, T::ONE, self.beta.row(m), &st.g);
            let to = if m < 2 { &mut st.y1 } else { &mut st.e2 };
            self.noise.apply(self.dim, &st.sum, &st.x[m], to);
        }
        if self.with_beta[2] || self.with_beta[3] {
            add_scaled(&mut st.y1, T::ONE, &st.e2);
        }
    }

    /// u = delta E1 + E2 into `arg`.
    pub fn error(&self, h: T, st: &mut SdeStages<T>) {
        combine(&mut st.arg, &st.e2, self.delta * h, self.e1.row(0), &st.k);
    }

    /// E of the step in `st`.
    pub fn scaled_error(&self, h: T, by: Measure<'_, T>, st: &mut SdeStages<T>) -> T {
        self.error(h, st);
        scaled_norm(by.norm, by.scale, &st.y0, &st.y1, &st.arg)
    }

    /// S = |k_j - k_i| / |H0_j - H0_i|, leaving H0_i in `e2` (E2 is lost) and H0_j in `arg`. Zero if there is none.
    pub fn stiffness(&self, h: T, st: &mut SdeStages<T>) -> T {
        let Some((i, j)) = self.method.stiffness else { return T::ZERO };
        let n = self.n();
        self.drift_argument(i, h, st);
        st.e2.copy_from_slice(&st.arg);
        self.drift_argument(j, h, st);
        let num = crate::linalg::kernels::distance2(&st.k[j * n..][..n], &st.k[i * n..][..n]);
        let den = crate::linalg::kernels::distance2(&st.arg, &st.e2);
        let r = (num / den).sqrt();
        if den > T::ZERO && r.is_finite() { r } else { T::ZERO }
    }
}
