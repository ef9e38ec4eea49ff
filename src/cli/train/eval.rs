//! `costate eval`: loss and cost of trained parameters.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use costate::linalg::Scalar;
use costate::train::config::Precision;
use costate::train::{Config, Split, State, TrainError, checkpoint};

use super::super::output::Output;
use super::super::{Failure, Outcome, SOLVED};
use super::scores::Scores;
use super::{RunArgs, in_precision, on_threads};

/// Which data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SplitArg {
    /// Those trained on
    Train,
    /// Kept aside to decide when to stop
    Validation,
    /// Kept aside
    Test,
}

/// Arguments of `eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Parameters [default: final.safetensors of the run's folder, or its checkpoint]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Which data
    #[arg(long, value_enum, default_value = "test")]
    split: SplitArg,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub fn run(args: &EvalArgs, out: &mut Output) -> Outcome {
    let config = args.run.load()?;
    let folder = args.run.folder();
    let split = match args.split {
        SplitArg::Train => Split::Train,
        SplitArg::Validation => Split::Validation,
        SplitArg::Test => Split::Test,
    };
    let candidates = [folder.join("final.safetensors"), folder.join("checkpoint.safetensors")];
    let weights = match &args.weights {
        Some(file) => file.clone(),
        None => candidates.iter().find(|c| c.exists()).cloned().ok_or_else(|| {
            Failure(format!(
                "{}: no trained parameters there; train first, or give --weights",
                folder.display()
            ))
        })?,
    };
    let base = args.run.base();
    let scores = in_precision!(&config, evaluate(&config, base, &weights, split))?;
    if args.json {
        out.line(format_args!("{}", serde_json::to_string(&scores)?));
    } else {
        out.line(format_args!("{}", scores.line()));
    }
    Ok(SOLVED)
}

fn evaluate<T: Scalar>(
    config: &Config,
    base: &Path,
    weights: &Path,
    split: Split,
) -> Result<Scores, TrainError> {
    let mut task = config.build::<T>(base)?;
    if task.split_len(split) == 0 {
        return Err(TrainError::config("the configuration has no data of this kind"));
    }
    let mut state = State::new(&*task, &config.optimizer, config.train.seed);
    checkpoint::read_weights(weights, &mut state.params)?;
    Ok(task.evaluate(state.params.values(), split)?.into())
}
