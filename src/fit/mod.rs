//! Regression on data: least squares with weights, robust losses, bounds and constraints, and what the data say of the parameters.
//!
//! ```
//! use costate::fit::LeastSquares;
//! use costate::{observe::Silent, opt};
//!
//! // Growth of pasture over time, y = b0 / (1 + exp(b1 - b2 t)).
//! let t = [9.0, 14.0, 21.0, 28.0, 42.0, 57.0, 63.0, 70.0, 79.0];
//! let y = [8.93, 10.8, 18.59, 22.33, 39.35, 56.11, 61.73, 64.62, 67.08];
//! let mut fit = LeastSquares::curve(&t, &y, &[75.0, 2.5, 0.07], |t, b| b[0] / (1.0 + (b[1] - b[2] * t).exp()))?;
//! let report = opt::solve(&mut fit, &opt::Options::default(), &mut Silent)?;
//! let s = fit.statistics(&report)?;
//! assert!((report.x[0] - 72.462237576).abs() < 1e-4 && (s.standard_errors[0] - 1.7340283401).abs() < 1e-4);
//! let (low, high) = s.interval(0, 0.95)?;
//! assert!((low - 68.219).abs() < 1e-2 && (high - 76.705).abs() < 1e-2);
//! # Ok::<(), costate::Error>(())
//! ```
//!
//! | residuals | by |
//! |---|---|
//! | y_i - f(t_i; b), f written for [`Active`](crate::diff::Active) numbers | [`LeastSquares::curve`] |
//! | expressions of a model, with its bounds and constraints | [`LeastSquares::model`] |
//! | a'w for many rows a, with families, penalties and constraints: no closures at all | [`regression`] |
//! | rows of any problem: [`Problem::from_dual`](crate::nlp::Problem::from_dual), closures with a Jacobian, a file | [`LeastSquares::of`] |

mod least_squares;
mod loss;
mod statistics;

pub use crate::regression;
pub use least_squares::LeastSquares;
pub use loss::Loss;
pub use statistics::Statistics;
