//! One sealed scalar type for everything that integrates or trains: `f32` or `f64`.

use std::fmt::{Debug, Display};
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A real number: `f32` or `f64`. Sealed; dual numbers live in fields, not in the solver.
pub trait Scalar:
    sealed::Sealed
    + Copy
    + PartialOrd
    + Default
    + Debug
    + Display
    + Send
    + Sync
    + Sum
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Distance from 1 to the next number.
    const EPSILON: Self;
    /// Rounds.
    fn of(x: f64) -> Self;
    /// Exact.
    fn f64(self) -> f64;
    /// |x|.
    fn abs(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// e^x.
    fn exp(self) -> Self;
    /// ln x.
    fn ln(self) -> Self;
    /// x^n.
    fn powi(self, n: i32) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Tangent.
    fn tan(self) -> Self;
    /// Arc sine.
    fn asin(self) -> Self;
    /// Arc cosine.
    fn acos(self) -> Self;
    /// Arc tangent.
    fn atan(self) -> Self;
    /// Hyperbolic sine.
    fn sinh(self) -> Self;
    /// Hyperbolic cosine.
    fn cosh(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The angle of the point (other, self).
    fn atan2(self, other: Self) -> Self;
    /// x^y.
    fn powf(self, exponent: Self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Not a number.
    fn is_nan(self) -> bool;
    /// The nearest integer and 2 to its power for |x| within the exponent's range: (r, 2^r). Branch-free.
    fn round_exp2(self) -> (Self, Self);
    /// The same slice, if the numbers are `f64`.
    fn as_f64s(v: &[Self]) -> Option<&[f64]>;
    /// The same slice, if the numbers are `f64`.
    fn as_f64s_mut(v: &mut [Self]) -> Option<&mut [f64]>;
    /// C <- alpha A B, or C <- C + alpha A B with `add`; C is column-major. One thread if `threads` is 1, rayon's pool otherwise.
    fn gemm(alpha: Self, a: Dense<'_, Self>, b: Dense<'_, Self>, add: bool, c: &mut [Self], threads: usize);
}

/// A column-major dense matrix, or its transpose, inside a slice.
#[derive(Debug, Clone, Copy)]
pub struct Dense<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    transposed: bool,
}

impl<'a, T> Dense<'a, T> {
    /// The first rows x cols entries of `data`, column by column.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self { data: &data[..rows * cols], rows, cols, transposed: false }
    }
    /// The transpose, without a copy.
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }
    /// Rows of op(A).
    pub fn nrows(&self) -> usize {
        if self.transposed { self.cols } else { self.rows }
    }
    /// Columns of op(A).
    pub fn ncols(&self) -> usize {
        if self.transposed { self.rows } else { self.cols }
    }
}

macro_rules! scalar {
    ($t:ty, $bits:ty, $mantissa:expr, $bias:expr, $magic:expr, $same:expr) => {
        impl Scalar for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const EPSILON: Self = <$t>::EPSILON;
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn abs(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline(always)]
            fn exp(self) -> Self {
                self.exp()
            }
            #[inline(always)]
            fn ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn powi(self, n: i32) -> Self {
                self.powi(n)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                self.sin()
            }
            #[inline(always)]
            fn cos(self) -> Self {
                self.cos()
            }
            #[inline(always)]
            fn tan(self) -> Self {
                self.tan()
            }
            #[inline(always)]
            fn asin(self) -> Self {
                self.asin()
            }
            #[inline(always)]
            fn acos(self) -> Self {
                self.acos()
            }
            #[inline(always)]
            fn atan(self) -> Self {
                self.atan()
            }
            #[inline(always)]
            fn sinh(self) -> Self {
                self.sinh()
            }
            #[inline(always)]
            fn cosh(self) -> Self {
                self.cosh()
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                self.tanh()
            }
            #[inline(always)]
            fn atan2(self, other: Self) -> Self {
                self.atan2(other)
            }
            #[inline(always)]
            fn powf(self, other: Self) -> Self {
                self.powf(other)
            }
            #[inline(always)]
            fn is_finite(self) -> bool {
                self.is_finite()
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn round_exp2(self) -> (Self, Self) {
                // Adding 1.5 * 2^mantissa leaves the nearest integer in the low bits (round to even).
                let shifted: $t = self + $magic;
                let r = shifted - $magic;
                let low = shifted.to_bits().wrapping_sub(<$t>::to_bits($magic));
                (r, <$t>::from_bits(low.wrapping_add($bias) << $mantissa))
            }
            #[inline(always)]
            fn as_f64s(v: &[Self]) -> Option<&[f64]> {
                $same(v)
            }
            #[inline(always)]
            fn as_f64s_mut(v: &mut [Self]) -> Option<&mut [f64]> {
                $same(v)
            }
            fn gemm(
                alpha: Self,
                a: Dense<'_, Self>,
                b: Dense<'_, Self>,
                add: bool,
                c: &mut [Self],
                threads: usize,
            ) {
                use faer::{Accum, MatMut, MatRef, Par};
                let (m, n) = (a.nrows(), b.ncols());
                let am = MatRef::from_column_major_slice(a.data, a.rows, a.cols);
                let bm = MatRef::from_column_major_slice(b.data, b.rows, b.cols);
                let am = if a.transposed { am.transpose() } else { am };
                let bm = if b.transposed { bm.transpose() } else { bm };
                let cm = MatMut::from_column_major_slice_mut(&mut c[..m * n], m, n);
                let par = if threads == 1 { Par::Seq } else { Par::rayon(threads) };
                let accum = if add { Accum::Add } else { Accum::Replace };
                faer::linalg::matmul::matmul(cm, accum, am, bm, alpha, par);
            }
        }
    };
}
scalar!(f32, u32, 23, 127, 12582912.0, |_| None);
scalar!(f64, u64, 52, 1023, 6755399441055744.0, Some);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_and_powers_of_two() {
        for k in -100..=100i32 {
            for d in [-0.49, 0.0, 0.49] {
                let (r, p) = (k as f64 + d).round_exp2();
                assert_eq!((r, p), (k as f64, 2f64.powi(k)));
                let (r, p) = (k as f32 + d as f32).round_exp2();
                assert_eq!((r, p), (k as f32, 2f32.powi(k)));
            }
        }
    }

    #[test]
    fn gemm_multiplies_transposes_and_adds() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // 2 x 3
        let b = [1.0, -1.0, 2.0, 0.5, 1.5, -2.0]; // 3 x 2
        let mut c = [f64::NAN; 4];
        f64::gemm(2.0, Dense::new(&a, 2, 3), Dense::new(&b, 3, 2), false, &mut c, 1);
        assert_eq!(c, [16.0, 20.0, -10.0, -10.0]);
        f64::gemm(1.0, Dense::new(&a, 3, 2).t(), Dense::new(&b, 2, 3).t(), true, &mut c[..4], 1);
        // A' with A = [1 4; 2 5; 3 6], B' with B = [1 2 1.5; -1 0.5 -2].
        assert_eq!(
            c,
            [
                16.0 + 1.0 + 4.0 + 4.5,
                20.0 + 4.0 + 10.0 + 9.0,
                -10.0 - 1.0 + 1.0 - 6.0,
                -10.0 - 4.0 + 2.5 - 12.0
            ]
        );
    }
}
