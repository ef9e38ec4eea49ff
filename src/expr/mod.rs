//! Expressions: graphs without duplicates, compiled to programs that run over blocks of elements.
//!
//! A model file gives [`parts::Parts`]: functions of element and group types with their derivatives, and where they are used.
//! [`evaluate::Evaluator`] sorts equal types into batches, finds sparsity patterns and computes values, gradients, Jacobians and Hessians.

pub(crate) mod batch;
pub(crate) mod evaluate;
mod external;
pub(crate) mod graph;
mod hessian;
pub(crate) mod parts;
mod program;
pub(crate) mod structure;

pub use external::External;
pub use parts::Ragged;
