//! Small problems from plain functions, and the parts of a solve without the solve, for the tests of the parts.

use std::time::Instant;

use super::options::Options;
use super::phase::Solve;
use super::solver;
use crate::nlp::{EvalError, Nlp, NlpMeta, Pattern};
use crate::observe::Silent;

pub type Function = fn(&[f64]) -> f64;
pub type Vector = fn(&[f64], &mut [f64]);

/// A dense problem from plain functions: c, J by rows, H as lower triangle by rows for (x, sigma, y).
pub struct Dense {
    pub meta: NlpMeta,
    pub f: Function,
    pub grad: Vector,
    pub c: Vector,
    pub jac: Vector,
    pub hess: fn(&[f64], f64, &[f64], &mut [f64]),
}

impl Dense {
    pub fn new(n: usize, m: usize, x0: &[f64]) -> Self {
        let mut meta = NlpMeta::equality("test", n, m);
        meta.x0.copy_from_slice(x0);
        meta.jacobian = Some(Pattern::dense(m, n));
        meta.hessian = Some(Pattern::dense_lower(n));
        Self {
            meta,
            f: |_| 0.0,
            grad: |_, g| g.fill(0.0),
            c: |_, _| (),
            jac: |_, _| (),
            hess: |_, _, _, h| h.fill(0.0),
        }
    }
}

impl Nlp for Dense {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok((self.f)(x))
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        (self.grad)(x, g);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        (self.c)(x, c);
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        (self.jac)(x, values);
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        (self.hess)(x, sigma, y, values);
        Ok(())
    }
}

/// Hock-Schittkowski 7: min log(1 + x1^2) - x2, (1 + x1^2)^2 + x2^2 = 4; f* = -sqrt(3).
pub fn hs7() -> Dense {
    Dense {
        f: |x| (1.0 + x[0] * x[0]).ln() - x[1],
        grad: |x, g| g.copy_from_slice(&[2.0 * x[0] / (1.0 + x[0] * x[0]), -1.0]),
        c: |x, c| c[0] = (1.0 + x[0] * x[0]).powi(2) + x[1] * x[1] - 4.0,
        jac: |x, j| j.copy_from_slice(&[4.0 * x[0] * (1.0 + x[0] * x[0]), 2.0 * x[1]]),
        hess: |x, s, y, h| {
            let q = 1.0 + x[0] * x[0];
            h[0] = s * (2.0 / q - 4.0 * x[0] * x[0] / (q * q)) + y[0] * (4.0 + 12.0 * x[0] * x[0]);
            h[1] = 0.0;
            h[2] = 2.0 * y[0];
        },
        ..Dense::new(2, 1, &[2.0, 2.0])
    }
}

pub fn rosenbrock() -> Dense {
    Dense {
        f: |x| 100.0 * (x[1] - x[0] * x[0]).powi(2) + (1.0 - x[0]).powi(2),
        grad: |x, g| {
            let r = x[1] - x[0] * x[0];
            g.copy_from_slice(&[-400.0 * x[0] * r - 2.0 * (1.0 - x[0]), 200.0 * r]);
        },
        hess: |x, s, _, h| {
            h.copy_from_slice(&[
                s * (1200.0 * x[0] * x[0] - 400.0 * x[1] + 2.0),
                -400.0 * s * x[0],
                200.0 * s,
            ]);
        },
        ..Dense::new(2, 0, &[-1.2, 1.0])
    }
}

/// x^2 + y^2 = -1 has no solution; the violation is stationary at 0.
pub fn infeasible() -> Dense {
    Dense {
        f: |x| x[0],
        grad: |_, g| g.copy_from_slice(&[1.0, 0.0]),
        c: |x, c| c[0] = x[0] * x[0] + x[1] * x[1] + 1.0,
        jac: |x, j| j.copy_from_slice(&[2.0 * x[0], 2.0 * x[1]]),
        hess: |_, _, y, h| h.copy_from_slice(&[2.0 * y[0], 0.0, 2.0 * y[0]]),
        ..Dense::new(2, 1, &[1.0, 0.5])
    }
}

/// Everything that a solve of a problem owns.
pub struct Setup<'a> {
    nlp: &'a mut dyn Nlp,
    options: &'a Options,
    setup: solver::Setup,
}

impl<'a> Setup<'a> {
    pub fn new(nlp: &'a mut dyn Nlp, options: &'a Options) -> Self {
        let setup = solver::Setup::new(nlp, options, (None, Instant::now()), &mut None).unwrap();
        Self { nlp, options, setup }
    }

    /// Calls `f` with the parts of the solve; nothing is evaluated yet.
    pub fn with<R>(&mut self, f: impl FnOnce(&mut Solve<'_>) -> R) -> R {
        f(&mut self.setup.solve(self.nlp, self.options, &mut Silent))
    }
}
