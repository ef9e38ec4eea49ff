//! Armijo's test on the augmented Lagrangian with a barrier, Phi(x) = f + y_k'c + rho/2 |c|^2 + B(x).

use super::constants::{ARMIJO_AUGMENTED, ROUNDING_UNITS, SHORTEST_AUGMENTED};
use super::{Globalization, Judgement};
use crate::linalg::dot;
use crate::opt::iterate::Point;
use crate::opt::phase::Solve;
use crate::opt::problem::{Bounds, Form};

/// Phi, and its value and slope along the step at the current point.
#[derive(Debug)]
pub(in crate::opt) struct AugmentedMerit {
    /// y_k.
    pub y: Vec<f64>,
    pub rho: f64,
    /// Barrier parameter.
    pub mu: f64,
    /// grad Phi.
    pub gradient: Vec<f64>,
    start: f64,
    slope: f64,
    rounding: f64,
}

impl AugmentedMerit {
    pub fn new(form: &Form) -> Self {
        Self {
            y: vec![0.0; form.m],
            rho: 0.0,
            mu: 0.0,
            gradient: vec![0.0; form.n],
            start: 0.0,
            slope: 0.0,
            rounding: 0.0,
        }
    }

    fn value(&self, bounds: &Bounds, p: &Point) -> f64 {
        let f = p.f + bounds.barrier(&p.x, self.mu);
        f + dot(&self.y, &p.c) + 0.5 * self.rho * dot(&p.c, &p.c)
    }

    /// Reference values of the line search along a step.
    pub fn begin(&mut self, form: &Form, p: &Point, dx: &[f64]) {
        self.start = self.value(&form.bounds, p);
        self.slope = dot(&self.gradient, dx).min(0.0);
        let size = p.f.abs() + 0.5 * self.rho * dot(&p.c, &p.c) + self.start.abs();
        self.rounding = ROUNDING_UNITS * f64::EPSILON * size.max(1e-10);
    }
}

impl Globalization for AugmentedMerit {
    fn shortest(&self) -> f64 {
        SHORTEST_AUGMENTED
    }

    fn attempt(&mut self, s: &mut Solve<'_>, alpha: f64) -> Judgement {
        s.at.place(&s.problem.form.bounds, &s.kkt.step, alpha);
        if s.at.trial.functions(&mut s.problem).is_err() {
            return Judgement::Failed;
        }
        let value = self.value(&s.problem.form.bounds, &s.at.trial);
        let allowed = self.start + ARMIJO_AUGMENTED * alpha * self.slope + self.rounding;
        if value.is_nan() || value > allowed {
            return Judgement::Refused { theta: f64::INFINITY };
        }
        match s.at.trial.derivatives(&mut s.problem) {
            Ok(()) => Judgement::Accepted { armijo: true },
            Err(_) => Judgement::Failed,
        }
    }

    fn failure(&self) -> &'static str {
        "no decrease of the augmented Lagrangian"
    }
}
