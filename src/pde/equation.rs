//! The state equation behind a control problem: K on a grid with multigrid, or K as the user's sparse matrix with algebraic multigrid.

use super::algebraic::AlgebraicMultigrid;
use super::grid::{Grid, Scheme};
use super::krylov::Solved;
use super::multigrid::{Multigrid, MultigridOptions};
use super::operator::{Diffusion, Operator};
use crate::error::Error;
use crate::linalg::SparseMatrix;

/// What describes the linear part of a state equation.
#[derive(Debug, Clone)]
pub enum StateEquation {
    /// -div(a grad y) on a grid.
    Grid {
        /// The grid, with the conditions of the state.
        grid: Grid,
        /// How the equation becomes a matrix.
        scheme: Scheme,
        /// a.
        diffusion: Diffusion,
        /// Of the preconditioner.
        multigrid: MultigridOptions,
    },
    /// Any mesh.
    Matrices {
        /// K, symmetric positive definite, its lower triangle.
        stiffness: SparseMatrix,
        /// Lumped masses, positive.
        mass: Vec<f64>,
    },
}

impl StateEquation {
    /// Lumped masses of the unknowns.
    pub(super) fn mass(&self) -> Vec<f64> {
        match self {
            Self::Grid { grid, .. } => grid.mass(),
            Self::Matrices { mass, .. } => mass.clone(),
        }
    }
    /// Number of unknowns.
    pub fn unknowns(&self) -> usize {
        match self {
            Self::Grid { grid, .. } => grid.unknowns(),
            Self::Matrices { mass, .. } => mass.len(),
        }
    }
    /// What the masses are divided by.
    pub fn unit(&self) -> f64 {
        match self {
            Self::Grid { grid, .. } => grid.cell_volume(),
            Self::Matrices { .. } => 1.0,
        }
    }
}

/// K, and approximate inverses of K + c M + diag(field).
#[derive(Debug)]
pub(super) enum Equation {
    Grid(Box<(Operator, Multigrid)>),
    Matrices(Box<AlgebraicMultigrid>),
}

impl Equation {
    pub fn new(spec: &StateEquation) -> Result<Self, Error> {
        match spec {
            StateEquation::Grid { grid, scheme, diffusion, multigrid } => {
                let stiffness = Operator::new(grid, *scheme, diffusion)?;
                let multigrid = Multigrid::new(grid, *scheme, diffusion, *multigrid)?;
                if multigrid.is_singular() {
                    let what = "the state equation is singular: no Dirichlet or Robin side".into();
                    return Err(Error::Problem { name: "control".into(), what });
                }
                Ok(Self::Grid(Box::new((stiffness, multigrid))))
            }
            StateEquation::Matrices { stiffness, mass } => {
                if let Some(i) = mass.iter().position(|m| !(*m > 0.0 && m.is_finite())) {
                    let what = format!("the mass of unknown {i} is {}, expected a positive number", mass[i]);
                    return Err(Error::Problem { name: "control".into(), what });
                }
                let multigrid = AlgebraicMultigrid::new(stiffness)?;
                if multigrid.unknowns() != mass.len() {
                    let what = format!("{} masses for {} unknowns", mass.len(), multigrid.unknowns());
                    return Err(Error::Problem { name: "control".into(), what });
                }
                Ok(Self::Matrices(Box::new(multigrid)))
            }
        }
    }

    /// out <- K u.
    pub fn apply(&self, u: &[f64], out: &mut [f64]) {
        match self {
            Self::Grid(parts) => parts.0.apply_to(u, out),
            Self::Matrices(algebraic) => algebraic.apply_to(u, out),
        }
    }

    /// out <- s K u + m v.
    pub fn combine(&self, s: f64, u: &[f64], m: &[f64], v: &[f64], out: &mut [f64]) {
        match self {
            Self::Grid(parts) => parts.0.combine(s, u, m, v, out),
            Self::Matrices(algebraic) => {
                algebraic.apply_to(u, out);
                super::parallel::over(out, |at, out| {
                    for ((o, m), v) in out.iter_mut().zip(&m[at..]).zip(&v[at..]) {
                        *o = s * *o + m * v;
                    }
                });
            }
        }
    }

    /// The inverses are those of K + c M from now on; m are the masses.
    pub fn shift(&mut self, c: f64, m: &[f64]) -> Result<(), Error> {
        match self {
            Self::Grid(parts) if parts.0.is_lumped() => parts.1.set_reaction(c, &[]),
            _ => self.shift_by(&m.iter().map(|m| c * m).collect::<Vec<f64>>()),
        }
    }

    /// The inverses are those of K + diag(field) from now on; an empty field is 0.
    pub fn shift_by(&mut self, field: &[f64]) -> Result<(), Error> {
        match self {
            Self::Grid(parts) => parts.1.set_reaction(0.0, field),
            Self::Matrices(algebraic) => algebraic.set_field(field),
        }
    }

    /// u <- `cycles` cycles for the right-hand side f: a symmetric positive definite operator.
    pub fn cycles(&mut self, f: &[f64], u: &mut [f64], cycles: usize) {
        match self {
            Self::Grid(parts) => parts.1.cycles(f, u, cycles),
            Self::Matrices(algebraic) => algebraic.cycles(f, u, cycles),
        }
    }

    /// Conjugate gradients on the shifted matrix from u.
    pub fn solve(&mut self, f: &[f64], u: &mut [f64], tolerance: f64, most: usize) -> Solved {
        match self {
            Self::Grid(parts) => parts.1.conjugate_gradients(f, u, tolerance, most),
            Self::Matrices(algebraic) => algebraic.conjugate_gradients(f, u, tolerance, most),
        }
    }
}
