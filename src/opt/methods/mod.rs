//! Six methods on one loop: Newton on the exact augmented Lagrangian, the interior point, the predictor-corrector for convex quadratic programs,
//! the augmented Lagrangian, the least violation, and active-set steps from a warm start.

mod active_set;
mod augmented;
mod barrier;
mod escape;
mod interior;
mod least_violation;
mod newton;
mod predictor_corrector;
mod valley;

pub(super) use active_set::ActiveSet;
pub(super) use augmented::AugmentedLagrangian;
pub(super) use interior::InteriorPoint;
pub(super) use least_violation::{Goal, LeastViolation};
pub(super) use newton::Newton;
pub(super) use predictor_corrector::PredictorCorrector;

use super::iterate::{Point, Residuals};
use super::kkt::System;
use super::phase::{NoStep, PhaseEnd, Solve, Taken, linear, over};
use super::problem::Form;
use super::verdict::{self, Confirmation};
use crate::linalg::norm_inf;
use crate::observe::IterationRow;

/// How a method differs from its default in an attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct With {
    /// The shift of the Hessian is relative to the curvature along each variable.
    pub relative_shift: bool,
    /// A Jacobian that was rank deficient once counts as such from then on.
    pub keep_delta: bool,
}

/// An iteration that `run` drives. The current point is evaluated throughout.
pub(super) trait Method {
    /// First multipliers, barrier parameter, penalties.
    fn begin(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd>;
    /// Does the current point end the phase?
    fn test(&mut self, s: &mut Solve<'_>, r: &Residuals, solved: bool) -> Option<PhaseEnd>;
    /// A point close to a solution needs a second look.
    fn minimizes(&self) -> bool {
        true
    }
    /// The sum of the complementarity products is all that is missing: false if nothing can be done.
    fn tighten(&mut self, s: &mut Solve<'_>) -> bool {
        let _ = s;
        false
    }
    /// The objective's scale has grown by `ratio`, and all that is scaled with it.
    fn rescaled(&mut self, s: &mut Solve<'_>, ratio: f64) {
        let _ = (s, ratio);
    }
    /// Before a step: parameters that depend on the current point.
    fn update(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let _ = s;
        Ok(())
    }
    /// Leaves an accepted point, evaluated, in `s.at.trial`.
    fn step(&mut self, s: &mut Solve<'_>) -> Result<Taken, PhaseEnd>;
    /// After the exchange of the points; `NoStep`: tired of short steps.
    fn accepted(&mut self, s: &mut Solve<'_>, taken: &mut Taken) -> Result<(), PhaseEnd> {
        let _ = (s, taken);
        Ok(())
    }
    /// No step: another way to go on from the current point, or the end of the phase.
    fn recover(&mut self, s: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd>;
    /// The phase is over, however it ended.
    fn end(&mut self, s: &mut Solve<'_>) {
        let _ = s;
    }
    /// The letter of its rows until a step says otherwise.
    fn letter(&self) -> char {
        '.'
    }
    /// Merit, penalties, barrier parameter.
    fn fill_row(&self, form: &Form, at: &Point, row: &mut IterationRow);
}

/// Iterates from the current point, which is evaluated, until the phase is over.
pub(super) fn run(method: &mut dyn Method, s: &mut Solve<'_>) -> PhaseEnd {
    let end = match method.begin(s) {
        Ok(()) => iterate(method, s),
        Err(end) => end,
    };
    method.end(s);
    end
}

/// Goes on with a method that was stopped by the budget.
pub(super) fn resume(method: &mut dyn Method, s: &mut Solve<'_>) -> PhaseEnd {
    let end = iterate(method, s);
    method.end(s);
    end
}

fn iterate(method: &mut dyn Method, s: &mut Solve<'_>) -> PhaseEnd {
    let blank = IterationRow { kind: method.letter(), linear_residual: f64::NAN, ..IterationRow::default() };
    let mut row = blank.clone();
    loop {
        let r = Residuals::of(s.problem.form, &s.at.current, 0.0);
        let Some(solved) = is_solved(method, s, &r) else { continue };
        let form = &*s.problem.form;
        let feasible = norm_inf(&s.at.current.c) <= s.options.tolerance;
        s.budget.note(r.scaled, if feasible { s.at.current.f / form.scale.objective } else { f64::INFINITY });
        s.judge.note(&s.at.current, r.scaled);
        s.at.keep_best(&r, solved);
        row.iteration = s.budget.iteration;
        row.objective = s.at.current.f / form.scale.objective;
        (row.primal, row.dual, row.scaled_residual) = (r.primal, r.dual, r.scaled);
        method.fill_row(form, &s.at.current, &mut row);
        if let Err(over) = s.watch.iteration(&row) {
            return over.into();
        }
        if let Some(end) = method.test(s, &r, solved).or_else(|| over(s).map(PhaseEnd::from)) {
            return end;
        }
        if let Err(end) = method.update(s) {
            return end;
        }
        let outcome = method.step(s).and_then(|mut taken| {
            s.at.accept();
            s.budget.iteration += 1;
            let accepted = method.accepted(s, &mut taken);
            row = row_of(&taken);
            accepted
        });
        s.budget.spend(s.kkt.work, s.kkt.unit);
        match outcome {
            Ok(()) => {}
            Err(PhaseEnd::NoStep(why)) => {
                if let Err(end) = method.recover(s, why) {
                    return end;
                }
                row = blank.clone();
            }
            Err(end) => return end,
        }
    }
}

/// The current point is a solution; `None`: it was a saddle and has been left.
fn is_solved(method: &mut dyn Method, s: &mut Solve<'_>, r: &Residuals) -> Option<bool> {
    if !verdict::is_close(s, r) {
        if method.minimizes() && verdict::only_gap_is_large(s, r) {
            method.tighten(s);
        }
        return Some(false);
    }
    if !method.minimizes() {
        return Some(true);
    }
    let Point { grad, lag_grad, .. } = &s.at.current;
    if s.options.scaling
        && let Some(ratio) = s.problem.form.revise_objective_scale(grad, lag_grad)
    {
        s.at.rescale(ratio);
        s.watch.note(format_args!("the objective is scaled anew, by {ratio:.1e} more"));
        method.rescaled(s, ratio);
        return None;
    }
    s.judge.saddle = false;
    match verdict::confirm(s) {
        Confirmation::Solved => Some(true),
        Confirmation::NotYet => Some(false),
        Confirmation::Saddle if escape::leave(s) => match method.begin(s) {
            Ok(()) => None,
            Err(_) => Some(false),
        },
        Confirmation::Saddle => {
            s.judge.saddle = true;
            Some(true)
        }
    }
}

/// Smallest weight of a relative shift, relative to the largest.
const LEAST_WEIGHT: f64 = 1e-8;

fn row_of(t: &Taken) -> IterationRow {
    IterationRow {
        shift: t.shift,
        dual_regularization: t.dual,
        step_norm: t.norm,
        step_length: t.length,
        trials: t.trials,
        inner_iterations: t.inner_iterations,
        linear_residual: t.linear_residual,
        kind: t.kind,
        ..IterationRow::default()
    }
}

/// H and K at the current point; D relative to the curvature where that is wanted. S is up to date.
fn fill_optimality(s: &mut Solve<'_>, relative_shift: bool) -> Result<(), PhaseEnd> {
    s.hessian.observe(&mut s.problem, &s.at.current, super::hessian::Of::Lagrangian)?;
    let (kkt, e) = linear(s);
    kkt.fill(&e, System::Optimality);
    if relative_shift {
        kkt.weigh_by_curvature(LEAST_WEIGHT);
    }
    Ok(())
}
