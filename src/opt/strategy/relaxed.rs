//! Rows that hold exactly only where there are no multipliers: the tolerance is used.
//!
//! A feasible set without a constraint qualification at the solution, such as x^2 = 0 or (1 - x)^3 >= y >= 0, has no conditions to satisfy
//! there, but a little aside it has. With c_i(x) = sigma_i tau / 2 in place of c_i(x) = 0, sigma_i the sign of c_i at the best point, for the
//! rows whose multipliers grow, there are multipliers, of the order of tau^(-1/2), and each row holds within tau. (Bounds are relaxed for
//! the same reason by Waechter and Biegler 2006, section 3.5.)

use super::{Certified, INTERIOR, PhaseEnd, Search, Solve, describe, restart};
use crate::linalg::norm_inf;
use crate::opt::iterate::Residuals;

/// Rows whose multipliers are above this share of the largest are relaxed.
const LARGE: f64 = 1e-2;
/// Share of the tolerance.
const SHARE: f64 = 0.5;
/// Work that is granted.
const WORK: f64 = 100.0;

impl Search {
    /// From the best point, which is feasible; `None`: there is no solution of this kind either, and nothing has changed.
    pub(super) fn relaxed(&mut self, s: &mut Solve<'_>) -> Option<PhaseEnd> {
        let (kept, judge) = (Certified::keep(s), s.judge.clone());
        let sides = s.problem.form.side.clone();
        let best = &s.at.best;
        let largest = norm_inf(&best.y);
        for (i, side) in s.problem.form.side.iter_mut().enumerate() {
            if best.y[i].abs() >= LARGE * largest {
                *side +=
                    SHARE * s.options.tolerance * best.c[i].signum() / s.problem.form.scale.constraints[i];
            }
        }
        let x = best.x.clone();
        s.at.best_residuals.scaled = f64::NAN;
        s.at.best_solved = false;
        s.watch.note(format_args!("rows are relaxed: {}", describe(&INTERIOR, s.problem.form.m)));
        s.budget.begin_attempt(WORK, f64::INFINITY);
        let end = restart(s, &x).ok().map(|()| self.run_row(s, &INTERIOR));
        s.budget.end_attempt();
        s.problem.form.side = sides;
        let solved = end == Some(PhaseEnd::Solved) && s.at.current.evaluate(&mut s.problem).is_ok() && {
            let r = Residuals::of(s.problem.form, &s.at.current, 0.0);
            s.at.best_residuals.scaled = f64::NAN;
            s.at.keep_best(&r, true);
            r.scaled <= s.options.tolerance
        };
        if !solved {
            kept.restore(s);
            *s.judge = judge;
            return None;
        }
        s.judge.relaxed = true;
        end
    }
}
