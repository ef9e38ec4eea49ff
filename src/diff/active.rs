//! Numbers that write a tape of what is done with them, values and all.

use std::cmp::Ordering;
use std::iter::{Product, Sum};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::number::{Number, sealed};
use super::tape::{CONSTANT, Curvature, write};

/// A number with its derivatives to come: a value, and a place on a tape that holds the first and second derivatives of every operation (an "active"
/// number of algorithmic differentiation; Griewank and Walther, Evaluating Derivatives, 2008). One evaluation of a function gives its gradient in one sweep
/// back over the tape, and products with its second derivatives in two more, for any number of variables.
///
/// Unlike the numbers of a [`Formula`](super::Formula) that is recorded once it may be compared: the tape is written anew at every point, so that loops and
/// branches may depend on values. What is differentiated is the branch that was taken.
///
/// A number is of use in the evaluation that it was made for, on its thread. Elsewhere its operations give NaN.
///
/// ```
/// use costate::diff::Active;
/// use costate::nlp::{Nlp, Problem};
/// /// Newton's method for a root: any loop will do.
/// fn root(a: Active) -> Active {
///     let mut y = a;
///     while (y * y - a).value().abs() > 1e-14 * a.value() {
///         y = 0.5 * (y + a / y);
///     }
///     y
/// }
/// let mut p = Problem::from_dual(1, 0, |x, _| root(x[0])).start(&[4.0]).build()?;
/// let (mut g, mut h) = ([0.0], [0.0]);
/// p.grad(&[4.0], &mut g)?;
/// p.hess_values(&[4.0], 1.0, &[], &mut h)?;
/// assert!((g[0] - 0.25).abs() < 1e-7 && (h[0] + 1.0 / 32.0).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Active {
    re: f64,
    id: u32,
    tape: u32,
}

impl Default for Active {
    fn default() -> Self {
        Self::from(0.0)
    }
}

impl From<f64> for Active {
    fn from(re: f64) -> Self {
        Self { re, id: CONSTANT, tape: 0 }
    }
}

/// Derivatives of a function of one number: first and second, and what is known of its degree.
type Slopes = (f64, f64, Curvature);

/// f, f', f'' by name.
macro_rules! unary {
    ($($name:ident $doc:literal |$x:ident, $y:ident| $value:expr, $first:expr, $second:expr;)*) => {$(
        #[doc = $doc]
        #[must_use]
        pub fn $name(self) -> Self {
            let $x = self.re;
            let $y = $value;
            self.unary($y, || ($first, $second, Curvature::Any))
        }
    )*};
}

impl Active {
    pub(super) fn on_tape(re: f64, id: u32, tape: u32) -> Self {
        Self { re, id, tape }
    }
    pub(super) fn place(self) -> (u32, u32) {
        (self.id, self.tape)
    }
    fn is_constant(self) -> bool {
        self.id == CONSTANT
    }
    /// The value. What is decided by it is not differentiated.
    pub fn value(self) -> f64 {
        if !self.is_constant() {
            super::tape::inspected();
        }
        self.re
    }

    fn unary(self, re: f64, slopes: impl FnOnce() -> Slopes) -> Self {
        if self.is_constant() {
            return Self::from(re);
        }
        let (d, dd, curvature) = slopes();
        write(re, [self, Self::from(0.0)], [d, 0.0], [dd, 0.0, 0.0], curvature)
    }
    fn binary(self, other: Self, re: f64, slopes: impl FnOnce() -> ([f64; 2], [f64; 3], Curvature)) -> Self {
        if self.is_constant() && other.is_constant() {
            return Self::from(re);
        }
        let (d, dd, curvature) = slopes();
        write(re, [self, other], d, dd, curvature)
    }
    /// One of two; the pattern has both.
    fn choose(self, other: Self, first: bool) -> Self {
        let re = if first { self.re } else { other.re };
        let d = if first { [1.0, 0.0] } else { [0.0, 1.0] };
        self.binary(other, re, || (d, [0.0; 3], Curvature::Kinked))
    }

    unary! {
        sqrt "Square root." |x, y| x.sqrt(), 0.5 / y, -0.25 / (x * y);
        cbrt "Cube root." |x, y| x.cbrt(), y / (3.0 * x), -2.0 * y / (9.0 * x * x);
        exp "e^x." |x, y| x.exp(), y, y;
        exp_m1 "e^x - 1, exact near 0." |x, y| x.exp_m1(), y + 1.0, y + 1.0;
        ln "Natural logarithm." |x, _y| x.ln(), 1.0 / x, -1.0 / (x * x);
        ln_1p "ln(1 + x), exact near 0." |x, _y| x.ln_1p(), 1.0 / (1.0 + x), -1.0 / ((1.0 + x) * (1.0 + x));
        log10 "Logarithm to base 10." |x, _y| x.log10(), std::f64::consts::LOG10_E / x, -std::f64::consts::LOG10_E / (x * x);
        sin "Sine." |x, y| x.sin(), x.cos(), -y;
        cos "Cosine." |x, y| x.cos(), -x.sin(), -y;
        tan "Tangent." |x, y| x.tan(), 1.0 + y * y, 2.0 * y * (1.0 + y * y);
        asin "Inverse sine." |x, _y| x.asin(), (1.0 - x * x).sqrt().recip(), x * (1.0 - x * x).powf(-1.5);
        acos "Inverse cosine." |x, _y| x.acos(), -(1.0 - x * x).sqrt().recip(), -x * (1.0 - x * x).powf(-1.5);
        atan "Inverse tangent." |x, _y| x.atan(), 1.0 / (1.0 + x * x), -2.0 * x / ((1.0 + x * x) * (1.0 + x * x));
        sinh "Hyperbolic sine." |x, y| x.sinh(), x.cosh(), y;
        cosh "Hyperbolic cosine." |x, y| x.cosh(), x.sinh(), y;
        tanh "Hyperbolic tangent." |x, y| x.tanh(), 1.0 - y * y, -2.0 * y * (1.0 - y * y);
        asinh "Inverse hyperbolic sine." |x, _y| x.asinh(), (1.0 + x * x).sqrt().recip(), -x * (1.0 + x * x).powf(-1.5);
        acosh "Inverse hyperbolic cosine." |x, _y| x.acosh(), (x * x - 1.0).sqrt().recip(), -x * (x * x - 1.0).powf(-1.5);
        atanh "Inverse hyperbolic tangent." |x, _y| x.atanh(), 1.0 / (1.0 - x * x), 2.0 * x / ((1.0 - x * x) * (1.0 - x * x));
    }

    /// |x|; its derivative at 0 is 1.
    #[must_use]
    pub fn abs(self) -> Self {
        self.unary(self.re.abs(), || (if self.re >= 0.0 { 1.0 } else { -1.0 }, 0.0, Curvature::Kinked))
    }
    /// 1 / x.
    #[must_use]
    pub fn recip(self) -> Self {
        let y = self.re.recip();
        self.unary(y, || (-y * y, 2.0 * y * y * y, Curvature::Any))
    }
    /// x^n.
    #[must_use]
    pub fn powi(self, n: i32) -> Self {
        let (x, k) = (self.re, f64::from(n));
        let curvature = match n {
            0 | 1 => Curvature::None,
            2 => Curvature::Square,
            _ => Curvature::Any,
        };
        let d = |m: i32, factor: f64| if factor == 0.0 { 0.0 } else { factor * x.powi(m) };
        self.unary(x.powi(n), || (d(n.wrapping_sub(1), k), d(n.wrapping_sub(2), k * (k - 1.0)), curvature))
    }
    /// x^y.
    #[must_use]
    pub fn powf(self, exponent: impl Into<Self>) -> Self {
        let y: Self = exponent.into();
        let (x, p) = (self.re, y.re);
        let re = x.powf(p);
        let power = |q: f64, factor: f64| if factor == 0.0 { 0.0 } else { factor * x.powf(q) };
        let (dx, dxx) = (power(p - 1.0, p), power(p - 2.0, p * (p - 1.0)));
        // A constant exponent is one of a base of any sign.
        if y.is_constant() {
            return self.unary(re, || (dx, dxx, Curvature::Any));
        }
        self.binary(y, re, || {
            let ln = x.ln();
            let dxy = power(p - 1.0, 1.0) * (1.0 + p * ln);
            ([dx, re * ln], [dxx, dxy, re * ln * ln], Curvature::Any)
        })
    }
    /// The angle of the point (other, self).
    #[must_use]
    pub fn atan2(self, other: impl Into<Self>) -> Self {
        let other: Self = other.into();
        let (y, x) = (self.re, other.re);
        self.binary(other, y.atan2(x), || {
            let s = y * y + x * x;
            let (a, b) = (x / s, y / s);
            ([a, -b], [-2.0 * a * b, b * b - a * a, 2.0 * a * b], Curvature::Any)
        })
    }
    /// sqrt(x^2 + y^2).
    #[must_use]
    pub fn hypot(self, other: impl Into<Self>) -> Self {
        let other: Self = other.into();
        let (x, y) = (self.re, other.re);
        let r = x.hypot(y);
        self.binary(other, r, || {
            let (a, b) = (x / r, y / r);
            ([a, b], [b * b / r, -a * b / r, a * a / r], Curvature::Any)
        })
    }
    /// The larger one; the other one where one is NaN. Where they are equal the derivative is self's.
    #[must_use]
    pub fn max(self, other: impl Into<Self>) -> Self {
        let other: Self = other.into();
        self.choose(other, !(other.re > self.re || self.re.is_nan()))
    }
    /// The smaller one; the other one where one is NaN. Where they are equal the derivative is self's.
    #[must_use]
    pub fn min(self, other: impl Into<Self>) -> Self {
        let other: Self = other.into();
        self.choose(other, !(other.re < self.re || self.re.is_nan()))
    }
    /// `if_positive` where self > 0, else `otherwise`. The pattern has both.
    #[must_use]
    pub fn select(self, if_positive: impl Into<Self>, otherwise: impl Into<Self>) -> Self {
        if_positive.into().choose(otherwise.into(), self.re > 0.0)
    }
}

/// Compared are the values.
impl PartialEq for Active {
    fn eq(&self, other: &Self) -> bool {
        self.value() == other.value()
    }
}
impl PartialOrd for Active {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.value().partial_cmp(&other.value())
    }
}
impl PartialEq<f64> for Active {
    fn eq(&self, other: &f64) -> bool {
        self.value() == *other
    }
}
impl PartialOrd<f64> for Active {
    fn partial_cmp(&self, other: &f64) -> Option<Ordering> {
        self.value().partial_cmp(other)
    }
}

impl Neg for Active {
    type Output = Self;
    fn neg(self) -> Self {
        self.unary(-self.re, || (-1.0, 0.0, Curvature::None))
    }
}
impl Add for Active {
    type Output = Self;
    fn add(self, b: Self) -> Self {
        self.binary(b, self.re + b.re, || ([1.0, 1.0], [0.0; 3], Curvature::None))
    }
}
impl Sub for Active {
    type Output = Self;
    fn sub(self, b: Self) -> Self {
        self.binary(b, self.re - b.re, || ([1.0, -1.0], [0.0; 3], Curvature::None))
    }
}
impl Mul for Active {
    type Output = Self;
    fn mul(self, b: Self) -> Self {
        self.binary(b, self.re * b.re, || ([b.re, self.re], [0.0, 1.0, 0.0], Curvature::Product))
    }
}
impl Div for Active {
    type Output = Self;
    fn div(self, b: Self) -> Self {
        let (y, r) = (self.re / b.re, 1.0 / b.re);
        let curvature = if b.is_constant() { Curvature::None } else { Curvature::Quotient };
        self.binary(b, y, || ([r, -y * r], [0.0, -r * r, 2.0 * y * r * r], curvature))
    }
}

macro_rules! operators {
    ($($tr:ident $f:ident $tr_assign:ident $f_assign:ident)*) => {$(
        impl $tr<f64> for Active {
            type Output = Self;
            fn $f(self, other: f64) -> Self {
                self.$f(Self::from(other))
            }
        }
        impl $tr<Active> for f64 {
            type Output = Active;
            fn $f(self, other: Active) -> Active {
                Active::from(self).$f(other)
            }
        }
        impl $tr<&Active> for Active {
            type Output = Self;
            fn $f(self, other: &Self) -> Self {
                self.$f(*other)
            }
        }
        impl $tr_assign for Active {
            fn $f_assign(&mut self, other: Self) {
                *self = (*self).$f(other);
            }
        }
        impl $tr_assign<f64> for Active {
            fn $f_assign(&mut self, other: f64) {
                *self = (*self).$f(Self::from(other));
            }
        }
    )*};
}
operators!(Add add AddAssign add_assign Sub sub SubAssign sub_assign Mul mul MulAssign mul_assign Div div DivAssign div_assign);

impl Sum for Active {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.reduce(|a, b| a + b).unwrap_or_default()
    }
}
impl<'a> Sum<&'a Self> for Active {
    fn sum<I: Iterator<Item = &'a Self>>(iter: I) -> Self {
        iter.copied().sum()
    }
}
impl Product for Active {
    fn product<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.reduce(|a, b| a * b).unwrap_or_else(|| Self::from(1.0))
    }
}

macro_rules! forward {
    ($($f:ident)*) => {$(
        fn $f(self) -> Self {
            Self::$f(self)
        }
    )*};
}

impl sealed::Sealed for Active {}

/// So that a function that is generic in its number takes it too.
impl Number<f64> for Active {
    forward!(abs sqrt exp ln sin cos tan asin acos atan sinh cosh tanh);
    fn splat(x: f64) -> Self {
        Self::from(x)
    }
    fn inspect(self, look: impl Fn(f64)) {
        look(self.re);
    }
    fn atan2(self, other: Self) -> Self {
        Self::atan2(self, other)
    }
    fn powi(self, n: i32) -> Self {
        Self::powi(self, n)
    }
    fn powf(self, exponent: Self) -> Self {
        Self::powf(self, exponent)
    }
    fn max(self, other: Self) -> Self {
        Self::max(self, other)
    }
    fn min(self, other: Self) -> Self {
        Self::min(self, other)
    }
    fn select(self, if_positive: Self, otherwise: Self) -> Self {
        Self::select(self, if_positive, otherwise)
    }
}
