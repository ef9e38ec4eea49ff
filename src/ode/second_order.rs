//! Second-order equations q'' = a(t, q, p) as first-order ones.

use super::field::{Pullback, VectorField};
use crate::linalg::Scalar;

/// d(q; v)/dt = (v; a(t, q, p)): the field of a second-order equation, what Nystrom methods ([`DPRKN64`](super::DPRKN64)) need and every other method takes, too.
///
/// The inner field is the acceleration, a function of m positions; a state is m positions, then m velocities.
///
/// ```
/// use costate::ode::{DPRKN64, FnField, Options, SecondOrder, solve};
/// // A planet on a circle: q'' = -q / |q|^3.
/// let mut field = SecondOrder::new(FnField::new(2, 0, |_t, q: &[f64], _p: &[f64], a: &mut [f64]| {
///     let r = q[0].hypot(q[1]);
///     a[0] = -q[0] / r.powi(3);
///     a[1] = -q[1] / r.powi(3);
/// }));
/// let turn = std::f64::consts::TAU;
/// let s = solve(&mut field, &DPRKN64, &Options::tolerances(1e-9, 1e-9), (0.0, turn), &[1.0, 0.0, 0.0, 1.0], &[], &[])?;
/// assert!((s.y1[0] - 1.0).abs() < 1e-6 && (s.y1[3] - 1.0).abs() < 1e-6);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SecondOrder<F, T = f64> {
    field: F,
    /// Room for a batch: positions, accelerations and their bars, contiguous.
    room: [Vec<T>; 4],
}

impl<F, T: Scalar> SecondOrder<F, T> {
    /// From the acceleration.
    pub fn new(acceleration: F) -> Self {
        Self { field: acceleration, room: [const { Vec::new() }; 4] }
    }
}

/// Columns of 2 m numbers of which `half` 0 is the positions, 1 the velocities.
fn halves<T>(y: &[T], m: usize, half: usize) -> impl Iterator<Item = &[T]> {
    y.chunks_exact(2 * m).map(move |c| &c[half * m..][..m])
}

fn gather<T: Scalar>(to: &mut Vec<T>, y: &[T], m: usize, half: usize) {
    to.clear();
    halves(y, m, half).for_each(|c| to.extend_from_slice(c));
}

fn scatter<T: Scalar>(from: &[T], dy: &mut [T], m: usize) {
    for (c, a) in dy.chunks_exact_mut(2 * m).zip(from.chunks_exact(m)) {
        c[m..].copy_from_slice(a);
    }
}

impl<T: Scalar, F: VectorField<T>> VectorField<T> for SecondOrder<F, T> {
    fn dim(&self) -> usize {
        2 * self.field.dim()
    }
    fn n_params(&self) -> usize {
        self.field.n_params()
    }
    fn is_second_order(&self) -> bool {
        true
    }
    #[inline]
    fn eval_one(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        let (q, v) = y.split_at(y.len() / 2);
        let (dq, dv) = dy.split_at_mut(v.len());
        dq.copy_from_slice(v);
        self.field.eval_one(t, q, p, dv);
    }
    #[inline]
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        let m = self.field.dim();
        if y.len() == 2 * m {
            return self.eval_one(t, y, p, dy);
        }
        let [q, a, ..] = &mut self.room;
        gather(q, y, m, 0);
        a.resize(q.len(), T::ZERO);
        self.field.eval(t, q, p, a);
        halves(y, m, 1).zip(dy.chunks_exact_mut(2 * m)).for_each(|(v, dy)| dy[..m].copy_from_slice(v));
        scatter(a, dy, m);
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.field.keep_len(batch)
    }
    fn eval_keep(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T], keep: &mut [T]) {
        let m = self.field.dim();
        let [q, a, ..] = &mut self.room;
        gather(q, y, m, 0);
        a.resize(q.len(), T::ZERO);
        self.field.eval_keep(t, q, p, a, keep);
        halves(y, m, 1).zip(dy.chunks_exact_mut(2 * m)).for_each(|(v, dy)| dy[..m].copy_from_slice(v));
        scatter(a, dy, m);
    }
}

impl<F, T: Scalar> SecondOrder<F, T> {
    /// The bars of one evaluation, with what the inner field's pullback adds for w_v at the positions.
    fn pull(
        &mut self,
        (y, w): (&[T], &[T]),
        y_bar: &mut [T],
        m: usize,
        inner: impl FnOnce(&mut F, &[T], &[T], &mut [T]),
    ) {
        let Self { field, room: [q, _, w_v, q_bar] } = self;
        gather(q, y, m, 0);
        gather(w_v, w, m, 1);
        q_bar.clear();
        q_bar.resize(q.len(), T::ZERO);
        inner(field, q, w_v, q_bar);
        let columns = y_bar.chunks_exact_mut(2 * m).zip(q_bar.chunks_exact(m));
        for ((y_bar, q_bar), w_q) in columns.zip(halves(w, m, 0)) {
            let (yq, yv) = y_bar.split_at_mut(m);
            yq.iter_mut().zip(q_bar).for_each(|(y, &b)| *y += b);
            yv.iter_mut().zip(w_q).for_each(|(y, &b)| *y += b);
        }
    }
}

impl<T: Scalar, F: Pullback<T>> Pullback<T> for SecondOrder<F, T> {
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let m = self.field.dim();
        self.pull((y, w), y_bar, m, |f, q, w_v, q_bar| f.pullback(t, q, p, w_v, q_bar, p_bar));
    }
    fn pullback_kept(
        &mut self,
        t: T,
        y: &[T],
        p: &[T],
        dy: &[T],
        keep: &[T],
        w: &[T],
        y_bar: &mut [T],
        p_bar: &mut [T],
    ) {
        let m = self.field.dim();
        let mut a = std::mem::take(&mut self.room[1]);
        gather(&mut a, dy, m, 1);
        self.pull((y, w), y_bar, m, |f, q, w_v, q_bar| f.pullback_kept(t, q, p, &a, keep, w_v, q_bar, p_bar));
        self.room[1] = a;
    }
}
