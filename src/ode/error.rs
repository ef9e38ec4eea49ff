//! What a caller can get wrong; what a solve finds out is an [`OdeReport`](super::OdeReport).

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bad input to an integration or its adjoint. Every variant prints as one sentence.
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

/// The first entry of `x` that is not finite, as an error.
pub(crate) fn check_finite<T: crate::linalg::Scalar>(what: &'static str, x: &[T]) -> Result<(), OdeError> {
    match x.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(OdeError::NotFinite { what, index, value: x[index].f64() }),
        None => Ok(()),
    }
}

/// The span of integration.
pub(crate) fn check_span<T: crate::linalg::Scalar>((t0, t1): (T, T)) -> Result<(), OdeError> {
    if !(t0.is_finite() && t1.is_finite()) {
        return Err(OdeError::SpanNotFinite { t0: t0.f64(), t1: t1.f64() });
    }
    if t0 == t1 { Err(OdeError::EmptySpan { t0: t0.f64() }) } else { Ok(()) }
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
