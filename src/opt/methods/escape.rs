//! Away from a stationary point with negative curvature: along a direction d with J d = 0, d'H d < 0,
//!
//! ```text
//!     L(x + a d, y) = L - a^2 |d'H d| / 2 + O(a^3),   c(x + a d) = O(a^2),
//! ```
//!
//! so that f + y'c + rho/2 |c|^2 falls. The longest of a few lengths is taken on which it does, either way.

use crate::linalg::{dot, norm_inf};
use crate::opt::iterate::Point;
use crate::opt::phase::Solve;
use crate::opt::verdict;

/// Escapes of one solve.
const MOST: u32 = 8;
/// Lengths that are tried, each a third of the one before, and the penalty rho.
const LENGTHS: i32 = 14;
const PENALTY: f64 = 10.0;
/// Share of the predicted decrease that a step must bring, and of the way to a bound that it may go.
const SUFFICIENT: f64 = 0.1;
const TO_BOUNDARY: f64 = 0.9;

fn merit(y: &[f64], p: &Point) -> f64 {
    p.f + dot(y, &p.c) + 0.5 * PENALTY * dot(&p.c, &p.c)
}

/// Leaves the current point for a better one, evaluated, where there is one.
pub(super) fn leave(s: &mut Solve<'_>) -> bool {
    if s.judge.escapes >= MOST {
        return false;
    }
    let Some(curvature) = verdict::negative_curvature(s) else { return false };
    let n = s.problem.form.n;
    let direction = s.kkt.step[..n].to_vec();
    let size = norm_inf(&direction);
    let start = merit(&s.at.current.y, &s.at.current);
    let worth = s.options.tolerance * (s.problem.form.scale.objective + s.at.current.f.abs());
    for k in 0..LENGTHS {
        for sign in [1.0, -1.0] {
            // The direction is as long as x is large.
            let scale = sign * 3f64.powi(1 - k);
            s.kkt.step[..n].iter_mut().zip(&direction).for_each(|(o, d)| *o = scale * d);
            let bounds = &s.problem.form.bounds;
            let alpha = bounds.longest_step(&s.at.current.x, &s.kkt.step[..n], TO_BOUNDARY, 1.0);
            s.kkt.step[n..].fill(0.0);
            s.at.place(bounds, &s.kkt.step, alpha);
            if s.at.trial.functions(&mut s.problem).is_err() {
                continue;
            }
            let length = alpha * scale;
            let promised = 0.5 * length * length * curvature.abs();
            let falls = start - merit(&s.at.current.y, &s.at.trial);
            if size > 0.0
                && falls > (SUFFICIENT * promised).max(worth)
                && s.at.trial.derivatives(&mut s.problem).is_ok()
            {
                s.judge.escapes += 1;
                s.watch.note(format_args!("a stationary point with negative curvature is left"));
                s.at.accept();
                s.hessian.forget();
                return true;
            }
        }
    }
    false
}
