//! `costate check`: derivatives of a problem file against differences.

use clap::Args;

use costate::nlp::check::{CheckOptions, CheckReport, check_derivatives};

use super::args::ProblemArgs;
use super::load::load;
use super::output::{self, Output};
use super::{Outcome, SOLVED, STOPPED};

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 all agree, 1 entries disagree or nothing could be evaluated, 2 bad input."
)]
pub struct CheckArgs {
    #[command(flatten)]
    problem: ProblemArgs,
    /// Points: the start point and random ones near it
    #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    points: u32,
    /// Seed of the random points
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Relative difference from which an entry disagrees
    #[arg(long, value_name = "TOL", default_value_t = CheckOptions::default().tolerance)]
    tol: f64,
    /// Columns compared one by one; more variables than this: a random subset
    #[arg(long, value_name = "K", default_value_t = CheckOptions::default().max_columns)]
    columns: usize,
}

/// Runs the subcommand.
pub fn run(args: &CheckArgs, out: &mut Output) -> Outcome {
    let mut loaded = load(&args.problem.file, &args.problem.read.options())?;
    loaded.warnings().iter().for_each(|w| output::warning(w));
    let nlp = loaded.nlp();
    let options = CheckOptions {
        points: args.points as usize,
        seed: args.seed,
        tolerance: args.tol,
        max_columns: args.columns,
        ..CheckOptions::default()
    };
    let x0 = nlp.meta().x0.clone();
    let report = check_derivatives(nlp, &x0, &options);
    print(out, &nlp.meta().name, nlp.meta().n(), &report);
    Ok(if report.passed() { SOLVED } else { STOPPED })
}

fn print(out: &mut Output, name: &str, n: usize, report: &CheckReport) {
    out.line(format_args!("{name}: {} of {n} columns at {} points", report.columns, report.points));
    for skipped in &report.skipped {
        out.line(format_args!("left out: {skipped}"));
    }
    out.line(format_args!(
        "{:<36} {:>9} {:>9} {:>9} {:>9}",
        "", "compared", "disagree", "undecided", "worst"
    ));
    for tally in &report.tallies {
        out.line(format_args!(
            "{:<36} {:>9} {:>9} {:>9} {:>9.1e}",
            tally.quantity.as_str(),
            tally.compared,
            tally.disagreeing,
            tally.undecided,
            tally.worst
        ));
    }
    for found in &report.disagreements {
        out.line(format_args!("point {}: {found}", found.point));
    }
    let hidden = report.disagreeing() - report.disagreements.len();
    if hidden > 0 {
        out.line(format_args!("and {hidden} more"));
    }
}
