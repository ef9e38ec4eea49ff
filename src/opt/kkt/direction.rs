//! A usable step: regularized, accurate enough, and to the taste of the method that asks. One loop for solvers that factorize K and
//! know its inertia, one for iterative solvers, which are solved loosely first, tightened and continued.

use super::{DELTA, Env, Kkt, REFINED};
use crate::linalg::{dot, norm2};
use crate::linsol::{Accuracy, LinSolError, SolveEnd};
use crate::opt::iterate::Point;

pub(super) const FIRST_SHIFT: f64 = 1e-4;
/// Rounds of stronger regularization where a direct solve is not accurate or not accepted.
const ROUNDS: u32 = 4;
/// No tighter accuracy is asked of an iterative solver; nothing is expected beyond the second.
const TIGHTEST: f64 = 1e-15;
const FUTILE: f64 = 1e-14;

/// What a method demands of a step.
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct Rule {
    /// Largest relative residual of the linear system, by a direct and by an iterative solver.
    pub residual: (f64, f64),
    /// A delta that belongs to the method; 0: none.
    pub dual: f64,
    /// The raised floor of t outlives the direction.
    pub keep_floor: bool,
    /// Iterative solvers begin each solve at 0.
    pub from_zero: bool,
    /// Largest t with an iterative solver.
    pub largest_shift: f64,
}

/// An accepted direction is in `Kkt::step`.
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct Direction {
    pub inner_iterations: u64,
    pub linear_residual: f64,
    /// ' ' Newton, 'r' regularized.
    pub kind: char,
}

/// No direction.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::opt) enum NoDirection {
    /// The stop token asked.
    Stopped,
    /// In words.
    Failed(String),
    /// Solved, but not accurately, without positive curvature, or not accepted, after so many inner iterations.
    Unusable { inner_iterations: u64 },
}

impl From<LinSolError> for NoDirection {
    fn from(e: LinSolError) -> Self {
        match e {
            LinSolError::Stopped => Self::Stopped,
            other => Self::Failed(other.to_string()),
        }
    }
}

/// What a method says of a step.
pub(in crate::opt) trait StepTest {
    /// Relative accuracy asked of the first inner solve.
    fn forcing(&mut self, k: &mut Kkt, e: &mut Env<'_, '_>) -> f64;
    /// Is the step in `k.step` one?
    fn accepts(&mut self, k: &Kkt, at: &Point) -> bool;
}

/// Every accurate step with positive curvature is one.
pub(in crate::opt) struct Always;

impl StepTest for Always {
    fn forcing(&mut self, k: &mut Kkt, _: &mut Env<'_, '_>) -> f64 {
        (1e-2 * norm2(&k.rhs).sqrt()).clamp(1e-10, 1e-3)
    }
    fn accepts(&mut self, _: &Kkt, _: &Point) -> bool {
        true
    }
}

impl Kkt {
    /// Solves K z = `rhs` into `step`; K is filled.
    pub fn direction(
        &mut self,
        e: &mut Env<'_, '_>,
        rule: &Rule,
        test: &mut dyn StepTest,
    ) -> Result<Direction, NoDirection> {
        if !self.direct {
            return self.iterative(e, rule, test);
        }
        let floor = self.memory.floor;
        let result = self.factorized(e, rule, test);
        if !rule.keep_floor {
            self.memory.floor = floor;
        }
        result
    }

    fn factorized(
        &mut self,
        e: &mut Env<'_, '_>,
        rule: &Rule,
        test: &mut dyn StepTest,
    ) -> Result<Direction, NoDirection> {
        let mut inner_iterations = 0;
        for _ in 0..ROUNDS {
            let kind = self.correct_inertia(e, rule.dual)?;
            self.step.fill(0.0);
            let solved = self.solve(e, REFINED)?;
            inner_iterations += solved.iterations as u64;
            let accurate = solved.relative_residual <= rule.residual.0 || solved.at_rounding;
            if accurate && self.is_finite() && test.accepts(self, e.at) {
                let linear_residual = solved.relative_residual;
                return Ok(Direction { inner_iterations, linear_residual, kind });
            }
            // K is nearly singular, or rounding spoils the step: regularize more.
            self.memory.deficient |= self.m > 0;
            self.memory.floor = (10.0 * self.t).max(1e-8);
        }
        Err(NoDirection::Unusable { inner_iterations })
    }

    fn iterative(
        &mut self,
        e: &mut Env<'_, '_>,
        rule: &Rule,
        test: &mut dyn StepTest,
    ) -> Result<Direction, NoDirection> {
        self.step.fill(0.0);
        let mut t = self.memory.floor;
        let delta = rule.dual.max(if self.m > self.n { DELTA } else { 0.0 });
        let mut left = e.options.max_inner_iterations;
        let mut inner_iterations = 0;
        self.factor(e, t, delta)?;
        let mut relative = test.forcing(self, e);
        loop {
            if rule.from_zero {
                self.step.fill(0.0);
            }
            let solved = self.solve(e, Accuracy { relative, max_iterations: left })?;
            if solved.end == SolveEnd::Stopped {
                return Err(NoDirection::Stopped);
            }
            inner_iterations += solved.iterations as u64;
            left = left.saturating_sub(solved.iterations.max(1));
            if solved.relative_residual > rule.residual.1 || !self.is_finite() {
                return Err(NoDirection::Unusable { inner_iterations });
            }
            if !self.curvature_is_positive(e) {
                t = if t == 0.0 { (self.memory.last_t / 3.0).max(FIRST_SHIFT) } else { 8.0 * t };
                self.memory.last_t = t;
                if t > rule.largest_shift || left == 0 {
                    return Err(NoDirection::Unusable { inner_iterations });
                }
                self.factor(e, t, delta)?;
                continue;
            }
            if test.accepts(self, e.at) {
                let kind = if t > 0.0 { 'r' } else { ' ' };
                let linear_residual = solved.relative_residual;
                return Ok(Direction { inner_iterations, linear_residual, kind });
            }
            if left == 0 || solved.end == SolveEnd::Stagnated || relative <= FUTILE {
                return Err(NoDirection::Unusable { inner_iterations });
            }
            relative = (relative.min(solved.relative_residual) * 0.1).max(TIGHTEST);
        }
    }

    fn is_finite(&self) -> bool {
        self.step.iter().all(|v| v.is_finite())
    }

    /// dx'B dx >= kappa |dx_t|^2 with |dx_t|^2 bounded through |J dx| (Byrd, Curtis, Nocedal 2010, test for the tangential
    /// component): negative curvature is harmless while dx lies mostly in the range of J'.
    fn curvature_is_positive(&mut self, e: &mut Env<'_, '_>) -> bool {
        const KAPPA: f64 = 1e-8;
        let Some(curvature) = self.step_curvature(e) else {
            return true; // the slope test decides
        };
        let n = self.n;
        let dx = &self.step[..n];
        let size = dot(dx, dx);
        let shift: f64 = dx.iter().zip(&self.weights).map(|(d, w)| w * d * d).sum();
        if curvature + self.t * shift >= KAPPA * size {
            return true;
        }
        let (sx, sy) = self.scratch.split_at_mut(n);
        if self.m == 0 || e.problem.jac_mul(e.at.at(), dx, sy).is_err() {
            return false;
        }
        // |J' J dx| / |J dx|^2 ... |dx_n| <= |J dx| / sigma_min; the largest observed |J'u|/|u| bounds |J|, not 1/sigma_min.
        let normal = norm2(sy);
        e.problem.jac_t_mul(e.at.at(), sy, sx).is_ok() && {
            let gain = norm2(sx) / normal.max(f64::MIN_POSITIVE);
            normal >= 0.5 * gain * size.sqrt()
        }
    }
}
