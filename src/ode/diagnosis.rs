//! Why an integration is hard, from what its rejected attempts have in common. Counted in the loop, worked out when it is asked for.

use serde::Serialize;

use super::report::{OdeCounts, OdeStop};
use crate::linalg::Scalar;

/// What makes an integration fail, or cost much more than its solution should.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Diagnosis {
    /// Stability limits the steps.
    Stiff,
    /// The field jumps where the integration stopped.
    Discontinuity {
        /// The component of the field that changes most there.
        component: usize,
        /// Near this time.
        t: f64,
    },
    /// The field points towards a surface from both sides: the solution slides along it, the steps cross it again and again.
    Chattering {
        /// The component of the field whose sign changes.
        component: usize,
        /// Since when.
        from: f64,
        /// Where the integration ended.
        to: f64,
    },
    /// Attempts end where the field is not finite, or outside the bounds of [`Options::domain`](super::Options::domain).
    LeavesDomain,
    /// At the start a component of the field is not finite.
    NotFinite {
        /// The first such component.
        component: usize,
    },
    /// The steps asked for are below the spacing of numbers near t.
    Resolution,
    /// A linear invariant w'y of the field, w scaled to a largest entry of one, moved by more than the tolerance of its components: their last digits are rounding errors of
    /// earlier, larger states. Looked for after runs of stiff methods with at most 30 unknowns that finished, of fields that say they are autonomous.
    InvariantLost {
        /// Where w is largest.
        component: usize,
        /// |w'(y1 - y0)|.
        change: f64,
        /// max |w_i| (atol_i + rtol_i |y1_i|).
        tolerance: f64,
    },
}

/// Rejected attempts whose error does not fall as that of a smooth solution would.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rough {
    /// The last rejected attempt: start, step, error.
    last: (f64, f64, f64),
    /// Attempts with an observed order below two.
    count: u64,
    /// Where the first of them began, and the end of the shortest one from there.
    first: f64,
    from: Option<f64>,
}

impl Default for Rough {
    fn default() -> Self {
        Self { last: (f64::NAN, 0.0, 0.0), count: 0, first: 0.0, from: None }
    }
}

impl Rough {
    /// After a rejected attempt from t with this error: its observed order, against the one before from the same t.
    #[cold]
    #[inline(never)]
    pub fn add(&mut self, t: f64, h: f64, error: f64) {
        let (t0, h0, e0) = self.last;
        self.last = (t, h, error);
        let order = (e0 / error).ln() / (h0 / h).ln();
        if t == t0 && error.is_finite() && e0.is_finite() && order < 2.0 {
            // The shortest attempt of the first place ends just behind it.
            if self.count == 0 || self.first == t {
                (self.first, self.from) = (t, Some(t + h));
            }
            self.count += 1;
        }
    }
    /// Whether they are a good part of all attempts.
    pub fn many(&self, counts: &OdeCounts) -> bool {
        self.count >= 20 && 10 * self.count >= counts.accepted + counts.rejected
    }
}

/// A jump of the field near the end of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Jump {
    pub component: usize,
    /// Whether the component has opposite signs on the two sides, which differ in the state only.
    pub points_back: bool,
}

/// Looks for a jump of f between theta = -64 and 64: an interval of the largest change of a component, halved until it is a 10^-9 part of it, still has half of that
/// change. Smooth fields, stiff ones too, change in proportion to the interval.
pub(crate) fn jump<T: Scalar>(mut f: impl FnMut(T, &mut [T]), n: usize) -> Option<(usize, [T; 2])> {
    let (mut a, mut b, mut middle) = (vec![T::ZERO; n], vec![T::ZERO; n], vec![T::ZERO; n]);
    // The last step, then its neighbourhood.
    for (lo, hi) in [(0, 1), (-1, 0), (1, 4), (-4, -1), (4, 16), (-16, -4), (16, 64), (-64, -16)] {
        let (mut lo, mut hi) = (T::of(lo as f64), T::of(hi as f64));
        f(lo, &mut a);
        f(hi, &mut b);
        let change = |i: usize, a: &[T], b: &[T]| (b[i] - a[i]).abs();
        let i = (1..n).fold(0, |m, i| if change(i, &a, &b) > change(m, &a, &b) { i } else { m });
        let (whole, least) = (change(i, &a, &b), T::of(1e-9) * (hi - lo));
        while hi - lo > least {
            let theta = lo + T::of(0.5) * (hi - lo);
            if theta <= lo || theta >= hi {
                break;
            }
            f(theta, &mut middle);
            if change(i, &a, &middle) > change(i, &middle, &b) {
                hi = theta;
                std::mem::swap(&mut b, &mut middle);
            } else {
                lo = theta;
                std::mem::swap(&mut a, &mut middle);
            }
        }
        if whole > T::ZERO && change(i, &a, &b) > T::of(0.5) * whole {
            return Some((i, [a[i], b[i]]));
        }
    }
    None
}

/// What is known at the end of a run.
pub(crate) struct Evidence<'a> {
    pub stop: OdeStop,
    pub t: f64,
    pub h: f64,
    pub error: f64,
    /// t1 - t0.
    pub span: f64,
    /// Unit of rounding.
    pub epsilon: f64,
    /// |h| S over the stability limit, where known.
    pub stiff: Option<f64>,
    /// Since when it seems stiff.
    pub stiff_from: Option<f64>,
    pub counts: &'a OdeCounts,
    pub rough: &'a Rough,
    pub jump: Option<Jump>,
}

impl Evidence<'_> {
    /// The first that explains the run.
    pub fn diagnosis(&self) -> Option<Diagnosis> {
        let (c, t) = (self.counts, self.t);
        if let Some(Jump { component, points_back: true }) = self.jump {
            let from = self.rough.from.unwrap_or(t).min(self.stiff_from.unwrap_or(t));
            return Some(Diagnosis::Chattering { component, from, to: t });
        }
        if !matches!(self.stop, OdeStop::MaxSteps | OdeStop::StepUnderflow | OdeStop::NotFinite) {
            return None;
        }
        if 1024.0 * self.epsilon * t.abs() > self.span.abs() {
            return Some(Diagnosis::Resolution);
        }
        let lost = c.not_finite + c.outside;
        if 5 * lost > 2 * (c.accepted + c.rejected) || !self.error.is_finite() || 2 * c.outside > c.rejected {
            return Some(Diagnosis::LeavesDomain);
        }
        let tiny = self.stop == OdeStop::StepUnderflow && self.h.abs() <= 64.0 * self.epsilon * t.abs();
        // The first attempt was hardly longer than what time resolves: all that the solution does there is a jump.
        if tiny && c.accepted == 0 && c.rejected <= 8 {
            return Some(Diagnosis::Resolution);
        }
        if let Some(Jump { component, .. }) = self.jump {
            return Some(Diagnosis::Discontinuity { component, t });
        }
        if self.stiff.is_some_and(|s| s > 0.5) {
            return Some(Diagnosis::Stiff);
        }
        tiny.then_some(Diagnosis::Resolution)
    }
}
