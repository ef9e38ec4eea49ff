//! Predictions of several networks of one shape: mean and variance of their outputs, and what is left of the variance once some values are believed.
//!
//! With f_s the outputs of S members at x and a(x) = (f_s - mean)_s in R^S:
//!
//! ```text
//! mean = sum f_s / S,   variance = |P a(x)|^2 / S,   P: away from the a(z) of the points z that are believed
//! ```
//!
//! which is what a Gaussian process with the members' covariance a(x)'a(z) / S has left after it was told its own mean at these points.

use crate::diff::{At, BarsMut, Kept, Map};
use crate::linalg::dot;
use crate::nn::Mlp;

/// Networks of one shape with one output.
#[derive(Debug, Clone)]
pub(super) struct Members {
    map: Mlp<f64>,
    params: Vec<Vec<f64>>,
    /// Orthonormal directions in R^S.
    believed: Vec<Vec<f64>>,
}

/// Takes the parts along orthonormal directions out.
fn project(a: &mut [f64], directions: &[Vec<f64>]) {
    for d in directions {
        let along = dot(a, d);
        a.iter_mut().zip(d).for_each(|(a, d)| *a -= along * d);
    }
}

impl Members {
    pub fn new(map: Mlp<f64>, params: Vec<Vec<f64>>) -> Self {
        Self { map, params, believed: vec![] }
    }
    /// Outputs of all members at some points, one list a member.
    fn outputs(&self, x: &[f64]) -> Vec<Vec<f64>> {
        let mut map = self.map.clone();
        let count = x.len() / map.inputs();
        let one = |p: &Vec<f64>| {
            let mut y = vec![0.0; count];
            map.value(At::new(0.0, x, p), &mut y);
            y
        };
        self.params.iter().map(one).collect()
    }
    pub fn predict(&self, x: &[f64], mean: &mut [f64], variance: &mut [f64]) {
        let (outputs, s) = (self.outputs(x), self.params.len() as f64);
        for (i, (mean, variance)) in mean.iter_mut().zip(variance).enumerate() {
            let mut a: Vec<f64> = outputs.iter().map(|y| y[i]).collect();
            *mean = a.iter().sum::<f64>() / s;
            a.iter_mut().for_each(|a| *a -= *mean);
            project(&mut a, &self.believed);
            *variance = dot(&a, &a) / s;
        }
    }
    pub fn predict_gradient(&self, x: &[f64], d_mean: &mut [f64], d_variance: &mut [f64]) -> (f64, f64) {
        let (d, s) = (x.len(), self.params.len() as f64);
        let mut map = self.map.clone();
        let (mut y, mut keep) = ([0.0], vec![0.0; map.keep_len(1)]);
        let (mut unused, mut slopes) = (vec![0.0; map.n_params()], vec![0.0; d * self.params.len()]);
        let mut a = vec![];
        for (p, slope) in self.params.iter().zip(slopes.chunks_exact_mut(d)) {
            let at = At::new(0.0, x, p);
            map.forward(at, &mut y, &mut keep);
            map.vjp(at, Kept { y: &y, keep: &keep }, &[1.0], BarsMut::new(slope, &mut unused));
            a.push(y[0]);
        }
        let mean = a.iter().sum::<f64>() / s;
        a.iter_mut().for_each(|a| *a -= mean);
        project(&mut a, &self.believed);
        for (j, (m, v)) in d_mean.iter_mut().zip(d_variance).enumerate() {
            let column: Vec<f64> = slopes.iter().skip(j).step_by(d).copied().collect();
            *m = column.iter().sum::<f64>() / s;
            // P a is orthogonal to what P and the mean take out of the slopes.
            *v = 2.0 * dot(&a, &column) / s;
        }
        (mean, dot(&a, &a) / s)
    }
    pub fn believe(&mut self, x: &[f64]) {
        let mut a: Vec<f64> = self.outputs(x).iter().map(|y| y[0]).collect();
        let mean = a.iter().sum::<f64>() / a.len() as f64;
        a.iter_mut().for_each(|a| *a -= mean);
        let whole = dot(&a, &a);
        project(&mut a, &self.believed);
        let rest = dot(&a, &a);
        // Nothing new is said where all members agree already.
        if rest > 1e-12 * whole && rest.is_finite() {
            let length = rest.sqrt();
            a.iter_mut().for_each(|a| *a /= length);
            self.believed.push(a);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Activation;

    fn members() -> Members {
        let map = Mlp::dense(&[2, 4, 1], Activation::Tanh, Activation::Identity, false).unwrap();
        let params = |s: usize| (0..map.n_params()).map(|k| (1.3 * (k * 7 + s * 31) as f64).sin()).collect();
        Members::new(map.clone(), (0..6).map(params).collect())
    }

    #[test]
    fn gradients_by_differences_with_and_without_belief() {
        let mut m = members();
        for round in 0..3 {
            let (x, h) = ([0.3, 0.6], 1e-6);
            let (mut d_mean, mut d_variance) = ([0.0; 2], [0.0; 2]);
            let found = m.predict_gradient(&x, &mut d_mean, &mut d_variance);
            let at = |x: [f64; 2]| {
                let (mut mean, mut variance) = ([0.0], [0.0]);
                m.predict(&x, &mut mean, &mut variance);
                (mean[0], variance[0])
            };
            assert!((at(x).0 - found.0).abs() < 1e-13 && (at(x).1 - found.1).abs() < 1e-13);
            for j in 0..2 {
                let (mut up, mut down) = (x, x);
                up[j] += h;
                down[j] -= h;
                assert!(((at(up).0 - at(down).0) / (2.0 * h) - d_mean[j]).abs() < 1e-8, "{round}");
                assert!(((at(up).1 - at(down).1) / (2.0 * h) - d_variance[j]).abs() < 1e-8, "{round}");
            }
            m.believe(&[0.1 + 0.4 * f64::from(round), 0.9]);
        }
    }

    /// As a Gaussian process with the members' covariance, told its own mean.
    #[test]
    fn belief_is_that_of_the_gaussian_process_with_their_covariance() {
        let mut m = members();
        let covariance = |x: [f64; 2], z: [f64; 2]| {
            let (a, b) = (m.outputs(&x), m.outputs(&z));
            let of = |v: &[Vec<f64>]| v.iter().map(|y| y[0]).sum::<f64>() / 6.0;
            let (p, q) = (of(&a), of(&b));
            a.iter().zip(&b).map(|(a, b)| (a[0] - p) * (b[0] - q)).sum::<f64>() / 6.0
        };
        let (x, z) = ([0.2, 0.8], [0.7, 0.1]);
        let want = covariance(x, x) - covariance(x, z).powi(2) / covariance(z, z);
        m.believe(&z);
        m.believe(&z);
        let (mut mean, mut variance) = ([0.0], [0.0]);
        m.predict(&x, &mut mean, &mut variance);
        assert!((variance[0] - want).abs() < 1e-12);
        m.predict(&z, &mut mean, &mut variance);
        assert!(variance[0] < 1e-12);
    }
}
