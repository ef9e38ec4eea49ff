//! `costate predict`: a table's predictions by trained weights.

use std::path::{Path, PathBuf};

use clap::Args;

use costate::train::supervised::{Predictions, Values};
use costate::train::{checkpoint, predict};

use super::super::output::Output;
use super::super::{Failure, Outcome, SOLVED};

const AFTER: &str = "The weights hold all that is needed: how columns become numbers, the names of the classes, the network. The columns are found by their names; others are not looked at, and the target need not be there.

Written are the target by its name, row by row in the order of the input; for classes also the probability of each (target=class), for the Gaussian loss the deviation, for quantiles each of them.

Of series (kind = \"series\") the table has the times, the names of the series, and the states of the first row of each series, where its solution starts; other cells may be empty. Written are the states at all times.

Exit codes: 0 written, 1 the solver did not reach the end, 2 bad input, 3 internal error.";

/// Arguments of `predict`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct PredictArgs {
    /// Configuration, folder of a run, or file of weights
    of: PathBuf,
    /// Table to predict: CSV with a header, or LIBSVM text
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where to write the predictions (CSV)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl PredictArgs {
    /// The file of weights.
    fn weights(&self) -> Result<PathBuf, Failure> {
        if self.of.extension().is_some_and(|e| e == "safetensors") {
            return Ok(self.of.clone());
        }
        let stem = self.of.file_stem().unwrap_or_default();
        let folder = if self.of.is_dir() { self.of.clone() } else { Path::new("runs").join(stem) };
        let names = ["final.safetensors", "checkpoint.safetensors"];
        names.map(|n| folder.join(n)).into_iter().find(|f| f.exists()).ok_or_else(|| {
            Failure(format!(
                "{}: no trained weights there; train first, or name a run's folder",
                folder.display()
            ))
        })
    }
}

/// Runs the subcommand.
pub fn run(args: &PredictArgs, out: &mut Output) -> Outcome {
    let found = predict(&args.weights()?, &args.input)?;
    checkpoint::write_file(&args.out, &written(&found)?)?;
    let rows = found.columns.first().map_or(0, |(_, v)| v.len());
    out.line(format_args!("{rows} rows in {}", args.out.display()));
    Ok(SOLVED)
}

/// As CSV.
fn written(of: &Predictions) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::Writer::from_writer(vec![]);
    writer.write_record(of.columns.iter().map(|(name, _)| name))?;
    for row in 0..of.columns.first().map_or(0, |(_, v)| v.len()) {
        writer.write_record(of.columns.iter().map(|(_, values)| match values {
            Values::Numbers(v) => v[row].to_string(),
            Values::Texts(v) => v[row].clone(),
        }))?;
    }
    Ok(writer.into_inner()?)
}
