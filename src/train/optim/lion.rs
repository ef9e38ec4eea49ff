//! Lion ("Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675): one state, steps of one size in every number.
//!
//! ```text
//! u = sign(beta1 m + (1 - beta1) g),   p <- p - a (u + decay p),   m <- beta2 m + (1 - beta2) g,   sign(0) = 0
//! ```
//!
//! u sees the old m. Rates are 3 to 10 times smaller and decays as much larger than AdamW's.

use serde::{Deserialize, Serialize};

use super::{Optimizer, OptimizerKind, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;
use crate::simd::any_length;

/// `kind = "lion"`: p <- p - a (sign(beta1 m + (1 - beta1) g) + decay p), m <- beta2 m + (1 - beta2) g.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LionConfig {
    /// In \[0, 1); default 0.9.
    pub beta1: f64,
    /// In \[0, 1); default 0.99.
    pub beta2: f64,
    /// Weight decay; default 0.
    pub decay: f64,
}

impl Default for LionConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, decay: 0.0 }
    }
}

impl OptimizerKind for LionConfig {
    fn problem(&self) -> Option<String> {
        check::below_one("beta1", self.beta1)
            .or_else(|| check::below_one("beta2", self.beta2))
            .or_else(|| check::at_least_zero("decay", self.decay))
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Lion { config: self.clone(), m: vec![T::ZERO; count_of(entries)], count: 0 })
    }
}

struct Lion<T> {
    config: LionConfig,
    m: Vec<T>,
    count: u64,
}

/// -1, 0 or 1; NaN stays NaN.
#[inline(always)]
fn sign<T: Scalar>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        x
    }
}

impl<T: Scalar> Optimizer<T> for Lion<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let LionConfig { beta1, beta2, decay } = self.config;
        let (b1, c1, b2, c2) = (T::of(beta1), T::of(1.0 - beta1), T::of(beta2), T::of(1.0 - beta2));
        let (a, decay) = (T::of(rate), T::of(decay));
        let m = &mut self.m;
        any_length(|| {
            for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
                let u = sign(b1 * *m + c1 * g);
                *p += -(a * (u + decay * *p));
                *m = b2 * *m + c2 * g;
            }
        });
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![("momentum", &mut self.m)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::vector;
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let mut o = LionConfig { decay: 0.1, ..Default::default() }.build::<f64>(&vector(3));
        let mut p = [1.0, -2.0, 0.5];
        o.step(0.01, &mut p, &[0.5, -1.0, 0.0]);
        let first = [1.0 - 0.01 * (1.0 + 0.1), -2.0 + 0.01 * (1.0 + 0.2), 0.5 - 0.01 * 0.05];
        // m = (0.005, -0.01, 0): the second u is the sign of 0.0045 - 0.002, -0.009 + 0.03, 0.1.
        o.step(0.01, &mut p, &[-0.02, 0.3, 1.0]);
        for (i, u) in [1.0, 1.0, 1.0].into_iter().enumerate() {
            let want = first[i] - 0.01 * (u + 0.1 * first[i]);
            assert!((p[i] - want).abs() < 1e-15, "{i}: {} {want}", p[i]);
        }
        let m = o.state()[0].1.clone();
        for (m, want) in m.iter().zip([0.99 * 0.005 - 0.0002, -0.0099 + 0.003, 0.01]) {
            assert!((m - want).abs() < 1e-16);
        }
    }

    /// Gradients times a positive number leave the path as it is.
    #[test]
    fn scale_invariance() {
        let path = |c: f64| {
            let mut o = LionConfig::default().build::<f64>(&vector(2));
            let mut p = [1.0, 2.0];
            for n in 0..40 {
                let g = [c * (p[0] - 0.3 * n as f64), c * (0.7 * p[1] + p[0]).sin()];
                o.step(0.05, &mut p, &g);
            }
            p
        };
        assert_eq!(path(1.0), path(1024.0));
        assert_eq!(path(1.0), path(1.0 / 4096.0));
    }
}
