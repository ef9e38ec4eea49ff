//! Two small problems with opposing signals, as tasks with a start of their own.
//!
//! (a) The toy: f = c b'x, L = |c b_s - beta|^2 / 2 + alpha c^2 b_o^2 / 2, p = (c, b_o, b_s). (b) A linear network f = c'B x on samples of which 5 % have ten further
//! inputs that are all +-z, y = beta'x_s + 0.3 |1'x_o| / sqrt(10): half the mean squares.

use rand::rngs::StdRng;

use super::data::SplitMix64;
use crate::nn::{Init, Params};
use crate::train::{Evaluation, PassStats, Progress, Split, Task, TrainError};

pub const ALPHA: f64 = 100.0;
const BETA: f64 = 3.0;
const SIGNAL: usize = 20;
const FURTHER: usize = 10;
const WIDTH: usize = 8;
pub const SAMPLES: usize = 1000;
/// One sample in so many has the opposing signal.
pub const PLANTED: usize = 20;

/// A vector of this length in a random direction.
fn direction(numbers: &mut SplitMix64, n: usize, length: f64) -> Vec<f64> {
    let v = numbers.normals(n);
    let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    v.iter().map(|v| v * length / norm).collect()
}

/// One of the two, with its start.
pub enum Problem {
    Toy {
        beta: Vec<f64>,
        start: Vec<f64>,
    },
    /// Inputs sample after sample, values; p = (c, B column-major).
    Net {
        x: Vec<f64>,
        y: Vec<f64>,
        start: Vec<f64>,
    },
}

impl Problem {
    pub fn toy(seed: u64) -> Self {
        let mut r = SplitMix64::of(seed, 1);
        let beta = direction(&mut r, SIGNAL, BETA);
        let start = [0.3, 0.05].into_iter().chain(r.normals(SIGNAL).iter().map(|v| 0.1 * v)).collect();
        Self::Toy { beta, start }
    }
    pub fn net(seed: u64) -> Self {
        let mut r = SplitMix64::of(seed, 2);
        let (beta, z) = (direction(&mut r, SIGNAL, BETA), (ALPHA * PLANTED as f64 / FURTHER as f64).sqrt());
        let (mut x, mut y) = (vec![], vec![]);
        for i in 0..SAMPLES {
            let signal = r.normals(SIGNAL);
            let further = if !planted(i) {
                0.0
            } else if r.uniform() < 0.5 {
                z
            } else {
                -z
            };
            let size = 0.3 * (FURTHER as f64).sqrt() * further.abs();
            y.push(signal.iter().zip(&beta).map(|(x, b)| x * b).sum::<f64>() + size);
            x.extend(signal);
            x.extend([further; FURTHER]);
        }
        let start = r.normals(WIDTH * (1 + SIGNAL + FURTHER)).into_iter().enumerate();
        let scaled = start.map(|(i, v)| if i < WIDTH { 0.3 * v } else { 0.1 * v });
        Self::Net { x, y, start: scaled.collect() }
    }
}

pub fn planted(i: usize) -> bool {
    i.is_multiple_of(PLANTED)
}

impl Task<f64> for Problem {
    fn params(&self, rng: &mut StdRng) -> Params<f64> {
        let (Self::Toy { start, .. } | Self::Net { start, .. }) = self;
        let mut params = Params::new();
        params.add("p", &[start.len()], Init::Zeros, rng);
        params.values_mut().copy_from_slice(start);
        params
    }
    fn samples(&self) -> usize {
        if let Self::Net { y, .. } = self { y.len() } else { 1 }
    }
    fn split_len(&self, split: Split) -> usize {
        if split == Split::Train { self.samples() } else { 0 }
    }
    fn gradient(
        &mut self,
        p: &[f64],
        samples: &[usize],
        _: &Progress,
        _: &mut StdRng,
        g: &mut [f64],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let mut loss = 0.0;
        match self {
            Self::Toy { beta, .. } => {
                let (c, o) = (p[0], p[1]);
                loss += 0.5 * ALPHA * c * c * o * o;
                g[0] += ALPHA * c * o * o;
                g[1] += ALPHA * c * c * o;
                for ((b, beta), g_b) in p[2..].iter().zip(beta).zip(2..) {
                    let r = c * b - *beta;
                    loss += 0.5 * r * r;
                    g[0] += r * b;
                    g[g_b] += r * c;
                }
            }
            Self::Net { x, y, .. } => {
                let (inputs, share) = (SIGNAL + FURTHER, 1.0 / samples.len() as f64);
                for i in samples {
                    let x = &x[i * inputs..][..inputs];
                    let mut hidden = [0.0; WIDTH];
                    for (x, b) in x.iter().zip(p[WIDTH..].chunks_exact(WIDTH)) {
                        hidden.iter_mut().zip(b).for_each(|(h, b)| *h += x * b);
                    }
                    let r = hidden.iter().zip(p).map(|(h, c)| h * c).sum::<f64>() - y[*i];
                    loss += 0.5 * share * r * r;
                    let (own, rest) = g.split_at_mut(WIDTH);
                    own.iter_mut().zip(hidden).for_each(|(g, h)| *g += share * r * h);
                    for (x, g) in x.iter().zip(rest.chunks_exact_mut(WIDTH)) {
                        g.iter_mut().zip(p).for_each(|(g, c)| *g += share * r * x * c);
                    }
                }
            }
        }
        Ok((PassStats { loss, data_loss: loss, ..PassStats::default() }, None))
    }
    fn evaluate(&mut self, _: &[f64], _: Split) -> Result<Evaluation, TrainError> {
        Err(TrainError::config("this problem is trained only"))
    }
}

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
