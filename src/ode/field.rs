//! What a user implements: dy/dt = f(t, y, p), and its pullback.

use crate::linalg::Scalar;

/// Dynamics dy/dt = f(t, y, p), batched: `y` is n x batch, column-major, batch = y.len() / n; a batch of one is a plain ODE.
/// The integrator may call with any time inside the span and with states of attempts it later rejects: a field must be a function.
pub trait VectorField<T: Scalar> {
    /// n, the length of one state.
    fn dim(&self) -> usize;
    /// Length of `p`.
    fn n_params(&self) -> usize;
    /// dy <- f(t, y, p), every entry. A value that is not finite makes the integrator reject the step and shrink it.
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]);
    /// As [`eval`](Self::eval) for a batch of one: what short states are integrated with. Worth its own code only where `eval` has a loop over the batch.
    #[inline(always)]
    fn eval_one(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        self.eval(t, y, p, dy);
    }
    /// Whether y = (q; v) and f = (v; a(t, q, p)) in every column, as Nystrom methods need it ([`SecondOrder`](super::SecondOrder)).
    fn is_second_order(&self) -> bool {
        false
    }
    /// How many numbers [`eval_keep`](Self::eval_keep) stores for one evaluation of `batch` columns, so that a pullback need not recompute them.
    fn keep_len(&self, batch: usize) -> usize {
        let _ = batch;
        0
    }
    /// As [`eval`](Self::eval), storing intermediate results in `keep` (of length `keep_len`).
    fn eval_keep(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T], keep: &mut [T]) {
        let _ = keep;
        self.eval(t, y, p, dy);
    }
}

/// The transpose of a field's derivative.
pub trait Pullback<T: Scalar>: VectorField<T> {
    /// ADDS w' df/dy to `y_bar` (n x batch, like y and w) and w' df/dp, summed over the batch, to `p_bar`.
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]);
    /// As [`pullback`](Self::pullback), with dy = f(t, y, p) and what `eval_keep` stored for the same arguments.
    #[allow(clippy::too_many_arguments)]
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
        let _ = (dy, keep);
        self.pullback(t, y, p, w, y_bar, p_bar);
    }
}

impl<T: Scalar, F: VectorField<T> + ?Sized> VectorField<T> for &mut F {
    fn dim(&self) -> usize {
        (**self).dim()
    }
    fn n_params(&self) -> usize {
        (**self).n_params()
    }
    #[inline]
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        (**self).eval(t, y, p, dy);
    }
    #[inline]
    fn eval_one(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        (**self).eval_one(t, y, p, dy);
    }
    fn is_second_order(&self) -> bool {
        (**self).is_second_order()
    }
    fn keep_len(&self, batch: usize) -> usize {
        (**self).keep_len(batch)
    }
    fn eval_keep(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T], keep: &mut [T]) {
        (**self).eval_keep(t, y, p, dy, keep);
    }
}

impl<T: Scalar, F: Pullback<T> + ?Sized> Pullback<T> for &mut F {
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        (**self).pullback(t, y, p, w, y_bar, p_bar);
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
        (**self).pullback_kept(t, y, p, dy, keep, w, y_bar, p_bar);
    }
}

/// A field from a closure `|t, y, p, dy|` on ONE state of length n; a batch is treated column by column.
#[derive(Debug, Clone)]
pub struct FnField<F> {
    n: usize,
    n_params: usize,
    f: F,
}

impl<F> FnField<F> {
    /// From the sizes and the closure.
    pub fn new<T: Scalar>(n: usize, n_params: usize, f: F) -> Self
    where
        F: FnMut(T, &[T], &[T], &mut [T]),
    {
        Self { n, n_params, f }
    }
}

impl<T: Scalar, F: FnMut(T, &[T], &[T], &mut [T])> VectorField<T> for FnField<F> {
    fn dim(&self) -> usize {
        self.n
    }
    fn n_params(&self) -> usize {
        self.n_params
    }
    #[inline]
    fn eval_one(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        (self.f)(t, y, p, dy);
    }
    #[inline]
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        for (y, dy) in y.chunks_exact(self.n).zip(dy.chunks_exact_mut(self.n)) {
            (self.f)(t, y, p, dy);
        }
    }
}

/// A field and its pullback from two closures on ONE state: `|t, y, p, dy|` and `|t, y, p, w, y_bar, p_bar|` (which ADDS).
#[derive(Debug, Clone)]
pub struct FnPullback<F, G> {
    field: FnField<F>,
    g: G,
}

impl<F, G> FnPullback<F, G> {
    /// From the sizes and the closures.
    pub fn new<T: Scalar>(n: usize, n_params: usize, f: F, g: G) -> Self
    where
        F: FnMut(T, &[T], &[T], &mut [T]),
        G: FnMut(T, &[T], &[T], &[T], &mut [T], &mut [T]),
    {
        Self { field: FnField::new(n, n_params, f), g }
    }
}

impl<T, F, G> VectorField<T> for FnPullback<F, G>
where
    T: Scalar,
    F: FnMut(T, &[T], &[T], &mut [T]),
{
    fn dim(&self) -> usize {
        self.field.n
    }
    fn n_params(&self) -> usize {
        self.field.n_params
    }
    #[inline]
    fn eval_one(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        self.field.eval_one(t, y, p, dy);
    }
    #[inline]
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        self.field.eval(t, y, p, dy);
    }
}

impl<T, F, G> Pullback<T> for FnPullback<F, G>
where
    T: Scalar,
    F: FnMut(T, &[T], &[T], &mut [T]),
    G: FnMut(T, &[T], &[T], &[T], &mut [T], &mut [T]),
{
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let n = self.field.n;
        for ((y, w), y_bar) in y.chunks_exact(n).zip(w.chunks_exact(n)).zip(y_bar.chunks_exact_mut(n)) {
            (self.g)(t, y, p, w, y_bar, p_bar);
        }
    }
}
