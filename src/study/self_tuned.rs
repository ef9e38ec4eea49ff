//! Two tasks whose hyper-parameters tune themselves: ridge regression, and digits with an l2 penalty and input dropout.

use rand::RngExt;
use rand::rngs::StdRng;

use super::StudyError;
use super::data::SplitMix64;
use super::digits::{CLASSES, Digits, INPUTS};
use crate::bilevel::{Responsive, TuneOptions, Tuned, tune};
use crate::diff::{At, Map};
use crate::linalg::{Cholesky, dot};
use crate::nn::{Activation, softmax_cross_entropy};

const NAME: &str = "stn";
/// Samples of a part of the ridge regression.
pub const ROWS: usize = 40;
/// Its inputs.
pub const D: usize = 20;
const WIDTH: usize = 32;
/// Digits of a step.
pub const BATCH: usize = 50;

/// |y - X w|^2 / n + e^h |w|^2.
pub struct Ridge {
    pub data: [(Vec<f64>, Vec<f64>); 2],
}

impl Ridge {
    pub fn new(seed: u64) -> Self {
        let mut r = SplitMix64::of(seed, 21);
        let truth: Vec<f64> = r.normals(D).iter().map(|v| 0.4 * v).collect();
        let mut data = [(); 2].map(|()| {
            let (x, noise) = (r.normals(ROWS * D), r.normals(ROWS));
            let y: Vec<f64> = x.chunks_exact(D).zip(&noise).map(|(x, e)| dot(x, &truth) + e).collect();
            (x, y)
        });
        // The network has a constant without a penalty: centered, the best one is 0 at every h.
        let center: Vec<f64> =
            (0..D).map(|j| data[0].0.iter().skip(j).step_by(D).sum::<f64>() / ROWS as f64).collect();
        let mean = data[0].1.iter().sum::<f64>() / ROWS as f64;
        for (x, y) in &mut data {
            x.iter_mut().enumerate().for_each(|(k, x)| *x -= center[k % D]);
            y.iter_mut().for_each(|y| *y -= mean);
        }
        Self { data }
    }
    /// The best weights and their derivative by h: (X'X / n + e^h I) w = X'y / n, (..) dw = -e^h w.
    pub fn exact(&self, h: f64) -> Result<[Vec<f64>; 2], StudyError> {
        let (x, y) = &self.data[0];
        let (mut a, mut w) = (vec![0.0; D * D], vec![0.0; D]);
        for (x, y) in x.chunks_exact(D).zip(y) {
            for i in 0..D {
                (0..D).for_each(|j| a[i * D + j] += x[i] * x[j] / ROWS as f64);
                w[i] += x[i] * y / ROWS as f64;
            }
        }
        (0..D).for_each(|i| a[i * D + i] += h.exp());
        let factors = Cholesky::new(D, &a).map_err(StudyError::of(NAME))?;
        factors.solve(&mut w);
        let mut slope: Vec<f64> = w.iter().map(|w| -h.exp() * w).collect();
        factors.solve(&mut slope);
        Ok([w, slope])
    }
    pub fn validation(&self, w: &[f64]) -> f64 {
        let (x, y) = &self.data[1];
        x.chunks_exact(D).zip(y).map(|(x, y)| (dot(x, w) - y).powi(2)).sum::<f64>() / ROWS as f64
    }
}

impl Tuned for Ridge {
    fn load(&mut self, validation: bool, _: &mut StdRng, x: &mut Vec<f64>) {
        x.clone_from(&self.data[usize::from(validation)].0);
    }
    fn loss(&mut self, validation: bool, z: &[f64], _: &[f64], z_bar: &mut [f64]) -> f64 {
        let y = &self.data[usize::from(validation)].1;
        let share = 1.0 / y.len() as f64;
        z_bar.iter_mut().zip(z.iter().zip(y)).for_each(|(b, (z, y))| *b += 2.0 * share * (z - y));
        z.iter().zip(y).map(|(z, y)| share * (z - y).powi(2)).sum()
    }
    fn penalty(&mut self, net: &Responsive<f64>, p: &[f64], h: &[f64], p_bar: &mut [f64]) -> f64 {
        let count = h.len() as f64;
        let factor: Vec<f64> = h.iter().map(|h| h.exp() / count).collect();
        net.squares(p, h, &factor, Some(p_bar))
    }
}

/// Digits with l2 and input dropout by h; with fixed h those of a run of a search.
pub struct Dropout<'a> {
    pub digits: &'a Digits,
    /// Samples trained on; as many for validation follow, the others are for tests.
    pub train: usize,
    /// In place of what the network responds to.
    pub fixed: Option<[f64; 2]>,
    pub labels: Vec<usize>,
}

pub fn sigmoid(h: f64) -> f64 {
    1.0 / (1.0 + (-h).exp())
}

impl Dropout<'_> {
    fn h(&self, h: &[f64]) -> [f64; 2] {
        self.fixed.unwrap_or([h[0], h[1]])
    }
    /// Cross entropy on samples from..to at the network's weights at h.
    fn evaluate(&self, net: &mut Responsive<f64>, p: &[f64], h: &[f64], (from, to): (usize, usize)) -> f64 {
        let x: Vec<f64> = (from..to)
            .flat_map(|i| self.digits.rows([i].into_iter()).into_iter().chain(h.iter().copied()))
            .collect();
        let labels: Vec<usize> = (from..to).map(|i| self.digits.label(i)).collect();
        let mut z = vec![0.0; CLASSES * (to - from)];
        net.value(At::new(0.0, &x, p), &mut z);
        softmax_cross_entropy(&z, &labels, 1.0 / (to - from) as f64, None).0
    }
    /// Trains; the losses on validation and test data, and h.
    pub fn losses(&mut self, steps: u64, seed: u64) -> Result<(f64, f64, Vec<f64>), StudyError> {
        let mut net =
            Responsive::new(&[INPUTS, WIDTH, CLASSES], 2, Activation::Tanh).map_err(StudyError::of(NAME))?;
        let fixed = self.fixed.is_some();
        let start = self.fixed.unwrap_or([-6.0, -2.0]);
        // A run of a search is the same training without steps on h; its weights respond to noise only, which is next to none.
        let (warm_up, width) = if fixed { (steps, 1e-9) } else { (steps / 10, 0.5) };
        let options = TuneOptions { steps, warm_up, width, seed, hyper_rate: 0.01, ..TuneOptions::default() };
        let Ok(found) = tune(self, &mut net, &start, &options) else {
            return Ok((f64::NAN, f64::NAN, start.to_vec()));
        };
        let (n, p) = (self.train, found.params.values());
        let validation = self.evaluate(&mut net, p, &found.h, (n, 2 * n));
        let test = self.evaluate(&mut net, p, &found.h, (2 * n, self.digits.labels.len()));
        Ok((validation, test, found.h))
    }
}

impl Tuned for Dropout<'_> {
    fn load(&mut self, validation: bool, rng: &mut StdRng, x: &mut Vec<f64>) {
        let from = if validation { self.train } else { 0 };
        let which: Vec<usize> = (0..BATCH).map(|_| from + rng.random_range(0..self.train)).collect();
        self.labels = which.iter().map(|i| self.digits.label(*i)).collect();
        *x = self.digits.rows(which.into_iter());
    }
    fn disturb(&mut self, h: &[f64], rng: &mut StdRng, x: &mut [f64]) {
        for (h, x) in h.chunks_exact(2).zip(x.chunks_exact_mut(INPUTS)) {
            let drop = sigmoid(self.h(h)[1]);
            x.iter_mut()
                .for_each(|x| *x *= if rng.random::<f64>() < drop { 0.0 } else { 1.0 / (1.0 - drop) });
        }
    }
    fn loss(&mut self, _: bool, z: &[f64], _: &[f64], z_bar: &mut [f64]) -> f64 {
        softmax_cross_entropy(z, &self.labels, 1.0 / self.labels.len() as f64, Some(z_bar)).0
    }
    fn penalty(&mut self, net: &Responsive<f64>, p: &[f64], h: &[f64], p_bar: &mut [f64]) -> f64 {
        let factor: Vec<f64> = h.chunks_exact(2).map(|h| self.h(h)[0].exp() / BATCH as f64).collect();
        net.squares(p, h, &factor, Some(p_bar))
    }
}
