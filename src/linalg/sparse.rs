//! Where a sparse matrix may have entries.

use super::{Scalar, SparseRef, Storage};

/// The places of a sparse matrix in compressed columns: rows ascending within a column, none twice. Values lie in this order beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pattern {
    nrows: usize,
    ncols: usize,
    col_ptr: Vec<usize>,
    row_idx: Vec<usize>,
}

/// An entry outside the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("entry ({row}, {col}) lies outside a {nrows} x {ncols} matrix")]
pub struct OutsideMatrix {
    /// Row of the entry.
    pub row: usize,
    /// Column of the entry.
    pub col: usize,
    /// Rows of the matrix.
    pub nrows: usize,
    /// Columns of the matrix.
    pub ncols: usize,
}

impl Pattern {
    /// The pattern of these entries (row, column), in any order and repeated or not.
    pub fn new(
        nrows: usize,
        ncols: usize,
        entries: impl IntoIterator<Item = (usize, usize)>,
    ) -> Result<Self, OutsideMatrix> {
        let mut rows_of = vec![Vec::new(); ncols];
        for (row, col) in entries {
            if row >= nrows || col >= ncols {
                return Err(OutsideMatrix { row, col, nrows, ncols });
            }
            rows_of[col].push(row);
        }
        Ok(Self::of_columns(nrows, rows_of))
    }

    /// The pattern of these columns, whose rows are below `nrows`.
    pub(crate) fn of_columns(nrows: usize, mut rows_of: Vec<Vec<usize>>) -> Self {
        let ncols = rows_of.len();
        let (mut col_ptr, mut row_idx) = (Vec::with_capacity(ncols + 1), Vec::new());
        col_ptr.push(0);
        for rows in &mut rows_of {
            rows.sort_unstable();
            rows.dedup();
            row_idx.extend_from_slice(rows);
            col_ptr.push(row_idx.len());
        }
        Self { nrows, ncols, col_ptr, row_idx }
    }

    /// The pattern of a stored matrix; both triangles of a symmetric one.
    pub fn of<T: Scalar>(a: SparseRef<'_, T>) -> Self {
        if a.storage == Storage::General {
            let (col_ptr, row_idx) = (a.col_ptr.to_vec(), a.row_idx.to_vec());
            return Self { nrows: a.nrows, ncols: a.ncols, col_ptr, row_idx };
        }
        let mut rows_of = vec![Vec::new(); a.ncols];
        for j in 0..a.ncols {
            for &i in &a.row_idx[a.col_ptr[j]..a.col_ptr[j + 1]] {
                rows_of[j].push(i);
                rows_of[i].push(j);
            }
        }
        Self::of_columns(a.nrows, rows_of)
    }

    /// Every entry.
    pub fn dense(nrows: usize, ncols: usize) -> Self {
        Self {
            nrows,
            ncols,
            col_ptr: (0..=ncols).map(|j| j * nrows).collect(),
            row_idx: (0..ncols).flat_map(|_| 0..nrows).collect(),
        }
    }

    /// n x n with entries (i, j) for -upper <= i - j <= lower.
    pub fn banded(n: usize, lower: usize, upper: usize) -> Self {
        let rows = |j: usize| j.saturating_sub(upper)..n.min(j + lower + 1);
        let (mut col_ptr, mut row_idx) = (Vec::with_capacity(n + 1), Vec::new());
        col_ptr.push(0);
        for j in 0..n {
            row_idx.extend(rows(j));
            col_ptr.push(row_idx.len());
        }
        Self { nrows: n, ncols: n, col_ptr, row_idx }
    }

    /// Rows.
    pub fn nrows(&self) -> usize {
        self.nrows
    }
    /// Columns.
    pub fn ncols(&self) -> usize {
        self.ncols
    }
    /// Entries.
    pub fn len(&self) -> usize {
        self.row_idx.len()
    }
    /// No entries.
    pub fn is_empty(&self) -> bool {
        self.row_idx.is_empty()
    }
    /// Column j holds the entries `col_ptr[j]..col_ptr[j + 1]`.
    pub fn col_ptr(&self) -> &[usize] {
        &self.col_ptr
    }
    /// Row of each entry.
    pub fn row_idx(&self) -> &[usize] {
        &self.row_idx
    }
    /// Rows of column j, ascending.
    pub fn column(&self, j: usize) -> &[usize] {
        &self.row_idx[self.col_ptr[j]..self.col_ptr[j + 1]]
    }
    /// (row, column) of each entry, in order.
    pub fn entries(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.ncols).flat_map(|j| self.column(j).iter().map(move |&i| (i, j)))
    }
    /// Position of entry (i, j).
    pub fn position(&self, i: usize, j: usize) -> Option<usize> {
        self.column(j).binary_search(&i).ok().map(|p| self.col_ptr[j] + p)
    }

    /// The pattern of the transpose. Entry k of the transpose is entry `from[k]` of this pattern.
    pub fn transpose(&self) -> (Self, Vec<usize>) {
        let mut next = vec![0usize; self.nrows + 1];
        self.row_idx.iter().for_each(|&i| next[i + 1] += 1);
        for i in 0..self.nrows {
            next[i + 1] += next[i];
        }
        let col_ptr = next.clone();
        let (mut row_idx, mut from) = (vec![0; self.len()], vec![0; self.len()]);
        for j in 0..self.ncols {
            for k in self.col_ptr[j]..self.col_ptr[j + 1] {
                let at = &mut next[self.row_idx[k]];
                (row_idx[*at], from[*at]) = (j, k);
                *at += 1;
            }
        }
        (Self { nrows: self.ncols, ncols: self.nrows, col_ptr, row_idx }, from)
    }

    /// The entries of both patterns, which are of one size (the larger one is taken).
    pub fn union(&self, other: &Self) -> Self {
        let (nrows, ncols) = (self.nrows.max(other.nrows), self.ncols.max(other.ncols));
        let mut rows_of = vec![Vec::new(); ncols];
        self.entries().chain(other.entries()).for_each(|(i, j)| rows_of[j].push(i));
        Self::of_columns(nrows, rows_of)
    }

    /// The largest i - j and the largest j - i of all entries (0 where there are none on that side).
    pub fn bandwidth(&self) -> (usize, usize) {
        bandwidth(self.entries())
    }

    /// A matrix of this pattern. `values` has one number an entry.
    pub fn with_values<'a, T: Scalar>(&'a self, values: &'a [T]) -> SparseRef<'a, T> {
        SparseRef {
            nrows: self.nrows,
            ncols: self.ncols,
            col_ptr: &self.col_ptr,
            row_idx: &self.row_idx,
            values: &values[..self.row_idx.len()],
            storage: Storage::General,
        }
    }
}

/// (lower, upper) of these entries.
pub(crate) fn bandwidth(entries: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
    entries.fold((0, 0), |(l, u), (i, j)| (l.max(i.saturating_sub(j)), u.max(j.saturating_sub(i))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_sorted_and_without_repetitions() {
        let p = Pattern::new(3, 2, [(2, 0), (0, 0), (2, 0), (1, 1)]).unwrap();
        assert_eq!((p.col_ptr(), p.row_idx()), (&[0, 2, 3][..], &[0, 2, 1][..]));
        assert_eq!((p.position(2, 0), p.position(1, 0)), (Some(1), None));
        assert_eq!(p.bandwidth(), (2, 0));
        let e = Pattern::new(3, 2, [(0, 2)]).unwrap_err();
        assert_eq!(e.to_string(), "entry (0, 2) lies outside a 3 x 2 matrix");
        assert_eq!(Pattern::new(0, 0, []).unwrap().bandwidth(), (0, 0));
    }

    #[test]
    fn transposes_and_unions() {
        let p = Pattern::new(3, 3, [(2, 0), (0, 0), (1, 1), (0, 2)]).unwrap();
        let (t, from) = p.transpose();
        assert_eq!(t.entries().collect::<Vec<_>>(), [(0, 0), (2, 0), (1, 1), (0, 2)]);
        let entries: Vec<_> = p.entries().collect();
        for (k, (i, j)) in t.entries().enumerate() {
            assert_eq!(entries[from[k]], (j, i));
        }
        assert_eq!(p.union(&t).len(), 4);
        let shifted = Pattern::new(3, 3, [(2, 2), (0, 0)]).unwrap();
        assert_eq!(p.union(&shifted).len(), 5);
    }

    #[test]
    fn bands_and_dense_patterns() {
        let p = Pattern::banded(5, 1, 2);
        assert_eq!((p.len(), p.bandwidth()), (4 + 5 + 4 + 3, (1, 2)));
        assert!(p.entries().all(|(i, j)| i <= j + 1 && j <= i + 2));
        assert_eq!(Pattern::banded(2, 7, 7), Pattern::dense(2, 2));
        assert_eq!(Pattern::dense(2, 3).len(), 6);
    }
}
