//! One `Solver` for many problems: results, iterations and structure.

#[path = "common/mpc.rs"]
mod mpc;

use costate::observe::Silent;
use costate::opt::{Options, Solver, Start, WarmStart, solve};
use mpc::{Hs71, Mpc, States, shift};

const SOLVES: usize = 2000;

#[derive(Clone, Copy, PartialEq)]
enum From {
    Problem,
    Last,
    Shifted,
}

/// Sum of f and mean iterations.
fn control(from: From) -> (f64, f64) {
    let (mut problem, mut states) = (Mpc::new(), States::new());
    let mut solver = Solver::new(Options::default()).unwrap();
    let mut warm = WarmStart::default();
    let (mut sum, mut iterations) = (0.0, 0);
    for k in 0..SOLVES {
        problem.set_state(states.p, states.v);
        let start = match from {
            _ if k == 0 => Start::Problem,
            From::Problem => Start::Problem,
            From::Last => Start::Last,
            From::Shifted => Start::At(&warm),
        };
        let report = solver.solve(&mut problem, start, &mut Silent).unwrap();
        assert!(report.solved(), "solve {k}: {}", report.message);
        sum += report.objective;
        iterations += report.iterations;
        if from == From::Shifted {
            warm.set(report);
            shift(&mut warm);
        }
        states.advance(report.x[0]);
    }
    (sum, iterations as f64 / SOLVES as f64)
}

#[test]
fn warm_starts_of_a_controller_give_the_same_optima_in_few_iterations() {
    let mut problem = Mpc::new();
    for (p, f, u) in [(1.0, 2.2313322450, -1.0), (1.5, 6.7332217170, -1.0)] {
        problem.set_state(p, 0.0);
        let report = solve(&mut problem, &Options::default(), &mut Silent).unwrap();
        assert!((report.objective - f).abs() < 1e-6 && (report.x[0] - u).abs() < 1e-6, "{}", report.objective);
    }
    for (from, most) in [(From::Problem, 7.0), (From::Last, 3.0), (From::Shifted, 3.0)] {
        let (sum, iterations) = control(from);
        println!("{sum:.8} {iterations:.3}");
        assert!((sum - 1223.16577).abs() < 1e-4, "{sum}");
        assert!(iterations <= most, "{iterations} iterations");
    }
}
