//! Control everywhere, a linear equation, no bounds: one linear system for state and multiplier.
//!
//! With u = p / alpha and p = sqrt(alpha) q the optimality system is
//!
//! ```text
//!     [ M   L ] (y)   (       M y_d      )
//!     [-L   M ] (q) = (-sqrt(alpha) M f),   L = sqrt(alpha) K.
//! ```
//!
//! Its preconditioner [M, L; -L, M + 2 L] leaves eigenvalues between 1/2 and 1 where K is positive, for every alpha and mesh, and takes two solves with
//! M + L = sqrt(alpha) (K + M / sqrt(alpha)), the matrix of Pearson and Wathen's Schur complement: Bai, Benzi, Chen, Wang,
//! "Preconditioned MHSS iteration methods for a class of block two-by-two linear systems", IMA J. Numer. Anal. 33 (2013); Axelsson, Neytcheva,
//! Liang, "Parallel solution methods and preconditioners for evolution equations", Math. Model. Anal. 23 (2018).

use super::control::{Control, Where};
use super::equation::Equation;
use super::krylov::{CgWork, Solved, System, conjugate_gradients, gmres};
use super::parallel::over;
use crate::error::Error;

/// Iterations before a restart.
const RESTART: usize = 30;

/// State, control and multiplier, each of one number an unknown.
#[derive(Debug, Clone)]
pub struct QuadraticSolution {
    /// y.
    pub state: Vec<f64>,
    /// u.
    pub control: Vec<f64>,
    /// p, with the sign of [`Control`]'s constraints.
    pub multiplier: Vec<f64>,
    /// Iterations of GMRES and the relative residual of the system above.
    pub solved: Solved,
}

struct Optimality<'a> {
    equation: &'a mut Equation,
    mass: &'a [f64],
    root: f64,
    cycles: usize,
    work: Vec<f64>,
}

impl System for Optimality<'_> {
    fn apply(&mut self, x: &[f64], out: &mut [f64]) {
        let n = self.mass.len();
        let (y, q) = x.split_at(n);
        let (first, second) = out.split_at_mut(n);
        self.equation.combine(self.root, q, self.mass, y, first);
        self.equation.combine(-self.root, y, self.mass, q, second);
    }

    /// (M + L) v = r1 - r2, (M + L) q = r1 - M v, y = v + q.
    fn precondition(&mut self, r: &[f64], z: &mut [f64]) {
        let n = self.mass.len();
        let (r1, r2) = r.split_at(n);
        let (y, q) = z.split_at_mut(n);
        let (m, inverse, work) = (self.mass, 1.0 / self.root, &mut self.work);
        over(work, |at, t| {
            for ((t, a), b) in t.iter_mut().zip(&r1[at..]).zip(&r2[at..]) {
                *t = inverse * (a - b);
            }
        });
        self.equation.cycles(work, y, self.cycles);
        over(work, |at, t| {
            for (((t, a), m), v) in t.iter_mut().zip(&r1[at..]).zip(&m[at..]).zip(&y[at..]) {
                *t = inverse * (a - m * v);
            }
        });
        self.equation.cycles(work, q, self.cycles);
        let q = &*q;
        over(y, |at, y| y.iter_mut().zip(&q[at..]).for_each(|(y, q)| *y += q));
    }
}

/// S = K M^-1 K + M / alpha, preconditioned by (K + Z) M^-1 (K + Z).
struct Schur<'a> {
    equation: &'a mut Equation,
    mass: &'a [f64],
    alpha: f64,
    cycles: usize,
    work: Vec<f64>,
}

impl System for Schur<'_> {
    fn apply(&mut self, p: &[f64], out: &mut [f64]) {
        self.equation.apply(p, &mut self.work);
        let m = self.mass;
        over(&mut self.work, |at, t| t.iter_mut().zip(&m[at..]).for_each(|(t, m)| *t /= m));
        self.equation.combine(1.0, &self.work, m, p, out);
        // combine has m p; the rest of m p / alpha.
        let more = 1.0 / self.alpha - 1.0;
        over(out, |at, o| {
            for ((o, m), p) in o.iter_mut().zip(&m[at..]).zip(&p[at..]) {
                *o += more * m * p;
            }
        });
    }

    fn precondition(&mut self, r: &[f64], z: &mut [f64]) {
        let m = self.mass;
        self.equation.cycles(r, &mut self.work, self.cycles);
        over(&mut self.work, |at, t| t.iter_mut().zip(&m[at..]).for_each(|(t, m)| *t *= m));
        self.equation.cycles(&self.work, z, self.cycles);
    }
}

impl Control {
    /// As [`Control::solve_quadratic`], by conjugate gradients for the multiplier: projected conjugate gradients (Gould, Hribar, Nocedal, SISC 23
    /// (2001)) with the constraint preconditioner [H, J'; J, 0] of the Hessian H itself, whose projection is the answer; what is left is its Schur
    /// complement. Vectors are a third as long, but the system has the square of the condition of K: `tolerance` is that of its residual.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another problem.
    pub fn solve_projected(
        &mut self,
        tolerance: f64,
        max_iterations: usize,
    ) -> Result<QuadraticSolution, Error> {
        self.check_quadratic()?;
        let (equation, mass, spec) = self.parts();
        let (n, alpha) = (mass.len(), spec.alpha);
        equation.shift(1.0 / alpha.sqrt(), mass)?;
        // S p = K y_d - M f.
        let mut b = vec![0.0; n];
        equation.apply(&spec.target, &mut b);
        spec.source.iter().zip(mass).zip(&mut b).for_each(|((f, m), b)| *b -= m * f);
        let mut system = Schur { equation, mass, alpha, cycles: spec.cycles, work: vec![0.0; n] };
        let mut p = vec![0.0; n];
        let solved =
            conjugate_gradients(&mut system, &mut CgWork::default(), &b, &mut p, tolerance, max_iterations);
        // y = y_d - M^-1 K p, u = p / alpha.
        let mut state = b;
        system.equation.apply(&p, &mut state);
        for ((y, d), m) in state.iter_mut().zip(&spec.target).zip(mass) {
            *y = d - *y / m;
        }
        let control = p.iter().map(|p| p / alpha).collect();
        Ok(QuadraticSolution { state, control, multiplier: p, solved })
    }

    /// A linear equation, control everywhere, no bounds; the preconditioner will be that of this system.
    fn check_quadratic(&mut self) -> Result<(), Error> {
        let spec = self.spec();
        let free = (f64::NEG_INFINITY, f64::INFINITY);
        if spec.reaction.is_some()
            || spec.control != Where::Everywhere
            || spec.control_bounds != free
            || spec.state_bounds != free
        {
            let what = "expected a linear equation with control everywhere and no bounds".into();
            return Err(Error::Unsupported { name: "control".into(), what });
        }
        self.forget_preconditioner();
        Ok(())
    }

    /// Solves the problem where it is linear and quadratic, without bounds, with control everywhere: GMRES on the system above until its relative
    /// residual is below `tolerance`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for another problem.
    pub fn solve_quadratic(
        &mut self,
        tolerance: f64,
        max_iterations: usize,
    ) -> Result<QuadraticSolution, Error> {
        self.check_quadratic()?;
        let (equation, mass, spec) = self.parts();
        let (n, root) = (mass.len(), spec.alpha.sqrt());
        equation.shift(1.0 / root, mass)?;
        let mut b = vec![0.0; 2 * n];
        for p in 0..n {
            b[p] = mass[p] * spec.target[p];
            b[n + p] = -root * mass[p] * spec.source.get(p).copied().unwrap_or(0.0);
        }
        let cycles = spec.cycles;
        let mut system = Optimality { equation, mass, root, cycles, work: vec![0.0; n] };
        let mut x = vec![0.0; 2 * n];
        let solved = gmres(&mut system, &b, &mut x, tolerance, max_iterations, RESTART);
        let multiplier: Vec<f64> = x[n..].iter().map(|q| root * q).collect();
        let control = x[n..].iter().map(|q| q / root).collect();
        x.truncate(n);
        Ok(QuadraticSolution { state: x, control, multiplier, solved })
    }
}
