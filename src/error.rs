//! The caller's mistakes. What a solver finds out is a [`Report`](crate::report::Report), never an error.

use crate::sif::SifError;

/// Bad input. Every variant prints as one sentence; the command ends with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A problem file could not be understood.
    #[error(transparent)]
    Sif(#[from] SifError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A problem whose sizes, bounds or patterns contradict each other.
    #[error("problem {name}: {what}")]
    Problem {
        /// The problem's name.
        name: String,
        /// What was found and what was expected.
        what: String,
    },
    /// A problem class that the chosen method does not treat.
    #[error("problem {name}: {what}")]
    Unsupported {
        /// The problem's name.
        name: String,
        /// What it has that is not treated.
        what: String,
    },
    /// An option outside its range, or options that exclude each other.
    #[error("option {option}: {what}")]
    Option {
        /// The option's name.
        option: String,
        /// What was found and what was expected.
        what: String,
    },
}
