//! MINRES with a symmetric positive definite preconditioner P.
//!
//! Paige and Saunders, "Solution of sparse indefinite systems of linear equations", SINUM 12 (1975); preconditioned as in
//! Elman, Silvester, Wathen, "Finite Elements and Fast Iterative Solvers", algorithm 4.1.

use crate::linalg::{LinOp, axpy, dot, norm2};
use crate::linsol::common::{begin, residual, resize};
use crate::linsol::{Accuracy, LinSolError, SolveEnd, Solved};
use crate::observe::StopToken;

/// z <- P^-1 r for the operator a.
pub(super) trait Preconditioner {
    fn apply_inverse(&mut self, a: &mut dyn LinOp, r: &[f64], z: &mut [f64]);
}

/// The operator's own preconditioner, or P = I if it has none.
pub(super) struct OfOperator;

impl Preconditioner for OfOperator {
    fn apply_inverse(&mut self, a: &mut dyn LinOp, r: &[f64], z: &mut [f64]) {
        if !a.precondition(r, z) {
            z.copy_from_slice(r);
        }
    }
}

/// Work vectors of MINRES.
#[derive(Debug, Default)]
pub(super) struct Lanczos {
    n: usize,
    /// Residual of the current x, updated by recurrence within a cycle.
    r: Vec<f64>,
    /// Lanczos vectors before normalization: previous, current, next.
    r1: Vec<f64>,
    r2: Vec<f64>,
    y: Vec<f64>,
    /// P^-1 of the current one, normalized.
    v: Vec<f64>,
    z: Vec<f64>,
    /// Directions.
    w: Vec<f64>,
    w1: Vec<f64>,
    w2: Vec<f64>,
    start: Vec<f64>,
}

/// Why a cycle ended.
enum Cycle {
    /// By its own estimate the target is reached, or the Krylov space is exhausted.
    Done,
    /// No progress is possible: |A r| is at rounding level of |A| |r|.
    LeastSquares,
    Limit,
    Stopped,
}

impl Lanczos {
    pub(super) fn resize(&mut self, n: usize) {
        self.n = n;
        let Self { r, r1, r2, y, v, z, w, w1, w2, start, .. } = self;
        resize(n, &mut [r, r1, r2, y, v, z, w, w1, w2, start]);
    }

    /// Cycles of MINRES from x until the true residual is small; a cycle that does not halve it is the last.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn solve(
        &mut self,
        name: &'static str,
        a: &mut dyn LinOp,
        p: &mut dyn Preconditioner,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        let Some(start) = begin(name, self.n, a, b, x, &mut self.r)? else {
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
            let (cycle, done) = self.cycle(name, a, p, x, target, left, stop)?;
            iterations += done;
            let new = residual(a, b, x, &mut self.r);
            let halved = new <= 0.5 * norm_r;
            // With a preconditioner the Euclidean residual need not decrease: keep the better end.
            if new < norm_r {
                norm_r = new;
            } else {
                x.copy_from_slice(&self.start);
                residual(a, b, x, &mut self.r);
            }
            match cycle {
                _ if norm_r <= target => break SolveEnd::Reached,
                Cycle::Stopped => break SolveEnd::Stopped,
                Cycle::Limit => break SolveEnd::MaxIterations,
                Cycle::LeastSquares => break SolveEnd::Stagnated,
                Cycle::Done if !halved => break SolveEnd::Stagnated,
                Cycle::Done => {}
            }
        };
        Ok(Solved { relative_residual: norm_r / norm_b, at_rounding: false, iterations, end })
    }

    /// One run from the residual in `r`; x is improved.
    #[allow(clippy::too_many_arguments)]
    fn cycle(
        &mut self,
        name: &'static str,
        a: &mut dyn LinOp,
        p: &mut dyn Preconditioner,
        x: &mut [f64],
        target: f64,
        limit: usize,
        stop: &StopToken,
    ) -> Result<(Cycle, usize), LinSolError> {
        self.r1.fill(0.0);
        self.r2.copy_from_slice(&self.r);
        p.apply_inverse(a, &self.r2, &mut self.z);
        let mut beta = positive_root(dot(&self.r2, &self.z));
        self.w.fill(0.0);
        self.w2.fill(0.0);
        let (mut oldb, mut dbar, mut epsln, mut phibar, mut cs, mut sn) = (0.0, 0.0, 0.0, beta, -1.0, 0.0);
        let mut norm_a = 0.0f64;
        // Least |r| so far and when. Plateaus of a few n iterations are common where n products would do in exact arithmetic.
        let (mut least, mut least_at) = (f64::INFINITY, 0);
        let patience = 10 * self.n + 1000;
        for k in 0..limit {
            if beta == 0.0 {
                return Ok((Cycle::Done, k));
            }
            if stop.check().is_some() {
                return Ok((Cycle::Stopped, k));
            }
            // Lanczos step: beta v_{k+1} = A v_k - alpha v_k - beta v_{k-1}.
            for (v, z) in self.v.iter_mut().zip(&self.z) {
                *v = z / beta;
            }
            a.apply(1.0, &self.v, 0.0, &mut self.y);
            if k > 0 {
                axpy(-beta / oldb, &self.r1, &mut self.y);
            }
            let alpha = dot(&self.v, &self.y);
            if !alpha.is_finite() {
                return Err(LinSolError::NotFinite { solver: name, what: "matrix" });
            }
            axpy(-alpha / beta, &self.r2, &mut self.y);
            std::mem::swap(&mut self.r1, &mut self.r2);
            std::mem::swap(&mut self.r2, &mut self.y);
            p.apply_inverse(a, &self.r2, &mut self.z);
            oldb = beta;
            beta = positive_root(dot(&self.r2, &self.z));
            norm_a = norm_a.max(alpha.abs()).max(beta);
            if beta <= 1e-15 * norm_a {
                beta = 0.0;
            }
            // QR of the tridiagonal matrix by reflections [cs sn; sn -cs].
            let oldeps = epsln;
            let delta = cs * dbar + sn * alpha;
            let gbar = sn * dbar - cs * alpha;
            epsln = sn * beta;
            dbar = -cs * beta;
            let gamma = gbar.hypot(beta);
            if gamma <= 1e-15 * norm_a {
                return Ok((Cycle::LeastSquares, k + 1));
            }
            (cs, sn) = (gbar / gamma, beta / gamma);
            let phi = cs * phibar;
            phibar *= sn;
            std::mem::swap(&mut self.w1, &mut self.w2);
            std::mem::swap(&mut self.w2, &mut self.w);
            let old = self.v.iter().zip(&self.w1).zip(&self.w2);
            for ((w, xi), ((v, w1), w2)) in self.w.iter_mut().zip(x.iter_mut()).zip(old) {
                *w = (v - oldeps * w1 - delta * w2) / gamma;
                *xi += phi * *w;
            }
            // r_k = sn^2 r_{k-1} - phibar cs v_{k+1}, in the space of residuals.
            let t = if beta > 0.0 { phibar * cs / beta } else { 0.0 };
            for (r, q) in self.r.iter_mut().zip(&self.r2) {
                *r = sn * sn * *r - t * q;
            }
            let norm_r = norm2(&self.r);
            if norm_r <= target {
                return Ok((Cycle::Done, k + 1));
            }
            if norm_r < 0.99 * least {
                (least, least_at) = (norm_r, k);
            } else if k - least_at > patience {
                return Ok((Cycle::Done, k + 1));
            }
        }
        Ok((Cycle::Limit, limit))
    }
}

/// sqrt(v), 0 for rounding below zero.
fn positive_root(v: f64) -> f64 {
    if v > 0.0 { v.sqrt() } else { 0.0 }
}
