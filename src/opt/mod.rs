//! Optimization: inexact Newton with randomized sketching on the exact augmented Lagrangian, and an interior-point method for
//! bounds and inequalities.
//!
//! Hong, Na, Mahoney, Kolar, "Constrained Optimization via Exact Augmented Lagrangian and Randomized Iterative Sketching",
//! ICML 2023. Signs and residuals: `docs/notation.md`. From the ground up:
//!
//! - `options`, `budget`, `watch`: what the user wants, what may still be spent, who listens;
//! - `problem`: the user's problem in standard form, scaled, and the way back;
//! - `iterate`: the current, the trial and the best point;
//! - `hessian`: second derivatives, exact, by differences or learned;
//! - `kkt`: the linear system of a step, its regularization, inexact directions;
//! - `judge`: what is remembered of a solve for its verdict;
//! - `phase`: what the phases of a solve share;
//! - `globalization`: which steps are accepted;
//! - `verdict`, `second_look`: the tests that end a solve;
//! - `methods`: five iterations on one loop;
//! - `strategy`: which methods are tried, as tables;
//! - `sensitivity`: derivatives of a solution;
//! - `presolved`: a solve of the problem that presolve leaves, and the report of the whole one;
//! - `surrogated`, `attack`, `direct_search`, `hybrid`: maximizing network surrogates and black boxes without second derivatives;
//! - `minimized`: maximization; `complementary`: complementarity conditions; `message`: a report in one sentence;
//! - `solver`: from the problem to the report, and many solves with one structure.

pub mod attack;
mod budget;
mod complementary;
pub mod direct_search;
mod globalization;
mod hessian;
pub mod hybrid;
mod iterate;
mod judge;
mod kkt;
pub mod lbfgs;
mod message;
mod methods;
mod minimized;
mod options;
mod phase;
mod presolved;
mod problem;
mod second_look;
mod sensitivity;
mod solver;
mod strategy;
pub mod surrogated;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod verdict;
mod watch;

pub use options::{AccuracyRule, HessianModel, Method, Options, WarmStart};
pub use sensitivity::{ProblemChange, Sensitivity, SolutionChange};
pub use solver::{Solver, Start, first_kkt_matrix, solve};
