//! Constant coefficients: A = Kx My Mz + Mx Ky Mz + Mx My Kz + c Mx My Mz, a sum of products of tridiagonal matrices, by rows.

use super::grid::Grid;
use super::line::{Line, neighbour};
use super::parallel::TILE;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    /// Mass matrices are diagonal.
    lumped: bool,
    stiffness: [Line; 3],
    mass: [Line; 3],
    /// c.
    reaction: f64,
    shape: [usize; 3],
}

impl Tensor {
    /// Widths of the finest cells in `units` divide everything.
    pub fn new(grid: &Grid, lumped: bool, diffusion: f64, reaction: f64, units: [f64; 3]) -> Self {
        let axis = |a: usize| grid.axes().get(a);
        let stiffness = std::array::from_fn(|a| {
            axis(a).map_or(Line::single(0.0), |x| Line::stiffness(x, diffusion, units[a]))
        });
        let mass =
            std::array::from_fn(|a| axis(a).map_or(Line::single(1.0), |x| Line::mass(x, lumped, units[a])));
        Self { lumped, stiffness, mass, reaction, shape: grid.shape() }
    }

    pub fn set_reaction(&mut self, reaction: f64) {
        self.reaction = reaction;
    }

    /// Weights of row (j + dj, k + dk) in the two sums of rows: w1 for Kx, w2 for Mx.
    fn weights(&self, j: usize, k: usize, dj: isize, dk: isize) -> (f64, f64) {
        let ([_, ky, kz], [_, my, mz]) = (&self.stiffness, &self.mass);
        let (my_e, mz_e) = (my.entry(j, dj), mz.entry(k, dk));
        let w1 = my_e * mz_e;
        (w1, ky.entry(j, dj) * mz_e + my_e * kz.entry(k, dk) + self.reaction * w1)
    }

    /// t <- entries a.. of row (j, k) of A u.
    pub fn row(&self, u: &[f64], j: usize, k: usize, a: usize, t: &mut [f64]) {
        let [nx, ny, nz] = self.shape;
        let start = |dj: isize, dk: isize| (neighbour(k, dk, nz) * ny + neighbour(j, dj, ny)) * nx;
        if self.lumped {
            let (w1, centre) = self.weights(j, k, 0, 0);
            let side = |dj: isize, dk: isize| (self.weights(j, k, dj, dk).1, &u[start(dj, dk)..][..nx]);
            let own = &u[start(0, 0)..][..nx];
            let ys = [side(-1, 0), side(1, 0)];
            if nz == 1 {
                self.lumped_row(own, w1, centre, &ys, a, t);
            } else {
                self.lumped_row(own, w1, centre, &[ys[0], ys[1], side(0, -1), side(0, 1)], a, t);
            }
            return;
        }
        let mut rows = [(0.0, 0.0, 0usize); 9];
        let mut count = 0;
        for dk in -1..=1 {
            for dj in -1..=1 {
                let (w1, w2) = self.weights(j, k, dj, dk);
                if w1 != 0.0 || w2 != 0.0 {
                    rows[count] = (w1, w2, start(dj, dk));
                    count += 1;
                }
            }
        }
        self.consistent_row(u, &rows[..count], a, t);
    }

    /// t <- w1 Kx u + Mx (centre u + sum of w v over the rows beside), Mx diagonal.
    #[inline(always)]
    fn lumped_row<const S: usize>(
        &self,
        u: &[f64],
        w1: f64,
        centre: f64,
        sides: &[(f64, &[f64]); S],
        a: usize,
        t: &mut [f64],
    ) {
        let (n, b) = (u.len(), a + t.len());
        let (k, m) = (&self.stiffness[0], &self.mass[0]);
        let one = |i: usize| {
            let (left, right) = (u[neighbour(i, -1, n)], u[neighbour(i, 1, n)]);
            let beside: f64 = sides.iter().map(|(w, v)| w * v[i]).sum();
            w1 * (k.off[i] * left + k.diag[i] * u[i] + k.off[i + 1] * right)
                + m.diag[i] * (centre * u[i] + beside)
        };
        let (from, to) = (a.max(1), b.min(n - 1));
        if from < to {
            let inner = &mut t[from - a..to - a];
            let count = inner.len();
            let (left, own, right) = (&u[from - 1..][..count], &u[from..][..count], &u[from + 1..][..count]);
            let (off, next, diag) =
                (&k.off[from..][..count], &k.off[from + 1..][..count], &k.diag[from..][..count]);
            let mass = &m.diag[from..][..count];
            let beside: [(f64, &[f64]); S] =
                std::array::from_fn(|s| (sides[s].0, &sides[s].1[from..][..count]));
            for i in 0..count {
                let mut sum = centre * own[i];
                for (w, v) in &beside {
                    sum += w * v[i];
                }
                inner[i] = w1 * (off[i] * left[i] + diag[i] * own[i] + next[i] * right[i]) + mass[i] * sum;
            }
        }
        if a == 0 {
            t[0] = one(0);
        }
        if b == n && n > 1 {
            t[n - 1 - a] = one(n - 1);
        }
    }

    /// t <- Kx s1 + Mx s2, s1 and s2 the weighted sums of rows.
    fn consistent_row(&self, u: &[f64], rows: &[(f64, f64, usize)], a: usize, t: &mut [f64]) {
        let n = self.shape[0];
        let count = t.len();
        // Entry i of the row is entry i + 1 - a of the sums.
        let (mut s1, mut s2) = ([0.0; TILE + 2], [0.0; TILE + 2]);
        for &(w1, w2, start) in rows {
            let row = &u[start..][..n];
            let mut add = |at: usize, v: f64| {
                s1[at] += w1 * v;
                s2[at] += w2 * v;
            };
            add(0, row[neighbour(a, -1, n)]);
            add(count + 1, row[neighbour(a + count - 1, 1, n)]);
            let (x1, x2) = (&mut s1[1..=count], &mut s2[1..=count]);
            for ((x1, x2), v) in x1.iter_mut().zip(x2).zip(&row[a..]) {
                *x1 += w1 * v;
                *x2 += w2 * v;
            }
        }
        let (k, m) = (&self.stiffness[0], &self.mass[0]);
        let (ko, kn, kd) = (&k.off[a..][..count], &k.off[a + 1..][..count], &k.diag[a..][..count]);
        let (mo, mn, md) = (&m.off[a..][..count], &m.off[a + 1..][..count], &m.diag[a..][..count]);
        let (s1, s2) = (&s1[..count + 2], &s2[..count + 2]);
        for i in 0..count {
            t[i] = ko[i] * s1[i]
                + kd[i] * s1[i + 1]
                + kn[i] * s1[i + 2]
                + (mo[i] * s2[i] + md[i] * s2[i + 1] + mn[i] * s2[i + 2]);
        }
    }

    /// Weights (w1, w2) of a row's diagonal, which is w1 diag Kx + w2 diag Mx.
    pub fn diagonal_weights(&self, j: usize, k: usize) -> (f64, f64) {
        self.weights(j, k, 0, 0)
    }

    /// The diagonal of a row.
    pub fn diagonal(&self, (w1, w2): (f64, f64), out: &mut [f64]) {
        for (i, d) in out.iter_mut().enumerate() {
            *d = w1 * self.stiffness[0].diag[i] + w2 * self.mass[0].diag[i];
        }
    }
}
