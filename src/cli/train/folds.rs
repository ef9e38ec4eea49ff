//! `costate train --folds K`: one run a fold, and a table of what they found.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use costate::train::{Config, checkpoint};

use super::super::output::{self, Output};
use super::super::{Failure, Outcome, SOLVED, STOPPED};
use super::compare::{execute, moments};

/// A number over the folds.
#[derive(Debug, Serialize)]
struct Row {
    mean: f64,
    /// Standard deviation of the sample.
    deviation: f64,
    /// One a fold; those that failed are left out.
    values: Vec<f64>,
}

/// `summary.json` of all folds.
#[derive(Debug, Serialize)]
struct Summary {
    folds: usize,
    /// Folds whose run reached its end.
    done: usize,
    test: BTreeMap<String, Row>,
}

/// Trains every fold in a folder of its own; runs that are there are kept, unfinished ones go on.
pub fn run(
    config: &Config,
    base: &Path,
    root: &Path,
    folds: usize,
    flag: &AtomicBool,
    out: &mut Output,
) -> Outcome {
    let mut scores = vec![];
    for fold in 0..folds {
        let mut one = config.clone();
        if !one.task.set_fold(fold, folds) {
            return Err(Failure("--folds: this task has no table whose rows could be folded".into()));
        }
        one.check()?;
        let folder = root.join(format!("fold-{}", fold + 1));
        let Some(done) = execute(&one, base, &folder, flag)? else { return Ok(STOPPED) };
        match done.test {
            Some(test) => scores.push(test),
            None => output::warning(&format!("{}: the run ended with {}", folder.display(), done.stop)),
        }
    }
    let mut numbers = BTreeMap::<String, Vec<f64>>::new();
    for s in &scores {
        let named = s.metrics.iter().map(|(k, v)| (k.as_str(), *v));
        for (name, v) in
            [("loss", s.loss)].into_iter().chain(s.accuracy.map(|a| ("accuracy", a))).chain(named)
        {
            numbers.entry(name.into()).or_default().push(v);
        }
    }
    out.line(format_args!(
        "{:<20} {:>12} {:>12} {:>12} {:>12}",
        "test", "mean", "deviation", "least", "most"
    ));
    let mut test = BTreeMap::new();
    for (name, values) in numbers {
        let (mean, deviation) = moments(&values);
        let least = values.iter().fold(f64::INFINITY, |a, b| a.min(*b));
        let most = values.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
        out.line(format_args!("{name:<20} {mean:>12.5} {deviation:>12.5} {least:>12.5} {most:>12.5}"));
        test.insert(name, Row { mean, deviation, values });
    }
    out.line(format_args!("{} of {folds} folds in {}", scores.len(), root.display()));
    let summary = Summary { folds, done: scores.len(), test };
    let text = serde_json::to_string_pretty(&summary)? + "\n";
    checkpoint::write_file(&root.join("summary.json"), text.as_bytes())?;
    Ok(if scores.len() == folds { SOLVED } else { STOPPED })
}
