//! Losses of residuals.

/// What a residual r costs: phi(r) = C^2 rho(r^2 / C^2) / 2, where C is the size from which a residual is an outlier. With the sum of squares rho(z) = z
/// (Huber, Robust Statistics, 1981; the forms are those of SciPy's `least_squares`).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// r^2 / 2.
    #[default]
    Squares,
    /// rho = z up to 1, then 2 sqrt(z) - 1: absolute values for outliers. Convex.
    Huber(f64),
    /// rho = 2 (sqrt(1 + z) - 1): Huber's loss made smooth. Convex.
    SoftL1(f64),
    /// rho = ln(1 + z): outliers hardly pull. Not convex.
    Cauchy(f64),
    /// rho = arctan(z): the cost of a residual is bounded. Not convex.
    Arctan(f64),
}

impl Loss {
    /// C, if there is one.
    pub(super) fn scale(self) -> Option<f64> {
        match self {
            Self::Squares => None,
            Self::Huber(c) | Self::SoftL1(c) | Self::Cauchy(c) | Self::Arctan(c) => Some(c),
        }
    }

    /// phi(r), phi'(r), phi''(r).
    pub fn terms(self, r: f64) -> [f64; 3] {
        let c = self.scale().unwrap_or(1.0);
        let z = (r / c) * (r / c);
        match self {
            Self::Squares => [0.5 * r * r, r, 1.0],
            Self::Huber(_) if z <= 1.0 => [0.5 * r * r, r, 1.0],
            Self::Huber(_) => [c * (r.abs() - 0.5 * c), c * r.signum(), 0.0],
            Self::SoftL1(_) => {
                let root = (1.0 + z).sqrt();
                // sqrt(1 + z) - 1 without cancellation.
                [c * c * z / (root + 1.0), r / root, 1.0 / (root * root * root)]
            }
            Self::Cauchy(_) => [0.5 * c * c * z.ln_1p(), r / (1.0 + z), (1.0 - z) / ((1.0 + z) * (1.0 + z))],
            Self::Arctan(_) => {
                let d = 1.0 + z * z;
                [0.5 * c * c * z.atan(), r / d, (1.0 - 3.0 * z * z) / (d * d)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_agree_with_differences() {
        for loss in [Loss::Squares, Loss::Huber(1.3), Loss::SoftL1(0.7), Loss::Cauchy(2.0), Loss::Arctan(1.1)]
        {
            for r in [-5.0, -1.2, -1e-3, 0.0, 0.4, 1.29, 1.31, 30.0] {
                let (h, at) = (1e-5, |r: f64| loss.terms(r));
                for k in [0, 1] {
                    let difference = (at(r + h)[k] - at(r - h)[k]) / (2.0 * h);
                    let exact = at(r)[k + 1];
                    assert!(
                        (difference - exact).abs() < 1e-6 * exact.abs().max(1.0),
                        "{loss:?} {r}: {difference} {exact}"
                    );
                }
            }
            // Near 0 all are squares.
            assert!((loss.terms(1e-4)[0] - 0.5e-8).abs() < 1e-15);
        }
        // SciPy's rho at z = 4 with C = 1: 2 sqrt(4) - 1, 2 (sqrt(5) - 1), ln 5, arctan 4; the cost is half of it.
        let rho = [3.0, 2.0 * (5f64.sqrt() - 1.0), 5f64.ln(), 4f64.atan()];
        let losses = [Loss::Huber(1.0), Loss::SoftL1(1.0), Loss::Cauchy(1.0), Loss::Arctan(1.0)];
        for (loss, rho) in losses.into_iter().zip(rho) {
            assert!((loss.terms(2.0)[0] - 0.5 * rho).abs() < 1e-15);
        }
    }
}
