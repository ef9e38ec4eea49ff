//! Penalties and their weights, as the configuration names them.

use serde::{Deserialize, Serialize};

use super::path::PathTerm;
use super::schedule::Schedule;
use crate::adjoint::{Aggregate, Heuristic, Term};
use crate::nn::MAX_ORDERS;

/// Where a solver heuristic is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All accepted steps, gradient through the whole solution.
    #[default]
    Global,
    /// One step from a start of the solver's own steps, uniformly.
    LocalBiased,
    /// One step from a uniformly distributed time.
    LocalUnbiased,
}

/// One penalty with its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Penalty {
    /// R_E: E_j |h_j|.
    Error {
        /// Its weight.
        weight: Schedule,
        /// Over the steps; default mean.
        #[serde(default = "mean")]
        aggregate: Aggregate,
        /// Whether multiplied by |h_j|; default true.
        #[serde(default = "yes")]
        times_step: bool,
        /// Global or local; default global.
        #[serde(default)]
        scope: Scope,
    },
    /// R_E2: E_j^2.
    ErrorSquared {
        /// Its weight.
        weight: Schedule,
        /// Over the steps; default sum.
        #[serde(default = "sum")]
        aggregate: Aggregate,
        /// Whether multiplied by |h_j|; default false.
        #[serde(default)]
        times_step: bool,
        /// Global or local; default global.
        #[serde(default)]
        scope: Scope,
    },
    /// Expected steps, sum E_j^(1/k): the weight is the price of a step, whatever the tolerance.
    ExpectedSteps {
        /// Its weight.
        weight: Schedule,
        /// Global or local; default global. A local sample is multiplied by the number of steps it stands for.
        #[serde(default)]
        scope: Scope,
    },
    /// R_S: S_j / stability size.
    Stiffness {
        /// Its weight.
        weight: Schedule,
        /// Over the steps; default max.
        #[serde(default = "max")]
        aggregate: Aggregate,
        /// Whether multiplied by |h_j|; default false.
        #[serde(default)]
        times_step: bool,
        /// Global or local; default global.
        #[serde(default)]
        scope: Scope,
    },
    /// TayNODE: mean square of the derivative of this order along the solution.
    Taylor {
        /// Its weight.
        weight: Schedule,
        /// K.
        order: usize,
    },
    /// RNODE's kinetic energy: mean square of dy/dt along the solution.
    Kinetic {
        /// Its weight.
        weight: Schedule,
    },
    /// RNODE's Jacobian norm along the solution, by one random direction a pass.
    Jacobian {
        /// Its weight.
        weight: Schedule,
    },
}

fn mean() -> Aggregate {
    Aggregate::Mean
}
fn sum() -> Aggregate {
    Aggregate::Sum
}
fn max() -> Aggregate {
    Aggregate::Max
}
fn yes() -> bool {
    true
}

impl Penalty {
    /// Its weight.
    pub fn weight(&self) -> &Schedule {
        match self {
            Self::Error { weight, .. }
            | Self::ErrorSquared { weight, .. }
            | Self::ExpectedSteps { weight, .. }
            | Self::Stiffness { weight, .. }
            | Self::Taylor { weight, .. }
            | Self::Kinetic { weight }
            | Self::Jacobian { weight } => weight,
        }
    }
    /// The term of the solver's heuristics and its scope, if it is one.
    pub fn term(&self) -> Option<(Term, Scope)> {
        let (heuristic, aggregate, times_step, scope) = match *self {
            Self::Error { aggregate, times_step, scope, .. } => {
                (Heuristic::Error, aggregate, times_step, scope)
            }
            Self::ErrorSquared { aggregate, times_step, scope, .. } => {
                (Heuristic::ErrorSquared, aggregate, times_step, scope)
            }
            Self::ExpectedSteps { scope, .. } => return Some((Term::expected_steps(), scope)),
            Self::Stiffness { aggregate, times_step, scope, .. } => {
                (Heuristic::Stiffness, aggregate, times_step, scope)
            }
            _ => return None,
        };
        Some((Term { heuristic, aggregate, times_step }, scope))
    }
    /// The term along the path, if it is one.
    pub fn path(&self) -> Option<PathTerm> {
        match *self {
            Self::Taylor { order, .. } => Some(PathTerm::Derivative(order)),
            Self::Kinetic { .. } => Some(PathTerm::Derivative(1)),
            Self::Jacobian { .. } => Some(PathTerm::Jacobian),
            _ => None,
        }
    }
    /// What is wrong with it, if anything.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Taylor { order, .. } if !(1..=MAX_ORDERS).contains(order) => {
                Some(format!("penalty taylor: order is {order}, it must be between 1 and {MAX_ORDERS}"))
            }
            _ => self.weight().problem("penalty weight"),
        }
    }
}
