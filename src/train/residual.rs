//! Tasks whose loss is a sum over conditions, for optimizers that look at each of them (Gauss-Newton, Sven).

use rand::rngs::StdRng;

use super::error::TrainError;
use super::pass::PassStats;
use super::schedule::Progress;
use crate::linalg::{Dense, Scalar};

/// The residuals r(p) of samples and products with M = dr/dp, m x n. Their scale is the task's: steps of Gauss-Newton kind do not depend on it.
pub trait ResidualTask<T: Scalar> {
    /// r <- the residuals at p, and what the products need of them is kept. Loss and costs as [`Task::gradient`](super::Task::gradient) gives them; all random choices come from `rng`.
    ///
    /// # Errors
    /// The solver gave up, or the loss has parts that are no residuals (penalties): one sentence.
    fn linearize(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        r: &mut Vec<f64>,
    ) -> Result<(PassStats, Option<f64>), TrainError>;
    /// g <- M M', m x m, where `linearize` was last.
    fn gram(&mut self, g: &mut [f64]);
    /// rows <- M', n x m, column by column: the gradient of each residual.
    fn rows(&mut self, rows: &mut [f64]);
    /// ADDS M'w.
    fn pull(&mut self, w: &[f64], out: &mut [T]);
}

/// M row by row in memory: what tasks with few residuals keep.
#[derive(Debug, Clone, Default)]
pub struct ResidualRows {
    n: usize,
    /// M', n x m.
    values: Vec<f64>,
}

impl ResidualRows {
    /// Zeros for m residuals of n parameters; the entries are to be set by [`row_mut`](Self::row_mut).
    pub fn reset(&mut self, m: usize, n: usize) {
        self.n = n;
        self.values.clear();
        self.values.resize(m * n, 0.0);
    }
    /// The gradient of residual i.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        &mut self.values[i * self.n..][..self.n]
    }
    /// M', n x m.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
    /// g <- M M'.
    pub fn gram(&self, g: &mut [f64]) {
        let m = self.values.len().checked_div(self.n).unwrap_or(0);
        let rows = Dense::new(&self.values, self.n, m);
        f64::gemm(1.0, rows.t(), rows, false, g, 1);
    }
    /// ADDS M'w.
    pub fn pull<T: Scalar>(&self, w: &[f64], out: &mut [T]) {
        let mut sum = vec![0.0; self.n];
        for (w, row) in w.iter().zip(self.values.chunks_exact(self.n.max(1))) {
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += w * v);
        }
        out.iter_mut().zip(&sum).for_each(|(o, s)| *o += T::of(*s));
    }
}
