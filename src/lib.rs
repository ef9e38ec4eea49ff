//! costate: numerical constrained optimization and neural differential equations.
//!
//! Multipliers and adjoints are both *costates*: that is the name.
//!
//! Constrained optimization: [`model`] for expressions, [`nlp`] for functions of your own, [`fit`] for least squares, [`sif`] for CUTEst's files, [`nl`] for models of AMPL, Pyomo and JuMP, [`opt`] to solve them. Differential equations: [`ode`] has
//! one table that says which method to choose, explicit, stiff or stochastic; [`sde`] is noise, [`adjoint`] gradients, [`nn`] networks, [`mod@train`] fits. Both: [`control`], [`pde`].
//! Methods that learn: [`classify`], [`boost`], [`memory`]; what a run is doing: [`diagnose`]. Whether published claims about them hold is measured by [`study`].
#![warn(missing_docs)]

pub mod adjoint;
pub mod bilevel;
pub mod boost;
pub mod classify;
pub mod control;
pub mod data;
pub mod diagnose;
pub mod diff;
pub mod error;
pub mod expr;
pub mod fit;
pub mod linalg;
pub mod linsol;
pub mod memory;
pub mod model;
pub mod nl;
pub mod nlp;
pub mod nn;
pub mod normal;
pub mod observe;
pub mod ode;
pub mod opt;
pub mod pde;
mod random;
pub mod randomized;
pub mod regression;
pub mod report;
pub mod sde;
pub mod search;
pub mod sif;
mod simd;
pub mod study;
pub mod surrogate;
pub mod train;

pub use error::Error;
pub use nlp::{EvalError, Nlp, NlpMeta, Pattern};
pub use report::{PointKind, Report, StopReason};

/// The programs of docs/methods.md, as tests of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../docs/methods.md")]
mod methods_page {}

/// The programs of docs/guide.md.
#[cfg(doctest)]
#[doc = include_str!("../docs/guide.md")]
mod guide_page {}
