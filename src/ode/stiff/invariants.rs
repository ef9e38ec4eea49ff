//! Linear invariants w'y: those that are declared are kept, those that a run has lost are found.
//!
//! A Rosenbrock method keeps w'y where w'f = 0, in exact arithmetic. In floating point f has the rounding of its terms, and what of it lies along w is multiplied by h gamma, not by
//! the small (1 / (h gamma) + |lambda|)^-1 of the fast directions: a step changes w'y by about h eps |J| |y|. With h |J| of 1e8, as in long stiff runs, that is far more than the rounding
//! of y, and components that later become small keep it. No solve is to blame, and none can mend it: what is lost was lost in f.

use super::step::Rosenbrock;
use crate::error::{OdeError, check_len};
use crate::linalg::Scalar;

/// Rounding that may separate a sum from zero, in units of the size of its terms.
const ROUNDING: f64 = 64.0 * f64::EPSILON;

/// The rows of [`Options::invariants`](crate::ode::Options::invariants), one after another, made orthogonal: they say the same, and are kept one by one.
pub(super) fn rows<T: Scalar>(invariants: &[Vec<f64>], dim: usize) -> Result<Vec<T>, OdeError> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut all: Vec<Vec<f64>> = vec![];
    for row in invariants {
        check_len("a row of the invariants", row.len(), dim)?;
        let (mut w, size) = (row.clone(), dot(row, row));
        // Twice is enough.
        for before in all.iter().chain(&all) {
            let share = dot(&w, before) / dot(before, before);
            w.iter_mut().zip(before).for_each(|(w, b)| *w -= share * b);
        }
        if dot(&w, &w) <= 1e-20 * size {
            let what = "a row of the invariants is zero, or a sum of the rows before it";
            return Err(OdeError::Mismatch { what: what.to_string() });
        }
        all.push(w);
    }
    Ok(all.into_iter().flatten().map(T::of).collect())
}

impl<T: Scalar> Rosenbrock<T> {
    /// y1 <- the nearest state with w'y1 = w'y0 for each invariant, distances relative to the components: D = diag(y1^2), y1 -= D w (w'(y1 - y0)) / (w'D w). One after
    /// another, three times, which is enough for rounding errors. The derivative of a step is that without this, to rounding.
    pub(crate) fn keep_invariants(&self, dim: usize, y0: &[T], y1: &mut [T]) {
        let sweeps = if self.invariants.len() > dim { 3 } else { 1 };
        for (y0, y1) in y0.chunks_exact(dim).zip(y1.chunks_exact_mut(dim)) {
            for _ in 0..sweeps {
                for w in self.invariants.chunks_exact(dim) {
                    let (mut change, mut size) = (T::ZERO, T::ZERO);
                    for ((w, a), b) in w.iter().zip(y0).zip(&*y1) {
                        change += *w * (*b - *a);
                        size += (*w * *b) * (*w * *b);
                    }
                    let share = change / size;
                    if share != T::ZERO && share.is_finite() {
                        y1.iter_mut().zip(w).for_each(|(y, w)| *y -= *y * *y * *w * share);
                    }
                }
            }
        }
    }
}

/// Left null vectors of an n x n matrix, column-major, by elimination with rows as pivots: a number counts as zero where it is rounding of what it is the sum of. Keeps its storage.
#[derive(Debug, Clone, Default)]
pub(super) struct NullSpace {
    n: usize,
    /// Of row i, 3 n numbers: J_i, the sizes of its sums, and the combination of rows that it is.
    rows: Vec<f64>,
    used: Vec<bool>,
    done: Vec<bool>,
    row: Vec<f64>,
}

impl NullSpace {
    /// Of this matrix.
    pub fn find(&mut self, n: usize, jac: &[f64]) {
        self.n = n;
        self.rows.clear();
        for i in 0..n {
            self.rows.extend((0..n).map(|j| jac[j * n + i]));
            self.rows.extend((0..n).map(|j| jac[j * n + i].abs()));
            self.rows.extend((0..n).map(|k| (k == i) as u8 as f64));
        }
        for flags in [&mut self.used, &mut self.done] {
            flags.clear();
            flags.resize(n, false);
        }
        while let Some((pivot, j)) = self.pivot() {
            (self.used[pivot], self.done[j]) = (true, true);
            self.eliminate(pivot, j);
        }
        for (row, _) in self.rows.chunks_exact_mut(3 * n).zip(&self.used).filter(|(_, used)| !**used) {
            clean(&mut row[2 * n..]);
        }
    }

    /// The null vectors of the matrix that was given to [`find`](Self::find).
    pub fn vectors<'a>(&'a self, jac: &'a [f64]) -> impl Iterator<Item = &'a [f64]> {
        let n = self.n;
        let left = self.rows.chunks_exact(3 * n.max(1)).zip(&self.used).filter(|(_, used)| !**used);
        left.map(move |(row, _)| &row[2 * n..]).filter(move |w| annihilates(n, w, jac))
    }

    fn eliminate(&mut self, pivot: usize, j: usize) {
        let Self { n, rows, used, row, .. } = self;
        let n = *n;
        row.clear();
        row.extend_from_slice(&rows[3 * n * pivot..][..3 * n]);
        for (other, _) in rows.chunks_exact_mut(3 * n).zip(&*used).filter(|(_, used)| !**used) {
            let m = if other[j].abs() > ROUNDING * other[n + j] { other[j] / row[j] } else { 0.0 };
            for (k, (a, b)) in other.iter_mut().zip(&*row).enumerate() {
                *a += if k / n == 1 { (m * b).abs() } else { -(m * b) };
            }
            other[j] = 0.0;
        }
    }

    /// Row and column of the next pivot among the rows not used and the columns not done: the entry that is largest beside the others of its row, of those that are not rounding.
    fn pivot(&self) -> Option<(usize, usize)> {
        let (n, mut best) = (self.n, (0.0, None));
        for (i, row) in self.rows.chunks_exact(3 * n.max(1)).enumerate().filter(|(i, _)| !self.used[*i]) {
            let (values, sizes) = row[..2 * n].split_at(n);
            let most = sizes.iter().fold(0.0, |m: f64, v| m.max(*v));
            for j in (0..n).filter(|&j| !self.done[j] && values[j].abs() > ROUNDING * sizes[j]) {
                if values[j].abs() / most > best.0 {
                    best = (values[j].abs() / most, Some((i, j)));
                }
            }
        }
        best.1
    }
}

/// Scaled to a largest entry of one; entries that differ from a whole multiple of the smallest one by rounding become it.
fn clean(w: &mut [f64]) {
    let most = w.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    w.iter_mut().for_each(|v| *v = if v.abs() > 1e-9 * most { *v / most } else { 0.0 });
    let least = w.iter().filter(|v| **v != 0.0).fold(f64::INFINITY, |m, v| m.min(v.abs()));
    for v in w {
        let whole = (*v / least).round();
        if (*v / least - whole).abs() < 1e-9 {
            *v = whole * least;
        }
    }
}

/// w'J = 0 to rounding.
pub(super) fn annihilates(n: usize, w: &[f64], jac: &[f64]) -> bool {
    jac.chunks_exact(n).all(|column| {
        let terms = || w.iter().zip(column).map(|(w, v)| w * v);
        terms().sum::<f64>().abs() <= ROUNDING * terms().map(f64::abs).sum::<f64>()
    })
}

/// w'f = 0 to the rounding of its terms, whose size is that of |J| |y| + |f| or, at the arguments of stages, some times that.
pub(super) fn keeps(n: usize, w: &[f64], f: &[f64], jac: &[f64], y: &[f64]) -> bool {
    let mut size: f64 = w.iter().zip(f).map(|(w, f)| (w * f).abs()).sum();
    for (column, y) in jac.chunks_exact(n).zip(y) {
        size += w.iter().zip(column).map(|(w, v)| (w * v * y).abs()).sum::<f64>();
    }
    w.iter().zip(f).map(|(w, f)| w * f).sum::<f64>().abs() <= 16.0 * ROUNDING * size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left_null(n: usize, jac: &[f64]) -> Vec<Vec<f64>> {
        let mut space = NullSpace::default();
        // What an earlier matrix left does not matter.
        space.find(2, &[1.0, 2.0, 3.0, 4.0]);
        space.find(n, jac);
        space.vectors(jac).map(<[f64]>::to_vec).collect()
    }

    #[test]
    fn left_null_vectors_are_found_and_nothing_else() {
        // Columns; w = (0, 1, -1, -1) of the problem E5 at two very different states, and none of a regular matrix.
        for [y0, y1, y2] in [
            [1.76e-3, 1.4e-10, 8e-12],
            [1e-40, 1e-20, 1e-20],
            [4.07e-36, 6.641e-20, 3.157e-22],
            [1.2e-35, 2e-20, 5e-21],
        ] {
            let (a, b, c, mc) = (7.89e-10, 1.1e7, 1.13e3, 1.13e9);
            #[rustfmt::skip]
            let jac = [
                -a - b * y2, a, a - b * y2, b * y2,
                0.0, -mc * y2, -mc * y2, 0.0,
                -b * y0, -mc * y1, -b * y0 - mc * y1, b * y0,
                0.0, 0.0, c, -c,
            ];
            let found = left_null(4, &jac);
            assert_eq!(found.len(), 1, "{found:?}");
            let w = &found[0];
            assert_eq!([w[0] / w[1], w[2] / w[1], w[3] / w[1]], [0.0, -1.0, -1.0]);
        }
        let regular: Vec<f64> = (0..25).map(|k| ((k * k) as f64 * 0.7).sin()).collect();
        assert!(left_null(5, &regular).is_empty());
        // Two independent ones: rows 0 + 1 and 2 - 2 * 3 vanish.
        let jac = [1.0, -1.0, 6.0, 3.0, 2.0, -2.0, -4.0, -2.0, 0.5, -0.5, 1.0, 0.5, 0.0, 0.0, 2.0, 1.0];
        let found = left_null(4, &jac);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|w| annihilates(4, w, &jac)));
    }
}
