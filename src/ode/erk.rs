//! One explicit Runge-Kutta step: stages, error estimate, stiffness estimate, interpolant.

use super::nystrom::Nystrom;
use super::short::{self, by_shape};
use super::tableau::Tableau;
use crate::diff::{At, Map};
use crate::linalg::Norm;
use crate::linalg::Scalar;
use crate::linalg::kernels;
use crate::linalg::kernels::{Row, Rows, Scale};

/// A tableau in the precision of the computation, rows sparse.
#[derive(Debug, Clone)]
pub(crate) struct Erk<T> {
    pub tab: &'static Tableau,
    pub c: Vec<T>,
    /// Those of a for all stages, then those of e.
    rows: Rows<T>,
    pub dense: short::Dense<T>,
    /// Most coefficients of a q_i.
    pub degree: usize,
    /// Present for a Nystrom method, whose a, e and q above are those of the positions.
    pub nystrom: Option<Nystrom<T>>,
}

/// The stages of one attempted step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stages<T> {
    /// State at the step's start.
    pub y0: Vec<T>,
    /// State at its end.
    pub y1: Vec<T>,
    /// k_i at i n.
    pub k: Vec<T>,
    /// What `forward` kept, stage i at i keep_len; empty unless wanted.
    pub keep: Vec<T>,
    /// Argument of a stage.
    pub g: Vec<T>,
    /// Whether the interpolant's stages are there.
    pub dense: bool,
}

impl<T: Scalar> Erk<T> {
    /// For states of length `dim`.
    pub fn new(tab: &'static Tableau, dim: usize) -> Self {
        let degree = tab.q.iter().map(|r| r.len()).max().unwrap_or(0);
        let s = tab.stages;
        let fill = |to: &mut [T], row: &[f64]| to.iter_mut().zip(row).for_each(|(t, &w)| *t = T::of(w));
        let (mut a, mut e) = (vec![T::ZERO; s * (s - 1) / 2], vec![T::ZERO; s * tab.e.len()]);
        for (i, row) in tab.a.iter().enumerate().take(s) {
            fill(short::row_mut(&mut a, i), row);
        }
        e.chunks_exact_mut(s).zip(tab.e).for_each(|(to, row)| fill(to, row));
        let dense = short::Dense { a, e, uses_last: tab.error_uses_last, join: tab.join };
        Self {
            tab,
            dense,
            c: tab.c.iter().map(|&c| T::of(c)).collect(),
            rows: Rows::chained(tab.a, tab.e),
            degree,
            nystrom: tab.velocity.map(|v| Nystrom::new(v, dim)),
        }
    }

    /// Row of a for stage i.
    #[inline(always)]
    pub fn row(&self, i: usize) -> Row<'_, T> {
        self.rows.row(i)
    }
    /// Row r of e.
    #[inline(always)]
    pub fn error_row(&self, r: usize) -> Row<'_, T> {
        self.rows.row(self.c.len() + r)
    }

    /// Room for a state of length n; `keep_len` numbers kept a stage.
    pub fn stages(&self, n: usize, keep_len: usize) -> Stages<T> {
        let all = self.tab.c.len();
        Stages {
            y0: vec![T::ZERO; n],
            y1: vec![T::ZERO; n],
            k: vec![T::ZERO; all * n],
            keep: vec![T::ZERO; self.tab.stages * keep_len],
            g: vec![T::ZERO; n],
            dense: false,
        }
    }

    /// Evaluates stage i at g_i (in `g`, or in `y1` for the last stage).
    #[inline]
    pub fn eval_stage<F: Map<T> + ?Sized>(
        &self,
        f: &mut F,
        i: usize,
        t: T,
        h: T,
        p: &[T],
        st: &mut Stages<T>,
    ) {
        let n = st.y0.len();
        let s = self.tab.stages;
        let at: &[T] = match i {
            0 => &st.y0,
            _ if i + 1 == s => &st.y1,
            _ => &st.g,
        };
        let ki = &mut st.k[i * n..][..n];
        let ti = t + self.c[i] * h;
        if st.keep.is_empty() || i >= s {
            f.value(At::new(ti, at, p), ki);
        } else {
            let len = st.keep.len() / s;
            f.forward(At::new(ti, at, p), ki, &mut st.keep[i * len..][..len]);
        }
    }

    /// The argument of stage i, not the last of the step, from the start and the stages before it, into `g`.
    #[inline]
    pub fn argument(&self, i: usize, h: T, st: &mut Stages<T>) {
        match &self.nystrom {
            Some(ny) => self.nystrom_argument(ny, i, h, st),
            None => kernels::combine(&mut st.g, &st.y0, h, self.row(i), &st.k),
        }
    }

    /// Stages 1.. and y1 from y0 and k_0; the last stage only if the error estimate needs it.
    #[inline]
    pub fn step<F: Map<T> + ?Sized>(&self, f: &mut F, t: T, h: T, p: &[T], st: &mut Stages<T>) {
        let s = self.tab.stages;
        st.dense = false;
        if let Some(ny) = &self.nystrom {
            return self.nystrom_step(ny, f, (t, h), p, st);
        }
        for i in 1..s - 1 {
            kernels::combine(&mut st.g, &st.y0, h, self.row(i), &st.k);
            self.eval_stage(f, i, t, h, p, st);
        }
        kernels::combine(&mut st.y1, &st.y0, h, self.row(s - 1), &st.k);
        if self.tab.error_uses_last {
            self.eval_stage(f, s - 1, t, h, p, st);
        }
    }

    /// [`step`](Self::step) and the square of its scaled error; the same numbers by a kernel of its own where the state is short.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub fn attempt<F: Map<T> + ?Sized>(
        &self,
        f: &mut F,
        t: T,
        h: T,
        p: &[T],
        norm: Norm,
        scale: &Scale<T>,
        st: &mut Stages<T>,
    ) -> T {
        let short = st.y0.len() <= short::SHORT && self.nystrom.is_none();
        if short && st.keep.is_empty() && st.y0.len() == f.inputs() {
            by_shape!(st.y0.len(), self.tab.stages, {}, |N, S| {
                return self.attempt_short::<F, N, S>(f, t, h, p, norm, scale, st);
            });
        }
        self.step(f, t, h, p, st);
        self.error_square(norm, scale, h, st)
    }

    #[allow(clippy::too_many_arguments)]
    fn attempt_short<F: Map<T> + ?Sized, const N: usize, const S: usize>(
        &self,
        f: &mut F,
        t: T,
        h: T,
        p: &[T],
        norm: Norm,
        scale: &Scale<T>,
        st: &mut Stages<T>,
    ) -> T {
        st.dense = false;
        let y0: [T; N] = std::array::from_fn(|i| st.y0[i]);
        let kept = &mut st.k[..S * N];
        let mut k = [[T::ZERO; N]; S];
        k[0].copy_from_slice(&kept[..N]);
        let field = |t, g: &[T; N], dy: &mut [T; N]| f.value_one(At::new(t, g, p), dy);
        let (y1, e) = short::attempt(field, &self.dense, &self.c, norm, scale, (t, h), &y0, &mut k);
        st.y1[..N].copy_from_slice(&y1);
        kept.copy_from_slice(k.as_flattened());
        e
    }

    /// The last stage, if [`step`](Self::step) left it out. False if it is not finite.
    #[inline]
    pub fn finish<F: Map<T> + ?Sized>(&self, f: &mut F, t: T, h: T, p: &[T], st: &mut Stages<T>) -> bool {
        if self.tab.error_uses_last {
            return true;
        }
        let (s, n) = (self.tab.stages, st.y0.len());
        self.eval_stage(f, s - 1, t, h, p, st);
        kernels::all_finite(&st.k[(s - 1) * n..][..n])
    }

    /// The scaled error E.
    pub fn error(&self, norm: Norm, scale: &Scale<T>, h: T, st: &mut Stages<T>) -> T {
        self.error_square(norm, scale, h, st).sqrt()
    }

    /// E^2: the control of the step does not wait for the root. Two rows are joined as [`Join`](super::Join) says.
    #[inline]
    fn error_square(&self, norm: Norm, scale: &Scale<T>, h: T, st: &mut Stages<T>) -> T {
        if let Some(ny) = &self.nystrom {
            self.nystrom_error(ny, h, st);
            let e = kernels::scaled_norm(norm, scale, &st.y0, &st.y1, &st.g);
            return e * e;
        }
        let of = |row| kernels::error_square(norm, scale, &st.y0, &st.y1, h, row, &st.k);
        let first = of(self.error_row(0));
        if self.tab.e.len() == 1 { first } else { short::joined(self.tab.join, first, of(self.error_row(1))) }
    }

    /// Shampine's estimate of the dominant eigenvalue, |k_(s-1) - k_(s-2)| / |y1 - g_(s-2)|; both stages are at t + h
    /// (for Bogacki-Shampine at t + 3h/4 and t + h: a rough estimate). Zero if the denominator is.
    pub fn stiffness(&self, h: T, st: &mut Stages<T>) -> T {
        if let Some(ny) = &self.nystrom {
            return self.nystrom_stiffness(ny, h, st);
        }
        let (s, n) = (self.tab.stages, st.y0.len());
        kernels::combine(&mut st.g, &st.y0, h, self.row(s - 2), &st.k);
        let num = kernels::distance2(&st.k[(s - 1) * n..][..n], &st.k[(s - 2) * n..][..n]);
        let den = kernels::distance2(&st.y1, &st.g);
        let r = (num / den).sqrt();
        if den > T::ZERO && r.is_finite() { r } else { T::ZERO }
    }

    /// The interpolant's own stages.
    pub fn prepare_dense<F: Map<T> + ?Sized>(&self, f: &mut F, t: T, h: T, p: &[T], st: &mut Stages<T>) {
        if st.dense {
            return;
        }
        for i in self.tab.stages..self.tab.c.len() {
            self.argument(i, h, st);
            self.eval_stage(f, i, t, h, p, st);
        }
        st.dense = true;
    }

    /// theta (1 - theta) q_i(theta).
    #[inline]
    pub fn dense_weight(&self, i: usize, theta: T) -> T {
        self.dense_bubble(i, theta).0
    }
    /// The same and its derivative.
    #[inline]
    pub(super) fn dense_bubble(&self, i: usize, theta: T) -> (T, T) {
        kernels::bubble(self.tab.q[i].iter().map(|&q| T::of(q)), theta)
    }
    /// out <- dy/dt at t + theta h of the interpolant, whose stages must be there.
    pub fn rate(&self, theta: T, h: T, st: &Stages<T>, out: &mut [T]) {
        let n = st.y0.len();
        if let Some(ny) = &self.nystrom {
            kernels::interpolant_rate(h, (&st.y0, &st.y1), std::iter::empty(), out);
            for i in 0..self.c.len() {
                let (w, wv) = self.nystrom_weights(ny, i, theta, h)[1];
                ny.add(out, (w / h, wv / h), &st.k[i * n..][..n]);
            }
            return;
        }
        let terms = (0..self.c.len()).map(|i| (h * self.dense_bubble(i, theta).1, &st.k[i * n..][..n]));
        kernels::interpolant_rate(h, (&st.y0, &st.y1), terms, out);
    }

    /// out <- y(t + theta h); the interpolant's stages must be there.
    pub fn interpolate(&self, theta: T, h: T, st: &Stages<T>, out: &mut [T]) {
        let n = st.y0.len();
        for ((o, &a), &b) in out.iter_mut().zip(&st.y0).zip(&st.y1) {
            *o = (T::ONE - theta) * a + theta * b;
        }
        for i in 0..self.c.len() {
            if let Some(ny) = &self.nystrom {
                ny.add(out, self.nystrom_weights(ny, i, theta, h)[0], &st.k[i * n..][..n]);
                continue;
            }
            let w = self.dense_weight(i, theta);
            if w != T::ZERO {
                kernels::add_scaled(out, h * w, &st.k[i * n..][..n]);
            }
        }
    }
}
