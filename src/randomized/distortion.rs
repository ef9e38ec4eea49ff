//! How far R'R is from A'A, from the coefficients of conjugate gradients.

/// Extreme eigenvalues of R^-T A'A R^-1, estimated from inside: the spectrum is at least that wide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distortion {
    /// Least Ritz value.
    pub low: f64,
    /// Greatest Ritz value.
    pub high: f64,
    /// Steps that the estimate is from: of few steps it says little.
    pub steps: usize,
}

impl Distortion {
    /// e with sqrt(high / low) = (1 + e) / (1 - e): the distortion of the sketch up to its scale. 0 is perfect, 1 useless; a sketch of s rows has about sqrt(n / s).
    pub fn value(&self) -> f64 {
        if self.low <= 0.0 || self.low.is_nan() {
            return 1.0;
        }
        let root = (self.high / self.low).sqrt();
        (root - 1.0) / (root + 1.0)
    }
    /// sqrt(high / low).
    pub fn condition(&self) -> f64 {
        if self.low > 0.0 { (self.high / self.low).sqrt() } else { f64::INFINITY }
    }
    /// At most the distortion that theory expects of s rows for n columns, with 60 percent to spare.
    pub fn is_good(&self, columns: usize, rows: usize) -> bool {
        self.value() <= (1.6 * (columns as f64 / rows.max(1) as f64).sqrt()).min(0.95)
    }
    /// From steps alpha_k and ratios beta_k of conjugate gradients: the eigenvalues of the Lanczos matrix (Golub and Van Loan, section 11.3.8).
    pub(super) fn of_steps(alpha: &[f64], beta: &[f64]) -> Option<Self> {
        let k = alpha.len();
        let (mut diagonal, mut square) = (Vec::with_capacity(k), Vec::with_capacity(k));
        for j in 0..k {
            let before = if j > 0 { beta[j - 1] / alpha[j - 1] } else { 0.0 };
            diagonal.push(alpha[j].recip() + before);
            if j + 1 < k {
                square.push(beta[j] / (alpha[j] * alpha[j]));
            }
        }
        let finite = diagonal.iter().chain(&square).all(|v| v.is_finite());
        if k == 0 || !finite {
            return None;
        }
        let top = (0..k).fold(0.0f64, |m, j| {
            let off = |j: usize| square.get(j).map_or(0.0, |v| v.sqrt());
            m.max(diagonal[j] + off(j) + if j > 0 { off(j - 1) } else { 0.0 })
        });
        let least = bisect(&diagonal, &square, top, 1);
        let most = bisect(&diagonal, &square, top, k);
        Some(Self { low: least, high: most, steps: k })
    }
}

/// Eigenvalue number `index` (from 1, ascending) of a positive tridiagonal matrix by Sturm counts.
fn bisect(diagonal: &[f64], square: &[f64], top: f64, index: usize) -> f64 {
    let below = |x: f64| {
        let (mut count, mut q) = (0, 1.0);
        for (j, d) in diagonal.iter().enumerate() {
            let off = if j > 0 { square[j - 1] } else { 0.0 };
            q = d - x - if j > 0 { off / q } else { 0.0 };
            if q == 0.0 {
                q = f64::MIN_POSITIVE;
            }
            count += usize::from(q < 0.0);
        }
        count
    };
    let (mut low, mut high) = (0.0, top);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) >= index { high = middle } else { low = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ritz_values_of_a_known_matrix() {
        // Lanczos matrix [[2, 1], [1, 2]]: alpha_0 = 1/2, beta_0 = (alpha_0 * 1)^2 = 1/4, alpha_1 = 1 / (2 - 1/2).
        let d = Distortion::of_steps(&[0.5, 1.0 / 1.5], &[0.25]).unwrap();
        assert!((d.low - 1.0).abs() < 1e-12 && (d.high - 3.0).abs() < 1e-12, "{d:?}");
        assert!((d.value() - (3f64.sqrt() - 1.0) / (3f64.sqrt() + 1.0)).abs() < 1e-12);
        assert!(d.is_good(10, 100) && !d.is_good(1, 1000));
        assert!(Distortion::of_steps(&[], &[]).is_none());
        assert!(Distortion::of_steps(&[f64::NAN], &[]).is_none());
    }
}
