//! Covariance functions k(x, z) with derivatives by x and by their hyper-parameters.
//!
//! ```text
//! r^2 = sum_j ((x_j - z_j) / l_j)^2
//! Matern 5/2:       v (1 + sqrt5 r + 5 r^2 / 3) exp(-sqrt5 r)
//! squared exponential:  v exp(-r^2 / 2)
//! infinite width:   K_0 = s_b + s_w x'z / d,   K <- s_b + s_w sqrt(K_xx K_zz) (sin t + (pi - t) cos t) / (2 pi),  t the angle of K
//! ```
//!
//! The last one is the covariance of a ReLU network of infinite width with weights of variance s_w / width and biases of variance s_b, one update a layer
//! (Cho and Saul 2009; Lee et al. 2018; for Bayesian optimization: Li et al., arXiv 2305.20028). Rasmussen and Williams, "Gaussian Processes for Machine
//! Learning", 2006, chapter 4.

use std::f64::consts::PI;

/// A covariance function. Hyper-parameters are logarithms of positive numbers.
pub trait Kernel: Send + Clone {
    /// Length of a point.
    fn dim(&self) -> usize;
    /// Logarithms of the hyper-parameters.
    fn theta(&self) -> &[f64];
    /// Takes other ones, as many.
    fn set_theta(&mut self, theta: &[f64]);
    /// k(x, z).
    fn value(&self, x: &[f64], z: &[f64]) -> f64;
    /// ADDS w dk/dx and w dk/dtheta.
    fn gradient(&self, x: &[f64], z: &[f64], w: f64, x_bar: &mut [f64], theta_bar: &mut [f64]);
}

/// Shapes of a stationary kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// Twice differentiable functions.
    #[default]
    Matern52,
    /// Analytic functions.
    SquaredExponential,
}

/// A kernel of scaled distance. theta: ln v, then the logarithms of one length scale or of one for each variable.
#[derive(Debug, Clone, PartialEq)]
pub struct Stationary {
    shape: Shape,
    dim: usize,
    theta: Vec<f64>,
    variance: f64,
    /// 1 / l^2.
    weights: Vec<f64>,
}

impl Stationary {
    /// With variance v and one length scale for all variables (a slice of one) or one each.
    pub fn new(shape: Shape, dim: usize, variance: f64, lengths: &[f64]) -> Self {
        let mut theta = vec![variance.ln()];
        theta.extend(lengths.iter().map(|l| l.ln()));
        let mut kernel = Self { shape, dim, theta: vec![], variance, weights: vec![0.0; dim] };
        kernel.theta.clone_from(&theta);
        kernel.set_theta(&theta);
        kernel
    }
    fn square(&self, x: &[f64], z: &[f64]) -> f64 {
        x.iter().zip(z).zip(&self.weights).map(|((x, z), w)| (x - z) * (x - z) * w).sum()
    }
    /// dk/d(r^2).
    fn slope(&self, square: f64) -> f64 {
        match self.shape {
            Shape::Matern52 => {
                let s = (5.0 * square).sqrt();
                -self.variance * (5.0 / 6.0) * (1.0 + s) * (-s).exp()
            }
            Shape::SquaredExponential => -0.5 * self.variance * (-0.5 * square).exp(),
        }
    }
    fn at(&self, square: f64) -> f64 {
        match self.shape {
            Shape::Matern52 => {
                let s = (5.0 * square).sqrt();
                self.variance * (1.0 + s + 5.0 * square / 3.0) * (-s).exp()
            }
            Shape::SquaredExponential => self.variance * (-0.5 * square).exp(),
        }
    }
}

impl Kernel for Stationary {
    fn dim(&self) -> usize {
        self.dim
    }
    fn theta(&self) -> &[f64] {
        &self.theta
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.theta.copy_from_slice(theta);
        self.variance = theta[0].exp();
        let lengths = &theta[1..];
        for (j, w) in self.weights.iter_mut().enumerate() {
            *w = (-2.0 * lengths[if lengths.len() == 1 { 0 } else { j }]).exp();
        }
    }
    fn value(&self, x: &[f64], z: &[f64]) -> f64 {
        self.at(self.square(x, z))
    }
    fn gradient(&self, x: &[f64], z: &[f64], w: f64, x_bar: &mut [f64], theta_bar: &mut [f64]) {
        let square = self.square(x, z);
        let slope = w * self.slope(square);
        theta_bar[0] += w * self.at(square);
        let lengths = &mut theta_bar[1..];
        let one = lengths.len() == 1;
        for (j, (x_bar, weight)) in x_bar.iter_mut().zip(&self.weights).enumerate() {
            let d = x[j] - z[j];
            *x_bar += 2.0 * slope * d * weight;
            lengths[if one { 0 } else { j }] -= 2.0 * slope * d * d * weight;
        }
    }
}

/// The kernel of a ReLU network of infinite width. theta: ln s_w, ln s_b.
#[derive(Debug, Clone, PartialEq)]
pub struct InfiniteWidth {
    dim: usize,
    depth: usize,
    theta: [f64; 2],
}

/// sqrt(pq) (sin t + (pi - t) cos t) / (2 pi) with cos t = k / sqrt(pq), and its derivatives by k, p, q.
fn relu_layer(k: f64, p: f64, q: f64) -> (f64, [f64; 3]) {
    let root = (p * q).sqrt();
    let cos = (k / root).clamp(-1.0, 1.0);
    let t = cos.acos();
    let value = root * ((1.0 - cos * cos).sqrt() + (PI - t) * cos) / (2.0 * PI);
    let by_k = (PI - t) / (2.0 * PI);
    (value, [by_k, 0.5 * (value - k * by_k) / p, 0.5 * (value - k * by_k) / q])
}

/// Directions that are followed: x'z, x'x, z'z, s_w, s_b.
type Tangent = [f64; 5];

impl InfiniteWidth {
    /// With `depth` hidden layers (published: 3), s_w (10) and s_b (1.3).
    pub fn new(dim: usize, depth: usize, s_w: f64, s_b: f64) -> Self {
        Self { dim, depth, theta: [s_w.ln(), s_b.ln()] }
    }
    fn products(&self, x: &[f64], z: &[f64]) -> [f64; 3] {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / self.dim as f64;
        [dot(x, z), dot(x, x), dot(z, z)]
    }
    /// k and its derivatives by the five directions.
    fn layers(&self, products: [f64; 3]) -> (f64, Tangent) {
        let (s_w, s_b) = (self.theta[0].exp(), self.theta[1].exp());
        // K_xz, K_xx, K_zz and their tangents.
        let mut k = products.map(|p| s_b + s_w * p);
        let mut dots = [[0.0; 5]; 3];
        for (i, dot) in dots.iter_mut().enumerate() {
            dot[i] = s_w;
            dot[3] = products[i];
            dot[4] = 1.0;
        }
        for _ in 0..self.depth {
            let (value, by) = relu_layer(k[0], k[1], k[2]);
            let mut next = [[0.0; 5]; 3];
            for j in 0..5 {
                next[0][j] = s_w * (by[0] * dots[0][j] + by[1] * dots[1][j] + by[2] * dots[2][j]);
                // On the diagonal the layer halves.
                next[1][j] = 0.5 * s_w * dots[1][j];
                next[2][j] = 0.5 * s_w * dots[2][j];
            }
            for (dot, value) in next.iter_mut().zip([value, 0.5 * k[1], 0.5 * k[2]]) {
                dot[3] += value;
                dot[4] += 1.0;
            }
            k = [s_b + s_w * value, s_b + 0.5 * s_w * k[1], s_b + 0.5 * s_w * k[2]];
            dots = next;
        }
        (k[0], dots[0])
    }
}

impl Kernel for InfiniteWidth {
    fn dim(&self) -> usize {
        self.dim
    }
    fn theta(&self) -> &[f64] {
        &self.theta
    }
    fn set_theta(&mut self, theta: &[f64]) {
        self.theta.copy_from_slice(theta);
    }
    fn value(&self, x: &[f64], z: &[f64]) -> f64 {
        let (s_w, s_b) = (self.theta[0].exp(), self.theta[1].exp());
        let mut k = self.products(x, z).map(|p| s_b + s_w * p);
        for _ in 0..self.depth {
            let value = relu_layer(k[0], k[1], k[2]).0;
            k = [s_b + s_w * value, s_b + 0.5 * s_w * k[1], s_b + 0.5 * s_w * k[2]];
        }
        k[0]
    }
    fn gradient(&self, x: &[f64], z: &[f64], w: f64, x_bar: &mut [f64], theta_bar: &mut [f64]) {
        let (_, dot) = self.layers(self.products(x, z));
        let scale = w / self.dim as f64;
        for ((x_bar, x), z) in x_bar.iter_mut().zip(x).zip(z) {
            *x_bar += scale * (dot[0] * z + 2.0 * dot[1] * x);
        }
        theta_bar[0] += w * dot[3] * self.theta[0].exp();
        theta_bar[1] += w * dot[4] * self.theta[1].exp();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, generator, normal};

    const X: [[f64; 2]; 4] = [[0.1, 0.2], [0.9, 0.4], [0.5, 0.5], [0.0, 1.0]];

    #[test]
    fn values_of_the_fixture() {
        // `kernels_reference.json`: computed apart from this code.
        let matern = Stationary::new(Shape::Matern52, 2, 1.3, &[0.7]);
        let wide = InfiniteWidth::new(2, 3, 10.0, 1.3);
        let want = [
            (0, 0, 1.3, 234.050_000_000_000_07),
            (0, 1, 0.554_942_469_407_631, 357.059_484_090_778_7),
            (0, 2, 0.907_402_944_974_299_6, 311.165_373_716_630_37),
            (0, 3, 0.572_615_836_089_859, 368.222_709_718_755_1),
            (1, 1, 1.3, 809.05),
            (1, 2, 1.008_413_547_456_734_2, 616.099_826_540_355_1),
            (1, 3, 0.346_276_497_423_715_36, 621.134_357_015_040_5),
            (2, 2, 1.3, 515.3),
            (2, 3, 0.673_605_507_829_074_4, 562.556_074_734_772_1),
            (3, 3, 1.3, 827.799_999_999_999_8),
        ];
        for (i, j, a, b) in want {
            for (i, j) in [(i, j), (j, i)] {
                let (found, f2): (f64, f64) = (matern.value(&X[i], &X[j]), wide.value(&X[i], &X[j]));
                assert!(
                    (found / a - 1.0).abs() < 1e-12 && (f2 / b - 1.0).abs() < 1e-12,
                    "{i} {j} {found} {f2}"
                );
            }
        }
    }

    fn check<K: Kernel>(mut kernel: K) {
        let (x, z, e) = ([0.3, -0.4, 0.8], [0.5, 0.1, 0.2], 1e-6);
        let theta = kernel.theta().to_vec();
        let (mut x_bar, mut theta_bar) = ([0.0; 3], vec![0.0; theta.len()]);
        kernel.gradient(&x, &z, 2.0, &mut x_bar, &mut theta_bar);
        for j in 0..3 {
            let at = |h: f64| {
                let mut y = x;
                y[j] += h;
                2.0 * kernel.value(&y, &z)
            };
            let slope = (at(e) - at(-e)) / (2.0 * e);
            assert!((slope - x_bar[j]).abs() < 1e-7 * slope.abs().max(1.0), "x {j}: {slope} {}", x_bar[j]);
        }
        for j in 0..theta.len() {
            let mut at = |h: f64| {
                let mut t = theta.clone();
                t[j] += h;
                kernel.set_theta(&t);
                2.0 * kernel.value(&x, &z)
            };
            let slope = (at(e) - at(-e)) / (2.0 * e);
            assert!((slope - theta_bar[j]).abs() < 1e-7 * slope.abs().max(1.0), "theta {j}: {slope}");
        }
    }

    #[test]
    fn derivatives_by_differences() {
        for shape in [Shape::Matern52, Shape::SquaredExponential] {
            check(Stationary::new(shape, 3, 1.7, &[0.6]));
            check(Stationary::new(shape, 3, 0.4, &[0.6, 0.9, 2.0]));
        }
        check(InfiniteWidth::new(3, 3, 2.0, 1.3));
        check(InfiniteWidth::new(3, 1, 10.0, 0.2));
    }

    #[test]
    fn wide_random_networks_have_this_covariance() {
        // 20 000 networks with one hidden layer of 100 units: that covariance is the kernel's for any width.
        let (s_w, s_b, width, nets): (f64, f64, usize, u64) = (2.0, 0.5, 100, 20_000);
        let (x, z) = ([0.6, -0.3], [0.2, 0.9]);
        let kernel = InfiniteWidth::new(2, 1, s_w, s_b);
        let mut sums = [0.0; 3];
        for index in 0..nets {
            let mut rng = generator(5, Purpose::Weights as u64, index);
            let mut out = [s_b.sqrt() * normal(&mut rng); 2];
            for _ in 0..width {
                let w = [0, 1].map(|_| (s_w / 2.0).sqrt() * normal(&mut rng));
                let (b, v) = (s_b.sqrt() * normal(&mut rng), (s_w / width as f64).sqrt() * normal(&mut rng));
                for (out, x) in out.iter_mut().zip([&x, &z]) {
                    *out += v * (w[0] * x[0] + w[1] * x[1] + b).max(0.0);
                }
            }
            let products = [out[0] * out[1], out[0] * out[0], out[1] * out[1]];
            sums.iter_mut().zip(products).for_each(|(s, p)| *s += p / nets as f64);
        }
        let want = [kernel.value(&x, &z), kernel.value(&x, &x), kernel.value(&z, &z)];
        for (found, want) in sums.iter().zip(want) {
            assert!((found / want - 1.0).abs() < 0.03, "{found} {want}");
        }
    }
}
