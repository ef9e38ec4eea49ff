//! What must hold before an integration.

use crate::error::OdeError;
use crate::linalg::Scalar;

/// The first entry of `x` that is not finite, as an error.
pub(crate) fn check_finite<T: Scalar>(what: &'static str, x: &[T]) -> Result<(), OdeError> {
    match x.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(OdeError::NotFinite { what, index, value: x[index].f64() }),
        None => Ok(()),
    }
}

/// The span of integration.
pub(crate) fn check_span<T: Scalar>((t0, t1): (T, T)) -> Result<(), OdeError> {
    if !(t0.is_finite() && t1.is_finite()) {
        return Err(OdeError::SpanNotFinite { t0: t0.f64(), t1: t1.f64() });
    }
    if t0 == t1 { Err(OdeError::EmptySpan { t0: t0.f64() }) } else { Ok(()) }
}
