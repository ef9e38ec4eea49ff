//! Second derivatives by differences of gradients: where the user wants them, and to tell whether those of the problem
//! are right.
//!
//! Columns that share no row of the Hessian are perturbed together (Curtis, Powell, Reid 1974): with d = sum of e_j h_j over
//! a group, entry (i, j) is the i-th component of (grad L(x + d) - grad L(x - d)) / (2 h_j). Steps stay inside the bounds.

use super::model::{BadEvaluation, Model};
use crate::linalg::SparseMatrix;
use crate::nlp::EvalError;
use crate::nlp::differences::{Differences, Direction};
use crate::report::WrongEntry;

/// Relative step; the cube root of the rounding unit balances the errors of a central difference.
const STEP: f64 = 6e-6;
/// Groups up to which the Hessian is compared with differences: two comparisons cost four gradients a group.
const MOST_GROUPS: usize = 200;
/// Relative difference from which an entry counts as wrong.
const WRONG: f64 = 1e-3;
/// The same at a point nearby, which confirms it.
const WRONG_NEARBY: f64 = 1e-6;
/// Suspicious entries looked at closely, and the factor by which the estimated error of their differences is distrusted.
const MOST_SUSPECTS: usize = 8;
const DISTRUST: f64 = 100.0;

/// Groups of columns, and work vectors.
pub(super) struct HessianDifferences {
    groups: Vec<Vec<usize>>,
    x: Vec<f64>,
    gradient: Vec<f64>,
    plus: Vec<f64>,
    minus: Vec<f64>,
}

impl HessianDifferences {
    /// For the pattern of a symmetric matrix, lower triangle.
    pub fn new(hessian: &SparseMatrix) -> Self {
        Self::for_groups(hessian.ncols, group_columns(hessian, usize::MAX).unwrap_or_default())
    }

    fn for_groups(n: usize, groups: Vec<Vec<usize>>) -> Self {
        let zeros = || vec![0.0; n];
        Self { groups, x: zeros(), gradient: zeros(), plus: zeros(), minus: zeros() }
    }
}

/// Greedily, columns in their order: no two columns of a group have an entry in one row. None if that takes more than `most` groups.
fn group_columns(lower: &SparseMatrix, most: usize) -> Option<Vec<Vec<usize>>> {
    let n = lower.ncols;
    let mut neighbours = vec![Vec::new(); n];
    for j in 0..n {
        for &i in &lower.row_idx[lower.col_ptr[j]..lower.col_ptr[j + 1]] {
            neighbours[j].push(i);
            if i != j {
                neighbours[i].push(j);
            }
        }
    }
    // A row needs a group for each of its entries.
    if neighbours.iter().any(|rows| rows.len() > most) {
        return None;
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    // Groups that touch a row, and the column for which a group was last refused.
    let mut groups_of_row = vec![Vec::new(); n];
    let mut refused: Vec<usize> = Vec::new();
    for (j, rows) in neighbours.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
        for &i in rows {
            for &g in &groups_of_row[i] {
                refused[g] = j;
            }
        }
        let g = refused.iter().position(|&last| last != j).unwrap_or(groups.len());
        if g == groups.len() {
            if g == most {
                return None;
            }
            groups.push(Vec::new());
            refused.push(usize::MAX);
        }
        groups[g].push(j);
        for &i in rows {
            groups_of_row[i].push(g);
        }
    }
    Some(groups)
}

impl Model<'_> {
    /// out <- the lower triangle of sigma hess f~ + sum y_i hess c~_i by differences with `step` times the usual step. The
    /// Jacobian at x is evaluated anew in the end.
    pub fn difference_hessian(
        &mut self,
        d: &mut HessianDifferences,
        at: (&[f64], f64, &[f64]),
        step: f64,
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        let (x, sigma, y) = at;
        out.fill(0.0);
        d.x.copy_from_slice(x);
        for group in &d.groups {
            if self.stop.check().is_some() {
                return Err(BadEvaluation { function: "differences of gradients were stopped".into() });
            }
            for (sign, side) in [(1.0, &mut d.plus), (-1.0, &mut d.minus)] {
                for &j in group {
                    let (down, up) = self.room(j, x[j], step);
                    d.x[j] = x[j] + if sign > 0.0 { up } else { -down };
                }
                self.weighted_gradient((&d.x, sigma, y), &mut d.gradient, side)?;
            }
            let Some(hessian) = self.hessian() else { return Ok(()) };
            for &j in group {
                let (down, up) = self.room(j, x[j], step);
                let entries = hessian.col_ptr[j]..hessian.col_ptr[j + 1];
                let width = (x[j] + up) - (x[j] - down);
                for (o, &i) in out[entries.clone()].iter_mut().zip(&hessian.row_idx[entries]) {
                    *o = (d.plus[i] - d.minus[i]) / width;
                }
                d.x[j] = x[j];
            }
        }
        self.grad_jac(x, &mut d.gradient)
    }

    /// Steps down and up along variable j that stay inside its bounds.
    fn room(&self, j: usize, xj: f64, step: f64) -> (f64, f64) {
        let meta = self.nlp().meta();
        let h = step * STEP * xj.abs().max(1.0);
        (h.min(0.5 * (xj - meta.x_lower[j])), h.min(0.5 * (meta.x_upper[j] - xj)))
    }

    /// out <- sigma grad f~ + J~'y.
    fn weighted_gradient(
        &mut self,
        at: (&[f64], f64, &[f64]),
        gradient: &mut [f64],
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        let (x, sigma, y) = at;
        self.grad_jac(x, gradient)?;
        self.jac_t_mul(x, y, out)?;
        out.iter_mut().zip(&*gradient).for_each(|(o, g)| *o += sigma * g);
        Ok(())
    }

    /// An entry of the problem's Hessian of the Lagrangian that is wrong: two grouped differences single out suspects, a
    /// sequence of steps with an error estimate convicts. The model holds the Jacobian at x afterwards.
    pub fn wrong_hessian(&mut self, x: &[f64], y: &[f64]) -> Option<WrongEntry> {
        let pattern = self.hessian()?;
        if self.is_quasi_newton() || self.takes_differences() {
            return None;
        }
        if self.stop.check().is_some() {
            return None;
        }
        let mut d = HessianDifferences::for_groups(x.len(), group_columns(pattern, MOST_GROUPS)?);
        let (mut coarse, mut fine) = (vec![0.0; pattern.values.len()], vec![0.0; pattern.values.len()]);
        self.difference_hessian(&mut d, (x, 1.0, y), 1.0, &mut coarse).ok()?;
        self.difference_hessian(&mut d, (x, 1.0, y), 0.25, &mut fine).ok()?;
        self.hess(x, 1.0, y).ok()?;
        let suspects = self.suspects(&coarse, &fine);
        let found = suspects.into_iter().find_map(|entry| self.wrong_entry(&mut d, (x, y), entry, WRONG));
        // A kink is wrong at one point, a formula almost everywhere.
        let confirmed = found.filter(|w| {
            let near = self.point_near(x);
            self.wrong_entry(&mut d, (&near, y), (w.row, w.col), WRONG_NEARBY).is_some()
        });
        self.grad_jac(x, &mut d.gradient).ok()?;
        confirmed
    }

    /// Inside the bounds, a hundredth of 1 + |x_j| away in each variable where there is room.
    fn point_near(&self, x: &[f64]) -> Vec<f64> {
        let meta = self.nlp().meta();
        let moved = |j: usize| {
            let d = (0.5 + ((j * 7919 + 13) % 101) as f64 / 101.0) * 1e-2 * (1.0 + x[j].abs());
            let (down, up) = (x[j] - meta.x_lower[j], meta.x_upper[j] - x[j]);
            if up > down { x[j] + d.min(0.5 * up) } else { x[j] - d.min(0.5 * down) }
        };
        (0..x.len()).map(moved).collect()
    }

    /// The entry at x, if it is wrong by more than `tolerance`.
    fn wrong_entry(
        &mut self,
        d: &mut HessianDifferences,
        (x, y): (&[f64], &[f64]),
        (row, col): (usize, usize),
        tolerance: f64,
    ) -> Option<WrongEntry> {
        self.hess(x, 1.0, y).ok()?;
        let hessian = self.hessian()?;
        let rows = &hessian.row_idx[hessian.col_ptr[col]..hessian.col_ptr[col + 1]];
        let given = hessian.values[hessian.col_ptr[col] + rows.binary_search(&row).ok()?];
        let (expected, error) = self.careful_entry(d, (x, y), row, col)?;
        // Differences that miss fast changes agree with each other, roughly: they must be accurate to accuse.
        let accurate = DISTRUST * error <= (0.1 * expected.abs()).max(1e-6 * given.abs());
        let wrong =
            (given - expected).abs() > (tolerance * given.abs().max(expected.abs())).max(DISTRUST * error);
        (accurate && wrong).then_some(WrongEntry { row, col, given, expected })
    }

    /// Entries that differ from two differences much more than these do from each other; the worst first.
    fn suspects(&self, coarse: &[f64], fine: &[f64]) -> Vec<(usize, usize)> {
        let Some(hessian) = self.hessian() else { return Vec::new() };
        let mut found = Vec::new();
        for j in 0..hessian.ncols {
            for p in hessian.col_ptr[j]..hessian.col_ptr[j + 1] {
                let (given, expected) = (hessian.values[p], coarse[p]);
                let gap = (given - expected).abs();
                let ratio = gap / (coarse[p] - fine[p]).abs().max(f64::MIN_POSITIVE);
                if gap > WRONG * given.abs().max(expected.abs()) && ratio > 10.0 {
                    found.push((ratio, hessian.row_idx[p], j));
                }
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        found.into_iter().take(MOST_SUSPECTS).map(|(_, i, j)| (i, j)).collect()
    }

    /// Entry (row, col) of hess L and its estimated error.
    fn careful_entry(
        &mut self,
        d: &mut HessianDifferences,
        at: (&[f64], &[f64]),
        row: usize,
        col: usize,
    ) -> Option<(f64, f64)> {
        let (x, y) = at;
        let failed = |reason: String| EvalError::Failed { function: "gradient", reason };
        let mut steps = Differences::new(x.len());
        steps.along(x, Direction::Column(col), |x, out| {
            let meta = self.nlp().meta();
            if x[col] < meta.x_lower[col] || x[col] > meta.x_upper[col] {
                return Err(failed("outside the bounds".into()));
            }
            let evaluated = self.weighted_gradient((x, 1.0, y), &mut d.gradient, out);
            evaluated.map_err(|e| failed(e.function))
        });
        let (value, error) = (steps.value[row], steps.error[row]);
        (value.is_finite() && error.is_finite()).then_some((value, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::Storage;

    fn groups(n: usize, entries: &[(usize, usize)]) -> Vec<Vec<usize>> {
        let (rows, cols): (Vec<_>, Vec<_>) = entries.iter().copied().unzip();
        let (matrix, _) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::SymmetricLower);
        let most = group_columns(&matrix, usize::MAX).unwrap();
        assert_eq!(group_columns(&matrix, most.len()).as_ref(), Some(&most));
        assert_eq!(group_columns(&matrix, most.len() - 1), None);
        most
    }

    #[test]
    fn columns_of_a_group_share_no_row() {
        let tridiagonal: Vec<_> = (0..7).flat_map(|j| [(j, j), (j + 1, j)]).chain([(7, 7)]).collect();
        let found = groups(8, &tridiagonal);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|g| g.windows(2).all(|w| w[1] - w[0] >= 3)), "{found:?}");
        // An empty column belongs to no group; an arrow needs one group a column.
        assert_eq!(groups(3, &[(0, 0), (2, 2)]), vec![vec![0, 2]]);
        assert_eq!(groups(4, &[(0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 2), (3, 3)]).len(), 4);
    }
}
