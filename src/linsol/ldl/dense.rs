//! Dense P A P' = L D L' with bounded Bunch-Kaufman ("rook") pivoting, in place, for small systems.
//!
//! Every entry of L is bounded by about 2.8 whatever the matrix, so that the pivots show singularity, and by
//! Sylvester's law the signs of the eigenvalues of D are those of A.
//! Ashcraft, Grimes, Lewis, "Accurate symmetric indefinite linear equation solvers", SIMAX 20 (1998), section 4.

use crate::linsol::Inertia;

/// (1 + sqrt 17)/8: minimizes the bound on element growth.
const ALPHA: f64 = 0.640_388_203_202_208;

/// Factors of one dense symmetric matrix; storage is reused from call to call.
#[derive(Debug, Default)]
pub(crate) struct DenseLdl {
    n: usize,
    /// Column-major n x n, lower triangle: the matrix, then L (unit diagonal not stored).
    a: Vec<f64>,
    /// Diagonal of D; exactly 0 for a pivot within the rank tolerance.
    d: Vec<f64>,
    /// e[k] = D[k + 1, k], nonzero for a 2 x 2 block in rows k, k + 1.
    e: Vec<f64>,
    /// Row k of the factor is row perm[k] of the matrix.
    perm: Vec<usize>,
    work: Vec<f64>,
}

impl DenseLdl {
    /// Sizes the storage and returns the zeroed n x n array, column-major, whose lower triangle the caller fills.
    pub(crate) fn reset(&mut self, n: usize) -> &mut [f64] {
        self.n = n;
        self.a.clear();
        self.a.resize(n * n, 0.0);
        self.d.resize(n, 0.0);
        self.e.resize(n, 0.0);
        self.work.resize(n, 0.0);
        self.perm.clear();
        self.perm.extend(0..n);
        &mut self.a
    }

    /// Factorizes. Pivots of at most `zero_tol` count as zero.
    pub(crate) fn factor(&mut self, zero_tol: f64) -> Inertia {
        let n = self.n;
        let mut inertia = Inertia { positive: 0, negative: 0, zero: 0 };
        self.e.fill(0.0);
        let mut k = 0;
        while k < n {
            match self.choose_pivot(k, zero_tol) {
                Pivot::Zero => {
                    self.a[k * n + k..(k + 1) * n].fill(0.0);
                    self.d[k] = 0.0;
                    inertia.zero += 1;
                    k += 1;
                }
                Pivot::One(r) => {
                    self.swap(k, k, r);
                    let d = self.a[k * n + k];
                    self.d[k] = d;
                    if d > 0.0 {
                        inertia.positive += 1;
                    } else {
                        inertia.negative += 1;
                    }
                    self.eliminate_one(k);
                    k += 1;
                }
                Pivot::Two(p, r) => {
                    self.swap(k, k, p);
                    self.swap(k, k + 1, r);
                    // Rook pivoting: |D21| exceeds both diagonal entries, so the determinant is negative.
                    inertia.positive += 1;
                    inertia.negative += 1;
                    self.eliminate_two(k);
                    k += 2;
                }
            }
        }
        inertia
    }

    /// Largest off-diagonal entry of row r of the trailing matrix k.., and where.
    fn row_max(&self, k: usize, r: usize) -> (f64, usize) {
        let n = self.n;
        let (mut best, mut at) = (0.0, r);
        for j in k..r {
            let v = self.a[j * n + r].abs();
            if v > best {
                (best, at) = (v, j);
            }
        }
        for (i, v) in self.a[r * n + r + 1..(r + 1) * n].iter().enumerate() {
            if v.abs() > best {
                (best, at) = (v.abs(), r + 1 + i);
            }
        }
        (best, at)
    }

    fn choose_pivot(&self, k: usize, zero_tol: f64) -> Pivot {
        let n = self.n;
        let (mut lambda, mut r) = self.row_max(k, k);
        let akk = self.a[k * n + k].abs();
        if akk.max(lambda) <= zero_tol {
            return Pivot::Zero;
        }
        if akk >= ALPHA * lambda {
            return Pivot::One(k);
        }
        let mut p = k;
        // lambda grows strictly from round to round, so this ends.
        loop {
            let (sigma, s) = self.row_max(k, r);
            if self.a[r * n + r].abs() >= ALPHA * sigma {
                return Pivot::One(r);
            }
            if sigma <= lambda {
                return Pivot::Two(p, r);
            }
            (p, r, lambda) = (r, s, sigma);
        }
    }

    /// Exchanges rows and columns q and r >= q: in the trailing matrix from k on symmetrically, in L (columns < k) the rows.
    fn swap(&mut self, k: usize, q: usize, r: usize) {
        if q == r {
            return;
        }
        let (n, a) = (self.n, &mut self.a);
        let (q, r) = (q.min(r), q.max(r));
        self.perm.swap(q, r);
        // Rows of finished columns, and of trailing columns left of q.
        for j in 0..q {
            a.swap(j * n + q, j * n + r);
        }
        debug_assert!(k <= q);
        a.swap(q * n + q, r * n + r);
        for j in q + 1..r {
            a.swap(q * n + j, j * n + r);
        }
        let (left, right) = a.split_at_mut(r * n);
        left[q * n + r + 1..(q + 1) * n].swap_with_slice(&mut right[r + 1..n]);
    }

    fn eliminate_one(&mut self, k: usize) {
        let n = self.n;
        let (left, right) = self.a.split_at_mut((k + 1) * n);
        let w = &mut left[k * n..];
        let inv = 1.0 / self.d[k];
        for j in k + 1..n {
            let l = w[j] * inv;
            if l != 0.0 {
                let col = &mut right[(j - k - 1) * n..(j - k) * n];
                for (c, wi) in col[j..].iter_mut().zip(&w[j..]) {
                    *c -= l * wi;
                }
            }
            w[j] = l;
        }
    }

    fn eliminate_two(&mut self, k: usize) {
        let n = self.n;
        let (left, right) = self.a.split_at_mut((k + 2) * n);
        let (w1, w2) = left[k * n..].split_at_mut(n);
        let (a, b, c) = (w1[k], w1[k + 1], w2[k + 1]);
        (self.d[k], self.d[k + 1], self.e[k]) = (a, c, b);
        // D^-1 = 1/(b (ac/b^2 - 1)) [c/b -1; -1 a/b], without overflow since |a|, |c| < |b|.
        let (ab, cb) = (a / b, c / b);
        let t = 1.0 / (b * (ab * cb - 1.0));
        for j in k + 2..n {
            let (l1, l2) = (t * (cb * w1[j] - w2[j]), t * (ab * w2[j] - w1[j]));
            let col = &mut right[(j - k - 2) * n..(j - k - 1) * n];
            for ((ci, u), v) in col[j..].iter_mut().zip(&w1[j..]).zip(&w2[j..]) {
                *ci -= l1 * u + l2 * v;
            }
            (w1[j], w2[j]) = (l1, l2);
        }
        w1[k + 1] = 0.0;
    }

    /// x <- A^-1 x; components along zero pivots are set to zero (a basic solution of a singular consistent system).
    pub(crate) fn solve(&mut self, x: &mut [f64]) {
        let n = self.n;
        let y = &mut self.work[..n];
        for (yk, &p) in y.iter_mut().zip(&self.perm) {
            *yk = x[p];
        }
        for k in 0..n {
            let (head, tail) = y.split_at_mut(k + 1);
            let v = head[k];
            for (t, l) in tail.iter_mut().zip(&self.a[k * n + k + 1..(k + 1) * n]) {
                *t -= l * v;
            }
        }
        let mut k = 0;
        while k < n {
            let b = self.e[k];
            if b != 0.0 {
                let (ab, cb) = (self.d[k] / b, self.d[k + 1] / b);
                let t = 1.0 / (b * (ab * cb - 1.0));
                (y[k], y[k + 1]) = (t * (cb * y[k] - y[k + 1]), t * (ab * y[k + 1] - y[k]));
                k += 2;
            } else {
                y[k] = if self.d[k] == 0.0 { 0.0 } else { y[k] / self.d[k] };
                k += 1;
            }
        }
        for k in (0..n).rev() {
            let (head, tail) = y.split_at_mut(k + 1);
            let sum: f64 = tail.iter().zip(&self.a[k * n + k + 1..(k + 1) * n]).map(|(t, l)| t * l).sum();
            head[k] -= sum;
        }
        for (yk, &p) in y.iter().zip(&self.perm) {
            x[p] = *yk;
        }
    }
}

enum Pivot {
    Zero,
    One(usize),
    Two(usize, usize),
}
