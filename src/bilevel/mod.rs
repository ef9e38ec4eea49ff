//! Derivatives of what training led to, with respect to anything used in it.
//!
//! | to do | with |
//! |---|---|
//! | gradient of a final loss by samples, rates, momenta, start | [`Unrolled`], on an [`Inner`] of your own or [`Taught`] |
//! | the same where a differential equation is trained, with a price on its steps | [`Solved`] |
//! | hyper-parameters tuned while a network is trained | [`tune`], with a network whose weights respond ([`Responsive`]) |
//! | the same for any training, a differential equation's too | [`tune_inner`] |

mod respond;
mod responsive;
mod solved;
mod taught;
mod tune;
mod unroll;

pub use respond::{TunedInner, tune_inner};
pub use responsive::Responsive;
pub use solved::{Solved, SolvedLoss, SolvedProblem};
pub use taught::{CrossEntropy, Curved, SquaredError, Taught};
pub use tune::{TuneOptions, TuneReport, Tuned, tune};
pub use unroll::{Inner, InnerSteps, Learned, Unrolled};
