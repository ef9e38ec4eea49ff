//! Set-up and evaluation of SIF problems: two generated ones, and the larger instances of the reference data if they are there.
//!
//! `cargo bench --bench sif` runs criterion; `cargo bench --bench sif -- --table` prints one row for each larger instance with our
//! times and the compiled Fortran's, and their sums; `-- --bits` prints a hash of all functions and derivatives of every reference
//! file at two points, to compare two builds.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use costate::nlp::Nlp;
use costate::sif::{SifOptions, SifProblem};
use criterion::{BatchSize, Criterion};

/// A chained Rosenbrock function with a chain of trigonometric constraints: elements with range and parameters, group types.
fn chain(n: usize) -> String {
    format!(
        "NAME          CHAIN
 IE 1                   1
 IE N                   {n}
 IA N-1       N         -1
VARIABLES
 DO I         1                        N
 X  X(I)
 ND
GROUPS
 DO I         1                        N-1
 IA J         I         1
 XN A(I)      X(J)      1.0
 XE C(I)      X(I)      0.5
 ND
BOUNDS
 FR CHAIN     'DEFAULT'
START POINT
 V  CHAIN     'DEFAULT' -1.2
ELEMENT TYPE
 EV SQ        X
 EV DIFF      X                        Y
 IV DIFF      U
 EP DIFF      P
ELEMENT USES
 T  'DEFAULT' SQ
 DO I         1                        N-1
 IA J         I         1
 ZV S(I)      X                        X(I)
 XT D(I)      DIFF
 ZV D(I)      X                        X(I)
 ZV D(I)      Y                        X(J)
 RI P         I
 ZP D(I)      P                        P
 ND
GROUP TYPE
 GV L2        V
GROUP USES
 DO I         1                        N-1
 XT A(I)      L2
 XE A(I)      S(I)      -10.0
 XE C(I)      D(I)      1.0
 ND
ENDATA
ELEMENTS      CHAIN
TEMPORARIES
 R  S
 R  C
 M  SIN
 M  COS
INDIVIDUALS
 T  SQ
 F                      X**2
 G  X                   2.0D0 * X
 H  X         X         2.0D0
 T  DIFF
 R  U         X         1.0            Y         -1.0
 A  S                   SIN(U/P)
 A  C                   COS(U/P)
 F                      P*P*S
 G  U                   P*C
 H  U         U         -S
ENDATA
GROUPS        CHAIN
INDIVIDUALS
 T  L2
 F                      V*V
 G                      V+V
 H                      2.0D0
ENDATA
"
    )
}

/// Vectors for one problem, at a point that changes from call to call so that nothing is known from the call before.
struct Fixture {
    problem: SifProblem,
    x: Vec<f64>,
    g: Vec<f64>,
    c: Vec<f64>,
    y: Vec<f64>,
    jacobian: Vec<f64>,
    hessian: Vec<f64>,
}

impl Fixture {
    fn new(problem: SifProblem) -> Self {
        let meta = problem.meta();
        let (n, m) = (meta.n(), meta.m());
        let jacobian = vec![0.0; meta.jacobian.as_ref().map_or(0, |p| p.len())];
        let hessian = vec![0.0; meta.hessian.as_ref().map_or(0, |p| p.len())];
        let x = meta.x0.clone();
        Self { problem, x, g: vec![0.0; n], c: vec![0.0; m], y: vec![1.0; m], jacobian, hessian }
    }
    fn move_on(&mut self) {
        if let Some(x) = self.x.first_mut() {
            *x *= 1.0 + 1e-14;
        }
        self.problem.forget();
    }
    fn values(&mut self) -> f64 {
        self.move_on();
        self.problem.obj_cons(&self.x, &mut self.c).unwrap_or(f64::NAN)
    }
    fn first(&mut self) {
        self.move_on();
        self.problem.grad_jac_values(&self.x, &mut self.g, &mut self.jacobian).unwrap_or_default();
    }
    fn second(&mut self) {
        self.move_on();
        self.problem.hess_values(&self.x, 1.0, &self.y, &mut self.hessian).unwrap_or_default();
    }
}

fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("COSTATE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    folder.join("cutest/scale.csv").is_file().then_some(folder)
}

/// Seconds of the fastest of several calls.
fn fastest(mut f: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    let begin = Instant::now();
    for k in 0..1000 {
        let start = Instant::now();
        f();
        best = best.min(start.elapsed().as_secs_f64());
        if k >= 4 && begin.elapsed().as_secs_f64() > 0.2 {
            break;
        }
    }
    best
}

/// Name, parameters, text and reference times of the larger instances.
fn instances(folder: &Path) -> Vec<(String, SifOptions, Vec<u8>, [f64; 4])> {
    let csv = std::fs::read_to_string(folder.join("cutest/scale.csv")).unwrap_or_default();
    csv.lines().skip(1).filter_map(|line| instance(folder, line)).collect()
}

fn instance(folder: &Path, line: &str) -> Option<(String, SifOptions, Vec<u8>, [f64; 4])> {
    let cells: Vec<&str> = line.split(',').collect();
    let text = std::fs::read(folder.join("cutest/sif").join(format!("{}.SIF", cells[0]))).ok()?;
    let pairs = cells[1].split([' ', ';']).filter_map(|p| p.split_once('='));
    let params = pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let mut times = [f64::NAN; 4];
    for (time, cell) in times.iter_mut().zip(&cells[cells.len() - 4..]) {
        *time = cell.parse().unwrap_or(f64::NAN);
    }
    Some((cells[0].to_string(), SifOptions { params, ..SifOptions::default() }, text, times))
}

/// One row for each instance: ours and the Fortran's seconds of set-up, f + c, gradient + Jacobian, Hessian.
fn table(folder: &Path, only: Option<&str>) {
    let (mut ours, mut theirs, mut logs, mut count) = ([0.0; 4], [0.0; 4], [0.0; 4], 0.0);
    let show = |name: &str, ours: [f64; 4], theirs: [f64; 4]| {
        print!("{name:10}");
        for k in 0..4 {
            print!(" {:9.3} {:9.3}  ", 1e3 * ours[k], 1e3 * theirs[k]);
        }
        println!();
    };
    println!("milliseconds, ours and reference: set-up, f + c, gradient + Jacobian, Hessian");
    for (name, options, text, reference) in instances(folder) {
        if only.is_some_and(|o| o != name) {
            continue;
        }
        let read = || SifProblem::from_text(&name, &text, &options);
        let Ok(problem) = read() else {
            println!("{name}: cannot be read");
            continue;
        };
        let mut f = Fixture::new(problem);
        let times = [
            fastest(|| drop(black_box(read()))),
            fastest(|| _ = black_box(f.values())),
            fastest(|| f.first()),
            fastest(|| f.second()),
        ];
        for k in 0..4 {
            ours[k] += times[k];
            theirs[k] += reference[k];
            logs[k] += (times[k] / reference[k]).ln();
        }
        count += 1.0;
        show(&name, times, reference);
    }
    show("sum", ours, theirs);
    println!("geometric means of the ratios: {:?}", logs.map(|l: f64| (l / count).exp()));
}

/// FNV-1a over the bits of all numbers.
fn hash(numbers: &[f64]) -> u64 {
    let bytes = numbers.iter().flat_map(|v| v.to_bits().to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Hashes of f and c, gradient and Jacobian, Hessian, and products with it, at the start point and near it, of one file a row.
fn bits(folder: &Path) {
    let files = std::fs::read_dir(folder.join("cutest/sif")).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = files.map(|f| f.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match SifProblem::from_file(&path, &SifOptions::default()) {
            Ok(problem) => println!("{name} {:?}", fingerprint(problem)),
            Err(e) => println!("{name} {e}"),
        }
    }
}

fn fingerprint(problem: SifProblem) -> Vec<u64> {
    let mut f = Fixture::new(problem);
    let mut all = Vec::new();
    for _ in 0..2 {
        f.y.iter_mut().enumerate().for_each(|(i, y)| *y = 1.0 / (i + 1) as f64);
        let value = f.problem.obj_cons(&f.x, &mut f.c).unwrap_or(f64::NAN);
        f.problem.grad_jac_values(&f.x, &mut f.g, &mut f.jacobian).unwrap_or_default();
        f.problem.hess_values(&f.x, 1.5, &f.y, &mut f.hessian).unwrap_or_default();
        all.extend([hash(&[value]), hash(&f.c), hash(&f.g), hash(&f.jacobian), hash(&f.hessian)]);
        let mut product = vec![0.0; f.x.len()];
        f.problem.hess_prod(&f.x, 1.5, &f.y, &f.g, &mut product).unwrap_or_default();
        all.push(hash(&product));
        f.x.iter_mut()
            .enumerate()
            .for_each(|(j, x)| *x += 0.01 * (1.0 + x.abs()) * ((j % 7) as f64 - 3.0) / 3.0);
    }
    all
}

fn criterion(c: &mut Criterion) {
    for n in [100, 10_000] {
        let text = chain(n);
        let options = SifOptions::default();
        let read = || SifProblem::from_text("chain", text.as_bytes(), &options).expect("the text is valid");
        let mut f = Fixture::new(read());
        c.bench_function(&format!("chain {n}: set-up"), |b| {
            b.iter_batched(|| (), |()| read(), BatchSize::PerIteration);
        });
        c.bench_function(&format!("chain {n}: f and c"), |b| b.iter(|| f.values()));
        c.bench_function(&format!("chain {n}: gradient and Jacobian"), |b| b.iter(|| f.first()));
        c.bench_function(&format!("chain {n}: Hessian"), |b| b.iter(|| f.second()));
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|a| a == "--table") {
        match shared() {
            Some(folder) => {
                table(&folder, args.get(at + 1).filter(|a| !a.starts_with('-')).map(String::as_str))
            }
            None => println!("no reference data"),
        }
        return;
    }
    if args.iter().any(|a| a == "--bits") {
        shared().map_or_else(|| println!("no reference data"), |folder| bits(&folder));
        return;
    }
    let mut c = Criterion::default().configure_from_args();
    criterion(&mut c);
    c.final_summary();
}
