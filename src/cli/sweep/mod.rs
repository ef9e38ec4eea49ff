//! `costate sweep`: many configurations of one training, in a folder.

mod config;
mod engine;
mod journal;
mod plot;
mod report;
mod trial;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use clap::Args;

use super::output::Output;
use super::{Failure, Outcome, SOLVED, STOPPED, interrupt};
use config::Sweep;
use engine::{Engine, Place, Trial};

const AFTER: &str = "The file is a training configuration with a section [sweep] and one [[sweep.variable]] for each key that varies; every key is in docs/sweep.md.

In the folder: sweep.jsonl (one line an epoch), table.csv, parallel.svg, best.toml (the best configuration, for costate train) and best.safetensors (its weights), trials (checkpoints of those under way).

Started again, also after kill -9, a sweep goes on where its log ends, with the same bits as if it had never been stopped. Results do not depend on --jobs.

Exit codes: 0 all trials are over and one has a result, 1 interrupted or none has, 2 bad input, 3 internal error.";

/// Arguments of `sweep`.
#[derive(Debug, Args)]
#[command(after_help = AFTER)]
pub struct SweepArgs {
    /// Training configuration (TOML) with a section [sweep]
    config: PathBuf,
    /// Folder of the sweep [default: sweeps/NAME of the configuration]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// In place of the configuration's number of trials
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    budget: Option<u64>,
    /// In place of the configuration's stop_early: end a run once it will not be the best with this probability (published: 0.95, 0.99)
    #[arg(long, value_name = "DELTA")]
    stop_early: Option<f64>,
    /// Trials side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    jobs: u64,
    /// Print the best trial as JSON and nothing else
    #[arg(long)]
    json: bool,
    /// Print the best trial only
    #[arg(long, short)]
    quiet: bool,
}

/// Runs `sweep`.
pub fn run(args: &SweepArgs, out: &mut Output) -> Outcome {
    let mut sweep = Sweep::read(&args.config)?;
    let wrong = |what: String| Failure(format!("{}: {what}", args.config.display()));
    if let Some(trials) = args.budget {
        sweep.config.trials = Some(trials as usize);
    }
    if let Some(delta) = args.stop_early {
        sweep.config.stop_early = Some(delta);
        if !(0.0..=1.0).contains(&delta) {
            return Err(Failure(format!("--stop-early is {delta}, it must be from 0 to 1")));
        }
    }
    let base = args.config.parent().unwrap_or(Path::new(""));
    let stem = args.config.file_stem().unwrap_or_default();
    let root = args.out.clone().unwrap_or_else(|| Path::new("sweeps").join(stem));
    let lowest: Vec<f64> = sweep.space.variables().iter().map(|v| v.lower).collect();
    let first = sweep.at(&lowest).map_err(wrong)?;
    trial::rehearse(&sweep, &first, base).map_err(|e| wrong(e.to_string()))?;
    let flag = interrupt::install()?;
    let place = Place { base, root: &root, jobs: args.jobs as usize, flag: &flag };
    let mut engine = Engine::open(&sweep, place)?;
    let shown = !args.json && !args.quiet;
    if shown && !engine.trials.is_empty() {
        let (over, begun) = (engine.replayed, engine.trials.len() - engine.replayed);
        out.line(format_args!("{}: {over} trials over, {begun} begun, going on", root.display()));
        out.flush();
    }
    let screen = Mutex::new(&mut *out);
    let total = sweep.trials();
    engine.run(&|k, trial| {
        if let Ok(mut out) = screen.lock()
            && shown
        {
            out.line(format_args!("{}", row(&sweep, k, total, trial)));
            out.flush();
        }
    })?;
    let interrupted = flag.load(Ordering::Relaxed);
    report::write(&sweep, &engine, &root)?;
    plot::parallel(&sweep, &engine, &root.join("parallel.svg"))?;
    report::print(&sweep, &engine, &root, (args.json, args.quiet, interrupted), out)?;
    Ok(if !interrupted && engine.best().is_some() { SOLVED } else { STOPPED })
}

/// One line on a trial that is over.
fn row(sweep: &Sweep, k: usize, total: usize, trial: &Trial) -> String {
    let point = sweep.variables.iter().zip(&trial.point);
    let point: Vec<String> =
        point.map(|(v, x)| format!("{} = {}", v.name, report::short(&v.value(*x)))).collect();
    let end = trial.end.as_ref().map_or("", |e| e.name());
    let value = trial.values.last().map_or("-".into(), |v| format!("{v:.4e}"));
    let digits = total.to_string().len();
    let epochs = trial.values.len();
    format!("{k:>digits$}  {end:<8} {epochs:>5} epochs  {value}  {}", point.join(", "))
}
