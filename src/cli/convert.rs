//! `costate convert`: a problem file as an .nl model.

use std::path::PathBuf;

use clap::Args;

use costate::nl::{self, NlFormat};

use super::args::ProblemArgs;
use super::load::load;
use super::output;
use super::{Outcome, SOLVED};

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    #[command(flatten)]
    problem: ProblemArgs,
    /// The model; the names go into files with the endings .row and .col beside it
    #[arg(value_name = "MODEL.nl")]
    output: PathBuf,
    /// Write numbers as bytes of this machine instead of text
    #[arg(long)]
    binary: bool,
}

/// Runs the subcommand.
pub fn run(args: &ConvertArgs) -> Outcome {
    let loaded = load(&args.problem.file, &args.problem.read.options())?;
    loaded.warnings().iter().for_each(|w| output::warning(w));
    let format = if args.binary { NlFormat::Binary } else { NlFormat::Text };
    nl::write(loaded.expressible(), format)?.write(&args.output)?;
    Ok(SOLVED)
}
