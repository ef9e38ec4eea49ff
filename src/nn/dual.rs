//! A pullback for a small closure, by dual numbers.

use num_dual::{Dual, DualNumFloat};

use crate::diff::{At, BarsMut, Kept, Map, Offers, Size};
use crate::linalg::Scalar;

/// A field from a closure `|t, y, p, dy|` on dual numbers: no derivative by hand. One pullback costs n + n_params evaluations a state;
/// for more than a few dozen of them write the pullback yourself.
///
/// ```
/// use costate::diff::{At, BarsMut, Kept, Map};
/// use costate::nn::{Dual, DualField, DualNum};
/// // y' = -p sin y
/// let mut field = DualField::new(1, 1, |_t, y: &[Dual<f64>], p: &[Dual<f64>], dy: &mut [Dual<f64>]| dy[0] = -p[0] * y[0].sin());
/// let (mut y_bar, mut p_bar) = ([0.0], [0.0]);
/// field.vjp(At::new(0.0, &[0.5], &[2.0]), Kept::NONE, &[1.0], BarsMut::new(&mut y_bar, &mut p_bar));
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

impl<T, F> Map<T> for DualField<F, T>
where
    T: Scalar + DualNumFloat,
    F: FnMut(T, &[Dual<T>], &[Dual<T>], &mut [Dual<T>]),
{
    fn size(&self) -> Size {
        Size { inputs: self.n, outputs: self.n, params: self.p.len() }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::ALONE
    }
    fn value(&mut self, at: At<'_, T>, dy: &mut [T]) {
        for (y, dy) in at.x.chunks_exact(self.n).zip(dy.chunks_exact_mut(self.n)) {
            self.load(y, at.p);
            (self.f)(at.t, &self.y, &self.p, &mut self.dy);
            dy.iter_mut().zip(&self.dy).for_each(|(o, d)| *o = d.re);
        }
    }
    fn vjp(&mut self, at: At<'_, T>, _: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        let n = self.n;
        for ((y, w), y_bar) in at.x.chunks_exact(n).zip(w.chunks_exact(n)).zip(bars.x.chunks_exact_mut(n)) {
            self.load(y, at.p);
            for (i, b) in y_bar.iter_mut().enumerate() {
                self.y[i].eps = one;
                *b += self.slope(at.t, w);
                self.y[i].eps = zero;
            }
            for (i, b) in bars.p.iter_mut().enumerate() {
                self.p[i].eps = one;
                *b += self.slope(at.t, w);
                self.p[i].eps = zero;
            }
        }
    }
}
