//! The exact augmented Lagrangian (Hong, Na, Mahoney, Kolar, ICML 2023)
//!
//! A(x, y) = f + y'c + eta1/2 |c|^2 + eta2/2 |g|^2,   g = grad f + J'y,
//! grad_x A = g + eta1 J'c + eta2 H g,   grad_y A = c + eta2 J g,   H the Hessian of the LAGRANGIAN.

use crate::linalg::dot;

/// A primal-dual point with everything of first order that belongs to it, scaled.
#[derive(Debug, Clone)]
pub(super) struct Point {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub f: f64,
    pub c: Vec<f64>,
    /// grad f.
    pub grad: Vec<f64>,
    /// g = grad f + J'y - zl + zu.
    pub lag_grad: Vec<f64>,
    /// Multipliers of the lower bounds, >= 0, length n; empty without bounds.
    pub zl: Vec<f64>,
    /// Multipliers of the upper bounds, >= 0, length n; empty without bounds.
    pub zu: Vec<f64>,
}

impl Point {
    pub fn new(x: &[f64], y: &[f64], bounded: bool) -> Self {
        let n = x.len();
        let nz = if bounded { n } else { 0 };
        Self {
            zl: vec![0.0; nz],
            zu: vec![0.0; nz],
            x: x.to_vec(),
            y: y.to_vec(),
            f: 0.0,
            c: vec![0.0; y.len()],
            grad: vec![0.0; n],
            lag_grad: vec![0.0; n],
        }
    }

    pub fn copy_from(&mut self, other: &Self) {
        self.x.copy_from_slice(&other.x);
        self.y.copy_from_slice(&other.y);
        self.f = other.f;
        self.c.copy_from_slice(&other.c);
        self.grad.copy_from_slice(&other.grad);
        self.lag_grad.copy_from_slice(&other.lag_grad);
        self.zl.copy_from_slice(&other.zl);
        self.zu.copy_from_slice(&other.zu);
    }

    /// |b|^2 = |g|^2 + |c|^2.
    pub fn residual_squared(&self) -> f64 {
        dot(&self.lag_grad, &self.lag_grad) + dot(&self.c, &self.c)
    }
}

/// Penalty parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merit {
    pub eta1: f64,
    pub eta2: f64,
}

/// Directional derivative of A along z = (dx, dy): s0 + eta1 s1 + eta2 s2.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slopes {
    /// g'dx + c'dy.
    pub s0: f64,
    /// (J'c)'dx.
    pub s1: f64,
    /// (H g)'dx + (J g)'dy.
    pub s2: f64,
}

impl Merit {
    /// A without the term in g: a lower bound of A that needs no derivatives.
    pub fn without_gradient(&self, p: &Point) -> f64 {
        p.f + dot(&p.y, &p.c) + 0.5 * self.eta1 * dot(&p.c, &p.c)
    }

    /// A.
    pub fn value(&self, p: &Point) -> f64 {
        self.without_gradient(p) + 0.5 * self.eta2 * dot(&p.lag_grad, &p.lag_grad)
    }

    /// Rounding error to be expected in a difference of two values of A. An unscaled objective is a sum of terms of at least one, or may be: cancellation
    /// hides them.
    pub fn rounding(&self, p: &Point, objective_scale: f64) -> f64 {
        let terms = p.f.abs()
            + p.y.iter().zip(&p.c).map(|(y, c)| (y * c).abs()).sum::<f64>()
            + 0.5 * self.eta1 * dot(&p.c, &p.c)
            + 0.5 * self.eta2 * dot(&p.lag_grad, &p.lag_grad);
        10.0 * f64::EPSILON * terms.max(objective_scale)
    }

    pub fn slope(&self, s: &Slopes) -> f64 {
        s.s0 + self.eta1 * s.s1 + self.eta2 * s.s2
    }

    /// The paper's descent condition: slope <= -(eta2/2) |b|^2. Without constraints eta2 may be 0; then plain descent is asked.
    pub fn descends(&self, s: &Slopes, residual_squared: f64) -> bool {
        let slope = self.slope(s);
        slope < 0.0 && slope <= -0.5 * self.eta2 * residual_squared
    }

    /// Smallest change of the penalties after which the descent condition holds for this direction: first eta2 is lowered
    /// until its terms are dominated by s0 (if s0 < 0), then eta1 is raised. For an exact step s1 = -|c|^2, so this
    /// succeeds unless c = 0 and s0 >= 0 (wrong curvature). Returns whether the condition holds.
    ///
    /// The paper raises eta1 by nu^2 and lowers eta2 by nu together until the condition holds; raising eta1 where eta2
    /// is the culprit makes the merit function needlessly stiff.
    pub fn adapt(&mut self, s: &Slopes, residual_squared: f64) -> bool {
        if self.descends(s, residual_squared) {
            return true;
        }
        let dual_terms = s.s2 + 0.5 * residual_squared;
        if dual_terms > 0.0 && self.eta2 > 0.0 {
            let allowed = if s.s0 < 0.0 { -0.5 * s.s0 / dual_terms } else { 0.0 };
            self.eta2 = self.eta2.min(allowed.max(self.eta2 * 1e-3)).max(1e-14);
        }
        if s.s1 < 0.0 {
            let wanted = (s.s0 + self.eta2 * dual_terms) / -s.s1;
            self.eta1 = self.eta1.max(2.0 * wanted);
        }
        self.eta1 <= 1e20 && self.descends(s, residual_squared)
    }
}
