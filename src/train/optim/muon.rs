//! Muon (Jordan et al. 2024): momentum, orthogonalized.
//!
//! For a matrix W, o x i,
//!
//! ```text
//! m <- momentum m + G,   M = G + momentum m (Nesterov) or m,   W <- (1 - a decay) W - a sqrt(max(1, o/i)) NS(M)
//! ```
//!
//! where NS are five quintic Newton-Schulz steps from M / |M|_F: singular values come near one. Vectors and scalars are Adam's.

use serde::{Deserialize, Serialize};

use super::moments::Constants;
use super::orthogonal::{NewtonSchulz, QUINTIC};
use super::shapes::{Block, Vectors};
use super::{Optimizer, OptimizerKind, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;

/// `kind = "muon"`: orthogonalized momentum for matrices, Adam for the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonConfig {
    /// In \[0, 1); default 0.95.
    pub momentum: f64,
    /// Look ahead by the gradient; default true.
    pub nesterov: bool,
    /// Newton-Schulz steps; default 5.
    pub steps: u64,
    /// Weight decay; default 0.
    pub decay: f64,
    /// Adam's beta1; default 0.9.
    pub beta1: f64,
    /// Adam's beta2; default 0.999.
    pub beta2: f64,
    /// Adam's epsilon; default 1e-8.
    pub epsilon: f64,
}

impl Default for MuonConfig {
    fn default() -> Self {
        let (momentum, nesterov, steps, decay) = (0.95, true, 5, 0.0);
        Self { momentum, nesterov, steps, decay, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl MuonConfig {
    fn adam(&self) -> Constants {
        let &Self { beta1, beta2, epsilon, decay, .. } = self;
        Constants { beta1, beta2, epsilon, decay }
    }
}

impl OptimizerKind for MuonConfig {
    fn problem(&self) -> Option<String> {
        check::below_one("momentum", self.momentum)
            .or_else(|| check::at_least_one("steps", self.steps))
            .or_else(|| self.adam().problem())
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        let mut blocks = Block::all(entries);
        let vectors = Vectors::new(self.adam(), &blocks);
        blocks.retain(Block::is_matrix);
        let m = vec![T::ZERO; count_of(entries)];
        Box::new(Muon {
            config: self.clone(),
            blocks,
            m,
            vectors,
            newton_schulz: Default::default(),
            room: vec![],
            count: 0,
        })
    }
}

struct Muon<T> {
    config: MuonConfig,
    /// The matrices.
    blocks: Vec<Block>,
    m: Vec<T>,
    vectors: Vectors<T>,
    newton_schulz: NewtonSchulz<T>,
    room: Vec<T>,
    count: u64,
}

/// The length of a step of an o x i matrix as a share of the rate.
pub(super) fn stretch(rows: usize, cols: usize) -> f64 {
    (rows as f64 / cols as f64).max(1.0).sqrt()
}

impl<T: Scalar> Optimizer<T> for Muon<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        self.vectors.step(rate, self.count, p, g);
        let (rho, shrink) = (T::of(self.config.momentum), T::of(1.0 - rate * self.config.decay));
        for Block { range, rows, cols } in &self.blocks {
            let (p, g, m) = (&mut p[range.clone()], &g[range.clone()], &mut self.m[range.clone()]);
            m.iter_mut().zip(g).for_each(|(m, g)| *m = rho * *m + *g);
            self.room.clear();
            if self.config.nesterov {
                self.room.extend(m.iter().zip(g).map(|(m, g)| *g + rho * *m));
            } else {
                self.room.extend_from_slice(m);
            }
            let x = self.newton_schulz.run(self.config.steps, QUINTIC, (*rows, *cols), &self.room);
            let a = T::of(rate * stretch(*rows, *cols));
            p.iter_mut().zip(x).for_each(|(p, x)| *p = shrink * *p - a * *x);
        }
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        let Vectors { m, v, .. } = &mut self.vectors;
        vec![("momentum", &mut self.m), ("first_moment", m), ("second_moment", v)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

#[cfg(test)]
mod tests {
    use super::super::AdamConfig;
    use super::super::tests::{matrix_and_vector, vector};
    use super::*;

    /// The quintic polynomial after five steps on the singular value s / |s| of a diagonal matrix.
    fn value(s: f64, all: &[f64]) -> f64 {
        let norm = all.iter().map(|v| v * v).sum::<f64>().sqrt();
        (0..5).fold(s / norm, |s, _| 3.4445 * s - 4.775 * s.powi(3) + 2.0315 * s.powi(5))
    }

    #[test]
    fn two_steps_by_hand() {
        let entries = matrix_and_vector(3, 2, 2);
        let mut o = MuonConfig::default().build::<f64>(&entries);
        let mut adam = AdamConfig::default().build::<f64>(&vector(2));
        let mut p = [1.0; 8];
        let mut rest = [1.0; 2];
        // Diagonal in 3 x 2, column by column.
        for g in [[2.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.1, 0.2], [1.0, 0.0, 0.0, 0.0, -0.4, 0.0, 0.3, -0.5]] {
            o.step(0.1, &mut p, &g);
            adam.step(0.1, &mut rest, &g[6..]);
        }
        let m1 = [2.0, 0.5];
        let first = [2.0 * 1.95, 0.5 * 1.95];
        let m2 = [0.95 * m1[0] + 1.0, 0.95 * m1[1] - 0.4];
        let second = [1.0 + 0.95 * m2[0], -0.4 + 0.95 * m2[1]];
        for (at, k) in [(0, 0), (4, 1)] {
            let want = 1.0 - 0.1 * 1.5f64.sqrt() * (value(first[k], &first) + value(second[k], &second));
            assert!((p[at] - want).abs() < 1e-13, "{} {want}", p[at]);
        }
        assert_eq!([p[1], p[2], p[3], p[5]], [1.0; 4]);
        assert_eq!(p[6..], rest);
    }

    /// Gradients of matrices times a positive number leave their path as it is, but for rounding.
    #[test]
    fn scale_invariance() {
        let path = |c: f64| {
            let mut o = MuonConfig::default().build::<f64>(&matrix_and_vector(3, 3, 0));
            let mut p = [0.1; 9];
            for t in 0..10 {
                let g: Vec<f64> = (0..9).map(|i| c * ((i * i + t) as f64 + p[i]).sin()).collect();
                o.step(0.02, &mut p, &g);
            }
            p
        };
        let (a, b) = (path(1.0), path(1e3));
        assert!((0..9).all(|i| (a[i] - b[i]).abs() < 1e-9));
    }
}
