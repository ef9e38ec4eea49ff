//! MINRES preconditioned by a randomized low-rank sketch.

use faer::{Mat, Side};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use crate::linalg::{LinOp, axpy, dot, norm2};
use crate::linsol::common::{check_symmetric, resize};
use crate::linsol::{Accuracy, LinSolError, LinearSolver, Prepared, Solved, SolverFacts};
use crate::observe::StopToken;

use super::lanczos::{Lanczos, Preconditioner};

const NAME: &str = "sketched-krylov";
/// Columns of the sketch unless told otherwise.
const DEFAULT_COLUMNS: usize = 50;
/// A Ritz pair with |A u - l u| above this times |l| is not used.
const RITZ_RESIDUAL: f64 = 0.5;

/// A = U diag(l) U' approximately, from the range of A times a Gaussian matrix (Halko, Martinsson, Tropp, "Finding
/// structure with randomness", SIAM Review 2011, algorithms 4.1 and 5.3), and the preconditioner
/// P = U |L| U' + mu (I - U U'), mu the least |l| (Frangella, Tropp, Udell, "Randomized Nystrom preconditioning",
/// SIMAX 2023, for indefinite A with |L| in place of L).
#[derive(Debug, Default)]
pub struct EigenSketch {
    n: usize,
    /// Orthonormal columns, one after the other; the first `values.len()` are Ritz vectors after `build`.
    q: Vec<f64>,
    /// A q, then the Ritz vectors.
    aq: Vec<f64>,
    values: Vec<f64>,
    mu: f64,
}

impl EigenSketch {
    /// Sketches with k columns: 2 k products.
    fn build(
        &mut self,
        a: &mut dyn LinOp,
        n: usize,
        k: usize,
        random: &mut StdRng,
        stop: &StopToken,
    ) -> Result<(), LinSolError> {
        self.n = n;
        resize(n * k, &mut [&mut self.q, &mut self.aq]);
        let mut rank = 0;
        for _ in 0..k {
            if stop.check().is_some() {
                return Err(LinSolError::Stopped);
            }
            let omega = &mut self.aq[..n];
            omega.iter_mut().for_each(|v| *v = StandardNormal.sample(random));
            let (basis, rest) = self.q.split_at_mut(rank * n);
            let w = &mut rest[..n];
            a.apply(1.0, omega, 0.0, w);
            let size = norm2(w);
            if !size.is_finite() {
                return Err(LinSolError::NotFinite { solver: NAME, what: "matrix" });
            }
            for _ in 0..2 {
                for q in basis.chunks_exact(n) {
                    let t = dot(q, w);
                    axpy(-t, q, w);
                }
            }
            let left = norm2(w);
            // In the range already: A has rank c (to rounding), or fewer unknowns than columns.
            if left <= 1e-12 * size || size == 0.0 {
                continue;
            }
            w.iter_mut().for_each(|v| *v /= left);
            rank += 1;
        }
        for c in 0..rank {
            if stop.check().is_some() {
                return Err(LinSolError::Stopped);
            }
            a.apply(1.0, &self.q[c * n..(c + 1) * n], 0.0, &mut self.aq[c * n..(c + 1) * n]);
        }
        self.ritz(rank)
    }

    /// Rayleigh-Ritz on the basis; keeps the pairs that are accurate.
    fn ritz(&mut self, rank: usize) -> Result<(), LinSolError> {
        let n = self.n;
        let column = |c: usize| c * n..(c + 1) * n;
        self.values.clear();
        self.mu = 1.0;
        let t = Mat::from_fn(rank, rank, |i, j| {
            let (i, j) = (i.max(j), i.min(j));
            dot(&self.q[column(i)], &self.aq[column(j)])
        });
        if rank == 0 {
            return Ok(());
        }
        let eigen = t
            .self_adjoint_eigen(Side::Lower)
            .map_err(|e| LinSolError::Factorization { solver: NAME, reason: format!("sketch: {e:?}") })?;
        let (vectors, values) = (eigen.U(), eigen.S());
        let mut ritz = Vec::new();
        let (mut u, mut au) = (vec![0.0; n], vec![0.0; n]);
        for c in 0..rank {
            let l = values[c];
            u.fill(0.0);
            au.fill(0.0);
            for i in 0..rank {
                axpy(vectors[(i, c)], &self.q[column(i)], &mut u);
                axpy(vectors[(i, c)], &self.aq[column(i)], &mut au);
            }
            axpy(-l, &u, &mut au);
            if norm2(&au) <= RITZ_RESIDUAL * l.abs() {
                ritz.extend_from_slice(&u);
                self.values.push(l);
            }
        }
        self.q[..ritz.len()].copy_from_slice(&ritz);
        self.mu = self.values.iter().fold(f64::INFINITY, |m, l| m.min(l.abs()));
        if !self.mu.is_finite() {
            self.mu = 1.0;
        }
        Ok(())
    }

    /// Ritz values in use.
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}

impl Preconditioner for EigenSketch {
    /// z <- mu P^-1 r = r + U (mu |L|^-1 - I) U' r; the factor mu does not matter.
    fn apply_inverse(&mut self, _: &mut dyn LinOp, r: &[f64], z: &mut [f64]) {
        z.copy_from_slice(r);
        for (u, l) in self.q.chunks_exact(self.n.max(1)).zip(&self.values) {
            axpy((self.mu / l.abs() - 1.0) * dot(u, r), u, z);
        }
    }
}

/// MINRES preconditioned by an [`EigenSketch`] of the matrix: pays when few eigenvalues are far from the others, such as
/// those of X'DX + shift with a decaying spectrum. Matrix-free; `prepare` costs two products a column.
#[derive(Debug)]
pub struct SketchedKrylov {
    columns: usize,
    random: StdRng,
    sketch: EigenSketch,
    lanczos: Lanczos,
}

impl SketchedKrylov {
    /// With the default number of columns, min(n, 50).
    pub fn new(seed: u64) -> Self {
        Self::with_columns(seed, DEFAULT_COLUMNS)
    }

    /// With at most this many columns.
    pub fn with_columns(seed: u64, columns: usize) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { columns, random, sketch: EigenSketch::default(), lanczos: Lanczos::default() }
    }

    /// The sketch of the last `prepare`.
    pub fn sketch(&self) -> &EigenSketch {
        &self.sketch
    }
}

impl LinearSolver for SketchedKrylov {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> SolverFacts {
        SolverFacts { inertia: false, needs_entries: false }
    }

    fn prepare(&mut self, a: &mut dyn LinOp, stop: &StopToken) -> Result<Prepared, LinSolError> {
        let n = check_symmetric(NAME, a)?;
        self.lanczos.resize(n);
        self.sketch.build(a, n, self.columns.min(n), &mut self.random, stop)?;
        Ok(Prepared::default())
    }

    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        self.lanczos.solve(NAME, a, &mut self.sketch, b, x, accuracy, stop)
    }
}
