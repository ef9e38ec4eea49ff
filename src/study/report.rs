//! What a study ends with.

use serde::Serialize;

use super::{Finding, Measured, Study, StudyOptions, Table, Verdict};
use crate::train::Plot;

/// A plot with its title.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Above it.
    pub title: String,
    /// Whether the vertical axis is logarithmic.
    pub log: bool,
    /// Name of its file, axes and curves.
    pub plot: Plot,
}

/// Claim, numbers and verdict.
#[derive(Debug, Clone, Serialize)]
pub struct StudyReport {
    /// The study's name.
    pub name: &'static str,
    /// Title and number of the paper.
    pub paper: &'static str,
    /// What the paper says.
    pub claim: &'static str,
    /// What has to be seen.
    pub criterion: &'static str,
    /// What becomes of the claim.
    pub verdict: Verdict,
    /// The requirements one by one.
    pub findings: Vec<Finding>,
    /// What was measured.
    pub table: Table,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Wall time of the run.
    pub seconds: f64,
    /// The first seed.
    pub seed: u64,
    /// The number of seeds, if it was asked for.
    pub seeds: Option<u64>,
    /// The verdict is not final.
    pub quick: bool,
    /// Version of the library.
    pub version: &'static str,
    /// Plots, not in the JSON object.
    #[serde(skip)]
    pub pictures: Vec<Picture>,
}

impl StudyReport {
    pub(super) fn new(study: &dyn Study, options: &StudyOptions, measured: Measured, seconds: f64) -> Self {
        let judgment = study.judge(&measured.table);
        Self {
            name: study.name(),
            paper: study.paper(),
            claim: study.claim(),
            criterion: study.criterion(),
            verdict: judgment.verdict(),
            findings: judgment.findings,
            table: measured.table,
            notes: measured.notes,
            seconds,
            seed: options.seed,
            seeds: options.seeds,
            quick: options.quick,
            version: env!("CARGO_PKG_VERSION"),
            pictures: measured.pictures,
        }
    }
}
