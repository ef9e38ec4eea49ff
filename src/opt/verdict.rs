//! All tests that end a solve, on the user's own problem (`docs/notation.md` states each; a test compares the constants).
//!
//! P: largest violation, C and Gap: largest and sum of |multiplier x distance to its bound|, of the original problem. tau: tolerance.

use super::budget::Over;
use super::hessian::Of;
use super::iterate::{Point, Residuals};
use super::kkt::{REFINED, System};
use super::options::Options;
use super::phase::{PhaseEnd, Solve, linear};
use super::problem::{Bounds, Form, OriginalPoint};
pub(super) use super::second_look::Confirmation;
use crate::linalg::{dot, norm_inf};
use crate::nlp::INFINITE_BOUND;
use crate::report::{PointKind, Remark, SecondOrder, StopReason};

/// P <= PRIMAL tau at a solved point.
pub(super) const PRIMAL: f64 = 100.0;
/// D <= DUAL tau max(1, |grad f|), D = |grad f + J'y + z|.
pub(super) const DUAL: f64 = 1e5;
/// C <= COMPLEMENTARITY tau (1 + |f|).
pub(super) const COMPLEMENTARITY: f64 = 1e4;
/// Gap <= GAP tau (1 + |f|).
pub(super) const GAP: f64 = 100.0;
/// Roundings of a function: this many units of the size of its terms.
pub(super) const ROUNDING: f64 = 10.0 * f64::EPSILON;
/// A point is refused so often for a decrease that is predicted, but does not come.
const MOST_REFUSALS: u32 = 20;
/// A Newton step longer than this, relative to 1 + |x_j|, from a solved point: a flat valley.
const FLAT: f64 = 0.1;
/// A term of J'y this much larger than grad f cancels against others.
const CANCELLATION: f64 = 1e3;
/// Negative curvature counts from this share of the largest entry of H on.
const NEGATIVE: f64 = 1e-7;
/// Curvature below this share of the largest entry of H, or below LEAST_SHIFT, shows no minimum.
const LEAST_CURVATURE: f64 = 1e-6;
const LEAST_SHIFT: f64 = 1e-7;
/// Infeasible by a certificate: how far a variable without a bound may go.
const REACH: f64 = 1e6;
/// Unbounded: the objective, feasible to within rounding, is below -LOW, and each of three points ten times below the last, or it goes
/// on falling along a ray from the start.
const LOW: f64 = 1e12;
const RAY: [f64; 3] = [1.0, 1e2, 1e4];

/// The residuals of the standard problem within tau, those of the original one not far from it. Sets `judge.original`.
pub(super) fn is_close(s: &mut Solve<'_>, r: &Residuals) -> bool {
    let tol = s.options.tolerance;
    r.scaled <= tol && {
        measure(s, Which::Current);
        let f = s.at.current.f / s.problem.form.scale.objective;
        let o = &s.judge.original;
        o.primal <= PRIMAL * tol && o.dual <= DUAL * tol * r.gradient.max(1.0) && products_vanish(o, f, tol)
    }
}

fn products_vanish(o: &OriginalPoint, f: f64, tol: f64) -> bool {
    let size = tol * (1.0 + f.abs());
    o.complementarity <= COMPLEMENTARITY * size && o.gap <= GAP * size
}

/// Only the sum of products is too large: a smaller barrier parameter mends that.
pub(super) fn only_gap_is_large(s: &Solve<'_>, r: &Residuals) -> bool {
    let tol = s.options.tolerance;
    let o = &s.judge.original;
    let f = s.at.current.f / s.problem.form.scale.objective;
    r.scaled <= tol && o.primal <= PRIMAL * tol && o.gap > GAP * tol * (1.0 + f.abs())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Current,
    Best,
}

/// The point as the user's, into `judge.original`.
pub(super) fn measure(s: &mut Solve<'_>, which: Which) {
    let p = if which == Which::Current { &s.at.current } else { &s.at.best };
    s.problem.original(&p.scaled(), &mut s.judge.original);
}

/// Does a Newton step from the current point, active bounds held by S, predict a decrease of more than tau (1 + |f|)? Is K positive on
/// the null space of J? From the last factorization if that was of K without a shift, else from a new one. Iterative solvers are not asked.
pub(super) fn confirm(s: &mut Solve<'_>) -> Confirmation {
    s.judge.flat = false;
    if !s.kkt.is_direct() {
        return Confirmation::Solved;
    }
    if s.hessian.is_learned() {
        return super::second_look::confirm_learned(s);
    }
    if !s.kkt.is_usable() {
        match factor_at_current(s) {
            Some(Sign::Positive) => {}
            Some(Sign::Negative) => return Confirmation::Saddle,
            // Nearly flat along some direction: a small shift gives a step that does not overstate what it may bring.
            Some(Sign::Singular) => {
                if !shift_by_curvature(s) {
                    return Confirmation::Solved;
                }
            }
            None => return Confirmation::Solved,
        }
    }
    let n = s.problem.form.n;
    let (kkt, mut e) = linear(s);
    kkt.rhs[n..].fill(0.0);
    for (r, g) in kkt.rhs[..n].iter_mut().zip(&e.at.lag_grad) {
        *r = -g;
    }
    kkt.step.fill(0.0);
    if kkt.solve(&mut e, REFINED).is_err() {
        return Confirmation::Solved;
    }
    let (g, dx) = (&s.at.current.lag_grad, &s.kkt.step[..n]);
    let decrease = 0.5 * dot(g, dx).abs();
    let scale = s.problem.form.scale.objective;
    s.judge.flat = dx.iter().zip(&s.at.current.x).any(|(d, x)| d.abs() > FLAT * (1.0 + x.abs()));
    let worth = s.options.tolerance * (scale + s.at.current.f.abs());
    if decrease <= worth {
        s.judge.refusals = 0;
        return Confirmation::Solved;
    }
    // Promises that are not kept: a curved valley, so flat that the objective hardly falls.
    let f = s.at.current.f;
    if s.judge.refusals == 0 || s.judge.refused_at - f >= worth {
        (s.judge.refusals, s.judge.refused_at) = (0, f);
    }
    s.judge.refusals += 1;
    if s.judge.refusals > MOST_REFUSALS {
        s.judge.flat = true;
        return Confirmation::Solved;
    }
    Confirmation::NotYet
}

/// The sign of H on the null space of J.
enum Sign {
    Positive,
    Singular,
    Negative,
}

/// K at the current point without a shift; `None` where it cannot be had.
fn factor_at_current(s: &mut Solve<'_>) -> Option<Sign> {
    s.hessian.observe(&mut s.problem, &s.at.current, Of::Lagrangian).ok()?;
    let (n, m) = (s.problem.form.n, s.problem.form.m);
    let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
    if bounds.count() > 0 {
        bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut s.kkt.barrier);
    }
    let (kkt, mut e) = linear(s);
    kkt.fill(&e, System::Optimality);
    let mut delta = if m > n || kkt.memory.deficient { super::kkt::DELTA } else { 0.0 };
    for _ in 0..2 {
        if let Ok(prepared) = kkt.factor(&mut e, 0.0, delta)
            && let Some(i) = prepared.inertia
        {
            if i.positive == n && i.negative == m {
                return Some(Sign::Positive);
            }
            if i.zero == 0 && i.negative > m && prepared.perturbed_pivots == 0 {
                return Some(Sign::Negative);
            }
        }
        if m == 0 || delta > 0.0 {
            break;
        }
        delta = super::kkt::DELTA;
    }
    Some(Sign::Singular)
}

/// K with the smallest of a few shifts relative to the curvature along each variable; false: none has the right inertia.
fn shift_by_curvature(s: &mut Solve<'_>) -> bool {
    const SHIFTS: [f64; 3] = [1e-6, 1e-4, 1e-2];
    let (n, m) = (s.problem.form.n, s.problem.form.m);
    let (kkt, mut e) = linear(s);
    let delta = kkt.delta;
    kkt.weigh_by_curvature(f64::MIN_POSITIVE);
    let found = SHIFTS.iter().any(|&t| {
        kkt.factor(&mut e, t, delta)
            .is_ok_and(|p| p.inertia.is_some_and(|i| i.positive == n && i.negative == m))
    });
    kkt.weights.fill(1.0);
    found
}

/// A direction of clearly negative curvature into `kkt.step`, descending on the Lagrangian; its curvature.
pub(super) fn negative_curvature(s: &mut Solve<'_>) -> Option<f64> {
    if s.hessian.is_learned() {
        return super::second_look::negative_curvature(s);
    }
    let n = s.problem.form.n;
    let gradient = s.at.current.lag_grad.clone();
    let (kkt, mut e) = linear(s);
    kkt.smallest_shift(&mut e).ok()?;
    if !kkt.negative_curvature(&mut e, &gradient) {
        return None;
    }
    let curvature = kkt.step_curvature(&mut e)?;
    let dx = &kkt.step[..n];
    (curvature < -NEGATIVE * kkt.largest_hessian_entry() * dot(dx, dx)).then_some(curvature)
}

/// The current point ends a phase that minimizes.
pub(super) fn ended(s: &mut Solve<'_>, solved: bool) -> Option<PhaseEnd> {
    if solved {
        return Some(PhaseEnd::Solved);
    }
    is_unbounded(s).then_some(PhaseEnd::Unbounded)
}

/// The objective falls without limit: see the constants.
fn is_unbounded(s: &mut Solve<'_>) -> bool {
    let scale = s.problem.form.scale.objective;
    let f = s.at.current.f / scale;
    if f > -LOW || !is_feasible(s.problem.form, &s.at.current, s.options, ROUNDING) {
        return false;
    }
    let size = norm_inf(&s.at.current.x);
    let judge = &mut *s.judge;
    let farther = size >= 2.0 * judge.fallen_at || f < -INFINITE_BOUND;
    if f < 10.0 * judge.fallen_to.min(-LOW / 10.0) && farther {
        (judge.fallen_to, judge.fallen_at) = (f, size);
        judge.falls += 1;
    }
    judge.falls >= 3 || falls_along_a_ray(s)
}

/// The rows are linear and y'c is at least L > 0 wherever the bounds hold: some row is violated by L / sum |y_i| or more (Farkas). Without
/// a bound x_j counts as within REACH max(1, |x_j|).
pub(super) fn is_contradiction(s: &Solve<'_>) -> bool {
    let (form, p) = (&*s.problem.form, &s.at.current);
    let sizes = p.y.iter().zip(&form.scale.constraints);
    let size: f64 = sizes.map(|(y, scale)| y.abs() * scale).sum();
    let least = least_combination(&form.bounds, p);
    form.quadratic && least > PRIMAL * s.options.tolerance * size && size > 0.0
}

/// min y'c(x) within the bounds; c is linear.
fn least_combination(bounds: &Bounds, p: &Point) -> f64 {
    let mut least = dot(&p.y, &p.c);
    for (j, &x) in p.x.iter().enumerate() {
        let z = if p.zl.is_empty() { 0.0 } else { p.zl[j] - p.zu[j] };
        // (J'y)_j = g - grad f + zl - zu.
        let slope = p.lag_grad[j] - p.grad[j] + z;
        let bound = if slope > 0.0 { bounds.lower[j] } else { bounds.upper[j] };
        let way = if bound.abs() < INFINITE_BOUND { (bound - x).abs() } else { REACH * x.abs().max(1.0) };
        least -= slope.abs() * way;
    }
    least
}

/// The objective is so low, so far from the start, at a point near the constraints relative to its size, that it may be unbounded; feasible
/// points there would tell.
pub(super) fn may_be_unbounded(s: &Solve<'_>) -> bool {
    const NEAR: f64 = 1e-2;
    let f = s.at.current.f / s.problem.form.scale.objective;
    f < 10.0 * s.judge.fallen_to.min(-LOW / 10.0)
        && norm_inf(&s.at.current.x) >= 1e3 * s.problem.form.start_size.max(1.0)
        && is_feasible(s.problem.form, &s.at.current, s.options, NEAR)
}

/// P_i <= max(100 tau, rounding x the size of the terms of row i).
fn is_feasible(form: &Form, p: &Point, options: &Options, rounding: f64) -> bool {
    let small = |i: usize, size: f64| {
        p.c[i].abs() / form.scale.constraints[i] <= (PRIMAL * options.tolerance).max(rounding * size)
    };
    let sizes = form.row_terms(&p.x, &p.jacobian);
    sizes.iter().enumerate().all(|(i, &size)| small(i, size))
}

/// f falls along x - x0 by more and more, within the bounds, and the constraints hold.
fn falls_along_a_ray(s: &mut Solve<'_>) -> bool {
    let far = s.at.current.x.iter().fold(0.0f64, |a, x| a.max(x.abs()));
    if far <= 10.0 * s.problem.form.start_size.max(1.0) {
        return false;
    }
    let p = &s.at.current;
    let mut last = p.f;
    let mut out = s.at.trial.clone();
    for t in RAY {
        for (o, (x, x0)) in out.x.iter_mut().zip(p.x.iter().zip(&s.problem.form.start)) {
            *o = x + t * (x - x0);
        }
        s.problem.form.bounds.clamp(&mut out.x);
        match out.functions(&mut s.problem) {
            Ok(()) => {}
            // Beyond the largest number, at last.
            Err(_) => return t > RAY[0] && s.problem.panicked.is_none(),
        }
        out.jacobian.copy_from_slice(&s.at.current.jacobian);
        let falls = out.f < last + 0.1 * (1.0 + t).log10() * last;
        if !falls || !is_feasible(s.problem.form, &out, s.options, 1e-8) {
            return false;
        }
        last = out.f;
    }
    true
}

/// Stop and kind of the point, read from one end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub stop: StopReason,
    pub point: PointKind,
    /// Which point is the answer.
    pub which: Which,
}

/// The start point could not be evaluated.
pub(super) fn at_start(s: &mut Solve<'_>, function: String) -> Verdict {
    measure(s, Which::Current);
    let stop = match &s.problem.panicked {
        Some(what) => StopReason::EvaluationPanicked { what: what.clone() },
        None => StopReason::StartNotFinite { function },
    };
    Verdict { stop, point: PointKind::Infeasible, which: Which::Current }
}

/// Without objective, or a constant one, only equations, more than unknowns: a fit.
fn is_fit(s: &Solve<'_>) -> bool {
    let form = &*s.problem.form;
    form.m > form.n && form.slacked.is_empty() && norm_inf(&s.at.current.grad) == 0.0
}

/// The verdict on the end of the last phase, on the original problem.
pub(super) fn decide(s: &mut Solve<'_>, end: PhaseEnd) -> Verdict {
    let known = !s.at.best_residuals.scaled.is_nan();
    let at_current =
        matches!(end, PhaseEnd::Stationary | PhaseEnd::Infeasible | PhaseEnd::Unbounded) || !known;
    let which = if at_current { Which::Current } else { Which::Best };
    measure(s, which);
    let feasible = s.judge.original.primal <= PRIMAL * s.options.tolerance;
    let kind = if feasible { PointKind::Feasible } else { PointKind::Infeasible };
    let gave_up = matches!(end, PhaseEnd::NoStep(_) | PhaseEnd::Over(Over::Iterations));
    let unfinished = |stop| Verdict { stop, point: kind, which };
    let rounded =
        Verdict { stop: StopReason::ConvergedToRounding, point: PointKind::Kkt, which: Which::Best };
    match end {
        _ if gave_up && known && is_rounded(s) => rounded,
        PhaseEnd::Solved | PhaseEnd::Feasible => {
            Verdict { stop: StopReason::Converged, point: PointKind::Kkt, which }
        }
        PhaseEnd::Stationary => {
            let stop = if is_fit(s) { StopReason::LeastSquares } else { StopReason::LocallyInfeasible };
            Verdict { stop, point: PointKind::LeastSquares, which }
        }
        PhaseEnd::Infeasible => {
            let what = "no point is feasible: a combination of the constraints contradicts the bounds".into();
            Verdict { stop: StopReason::Infeasible { what }, point: PointKind::Infeasible, which }
        }
        PhaseEnd::Unbounded => Verdict { stop: StopReason::Unbounded, point: PointKind::Feasible, which },
        PhaseEnd::NoStep(why) => unfinished(StopReason::Stalled { what: why.what.into_owned() }),
        PhaseEnd::Over(Over::Iterations) if s.budget.iteration < s.budget.max_iterations => {
            unfinished(StopReason::Stalled { what: "progress is too slow".into() })
        }
        PhaseEnd::Over(Over::Iterations) => unfinished(StopReason::MaxIterations),
        PhaseEnd::Over(Over::Interrupted) => unfinished(StopReason::Interrupted),
        PhaseEnd::Over(Over::TimeLimit) => unfinished(StopReason::TimeLimit),
        PhaseEnd::Over(Over::Evaluations) => unfinished(StopReason::MaxEvaluations),
        PhaseEnd::Over(Over::Panicked(what)) => unfinished(StopReason::EvaluationPanicked { what }),
    }
}

/// The best point is as good as rounding allows: every residual within tau or within the rounding of its terms, and no step is left.
fn is_rounded(s: &mut Solve<'_>) -> bool {
    let tol = s.options.tolerance;
    let r = s.at.best_residuals;
    s.at.current.copy_from(&s.at.best);
    if s.at.current.derivatives(&mut s.problem).is_err() {
        return false;
    }
    let close = r.scaled <= tol && s.judge.original.dual <= DUAL * tol * r.gradient.max(1.0);
    let (form, p) = (&*s.problem.form, &s.at.current);
    let o = &s.judge.original;
    let primal = is_primal_rounded(form, p, tol);
    let products = products_vanish(o, p.f / form.scale.objective, tol);
    let dual = close || is_dual_rounded(s);
    primal && products && dual && confirm_best(s)
}

/// Each scaled row within tau, or its violation within the rounding of its terms.
fn is_primal_rounded(form: &Form, p: &Point, tol: f64) -> bool {
    let sizes = form.row_terms(&p.x, &p.jacobian);
    p.c.iter().zip(&form.scale.constraints).zip(&sizes).all(|((c, scale), size)| {
        (c.abs() <= tol && c.abs() / scale <= PRIMAL * tol) || c.abs() / scale <= ROUNDING * size
    })
}

/// |g_j| within the rounding of its terms, |grad f|_j + sum_i |J_ij y_i| + z_j.
fn is_dual_rounded(s: &Solve<'_>) -> bool {
    let (form, p) = (&*s.problem.form, &s.at.current);
    let terms = form.column_terms(&p.jacobian, &p.y);
    (0..form.n).all(|j| {
        let z = if p.zl.is_empty() { 0.0 } else { p.zl[j] + p.zu[j] };
        p.lag_grad[j].abs() <= s.options.tolerance.max(100.0 * ROUNDING * (p.grad[j].abs() + terms[j] + z))
    })
}

/// The decrease that a step from the best point predicts is within tau, or the step within the rounding of x.
fn confirm_best(s: &mut Solve<'_>) -> bool {
    s.kkt.forget();
    if confirm(s) == Confirmation::Solved {
        return true;
    }
    let (x, dx) = (&s.at.current.x, &s.kkt.step);
    x.iter().zip(dx).all(|(x, d)| d.abs() <= 100.0 * ROUNDING * x.abs())
}

/// What else is to be said of the answer.
pub(super) fn remarks(s: &mut Solve<'_>, verdict: &Verdict) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let settled = matches!(verdict.stop, StopReason::Converged | StopReason::ConvergedToRounding);
    let tried = settled || matches!(verdict.stop, StopReason::Stalled { .. } | StopReason::MaxIterations);
    if verdict.stop == StopReason::LocallyInfeasible && s.judge.contradiction {
        remarks.push(Remark::Contradiction);
    }
    if settled && s.judge.relaxed {
        remarks.push(Remark::Relaxed);
    } else if tried && is_degenerate(s, verdict.which) {
        remarks.push(Remark::Degenerate);
    }
    if tried && s.judge.is_not_attained(s.problem.form.start_size) {
        remarks.push(Remark::NotAttained);
    }
    if settled && s.judge.saddle {
        remarks.push(Remark::Saddle);
    }
    if settled && s.judge.flat && remarks.is_empty() {
        remarks.push(Remark::FlatValley);
    }
    if !settled && tried && is_kink(s) {
        remarks.push(Remark::Kink);
    }
    remarks
}

/// The attempts need not go on: the point is feasible, and multipliers grow without limit or are so large that what the tolerance allows of
/// their rows changes f: no attempt finds conditions that hold.
pub(super) fn is_hopeless(s: &mut Solve<'_>) -> bool {
    measure(s, Which::Best);
    let (tol, r, o) = (s.options.tolerance, s.at.best_residuals, &s.judge.original);
    let f = s.at.best.f / s.problem.form.scale.objective;
    let only_products =
        r.scaled <= tol && o.dual <= DUAL * tol * r.gradient.max(1.0) && !products_vanish(o, f, tol);
    o.primal <= PRIMAL * tol && (s.judge.is_degenerate() || only_products)
}

/// Multipliers grow without limit; or one is so large that what the tolerance allows of its row changes f, and the terms of its row in
/// grad f + J'y cancel against others.
fn is_degenerate(s: &mut Solve<'_>, which: Which) -> bool {
    if s.judge.is_degenerate() {
        return true;
    }
    measure(s, which);
    let (tol, form) = (s.options.tolerance, &*s.problem.form);
    let p = if which == Which::Current { &s.at.current } else { &s.at.best };
    let f = p.f / form.scale.objective;
    let large = |y: &f64| y.abs() > COMPLEMENTARITY * (1.0 + f.abs());
    if tol > 1e-4 || !s.judge.original.y.iter().any(large) {
        return false;
    }
    let gradient = norm_inf(&p.grad);
    s.at.current.copy_from(&p.clone());
    if s.at.current.derivatives(&mut s.problem).is_err() {
        return false;
    }
    let (form, p) = (&*s.problem.form, &s.at.current);
    let Some(pattern) = &form.jacobian else { return false };
    let mut cancels = false;
    for j in 0..form.free_count() {
        for k in pattern.col_ptr[j]..pattern.col_ptr[j + 1] {
            let i = pattern.row_idx[k];
            let term = (p.jacobian[k] * p.y[i]).abs();
            cancels |=
                large(&s.judge.original.y[i]) && term > CANCELLATION * gradient.max(form.scale.objective);
        }
    }
    cancels
}

/// f + y'c has different slopes on both sides of the best point along the last step or its gradient: their difference does not fall with
/// the distance.
fn is_kink(s: &mut Solve<'_>) -> bool {
    s.at.current.copy_from(&s.at.best);
    let n = s.problem.form.n;
    let directions = [s.kkt.step[..n].to_vec(), s.at.best.lag_grad.clone(), s.at.best.grad.clone()];
    directions.iter().any(|d| has_kink(s, d))
}

fn has_kink(s: &mut Solve<'_>, d: &[f64]) -> bool {
    const DISTANCES: [f64; 3] = [1e-3, 1e-4, 1e-5];
    let x = s.at.best.x.clone();
    let size = d.iter().zip(&x).fold(0.0f64, |a, (d, x)| a.max(d.abs() / x.abs().max(1.0)));
    if !(size > 0.0 && size.is_finite()) {
        return false;
    }
    let mut out = s.at.trial.clone();
    let mut value = |s: &mut Solve<'_>, t: f64| {
        out.x.iter_mut().zip(x.iter().zip(d)).for_each(|(o, (x, d))| *o = x + t / size * d);
        let inside = out.x.clone();
        s.problem.form.bounds.clamp(&mut out.x);
        if out.x != inside {
            return None;
        }
        out.functions(&mut s.problem).ok().map(|()| out.f + dot(&s.at.best.y, &out.c))
    };
    let mut last = f64::NAN;
    let Some(middle) = value(s, 0.0) else { return false };
    for h in DISTANCES {
        let (Some(up), Some(down)) = (value(s, h), value(s, -h)) else { return false };
        let jump = ((up - middle) / h - (middle - down) / h).abs();
        let noise = 1e3 * f64::EPSILON * (middle.abs() + up.abs()) / h;
        if jump <= noise || jump < 0.5 * last {
            return false;
        }
        last = jump;
    }
    true
}

/// What the second derivatives say of a KKT point: positive curvature with a margin, negative, or neither.
pub(super) fn second_order(s: &mut Solve<'_>) -> Option<SecondOrder> {
    if !s.kkt.is_direct() || s.hessian.is_learned() {
        return None;
    }
    if s.judge.is_degenerate() {
        return Some(SecondOrder::Unconfirmed);
    }
    s.at.current.copy_from(&s.at.best);
    s.at.current.derivatives(&mut s.problem).ok()?;
    s.kkt.weights.fill(1.0);
    let sign = factor_at_current(s)?;
    if matches!(sign, Sign::Negative) && negative_curvature(s).is_some() {
        return Some(SecondOrder::Saddle);
    }
    let (kkt, mut e) = linear(s);
    kkt.fill(&e, System::Optimality);
    // The barrier of inactive bounds must not pass for curvature.
    let shift = (LEAST_CURVATURE * kkt.largest_hessian_entry()).max(LEAST_SHIFT);
    let inertia = kkt.factor(&mut e, -shift, 0.0).ok()?.inertia?;
    let form = &*s.problem.form;
    let minimum = inertia.positive == form.n && inertia.negative == form.m;
    Some(if minimum && keeps_its_sign(s) { SecondOrder::Minimum } else { SecondOrder::Unconfirmed })
}

/// H is still positive on the null space of J some Newton steps further: at an inflection it is not. Moves the current point.
fn keeps_its_sign(s: &mut Solve<'_>) -> bool {
    const STEPS: f64 = 10.0;
    s.kkt.forget();
    confirm(s);
    if s.judge.flat {
        return false;
    }
    s.at.place_x(&s.problem.form.bounds, &s.kkt.step, STEPS);
    let (current, trial) = (&mut s.at.current, &s.at.trial);
    current.x.copy_from_slice(&trial.x);
    let evaluated = current.evaluate(&mut s.problem).is_ok();
    evaluated && matches!(factor_at_current(s), Some(Sign::Positive))
}
