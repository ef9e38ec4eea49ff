//! What a person sees of a solve: header, iteration table, final block.

use std::fmt::Write;

use costate::nlp::NlpMeta;
use costate::observe::{Header, IterationRow};
use costate::report::SecondOrder;
use costate::{PointKind, Report, StopReason};

use super::output::Output;

/// Rows after which the heading is repeated.
const HEADING_EVERY: u64 = 25;

/// Counts of the kinds of variables and constraints, in words.
pub fn sizes(meta: &NlpMeta) -> String {
    let fixed = (0..meta.n()).filter(|&j| meta.x_lower[j] == meta.x_upper[j]).count();
    let bounded = (0..meta.n()).filter(|&j| meta.is_bounded(j)).count() - fixed;
    let equalities = (0..meta.m()).filter(|&i| meta.is_equality(i)).count();
    let mut text = plural(meta.n(), "variable");
    let kinds: Vec<String> = [(bounded, "bounded"), (fixed, "fixed")]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !kinds.is_empty() {
        let _ = write!(text, " ({})", kinds.join(", "));
    }
    match (equalities, meta.m() - equalities) {
        (0, 0) => text.push_str(", no constraints"),
        (e, 0) => {
            let _ = write!(text, ", {}", plural(e, "equality constraint"));
        }
        (0, i) => {
            let _ = write!(text, ", {}", plural(i, "inequality constraint"));
        }
        (e, i) => {
            let _ = write!(text, ", {} ({e} equalities, {i} inequalities)", plural(e + i, "constraint"));
        }
    }
    text
}

/// `1 variable`, `2 variables`.
fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Prints the header of a solve.
pub fn header(out: &mut Output, meta: &NlpMeta, class: Option<&str>, header: &Header) {
    let class = class.map(|c| format!("   [{c}]")).unwrap_or_default();
    out.line(format_args!("Problem    {}: {}{class}", header.problem, sizes(meta)));
    let count = |k: Option<usize>| k.map_or("no pattern".into(), |k| k.to_string());
    out.line(format_args!(
        "Nonzeros   Jacobian {}, Hessian of the Lagrangian {} (lower triangle)",
        count(header.jacobian_nonzeros),
        count(header.hessian_nonzeros)
    ));
    out.line(format_args!("Method     {}", header.method));
    out.line(format_args!("Linear     {}", header.linear));
    if header.objective_scale != 1.0 || header.smallest_constraint_scale != 1.0 {
        out.line(format_args!(
            "Scaling    objective {:.1e}, constraints {:.1e} or more",
            header.objective_scale, header.smallest_constraint_scale
        ));
    }
    out.line(format_args!(""));
    out.flush();
}

/// Prints a row of the iteration table, with the heading where it is due.
pub fn row(out: &mut Output, row: &IterationRow) {
    let barrier = row.barrier > 0.0;
    if row.iteration.is_multiple_of(HEADING_EVERY) {
        let middle = if barrier {
            format!("{:>8} {:>8}", "error", "mu")
        } else {
            format!("{:>10} {:>7} {:>7}", "merit", "eta1", "eta2")
        };
        out.line(format_args!(
            "{:>6} {:>15} {:>8} {:>8} {middle} {:>7} {:>8} {:>8} {:>3} {:>6}",
            "iter ", "objective", "inf_pr", "inf_du", "shift", "|step|", "alpha", "ls", "inner"
        ));
    }
    let kind = if row.kind.is_ascii_graphic() { row.kind } else { ' ' };
    let middle = if barrier {
        format!("{} {}", residual(row.scaled_residual), residual(row.barrier))
    } else {
        format!("{:>10} {} {}", number(row.merit, 3), short(row.penalty.0), short(row.penalty.1))
    };
    out.print(format_args!(
        "{:>5}{kind} {:>15} {} {} {middle}",
        row.iteration,
        number(row.objective, 8),
        residual(row.primal),
        residual(row.dual),
    ));
    if row.iteration == 0 {
        out.line(format_args!(""));
    } else {
        out.line(format_args!(
            " {} {} {} {:>3} {:>6}",
            if row.shift == 0.0 { format!("{:>7}", "-") } else { short(row.shift) },
            residual(row.step_norm),
            residual(row.step_length),
            row.trials,
            row.inner_iterations
        ));
    }
    out.flush();
}

/// `-1.73205081e0` in at most 15 characters.
fn number(value: f64, digits: usize) -> String {
    exponent(format!("{value:.digits$e}"))
}

fn residual(value: f64) -> String {
    format!("{:>8}", exponent(format!("{value:.2e}")))
}

fn short(value: f64) -> String {
    format!("{:>7}", exponent(format!("{value:.1e}")))
}

/// Exponents as C writes them: `1.00e-08`, `1.00e+00`.
fn exponent(text: String) -> String {
    let Some((mantissa, power)) = text.split_once('e') else { return text };
    let (sign, digits) = match power.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', power),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// A duration with three digits and a unit.
pub fn seconds(value: f64) -> String {
    let (scale, unit) = match value {
        v if v < 1e-3 => (1e6, "us"),
        v if v < 1.0 => (1e3, "ms"),
        _ => (1.0, "s"),
    };
    let v = scale * value;
    let digits = if v < 10.0 { 2 } else { usize::from(v < 100.0) };
    format!("{v:.digits$} {unit}")
}

/// The reason for stopping, in words.
pub fn stop_words(stop: &StopReason) -> &'static str {
    match stop {
        StopReason::Converged => "converged",
        StopReason::ConvergedToRounding => "converged to rounding",
        StopReason::LeastSquares => "least squares",
        StopReason::LocallyInfeasible => "locally infeasible",
        StopReason::Infeasible { .. } => "infeasible",
        StopReason::Unbounded => "unbounded below",
        StopReason::MaxIterations => "iteration limit",
        StopReason::MaxEvaluations => "evaluation limit",
        StopReason::TimeLimit => "time limit",
        StopReason::Interrupted => "interrupted",
        StopReason::Stalled { .. } => "stalled",
        StopReason::LinearSolveFailed { .. } => "linear solve failed",
        StopReason::EvaluationPanicked { .. } => "evaluation panicked",
        StopReason::StartNotFinite { .. } => "start point not finite",
    }
}

/// What the point is, in words.
pub fn point_words(point: PointKind) -> &'static str {
    match point {
        PointKind::Kkt => "KKT point within the tolerance",
        PointKind::Feasible => "feasible within the tolerance, not stationary",
        PointKind::LeastSquares => {
            "stationary point of the constraint violation, not feasible (least squares)"
        }
        PointKind::Infeasible => "neither feasible nor stationary",
    }
}

/// Why the solver stopped, in a sentence.
pub fn stopped(report: &Report) -> String {
    let words = stop_words(&report.stop);
    let told = report.message.is_empty() || report.message == words;
    if told { words.to_string() } else { format!("{words}: {}", report.message) }
}

/// Prints the final block.
pub fn footer(out: &mut Output, meta: &NlpMeta, report: &Report) {
    let (linear, counts, time) = (&report.linear, &report.counts, &report.time);
    out.line(format_args!("\nStopped      {}", stopped(report)));
    let second_order = match report.second_order {
        Some(SecondOrder::Minimum) => ", a strict local minimum by its second derivatives",
        Some(SecondOrder::Saddle) => ", a saddle or maximum by its second derivatives",
        Some(SecondOrder::Unconfirmed) => ", not shown to be a minimum by its second derivatives",
        None => "",
    };
    out.line(format_args!("Point        {}{second_order}", point_words(report.point)));
    if !report.method.is_empty() {
        out.line(format_args!("Found by     {}", report.method));
    }
    out.line(format_args!("Objective    {}", exponent(format!("{:.15e}", report.objective))));
    out.line(format_args!(
        "Residuals    constraints {}, dual {}, complementarity {} (unscaled); tested {}",
        residual(report.primal).trim(),
        residual(report.dual).trim(),
        residual(report.complementarity).trim(),
        residual(report.scaled_residual).trim()
    ));
    out.line(format_args!(
        "Iterations   {}, {} linear systems ({}), {} factorizations, {} inner iterations",
        report.iterations, linear.solves, linear.solver, linear.factorizations, linear.inner_iterations
    ));
    out.line(format_args!(
        "Evaluations  objective {}, gradient {}, constraints {}, Jacobian {}, Hessian {}, products {}",
        counts.objective,
        counts.gradient,
        counts.constraints,
        counts.jacobian,
        counts.hessian,
        counts.products
    ));
    out.line(format_args!(
        "Time         {}: read {}, solve {} (functions {}, linear algebra {})",
        seconds(time.read + time.solve),
        seconds(time.read),
        seconds(time.solve),
        seconds(time.evaluations),
        seconds(time.linear)
    ));
    if let Some(entry) = &report.wrong_entry {
        out.line(format_args!("Warning      {}", entry.describe(meta)));
    }
    if !report.worst_constraints.is_empty() {
        out.line(format_args!("\nMost violated constraints"));
        let names: Vec<String> =
            report.worst_constraints.iter().map(|&(i, _)| meta.constraint_name(i)).collect();
        let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0);
        for (name, (_, violation)) in names.iter().zip(&report.worst_constraints) {
            out.line(format_args!("  {name:<width$}  {}", residual(*violation)));
        }
    }
    out.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_two_digit_exponents() {
        assert_eq!(number(-1.0 / 3.0, 8), "-3.33333333e-01");
        assert_eq!(number(1e100, 3), "1.000e+100");
        assert_eq!(short(0.0), "0.0e+00");
        assert_eq!(number(f64::NAN, 3), "NaN");
    }

    #[test]
    fn durations_have_units() {
        let said = [0.0, 1.234e-5, 0.0999, 0.5, 1.0, 59.96, 1234.0].map(seconds);
        assert_eq!(said, ["0.00 us", "12.3 us", "99.9 ms", "500 ms", "1.00 s", "60.0 s", "1234 s"]);
    }

    #[test]
    fn sizes_in_words() {
        let mut meta = NlpMeta::equality("P", 2, 1);
        assert_eq!(sizes(&meta), "2 variables, 1 equality constraint");
        meta.x_lower[0] = 0.0;
        meta.c_upper[0] = 1.0;
        assert_eq!(sizes(&meta), "2 variables (1 bounded), 1 inequality constraint");
        assert_eq!(sizes(&NlpMeta::equality("P", 1, 0)), "1 variable, no constraints");
    }
}
