//! What can go wrong in training.

use crate::data::DataError;
use crate::nn::ParamsError;
use crate::ode::OdeError;

/// Bad input, unusable files, or a pass that could not be done. Prints as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting that cannot be used.
    #[error("{what}")]
    Config {
        /// One sentence.
        what: String,
    },
    /// A data file that is missing, truncated, or something else than expected.
    #[error("{path}: {what}")]
    Data {
        /// The file.
        path: String,
        /// What is wrong with it.
        what: String,
    },
    /// A table that cannot be read or used.
    #[error(transparent)]
    Table(#[from] DataError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A parameter or checkpoint file.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// A call of the solver that cannot be right.
    #[error(transparent)]
    Ode(#[from] OdeError),
    /// The solver gave up.
    #[error("the solver did not reach the end: {what}")]
    Solver {
        /// Its message.
        what: String,
    },
}

impl TrainError {
    /// A setting that cannot be used.
    pub fn config(what: impl Into<String>) -> Self {
        Self::Config { what: what.into() }
    }
}
