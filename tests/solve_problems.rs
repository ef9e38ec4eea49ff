//! Every problem of `problems/` ends as its catalog says: a KKT point with a known objective, a least-squares point, unbounded.

use std::path::{Path, PathBuf};

use costate::linalg::norm2;
use costate::nlp::Nlp;
use costate::observe::Silent;
use costate::opt::{Options, solve};
use costate::sif::{SifOptions, SifProblem};
use costate::{Report, StopReason};

#[derive(serde::Deserialize)]
struct Entry {
    file: String,
    f: Option<f64>,
    f_tolerance: Option<f64>,
    #[serde(default)]
    f_local: Vec<f64>,
    expect: String,
    residual: Option<f64>,
    #[serde(default)]
    residual_local: Vec<f64>,
}

#[derive(serde::Deserialize)]
struct Catalog {
    problem: Vec<Entry>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("problems")
}

fn violation(problem: &mut SifProblem, report: &Report) -> f64 {
    let mut c = vec![0.0; problem.meta().m()];
    problem.cons(&report.x, &mut c).expect("the final point was evaluated before");
    norm2(&c)
}

/// What is wrong with the answer, if anything.
fn verdict(entry: &Entry, problem: &mut SifProblem) -> Result<(), String> {
    let report = match solve(problem, &Options::default(), &mut Silent) {
        Ok(report) => report,
        Err(e) => return Err(e.to_string()),
    };
    let near =
        |value: f64, known: f64, tolerance: f64| (value - known).abs() <= tolerance * known.abs().max(1.0);
    match entry.expect.as_str() {
        "solved" => {
            if !report.solved() {
                return Err(report.message);
            }
            let Some(f) = entry.f else { return Ok(()) };
            let tolerance = entry.f_tolerance.unwrap_or(1e-6);
            let known = std::iter::once(&f).chain(&entry.f_local);
            let found = known.into_iter().any(|k| near(report.objective, *k, tolerance));
            found
                .then_some(())
                .ok_or(format!("objective {}, the catalog has {f} and {:?}", report.objective, entry.f_local))
        }
        "least_squares" | "infeasible" => {
            // A fit is no system that cannot hold; some are both, seen from its rows.
            let fit = report.stop == StopReason::LeastSquares && entry.expect == "least_squares";
            if report.stop != StopReason::LocallyInfeasible && !fit {
                return Err(report.message);
            }
            let found = violation(problem, &report);
            let known = entry.residual.iter().chain(&entry.residual_local);
            let ok = known.into_iter().any(|r| near(found, *r, 1e-6));
            ok.then_some(()).ok_or(format!("|c| = {found}, the catalog has {:?}", entry.residual))
        }
        "unbounded" => (report.stop == StopReason::Unbounded).then_some(()).ok_or(report.message),
        other => Err(format!("the catalog expects '{other}', which this test does not know")),
    }
}

#[test]
fn every_problem_ends_as_the_catalog_says() {
    let text = std::fs::read_to_string(folder().join("catalog.toml")).expect("problems/catalog.toml");
    let catalog: Catalog = toml::from_str(&text).unwrap_or_else(|e| panic!("catalog.toml: {e}"));
    let mut wrong = Vec::new();
    for entry in &catalog.problem {
        let mut problem = SifProblem::from_file(&folder().join(&entry.file), &SifOptions::default())
            .unwrap_or_else(|e| panic!("{e}"));
        if let Err(what) = verdict(entry, &mut problem) {
            wrong.push(format!("{}: {what}", entry.file));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
