//! Second derivatives by differences of gradients.
//!
//! Columns that share no row of the Hessian are perturbed together (Curtis, Powell, Reid 1974): with d = sum of e_j h_j over
//! a group, entry (i, j) is the i-th component of (grad L(x + d) - grad L(x - d)) / (2 h_j). Steps stay inside the bounds.

use super::{Model, Of, multiply};
use crate::linalg::{SparseMatrix, Storage};
use crate::nlp::coloring::Columns;
use crate::opt::iterate::Point;
use crate::opt::problem::{At, BadEvaluation, Bounds, Coordinates, DROPPED, Evaluator};

/// Relative step; the cube root of the rounding unit balances the errors of a central difference.
const STEP: f64 = 6e-6;
/// No step is this short relative to x: rounding would spoil it.
const LEAST: f64 = 1e4 * f64::EPSILON;

/// Entries of the Hessian on its compressed pattern, groups of columns, and work vectors.
pub(in crate::opt) struct Differences {
    pattern: SparseMatrix,
    places: Coordinates,
    groups: Vec<Vec<usize>>,
    x: Vec<f64>,
    gradient: Vec<f64>,
    jacobian: Vec<f64>,
    plus: Vec<f64>,
    minus: Vec<f64>,
}

/// The user's entries as a compressed lower triangle, and the place of each (`DROPPED` ones have none).
pub(super) fn compressed(n: usize, places: &Coordinates) -> (SparseMatrix, Vec<usize>) {
    let kept = |v: &[u32]| v.iter().filter(|&&k| k != DROPPED).map(|&k| k as usize).collect::<Vec<_>>();
    SparseMatrix::from_coordinates(n, n, &kept(&places.rows), &kept(&places.cols), Storage::SymmetricLower)
}

impl Differences {
    /// On the pattern of the user's entries.
    pub fn new(n: usize, places: &Coordinates) -> Self {
        let (pattern, _) = compressed(n, places);
        let groups = groups(&pattern, usize::MAX).unwrap_or_default();
        Self::for_groups(pattern, groups)
    }

    pub(super) fn for_groups(pattern: SparseMatrix, groups: Vec<Vec<usize>>) -> Self {
        let n = pattern.ncols;
        let zeros = || vec![0.0; n];
        let rows = pattern.row_idx.iter().map(|&i| i as u32).collect();
        let cols = (0..n).flat_map(|j| vec![j as u32; pattern.col_ptr[j + 1] - pattern.col_ptr[j]]).collect();
        Self {
            places: Coordinates { rows, cols },
            pattern,
            groups,
            x: zeros(),
            gradient: zeros(),
            jacobian: Vec::new(),
            plus: zeros(),
            minus: zeros(),
        }
    }

    /// Values on the compressed pattern.
    pub(super) fn pattern(&self) -> &SparseMatrix {
        &self.pattern
    }

    /// Values <- sigma hess f~ + sum y_i hess c~_i by differences with `step` times the usual step.
    pub(super) fn compute(
        &mut self,
        p: &mut Evaluator<'_>,
        (x, sigma, y): (&[f64], f64, &[f64]),
        step: f64,
    ) -> Result<(), BadEvaluation> {
        let Self { pattern, groups, x: moved, gradient, jacobian, plus, minus, .. } = self;
        jacobian.resize(p.form.jacobian_len(), 0.0);
        moved.copy_from_slice(x);
        for group in &*groups {
            if p.stop.check().is_some() {
                return Err(BadEvaluation::of("differences of gradients were stopped"));
            }
            for (sign, side) in [(1.0, &mut *plus), (-1.0, &mut *minus)] {
                for &j in group {
                    let (down, up) = room(&p.form.bounds, j, x[j], step);
                    moved[j] = x[j] + if sign > 0.0 { up } else { -down };
                }
                weighted_gradient(p, (moved, sigma, y), gradient, jacobian, side)?;
            }
            for &j in group {
                let (down, up) = room(&p.form.bounds, j, x[j], step);
                let entries = pattern.col_ptr[j]..pattern.col_ptr[j + 1];
                let width = (x[j] + up) - (x[j] - down);
                for (o, &i) in pattern.values[entries.clone()].iter_mut().zip(&pattern.row_idx[entries]) {
                    *o = (plus[i] - minus[i]) / width;
                }
                moved[j] = x[j];
            }
        }
        Ok(())
    }

    /// grad (sigma f~ + y'c~) at x into `out`.
    pub(super) fn gradient(
        &mut self,
        p: &mut Evaluator<'_>,
        at: (&[f64], f64, &[f64]),
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        self.jacobian.resize(p.form.jacobian_len(), 0.0);
        weighted_gradient(p, at, &mut self.gradient, &mut self.jacobian, out)
    }
}

impl Model for Differences {
    fn coordinates(&self) -> Option<&Coordinates> {
        Some(&self.places)
    }

    fn observe(&mut self, p: &mut Evaluator<'_>, at: &Point, of: Of) -> Result<(), BadEvaluation> {
        let (sigma, y) = of.arguments(at);
        self.compute(p, (&at.x, sigma, y), 1.0)
    }

    fn values(&self) -> &[f64] {
        &self.pattern.values
    }

    fn apply(
        &mut self,
        _: &mut Evaluator<'_>,
        _: &Point,
        _: Of,
        v: &[f64],
        out: &mut [f64],
    ) -> Result<(), BadEvaluation> {
        multiply(&self.places, &self.pattern.values, v, out);
        Ok(())
    }

    fn label(&self) -> &'static str {
        ", Hessian by differences"
    }
}

/// Steps down and up along variable j that stay inside its bounds: alike, at most half the distance from the nearer bound, beside which
/// functions may be singular. On a bound only one of them is not 0.
fn room(bounds: &Bounds, j: usize, xj: f64, step: f64) -> (f64, f64) {
    let h = step * STEP * xj.abs().max(1.0);
    let (down, up) = (0.5 * (xj - bounds.lower[j]), 0.5 * (bounds.upper[j] - xj));
    let alike = h.min(down).min(up);
    if alike > LEAST * xj.abs() { (alike, alike) } else { (h.min(down), h.min(up)) }
}

/// out <- sigma grad f~ + J~'y.
pub(super) fn weighted_gradient(
    p: &mut Evaluator<'_>,
    (x, sigma, y): (&[f64], f64, &[f64]),
    gradient: &mut [f64],
    jacobian: &mut [f64],
    out: &mut [f64],
) -> Result<(), BadEvaluation> {
    p.derivatives(x, gradient, jacobian)?;
    p.jac_t_mul(At { x, jacobian }, y, out)?;
    out.iter_mut().zip(&*gradient).for_each(|(o, g)| *o += sigma * g);
    Ok(())
}

/// Columns that are perturbed together. None if that takes more than `most` groups.
pub(super) fn groups(lower: &SparseMatrix, most: usize) -> Option<Vec<Vec<usize>>> {
    let columns = (0..lower.ncols)
        .flat_map(|j| lower.row_idx[lower.col_ptr[j]..lower.col_ptr[j + 1]].iter().map(move |&i| (i, j)));
    Columns::symmetric_within(lower.ncols, columns, most).map(|c| c.groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_alike_unless_x_is_on_a_bound() {
        let (lower, upper) = (vec![0.0, 1.0, -1e30], vec![1.0, 2.0, 1e30]);
        let mut bounds = Bounds::default();
        (bounds.lower, bounds.upper) = (lower, upper);
        assert_eq!(room(&bounds, 0, 1e-9, 1.0), (5e-10, 5e-10));
        assert_eq!(room(&bounds, 1, 1.0, 1.0), (0.0, STEP));
        assert_eq!(room(&bounds, 2, 100.0, 1.0), (100.0 * STEP, 100.0 * STEP));
    }

    #[test]
    fn columns_of_a_group_share_no_row() {
        let entries = (0..7).flat_map(|j| [(j, j), (j + 1, j)]).chain([(7, 7)]);
        let (rows, cols): (Vec<_>, Vec<_>) = entries.unzip();
        let (tridiagonal, _) = SparseMatrix::from_coordinates(8, 8, &rows, &cols, Storage::SymmetricLower);
        let found = groups(&tridiagonal, 3).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|g| g.windows(2).all(|w| w[1] - w[0] >= 3)), "{found:?}");
        assert_eq!(groups(&tridiagonal, 2), None);
    }
}
