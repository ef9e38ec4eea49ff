//! Large stiff problems: time and peak memory of ours and of diffsol's sparse BDF and another crate's Radau5, over the number of unknowns.
//!
//! A method works on a problem in a process of its own, started [`ROUNDS`] times in turn with the others; the fastest counts, and the peak memory of the process. Errors are those of the
//! point in the middle (Brusselator) and of the mean (Allen and Cahn), relative to 1 + |y|.

mod peers;
mod plot;
pub mod problems;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use costate::diff::Map;
use costate::ode::*;
use problems::{AllenCahn, Brusselator};

const ROUNDS: usize = 3;
const TOL: f64 = 1e-4;

/// Right (u, v) of the Brusselator at t = 10, from runs at 1e-10; the last from RODAS5P at 1e-9.
const RIGHT: [(usize, [f64; 2]); 6] = [
    (500, [0.4298588882, 3.6880747437]),
    (1000, [0.4298555081, 3.6881025897]),
    (2000, [0.42985490, 3.68811890]),
    (4000, [0.42985487, 3.68812765]),
    (10_000, [0.42985494, 3.68813310]),
    (100_000, [f64::NAN, f64::NAN]),
];
/// Right mean of Allen and Cahn's equation at t = 2 for m = 64; to the digits of the tolerance the same for finer grids.
const MEAN: f64 = 0.9999967971;

/// What a process found out.
#[derive(Clone, Copy)]
pub struct Measured {
    pub seconds: f64,
    pub mib: f64,
    pub error: f64,
    pub steps: u64,
}

/// (state, steps) of one integration.
type Run = Box<dyn FnMut() -> (Vec<f64>, u64)>;

fn rosenbrock<F: Map<f64> + 'static>(mut field: F, y0: Vec<f64>, t1: f64, tol: f64) -> Run {
    Box::new(move || {
        let mut it = StiffIntegrator::new(&RODAS5P, y0.len(), 1, &Options::tolerances(tol, tol)).unwrap();
        let r = it.run(&mut field, (0.0, t1), &y0, &[], &mut ()).unwrap();
        assert!(r.ok(), "{}", r.message());
        (it.y().to_vec(), r.counts.accepted)
    })
}

fn brusselator(n: usize, method: &str) -> Option<Run> {
    let pr = Brusselator { n };
    Some(match method {
        "rodas5p, band" => rosenbrock(pr.field(), pr.start(), 10.0, TOL),
        "reference" => rosenbrock(pr.field(), pr.start(), 10.0, 1e-9),
        // It looks for the entries one column after another, with memory that grows with n^2: 2.4 GiB for 10 000.
        "diffsol BDF, sparse" if n <= 10_000 => {
            let jv = move |y: &[f64], w: &[f64], out: &mut [f64]| pr.product(y, w, out);
            Box::new(peers::bdf(move |y, dy| pr.value(y, dy), jv, pr.start(), 10.0, TOL))
        }
        "differential-equations Radau5, dense" if n == 500 => Box::new(peers::radau5::<500>(pr, 10.0, TOL)),
        "differential-equations Radau5, dense" if n == 1000 => Box::new(peers::radau5::<1000>(pr, 10.0, TOL)),
        _ => return None,
    })
}

fn allen_cahn(m: usize, method: &str) -> Option<Run> {
    let pr = AllenCahn { m };
    let (y0, n, options) = (pr.start(), m * m, Options::tolerances(TOL, TOL));
    Some(match method {
        // Beyond, a minute a run.
        "rodas5p, sparse" if m <= 64 => rosenbrock(pr.field(), y0, 2.0, TOL),
        "rodas5p, products" => rosenbrock(pr.by_products(), y0, 2.0, TOL),
        "tsit54" => {
            let mut field = pr.field();
            Box::new(move || {
                let mut it = Integrator::new(&TSIT54, n, 1, &options).unwrap();
                let r = it.run(&mut field, (0.0, 2.0), &y0, &[], &mut ()).unwrap();
                (it.y().to_vec(), r.counts.accepted)
            })
        }
        "auto, sparse" => auto(pr.field(), y0),
        "auto, products" => auto(pr.by_products(), y0),
        // As above: 100 GiB for m = 256.
        "diffsol BDF, sparse" if m <= 64 => {
            let jv = move |y: &[f64], w: &[f64], out: &mut [f64]| pr.product(y, w, out);
            Box::new(peers::bdf(move |y, dy| pr.value(y, dy), jv, y0, 2.0, TOL))
        }
        _ => return None,
    })
}

fn auto<F: Map<f64> + 'static>(mut field: F, y0: Vec<f64>) -> Run {
    Box::new(move || {
        let options = Options::tolerances(TOL, TOL);
        let mut it = Auto::new(&TSIT54, &RODAS5P, y0.len(), 1, &options).unwrap();
        let r = it.run(&mut field, (0.0, 2.0), &y0, &[], &mut ()).unwrap();
        (it.y().to_vec(), r.counts.accepted)
    })
}

/// In the process of one cell: prints what was measured.
pub fn cell(problem: &str, size: usize, method: &str) {
    let run = if problem == "brusselator" { brusselator(size, method) } else { allen_cahn(size, method) };
    let Some(mut run) = run else { return };
    let (mut fastest, mut rounds, begin) = (f64::INFINITY, 0, Instant::now());
    let (mut y, mut steps) = (vec![], 0);
    while rounds < 1 || (rounds < 20 && begin.elapsed().as_secs_f64() < 1.0) {
        let clock = Instant::now();
        (y, steps) = black_box(run());
        fastest = fastest.min(clock.elapsed().as_secs_f64());
        rounds += 1;
    }
    let values = if problem == "brusselator" {
        Brusselator { n: size }.middle(&y).to_vec()
    } else {
        vec![y.iter().sum::<f64>() / y.len() as f64]
    };
    let values: Vec<String> = values.iter().map(|v| format!("{v:.12}")).collect();
    println!("{fastest} {} {steps} {}", peak_memory(), values.join(" "));
}

/// Of this process so far, MiB.
fn peak_memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("");
    line.split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}

/// One process: the numbers of its line.
fn start(problem: &str, size: usize, method: &str) -> Option<Vec<f64>> {
    let exe = std::env::current_exe().ok()?;
    let size = size.to_string();
    let out = Command::new(exe).args(["--cell", problem, &size, method]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    let numbers: Vec<f64> = text.split_whitespace().filter_map(|w| w.parse().ok()).collect();
    (numbers.len() > 3).then_some(numbers)
}

/// All methods on one problem, in turn.
fn row(problem: &str, size: usize, methods: &[&'static str], right: &[f64]) -> Vec<(&'static str, Measured)> {
    let mut found: Vec<(&'static str, Measured)> = vec![];
    for _ in 0..ROUNDS {
        for &method in methods {
            let Some(numbers) = start(problem, size, method) else { continue };
            let far = |(a, b): (&f64, &f64)| (a - b).abs() / (1.0 + b.abs());
            let error = numbers[3..].iter().zip(right).map(far).fold(0.0, f64::max);
            let new = Measured { seconds: numbers[0], mib: numbers[1], steps: numbers[2] as u64, error };
            match found.iter_mut().find(|(name, _)| *name == method) {
                Some((_, old)) => {
                    (old.seconds, old.mib) = (old.seconds.min(new.seconds), old.mib.min(new.mib));
                }
                None => found.push((method, new)),
            }
        }
    }
    found
}

/// The table, and a plot of the Brusselator where a file is named. `small`: up to 2000 unknowns.
pub fn table(svg: Option<&str>, small: bool) {
    println!(
        "| problem, rtol = atol = 1e-4 | unknowns | method | time, ms | peak memory, MiB | error | steps |"
    );
    println!("|---|---|---|---|---|---|---|");
    let show = |problem: &str, n: usize, rows: &[(&str, Measured)]| {
        for (method, m) in rows {
            println!(
                "| {problem} | {n} | {method} | {:.2} | {:.1} | {:.1e} | {} |",
                1e3 * m.seconds,
                m.mib,
                m.error,
                m.steps
            );
        }
    };
    let methods = ["rodas5p, band", "diffsol BDF, sparse", "differential-equations Radau5, dense"];
    let mut curves: BTreeMap<&str, Vec<(f64, Measured)>> = BTreeMap::new();
    for (n, mut right) in RIGHT {
        if small && n > 2000 {
            continue;
        }
        if right[0].is_nan()
            && let Some(numbers) = start("brusselator", n, "reference")
        {
            right = [numbers[3], numbers[4]];
            println!("| reference at 1e-9: {right:?} | {n} | | | | | |");
        }
        let rows = row("brusselator", n, &methods, &right);
        show("Brusselator, 1-D", n, &rows);
        rows.iter().for_each(|(method, m)| curves.entry(method).or_default().push((n as f64, *m)));
    }
    let methods = [
        "tsit54",
        "auto, sparse",
        "auto, products",
        "rodas5p, sparse",
        "rodas5p, products",
        "diffsol BDF, sparse",
    ];
    for m in [64, 256] {
        if small && m > 64 {
            continue;
        }
        show("Allen-Cahn, 2-D", m * m, &row("allen-cahn", m, &methods, &[MEAN]));
    }
    if let Some(path) = svg {
        plot::write(path, &curves).unwrap();
    }
}
