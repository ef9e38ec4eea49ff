//! v <- momentum v - a g, p <- p + v.

use serde::{Deserialize, Serialize};

use super::{Optimizer, OptimizerKind, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;
use crate::simd::any_length;

/// `kind = "sgd"`: gradient descent with momentum, v <- momentum v - a g, p <- p + v.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SgdConfig {
    /// In \[0, 1); default 0.9.
    pub momentum: f64,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self { momentum: 0.9 }
    }
}

impl OptimizerKind for SgdConfig {
    fn problem(&self) -> Option<String> {
        check::below_one("momentum", self.momentum)
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Sgd { momentum: self.momentum, v: vec![T::ZERO; count_of(entries)], count: 0 })
    }
}

struct Sgd<T> {
    momentum: f64,
    v: Vec<T>,
    count: u64,
}

impl<T: Scalar> Optimizer<T> for Sgd<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let (rho, a) = (T::of(self.momentum), T::of(rate));
        let v = &mut self.v;
        any_length(|| {
            for ((p, g), v) in p.iter_mut().zip(g).zip(v) {
                *v = rho * *v - a * *g;
                *p += *v;
            }
        });
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![("momentum", &mut self.v)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}
