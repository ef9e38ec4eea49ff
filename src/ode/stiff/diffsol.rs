//! diffsol's implicit methods behind the same problem type, sinks and report.

use std::cell::RefCell;

use diffsol::error::OdeSolverError;
use diffsol::{
    DiffsolError, NalgebraLU, NalgebraMat, NalgebraVec, OdeBuilder, OdeEquations, OdeSolverMethod,
    OdeSolverStopReason,
};

use super::super::check::check_problem;
use super::super::options::{Options, Tolerance};
use super::super::report::{OdeCounts, OdeReport, OdeStop};
use super::super::step::{Fired, Start, Step, StepBody, StepBuffers, StepSink};
use super::super::stepper::Ask;
use crate::diff::{At, Linearizer, Map};
use crate::error::{OdeError, catch};
use crate::linalg::Norm;
use crate::linalg::kernels;

/// The methods of diffsol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiffsolMethod {
    /// Backward differentiation formulas of order 1 to 5, variable step: cheapest for large systems, where a factorization costs most.
    #[default]
    Bdf,
    /// TR-BDF2, order 2, stiffly accurate.
    TrBdf2,
    /// A singly diagonally implicit Runge-Kutta method of order 3, four stages, the first one explicit (Jorgensen, Kristensen, Thomsen 2018).
    Esdirk34,
}

/// Integration by diffsol, on dense matrices of nalgebra, f64.
///
/// Options it has no place for are refused: relative tolerances per component, the maximum norm, a longest or a fixed step; the controller is its own.
/// It makes its workspace in every run. The error of a step is not told: [`Step::error`] is zero. A batch is one large system.
/// Interpolants of steps are polynomials of degree five through values of diffsol's own.
#[derive(Debug, Clone)]
pub struct Diffsol {
    method: DiffsolMethod,
    options: Options,
    dim: usize,
    batch: usize,
    y: Vec<f64>,
}

/// What the closures share.
struct Shared<'a, F> {
    field: &'a mut F,
    lin: Linearizer<f64>,
    jac: Vec<f64>,
    dfdt: Vec<f64>,
    f: Vec<f64>,
    /// Where `jac` belongs to.
    at: Option<f64>,
    y: Vec<f64>,
    counts: OdeCounts,
}

impl<F: Map<f64>> Shared<'_, F> {
    /// out <- J(t, y) v; J is made once for each (t, y).
    fn product(&mut self, t: f64, y: &[f64], p: &[f64], v: &[f64], out: &mut [f64]) {
        if self.at != Some(t) || self.y != y {
            let (at, h) = (At::new(t, y, p), 1e-3 * (1.0 + t.abs()));
            self.field.value(at, &mut self.f);
            let work = self.lin.linearize(self.field, at, h, &self.f, &mut self.jac, &mut self.dfdt);
            self.counts.evals += 1 + work.values;
            self.counts.pullbacks += work.vjps;
            self.counts.jacobians += 1;
            self.at = Some(t);
            self.y.copy_from_slice(y);
        }
        let n = self.field.inputs();
        out.fill(0.0);
        for ((block, v), out) in
            self.jac.chunks_exact(n * n).zip(v.chunks_exact(n)).zip(out.chunks_exact_mut(n))
        {
            for (column, &v) in block.chunks_exact(n).zip(v) {
                out.iter_mut().zip(column).for_each(|(o, j)| *o += j * v);
            }
        }
    }
}

impl Diffsol {
    /// For states of dim x batch.
    pub fn new(method: DiffsolMethod, dim: usize, batch: usize, options: &Options) -> Result<Self, OdeError> {
        options.check()?;
        options.scale::<f64>(dim, batch)?;
        if dim * batch == 0 {
            let what = format!("a state of {dim} components and a batch of {batch} is empty");
            return Err(OdeError::Mismatch { what });
        }
        let refused = |ok: bool, option: &'static str, value: f64, must: &'static str| {
            if ok { Ok(()) } else { Err(OdeError::Option { option, value, must }) }
        };
        let rtol = if let Tolerance::Each(r) = &options.rtol { r[0] } else { 0.0 };
        refused(matches!(options.rtol, Tolerance::One(_)), "rtol", rtol, "one number for diffsol")?;
        refused(options.norm == Norm::Rms, "norm", 0.0, "the root mean square for diffsol")?;
        refused(options.max_step.is_infinite(), "max_step", options.max_step, "infinite for diffsol")?;
        let fixed = options.fixed_step;
        refused(fixed.is_none(), "fixed_step", fixed.unwrap_or(0.0), "absent for diffsol")?;
        Ok(Self { method, options: options.clone(), dim, batch, y: vec![0.0; dim * batch] })
    }
    /// The final state of the last run.
    pub fn y(&self) -> &[f64] {
        &self.y
    }

    /// Integrates from (t0, y0) to t1, forwards or backwards; `sinks` see every accepted step.
    pub fn run<F: Map<f64>, S: StepSink<f64>>(
        &mut self,
        field: &mut F,
        span: (f64, f64),
        y0: &[f64],
        p: &[f64],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        check_problem(field, &Ask { dim: self.dim, batch: self.batch, span, y0, p })?;
        Linearizer::check(field, "diffsol")?;
        catch(|| {
            sinks.start(&Start { t0: span.0, t1: span.1, y0, dim: self.dim, smooth: true })?;
            self.y.copy_from_slice(y0);
            self.solve(field, span, p, sinks)
        })?
    }

    fn solve<F: Map<f64>, S: StepSink<f64>>(
        &mut self,
        field: &mut F,
        (t0, t1): (f64, f64),
        p: &[f64],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        let n = self.y.len();
        let mut f = vec![0.0; n];
        field.value(At::new(t0, &self.y, p), &mut f);
        let counts = OdeCounts { evals: 1, ..OdeCounts::default() };
        if !kernels::all_finite(&f) {
            return Ok(report(OdeStop::StartNotFinite, t0, t1 - t0, counts));
        }
        let jac = vec![0.0; n * self.dim];
        let shared = RefCell::new(Shared {
            field,
            lin: Linearizer::default(),
            jac,
            dfdt: vec![0.0; n],
            f,
            at: None,
            y: vec![0.0; n],
            counts,
        });
        let atol = match &self.options.atol {
            Tolerance::One(a) => vec![*a; n],
            Tolerance::Each(a) => a.iter().copied().cycle().take(n).collect(),
        };
        let Tolerance::One(rtol) = self.options.rtol else { unreachable!("refused by `new`") };
        let start = self.y.clone();
        let built = OdeBuilder::<NalgebraMat<f64>>::new()
            .t0(t0)
            .h0(if t1 > t0 { 1.0 } else { -1.0 })
            .rtol(rtol)
            .atol(atol)
            .p(p.to_vec())
            .rhs_implicit(
                |y: &[f64], p: &[f64], t: f64, dy: &mut [f64]| {
                    let mut shared = shared.borrow_mut();
                    shared.counts.evals += 1;
                    shared.field.value(At::new(t, y, p), dy);
                },
                |y: &[f64], p: &[f64], t: f64, v: &[f64], out: &mut [f64]| {
                    shared.borrow_mut().product(t, y, p, v, out);
                },
            )
            .init(move |_: &[f64], _: f64, y: &mut [f64]| y.copy_from_slice(&start), n)
            .build();
        let refused = |e: DiffsolError| OdeError::Mismatch { what: format!("diffsol: {e}") };
        let mut problem = built.map_err(refused)?;
        // These count over the whole life of a solver, and are small.
        problem.ode_options.max_nonlinear_solver_failures = usize::MAX;
        problem.ode_options.min_timestep = self.options.min_step.max(f64::MIN_POSITIVE);
        let run = Run { p, t0, t1, options: &self.options, y: &mut self.y, sinks, shared: &shared };
        match self.method {
            DiffsolMethod::Bdf => run.steps(problem.bdf::<NalgebraLU<f64>>().map_err(refused)?),
            DiffsolMethod::TrBdf2 => run.steps(problem.tr_bdf2::<NalgebraLU<f64>>().map_err(refused)?),
            DiffsolMethod::Esdirk34 => run.steps(problem.esdirk34::<NalgebraLU<f64>>().map_err(refused)?),
        }
    }
}

/// One integration.
struct Run<'a, 'f, F, S> {
    p: &'a [f64],
    t0: f64,
    t1: f64,
    options: &'a Options,
    y: &'a mut Vec<f64>,
    sinks: &'a mut S,
    shared: &'a RefCell<Shared<'f, F>>,
}

impl<F: Map<f64>, S: StepSink<f64>> Run<'_, '_, F, S> {
    fn steps<'e, E, M>(self, mut solver: M) -> Result<OdeReport, OdeError>
    where
        E: OdeEquations<T = f64, V = NalgebraVec<f64>> + 'e,
        M: OdeSolverMethod<'e, E>,
    {
        let Run { p, t0, t1, options, y, sinks, shared } = self;
        let n = y.len();
        if let Some(h) = options.first_step {
            *solver.state_mut().h = h.copysign(t1 - t0);
        }
        let refused = |e: DiffsolError| OdeError::Mismatch { what: format!("diffsol: {e}") };
        solver.set_stop_time(t1).map_err(refused)?;
        let (mut y1, mut dy0, mut y_end) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let (mut z, mut y_next, mut t, mut h) = (vec![], vec![], t0, t1 - t0);
        let mut value = solver.state().y.clone();
        let mut accepted = 0;
        let stop = loop {
            let statistics = solver.get_statistics();
            let rejected =
                statistics.number_of_error_test_failures + statistics.number_of_nonlinear_solver_fails;
            if accepted + rejected as u64 >= options.max_steps {
                break OdeStop::MaxSteps;
            }
            (0..n).for_each(|i| dy0[i] = solver.state().dy[i]);
            let outcome = match solver.step() {
                Ok(outcome) => outcome,
                Err(e) => break failure(&e),
            };
            let last = matches!(outcome, OdeSolverStopReason::TstopReached);
            let t_next = if last { t1 } else { solver.state().t };
            (0..n).for_each(|i| y1[i] = solver.state().y[i]);
            if !kernels::all_finite(&y1) {
                break OdeStop::SolverFailed;
            }
            h = t_next - t;
            let mut counts = shared.borrow().counts;
            counts.evals = 0;
            let mut body = Body {
                y0: y,
                y1: &y1,
                dy0: &dy0,
                z: &mut z,
                ready: false,
                at: &mut |theta: f64, out: &mut [f64]| {
                    let known = solver.interpolate_inplace(t + theta * h, &mut value).is_ok();
                    (0..n).for_each(|i| out[i] = if known { value[i] } else { f64::NAN });
                },
            };
            let mut fired = Fired::default();
            let room = (&mut y_end[..], &mut y_next, &mut fired);
            let mut step = Step::new(&mut body, (t, t, h, t_next), 0.0, accepted, room, &mut counts);
            let flow = sinks.accepted(&mut step);
            let (changed, shortened, t_end) = (step.changed, step.is_shortened(), step.t1());
            let moved = changed || shortened;
            accepted += 1;
            t = t_end;
            y.copy_from_slice(match (changed, shortened) {
                (true, _) => &y_next,
                (false, true) => &y_end,
                (false, false) => &y1,
            });
            sinks.retain(&mut StepBuffers { k: &mut vec![], keep: &mut vec![], noise: None });
            if flow.is_break() {
                break fired.reason;
            }
            if t == t1 {
                break OdeStop::Finished;
            }
            if moved {
                shared.borrow_mut().field.value(At::new(t, y, p), &mut dy0);
                shared.borrow_mut().counts.evals += 1;
                let state = solver.state_mut();
                (0..n).for_each(|i| (state.y[i], state.dy[i]) = (y[i], dy0[i]));
                *state.t = t;
                // The history is lost: a careful start.
                *state.h *= 0.01;
                solver.set_stop_time(t1).map_err(refused)?;
            }
        };
        let statistics = solver.get_statistics();
        let mut counts = shared.borrow().counts;
        counts.accepted = accepted;
        counts.rejected =
            (statistics.number_of_error_test_failures + statistics.number_of_nonlinear_solver_fails) as u64;
        counts.factorizations = statistics.number_of_linear_solver_setups as u64;
        Ok(report(stop, t, h, counts))
    }
}

fn failure(e: &DiffsolError) -> OdeStop {
    match e {
        DiffsolError::OdeSolverError(
            OdeSolverError::StepSizeTooSmall { .. } | OdeSolverError::TooManyErrorTestFailures { .. },
        ) => OdeStop::StepUnderflow,
        _ => OdeStop::SolverFailed,
    }
}

fn report(stop: OdeStop, t: f64, h: f64, counts: OdeCounts) -> OdeReport {
    let stability = f64::INFINITY;
    OdeReport { stop, t, h, error: 0.0, stiffness: None, stability, stiff_at: None, diagnosis: None, counts }
}

/// A step of diffsol as sinks see it.
struct Body<'a> {
    y0: &'a [f64],
    y1: &'a [f64],
    dy0: &'a [f64],
    /// Coefficients of the interpolant, made on demand.
    z: &'a mut Vec<f64>,
    ready: bool,
    at: &'a mut dyn FnMut(f64, &mut [f64]),
}

/// y = (1 - theta) y0 + theta y1 + theta (1 - theta) z(theta), z of degree 3 through four points inside the step.
const NODES: [f64; 4] = [0.2, 0.4, 0.6, 0.8];

impl Body<'_> {
    fn make(&mut self) {
        if self.ready {
            return;
        }
        let n = self.y0.len();
        self.z.resize(5 * n, 0.0);
        let (z, work) = self.z.split_at_mut(4 * n);
        z.fill(0.0);
        for (k, &theta) in NODES.iter().enumerate() {
            (self.at)(theta, work);
            // Lagrange's polynomial of this node in powers of theta.
            let mut basis = [1.0, 0.0, 0.0, 0.0];
            for (_, &node) in NODES.iter().enumerate().filter(|(l, _)| *l != k) {
                let scale = 1.0 / (theta - node);
                for m in (0..4).rev() {
                    let below = if m == 0 { 0.0 } else { basis[m - 1] };
                    basis[m] = (below - node * basis[m]) * scale;
                }
            }
            for i in 0..n {
                let line = (1.0 - theta) * self.y0[i] + theta * self.y1[i];
                let v = (work[i] - line) / (theta * (1.0 - theta));
                (0..4).for_each(|m| z[m * n + i] += basis[m] * v);
            }
        }
        self.ready = true;
    }
}

impl StepBody<f64> for Body<'_> {
    fn y0(&self) -> &[f64] {
        self.y0
    }
    fn y1(&self) -> &[f64] {
        self.y1
    }
    fn dy0(&self) -> &[f64] {
        self.dy0
    }
    fn stiffness(&mut self, _: f64) -> f64 {
        0.0
    }
    fn degree(&self) -> usize {
        4
    }
    fn prepare_dense(&mut self, _: f64, _: f64) -> u64 {
        self.make();
        0
    }
    fn interpolate(&mut self, theta: f64, _: f64, out: &mut [f64]) {
        let n = self.y0.len();
        for (i, o) in out.iter_mut().enumerate() {
            let z = (0..4).rev().fold(0.0, |s, m| s * theta + self.z[m * n + i]);
            *o = (1.0 - theta) * self.y0[i] + theta * self.y1[i] + theta * (1.0 - theta) * z;
        }
    }
    fn coefficients(&mut self, _: f64, out: &mut [f64]) {
        let n = self.y0.len();
        out[..4 * n].copy_from_slice(&self.z[..4 * n]);
    }
}
