//! One layer of a perceptron.

use super::activation::Activation;

/// One layer y = act(W x + t w + b). Its parameters: W (outputs x inputs, column-major), w if `time`, b.
/// In other words: the row-major (inputs + 1) x outputs matrix of the row-vector convention [x, t] W, then b.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Length of x.
    pub inputs: usize,
    /// Length of y.
    pub outputs: usize,
    /// What follows.
    pub activation: Activation,
    /// Whether time is one more input.
    pub time: bool,
}

impl Layer {
    /// (inputs + time + 1) outputs.
    pub fn n_params(&self) -> usize {
        (self.inputs + self.time as usize + 1) * self.outputs
    }
    /// Numbers kept of one column besides y: the argument of the activation, where slopes are functions of it.
    pub(super) fn arguments(&self) -> usize {
        if self.activation.by_argument() { self.outputs } else { 0 }
    }
}
