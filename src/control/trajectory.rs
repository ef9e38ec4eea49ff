//! A solution of a differential equation as a function of its start and its parameters, with first and second derivatives.

use crate::adjoint::{Adjoint, Bars, Memory, Reverse, Tangent, Tape, Transpose};
use crate::diff::{Map, Offers, Variational, need};
use crate::error::OdeError;
use crate::ode::{Integrate, Method, Options, SaveAt};

/// States at given times as a function of (y0, p), for explicit methods and Rosenbrock's.
///
/// Either every evaluation has steps of its own, chosen by the error (values are then rough in the size of the tolerance), or all have those of one that was recorded:
/// values are smooth functions, and the error estimates tell when the steps should be chosen anew.
#[derive(Debug)]
pub struct Trajectory<F: Map<f64>, I: Transpose<f64>> {
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
    /// The largest error estimate, in units of the tolerance.
    error: f64,
    passes: u64,
}

/// What a map with the derivatives that trajectories need is.
pub(super) fn check_field<F: Map<f64>>(field: &F) -> Result<(), OdeError> {
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
    /// Options out of range, or a field without vjp, jvp and the tangent of its vjp.
    pub fn new<D: Method<f64, Integrator = I>>(
        field: F,
        method: D,
        options: &Options,
        span: (f64, f64),
        times: &[f64],
    ) -> Result<Self, OdeError> {
        check_field(&field)?;
        let solver = Adjoint::new(method, field.outputs(), 1, options, Memory::States)?;
        let one = solver.tangent(field.clone(), 1)?;
        Ok(Self {
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
            error: 0.0,
            passes: 0,
        })
    }
    /// The field.
    pub fn field(&self) -> &F {
        &self.field
    }
    /// Components of a state.
    pub fn dim(&self) -> usize {
        self.field.outputs()
    }
    /// Integrations so far, those along directions counted once.
    pub fn passes(&self) -> u64 {
        self.passes
    }
    /// The largest error estimate of the last evaluation, in units of the tolerance; at most 1 where the steps were its own.
    pub fn error(&self) -> f64 {
        self.error
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
            self.error = out.error.iter().fold(0.0, |m, e| if *e > m || e.is_nan() { *e } else { m });
        } else {
            let report = self.solver.forward(&mut self.field, self.span, y0, p, &mut self.save)?;
            if !report.ok() {
                return Err(OdeError::Mismatch { what: report.message() });
            }
            self.states.clear();
            self.states.extend_from_slice(self.save.states());
            self.error = 1.0;
        }
        if self.states.iter().any(|v| !v.is_finite()) {
            return Err(OdeError::Mismatch { what: "states along the steps are not finite".into() });
        }
        self.at = Some((y0.to_vec(), p.to_vec()));
        Ok(&self.states)
    }

    /// ADDS bars of the states, as many as states, to those of y0 and p. After [`states`](Self::states) at (y0, p), else that is done first.
    ///
    /// # Errors
    /// As for the states.
    pub fn vjp(
        &mut self,
        (y0, p): (&[f64], &[f64]),
        bars: &[f64],
        y0_bar: &mut [f64],
        p_bar: &mut [f64],
    ) -> Result<(), OdeError> {
        self.states(y0, p)?;
        self.passes += 1;
        let bars = Bars { times: &self.times, saved: bars, ..Bars::default() };
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

    /// Second derivatives along one direction (y0_dot; p_dot): ADDS to `y0_bar` and `p_bar` the derivative of the vjp, where `bars` are those of the states and
    /// `bars_dot`, made from the derivatives of the states, theirs along the direction.
    ///
    /// # Errors
    /// As for the states.
    pub fn second(
        &mut self,
        (y0, p): (&[f64], &[f64]),
        (y0_dot, p_dot): (&[f64], &[f64]),
        bars: &[f64],
        bars_dot: impl FnOnce(&[f64]) -> Vec<f64>,
        (y0_bar, p_bar): (&mut [f64], &mut [f64]),
    ) -> Result<(), OdeError> {
        self.states(y0, p)?;
        self.passes += 1;
        let dot = self.one.forward(&self.solver, p, y0_dot, p_dot, &self.times)?.saved_dot;
        let bars_dot = bars_dot(&dot);
        let bars = Bars { times: &self.times, saved: bars, ..Bars::default() };
        let bars_dot = Bars { times: &self.times, saved: &bars_dot, ..Bars::default() };
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
