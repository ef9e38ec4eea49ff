//! Randomized linear algebra for tall matrices: many more rows than columns.
//!
//! | to do | with |
//! |---|---|
//! | rows in memory (dense or sparse) or read in blocks | [`TallMatrix`], [`RowSource`] |
//! | S A with few rows | [`sketch`], [`SketchKind`] |
//! | rows drawn by their approximate leverage | [`LeverageScores`], [`RowSample`] |
//! | min over x of |A x - b|, as accurate as Householder QR | [`least_squares`] |
//! | A'D A x = b with a factor from a sketch | [`conjugate_gradients`] |
//!
//! Every sum over rows has a fixed order, so results do not depend on the number of threads. Everything random is a function of a seed and of the row.
//!
//! How good a sketch is, is measured, not assumed: with R'R = (S A)'(S A) the eigenvalues of R^-T A'A R^-1 lie in [1/(1 + e)^2, 1/(1 - e)^2] for a sketch of
//! distortion e, and [`Distortion`] estimates them from the coefficients of conjugate gradients.

mod conjugate;
mod counter;
mod distortion;
mod factor;
mod hadamard;
mod least_squares;
mod leverage;
mod sketch;
mod tall;

pub use conjugate::{CgEnd, CgOptions, CgReport, conjugate_gradients};
pub use counter::normal_numbers;
pub(crate) use counter::random_folds;
pub use distortion::Distortion;
pub use factor::Factor;
pub use least_squares::{
    LeastSquares, LeastSquaresEnd, LeastSquaresMethod, LeastSquaresOptions, backward_error, least_squares,
};
pub use leverage::{LeverageScores, RowSample};
pub use sketch::{SketchKind, Sketched, sketch};
pub(crate) use tall::split as split_rows;
pub use tall::{Block, RowSource, TallMatrix};
