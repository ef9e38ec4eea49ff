//! A table of sparse symmetric factorizations: ours, faer's LDL' (supernodal, simplicial), feral's.
//!
//! The matrices are the first KKT systems of the larger reference instances, and two made-up families. Each is equilibrated
//! by powers of two and regularized: `A = S K S + diag(d I, -d I)`, d = 1e-8, and everybody factorizes this A. A solver works on
//! a matrix in a process of its own, which is ended after [`LIMIT`]; each is started [`ROUNDS`] times, in turn, and the
//! fastest counts.

mod peers;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use costate::linalg::SparseMatrix;
use costate::opt::{self, Options};
use costate::sif::{SifOptions, SifProblem};

use peers::{Measured, PEERS};

const LIMIT: Duration = Duration::from_secs(20);
const ROUNDS: usize = 3;
/// d.
const REGULARIZATION: f64 = 1e-8;
/// Residuals above this are pointed out in the sums.
const POOR: f64 = 1e-8;

/// A matrix to be made, by name.
struct Case {
    name: String,
    make: Box<dyn Fn() -> Result<SparseMatrix, String>>,
}

/// Name, and what makes the matrix and says how many of its unknowns are primal.
pub type MadeUp = (String, Box<dyn Fn() -> (SparseMatrix, usize)>);

/// `--table [NAME]`, or `--peer K --case K` in the processes that it starts.
pub fn main(args: &[String], made_up: Vec<MadeUp>) {
    let value = |name: &str| args.iter().position(|a| a == name).and_then(|at| args.get(at + 1));
    let cases = cases(made_up);
    let number = |name: &str| value(name).and_then(|v| v.parse::<usize>().ok());
    if let (Some(peer), Some(case)) = (number("--peer"), number("--case")) {
        match (cases[case].make)().and_then(|a| PEERS[peer].1(&a)) {
            Ok(measured) => println!("{}", measured.to_line()),
            Err(what) => println!("{what}"),
        }
        return;
    }
    let only = value("--table").filter(|a| !a.starts_with('-'));
    table(&cases, |name| only.is_none_or(|o| name.starts_with(o.as_str())));
}

fn cases(made_up: Vec<MadeUp>) -> Vec<Case> {
    let mut cases = Vec::new();
    match shared() {
        Some(folder) => cases = instances(&folder),
        None => println!("no reference data: only the made-up families"),
    }
    for (name, make) in made_up {
        let make = move || {
            let (a, primal) = make();
            Ok(regularized(a, primal))
        };
        cases.push(Case { name, make: Box::new(make) });
    }
    cases
}

fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("COSTATE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    folder.join("cutest/scale.csv").is_file().then_some(folder)
}

fn instances(folder: &Path) -> Vec<Case> {
    let csv = std::fs::read_to_string(folder.join("cutest/scale.csv")).unwrap_or_default();
    let row = |line: &str| {
        let (name, rest) = line.split_once(',')?;
        let (name, params) = (name.to_string(), rest.split(',').next()?.to_string());
        let file = folder.join("cutest/sif").join(format!("{name}.SIF"));
        let shown = format!("{name} {params}");
        Some(Case { name: shown, make: Box::new(move || kkt_matrix(&name, &params, &file)) })
    };
    csv.lines().skip(1).filter_map(row).collect()
}

fn kkt_matrix(name: &str, params: &str, file: &Path) -> Result<SparseMatrix, String> {
    let text = std::fs::read(file).map_err(|e| e.to_string())?;
    let pairs = params.split([' ', ';']).filter_map(|p| p.split_once('='));
    let params = pairs.map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let options = SifOptions { params, ..SifOptions::default() };
    let mut problem = SifProblem::from_text(name, &text, &options).map_err(|e| e.to_string())?;
    let k = opt::first_kkt_matrix(&mut problem, &Options::default()).map_err(|e| e.to_string())?;
    // The rows of constraints come last, with nothing but a zero on the diagonal in the lower triangle.
    let is_dual = |j: usize| k.col_ptr[j + 1] == k.col_ptr[j] + 1 && k.values[k.col_ptr[j]] == 0.0;
    let primal = (0..k.ncols).rev().find(|&j| !is_dual(j)).map_or(0, |j| j + 1);
    Ok(regularized(k, primal))
}

/// S K S + diag(d I, -d I), every entry of the diagonal present.
fn regularized(mut k: SparseMatrix, primal: usize) -> SparseMatrix {
    let n = k.ncols;
    // Rows of about unit maximum norm, by powers of two (Ruiz 2001).
    let mut s = vec![1.0f64; n];
    for _ in 0..12 {
        let mut largest = vec![0.0f64; n];
        for j in 0..n {
            for p in k.col_ptr[j]..k.col_ptr[j + 1] {
                let (i, v) = (k.row_idx[p], k.values[p].abs());
                let v = v * s[i] * s[j];
                largest[i] = largest[i].max(v);
                largest[j] = largest[j].max(v);
            }
        }
        for (s, m) in s.iter_mut().zip(&largest) {
            if *m > 0.0 {
                *s *= (-0.5 * m.log2()).round().exp2();
            }
        }
    }
    for j in 0..n {
        for p in k.col_ptr[j]..k.col_ptr[j + 1] {
            let i = k.row_idx[p];
            k.values[p] *= s[i] * s[j];
            if i == j {
                k.values[p] += if j < primal { REGULARIZATION } else { -REGULARIZATION };
            }
        }
    }
    k
}

/// What a process found out about a matrix, or why not.
fn ask(peer: usize, case: usize) -> Result<Measured, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let arguments = ["--peer", &peer.to_string(), "--case", &case.to_string()];
    let child = Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|e| e.to_string())?;
    let begin = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if begin.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("over {} s", LIMIT.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    if let Some(mut out) = child.stdout {
        out.read_to_string(&mut text).map_err(|e| e.to_string())?;
    }
    let line = text.lines().last().unwrap_or_default();
    if !status.success() {
        return Err("panicked".into());
    }
    Measured::from_line(line).ok_or_else(|| line.to_string())
}

/// A peer against ours, over the matrices that both factorized.
#[derive(Default)]
struct Sums {
    count: f64,
    ours: [f64; 3],
    theirs: [f64; 3],
    logs: [f64; 3],
    slower: usize,
    other_inertia: usize,
    poor: usize,
    failed: usize,
}

fn table(cases: &[Case], wanted: impl Fn(&str) -> bool) {
    print!("| matrix | unknowns | entries |");
    PEERS.iter().for_each(|(name, _)| print!(" {name} |"));
    println!("\n|---|---|---|{}", "---|".repeat(PEERS.len()));
    let mut sums: Vec<Sums> = PEERS.iter().map(|_| Sums::default()).collect();
    for (case, Case { name, .. }) in cases.iter().enumerate().filter(|(_, c)| wanted(&c.name)) {
        let mut best: Vec<Result<Measured, String>> = vec![Err(String::new()); PEERS.len()];
        for round in 0..ROUNDS {
            for (peer, best) in best.iter_mut().enumerate() {
                if round == 0 || best.is_ok() {
                    *best = match (ask(peer, case), &*best) {
                        (Ok(new), Ok(old)) => Ok(new.faster_of(old)),
                        (new, _) => new,
                    };
                }
            }
        }
        let ours = best[0].clone();
        match &ours {
            Ok(m) => print!("| {name} | {} | {} |", m.unknowns, m.entries),
            Err(_) => print!("| {name} | | |"),
        }
        for (found, sums) in best.iter().zip(&mut sums) {
            match found {
                Ok(m) => print!(" {} |", cell(m, ours.as_ref().ok())),
                Err(what) => print!(" {what} |"),
            }
            sums.add(ours.as_ref().ok(), found.as_ref().ok());
        }
        println!();
    }
    println!();
    for ((name, _), s) in PEERS.iter().zip(&sums) {
        let means = s.logs.map(|l| (l / s.count).exp());
        println!(
            "{name}: {} matrices, {} failed; sums in ms (ours): analyse {:.0} ({:.0}), factorize {:.0} ({:.0}); geometric \
             means of the ratios to ours: analyse {:.2}, factorize {:.2}, fill {:.2}; factorizes faster than ours on {}; \
             other inertia on {}; residual above {POOR:e} on {}",
            s.count,
            s.failed,
            s.theirs[0],
            s.ours[0],
            s.theirs[1],
            s.ours[1],
            means[0],
            means[1],
            means[2],
            s.slower,
            s.other_inertia,
            s.poor
        );
    }
}

/// `analyse (of which orderings) + factorize ms; fill; residual`, with what is remarkable about the inertia.
fn cell(m: &Measured, ours: Option<&Measured>) -> String {
    let inertia = match ours {
        Some(o) if o.inertia == m.inertia => "",
        _ => &format!("; **{} {} {}**", m.inertia[0], m.inertia[1], m.inertia[2]),
    };
    let Measured { ordering, analyse, factorize, fill, residual, .. } = m;
    let ordering = if *ordering > 0.0 { &format!(" ({:.2})", 1e3 * ordering) } else { "" };
    format!(
        "{:.2}{ordering} + {:.2}; {:.0}k; {residual:.0e}{inertia}",
        1e3 * analyse,
        1e3 * factorize,
        1e-3 * *fill as f64
    )
}

impl Sums {
    fn add(&mut self, ours: Option<&Measured>, theirs: Option<&Measured>) {
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            self.failed += 1;
            return;
        };
        let numbers = |m: &Measured| [1e3 * m.analyse, 1e3 * m.factorize, m.fill as f64];
        let (o, t) = (numbers(ours), numbers(theirs));
        for k in 0..3 {
            self.ours[k] += o[k];
            self.theirs[k] += t[k];
            // Differences of times may be nothing at all.
            self.logs[k] += (t[k].max(1e-3) / o[k].max(1e-3)).ln();
        }
        self.count += 1.0;
        self.slower += usize::from(theirs.factorize < ours.factorize);
        self.other_inertia += usize::from(theirs.inertia != ours.inertia);
        self.poor += usize::from(theirs.residual.is_nan() || theirs.residual > POOR);
    }
}
