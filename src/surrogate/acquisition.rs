//! What one more evaluation is worth, for minimization, as logarithms with derivatives by mean and variance of the model.
//!
//! ```text
//! z = (best - mean) / sigma
//! expected improvement   E max(best - f, 0) = sigma h(z),  h(z) = phi(z) + z Phi(z)
//! feasibility            P(c <= limit) = Phi((limit - mean) / sigma)
//! ```
//!
//! Logarithms stay finite where the values underflow (Ament et al., "Unexpected improvements to expected improvement for Bayesian optimization", 2023); a
//! product with feasibility probabilities is a sum (Gardner et al., "Bayesian optimization with inequality constraints", 2014).

use super::normal::{log_cumulative, log_improvement};

/// A logarithm and its derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worth {
    /// The logarithm.
    pub log: f64,
    /// Its derivative by the mean.
    pub by_mean: f64,
    /// Its derivative by the variance.
    pub by_variance: f64,
}

/// ln(sigma^share g(z)) from (ln g, its derivative) at z = (limit - mean) / sigma.
fn worth(mean: f64, variance: f64, limit: f64, share: f64, g: impl Fn(f64) -> (f64, f64)) -> Worth {
    let sigma = variance.max(1e-20).sqrt();
    let z = (limit - mean) / sigma;
    let (log, slope) = g(z);
    Worth {
        log: log + share * sigma.ln(),
        by_mean: -slope / sigma,
        by_variance: (share - slope * z) / (2.0 * sigma * sigma),
    }
}

/// ln of the expected improvement on `best`.
pub fn log_expected_improvement(mean: f64, variance: f64, best: f64) -> Worth {
    worth(mean, variance, best, 1.0, log_improvement)
}

/// ln of the probability of being at most `limit`.
pub fn log_feasibility(mean: f64, variance: f64, limit: f64) -> Worth {
    worth(mean, variance, limit, 0.0, log_cumulative)
}

#[cfg(test)]
mod tests {
    use super::super::normal::density;
    use super::*;

    #[test]
    fn closed_forms_against_quadrature() {
        for (mean, variance, best) in [(0.3, 0.5, 0.1), (2.0, 0.2, -0.5), (-1.0, 3.0, 0.4)] {
            let sigma = f64::sqrt(variance);
            let steps = 200_000;
            let (from, to) = (mean - 12.0 * sigma, mean + 12.0 * sigma);
            let h = (to - from) / steps as f64;
            let (mut improvement, mut probability) = (0.0, 0.0);
            for k in 0..steps {
                let f = from + (k as f64 + 0.5) * h;
                let p = density((f - mean) / sigma) / sigma * h;
                improvement += p * f64::max(best - f, 0.0);
                probability += if f <= best { p } else { 0.0 };
            }
            let found = log_expected_improvement(mean, variance, best).log.exp();
            assert!((found - improvement).abs() < 1e-8, "{found} {improvement}");
            let found = log_feasibility(mean, variance, best).log.exp();
            assert!((found - probability).abs() < 1e-4, "{found} {probability}");
        }
    }

    #[test]
    fn derivatives_by_differences() {
        for f in [log_expected_improvement, log_feasibility] {
            for (mean, variance, best) in
                [(0.3, 0.5, 0.1), (2.0, 0.2, -0.5), (-1.0, 3.0, 0.4), (3.0, 1e-2, 0.0)]
            {
                let w = f(mean, variance, best);
                let e = 1e-6 * variance;
                let m = (f(mean + e, variance, best).log - f(mean - e, variance, best).log) / (2.0 * e);
                let v = (f(mean, variance + e, best).log - f(mean, variance - e, best).log) / (2.0 * e);
                assert!((m - w.by_mean).abs() < 1e-5 * m.abs().max(1.0), "{m} {w:?}");
                assert!((v - w.by_variance).abs() < 1e-5 * v.abs().max(1.0), "{v} {w:?}");
            }
        }
    }
}
