//! When the automatic choice tries the implicit method, and when it leaves it again, by what steps cost.

use serde::{Deserialize, Serialize};

use super::super::pace::exact;
use super::super::report::OdeCounts;
use super::integrator::StiffIntegrator;
use super::matrices::SMALL;
use super::price::Prices;
use crate::diff::Map;
use crate::error::OdeError;
use crate::linalg::Scalar;

/// Tries that the explicit steps must have paid for: so many steps of the implicit method, and their lengths grow meanwhile.
const TRIAL: u64 = 4;
/// Steps, one after another, that do not pay.
const IN_VAIN: u32 = 3;
/// What the next try costs beside the one in vain.
const DEARER: f64 = 4.0;
/// Costs of an analysis that must be spent before it.
const BEFORE_ANALYSIS: f64 = 5.0;

/// The costs of the two methods, for many unknowns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Balance {
    prices: Prices,
    kept: bool,
    batch: usize,
    surveyed: bool,
    /// What explicit steps must cost before the next try, and what they have cost since the last.
    #[serde(with = "exact")]
    try_at: f64,
    #[serde(with = "exact")]
    spent: f64,
    /// Of the part that runs: its cost before the last step, steps, and where the last one ended.
    #[serde(with = "exact")]
    before: f64,
    steps: u64,
    #[serde(with = "exact")]
    last: f64,
    /// Where and at what cost the explicit method came to its limit, and how far it got for its operations there.
    #[serde(with = "exact")]
    mark: f64,
    #[serde(with = "exact")]
    mark_spent: f64,
    #[serde(with = "exact")]
    speed: f64,
    in_vain: u32,
    /// What a try may cost before its steps must pay.
    #[serde(with = "exact")]
    budget: f64,
}

impl Balance {
    pub fn new<T: Scalar, F: Map<T>>(field: &F, len: usize) -> Self {
        let dim = field.inputs().max(1);
        let (kept, batch) = (dim > SMALL, len / dim);
        let prices = Prices::new(field, batch);
        let try_at = BEFORE_ANALYSIS * prices.analysis;
        let (surveyed, spent, before, steps, last) = (false, 0.0, 0.0, 0, f64::NAN);
        let (mark, mark_spent, speed, in_vain, budget) = (0.0, 0.0, 0.0, 0, f64::INFINITY);
        Self {
            prices,
            kept,
            batch,
            surveyed,
            try_at,
            spent,
            before,
            steps,
            last,
            mark,
            mark_spent,
            speed,
            in_vain,
            budget,
        }
    }
    /// Costs count.
    pub fn is_kept(&self) -> bool {
        self.kept
    }
    pub fn may_try(&self) -> bool {
        self.spent >= self.try_at
    }
    /// An accepted step that ends at t; `hit`: the first of many at the stability limit.
    pub fn step(&mut self, t: f64, counts: &OdeCounts, hit: bool) {
        let now = self.prices.of(counts);
        let (cost, length) = (now - self.before, (t - self.last).abs());
        (self.before, self.last) = (now, t);
        self.spent += cost;
        self.steps += 1;
        if hit {
            (self.mark, self.mark_spent) = (t, self.spent);
        }
        let tried = self.steps > TRIAL || self.spent > self.budget;
        let pays = !tried || length.is_nan() || length >= self.speed * cost;
        self.in_vain = if pays { 0 } else { self.in_vain + 1 };
    }
    pub fn does_not_pay(&self) -> bool {
        self.in_vain >= IN_VAIN
    }
    /// A part of the integration is over.
    pub fn part_ends(&mut self, counts: &OdeCounts) {
        self.spent += self.prices.of(counts) - self.before;
        self.before = 0.0;
    }
    /// Finds out what the steps of the implicit method cost.
    pub fn survey<T: Scalar, F: Map<T>>(
        &mut self,
        stiff: &mut StiffIntegrator<T>,
        field: &F,
    ) -> Result<(), OdeError> {
        if self.surveyed {
            return Ok(());
        }
        let (choice, source, evals) = stiff.survey(field)?;
        let solves = stiff.method().stages();
        self.prices = self.prices.with(&choice, solves, self.batch);
        self.try_at = TRIAL as f64 * self.prices.step(evals, solves, source);
        self.surveyed = true;
        Ok(())
    }
    /// The method changes.
    pub fn turn(&mut self, to_stiff: bool, shrunk: bool) {
        if to_stiff {
            // Steps that shrank away are no limit to compare with.
            let speed = (self.last - self.mark).abs() / (self.spent - self.mark_spent);
            self.speed = if shrunk || !speed.is_finite() { 0.0 } else { speed };
        } else if self.does_not_pay() {
            self.try_at *= DEARER;
        }
        self.budget = if to_stiff { self.spent } else { f64::INFINITY };
        (self.spent, self.steps, self.in_vain) = (0.0, 0, 0);
    }
}
