//! Penalties along the solution's path: TayNODE (Kelly et al. 2020) and RNODE (Finlay et al. 2020).
//!
//! ```text
//! R = int r(t, y(t)) dt,   r = mean_i (d^K y_i / dt^K)^2   (K = 1: kinetic energy),   or   r = mean_i (J e)_i^2
//! ```
//!
//! where the mean goes over all components of the whole batch, J = df/dy, and e is standard normal, one draw a pass: E |J e|^2 = |J|_F^2
//! (RNODE takes e'J; the expectation is the same). The integral is the trapezoidal rule over the accepted steps, so the solver's own steps do not
//! change; the published codes integrate R as one more component of the state.
//!
//! r is computed in Taylor mode ([`Jets`]) and differentiated by the transpose of that: the gradient is exact for the frozen steps.

use crate::linalg::Scalar;
use crate::nn::{Jet, JetBars, JetPass, Jets, MAX_ORDERS, factorial};

/// What is integrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathTerm {
    /// Mean square of the K-th derivative of the solution, 1 <= K <= [`MAX_ORDERS`].
    Derivative(usize),
    /// Mean square of the Jacobian times a random direction.
    Jacobian,
}

/// Where a penalty's integrand is taken.
#[derive(Debug, Clone, Copy)]
pub struct PathPoint<'a, T> {
    /// What is integrated.
    pub term: PathTerm,
    /// Time.
    pub t: T,
    /// State, dim x batch.
    pub y: &'a [T],
    /// Parameters.
    pub p: &'a [T],
    /// e, for the Jacobian's term.
    pub direction: &'a [T],
    /// Factor of the derivative.
    pub weight: f64,
}

/// Storage for the integrand and its derivative.
#[derive(Debug, Clone, Default)]
pub struct PathPenalty<T> {
    x: Vec<T>,
    y: Vec<T>,
    store: Vec<T>,
    x_bar: Vec<T>,
    y_bar: Vec<T>,
    store_bar: Vec<T>,
}

fn zeros<T: Scalar>(v: &mut Vec<T>, len: usize) {
    v.clear();
    v.resize(len, T::ZERO);
}

impl<T: Scalar> PathPenalty<T> {
    /// Nothing yet.
    pub fn new() -> Self {
        let none = Vec::new;
        Self { x: none(), y: none(), store: none(), x_bar: none(), y_bar: none(), store_bar: none() }
    }

    /// r at a point; with bars, the point's weight times dr is ADDED to the bars of y and p.
    pub fn add<M: Jets<T> + ?Sized>(
        &mut self,
        map: &mut M,
        point: &PathPoint<'_, T>,
        bars: Option<(&mut [T], &mut [T])>,
    ) -> f64 {
        let PathPoint { term, t, y, p, direction, weight } = *point;
        let n = y.len();
        let (orders, dt) = match term {
            PathTerm::Derivative(k) => (k.clamp(1, MAX_ORDERS), T::ONE),
            PathTerm::Jacobian => (2, T::ZERO),
        };
        let along = term != PathTerm::Jacobian;
        let at = |k: usize| Jet { k, orders, batch: n / map_dim(map), t, dt };
        let jets: Vec<Jet<T>> = (0..orders).map(at).collect();
        zeros(&mut self.x, orders * n);
        zeros(&mut self.y, orders * n);
        zeros(&mut self.store, map.jet_len(jets[0].batch, orders));
        self.x[..n].copy_from_slice(y);
        if !along {
            self.x[n..].copy_from_slice(direction);
        }
        for (k, jet) in jets.iter().enumerate() {
            map.jet_forward(*jet, &self.x, p, &mut self.y, &mut self.store);
            if along && k + 1 < orders {
                let share = T::ONE / T::of((k + 1) as f64);
                for i in 0..n {
                    self.x[(k + 1) * n + i] = share * self.y[k * n + i];
                }
            }
        }
        // d^K y/dt^K = K! y_K = (K - 1)! f_(K-1); J e = f_1.
        let scale = if along { factorial(orders - 1) } else { 1.0 };
        let top = &self.y[(orders - 1) * n..];
        let value = top.iter().map(|v| (scale * v.f64()).powi(2)).sum::<f64>() / n as f64;
        let Some((y_out, p_bar)) = bars else { return value };
        zeros(&mut self.x_bar, orders * n);
        zeros(&mut self.y_bar, orders * n);
        zeros(&mut self.store_bar, self.store.len());
        let slope = T::of(weight * 2.0 * scale * scale / n as f64);
        for (b, v) in self.y_bar[(orders - 1) * n..].iter_mut().zip(top) {
            *b = slope * *v;
        }
        for (k, jet) in jets.iter().enumerate().rev() {
            if along && k + 1 < orders {
                let share = T::ONE / T::of((k + 1) as f64);
                for i in 0..n {
                    self.y_bar[k * n + i] += share * self.x_bar[(k + 1) * n + i];
                }
            }
            let of = JetPass { x: &self.x, p, y: &self.y, store: &self.store };
            let (x, y, store) = (&mut self.x_bar[..], &mut self.y_bar[..], &mut self.store_bar[..]);
            map.jet_backward(*jet, of, JetBars { x, p: &mut *p_bar, y, store });
        }
        y_out.iter_mut().zip(&self.x_bar[..n]).for_each(|(a, b)| *a += *b);
        value
    }
}

fn map_dim<T: Scalar, M: Jets<T> + ?Sized>(map: &M) -> usize {
    map.inputs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, Mlp};

    #[test]
    fn derivatives_of_a_known_solution() {
        // y' = a y: the K-th derivative is a^K y; J = a.
        let mut map = Mlp::<f64>::linear(1, 1).unwrap();
        let (y, a) = ([0.7, -0.2], 1.3f64);
        let mean = (0.7f64 * 0.7 + 0.04) / 2.0;
        for k in 1..=6 {
            let term = PathTerm::Derivative(k);
            let at = PathPoint { term, t: 0.0, y: &y, p: &[a, 0.0], direction: &[], weight: 1.0 };
            let r = PathPenalty::new().add(&mut map, &at, None);
            assert!((r - a.powi(2 * k as i32) * mean).abs() < 1e-12, "{k}");
        }
        let (term, direction) = (PathTerm::Jacobian, &[1.0, 2.0]);
        let at = PathPoint { term, t: 0.0, y: &y, p: &[a, 0.0], direction, weight: 1.0 };
        let r = PathPenalty::new().add(&mut map, &at, None);
        assert!((r - a * a * 2.5).abs() < 1e-14);
    }

    #[test]
    fn gradients_of_the_integrand() {
        let mut map = Mlp::<f64>::dense(&[3, 5, 3], Activation::Tanh, Activation::Tanh, true).unwrap();
        let n = crate::diff::Map::<f64>::n_params(&map);
        let mut x: Vec<f64> = (0..6 + n).map(|i| (1.7 * i as f64).sin()).collect();
        let e: Vec<f64> = (0..6).map(|i| (2.3 * i as f64).cos()).collect();
        let terms = [1, 2, 3, 4].map(PathTerm::Derivative);
        for term in terms.into_iter().chain([PathTerm::Jacobian]) {
            let mut path = PathPenalty::new();
            let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; n]);
            fn point<'a>(x: &'a [f64], e: &'a [f64], term: PathTerm, weight: f64) -> PathPoint<'a, f64> {
                PathPoint { term, t: 0.4, y: &x[..6], p: &x[6..], direction: e, weight }
            }
            path.add(&mut map, &point(&x, &e, term, 0.7), Some((&mut yb, &mut pb)));
            let g = [yb, pb].concat();
            let size = g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for i in 0..x.len() {
                let mut at = |d: f64| {
                    let old = std::mem::replace(&mut x[i], 0.0);
                    x[i] = old + d;
                    let r = 0.7 * path.add(&mut map, &point(&x, &e, term, 0.0), None);
                    x[i] = old;
                    r
                };
                let d = 1e-3;
                let fd = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
                assert!((fd - g[i]).abs() < 1e-8 * size, "{term:?} {i}: {fd} {}", g[i]);
            }
        }
    }
}
