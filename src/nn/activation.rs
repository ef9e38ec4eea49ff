//! Activations. Slopes are functions of the value y, or, where y does not say which x it came from, of the argument x.

use serde::{Deserialize, Serialize};

use crate::linalg::Scalar;
use crate::linalg::normal::normal;
use crate::linalg::tanh::tanh;

/// What follows a layer's affine map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x.
    Identity,
    /// tanh x.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// max(x, 0); slope 0 at 0.
    Relu,
    /// x Phi(x), Phi the normal distribution function, exact (Hendrycks and Gimpel 2016).
    Gelu,
}

/// 1 / (1 + e^-x) = (1 + tanh(x/2)) / 2, without branches.
#[inline(always)]
pub(crate) fn sigmoid<T: Scalar>(x: T) -> T {
    let half = T::of(0.5);
    half * tanh(half * x) + half
}

impl Activation {
    /// y = act(x).
    #[inline(always)]
    pub(crate) fn value<T: Scalar>(self, x: T) -> T {
        match self {
            Self::Identity => x,
            Self::Tanh => tanh(x),
            Self::Sigmoid => sigmoid(x),
            // Written so that NaN stays NaN.
            Self::Relu => {
                if x < T::ZERO {
                    T::ZERO
                } else {
                    x
                }
            }
            Self::Gelu => {
                let (below, _, cut) = normal(x);
                // Of x from minus infinity on nothing is left.
                if x < T::ZERO { cut * below } else { x * below }
            }
        }
    }
    /// Whether slopes are functions of x, not of y: x must be kept.
    #[inline(always)]
    pub(crate) fn by_argument(self) -> bool {
        self == Self::Gelu
    }
    /// dy/dx from y, or from x if [`by_argument`](Self::by_argument).
    #[inline(always)]
    pub(crate) fn slope<T: Scalar>(self, v: T) -> T {
        match self {
            Self::Identity => T::ONE,
            Self::Tanh => T::ONE - v * v,
            Self::Sigmoid => v * (T::ONE - v),
            Self::Relu => {
                if v > T::ZERO {
                    T::ONE
                } else {
                    T::ZERO
                }
            }
            Self::Gelu => {
                let (below, density, cut) = normal(v);
                below + cut * density
            }
        }
    }
    /// Derivative of the slope by what it is a function of.
    #[inline(always)]
    pub(crate) fn slope_derivative<T: Scalar>(self, v: T) -> T {
        let two = T::ONE + T::ONE;
        match self {
            Self::Identity | Self::Relu => T::ZERO,
            Self::Tanh => -two * v,
            Self::Sigmoid => T::ONE - two * v,
            Self::Gelu => {
                let (_, density, cut) = normal(v);
                density * (two - cut * cut)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gelu_by_hand() {
        let gelu = Activation::Gelu;
        // x Phi(x) with tabulated Phi.
        for (x, p) in [(1.0, 0.841_344_746_068_542_9), (-2.0, 0.022_750_131_948_179_2), (0.0, 0.5)] {
            assert!((gelu.value(x) - x * p).abs() < 1e-15, "{x}");
        }
        assert_eq!((gelu.value(f64::INFINITY), gelu.slope(f64::INFINITY)), (f64::INFINITY, 1.0));
        assert!(gelu.value(f64::NEG_INFINITY).abs() < 1e-300 && gelu.slope(f64::NEG_INFINITY).abs() < 1e-300);
        assert!(gelu.value(f64::NAN).is_nan() && gelu.slope(f64::NAN).is_nan());
        for i in -80..80 {
            let (x, h) = (0.1 * i as f64, 1e-3);
            let fd = |f: &dyn Fn(f64) -> f64| {
                (8.0 * (f(x + h) - f(x - h)) - (f(x + 2.0 * h) - f(x - 2.0 * h))) / (12.0 * h)
            };
            assert!((fd(&|x| gelu.value(x)) - gelu.slope(x)).abs() < 1e-11, "{x}");
            assert!((fd(&|x| gelu.slope(x)) - gelu.slope_derivative(x)).abs() < 1e-11, "{x}");
        }
    }
}
