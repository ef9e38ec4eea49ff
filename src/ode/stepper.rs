//! What a family of methods is to the driver: a new one is a file that implements these two traits.

use super::options::Options;
use super::report::OdeCounts;
use super::step::{StepBody, StepBuffers};
use crate::diff::At;
use crate::error::OdeError;
use crate::linalg::kernels::Scale;
use crate::linalg::{Norm, Scalar};

/// What the driver knows of a method.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The error estimate behaves like h^control_order.
    pub control_order: f64,
    /// Size of the stability interval on the negative axis; infinite: no stiffness is looked for.
    pub stability: f64,
}

/// How the error of an attempt is measured.
#[derive(Debug, Clone, Copy)]
pub struct Measure<'a, T> {
    /// Of the components.
    pub norm: Norm,
    /// atol + rtol |y|.
    pub scale: &'a Scale<T>,
}

/// An attempted step: E as it is told, E^2 as it is judged. Not finite where a value is not, or a matrix is singular.
#[derive(Debug, Clone, Copy)]
pub struct Trial<T> {
    /// E.
    pub error: T,
    /// E^2.
    pub square: f64,
}

/// A linear invariant w'y that was lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lost {
    /// Where w is largest.
    pub component: usize,
    /// |w'(y1 - y0)|, w scaled to a largest entry of one.
    pub change: f64,
    /// max |w_i| (atol_i + rtol_i |y1_i|).
    pub tolerance: f64,
}

/// What an integration is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a, T> {
    /// Components of a state.
    pub dim: usize,
    /// Number of states that share their steps.
    pub batch: usize,
    /// From where to where.
    pub span: (T, T),
    /// Start state, dim x batch.
    pub y0: &'a [T],
    /// Parameters.
    pub p: &'a [T],
}

/// Where the next step is: the way to the next time at which a step must end.
#[derive(Debug, Clone, Copy)]
pub struct Stretch<T> {
    /// Where the step begins in name, and where evaluations begin: a little behind a declared stop.
    pub from: T,
    /// See above.
    pub t: T,
    /// Up to where evaluations may go: a little before a declared stop, else `end`.
    pub goal: T,
    /// The time at which a step must end.
    pub end: T,
    /// Whether that is a declared stop or the end of the span, not where a sink wants a state.
    pub declared: bool,
}

/// A step with its end moved to where a method can end it.
#[derive(Debug, Clone, Copy)]
pub struct Aligned<T> {
    /// Its length.
    pub h: T,
    /// Its end.
    pub t_next: T,
    /// Whether that is the stretch's.
    pub last: bool,
}

/// What does not depend on the system: the state that is carried from step to step.
pub trait Carrier<T: Scalar> {
    /// Whether a step has an interpolant of the method's order. Without one, steps end where sinks want a state, and rejected attempts say nothing of jumps.
    const SMOOTH: bool = true;
    /// Orders and stability.
    fn facts(&self) -> Facts;
    /// The number of the trajectory whose run follows, for methods with noise.
    fn set_trajectory(&mut self, number: u32) {
        let _ = number;
    }
    /// The state from which the next attempt starts.
    fn y(&self) -> &[T];
    /// dy/dt at the start of the step just attempted.
    fn slope(&self) -> &[T];
    /// What is carried from step to step besides the state; empty for one-step methods without it.
    fn carried(&self) -> Vec<u64> {
        vec![]
    }
    /// Puts it back, after [`start`](Self::start) and [`prepare`](Stepper::prepare).
    fn carry(&mut self, carried: &[u64]) -> Result<(), OdeError> {
        let _ = carried;
        Ok(())
    }
    /// Moves the end of the next step, planned with length h, to one that the method can make, if it is not [`SMOOTH`](Self::SMOOTH); `last`: it ends the stretch. None: there is none.
    fn align(&mut self, stretch: Stretch<T>, h: T, last: bool) -> Option<Aligned<T>> {
        let t_next = if last { stretch.end } else { stretch.t + h };
        Some(Aligned { h, t_next, last })
    }
    /// The end of the step just attempted.
    fn end_mut(&mut self) -> &mut [T];
    /// Before the first step.
    fn start(&mut self, y0: &[T]);
    /// Goes to the end of the step just made, or to the state that an event left there, which is swapped in.
    fn commit(&mut self, moved: Option<&mut Vec<T>>);
    /// Lends the buffers of the step, which sinks may swap for others, after [`commit`](Self::commit).
    fn lend(&mut self, take: impl FnOnce(&mut StepBuffers<'_, T>));
}

/// Steps on systems of kind S (a [`Map`](crate::diff::Map), an [`Sde`](crate::sde::Sde)). A step is a function of (t, h, y0) alone, and of what [`refresh`](Self::refresh) makes there.
pub trait Stepper<T: Scalar, S: ?Sized>: Carrier<T> {
    /// Components of a state and number of parameters.
    fn sizes(s: &S) -> (usize, usize);
    /// What the system must be and offer, and what may be asked of it.
    fn check(&self, s: &S, ask: &Ask<'_, T>) -> Result<(), OdeError>;
    /// Room for what the system needs: what it keeps for its products, if wanted, and matrices.
    fn prepare(&mut self, s: &S, span: (T, T), keep: bool) -> Result<(), OdeError> {
        let _ = (s, span, keep);
        Ok(())
    }
    /// The derivative at the start, and the first step (negative backwards); none where it is not finite.
    fn begin(
        &mut self,
        s: &mut S,
        span: (T, T),
        p: &[T],
        by: (&Options, &Scale<T>),
        counts: &mut OdeCounts,
    ) -> Option<T>;
    /// Whether the system is finite at the start, where [`begin`](Self::begin) did not look and the first step failed.
    fn starts(&mut self, s: &mut S, t: T, p: &[T], counts: &mut OdeCounts) -> bool {
        let _ = (s, t, p, counts);
        true
    }
    /// What is carried besides the state, anew: the state was moved by an event.
    fn refresh(&mut self, s: &mut S, t: T, p: &[T], counts: &mut OdeCounts) {
        let _ = (s, t, p, counts);
    }
    /// The step from (t, y) of length h.
    fn attempt(
        &mut self,
        s: &mut S,
        th: (T, T),
        p: &[T],
        by: Measure<'_, T>,
        counts: &mut OdeCounts,
    ) -> Trial<T>;
    /// out <- dy/dt at (t, y).
    fn derivative(&self, s: &mut S, at: At<'_, T>, out: &mut [T], counts: &mut OdeCounts);
    /// What only an accepted step needs; false if it is not finite.
    fn finish(&mut self, s: &mut S, th: (T, T), p: &[T], counts: &mut OdeCounts) -> bool {
        let _ = (s, th, p, counts);
        true
    }
    /// The step just made, as sinks see it.
    fn body<'a>(&'a mut self, s: &'a mut S, p: &'a [T]) -> impl StepBody<T> + 'a;
    /// A linear invariant of the field that a finished run, which stands at t, has lost by more than its tolerance.
    fn lost(&mut self, s: &mut S, t: T, p: &[T], scale: &Scale<T>, counts: &mut OdeCounts) -> Option<Lost> {
        let _ = (s, t, p, scale, counts);
        None
    }
    /// The dominant eigenvalue where the integration failed, if it is known.
    fn probe(&mut self, s: &mut S, th: (T, T), p: &[T], counts: &mut OdeCounts) -> Option<T>;
}
