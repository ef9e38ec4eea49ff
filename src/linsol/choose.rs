//! Construction by name, and the automatic choice.

use crate::linsol::{
    Gmres, Ldl, LdlOptions, LinearSolver, LinearSolverKind, Minres, Sketch, SketchProject, SketchedKrylov,
};

/// What the automatic choice looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Unknowns.
    pub unknowns: usize,
    /// Stored entries (one triangle of a symmetric matrix); None: matrix-free.
    pub entries: Option<usize>,
    /// Whether the matrix is symmetric.
    pub symmetric: bool,
}

/// Entries of a full column of average length above which a factorization of a large matrix is not tried.
const DENSE_COLUMN: usize = 400;
/// Unknowns up to which a matrix is factorized however dense.
const ALWAYS_FACTORIZE: usize = 5_000;

/// Multiplications that may be spent on a doubtful inertia: in large systems the next matrix of an optimizer tells, too.
const AFFORDABLE: f64 = 2e6;

/// Chooses a solver and says why, in one sentence.
pub fn choose(facts: Facts) -> (LinearSolverKind, String) {
    let n = facts.unknowns;
    match facts.entries {
        _ if !facts.symmetric => {
            (LinearSolverKind::Gmres, format!("the matrix ({n} unknowns) is not symmetric"))
        }
        None => {
            (LinearSolverKind::Minres, format!("the matrix ({n} unknowns) is known by its products only"))
        }
        Some(e) if n <= ALWAYS_FACTORIZE => {
            (LinearSolverKind::Ldl, format!("{n} unknowns and {e} entries are few enough to factorize"))
        }
        Some(e) if e <= n * DENSE_COLUMN => {
            (LinearSolverKind::Ldl, format!("the matrix is sparse: {e} entries for {n} unknowns"))
        }
        Some(e) => {
            (LinearSolverKind::Minres, format!("{e} entries for {n} unknowns are too many to factorize"))
        }
    }
}

/// A solver by its name; `seed` starts the random stream of those that have one, the sparse LDL' uses `threads`. `Auto` gives the sparse LDL': call
/// [`choose`] first where the matrix is known.
pub fn build(kind: LinearSolverKind, seed: u64, threads: usize) -> Box<dyn LinearSolver> {
    let sketch = |s: Sketch| Box::new(SketchProject::new(s, seed, None));
    match kind {
        LinearSolverKind::Auto | LinearSolverKind::Ldl => {
            Box::new(Ldl::new(LdlOptions { threads, settle_doubts: AFFORDABLE, ..LdlOptions::default() }))
        }
        LinearSolverKind::Minres => Box::new(Minres::new()),
        LinearSolverKind::Gmres => Box::new(Gmres::default()),
        LinearSolverKind::Gaussian => sketch(Sketch::Gaussian),
        LinearSolverKind::Kaczmarz => sketch(Sketch::Row),
        LinearSolverKind::KaczmarzNorm => sketch(Sketch::RowByNorm),
        LinearSolverKind::BlockGaussian => sketch(Sketch::GaussianBlock),
        LinearSolverKind::BlockKaczmarz => sketch(Sketch::RowBlock),
        LinearSolverKind::CountSketch => sketch(Sketch::Count),
        LinearSolverKind::SketchedKrylov => Box::new(SketchedKrylov::new(seed)),
    }
}
