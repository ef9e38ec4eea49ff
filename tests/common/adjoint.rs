//! What the tests of the adjoints share: a weighted sum of all results as the loss.
#![allow(dead_code)]

use costate::adjoint::{Bars, Replay};

/// Numbers in (-1, 1) that are the same in every run.
pub fn noise(n: usize, seed: u64) -> Vec<f64> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Derivative at zero by the fourth-order central difference.
pub fn central(d: f64, mut at: impl FnMut(f64) -> f64) -> f64 {
    (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d)
}

/// Bars of y(t1), of states at save points, of E_j and of S_j.
pub struct Weights {
    pub y1: Vec<f64>,
    pub times: &'static [f64],
    pub saved: Vec<f64>,
    pub error: Vec<f64>,
    pub stiffness: Vec<f64>,
}

impl Weights {
    /// For states of length n.
    pub fn new(n: usize, times: &'static [f64], steps: usize) -> Self {
        Self {
            y1: noise(n, 1),
            times,
            saved: noise(n * times.len(), 2),
            error: noise(steps, 3),
            stiffness: noise(steps, 4),
        }
    }
    pub fn bars(&self) -> Bars<'_, f64> {
        Bars {
            y1: &self.y1,
            times: self.times,
            saved: &self.saved,
            error: &self.error,
            stiffness: &self.stiffness,
        }
    }
    pub fn loss(&self, r: &Replay<f64>) -> f64 {
        dot(&self.y1, &r.y1)
            + dot(&self.saved, &r.saved)
            + dot(&self.error, &r.error)
            + dot(&self.stiffness, &r.stiffness)
    }
}
