//! Directions of a direct search that needs values only.
//!
//! Poll: with u a random unit vector, the columns h_1..h_n of the Householder matrix H = I - 2 u u' and h_0 = -(h_1 + .. + h_n) span R^n positively: every
//! x is a combination of them with coefficients that are not negative, so one of them ascends wherever the gradient is not zero (Audet and Hare,
//! "Derivative-Free and Blackbox Optimization", 2017). Covering: x + u (U r_0)^(1/n) with |u|_inf = 1 and U uniform in (0, 1) comes near every point around x
//! sooner or later, which makes limits local maxima also where f jumps (Audet, Bouchet, Bourdin, "A derivative-free approach to optimal control problems with
//! a piecewise constant Mayer cost function", 2023).

use rand::RngExt;
use rand::rngs::StdRng;

use crate::random::normal;

/// u <- a direction, uniform on the unit sphere.
pub(super) fn unit(rng: &mut StdRng, u: &mut [f64]) {
    loop {
        u.iter_mut().for_each(|u| *u = normal(rng));
        let norm = u.iter().map(|u| u * u).sum::<f64>().sqrt();
        if norm > 1e-12 {
            return u.iter_mut().for_each(|u| *u /= norm);
        }
    }
}

/// d <- poll direction k of n + 1 from the unit vector u, scaled to |d|_inf = r: for k < n column k of I - 2 u u', for k = n minus their sum.
pub fn poll_direction(u: &[f64], k: usize, r: f64, d: &mut [f64]) {
    let n = u.len();
    let sum: f64 = u.iter().sum();
    for (i, d) in d.iter_mut().enumerate() {
        let identity = if k == n || i == k { 1.0 } else { 0.0 };
        let column = identity - 2.0 * u[i] * if k == n { sum } else { u[k] };
        *d = if k == n { -column } else { column };
    }
    scale(d, r);
}

/// d <- d r / |d|_inf; zeros stay.
pub(super) fn scale(d: &mut [f64], r: f64) {
    let size = d.iter().fold(0.0_f64, |s, d| s.max(d.abs()));
    if size > 0.0 {
        d.iter_mut().for_each(|d| *d *= r / size);
    }
}

/// d <- the step of a covering trial: |d|_inf = (U r0)^(1/n).
pub(super) fn covering(rng: &mut StdRng, r0: f64, d: &mut [f64]) {
    unit(rng, d);
    let u: f64 = 1.0 - rng.random::<f64>();
    let length = (u * r0).powf(1.0 / d.len() as f64);
    scale(d, length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator};

    #[test]
    fn poll_directions_span_positively() {
        for n in 1..8 {
            let mut rng = generator(3, Purpose::Search as u64, n as u64);
            let (mut u, mut d) = (vec![0.0; n], vec![0.0; n]);
            for trial in 0..50 {
                unit(&mut rng, &mut u);
                let all: Vec<Vec<f64>> = (0..=n)
                    .map(|k| {
                        poll_direction(&u, k, 0.25, &mut d);
                        let size = d.iter().fold(0.0_f64, |s, d| s.max(d.abs()));
                        assert!((size - 0.25).abs() < 1e-15);
                        d.clone()
                    })
                    .collect();
                // Positive spanning set: some direction has a positive product with every vector but zero. For n + 1 vectors that is: the first n are
                // independent (here orthogonal) and a combination with positive coefficients is zero.
                for i in 0..n {
                    for j in 0..i {
                        let product: f64 = all[i].iter().zip(&all[j]).map(|(a, b)| a * b).sum();
                        assert!(product.abs() < 1e-14, "{n} {trial}");
                    }
                }
                let mut rest = all[n].clone();
                for direction in &all[..n] {
                    let square: f64 = direction.iter().map(|d| d * d).sum();
                    let coefficient = -all[n].iter().zip(direction).map(|(a, b)| a * b).sum::<f64>() / square;
                    assert!(coefficient > 1e-3, "{n} {trial} {coefficient}");
                    rest.iter_mut().zip(direction).for_each(|(r, d)| *r += coefficient * d);
                }
                assert!(rest.iter().all(|r| r.abs() < 1e-13));
            }
        }
    }

    #[test]
    fn covering_fills_the_box() {
        // In two dimensions the length is (U r0)^(1/2): uniform by area. A quarter of the trials falls within half of the largest length.
        let (mut inside, trials) = (0, 4000);
        for index in 0..trials {
            let mut d = [0.0; 2];
            covering(&mut generator(1, Purpose::Search as u64, index), 0.25, &mut d);
            let length = d[0].abs().max(d[1].abs());
            assert!(length <= 0.5 + 1e-12);
            inside += usize::from(length < 0.25);
        }
        let share = inside as f64 / trials as f64;
        assert!((share - 0.25).abs() < 4.0 * (0.1875 / trials as f64).sqrt(), "{share}");
    }
}
