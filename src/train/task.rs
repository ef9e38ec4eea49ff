//! What a training run needs to know of what is learned.

use rand::rngs::StdRng;
use serde::Serialize;

use super::error::TrainError;
use super::pass::PassStats;
use super::schedule::Progress;
use crate::linalg::Scalar;
use crate::nn::Params;

/// Which data are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Those trained on.
    Train,
    /// Kept aside to decide when to stop.
    Validation,
    /// Kept aside.
    Test,
}

/// What an evaluation found; no penalties, no random end times.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean loss.
    pub loss: f64,
    /// Share of right answers, for classification.
    pub accuracy: Option<f64>,
    /// Evaluations of the field a batch, mean over the batches.
    pub nfe: f64,
    /// Accepted steps a batch.
    pub accepted: f64,
    /// Rejected steps a batch.
    pub rejected: f64,
    /// Shortest time of one batch, in seconds.
    pub predict_seconds: f64,
}

/// A line of a plot: name and points.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// In the legend.
    pub name: String,
    /// Points to be joined, or marked.
    pub points: Vec<(f64, f64)>,
    /// Joined by a line, or marked one by one.
    pub joined: bool,
}

/// Data, model and loss of an experiment.
pub trait Task<T: Scalar> {
    /// The initial parameters.
    fn params(&self, rng: &mut StdRng) -> Params<T>;
    /// Samples to train on.
    fn samples(&self) -> usize;
    /// Samples of a split.
    fn split_len(&self, split: Split) -> usize;
    /// Loss on these samples, penalties included; ADDS its gradient. The share of right answers comes second. All random choices come from `rng`.
    fn gradient(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError>;
    /// Loss and cost on a split.
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError>;
    /// Curves that show the fit; none by default.
    fn fit(&mut self, p: &[T]) -> Result<Vec<Curve>, TrainError> {
        let _ = p;
        Ok(vec![])
    }
}
