//! Problems whose states are integrated: optimal control and estimation by single and multiple shooting.
//!
//! - [`Trajectory`]: a solution as a function of its start and its parameters, with derivatives; [`Held`]: controls on a grid as parameters;
//! - [`Reduced`]: unknown parameters, starts and controls, one integration an evaluation; [`MultipleShooting`]: states at nodes unknown too, a sparse problem;
//! - [`solve`]: steps of the integration follow the solution.
//!
//! Fields are any maps with derivatives: recorded formulas, networks, and combinations of them; stiff ones by Rosenbrock methods.

mod adaptive;
mod held;
mod multiple;
#[cfg(test)]
mod multiple_tests;
mod reduced;
#[cfg(test)]
mod reduced_tests;
mod trajectory;

pub use adaptive::{Adaptive, solve};
pub use held::{Held, Hold};
pub use multiple::MultipleShooting;
pub use reduced::{Reduced, Saved};
pub use trajectory::{OfTrajectory, Trajectory};
