//! The Hessian A'DA of the data term: exact, from a sample of the rows, or from a sketch.
//!
//! Sub-sampled Newton (Roosta-Khorasani and Mahoney, Math. Prog. 174, 2019) with rows drawn by leverage (Xu, Yang, Roosta-Khorasani, Re, Mahoney, NeurIPS 2016), and
//! the Newton sketch (Pilanci and Wainwright, SIAM J. Optim. 27, 2017). Gradients are always exact: the sketch has no part in what is a solution.

use std::fmt;
use std::str::FromStr;

use super::data_term::DataTerm;
use crate::error::Error;
use crate::randomized::{Factor, LeverageScores, RowSample, SketchKind, TallMatrix, sketch};

/// Where the Hessian comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HessianModel {
    /// Exact where that costs no more than a few passes over the rows, else [`SketchKind::LeverageRows`].
    #[default]
    Auto,
    /// A'DA.
    Exact,
    /// (S D^1/2 A)' (S D^1/2 A).
    Sketched(SketchKind),
}

impl fmt::Display for HessianModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Exact => f.write_str("exact"),
            Self::Sketched(kind) => kind.fmt(f),
        }
    }
}

impl FromStr for HessianModel {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" => Ok(Self::Auto),
            "exact" => Ok(Self::Exact),
            _ => name.parse().map(Self::Sketched).map_err(|e: String| {
                format!("{}, auto, exact", e.replace("unknown sketch", "unknown Hessian model"))
            }),
        }
    }
}

impl HessianModel {
    /// The model that `Auto` stands for, and why.
    pub fn choose(self, matrix: &TallMatrix) -> (Self, &'static str) {
        if self != Self::Auto {
            return (self, "asked for");
        }
        let (m, n) = (matrix.rows() as f64, matrix.columns() as f64);
        // Multiplications of the exact Hessian: a row of k entries has k^2 / 2.
        let row = matrix.entries() as f64 / m;
        if m * row * row < 5e9 {
            (Self::Exact, "the exact Hessian is cheap")
        } else if m < 20.0 * n {
            (Self::Exact, "too few rows for a sketch")
        } else {
            (Self::Sketched(SketchKind::LeverageRows), "many rows: a Hessian of rows drawn by leverage")
        }
    }
}

/// Makes the Hessians of successive points.
#[derive(Debug)]
pub struct HessianMaker {
    model: HessianModel,
    rows: usize,
    seed: u64,
    draws: u64,
    /// Scores of the unweighted rows with respect to a recent Hessian, and the curvatures of that time.
    scores: Option<(LeverageScores, Vec<f64>)>,
}

/// Relative change of the curvatures, in the mean, from which the scores are computed anew.
const STALE: f64 = 0.5;

impl HessianMaker {
    /// `rows`: of a sketch; none: 40 a column.
    pub fn new(model: HessianModel, rows: Option<usize>, seed: u64, matrix: &TallMatrix) -> Self {
        let (model, _) = model.choose(matrix);
        let rows = rows.unwrap_or(40 * matrix.columns()).clamp(matrix.columns() + 1, matrix.rows().max(2));
        Self { model, rows, seed, draws: 0, scores: None }
    }
    /// The model, no longer `Auto`.
    pub fn model(&self) -> HessianModel {
        self.model
    }
    /// Rows of a sketch.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Draws twice as many rows from now on, all of them at most.
    pub fn refine(&mut self, matrix: &TallMatrix) {
        self.rows = (2 * self.rows).min(matrix.rows());
        self.scores = None;
    }
    /// The lower triangle of the Hessian of `term` at its last point, n x n column by column.
    ///
    /// # Errors
    /// Rows cannot be read, or a curvature is not finite.
    pub fn fill(&mut self, term: &mut DataTerm, hessian: &mut [f64]) -> Result<(), Error> {
        let matrix = term.rows().matrix.clone();
        let n = matrix.columns();
        self.draws += 1;
        match self.model {
            HessianModel::Exact | HessianModel::Auto => {
                matrix.gram(Some(term.curvature()), hessian)?;
                term.count_passes(1);
            }
            HessianModel::Sketched(SketchKind::UniformRows) => {
                let scores = LeverageScores::uniform(matrix.rows());
                let sample = RowSample::draw(&scores, None, self.rows, self.seed.wrapping_add(self.draws));
                matrix.gram_of_rows(&sample.weighted(term.curvature()), hessian)?;
            }
            HessianModel::Sketched(SketchKind::LeverageRows) => self.by_leverage(term, &matrix, hessian)?,
            HessianModel::Sketched(kind) => {
                let seed = self.seed.wrapping_add(self.draws);
                let s = sketch(&matrix, Some(term.curvature()), None, kind, self.rows, seed)?;
                hessian.copy_from_slice(&s.factor.gram());
                term.count_passes(1);
            }
        }
        debug_assert_eq!(hessian.len(), n * n);
        Ok(())
    }

    fn by_leverage(
        &mut self,
        term: &mut DataTerm,
        matrix: &TallMatrix,
        hessian: &mut [f64],
    ) -> Result<(), Error> {
        let n = matrix.columns();
        let stale = self.scores.as_ref().is_none_or(|(_, then)| {
            let change: f64 = then.iter().zip(term.curvature()).map(|(a, b)| (a - b).abs()).sum();
            change > STALE * then.iter().sum::<f64>()
        });
        if stale {
            let seed = self.seed.wrapping_add(1000 * self.draws);
            let rough = SketchKind::SparseSign(2);
            let rows = (4 * n).min(matrix.rows());
            let factor = match &self.scores {
                None => sketch(matrix, Some(term.curvature()), None, rough, rows, seed)?.factor,
                // The old scores still draw rows that are good enough for new scores.
                Some((scores, _)) => {
                    let sample = RowSample::draw(scores, Some(term.curvature()), self.rows, seed);
                    matrix.gram_of_rows(&sample.weighted(term.curvature()), hessian)?;
                    Factor::of_gram(n, hessian)?
                }
            };
            term.count_passes(if self.scores.is_some() { 1 } else { 3 });
            let scores = LeverageScores::approximate(matrix, &factor, seed)?;
            self.scores = Some((scores, term.curvature().to_vec()));
        }
        if let Some((scores, _)) = &self.scores {
            let seed = self.seed.wrapping_add(self.draws);
            let sample = RowSample::draw(scores, Some(term.curvature()), self.rows, seed);
            matrix.gram_of_rows(&sample.weighted(term.curvature()), hessian)?;
        }
        Ok(())
    }
}
