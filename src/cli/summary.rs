//! The JSON object of `solve --json`; `bench` reads it back from its children.

use serde::{Deserialize, Deserializer, Serialize};

use costate::Report;
use costate::nlp::NlpMeta;
use costate::report::{Counts, StopReason};

/// One solve. Numbers that are not finite are `null` in JSON and NaN here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Problem name.
    pub problem: String,
    /// Variables.
    pub n: usize,
    /// Constraints.
    pub m: usize,
    /// Why it stopped.
    pub stop: String,
    /// What the point is.
    pub point: String,
    /// A KKT point within tolerance.
    pub solved: bool,
    /// f(x).
    #[serde(deserialize_with = "nullable")]
    pub objective: f64,
    /// Largest violation of a constraint or bound.
    #[serde(deserialize_with = "nullable")]
    pub primal: f64,
    /// |grad f + J'y + z|.
    #[serde(deserialize_with = "nullable")]
    pub dual: f64,
    /// Largest complementarity product.
    #[serde(deserialize_with = "nullable")]
    pub complementarity: f64,
    /// Outer iterations.
    pub iterations: u64,
    /// Evaluations.
    pub evaluations: Evaluations,
    /// Linear algebra.
    pub linear: Linear,
    /// Seconds.
    pub time: Time,
    /// Converged as well as rounding allows, not within the tolerance.
    #[serde(default)]
    pub converged_to_rounding: bool,
    /// One sentence.
    pub message: String,
    /// Which method gave the point, from which start.
    #[serde(default)]
    pub method: String,
    /// Degenerate, not attained, saddle, kink, flat valley.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Residual norm and standard error of a fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit: Option<Fit>,
    /// What the second derivatives say, with `--second-order`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_order: Option<String>,
    /// What was noticed of the problem: a wrong second derivative.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
    /// Only for `bench`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bench: Option<Facts>,
}

/// Evaluations, each call counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evaluations {
    pub objective: u64,
    pub gradient: u64,
    pub constraints: u64,
    pub jacobian: u64,
    pub hessian: u64,
    pub products: u64,
}

impl From<Counts> for Evaluations {
    fn from(c: Counts) -> Self {
        Self {
            objective: c.objective,
            gradient: c.gradient,
            constraints: c.constraints,
            jacobian: c.jacobian,
            hessian: c.hessian,
            products: c.products,
        }
    }
}

/// What the linear solver did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linear {
    pub solver: String,
    pub solves: u64,
    pub inner_iterations: u64,
}

/// Seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Time {
    pub read: f64,
    pub solve: f64,
    pub total: f64,
}

/// A least-squares solution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    pub residual_norm: f64,
    pub standard_error: f64,
}

/// What only `bench` wants to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Classification of the file.
    pub class: String,
    /// Kind of problem by its sizes.
    pub kind: String,
    /// Peak memory of the process in MiB, where the system tells it (Linux).
    #[serde(default)]
    pub memory_mib: Option<f64>,
}

impl Summary {
    /// Of a finished solve.
    pub fn of_report(meta: &NlpMeta, report: &Report) -> Self {
        Self {
            problem: meta.name.clone(),
            n: meta.n(),
            m: meta.m(),
            stop: report.stop.as_str().into(),
            point: report.point.as_str().into(),
            solved: report.solved(),
            objective: report.objective,
            primal: report.primal,
            dual: report.dual,
            complementarity: report.complementarity,
            iterations: report.iterations,
            evaluations: report.counts.into(),
            linear: Linear {
                solver: report.linear.solver.clone(),
                solves: report.linear.solves,
                inner_iterations: report.linear.inner_iterations,
            },
            time: Time {
                read: report.time.read,
                solve: report.time.solve,
                total: report.time.read + report.time.solve,
            },
            converged_to_rounding: report.stop == StopReason::ConvergedToRounding,
            message: report.message.clone(),
            method: report.method.clone(),
            remarks: report.remarks.iter().map(|r| r.as_str().into()).collect(),
            fit: report.fit.map(|f| Fit { residual_norm: f.residual_norm, standard_error: f.standard_error }),
            second_order: report.second_order.map(|s| s.as_str().into()),
            warning: report.wrong_entry.map(|e| e.describe(meta)),
            bench: None,
        }
    }

    /// Of a run without a report.
    pub fn of_failure(problem: &str, stop: &str, message: String) -> Self {
        Self {
            problem: problem.into(),
            n: 0,
            m: 0,
            stop: stop.into(),
            point: String::new(),
            solved: false,
            objective: f64::NAN,
            primal: f64::NAN,
            dual: f64::NAN,
            complementarity: f64::NAN,
            iterations: 0,
            evaluations: Evaluations::default(),
            linear: Linear::default(),
            time: Time::default(),
            converged_to_rounding: false,
            message,
            method: String::new(),
            remarks: Vec::new(),
            fit: None,
            second_order: None,
            warning: None,
            bench: None,
        }
    }
}

fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Kind of a problem by its sizes, the classes of the benchmark tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// No constraints, no bounds
    Unconstrained,
    /// Bounds only
    Bounds,
    /// Equality constraints, no bounds
    Equality,
    /// Equality constraints and bounds
    EqualityBounds,
    /// At least one inequality constraint
    Inequality,
}

impl Kind {
    /// All kinds in the order of the tables.
    pub const ALL: [Self; 5] =
        [Self::Equality, Self::EqualityBounds, Self::Inequality, Self::Bounds, Self::Unconstrained];

    /// Of a problem.
    pub fn of(meta: &NlpMeta) -> Self {
        let equalities = (0..meta.m()).filter(|&i| meta.is_equality(i)).count();
        let bounded = (0..meta.n()).filter(|&j| meta.is_bounded(j)).count();
        Self::of_sizes(meta.m(), equalities, bounded)
    }

    /// Of sizes: constraints, equalities among them, bounded (or fixed) variables.
    pub fn of_sizes(m: usize, equalities: usize, bounded: usize) -> Self {
        match (m, bounded) {
            (0, 0) => Self::Unconstrained,
            (0, _) => Self::Bounds,
            _ if equalities < m => Self::Inequality,
            (_, 0) => Self::Equality,
            _ => Self::EqualityBounds,
        }
    }

    /// Name in tables, CSV and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unconstrained => "unconstrained",
            Self::Bounds => "bounds",
            Self::Equality => "equality",
            Self::EqualityBounds => "equality-bounds",
            Self::Inequality => "inequality",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_roundtrip_keeps_missing_numbers() {
        let summary = Summary { objective: 1.5, ..Summary::of_failure("P", "crashed", "gone".into()) };
        let text = serde_json::to_string(&summary).unwrap();
        assert!(text.contains("\"primal\":null"), "{text}");
        assert!(!text.contains("bench"), "{text}");
        let back: Summary = serde_json::from_str(&text).unwrap();
        assert_eq!(back.objective, 1.5);
        assert!(back.primal.is_nan());
        assert_eq!(back.stop, "crashed");
    }

    #[test]
    fn kinds_follow_the_sizes() {
        assert_eq!(Kind::of_sizes(0, 0, 0), Kind::Unconstrained);
        assert_eq!(Kind::of_sizes(0, 0, 3), Kind::Bounds);
        assert_eq!(Kind::of_sizes(2, 2, 0), Kind::Equality);
        assert_eq!(Kind::of_sizes(2, 2, 1), Kind::EqualityBounds);
        assert_eq!(Kind::of_sizes(2, 1, 0), Kind::Inequality);
    }
}
