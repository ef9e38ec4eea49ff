//! Scales of the functions: s_f = min(1, 100 / |grad f|), s_i likewise by the rows of J, never below 1e-8
//! (Waechter and Biegler 2006, section 3.8).

use super::form::Form;
use crate::linalg::norm_inf;

/// Gradients above this are scaled down to it.
pub(super) const TARGET_GRADIENT: f64 = 100.0;
const SMALLEST: f64 = 1e-8;

/// Scale of a function with a gradient of this size.
fn factor(size: f64) -> f64 {
    if size > TARGET_GRADIENT { (TARGET_GRADIENT / size).max(SMALLEST) } else { 1.0 }
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
        let s = factor(norm_inf(gradient));
        self.scale.objective = s;
        gradient.iter_mut().for_each(|g| *g *= s);
        *f *= s;
        if self.m <= self.n {
            self.scale_rows(c, jacobian);
        } else {
            self.scale.steep_rows = norm_inf(jacobian) > TARGET_GRADIENT;
        }
    }

    /// Scales rows that are not scaled yet, by their gradients at a point, which is rescaled.
    pub fn scale_rows(&mut self, c: &mut [f64], jacobian: &mut [f64]) {
        let Some(pattern) = &self.jacobian else { return };
        // Largest entries of the rows, then their scales.
        let scale = &mut self.scale.constraints;
        scale.fill(0.0);
        for (&i, v) in pattern.row_idx.iter().zip(&*jacobian) {
            scale[i] = scale[i].max(v.abs());
        }
        scale.iter_mut().for_each(|s| *s = factor(*s));
        for (&i, v) in pattern.row_idx.iter().zip(jacobian) {
            *v *= scale[i];
        }
        for (ci, s) in c.iter_mut().zip(scale) {
            *ci *= *s;
        }
    }
}
