//! Geometric multigrid: rediscretized operators on grids of half as many cells, multilinear interpolation, polynomial smoothing.
//!
//! Trottenberg, Oosterlee, Schueller, "Multigrid" (2001), chapter 2; Chebyshev smoothing: Adams, Brezina, Hu, Tuminaro, "Parallel multigrid
//! smoothing: polynomial versus Gauss-Seidel", J. Comput. Phys. 188 (2003). A cycle from zero is a symmetric positive definite operator:
//! it smooths by the same polynomial in D^-1 A before and after, and restricts by the transpose of the interpolation.

use super::grid::{Axis, Grid, Scheme};
use super::interpolation::{Interpolation, coarse_cells};
use super::krylov::{CgWork, Solved, System, conjugate_gradients};
use super::operator::{Diffusion, Operator, smooth_from};
use super::parallel::norm;
use crate::error::Error;
use crate::linalg::Cholesky;

/// An axis is coarsened where its couplings are at least this share of the strongest.
const STRONG: f64 = 0.4;
/// No grid with fewer unknowns than this is coarsened.
const COARSEST: usize = 50;

/// How the grids are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cycle {
    /// Each coarser grid once.
    #[default]
    V,
    /// Each coarser grid twice from the one above.
    W,
}

/// The smoother, with its degree: products with A before and after each correction, the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Smoother {
    /// Chebyshev polynomials on the upper part of the spectrum of D^-1 A.
    Chebyshev(usize),
    /// Damped Jacobi steps.
    Jacobi(usize),
}

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MultigridOptions {
    /// How the grids are visited.
    pub cycle: Cycle,
    /// The smoother.
    pub smoother: Smoother,
}

impl Default for MultigridOptions {
    fn default() -> Self {
        Self { cycle: Cycle::V, smoother: Smoother::Chebyshev(2) }
    }
}

/// One grid.
#[derive(Debug, Clone)]
struct Level {
    operator: Operator,
    /// To the next coarser grid; none on the coarsest.
    interpolation: Option<Interpolation>,
    grid: Grid,
    /// The smoother works on the eigenvalues of D^-1 A above this.
    smooth_from: f64,
    /// Right-hand side and solution, empty on the finest grid.
    f: Vec<f64>,
    u: Vec<f64>,
    work: Vec<f64>,
}

/// A hierarchy of grids for A = K + c M + diag(d).
#[derive(Debug, Clone)]
pub struct Multigrid {
    levels: Vec<Level>,
    scheme: Scheme,
    options: MultigridOptions,
    coarsest: Coarsest,
    /// Lumped masses of the finest grid.
    mass: Vec<f64>,
    r: Vec<f64>,
    cg: CgWork,
}

/// The coarsest matrix, factorized.
#[derive(Debug, Clone, Default)]
struct Coarsest {
    factor: Option<Cholesky>,
}

impl Coarsest {
    fn solve(&self, f: &[f64], u: &mut [f64]) {
        u.copy_from_slice(f);
        match &self.factor {
            Some(factor) => factor.solve(u),
            None => u.fill(f64::NAN),
        }
    }
}

impl Multigrid {
    /// All grids below `grid`, with c = 0 and d = 0.
    ///
    /// # Errors
    /// [`Error::Problem`] for coefficients of the wrong number or sign, or a smoother of degree 0.
    pub fn new(
        grid: &Grid,
        scheme: Scheme,
        diffusion: &Diffusion,
        options: MultigridOptions,
    ) -> Result<Self, Error> {
        diffusion.validate(grid)?;
        if matches!(options.smoother, Smoother::Chebyshev(0) | Smoother::Jacobi(0)) {
            let what = "a smoother of degree 0, expected at least 1".into();
            return Err(Error::Problem { name: "multigrid".into(), what });
        }
        let units = std::array::from_fn(|a| grid.axes().get(a).map_or(1.0, |x| x.spacing()));
        let (mut grid, mut diffusion) = (grid.clone(), diffusion.clone());
        let mass = grid.mass();
        let mut levels: Vec<Level> = Vec::new();
        loop {
            let n = grid.unknowns();
            let inner = if levels.is_empty() { 0 } else { n };
            let coarse = coarsened(&grid);
            levels.push(Level {
                operator: Operator::in_units(&grid, scheme, &diffusion, units),
                interpolation: coarse.as_ref().map(|coarse| Interpolation::new(&grid, coarse)),
                smooth_from: coarse.as_ref().map_or(1.0, |coarse| smooth_from(&grid, coarse, scheme, 0.0)),
                grid: grid.clone(),
                f: vec![0.0; inner],
                u: vec![0.0; inner],
                work: vec![0.0; n],
            });
            let Some(coarse) = coarse else { break };
            if let Diffusion::Cells(a) = &diffusion {
                diffusion = Diffusion::Cells(coarse_cells(&grid, &coarse, a));
            }
            grid = coarse;
        }
        let mut multigrid = Self {
            levels,
            scheme,
            options,
            coarsest: Coarsest::default(),
            mass,
            r: Vec::new(),
            cg: CgWork::default(),
        };
        multigrid.factor_coarsest();
        Ok(multigrid)
    }

    /// A <- K + c M + diag(field), the field of one number an unknown, multiplied with its mass already; empty: 0. On coarser grids it is
    /// restricted by the transpose of the interpolation, which keeps its sums.
    ///
    /// # Errors
    /// [`Error::Problem`] for a field of the wrong length or with an entry that is not finite, or a c that is not.
    pub fn set_reaction(&mut self, c: f64, field: &[f64]) -> Result<(), Error> {
        let n = self.unknowns();
        let fail = |what: String| Err(Error::Problem { name: "multigrid".into(), what });
        if !field.is_empty() && field.len() != n {
            return fail(format!("a reaction of {} entries for {n} unknowns", field.len()));
        }
        if !c.is_finite() || field.iter().any(|d| !d.is_finite()) {
            return fail("a reaction that is not finite".into());
        }
        let (mut c, mut field) = (c, field.to_vec());
        if c != 0.0 && !self.levels[0].operator.has_constant_reaction() {
            if field.is_empty() {
                field.resize(n, 0.0);
            }
            field.iter_mut().zip(&self.mass).for_each(|(d, m)| *d += c * m);
            c = 0.0;
        }
        let grids: Vec<Grid> = self.levels[1..].iter().map(|level| level.grid.clone()).collect();
        for (k, level) in self.levels.iter_mut().enumerate() {
            if let Some(coarse) = grids.get(k) {
                level.smooth_from = smooth_from(&level.grid, coarse, self.scheme, c);
            }
            level.operator.set_reaction(&level.grid, self.scheme, c, &field);
            if let (Some(p), false) = (&level.interpolation, field.is_empty()) {
                field = p.restrict_field(&field);
            }
        }
        self.factor_coarsest();
        Ok(())
    }

    /// Number of unknowns.
    pub fn unknowns(&self) -> usize {
        self.levels[0].operator.unknowns()
    }
    /// Number of grids.
    pub fn grids(&self) -> usize {
        self.levels.len()
    }
    /// A.
    pub fn operator(&self) -> &Operator {
        &self.levels[0].operator
    }
    /// A is singular on the coarsest grid: neither a Dirichlet nor a Robin side, nor a reaction.
    pub fn is_singular(&self) -> bool {
        self.coarsest.factor.as_ref().is_none_or(|factor| factor.jitter() > 0.0)
    }
    /// Lumped masses of the unknowns.
    pub fn mass(&self) -> &[f64] {
        &self.mass
    }

    fn factor_coarsest(&mut self) {
        let Some(level) = self.levels.last() else { return };
        let n = level.operator.unknowns();
        let (mut e, mut column, mut a) = (vec![0.0; n], vec![0.0; n], vec![0.0; n * n]);
        for j in 0..n {
            e[j] = 1.0;
            level.operator.apply_to(&e, &mut column);
            e[j] = 0.0;
            for i in 0..n {
                a[i * n + j] = column[i];
            }
        }
        self.coarsest.factor = Cholesky::new(n, &a).ok();
    }

    /// u <- the result of one cycle from zero: a symmetric positive definite operator on f.
    pub fn cycle(&mut self, f: &[f64], u: &mut [f64]) {
        cycle(&mut self.levels, &self.coarsest, self.options, f, u, true);
    }

    /// One more cycle from u.
    pub fn improve(&mut self, f: &[f64], u: &mut [f64]) {
        cycle(&mut self.levels, &self.coarsest, self.options, f, u, false);
    }

    /// u <- `cycles` cycles from zero.
    pub fn cycles(&mut self, f: &[f64], u: &mut [f64], cycles: usize) {
        self.cycle(f, u);
        for _ in 1..cycles {
            self.improve(f, u);
        }
    }

    /// Full multigrid: the solution of each coarser grid, interpolated, is the start of one cycle on the next.
    pub fn full(&mut self, f: &[f64], u: &mut [f64]) {
        full(&mut self.levels, &self.coarsest, self.options, f, u);
    }

    /// Cycles from u until |f - A u| <= tolerance |f|.
    pub fn solve(&mut self, f: &[f64], u: &mut [f64], tolerance: f64, max_cycles: usize) -> Solved {
        let size = norm(f);
        let mut r = std::mem::take(&mut self.r);
        r.resize(f.len(), 0.0);
        let mut iterations = 0;
        let relative_residual = loop {
            self.levels[0].operator.residual(f, u, &mut r);
            let left = if size > 0.0 { norm(&r) / size } else { norm(&r) };
            if left <= tolerance || iterations == max_cycles || !left.is_finite() {
                break left;
            }
            self.improve(f, u);
            iterations += 1;
        };
        self.r = r;
        Solved { iterations, relative_residual, reached: relative_residual <= tolerance }
    }

    /// Conjugate gradients from u, preconditioned by a cycle, until |f - A u| <= tolerance |f|.
    pub fn conjugate_gradients(
        &mut self,
        f: &[f64],
        u: &mut [f64],
        tolerance: f64,
        max_iterations: usize,
    ) -> Solved {
        let mut work = std::mem::take(&mut self.cg);
        let solved = conjugate_gradients(self, &mut work, f, u, tolerance, max_iterations);
        self.cg = work;
        solved
    }
}

impl System for Multigrid {
    fn apply(&mut self, x: &[f64], y: &mut [f64]) {
        self.levels[0].operator.apply_to(x, y);
    }
    fn precondition(&mut self, r: &[f64], z: &mut [f64]) {
        self.cycle(r, z);
    }
}

/// The next coarser grid.
fn coarsened(grid: &Grid) -> Option<Grid> {
    if grid.unknowns() <= COARSEST {
        return None;
    }
    let half = |x: &Axis| Axis { cells: x.cells.div_ceil(2), ..*x };
    let may = |x: &Axis| {
        let coarse = half(x);
        coarse.cells < x.cells && coarse.unknowns() > 0 && !(x.is_periodic() && coarse.cells < 3)
    };
    let strength = |x: &Axis| x.spacing().powi(-2);
    let strongest = grid.axes().iter().filter(|x| may(x)).map(strength).fold(0.0, f64::max);
    if strongest == 0.0 {
        return None;
    }
    let axes = grid
        .axes()
        .iter()
        .map(|x| if may(x) && strength(x) >= STRONG * strongest { half(x) } else { *x })
        .collect();
    Grid::new(axes).ok()
}

fn cycle(
    levels: &mut [Level],
    coarsest: &Coarsest,
    options: MultigridOptions,
    f: &[f64],
    u: &mut [f64],
    from_zero: bool,
) {
    let Some((level, coarser)) = levels.split_first_mut() else { return };
    let (Some(p), Some(next)) = (&level.interpolation, coarser.first_mut()) else {
        return coarsest.solve(f, u);
    };
    let smoother = (options.smoother, level.smooth_from);
    smooth(&level.operator, smoother, f, u, &mut level.work, from_zero);
    level.operator.residual(f, u, &mut level.work);
    let (mut cf, mut cu) = (std::mem::take(&mut next.f), std::mem::take(&mut next.u));
    p.restrict(&level.work, &mut cf);
    cycle(coarser, coarsest, options, &cf, &mut cu, true);
    if options.cycle == Cycle::W && coarser.len() > 1 {
        cycle(coarser, coarsest, options, &cf, &mut cu, false);
    }
    p.prolong(&cu, 1.0, u);
    (coarser[0].f, coarser[0].u) = (cf, cu);
    smooth(&level.operator, smoother, f, u, &mut level.work, false);
}

fn full(levels: &mut [Level], coarsest: &Coarsest, options: MultigridOptions, f: &[f64], u: &mut [f64]) {
    if let Some((level, coarser)) = levels.split_first_mut()
        && let (Some(p), Some(next)) = (&level.interpolation, coarser.first_mut())
    {
        let (mut cf, mut cu) = (std::mem::take(&mut next.f), std::mem::take(&mut next.u));
        p.restrict(f, &mut cf);
        full(coarser, coarsest, options, &cf, &mut cu);
        p.prolong(&cu, 0.0, u);
        (coarser[0].f, coarser[0].u) = (cf, cu);
        return cycle(levels, coarsest, options, f, u, false);
    }
    cycle(levels, coarsest, options, f, u, true);
}

/// Steps u <- u + ..., by the three-term recurrence of Chebyshev polynomials (Saad, "Iterative methods for sparse linear systems", algorithm
/// 12.1) on [largest / ratio, largest], or damped Jacobi. The result is in u, `other` is overwritten.
fn smooth(
    a: &Operator,
    (smoother, low): (Smoother, f64),
    f: &[f64],
    u: &mut [f64],
    other: &mut [f64],
    from_zero: bool,
) {
    let largest = a.largest();
    let (degree, jacobi) = match smoother {
        Smoother::Chebyshev(degree) => (degree, false),
        Smoother::Jacobi(steps) => (steps, true),
    };
    let (high, low) = (1.02 * largest, low.min(0.5 * largest));
    let (theta, half) = (0.5 * (high + low), 0.5 * (high - low));
    let sigma = theta / half;
    let mut rho = 1.0 / sigma;
    // (alpha, beta) of step k.
    let mut coefficients = |k: usize| {
        if jacobi || k == 0 {
            return (0.0, 1.0 / theta);
        }
        let before = rho;
        rho = 1.0 / (2.0 * sigma - before);
        (rho * before, 2.0 * rho / half)
    };
    let (first, beta) = if from_zero { (1, coefficients(0).1) } else { (0, 0.0) };
    // Steps go to and fro between the two vectors and end in u.
    let mut in_u = (degree - first) % 2 == 0;
    if from_zero {
        a.scaled(f, if in_u { &mut *u } else { &mut *other }, beta);
    } else if !in_u {
        other.copy_from_slice(u);
    }
    for k in first..degree {
        let (alpha, beta) = coefficients(k);
        let (now, old) = if in_u { (&*u, &mut *other) } else { (&*other, &mut *u) };
        // The vector before the first one is 0, or has no weight.
        a.step(f, now, old, alpha, beta, k == first);
        in_u = !in_u;
    }
}
