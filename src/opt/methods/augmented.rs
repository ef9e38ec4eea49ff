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

use super::barrier::{Barrier, KAPPA_EPSILON};
use super::{Method, With};
use crate::linalg::norm_inf;
use crate::observe::IterationRow;
use crate::opt::globalization::{AugmentedMerit, backtrack};
use crate::opt::iterate::{Point, Residuals};
use crate::opt::phase::{Cause, NoStep, PhaseEnd, Solve, Taken};
use crate::opt::problem::Form;
use crate::opt::verdict;

const FIRST_PENALTY: f64 = 10.0;
/// From here on only y_k is moved.
const LARGEST_PENALTY: f64 = 1e8;
/// Subproblems that may pass without halving the violation.
const IN_VAIN: u32 = 40;
/// Subproblems that may be given up in a row.
const GIVEN_UP: u32 = 3;
/// Subproblems that one point may solve.
const MOST_SUBPROBLEMS: u32 = 50;

/// See the module.
#[derive(Debug)]
pub(in crate::opt) struct AugmentedLagrangian {
    barrier: Barrier,
    merit: AugmentedMerit,
    warm: bool,
    /// |c| at which y_k is updated rather than rho.
    eta: f64,
    /// Smallest |c| of a subproblem, and the number of subproblems since then that did not halve it.
    violation: f64,
    in_vain: u32,
    /// Subproblems given up in a row.
    given_up: u32,
    /// y_k + rho c.
    first_order: Vec<f64>,
}

impl AugmentedLagrangian {
    pub fn new(form: &Form, with: With, warm: bool) -> Self {
        Self {
            barrier: Barrier::new(form, with),
            merit: AugmentedMerit::new(form),
            warm,
            eta: 0.0,
            violation: f64::INFINITY,
            in_vain: 0,
            given_up: 0,
            first_order: vec![0.0; form.m],
        }
    }

    /// As new, with its memory.
    pub fn renew(&mut self, with: With, warm: bool) {
        self.barrier.with = with;
        self.warm = warm;
    }

    /// Error of the subproblem: that of its primal-dual conditions.
    fn subproblem_error(&self, s: &Solve<'_>) -> f64 {
        let p = &s.at.current;
        let r = Residuals::of(s.problem.form, p, self.barrier.mu);
        let relation = |i: usize| (p.c[i] + (self.merit.y[i] - p.y[i]) / self.merit.rho).abs();
        let relation = (0..p.c.len()).map(relation).fold(0.0, f64::max);
        let size = p.y.iter().fold(100.0f64, |a, y| a.max(y.abs())) / 100.0;
        let dual = norm_inf(&p.lag_grad) / size;
        dual.max(relation).max(r.complementarity * s.problem.form.scale.objective / size)
    }

    /// Moves y_k where the violation has fallen, raises rho where it has not; lowers mu.
    fn next_subproblem(&mut self, s: &Solve<'_>) {
        let violation = norm_inf(&s.at.current.c);
        if violation <= self.eta || self.merit.rho >= LARGEST_PENALTY {
            self.merit.y.copy_from_slice(&s.at.current.y);
            self.eta = (0.1 * self.eta).max(0.5 * s.options.tolerance);
        } else {
            self.merit.rho *= 10.0;
        }
        if violation <= 0.5 * self.violation {
            (self.violation, self.in_vain) = (violation, 0);
        } else {
            self.in_vain += 1;
        }
        self.barrier.lower();
    }
}

impl Method for AugmentedLagrangian {
    fn begin(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let warm = std::mem::take(&mut self.warm);
        self.barrier.begin(s, warm);
        self.merit.y.copy_from_slice(&s.at.current.y);
        self.merit.rho = FIRST_PENALTY;
        self.eta = 0.1 * norm_inf(&s.at.current.c).clamp(0.1, 10.0);
        self.violation = f64::INFINITY;
        (self.in_vain, self.given_up) = (0, 0);
        Ok(())
    }

    fn test(&mut self, s: &mut Solve<'_>, _: &Residuals, solved: bool) -> Option<PhaseEnd> {
        verdict::ended(s, solved)
    }

    fn rescaled(&mut self, s: &mut Solve<'_>, ratio: f64) {
        self.barrier.rescaled(s, ratio);
        self.merit.y.iter_mut().for_each(|y| *y *= ratio);
    }

    fn tighten(&mut self, _: &mut Solve<'_>) -> bool {
        self.barrier.tighten()
    }

    fn update(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        for _ in 0..MOST_SUBPROBLEMS {
            if self.subproblem_error(s) > KAPPA_EPSILON * self.barrier.mu {
                break;
            }
            self.next_subproblem(s);
        }
        if self.in_vain > IN_VAIN && self.violation > s.options.tolerance {
            return Err(PhaseEnd::no_step(Cause::Slow, "the violation does not fall"));
        }
        Ok(())
    }

    fn step(&mut self, s: &mut Solve<'_>) -> Result<Taken, PhaseEnd> {
        let n = s.problem.form.n;
        self.barrier.prepare(s)?;
        let (p, merit) = (&s.at.current, &mut self.merit);
        for (i, r) in s.kkt.rhs[n..].iter_mut().enumerate() {
            *r = -(p.c[i] + (merit.y[i] - p.y[i]) / merit.rho);
            self.first_order[i] = merit.y[i] + merit.rho * p.c[i];
        }
        merit.mu = self.barrier.mu;
        s.problem.jac_t_mul(p.at(), &self.first_order, &mut merit.gradient)?;
        for (o, g) in merit.gradient.iter_mut().zip(&self.barrier.gradient) {
            *o += g;
        }
        let mut direction = self.barrier.direction(s, 1.0 / self.merit.rho)?;
        direction.kind = 'a';
        let (p, dx) = (&s.at.current, &s.kkt.step[..n]);
        self.merit.begin(s.problem.form, p, dx);
        let longest = s.problem.form.bounds.primal_step(&p.x, dx, self.barrier.tau());
        let (length, trials) = backtrack(s, &mut self.merit, longest)?;
        Ok(self.barrier.finish(s, &direction, length, trials))
    }

    fn accepted(&mut self, _: &mut Solve<'_>, _: &mut Taken) -> Result<(), PhaseEnd> {
        self.given_up = 0;
        Ok(())
    }

    fn recover(&mut self, s: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd> {
        self.given_up += 1;
        if self.given_up > GIVEN_UP {
            return Err(PhaseEnd::NoStep(why));
        }
        s.at.current.update_lagrangian_gradient(&mut s.problem)?;
        self.next_subproblem(s);
        Ok(())
    }

    fn letter(&self) -> char {
        'a'
    }

    fn fill_row(&self, _: &Form, at: &Point, row: &mut IterationRow) {
        row.merit = at.f;
        row.barrier = self.barrier.mu;
        row.penalty = (self.merit.rho, 0.0);
    }
}
