//! Gaussian-process regression with mean zero.
//!
//! ```text
//! K = k(X, X) + s I = L L',  a = K^-1 y
//! mean(x) = k(x, X) a,  variance(x) = k(x, x) - |L^-1 k(X, x)|^2
//! ln p(y) = -y'a / 2 - sum ln L_ii - (n / 2) ln 2 pi
//! d ln p / dtheta = tr((a a' - K^-1) dK/dtheta) / 2
//! ```
//!
//! s is the variance of the noise. Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1 and (5.9).

use std::f64::consts::PI;

use super::kernel::Kernel;
use crate::linalg::{Cholesky, NotPositive, dot};
use crate::random::{Purpose, generator, normal};

/// A Gaussian process conditioned on data.
#[derive(Debug, Clone)]
pub struct Gp<K> {
    kernel: K,
    noise: f64,
    /// Points, one after another.
    x: Vec<f64>,
    y: Vec<f64>,
    factors: Cholesky,
    weights: Vec<f64>,
}

impl<K: Kernel> Gp<K> {
    /// Conditioned on n points `x` (n x dim, point after point) with values y and noise of variance s > 0 or 0.
    ///
    /// # Errors
    /// [`NotPositive`] if the covariance cannot be factored, jitter included: points that are not finite, or hyper-parameters out of range.
    pub fn new(kernel: K, noise: f64, x: &[f64], y: &[f64]) -> Result<Self, NotPositive> {
        let mut gp = Self {
            kernel,
            noise,
            x: x.to_vec(),
            y: y.to_vec(),
            factors: Cholesky::default(),
            weights: vec![],
        };
        gp.condition()?;
        Ok(gp)
    }
    /// Takes other hyper-parameters: the kernel's logarithms, then ln s.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn set_theta(&mut self, theta: &[f64]) -> Result<(), NotPositive> {
        let (kernel, noise) = theta.split_at(theta.len() - 1);
        self.kernel.set_theta(kernel);
        self.noise = noise[0].exp();
        self.condition()
    }
    fn condition(&mut self) -> Result<(), NotPositive> {
        let (n, d) = (self.y.len(), self.kernel.dim());
        let mut k = vec![0.0; n * n];
        for j in 0..n {
            for i in j..n {
                k[j * n + i] = self.kernel.value(&self.x[i * d..][..d], &self.x[j * d..][..d]);
            }
            k[j * n + j] += self.noise;
        }
        self.factors = Cholesky::new(n, &k)?;
        self.refresh();
        Ok(())
    }
    fn refresh(&mut self) {
        self.weights.clone_from(&self.y);
        self.factors.solve(&mut self.weights);
    }
    /// Number of points.
    pub fn len(&self) -> usize {
        self.y.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }
    /// The kernel.
    pub fn kernel(&self) -> &K {
        &self.kernel
    }
    /// Variance of the noise.
    pub fn noise(&self) -> f64 {
        self.noise
    }
    /// What was added to the diagonal of the covariance to factor it.
    pub fn jitter(&self) -> f64 {
        self.factors.jitter()
    }
    /// One more point, in O(n^2).
    ///
    /// # Errors
    /// [`NotPositive`]: the process is then as before.
    pub fn append(&mut self, x: &[f64], y: f64) -> Result<(), NotPositive> {
        let column = self.covariances(x);
        self.factors.append(&column, self.kernel.value(x, x) + self.noise)?;
        self.x.extend_from_slice(x);
        self.y.push(y);
        self.refresh();
        Ok(())
    }
    /// Takes other values at the same points, in O(n^2).
    pub fn set_values(&mut self, y: &[f64]) {
        self.y.copy_from_slice(y);
        self.refresh();
    }
    /// k(X, x).
    fn covariances(&self, x: &[f64]) -> Vec<f64> {
        self.x.chunks_exact(self.kernel.dim()).map(|z| self.kernel.value(x, z)).collect()
    }
    /// Mean and variance of the function (without noise) at some points, point after point.
    pub fn predict(&self, points: &[f64], mean: &mut [f64], variance: &mut [f64]) {
        let (n, d) = (self.len(), self.kernel.dim());
        // Pieces that stay in the cache.
        for ((points, mean), variance) in
            points.chunks(64 * d).zip(mean.chunks_mut(64)).zip(variance.chunks_mut(64))
        {
            let mut k: Vec<f64> = points.chunks_exact(d).flat_map(|x| self.covariances(x)).collect();
            for (i, x) in points.chunks_exact(d).enumerate() {
                mean[i] = dot(&k[i * n..][..n], &self.weights);
                variance[i] = self.kernel.value(x, x);
            }
            self.factors.solve_lower(&mut k);
            for (i, v) in variance.iter_mut().enumerate() {
                let column = &k[i * n..][..n];
                *v = (*v - dot(column, column)).max(0.0);
            }
        }
    }
    /// Mean and variance at one point; their derivatives by it are written to `d_mean` and `d_variance`.
    pub fn predict_gradient(&self, x: &[f64], d_mean: &mut [f64], d_variance: &mut [f64]) -> (f64, f64) {
        let d = self.kernel.dim();
        let k = self.covariances(x);
        let mut solved = k.clone();
        self.factors.solve(&mut solved);
        let mean = dot(&k, &self.weights);
        let prior = self.kernel.value(x, x);
        d_mean.fill(0.0);
        d_variance.fill(0.0);
        let mut unused = vec![0.0; self.kernel.theta().len()];
        // k(x, x) by both of its arguments.
        self.kernel.gradient(x, x, 2.0, d_variance, &mut unused);
        let mut one = vec![0.0; d];
        for ((z, weight), solved) in self.x.chunks_exact(d).zip(&self.weights).zip(&solved) {
            one.fill(0.0);
            self.kernel.gradient(x, z, 1.0, &mut one, &mut unused);
            for ((one, m), v) in one.iter().zip(&mut *d_mean).zip(&mut *d_variance) {
                *m += weight * one;
                *v -= 2.0 * solved * one;
            }
        }
        (mean, (prior - dot(&k, &solved)).max(0.0))
    }
    /// The mean at one point; its derivative is written to `d_mean`. O(n dim), where [`predict_gradient`](Self::predict_gradient) takes O(n^2).
    pub fn mean_gradient(&self, x: &[f64], d_mean: &mut [f64]) -> f64 {
        let d = self.kernel.dim();
        let mut unused = vec![0.0; self.kernel.theta().len()];
        d_mean.fill(0.0);
        let mut mean = 0.0;
        for (z, weight) in self.x.chunks_exact(d).zip(&self.weights) {
            mean += weight * self.kernel.value(x, z);
            self.kernel.gradient(x, z, *weight, d_mean, &mut unused);
        }
        mean
    }
    /// ln p(y).
    pub fn log_likelihood(&self) -> f64 {
        let n = self.len() as f64;
        -0.5 * dot(&self.y, &self.weights) - 0.5 * self.factors.log_det() - 0.5 * n * (2.0 * PI).ln()
    }
    /// theta_bar <- the derivative of ln p(y) by the kernel's logarithms and ln s. O(n^3).
    pub fn likelihood_gradient(&self, theta_bar: &mut [f64]) {
        theta_bar.fill(0.0);
        self.pull_likelihood(theta_bar, None);
    }
    /// As [`likelihood_gradient`](Self::likelihood_gradient); x_bar <- the derivative by the points, n x dim: for kernels on learned features.
    pub fn likelihood_gradient_by_points(&self, theta_bar: &mut [f64], x_bar: &mut [f64]) {
        theta_bar.fill(0.0);
        x_bar.fill(0.0);
        self.pull_likelihood(theta_bar, Some(x_bar));
    }
    fn pull_likelihood(&self, theta_bar: &mut [f64], mut x_bar: Option<&mut [f64]>) {
        let (n, d) = (self.len(), self.kernel.dim());
        let mut inverse = vec![0.0; n * n];
        (0..n).for_each(|i| inverse[i * n + i] = 1.0);
        self.factors.solve(&mut inverse);
        let last = theta_bar.len() - 1;
        let (kernel_bar, noise_bar) = theta_bar.split_at_mut(last);
        let (mut unused, mut none) = (vec![0.0; d], vec![0.0; last]);
        for j in 0..n {
            for i in j..n {
                let w = self.weights[i] * self.weights[j] - inverse[j * n + i];
                // Entries below the diagonal stand for two.
                let w = if i == j { 0.5 * w } else { w };
                let (x, z) = (&self.x[i * d..][..d], &self.x[j * d..][..d]);
                match &mut x_bar {
                    None => self.kernel.gradient(x, z, w, &mut unused, kernel_bar),
                    Some(bar) => {
                        self.kernel.gradient(x, z, w, &mut bar[i * d..][..d], kernel_bar);
                        self.kernel.gradient(z, x, w, &mut bar[j * d..][..d], &mut none);
                    }
                }
                if i == j {
                    noise_bar[0] += w * self.noise;
                }
            }
        }
    }
    /// One sample of the function at some points; depends on seed and index only.
    ///
    /// # Errors
    /// [`NotPositive`] if their covariance cannot be factored, jitter included.
    pub fn sample(&self, points: &[f64], seed: u64, index: u64) -> Result<Vec<f64>, NotPositive> {
        let (n, d) = (self.len(), self.kernel.dim());
        let m = points.len() / d;
        let mut k: Vec<f64> = points.chunks_exact(d).flat_map(|x| self.covariances(x)).collect();
        let mean: Vec<f64> = (0..m).map(|i| dot(&k[i * n..][..n], &self.weights)).collect();
        self.factors.solve_lower(&mut k);
        let mut covariance = vec![0.0; m * m];
        for j in 0..m {
            for i in j..m {
                let prior = self.kernel.value(&points[i * d..][..d], &points[j * d..][..d]);
                covariance[j * m + i] = prior - dot(&k[i * n..][..n], &k[j * n..][..n]);
            }
        }
        let factors = Cholesky::new(m, &covariance)?;
        let mut rng = generator(seed, Purpose::Posterior as u64, index);
        let mut sample: Vec<f64> = (0..m).map(|_| normal(&mut rng)).collect();
        factors.multiply(&mut sample);
        sample.iter_mut().zip(&mean).for_each(|(s, m)| *s += m);
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{InfiniteWidth, Shape, Stationary};
    use super::*;

    const X: [f64; 8] = [0.1, 0.2, 0.9, 0.4, 0.5, 0.5, 0.0, 1.0];
    const Y: [f64; 4] = [1.0, -0.5, 0.3, 2.0];

    fn fixture() -> Gp<Stationary> {
        Gp::new(Stationary::new(Shape::Matern52, 2, 1.3, &[0.7]), 0.01, &X, &Y).unwrap()
    }

    #[test]
    fn posterior_of_the_fixture() {
        let gp = fixture();
        let (mut mean, mut variance) = ([0.0; 2], [0.0; 2]);
        gp.predict(&[0.3, 0.3, 0.8, 0.9], &mut mean, &mut variance);
        for (found, want) in mean.iter().chain(&variance).zip([
            0.681_480_278_424_013_3,
            0.104_917_502_510_589_84,
            0.054_275_219_149_177_1,
            0.519_283_707_395_592_4,
        ]) {
            assert!((found - want).abs() < 1e-10, "{found} {want}");
        }
        assert!((gp.log_likelihood() + 5.374_220_252_034_992).abs() < 1e-10);
    }

    #[test]
    fn appended_points_give_the_same_process() {
        let whole = fixture();
        let mut gp =
            Gp::new(Stationary::new(Shape::Matern52, 2, 1.3, &[0.7]), 0.01, &X[..4], &Y[..2]).unwrap();
        gp.append(&X[4..6], Y[2]).unwrap();
        gp.append(&X[6..8], Y[3]).unwrap();
        let (mut a, mut b) = (([0.0], [0.0]), ([0.0], [0.0]));
        gp.predict(&[0.2, 0.7], &mut a.0, &mut a.1);
        whole.predict(&[0.2, 0.7], &mut b.0, &mut b.1);
        assert!((a.0[0] - b.0[0]).abs() < 1e-13 && (a.1[0] - b.1[0]).abs() < 1e-13);
        assert!((gp.log_likelihood() - whole.log_likelihood()).abs() < 1e-12);
    }

    fn check<K: Kernel>(mut gp: Gp<K>) {
        let (x, e) = ([0.35, 0.6], 1e-6);
        let (mut d_mean, mut d_variance) = ([0.0; 2], [0.0; 2]);
        let (m, v) = gp.predict_gradient(&x, &mut d_mean, &mut d_variance);
        let at = |x: &[f64]| {
            let (mut mean, mut variance) = ([0.0], [0.0]);
            gp.predict(x, &mut mean, &mut variance);
            (mean[0], variance[0])
        };
        assert!((at(&x).0 - m).abs() < 1e-12 && (at(&x).1 - v).abs() < 1e-10);
        for j in 0..2 {
            let (mut up, mut down) = (x, x);
            up[j] += e;
            down[j] -= e;
            let slopes = ((at(&up).0 - at(&down).0) / (2.0 * e), (at(&up).1 - at(&down).1) / (2.0 * e));
            assert!((slopes.0 - d_mean[j]).abs() < 1e-7 * slopes.0.abs().max(1.0), "{slopes:?} {d_mean:?}");
            let scale = slopes.1.abs().max(1.0);
            assert!((slopes.1 - d_variance[j]).abs() < 1e-6 * scale, "{slopes:?} {d_variance:?}");
        }
        let mut alone = [0.0; 2];
        assert!((gp.mean_gradient(&x, &mut alone) - m).abs() < 1e-13);
        assert!(alone.iter().zip(&d_mean).all(|(a, b)| (a - b).abs() < 1e-12 * b.abs().max(1.0)));
        let mut theta = gp.kernel().theta().to_vec();
        theta.push(gp.noise().ln());
        let mut bar = vec![0.0; theta.len()];
        gp.likelihood_gradient(&mut bar);
        for j in 0..theta.len() {
            let mut at = |h: f64| {
                let mut t = theta.clone();
                t[j] += h;
                gp.set_theta(&t).unwrap();
                gp.log_likelihood()
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - bar[j]).abs() < 1e-7 * slope.abs().max(1.0), "{j}: {slope} {}", bar[j]);
        }
    }

    #[test]
    fn the_likelihood_by_the_points() {
        let (mut theta_bar, mut x_bar, mut alone) = ([0.0; 3], [0.0; 8], [0.0; 3]);
        let of = |x: &[f64]| Gp::new(Stationary::new(Shape::Matern52, 2, 1.3, &[0.7]), 0.01, x, &Y).unwrap();
        of(&X).likelihood_gradient_by_points(&mut theta_bar, &mut x_bar);
        of(&X).likelihood_gradient(&mut alone);
        assert_eq!(theta_bar, alone);
        for k in 0..8 {
            let at = |h: f64| {
                let mut x = X;
                x[k] += h;
                of(&x).log_likelihood()
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - x_bar[k]).abs() < 1e-6 * slope.abs().max(1.0), "{k}: {slope} {}", x_bar[k]);
        }
    }

    #[test]
    fn derivatives_by_differences() {
        check(fixture());
        check(
            Gp::new(Stationary::new(Shape::SquaredExponential, 2, 0.8, &[0.5, 0.9]), 0.02, &X, &Y).unwrap(),
        );
        check(Gp::new(InfiniteWidth::new(2, 3, 1.5, 0.3), 0.05, &X, &Y).unwrap());
    }

    #[test]
    fn samples_have_the_posterior_moments() {
        let gp = fixture();
        let points = [0.3, 0.3, 0.8, 0.9];
        let (mut mean, mut variance) = ([0.0; 2], [0.0; 2]);
        gp.predict(&points, &mut mean, &mut variance);
        let count = 4000;
        let (mut sum, mut square) = ([0.0; 2], [0.0; 2]);
        for index in 0..count {
            let s = gp.sample(&points, 1, index).unwrap();
            for i in 0..2 {
                sum[i] += s[i] / count as f64;
                square[i] += (s[i] - mean[i]).powi(2) / count as f64;
            }
        }
        for i in 0..2 {
            let error = (variance[i] / count as f64).sqrt();
            assert!((sum[i] - mean[i]).abs() < 4.0 * error);
            assert!((square[i] / variance[i] - 1.0).abs() < 4.0 * (2.0 / count as f64).sqrt());
        }
    }
}
