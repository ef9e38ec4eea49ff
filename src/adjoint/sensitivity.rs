//! Forward sensitivities: derivatives of the states by the start and the parameters.

use super::gradient::Adjoint;
use super::jumps::Jumps;
use super::tape::Memory;
use super::transpose::{Reverse, Transpose};
use crate::diff::{Map, Variational};
use crate::error::OdeError;
use crate::linalg::Scalar;
use crate::ode::{Integrate, Method, OdeReport, Options};

/// By what states are differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wrt {
    /// The start.
    Start,
    /// The parameters.
    Parameters,
    /// Both.
    #[default]
    Both,
}

/// What [`sensitivities`] integrates.
pub struct SensitivityProblem<'a, 'm, T> {
    span: (T, T),
    y0: &'a [T],
    p: &'a [T],
    save_at: &'a [T],
    wrt: Wrt,
    jumps: Option<&'a Jumps<'m, T>>,
}

impl<'a, 'm, T: Scalar> SensitivityProblem<'a, 'm, T> {
    /// From (t0, y0) to t1 with the parameters p; states and derivatives are wanted at the times `save_at`, in the order of integration.
    pub fn new(span: (T, T), y0: &'a [T], p: &'a [T], save_at: &'a [T]) -> Self {
        Self { span, y0, p, save_at, wrt: Wrt::Both, jumps: None }
    }
    /// Derivatives by these only.
    pub fn with_respect_to(mut self, wrt: Wrt) -> Self {
        self.wrt = wrt;
        self
    }
    /// Through these events.
    pub fn jumps(mut self, jumps: &'a Jumps<'m, T>) -> Self {
        self.jumps = Some(jumps);
        self
    }
}

/// States at save points and their derivatives. What was not reached is NaN.
#[derive(Debug, Clone)]
pub struct Sensitivities<T> {
    /// How the integration ended.
    pub report: OdeReport,
    /// Of the time at which one of the jumps ended it, by the components of the start, then by the parameters; else zeros.
    pub t1: Vec<T>,
    times: Vec<T>,
    states: Vec<T>,
    dots: Vec<T>,
    /// Numbers of a state; directions of the start and of the parameters.
    n: usize,
    start: usize,
    params: usize,
}

impl<T: Scalar> Sensitivities<T> {
    /// The save points.
    pub fn times(&self) -> &[T] {
        &self.times
    }
    /// The state at save point i, dim x batch.
    pub fn state(&self, i: usize) -> &[T] {
        &self.states[i * self.n..][..self.n]
    }
    /// dy/dy0 there: column j, of the length of the state, is the derivative by component j of the start (in a batch: of each by its own). Empty if not asked for.
    pub fn by_start(&self, i: usize) -> &[T] {
        &self.all(i)[..self.start * self.n]
    }
    /// dy/dp there, a column for each parameter. Empty if not asked for.
    pub fn by_parameters(&self, i: usize) -> &[T] {
        &self.all(i)[self.start * self.n..]
    }
    fn all(&self, i: usize) -> &[T] {
        let len = (self.start + self.params) * self.n;
        &self.dots[i * len..][..len]
    }
}

/// Integrates, and differentiates the states at the save points by the start and the parameters, all at once (the simultaneous method): the steps, chosen for the states alone, are made again
/// for the field's [`Variational`] equations. So the derivatives are those of the numbers that the solver returned, exact for its frozen steps, and the transpose of what
/// [`Adjoint`] gives. A step costs one Jacobian-vector product a stage and direction; of a Rosenbrock step one factorization, and the derivative of the Jacobian along each
/// direction. With few outputs and many parameters the adjoint is cheaper.
///
/// Methods are those of [`Adjoint`]. The error of the derivatives is not under control: of the same size as the states', as a rule. Where it must be, integrate
/// [`Variational`] equations as a field.
///
/// ```
/// use costate::adjoint::{SensitivityProblem, sensitivities};
/// use costate::expr::record;
/// use costate::ode::{Options, TSIT54};
/// // Lotka-Volterra: hares and lynxes, and how their numbers answer to the four rates.
/// let mut field = record(2, 4, |_, y, p, dy| {
///     dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
///     dy[1] = p[2] * y[0] * y[1] - p[3] * y[1];
/// })?
/// .into_map();
/// let (y0, p) = ([1.0, 1.0], [1.5, 1.0, 1.0, 3.0]);
/// let problem = SensitivityProblem::new((0.0, 10.0), &y0, &p, &[5.0, 10.0]);
/// let s = sensitivities(&mut field, &TSIT54, &Options::tolerances(1e-9, 1e-9), &problem)?;
/// assert!(s.report.ok());
/// // By hand: the same with the first rate a little larger.
/// let more = [1.5 + 1e-6, 1.0, 1.0, 3.0];
/// let moved = SensitivityProblem::new((0.0, 10.0), &y0, &more, &[10.0]);
/// let moved = sensitivities(&mut field, &TSIT54, &Options::tolerances(1e-9, 1e-9), &moved)?;
/// let quotient = (moved.state(0)[0] - s.state(1)[0]) / 1e-6;
/// assert!((s.by_parameters(1)[0] - quotient).abs() < 1e-3 * quotient.abs());
/// // The determinant of dy/dy0 is exp of the integral of the trace of df/dy.
/// let d = s.by_start(1);
/// assert!((d[0] * d[3] - d[2] * d[1] - s.state(1)[0] * s.state(1)[1]).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sensitivities<'f, T, D, F>(
    mut field: &'f mut F,
    method: D,
    options: &Options,
    problem: &SensitivityProblem<'_, '_, T>,
) -> Result<Sensitivities<T>, OdeError>
where
    T: Scalar,
    D: Method<T>,
    F: Map<T>,
    D::Integrator: Transpose<T> + Integrate<T, &'f mut F>,
    <D::Integrator as Transpose<T>>::Back: Reverse<T, Variational<&'f mut F, T>>,
{
    let SensitivityProblem { span, y0, p, save_at, wrt, jumps } = *problem;
    let (dim, n) = (field.inputs(), y0.len());
    // Of the tape only the steps are needed.
    let mut solver =
        Adjoint::new(method, dim, n.checked_div(dim).unwrap_or(0), options, Memory::Checkpoints(1))?;
    let report = match jumps {
        Some(jumps) => solver.forward_jumps(&mut field, span, y0, p, jumps, &mut ())?,
        None => solver.forward(&mut field, span, y0, p, &mut ())?,
    };
    let (start, params) = match wrt {
        Wrt::Start => (dim, 0),
        Wrt::Parameters => (0, p.len()),
        Wrt::Both => (dim, p.len()),
    };
    let (k, nan) = (start + params, T::of(f64::NAN));
    let mut out = Sensitivities {
        report,
        t1: vec![T::ZERO; k],
        times: save_at.to_vec(),
        states: vec![nan; n * save_at.len()],
        dots: vec![nan; n * k * save_at.len()],
        n,
        start,
        params,
    };
    if solver.tape().is_empty() {
        return Ok(out);
    }
    let (mut y0_dot, mut p_dot) = (vec![T::ZERO; n * k], vec![T::ZERO; p.len() * k]);
    for j in 0..start {
        y0_dot[j * n..][..n].iter_mut().skip(j).step_by(dim).for_each(|v| *v = T::ONE);
    }
    for j in 0..params {
        p_dot[(start + j) * p.len() + j] = T::ONE;
    }
    let end = solver.tape().span().1;
    let reached = save_at.iter().filter(|&&t| if span.1 > span.0 { t <= end } else { t >= end }).count();
    let mut tangent = solver.tangent(field, k)?;
    let times = if report.ok() { save_at } else { &save_at[..reached] };
    let made = match jumps {
        Some(jumps) => tangent.forward_jumps(&solver, p, &y0_dot, &p_dot, times, jumps)?,
        None => tangent.forward(&solver, p, &y0_dot, &p_dot, times)?,
    };
    out.states[..made.saved.len()].copy_from_slice(&made.saved);
    out.dots[..made.saved_dot.len()].copy_from_slice(&made.saved_dot);
    out.t1 = made.t1_dot;
    Ok(out)
}
