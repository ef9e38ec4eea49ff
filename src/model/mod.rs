//! Models written in Rust: variables, parameters, expressions, constraints.
//!
//! ```
//! use costate::model::{Expression, Model, variable};
//! use costate::{observe::Silent, opt};
//!
//! // Hock and Schittkowski, problem 71.
//! let mut m = Model::new("hs71");
//! let x: Vec<_> = [1.0, 5.0, 5.0, 1.0].iter().map(|s| m.add(variable().min(1).max(5).start(*s))).collect();
//! m.minimize(x[0] * x[3] * (x[0] + x[1] + x[2]) + x[2]);
//! let product = m.subject_to((x[0] * x[1] * x[2] * x[3]).ge(25).named("product"));
//! m.subject_to(x.iter().map(|v| v.powi(2)).sum::<costate::model::Expr>().eq(40));
//! let report = opt::solve(&mut m, &opt::Options::default(), &mut Silent)?;
//! assert!(report.solved() && (report.objective - 17.0140173).abs() < 1e-6);
//! assert!((x[1].value(&report) - 4.7429994).abs() < 1e-5 && product.multiplier(&report) < 0.0);
//! # Ok::<(), costate::Error>(())
//! ```
//!
//! Derivatives are exact and sparse. An expression is a tree that shares its parts; it is compiled when the model is first used: sums are taken apart, equal
//! terms are evaluated once, terms that differ by variables and constants alone run together. [`Model::set`] changes a parameter without compiling again.
//! [`nl::write`](crate::nl::write) gives a model to other solvers.

mod expression;
mod problem;

pub use expression::{Constraint, Expr, Expression, Parameter, Var, less_than, select};
pub use problem::{Model, Row, VariableDefinition, variable};
