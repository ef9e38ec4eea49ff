//! Networks trained a few units at a time.

mod gbnn;
mod loss;

pub use gbnn::{Gbnn, GbnnOptions};
pub use loss::{BoostError, Targets};
