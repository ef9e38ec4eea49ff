//! Stiff problems against diffsol on the same machine: work and precision in one run.
//!
//!     cargo bench --bench stiff                  # criterion
//!     cargo bench --bench stiff -- --ratios      # times, errors, ratios at equal error
//!     cargo bench --bench stiff -- --large [--small] [--svg FILE]    # many unknowns: time, memory, errors (benches/large)
//!     cargo bench --bench stiff -- --dense       # full matrices: own kernels against faer's
//!     cargo bench --bench stiff -- --adjoint     # reverse against forward for many unknowns
//!
//! Errors are relative to the reference values in ../shared/data/nde (or COSTATE_SHARED); without them to a run at 1e-12.

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/common/diffusion.rs"]
mod diffusion;
mod large;
#[path = "../tests/common/stiff.rs"]
mod problems;

use std::hint::black_box;
use std::time::Instant;

use costate::adjoint::{Bars, Memory, StiffAdjoint};
use costate::diff::{FnMap, Map};
use costate::linalg::MatrixRef;
use costate::linsol::factors::{DenseLu, Factors};
use costate::ode::*;
use criterion::Criterion;
use diffsol::{NalgebraLU, NalgebraMat, OdeBuilder, OdeSolverMethod, OdeSolverStopReason};
use problems::{Stiff, relative_error};

/// Seconds of the fastest of many calls.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    let (mut fastest, mut calls) = (f64::INFINITY, 0);
    while calls < 20 || (start.elapsed().as_secs_f64() < 0.4 && calls < 20_000) {
        let t = Instant::now();
        f();
        fastest = fastest.min(t.elapsed().as_secs_f64());
        calls += 1;
    }
    fastest
}

fn atol(tol: f64) -> f64 {
    1e-4 * tol
}

/// diffsol as its own documentation uses it, on nalgebra's matrices; the final state, or nothing where it fails.
macro_rules! theirs {
    ($pr:expr, $tol:expr, $method:ident) => {{
        let pr = $pr;
        let problem = OdeBuilder::<NalgebraMat<f64>>::new()
            .rtol($tol)
            .atol(vec![atol($tol); pr.n])
            .p(pr.p.to_vec())
            .rhs_implicit(
                |y: &[f64], p: &[f64], t: f64, dy: &mut [f64]| (pr.f)(t, y, p, dy),
                |y: &[f64], p: &[f64], t: f64, v: &[f64], out: &mut [f64]| (pr.jv)(y, p, t, v, out),
            )
            .init(|_p: &[f64], _t: f64, y: &mut [f64]| y.copy_from_slice(pr.y0), pr.n)
            .build()
            .unwrap();
        let run = || -> Option<(Vec<f64>, usize)> {
            let mut solver = problem.$method::<NalgebraLU<f64>>().ok()?;
            solver.set_stop_time(pr.t1).ok()?;
            let mut steps = 0;
            loop {
                steps += 1;
                if let OdeSolverStopReason::TstopReached = solver.step().ok()? {
                    break;
                }
            }
            let state = solver.state();
            Some(((0..pr.n).map(|i| state.y[i]).collect(), steps))
        };
        let result = run();
        let seconds = best(|| {
            black_box(run());
        });
        result.map(|(y, steps)| (y, steps, seconds))
    }};
}

/// (error, seconds).
type Row = (f64, f64);

/// Our time at this error, by interpolation in the logarithms.
fn time_at(ours: &[Row], error: f64) -> Option<f64> {
    ours.windows(2).find(|w| w[0].0 >= error && w[1].0 <= error).map(|w| {
        let s = (error / w[0].0).ln() / (w[1].0 / w[0].0).ln();
        w[0].1 * (w[1].1 / w[0].1).powf(s)
    })
}

fn exact(pr: &Stiff) -> Vec<f64> {
    match common::reference("reference_values.json") {
        Some(values) => serde_json::from_value(values["stiff"][pr.key].clone()).unwrap(),
        None => {
            let o = Options { max_steps: 10_000_000, ..Options::tolerances(1e-12, 1e-16) };
            solve(&mut field(pr), &RODAS5P, &o, (0.0, pr.t1), pr.y0, pr.p, &[]).unwrap().y1
        }
    }
}

fn field(pr: &Stiff) -> impl Map<f64> + use<> {
    FnMap::new(pr.n, pr.p.len(), pr.f).with_jacobian(pr.jac).autonomous()
}

fn ours(pr: &Stiff, method: &'static RosenbrockTableau, exact: &[f64]) -> Vec<Row> {
    let mut rows = vec![];
    for k in 4..=20 {
        let tol = 10f64.powf(-0.5 * k as f64);
        let mut f = field(pr);
        let mut y = vec![];
        let mut counts = OdeCounts::default();
        let mut ok = true;
        // As the peer: the solver is made anew for each integration.
        let seconds = best(|| {
            let mut it = StiffIntegrator::new(method, pr.n, 1, &Options::tolerances(tol, atol(tol))).unwrap();
            let r = it.run(&mut f, (0.0, pr.t1), pr.y0, pr.p, &mut ()).unwrap();
            (ok, counts) = (r.ok(), r.counts);
            y = it.y().to_vec();
        });
        if !ok {
            break;
        }
        let error = relative_error(&y, exact);
        println!(
            "  costate {:8} tol {tol:.1e}  error {error:.2e}  {:9.1} us  {} steps",
            method.name,
            seconds * 1e6,
            counts.accepted
        );
        rows.push((error, seconds));
    }
    rows
}

fn ratios(only: Option<&str>) {
    for pr in problems::ALL.iter().filter(|p| only.is_none_or(|o| p.name.contains(o))) {
        println!("{} (best of many, one core)", pr.name);
        let exact = exact(pr);
        let rows: Vec<(&str, Vec<Row>)> =
            [&RODAS5P, &RODAS4].into_iter().map(|m| (m.name, ours(pr, m, &exact))).collect();
        for tol in [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9] {
            let results = [
                ("bdf", theirs!(pr, tol, bdf)),
                ("esdirk34", theirs!(pr, tol, esdirk34)),
                ("tr_bdf2", theirs!(pr, tol, tr_bdf2)),
            ];
            for (name, result) in results {
                let Some((y, steps, seconds)) = result else {
                    println!("  diffsol {name:8} tol {tol:.0e}  fails");
                    continue;
                };
                let error = relative_error(&y, &exact);
                print!(
                    "  diffsol {name:8} tol {tol:.0e}  error {error:.2e}  {:9.1} us  {steps} steps ",
                    seconds * 1e6
                );
                for (method, rows) in &rows {
                    if let Some(t) = time_at(rows, error) {
                        print!("  ratio {method}: {:.2}", t / seconds);
                    }
                }
                println!();
            }
        }
    }
}

/// Whether a matrix has an entry there.
type Holds = Box<dyn Fn(usize, usize) -> bool>;

/// Own elimination against faer's, in turn, on full matrices and on ones with zeros.
fn dense() {
    println!("| n | matrix | own, ms | faer's, ms | own / faer's | as chosen, ms |");
    println!("|---|---|---|---|---|---|");
    for n in [64, 128, 192, 256, 384, 512, 768, 1000] {
        let noise = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1009) as f64 / 1009.0 - 0.5;
        let kinds: [(&str, Holds); 4] = [
            ("full", Box::new(|_, _| true)),
            ("band of 2 + 2", Box::new(|i, j| i.abs_diff(j) <= 2)),
            ("band of n/8 on each side", Box::new(move |i, j| i.abs_diff(j) <= n / 8)),
            ("five entries a column", Box::new(move |i, j| i == j || (i * 31 + j * 17) % (n / 4) == 0)),
        ];
        for (name, is) in kinds {
            let value = |k: usize| {
                let (i, j) = (k % n, k / n);
                if !is(i, j) { 0.0 } else { noise(i, j) + if i == j { 4.0 } else { 0.0 } }
            };
            let values: Vec<f64> = (0..n * n).map(value).collect();
            let a = MatrixRef::Dense { n, values: &values };
            let mut own = DenseLu::blocked_above(usize::MAX);
            let mut theirs = DenseLu::always_blocked();
            let mut chosen = DenseLu::new();
            let mut fastest = [f64::INFINITY; 3];
            let begin = Instant::now();
            while begin.elapsed().as_secs_f64() < 0.6 {
                for (lu, fastest) in [&mut own, &mut theirs, &mut chosen].into_iter().zip(&mut fastest) {
                    let clock = Instant::now();
                    lu.factor(a).unwrap();
                    *fastest = fastest.min(clock.elapsed().as_secs_f64());
                }
            }
            let [own, theirs, chosen] = fastest.map(|s| 1e3 * s);
            println!("| {n} | {name} | {own:.3} | {theirs:.3} | {:.2} | {chosen:.3} |", own / theirs);
        }
    }
}

/// The gradient of the Brusselator by the recorded formula.
fn adjoint() {
    println!("| unknowns | forward, ms | reverse, ms | reverse / forward |");
    println!("|---|---|---|---|");
    for n in [500, 1000, 2000, 4000, 10_000] {
        let pr = diffusion::Brusselator::new(n);
        let (mut field, y0) = (pr.field(), pr.start());
        let options = Options::tolerances(1e-4, 1e-4);
        let mut s = StiffAdjoint::new(&RODAS5P, n, 1, &options, Memory::Stages).unwrap();
        let (w, mut yb, mut pb) = (vec![1.0; n], vec![0.0; n], vec![0.0; 3]);
        let (mut forward, mut reverse) = (f64::INFINITY, f64::INFINITY);
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < 3.0 {
            let clock = Instant::now();
            s.forward(&mut field, (0.0, 10.0), &y0, &diffusion::P, &mut ()).unwrap();
            forward = forward.min(clock.elapsed().as_secs_f64());
            let clock = Instant::now();
            let bars = Bars { y1: &w, ..Bars::default() };
            s.reverse(&mut field, &diffusion::P, &bars, &mut yb, &mut pb).unwrap();
            reverse = reverse.min(clock.elapsed().as_secs_f64());
        }
        println!("| {n} | {:.2} | {:.2} | {:.2} |", 1e3 * forward, 1e3 * reverse, reverse / forward);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |name: &str| args.iter().any(|a| a == name);
    let after = |name: &str, k: usize| args.iter().skip_while(|a| *a != name).nth(k).map(String::as_str);
    if let (Some(problem), Some(size), Some(method)) =
        (after("--cell", 1), after("--cell", 2), after("--cell", 3))
    {
        return large::cell(problem, size.parse().unwrap(), method);
    }
    if has("--large") {
        return large::table(after("--svg", 1), has("--small"));
    }
    if has("--dense") {
        return dense();
    }
    if has("--adjoint") {
        return adjoint();
    }
    if has("--ratios") {
        return ratios(after("--only", 1));
    }
    let mut c = Criterion::default().sample_size(20).configure_from_args();
    for pr in &problems::ALL {
        for method in RosenbrockTableau::all() {
            let mut it = StiffIntegrator::new(method, pr.n, 1, &Options::tolerances(1e-5, 1e-9)).unwrap();
            let mut f = field(pr);
            c.bench_function(&format!("{} 1e-5/{}", pr.name, method.name), |b| {
                b.iter(|| it.run(&mut f, (0.0, pr.t1), pr.y0, pr.p, &mut ()).unwrap())
            });
        }
    }
    c.final_summary();
}
