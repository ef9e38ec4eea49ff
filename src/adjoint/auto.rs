//! The steps of the automatic choice backwards: each by the method that made it.

use super::reverse::Transposed;
use super::rosenbrock::RosTransposed;
use super::transpose::{Backward, Recorded, Redo, Reverse, StepBars, Stored, Transpose};
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::ode::stepper::Measure;
use crate::ode::{Auto, OdeCounts, OdeError};

/// Explicit and Rosenbrock steps, of which one makes the next step and holds the state.
#[derive(Debug, Clone)]
pub struct AutoTransposed<T: Scalar> {
    explicit: Transposed<T>,
    stiff: RosTransposed<T>,
    is_stiff: bool,
}

/// Calls the one that is chosen.
macro_rules! chosen {
    ($self:ident, $steps:ident => $call:expr) => {
        if $self.is_stiff {
            let $steps = &mut $self.stiff;
            $call
        } else {
            let $steps = &mut $self.explicit;
            $call
        }
    };
}

impl<T: Scalar> Transpose<T> for Auto<T> {
    type Back = AutoTransposed<T>;
    fn back(&self, dim: usize, batch: usize) -> AutoTransposed<T> {
        let (explicit, stiff) = self.parts();
        AutoTransposed { explicit: explicit.back(dim, batch), stiff: stiff.back(dim, batch), is_stiff: false }
    }
}

impl<T: Scalar> Backward<T> for AutoTransposed<T> {
    const TAKES_END: bool = true;
    /// State, bar and counts go along.
    fn select(&mut self, step: Recorded) {
        if (step.method != 0) == self.is_stiff {
            return;
        }
        std::mem::swap(self.explicit.start(), self.stiff.start());
        std::mem::swap(self.explicit.lambda(), self.stiff.lambda());
        std::mem::swap(self.explicit.counts(), self.stiff.counts());
        self.is_stiff = step.method != 0;
    }
    fn start(&mut self) -> &mut Vec<T> {
        chosen!(self, steps => steps.start())
    }
    fn end(&self) -> &[T] {
        if self.is_stiff { self.stiff.end() } else { self.explicit.end() }
    }
    fn go_on(&mut self) {
        chosen!(self, steps => steps.go_on());
    }
    fn lambda(&mut self) -> &mut Vec<T> {
        chosen!(self, steps => steps.lambda())
    }
    fn counts(&mut self) -> &mut OdeCounts {
        chosen!(self, steps => steps.counts())
    }
    fn exchange(&mut self, stored: &mut Stored<T>, end: &mut Vec<T>, stages: bool) {
        chosen!(self, steps => steps.exchange(stored, end, stages));
    }
    fn estimates(&mut self, by: Measure<'_, T>, h: T) -> (T, T) {
        chosen!(self, steps => steps.estimates(by, h))
    }
}

impl<T: Scalar, F: Map<T>> Reverse<T, F> for AutoTransposed<T> {
    fn check(&self, f: &F) -> Result<usize, OdeError> {
        self.explicit.check(f)?;
        self.stiff.check(f)
    }
    fn check_again(&self, f: &F) -> Result<usize, OdeError> {
        self.explicit.check_again(f)?;
        self.stiff.check_again(f)
    }
    fn prepare(&mut self, f: &F) -> Result<(), OdeError> {
        self.explicit.prepare(f)?;
        self.stiff.prepare(f)
    }
    fn redo(&mut self, f: &mut F, step: (T, T), p: &[T], what: Redo) {
        chosen!(self, steps => steps.redo(f, step, p, what));
    }
    fn restore(&mut self, f: &mut F, step: (T, T), p: &[T], stiffness: bool) {
        chosen!(self, steps => steps.restore(f, step, p, stiffness));
    }
    fn interpolate(&mut self, f: &mut F, step: (T, T), p: &[T], theta: T, out: &mut [T]) {
        chosen!(self, steps => steps.interpolate(f, step, p, theta, out));
    }
    fn rate(&mut self, f: &mut F, step: (T, T), p: &[T], theta: T, out: &mut [T]) {
        chosen!(self, steps => steps.rate(f, step, p, theta, out));
    }
    fn slope(&mut self, f: &mut F, t: T, y: &[T], p: &[T], out: &mut [T]) {
        chosen!(self, steps => steps.slope(f, t, y, p, out));
    }
    fn reverse(
        &mut self,
        f: &mut F,
        step: (T, T),
        p: &[T],
        by: Measure<'_, T>,
        bars: &StepBars<'_, T>,
        p_bar: &mut [T],
    ) {
        chosen!(self, steps => steps.reverse(f, step, p, by, bars, p_bar));
    }
    fn close(&mut self, f: &mut F, t: T, p: &[T], p_bar: &mut [T]) {
        chosen!(self, steps => steps.close(f, t, p, p_bar));
    }
}
