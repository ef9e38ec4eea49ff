//! Adam (Kingma and Ba 2015).

use serde::{Deserialize, Serialize};

use super::moments::{Constants, Moments, Square};
use super::{Optimizer, OptimizerKind};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// `kind = "adam"` (Kingma and Ba 2015): m, v averages of g, g^2, p <- p - a m^ / (sqrt(v^) + epsilon), m^ = m / (1 - beta1^t), v^ likewise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Decay of the first moment, in \[0, 1); default 0.9.
    pub beta1: f64,
    /// Decay of the second, in \[0, 1); default 0.999.
    pub beta2: f64,
    /// Added to the scale; default 1e-8.
    pub epsilon: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl AdamConfig {
    fn constants(&self) -> Constants {
        let &Self { beta1, beta2, epsilon } = self;
        Constants { beta1, beta2, epsilon, decay: 0.0 }
    }
}

impl OptimizerKind for AdamConfig {
    fn problem(&self) -> Option<String> {
        self.constants().problem()
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Moments::<T, Square>::new(self.constants(), entries))
    }
}
