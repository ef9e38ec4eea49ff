//! Linear solvers behind one trait: direct, Krylov, sketch-and-project.

mod choose;
mod common;
pub mod conformance;
pub mod factors;
mod kind;
mod krylov;
mod ldl;
mod sketch;
mod testing;

pub use choose::{Facts, build, choose};
pub use kind::LinearSolverKind;
pub use krylov::{EigenSketch, Gmres, Minres, SketchedKrylov};
pub(crate) use ldl::DenseLdl;
pub use ldl::{FactorTimes, Ldl, LdlOptions};
pub use sketch::{Sketch, SketchProject};

use crate::linalg::LinOp;
use crate::observe::StopToken;

/// Signs of the eigenvalues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inertia {
    /// Positive eigenvalues.
    pub positive: usize,
    /// Negative eigenvalues.
    pub negative: usize,
    /// Zero (to the factorization's threshold).
    pub zero: usize,
}

/// What a solver knows once it has seen the matrix.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prepared {
    /// Inertia, if the solver computes one (direct solvers).
    pub inertia: Option<Inertia>,
    /// Entries of the factor; 0 for iterative solvers.
    pub factor_nonzeros: usize,
    /// Pivots that had to be perturbed: the inertia is in doubt when this is not 0.
    pub perturbed_pivots: usize,
    /// Multiplications of this factorization, delayed pivots included: counted, not timed, and the same for any number of threads. n^3/6 where it is
    /// dense; 0 for iterative solvers.
    pub work: f64,
}

/// What a solver is able to do, whatever the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SolverFacts {
    /// It factorizes: [`Prepared::inertia`] is given, and each solve costs little more than a pair of triangular solves.
    pub inertia: bool,
    /// It reads [`LinOp::as_sparse`]; products alone do not suffice.
    pub needs_entries: bool,
}

/// When a solve may end.
#[derive(Debug, Clone, Copy)]
pub struct Accuracy {
    /// |b - A x| <= relative |b|, Euclidean norm.
    pub relative: f64,
    /// Inner iterations allowed in this call (refinement steps for a direct solver).
    pub max_iterations: usize,
}

/// How a solve ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SolveEnd {
    /// The accuracy was reached.
    Reached,
    /// The iteration limit.
    MaxIterations,
    /// No further progress (refinement or Krylov stagnation).
    Stagnated,
    /// The stop token asked.
    Stopped,
}

/// Result of a solve; `x` holds the best iterate whatever the end.
#[derive(Debug, Clone, Copy)]
pub struct Solved {
    /// |b - A x| / |b|, computed from the true residual.
    pub relative_residual: f64,
    /// The residual is rounding, |b - A x| <= 16 eps | |A| |x| + |b| |, however large beside b: x is as good as it gets. Direct solvers look
    /// only where refinement stalls above 1e-8.
    pub at_rounding: bool,
    /// Inner iterations done.
    pub iterations: usize,
    /// How it ended.
    pub end: SolveEnd,
}

/// A linear solver cannot work on this matrix.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LinSolError {
    /// The solver needs entries and the operator has none.
    #[error("{solver} needs the matrix entries, but the operator is matrix-free")]
    NeedsEntries {
        /// The solver.
        solver: &'static str,
    },
    /// The solver needs a symmetric (or square) matrix.
    #[error("{solver} needs a {expected} matrix, found {found}")]
    Shape {
        /// The solver.
        solver: &'static str,
        /// What it needs.
        expected: &'static str,
        /// What it got.
        found: String,
    },
    /// NaN or infinity in the matrix or the right-hand side.
    #[error("{solver}: the {what} has an entry that is not finite")]
    NotFinite {
        /// The solver.
        solver: &'static str,
        /// Matrix or right-hand side.
        what: &'static str,
    },
    /// The factorization failed.
    #[error("{solver}: factorization failed: {reason}")]
    Factorization {
        /// The solver.
        solver: &'static str,
        /// Why.
        reason: String,
    },
    /// Out of memory or beyond a size limit.
    #[error("{solver}: {reason}")]
    TooLarge {
        /// The solver.
        solver: &'static str,
        /// Why.
        reason: String,
    },
    /// The stop token asked during `prepare`.
    #[error("stopped")]
    Stopped,
}

/// Solves A x = b, A symmetric (all solvers) or square (GMRES, sketches).
///
/// `x` is start and result: a second call with a tighter accuracy continues from where the first ended, and for a
/// seeded random method continues its random stream.
pub trait LinearSolver {
    /// Name as on the command line.
    fn name(&self) -> &'static str;
    /// What it is able to do; the default is that of an iterative solver which needs products only.
    fn facts(&self) -> SolverFacts {
        SolverFacts::default()
    }
    /// Called whenever the matrix has changed. A matrix with the same pattern as before reuses the symbolic analysis and all storage.
    fn prepare(&mut self, a: &mut dyn LinOp, stop: &StopToken) -> Result<Prepared, LinSolError>;
    /// Improves x until the accuracy holds.
    fn solve(
        &mut self,
        a: &mut dyn LinOp,
        b: &[f64],
        x: &mut [f64],
        accuracy: Accuracy,
        stop: &StopToken,
    ) -> Result<Solved, LinSolError>;
    /// What earlier matrices taught is of no use for the next: pivot thresholds, scaling, bases. The analysis of the pattern stays.
    fn forget(&mut self) {}
}
