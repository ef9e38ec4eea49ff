//! Factorizations of square matrices for many right-hand sides: what an implicit step solves with.
//!
//! | factors | matrix | one factorization | allocates when refactoring |
//! |---|---|---|---|
//! | [`DenseLu`] | full; partial pivoting, own kernels when small, faer's blocked ones above | 2/3 n^3 | never |
//! | [`BandLu`] | `lower` and `upper` diagonals; partial pivoting inside the band | 2 n lower (lower + upper) | never |
//! | [`SparseLu`] | sparse; faer's, one symbolic analysis a pattern | by fill | with much fill |
//! | [`Krylov`] | sparse or an operator; GMRES, BiCGStab with [`Ilu0`] or another preconditioner | of the preconditioner | never |
//!
//! [`choose`] picks one for a pattern and says which; [`StepMatrix`] holds the W = M / (h gamma) - J of an implicit step in that form.
//!
//! All take a [`MatrixRef`] of any layout, in `f32` or `f64`, and give the same bits on every run and any number of threads. A solve is
//! in place: `b` is one right-hand side after the other and becomes the solutions. Errors are values that do not allocate; a step whose
//! matrix is singular is tried again with another length.
//!
//! ```
//! use costate::linalg::{BandRef, MatrixRef};
//! use costate::linsol::factors::{BandLu, Factors};
//!
//! // [2 1; 1 3] as a band with one diagonal on each side.
//! let values = [0.0, 2.0, 1.0, 1.0, 3.0, 0.0];
//! let mut lu = BandLu::new();
//! lu.factor(MatrixRef::Band(BandRef { n: 2, lower: 1, upper: 1, values: &values }))?;
//! let mut b = [3.0, 4.0];
//! lu.solve(&mut b)?;
//! assert_eq!(b, [1.0, 1.0]);
//! # Ok::<(), costate::linsol::factors::FactorError>(())
//! ```

mod band;
mod choose;
pub mod conformance;
mod dense;
mod entries;
mod faer;
mod faer_sparse;
mod ilu;
mod krylov;
mod narrow;
mod shifted;
mod sparse;
#[cfg(test)]
mod tests;

pub use band::BandLu;
pub use choose::{Choice, ChooseOptions, Preconditioning, Structure, choose};
pub use dense::DenseLu;
pub use ilu::Ilu0;
pub use krylov::{Krylov, KrylovMethod, KrylovOptions, Operator};
pub use shifted::{Layout, Mass, StepMatrix};
pub use sparse::SparseLu;

use crate::linalg::{MatrixRef, Scalar};

/// One matrix A, factored for many right-hand sides.
pub trait Factors<T: Scalar> {
    /// What the factorization is called in reports.
    fn name(&self) -> &'static str;
    /// Factors A, which may have another size than the one before. After an error nothing is factored.
    fn factor(&mut self, a: MatrixRef<'_, T>) -> Result<(), FactorError>;
    /// b <- A^-1 b for one or more right-hand sides of length n, one after the other.
    fn solve(&mut self, b: &mut [T]) -> Result<(), FactorError>;
    /// b <- A^-T b, likewise.
    fn solve_t(&mut self, b: &mut [T]) -> Result<(), FactorError>;
    /// Work and storage of the last factorization.
    fn facts(&self) -> FactorFacts;
    /// |b - A x| <= relative |b| for the solves to come, by iterative methods; direct ones have nothing to set.
    fn set_tolerance(&mut self, relative: f64) {
        let _ = relative;
    }
}

/// Work and storage, counted from the sizes and not timed: the same on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FactorFacts {
    /// Unknowns.
    pub n: usize,
    /// Floating-point operations of the factorization.
    pub flops: f64,
    /// Floating-point operations of a solve; for an iterative method those of the last one.
    pub solve_flops: f64,
    /// Stored entries of the factors.
    pub fill: usize,
    /// Iterations of the last solve; 0 for direct methods.
    pub iterations: usize,
}

/// A matrix that cannot be factored, or a solve that cannot be done.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum FactorError {
    /// No pivot is left.
    #[error("{solver}: the matrix is singular: there is no pivot for unknown {column}")]
    Singular {
        /// The factorization.
        solver: &'static str,
        /// The unknown, from 0.
        column: usize,
    },
    /// NaN or infinity among the entries.
    #[error("{solver}: entry ({row}, {column}) of the matrix is not finite")]
    NotFinite {
        /// The factorization.
        solver: &'static str,
        /// Row of the first such entry, column by column.
        row: usize,
        /// Its column.
        column: usize,
    },
    /// All entries are finite, the factors are not.
    #[error("{solver}: the factors of the matrix overflow; scale its rows")]
    Overflow {
        /// The factorization.
        solver: &'static str,
    },
    /// Slices of the matrix do not have the lengths of its sizes, or it is not square.
    #[error("{solver}: the matrix is not square or its storage does not fit its size")]
    Malformed {
        /// The factorization.
        solver: &'static str,
    },
    /// A right-hand side of the wrong length, or nothing is factored.
    #[error(
        "{solver}: right-hand sides have {found} numbers, not a multiple of the {n} unknowns of the factored matrix"
    )]
    Length {
        /// The factorization.
        solver: &'static str,
        /// Numbers given.
        found: usize,
        /// Unknowns; 0 when nothing is factored.
        n: usize,
    },
    /// The storage does not fit in memory.
    #[error("{solver}: {numbers} numbers do not fit in memory")]
    Memory {
        /// The factorization.
        solver: &'static str,
        /// Numbers wanted.
        numbers: usize,
    },
    /// An iterative method did not reach its accuracy.
    #[error(
        "{solver}: the residual is {residual:.1e} of the right-hand side after {iterations} iterations, {wanted:.1e} was asked"
    )]
    NotConverged {
        /// The method.
        solver: &'static str,
        /// |b - A x| / |b| that was reached.
        residual: f64,
        /// |b - A x| / |b| that was asked.
        wanted: f64,
        /// Iterations.
        iterations: usize,
    },
}

/// The checks that every factorization does first.
fn well_formed<T: Scalar>(solver: &'static str, a: &MatrixRef<'_, T>) -> Result<usize, FactorError> {
    if a.is_well_formed() { Ok(a.n()) } else { Err(FactorError::Malformed { solver }) }
}

/// The number of right-hand sides in `len` numbers.
fn right_hand_sides(solver: &'static str, n: usize, len: usize) -> Result<usize, FactorError> {
    match len.checked_rem(n) {
        Some(0) => Ok(len / n),
        None if len == 0 => Ok(0),
        _ => Err(FactorError::Length { solver, found: len, n }),
    }
}

/// Why a factorization failed: an entry that is not finite, or what the factorization saw.
fn reason<T: Scalar>(solver: &'static str, a: &MatrixRef<'_, T>, otherwise: FactorError) -> FactorError {
    a.not_finite().map_or(otherwise, |(row, column)| FactorError::NotFinite { solver, row, column })
}

/// Resizes to `len` numbers of this value; an error instead of an abort where memory ends.
fn refill<V: Clone>(solver: &'static str, v: &mut Vec<V>, len: usize, value: V) -> Result<(), FactorError> {
    v.clear();
    v.try_reserve_exact(len).map_err(|_| FactorError::Memory { solver, numbers: len })?;
    v.resize(len, value);
    Ok(())
}
