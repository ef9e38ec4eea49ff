//! Multilinear interpolation between grids of any two numbers of cells, and its transpose.

use super::grid::{Axis, Boundary, Grid};
use super::parallel::over_rows;

/// Coarse entries of a row that are worked on at a time; their fine ones fit in FINE.
const COARSE: usize = 120;
const FINE: usize = 256;

/// One axis. Coarse unknown c has place c + 1; places 0 and nc + 1 lie beside the ends.
#[derive(Debug, Clone)]
struct Along {
    coarse: usize,
    periodic: bool,
    /// Fine unknown i is (1 - weight) of place `left` and weight of the place after it.
    left: Vec<u32>,
    weight: Vec<f64>,
    /// Fine unknowns and weights of coarse unknown c: entries starts[c]..starts[c + 1].
    starts: Vec<u32>,
    entries: Vec<(u32, f64)>,
}

impl Along {
    /// An axis that there is not.
    fn single() -> Self {
        Self::new(1, 1, false, vec![1], vec![0.0])
    }

    fn of(fine: &Axis, coarse: &Axis) -> Self {
        let shift = usize::from(coarse.low != Boundary::Dirichlet || coarse.is_periodic());
        let (mut left, mut weight) = (Vec::new(), Vec::new());
        for i in 0..fine.unknowns() {
            let scaled = (i + fine.first()) * coarse.cells;
            left.push((scaled / fine.cells + shift) as u32);
            weight.push((scaled % fine.cells) as f64 / fine.cells as f64);
        }
        Self::new(fine.unknowns(), coarse.unknowns(), coarse.is_periodic(), left, weight)
    }

    fn new(fine: usize, coarse: usize, periodic: bool, left: Vec<u32>, weight: Vec<f64>) -> Self {
        let mut lists: Vec<Vec<(u32, f64)>> = vec![Vec::new(); coarse];
        let mut along = Self { coarse, periodic, left, weight, starts: vec![0], entries: Vec::new() };
        for i in 0..fine {
            for (c, w) in along.parents(i) {
                if w != 0.0 {
                    lists[c].push((i as u32, w));
                }
            }
        }
        for list in lists {
            along.entries.extend(list);
            along.starts.push(along.entries.len() as u32);
        }
        along
    }

    /// The coarse unknown at a place.
    fn unknown(&self, place: usize) -> Option<usize> {
        match place {
            0 => self.periodic.then(|| self.coarse - 1),
            p if p > self.coarse => self.periodic.then_some(0),
            p => Some(p - 1),
        }
    }

    /// The two coarse unknowns of fine unknown i and their weights; weight 0 where there is none.
    fn parents(&self, i: usize) -> [(usize, f64); 2] {
        let (place, w) = (self.left[i] as usize, self.weight[i]);
        let of = |place: usize, w: f64| self.unknown(place).map_or((0, 0.0), |c| (c, w));
        [of(place, 1.0 - w), of(place + 1, w)]
    }

    /// The fine unknowns of coarse unknown c.
    fn children(&self, c: usize) -> &[(u32, f64)] {
        &self.entries[self.starts[c] as usize..self.starts[c + 1] as usize]
    }
}

/// Interpolation P from a coarse to a fine grid.
#[derive(Debug, Clone)]
pub(super) struct Interpolation {
    along: [Along; 3],
    fine: [usize; 3],
    coarse: [usize; 3],
}

impl Interpolation {
    /// Between two grids of the same box.
    pub fn new(fine: &Grid, coarse: &Grid) -> Self {
        let along = std::array::from_fn(|a| match (fine.axes().get(a), coarse.axes().get(a)) {
            (Some(f), Some(c)) => Along::of(f, c),
            _ => Along::single(),
        });
        Self { along, fine: fine.shape(), coarse: coarse.shape() }
    }

    /// u <- beta u + P e.
    pub fn prolong(&self, e: &[f64], beta: f64, u: &mut [f64]) {
        let [nx, ny, _] = self.fine;
        over_rows(u, nx, |first, rows| {
            for (r, row) in rows.chunks_mut(nx).enumerate() {
                let r = first + r;
                self.prolong_row(e, r % ny, r / ny, beta, row);
            }
        });
    }

    fn prolong_row(&self, e: &[f64], j: usize, k: usize, beta: f64, row: &mut [f64]) {
        let [cx, cy, _] = self.coarse;
        let [x, y, z] = &self.along;
        let mut sources = [(0usize, 0.0); 4];
        let mut count = 0;
        for (ck, wz) in z.parents(k) {
            for (cj, wy) in y.parents(j) {
                if wz * wy != 0.0 {
                    sources[count] = ((ck * cy + cj) * cx, wz * wy);
                    count += 1;
                }
            }
        }
        let mut sums = [0.0; FINE + 3];
        for (t, tile) in row.chunks_mut(FINE).enumerate() {
            let a = t * FINE;
            let left = &x.left[a..][..tile.len()];
            let weight = &x.weight[a..][..tile.len()];
            // Places p0..p1 of the sum of rows.
            let (p0, p1) = (left[0] as usize, left[tile.len() - 1] as usize + 2);
            let sums = &mut sums[..p1 - p0];
            sums.fill(0.0);
            for &(start, w) in &sources[..count] {
                let source = &e[start..][..cx];
                let (lo, hi) = (p0.max(1), p1.min(cx + 1));
                for (s, v) in sums[lo - p0..hi - p0].iter_mut().zip(&source[lo - 1..hi - 1]) {
                    *s += w * v;
                }
                if x.periodic && p0 == 0 {
                    sums[0] += w * source[cx - 1];
                }
                if x.periodic && p1 == cx + 2 {
                    sums[cx + 1 - p0] += w * source[0];
                }
            }
            for ((u, l), w) in tile.iter_mut().zip(left).zip(weight) {
                let at = *l as usize - p0;
                let pair = &sums[at..at + 2];
                *u = if beta == 0.0 { 0.0 } else { beta * *u } + (pair[0] + w * (pair[1] - pair[0]));
            }
        }
    }

    /// f <- P' r.
    pub fn restrict(&self, r: &[f64], f: &mut [f64]) {
        let [cx, cy, _] = self.coarse;
        over_rows(f, cx, |first, rows| {
            for (c, row) in rows.chunks_mut(cx).enumerate() {
                let c = first + c;
                self.restrict_row(r, c % cy, c / cy, row);
            }
        });
    }

    fn restrict_row(&self, r: &[f64], j: usize, k: usize, row: &mut [f64]) {
        let [nx, ny, _] = self.fine;
        let [x, y, z] = &self.along;
        let mut sums = [0.0; FINE];
        for (t, tile) in row.chunks_mut(COARSE).enumerate() {
            let a = t * COARSE;
            let (lo, hi) = (x.children(a), x.children(a + tile.len() - 1));
            let (Some(lo), Some(hi)) = (lo.first(), hi.last()) else { continue };
            let (lo, hi) = (lo.0 as usize, hi.0 as usize + 1);
            if x.periodic || hi - lo > FINE {
                self.restrict_directly(r, j, k, a, tile);
                continue;
            }
            let sums = &mut sums[..hi - lo];
            sums.fill(0.0);
            for &(fk, wz) in z.children(k) {
                for &(fj, wy) in y.children(j) {
                    let w = wz * wy;
                    let source = &r[(fk as usize * ny + fj as usize) * nx..][lo..hi];
                    sums.iter_mut().zip(source).for_each(|(s, v)| *s += w * v);
                }
            }
            for (c, f) in tile.iter_mut().enumerate() {
                *f = x.children(a + c).iter().map(|&(i, w)| w * sums[i as usize - lo]).sum();
            }
        }
    }

    fn restrict_directly(&self, r: &[f64], j: usize, k: usize, a: usize, tile: &mut [f64]) {
        let [nx, ny, _] = self.fine;
        let [x, y, z] = &self.along;
        tile.fill(0.0);
        for &(fk, wz) in z.children(k) {
            for &(fj, wy) in y.children(j) {
                let source = &r[(fk as usize * ny + fj as usize) * nx..][..nx];
                for (c, f) in tile.iter_mut().enumerate() {
                    *f +=
                        wz * wy * x.children(a + c).iter().map(|&(i, w)| w * source[i as usize]).sum::<f64>();
                }
            }
        }
    }

    /// Coarse diagonal fields: row sums are kept, d_c = P' d.
    pub fn restrict_field(&self, d: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.coarse.iter().product()];
        self.restrict(d, &mut out);
        out
    }
}

/// Means of cell values over the cells of a coarse grid, weighted by volume: of a itself and of 1 / a, their geometric mean.
pub(super) fn coarse_cells(fine: &Grid, coarse: &Grid, a: &[f64]) -> Vec<f64> {
    let counts = |g: &Grid| -> [usize; 3] { std::array::from_fn(|d| g.axes().get(d).map_or(1, |x| x.cells)) };
    let (nf, nc) = (counts(fine), counts(coarse));
    // For each coarse cell of an axis: fine cells and shares.
    let shares: [Vec<Vec<(usize, f64)>>; 3] = std::array::from_fn(|d| {
        (0..nc[d])
            .map(|c| {
                let (from, to) = (c * nf[d], (c + 1) * nf[d]);
                let all = from / nc[d]..to.div_ceil(nc[d]);
                all.map(|i| {
                    let overlap = to.min((i + 1) * nc[d]) - from.max(i * nc[d]);
                    (i, overlap as f64 / nf[d] as f64)
                })
                .collect()
            })
            .collect()
    });
    let mut out = Vec::with_capacity(nc.iter().product());
    for z in &shares[2] {
        for y in &shares[1] {
            for x in &shares[0] {
                let (mut mean, mut inverse) = (0.0, 0.0);
                for (k, wz) in z {
                    for (j, wy) in y {
                        for (i, wx) in x {
                            let (w, a) = (wx * wy * wz, a[(k * nf[1] + j) * nf[0] + i]);
                            mean += w * a;
                            inverse += w / a;
                        }
                    }
                }
                out.push((mean / inverse).sqrt());
            }
        }
    }
    out
}
