//! The transpose of a symplectic step.
//!
//! With lambda = (q_bar; v_bar) of (q_s; v_s), and from the last kick to the first,
//!
//! ```text
//! q_bar += h b_i (dF/dq)'_i v_bar,   p_bar += h b_i (dF/dp)'_i v_bar                  (kick i = s..0)
//! v_bar += h a_i (dV/dv)'_(i-1) q_bar,   p_bar += h a_i (dV/dp)'_(i-1) q_bar          (drift i = s..1)
//! ```
//!
//! The force at the end of a step and at the start of the next one is the same evaluation, and is transposed twice: s + 1 and s products a step. A state saved inside the step goes through
//! the cubic of the two ends and their rates, whose bars are products with the whole field.

use std::mem::swap;

use super::transpose::{Backward, Redo, Reverse, StepBars, Stored, Transpose};
use crate::diff::{At, BarsMut, Offers, VjpRoom, need};
use crate::error::check_len;
use crate::linalg::Scalar;
use crate::linalg::kernels::add_scaled;
use crate::ode::stepper::Measure;
use crate::ode::symplectic::{Split, join, split};
use crate::ode::{OdeCounts, OdeError, SeparableMap, SymplecticIntegrator};

/// A method and the bars of one step.
#[derive(Debug, Clone)]
pub struct SplitTransposed<T> {
    split: Split<T>,
    force: Vec<T>,
    /// Bar of y1 on entry, of y0 on return.
    lambda: Vec<T>,
    /// Halves of it.
    q_bar: Vec<T>,
    v_bar: Vec<T>,
    /// Scaled bars.
    w: Vec<T>,
    /// Bars of y0 and of the rates at both ends, from states saved inside.
    y0_bar: Vec<T>,
    slope_bars: Vec<T>,
    room: VjpRoom<T>,
    counts: OdeCounts,
}

impl<T: Scalar> Transpose<T> for SymplecticIntegrator<T> {
    type Back = SplitTransposed<T>;
    fn back(&self, dim: usize, batch: usize) -> SplitTransposed<T> {
        let split = Split::new(self.method(), dim, batch);
        let (n, half, zeros) = (dim * batch, split.half(), |len: usize| vec![T::ZERO; len]);
        SplitTransposed {
            split,
            force: zeros(half),
            lambda: zeros(n),
            q_bar: zeros(half),
            v_bar: zeros(half),
            w: zeros(half),
            y0_bar: zeros(n),
            slope_bars: zeros(2 * n),
            room: VjpRoom::default(),
            counts: OdeCounts::default(),
        }
    }
}

impl<T: Scalar> Backward<T> for SplitTransposed<T> {
    const TAKES_END: bool = false;
    fn start(&mut self) -> &mut Vec<T> {
        &mut self.split.y0
    }
    fn end(&self) -> &[T] {
        &self.split.y1
    }
    fn go_on(&mut self) {
        swap(&mut self.split.y0, &mut self.split.y1);
    }
    fn lambda(&mut self) -> &mut Vec<T> {
        &mut self.lambda
    }
    fn counts(&mut self) -> &mut OdeCounts {
        &mut self.counts
    }
    fn exchange(&mut self, stored: &mut Stored<T>, _: &mut Vec<T>, _: bool) {
        swap(&mut self.split.stages, &mut stored.k);
    }
    /// There is no estimate.
    fn estimates(&mut self, _: Measure<'_, T>, _: T) -> (T, T) {
        (T::ZERO, T::ZERO)
    }
}

impl<T: Scalar> SplitTransposed<T> {
    /// Bars of y1, y0 and the two rates from states inside the step: y = (1 - theta) y0 + theta y1 + theta (1 - theta) (z_0 + z_1 theta). Whether there are any.
    fn reverse_saves(&mut self, h: T, bars: &StepBars<'_, T>) -> bool {
        let n = self.lambda.len();
        let two = T::ONE + T::ONE;
        let mut inside = false;
        for (theta, bar) in bars.states(n) {
            if theta == T::ONE {
                add_scaled(&mut self.lambda, T::ONE, bar);
                continue;
            }
            if !inside {
                self.slope_bars.fill(T::ZERO);
                inside = true;
            }
            let bubble = theta * (T::ONE - theta);
            // z_0 = h f0 - d, z_1 = 2 d - h (f0 + f1), d = y1 - y0.
            let along = bubble * (two * theta - T::ONE);
            add_scaled(&mut self.lambda, theta + along, bar);
            add_scaled(&mut self.y0_bar, T::ONE - theta - along, bar);
            add_scaled(&mut self.slope_bars[..n], bubble * h * (T::ONE - theta), bar);
            add_scaled(&mut self.slope_bars[n..], -bubble * h * theta, bar);
        }
        inside
    }
}

impl<T: Scalar, S: SeparableMap<T>> Reverse<T, S> for SplitTransposed<T> {
    fn check(&self, s: &S) -> Result<usize, OdeError> {
        check_len("the field's state", s.inputs(), 2 * self.split.m())?;
        need(s, Offers::VJP, "the reverse sweep")?;
        Ok(s.n_params())
    }
    fn prepare(&mut self, _: &S) -> Result<(), OdeError> {
        Ok(())
    }
    fn redo(&mut self, s: &mut S, (t, h): (T, T), p: &[T], _: Redo) {
        self.split.force_at_start(s, t, p, &mut self.force);
        self.split.step(s, (t, h), p, &mut self.force);
        self.counts.evals += 1 + self.split.tab.stages() as u64;
    }
    fn restore(&mut self, s: &mut S, step: (T, T), p: &[T], _: bool) {
        self.split.restore(s, step, p);
        self.counts.evals += 2;
    }
    fn interpolate(&mut self, s: &mut S, step: (T, T), p: &[T], theta: T, out: &mut [T]) {
        self.counts.evals += self.split.prepare_dense(s, step, p);
        self.split.interpolate(theta, step.1, out);
    }
    fn rate(&mut self, s: &mut S, step: (T, T), p: &[T], theta: T, out: &mut [T]) {
        self.counts.evals += self.split.prepare_dense(s, step, p);
        self.split.rate(theta, step.1, out);
    }
    fn slope(&mut self, s: &mut S, t: T, y: &[T], p: &[T], out: &mut [T]) {
        s.value(At::new(t, y, p), out);
        self.counts.evals += 1;
    }
    fn reverse(
        &mut self,
        s: &mut S,
        (t, h): (T, T),
        p: &[T],
        _: Measure<'_, T>,
        bars: &StepBars<'_, T>,
        p_bar: &mut [T],
    ) {
        let (n, stages, m) = (self.lambda.len(), self.split.tab.stages(), self.split.m());
        self.y0_bar.fill(T::ZERO);
        if self.reverse_saves(h, bars) {
            let (first, second) = self.slope_bars.split_at(n);
            let Self { room, y0_bar, lambda, .. } = self;
            room.add(s, At::new(t, &self.split.y0, p), first, BarsMut::new(y0_bar, p_bar));
            room.add(s, At::new(t + h, &self.split.y1, p), second, BarsMut::new(lambda, p_bar));
            self.counts.pullbacks += 2;
        }
        split(&self.lambda, m, &mut self.q_bar, &mut self.v_bar);
        for i in (0..=stages).rev() {
            scaled(&mut self.w, h * self.split.kicks[i], &self.v_bar);
            let at = At::new(t + self.split.force_times[i] * h, self.split.q(i), p);
            s.force_vjp(at, &self.w, BarsMut::new(&mut self.q_bar, p_bar));
            if i > 0 {
                scaled(&mut self.w, h * self.split.drifts[i - 1], &self.q_bar);
                let at = At::new(t + self.split.velocity_times[i - 1] * h, self.split.v(i - 1), p);
                s.velocity_vjp(at, &self.w, BarsMut::new(&mut self.v_bar, p_bar));
            }
        }
        self.counts.pullbacks += stages as u64 + 1;
        join(&self.q_bar, &self.v_bar, m, &mut self.lambda);
        add_scaled(&mut self.lambda, T::ONE, &self.y0_bar);
    }
}

/// to <- c x.
fn scaled<T: Scalar>(to: &mut [T], c: T, x: &[T]) {
    to.iter_mut().zip(x).for_each(|(t, x)| *t = c * *x);
}
