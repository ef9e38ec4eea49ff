//! A network trained on learned samples: theta holds the inputs of all steps, `batch` columns each ("generative teaching", direct form; Such et al., ICML 2020).

use super::unroll::Inner;
use crate::diff::{At, BarsMut, Dots, Kept, Map, Offers};
use crate::error::{OdeError, check_len};
use crate::nn::{softmax_cross_entropy, squared_error};

/// A loss of a network's outputs with its curvature.
pub trait Curved {
    /// Whether it is a loss of this many outputs and columns.
    ///
    /// # Errors
    /// It is not: one sentence.
    fn check(&self, outputs: usize, batch: usize) -> Result<(), OdeError>;
    /// Mean loss at outputs z, outputs x batch, of step t; z_bar <- its derivative.
    fn loss(&mut self, t: usize, z: &[f64], z_bar: &mut [f64]) -> f64;
    /// z_bar_dot <- the derivative of z_bar along z_dot.
    fn along(&mut self, t: usize, z: &[f64], z_dot: &[f64], z_bar_dot: &mut [f64]);
}

/// Step t takes loss t mod their number.
impl<L: Curved> Curved for Vec<L> {
    fn check(&self, outputs: usize, batch: usize) -> Result<(), OdeError> {
        if self.is_empty() {
            return Err(OdeError::Mismatch { what: "no loss for any step".into() });
        }
        self.iter().try_for_each(|loss| loss.check(outputs, batch))
    }
    fn loss(&mut self, t: usize, z: &[f64], z_bar: &mut [f64]) -> f64 {
        let count = self.len();
        self[t % count].loss(t, z, z_bar)
    }
    fn along(&mut self, t: usize, z: &[f64], z_dot: &[f64], z_bar_dot: &mut [f64]) {
        let count = self.len();
        self[t % count].along(t, z, z_dot, z_bar_dot);
    }
}

/// Mean cross entropy of softmax(z); the same labels in every step.
#[derive(Debug, Clone)]
pub struct CrossEntropy {
    /// One for each column of the batch.
    pub labels: Vec<usize>,
}

impl Curved for CrossEntropy {
    fn check(&self, outputs: usize, batch: usize) -> Result<(), OdeError> {
        check_len("labels of a batch", self.labels.len(), batch)?;
        match self.labels.iter().find(|label| **label >= outputs) {
            Some(label) => Err(OdeError::Mismatch { what: format!("label {label} of {outputs} classes") }),
            None => Ok(()),
        }
    }
    fn loss(&mut self, _: usize, z: &[f64], z_bar: &mut [f64]) -> f64 {
        z_bar.fill(0.0);
        softmax_cross_entropy(z, &self.labels, 1.0 / self.labels.len() as f64, Some(z_bar)).0
    }
    /// (diag s - s s') z_dot / batch for each column, s = softmax(z).
    fn along(&mut self, _: usize, z: &[f64], z_dot: &[f64], z_bar_dot: &mut [f64]) {
        let classes = z.len() / self.labels.len();
        let share = 1.0 / self.labels.len() as f64;
        let columns = z.chunks_exact(classes).zip(z_dot.chunks_exact(classes));
        for ((z, d), out) in columns.zip(z_bar_dot.chunks_exact_mut(classes)) {
            let top = z.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
            out.iter_mut().zip(z).for_each(|(s, z)| *s = (z - top).exp());
            let sum: f64 = out.iter().sum();
            let mean = out.iter().zip(d).map(|(s, d)| s * d).sum::<f64>() / sum;
            out.iter_mut().zip(d).for_each(|(s, d)| *s = share * *s / sum * (d - mean));
        }
    }
}

/// |z - target|^2 / (2 batch); the same targets in every step.
#[derive(Debug, Clone)]
pub struct SquaredError {
    /// Outputs x batch.
    pub targets: Vec<f64>,
    /// Columns.
    pub batch: usize,
}

impl Curved for SquaredError {
    fn check(&self, outputs: usize, batch: usize) -> Result<(), OdeError> {
        check_len("columns of the targets", self.batch, batch)?;
        check_len("targets of a batch", self.targets.len(), outputs * batch)
    }
    fn loss(&mut self, _: usize, z: &[f64], z_bar: &mut [f64]) -> f64 {
        z_bar.fill(0.0);
        squared_error(z, &self.targets, 0.5 / self.batch as f64, Some(z_bar))
    }
    fn along(&mut self, _: usize, _: &[f64], z_dot: &[f64], z_bar_dot: &mut [f64]) {
        z_bar_dot.iter_mut().zip(z_dot).for_each(|(b, d)| *b = d / self.batch as f64);
    }
}

/// Training of a map on learned inputs.
#[derive(Debug, Clone)]
pub struct Taught<M, L> {
    map: M,
    loss: L,
    batch: usize,
    steps: usize,
    y: Vec<f64>,
    keep: Vec<f64>,
    y_bar: Vec<f64>,
    y_dot: Vec<f64>,
    keep_dot: Vec<f64>,
    y_bar_dot: Vec<f64>,
    unused: Vec<f64>,
}

impl<M: Map<f64>, L: Curved> Taught<M, L> {
    /// `batch` samples a step.
    ///
    /// # Errors
    /// A batch or number of steps of zero, a loss of other sizes, or a map without the tangent of its vector-Jacobian product.
    pub fn new(map: M, loss: L, batch: usize, steps: usize) -> Result<Self, OdeError> {
        let wanted = Offers::VJP | Offers::JVP | Offers::TANGENT;
        if batch * steps == 0 || !map.offers().has(wanted) {
            let what =
                "training on learned samples needs steps, samples, and a map with vjp, jvp and vjp_tangent";
            return Err(OdeError::Mismatch { what: what.into() });
        }
        loss.check(map.outputs(), batch)?;
        let room = || vec![0.0; map.outputs() * batch];
        let kept = || vec![0.0; map.keep_len(batch)];
        let (y, y_bar, y_dot, y_bar_dot) = (room(), room(), room(), room());
        let (keep, keep_dot, unused) = (kept(), kept(), vec![0.0; map.inputs() * batch]);
        Ok(Self { map, loss, batch, steps, y, keep, y_bar, y_dot, keep_dot, y_bar_dot, unused })
    }
    /// The map.
    pub fn map(&mut self) -> &mut M {
        &mut self.map
    }
    fn samples<'a>(&self, t: usize, theta: &'a [f64]) -> &'a [f64] {
        let len = self.map.inputs() * self.batch;
        &theta[t * len..][..len]
    }
}

impl<M: Map<f64>, L: Curved> Inner for Taught<M, L> {
    fn sizes(&self) -> (usize, usize) {
        (self.map.n_params(), self.map.inputs() * self.batch * self.steps)
    }
    fn gradient(&mut self, t: usize, p: &[f64], theta: &[f64], g: &mut [f64]) -> f64 {
        let at = At::new(0.0, self.samples(t, theta), p);
        self.map.forward(at, &mut self.y, &mut self.keep);
        let loss = self.loss.loss(t, &self.y, &mut self.y_bar);
        g.fill(0.0);
        let of = Kept { y: &self.y, keep: &self.keep };
        self.map.vjp(at, of, &self.y_bar, BarsMut::new(&mut self.unused, g));
        loss
    }
    /// Second derivatives are symmetric: (dg/dp)' w and (dg/dx)' w are the derivatives of the loss's gradients by p and x along w.
    fn gradient_transposed(
        &mut self,
        t: usize,
        (p, theta): (&[f64], &[f64]),
        w: &[f64],
        (p_bar, theta_bar): (&mut [f64], &mut [f64]),
    ) {
        let at = At::new(0.0, self.samples(t, theta), p);
        self.map.forward(at, &mut self.y, &mut self.keep);
        self.loss.loss(t, &self.y, &mut self.y_bar);
        let of = Kept { y: &self.y, keep: &self.keep };
        let dots = Dots { count: 1, t: &[], x: &[], p: w };
        self.map.jvp(at, of, dots, &mut self.y_dot, &mut self.keep_dot);
        self.loss.along(t, &self.y, &self.y_dot, &mut self.y_bar_dot);
        let dot = Kept { y: &self.y_dot, keep: &self.keep_dot };
        let len = self.unused.len();
        let bars = BarsMut::new(&mut theta_bar[t * len..][..len], p_bar);
        self.map.vjp_tangent(at, of, dots, dot, &self.y_bar, &self.y_bar_dot, bars);
    }
}
