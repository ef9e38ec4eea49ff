//! One way to solve and to tell.

use std::ops::ControlFlow;

use costate::linsol::LinearSolverKind;
use costate::observe::Event;
use costate::opt::{Options, solve};
use costate::pde::Control;
use costate::{Nlp, Report};

/// A report, and the most inner iterations of a step.
pub struct Solution {
    pub report: Report,
    pub most_inner: u64,
}

/// Options of matrix-free problems.
pub fn matrix_free() -> Options {
    Options { linear: LinearSolverKind::Minres, max_iterations: 300, ..Options::default() }
}

/// Solves; prints each iteration if `show`.
pub fn solved(problem: &mut dyn Nlp, options: &Options, show: bool) -> Result<Solution, costate::Error> {
    let mut most_inner = 0;
    let mut watch = |event: &Event<'_>| {
        if let Event::Iteration(row) = event {
            most_inner = most_inner.max(row.inner_iterations);
            if show {
                println!(
                    "{:4}  f {:.9e}  |c| {:.2e}  |grad L| {:.2e}  inner {}",
                    row.iteration, row.objective, row.primal, row.dual, row.inner_iterations
                );
            }
        }
        ControlFlow::Continue(())
    };
    let report = solve(problem, options, &mut watch)?;
    Ok(Solution { report, most_inner })
}

/// The end of a solve in one line; an error where it is no solution.
pub fn told(solution: &Solution, unit: f64) -> Result<(), Box<dyn std::error::Error>> {
    let r = &solution.report;
    println!("{}: {} ({})", r.stop.as_str(), r.message, r.point.as_str());
    println!(
        "objective {:.9e}, {} iterations, {} inner, at most {} a step, {:.3} s",
        unit * r.objective,
        r.iterations,
        r.linear.inner_iterations,
        solution.most_inner,
        r.time.solve
    );
    if r.solved() { Ok(()) } else { Err("not solved".into()) }
}

/// A control problem from its start.
pub fn solved_control(control: &mut Control, show: bool) -> Result<Solution, costate::Error> {
    let options = Options { warm_start: Some(control.start(1e-6)), ..matrix_free() };
    solved(control, &options, show)
}

/// The target of Pearson and Wathen's example: (2x - 1)^2 (2y - 1)^2 in the lower left quarter, 0 elsewhere.
pub fn target(x: [f64; 3]) -> f64 {
    if x[0] <= 0.5 && x[1] <= 0.5 { ((2.0 * x[0] - 1.0) * (2.0 * x[1] - 1.0)).powi(2) } else { 0.0 }
}
