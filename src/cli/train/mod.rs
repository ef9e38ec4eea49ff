//! `costate train`, `costate eval`, `costate predict`, `costate compare`.

mod compare;
pub mod config;
mod eval;
mod find;
mod folds;
mod log;
pub mod plots;
mod predict;
pub mod run;
mod scores;

use std::path::{Path, PathBuf};

use clap::Args;

use costate::train::config::TaskConfig;
use costate::train::{Config, TrainError, TrainStop};

use super::output::Output;
use super::{Outcome, SOLVED, STOPPED, interrupt};

pub use compare::{CompareArgs, run as compare};
pub use eval::{EvalArgs, run as eval};
pub use predict::{PredictArgs, run as predict};

const AFTER: &str = "In the folder: log.jsonl (one line a step), checkpoint.safetensors (replaced atomically), best.safetensors (with validation data), final.safetensors, summary.json, and plots as SVG: loss, evaluations (nfe), mean step size, seconds, the fit of series, predicted against true values, the confusion matrix.

All keys of a configuration and their defaults: docs/training-config.md. Examples: examples/train.

Exit codes: 0 finished or stopped early, 1 interrupted or failed (a loss that is not finite), 2 bad input, 3 internal error.";

/// Arguments that say which run is meant.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Configuration (TOML)
    pub config: PathBuf,
    /// Folder of the run [default: runs/NAME of the configuration, with the variant]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// With the penalties and STEER of this variant of the configuration
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Folder of the data files, in place of the configuration's `folder`
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// In place of the configuration's seed
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl RunArgs {
    /// The configuration asked for.
    fn load(&self) -> Result<Config, super::Failure> {
        let mut config = config::read(&self.config)?;
        if let Some(name) = &self.variant {
            config = config.with_variant(name)?;
        }
        if let Some(seed) = self.seed {
            config.train.seed = seed;
        }
        if let Some(data) = &self.data {
            set_folder(&mut config.task, data)?;
        }
        Ok(config)
    }
    /// Where relative data folders start.
    fn base(&self) -> &Path {
        self.config.parent().unwrap_or(Path::new(""))
    }
    /// The folder of the run.
    fn folder(&self) -> PathBuf {
        if let Some(out) = &self.out {
            return out.clone();
        }
        let mut name = self.config.file_stem().unwrap_or_default().to_os_string();
        if let Some(variant) = &self.variant {
            name.push(format!("-{}", slug(variant)));
        }
        Path::new("runs").join(name)
    }
}

/// Puts a folder, named from where the command runs, in place of the task's.
pub(super) fn set_folder(task: &mut TaskConfig, data: &Path) -> Result<(), super::Failure> {
    let Some(folder) = task.folder() else {
        return Err(super::Failure("--data: this task reads no folder of data files".into()));
    };
    let found = data.canonicalize().map_err(|e| super::Failure(format!("--data {}: {e}", data.display())))?;
    *folder = Some(found.display().to_string());
    Ok(())
}

/// A name as part of a path.
fn slug(name: &str) -> String {
    let keep = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    name.chars().map(keep).collect()
}

/// Arguments of `train`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct TrainArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Go on from the folder's checkpoint
    #[arg(long)]
    resume: bool,
    /// In place of the configuration's epochs; with --resume, how many there are to be in all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    epochs: Option<u64>,
    /// Train K times, each time with another K-th of the table's rows for tests: mean and deviation of their scores. Runs that are there are kept, unfinished ones go on
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(2..=1000), conflicts_with_all = ["resume", "quiet", "find_rate"])]
    folds: Option<u64>,
    /// Search for a learning rate: a short run in which it grows, with rate.svg and rate.csv in the folder
    #[arg(long, conflicts_with = "resume")]
    find_rate: bool,
    /// No progress bar and no summary; why a run failed is said on stderr all the same
    #[arg(long, short)]
    quiet: bool,
}

/// Runs `train`.
pub fn run(args: &TrainArgs, out: &mut Output) -> Outcome {
    let mut config = args.run.load()?;
    if let Some(epochs) = args.epochs {
        config.train.epochs = epochs;
    }
    if args.find_rate {
        return find::run(&config, args.run.base(), &args.run.folder(), out);
    }
    let flag = interrupt::install()?;
    if let Some(folds) = args.folds {
        return folds::run(&config, args.run.base(), &args.run.folder(), folds as usize, &flag, out);
    }
    let order = run::Order {
        config: &config,
        base: args.run.base(),
        folder: &args.run.folder(),
        resume: args.resume,
        more: args.epochs.is_some(),
        quiet: args.quiet,
        flag: &flag,
    };
    let summary = order.execute()?;
    summary.warn();
    if !args.quiet {
        summary.print(order.folder, out);
    }
    Ok(match summary.stop {
        TrainStop::Finished | TrainStop::EarlyStop => SOLVED,
        TrainStop::Interrupted | TrainStop::Failed { .. } => STOPPED,
    })
}

/// Calls `f` in the precision of the configuration, on its threads.
macro_rules! in_precision {
    ($config:expr, $f:ident ( $($arg:expr),* )) => {
        match $config.train.precision {
            Precision::F32 => on_threads($config, || $f::<f32>($($arg),*))?,
            Precision::F64 => on_threads($config, || $f::<f64>($($arg),*))?,
        }
    };
}
pub(super) use in_precision;

pub(super) fn on_threads<R: Send>(config: &Config, f: impl FnOnce() -> R + Send) -> Result<R, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(config.train.threads).build();
    let pool = pool.map_err(|e| TrainError::config(format!("cannot start threads: {e}")))?;
    Ok(pool.install(f))
}
