//! Small positive semidefinite systems.

/// Cholesky with complete pivoting that drops dependent rows: (Q'Q) y = t for consistent t, so that Q y is what the
/// pseudo-inverse gives.
#[derive(Debug, Default)]
pub(super) struct Gram {
    n: usize,
    /// Row-major; the upper triangle is given and overwritten by the factor.
    g: Vec<f64>,
    perm: Vec<usize>,
    work: Vec<f64>,
}

impl Gram {
    /// Storage for the upper triangle of an n x n matrix, row by row.
    pub(super) fn reset(&mut self, n: usize) -> &mut [f64] {
        self.n = n;
        self.g.resize(n * n, 0.0);
        self.perm.clear();
        self.perm.extend(0..n);
        self.work.resize(n, 0.0);
        &mut self.g
    }

    /// t <- G^+ t (a basic solution). G is lost.
    pub(super) fn solve(&mut self, t: &mut [f64]) {
        let n = self.n;
        let largest = (0..n).fold(0.0f64, |m, k| m.max(self.g[k * n + k]));
        // Squared condition: a direction of relative size 1e-7 and below is noise.
        let tol = 1e-14 * n as f64 * largest;
        let mut rank = 0;
        while rank < n {
            let k = rank;
            let p = (k..n).max_by(|a, b| self.g[a * n + a].total_cmp(&self.g[b * n + b])).unwrap_or(k);
            if self.g[p * n + p] <= tol || self.g[p * n + p].is_nan() {
                break;
            }
            self.swap(k, p);
            let root = self.g[k * n + k].sqrt();
            let (head, tail) = self.g.split_at_mut((k + 1) * n);
            let row = &mut head[k * n..];
            row[k] = root;
            row[k + 1..].iter_mut().for_each(|v| *v /= root);
            for i in k + 1..n {
                let l = row[i];
                for (v, u) in tail[(i - k - 1) * n + i..(i - k) * n].iter_mut().zip(&row[i..]) {
                    *v -= l * u;
                }
            }
            rank += 1;
        }
        // R'R y = t on the leading rank rows, zero elsewhere.
        for k in 0..rank {
            self.work[k] = t[self.perm[k]];
        }
        for k in 0..rank {
            self.work[k] /= self.g[k * n + k];
            for i in k + 1..rank {
                self.work[i] -= self.g[k * n + i] * self.work[k];
            }
        }
        for k in (0..rank).rev() {
            for i in k + 1..rank {
                self.work[k] -= self.g[k * n + i] * self.work[i];
            }
            self.work[k] /= self.g[k * n + k];
        }
        t.fill(0.0);
        for k in 0..rank {
            t[self.perm[k]] = self.work[k];
        }
    }

    /// Exchanges rows and columns k < p of the symmetric matrix (upper triangle) and of the finished rows.
    fn swap(&mut self, k: usize, p: usize) {
        if k == p {
            return;
        }
        let (n, g) = (self.n, &mut self.g);
        self.perm.swap(k, p);
        for i in 0..k {
            g.swap(i * n + k, i * n + p);
        }
        g.swap(k * n + k, p * n + p);
        for i in k + 1..p {
            g.swap(k * n + i, i * n + p);
        }
        for j in p + 1..n {
            g.swap(k * n + j, p * n + j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linsol::testing::Random;

    #[test]
    fn solves_full_and_deficient_systems() {
        let mut random = Random::new(5);
        for (n, rank) in [(1, 1), (4, 4), (7, 3), (12, 12), (5, 0)] {
            let q: Vec<Vec<f64>> = (0..rank).map(|_| random.vector(n)).collect();
            let entry = |i: usize, j: usize| q.iter().map(|r| r[i] * r[j]).sum::<f64>();
            let y = random.vector(n);
            let t: Vec<f64> = (0..n).map(|i| (0..n).map(|j| entry(i, j) * y[j]).sum()).collect();
            let mut gram = Gram::default();
            let g = gram.reset(n);
            for i in 0..n {
                for j in i..n {
                    g[i * n + j] = entry(i, j);
                }
            }
            let mut z = t.clone();
            gram.solve(&mut z);
            for (i, ti) in t.iter().enumerate() {
                let back: f64 = (0..n).map(|j| entry(i, j) * z[j]).sum();
                assert!((back - ti).abs() < 1e-7, "{n} {rank}");
            }
        }
    }
}
