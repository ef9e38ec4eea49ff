//! Long curved valleys of unconstrained problems: Newton steps alternate between floor and slopes and follow the floor by ever shorter
//! distances. Where it goes on is told by the parabola through three points of the floor, in the distance travelled (compare the ravine steps of
//! Gelfand and Tsetlin 1961):
//!
//! ```text
//! x(s) = x0 + u (x0 - x1) + w ((x0 - x1) / (s0 - s1) - (x1 - x2) / (s1 - s2)),
//! u = (s - s0) / (s0 - s1),   w = (s - s0) (s - s1) / (s0 - s2),   s = s0 + reach (s0 - s1)
//! ```
//!
//! for points x0 (the latest), x1, x2 at distances s0 > s1 > s2. It is taken if it lowers the objective by more than the iterations since x1 did;
//! then the reach grows. Only after many iterations: on a flat floor the tolerance is met, and good minima far along would be missed.

use crate::linalg::norm2;
use crate::opt::phase::Solve;

/// Iterations of the solve before the first.
const FROM: u64 = 1000;
/// A relative decrease between two points beyond this needs no help.
const SLOW: f64 = 0.2;
/// A point is on the floor where the gradient falls to this share, or failing that every so many iterations.
const FLOOR: f64 = 0.5;
const EVERY: u32 = 4;
/// First and least reach, and the longest pause, in points of the floor.
const REACH: f64 = 2.0;
const LEAST_REACH: f64 = 0.5;
const LONGEST_PAUSE: u32 = 32;

/// The floor so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Valley {
    /// Distance travelled and point, latest first.
    points: [(f64, Vec<f64>); 3],
    known: usize,
    objective: f64,
    gradient: f64,
    /// Iterations since the latest point.
    since: u32,
    reach: f64,
    /// Points to wait, and after the next failure.
    wait: u32,
    pause: u32,
}

impl Valley {
    /// Whether the point just reached is one of the floor.
    fn on_floor(&mut self, gradient: f64) -> bool {
        let falls = gradient <= FLOOR * std::mem::replace(&mut self.gradient, gradient);
        self.since += 1;
        self.since >= 2 && falls || self.since >= EVERY
    }

    /// Adds a point of the floor; the decrease since the one before.
    fn add(&mut self, x: &[f64], objective: f64) -> f64 {
        self.since = 0;
        let far = self.points[0].1.iter().zip(x).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        let travelled = self.points[0].0 + far;
        self.points.rotate_right(1);
        self.points[0].0 = travelled;
        self.points[0].1.clear();
        self.points[0].1.extend_from_slice(x);
        self.known = (self.known + 1).min(3);
        std::mem::replace(&mut self.objective, objective) - objective
    }

    fn is_slow(&self, gain: f64) -> bool {
        let [a, b, c] = &self.points;
        self.known == 3 && a.0 > b.0 && b.0 > c.0 && gain > 0.0 && gain < SLOW * (self.objective + gain).abs()
    }

    /// x <- x(s).
    fn extrapolate(&self, x: &mut [f64]) {
        let [(s0, x0), (s1, x1), (s2, x2)] = &self.points;
        let ahead = self.reach * (s0 - s1);
        let w = ahead * (ahead + s0 - s1) / (s0 - s2);
        for (j, x) in x.iter_mut().enumerate() {
            let (last, before) = (x0[j] - x1[j], x1[j] - x2[j]);
            *x = x0[j] + self.reach * last + w * (last / (s0 - s1) - before / (s1 - s2));
        }
    }
}

impl Valley {
    /// After an iteration of an unconstrained problem: goes on along the floor where that pays; whether it did.
    pub fn follow(&mut self, s: &mut Solve<'_>) -> bool {
        if s.budget.iteration < FROM || !self.on_floor(norm2(&s.at.current.grad)) {
            return false;
        }
        let gain = self.add(&s.at.current.x, s.at.current.f);
        if !self.is_slow(gain) {
            return false;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return false;
        }
        self.reach = self.reach.max(REACH);
        for _ in 0..2 {
            self.extrapolate(&mut s.at.trial.x);
            if lowers_objective(s, gain) {
                self.reach *= 2.0;
                self.pause = 0;
                s.at.accept();
                return true;
            }
            self.reach = (0.25 * self.reach).max(LEAST_REACH);
        }
        self.pause = (2 * self.pause + 1).min(LONGEST_PAUSE);
        self.wait = self.pause;
        false
    }
}

/// Evaluates `trial` with its derivatives if its objective is lower by more than `gain`.
fn lowers_objective(s: &mut Solve<'_>, gain: f64) -> bool {
    let trial = &mut s.at.trial;
    trial.functions(&mut s.problem).is_ok()
        && s.at.current.f - trial.f > gain
        && trial.derivatives(&mut s.problem).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_along_the_parabola_through_three_points() {
        // x(s) = (s, 1 - 2 s + 3 s^2) at s = 0.2, 0.5, 0.6; reach 3 ends at s = 0.9.
        let x = |s: f64| vec![s, 1.0 - 2.0 * s + 3.0 * s * s];
        let valley = Valley { points: [0.6, 0.5, 0.2].map(|s| (s, x(s))), reach: 3.0, ..Valley::default() };
        let mut out = [0.0; 2];
        valley.extrapolate(&mut out);
        for (got, want) in out.iter().zip(x(0.9)) {
            assert!((got - want).abs() < 1e-14, "{out:?}");
        }
    }

    #[test]
    fn the_floor_is_where_the_gradient_falls() {
        let mut valley = Valley::default();
        // Two iterations at least, and a point every four where it never falls.
        let floor = [1.0, 0.4, 1.0, 0.3, 0.3, 0.3, 0.3, 0.3].map(|g| {
            let on = valley.on_floor(g);
            if on {
                valley.add(&[valley.points[0].0 + g], g);
            }
            on
        });
        assert_eq!(floor, [false, true, false, true, false, false, false, true]);
        // Three points, each lower, but by less than a fifth.
        assert!(valley.known == 3 && valley.is_slow(0.01) && !valley.is_slow(0.2) && !valley.is_slow(-0.1));
    }
}
