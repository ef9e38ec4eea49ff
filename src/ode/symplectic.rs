//! Symplectic methods with a fixed step for separable Hamiltonian systems.

use super::check::check_problem;
use super::driver::Driver;
use super::method::Method;
use super::options::Options;
use super::report::OdeCounts;
use super::separable::SeparableMap;
use super::step::{StepBody, StepBuffers};
use super::stepper::{Ask, Carrier, Facts, Measure, Stepper, Trial};
use crate::diff::At;
use crate::error::OdeError;
use crate::linalg::Scalar;
use crate::linalg::kernels::{self, Scale};

/// A composition of kicks and drifts, the first and the last one a kick:
///
/// ```text
/// v_0 = v + h b_0 F(t, q_0);   q_i = q_(i-1) + h a_i V(t + h B_(i-1), v_(i-1)),   v_i = v_(i-1) + h b_i F(t + h A_i, q_i),   i = 1..s
/// A_i = a_1 + .. + a_i,   B_i = b_0 + .. + b_i
/// ```
///
/// The last force is the first one of the next step: s forces and s + 1 velocities a step (one for dy/dt at its start). Symmetric ones are reversible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SymplecticTableau {
    /// Short name.
    pub name: &'static str,
    /// Where the coefficients were published.
    pub citation: &'static str,
    /// Order.
    pub order: usize,
    /// b_0 .. b_s.
    pub kicks: &'static [f64],
    /// a_1 .. a_s.
    pub drifts: &'static [f64],
}

/// Order 2, one force a step: Stoermer's, Verlet's, or the leapfrog method.
pub static VERLET: SymplecticTableau = SymplecticTableau {
    name: "verlet",
    citation: "Hairer, Lubich, Wanner: Geometric numerical integration illustrated by the Stoermer-Verlet method, Acta Numerica 12 (2003) 399.",
    order: 2,
    kicks: &[0.5, 0.5],
    drifts: &[1.0],
};

/// Order 4, six forces a step: S6 of Blanes and Moan, with an error some hundred times smaller than that of the composition of three steps of order 2.
pub static BLANES_MOAN4: SymplecticTableau = SymplecticTableau {
    name: "blanes_moan4",
    citation: "Blanes, Moan: Practical symplectic partitioned Runge-Kutta and Runge-Kutta-Nystrom methods, J. Comput. Appl. Math. 142 (2002) 313.",
    order: 4,
    kicks: &[
        0.0792036964311957,
        0.353172906049774,
        -0.0420650803577195,
        1.0 - 2.0 * (0.0792036964311957 + 0.353172906049774 - 0.0420650803577195),
        -0.0420650803577195,
        0.353172906049774,
        0.0792036964311957,
    ],
    drifts: &[
        0.209515106613362,
        -0.143851773179818,
        0.5 - (0.209515106613362 - 0.143851773179818),
        0.5 - (0.209515106613362 - 0.143851773179818),
        -0.143851773179818,
        0.209515106613362,
    ],
};

impl SymplecticTableau {
    /// All built-in methods.
    pub fn all() -> [&'static SymplecticTableau; 2] {
        [&VERLET, &BLANES_MOAN4]
    }
    /// The built-in method of this name.
    pub fn by_name(name: &str) -> Option<&'static SymplecticTableau> {
        Self::all().into_iter().find(|t| t.name == name)
    }
    /// Forces, and velocities, of a step.
    pub fn stages(&self) -> usize {
        self.drifts.len()
    }
}

/// A symplectic method with its storage: made once, used for any number of integrations; no allocation per step. Systems are [`Separable`](super::Separable) or
/// [`SecondOrder`](super::SecondOrder) fields, and the step is [`Options::fixed_step`]: a step that changes would lose what the method is for. The energy stays within a band of width h^order for times
/// exponentially long in 1 / h; an event or the end of the span that cuts a step off breaks that once. Between the steps the solution is a cubic, of order 3.
///
/// Storage: (2 stages + 6) times the length of the state.
pub type SymplecticIntegrator<T> = Driver<T, Symplectic<T>>;

/// Coefficients and stages of a step, forward and for its transpose.
#[derive(Debug, Clone)]
pub(crate) struct Split<T> {
    pub tab: &'static SymplecticTableau,
    pub kicks: Vec<T>,
    pub drifts: Vec<T>,
    /// A_0 = 0 .. A_s, and B_0 .. B_s.
    pub force_times: Vec<T>,
    pub velocity_times: Vec<T>,
    m: usize,
    pub y0: Vec<T>,
    pub y1: Vec<T>,
    /// q_0 .. q_s, then v_0 .. v_(s-1), each m x batch.
    pub stages: Vec<T>,
    /// Halves of a state, or rates.
    q: Vec<T>,
    v: Vec<T>,
    rate: Vec<T>,
    /// dy/dt at the start and, where `dense`, at the end.
    pub slopes: Vec<T>,
    dense: bool,
}

impl<T: Scalar> Split<T> {
    pub fn new(tab: &'static SymplecticTableau, dim: usize, batch: usize) -> Self {
        let (n, half, s) = (dim * batch, dim / 2 * batch, tab.stages());
        let list = |x: &[f64]| x.iter().map(|&v| T::of(v)).collect::<Vec<T>>();
        let sums = |x: &[f64], from: f64| {
            let sums = x.iter().scan(from, |sum, v| {
                *sum += v;
                Some(*sum)
            });
            sums.map(T::of).collect::<Vec<T>>()
        };
        let mut force_times = vec![T::ZERO];
        force_times.extend(sums(tab.drifts, 0.0));
        let zeros = |len: usize| vec![T::ZERO; len];
        Self {
            tab,
            kicks: list(tab.kicks),
            drifts: list(tab.drifts),
            force_times,
            velocity_times: sums(tab.kicks, 0.0),
            m: dim / 2,
            y0: zeros(n),
            y1: zeros(n),
            stages: zeros((2 * s + 1) * half),
            q: zeros(half),
            v: zeros(half),
            rate: zeros(half),
            slopes: zeros(2 * n),
            dense: false,
        }
    }
    /// m x batch.
    pub fn half(&self) -> usize {
        self.q.len()
    }
    /// q_i.
    pub fn q(&self, i: usize) -> &[T] {
        &self.stages[i * self.half()..][..self.half()]
    }
    /// v_i.
    pub fn v(&self, i: usize) -> &[T] {
        let (s, half) = (self.tab.stages(), self.half());
        &self.stages[(s + 1 + i) * half..][..half]
    }

    /// The step from y0 with the force at its start in `force`, which becomes that at its end: y1 and all stages.
    pub fn step<S: SeparableMap<T>>(&mut self, s: &mut S, (t, h): (T, T), p: &[T], force: &mut [T]) {
        let (stages, half) = (self.tab.stages(), self.half());
        self.dense = false;
        split(&self.y0, self.m, &mut self.q, &mut self.v);
        self.stages[..half].copy_from_slice(&self.q);
        s.velocity(At::new(t, &self.v, p), &mut self.rate);
        let n = self.y0.len();
        join(&self.rate, force, self.m, &mut self.slopes[..n]);
        kernels::add_scaled(&mut self.v, h * self.kicks[0], force);
        for i in 1..=stages {
            self.stages[(stages + i) * half..][..half].copy_from_slice(&self.v);
            s.velocity(At::new(t + self.velocity_times[i - 1] * h, &self.v, p), &mut self.rate);
            kernels::add_scaled(&mut self.q, h * self.drifts[i - 1], &self.rate);
            self.stages[i * half..][..half].copy_from_slice(&self.q);
            s.force(At::new(t + self.force_times[i] * h, &self.q, p), force);
            kernels::add_scaled(&mut self.v, h * self.kicks[i], force);
        }
        join(&self.q, &self.v, self.m, &mut self.y1);
    }

    /// y1 again from stored stages.
    pub fn restore<S: SeparableMap<T>>(&mut self, s: &mut S, (t, h): (T, T), p: &[T]) {
        let (stages, half) = (self.tab.stages(), self.half());
        self.dense = false;
        self.q.copy_from_slice(&self.stages[stages * half..][..half]);
        self.v.copy_from_slice(&self.stages[2 * stages * half..][..half]);
        s.force(At::new(t + self.force_times[stages] * h, &self.q, p), &mut self.rate);
        kernels::add_scaled(&mut self.v, h * self.kicks[stages], &self.rate);
        join(&self.q, &self.v, self.m, &mut self.y1);
        let n = self.y0.len();
        s.value(At::new(t, &self.y0, p), &mut self.slopes[..n]);
    }

    /// The force at y0.
    pub fn force_at_start<S: SeparableMap<T>>(&mut self, s: &mut S, t: T, p: &[T], force: &mut [T]) {
        split(&self.y0, self.m, &mut self.q, &mut self.v);
        s.force(At::new(t, &self.q, p), force);
    }

    /// dy/dt at the end of the step; evaluations made.
    pub fn prepare_dense<S: SeparableMap<T>>(&mut self, s: &mut S, (t, h): (T, T), p: &[T]) -> u64 {
        if self.dense {
            return 0;
        }
        let n = self.y0.len();
        s.value(At::new(t + h, &self.y1, p), &mut self.slopes[n..]);
        self.dense = true;
        1
    }
    /// Cubic Hermite interpolation: z_0 = h f0 - (y1 - y0), z_1 = 2 (y1 - y0) - h (f0 + f1).
    fn coefficients(&self, i: usize, h: T) -> (T, T) {
        let (n, change) = (self.y0.len(), self.y1[i] - self.y0[i]);
        let (f0, f1) = (h * self.slopes[i], h * self.slopes[n + i]);
        (f0 - change, change + change - (f0 + f1))
    }
    /// out <- y(t + theta h), with dy/dt at both ends there.
    pub fn interpolate(&self, theta: T, h: T, out: &mut [T]) {
        for (i, o) in out.iter_mut().enumerate() {
            let (a, b) = self.coefficients(i, h);
            let bubble = theta * (T::ONE - theta);
            *o = (T::ONE - theta) * self.y0[i] + theta * self.y1[i] + bubble * (a + b * theta);
        }
    }
    /// out <- dy/dt of the interpolant.
    pub fn rate(&self, theta: T, h: T, out: &mut [T]) {
        let two = T::ONE + T::ONE;
        for (i, o) in out.iter_mut().enumerate() {
            let (a, b) = self.coefficients(i, h);
            let bubble = (T::ONE - two * theta) * (a + b * theta) + theta * (T::ONE - theta) * b;
            *o = (self.y1[i] - self.y0[i] + bubble) / h;
        }
    }
    /// Positions of a column.
    pub fn m(&self) -> usize {
        self.m
    }
}

/// Positions and velocities of all columns.
pub(crate) fn split<T: Scalar>(y: &[T], m: usize, q: &mut [T], v: &mut [T]) {
    for ((y, q), v) in y.chunks_exact(2 * m).zip(q.chunks_exact_mut(m)).zip(v.chunks_exact_mut(m)) {
        q.copy_from_slice(&y[..m]);
        v.copy_from_slice(&y[m..]);
    }
}

/// The state of positions and velocities.
pub(crate) fn join<T: Scalar>(q: &[T], v: &[T], m: usize, y: &mut [T]) {
    for ((y, q), v) in y.chunks_exact_mut(2 * m).zip(q.chunks_exact(m)).zip(v.chunks_exact(m)) {
        y[..m].copy_from_slice(q);
        y[m..].copy_from_slice(v);
    }
}

/// Steps of symplectic methods. Carried from step to step: y, and the force there.
#[derive(Debug, Clone)]
pub struct Symplectic<T> {
    pub(crate) split: Split<T>,
    force: Vec<T>,
    keep: Vec<T>,
}

impl<T: Scalar> Method<T> for &'static SymplecticTableau {
    type Integrator = SymplecticIntegrator<T>;
    fn integrator(
        self,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<SymplecticIntegrator<T>, OdeError> {
        SymplecticIntegrator::new(self, dim, batch, options)
    }
}

impl<T: Scalar> Driver<T, Symplectic<T>> {
    /// Storage for states of dim x batch.
    ///
    /// # Errors
    /// Options without a fixed step, an odd number of components.
    pub fn new(
        method: &'static SymplecticTableau,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        let wrong = |what: String| Err(OdeError::Mismatch { what });
        if options.fixed_step.is_none() {
            return wrong(format!("{} has no error estimate: give it a fixed step", method.name));
        }
        if !options.non_negative.is_empty() {
            return wrong(format!("{}: what non_negative cuts off is no symplectic map", method.name));
        }
        if dim % 2 == 1 {
            return wrong(format!("a state of {dim} components is no pair of positions and momenta"));
        }
        Self::make(dim, batch, options, |_| {
            let split = Split::new(method, dim, batch);
            Symplectic { force: vec![T::ZERO; split.half()], split, keep: vec![] }
        })
    }
    /// The method.
    pub fn method(&self) -> &'static SymplecticTableau {
        self.stepper.split.tab
    }
}

impl<T: Scalar> Carrier<T> for Symplectic<T> {
    fn facts(&self) -> Facts {
        Facts { control_order: (self.split.tab.order + 1) as f64, stability: f64::INFINITY }
    }
    fn y(&self) -> &[T] {
        &self.split.y0
    }
    fn slope(&self) -> &[T] {
        &self.split.slopes[..self.split.y0.len()]
    }
    fn carried(&self) -> Vec<u64> {
        self.force.iter().map(|f| f.f64().to_bits()).collect()
    }
    fn carry(&mut self, carried: &[u64]) -> Result<(), OdeError> {
        self.force.iter_mut().zip(carried).for_each(|(f, bits)| *f = T::of(f64::from_bits(*bits)));
        Ok(())
    }
    fn end_mut(&mut self) -> &mut [T] {
        &mut self.split.y1
    }
    fn start(&mut self, y0: &[T]) {
        self.split.y0.copy_from_slice(y0);
    }
    fn commit(&mut self, moved: Option<&mut Vec<T>>) {
        std::mem::swap(&mut self.split.y0, moved.unwrap_or(&mut self.split.y1));
    }
    fn lend(&mut self, take: impl FnOnce(&mut StepBuffers<'_, T>)) {
        take(&mut StepBuffers { k: &mut self.split.stages, keep: &mut self.keep, noise: None });
    }
}

impl<T: Scalar, S: SeparableMap<T>> Stepper<T, S> for Symplectic<T> {
    fn sizes(s: &S) -> (usize, usize) {
        (s.inputs(), s.n_params())
    }
    fn check(&self, s: &S, ask: &Ask<'_, T>) -> Result<(), OdeError> {
        check_problem(s, ask)
    }
    fn begin(
        &mut self,
        s: &mut S,
        (t0, t1): (T, T),
        p: &[T],
        (options, _): (&Options, &Scale<T>),
        counts: &mut OdeCounts,
    ) -> Option<T> {
        let n = self.split.y0.len();
        let slope = &mut self.split.slopes[..n];
        s.value(At::new(t0, &self.split.y0, p), slope);
        let finite = kernels::all_finite(slope);
        self.split.force_at_start(s, t0, p, &mut self.force);
        counts.evals += 2;
        let step = options.fixed_step?.min((t1 - t0).abs().f64()).min(options.max_step);
        let step = T::of(step);
        finite.then_some(if t1 > t0 { step } else { -step })
    }
    fn refresh(&mut self, s: &mut S, t: T, p: &[T], counts: &mut OdeCounts) {
        self.split.force_at_start(s, t, p, &mut self.force);
        counts.evals += 1;
    }
    /// Half of the field is evaluated at a time; a force and a velocity count as one evaluation. There is no error estimate.
    fn attempt(
        &mut self,
        s: &mut S,
        th: (T, T),
        p: &[T],
        _: Measure<'_, T>,
        counts: &mut OdeCounts,
    ) -> Trial<T> {
        self.split.step(s, th, p, &mut self.force);
        counts.evals += self.split.tab.stages() as u64;
        let finite = kernels::all_finite(&self.split.y1);
        let error = if finite { T::ZERO } else { T::of(f64::NAN) };
        Trial { error, square: error.f64() }
    }
    fn derivative(&self, s: &mut S, at: At<'_, T>, out: &mut [T], counts: &mut OdeCounts) {
        s.value(at, out);
        counts.evals += 1;
    }
    fn body<'a>(&'a mut self, s: &'a mut S, p: &'a [T]) -> impl StepBody<T> + 'a {
        SplitBody { split: &mut self.split, s, p }
    }
    fn probe(&mut self, _: &mut S, _: (T, T), _: &[T], _: &mut OdeCounts) -> Option<T> {
        None
    }
}

/// A step as sinks see it.
struct SplitBody<'a, T, S> {
    split: &'a mut Split<T>,
    s: &'a mut S,
    p: &'a [T],
}

impl<T: Scalar, S: SeparableMap<T>> StepBody<T> for SplitBody<'_, T, S> {
    fn y0(&self) -> &[T] {
        &self.split.y0
    }
    fn y1(&self) -> &[T] {
        &self.split.y1
    }
    fn dy0(&self) -> &[T] {
        &self.split.slopes[..self.split.y0.len()]
    }
    fn stiffness(&mut self, _: T) -> T {
        T::ZERO
    }
    fn degree(&self) -> usize {
        2
    }
    fn prepare_dense(&mut self, t: T, h: T) -> u64 {
        self.split.prepare_dense(self.s, (t, h), self.p)
    }
    fn interpolate(&mut self, theta: T, h: T, out: &mut [T]) {
        self.split.interpolate(theta, h, out);
    }
    fn coefficients(&mut self, h: T, out: &mut [T]) {
        let n = self.split.y0.len();
        let (a, b) = out.split_at_mut(n);
        for i in 0..n {
            (a[i], b[i]) = self.split.coefficients(i, h);
        }
    }
}
