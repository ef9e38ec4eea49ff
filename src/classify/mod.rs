//! Classifiers without training.
//!
//! | classifier | decides by |
//! |---|---|
//! | [`DualKernel`] | the kernel of an infinitely wide network of any depth, on the positive orthant of a sphere |
//! | [`Vote::Hilbert`] | weights `|x - z|^-power` (Devroye, Gyorfi, Krzyzak 1998) |
//! | [`Vote::Nearest`], [`Vote::Majority`] | the nearest sample; the most frequent label |
//!
//! All of them let the samples vote: the label with the largest sum of weights wins, the smaller label of two equal ones. Weights are handled by their
//! logarithms, so that no depth underflows. Queries are shared among rayon's threads, one sum a thread: the same bits for any number.

mod dual_kernel;
mod vote;

pub use dual_kernel::{DualActivation, DualKernel, DualKernelOptions, WideKernel};
pub use vote::Vote;

/// Bad input of a classifier, as one sentence.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ClassifyError {
    /// A length, a label or an entry that does not fit.
    #[error("{what}")]
    Data {
        /// What was found and what was expected.
        what: String,
    },
    /// An option outside its range.
    #[error("option {option}: {what}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What was found and what was expected.
        what: String,
    },
}

impl ClassifyError {
    fn data(what: String) -> Self {
        Self::Data { what }
    }
}
