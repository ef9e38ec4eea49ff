//! What a sweep leaves: a table, the best configuration with its weights, a plot.

use std::path::Path;

use serde_json::json;
use toml::Value;

use costate::train::checkpoint::write_file;

use super::config::Sweep;
use super::engine::{Engine, Trial};
use super::journal::End;
use super::trial;
use crate::cli::Failure;
use crate::cli::output::Output;

/// Trials on the screen.
const SHOWN: usize = 10;

/// A value with four digits.
pub fn short(value: &Value) -> String {
    match value {
        Value::Float(x) if *x == 0.0 || (1e-3..1e5).contains(&x.abs()) => {
            let text = format!("{x:.5}");
            text.trim_end_matches('0').trim_end_matches('.').into()
        }
        Value::Float(x) => format!("{x:.3e}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn end(trial: &Trial) -> &'static str {
    trial.end.as_ref().map_or("unfinished", End::name)
}

/// Numbers of all trials, the best first: those that reached their end by their value, then the others by theirs.
pub fn ranking(sweep: &Sweep, engine: &Engine<'_>) -> Vec<usize> {
    let key = |k: &usize| {
        let trial = &engine.trials[*k];
        let whole = matches!(trial.end, Some(End::Finished | End::Patience));
        let score = sweep.score(engine.value(trial));
        (!whole, if score.is_nan() { f64::INFINITY } else { -score })
    };
    let mut order: Vec<usize> = (0..engine.trials.len()).collect();
    order.sort_by(|a, b| {
        let (x, y) = (key(a), key(b));
        x.0.cmp(&y.0).then(x.1.total_cmp(&y.1)).then(a.cmp(b))
    });
    order
}

/// table.csv, best.toml, best.safetensors.
pub fn write(sweep: &Sweep, engine: &Engine<'_>, root: &Path) -> Result<(), Failure> {
    let mut table = csv::Writer::from_writer(vec![]);
    let names = sweep.variables.iter().map(|v| v.name.as_str());
    let head = ["trial", "end", "epochs", &sweep.config.metric, "predicted", "parameters"];
    table.write_record(head.into_iter().chain(names).chain(["why", "seconds"]))?;
    for (k, t) in engine.trials.iter().enumerate() {
        let value = engine.value(t);
        let (predicted, why) = match &t.end {
            Some(End::Stopped { predicted, .. }) => (predicted.to_string(), ""),
            Some(End::Failed { what }) => (String::new(), what.as_str()),
            _ => (String::new(), ""),
        };
        let mut row = vec![k.to_string(), end(t).into(), t.values.len().to_string()];
        row.push(if value.is_nan() { String::new() } else { value.to_string() });
        row.extend([predicted, t.parameters.to_string()]);
        row.extend(sweep.variables.iter().zip(&t.point).map(|(v, x)| match v.value(*x) {
            Value::String(text) => text,
            other => other.to_string(),
        }));
        row.extend([why.to_string(), format!("{:.3}", t.seconds)]);
        table.write_record(row)?;
    }
    let bytes = table.into_inner().map_err(|e| Failure(format!("table.csv: {e}")))?;
    write_file(&root.join("table.csv"), &bytes)?;
    if let Some(k) = engine.best() {
        let t = &engine.trials[k];
        let text = sweep.table(&t.point).map_err(Failure)?.to_string();
        write_file(&root.join("best.toml"), text.as_bytes())?;
        let name = if engine.keeps_best(t) { trial::BEST } else { trial::LAST };
        let from = engine.folder(k).join(name);
        let weights = std::fs::read(&from).map_err(|e| Failure(format!("{}: {e}", from.display())))?;
        write_file(&root.join("best.safetensors"), &weights)?;
    }
    Ok(())
}

/// The best trials and what they cost, for people or as JSON.
pub fn print(
    sweep: &Sweep,
    engine: &Engine<'_>,
    root: &Path,
    (json, quiet, interrupted): (bool, bool, bool),
    out: &mut Output,
) -> Result<(), Failure> {
    let count = |name: &str| engine.trials.iter().filter(|t| end(t) == name).count();
    let epochs: usize = engine.trials.iter().map(|t| t.values.len()).sum();
    let whole = engine.trials.len() * sweep.epochs as usize;
    let (metric, best) = (&sweep.config.metric, engine.best());
    if json {
        let values = best.map(|k| {
            let pairs = sweep.variables.iter().zip(&engine.trials[k].point);
            let pairs = pairs.map(|(v, x)| Ok((v.name.clone(), serde_json::to_value(v.value(*x))?)));
            pairs.collect::<Result<serde_json::Map<_, _>, serde_json::Error>>()
        });
        let found = json!({
            "trials": engine.trials.len(),
            "finished": count("finished") + count("patience"),
            "stopped": count("stopped"),
            "halved": count("halved"),
            "failed": count("failed"),
            "unfinished": count("unfinished"),
            "interrupted": interrupted,
            "epochs": epochs,
            "epochs_without_stopping": whole,
            "best": best,
            "metric": metric,
            "value": best.map(|k| engine.value(&engine.trials[k])),
            "values": values.transpose()?,
        });
        out.line(format_args!("{found}"));
        return Ok(());
    }
    if !quiet {
        let head: Vec<String> = sweep.variables.iter().map(|v| v.name.clone()).collect();
        let mut rows =
            vec![[vec!["trial".into(), "end".into(), "epochs".into(), metric.clone()], head].concat()];
        for k in ranking(sweep, engine).into_iter().take(SHOWN) {
            let t = &engine.trials[k];
            let mut row = vec![k.to_string(), end(t).into(), t.values.len().to_string()];
            row.push(format!("{:.4e}", engine.value(t)));
            row.extend(sweep.variables.iter().zip(&t.point).map(|(v, x)| short(&v.value(*x))));
            rows.push(row);
        }
        let width = |c: usize| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, w)| format!("{cell:>w$}"));
            out.line(format_args!("{}", cells.collect::<Vec<_>>().join("  ")));
        }
        let kinds = ["finished", "patience", "stopped", "halved", "failed", "unfinished"];
        let counts = kinds.iter().map(|k| (count(k), k)).filter(|c| c.0 > 0);
        let counts: Vec<String> = counts.map(|(n, k)| format!("{n} {k}")).collect();
        let share = 100.0 * epochs as f64 / whole.max(1) as f64;
        let trials = engine.trials.len();
        out.line(format_args!(
            "{trials} trials: {}; {epochs} of {whole} epochs ({share:.0} %)",
            counts.join(", ")
        ));
    }
    match best {
        None => out.line(format_args!("no trial has a result")),
        Some(k) => {
            out.line(format_args!("best: trial {k}, {metric} {}", engine.value(&engine.trials[k])));
            for (v, x) in sweep.variables.iter().zip(&engine.trials[k].point) {
                out.line(format_args!("  {} = {}", v.name, v.value(*x)));
            }
        }
    }
    let how = if interrupted { "interrupted; started again it goes on; in" } else { "in" };
    out.line(format_args!("{how} {}", root.display()));
    Ok(())
}
