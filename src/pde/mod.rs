//! Partial differential equations on structured grids, and the optimization problems they constrain.
//!
//! [`Grid`]: 1, 2 or 3 dimensions, any number of cells, boundary conditions of each side. [`Operator`]: -div(a grad u) + c u by finite differences
//! or Q1 elements, matrix-free. [`Multigrid`]: V and W cycles and full multigrid, as a solver and as a preconditioner. [`Control`]: optimal
//! control of an elliptic equation as an [`Nlp`](crate::nlp::Nlp) with products and a preconditioner of its KKT systems, solved by
//! [`opt::solve`](crate::opt::solve).
//!
//! All operators are divided by the volume of a cell of the finest grid: the finite differences of -div(a grad u) are those of the textbook,
//! masses are 1 inside and 1/2 on a side that belongs to the grid. Sums are formed in an order that does not depend on the number of threads.

mod algebraic;
mod burgers;
mod coefficient;
mod control;
mod equation;
mod fields;
mod grid;
mod heat;
mod interpolation;
mod krylov;
mod line;
mod multigrid;
mod operator;
mod parallel;
#[cfg(test)]
mod problem_tests;
mod quadratic;
mod stencil;
mod tensor;
#[cfg(test)]
mod tests;

pub use algebraic::AlgebraicMultigrid;
pub use burgers::{Burgers, BurgersSpec};
pub use coefficient::{Identification, IdentificationSpec, Material, MaterialSpec};
pub use control::{Control, ControlSpec, Reaction, Where};
pub use equation::StateEquation;
pub use fields::{write_npy, write_vtk};
pub use grid::{Axis, Boundary, Grid, Scheme};
pub use heat::{HeatControl, HeatSpec, ReducedHeat};
pub use krylov::Solved;
pub use multigrid::{Cycle, Multigrid, MultigridOptions, Smoother};
pub use operator::{Diffusion, Operator};
pub use quadratic::QuadraticSolution;
