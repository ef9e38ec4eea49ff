//! What a family of methods is to the adjoint: its integrator, and its steps made again and transposed.

use std::fmt::Debug;

use crate::linalg::Scalar;
use crate::ode::stepper::Measure;
use crate::ode::{OdeCounts, OdeError, StepBuffers, Storage};

/// An integrator whose steps have a transpose.
pub trait Transpose<T: Scalar>: Storage<T> + Clone + Debug {
    /// Its steps backwards.
    type Back: Backward<T>;
    /// Storage for them, for states of dim x batch.
    fn back(&self, dim: usize, batch: usize) -> Self::Back;
    /// After a forward pass: what is the same for all its steps and neither system nor tape know.
    fn hand_over(&mut self, back: &mut Self::Back) -> Result<(), OdeError> {
        let _ = back;
        Ok(())
    }
    /// Before the next forward pass: storage that was handed over.
    fn take_back(&mut self, back: &mut Self::Back) {
        let _ = back;
    }
}

/// Buffers of one step of the forward pass, as [`StepBuffers`].
#[derive(Debug, Clone, Default)]
pub struct Stored<T> {
    /// What the method calls its stages.
    pub k: Vec<T>,
    /// What the system kept at them.
    pub keep: Vec<T>,
    /// Of stochastic steps.
    pub noise: Option<Box<[Vec<T>; 4]>>,
}

impl<T: Scalar> Stored<T> {
    /// Exchanges all that `stages` asks for; without them the noise alone.
    pub(crate) fn exchange(&mut self, with: &mut StepBuffers<'_, T>, stages: bool) {
        let swap = |a: &mut Vec<T>, b: &mut Vec<T>| {
            a.resize(b.len(), T::ZERO);
            std::mem::swap(a, b);
        };
        if stages {
            swap(&mut self.k, with.k);
            swap(&mut self.keep, with.keep);
        }
        if let Some(with) = &mut with.noise {
            let own = self.noise.get_or_insert_default();
            let first = if stages { 0 } else { 2 };
            own.iter_mut().zip(with).skip(first).for_each(|(a, b)| swap(a, b));
        }
    }
    /// Numbers that there is room for.
    pub(crate) fn capacity(&self) -> usize {
        let noise = self.noise.iter().flat_map(|n| n.iter()).map(Vec::capacity).sum::<usize>();
        self.k.capacity() + self.keep.capacity() + noise
    }
}

/// What the tape says of a step besides its times.
#[derive(Debug, Clone, Copy, Default)]
pub struct Recorded {
    /// The method that made it, where an integration has several.
    pub method: u8,
    /// Where the step begins and ends on a Brownian path; none: where the pass began.
    pub ticks: (Option<u64>, u64),
}

/// What a step is computed again for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redo {
    /// Its end. `fresh`: nothing is taken over from the step before, which is not the one just made.
    Advance {
        /// See above.
        fresh: bool,
    },
    /// Its transpose, which follows.
    Transpose,
}

/// Derivatives of the loss with respect to what the solver returned; empty slices are zeros.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bars<'a, T> {
    /// With respect to y(t1).
    pub y1: &'a [T],
    /// Save points, in the order of integration.
    pub times: &'a [T],
    /// With respect to the states there, one after another.
    pub saved: &'a [T],
    /// With respect to each step's error estimate E_j.
    pub error: &'a [T],
    /// With respect to each step's stiffness estimate S_j.
    pub stiffness: &'a [T],
}

/// Bars on one step.
#[derive(Debug, Clone, Copy)]
pub struct StepBars<'a, T> {
    /// Of E.
    pub error: T,
    /// Of S.
    pub stiffness: T,
    /// In steps along a direction: of the derivative of E.
    pub error_dot: Option<T>,
    /// Save points inside the step: (theta, index of the bar's column).
    pub saves: &'a [(T, usize)],
    /// The bars of all saved states.
    pub save_bars: &'a [T],
    /// In a step that an event ended: its theta and the bar of the state there.
    pub end: Option<(T, &'a [T])>,
}

impl<'a, T: Scalar> StepBars<'a, T> {
    /// (theta, bar of the state there), states of length n.
    pub fn states(&self, n: usize) -> impl Iterator<Item = (T, &'a [T])> + use<'a, T> {
        let bars = self.save_bars;
        self.saves.iter().map(move |&(theta, i)| (theta, &bars[i * n..][..n])).chain(self.end)
    }
}

/// Steps that are made again and transposed, with their storage: what no system enters.
pub trait Backward<T: Scalar>: Clone + Debug {
    /// Whether [`exchange`](Self::exchange) takes the end of a step.
    const TAKES_END: bool;
    /// Whether there is something to exchange where states alone are kept ([`Memory::States`](super::Memory::States)).
    const KEEPS_NOISE: bool = false;
    /// Whether states between the ends of steps have derivatives.
    const SMOOTH: bool = true;
    /// What the tape says of the step that follows.
    fn select(&mut self, step: Recorded) {
        let _ = step;
    }
    /// The state from which the next step is made.
    fn start(&mut self) -> &mut Vec<T>;
    /// The end of the step just made or restored.
    fn end(&self) -> &[T];
    /// The end becomes the start.
    fn go_on(&mut self);
    /// Bar of the end of a step before it is transposed, of its start after.
    fn lambda(&mut self) -> &mut Vec<T>;
    /// Work of this sweep.
    fn counts(&mut self) -> &mut OdeCounts;
    /// Exchanges what is stored of a step, and its end, for the buffers here; once before its transpose and once after. Without `stages`: the noise alone.
    fn exchange(&mut self, stored: &mut Stored<T>, end: &mut Vec<T>, stages: bool);
    /// (E, S) of the step just made, of length h.
    fn estimates(&mut self, by: Measure<'_, T>, h: T) -> (T, T);
    /// Whether E has a derivative along a direction here ([`error_along`](Self::error_along)), and that one a transpose.
    fn error_has_tangent(&self) -> bool {
        false
    }
    /// Of the step just made along one direction, whose states have their derivatives behind them: the derivative of E.
    fn error_along(&mut self, by: Measure<'_, T>, h: T) -> T {
        let _ = (by, h);
        T::ZERO
    }
}

/// [`Backward`] steps on systems of kind S. A step is (t, h).
pub trait Reverse<T: Scalar, S: ?Sized>: Backward<T> {
    /// Number of parameters; an error where the system does not fit, or does not offer what the reverse sweep needs.
    fn check(&self, s: &S) -> Result<usize, OdeError>;
    /// The same for steps that are only made again.
    fn check_again(&self, s: &S) -> Result<usize, OdeError> {
        self.check(s)
    }
    /// Room for what the system needs, before a sweep or a replay; forgets what an earlier one left.
    fn prepare(&mut self, s: &S) -> Result<(), OdeError>;
    /// All of a step again, from its start.
    fn redo(&mut self, s: &mut S, step: (T, T), p: &[T], what: Redo);
    /// After [`exchange`](Backward::exchange): what is not stored; for the bar of S only with `stiffness`.
    fn restore(&mut self, s: &mut S, step: (T, T), p: &[T], stiffness: bool);
    /// The state at theta of the step.
    fn interpolate(&mut self, s: &mut S, step: (T, T), p: &[T], theta: T, out: &mut [T]);
    /// dy/dt of the interpolant at theta.
    fn rate(&mut self, s: &mut S, step: (T, T), p: &[T], theta: T, out: &mut [T]);
    /// dy/dt of the system at (t, y).
    fn slope(&mut self, s: &mut S, t: T, y: &[T], p: &[T], out: &mut [T]);
    /// One step back: lambda from the bar of its end to that of its start; ADDS to `p_bar`.
    fn reverse(
        &mut self,
        s: &mut S,
        step: (T, T),
        p: &[T],
        by: Measure<'_, T>,
        bars: &StepBars<'_, T>,
        p_bar: &mut [T],
    );
    /// What the step just transposed, which begins at t, hands to a step before, where there is none.
    fn close(&mut self, s: &mut S, t: T, p: &[T], p_bar: &mut [T]) {
        let _ = (s, t, p, p_bar);
    }
}
