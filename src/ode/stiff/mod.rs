//! Stiff problems.

mod auto;
mod diffsol;
mod integrator;
mod linearize;
mod lu;
mod step;
mod tableau;

pub use auto::{Auto, Switch};
pub use diffsol::{Diffsol, DiffsolMethod};
pub use integrator::{StiffIntegrator, solve_stiff};
pub use linearize::{Differences, FromPullback, Linearize, LinearizePullback, Point, WithJacobian};
pub use tableau::{RODAS3P, RODAS4, RODAS5P, RosenbrockTableau};

pub(crate) use lu::solve_transposed;
pub(crate) use step::{RosStages, Rosenbrock};
