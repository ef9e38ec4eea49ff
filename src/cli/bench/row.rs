//! One row a solve, written as it comes and put in order at the end.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tasks::{Task, params_text};
use crate::cli::Failure;
use crate::cli::summary::Summary;

/// A row of the CSV. `solve_seconds`, without reading, is what is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub params: String,
    /// Classification of the file.
    pub class: String,
    /// Kind of problem by its sizes.
    pub kind: String,
    pub n: usize,
    pub m: usize,
    pub solved: bool,
    /// Why it stopped; also error, unsupported, crashed, killed.
    pub stop: String,
    pub point: String,
    pub objective: f64,
    pub primal: f64,
    pub dual: f64,
    pub complementarity: f64,
    pub iterations: u64,
    pub objective_evaluations: u64,
    pub gradient_evaluations: u64,
    pub constraint_evaluations: u64,
    pub jacobian_evaluations: u64,
    pub hessian_evaluations: u64,
    pub products: u64,
    /// Linear solver used.
    pub linear: String,
    pub linear_solves: u64,
    pub inner_iterations: u64,
    pub read_seconds: f64,
    pub solve_seconds: f64,
    pub total_seconds: f64,
    /// Linear solver asked for.
    pub linear_option: String,
    pub tolerance: f64,
    pub seed: u64,
    pub message: String,
    /// Peak memory of the process in MiB, NaN if not known.
    #[serde(default = "not_known")]
    pub memory_mib: f64,
}

fn not_known() -> f64 {
    f64::NAN
}

impl Row {
    /// Of a task and its result.
    pub fn new(task: &Task, s: Summary) -> Self {
        let facts = s.bench.unwrap_or_default();
        Self {
            name: task.name.clone(),
            params: params_text(&task.params),
            class: facts.class,
            kind: facts.kind,
            n: s.n,
            m: s.m,
            solved: s.solved,
            stop: s.stop,
            point: s.point,
            objective: s.objective,
            primal: s.primal,
            dual: s.dual,
            complementarity: s.complementarity,
            iterations: s.iterations,
            objective_evaluations: s.evaluations.objective,
            gradient_evaluations: s.evaluations.gradient,
            constraint_evaluations: s.evaluations.constraints,
            jacobian_evaluations: s.evaluations.jacobian,
            hessian_evaluations: s.evaluations.hessian,
            products: s.evaluations.products,
            linear: s.linear.solver,
            linear_solves: s.linear.solves,
            inner_iterations: s.linear.inner_iterations,
            read_seconds: s.time.read,
            solve_seconds: s.time.solve,
            total_seconds: s.time.total,
            linear_option: task.variant.linear.to_string(),
            tolerance: task.variant.tolerance,
            seed: task.variant.seed,
            message: s.message,
            memory_mib: facts.memory_mib.unwrap_or(f64::NAN),
        }
    }

    /// Name with parameters.
    pub fn label(&self) -> String {
        if self.params.is_empty() { self.name.clone() } else { format!("{} ({})", self.name, self.params) }
    }

    /// What identifies a problem when tables are compared: name and parameters, their order aside.
    pub fn key(&self) -> (String, String) {
        problem_key(&self.name, &self.params)
    }
}

/// See [`Row::key`].
pub fn problem_key(name: &str, params: &str) -> (String, String) {
    let mut words: Vec<&str> = params.split_whitespace().collect();
    words.sort_unstable();
    (name.to_string(), words.join(" "))
}

/// A CSV file that has every finished row at any time.
pub struct CsvSink {
    path: PathBuf,
    writer: csv::Writer<File>,
    written: Vec<(String, String, String, u64, u64)>,
}

fn identity(row: &Row) -> (String, String, String, u64, u64) {
    (row.name.clone(), row.params.clone(), row.linear_option.clone(), row.tolerance.to_bits(), row.seed)
}

impl CsvSink {
    /// Creates (or empties) the file.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let writer = csv::Writer::from_path(path).map_err(|e| Failure(format!("{}: {e}", path.display())))?;
        Ok(Self { path: path.to_path_buf(), writer, written: Vec::new() })
    }

    fn failure(&self, e: impl std::fmt::Display) -> Failure {
        Failure(format!("{}: {e}", self.path.display()))
    }

    /// Writes a row and flushes.
    pub fn add(&mut self, row: &Row) -> Result<(), Failure> {
        self.written.push(identity(row));
        self.writer.serialize(row).map_err(|e| self.failure(e))?;
        self.writer.flush().map_err(|e| self.failure(e))
    }

    /// Puts the rows in order, if parallel work has mixed them: a new file takes the old one's place.
    pub fn finish(self, rows: &[Row]) -> Result<(), Failure> {
        if self.written.iter().eq(rows.iter().map(identity).collect::<Vec<_>>().iter()) {
            return Ok(());
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".tmp");
        let sorted = PathBuf::from(name);
        let mut writer = csv::Writer::from_path(&sorted).map_err(|e| self.failure(e))?;
        for row in rows {
            writer.serialize(row).map_err(|e| self.failure(e))?;
        }
        writer.flush().map_err(|e| self.failure(e))?;
        std::fs::rename(&sorted, &self.path).map_err(|e| self.failure(e))
    }
}
