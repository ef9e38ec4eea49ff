//! Control of the heat equation, implicit Euler steps: all at once, or reduced to the control.
//!
//! ```text
//!     min sum_k 1/2 |y_k - d_k|^2_M + alpha/2 |u_k|^2_M   subject to   (M/tau + K) y_k - M/tau y_(k-1) - M u_k = 0,  k = 1..T
//! ```
//!
//! Times [`HeatSpec::unit`] the objective is the integral over space and time. All at once, the preconditioner is that of [`Control`](super::Control)
//! with the block bidiagonal matrix of the steps in place of K (Pearson, Stoll, Wathen, "Regularization-robust preconditioners for time-dependent
//! PDE-constrained optimization problems", SIMAX 33 (2012)): a sweep forward in time and one backward, a multigrid cycle a step.

use super::grid::{Grid, Scheme};
use super::multigrid::{Multigrid, MultigridOptions};
use super::operator::{Diffusion, Operator};
use super::parallel::{over, sum};
use crate::error::Error;
use crate::nlp::{EvalError, Nlp, NlpMeta, Preconditioning};

/// What describes a problem.
#[derive(Debug, Clone)]
pub struct HeatSpec {
    /// The grid, with the conditions of the state.
    pub grid: Grid,
    /// The coefficient.
    pub diffusion: Diffusion,
    /// Number of steps T.
    pub steps: usize,
    /// Final time.
    pub time: f64,
    /// Weight of the control's norm.
    pub alpha: f64,
    /// d_1, .., d_T, one after the other.
    pub target: Vec<f64>,
    /// y_0.
    pub initial: Vec<f64>,
    /// Bounds of the control.
    pub control_bounds: (f64, f64),
}

impl HeatSpec {
    /// Length of a step.
    pub fn tau(&self) -> f64 {
        self.time / self.steps as f64
    }
    /// The objective times this is the integral.
    pub fn unit(&self) -> f64 {
        self.grid.cell_volume() * self.tau()
    }

    fn validate(&self) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Problem { name: "heat".into(), what });
        let positive = |v: f64| v > 0.0 && v.is_finite();
        if self.steps == 0 || !positive(self.time) {
            return fail(format!("{} steps to time {}, expected both positive", self.steps, self.time));
        }
        if !positive(self.alpha) {
            return fail(format!("alpha is {}, expected a positive finite number", self.alpha));
        }
        let n = self.grid.unknowns();
        for (what, v, want) in [("target", &self.target, n * self.steps), ("initial state", &self.initial, n)]
        {
            if v.len() != want || v.iter().any(|v| !v.is_finite()) {
                return fail(format!("the {what} has {} entries, expected {want} finite numbers", v.len()));
            }
        }
        let (low, high) = self.control_bounds;
        if low > high || low.is_nan() || high.is_nan() {
            return fail(format!(
                "bounds [{}, {}] of the control",
                self.control_bounds.0, self.control_bounds.1
            ));
        }
        Ok(())
    }
}

/// What both forms share.
#[derive(Debug)]
struct Steps {
    spec: HeatSpec,
    stiffness: Operator,
    mass: Vec<f64>,
    /// 1 / tau.
    rate: f64,
}

impl Steps {
    fn new(spec: HeatSpec) -> Result<Self, Error> {
        spec.validate()?;
        let stiffness = Operator::new(&spec.grid, Scheme::FiniteDifferences, &spec.diffusion)?;
        let (mass, rate) = (spec.grid.mass(), 1.0 / spec.tau());
        Ok(Self { spec, stiffness, mass, rate })
    }

    fn multigrid(&self, c: f64, field: &[f64]) -> Result<Multigrid, Error> {
        let options = MultigridOptions::default();
        let mut multigrid =
            Multigrid::new(&self.spec.grid, Scheme::FiniteDifferences, &self.spec.diffusion, options)?;
        multigrid.set_reaction(c, field)?;
        Ok(multigrid)
    }

    /// out <- the matrix of all steps times y, y_0 = 0.
    fn apply(&self, y: &[f64], out: &mut [f64]) {
        let (n, m, rate) = (self.mass.len(), &self.mass, self.rate);
        for (k, out) in out.chunks_mut(n).enumerate() {
            let now = &y[k * n..][..n];
            self.stiffness.combine(1.0, now, m, now, out);
            // combine has m y; the rest of m y / tau, and the step before.
            let before = (k > 0).then(|| &y[(k - 1) * n..][..n]);
            over(out, |at, out| {
                for (i, o) in out.iter_mut().enumerate() {
                    let p = at + i;
                    *o += m[p] * ((rate - 1.0) * now[p] - before.map_or(0.0, |b| rate * b[p]));
                }
            });
        }
    }

    /// out <- its transpose times w.
    fn apply_t(&self, w: &[f64], out: &mut [f64]) {
        let (n, m, rate, last) = (self.mass.len(), &self.mass, self.rate, self.spec.steps - 1);
        for (k, out) in out.chunks_mut(n).enumerate() {
            let now = &w[k * n..][..n];
            self.stiffness.combine(1.0, now, m, now, out);
            let after = (k < last).then(|| &w[(k + 1) * n..][..n]);
            over(out, |at, out| {
                for (i, o) in out.iter_mut().enumerate() {
                    let p = at + i;
                    *o += m[p] * ((rate - 1.0) * now[p] - after.map_or(0.0, |a| rate * a[p]));
                }
            });
        }
    }

    fn objective(&self, y: &[f64], u: &[f64]) -> f64 {
        let (n, m, d) = (self.mass.len(), &self.mass, &self.spec.target);
        let misfit = sum(y.len(), |r| r.map(|j| m[j % n] * (y[j] - d[j]).powi(2)).sum());
        let effort = sum(u.len(), |r| r.map(|j| m[j % n] * u[j] * u[j]).sum());
        0.5 * misfit + 0.5 * self.spec.alpha * effort
    }
}

/// All at once: variables x = (y_1 .. y_T, u_1 .. u_T), constraints are the steps.
#[derive(Debug)]
pub struct HeatControl {
    meta: NlpMeta,
    steps: Steps,
    /// One for all steps without a barrier, one a step with it.
    multigrids: Vec<Multigrid>,
    barrier: Vec<f64>,
    dual: Vec<f64>,
    state: Vec<f64>,
    control: Vec<f64>,
    work: Vec<f64>,
    rhs: Vec<f64>,
}

impl HeatControl {
    /// Checks the description and builds operators.
    ///
    /// # Errors
    /// [`Error::Problem`] for vectors of wrong lengths, numbers out of range, or wrong coefficients.
    pub fn new(spec: HeatSpec) -> Result<Self, Error> {
        let steps = Steps::new(spec)?;
        let (n, spec) = (steps.mass.len(), &steps.spec);
        let all = n * spec.steps;
        let mut meta = NlpMeta::equality("heat", 2 * all, all);
        meta.x_lower[all..].fill(spec.control_bounds.0);
        meta.x_upper[all..].fill(spec.control_bounds.1);
        meta.x0[all..].fill(0.0f64.clamp(spec.control_bounds.0, spec.control_bounds.1));
        (meta.quadratic_objective, meta.linear) = (true, vec![true; all]);
        (meta.jacobian_products, meta.hessian_products, meta.preconditioner) = (true, true, true);
        // Not all 0: without entries an estimate would take many products.
        let (mass, target) = (&steps.mass, &spec.target);
        meta.y0 = (0..all).map(|j| spec.tau() * mass[j % n] * target[j]).collect();
        let (work, rhs) = (vec![0.0; all], vec![0.0; n]);
        let (multigrids, barrier, dual, state, control) = Default::default();
        Ok(Self { meta, steps, multigrids, barrier, dual, state, control, work, rhs })
    }

    /// Unknowns of all states, which come first in x.
    pub fn states(&self) -> usize {
        self.work.len()
    }
    /// The description.
    pub fn spec(&self) -> &HeatSpec {
        &self.steps.spec
    }

    fn refresh(&mut self, at: &Preconditioning<'_>) -> Result<(), Error> {
        if !self.multigrids.is_empty() && self.barrier == at.barrier && self.dual == at.dual {
            return Ok(());
        }
        self.barrier = at.barrier.to_vec();
        self.dual = at.dual.to_vec();
        let (s, n, all) = (&self.steps, self.steps.mass.len(), self.work.len());
        let alpha = s.spec.alpha;
        self.state = (0..all).map(|j| s.mass[j % n] + at.barrier[j]).collect();
        self.control = (0..all).map(|j| alpha * s.mass[j % n] + at.barrier[all + j]).collect();
        if at.barrier.iter().chain(at.dual).all(|v| *v == 0.0) {
            self.multigrids = vec![s.multigrid(s.rate + 1.0 / alpha.sqrt(), &[])?];
            return Ok(());
        }
        let field: Vec<f64> = (0..all)
            .map(|j| {
                let m = s.mass[j % n];
                m * s.rate + ((m * m / self.control[j] + at.dual[j]) * self.state[j]).sqrt()
            })
            .collect();
        if self.multigrids.len() == s.spec.steps {
            let each = self.multigrids.iter_mut().zip(field.chunks(n));
            return each.into_iter().try_for_each(|(multigrid, field)| multigrid.set_reaction(0.0, field));
        }
        self.multigrids = field.chunks(n).map(|field| s.multigrid(0.0, field)).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// v <- (matrix of the steps + Z)^-1 v, or its transpose: backward in time.
    fn sweep(&mut self, v: &mut [f64], backward: bool) {
        let (n, steps) = (self.steps.mass.len(), self.steps.spec.steps);
        for at in 0..steps {
            let k = if backward { steps - 1 - at } else { at };
            let which = k.min(self.multigrids.len() - 1);
            let (rate, mass) = (self.steps.rate, &self.steps.mass);
            let other = if backward { k + 1 } else { k.wrapping_sub(1) };
            let done = v.get(other.wrapping_mul(n)..).filter(|_| at > 0).map(|v| &v[..n]);
            let now = &v[k * n..][..n];
            over(&mut self.rhs, |from, r| {
                for (i, r) in r.iter_mut().enumerate() {
                    let p = from + i;
                    *r = now[p] + done.map_or(0.0, |d| rate * mass[p] * d[p]);
                }
            });
            self.multigrids[which].cycle(&self.rhs, &mut v[k * n..][..n]);
        }
    }
}

impl Nlp for HeatControl {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        let (y, u) = x.split_at(self.states());
        Ok(self.steps.objective(y, u))
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        let (s, all, n) = (&self.steps, self.work.len(), self.steps.mass.len());
        for j in 0..all {
            g[j] = s.mass[j % n] * (x[j] - s.spec.target[j]);
            g[all + j] = s.spec.alpha * s.mass[j % n] * x[all + j];
        }
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        self.jac_prod(x, x, c)?;
        let s = &self.steps;
        for ((c, m), y0) in c.iter_mut().zip(&s.mass).zip(&s.spec.initial) {
            *c -= s.rate * m * y0;
        }
        Ok(())
    }
    fn jac_prod(&mut self, _: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let (s, n) = (&self.steps, self.steps.mass.len());
        let (y, u) = v.split_at(jv.len());
        s.apply(y, jv);
        over(jv, |at, c| c.iter_mut().enumerate().for_each(|(i, c)| *c -= s.mass[(at + i) % n] * u[at + i]));
        Ok(())
    }
    fn jac_t_prod(&mut self, _: &[f64], w: &[f64], jtw: &mut [f64]) -> Result<(), EvalError> {
        let (s, n) = (&self.steps, self.steps.mass.len());
        let (y, u) = jtw.split_at_mut(w.len());
        s.apply_t(w, y);
        over(u, |at, u| u.iter_mut().enumerate().for_each(|(i, u)| *u = -s.mass[(at + i) % n] * w[at + i]));
        Ok(())
    }
    fn hess_prod(
        &mut self,
        _: &[f64],
        sigma: f64,
        _: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        let (s, all, n) = (&self.steps, self.work.len(), self.steps.mass.len());
        over(hv, |at, h| {
            for (i, h) in h.iter_mut().enumerate() {
                let j = at + i;
                *h = sigma * s.mass[j % n] * v[j] * if j < all { 1.0 } else { s.spec.alpha };
            }
        });
        Ok(())
    }
    fn precondition(&mut self, at: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        let failed = |e: Error| EvalError::Failed { function: "preconditioner", reason: e.to_string() };
        self.refresh(at).map_err(failed)?;
        let all = self.work.len();
        for j in 0..all {
            z[j] = r[j] / self.state[j];
            z[all + j] = r[all + j] / self.control[j];
        }
        let mut work = std::mem::take(&mut self.work);
        work.copy_from_slice(&r[2 * all..]);
        self.sweep(&mut work, false);
        work.iter_mut().zip(&self.state).for_each(|(w, h)| *w *= h);
        self.sweep(&mut work, true);
        z[2 * all..].copy_from_slice(&work);
        self.work = work;
        Ok(())
    }
}

/// Reduced: variables u, y(u) by the steps forward, the gradient by the steps backward.
#[derive(Debug)]
pub struct ReducedHeat {
    meta: NlpMeta,
    steps: Steps,
    multigrid: Multigrid,
    /// y of `at`, and the work of a product.
    y: Vec<f64>,
    at: Vec<f64>,
    work: Vec<f64>,
    rhs: Vec<f64>,
}

/// Relative residual of each step of the reduced form.
const STEP_TOLERANCE: f64 = 1e-13;
const STEP_ITERATIONS: usize = 60;

impl ReducedHeat {
    /// Checks the description and builds operators.
    ///
    /// # Errors
    /// As [`HeatControl::new`].
    pub fn new(spec: HeatSpec) -> Result<Self, Error> {
        let steps = Steps::new(spec)?;
        let n = steps.mass.len();
        let all = n * steps.spec.steps;
        let multigrid = steps.multigrid(steps.rate, &[])?;
        let mut meta = NlpMeta::equality("reduced heat", all, 0);
        let (low, high) = steps.spec.control_bounds;
        meta.x_lower.fill(low);
        meta.x_upper.fill(high);
        meta.x0.fill(0.0f64.clamp(low, high));
        (meta.quadratic_objective, meta.hessian_products, meta.preconditioner) = (true, true, true);
        let zeros = |k| vec![0.0; k];
        Ok(Self { meta, steps, multigrid, y: zeros(all), at: Vec::new(), work: zeros(all), rhs: zeros(n) })
    }

    /// The states y_1, .., y_T of a control.
    ///
    /// # Errors
    /// Where a step could not be solved.
    pub fn states(&mut self, u: &[f64]) -> Result<&[f64], EvalError> {
        if self.at != u {
            let mut y = std::mem::take(&mut self.y);
            let result = self.forward(u, true, &mut y);
            self.y = y;
            result?;
            self.at = u.to_vec();
        }
        Ok(&self.y)
    }

    /// y <- the states of u, from the initial state or from 0.
    fn forward(&mut self, u: &[f64], from_initial: bool, y: &mut [f64]) -> Result<(), EvalError> {
        let n = self.steps.mass.len();
        for k in 0..self.steps.spec.steps {
            let (s, rhs) = (&self.steps, &mut self.rhs);
            for p in 0..n {
                let before = match k {
                    0 if from_initial => s.spec.initial[p],
                    0 => 0.0,
                    _ => y[(k - 1) * n + p],
                };
                rhs[p] = s.mass[p] * (s.rate * before + u[k * n + p]);
            }
            self.step(&mut y[k * n..][..n])?;
        }
        Ok(())
    }

    /// w <- the solution of the transposed steps with right-hand side w.
    fn backward(&mut self, w: &mut [f64]) -> Result<(), EvalError> {
        let n = self.steps.mass.len();
        for k in (0..self.steps.spec.steps).rev() {
            let s = &self.steps;
            for p in 0..n {
                let after = w.get((k + 1) * n + p).copied().unwrap_or(0.0);
                self.rhs[p] = w[k * n + p] + s.rate * s.mass[p] * after;
            }
            w[k * n..][..n].fill(0.0);
            self.step(&mut w[k * n..][..n])?;
        }
        Ok(())
    }

    fn step(&mut self, out: &mut [f64]) -> Result<(), EvalError> {
        let rhs = std::mem::take(&mut self.rhs);
        let solved = self.multigrid.conjugate_gradients(&rhs, out, STEP_TOLERANCE, STEP_ITERATIONS);
        self.rhs = rhs;
        // The last digits are rounding.
        if solved.relative_residual <= 1e3 * STEP_TOLERANCE {
            return Ok(());
        }
        let reason = format!("a step has the relative residual {:.1e}", solved.relative_residual);
        Err(EvalError::Failed { function: "state equation", reason })
    }
}

impl Nlp for ReducedHeat {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, u: &[f64]) -> Result<f64, EvalError> {
        self.states(u)?;
        Ok(self.steps.objective(&self.y, u))
    }
    fn grad(&mut self, u: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.states(u)?;
        let n = self.steps.mass.len();
        for (j, g) in g.iter_mut().enumerate() {
            *g = self.steps.mass[j % n] * (self.y[j] - self.steps.spec.target[j]);
        }
        self.backward(g)?;
        for (j, (g, u)) in g.iter_mut().zip(u).enumerate() {
            *g = self.steps.mass[j % n] * (*g + self.steps.spec.alpha * u);
        }
        Ok(())
    }
    fn cons(&mut self, _: &[f64], _: &mut [f64]) -> Result<(), EvalError> {
        Ok(())
    }
    fn hess_prod(
        &mut self,
        _: &[f64],
        sigma: f64,
        _: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        let n = self.steps.mass.len();
        let mut work = std::mem::take(&mut self.work);
        work.fill(0.0);
        let result = self.forward(v, false, &mut work);
        for (j, w) in work.iter_mut().enumerate() {
            *w *= self.steps.mass[j % n];
        }
        let result = result.and_then(|()| self.backward(&mut work));
        for j in 0..v.len() {
            hv[j] = sigma * self.steps.mass[j % n] * (work[j] + self.steps.spec.alpha * v[j]);
        }
        self.work = work;
        result
    }
    fn precondition(&mut self, at: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        let n = self.steps.mass.len();
        for j in 0..r.len() {
            z[j] = r[j] / (self.steps.spec.alpha * self.steps.mass[j % n] + at.barrier[j]);
        }
        Ok(())
    }
}
