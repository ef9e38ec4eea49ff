//! Scale factors of the functions.

/// Gradients above this are scaled down to it.
pub(super) const TARGET_GRADIENT: f64 = 100.0;
/// Smallest scale of the objective, and of a row: with less even rounding would pass.
pub(super) const SMALLEST: f64 = 1e-8;
pub(super) const SMALLEST_ROW: f64 = 1e-30;
/// The scale of the objective is made anew at a solution where it would be larger by this.
pub(super) const UNLUCKY: f64 = 10.0;
/// Multipliers balance grad f where grad L is below this share of it.
pub(super) const BALANCED: f64 = 0.1;

/// Scale of a function with a gradient of this size.
pub(super) fn factor(size: f64, smallest: f64) -> f64 {
    if size > TARGET_GRADIENT { (TARGET_GRADIENT / size).max(smallest) } else { 1.0 }
}

/// f~ = s_f f, c~_i = s_i c_i.
#[derive(Debug, Clone)]
pub(in crate::opt) struct Scale {
    /// s_f.
    pub objective: f64,
    /// s_i.
    pub constraints: Vec<f64>,
}

impl Scale {
    pub fn new(m: usize) -> Self {
        Self { objective: 1.0, constraints: vec![1.0; m] }
    }

    /// y_i = s_i y~_i / s_f.
    pub fn original_multiplier(&self, i: usize, y: f64) -> f64 {
        y * self.constraints[i] / self.objective
    }
}
