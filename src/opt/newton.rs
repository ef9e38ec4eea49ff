//! The outer iteration: inexact Newton steps on K z = -b, Armijo backtracking on the exact augmented Lagrangian along
//! (dx, dy) jointly.

use super::direction::{Direction, DirectionFailure, System};
use super::engine::{Engine, PhaseEnd, Residuals, lagrangian_gradient};
use super::valley::Valley;
use crate::linalg::norm_inf;
use crate::nlp::INFINITE_BOUND;
use crate::observe::IterationRow;
use crate::report::StopReason;

/// Armijo's slope parameter (beta of the paper is 0.1; smaller values lose fewer good steps).
pub(super) const ARMIJO: f64 = 1e-4;
/// Steps shorter than this are not tried.
const SHORTEST: f64 = 1e-10;
/// A shift beyond this is never begun with.
const LARGEST_FLOOR: f64 = 1e2;
/// Iterations that may follow the first point within tolerance while the original residuals still fall.
const POLISH: u32 = 4;

/// How a line search ended.
enum Search {
    Accepted { length: f64, trials: u32 },
    Failed { trials: u32, what: &'static str },
}

/// Progress after the tolerance has been reached.
#[derive(Debug, Default)]
struct Polish {
    steps: u32,
    last: f64,
}

impl Polish {
    /// The tolerance holds; is it worth going on for the sake of the original residuals?
    fn goes_on(&mut self, r: &Residuals, tolerance: f64) -> bool {
        let worst = r.primal.max(r.dual);
        let improves = self.steps == 0 || worst <= 0.5 * self.last;
        self.last = worst;
        self.steps += 1;
        worst > tolerance && improves && self.steps <= POLISH
    }
}

impl Engine<'_> {
    /// Iterates from `current` (evaluated) until the solve is over or no step is found.
    pub fn newton(&mut self) -> PhaseEnd {
        let mut row = self.row('.');
        let mut polish = Polish::default();
        let mut failures = 0;
        let mut valley = Valley::default();
        loop {
            let r = self.residuals(&self.current);
            self.remember_best(&r);
            self.fill_row(&mut row, &r);
            if let Err(stop) = self.emit(&row) {
                return PhaseEnd::Done(stop);
            }
            if self.is_solved(&r) {
                if !polish.goes_on(&r, self.options.tolerance) {
                    return PhaseEnd::Done(StopReason::Converged);
                }
            } else if self.is_unbounded() {
                return PhaseEnd::Done(StopReason::Unbounded);
            }
            if let Some(stop) = self.out_of_budget() {
                return PhaseEnd::Done(stop);
            }
            match self.iterate(&mut row) {
                Ok(()) => {
                    failures = 0;
                    if self.follow_valley(&mut valley) {
                        row.kind = 'v';
                    }
                }
                Err(PhaseEnd::NoStep(_)) if polish.steps > 0 && self.is_solved(&self.best_residuals) => {
                    return PhaseEnd::Done(StopReason::Converged);
                }
                // A more strongly regularized step is tried before giving up.
                Err(PhaseEnd::NoStep(_))
                    if failures < 3 && self.merit.eta1 < 1e10 && self.short_steps < 2 =>
                {
                    failures += 1;
                    let reg = &mut self.regularization;
                    reg.floor = (100.0 * reg.t).max(1e-6);
                    if let Err(e) = self.reevaluate() {
                        return PhaseEnd::NoStep(e);
                    }
                }
                Err(end) => return end,
            }
        }
    }

    /// The Jacobian of the current point, after trial points have overwritten it.
    fn reevaluate(&mut self) -> Result<(), String> {
        self.model.grad_jac(&self.current.x, &mut self.current.grad).map_err(|e| e.function)?;
        self.update_lagrangian_gradient().map_err(|e| e.function)
    }

    /// One step.
    fn iterate(&mut self, row: &mut IterationRow) -> Result<(), PhaseEnd> {
        let no_step = |what: String| PhaseEnd::NoStep(what);
        let p = &self.current;
        self.model.hess(&p.x, 1.0, &p.y).map_err(|e| no_step(e.function))?;
        self.hessian_weights();
        let direction = self.newton_direction().map_err(|e| match e {
            DirectionFailure::Stopped => {
                PhaseEnd::Done(self.out_of_budget().unwrap_or(StopReason::Interrupted))
            }
            DirectionFailure::Failed(what) => PhaseEnd::NoStep(what),
        })?;
        let (length, trials) = match self.line_search(&direction) {
            Search::Accepted { length, trials } => (length, trials),
            Search::Failed { trials, what } => {
                return Err(no_step(format!("{what} after {trials} trial points")));
            }
        };
        self.adapt_floor(length);
        let n = self.model.n;
        row.shift = self.regularization.t;
        row.dual_regularization = self.regularization.delta;
        row.step_norm = length * norm_inf(&self.step[..n]);
        row.step_length = length;
        row.trials = trials;
        row.inner_iterations = direction.inner_iterations;
        row.linear_residual = direction.linear_residual;
        row.kind = direction.kind;
        let before = norm_inf(&self.current.lag_grad);
        let lost = (0..n).all(|j| self.current.x[j] == self.trial.x[j])
            && self.current.y.iter().zip(&self.trial.y).all(|(a, b)| a == b);
        if lost {
            return Err(no_step("the step is below rounding".into()));
        }
        std::mem::swap(&mut self.current, &mut self.trial);
        self.iteration += 1;
        let after = norm_inf(&self.current.lag_grad);
        if self.model.m > 0 && (length < 0.25 || after > 10.0 * before) {
            self.improve_multipliers();
        }
        let patience = match (self.is_direct(), self.model.m == self.model.n) {
            (true, true) => 2,
            (true, false) => 5,
            (false, _) => 15,
        };
        if self.model.m > 0 && self.short_steps >= patience {
            return Err(no_step("short steps".into()));
        }
        Ok(())
    }

    /// D <- |diag H|, bounded below, in the second attempt at an unconstrained problem: a shift relative to the curvature
    /// along each variable saves badly scaled fits (FBRAIN3LS, SCOSINE). In a first attempt it finds worse local minima
    /// (EIGENBLS, MGH17LS).
    pub fn hessian_weights(&mut self) {
        const SMALLEST: f64 = 1e-8;
        let Some(h) = self.model.hessian() else { return };
        if !self.relative_shift {
            return;
        }
        for (j, w) in self.weights.iter_mut().enumerate() {
            let column = h.col_ptr[j]..h.col_ptr[j + 1];
            // The diagonal is the first entry of a column of the lower triangle, if it is there.
            let diagonal = column.clone().next().filter(|&p| h.row_idx[p] == j);
            *w = diagonal.map_or(0.0, |p| h.values[p].abs());
            *w += self.barrier_hessian.get(j).copied().unwrap_or(0.0);
        }
        let largest = norm_inf(&self.weights);
        let smallest = if largest > 0.0 { SMALLEST * largest } else { 1.0 };
        self.weights.iter_mut().for_each(|w| *w = w.max(smallest));
    }

    /// Replaces y by the least-squares multipliers where that lowers the merit function.
    fn improve_multipliers(&mut self) {
        self.trial.copy_from(&self.current);
        let before = self.merit.value(&self.current);
        self.least_squares_multipliers(f64::INFINITY);
        let after = self.merit.value(&self.current);
        if after.is_nan() || after >= before {
            std::mem::swap(&mut self.current, &mut self.trial);
        }
    }

    /// Repeatedly short steps say that the model is trusted too far: begin with a larger shift.
    fn adapt_floor(&mut self, length: f64) {
        let reg = &mut self.regularization;
        if length < 0.05 {
            self.short_steps += 1;
            if self.short_steps >= 2 {
                reg.floor = (10.0 * reg.t).clamp(1e-8, LARGEST_FLOOR);
            }
        } else {
            self.short_steps = 0;
            reg.floor = if length > 0.5 { 0.1 * reg.floor } else { reg.floor };
            if reg.floor < 1e-10 {
                reg.floor = 0.0;
            }
        }
    }

    /// Armijo backtracking. A trial point whose merit without the gradient term is already too large costs no derivatives;
    /// a trial point that cannot be evaluated shortens the step.
    fn line_search(&mut self, direction: &Direction) -> Search {
        let n = self.model.n;
        let start = self.merit.value(&self.current);
        let rounding = self.merit.rounding(&self.current, self.model.objective_scale);
        let residual = self.current.residual_squared();
        let mut length = 1.0;
        let mut trials = 0;
        let mut what = "no decrease of the merit function";
        while length >= SHORTEST {
            if self.stop.check().is_some() {
                break;
            }
            trials += 1;
            for (j, x) in self.trial.x.iter_mut().enumerate() {
                *x = self.current.x[j] + length * self.step[j];
            }
            for (i, y) in self.trial.y.iter_mut().enumerate() {
                *y = self.current.y[i] + length * self.step[n + i];
            }
            let allowed = start + ARMIJO * length * direction.slope + rounding;
            match self.try_point(allowed) {
                Ok(Some(value)) => {
                    // Within rounding of the merit function only the residual tells progress from noise.
                    let noise = value > start + ARMIJO * length * direction.slope;
                    if !noise || self.trial.residual_squared() < residual {
                        return Search::Accepted { length, trials };
                    }
                }
                Ok(None) => {}
                Err(()) => what = "no trial point could be evaluated",
            }
            length *= 0.5;
        }
        Search::Failed { trials, what }
    }

    /// Evaluates `trial` as far as needed: its merit value if not above `allowed`.
    fn try_point(&mut self, allowed: f64) -> Result<Option<f64>, ()> {
        let Self { model, bounds, trial, merit, .. } = self;
        trial.f = model.obj_cons(&trial.x, &mut trial.c).map_err(|_| ())?;
        let lower = merit.without_gradient(trial);
        if lower.is_nan() || lower > allowed {
            return Ok(None);
        }
        model.grad_jac(&trial.x, &mut trial.grad).map_err(|_| ())?;
        lagrangian_gradient(model, bounds, trial).map_err(|_| ())?;
        let value = merit.value(trial);
        Ok((value <= allowed).then_some(value))
    }

    /// The objective is far below anything sensible, far from the start along variables without a bound on that side or (at a pole) below -1e20
    /// anywhere, at a point that is feasible relative to the terms of its constraints: unbounded.
    pub fn is_unbounded(&mut self) -> bool {
        const LOW: f64 = -1e12;
        const FAR: f64 = 1e6;
        const RELATIVE_VIOLATION: f64 = 1e-3;
        let p = &self.current;
        let objective = p.f / self.model.objective_scale;
        if objective > LOW {
            return false;
        }
        let start = norm_inf(&self.model.nlp().meta().x0).max(1.0);
        let free = |j: usize| match p.x[j] > 0.0 {
            true => self.bounds.upper[j] >= INFINITE_BOUND,
            false => self.bounds.lower[j] <= -INFINITE_BOUND,
        };
        let far = || (0..p.x.len()).any(|j| p.x[j].abs() >= FAR * start && free(j));
        if objective > -INFINITE_BOUND && !far() {
            return false;
        }
        let Some(jacobian) = self.model.jacobian() else { return norm_inf(&p.c) <= 1e-6 };
        let terms = &mut self.scratch[..self.model.m];
        terms.fill(1.0);
        for (j, x) in p.x.iter().enumerate() {
            for k in jacobian.col_ptr[j]..jacobian.col_ptr[j + 1] {
                terms[jacobian.row_idx[k]] += (jacobian.values[k] * x).abs();
            }
        }
        p.c.iter().zip(terms).all(|(c, t)| c.abs() <= RELATIVE_VIOLATION * *t)
    }

    pub fn row(&self, kind: char) -> IterationRow {
        IterationRow { kind, linear_residual: f64::NAN, ..IterationRow::default() }
    }

    pub fn fill_row(&self, row: &mut IterationRow, r: &Residuals) {
        row.iteration = self.iteration;
        row.objective = self.current.f / self.model.objective_scale;
        row.primal = r.primal;
        row.dual = r.dual;
        row.scaled_residual = r.scaled;
        row.merit = self.merit.value(&self.current);
        row.penalty = (self.merit.eta1, self.merit.eta2);
    }

    /// Replaces y by the multipliers that minimize |grad f + J'y - zl + zu|, unless they are useless (Waechter and Biegler 2006, section 3.6).
    pub fn least_squares_multipliers(&mut self, largest: f64) {
        let (n, m) = (self.model.n, self.model.m);
        if m == 0 {
            return;
        }
        let p = &self.current;
        self.rhs[..n].copy_from_slice(&p.grad);
        self.bounds.add_multipliers(&p.zl, &p.zu, &mut self.rhs[..n]);
        self.rhs[..n].iter_mut().for_each(|r| *r = -*r);
        self.rhs[n..].fill(0.0);
        self.step.fill(0.0);
        self.fill_kkt(System::Multipliers);
        let mut accuracy = Self::refined();
        if !self.is_direct() {
            // An estimate only, and K of this system has no preconditioner: a few hundred products are enough.
            accuracy = crate::linsol::Accuracy { relative: 1e-4, max_iterations: (10 * (n + m)).min(300) };
        }
        let usable = self.prepare(System::Multipliers).is_ok()
            && self.solve_linear(System::Multipliers, accuracy).is_ok()
            && norm_inf(&self.step[n..]) <= largest;
        if usable {
            self.current.y.copy_from_slice(&self.step[n..]);
        } else {
            self.current.y.fill(0.0);
        }
        let _ = self.update_lagrangian_gradient();
    }
}
