//! CUTEst's Standard Input Format, read natively: no Fortran, no decoder.

mod card;
mod data;
mod decode;
#[cfg(test)]
mod decode_tests;
mod error;
mod finish;
mod fortran;
mod function;
mod function_part;
mod hs67;
mod key;
mod loops;
mod model;
mod number;
mod operand;
mod overrides;
mod params;
mod problem;
mod stats;
mod store;
mod types;
mod uses;
mod warn;

pub use crate::expr::Ragged;
pub use card::Card;
pub use decode::decode;
pub use error::{SifError, SifWarning};
pub use function_part::FunctionCards;
pub use model::{Decoded, ElementType, GroupKind, GroupType, Names};
pub use problem::SifProblem;

/// How Fortran literals in the function part are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Literals {
    /// As doubles.
    #[default]
    Double,
    /// As CUTEst's compiled Fortran: literals without `D` are 32-bit, R-card coefficients keep five decimals.
    Cutest,
}

/// What a file may cost before it is refused: a few lines with loops can ask for anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SifLimits {
    /// Cards run, loop trips included.
    pub cards: u64,
    /// Units of memory, at most about 50 bytes each: 4 for a variable or real parameter, 6 for a group, 3 for an element and 1 for
    /// each of its variables and parameters, 1 for a coefficient or use. Evaluation may take 8 numbers for each.
    pub objects: u64,
    /// Contributions to the Hessian, about 30 bytes each; where there are more it has no pattern, only products.
    pub hessian: u64,
}

impl Default for SifLimits {
    /// Seconds and 3 GB at worst: 10^7 variables are read, 10^9 trips of a loop are not.
    fn default() -> Self {
        Self { cards: 200_000_000, objects: 60_000_000, hessian: 1 << 26 }
    }
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
    /// What the file may cost.
    pub limits: SifLimits,
}
