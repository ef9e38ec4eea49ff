//! SIF problems against the official decoder and evaluation library (skipped where the reference data are absent).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use costate::nlp::Nlp;
use costate::sif::{Literals, SifOptions, SifProblem, SifStats};

/// The folder with reference data; `None`: absent and not required.
fn shared() -> Option<PathBuf> {
    let folder = match std::env::var_os("COSTATE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let there = folder.join("cutest/sif").is_dir();
    assert!(
        there || std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(),
        "{} is required and absent",
        folder.display()
    );
    if !there {
        eprintln!("skipped: no reference data in {}", folder.display());
    }
    there.then_some(folder)
}

type Row = HashMap<String, String>;

fn rows(path: &Path) -> Vec<Row> {
    let csv = std::fs::read_to_string(path).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    lines
        .map(|l| header.iter().map(|h| h.to_string()).zip(l.split(',').map(str::to_string)).collect())
        .collect()
}

fn load(folder: &Path, row: &Row) -> Result<SifProblem, costate::Error> {
    let mut options = SifOptions::default();
    for pair in row.get("params").into_iter().flat_map(|p| p.split([' ', ';'])).filter(|p| !p.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        options.params.push((name.to_string(), value.to_string()));
    }
    let path = folder.join("cutest/sif").join(format!("{}.SIF", row["name"]));
    SifProblem::from_file(&path, &options)
}

/// Columns that differ: "column = found, reference".
fn differences(stats: &SifStats, row: &Row) -> Vec<String> {
    let json = serde_json::to_value(stats).unwrap();
    let mut found = Vec::new();
    for (column, value) in json.as_object().unwrap() {
        let Some(reference) = row.get(column) else { continue };
        if column == "name" || column == "class" {
            if value.as_str() != Some(reference) {
                found.push(format!("{column} = {value}, reference {reference}"));
            }
            continue;
        }
        let want: f64 = reference.parse().unwrap_or(f64::NAN);
        // JSON has no NaN and no infinity.
        let got = value.as_f64().unwrap_or(f64::NAN);
        if !want.is_finite() && !got.is_finite() {
            continue;
        }
        if !((got - want).abs() <= 1e-9 * want.abs() + 1e-10) {
            found.push(format!("{column} = {got}, reference {want}"));
        }
    }
    found
}

fn compare(csv: &str, known: &[(&str, &str)]) {
    let Some(folder) = shared() else { return };
    let mut wrong = Vec::new();
    for row in rows(&folder.join("cutest").join(csv)) {
        let mut problem = match load(&folder, &row) {
            Ok(problem) => problem,
            Err(e) => {
                wrong.push(e.to_string());
                continue;
            }
        };
        for difference in differences(&SifStats::new(&mut problem), &row) {
            let column = difference.split(' ').next().unwrap_or_default();
            if !known.contains(&(row["name"].as_str(), column)) {
                wrong.push(format!("{}: {difference}", row["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differences\n{}", wrong.len(), wrong.join("\n"));
}

/// Problem and column that differ for a reason.
/// - n10FOLDTRLS: its NAME card has room for ten characters only; the reference names the file.
const KNOWN: &[(&str, &str)] = &[("n10FOLDTRLS", "name")];

#[test]
fn reference() {
    compare("reference.csv", KNOWN);
}

#[test]
fn scale() {
    compare("scale.csv", &[]);
}
