//! Watching and stopping a solver. The library never prints: it tells an [`Observer`].

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;

use crate::report::Report;

/// What a solver says before its first iteration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Header {
    /// Problem name.
    pub problem: String,
    /// Variables.
    pub n: usize,
    /// Constraints.
    pub m: usize,
    /// Structural nonzeros of the Jacobian, if a pattern is known.
    pub jacobian_nonzeros: Option<usize>,
    /// Structural nonzeros of one triangle of the Hessian of the Lagrangian, if a pattern is known.
    pub hessian_nonzeros: Option<usize>,
    /// Method, and why.
    pub method: String,
    /// Linear solver, and why.
    pub linear: String,
    /// Scale factor of the objective.
    pub objective_scale: f64,
    /// Smallest scale factor of a constraint.
    pub smallest_constraint_scale: f64,
}

/// One line of the iteration table. Residuals are unscaled maximum norms.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IterationRow {
    /// Outer iteration, 0 for the start point.
    pub iteration: u64,
    /// f(x).
    pub objective: f64,
    /// |c(x)|.
    pub primal: f64,
    /// |grad f + J'y|.
    pub dual: f64,
    /// The residual that is tested against the tolerance.
    pub scaled_residual: f64,
    /// Merit function (scaled problem).
    pub merit: f64,
    /// Penalty parameters (eta1, eta2) of the merit function.
    pub penalty: (f64, f64),
    /// Barrier parameter mu; 0 without bounds and inequalities.
    pub barrier: f64,
    /// Shift t added to the Hessian.
    pub shift: f64,
    /// Dual regularization.
    pub dual_regularization: f64,
    /// Norm of the primal step.
    pub step_norm: f64,
    /// Step length accepted.
    pub step_length: f64,
    /// Trial points of the line search.
    pub trials: u32,
    /// Inner iterations of the linear solver.
    pub inner_iterations: u64,
    /// Relative residual of the linear system when it was accepted.
    pub linear_residual: f64,
    /// One letter: what kind of step (see the command's legend).
    pub kind: char,
}

/// Something happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'a> {
    /// A solve begins.
    Start(&'a Header),
    /// An iteration ended.
    Iteration(&'a IterationRow),
    /// A remark in words: a choice made, a bound that binds.
    Note {
        /// One sentence.
        text: &'a str,
    },
    /// The solve ended.
    Stop(&'a Report),
}

/// Receives events; `Break` asks the solver to stop and return its best point.
pub trait Observer {
    /// Called for every event, on the solver's thread.
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()>;
}

/// Hears nothing and never stops anything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn event(&mut self, _: &Event<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(&Event<'_>) -> ControlFlow<()>> Observer for F {
    fn event(&mut self, event: &Event<'_>) -> ControlFlow<()> {
        self(event)
    }
}

/// Why a [`StopToken`] asks to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    /// The flag was raised.
    Interrupted,
    /// The deadline has passed.
    TimeLimit,
}

/// A raised flag or a passed deadline; polled in every loop that can be long, inner linear iterations included.
#[derive(Debug, Clone, Default)]
pub struct StopToken {
    /// Raised from a signal handler or another thread.
    pub flag: Option<Arc<AtomicBool>>,
    /// Instant at which to stop.
    pub deadline: Option<Instant>,
}

impl StopToken {
    /// Asks whether to stop now.
    pub fn check(&self) -> Option<StopCause> {
        if self.flag.as_ref().is_some_and(|f| f.load(Ordering::Relaxed)) {
            return Some(StopCause::Interrupted);
        }
        if self.deadline.is_some_and(|d| Instant::now() >= d) {
            return Some(StopCause::TimeLimit);
        }
        None
    }
}
