//! Leverage scores and rows drawn by them.
//!
//! The leverage of row i is l_i = a_i' (A'A)^-1 a_i. With R'R close to A'A it is close to |R^-T a_i|^2, and with a Gaussian G of few columns to |G' R^-T a_i|^2
//! (Drineas, Magdon-Ismail, Mahoney, Woodruff, JMLR 13, 2012).

use super::counter::Counter;
use super::factor::Factor;
use super::tall::TallMatrix;
use crate::error::Error;

/// Columns of G.
const PROBES: usize = 8;
/// Share of the scores that is uniform: an underestimated row is drawn nevertheless.
const UNIFORM: f64 = 0.05;

/// Approximate leverage scores of the rows of A.
#[derive(Debug, Clone)]
pub struct LeverageScores {
    scores: Vec<f64>,
}

impl LeverageScores {
    /// All rows alike.
    pub fn uniform(rows: usize) -> Self {
        Self { scores: vec![1.0; rows] }
    }
    /// From a factor R with R'R close to A'A: one pass over the rows.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn approximate(a: &TallMatrix, factor: &Factor, seed: u64) -> Result<Self, Error> {
        let n = a.columns();
        let normal = Counter::new(seed, 4);
        let mut g: Vec<f64> = (0..(n * PROBES) as u64).map(|k| normal.normal(k)).collect();
        factor.solve(&mut g);
        let mut scores = vec![0.0; a.rows()];
        let square = |_: usize, row: &[f64]| row.iter().map(|v| v * v).sum::<f64>() / PROBES as f64;
        a.multiply_columns(&g, PROBES, square, &mut scores)?;
        scores.iter_mut().for_each(|v| {
            if !v.is_finite() {
                *v = f64::MAX.sqrt();
            }
        });
        Ok(Self { scores })
    }
    /// Of each row.
    pub fn scores(&self) -> &[f64] {
        &self.scores
    }
    /// Greatest score: 1 for a row that no other row replaces.
    pub fn coherence(&self) -> f64 {
        self.scores.iter().fold(0.0, |m, v| v.max(m))
    }
}

/// Rows with the factors by which their outer products are multiplied: E of the sum is A'A.
#[derive(Debug, Clone, Default)]
pub struct RowSample {
    /// (row, 1 / probability), rows ascending.
    pub picked: Vec<(usize, f64)>,
}

impl RowSample {
    /// Each row on its own with probability min(1, t l_i d_i), t such that `rows` are expected; d = `weights`, none: 1. Rows of heavy leverage are taken for sure.
    pub fn draw(scores: &LeverageScores, weights: Option<&[f64]>, rows: usize, seed: u64) -> Self {
        let m = scores.scores.len();
        let score = |i: usize| scores.scores[i] * weights.map_or(1.0, |d| d[i]);
        let mean = (0..m).map(score).sum::<f64>() / m.max(1) as f64;
        let mixed = |i: usize| (1.0 - UNIFORM) * score(i) + UNIFORM * mean;
        let t = multiple(m, rows, &mixed);
        let uniform = Counter::new(seed, 5);
        let mut picked = Vec::with_capacity(rows + rows / 8);
        for i in 0..m {
            // Equal scores of zero: uniformly.
            let p = if mean > 0.0 { (t * mixed(i)).min(1.0) } else { (rows as f64 / m as f64).min(1.0) };
            if uniform.uniform(i as u64) < p {
                picked.push((i, p.recip()));
            }
        }
        Self { picked }
    }
    /// The drawn rows of D^1/2 A, scaled (row after row), and of b.
    ///
    /// # Errors
    /// Rows cannot be read.
    pub fn gather(
        &self,
        a: &TallMatrix,
        weights: Option<&[f64]>,
        b: Option<&[f64]>,
    ) -> Result<(Vec<f64>, Vec<f64>), Error> {
        let n = a.columns();
        // One row at least, so that the factor exists.
        let mut out = vec![0.0; n * self.picked.len().max(1)];
        let mut side = vec![0.0; if b.is_some() { self.picked.len().max(1) } else { 0 }];
        let mut buffer = vec![];
        for (k, (i, factor)) in self.picked.iter().enumerate() {
            let root = (factor * weights.map_or(1.0, |d| d[*i])).sqrt();
            a.block(*i..i + 1, &mut buffer)?.add_row(0, root, &mut out[k * n..(k + 1) * n]);
            if let Some(b) = b {
                side[k] = factor.sqrt() * b[*i];
            }
        }
        Ok((out, side))
    }
    /// The rows with their factors times d.
    pub fn weighted(&self, d: &[f64]) -> Vec<(usize, f64)> {
        self.picked.iter().map(|(i, f)| (*i, f * d[*i])).collect()
    }
}

/// t with sum_i min(1, t s_i) = rows, to a thousandth.
fn multiple(m: usize, rows: usize, score: &dyn Fn(usize) -> f64) -> f64 {
    let total: f64 = (0..m).map(score).sum();
    if rows >= m {
        return f64::MAX;
    }
    if total <= 0.0 || total.is_nan() {
        return 0.0;
    }
    let mut t = rows as f64 / total;
    for _ in 0..20 {
        // Rows that are sure no longer share in the rest.
        let (mut sure, mut rest) = (0usize, 0.0);
        for i in 0..m {
            if t * score(i) >= 1.0 { sure += 1 } else { rest += score(i) }
        }
        if sure >= rows || rest <= 0.0 || rest.is_nan() {
            break;
        }
        let next = (rows - sure) as f64 / rest;
        let done = (next - t).abs() <= 1e-3 * t;
        t = next;
        if done {
            break;
        }
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_rows_have_score_one_and_are_always_drawn() {
        let (m, n) = (4000, 12);
        let c = Counter::new(2, 0);
        let mut values: Vec<f64> = (0..(m * n) as u64).map(|k| c.normal(k)).collect();
        for r in [5, 3999] {
            values[r * n..(r + 1) * n].iter_mut().for_each(|v| *v *= 1e4);
        }
        let a = TallMatrix::dense(m, n, values).unwrap();
        let mut gram = vec![0.0; n * n];
        a.gram(None, &mut gram).unwrap();
        let factor = Factor::of_gram(n, &gram).unwrap();
        let scores = LeverageScores::approximate(&a, &factor, 1).unwrap();
        let sum: f64 = scores.scores().iter().sum();
        // The sum of the leverage scores is the rank, within the spread of eight probes.
        assert!(sum > 0.5 * n as f64 && sum < 2.0 * n as f64, "{sum}");
        let sample = RowSample::draw(&scores, None, 300, 9);
        for r in [5, 3999] {
            assert!(sample.picked.contains(&(r, 1.0)), "{r}");
        }
        assert!((sample.picked.len() as f64 - 300.0).abs() < 80.0, "{}", sample.picked.len());
        let total: f64 = sample.picked.iter().map(|p| p.1).sum();
        assert!((total / m as f64 - 1.0).abs() < 0.3, "{total}");
        assert_eq!(RowSample::draw(&scores, None, m, 0).picked.len(), m);
        assert_eq!(RowSample::draw(&LeverageScores { scores: vec![0.0; 9] }, None, 9, 0).picked.len(), 9);
    }
}
