//! CUTEst's Standard Input Format, read natively: no Fortran, no decoder.

mod batch;
mod card;
mod data;
mod decode;
#[cfg(test)]
mod decode_tests;
mod error;
mod evaluate;
mod expr;
mod finish;
mod function;
mod function_part;
mod graph;
mod hessian;
mod hs67;
mod key;
mod loops;
mod model;
mod number;
mod operand;
mod overrides;
mod params;
mod problem;
mod program;
mod stats;
mod store;
mod structure;
mod types;
mod uses;
mod warn;

pub use card::Card;
pub use decode::decode;
pub use error::{SifError, SifWarning};
pub use function_part::FunctionCards;
pub use model::{Decoded, ElementType, GroupKind, GroupType, Names, Ragged};
pub use problem::SifProblem;
pub use stats::SifStats;

/// How Fortran literals in the function part are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Literals {
    /// As doubles.
    #[default]
    Double,
    /// As CUTEst's compiled Fortran: literals without `D` are 32-bit, R-card coefficients keep five decimals.
    Cutest,
}

/// How to read a file.
#[derive(Debug, Clone, Default)]
pub struct SifOptions {
    /// Overrides of `$-PARAMETER` cards, name and value as text.
    pub params: Vec<(String, String)>,
    /// Which start point to use, counted from 1 in the order of the file; `None`: the first.
    pub start: Option<usize>,
    /// Literals of the function part.
    pub literals: Literals,
    /// Repair what can safely be repaired, with warnings, instead of refusing.
    pub lenient: bool,
}
