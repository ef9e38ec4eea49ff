//! Optimal control by collocation, and by [`shooting`].
//!
//! ```text
//! minimize   phi(ends, p) + sum over phases of int L(t, x, u, p) dt
//! such that  x' = f(t, x, u, p),   lower <= g(t, x, u, p) <= upper,   conditions on the ends,   bounds
//! ```
//!
//! A [`Problem`] is written once, as closures over expressions ([`Point`]). On a [`Mesh`] a [`Scheme`] makes it a nonlinear program with exact sparse
//! derivatives ([`Transcription`], whose [`Model`](crate::model::Model) other solvers may have as an .nl file); [`solve`] solves it, and again on
//! finer meshes until the error is as wanted. A [`Solution`] has dense states and controls, and the costates that the multipliers of the defects are.
//!
//! ```
//! use costate::control::{Phase, Problem, Settings, quantity, solve};
//! use costate::observe::Silent;
//!
//! // The shortest time of a car from rest to rest over a distance of 1: x'' = u, |u| <= 1.
//! let car = Phase::new("car")
//!     .state(quantity("x").start(0.0).end(1.0))
//!     .state(quantity("v").start(0.0).end(0.0))
//!     .control(quantity("u").range(-1.0, 1.0))
//!     .free_end(0.1, 10.0, 1.0)
//!     .dynamics(|s| vec![s.x[1].clone(), s.u[0].clone()]);
//! let problem = Problem::new("car").phase(car).minimize(|ends| ends.end[0].t.clone());
//! let outcome = solve(&problem, &Settings::default(), &mut Silent)?;
//! assert!(outcome.reached && (outcome.solution.objective() - 2.0).abs() < 1e-4);
//! # Ok::<(), costate::Error>(())
//! ```
//!
//! Mathematics, signs and measurements: docs/optimal-control.md.

mod functions;
mod guess;
mod mesh;
mod problem;
pub mod problems;
mod refine;
pub mod shooting;
mod solution;
mod tableau;
mod transcription;

pub use mesh::Mesh;
pub use problem::{End, Ends, Moment, Nodes, Phase, Point, Problem, Quantity, quantity};
pub use refine::{Outcome, Round, Settings, solve};
pub use solution::{PhaseSolution, Solution};
pub use tableau::{MOST_STAGES, Scheme, Tableau};
pub use transcription::Transcription;

#[cfg(test)]
mod tests;
