//! The standard normal distribution, and the expected improvement's function h(z) = phi(z) + z Phi(z), far into the tails.
//!
//! Everything is made of Mills' ratio m(t) = (1 - Phi(t)) / phi(t), by a continued fraction for t >= 2 and by a series of positive terms below.

use std::f64::consts::{PI, SQRT_2};

/// phi(z).
pub fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

fn log_density(z: f64) -> f64 {
    -0.5 * z * z - 0.5 * (2.0 * PI).ln()
}

/// m(t), t >= 0.
fn mills(t: f64) -> f64 {
    if t >= 2.5 {
        // 1 / (t + 1 / (t + 2 / (t + 3 / ..))), from its end.
        let terms = (40.0 + 600.0 / (t * t)) as usize;
        let tail = (1..=terms).rev().fold(t, |tail, k| t + k as f64 / tail);
        return 1.0 / tail;
    }
    // Phi(t) - 1/2 = phi(t) (t + t^3 / 3 + t^5 / (3 5) + ..).
    let (mut term, mut sum, mut k) = (t, t, 1.0);
    while term > 1e-18 * sum {
        k += 2.0;
        term *= t * t / k;
        sum += term;
    }
    0.5 / density(t) - sum
}

/// Phi(z).
pub fn cumulative(z: f64) -> f64 {
    let tail = density(z) * mills(z.abs());
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// (ln Phi(z), phi(z) / Phi(z)): the logarithm and its derivative.
pub fn log_cumulative(z: f64) -> (f64, f64) {
    if z < 0.0 {
        let m = mills(-z);
        return (log_density(z) + m.ln(), 1.0 / m);
    }
    let p = cumulative(z);
    ((-density(z) * mills(z)).ln_1p(), density(z) / p)
}

/// (ln h(z), Phi(z) / h(z)) for h(z) = phi(z) + z Phi(z), the expectation of max(z - N, 0): the logarithm and its derivative.
pub fn log_improvement(z: f64) -> (f64, f64) {
    if z > -1.0 {
        let p = cumulative(z);
        let h = density(z) + z * p;
        return (h.ln(), p / h);
    }
    let t = -z;
    if t > 1e3 {
        // h = phi(z) / t^2 (1 - 3 / t^2 + 15 / t^4 - ..).
        let s = 1.0 / (t * t);
        let series = 1.0 - 3.0 * s + 15.0 * s * s;
        return (log_density(z) + (s * series).ln(), t / series * (1.0 - s + 3.0 * s * s));
    }
    let m = mills(t);
    let rest = 1.0 - t * m;
    (log_density(z) + rest.ln(), m / rest)
}

/// The error function's relative, for tests of others: erf(x) = 2 Phi(x sqrt 2) - 1.
pub fn erf(x: f64) -> f64 {
    2.0 * cumulative(x * SQRT_2) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabulated_values() {
        // P(X > k), k = 1..6 and 10, 30 (logarithms), as tabulated.
        let table = [
            (1.0, 0.158_655_253_931_457_05),
            (2.0, 0.022_750_131_948_179_2),
            (3.0, 0.001_349_898_031_630_09),
            (6.0, 9.865_876_450_376_98e-10),
            (10.0, 7.619_853_024_160_525e-24),
        ];
        for (t, p) in table {
            assert!((cumulative(-t) / p - 1.0).abs() < 1e-13, "{t}");
            assert!((log_cumulative(-t).0 - f64::ln(p)).abs() < 1e-12 * t * t, "{t}");
        }
        assert!((log_cumulative(-30.0).0 + 454.321_243_956_343_27).abs() < 1e-9);
        assert!((erf(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15);
    }

    #[test]
    fn both_ways_of_the_ratio_agree() {
        for t in [2.2, 2.4, 2.49] {
            let terms = 400;
            let tail = (1..=terms).rev().fold(t, |tail, k| t + k as f64 / tail);
            assert!((mills(t) * tail - 1.0).abs() < 1e-12, "{t} {}", mills(t) * tail - 1.0);
        }
    }

    #[test]
    fn improvement_by_quadrature_and_its_slope_by_differences() {
        for z in [-30.0, -8.0, -3.0, -1.01, -0.99, 0.0, 0.7, 5.0f64] {
            // E max(z - N, 0) by Simpson's rule on what is left of the density below z.
            let (from, steps) = (z - 12.0 - z.abs(), 200_000);
            let h = (z - from) / steps as f64;
            let f = |x: f64| (z - x) * (-0.5 * (x * x - z * z)).exp();
            let mut sum = f(from) + f(z);
            for k in 1..steps {
                sum += f(from + k as f64 * h) * if k % 2 == 1 { 4.0 } else { 2.0 };
            }
            let want = (sum * h / 3.0).ln() + log_density(z);
            let (found, slope) = log_improvement(z);
            assert!((found - want).abs() < 1e-8 * want.abs().max(1.0), "{z}: {found} {want}");
            let e = 1e-5 * z.abs().max(1.0);
            let by_differences = (log_improvement(z + e).0 - log_improvement(z - e).0) / (2.0 * e);
            assert!((by_differences - slope).abs() < 1e-6 * slope.max(1.0), "{z}: {by_differences} {slope}");
            let by_differences = (log_cumulative(z + e).0 - log_cumulative(z - e).0) / (2.0 * e);
            assert!((by_differences - log_cumulative(z).1).abs() < 1e-6 * z.abs().max(1.0), "{z}");
        }
        // Across the change of formula at -1000.
        let (a, b) = (log_improvement(-999.999), log_improvement(-1000.001));
        assert!((a.0 - b.0 - 0.002 * a.1).abs() < 1e-4 && (a.1 - b.1).abs() < 1e-2);
    }
}
