//! Optimizers: one file each, listed in [`OptimizerConfig`]. All minimize; g is the gradient, a the learning rate of the step, t the step counted from 1.
//!
//! A new one is a file with its constants ([`OptimizerKind`]), its formula and its [`Optimizer`], and a row in `list.rs`.

mod adabelief;
mod adam;
mod adamax;
mod adamw;
mod am;
mod am_adamw;
mod check;
mod deep_momentum;
mod delta_momentum;
mod dgd;
mod facts;
mod lion;
mod list;
mod m3;
mod moments;
mod muon;
mod orthogonal;
mod sgd;
mod shampoo;
mod shapes;
mod sums;
mod sven;
#[cfg(test)]
mod sven_tests;
#[cfg(test)]
mod tests;

pub use adabelief::AdaBeliefConfig;
pub use adam::AdamConfig;
pub use adamax::AdaMaxConfig;
pub use adamw::AdamWConfig;
pub use am::AmConfig;
pub use am_adamw::AmAdamWConfig;
pub use deep_momentum::DeepMomentumConfig;
pub use delta_momentum::DeltaMomentumConfig;
pub use dgd::{DgdConfig, Target};
pub use facts::Facts;
pub use lion::LionConfig;
pub use list::{Needs, OptimizerConfig, OptimizerKind};
pub use m3::{Accumulation, M3Config};
pub use muon::MuonConfig;
pub use sgd::SgdConfig;
pub use shampoo::ShampooConfig;
pub use sven::{Form, SvenConfig};

use super::residual::ResidualTask;
use crate::linalg::Scalar;
use crate::nn::{Entry, LayerInputs};

/// One step changes parameters and internal state. A new optimizer implements three methods.
pub trait Optimizer<T: Scalar>: Send {
    /// Changes `p` by one step with gradient `g` (or what one of the two doors below made of the task) and learning rate `rate`.
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]);
    /// Its vectors by name, of lengths that do not change: what a checkpoint must hold besides the count.
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)>;
    /// Steps done.
    fn count(&mut self) -> &mut u64;
    /// Numbers of the last step that are worth a look, such as a momentum that sets itself; none by default.
    fn facts(&self, facts: &mut Facts) {
        let _ = facts;
    }
    /// The door of those that look at residuals in place of a gradient.
    fn by_residuals(&mut self) -> Option<&mut dyn ByResiduals<T>> {
        None
    }
    /// The door of those that look at the inputs of layers besides the gradient.
    fn by_inputs(&mut self) -> Option<&mut dyn ByInputs<T>> {
        None
    }
}

/// An optimizer of residuals.
pub trait ByResiduals<T: Scalar> {
    /// d <- what [`Optimizer::step`] is to go along, from the residuals r and the products with their derivatives at the same parameters. NaN where a decomposition failed.
    fn direction(&mut self, r: &[f64], of: &mut dyn ResidualTask<T>, d: &mut [T]);
}

/// An optimizer that takes the inputs of layers into account.
pub trait ByInputs<T: Scalar> {
    /// Makes of the gradient `g` at `p` what [`Optimizer::step`] is to go along with this rate.
    fn precondition(&mut self, rate: f64, p: &[T], layers: &[LayerInputs<T>], g: &mut [T]);
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
