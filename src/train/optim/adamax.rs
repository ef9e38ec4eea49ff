//! AdaMax (Kingma and Ba 2015).

use serde::{Deserialize, Serialize};

use super::moments::{Constants, Moments, Now, Second};
use super::{Optimizer, OptimizerKind};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// `kind = "adamax"` (Kingma and Ba 2015): u <- max(beta2 u, |g|), p <- p - a m^ / (u + epsilon).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaMaxConfig {
    /// Decay of the first moment, in \[0, 1); default 0.9.
    pub beta1: f64,
    /// Decay of the second, in \[0, 1); default 0.999.
    pub beta2: f64,
    /// Added to the scale; default 1e-8.
    pub epsilon: f64,
}

impl Default for AdaMaxConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl AdaMaxConfig {
    fn constants(&self) -> Constants {
        let &Self { beta1, beta2, epsilon } = self;
        Constants { beta1, beta2, epsilon, decay: 0.0 }
    }
}

impl OptimizerKind for AdaMaxConfig {
    fn problem(&self) -> Option<String> {
        self.constants().problem()
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Moments::<T, Maximum>::new(self.constants(), entries))
    }
}

/// The running maximum of |g|.
struct Maximum;

impl Second for Maximum {
    #[inline(always)]
    fn scale<T: Scalar>(v: &mut T, g: T, _: T, now: &Now<T>) -> T {
        let (old, new) = (now.b2 * *v, g.abs());
        *v = if new > old { new } else { old };
        *v
    }
}
