//! The linear system of a step: K (`matrix`, or products: `operator`), its regularization by inertia (`inertia`) or curvature,
//! accurate solves with a low-rank part (`refine`), and the one search for a usable step (`direction`).

mod direction;
mod inertia;
mod lanczos;
mod matrix;
mod normal_equations;
mod norms;
mod operator;
mod refine;

pub(super) use direction::{Always, Direction, NoDirection, Rule, StepTest};
pub(super) use refine::REFINED;

use std::time::Instant;

use super::hessian::{Model, Of};
use super::iterate::Point;
use super::options::Options;
use super::problem::{BadEvaluation, Evaluator, Form};
use crate::linalg::SparseMatrix;
use crate::linsol::{LinSolError, LinearSolver, Prepared};
use crate::observe::StopToken;
use crate::report::LinearStats;
use lanczos::LanczosWork;
use matrix::KktMatrix;
use normal_equations::NormalEquations;
use operator::KktOperator;

/// Delta for rank-deficient Jacobians, relative to the scaled problem.
pub(super) const DELTA: f64 = 1e-8;

/// Which K.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// H of the Lagrangian.
    Optimality,
    /// H = sum c_i hess c_i, or 0 (Gauss-Newton), with delta = 1: the Newton system of |c|^2 / 2.
    Feasibility { hessian: bool },
    /// H = 0 and S = 0, with t = 1: least-squares multipliers.
    Multipliers,
}

impl System {
    fn of(self) -> Option<Of> {
        match self {
            Self::Optimality => Some(Of::Lagrangian),
            Self::Feasibility { hessian: true } => Some(Of::Violation),
            Self::Feasibility { hessian: false } | Self::Multipliers => None,
        }
    }
}

/// Memory of the regularization t D, -delta I of a row of steps.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Regularization {
    /// Last t > 0 that gave the right inertia.
    pub last_t: f64,
    /// t to begin with: raised when steps turn out to be too long for the model.
    pub floor: f64,
    /// J was found rank deficient: begin with delta > 0.
    pub deficient: bool,
}

/// What the linear algebra borrows for one call.
pub(super) struct Env<'e, 'p> {
    pub problem: &'e mut Evaluator<'p>,
    pub hessian: &'e mut dyn Model,
    pub at: &'e Point,
    pub stop: &'e StopToken,
    pub options: &'e Options,
}

/// K, its solver, and the vectors of a step.
pub(super) struct Kkt {
    n: usize,
    m: usize,
    matrix: Option<KktMatrix>,
    /// In place of K in the feasibility phase, where that pays.
    normal: Option<NormalEquations>,
    solver: Box<dyn LinearSolver>,
    /// The solver factorizes K and knows its inertia.
    direct: bool,
    /// The present K, with its t and delta.
    system: System,
    /// The last factorization is that of an optimality system without a shift, of the right inertia.
    usable: bool,
    pub t: f64,
    pub delta: f64,
    pub memory: Regularization,
    /// S, length n; empty without bounds.
    pub barrier: Vec<f64>,
    /// D, length n.
    pub weights: Vec<f64>,
    /// -b, length n + m.
    pub rhs: Vec<f64>,
    /// z = (dx, dy), length n + m.
    pub step: Vec<f64>,
    /// A step kept aside, length n + m.
    pub kept: Vec<f64>,
    scratch: Vec<f64>,
    scratch2: Vec<f64>,
    lanczos: LanczosWork,
    pub stats: LinearStats,
    /// Seconds of linear algebra, products with a matrix-free operator left out.
    pub seconds: f64,
    /// Multiplications of all factorizations.
    pub work: f64,
    /// Those of the first one.
    pub unit: f64,
}

impl Kkt {
    pub fn new(form: &Form, hessian: &dyn Model, solver: Box<dyn LinearSolver>) -> Self {
        let (n, m) = (form.n, form.m);
        let zeros = |k: usize| vec![0.0; k];
        let direct = solver.facts().inertia;
        let has_entries = hessian.coordinates().is_some();
        Self {
            n,
            m,
            matrix: KktMatrix::new(form, hessian.coordinates()),
            normal: (direct && has_entries).then(|| NormalEquations::new(form)).flatten(),
            stats: LinearStats { solver: solver.name().into(), ..LinearStats::default() },
            solver,
            direct,
            system: System::Optimality,
            usable: false,
            t: 0.0,
            delta: 0.0,
            memory: Regularization::default(),
            barrier: zeros(if form.bounds.count() > 0 { n } else { 0 }),
            weights: vec![1.0; n],
            rhs: zeros(n + m),
            step: zeros(n + m),
            kept: zeros(n + m),
            scratch: zeros(n + m),
            scratch2: zeros(n + m),
            lanczos: LanczosWork::default(),
            seconds: 0.0,
            work: 0.0,
            unit: 0.0,
        }
    }

    /// The solver, for another K.
    pub fn into_solver(self) -> Box<dyn LinearSolver> {
        self.solver
    }

    /// Counts of a new solve begin.
    pub fn reset_counts(&mut self) {
        (self.stats.solves, self.stats.inner_iterations, self.stats.factorizations) = (0, 0, 0);
        (self.seconds, self.work, self.unit) = (0.0, 0.0, 0.0);
    }

    /// A new row of steps, from another point: what regularization and solver remember is gone, D = I.
    pub fn restart(&mut self) {
        self.solver.forget();
        self.memory = Regularization::default();
        self.weights.fill(1.0);
        self.usable = false;
    }

    /// The last factorization is that of an optimality system without a shift, of the right inertia.
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    /// It belongs to a point that is not of interest any more.
    pub fn forget(&mut self) {
        self.usable = false;
    }

    /// The solver factorizes K and knows its inertia.
    pub fn is_direct(&self) -> bool {
        self.direct
    }

    /// A copy of K as it was filled, with S, without regularization.
    pub fn unregularized(&mut self) -> Option<SparseMatrix> {
        let k = self.matrix.as_mut()?;
        k.regularize(&self.barrier, 0.0, &self.weights, 0.0);
        Some(k.matrix().clone())
    }

    /// Entries of H on the pattern of K.
    pub fn hessian_len(&self) -> Option<usize> {
        self.matrix.as_ref().map(KktMatrix::hessian_len)
    }

    /// Largest entry of H; 0 without entries.
    pub fn largest_hessian_entry(&self) -> f64 {
        self.matrix.as_ref().map_or(0.0, KktMatrix::largest_hessian_entry)
    }

    /// Another model of H, with entries on a part of the pattern.
    pub fn set_hessian(&mut self, hessian: &dyn Model) {
        if let (Some(k), Some(places)) = (&mut self.matrix, hessian.coordinates()) {
            k.set_hessian(places);
        }
    }

    /// Chooses K and copies H, as observed, and J of the point into it.
    pub fn fill(&mut self, e: &Env<'_, '_>, system: System) {
        self.system = system;
        self.usable = false;
        if matches!(system, System::Feasibility { .. }) && self.normal.is_some() {
            return;
        }
        if let Some(k) = &mut self.matrix {
            let values = if system.of().is_some() { e.hessian.values() } else { &[] };
            k.fill(values, &e.at.jacobian);
        }
    }

    /// For the feasibility phase: J of the point, once for all its dampings.
    pub fn fill_normal(&mut self, e: &Env<'_, '_>) {
        if let (Some(normal), Some(pattern)) = (&mut self.normal, &e.problem.form.jacobian) {
            normal.fill(pattern.with(&e.at.jacobian));
        }
    }

    /// D <- |diag H| + S, at least `smallest` times the largest: a shift relative to the curvature along each variable. Needs H in K.
    pub fn weigh_by_curvature(&mut self, smallest: f64) {
        let Some(k) = &self.matrix else { return };
        for (j, (w, h)) in self.weights.iter_mut().zip(k.hessian_diagonal()).enumerate() {
            *w = h.abs();
            *w += self.barrier.get(j).copied().unwrap_or(0.0);
        }
        let largest = crate::linalg::norm_inf(&self.weights);
        let smallest = if largest > 0.0 { smallest * largest } else { 1.0 };
        self.weights.iter_mut().for_each(|w| *w = w.max(smallest));
    }

    /// Hands K with this regularization to the linear solver.
    pub fn factor(&mut self, e: &mut Env<'_, '_>, t: f64, delta: f64) -> Result<Prepared, LinSolError> {
        let (start, before) = (Instant::now(), e.problem.seconds);
        (self.t, self.delta) = (t, delta);
        let barrier: &[f64] = if self.system == System::Multipliers { &[] } else { &self.barrier };
        let result = match (self.system, &mut self.normal) {
            (System::Feasibility { hessian }, Some(normal)) => {
                let values = hessian.then(|| (e.hessian.coordinates(), e.hessian.values()));
                normal.prepare(values, (t, &self.weights, barrier), e.stop)
            }
            _ => {
                if let Some(k) = &mut self.matrix {
                    k.regularize(barrier, t, &self.weights, delta);
                }
                self.with_operator(e, |solver, operator, _, _, stop| solver.prepare(operator, stop))
            }
        };
        if let Some(b) = e.hessian.low_rank() {
            b.corrected = false;
        }
        self.stats.factorizations += 1;
        if let Ok(p) = &result {
            self.work += p.work;
            if self.unit == 0.0 {
                self.unit = p.work;
            }
        }
        self.seconds += start.elapsed().as_secs_f64() - (e.problem.seconds - before);
        result
    }

    /// Calls the solver with K, the right-hand side and the step.
    fn with_operator<R>(
        &mut self,
        e: &mut Env<'_, '_>,
        f: impl FnOnce(&mut dyn LinearSolver, &mut KktOperator<'_, '_>, &[f64], &mut [f64], &StopToken) -> R,
    ) -> R {
        let mut operator = KktOperator {
            problem: e.problem,
            hessian: e.hessian,
            at: e.at,
            matrix: self.matrix.as_ref(),
            of: self.system.of(),
            t: self.t,
            weights: &self.weights,
            barrier: if self.system == System::Multipliers { &[] } else { &self.barrier },
            delta: self.delta,
            preconditioned: self.system == System::Optimality,
            scratch: &mut self.scratch2,
        };
        f(&mut *self.solver, &mut operator, &self.rhs, &mut self.step, e.stop)
    }

    /// out <- H v with H of the point as it was filled last.
    pub fn hess_mul(&self, e: &mut Env<'_, '_>, v: &[f64], out: &mut [f64]) -> Result<(), BadEvaluation> {
        let Some(of) = self.system.of() else {
            out.fill(0.0);
            return Ok(());
        };
        match &self.matrix {
            Some(k) if !e.hessian.is_learned() && !self.by_normal_equations() => {
                k.hess_mul(v, out);
                Ok(())
            }
            _ => e.hessian.apply(e.problem, e.at, of, v, out),
        }
    }

    fn by_normal_equations(&self) -> bool {
        matches!(self.system, System::Feasibility { .. }) && self.normal.is_some()
    }
}
