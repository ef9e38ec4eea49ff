//! Bounds and inequalities: the multipliers' signs, degenerate problems, faults of the problem, limits.

use std::ops::ControlFlow;

use approx::assert_relative_eq;
use costate::nlp::{ClosureProblem, Nlp, Pattern, Problem};
use costate::observe::{Event, Silent};
use costate::opt::{HessianModel, Method, Options, WarmStart, solve};
use costate::{Error, EvalError, NlpMeta, PointKind, Report, StopReason};

const INF: f64 = f64::INFINITY;
const METHODS: [Method; 3] = [Method::Auto, Method::InteriorPoint, Method::AugmentedLagrangian];

fn run(problem: &mut dyn Nlp, method: Method) -> Report {
    solve(problem, &Options { method, ..Options::default() }, &mut Silent).expect("a valid problem")
}

/// Checks the conditions of docs/notation.md by hand: signs, stationarity, complementarity, feasibility.
fn assert_kkt(problem: &mut dyn Nlp, report: &Report) {
    assert!(report.solved(), "{}", report.message);
    let meta = problem.meta().clone();
    let (n, m) = (meta.n(), meta.m());
    let (x, y, z) = (&report.x, &report.y, &report.z);
    let mut c = vec![0.0; m];
    problem.cons(x, &mut c).unwrap();
    let mut g = vec![0.0; n];
    problem.grad(x, &mut g).unwrap();
    let p = meta.jacobian.clone().unwrap_or_default();
    let mut values = vec![0.0; p.len()];
    if m > 0 {
        problem.jac_values(x, &mut values).unwrap();
    }
    for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(&values) {
        g[j] += v * y[i];
    }
    for j in 0..n {
        assert!((g[j] + z[j]).abs() < 1e-6, "stationarity in x[{j}]: {}", g[j] + z[j]);
        assert!(x[j] >= meta.x_lower[j] && x[j] <= meta.x_upper[j], "x[{j}] = {} is outside", x[j]);
        check_sign(z[j], x[j], meta.x_lower[j], meta.x_upper[j]);
    }
    for i in 0..m {
        assert!(c[i] >= meta.c_lower[i] - 1e-6 && c[i] <= meta.c_upper[i] + 1e-6, "c[{i}] = {}", c[i]);
        check_sign(y[i], c[i], meta.c_lower[i], meta.c_upper[i]);
    }
}

/// A positive multiplier belongs to an active upper bound, a negative one to an active lower bound.
fn check_sign(multiplier: f64, value: f64, lower: f64, upper: f64) {
    if multiplier > 1e-5 {
        assert!(upper - value < 1e-3 / multiplier, "{multiplier} at {value} in [{lower}, {upper}]");
    }
    if multiplier < -1e-5 {
        assert!(value - lower < -1e-3 / multiplier, "{multiplier} at {value} in [{lower}, {upper}]");
    }
}

/// Hock and Schittkowski 71.
fn hs71<'a>() -> ClosureProblem<'a> {
    Problem::new("hs71", 4)
        .start(&[1.0, 5.0, 5.0, 1.0])
        .bounds(&[1.0; 4], &[5.0; 4])
        .objective(|x| x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2])
        .gradient_by_differences()
        .constraints(&[25.0, 40.0], &[INF, 40.0], |x, c| {
            c[0] = x.iter().product();
            c[1] = x.iter().map(|v| v * v).sum();
        })
        .jacobian_by_differences()
        .hessian_by_differences()
        .build()
        .unwrap()
}

#[test]
fn hs71_is_solved_by_every_method() {
    for method in METHODS {
        let mut problem = hs71();
        let options = Options { method, tolerance: 1e-7, ..Options::default() };
        let report = solve(&mut problem, &options, &mut Silent).unwrap();
        assert!(report.solved(), "{method}: {}", report.message);
        assert_relative_eq!(report.objective, 17.0140173, epsilon = 1e-6);
        // The lower bound of x[0] and the inequality are active.
        assert!(report.z[0] < -1.0 && report.y[0] < -0.5, "{:?} {:?}", report.z, report.y);
    }
}

/// min sum (x_j - t_j)^2 with every kind of bound and a range, all active in some way.
fn quadratic<'a>(target: &'a [f64; 5], lower: &[f64; 5], upper: &[f64; 5]) -> ClosureProblem<'a> {
    Problem::new("quadratic", 5)
        .start(&[0.5; 5])
        .bounds(lower, upper)
        .objective(move |x| x.iter().zip(target).map(|(x, t)| (x - t).powi(2)).sum())
        .gradient(move |x, g| {
            for j in 0..5 {
                g[j] = 2.0 * (x[j] - target[j]);
            }
        })
        .constraints(&[-1.0, -INF], &[3.0, 2.5], |x, c| {
            c[0] = x[0] + x[1];
            c[1] = x[2] + x[3] + x[4];
        })
        .sparse_jacobian(
            // A repeated entry: its values add.
            Pattern { rows: vec![0, 0, 1, 1, 1, 1], cols: vec![0, 1, 2, 3, 4, 4] },
            |_, v| v.copy_from_slice(&[1.0, 1.0, 1.0, 1.0, 0.25, 0.75]),
        )
        .sparse_hessian(Pattern { rows: (0..5).collect(), cols: (0..5).collect() }, |_, sigma, _, h| {
            h.fill(2.0 * sigma);
        })
        .build()
        .unwrap()
}

#[test]
fn every_kind_of_bound_and_a_range() {
    let target = [5.0, -2.0, 4.0, 0.0, 7.0];
    let (lower, upper) = ([-INF, -1.0, 0.0, 1.0, 0.25], [2.5, INF, 3.0, 1.0, INF]);
    for method in METHODS {
        let mut problem = quadratic(&target, &lower, &upper);
        let report = run(&mut problem, method);
        assert_kkt(&mut problem, &report);
        // x[3] is fixed; x[0] + x[1] <= 3 with x[0] <= 2.5, x[1] >= -1; x[2] + x[4] <= 1.5.
        for (x, known) in report.x.iter().zip([2.5, -1.0, 0.0, 1.0, 1.5]) {
            assert_relative_eq!(*x, known, epsilon = 1e-6);
        }
        assert_relative_eq!(report.z[3], 2.0 * (0.0 - 1.0) - report.y[1], epsilon = 1e-5);
    }
}

#[test]
fn all_variables_fixed() {
    let target = [0.0; 5];
    let fixed = [0.1, 0.2, 0.3, 0.4, 0.5];
    let mut problem = quadratic(&target, &fixed, &fixed);
    let report = run(&mut problem, Method::Auto);
    assert!(report.solved(), "{}", report.message);
    assert_eq!(report.x, fixed);
    assert_relative_eq!(report.z[4], -1.0, epsilon = 1e-6);

    let outside = [0.1, 0.2, 3.0, 0.4, 0.5];
    let mut problem = quadratic(&target, &outside, &outside);
    let report = run(&mut problem, Method::Auto);
    assert_eq!(report.stop, StopReason::LocallyInfeasible, "{}", report.message);
    assert_eq!(report.worst_constraints[0].0, 1);
}

/// The multipliers of a problem without strictly feasible points: x0 >= 0, x1 >= 0, x0 + x1 <= 0.
#[test]
fn a_feasible_set_without_interior() {
    let mut problem = Problem::new("corner", 2)
        .start(&[1.0, 2.0])
        .bounds(&[0.0, 0.0], &[INF, INF])
        .objective(|x| -x[0] - 2.0 * x[1])
        .gradient(|_, g| g.copy_from_slice(&[-1.0, -2.0]))
        .constraints(&[-INF], &[0.0], |x, c| c[0] = x[0] + x[1])
        .jacobian(|_, j| j.fill(1.0))
        .hessian(|_, _, _, h| h.fill(0.0))
        .build()
        .unwrap();
    let report = run(&mut problem, Method::Auto);
    assert!(report.solved(), "{}", report.message);
    assert!(report.x.iter().all(|x| (0.0..1e-7).contains(x)), "{:?}", report.x);
}

/// No point satisfies x0^2 + x1^2 <= 1 and x0 >= 2: nearest is (2, 0), in the least-squares sense of the constraint.
#[test]
fn infeasible_bounds_and_constraints_are_certified() {
    for method in [Method::Auto, Method::InteriorPoint] {
        let mut problem = Problem::new("apart", 2)
            .start(&[3.0, 1.0])
            .bounds(&[2.0, -INF], &[INF, INF])
            .constraint_names(["disc"])
            .objective(|x| x[0] + x[1])
            .gradient(|_, g| g.fill(1.0))
            .constraints(&[-INF], &[1.0], |x, c| c[0] = x[0] * x[0] + x[1] * x[1])
            .jacobian(|x, j| j.copy_from_slice(&[2.0 * x[0], 2.0 * x[1]]))
            .hessian(|_, _, y, h| (h[0], h[3]) = (2.0 * y[0], 2.0 * y[0]))
            .build()
            .unwrap();
        let report = run(&mut problem, method);
        assert_eq!(report.stop, StopReason::LocallyInfeasible, "{}", report.message);
        assert_eq!(report.point, PointKind::LeastSquares);
        assert!(report.message.contains("disc"), "{}", report.message);
        assert_relative_eq!(report.x[0], 2.0, epsilon = 1e-5);
        assert_relative_eq!(report.primal, 3.0, epsilon = 1e-4);
    }
}

/// Three equations, two bounded unknowns: x = (1, 2) solves them; with x0 <= 0.5 the least-squares point is at that bound.
#[test]
fn over_determined_with_bounds() {
    let system = |upper: f64| {
        Problem::new("over", 2)
            .start(&[0.1, 0.1])
            .bounds(&[0.0, 0.0], &[upper, 5.0])
            .objective(|_| 0.0)
            .gradient(|_, g| g.fill(0.0))
            .equality(3, |x, c| {
                c[0] = x[0] * x[1] - 2.0;
                c[1] = x[0] + x[1] - 3.0;
                c[2] = x[0] * x[0] - 1.0;
            })
            .jacobian(|x, j| j.copy_from_slice(&[x[1], x[0], 1.0, 1.0, 2.0 * x[0], 0.0]))
            .hessian(|_, _, y, h| (h[0], h[2]) = (2.0 * y[2], y[0]))
            .build()
            .unwrap()
    };
    let report = run(&mut system(3.0), Method::Auto);
    assert!(report.solved(), "{}", report.message);
    assert_relative_eq!(report.x[0], 1.0, epsilon = 1e-6);
    let report = run(&mut system(0.5), Method::Auto);
    assert_eq!(report.stop, StopReason::LeastSquares, "{}", report.message);
    assert_relative_eq!(report.x[0], 0.5, epsilon = 1e-4);
}

/// Logarithms and square roots are never asked outside the bounds, from a start outside of them, either.
#[test]
fn functions_are_never_evaluated_outside_the_bounds() {
    for method in METHODS {
        let inside = |x: &[f64]| assert!(x[0] >= 0.0 && x[1] >= 1e-3 && x[1] <= 2.0, "evaluated at {x:?}");
        let mut problem = Problem::new("logs", 2)
            .start(&[-4.0, 9.0])
            .bounds(&[0.0, 1e-3], &[INF, 2.0])
            .objective(move |x| {
                inside(x);
                x[0] - x[0].sqrt() - x[1].ln()
            })
            .gradient(move |x, g| {
                inside(x);
                g.copy_from_slice(&[1.0 - 0.5 / x[0].sqrt(), -1.0 / x[1]]);
            })
            .constraints(&[0.5], &[INF], move |x, c| {
                inside(x);
                c[0] = x[0] + x[1].ln();
            })
            .jacobian(|x, j| j.copy_from_slice(&[1.0, 1.0 / x[1]]))
            .hessian(|x, sigma, y, h| {
                h[0] = 0.25 * sigma * x[0].powf(-1.5);
                h[3] = (sigma - y[0]) / (x[1] * x[1]);
            })
            .build()
            .unwrap();
        let report = run(&mut problem, method);
        assert!(report.solved(), "{method}: {}", report.message);
        assert_relative_eq!(report.x[0], 0.25, epsilon = 1e-6);
        assert_relative_eq!(report.x[1], 2.0, epsilon = 1e-6);
    }
}

#[test]
fn unbounded_in_spite_of_bounds() {
    let mut problem = Problem::new("ray", 2)
        .start(&[1.0, 1.0])
        .bounds(&[0.0, 0.0], &[INF, 1.0])
        .objective(|x| x[1] - x[0] * x[0])
        .gradient(|x, g| g.copy_from_slice(&[-2.0 * x[0], 1.0]))
        .hessian(|_, sigma, _, h| h[0] = -2.0 * sigma)
        .build()
        .unwrap();
    let report = run(&mut problem, Method::Auto);
    assert_eq!(report.stop, StopReason::Unbounded, "{}", report.message);
}

/// Wraps a problem whose functions fail, or are not a number, where x[0] > 1.2.
struct Faulty<'a> {
    inner: ClosureProblem<'a>,
    error: bool,
}

impl Faulty<'_> {
    fn check(&self, x: &[f64]) -> Result<bool, EvalError> {
        match (x[0] > 1.2, self.error) {
            (true, true) => Err(EvalError::Failed { function: "model", reason: "left its domain".into() }),
            (bad, _) => Ok(bad),
        }
    }
}

impl Nlp for Faulty<'_> {
    fn meta(&self) -> &NlpMeta {
        self.inner.meta()
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(if self.check(x)? { f64::NAN } else { self.inner.obj(x)? })
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.inner.grad(x, g)?;
        if self.check(x)? {
            g.fill(f64::NAN);
        }
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.inner.cons(x, c)?;
        if self.check(x)? {
            c.fill(f64::NAN);
        }
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.check(x)?;
        self.inner.jac_values(x, values)
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.check(x)?;
        self.inner.hess_values(x, sigma, y, values)
    }
}

/// hs71's solution has x[0] = 1: the bad half space is not far.
#[test]
fn functions_that_fail_in_half_the_space() {
    for error in [false, true] {
        let mut problem = Faulty { inner: hs71(), error };
        let options = Options { tolerance: 1e-7, ..Options::default() };
        let report = solve(&mut problem, &options, &mut Silent).unwrap();
        assert!(report.solved(), "{}", report.message);
        assert_relative_eq!(report.objective, 17.0140173, epsilon = 1e-6);
    }
}

#[test]
fn a_hessian_that_always_fails_ends_with_its_reason() {
    struct NoHessian<'a>(ClosureProblem<'a>);
    impl Nlp for NoHessian<'_> {
        fn meta(&self) -> &NlpMeta {
            self.0.meta()
        }
        fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
            self.0.obj(x)
        }
        fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
            self.0.grad(x, g)
        }
        fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
            self.0.cons(x, c)
        }
        fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
            self.0.jac_values(x, values)
        }
        fn hess_values(&mut self, _: &[f64], _: f64, _: &[f64], _: &mut [f64]) -> Result<(), EvalError> {
            Err(EvalError::Failed { function: "Hessian", reason: "the licence has expired".into() })
        }
    }
    let report = run(&mut NoHessian(hs71()), Method::Auto);
    assert!(!report.solved());
    assert!(report.message.contains("the licence has expired"), "{}", report.message);
}

#[test]
fn limits_and_callbacks_return_a_point_within_the_bounds() {
    let mut problem = hs71();
    let options = Options { max_iterations: 3, ..Options::default() };
    let report = solve(&mut problem, &options, &mut Silent).unwrap();
    assert_eq!(report.stop, StopReason::MaxIterations);
    assert!(report.x.iter().all(|x| (1.0..=5.0).contains(x)), "{:?}", report.x);
    let mut stop_at_two = |event: &Event<'_>| match event {
        Event::Iteration(row) if row.iteration == 2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let report = solve(&mut hs71(), &Options::default(), &mut stop_at_two).unwrap();
    assert_eq!(report.stop, StopReason::Interrupted);
    assert_eq!(report.iterations, 2);
}

#[test]
fn contradictory_bounds_are_one_sentence() {
    let problem =
        Problem::new("crossed", 1).bounds(&[1.0], &[0.0]).objective(|x| x[0]).gradient(|_, g| g[0] = 1.0);
    let error = problem.hessian(|_, _, _, h| h.fill(0.0)).build().map(|_| ()).unwrap_err();
    assert!(
        matches!(error, Error::Problem { .. }) && error.to_string().contains("expected lower <= upper"),
        "{error}"
    );
}

#[test]
fn the_sketched_method_refuses_bounds() {
    let options = Options { method: Method::SketchedNewton, ..Options::default() };
    let error = solve(&mut hs71(), &options, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("does not treat"), "{error}");
}

#[test]
fn a_warm_start_saves_iterations() {
    let options = Options { tolerance: 1e-7, ..Options::default() };
    let cold = solve(&mut hs71(), &options, &mut Silent).unwrap();
    let start = WarmStart { x: cold.x.clone(), y: cold.y.clone(), z: cold.z.clone() };
    let options = Options { warm_start: Some(start.clone()), ..options };
    let warm = solve(&mut hs71(), &options, &mut Silent).unwrap();
    assert!(warm.solved(), "{}", warm.message);
    assert!(warm.iterations <= 1 && cold.iterations >= 6, "{} and {}", warm.iterations, cold.iterations);

    // A neighbouring problem, by objective and by bounds.
    let (target, lower) = ([5.0, -2.0, 4.0, 0.0, 7.0], [-INF, -1.0, 0.0, 1.0, 0.25]);
    let upper = [2.5, INF, 3.0, 1.0, INF];
    let cold = run(&mut quadratic(&target, &lower, &upper), Method::Auto);
    let start = WarmStart { x: cold.x.clone(), y: cold.y.clone(), z: cold.z.clone() };
    let near = [5.01, -2.02, 3.99, 0.0, 7.03];
    let upper = [2.51, INF, 3.0, 1.0, INF];
    let options = Options { warm_start: Some(start), ..Options::default() };
    let mut problem = quadratic(&near, &lower, &upper);
    let warm = solve(&mut problem, &options, &mut Silent).unwrap();
    assert_kkt(&mut problem, &warm);
    assert!(warm.iterations < cold.iterations, "{} and {}", warm.iterations, cold.iterations);
}

#[test]
fn a_warm_start_of_the_wrong_length_is_one_sentence() {
    let start = WarmStart { x: vec![1.0; 3], y: vec![0.0; 2], z: vec![0.0; 4] };
    let options = Options { warm_start: Some(start), ..Options::default() };
    let error = solve(&mut hs71(), &options, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("x has 3 entries, expected 4"), "{error}");
}

#[test]
fn evaluations_are_limited() {
    let options = Options { max_evaluations: Some(4), ..Options::default() };
    let report = solve(&mut hs71(), &options, &mut Silent).unwrap();
    assert_eq!(report.stop, StopReason::MaxEvaluations);
    assert!(report.counts.objective <= 5, "{:?}", report.counts);
}

#[test]
fn a_function_that_panics_ends_the_solve_with_the_best_point() {
    let mut calls = 0;
    let mut problem = Problem::new("panics", 1)
        .start(&[3.0])
        .bounds(&[0.0], &[INF])
        .objective(|x| x[0].powi(4) - x[0])
        .gradient(move |x, g| {
            calls += 1;
            assert!(calls < 4, "the model gave up");
            g[0] = 4.0 * x[0].powi(3) - 1.0;
        })
        .hessian(|x, sigma, _, h| h[0] = 12.0 * sigma * x[0] * x[0])
        .build()
        .unwrap();
    let report = run(&mut problem, Method::Auto);
    assert_eq!(report.stop.as_str(), "evaluation_panicked");
    assert!(report.message.contains("the model gave up"), "{}", report.message);
    assert!(report.x[0] > 0.0 && report.x[0] < 3.0, "{:?}", report.x);
}

/// No variables, no constraints, no objective: every combination has an answer.
#[test]
fn nothing_to_do() {
    let mut empty = Problem::new("empty", 0)
        .objective(|_| 4.0)
        .gradient(|_, _| ())
        .hessian(|_, _, _, _| ())
        .build()
        .unwrap();
    let report = run(&mut empty, Method::Auto);
    assert!(report.solved(), "{}", report.message);
    assert_eq!(report.objective, 4.0);

    let mut feasibility = Problem::new("no objective", 2)
        .bounds(&[0.0, 0.0], &[1.0, 1.0])
        .objective(|_| 0.0)
        .gradient(|_, g| g.fill(0.0))
        .constraints(&[1.5], &[INF], |x, c| c[0] = x[0] + x[1])
        .jacobian(|_, j| j.fill(1.0))
        .hessian(|_, _, _, h| h.fill(0.0))
        .build()
        .unwrap();
    let report = run(&mut feasibility, Method::Auto);
    assert_kkt(&mut feasibility, &report);
}

/// Bounds of 1e20 and more are none; numbers just below are bounds like any other.
#[test]
fn huge_numbers() {
    let mut problem = Problem::new("huge", 2)
        .start(&[1e5, -1e5])
        .bounds(&[-1e20, -1e19], &[1e30, 1e19])
        .objective(|x| (x[0] - 1e6).powi(2) * 1e-6 + x[1] * x[1])
        .gradient(|x, g| g.copy_from_slice(&[2e-6 * (x[0] - 1e6), 2.0 * x[1]]))
        .constraints(&[-1e25], &[1e19], |x, c| c[0] = x[0] + x[1])
        .jacobian(|_, j| j.fill(1.0))
        .hessian(|_, sigma, _, h| (h[0], h[3]) = (2e-6 * sigma, 2.0 * sigma))
        .build()
        .unwrap();
    let report = run(&mut problem, Method::Auto);
    assert!(report.solved(), "{}", report.message);
    assert_relative_eq!(report.x[0], 1e6, max_relative = 1e-5);
}

/// First derivatives only, in every class; n = 60 is more than a dense factorization takes.
#[test]
fn a_limited_memory_hessian_solves_every_class() {
    let n = 60;
    let rosenbrock =
        |x: &[f64]| x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum();
    let gradient = |x: &[f64], g: &mut [f64]| {
        g.fill(0.0);
        for j in 0..x.len() - 1 {
            let r = x[j + 1] - x[j] * x[j];
            g[j] += -400.0 * x[j] * r - 2.0 * (1.0 - x[j]);
            g[j + 1] += 200.0 * r;
        }
    };
    let parts =
        || Problem::new("rosenbrock", n).start(&vec![-1.0; n]).objective(rosenbrock).gradient(gradient);
    let sum = |x: &[f64], c: &mut [f64]| c[0] = x.iter().sum();
    let problems = [
        parts(),
        parts().bounds(&vec![-2.0; n], &vec![0.5; n]),
        parts().equality(1, sum).jacobian(|_, j| j.fill(1.0)),
        parts().constraints(&[-INF], &[10.0], sum).jacobian(|_, j| j.fill(1.0)),
    ];
    for (k, problem) in problems.into_iter().enumerate() {
        let mut problem = problem.limited_memory_hessian().build().unwrap();
        let options = Options { tolerance: 1e-6, ..Options::default() };
        let report = solve(&mut problem, &options, &mut Silent).unwrap();
        assert!(report.solved(), "{k}: {}", report.message);
        assert_eq!(report.counts.hessian, 0);
    }
    // The same answer as with exact second derivatives.
    let options = Options { hessian: HessianModel::LimitedMemory, tolerance: 1e-6, ..Options::default() };
    let report = solve(&mut hs71(), &options, &mut Silent).unwrap();
    assert!(report.solved(), "{}", report.message);
    assert_relative_eq!(report.objective, 17.0140173, epsilon = 1e-5);
    let options = Options { method: Method::SketchedNewton, ..options };
    let mut problem =
        parts().equality(1, sum).jacobian(|_, j| j.fill(1.0)).limited_memory_hessian().build().unwrap();
    let error = solve(&mut problem, &options, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("second derivatives"), "{error}");
}

/// Products only: a membrane over an obstacle, min 1/2 u'Au - h^2 f'u, u >= psi, with a bound on its mean; no matrix is formed.
#[test]
fn bounds_and_inequalities_without_matrices() {
    let side = 12;
    let n = side * side;
    let laplacian = move |u: &[f64], out: &mut [f64]| {
        for k in 0..n {
            let (i, j) = (k / side, k % side);
            let at = |i: usize, j: usize| u[i * side + j];
            out[k] = 4.0 * u[k];
            out[k] -= if i > 0 { at(i - 1, j) } else { 0.0 };
            out[k] -= if i + 1 < side { at(i + 1, j) } else { 0.0 };
            out[k] -= if j > 0 { at(i, j - 1) } else { 0.0 };
            out[k] -= if j + 1 < side { at(i, j + 1) } else { 0.0 };
        }
    };
    let mut work = vec![0.0; n];
    let psi: Vec<f64> =
        (0..n).map(|k| if (k / side).abs_diff(side / 2) < 3 { -0.02 } else { -INF }).collect();
    let mut problem = Problem::new("membrane", n)
        .bounds(&psi, &vec![INF; n])
        .objective(move |u| {
            laplacian(u, &mut work);
            u.iter().zip(&work).map(|(u, a)| 0.5 * u * a + 0.01 * u).sum()
        })
        .gradient(move |u, g| {
            laplacian(u, g);
            g.iter_mut().for_each(|g| *g += 0.01);
        })
        .constraints(&[-2.0], &[INF], |u, c| c[0] = u.iter().sum())
        .jacobian_products(|_, v, jv| jv[0] = v.iter().sum(), |_, w, jtw| jtw.fill(w[0]))
        .hessian_product(move |_, sigma, _, v, hv| {
            laplacian(v, hv);
            hv.iter_mut().for_each(|h| *h *= sigma);
        })
        .build()
        .unwrap();
    let report = run(&mut problem, Method::InteriorPoint);
    assert!(report.solved(), "{}", report.message);
    assert_ne!(report.linear.solver, "ldl");
    let (u, z) = (&report.x, &report.z);
    let mut g = vec![0.0; n];
    laplacian(u, &mut g);
    for k in 0..n {
        assert!((g[k] + 0.01 + report.y[0] + z[k]).abs() < 1e-6);
        assert!(u[k] >= psi[k] && z[k] <= 0.0);
    }
    assert!(z.iter().any(|z| *z < -1e-4), "no contact");
}

/// min -x + y^2 subject to x <= 1.
#[test]
fn bounds_are_relaxed_only_if_allowed() {
    let largest = std::sync::Mutex::new(0.0f64);
    let seen = || *largest.lock().unwrap();
    let mut problem = Problem::new("edge", 2)
        .start(&[0.5, 0.0])
        .bounds(&[0.0, -INF], &[1.0, INF])
        .objective(|x| {
            let mut largest = largest.lock().unwrap();
            *largest = largest.max(x[0]);
            -x[0] + x[1] * x[1]
        })
        .gradient(|x, g| g.copy_from_slice(&[-1.0, 2.0 * x[1]]))
        .hessian(|_, sigma, _, h| h.copy_from_slice(&[0.0, 0.0, 0.0, 2.0 * sigma]))
        .build()
        .unwrap();
    let strict = solve(&mut problem, &Options::default(), &mut Silent).unwrap();
    assert!(strict.solved() && seen() <= 1.0, "{} {}", strict.message, seen());
    let options = Options { relax_bounds: 1e-4, ..Options::default() };
    let relaxed = solve(&mut problem, &options, &mut Silent).unwrap();
    assert!(relaxed.x[0] > 1.0 + 0.9e-4 && seen() <= 1.0 + 1e-4, "{:?}", relaxed.x);
    // The residuals are those of the original bounds.
    assert_relative_eq!(relaxed.primal, relaxed.x[0] - 1.0, epsilon = 1e-12);
    let options = Options { relax_bounds: 1.0, ..Options::default() };
    let error = solve(&mut problem, &options, &mut Silent).unwrap_err();
    assert!(error.to_string().contains("relax_bounds"), "{error}");
}
