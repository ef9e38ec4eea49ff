//! Rosenbrock methods as steppers.

use super::super::check::check_problem;
use super::super::driver::Driver;
use super::super::method::Method;
use super::super::options::Options;
use super::super::pace::FirstStep;
use super::super::report::OdeCounts;
use super::super::step::{StepBody, StepBuffers};
use super::super::stepper::{Ask, Carrier, Facts, Lost, Measure, Stepper, Trial};
use super::invariants;
use super::step::{RosBody, RosStages, Rosenbrock};
use super::tableau::RosenbrockTableau;
use crate::diff::{At, Linearizer, Map, Offers, Source};
use crate::error::OdeError;
use crate::linalg::kernels::{self, Scale};
use crate::linalg::{Norm, Scalar};
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
/// The embedded error estimate of [`RODAS3P`](crate::ode::RODAS3P) vanishes where h times the Jacobian is large, whatever a nonlinear field makes of the step, and a first step that is far too long
/// deceives that of every method. Therefore a second estimate is the defect of the interpolant at the end of the step, f(t + h, y1) - y'(t + h), solved with W: each step of RODAS3P must pass both
/// (the evaluation is the first one of the next step), and so must the first step, and the first one after an event or a stop, of every method if h times the norm of the Jacobian is
/// above one; there W of the end of the step is asked, too. [`Step::error`](crate::ode::Step::error) of an accepted step is the embedded estimate.
///
/// Storage: 2 stages + 9 times the length of the state, and two to three numbers for each entry of W, fill included. The matrices are made by the first run.
pub type StiffIntegrator<T> = Driver<T, LinearlyImplicit<T>>;

/// Steps of Rosenbrock methods. Carried from step to step: y, and f there where the step before had to evaluate it.
#[derive(Debug, Clone)]
pub struct LinearlyImplicit<T> {
    pub(crate) ros: Rosenbrock<T>,
    st: RosStages<T>,
    /// The start of the run; empty once an event has changed the state.
    first: Vec<T>,
    /// Whether a Jacobian was made in this run.
    linearized: bool,
    /// Nothing is known of the step's length: the first one, and the first one after an event or a stop.
    fresh: bool,
    /// The attempt evaluated f at its end.
    looked: bool,
    /// f at the start is in `st.ahead`, whose first entry is else NaN.
    known: bool,
    /// Sum over the steps of h |J| |y|, in units of whose rounding invariants are lost.
    lossy: f64,
    search: Search,
}

/// Storage of the search for lost invariants: null vectors, and in double precision the Jacobian, states, rates, and sizes or a null vector.
#[derive(Debug, Clone, Default)]
struct Search {
    space: invariants::NullSpace,
    jac: Vec<f64>,
    y: Vec<f64>,
    f: Vec<f64>,
    first: Vec<f64>,
    most: Vec<f64>,
}

/// to <- from.
fn double<T: Scalar>(to: &mut Vec<f64>, from: &[T]) {
    to.clear();
    to.extend(from.iter().map(|v| v.f64()));
}

impl<T: Scalar> LinearlyImplicit<T> {
    fn new(ros: Rosenbrock<T>, (dim, batch): (usize, usize), measure: (Norm, Scale<T>)) -> Self {
        let st = ros.stages(dim, batch, measure);
        let first = Vec::with_capacity(dim * batch);
        let search = Search::default();
        let (linearized, fresh, looked, known, lossy) = (false, true, false, false, 0.0);
        Self { st, ros, first, linearized, fresh, looked, known, lossy, search }
    }

    fn forget(&mut self) {
        self.known = false;
        self.st.ahead[0] = T::of(f64::NAN);
    }

    /// E as it is judged of a step that passed its embedded estimate.
    fn second_look<F: Map<T>>(
        &mut self,
        field: &mut F,
        th: (T, T),
        p: &[T],
        by: Measure<'_, T>,
        counts: &mut OdeCounts,
    ) -> T {
        let (ros, st, by) = (&self.ros, &mut self.st, (by.norm, by.scale));
        let doubtful = self.fresh && st.matrices.radius(st.dim) * th.1.abs() > T::ONE;
        if !ros.blind && !doubtful {
            return T::ZERO;
        }
        let defect = ros.defect(field, th, p, by, st, counts);
        // What was in `ahead` is used up.
        (self.looked, self.known) = (true, false);
        if doubtful && defect <= T::ONE { ros.defect_at_end(field, th, p, by, st, counts) } else { defect }
    }
}

impl<T: Scalar> Method<T> for &'static RosenbrockTableau {
    type Integrator = StiffIntegrator<T>;
    fn integrator(self, dim: usize, batch: usize, options: &Options) -> Result<StiffIntegrator<T>, OdeError> {
        StiffIntegrator::new(self, dim, batch, options)
    }
}

impl<T: Scalar> Driver<T, LinearlyImplicit<T>> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static RosenbrockTableau,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        let mut ros = Rosenbrock::new(method);
        ros.invariants = invariants::rows(&options.invariants, dim)?;
        Self::make(dim, batch, options, |(norm, scale)| {
            LinearlyImplicit::new(ros, (dim, batch), (norm, scale.clone()))
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
        (self.linearized, self.fresh, self.lossy) = (false, true, 0.0);
        self.forget();
        self.first.clear();
        self.first.extend_from_slice(y0);
    }
    fn carried(&self) -> Vec<u64> {
        self.st.ahead.iter().map(|f| f.f64().to_bits()).collect()
    }
    fn carry(&mut self, carried: &[u64]) -> Result<(), OdeError> {
        self.st.ahead.iter_mut().zip(carried).for_each(|(f, bits)| *f = T::of(f64::from_bits(*bits)));
        self.known = self.st.ahead[0].is_finite();
        self.fresh = false;
        Ok(())
    }
    #[inline(always)]
    fn commit(&mut self, moved: Option<&mut Vec<T>>) {
        if moved.is_some() {
            self.first.clear();
        }
        self.fresh = false;
        self.known = self.looked && moved.is_none();
        if !self.known {
            self.forget();
        }
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
    fn refresh(&mut self, _: &mut F, _: T, _: &[T], _: &mut OdeCounts) {
        self.fresh = true;
        self.forget();
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
        if self.known {
            let n = self.st.y0.len();
            self.st.f[..n].copy_from_slice(&self.st.ahead);
            self.ros.differentiate(field, t, h, p, &mut self.st, counts);
        } else {
            self.ros.linearize(field, t, h, p, &mut self.st, counts);
        }
        (self.linearized, self.looked) = (true, false);
        counts.factorizations += self.st.matrices.are_held() as u64;
        let error = if self.ros.factor(h, &mut self.st) {
            self.ros.step(field, t, h, p, &mut self.st);
            counts.evals += self.ros.evals();
            self.ros.error(by.norm, by.scale, &mut self.st)
        } else {
            T::of(f64::NAN)
        };
        let mut judged = error;
        if error <= T::ONE {
            let second = self.second_look(field, (t, h), p, by, counts);
            judged = if second <= error { error } else { second };
        }
        self.st.matrices.tell(counts);
        let (e, passes) = (judged.f64(), judged <= T::ONE);
        Trial { error: if passes { error } else { judged }, square: e * e }
    }
    #[inline(always)]
    fn finish(&mut self, _: &mut F, (_, h): (T, T), _: &[T], _: &mut OdeCounts) -> bool {
        let (n, jac, y0) = (self.st.dim, &self.st.matrices.jac, &self.st.y0);
        if self.first.len() == n && jac.len() == n * n {
            let column = |(y, j): (&T, &[T])| (*y * j.iter().map(|v| v.abs()).sum::<T>()).abs();
            self.lossy += (h * y0.iter().zip(jac.chunks_exact(n)).map(column).sum::<T>()).abs().f64();
        }
        true
    }
    fn derivative(&self, field: &mut F, at: At<'_, T>, out: &mut [T], counts: &mut OdeCounts) {
        field.value(at, out);
        counts.evals += 1;
    }
    #[inline(always)]
    fn body<'a>(&'a mut self, _: &'a mut F, _: &'a [T]) -> impl StepBody<T> + 'a {
        RosBody { ros: &self.ros, st: &self.st }
    }
    /// Small problems with a full Jacobian, whose field says that it does not depend on time.
    fn lost(
        &mut self,
        field: &mut F,
        t: T,
        p: &[T],
        scale: &Scale<T>,
        counts: &mut OdeCounts,
    ) -> Option<Lost> {
        let n = self.st.dim;
        let alone = self.first.len() == n && self.linearized && n > 1 && !self.st.matrices.structured();
        if !alone || !field.offers().has(Offers::AUTONOMOUS) || self.st.matrices.jac.len() != n * n {
            return None;
        }
        let least = (0..n).map(|i| scale.at(i, self.st.y0[i]).f64()).fold(f64::INFINITY, f64::min);
        if 64.0 * T::EPSILON.f64() * self.lossy < least {
            return None;
        }
        let (ros, st, Search { space, jac, y, f, first, most }) = (&self.ros, &mut self.st, &mut self.search);
        double(jac, &st.matrices.jac);
        double(y, &st.y0);
        double(f, &st.f);
        double(first, &self.first);
        // The start of the last step is where its end was before.
        double(most, &st.y1);
        most.iter_mut().zip(&*y).for_each(|(m, y)| *m = m.abs().max(y.abs()));
        space.find(n, jac);
        let (w, lost) = space.vectors(jac).find_map(|w| {
            let change: f64 = (0..n).map(|i| w[i] * (y[i] - first[i])).sum();
            let end: f64 = (0..n).map(|i| (w[i] * scale.at(i, st.y0[i]).f64()).abs()).fold(0.0, f64::max);
            let kept = || f.chunks_exact(n).all(|f| invariants::keeps(n, w, f, jac, most));
            let component = w.iter().position(|w| w.abs() > 0.5).unwrap_or(0);
            (change.abs() > end && kept())
                .then_some((w, Lost { component, change: change.abs(), tolerance: end }))
        })?;
        // It must have been one from the start.
        most.clear();
        most.extend_from_slice(w);
        st.y0.copy_from_slice(&self.first);
        ros.linearize(field, t, T::ONE, p, st, counts);
        double(jac, &st.matrices.jac);
        double(f, &st.f[..n]);
        st.y0.iter_mut().zip(&*y).for_each(|(y, v)| *y = T::of(*v));
        let holds = invariants::annihilates(n, most, jac) && invariants::keeps(n, most, f, jac, first);
        holds.then_some(lost)
    }
    /// From the last Jacobian.
    fn probe(&mut self, _: &mut F, _: (T, T), _: &[T], _: &mut OdeCounts) -> Option<T> {
        let radius = self.linearized.then(|| self.st.matrices.radius(self.st.dim));
        radius.filter(|r| r.is_finite() && *r > T::ZERO)
    }
}
