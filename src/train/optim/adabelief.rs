//! AdaBelief (Zhuang et al. 2020).

use serde::{Deserialize, Serialize};

use super::moments::{Constants, Moments, Now, Second};
use super::{Optimizer, OptimizerKind};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// `kind = "adabelief"` (Zhuang et al. 2020): s average of (g - m)^2, + epsilon each step, p <- p - a m^ / (sqrt(s^) + epsilon).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdaBeliefConfig {
    /// Decay of the first moment, in \[0, 1); default 0.9.
    pub beta1: f64,
    /// Decay of the second, in \[0, 1); default 0.999.
    pub beta2: f64,
    /// Added to the scale; default 1e-16.
    pub epsilon: f64,
}

impl Default for AdaBeliefConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-16 }
    }
}

impl AdaBeliefConfig {
    fn constants(&self) -> Constants {
        let &Self { beta1, beta2, epsilon } = self;
        Constants { beta1, beta2, epsilon, decay: 0.0 }
    }
}

impl OptimizerKind for AdaBeliefConfig {
    fn problem(&self) -> Option<String> {
        self.constants().problem()
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Moments::<T, Belief>::new(self.constants(), entries))
    }
}

/// (g - m)^2 + epsilon.
struct Belief;

impl Second for Belief {
    #[inline(always)]
    fn scale<T: Scalar>(v: &mut T, g: T, m: T, now: &Now<T>) -> T {
        let d = g - m;
        *v = now.b2 * *v + now.c2 * d * d + now.epsilon;
        (*v * now.correct).sqrt()
    }
}
