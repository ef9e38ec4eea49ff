//! What the data say of the parameters of a fit, to first order in the noise.
//!
//! With J the Jacobian of the weighted residuals at the solution, Z a basis of the directions in which the parameters may move (not those at their bounds; along
//! active constraints), p the rank of J Z and m the number of residuals of positive weight:
//!
//! ```text
//!     s^2 = K^2 sum psi(s_i)^2 / (m - p) / (mean psi')^2,      K = 1 + p / m var(psi') / (mean psi')^2
//!     cov = s^2 Z (Z'J'J Z)^-1 Z'
//! ```
//!
//! psi is the derivative of the loss (Huber, Robust Statistics, 1981, section 7.6); for squares psi(s) = s, K = 1 and s^2 is the usual residual variance. Where the
//! deviations of the data are known the residual variance is taken as 1. J Z is decomposed by singular values, with columns of J scaled to length one, so that half the
//! digits are not lost in J'J and units of parameters do not matter for the rank.

use statrs::distribution::{Continuous, ContinuousCDF, StudentsT};

use super::LeastSquares;
use crate::error::Error;
use crate::linalg::Svd;
use crate::nlp::{Nlp, NlpMeta};
use crate::report::Report;

/// Distance from a bound or side, relative to max(1, its size), up to which it is active.
const ACTIVE: f64 = 1e-6;
/// Part of a parameter in a direction that the data do not determine, from which it is not determined.
const UNDETERMINED: f64 = 1e-8;

/// What the data say of n parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Statistics {
    /// Parameters, those of the report.
    pub x: Vec<f64>,
    /// Covariance of the parameters, n x n, column by column. Rows and columns of parameters at their bounds are 0; the variance of a parameter that the data do not
    /// determine is infinite, its covariances are NaN.
    pub covariance: Vec<f64>,
    /// Square roots of the diagonal of the covariance.
    pub standard_errors: Vec<f64>,
    /// Weighted residuals, as in the loss.
    pub residuals: Vec<f64>,
    /// Sum of their squares.
    pub sum_of_squares: f64,
    /// Sum of squares / degrees of freedom: the variance of a residual of weight 1, or reduced chi-square where the deviations are known. NaN without degrees of freedom.
    pub residual_variance: f64,
    /// Residuals less determined directions, m - p.
    pub degrees_of_freedom: usize,
    /// p: directions that the data determine.
    pub rank: usize,
    /// Parameters at a bound that holds them: they count as known.
    pub at_bounds: Vec<usize>,
    /// Parameters that the data do not determine.
    pub undetermined: Vec<usize>,
    /// 1 - weighted sum of squares / that of the observations about their weighted mean, if the observations are known.
    pub r_squared: Option<f64>,
    /// Intervals by the normal distribution: deviations are known.
    known_deviations: bool,
}

impl Statistics {
    /// Parameters.
    fn n(&self) -> usize {
        self.x.len()
    }
    /// The interval that has parameter j with this probability, x_j -+ t se_j, t the quantile of Student's distribution with m - p degrees of freedom (of the normal one
    /// where the deviations of the data are known).
    ///
    /// # Errors
    /// [`Error::Option`]: a level that is not between 0 and 1, no such parameter, or no degrees of freedom.
    pub fn interval(&self, j: usize, level: f64) -> Result<(f64, f64), Error> {
        let fail = |what: String| Error::Option { option: "interval".into(), what };
        if j >= self.n() {
            return Err(fail(format!("parameter {j} of {}", self.n())));
        }
        if !(level > 0.0 && level < 1.0) {
            return Err(fail(format!("level {level}, expected a number between 0 and 1")));
        }
        let freedom = if self.known_deviations { f64::INFINITY } else { self.degrees_of_freedom as f64 };
        let half = quantile(0.5 + 0.5 * level, freedom)
            .ok_or_else(|| fail("no degrees of freedom: as many parameters as residuals".into()))?;
        let width = half * self.standard_errors[j];
        Ok((self.x[j] - width, self.x[j] + width))
    }
    /// Correlation of two parameters.
    pub fn correlation(&self, i: usize, j: usize) -> f64 {
        self.covariance[i * self.n() + j] / (self.standard_errors[i] * self.standard_errors[j])
    }
}

/// The quantile of Student's distribution, p >= 1/2; of the normal one where `freedom` is infinite.
fn quantile(p: f64, freedom: f64) -> Option<f64> {
    // Beyond 1e8 the two agree to 1e-8.
    if freedom > 1e8 {
        let normal = statrs::distribution::Normal::standard();
        return Some(normal.inverse_cdf(p));
    }
    let t = StudentsT::new(0.0, 1.0, freedom).ok()?;
    // Two steps of Newton's method on what the inverse is accurate to.
    let mut x = t.inverse_cdf(p);
    for _ in 0..2 {
        let step = (t.cdf(x) - p) / t.pdf(x);
        if step.is_finite() {
            x -= step;
        }
    }
    Some(x)
}

/// A value at a side that holds it: near it, and the multiplier is larger than the distance.
fn holds(value: f64, side: f64, multiplier: f64) -> bool {
    let distance = (value - side).abs();
    distance <= ACTIVE * side.abs().max(1.0) && multiplier.abs() >= distance && multiplier != 0.0
}

/// Parameters at their bounds and constraints at their sides.
fn active(meta: &NlpMeta, report: &Report, c: &[f64]) -> (Vec<bool>, Vec<usize>) {
    let at = |value: f64, lower: f64, upper: f64, multiplier: f64| {
        lower == upper || holds(value, lower, multiplier) || holds(value, upper, multiplier)
    };
    let bounds = (0..meta.n()).map(|j| at(report.x[j], meta.x_lower[j], meta.x_upper[j], report.z[j]));
    let rows = (0..meta.m()).filter(|&i| at(c[i], meta.c_lower[i], meta.c_upper[i], report.y[i]));
    (bounds.collect(), rows.collect())
}

/// Dense matrices, column by column.
#[derive(Debug, Clone)]
struct Dense {
    rows: usize,
    cols: usize,
    values: Vec<f64>,
}

impl Dense {
    fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, values: vec![0.0; rows * cols] }
    }
    fn column(&self, j: usize) -> &[f64] {
        &self.values[j * self.rows..(j + 1) * self.rows]
    }
    fn times(&self, other: &Self) -> Self {
        let mut out = Self::zeros(self.rows, other.cols);
        for j in 0..other.cols {
            let to = &mut out.values[j * self.rows..(j + 1) * self.rows];
            for (k, v) in other.column(j).iter().enumerate() {
                to.iter_mut().zip(self.column(k)).for_each(|(t, a)| *t += a * v);
            }
        }
        out
    }
    /// Singular values and right singular vectors, all `cols` of them: zero rows are added below where there are fewer rows.
    fn right_singular(&self) -> Option<(Vec<f64>, Self)> {
        let rows = self.rows.max(self.cols);
        let mut padded = Self::zeros(rows, self.cols);
        for j in 0..self.cols {
            padded.values[j * rows..j * rows + self.rows].copy_from_slice(self.column(j));
        }
        let mut svd = Svd::new(rows, self.cols);
        if !svd.compute(&padded.values) {
            return None;
        }
        let right = (0..self.cols).flat_map(|j| svd.right(j).to_vec()).collect();
        Some((svd.values().to_vec(), Self { rows: self.cols, cols: self.cols, values: right }))
    }
    /// The columns from..to.
    fn part(&self, from: usize, to: usize) -> Self {
        let values = self.values[from * self.rows..to * self.rows].to_vec();
        Self { rows: self.rows, cols: to - from, values }
    }
}

/// Singular values that are more than rounding.
fn rank(values: &[f64], size: usize) -> usize {
    let least = values.first().map_or(0.0, |s| s * f64::EPSILON * size as f64);
    values.iter().filter(|s| **s > least).count()
}

impl<P: Nlp> LeastSquares<P> {
    /// What the data say of the parameters at the solution of a report of this fit. The objective that the problem may have of its own, such as a penalty, is not looked at.
    ///
    /// # Errors
    /// [`Error::Problem`]: functions that cannot be evaluated there.
    pub fn statistics(&mut self, report: &Report) -> Result<Statistics, Error> {
        let (n, m_c) = (self.meta.n(), self.meta.m());
        let name = self.meta.name.clone();
        let fail = |what: String| Error::Problem { name: name.clone(), what };
        if report.x.len() != n || report.y.len() != m_c || report.z.len() != n {
            return Err(fail(format!("a report of {} parameters, expected one of {n}", report.x.len())));
        }
        let (s, gradients) = self.linearized(&report.x).map_err(|e| fail(e.to_string()))?;
        let (mut c, mut entries) =
            (vec![0.0; m_c], vec![0.0; self.meta.jacobian.as_ref().map_or(0, |p| p.len())]);
        let evaluated = self.jac_values(&report.x, &mut entries).and_then(|()| self.cons(&report.x, &mut c));
        evaluated.map_err(|e| fail(e.to_string()))?;
        let (at_bound, rows) = active(&self.meta, report, &c);
        let free: Vec<usize> = (0..n).filter(|j| !at_bound[*j]).collect();
        let mut place = vec![usize::MAX; n];
        free.iter().enumerate().for_each(|(k, &j)| place[j] = k);

        // J by the free parameters, its columns scaled to length one.
        let mut j = Dense::zeros(s.len(), free.len());
        for (i, row) in gradients.iter().enumerate() {
            row.iter()
                .filter(|e| place[e.0] != usize::MAX)
                .for_each(|&(k, v)| j.values[place[k] * s.len() + i] += v);
        }
        let length = |k: usize| {
            let l = j.column(k).iter().map(|v| v * v).sum::<f64>().sqrt();
            if l > 0.0 && l.is_finite() { l } else { 1.0 }
        };
        let scale: Vec<f64> = (0..free.len()).map(length).collect();
        j.values
            .chunks_mut(s.len().max(1))
            .zip(&scale)
            .for_each(|(col, l)| col.iter_mut().for_each(|v| *v /= l));
        // Active constraints in the same units, each row of length one.
        let mut a = Dense::zeros(rows.len(), free.len());
        if let Some(p) = &self.meta.jacobian {
            for ((i, k), v) in p.entries().zip(&entries) {
                if let (Ok(i), true) = (rows.binary_search(&i), place[k] != usize::MAX) {
                    a.values[place[k] * rows.len() + i] += v / scale[place[k]];
                }
            }
        }
        for i in 0..a.rows {
            let l = (0..a.cols).map(|k| a.column(k)[i].powi(2)).sum::<f64>().sqrt();
            (0..a.cols).filter(|_| l > 0.0).for_each(|k| a.values[k * a.rows + i] /= l);
        }
        let infinite = || fail("the derivatives are not finite at the solution".into());
        let z = {
            let (values, right) = a.right_singular().ok_or_else(infinite)?;
            right.part(rank(&values, a.rows.max(a.cols)), a.cols)
        };
        let (values, right) = j.times(&z).right_singular().ok_or_else(infinite)?;
        let p = rank(&values, s.len().max(z.cols));
        let directions = z.times(&right);

        let m = self.weights.iter().filter(|w| **w > 0.0).count();
        let freedom = m.saturating_sub(p);
        let sum_of_squares: f64 = s.iter().map(|s| s * s).sum();
        let variance = self.variance(&s, m, p);
        let mut undetermined = vec![false; n];
        for k in p..z.cols {
            let there = |(at, v): (usize, &f64)| if v.abs() > UNDETERMINED { Some(free[at]) } else { None };
            directions.column(k).iter().enumerate().filter_map(there).for_each(|j| undetermined[j] = true);
        }
        let mut covariance = vec![0.0; n * n];
        for (a, &i) in free.iter().enumerate() {
            for (b, &j) in free.iter().enumerate() {
                let term =
                    |k: usize| directions.column(k)[a] * directions.column(k)[b] / (values[k] * values[k]);
                let sum: f64 = (0..p).map(term).sum();
                covariance[j * n + i] = match (undetermined[i] || undetermined[j], i == j) {
                    (true, true) => f64::INFINITY,
                    (true, false) => f64::NAN,
                    _ => variance * sum / (scale[a] * scale[b]),
                };
            }
        }
        let of = |flags: &[bool]| (0..n).filter(|j| flags[*j]).collect();
        Ok(Statistics {
            x: report.x.clone(),
            standard_errors: (0..n).map(|j| covariance[j * n + j].sqrt()).collect(),
            covariance,
            residual_variance: if freedom > 0 { sum_of_squares / freedom as f64 } else { f64::NAN },
            r_squared: self.r_squared(sum_of_squares),
            residuals: s,
            sum_of_squares,
            degrees_of_freedom: freedom,
            rank: p,
            at_bounds: of(&at_bound),
            undetermined: of(&undetermined),
            known_deviations: self.known_deviations,
        })
    }

    /// The factor of the covariance.
    fn variance(&self, s: &[f64], m: usize, p: usize) -> f64 {
        let counted =
            || s.iter().zip(&self.weights).filter(|(_, w)| **w > 0.0).map(|(s, _)| self.loss.terms(*s));
        let mean = counted().map(|t| t[2]).sum::<f64>() / m as f64;
        let spread = counted().map(|t| (t[2] - mean).powi(2)).sum::<f64>() / m as f64;
        let k = 1.0 + p as f64 / m as f64 * spread / (mean * mean);
        let squares: f64 = counted().map(|t| t[1] * t[1]).sum();
        let residual = match (self.known_deviations, m > p) {
            (true, _) if self.loss == super::Loss::Squares => 1.0,
            (true, _) => squares / m as f64,
            (false, true) => squares / (m - p) as f64,
            (false, false) => f64::NAN,
        };
        k * k * residual / (mean * mean)
    }

    fn r_squared(&self, sum_of_squares: f64) -> Option<f64> {
        let y = self.observed.as_ref().filter(|y| y.len() == self.weights.len())?;
        let squares = || self.weights.iter().map(|w| w * w);
        let mean = squares().zip(y).map(|(w, y)| w * y).sum::<f64>() / squares().sum::<f64>();
        let total: f64 = squares().zip(y).map(|(w, y)| w * (y - mean) * (y - mean)).sum();
        Some(1.0 - sum_of_squares / total)
    }
}

#[cfg(test)]
#[path = "statistics_tests.rs"]
mod tests;
