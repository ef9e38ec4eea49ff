//! Restarted GMRES.

use super::cycle::{Cycle, CycleEnd, Sums};
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
    cycle: Cycle<f64>,
    r: Vec<f64>,
    start: Vec<f64>,
}

const SUMS: Sums<f64> = Sums { dot, norm: norm2, axpy, tiny: 1e-15, again: 1.0 };

impl Default for Gmres {
    fn default() -> Self {
        Self::new(50)
    }
}

impl Gmres {
    /// Restarts after `restart` iterations (at least 1).
    pub fn new(restart: usize) -> Self {
        Self { restart: restart.max(1), n: 0, cycle: Cycle::default(), r: Vec::new(), start: Vec::new() }
    }

    /// One cycle from the residual in `r`; x is improved.
    fn improve(
        &mut self,
        a: &mut dyn LinOp,
        x: &mut [f64],
        target: f64,
        limit: usize,
        stop: &StopToken,
    ) -> Result<CycleEnd<f64>, LinSolError> {
        let mut apply = |q: &[f64], w: &mut [f64]| a.apply(1.0, q, 0.0, w);
        let mut stop = || stop.check().is_some();
        let end = self
            .cycle
            .run(&SUMS, &self.r, &mut apply, target, limit, &mut stop)
            .map_err(|_| LinSolError::NotFinite { solver: NAME, what: "matrix" })?;
        self.cycle.add_to(&SUMS, x);
        Ok(end)
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
        resize(self.n, &mut [&mut self.r, &mut self.start]);
        self.cycle.resize(self.n, self.restart);
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
            let CycleEnd { iterations: done, stopped, .. } = self.improve(a, x, target, left, stop)?;
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
