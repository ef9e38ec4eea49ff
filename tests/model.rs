//! Models written in Rust.

use std::time::Instant;

use costate::Nlp;
use costate::model::{Expr, Expression, Model, less_than, select, variable};
use costate::nl::{NlFormat, NlOptions, NlProblem, write};
use costate::nlp::check::{CheckOptions, check_derivatives};
use costate::observe::Silent;
use costate::opt::{self, Options, Solver, Start};

fn solve(m: &mut Model) -> costate::Report {
    opt::solve(m, &Options::default(), &mut Silent).unwrap()
}

/// sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2 from (-1.2, 1, -1.2, ...).
fn chain(n: usize) -> Model {
    let mut m = Model::new("chain");
    let x: Vec<_> = (0..n).map(|i| m.add(variable().start(if i % 2 == 0 { -1.2 } else { 1.0 }))).collect();
    m.minimize(
        x.windows(2).map(|w| 100.0 * (w[1] - w[0].powi(2)).powi(2) + (1.0 - w[0]).powi(2)).sum::<Expr>(),
    );
    m
}

#[test]
fn every_function_has_exact_derivatives() {
    let mut m = Model::new("functions");
    let (x, y) = (m.add(variable().start(0.4)), m.add(variable().start(0.7)));
    let terms: Vec<Expr> = vec![
        (x - 2.0 * y).abs(),
        x.sqrt() * y.exp(),
        (x * y).ln() + (x + y).log10(),
        x.sin() * y.cos() - (x * x).tan(),
        x.asin() + y.acos() + (x / y).atan(),
        x.sinh() + y.cosh() + (x - y).tanh(),
        x.asinh() + (1.5 + y).acosh() + (0.5 * x).atanh(),
        x.powi(3) + y.powf(1.7) + x.pow(y) + y.atan2(x),
        x.min(y) + x.max(2.0 * y) - (-x),
        select(less_than(x, y), x.ln(), y.sqrt()),
    ];
    for (k, e) in terms.iter().enumerate() {
        m.subject_to(e.between(-100.0, 100.0).named(format!("term {k}")));
    }
    m.minimize(terms.into_iter().sum::<Expr>());
    let (a, b) = (0.4f64, 0.7f64);
    let exact = [
        (a - 2.0 * b).abs(),
        a.sqrt() * b.exp(),
        (a * b).ln() + (a + b).log10(),
        a.sin() * b.cos() - (a * a).tan(),
        a.asin() + b.acos() + (a / b).atan(),
        a.sinh() + b.cosh() + (a - b).tanh(),
        a.asinh() + (1.5 + b).acosh() + (0.5 * a).atanh(),
        a.powi(3) + b.powf(1.7) + a.powf(b) + b.atan2(a),
        a.min(b) + a.max(2.0 * b) + a,
        a.ln(),
    ];
    let mut c = vec![0.0; exact.len()];
    let f = m.obj_cons(&[a, b], &mut c).unwrap();
    for (k, (c, exact)) in c.iter().zip(exact).enumerate() {
        assert!((c - exact).abs() < 1e-14 * exact.abs().max(1.0), "{k}: {c} {exact}");
    }
    assert!((f - exact.iter().sum::<f64>()).abs() < 1e-13);
    let report = check_derivatives(&mut m, &[a, b], &CheckOptions::default());
    assert!(report.passed(), "{:?}", report.disagreements);
}

#[test]
fn a_long_chain_is_built_and_solved() {
    const N: usize = 100_000;
    let begun = Instant::now();
    let mut m = chain(N);
    assert_eq!(m.meta().hessian.as_ref().unwrap().len(), 2 * N - 1);
    eprintln!("built and compiled in {:.3} s", begun.elapsed().as_secs_f64());
    let x = vec![1.0; N];
    assert_eq!(m.obj(&x).unwrap(), 0.0);
    let mut small = chain(1000);
    let report = solve(&mut small);
    assert!(report.solved() && report.objective < 4.0, "{report:?}");
}

#[test]
fn parameters_change_without_compiling() {
    // min (x - p)^2 + q e^y + y^2 with p x + y >= q, x <= q: p and q as factor, side, and in a bound's place.
    let mut m = Model::new("parameters");
    let (x, y) = (m.add(variable().name("x")), m.add(variable().name("y")));
    let (p, q) = (m.parameter("p", 1.0), m.parameter("q", 2.0));
    m.minimize((x - p).powi(2) + q * y.exp() + y.powi(2) + q);
    let row = m.subject_to((p * x + y).ge(q).named("cover"));
    let side = m.subject_to(x.le(3.0 * q));
    let mut solver = Solver::new(Options::default()).unwrap();
    for (p0, q0) in [(1.0, 2.0), (3.0, 0.5), (-0.5, 0.25), (1.0, 2.0)] {
        m.set(p, p0);
        m.set(q, q0);
        assert_eq!((m.get(p), m.get(q)), (p0, q0));
        // The same model with constants.
        let mut fresh = Model::new("constants");
        let (x2, y2) = (fresh.add(variable()), fresh.add(variable()));
        fresh.minimize((x2 - p0).powi(2) + q0 * y2.exp() + y2.powi(2) + q0);
        fresh.subject_to((p0 * x2 + y2).ge(q0));
        fresh.subject_to(x2.le(3.0 * q0));
        let at = [0.3, -0.2];
        let (mut c, mut c2) = ([0.0; 2], [0.0; 2]);
        let (f, f2) = (m.obj_cons(&at, &mut c).unwrap(), fresh.obj_cons(&at, &mut c2).unwrap());
        assert!((f - f2).abs() < 1e-14, "{f} {f2}");
        for i in 0..2 {
            let violation = |m: &Model, c: &[f64]| [c[i] - m.meta().c_lower[i], c[i] - m.meta().c_upper[i]];
            let (a, b) = (violation(&m, &c), violation(&fresh, &c2));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-14 || a == &b), "{a:?} {b:?}");
        }
        let checked = check_derivatives(&mut m, &at, &CheckOptions::default());
        assert!(checked.passed(), "{:?}", checked.disagreements);
        let found = solver.solve(&mut m, Start::Problem, &mut Silent).unwrap().clone();
        let expected = solve(&mut fresh);
        assert!(found.solved() && expected.solved(), "{found:?} {expected:?}");
        assert!((found.objective - expected.objective).abs() < 1e-6);
        assert!((row.multiplier(&found) - expected.y[0]).abs() < 1e-4 && side.index() == 1);
        assert_eq!(m.value("x", &found), Some(x.value(&found)));
        assert_eq!(m.multiplier("cover", &found), Some(row.multiplier(&found)));
    }
    // A row whose parameter is all but linear stays linear.
    assert_eq!(m.meta().linear, [false, true]);
}

#[test]
fn bounds_sides_and_starts_change_too() {
    let mut m = Model::new("changes");
    let x = m.add_vector(&variable().min(0).name("x"), 2);
    m.maximize(x[0] + 2.0 * x[1]);
    let row = m.subject_to((x[0] + x[1]).le(1));
    let report = solve(&mut m);
    assert!(report.solved() && (report.objective - 2.0).abs() < 1e-6);
    m.set_bounds(x[1], 0.0, 0.25);
    m.set_sides(row, f64::NEG_INFINITY, 2.0);
    m.set_start(x[0], 0.5);
    assert_eq!(m.meta().x0, [0.5, 0.0]);
    let report = solve(&mut m);
    assert!((report.objective - 2.25).abs() < 1e-6, "{report:?}");
    // One more variable: compiled again.
    let z = m.add(variable().max(3).name("z"));
    m.maximize(x[0] + z);
    assert_eq!(m.meta().n(), 3);
    assert!((solve(&mut m).objective - 5.0).abs() < 1e-6);
    assert_eq!(m.meta().variable_names, ["x[0]", "x[1]", "z"]);
    let grid = Model::new("grid").add_matrix(&variable().name("t"), 2, 3);
    assert_eq!((grid.len(), grid[1][2].index()), (2, 5));
}

#[test]
fn multipliers_of_equal_bounds_are_shared() {
    // x0 = x1 = x2 <= 1: the multipliers of the three bounds add up to 4, and a barrier on all three makes them equal.
    let mut m = Model::new("shared");
    let x = m.add_vector(&variable().max(1), 3);
    m.minimize(-(x[0] + 2.0 * x[1] + x[2]));
    m.subject_to(x[0].eq(x[1]));
    m.subject_to(x[1].eq(x[2]));
    for presolve in [true, false] {
        let options = Options { presolve, ..Options::default() };
        let report = opt::solve(&mut m, &options, &mut Silent).unwrap();
        assert!(report.solved());
        assert!(report.z.iter().all(|z| (z - 4.0 / 3.0).abs() < 1e-4), "{presolve}: {:?}", report.z);
    }
}

#[test]
fn expressions_print_with_names() {
    let mut m = Model::new("print");
    let (x, y) = (m.add(variable().name("x")), m.add(variable().name("y")));
    let p = m.parameter("p", 2.0);
    assert_eq!(m.show(100.0 * (y - x.powi(2)).powi(2)), "100 * ((y - x^2)^2)");
    assert_eq!(m.show(p * x.sin() - (x + y) / 2.0), "p * sin(x) - (x + y) / 2");
    let mut deep = Expr::from(x);
    for _ in 0..100_000 {
        deep = deep.sin();
    }
    assert!(m.show(&deep).len() < 2000);
    // Sums that grow in a loop are one sum; deep ones are dropped without a stack.
    let mut sum = Expr::from(0.0);
    for _ in 0..100_000 {
        sum += x * y;
    }
    m.minimize(sum);
    assert!((m.obj(&[2.0, 3.0]).unwrap() - 6e5).abs() < 1e-6);
}

#[test]
fn mistakes_are_sentences() {
    let (mut a, mut b) = (Model::new("a"), Model::new("b"));
    let (x, z) = (a.add(variable()), b.add(variable()));
    a.minimize(x * z);
    assert_eq!(a.check().unwrap_err().to_string(), "problem a: a variable is one of another model");
    let report = opt::solve(&mut a, &Options::default(), &mut Silent).unwrap();
    assert!(report.message.contains("a variable is one of another model"), "{}", report.message);
    b.minimize(z.powi(2));
    b.add(variable().min(2).max(1).name("crossed"));
    let error = opt::solve(&mut b, &Options::default(), &mut Silent).unwrap_err().to_string();
    assert!(error.contains("crossed"), "{error}");
    fn is_send<T: Send>(_: &T) {}
    is_send(&a);
}

#[test]
fn saved_and_loaded() {
    let mut m = chain(6);
    let y = m.add(variable().min(0).name("y"));
    let p = m.parameter("p", 1.5);
    m.subject_to((y * p).le(4).named("last"));
    let bytes = write(&m, NlFormat::Text).unwrap().model;
    let mut back = NlProblem::from_bytes("chain.nl", &bytes, &NlOptions::default()).unwrap();
    let (a, b) = (solve(&mut m), opt::solve(&mut back, &Options::default(), &mut Silent).unwrap());
    assert!(a.solved() && b.solved() && (a.objective - b.objective).abs() < 1e-9);
}
