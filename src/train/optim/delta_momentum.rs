//! Delta momentum (nested learning, arXiv 2512.24695): a momentum that forgets along the gradient at hand.
//!
//! ```text
//! h = g / max(1, |g|),   m <- momentum m - h (h'm) - a g,   p <- p + m
//! ```
//!
//! The published forgetting term is g g' m, which explodes for |g| > 1; with h it removes at most what m holds in the direction of g.

use serde::{Deserialize, Serialize};

use super::{Facts, Optimizer, OptimizerKind, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// `kind = "delta_momentum"`: m <- (momentum I - h h') m - a g, p <- p + m, h the gradient of length at most one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeltaMomentumConfig {
    /// In \[0, 1); default 0.9.
    pub momentum: f64,
}

impl Default for DeltaMomentumConfig {
    fn default() -> Self {
        Self { momentum: 0.9 }
    }
}

impl OptimizerKind for DeltaMomentumConfig {
    fn problem(&self) -> Option<String> {
        check::below_one("momentum", self.momentum)
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        let m = vec![T::ZERO; count_of(entries)];
        Box::new(DeltaMomentum { momentum: self.momentum, m, forgotten: 0.0, count: 0 })
    }
}

struct DeltaMomentum<T> {
    momentum: f64,
    m: Vec<T>,
    /// h'm of the last step.
    forgotten: f64,
    count: u64,
}

impl<T: Scalar> Optimizer<T> for DeltaMomentum<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let (mut square, mut inner) = (0.0, 0.0);
        for (g, m) in g.iter().zip(&self.m) {
            square += g.f64() * g.f64();
            inner += g.f64() * m.f64();
        }
        let scale = 1.0 / square.sqrt().max(1.0);
        self.forgotten = inner * scale;
        // -h (h'm) - a g.
        let (rho, c) = (T::of(self.momentum), T::of(scale * self.forgotten + rate));
        for ((p, g), m) in p.iter_mut().zip(g).zip(&mut self.m) {
            *m = rho * *m - c * *g;
            *p += *m;
        }
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![("momentum", &mut self.m)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
    /// `forgotten`: what was taken from the momentum, in the direction of the gradient.
    fn facts(&self, facts: &mut Facts) {
        facts.add("forgotten", self.forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::vector;
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let mut o = DeltaMomentumConfig::default().build::<f64>(&vector(2));
        let mut p = [1.0, 1.0];
        o.step(0.1, &mut p, &[3.0, 4.0]);
        let m = [-0.3, -0.4];
        assert!((p[0] - 0.7).abs() < 1e-15 && (p[1] - 0.6).abs() < 1e-15);
        // |g| = 1/2 is below one: h = g = (0.3, 0.4), h'm = -0.25.
        o.step(0.1, &mut p, &[0.3, 0.4]);
        let second = [0.9 * m[0] + 0.3 * 0.25 - 0.03, 0.9 * m[1] + 0.4 * 0.25 - 0.04];
        assert!((p[0] - 0.7 - second[0]).abs() < 1e-15 && (p[1] - 0.6 - second[1]).abs() < 1e-15);
        // h of length one: the component along it goes from 0.9 c to 0.9 c - c.
        let before = o.state()[0].1.clone();
        let mut p = [0.0, 0.0];
        o.step(0.0, &mut p, &[600.0, 800.0]);
        let along = |m: &[f64]| 0.6 * m[0] + 0.8 * m[1];
        assert!((along(&p) + 0.1 * along(&before)).abs() < 1e-15);
    }

    /// m = (momentum I - h h') m - a g by the dense matrix.
    #[test]
    fn the_matrix_by_its_definition() {
        let mut o = DeltaMomentumConfig { momentum: 0.7 }.build::<f64>(&vector(3));
        let (mut p, mut q, mut m) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        for g in [[0.4, -0.1, 0.2], [1.5, 0.3, -2.0], [-0.2, 0.1, 0.9]] {
            o.step(0.3, &mut p, &g);
            let norm = g.iter().map(|v| v * v).sum::<f64>().sqrt().max(1.0);
            let old = m;
            for i in 0..3 {
                let row =
                    (0..3).map(|j| ((i == j) as u8 as f64 * 0.7 - g[i] * g[j] / (norm * norm)) * old[j]);
                m[i] = row.sum::<f64>() - 0.3 * g[i];
                q[i] += m[i];
            }
            assert!((0..3).all(|i| (p[i] - q[i]).abs() < 1e-14), "{p:?} {q:?}");
        }
    }
}
