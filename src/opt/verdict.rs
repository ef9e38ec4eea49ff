//! The tests that end a solve (`docs/notation.md`).

use super::iterate::Residuals;
use super::phase::{PhaseEnd, Solve};
use crate::linalg::norm_inf;
use crate::nlp::INFINITE_BOUND;

/// The scaled residual within the tolerance, and the original ones not far from it: at the default tolerance 1e-6 for
/// the constraints, 1e-4 for the complementarity and, relative to the gradient of the objective, 1e-3 for that of the
/// Lagrangian.
pub(super) fn is_solved(r: &Residuals, tol: f64) -> bool {
    r.scaled <= tol
        && r.primal <= 100.0 * tol
        && r.dual <= 1e5 * tol * r.gradient.max(1.0)
        && r.complementarity <= 1e4 * tol
}

/// The scaled residual is within the tolerance, and the original gradient below 1 but not below its own limit: good
/// enough where rounding allows no better, after every attempt.
pub(super) fn is_solved_within_rounding(r: &Residuals, tol: f64, objective_scale: f64) -> bool {
    let dual_limit = (tol / objective_scale).min(1.0);
    r.scaled <= tol && r.primal <= 100.0 * tol && r.dual <= dual_limit
}

/// The current point ends a phase that minimizes.
pub(super) fn ended(s: &mut Solve<'_>, solved: bool) -> Option<PhaseEnd> {
    if solved {
        return Some(PhaseEnd::Solved);
    }
    is_unbounded(s).then_some(PhaseEnd::Unbounded)
}

/// The objective is far below anything sensible, far from the start along variables without a bound on that side or (at a pole) below -1e20
/// anywhere, at a point that is feasible relative to the terms of its constraints: unbounded.
fn is_unbounded(s: &Solve<'_>) -> bool {
    const LOW: f64 = -1e12;
    const FAR: f64 = 1e6;
    const RELATIVE_VIOLATION: f64 = 1e-3;
    let (p, form) = (&s.at.current, &*s.problem.form);
    let objective = p.f / form.scale.objective;
    if objective > LOW {
        return false;
    }
    let start = form.start_size.max(1.0);
    let free = |j: usize| match p.x[j] > 0.0 {
        true => form.bounds.upper[j] >= INFINITE_BOUND,
        false => form.bounds.lower[j] <= -INFINITE_BOUND,
    };
    let far = || (0..p.x.len()).any(|j| p.x[j].abs() >= FAR * start && free(j));
    if objective > -INFINITE_BOUND && !far() {
        return false;
    }
    let Some(jacobian) = &form.jacobian else { return norm_inf(&p.c) <= 1e-6 };
    let mut terms = vec![1.0; form.m];
    for (j, x) in p.x.iter().enumerate() {
        for k in jacobian.col_ptr[j]..jacobian.col_ptr[j + 1] {
            terms[jacobian.row_idx[k]] += (p.jacobian[k] * x).abs();
        }
    }
    p.c.iter().zip(&terms).all(|(c, t)| c.abs() <= RELATIVE_VIOLATION * t)
}
