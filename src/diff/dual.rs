//! Dual numbers: a value and its derivative along one direction.

use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::number::{Number, derived_operators};
use crate::linalg::Scalar;

/// a + b e with e^2 = 0: a value and its derivative (Clifford 1873). One evaluation of a [`Formula`](super::Formula) gives its derivative along the
/// direction in `eps`.
///
/// ```
/// use costate::diff::{Dual, Number};
/// let x = Dual::new(0.5f64, 1.0);
/// assert_eq!((x * x * 3.0).eps, 3.0);
/// assert_eq!(x.sin().eps, 0.5f64.cos());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dual<T> {
    /// The value.
    pub re: T,
    /// The derivative.
    pub eps: T,
}

impl<T: Scalar> Dual<T> {
    /// From the value and the derivative.
    #[inline(always)]
    pub fn new(re: T, eps: T) -> Self {
        Self { re, eps }
    }
    /// A function's value, and its derivative there times one's own.
    #[inline(always)]
    fn of_slope(self, re: T, slope: T) -> Self {
        Self { re, eps: self.eps * slope }
    }
}

impl<T: Scalar> Neg for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { re: -self.re, eps: -self.eps }
    }
}
impl<T: Scalar> Add for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        Self { re: self.re + b.re, eps: self.eps + b.eps }
    }
}
impl<T: Scalar> Sub for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        Self { re: self.re - b.re, eps: self.eps - b.eps }
    }
}
impl<T: Scalar> Mul for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        Self { re: self.re * b.re, eps: self.eps * b.re + self.re * b.eps }
    }
}
impl<T: Scalar> Div for Dual<T> {
    type Output = Self;
    #[inline(always)]
    fn div(self, b: Self) -> Self {
        let re = self.re / b.re;
        Self { re, eps: (self.eps - re * b.eps) / b.re }
    }
}
derived_operators!(Dual);

impl<T: Scalar> Number<T> for Dual<T> {
    #[inline(always)]
    fn splat(x: T) -> Self {
        Self { re: x, eps: T::ZERO }
    }
    fn inspect(self, look: impl Fn(T)) {
        look(self.re);
    }
    fn abs(self) -> Self {
        if self.re >= T::ZERO { self } else { -self }
    }
    fn sqrt(self) -> Self {
        let root = self.re.sqrt();
        self.of_slope(root, T::of(0.5) / root)
    }
    fn exp(self) -> Self {
        let e = self.re.exp();
        self.of_slope(e, e)
    }
    fn ln(self) -> Self {
        self.of_slope(self.re.ln(), T::ONE / self.re)
    }
    fn sin(self) -> Self {
        self.of_slope(self.re.sin(), self.re.cos())
    }
    fn cos(self) -> Self {
        self.of_slope(self.re.cos(), -self.re.sin())
    }
    fn tan(self) -> Self {
        let tan = self.re.tan();
        self.of_slope(tan, T::ONE + tan * tan)
    }
    fn asin(self) -> Self {
        self.of_slope(self.re.asin(), T::ONE / (T::ONE - self.re * self.re).sqrt())
    }
    fn acos(self) -> Self {
        self.of_slope(self.re.acos(), -(T::ONE / (T::ONE - self.re * self.re).sqrt()))
    }
    fn atan(self) -> Self {
        self.of_slope(self.re.atan(), T::ONE / (T::ONE + self.re * self.re))
    }
    fn atan2(self, x: Self) -> Self {
        let square = self.re * self.re + x.re * x.re;
        Self { re: self.re.atan2(x.re), eps: (self.eps * x.re - self.re * x.eps) / square }
    }
    fn sinh(self) -> Self {
        self.of_slope(self.re.sinh(), self.re.cosh())
    }
    fn cosh(self) -> Self {
        self.of_slope(self.re.cosh(), self.re.sinh())
    }
    fn tanh(self) -> Self {
        let tanh = self.re.tanh();
        self.of_slope(tanh, T::ONE - tanh * tanh)
    }
    fn powi(self, n: i32) -> Self {
        if n == 0 {
            return Self::splat(T::ONE);
        }
        self.of_slope(self.re.powi(n), T::of(f64::from(n)) * self.re.powi(n.wrapping_sub(1)))
    }
    fn powf(self, y: Self) -> Self {
        let power = self.re.powf(y.re);
        let mut d = self.of_slope(power, y.re * self.re.powf(y.re - T::ONE));
        // A constant exponent is one of a base of any sign.
        if y.eps != T::ZERO {
            d.eps += power * self.re.ln() * y.eps;
        }
        d
    }
    fn max(self, other: Self) -> Self {
        if other.re > self.re || self.re.is_nan() { other } else { self }
    }
    fn min(self, other: Self) -> Self {
        if other.re < self.re || self.re.is_nan() { other } else { self }
    }
    fn select(self, if_positive: Self, otherwise: Self) -> Self {
        if self.re > T::ZERO { if_positive } else { otherwise }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every function against a central difference.
    #[test]
    fn derivatives_agree_with_differences() {
        type F<N> = fn(N, N) -> N;
        macro_rules! cases {
            ($($f:expr),* $(,)?) => { [$((stringify!($f), $f as F<Dual<f64>>, $f as F<f64>)),*] };
        }
        let all = cases![
            |a, b| a + b * 2.0,
            |a, b| a - b / 3.0,
            |a, b| a * b,
            |a, b| a / b,
            |a, b| 2.0 / a - b,
            |a, b| Number::atan2(a, b),
            |a, b| Number::powf(a, b),
            |a, b| Number::max(a, b) * a,
            |a, b| Number::min(a, b) * a,
            |a, b| Number::select(-a, b, a * a),
            |a, _| Number::abs(-a),
            |a, _| Number::sqrt(a),
            |a, _| Number::exp(a),
            |a, _| Number::ln(a),
            |a, _| Number::sin(a),
            |a, _| Number::cos(a),
            |a, _| Number::tan(a),
            |a, _| Number::asin(a),
            |a, _| Number::acos(a),
            |a, _| Number::atan(a),
            |a, _| Number::sinh(a),
            |a, _| Number::cosh(a),
            |a, _| Number::tanh(a),
            |a, _| Number::powi(a, -3),
        ];
        for (name, dual, plain) in all {
            let (a, b, da, db, h) = (0.37, 0.81, 1.0, -0.6, 1e-5);
            let d = dual(Dual::new(a, da), Dual::new(b, db));
            let at = |h: f64| plain(a + h * da, b + h * db);
            let difference = (8.0 * (at(h) - at(-h)) - at(2.0 * h) + at(-2.0 * h)) / (12.0 * h);
            assert_eq!(d.re, plain(a, b), "{name}");
            assert!((d.eps - difference).abs() < 1e-9, "{name}: {} {difference}", d.eps);
        }
        assert_eq!(Dual::new(-2.0, 1.0).powf(Dual::splat(3.0)).eps, 12.0);
    }
}
