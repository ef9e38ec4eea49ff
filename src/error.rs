//! The caller's mistakes. What a solver finds out is a [`Report`](crate::report::Report), never an error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sif::SifError;

/// Bad input. Every variant prints as one sentence; the command ends with exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A problem file could not be understood.
    #[error(transparent)]
    Sif(#[from] SifError),
    /// A .nl model could not be understood.
    #[error(transparent)]
    Nl(#[from] NlError),
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

/// Where in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line, counted from 1.
    Line(usize),
    /// A byte, counted from 0.
    Byte(usize),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// A .nl model that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}: {what}")]
pub struct NlError {
    /// The file.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// What was found and what was expected.
    pub what: String,
}

/// Bad input to a map, an integration or its adjoint. Every variant prints as one sentence.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OdeError {
    /// t0 = t1.
    #[error("the time span is empty: t0 = t1 = {t0}")]
    EmptySpan {
        /// The common end.
        t0: f64,
    },
    /// A time is infinite or NaN.
    #[error("the time span from {t0} to {t1} is not finite")]
    SpanNotFinite {
        /// Start.
        t0: f64,
        /// End.
        t1: f64,
    },
    /// A vector of the wrong length.
    #[error("{what} has length {found}, expected {expected}")]
    Length {
        /// Which vector.
        what: &'static str,
        /// Its length.
        found: usize,
        /// What it should be.
        expected: usize,
    },
    /// An entry of the start or of the parameters is infinite or NaN.
    #[error("{what} is not finite: entry {index} is {value}")]
    NotFinite {
        /// Which vector.
        what: &'static str,
        /// Index of the first such entry.
        index: usize,
        /// The entry.
        value: f64,
    },
    /// An option outside its range.
    #[error("option {option} is {value}: it must be {must}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was given.
        value: f64,
        /// The range, in words.
        must: &'static str,
    },
    /// A save point outside the span.
    #[error("save point {index} is t = {t}, outside the span from {t0} to {t1}")]
    SaveOutside {
        /// Its index.
        index: usize,
        /// Its time.
        t: f64,
        /// Start.
        t0: f64,
        /// End.
        t1: f64,
    },
    /// Save points that do not follow the direction of integration.
    #[error("save points are not in the order of integration: t[{index}] = {t} follows {previous}")]
    SaveUnsorted {
        /// Index of the later one.
        index: usize,
        /// Its time.
        t: f64,
        /// The time before it.
        previous: f64,
    },
    /// The state, the workspace or the tape belong to another problem.
    #[error("{what}")]
    Mismatch {
        /// One sentence.
        what: String,
    },
    /// The field, its pullback, or what it was called with (an event, a sink) panicked; its own state is unknown from here on.
    #[error("the vector field panicked: {message}")]
    FieldPanicked {
        /// The panic's text.
        message: String,
    },
}

/// A length, as an error.
pub(crate) fn check_len(what: &'static str, found: usize, expected: usize) -> Result<(), OdeError> {
    if found == expected { Ok(()) } else { Err(OdeError::Length { what, found, expected }) }
}

/// Calls what is the user's; a panic becomes an error. The caller overwrites or drops whatever `f` left half done.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, OdeError> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|cause| {
        let text = cause.downcast_ref::<&str>().map(|s| s.to_string());
        let message = text.or_else(|| cause.downcast_ref::<String>().cloned());
        OdeError::FieldPanicked { message: message.unwrap_or_else(|| "a value that is not a text".into()) }
    })
}
