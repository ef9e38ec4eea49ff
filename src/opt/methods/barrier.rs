//! What the methods with a barrier share: its parameter, its derivatives, the multipliers of the bounds.
//!
//! ```text
//!     min phi(x) = f(x) + B(x)   subject to c(x) = 0
//! ```

use super::{With, fill_optimality};
use crate::linalg::norm_inf;
use crate::opt::iterate::Residuals;
use crate::opt::kkt::{Always, Direction, Rule};
use crate::opt::phase::{PhaseEnd, Solve, Taken, estimate_multipliers, linear, no_direction};
use crate::opt::problem::{Form, multiplier_length};

/// E_mu <= KAPPA_EPSILON mu ends a barrier problem.
pub(super) const KAPPA_EPSILON: f64 = 10.0;
/// mu <- min(KAPPA_MU mu, mu^THETA_MU).
const KAPPA_MU: f64 = 0.2;
const THETA_MU: f64 = 1.5;
/// First mu, and first multipliers of bounds.
const FIRST_MU: f64 = 0.1;
const FIRST_MULTIPLIER: f64 = 1.0;
/// No barrier parameter is smaller than this.
const LEAST_MU: f64 = 1e-15;
/// Least share of the way to a bound that a step may go.
const TAU_MIN: f64 = 0.99;
/// Multipliers above this are not used as a start.
pub(super) const LARGEST_MULTIPLIER: f64 = 1e3;

/// Low enough for the complementarity of the original problem, too.
fn smallest_mu(tol: f64, form: &Form) -> f64 {
    tol.min(1e4 * tol * form.scale.objective) / (KAPPA_EPSILON + 1.0)
}

/// Barrier parameter, grad phi, and the steps of the multipliers.
#[derive(Debug)]
pub(super) struct Barrier {
    pub mu: f64,
    pub smallest_mu: f64,
    /// grad phi.
    pub gradient: Vec<f64>,
    /// Steps of zl and zu.
    pub dzl: Vec<f64>,
    pub dzu: Vec<f64>,
    pub with: With,
}

impl Barrier {
    pub fn new(form: &Form, with: With) -> Self {
        let nz = if form.bounds.count() > 0 { form.n } else { 0 };
        Self {
            mu: 0.0,
            smallest_mu: 0.0,
            gradient: vec![0.0; form.n],
            dzl: vec![0.0; nz],
            dzu: vec![0.0; nz],
            with,
        }
    }

    /// First z and y, and mu: from a warm start (z is that of the current point), or z = 1 and least-squares y.
    pub fn begin(&mut self, s: &mut Solve<'_>, warm: bool) {
        let tol = s.options.tolerance;
        self.mu = if warm { self.begin_warm(s) } else { self.begin_cold(s) };
        self.smallest_mu = smallest_mu(tol, s.problem.form);
    }

    /// The objective's scale has grown: so has mu.
    pub fn rescaled(&mut self, s: &Solve<'_>, ratio: f64) {
        self.mu = (self.mu * ratio).min(FIRST_MU);
        self.smallest_mu = smallest_mu(s.options.tolerance, s.problem.form);
    }

    fn begin_cold(&mut self, s: &mut Solve<'_>) -> f64 {
        let (p, bounds) = (&mut s.at.current, &s.problem.form.bounds);
        bounds.with_lower.iter().for_each(|&j| p.zl[j] = FIRST_MULTIPLIER);
        bounds.with_upper.iter().for_each(|&j| p.zu[j] = FIRST_MULTIPLIER);
        estimate_multipliers(s, LARGEST_MULTIPLIER);
        FIRST_MU
    }

    /// As far from the bounds and as central as the start is good.
    fn begin_warm(&mut self, s: &mut Solve<'_>) -> f64 {
        let p = &mut s.at.current;
        let _ = p.update_lagrangian_gradient(&mut s.problem);
        let r = Residuals::of(s.problem.form, p, 0.0);
        let mu = r.scaled.clamp(0.1 * s.options.tolerance, FIRST_MU);
        let bounds = &s.problem.form.bounds;
        bounds.push_inside(&mut p.x, mu, 1e-2);
        bounds.raise_multipliers(&p.x, mu, &mut p.zl, &mut p.zu);
        let _ = p.evaluate(&mut s.problem);
        mu
    }

    /// Solved at the smallest mu, but the products add up to too much: a tenth of it from now on.
    pub fn tighten(&mut self) -> bool {
        let can = self.mu <= self.smallest_mu && self.smallest_mu > LEAST_MU;
        if can {
            self.smallest_mu = (0.1 * self.smallest_mu).max(LEAST_MU);
        }
        can
    }

    /// Share of the way to a bound.
    pub fn tau(&self) -> f64 {
        TAU_MIN.max(1.0 - self.mu)
    }

    pub fn lower(&mut self) {
        self.mu = (KAPPA_MU * self.mu).min(self.mu.powf(THETA_MU)).max(self.smallest_mu);
    }

    /// H, S, K and grad phi at the current point; the first part of the right-hand side, -(grad phi + J'y).
    pub fn prepare(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        if bounds.count() > 0 {
            bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut s.kkt.barrier);
        }
        self.gradient.copy_from_slice(&p.grad);
        bounds.add_barrier_gradient(&p.x, self.mu, &mut self.gradient);
        for (j, g) in self.gradient.iter().enumerate() {
            // J'y = g - grad f + zl - zu.
            let z = if p.zl.is_empty() { 0.0 } else { p.zl[j] - p.zu[j] };
            s.kkt.rhs[j] = -(p.lag_grad[j] + z + (g - p.grad[j]));
        }
        fill_optimality(s, self.with.relative_shift)
    }

    /// The step of all unknowns; `dual`: a delta that belongs to the method.
    pub fn direction(&mut self, s: &mut Solve<'_>, dual: f64) -> Result<Direction, PhaseEnd> {
        let rule =
            Rule { residual: (1e-3, 1e-2), dual, keep_floor: false, from_zero: true, largest_shift: 1e20 };
        // A Jacobian may be singular at some points only.
        s.kkt.memory.deficient &= self.with.keep_delta;
        let (kkt, mut e) = linear(s);
        let direction = kkt.direction(&mut e, &rule, &mut Always);
        let direction = direction.map_err(|failed| no_direction(s, failed))?;
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        if bounds.count() > 0 {
            let dx = &s.kkt.step[..p.x.len()];
            bounds.multiplier_step(&p.x, (&p.zl, &p.zu), self.mu, dx, (&mut self.dzl, &mut self.dzu));
        }
        Ok(direction)
    }

    /// z of the accepted trial point, with its own step length.
    pub fn finish(&mut self, s: &mut Solve<'_>, d: &Direction, length: f64, trials: u32) -> Taken {
        self.move_multipliers(s);
        Taken {
            length,
            trials,
            norm: length * norm_inf(&s.kkt.step[..s.problem.form.n]),
            shift: s.kkt.t,
            dual: s.kkt.delta,
            inner_iterations: d.inner_iterations,
            linear_residual: f64::NAN,
            kind: d.kind,
        }
    }

    fn move_multipliers(&mut self, s: &mut Solve<'_>) {
        let bounds = &s.problem.form.bounds;
        if bounds.count() == 0 {
            return;
        }
        let (current, trial) = (&s.at.current, &mut s.at.trial);
        let length = multiplier_length(&bounds.with_lower, &current.zl, &self.dzl, self.tau())
            .min(multiplier_length(&bounds.with_upper, &current.zu, &self.dzu, self.tau()));
        for &j in &bounds.with_lower {
            trial.zl[j] = current.zl[j] + length * self.dzl[j];
        }
        for &j in &bounds.with_upper {
            trial.zu[j] = current.zu[j] + length * self.dzu[j];
        }
        bounds.limit_multipliers(&trial.x, self.mu, &mut trial.zl, &mut trial.zu);
        // The line search has put z of the current point into the gradient of the trial point.
        for &j in &bounds.with_lower {
            trial.lag_grad[j] += current.zl[j] - trial.zl[j];
        }
        for &j in &bounds.with_upper {
            trial.lag_grad[j] -= current.zu[j] - trial.zu[j];
        }
    }
}
