//! Triangular factors R with R'R = B'B or a given Gram matrix.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{MatMut, MatRef, Par};

use crate::error::Error;

/// R, upper triangular, n x n, with R'R equal to a matrix B'B. Stored as L = R', column by column.
#[derive(Debug, Clone, PartialEq)]
pub struct Factor {
    n: usize,
    l: Vec<f64>,
    ridge: f64,
}

/// Rounding unit of f64.
const EPS: f64 = f64::EPSILON;

impl Factor {
    /// From rows of B, s x n row after row, by Householder QR. Where B is of deficient rank to working precision, 8 eps |B|_F I is put below it,
    /// and no diagonal entry is less.
    ///
    /// # Errors
    /// An entry is not finite.
    pub fn of_rows(n: usize, rows: &[f64]) -> Result<Self, Error> {
        let squares: f64 = rows.iter().map(|v| v * v).sum();
        if !squares.is_finite() || n == 0 {
            return Err(not_finite());
        }
        let norm = squares.sqrt();
        let attempt = Self::householder(n, rows, 0.0);
        let (least, most) = attempt.diagonal_range();
        if rows.len() >= n * n && least > 50.0 * EPS * most {
            return Ok(attempt);
        }
        let ridge = 8.0 * EPS * norm.max(f64::MIN_POSITIVE / EPS);
        let mut factor = Self::householder(n, rows, ridge);
        // Reflections of columns that are rounding may be zero or not finite nevertheless.
        for (j, row) in factor.l.chunks_mut(n).enumerate() {
            if row.iter().any(|v| !v.is_finite()) {
                row.fill(0.0);
            }
            if row[j].abs() < ridge {
                row[j] = ridge;
            }
        }
        Ok(factor)
    }
    /// R of [B; ridge I].
    fn householder(n: usize, rows: &[f64], ridge: f64) -> Self {
        let s = rows.len() / n;
        let below = if ridge > 0.0 { n } else { 0 };
        let mut b = faer::Mat::<f64>::zeros(s + below, n);
        b.as_mut().subrows_mut(0, s).copy_from(MatRef::from_row_major_slice(rows, s, n));
        (0..below).for_each(|j| b[(s + j, j)] = ridge);
        let size = faer::linalg::qr::no_pivoting::factor::recommended_block_size::<f64>(s + below, n);
        let mut reflectors = faer::Mat::<f64>::zeros(size, (s + below).min(n));
        let scratch = faer::linalg::qr::no_pivoting::factor::qr_in_place_scratch::<f64>(
            s + below,
            n,
            size,
            Par::Seq,
            Default::default(),
        );
        let mut memory = MemBuffer::new(scratch);
        faer::linalg::qr::no_pivoting::factor::qr_in_place(
            b.as_mut(),
            reflectors.as_mut(),
            Par::Seq,
            MemStack::new(&mut memory),
            Default::default(),
        );
        let mut l = vec![0.0; n * n];
        for j in 0..n {
            for i in 0..=j.min(s + below - 1) {
                l[i * n + j] = b[(i, j)];
            }
        }
        Self { n, l, ridge }
    }
    /// From the lower triangle of a Gram matrix G, n x n column by column, scaled to a unit diagonal and factored by Cholesky. Where that fails, multiples
    /// 1e-15, 1e-14, .. 1e-8 of the diagonal are added.
    ///
    /// # Errors
    /// An entry is not finite, or the matrix is not positive semidefinite at all.
    pub fn of_gram(n: usize, gram: &[f64]) -> Result<Self, Error> {
        if n == 0 || (0..n).any(|j| gram[j * n + j..(j + 1) * n].iter().any(|v| !v.is_finite())) {
            return Err(not_finite());
        }
        let scale: Vec<f64> =
            (0..n).map(|j| gram[j * n + j]).map(|d| if d > 0.0 { d.sqrt() } else { 1.0 }).collect();
        let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default()));
        let mut l = vec![0.0; n * n];
        for ridge in [0.0, 1e-15, 1e-14, 1e-13, 1e-12, 1e-10, 1e-8] {
            for j in 0..n {
                for i in j..n {
                    l[j * n + i] = gram[j * n + i] / (scale[i] * scale[j]);
                }
                // A column of zeros: its direction is left alone.
                l[j * n + j] = 1.0 + ridge;
            }
            let matrix = MatMut::from_column_major_slice_mut(&mut l, n, n);
            let stack = MemStack::new(&mut memory);
            let done = cholesky_in_place(matrix, Default::default(), Par::Seq, stack, Default::default());
            if done.is_ok() && (0..n).all(|i| l[i * n + i].is_finite() && l[i * n + i] > 0.0) {
                for j in 0..n {
                    l[j * n..j * n + j].fill(0.0);
                    (j..n).for_each(|i| l[j * n + i] *= scale[i]);
                }
                return Ok(Self { n, l, ridge });
            }
        }
        Err(Error::Problem { name: "sketch".into(), what: "its Gram matrix is not positive definite".into() })
    }

    /// Columns n.
    pub fn len(&self) -> usize {
        self.n
    }
    /// No columns.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }
    /// What was added below the rows, or the share of the diagonal that was added: 0 unless the rank is deficient to working precision.
    pub fn ridge(&self) -> f64 {
        self.ridge
    }
    /// R'R, the lower triangle column by column.
    pub fn gram(&self) -> Vec<f64> {
        let n = self.n;
        let mut product = vec![0.0; n * n];
        let l = self.matrix();
        faer::linalg::matmul::triangular::matmul(
            MatMut::from_column_major_slice_mut(&mut product, n, n),
            faer::linalg::matmul::triangular::BlockStructure::TriangularLower,
            faer::Accum::Replace,
            l,
            faer::linalg::matmul::triangular::BlockStructure::TriangularLower,
            l.transpose(),
            faer::linalg::matmul::triangular::BlockStructure::TriangularUpper,
            1.0,
            Par::Seq,
        );
        product
    }
    fn matrix(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.l, self.n, self.n)
    }
    /// Least and greatest |R_jj|.
    pub fn diagonal_range(&self) -> (f64, f64) {
        let d = (0..self.n).map(|j| self.l[j * self.n + j].abs());
        let range = d.clone().fold((f64::INFINITY, 0.0f64), |(a, b), v| (a.min(v), b.max(v)));
        // Reflections of columns of zeros may not be finite.
        if d.clone().any(|v| v.is_nan()) { (0.0, range.1) } else { range }
    }
    /// |R|_F.
    pub fn frobenius(&self) -> f64 {
        self.l.iter().map(|v| v * v).sum::<f64>().sqrt()
    }
    /// Least and greatest diagonal entry of the factor of the Gram matrix scaled to a unit diagonal.
    pub(super) fn equilibrated_range(&self, gram: &[f64]) -> (f64, f64) {
        let n = self.n;
        let d = (0..n).map(|j| self.l[j * n + j] / gram[j * n + j].sqrt());
        d.fold((f64::INFINITY, 0.0), |(a, b), v| (a.min(v), b.max(v)))
    }
    /// The factor of all columns but the last, and the last column of R above its diagonal.
    pub(super) fn leading(&self) -> (Self, Vec<f64>) {
        let (n, k) = (self.n, self.n - 1);
        let mut l = vec![0.0; k * k];
        (0..k).for_each(|j| l[j * k..(j + 1) * k].copy_from_slice(&self.l[j * n..j * n + k]));
        (Self { n: k, l, ridge: self.ridge }, (0..k).map(|j| self.l[j * n + k]).collect())
    }
    /// X <- R^-1 X, columns of length n one after another.
    pub fn solve(&self, x: &mut [f64]) {
        let columns = x.len() / self.n.max(1);
        let x = MatMut::from_column_major_slice_mut(x, self.n, columns);
        solve_upper_triangular_in_place(self.matrix().transpose(), x, Par::Seq);
    }
    /// X <- R^-T X.
    pub fn solve_transposed(&self, x: &mut [f64]) {
        let columns = x.len() / self.n.max(1);
        let x = MatMut::from_column_major_slice_mut(x, self.n, columns);
        solve_lower_triangular_in_place(self.matrix(), x, Par::Seq);
    }
    /// y <- R x.
    pub fn multiply(&self, x: &[f64], y: &mut [f64]) {
        for (i, y) in y.iter_mut().enumerate() {
            *y = crate::linalg::dot(&self.l[i * self.n + i..(i + 1) * self.n], &x[i..]);
        }
    }
    /// The factor of R'R + mu I.
    ///
    /// # Errors
    /// mu is not finite.
    pub fn shifted(&self, mu: f64) -> Result<Self, Error> {
        let mut gram = self.gram();
        (0..self.n).for_each(|j| gram[j * self.n + j] += mu.max(0.0));
        let cheap = Self::of_gram(self.n, &gram)?;
        if cheap.ridge == 0.0 && cheap.equilibrated_range(&gram).0 > 1e-6 {
            return Ok(cheap);
        }
        let mut rows = vec![0.0; 2 * self.n * self.n];
        rows[..self.n * self.n].copy_from_slice(&self.l);
        (0..self.n).for_each(|j| rows[self.n * self.n + j * self.n + j] = mu.max(0.0).sqrt());
        Self::of_rows(self.n, &rows)
    }
}

fn not_finite() -> Error {
    Error::Problem { name: "sketch".into(), what: "it has an entry that is not finite".into() }
}

#[cfg(test)]
mod tests {
    use super::super::counter::Counter;
    use super::*;

    #[test]
    fn householder_and_gram_agree_and_solve() {
        for (s, n) in [(1, 1), (9, 4), (50, 20), (20, 20), (300, 70)] {
            let rows: Vec<f64> = (0..(s * n) as u64).map(|k| Counter::new(1, 2).normal(k)).collect();
            let mut gram = vec![0.0; n * n];
            for j in 0..n {
                for i in j..n {
                    gram[j * n + i] = (0..s).map(|r| rows[r * n + i] * rows[r * n + j]).sum();
                }
            }
            let x: Vec<f64> = (0..n).map(|k| 1.0 + (k as f64).sin()).collect();
            for factor in [Factor::of_rows(n, &rows).unwrap(), Factor::of_gram(n, &gram).unwrap()] {
                let again = factor.gram();
                let scale = gram.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                assert!(again.iter().zip(&gram).all(|(a, b)| (a - b).abs() < 1e-12 * scale), "{s} {n}");
                let mut y = vec![0.0; n];
                factor.multiply(&x, &mut y);
                factor.solve(&mut y);
                assert!(y.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-8), "{s} {n}");
                // <R^-1 x, z> = <x, R^-T z>
                let z: Vec<f64> = (0..n).map(|k| (k as f64).cos()).collect();
                let (mut rx, mut rz) = (x.clone(), z.clone());
                factor.solve(&mut rx);
                factor.solve_transposed(&mut rz);
                let (a, b) = (crate::linalg::dot(&rx, &z), crate::linalg::dot(&x, &rz));
                assert!((a - b).abs() < 1e-9 * (1.0 + a.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn deficient_rank_is_regularized_and_infinity_is_an_error() {
        let rows: Vec<f64> = (0..40).map(|k| (k / 4) as f64).collect();
        let factor = Factor::of_rows(4, &rows).unwrap();
        assert!(factor.ridge() > 0.0 && factor.diagonal_range().0 > 0.0);
        assert!(Factor::of_rows(3, &[1.0, 2.0, 3.0]).unwrap().ridge() > 0.0);
        assert!(Factor::of_rows(1, &[f64::INFINITY]).is_err());
        assert!(Factor::of_gram(1, &[f64::NAN]).is_err());
        let shifted = Factor::of_gram(2, &[4.0, 1.0, f64::NAN, 3.0]).unwrap().shifted(2.0).unwrap();
        assert!((shifted.gram()[0] - 6.0).abs() < 1e-12 && (shifted.gram()[3] - 5.0).abs() < 1e-12);
    }
}
