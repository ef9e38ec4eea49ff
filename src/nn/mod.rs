//! Parametrized maps with pullbacks: what neural differential equations are made of.
//!
//! A [`Map`] takes x (inputs x batch) to y (outputs x batch), column-major, with parameters p; [`MapField`] makes a map whose outputs
//! are as many as its inputs the right-hand side of a differential equation. All maps keep what their pullback needs, if asked.
//!
//! | map | y |
//! |---|---|
//! | [`Mlp`] | layers z = act(W x + t w + b), W by faer's GEMM, bias and activation in one pass |
//! | [`Mlp::linear`] | W x + b |
//! | [`Power`] | x_i^k |
//! | [`Elementwise`] | act(x_i) |
//! | [`Polynomial`] | sum_k p_ik x_i^k |
//! | [`Chain`] | B(A(x)) |
//! | [`Gru`] | gated recurrent unit, [x; h] -> h' |
//! | [`Parallel`] | any map, the batch cut into pieces for rayon, same bits for any number of threads |
//! | [`DualField`] | any closure on dual numbers, pullback by forward mode (for small systems) |
//!
//! Losses with their derivatives: [`softmax_cross_entropy`], [`gaussian_nll`], [`kl_standard_normal`], [`squared_error`].
//! [`Params`] names, initializes, saves and loads parameters; [`Jets`] propagates Taylor coefficients and transposes that.

mod activation;
mod chain;
mod dual;
mod formula;
mod gru;
mod jets;
mod loss;
mod mlp;
mod narrow;
mod parallel;
mod params;
mod poly;
mod tanh;

pub(crate) use params::{Array, ArrayFile, write_arrays, write_atomically};

pub use activation::Activation;
pub use chain::{Chain, MapField};
pub use dual::DualField;
pub use formula::{Formula, FormulaField};
pub use gru::Gru;
pub use jets::{Jet, JetBars, JetPass, Jets, MAX_ORDERS, factorial};
pub use loss::{gaussian_nll, kl_standard_normal, softmax_cross_entropy, squared_error};
pub use mlp::{Layer, Mlp};
pub use num_dual::{Dual, DualNum};
pub use parallel::Parallel;
pub use params::{Entry, Init, Params, ParamsError};
pub use poly::{Elementwise, Polynomial, Power};
pub use tanh::tanh_slice;

use crate::linalg::Scalar;

/// A parametrized map with its transpose. The batch is x.len() / inputs.
pub trait Map<T: Scalar> {
    /// Length of one input.
    fn inputs(&self) -> usize;
    /// Length of one output.
    fn outputs(&self) -> usize;
    /// Number of parameters.
    fn n_params(&self) -> usize;
    /// How many numbers `forward` keeps for `backward`.
    fn keep_len(&self, batch: usize) -> usize;
    /// y <- map(t, x, p), filling `keep`, of length `keep_len`.
    fn forward(&mut self, t: T, x: &[T], p: &[T], y: &mut [T], keep: &mut [T]);
    /// ADDS w' dy/dx to `x_bar` and w' dy/dp, summed over the batch, to `p_bar`; `y` and `keep` as `forward` left them.
    #[allow(clippy::too_many_arguments)]
    fn backward(
        &mut self,
        t: T,
        x: &[T],
        p: &[T],
        y: &[T],
        keep: &[T],
        w: &[T],
        x_bar: &mut [T],
        p_bar: &mut [T],
    );
}
