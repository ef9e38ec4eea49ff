//! What is remembered of a solve for its verdict.

use super::iterate::Point;
use super::problem::OriginalPoint;
use crate::linalg::norm_inf;

/// Multipliers (scaled) of this size relative to the gradient that keep growing say that there are none.
const LARGE_MULTIPLIER: f64 = 1e3;
/// Growth at each tenfold fall of the residual, and how often in a row.
const MULTIPLIER_GROWTH: f64 = 1.8;
const VARIABLE_STEP: f64 = 0.02;
const DECADES: usize = 3;
/// A residual that falls to this share at once says nothing of growth.
const LEAP: f64 = 1e-4;
/// Residuals from 1e20 to 1e-20 have room from the start.
const MOST_DECADES: usize = 40;

/// What the judge remembers of a solve.
#[derive(Debug, Default, Clone)]
pub(super) struct Judge {
    /// The point that was judged last.
    pub original: OriginalPoint,
    /// The residual, the largest multiplier and the largest variable at each tenfold fall of the residual, latest last.
    decades: Vec<Decade>,
    /// |d_j| <= FLAT (1 + |x_j|) does not hold for the Newton step from the confirmed point.
    pub flat: bool,
    /// Points refused because a step promised a lower objective, and the objective at the first.
    pub refusals: u32,
    pub refused_at: f64,
    /// The confirmed point has negative curvature and could not be left.
    pub saddle: bool,
    /// The confirmed point is one of relaxed rows.
    pub relaxed: bool,
    /// A certificate shows that no point is feasible.
    pub contradiction: bool,
    /// Escapes from saddles.
    pub escapes: u32,
    /// Feasible points farther out whose objective was ten times below that of the one before; the last such objective, and |x|.
    pub falls: u32,
    pub fallen_to: f64,
    pub fallen_at: f64,
}

#[derive(Debug, Clone, Copy)]
struct Decade {
    residual: f64,
    multiplier: f64,
    variable: f64,
}

impl Judge {
    /// For a problem with n variables (the user's) and m constraints.
    pub fn new(n: usize, m: usize) -> Self {
        let mut judge = Self::default();
        judge.decades.reserve(MOST_DECADES);
        let o = &mut judge.original;
        for (v, length) in [(&mut o.x, n), (&mut o.z, n), (&mut o.y, m), (&mut o.c, m)] {
            v.resize(length, 0.0);
        }
        judge
    }

    /// Nothing is known.
    pub fn restart(&mut self) {
        self.decades.clear();
        (self.flat, self.saddle, self.relaxed, self.refusals) = (false, false, false, 0);
        self.contradiction = false;
        (self.falls, self.fallen_to, self.fallen_at) = (0, 0.0, 0.0);
    }

    /// Another solve begins.
    pub fn renew(&mut self) {
        self.restart();
        self.escapes = 0;
    }

    /// Remembers what grows while the residual falls.
    pub fn note(&mut self, p: &Point, scaled: f64) {
        let begins = self.decades.last().is_none_or(|d| scaled <= 0.1 * d.residual);
        if scaled.is_finite() && begins {
            let multiplier = norm_inf(&p.y) / norm_inf(&p.grad).max(1.0);
            self.decades.push(Decade { residual: scaled, multiplier, variable: norm_inf(&p.x) });
        }
    }

    /// The last decades before the residual leaps to rounding.
    fn tail(&self, count: usize) -> &[Decade] {
        let leap = self.decades.windows(2).rposition(|w| w[1].residual > LEAP * w[0].residual);
        let end = leap.map_or(0, |k| k + 2);
        &self.decades[end.saturating_sub(count)..end]
    }

    /// Multipliers grow without limit.
    pub fn is_degenerate(&self) -> bool {
        self.decades.last().is_some_and(|d| d.multiplier >= LARGE_MULTIPLIER) && {
            let tail = self.tail(DECADES + 1);
            let grows = |w: &[Decade]| w[1].multiplier >= MULTIPLIER_GROWTH * w[0].multiplier;
            tail.len() > DECADES && tail.windows(2).all(grows)
        }
    }

    /// A variable runs away.
    pub fn is_not_attained(&self, start: f64) -> bool {
        self.decades.last().is_some_and(|d| d.variable >= 10.0 * start.max(1.0)) && self.keeps_growing()
    }

    /// |x| goes on by about as much at each tenfold fall of the residual; towards a limit it would go on by ever less.
    fn keeps_growing(&self) -> bool {
        let tail = self.tail(DECADES + 2);
        let steps: Vec<f64> = tail.windows(2).map(|w| w[1].variable - w[0].variable).collect();
        let last = tail.last().map_or(0.0, |d| d.variable);
        steps.len() > DECADES
            && steps.iter().all(|d| *d >= VARIABLE_STEP * last)
            && steps.windows(2).all(|w| w[1] >= 0.5 * w[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nlp::NlpMeta;
    use crate::opt::problem::Form;

    /// y = r^-1/2 grows without limit, y = 2 - r does not.
    #[test]
    fn growing_multipliers_are_noticed() {
        let mut p = Point::new(&Form::new(&NlpMeta::equality("test", 1, 1), 0.0));
        for (grows, degenerate) in [(true, true), (false, false)] {
            let mut judge = Judge::default();
            for k in 0..9 {
                let r = 10f64.powi(-k);
                p.y[0] = if grows { 1e2 / r.sqrt() } else { 1e5 * (2.0 - r) };
                judge.note(&p, r);
            }
            assert_eq!(judge.is_degenerate(), degenerate);
        }
    }

    #[test]
    fn variables_that_run_away_are_noticed() {
        let mut p = Point::new(&Form::new(&NlpMeta::equality("test", 1, 0), 0.0));
        let mut judge = Judge::default();
        for k in 0..9 {
            // exp(-x): the gradient falls tenfold while x grows by ln 10.
            p.x[0] = 2.0 + 2.3 * f64::from(k);
            judge.note(&p, 10f64.powi(-k));
        }
        assert!(judge.is_not_attained(1.0) && !judge.is_not_attained(10.0) && !judge.is_degenerate());
    }
}
