//! Norms of K and of its inverse, estimated.

use super::lanczos::{LanczosWork, STEPS, tridiagonal_extremes};
use super::{Env, Kkt};
use crate::linalg::{LinOp, axpy, dot, norm2};

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
