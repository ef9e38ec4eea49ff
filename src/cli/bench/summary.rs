//! The tables that `bench` prints.

use super::BenchArgs;
use super::row::Row;
use crate::cli::output::Output;
use crate::cli::summary::Kind;
use crate::cli::table;

/// Prints the table of classes or of the experiment, and what was not solved.
pub fn print(out: &mut Output, args: &BenchArgs, rows: &[Row]) {
    if args.linear.len() * args.tol.len() > 1 || args.seeds > 1 {
        experiment(out, rows);
    } else {
        classes(out, rows);
    }
    unsolved(out, rows);
    out.flush();
}

/// Solves by class and by how they ended.
fn classes(out: &mut Output, rows: &[Row]) {
    out.line(format_args!(
        "{:<16} {:>8} {:>7} {:>8} {:>13} {:>10} {:>11} {:>6} {:>10}",
        "class",
        "problems",
        "solved",
        "rounding",
        "least squares",
        "infeasible",
        "unsupported",
        "other",
        "solve time"
    ));
    let kinds = Kind::ALL.iter().map(|k| k.as_str()).chain([""]);
    for kind in kinds {
        let of_kind: Vec<&Row> = rows.iter().filter(|r| r.kind == kind).collect();
        if !of_kind.is_empty() {
            class_row(out, if kind.is_empty() { "unknown" } else { kind }, &of_kind);
        }
    }
    class_row(out, "total", &rows.iter().collect::<Vec<_>>());
}

fn class_row(out: &mut Output, name: &str, rows: &[&Row]) {
    let count = |test: &dyn Fn(&Row) -> bool| rows.iter().filter(|r| test(r)).count();
    let solved = count(&|r| r.solved);
    let ended = |stop: &str| count(&|r| r.stop == stop);
    let (rounding, fits) = (ended("converged_to_rounding"), ended("least_squares"));
    let infeasible = ended("locally_infeasible") + ended("infeasible");
    let unsupported = ended("unsupported");
    let seconds: f64 = rows.iter().map(|r| r.solve_seconds).sum();
    out.line(format_args!(
        "{name:<16} {:>8} {solved:>7} {rounding:>8} {fits:>13} {infeasible:>10} {unsupported:>11} {:>6} {:>10}",
        rows.len(),
        rows.len() - solved - rounding - fits - infeasible - unsupported,
        table::seconds(seconds)
    ));
}

/// One line for each linear solver and tolerance; medians and times are those of the solved runs.
fn experiment(out: &mut Output, rows: &[Row]) {
    out.line(format_args!(
        "{:<16} {:>8} {:>11} {:>7} {:>8} {:>8} {:>9} {:>11} {:>11}",
        "linear", "tol", "solved", "outer", "f+c", "grad+J", "inner", "mean time", "median time"
    ));
    let mut variants: Vec<(&str, f64)> = Vec::new();
    for row in rows {
        let variant = (row.linear_option.as_str(), row.tolerance);
        if !variants.contains(&variant) {
            variants.push(variant);
        }
    }
    for (linear, tolerance) in variants {
        let all: Vec<&Row> =
            rows.iter().filter(|r| r.linear_option == linear && r.tolerance == tolerance).collect();
        let solved: Vec<&Row> = all.iter().copied().filter(|r| r.solved).collect();
        let over = |value: &dyn Fn(&Row) -> f64| median(solved.iter().map(|r| value(r)).collect());
        let mean = solved.iter().map(|r| r.solve_seconds).sum::<f64>() / solved.len() as f64;
        out.line(format_args!(
            "{linear:<16} {tolerance:>8.0e} {:>11} {:>7} {:>8} {:>8} {:>9} {:>11} {:>11}",
            format!("{}/{}", solved.len(), all.len()),
            over(&|r| r.iterations as f64),
            over(&|r| (r.objective_evaluations + r.constraint_evaluations) as f64),
            over(&|r| (r.gradient_evaluations + r.jacobian_evaluations) as f64),
            over(&|r| r.inner_iterations as f64),
            table::seconds(mean),
            table::seconds(over(&|r| r.solve_seconds)),
        ));
    }
    out.line(format_args!("Medians and mean over the solved runs."));
}

/// The middle value, the mean of both middle values of an even number, NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => f64::NAN,
        (k, 1) => values[k],
        (k, _) => 0.5 * (values[k - 1] + values[k]),
    }
}

/// One line for each problem and way to fail; of several solves alike, how many.
fn unsolved(out: &mut Output, rows: &[Row]) {
    let failed: Vec<&Row> = rows.iter().filter(|r| !r.solved).collect();
    if failed.is_empty() {
        return;
    }
    let several =
        rows.iter().any(|r| (&r.linear_option, r.tolerance) != (&rows[0].linear_option, rows[0].tolerance));
    let mut alike: Vec<(&Row, usize)> = Vec::new();
    for row in &failed {
        match alike.iter_mut().find(|(first, _)| same_failure(first, row)) {
            Some((_, count)) => *count += 1,
            None => alike.push((row, 1)),
        }
    }
    out.line(format_args!("\nNot solved: {}", failed.len()));
    let width = failed.iter().map(|r| r.label().len()).max().unwrap_or(0).min(32);
    for (row, count) in alike {
        let variant =
            if several { format!(" [{} {:e}]", row.linear_option, row.tolerance) } else { String::new() };
        let times = if count > 1 { format!(" ({count} seeds)") } else { String::new() };
        let point = if row.point.is_empty() { String::new() } else { format!(", {}", row.point) };
        out.line(format_args!(
            "  {:<width$}{variant}  {}{point}{times}: {}",
            row.label(),
            row.stop,
            row.message
        ));
    }
}

/// The same problem, solver, tolerance and end; seeds differ.
fn same_failure(a: &Row, b: &Row) -> bool {
    let of =
        |r: &Row| (r.key(), r.linear_option.clone(), r.tolerance.to_bits(), r.stop.clone(), r.point.clone());
    of(a) == of(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!(median(vec![]).is_nan());
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
