//! Optimizers: one file each, listed in [`OptimizerConfig`]. All minimize; g is the gradient, a the learning rate of the step, t the step counted from 1.
//!
//! A new one is a file with its constants ([`OptimizerKind`]), its formula and its [`Optimizer`], and a row in `list.rs`.

mod adabelief;
mod adam;
mod adamax;
mod adamw;
mod check;
mod facts;
mod list;
mod moments;
mod sgd;
#[cfg(test)]
mod tests;

pub use adabelief::AdaBeliefConfig;
pub use adam::AdamConfig;
pub use adamax::AdaMaxConfig;
pub use adamw::AdamWConfig;
pub use facts::Facts;
pub use list::{OptimizerConfig, OptimizerKind};
pub use sgd::SgdConfig;

use crate::linalg::Scalar;
use crate::nn::Entry;

/// One step changes parameters and internal state. A new optimizer implements three methods.
pub trait Optimizer<T: Scalar>: Send {
    /// Changes `p` by one step with gradient `g` and learning rate `rate`.
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]);
    /// Its vectors by name, of lengths that do not change: what a checkpoint must hold besides the count.
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)>;
    /// Steps done.
    fn count(&mut self) -> &mut u64;
    /// Numbers of the last step that are worth a look, such as a momentum that sets itself; none by default.
    fn facts(&self, facts: &mut Facts) {
        let _ = facts;
    }
}

/// How many numbers these arrays have: the end of the last one.
pub fn count_of(entries: &[Entry]) -> usize {
    entries.iter().map(|e| e.range.end).max().unwrap_or(0)
}

/// |g| before clipping; with a limit, g is scaled down to it. A norm that is not finite leaves g as it is.
pub fn clip_norm<T: Scalar>(g: &mut [T], limit: Option<f64>) -> f64 {
    let norm = g.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt();
    if let Some(limit) = limit.filter(|l| norm.is_finite() && norm > *l) {
        let scale = T::of(limit / norm);
        g.iter_mut().for_each(|g| *g *= scale);
    }
    norm
}
