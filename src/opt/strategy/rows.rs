//! The tables: which rows are tried on which problems, in which order.

use super::Solve;
use crate::opt::methods::With;
use crate::opt::options::Method;
use crate::opt::problem::Form;

/// What minimizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Inexact Newton on the exact augmented Lagrangian; plain Newton without constraints.
    Newton,
    Interior,
    Augmented,
    /// For linear and convex quadratic programs.
    Predictor,
}

/// Where a row starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    Given,
    /// A further start point of the problem's.
    Problem(usize),
}

/// A way to solve the problem.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    pub method: Kind,
    /// The violation is minimized first.
    pub violation_first: bool,
    pub with: With,
    pub from: From,
    /// Work without progress, in iterations of one factorization, after which another row is tried, if there is one.
    pub patience: f64,
}

pub(super) const PLAIN: With = With { relative_shift: false, keep_delta: false };
pub(super) const RELATIVE_SHIFT: With = With { relative_shift: true, ..PLAIN };
pub(super) const KEEP_DELTA: With = With { keep_delta: true, ..PLAIN };

const fn row(method: Kind, violation_first: bool, with: With, patience: f64) -> Row {
    Row { method, violation_first, with, from: From::Given, patience }
}

pub(super) const NEWTON: Row = row(Kind::Newton, false, PLAIN, 100.0);
pub(super) const VIOLATION_THEN_NEWTON: Row = row(Kind::Newton, true, PLAIN, 300.0);
pub(super) const INTERIOR: Row = row(Kind::Interior, false, PLAIN, 300.0);
pub(super) const VIOLATION_THEN_INTERIOR: Row = row(Kind::Interior, true, PLAIN, 300.0);
pub(super) const PREDICTOR: Row = row(Kind::Predictor, false, PLAIN, 50.0);
pub(super) const AUGMENTED: Row = row(Kind::Augmented, false, KEEP_DELTA, 300.0);

/// No constraints, no bounds.
pub(super) const FREE: &[Row] = &[NEWTON, Row { with: RELATIVE_SHIFT, ..NEWTON }];
/// Bounds only.
pub(super) const BOUNDED: &[Row] =
    &[INTERIOR, Row { with: RELATIVE_SHIFT, ..INTERIOR }, Row { with: KEEP_DELTA, ..INTERIOR }];
/// Equality constraints, not more than unknowns, no bounds.
pub(super) const EQUALITIES: &[Row] = &[INTERIOR, NEWTON, VIOLATION_THEN_NEWTON, AUGMENTED];
/// The same where the linear solver is iterative: the exact augmented Lagrangian needs neither inertia nor accurate steps.
pub(super) const EQUALITIES_ITERATIVE: &[Row] = &[NEWTON, INTERIOR, VIOLATION_THEN_NEWTON, AUGMENTED];
/// The same with learned second derivatives: the gradient of the exact augmented Lagrangian needs the true ones.
pub(super) const LEARNED: &[Row] = &[INTERIOR, AUGMENTED];
pub(super) const LEARNED_OVERDETERMINED: &[Row] = &[VIOLATION_THEN_INTERIOR, AUGMENTED];
/// Constraints and bounds, or inequalities.
pub(super) const GENERAL: &[Row] =
    &[INTERIOR, AUGMENTED, Row { with: RELATIVE_SHIFT, ..INTERIOR }, Row { with: KEEP_DELTA, ..INTERIOR }];
/// Linear and quadratic programs with bounds or inequalities; the first row gives up where they are not convex.
pub(super) const QUADRATIC: &[Row] = &[
    PREDICTOR,
    INTERIOR,
    AUGMENTED,
    Row { with: RELATIVE_SHIFT, ..INTERIOR },
    Row { with: KEEP_DELTA, ..INTERIOR },
];
pub(super) const QUADRATIC_BOUNDED: &[Row] =
    &[PREDICTOR, INTERIOR, Row { with: RELATIVE_SHIFT, ..INTERIOR }, Row { with: KEEP_DELTA, ..INTERIOR }];
/// More equations than unknowns begin with their violation.
pub(super) const OVERDETERMINED: &[Row] = &[VIOLATION_THEN_NEWTON];
pub(super) const OVERDETERMINED_BOUNDED: &[Row] = &[VIOLATION_THEN_INTERIOR];

/// What there is to work with.
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct Means {
    /// Second derivatives are learned.
    pub learned: bool,
    /// The linear solver factorizes.
    pub direct: bool,
}

impl Means {
    pub fn of(s: &Solve<'_>) -> Self {
        Self { learned: s.hessian.is_learned(), direct: s.kkt.is_direct() }
    }
}

/// The rows of a problem, but for its other starts.
pub(super) fn rows(form: &Form, method: Method, Means { learned, direct }: Means) -> &'static [Row] {
    let (n, m, bounded) = (form.n, form.m, form.bounds.count() > 0);
    match method {
        Method::InteriorPoint if m > n => &[VIOLATION_THEN_INTERIOR],
        Method::InteriorPoint => &[INTERIOR],
        Method::AugmentedLagrangian => &[AUGMENTED],
        Method::PredictorCorrector if m > n => &[VIOLATION_THEN_INTERIOR],
        Method::PredictorCorrector => &[PREDICTOR, INTERIOR],
        Method::SketchedNewton if m > n => OVERDETERMINED,
        Method::SketchedNewton if m > 0 => &[NEWTON, VIOLATION_THEN_NEWTON],
        _ if form.quadratic && bounded && m <= n && !learned && direct => {
            if m > 0 {
                QUADRATIC
            } else {
                QUADRATIC_BOUNDED
            }
        }
        _ if m == 0 => {
            if bounded {
                BOUNDED
            } else {
                FREE
            }
        }
        _ if m > n && bounded => OVERDETERMINED_BOUNDED,
        _ if learned && !bounded => {
            if m > n {
                LEARNED_OVERDETERMINED
            } else {
                LEARNED
            }
        }
        _ if m > n => OVERDETERMINED,
        _ => {
            if bounded {
                GENERAL
            } else if direct {
                EQUALITIES
            } else {
                EQUALITIES_ITERATIVE
            }
        }
    }
}

pub(super) fn describe(row: &Row, m: usize) -> &'static str {
    match (row.method, row.violation_first) {
        (Kind::Newton, _) if m == 0 && row.with.relative_shift => {
            "Newton with a shift relative to the curvature"
        }
        (Kind::Newton, _) if m == 0 => "Newton with a line search",
        (Kind::Newton, false) => "inexact Newton on the exact augmented Lagrangian",
        (Kind::Newton, true) => "least violation, then inexact Newton on the exact augmented Lagrangian",
        (Kind::Interior, true) => "least violation, then primal-dual interior point",
        (Kind::Interior, false) if row.with.relative_shift => {
            "primal-dual interior point with a shift relative to the curvature"
        }
        (Kind::Interior, false) if row.with.keep_delta => {
            "primal-dual interior point, constraints regularized"
        }
        (Kind::Interior, false) => "primal-dual interior point with a filter",
        (Kind::Augmented, _) => "augmented Lagrangian with a barrier",
        (Kind::Predictor, _) => "predictor-corrector",
    }
}
