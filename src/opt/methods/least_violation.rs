//! The feasibility phase: min |c(x)|^2 / 2 by a Levenberg-Marquardt method with exact second derivatives where they help.
//!
//! With r = c + J dx the step (W + J'J + mu D) dx = -J'c, W = sum c_i hess c_i, is the solution of
//!
//! ```text
//!     [ W + mu D   J' ] [ dx ]   [  0 ]
//!     [ J         -I  ] [ r  ] = [ -c ]
//! ```
//!
//! which has inertia (n, m, 0) exactly if the quadratic model is convex; otherwise W is dropped (Gauss-Newton) or, after many
//! iterations, mu is raised.
//! D holds the largest squared column norms of J so far (More 1978). The damping mu follows the ratio of actual to
//! predicted reduction (Nielsen 1999).
//!
//! With bounds the same is done for |c|^2 / 2 + B(x), B the logarithmic barrier with a parameter of its own that falls with
//! |c|^2: S joins W, -grad B the right-hand side, and steps end before the bounds.

use super::Method;
use crate::linalg::{dot, norm_inf, norm1, norm2};
use crate::linsol::{LinSolError, SolveEnd};
use crate::observe::IterationRow;
use crate::opt::globalization::Filter;
use crate::opt::hessian::Of;
use crate::opt::iterate::{Point, Residuals};
use crate::opt::kkt::{REFINED, System};
use crate::opt::phase::{Cause, NoStep, PhaseEnd, Solve, Taken, linear, over, stopped};
use crate::opt::problem::{Bounds, Form, multiplier_length};

/// Steps with a smaller ratio of actual to predicted reduction are refused.
const ACCEPT: f64 = 1e-4;
/// Where |c|^2 cannot be resolved further, the violation counts as stationary up to this relative gradient.
const ROUNDED_STATIONARITY: f64 = 1e-6;
/// What a gradient may be relative to the present columns of J, in units of what it may be relative to the largest so far.
const SLACK: f64 = 100.0;
/// Below this ratio a second-order correction is tried.
const POOR: f64 = 0.5;
const FIRST_DAMPING: f64 = 1e-3;
const LARGEST_DAMPING: f64 = 1e25;
/// Iterations after which no more Gauss-Newton steps are taken where W is known.
const LONG_VALLEY: u64 = 1000;
/// Share of the way to a bound that a step may go.
const TO_BOUNDARY: f64 = 0.99;
/// Barrier terms may be this share of |c|^2.
const BARRIER_SHARE: f64 = 1e-2;
const FIRST_BARRIER: f64 = 0.1;

/// What ends the phase before the violation is stationary.
#[derive(Debug, Default)]
pub(in crate::opt) struct Goal {
    /// |c~| <= this.
    pub violation: f64,
    /// Or a point that the filter accepts.
    pub filter: Option<FilterGoal>,
}

/// |c~|_1 <= `theta`, and the filter accepts the point with barrier parameter `mu`.
#[derive(Debug)]
pub(in crate::opt) struct FilterGoal {
    pub filter: Filter,
    pub theta: f64,
    pub mu: f64,
}

/// See the module. On `Feasible` the multipliers are y = 0, and z those of the barrier.
#[derive(Debug)]
pub(in crate::opt) struct LeastViolation {
    goal: Goal,
    damping: f64,
    growth: f64,
    /// Barrier parameter, and grad B, length n (empty without bounds).
    barrier: f64,
    barrier_gradient: Vec<f64>,
    dzl: Vec<f64>,
    dzu: Vec<f64>,
    /// c at x + dx, length m, while a correction is tried.
    uncorrected: Vec<f64>,
    /// Squared column norms of the present J, length n.
    squares: Vec<f64>,
    /// J'c - zl + zu at the current point, and at a trial point.
    gradient: Vec<f64>,
    trial_gradient: Vec<f64>,
    stationarity: f64,
}

/// How good a trial point is.
#[derive(Debug, Clone, Copy)]
struct Trial {
    alpha: f64,
    /// Predicted reduction of |c|^2 / 2 + B, and actual over predicted; negative infinity where c cannot be evaluated.
    predicted: f64,
    ratio: f64,
}

impl LeastViolation {
    pub fn new(form: &Form) -> Self {
        let zeros = |k: usize| vec![0.0; k];
        let nz = if form.bounds.count() > 0 { form.n } else { 0 };
        Self {
            goal: Goal::default(),
            damping: 0.0,
            growth: 0.0,
            barrier: 0.0,
            barrier_gradient: zeros(nz),
            dzl: zeros(nz),
            dzu: zeros(nz),
            uncorrected: zeros(form.m),
            squares: zeros(form.n),
            gradient: zeros(form.n),
            trial_gradient: zeros(form.n),
            stationarity: f64::INFINITY,
        }
    }

    /// As new, with its memory.
    pub fn renew(&mut self) {
        self.goal = Goal::default();
        self.stationarity = f64::INFINITY;
    }

    pub fn set_goal(&mut self, goal: Goal) {
        self.goal = goal;
    }

    /// Gives the filter back.
    pub fn take_filter(&mut self) -> Option<FilterGoal> {
        self.goal.filter.take()
    }

    fn is_reached(&self, bounds: &Bounds, p: &Point, r: &Residuals) -> bool {
        r.scaled_primal <= self.goal.violation
            || self.goal.filter.as_ref().is_some_and(|g| {
                let theta = norm1(&p.c);
                theta <= g.theta && g.filter.accepts(theta, p.f + bounds.barrier(&p.x, g.mu))
            })
    }

    /// Lowers the barrier parameter where its subproblem is solved or |c| has fallen; S.
    fn lower_barrier(&mut self, s: &mut Solve<'_>) {
        if self.barrier_gradient.is_empty() {
            return;
        }
        let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
        let mut mu = self.barrier.min(largest_barrier(bounds, p));
        let residual = norm_inf(&self.gradient).max(bounds.complementarity(&p.x, &p.zl, &p.zu, mu));
        if residual <= 10.0 * mu {
            mu = (0.2 * mu).min(mu.powf(1.5));
        }
        self.barrier = mu.max(1e-30);
        self.barrier_gradient.fill(0.0);
        bounds.add_barrier_gradient(&p.x, self.barrier, &mut self.barrier_gradient);
        bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut s.kkt.barrier);
    }

    /// D <- max(D, squared column norms of J).
    fn update_weights(&mut self, s: &mut Solve<'_>) {
        if let Some(pattern) = &s.problem.form.jacobian {
            let values = &s.at.current.jacobian;
            for (j, square) in self.squares.iter_mut().enumerate() {
                let column = pattern.col_ptr[j]..pattern.col_ptr[j + 1];
                *square = values[column].iter().map(|v| v * v).sum();
            }
        } else {
            self.squares.fill(1.0);
        }
        let largest = norm_inf(&self.squares).max(f64::MIN_POSITIVE);
        for (w, square) in s.kkt.weights.iter_mut().zip(&self.squares) {
            *w = w.max(*square).max(1e-16 * largest);
        }
    }

    /// max_j |J_j'c - zl + zu| / (max(1, |J_j|) |c|) and max_j |z d| / |c|^2 at the current point: 0 where the violation is
    /// stationary. |J_j| is the largest so far: the gradient has fallen; but relative to the present one it must be small, too, if
    /// `SLACK` times less so: else gradients that fell because |J_j| did would pass for small.
    fn measure_stationarity(&mut self, s: &mut Solve<'_>) -> f64 {
        let p = &s.at.current;
        if s.problem.jac_t_mul(p.at(), &p.c, &mut self.gradient).is_err() {
            return f64::INFINITY;
        }
        let bounds = &s.problem.form.bounds;
        bounds.add_multipliers(&p.zl, &p.zu, &mut self.gradient);
        let size = norm2(&p.c).max(f64::MIN_POSITIVE);
        let complementarity = bounds.complementarity(&p.x, &p.zl, &p.zu, 0.0) / (size * size);
        let terms = self.gradient.iter().zip(s.kkt.weights.iter().zip(&self.squares));
        let relative = |g: f64, square: f64| g.abs() / (square.sqrt().max(1.0) * size);
        terms.fold(complementarity, |a, (&g, (&w, &s))| a.max(relative(g, w)).max(relative(g, s) / SLACK))
    }

    /// |J'c|, weighted, is smaller at the trial point.
    fn gradient_falls(&mut self, s: &mut Solve<'_>) -> bool {
        let p = &s.at.trial;
        if s.problem.jac_t_mul(p.at(), &p.c, &mut self.trial_gradient).is_err() {
            return false;
        }
        s.problem.form.bounds.add_multipliers(&p.zl, &p.zu, &mut self.trial_gradient);
        let weights = &s.kkt.weights;
        let weighted = |g: &[f64]| g.iter().zip(weights).map(|(g, w)| g * g / w).sum::<f64>();
        weighted(&self.trial_gradient) < weighted(&self.gradient)
    }

    /// Evaluates c at x + alpha dx; actual over predicted reduction.
    fn ratio(&self, s: &mut Solve<'_>, alpha: f64, predicted: f64) -> f64 {
        let bounds = &s.problem.form.bounds;
        s.at.place_x(bounds, &s.kkt.step, alpha);
        s.at.trial.y.fill(0.0);
        let (current, trial) = (&s.at.current, &mut s.at.trial);
        if trial.functions(&mut s.problem).is_err() {
            return f64::NEG_INFINITY;
        }
        let mut actual = 0.5 * (dot(&current.c, &current.c) - dot(&trial.c, &trial.c));
        if self.barrier > 0.0 {
            let bounds = &s.problem.form.bounds;
            actual += bounds.barrier(&current.x, self.barrier) - bounds.barrier(&trial.x, self.barrier);
        }
        if predicted > 0.0 { actual / predicted } else { -1.0 }
    }

    /// Adds to dx the correction d of min |c(x + dx) + J d|^2 + mu |d|^2, which follows a curved valley; one more
    /// evaluation of c, no factorization. Keeps dx where the correction does not help. Returns the better ratio.
    fn second_order_correction(&mut self, s: &mut Solve<'_>, t: &Trial) -> f64 {
        let n = s.problem.form.n;
        let f = s.at.trial.f;
        self.uncorrected.copy_from_slice(&s.at.trial.c);
        let before = dot(&s.at.trial.c, &s.at.trial.c);
        s.kkt.kept.copy_from_slice(&s.kkt.step);
        s.kkt.rhs[..n].fill(0.0);
        for (r, c) in s.kkt.rhs[n..].iter_mut().zip(&s.at.trial.c) {
            *r = -c;
        }
        s.kkt.step.fill(0.0);
        let (kkt, mut e) = linear(s);
        let solved = kkt.solve(&mut e, REFINED);
        for (d, kept) in kkt.step[..n].iter_mut().zip(&kkt.kept) {
            *d += kept;
        }
        let finite = kkt.step.iter().all(|v| v.is_finite());
        let inside = s.problem.form.bounds.primal_step(&s.at.current.x, &s.kkt.step[..n], TO_BOUNDARY) == 1.0;
        if solved.is_ok() && inside && finite {
            let ratio = self.ratio(s, 1.0, t.predicted);
            if ratio.is_finite() && dot(&s.at.trial.c, &s.at.trial.c) < before {
                return ratio;
            }
        }
        let kkt = &mut *s.kkt;
        kkt.step.copy_from_slice(&kkt.kept);
        s.at.place_x(&s.problem.form.bounds, &s.kkt.step, 1.0);
        s.at.trial.f = f;
        s.at.trial.c.copy_from_slice(&self.uncorrected);
        t.ratio
    }

    /// The best trial point along the step in `kkt.step`, evaluated without derivatives.
    fn try_step(&mut self, s: &mut Solve<'_>, hessian: bool) -> Trial {
        let n = s.problem.form.n;
        let alpha = s.problem.form.bounds.primal_step(&s.at.current.x, &s.kkt.step[..n], TO_BOUNDARY);
        let predicted = self.predicted_reduction(s, hessian, alpha);
        let ratio = self.ratio(s, alpha, predicted);
        let mut t = Trial { alpha, predicted, ratio };
        if ratio < POOR && predicted > 0.0 && ratio.is_finite() && s.kkt.is_direct() && alpha == 1.0 {
            t.ratio = ratio.max(self.second_order_correction(s, &t));
        }
        t
    }

    /// |c|^2 / 2 - |c + alpha J dx|^2 / 2 - alpha grad B'dx - alpha^2 dx'(W + S) dx / 2, where J dx = r - c.
    fn predicted_reduction(&self, s: &mut Solve<'_>, hessian: bool, alpha: f64) -> f64 {
        let (kkt, mut e) = linear(s);
        let curvature = if hessian { kkt.hessian_curvature(&mut e) } else { 0.0 };
        let (dx, r) = kkt.step.split_at(e.at.x.len());
        let linear = e.at.c.iter().zip(r).map(|(c, r)| {
            let next = c + alpha * (r - c);
            c * c - next * next
        });
        let linear: f64 = linear.sum();
        let barrier: f64 = dx.iter().zip(&kkt.barrier).map(|(d, s)| d * d * s).sum();
        let slope = dot(dx, &self.barrier_gradient);
        0.5 * linear - alpha * slope - 0.5 * alpha * alpha * (curvature + barrier)
    }

    /// z of the trial point by the Newton step of the multipliers.
    fn step_multipliers(&mut self, s: &mut Solve<'_>) {
        if self.barrier_gradient.is_empty() {
            return;
        }
        let bounds = &s.problem.form.bounds;
        let (current, trial) = (&s.at.current, &mut s.at.trial);
        let Self { dzl, dzu, barrier, .. } = self;
        let dx = &s.kkt.step[..dzl.len()];
        bounds.multiplier_step(&current.x, (&current.zl, &current.zu), *barrier, dx, (dzl, dzu));
        let length = multiplier_length(&bounds.with_lower, &current.zl, dzl, TO_BOUNDARY)
            .min(multiplier_length(&bounds.with_upper, &current.zu, dzu, TO_BOUNDARY));
        for (t, (z, d)) in trial.zl.iter_mut().zip(current.zl.iter().zip(&*dzl)) {
            *t = z + length * d;
        }
        for (t, (z, d)) in trial.zu.iter_mut().zip(current.zu.iter().zip(&*dzu)) {
            *t = z + length * d;
        }
        bounds.limit_multipliers(&trial.x, *barrier, &mut trial.zl, &mut trial.zu);
    }

    /// Solves for (dx, r), with W if that is convex and the solver can tell; `None`: not solvable at this damping.
    fn direction(&mut self, s: &mut Solve<'_>) -> Result<Option<(bool, u64)>, PhaseEnd> {
        let (n, m) = (s.problem.form.n, s.problem.form.m);
        let kkt = &mut *s.kkt;
        kkt.rhs[..n].fill(0.0);
        for (r, g) in kkt.rhs[..n].iter_mut().zip(&self.barrier_gradient) {
            *r = -g;
        }
        for (r, c) in kkt.rhs[n..].iter_mut().zip(&s.at.current.c) {
            *r = -c;
        }
        let direct = kkt.is_direct();
        // Along long curved valleys more damping leads further than Gauss-Newton steps.
        let convex_only = direct && s.budget.iteration - s.budget.started >= LONG_VALLEY;
        for hessian in [true, false] {
            if hessian && !direct || !hessian && convex_only {
                continue;
            }
            let (kkt, mut e) = linear(s);
            kkt.fill(&e, System::Feasibility { hessian });
            let prepared = match kkt.factor(&mut e, self.damping, 1.0) {
                Ok(p) => p,
                Err(LinSolError::Stopped) => return Err(stopped(s)),
                Err(LinSolError::Factorization { .. }) => continue,
                Err(other) => return Err(PhaseEnd::no_step(Cause::Linear, other.to_string())),
            };
            if direct && !prepared.inertia.is_some_and(|i| i.positive == n && i.negative == m) {
                continue;
            }
            kkt.step.fill(0.0);
            let mut accuracy = REFINED;
            if !direct {
                accuracy.relative = norm2(&e.at.c).sqrt().clamp(1e-10, 1e-2);
                accuracy.max_iterations = e.options.max_inner_iterations;
            }
            match kkt.solve(&mut e, accuracy) {
                Ok(solved) if solved.end == SolveEnd::Stopped => return Err(stopped(s)),
                Ok(solved) if kkt.step.iter().all(|v| v.is_finite()) => {
                    return Ok(Some((hessian, solved.iterations as u64)));
                }
                _ => continue,
            }
        }
        Ok(None)
    }

    fn lower_damping(&mut self, ratio: f64) {
        let factor =
            if ratio > 0.9 { 0.1 } else { (1.0 - (2.0 * ratio - 1.0).powi(3)).clamp(1.0 / 3.0, 2.0) };
        self.damping = (self.damping * factor).max(1e-20);
        self.growth = 2.0;
    }

    fn raise_damping(&mut self) {
        self.damping = self.damping.max(1e-15) * self.growth;
        self.growth *= 2.0;
    }
}

/// The barrier must not outweigh the violation.
fn largest_barrier(bounds: &Bounds, p: &Point) -> f64 {
    let size = dot(&p.c, &p.c);
    (BARRIER_SHARE * size / (bounds.count() as f64).sqrt()).max(1e-30)
}

impl Method for LeastViolation {
    fn begin(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let (p, bounds) = (&mut s.at.current, &s.problem.form.bounds);
        p.y.fill(0.0);
        s.kkt.weights.fill(0.0);
        self.squares.fill(0.0);
        (self.damping, self.growth, self.barrier) = (FIRST_DAMPING, 2.0, 0.0);
        if !self.barrier_gradient.is_empty() {
            let first = self.goal.filter.as_ref().map_or(FIRST_BARRIER, |g| g.mu);
            self.barrier = first.min(largest_barrier(bounds, p));
            bounds.centre_multipliers(&p.x, self.barrier, f64::INFINITY, &mut p.zl, &mut p.zu);
        }
        p.update_lagrangian_gradient(&mut s.problem)?;
        Ok(())
    }

    fn test(&mut self, s: &mut Solve<'_>, r: &Residuals, _: bool) -> Option<PhaseEnd> {
        self.is_reached(&s.problem.form.bounds, &s.at.current, r).then_some(PhaseEnd::Feasible)
    }

    fn minimizes(&self) -> bool {
        false
    }

    fn update(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        self.update_weights(s);
        self.stationarity = self.measure_stationarity(s);
        if self.stationarity <= s.options.tolerance {
            return Err(PhaseEnd::Stationary);
        }
        self.lower_barrier(s);
        Ok(())
    }

    /// Raises the damping until a step reduces |c|^2 / 2 + B.
    fn step(&mut self, s: &mut Solve<'_>) -> Result<Taken, PhaseEnd> {
        let n = s.problem.form.n;
        s.hessian.observe(&mut s.problem, &s.at.current, Of::Violation)?;
        let (kkt, e) = linear(s);
        kkt.fill_normal(&e);
        let size = dot(&s.at.current.c, &s.at.current.c);
        let mut trials = 0;
        loop {
            if let Some(over) = over(s) {
                return Err(over.into());
            }
            if self.damping > LARGEST_DAMPING {
                return Err(PhaseEnd::no_step(
                    Cause::Search,
                    "the damping of the feasibility phase has no limit",
                ));
            }
            trials += 1;
            let Some((hessian, inner_iterations)) = self.direction(s)? else {
                self.raise_damping();
                continue;
            };
            let t = self.try_step(s, hessian);
            // Below rounding of |c|^2 only the gradient tells progress.
            let noise = t.predicted <= 10.0 * f64::EPSILON * size;
            if t.ratio > ACCEPT || (noise && t.ratio.is_finite()) {
                self.step_multipliers(s);
                let usable = s.at.trial.derivatives(&mut s.problem).is_ok();
                if usable && (t.ratio > ACCEPT || self.gradient_falls(s)) {
                    let taken = Taken {
                        length: t.alpha,
                        trials,
                        norm: t.alpha * norm_inf(&s.kkt.step[..n]),
                        shift: self.damping,
                        dual: 1.0,
                        inner_iterations,
                        linear_residual: f64::NAN,
                        kind: if hessian { 'F' } else { 'f' },
                    };
                    self.lower_damping(t.ratio);
                    return Ok(taken);
                }
            }
            let (x, dx) = (&s.at.current.x, &s.kkt.step[..n]);
            let tiny = x.iter().zip(dx).all(|(x, d)| t.alpha * d.abs() <= 1e-16 * (1e-3 + x.abs()));
            // As stationary as rounding allows?
            if (tiny || noise) && self.stationarity <= (100.0 * s.options.tolerance).min(ROUNDED_STATIONARITY)
            {
                return Err(PhaseEnd::Stationary);
            }
            if tiny {
                let what = "steps of the feasibility phase are below rounding";
                return Err(PhaseEnd::no_step(Cause::Rounding, what));
            }
            self.raise_damping();
        }
    }

    fn recover(&mut self, _: &mut Solve<'_>, why: NoStep) -> Result<(), PhaseEnd> {
        Err(PhaseEnd::NoStep(why))
    }

    fn end(&mut self, s: &mut Solve<'_>) {
        s.kkt.weights.fill(1.0);
    }

    fn letter(&self) -> char {
        'f'
    }

    fn fill_row(&self, _: &Form, at: &Point, row: &mut IterationRow) {
        row.merit = 0.5 * dot(&at.c, &at.c);
        row.barrier = self.barrier;
    }
}
