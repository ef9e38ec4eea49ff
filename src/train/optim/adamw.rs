//! Adam with decoupled weight decay (Loshchilov and Hutter 2019).

use serde::{Deserialize, Serialize};

use super::moments::{Constants, Moments, Square};
use super::{Optimizer, OptimizerKind};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// `kind = "adamw"` (Loshchilov and Hutter 2019): Adam, and p <- p - a decay p beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment, in \[0, 1); default 0.9.
    pub beta1: f64,
    /// Decay of the second, in \[0, 1); default 0.999.
    pub beta2: f64,
    /// Added to the scale; default 1e-8.
    pub epsilon: f64,
    /// Weight decay; default 0.01.
    pub decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01 }
    }
}

impl AdamWConfig {
    fn constants(&self) -> Constants {
        let &Self { beta1, beta2, epsilon, decay } = self;
        Constants { beta1, beta2, epsilon, decay }
    }
}

impl OptimizerKind for AdamWConfig {
    fn problem(&self) -> Option<String> {
        self.constants().problem()
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Moments::<T, Square>::new(self.constants(), entries))
    }
}
