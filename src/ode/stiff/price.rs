//! What steps of two methods cost, in operations: counted, not timed, so that a choice by it is the same on every machine.

use serde::{Deserialize, Serialize};

use super::super::pace::exact;
use super::super::report::OdeCounts;
use crate::diff::{Map, Offers, Size, Source, Structure};
use crate::linalg::Scalar;
use crate::linsol::factors::{Choice, Structure as Held};

/// An operation of a sparse factorization follows indices and waits for memory, one of a field runs through its vectors: so many of these take as long (five-point
/// stars of 4096 and 65 536 unknowns: 5 and 17).
const SPARSE: f64 = 20.0;
/// Operations an entry for finding colours, an order, and the places of the factors' entries.
const ANALYSIS: f64 = 2500.0;
/// The same where the entries lie in a narrow band: there is little to find.
const NARROW_ANALYSIS: f64 = 100.0;
/// Products that a solve by iterations is thought to take before there was one, and operations an unknown for what comes with each: orthogonalizing against the vectors
/// before it.
const ITERATIONS: f64 = 20.0;
const ORTHOGONALIZE: f64 = 40.0;

/// Prices of what [`OdeCounts`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Prices {
    #[serde(with = "exact")]
    eval: f64,
    #[serde(with = "exact")]
    jvp: f64,
    #[serde(with = "exact")]
    pullback: f64,
    #[serde(with = "exact")]
    iteration: f64,
    /// A Jacobian of the field's own; others are counted by what they are made of.
    #[serde(with = "exact")]
    jacobian: f64,
    /// A factorization and the solves of a step.
    #[serde(with = "exact")]
    factorization: f64,
    /// Finding out how W is to be factored.
    #[serde(with = "exact")]
    pub analysis: f64,
}

impl Prices {
    /// As far as they are known before a factorization was looked at. An evaluation is thought to take two operations for each entry of the Jacobian and four for
    /// each output.
    pub fn new<T: Scalar, F: Map<T>>(field: &F, batch: usize) -> Self {
        let Size { inputs, outputs, .. } = field.size();
        let structure = field.structure();
        let entries = structure.len(outputs, inputs) as f64;
        // A map by products hides its entries.
        let shown = if *structure == Structure::Products { 8.0 * outputs as f64 } else { entries };
        let eval = batch as f64 * (2.0 * shown + 4.0 * outputs as f64);
        let analysis = match structure {
            Structure::Sparse { col_ptr, row_idx } => {
                let far = |j: usize| row_idx[col_ptr[j]..col_ptr[j + 1]].iter().map(move |i| i.abs_diff(j));
                let well_formed = col_ptr.len() == inputs + 1 && col_ptr.is_sorted();
                let narrow = well_formed && (0..inputs).all(|j| far(j).all(|d| d <= 4));
                entries * if narrow { NARROW_ANALYSIS } else { ANALYSIS }
            }
            _ => 0.0,
        };
        let own = field.offers().has(Offers::JACOBIAN);
        let jacobian = if own { 2.0 * eval } else { 0.0 };
        let iteration = ORTHOGONALIZE * (batch * inputs) as f64;
        let (jvp, pullback) = (2.0 * eval, 3.0 * eval);
        Self { eval, jvp, pullback, iteration, jacobian, factorization: 0.0, analysis }
    }

    /// With how W is factored, for this many solves a step.
    pub fn with(mut self, choice: &Choice, solves: usize, batch: usize) -> Self {
        let weight = if choice.structure == Held::Sparse { SPARSE } else { 1.0 };
        self.factorization = batch as f64 * weight * (choice.flops + 2.0 * solves as f64 * choice.fill);
        self
    }

    /// What all that was counted costs.
    pub fn of(&self, c: &OdeCounts) -> f64 {
        self.eval * c.evals as f64
            + self.jvp * c.jvps as f64
            + self.pullback * c.pullbacks as f64
            + self.iteration * c.iterations as f64
            + self.jacobian * c.jacobians as f64
            + self.factorization * c.factorizations as f64
    }

    /// A Rosenbrock step of so many evaluations and solves, with Jacobians made of this.
    pub fn step(&self, evals: u64, solves: usize, source: Source) -> f64 {
        let of = |counts: OdeCounts| self.of(&counts);
        let derivatives = match source {
            Source::Own => OdeCounts { jacobians: 1, ..OdeCounts::default() },
            Source::Jvps(k) => OdeCounts { jvps: k as u64, ..OdeCounts::default() },
            Source::Vjps(k) => OdeCounts { pullbacks: k as u64, ..OdeCounts::default() },
            Source::Differences(k) => OdeCounts { evals: k as u64, ..OdeCounts::default() },
            Source::Products => {
                let count = (ITERATIONS * solves as f64) as u64;
                OdeCounts { jvps: count, iterations: count, ..OdeCounts::default() }
            }
        };
        of(derivatives) + of(OdeCounts { evals: evals + 1, factorizations: 1, ..OdeCounts::default() })
    }
}
