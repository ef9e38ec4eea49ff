//! Loops over lanes, one for each operation.

/// Calls `$run!(operation)` with the operation as a constant, so that every loop is compiled on its own.
macro_rules! with_unary {
    ($op:expr, $run:ident) => {
        with_unary!(@ $op, $run, Neg Abs Sqrt Exp Log Log10 Sin Cos Tan Asin Acos Atan Sinh Cosh Tanh Asinh Acosh Atanh Logistic Floor Ceil Trunc Round Single Not)
    };
    (@ $op:expr, $run:ident, $($name:ident)*) => {
        match $op { $(Unary::$name => $run!(Unary::$name)),* }
    };
}
pub(crate) use with_unary;

macro_rules! with_binary {
    ($op:expr, $run:ident) => {
        with_binary!(@ $op, $run, Add Sub Mul Div Pow Powi Atan2 Mod Sign Max Min Lt Le Eq Ne And Or Digits)
    };
    (@ $op:expr, $run:ident, $($name:ident)*) => {
        match $op { $(Binary::$name => $run!(Binary::$name)),* }
    };
}

pub(crate) use with_binary;

/// d <- f(a), entry by entry.
#[inline(always)]
pub(crate) fn map1(d: &mut [f64], a: &[f64], f: impl Fn(f64) -> f64) {
    for (d, a) in d.iter_mut().zip(a) {
        *d = f(*a);
    }
}
/// d <- f(a, b), entry by entry.
#[inline(always)]
pub(crate) fn map2(d: &mut [f64], a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) {
    for ((d, a), b) in d.iter_mut().zip(a).zip(b) {
        *d = f(*a, *b);
    }
}
