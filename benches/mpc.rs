//! Many small problems with one structure: a linear controller and Hock-Schittkowski 71, cold and warm.
//!
//! `cargo bench --bench mpc` runs criterion on one pass of each; `cargo bench --bench mpc -- --table` prints iterations and microseconds a solve,
//! all measured in turn in one run, and their ratio to a cold `opt::solve` for each problem.

#[path = "../tests/common/mpc.rs"]
mod problems;

use std::hint::black_box;
use std::time::Instant;

use costate::observe::Silent;
use costate::report::Report;
use costate::opt::{Options, Solver, Start, WarmStart, solve};
use criterion::Criterion;
use problems::{Hs71, Mpc, States, shift};

const SOLVES: u32 = 2000;
/// Passes of the table; the fastest counts.
const PASSES: usize = 15;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    /// `opt::solve` for each problem.
    Alone,
    /// One `Solver`, each from the problem's own start.
    Cold,
    Warm,
    Shifted,
}

/// What a pass has summed up.
#[derive(Default)]
struct Sums {
    iterations: u64,
    objective: f64,
    seconds: f64,
}

impl Sums {
    /// Solves a problem, timed; its first control.
    fn add(&mut self, f: impl FnOnce() -> (u64, f64, f64)) -> f64 {
        let start = Instant::now();
        let (iterations, objective, u) = black_box(f());
        self.seconds += start.elapsed().as_secs_f64();
        self.iterations += iterations;
        self.objective += objective;
        u
    }
}

fn of(report: &Report) -> (u64, f64, f64) {
    assert!(report.solved(), "{}", report.message);
    (report.iterations, report.objective, report.x[0])
}

fn controller(mode: Mode) -> Sums {
    let (mut problem, mut states, mut sums) = (Mpc::new(), States::new(), Sums::default());
    let options = Options::default();
    let mut solver = Solver::new(options.clone()).expect("default options");
    let mut warm = WarmStart::default();
    for k in 0..SOLVES {
        problem.set_state(states.p, states.v);
        let u = sums.add(|| match mode {
            Mode::Alone => of(&solve(&mut problem, &options, &mut Silent).expect("a legal problem")),
            _ => {
                let start = match mode {
                    Mode::Warm => Start::Last,
                    Mode::Shifted if k > 0 => Start::At(&warm),
                    _ => Start::Problem,
                };
                let report = solver.solve(&mut problem, start, &mut Silent).expect("a legal problem");
                if mode == Mode::Shifted {
                    warm.set(report);
                    shift(&mut warm);
                }
                of(report)
            }
        });
        states.advance(u);
    }
    sums
}

/// Both right-hand sides changed by up to 1 % at random each time.
fn hs71(mode: Mode) -> Sums {
    let (mut problem, mut sums, mut seed) = (Hs71::new(), Sums::default(), 1u64);
    let options = Options::default();
    let mut solver = Solver::new(options.clone()).expect("default options");
    let mut random = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((seed >> 33) as f64 / 2f64.powi(31) - 0.5) * 0.02
    };
    for _ in 0..SOLVES {
        problem.set_sides(25.0 * (1.0 + random()), 40.0 * (1.0 + random()));
        sums.add(|| match mode {
            Mode::Alone => of(&solve(&mut problem, &options, &mut Silent).expect("a legal problem")),
            _ => {
                let start = if mode == Mode::Cold { Start::Problem } else { Start::Last };
                of(solver.solve(&mut problem, start, &mut Silent).expect("a legal problem"))
            }
        });
    }
    sums
}

type Case = (&'static str, fn(Mode) -> Sums, Mode);

const CASES: [Case; 7] = [
    ("mpc, opt::solve", controller, Mode::Alone),
    ("mpc, Solver, cold", controller, Mode::Cold),
    ("mpc, Solver, warm", controller, Mode::Warm),
    ("mpc, Solver, warm and shifted", controller, Mode::Shifted),
    ("hs71, opt::solve", hs71, Mode::Alone),
    ("hs71, Solver, cold", hs71, Mode::Cold),
    ("hs71, Solver, warm", hs71, Mode::Warm),
];

fn table() {
    let mut best: Vec<Sums> = CASES.iter().map(|(_, run, mode)| run(*mode)).collect();
    for _ in 1..PASSES {
        for (best, (_, run, mode)) in best.iter_mut().zip(CASES) {
            let sums = run(mode);
            if sums.seconds < best.seconds {
                *best = sums;
            }
        }
    }
    println!("{:32} {:>10} {:>8} {:>6} {:>14}", "case", "iterations", "us", "ratio", "sum of f");
    let each = |v: f64| v / f64::from(SOLVES);
    let mut alone = f64::NAN;
    for ((name, _, mode), sums) in CASES.iter().zip(&best) {
        if *mode == Mode::Alone {
            alone = sums.seconds;
        }
        let (iterations, us) = (each(sums.iterations as f64), each(sums.seconds) * 1e6);
        println!("{name:32} {iterations:10.3} {us:8.2} {:6.3} {:14.5}", sums.seconds / alone, sums.objective);
    }
}

fn main() {
    if std::env::args().any(|a| a == "--table") {
        return table();
    }
    let mut c = Criterion::default().sample_size(10).configure_from_args();
    for (name, run, mode) in CASES {
        c.bench_function(name, |b| b.iter(|| run(mode)));
    }
    c.final_summary();
}
