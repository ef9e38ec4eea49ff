//! A field from one generic formula, with all derivatives by dual numbers.

use num_dual::{Dual, DualNum, DualNumFloat, HyperDual};

use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers, Size};
use crate::linalg::Scalar;

/// f(t, y, p), written once for numbers of any kind.
pub trait Formula<T: DualNumFloat> {
    /// Length of the state.
    fn dim(&self) -> usize;
    /// Length of the parameter vector.
    fn n_params(&self) -> usize;
    /// dy <- f(t, y, p), every entry, for ONE state.
    fn eval<D: DualNum<Primitive = T> + Copy>(&self, t: D, y: &[D], p: &[D], dy: &mut [D]);
}

/// A field from a [`Formula`]: plain evaluations, and by (hyper-)dual numbers the pullback, the Jacobian, df/dt and the second derivatives, all exact
/// to rounding. A Jacobian costs n + 1 evaluations, a pullback n + n_params, the transpose of a Rosenbrock step of s stages
/// (s + 1)(n + n_params); for more than a few dozen unknowns and parameters write the pullback yourself.
///
/// ```
/// use costate::nn::{DualNum, Formula, FormulaField};
/// use costate::ode::{Options, RODAS5P, solve_stiff};
/// struct Robertson;
/// impl Formula<f64> for Robertson {
///     fn dim(&self) -> usize {
///         3
///     }
///     fn n_params(&self) -> usize {
///         3
///     }
///     fn eval<D: DualNum<Primitive = f64> + Copy>(&self, _t: D, y: &[D], p: &[D], dy: &mut [D]) {
///         let (a, b, c) = (p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]);
///         (dy[0], dy[1], dy[2]) = (b - a, a - b - c, c);
///     }
/// }
/// let mut field = FormulaField::new(Robertson);
/// let s = solve_stiff(&mut field, &RODAS5P, &Options::default(), (0.0, 1e5), &[1.0, 0.0, 0.0], &[0.04, 1e4, 3e7], &[])?;
/// assert!((s.y1[0] - 0.0178659).abs() < 1e-6);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FormulaField<M, T: DualNumFloat> {
    formula: M,
    y: Vec<Dual<T>>,
    p: Vec<Dual<T>>,
    dy: Vec<Dual<T>>,
    hy: Vec<HyperDual<T>>,
    hp: Vec<HyperDual<T>>,
    hdy: Vec<HyperDual<T>>,
}

fn dual<T: DualNumFloat + Scalar>(x: T) -> Dual<T> {
    Dual::new(x, <T as Scalar>::ZERO)
}

fn hyper<T: DualNumFloat + Scalar>(x: T, eps1: T) -> HyperDual<T> {
    HyperDual::new(x, eps1, <T as Scalar>::ZERO, <T as Scalar>::ZERO)
}

impl<M: Formula<T>, T: DualNumFloat + DualNum<Primitive = T> + Scalar> FormulaField<M, T> {
    /// From the formula.
    pub fn new(formula: M) -> Self {
        let (n, np) = (formula.dim(), formula.n_params());
        let zero = <T as Scalar>::ZERO;
        Self {
            formula,
            y: vec![dual(zero); n],
            p: vec![dual(zero); np],
            dy: vec![dual(zero); n],
            hy: vec![hyper(zero, zero); n],
            hp: vec![hyper(zero, zero); np],
            hdy: vec![hyper(zero, zero); n],
        }
    }
    fn load(&mut self, y: &[T], p: &[T]) {
        self.y.iter_mut().zip(y).for_each(|(d, &x)| *d = dual(x));
        self.p.iter_mut().zip(p).for_each(|(d, &x)| *d = dual(x));
    }
    /// w' (df along the seeded direction).
    fn slope(&mut self, t: T, w: &[T]) -> T {
        self.formula.eval(dual(t), &self.y, &self.p, &mut self.dy);
        self.dy.iter().zip(w).map(|(d, &w)| d.eps * w).sum()
    }
    /// w' (second derivative of f along both seeded directions).
    fn curvature(&mut self, t: HyperDual<T>, w: &[T]) -> T {
        self.formula.eval(t, &self.hy, &self.hp, &mut self.hdy);
        self.hdy.iter().zip(w).map(|(d, &w)| d.eps1eps2 * w).sum()
    }
    /// ADDS the gradient of w' f along the first direction, which is loaded.
    fn curvatures(&mut self, t: HyperDual<T>, w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        for (i, b) in y_bar.iter_mut().enumerate() {
            self.hy[i].eps2 = one;
            *b += self.curvature(t, w);
            self.hy[i].eps2 = zero;
        }
        for (i, b) in p_bar.iter_mut().enumerate() {
            self.hp[i].eps2 = one;
            *b += self.curvature(t, w);
            self.hp[i].eps2 = zero;
        }
    }
}

impl<M: Formula<T>, T: DualNumFloat + DualNum<Primitive = T> + Scalar> Map<T> for FormulaField<M, T> {
    fn size(&self) -> Size {
        Size { inputs: self.y.len(), outputs: self.y.len(), params: self.p.len() }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::ALONE | Offers::TANGENT | Offers::JACOBIAN | Offers::DT
    }
    #[inline]
    fn value(&mut self, at: At<'_, T>, dy: &mut [T]) {
        let n = self.y.len();
        for (y, dy) in at.x.chunks_exact(n).zip(dy.chunks_exact_mut(n)) {
            self.formula.eval(at.t, y, at.p, dy);
        }
    }
    fn vjp(&mut self, at: At<'_, T>, _: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        let n = self.y.len();
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
    fn jacobian(&mut self, at: At<'_, T>, jac: &mut [T]) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        let n = self.y.len();
        for (y, block) in at.x.chunks_exact(n).zip(jac.chunks_exact_mut(n * n)) {
            self.load(y, at.p);
            for (j, column) in block.chunks_exact_mut(n).enumerate() {
                self.y[j].eps = one;
                self.formula.eval(dual(at.t), &self.y, &self.p, &mut self.dy);
                self.y[j].eps = zero;
                column.iter_mut().zip(&self.dy).for_each(|(c, d)| *c = d.eps);
            }
        }
    }
    fn time_derivative(&mut self, at: At<'_, T>, dt: &mut [T]) {
        let n = self.y.len();
        for (y, dt) in at.x.chunks_exact(n).zip(dt.chunks_exact_mut(n)) {
            self.load(y, at.p);
            self.formula.eval(Dual::new(at.t, <T as Scalar>::ONE), &self.y, &self.p, &mut self.dy);
            dt.iter_mut().zip(&self.dy).for_each(|(c, d)| *c = d.eps);
        }
    }
    fn vjp_tangent(
        &mut self,
        at: At<'_, T>,
        _: Kept<'_, T>,
        dots: Dots<'_, T>,
        _: Kept<'_, T>,
        w: &[T],
        w_dot: &[T],
        mut bars: BarsMut<'_, T>,
    ) {
        let (zero, n, len) = (<T as Scalar>::ZERO, self.y.len(), at.x.len());
        for c in 0..len / n {
            for i in 0..dots.count {
                let (one, column) = (dots.one(i, len, at.p.len()), c * n..(c + 1) * n);
                let direction = |v: &[T], k: usize| v.get(k).copied().unwrap_or(zero);
                for (k, d) in self.hp.iter_mut().enumerate() {
                    *d = hyper(at.p[k], direction(one.p, k));
                }
                for (k, d) in self.hy.iter_mut().enumerate() {
                    *d = hyper(at.x[c * n + k], direction(one.x, c * n + k));
                }
                let t = hyper(at.t, direction(one.t, 0));
                self.curvatures(t, &w[i * len..][column.clone()], &mut bars.x[column], bars.p);
            }
        }
        for w_dot in w_dot.chunks_exact(len) {
            self.vjp(at, Kept::NONE, w_dot, bars.again());
        }
    }
}
