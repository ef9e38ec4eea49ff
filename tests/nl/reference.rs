//! Models and SIF files of the reference data: values, refusals, and every SIF file as a model.

use std::path::{Path, PathBuf};

use costate::Nlp;
use costate::nl::{NlFormat, NlOptions, NlProblem, write};
use costate::sif::{SifOptions, SifProblem};

use crate::round_trip::same;

/// A folder of the reference data; `None`: absent and not required.
fn shared(name: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("COSTATE_SHARED") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
    };
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(
        std::env::var_os("COSTATE_REQUIRE_SHARED").is_none(),
        "{} is required and absent",
        folder.display()
    );
    eprintln!("skipped: {} is absent", folder.display());
    None
}

/// Values that the table has, to 1e-8 of their size, as docs of the table ask.
fn differences(problem: &mut NlProblem, row: &csv::StringRecord, headers: &csv::StringRecord) -> Vec<String> {
    let stats = serde_json::to_value(problem.stats()).unwrap();
    let of = |name: &str| headers.iter().position(|h| h == name).and_then(|k| row.get(k)).unwrap_or_default();
    let scale = ["norm_g", "norm_JTv"].iter().filter_map(|c| of(c).parse::<f64>().ok()).fold(1.0, f64::max);
    let mut wrong = vec![];
    for (column, found) in stats.as_object().unwrap() {
        // Entries of patterns are counted in different ways.
        let Ok(want) = of(column).parse::<f64>() else { continue };
        if ["nnzj", "nnzh", "nlinear_con"].contains(&column.as_str()) {
            continue;
        }
        let got = found.as_f64().unwrap_or(f64::NAN);
        let off = (got - want).abs() - (1e-8 * want.abs().max(got.abs()) + 1e-9 * scale);
        if want.is_finite() && (off.is_nan() || off > 0.0) {
            wrong.push(format!("{column} = {got}, reference {want}"));
        }
    }
    wrong
}

#[test]
fn models_have_the_values_of_the_table() {
    let Some(folder) = shared("nl") else { return };
    let mut table = csv::Reader::from_path(folder.join("reference.csv")).unwrap();
    let headers = table.headers().unwrap().clone();
    let expect = headers.iter().position(|h| h == "expect").unwrap();
    let of = |row: &csv::StringRecord, name: &str| {
        let column = headers.iter().position(|h| h == name);
        column.and_then(|k| row.get(k)).unwrap_or_default().to_string()
    };
    let (mut compared, mut refused, mut reformulated, mut wrong) = (0, 0, 0, vec![]);
    for row in table.records().map(Result::unwrap) {
        let plain = folder.join(format!("{}.nl", &row[0]));
        let path = if plain.exists() { plain } else { folder.join(format!("{}.nl.gz", &row[0])) };
        let problem = NlProblem::from_file(&path, &NlOptions::default());
        match problem {
            Err(error) if row[expect].starts_with("refuse") || &row[expect] == "error" => {
                let text = error.to_string();
                assert!(text.len() > 10 && text.len() < 400 && !text.contains('\n'), "{text}");
                refused += 1;
            }
            Err(error) => wrong.push(error.to_string()),
            // The table is of programs that refuse them.
            Ok(problem) if &row[expect] == "refuse:complementarity" => {
                assert!(!problem.meta().complementarity.is_empty(), "{}", &row[0]);
                let (n, m) = problem.file_sizes();
                assert_eq!([n.to_string(), m.to_string()], [of(&row, "n"), of(&row, "m")], "{}", &row[0]);
                reformulated += 1;
            }
            Ok(_) if row[expect].starts_with("refuse") || &row[expect] == "error" => {
                wrong.push(format!("{}: read, {} expected", &row[0], &row[expect]));
            }
            Ok(mut problem) => {
                let found = differences(&mut problem, &row, &headers);
                wrong.extend(found.iter().map(|d| format!("{}: {d}", &row[0])));
                compared += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared > 100 && refused > 10 && reformulated == 2, "{compared} {refused} {reformulated}");
}

/// Files whose own second derivatives are wrong: the model has the right ones, so H w differs.
const WRONG_HESSIANS: &[&str] =
    &["ECKERLE4", "HIMMELBB", "HIMMELBF", "HIMMELBFNE", "MAXLIKA", "WATSON", "WATSONNE"];

/// Cosines of arguments up to 1e6, whose rounding shows: 4.6e-13 of f.
const ILL_CONDITIONED: &[&str] = &["SCOSINE"];

#[test]
fn every_sif_file_becomes_a_model() {
    let Some(folder) = shared("cutest/sif") else { return };
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let (mut written, mut refused, mut wrong) = (0, vec![], vec![]);
    for file in files {
        // Large ones cost time and show nothing more.
        let Ok(mut p) = SifProblem::from_file(&file, &SifOptions::default()) else { continue };
        if p.meta().n() > 1200 || p.meta().jacobian.as_ref().map_or(0, |j| j.len()) > 20_000 {
            continue;
        }
        let model = match write(&p, NlFormat::Binary) {
            Ok(model) => model,
            Err(error) => {
                refused.push(error.to_string());
                continue;
            }
        };
        let mut back = NlProblem::from_bytes("back.nl", &model.model, &NlOptions::default()).unwrap();
        back.rename(model.columns.lines(), model.rows.lines());
        let name = p.meta().name.clone();
        let found = same(&name, &mut p, &mut back);
        if WRONG_HESSIANS.contains(&name.as_str()) {
            assert!(found.is_some_and(|what| what.contains(": H w (")), "{name}");
        } else if !ILL_CONDITIONED.contains(&name.as_str()) {
            wrong.extend(found);
        }
        written += 1;
    }
    assert!(wrong.is_empty(), "{} of {written}\n{}", wrong.len(), wrong.join("\n"));
    assert!(refused.is_empty() && written > 600, "{written} {refused:?}");
}
