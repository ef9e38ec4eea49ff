//! How every solver answers: why it stopped, what the point is, and what it cost.

use serde::Serialize;

use crate::nlp::NlpMeta;

/// Why a solver stopped.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The optimality conditions hold within the tolerance.
    Converged,
    /// They hold as well as rounding allows: no step makes the point better.
    ConvergedToRounding,
    /// A fit (more equations than unknowns, no objective): its least-squares solution.
    LeastSquares,
    /// The constraint violation is stationary and not zero: no feasible point near.
    LocallyInfeasible,
    /// A certificate shows that no point fulfils the constraints and bounds, and no least violation was found. `what` says which rows.
    Infeasible {
        /// One sentence.
        what: String,
    },
    /// The objective falls without limit along feasible points.
    Unbounded,
    /// The iteration limit.
    MaxIterations,
    /// The limit on function evaluations.
    MaxEvaluations,
    /// The time limit.
    TimeLimit,
    /// The user (Ctrl-C, a callback).
    Interrupted,
    /// No step improves the merit function any more; `what` says at which residual and why.
    Stalled {
        /// One sentence.
        what: String,
    },
    /// No linear solver produced a usable step.
    LinearSolveFailed {
        /// One sentence.
        what: String,
    },
    /// A function of the problem panicked.
    EvaluationPanicked {
        /// Which function, and its words.
        what: String,
    },
    /// A function is not finite, or its evaluation failed, at the start point.
    StartNotFinite {
        /// Which function, by name.
        function: String,
    },
}

impl StopReason {
    /// The name used in JSON and CSV.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::ConvergedToRounding => "converged_to_rounding",
            Self::LeastSquares => "least_squares",
            Self::LocallyInfeasible => "locally_infeasible",
            Self::Infeasible { .. } => "infeasible",
            Self::Unbounded => "unbounded",
            Self::MaxIterations => "max_iterations",
            Self::MaxEvaluations => "max_evaluations",
            Self::TimeLimit => "time_limit",
            Self::Interrupted => "interrupted",
            Self::Stalled { .. } => "stalled",
            Self::LinearSolveFailed { .. } => "linear_solve_failed",
            Self::EvaluationPanicked { .. } => "evaluation_panicked",
            Self::StartNotFinite { .. } => "start_not_finite",
        }
    }
}

/// What the returned point is, whatever the reason for stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PointKind {
    /// A KKT point of the original problem within tolerance.
    Kkt,
    /// Feasible within tolerance, not stationary.
    Feasible,
    /// A stationary point of the constraint violation that is not feasible (for a system of equations: a nonlinear least-squares solution).
    LeastSquares,
    /// Neither feasible nor stationary.
    Infeasible,
}

impl PointKind {
    /// The name used in JSON and CSV.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Kkt => "kkt",
            Self::Feasible => "feasible",
            Self::LeastSquares => "least_squares",
            Self::Infeasible => "infeasible",
        }
    }
}

/// What the second derivatives say of a KKT point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondOrder {
    /// Positive curvature along every direction that the constraints and the active bounds leave: a strict local minimum.
    Minimum,
    /// Negative curvature along some such direction: a saddle or a maximum.
    Saddle,
    /// Some such direction has no clear curvature, or constraints are dependent: a minimum is neither shown nor excluded.
    Unconfirmed,
}

impl SecondOrder {
    /// The name used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Minimum => "minimum",
            Self::Saddle => "saddle",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// Evaluations of the user's functions, each call counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// f.
    pub objective: u64,
    /// grad f.
    pub gradient: u64,
    /// c.
    pub constraints: u64,
    /// Sparse Jacobian values.
    pub jacobian: u64,
    /// Sparse Hessian values of the Lagrangian.
    pub hessian: u64,
    /// Products with J, J' or H.
    pub products: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        for (count, more) in [
            (&mut self.objective, more.objective),
            (&mut self.gradient, more.gradient),
            (&mut self.constraints, more.constraints),
            (&mut self.jacobian, more.jacobian),
            (&mut self.hessian, more.hessian),
            (&mut self.products, more.products),
        ] {
            *count += more;
        }
    }
}

/// What the linear solver did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LinearStats {
    /// Its name.
    pub solver: String,
    /// Linear systems solved.
    pub solves: u64,
    /// Inner iterations (refinement steps for a direct solver).
    pub inner_iterations: u64,
    /// Numeric factorizations.
    pub factorizations: u64,
}

/// Seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Timings {
    /// Reading and setting up the problem (filled by who reads it).
    pub read: f64,
    /// The solve, evaluations included.
    pub solve: f64,
    /// Of `solve`: the user's functions.
    pub evaluations: f64,
    /// Of `solve`: linear algebra.
    pub linear: f64,
}

/// An entry of the Hessian of the Lagrangian that differences of its gradient do not confirm.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WrongEntry {
    /// Variable.
    pub row: usize,
    /// Variable, not above `row`.
    pub col: usize,
    /// As the problem says.
    pub given: f64,
    /// By differences.
    pub expected: f64,
}

impl WrongEntry {
    /// One sentence for people.
    pub fn describe(&self, meta: &NlpMeta) -> String {
        let (row, col) = (meta.variable_name(self.row), meta.variable_name(self.col));
        format!(
            "the second derivative at ({row}, {col}) is not that of the gradient: given {:.4e}, by differences {:.4e}",
            self.given, self.expected
        )
    }
}

/// What is to be said of an answer beside its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remark {
    /// A certificate shows that linear rows and bounds contradict each other: no point is feasible, near or far.
    Contradiction,
    /// Multipliers grow without limit as the residual falls: no constraint qualification, there may be none.
    Degenerate,
    /// Where some rows hold exactly there are no multipliers; the solution is one of rows moved by half the tolerance.
    Relaxed,
    /// A variable grows without limit as the residual falls.
    NotAttained,
    /// Negative curvature at a stationary point that could not be left.
    Saddle,
    /// Slopes differ on both sides of the point.
    Kink,
    /// A Newton step is long, but hardly lowers the objective.
    FlatValley,
}

impl Remark {
    /// The name used in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Contradiction => "contradiction",
            Self::Degenerate => "degenerate",
            Self::Relaxed => "relaxed",
            Self::NotAttained => "not_attained",
            Self::Saddle => "saddle",
            Self::Kink => "kink",
            Self::FlatValley => "flat_valley",
        }
    }

    /// For people.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Contradiction => {
                "linear rows and bounds contradict each other: no point at all is feasible"
            }
            Self::Degenerate => {
                "degenerate: the multipliers grow without limit, no constraint qualification holds"
            }
            Self::Relaxed => {
                "degenerate: no multipliers exist where the constraints hold exactly; it is the solution of constraints within the tolerance"
            }
            Self::NotAttained => "the solution is not attained: a variable runs away",
            Self::Saddle => "a saddle or a maximum: the curvature is negative along some feasible direction",
            Self::Kink => "a kink is suspected: slopes on both sides of the point differ",
            Self::FlatValley => "a flat valley: points far away are nearly as good",
        }
    }
}

/// An operation with a kink or a jump near a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Kink {
    /// The constraint whose function has it; none: the objective.
    pub constraint: Option<usize>,
    /// abs, max, min, if, rounding, ...
    pub operation: &'static str,
}

impl Kink {
    /// For people, with the names of a problem.
    pub fn describe(&self, meta: &NlpMeta) -> String {
        match self.constraint {
            Some(i) => format!("{} in {}", self.operation, meta.constraint_name(i)),
            None => format!("{} in the objective", self.operation),
        }
    }
}

/// A least-squares solution of m equations in n unknowns.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Fit {
    /// |c(x) - side|, Euclidean norm.
    pub residual_norm: f64,
    /// residual_norm / (m - n)^1/2: the standard deviation of a measurement.
    pub standard_error: f64,
}

impl Fit {
    /// Of the values of m > n equations and their sides.
    pub fn of(values: &[f64], sides: &[f64], n: usize) -> Self {
        let squares: f64 = values.iter().zip(sides).map(|(c, b)| (c - b) * (c - b)).sum();
        let freedom = values.len().saturating_sub(n).max(1) as f64;
        Self { residual_norm: squares.sqrt(), standard_error: (squares / freedom).sqrt() }
    }
}

/// A solver's answer. Vectors and residuals are those of the ORIGINAL, unscaled problem; signs as in `docs/notation.md`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Why it stopped.
    pub stop: StopReason,
    /// What the point is.
    pub point: PointKind,
    /// The best point found, length n.
    pub x: Vec<f64>,
    /// Multipliers of the constraints, length m; the Lagrangian is f + y'c.
    pub y: Vec<f64>,
    /// Multipliers of the bounds, length n (grad f + J'y + z = 0: z < 0 at an active lower bound); zero where there is no bound.
    pub z: Vec<f64>,
    /// f(x).
    pub objective: f64,
    /// Largest violation of a constraint or bound, maximum norm.
    pub primal: f64,
    /// |grad f + J'y + z|, maximum norm.
    pub dual: f64,
    /// Largest complementarity product; zero without bounds and inequalities.
    pub complementarity: f64,
    /// The residual that was tested against the tolerance (scaled, see `docs/notation.md`).
    pub scaled_residual: f64,
    /// Outer iterations.
    pub iterations: u64,
    /// Evaluations.
    pub counts: Counts,
    /// Linear algebra.
    pub linear: LinearStats,
    /// Times.
    pub time: Timings,
    /// One sentence for people.
    pub message: String,
    /// Which method gave the point, from which start.
    pub method: String,
    /// What else is to be said of the point.
    pub remarks: Vec<Remark>,
    /// Of a fit.
    pub fit: Option<Fit>,
    /// The most violated constraints (index, violation), worst first; empty at a feasible point.
    pub worst_constraints: Vec<(usize, f64)>,
    /// The operations that are not smooth there, the first few, where the point is no answer or a kink is suspected; only of problems whose expressions
    /// are known.
    pub kinks: Vec<Kink>,
    /// What the second derivatives say of a KKT point, if asked for (`Options::second_order`) and the linear solver knows inertias.
    pub second_order: Option<SecondOrder>,
    /// A second derivative of the problem that is wrong, found where an attempt failed; differences were used from then on.
    pub wrong_entry: Option<WrongEntry>,
}

impl Report {
    /// An answer that nothing could make better: solved, converged to rounding, or the least squares of a fit.
    pub fn is_answer(&self) -> bool {
        let rounded = matches!(self.stop, StopReason::ConvergedToRounding | StopReason::LeastSquares);
        self.solved() || rounded
    }

    /// True only for a KKT point of the original problem within tolerance.
    pub fn solved(&self) -> bool {
        self.stop == StopReason::Converged && self.point == PointKind::Kkt
    }
}
