//! Restarted GMRES.

use crate::linalg::{LinOp, axpy, dot, norm2};
use crate::linsol::common::{begin, check_matrix, residual, resize};
use crate::linsol::{Accuracy, LinSolError, LinearSolver, Prepared, SolveEnd, Solved, SolverFacts};
use crate::observe::StopToken;

const NAME: &str = "gmres";

/// Restarted GMRES (Saad and Schultz 1986), modified Gram-Schmidt with one reorthogonalization: square, matrix-free.
/// One product an iteration; `restart + 1` vectors of storage.
#[derive(Debug)]
pub struct Gmres {
    restart: usize,
    n: usize,
    /// Orthonormal basis, one vector after the other.
    basis: Vec<f64>,
    /// Upper triangle R of the Hessenberg matrix, column k at k * (restart + 1).
    h: Vec<f64>,
    rotations: Vec<(f64, f64)>,
    /// Right-hand side of the least-squares problem; its last entry is the residual norm.
    g: Vec<f64>,
    r: Vec<f64>,
    start: Vec<f64>,
}

impl Default for Gmres {
    fn default() -> Self {
        Self::new(50)
    }
}

impl Gmres {
    /// Restarts after `restart` iterations (at least 1).
    pub fn new(restart: usize) -> Self {
        Self {
            restart: restart.max(1),
            n: 0,
            basis: Vec::new(),
            h: Vec::new(),
            rotations: Vec::new(),
            g: Vec::new(),
            r: Vec::new(),
            start: Vec::new(),
        }
    }

    /// Iterations of one cycle at most.
    fn width(&self) -> usize {
        self.restart.min(self.n)
    }

    /// One cycle from the residual in `r`; x is improved. Returns the iterations and whether the stop token asked.
    fn cycle(
        &mut self,
        a: &mut dyn LinOp,
        x: &mut [f64],
        target: f64,
        limit: usize,
        stop: &StopToken,
    ) -> Result<(usize, bool), LinSolError> {
        let (n, ld) = (self.n, self.width() + 1);
        let beta = norm2(&self.r);
        for (q, r) in self.basis[..n].iter_mut().zip(&self.r) {
            *q = r / beta;
        }
        self.g.fill(0.0);
        self.g[0] = beta;
        let (mut k, mut stopped) = (0, false);
        while k < self.width().min(limit) {
            if stop.check().is_some() {
                stopped = true;
                break;
            }
            let (old, new) = self.basis.split_at_mut((k + 1) * n);
            let w = &mut new[..n];
            a.apply(1.0, &old[k * n..], 0.0, w);
            let size = norm2(w);
            if !size.is_finite() {
                return Err(LinSolError::NotFinite { solver: NAME, what: "matrix" });
            }
            let column = &mut self.h[k * ld..(k + 1) * ld];
            column.fill(0.0);
            for _ in 0..2 {
                for (q, h) in old.chunks_exact(n).zip(column.iter_mut()) {
                    let t = dot(q, w);
                    *h += t;
                    axpy(-t, q, w);
                }
            }
            let next = norm2(w);
            let invariant = next <= 1e-15 * size;
            if !invariant {
                w.iter_mut().for_each(|v| *v /= next);
            }
            for (i, &(c, s)) in self.rotations[..k].iter().enumerate() {
                (column[i], column[i + 1]) =
                    (c * column[i] + s * column[i + 1], c * column[i + 1] - s * column[i]);
            }
            let sub = if invariant { 0.0 } else { next };
            let rho = column[k].hypot(sub);
            if rho <= 1e-15 * size || rho == 0.0 {
                // Singular on an invariant space: this column adds nothing.
                break;
            }
            let (c, s) = (column[k] / rho, sub / rho);
            self.rotations[k] = (c, s);
            column[k] = rho;
            (self.g[k], self.g[k + 1]) = (c * self.g[k], -s * self.g[k]);
            k += 1;
            if self.g[k].abs() <= target || invariant {
                break;
            }
        }
        // y <- R^-1 g, x += Q y.
        for i in (0..k).rev() {
            let mut v = self.g[i];
            for j in i + 1..k {
                v -= self.h[j * ld + i] * self.g[j];
            }
            self.g[i] = v / self.h[i * ld + i];
        }
        for (q, y) in self.basis.chunks_exact(n).zip(&self.g[..k]) {
            axpy(*y, q, x);
        }
        Ok((k, stopped))
    }
}

impl LinearSolver for Gmres {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> SolverFacts {
        SolverFacts { inertia: false, needs_entries: false }
    }

    fn prepare(&mut self, a: &mut dyn LinOp, _: &StopToken) -> Result<Prepared, LinSolError> {
        self.n = check_matrix(NAME, a)?;
        let ld = self.width() + 1;
        resize(self.n, &mut [&mut self.r, &mut self.start]);
        resize(self.n * ld, &mut [&mut self.basis]);
        resize(self.width() * ld, &mut [&mut self.h]);
        resize(ld, &mut [&mut self.g]);
        self.rotations.resize(ld, (1.0, 0.0));
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
        let Some(start) = begin(NAME, self.n, a, b, x, &mut self.r)? else {
            return Ok(Solved {
                relative_residual: 0.0,
                at_rounding: false,
                iterations: 0,
                end: SolveEnd::Reached,
            });
        };
        let (norm_b, mut norm_r) = (start.norm_b, start.norm_r);
        let target = accuracy.relative * norm_b;
        let mut iterations = 0;
        let end = loop {
            if norm_r <= target {
                break SolveEnd::Reached;
            }
            if iterations >= accuracy.max_iterations {
                break SolveEnd::MaxIterations;
            }
            self.start.copy_from_slice(x);
            let left = accuracy.max_iterations - iterations;
            let (done, stopped) = self.cycle(a, x, target, left, stop)?;
            iterations += done;
            let new = residual(a, b, x, &mut self.r);
            // A cycle that gains less than a thousandth: the restart length does not suffice, or b is out of range.
            let stalled = new.is_nan() || new > 0.999 * norm_r;
            if new < norm_r {
                norm_r = new;
            } else {
                x.copy_from_slice(&self.start);
                residual(a, b, x, &mut self.r);
            }
            if norm_r > target {
                if stopped {
                    break SolveEnd::Stopped;
                }
                if stalled && done < left {
                    break SolveEnd::Stagnated;
                }
            }
        };
        Ok(Solved { relative_residual: norm_r / norm_b, at_rounding: false, iterations, end })
    }
}
