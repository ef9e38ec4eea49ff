//! `costate solve`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;

use costate::linsol::LinearSolverKind;
use costate::nlp::NlpMeta;
use costate::nlp::solution::Solution;
use costate::observe::{Event, Observer};
use costate::opt::{self, Options, WarmStart};
use costate::{Error, Report};

use super::args::{ProblemArgs, SolverArgs, Variant};
use super::load::{Loaded, load};
use super::log::JsonLines;
use super::output::{self, Output};
use super::summary::{Facts, Kind, Summary};
use super::{BAD_INPUT, Failure, Outcome, SOLVED, STOPPED, interrupt, table};

/// Columns and letters of the iteration table.
const LEGEND: &str = "Iteration table:
  inf_pr, inf_du  largest constraint violation and entry of grad f + J'y + z (unscaled)
  merit           augmented Lagrangian with penalties eta1 (violation) and eta2 (gradient)
  barrier         barrier parameter, with bounds or inequalities (in place of the three columns of the merit function)
  shift           multiple of the identity added to the Hessian, - for none
  ls, inner       trial points of the line search, inner iterations of the linear solver
  letter          none: Newton step; r: with a shift; g: steepest descent of the merit function;
                  f, F: step of the feasibility phase, F with second derivatives; a: step of the augmented
                  Lagrangian with a barrier; v: followed by a step along the floor of a valley; .: start

Exit codes: 0 solved, 1 stopped otherwise, 2 bad input, 3 internal error.";

/// Arguments of `solve`.
#[derive(Debug, Args)]
#[command(after_help = LEGEND)]
pub struct SolveArgs {
    #[command(flatten)]
    problem: ProblemArgs,
    #[command(flatten)]
    solver: SolverArgs,
    /// Linear solver: auto, ldl, minres, gmres, gaussian, kaczmarz, ... (a wrong name lists all)
    #[arg(long, value_name = "NAME", default_value_t)]
    linear: LinearSolverKind,
    /// Tolerance on the scaled KKT residual
    #[arg(long, allow_negative_numbers = true, default_value_t = Options::default().tolerance)]
    tol: f64,
    /// Seconds allowed for the solve
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    time_limit: Option<f64>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object and nothing else, with --quiet no warnings either
    #[arg(long)]
    json: bool,
    /// Write all events as JSON lines
    #[arg(long, value_name = "FILE.jsonl")]
    log: Option<PathBuf>,
    /// Write the point and the multipliers by name
    #[arg(long, value_name = "FILE")]
    solution: Option<PathBuf>,
    /// Begin from a file that --solution wrote, matched by name
    #[arg(long, value_name = "FILE")]
    warm_start: Option<PathBuf>,
    /// Print nothing but what --json prints, the exit code is the answer
    #[arg(long, short)]
    quiet: bool,
    /// For `bench`: more fields in the JSON object, and only problems of these kinds.
    #[arg(long, hide = true, value_delimiter = ',')]
    for_bench: Option<Vec<String>>,
}

/// Table on stdout, JSON lines in a file.
struct Watch<'a> {
    meta: NlpMeta,
    class: Option<String>,
    table: Option<&'a mut Output>,
    log: Option<JsonLines>,
    /// Without a reader of the table and a file to write, nobody wants the answer.
    stop_when_closed: bool,
}

impl Observer for Watch<'_> {
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        if let Some(log) = &mut self.log {
            log.event(event);
        }
        let Some(out) = &mut self.table else { return ControlFlow::Continue(()) };
        match event {
            Event::Start(header) => table::header(out, &self.meta, self.class.as_deref(), header),
            Event::Iteration(row) => table::row(out, row),
            Event::Note { text } => out.line(format_args!("       note: {text}")),
            Event::Stop(_) => {} // the final block needs the time of reading
        }
        if self.stop_when_closed && out.is_closed() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Runs the subcommand.
pub fn run(args: &SolveArgs, out: &mut Output) -> Outcome {
    let variant = Variant { linear: args.linear, tolerance: args.tol, seed: args.seed };
    let mut options = args.solver.options(variant, args.time_limit);
    options.validate()?;
    options.stop.flag = Some(interrupt::install()?);
    let mut loaded = load(&args.problem.file, &args.problem.read.options())?;
    if !args.quiet && args.for_bench.is_none() {
        loaded.warnings().iter().for_each(|w| output::warning(w));
    }
    if let Some(path) = &args.warm_start {
        let Solution { x, y, z, .. } = Solution::read(path)?.arrange(loaded.meta())?;
        options.warm_start = Some(WarmStart { x, y, z });
    }
    let facts = args.for_bench.as_ref().map(|_| facts(&loaded));
    if let (Some(kinds), Some(facts)) = (&args.for_bench, &facts)
        && !kinds.contains(&facts.kind)
    {
        let skipped = Summary::of_failure(&loaded.meta().name, "skipped", String::new());
        return print_json(out, &Summary { bench: Some(facts.clone()), ..skipped }, SOLVED);
    }
    match solve(args, &mut loaded, &options, out) {
        Ok(report) => finish(args, &loaded, &report, facts, out),
        Err(error) if facts.is_some() => {
            let failed = Summary {
                n: loaded.meta().n(),
                m: loaded.meta().m(),
                bench: facts,
                ..Summary::of_failure(&loaded.meta().name, stop_of_error(&error), error.to_string())
            };
            print_json(out, &failed, BAD_INPUT)
        }
        Err(error) => Err(error.into()),
    }
}

/// What a benchmark writes for a problem that is not solved because of its input.
pub fn stop_of_error(error: &Error) -> &'static str {
    if matches!(error, Error::Unsupported { .. }) { "unsupported" } else { "error" }
}

/// What `bench` wants to know about a problem.
pub fn facts(loaded: &Loaded) -> Facts {
    Facts {
        class: loaded.class().unwrap_or_default().to_string(),
        kind: Kind::of(loaded.meta()).as_str().into(),
        memory_mib: None,
    }
}

/// Peak resident memory of this process in MiB; Linux only.
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

fn solve(
    args: &SolveArgs,
    loaded: &mut Loaded,
    options: &Options,
    out: &mut Output,
) -> Result<Report, Error> {
    let mut watch = Watch {
        meta: if args.quiet || args.json { NlpMeta::default() } else { loaded.meta().clone() },
        class: loaded.class().map(str::to_string),
        table: (!args.quiet && !args.json).then_some(out),
        log: args.log.as_deref().map(JsonLines::create).transpose()?,
        stop_when_closed: args.log.is_none() && args.solution.is_none(),
    };
    let result = opt::solve(loaded.nlp(), options, &mut watch);
    let written = watch.log.map_or(Ok(()), JsonLines::finish);
    let mut report = result?;
    written?;
    report.time.read = loaded.seconds;
    Ok(report)
}

/// Writes everything that was asked for.
fn finish(
    args: &SolveArgs,
    loaded: &Loaded,
    report: &Report,
    facts: Option<Facts>,
    out: &mut Output,
) -> Outcome {
    let meta = loaded.meta();
    if let Some(path) = &args.solution {
        Solution::new(meta, &report.x, &report.y, &report.z).write(path)?;
    }
    let code = if report.is_answer() { SOLVED } else { STOPPED };
    if args.json {
        let bench = facts.map(|f| Facts { memory_mib: peak_memory(), ..f });
        return print_json(out, &Summary { bench, ..Summary::of_report(meta, report) }, code);
    }
    if !args.quiet {
        table::footer(out, meta, report);
    } else if code == STOPPED {
        output::error(&table::stopped(report));
    }
    Ok(code)
}

fn print_json(out: &mut Output, summary: &Summary, code: u8) -> Outcome {
    let text = serde_json::to_string(summary).map_err(|e| Failure(e.to_string()))?;
    out.line(format_args!("{text}"));
    Ok(code)
}
