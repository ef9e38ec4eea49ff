//! The driver of Rosenbrock methods.

use std::ops::ControlFlow;

use super::super::Solution;
use super::super::integrator::{Drive, FirstStep, Limits, check_problem};
use super::super::options::Options;
use super::super::report::{OdeReport, OdeStop};
use super::super::sinks::SaveAt;
use super::super::step::{Start, Step, StepBuffers, StepSink};
use super::step::{RosBody, RosStages, Rosenbrock};
use super::tableau::RosenbrockTableau;
use crate::diff::{At, Linearizer, Map};
use crate::error::{OdeError, catch};
use crate::linalg::Scalar;
use crate::linalg::kernels;
use crate::linalg::kernels::Scale;

/// A Rosenbrock method with its storage: made once, used for any number of integrations; no allocation per step. It takes the same options,
/// sinks and events as [`Integrator`](crate::ode::Integrator) and answers with the same report.
///
/// Between the steps a very stiff solution may be far less accurate than at their ends: there the methods are exact for what is forced, the error estimate
/// sees nothing, and the steps grow as long as the forcing's own scale, which the interpolant does not resolve. For y' = -1e9 (y - cos t) - sin t at 1e-6 six steps reach t = 2
/// with an error of 3e-12, but between them it is up to 5e-4. Where save points, events or dense output count, set [`Options::max_step`] to a tenth of the
/// forcing's scale: with 0.1 the error there is at most 2e-8.
///
/// Storage: (2 stages + 6 + 2 dim) times the length of the state.
#[derive(Debug, Clone)]
pub struct StiffIntegrator<T: Scalar> {
    pub(crate) ros: Rosenbrock<T>,
    pub(crate) st: RosStages<T>,
    y_end: Vec<T>,
    /// Empty until an event changes a state.
    y_next: Vec<T>,
    pub(crate) scale: Scale<T>,
    options: Options,
    dim: usize,
    batch: usize,
}

impl<T: Scalar> StiffIntegrator<T> {
    /// Storage for states of dim x batch.
    pub fn new(
        method: &'static RosenbrockTableau,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        options.check()?;
        if dim * batch == 0 {
            let what = format!("a state of {dim} components and a batch of {batch} is empty");
            return Err(OdeError::Mismatch { what });
        }
        let ros = Rosenbrock::new(method);
        let (st, scale) = (ros.stages(dim, batch), options.scale(dim, batch)?);
        let y_end = vec![T::ZERO; dim * batch];
        Ok(Self { ros, st, y_end, y_next: vec![], scale, options: options.clone(), dim, batch })
    }
    /// The final state of the last run.
    pub fn y(&self) -> &[T] {
        &self.st.y0
    }
    /// The method.
    pub fn method(&self) -> &'static RosenbrockTableau {
        self.ros.tab
    }
    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.options
    }
    pub(in super::super) fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// Integrates from (t0, y0) to t1, forwards or backwards; `sinks` see every accepted step.
    pub fn run<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        check_problem(field, (self.dim, self.batch), span, y0, p)?;
        Linearizer::check(field, self.ros.tab.name)?;
        // A panic of the user's field or sinks becomes an error: all storage here is overwritten by the next run.
        catch(|| {
            sinks.start(&Start { t0: span.0, t1: span.1, y0, dim: self.dim })?;
            self.st.y0.copy_from_slice(y0);
            self.st.refill();
            Ok(self.drive(field, span, p, sinks))
        })?
    }

    fn drive<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        (t0, t1): (T, T),
        p: &[T],
        sinks: &mut S,
    ) -> OdeReport {
        let mut d = Drive::new(t0, t1);
        let n = self.st.y0.len();
        field.value(At::new(t0, &self.st.y0, p), &mut self.st.f[..n]);
        d.counts.evals += 1;
        if !kernels::all_finite(&self.st.f[..n]) {
            return self.report(OdeStop::StartNotFinite, &d);
        }
        let (k0, k1) = self.st.f.split_at_mut(n);
        let first = FirstStep { y0: &self.st.y0, k0, g: &mut self.st.g, k1 };
        let order = self.ros.tab.error_order;
        d.h = first.choose(field, &self.options, &self.scale, order, (t0, t1), p, &mut d.counts);
        let stop = self.steps(field, p, sinks, &mut d);
        if matches!(stop, OdeStop::MaxSteps | OdeStop::StepUnderflow) && d.counts.jacobians > 0 {
            let radius = self.ros.radius(&self.st);
            d.stiffness = Some(radius).filter(|r| r.is_finite() && *r > T::ZERO);
        }
        self.report(stop, &d)
    }

    fn steps<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        p: &[T],
        sinks: &mut S,
        d: &mut Drive<T>,
    ) -> OdeStop {
        let lim = Limits::new(&self.options, self.ros.tab.error_order);
        let per_step = self.ros.evals();
        loop {
            let (h, last) = match d.plan(&lim) {
                Ok(plan) => plan,
                Err(stop) => return stop,
            };
            // A step is a function of (t, h, y0) alone, so that it can be computed again: the derivatives are, after a rejection, too.
            self.ros.linearize(field, d.t, h, p, &mut self.st, &mut d.counts);
            d.counts.factorizations += 1;
            d.err = if self.ros.factor(h, &mut self.st) {
                self.ros.step(field, d.t, h, p, &mut self.st);
                d.counts.evals += per_step;
                self.ros.error(self.options.norm, &self.scale, &mut self.st)
            } else {
                T::of(f64::NAN)
            };
            let e = d.err.f64();
            if !Drive::passes(&lim, e * e) {
                match d.reject(&lim, h, e) {
                    Ok(()) => continue,
                    Err(stop) => return stop,
                }
            }
            let t_next = d.advance(&lim, h, last, e * e);
            if self.accept(sinks, d, h, t_next).is_break() {
                return OdeStop::Stopped;
            }
            if d.at_end() {
                return OdeStop::Finished;
            }
        }
    }

    /// Shows the step to the sinks and moves on.
    fn accept<S: StepSink<T>>(
        &mut self,
        sinks: &mut S,
        d: &mut Drive<T>,
        h: T,
        t_next: T,
    ) -> ControlFlow<()> {
        let mut body = RosBody { ros: &self.ros, st: &self.st };
        let room = (&mut self.y_end[..], &mut self.y_next);
        let mut step = Step::new(&mut body, (d.t, h, t_next), d.err, d.counts.accepted, room, &mut d.counts);
        let flow = sinks.accepted(&mut step);
        d.stiffness = step.stiffness.or(d.stiffness);
        let (changed, shortened, t_end) = (step.changed, step.is_shortened(), step.t1());
        d.move_to(t_end);
        if changed {
            self.st.y0.copy_from_slice(&self.y_next);
        } else if shortened {
            std::mem::swap(&mut self.st.y0, &mut self.y_end);
        } else {
            std::mem::swap(&mut self.st.y0, &mut self.st.y1);
        }
        sinks.retain(&mut StepBuffers { k: &mut self.st.u, keep: &mut self.st.keep });
        flow
    }

    fn report(&self, stop: OdeStop, d: &Drive<T>) -> OdeReport {
        OdeReport {
            stop,
            t: d.t.f64(),
            h: d.h.f64(),
            error: d.err.f64(),
            stiffness: d.stiffness.map(T::f64),
            stability: f64::INFINITY,
            stiff_at: None,
            counts: d.counts,
        }
    }
}

/// Integrates a stiff problem once; the batch is y0.len() / dim. To integrate often, or for dense output and events, use a [`StiffIntegrator`]
/// with sinks.
///
/// ```
/// use costate::diff::{FnMap, Map};
/// use costate::ode::{Options, RODAS5P, solve_stiff};
/// // y' = -1000 (y - cos t) - sin t, y(0) = 1: y = cos t
/// let field = FnMap::new(1, 0, |t: f64, y: &[f64], _p: &[f64], dy: &mut [f64]| dy[0] = -1e3 * (y[0] - t.cos()) - t.sin());
/// let mut field = field.with_jacobian(|_t, _y: &[f64], _p: &[f64], jac: &mut [f64]| jac[0] = -1e3);
/// let s = solve_stiff(&mut field, &RODAS5P, &Options::tolerances(1e-8, 1e-8), (0.0, 2.0), &[1.0], &[], &[1.0])?;
/// assert!(s.report.ok() && (s.state(0)[0] - 1f64.cos()).abs() < 1e-7);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
pub fn solve_stiff<T: Scalar, F: Map<T>>(
    field: &mut F,
    method: &'static RosenbrockTableau,
    options: &Options,
    span: (T, T),
    y0: &[T],
    p: &[T],
    save_at: &[T],
) -> Result<Solution<T>, OdeError> {
    let dim = field.inputs();
    let batch = y0.len().checked_div(dim).unwrap_or(0);
    let mut integrator = StiffIntegrator::new(method, dim, batch.max(1), options)?;
    let mut saved = SaveAt::new(save_at);
    let report = integrator.run(field, span, y0, p, &mut saved)?;
    Ok(Solution { report, y1: integrator.y().to_vec(), saved })
}
