//! Shampoo (Gupta, Koren and Singer 2018): a preconditioner for each side of a matrix.
//!
//! For a matrix W, G its gradient, with bias-corrected averages
//!
//! ```text
//! L <- b2 L + (1 - b2) G G',   R <- b2 R + (1 - b2) G'G,   U = (L^ + epsilon I)^-1/4 G (R^ + epsilon I)^-1/4,   L^ = L / (1 - b2^t)
//! v <- momentum v - a U,   p <- p + v
//! ```
//!
//! Vectors have one side with the power -1/2. The roots are made in each of the first steps, and then again every few steps, by eigen-decompositions in f64: after a
//! single gradient the averages have rank one, and an old root would blow up the next gradient outside of it by epsilon^-1/2. Sides longer than `largest` are left out (identity):
//! with none left this is gradient descent with momentum.

use serde::{Deserialize, Serialize};

use super::shapes::Block;
use super::{Optimizer, OptimizerKind, check, count_of};
use crate::linalg::{Dense, Scalar, SymmetricEigen};
use crate::nn::Entry;

/// `kind = "shampoo"`: U = L^-1/4 G R^-1/4 for matrices, with momentum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShampooConfig {
    /// In \[0, 1); default 0.9.
    pub momentum: f64,
    /// Decay of the averages of G G' and G'G, in \[0, 1); default 0.99.
    pub beta2: f64,
    /// Added to their diagonals; default 1e-6.
    pub epsilon: f64,
    /// Steps between new roots, after as many first steps that each have their own; default 10.
    pub every: u64,
    /// Longest side that is preconditioned; default 1024.
    pub largest: usize,
}

impl Default for ShampooConfig {
    fn default() -> Self {
        Self { momentum: 0.9, beta2: 0.99, epsilon: 1e-6, every: 10, largest: 1024 }
    }
}

impl OptimizerKind for ShampooConfig {
    fn problem(&self) -> Option<String> {
        check::below_one("momentum", self.momentum)
            .or_else(|| check::below_one("beta2", self.beta2))
            .or_else(|| check::positive("epsilon", self.epsilon))
            .or_else(|| check::at_least_one("every", self.every))
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        let blocks = Block::all(entries);
        let mut numbers = 0;
        let mut side = |n: usize| {
            let kept = (1..=self.largest).contains(&n).then_some(numbers);
            numbers += kept.map_or(0, |_| n * n);
            Side { n, at: kept }
        };
        let sides: Vec<[Side; 2]> = blocks
            .iter()
            .map(|b| {
                if b.is_matrix() {
                    [side(b.rows), side(b.cols)]
                } else {
                    [side(b.range.len()), Side { n: 1, at: None }]
                }
            })
            .collect();
        let n = count_of(entries);
        Box::new(Shampoo {
            config: self.clone(),
            blocks,
            sides,
            v: vec![T::ZERO; n],
            averages: vec![T::ZERO; numbers],
            roots: vec![T::ZERO; numbers],
            u: vec![T::ZERO; n],
            room: vec![],
            wide: vec![],
            eigen: vec![],
            count: 0,
        })
    }
}

/// One side of an array.
#[derive(Clone, Copy)]
struct Side {
    n: usize,
    /// Where its matrices are among all; none for the identity.
    at: Option<usize>,
}

struct Shampoo<T> {
    config: ShampooConfig,
    blocks: Vec<Block>,
    sides: Vec<[Side; 2]>,
    v: Vec<T>,
    /// L and R of all arrays, without the correction.
    averages: Vec<T>,
    /// Their roots, as last made.
    roots: Vec<T>,
    u: Vec<T>,
    room: Vec<T>,
    wide: Vec<f64>,
    /// One for each size.
    eigen: Vec<SymmetricEigen>,
    count: u64,
}

impl<T: Scalar> Shampoo<T> {
    /// (average / (1 - b2^t) + epsilon I)^power of one side. What cannot be decomposed keeps the old root.
    fn renew(&mut self, Side { n, at }: Side, power: f64) {
        let Some(at) = at else { return };
        let ShampooConfig { beta2, epsilon, .. } = self.config;
        let correct = 1.0 / (1.0 - beta2.powf(self.count as f64));
        let i = match self.eigen.iter().position(|e| e.n() == n) {
            Some(i) => i,
            None => {
                self.eigen.push(SymmetricEigen::new(n));
                self.eigen.len() - 1
            }
        };
        let eigen = &mut self.eigen[i];
        self.wide.clear();
        self.wide.extend(self.averages[at..at + n * n].iter().map(|v| v.f64() * correct));
        if !eigen.compute(&self.wide) {
            return;
        }
        // Rounding may leave small negative values.
        eigen.function(|l| (l.max(0.0) + epsilon).powf(power), &mut self.wide);
        self.roots[at..at + n * n].iter_mut().zip(&self.wide).for_each(|(to, from)| *to = T::of(*from));
    }
}

/// A <- b2 A + (1 - b2) M M', n rows.
fn average<T: Scalar>(beta2: f64, m: Dense<'_, T>, a: &mut [T]) {
    let b2 = T::of(beta2);
    a.iter_mut().for_each(|v| *v *= b2);
    T::gemm(T::of(1.0 - beta2), m, m.t(), true, a, 1);
}

impl<T: Scalar> Optimizer<T> for Shampoo<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let every = self.config.every;
        let renews = self.count <= every || (self.count - 1).is_multiple_of(every);
        self.u.copy_from_slice(g);
        for i in 0..self.blocks.len() {
            let Block { range, .. } = self.blocks[i].clone();
            let [left, right] = self.sides[i];
            let g = Dense::new(&g[range.clone()], left.n, right.n);
            for (side, m) in [(left, g), (right, g.t())] {
                if let Some(at) = side.at {
                    average(self.config.beta2, m, &mut self.averages[at..at + side.n * side.n]);
                }
            }
            if renews {
                let power = if self.blocks[i].is_matrix() { -0.25 } else { -0.5 };
                self.renew(left, power);
                self.renew(right, power);
            }
            let Self { roots, u, room, .. } = self;
            let u = &mut u[range.clone()];
            let root = |at: usize, n: usize| Dense::new(&roots[at..at + n * n], n, n);
            if let Some(at) = left.at {
                room.clear();
                room.extend_from_slice(u);
                T::gemm(T::ONE, root(at, left.n), Dense::new(room, left.n, right.n), false, u, 1);
            }
            if let Some(at) = right.at {
                room.clear();
                room.extend_from_slice(u);
                T::gemm(T::ONE, Dense::new(room, left.n, right.n), root(at, right.n), false, u, 1);
            }
        }
        let (rho, a) = (T::of(self.config.momentum), T::of(rate));
        for ((p, u), v) in p.iter_mut().zip(&self.u).zip(&mut self.v) {
            *v = rho * *v - a * *u;
            *p += *v;
        }
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        let Self { v, averages, roots, .. } = self;
        vec![("momentum", v), ("averages", averages), ("roots", roots)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

#[cfg(test)]
mod tests {
    use super::super::SgdConfig;
    use super::super::tests::{matrix_and_vector, vector};
    use super::*;

    #[test]
    fn without_sides_it_is_gradient_descent() {
        let entries = matrix_and_vector(3, 4, 2);
        let mut o = ShampooConfig { largest: 0, ..Default::default() }.build::<f64>(&entries);
        let mut sgd = SgdConfig::default().build::<f64>(&entries);
        let (mut p, mut q) = ([0.5; 14], [0.5; 14]);
        for t in 0..5 {
            let g: Vec<f64> = (0..14).map(|i| ((i * 7 + t) as f64).sin()).collect();
            o.step(0.1, &mut p, &g);
            sgd.step(0.1, &mut q, &g);
        }
        assert_eq!(p, q);
    }

    /// Two steps with new roots in each, by eigen-decompositions written out for diagonal cases: G = diag(2, 3), then diag(1, -1).
    #[test]
    fn two_steps_by_hand() {
        let config = ShampooConfig { every: 1, momentum: 0.5, beta2: 0.9, ..Default::default() };
        let mut o = config.build::<f64>(&matrix_and_vector(2, 2, 1));
        let mut p = [0.0; 5];
        o.step(0.1, &mut p, &[2.0, 0.0, 0.0, 3.0, 4.0]);
        // L = R = G^2, both roots (g^2 + epsilon)^-1/4; the vector (16 + epsilon)^-1/2 4.
        let first = |g: f64| -0.1 * g / (g * g + 1e-6).sqrt();
        for (i, g) in [(0, 2.0), (3, 3.0), (4, 4.0)] {
            assert!((p[i] - first(g)).abs() < 1e-14, "{i}: {}", p[i]);
        }
        assert_eq!((p[1], p[2]), (0.0, 0.0));
        o.step(0.1, &mut p, &[1.0, 0.0, 0.0, -1.0, 0.5]);
        for (i, g, h) in [(0, 2.0, 1.0), (3, 3.0, -1.0), (4, 4.0, 0.5)] {
            let l: f64 = (0.9 * 0.1 * g * g + 0.1 * h * h) / (1.0 - 0.81) + 1e-6;
            let v = 0.5 * first(g) - 0.1 * h / l.sqrt();
            assert!((p[i] - first(g) - v).abs() < 1e-13, "{i}: {}", p[i]);
        }
    }

    /// U of one step against the definition by eigen-decompositions of a full matrix: with no history (L = G G', R = G'G) and little epsilon it is the
    /// orthogonal factor of G.
    #[test]
    fn the_first_direction_is_the_orthogonal_factor() {
        let entries = matrix_and_vector(3, 3, 3);
        let config = ShampooConfig { epsilon: 1e-14, momentum: 0.0, ..Default::default() };
        let mut o = config.build::<f64>(&entries);
        let g: Vec<f64> = (0..12).map(|i| ((i * i) as f64).cos()).collect();
        let mut p = vec![0.0; 12];
        o.step(1.0, &mut p, &g);
        let mut svd = crate::linalg::Svd::new(3, 3);
        assert!(svd.compute(&g[..9]));
        for j in 0..3 {
            for i in 0..3 {
                let factor: f64 = (0..3).map(|k| svd.left(k)[i] * svd.right(k)[j]).sum();
                assert!((p[j * 3 + i] + factor).abs() < 1e-6, "{} {factor}", p[j * 3 + i]);
            }
        }
        let norm = g[9..].iter().map(|v| v * v).sum::<f64>().sqrt();
        (9..12).for_each(|i| assert!((p[i] + g[i] / norm).abs() < 1e-6));
    }

    /// Steps that the error W - W* of f = |A^1/2 (W - W*) B^1/2|^2 / 2, whose Hessian is the Kronecker product of B and A, takes to a hundredth. A = Q S Q', B = P S P'
    /// with S from 1 down to condition^-1/2; W* = Q C P'.
    fn steps(
        condition: f64,
        c: &dyn Fn(usize, usize) -> f64,
        rate: fn(u64) -> f64,
        o: &mut dyn Optimizer<f64>,
    ) -> u64 {
        const N: usize = 6;
        let mut bases = crate::linalg::Svd::new(N, N);
        let raw: Vec<f64> = (0..N * N).map(|k| ((k * k + 1) as f64).sin()).collect();
        assert!(bases.compute(&raw));
        let scale = |i: usize| condition.powf(-(i as f64) / (2 * (N - 1)) as f64);
        // From coordinates in the bases of Q and P to the matrix, and back.
        let out = |e: &[f64]| -> Vec<f64> {
            let entry = |i: usize, j: usize| -> f64 {
                (0..N * N).map(|k| bases.left(k % N)[i] * e[k] * bases.right(k / N)[j]).sum()
            };
            (0..N * N).map(|k| entry(k % N, k / N)).collect()
        };
        let within = |w: &[f64]| -> Vec<f64> {
            let entry = |a: usize, b: usize| -> f64 {
                (0..N * N).map(|k| bases.left(a)[k % N] * w[k] * bases.right(b)[k / N]).sum()
            };
            (0..N * N).map(|k| entry(k % N, k / N)).collect()
        };
        let mut w = vec![0.0; N * N];
        for t in 0..4000 {
            let error: Vec<f64> = within(&w).iter().enumerate().map(|(k, v)| v - c(k % N, k / N)).collect();
            if error.iter().all(|e| e.abs() < 1e-2) {
                return t;
            }
            let g: Vec<f64> =
                error.iter().enumerate().map(|(k, e)| scale(k % N) * scale(k / N) * e).collect();
            o.step(rate(t), &mut w, &out(&g));
        }
        4000
    }

    /// Where the error is diagonal in the bases of A and B every singular value has a path of its own, which no scale changes: as many steps at any condition.
    /// Errors in all directions take 4.7 times as many at condition 10^4; plain descent takes 10^4 times as many.
    #[test]
    fn kronecker_quadratics() {
        let entries = &matrix_and_vector(6, 6, 0);
        let shampoo = || {
            let config = ShampooConfig { epsilon: 1e-16, every: 1, momentum: 0.0, ..Default::default() };
            config.build::<f64>(entries)
        };
        let decaying = |t: u64| 0.02 / (1.0 + 0.01 * t as f64);
        let diagonal = |a: usize, b: usize| (a == b) as u8 as f64;
        let counts = [1.0, 1e2, 1e4].map(|c| steps(c, &diagonal, decaying, &mut *shampoo()));
        assert!(counts[0] > 10 && counts.iter().all(|c| c.abs_diff(counts[0]) <= 1), "{counts:?}");
        let all = |a: usize, b: usize| if a == b { 1.0 } else { 0.3 };
        let counts = [1.0, 1e4].map(|c| steps(c, &all, decaying, &mut *shampoo()));
        assert!(counts[1] < 6 * counts[0], "{counts:?}");
        // Plain descent at the largest rate that is stable everywhere.
        let mut descent = SgdConfig { momentum: 0.0 }.build::<f64>(entries);
        assert_eq!(steps(1e4, &diagonal, |_| 1.0, &mut *descent), 4000);
    }

    #[test]
    fn vectors_have_one_side() {
        let config = ShampooConfig { momentum: 0.0, epsilon: 1e-2, ..Default::default() };
        let mut o = config.build::<f32>(&vector(4));
        assert_eq!(o.state()[1].1.len(), 16);
        let mut p = [0.0f32; 4];
        o.step(1.0, &mut p, &[3.0, 0.0, -4.0, 0.0]);
        // (|g|^2 + epsilon)^-1/2 g.
        for (p, want) in p.iter().zip([-3.0, 0.0, 4.0, 0.0]) {
            assert!((p.f64() - want / 25.01f64.sqrt()).abs() < 1e-5);
        }
    }
}
