//! Operators and sparse storage. Vectors are slices.

mod band;
mod cholesky;
mod dense;
pub(crate) mod kernels;
mod matrix;
pub(crate) mod normal;
pub mod order;
mod scalar;
pub(crate) mod small_lu;
mod sparse;
mod spectral;
pub(crate) mod tanh;
mod vector;

pub use band::{BandMut, BandRef};
pub use cholesky::{Cholesky, NotPositive};
pub use dense::gram;
pub use kernels::Norm;
pub use matrix::{MatrixMut, MatrixRef};
pub use scalar::{Dense, Scalar};
pub(crate) use sparse::bandwidth;
pub use sparse::{OutsideMatrix, Pattern};
pub use spectral::{Svd, SymmetricEigen};
pub use vector::{axpy, dot, norm_inf, norm1, norm2};

/// A linear operator A, nrows x ncols: sparse, dense or matrix-free behind one interface.
pub trait LinOp<T: Scalar = f64> {
    /// Rows.
    fn nrows(&self) -> usize;
    /// Columns.
    fn ncols(&self) -> usize;
    /// y <- alpha A x + beta y, x of length ncols, y of length nrows. With beta = 0 the old y is not read.
    fn apply(&mut self, alpha: T, x: &[T], beta: T, y: &mut [T]);
    /// y <- alpha A' x + beta y, x of length nrows, y of length ncols. With beta = 0 the old y is not read.
    fn apply_t(&mut self, alpha: T, x: &[T], beta: T, y: &mut [T]);
    /// z <- P^-1 r for a symmetric positive definite P that resembles |A| (of a symmetric A); false: there is none, z is untouched.
    fn precondition(&mut self, r: &[T], z: &mut [T]) -> bool {
        let _ = (r, z);
        false
    }
    /// The entries, where there are any: direct solvers and row sketches need them.
    fn as_sparse(&self) -> Option<SparseRef<'_, T>> {
        None
    }
}

/// What the stored entries stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Every entry.
    General,
    /// A symmetric matrix: the lower triangle (row >= column) with its diagonal, each entry once.
    SymmetricLower,
}

/// A borrowed matrix in compressed-column form: column j holds entries `col_ptr[j]..col_ptr[j + 1]`, rows ascending, none twice.
#[derive(Debug, Clone, Copy)]
pub struct SparseRef<'a, T = f64> {
    /// Rows.
    pub nrows: usize,
    /// Columns.
    pub ncols: usize,
    /// Length ncols + 1.
    pub col_ptr: &'a [usize],
    /// Row of each entry.
    pub row_idx: &'a [usize],
    /// Value of each entry.
    pub values: &'a [T],
    /// General or one triangle of a symmetric matrix.
    pub storage: Storage,
}

impl<T: Scalar> SparseRef<'_, T> {
    /// y <- alpha A x + beta y.
    pub fn apply(&self, alpha: T, x: &[T], beta: T, y: &mut [T]) {
        scale(beta, y);
        for j in 0..self.ncols {
            let axj = alpha * x[j];
            let mut sum = T::ZERO;
            for p in self.col_ptr[j]..self.col_ptr[j + 1] {
                let (i, v) = (self.row_idx[p], self.values[p]);
                y[i] += v * axj;
                if self.storage == Storage::SymmetricLower && i != j {
                    sum += v * x[i];
                }
            }
            if self.storage == Storage::SymmetricLower {
                y[j] += alpha * sum;
            }
        }
    }

    /// y <- alpha A' x + beta y.
    pub fn apply_t(&self, alpha: T, x: &[T], beta: T, y: &mut [T]) {
        if self.storage == Storage::SymmetricLower {
            return self.apply(alpha, x, beta, y);
        }
        scale(beta, y);
        for (j, yj) in y.iter_mut().enumerate() {
            let mut sum = T::ZERO;
            for p in self.col_ptr[j]..self.col_ptr[j + 1] {
                sum += self.values[p] * x[self.row_idx[p]];
            }
            *yj += alpha * sum;
        }
    }
}

/// y <- beta y, where beta = 0 overwrites NaN too.
pub(crate) fn scale<T: Scalar>(beta: T, y: &mut [T]) {
    if beta == T::ZERO {
        y.fill(T::ZERO);
    } else if beta != T::ONE {
        y.iter_mut().for_each(|v| *v *= beta);
    }
}

/// An owned sparse matrix in compressed-column form.
#[derive(Debug, Clone)]
pub struct SparseMatrix {
    /// Rows.
    pub nrows: usize,
    /// Columns.
    pub ncols: usize,
    /// Length ncols + 1.
    pub col_ptr: Vec<usize>,
    /// Row of each entry, ascending within a column.
    pub row_idx: Vec<usize>,
    /// Values.
    pub values: Vec<f64>,
    /// General or one triangle.
    pub storage: Storage,
}

impl SparseMatrix {
    /// Builds the pattern from coordinates (duplicates are one entry) and returns, for each coordinate, the position of its entry in `values`.
    /// Values are zero. For `SymmetricLower` coordinates of the upper triangle are mirrored.
    pub fn from_coordinates(
        nrows: usize,
        ncols: usize,
        rows: &[usize],
        cols: &[usize],
        storage: Storage,
    ) -> (Self, Vec<usize>) {
        let place = |k: usize| match storage {
            Storage::SymmetricLower if rows[k] < cols[k] => (cols[k], rows[k]),
            _ => (rows[k], cols[k]),
        };
        // Bucket by row, then by column: rows come out ascending in each column.
        let count = rows.len();
        let mut row_start = vec![0usize; nrows + 1];
        for k in 0..count {
            row_start[place(k).0 + 1] += 1;
        }
        for i in 0..nrows {
            row_start[i + 1] += row_start[i];
        }
        let mut by_row = vec![0usize; count];
        for k in 0..count {
            let slot = &mut row_start[place(k).0];
            by_row[*slot] = k;
            *slot += 1;
        }
        let mut col_count = vec![0usize; ncols + 1];
        for k in 0..count {
            col_count[place(k).1 + 1] += 1;
        }
        for j in 0..ncols {
            col_count[j + 1] += col_count[j];
        }
        let mut by_col = vec![0usize; count];
        let mut next = col_count.clone();
        for &k in &by_row {
            let slot = &mut next[place(k).1];
            by_col[*slot] = k;
            *slot += 1;
        }
        let mut position = vec![0usize; count];
        let mut col_ptr = Vec::with_capacity(ncols + 1);
        let mut row_idx: Vec<usize> = Vec::with_capacity(count);
        col_ptr.push(0);
        for j in 0..ncols {
            let first = row_idx.len();
            for &k in &by_col[col_count[j]..col_count[j + 1]] {
                let i = place(k).0;
                if row_idx.len() == first || row_idx[row_idx.len() - 1] != i {
                    row_idx.push(i);
                }
                position[k] = row_idx.len() - 1;
            }
            col_ptr.push(row_idx.len());
        }
        let values = vec![0.0; row_idx.len()];
        (Self { nrows, ncols, col_ptr, row_idx, values, storage }, position)
    }

    /// A borrowed view.
    pub fn as_ref(&self) -> SparseRef<'_> {
        SparseRef {
            nrows: self.nrows,
            ncols: self.ncols,
            col_ptr: &self.col_ptr,
            row_idx: &self.row_idx,
            values: &self.values,
            storage: self.storage,
        }
    }
}

impl LinOp for SparseMatrix {
    fn nrows(&self) -> usize {
        self.nrows
    }
    fn ncols(&self) -> usize {
        self.ncols
    }
    fn apply(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        self.as_ref().apply(alpha, x, beta, y);
    }
    fn apply_t(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        self.as_ref().apply_t(alpha, x, beta, y);
    }
    fn as_sparse(&self) -> Option<SparseRef<'_>> {
        Some(self.as_ref())
    }
}
