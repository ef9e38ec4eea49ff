//! Constraints on the coefficients.

use crate::error::Error;

/// lower <= sum_j `value_j` w_j <= upper.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearRow {
    /// (coefficient, value).
    pub entries: Vec<(usize, f64)>,
    /// Lower side; minus infinity: none.
    pub lower: f64,
    /// Upper side, equal to `lower` for an equality.
    pub upper: f64,
}

/// A constraint on |w|_2.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Norm {
    /// None.
    #[default]
    Free,
    /// |w|^2 = r^2.
    Equal(f64),
    /// |w|^2 <= r^2.
    AtMost(f64),
}

/// All constraints of a fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraints {
    /// Linear ones.
    pub linear: Vec<LinearRow>,
    /// On the Euclidean norm.
    pub norm: Norm,
    /// Bound of |w|_1.
    pub l1_norm: Option<f64>,
    /// Lower bounds, length n, or empty.
    pub lower: Vec<f64>,
    /// Upper bounds, length n, or empty.
    pub upper: Vec<f64>,
}

impl Constraints {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        let free = |b: &[f64]| b.iter().all(|v| v.is_infinite());
        self.linear.is_empty()
            && self.norm == Norm::Free
            && self.l1_norm.is_none()
            && free(&self.lower)
            && free(&self.upper)
    }
    /// Checks indices, lengths and radii for n coefficients.
    ///
    /// # Errors
    /// One sentence on the first that is wrong.
    pub fn validate(&self, n: usize) -> Result<(), Error> {
        let fail = |what: String| Err(Error::Problem { name: "constraints".into(), what });
        for (k, row) in self.linear.iter().enumerate() {
            if let Some((j, v)) = row.entries.iter().find(|(j, v)| *j >= n || !v.is_finite()) {
                return fail(format!("linear constraint {k} has {v} at coefficient {j}: there are {n}"));
            }
            if row.lower > row.upper || row.lower.is_nan() || row.upper.is_nan() {
                return fail(format!(
                    "linear constraint {k} has sides [{}, {}], expected lower <= upper",
                    row.lower, row.upper
                ));
            }
        }
        let radius = match self.norm {
            Norm::Free => None,
            Norm::Equal(r) | Norm::AtMost(r) => Some(r),
        };
        for r in radius.into_iter().chain(self.l1_norm) {
            if !(r > 0.0 && r.is_finite()) {
                return fail(format!("a norm is constrained to {r}, expected a positive finite number"));
            }
        }
        for (what, bounds) in [("lower", &self.lower), ("upper", &self.upper)] {
            if !bounds.is_empty() && bounds.len() != n {
                return fail(format!("{} {what} bounds for {n} coefficients", bounds.len()));
            }
        }
        Ok(())
    }
}
