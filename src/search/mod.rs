//! Searching among configurations of training, and not training the hopeless ones to their end.
//!
//! | for | with |
//! |---|---|
//! | which configurations to try | [`design`]: grid, random, Sobol points; models of the score: `surrogate::bayes_opt` |
//! | ending runs that will not be the best | [`early_stop`]: final scores predicted from the beginning of the curve |
//! | ending all but the best so far | [`halving`] |
//! | regression of few samples | [`kernel_ridge`], [`nu_svr`] |
//!
//! All of it from a file: `costate sweep`.

pub mod design;
pub mod early_stop;
pub mod halving;
pub mod kernel_ridge;
pub mod nu_svr;
mod rbf;

/// Bad input, or data that no model can be made of. Prints as one sentence.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what}")]
pub struct SearchError {
    /// One sentence.
    pub what: String,
}

impl SearchError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}
