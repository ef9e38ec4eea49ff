//! Control of the viscous Burgers equation on an interval, implicit Euler steps, all at once.
//!
//! ```text
//!     min sum_k 1/2 |y_k - d_k|^2 + alpha/2 |u_k|^2   subject to   (y_k - y_(k-1))/tau - nu y_k'' + (y_k^2)'/2 - u_k = 0,   y = 0 at the ends
//! ```
//!
//! Central differences. The second derivatives of the constraints are diagonal. The preconditioner is that of [`Control`](super::Control) with the
//! linearized steps in place of K: a sweep forward in time and one backward of tridiagonal solves.

use crate::error::Error;
use crate::nlp::{EvalError, Nlp, NlpMeta, Preconditioning};

/// H_y counts as at least this where second derivatives are negative or small.
const LEAST_CURVATURE: f64 = 1e-3;

/// What describes a problem.
#[derive(Debug, Clone)]
pub struct BurgersSpec {
    /// Cells of the interval [0, 1].
    pub cells: usize,
    /// Number of steps.
    pub steps: usize,
    /// Final time.
    pub time: f64,
    /// Viscosity nu.
    pub viscosity: f64,
    /// Weight of the control's norm.
    pub alpha: f64,
    /// d_1, .., d_T, cells - 1 numbers each.
    pub target: Vec<f64>,
    /// y_0, cells - 1 numbers.
    pub initial: Vec<f64>,
}

/// See the module. Variables x = (y_1 .. y_T, u_1 .. u_T).
#[derive(Debug)]
pub struct Burgers {
    meta: NlpMeta,
    spec: BurgersSpec,
    /// Nodes inside.
    n: usize,
    rate: f64,
    /// nu / h^2 and 1 / (4 h).
    diffusion: f64,
    transport: f64,
    /// H_y, Z and a vector of all states.
    state: Vec<f64>,
    shift: Vec<f64>,
    work: Vec<f64>,
    /// Of a tridiagonal solve.
    pivots: Vec<f64>,
}

impl Burgers {
    /// Checks the description.
    ///
    /// # Errors
    /// [`Error::Problem`] for vectors of wrong lengths or numbers that are not positive.
    pub fn new(spec: BurgersSpec) -> Result<Self, Error> {
        let fail = |what: String| Err(Error::Problem { name: "burgers".into(), what });
        if spec.cells < 2 || spec.steps == 0 {
            return fail(format!("{} cells and {} steps, expected at least 2 and 1", spec.cells, spec.steps));
        }
        for (what, v) in [("time", spec.time), ("viscosity", spec.viscosity), ("alpha", spec.alpha)] {
            if !(v > 0.0 && v.is_finite()) {
                return fail(format!("{what} is {v}, expected a positive finite number"));
            }
        }
        let n = spec.cells - 1;
        for (what, v, want) in [("target", &spec.target, n * spec.steps), ("initial state", &spec.initial, n)]
        {
            if v.len() != want || v.iter().any(|v| !v.is_finite()) {
                return fail(format!("the {what} has {} entries, expected {want} finite numbers", v.len()));
            }
        }
        let all = n * spec.steps;
        let mut meta = NlpMeta::equality("burgers", 2 * all, all);
        meta.x0[..all].iter_mut().enumerate().for_each(|(j, y)| *y = spec.initial[j % n]);
        let tau = spec.time / spec.steps as f64;
        // Not all 0: without entries an estimate would take many products.
        meta.y0 = spec.target.iter().map(|d| tau * d).collect();
        meta.quadratic_objective = true;
        (meta.jacobian_products, meta.hessian_products, meta.preconditioner) = (true, true, true);
        let h = 1.0 / spec.cells as f64;
        let zeros = |k| vec![0.0; k];
        Ok(Self {
            n,
            rate: 1.0 / tau,
            diffusion: spec.viscosity / (h * h),
            transport: 0.25 / h,
            state: zeros(all),
            shift: zeros(all),
            work: zeros(all),
            pivots: zeros(n),
            meta,
            spec,
        })
    }

    /// The objective times this is the integral.
    pub fn unit(&self) -> f64 {
        self.spec.time / self.spec.steps as f64 / self.spec.cells as f64
    }

    /// Entries (i, i - 1) and (i, i + 1) of the linearized step at y: derivatives of (y_(i+1)^2 - y_(i-1)^2) / (4 h).
    fn couplings(&self, y: &[f64], i: usize) -> (f64, f64) {
        let left = if i > 0 { -self.diffusion - 2.0 * self.transport * y[i - 1] } else { 0.0 };
        let right = if i + 1 < self.n { -self.diffusion + 2.0 * self.transport * y[i + 1] } else { 0.0 };
        (left, right)
    }

    /// v <- (linearized steps + Z)^-1 v forward in time, or its transpose backward.
    fn sweep(&mut self, y: &[f64], v: &mut [f64], backward: bool) {
        let (n, steps) = (self.n, self.spec.steps);
        for at in 0..steps {
            let k = if backward { steps - 1 - at } else { at };
            if at > 0 {
                let other = if backward { k + 1 } else { k - 1 };
                for i in 0..n {
                    v[k * n + i] += self.rate * v[other * n + i];
                }
            }
            self.tridiagonal(&y[k * n..][..n], k, &mut v[k * n..][..n], backward);
        }
    }

    /// Elimination without pivoting: 1/tau + 2 nu/h^2 + Z on the diagonal dominates for steps that resolve the flow.
    fn tridiagonal(&mut self, y: &[f64], k: usize, v: &mut [f64], transposed: bool) {
        let n = self.n;
        let entry = |s: &Self, i: usize, right: bool| {
            // Of the transpose: entry (i, i + 1) is (i + 1, i) of the matrix.
            match (transposed, right) {
                (false, false) => s.couplings(y, i).0,
                (false, true) => s.couplings(y, i).1,
                (true, false) => {
                    if i > 0 {
                        s.couplings(y, i - 1).1
                    } else {
                        0.0
                    }
                }
                (true, true) => {
                    if i + 1 < n {
                        s.couplings(y, i + 1).0
                    } else {
                        0.0
                    }
                }
            }
        };
        for i in 0..n {
            let mut d = self.rate + 2.0 * self.diffusion + self.shift[k * n + i];
            if i > 0 {
                let factor = entry(self, i, false) / self.pivots[i - 1];
                d -= factor * entry(self, i - 1, true);
                v[i] -= factor * v[i - 1];
            }
            self.pivots[i] = d;
        }
        for i in (0..n).rev() {
            let after = if i + 1 < n { entry(self, i, true) * v[i + 1] } else { 0.0 };
            v[i] = (v[i] - after) / self.pivots[i];
        }
    }

    /// Second derivative of y'c with respect to y_j.
    fn curvature(&self, w: &[f64], j: usize) -> f64 {
        let i = j % self.n;
        let before = if i > 0 { w[j - 1] } else { 0.0 };
        let after = if i + 1 < self.n { w[j + 1] } else { 0.0 };
        2.0 * self.transport * (before - after)
    }
}

impl Nlp for Burgers {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        let (y, u) = x.split_at(self.work.len());
        let misfit: f64 = y.iter().zip(&self.spec.target).map(|(y, d)| (y - d) * (y - d)).sum();
        Ok(0.5 * misfit + 0.5 * self.spec.alpha * u.iter().map(|u| u * u).sum::<f64>())
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        let all = self.work.len();
        for j in 0..all {
            g[j] = x[j] - self.spec.target[j];
            g[all + j] = self.spec.alpha * x[all + j];
        }
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let (n, all) = (self.n, self.work.len());
        for j in 0..all {
            let i = j % n;
            let before = if j >= n { x[j - n] } else { self.spec.initial[i] };
            let left = if i > 0 { x[j - 1] } else { 0.0 };
            let right = if i + 1 < n { x[j + 1] } else { 0.0 };
            c[j] = self.rate * (x[j] - before)
                + self.diffusion * (2.0 * x[j] - left - right)
                + self.transport * (right * right - left * left)
                - x[all + j];
        }
        Ok(())
    }
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let (n, all) = (self.n, self.work.len());
        for j in 0..all {
            let i = j % n;
            let (left, right) = self.couplings(&x[j - i..][..n], i);
            let mut sum = (self.rate + 2.0 * self.diffusion) * v[j] - v[all + j];
            sum -= if j >= n { self.rate * v[j - n] } else { 0.0 };
            sum += if i > 0 { left * v[j - 1] } else { 0.0 };
            sum += if i + 1 < n { right * v[j + 1] } else { 0.0 };
            jv[j] = sum;
        }
        Ok(())
    }
    fn jac_t_prod(&mut self, x: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        let (n, all) = (self.n, self.work.len());
        for j in 0..all {
            let i = j % n;
            let y = &x[j - i..][..n];
            let mut sum = (self.rate + 2.0 * self.diffusion) * w[j];
            sum -= if j + n < all { self.rate * w[j + n] } else { 0.0 };
            sum += if i > 0 { self.couplings(y, i - 1).1 * w[j - 1] } else { 0.0 };
            sum += if i + 1 < n { self.couplings(y, i + 1).0 * w[j + 1] } else { 0.0 };
            jtw[j] = sum;
            jtw[all + j] = -w[j];
        }
        Ok(())
    }
    fn hess_prod(
        &mut self,
        _: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        let all = self.work.len();
        for j in 0..all {
            hv[j] = (sigma + self.curvature(y, j)) * v[j];
            hv[all + j] = sigma * self.spec.alpha * v[all + j];
        }
        Ok(())
    }
    fn precondition(&mut self, at: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        let all = self.work.len();
        for j in 0..all {
            let h = (1.0 + self.curvature(at.y, j)).abs().max(LEAST_CURVATURE) + at.barrier[j];
            let hu = self.spec.alpha + at.barrier[all + j];
            self.state[j] = h;
            self.shift[j] = ((1.0 / hu + at.dual[j]) * h).sqrt();
            z[j] = r[j] / h;
            z[all + j] = r[all + j] / hu;
        }
        let mut work = std::mem::take(&mut self.work);
        work.copy_from_slice(&r[2 * all..]);
        self.sweep(&at.x[..all], &mut work, false);
        work.iter_mut().zip(&self.state).for_each(|(w, h)| *w *= h);
        self.sweep(&at.x[..all], &mut work, true);
        z[2 * all..].copy_from_slice(&work);
        self.work = work;
        Ok(())
    }
}
