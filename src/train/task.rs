//! What a training run needs to know of what is learned.

use std::ops::Range;
use std::time::Instant;

use rand::RngExt;
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

impl Split {
    /// Its place in a list of the three.
    pub(super) fn index(self) -> usize {
        match self {
            Self::Train => 0,
            Self::Validation => 1,
            Self::Test => 2,
        }
    }
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

impl Evaluation {
    /// Before the first batch.
    pub(super) fn begin() -> Self {
        Self { predict_seconds: f64::INFINITY, ..Self::default() }
    }
    /// The time since `begun`, if the batch is a full one.
    pub(super) fn time(&mut self, begun: Instant, full: bool) {
        if full {
            self.predict_seconds = self.predict_seconds.min(begun.elapsed().as_secs_f64());
        }
    }
    /// One solution: `share` of (evaluations, accepted, rejected) is added to the means.
    pub(super) fn add(&mut self, share: f64, (nfe, accepted, rejected): (u64, u64, u64)) {
        self.nfe += share * nfe as f64;
        self.accepted += share * accepted as f64;
        self.rejected += share * rejected as f64;
    }
}

/// Samples 0..count in batches of `size`; the last may be smaller.
pub(super) fn batches(count: usize, size: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let size = size.max(1);
    (0..count.div_ceil(size)).map(move |b| b * size..((b + 1) * size).min(count))
}

/// The entry of this batch size, made if absent.
pub(super) fn of_size<A, E>(
    list: &mut Vec<(usize, A)>,
    batch: usize,
    make: impl FnOnce() -> Result<A, E>,
) -> Result<&mut A, E> {
    let at = match list.iter().position(|(b, _)| *b == batch) {
        Some(at) => at,
        None => {
            list.push((batch, make()?));
            list.len() - 1
        }
    };
    Ok(&mut list[at].1)
}

/// STEER where states are saved: every time after the first moves by up to `steer` half intervals; the span ends at the last.
pub(super) fn jittered<T: Scalar>(times: &[T], steer: f64, rng: &mut StdRng) -> Vec<T> {
    let mut moved = times.to_vec();
    if let (Some(last), true) = (times.last(), steer > 0.0) {
        let half = 0.5 * steer * last.f64() / (times.len() - 1) as f64;
        for t in &mut moved[1..] {
            *t = T::of(t.f64() + half * (2.0 * rng.random::<f64>() - 1.0));
        }
    }
    moved
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
