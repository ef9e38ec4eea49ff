//! Second-order equations q'' = a(t, q, p) as first-order ones.

use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers, Size, Spec, VjpRoom};
use crate::linalg::Scalar;

/// d(q; v)/dt = (v; a(t, q, p)): the field of a second-order equation, what Nystrom methods ([`DPRKN64`](super::DPRKN64)) need and every other method takes, too.
///
/// The inner field is the acceleration, a function of m positions; a state is m positions, then m velocities.
///
/// ```
/// use costate::diff::FnMap;
/// use costate::ode::{DPRKN64, Options, SecondOrder, solve};
/// // A planet on a circle: q'' = -q / |q|^3.
/// let mut field = SecondOrder::new(FnMap::new(2, 0, |_t, q: &[f64], _p: &[f64], a: &mut [f64]| {
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
    /// For tangents: accelerations, positions and accelerations along the directions, weights of the accelerations and theirs, the sum of those of the velocities.
    more: [Vec<T>; 6],
    kept: VjpRoom<T>,
}

impl<F, T: Scalar> SecondOrder<F, T> {
    /// From the acceleration.
    pub fn new(acceleration: F) -> Self {
        let more = [const { Vec::new() }; 6];
        Self { field: acceleration, room: [const { Vec::new() }; 4], more, kept: VjpRoom::default() }
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

impl<F, T: Scalar> SecondOrder<F, T> {
    /// The bars of one evaluation, with what the inner field's pullback adds for w_v at the positions.
    fn pull(
        &mut self,
        (y, w): (&[T], &[T]),
        y_bar: &mut [T],
        m: usize,
        inner: impl FnOnce(&mut F, &[T], &[T], &mut [T]),
    ) {
        let Self { field, room: [q, _, w_v, q_bar], .. } = self;
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

impl<T: Scalar, F: Map<T>> SecondOrder<F, T> {
    /// The accelerations at positions alone.
    pub(super) fn accelerate(&mut self, at: At<'_, T>, dv: &mut [T]) {
        self.field.value(at, dv);
    }
    /// ADDS w' times their derivatives.
    pub(super) fn pull_acceleration(&mut self, at: At<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        self.kept.add(&mut self.field, at, w, bars);
    }
}

impl<T: Scalar, F: Map<T>> Map<T> for SecondOrder<F, T> {
    #[inline(always)]
    fn size(&self) -> Size {
        let Size { inputs, params, .. } = self.field.size();
        Size { inputs: 2 * inputs, outputs: 2 * inputs, params }
    }
    #[inline(always)]
    fn offers(&self) -> Offers {
        let passed = Offers::VJP | Offers::JVP | Offers::TANGENT | Offers::ALONE | Offers::AUTONOMOUS;
        self.field.offers().and(passed) | Offers::SECOND_ORDER
    }
    fn spec(&self) -> Spec {
        self.field.spec()
    }
    #[inline]
    fn value_one(&mut self, at: At<'_, T>, dy: &mut [T]) {
        let (q, v) = at.x.split_at(at.x.len() / 2);
        let (dq, dv) = dy.split_at_mut(v.len());
        dq.copy_from_slice(v);
        self.field.value_one(At { x: q, ..at }, dv);
    }
    #[inline]
    fn value(&mut self, at: At<'_, T>, dy: &mut [T]) {
        let m = self.field.inputs();
        if at.x.len() == 2 * m {
            return self.value_one(at, dy);
        }
        let [q, a, ..] = &mut self.room;
        gather(q, at.x, m, 0);
        a.resize(q.len(), T::ZERO);
        self.field.value(At { x: q, ..at }, a);
        halves(at.x, m, 1).zip(dy.chunks_exact_mut(2 * m)).for_each(|(v, dy)| dy[..m].copy_from_slice(v));
        scatter(a, dy, m);
    }
    fn keep_len(&self, batch: usize) -> usize {
        self.field.keep_len(batch)
    }
    fn forward(&mut self, at: At<'_, T>, dy: &mut [T], keep: &mut [T]) {
        let m = self.field.inputs();
        let [q, a, ..] = &mut self.room;
        gather(q, at.x, m, 0);
        a.resize(q.len(), T::ZERO);
        self.field.forward(At { x: q, ..at }, a, keep);
        halves(at.x, m, 1).zip(dy.chunks_exact_mut(2 * m)).for_each(|(v, dy)| dy[..m].copy_from_slice(v));
        scatter(a, dy, m);
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let m = self.field.inputs();
        let mut a = std::mem::take(&mut self.room[1]);
        gather(&mut a, of.y, m, 1);
        let kept = Kept { y: &a, keep: of.keep };
        let BarsMut { x: y_bar, p: p_bar } = bars;
        self.pull((at.x, w), y_bar, m, |f, q, w_v, q_bar| {
            f.vjp(At { x: q, ..at }, kept, w_v, BarsMut::new(q_bar, p_bar));
        });
        self.room[1] = a;
    }
    fn jvp(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        dy_dot: &mut [T],
        keep_dot: &mut [T],
    ) {
        let (m, n) = (self.field.inputs(), at.x.len());
        let Self { field, room: [q, a, q_dot, a_dot], .. } = self;
        gather(q, at.x, m, 0);
        gather(a, of.y, m, 1);
        gather(q_dot, dots.x, m, 0);
        a_dot.resize(dots.count * n / 2, T::ZERO);
        let kept = Kept { y: a, keep: of.keep };
        field.jvp(At { x: q, ..at }, kept, dots.with_x(q_dot), a_dot, keep_dot);
        if dots.x.is_empty() {
            dy_dot.fill(T::ZERO);
        }
        let columns = halves(dots.x, m, 1).zip(dy_dot.chunks_exact_mut(2 * m));
        columns.for_each(|(v, dy)| dy[..m].copy_from_slice(v));
        scatter(a_dot, dy_dot, m);
    }
    fn vjp_tangent(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        dot: Kept<'_, T>,
        w: &[T],
        w_dot: &[T],
        bars: BarsMut<'_, T>,
    ) {
        let m = self.field.inputs();
        let [mut a, mut q_dot, mut a_dot, mut w_v, mut w_v_dot, mut sum] = std::mem::take(&mut self.more);
        gather(&mut a, of.y, m, 1);
        gather(&mut q_dot, dots.x, m, 0);
        gather(&mut a_dot, dot.y, m, 1);
        gather(&mut w_v, w, m, 1);
        gather(&mut w_v_dot, w_dot, m, 1);
        let (kept, kept_dot) = (Kept { y: &a, keep: of.keep }, Kept { y: &a_dot, keep: dot.keep });
        let (dots, BarsMut { x: y_bar, p: p_bar }) = (dots.with_x(&q_dot), bars);
        // The velocities are their own derivative: of them there is the vjp of the w_dot alone, summed over the directions.
        sum.clear();
        sum.resize(at.x.len(), T::ZERO);
        for w in w_dot.chunks_exact(at.x.len()) {
            sum.iter_mut().zip(w).for_each(|(s, w)| *s += *w);
        }
        self.pull((at.x, &sum), y_bar, m, |f, q, _, q_bar| {
            let bars = BarsMut::new(q_bar, p_bar);
            f.vjp_tangent(At { x: q, ..at }, kept, dots, kept_dot, &w_v, &w_v_dot, bars);
        });
        self.more = [a, q_dot, a_dot, w_v, w_v_dot, sum];
    }
}
