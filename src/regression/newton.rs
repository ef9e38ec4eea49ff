//! Newton's method for the smooth problem without constraints: data term and L2 penalty.
//!
//! The step solves H p = -g with H exact (Cholesky), or with the sketched Hessian as preconditioner of conjugate gradients on the exact Hessian, to the accuracy
//! |r| <= min(1/2, sqrt |g| / |g0|) |g| in the norm of the preconditioner (Eisenstat and Walker, SIAM J. Sci. Comput. 17, 1996), or with the sketched Hessian alone
//! corrected by the last pairs of steps and gradient differences (L-BFGS with the sketched Hessian as its start matrix), or with the average of the sketched Hessians
//! of the last points (Na, Derezinski, Mahoney, "Hessian averaging in stochastic Newton methods achieves superlinear convergence", Math. Prog. 201, 2023): a step costs
//! one pass over the rows then.

use super::data_term::DataTerm;
use super::hessian::{HessianMaker, HessianModel};
use crate::error::Error;
use crate::linalg::{axpy, dot, norm_inf};
use crate::observe::StopToken;
use crate::randomized::{CgEnd, CgOptions, Distortion, Factor, conjugate_gradients};
use crate::report::{PointKind, StopReason};

/// How the sketched Hessian is used. With an exact Hessian every choice is Newton's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepMethod {
    /// `Averaged` where a sketched Hessian costs less than a pass over the rows, else `QuasiNewton`.
    #[default]
    Auto,
    /// The sketched Hessian, corrected by pairs of steps and gradient differences, and drawn anew where that stalls.
    QuasiNewton,
    /// Drawn anew at every point, and averaged while the curvatures of the rows hardly change.
    Averaged,
    /// As preconditioner of conjugate gradients on the exact Hessian.
    ConjugateGradients,
    /// In place of the Hessian, drawn anew at every point.
    Direct,
}

impl StepMethod {
    /// Every choice with its name.
    pub const ALL: [(&'static str, Self); 5] = [
        ("auto", Self::Auto),
        ("quasi-newton", Self::QuasiNewton),
        ("averaged", Self::Averaged),
        ("conjugate-gradients", Self::ConjugateGradients),
        ("direct", Self::Direct),
    ];

    /// What `Auto` stands for with `sketch_rows` rows for m x n: a multiplication in a product of matrices costs about a 25th of reading a number.
    fn choose(self, sketch_rows: usize, m: usize, n: usize) -> Self {
        match self {
            Self::Auto if (sketch_rows as f64) * (n as f64) < 25.0 * m as f64 => Self::Averaged,
            Self::Auto => Self::QuasiNewton,
            chosen => chosen,
        }
    }
}

impl std::str::FromStr for StepMethod {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, step)| *step).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(n, _)| *n).collect();
            format!("unknown step '{name}', expected one of {}", names.join(", "))
        })
    }
}

/// What may be chosen.
#[derive(Debug, Clone)]
pub struct NewtonOptions {
    /// The Hessian.
    pub hessian: HessianModel,
    /// Rows of a sketch.
    pub sketch_rows: Option<usize>,
    /// How it is used.
    pub step: StepMethod,
    /// Maximum norm of the gradient that ends it.
    pub tolerance: f64,
    /// Iterations.
    pub max_iterations: u64,
    /// Seed.
    pub seed: u64,
    /// Asks to stop from outside.
    pub stop: StopToken,
}

impl Default for NewtonOptions {
    fn default() -> Self {
        Self {
            hessian: HessianModel::Auto,
            sketch_rows: None,
            step: StepMethod::default(),
            tolerance: 1e-8,
            max_iterations: 500,
            seed: 0,
            stop: StopToken::default(),
        }
    }
}

/// Where it ended and what it cost.
#[derive(Debug, Clone)]
pub struct NewtonReport {
    /// Why it stopped.
    pub stop: StopReason,
    /// What the point is.
    pub point: PointKind,
    /// The point, length n.
    pub w: Vec<f64>,
    /// Objective, penalty included.
    pub objective: f64,
    /// Maximum norm of its gradient: the KKT residual, exact whatever the Hessian.
    pub residual: f64,
    /// Iterations.
    pub iterations: u64,
    /// Hessians made.
    pub hessians: u64,
    /// Passes over the rows.
    pub passes: u64,
    /// Which Hessian.
    pub model: HessianModel,
    /// Rows of its sketch at the end.
    pub sketch_rows: usize,
    /// How good the last sketch was, where conjugate gradients measured it.
    pub distortion: Option<Distortion>,
}

/// Pairs that correct a sketched Hessian.
const PAIRS: usize = 12;
/// A new Hessian is made where the gradient fell by less than this in the last iterations.
const SLOW: f64 = 0.5;
/// Armijo's constant.
const DESCENT: f64 = 1e-4;

struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

/// p <- -B^-1 g, B the limited-memory BFGS matrix with B0 = R'R (two-loop recursion, Nocedal 1980).
fn corrected(factor: &Factor, pairs: &[Pair], g: &[f64], p: &mut [f64]) {
    p.iter_mut().zip(g).for_each(|(p, g)| *p = -g);
    let mut alphas = [0.0; PAIRS];
    for (pair, alpha) in pairs.iter().zip(&mut alphas).rev() {
        *alpha = pair.rho * dot(&pair.s, p);
        axpy(-*alpha, &pair.y, p);
    }
    factor.solve_transposed(p);
    factor.solve(p);
    for (pair, alpha) in pairs.iter().zip(&alphas) {
        let beta = pair.rho * dot(&pair.y, p);
        axpy(alpha - beta, &pair.s, p);
    }
}

struct Loop<'a> {
    term: &'a mut DataTerm,
    ridge: &'a [f64],
    options: &'a NewtonOptions,
    maker: HessianMaker,
    factor: Option<Factor>,
    pairs: Vec<Pair>,
    hessians: u64,
    distortion: Option<Distortion>,
    /// The last Hessian, or the average of the last ones.
    hessian: Vec<f64>,
    step: StepMethod,
    /// How many Hessians are in the average, and the curvatures of the last point.
    averaged: (f64, Vec<f64>),
}

/// Relative change of the curvatures, in the mean, up to which Hessians of successive points are averaged.
const NEAR: f64 = 0.01;

/// Minimizes f(w) + 1/2 sum_j ridge_j w_j^2 from `start`.
///
/// # Errors
/// Lengths that do not fit, options out of range, rows that cannot be read.
pub fn newton(
    term: &mut DataTerm,
    ridge: &[f64],
    start: &[f64],
    options: &NewtonOptions,
) -> Result<NewtonReport, Error> {
    let n = term.rows().matrix.columns();
    let positive = options.tolerance > 0.0 && options.tolerance.is_finite();
    if ridge.len() != n || start.len() != n || ridge.iter().any(|r| *r < 0.0 || r.is_nan()) || !positive {
        let what = format!(
            "needs {n} penalties that are at least 0, a start of that length and a positive tolerance"
        );
        return Err(Error::Problem { name: "newton".into(), what });
    }
    let maker = HessianMaker::new(options.hessian, options.sketch_rows, options.seed, &term.rows().matrix);
    let (m, rows) = (term.rows().matrix.rows(), maker.rows());
    let mut run = Loop {
        step: options.step.choose(rows, m, n),
        averaged: (0.0, vec![]),
        term,
        ridge,
        options,
        maker,
        factor: None,
        pairs: Vec::with_capacity(PAIRS),
        hessians: 0,
        distortion: None,
        hessian: vec![0.0; n * n],
    };
    run.go(start)
}

impl Loop<'_> {
    /// Objective and gradient at w; infinite where a function is not finite.
    fn evaluate(&mut self, w: &[f64], g: &mut [f64]) -> Result<f64, Error> {
        self.term.evaluate(w)?;
        let mut value = self.term.value();
        for (j, g) in g.iter_mut().enumerate() {
            *g = self.term.gradient()[j] + self.ridge[j] * w[j];
            value += 0.5 * self.ridge[j] * w[j] * w[j];
        }
        let finite = value.is_finite() && g.iter().all(|v| v.is_finite());
        Ok(if finite { value } else { f64::INFINITY })
    }

    /// A Hessian of the last point, factored.
    fn renew(&mut self) -> Result<(), Error> {
        let n = self.ridge.len();
        let mut fresh = vec![0.0; n * n];
        self.maker.fill(self.term, &mut fresh)?;
        self.average(&fresh);
        fresh.copy_from_slice(&self.hessian);
        (0..n).for_each(|j| fresh[j * n + j] += self.ridge[j]);
        self.factor = Some(Factor::of_gram(n, &fresh)?);
        self.pairs.clear();
        self.hessians += 1;
        Ok(())
    }

    /// Takes a fresh Hessian into the average, or begins a new one.
    fn average(&mut self, fresh: &[f64]) {
        let (count, then) = &mut self.averaged;
        if self.step == StepMethod::Averaged {
            let now = self.term.curvature();
            let change: f64 = then.iter().zip(now).map(|(a, b)| (a - b).abs()).sum();
            let near = !then.is_empty() && change <= NEAR * now.iter().sum::<f64>();
            *count = if near { *count + 1.0 } else { 1.0 };
            then.clear();
            then.extend_from_slice(now);
        } else {
            *count = 1.0;
        }
        let share = count.recip();
        self.hessian.iter_mut().zip(fresh).for_each(|(h, f)| *h += share * (f - *h));
        // A new average holds nothing of the old one, not even rounding.
        if *count == 1.0 {
            self.hessian.copy_from_slice(fresh);
        }
    }

    fn exact(&self) -> bool {
        self.maker.model() == HessianModel::Exact
    }

    /// p <- a descent direction at the last point.
    fn direction(&mut self, g: &[f64], forcing: f64, p: &mut [f64]) -> Result<(), Error> {
        let Some(factor) = self.factor.take() else { return Ok(()) };
        corrected(&factor, &self.pairs, g, p);
        if self.step == StepMethod::ConjugateGradients && !self.exact() {
            let minus: Vec<f64> = g.iter().map(|v| -v).collect();
            let (term, ridge) = (&mut *self.term, self.ridge);
            let product = |v: &[f64], hv: &mut [f64]| {
                term.hessian_product(v, hv)?;
                hv.iter_mut().zip(v.iter().zip(ridge)).for_each(|(h, (v, r))| *h += r * v);
                Ok(())
            };
            let mut step = vec![0.0; p.len()];
            let options = CgOptions { relative: forcing, max_steps: 40 };
            let report = conjugate_gradients(product, &factor, &minus, &mut step, options)?;
            if report.steps > 0 {
                p.copy_from_slice(&step);
            }
            let longer = |d: &Distortion| self.distortion.is_none_or(|before| d.steps >= before.steps.min(6));
            self.distortion = report.distortion.filter(longer).or(self.distortion);
            if report.end == CgEnd::MaxSteps && report.relative > 0.5 {
                self.maker.refine(&self.term.rows().matrix);
            }
        }
        self.factor = Some(factor);
        Ok(())
    }

    fn go(&mut self, start: &[f64]) -> Result<NewtonReport, Error> {
        let n = start.len();
        let (mut w, mut g) = (start.to_vec(), vec![0.0; n]);
        let (mut trial, mut g_trial, mut p) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        let mut value = self.evaluate(&w, &mut g)?;
        let first = norm_inf(&g);
        let mut history: Vec<f64> = vec![];
        let (mut iterations, mut stuck) = (0, false);
        let stop = loop {
            let residual = norm_inf(&g);
            if !value.is_finite() {
                break StopReason::StartNotFinite { function: "the data term".into() };
            }
            if residual <= self.options.tolerance {
                break StopReason::Converged;
            }
            if iterations >= self.options.max_iterations {
                break StopReason::MaxIterations;
            }
            if let Some(cause) = self.options.stop.check() {
                break match cause {
                    crate::observe::StopCause::TimeLimit => StopReason::TimeLimit,
                    crate::observe::StopCause::Interrupted => StopReason::Interrupted,
                };
            }
            if self.wants_hessian(&history, residual) || stuck {
                self.renew()?;
                history.clear();
            }
            history.push(residual);
            let forcing =
                (residual / first).sqrt().clamp(1e-3, 0.25).max(0.3 * self.options.tolerance / residual);
            self.direction(&g, forcing.min(0.5), &mut p)?;
            let slope = dot(&g, &p);
            let descends = slope < 0.0 && slope.is_finite();
            let accepted = if descends {
                self.search((&w, value, slope), &p, (&mut trial, &mut g_trial))?
            } else {
                None
            };
            let Some(found) = accepted else {
                // With a fresh Hessian nothing more can be done.
                if stuck || (self.exact() && self.pairs.is_empty()) {
                    let what =
                        format!("no step lowers the objective any more at a gradient of {residual:.3e}");
                    break StopReason::Stalled { what };
                }
                stuck = true;
                self.term.evaluate(&w)?;
                continue;
            };
            stuck = false;
            iterations += 1;
            self.remember(&w, &g, &trial, &g_trial);
            std::mem::swap(&mut w, &mut trial);
            std::mem::swap(&mut g, &mut g_trial);
            value = found;
        };
        let point = if stop == StopReason::Converged { PointKind::Kkt } else { PointKind::Feasible };
        Ok(NewtonReport {
            stop,
            point,
            objective: value,
            residual: norm_inf(&g),
            w,
            iterations,
            hessians: self.hessians,
            passes: self.term.passes(),
            model: self.maker.model(),
            sketch_rows: if self.exact() { 0 } else { self.maker.rows() },
            distortion: self.distortion,
        })
    }

    /// Always at first; then at every point (Newton), or where the gradient falls too slowly.
    fn wants_hessian(&self, history: &[f64], residual: f64) -> bool {
        if self.factor.is_none() || self.exact() || self.step != StepMethod::QuasiNewton {
            return true;
        }
        let before = history.len().checked_sub(2).map(|k| history[k]);
        before.is_some_and(|r| residual > SLOW * r)
    }

    fn remember(&mut self, w: &[f64], g: &[f64], next: &[f64], g_next: &[f64]) {
        if self.exact() || self.step != StepMethod::QuasiNewton {
            return;
        }
        let s: Vec<f64> = next.iter().zip(w).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = g_next.iter().zip(g).map(|(a, b)| a - b).collect();
        let curvature = dot(&s, &y);
        if curvature > 0.0 && curvature.is_finite() {
            if self.pairs.len() == PAIRS {
                self.pairs.remove(0);
            }
            self.pairs.push(Pair { s, y, rho: curvature.recip() });
        }
    }

    /// Backtracks to a lower objective; near the solution, where differences of the objective are rounding, to a shorter gradient.
    fn search(
        &mut self,
        (w, value, slope): (&[f64], f64, f64),
        p: &[f64],
        (trial, g): (&mut [f64], &mut [f64]),
    ) -> Result<Option<f64>, Error> {
        let rounding = 8.0 * f64::EPSILON * value.abs();
        let mut t = 1.0;
        for _ in 0..30 {
            trial.iter_mut().zip(w.iter().zip(p)).for_each(|(x, (w, p))| *x = w + t * p);
            let found = self.evaluate(trial, g)?;
            let along = dot(g, p);
            // Hager and Zhang's approximate Wolfe test in place of Armijo's where that is below rounding.
            let flat = found <= value + rounding && along <= (2.0 * DESCENT - 1.0) * slope;
            if found <= value + DESCENT * t * slope || flat {
                return Ok(Some(found));
            }
            // The minimum of the cubic with these values and slopes, within bounds.
            t *= if found.is_finite() && along.is_finite() {
                cubic(value, slope * t, found, along * t)
            } else {
                0.1
            };
        }
        Ok(None)
    }
}

/// The minimizer within [0.1, 0.7] of the cubic on [0, 1] with the given values and slopes at its ends.
fn cubic(f0: f64, s0: f64, f1: f64, s1: f64) -> f64 {
    let d = s0 + s1 - 3.0 * (f1 - f0);
    let root = (d * d - s0 * s1).max(0.0).sqrt();
    let t = 1.0 - (s1 + root - d) / (s1 - s0 + 2.0 * root);
    if t.is_finite() { t.clamp(0.1, 0.7) } else { 0.5 }
}
