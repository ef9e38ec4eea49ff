//! Derivatives of what training led to, with respect to anything used in it.
//!
//! | to do | with |
//! |---|---|
//! | gradient of a final loss by samples, rates, momenta, start | [`Unrolled`], on an [`Inner`] of your own or [`Taught`] |
//! | hyper-parameters tuned while a network is trained | [`tune`], with a network whose weights respond ([`Responsive`]) |

mod responsive;
mod taught;
mod tune;
mod unroll;

pub use responsive::Responsive;
pub use taught::{CrossEntropy, Curved, SquaredError, Taught};
pub use tune::{TuneOptions, TuneReport, Tuned, tune};
pub use unroll::{Inner, InnerSteps, Learned, Unrolled};
