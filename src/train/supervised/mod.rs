//! Supervised learning: a model, a loss and rows of data, each of a user's own or one that is there.
//!
//! ```text
//! min over p of  mean over batches of  1/B sum_s w_s l(z(x_s, p), y_s) + sum of weight(epoch) x penalty
//! ```
//!
//! | part | a trait | what is there |
//! |---|---|---|
//! | rows of inputs, targets, weights, in three splits | [`Source`] | [`Memory`], of any [`Table`](crate::data::Table) by an [`Encoder`](crate::data::Encoder) |
//! | l | [`Objective`] | [`StandardLoss`]: squared, Huber, Gaussian, Poisson, quantile, cross entropy |
//! | z(x, p) | [`Model`] | [`Layers`]: any map; [`Flow`]: a neural ODE of any field, then any map |
//!
//! A run from a file is [`SupervisedConfig`]; what it learned is applied to new tables by a [`Predictor`].

mod columns;
mod config;
mod model;
mod objective;
mod predictor;
mod residuals;
mod scores;
mod source;

use std::time::Instant;

use rand::rngs::StdRng;

pub use columns::ColumnLoss;
pub use config::{ClassWeight, ModelKind, Names, SupervisedConfig};
pub use model::{Counts, Flow, Layers, Model, OutputLoss};
pub use objective::{LossKind, Objective, StandardLoss};
pub(super) use predictor::NOTE;
pub use predictor::{Predictions, Predictor, Values};
pub use scores::area_under_curve;
pub(super) use scores::of_numbers;
pub use source::{Memory, Rows, Source, fold, split};

use self::residuals::Linearized;
use super::error::TrainError;
use super::pass::PassStats;
use super::residual::ResidualTask;
use super::schedule::Progress;
use super::task::{Evaluation, Plot, Split, Task, batches};
use crate::linalg::Scalar;
use crate::nn::{LayerInputs, Params};

/// See the module.
#[derive(Debug)]
pub struct Supervised<T, M, S, O> {
    model: M,
    source: S,
    objective: O,
    /// Rows of one evaluation.
    batch: usize,
    notes: Vec<(String, String)>,
    rows: Rows<T>,
    z: Vec<T>,
    linearized: Linearized<T>,
}

impl<T: Scalar, M: Model<T>, S: Source<T>, O: Objective<T>> Supervised<T, M, S, O> {
    /// The task; evaluations take `batch` rows at a time.
    ///
    /// # Errors
    /// The source's rows have not the model's inputs, or there is none to train on.
    pub fn new(model: M, source: S, objective: O, batch: usize) -> Result<Self, TrainError> {
        let ((inputs, _), (wanted, _)) = (source.sizes(), model.sizes());
        if inputs != wanted {
            let what = format!("rows have {inputs} inputs, the model takes {wanted}");
            return Err(TrainError::config(what));
        }
        if source.is_empty(Split::Train) {
            return Err(TrainError::config("there are no rows to train on"));
        }
        let rows = Rows { x: vec![], y: vec![], weight: vec![] };
        let linearized = Linearized::default();
        Ok(Self { model, source, objective, batch: batch.max(1), notes: vec![], rows, z: vec![], linearized })
    }
    /// With a text that goes with the parameters into files.
    pub fn with_note(mut self, name: &str, text: String) -> Self {
        self.notes.push((name.into(), text));
        self
    }

    /// These rows of a split become the batch.
    fn load(&mut self, split: Split, which: &[usize]) -> Result<(), TrainError> {
        self.rows.clear();
        self.source.load(split, which, &mut self.rows)
    }
    /// All outputs, targets and weights of a split, and its loss.
    fn all(&mut self, p: &[T], split: Split, e: &mut Evaluation) -> Result<(Vec<T>, Rows<T>), TrainError> {
        let count = self.source.len(split);
        let size = self.batch.min(count);
        let batches = batches(count, size);
        let share = 1.0 / batches.len().max(1) as f64;
        let (mut zs, mut all) = (vec![], Rows { x: vec![], y: vec![], weight: vec![] });
        for range in batches {
            let full = range.len() == size;
            self.load(split, &range.collect::<Vec<_>>())?;
            let begun = Instant::now();
            e.add(share, self.model.predict(&self.rows.x, p, &mut self.z)?);
            e.time(begun, full);
            e.loss += self.objective.loss(&self.z, &self.rows, 1.0, None);
            zs.extend_from_slice(&self.z);
            all.y.extend_from_slice(&self.rows.y);
            all.weight.extend_from_slice(&self.rows.weight);
        }
        e.loss /= all.weight.iter().sum::<f64>();
        Ok((zs, all))
    }
}

impl<T: Scalar, M: Model<T>, S: Source<T>, O: Objective<T>> Task<T> for Supervised<T, M, S, O> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        let mut params = Params::new();
        self.model.add_params(&mut params, rng);
        self.notes.iter().for_each(|(name, text)| params.note(name, text.clone()));
        params
    }
    fn samples(&self) -> usize {
        self.source.len(Split::Train)
    }
    fn split_len(&self, split: Split) -> usize {
        self.source.len(split)
    }
    fn gradient(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        self.load(Split::Train, samples)?;
        let (rows, objective) = (&self.rows, &mut self.objective);
        let share = 1.0 / samples.len() as f64;
        let mut right = None;
        let mut loss = |z: &[T], bar: &mut [T]| {
            right = objective.right(z, rows);
            objective.loss(z, rows, share, Some(bar))
        };
        let stats = self.model.gradient(&rows.x, p, now, rng, &mut loss, gradient)?;
        Ok((stats, right.map(|r| r as f64 * share)))
    }
    fn residuals(&mut self) -> Option<&mut dyn ResidualTask<T>> {
        // Whether the loss has any, without rows.
        let there = self.objective.residuals(&[], &Rows::default(), &mut vec![], &mut vec![]);
        (there && self.model.map().is_some()).then_some(self)
    }
    fn layer_inputs(
        &mut self,
        p: &[T],
        samples: &[usize],
        layers: &mut Vec<LayerInputs<T>>,
    ) -> Result<bool, TrainError> {
        self.load(Split::Train, samples)?;
        let Some(map) = self.model.map() else { return Ok(false) };
        let (at, of) = self.linearized.forward(map, &self.rows.x, p, &mut self.z);
        Ok(map.layer_inputs(at, of, 0, layers))
    }
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        let mut e = Evaluation::begin();
        let (z, of) = self.all(p, split, &mut e)?;
        e.accuracy = self.objective.right(&z, &of).map(|r| r as f64 / of.weight.len().max(1) as f64);
        self.objective.scores(&z, &of, &mut e);
        Ok(e)
    }
    fn fit(&mut self, p: &[T]) -> Result<Vec<Plot>, TrainError> {
        let split = if self.source.is_empty(Split::Test) { Split::Train } else { Split::Test };
        let (z, of) = self.all(p, split, &mut Evaluation::begin())?;
        Ok(self.objective.pictures(&z, &of))
    }
}
