//! df/dy and df/dt: from the user's own Jacobian, from a pullback, or from differences.

use super::super::field::{Pullback, VectorField};
use super::super::report::OdeCounts;
use crate::linalg::Scalar;

/// Where a field is linearized.
#[derive(Debug, Clone, Copy)]
pub struct Point<'a, T> {
    /// Time.
    pub t: T,
    /// The step planned from here (negative backwards): the scale of differences in time.
    pub h: T,
    /// State, n x batch.
    pub y: &'a [T],
    /// Parameters.
    pub p: &'a [T],
    /// f(t, y, p).
    pub dy: &'a [T],
}

/// A field with its derivatives: what linearly implicit steps need. Wrap a field in [`WithJacobian`], [`FromPullback`] or [`Differences`], or write
/// a formula once for dual numbers ([`FormulaField`](crate::nn::FormulaField)).
pub trait Linearize<T: Scalar>: VectorField<T> {
    /// `jac` <- df/dy, one column-major n x n block for each column of the batch; `dfdt` <- df/dt, n x batch. Calls are added to `counts`.
    fn linearize(&mut self, at: &Point<'_, T>, jac: &mut [T], dfdt: &mut [T], counts: &mut OdeCounts);
    /// Whether f does not depend on t.
    fn is_autonomous(&self) -> bool {
        false
    }
}

/// The second derivatives that the transpose of a linearly implicit step needs.
pub trait LinearizePullback<T: Scalar>: Linearize<T> + Pullback<T> {
    /// ADDS the derivatives of `sum_i w_i' (df/dy) v_i + tau' df/dt` with respect to y and to p to `y_bar` and `p_bar`.
    /// `v` and `w` hold blocks of n x batch numbers, one for each i; `work` has room for three.
    #[allow(clippy::too_many_arguments)]
    fn linearize_pullback(
        &mut self,
        at: &Point<'_, T>,
        v: &[T],
        w: &[T],
        tau: &[T],
        y_bar: &mut [T],
        p_bar: &mut [T],
        work: &mut [T],
        counts: &mut OdeCounts,
    ) {
        pullback_differences(self, at, v, w, tau, y_bar, p_bar, work, counts);
    }
}

/// The default of [`LinearizePullback`]: w' (df/dy) v differentiated with respect to y and p is the derivative of the pullback of w along v. With
/// P(e) the pullback at y + e v, it is (8 P(d) - 8 P(-d) - P(2d) + P(-2d)) / (12 d) up to d^4, with d = eps^(1/5): v is an increment of the step,
/// along which f varies slowly, so that about twelve digits are right. The transpose of the difference df/dt is the difference of the pullbacks.
#[allow(clippy::too_many_arguments)]
fn pullback_differences<T: Scalar, F: Linearize<T> + Pullback<T> + ?Sized>(
    f: &mut F,
    at: &Point<'_, T>,
    v: &[T],
    w: &[T],
    tau: &[T],
    y_bar: &mut [T],
    p_bar: &mut [T],
    work: &mut [T],
    counts: &mut OdeCounts,
) {
    let n = at.y.len();
    let (shifted, weight) = work[..2 * n].split_at_mut(n);
    let d = T::of(T::EPSILON.f64().powf(0.2));
    for (v, w) in v.chunks_exact(n).zip(w.chunks_exact(n)) {
        if w.iter().all(|x| *x == T::ZERO) || v.iter().all(|x| *x == T::ZERO) {
            continue;
        }
        for (steps, factor) in [(1.0, 8.0), (-1.0, -8.0), (2.0, -1.0), (-2.0, 1.0)] {
            let (e, factor) = (T::of(steps) * d, T::of(factor / 12.0) / d);
            for i in 0..n {
                shifted[i] = at.y[i] + e * v[i];
                weight[i] = factor * w[i];
            }
            f.pullback(at.t, shifted, at.p, weight, y_bar, p_bar);
            counts.pullbacks += 1;
        }
    }
    if f.is_autonomous() || tau.iter().all(|x| *x == T::ZERO) {
        return;
    }
    let delta = time_difference(at.t, at.h);
    for (t, sign) in [(at.t + delta, T::ONE), (at.t, -T::ONE)] {
        for i in 0..n {
            weight[i] = sign * tau[i] / delta;
        }
        f.pullback(t, at.y, at.p, weight, y_bar, p_bar);
        counts.pullbacks += 1;
    }
}

/// sqrt(eps) h, but at least eight units in the last place of t, as it is really added: f varies on the scale of the step, so that the error of the
/// difference, about 1e-8 |f| / h, is small in what df/dt adds to a step, h^2 df/dt against h f.
fn time_difference<T: Scalar>(t: T, h: T) -> T {
    let (delta, least) = (T::EPSILON.sqrt() * h.abs(), T::of(8.0) * T::EPSILON * t.abs());
    let delta = if delta < least { least } else { delta };
    (t + if h < T::ZERO { -delta } else { delta }) - t
}

/// df/dt by one forward difference, or zero for an autonomous field.
fn rate<T: Scalar, F: VectorField<T> + ?Sized>(
    f: &mut F,
    autonomous: bool,
    at: &Point<'_, T>,
    dfdt: &mut [T],
    counts: &mut OdeCounts,
) {
    if autonomous {
        return dfdt.fill(T::ZERO);
    }
    let delta = time_difference(at.t, at.h);
    f.eval(at.t + delta, at.y, at.p, dfdt);
    counts.evals += 1;
    for (d, &dy) in dfdt.iter_mut().zip(at.dy) {
        *d = (*d - dy) / delta;
    }
}

/// Passes everything but the linearization on to the field inside.
macro_rules! forward_field {
    ($name:ident<$($g:ident),*>) => {
        impl<$($g),*> $name<$($g),*> {
            /// f does not depend on t: df/dt = 0.
            pub fn autonomous(mut self) -> Self {
                self.autonomous = true;
                self
            }
        }
        forward_field!(@ $name<$($g),*>, [$($g),*]);
    };
    (@ $type:ty, [F, T]) => {
        forward_field!(@ $type);
    };
    (@ $type:ty, [F, $j:ident]) => {
        forward_field!(@ $type, $j);
    };
    (@ $type:ty $(, $j:ident)?) => {
        impl<T: Scalar, F: VectorField<T> $(, $j)?> VectorField<T> for $type {
            fn dim(&self) -> usize {
                self.field.dim()
            }
            fn n_params(&self) -> usize {
                self.field.n_params()
            }
            #[inline(always)]
            fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
                self.field.eval(t, y, p, dy);
            }
            #[inline(always)]
            fn eval_one(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
                self.field.eval_one(t, y, p, dy);
            }
            fn keep_len(&self, batch: usize) -> usize {
                self.field.keep_len(batch)
            }
            fn eval_keep(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T], keep: &mut [T]) {
                self.field.eval_keep(t, y, p, dy, keep);
            }
        }
        impl<T: Scalar, F: Pullback<T> $(, $j)?> Pullback<T> for $type {
            fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
                self.field.pullback(t, y, p, w, y_bar, p_bar);
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
                self.field.pullback_kept(t, y, p, dy, keep, w, y_bar, p_bar);
            }
        }
    };
}

/// A field with the user's own Jacobian: a closure `|t, y, p, jac|` on ONE state that writes df/dy, column-major (df_i/dy_j at `jac[j * n + i]`),
/// every entry. df/dt is a forward difference, or zero after [`autonomous`](Self::autonomous).
///
/// ```
/// use costate::ode::{FnField, WithJacobian};
/// // y0' = -50 (y0 - y1^2), y1' = -y1
/// let field = FnField::new(2, 0, |_t, y: &[f64], _p: &[f64], dy: &mut [f64]| {
///     dy[0] = -50.0 * (y[0] - y[1] * y[1]);
///     dy[1] = -y[1];
/// });
/// let _field = WithJacobian::new(field, |_t, y: &[f64], _p: &[f64], jac: &mut [f64]| {
///     jac.copy_from_slice(&[-50.0, 0.0, 100.0 * y[1], -1.0]);
/// })
/// .autonomous();
/// ```
#[derive(Debug, Clone)]
pub struct WithJacobian<F, J> {
    field: F,
    jacobian: J,
    autonomous: bool,
}

impl<F, J> WithJacobian<F, J> {
    /// From the field and the closure.
    pub fn new<T: Scalar>(field: F, jacobian: J) -> Self
    where
        F: VectorField<T>,
        J: FnMut(T, &[T], &[T], &mut [T]),
    {
        Self { field, jacobian, autonomous: false }
    }
}

forward_field!(WithJacobian<F, J>);

impl<T, F, J> Linearize<T> for WithJacobian<F, J>
where
    T: Scalar,
    F: VectorField<T>,
    J: FnMut(T, &[T], &[T], &mut [T]),
{
    #[inline(always)]
    fn linearize(&mut self, at: &Point<'_, T>, jac: &mut [T], dfdt: &mut [T], counts: &mut OdeCounts) {
        let n = self.field.dim();
        for (y, block) in at.y.chunks_exact(n).zip(jac.chunks_exact_mut(n * n)) {
            (self.jacobian)(at.t, y, at.p, block);
        }
        rate(&mut self.field, self.autonomous, at, dfdt, counts);
    }
    fn is_autonomous(&self) -> bool {
        self.autonomous
    }
}

impl<T, F, J> LinearizePullback<T> for WithJacobian<F, J>
where
    T: Scalar,
    F: Pullback<T>,
    J: FnMut(T, &[T], &[T], &mut [T]),
{
}

/// A field whose Jacobian is made from its pullback: n pullbacks a Jacobian, row by row, exact. df/dt is a forward difference, or zero after
/// [`autonomous`](Self::autonomous).
#[derive(Debug, Clone)]
pub struct FromPullback<F, T> {
    field: F,
    autonomous: bool,
    w: Vec<T>,
    row: Vec<T>,
    p_bar: Vec<T>,
}

impl<T: Scalar, F: Pullback<T>> FromPullback<F, T> {
    /// From the field.
    pub fn new(field: F) -> Self {
        let p_bar = vec![T::ZERO; field.n_params()];
        Self { field, autonomous: false, w: vec![], row: vec![], p_bar }
    }
}

forward_field!(FromPullback<F, T>);

impl<T: Scalar, F: Pullback<T>> Linearize<T> for FromPullback<F, T> {
    fn linearize(&mut self, at: &Point<'_, T>, jac: &mut [T], dfdt: &mut [T], counts: &mut OdeCounts) {
        let (n, len) = (self.field.dim(), at.y.len());
        self.w.resize(len, T::ZERO);
        self.row.resize(len, T::ZERO);
        for i in 0..n {
            self.w.fill(T::ZERO);
            self.row.fill(T::ZERO);
            self.w.iter_mut().skip(i).step_by(n).for_each(|w| *w = T::ONE);
            self.field.pullback(at.t, at.y, at.p, &self.w, &mut self.row, &mut self.p_bar);
            for (row, block) in self.row.chunks_exact(n).zip(jac.chunks_exact_mut(n * n)) {
                row.iter().zip(block.chunks_exact_mut(n)).for_each(|(r, column)| column[i] = *r);
            }
        }
        // Only the state's part is wanted; what gathers here must stay finite.
        self.p_bar.fill(T::ZERO);
        counts.pullbacks += n as u64;
        rate(&mut self.field, self.autonomous, at, dfdt, counts);
    }
    fn is_autonomous(&self) -> bool {
        self.autonomous
    }
}

impl<T: Scalar, F: Pullback<T>> LinearizePullback<T> for FromPullback<F, T> {}

/// A field whose Jacobian is made of forward differences: n evaluations a Jacobian, about half the digits right, which costs steps (the methods'
/// orders assume the exact one) but not accuracy. The increment of y_j is sqrt(eps) max(|y_j|, |h f_j|, 1e-5 max |y|).
/// df/dt likewise, or zero after [`autonomous`](Self::autonomous).
#[derive(Debug, Clone)]
pub struct Differences<F, T> {
    field: F,
    autonomous: bool,
    y: Vec<T>,
    f: Vec<T>,
    delta: Vec<T>,
}

impl<T: Scalar, F: VectorField<T>> Differences<F, T> {
    /// From the field.
    pub fn new(field: F) -> Self {
        Self { field, autonomous: false, y: vec![], f: vec![], delta: vec![] }
    }
}

forward_field!(Differences<F, T>);

impl<T: Scalar, F: VectorField<T>> Linearize<T> for Differences<F, T> {
    fn linearize(&mut self, at: &Point<'_, T>, jac: &mut [T], dfdt: &mut [T], counts: &mut OdeCounts) {
        let (n, len) = (self.field.dim(), at.y.len());
        self.y.resize(len, T::ZERO);
        self.f.resize(len, T::ZERO);
        self.delta.resize(len, T::ZERO);
        self.y.copy_from_slice(at.y);
        let root = T::EPSILON.sqrt();
        let larger = |a: T, b: T| if b > a { b } else { a };
        for ((y, dy), delta) in
            at.y.chunks_exact(n).zip(at.dy.chunks_exact(n)).zip(self.delta.chunks_exact_mut(n))
        {
            let most = y.iter().fold(T::ZERO, |m, v| larger(m, v.abs()));
            for j in 0..n {
                let size = larger(larger(y[j].abs(), (at.h * dy[j]).abs()), T::of(1e-5) * most);
                delta[j] = root * if size > T::ZERO { size } else { T::ONE };
            }
        }
        for j in 0..n {
            for k in (j..len).step_by(n) {
                self.y[k] = at.y[k] + self.delta[k];
                // What was really added.
                self.delta[k] = self.y[k] - at.y[k];
            }
            self.field.eval(at.t, &self.y, at.p, &mut self.f);
            for (b, block) in jac.chunks_exact_mut(n * n).enumerate() {
                let inverse = T::ONE / self.delta[b * n + j];
                for i in 0..n {
                    block[j * n + i] = (self.f[b * n + i] - at.dy[b * n + i]) * inverse;
                }
            }
            for k in (j..len).step_by(n) {
                self.y[k] = at.y[k];
            }
        }
        counts.evals += n as u64;
        rate(&mut self.field, self.autonomous, at, dfdt, counts);
    }
    fn is_autonomous(&self) -> bool {
        self.autonomous
    }
}

impl<T: Scalar, F: Linearize<T> + ?Sized> Linearize<T> for &mut F {
    #[inline(always)]
    fn linearize(&mut self, at: &Point<'_, T>, jac: &mut [T], dfdt: &mut [T], counts: &mut OdeCounts) {
        (**self).linearize(at, jac, dfdt, counts);
    }
    fn is_autonomous(&self) -> bool {
        (**self).is_autonomous()
    }
}

impl<T: Scalar, F: LinearizePullback<T> + ?Sized> LinearizePullback<T> for &mut F {
    fn linearize_pullback(
        &mut self,
        at: &Point<'_, T>,
        v: &[T],
        w: &[T],
        tau: &[T],
        y_bar: &mut [T],
        p_bar: &mut [T],
        work: &mut [T],
        counts: &mut OdeCounts,
    ) {
        (**self).linearize_pullback(at, v, w, tau, y_bar, p_bar, work, counts);
    }
}
