//! The standard normal distribution function without branches, so that it vectorizes; logarithms far into the tails are in `surrogate`.
//!
//! With a = min(|x|, cap), phi the density and t = (a - c) / (a + c):
//!
//! ```text
//! Phi(-a) = e^(-a^2 / 2) q(t),   Phi(a) = 1 - Phi(-a)
//! ```
//!
//! q is a polynomial on [-1, 1): the Chebyshev expansion in t (as Schonfelder's of erfc, Mathematics of Computation 32, 1978), written in powers, whose terms
//! add up to 1/2 at most. Measured against 40 digits at 17143 points of [-10, 10]: 1.4 units of rounding of 1 in Phi, 0.4 in
//! phi (double precision). NaN stays NaN.

use super::Scalar;
use super::tanh::exponential;

/// c of t.
const CENTER: f64 = 5.25;

/// Phi(-a) e^(a^2 / 2) by powers of t.
const DOUBLE: [f64; 24] = [
    0.07348823085269288,
    -0.13785521846034848,
    0.11354904848098972,
    -0.08167255794837831,
    0.05074725243219549,
    -0.026727863779519787,
    0.01152768995762706,
    -0.0037863137482340567,
    0.0007616296028249818,
    2.4680560451980216e-05,
    -7.715848529374007e-05,
    1.991488739884958e-05,
    3.2102191068746e-06,
    -2.9573360016224753e-06,
    1.4884221268948236e-07,
    3.5424345962620556e-07,
    -6.180907351520305e-08,
    -4.353651502183513e-08,
    1.1346975469836655e-08,
    5.797915791392035e-09,
    -1.5690197479763402e-09,
    -7.412232105781496e-10,
    1.2876185139228073e-10,
    6.099424975928138e-11,
];

/// The same to single precision.
const SINGLE: [f64; 12] = [
    0.07348822919854313,
    -0.13785521213996144,
    0.11354916757588919,
    -0.08167273691276149,
    0.05074586332277933,
    -0.026726409288274026,
    0.011533612313483203,
    -0.0037914208784330574,
    0.0007502338344008812,
    3.353942655668844e-05,
    -6.71078958709776e-05,
    1.2240250273655475e-05,
];

/// 1 / sqrt(2 pi).
const DENSITY: f64 = 0.3989422804014327;

/// (Phi(x), phi(x), x cut to where phi is a number that is not subnormal).
#[inline(always)]
pub(crate) fn normal<T: Scalar>(x: T) -> (T, T, T) {
    let single = T::EPSILON.f64() > 1e-10;
    let cap = T::of(if single { 13.0 } else { 37.5 });
    let a = x.abs();
    let a = if a > cap { cap } else { a };
    let (m, pow) = exponential(-(T::of(0.5) * a * a));
    let bell = pow + pow * m;
    let c = T::of(CENTER);
    let t = (a - c) / (a + c);
    let t2 = t * t;
    let t4 = t2 * t2;
    let ratio = if single { polynomial(&SINGLE, t, t2, t4) } else { polynomial(&DOUBLE, t, t2, t4) };
    let tail = bell * ratio;
    let below = if x < T::ZERO { tail } else { T::ONE - tail };
    (below, T::of(DENSITY) * bell, if x < T::ZERO { -a } else { a })
}

/// In groups of four, as many as there are.
#[inline(always)]
fn polynomial<T: Scalar, const N: usize>(c: &[f64; N], t: T, t2: T, t4: T) -> T {
    let c = |k: usize| T::of(c[k]);
    let mut sum = T::ZERO;
    for k in (0..N / 4).rev() {
        let k = 4 * k;
        sum = sum * t4 + ((c(k) + c(k + 1) * t) + (c(k + 2) + c(k + 3) * t) * t2);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::surrogate::normal::{cumulative, density};

    #[test]
    fn errors_in_both_precisions() {
        let (mut double, mut single) = (0.0f64, 0.0f64);
        for i in -60_000..=60_000i64 {
            let x = i as f64 / 6000.0;
            let (p, d, same) = normal(x);
            assert_eq!(same, x);
            double = double.max((p - cumulative(x)).abs()).max((d - density(x)).abs());
            let (p, d, _) = normal(x as f32);
            let x = x as f32 as f64;
            single = single.max((p as f64 - cumulative(x)).abs()).max((d as f64 - density(x)).abs());
        }
        println!("f64 {:.2} eps, f32 {:.2} eps", double / f64::EPSILON, single / f32::EPSILON as f64);
        // In double precision the other one rounds too.
        assert!(double < 3.0 * f64::EPSILON, "{double:e}");
        assert!(single < 2.0 * f32::EPSILON as f64, "{single:e}");
    }

    /// Relative in the lower tail, where the density's own argument is rounded.
    #[test]
    fn the_tail_is_relative() {
        for x in [-1.0, -2.0, -5.0, -10.0, -20.0, -37.0f64] {
            let (p, _, _) = normal(x);
            assert!(
                (p / cumulative(x) - 1.0).abs() < 1e-15 * (10.0 + x * x),
                "{x} {}",
                p / cumulative(x) - 1.0
            );
        }
    }

    #[test]
    fn special_values() {
        assert_eq!(normal(f64::INFINITY).0, 1.0);
        assert_eq!(normal(0.0f64).0, 0.5);
        let (p, d, x) = normal(f64::NEG_INFINITY);
        assert!(p < 1e-300 && d < 1e-300 && x == -37.5);
        assert!(normal(f64::NAN).0.is_nan() && normal(f32::NAN).1.is_nan());
    }
}
