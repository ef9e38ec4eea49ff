//! Recording as one of the kinds of numbers of a formula, and the map that comes of it.

use std::marker::PhantomData;
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

use super::formula::Sizes;
use super::map::RecordedMap;
use super::record::{RecordError, Var, record_map};
use crate::diff::forward::forward_map;
use crate::diff::number::derived_operators;
use crate::diff::{
    At, BarsMut, Dots, Dual, Formula, Kept, Lanes, Left, Map, Number, Offers, Size, Structure, Values,
};
use crate::linalg::Scalar;

/// A number of a [`Formula`] that is being recorded: a [`Var`] that takes constants of the kind T.
#[derive(Debug, Clone, Copy)]
pub struct Traced<T>(Var, PhantomData<T>);

impl<T> Traced<T> {
    fn new(var: Var) -> Self {
        Self(var, PhantomData)
    }
}

impl<T: Scalar> Neg for Traced<T> {
    type Output = Self;
    fn neg(self) -> Self {
        Self::new(-self.0)
    }
}
macro_rules! operators {
    ($($tr:ident $f:ident)*) => { $(
        impl<T: Scalar> $tr for Traced<T> {
            type Output = Self;
            fn $f(self, other: Self) -> Self {
                Self::new(self.0.$f(other.0))
            }
        }
    )* };
}
operators!(Add add Sub sub Mul mul Div div);
derived_operators!(Traced);

macro_rules! unary {
    ($($f:ident)*) => { $(
        fn $f(self) -> Self {
            Self::new(self.0.$f())
        }
    )* };
}
macro_rules! binary {
    ($($f:ident)*) => { $(
        fn $f(self, other: Self) -> Self {
            Self::new(self.0.$f(other.0))
        }
    )* };
}

impl<T: Scalar> Number<T> for Traced<T> {
    unary!(abs sqrt exp ln sin cos tan asin acos atan sinh cosh tanh);
    binary!(atan2 powf max min);
    fn splat(x: T) -> Self {
        Self::new(Var::from(x.f64()))
    }
    fn inspect(self, _: impl Fn(T)) {}
    fn powi(self, n: i32) -> Self {
        Self::new(self.0.powi(n))
    }
    fn select(self, if_positive: Self, otherwise: Self) -> Self {
        Self::new(self.0.select(if_positive.0, otherwise.0))
    }
}

/// `f32` and `f64`: what may stand on the left of all numbers of a formula.
pub trait Real: Scalar + Left<Self> + Left<Lanes<Self>> + Left<Dual<Self>> + Left<Traced<Self>> {}
impl Real for f32 {}
impl Real for f64 {}

/// See [`formula`].
#[derive(Debug, Clone)]
pub struct Formulated<F, T> {
    formula: F,
    size: Size,
    recorded: RecordedMap<T>,
}

/// A map from a formula: values as compiled by the compiler for T, all derivatives by recording it once. For integrators, adjoints and networks.
///
/// ```
/// use costate::diff::{Formula, Number, Size};
/// use costate::expr::formula;
/// use costate::ode::{Options, RODAS5P, solve};
/// struct Robertson;
/// impl Formula<f64> for Robertson {
///     fn size(&self) -> Size {
///         Size::field(3, 3)
///     }
///     #[inline(always)]
///     fn eval<N: Number<f64>>(&self, _t: N, y: &[N], p: &[N], dy: &mut [N]) {
///         let (a, b, c) = (p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]);
///         (dy[0], dy[1], dy[2]) = (b - a, a - b - c, c);
///     }
/// }
/// let mut field = formula(Robertson)?;
/// let s = solve(&mut field, &RODAS5P, &Options::default(), (0.0, 1e5), &[1.0, 0.0, 0.0], &[0.04, 1e4, 3e7], &[])?;
/// assert!((s.y1[0] - 0.0178659).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// An output is never set.
pub fn formula<T: Real, F: Formula<T>>(formula: F) -> Result<Formulated<F, T>, RecordError> {
    let size = formula.size();
    let sizes = Sizes { inputs: size.inputs, outputs: size.outputs, params: size.params };
    let recorded = record_map(sizes, |t, x, p, y| {
        let traced = |v: &[Var]| v.iter().map(|v| Traced::new(*v)).collect::<Vec<Traced<T>>>();
        let mut out = traced(y);
        formula.eval(Traced::new(t), &traced(x), &traced(p), &mut out);
        y.iter_mut().zip(out).for_each(|(y, v)| *y = v.0);
    })?;
    Ok(Formulated { formula, size, recorded: recorded.into_map_of() })
}

impl<F, T> Formulated<F, T> {
    /// The formula.
    pub fn formula(&self) -> &F {
        &self.formula
    }
    /// It as it was recorded.
    pub fn recorded(&self) -> &RecordedMap<T> {
        &self.recorded
    }
}

impl<T: Real, F: Formula<T>> Map<T> for Formulated<F, T> {
    #[inline(always)]
    fn size(&self) -> Size {
        self.size
    }
    fn offers(&self) -> Offers {
        self.recorded.offers()
    }
    #[inline(always)]
    fn value_one(&mut self, at: At<'_, T>, y: &mut [T]) {
        Values(&self.formula).value_one(at, y);
    }
    #[inline]
    fn value(&mut self, at: At<'_, T>, y: &mut [T]) {
        Values(&self.formula).value(at, y);
    }
    forward_map!(recorded: vjp jvp tangent jacobian time_derivative);
}
