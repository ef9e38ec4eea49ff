//! L1 penalties without constraints: proximal Newton on an active set.
//!
//! At w the quadratic model g'd + 1/2 d'Hd + sum_j l1_j |w_j + d_j| is minimized by coordinate descent on the coefficients that are not zero or violate their optimality
//! condition (Friedman, Hastie, Tibshirani, J. Stat. Softw. 33, 2010; Lee, Sun, Saunders, SIAM J. Optim. 24, 2014); a line search makes the steps descend.
//! H may be sketched; the residual is exact:
//!
//! ```text
//! |g_j + l1_j sign(w_j)| where w_j is not 0,   max(|g_j| - l1_j, 0) where it is
//! ```

use super::data_term::DataTerm;
use super::hessian::{HessianMaker, HessianModel};
use crate::error::Error;
use crate::linalg::{axpy, dot};
use crate::observe::{StopCause, StopToken};
use crate::report::StopReason;

/// What may be chosen.
#[derive(Debug, Clone)]
pub struct LassoOptions {
    /// The Hessian.
    pub hessian: HessianModel,
    /// Rows of a sketch.
    pub sketch_rows: Option<usize>,
    /// Residual that ends it.
    pub tolerance: f64,
    /// Iterations.
    pub max_iterations: u64,
    /// Seed.
    pub seed: u64,
    /// Asks to stop from outside.
    pub stop: StopToken,
}

impl Default for LassoOptions {
    fn default() -> Self {
        Self {
            hessian: HessianModel::Auto,
            sketch_rows: None,
            tolerance: 1e-8,
            max_iterations: 300,
            seed: 0,
            stop: StopToken::default(),
        }
    }
}

/// Where it ended and what it cost.
#[derive(Debug, Clone)]
pub struct LassoReport {
    /// Why it stopped.
    pub stop: StopReason,
    /// The point, length n.
    pub w: Vec<f64>,
    /// Objective with both penalties.
    pub objective: f64,
    /// Maximum norm of the residual of the optimality conditions.
    pub residual: f64,
    /// Coefficients that are not zero.
    pub active: usize,
    /// Iterations.
    pub iterations: u64,
    /// Passes over the rows.
    pub passes: u64,
}

/// Maximum norm of the residual of the optimality conditions; g is the gradient of the smooth part.
pub fn lasso_residual(w: &[f64], g: &[f64], l1: &[f64]) -> f64 {
    let of = |((w, g), l): ((&f64, &f64), &f64)| {
        if *w != 0.0 { (g + l * w.signum()).abs() } else { (g.abs() - l).max(0.0) }
    };
    w.iter().zip(g).zip(l1).map(of).fold(0.0, f64::max)
}

/// Minimizes f(w) + 1/2 sum_j l2_j w_j^2 + sum_j l1_j |w_j| from `start`.
///
/// # Errors
/// Lengths that do not fit, or rows that cannot be read.
pub fn lasso(
    term: &mut DataTerm,
    (l2, l1): (&[f64], &[f64]),
    start: &[f64],
    options: &LassoOptions,
) -> Result<LassoReport, Error> {
    let n = term.rows().matrix.columns();
    let valid = |v: &[f64]| v.len() == n && v.iter().all(|p| *p >= 0.0 && p.is_finite());
    if !valid(l2) || !valid(l1) || start.len() != n || options.tolerance <= 0.0 || options.tolerance.is_nan()
    {
        let what = format!(
            "needs {n} penalties of each kind that are at least 0, a start of that length and a positive tolerance"
        );
        return Err(Error::Problem { name: "lasso".into(), what });
    }
    let mut maker =
        HessianMaker::new(options.hessian, options.sketch_rows, options.seed, &term.rows().matrix);
    let (mut w, mut g, mut trial) = (start.to_vec(), vec![0.0; n], vec![0.0; n]);
    let (mut g_trial, mut hessian) = (vec![0.0; n], vec![0.0; n * n]);
    let mut model = Model { n, d: vec![0.0; n], hd: vec![0.0; n] };
    let mut value = smooth(term, l2, &w, &mut g)?;
    let begun = term.passes();
    let mut iterations = 0;
    let stop = loop {
        let residual = lasso_residual(&w, &g, l1);
        if !value.is_finite() {
            break StopReason::StartNotFinite { function: "the data term".into() };
        }
        if residual <= options.tolerance {
            break StopReason::Converged;
        }
        if iterations >= options.max_iterations {
            break StopReason::MaxIterations;
        }
        match options.stop.check() {
            Some(StopCause::TimeLimit) => break StopReason::TimeLimit,
            Some(StopCause::Interrupted) => break StopReason::Interrupted,
            None => {}
        }
        maker.fill(term, &mut hessian)?;
        (0..n).for_each(|j| hessian[j * n + j] += l2[j]);
        (0..n).for_each(|j| (0..j).for_each(|i| hessian[j * n + i] = hessian[i * n + j]));
        let accuracy = (0.01 * residual).min(residual * residual.sqrt()).max(0.1 * options.tolerance);
        model.minimize(&hessian, &g, (&w, l1), accuracy);
        let absolute = |w: &[f64]| w.iter().zip(l1).map(|(w, l)| l * w.abs()).sum::<f64>();
        let now = value + absolute(&w);
        trial.iter_mut().zip(w.iter().zip(&model.d)).for_each(|(t, (w, d))| *t = w + d);
        // What the linear part and the penalty promise; negative along a step of the model.
        let promise = dot(&g, &model.d) + absolute(&trial) - absolute(&w);
        let mut t = 1.0;
        let accepted = loop {
            trial.iter_mut().zip(w.iter().zip(&model.d)).for_each(|(x, (w, d))| *x = w + t * d);
            let found = smooth(term, l2, &trial, &mut g_trial)?;
            let rounding = 8.0 * f64::EPSILON * now.abs();
            let lower = found + absolute(&trial) <= now + 1e-4 * t * promise;
            let flat = promise.abs() <= 1e3 * rounding && lasso_residual(&trial, &g_trial, l1) < residual;
            if found.is_finite() && (lower || flat) {
                break Some(found);
            }
            t *= 0.5;
            if t < 1e-9 {
                break None;
            }
        };
        let Some(found) = accepted else {
            let what = format!("no step lowers the objective any more at a residual of {residual:.3e}");
            break StopReason::Stalled { what };
        };
        std::mem::swap(&mut w, &mut trial);
        std::mem::swap(&mut g, &mut g_trial);
        value = found;
        iterations += 1;
    };
    let absolute: f64 = w.iter().zip(l1).map(|(w, l)| l * w.abs()).sum();
    Ok(LassoReport {
        stop,
        objective: value + absolute,
        residual: lasso_residual(&w, &g, l1),
        active: w.iter().filter(|v| **v != 0.0).count(),
        w,
        iterations,
        passes: term.passes() - begun,
    })
}

/// Smooth part and its gradient; infinite where one is not finite.
fn smooth(term: &mut DataTerm, l2: &[f64], w: &[f64], g: &mut [f64]) -> Result<f64, Error> {
    term.evaluate(w)?;
    let mut value = term.value();
    for (j, g) in g.iter_mut().enumerate() {
        *g = term.gradient()[j] + l2[j] * w[j];
        value += 0.5 * l2[j] * w[j] * w[j];
    }
    Ok(if value.is_finite() && g.iter().all(|v| v.is_finite()) { value } else { f64::INFINITY })
}

/// The quadratic model and its step.
struct Model {
    n: usize,
    d: Vec<f64>,
    /// H d.
    hd: Vec<f64>,
}

impl Model {
    /// d <- the minimizer, to a residual of `accuracy`; H is given in full.
    fn minimize(&mut self, h: &[f64], g: &[f64], (w, l1): (&[f64], &[f64]), accuracy: f64) {
        let n = self.n;
        self.d.fill(0.0);
        self.hd.fill(0.0);
        let mut active: Vec<usize> = vec![];
        for _ in 0..100 {
            // All coefficients once; those that are not zero, or have moved, are the active set.
            let largest = self.sweep(h, g, (w, l1), 0..n);
            active.clear();
            active.extend((0..n).filter(|j| w[*j] + self.d[*j] != 0.0 || self.d[*j] != 0.0));
            if largest <= accuracy {
                return;
            }
            for _ in 0..1000 {
                if self.sweep(h, g, (w, l1), active.iter().copied()) <= 0.5 * accuracy {
                    break;
                }
            }
        }
    }
    /// Minimizes along each coordinate; returns the largest change of a slope that was needed.
    fn sweep(
        &mut self,
        h: &[f64],
        g: &[f64],
        (w, l1): (&[f64], &[f64]),
        coordinates: impl Iterator<Item = usize>,
    ) -> f64 {
        let (n, mut largest) = (self.n, 0.0f64);
        for j in coordinates {
            let curvature = h[j * n + j];
            if curvature <= 0.0 || curvature.is_nan() {
                continue;
            }
            let at = w[j] + self.d[j];
            let target = at - (g[j] + self.hd[j]) / curvature;
            let shrunk = target.signum() * (target.abs() - l1[j] / curvature).max(0.0);
            let change = shrunk - at;
            if change != 0.0 {
                // Exactly zero where the penalty says so.
                self.d[j] = shrunk - w[j];
                axpy(change, &h[j * n..(j + 1) * n], &mut self.hd);
                largest = largest.max(curvature * change.abs());
            }
        }
        largest
    }
}
