//! What the adjoints of all methods share: the order in which steps are computed again and transposed, and the checks before.

use super::tape::{Tape, split};
use super::transpose::Bars;
use crate::error::check_len;
use crate::linalg::Scalar;
use crate::ode::OdeError;
use crate::ode::sinks::check_save_points;

/// Steps that can be computed again from their start and transposed.
pub(crate) trait Steps<T: Scalar> {
    /// The state from which the next step is computed.
    fn state(&mut self) -> &mut Vec<T>;
    /// `state` from the start of step a to the start of step b > a.
    fn advance(&mut self, tape: &Tape<T>, a: usize, b: usize);
    /// Transposes step j, whose start is in `state` and stays there.
    fn reverse(&mut self, tape: &mut Tape<T>, j: usize);
}

/// Transposes all steps of the tape, the last one first. Under the policies that drop states the tape is used up.
pub(crate) fn sweep<T: Scalar>(tape: &mut Tape<T>, steps: &mut impl Steps<T>) {
    if tape.keeps_states() {
        for j in (0..tape.len()).rev() {
            let slot = tape.held[j].1;
            std::mem::swap(steps.state(), &mut tape.slots[slot]);
            steps.reverse(tape, j);
            std::mem::swap(steps.state(), &mut tape.slots[slot]);
        }
        return;
    }
    // Steps from the last state held to `end` come next; `added` of the states held are of the sweep's own.
    let (mut end, mut added) = (tape.len(), 0);
    while let Some(&(a, slot)) = tape.held.last() {
        let spare = tape.spare(added);
        if end - a > 1 && spare > 0 {
            let m = a + split(end - a, spare + 1);
            steps.state().copy_from_slice(&tape.slots[slot]);
            steps.advance(tape, a, m);
            let middle = tape.take_slot();
            tape.slots[middle].copy_from_slice(steps.state());
            tape.held.push((m, middle));
            added += 1;
            continue;
        }
        for j in (a..end).rev() {
            steps.state().copy_from_slice(&tape.slots[slot]);
            if j > a {
                steps.advance(tape, a, j);
            }
            steps.reverse(tape, j);
        }
        tape.held.pop();
        tape.free.push(slot);
        (end, added) = (a, added.saturating_sub(1));
    }
    tape.clear();
}

/// Save points inside step j: (theta, index). One at the time of an event that ended a step belongs to that step or, where states are
/// saved after events, to none if the event changed the state.
pub(crate) fn find_saves<T: Scalar>(tape: &Tape<T>, times: &[T], j: usize, saves: &mut Vec<(T, usize)>) {
    let ((t, h), end) = (tape.step(j), tape.t_next[j]);
    saves.clear();
    let forward = h > T::ZERO;
    // Behind a stop the step begins a little after the end of the one before.
    let from = if j == 0 { t } else { tape.t_next[j - 1] };
    let mut first = times.partition_point(|&x| if forward { x <= from } else { x >= from });
    while j > 0 && first < times.len() && tape.is_event_time(times[first], j - 1) {
        first += 1;
    }
    let skipped = tape.after_events && tape.event(j).is_some_and(|e| e.changed);
    for (i, &x) in times.iter().enumerate().skip(first) {
        let at_event = tape.is_event_time(x, j);
        if at_event && skipped {
            continue;
        }
        if !at_event && ((forward && x > end) || (!forward && x < end)) {
            break;
        }
        saves.push((if at_event || x == end { tape.end_of(j) } else { (x - t) / h }, i));
    }
}

/// ADDS the bars of the states that were saved after the event that ended step j.
pub(crate) fn add_after_event<T: Scalar>(tape: &Tape<T>, bars: &Bars<'_, T>, j: usize, lambda: &mut [T]) {
    if !tape.after_events || !tape.event(j).is_some_and(|e| e.changed) {
        return;
    }
    for (bar, t) in bars.saved.chunks_exact(lambda.len()).zip(bars.times) {
        if tape.is_event_time(*t, j) {
            lambda.iter_mut().zip(bar).for_each(|(y, b)| *y += *b);
        }
    }
}

/// What must hold before a reverse sweep of states of length n, besides [`Tape::check`].
pub(crate) fn check_reverse<T: Scalar>(
    tape: &Tape<T>,
    (n, n_params): (usize, usize),
    p: &[T],
    bars: &Bars<'_, T>,
    y0_bar: &[T],
    p_bar: &[T],
) -> Result<(), OdeError> {
    check_len("the parameter vector", p.len(), n_params)?;
    tape.check_params(p)?;
    check_len("p_bar", p_bar.len(), p.len())?;
    check_len("y0_bar", y0_bar.len(), n)?;
    let steps = tape.len();
    for (what, len, want) in [
        ("the bar of y(t1)", bars.y1.len(), n),
        ("the bar of the error estimates", bars.error.len(), steps),
        ("the bar of the stiffness estimates", bars.stiffness.len(), steps),
    ] {
        if len != 0 {
            check_len(what, len, want)?;
        }
    }
    check_len("the bar of the saved states", bars.saved.len(), n * bars.times.len())?;
    let (t0, t1) = tape.span();
    check_save_points(bars.times, t0, t1)
}

/// What must hold before the steps are run again from y0, besides [`Tape::check`].
pub(crate) fn check_replay<T: Scalar>(
    tape: &Tape<T>,
    (n, n_params): (usize, usize),
    p: &[T],
    y0: &[T],
    times: &[T],
) -> Result<(), OdeError> {
    check_len("the start", y0.len(), n)?;
    check_len("the parameter vector", p.len(), n_params)?;
    if tape.clips() {
        let what = "a component that may not be negative was cut off at zero in the forward pass: its steps cannot be run again from elsewhere, `reverse` has their derivatives";
        return Err(OdeError::Mismatch { what: what.to_string() });
    }
    let (t0, t1) = tape.span();
    check_save_points(times, t0, t1)
}

/// The bar of y1 before the last step.
pub(crate) fn end_bar<T: Scalar>(bars: &Bars<'_, T>, lambda: &mut [T]) {
    lambda.fill(T::ZERO);
    if !bars.y1.is_empty() {
        lambda.copy_from_slice(bars.y1);
    }
}

/// `y0_bar` <- the bar of y0 after the first step, and those of save points at the start t0.
pub(crate) fn start_bar<T: Scalar>(bars: &Bars<'_, T>, t0: T, lambda: &[T], y0_bar: &mut [T]) {
    y0_bar.copy_from_slice(lambda);
    for (bar, _) in bars.saved.chunks_exact(lambda.len()).zip(bars.times).filter(|(_, t)| **t == t0) {
        y0_bar.iter_mut().zip(bar).for_each(|(y, b)| *y += *b);
    }
}

/// Derivatives of a terminal event g(t, y, p) = 0 that ended the forward pass at t_e, and of the loss with respect to t_e.
#[derive(Debug, Clone, Copy)]
pub struct EventBars<'a, T> {
    /// dg/dt at the event.
    pub g_t: T,
    /// dg/dy there, dim x batch.
    pub g_y: &'a [T],
    /// dg/dp there; empty: zeros.
    pub g_p: &'a [T],
    /// dL/dt_e at fixed y(t_e).
    pub t: T,
}

impl<T: Scalar> EventBars<'_, T> {
    pub(crate) fn check(&self, n: usize, n_params: usize) -> Result<(), OdeError> {
        check_len("the event's derivative by y", self.g_y.len(), n)?;
        let want = if self.g_p.is_empty() { 0 } else { n_params };
        check_len("the event's derivative by p", self.g_p.len(), want)
    }
}

/// A terminal event during one sweep.
pub(crate) struct AtEvent<'a, T> {
    event: &'a EventBars<'a, T>,
    rate: Vec<T>,
    bar: Vec<T>,
    has_time: bool,
}

impl<'a, T: Scalar> AtEvent<'a, T> {
    pub fn new(event: &'a EventBars<'a, T>, n: usize) -> Self {
        Self { event, rate: vec![T::ZERO; n], bar: vec![T::ZERO; n], has_time: true }
    }
    /// Where dy/dt at t_e goes before [`fix_time`](Self::fix_time).
    pub fn rate(&mut self) -> &mut [T] {
        &mut self.rate
    }
    /// Takes the bar of y(t_e) out of `lambda` and returns that of the state at fixed time. See [`crate::adjoint`].
    pub fn fix_time(&mut self, lambda: &mut [T], p_bar: &mut [T]) -> &[T] {
        let Self { event, rate: v, bar, has_time } = self;
        bar.copy_from_slice(lambda);
        lambda.fill(T::ZERO);
        let dot = |a: &[T], b: &[T]| a.iter().zip(b).fold(T::ZERO, |s, (a, b)| s + *a * *b);
        let along = event.g_t + dot(event.g_y, v);
        let a = (dot(bar, v) + event.t) / along;
        bar.iter_mut().zip(event.g_y).for_each(|(b, g)| *b -= a * *g);
        p_bar.iter_mut().zip(event.g_p).for_each(|(b, g)| *b -= a * *g);
        *has_time = along != T::ZERO && along.is_finite();
        bar
    }
    /// After the sweep: an error if t_e has no derivative.
    pub fn finish(&self) -> Result<(), OdeError> {
        let what = "the event's function does not change along the solution at the event: its time has no derivative";
        if self.has_time { Ok(()) } else { Err(OdeError::Mismatch { what: what.to_string() }) }
    }
}

/// Bars on E_j and S_j.
pub(crate) fn estimate_bars<T: Scalar>(bars: &Bars<'_, T>, j: usize) -> (T, T) {
    let pick = |x: &[T]| x.get(j).copied().unwrap_or(T::ZERO);
    (pick(bars.error), pick(bars.stiffness))
}

#[cfg(test)]
mod tests {
    use super::super::tape::Memory;
    use super::*;

    /// Steps that only count: the state is the number of the step.
    struct Counted {
        at: Vec<f64>,
        advanced: usize,
        reversed: Vec<usize>,
    }

    impl Steps<f64> for Counted {
        fn state(&mut self) -> &mut Vec<f64> {
            &mut self.at
        }
        fn advance(&mut self, _: &Tape<f64>, a: usize, b: usize) {
            assert_eq!(self.at, [a as f64]);
            self.at[0] = b as f64;
            self.advanced += b - a;
        }
        fn reverse(&mut self, _: &mut Tape<f64>, j: usize) {
            assert_eq!(self.at, [j as f64]);
            self.reversed.push(j);
        }
    }

    /// Steps advanced to reverse l steps with c checkpoints from the start alone (Griewank and Walther).
    fn cost(l: usize, c: usize) -> usize {
        match (l, c) {
            (0 | 1, _) => 0,
            (l, 1) => l * (l - 1) / 2,
            (l, c) => split(l, c) + cost(l - split(l, c), c - 1) + cost(split(l, c), c),
        }
    }

    #[test]
    fn each_step_is_reversed_once_at_the_cost_of_the_binomial_schedule() {
        for l in [1, 2, 3, 10, 57, 300] {
            for memory in
                [1, 2, 3, 8, 400].map(Memory::Checkpoints).into_iter().chain([1, 5, 400].map(Memory::Every))
            {
                let mut tape = Tape::new(memory).unwrap();
                tape.begin(1);
                (0..l).for_each(|j| tape.record(j as f64, 1.0, j as f64 + 1.0, &[j as f64]));
                let mut want = 0;
                let (held, mut end) = (tape.held.clone(), l);
                for (i, &(a, _)) in held.iter().enumerate().rev() {
                    let own = match memory {
                        Memory::Checkpoints(c) => c - i,
                        Memory::Every(k) => k,
                        _ => 1,
                    };
                    want += cost(end - a, own);
                    end = a;
                }
                let mut steps = Counted { at: vec![0.0], advanced: 0, reversed: vec![] };
                sweep(&mut tape, &mut steps);
                assert_eq!(steps.reversed, (0..l).rev().collect::<Vec<_>>());
                assert_eq!(steps.advanced, want, "{memory:?} {l}");
                assert!(tape.is_empty());
            }
        }
    }
}
