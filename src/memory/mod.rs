//! Memories that learn from a stream, one observation after another (nested learning, arXiv 2512.24695).
//!
//! | for | with |
//! |---|---|
//! | a linear map that drifts: identification, sensors, pairs of keys and values | [`DeltaMemory`] |
//! | a nonlinear one whose regimes come back: layers that learn at several time scales | [`Continuum`] |
//!
//! Both take `observe(x, y)` and `predict(x, y)` on slices and keep no samples. They can stand where a controller needs a model of what it controls.

mod continuum;
mod delta;

pub use continuum::{Continuum, ContinuumOptions};
pub use delta::{DeltaMemory, Rule};

use crate::error::Error;
use crate::linalg::Scalar;

/// One observation's part: as long as it must be, and finite.
fn check<T: Scalar>(option: &str, v: &[T], expected: usize, finite: bool) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Option { option: option.into(), what });
    if v.len() != expected {
        return wrong(format!("it has {} numbers, the memory takes {expected}", v.len()));
    }
    match v.iter().position(|v| finite && !v.is_finite()) {
        Some(i) => wrong(format!("entry {i} is {}: nothing was learned", v[i])),
        None => Ok(()),
    }
}
