//! One `Solver` for many problems: results, iterations and structure.

#[path = "common/mpc.rs"]
mod mpc;

use std::ops::ControlFlow;

use costate::error::Error;
use costate::nlp::{NlpMeta, Problem};
use costate::observe::{Event, Silent};
use costate::opt::{Options, Solver, Start, WarmStart, solve};
use costate::report::{Report, StopReason};
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
        assert!(
            (report.objective - f).abs() < 1e-6 && (report.x[0] - u).abs() < 1e-6,
            "{}",
            report.objective
        );
    }
    for (from, most) in [(From::Problem, 7.0), (From::Last, 3.0), (From::Shifted, 3.0)] {
        let (sum, iterations) = control(from);
        assert!((sum - 1223.16577).abs() < 1e-4, "{sum}");
        assert!(iterations <= most, "{iterations} iterations");
    }
}

/// Both right-hand sides changed by up to 1 % at random each time.
#[test]
fn hs71_with_other_right_hand_sides_takes_three_iterations() {
    const MANY: u64 = 500;
    let mut solver = Solver::new(Options::default()).unwrap();
    let (mut problem, mut seed, mut iterations) = (Hs71::new(), 1u64, 0);
    solver.solve(&mut problem, Start::Problem, &mut Silent).unwrap();
    for k in 0..MANY {
        let mut random = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            ((seed >> 33) as f64 / 2f64.powi(31) - 0.5) * 0.02
        };
        problem.set_sides(25.0 * (1.0 + random()), 40.0 * (1.0 + random()));
        let report = solver.solve(&mut problem, Start::Last, &mut Silent).unwrap();
        assert!(
            report.solved() && report.method.contains("active-set"),
            "{}: {}",
            report.method,
            report.message
        );
        let (x, objective) = (report.x.clone(), report.objective);
        iterations += report.iterations;
        if k % 50 == 0 {
            let cold = solve(&mut problem, &Options::default(), &mut Silent).unwrap();
            assert!((cold.objective - objective).abs() < 1e-6, "{} and {objective}", cold.objective);
            assert!(cold.x.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }
    assert!(iterations <= 3 * MANY, "{iterations}");
}

fn bits(r: &Report) -> (Vec<u64>, u64, StopReason, u64, String, String) {
    let v = r.x.iter().chain(&r.y).chain(&r.z).map(|v| v.to_bits()).collect();
    (v, r.objective.to_bits(), r.stop.clone(), r.iterations, r.message.clone(), r.method.clone())
}

/// From the problem's start a solver that is used again gives the same bits as a new one, after any other solve.
#[test]
fn nothing_of_the_last_solve_is_left() {
    let mut solver = Solver::new(Options::default()).unwrap();
    let (mut controller, mut hs71) = (Mpc::new(), Hs71::new());
    for k in 0..6 {
        controller.set_state(1.0 - 0.1 * f64::from(k), 0.0);
        hs71.set_sides(25.0 - f64::from(k), 40.0);
        let fresh = solve(&mut hs71, &Options::default(), &mut Silent).unwrap();
        for start in [Start::Problem, Start::Last, Start::Problem] {
            let report = solver.solve(&mut hs71, start, &mut Silent).unwrap();
            assert!(matches!(start, Start::Last) || bits(report) == bits(&fresh));
            assert!(report.solved() && (report.linear.factorizations > 0 || report.iterations == 0));
        }
        // A solver does without presolve.
        let options = Options { presolve: false, ..Options::default() };
        let fresh = solve(&mut controller, &options, &mut Silent).unwrap();
        let report = solver.solve(&mut controller, Start::Last, &mut Silent).unwrap();
        assert_eq!(bits(report), bits(&fresh), "another structure begins at its own start");
    }
}

/// Equalities only: Newton, which has a restoration, and scales.
#[test]
fn equality_problems_are_solved_again_in_the_same_way() {
    let build = |radius: f64| {
        Problem::new("circle", 2)
            .start(&[2.0, 2.0])
            .objective(|x| (1.0 + x[0] * x[0]).ln() - x[1])
            .gradient(|x, g| g.copy_from_slice(&[2.0 * x[0] / (1.0 + x[0] * x[0]), -1.0]))
            .equality(1, move |x, c| c[0] = (1.0 + x[0] * x[0]).powi(2) + x[1] * x[1] - radius)
            .jacobian(|x, j| j.copy_from_slice(&[4.0 * x[0] * (1.0 + x[0] * x[0]), 2.0 * x[1]]))
            .hessian_by_differences()
            .build()
            .unwrap()
    };
    let mut solver = Solver::new(Options::default()).unwrap();
    for radius in [4.0, 5.0, 4.0] {
        let fresh = solve(&mut build(radius), &Options::default(), &mut Silent).unwrap();
        let report = solver.solve(&mut build(radius), Start::Problem, &mut Silent).unwrap();
        // The linear solver begins with the equilibration of the last matrix.
        assert_eq!((report.iterations, &report.stop), (fresh.iterations, &fresh.stop));
        assert!(report.x.iter().zip(&fresh.x).all(|(a, b)| (a - b).abs() < 1e-13), "{radius}");
    }
    // There is no circle: several methods and starts, and the next solve knows nothing of it.
    let report = solver.solve(&mut build(-1.0), Start::Problem, &mut Silent).unwrap();
    assert_eq!(report.stop, StopReason::LocallyInfeasible);
    assert!(solver.solve(&mut build(4.0), Start::Problem, &mut Silent).unwrap().solved());
    let report = solver.solve(&mut build(4.01), Start::Last, &mut Silent).unwrap();
    assert!(report.solved() && report.iterations <= 3, "{}", report.message);
}

/// Changes of structure that leave all sizes alone.
#[test]
fn another_structure_is_set_up_anew() {
    let changes: [fn(&mut NlpMeta); 4] = [
        |m| m.x_upper[1] = f64::INFINITY,
        |m| (m.x_lower[1], m.x_upper[1]) = (4.0, 4.0),
        |m| m.c_upper[0] = 30.0,
        |m| m.c_upper[0] = m.c_lower[0],
    ];
    let mut solver = Solver::new(Options::default()).unwrap();
    for change in changes {
        let mut problem = Hs71::new();
        solver.solve(&mut problem, Start::Problem, &mut Silent).unwrap();
        change(problem.meta_mut());
        let fresh = solve(&mut problem, &Options::default(), &mut Silent).unwrap();
        let report = solver.solve(&mut problem, Start::Problem, &mut Silent).unwrap();
        assert_eq!(bits(report), bits(&fresh));
        let report = solver.solve(&mut problem, Start::Last, &mut Silent).unwrap();
        assert!(
            report.is_answer() && (report.objective - fresh.objective).abs() < 1e-6,
            "{}",
            report.message
        );
    }
}

/// Warm starts that are of no use: elsewhere, at wrong bounds, with absurd multipliers.
#[test]
fn bad_warm_starts_cost_iterations_only() {
    let mut solver = Solver::new(Options::default()).unwrap();
    let mut problem = Hs71::new();
    for (x, y, z) in [
        ([5.0; 4], [0.0; 2], [0.0; 4]),
        ([1.0, 5.0, 5.0, 1.0], [1e6, -1e6], [-1e6, 1e6, -1e6, 1e6]),
        ([-1e9, 1e9, 1e9, 3.0], [0.0; 2], [1.0; 4]),
        ([1.0; 4], [0.0; 2], [-1.0; 4]),
    ] {
        let warm = WarmStart { x: x.to_vec(), y: y.to_vec(), z: z.to_vec() };
        let report = solver.solve(&mut problem, Start::At(&warm), &mut Silent).unwrap();
        assert!(report.solved(), "{x:?}: {}", report.message);
        assert!((report.objective - 17.0140173).abs() < 1e-6, "{x:?}: {}", report.objective);
    }
}

#[test]
fn mistakes_are_errors_and_the_next_solve_is_right() {
    let mut solver = Solver::new(Options::default()).unwrap();
    let mut problem = Hs71::new();
    let wrong = WarmStart { x: vec![1.0; 3], y: vec![0.0; 2], z: vec![0.0; 4] };
    let error = solver.solve(&mut problem, Start::At(&wrong), &mut Silent).unwrap_err();
    assert!(error.to_string().contains("x has 3 entries, expected 4"), "{error}");
    problem.meta_mut().jacobian.as_mut().unwrap().cols[0] = 77;
    assert!(matches!(solver.solve(&mut problem, Start::Problem, &mut Silent), Err(Error::Problem { .. })));
    let mut problem = Hs71::new();
    assert!(solver.solve(&mut problem, Start::Last, &mut Silent).unwrap().solved());
    problem.meta_mut().jacobian.as_mut().unwrap().cols[0] = 77;
    assert!(matches!(solver.solve(&mut problem, Start::Last, &mut Silent), Err(Error::Problem { .. })));
    let mut problem = Hs71::new();
    let mut stops = |event: &Event<'_>| match event {
        Event::Iteration(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let report = solver.solve(&mut problem, Start::Problem, &mut stops).unwrap();
    assert_eq!(report.stop, StopReason::Interrupted);
    assert!(solver.solve(&mut problem, Start::Last, &mut Silent).unwrap().solved());
    assert!(Solver::new(Options { tolerance: -1.0, ..Options::default() }).is_err());
}
