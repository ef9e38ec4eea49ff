//! Newton steps from a warm start with the active bounds held: sequential quadratic programming whose quadratic programs are solved by a
//! primal-dual active-set iteration (Hintermueller, Ito, Kunisch, SIAM J. Optim. 13, 2002).
//!
//! ```text
//!     [ H + S   J' ] (dx, dy) = -(grad f + J'y + z + H w, c + J w),   S_j stiff at a held bound, 0 else,
//!     [ J       0  ]            dz_j = S_j dx_j at a held bound,       z_j = 0 else, w the way to the bound
//! ```
//!
//! K keeps its pattern. A held bound whose multiplier has the wrong sign is let go, a violated one is held, until nothing changes: then the
//! step stays within the bounds and is taken. Nothing globalizes this: where the residual does not fall, another method begins anew.

use super::{Method, fill_optimality};
use crate::linalg::norm_inf;
use crate::observe::IterationRow;
use crate::opt::iterate::{Point, Residuals};
use crate::opt::kkt::REFINED;
use crate::opt::phase::{Cause, NoStep, PhaseEnd, Solve, Taken, linear, no_direction};
use crate::opt::problem::Form;
use crate::opt::verdict;

/// S of a held bound, relative to the largest entry of H: its share of everything else is below rounding. Softer ones survive dependent
/// constraints more often, but need more refinement: on a controller's problems 1e12 took 1.76 iterations and 42 us, 1e18 1.92 and 37 us.
const STIFF: f64 = 1e18;
/// Changes of the active set in one quadratic program.
const ROUNDS: u32 = 8;
/// A step must bring the residual below this share.
const REDUCTION: f64 = 0.5;
/// Multipliers of the wrong sign and violations up to this times the tolerance are rounding.
const NEGLIGIBLE: f64 = 1e-2;
/// Largest relative residual of the linear system.
const RESIDUAL: f64 = 1e-8;

/// Which bound of a variable is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Neither,
    Lower,
    Upper,
}

/// See the module.
#[derive(Debug)]
pub(in crate::opt) struct ActiveSet {
    held: Vec<Held>,
    /// w, and whether it has an entry that is not 0.
    way: Vec<f64>,
    moves: bool,
    /// H w, or J w.
    product: Vec<f64>,
    stiff: f64,
    /// Residual of the current point.
    residual: f64,
}

impl ActiveSet {
    pub fn new(form: &Form) -> Self {
        Self {
            held: vec![Held::Neither; form.n],
            way: vec![0.0; form.n],
            moves: false,
            product: vec![0.0; form.n.max(form.m)],
            stiff: STIFF,
            residual: f64::INFINITY,
        }
    }

    /// S and w.
    fn stiffen(&mut self, s: &mut Solve<'_>) {
        let (bounds, x) = (&s.problem.form.bounds, &s.at.current.x);
        self.moves = false;
        for (j, stiffness) in s.kkt.barrier.iter_mut().enumerate() {
            let bound = match self.held[j] {
                Held::Neither => x[j],
                Held::Lower => bounds.lower[j],
                Held::Upper => bounds.upper[j],
            };
            *stiffness = if self.held[j] == Held::Neither { 0.0 } else { self.stiff };
            self.way[j] = bound - x[j];
            self.moves |= self.way[j] != 0.0;
        }
    }

    /// z_j = zu - zl at the current point if that bound is held.
    fn multiplier(&self, p: &Point, j: usize) -> f64 {
        match self.held[j] {
            Held::Neither => 0.0,
            Held::Lower => -p.zl[j],
            Held::Upper => p.zu[j],
        }
    }

    /// (dx, dy), without w, into `kkt.step`.
    fn solve(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let (n, p) = (s.problem.form.n, &s.at.current);
        s.kkt.rhs.iter_mut().zip(&p.lag_grad).for_each(|(r, g)| *r = -g);
        // Of z only what belongs to held bounds stays.
        for j in 0..p.zl.len() {
            s.kkt.rhs[j] = -(p.lag_grad[j] - (p.zu[j] - p.zl[j]) + self.multiplier(p, j));
        }
        s.kkt.rhs[n..].iter_mut().zip(&p.c).for_each(|(r, c)| *r = -c);
        let (kkt, mut e) = linear(s);
        if self.moves {
            let subtract = |v: &mut [f64], w: &[f64]| v.iter_mut().zip(w).for_each(|(v, w)| *v -= w);
            let (m, product) = (e.problem.form.m, &mut self.product);
            kkt.hess_mul(&mut e, &self.way, &mut product[..n])?;
            subtract(&mut kkt.rhs[..n], &product[..n]);
            e.problem.jac_mul(e.at.at(), &self.way, &mut product[..m])?;
            subtract(&mut kkt.rhs[n..], &product[..m]);
        }
        let useless = |what| PhaseEnd::no_step(Cause::Linear, what);
        match kkt.factor_exactly(&mut e) {
            Ok(true) => {}
            Ok(false) => return Err(useless("the active constraints do not determine a minimum")),
            Err(failed) => return Err(no_direction(s, failed)),
        }
        kkt.step.fill(0.0);
        match kkt.solve(&mut e, REFINED) {
            Ok(solved) if solved.relative_residual <= RESIDUAL => Ok(()),
            _ => Err(useless("the linear system could not be solved accurately")),
        }
    }

    /// Holds and lets go; true if anything changed.
    fn revise(&mut self, s: &Solve<'_>) -> bool {
        let (bounds, p, dx) = (&s.problem.form.bounds, &s.at.current, &s.kkt.step);
        let (x, z) = (&p.x, |this: &Self, j: usize| this.multiplier(p, j) + this.stiff * dx[j]);
        let small = NEGLIGIBLE * s.options.tolerance;
        let mut changed = false;
        for &j in &bounds.with_lower {
            match self.held[j] {
                // zl = -z.
                Held::Lower if z(self, j) > small => (self.held[j], changed) = (Held::Neither, true),
                Held::Neither if x[j] + dx[j] < bounds.lower[j] - small * bounds.lower[j].abs().max(1.0) => {
                    (self.held[j], changed) = (Held::Lower, true);
                }
                _ => {}
            }
        }
        for &j in &bounds.with_upper {
            match self.held[j] {
                Held::Upper if z(self, j) < -small => (self.held[j], changed) = (Held::Neither, true),
                Held::Neither if x[j] + dx[j] > bounds.upper[j] + small * bounds.upper[j].abs().max(1.0) => {
                    (self.held[j], changed) = (Held::Upper, true);
                }
                _ => {}
            }
        }
        changed
    }

    /// The trial point at the end of the step.
    fn place(&self, s: &mut Solve<'_>) {
        let (n, bounds, step) = (s.problem.form.n, &s.problem.form.bounds, &s.kkt.step);
        let (current, trial) = (&s.at.current, &mut s.at.trial);
        for (y, (old, d)) in trial.y.iter_mut().zip(current.y.iter().zip(&step[n..])) {
            *y = old + d;
        }
        for (x, (old, d)) in trial.x.iter_mut().zip(current.x.iter().zip(step)) {
            *x = old + d;
        }
        for (j, held) in self.held.iter().enumerate().take(trial.zl.len()) {
            let z = self.multiplier(current, j) + self.stiff * step[j];
            (trial.zl[j], trial.zu[j]) = match held {
                Held::Neither => (0.0, 0.0),
                Held::Lower => ((-z).max(0.0), 0.0),
                Held::Upper => (0.0, z.max(0.0)),
            };
            match held {
                Held::Neither => {}
                Held::Lower => trial.x[j] = bounds.lower[j],
                Held::Upper => trial.x[j] = bounds.upper[j],
            }
        }
        bounds.clamp(&mut trial.x);
    }

    /// z of held bounds from the gradient at the trial point, which they balance, as far as their sign allows.
    fn balance(&self, p: &mut Point) {
        for j in 0..p.zl.len() {
            let (z, sign) = match self.held[j] {
                Held::Neither => continue,
                Held::Lower => (&mut p.zl[j], 1.0),
                Held::Upper => (&mut p.zu[j], -1.0),
            };
            let balanced = (*z + sign * p.lag_grad[j]).max(0.0);
            p.lag_grad[j] -= sign * (balanced - *z);
            *z = balanced;
        }
    }
}

impl Method for ActiveSet {
    /// Bounds whose multiplier is larger than their distance are held.
    fn begin(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        self.held.fill(Held::Neither);
        for &j in &bounds.with_lower {
            if p.zl[j] > p.x[j] - bounds.lower[j] {
                self.held[j] = Held::Lower;
            }
        }
        for &j in &bounds.with_upper {
            if p.zu[j] > bounds.upper[j] - p.x[j] {
                self.held[j] = Held::Upper;
            }
        }
        Ok(())
    }

    fn test(&mut self, s: &mut Solve<'_>, r: &Residuals, solved: bool) -> Option<PhaseEnd> {
        self.residual = r.scaled;
        verdict::ended(s, solved)
    }

    fn step(&mut self, s: &mut Solve<'_>) -> Result<Taken, PhaseEnd> {
        fill_optimality(s, false)?;
        self.stiff = STIFF * s.kkt.largest_hessian_entry().max(1.0);
        let mut rounds = 1;
        loop {
            self.stiffen(s);
            self.solve(s)?;
            if !self.revise(s) {
                break;
            }
            if rounds == ROUNDS {
                return Err(PhaseEnd::no_step(Cause::Slow, "the active set keeps changing"));
            }
            rounds += 1;
            s.budget.iteration += 1;
        }
        self.place(s);
        s.at.trial.evaluate(&mut s.problem)?;
        self.balance(&mut s.at.trial);
        let residual = Residuals::of(s.problem.form, &s.at.trial, 0.0).scaled;
        if !(residual <= s.options.tolerance || residual <= REDUCTION * self.residual) {
            return Err(PhaseEnd::no_step(Cause::Slow, "the residual does not fall"));
        }
        Ok(Taken {
            length: 1.0,
            trials: rounds,
            norm: norm_inf(&s.kkt.step[..s.problem.form.n]),
            shift: 0.0,
            dual: 0.0,
            inner_iterations: 0,
            linear_residual: f64::NAN,
            kind: ' ',
        })
    }

    fn recover(&mut self, _: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd> {
        Err(PhaseEnd::NoStep(why))
    }

    fn fill_row(&self, _: &Form, at: &Point, row: &mut IterationRow) {
        row.merit = at.f;
    }
}

#[cfg(test)]
mod tests {
    use super::super::run;
    use super::*;
    use crate::linalg::norm2;
    use crate::opt::Options;
    use crate::opt::testing::{Dense, Setup};

    /// min |x - t|^2 / 2 within 0 <= x <= 1: x is t, clamped, and z = t - x.
    fn projection() -> Dense {
        let mut problem = Dense {
            f: |x| 0.5 * ((x[0] - 2.0).powi(2) + (x[1] + 3.0).powi(2) + (x[2] - 0.5).powi(2)),
            grad: |x, g| g.copy_from_slice(&[x[0] - 2.0, x[1] + 3.0, x[2] - 0.5]),
            hess: |_, s, _, h| h.copy_from_slice(&[s, 0.0, s, 0.0, 0.0, s]),
            ..Dense::new(3, 0, &[0.5; 3])
        };
        problem.meta.x_lower.fill(0.0);
        problem.meta.x_upper.fill(1.0);
        problem
    }

    /// Whatever is held at first, the right bounds are held in the end, in one quadratic program.
    #[test]
    fn it_finds_the_active_bounds_of_a_quadratic_program() {
        for (x, zl, zu) in [
            ([0.5; 3], [0.0; 3], [0.0; 3]),
            ([0.0, 1.0, 0.0], [1.0, 0.0, 5.0], [0.0, 1.0, 0.0]),
            ([1.0, 0.0, 0.5], [0.0, 3.0, 0.0], [1.0, 0.0, 0.0]),
        ] {
            let (mut problem, options) = (projection(), Options::default());
            Setup::new(&mut problem, &options).with(|s| {
                let p = &mut s.at.current;
                p.x.copy_from_slice(&x);
                (p.zl, p.zu) = (zl.to_vec(), zu.to_vec());
                p.evaluate(&mut s.problem).unwrap();
                let mut method = ActiveSet::new(s.problem.form);
                assert_eq!(run(&mut method, s), PhaseEnd::Solved);
                let p = &s.at.current;
                assert_eq!(p.x, [1.0, 0.0, 0.5]);
                let error = [p.zu[0] - 1.0, p.zl[1] - 3.0, p.zl[0], p.zu[1], p.zl[2], p.zu[2]];
                assert!(norm2(&error) < 1e-12, "{error:?}");
                // Wrong bounds are let go in one round, the right ones held in the next.
                assert!(s.budget.iteration <= 3, "{}", s.budget.iteration);
            });
        }
    }

    /// On a concave function nothing is held: no step.
    #[test]
    fn it_gives_up_without_a_minimum() {
        let mut problem = projection();
        problem.hess = |_, s, _, h| h.copy_from_slice(&[-s, 0.0, -s, 0.0, 0.0, -s]);
        let options = Options::default();
        Setup::new(&mut problem, &options).with(|s| {
            s.at.current.x.fill(0.5);
            s.at.current.evaluate(&mut s.problem).unwrap();
            let mut method = ActiveSet::new(s.problem.form);
            let end = run(&mut method, s);
            assert!(matches!(end, PhaseEnd::NoStep(NoStep { cause: Cause::Linear, .. })), "{end:?}");
        });
    }
}
