//! Steps from linear systems: regularization by inertia (direct solvers) or by curvature (iterative ones), and the
//! adaptive accuracy of inexact steps.

use std::time::Instant;

use super::engine::Engine;
use super::kkt::KktOperator;
use super::merit::Slopes;
use super::options::AccuracyRule;
use crate::linalg::{dot, norm2};
use crate::linsol::{Accuracy, LinSolError, Prepared, SolveEnd, Solved};

/// Which K to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// H of the Lagrangian, regularized by t and delta.
    Optimality,
    /// H = sum c_i hess c_i (or 0: Gauss-Newton) and delta = 1: the Newton system of |c|^2 / 2.
    Feasibility { hessian: bool },
    /// H = 0, t = 1: least-squares multipliers.
    Multipliers,
}

/// An acceptable direction is in `Engine::step`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Direction {
    /// Directional derivative of the merit function.
    pub slope: f64,
    pub inner_iterations: u64,
    pub linear_residual: f64,
    /// ' ' Newton, 'r' regularized, 'g' steepest descent of the merit function.
    pub kind: char,
}

/// No direction.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum DirectionFailure {
    Stopped,
    /// In words.
    Failed(String),
}

/// Delta for rank-deficient Jacobians, relative to the scaled problem.
pub(super) const DELTA: f64 = 1e-8;
const FIRST_SHIFT: f64 = 1e-4;
const LARGEST_SHIFT: f64 = 1e30;

impl Engine<'_> {
    pub(super) fn with_operator<R>(
        &mut self,
        system: System,
        f: impl FnOnce(&mut dyn crate::linsol::LinearSolver, &mut KktOperator<'_, '_>, &[f64], &mut [f64]) -> R,
    ) -> R {
        let (t, delta) = match system {
            System::Optimality => (self.regularization.t, self.regularization.delta),
            System::Feasibility { .. } => (self.regularization.t, 1.0),
            System::Multipliers => (1.0, DELTA),
        };
        let (sigma, y) = match system {
            System::Feasibility { .. } => (0.0, &self.current.c),
            _ => (1.0, &self.current.y),
        };
        let mut operator = KktOperator {
            model: &mut self.model,
            matrix: self.kkt.as_ref(),
            x: &self.current.x,
            y,
            sigma,
            with_hessian: matches!(system, System::Optimality | System::Feasibility { hessian: true }),
            t,
            weights: &self.weights,
            barrier: if system == System::Multipliers { &[] } else { &self.barrier_hessian },
            delta,
            preconditioned: system == System::Optimality,
            scratch: &mut self.scratch2,
        };
        f(&mut *self.solver, &mut operator, &self.rhs, &mut self.step)
    }

    /// Puts H and J of the current point into the matrix. The model must hold them. (Normal equations are filled once a point.)
    pub fn fill_kkt(&mut self, system: System) {
        if matches!(system, System::Feasibility { .. }) && self.normal.is_some() {
            return;
        }
        if let Some(kkt) = &mut self.kkt {
            let hessian = matches!(system, System::Optimality | System::Feasibility { hessian: true });
            let barrier: &[f64] = if system == System::Multipliers { &[] } else { &self.barrier_hessian };
            kkt.fill(&self.model, hessian, barrier);
        }
    }

    /// Hands K with the present regularization to the linear solver.
    pub fn prepare(&mut self, system: System) -> Result<Prepared, LinSolError> {
        let (start, before) = (Instant::now(), self.model.seconds);
        let (t, delta) = match system {
            System::Optimality => (self.regularization.t, self.regularization.delta),
            System::Feasibility { .. } => (self.regularization.t, 1.0),
            System::Multipliers => (1.0, DELTA),
        };
        let stop = self.stop.clone();
        let result = if let (System::Feasibility { hessian }, Some(normal)) = (system, &mut self.normal) {
            normal.prepare(&self.model, hessian, (t, &self.weights, &self.barrier_hessian), &stop)
        } else {
            if let Some(kkt) = &mut self.kkt {
                kkt.regularize(t, &self.weights, delta);
            }
            self.with_operator(system, |solver, operator, _, _| solver.prepare(operator, &stop))
        };
        if let Some(b) = self.model.low_rank() {
            b.corrected = false;
        }
        self.linear.factorizations += 1;
        self.add_linear_time(start.elapsed(), before);
        result
    }

    /// Improves `step` towards K z = `rhs`.
    pub fn solve_linear(&mut self, system: System, accuracy: Accuracy) -> Result<Solved, LinSolError> {
        let (start, before) = (Instant::now(), self.model.seconds);
        let stop = self.stop.clone();
        let result = if let (System::Feasibility { .. }, Some(normal)) = (system, &mut self.normal) {
            normal.solve(&mut self.model, &self.rhs, &mut self.step, accuracy, &stop)
        } else {
            let first = self.with_operator(system, |solver, operator, b, z| {
                solver.solve(operator, b, z, accuracy, &stop)
            });
            let low_rank = system == System::Optimality && self.is_direct();
            if low_rank && first.is_ok() { self.add_low_rank(accuracy).and(first) } else { first }
        };
        if let Ok(solved) = &result {
            self.linear.solves += 1;
            self.linear.inner_iterations += solved.iterations as u64;
        }
        self.add_linear_time(start.elapsed(), before);
        result
    }

    /// Corrects `step`, solved with K_0, for the low-rank part of a quasi-Newton Hessian (`quasi_newton`).
    fn add_low_rank(&mut self, accuracy: Accuracy) -> Result<(), LinSolError> {
        let rows = self.model.n + self.model.m;
        let Some(b) = self.model.low_rank() else { return Ok(()) };
        if !b.corrected {
            // `rhs` and `step` are needed by the solves; the solution so far waits in `scratch`.
            let columns = b.columns();
            let mut saved = std::mem::take(&mut self.scratch);
            saved.copy_from_slice(&self.step);
            let stop = self.stop.clone();
            let rhs = std::mem::replace(&mut self.rhs, vec![0.0; rows]);
            let mut result = Ok(());
            for k in 0..columns {
                if let Some(b) = self.model.low_rank() {
                    b.right_hand_side(k, &mut self.rhs);
                }
                self.step.fill(0.0);
                let solved = self.with_operator(System::Optimality, |solver, operator, b, z| {
                    solver.solve(operator, b, z, accuracy, &stop)
                });
                if let Err(e) = solved {
                    result = Err(e);
                    break;
                }
                if let Some(b) = self.model.low_rank() {
                    b.solution(k, rows).copy_from_slice(&self.step);
                }
            }
            self.rhs = rhs;
            self.step.copy_from_slice(&saved);
            self.scratch = saved;
            result?;
            let singular = || LinSolError::Factorization { solver: "ldl", reason: "low-rank part".into() };
            self.model.low_rank().filter(|b| b.columns() == columns).ok_or_else(singular)?;
            if !self.model.low_rank().is_some_and(|b| b.finish(rows)) {
                return Err(singular());
            }
        }
        if let Some(b) = self.model.low_rank() {
            b.correct(&mut self.step);
        }
        Ok(())
    }

    /// Accuracy of one direct solve with refinement.
    pub fn refined() -> Accuracy {
        Accuracy { relative: 1e-12, max_iterations: 10 }
    }

    /// Direct solver: the smallest t (and delta, where J is rank deficient) with inertia (n, m, 0)
    /// (Waechter and Biegler 2006, algorithm IC).
    pub fn correct_inertia(&mut self) -> Result<char, DirectionFailure> {
        let (n, m) = (self.model.n, self.model.m);
        self.regularization.t = self.regularization.floor;
        let deficient = m > 0 && (self.regularization.deficient || m > n);
        self.regularization.delta = self.regularization.penalty.max(if deficient { DELTA } else { 0.0 });
        loop {
            if self.stop.check().is_some() {
                return Err(DirectionFailure::Stopped);
            }
            let prepared = match self.prepare(System::Optimality) {
                Ok(p) => Some(p),
                Err(LinSolError::Stopped) => return Err(DirectionFailure::Stopped),
                Err(LinSolError::Factorization { .. }) => None,
                Err(e) => return Err(DirectionFailure::Failed(e.to_string())),
            };
            let reg = &mut self.regularization;
            let inertia = prepared.and_then(|p| p.inertia);
            if inertia.is_some_and(|i| i.positive == n && i.negative == m) {
                if reg.t > 0.0 {
                    reg.last_t = reg.t;
                }
                return Ok(if reg.t > 0.0 { 'r' } else { ' ' });
            }
            let deficient = match (inertia, prepared) {
                (Some(i), Some(p)) => i.zero > 0 || i.negative < m || p.perturbed_pivots > 0,
                _ => true,
            };
            if deficient && m > 0 && reg.delta == 0.0 {
                reg.delta = DELTA;
                reg.deficient = true;
                continue;
            }
            reg.t = match (reg.t, reg.last_t) {
                (0.0, 0.0) => FIRST_SHIFT,
                (0.0, last) => (last / 3.0).max(1e-20),
                (t, 0.0) => 100.0 * t,
                (t, _) => 8.0 * t,
            };
            if reg.t > LARGEST_SHIFT {
                return Err(DirectionFailure::Failed(format!(
                    "no shift of the Hessian up to {LARGEST_SHIFT:.0e} gives the KKT matrix the right inertia"
                )));
            }
        }
    }

    /// Computes grad_x A and grad_y A term by term at the current point; H must be up to date.
    pub fn merit_terms(&mut self) -> Result<(), DirectionFailure> {
        let failed =
            |e: super::model::BadEvaluation| DirectionFailure::Failed(format!("{} in a product", e.function));
        let p = &self.current;
        let terms = &mut self.terms;
        self.model.jac_t_mul(&p.x, &p.c, &mut terms.jt_c).map_err(failed)?;
        if self.merit.eta2 > 0.0 {
            self.model.hess_mul(&p.x, 1.0, &p.y, &p.lag_grad, &mut terms.h_g).map_err(failed)?;
            self.model.jac_mul(&p.x, &p.lag_grad, &mut terms.j_g).map_err(failed)?;
        }
        Ok(())
    }

    /// Slope terms of the direction in `step`.
    pub fn slopes(&self) -> Slopes {
        let (dx, dy) = self.step.split_at(self.model.n);
        Slopes {
            s0: dot(&self.current.lag_grad, dx) + dot(&self.current.c, dy),
            s1: dot(&self.terms.jt_c, dx),
            s2: if self.merit.eta2 > 0.0 { dot(&self.terms.h_g, dx) + dot(&self.terms.j_g, dy) } else { 0.0 },
        }
    }

    /// A direction along which the merit function descends, by the present linear solver.
    pub fn newton_direction(&mut self) -> Result<Direction, DirectionFailure> {
        let n = self.model.n;
        for (r, g) in self.rhs[..n].iter_mut().zip(&self.current.lag_grad) {
            *r = -g;
        }
        for (r, c) in self.rhs[n..].iter_mut().zip(&self.current.c) {
            *r = -c;
        }
        self.fill_kkt(System::Optimality);
        self.merit_terms()?;
        self.step.fill(0.0);
        if self.is_direct() { self.direct_direction() } else { self.inexact_direction() }
    }

    fn direct_direction(&mut self) -> Result<Direction, DirectionFailure> {
        let residual_squared = self.current.residual_squared();
        let mut inner = 0;
        for _ in 0..4 {
            let kind = self.correct_inertia()?;
            self.step.fill(0.0);
            let solved = match self.solve_linear(System::Optimality, Self::refined()) {
                Ok(s) => s,
                Err(LinSolError::Stopped) => return Err(DirectionFailure::Stopped),
                Err(e) => return Err(DirectionFailure::Failed(e.to_string())),
            };
            inner += solved.iterations as u64;
            let slopes = self.slopes();
            if self.step.iter().all(|v| v.is_finite())
                && solved.relative_residual <= 1e-2
                && self.merit.adapt(&slopes, residual_squared)
            {
                let slope = self.merit.slope(&slopes);
                return Ok(Direction {
                    slope,
                    inner_iterations: inner,
                    linear_residual: solved.relative_residual,
                    kind,
                });
            }
            // The system is nearly singular or the slope is spoilt by rounding: regularize more.
            let reg = &mut self.regularization;
            reg.deficient |= self.model.m > 0;
            reg.floor = (10.0 * reg.t).max(1e-8);
        }
        Ok(self.steepest_descent(inner))
    }

    /// Iterative solvers: solve loosely, test curvature and descent, tighten and continue from the same z.
    fn inexact_direction(&mut self) -> Result<Direction, DirectionFailure> {
        let residual_squared = self.current.residual_squared();
        let reg = &mut self.regularization;
        reg.t = if reg.floor > 0.0 { reg.floor } else { 0.0 };
        reg.delta =
            if self.model.m > self.model.n || (reg.deficient && self.model.m > 0) { DELTA } else { 0.0 };
        let mut kind = if reg.t > 0.0 { 'r' } else { ' ' };
        let mut relative = self.forcing(residual_squared.sqrt());
        let mut budget = self.options.max_inner_iterations;
        let mut inner = 0;
        let prepare = |engine: &mut Self| match engine.prepare(System::Optimality) {
            Ok(_) => Ok(()),
            Err(LinSolError::Stopped) => Err(DirectionFailure::Stopped),
            Err(e) => Err(DirectionFailure::Failed(e.to_string())),
        };
        prepare(self)?;
        loop {
            let accuracy = Accuracy { relative, max_iterations: budget };
            let solved = match self.solve_linear(System::Optimality, accuracy) {
                Ok(s) => s,
                Err(LinSolError::Stopped) => return Err(DirectionFailure::Stopped),
                Err(e) => return Err(DirectionFailure::Failed(e.to_string())),
            };
            if solved.end == SolveEnd::Stopped {
                return Err(DirectionFailure::Stopped);
            }
            inner += solved.iterations as u64;
            budget = budget.saturating_sub(solved.iterations.max(1));
            let exhausted = budget == 0 || solved.end == SolveEnd::Stagnated || relative <= 1e-14;
            if !self.curvature_is_positive() {
                let reg = &mut self.regularization;
                reg.t = if reg.t == 0.0 { (reg.last_t / 3.0).max(FIRST_SHIFT) } else { 8.0 * reg.t };
                reg.last_t = reg.t;
                kind = 'r';
                if reg.t > LARGEST_SHIFT || budget == 0 {
                    return Ok(self.steepest_descent(inner));
                }
                prepare(self)?;
                continue;
            }
            let slopes = self.slopes();
            let descends = match self.options.accuracy {
                AccuracyRule::Practical => self.merit.adapt(&slopes, residual_squared),
                AccuracyRule::Certified => self.adapt_as_in_the_paper(&slopes, residual_squared),
            };
            if descends {
                return Ok(Direction {
                    slope: self.merit.slope(&slopes),
                    inner_iterations: inner,
                    linear_residual: solved.relative_residual,
                    kind,
                });
            }
            if exhausted {
                return Ok(self.steepest_descent(inner));
            }
            relative = (relative.min(solved.relative_residual) * 0.1).max(1e-15);
        }
    }

    /// dx'B dx >= kappa |dx_t|^2 with |dx_t|^2 bounded through |J dx| (Byrd, Curtis, Nocedal 2010, test for the tangential
    /// component): negative curvature is harmless while dx lies mostly in the range of J'.
    pub fn curvature_is_positive(&mut self) -> bool {
        const KAPPA: f64 = 1e-8;
        let n = self.model.n;
        let (dx, _) = self.step.split_at(n);
        let size = dot(dx, dx);
        let (sx, sy) = self.scratch.split_at_mut(n);
        let p = &self.current;
        if self.model.hess_mul(&p.x, 1.0, &p.y, dx, sx).is_err() {
            return true; // the slope test decides
        }
        let shift: f64 = dx.iter().zip(&self.weights).map(|(d, w)| w * d * d).sum();
        let barrier: f64 = dx.iter().zip(&self.barrier_hessian).map(|(d, s)| s * d * d).sum();
        let curvature = dot(dx, sx) + barrier + self.regularization.t * shift;
        if curvature >= KAPPA * size {
            return true;
        }
        if self.model.m == 0 || self.model.jac_mul(&p.x, dx, sy).is_err() {
            return false;
        }
        // |J' J dx| / |J dx|^2 ... |dx_n| <= |J dx| / sigma_min; the largest observed |J'u|/|u| bounds |J|, not 1/sigma_min.
        let normal = norm2(sy);
        self.model.jac_t_mul(&p.x, sy, sx).is_ok() && {
            let gain = norm2(sx) / normal.max(f64::MIN_POSITIVE);
            normal >= 0.5 * gain * size.sqrt()
        }
    }

    /// Relative accuracy asked of the first inner solve.
    fn forcing(&mut self, residual: f64) -> f64 {
        match self.options.accuracy {
            // Eisenstat and Walker 1996: kappa_k = min(kappa_0, |b|^p) gives order 1 + p.
            AccuracyRule::Practical => residual.sqrt().clamp(1e-12, 0.1),
            AccuracyRule::Certified => self.certified_accuracy(residual),
        }
    }

    /// z = -grad A: always descends. The way out when no linear solver helps.
    fn steepest_descent(&mut self, inner_iterations: u64) -> Direction {
        let n = self.model.n;
        let Self { step, merit, current, terms, .. } = self;
        let with_dual = merit.eta2 > 0.0;
        for (j, d) in step[..n].iter_mut().enumerate() {
            let dual = if with_dual { merit.eta2 * terms.h_g[j] } else { 0.0 };
            *d = -(current.lag_grad[j] + merit.eta1 * terms.jt_c[j] + dual);
        }
        for (i, d) in step[n..].iter_mut().enumerate() {
            let dual = if with_dual { merit.eta2 * terms.j_g[i] } else { 0.0 };
            *d = -(current.c[i] + dual);
        }
        let slope = -dot(step, step);
        Direction { slope, inner_iterations, linear_residual: f64::NAN, kind: 'g' }
    }
}
