//! A field from one generic formula, with all derivatives by dual numbers.

use num_dual::{Dual, DualNum, DualNumFloat, HyperDual};

use crate::linalg::Scalar;
use crate::ode::{Linearize, LinearizePullback, OdeCounts, Point, Pullback, VectorField};

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

impl<M: Formula<T>, T: DualNumFloat + DualNum<Primitive = T> + Scalar> VectorField<T> for FormulaField<M, T> {
    fn dim(&self) -> usize {
        self.y.len()
    }
    fn n_params(&self) -> usize {
        self.p.len()
    }
    #[inline]
    fn eval(&mut self, t: T, y: &[T], p: &[T], dy: &mut [T]) {
        let n = self.y.len();
        for (y, dy) in y.chunks_exact(n).zip(dy.chunks_exact_mut(n)) {
            self.formula.eval(t, y, p, dy);
        }
    }
}

impl<M: Formula<T>, T: DualNumFloat + DualNum<Primitive = T> + Scalar> Pullback<T> for FormulaField<M, T> {
    fn pullback(&mut self, t: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        let n = self.y.len();
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

impl<M: Formula<T>, T: DualNumFloat + DualNum<Primitive = T> + Scalar> Linearize<T> for FormulaField<M, T> {
    fn linearize(&mut self, at: &Point<'_, T>, jac: &mut [T], dfdt: &mut [T], _: &mut OdeCounts) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        let n = self.y.len();
        for ((y, block), dfdt) in
            at.y.chunks_exact(n).zip(jac.chunks_exact_mut(n * n)).zip(dfdt.chunks_exact_mut(n))
        {
            self.load(y, at.p);
            for (j, column) in block.chunks_exact_mut(n).enumerate() {
                self.y[j].eps = one;
                self.formula.eval(dual(at.t), &self.y, &self.p, &mut self.dy);
                self.y[j].eps = zero;
                column.iter_mut().zip(&self.dy).for_each(|(c, d)| *c = d.eps);
            }
            self.formula.eval(Dual::new(at.t, one), &self.y, &self.p, &mut self.dy);
            dfdt.iter_mut().zip(&self.dy).for_each(|(c, d)| *c = d.eps);
        }
    }
}

impl<M: Formula<T>, T: DualNumFloat + DualNum<Primitive = T> + Scalar> LinearizePullback<T>
    for FormulaField<M, T>
{
    fn linearize_pullback(
        &mut self,
        at: &Point<'_, T>,
        v: &[T],
        w: &[T],
        tau: &[T],
        y_bar: &mut [T],
        p_bar: &mut [T],
        _: &mut [T],
        _: &mut OdeCounts,
    ) {
        let (one, zero) = (<T as Scalar>::ONE, <T as Scalar>::ZERO);
        let (n, len) = (self.y.len(), at.y.len());
        self.hp.iter_mut().zip(at.p).for_each(|(d, &x)| *d = hyper(x, zero));
        for (b, y_bar) in y_bar.chunks_exact_mut(n).enumerate() {
            let column = b * n..(b + 1) * n;
            let y = &at.y[column.clone()];
            for (v, w) in v.chunks_exact(len).zip(w.chunks_exact(len)) {
                let (v, w) = (&v[column.clone()], &w[column.clone()]);
                for (d, (&y, &v)) in self.hy.iter_mut().zip(y.iter().zip(v)) {
                    *d = hyper(y, v);
                }
                self.curvatures(hyper(at.t, zero), w, y_bar, p_bar);
            }
            self.hy.iter_mut().zip(y).for_each(|(d, &y)| *d = hyper(y, zero));
            self.curvatures(hyper(at.t, one), &tau[column], y_bar, p_bar);
        }
    }
}
