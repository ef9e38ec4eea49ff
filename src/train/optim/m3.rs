//! M3 (nested learning, arXiv 2512.24695): momenta at two time scales, orthogonalized, over Adam's scale.
//!
//! With S the sum of the gradients of the last f steps and NS cubic Newton-Schulz steps,
//!
//! ```text
//! M1 += b1 g,   V += b2 g^2,   every f steps M2 += b3 S and O2 = NS(M2),   p <- p - a (NS(M1) + alpha O2) / (sqrt V + epsilon)
//! ```
//!
//! As printed the moments only accumulate, and steps shrink without end. With `decaying` moments, the default, they are averages:
//!
//! ```text
//! M1 <- b1 M1 + (1 - b1) g,   V <- b2 V + (1 - b2) g^2, divided by 1 - b2^t,   M2 <- b3 M2 + (1 - b3) S / f
//! ```
//!
//! Vectors are matrices of one column: NS gives their direction.

use serde::{Deserialize, Serialize};

use super::orthogonal::{CUBIC, NewtonSchulz};
use super::shapes::Block;
use super::{Optimizer, OptimizerKind, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// How moments go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accumulation {
    /// Exponential averages.
    #[default]
    Decaying,
    /// Sums, as published.
    Printed,
}

/// `kind = "m3"`: momenta at two time scales.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct M3Config {
    /// b1, of the fast momentum, in \[0, 1); default 0.9.
    pub beta1: f64,
    /// b2, of the squares, in \[0, 1); default 0.999.
    pub beta2: f64,
    /// b3, of the slow momentum, in \[0, 1); default 0.9.
    pub beta3: f64,
    /// Weight of the slow momentum; default 1.
    pub alpha: f64,
    /// Added to the scale; default 1e-8.
    pub epsilon: f64,
    /// Newton-Schulz steps; default 3.
    pub steps: u64,
    /// f, steps between changes of the slow momentum; default 100.
    pub every: u64,
    /// "decaying", the default, or "printed".
    pub moments: Accumulation,
}

impl Default for M3Config {
    fn default() -> Self {
        let (beta1, beta2, beta3, alpha, epsilon) = (0.9, 0.999, 0.9, 1.0, 1e-8);
        Self { beta1, beta2, beta3, alpha, epsilon, steps: 3, every: 100, moments: Accumulation::Decaying }
    }
}

impl OptimizerKind for M3Config {
    fn problem(&self) -> Option<String> {
        check::below_one("beta1", self.beta1)
            .or_else(|| check::below_one("beta2", self.beta2))
            .or_else(|| check::below_one("beta3", self.beta3))
            .or_else(|| check::at_least_zero("alpha", self.alpha))
            .or_else(|| check::positive("epsilon", self.epsilon))
            .or_else(|| check::at_least_one("steps", self.steps))
            .or_else(|| check::at_least_one("every", self.every))
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        let zeros = || vec![T::ZERO; count_of(entries)];
        Box::new(M3 {
            config: self.clone(),
            blocks: Block::all(entries),
            fast: zeros(),
            squares: zeros(),
            sum: zeros(),
            slow: zeros(),
            direction: zeros(),
            newton_schulz: Default::default(),
            count: 0,
        })
    }
}

struct M3<T> {
    config: M3Config,
    blocks: Vec<Block>,
    fast: Vec<T>,
    squares: Vec<T>,
    /// S so far.
    sum: Vec<T>,
    slow: Vec<T>,
    /// O2.
    direction: Vec<T>,
    newton_schulz: NewtonSchulz<T>,
    count: u64,
}

/// m <- old m + new g.
fn mix<T: Scalar>(old: f64, new: f64, m: &mut [T], g: impl Iterator<Item = T>) {
    let (old, new) = (T::of(old), T::of(new));
    m.iter_mut().zip(g).for_each(|(m, g)| *m = old * *m + new * g);
}

impl<T: Scalar> Optimizer<T> for M3<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let M3Config { beta1, beta2, beta3, alpha, epsilon, steps, every, moments } = self.config;
        let decaying = moments == Accumulation::Decaying;
        let weights = |beta: f64| if decaying { (beta, 1.0 - beta) } else { (1.0, beta) };
        let (b1, b2, b3) = (weights(beta1), weights(beta2), weights(beta3));
        mix(b1.0, b1.1, &mut self.fast, g.iter().copied());
        mix(b2.0, b2.1, &mut self.squares, g.iter().map(|g| *g * *g));
        mix(1.0, 1.0, &mut self.sum, g.iter().copied());
        let changes = self.count.is_multiple_of(every);
        if changes {
            let share = if decaying { b3.1 / every as f64 } else { b3.1 };
            mix(b3.0, share, &mut self.slow, self.sum.iter().copied());
            self.sum.fill(T::ZERO);
        }
        let correct = if decaying { 1.0 / (1.0 - beta2.powf(self.count as f64)) } else { 1.0 };
        let (a, alpha, epsilon, correct) = (T::of(rate), T::of(alpha), T::of(epsilon), T::of(correct));
        for Block { range, rows, cols } in &self.blocks {
            let (size, direction) = ((*rows, *cols), &mut self.direction[range.clone()]);
            if changes {
                direction.copy_from_slice(self.newton_schulz.run(
                    steps,
                    CUBIC,
                    size,
                    &self.slow[range.clone()],
                ));
            }
            let fast = self.newton_schulz.run(steps, CUBIC, size, &self.fast[range.clone()]);
            let moves = fast.iter().zip(direction).map(|(fast, slow)| *fast + alpha * *slow);
            for ((p, u), v) in p[range.clone()].iter_mut().zip(moves).zip(&self.squares[range.clone()]) {
                *p += -(a * u / ((*v * correct).sqrt() + epsilon));
            }
        }
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![
            ("fast_momentum", &mut self.fast),
            ("second_moment", &mut self.squares),
            ("sum", &mut self.sum),
            ("slow_momentum", &mut self.slow),
            ("slow_direction", &mut self.direction),
        ]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::matrix_and_vector;
    use super::*;

    /// Three cubic steps on the singular value s of a diagonal matrix with these values.
    fn value(s: f64, all: &[f64]) -> f64 {
        let norm = all.iter().map(|v| v * v).sum::<f64>().sqrt();
        (0..3).fold(s / norm, |s, _| 1.5 * s - 0.5 * s.powi(3))
    }

    /// Two steps with f = 2, diagonal gradients of a 2 x 2 matrix, both ways.
    #[test]
    fn two_steps_by_hand() {
        let (g1, g2) = ([0.6, 1.1], [0.9, -0.3]);
        for moments in [Accumulation::Printed, Accumulation::Decaying] {
            let mut o = M3Config { every: 2, moments, alpha: 0.5, ..Default::default() }
                .build::<f64>(&matrix_and_vector(2, 2, 0));
            let mut p = [0.0; 4];
            o.step(0.1, &mut p, &[g1[0], 0.0, 0.0, g1[1]]);
            o.step(0.1, &mut p, &[g2[0], 0.0, 0.0, g2[1]]);
            let decays = moments == Accumulation::Decaying;
            let mean = |beta: f64, k: usize| {
                if decays {
                    beta * (1.0 - beta) * g1[k] + (1.0 - beta) * g2[k]
                } else {
                    beta * (g1[k] + g2[k])
                }
            };
            let fast = [mean(0.9, 0), mean(0.9, 1)];
            let slow = [g1[0] + g2[0], g1[1] + g2[1]];
            for (at, k) in [(0, 0), (3, 1)] {
                let first = if decays { g1[k].abs() } else { (0.999 * g1[k] * g1[k]).sqrt() };
                let square = if decays {
                    (0.999 * 0.001 * g1[k] * g1[k] + 0.001 * g2[k] * g2[k]) / (1.0 - 0.999 * 0.999)
                } else {
                    0.999 * (g1[k] * g1[k] + g2[k] * g2[k])
                };
                let one = value(g1[k], &g1) / (first + 1e-8);
                let two = (value(fast[k], &fast) + 0.5 * value(slow[k], &slow)) / (square.sqrt() + 1e-8);
                assert!(
                    (p[at] + 0.1 * (one + two)).abs() < 1e-12,
                    "{moments:?}: {} {}",
                    p[at],
                    -0.1 * (one + two)
                );
            }
            assert_eq!((p[1], p[2]), (0.0, 0.0));
        }
    }
}
