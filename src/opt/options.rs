//! Options of the optimizer, with their defaults.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::linsol::LinearSolverKind;
use crate::observe::StopToken;
use crate::report::{Counts, Report};

/// When an inexact step is accurate enough (`docs/notation.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccuracyRule {
    /// Descent of the merit function and an Eisenstat-Walker forcing term.
    #[default]
    Practical,
    /// The paper's test with an estimated |K^-1|.
    Certified,
}

impl AccuracyRule {
    /// Name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Practical => "practical",
            Self::Certified => "certified",
        }
    }
}

/// What minimizes. `Auto` tries them in turn until one ends well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// The exact augmented Lagrangian for equality constraints, the interior point for bounds and inequalities, and the
    /// others where they fail.
    #[default]
    Auto,
    /// Inexact Newton with randomized sketching on the exact augmented Lagrangian: equality constraints or none.
    SketchedNewton,
    /// Primal-dual interior point with a filter line search.
    InteriorPoint,
    /// Augmented Lagrangian, with a barrier for bounds.
    AugmentedLagrangian,
    /// Predictor-corrector for linear and convex quadratic programs, and the interior point where it gives up.
    PredictorCorrector,
}

impl Method {
    /// Name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::SketchedNewton => "sketched-newton",
            Self::InteriorPoint => "interior-point",
            Self::AugmentedLagrangian => "augmented-lagrangian",
            Self::PredictorCorrector => "predictor-corrector",
        }
    }
}

/// Where second derivatives come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HessianModel {
    /// The problem; a limited-memory approximation if it provides none.
    #[default]
    Exact,
    /// A limited-memory approximation (BFGS, damped).
    LimitedMemory,
    /// Differences of gradients on the problem's pattern of entries, whose values are not asked for.
    Differences,
}

impl HessianModel {
    /// Name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::LimitedMemory => "limited-memory",
            Self::Differences => "differences",
        }
    }
}

/// Name, text and parser of an enumeration from its `as_str`.
macro_rules! named {
    ($type:ty, $what:literal, $($value:expr),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(name: &str) -> Result<Self, String> {
                let all = [$($value),+];
                all.into_iter().find(|v| v.as_str() == name).ok_or_else(|| {
                    let names: Vec<&str> = all.iter().map(|v| v.as_str()).collect();
                    format!("unknown {} '{name}', expected one of {}", $what, names.join(", "))
                })
            }
        }
    };
}

named!(
    HessianModel,
    "Hessian model",
    HessianModel::Exact,
    HessianModel::LimitedMemory,
    HessianModel::Differences
);
named!(AccuracyRule, "accuracy rule", AccuracyRule::Practical, AccuracyRule::Certified);
named!(
    Method,
    "method",
    Method::Auto,
    Method::SketchedNewton,
    Method::InteriorPoint,
    Method::AugmentedLagrangian,
    Method::PredictorCorrector
);

/// What a user may choose. `Options::default()` is meant to be good.
#[derive(Debug, Clone)]
pub struct Options {
    /// What minimizes.
    pub method: Method,
    /// Where second derivatives come from.
    pub hessian: HessianModel,
    /// Tolerance on the scaled KKT residual.
    pub tolerance: f64,
    /// Outer iterations of all attempts together.
    pub max_iterations: u64,
    /// Evaluations of the objective.
    pub max_evaluations: Option<u64>,
    /// Seconds of wall-clock time.
    pub time_limit: Option<f64>,
    /// Seed of everything random.
    pub seed: u64,
    /// Linear solver.
    pub linear: LinearSolverKind,
    /// Accuracy rule of inexact steps.
    pub accuracy: AccuracyRule,
    /// Initial penalty eta1 of the constraint violation.
    pub initial_penalty: f64,
    /// Initial penalty eta2 of the gradient of the Lagrangian.
    pub initial_dual_penalty: f64,
    /// Inner iterations of an iterative linear solver in one outer iteration.
    pub max_inner_iterations: usize,
    /// Remove rows and variables before the solve where the problem says which of its rows are linear; the report is that of the whole problem
    /// (`docs/notation.md`). Not with [`Method::SketchedNewton`], nor where the problem has a preconditioner, nor by a
    /// [`Solver`](super::Solver).
    pub presolve: bool,
    /// Scale objective and constraints by their gradients at the start.
    pub scaling: bool,
    /// Examine the second derivatives at a KKT point: one more factorization.
    pub second_order: bool,
    /// Other starts, drawn at random, that are tried where every attempt ends at a least violation that is not zero; only by
    /// [`Method::Auto`], without a warm start, and not for data fits (`docs/experiments.md`).
    pub restarts: usize,
    /// Threads of the sparse factorization, which pays for large fronts; results do not depend on their number.
    pub threads: usize,
    /// Bounds of the variables may be violated by this times max(1, |bound|); 0: never, not even while solving. Ipopt allows
    /// 1e-8. Points of a feasible set without interior may have multipliers only so.
    pub relax_bounds: f64,
    /// Where to begin instead of the problem's start: a point near the solution, with multipliers.
    pub warm_start: Option<WarmStart>,
    /// Asks the solver to stop from outside.
    pub stop: StopToken,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::Auto,
            hessian: HessianModel::Exact,
            tolerance: 1e-8,
            max_iterations: 10_000,
            max_evaluations: None,
            time_limit: None,
            seed: 0,
            linear: LinearSolverKind::Auto,
            accuracy: AccuracyRule::Practical,
            initial_penalty: 1.0,
            initial_dual_penalty: 0.1,
            max_inner_iterations: 100_000,
            presolve: true,
            scaling: true,
            second_order: false,
            restarts: 32,
            threads: 1,
            relax_bounds: 0.0,
            warm_start: None,
            stop: StopToken::default(),
        }
    }
}

/// A point with its multipliers, signs as in `docs/notation.md`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WarmStart {
    /// Variables, length n.
    pub x: Vec<f64>,
    /// Multipliers of the constraints, length m.
    pub y: Vec<f64>,
    /// Multipliers of the bounds, length n.
    pub z: Vec<f64>,
}

impl From<&Report> for WarmStart {
    fn from(report: &Report) -> Self {
        Self { x: report.x.clone(), y: report.y.clone(), z: report.z.clone() }
    }
}

impl WarmStart {
    /// Takes over the point of a report; its own memory is used again.
    pub fn set(&mut self, report: &Report) {
        self.x.clone_from(&report.x);
        self.y.clone_from(&report.y);
        self.z.clone_from(&report.z);
    }

    pub(super) fn validate(&self, n: usize, m: usize) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Option { option: "warm_start".into(), what });
        for (what, v, length) in [("x", &self.x, n), ("y", &self.y, m), ("z", &self.z, n)] {
            if v.len() != length {
                return fail(format!("{what} has {} entries, expected {length}", v.len()));
            }
            if let Some(k) = v.iter().position(|v| !v.is_finite()) {
                return fail(format!("{what}[{k}] is {}, expected a finite number", v[k]));
            }
        }
        Ok(())
    }
}

impl Options {
    /// What is left of the limits after a solve that took this.
    pub(super) fn after(&self, iterations: u64, counts: &Counts) -> Self {
        Self {
            max_iterations: self.max_iterations.saturating_sub(iterations),
            max_evaluations: self.max_evaluations.map(|most| most.saturating_sub(counts.objective)),
            ..self.clone()
        }
    }

    /// Checks every range.
    ///
    /// # Errors
    /// [`Error::Option`] names the first option that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let positive = [
            ("tolerance", Some(self.tolerance)),
            ("time_limit", self.time_limit),
            ("initial_penalty", Some(self.initial_penalty)),
            ("initial_dual_penalty", Some(self.initial_dual_penalty)),
        ];
        for (option, value) in positive {
            if let Some(v) = value
                && !(v > 0.0 && v.is_finite())
            {
                return Err(Error::Option {
                    option: option.into(),
                    what: format!("found {v}, expected a positive finite number"),
                });
            }
        }
        if self.threads == 0 {
            return Err(Error::Option {
                option: "threads".into(),
                what: "found 0, expected at least 1".into(),
            });
        }
        if !(0.0..=1e-2).contains(&self.relax_bounds) {
            return Err(Error::Option {
                option: "relax_bounds".into(),
                what: format!("found {}, expected a number from 0 to 0.01", self.relax_bounds),
            });
        }
        Ok(())
    }
}
