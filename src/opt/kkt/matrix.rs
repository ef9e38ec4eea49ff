//! The KKT matrix of a step by entries, lower triangle:
//!
//! ```text
//!     K = [ H + S + t D    J'       ]   n        H = sigma hess f + sum y_i hess c_i, or 0
//!         [ J             -delta I  ]   m        S = zl / (x - xl) + zu / (xu - x), 0 without bounds
//! ```
//!
//! Values of H go from the user's order straight to their places, column j of J is one piece of column j of K.

use crate::linalg::{SparseMatrix, Storage};
use crate::opt::problem::{Coordinates, DROPPED, Form};

/// K and where its parts are.
pub(super) struct KktMatrix {
    n: usize,
    matrix: SparseMatrix,
    /// Place of each value of the Hessian model.
    hessian_at: Vec<u32>,
    /// First entry of J in each column; behind its last: the next column.
    jacobian_from: Vec<usize>,
    diagonal_at: Vec<usize>,
    /// H_jj, and 0 for the rows of J.
    diagonal: Vec<f64>,
}

impl KktMatrix {
    /// Sets up the pattern; `None` without the entries of H or J.
    pub fn new(form: &Form, hessian: Option<&Coordinates>) -> Option<Self> {
        let hessian = hessian?;
        if !form.has_jacobian_entries() {
            return None;
        }
        let (n, m) = (form.n, form.m);
        let kept = |v: &[u32]| v.iter().filter(|&&k| k != DROPPED).map(|&k| k as usize).collect::<Vec<_>>();
        let (mut rows, mut cols) = (kept(&hessian.rows), kept(&hessian.cols));
        if let Some(jacobian) = &form.jacobian {
            for j in 0..n {
                let entries = jacobian.col_ptr[j]..jacobian.col_ptr[j + 1];
                cols.extend(entries.clone().map(|_| j));
                rows.extend(jacobian.row_idx[entries].iter().map(|i| i + n));
            }
        }
        rows.extend(0..n + m);
        cols.extend(0..n + m);
        let (matrix, position) =
            SparseMatrix::from_coordinates(n + m, n + m, &rows, &cols, Storage::SymmetricLower);
        let diagonal_at = position[position.len() - (n + m)..].to_vec();
        let jacobian_from = (0..n).map(|j| {
            let column = matrix.col_ptr[j]..matrix.col_ptr[j + 1];
            matrix.col_ptr[j] + matrix.row_idx[column].partition_point(|&i| i < n)
        });
        let mut kkt = Self {
            n,
            jacobian_from: jacobian_from.collect(),
            hessian_at: Vec::new(),
            diagonal_at,
            diagonal: vec![0.0; n + m],
            matrix,
        };
        kkt.set_hessian(hessian);
        Some(kkt)
    }

    /// Another model of H, whose entries all have a place.
    pub fn set_hessian(&mut self, places: &Coordinates) {
        let matrix = &self.matrix;
        let find = |(&r, &c): (&u32, &u32)| {
            if r == DROPPED {
                return DROPPED;
            }
            let (r, c) = (r.max(c) as usize, r.min(c) as usize);
            let column = &matrix.row_idx[matrix.col_ptr[c]..matrix.col_ptr[c + 1]];
            (matrix.col_ptr[c] + column.partition_point(|&i| i < r)) as u32
        };
        self.hessian_at = places.rows.iter().zip(&places.cols).map(find).collect();
    }

    /// Entries of H + S on the pattern of K, and of K.
    pub fn hessian_len(&self) -> usize {
        (0..self.n).map(|j| self.jacobian_from[j] - self.matrix.col_ptr[j]).sum()
    }

    /// Copies H (empty: 0) and J; neither S nor regularization yet.
    pub fn fill(&mut self, hessian: &[f64], jacobian: &[f64]) {
        let Self { matrix, .. } = self;
        let mut from = 0;
        for j in 0..self.n {
            let (start, middle, end) = (matrix.col_ptr[j], self.jacobian_from[j], matrix.col_ptr[j + 1]);
            matrix.values[start..middle].fill(0.0);
            matrix.values[middle..end].copy_from_slice(&jacobian[from..from + end - middle]);
            from += end - middle;
        }
        for (&p, v) in self.hessian_at.iter().zip(hessian) {
            if p != DROPPED {
                matrix.values[p as usize] += v;
            }
        }
        for (d, &p) in self.diagonal[..self.n].iter_mut().zip(&self.diagonal_at) {
            *d = matrix.values[p];
        }
    }

    /// The diagonal: H + S + t D (S may be empty) and -delta I.
    pub fn regularize(&mut self, barrier: &[f64], t: f64, weights: &[f64], delta: f64) {
        for (k, (&p, d)) in self.diagonal_at.iter().zip(&self.diagonal).enumerate() {
            let own = if k < self.n {
                (d + barrier.get(k).copied().unwrap_or(0.0)) + t * weights[k]
            } else {
                0.0 - delta
            };
            self.matrix.values[p] = own;
        }
    }

    pub fn matrix(&self) -> &SparseMatrix {
        &self.matrix
    }

    /// H_jj of the last `fill`.
    pub fn hessian_diagonal(&self) -> &[f64] {
        &self.diagonal[..self.n]
    }

    /// Largest entry of H.
    pub fn largest_hessian_entry(&self) -> f64 {
        let mut largest = crate::linalg::norm_inf(self.hessian_diagonal());
        for j in 0..self.n {
            let entries = self.matrix.col_ptr[j] + 1..self.jacobian_from[j].max(self.matrix.col_ptr[j] + 1);
            largest = largest.max(crate::linalg::norm_inf(&self.matrix.values[entries]));
        }
        largest
    }

    /// out <- H v.
    pub fn hess_mul(&self, v: &[f64], out: &mut [f64]) {
        out.fill(0.0);
        let a = &self.matrix;
        for j in 0..self.n {
            // The diagonal comes first in each column.
            out[j] += self.diagonal[j] * v[j];
            let mut sum = 0.0;
            for p in a.col_ptr[j] + 1..self.jacobian_from[j] {
                let (i, value) = (a.row_idx[p], a.values[p]);
                out[i] += value * v[j];
                sum += value * v[i];
            }
            out[j] += sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlp::{NlpMeta, Pattern};

    /// Three variables, the second fixed, one row; duplicates, an entry of the upper triangle's mirror, no (2, 2).
    fn form() -> Form {
        let mut meta = NlpMeta::equality("test", 3, 1);
        (meta.x_lower[1], meta.x_upper[1]) = (5.0, 5.0);
        meta.jacobian = Some(Pattern { rows: vec![0, 0, 0], cols: vec![2, 0, 1] });
        meta.hessian = Some(Pattern { rows: vec![0, 2, 2, 0], cols: vec![0, 0, 1, 0] });
        Form::new(&meta, 0.0)
    }

    fn dense(k: &KktMatrix) -> Vec<f64> {
        let (mut out, mut e) = (vec![0.0; 3], vec![0.0; 3]);
        let mut all = Vec::new();
        for j in 0..3 {
            e.fill(0.0);
            e[j] = 1.0;
            k.matrix().as_ref().apply(1.0, &e, 0.0, &mut out);
            all.extend_from_slice(&out);
        }
        all
    }

    #[test]
    fn entries_reach_their_places() {
        let form = form();
        let mut k = KktMatrix::new(&form, form.hessian.as_ref()).unwrap();
        let mut jacobian = vec![0.0; form.jacobian_len()];
        jacobian.copy_from_slice(&[8.0, 7.0]);
        k.fill(&[1.0, 2.0, 99.0, 10.0], &jacobian);
        k.regularize(&[], 0.0, &[1.0, 1.0], 0.0);
        assert_eq!(dense(&k), [11.0, 2.0, 8.0, 2.0, 0.0, 7.0, 8.0, 7.0, 0.0]);
        k.regularize(&[100.0, 200.0], 2.0, &[3.0, 4.0], 0.5);
        assert_eq!(dense(&k), [117.0, 2.0, 8.0, 2.0, 208.0, 7.0, 8.0, 7.0, -0.5]);
        let mut out = [0.0; 2];
        k.hess_mul(&[1.0, 10.0], &mut out);
        assert_eq!(out, [31.0, 2.0]);
        assert_eq!((k.largest_hessian_entry(), k.hessian_len()), (11.0, 3));
        k.fill(&[], &jacobian);
        k.regularize(&[], 0.0, &[1.0, 1.0], 0.0);
        assert_eq!(dense(&k), [0.0, 0.0, 8.0, 0.0, 0.0, 7.0, 8.0, 7.0, 0.0]);
    }
}
