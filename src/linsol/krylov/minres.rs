//! MINRES.

use crate::linalg::LinOp;
use crate::linsol::common::check_symmetric;
use crate::linsol::{Accuracy, LinSolError, LinearSolver, Prepared, Solved, SolverFacts};
use crate::observe::StopToken;

use super::lanczos::{Lanczos, OfOperator};

const NAME: &str = "minres";

/// MINRES (Paige and Saunders 1975): symmetric, indefinite or singular, matrix-free. One product an iteration.
/// Uses the operator's own preconditioner where it has one.
#[derive(Debug, Default)]
pub struct Minres {
    lanczos: Lanczos,
}

impl Minres {
    /// A solver without a matrix yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl LinearSolver for Minres {
    fn name(&self) -> &'static str {
        NAME
    }

    fn facts(&self) -> SolverFacts {
        SolverFacts { inertia: false, needs_entries: false }
    }

    fn prepare(&mut self, a: &mut dyn LinOp, _: &StopToken) -> Result<Prepared, LinSolError> {
        self.lanczos.resize(check_symmetric(NAME, a)?);
        Ok(Prepared::default())
    }

    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError> {
        self.lanczos.solve(NAME, a, &mut OfOperator, b, x, accuracy, stop)
    }
}
