//! Random matrices for the conformance suite and the tests of the linear solvers, and their dense eigenvalues.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::linalg::{SparseMatrix, Storage};
#[cfg(test)]
use crate::linsol::Inertia;

/// Reproducible random numbers.
pub(crate) struct Random(StdRng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }
    /// Uniform in [-1, 1).
    pub(crate) fn symmetric(&mut self) -> f64 {
        2.0 * self.0.random::<f64>() - 1.0
    }
    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        self.0.random::<f64>()
    }
    /// Uniform in 0..n.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }
    /// Vector of uniform numbers.
    pub(crate) fn vector(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.symmetric()).collect()
    }
}

/// Symmetric matrix from triplets; those of the same place are added.
pub(crate) fn symmetric(n: usize, triplets: &[(usize, usize, f64)]) -> SparseMatrix {
    let rows: Vec<_> = triplets.iter().map(|t| t.0).collect();
    let cols: Vec<_> = triplets.iter().map(|t| t.1).collect();
    let (mut a, at) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::SymmetricLower);
    for (k, t) in at.iter().zip(triplets) {
        a.values[*k] += t.2;
    }
    a
}

/// Kinds of saddle-point matrices [H J'; J -D].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kkt {
    /// H diagonally dominant, J of full rank, D = 0.
    Convex,
    /// H indefinite.
    Indefinite,
    /// H with a diagonal from 1e-10 to 1e10, as near the end of an interior-point method.
    Barrier,
    /// J with its last row repeated: singular.
    Deficient,
    /// A row of J with every entry.
    DenseRow,
}

/// Random sparse matrix [H J'; J 0] with n variables and m constraints.
pub(crate) fn kkt(kind: Kkt, n: usize, m: usize, random: &mut Random) -> SparseMatrix {
    let mut t = Vec::new();
    for i in 0..n {
        let d = match kind {
            Kkt::Indefinite => 3.0 * random.symmetric(),
            Kkt::Barrier => 10f64.powf(10.0 * random.symmetric()),
            _ => 3.0 + random.unit(),
        };
        t.push((i, i, d));
        if i > 0 && kind != Kkt::Barrier {
            t.push((i, random.below(i), random.symmetric()));
        }
    }
    for r in 0..m {
        if kind == Kkt::DenseRow && r == 0 {
            t.extend((0..n).map(|j| (n, j, random.symmetric())));
        } else if kind == Kkt::Deficient && r > 0 && r + 1 == m {
            let previous: Vec<_> =
                t.iter().filter(|e| e.0 == n + r - 1).map(|e| (n + r, e.1, 2.0 * e.2)).collect();
            t.extend(previous);
        } else {
            t.push((n + r, r % n.max(1), 1.0 + random.unit()));
            for _ in 0..2 {
                t.push((n + r, random.below(n), random.symmetric()));
            }
        }
    }
    symmetric(n + m, &t)
}

/// Dense eigenvalues, ascending.
#[cfg(test)]
pub(crate) fn eigenvalues(a: &SparseMatrix) -> Vec<f64> {
    let mut dense = faer::Mat::<f64>::zeros(a.nrows, a.nrows);
    for j in 0..a.ncols {
        for p in a.col_ptr[j]..a.col_ptr[j + 1] {
            dense[(a.row_idx[p], j)] = a.values[p];
            dense[(j, a.row_idx[p])] = a.values[p];
        }
    }
    dense.self_adjoint_eigenvalues(faer::Side::Lower).expect("eigenvalues")
}

/// Inertia from eigenvalues, zero within `tol` of the largest magnitude; None if one lies between tol and 1000 tol.
#[cfg(test)]
pub(crate) fn inertia(a: &SparseMatrix, tol: f64) -> Option<Inertia> {
    let e = eigenvalues(a);
    let big = e.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if e.iter().any(|v| v.abs() > tol * big && v.abs() < 1e3 * tol * big) {
        return None;
    }
    let positive = e.iter().filter(|v| **v > tol * big).count();
    let negative = e.iter().filter(|v| **v < -tol * big).count();
    Some(Inertia { positive, negative, zero: e.len() - positive - negative })
}

/// KKT matrix of min 1/2 |w - wd|^2 + alpha/2 |z|^2 s.t. Lap w + z = 0 on a grid of side `side` (unscaled 5-point stencil).
#[cfg(test)]
pub(crate) fn poisson_control(side: usize, alpha: f64) -> SparseMatrix {
    let cells = side * side;
    let mut t = Vec::new();
    for k in 0..cells {
        t.push((k, k, 1.0));
        t.push((cells + k, cells + k, alpha));
        t.push((2 * cells + k, k, 4.0));
        t.push((2 * cells + k, cells + k, 1.0));
        let (i, j) = (k / side, k % side);
        for (there, l) in [
            (i > 0, k.wrapping_sub(side)),
            (i + 1 < side, k + side),
            (j > 0, k.wrapping_sub(1)),
            (j + 1 < side, k + 1),
        ] {
            if there {
                t.push((2 * cells + k, l, -1.0));
            }
        }
    }
    symmetric(3 * cells, &t)
}

/// Diagonal plus a full first row and column.
#[cfg(test)]
pub(crate) fn arrow(n: usize, random: &mut Random) -> SparseMatrix {
    let mut t: Vec<_> = (0..n).map(|i| (i, i, 2.0 * random.symmetric())).collect();
    t.extend((1..n).map(|i| (i, 0, random.symmetric())));
    symmetric(n, &t)
}
