//! Storage and the small eigenvalue problem of a Lanczos process.

/// Lanczos steps of the norm estimates.
pub(super) const STEPS: usize = 12;

/// Storage of the norm estimates, allocated at their first use.
#[derive(Debug, Default)]
pub(super) struct LanczosWork {
    pub basis: Vec<Vec<f64>>,
    pub alphas: Vec<f64>,
    pub betas: Vec<f64>,
    pub w: Vec<f64>,
    pub w2: Vec<f64>,
}

impl LanczosWork {
    pub fn resize(&mut self, dim: usize) {
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

/// Extreme eigenvalues of a symmetric tridiagonal matrix by bisection on Sturm counts.
pub(super) fn tridiagonal_extremes(alpha: &[f64], beta: &[f64]) -> (f64, f64) {
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
