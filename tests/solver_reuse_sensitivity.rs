//! Sensitivities against differences of solutions, with active bounds and inequalities, fixed variables and scales; transposed products.

#[path = "common/mpc.rs"]
mod mpc;

use costate::nlp::{ClosureProblem, Nlp, Problem};
use costate::observe::Silent;
use costate::opt::{Options, ProblemChange, SolutionChange, Solver, Start};
use mpc::Hs71;

fn solver() -> Solver {
    Solver::new(Options { tolerance: 1e-11, ..Options::default() }).unwrap()
}

fn solution(mut problem: impl Nlp) -> SolutionChange {
    let mut solver = solver();
    let report = solver.solve(&mut problem, Start::Problem, &mut Silent).unwrap();
    assert!(report.is_answer(), "{}", report.message);
    SolutionChange { x: report.x.clone(), y: report.y.clone(), z: report.z.clone() }
}

fn all(s: &SolutionChange) -> Vec<f64> {
    s.x.iter().chain(&s.y).chain(&s.z).copied().collect()
}

/// d solution / dp = sensitivity in this direction, `problem(p)` at p = 0.
fn check<P: Nlp>(problem: impl Fn(f64) -> P, change: &ProblemChange) {
    const H: f64 = 1e-4;
    let (up, down) = (all(&solution(problem(H))), all(&solution(problem(-H))));
    let mut at = problem(0.0);
    let mut solver = solver();
    solver.solve(&mut at, Start::Problem, &mut Silent).unwrap();
    let mut out = SolutionChange::default();
    solver.sensitivity(&mut at).unwrap().forward(change, &mut out).unwrap();
    for (k, (d, (u, v))) in all(&out).iter().zip(up.iter().zip(&down)).enumerate() {
        let expected = (u - v) / (2.0 * H);
        assert!((d - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "entry {k}: {d} for {expected}");
    }
    let largest = all(&out).iter().fold(0.0f64, |a, v| a.max(v.abs()));
    assert!(largest > 1e-2, "a poor test");
}

fn unit(n: usize, k: usize, v: f64) -> Vec<f64> {
    (0..n).map(|j| if j == k { v } else { 0.0 }).collect()
}

/// x0 = 1 at its lower bound, the product at its lower side.
#[test]
fn hs71_by_sides_objective_and_an_active_bound() {
    let hs71 = |a: f64, b: f64, tilt: f64, lower: f64| {
        let mut problem = Hs71::new();
        problem.set_sides(25.0 + a, 40.0 + b);
        problem.tilt = tilt;
        problem.meta_mut().x_lower[0] = 1.0 + lower;
        problem
    };
    let none = ProblemChange::default;
    check(|p| hs71(p, 0.0, 0.0, 0.0), &ProblemChange { constraints: unit(2, 0, -1.0), ..none() });
    check(|p| hs71(0.0, p, 0.0, 0.0), &ProblemChange { constraints: unit(2, 1, -1.0), ..none() });
    check(|p| hs71(0.0, 0.0, p, 0.0), &ProblemChange { gradient: unit(4, 1, 1.0), ..none() });
    check(|p| hs71(0.0, 0.0, 0.0, p), &ProblemChange { bounds: unit(4, 0, 1.0), ..none() });
    // All at once, of different sizes.
    let change = ProblemChange {
        gradient: unit(4, 1, 3.0),
        constraints: vec![-1.0, 2.0],
        bounds: vec![-0.5, 9.0, 9.0, 9.0],
    };
    check(|p| hs71(p, -2.0 * p, 3.0 * p, -0.5 * p), &change);
}

/// Large objective and rows (both are scaled), a fixed variable, a row that is not active, one that is, an upper bound:
/// min 1e4 ((x0 - 3)^2 + (x1 - 2)^2 / 2 + x0 x2 + x3^2 + q x0), x2 = 0.5 + r fixed, 1e3 (x0 + x1^2 + x3) <= 3500 + 1e3 p, x1 <= 1.2,
/// -100 <= x0 + x1 + x2 <= 100.
fn scaled(p: f64, q: f64, r: f64) -> ClosureProblem<'static> {
    Problem::new("scaled", 4)
        .start(&[1.0, 1.0, 0.0, 0.0])
        .bounds(&[-10.0, -10.0, 0.5 + r, -10.0], &[10.0, 1.2, 0.5 + r, 10.0])
        .objective(move |x| {
            1e4 * ((x[0] - 3.0).powi(2) + 0.5 * (x[1] - 2.0).powi(2) + x[0] * x[2] + x[3] * x[3] + q * x[0])
        })
        .gradient(move |x, g| {
            let own = [2.0 * (x[0] - 3.0) + x[2] + q, x[1] - 2.0, x[0], 2.0 * x[3]];
            g.iter_mut().zip(own).for_each(|(g, v)| *g = 1e4 * v);
        })
        .constraints(
            &[-1e30, -100.0],
            &[3500.0 + 1e3 * p, 100.0],
            |x, c| {
                c[0] = 1e3 * (x[0] + x[1] * x[1] + x[3]);
                c[1] = x[0] + x[1] + x[2];
            },
        )
        .jacobian(|x, j| j.copy_from_slice(&[1e3, 2e3 * x[1], 0.0, 1e3, 1.0, 1.0, 1.0, 0.0]))
        .hessian(|_, s, y, h| {
            h[0] = 2e4 * s;
            h[5] = 1e4 * s + 2e3 * y[0];
            (h[8], h[2]) = (1e4 * s, 1e4 * s);
            h[15] = 2e4 * s;
        })
        .build()
        .unwrap()
}

#[test]
fn scales_fixed_variables_and_inactive_rows() {
    let none = ProblemChange::default;
    check(|p| scaled(p, 0.0, 0.0), &ProblemChange { constraints: unit(2, 0, -1e3), ..none() });
    check(|q| scaled(0.0, q, 0.0), &ProblemChange { gradient: unit(4, 0, 1e4), ..none() });
    check(|r| scaled(0.0, 0.0, r), &ProblemChange { bounds: unit(4, 2, 1.0), ..none() });
}

fn random(seed: &mut u64, n: usize) -> Vec<f64> {
    let mut next = || {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 33) as f64 / 2f64.powi(30) - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn transpose_test(mut problem: impl Nlp) {
    let (n, m) = (problem.meta().n(), problem.meta().m());
    let mut solver = solver();
    assert!(solver.solve(&mut problem, Start::Problem, &mut Silent).unwrap().is_answer());
    let mut sensitivity = solver.sensitivity(&mut problem).unwrap();
    let mut seed = 1;
    for _ in 0..20 {
        let s = &mut seed;
        let d = ProblemChange { gradient: random(s, n), constraints: random(s, m), bounds: random(s, n) };
        let w = SolutionChange { x: random(s, n), y: random(s, m), z: random(s, n) };
        let (mut forward, mut back) = (SolutionChange::default(), ProblemChange::default());
        sensitivity.forward(&d, &mut forward).unwrap();
        sensitivity.transposed(&w, &mut back).unwrap();
        let left = dot(&forward.x, &w.x) + dot(&forward.y, &w.y) + dot(&forward.z, &w.z);
        let right = dot(&d.gradient, &back.gradient)
            + dot(&d.constraints, &back.constraints)
            + dot(&d.bounds, &back.bounds);
        assert!((left - right).abs() <= 1e-10 * (1.0 + left.abs()), "{left} and {right}");
    }
}

#[test]
fn transposed_products_are_those_of_the_transposed() {
    transpose_test(Hs71::new());
    transpose_test(scaled(0.0, 0.0, 0.0));
    let mut controller = mpc::Mpc::new();
    controller.set_state(1.0, 0.0);
    transpose_test(controller);
}

fn error(mut problem: impl Nlp) -> String {
    let mut solver = solver();
    let report = solver.solve(&mut problem, Start::Problem, &mut Silent).unwrap();
    assert!(report.is_answer(), "{}", report.message);
    solver.sensitivity(&mut problem).err().expect("no derivative").to_string()
}

#[test]
fn what_has_no_derivative_is_named() {
    // min |x - (0, 1)|^2, x0 >= 0: the bound holds without a multiplier.
    let weak = Problem::new("weak", 2)
        .start(&[1.0, 0.0])
        .bounds(&[0.0, -5.0], &[9.0, 5.0])
        .variable_names(["first", "second"])
        .objective(|x| x[0] * x[0] + (x[1] - 1.0).powi(2))
        .gradient(|x, g| g.copy_from_slice(&[2.0 * x[0], 2.0 * x[1] - 2.0]))
        .hessian(|_, s, _, h| (h[0], h[3]) = (2.0 * s, 2.0 * s));
    let text = error(weak.build().unwrap());
    assert!(text.contains("strict complementarity") && text.contains("first"), "{text}");
    // The same row twice.
    let twice = Problem::new("twice", 2)
        .constraint_names(["once", "again"])
        .objective(|x| x[0] * x[0] + x[1] * x[1])
        .gradient(|x, g| g.copy_from_slice(&[2.0 * x[0], 2.0 * x[1]]))
        .equality(2, |x, c| c.copy_from_slice(&[x[0] + x[1] - 1.0, 2.0 * (x[0] + x[1] - 1.0)]))
        .jacobian(|_, j| j.copy_from_slice(&[1.0, 1.0, 2.0, 2.0]))
        .hessian(|_, s, _, h| (h[0], h[3]) = (2.0 * s, 2.0 * s));
    let text = error(twice.build().unwrap());
    assert!(text.contains("dependent") && text.contains("again"), "{text}");
    // A row that says what an active bound says.
    let bound = Problem::new("bound", 2)
        .start(&[0.5, 0.5])
        .bounds(&[0.0, 0.0], &[9.0, 9.0])
        .constraint_names(["row"])
        .objective(|x| x[0] + x[1] * x[1] - x[1])
        .gradient(|x, g| g.copy_from_slice(&[1.0, 2.0 * x[1] - 1.0]))
        .constraints(&[0.0], &[1e30], |x, c| c[0] = x[0])
        .jacobian(|_, j| j.copy_from_slice(&[1.0, 0.0]))
        .hessian(|_, s, _, h| h[3] = 2.0 * s);
    let text = error(bound.build().unwrap());
    assert!(text.contains("row"), "{text}");
}

#[test]
fn sensitivities_need_a_solution_and_the_same_problem() {
    let mut solver = solver();
    let mut problem = Hs71::new();
    assert!(solver.sensitivity(&mut problem).is_err());
    solver.solve(&mut problem, Start::Problem, &mut Silent).unwrap();
    assert!(solver.sensitivity(&mut mpc::Mpc::new()).is_err());
    let mut sensitivity = solver.sensitivity(&mut problem).unwrap();
    let change = ProblemChange { gradient: vec![1.0; 3], ..ProblemChange::default() };
    let error = sensitivity.forward(&change, &mut SolutionChange::default()).unwrap_err();
    assert!(error.to_string().contains("3 entries"), "{error}");
}
