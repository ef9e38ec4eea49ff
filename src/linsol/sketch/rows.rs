//! A matrix by rows.

use crate::linalg::{SparseRef, Storage};

/// Compressed rows with their squared norms.
#[derive(Debug, Default)]
pub(super) struct Rows {
    ptr: Vec<usize>,
    idx: Vec<usize>,
    values: Vec<f64>,
    squares: Vec<f64>,
    nonzero: Vec<usize>,
}

impl Rows {
    pub(super) fn clear_all(&mut self) {
        self.ptr.clear();
        self.idx.clear();
        self.values.clear();
        self.squares.clear();
        self.nonzero.clear();
    }

    /// Takes all rows of `a`, both triangles of a symmetric matrix.
    pub(super) fn fill(&mut self, a: SparseRef<'_>) {
        let mirror = |i: usize, j: usize| a.storage == Storage::SymmetricLower && i != j;
        self.clear_all();
        self.ptr.resize(a.nrows + 1, 0);
        for j in 0..a.ncols {
            for &i in &a.row_idx[a.col_ptr[j]..a.col_ptr[j + 1]] {
                self.ptr[i + 1] += 1;
                self.ptr[j + 1] += usize::from(mirror(i, j));
            }
        }
        for i in 0..a.nrows {
            self.ptr[i + 1] += self.ptr[i];
        }
        let nnz = self.ptr[a.nrows];
        self.idx.resize(nnz, 0);
        self.values.resize(nnz, 0.0);
        let Self { ptr, idx, values, .. } = self;
        let mut put = |i: usize, j: usize, v: f64| {
            (idx[ptr[i]], values[ptr[i]]) = (j, v);
            ptr[i] += 1;
        };
        for j in 0..a.ncols {
            for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                let (i, v) = (a.row_idx[p], a.values[p]);
                put(i, j, v);
                if mirror(i, j) {
                    put(j, i, v);
                }
            }
        }
        // The pointers have moved to the ends of their rows.
        self.ptr.pop();
        self.ptr.insert(0, 0);
        for i in 0..a.nrows {
            let square = self.values[self.ptr[i]..self.ptr[i + 1]].iter().map(|v| v * v).sum::<f64>();
            self.squares.push(square);
            if square > 0.0 {
                self.nonzero.push(i);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ptr.is_empty()
    }

    /// |a_i|^2.
    pub(super) fn squares(&self) -> &[f64] {
        &self.squares
    }

    /// Rows that are not zero.
    pub(super) fn nonzero(&self) -> &[usize] {
        &self.nonzero
    }

    fn entries(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.ptr[i]..self.ptr[i + 1];
        self.idx[range.clone()].iter().copied().zip(self.values[range].iter().copied())
    }

    /// a_i'x.
    pub(super) fn dot(&self, i: usize, x: &[f64]) -> f64 {
        self.entries(i).map(|(j, v)| v * x[j]).sum()
    }

    /// y += alpha a_i.
    pub(super) fn scatter(&self, i: usize, alpha: f64, y: &mut [f64]) {
        for (j, v) in self.entries(i) {
            y[j] += alpha * v;
        }
    }

    /// y <- 0 where a_i has entries.
    pub(super) fn clear(&self, i: usize, y: &mut [f64]) {
        for (j, _) in self.entries(i) {
            y[j] = 0.0;
        }
    }

    /// x += a_i (b_i - a_i'x)/|a_i|^2.
    pub(super) fn project(&self, i: usize, b: &[f64], x: &mut [f64]) {
        let square = self.squares[i];
        if square > 0.0 {
            self.scatter(i, (b[i] - self.dot(i, x)) / square, x);
        }
    }
}
