//! Schemes as Runge-Kutta tableaus.
//!
//! Each one is a collocation method: on an interval of length h the derivative of the state is the polynomial through f at the nodes c_j,
//!
//! ```text
//! X_i = x_0 + h sum_j a_ij f(X_j, U_j),   a_ij = int_0^c_i l_j,   x_1 = x_0 + h sum_j b_j f(X_j, U_j),   b_j = int_0^1 l_j
//! ```
//!
//! with the Lagrange polynomials l_j of the nodes. So the nodes are the data, and A and b follow by exact quadrature.
//! Orders and nodes: E. Hairer and G. Wanner, Solving Ordinary Differential Equations II, section IV.5; Lobatto IIIA of two and three stages are the
//! trapezoidal rule and the scheme of Hermite and Simpson in its separated form (J. T. Betts, Practical Methods for Optimal Control, section 4.6).

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// What turns differential equations into constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Order 2, nodes at both ends; controls are continuous and piecewise linear.
    Trapezoidal,
    /// Order 4, nodes at both ends and in the middle; controls are continuous and piecewise quadratic.
    HermiteSimpson,
    /// Gauss-Legendre with 1 to 5 stages, order 2 s; controls may jump between intervals.
    Gauss(u8),
    /// Radau IIA with 1 to 5 stages, order 2 s - 1, the last node at the end of the interval; controls may jump between intervals.
    Radau(u8),
}

/// Nodes of one and two, ..., five stages, one after the other.
const GAUSS: [f64; 15] = [
    0.5,
    0.2113248654051871,
    0.7886751345948129,
    0.11270166537925833,
    0.5,
    0.8872983346207417,
    0.06943184420297373,
    0.33000947820757187,
    0.6699905217924281,
    0.9305681557970262,
    0.04691007703066801,
    0.23076534494715845,
    0.5,
    0.7692346550528415,
    0.953089922969332,
];
const RADAU: [f64; 15] = [
    1.0,
    0.3333333333333333,
    1.0,
    0.1550510257216822,
    0.6449489742783178,
    1.0,
    0.08858795951270396,
    0.4094668644407347,
    0.787659461760847,
    1.0,
    0.05710419611451769,
    0.2768430136381238,
    0.5835904323689168,
    0.8602401356562195,
    1.0,
];
const LOBATTO: [&[f64]; 2] = [&[0.0, 1.0], &[0.0, 0.5, 1.0]];

/// The most stages.
pub const MOST_STAGES: usize = 5;

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 12] = [
        Self::Trapezoidal,
        Self::HermiteSimpson,
        Self::Gauss(1),
        Self::Gauss(2),
        Self::Gauss(3),
        Self::Gauss(4),
        Self::Gauss(5),
        Self::Radau(1),
        Self::Radau(2),
        Self::Radau(3),
        Self::Radau(4),
        Self::Radau(5),
    ];

    /// Order of the states at the ends of the intervals for smooth controls.
    pub fn order(self) -> u32 {
        match self {
            Self::Trapezoidal => 2,
            Self::HermiteSimpson => 4,
            Self::Gauss(s) => 2 * u32::from(s),
            Self::Radau(s) => 2 * u32::from(s) - 1,
        }
    }

    /// Its coefficients.
    ///
    /// # Errors
    /// [`Error::Option`] for a number of stages outside 1 to 5.
    pub fn tableau(self) -> Result<Tableau, Error> {
        let stored = |all: &'static [f64; 15], s: u8| {
            let s = usize::from(s);
            if !(1..=MOST_STAGES).contains(&s) {
                return Err(Error::Option {
                    option: "scheme".into(),
                    what: format!("found {s} stages, expected 1 to {MOST_STAGES}"),
                });
            }
            Ok(&all[s * (s - 1) / 2..s * (s + 1) / 2])
        };
        Ok(match self {
            Self::Trapezoidal => Tableau::collocation(LOBATTO[0]),
            Self::HermiteSimpson => Tableau::collocation(LOBATTO[1]),
            Self::Gauss(s) => Tableau::collocation(stored(&GAUSS, s)?),
            Self::Radau(s) => Tableau::collocation(stored(&RADAU, s)?),
        })
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trapezoidal => f.write_str("trapezoidal"),
            Self::HermiteSimpson => f.write_str("hermite-simpson"),
            Self::Gauss(s) => write!(f, "gauss-{s}"),
            Self::Radau(s) => write!(f, "radau-{s}"),
        }
    }
}

impl FromStr for Scheme {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|s| s.to_string() == name).ok_or_else(|| {
            format!(
                "unknown scheme '{name}', expected trapezoidal, hermite-simpson, gauss-1 to gauss-5 or radau-1 to radau-5"
            )
        })
    }
}

/// Coefficients of a collocation method with s stages.
#[derive(Debug, Clone, PartialEq)]
pub struct Tableau {
    /// Nodes in [0, 1], ascending, length s.
    pub c: Vec<f64>,
    /// s x s, by rows.
    pub a: Vec<f64>,
    /// Weights, length s.
    pub b: Vec<f64>,
    /// A^-1, s x s, by rows; none where the first node is the start of the interval.
    pub a_inverse: Option<Vec<f64>>,
    /// Coefficients of the Lagrange polynomials: l_j(x) = sum_k lagrange[j s + k] x^k.
    lagrange: Vec<f64>,
}

impl Tableau {
    /// Of these nodes.
    fn collocation(c: &[f64]) -> Self {
        let s = c.len();
        let mut lagrange = vec![0.0; s * s];
        for j in 0..s {
            let l = &mut lagrange[j * s..(j + 1) * s];
            l[0] = 1.0;
            for (_, ci) in c.iter().enumerate().filter(|(i, _)| *i != j) {
                // l <- l (x - c_i) / (c_j - c_i)
                let scale = 1.0 / (c[j] - ci);
                for k in (0..s).rev() {
                    l[k] = scale * (if k > 0 { l[k - 1] } else { 0.0 } - ci * l[k]);
                }
            }
        }
        let mut t = Self { c: c.to_vec(), a: vec![0.0; s * s], b: vec![0.0; s], a_inverse: None, lagrange };
        for (i, ci) in c.iter().enumerate() {
            (0..s).for_each(|j| t.a[i * s + j] = t.integral(j, *ci));
        }
        (0..s).for_each(|j| t.b[j] = t.integral(j, 1.0));
        t.a_inverse = (c[0] > 0.0).then(|| inverse(&t.a, s));
        t
    }

    /// Number of stages.
    pub fn stages(&self) -> usize {
        self.c.len()
    }
    /// Whether the first node is the start of the interval.
    pub fn starts_at_node(&self) -> bool {
        self.c[0] == 0.0
    }
    /// Whether the last node is the end of the interval.
    pub fn ends_at_node(&self) -> bool {
        self.c[self.c.len() - 1] == 1.0
    }
    /// l_j(x).
    pub fn lagrange(&self, j: usize, x: f64) -> f64 {
        let s = self.stages();
        self.lagrange[j * s..(j + 1) * s].iter().rev().fold(0.0, |sum, l| sum * x + l)
    }
    /// int_0^x l_j.
    pub fn integral(&self, j: usize, x: f64) -> f64 {
        let s = self.stages();
        let l = &self.lagrange[j * s..(j + 1) * s];
        x * l.iter().enumerate().rev().fold(0.0, |sum, (k, l)| sum * x + l / (k + 1) as f64)
    }
    /// b' A^-1, where A is regular: x_1 = x_0 + sum_j (b' A^-1)_j (X_j - x_0).
    pub fn last_row(&self) -> Option<Vec<f64>> {
        let s = self.stages();
        let inverse = self.a_inverse.as_ref()?;
        Some((0..s).map(|j| (0..s).map(|i| self.b[i] * inverse[i * s + j]).sum()).collect())
    }
}

/// Inverse of a small matrix by rows (Gauss-Jordan with row pivots); A of these methods is regular.
fn inverse(a: &[f64], n: usize) -> Vec<f64> {
    let mut work = a.to_vec();
    let mut inverse: Vec<f64> = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
    for k in 0..n {
        let pivot = (k..n).fold(k, |p, i| if work[i * n + k].abs() > work[p * n + k].abs() { i } else { p });
        for j in 0..n {
            work.swap(k * n + j, pivot * n + j);
            inverse.swap(k * n + j, pivot * n + j);
        }
        let d = 1.0 / work[k * n + k];
        for m in [&mut work, &mut inverse] {
            m[k * n..(k + 1) * n].iter_mut().for_each(|v| *v *= d);
        }
        for i in (0..n).filter(|i| *i != k) {
            let factor = work[i * n + k];
            for j in 0..n {
                work[i * n + j] -= factor * work[k * n + j];
                inverse[i * n + j] -= factor * inverse[k * n + j];
            }
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B(p): sum b c^(k-1) = 1/k up to the order, and not beyond; C(s): sum_j a_ij c_j^(k-1) = c_i^k / k.
    #[test]
    fn order_conditions() {
        for scheme in Scheme::ALL {
            let t = scheme.tableau().unwrap();
            let s = t.stages();
            let moment = |k: i32| {
                t.b.iter().zip(&t.c).map(|(b, c)| b * c.powi(k - 1)).sum::<f64>() - 1.0 / f64::from(k)
            };
            let p = scheme.order() as i32;
            assert!((1..=p).all(|k| moment(k).abs() < 1e-14), "{scheme}");
            assert!(moment(p + 1).abs() > 1e-7, "{scheme}: {}", moment(p + 1));
            for (i, k) in (0..s).flat_map(|i| (1..=s as i32).map(move |k| (i, k))) {
                let sum: f64 = (0..s).map(|j| t.a[i * s + j] * t.c[j].powi(k - 1)).sum();
                assert!((sum - t.c[i].powi(k) / f64::from(k)).abs() < 1e-14, "{scheme} {i} {k}");
            }
            if let Some(inverse) = &t.a_inverse {
                for (i, j) in (0..s).flat_map(|i| (0..s).map(move |j| (i, j))) {
                    let sum: f64 = (0..s).map(|k| t.a[i * s + k] * inverse[k * s + j]).sum();
                    assert!((sum - f64::from(u8::from(i == j))).abs() < 1e-13, "{scheme}");
                }
            }
        }
    }

    /// R(z) = 1 + z b'(I - z A)^-1 1 on y' = z y: the order by halving, and damping at infinity of Radau.
    #[test]
    fn measured_order_of_decay() {
        for scheme in Scheme::ALL {
            let t = scheme.tableau().unwrap();
            let s = t.stages();
            let step = |z: f64| {
                let m: Vec<f64> =
                    (0..s * s).map(|k| f64::from(u8::from(k / s == k % s)) - z * t.a[k]).collect();
                let inverse = inverse(&m, s);
                1.0 + z * (0..s * s).map(|k| t.b[k / s] * inverse[k]).sum::<f64>()
            };
            let error = |n: i32| (step(-4.0 / f64::from(n)).powi(n) - (-4.0f64).exp()).abs();
            let n = if scheme.order() > 6 { 2 } else { 16 };
            let order = (error(n) / error(2 * n)).log2();
            assert!((order - f64::from(scheme.order())).abs() < 0.45, "{scheme}: {order}");
            if matches!(scheme, Scheme::Radau(_)) {
                assert!(step(-1e8).abs() < 1e-6, "{scheme}");
            }
        }
    }

    #[test]
    fn names_are_read_back() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.to_string().parse(), Ok(scheme));
        }
        assert!("radau-6".parse::<Scheme>().unwrap_err().contains("unknown scheme 'radau-6'"));
        assert!(Scheme::Gauss(0).tableau().is_err());
    }
}
