//! One Rosenbrock step: matrix, stages, error estimate, stiffness estimate, interpolant.

use super::super::report::OdeCounts;
use super::super::step::StepBody;
use super::super::stepper::Measure;
use super::matrices::Matrices;
use super::tableau::RosenbrockTableau;
use crate::diff::{At, Linearizer, Map, Source, Work};
use crate::error::OdeError;
use crate::linalg::Norm;
use crate::linalg::Scalar;
use crate::linalg::kernels;
use crate::linalg::kernels::Scale;
use crate::simd::vectorized;

/// A tableau in the precision of the computation.
#[derive(Debug, Clone)]
pub(crate) struct Rosenbrock<T> {
    pub tab: &'static RosenbrockTableau,
    pub s: usize,
    pub gamma: T,
    pub alpha: Vec<T>,
    pub d: Vec<T>,
    /// a_ij and c_ij at i s + j.
    pub a: Vec<T>,
    pub c: Vec<T>,
    pub e: Vec<T>,
    pub continues: Vec<bool>,
    pub repeats: Vec<Option<usize>>,
    /// q_mj at m s + j.
    pub q: Vec<T>,
    pub degree: usize,
    /// The only stage in the error estimate, if its weight is one.
    single: Option<usize>,
    pub has_stiffness: bool,
    /// The embedded estimate vanishes where h J is large: every step has its defect looked at.
    pub blind: bool,
    /// Rows w of the invariants w'y, one after another.
    pub invariants: Vec<T>,
}

/// The stages of one attempted step.
#[derive(Debug, Clone)]
pub(crate) struct RosStages<T> {
    pub y0: Vec<T>,
    pub y1: Vec<T>,
    /// U_i at i n.
    pub u: Vec<T>,
    /// f_i at i n.
    pub f: Vec<T>,
    pub g: Vec<T>,
    r: Vec<T>,
    pub dfdt: Vec<T>,
    /// f at the end.
    pub ahead: Vec<T>,
    /// f_0 and df/dt while the derivatives are those of the end.
    aside: Vec<T>,
    /// df/dy and the factors of W.
    pub matrices: Matrices<T>,
    pub error: Vec<T>,
    pub dim: usize,
    lin: Linearizer<T>,
    /// What the Jacobians of the field last prepared for are made of.
    pub source: Option<Source>,
    /// What `forward` would keep; nothing here.
    pub keep: Vec<T>,
    /// How errors are measured, which iterations of linear solves need to know.
    norm: Norm,
    scale: Scale<T>,
}

impl<T: Scalar> RosStages<T> {
    /// Before a run: room for the field's Jacobians.
    pub fn prepare<F: Map<T> + ?Sized>(&mut self, field: &F) -> Result<(), OdeError> {
        let by = Measure { norm: self.norm, scale: &self.scale };
        self.matrices.prepare(field, self.dim, self.y0.len() / self.dim, by)?;
        self.lin.prepare(field);
        let none = self.matrices.products().is_some();
        self.source = Some(if none { Source::Products } else { self.lin.source(field) });
        Ok(())
    }
    /// Before the first step: makes g and r again, which a panic in an earlier step has lost.
    pub fn refill(&mut self) {
        let n = self.y0.len();
        self.g.resize(n, T::ZERO);
        self.r.resize(n, T::ZERO);
    }
}

impl<T: Scalar> Rosenbrock<T> {
    pub fn new(tab: &'static RosenbrockTableau) -> Self {
        let s = tab.stages();
        let square = |rows: &[&[f64]]| {
            (0..s * s).map(|k| T::of(rows[k / s].get(k % s).copied().unwrap_or(0.0))).collect()
        };
        let list = |x: &[f64]| x.iter().map(|&v| T::of(v)).collect::<Vec<T>>();
        let nonzero: Vec<usize> = (0..s).filter(|&i| tab.e[i] != 0.0).collect();
        Self {
            tab,
            s,
            gamma: T::of(tab.gamma),
            alpha: list(tab.alpha),
            d: list(tab.d),
            a: square(tab.a),
            c: square(tab.c),
            e: list(tab.e),
            continues: (0..s).map(|i| tab.continues(i)).collect(),
            repeats: (0..s).map(|i| tab.repeats(i)).collect(),
            q: (0..tab.q.len() * s).map(|k| T::of(tab.q[k / s].get(k % s).copied().unwrap_or(0.0))).collect(),
            degree: tab.q.len(),
            single: if nonzero.len() == 1 && tab.e[nonzero[0]] == 1.0 { Some(nonzero[0]) } else { None },
            has_stiffness: tab.has_stiffness(),
            blind: !tab.sees_residual(),
            invariants: vec![],
        }
    }

    /// Room for dim x batch numbers, whose errors are measured so.
    pub fn stages(&self, dim: usize, batch: usize, (norm, scale): (Norm, Scale<T>)) -> RosStages<T> {
        let n = dim * batch;
        let zeros = |len: usize| vec![T::ZERO; len];
        RosStages {
            y0: zeros(n),
            y1: zeros(n),
            u: zeros(self.s * n),
            f: zeros(self.s * n),
            g: zeros(n),
            r: zeros(n),
            dfdt: zeros(n),
            ahead: zeros(n),
            aside: zeros(2 * n),
            matrices: Matrices::new(dim, batch),
            error: zeros(n),
            dim,
            lin: Linearizer::default(),
            source: None,
            keep: vec![],
            norm,
            scale,
        }
    }

    /// Evaluations of a step after the first stage.
    pub fn evals(&self) -> u64 {
        self.repeats[1..].iter().filter(|r| r.is_none()).count() as u64
    }

    /// f_0 and the derivatives at the step's start.
    #[inline]
    pub fn linearize<F: Map<T> + ?Sized>(
        &self,
        f: &mut F,
        t: T,
        h: T,
        p: &[T],
        st: &mut RosStages<T>,
        counts: &mut OdeCounts,
    ) {
        let n = st.y0.len();
        f.value(At::new(t, &st.y0, p), &mut st.f[..n]);
        counts.evals += 1;
        self.differentiate(f, t, h, p, st, counts);
    }

    /// The derivatives at the step's start, with f_0 there.
    #[inline]
    pub fn differentiate<F: Map<T> + ?Sized>(
        &self,
        f: &mut F,
        t: T,
        h: T,
        p: &[T],
        st: &mut RosStages<T>,
        counts: &mut OdeCounts,
    ) {
        let n = st.y0.len();
        let at = At::new(t, &st.y0, p);
        let structured = st.matrices.structured();
        if let Some(products) = st.matrices.products() {
            products.linearize(f, at);
            let mut work = Work::default();
            st.lin.rate(f, at, h, &st.f[..n], &mut st.dfdt, &mut work);
            counts.evals += work.values;
            counts.jvps += work.jvps;
            return;
        }
        let (y, jac, dt) = (&st.f[..n], &mut st.matrices.jac, &mut st.dfdt);
        let work = if structured {
            st.lin.linearize_structured(f, at, h, y, jac, dt)
        } else {
            st.lin.linearize(f, at, h, y, jac, dt)
        };
        counts.evals += work.values;
        counts.pullbacks += work.vjps;
        counts.jvps += work.jvps;
        counts.jacobians += 1;
    }

    /// Factors W = I / (h gamma) - J; false if it is singular or not finite.
    #[inline]
    pub fn factor(&self, h: T, st: &mut RosStages<T>) -> bool {
        st.matrices.factor(st.dim, h * self.gamma)
    }

    /// All stages and y1, with f_0, the derivatives and the factors there.
    #[inline]
    pub fn step<F: Map<T> + ?Sized>(&self, f: &mut F, t: T, h: T, p: &[T], st: &mut RosStages<T>) {
        if st.y0.len() == st.dim {
            match st.dim {
                1 => return self.step_short::<F, 1>(f, t, h, p, st),
                2 => return self.step_short::<F, 2>(f, t, h, p, st),
                3 => return self.step_short::<F, 3>(f, t, h, p, st),
                4 => return self.step_short::<F, 4>(f, t, h, p, st),
                _ => {}
            }
        }
        // A field that panics takes them along: see `refill`.
        let mut g = std::mem::take(&mut st.g);
        let mut r = std::mem::take(&mut st.r);
        vectorized(
            st.dim,
            #[inline(always)]
            || self.step_n(st.dim, f, t, h, p, &mut g, &mut r, st),
        );
        (st.g, st.r) = (g, r);
    }

    /// `g` and `r` have the length of the state.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn step_n<F: Map<T> + ?Sized>(
        &self,
        dim: usize,
        f: &mut F,
        t: T,
        h: T,
        p: &[T],
        g: &mut [T],
        r: &mut [T],
        st: &mut RosStages<T>,
    ) {
        for i in 0..self.s {
            self.gather(i, h, st, g, r);
            self.evaluate(i, f, t, h, p, g, st);
            self.solve(i, dim, f, At::new(t, &[], p), r, st);
        }
        self.end(g, st);
    }

    /// The same for a single state of N numbers, everything inlined.
    #[inline(always)]
    fn step_short<F: Map<T> + ?Sized, const N: usize>(
        &self,
        f: &mut F,
        t: T,
        h: T,
        p: &[T],
        st: &mut RosStages<T>,
    ) {
        let (mut g, mut r) = ([T::ZERO; N], [T::ZERO; N]);
        self.step_n(N, f, t, h, p, &mut g, &mut r, st);
    }

    /// g <- g_i and r <- (1/h) sum c_ij U_j + h d_i df/dt.
    #[inline(always)]
    fn gather(&self, i: usize, h: T, st: &RosStages<T>, g: &mut [T], r: &mut [T]) {
        let n = g.len();
        let (a, c) = (&self.a[i * self.s..][..i], &self.c[i * self.s..][..i]);
        let inverse = T::ONE / h;
        let d = h * self.d[i];
        let dfdt = &st.dfdt[..n];
        for m in 0..n {
            r[m] = d * dfdt[m];
        }
        let y0 = &st.y0[..n];
        if self.continues[i] {
            let u = &st.u[(i - 1) * n..][..n];
            for m in 0..n {
                g[m] += u[m];
            }
            for (c, u) in c.iter().zip(st.u.chunks_exact(n)) {
                let c = *c * inverse;
                for m in 0..n {
                    r[m] += c * u[m];
                }
            }
            return;
        }
        g.copy_from_slice(y0);
        for ((a, c), u) in a.iter().zip(c).zip(st.u.chunks_exact(n)) {
            let c = *c * inverse;
            for m in 0..n {
                g[m] += *a * u[m];
                r[m] += c * u[m];
            }
        }
    }

    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    fn evaluate<F: Map<T> + ?Sized>(
        &self,
        i: usize,
        f: &mut F,
        t: T,
        h: T,
        p: &[T],
        g: &[T],
        st: &mut RosStages<T>,
    ) {
        let n = g.len();
        if i == 0 {
            return;
        }
        match self.repeats[i] {
            Some(l) => st.f.copy_within(l * n..(l + 1) * n, i * n),
            None => f.value(At::new(t + self.alpha[i] * h, g, p), &mut st.f[i * n..][..n]),
        }
    }

    /// U_i <- W^-1 (f_i + r), W at (t, y0) with the t and p of `start`.
    #[inline(always)]
    fn solve<F: Map<T> + ?Sized>(
        &self,
        i: usize,
        dim: usize,
        field: &mut F,
        start: At<'_, T>,
        r: &mut [T],
        st: &mut RosStages<T>,
    ) {
        let n = r.len();
        let f = &st.f[i * n..][..n];
        for m in 0..n {
            r[m] += f[m];
        }
        let at = At { x: &st.y0, ..start };
        st.matrices.solve(dim, field, at, r, &mut st.u[i * n..][..n]);
    }

    #[inline(always)]
    fn end(&self, g: &[T], st: &mut RosStages<T>) {
        let n = g.len();
        let u = &st.u[(self.s - 1) * n..][..n];
        let y1 = &mut st.y1[..n];
        for m in 0..n {
            y1[m] = g[m] + u[m];
        }
        if !self.invariants.is_empty() {
            self.keep_invariants(st.dim, &st.y0, y1);
        }
    }

    /// g <- g_i, with the operations of the step.
    pub fn argument(&self, i: usize, st: &mut RosStages<T>) {
        let n = st.y0.len();
        st.g.copy_from_slice(&st.y0);
        for (j, u) in st.u.chunks_exact(n).enumerate().take(i) {
            kernels::add_scaled(&mut st.g, self.a[i * self.s + j], u);
        }
    }

    /// The scaled error E.
    #[inline]
    pub fn error(&self, norm: Norm, scale: &Scale<T>, st: &mut RosStages<T>) -> T {
        let n = st.y0.len();
        let u = match self.single {
            Some(i) => &st.u[i * n..][..n],
            None => {
                st.error.fill(T::ZERO);
                for (e, u) in self.e.iter().zip(st.u.chunks_exact(n)) {
                    if *e != T::ZERO {
                        kernels::add_scaled(&mut st.error, *e, u);
                    }
                }
                &st.error
            }
        };
        kernels::scaled_norm(norm, scale, &st.y0, &st.y1, u)
    }

    /// The scaled norm of v = W^-1 (f(t + h, y1) - y'(t + h)), y' of the interpolant: what is left of the equation at the end. It is of higher order than u where h J is
    /// small; where it is large v is the distance of y1 from the slow solution, which u of RODAS3P does not see.
    pub fn defect<F: Map<T> + ?Sized>(
        &self,
        f: &mut F,
        (t, h): (T, T),
        p: &[T],
        (norm, scale): (Norm, &Scale<T>),
        st: &mut RosStages<T>,
        counts: &mut OdeCounts,
    ) -> T {
        f.value(At::new(t + h, &st.y1, p), &mut st.ahead);
        counts.evals += 1;
        let mut rate = std::mem::take(&mut st.error);
        self.rate(T::ONE, h, st, &mut rate);
        rate.iter_mut().zip(&st.ahead).for_each(|(r, f)| *r = *f - *r);
        st.error = rate;
        st.matrices.solve(st.dim, f, At::new(t, &st.y0, p), &st.error, &mut st.g);
        kernels::scaled_norm(norm, scale, &st.y0, &st.y1, &st.g)
    }

    /// After [`defect`](Self::defect): the same with W of the end of the step, which then stays in place of that of the start.
    pub fn defect_at_end<F: Map<T> + ?Sized>(
        &self,
        f: &mut F,
        (t, h): (T, T),
        p: &[T],
        (norm, scale): (Norm, &Scale<T>),
        st: &mut RosStages<T>,
        counts: &mut OdeCounts,
    ) -> T {
        let n = st.y0.len();
        st.aside[..n].copy_from_slice(&st.f[..n]);
        st.aside[n..].copy_from_slice(&st.dfdt);
        st.f[..n].copy_from_slice(&st.ahead);
        std::mem::swap(&mut st.y0, &mut st.y1);
        self.differentiate(f, t + h, h, p, st, counts);
        std::mem::swap(&mut st.y0, &mut st.y1);
        st.f[..n].copy_from_slice(&st.aside[..n]);
        st.dfdt.copy_from_slice(&st.aside[n..]);
        counts.factorizations += st.matrices.are_held() as u64;
        if !self.factor(h, st) {
            // No value of the field's: a shorter step helps.
            return T::of(f32::MAX as f64);
        }
        st.matrices.solve(st.dim, f, At::new(t + h, &st.y1, p), &st.error, &mut st.g);
        kernels::scaled_norm(norm, scale, &st.y0, &st.y1, &st.g)
    }

    /// |f_{s-1} - f_{s-2}| / |g_{s-1} - g_{s-2}|, both at t + h, with g_{s-1} - g_{s-2} = U_{s-2}: an estimate of the dominant eigenvalue. Zero
    /// where the method does not define it or the denominator is zero.
    pub fn stiffness(&self, st: &RosStages<T>) -> T {
        if !self.has_stiffness {
            return T::ZERO;
        }
        let (n, s) = (st.y0.len(), self.s);
        let num = kernels::distance2(&st.f[(s - 1) * n..][..n], &st.f[(s - 2) * n..][..n]);
        let den = st.u[(s - 2) * n..][..n].iter().fold(T::ZERO, |sum, u| sum + *u * *u);
        let r = (num / den).sqrt();
        if den > T::ZERO && r.is_finite() { r } else { T::ZERO }
    }

    /// theta (1 - theta) sum_m q_mj theta^m.
    #[inline]
    pub fn dense_weight(&self, j: usize, theta: T) -> T {
        self.dense_bubble(j, theta).0
    }
    /// The same and its derivative.
    #[inline]
    fn dense_bubble(&self, j: usize, theta: T) -> (T, T) {
        kernels::bubble((0..self.degree).map(|m| self.q[m * self.s + j]), theta)
    }
    /// out <- dy/dt at t + theta h of the interpolant.
    pub fn rate(&self, theta: T, h: T, st: &RosStages<T>, out: &mut [T]) {
        let terms =
            st.u.chunks_exact(st.y0.len()).enumerate().map(|(j, u)| (self.dense_bubble(j, theta).1, u));
        kernels::interpolant_rate(h, (&st.y0, &st.y1), terms, out);
    }

    /// out <- y(t + theta h).
    pub fn interpolate(&self, theta: T, st: &RosStages<T>, out: &mut [T]) {
        let n = st.y0.len();
        for ((o, &a), &b) in out.iter_mut().zip(&st.y0).zip(&st.y1) {
            *o = (T::ONE - theta) * a + theta * b;
        }
        for (j, u) in st.u.chunks_exact(n).enumerate() {
            let w = self.dense_weight(j, theta);
            if w != T::ZERO {
                kernels::add_scaled(out, w, u);
            }
        }
    }
}

/// A Rosenbrock step as sinks see it.
pub(crate) struct RosBody<'a, T> {
    pub ros: &'a Rosenbrock<T>,
    pub st: &'a RosStages<T>,
}

impl<T: Scalar> StepBody<T> for RosBody<'_, T> {
    fn y0(&self) -> &[T] {
        &self.st.y0
    }
    fn y1(&self) -> &[T] {
        &self.st.y1
    }
    fn dy0(&self) -> &[T] {
        &self.st.f[..self.st.y0.len()]
    }
    fn stiffness(&mut self, _: T) -> T {
        self.ros.stiffness(self.st)
    }
    fn radius(&self) -> Option<T> {
        Some(self.st.matrices.radius(self.st.dim))
    }
    fn degree(&self) -> usize {
        self.ros.degree
    }
    fn prepare_dense(&mut self, _: T, _: T) -> u64 {
        0
    }
    fn interpolate(&mut self, theta: T, _: T, out: &mut [T]) {
        self.ros.interpolate(theta, self.st, out);
    }
    fn coefficients(&mut self, _: T, out: &mut [T]) {
        let n = self.st.y0.len();
        out.fill(T::ZERO);
        for (m, z) in out.chunks_exact_mut(n).enumerate() {
            for (j, u) in self.st.u.chunks_exact(n).enumerate() {
                let w = self.ros.q[m * self.ros.s + j];
                if w != T::ZERO {
                    kernels::add_scaled(z, w, u);
                }
            }
        }
    }
}
