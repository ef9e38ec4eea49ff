//! The entries of a matrix of any layout in the order of a pattern that is kept while it fits.

use super::{FactorError, refill};
use crate::linalg::{MatrixRef, Pattern, Scalar, Storage};

/// A pattern and values in its order.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries<T> {
    pub pattern: Pattern,
    pub values: Vec<T>,
}

impl<T: Scalar> Entries<T> {
    /// Takes over the values of A; true if its entries did not fit the pattern, which is then a new one.
    pub fn take(&mut self, solver: &'static str, a: &MatrixRef<'_, T>) -> Result<bool, FactorError> {
        let new = !self.fits(a);
        if new {
            self.pattern = pattern_of(a);
        }
        refill(solver, &mut self.values, self.pattern.len(), T::ZERO)?;
        match a {
            MatrixRef::Sparse(s) if s.storage == Storage::General => self.values.copy_from_slice(s.values),
            _ => a.for_each(|i, j, v| {
                if let Some(k) = self.pattern.position(i, j) {
                    self.values[k] = v;
                }
            }),
        }
        Ok(new)
    }

    fn fits(&self, a: &MatrixRef<'_, T>) -> bool {
        let p = &self.pattern;
        match a {
            MatrixRef::Sparse(s) if s.storage == Storage::General => {
                p.nrows() == s.nrows && p.col_ptr() == s.col_ptr && p.row_idx() == s.row_idx
            }
            _ => {
                // The pattern of another layout may be larger than the entries.
                let mut all = p.nrows() == a.n() && p.ncols() == a.n();
                a.for_each(|i, j, v| all = all && (!is_stored(a, v) || p.position(i, j).is_some()));
                all
            }
        }
    }
}

fn pattern_of<T: Scalar>(a: &MatrixRef<'_, T>) -> Pattern {
    if let MatrixRef::Sparse(s) = a {
        return Pattern::of(*s);
    }
    let mut rows_of = vec![Vec::new(); a.n()];
    a.for_each(|i, j, v| {
        if is_stored(a, v) {
            rows_of[j].push(i);
        }
    });
    Pattern::of_columns(a.n(), rows_of)
}

/// Zeros of a dense matrix are no entries.
fn is_stored<T: Scalar>(a: &MatrixRef<'_, T>, v: T) -> bool {
    v != T::ZERO || !matches!(a, MatrixRef::Dense { .. })
}
