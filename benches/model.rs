//! Seconds from nothing to a solution for models written in Rust: Rosenbrock's chain, sum 100 (x_{i+1} - x_i^2)^2 + (a - x_i)^2, from (-1.2, 1, -1.2, ..).
//!
//! `cargo bench --bench model -- [VARIABLES]`: as a model and as a function written once (`Problem::from_dual`); built, compiled, solved, and solved again with another a.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use costate::model::{Expr, Expression, Model, variable};
use costate::nlp::{Nlp, Problem};
use costate::observe::Silent;
use costate::opt::{Options, Solver, Start};
use costate::report::Report;

fn start(i: usize) -> f64 {
    if i.is_multiple_of(2) { -1.2 } else { 1.0 }
}

/// Seconds since the last call.
struct Watch(Instant);

impl Watch {
    fn lap(&mut self) -> f64 {
        let seconds = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        seconds
    }
}

fn show(what: &str, seconds: f64, report: &Report) {
    let t = &report.time;
    println!(
        "  {what:<22} {seconds:.3} s ({} iterations, {}, f = {:.6}; {t:?})",
        report.iterations,
        report.stop.as_str(),
        report.objective
    );
}

fn as_model(n: usize) -> Result<(), costate::Error> {
    let mut watch = Watch(Instant::now());
    let mut m = Model::new("chain");
    let x: Vec<_> = (0..n).map(|i| m.add(variable().start(start(i)))).collect();
    let a = m.parameter("a", 1.0);
    m.minimize(
        x.windows(2).map(|w| 100.0 * (w[1] - w[0].powi(2)).powi(2) + (a - w[0]).powi(2)).sum::<Expr>(),
    );
    let built = watch.lap();
    m.check()?;
    println!("model of {n} variables\n  built {built:.3} s, compiled {:.3} s", watch.lap());
    let mut solver = Solver::new(Options::default())?;
    let report = solver.solve(&mut m, Start::Problem, &mut Silent)?;
    show("solved", watch.lap(), report);
    m.set(a, 1.01);
    println!("  parameter set {:.6} s", watch.lap());
    let report = solver.solve(&mut m, Start::Last, &mut Silent)?;
    show("from the last solution", watch.lap(), report);
    Ok(())
}

fn as_function(n: usize) -> Result<(), costate::Error> {
    let mut watch = Watch(Instant::now());
    let a = AtomicU64::new(1.0f64.to_bits());
    let x0: Vec<f64> = (0..n).map(start).collect();
    let mut p = Problem::from_dual(n, 0, |x, _| {
        let a = f64::from_bits(a.load(Relaxed));
        x.windows(2).map(|w| 100.0 * (w[1] - w[0].powi(2)).powi(2) + (a - w[0]).powi(2)).sum()
    })
    .start(&x0)
    .build()?;
    println!("function of {n} variables\n  built, pattern found {:.3} s", watch.lap());
    let mut g = vec![0.0; n];
    let mut h = vec![0.0; p.meta().hessian.as_ref().map_or(0, |h| h.len())];
    let evaluated = p.grad(&x0, &mut g).and_then(|()| p.hess_values(&x0, 1.0, &[], &mut h));
    println!(
        "  gradient and Hessian   {:.3} s ({})",
        watch.lap(),
        if evaluated.is_ok() { "ok" } else { "failed" }
    );
    let mut solver = Solver::new(Options::default())?;
    let report = solver.solve(&mut p, Start::Problem, &mut Silent)?;
    show("solved", watch.lap(), report);
    a.store(1.01f64.to_bits(), Relaxed);
    let report = solver.solve(&mut p, Start::Last, &mut Silent)?;
    show("from the last solution", watch.lap(), report);
    Ok(())
}

fn main() -> Result<(), costate::Error> {
    let n = std::env::args().filter_map(|a| a.parse().ok()).next().unwrap_or(100_000);
    as_model(n)?;
    as_function(n)
}
