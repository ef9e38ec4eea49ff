//! One trial: trained epoch by epoch, from its checkpoint on.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use costate::linalg::Scalar;
use costate::train::config::Precision;
use costate::train::{Config, Split, State, TrainError, TrainEvent, TrainStop, checkpoint, train};

use super::config::Sweep;
use crate::cli::train::run::fingerprint;
use crate::cli::train::{in_precision, on_threads};

/// What is to be done.
pub struct Order<'a> {
    pub sweep: &'a Sweep,
    pub config: &'a Config,
    /// Where relative paths of the configuration start.
    pub base: &'a Path,
    /// For the checkpoint and the weights.
    pub folder: &'a Path,
    /// Epochs to be done in all.
    pub target: u64,
    pub flag: &'a AtomicBool,
}

/// A finished epoch.
pub struct Epoch {
    /// Counted from 1.
    pub epoch: u64,
    /// The metric.
    pub value: f64,
    pub parameters: usize,
    pub seconds: f64,
}

/// Why training ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// The epochs are done.
    Done,
    /// No better validation for `train.patience` epochs.
    Patience,
    /// The callback said so.
    Broken,
    /// The process was asked to end.
    Interrupted,
    Failed(String),
}

/// The weights after the last epoch.
pub const LAST: &str = "last.safetensors";
/// Those of the best validation.
pub const BEST: &str = "best.safetensors";
const CHECKPOINT: &str = "checkpoint.safetensors";

/// Called after an epoch, before its checkpoint is written: what it logs is never behind the checkpoint.
pub type OnEpoch<'a> = dyn FnMut(&Epoch) -> Result<ControlFlow<()>, TrainError> + Send + 'a;

/// Trains up to `target` epochs; epochs done before are not told again.
pub fn advance(order: &Order<'_>, on_epoch: &mut OnEpoch<'_>) -> Result<Way, TrainError> {
    let config = order.config;
    in_precision!(config, run(order, on_epoch))
}

fn run<T: Scalar>(order: &Order<'_>, on_epoch: &mut OnEpoch<'_>) -> Result<Way, TrainError> {
    let (config, split) = (order.config, order.sweep.split());
    let failed = |e: TrainError| Ok(Way::Failed(e.to_string()));
    let mut task = match config.build::<T>(order.base) {
        Ok(task) => task,
        Err(e) => return failed(e),
    };
    let mut state = State::new(&*task, &config.optimizer, config.train.seed);
    let (file, print) = (order.folder.join(CHECKPOINT), fingerprint(config));
    std::fs::create_dir_all(order.folder)
        .map_err(|source| TrainError::Io { path: order.folder.display().to_string(), source })?;
    if file.exists() {
        checkpoint::read(&file, &mut state, &print)?;
    } else if let Some(start) = &config.train.start {
        checkpoint::read_values(&order.base.join(start), &mut state.params)?;
    }
    let size = config.train.batch.min(task.samples()).max(1);
    let per_epoch = task.samples().div_ceil(size) as u64;
    while state.step / per_epoch < order.target {
        let (begun, before) = (Instant::now(), state.step);
        let (mut found, mut better) = (None, true);
        let stop = train(&mut *task, &config.train, &mut state, &mut |event, _| {
            let whole = match event {
                TrainEvent::Validation { evaluation, best, .. } => {
                    (found, better) = (Some(evaluation.clone()), *best);
                    true
                }
                TrainEvent::Step(r) => r.step.is_multiple_of(per_epoch),
                TrainEvent::Checkpoint { .. } => false,
            };
            let stop = whole || order.flag.load(Ordering::Relaxed);
            Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        match stop {
            Ok(TrainStop::Failed { step, what, .. }) => {
                return Ok(Way::Failed(format!("step {step}: {what}")));
            }
            Ok(TrainStop::EarlyStop) if state.step == before => return Ok(Way::Patience),
            Ok(_) => {}
            Err(e) => return failed(e),
        }
        if !state.step.is_multiple_of(per_epoch) {
            return Ok(Way::Interrupted);
        }
        let evaluation = match found {
            Some(found) if split == Split::Validation => found,
            _ => match task.evaluate(state.weight_values(), split) {
                Ok(found) => found,
                Err(e) => return failed(e),
            },
        };
        let flow = on_epoch(&Epoch {
            epoch: state.step / per_epoch,
            value: order.sweep.metric(&evaluation).unwrap_or(f64::NAN),
            parameters: state.params.values().len(),
            seconds: begun.elapsed().as_secs_f64(),
        })?;
        state.weights().save(&order.folder.join(LAST))?;
        if better {
            state.weights().save(&order.folder.join(BEST))?;
        }
        checkpoint::write(&file, &mut state, &print)?;
        if flow.is_break() {
            return Ok(Way::Broken);
        }
        if order.flag.load(Ordering::Relaxed) {
            return Ok(Way::Interrupted);
        }
    }
    Ok(Way::Done)
}

/// That the data are there and the metric is one of the task's: what would fail in every trial alike.
pub fn rehearse(sweep: &Sweep, config: &Config, base: &Path) -> Result<(), TrainError> {
    in_precision!(config, rehearsed(sweep, config, base))
}

fn rehearsed<T: Scalar>(sweep: &Sweep, config: &Config, base: &Path) -> Result<(), TrainError> {
    let mut task = config.build::<T>(base)?;
    let split = sweep.split();
    if task.split_len(split) == 0 {
        return Err(TrainError::config(
            "sweep: there are no validation data to judge by: keep some aside (task.validation), or set sweep.split = \"train\"",
        ));
    }
    let state = State::<T>::new(&*task, &config.optimizer, config.train.seed);
    // A start that cannot be evaluated says nothing of the metric.
    let Ok(found) = task.evaluate(state.params.values(), split) else { return Ok(()) };
    if sweep.metric(&found).is_none() {
        let mut names = vec!["loss".to_string()];
        names.extend(found.accuracy.map(|_| "accuracy".into()));
        names.extend(found.metrics.into_keys());
        let what = format!("sweep.metric is {:?}, this task has {}", sweep.config.metric, names.join(", "));
        return Err(TrainError::config(what));
    }
    Ok(())
}
