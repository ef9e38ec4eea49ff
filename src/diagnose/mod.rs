//! What a training run is doing: curvature, rank of what was learned, samples that pull against each other.
//!
//! | question | answer |
//! |---|---|
//! | how curved is the loss? | [`sharpness`]: the largest eigenvalue of its Hessian, by Lanczos on products ([`product_by_differences`] makes them of gradients) |
//! | how many directions do features use? | [`effective_rank`] |
//! | which samples make it spike? | [`Opposing`] |
//! | did it spike? | [`spikes`] |
//!
//! Gradient descent with rate a is stable where the sharpness is below 2 / a. In a run, `[diagnose]` switches them on
//! ([`Watched`](crate::train::Watched)).

mod opposing;
mod rank;
mod sharpness;

pub use opposing::{Opposing, Outlier, cosine, spikes};
pub use rank::effective_rank;
pub use sharpness::{Sharpness, product_by_differences, sharpness};
