//! From a batch to the direction of a step: the gradient, over micro-batches if asked for, or what the optimizer makes of residuals or of the inputs of layers.

use rand::rngs::StdRng;

use super::config::TrainConfig;
use super::error::TrainError;
use super::optim::{Optimizer, clip_norm};
use super::pass::PassStats;
use super::schedule::Progress;
use super::task::Task;
use crate::linalg::Scalar;
use crate::nn::LayerInputs;

/// Storage of one run.
#[derive(Debug, Default)]
pub(super) struct Slope<T> {
    /// What [`Optimizer::step`] takes.
    pub direction: Vec<T>,
    part: Vec<T>,
    residuals: Vec<f64>,
    layers: Vec<LayerInputs<T>>,
}

/// What was found on the way.
pub(super) struct Found {
    pub pass: PassStats,
    pub accuracy: Option<f64>,
    /// Of the direction, before clipping.
    pub norm: f64,
}

/// The batch of one step.
pub(super) struct Batch<'a> {
    pub samples: &'a [usize],
    pub now: Progress,
    /// The learning rate of the step.
    pub rate: f64,
}

impl<T: Scalar> Slope<T> {
    /// For n parameters.
    pub fn new(n: usize) -> Self {
        Self { direction: vec![T::ZERO; n], part: vec![], residuals: vec![], layers: vec![] }
    }

    /// The direction at p, clipped as the configuration says. Nothing random but `rng` goes in.
    pub fn at<K: Task<T> + ?Sized>(
        &mut self,
        task: &mut K,
        optimizer: &mut dyn Optimizer<T>,
        config: &TrainConfig,
        p: &[T],
        batch: &Batch<'_>,
        rng: &mut StdRng,
    ) -> Result<Found, TrainError> {
        self.direction.fill(T::ZERO);
        if let Some(by) = optimizer.by_residuals() {
            let Some(of) = task.residuals() else {
                return Err(TrainError::config(
                    "optimizer: this kind works on residuals, which this task, its model or its loss does not give: choose another optimizer, or a squared loss",
                ));
            };
            if config.accumulate > 1 {
                let what = "train.accumulate: this optimizer needs the residuals of the whole batch at once, it must be 1";
                return Err(TrainError::config(what));
            }
            let (pass, accuracy) = of.linearize(p, batch.samples, &batch.now, rng, &mut self.residuals)?;
            let m = self.residuals.len();
            if m > MOST_RESIDUALS {
                return Err(TrainError::config(format!(
                    "optimizer: a batch gives {m} residuals, at most {MOST_RESIDUALS} are decomposed: choose a smaller train.batch"
                )));
            }
            by.direction(&self.residuals, of, &mut self.direction);
            let norm = clip_norm(&mut self.direction, config.clip);
            return Ok(Found { pass, accuracy, norm });
        }
        let (pass, accuracy) = self.gradient(task, config.accumulate, p, batch, rng)?;
        let norm = clip_norm(&mut self.direction, config.clip);
        if let Some(by) = optimizer.by_inputs() {
            self.layers.clear();
            if !task.layer_inputs(p, batch.samples, &mut self.layers)? {
                return Err(TrainError::config(
                    "optimizer: this kind needs the inputs of layers, which this task does not give: choose another optimizer",
                ));
            }
            by.precondition(batch.rate, p, &self.layers, &mut self.direction);
        }
        Ok(Found { pass, accuracy, norm })
    }

    /// The gradient of the batch, in so many parts of about equal length, each weighted by its share of the samples.
    fn gradient<K: Task<T> + ?Sized>(
        &mut self,
        task: &mut K,
        parts: usize,
        p: &[T],
        Batch { samples, now, .. }: &Batch<'_>,
        rng: &mut StdRng,
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let size = samples.len().div_ceil(parts.max(1)).max(1);
        if size >= samples.len() {
            return task.gradient(p, samples, now, rng, &mut self.direction);
        }
        let mut mean: Option<(PassStats, Option<f64>)> = None;
        for part in samples.chunks(size) {
            self.part.clear();
            self.part.resize(self.direction.len(), T::ZERO);
            let (pass, accuracy) = task.gradient(p, part, now, rng, &mut self.part)?;
            let share = part.len() as f64 / samples.len() as f64;
            let s = T::of(share);
            self.direction.iter_mut().zip(&self.part).for_each(|(d, g)| *d += s * *g);
            let (all, right) = mean.get_or_insert_with(|| (PassStats::default(), accuracy.map(|_| 0.0)));
            all.add(&pass, share);
            *right = right.zip(accuracy).map(|(all, a)| all + share * a);
        }
        Ok(mean.unwrap_or_default())
    }
}

/// Rows of the largest matrix that is decomposed.
const MOST_RESIDUALS: usize = 4096;
