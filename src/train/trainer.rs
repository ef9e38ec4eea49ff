//! The training loop.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::Serialize;

use super::config::TrainConfig;
use super::data::{Stream, generator, shuffled};
use super::error::TrainError;
use super::optim::{Facts, Optimizer, OptimizerConfig};
use super::pass::PassStats;
use super::schedule::Progress;
use super::slope::{Batch, Found, Slope};
use super::task::{Evaluation, Split, Task};
use crate::linalg::Scalar;
use crate::nn::Params;

/// All that changes during training; what a checkpoint holds.
pub struct State<T: Scalar> {
    /// The parameters.
    pub params: Params<T>,
    /// The optimizer with its vectors.
    pub optimizer: Box<dyn Optimizer<T>>,
    /// The exponential average of the parameters after each step, if the run keeps one: evaluated and saved in their place.
    pub average: Option<Vec<T>>,
    /// Steps done.
    pub step: u64,
    /// Best validation loss.
    pub best: Option<f64>,
    /// Validations since then.
    pub since_best: u64,
}

impl<T: Scalar> State<T> {
    /// The start of a run.
    pub fn new<K: Task<T> + ?Sized>(task: &K, optimizer: &OptimizerConfig, seed: u64) -> Self {
        let params = task.params(&mut generator(seed, Stream::Init, 0));
        let optimizer = optimizer.build(params.entries());
        Self { params, optimizer, average: None, step: 0, best: None, since_best: 0 }
    }
    /// What is evaluated and saved: the average if there is one, else the parameters.
    pub fn weights(&self) -> Params<T> {
        let mut weights = self.params.clone();
        weights.values_mut().copy_from_slice(self.weight_values());
        weights
    }
    /// The numbers of [`weights`](Self::weights).
    pub fn weight_values(&self) -> &[T] {
        self.average.as_deref().unwrap_or(self.params.values())
    }
    /// One more step joins the average: a <- a + w (p - a), w = (1 - decay) / (1 - decay^t), which is the exponential average without the bias of its start.
    fn join_average(&mut self, decay: Option<f64>) {
        let (Some(decay), Some(average)) = (decay, &mut self.average) else { return };
        let w = T::of((1.0 - decay) / (1.0 - decay.powf(self.step as f64)));
        average.iter_mut().zip(self.params.values()).for_each(|(a, p)| *a += w * (*p - *a));
    }
}

impl<T: Scalar> std::fmt::Debug for State<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("step", &self.step).field("best", &self.best).finish_non_exhaustive()
    }
}

/// One step, as logged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    /// Counted from 1.
    pub step: u64,
    /// Counted from 1.
    pub epoch: u64,
    /// Costs and losses.
    #[serde(flatten)]
    pub pass: PassStats,
    /// Share of right answers in the batch.
    pub accuracy: Option<f64>,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate.
    pub rate: f64,
    /// What the optimizer tells of the step.
    #[serde(skip_serializing_if = "Facts::is_empty")]
    pub optimizer: Facts,
    /// Seconds of the whole step.
    pub seconds: f64,
}

/// What the loop tells. `checkpoint` events ask the observer to write one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum TrainEvent {
    /// A step was done.
    Step(StepRecord),
    /// Validation at the end of an epoch.
    Validation {
        /// Steps done.
        step: u64,
        /// Epochs done.
        epoch: u64,
        /// Whether the loss is the best so far.
        best: bool,
        /// What was found.
        #[serde(flatten)]
        evaluation: Evaluation,
    },
    /// The state should be written now.
    Checkpoint {
        /// Steps done.
        step: u64,
    },
}

/// What the loop calls with every event.
pub type TrainObserver<'o, T> =
    dyn FnMut(&TrainEvent, &mut State<T>) -> Result<ControlFlow<()>, TrainError> + 'o;

/// Why training ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "stop", rename_all = "snake_case")]
pub enum TrainStop {
    /// All epochs are done.
    Finished,
    /// No better validation loss for `patience` validations.
    EarlyStop,
    /// The observer asked for it.
    Interrupted,
    /// A loss, gradient or parameter that is not finite, or a solver that gave up: the state is not to be used, the last checkpoint is.
    Failed {
        /// The step, counted from 1.
        step: u64,
        /// The epoch, counted from 1.
        epoch: u64,
        /// The batch within it, counted from 1.
        batch: u64,
        /// Indices of its samples.
        samples: Vec<usize>,
        /// What happened, and what to try.
        what: String,
    },
}

/// Trains from `state` on. The observer sees every event together with the state; its `Break` ends training after that step, and its error ends it at once.
pub fn train<T: Scalar, K: Task<T> + ?Sized>(
    task: &mut K,
    config: &TrainConfig,
    state: &mut State<T>,
    observer: &mut TrainObserver<'_, T>,
) -> Result<TrainStop, TrainError> {
    let n = task.samples();
    let size = config.batch.min(n);
    let per_epoch = n.div_ceil(size) as u64;
    let total = per_epoch.saturating_mul(config.epochs);
    let mut slope = Slope::new(state.params.values().len());
    if config.average.is_some() && state.average.is_none() {
        state.average = Some(state.params.values().to_vec());
    }
    let mut order: (u64, Vec<usize>) = (u64::MAX, vec![]);
    if state.step == 0 {
        // A checkpoint from the first moment: there is always one to go on from.
        let _ = observer(&TrainEvent::Checkpoint { step: 0 }, state)?;
    }
    while state.step < total {
        if exhausted(config, state) {
            return Ok(TrainStop::EarlyStop);
        }
        let begun = Instant::now();
        let (epoch, at) = (state.step / per_epoch, (state.step % per_epoch) as usize);
        if order.0 != epoch {
            order = (epoch, shuffled(n, config.seed, epoch));
        }
        let samples = &order.1[at * size..((at + 1) * size).min(n)];
        let now = Progress { step: state.step, epoch, epochs: config.epochs };
        let mut rng = generator(config.seed, Stream::Pass, state.step);
        let rate = config.rate.at(&now);
        let failed = |what: String| TrainStop::Failed {
            step: now.step + 1,
            epoch: epoch + 1,
            batch: at as u64 + 1,
            samples: samples.to_vec(),
            what,
        };
        let batch = Batch { samples, now, rate };
        let optimizer = &mut *state.optimizer;
        let result = slope.at(task, optimizer, config, state.params.values(), &batch, &mut rng);
        let Found { pass, accuracy, norm: gradient_norm } = match result {
            Err(TrainError::Solver { what }) => {
                return Ok(failed(format!("the solver did not reach the end: {what}; {TRY}")));
            }
            other => other?,
        };
        if !pass.loss.is_finite() || !gradient_norm.is_finite() {
            let (loss, data, penalties) = (pass.loss, pass.data_loss, &pass.penalties);
            return Ok(failed(format!(
                "the loss is {loss} (data {data}, penalties {penalties:?}), the gradient's norm {gradient_norm}; {TRY}"
            )));
        }
        state.optimizer.step(rate, state.params.values_mut(), &slope.direction);
        if let Some(i) = state.params.values().iter().position(|v| !v.is_finite()) {
            return Ok(failed(format!(
                "parameter {i} is {} after the step; {TRY}",
                state.params.values()[i]
            )));
        }
        state.step += 1;
        state.join_average(config.average);
        let seconds = begun.elapsed().as_secs_f64();
        let (step, epoch) = (state.step, epoch + 1);
        let mut optimizer = Facts::default();
        state.optimizer.facts(&mut optimizer);
        let record = StepRecord { step, epoch, pass, accuracy, gradient_norm, rate, optimizer, seconds };
        let mut flow = observer(&TrainEvent::Step(record), state)?;
        let epoch_ends = at as u64 + 1 == per_epoch;
        if epoch_ends && epoch.is_multiple_of(config.validate_every) && task.split_len(Split::Validation) > 0
        {
            let evaluation = match task.evaluate(state.weight_values(), Split::Validation) {
                Err(TrainError::Solver { what }) => {
                    let what = format!("validation: the solver did not reach the end: {what}; {TRY}");
                    return Ok(failed(what));
                }
                other => other?,
            };
            // A loss that is not a number is none to compare with.
            let loss = evaluation.loss;
            let best = !loss.is_nan() && state.best.is_none_or(|b| loss < b);
            if best {
                (state.best, state.since_best) = (Some(loss), 0);
            } else {
                state.since_best += 1;
            }
            let event = TrainEvent::Validation { step, epoch, best, evaluation };
            if observer(&event, state)?.is_break() {
                flow = ControlFlow::Break(());
            }
        }
        if step.is_multiple_of(config.checkpoint_every)
            || step == total
            || flow.is_break()
            || exhausted(config, state)
        {
            let _ = observer(&TrainEvent::Checkpoint { step }, state)?;
        }
        if flow.is_break() && step < total {
            return Ok(TrainStop::Interrupted);
        }
    }
    Ok(if exhausted(config, state) { TrainStop::EarlyStop } else { TrainStop::Finished })
}

const TRY: &str = "try a smaller learning rate, gradient clipping (train.clip), smaller penalty weights, or looser tolerances";

fn exhausted<T: Scalar>(config: &TrainConfig, state: &State<T>) -> bool {
    config.patience.is_some_and(|p| state.since_best >= p && state.best.is_some())
}
