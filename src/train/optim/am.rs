//! Adaptive memory momentum (AM, arXiv 2510.04988): momentum whose coefficient sets itself.
//!
//! d is the memory, an average of gradients. With s = x - p, a step minimizes the larger of two planes, the gradient's and the memory's, near p and near where
//! the memory leads:
//!
//! ```text
//! max(f + g's, fm + d's) + |s|^2 / (2a) + lambda |s + a d|^2 / (2a)
//! ```
//!
//! beta, the dual weight of the memory's plane, is where the slope of the dual is zero, cut to \[0, beta_max\]; with the gap fm - f replaced by a g'd, its
//! stochastic form:
//!
//! ```text
//! beta = [(1 + lambda) g'd - (d - g)'(g + lambda d)] / |d - g|^2,   0 if d = g
//! d <- [(beta + lambda) d + (1 - beta) g] / (1 + lambda),   p <- p - a d
//! ```
//!
//! The first step has d = g.

use serde::{Deserialize, Serialize};

use super::sums::sums;
use super::{Facts, Optimizer, OptimizerKind, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;
use crate::simd::any_length;

/// `kind = "am"`: gradient descent whose momentum sets itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmConfig {
    /// Pull towards the old direction; default 0.1.
    pub lambda: f64,
    /// Largest momentum, in \[0, 1); default 0.9.
    pub beta_max: f64,
    /// A momentum for each array of parameters, or one for all; default false.
    pub per_array: bool,
}

impl Default for AmConfig {
    fn default() -> Self {
        Self { lambda: 0.1, beta_max: 0.9, per_array: false }
    }
}

impl OptimizerKind for AmConfig {
    fn problem(&self) -> Option<String> {
        check::at_least_zero("lambda", self.lambda).or_else(|| check::below_one("beta_max", self.beta_max))
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        let n = count_of(entries);
        let ends = if self.per_array { entries.iter().map(|e| e.range.end).collect() } else { vec![n] };
        Box::new(Am { config: self.clone(), ends, d: vec![T::ZERO; n], beta: 0.0, count: 0 })
    }
}

struct Am<T> {
    config: AmConfig,
    /// Ends of the parts that have a momentum of their own.
    ends: Vec<usize>,
    d: Vec<T>,
    /// Mean over the parts.
    beta: f64,
    count: u64,
}

/// The momentum of one part.
fn momentum<T: Scalar>(config: &AmConfig, g: &[T], d: &[T]) -> f64 {
    let lambda = config.lambda;
    let by = T::of(lambda);
    let [gd, pull, distance] = sums([g, d], |[g, d]| [g * d, (d - g) * (g + by * d), (d - g) * (d - g)]);
    if distance == 0.0 {
        return 0.0;
    }
    (((1.0 + lambda) * gd - pull) / distance).clamp(0.0, config.beta_max)
}

impl<T: Scalar> Optimizer<T> for Am<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        if self.count == 0 {
            self.d.copy_from_slice(g);
        }
        self.count += 1;
        let (a, lambda) = (T::of(rate), self.config.lambda);
        let (mut start, mut sum) = (0, 0.0);
        for &end in &self.ends {
            let (p, g, d) = (&mut p[start..end], &g[start..end], &mut self.d[start..end]);
            start = end;
            let beta = momentum(&self.config, g, d);
            sum += beta;
            let (old, new) = (T::of((beta + lambda) / (1.0 + lambda)), T::of((1.0 - beta) / (1.0 + lambda)));
            any_length(|| {
                for ((p, g), d) in p.iter_mut().zip(g).zip(d) {
                    *d = old * *d + new * *g;
                    *p += -(a * *d);
                }
            });
        }
        self.beta = sum / self.ends.len().max(1) as f64;
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![("memory", &mut self.d)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
    /// `beta`: the momentum, its mean over the arrays.
    fn facts(&self, facts: &mut Facts) {
        facts.add("beta", self.beta);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::vector;
    use super::*;

    const G: [f64; 4] = [0.3, -1.0, 0.2, 0.7];
    const D: [f64; 4] = [0.5, -0.4, -0.3, 0.9];
    /// A memory against the gradient: the momentum is between its bounds.
    const AGAINST: [f64; 4] = [-1.0, 0.8, 0.6, -1.8];

    fn config(lambda: f64) -> AmConfig {
        AmConfig { lambda, ..Default::default() }
    }

    /// The dual of the step's problem by its definition: the value, at its minimum over s, of (1 - beta) (f + g's) + beta (fm + d's) + the two squares, f = 0, fm = a g'd.
    fn dual(beta: f64, a: f64, lambda: f64, d: &[f64; 4]) -> f64 {
        let gap = a * G.iter().zip(d).map(|(g, d)| g * d).sum::<f64>();
        let of = |i: usize| {
            let s = -a * ((1.0 - beta) * G[i] + (beta + lambda) * d[i]) / (1.0 + lambda);
            s * ((1.0 - beta) * G[i] + beta * d[i]) + (s * s + lambda * (s + a * d[i]).powi(2)) / (2.0 * a)
        };
        beta * gap + (0..4).map(of).sum::<f64>()
    }

    #[test]
    fn the_momentum_solves_the_problem_of_two_planes() {
        let mut inside = 0;
        for d in [D, AGAINST] {
            for (a, lambda) in [(0.3, 0.1), (0.02, 0.05), (1.0, 0.0), (0.5, 2.0)] {
                let c = AmConfig { lambda, beta_max: 0.999, per_array: false };
                let beta = momentum(&c, &G, &d);
                // Golden section for the maximum of the concave dual.
                let (mut low, mut high) = (0.0, 0.999);
                let golden = (5f64.sqrt() - 1.0) / 2.0;
                for _ in 0..80 {
                    let (x, y) = (high - golden * (high - low), low + golden * (high - low));
                    if dual(x, a, lambda, &d) > dual(y, a, lambda, &d) {
                        high = y;
                    } else {
                        low = x;
                    }
                }
                assert!((beta - 0.5 * (low + high)).abs() < 1e-6, "{a} {lambda}: {beta} {low}");
                // Sharper than comparing values can be: the slope of the dual, a quadratic, is zero there, or points out of the interval.
                let h = 1e-2;
                let slope = (dual(beta + h, a, lambda, &d) - dual(beta - h, a, lambda, &d)) / (2.0 * h);
                if beta > 0.0 && beta < 0.999 {
                    inside += 1;
                    assert!(slope.abs() < 1e-12, "{slope}");
                } else {
                    assert!(slope * (beta - 0.5) > 0.0, "{slope} {beta}");
                }
            }
        }
        assert!(inside >= 2, "{inside}");
    }

    #[test]
    fn special_cases() {
        // d = g: no 0 / 0.
        assert_eq!(momentum(&config(0.1), &G, &G), 0.0);
        assert_eq!(momentum(&config(0.1), &[0.0f32; 3], &[0.0; 3]), 0.0);
        // A power of two as the scale of gradients changes no bit; another one only rounding.
        let beta = |c: f64| momentum(&config(0.1), &G.map(|v| c * v), &AGAINST.map(|v| c * v));
        assert!(beta(1.0) > 0.0 && beta(1.0) < 0.9, "{}", beta(1.0));
        assert_eq!(beta(1.0), beta(0.125));
        assert!((beta(1.0) - beta(3e5)).abs() < 1e-14);
    }

    /// Two steps by the formulas; without the pull and at the cap the memory is an exponential average.
    #[test]
    fn two_steps_by_hand() {
        let c = config(0.1);
        let mut o = c.build::<f64>(&vector(4));
        let mut p = [0.0; 4];
        o.step(0.5, &mut p, &D);
        (0..4).for_each(|i| assert!((p[i] + 0.5 * D[i]).abs() < 1e-15));
        let beta = momentum(&c, &G, &D);
        let before = p;
        o.step(0.5, &mut p, &G);
        for i in 0..4 {
            let d = ((beta + 0.1) * D[i] + (1.0 - beta) * G[i]) / 1.1;
            assert!((p[i] - (before[i] - 0.5 * d)).abs() < 1e-15);
        }
        let mut facts = Facts::default();
        o.facts(&mut facts);
        assert_eq!(facts.get("beta"), Some(beta));
        // Parallel gradients that grow are at the cap: d <- beta d + (1 - beta) g.
        let mut o = AmConfig { lambda: 0.0, beta_max: 0.3, per_array: false }.build::<f64>(&vector(1));
        let mut p = [0.0];
        o.step(1.0, &mut p, &[1.0]);
        o.step(1.0, &mut p, &[1.5]);
        assert!((p[0] + 1.0 + 0.3 + 0.7 * 1.5).abs() < 1e-15, "{}", p[0]);
    }

    #[test]
    fn a_momentum_an_array() {
        let spec = crate::diff::Spec::none().with("a", &[2], crate::nn::Init::Zeros);
        let spec = spec.with("b", &[2], crate::nn::Init::Zeros);
        let each = AmConfig { per_array: true, ..Default::default() };
        let mut both = each.build::<f64>(spec.entries());
        let mut alone = [0, 2].map(|_| AmConfig::default().build::<f64>(&vector(2)));
        let (mut p, mut q) = ([0.0; 4], [[0.0; 2]; 2]);
        for g in [D, G, D] {
            both.step(0.1, &mut p, &g);
            (0..2).for_each(|i| alone[i].step(0.1, &mut q[i], &g[2 * i..][..2]));
        }
        assert_eq!(p, [q[0][0], q[0][1], q[1][0], q[1][1]]);
    }
}
