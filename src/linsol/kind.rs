//! Names of the linear solvers.

use std::fmt;
use std::str::FromStr;

/// Which linear solver to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LinearSolverKind {
    /// Chosen by size, sparsity and available operators; the log says what and why.
    #[default]
    Auto,
    /// Sparse LDL' with inertia, regularization and iterative refinement.
    Ldl,
    /// MINRES (Paige and Saunders 1975).
    Minres,
    /// Restarted GMRES (Saad and Schultz 1986).
    Gmres,
    /// Sketch-and-project with one Gaussian vector (Gower and Richtarik 2015).
    Gaussian,
    /// Randomized Kaczmarz, rows drawn uniformly.
    Kaczmarz,
    /// Randomized Kaczmarz, rows drawn with probability ~ |row|^2 (Strohmer and Vershynin 2009).
    KaczmarzNorm,
    /// Sketch-and-project with a block of Gaussian vectors.
    BlockGaussian,
    /// Sketch-and-project with a random block of rows.
    BlockKaczmarz,
    /// Sketch-and-project with a sparse (count) sketch (Clarkson and Woodruff 2013).
    CountSketch,
    /// MINRES preconditioned by a randomized low-rank sketch of the matrix.
    SketchedKrylov,
}

impl LinearSolverKind {
    /// Every concrete solver, `Auto` excluded.
    pub const ALL: [Self; 10] = [
        Self::Ldl,
        Self::Minres,
        Self::Gmres,
        Self::Gaussian,
        Self::Kaczmarz,
        Self::KaczmarzNorm,
        Self::BlockGaussian,
        Self::BlockKaczmarz,
        Self::CountSketch,
        Self::SketchedKrylov,
    ];

    /// Name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Ldl => "ldl",
            Self::Minres => "minres",
            Self::Gmres => "gmres",
            Self::Gaussian => "gaussian",
            Self::Kaczmarz => "kaczmarz",
            Self::KaczmarzNorm => "kaczmarz-norm",
            Self::BlockGaussian => "block-gaussian",
            Self::BlockKaczmarz => "block-kaczmarz",
            Self::CountSketch => "count-sketch",
            Self::SketchedKrylov => "sketched-krylov",
        }
    }
}

impl fmt::Display for LinearSolverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LinearSolverKind {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().chain([Self::Auto]).find(|k| k.as_str() == name).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|k| k.as_str()).collect();
            format!("unknown linear solver '{name}', expected auto or one of {}", known.join(", "))
        })
    }
}
