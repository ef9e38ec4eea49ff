//! A solve of the problem that presolve leaves, and the report of the whole one.
//!
//! The verdict on the smaller problem is one on the user's: its points are those of the user's with the removed rows held, and multipliers come back
//! exactly (`problem/presolve`). Where that does not do, the problem is solved as it is: a least violation is to be one of all rows, and residuals
//! of the user's problem that rounding has made too large are no solution.

use std::fmt::Write;
use std::ops::ControlFlow;

use super::options::{Method, Options, WarmStart};
use super::problem::{Contradiction, Found, Presolve, Reduced, Restored, catching, outside, product};
use super::verdict;
use crate::error::Error;
use crate::linalg::norm_inf;
use crate::nlp::{Nlp, NlpMeta};
use crate::observe::{Event, Observer};
use crate::report::{PointKind, Remark, Report, StopReason};

/// A solve of a problem as it is given.
pub(super) type Plain<'s> = dyn FnMut(&mut dyn Nlp, (&Options, Option<&WarmStart>), &mut dyn Observer, &mut Report) -> Result<(), Error>
    + 's;

/// Solves by `plain` what presolve leaves, where it is wanted and removes something.
pub(super) fn solve(
    nlp: &mut dyn Nlp,
    options: &Options,
    warm: Option<&WarmStart>,
    (observer, report): (&mut dyn Observer, &mut Report),
    plain: &mut Plain<'_>,
) -> Result<(), Error> {
    let wanted = options.presolve && options.method != Method::SketchedNewton;
    match if wanted { Presolve::find(nlp, verdict::PRIMAL * options.tolerance) } else { Found::Nothing } {
        Found::Nothing => plain(nlp, (options, warm), observer, report),
        Found::Contradiction(c) => {
            plain(nlp, (options, warm), observer, report)?;
            tell_contradiction(nlp.meta(), &c, report);
            Ok(())
        }
        Found::Reduced(presolve) => {
            solve_reduced(nlp, &presolve, (options, warm), (&mut *observer, &mut *report), plain)?;
            if needs_all_rows(nlp, &presolve, options, report) {
                let text = "presolve is left out: the answer is to be one of all rows";
                let _ = observer.event(&Event::Note { text });
                return solve_whole(nlp, (options, warm), observer, report, plain);
            }
            let _ = write!(report.method, ", after {}", presolve.describe());
            Ok(())
        }
    }
}

fn solve_reduced(
    nlp: &mut dyn Nlp,
    presolve: &Presolve,
    (options, warm): (&Options, Option<&WarmStart>),
    (observer, report): (&mut dyn Observer, &mut Report),
    plain: &mut Plain<'_>,
) -> Result<(), Error> {
    let warm = warm.map(|w| {
        let (x, y, z) = presolve.forward((&w.x, &w.y, &w.z));
        WarmStart { x, y, z }
    });
    let mut announced = Announced { observer, note: Some(format!("presolve: {}", presolve.describe())) };
    plain(&mut Reduced::new(nlp, presolve), (options, warm.as_ref()), &mut announced, report)?;
    // c and J were evaluated to find the rows.
    report.counts.constraints += 1;
    report.counts.jacobian += 1;
    Ok(())
}

/// Makes the report that of the whole problem; true if that does not do.
fn needs_all_rows(nlp: &mut dyn Nlp, presolve: &Presolve, options: &Options, report: &mut Report) -> bool {
    let restored = restore(nlp, presolve, report);
    match report.stop {
        StopReason::LocallyInfeasible | StopReason::StartNotFinite { .. } => true,
        StopReason::Converged => restored.is_none_or(|gradient| !holds(report, gradient, options)),
        _ => false,
    }
}

/// Solves the problem as it is with what is left of the limits; the report counts what was spent before.
fn solve_whole(
    nlp: &mut dyn Nlp,
    (options, warm): (&Options, Option<&WarmStart>),
    observer: &mut dyn Observer,
    report: &mut Report,
    plain: &mut Plain<'_>,
) -> Result<(), Error> {
    let (iterations, before) = (report.iterations, report.counts);
    let left = options.after(iterations, &before);
    plain(nlp, (&left, warm), observer, report)?;
    report.iterations += iterations;
    report.counts += before;
    Ok(())
}

/// Says after the header what was removed.
struct Announced<'o> {
    observer: &'o mut dyn Observer,
    note: Option<String>,
}

impl Observer for Announced<'_> {
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        let answer = self.observer.event(event);
        if matches!(event, Event::Start(_))
            && let Some(text) = self.note.take()
        {
            let _ = self.observer.event(&Event::Note { text: &text });
        }
        answer
    }
}

/// A solved point holds for the user's problem (`docs/notation.md`, *close*).
fn holds(report: &Report, gradient: f64, options: &Options) -> bool {
    let (tol, size) = (options.tolerance, options.tolerance * (1.0 + report.objective.abs()));
    report.primal <= verdict::PRIMAL * tol
        && report.dual <= verdict::DUAL * tol * gradient.max(1.0)
        && report.complementarity <= verdict::COMPLEMENTARITY * size
}

/// The point of the report as the user's, and its residuals; |grad f|, or `None` where it cannot be evaluated.
fn restore(nlp: &mut dyn Nlp, presolve: &Presolve, report: &mut Report) -> Option<f64> {
    let meta = nlp.meta();
    let (n, m) = (meta.n(), meta.m());
    let pattern = meta.jacobian.clone()?;
    let (reduced_y, reduced_z) = (std::mem::take(&mut report.y), std::mem::take(&mut report.z));
    let mut x = vec![0.0; n];
    presolve.user_x(&report.x, &mut x);
    report.x = x;
    (report.y, report.z) = (vec![0.0; m], vec![0.0; n]);
    for entry in report.wrong_entry.iter_mut() {
        (entry.row, entry.col) = (presolve.col(entry.row), presolve.col(entry.col));
    }
    let (mut gradient, mut c, mut jacobian) = (vec![0.0; n], vec![0.0; m], vec![0.0; pattern.len()]);
    let evaluated = catching(|| {
        nlp.cons(&report.x, &mut c)?;
        nlp.grad_jac_values(&report.x, &mut gradient, &mut jacobian)
    });
    report.counts.constraints += 1;
    report.counts.gradient += 1;
    report.counts.jacobian += 1;
    if !matches!(evaluated, Ok(Ok(()))) {
        report.worst_constraints.iter_mut().for_each(|w| w.0 = presolve.row(w.0));
        return None;
    }
    let size = norm_inf(&gradient);
    let to = Restored { y: &mut report.y, z: &mut report.z, gradient: &mut gradient };
    presolve.restore((&reduced_y, &reduced_z), &pattern, &jacobian, to);
    measure(nlp.meta(), &c, &gradient, report);
    Some(size)
}

/// Residuals of the report's point; `gradient`: grad f + J'y.
fn measure(meta: &NlpMeta, c: &[f64], gradient: &[f64], report: &mut Report) {
    (report.primal, report.complementarity) = (0.0, 0.0);
    report.dual = gradient.iter().zip(&report.z).fold(0.0, |d: f64, (g, z)| d.max((g + z).abs()));
    let mut worst = Vec::new();
    for (i, &v) in c.iter().enumerate() {
        let (l, u) = (meta.c_lower[i], meta.c_upper[i]);
        let by = outside(v, l, u);
        report.primal = report.primal.max(by);
        report.complementarity = report.complementarity.max(product(report.y[i], v, l, u).abs());
        worst.push((i, by));
    }
    for (j, &v) in report.x.iter().enumerate() {
        let (l, u) = (meta.x_lower[j], meta.x_upper[j]);
        report.primal = report.primal.max(outside(v, l, u));
        report.complementarity = report.complementarity.max(product(report.z[j], v, l, u).abs());
    }
    let known: Vec<usize> = report.worst_constraints.iter().map(|w| w.0).collect();
    worst.retain(|w| w.1 > 0.0 && !known.is_empty());
    worst.sort_by(|a, b| b.1.total_cmp(&a.1));
    worst.truncate(10);
    report.worst_constraints = worst;
}

/// The report on the least violation of a problem with a row that cannot hold.
fn tell_contradiction(meta: &NlpMeta, c: &Contradiction, report: &mut Report) {
    if report.is_answer() {
        return;
    }
    let span = |(l, u): (f64, f64)| if l == u { format!("{l}") } else { format!("[{l}, {u}]") };
    let (name, reach, wanted) = (meta.constraint_name(c.row), span(c.reach), span(c.wanted));
    let what = format!(
        "within the bounds and the other linear rows the terms of {name} add up to {reach}, and {wanted} is wanted"
    );
    if report.stop == StopReason::LocallyInfeasible {
        if !report.remarks.contains(&Remark::Contradiction) {
            report.remarks.push(Remark::Contradiction);
            let _ = write!(report.message, "; {}", Remark::Contradiction.describe());
        }
        let _ = write!(report.message, "; {what}");
    } else {
        report.message = format!("no point is feasible: {what}");
        (report.stop, report.point) =
            (StopReason::Infeasible { what: report.message.clone() }, PointKind::Infeasible);
    }
}
