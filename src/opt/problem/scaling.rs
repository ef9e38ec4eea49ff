//! Scales of the functions: s_f = min(1, 100 / |grad f|), s_i likewise by the rows of J, never below 1e-8 and 1e-30
//! (Waechter and Biegler 2006, section 3.8).

use super::form::Form;
use super::scale::{BALANCED, SMALLEST, SMALLEST_ROW, UNLUCKY, factor};
use crate::linalg::norm_inf;

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

    /// Scales rows that are not scaled yet, by their gradients at a point, which is rescaled.
    pub fn scale_rows(&mut self, c: &mut [f64], jacobian: &mut [f64]) {
        let Some(pattern) = &self.jacobian else { return };
        // Largest entries of the rows, then their scales.
        let scale = &mut self.scale.constraints;
        scale.fill(0.0);
        for (&i, v) in pattern.row_idx.iter().zip(&*jacobian) {
            scale[i] = scale[i].max(v.abs());
        }
        scale.iter_mut().for_each(|s| *s = factor(*s, SMALLEST_ROW));
        for (&i, v) in pattern.row_idx.iter().zip(jacobian) {
            *v *= scale[i];
        }
        for (ci, s) in c.iter_mut().zip(scale) {
            *ci *= *s;
        }
    }
}
