//! `costate bench --factorize`: the factorization of each problem's first KKT matrix.

use std::time::Instant;

use costate::linalg::LinOp;
use costate::linsol::{Accuracy, Ldl, LdlOptions, LinearSolver};
use costate::observe::StopToken;
use costate::opt;

use super::BenchArgs;
use super::tasks::{Task, params_text};
use crate::cli::load;
use crate::cli::output::Output;
use crate::cli::{Failure, Outcome, SOLVED};

/// Factorizations of which the fastest counts.
const REPEATS: usize = 3;

/// Prints a row for every task.
pub fn run(args: &BenchArgs, tasks: &[Task], out: &mut Output) -> Outcome {
    out.line(format_args!(
        "{:<34} {:>8} {:>9} {:>10} {:>9} {:>10} {:>10} {:>10} {:>10} {:>6} {:>9}  {:<22} ordering",
        "problem",
        "unknowns",
        "entries",
        "factor",
        "Mmult",
        "order ms",
        "analyse ms",
        "factor ms",
        "solve ms",
        "steps",
        "residual",
        "inertia (+, -, 0)"
    ));
    for task in tasks {
        let name = format!("{} {}", task.name, params_text(&task.params));
        match row(args, task) {
            Ok(text) => out.line(format_args!("{name:<34} {text}")),
            Err(Failure(what)) => out.line(format_args!("{name:<34} {what}")),
        }
    }
    Ok(SOLVED)
}

fn row(args: &BenchArgs, task: &Task) -> Result<String, Failure> {
    let mut read = args.read.options();
    read.sif.params.clone_from(&task.params);
    let mut loaded = load::load(&task.path, &read)?;
    let options = args.solver.options(task.variant, None);
    let mut k = opt::first_kkt_matrix(loaded.nlp(), &options)?;
    let failed = |e: costate::linsol::LinSolError| Failure(e.to_string());
    let (stop, n) = (StopToken::default(), k.nrows());
    let mut solver = Ldl::new(LdlOptions { threads: options.threads, ..LdlOptions::default() });
    let prepared = solver.prepare(&mut k, &stop).map_err(failed)?;
    let first = solver.times();
    let mut again = f64::INFINITY;
    for _ in 0..REPEATS {
        solver.prepare(&mut k, &stop).map_err(failed)?;
        again = again.min(solver.times().numeric);
    }
    let (mut b, mut x) = (vec![0.0; n], vec![0.0; n]);
    k.apply(1.0, &vec![1.0; n], 0.0, &mut b);
    let clock = Instant::now();
    let accuracy = Accuracy { relative: 1e-12, max_iterations: 10 };
    let solved = solver.solve(&mut k, &b, &mut x, accuracy, &stop).map_err(failed)?;
    let seconds = clock.elapsed().as_secs_f64();
    let ordering = solver.analysis().0;
    let inertia =
        prepared.inertia.map_or(String::new(), |i| format!("{} {} {}", i.positive, i.negative, i.zero));
    Ok(format!(
        "{n:>8} {:>9} {:>10} {:>9.2} {:>10.2} {:>10.2} {:>10.2} {:>10.2} {:>6} {:>9.1e}  {inertia:<22} {ordering}",
        k.values.len(),
        prepared.factor_nonzeros,
        1e-6 * prepared.work,
        1e3 * first.ordering,
        1e3 * first.analysis,
        1e3 * again,
        1e3 * seconds,
        solved.iterations,
        solved.relative_residual,
    ))
}
