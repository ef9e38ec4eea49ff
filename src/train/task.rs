//! What a training run needs to know of what is learned.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::pass::PassStats;
use super::residual::ResidualTask;
use super::schedule::Progress;
use crate::linalg::Scalar;
use crate::nn::{LayerInputs, Params};

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
    /// Further numbers by name, as the task has them: R2, RMSE, area under the curve, ...
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, f64>,
    /// For classification of tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Confusion>,
}

/// How often which class was taken for which.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusion {
    /// The classes.
    pub names: Vec<String>,
    /// One row a true class, one number a predicted one.
    pub counts: Vec<Vec<u64>>,
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

/// STEER (Ghosh et al. 2020) where only the end counts: an end uniform in end +- steer. Nothing is drawn without it.
pub(super) fn random_end(end: f64, steer: f64, rng: &mut StdRng) -> f64 {
    if steer > 0.0 { end + steer * (2.0 * rng.random::<f64>() - 1.0) } else { end }
}

/// STEER where states are saved: every time after the start, 0, moves by up to `steer` half intervals, and the span ends at the last.
///
/// The data stay as they are: what was observed at t_i is compared with the state at the moved time. The interval is the mean one, or
/// the distance to the nearer neighbour where that is shorter: times keep their order.
pub(super) fn jittered<T: Scalar>(times: &[T], steer: f64, rng: &mut StdRng) -> Vec<T> {
    let mut moved = times.to_vec();
    let (Some(last), true) = (times.last(), steer > 0.0) else { return moved };
    let mean = (last.f64() - times[0].f64()) / (times.len() - 1).max(1) as f64;
    for (i, t) in moved.iter_mut().enumerate().filter(|(_, t)| **t > T::ZERO) {
        let before = if i > 0 { times[i - 1].f64() } else { 0.0 };
        let after = times.get(i + 1).map_or(f64::INFINITY, |t| t.f64());
        let near = (t.f64() - before).min(after - t.f64());
        // Equal intervals differ by rounding.
        let interval = if near < (1.0 - 1e-5) * mean { near } else { mean };
        let half = 0.5 * steer * interval;
        *t = T::of(t.f64() + half * (2.0 * rng.random::<f64>() - 1.0));
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

/// A picture of a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// Of its file, without the ending.
    pub name: String,
    /// What its axes are.
    pub axes: (String, String),
    /// What it shows.
    pub curves: Vec<Curve>,
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
    /// The door to residuals, for tasks whose loss is a sum of their squares; none by default.
    fn residuals(&mut self) -> Option<&mut dyn ResidualTask<T>> {
        None
    }
    /// What its affine layers saw of these samples at `p`, added to `layers`; false, the default: it does not tell.
    fn layer_inputs(
        &mut self,
        p: &[T],
        samples: &[usize],
        layers: &mut Vec<LayerInputs<T>>,
    ) -> Result<bool, TrainError> {
        let _ = (p, samples, layers);
        Ok(false)
    }
    /// Pictures of the fit; none by default.
    fn fit(&mut self, p: &[T]) -> Result<Vec<Plot>, TrainError> {
        let _ = p;
        Ok(vec![])
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::{Stream, generator};
    use super::*;

    #[test]
    fn moved_times_keep_their_order_and_their_start() {
        let uniform: Vec<f64> = (0..30).map(|i| 1.5 * i as f64 / 29.0).collect();
        // As a file of moments may have them: no start, unequal intervals.
        let uneven = vec![0.02, 0.03, 0.5, 0.9, 1.0];
        let mut rng = generator(1, Stream::Pass, 0);
        assert_eq!(jittered(&uniform, 0.0, &mut rng), uniform);
        assert_eq!(rng, generator(1, Stream::Pass, 0));
        let mut most = [0.0f64; 5];
        for _ in 0..2000 {
            let moved = jittered(&uniform, 1.0, &mut rng);
            assert!(moved[0] == 0.0 && moved.windows(2).all(|t| t[0] <= t[1]), "{moved:?}");
            let half = 0.75 / 29.0;
            assert!(moved.iter().zip(&uniform).all(|(m, t)| (m - t).abs() <= half * (1.0 + 1e-12)));
            let moved = jittered(&uneven, 1.0, &mut rng);
            assert!(moved[0] > 0.0 && moved.windows(2).all(|t| t[0] <= t[1]), "{moved:?}");
            (0..5).for_each(|i| most[i] = most[i].max((moved[i] - uneven[i]).abs()));
        }
        // Half of the distance to the nearer neighbour, and of the mean interval, 0.245, where that is shorter.
        for (most, half) in most.into_iter().zip([0.005, 0.005, 0.1225, 0.05, 0.05]) {
            assert!(most <= half * (1.0 + 1e-12) && most > 0.99 * half, "{most} {half}");
        }
    }
}
