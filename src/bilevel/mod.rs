//! Derivatives of what training led to, with respect to anything used in it.
//!
//! | to do | with |
//! |---|---|
//! | gradient of a final loss by samples, rates, momenta, start | [`Unrolled`], on an [`Inner`] of your own or [`Taught`] |

mod taught;
mod unroll;

pub use taught::{CrossEntropy, Curved, SquaredError, Taught};
pub use unroll::{Inner, Learned, Schedule, Unrolled};
