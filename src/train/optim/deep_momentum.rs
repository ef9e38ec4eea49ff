//! Deep momentum (nested learning, arXiv 2512.24695): a momentum that is a small network, trained on the gradients as they come.
//!
//! For a matrix W, o x i, the memory is asked for every column at once, m(I), and trained by ascent on <m(I), G>, with decay towards its start:
//!
//! ```text
//! layers = 1:  m(I) = M,            M <- momentum M + G
//! layers = 2:  m(I) = C tanh(B),    C <- momentum C + G tanh(B)',   B - B_0 <- momentum (B - B_0) + r D / (|C|_F |G|_F),   D = (C'G) .* (1 - tanh(B)^2)
//! W <- W - a sqrt(max(1, o/i)) NS(m(I))
//! ```
//!
//! B is hidden x i, C is o x hidden, NS are the quintic Newton-Schulz steps of Muon, and r is the memory's own rate; both matrices are advanced from the same old ones.
//! One layer is Muon without Nesterov's step. The published objective is <m(g), 1>; for a linear m, read to the letter, its output would have equal rows,
//! and the published remark that a linear one with NS is Muon would not hold: the reading here is the one under which it does. Vectors and scalars are Adam's.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::moments::Constants;
use super::muon::stretch;
use super::orthogonal::{NewtonSchulz, QUINTIC};
use super::shapes::{Block, Vectors};
use super::{Optimizer, OptimizerKind, check, count_of};
use crate::linalg::{Dense, Scalar};
use crate::nn::Entry;
use crate::train::data::{Stream, generator};

/// `kind = "deep_momentum"`: a momentum of one or two layers for matrices, orthogonalized; Adam for the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeepMomentumConfig {
    /// In \[0, 1); default 0.95.
    pub momentum: f64,
    /// 1 or 2; default 2.
    pub layers: u64,
    /// Width of the hidden layer; default 32.
    pub hidden: usize,
    /// r, how fast the hidden layer learns; default 0.1.
    pub memory_rate: f64,
    /// Newton-Schulz steps; default 5.
    pub steps: u64,
    /// Adam's beta1; default 0.9.
    pub beta1: f64,
    /// Adam's beta2; default 0.999.
    pub beta2: f64,
    /// Adam's epsilon; default 1e-8.
    pub epsilon: f64,
}

impl Default for DeepMomentumConfig {
    fn default() -> Self {
        let (momentum, layers, hidden, memory_rate, steps) = (0.95, 2, 32, 0.1, 5);
        Self { momentum, layers, hidden, memory_rate, steps, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

impl DeepMomentumConfig {
    fn adam(&self) -> Constants {
        let &Self { beta1, beta2, epsilon, .. } = self;
        Constants { beta1, beta2, epsilon, decay: 0.0 }
    }
}

impl OptimizerKind for DeepMomentumConfig {
    fn problem(&self) -> Option<String> {
        check::below_one("momentum", self.momentum)
            .or_else(|| {
                let n = self.layers;
                (!(1..=2).contains(&n)).then(|| format!("optimizer: layers is {n}, it must be 1 or 2"))
            })
            .or_else(|| check::at_least_one("hidden", self.hidden as u64))
            .or_else(|| check::at_least_zero("memory_rate", self.memory_rate))
            .or_else(|| check::at_least_one("steps", self.steps))
            .or_else(|| self.adam().problem())
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        let mut blocks = Block::all(entries);
        let vectors = Vectors::new(self.adam(), &blocks);
        blocks.retain(Block::is_matrix);
        let (mut outer, mut inner) = (0, vec![]);
        for (k, b) in blocks.iter().enumerate() {
            if self.layers == 1 {
                outer += b.range.len();
                continue;
            }
            outer += b.rows * self.hidden;
            let mut rng = generator(0, Stream::Init, k as u64);
            inner.extend((0..self.hidden * b.cols).map(|_| T::of(2.0 * rng.random::<f64>() - 1.0)));
        }
        let longest = count_of(entries).max(inner.len());
        Box::new(DeepMomentum {
            config: self.clone(),
            blocks,
            vectors,
            outer: vec![T::ZERO; outer],
            moved: vec![T::ZERO; inner.len()],
            start: inner,
            room: [vec![T::ZERO; longest], vec![T::ZERO; longest], vec![T::ZERO; count_of(entries)]],
            newton_schulz: Default::default(),
            count: 0,
        })
    }
}

struct DeepMomentum<T> {
    config: DeepMomentumConfig,
    /// The matrices.
    blocks: Vec<Block>,
    vectors: Vectors<T>,
    /// M or C of all matrices.
    outer: Vec<T>,
    /// B - B_0.
    moved: Vec<T>,
    /// B_0.
    start: Vec<T>,
    /// tanh(B), D, and m(I) of one matrix.
    room: [Vec<T>; 3],
    newton_schulz: NewtonSchulz<T>,
    count: u64,
}

fn norm<T: Scalar>(v: &[T]) -> f64 {
    v.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt()
}

impl<T: Scalar> Optimizer<T> for DeepMomentum<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        self.vectors.step(rate, self.count, p, g);
        let DeepMomentumConfig { momentum, layers, hidden, memory_rate, steps, .. } = self.config;
        let rho = T::of(momentum);
        let (mut outer, mut inner) = (0, 0);
        for Block { range, rows, cols } in &self.blocks {
            let (rows, cols) = (*rows, *cols);
            let g = &g[range.clone()];
            let memory = if layers == 1 {
                let m = &mut self.outer[outer..outer + rows * cols];
                outer += m.len();
                m.iter_mut().zip(g).for_each(|(m, g)| *m = rho * *m + *g);
                &*m
            } else {
                let c = &mut self.outer[outer..outer + rows * hidden];
                let (moved, start) =
                    (&mut self.moved[inner..][..hidden * cols], &self.start[inner..][..hidden * cols]);
                (outer, inner) = (outer + c.len(), inner + moved.len());
                let [active, slope, out] = &mut self.room;
                let (active, slope) = (&mut active[..hidden * cols], &mut slope[..hidden * cols]);
                let activate = |active: &mut [T], moved: &[T]| {
                    let b = moved.iter().zip(start).map(|(d, b)| *b + *d);
                    active.iter_mut().zip(b).for_each(|(a, b)| *a = b.tanh());
                };
                activate(active, moved);
                let gm = Dense::new(g, rows, cols);
                T::gemm(T::ONE, Dense::new(c, rows, hidden).t(), gm, false, slope, 1);
                let size = norm(c) * norm(g);
                let r = T::of(if size > 0.0 { memory_rate / size } else { 0.0 });
                c.iter_mut().for_each(|c| *c *= rho);
                T::gemm(T::ONE, gm, Dense::new(active, hidden, cols).t(), true, c, 1);
                for ((moved, d), a) in moved.iter_mut().zip(slope.iter()).zip(active.iter()) {
                    *moved = rho * *moved + r * *d * (T::ONE - *a * *a);
                }
                activate(active, moved);
                let out = &mut out[..rows * cols];
                T::gemm(T::ONE, Dense::new(c, rows, hidden), Dense::new(active, hidden, cols), false, out, 1);
                &*out
            };
            let x = self.newton_schulz.run(steps, QUINTIC, (rows, cols), memory);
            let a = T::of(rate * stretch(rows, cols));
            p[range.clone()].iter_mut().zip(x).for_each(|(p, x)| *p += -(a * *x));
        }
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        let Vectors { m, v, .. } = &mut self.vectors;
        let mut all = vec![("outer", &mut self.outer), ("first_moment", m), ("second_moment", v)];
        if !self.moved.is_empty() {
            all.push(("inner", &mut self.moved));
        }
        all
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

#[cfg(test)]
mod tests {
    use super::super::MuonConfig;
    use super::super::tests::matrix_and_vector;
    use super::*;

    fn gradient(t: usize, p: &[f64]) -> Vec<f64> {
        p.iter().enumerate().map(|(i, p)| ((i * i + 3 * t) as f64).sin() + 0.3 * p).collect()
    }

    #[test]
    fn one_layer_is_muon() {
        let entries = matrix_and_vector(4, 3, 2);
        let mut muon = MuonConfig { nesterov: false, ..Default::default() }.build::<f64>(&entries);
        let mut deep = DeepMomentumConfig { layers: 1, ..Default::default() }.build::<f64>(&entries);
        let (mut p, mut q) = (vec![0.2; 14], vec![0.2; 14]);
        for t in 0..20 {
            let (g, h) = (gradient(t, &p), gradient(t, &q));
            muon.step(0.03, &mut p, &g);
            deep.step(0.03, &mut q, &h);
            assert!((0..14).all(|i| (p[i] - q[i]).abs() < 1e-13));
        }
    }

    /// How the two layers change is the derivative of <m(I), G> by them, against differences of it; the hidden one's of length at most its rate.
    #[test]
    fn two_layers_climb_their_objective() {
        let (rows, cols, hidden) = (3, 2, 4);
        let config = DeepMomentumConfig { hidden, momentum: 0.0, ..Default::default() };
        let mut o = config.build::<f64>(&matrix_and_vector(rows, cols, 0));
        let mut p = vec![0.0; 6];
        // The hidden layer learns once the outer one is not zero.
        let g = gradient(0, &p);
        o.step(0.1, &mut p, &g);
        let old: Vec<Vec<f64>> = o.state().into_iter().map(|(_, v)| v.clone()).collect();
        let g = gradient(1, &p);
        o.step(0.1, &mut p, &g);
        let new: Vec<Vec<f64>> = o.state().into_iter().map(|(_, v)| v.clone()).collect();
        let mut rng = generator(0, Stream::Init, 0);
        let start: Vec<f64> = (0..hidden * cols).map(|_| 2.0 * rng.random::<f64>() - 1.0).collect();
        let objective = |c: &[f64], b: &[f64]| -> f64 {
            let m = |i: usize, j: usize| {
                (0..hidden)
                    .map(|k| c[k * rows + i] * (start[j * hidden + k] + b[j * hidden + k]).tanh())
                    .sum::<f64>()
            };
            (0..rows * cols).map(|at| m(at % rows, at / rows) * g[at]).sum()
        };
        let difference = |f: &dyn Fn(&[f64]) -> f64, x: &[f64], k: usize| {
            let moved = |by: f64| {
                let mut x = x.to_vec();
                x[k] += by;
                f(&x)
            };
            (moved(1e-5) - moved(-1e-5)) / 2e-5
        };
        for (k, got) in new[0].iter().enumerate() {
            let slope = difference(&|c| objective(c, &old[3]), &old[0], k);
            assert!((got - slope).abs() < 1e-8, "{got} {slope}");
        }
        let size = norm(&old[0]) * norm(&g);
        for (k, got) in new[3].iter().enumerate() {
            let slope = difference(&|b| objective(&old[0], b), &old[3], k);
            assert!((got - 0.1 * slope / size).abs() < 1e-8, "{got} {slope}");
        }
        assert!(norm(&new[3]) > 0.0 && norm(&new[3]) <= 0.1);
    }
}
