//! `costate optimize`: minimizes what a program prints.

mod config;
mod program;

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;

use costate::surrogate::campaign::{Campaign, Ended};

use super::output::Output;
use super::{Failure, Outcome, SOLVED, STOPPED, interrupt};
use config::Config;

const AFTER: &str = "The file: command (a list; {name} stands for the value of a variable), variables, and what to read from the output. Every key is in docs/methods.md.

Every proposal and every result is a line of the log before anything else happens: started again, also after kill -9, the command goes on where the log ends. Failures, time-outs and NaN are results like others.

Exit codes: 0 all evaluations done and a feasible point found, 1 interrupted or none found, 2 bad input, 3 internal error.";

/// Arguments of `optimize`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct OptimizeArgs {
    /// Configuration (TOML)
    config: PathBuf,
    /// Log of the search [default: the configuration's name with .jsonl]
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// In place of the configuration's number of evaluations
    #[arg(long, value_name = "N")]
    evaluations: Option<usize>,
    /// In place of the configuration's number of workers
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Print the best point as JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Print the best point only
    #[arg(long, short)]
    quiet: bool,
}

/// Runs `optimize`.
pub fn run(args: &OptimizeArgs, out: &mut Output) -> Outcome {
    let mut config = config::read(&args.config)?;
    config.evaluations = args.evaluations.unwrap_or(config.evaluations);
    config.workers = args.workers.unwrap_or(config.workers);
    let program = config.program(&args.config)?;
    let log = args.log.clone().unwrap_or_else(|| args.config.with_extension("jsonl"));
    let settings = config.settings();
    let mut campaign = Campaign::open(&log, config.space()?, config.options(), settings)?;
    let flag = interrupt::install()?;
    let shown = !args.json && !args.quiet;
    if shown && campaign.replayed() > 0 {
        out.line(format_args!("{} results in {}, going on", campaign.replayed(), log.display()));
    }
    let names: Vec<&str> = config.variables.iter().map(|v| v.name.as_str()).collect();
    let mut observer = |ended: &Ended<'_>| {
        if shown {
            out.line(format_args!("{}", row(ended, &names)));
            out.flush();
        }
    };
    campaign.run(
        &|x, give_up| program.evaluate(x, give_up),
        &|| flag.load(Ordering::Relaxed),
        &mut observer,
    )?;
    finish(args, &campaign, &names, flag.load(Ordering::Relaxed), out)
}

/// One line on an evaluation.
fn row(ended: &Ended<'_>, names: &[&str]) -> String {
    let point: Vec<String> = names.iter().zip(ended.x).map(|(n, x)| format!("{n} = {x:.6}")).collect();
    let what = match ended.result {
        Ok((f, c)) => {
            let violation = c.iter().fold(0.0_f64, |v, c| v.max(*c));
            if violation > 0.0 { format!("{f:.6e}, violation {violation:.2e}") } else { format!("{f:.6e}") }
        }
        Err(why) => format!("failed: {why}"),
    };
    let best = ended.best.map_or("none".into(), |b| format!("{b:.6e}"));
    format!("{:4}  {:.1} s  {what}  (best {best})  {}", ended.id, ended.seconds, point.join(", "))
}

fn finish(
    args: &OptimizeArgs,
    campaign: &Campaign,
    names: &[&str],
    interrupted: bool,
    out: &mut Output,
) -> Outcome {
    let trials = campaign.search().trials();
    let done = trials.len() - campaign.search().pending().len();
    let best = campaign.best();
    if args.json {
        let x = best.map(|(id, ..)| {
            let pairs = names.iter().zip(&trials[id].x).map(|(n, x)| (n.to_string(), serde_json::json!(x)));
            pairs.collect::<serde_json::Map<_, _>>()
        });
        let summary = serde_json::json!({
            "evaluations": done,
            "interrupted": interrupted,
            "objective": best.map(|b| b.1),
            "feasible": best.is_some_and(|b| b.2),
            "evaluation": best.map(|b| b.0),
            "x": x,
        });
        out.line(format_args!("{summary}"));
    } else {
        match best {
            None => out.line(format_args!("{done} evaluations, none gave a value")),
            Some((id, f, feasible)) => {
                let kind = if feasible { "best" } else { "none feasible; least violation" };
                out.line(format_args!("{done} evaluations; {kind}: {f} at evaluation {id}"));
                for (name, x) in names.iter().zip(&trials[id].x) {
                    out.line(format_args!("  {name} = {x}"));
                }
            }
        }
    }
    Ok(if !interrupted && best.is_some_and(|b| b.2) { SOLVED } else { STOPPED })
}

impl Config {
    fn program(&self, path: &std::path::Path) -> Result<program::Program, Failure> {
        let base = path.parent().unwrap_or(std::path::Path::new(""));
        program::Program::new(self, base).map_err(|what| Failure(format!("{}: {what}", path.display())))
    }
}
