//! -div(a grad u) + c u on a grid, matrix-free.

use super::grid::{Grid, Scheme};
use super::parallel::{TILE, over_rows};
use super::stencil::Stencil;
use super::tensor::Tensor;
use crate::error::Error;
use crate::linalg::LinOp;

/// The coefficient a, positive.
#[derive(Debug, Clone, PartialEq)]
pub enum Diffusion {
    /// One number.
    Constant(f64),
    /// One for each cell, the first axis fastest.
    Cells(Vec<f64>),
}

impl Diffusion {
    /// Checks length and sign.
    pub(super) fn validate(&self, grid: &Grid) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Problem { name: "diffusion".into(), what });
        let positive = |a: &f64| *a > 0.0 && a.is_finite();
        match self {
            Self::Constant(a) if !positive(a) => {
                fail(format!("coefficient {a}, expected a positive finite number"))
            }
            Self::Cells(a) if a.len() != grid.cells() => {
                fail(format!("{} coefficients for {} cells", a.len(), grid.cells()))
            }
            Self::Cells(a) => match a.iter().position(|a| !positive(a)) {
                Some(c) => {
                    fail(format!("coefficient {} of cell {c}, expected a positive finite number", a[c]))
                }
                None => Ok(()),
            },
            Self::Constant(_) => Ok(()),
        }
    }
}

#[derive(Debug, Clone)]
enum Form {
    Tensor(Box<Tensor>),
    Stencil(Box<Stencil>),
}

/// 1 / diag A: one row for each kind of row, or all of it.
#[derive(Debug, Clone)]
enum Inverse {
    Rows { kind: Vec<u32>, rows: Vec<Vec<f64>> },
    Full(Vec<f64>),
}

/// A symmetric operator A = K + c M + diag(d) on the unknowns of a grid.
#[derive(Debug, Clone)]
pub struct Operator {
    shape: [usize; 3],
    form: Form,
    /// d, or empty.
    field: Vec<f64>,
    inverse: Inverse,
    largest: f64,
    lumped: bool,
}

impl Operator {
    /// K: -div(a grad u) with the grid's conditions, divided by the volume of a cell.
    ///
    /// # Errors
    /// [`Error::Problem`] for coefficients of the wrong number or sign.
    pub fn new(grid: &Grid, scheme: Scheme, diffusion: &Diffusion) -> Result<Self, Error> {
        diffusion.validate(grid)?;
        let units = std::array::from_fn(|a| grid.axes().get(a).map_or(1.0, |x| x.spacing()));
        Ok(Self::in_units(grid, scheme, diffusion, units))
    }

    /// On a coarse grid: divided by the volume of a cell of the finest one.
    pub(super) fn in_units(grid: &Grid, scheme: Scheme, diffusion: &Diffusion, units: [f64; 3]) -> Self {
        let lumped = scheme == Scheme::FiniteDifferences;
        let form = match diffusion {
            Diffusion::Constant(a) => Form::Tensor(Box::new(Tensor::new(grid, lumped, *a, 0.0, units))),
            Diffusion::Cells(a) => Form::Stencil(Box::new(Stencil::new(grid, scheme, a, units))),
        };
        let mut operator = Self {
            shape: grid.shape(),
            form,
            field: Vec::new(),
            inverse: Inverse::Full(Vec::new()),
            largest: largest(grid, scheme, 0.0),
            lumped,
        };
        operator.refresh();
        operator
    }

    /// Number of unknowns.
    pub fn unknowns(&self) -> usize {
        self.shape.iter().product()
    }

    /// A <- K + c M + diag(field); an empty field is 0. With variable coefficients c belongs into the field.
    pub(super) fn set_reaction(&mut self, grid: &Grid, scheme: Scheme, c: f64, field: &[f64]) {
        match &mut self.form {
            Form::Tensor(tensor) => tensor.set_reaction(c),
            Form::Stencil(_) => debug_assert!(c == 0.0),
        }
        self.largest = largest(grid, scheme, c);
        self.field.clear();
        self.field.extend_from_slice(field);
        self.refresh();
    }

    /// A constant c has a place of its own.
    pub(super) fn has_constant_reaction(&self) -> bool {
        matches!(self.form, Form::Tensor(_))
    }

    /// Masses are diagonal.
    pub(super) fn is_lumped(&self) -> bool {
        self.lumped
    }

    /// t <- entries a.. of row r of A u.
    #[inline]
    pub(super) fn row(&self, u: &[f64], r: usize, a: usize, t: &mut [f64]) {
        let [nx, ny, _] = self.shape;
        let (j, k) = (r % ny, r / ny);
        match &self.form {
            Form::Tensor(tensor) => tensor.row(u, j, k, a, t),
            Form::Stencil(stencil) => stencil.row(u, j, k, a, t),
        }
        if !self.field.is_empty() {
            let at = r * nx + a;
            for ((t, d), u) in t.iter_mut().zip(&self.field[at..]).zip(&u[at..]) {
                *t += d * u;
            }
        }
    }

    /// Calls f(index of the first entry, entries of A u, entries of out) on every tile of every row.
    #[inline]
    fn over_tiles(&self, u: &[f64], out: &mut [f64], f: impl Fn(usize, &[f64], &mut [f64]) + Sync) {
        let nx = self.shape[0];
        over_rows(out, nx, |first, rows| {
            let mut t = [0.0; TILE];
            for (r, row) in rows.chunks_mut(nx).enumerate() {
                let r = first + r;
                for (c, tile) in row.chunks_mut(TILE).enumerate() {
                    let t = &mut t[..tile.len()];
                    self.row(u, r, c * TILE, t);
                    f(r * nx + c * TILE, t, tile);
                }
            }
        });
    }

    /// out <- A u.
    pub fn apply_to(&self, u: &[f64], out: &mut [f64]) {
        self.over_tiles(u, out, |_, t, out| out.copy_from_slice(t));
    }

    /// out <- s A u + m v, m a diagonal.
    pub(super) fn combine(&self, s: f64, u: &[f64], m: &[f64], v: &[f64], out: &mut [f64]) {
        self.over_tiles(u, out, |at, t, out| {
            for (((o, t), m), v) in out.iter_mut().zip(t).zip(&m[at..]).zip(&v[at..]) {
                *o = s * t + m * v;
            }
        });
    }

    /// r <- f - A u.
    pub fn residual(&self, f: &[f64], u: &[f64], r: &mut [f64]) {
        self.over_tiles(u, r, |at, t, r| {
            for ((r, f), t) in r.iter_mut().zip(&f[at..]).zip(t) {
                *r = f - t;
            }
        });
    }

    /// One step of a three-term iteration: old <- u + alpha (u - old) + beta D^-1 (f - A u), where `first` says that old counts as 0.
    pub(super) fn step(&self, f: &[f64], u: &[f64], old: &mut [f64], alpha: f64, beta: f64, first: bool) {
        let nx = self.shape[0];
        self.over_tiles(u, old, |at, t, old| {
            let inverse = self.inverse_row(at / nx, at % nx);
            let (f, u) = (&f[at..][..t.len()], &u[at..][..t.len()]);
            let inverse = &inverse[..t.len()];
            let old = &mut old[..t.len()];
            if first {
                for i in 0..t.len() {
                    old[i] = (1.0 + alpha) * u[i] + beta * inverse[i] * (f[i] - t[i]);
                }
                return;
            }
            for i in 0..t.len() {
                old[i] = u[i] + alpha * (u[i] - old[i]) + beta * inverse[i] * (f[i] - t[i]);
            }
        });
    }

    /// u <- beta D^-1 f.
    pub(super) fn scaled(&self, f: &[f64], u: &mut [f64], beta: f64) {
        let nx = self.shape[0];
        over_rows(u, nx, |first, rows| {
            for (r, row) in rows.chunks_mut(nx).enumerate() {
                let at = (first + r) * nx;
                let inverse = self.inverse_row(first + r, 0);
                for ((u, f), d) in row.iter_mut().zip(&f[at..]).zip(inverse) {
                    *u = beta * d * f;
                }
            }
        });
    }

    /// 1 / diag A from entry a of row r.
    #[inline]
    fn inverse_row(&self, r: usize, a: usize) -> &[f64] {
        match &self.inverse {
            Inverse::Rows { kind, rows } => &rows[kind[r] as usize][a..],
            Inverse::Full(all) => &all[r * self.shape[0] + a..],
        }
    }

    /// diag A.
    pub fn diagonal(&self) -> Vec<f64> {
        let nx = self.shape[0];
        (0..self.unknowns()).map(|p| 1.0 / self.inverse_row(p / nx, p % nx)[0]).collect()
    }

    /// An upper bound of the eigenvalues of D^-1 A.
    pub(super) fn largest(&self) -> f64 {
        self.largest
    }

    /// The inverse diagonal anew.
    fn refresh(&mut self) {
        let [nx, ny, nz] = self.shape;
        let mut classes: Vec<(f64, f64)> = Vec::new();
        self.inverse = match &self.form {
            Form::Tensor(tensor) => {
                let mut kind = Vec::with_capacity(ny * nz);
                for r in 0..ny * nz {
                    let weights = tensor.diagonal_weights(r % ny, r / ny);
                    let known = classes.iter().position(|w| *w == weights);
                    kind.push(known.unwrap_or_else(|| {
                        classes.push(weights);
                        classes.len() - 1
                    }) as u32);
                }
                let mut rows: Vec<Vec<f64>> = classes
                    .iter()
                    .map(|weights| {
                        let mut row = vec![0.0; nx];
                        tensor.diagonal(*weights, &mut row);
                        row
                    })
                    .collect();
                if self.field.is_empty() {
                    rows.iter_mut().flatten().for_each(|d| *d = 1.0 / *d);
                    Inverse::Rows { kind, rows }
                } else {
                    let mut full = self.field.clone();
                    for (row, kind) in full.chunks_mut(nx).zip(kind) {
                        row.iter_mut().zip(&rows[kind as usize]).for_each(|(f, d)| *f = 1.0 / (*f + d));
                    }
                    Inverse::Full(full)
                }
            }
            Form::Stencil(stencil) => {
                let mut full = stencil.diagonal.clone();
                full.iter_mut().zip(&self.field).for_each(|(d, f)| *d += f);
                full.iter_mut().for_each(|d| *d = 1.0 / *d);
                Inverse::Full(full)
            }
        };
    }
}

/// The eigenvalue of D^-1 A, A = K + c M, of a wave inside the grid that is constant (0), has four points a period (1) or changes its sign from
/// node to node (2) along each axis. In units of diagonals k is 0, 1, 2 and m is 1, or 3/2, 1, 1/2 for elements.
fn symbol(grid: &Grid, scheme: Scheme, c: f64, waves: [u8; 3]) -> f64 {
    let axes = grid.axes();
    let stiff = |d: usize| axes[d].spacing().powi(-2);
    // c M on the diagonal beside 1/h^2: 2 k_own^-1 m_own of an element, (2/3) / 2, or 1 / 2.
    let reaction = if scheme == Scheme::Q1 { c / 3.0 } else { c / 2.0 };
    let m = |d: usize| if scheme == Scheme::Q1 { 1.5 - 0.5 * f64::from(waves[d]) } else { 1.0 };
    let product = |skip: usize| (0..axes.len()).filter(|d| *d != skip).map(m).product::<f64>();
    let k: f64 = (0..axes.len()).map(|d| f64::from(waves[d]) * stiff(d) * product(d)).sum();
    let diagonal: f64 = (0..axes.len()).map(stiff).sum();
    (k + reaction * product(usize::MAX)) / (diagonal + reaction)
}

/// All waves that are constant or change from node to node along each axis.
fn corners(dimensions: usize) -> impl Iterator<Item = [u8; 3]> {
    (0..1u8 << dimensions).map(|corner| std::array::from_fn(|d| 2 * (corner >> d & 1)))
}

/// The largest eigenvalue of D^-1 A: the symbol is multilinear in the cosines of the waves, so that a corner is largest. It is that of the matrix
/// of one cell, too, and with it a bound for all sides and coefficients.
fn largest(grid: &Grid, scheme: Scheme, c: f64) -> f64 {
    corners(grid.axes().len()).map(|waves| symbol(grid, scheme, c, waves)).fold(0.0, f64::max)
}

/// The least eigenvalue of a wave that the coarse grid has not, with four points a period along an axis that is coarsened.
pub(super) fn smooth_from(grid: &Grid, coarse: &Grid, scheme: Scheme, c: f64) -> f64 {
    let axes = grid.axes().iter().zip(coarse.axes()).enumerate();
    let halved = axes.filter(|(_, (x, c))| x.cells != c.cells).map(|(d, _)| d);
    halved
        .flat_map(|d| {
            corners(grid.axes().len()).map(move |mut waves| {
                waves[d] = 1;
                symbol(grid, scheme, c, waves)
            })
        })
        .fold(f64::INFINITY, f64::min)
}

impl LinOp for Operator {
    fn nrows(&self) -> usize {
        self.unknowns()
    }
    fn ncols(&self) -> usize {
        self.unknowns()
    }
    fn apply(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        self.over_tiles(x, y, |_, t, y| {
            for (y, t) in y.iter_mut().zip(t) {
                let old = if beta == 0.0 { 0.0 } else { beta * *y };
                *y = alpha * t + old;
            }
        });
    }
    fn apply_t(&mut self, alpha: f64, x: &[f64], beta: f64, y: &mut [f64]) {
        self.apply(alpha, x, beta, y);
    }
}
