//! What must hold before an integration.

use crate::diff::Map;
use crate::error::{OdeError, check_len};
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

/// What must hold before an integration.
pub(crate) fn check_problem<T: Scalar, F: Map<T> + ?Sized>(
    field: &F,
    (dim, batch): (usize, usize),
    span: (T, T),
    y0: &[T],
    p: &[T],
) -> Result<(), OdeError> {
    check_len("the field's state", field.inputs(), dim)?;
    check_len("the field's value", field.outputs(), dim)?;
    check_len("the start", y0.len(), dim * batch)?;
    let parts = field.directions() + 1;
    if !batch.is_multiple_of(parts) {
        let what =
            format!("a batch of {batch} does not consist of {parts} parts, a state and its directions");
        return Err(OdeError::Mismatch { what });
    }
    check_len("the parameter vector", p.len(), field.n_params())?;
    check_span(span)?;
    check_finite("the start", y0)?;
    check_finite("the parameter vector", p)
}
