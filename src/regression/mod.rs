//! Regression with constraints on many rows: logistic, Poisson, least squares, Huber.
//!
//! ```text
//! min over w of  sum_i omega_i l(a_i'w, y_i) / sum_i omega_i  +  1/2 sum_j l2_j w_j^2  +  sum_j l1_j |w_j|
//! subject to     lower <= C w <= upper,   |w|_2 = r or <= r,   |w|_1 <= s,   bounds on w
//! ```
//!
//! | problem | solved by |
//! |---|---|
//! | smooth, no constraints | Newton's method with an exact or a sketched Hessian ([`newton()`]) |
//! | L1 penalty, no constraints | proximal Newton on the active set ([`lasso`]), also along a path ([`path()`]) and with folds ([`cross_validate`]) |
//! | constraints | [`opt::solve`](crate::opt::solve) on [`ConstrainedFit`], an [`Nlp`](crate::nlp::Nlp) |
//!
//! Sketches ([`randomized`](crate::randomized)) only replace Hessians: gradients, and with them the residual of the optimality conditions, are exact.

pub mod config;
mod constraints;
mod data_term;
mod families;
pub mod generated;
mod hessian;
mod lasso;
mod newton;
mod path;
mod problem;
mod read;
mod solve;

pub use constraints::{Constraints, LinearRow, Norm};
pub use data_term::{DataTerm, Rows};
pub use families::{Family, Terms};
pub use hessian::{HessianMaker, HessianModel};
pub use lasso::{LassoOptions, LassoReport, lasso, lasso_residual};
pub use newton::{NewtonOptions, NewtonReport, StepMethod, newton};
pub use path::{CrossValidation, PathOptions, PathPoint, cross_validate, largest_penalty, path};
pub use problem::ConstrainedFit;
pub use read::{Design, DesignOptions, read};
pub use solve::{Fitted, Regression, RegressionOptions, huber, least_squares, logistic, poisson};
