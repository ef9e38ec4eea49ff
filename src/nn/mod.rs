//! Parametrized maps with pullbacks: what neural differential equations are made of.
//!
//! Layers are [`Map`]s ([`crate::diff`]): they keep what their products need, if asked, and one with as many outputs as inputs is the right-hand side of a
//! differential equation as it is.
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
//!
//! Losses with their derivatives: [`softmax_cross_entropy`], [`gaussian_nll`], [`kl_standard_normal`], [`squared_error`].
//! Per sample: [`Map::vjp_each`], [`Map::gram`] (M M', for a perceptron by a formula of its layers), [`Map::layer_inputs`].
//! [`Params`] names, initializes, saves and loads parameters; [`Jets`] propagates Taylor coefficients and transposes that.

mod activation;
mod gru;
mod jets;
mod layer;
mod loss;
mod mlp;
mod mlp_tangent;
mod narrow;
mod parallel;
mod params;
mod per_sample;
mod poly;
mod without_taylor;

pub(crate) use params::{Array, ArrayFile, write_arrays, write_atomically};

pub use crate::diff::{Chain, Entry, Init, LayerInputs, Map};
pub use crate::linalg::tanh::tanh_slice;
pub use activation::Activation;
pub use gru::Gru;
pub use jets::{Jet, JetBars, JetPass, Jets, MAX_ORDERS, factorial};
pub use layer::Layer;
pub use loss::{gaussian_nll, kl_standard_normal, softmax_cross_entropy, squared_error};
pub use mlp::Mlp;
pub use parallel::Parallel;
pub use params::{Params, ParamsError};
pub use poly::{Elementwise, Polynomial, Power};
pub use without_taylor::WithoutTaylor;
