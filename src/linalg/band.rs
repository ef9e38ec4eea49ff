//! Banded square matrices.

/// A banded n x n matrix in LAPACK's layout: entry (i, j) with -upper <= i - j <= lower lies at
/// `values[j * (lower + upper + 1) + upper + i - j]`. Places outside the matrix (in the first and last columns) are never read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandRef<'a, T> {
    /// Rows and columns.
    pub n: usize,
    /// Diagonals below the main one.
    pub lower: usize,
    /// Diagonals above the main one.
    pub upper: usize,
    /// n (lower + upper + 1) numbers.
    pub values: &'a [T],
}

/// As [`BandRef`], to be written.
#[derive(Debug, PartialEq)]
pub struct BandMut<'a, T> {
    /// Rows and columns.
    pub n: usize,
    /// Diagonals below the main one.
    pub lower: usize,
    /// Diagonals above the main one.
    pub upper: usize,
    /// n (lower + upper + 1) numbers.
    pub values: &'a mut [T],
}

impl<T> BandRef<'_, T> {
    /// Numbers of one column.
    #[inline(always)]
    pub fn width(&self) -> usize {
        self.lower + self.upper + 1
    }
    /// Rows of column j that lie in the matrix and in the band.
    #[inline(always)]
    pub fn rows(&self, j: usize) -> std::ops::Range<usize> {
        j.saturating_sub(self.upper)..self.n.min(j + self.lower + 1)
    }
    /// Position of entry (i, j) of the band.
    #[inline(always)]
    pub fn position(&self, i: usize, j: usize) -> usize {
        j * self.width() + self.upper + i - j
    }
}

impl<T> BandMut<'_, T> {
    /// To be read.
    pub fn as_ref(&self) -> BandRef<'_, T> {
        BandRef { n: self.n, lower: self.lower, upper: self.upper, values: self.values }
    }
    /// Entry (i, j), which lies in the band.
    #[inline(always)]
    pub fn at(&mut self, i: usize, j: usize) -> &mut T {
        let position = self.as_ref().position(i, j);
        &mut self.values[position]
    }
}
