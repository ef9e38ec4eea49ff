//! Kernel ridge regression with a free constant, and its leave-one-out residuals in closed form.
//!
//! ```text
//! f(x) = sum_i a_i k(x, x_i) + b,   (K + l I) a + b 1 = y,   1'a = 0
//! C = A^-1 - A^-1 1 1' A^-1 / (1' A^-1 1),   A = K + l I,   a = C y
//! y_i - f(x_i), f fitted without sample i  =  a_i / C_ii
//! ```
//!
//! With K = U diag(s) U', all of it costs O(n^2) a value of l. Saunders, Gammerman, Vovk, ICML 1998; the residuals: Cawley, Talbot, Pattern Recognition 36, 2003.

use super::{SearchError, rbf};
use crate::linalg::{SymmetricEigen, dot};

/// A fitted regression.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelRidge {
    dim: usize,
    gamma: f64,
    ridge: f64,
    x: Vec<f64>,
    weights: Vec<f64>,
    constant: f64,
    residuals: Vec<f64>,
}

/// gamma times the number of inputs, tried by [`KernelRidge::best`].
const GAMMAS: [f64; 6] = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
/// l, tried by [`KernelRidge::best`].
const RIDGES: [f64; 7] = [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0];

/// K = U diag(s) U', with U'1 and U'y.
struct Spectrum {
    eigen: SymmetricEigen,
    ones: Vec<f64>,
    y: Vec<f64>,
}

impl Spectrum {
    fn new(gamma: f64, x: &[f64], dim: usize, y: &[f64]) -> Result<Self, SearchError> {
        let n = y.len();
        let mut eigen = SymmetricEigen::new(n);
        if !eigen.compute(&rbf::gram(gamma, x, dim)) {
            return Err(SearchError::new("the kernel matrix has no eigenvalues"));
        }
        let ones = (0..n).map(|k| eigen.vector(k).iter().sum()).collect();
        let y = (0..n).map(|k| dot(eigen.vector(k), y)).collect();
        Ok(Self { eigen, ones, y })
    }
    /// (a, b, leave-one-out residuals) at l.
    fn at(&self, ridge: f64) -> (Vec<f64>, f64, Vec<f64>) {
        let n = self.y.len();
        let (mut of_ones, mut of_y, mut diagonal) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        for (k, s) in self.eigen.values().iter().enumerate() {
            // Eigenvalues of a kernel are not negative; by rounding they may be.
            let inverse = 1.0 / (s.max(0.0) + ridge);
            for (i, u) in self.eigen.vector(k).iter().enumerate() {
                of_ones[i] += u * inverse * self.ones[k];
                of_y[i] += u * inverse * self.y[k];
                diagonal[i] += u * u * inverse;
            }
        }
        let total: f64 = of_ones.iter().sum();
        let constant = of_y.iter().sum::<f64>() / total;
        let weights: Vec<f64> = of_y.iter().zip(&of_ones).map(|(y, o)| y - constant * o).collect();
        let c = diagonal.iter().zip(&of_ones).map(|(d, o)| d - o * o / total);
        let residuals = weights.iter().zip(c).map(|(a, c)| a / c).collect();
        (weights, constant, residuals)
    }
}

impl KernelRidge {
    /// Fits n points (n x dim, point after point) with gamma of the kernel exp(-gamma |x - z|^2) and l > 0.
    ///
    /// # Errors
    /// One sentence: lengths that do not fit, fewer than two points, numbers that are not finite.
    pub fn fit(x: &[f64], dim: usize, y: &[f64], gamma: f64, ridge: f64) -> Result<Self, SearchError> {
        rbf::check(x, dim, y, 2)?;
        if !(gamma > 0.0 && ridge > 0.0 && gamma.is_finite() && ridge.is_finite()) {
            let what = format!("gamma is {gamma} and l {ridge}, expected positive numbers");
            return Err(SearchError::new(what));
        }
        let (weights, constant, residuals) = Spectrum::new(gamma, x, dim, y)?.at(ridge);
        Ok(Self { dim, gamma, ridge, x: x.to_vec(), weights, constant, residuals })
    }
    /// The fit with the smallest squares of leave-one-out residuals, of 42 pairs (gamma, l). Inputs should have deviation 1.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn best(x: &[f64], dim: usize, y: &[f64]) -> Result<Self, SearchError> {
        rbf::check(x, dim, y, 2)?;
        let mut best: Option<(f64, Self)> = None;
        for gamma in GAMMAS.map(|g| g / dim as f64) {
            let spectrum = Spectrum::new(gamma, x, dim, y)?;
            for ridge in RIDGES {
                let (weights, constant, residuals) = spectrum.at(ridge);
                let score = dot(&residuals, &residuals);
                if score.is_finite() && best.as_ref().is_none_or(|b| score < b.0) {
                    let x = x.to_vec();
                    best = Some((score, Self { dim, gamma, ridge, x, weights, constant, residuals }));
                }
            }
        }
        best.map(|b| b.1).ok_or_else(|| SearchError::new("no kernel ridge regression has finite residuals"))
    }
    /// f(x).
    pub fn predict(&self, x: &[f64]) -> f64 {
        let points = self.x.chunks_exact(self.dim).zip(&self.weights);
        self.constant + points.map(|(z, a)| a * rbf::value(self.gamma, x, z)).sum::<f64>()
    }
    /// y_i - f(x_i), f fitted without sample i.
    pub fn leave_one_out(&self) -> &[f64] {
        &self.residuals
    }
    /// (gamma, l).
    pub fn hyper_parameters(&self) -> (f64, f64) {
        (self.gamma, self.ridge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(n: usize) -> (Vec<f64>, Vec<f64>) {
        let x: Vec<f64> = (0..2 * n).map(|k| (1.3 * (k * k) as f64).sin()).collect();
        let y = x.chunks(2).map(|x| 3.0 + (2.0 * x[0]).sin() + 0.5 * x[1] * x[1]).collect();
        (x, y)
    }

    #[test]
    fn leave_one_out_is_that_of_fits_without_the_sample() {
        let (x, y) = data(25);
        for (gamma, ridge) in [(0.5, 1e-3), (2.0, 0.3), (0.05, 10.0)] {
            let whole = KernelRidge::fit(&x, 2, &y, gamma, ridge).unwrap();
            for i in 0..25 {
                let (mut x, mut y) = (x.clone(), y.clone());
                let point: Vec<f64> = x.drain(2 * i..2 * i + 2).collect();
                let value = y.remove(i);
                let rest = KernelRidge::fit(&x, 2, &y, gamma, ridge).unwrap();
                let want = value - rest.predict(&point);
                assert!((whole.leave_one_out()[i] - want).abs() < 1e-9, "{gamma} {ridge} {i}");
            }
        }
    }

    #[test]
    fn the_equations_are_solved_and_the_best_is_the_best_of_the_grid() {
        let (x, y) = data(30);
        let fit = KernelRidge::fit(&x, 2, &y, 0.7, 0.01).unwrap();
        assert!(fit.weights.iter().sum::<f64>().abs() < 1e-9);
        for i in 0..30 {
            assert!((fit.predict(&x[2 * i..2 * i + 2]) + 0.01 * fit.weights[i] - y[i]).abs() < 1e-9);
        }
        let best = KernelRidge::best(&x, 2, &y).unwrap();
        let squares = |r: &KernelRidge| dot(r.leave_one_out(), r.leave_one_out());
        for gamma in GAMMAS {
            for ridge in RIDGES {
                let one = KernelRidge::fit(&x, 2, &y, gamma / 2.0, ridge).unwrap();
                assert!(squares(&one) >= squares(&best) * (1.0 - 1e-12));
            }
        }
    }

    #[test]
    fn bad_data_are_one_sentence() {
        assert!(KernelRidge::fit(&[1.0, 2.0], 1, &[1.0], 1.0, 1.0).is_err());
        assert!(KernelRidge::fit(&[1.0], 1, &[1.0], 1.0, 1.0).is_err());
        assert!(KernelRidge::fit(&[1.0, f64::NAN], 1, &[1.0, 2.0], 1.0, 1.0).is_err());
        assert!(KernelRidge::fit(&[1.0, 2.0], 1, &[1.0, 2.0], 1.0, 0.0).is_err());
        assert!(KernelRidge::best(&[], 0, &[]).is_err());
    }
}
