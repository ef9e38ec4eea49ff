//! `costate compare`: all variants of a configuration, several seeds, one table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use costate::train::{Config, TrainStop, checkpoint};

use super::super::output::{self, Output};
use super::super::{Failure, Outcome, SOLVED, STOPPED, interrupt};
use super::run::{Order, fingerprint};
use super::scores::Scores;
use super::{config, set_folder, slug};

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Configuration (TOML) with variants
    config: PathBuf,
    /// Seeds: the configuration's and those after it
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Only these variants, the first is what the others are compared with
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    variants: Vec<String>,
    /// Folder of the runs; runs that are there are kept, unfinished ones go on [default: runs/NAME of the configuration]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of the data files, in place of the configuration's `folder`
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write the table here too (Markdown)
    #[arg(long, value_name = "FILE.md")]
    table: Option<PathBuf>,
}

/// What is read back of a finished run.
#[derive(Debug, Deserialize)]
pub(super) struct Done {
    pub stop: String,
    config: Option<String>,
    steps: u64,
    train_seconds: f64,
    train: Option<Scores>,
    pub test: Option<Scores>,
}

/// Runs the subcommand.
pub fn run(args: &CompareArgs, out: &mut Output) -> Outcome {
    let mut config = config::read(&args.config)?;
    if let Some(data) = &args.data {
        set_folder(&mut config.task, data)?;
    }
    let names = match &args.variants[..] {
        [] => config.variants.iter().map(|v| v.name.clone()).collect(),
        some => some.to_vec(),
    };
    if names.is_empty() {
        return Err(Failure(format!("{}: there is no [[variant]] to compare", args.config.display())));
    }
    let stem = args.config.file_stem().unwrap_or_default();
    let root = args.out.clone().unwrap_or_else(|| Path::new("runs").join(stem));
    let base = args.config.parent().unwrap_or(Path::new(""));
    let flag = interrupt::install()?;
    let mut rows = vec![];
    for name in &names {
        let mut runs = vec![];
        for k in 0..args.seeds {
            let mut one = config.with_variant(name)?;
            one.train.seed += k;
            let folder = root.join(slug(name)).join(format!("seed-{}", one.train.seed));
            let Some(done) = execute(&one, base, &folder, &flag)? else { return Ok(STOPPED) };
            if done.test.is_none() {
                output::warning(&format!("{}: the run ended with {}", folder.display(), done.stop));
            }
            runs.push(done);
        }
        rows.push((name.as_str(), runs));
    }
    let text = table(&config, &args.config, args.seeds, &rows);
    out.print(format_args!("{text}"));
    if let Some(path) = &args.table {
        checkpoint::write_file(path, text.as_bytes())?;
    }
    let complete = rows.iter().all(|(_, runs)| runs.iter().all(|r| r.test.is_some()));
    Ok(if complete { SOLVED } else { STOPPED })
}

/// The run's summary, from its folder or by running it; nothing if interrupted.
pub(super) fn execute(
    config: &Config,
    base: &Path,
    folder: &Path,
    flag: &std::sync::atomic::AtomicBool,
) -> Result<Option<Done>, Failure> {
    let summary = folder.join("summary.json");
    let read = || -> Option<Done> { serde_json::from_str(&std::fs::read_to_string(&summary).ok()?).ok() };
    if let Some(done) = read().filter(|d| d.stop != "interrupted") {
        if done.config.as_ref().is_some_and(|c| *c != fingerprint(config)) {
            let what = "this run had another configuration; remove it, or choose another folder with --out";
            return Err(Failure(format!("{}: {what}", folder.display())));
        }
        return Ok(Some(done));
    }
    let resume = folder.join("checkpoint.safetensors").exists();
    eprintln!("{}", folder.display());
    let order = Order { config, base, folder, resume, more: false, quiet: false, flag };
    let ended = order.execute()?;
    ended.warn();
    if ended.stop == TrainStop::Interrupted {
        return Ok(None);
    }
    read().map(Some).ok_or_else(|| Failure(format!("{}: cannot be read back", summary.display())))
}

/// Mean and standard deviation (of the sample).
pub(super) fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, variance.sqrt())
}

/// A number of a finished run.
type Read = fn(&Done) -> Option<f64>;

/// A column: what it is called, how it is read and written.
struct Column {
    name: &'static str,
    get: Read,
    show: fn(f64) -> String,
    /// Whether its ratio to the first variant is shown.
    ratio: bool,
}

fn columns(classified: bool) -> Vec<Column> {
    let loss = |v| format!("{v:.3e}");
    let percent = |v| format!("{:.2}", 100.0 * v);
    let (train, test): (Read, Read) = if classified {
        (|d| d.train.as_ref()?.accuracy, |d| d.test.as_ref()?.accuracy)
    } else {
        (|d| Some(d.train.as_ref()?.loss), |d| Some(d.test.as_ref()?.loss))
    };
    let (a, b, show): (_, _, fn(f64) -> String) =
        if classified { ("train acc. %", "test acc. %", percent) } else { ("train loss", "test loss", loss) };
    vec![
        Column { name: a, get: train, show, ratio: false },
        Column { name: b, get: test, show, ratio: false },
        Column { name: "NFE", get: |d| Some(d.test.as_ref()?.nfe), show: |v| format!("{v:.1}"), ratio: true },
        Column {
            name: "prediction ms",
            get: |d| Some(1e3 * d.test.as_ref()?.predict_seconds),
            show: |v| format!("{v:.3}"),
            ratio: true,
        },
        Column {
            name: "training s",
            get: |d| Some(d.train_seconds),
            show: |v| format!("{v:.2}"),
            ratio: true,
        },
    ]
}

fn method(config: &Config) -> &str {
    let default = if config.task.is_stochastic() { "sosri" } else { "tsit54" };
    config.solver.method.as_deref().unwrap_or(default)
}

/// Markdown: mean +- standard deviation over the seeds, ratios of means to the first variant.
fn table(config: &Config, path: &Path, seeds: u64, rows: &[(&str, Vec<Done>)]) -> String {
    let classified =
        rows.iter().flat_map(|(_, r)| r).any(|d| d.test.as_ref().is_some_and(|t| t.accuracy.is_some()));
    let columns = columns(classified);
    let mut text = String::new();
    let (rtol, atol) = config.solver.tolerances(config.task.is_stochastic());
    let steps = rows.first().and_then(|r| r.1.first()).map_or(0, |d| d.steps);
    let _ = writeln!(
        text,
        "`costate compare {}`: {} epochs ({steps} steps), {}, {} at rtol {:e}, atol {:e}, {:?}; {seeds} seed{} from {}: mean +- sample standard deviation, in brackets the ratio to the first row. NFE and prediction on the test split, a batch. {} processors.\n",
        path.display(),
        config.train.epochs,
        config.task.step(config),
        method(config),
        rtol,
        atol,
        config.train.precision,
        if seeds == 1 { "" } else { "s" },
        config.train.seed,
        std::thread::available_parallelism().map_or(1, |n| n.get()),
    );
    let names: Vec<_> = columns.iter().map(|c| c.name).collect();
    let _ = writeln!(text, "| variant | {} |\n|---|{}", names.join(" | "), "---|".repeat(columns.len()));
    for (name, runs) in rows {
        let _ = write!(text, "| {name} |");
        for c in &columns {
            let of = |runs: &[Done]| runs.iter().filter_map(c.get).collect::<Vec<f64>>();
            let (values, first) = (of(runs), of(&rows[0].1));
            if values.is_empty() {
                let _ = write!(text, " failed |");
                continue;
            }
            let (mean, deviation) = moments(&values);
            let _ = write!(text, " {} +- {}", (c.show)(mean), (c.show)(deviation));
            if c.ratio && !first.is_empty() {
                let _ = write!(text, " ({:.2})", mean / moments(&first).0);
            }
            if values.len() < runs.len() {
                let _ = write!(text, ", {} of {} runs", values.len(), runs.len());
            }
            let _ = write!(text, " |");
        }
        text.push('\n');
    }
    text
}
