//! f(w) = sum_i omega_i l(a_i'w, y_i) / sum_i omega_i with its derivatives, in one pass over the rows.

use std::sync::Arc;

use rayon::prelude::*;

use super::families::Family;
use crate::error::Error;
use crate::randomized::TallMatrix;

/// Rows, responses and weights.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The design matrix, m x n.
    pub matrix: Arc<TallMatrix>,
    /// Responses, length m.
    pub responses: Arc<Vec<f64>>,
    /// Weights of the rows divided by their sum, length m.
    pub weights: Arc<Vec<f64>>,
}

impl Rows {
    /// Rows of equal weight.
    ///
    /// # Errors
    /// The number of responses is not that of the rows, or the family refuses one.
    pub fn new(family: Family, matrix: Arc<TallMatrix>, responses: Vec<f64>) -> Result<Self, Error> {
        let m = matrix.rows();
        let fail = |what: String| Err(Error::Problem { name: family.name().into(), what });
        if responses.len() != m {
            return fail(format!("{} responses for {m} rows", responses.len()));
        }
        if let Some(i) = responses.iter().position(|y| family.refuses(*y).is_some()) {
            let must = family.refuses(responses[i]).unwrap_or_default();
            return fail(format!("the response of row {i} is {}: it must be {must}", responses[i]));
        }
        if let Family::Huber { threshold } = family
            && !(threshold > 0.0 && threshold.is_finite())
        {
            return fail(format!("the threshold is {threshold}: it must be positive and finite"));
        }
        let weights = Arc::new(vec![(m as f64).recip(); m]);
        Ok(Self { matrix, responses: Arc::new(responses), weights })
    }
    /// The same rows with other weights, which are at least 0 and not all 0.
    ///
    /// # Errors
    /// Another number of weights, or one that is negative or not finite.
    pub fn weighted(&self, weights: &[f64]) -> Result<Self, Error> {
        let sum: f64 = weights.iter().sum();
        let valid = weights.len() == self.weights.len() && weights.iter().all(|v| *v >= 0.0);
        if !(valid && sum > 0.0 && sum.is_finite()) {
            let what =
                format!("the weights must be {} numbers that are at least 0, not all 0", self.weights.len());
            return Err(Error::Problem { name: "weights".into(), what });
        }
        let weights = Arc::new(weights.iter().map(|v| v / sum).collect());
        Ok(Self { weights, ..self.clone() })
    }
}

/// The data term at a point. Storage for all passes.
#[derive(Debug)]
pub struct DataTerm {
    family: Family,
    rows: Rows,
    /// Where the rest was evaluated; empty: nowhere yet.
    at: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
    /// omega_i l''(z_i), length m.
    curvature: Vec<f64>,
    sums: Vec<f64>,
    passes: u64,
}

impl DataTerm {
    /// Not yet evaluated anywhere.
    pub fn new(family: Family, rows: Rows) -> Self {
        let (m, n) = (rows.matrix.rows(), rows.matrix.columns());
        Self {
            family,
            rows,
            at: vec![],
            value: 0.0,
            gradient: vec![0.0; n],
            curvature: vec![0.0; m],
            sums: vec![],
            passes: 0,
        }
    }
    /// The rows.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }
    /// The family.
    pub fn family(&self) -> Family {
        self.family
    }
    /// Passes over the rows so far.
    pub fn passes(&self) -> u64 {
        self.passes
    }
    /// Counts passes done elsewhere on behalf of this term.
    pub fn count_passes(&mut self, more: u64) {
        self.passes += more;
    }
    /// Evaluates at w, unless it was the last point; value, gradient and curvatures are then those of w.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn evaluate(&mut self, w: &[f64]) -> Result<(), Error> {
        if self.at == w {
            return Ok(());
        }
        self.at.clear();
        let (matrix, family, n) = (&self.rows.matrix, self.family, w.len());
        let groups = matrix.vector_groups();
        // A group's gradient and value.
        self.sums.clear();
        self.sums.resize((n + 1) * groups.len(), 0.0);
        let parts = crate::randomized::split_rows(&groups, &mut self.curvature);
        let mut states: Vec<_> = parts
            .into_iter()
            .zip(self.sums.chunks_mut(n + 1))
            .map(|(part, sum)| (part, sum, vec![]))
            .collect();
        let (responses, weights) = (&self.rows.responses[..], &self.rows.weights[..]);
        matrix.visit(
            &groups,
            &mut states,
            |_| true,
            |state, block| {
                let ((first, curvature), sum, slopes): &mut ((usize, &mut [f64]), &mut [f64], Vec<f64>) =
                    state;
                slopes.resize(block.rows, 0.0);
                block.multiply(w, slopes);
                let (mut value, from) = (0.0, block.first);
                for (i, z) in slopes.iter_mut().enumerate() {
                    let (t, omega) = (family.terms(*z, responses[from + i]), weights[from + i]);
                    value += omega * t.value;
                    curvature[from + i - *first] = omega * t.curvature;
                    *z = omega * t.slope;
                }
                sum[n] += value;
                block.add_transposed(slopes, &mut sum[..n]);
            },
        )?;
        drop(states);
        (self.value, _) = (0.0, self.gradient.fill(0.0));
        for sum in self.sums.chunks(n + 1) {
            self.value += sum[n];
            self.gradient.iter_mut().zip(sum).for_each(|(g, s)| *g += s);
        }
        self.at.extend_from_slice(w);
        self.passes += 1;
        Ok(())
    }
    /// f at the last point.
    pub fn value(&self) -> f64 {
        self.value
    }
    /// Gradient at the last point.
    pub fn gradient(&self) -> &[f64] {
        &self.gradient
    }
    /// omega_i l''(z_i) at the last point: the Hessian is A' diag(curvature) A.
    pub fn curvature(&self) -> &[f64] {
        &self.curvature
    }
    /// hv <- A' diag(curvature) A v at the last point.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn hessian_product(&mut self, v: &[f64], hv: &mut [f64]) -> Result<(), Error> {
        self.passes += 1;
        self.rows.matrix.multiply_normal(Some(&self.curvature), v, hv)
    }
    /// sum of `weights` l(a_i'w, y_i), without derivatives: the loss of rows kept aside.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn loss(&self, w: &[f64], weights: &[f64]) -> Result<f64, Error> {
        let mut z = vec![0.0; self.rows.matrix.rows()];
        self.rows.matrix.multiply(w, &mut z)?;
        let parts: Vec<f64> = z
            .par_chunks(4096)
            .enumerate()
            .map(|(c, z)| {
                let of = |(i, z): (usize, &f64)| {
                    let i = 4096 * c + i;
                    if weights[i] == 0.0 {
                        0.0
                    } else {
                        weights[i] * self.family.terms(*z, self.rows.responses[i]).value
                    }
                };
                z.iter().enumerate().map(of).sum()
            })
            .collect();
        Ok(parts.iter().sum())
    }
}
