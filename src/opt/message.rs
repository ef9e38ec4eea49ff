//! A report in one sentence.

use std::fmt::{self, Write};

use crate::nlp::NlpMeta;
use crate::report::{Report, StopReason};

/// One sentence for people.
pub(super) fn message(report: &Report, meta: &NlpMeta, text: &mut String) -> fmt::Result {
    match &report.stop {
        StopReason::Converged => text.write_str("a KKT point within tolerance")?,
        StopReason::ConvergedToRounding => {
            text.write_str("as near to a KKT point as rounding allows: no step makes it better")?;
        }
        StopReason::LeastSquares => {
            text.write_str("a least-squares solution")?;
            if let Some(fit) = &report.fit {
                let (norm, error) = (fit.residual_norm, fit.standard_error);
                write!(text, ": residual norm {norm:.6e}, standard error {error:.3e}")?;
            }
        }
        StopReason::LocallyInfeasible => {
            text.write_str("a stationary point of the constraint violation: no feasible point near")?;
            if let Some((i, v)) = report.worst_constraints.first() {
                write!(text, "; worst is {} with {v:.2e}", meta.constraint_name(*i))?;
            }
        }
        StopReason::Infeasible { what } => text.write_str(what)?,
        StopReason::Unbounded => {
            let changes = if meta.maximize { "grows" } else { "falls" };
            write!(text, "the objective {changes} without limit along feasible points")?;
        }
        StopReason::MaxIterations => text.write_str("the iteration limit was reached")?,
        StopReason::MaxEvaluations => text.write_str("the limit on evaluations was reached")?,
        StopReason::TimeLimit => text.write_str("the time limit was reached")?,
        StopReason::Interrupted => text.write_str("interrupted")?,
        StopReason::Stalled { what } => write!(text, "no further progress: {what}")?,
        StopReason::LinearSolveFailed { what } => {
            write!(text, "the linear system could not be solved: {what}")?;
        }
        StopReason::EvaluationPanicked { what } => text.write_str(what)?,
        StopReason::StartNotFinite { function } => write!(text, "at the start point: {function}")?,
    }
    for remark in &report.remarks {
        text.push_str("; ");
        text.push_str(remark.describe());
    }
    Ok(())
}
