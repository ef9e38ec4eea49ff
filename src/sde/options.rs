//! Tolerances, limits and the step-size controller of stochastic integrations.

use crate::ode::{Bound, Controller, Norm, OdeError, Options, Tolerance};

/// What the integrator may be told. `SdeOptions::default()` is rtol = 1e-2, atol = 1e-2.
#[derive(Debug, Clone, PartialEq)]
pub struct SdeOptions {
    /// Relative tolerance.
    pub rtol: Tolerance,
    /// Absolute tolerance.
    pub atol: Tolerance,
    /// Norm of the scaled error.
    pub norm: Norm,
    /// Step-size controller; its exponents are divided by the method's `control_order`. The default is that of Rackauckas and Nie:
    /// proportional-integral with beta1 = 7/(10 order), beta2 = 2/(5 order), safety factor 0.9, growth at most 9/8.
    pub controller: Controller,
    /// Weight of the drift's part E1 in the error estimate; the method's own if absent.
    pub delta: Option<f64>,
    /// First step; automatic if absent.
    pub first_step: Option<f64>,
    /// Give up when the error asks for a shorter step. The path's tick is a limit too.
    pub min_step: f64,
    /// Longest step.
    pub max_step: f64,
    /// Give up after this many attempts.
    pub max_steps: u64,
    /// Times at which a step ends and the next one begins behind: as [`Options::stops`]. Methods whose stages reach beyond the step (`SOSRI`) look
    /// over a stop all the same: where the drift jumps in time, take `SRIW1` or `SOSRI2`.
    pub stops: Vec<f64>,
    /// Where the state may be: as [`Options::domain`]. A refused step keeps its Brownian path.
    pub domain: Vec<Bound>,
    /// As [`Options::non_negative`].
    pub non_negative: Vec<usize>,
    /// A fixed step: steps end at t0 + j h, at save points and at t1; no error control.
    pub fixed_step: Option<f64>,
}

impl Default for SdeOptions {
    fn default() -> Self {
        let controller = Controller { max_factor: 1.125, ..Controller::pi(0.4, 0.3) };
        let Options { first_step, min_step, max_step, max_steps, fixed_step, norm, .. } = Options::default();
        Self {
            rtol: 1e-2.into(),
            atol: 1e-2.into(),
            norm,
            controller,
            delta: None,
            first_step,
            min_step,
            max_step,
            max_steps,
            stops: vec![],
            domain: vec![],
            non_negative: vec![],
            fixed_step,
        }
    }
}

impl SdeOptions {
    /// Defaults with these tolerances.
    pub fn tolerances(rtol: impl Into<Tolerance>, atol: impl Into<Tolerance>) -> Self {
        Self { rtol: rtol.into(), atol: atol.into(), ..Self::default() }
    }
    /// Defaults without error control, step h > 0. Runs of one seed with different steps follow different paths unless the
    /// [`Brownian`](super::Brownian) has its cells given.
    pub fn fixed(h: f64) -> Self {
        Self { fixed_step: Some(h), ..Self::default() }
    }

    /// As options of an ordinary integration, checked.
    pub(crate) fn check(&self) -> Result<Options, OdeError> {
        let options = Options {
            rtol: self.rtol.clone(),
            atol: self.atol.clone(),
            norm: self.norm,
            controller: self.controller,
            first_step: self.first_step,
            min_step: self.min_step,
            max_step: self.max_step,
            max_steps: self.max_steps,
            stops: self.stops.clone(),
            domain: self.domain.clone(),
            non_negative: self.non_negative.clone(),
            invariants: Vec::new(),
            fixed_step: self.fixed_step,
        };
        options.check()?;
        match self.delta {
            Some(value) if !(value >= 0.0 && value.is_finite()) => {
                Err(OdeError::Option { option: "delta", value, must: "at least zero and finite" })
            }
            _ => Ok(options),
        }
    }
}
