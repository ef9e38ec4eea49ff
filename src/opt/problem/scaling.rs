//! Scales of the functions: s_f = min(1, 100 / |grad f|), s_i likewise by the rows of J, never below 1e-8 and 1e-30
//! (Waechter and Biegler 2006, section 3.8).

use super::form::Form;
use crate::linalg::norm_inf;

/// Gradients above this are scaled down to it.
pub(super) const TARGET_GRADIENT: f64 = 100.0;
/// Smallest scale of the objective, and of a row: with less even rounding would pass.
const SMALLEST: f64 = 1e-8;
const SMALLEST_ROW: f64 = 1e-30;
/// The scale of the objective is made anew at a solution where it would be larger by this.
const UNLUCKY: f64 = 10.0;
/// Multipliers balance grad f where grad L is below this share of it.
const BALANCED: f64 = 0.1;

/// Scale of a function with a gradient of this size.
fn factor(size: f64, smallest: f64) -> f64 {
    if size > TARGET_GRADIENT { (TARGET_GRADIENT / size).max(smallest) } else { 1.0 }
}

/// f~ = s_f f, c~_i = s_i c_i.
#[derive(Debug, Clone)]
pub(in crate::opt) struct Scale {
    /// s_f.
    pub objective: f64,
    /// s_i.
    pub constraints: Vec<f64>,
    /// Rows were left as they are that scaling would change.
    pub steep_rows: bool,
}

impl Scale {
    pub fn new(m: usize) -> Self {
        Self { objective: 1.0, constraints: vec![1.0; m], steep_rows: false }
    }

    /// y_i = s_i y~_i / s_f.
    pub fn original_multiplier(&self, i: usize, y: f64) -> f64 {
        y * self.constraints[i] / self.objective
    }
}

impl Form {
    /// Scales by the gradients of an unscaled point, which is rescaled. The rows of systems with more equations than unknowns stay as they
    /// are: their least squares are those of the user.
    pub fn set_scaling(&mut self, f: &mut f64, gradient: &mut [f64], c: &mut [f64], jacobian: &mut [f64]) {
        let s = factor(norm_inf(gradient), SMALLEST);
        self.scale.objective = s;
        gradient.iter_mut().for_each(|g| *g *= s);
        *f *= s;
        if self.m <= self.n {
            self.scale_rows(c, jacobian);
        } else {
            self.scale.steep_rows = norm_inf(&self.row_sizes(jacobian)) > TARGET_GRADIENT;
        }
    }

    /// The factor by which the scale of the objective was too small, seen from a point with these scaled gradients of f and of the Lagrangian,
    /// if it is much: the gradient at the start was unlucky. The new scale is set. Only where multipliers balance grad f, so that its size
    /// says something.
    pub fn revise_objective_scale(&mut self, gradient: &[f64], lagrangian: &[f64]) -> Option<f64> {
        let size = norm_inf(gradient);
        if norm_inf(lagrangian) > BALANCED * size {
            return None;
        }
        let better = factor(size / self.scale.objective, SMALLEST);
        let ratio = better / self.scale.objective;
        if ratio < UNLUCKY {
            return None;
        }
        self.scale.objective = better;
        Some(ratio)
    }

    /// Largest entries of the rows of J; zeros without a pattern.
    fn row_sizes(&self, jacobian: &[f64]) -> Vec<f64> {
        let mut largest = vec![0.0f64; self.m];
        if let Some(pattern) = &self.jacobian {
            for (&i, v) in pattern.row_idx.iter().zip(jacobian) {
                largest[i] = largest[i].max(v.abs());
            }
        }
        largest
    }

    /// Scales rows that are not scaled yet, by their gradients at a point, which is rescaled.
    pub fn scale_rows(&mut self, c: &mut [f64], jacobian: &mut [f64]) {
        let largest = self.row_sizes(jacobian);
        let Some(pattern) = &self.jacobian else { return };
        let scale = &mut self.scale.constraints;
        for (s, size) in scale.iter_mut().zip(largest) {
            *s = factor(size, SMALLEST_ROW);
        }
        for (&i, v) in pattern.row_idx.iter().zip(jacobian) {
            *v *= scale[i];
        }
        for (ci, s) in c.iter_mut().zip(scale) {
            *ci *= *s;
        }
    }
}
