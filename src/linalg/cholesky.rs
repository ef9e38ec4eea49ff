//! Cholesky factors A = L L' of dense symmetric positive definite matrices, f64.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{MatMut, MatRef, Par};

/// Shares of the mean diagonal that are added to it, one after another, until the factorization succeeds.
const JITTER: [f64; 5] = [0.0, 1e-10, 1e-8, 1e-6, 1e-4];

/// The matrix is not positive definite, not even with 1e-4 of its mean diagonal added, or has entries that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the matrix of {size} rows is not positive definite, not even with 1e-4 of its mean diagonal added")]
pub struct NotPositive {
    /// Rows.
    pub size: usize,
}

/// L, lower triangular, n x n column by column; what is above the diagonal is never read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cholesky {
    n: usize,
    l: Vec<f64>,
    jitter: f64,
}

impl Cholesky {
    /// Factors A + jitter I; only the lower triangle of `a` (n x n, column by column) is read. The jitter is 0 or the smallest of 1e-10, 1e-8, .. 1e-4 times the mean
    /// diagonal that is enough.
    ///
    /// # Errors
    /// [`NotPositive`].
    pub fn new(n: usize, a: &[f64]) -> Result<Self, NotPositive> {
        let mean = (0..n).map(|i| a[i * n + i]).sum::<f64>() / n.max(1) as f64;
        if !mean.is_finite() {
            return Err(NotPositive { size: n });
        }
        let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default()));
        let mut l = vec![0.0; n * n];
        for share in JITTER {
            let jitter = share * mean;
            l.copy_from_slice(a);
            (0..n).for_each(|i| l[i * n + i] += jitter);
            let matrix = MatMut::from_column_major_slice_mut(&mut l, n, n);
            let stack = MemStack::new(&mut memory);
            let done =
                cholesky_in_place(matrix, Default::default(), Par::Seq, stack, Default::default()).is_ok();
            if done && (0..n).all(|i| l[i * n + i].is_finite()) {
                return Ok(Self { n, l, jitter });
            }
        }
        Err(NotPositive { size: n })
    }
    /// Rows.
    pub fn len(&self) -> usize {
        self.n
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }
    /// What was added to the diagonal.
    pub fn jitter(&self) -> f64 {
        self.jitter
    }
    /// ln det A.
    pub fn log_det(&self) -> f64 {
        2.0 * (0..self.n).map(|i| self.l[i * self.n + i].ln()).sum::<f64>()
    }
    fn matrix(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.l, self.n, self.n)
    }
    /// B <- L^-1 B, n rows, column by column.
    pub fn solve_lower(&self, b: &mut [f64]) {
        if let Some(columns) = b.len().checked_div(self.n) {
            let b = MatMut::from_column_major_slice_mut(b, self.n, columns);
            solve_lower_triangular_in_place(self.matrix(), b, Par::Seq);
        }
    }
    /// B <- L^-T B.
    pub fn solve_upper(&self, b: &mut [f64]) {
        if let Some(columns) = b.len().checked_div(self.n) {
            let b = MatMut::from_column_major_slice_mut(b, self.n, columns);
            solve_upper_triangular_in_place(self.matrix().transpose(), b, Par::Seq);
        }
    }
    /// B <- A^-1 B.
    pub fn solve(&self, b: &mut [f64]) {
        self.solve_lower(b);
        self.solve_upper(b);
    }
    /// x <- L x for one vector.
    pub fn multiply(&self, x: &mut [f64]) {
        for i in (0..self.n).rev() {
            x[i] = (0..=i).map(|j| self.l[j * self.n + i] * x[j]).sum();
        }
    }
    /// The factors of A with one more row and column, (a; d), in O(n^2).
    ///
    /// # Errors
    /// [`NotPositive`] if the longer matrix is not, not even with the greatest jitter on its new entry; the factors are then as before.
    pub fn append(&mut self, a: &[f64], d: f64) -> Result<(), NotPositive> {
        let n = self.n;
        let mut row = a[..n].to_vec();
        self.solve_lower(&mut row);
        let rest = d - row.iter().map(|r| r * r).sum::<f64>();
        let pivot = JITTER.iter().map(|share| rest + self.jitter + share * d).find(|p| *p > 1e-14 * d);
        let Some(pivot) = pivot.filter(|p| p.is_finite()) else {
            return Err(NotPositive { size: n + 1 });
        };
        let mut l = vec![0.0; (n + 1) * (n + 1)];
        for j in 0..n {
            l[j * (n + 1) + j..j * (n + 1) + n].copy_from_slice(&self.l[j * n + j..(j + 1) * n]);
            l[j * (n + 1) + n] = row[j];
        }
        l[n * (n + 1) + n] = pivot.sqrt();
        (self.n, self.l) = (n + 1, l);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(n: usize) -> Vec<f64> {
        let at =
            |i: usize, j: usize| (-0.3 * (i as f64 - j as f64).abs()).exp() + if i == j { 0.5 } else { 0.0 };
        (0..n * n).map(|k| at(k % n, k / n)).collect()
    }

    #[test]
    fn factors_multiply_back_and_solves_invert() {
        for n in [0, 1, 2, 5, 33, 70] {
            let a = matrix(n);
            let c = Cholesky::new(n, &a).unwrap();
            assert_eq!(c.jitter(), 0.0);
            let x: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
            let mut b: Vec<f64> = (0..n).map(|i| (0..n).map(|j| a[j * n + i] * x[j]).sum()).collect();
            c.solve(&mut b);
            assert!(b.iter().zip(&x).all(|(b, x)| (b - x).abs() < 1e-12), "{n}");
            let mut y = x.clone();
            c.multiply(&mut y);
            c.solve_lower(&mut y);
            assert!(y.iter().zip(&x).all(|(y, x)| (y - x).abs() < 1e-12), "{n}");
        }
    }

    #[test]
    fn appended_rows_are_those_of_the_whole() {
        let n = 12;
        let a = matrix(n);
        let mut c = Cholesky::new(0, &[]).unwrap();
        for k in 0..n {
            c.append(&a[k * n..k * n + k], a[k * n + k]).unwrap();
        }
        let whole = Cholesky::new(n, &a).unwrap();
        assert!((c.log_det() - whole.log_det()).abs() < 1e-12);
        for j in 0..n {
            for i in j..n {
                assert!((c.l[j * n + i] - whole.l[j * n + i]).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn singular_matrices_get_jitter_and_wrong_ones_are_refused() {
        // Rank one.
        let c = Cholesky::new(3, &[1.0; 9]).unwrap();
        assert!(c.jitter() > 0.0 && c.jitter() <= 1e-4);
        assert!(Cholesky::new(2, &[1.0, 2.0, 2.0, 1.0]).is_err());
        assert!(Cholesky::new(2, &[1.0, f64::NAN, f64::NAN, 1.0]).is_err());
    }
}
