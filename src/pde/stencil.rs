//! Variable coefficients: a symmetric matrix by its diagonals, one vector for each neighbour that comes after a node.

use super::grid::{Boundary, Grid, Scheme};
use super::line::{Line, cell_nodes, neighbour};

/// A neighbour at (dx, dy, dz), and the entries (p, neighbour of p).
#[derive(Debug, Clone)]
struct Band {
    offset: [isize; 3],
    values: Vec<f64>,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Stencil {
    shape: [usize; 3],
    pub diagonal: Vec<f64>,
    bands: Vec<Band>,
}

impl Stencil {
    /// Sums the matrices of the cells with coefficient `a` each; widths of the finest cells in `units` divide everything.
    pub fn new(grid: &Grid, scheme: Scheme, a: &[f64], units: [f64; 3]) -> Self {
        let shape = grid.shape();
        let dimensions = grid.axes().len();
        let mut offsets: Vec<[isize; 3]> = Vec::new();
        for code in 0..27isize {
            let o = [code % 3 - 1, code / 3 % 3 - 1, code / 9 - 1];
            let length = o.iter().filter(|d| **d != 0).count();
            let after = o[2] > 0 || (o[2] == 0 && (o[1] > 0 || (o[1] == 0 && o[0] > 0)));
            let inside = o[dimensions..].iter().all(|d| *d == 0);
            if after && inside && (scheme == Scheme::Q1 || length == 1) {
                offsets.push(o);
            }
        }
        let n = grid.unknowns();
        let bands = offsets.into_iter().map(|offset| Band { offset, values: vec![0.0; n] }).collect();
        let mut stencil = Self { shape, diagonal: vec![0.0; n], bands };
        stencil.add_cells(grid, scheme, a, units);
        stencil.add_robin(grid, scheme, units);
        stencil
    }

    fn add_cells(&mut self, grid: &Grid, scheme: Scheme, a: &[f64], units: [f64; 3]) {
        let axes = grid.axes();
        let dimensions = axes.len();
        let corners = 1usize << dimensions;
        let matrix = cell_matrix(grid, scheme, units);
        for (c, &a) in a.iter().enumerate() {
            let nodes = corner_nodes(grid, c);
            let node = |corner: usize| nodes[corner];
            for row in 0..corners {
                let Some(p) = node(row) else { continue };
                self.diagonal[p] += a * matrix[row * 8 + row];
                for col in 0..corners {
                    let offset: [isize; 3] =
                        std::array::from_fn(|d| (col >> d & 1) as isize - (row >> d & 1) as isize);
                    let (Some(_), Some(band)) =
                        (node(col), self.bands.iter_mut().find(|b| b.offset == offset))
                    else {
                        continue;
                    };
                    band.values[p] += a * matrix[row * 8 + col];
                }
            }
        }
    }

    /// beta times the mass matrix of the side, lumped or consistent.
    fn add_robin(&mut self, grid: &Grid, scheme: Scheme, units: [f64; 3]) {
        let [nx, ny, _] = self.shape;
        let lumped = scheme == Scheme::FiniteDifferences;
        let mass: [Line; 3] = std::array::from_fn(|d| {
            grid.axes().get(d).map_or(Line::single(1.0), |x| Line::mass(x, lumped, units[d]))
        });
        for (axis, x) in grid.axes().iter().enumerate() {
            for (high, side) in [(false, x.low), (true, x.high)] {
                let Boundary::Robin(beta) = side else { continue };
                for p in grid.side(axis, high).0 {
                    let at = [p % nx, p / nx % ny, p / (nx * ny)];
                    let entry = |offset: [isize; 3]| {
                        let others = (0..3).filter(|d| *d != axis);
                        beta / units[axis] * others.map(|d| mass[d].entry(at[d], offset[d])).product::<f64>()
                    };
                    self.diagonal[p] += entry([0; 3]);
                    for band in self.bands.iter_mut().filter(|b| b.offset[axis] == 0) {
                        band.values[p] += entry(band.offset);
                    }
                }
            }
        }
    }

    /// t <- entries a.. of row (j, k) of A u.
    pub fn row(&self, u: &[f64], j: usize, k: usize, a: usize, t: &mut [f64]) {
        let [nx, ny, nz] = self.shape;
        let (count, start) = (t.len(), (k * ny + j) * nx);
        let at = start + a;
        for ((t, d), u) in t.iter_mut().zip(&self.diagonal[at..]).zip(&u[at..]) {
            *t = d * u;
        }
        for band in &self.bands {
            let [dx, dy, dz] = band.offset;
            for (sign, own) in [(1isize, true), (-1, false)] {
                let row = (neighbour(k, sign * dz, nz) * ny + neighbour(j, sign * dy, ny)) * nx;
                // Entries (p, q) with q = p + offset are at p; (p, q) with q = p - offset are at q.
                let from = if own { start } else { row };
                let (values, x) = (&band.values[from..][..nx], &u[row..][..nx]);
                let d = sign * dx;
                let one = |i: usize| {
                    let q = neighbour(i, d, nx);
                    values[if own { i } else { q }] * x[q]
                };
                let (lo, hi) =
                    ((a + usize::from(d < 0 && a == 0)), a + count - usize::from(d > 0 && a + count == nx));
                if lo > a {
                    t[0] += one(a);
                }
                if hi < a + count && hi >= lo {
                    t[count - 1] += one(a + count - 1);
                }
                if lo >= hi {
                    continue;
                }
                let shifted = (lo as isize + d) as usize;
                let (v, x) = (&values[if own { lo } else { shifted }..], &x[shifted..]);
                for ((t, v), x) in t[lo - a..hi - a].iter_mut().zip(v).zip(x) {
                    *t += v * x;
                }
            }
        }
    }
}

/// The unknowns at the corners of a cell: bit d of a corner says which end of axis d.
fn corner_nodes(grid: &Grid, c: usize) -> [Option<usize>; 8] {
    let axes = grid.axes();
    let counts: [usize; 3] = std::array::from_fn(|d| axes.get(d).map_or(1, |x| x.cells));
    let at = [c % counts[0], c / counts[0] % counts[1], c / (counts[0] * counts[1])];
    let ends: [(Option<usize>, Option<usize>); 3] =
        std::array::from_fn(|d| axes.get(d).map_or((Some(0), None), |x| cell_nodes(x, at[d])));
    let [nx, ny, _] = grid.shape();
    std::array::from_fn(|corner| {
        let mut p = 0;
        for (d, stride) in [(0, 1), (1, nx), (2, nx * ny)] {
            p += stride * if corner >> d & 1 == 0 { ends[d].0? } else { ends[d].1? };
        }
        Some(p)
    })
}

/// out <- p'A_c y for the matrix A_c of each cell with coefficient 1, divided by its volume.
pub(super) fn cell_forms(grid: &Grid, scheme: Scheme, p: &[f64], y: &[f64], out: &mut [f64]) {
    let units = std::array::from_fn(|a| grid.axes().get(a).map_or(1.0, |x| x.spacing()));
    let matrix = cell_matrix(grid, scheme, units);
    let corners = 1usize << grid.axes().len();
    super::parallel::over(out, |first, out| {
        for (c, out) in out.iter_mut().enumerate() {
            let nodes = corner_nodes(grid, first + c);
            let value = |v: &[f64], corner: usize| nodes[corner].map_or(0.0, |q: usize| v[q]);
            *out = 0.0;
            for row in 0..corners {
                for col in 0..corners {
                    *out += value(p, row) * matrix[row * 8 + col] * value(y, col);
                }
            }
        }
    });
}

/// The matrix of a cell with coefficient 1, 8 columns a row: tensor products of [1, -1; -1, 1] and masses.
fn cell_matrix(grid: &Grid, scheme: Scheme, units: [f64; 3]) -> [f64; 64] {
    let axes = grid.axes();
    let mut out = [0.0; 64];
    let corners = 1usize << axes.len();
    for row in 0..corners {
        for col in 0..corners {
            let same = |d: usize| row >> d & 1 == col >> d & 1;
            for (d, x) in axes.iter().enumerate() {
                let mut v = if same(d) { 1.0 } else { -1.0 } / (x.spacing() * units[d]);
                for (e, y) in axes.iter().enumerate().filter(|(e, _)| *e != d) {
                    let h = y.spacing() / units[e];
                    v *= match (scheme, same(e)) {
                        (Scheme::FiniteDifferences, true) => h / 2.0,
                        (Scheme::FiniteDifferences, false) => 0.0,
                        (Scheme::Q1, true) => h / 3.0,
                        (Scheme::Q1, false) => h / 6.0,
                    };
                }
                out[row * 8 + col] += v;
            }
        }
    }
    out
}
