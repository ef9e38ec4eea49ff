//! Families of responses: a loss of the linear predictor z = a'w and the response y. One file a family, and one row here.

mod huber;
mod least_squares;
mod logistic;
mod poisson;

use std::fmt;
use std::str::FromStr;

/// Value and derivatives of a loss with respect to z.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// l(z, y).
    pub value: f64,
    /// dl/dz.
    pub slope: f64,
    /// d2l/dz2, at least 0.
    pub curvature: f64,
}

/// A convex loss of one row.
trait Loss: Sync {
    /// Value and derivatives.
    fn terms(&self, z: f64, y: f64) -> Terms;
    /// What a response must be, if y is none.
    fn refuses(&self, y: f64) -> Option<&'static str>;
}

/// Which loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Family {
    /// log(1 + exp(-y z)), y = -1 or 1.
    Logistic,
    /// exp(z) - y z, y a count: the negative log-likelihood with the logarithm as link, without log y!.
    Poisson,
    /// (z - y)^2 / 2.
    LeastSquares,
    /// Huber's loss: (z - y)^2 / 2 up to |z - y| = threshold, linear beyond (Huber, Annals of Mathematical Statistics 35, 1964).
    Huber {
        /// Where it becomes linear, positive.
        threshold: f64,
    },
}

impl Family {
    /// Every family with its name; the threshold of Huber's is that of 95 percent efficiency at unit variance.
    pub const ALL: [(&'static str, Self); 4] = [
        ("logistic", Self::Logistic),
        ("poisson", Self::Poisson),
        ("least-squares", Self::LeastSquares),
        ("huber", Self::Huber { threshold: 1.345 }),
    ];

    /// Value and derivatives at the predictor z and the response y.
    pub fn terms(self, z: f64, y: f64) -> Terms {
        match self {
            Self::Logistic => logistic::Logistic.terms(z, y),
            Self::Poisson => poisson::Poisson.terms(z, y),
            Self::LeastSquares => least_squares::LeastSquares.terms(z, y),
            Self::Huber { threshold } => huber::Huber { threshold }.terms(z, y),
        }
    }
    /// What a response must be, if y is none.
    pub fn refuses(self, y: f64) -> Option<&'static str> {
        match self {
            Self::Logistic => logistic::Logistic.refuses(y),
            Self::Poisson => poisson::Poisson.refuses(y),
            Self::LeastSquares => least_squares::LeastSquares.refuses(y),
            Self::Huber { threshold } => huber::Huber { threshold }.refuses(y),
        }
    }
    /// Name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Logistic => "logistic",
            Self::Poisson => "poisson",
            Self::LeastSquares => "least-squares",
            Self::Huber { .. } => "huber",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Family {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|(_, family)| *family).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|(n, _)| *n).collect();
            format!("unknown family '{name}', expected one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_those_of_differences() {
        for (name, family) in Family::ALL {
            let responses: &[f64] = if family == Family::Logistic { &[-1.0, 1.0] } else { &[0.0, 2.0, 7.0] };
            for y in responses {
                for z in [-30.0, -3.1, -0.4, 0.0, 0.7, 2.9, 6.3] {
                    let at = |z: f64| family.terms(z, *y);
                    let (t, h) = (at(z), 1e-5);
                    let slope = (at(z + h).value - at(z - h).value) / (2.0 * h);
                    let curvature = (at(z + h).slope - at(z - h).slope) / (2.0 * h);
                    assert!((t.slope - slope).abs() < 1e-6 * (1.0 + slope.abs()), "{name} {z} {y}");
                    assert!(
                        (t.curvature - curvature).abs() < 1e-6 * (1.0 + curvature.abs()),
                        "{name} {z} {y}"
                    );
                    assert!(t.curvature >= 0.0 && family.refuses(*y).is_none());
                }
            }
            assert_eq!(name.parse::<Family>(), Ok(family));
        }
        assert!(Family::Logistic.refuses(0.0).is_some() && Family::Poisson.refuses(-1.0).is_some());
        assert!(Family::LeastSquares.refuses(f64::NAN).is_some() && "normal".parse::<Family>().is_err());
    }

    #[test]
    fn extreme_predictors_stay_finite() {
        for z in [-1e300, -800.0, 800.0, 1e300] {
            for y in [-1.0, 1.0] {
                let t = Family::Logistic.terms(z, y);
                assert!(t.value.is_finite() && t.slope.abs() <= 1.0 && t.curvature.is_finite());
            }
        }
    }
}
