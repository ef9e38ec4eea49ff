//! Another solver's results: a CSV of this command or a table of reference values.

use std::collections::HashMap;
use std::path::Path;

use super::row::{Row, problem_key};
use crate::cli::Failure;
use crate::cli::output::Output;
use crate::cli::table::seconds;

/// A result of the other solver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OtherRow {
    /// It solved the problem.
    pub solved: bool,
    /// Its time.
    pub seconds: f64,
    /// The best objective known there.
    pub best: Option<f64>,
}

/// All results of the other solver.
#[derive(Debug)]
pub struct Other {
    /// Name in legends.
    pub label: String,
    rows: HashMap<(String, String), OtherRow>,
}

/// Columns of the two formats: (solved, seconds, best objective).
struct Format {
    label: Option<&'static str>,
    solved: usize,
    solved_word: &'static str,
    seconds: usize,
    best: usize,
}

impl Format {
    fn of(headers: &csv::StringRecord) -> Option<Self> {
        let column = |name: &str| headers.iter().position(|h| h == name);
        if let Some(solved) = column("ipopt_status") {
            let (seconds, best) = (column("ipopt_seconds")?, column("f_best")?);
            return Some(Self {
                label: Some("Ipopt"),
                solved,
                solved_word: "Solve_Succeeded",
                seconds,
                best,
            });
        }
        let (solved, seconds, best) = (column("solved")?, column("solve_seconds")?, column("objective")?);
        Some(Self { label: None, solved, solved_word: "true", seconds, best })
    }
}

impl Other {
    /// Reads either format.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let error = |what: String| Failure(format!("{}: {what}", path.display()));
        let mut reader = csv::Reader::from_path(path).map_err(|e| error(e.to_string()))?;
        let headers = reader.headers().map_err(|e| error(e.to_string()))?.clone();
        let unknown = || error("expected the columns of bench --csv or of the reference values".into());
        let format = Format::of(&headers).ok_or_else(unknown)?;
        let name = headers.iter().position(|h| h == "name").ok_or_else(unknown)?;
        let params = headers.iter().position(|h| h == "params");
        let mut rows = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|e| error(e.to_string()))?;
            let text = |column: usize| record.get(column).unwrap_or_default();
            let number = |column: usize| text(column).parse::<f64>().ok().filter(|v| v.is_finite());
            let solved = text(format.solved) == format.solved_word;
            // Of our own format, only a solved run's objective counts as known.
            let best = number(format.best).filter(|_| format.label.is_some() || solved);
            let row = OtherRow { solved, seconds: number(format.seconds).unwrap_or(f64::NAN), best };
            let key = problem_key(text(name), params.map_or("", text));
            if rows.insert(key.clone(), row).is_some() {
                return Err(error(format!("{} occurs twice, expected one row a problem", key.0)));
            }
        }
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { label: format.label.map_or(stem, String::from), rows })
    }

    /// The other's result for a problem.
    pub fn get(&self, row: &Row) -> Option<OtherRow> {
        self.rows.get(&row.key()).copied()
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
struct Comparison<'a> {
    both: Vec<(&'a Row, OtherRow)>,
    won: Vec<&'a Row>,
    lost: Vec<&'a Row>,
    neither: usize,
    worse: Vec<(&'a Row, f64)>,
    unknown: usize,
}

impl<'a> Comparison<'a> {
    fn new(rows: &'a [Row], other: &Other) -> Self {
        let mut found = Self::default();
        for row in rows {
            let Some(theirs) = other.get(row) else {
                found.unknown += 1;
                continue;
            };
            match (row.solved, theirs.solved) {
                (true, true) => found.both.push((row, theirs)),
                (true, false) => found.won.push(row),
                (false, true) => found.lost.push(row),
                (false, false) => found.neither += 1,
            }
            if let (true, Some(best)) = (row.solved, theirs.best)
                && row.objective - best > WORSE * best.abs().max(1.0)
            {
                found.worse.push((row, best));
            }
        }
        found
    }
}

/// Relative difference from which an objective counts as worse.
const WORSE: f64 = 1e-6;
/// Shift of the geometric mean in seconds.
const SHIFT: f64 = 1e-3;

/// exp(mean(ln(t + shift))) - shift.
fn shifted_mean(times: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for t in times {
        sum += (t + SHIFT).ln();
        count += 1;
    }
    (sum / f64::from(count)).exp() - SHIFT
}

/// Prints the comparison.
pub fn print(out: &mut Output, rows: &[Row], other: &Other) {
    let found = Comparison::new(rows, other);
    let label = &other.label;
    let compared = rows.len() - found.unknown;
    out.line(format_args!(
        "\nComparison with {label}: {compared} solves ({} not known there)",
        found.unknown
    ));
    out.line(format_args!("  solved by both    {}", found.both.len()));
    out.line(format_args!("  solved here only  {}{}", found.won.len(), names(&found.won)));
    out.line(format_args!("  solved there only {}{}", found.lost.len(), names(&found.lost)));
    out.line(format_args!("  solved by neither {}", found.neither));
    out.line(format_args!("  objective worse than the best there by more than 1e-6: {}", found.worse.len()));
    for (row, best) in &found.worse {
        out.line(format_args!("    {:<24} {:.9e} against {best:.9e}", row.label(), row.objective));
    }
    if !found.both.is_empty() {
        times(out, &found.both, label);
    }
    out.flush();
}

fn times(out: &mut Output, both: &[(&Row, OtherRow)], label: &str) {
    let (ours, theirs): (f64, f64) =
        (both.iter().map(|b| b.0.solve_seconds).sum(), both.iter().map(|b| b.1.seconds).sum());
    let mean = shifted_mean(both.iter().map(|b| b.0.solve_seconds));
    let their_mean = shifted_mean(both.iter().map(|b| b.1.seconds));
    let faster = both.iter().filter(|b| b.0.solve_seconds < b.1.seconds).count();
    out.line(format_args!("  solve times of the {} solved by both (costate, {label}, ratio)", both.len()));
    out.line(format_args!(
        "    sum                          {ours:.3} s  {theirs:.3} s  {:.3}",
        ours / theirs
    ));
    out.line(format_args!(
        "    geometric mean shifted 1 ms  {:>9} {:>9} {:>7.3}",
        seconds(mean),
        seconds(their_mean),
        (mean + SHIFT) / (their_mean + SHIFT)
    ));
    out.line(format_args!("    costate is faster on         {faster} of {}", both.len()));
    let mut slow: Vec<_> = both.iter().map(|(r, o)| (r, o, r.solve_seconds / o.seconds.max(SHIFT))).collect();
    slow.sort_by(|a, b| b.2.total_cmp(&a.2));
    for (row, theirs, ratio) in slow.iter().filter(|s| s.2 > 2.0).take(10) {
        out.line(format_args!(
            "    slower: {:<20} {:>9} {:>9} {ratio:>7.1}",
            row.label(),
            seconds(row.solve_seconds),
            seconds(theirs.seconds)
        ));
    }
}

fn names(rows: &[&Row]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    format!(": {}", rows.iter().map(|r| r.label()).collect::<Vec<_>>().join(" "))
}
