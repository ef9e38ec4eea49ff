//! A pullback for a small closure, by dual numbers.

use num_dual::{Dual, DualNumFloat};

use crate::linalg::Scalar;
use crate::ode::{Pullback, VectorField};

/// A field from a closure `|t, y, p, dy|` on dual numbers: no derivative by hand. One pullback costs n + n_params evaluations a state;
/// for more than a few dozen of them write the pullback yourself.
///
/// ```
/// use costate::nn::{Dual, DualField, DualNum};
/// use costate::ode::{Pullback, VectorField};
/// // y' = -p sin y
/// let mut field = DualField::new(1, 1, |_t, y: &[Dual<f64>], p: &[Dual<f64>], dy: &mut [Dual<f64>]| dy[0] = -p[0] * y[0].sin());
/// let (mut y_bar, mut p_bar) = ([0.0], [0.0]);
/// field.pullback(0.0, &[0.5], &[2.0], &[1.0], &mut y_bar, &mut p_bar);
/// assert_eq!((y_bar[0], p_bar[0]), (-2.0 * 0.5f64.cos(), -(0.5f64.sin())));
/// ```
#[derive(Debug, Clone)]
pub struct DualField<F, T: DualNumFloat> {
    n: usize,
    f: F,
    y: Vec<Dual<T>>,
    p: Vec<Dual<T>>,
    dy: Vec<Dual<T>>,
}

impl<T, F> DualField<F, T>
where
    T: Scalar + DualNumFloat,
    F: FnMut(T, &[Dual<T>], &[Dual<T>], &mut [Dual<T>]),
{
    /// From the sizes and the closure, on ONE state.
    pub fn new(n: usize, n_params: usize, f: F) -> Self {
        let zero = Dual::new(<T as Scalar>::ZERO, <T as Scalar>::ZERO);
        Self { n, f, y: vec![zero; n], p: vec![zero; n_params], dy: vec![zero; n] }
    }
    fn load(&mut self, y: &[T], p: &[T]) {
        let constant = |x: T| Dual::new(x, <T as Scalar>::ZERO);
        self.y.iter_mut().zip(y).for_each(|(d, &x)| *d = constant(x));
        self.p.iter_mut().zip(p).for_each(|(d, &x)| *d = constant(x));
    }
    /// w' (df along the seeded direction).
    fn slope(&mut self, t: T, w: &[T]) -> T {
        (self.f)(t, &self.y, &self.p, &mut self.dy);
        let mut s = <T as Scalar>::ZERO;
        for (d, &w) in self.dy.iter().zip(w) {
            s += d.eps * w;
        }
        s
    }
}

impl<T, F> VectorField<T> for DualField<F, T>
where
    T: Scalar + DualNumFloat,
    F: FnMut(T, &[Dual<T>], &[Dual<T>], &mut [Dual<T>]),
{
    fn dim(&self) -> usize {
        self.n
    }
    fn n_params(&self) -> usize {
        self.p.len()
    }
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        for (y, dy) in y.chunks_exact(self.n).zip(dy.chunks_exact_mut(self.n)) {
            self.load(y, p);
            (self.f)(t, &self.y, &self.p, &mut self.dy);
            dy.iter_mut().zip(&self.dy).for_each(|(o, d)| *o = d.re);
        }
    }
}

impl<T, F> Pullback<T> for DualField<F, T>
where
    T: Scalar + DualNumFloat,
    F: FnMut(T, &[Dual<T>], &[Dual<T>], &mut [Dual<T>]),
{
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        let n = self.n;
        for ((y, w), y_bar) in y.chunks_exact(n).zip(w.chunks_exact(n)).zip(y_bar.chunks_exact_mut(n)) {
            self.load(y, p);
            for (i, b) in y_bar.iter_mut().enumerate() {
                self.y[i].eps = one;
                *b += self.slope(t, w);
                self.y[i].eps = zero;
            }
            for (i, b) in p_bar.iter_mut().enumerate() {
                self.p[i].eps = one;
                *b += self.slope(t, w);
                self.p[i].eps = zero;
            }
        }
    }
}
