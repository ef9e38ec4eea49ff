//! Answers: the `.sol` file that AMPL, Pyomo and JuMP read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{NlProblem, Suffix, SuffixTarget, SuffixValues};
use crate::error::Error;
use crate::nlp::{Nlp, NlpMeta};
use crate::report::{PointKind, Report, StopReason};

/// How a solve ended, in AMPL's numbers: 0 to 99 solved, 100 solved with doubt, 200 infeasible, 300 unbounded, 400 a limit, 500 a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SolStatus(pub u32);

impl SolStatus {
    /// The bounds contradict each other.
    pub const BOUNDS_CROSS: Self = Self(201);

    /// Of a report.
    pub fn of(report: &Report, has_objective: bool) -> Self {
        let feasible = matches!(report.point, PointKind::Kkt | PointKind::Feasible);
        Self(match &report.stop {
            StopReason::Converged if !has_objective => 2,
            StopReason::Converged => 0,
            StopReason::ConvergedToRounding => 1,
            StopReason::LeastSquares | StopReason::LocallyInfeasible | StopReason::Infeasible { .. } => 200,
            StopReason::Unbounded => 300,
            StopReason::MaxIterations | StopReason::MaxEvaluations => 400,
            StopReason::TimeLimit => 401,
            StopReason::Interrupted => 403,
            StopReason::Stalled { .. } if feasible => 100,
            StopReason::Stalled { .. } | StopReason::EvaluationPanicked { .. } => 500,
            StopReason::LinearSolveFailed { .. } => 501,
            StopReason::StartNotFinite { .. } => 550,
        })
    }
}

/// What is told to the program that wrote the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// A few lines, none empty.
    pub message: String,
    /// How it ended.
    pub status: SolStatus,
    /// Values of the variables; empty: there is no point.
    pub x: Vec<f64>,
    /// Multipliers of the constraints in the file's sign: derivatives of the optimal value by the sides.
    pub y: Vec<f64>,
    /// Suffixes to return.
    pub suffixes: Vec<Suffix>,
}

impl Answer {
    /// The answer that a report is, with the multipliers of the bounds as the suffixes `ipopt_zL_out` and `ipopt_zU_out`, which JuMP and Pyomo ask for,
    /// and `rc`, their sum.
    pub fn new(problem: &NlProblem, report: &Report, message: String) -> Self {
        let sign = file_sign(problem.meta());
        // What costate added to the file's variables and rows stays here.
        let (n, m) = problem.file_sizes();
        let (n, m) = (n.min(report.x.len()), m.min(report.y.len()));
        let status = SolStatus::of(report, problem.has_objective());
        let in_file = |v: &[f64]| -> Vec<f64> { v.iter().map(|v| sign * v + 0.0).collect() };
        // L = f + y'c + z'x: z < 0 pushes a variable against its lower bound.
        let bound = |name: &str, keep: &dyn Fn(f64) -> bool| Suffix {
            name: name.to_string(),
            target: SuffixTarget::Variable,
            values: SuffixValues {
                real: true,
                entries: (0u32..)
                    .zip(&report.z[..n.min(report.z.len())])
                    .filter(|(_, z)| **z != 0.0 && keep(**z))
                    .map(|(j, z)| (j, sign * z))
                    .collect(),
            },
        };
        let suffixes = vec![
            bound("ipopt_zL_out", &|z| z < 0.0),
            bound("ipopt_zU_out", &|z| z > 0.0),
            bound("rc", &|_| true),
        ];
        Self { message, status, x: report.x[..n].to_vec(), y: in_file(&report.y[..m]), suffixes }
    }

    /// Without a point.
    pub fn without_point(status: SolStatus, message: String) -> Self {
        Self { message, status, x: vec![], y: vec![], suffixes: vec![] }
    }

    /// The text of the file for a problem.
    pub fn text(&self, problem: &NlProblem) -> String {
        self.text_with(problem.file_sizes(), &problem.options, problem.vbtol, problem.objective())
    }

    fn text_with(
        &self,
        (n, m): (usize, usize),
        options: &[i64],
        vbtol: Option<f64>,
        objective: usize,
    ) -> String {
        let mut out = String::new();
        for line in self.message.lines().filter(|line| !line.trim().is_empty()) {
            let _ = writeln!(out, "{line}");
        }
        if out.is_empty() {
            out.push_str(" \n");
        }
        // Pyomo wants this block, and three words in it, where AMPL's own library would leave it out.
        let mut words = options.to_vec();
        if words.is_empty() {
            words.extend([1, 1, 0]);
        }
        words.resize(words.len().max(3), 0);
        let _ = writeln!(out, "\nOptions\n{}", words.len() + if vbtol.is_some() { 2 } else { 0 });
        words.iter().for_each(|w| {
            let _ = writeln!(out, "{w}");
        });
        for size in [m, self.y.len(), n, self.x.len()] {
            let _ = writeln!(out, "{size}");
        }
        if let Some(v) = vbtol {
            let _ = writeln!(out, "{v:?}");
        }
        self.y.iter().chain(&self.x).for_each(|v| {
            let _ = writeln!(out, "{v:?}");
        });
        let _ = writeln!(out, "objno {} {}", objective as i64 - 1, self.status.0);
        for suffix in self.suffixes.iter().filter(|s| !s.values.entries.is_empty()) {
            let kind = suffix.target as usize + if suffix.values.real { 4 } else { 0 };
            let _ =
                writeln!(out, "suffix {kind} {} {} 0 0", suffix.values.entries.len(), suffix.name.len() + 1);
            let _ = writeln!(out, "{}", suffix.name);
            for (k, value) in &suffix.values.entries {
                let _ = if suffix.values.real {
                    writeln!(out, "{k} {value:?}")
                } else {
                    writeln!(out, "{k} {value}")
                };
            }
        }
        out
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
    pub fn write(&self, problem: &NlProblem, path: &Path) -> Result<(), Error> {
        std::fs::write(path, self.text(problem))
            .map_err(|source| Error::Io { path: path.display().to_string(), source })
    }
}

/// From costate's multipliers to the file's, and back.
pub(super) fn file_sign(meta: &NlpMeta) -> f64 {
    if meta.maximize { 1.0 } else { -1.0 }
}

/// Where the answer to a model goes.
pub fn answer_path(model: &Path) -> PathBuf {
    let stub = if model.extension().is_some_and(|e| e == "gz") {
        model.with_extension("")
    } else {
        model.to_path_buf()
    };
    if stub.extension().is_some_and(|e| e == "nl") {
        return stub.with_extension("sol");
    }
    let mut name = stub.into_os_string();
    name.push(".sol");
    name.into()
}
