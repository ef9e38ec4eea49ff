//! One run: folder, log, checkpoints, progress bar, summary.

use std::cell::RefCell;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use costate::linalg::Scalar;
use costate::train::config::{Keep, Precision};
use costate::train::{
    Config, Diagnosis, Plot, Split, State, Task, TrainError, TrainEvent, TrainStop, Watched, checkpoint,
    train,
};

use super::super::Failure;
use super::super::output::{self, Output};
use super::scores::Scores;
use super::{in_precision, log, on_threads, plots};

/// What is to be done.
pub struct Order<'a> {
    pub config: &'a Config,
    pub base: &'a Path,
    pub folder: &'a Path,
    pub resume: bool,
    /// The checkpoint may be of a run of other epochs.
    pub more: bool,
    pub quiet: bool,
    pub flag: &'a AtomicBool,
}

/// How it ended; `summary.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    #[serde(flatten)]
    pub stop: TrainStop,
    /// [`fingerprint`] of the configuration.
    pub config: String,
    pub steps: u64,
    /// Sum over the steps, of all parts of an interrupted run.
    pub train_seconds: f64,
    pub parameters: usize,
    pub train: Option<Scores>,
    pub test: Option<Scores>,
    /// What is wrong with a run that reached its end.
    pub note: Option<String>,
}

/// The last line of the log of a run that ended by `train.patience`.
#[derive(Debug, Serialize)]
struct EarlyStop {
    event: &'static str,
    step: u64,
    /// The best validation loss.
    best: Option<f64>,
    /// Validations since then.
    since_best: u64,
}

impl EarlyStop {
    fn of<T: Scalar>(state: &State<T>) -> Self {
        Self { event: log::EARLY_STOP, step: state.step, best: state.best, since_best: state.since_best }
    }
}

impl Summary {
    /// On stderr, however quiet the run is: why it failed, or what is wrong with its result.
    pub fn warn(&self) {
        if let TrainStop::Failed { step, epoch, batch, what, .. } = &self.stop {
            output::error(&format!("failed at step {step} (epoch {epoch}, batch {batch}): {what}"));
        }
        if let Some(note) = &self.note {
            output::warning(note);
        }
    }
    /// For people.
    pub fn print(&self, folder: &Path, out: &mut Output) {
        let how = match &self.stop {
            TrainStop::Finished => "finished",
            TrainStop::EarlyStop => "stopped early: no better validation loss",
            TrainStop::Interrupted => "interrupted; go on with --resume",
            TrainStop::Failed { .. } => "failed",
        };
        out.line(format_args!("{how}"));
        out.line(format_args!("{} steps in {:.2} s", self.steps, self.train_seconds));
        for (name, scores) in [("train", &self.train), ("test", &self.test)] {
            if let Some(s) = scores {
                out.line(format_args!("{name}: {}", s.line()));
            }
        }
        let lines = self.test.as_ref().map_or(vec![], Scores::confusion_lines);
        if !lines.is_empty() {
            out.line(format_args!("test, columns as predicted:"));
            lines.iter().for_each(|l| out.line(format_args!("{l}")));
        }
        out.line(format_args!("in {}", folder.display()));
    }
}

/// Identifies what must be the same for a run to go on: a hash of all but the epochs, a hyphen, the epochs.
pub fn fingerprint(config: &Config) -> String {
    let mut config = config.clone();
    let epochs = config.train.epochs;
    // These change no result.
    (config.train.threads, config.train.checkpoint_every, config.train.epochs) = (0, 1, 0);
    config.diagnose = None;
    config.variants.clear();
    let hash = checkpoint::fingerprint(&serde_json::to_string(&config).unwrap_or_default());
    format!("{hash}-{epochs}")
}

/// The fingerprint to ask a checkpoint for: with `more`, its own if it differs in the epochs only.
fn expected(file: &Path, print: &str, more: bool) -> Result<String, TrainError> {
    let hash = |p: &str| p.rsplit_once('-').map(|(hash, _)| hash.to_string());
    if more {
        let found = checkpoint::config(file)?;
        if hash(&found) == hash(print) {
            return Ok(found);
        }
    }
    Ok(print.into())
}

impl Order<'_> {
    /// Trains and evaluates.
    pub fn execute(&self) -> Result<Summary, Failure> {
        let path = self.folder.join("checkpoint.safetensors");
        let shown = path.display();
        if self.resume && !path.exists() {
            return Err(Failure(format!("{shown}: there is no checkpoint to go on from")));
        }
        if !self.resume && path.exists() {
            return Err(Failure(format!(
                "{shown} is there already: go on with --resume, or choose another folder with --out"
            )));
        }
        let config = self.config;
        Ok(in_precision!(config, execute(self))?)
    }
}

fn execute<T: Scalar>(order: &Order<'_>) -> Result<Summary, TrainError> {
    let config = order.config;
    let mut task = config.build::<T>(order.base)?;
    let mut state = State::new(&*task, &config.optimizer, config.train.seed);
    let (folder, print) = (order.folder, fingerprint(config));
    let file = folder.join("checkpoint.safetensors");
    fs::create_dir_all(folder)
        .map_err(|source| TrainError::Io { path: folder.display().to_string(), source })?;
    if order.resume {
        checkpoint::read(&file, &mut state, &expected(&file, &print, order.more)?)?;
    } else if let Some(start) = &config.train.start {
        checkpoint::read_values(&order.base.join(start), &mut state.params)?;
    }
    if config.train.keep == Keep::Best && task.split_len(Split::Validation) == 0 {
        return Err(TrainError::config("train.keep is \"best\", but there are no validation data to tell"));
    }
    let log_path = folder.join("log.jsonl");
    let log = RefCell::new(log::Log::open(&log_path, order.resume.then_some(state.step))?);
    let bar = progress(order, &*task, &state);
    let mut unwritten = None;
    let mut sink = |d: &Diagnosis| unwritten = unwritten.take().or(log.borrow_mut().event(d).err());
    let mut watched;
    let run: &mut dyn Task<T> = match &config.diagnose {
        Some(d) => {
            let of = (config.train.rate, config.train.seed);
            watched = Watched::new(&mut *task, d, of, &mut sink);
            &mut watched
        }
        None => &mut *task,
    };
    let stop = train(run, &config.train, &mut state, &mut |event, state| {
        match event {
            TrainEvent::Checkpoint { .. } => checkpoint::write(&file, state, &print)?,
            TrainEvent::Step(r) => {
                log.borrow_mut().event(event)?;
                bar.set_position(r.step);
                bar.set_message(format!("loss {:.4e}, {} evaluations", r.pass.loss, r.pass.nfe));
            }
            TrainEvent::Validation { best, .. } => {
                log.borrow_mut().event(event)?;
                if *best {
                    state.weights().save(&folder.join("best.safetensors"))?;
                }
            }
        }
        let stop = order.flag.load(Ordering::Relaxed);
        Ok(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    bar.finish_and_clear();
    if let Some(e) = unwritten {
        return Err(e);
    }
    if stop == TrainStop::EarlyStop {
        log.borrow_mut().event(&EarlyStop::of(&state))?;
    }
    finish(order, &mut *task, &mut state, stop)
}

/// Evaluates, writes weights, summary and plots.
fn finish<T: Scalar>(
    order: &Order<'_>,
    task: &mut dyn Task<T>,
    state: &mut State<T>,
    stop: TrainStop,
) -> Result<Summary, TrainError> {
    let folder = order.folder;
    let rows = log::read(&folder.join("log.jsonl"))?;
    let seconds = |r: &(serde_json::Value, String)| {
        if r.0["event"] == "step" { r.0["seconds"].as_f64().unwrap_or(0.0) } else { 0.0 }
    };
    let mut summary = Summary {
        config: fingerprint(order.config),
        steps: state.step,
        // An empty sum is -0.
        train_seconds: 0.0 + rows.iter().map(seconds).sum::<f64>(),
        parameters: state.params.values().len(),
        train: None,
        test: None,
        note: None,
        stop,
    };
    let done = matches!(summary.stop, TrainStop::Finished | TrainStop::EarlyStop);
    if done {
        let best = folder.join("best.safetensors");
        let mut weights = state.weights();
        let wanted = summary.stop == TrainStop::EarlyStop || order.config.train.keep == Keep::Best;
        if wanted && best.exists() {
            weights.load(&best, &[])?;
        }
        weights.save(&folder.join("final.safetensors"))?;
        let p = weights.values().to_vec();
        // What was trained stays, even if it cannot be evaluated.
        match evaluate(task, &p) {
            Ok((train, test, fit)) => {
                summary.note = useless(&train, test.as_ref());
                if let Some(confusion) = test.as_ref().and_then(|t| t.confusion.as_ref()) {
                    plots::confusion(folder, confusion)?;
                }
                (summary.train, summary.test) = (Some(train), test);
                plots::fit(folder, &fit)?;
            }
            Err(TrainError::Solver { what }) => {
                summary.stop = unusable(order.config, state.step, task, &what)
            }
            Err(other) => return Err(other),
        }
    }
    let other = order.config.task.validates_by_another_loss();
    plots::curves(folder, &rows, summary.test.as_ref().map(|s| (state.step, s)), other)?;
    let path = folder.join("summary.json");
    let text = serde_json::to_string_pretty(&summary).unwrap_or_default() + "\n";
    checkpoint::write_file(&path, text.as_bytes())?;
    Ok(summary)
}

/// Scores on the data trained on and on the test data, if there are any, and the fit.
type Found = (Scores, Option<Scores>, Vec<Plot>);

fn evaluate<T: Scalar>(task: &mut dyn Task<T>, p: &[T]) -> Result<Found, TrainError> {
    let train = task.evaluate(p, Split::Train)?.into();
    let tested = task.split_len(Split::Test) > 0;
    let test = if tested { Some(task.evaluate(p, Split::Test)?.into()) } else { None };
    Ok((train, test, task.fit(p)?))
}

/// What to say of weights whose loss is not a number, or infinite.
fn useless(train: &Scores, test: Option<&Scores>) -> Option<String> {
    let all = test.map(|t| ("test", t)).into_iter().chain([("training", train)]);
    let (name, scores) = all.into_iter().find(|s| !s.1.loss.is_finite())?;
    Some(format!(
        "the loss on the {name} data is {}: these weights are of no use; try a smaller learning rate or gradient clipping (train.clip)",
        scores.loss
    ))
}

/// The end of a run whose last step left parameters that cannot be evaluated.
fn unusable<T: Scalar>(config: &Config, step: u64, task: &dyn Task<T>, what: &str) -> TrainStop {
    let per_epoch = per_epoch(config, task);
    TrainStop::Failed {
        step,
        epoch: step.div_ceil(per_epoch),
        batch: step.saturating_sub(1) % per_epoch + 1,
        samples: vec![],
        what: format!(
            "training is over, but the evaluation failed: the solver did not reach the end: {what}; try a smaller learning rate, gradient clipping (train.clip), or looser tolerances"
        ),
    }
}

/// Steps an epoch.
fn per_epoch<T: Scalar>(config: &Config, task: &dyn Task<T>) -> u64 {
    task.samples().div_ceil(config.train.batch.min(task.samples()).max(1)) as u64
}

fn progress<T: Scalar>(order: &Order<'_>, task: &dyn Task<T>, state: &State<T>) -> ProgressBar {
    if order.quiet {
        return ProgressBar::hidden();
    }
    let all = per_epoch(order.config, task).saturating_mul(order.config.train.epochs);
    let bar = ProgressBar::new(all).with_position(state.step);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} (left {eta}) {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}
