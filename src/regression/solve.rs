//! From rows, penalties and constraints to a fit.

use std::sync::Arc;

use super::constraints::Constraints;
use super::data_term::{DataTerm, Rows};
use super::families::Family;
use super::hessian::HessianModel;
use super::lasso::{LassoOptions, lasso};
use super::newton::{NewtonOptions, StepMethod, newton};
use super::problem::ConstrainedFit;
use crate::error::Error;
use crate::observe::{Observer, Silent};
use crate::opt;
use crate::randomized::TallMatrix;
use crate::report::{Report, StopReason};

/// A regression that is set up but not solved.
#[derive(Debug, Clone)]
pub struct Regression {
    /// Which loss.
    pub family: Family,
    /// Rows, responses, weights.
    pub rows: Rows,
    /// L2 penalty of each coefficient.
    pub l2: Vec<f64>,
    /// L1 penalty of each coefficient.
    pub l1: Vec<f64>,
    /// Constraints.
    pub constraints: Constraints,
    /// Start of the coefficients.
    pub start: Vec<f64>,
    /// Start of every multiplier.
    pub multiplier: f64,
}

/// How it is solved.
#[derive(Debug, Clone)]
pub struct RegressionOptions {
    /// The Hessian of the data term.
    pub hessian: HessianModel,
    /// Rows of its sketch.
    pub sketch_rows: Option<usize>,
    /// How a sketched Hessian is used without constraints.
    pub step: StepMethod,
    /// By the constrained optimizer even where nothing needs it.
    pub always_optimizer: bool,
    /// Options of the optimizer; tolerance, seed, limits and stop token are those of every method.
    pub optimizer: opt::Options,
}

impl Default for RegressionOptions {
    fn default() -> Self {
        Self {
            hessian: HessianModel::Auto,
            sketch_rows: None,
            step: StepMethod::default(),
            always_optimizer: false,
            optimizer: opt::Options::default(),
        }
    }
}

/// A solution.
#[derive(Debug, Clone)]
pub struct Fitted {
    /// Coefficients, length n.
    pub w: Vec<f64>,
    /// Objective, penalties included.
    pub objective: f64,
    /// Residual of the optimality conditions: gradient of the Lagrangian and violation, maximum norm, unscaled.
    pub residual: f64,
    /// Why it stopped.
    pub stop: StopReason,
    /// It is a KKT point within the tolerance.
    pub solved: bool,
    /// Iterations.
    pub iterations: u64,
    /// Passes over the rows.
    pub passes: u64,
    /// Which Hessian.
    pub model: HessianModel,
    /// The optimizer's report, where it solved it.
    pub report: Option<Report>,
}

/// A regression of `family` without penalties and constraints, start 0.
fn regression(family: Family, matrix: Arc<TallMatrix>, responses: Vec<f64>) -> Result<Regression, Error> {
    let n = matrix.columns();
    Ok(Regression {
        family,
        rows: Rows::new(family, matrix, responses)?,
        l2: vec![0.0; n],
        l1: vec![0.0; n],
        constraints: Constraints::default(),
        start: vec![0.0; n],
        multiplier: 0.0,
    })
}

/// Logistic regression; responses are -1 and 1.
///
/// # Errors
/// Responses that are neither, or another number of them than rows.
pub fn logistic(matrix: Arc<TallMatrix>, responses: Vec<f64>) -> Result<Regression, Error> {
    regression(Family::Logistic, matrix, responses)
}
/// Poisson regression with the logarithm as link; responses are at least 0.
///
/// # Errors
/// As for [`logistic`].
pub fn poisson(matrix: Arc<TallMatrix>, responses: Vec<f64>) -> Result<Regression, Error> {
    regression(Family::Poisson, matrix, responses)
}
/// Least squares.
///
/// # Errors
/// As for [`logistic`].
pub fn least_squares(matrix: Arc<TallMatrix>, responses: Vec<f64>) -> Result<Regression, Error> {
    regression(Family::LeastSquares, matrix, responses)
}
/// Huber's loss.
///
/// # Errors
/// As for [`logistic`], and a threshold that is not positive.
pub fn huber(matrix: Arc<TallMatrix>, responses: Vec<f64>, threshold: f64) -> Result<Regression, Error> {
    regression(Family::Huber { threshold }, matrix, responses)
}

impl Regression {
    /// A regression of this family without penalties and constraints, start 0.
    ///
    /// # Errors
    /// As for [`logistic`].
    pub fn new(family: Family, matrix: Arc<TallMatrix>, responses: Vec<f64>) -> Result<Self, Error> {
        regression(family, matrix, responses)
    }
    /// Penalties of all coefficients but those listed.
    pub fn penalties(mut self, l2: f64, l1: f64, free: &[usize]) -> Self {
        self.l2.fill(l2);
        self.l1.fill(l1);
        for j in free {
            if let (Some(a), Some(b)) = (self.l2.get_mut(*j), self.l1.get_mut(*j)) {
                (*a, *b) = (0.0, 0.0);
            }
        }
        self
    }
    /// With these constraints.
    pub fn constraints(mut self, constraints: Constraints) -> Self {
        self.constraints = constraints;
        self
    }
    /// With this start of the coefficients and of every multiplier.
    pub fn start(mut self, w: Vec<f64>, multiplier: f64) -> Self {
        (self.start, self.multiplier) = (w, multiplier);
        self
    }
    /// As a nonlinear program.
    ///
    /// # Errors
    /// Lengths or constraints that contradict each other.
    pub fn problem(&self, options: &RegressionOptions) -> Result<ConstrainedFit, Error> {
        let term = DataTerm::new(self.family, self.rows.clone());
        let penalties = (self.l2.clone(), self.l1.clone());
        let seed = options.optimizer.seed;
        let hessian = (options.hessian, options.sketch_rows, seed);
        ConstrainedFit::new(
            term,
            penalties,
            self.constraints.clone(),
            (&self.start, self.multiplier),
            hessian,
        )
    }
    /// Solves it.
    ///
    /// # Errors
    /// Contradictions in what was asked for, or rows that cannot be read.
    pub fn solve(&self, options: &RegressionOptions) -> Result<Fitted, Error> {
        self.solve_watched(options, &mut Silent)
    }
    /// Solves it; the observer hears the optimizer where that solves it.
    ///
    /// # Errors
    /// As for [`Regression::solve`].
    pub fn solve_watched(
        &self,
        options: &RegressionOptions,
        observer: &mut dyn Observer,
    ) -> Result<Fitted, Error> {
        options.optimizer.validate()?;
        if !self.constraints.is_empty() || options.always_optimizer {
            return self.by_optimizer(options, observer);
        }
        let mut term = DataTerm::new(self.family, self.rows.clone());
        let (tolerance, seed) = (options.optimizer.tolerance, options.optimizer.seed);
        let (hessian, sketch_rows) = (options.hessian, options.sketch_rows);
        let mut stop = options.optimizer.stop.clone();
        if let Some(limit) = options.optimizer.time_limit {
            let limit = std::time::Duration::from_secs_f64(limit.min(1e9));
            let deadline = std::time::Instant::now() + limit;
            stop.deadline = stop.deadline.map(|d| d.min(deadline)).or(Some(deadline));
        }
        if self.l1.iter().any(|l| *l > 0.0) {
            let max_iterations = options.optimizer.max_iterations.min(1000);
            let options = LassoOptions { hessian, sketch_rows, tolerance, max_iterations, seed, stop };
            let r = lasso(&mut term, (&self.l2, &self.l1), &self.start, &options)?;
            return Ok(Fitted {
                w: r.w,
                objective: r.objective,
                residual: r.residual,
                solved: r.stop == StopReason::Converged,
                stop: r.stop,
                iterations: r.iterations,
                passes: term.passes(),
                model: hessian.choose(&self.rows.matrix).0,
                report: None,
            });
        }
        let max_iterations = options.optimizer.max_iterations;
        let step = options.step;
        let options = NewtonOptions { hessian, sketch_rows, step, tolerance, max_iterations, seed, stop };
        let r = newton(&mut term, &self.l2, &self.start, &options)?;
        Ok(Fitted {
            w: r.w,
            objective: r.objective,
            residual: r.residual,
            solved: r.stop == StopReason::Converged,
            stop: r.stop,
            iterations: r.iterations,
            passes: r.passes,
            model: r.model,
            report: None,
        })
    }

    fn by_optimizer(
        &self,
        options: &RegressionOptions,
        observer: &mut dyn Observer,
    ) -> Result<Fitted, Error> {
        let mut problem = self.problem(options)?;
        let report = opt::solve(&mut problem, &options.optimizer, observer)?;
        Ok(Fitted {
            w: report.x[..self.l2.len()].to_vec(),
            objective: report.objective,
            residual: report.primal.max(report.dual).max(report.complementarity),
            solved: report.is_answer(),
            stop: report.stop.clone(),
            iterations: report.iterations,
            passes: problem.term().passes(),
            model: problem.model(),
            report: Some(report),
        })
    }
}

#[cfg(test)]
#[path = "solve_tests.rs"]
mod tests;
