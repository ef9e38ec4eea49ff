//! One solve for all families: a method chooses its integrator, an integrator takes systems of its kind.

use super::driver::Driver;
use super::options::Options;
use super::report::OdeReport;
use super::sinks::SaveAt;
use super::step::StepSink;
use super::stepper::{Carrier, Facts, Stepper};
use crate::error::OdeError;
use crate::linalg::Scalar;

/// The choice of a method: a [`Tableau`](super::Tableau) (explicit, or Nystrom's), a [`RosenbrockTableau`](super::RosenbrockTableau) for stiff problems, a pair of them for the automatic choice ([`Auto`](super::Auto)), a [`SymplecticTableau`](super::SymplecticTableau) for a
/// [`SeparableMap`](super::SeparableMap), or an
/// [`SdeMethod`](crate::sde::SdeMethod) for an [`Sde`](crate::sde::Sde).
pub trait Method<T: Scalar>: Copy {
    /// What integrates with it.
    type Integrator: Storage<T>;
    /// Storage for states of dim x batch.
    fn integrator(self, dim: usize, batch: usize, options: &Options) -> Result<Self::Integrator, OdeError>;
}

/// A method with its storage, which no system enters: an integrator.
pub trait Storage<T: Scalar> {
    /// The final state of the last run.
    fn y(&self) -> &[T];
    /// Orders and stability of the method.
    fn facts(&self) -> Facts;
    /// The next runs are those of this trajectory of an ensemble: a Brownian path is that many trajectories after the equation's.
    fn set_trajectory(&mut self, number: u32) {
        let _ = number;
    }
}

/// An integrator of systems of kind S.
pub trait Integrate<T: Scalar, S>: Storage<T> {
    /// Components of a state and number of parameters of the system.
    fn sizes(system: &S) -> (usize, usize);
    /// Integrates from (t0, y0) to t1; `sinks` see every accepted step. See [`Driver::run`].
    fn run<K: StepSink<T>>(
        &mut self,
        system: &mut S,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError>;
}

impl<T: Scalar, M: Carrier<T>> Storage<T> for Driver<T, M> {
    fn y(&self) -> &[T] {
        Driver::y(self)
    }
    fn facts(&self) -> Facts {
        self.stepper.facts()
    }
    fn set_trajectory(&mut self, number: u32) {
        self.stepper.set_trajectory(number);
    }
}

impl<T: Scalar, S, M: Stepper<T, S>> Integrate<T, S> for Driver<T, M> {
    fn sizes(system: &S) -> (usize, usize) {
        M::sizes(system)
    }
    fn run<K: StepSink<T>>(
        &mut self,
        system: &mut S,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError> {
        Driver::run(self, system, span, y0, p, sinks)
    }
}

/// States at the save points and at the end.
#[derive(Debug, Clone)]
pub struct Solution<T> {
    /// How it ended.
    pub report: OdeReport,
    /// The state where it ended.
    pub y1: Vec<T>,
    saved: SaveAt<T>,
}

impl<T: Scalar> Solution<T> {
    /// State at save point i; NaN if it was not reached.
    pub fn state(&self, i: usize) -> &[T] {
        self.saved.state(i)
    }
    /// The save points.
    pub fn times(&self) -> &[T] {
        self.saved.times()
    }
    /// All saved states, one after another.
    pub fn states(&self) -> &[T] {
        self.saved.states()
    }
}

/// Integrates once: a field by a method for ordinary equations, an [`Sde`](crate::sde::Sde) by one for stochastic equations. The batch, y0.len() / dim, shares its
/// steps. To integrate often, or for dense output and events, use an integrator ([`Method::integrator`]) with sinks; for a step per trajectory and all cores
/// [`solve_ensemble`](super::solve_ensemble).
///
/// ```
/// use costate::diff::{FnMap, Map};
/// use costate::ode::{Options, RODAS5P, TSIT54, solve};
/// // y' = -1000 (y - cos t) - sin t, y(0) = 1: y = cos t
/// let field = FnMap::new(1, 0, |t: f64, y: &[f64], _p: &[f64], dy: &mut [f64]| dy[0] = -1e3 * (y[0] - t.cos()) - t.sin());
/// let mut field = field.with_jacobian(|_t, _y: &[f64], _p: &[f64], jac: &mut [f64]| jac[0] = -1e3);
/// let o = Options::tolerances(1e-8, 1e-8);
/// let s = solve(&mut field, &RODAS5P, &o, (0.0, 2.0), &[1.0], &[], &[1.0])?;
/// assert!(s.report.ok() && (s.state(0)[0] - 1f64.cos()).abs() < 1e-7);
/// // Explicit first, linearly implicit where it is stiff.
/// let s = solve(&mut field, (&TSIT54, &RODAS5P), &o, (0.0, 2.0), &[1.0], &[], &[1.0])?;
/// assert!(s.report.ok() && (s.state(0)[0] - 1f64.cos()).abs() < 1e-7);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
pub fn solve<T: Scalar, D: Method<T>, S>(
    system: &mut S,
    method: D,
    options: &Options,
    span: (T, T),
    y0: &[T],
    p: &[T],
    save_at: &[T],
) -> Result<Solution<T>, OdeError>
where
    D::Integrator: Integrate<T, S>,
{
    let (dim, _) = D::Integrator::sizes(system);
    let batch = y0.len().checked_div(dim).unwrap_or(0);
    let mut integrator = method.integrator(dim, batch.max(1), options)?;
    let mut saved = SaveAt::new(save_at);
    let report = integrator.run(system, span, y0, p, &mut saved)?;
    Ok(Solution { report, y1: integrator.y().to_vec(), saved })
}
