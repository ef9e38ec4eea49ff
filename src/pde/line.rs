//! Tridiagonal matrices of one axis: stiffness and mass.

use super::grid::{Axis, Boundary};

/// A symmetric tridiagonal matrix, with corners where the axis is periodic.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// off[i] is entry (i - 1, i); off[0] = off[n] is entry (n - 1, 0), 0 unless periodic. Length n + 1.
    pub off: Vec<f64>,
    /// Length n.
    pub diag: Vec<f64>,
}

impl Line {
    /// Of an axis that there is not: 1 x 1.
    pub fn single(value: f64) -> Self {
        Self { off: vec![0.0; 2], diag: vec![value] }
    }

    pub fn len(&self) -> usize {
        self.diag.len()
    }

    /// Sums cell matrices [own, cross; cross, own] over the cells of an axis.
    fn assemble(axis: &Axis, own: f64, cross: f64) -> Self {
        let n = axis.unknowns();
        let mut line = Self { off: vec![0.0; n + 1], diag: vec![0.0; n] };
        for c in 0..axis.cells {
            let (left, right) = cell_nodes(axis, c);
            for node in [left, right].into_iter().flatten() {
                line.diag[node] += own;
            }
            if let (Some(_), Some(right)) = (left, right) {
                line.off[right] += cross;
            }
        }
        if axis.is_periodic() {
            line.off[n] = line.off[0];
        }
        line
    }

    /// a u'v' + Robin, divided by `unit`.
    pub fn stiffness(axis: &Axis, a: f64, unit: f64) -> Self {
        let k = a / axis.spacing() / unit;
        let mut line = Self::assemble(axis, k, -k);
        let last = line.len() - 1;
        for (node, side) in [(0, axis.low), (last, axis.high)] {
            if let Boundary::Robin(beta) = side {
                line.diag[node] += beta / unit;
            }
        }
        line
    }

    /// u v, lumped or consistent, divided by `unit`.
    pub fn mass(axis: &Axis, lumped: bool, unit: f64) -> Self {
        let h = axis.spacing() / unit;
        if lumped { Self::assemble(axis, h / 2.0, 0.0) } else { Self::assemble(axis, h / 3.0, h / 6.0) }
    }

    /// Entry (i, i + d), d = -1, 0, 1; corners of a periodic axis lie beside its ends.
    pub fn entry(&self, i: usize, d: isize) -> f64 {
        match d {
            0 => self.diag[i],
            1 => self.off[i + 1],
            _ => self.off[i],
        }
    }
}

/// The unknowns at the two ends of a cell.
pub(super) fn cell_nodes(axis: &Axis, c: usize) -> (Option<usize>, Option<usize>) {
    let n = axis.unknowns();
    if axis.is_periodic() {
        return (Some(c), Some((c + 1) % n));
    }
    let node = |at: usize| at.checked_sub(axis.first()).filter(|i| *i < n);
    (node(c), node(c + 1))
}

/// i + d on an axis of n unknowns; around the ends where it is periodic. i itself where there is none: its weight is 0.
pub(super) fn neighbour(i: usize, d: isize, n: usize) -> usize {
    match d {
        0 => i,
        1 if i + 1 == n => 0,
        1 => i + 1,
        _ if i == 0 => n - 1,
        _ => i - 1,
    }
}
