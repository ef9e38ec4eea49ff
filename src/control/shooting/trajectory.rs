//! A solution of a differential equation as a function of its start and its parameters, with first and second derivatives.
//!
//! Beside states it has the number of steps that an ideal controller would take, N = sum_j max(E_j^(1/k), 1/10) of the error estimates E_j of its steps, in units of the tolerance
//! ([`Heuristic::ExpectedSteps`](crate::adjoint::Heuristic::ExpectedSteps)): a smooth function along recorded steps, whose multiplier is the price of a step.

use crate::adjoint::heuristics::expected_steps;
use crate::adjoint::{Adjoint, Bars, Heuristics, Memory, Reverse, Tangent, Tape, Transpose};
use crate::diff::{Map, Offers, Variational, need};
use crate::error::OdeError;
use crate::ode::{Integrate, Method, Options, SaveAt};

/// States at given times as a function of (y0, p), for explicit methods and Rosenbrock's.
///
/// Either every evaluation has steps of its own, chosen by the error (values are then rough in the size of the tolerance), or all have those of one that was recorded:
/// values are smooth functions, and the error estimates tell when the steps should be chosen anew.
#[derive(Debug)]
pub struct Trajectory<F: Map<f64>, I: Transpose<f64>> {
    dim: usize,
    field: F,
    solver: Adjoint<f64, I>,
    /// Along one direction, and along all at once.
    one: Tangent<f64, I, F>,
    all: Option<Tangent<f64, I, F>>,
    span: (f64, f64),
    save: SaveAt<f64>,
    times: Vec<f64>,
    /// Recorded steps.
    steps: Option<Tape<f64>>,
    /// Arguments of the pass that the solver holds.
    at: Option<(Vec<f64>, Vec<f64>)>,
    states: Vec<f64>,
    /// E_j, in units of the tolerance, and k.
    errors: Heuristics<f64>,
    estimates: Vec<f64>,
    power: f64,
    passes: u64,
}

/// What a number depends on: dL/d(states), as many as states, and dL/dN; an empty slice stands for zeros.
#[derive(Debug, Clone, Copy, Default)]
pub struct OfTrajectory<'a> {
    /// Of the states.
    pub states: &'a [f64],
    /// Of the expected number of steps.
    pub steps: f64,
}

/// What a map with the derivatives that trajectories need is.
fn check_field<F: Map<f64>>(field: &F) -> Result<(), OdeError> {
    need(field, Offers::VJP | Offers::JVP | Offers::TANGENT, "a trajectory with second derivatives")
}

impl<F, I> Trajectory<F, I>
where
    F: Map<f64> + Clone,
    I: Transpose<f64> + Integrate<f64, F>,
    I::Back: Reverse<f64, F> + Reverse<f64, Variational<F, f64>>,
{
    /// States at `times`, ascending, within the span.
    ///
    /// # Errors
    /// Options out of range, no times, or a field without vjp, jvp and the tangent of its vjp.
    pub fn new<D: Method<f64, Integrator = I>>(
        field: F,
        method: D,
        options: &Options,
        span: (f64, f64),
        times: &[f64],
    ) -> Result<Self, OdeError> {
        Self::batch(field, method, options, 1, span, times)
    }
    /// Several solutions that share their steps: a state is one column after another.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn batch<D: Method<f64, Integrator = I>>(
        field: F,
        method: D,
        options: &Options,
        batch: usize,
        span: (f64, f64),
        times: &[f64],
    ) -> Result<Self, OdeError> {
        check_field(&field)?;
        if times.is_empty() {
            return Err(OdeError::Mismatch {
                what: "a trajectory needs at least one time at which its states are wanted".into(),
            });
        }
        let solver = Adjoint::new(method, field.outputs(), batch, options, Memory::States)?;
        let power = method.integrator(field.outputs(), batch, options)?.facts().control_order;
        let one = solver.tangent(field.clone(), 1)?;
        Ok(Self {
            dim: field.outputs() * batch,
            field,
            solver,
            one,
            all: None,
            span,
            save: SaveAt::new(times),
            times: times.to_vec(),
            steps: None,
            at: None,
            states: vec![],
            errors: Heuristics::new(1.0, power, false),
            estimates: vec![],
            power,
            passes: 0,
        })
    }
    /// The field.
    pub fn field(&self) -> &F {
        &self.field
    }
    /// Numbers of a state, all columns together.
    pub fn dim(&self) -> usize {
        self.dim
    }
    /// Integrations so far, those along directions counted once.
    pub fn passes(&self) -> u64 {
        self.passes
    }
    /// The largest error estimate of the last evaluation, in units of the tolerance; at most 1 where the steps were its own.
    pub fn error(&self) -> f64 {
        self.estimates.iter().fold(0.0, |m, e| if *e > m || e.is_nan() { *e } else { m })
    }
    /// Expected steps of the last evaluation.
    pub fn expected_steps(&self) -> f64 {
        self.estimates.iter().map(|e| expected_steps(*e, self.power)[0]).sum()
    }
    /// Times at which states are given.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Chooses steps for (y0, p) and keeps them for all evaluations from now on; the states there with these steps.
    ///
    /// # Errors
    /// Where the integration ends before the span does.
    pub fn freeze(&mut self, y0: &[f64], p: &[f64]) -> Result<&[f64], OdeError> {
        self.thaw();
        self.states(y0, p)?;
        self.steps = Some(self.solver.tape().clone());
        Ok(&self.states)
    }
    /// From now on every evaluation chooses its steps.
    pub fn thaw(&mut self) {
        (self.steps, self.at) = (None, None);
    }

    /// States at the times, one after another.
    ///
    /// # Errors
    /// Where the integration ends before the span does, or lengths do not fit.
    pub fn states(&mut self, y0: &[f64], p: &[f64]) -> Result<&[f64], OdeError> {
        if self.at.as_ref().is_some_and(|(y, q)| same(y, y0) && same(q, p)) {
            return Ok(&self.states);
        }
        self.at = None;
        self.passes += 1;
        if let Some(steps) = &self.steps {
            let out = self.solver.forward_along(steps, &mut self.field, p, y0, &self.times)?;
            self.states = out.saved;
            self.estimates = out.error;
        } else {
            let sinks = &mut (&mut self.save, &mut self.errors);
            let report = self.solver.forward(&mut self.field, self.span, y0, p, sinks)?;
            if !report.ok() {
                return Err(OdeError::Mismatch { what: report.message() });
            }
            self.states.clear();
            self.states.extend_from_slice(self.save.states());
            self.estimates.clear();
            self.estimates.extend_from_slice(self.errors.error());
        }
        if self.states.iter().any(|v| !v.is_finite()) {
            return Err(OdeError::Mismatch { what: "states along the steps are not finite".into() });
        }
        self.at = Some((y0.to_vec(), p.to_vec()));
        Ok(&self.states)
    }

    /// ADDS the derivatives of what has these bars to those of y0 and p. After [`states`](Self::states) at (y0, p), else that is done first.
    ///
    /// # Errors
    /// As for the states.
    pub fn vjp(
        &mut self,
        (y0, p): (&[f64], &[f64]),
        bars: OfTrajectory<'_>,
        y0_bar: &mut [f64],
        p_bar: &mut [f64],
    ) -> Result<(), OdeError> {
        self.states(y0, p)?;
        self.passes += 1;
        let error = self.of_steps(bars.steps, |e, k| expected_steps(e, k)[1]);
        let saved = if bars.states.is_empty() { &vec![0.0; self.states.len()] } else { bars.states };
        let bars = Bars { times: &self.times, saved, error: &error, ..Bars::default() };
        let mut own = vec![0.0; y0.len()];
        self.solver.reverse(&mut self.field, p, &bars, &mut own, p_bar)?;
        y0_bar.iter_mut().zip(&own).for_each(|(b, v)| *b += v);
        Ok(())
    }

    /// Derivatives of the states along `count` directions of y0 and p, each a block: for every time, one block of a state for each direction.
    ///
    /// # Errors
    /// As for the states.
    pub fn jvp(
        &mut self,
        (y0, p): (&[f64], &[f64]),
        count: usize,
        y0_dot: &[f64],
        p_dot: &[f64],
    ) -> Result<Vec<f64>, OdeError> {
        self.states(y0, p)?;
        self.passes += 1;
        if self.all.as_ref().is_none_or(|all| all.directions() != count) {
            self.all = Some(self.solver.tangent(self.field.clone(), count)?);
        }
        let Some(all) = &mut self.all else { return Ok(vec![]) };
        Ok(all.forward(&self.solver, p, y0_dot, p_dot, &self.times)?.saved_dot)
    }

    /// A number for each step; none where they are not asked for.
    fn of_steps(&self, weight: f64, f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        let all = if weight == 0.0 { &[][..] } else { &self.estimates };
        all.iter().map(|e| weight * f(*e, self.power)).collect()
    }

    /// Second derivatives along one direction (y0_dot; p_dot): ADDS to `y0_bar` and `p_bar` the derivative of the vjp, where `bars_dot`, made from the derivatives of the states, is
    /// that of the bars of states along the direction.
    ///
    /// # Errors
    /// As for the states.
    pub fn second(
        &mut self,
        (y0, p): (&[f64], &[f64]),
        (y0_dot, p_dot): (&[f64], &[f64]),
        bars: OfTrajectory<'_>,
        bars_dot: impl FnOnce(&[f64]) -> Vec<f64>,
        (y0_bar, p_bar): (&mut [f64], &mut [f64]),
    ) -> Result<(), OdeError> {
        self.states(y0, p)?;
        self.passes += 1;
        let along = self.one.forward(&self.solver, p, y0_dot, p_dot, &self.times)?;
        let saved_dot = bars_dot(&along.saved_dot);
        let error = self.of_steps(bars.steps, |e, k| expected_steps(e, k)[1]);
        let mut error_dot = self.of_steps(bars.steps, |e, k| expected_steps(e, k)[2]);
        error_dot.iter_mut().zip(&along.error_dot).for_each(|(b, dot)| *b *= dot);
        let saved = if bars.states.is_empty() { &vec![0.0; self.states.len()] } else { bars.states };
        let bars = Bars { times: &self.times, saved, error: &error, ..Bars::default() };
        let bars_dot = Bars { times: &self.times, saved: &saved_dot, error: &error_dot, ..Bars::default() };
        let products = self.one.reverse(&bars, &bars_dot)?;
        y0_bar.iter_mut().zip(&products.y0_bar_dot).for_each(|(b, v)| *b += v);
        p_bar.iter_mut().zip(&products.p_bar_dot).for_each(|(b, v)| *b += v);
        Ok(())
    }
}

/// The same numbers, to the bit.
fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}
