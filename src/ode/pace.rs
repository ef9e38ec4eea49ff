//! How fast: the next step, limits, rejections, the end; where an explicit method meets stiffness; the first step.

use serde::{Deserialize, Serialize};

use super::diagnosis::{Jump, Rough};
use super::options::{ControlState, Controller, ObservedOrder, Options};
use super::report::{OdeCounts, OdeStop};
use super::stepper::Stretch;
use crate::diff::{At, Map};
use crate::linalg::Scalar;
use crate::linalg::kernels::{self, Scale};

/// What changes during an integration.
#[derive(Debug, Clone)]
pub(crate) struct Pace<T> {
    pub t: T,
    /// Where the step begins in name: a stop, of which t is a little behind.
    pub from: T,
    t0: T,
    t1: T,
    /// The end of this stretch: the next stop, or t1; before it, where a sink wants a step to end.
    end: T,
    /// Up to where it may be evaluated: a little before a stop.
    goal: T,
    /// Both without the sinks.
    declared: (T, T),
    /// Stops to come, the next one last; and how far evaluations stay away from them, in the direction of integration.
    stops: Vec<T>,
    gap: T,
    pub h: T,
    control: ControlState,
    observed: ObservedOrder,
    pub counts: OdeCounts,
    pub err: T,
    pub stiffness: Option<T>,
    pub stiff: StiffCheck<T>,
    /// An event moved the state: what is carried besides it is old.
    pub moved: bool,
    /// Rejected attempts at places that are not smooth.
    pub rough: Rough,
    /// A jump of the field near the end, where one was looked for.
    pub jump: Option<Jump>,
}

/// A number written as its bits: readers of text round, and some numbers here are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "u64", into = "u64")]
pub(crate) struct Bits(pub f64);

impl From<u64> for Bits {
    fn from(bits: u64) -> Self {
        Self(f64::from_bits(bits))
    }
}
impl From<Bits> for u64 {
    fn from(bits: Bits) -> Self {
        bits.0.to_bits()
    }
}

/// For serde: an f64 as [`Bits`].
pub(crate) mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Bits;

    pub fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        Bits(*x).serialize(s)
    }
    pub fn deserialize<'d, D: Deserializer<'d>>(d: D) -> Result<f64, D::Error> {
        Ok(Bits::deserialize(d)?.0)
    }
}

/// The pace of an integration, to go on with: the controller's memory is a part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedPace {
    pub t0: Bits,
    pub t: Bits,
    from: Bits,
    pub h: Bits,
    moved: bool,
    control: [u64; 3],
    observed: [u64; 3],
    stiff: (u32, u32, Option<Bits>, Option<Bits>),
    pub counts: OdeCounts,
}

/// The limits of all steps.
pub(crate) struct Limits<T> {
    controller: Controller,
    /// The error estimate behaves like h^k.
    k: f64,
    fixed: bool,
    near_rounding: bool,
    min_step: T,
    max_step: T,
    max_steps: u64,
    stretch: T,
}

impl<T: Scalar> Limits<T> {
    pub fn new(o: &Options, control_order: f64) -> Self {
        let fixed = o.fixed_step.is_some();
        Self {
            controller: o.controller,
            k: control_order,
            fixed,
            near_rounding: o.near_rounding::<T>(),
            min_step: T::of(o.min_step),
            max_step: T::of(o.max_step),
            max_steps: o.max_steps,
            // With a fixed step only what rounding leaves of the span is added to the last one.
            stretch: if fixed { T::ONE + T::EPSILON.sqrt() } else { T::of(1.01) },
        }
    }
}

impl<T: Scalar> Pace<T> {
    /// From t0 to t1 with these stops.
    pub fn new((t0, t1): (T, T), stops: &[f64]) -> Self {
        let forward = t1 > t0;
        let size = if t0.abs() > t1.abs() { t0.abs() } else { t1.abs() };
        let room = T::of(4.0) * T::EPSILON * size;
        let gap = if forward { room } else { -room };
        let inside =
            |t: &T| (*t - t0).abs() > room + room && (t1 - *t).abs() > room + room && (*t > t0) == forward;
        let mut stops: Vec<T> =
            stops.iter().map(|&t| T::of(t)).filter(inside).filter(|t| (*t < t1) == forward).collect();
        stops.sort_by(|a, b| b.f64().total_cmp(&a.f64()));
        if !forward {
            stops.reverse();
        }
        stops.dedup_by(|a, b| (*a - *b).abs() <= room + room);
        let mut pace = Self {
            t: t0,
            from: t0,
            t0,
            t1,
            end: t1,
            goal: t1,
            declared: (t1, t1),
            stops,
            gap,
            h: T::ZERO,
            control: ControlState::default(),
            observed: ObservedOrder::default(),
            counts: OdeCounts::default(),
            err: T::ZERO,
            stiffness: None,
            stiff: StiffCheck::default(),
            moved: false,
            rough: Rough::default(),
            jump: None,
        };
        pace.next_stretch();
        pace
    }

    /// What a resumed run needs of it.
    pub fn save(&self) -> SavedPace {
        let bits = |t: T| Bits(t.f64());
        SavedPace {
            t0: bits(self.t0),
            t: bits(self.t),
            from: bits(self.from),
            h: bits(self.h),
            moved: self.moved,
            control: self.control.bits(),
            observed: self.observed.bits(),
            stiff: (self.stiff.hits, self.stiff.misses, self.stiff.first.map(bits), self.stiff.at.map(bits)),
            counts: self.counts,
        }
    }
    /// Goes on to t1 from where it was saved.
    pub fn resume(saved: &SavedPace, t1: T, stops: &[f64]) -> Self {
        let number = |b: Bits| T::of(b.0);
        let (t, from) = (number(saved.t), number(saved.from));
        let mut pace = Self::new((number(saved.t0), t1), stops);
        // Stops behind, and the one it stands at.
        while pace.end != pace.t1 && (pace.end == from || (pace.end > t) != (t1 > t)) {
            pace.next_stretch();
        }
        let (hits, misses, first, at) = saved.stiff;
        Self {
            t,
            from,
            h: number(saved.h),
            moved: saved.moved,
            control: ControlState::from_bits(saved.control),
            observed: ObservedOrder::from_bits(saved.observed),
            stiff: StiffCheck { hits, misses, first: first.map(number), at: at.map(number) },
            counts: saved.counts,
            ..pace
        }
    }

    /// To the next stop, or to t1.
    fn next_stretch(&mut self) {
        self.declared = match self.stops.pop() {
            Some(stop) => (stop, stop - self.gap),
            None => (self.t1, self.t1),
        };
        (self.end, self.goal) = self.declared;
    }

    /// The next step ends at the latest at this time, where a sink wants the state.
    pub fn aim(&mut self, wanted: Option<T>) {
        let before = |t: &T| (*t < self.declared.1) == (self.t1 > self.t0) && *t != self.declared.1;
        (self.end, self.goal) = wanted.filter(before).map_or(self.declared, |t| (t, t));
    }

    /// Where the next step is.
    pub fn stretch(&self) -> Stretch<T> {
        let declared = (self.end, self.goal) == self.declared;
        Stretch { from: self.from, t: self.t, goal: self.goal, end: self.end, declared }
    }

    /// The next attempt: its step, and whether it ends at t1 or at a stop.
    #[inline(always)]
    pub fn plan(&self, lim: &Limits<T>) -> Result<(T, bool), OdeStop> {
        let left = self.goal - self.t;
        // Stretch a little rather than leave a sliver; the planned step is kept aside.
        let size = self.h.abs();
        // Never after a rejection: the attempt must be shorter than the last.
        let keep = self.control.rejected || size * lim.stretch > lim.max_step;
        let reach = if keep { size } else { size * lim.stretch };
        let last = reach >= left.abs();
        let tiny = T::of(16.0) * T::EPSILON * self.t.abs();
        if !last && (size < lim.min_step || size <= tiny) {
            return Err(OdeStop::StepUnderflow);
        }
        if self.counts.accepted + self.counts.rejected >= lim.max_steps {
            return Err(OdeStop::MaxSteps);
        }
        Ok((if last { left } else { self.h }, last))
    }

    /// Whether the attempt is accepted, from the square of its error.
    #[inline(always)]
    pub fn passes(lim: &Limits<T>, square: f64) -> bool {
        square <= 1.0 || (lim.fixed && square.is_finite())
    }

    /// After a rejected attempt.
    pub fn reject(&mut self, lim: &Limits<T>, h: T, e: f64) -> Result<(), OdeStop> {
        self.counts.rejected += 1;
        self.counts.not_finite += !e.is_finite() as u64;
        if lim.fixed {
            return Err(OdeStop::NotFinite);
        }
        self.h = h * T::of(self.control.rejected(&lim.controller, lim.k, e));
        if self.t + self.h == self.t { Err(OdeStop::StepUnderflow) } else { Ok(()) }
    }

    /// After an accepted attempt with this square of its error: plans the next step and returns the end of this one.
    #[inline(always)]
    pub fn advance(&mut self, lim: &Limits<T>, h: T, last: bool, square: f64) -> T {
        if !lim.fixed {
            let limit = if self.control.rejected { 1.0 } else { f64::INFINITY };
            let mut factor = self.control.accepted(&lim.controller, lim.k, square);
            if lim.near_rounding
                && let Some(f) = self.observed.factor(&lim.controller, lim.k, h.f64(), square.sqrt())
            {
                factor = f.min(limit);
            }
            // A last step cut short by t1 must not shrink the plan.
            let next = h.abs() * T::of(factor);
            let next = if last && next < self.h.abs() { self.h.abs() } else { next };
            let next = if next > lim.max_step { lim.max_step } else { next };
            self.h = if h > T::ZERO { next } else { -next };
        }
        if last { self.end } else { self.t + h }
    }

    /// Whether the stiffness of the step just accepted is due.
    #[inline(always)]
    pub fn stiffness_due(&self) -> bool {
        self.stiff.due(self.counts.accepted)
    }

    /// Moves to the end of a step.
    #[inline(always)]
    pub fn move_to(&mut self, t: T) {
        self.counts.accepted += 1;
        (self.t, self.from) = (t, t);
        if t == self.declared.0 && t != self.t1 {
            self.pass_stop();
        }
    }

    /// Goes on behind a stop as from a start.
    #[cold]
    fn pass_stop(&mut self) {
        self.t = self.declared.0 + self.gap;
        self.moved = true;
        (self.control, self.observed) = (ControlState::default(), ObservedOrder::default());
        self.next_stretch();
    }

    /// t1 - t0.
    pub fn span(&self) -> T {
        self.t1 - self.t0
    }

    /// Whether t1 is reached.
    #[inline(always)]
    pub fn at_end(&self) -> bool {
        self.t == self.t1
    }
}

/// Every 64th accepted step, and every one while suspicious: |h| S against the stability interval.
#[derive(Debug, Clone, Default)]
pub(crate) struct StiffCheck<T> {
    hits: u32,
    misses: u32,
    first: Option<T>,
    pub at: Option<T>,
}

impl<T: Scalar> StiffCheck<T> {
    fn due(&self, accepted: u64) -> bool {
        self.at.is_none() && (self.hits > 0 || accepted % 64 == 63)
    }
    pub fn add(&mut self, t: T, hs: f64, stability: f64) {
        if hs > 0.9 * stability {
            self.first = self.first.or(Some(t));
            (self.hits, self.misses) = (self.hits + 1, 0);
            if self.hits == 15 {
                self.at = self.first;
            }
        } else {
            self.misses += 1;
            if self.misses >= 6 {
                *self = Self::default();
            }
        }
    }
}

/// Hairer, Norsett, Wanner: Solving ODEs I, II.4: h with |h^(p+1) y^(p+1)| about 0.01.
pub(super) struct FirstStep<'a, T> {
    pub y0: &'a [T],
    /// f(t0, y0).
    pub k0: &'a [T],
    /// Room for a state and its derivative.
    pub g: &'a mut [T],
    pub k1: &'a mut [T],
}

impl<T: Scalar> FirstStep<'_, T> {
    #[allow(clippy::too_many_arguments)]
    pub fn choose<F: Map<T> + ?Sized>(
        self,
        field: &mut F,
        options: &Options,
        scale: &Scale<T>,
        error_order: usize,
        (t0, t1): (T, T),
        p: &[T],
        counts: &mut OdeCounts,
    ) -> T {
        let span = t1 - t0;
        let sign = if span > T::ZERO { T::ONE } else { -T::ONE };
        let cap = span.abs().f64().min(options.max_step);
        if let Some(h) = options.fixed_step.or(options.first_step) {
            return sign * T::of(h.min(cap));
        }
        let n = self.y0.len();
        let size = |x: &[T]| kernels::scaled_norm(options.norm, scale, self.y0, self.y0, x).f64();
        let (d0, d1) = (size(self.y0), size(&self.k0[..n]));
        // A zero tolerance at a zero of the start makes d0 or d1 infinite or NaN: no scale either.
        let known = d0 >= 1e-5 && d1 >= 1e-5 && d0.is_finite() && d1.is_finite();
        let mut h0 = if known { 0.01 * d0 / d1 } else { 1e-6 };
        // Far from t = 0 a short step would not move t.
        let resolved = 1024.0 * T::EPSILON.f64() * t0.abs().f64();
        h0 = h0.max(resolved).min(cap);
        // One explicit Euler step; k_1 is free.
        let step = sign * T::of(h0);
        let k1 = &mut self.k1[..n];
        for ((g, &y), &k) in self.g.iter_mut().zip(self.y0).zip(self.k0) {
            *g = y + step * k;
        }
        field.value(At::new(t0 + step, self.g, p), k1);
        counts.evals += 1;
        for (a, &b) in k1.iter_mut().zip(self.k0) {
            *a -= b;
        }
        let d2 = size(k1) / h0;
        let m = d1.max(d2);
        let h1 =
            if m <= 1e-15 { (h0 * 1e-3).max(1e-6) } else { (0.01 / m).powf(1.0 / (error_order + 1) as f64) };
        // A derivative whose norm overflows says nothing either.
        let h = if m.is_finite() && d2.is_finite() { (100.0 * h0).min(h1) } else { 0.1 * h0 };
        sign * T::of(h.max(resolved).min(cap).max(options.min_step))
    }
}
