//! Polynomials of single components.

use super::{Activation, Map};
use crate::linalg::Scalar;

/// y_i = x_i^k, without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Power {
    /// Length of x.
    pub dim: usize,
    /// k; 0 makes the constant 1.
    pub exponent: u16,
}

impl<T: Scalar> Map<T> for Power {
    fn inputs(&self) -> usize {
        self.dim
    }
    fn outputs(&self) -> usize {
        self.dim
    }
    fn n_params(&self) -> usize {
        0
    }
    fn keep_len(&self, _: usize) -> usize {
        0
    }
    fn forward(&mut self, _: T, x: &[T], _: &[T], y: &mut [T], _: &mut [T]) {
        let k = self.exponent as i32;
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x.powi(k));
    }
    fn backward(&mut self, _: T, x: &[T], _: &[T], _: &[T], _: &[T], w: &[T], x_bar: &mut [T], _: &mut [T]) {
        let k = self.exponent as i32;
        if k == 0 {
            return;
        }
        for ((b, x), w) in x_bar.iter_mut().zip(x).zip(w) {
            *b += *w * T::of(k as f64) * x.powi(k - 1);
        }
    }
}

/// y_i = sum_{k=0}^{degree} p_ik x_i^k; parameters: component by component, ascending powers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polynomial {
    /// Length of x.
    pub dim: usize,
    /// Highest power.
    pub degree: usize,
}

impl<T: Scalar> Map<T> for Polynomial {
    fn inputs(&self) -> usize {
        self.dim
    }
    fn outputs(&self) -> usize {
        self.dim
    }
    fn n_params(&self) -> usize {
        self.dim * (self.degree + 1)
    }
    fn keep_len(&self, _: usize) -> usize {
        0
    }
    fn forward(&mut self, _: T, x: &[T], p: &[T], y: &mut [T], _: &mut [T]) {
        let terms = self.degree + 1;
        for (x, y) in x.chunks_exact(self.dim).zip(y.chunks_exact_mut(self.dim)) {
            for ((x, y), c) in x.iter().zip(y).zip(p.chunks_exact(terms)) {
                *y = c.iter().rev().fold(T::ZERO, |s, &c| s * *x + c);
            }
        }
    }
    fn backward(
        &mut self,
        _: T,
        x: &[T],
        p: &[T],
        _: &[T],
        _: &[T],
        w: &[T],
        x_bar: &mut [T],
        p_bar: &mut [T],
    ) {
        let terms = self.degree + 1;
        for ((x, w), xb) in
            x.chunks_exact(self.dim).zip(w.chunks_exact(self.dim)).zip(x_bar.chunks_exact_mut(self.dim))
        {
            for (i, ((x, w), xb)) in x.iter().zip(w).zip(xb).enumerate() {
                let (mut power, mut slope) = (*w, T::ZERO);
                for k in 0..terms {
                    p_bar[i * terms + k] += power;
                    if k + 1 < terms {
                        slope += T::of((k + 1) as f64) * p[i * terms + k + 1] * power;
                    }
                    power *= *x;
                }
                *xb += slope;
            }
        }
    }
}

/// y_i = act(x_i), without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elementwise {
    /// Length of x.
    pub dim: usize,
    /// act.
    pub activation: Activation,
}

impl<T: Scalar> Map<T> for Elementwise {
    fn inputs(&self) -> usize {
        self.dim
    }
    fn outputs(&self) -> usize {
        self.dim
    }
    fn n_params(&self) -> usize {
        0
    }
    fn keep_len(&self, _: usize) -> usize {
        0
    }
    fn forward(&mut self, _: T, x: &[T], _: &[T], y: &mut [T], _: &mut [T]) {
        y.iter_mut().zip(x).for_each(|(y, x)| *y = self.activation.value(*x));
    }
    fn backward(&mut self, _: T, _: &[T], _: &[T], y: &[T], _: &[T], w: &[T], x_bar: &mut [T], _: &mut [T]) {
        for ((b, y), w) in x_bar.iter_mut().zip(y).zip(w) {
            *b += *w * self.activation.slope(*y);
        }
    }
}
