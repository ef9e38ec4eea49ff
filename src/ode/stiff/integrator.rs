//! Rosenbrock methods as steppers.

use super::super::check::check_problem;
use super::super::driver::Driver;
use super::super::options::Options;
use super::super::pace::FirstStep;
use super::super::report::OdeCounts;
use super::super::step::{StepBody, StepBuffers};
use super::super::stepper::{Ask, Carrier, Facts, Measure, Stepper, Trial};
use super::step::{RosBody, RosStages, Rosenbrock};
use super::tableau::RosenbrockTableau;
use crate::diff::{At, Linearizer, Map, Source};
use crate::error::OdeError;
use crate::linalg::Scalar;
use crate::linalg::kernels::{self, Scale};
use crate::linsol::factors::Choice;

/// A Rosenbrock method with its storage: made once, used for any number of integrations; no allocation per step. It takes the same options,
/// sinks and events as [`Integrator`](crate::ode::Integrator) and answers with the same report.
///
/// Between the steps a very stiff solution may be far less accurate than at their ends: there the methods are exact for what is forced, the error estimate
/// sees nothing, and the steps grow as long as the forcing's own scale, which the interpolant does not resolve. For y' = -1e9 (y - cos t) - sin t at 1e-6 six steps reach t = 2
/// with an error of 3e-12, but between them it is up to 5e-4. Where save points, events or dense output count, set [`Options::max_step`] to a tenth of the
/// forcing's scale: with 0.1 the error there is at most 2e-8.
///
/// Jacobians of more than 30 unknowns that are banded or sparse ([`Map::structure`]; [`Map::with_structure`] and [`Map::with_detected_structure`] where the
/// field has only products or differences, one for each colour) are held so, and W = I / (h gamma) - J is factored as a band,
/// after reordering where that helps, or by sparse LU, whichever costs less; [`StiffIntegrator::structure`] says which.
///
/// Storage: 2 stages + 6 times the length of the state, and two to three numbers for each entry of W, fill included. The matrices are made by the first run.
pub type StiffIntegrator<T> = Driver<T, LinearlyImplicit<T>>;

/// Steps of Rosenbrock methods. Nothing but y is carried from step to step.
#[derive(Debug, Clone)]
pub struct LinearlyImplicit<T> {
    ros: Rosenbrock<T>,
    st: RosStages<T>,
    /// Whether a Jacobian was made in this run.
    linearized: bool,
}

impl<T: Scalar> Driver<T, LinearlyImplicit<T>> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static RosenbrockTableau,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        Self::make(dim, batch, options, |(norm, scale)| {
            let ros = Rosenbrock::new(method);
            LinearlyImplicit { st: ros.stages(dim, batch, (norm, scale.clone())), ros, linearized: false }
        })
    }
    /// How W = I / (h gamma) - J of the last run is held and factored, as one line when printed (`band 2 + 2, 5 colours`). None before the first
    /// run, and where the Jacobian is full or small.
    pub fn structure(&self) -> Option<&Choice> {
        self.stepper.st.matrices.choice()
    }
    /// What the Jacobians of the last run were made of (`4 Jacobian-vector products`). None before the first run.
    pub fn jacobian(&self) -> Option<Source> {
        self.stepper.st.source
    }
    /// How W is to be held for this field and what its Jacobians are made of, without a step: (choice, source, evaluations a step).
    pub(super) fn survey<F: Map<T>>(&mut self, field: &F) -> Result<(Choice, Source, u64), OdeError> {
        Linearizer::check(field, self.stepper.ros.tab.name)?;
        let LinearlyImplicit { ros, st, .. } = &mut self.stepper;
        st.prepare(field)?;
        let source = st.source.unwrap_or(Source::Own);
        Ok((st.matrices.choice().cloned().unwrap_or_else(|| Choice::dense(st.dim)), source, ros.evals()))
    }
    /// The method.
    pub fn method(&self) -> &'static RosenbrockTableau {
        self.stepper.ros.tab
    }
}

impl<T: Scalar> Carrier<T> for LinearlyImplicit<T> {
    #[inline(always)]
    fn facts(&self) -> Facts {
        Facts { control_order: (self.ros.tab.error_order + 1) as f64, stability: f64::INFINITY }
    }
    fn y(&self) -> &[T] {
        &self.st.y0
    }
    fn slope(&self) -> &[T] {
        &self.st.f[..self.st.y0.len()]
    }
    fn end_mut(&mut self) -> &mut [T] {
        &mut self.st.y1
    }
    fn start(&mut self, y0: &[T]) {
        self.st.y0.copy_from_slice(y0);
        self.st.refill();
        self.linearized = false;
    }
    #[inline(always)]
    fn commit(&mut self, moved: Option<&mut Vec<T>>) {
        std::mem::swap(&mut self.st.y0, moved.unwrap_or(&mut self.st.y1));
    }
    #[inline(always)]
    fn lend(&mut self, take: impl FnOnce(&mut StepBuffers<'_, T>)) {
        take(&mut StepBuffers { k: &mut self.st.u, keep: &mut self.st.keep, noise: None });
    }
}

impl<T: Scalar, F: Map<T>> Stepper<T, F> for LinearlyImplicit<T> {
    fn sizes(field: &F) -> (usize, usize) {
        (field.inputs(), field.n_params())
    }
    fn check(&self, field: &F, ask: &Ask<'_, T>) -> Result<(), OdeError> {
        check_problem(field, ask)?;
        Linearizer::check(field, self.ros.tab.name)
    }
    fn prepare(&mut self, field: &F, _: (T, T), _: bool) -> Result<(), OdeError> {
        self.st.prepare(field)
    }
    fn begin(
        &mut self,
        field: &mut F,
        span: (T, T),
        p: &[T],
        (options, scale): (&Options, &Scale<T>),
        counts: &mut OdeCounts,
    ) -> Option<T> {
        let st = &mut self.st;
        let n = st.y0.len();
        field.value(At::new(span.0, &st.y0, p), &mut st.f[..n]);
        counts.evals += 1;
        if !kernels::all_finite(&st.f[..n]) {
            return None;
        }
        let (k0, k1) = st.f.split_at_mut(n);
        let first = FirstStep { y0: &st.y0, k0, g: &mut st.g, k1 };
        Some(first.choose(field, options, scale, self.ros.tab.error_order, span, p, counts))
    }
    #[inline(always)]
    fn attempt(
        &mut self,
        field: &mut F,
        (t, h): (T, T),
        p: &[T],
        by: Measure<'_, T>,
        counts: &mut OdeCounts,
    ) -> Trial<T> {
        // A step is a function of (t, h, y0) alone, so that it can be computed again: the derivatives are, after a rejection, too.
        self.ros.linearize(field, t, h, p, &mut self.st, counts);
        self.linearized = true;
        counts.factorizations += self.st.matrices.are_held() as u64;
        let error = if self.ros.factor(h, &mut self.st) {
            self.ros.step(field, t, h, p, &mut self.st);
            counts.evals += self.ros.evals();
            self.ros.error(by.norm, by.scale, &mut self.st)
        } else {
            T::of(f64::NAN)
        };
        self.st.matrices.tell(counts);
        let e = error.f64();
        Trial { error, square: e * e }
    }
    fn derivative(&self, field: &mut F, at: At<'_, T>, out: &mut [T], counts: &mut OdeCounts) {
        field.value(at, out);
        counts.evals += 1;
    }
    #[inline(always)]
    fn body<'a>(&'a mut self, _: &'a mut F, _: &'a [T]) -> impl StepBody<T> + 'a {
        RosBody { ros: &self.ros, st: &self.st }
    }
    /// From the last Jacobian.
    fn probe(&mut self, _: &mut F, _: (T, T), _: &[T], _: &mut OdeCounts) -> Option<T> {
        let radius = self.linearized.then(|| self.st.matrices.radius(self.st.dim));
        radius.filter(|r| r.is_finite() && *r > T::ZERO)
    }
}
