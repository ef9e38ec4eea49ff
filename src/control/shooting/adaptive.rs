//! Solving where the steps of an integration follow the solution.

use crate::error::{Error, OdeError};
use crate::fit::LeastSquares;
use crate::nlp::Nlp;
use crate::observe::Observer;
use crate::opt::{Options, Solver, Start};
use crate::report::Report;

/// The error, in units of the tolerance, up to which recorded steps are good enough.
const GOOD: f64 = 2.0;
/// Choices of steps, at most.
const ROUNDS: usize = 10;

/// A problem whose functions are computed along recorded steps.
pub trait Adaptive: Nlp {
    /// The largest error estimate along the steps at x, in units of the tolerance.
    ///
    /// # Errors
    /// Where the integration fails.
    fn error(&mut self, x: &[f64]) -> Result<f64, OdeError>;
    /// Chooses the steps for x and keeps them.
    ///
    /// # Errors
    /// Where the integration fails.
    fn adapt(&mut self, x: &[f64]) -> Result<(), OdeError>;
}

impl<P: Adaptive> Adaptive for LeastSquares<P> {
    fn error(&mut self, x: &[f64]) -> Result<f64, OdeError> {
        let mut out = Ok(0.0);
        self.change(|p| out = p.error(x));
        out
    }
    fn adapt(&mut self, x: &[f64]) -> Result<(), OdeError> {
        let mut out = Ok(());
        self.change(|p| out = p.adapt(x));
        out
    }
}

/// Solves a problem along steps chosen at its start, chooses them anew at the solution where their errors there are above the tolerance, and goes on from it until they are not.
/// Functions are smooth all the while, as the solver wants them; the report is of the last solve.
///
/// # Errors
/// Those of [`opt::solve`](crate::opt::solve); [`Error::Problem`] where the integration from the start or a solution fails.
pub fn solve<P: Adaptive>(
    problem: &mut P,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Report, Error> {
    let name = problem.meta().name.clone();
    let failed = |e: OdeError| Error::Problem { name: name.clone(), what: e.to_string() };
    let mut solver = Solver::new(options.clone())?;
    let (mut x, mut start) = (problem.meta().x0.clone(), Start::Problem);
    let mut rounds = 0;
    loop {
        rounds += 1;
        problem.adapt(&x).map_err(failed)?;
        let report = solver.solve(problem, start, observer)?;
        let good = problem.error(&report.x).is_ok_and(|e| e <= GOOD);
        if good || rounds == ROUNDS || report.x.iter().any(|v| !v.is_finite()) {
            return Ok(report.clone());
        }
        (x, start) = (report.x.clone(), Start::Last);
    }
}
