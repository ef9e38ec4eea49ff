//! Problems of optimal control and of parameter estimation as nonlinear programs.
//!
//! - [`Trajectory`]: a solution as a function of its start and its parameters, with derivatives; [`Held`]: controls on a grid as parameters;
//! - [`Reduced`]: unknown parameters, starts and controls, one integration an evaluation; [`MultipleShooting`]: states at nodes unknown too, a sparse problem;
//! - [`solve`]: steps of the integration follow the solution.

mod adaptive;
mod held;
mod reduced;
#[cfg(test)]
mod reduced_tests;
mod shooting;
#[cfg(test)]
mod shooting_tests;
mod trajectory;

pub use adaptive::{Adaptive, solve};
pub use held::{Held, Hold};
pub use reduced::{Reduced, Saved};
pub use shooting::MultipleShooting;
pub use trajectory::{OfTrajectory, Trajectory};
