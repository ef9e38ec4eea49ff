//! Model predictive control of a double integrator, linear and quadratic: 20 steps of
//!
//! ```text
//!     p+ = p + 0.2 v + 0.02 u,   v+ = v + 0.2 u,   |u| <= 1,   |v| <= 0.5,   min 1/2 sum (p^2 + 0.1 v^2 + 0.05 u^2)
//! ```
//!
//! from a given state; and Hock-Schittkowski 71 with right-hand sides that can be moved.

#![allow(dead_code)]

use costate::nlp::{EvalError, Nlp, NlpMeta, Pattern};
use costate::opt::WarmStart;

pub const STEPS: usize = 20;

/// Variables (u_k, p_k+1, v_k+1) of step k, one after the other; the state is in the sides of the first two rows.
pub struct Mpc {
    meta: NlpMeta,
}

impl Mpc {
    pub fn new() -> Self {
        let n = 3 * STEPS;
        let mut meta = NlpMeta::equality("mpc", n, 2 * STEPS);
        let (mut rows, mut cols) = (Vec::new(), Vec::new());
        for k in 0..STEPS {
            (meta.x_lower[3 * k], meta.x_upper[3 * k]) = (-1.0, 1.0);
            (meta.x_lower[3 * k + 2], meta.x_upper[3 * k + 2]) = (-0.5, 0.5);
            // p+ - 0.02 u - p - 0.2 v = 0, v+ - 0.2 u - v = 0.
            rows.extend([2 * k, 2 * k, 2 * k + 1, 2 * k + 1]);
            cols.extend([3 * k + 1, 3 * k, 3 * k + 2, 3 * k]);
            if k > 0 {
                rows.extend([2 * k, 2 * k, 2 * k + 1]);
                cols.extend([3 * k - 2, 3 * k - 1, 3 * k - 1]);
            }
        }
        meta.linear = vec![true; 2 * STEPS];
        meta.jacobian = Some(Pattern { rows, cols });
        meta.hessian = Some(Pattern { rows: (0..n).collect(), cols: (0..n).collect() });
        Self { meta }
    }

    #[allow(dead_code)]
    pub fn set_quadratic(&mut self) {
        self.meta.quadratic_objective = true;
    }

    pub fn set_state(&mut self, p: f64, v: f64) {
        for (i, side) in [p + 0.2 * v, v].into_iter().enumerate() {
            (self.meta.c_lower[i], self.meta.c_upper[i]) = (side, side);
        }
    }
}

const WEIGHT: [f64; 3] = [0.05, 1.0, 0.1];

impl Nlp for Mpc {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(0.5 * x.iter().enumerate().map(|(j, x)| WEIGHT[j % 3] * x * x).sum::<f64>())
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        g.iter_mut().zip(x).enumerate().for_each(|(j, (g, x))| *g = WEIGHT[j % 3] * x);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let (mut p, mut v) = (0.0, 0.0);
        for k in 0..STEPS {
            let u = x[3 * k];
            c[2 * k] = x[3 * k + 1] - 0.02 * u - p - 0.2 * v;
            c[2 * k + 1] = x[3 * k + 2] - 0.2 * u - v;
            (p, v) = (x[3 * k + 1], x[3 * k + 2]);
        }
        Ok(())
    }
    fn jac_values(&mut self, _: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let (first, rest) = values.split_at_mut(4);
        first.copy_from_slice(&[1.0, -0.02, 1.0, -0.2]);
        rest.chunks_exact_mut(7).for_each(|v| v.copy_from_slice(&[1.0, -0.02, 1.0, -0.2, -1.0, -0.2, -1.0]));
        Ok(())
    }
    fn hess_values(&mut self, _: &[f64], sigma: f64, _: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        values.iter_mut().enumerate().for_each(|(j, h)| *h = sigma * WEIGHT[j % 3]);
        Ok(())
    }
}

/// One step earlier: what was planned for the second step is the start of the first; the last step is repeated.
pub fn shift(w: &mut WarmStart) {
    let (n, m) = (w.x.len(), w.y.len());
    w.x.copy_within(3..n, 0);
    w.z.copy_within(3..n, 0);
    w.y.copy_within(2..m, 0);
}

/// The states that are solved from, each from the last and its first control.
pub struct States {
    pub p: f64,
    pub v: f64,
    seed: u64,
    count: u64,
}

impl States {
    pub fn new() -> Self {
        Self { p: 1.0, v: 0.0, seed: 12345, count: 0 }
    }

    pub fn advance(&mut self, u: f64) {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let e = ((self.seed >> 33) as f64 / 2f64.powi(31) - 0.5) * 0.02;
        self.count += 1;
        (self.p, self.v) = if self.count.is_multiple_of(50) {
            (1.5 * e.signum(), 0.0)
        } else {
            (self.p + 0.2 * self.v + 0.02 * u + e, (self.v + 0.2 * u).clamp(-0.5, 0.5))
        };
    }
}

/// min x0 x3 (x0 + x1 + x2) + x2, x0 x1 x2 x3 >= a, |x|^2 = b, 1 <= x <= 5; a = 25, b = 40.
pub struct Hs71 {
    meta: NlpMeta,
    /// Times x1 in the objective.
    pub tilt: f64,
}

impl Hs71 {
    pub fn new() -> Self {
        let mut meta = NlpMeta::equality("hs71", 4, 2);
        meta.x_lower.fill(1.0);
        meta.x_upper.fill(5.0);
        meta.x0.copy_from_slice(&[1.0, 5.0, 5.0, 1.0]);
        meta.jacobian = Some(Pattern::dense(2, 4));
        meta.hessian = Some(Pattern::dense_lower(4));
        let mut new = Self { meta, tilt: 0.0 };
        new.set_sides(25.0, 40.0);
        new
    }

    pub fn set_sides(&mut self, a: f64, b: f64) {
        (self.meta.c_lower[0], self.meta.c_upper[0]) = (a, f64::INFINITY);
        (self.meta.c_lower[1], self.meta.c_upper[1]) = (b, b);
    }

    pub fn meta_mut(&mut self) -> &mut NlpMeta {
        &mut self.meta
    }
}

impl Nlp for Hs71 {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2] + self.tilt * x[1])
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        let s = x[0] + x[1] + x[2];
        g.copy_from_slice(&[x[3] * (s + x[0]), x[0] * x[3] + self.tilt, x[0] * x[3] + 1.0, x[0] * s]);
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        c[0] = x[0] * x[1] * x[2] * x[3];
        c[1] = x.iter().map(|x| x * x).sum();
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], j: &mut [f64]) -> Result<(), EvalError> {
        for k in 0..4 {
            j[k] = (0..4).filter(|&i| i != k).map(|i| x[i]).product();
            j[4 + k] = 2.0 * x[k];
        }
        Ok(())
    }
    fn hess_values(&mut self, x: &[f64], s: f64, y: &[f64], h: &mut [f64]) -> Result<(), EvalError> {
        let [a, b, c, d] = [x[0], x[1], x[2], x[3]];
        let (p, q) = (y[0], 2.0 * y[1]);
        h.copy_from_slice(&[
            2.0 * s * d + q,
            s * d + p * c * d,
            q,
            s * d + p * b * d,
            p * a * d,
            q,
            s * (2.0 * a + b + c) + p * b * c,
            s * a + p * a * c,
            s * a + p * a * b,
            q,
        ]);
        Ok(())
    }
}
