//! Formulas written once for numbers of any kind.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::{At, Map, Size};
use crate::linalg::Scalar;

pub(crate) mod sealed {
    pub trait Sealed {}
    impl<T: crate::linalg::Scalar> Sealed for T {}
}

/// What a [`Formula`] computes with: `T` itself, [`Lanes`](super::Lanes) of several trajectories, [`Dual`](super::Dual) numbers, and
/// [`Traced`](crate::expr::Traced) ones, which write down what is done with them. It cannot be compared, because a branch on a value could not be
/// written down: [`select`](Self::select), [`max`](Self::max), [`min`](Self::min) and [`abs`](Self::abs) are. Sealed.
pub trait Number<T: Scalar>:
    sealed::Sealed
    + Copy
    + Neg<Output = Self>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Add<T, Output = Self>
    + Sub<T, Output = Self>
    + Mul<T, Output = Self>
    + Div<T, Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + Sum
{
    /// A constant of the kind T.
    fn splat(x: T) -> Self;
    /// A constant.
    #[inline(always)]
    fn of(x: f64) -> Self {
        Self::splat(<T as Scalar>::of(x))
    }
    /// Shows `look` the value, of all lanes one after the other: for assertions. A number that is being recorded has none.
    fn inspect(self, look: impl Fn(T));
    /// |x|; its derivative at 0 is 1.
    #[must_use]
    fn abs(self) -> Self;
    /// Square root.
    #[must_use]
    fn sqrt(self) -> Self;
    /// e^x.
    #[must_use]
    fn exp(self) -> Self;
    /// Natural logarithm.
    #[must_use]
    fn ln(self) -> Self;
    /// Sine.
    #[must_use]
    fn sin(self) -> Self;
    /// Cosine.
    #[must_use]
    fn cos(self) -> Self;
    /// Tangent.
    #[must_use]
    fn tan(self) -> Self;
    /// Arc sine.
    #[must_use]
    fn asin(self) -> Self;
    /// Arc cosine.
    #[must_use]
    fn acos(self) -> Self;
    /// Arc tangent.
    #[must_use]
    fn atan(self) -> Self;
    /// The angle of the point (other, self).
    #[must_use]
    fn atan2(self, other: Self) -> Self;
    /// Hyperbolic sine.
    #[must_use]
    fn sinh(self) -> Self;
    /// Hyperbolic cosine.
    #[must_use]
    fn cosh(self) -> Self;
    /// Hyperbolic tangent.
    #[must_use]
    fn tanh(self) -> Self;
    /// x^n.
    #[must_use]
    fn powi(self, n: i32) -> Self;
    /// x^y.
    #[must_use]
    fn powf(self, exponent: Self) -> Self;
    /// The larger one; the other one where one is NaN. Where they are equal the derivative is self's.
    #[must_use]
    fn max(self, other: Self) -> Self;
    /// The smaller one; the other one where one is NaN. Where they are equal the derivative is self's.
    #[must_use]
    fn min(self, other: Self) -> Self;
    /// `if_positive` where self > 0, else `otherwise`. Both are computed.
    #[must_use]
    fn select(self, if_positive: Self, otherwise: Self) -> Self;
}

/// What may stand on the left of a number N: `f64` is `Left<N>` of every number of a `Formula<f64>`. With the bound `where f64: Left<N>` on
/// [`Formula::eval`] one may write `2.0 * y[0]`; without it `y[0] * 2.0`. With it arithmetic between plain numbers does not compile
/// in that function (`2.0 * 3.0` is read as `f64` times N): put it into constants or a function of its own, or leave the bound out.
pub trait Left<N>:
    Sized + Add<N, Output = N> + Sub<N, Output = N> + Mul<N, Output = N> + Div<N, Output = N>
{
}
impl<N, A> Left<N> for A where
    A: Add<N, Output = N> + Sub<N, Output = N> + Mul<N, Output = N> + Div<N, Output = N>
{
}

/// y = A(t, x, p) on ONE column, written once for numbers of any kind. [`formula`](crate::expr::formula) makes a map with all derivatives of it,
/// [`solve_lanes`](crate::ode::solve_lanes) integrates eight trajectories at once. Mark `eval` `#[inline(always)]`, or lanes will not use the
/// machine's vector instructions.
///
/// ```
/// use costate::diff::{Formula, Left, Number, Size};
/// /// A driven oscillator, x'' = p (1 - x^2) x' - x + 0.1 sin t.
/// struct VanDerPol;
/// impl Formula<f64> for VanDerPol {
///     fn size(&self) -> Size {
///         Size::field(2, 1)
///     }
///     #[inline(always)]
///     fn eval<N: Number<f64>>(&self, t: N, y: &[N], p: &[N], dy: &mut [N])
///     where
///         f64: Left<N>, // for numbers on the left; may be left out
///     {
///         dy[0] = y[1];
///         dy[1] = p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0] + 0.1 * t.sin();
///     }
/// }
/// ```
pub trait Formula<T: Scalar>: Sync {
    /// The three lengths.
    fn size(&self) -> Size;
    /// y <- A(t, x, p), every entry. What it does may not depend on values.
    fn eval<N: Number<T>>(&self, t: N, x: &[N], p: &[N], y: &mut [N])
    where
        T: Left<N>;
}

impl<T: Scalar, F: Formula<T>> Formula<T> for &F {
    fn size(&self) -> Size {
        (**self).size()
    }
    #[inline(always)]
    fn eval<N: Number<T>>(&self, t: N, x: &[N], p: &[N], y: &mut [N])
    where
        T: Left<N>,
    {
        (**self).eval(t, x, p, y);
    }
}

/// The values of a formula as a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a, F>(pub &'a F);

impl<T: Scalar, F: Formula<T>> Map<T> for Values<'_, F> {
    #[inline(always)]
    fn size(&self) -> Size {
        self.0.size()
    }
    #[inline]
    fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
        self.0.eval(at.t, at.x, at.p, y);
    }
    /// Column by column, without the two divisions that chunks of two lengths cost.
    #[inline]
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        let Size { inputs, outputs, .. } = self.0.size();
        if inputs == 0 {
            return self.0.eval(at.t, at.x, at.p, y);
        }
        let (mut x, mut y) = (at.x, y);
        while x.len() >= inputs {
            let (x_first, x_rest) = x.split_at(inputs);
            let (y_first, y_rest) = y.split_at_mut(outputs);
            self.0.eval(at.t, x_first, at.p, y_first);
            (x, y) = (x_rest, y_rest);
        }
    }
}

macro_rules! forward {
    ($($f:ident)*) => { $(
        #[inline(always)]
        fn $f(self) -> T {
            <T as Scalar>::$f(self)
        }
    )* };
}

impl<T: Scalar> Number<T> for T {
    forward!(abs sqrt exp ln sin cos tan asin acos atan sinh cosh tanh);
    #[inline(always)]
    fn splat(x: T) -> T {
        x
    }
    #[inline(always)]
    fn inspect(self, look: impl Fn(T)) {
        look(self);
    }
    #[inline(always)]
    fn atan2(self, other: T) -> T {
        <T as Scalar>::atan2(self, other)
    }
    #[inline(always)]
    fn powi(self, n: i32) -> T {
        <T as Scalar>::powi(self, n)
    }
    #[inline(always)]
    fn powf(self, exponent: T) -> T {
        <T as Scalar>::powf(self, exponent)
    }
    #[inline(always)]
    fn max(self, other: T) -> T {
        if other > self || self.is_nan() { other } else { self }
    }
    #[inline(always)]
    fn min(self, other: T) -> T {
        if other < self || self.is_nan() { other } else { self }
    }
    #[inline(always)]
    fn select(self, if_positive: T, otherwise: T) -> T {
        if self > T::ZERO { if_positive } else { otherwise }
    }
}

/// The operators of a type of numbers over T that follow from those between two of them and from `splat`.
macro_rules! derived_operators {
    ($N:ident; $($tr:ident $f:ident $tr_assign:ident $f_assign:ident)*) => { $(
        impl<T: Scalar> $tr<T> for $N<T> {
            type Output = Self;
            #[inline(always)]
            fn $f(self, other: T) -> Self {
                self.$f(Self::splat(other))
            }
        }
        impl<T: Scalar> $tr_assign for $N<T> {
            #[inline(always)]
            fn $f_assign(&mut self, other: Self) {
                *self = (*self).$f(other);
            }
        }
        $crate::diff::number::derived_operators!(@left $N $tr $f f32);
        $crate::diff::number::derived_operators!(@left $N $tr $f f64);
    )* };
    (@left $N:ident $tr:ident $f:ident $T:ident) => {
        impl $tr<$N<$T>> for $T {
            type Output = $N<$T>;
            #[inline(always)]
            fn $f(self, other: $N<$T>) -> $N<$T> {
                $N::splat(self).$f(other)
            }
        }
    };
    ($N:ident) => {
        $crate::diff::number::derived_operators!($N; Add add AddAssign add_assign Sub sub SubAssign sub_assign
            Mul mul MulAssign mul_assign Div div DivAssign div_assign);
        impl<T: Scalar> std::iter::Sum for $N<T> {
            #[inline(always)]
            fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
                iter.reduce(|a, b| a + b).unwrap_or_else(|| Self::splat(T::ZERO))
            }
        }
        impl<T: Scalar> $crate::diff::number::sealed::Sealed for $N<T> {}
    };
}
pub(crate) use derived_operators;
