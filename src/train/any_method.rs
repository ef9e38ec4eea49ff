//! Passes by a method whose family is known only when the configuration is read.

use rand::rngs::StdRng;

use super::error::TrainError;
use super::pass::{Loss, Pass, PassStats, Problem};
use super::penalty::Penalty;
use super::schedule::Progress;
use crate::adjoint::Memory;
use crate::linalg::Scalar;
use crate::nn::Jets;
use crate::ode::{
    Auto, Integrate, Integrator, Method, OdeReport, Options, RODAS5P, RosenbrockTableau, StiffIntegrator,
    Storage, TSIT54, Tableau,
};

/// An explicit method, one for stiff equations, or both with the automatic choice.
#[derive(Debug, Clone, Copy)]
pub enum AnyMethod {
    /// Explicit.
    Explicit(&'static Tableau),
    /// Rosenbrock's.
    Stiff(&'static RosenbrockTableau),
    /// `TSIT54` and `RODAS5P`.
    Auto,
}

/// A [`Pass`] with one of them.
#[derive(Debug, Clone)]
pub enum AnyPass<T: Scalar> {
    /// Explicit.
    Explicit(Box<Pass<T, Integrator<T>>>),
    /// Rosenbrock's.
    Stiff(Box<Pass<T, StiffIntegrator<T>>>),
    /// The automatic choice.
    Auto(Box<Pass<T, Auto<T>>>),
}

/// An integrator with one of them.
#[derive(Debug, Clone)]
pub enum AnyIntegrator<T: Scalar> {
    /// Explicit.
    Explicit(Box<Integrator<T>>),
    /// Rosenbrock's.
    Stiff(Box<StiffIntegrator<T>>),
    /// The automatic choice.
    Auto(Box<Auto<T>>),
}

macro_rules! any {
    ($any:ident, $of:expr, $one:ident => $do:expr) => {
        match $of {
            $any::Explicit($one) => $do,
            $any::Stiff($one) => $do,
            $any::Auto($one) => $do,
        }
    };
}

impl<T: Scalar> AnyPass<T> {
    /// [`Pass::new`].
    ///
    /// # Errors
    /// Penalties that the method has no estimate for, options out of range.
    pub fn new(
        method: AnyMethod,
        sizes: (usize, usize),
        options: &Options,
        memory: Memory,
        penalties: &[Penalty],
        stiffness: bool,
    ) -> Result<Self, TrainError> {
        Ok(match method {
            AnyMethod::Explicit(m) => {
                Self::Explicit(Box::new(Pass::new(m, sizes, options, memory, penalties, stiffness)?))
            }
            AnyMethod::Stiff(m) => {
                Self::Stiff(Box::new(Pass::new(m, sizes, options, memory, penalties, stiffness)?))
            }
            AnyMethod::Auto => {
                let pair = (&TSIT54, &RODAS5P);
                Self::Auto(Box::new(Pass::new(pair, sizes, options, memory, penalties, stiffness)?))
            }
        })
    }
    /// [`Pass::run`].
    ///
    /// # Errors
    /// The solver gave up, or the field offers too little.
    #[allow(clippy::too_many_arguments)]
    pub fn run<F: Jets<T>>(
        &mut self,
        field: &mut F,
        problem: &Problem<'_, T>,
        now: &Progress,
        rng: &mut StdRng,
        loss: &mut Loss<'_, T>,
        y0_bar: &mut [T],
        p_bar: &mut [T],
    ) -> Result<PassStats, TrainError> {
        any!(AnyPass, self, pass => pass.run(field, problem, now, rng, loss, y0_bar, p_bar))
    }
}

impl<T: Scalar> AnyIntegrator<T> {
    /// For states of dim x batch.
    ///
    /// # Errors
    /// Options out of range.
    pub fn new(
        method: AnyMethod,
        (dim, batch): (usize, usize),
        options: &Options,
    ) -> Result<Self, TrainError> {
        Ok(match method {
            AnyMethod::Explicit(m) => Self::Explicit(Box::new(m.integrator(dim, batch, options)?)),
            AnyMethod::Stiff(m) => Self::Stiff(Box::new(m.integrator(dim, batch, options)?)),
            AnyMethod::Auto => Self::Auto(Box::new((&TSIT54, &RODAS5P).integrator(dim, batch, options)?)),
        })
    }
    /// The states at `times`.
    ///
    /// # Errors
    /// The solver gave up.
    pub fn run<F: Jets<T>>(
        &mut self,
        field: &mut F,
        problem: &Problem<'_, T>,
    ) -> Result<(Vec<T>, OdeReport), TrainError> {
        let mut save = crate::ode::SaveAt::new(problem.times);
        let Problem { span, y0, p, .. } = *problem;
        let report = any!(AnyIntegrator, self, i => Integrate::run(&mut **i, field, span, y0, p, &mut save))?;
        if !report.ok() {
            return Err(TrainError::Solver { what: report.message() });
        }
        Ok((save.states().to_vec(), report))
    }
    /// The final state.
    pub fn y(&self) -> &[T] {
        any!(AnyIntegrator, self, i => Storage::y(&**i))
    }
}
