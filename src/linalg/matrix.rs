//! A square matrix in one of the layouts that factorizations take.

use super::{BandMut, BandRef, Scalar, SparseRef, Storage, scale};

/// A borrowed square matrix.
#[derive(Debug, Clone, Copy)]
pub enum MatrixRef<'a, T> {
    /// n x n numbers, column by column.
    Dense {
        /// Rows and columns.
        n: usize,
        /// The numbers.
        values: &'a [T],
    },
    /// A band.
    Band(BandRef<'a, T>),
    /// Compressed columns, all entries or one triangle.
    Sparse(SparseRef<'a, T>),
}

/// The values of a square matrix, to be written; the pattern of a sparse one is known to both sides.
#[derive(Debug)]
pub enum MatrixMut<'a, T> {
    /// n x n numbers, column by column.
    Dense(&'a mut [T]),
    /// A band.
    Band(BandMut<'a, T>),
    /// The values in the order of the pattern.
    Sparse(&'a mut [T]),
}

impl<'a, T: Scalar> MatrixRef<'a, T> {
    /// Rows and columns of the matrix; of a sparse one its rows.
    pub fn n(&self) -> usize {
        match self {
            Self::Dense { n, .. } => *n,
            Self::Band(a) => a.n,
            Self::Sparse(a) => a.nrows,
        }
    }

    /// The slices have the lengths that the sizes ask for, and the matrix is square.
    pub fn is_well_formed(&self) -> bool {
        match self {
            Self::Dense { n, values } => n.checked_mul(*n) == Some(values.len()),
            Self::Band(a) => a.n.checked_mul(a.width()) == Some(a.values.len()),
            Self::Sparse(a) => {
                let end = a.col_ptr.last().copied().unwrap_or(0);
                a.nrows == a.ncols
                    && a.col_ptr.len() == a.ncols + 1
                    && end == a.values.len()
                    && end == a.row_idx.len()
                    && a.col_ptr.windows(2).all(|w| {
                        // Ascending and below the number of rows.
                        w[0] <= w[1]
                            && w[1] <= end
                            && a.row_idx[w[0]..w[1]].windows(2).all(|r| r[0] < r[1])
                            && a.row_idx[w[0]..w[1]].last().is_none_or(|&i| i < a.nrows)
                    })
            }
        }
    }

    /// Calls `f(i, j, value)` for every stored entry, column by column; both entries of a symmetric pair.
    #[inline(always)]
    pub fn for_each(&self, mut f: impl FnMut(usize, usize, T)) {
        match self {
            Self::Dense { n, values } => {
                for (j, column) in values.chunks_exact((*n).max(1)).enumerate() {
                    column.iter().enumerate().for_each(|(i, &v)| f(i, j, v));
                }
            }
            Self::Band(a) => {
                for j in 0..a.n {
                    a.rows(j).for_each(|i| f(i, j, a.values[a.position(i, j)]));
                }
            }
            Self::Sparse(a) => {
                for j in 0..a.ncols {
                    for k in a.col_ptr[j]..a.col_ptr[j + 1] {
                        let (i, v) = (a.row_idx[k], a.values[k]);
                        f(i, j, v);
                        if a.storage == Storage::SymmetricLower && i != j {
                            f(j, i, v);
                        }
                    }
                }
            }
        }
    }

    /// The first entry that is not finite.
    pub fn not_finite(&self) -> Option<(usize, usize)> {
        let mut found = None;
        self.for_each(|i, j, v| {
            if found.is_none() && !v.is_finite() {
                found = Some((i, j));
            }
        });
        found
    }

    /// y <- alpha A x + beta y.
    pub fn apply(&self, alpha: T, x: &[T], beta: T, y: &mut [T]) {
        scale(beta, y);
        self.for_each(|i, j, v| y[i] += alpha * (v * x[j]));
    }

    /// y <- alpha A' x + beta y.
    pub fn apply_t(&self, alpha: T, x: &[T], beta: T, y: &mut [T]) {
        scale(beta, y);
        self.for_each(|i, j, v| y[j] += alpha * (v * x[i]));
    }

    /// (lower, upper) bandwidth of the stored entries; zeros of a dense matrix are none.
    pub fn bandwidth(&self) -> (usize, usize) {
        let (mut lower, mut upper) = (0, 0);
        match self {
            Self::Band(a) => (lower, upper) = (a.lower.min(a.n.max(1) - 1), a.upper.min(a.n.max(1) - 1)),
            _ => self.for_each(|i, j, v| {
                if v != T::ZERO || matches!(self, Self::Sparse(_)) {
                    (lower, upper) = (lower.max(i.saturating_sub(j)), upper.max(j.saturating_sub(i)));
                }
            }),
        }
        (lower, upper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::Pattern;

    /// The same 4 x 4 matrix with one diagonal below and two above in three layouts.
    #[test]
    fn layouts_agree() {
        let (n, pattern) = (4, Pattern::banded(4, 1, 2));
        let at = |i: usize, j: usize| 1.0 + i as f64 - 0.3 * (j * j) as f64;
        let sparse: Vec<f64> = pattern.entries().map(|(i, j)| at(i, j)).collect();
        let mut dense = vec![0.0; n * n];
        let mut band = vec![f64::NAN; n * 4];
        pattern.entries().for_each(|(i, j)| {
            dense[j * n + i] = at(i, j);
            *BandMut { n, lower: 1, upper: 2, values: &mut band }.at(i, j) = at(i, j);
        });
        let all = [
            MatrixRef::Dense { n, values: &dense },
            MatrixRef::Band(BandRef { n, lower: 1, upper: 2, values: &band }),
            MatrixRef::Sparse(pattern.with_values(&sparse)),
        ];
        let x = [1.0, -2.0, 0.5, 3.0];
        for a in all {
            assert!(a.is_well_formed());
            assert_eq!((a.n(), a.bandwidth(), a.not_finite()), (n, (1, 2), None));
            for transposed in [false, true] {
                let mut y = [1.0; 4];
                let mut want = [2.0; 4];
                if transposed {
                    a.apply_t(3.0, &x, 2.0, &mut y)
                } else {
                    a.apply(3.0, &x, 2.0, &mut y)
                }
                for i in 0..n {
                    for j in 0..n {
                        let v = if transposed { dense[i * n + j] } else { dense[j * n + i] };
                        want[i] += 3.0 * v * x[j];
                    }
                }
                y.iter().zip(want).for_each(|(y, w)| assert!((y - w).abs() < 1e-14));
            }
        }
        dense[6] = f64::INFINITY;
        assert_eq!(MatrixRef::Dense { n, values: &dense }.not_finite(), Some((2, 1)));
        assert!(!MatrixRef::Dense { n: 3, values: &dense }.is_well_formed());
    }
}
