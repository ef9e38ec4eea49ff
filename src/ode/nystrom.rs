//! One step of a Nystrom method: the formulas are in [`tableau`](super::tableau).
//!
//! Storage is that of an explicit Runge-Kutta step: k_i has the length of the state, its second half the acceleration. The first half is used only in
//! k_0, where it is v0, and is not a stage's: a field's acceleration does not depend on the velocity it is evaluated with (v0 for all stages).

use super::erk::{Erk, Stages};
use super::tableau::Velocity;
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::linalg::kernels;
use crate::linalg::kernels::{Base, Part, Rows};

/// What a Nystrom method adds to a tableau.
#[derive(Debug, Clone)]
pub(crate) struct Nystrom<T> {
    /// Positions of one trajectory; a state's columns are of length 2 m.
    pub m: usize,
    /// b', then e'.
    rows: Rows<T>,
    weights: Velocity,
}

impl<T: Scalar> Nystrom<T> {
    /// For states of length `dim`.
    pub fn new(weights: Velocity, dim: usize) -> Self {
        Self { m: dim / 2, rows: Rows::new(&[weights.b, weights.e]), weights }
    }

    /// Coefficients of q'_i, ascending.
    pub fn q(&self, i: usize) -> &'static [f64] {
        self.weights.q[i]
    }

    /// Where the columns of a state of length n begin.
    #[inline(always)]
    pub fn columns(&self, n: usize) -> impl Iterator<Item = usize> + use<T> {
        // Without the division of `step_by`.
        let (mut next, width) = (0, 2 * self.m);
        std::iter::from_fn(move || {
            let at = next;
            next += width;
            (at < n).then_some(at)
        })
    }

    /// theta (1 - theta) q'_i(theta) and its derivative.
    pub fn bubble(&self, i: usize, theta: T) -> (T, T) {
        kernels::bubble(self.q(i).iter().map(|&q| T::of(q)), theta)
    }

    /// y <- y + (wq x_v; wv x_v), x_v the velocities' half of x.
    pub fn add(&self, y: &mut [T], (wq, wv): (T, T), x: &[T]) {
        let m = self.m;
        for (y, x) in y.chunks_exact_mut(2 * m).zip(x.chunks_exact(2 * m)) {
            let (yq, yv) = y.split_at_mut(m);
            kernels::add_scaled(yq, wq, &x[m..]);
            kernels::add_scaled(yv, wv, &x[m..]);
        }
    }
}

impl<T: Scalar> Erk<T> {
    /// Positions of stage i: into `out`, whose velocities stay as they are.
    #[inline(always)]
    fn positions(&self, ny: &Nystrom<T>, out: &mut [T], y0: &[T], h: T, i: usize, k: &[T]) {
        let (n, m, hc) = (y0.len(), ny.m, h * self.c[i]);
        for at in ny.columns(n) {
            let (q, v) = y0[at..][..2 * m].split_at(m);
            let (base, part) = (Base::Drift(q, hc, v), Part { n, from: at + m });
            kernels::combine_part(&mut out[at..][..m], base, h * h, self.row(i), k, part);
        }
    }

    /// The argument of stage i, from the start and the stages before it, into `g`.
    pub(super) fn nystrom_argument(&self, ny: &Nystrom<T>, i: usize, h: T, st: &mut Stages<T>) {
        st.g.copy_from_slice(&st.y0);
        self.positions(ny, &mut st.g, &st.y0, h, i, &st.k);
    }

    /// Stages 1.. and y1 from y0 and k_0.
    pub(super) fn nystrom_step<F: Map<T> + ?Sized>(
        &self,
        ny: &Nystrom<T>,
        f: &mut F,
        (t, h): (T, T),
        p: &[T],
        st: &mut Stages<T>,
    ) {
        let (n, m, s) = (st.y0.len(), ny.m, self.tab.stages);
        st.g.copy_from_slice(&st.y0);
        for i in 1..s - 1 {
            self.positions(ny, &mut st.g, &st.y0, h, i, &st.k);
            self.eval_stage(f, i, t, h, p, st);
        }
        st.y1.copy_from_slice(&st.y0);
        self.positions(ny, &mut st.y1, &st.y0, h, s - 1, &st.k);
        self.eval_stage(f, s - 1, t, h, p, st);
        for at in ny.columns(n) {
            let (v1, v0) = (&mut st.y1[at + m..][..m], Base::State(&st.y0[at + m..][..m]));
            kernels::combine_part(v1, v0, h, ny.rows.row(0), &st.k, Part { n, from: at + m });
        }
        // dq/dt at the end, for what asks the step for its derivatives.
        for at in ny.columns(n) {
            st.k[(s - 1) * n + at..][..m].copy_from_slice(&st.y1[at + m..][..m]);
        }
    }

    /// The error u, into `g`.
    pub(crate) fn nystrom_error(&self, ny: &Nystrom<T>, h: T, st: &mut Stages<T>) {
        let (n, m) = (st.y0.len(), ny.m);
        for at in ny.columns(n) {
            let (q, v) = st.g[at..][..2 * m].split_at_mut(m);
            let part = Part { n, from: at + m };
            kernels::combine_part(q, Base::Zero, h * h, self.error_row(0), &st.k, part);
            kernels::combine_part(v, Base::Zero, h, ny.rows.row(1), &st.k, part);
        }
    }

    /// sqrt(|k_(s-1) - k_(s-2)| / |Q_(s-1) - Q_(s-2)|) over accelerations and positions: the dominant frequency w of q'' = -w^2 q, the modulus of an eigenvalue
    /// of the first-order system. Leaves the argument of stage s-2 in `g`.
    pub(super) fn nystrom_stiffness(&self, ny: &Nystrom<T>, h: T, st: &mut Stages<T>) -> T {
        let (n, m, s) = (st.y0.len(), ny.m, self.tab.stages);
        self.nystrom_argument(ny, s - 2, h, st);
        let (mut num, mut den) = (T::ZERO, T::ZERO);
        for at in ny.columns(n) {
            let k = |i: usize| &st.k[i * n + at + m..][..m];
            num += kernels::distance2(k(s - 1), k(s - 2));
            den += kernels::distance2(&st.y1[at..][..m], &st.g[at..][..m]);
        }
        let r = (num / den).sqrt().sqrt();
        if den > T::ZERO && r.is_finite() { r } else { T::ZERO }
    }

    /// Weights (h^2 w_i, h w'_i) of stage i in the interpolant at theta, and their derivatives by theta.
    pub(crate) fn nystrom_weights(&self, ny: &Nystrom<T>, i: usize, theta: T, h: T) -> [(T, T); 2] {
        let ((w, dw), (wv, dwv)) = (self.dense_bubble(i, theta), ny.bubble(i, theta));
        [(h * h * w, h * wv), (h * h * dw, h * dwv)]
    }
}
