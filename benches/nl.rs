//! Reading and evaluating `.nl` models: a chained Rosenbrock function, and the files that are named.
//!
//! `cargo bench --bench nl` runs criterion on the chain; `cargo bench --bench nl -- --table FILE...` prints one JSON object for each file: seconds of
//! reading, of one evaluation of f and c, of gradient and Jacobian, of the Hessian of the Lagrangian, each at a new point, the median of many.
//! `benches/peers/nl_casadi.py` puts CasADi's beside them.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use costate::nl::{NlOptions, NlProblem};
use costate::nlp::Nlp;
use criterion::{BatchSize, Criterion};

/// sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2 from (-1.2, 1, -1.2, ...), as the format has it.
fn chain(n: usize) -> String {
    let k = n - 1;
    let mut t = format!(
        "g3 1 1 0\n {n} 0 1 0 0\n 0 1\n 0 0\n 0 {n} 0\n 0 0 0 1\n 0 0 0 0 0\n 0 {n}\n 0 0\n 0 0 0 0 0\nO0 0\no54\n{}\n",
        2 * k
    );
    for i in 0..k {
        let _ = write!(t, "o2\nn100\no5\no1\nv{}\no5\nv{i}\nn2\nn2\no5\no1\nn1\nv{i}\nn2\n", i + 1);
    }
    let _ = writeln!(t, "x{n}");
    for i in 0..n {
        let _ = writeln!(t, "{i} {}", if i % 2 == 0 { "-1.2" } else { "1" });
    }
    t.push_str("b\n");
    t.push_str(&"3\n".repeat(n));
    t
}

fn criterion_benches() {
    let mut c = Criterion::default().configure_from_args().sample_size(10);
    let text = chain(50_000);
    let read = || NlProblem::from_bytes("chain.nl", text.as_bytes(), &NlOptions::default()).expect("a model");
    let mut group = c.benchmark_group("nl_chain_50000");
    group.bench_function("read", |b| b.iter_batched(|| (), |()| black_box(read()), BatchSize::LargeInput));
    let mut at = Evaluation::new(read());
    group.bench_function("f", |b| b.iter(|| at.values()));
    group.bench_function("gradient", |b| b.iter(|| at.first()));
    group.bench_function("hessian", |b| b.iter(|| at.second()));
    group.finish();
    c.final_summary();
}

/// A problem with what its functions are written to; each call is at another point.
struct Evaluation {
    problem: NlProblem,
    x: Vec<f64>,
    y: Vec<f64>,
    c: Vec<f64>,
    g: Vec<f64>,
    jacobian: Vec<f64>,
    hessian: Vec<f64>,
}

impl Evaluation {
    fn new(problem: NlProblem) -> Self {
        let meta = problem.meta();
        let (n, m) = (meta.n(), meta.m());
        let inside = |j: usize| {
            let (l, u) = (meta.x_lower[j].max(-1e3), meta.x_upper[j].min(1e3));
            meta.x0[j].max(l + 0.01 * (u - l)).min(u - 0.01 * (u - l))
        };
        let len = |p: &Option<costate::nlp::Pattern>| p.as_ref().map_or(0, |p| p.len());
        Self {
            x: (0..n).map(inside).collect(),
            y: (0..m).map(|i| 1.0 / (1.0 + i as f64)).collect(),
            c: vec![0.0; m],
            g: vec![0.0; n],
            jacobian: vec![0.0; len(&meta.jacobian)],
            hessian: vec![0.0; len(&meta.hessian)],
            problem,
        }
    }
    fn step(&mut self) {
        self.x.iter_mut().for_each(|x| *x *= 1.0 + 1e-12);
        self.problem.forget();
    }
    fn values(&mut self) {
        self.step();
        let _ = black_box(self.problem.obj_cons(&self.x, &mut self.c));
    }
    fn first(&mut self) {
        self.step();
        let _ = black_box(self.problem.grad_jac_values(&self.x, &mut self.g, &mut self.jacobian));
    }
    fn second(&mut self) {
        self.step();
        let _ = black_box(self.problem.hess_values(&self.x, 1.0, &self.y, &mut self.hessian));
    }
}

/// Median seconds of at least five calls, up to half a second of them.
fn median(mut call: impl FnMut()) -> f64 {
    call();
    let begin = Instant::now();
    let mut times = Vec::new();
    while times.len() < 5 || (begin.elapsed().as_secs_f64() < 0.5 && times.len() < 2000) {
        let one = Instant::now();
        call();
        times.push(one.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn table(files: &[String]) {
    for file in files {
        let begin = Instant::now();
        let problem = match NlProblem::from_file(Path::new(file), &NlOptions::default()) {
            Ok(problem) => problem,
            Err(e) => {
                eprintln!("{e}");
                continue;
            }
        };
        let read = begin.elapsed().as_secs_f64();
        let (n, m) = (problem.meta().n(), problem.meta().m());
        let mut at = Evaluation::new(problem);
        let (values, first, second) = (median(|| at.values()), median(|| at.first()), median(|| at.second()));
        println!(
            "{{\"file\": \"{file}\", \"n\": {n}, \"m\": {m}, \"read\": {read:.4e}, \"values\": {values:.4e}, \"first\": {first:.4e}, \"second\": {second:.4e}}}"
        );
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    if args.any(|a| a == "--table") {
        let files: Vec<String> = args.filter(|a| !a.starts_with("--")).collect();
        table(&files);
    } else {
        criterion_benches();
    }
}
