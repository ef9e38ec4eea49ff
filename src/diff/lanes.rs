//! Several trajectories at once: one number each, in the lanes of a vector register.

use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::number::{Number, derived_operators};
use crate::linalg::Scalar;

/// Trajectories computed together.
pub(crate) const WIDTH: usize = 8;

/// A number, or one number for each of several trajectories: `T` itself and [`Lanes`].
/// All operations act lane by lane and round as those of `T`, so a trajectory does not depend on its neighbours.
pub(crate) trait Lane<T: Scalar>: Number<T> {
    /// Any function, one lane after the other.
    fn map(self, f: impl Fn(T) -> T) -> Self;
    /// The larger one where neither is NaN; the second one otherwise.
    fn larger(self, other: Self) -> Self;
}

impl<T: Scalar> Lane<T> for T {
    #[inline(always)]
    fn map(self, f: impl Fn(T) -> T) -> T {
        f(self)
    }
    #[inline(always)]
    fn larger(self, other: T) -> T {
        if self > other { self } else { other }
    }
}

/// One number for each of eight trajectories.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub struct Lanes<T>(pub(crate) [T; WIDTH]);

macro_rules! lane_op {
    ($($trait:ident $f:ident $op:tt),*) => { $(
        impl<T: Scalar> $trait for Lanes<T> {
            type Output = Self;
            #[inline(always)]
            fn $f(mut self, other: Self) -> Self {
                for l in 0..WIDTH {
                    self.0[l] $op other.0[l];
                }
                self
            }
        }
    )* };
}
lane_op!(Add add +=, Sub sub -=, Mul mul *=, Div div /=);
derived_operators!(Lanes);

impl<T: Scalar> Neg for Lanes<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|x| -x)
    }
}

impl<T: Scalar> Lane<T> for Lanes<T> {
    #[inline(always)]
    fn map(mut self, f: impl Fn(T) -> T) -> Self {
        for x in &mut self.0 {
            *x = f(*x);
        }
        self
    }
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }
}

macro_rules! unary {
    ($($f:ident)*) => { $(
        #[inline(always)]
        fn $f(self) -> Self {
            self.map(<T as Scalar>::$f)
        }
    )* };
}

impl<T: Scalar> Number<T> for Lanes<T> {
    unary!(abs sqrt exp ln sin cos tan asin acos atan sinh cosh tanh);
    #[inline(always)]
    fn splat(x: T) -> Self {
        Self([x; WIDTH])
    }
    #[inline(always)]
    fn inspect(self, look: impl Fn(T)) {
        self.0.into_iter().for_each(look);
    }
    #[inline(always)]
    fn atan2(self, other: Self) -> Self {
        self.zip(other, <T as Scalar>::atan2)
    }
    #[inline(always)]
    fn powi(self, n: i32) -> Self {
        self.map(|x| <T as Scalar>::powi(x, n))
    }
    #[inline(always)]
    fn powf(self, exponent: Self) -> Self {
        self.zip(exponent, <T as Scalar>::powf)
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.zip(other, <T as Number<T>>::max)
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.zip(other, <T as Number<T>>::min)
    }
    #[inline(always)]
    fn select(self, if_positive: Self, mut otherwise: Self) -> Self {
        for l in 0..WIDTH {
            otherwise.0[l] = if self.0[l] > T::ZERO { if_positive.0[l] } else { otherwise.0[l] };
        }
        otherwise
    }
}

impl<T: Scalar> Lanes<T> {
    #[inline(always)]
    fn zip(mut self, other: Self, f: impl Fn(T, T) -> T) -> Self {
        for l in 0..WIDTH {
            self.0[l] = f(self.0[l], other.0[l]);
        }
        self
    }
    /// Lane by lane: this one where `mask` is not zero, the other elsewhere.
    #[inline(always)]
    pub(crate) fn blend(mask: &Self, this: Self, mut other: Self) -> Self {
        for l in 0..WIDTH {
            other.0[l] = if mask.0[l] != T::ZERO { this.0[l] } else { other.0[l] };
        }
        other
    }
}
