//! Explicit Runge-Kutta and Nystrom methods as steppers.

use super::check::check_problem;
use super::driver::Driver;
use super::erk::{Erk, Stages};
use super::method::Method;
use super::options::Options;
use super::pace::FirstStep;
use super::report::OdeCounts;
use super::step::{ErkBody, StepBody, StepBuffers};
use super::stepper::{Ask, Carrier, Facts, Measure, Stepper, Trial};
use super::tableau::Tableau;
use crate::diff::{At, Map, Offers};
use crate::error::OdeError;
use crate::linalg::Scalar;
use crate::linalg::kernels::{self, Scale};

/// An explicit method with its storage: made once, used for any number of integrations; no allocation per step.
///
/// Storage: (stages + 4) times the length of the state.
pub type Integrator<T> = Driver<T, Explicit<T>>;

/// Steps of explicit Runge-Kutta and Nystrom methods. Carried from step to step: y and k_0, the last stage of the step before.
#[derive(Debug, Clone)]
pub struct Explicit<T> {
    pub(crate) erk: Erk<T>,
    pub(crate) st: Stages<T>,
    batch: usize,
}

impl<T: Scalar> Method<T> for &'static Tableau {
    type Integrator = Integrator<T>;
    fn integrator(self, dim: usize, batch: usize, options: &Options) -> Result<Integrator<T>, OdeError> {
        Integrator::new(self, dim, batch, options)
    }
}

impl<T: Scalar> Driver<T, Explicit<T>> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static Tableau,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        Self::make(dim, batch, options, |_| {
            let erk = Erk::new(method, dim);
            Explicit { st: erk.stages(dim * batch, 0), erk, batch }
        })
    }
    /// The method.
    pub fn method(&self) -> &'static Tableau {
        self.stepper.erk.tab
    }
}

impl<T: Scalar> Carrier<T> for Explicit<T> {
    #[inline(always)]
    fn facts(&self) -> Facts {
        Facts { control_order: (self.erk.tab.error_order + 1) as f64, stability: self.erk.tab.stability }
    }
    fn y(&self) -> &[T] {
        &self.st.y0
    }
    fn carried(&self) -> Vec<u64> {
        self.slope().iter().map(|k| k.f64().to_bits()).collect()
    }
    fn carry(&mut self, carried: &[u64]) -> Result<(), OdeError> {
        self.st.k.iter_mut().zip(carried).for_each(|(k, bits)| *k = T::of(f64::from_bits(*bits)));
        Ok(())
    }
    fn slope(&self) -> &[T] {
        &self.st.k[..self.st.y0.len()]
    }
    fn end_mut(&mut self) -> &mut [T] {
        &mut self.st.y1
    }
    fn start(&mut self, y0: &[T]) {
        self.st.y0.copy_from_slice(y0);
    }
    #[inline(always)]
    fn commit(&mut self, moved: Option<&mut Vec<T>>) {
        std::mem::swap(&mut self.st.y0, moved.unwrap_or(&mut self.st.y1));
    }
    /// First same as last: k_0 of the next step is kept where the sinks take the stages.
    #[inline(always)]
    fn lend(&mut self, take: impl FnOnce(&mut StepBuffers<'_, T>)) {
        let (n, last) = (self.st.y0.len(), self.erk.tab.stages - 1);
        copy(&mut self.st.g, &self.st.k[last * n..][..n]);
        take(&mut StepBuffers { k: &mut self.st.k, keep: &mut self.st.keep, noise: None });
        copy(&mut self.st.k[..n], &self.st.g);
    }
}

impl<T: Scalar, F: Map<T>> Stepper<T, F> for Explicit<T> {
    fn sizes(field: &F) -> (usize, usize) {
        (field.inputs(), field.n_params())
    }
    fn check(&self, field: &F, ask: &Ask<'_, T>) -> Result<(), OdeError> {
        check_problem(field, ask)?;
        check_order(self.erk.tab, field)
    }
    fn prepare(&mut self, field: &F, _: (T, T), keep: bool) -> Result<(), OdeError> {
        let len = if keep { field.keep_len(self.batch) * self.erk.tab.stages } else { 0 };
        self.st.keep.resize(len, T::ZERO);
        Ok(())
    }
    fn begin(
        &mut self,
        field: &mut F,
        span: (T, T),
        p: &[T],
        (options, scale): (&Options, &Scale<T>),
        counts: &mut OdeCounts,
    ) -> Option<T> {
        self.erk.eval_stage(field, 0, span.0, T::ZERO, p, &mut self.st);
        counts.evals += 1;
        let st = &mut self.st;
        if !kernels::all_finite(&st.k[..st.y0.len()]) {
            return None;
        }
        let (k0, k1) = st.k.split_at_mut(st.y0.len());
        let start = FirstStep { y0: &st.y0, k0, g: &mut st.g, k1 };
        Some(start.choose(field, options, scale, self.erk.tab.error_order, span, p, counts))
    }
    fn refresh(&mut self, field: &mut F, t: T, p: &[T], counts: &mut OdeCounts) {
        self.erk.eval_stage(field, 0, t, T::ZERO, p, &mut self.st);
        counts.evals += 1;
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
        let square = self.erk.attempt(field, t, h, p, by.norm, by.scale, &mut self.st);
        // The last stage of some methods is only made for accepted steps.
        counts.evals += (self.erk.tab.stages - 1 - !self.erk.tab.error_uses_last as usize) as u64;
        Trial { error: square.sqrt(), square: square.f64() }
    }
    #[inline(always)]
    fn finish(&mut self, field: &mut F, (t, h): (T, T), p: &[T], counts: &mut OdeCounts) -> bool {
        counts.evals += !self.erk.tab.error_uses_last as u64;
        self.erk.finish(field, t, h, p, &mut self.st)
    }
    fn derivative(&self, field: &mut F, at: At<'_, T>, out: &mut [T], counts: &mut OdeCounts) {
        field.value(at, out);
        counts.evals += 1;
    }
    #[inline(always)]
    fn body<'a>(&'a mut self, field: &'a mut F, p: &'a [T]) -> impl StepBody<T> + 'a {
        ErkBody { erk: &self.erk, st: &mut self.st, field, p }
    }
    /// From one more step that nobody else sees.
    fn probe(&mut self, field: &mut F, (t, h): (T, T), p: &[T], counts: &mut OdeCounts) -> Option<T> {
        self.erk.eval_stage(field, 0, t, T::ZERO, p, &mut self.st);
        self.erk.step(field, t, h, p, &mut self.st);
        self.erk.finish(field, t, h, p, &mut self.st);
        counts.evals += self.erk.tab.stages as u64;
        Some(self.erk.stiffness(h, &mut self.st)).filter(|s| *s > T::ZERO)
    }
}

/// A Nystrom method needs a field that says it is of second order.
pub(super) fn check_order<T: Scalar, F: Map<T> + ?Sized>(
    method: &Tableau,
    field: &F,
) -> Result<(), OdeError> {
    if method.velocity.is_none() || field.offers().has(Offers::SECOND_ORDER) {
        return Ok(());
    }
    let name = method.name;
    let what =
        format!("{name} is a method for q'' = a(t, q): give it the acceleration as a SecondOrder field");
    Err(OdeError::Mismatch { what })
}

/// to <- from; short ones without a call.
#[inline(always)]
fn copy<T: Scalar>(to: &mut [T], from: &[T]) {
    if to.len() <= 4 {
        to.iter_mut().zip(from).for_each(|(t, f)| *t = *f);
    } else {
        to.copy_from_slice(from);
    }
}
