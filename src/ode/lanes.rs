//! Several trajectories at once: one number each, in the lanes of a vector register.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::diff::{At, Map, Size};
use crate::linalg::Scalar;

/// Trajectories computed together.
pub(crate) const WIDTH: usize = 8;

mod sealed {
    pub trait Sealed {}
}

/// A number, or one number for each of several trajectories: what a [`LaneField`] computes with. Sealed: `T` itself and [`Lanes`].
/// All operations act lane by lane and round as those of `T`, so a trajectory does not depend on its neighbours.
pub trait Lane<T: Scalar>:
    sealed::Sealed
    + Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The same number in all lanes.
    fn splat(x: T) -> Self;
    /// A constant.
    #[inline(always)]
    fn of(x: f64) -> Self {
        Self::splat(<T as Scalar>::of(x))
    }
    /// Any function, one lane after the other.
    fn map(self, f: impl Fn(T) -> T) -> Self;
    /// |x|.
    #[inline(always)]
    fn abs(self) -> Self {
        self.map(<T as Scalar>::abs)
    }
    /// Square root.
    #[inline(always)]
    fn sqrt(self) -> Self {
        self.map(<T as Scalar>::sqrt)
    }
    /// e^x.
    #[inline(always)]
    fn exp(self) -> Self {
        self.map(<T as Scalar>::exp)
    }
    /// ln x.
    #[inline(always)]
    fn ln(self) -> Self {
        self.map(<T as Scalar>::ln)
    }
    /// x^n.
    #[inline(always)]
    fn powi(self, n: i32) -> Self {
        self.map(|x| Scalar::powi(x, n))
    }
    /// The larger one where neither is NaN; the second one otherwise.
    fn larger(self, other: Self) -> Self;
}

impl<T: Scalar> sealed::Sealed for T {}
impl<T: Scalar> sealed::Sealed for Lanes<T> {}

impl<T: Scalar> Lane<T> for T {
    #[inline(always)]
    fn splat(x: T) -> T {
        x
    }
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

impl<T: Scalar> Neg for Lanes<T> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|x| -x)
    }
}

impl<T: Scalar> Lane<T> for Lanes<T> {
    #[inline(always)]
    fn splat(x: T) -> Self {
        Self([x; WIDTH])
    }
    #[inline(always)]
    fn map(mut self, f: impl Fn(T) -> T) -> Self {
        for x in &mut self.0 {
            *x = f(*x);
        }
        self
    }
    #[inline(always)]
    fn larger(mut self, other: Self) -> Self {
        for l in 0..WIDTH {
            self.0[l] = if self.0[l] > other.0[l] { self.0[l] } else { other.0[l] };
        }
        self
    }
}

impl<T: Scalar> Lanes<T> {
    /// Lane by lane: this one where `mask` is not zero, the other elsewhere.
    #[inline(always)]
    pub(crate) fn select(mask: &Self, this: Self, mut other: Self) -> Self {
        for l in 0..WIDTH {
            other.0[l] = if mask.0[l] != T::ZERO { this.0[l] } else { other.0[l] };
        }
        other
    }
}

/// dy/dt = f(t, y, p) on ONE state, written once for a number and for several trajectories at once (each with its own t):
/// what [`solve_lanes`](super::solve_lanes) integrates. Mark `eval` `#[inline(always)]`, or it will not use the machine's vector instructions.
///
/// ```
/// use costate::ode::{Lane, LaneField, Options, Params, TSIT54, solve_lanes};
///
/// struct Lorenz;
/// impl LaneField<f64> for Lorenz {
///     fn dim(&self) -> usize { 3 }
///     fn n_params(&self) -> usize { 3 }
///     #[inline(always)]
///     fn eval<E: Lane<f64>>(&self, _t: E, y: &[E], p: &[E], dy: &mut [E]) {
///         dy[0] = p[0] * (y[1] - y[0]);
///         dy[1] = y[0] * (p[1] - y[2]) - y[1];
///         dy[2] = y[0] * y[1] - p[2] * y[2];
///     }
/// }
/// let y0: Vec<f64> = (0..100).flat_map(|i| [1.0 + 0.01 * i as f64, 0.0, 0.0]).collect();
/// let p = [10.0, 28.0, 8.0 / 3.0];
/// let s = solve_lanes(&TSIT54, &Options::default(), &Lorenz, (0.0, 1.0), &y0, Params::Shared(&p), &[])?;
/// assert_eq!((s.y1.len(), s.failed().count()), (300, 0));
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
pub trait LaneField<T: Scalar>: Sync {
    /// n, the length of one state.
    fn dim(&self) -> usize;
    /// Length of `p`.
    fn n_params(&self) -> usize;
    /// dy <- f(t, y, p), every entry, lane by lane.
    fn eval<E: Lane<T>>(&self, t: E, y: &[E], p: &[E], dy: &mut [E]);
}

/// A [`LaneField`] as a [`Map`]: one trajectory at a time.
#[derive(Debug, Clone, Copy)]
pub struct OneLane<'a, F>(pub &'a F);

impl<T: Scalar, F: LaneField<T>> Map<T> for OneLane<'_, F> {
    #[inline(always)]
    fn size(&self) -> Size {
        let n = self.0.dim();
        Size { inputs: n, outputs: n, params: self.0.n_params() }
    }
    #[inline]
    fn value_one(&mut self, at: At<'_, T>, dy: &mut [T]) {
        self.0.eval(at.t, at.x, at.p, dy);
    }
    #[inline]
    fn value(&mut self, at: At<'_, T>, dy: &mut [T]) {
        let n = self.0.dim();
        for (y, dy) in at.x.chunks_exact(n).zip(dy.chunks_exact_mut(n)) {
            self.0.eval(at.t, y, at.p, dy);
        }
    }
}
