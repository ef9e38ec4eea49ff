//! Eigen-decompositions of symmetric matrices and singular values of any, in f64 by faer on one thread: the same bits on any number of them.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{MatMut, MatRef, Par};

/// A = U L U' of symmetric n x n matrices, one after another in the same storage.
pub struct SymmetricEigen {
    n: usize,
    values: Vec<f64>,
    vectors: Vec<f64>,
    memory: MemBuffer,
}

impl std::fmt::Debug for SymmetricEigen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SymmetricEigen").field("n", &self.n).finish_non_exhaustive()
    }
}

impl SymmetricEigen {
    /// Storage for matrices of n rows.
    pub fn new(n: usize) -> Self {
        let need = self_adjoint_evd_scratch::<f64>(n, ComputeEigenvectors::Yes, Par::Seq, Default::default());
        Self { n, values: vec![0.0; n], vectors: vec![0.0; n * n], memory: MemBuffer::new(need) }
    }
    /// Rows.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Decomposes A, column by column in full storage, of which the lower triangle is read. False: it has entries that are not finite, or the iteration
    /// did not converge; then values and vectors are not to be used.
    pub fn compute(&mut self, a: &[f64]) -> bool {
        let n = self.n;
        let lower_is_finite = (0..n).all(|j| a[j * n + j..(j + 1) * n].iter().all(|v| v.is_finite()));
        if !lower_is_finite {
            return false;
        }
        let u = MatMut::from_column_major_slice_mut(&mut self.vectors, n, n);
        let s = DiagMut::from_slice_mut(&mut self.values);
        let stack = MemStack::new(&mut self.memory);
        let a = MatRef::from_column_major_slice(a, n, n);
        self_adjoint_evd(a, s, Some(u), Par::Seq, stack, Default::default()).is_ok()
    }
    /// Eigenvalues, ascending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
    /// The eigenvector of value j, of length one.
    pub fn vector(&self, j: usize) -> &[f64] {
        &self.vectors[j * self.n..][..self.n]
    }
    /// `out` <- U f(L) U', full storage.
    pub fn function(&self, f: impl Fn(f64) -> f64, out: &mut [f64]) {
        let n = self.n;
        out.fill(0.0);
        for (k, &l) in self.values.iter().enumerate() {
            let (u, fl) = (self.vector(k), f(l));
            for j in 0..n {
                let s = fl * u[j];
                out[j * n + j..(j + 1) * n].iter_mut().zip(&u[j..]).for_each(|(o, u)| *o += s * u);
            }
        }
        for j in 0..n {
            for i in 0..j {
                out[j * n + i] = out[i * n + j];
            }
        }
    }
}

/// A = U S V' of m x n matrices, the min(m, n) largest singular values and their vectors, one after another in the same storage.
pub struct Svd {
    size: (usize, usize),
    values: Vec<f64>,
    left: Vec<f64>,
    right: Vec<f64>,
    memory: MemBuffer,
}

impl std::fmt::Debug for Svd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Svd").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Svd {
    /// Storage for m x n matrices.
    pub fn new(m: usize, n: usize) -> Self {
        let k = m.min(n);
        let thin = ComputeSvdVectors::Thin;
        let need = svd_scratch::<f64>(m, n, thin, thin, Par::Seq, Default::default());
        let (values, left, right) = (vec![0.0; k], vec![0.0; m * k], vec![0.0; n * k]);
        Self { size: (m, n), values, left, right, memory: MemBuffer::new(need) }
    }
    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        self.size
    }
    /// Decomposes A, column by column. False: it has entries that are not finite, or the iteration did not converge; then nothing of it is to be used.
    pub fn compute(&mut self, a: &[f64]) -> bool {
        if a.iter().any(|v| !v.is_finite()) {
            return false;
        }
        let ((m, n), k) = (self.size, self.values.len());
        let u = MatMut::from_column_major_slice_mut(&mut self.left, m, k);
        let v = MatMut::from_column_major_slice_mut(&mut self.right, n, k);
        let s = DiagMut::from_slice_mut(&mut self.values);
        let stack = MemStack::new(&mut self.memory);
        let a = MatRef::from_column_major_slice(a, m, n);
        svd(a, s, Some(u), Some(v), Par::Seq, stack, Default::default()).is_ok()
    }
    /// Singular values, descending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
    /// Left singular vector j.
    pub fn left(&self, j: usize) -> &[f64] {
        &self.left[j * self.size.0..][..self.size.0]
    }
    /// Right singular vector j.
    pub fn right(&self, j: usize) -> &[f64] {
        &self.right[j * self.size.1..][..self.size.1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: usize) -> Vec<f64> {
        (0..count).map(|k| ((k * k + 3 * k) % 17) as f64 / 4.0 - 2.0).collect()
    }

    #[test]
    fn functions_of_symmetric_matrices() {
        for n in [1, 2, 5, 33] {
            let b = entries(n * n);
            let a: Vec<f64> = (0..n * n).map(|k| b[k] + b[k % n * n + k / n]).collect();
            let mut eigen = SymmetricEigen::new(n);
            assert!(eigen.compute(&a));
            assert!(eigen.values().windows(2).all(|w| w[0] <= w[1]));
            let mut again = vec![f64::NAN; n * n];
            eigen.function(|l| l, &mut again);
            let size = a.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            assert!(a.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-13 * n as f64 * size));
            eigen.function(|_| 1.0, &mut again);
            assert!((0..n * n).all(|k| (again[k] - (k % n == k / n) as u8 as f64).abs() < 1e-13 * n as f64));
        }
        assert!(!SymmetricEigen::new(2).compute(&[1.0, f64::NAN, 0.0, 1.0]));
        assert!(SymmetricEigen::new(0).compute(&[]));
    }

    #[test]
    fn singular_values_multiply_back() {
        for (m, n) in [(1, 1), (3, 7), (7, 3), (40, 5), (5, 40)] {
            let a = entries(m * n);
            let mut svd = Svd::new(m, n);
            assert!(svd.compute(&a));
            for j in 0..n {
                for i in 0..m {
                    let again: f64 =
                        (0..m.min(n)).map(|k| svd.values()[k] * svd.left(k)[i] * svd.right(k)[j]).sum();
                    assert!((a[j * m + i] - again).abs() < 1e-12, "{m} x {n}");
                }
            }
        }
        assert!(!Svd::new(1, 2).compute(&[1.0, f64::INFINITY]));
    }
}
