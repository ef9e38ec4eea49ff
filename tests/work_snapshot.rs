//! Pins the work: iterations and evaluations of 60 problems of `problems/`, other sizes, boxes, ranges and limited memory among them.
//!
//! Kernels round differently on other processors: a count may be off by 20 % or by 3, whichever is more. Every pinned count is at
//! least 4, so that twice as many fail. `COSTATE_BLESS=1` rewrites the file after a change that is meant.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use costate::nlp::Nlp;
use costate::observe::Silent;
use costate::opt::{HessianModel, Options, solve};
use costate::sif::{SifOptions, SifProblem};
use costate::{EvalError, NlpMeta};

const HEADER: &str = "file,param,form,hessian,iterations,objectives,gradients,hessians";
/// Least count: twice as many are more than 3 off.
const LEAST: u64 = 4;

/// One line: what is solved, and what it took.
struct Row {
    file: String,
    param: String,
    form: String,
    hessian: String,
    counts: [u64; 4],
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/work_snapshot.csv")
}

fn read() -> Vec<Row> {
    let text = std::fs::read_to_string(folder()).expect("tests/work_snapshot.csv");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER));
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), 8, "{line}");
        let count = |k: usize| fields[k].parse().unwrap_or_else(|e| panic!("{line}: {e}"));
        Row {
            file: fields[0].into(),
            param: fields[1].into(),
            form: fields[2].into(),
            hessian: fields[3].into(),
            counts: [count(4), count(5), count(6), count(7)],
        }
    };
    lines.map(row).collect()
}

/// The same functions within other bounds.
struct Bounded {
    inner: SifProblem,
    meta: NlpMeta,
}

impl Bounded {
    /// `box`: variables at most 1 below and 3 above the start. `range`: rows within 0.05 of their sides.
    fn new(inner: SifProblem, form: &str) -> Self {
        let mut meta = inner.meta().clone();
        match form {
            "box" => {
                meta.x_lower = meta.x0.iter().map(|x| x - 1.0).collect();
                meta.x_upper = meta.x0.iter().map(|x| x + 3.0).collect();
            }
            "range" => {
                meta.c_lower.iter_mut().for_each(|c| *c -= 0.05);
                meta.c_upper.iter_mut().for_each(|c| *c += 0.05);
            }
            "" => {}
            other => panic!("form '{other}', expected box, range or nothing"),
        }
        Self { inner, meta }
    }
}

impl Nlp for Bounded {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        self.inner.obj(x)
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.inner.grad(x, g)
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.inner.cons(x, c)
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.inner.jac_values(x, values)
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        self.inner.hess_values(x, sigma, y, values)
    }
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        self.inner.jac_prod(x, v, jv)
    }
    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        self.inner.jac_t_prod(x, w, jtw)
    }
    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        self.inner.hess_prod(x, sigma, y, v, hv)
    }
}

/// Iterations, and evaluations of objective, gradient and Hessian.
fn measure(row: &Row) -> [u64; 4] {
    let params = row.param.split_once('=').map(|(name, value)| (name.to_string(), value.to_string()));
    let sif = SifOptions { params: params.into_iter().collect(), ..SifOptions::default() };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("problems").join(&row.file);
    let problem = SifProblem::from_file(&path, &sif).unwrap_or_else(|e| panic!("{e}"));
    let hessian: HessianModel = row.hessian.parse().unwrap_or_else(|e| panic!("{}: {e}", row.file));
    // Presolve solves some of the systems alone.
    let options = Options { hessian, presolve: false, ..Options::default() };
    let report = solve(&mut Bounded::new(problem, &row.form), &options, &mut Silent)
        .unwrap_or_else(|e| panic!("{}: {e}", row.file));
    let c = report.counts;
    [report.iterations, c.objective, c.gradient, c.hessian]
}

/// Off by more than 20 % and more than 3.
fn differs(found: u64, pinned: u64) -> bool {
    let off = found.abs_diff(pinned);
    off > 3 && 5 * off > pinned
}

#[test]
fn work_is_as_pinned() {
    let rows = read();
    let found: Vec<[u64; 4]> = rows.iter().map(measure).collect();
    if std::env::var_os("COSTATE_BLESS").is_some() {
        let mut text = format!("{HEADER}\n");
        for (row, [a, b, c, d]) in rows.iter().zip(&found) {
            writeln!(text, "{},{},{},{},{a},{b},{c},{d}", row.file, row.param, row.form, row.hessian)
                .expect("text");
        }
        std::fs::write(folder(), text).expect("tests/work_snapshot.csv");
        return;
    }
    let mut wrong = Vec::new();
    for (row, found) in rows.iter().zip(&found) {
        for ((what, found), pinned) in
            ["iterations", "objectives", "gradients", "Hessians"].iter().zip(found).zip(&row.counts)
        {
            if differs(*found, *pinned) {
                let Row { file, param, form, hessian, .. } = row;
                wrong.push(format!("{file} {param} {form} {hessian}: {found} {what}, pinned are {pinned}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\nCOSTATE_BLESS=1 rewrites the file", wrong.join("\n"));
}

#[test]
fn twice_the_work_fails() {
    let rows = read();
    assert_eq!(rows.len(), 60);
    for row in &rows {
        // A limited-memory run asks for no Hessian.
        let counts = row.counts.iter().take(if row.hessian == "exact" { 4 } else { 3 });
        for count in counts {
            assert!(*count >= LEAST, "{} {} has a count of {count}", row.file, row.param);
            assert!(differs(2 * count, *count) && differs(count / 5, *count) && !differs(count + 3, *count));
        }
    }
}
