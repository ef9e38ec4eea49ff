//! `costate fit`: regressions with penalties and constraints on files of data, one table.

use std::path::{Path, PathBuf};

use clap::Args;

use costate::observe::StopToken;
use costate::regression::config::{Config, Row};

use super::output::Output;
use super::{Failure, Outcome, SOLVED, STOPPED, interrupt};

const AFTER: &str = "The file: data (a list of LIBSVM or CSV files, packed or not), family, and the tables columns, penalty, constraints, solver. Every key is in docs/large-data.md.

Exit codes: 0 every fit is a KKT point within the tolerance, 1 one is not or it was interrupted, 2 bad input, 3 internal error.";

/// Arguments of `fit`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct FitArgs {
    /// Configuration (TOML)
    config: PathBuf,
    /// Folder of the data [default: that of the configuration]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// Print the coefficients too
    #[arg(long)]
    coefficients: bool,
    /// Print one JSON object a row and nothing else
    #[arg(long)]
    json: bool,
}

/// Runs `fit`.
pub fn run(args: &FitArgs, out: &mut Output) -> Outcome {
    let shown = args.config.display();
    let text = std::fs::read_to_string(&args.config).map_err(|e| Failure(format!("{shown}: {e}")))?;
    let config: Config = toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |s| 1 + text[..s.start.min(text.len())].matches('\n').count());
        Failure(format!("{shown}: line {line}: {}", e.message()))
    })?;
    let own = args.config.parent().unwrap_or(Path::new(""));
    let base = args.data.as_deref().unwrap_or(own);
    let stop = StopToken { flag: Some(interrupt::install()?), deadline: None };
    if !args.json {
        out.line(format_args!("{}", Row::HEADING));
    }
    let rows = config.run(base, &stop, &mut |row| {
        if args.json {
            out.line(format_args!("{}", row.json()));
        } else {
            out.line(format_args!("{}", row.line()));
            if args.coefficients {
                row.coefficients().iter().for_each(|line| out.line(format_args!("  {line}")));
            }
        }
        out.flush();
    })?;
    let done = rows.iter().all(Row::solved) && stop.check().is_none();
    Ok(if done { SOLVED } else { STOPPED })
}
