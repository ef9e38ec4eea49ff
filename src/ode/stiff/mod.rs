//! Stiff problems: Rosenbrock methods and the automatic choice.
//!
//! Why Rosenbrock and not an implicit Runge-Kutta or multistep method: a step is a fixed sequence of operations, without an iteration whose
//! stopping rule would be part of the program; so it has an exact transpose, and on systems of up to some tens of unknowns it is
//! the fastest family (Hairer and Wanner, Solving ODEs II, IV.10; `benches/stiff.rs`). Its price is the Jacobian and a factorization in every step,
//! and, for the transpose, second derivatives of f, which are one directional derivative of the pullback a stage
//! ([`Map::vjp_tangent`](crate::diff::Map::vjp_tangent), or differences of pullbacks).
//!
//! Many unknowns: the matrix of a step takes the structure of the Jacobian ([`Map::structure`](crate::diff::Map::structure)), a band or sparse, with
//! the factors of [`linsol::factors`](crate::linsol::factors).
//!
//! A field by products ([`Map::by_products`](crate::diff::Map::by_products)) has no matrix at all (`products.rs`): GMRES to a thousandth of the tolerance is then part of the step, so
//! steps, and gradients, are right to that accuracy only; its residual is no part of what is differentiated.
//!
//! A step is a function of (t, h, y0) alone: nothing is carried over from the step before, so that any step can be computed again from its start.

mod auto;
mod balance;
mod integrator;
mod invariants;
mod matrices;
mod price;
mod products;
mod step;
mod tableau;

pub use auto::{Auto, SavedAuto, Switch};
pub use integrator::{LinearlyImplicit, StiffIntegrator};
pub use tableau::{RODAS3P, RODAS4, RODAS5P, RosenbrockTableau};

pub(crate) use step::{RosStages, Rosenbrock};
