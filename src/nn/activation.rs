//! Activations, each with a slope that is a function of its value.

use serde::{Deserialize, Serialize};

use crate::linalg::Scalar;
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
        }
    }
    /// dy/dx from y.
    #[inline(always)]
    pub(crate) fn slope<T: Scalar>(self, y: T) -> T {
        match self {
            Self::Identity => T::ONE,
            Self::Tanh => T::ONE - y * y,
            Self::Sigmoid => y * (T::ONE - y),
            Self::Relu => {
                if y > T::ZERO {
                    T::ONE
                } else {
                    T::ZERO
                }
            }
        }
    }
    /// d(slope)/dy from y.
    #[inline(always)]
    pub(crate) fn slope_derivative<T: Scalar>(self, y: T) -> T {
        let two = T::ONE + T::ONE;
        match self {
            Self::Identity | Self::Relu => T::ZERO,
            Self::Tanh => -two * y,
            Self::Sigmoid => T::ONE - two * y,
        }
    }
}
