//! What is remembered of the forward pass.

use std::ops::ControlFlow;

use super::jumps::Happened;
use super::transpose::{Recorded, Stored};
use crate::linalg::Scalar;
use crate::ode::step::same_time;
use crate::ode::{OdeError, Start, Step, StepBuffers, StepSink};

/// How much of the forward pass is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Every state with all stages and what the field keeps for its pullback: the fastest.
    Stages,
    /// Every state.
    States,
    /// Every k-th state.
    Every(usize),
    /// At most this many states at any time.
    Checkpoints(usize),
}

/// Times, steps and checkpoints of a forward pass; a sink. Buffers are kept for the next pass.
#[derive(Debug, Clone)]
pub struct Tape<T> {
    memory: Memory,
    /// Start of each step.
    pub(crate) t: Vec<T>,
    /// Its length.
    pub(crate) h: Vec<T>,
    /// End of each step as the integrator used it.
    pub(crate) t_next: Vec<T>,
    /// Of the parameters of the pass.
    params: u128,
    /// (step, slot) of the states held, ascending.
    pub(crate) held: Vec<(usize, usize)>,
    pub(crate) slots: Vec<Vec<T>>,
    pub(crate) free: Vec<usize>,
    pub(crate) stages: Vec<Stored<T>>,
    /// Under Memory::Stages: the end of the last step.
    last_end: Vec<T>,
    /// Events that ended steps or changed the state.
    pub(super) happened: Vec<Happened<T>>,
    /// Whether all events of the pass are [`Jumps`](super::Jumps).
    pub(super) with_jumps: bool,
    /// Steps whose end was cut off at zero ([`Options::non_negative`](crate::ode::Options::non_negative)).
    clipped: Vec<usize>,
    /// Whether states saved at the times of events are those after them, in the present sweep.
    pub(super) after_events: bool,
    /// First steps of the parts that one method made, and its number.
    parts: Vec<(usize, u8)>,
    /// Ends of the steps on a Brownian path; empty without noise.
    ticks: Vec<u64>,
    stride: usize,
    pub(crate) n: usize,
    peak_slots: usize,
}

impl<T: Scalar> Tape<T> {
    /// An empty tape.
    pub fn new(memory: Memory) -> Result<Self, OdeError> {
        if matches!(memory, Memory::Every(0) | Memory::Checkpoints(0)) {
            let must = "at least one";
            return Err(OdeError::Option { option: "memory", value: 0.0, must });
        }
        Ok(Self {
            memory,
            t: vec![],
            h: vec![],
            t_next: vec![],
            params: 0,
            held: vec![],
            slots: vec![],
            free: vec![],
            stages: vec![],
            last_end: vec![],
            happened: vec![],
            with_jumps: false,
            clipped: vec![],
            after_events: false,
            parts: vec![],
            ticks: vec![],
            stride: 1,
            n: 0,
            peak_slots: 0,
        })
    }
    /// The policy.
    pub fn memory(&self) -> Memory {
        self.memory
    }
    /// Number of steps.
    pub fn len(&self) -> usize {
        self.h.len()
    }
    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.h.is_empty()
    }
    /// Start time and length of step j.
    pub fn step(&self, j: usize) -> (T, T) {
        (self.t[j], self.h[j])
    }
    /// Most states held at one time, those of the reverse sweep included.
    pub fn peak_states(&self) -> usize {
        self.peak_slots
    }
    /// Bytes of all buffers, times, indices and the buffers' headers included.
    pub fn bytes(&self) -> usize {
        let states: usize = self.slots.iter().map(Vec::capacity).sum();
        let stages: usize = self.stages.iter().map(Stored::capacity).sum();
        let noise = self.stages.iter().filter(|s| s.noise.is_some()).count() * size_of::<[Vec<T>; 4]>();
        let ticks = self.ticks.capacity() * size_of::<u64>() + noise;
        let times = self.t.capacity() + self.h.capacity() + self.t_next.capacity();
        let indices =
            self.held.capacity() * size_of::<(usize, usize)>() + self.free.capacity() * size_of::<usize>();
        let events: usize =
            self.happened.iter().map(|h| h.before.len() + h.after.len() + h.whole.len()).sum();
        let headers =
            self.slots.capacity() * size_of::<Vec<T>>() + self.stages.capacity() * size_of::<Stored<T>>();
        (states + stages + times + events + self.last_end.capacity()) * size_of::<T>()
            + indices
            + headers
            + ticks
    }
    /// Whether the steps can be transposed without the jumps or run again; with `event`, through the terminal event that ended the pass.
    pub(crate) fn check(&self, n: usize, event: bool) -> Result<(), OdeError> {
        self.check_size(n)?;
        let last = self.len() - 1;
        let Some(at) = self.happened.iter().find(|h| h.step < last || h.changed || !event) else {
            return Ok(());
        };
        let (which, t) = (at.events.iter().map(|e| format!(" {e}")).collect::<String>(), at.t.f64());
        let what = if at.step < last || at.changed {
            format!(
                "event{which} at t = {t} changed the state or ended a step before the last, and its derivatives are not known: `reverse` goes through terminal events only, so give it as one of `Jumps` to forward_jumps and reverse_jumps"
            )
        } else {
            format!(
                "a terminal event{which} ended the last step at t = {t}, and its time depends on the start and the parameters: give its derivatives to reverse_event, or run with it as one of `Jumps`"
            )
        };
        Err(OdeError::Mismatch { what })
    }
    /// Whether there is something to transpose.
    pub(crate) fn check_size(&self, n: usize) -> Result<(), OdeError> {
        let what = if self.is_empty() {
            "the tape has no step: run the forward pass with it first, and once for every reverse sweep"
        } else if self.n != n {
            "the tape belongs to a problem of another size"
        } else {
            return Ok(());
        };
        Err(OdeError::Mismatch { what: what.to_string() })
    }

    /// Forgets the steps; the buffers stay.
    pub(crate) fn clear(&mut self) {
        self.h.clear();
        self.held.clear();
    }

    /// An empty slot for a state.
    pub(crate) fn take_slot(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(vec![T::ZERO; self.n]);
            self.free.reserve(self.slots.capacity());
            self.slots.len() - 1
        });
        self.peak_slots = self.peak_slots.max(self.slots.len() - self.free.len());
        slot
    }
    /// Whether every state is held.
    pub(crate) fn keeps_states(&self) -> bool {
        matches!(self.memory, Memory::Stages | Memory::States)
    }
    /// Share of step j that counts.
    pub(crate) fn end_of(&self, j: usize) -> T {
        self.event(j).map_or(T::ONE, |h| h.theta)
    }
    /// The method that made step j; zero where the integration has one only, or the first of several.
    pub fn method(&self, j: usize) -> u8 {
        let after = self.parts.partition_point(|&(first, _)| first <= j);
        after.checked_sub(1).map_or(0, |i| self.parts[i].1)
    }
    /// What is known of step j besides its times.
    pub(crate) fn recorded(&self, j: usize) -> Recorded {
        let tick = |j: usize| self.ticks.get(j).copied();
        Recorded { method: self.method(j), ticks: (j.checked_sub(1).and_then(tick), tick(j).unwrap_or(0)) }
    }
    /// Every time must be t0 or the end of a step.
    pub(crate) fn check_ends(&self, times: &[T]) -> Result<(), OdeError> {
        let (t0, ends) = (self.t[0], &self.t_next);
        for (i, &t) in times.iter().enumerate() {
            let j = ends.partition_point(|&end| end < t);
            if t != t0 && ends.get(j) != Some(&t) {
                let what = format!("save point {i}, t = {}, was no save point of the forward pass", t.f64());
                return Err(OdeError::Mismatch { what });
            }
        }
        Ok(())
    }
    /// Whether step j took nothing over from the one before.
    pub(crate) fn is_fresh(&self, j: usize) -> bool {
        j == 0
            || self.parts.binary_search_by_key(&j, |&(first, _)| first).is_ok()
            || self.event(j - 1).is_some()
            || self.is_clipped(j - 1)
            || self.restarts(j)
    }
    fn find_event(&self, j: usize) -> Option<usize> {
        self.happened.binary_search_by_key(&j, |h| h.step).ok()
    }
    /// The event that ended step j or changed the state there.
    pub(super) fn event(&self, j: usize) -> Option<&Happened<T>> {
        self.find_event(j).map(|i| &self.happened[i])
    }
    /// The parameters of step j, those of the pass being p.
    pub(super) fn params<'a>(&'a self, j: usize, p: &'a [T]) -> &'a [T] {
        let before = &self.happened[..self.happened.partition_point(|h| h.step < j)];
        before.iter().rev().map(|h| &h.params[..]).find(|q| !q.is_empty()).unwrap_or(p)
    }
    /// Whether the end of step j was cut off at zero.
    pub(super) fn is_clipped(&self, j: usize) -> bool {
        self.clipped.binary_search(&j).is_ok()
    }
    /// Whether that of any step was.
    pub(super) fn clips(&self) -> bool {
        !self.clipped.is_empty()
    }
    /// Whether an event changed the parameters.
    pub(super) fn changes_params(&self) -> bool {
        self.happened.iter().any(|h| !h.params.is_empty())
    }
    /// Whether an event ended step j, or changed the state there, at the time t to rounding.
    pub(crate) fn is_event_time(&self, t: T, j: usize) -> bool {
        let h = self.h[j];
        self.event(j).is_some_and(|e| same_time(t, e.t, h))
    }
    /// The buffers of step j and the end of the whole step, which is the start of the next one unless an event shortened it.
    pub(crate) fn stored(&mut self, j: usize) -> (&mut Stored<T>, &mut Vec<T>) {
        let end = match (self.find_event(j), self.held.get(j + 1)) {
            (Some(i), _) => &mut self.happened[i].whole,
            (_, Some(&(_, slot))) => &mut self.slots[slot],
            _ => &mut self.last_end,
        };
        (&mut self.stages[j], end)
    }
    /// After the pass: its parameters, and its last state for a family that wants the ends of steps.
    pub(crate) fn finish(&mut self, p: &[T], y: &[T]) {
        self.params = fingerprint(p);
        self.last_end.clear();
        if self.memory == Memory::Stages {
            self.last_end.extend_from_slice(y);
        }
    }
    /// The steps belong to the parameters of the forward pass.
    pub(crate) fn check_params(&self, p: &[T]) -> Result<(), OdeError> {
        if self.params == fingerprint(p) {
            return Ok(());
        }
        let what = "the parameters are not those of the forward pass: the reverse sweep transposes its steps, so run it again with these first";
        Err(OdeError::Mismatch { what: what.to_string() })
    }
    /// Whether step j begins anew, behind a stop: k_0 is none of the step before.
    pub(crate) fn restarts(&self, j: usize) -> bool {
        j > 0 && self.t[j] != self.t_next[j - 1]
    }
    /// First and last time.
    pub(crate) fn span(&self) -> (T, T) {
        (self.t[0], self.t_next[self.len() - 1])
    }
    /// Slots that the reverse sweep may still take, `added` of those in use being its own.
    pub(crate) fn spare(&self, added: usize) -> usize {
        let used = self.slots.len() - self.free.len();
        match self.memory {
            Memory::Stages | Memory::States => 0,
            Memory::Every(k) => (k - 1).saturating_sub(added),
            Memory::Checkpoints(c) => c.saturating_sub(used),
        }
    }
    /// Doubles the stride and drops what no longer lies on it.
    fn thin(&mut self) {
        self.stride *= 2;
        let (stride, free) = (self.stride, &mut self.free);
        self.held.retain(|&(step, slot)| {
            let keep = step.is_multiple_of(stride);
            if !keep {
                free.push(slot);
            }
            keep
        });
    }
}

impl<T: Scalar> Tape<T> {
    /// Before the first step of a pass with states of length n.
    pub(crate) fn begin(&mut self, n: usize) {
        self.t.clear();
        self.h.clear();
        self.t_next.clear();
        self.held.clear();
        self.happened.clear();
        self.clipped.clear();
        self.parts.clear();
        self.ticks.clear();
        if self.n != n {
            self.n = n;
            self.slots.clear();
            self.stages.clear();
        }
        self.free.clear();
        self.free.extend((0..self.slots.len()).rev());
        self.stride = if let Memory::Every(k) = self.memory { k } else { 1 };
        self.peak_slots = 0;
    }

    /// Before the steps of another tape are recorded here, with states of length n.
    pub(super) fn follow(&mut self, of: &Self, n: usize) {
        self.begin(n);
        self.parts.extend_from_slice(&of.parts);
    }
    /// The state from which the pass began.
    pub(super) fn start(&self) -> &[T] {
        self.held.first().map_or(&[], |&(_, slot)| &self.slots[slot])
    }

    /// One more step, from (t, y0) to t_next.
    pub(crate) fn record(&mut self, t: T, h: T, t_next: T, y0: &[T]) {
        let j = self.h.len();
        if j.is_multiple_of(self.stride) {
            if self.memory == Memory::Checkpoints(self.held.len()) {
                self.thin();
            }
            if j.is_multiple_of(self.stride) {
                let slot = self.take_slot();
                self.slots[slot].copy_from_slice(y0);
                self.held.push((j, slot));
            }
        }
        self.t.push(t);
        self.h.push(h);
        self.t_next.push(t_next);
    }
}

impl<T: Scalar> StepSink<T> for Tape<T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.begin(start.y0.len());
        Ok(())
    }

    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        let j = self.h.len();
        if step.fired.clipped {
            self.clipped.push(j);
        }
        if self.parts.last().map_or(0, |part| part.1) != step.method {
            self.parts.push((j, step.method));
        }
        if step.is_shortened() || step.is_changed() || (self.with_jumps && !step.events().is_empty()) {
            let whole = if self.memory == Memory::Stages { step.body.y1().to_vec() } else { vec![] };
            self.happened.push(Happened::of(step, j, whole));
        }
        self.ticks.extend(step.body.note());
        self.record(step.t0(), step.h(), step.t1(), step.y0());
        ControlFlow::Continue(())
    }

    fn retain(&mut self, buffers: &mut StepBuffers<'_, T>) {
        let stages = self.memory == Memory::Stages;
        if !stages && (self.memory != Memory::States || buffers.noise.is_none()) {
            return;
        }
        let j = self.h.len() - 1;
        if self.stages.len() == j {
            self.stages.push(Stored::default());
        }
        self.stages[j].exchange(buffers, stages);
    }

    fn wants_keep(&self) -> bool {
        self.memory == Memory::Stages
    }
}

/// FNV-1a of 128 bits over the numbers.
fn fingerprint<T: Scalar>(p: &[T]) -> u128 {
    let prime = (1u128 << 88) + 0x13b;
    p.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, v| {
        (hash ^ v.f64().to_bits() as u128).wrapping_mul(prime)
    })
}

/// C(s + r, s), saturating: the longest chain that s checkpoints reverse when no step is advanced more than r times.
fn beta(s: usize, r: usize) -> usize {
    let (mut b, s) = (1u128, s as u128);
    for i in 1..=r as u128 {
        b = b * (s + i) / i;
        if b > usize::MAX as u128 {
            return usize::MAX;
        }
    }
    b as usize
}

/// Where to put the next checkpoint in a chain of l >= 2 steps with s >= 2 checkpoints, the one at its start included
/// (Griewank, Walther: Algorithm 799, ACM TOMS 26, 2000): the number of steps before it.
pub(crate) fn split(l: usize, s: usize) -> usize {
    let mut r = 1;
    while beta(s, r) < l {
        r += 1;
    }
    let shortest_left = if r >= 2 { beta(s, r - 2) } else { 1 };
    let right = beta(s - 1, r).min(l - shortest_left);
    l - right.min(l - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps advanced to reverse l steps with s checkpoints.
    fn cost(l: usize, s: usize) -> usize {
        match (l, s) {
            (0 | 1, _) => 0,
            (l, 1) => l * (l - 1) / 2,
            (l, s) => {
                let m = split(l, s);
                assert!(m >= 1 && m < l);
                m + cost(l - m, s - 1) + cost(m, s)
            }
        }
    }

    #[test]
    fn splits_are_optimal() {
        // t(l, s) = r l - beta(s + 1, r - 1) with beta(s, r - 1) < l <= beta(s, r).
        for s in 1..=6 {
            for l in 2..=120 {
                let r = (1..).find(|&r| beta(s, r) >= l).unwrap();
                assert_eq!(cost(l, s), r * l - beta(s + 1, r - 1), "l {l} s {s}");
            }
        }
    }
}
