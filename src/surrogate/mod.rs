//! Models of functions that are expensive to evaluate, and what they are for.
//!
//! | for | with |
//! |---|---|
//! | minimizing a simulation in few evaluations | [`bayes_opt`]: ask and tell, constraints, integers, failures |
//! | better points from a table of past experiments, without new ones | [`bridge`] |
//! | the best of many candidates with features | [`bandit`] |
//! | regression with an error bar, derivatives, samples | [`gp`] on a [`kernel`] |
//!
//! Models besides Gaussian processes, for the searches: [`networks`] (samples of a posterior by [`hmc`], ensembles), [`deep_kernel`].
//!
//! `docs/methods.md` has an example of each.

pub mod acquisition;
pub mod bandit;
pub mod bayes_opt;
pub mod bridge;
pub mod campaign;
mod climb;
pub mod deep_kernel;
pub mod gp;
pub mod hmc;
mod journal;
pub mod kernel;
mod members;
pub mod model;
pub mod networks;
pub mod space;

pub use crate::normal;

/// Bad input, or data that no model can be made of. Prints as one sentence.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{what}")]
pub struct SurrogateError {
    /// One sentence.
    pub what: String,
}

impl SurrogateError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}
