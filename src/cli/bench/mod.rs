//! `costate bench`: many problems, each solved in a process of its own.

mod compare;
mod execute;
mod factorize;
mod growth;
mod profile;
mod row;
mod summary;
mod tasks;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use costate::linsol::LinearSolverKind;
use costate::opt::Options;

use super::args::{ReadArgs, SolverArgs};
use super::output::{self, Output};
use super::summary::Kind;
use super::{Failure, Outcome, SOLVED, STOPPED, interrupt};
use compare::Other;
use execute::Executor;
use row::{CsvSink, Row};
use tasks::Task;

/// Arguments of `bench`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Exit codes: 0 every problem was tried, 1 interrupted, 2 bad input.")]
pub struct BenchArgs {
    /// Problem files, or folders (all their *.SIF, *.nl and *.nl.gz)
    #[arg(value_name = "PATH", required_unless_present = "list")]
    paths: Vec<PathBuf>,
    /// CSV file with a column `name` and, optionally, `params` (such as "N=100 P=3"): one problem a row
    #[arg(long, value_name = "FILE.csv")]
    list: Option<PathBuf>,
    /// Folder of the files named by --list (default: the list's own folder)
    #[arg(long, value_name = "FOLDER", requires = "list")]
    dir: Option<PathBuf>,
    /// Problems solved at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Seconds allowed for each solve
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    time_limit: f64,
    /// Seconds after the time limit (reading counts) at which a process is killed
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    grace: f64,
    /// Address space of each process in MiB (Unix)
    #[arg(long, value_name = "MIB", conflicts_with = "in_process", value_parser = clap::value_parser!(u64).range(16..))]
    memory_limit: Option<u64>,
    /// Solve in this process: no start-up cost, no protection against crashes
    #[arg(long)]
    in_process: bool,
    /// Only problems of these classes
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CLASS")]
    only_class: Vec<Kind>,
    /// Linear solvers, e.g. ldl,minres
    #[arg(long, value_delimiter = ',', default_value = "auto", value_name = "NAME")]
    linear: Vec<LinearSolverKind>,
    /// Tolerances, e.g. 1e-4,1e-8
    #[arg(long, value_delimiter = ',', default_values_t = [Options::default().tolerance])]
    tol: Vec<f64>,
    /// First seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Seeds for each solver and tolerance
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Write a row for every solve
    #[arg(long, value_name = "OUT.csv")]
    csv: Option<PathBuf>,
    /// Compare with a CSV of this command, or with a table of reference values
    #[arg(long, value_name = "OTHER.csv")]
    compare: Option<PathBuf>,
    /// Write a performance profile of the solve times
    #[arg(long, value_name = "OUT.svg")]
    profile: Option<PathBuf>,
    /// Draw solve times over the number of variables, for problems that were solved in several sizes
    #[arg(long, value_name = "OUT.svg")]
    growth: Option<PathBuf>,
    /// Do not solve: factorize the KKT matrix at the start, print sizes, fill, work, times and inertia
    #[arg(long, conflicts_with_all = ["csv", "compare", "profile", "growth"])]
    factorize: bool,
    /// No progress bar
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    read: ReadArgs,
    #[command(flatten)]
    solver: SolverArgs,
}

/// Runs the subcommand.
pub fn run(args: &BenchArgs, out: &mut Output) -> Outcome {
    let tasks = tasks::collect(args)?;
    for task in &tasks {
        args.solver.options(task.variant, Some(args.time_limit)).validate()?;
    }
    if args.factorize {
        return factorize::run(args, &tasks, out);
    }
    if !(args.grace >= 0.0 && args.grace.is_finite()) {
        return Err(Failure("option grace: expected a finite number, not negative".into()));
    }
    let other = args.compare.as_deref().map(Other::read).transpose()?;
    if other.is_some() && args.linear.len() * args.tol.len() > 1 {
        return Err(Failure("option compare: expected one linear solver and one tolerance".into()));
    }
    let mut sink = args.csv.as_deref().map(CsvSink::create).transpose()?;
    let stop = interrupt::install()?;
    let rows = run_all(args, &tasks, &stop, sink.as_mut())?;
    if let Some(sink) = sink {
        sink.finish(&rows)?;
    }
    summary::print(out, args, &rows);
    if let Some(other) = &other {
        compare::print(out, &rows, other);
    }
    if let Some(path) = &args.profile {
        profile::write(path, &rows, other.as_ref())?;
    }
    if let Some(path) = &args.growth {
        growth::write(path, &rows)?;
    }
    let interrupted = stop.load(Ordering::Relaxed);
    if interrupted {
        output::warning(&format!(
            "interrupted, {} of {} solves are missing",
            tasks.len() - rows.len(),
            tasks.len()
        ));
    }
    Ok(if interrupted { STOPPED } else { SOLVED })
}

/// Solves all tasks with `jobs` workers; rows come back in the order of the tasks, skipped ones left out.
fn run_all(
    args: &BenchArgs,
    tasks: &[Task],
    stop: &Arc<AtomicBool>,
    mut sink: Option<&mut CsvSink>,
) -> Result<Vec<Row>, Failure> {
    let executor = Executor::new(args, stop)?;
    let bar = progress_bar(args, tasks.len());
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut done: Vec<Option<Row>> = vec![None; tasks.len()];
    let mut failure = Ok(());
    thread::scope(|scope| {
        for _ in 0..args.jobs {
            let (sender, next, executor) = (sender.clone(), &next, &executor);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let k = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(k) else { break };
                    if sender.send((k, executor.run(task))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (k, row) in receiver {
            bar.set_message(tasks[k].name.clone());
            bar.inc(1);
            let Some(row) = row else { continue };
            if let (Some(sink), Ok(())) = (sink.as_deref_mut(), &failure) {
                failure = sink.add(&row);
            }
            done[k] = Some(row);
            if failure.is_err() {
                break; // the workers end when their next result finds no receiver
            }
        }
    });
    bar.finish_and_clear();
    failure?;
    Ok(done.into_iter().flatten().collect())
}

/// On stderr, and only if that is a terminal.
fn progress_bar(args: &BenchArgs, len: usize) -> ProgressBar {
    if args.quiet {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} (eta {eta}) {msg}") {
        bar.set_style(style);
    }
    bar
}
