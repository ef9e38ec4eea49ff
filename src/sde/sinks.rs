//! What looks at the steps of a stochastic integration.

use std::ops::ControlFlow;

use super::srk::{SdeStages, Srk};
use crate::linalg::Scalar;
use crate::ode::{EveryStep, OdeError, SaveAt, Start};

const GO: ControlFlow<()> = ControlFlow::Continue(());

/// An accepted step, lent to sinks.
pub struct SdeStep<'a, T: Scalar> {
    pub(crate) srk: &'a Srk<T>,
    pub(crate) st: &'a mut SdeStages<T>,
    pub(crate) t: T,
    pub(crate) h: T,
    pub(crate) t_next: T,
    pub(crate) ticks: (u64, u64),
    pub(crate) err: T,
    pub(crate) index: u64,
    pub(crate) stiffness: Option<T>,
}

impl<T: Scalar> SdeStep<'_, T> {
    /// Number of this step among the accepted ones, from 0.
    pub fn index(&self) -> u64 {
        self.index
    }
    /// Its start.
    pub fn t0(&self) -> T {
        self.t
    }
    /// Its end.
    pub fn t1(&self) -> T {
        self.t_next
    }
    /// Its length h.
    pub fn h(&self) -> T {
        self.h
    }
    /// State at its start.
    pub fn y0(&self) -> &[T] {
        &self.st.y0
    }
    /// State at its end.
    pub fn y1(&self) -> &[T] {
        &self.st.y1
    }
    /// The Brownian increments over it, width x batch.
    pub fn increments(&self) -> &[T] {
        &self.st.x[0]
    }
    /// Scaled error estimate E, at most one unless the step is fixed; zero for methods that have none.
    pub fn error(&self) -> T {
        self.err
    }
    /// Estimate S of the drift's dominant eigenvalue, zero for methods that have none; computed when first asked for.
    pub fn stiffness(&mut self) -> T {
        match self.stiffness {
            Some(s) => s,
            None => {
                let s = self.srk.stiffness(self.h, self.st);
                self.stiffness = Some(s);
                s
            }
        }
    }
}

/// Something that looks at every accepted step. There is no interpolation: a solution driven by noise has no smooth interpolant of the
/// method's order, so a sink that wants a state at a given time makes a step end there. Sinks compose as tuples.
pub trait SdeSink<T: Scalar> {
    /// Before the first step.
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        let _ = start;
        Ok(())
    }
    /// The first time after t at which a step must end.
    fn next_stop(&self, t: T) -> Option<T> {
        let _ = t;
        None
    }
    /// After each accepted step. `Break` ends the integration.
    fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()>;
    /// After all sinks have seen the step: its stages may be taken (swapped for others of the same lengths).
    #[doc(hidden)]
    fn retain(&mut self, stages: &mut SdeBuffers<'_, T>) {
        let _ = stages;
    }
    /// Whether what `eval_keep` stores is wanted.
    #[doc(hidden)]
    fn wants_keep(&self) -> bool {
        false
    }
}

/// The stages of the step just accepted.
#[doc(hidden)]
#[derive(Debug)]
pub struct SdeBuffers<'a, T>(pub(crate) &'a mut SdeStages<T>);

impl<T: Scalar> SdeSink<T> for () {
    fn accepted(&mut self, _: &mut SdeStep<'_, T>) -> ControlFlow<()> {
        GO
    }
}

impl<T: Scalar, S: SdeSink<T> + ?Sized> SdeSink<T> for &mut S {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        (**self).start(start)
    }
    fn next_stop(&self, t: T) -> Option<T> {
        (**self).next_stop(t)
    }
    fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()> {
        (**self).accepted(step)
    }
    fn retain(&mut self, stages: &mut SdeBuffers<'_, T>) {
        (**self).retain(stages);
    }
    fn wants_keep(&self) -> bool {
        (**self).wants_keep()
    }
}

/// A sink that may be absent.
impl<T: Scalar, S: SdeSink<T>> SdeSink<T> for Option<S> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.as_mut().map_or(Ok(()), |s| s.start(start))
    }
    fn next_stop(&self, t: T) -> Option<T> {
        self.as_ref().and_then(|s| s.next_stop(t))
    }
    fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()> {
        self.as_mut().map_or(GO, |s| s.accepted(step))
    }
    fn retain(&mut self, stages: &mut SdeBuffers<'_, T>) {
        if let Some(s) = self {
            s.retain(stages);
        }
    }
    fn wants_keep(&self) -> bool {
        self.as_ref().is_some_and(|s| s.wants_keep())
    }
}

macro_rules! tuple_sink {
    ($($name:ident . $i:tt),+) => {
        impl<T: Scalar, $($name: SdeSink<T>),+> SdeSink<T> for ($($name,)+) {
            fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
                $(self.$i.start(start)?;)+
                Ok(())
            }
            fn next_stop(&self, t: T) -> Option<T> {
                let mut first: Option<T> = None;
                $(if let Some(s) = self.$i.next_stop(t) {
                    first = Some(first.map_or(s, |f| if s < f { s } else { f }));
                })+
                first
            }
            fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()> {
                let mut flow = GO;
                $(if self.$i.accepted(step).is_break() { flow = ControlFlow::Break(()); })+
                flow
            }
            fn retain(&mut self, stages: &mut SdeBuffers<'_, T>) {
                $(self.$i.retain(stages);)+
            }
            fn wants_keep(&self) -> bool {
                false $(|| self.$i.wants_keep())+
            }
        }
    };
}
tuple_sink!(A.0);
tuple_sink!(A.0, B.1);
tuple_sink!(A.0, B.1, C.2);
tuple_sink!(A.0, B.1, C.2, D.3);

/// A sink from a closure.
#[derive(Debug, Clone)]
pub struct FnSdeSink<F>(pub F);

impl<T: Scalar, F: FnMut(&mut SdeStep<'_, T>) -> ControlFlow<()>> SdeSink<T> for FnSdeSink<F> {
    fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()> {
        (self.0)(step)
    }
}

/// States at given times: steps end there.
impl<T: Scalar> SdeSink<T> for SaveAt<T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.begin(start)
    }
    fn next_stop(&self, t: T) -> Option<T> {
        self.next_time().filter(|&s| s > t)
    }
    fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()> {
        self.push_reached(step.t_next, &step.st.y1);
        GO
    }
}

/// Time and state at the start and after every accepted step.
impl<T: Scalar> SdeSink<T> for EveryStep<T> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        self.begin(start);
        Ok(())
    }
    fn accepted(&mut self, step: &mut SdeStep<'_, T>) -> ControlFlow<()> {
        self.push(step.t_next, &step.st.y1);
        GO
    }
}
