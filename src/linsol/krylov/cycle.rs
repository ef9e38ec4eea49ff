//! One cycle of GMRES: Arnoldi's basis and the least-squares problem on it.

use crate::linalg::Scalar;

/// Products and norms that a cycle works with: their sums may be formed in any fixed order.
pub(crate) struct Sums<T> {
    pub dot: fn(&[T], &[T]) -> T,
    pub norm: fn(&[T]) -> T,
    pub axpy: fn(T, &[T], &mut [T]),
    /// What is rounding beside 1.
    pub tiny: T,
    /// Orthogonalize a second time only where the first has left less than this share of a vector: 1 for always.
    pub again: T,
}

/// Storage of a cycle of GMRES (Saad and Schultz 1986): modified Gram-Schmidt, a second time where cancellation asks for it (Daniel, Gragg, Kaufman and
/// Stewart 1976), Givens rotations.
#[derive(Debug, Default)]
pub(crate) struct Cycle<T> {
    n: usize,
    width: usize,
    /// Orthonormal basis, one vector after the other.
    basis: Vec<T>,
    /// Upper triangle R of the Hessenberg matrix, column k at k * (width + 1).
    h: Vec<T>,
    rotations: Vec<(T, T)>,
    /// Right-hand side of the least-squares problem; its last entry is the residual norm.
    g: Vec<T>,
    used: usize,
}

/// How a cycle ended.
pub(crate) struct CycleEnd<T> {
    pub iterations: usize,
    /// |r - A Q y| as the recurrence has it.
    pub residual: T,
    /// The caller asked to stop.
    pub stopped: bool,
}

/// A product was not finite.
pub(crate) struct ProductNotFinite;

impl<T: Scalar> Cycle<T> {
    /// Room for n unknowns and at most `restart` iterations a cycle.
    pub fn resize(&mut self, n: usize, restart: usize) {
        self.n = n;
        self.width = restart.min(n);
        let ld = self.width + 1;
        self.basis.resize(n * ld, T::ZERO);
        self.h.resize(self.width * ld, T::ZERO);
        self.g.resize(ld, T::ZERO);
        self.rotations.resize(ld, (T::ONE, T::ZERO));
    }

    /// Minimizes |r - A Q y| over at most `limit` products, until it is `target`. Then [`Cycle::add_to`] gives Q y.
    pub fn run(
        &mut self,
        sums: &Sums<T>,
        r: &[T],
        apply: &mut dyn FnMut(&[T], &mut [T]),
        target: T,
        limit: usize,
        stop: &mut dyn FnMut() -> bool,
    ) -> Result<CycleEnd<T>, ProductNotFinite> {
        let (n, ld) = (self.n, self.width + 1);
        let beta = (sums.norm)(r);
        for (q, r) in self.basis[..n].iter_mut().zip(r) {
            *q = *r / beta;
        }
        self.g.fill(T::ZERO);
        self.g[0] = beta;
        let (mut k, mut stopped) = (0, false);
        while k < self.width.min(limit) {
            if stop() {
                stopped = true;
                break;
            }
            let (old, new) = self.basis.split_at_mut((k + 1) * n);
            let w = &mut new[..n];
            apply(&old[k * n..], w);
            let size = (sums.norm)(w);
            if !size.is_finite() {
                return Err(ProductNotFinite);
            }
            let column = &mut self.h[k * ld..(k + 1) * ld];
            column.fill(T::ZERO);
            let mut next = size;
            for _ in 0..2 {
                for (q, h) in old.chunks_exact(n).zip(column.iter_mut()) {
                    let t = (sums.dot)(q, w);
                    *h += t;
                    (sums.axpy)(-t, q, w);
                }
                let before = std::mem::replace(&mut next, (sums.norm)(w));
                if sums.again < T::ONE && next > sums.again * before {
                    break;
                }
            }
            let invariant = next <= sums.tiny * size;
            if !invariant {
                w.iter_mut().for_each(|v| *v /= next);
            }
            for (i, &(c, s)) in self.rotations[..k].iter().enumerate() {
                (column[i], column[i + 1]) =
                    (c * column[i] + s * column[i + 1], c * column[i + 1] - s * column[i]);
            }
            let sub = if invariant { T::ZERO } else { next };
            let rho = hypot(column[k], sub);
            if rho <= sums.tiny * size || rho == T::ZERO {
                // Singular on an invariant space: this column adds nothing.
                break;
            }
            let (c, s) = (column[k] / rho, sub / rho);
            self.rotations[k] = (c, s);
            column[k] = rho;
            (self.g[k], self.g[k + 1]) = (c * self.g[k], -s * self.g[k]);
            k += 1;
            if self.g[k].abs() <= target || invariant {
                break;
            }
        }
        let residual = self.g[k].abs();
        self.back_substitute(k);
        Ok(CycleEnd { iterations: k, residual, stopped })
    }

    /// y <- R^-1 g.
    fn back_substitute(&mut self, k: usize) {
        let ld = self.width + 1;
        for i in (0..k).rev() {
            let mut v = self.g[i];
            for j in i + 1..k {
                v -= self.h[j * ld + i] * self.g[j];
            }
            self.g[i] = v / self.h[i * ld + i];
        }
        self.used = k;
    }

    /// x <- x + Q y with the y of the last cycle.
    pub fn add_to(&self, sums: &Sums<T>, x: &mut [T]) {
        for (q, y) in self.basis.chunks_exact(self.n.max(1)).zip(&self.g[..self.used]) {
            (sums.axpy)(*y, q, x);
        }
    }
}

fn hypot<T: Scalar>(a: T, b: T) -> T {
    T::of(a.f64().hypot(b.f64()))
}
