//! Optimal control problems with published optima: solve one, refine its mesh, plot it, write it for other solvers.
//!
//!     cargo run --release --example optimal_control -- solve shuttle_reentry --refine 1e-8 --plot shuttle.svg
//!     cargo run --release --example optimal_control -- table

mod plot;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use costate::control::problems::{self, Benchmark};
use costate::control::{Mesh, Outcome, Problem, Scheme, Settings, Transcription, solve};
use costate::observe::Silent;

/// Optimal control problems with published optima.
#[derive(Parser)]
#[command(name = "optimal_control")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Names of the problems, with their published values.
    List,
    /// Solve one problem.
    Solve(Solve),
    /// Solve all of them, refined, as a table.
    Table {
        /// Largest number of intervals of a mesh.
        #[arg(long, default_value_t = 4000)]
        most_intervals: usize,
        /// The values of this scheme, in place of each problem's own.
        #[arg(long)]
        scheme: Option<Scheme>,
    },
}

#[derive(clap::Args)]
struct Solve {
    /// Name of a problem (see list), or lap_time.
    name: String,
    /// trapezoidal, hermite-simpson, gauss-1 to gauss-5, radau-1 to radau-5.
    #[arg(long)]
    scheme: Option<Scheme>,
    /// Intervals of the first mesh.
    #[arg(long)]
    intervals: Option<usize>,
    /// Refine until the estimated error of each interval is below this.
    #[arg(long)]
    refine: Option<f64>,
    /// Meshes at most.
    #[arg(long, default_value_t = 12)]
    rounds: usize,
    /// Write states, controls and costates as a plot.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Write the transcribed problem on the first mesh as an .nl file, and do not solve.
    #[arg(long)]
    write: Option<PathBuf>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::List => list(),
        Command::Solve(options) => one(options),
        Command::Table { most_intervals, scheme } => table(*most_intervals, *scheme),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn list() -> Result<ExitCode, Failure> {
    for b in problems::ALL {
        println!("{:20} {:>14}  {}", b.name, b.published, b.source);
    }
    Ok(ExitCode::SUCCESS)
}

fn find(name: &str) -> Result<(Problem, Settings), Failure> {
    if name == "lap_time" {
        return Ok((problems::lap_time(), Settings { intervals: 300, ..Settings::default() }));
    }
    let b = problems::find(name).ok_or_else(|| {
        let names: Vec<&str> = problems::ALL.iter().map(|b| b.name).collect();
        format!("unknown problem '{name}', expected lap_time or one of {}", names.join(", "))
    })?;
    Ok(((b.problem)(), settings(b)))
}

fn settings(b: &Benchmark) -> Settings {
    Settings { scheme: b.start.0, intervals: b.start.1, ..Settings::default() }
}

fn one(options: &Solve) -> Result<ExitCode, Failure> {
    let (problem, own) = find(&options.name)?;
    let settings = Settings {
        scheme: options.scheme.unwrap_or(own.scheme),
        intervals: options.intervals.unwrap_or(own.intervals),
        tolerance: options.refine,
        rounds: options.rounds,
        ..own
    };
    if let Some(path) = &options.write {
        let meshes = vec![Mesh::uniform(settings.intervals); problem.phases()];
        let transcription = Transcription::new(&problem, &meshes, settings.scheme)?;
        transcription.nl()?.write(path)?;
        println!("wrote {}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let begun = Instant::now();
    let outcome = solve(&problem, &settings, &mut Silent)?;
    print(&outcome);
    println!("{}; {:.2} s in all", outcome.message, begun.elapsed().as_secs_f64());
    if let Some(path) = &options.plot {
        plot::trajectories(&problem, &outcome.solution, path)?;
        println!("wrote {}", path.display());
    }
    Ok(ExitCode::from(u8::from(!outcome.reached)))
}

fn print(outcome: &Outcome) {
    println!("mesh  intervals  variables  iterations        objective   error");
    for (k, r) in outcome.rounds.iter().enumerate() {
        println!(
            "{:4} {:10} {:10} {:11} {:>16.9} {:.1e}{}",
            k + 1,
            r.intervals,
            r.variables,
            r.iterations,
            r.objective,
            r.error,
            if r.solved { "" } else { "  not solved" }
        );
    }
    for p in outcome.solution.phases() {
        println!("from {} to {:.9}", p.start(), p.end());
    }
}

/// One row per problem: published, first mesh, refined, relative difference.
fn table(most_intervals: usize, scheme: Option<Scheme>) -> Result<ExitCode, Failure> {
    println!(
        "| problem | published | first mesh | refined | relative difference | intervals | error | meshes, iterations, s | |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let mut failed = 0;
    for b in problems::ALL {
        let own = settings(b);
        let settings = Settings {
            scheme: scheme.unwrap_or(own.scheme),
            tolerance: Some(b.tolerance),
            rounds: 12,
            most_intervals,
            ..own
        };
        let begun = Instant::now();
        let o = solve(&(b.problem)(), &settings, &mut Silent)?;
        let last = o.rounds.last().map_or((0, f64::NAN), |r| (r.intervals, r.error));
        let value = o.solution.objective();
        failed += usize::from(!o.reached);
        println!(
            "| {} | {} | {:.8} | {:.8} | {:.1e} | {} | {:.0e} | {}, {}, {:.2} | {} |",
            b.name,
            b.published,
            o.rounds[0].objective,
            value,
            (value - b.published).abs() / b.published.abs(),
            last.0,
            last.1,
            o.rounds.len(),
            o.rounds.iter().map(|r| r.iterations).sum::<u64>(),
            begun.elapsed().as_secs_f64(),
            if o.reached { "" } else { &o.message }
        );
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}
