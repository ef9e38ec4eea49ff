//! LU of a sparse matrix.

use super::entries::Entries;
use super::faer_sparse::{Failed, Predicted, SparseBackend};
use super::{FactorError, FactorFacts, Factors, reason, right_hand_sides, well_formed};
use crate::linalg::{MatrixRef, Pattern, Scalar};

const NAME: &str = "sparse LU";

/// P A Q = L U of a sparse matrix by faer: P from partial pivoting; Q from minimum degree of A + A' where the pattern is nearly symmetric and
/// fills little, from COLAMD else.
///
/// The order and the symbolic analysis are made once a pattern. Patterns with little fill are factored column by column (Gilbert and Peierls
/// 1988), and a second factorization with the same exchanges allocates nothing; those with much fill in blocks of columns (supernodes), where
/// each factorization allocates. Solves allocate nothing after the first with as many right-hand sides. One thread.
pub struct SparseLu<T> {
    n: Option<usize>,
    backend: Option<Box<dyn SparseBackend<T> + Send>>,
    entries: Entries<T>,
    /// The pattern that the backend has analyzed is that of the entries.
    analyzed: bool,
    predicted: Predicted,
}

impl<T: Scalar> Default for SparseLu<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> SparseLu<T> {
    /// Nothing is factored yet.
    pub fn new() -> Self {
        Self {
            n: None,
            backend: super::faer::sparse(),
            entries: Entries::default(),
            analyzed: false,
            predicted: Predicted::default(),
        }
    }

    /// Analyzes a pattern before there are values. The operations and the fill that it predicts are those of minimum degree without exchanges
    /// for a nearly symmetric pattern, and a bound for other ones.
    pub fn analyze(&mut self, a: &Pattern) -> Result<FactorFacts, FactorError> {
        self.n = None;
        self.analyzed = false;
        if a.nrows() != a.ncols() {
            return Err(FactorError::Malformed { solver: NAME });
        }
        let Some(backend) = &mut self.backend else { return Err(FactorError::Malformed { solver: NAME }) };
        self.predicted = backend.analyze(a).map_err(|_| self.no_memory(a.len()))?;
        self.entries.pattern = a.clone();
        self.analyzed = true;
        Ok(self.facts_of(a.nrows()))
    }

    fn no_memory(&self, numbers: usize) -> FactorError {
        FactorError::Memory { solver: NAME, numbers }
    }

    fn facts_of(&self, n: usize) -> FactorFacts {
        let known = if self.n.is_some() { self.backend.as_ref().and_then(|b| b.fill()) } else { None };
        let fill = known.map_or(self.predicted.fill, |fill| fill as f64);
        FactorFacts {
            n,
            flops: self.predicted.flops + n as f64,
            solve_flops: 2.0 * fill,
            fill: fill as usize,
            iterations: 0,
        }
    }

    fn run(&mut self, b: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let Some(n) = self.n else {
            return Err(FactorError::Length { solver: NAME, found: b.len(), n: 0 });
        };
        let count = right_hand_sides(NAME, n, b.len())?;
        if let Some(backend) = &mut self.backend
            && count > 0
        {
            backend.solve(b, count, transposed);
        }
        Ok(())
    }
}

impl<T: Scalar> Factors<T> for SparseLu<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn factor(&mut self, a: MatrixRef<'_, T>) -> Result<(), FactorError> {
        self.n = None;
        let n = well_formed(NAME, &a)?;
        if let Some((row, column)) = a.not_finite() {
            return Err(FactorError::NotFinite { solver: NAME, row, column });
        }
        if self.entries.take(NAME, &a)? || !self.analyzed {
            let pattern = std::mem::take(&mut self.entries.pattern);
            self.analyze(&pattern)?;
        }
        if let Some(backend) = &mut self.backend
            && n > 0
        {
            backend.factor(&self.entries.values).map_err(|failed| match failed {
                Failed::Singular(column) => FactorError::Singular { solver: NAME, column },
                Failed::Overflow => reason(NAME, &a, FactorError::Overflow { solver: NAME }),
                Failed::Memory => FactorError::Memory { solver: NAME, numbers: self.predicted.fill as usize },
            })?;
        }
        self.n = Some(n);
        Ok(())
    }

    fn solve(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, false)
    }

    fn solve_t(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, true)
    }

    fn facts(&self) -> FactorFacts {
        self.facts_of(self.n.unwrap_or(self.entries.pattern.nrows()))
    }
}
