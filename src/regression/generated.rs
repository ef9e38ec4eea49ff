//! Generated data of any size, the same for the same seed: ill-conditioned columns and rows of heavy leverage.

use rayon::prelude::*;

use super::families::Family;
use crate::error::Error;
use crate::linalg::dot;
use crate::randomized::TallMatrix;

/// What is generated.
#[derive(Debug, Clone, Copy)]
pub struct Generated {
    /// Rows m.
    pub rows: usize,
    /// Columns n.
    pub columns: usize,
    /// Condition of the columns: scales from 1 down to its reciprocal, mixed by two reflections so that no column scaling removes it.
    pub condition: f64,
    /// Every so many rows one is a hundred times as long; 0: none.
    pub heavy_every: usize,
    /// Seed.
    pub seed: u64,
}

/// A generator of random numbers for one row (SplitMix64).
struct Stream(u64);

impl Stream {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn uniform(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// Of mean 0 and variance 1: a sum of four uniform numbers of 16 bits, enough for data.
    fn number(&mut self) -> f64 {
        let w = self.word();
        let sum = (w & 0xffff) + (w >> 16 & 0xffff) + (w >> 32 & 0xffff) + (w >> 48);
        (sum as f64 / 65536.0 - 2.0) * 3f64.sqrt()
    }
}

impl Generated {
    fn stream(&self, row: usize) -> Stream {
        let mut start = Stream(self.seed ^ (row as u64).wrapping_mul(0xd134_2543_de82_ef95));
        Stream(start.word())
    }
    /// Directions of the two reflections, of unit length.
    fn reflections(&self) -> [Vec<f64>; 2] {
        [1u64, 2].map(|k| {
            let mut stream = Stream(self.seed.wrapping_mul(k + 17) ^ (k << 60));
            let v: Vec<f64> = (0..self.columns).map(|_| stream.number()).collect();
            let norm = dot(&v, &v).sqrt();
            v.iter().map(|x| x / norm).collect()
        })
    }
    /// The design matrix: row = h (g S) U, g of mean 0 and variance 1, S the scales, U the reflections, h the length of a heavy row.
    ///
    /// # Errors
    /// No rows or no columns.
    pub fn matrix(&self) -> Result<TallMatrix, Error> {
        let n = self.columns;
        let [u, v] = self.reflections();
        let scales: Vec<f64> =
            (0..n).map(|j| self.condition.powf(-(j as f64) / (n.max(2) - 1) as f64)).collect();
        let mut values = vec![0.0; self.rows * n];
        values.par_chunks_mut(n.max(1)).enumerate().for_each(|(i, row)| {
            let mut stream = self.stream(i);
            let heavy = self.heavy_every > 0 && i % self.heavy_every == self.heavy_every / 2;
            let length = if heavy { 100.0 } else { 1.0 };
            row.iter_mut().zip(&scales).for_each(|(x, s)| *x = length * s * stream.number());
            for u in [&u, &v] {
                let twice = 2.0 * dot(row, u);
                row.iter_mut().zip(u).for_each(|(x, u)| *x -= twice * u);
            }
        });
        TallMatrix::dense(self.rows, n, values)
    }
    /// Responses of a model with coefficients for which every direction counts alike, noise included. Predictors are kept in a range where no class is certain.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn responses(&self, matrix: &TallMatrix, family: Family) -> Result<Vec<f64>, Error> {
        let n = self.columns;
        let [u, v] = self.reflections();
        let mut stream = Stream(self.seed ^ 0xabcd);
        // In the basis of the scales: w_j / scale_j, so that each direction adds the same variance.
        let mut w: Vec<f64> = (0..n)
            .map(|j| {
                stream.number() * self.condition.powf(j as f64 / (n.max(2) - 1) as f64) / (n as f64).sqrt()
            })
            .collect();
        for u in [&v, &u].into_iter().rev() {
            let twice = 2.0 * dot(&w, u);
            w.iter_mut().zip(u).for_each(|(x, u)| *x -= twice * u);
        }
        let mut z = vec![0.0; self.rows];
        matrix.multiply(&w, &mut z)?;
        z.par_iter_mut().enumerate().for_each(|(i, z)| {
            let mut stream = Stream(self.stream(i).word() ^ 0x77);
            let uniform = stream.uniform();
            *z = match family {
                Family::Logistic => {
                    if uniform < 1.0 / (1.0 + (-*z).exp()) {
                        1.0
                    } else {
                        -1.0
                    }
                }
                Family::Poisson => count(z.clamp(-4.0, 4.0).exp(), uniform),
                Family::LeastSquares | Family::Huber { .. } => *z + 0.5 * stream.number(),
            };
        });
        Ok(z)
    }
}

/// The quantile of a Poisson distribution.
fn count(rate: f64, uniform: f64) -> f64 {
    let (mut k, mut p) = (0.0, (-rate).exp());
    let mut sum = p;
    while sum < uniform && k < 1000.0 {
        k += 1.0;
        p *= rate / k;
        sum += p;
    }
    k
}
