//! Derivatives of maps: where a Jacobian has entries, and which of its columns are found together.

pub mod colour;
pub mod detect;
