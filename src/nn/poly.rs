//! Maps of single components.

use super::Activation;
use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers, Size, Spec};
use crate::linalg::Scalar;

/// Block i of n numbers, or zeros where there are none.
fn at_block<T: Scalar>(v: &[T], i: usize, n: usize, k: usize) -> T {
    if v.is_empty() { T::ZERO } else { v[i * n + k] }
}

/// y_i = x_i^k, without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Power {
    /// Length of x.
    pub dim: usize,
    /// k; 0 makes the constant 1.
    pub exponent: u16,
}

impl Power {
    /// The m-th derivative of x^k.
    fn derivative<T: Scalar>(self, m: i32, x: T) -> T {
        let k = self.exponent as i32;
        if k < m {
            return T::ZERO;
        }
        T::of((0..m).map(|j| (k - j) as f64).product()) * x.powi(k - m)
    }
}

impl<T: Scalar> Map<T> for Power {
    fn size(&self) -> Size {
        Size { inputs: self.dim, outputs: self.dim, params: 0 }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::JVP | Offers::TANGENT | Offers::ALONE | Offers::AUTONOMOUS
    }
    fn spec(&self) -> Spec {
        Spec::none()
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let k = self.exponent as i32;
        y.iter_mut().zip(at.x).for_each(|(y, x)| *y = x.powi(k));
    }
    fn vjp(&mut self, at: At<'_, T>, _: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let k = self.exponent as i32;
        if k == 0 {
            return;
        }
        for ((b, x), w) in bars.x.iter_mut().zip(at.x).zip(w) {
            *b += *w * T::of(k as f64) * x.powi(k - 1);
        }
    }
    fn jvp(&mut self, at: At<'_, T>, _: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], _: &mut [T]) {
        let n = at.x.len();
        for (i, y_dot) in y_dot.chunks_exact_mut(n).enumerate() {
            for (k, (y, x)) in y_dot.iter_mut().zip(at.x).enumerate() {
                *y = self.derivative(1, *x) * at_block(dots.x, i, n, k);
            }
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
        bars: BarsMut<'_, T>,
    ) {
        let n = at.x.len();
        for (i, w) in w.chunks_exact(n).enumerate() {
            for (k, ((b, x), w)) in bars.x.iter_mut().zip(at.x).zip(w).enumerate() {
                *b += *w * self.derivative(2, *x) * at_block(dots.x, i, n, k);
                *b += at_block(w_dot, i, n, k) * self.derivative(1, *x);
            }
        }
    }
}

/// y_i = sum_{k=0}^{degree} p_ik x_i^k; parameters: component by component, ascending powers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polynomial {
    /// Length of x.
    pub dim: usize,
    /// Highest power.
    pub degree: usize,
}

impl Polynomial {
    /// sum_k c_k k!/(k-m)! x^(k-m): the m-th derivative of the polynomial with these coefficients.
    fn derivative<T: Scalar>(c: &[T], m: usize, x: T) -> T {
        let factor = |k: usize| T::of((0..m).map(|j| (k - j) as f64).product());
        (m..c.len()).rev().fold(T::ZERO, |s, k| s * x + factor(k) * c[k])
    }
}

impl<T: Scalar> Map<T> for Polynomial {
    fn size(&self) -> Size {
        Size { inputs: self.dim, outputs: self.dim, params: self.dim * (self.degree + 1) }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::JVP | Offers::TANGENT | Offers::ALONE | Offers::AUTONOMOUS
    }
    fn spec(&self) -> Spec {
        Spec::one("coefficients", &[self.dim, self.degree + 1])
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let terms = self.degree + 1;
        for (x, y) in at.x.chunks_exact(self.dim).zip(y.chunks_exact_mut(self.dim)) {
            for ((x, y), c) in x.iter().zip(y).zip(at.p.chunks_exact(terms)) {
                *y = c.iter().rev().fold(T::ZERO, |s, &c| s * *x + c);
            }
        }
    }
    fn vjp(&mut self, at: At<'_, T>, _: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        let terms = self.degree + 1;
        let columns = at.x.chunks_exact(self.dim).zip(w.chunks_exact(self.dim));
        for ((x, w), xb) in columns.zip(bars.x.chunks_exact_mut(self.dim)) {
            for (i, ((x, w), xb)) in x.iter().zip(w).zip(xb).enumerate() {
                let (mut power, mut slope) = (*w, T::ZERO);
                for k in 0..terms {
                    bars.p[i * terms + k] += power;
                    if k + 1 < terms {
                        slope += T::of((k + 1) as f64) * at.p[i * terms + k + 1] * power;
                    }
                    power *= *x;
                }
                *xb += slope;
            }
        }
    }
    fn jvp(&mut self, at: At<'_, T>, _: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], _: &mut [T]) {
        let (n, terms, dim) = (at.x.len(), self.degree + 1, self.dim);
        for (i, y_dot) in y_dot.chunks_exact_mut(n).enumerate() {
            let one = dots.one(i, n, at.p.len());
            for (k, (y, x)) in y_dot.iter_mut().zip(at.x).enumerate() {
                let c = k % dim * terms..(k % dim + 1) * terms;
                *y = Self::derivative(&at.p[c.clone()], 1, *x) * at_block(one.x, 0, n, k);
                if !one.p.is_empty() {
                    *y += Self::derivative(&one.p[c], 0, *x);
                }
            }
        }
    }
    fn vjp_tangent(
        &mut self,
        at: At<'_, T>,
        of: Kept<'_, T>,
        dots: Dots<'_, T>,
        _: Kept<'_, T>,
        w: &[T],
        w_dot: &[T],
        mut bars: BarsMut<'_, T>,
    ) {
        let (n, terms, dim) = (at.x.len(), self.degree + 1, self.dim);
        for (i, w) in w.chunks_exact(n).enumerate() {
            let one = dots.one(i, n, at.p.len());
            if !w_dot.is_empty() {
                self.vjp(at, of, &w_dot[i * n..][..n], bars.again());
            }
            for (k, (x, w)) in at.x.iter().zip(w).enumerate() {
                let c = k % dim * terms..(k % dim + 1) * terms;
                let x_dot = at_block(one.x, 0, n, k);
                bars.x[k] += *w * Self::derivative(&at.p[c.clone()], 2, *x) * x_dot;
                if !one.p.is_empty() {
                    bars.x[k] += *w * Self::derivative(&one.p[c.clone()], 1, *x);
                }
                for (m, b) in bars.p[c].iter_mut().enumerate().skip(1) {
                    *b += *w * T::of(m as f64) * x.powi(m as i32 - 1) * x_dot;
                }
            }
        }
    }
}

/// y_i = act(x_i), without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elementwise {
    /// Length of x.
    pub dim: usize,
    /// act.
    pub activation: Activation,
}

impl Elementwise {
    /// What slopes are functions of: y, or x.
    fn of_slopes<'k, T>(self, at: At<'k, T>, of: Kept<'k, T>) -> &'k [T] {
        if self.activation.by_argument() { at.x } else { of.y }
    }
}

impl<T: Scalar> Map<T> for Elementwise {
    fn size(&self) -> Size {
        Size { inputs: self.dim, outputs: self.dim, params: 0 }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::JVP | Offers::TANGENT | Offers::AUTONOMOUS
    }
    fn spec(&self) -> Spec {
        Spec::none()
    }
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        y.iter_mut().zip(at.x).for_each(|(y, x)| *y = self.activation.value(*x));
    }
    fn vjp(&mut self, at: At<'_, T>, of: Kept<'_, T>, w: &[T], bars: BarsMut<'_, T>) {
        for ((b, v), w) in bars.x.iter_mut().zip(self.of_slopes(at, of)).zip(w) {
            *b += *w * self.activation.slope(*v);
        }
    }
    fn jvp(&mut self, at: At<'_, T>, of: Kept<'_, T>, dots: Dots<'_, T>, y_dot: &mut [T], _: &mut [T]) {
        let n = of.y.len();
        for (i, y_dot) in y_dot.chunks_exact_mut(n).enumerate() {
            for (k, (d, v)) in y_dot.iter_mut().zip(self.of_slopes(at, of)).enumerate() {
                *d = self.activation.slope(*v) * at_block(dots.x, i, n, k);
            }
        }
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
        let n = of.y.len();
        for (i, w) in w.chunks_exact(n).enumerate() {
            for (k, ((b, v), w)) in bars.x.iter_mut().zip(self.of_slopes(at, of)).zip(w).enumerate() {
                let v_dot =
                    if self.activation.by_argument() { at_block(dots.x, i, n, k) } else { dot.y[i * n + k] };
                *b += *w * self.activation.slope_derivative(*v) * v_dot;
                *b += at_block(w_dot, i, n, k) * self.activation.slope(*v);
            }
        }
    }
}
