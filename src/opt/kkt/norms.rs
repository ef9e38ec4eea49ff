//! Norms of K and of its inverse, estimated.

use super::{Env, Kkt};
use crate::linalg::{LinOp, axpy, dot, norm2};

/// Lanczos steps of the norm estimates.
const STEPS: usize = 12;

/// Storage of the norm estimates, allocated at their first use.
#[derive(Debug, Default)]
pub(super) struct LanczosWork {
    basis: Vec<Vec<f64>>,
    alphas: Vec<f64>,
    betas: Vec<f64>,
    w: Vec<f64>,
    w2: Vec<f64>,
}

impl LanczosWork {
    fn resize(&mut self, dim: usize) {
        if self.w.len() != dim {
            self.basis = vec![vec![0.0; dim]; STEPS];
            self.w = vec![0.0; dim];
            self.w2 = vec![0.0; dim];
            self.alphas.reserve(STEPS);
            self.betas.reserve(STEPS);
        }
        self.alphas.clear();
        self.betas.clear();
    }
}

impl Kkt {
    /// (|K|, |K^-1|) by Golub-Kahan-Lanczos bidiagonalization, which for symmetric K is Lanczos on K^2. Both are bounds from
    /// below: with `STEPS` steps the first is good to a few per cent, the second may be too small for an ill-conditioned K.
    pub fn norms(&mut self, e: &mut Env<'_, '_>) -> (f64, f64) {
        let dim = self.n + self.m;
        let steps = STEPS.min(dim);
        let mut work = std::mem::take(&mut self.lanczos);
        work.resize(dim);
        let LanczosWork { basis, alphas, betas, w, w2 } = &mut work;
        for (k, v) in basis[0].iter_mut().enumerate() {
            *v = 1.0 + ((k * 7919 + 13) % 101) as f64 / 101.0;
        }
        let scale = norm2(&basis[0]);
        basis[0].iter_mut().for_each(|a| *a /= scale);
        for k in 0..steps {
            self.product(e, &basis[k], w);
            self.product(e, w, w2);
            alphas.push(dot(&basis[k], w2));
            for _ in 0..2 {
                for q in &basis[..=k] {
                    let s = dot(q, w2);
                    axpy(-s, q, w2);
                }
            }
            let beta = norm2(w2);
            if beta <= 1e-14 * alphas[0].abs().max(f64::MIN_POSITIVE) || !beta.is_finite() || k + 1 == steps {
                break;
            }
            betas.push(beta);
            for (v, a) in basis[k + 1].iter_mut().zip(w2.iter()) {
                *v = a / beta;
            }
        }
        let (low, high) = tridiagonal_extremes(alphas, betas);
        self.lanczos = work;
        (high.max(f64::MIN_POSITIVE).sqrt(), 1.0 / low.max(1e-300).sqrt())
    }

    /// out <- K v.
    fn product(&mut self, e: &mut Env<'_, '_>, v: &[f64], out: &mut [f64]) {
        self.with_operator(e, |_, operator, _, _, _| operator.apply(1.0, v, 0.0, out));
    }
}

/// Extreme eigenvalues of a symmetric tridiagonal matrix by bisection on Sturm counts.
fn tridiagonal_extremes(alpha: &[f64], beta: &[f64]) -> (f64, f64) {
    let n = alpha.len();
    let radius = |i: usize| {
        let left = if i > 0 { beta[i - 1].abs() } else { 0.0 };
        let right = if i + 1 < n { beta[i].abs() } else { 0.0 };
        left + right
    };
    let low = (0..n).map(|i| alpha[i] - radius(i)).fold(f64::INFINITY, f64::min);
    let high = (0..n).map(|i| alpha[i] + radius(i)).fold(f64::NEG_INFINITY, f64::max);
    let below = |s: f64| {
        let (mut count, mut d) = (0, 1.0);
        for i in 0..n {
            let off = if i > 0 { beta[i - 1] * beta[i - 1] } else { 0.0 };
            d = alpha[i] - s - off / d;
            if d.abs() < f64::MIN_POSITIVE {
                d = f64::MIN_POSITIVE;
            }
            count += usize::from(d < 0.0);
        }
        count
    };
    let bisect = |target: usize| {
        let (mut a, mut b) = (low, high);
        for _ in 0..200 {
            let mid = 0.5 * (a + b);
            if below(mid) >= target {
                b = mid;
            } else {
                a = mid;
            }
        }
        0.5 * (a + b)
    };
    (bisect(1), bisect(n))
}

#[cfg(test)]
mod tests {
    use super::tridiagonal_extremes;

    #[test]
    fn extremes_of_the_second_difference_matrix() {
        let n = 9;
        let (low, high) = tridiagonal_extremes(&vec![2.0; n], &vec![-1.0; n - 1]);
        let eigenvalue = |k: f64| 2.0 - 2.0 * (k * std::f64::consts::PI / (n as f64 + 1.0)).cos();
        approx::assert_relative_eq!(low, eigenvalue(1.0), max_relative = 1e-12);
        approx::assert_relative_eq!(high, eigenvalue(n as f64), max_relative = 1e-12);
    }
}
