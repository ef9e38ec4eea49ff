//! The way back: a point of the standard problem as the user's, with the residuals of the user's problem.
//!
//! ```text
//!     c_i = c~_i / s_i + w_i s + b_i,   y_i = s_i y~_i / s_f,   z_j = (zu_j - zl_j) / s_f,   grad L = g~ / s_f
//! ```
//!
//! Slacks vanish: y_i itself is judged against the distance of c_i from its bounds. Nothing is evaluated, but for the
//! multipliers of fixed variables, z_j = -(grad f + J'y)_j.

use super::form::Form;
use crate::nlp::{INFINITE_BOUND, NlpMeta};

/// A point of the user's problem.
#[derive(Debug, Clone, Default)]
pub(in crate::opt) struct OriginalPoint {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub z: Vec<f64>,
    pub c: Vec<f64>,
    /// Largest violation of a constraint or bound.
    pub primal: f64,
    /// |grad f + J'y + z|, maximum norm.
    pub dual: f64,
    /// Largest |multiplier x distance to its bound|; an absent bound counts as distance 1.
    pub complementarity: f64,
    /// Sum of multiplier x distance over the bounds that hold: how far f may be above the optimum of a convex problem.
    pub gap: f64,
}

/// The part of a standard point that the way back needs; scaled.
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct Scaled<'p> {
    pub x: &'p [f64],
    pub y: &'p [f64],
    pub zl: &'p [f64],
    pub zu: &'p [f64],
    pub c: &'p [f64],
    pub lag_grad: &'p [f64],
}

/// How far v is outside of l, u.
pub(in crate::opt) fn outside(v: f64, l: f64, u: f64) -> f64 {
    (l - v).max(v - u).max(0.0)
}

/// |multiplier| x distance to the bound it presses against; negative where that is violated.
pub(in crate::opt) fn product(multiplier: f64, v: f64, l: f64, u: f64) -> f64 {
    if l == u || multiplier == 0.0 {
        return 0.0;
    }
    let (gap, bound) = if multiplier > 0.0 { (u - v, u) } else { (v - l, l) };
    // Without a bound on its side a multiplier is an error by itself.
    let factor = if bound.abs() < INFINITE_BOUND { gap } else { 1.0 };
    multiplier.abs() * factor
}

impl OriginalPoint {
    /// `fixed`: user's x, of which only fixed variables count.
    pub fn set(&mut self, form: &Form, meta: &NlpMeta, fixed: &[f64], p: &Scaled<'_>) {
        let (nf, scale) = (form.free_count(), &form.scale);
        let resize = |v: &mut Vec<f64>, len: usize| v.resize(len, 0.0);
        resize(&mut self.y, form.m);
        resize(&mut self.c, form.m);
        resize(&mut self.z, fixed.len());
        self.x.clear();
        self.x.extend_from_slice(fixed);
        self.z.fill(0.0);
        for (k, &j) in form.free.iter().enumerate() {
            self.x[j] = p.x[k];
            if !p.zl.is_empty() {
                self.z[j] = (p.zu[k] - p.zl[k]) / scale.objective;
            }
        }
        for i in 0..form.m {
            self.y[i] = scale.original_multiplier(i, p.y[i]);
            self.c[i] = p.c[i] / scale.constraints[i] + form.side[i];
        }
        for ((&i, w), s) in form.slacked.iter().zip(&form.weight).zip(&p.x[nf..]) {
            self.c[i] += w * s;
        }
        self.dual = crate::linalg::norm_inf(&p.lag_grad[..nf]) / scale.objective;
        self.measure(form, meta);
    }

    /// Violations and products with multipliers.
    fn measure(&mut self, form: &Form, meta: &NlpMeta) {
        (self.primal, self.complementarity, self.gap) = (0.0, 0.0, 0.0);
        let mut add = |violation: f64, product: f64| {
            self.primal = self.primal.max(violation);
            self.complementarity = self.complementarity.max(product.abs());
            self.gap += product.max(0.0);
        };
        for i in 0..form.m {
            let (c, l, u) = (self.c[i], meta.c_lower[i], meta.c_upper[i]);
            add(outside(c, l, u), product(self.y[i], c, l, u));
        }
        for &j in &form.free {
            let (x, l, u) = (self.x[j], meta.x_lower[j], meta.x_upper[j]);
            add(outside(x, l, u), product(self.z[j], x, l, u));
        }
    }

    /// The most violated constraints (index, violation) above a tolerance, worst first.
    pub fn worst_constraints(&self, meta: &NlpMeta, tolerance: f64, worst: &mut Vec<(usize, f64)>) {
        worst.clear();
        let violations = self.c.iter().enumerate();
        let violations = violations.map(|(i, &c)| (i, outside(c, meta.c_lower[i], meta.c_upper[i])));
        worst.extend(violations.filter(|w| w.1 > tolerance || w.1.is_nan()));
        worst.sort_by(|a, b| b.1.total_cmp(&a.1));
        worst.truncate(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One fixed variable, one range row with weight 10, an equality with side 7.
    #[test]
    fn back_is_the_inverse_of_forward() {
        let mut meta = NlpMeta::equality("test", 2, 2);
        (meta.x_lower[0], meta.x_upper[0]) = (3.0, 3.0);
        (meta.c_lower[0], meta.c_upper[0]) = (7.0, 7.0);
        (meta.c_lower[1], meta.c_upper[1]) = (-1.0, 2.0);
        let mut form = Form::new(&meta, 0.0);
        form.weight[0] = 10.0;
        form.scale.objective = 0.5;
        form.scale.constraints = vec![0.25, 0.1];
        // c(x) = (7.5, 2.5) at x = (3, 4), slack 0.2: c~ = (0.125, (2.5 - 2) 0.1).
        let p = Scaled {
            x: &[4.0, 0.2],
            y: &[2.0, -3.0],
            zl: &[0.0, 0.0],
            zu: &[1.0, 0.0],
            c: &[0.125, 0.05],
            lag_grad: &[0.5, 9.0],
        };
        let mut o = OriginalPoint::default();
        o.set(&form, &meta, &[3.0, 0.0], &p);
        assert_eq!((o.x.as_slice(), o.c.as_slice()), ([3.0, 4.0].as_slice(), [7.5, 2.5].as_slice()));
        assert_eq!((o.y[0], o.z[1], o.dual), (1.0, 2.0, 1.0));
        approx::assert_relative_eq!(o.y[1], -0.6, max_relative = 1e-15);
        assert_eq!(o.primal, 0.5);
        // y_1 presses against the lower bound, at distance 3.5; z_1 has no bound on its side.
        approx::assert_relative_eq!(o.gap, 0.6 * 3.5 + 2.0, max_relative = 1e-15);
    }
}
