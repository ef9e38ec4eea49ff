//! BiCGStab.

use super::cycle::{CycleEnd, ProductNotFinite, Sums};
use crate::linalg::Scalar;

/// Storage of BiCGStab (van der Vorst 1992): two products an iteration, seven vectors whatever the number of iterations.
#[derive(Debug, Default)]
pub(crate) struct BiCgStab<T> {
    /// The residual at the start: the shadow space.
    shadow: Vec<T>,
    r: Vec<T>,
    p: Vec<T>,
    v: Vec<T>,
    t: Vec<T>,
    /// The solution of A x = r.
    x: Vec<T>,
}

impl<T: Scalar> BiCgStab<T> {
    /// Room for n unknowns.
    pub fn resize(&mut self, n: usize) {
        for v in [&mut self.shadow, &mut self.r, &mut self.p, &mut self.v, &mut self.t, &mut self.x] {
            v.resize(n, T::ZERO);
        }
    }

    /// Solves A x = r from zero until the residual is `target` or the method breaks down; [`BiCgStab::solution`] is the best it has.
    pub fn run(
        &mut self,
        sums: &Sums<T>,
        r: &[T],
        apply: &mut dyn FnMut(&[T], &mut [T]),
        target: T,
        limit: usize,
    ) -> Result<CycleEnd<T>, ProductNotFinite> {
        self.shadow.copy_from_slice(r);
        self.r.copy_from_slice(r);
        self.p.copy_from_slice(r);
        self.x.fill(T::ZERO);
        let mut rho = (sums.dot)(&self.shadow, &self.r);
        let mut iterations = 0;
        while iterations < limit {
            apply(&self.p, &mut self.v);
            let along = (sums.dot)(&self.shadow, &self.v);
            if !along.is_finite() {
                return Err(ProductNotFinite);
            }
            let alpha = rho / along;
            if !alpha.is_finite() {
                break;
            }
            iterations += 1;
            // s takes the place of r.
            (sums.axpy)(-alpha, &self.v, &mut self.r);
            (sums.axpy)(alpha, &self.p, &mut self.x);
            if (sums.norm)(&self.r) <= target {
                break;
            }
            apply(&self.r, &mut self.t);
            let size = (sums.dot)(&self.t, &self.t);
            if !size.is_finite() {
                return Err(ProductNotFinite);
            }
            let omega = (sums.dot)(&self.t, &self.r) / size;
            if !(omega.is_finite() && omega != T::ZERO) {
                break;
            }
            (sums.axpy)(omega, &self.r, &mut self.x);
            (sums.axpy)(-omega, &self.t, &mut self.r);
            if (sums.norm)(&self.r) <= target {
                break;
            }
            let next = (sums.dot)(&self.shadow, &self.r);
            let beta = next / rho * (alpha / omega);
            if !(beta.is_finite() && next != T::ZERO) {
                break;
            }
            rho = next;
            for ((p, r), v) in self.p.iter_mut().zip(&self.r).zip(&self.v) {
                *p = *r + beta * (*p - omega * *v);
            }
        }
        Ok(CycleEnd { iterations, residual: (sums.norm)(&self.r), stopped: false })
    }

    /// x of the last run.
    pub fn solution(&self) -> &[T] {
        &self.x
    }
}
