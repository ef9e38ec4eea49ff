//! The augmented Lagrangian with a barrier: slower than the filter method, but at home where multipliers are unbounded or
//! the feasible set has no interior.
//!
//! ```text
//!     min Phi(x) = f + y_k'c + rho/2 |c|^2 + B(x)
//! ```
//!
//! by primal-dual Newton steps with y = y_k + rho c as an unknown (Friedlander and Orban 2012; Ma, Judd, Orban, Saunders 2018):
//!
//! ```text
//!     [ H + S + t D   J'       ] (dx, dy) = -( grad f + grad B + J'y,  c + (y_k - y)/rho )
//!     [ J            -I / rho  ]
//! ```
//!
//! H the Hessian of the Lagrangian at y. With inertia (n, m, 0) the step descends on Phi if y = y_k + rho c; otherwise the
//! first step along dx with that y does. y_k and rho change when a subproblem is solved to the accuracy of mu.

use super::{Barrier, KAPPA_EPSILON, Start};
use crate::linalg::{dot, norm_inf};
use crate::observe::IterationRow;
use crate::opt::engine::{Engine, PhaseEnd};
use crate::report::StopReason;

const ARMIJO: f64 = 1e-4;
const FIRST_PENALTY: f64 = 10.0;
/// From here on only y_k is moved.
const LARGEST_PENALTY: f64 = 1e8;
const SHORTEST: f64 = 1e-12;

/// Subproblems that may pass without halving the violation.
const IN_VAIN: u32 = 40;

struct Outer {
    /// y_k.
    y: Vec<f64>,
    rho: f64,
    /// |c| at which y_k is updated rather than rho.
    eta: f64,
    /// Smallest |c| of a subproblem, and the number of subproblems since then that did not halve it.
    violation: f64,
    in_vain: u32,
    /// Subproblems given up in a row.
    given_up: u32,
    /// grad Phi, and y_k + rho c.
    gradient: Vec<f64>,
    first_order: Vec<f64>,
}

impl Engine<'_> {
    /// Iterates from `current` (evaluated, strictly inside its bounds) until the solve is over.
    pub fn augmented_lagrangian(&mut self, start: Start) -> PhaseEnd {
        let mut b = self.begin_interior(start);
        let mut outer = Outer {
            y: self.current.y.clone(),
            rho: FIRST_PENALTY,
            eta: 0.1 * norm_inf(&self.current.c).clamp(0.1, 10.0),
            violation: f64::INFINITY,
            in_vain: 0,
            given_up: 0,
            gradient: vec![0.0; self.model.n],
            first_order: vec![0.0; self.model.m],
        };
        let mut row = self.row('a');
        let end = loop {
            let r = self.residuals(&self.current);
            self.remember_best(&r);
            self.fill_row(&mut row, &r);
            (row.barrier, row.penalty) = (b.mu, (outer.rho, 0.0));
            if let Err(stop) = self.emit(&row) {
                break PhaseEnd::Done(stop);
            }
            if self.is_solved(&r) {
                break PhaseEnd::Done(StopReason::Converged);
            }
            if self.is_unbounded() {
                break PhaseEnd::Done(StopReason::Unbounded);
            }
            if let Some(stop) = self.out_of_budget() {
                break PhaseEnd::Done(stop);
            }
            self.update_outer(&mut b, &mut outer);
            if outer.in_vain > IN_VAIN && outer.violation > self.options.tolerance {
                break PhaseEnd::NoStep("the violation does not fall".into());
            }
            match self.augmented_step(&mut b, &mut outer, &mut row) {
                Ok(()) => outer.given_up = 0,
                Err(PhaseEnd::NoStep(what)) => {
                    outer.given_up += 1;
                    if outer.given_up > 3 {
                        break PhaseEnd::NoStep(what);
                    }
                    if let Err(bad) = self.evaluate_current() {
                        break PhaseEnd::NoStep(bad.function);
                    }
                    self.next_subproblem(&mut b, &mut outer);
                }
                Err(end) => break end,
            }
        };
        self.regularization.penalty = 0.0;
        end
    }

    /// Error of the subproblem: that of its primal-dual conditions.
    fn subproblem_error(&self, b: &Barrier, outer: &Outer) -> f64 {
        let p = &self.current;
        let r = self.barrier_residuals(p, b.mu);
        let relation = (0..p.c.len()).map(|i| (p.c[i] + (outer.y[i] - p.y[i]) / outer.rho).abs());
        let relation = relation.fold(0.0, f64::max);
        let size = p.y.iter().fold(100.0f64, |a, y| a.max(y.abs())) / 100.0;
        let dual = norm_inf(&p.lag_grad) / size;
        dual.max(relation).max(r.complementarity * self.model.objective_scale / size)
    }

    fn update_outer(&mut self, b: &mut Barrier, outer: &mut Outer) {
        const MOST: u32 = 50;
        for _ in 0..MOST {
            if self.subproblem_error(b, outer) > KAPPA_EPSILON * b.mu {
                return;
            }
            self.next_subproblem(b, outer);
        }
    }

    /// Moves y_k where the violation has fallen, raises rho where it has not; lowers mu.
    fn next_subproblem(&mut self, b: &mut Barrier, outer: &mut Outer) {
        let tol = self.options.tolerance;
        let violation = norm_inf(&self.current.c);
        if violation <= outer.eta || outer.rho >= LARGEST_PENALTY {
            outer.y.copy_from_slice(&self.current.y);
            outer.eta = (0.1 * outer.eta).max(0.5 * tol);
        } else {
            outer.rho *= 10.0;
        }
        if violation <= 0.5 * outer.violation {
            (outer.violation, outer.in_vain) = (violation, 0);
        } else {
            outer.in_vain += 1;
        }
        b.mu = (super::KAPPA_MU * b.mu).min(b.mu.powf(super::THETA_MU)).max(b.smallest_mu);
    }

    fn augmented_step(
        &mut self,
        b: &mut Barrier,
        outer: &mut Outer,
        row: &mut IterationRow,
    ) -> Result<(), PhaseEnd> {
        let n = self.model.n;
        self.barrier_derivatives(b)?;
        let p = &self.current;
        for (i, r) in self.rhs[n..].iter_mut().enumerate() {
            *r = -(p.c[i] + (outer.y[i] - p.y[i]) / outer.rho);
            outer.first_order[i] = outer.y[i] + outer.rho * p.c[i];
        }
        self.regularization.penalty = 1.0 / outer.rho;
        let failed = |e: crate::opt::model::BadEvaluation| PhaseEnd::NoStep(e.function);
        self.model.jac_t_mul(&p.x, &outer.first_order, &mut outer.gradient).map_err(failed)?;
        for (o, g) in outer.gradient.iter_mut().zip(&b.gradient) {
            *o += g;
        }
        let (_, inner) = self.interior_direction(b)?;
        self.multiplier_direction(b);
        let (length, trials) = self.armijo(b, outer)?;
        self.accept(b, row, length, trials);
        (row.kind, row.inner_iterations) = ('a', inner);
        Ok(())
    }

    /// Phi at `trial` or `current`.
    fn augmented_value(&self, b: &Barrier, outer: &Outer, trial: bool) -> f64 {
        let p = if trial { &self.trial } else { &self.current };
        self.barrier_objective(b.mu, trial) + dot(&outer.y, &p.c) + 0.5 * outer.rho * dot(&p.c, &p.c)
    }

    fn armijo(&mut self, b: &Barrier, outer: &Outer) -> Result<(f64, u32), PhaseEnd> {
        let n = self.model.n;
        let start = self.augmented_value(b, outer, false);
        let slope = dot(&outer.gradient, &self.step[..n]);
        let p = &self.current;
        let size = p.f.abs() + 0.5 * outer.rho * dot(&p.c, &p.c) + start.abs();
        let rounding = 10.0 * f64::EPSILON * size.max(1e-10);
        let mut alpha = self.bounds.primal_step(&p.x, &self.step[..n], b.tau());
        let mut trials = 0;
        while alpha > SHORTEST {
            if self.stop.check().is_some() {
                break;
            }
            trials += 1;
            self.move_trial(alpha);
            if let Ok(f) = self.model.obj_cons(&self.trial.x, &mut self.trial.c) {
                self.trial.f = f;
                let value = self.augmented_value(b, outer, true);
                if value <= start + ARMIJO * alpha * slope.min(0.0) + rounding && self.finish_trial() {
                    return Ok((alpha, trials));
                }
            }
            alpha *= 0.5;
        }
        if let Some(stop) = self.out_of_budget() {
            return Err(PhaseEnd::Done(stop));
        }
        Err(PhaseEnd::NoStep("no decrease of the augmented Lagrangian".into()))
    }
}
