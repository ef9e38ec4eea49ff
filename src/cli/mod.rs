//! The command: one file per subcommand.
//!
//! Exit codes: 0 solved (or nothing wrong), 1 stopped otherwise (or something found), 2 bad input with one sentence
//! on stderr, 3 an internal error (a bug: a panic that was caught).

mod ampl;
mod args;
mod bench;
mod check;
mod convert;
mod fit;
mod info;
mod interrupt;
mod load;
mod log;
mod nearest;
mod optimize;
mod output;
mod solve;
mod study;
mod summary;
mod sweep;
mod table;
mod train;

use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use output::Output;

/// Solved, or nothing wrong.
pub const SOLVED: u8 = 0;
/// The solver stopped for another reason, a check found something.
pub const STOPPED: u8 = 1;
/// The caller's mistake.
pub const BAD_INPUT: u8 = 2;
/// Our mistake.
pub const INTERNAL: u8 = 3;

/// Numerical optimization: reads CUTEst's SIF files and .nl models and solves them.
#[derive(Debug, Parser)]
#[command(
    name = "costate",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 solved, 1 stopped otherwise, 2 bad input, 3 internal error."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Solve a problem file
    Solve(solve::SolveArgs),
    /// Show what a problem file holds
    Info(info::InfoArgs),
    /// Check the derivatives of a problem file
    Check(check::CheckArgs),
    /// Write a problem file as an .nl model, for other solvers
    Convert(convert::ConvertArgs),
    /// Solve many problem files and compare
    Bench(Box<bench::BenchArgs>),
    /// Minimize what a program prints, in few runs of it
    Optimize(optimize::OptimizeArgs),
    /// Fit regressions with penalties and constraints to files of data
    Fit(fit::FitArgs),
    /// Train a neural differential equation
    Train(train::TrainArgs),
    /// Evaluate trained parameters
    Eval(train::EvalArgs),
    /// Predict a table with trained weights
    Predict(train::PredictArgs),
    /// Train all variants of a configuration with several seeds and compare
    Compare(train::CompareArgs),
    /// Train many configurations, end the hopeless ones early, and rank them
    Sweep(sweep::SweepArgs),
    /// Measure whether the claim of a paper holds at this scale
    Study(study::StudyArgs),
}

/// A mistake in the input, as one sentence.
#[derive(Debug)]
pub struct Failure(pub String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Result of a subcommand: its exit code.
pub type Outcome = Result<u8, Failure>;

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let place = remember_panics();
    let code = match catch_unwind(AssertUnwindSafe(parse_and_run)) {
        Ok(code) => code,
        Err(_) => {
            let what = place.lock().map(|p| p.clone()).unwrap_or_default();
            output::error(&format!("internal error, please report it: {what}"));
            INTERNAL
        }
    };
    ExitCode::from(code)
}

fn parse_and_run() -> u8 {
    let mut out = Output::stdout();
    let args: Vec<String> = std::env::args_os().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
    if ampl::is_asked(&args, &names) {
        let outcome = ampl::run(&args, &mut out);
        return finish(outcome, out);
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match cli.command {
        Command::Solve(args) => solve::run(&args, &mut out),
        Command::Info(args) => info::run(&args, &mut out),
        Command::Check(args) => check::run(&args, &mut out),
        Command::Convert(args) => convert::run(&args),
        Command::Bench(args) => bench::run(&args, &mut out),
        Command::Optimize(args) => optimize::run(&args, &mut out),
        Command::Fit(args) => fit::run(&args, &mut out),
        Command::Train(args) => train::run(&args, &mut out),
        Command::Eval(args) => train::eval(&args, &mut out),
        Command::Predict(args) => train::predict(&args, &mut out),
        Command::Compare(args) => train::compare(&args, &mut out),
        Command::Sweep(args) => sweep::run(&args, &mut out),
        Command::Study(args) => study::run(&args, &mut out),
    };
    finish(outcome, out)
}

/// The exit code, and the sentence of a mistake.
fn finish(outcome: Outcome, out: Output) -> u8 {
    let outcome = outcome.and_then(|code| out.finish().map(|()| code));
    outcome.unwrap_or_else(|Failure(what)| {
        output::error(&what);
        BAD_INPUT
    })
}

/// Help and version go to stdout; everything else is one sentence on stderr.
fn usage(error: &clap::Error) -> u8 {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let mut out = Output::stdout();
            if std::io::stdout().is_terminal() {
                out.print(format_args!("{}", text.ansi()));
            } else {
                out.print(format_args!("{text}"));
            }
            let _ = out.finish();
            SOLVED
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::error("no subcommand given, see 'costate --help'");
            BAD_INPUT
        }
        _ => {
            output::error(&one_sentence(&text.to_string()));
            BAD_INPUT
        }
    }
}

/// The paragraphs of a clap message on one line, without usage and pointer to the help.
fn one_sentence(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    let kept: Vec<String> = paragraphs
        .filter(|p| !p.is_empty() && !p.starts_with("Usage:") && !p.starts_with("For more information"))
        .collect();
    kept.join("; ")
}

/// Silences the default message of a panic and keeps where it happened.
fn remember_panics() -> Arc<Mutex<String>> {
    let place = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |info| {
        let payload = info.payload();
        let what = payload
            .downcast_ref::<&str>()
            .map(|s| s.to_string())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "panic".into());
        let at = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        if let Ok(mut kept) = kept.lock() {
            *kept = format!("{}{at}", what.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }));
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn clap_messages_become_one_sentence() {
        let error = Cli::try_parse_from(["costate", "solve", "--paramm", "N=1", "f"]).unwrap_err();
        let text = one_sentence(&error.render().to_string());
        assert!(text.starts_with("unexpected argument '--paramm' found"), "{text}");
        assert!(!text.contains('\n') && !text.contains("Usage"), "{text}");
    }
}
