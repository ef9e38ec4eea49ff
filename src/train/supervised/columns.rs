//! Losses of the columns of a table: predictions and scores in the columns' own units.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::objective::{LossKind, Objective, StandardLoss, top};
use super::predictor::{Predictions, Values};
use super::scores::{area_under_curve, of_numbers};
use super::source::Rows;
use crate::data::{Scale, Targets};
use crate::linalg::Scalar;
use crate::train::error::TrainError;
use crate::train::task::{Confusion, Curve, Evaluation, Plot};

/// A [`StandardLoss`] of a table's targets. Scores: R2, RMSE and MAE of numbers, each column for itself and their means; of classes the area under the ROC curve (one class against the
/// rest, and the mean over the classes), balanced accuracy and the confusion matrix. They count all rows alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnLoss {
    loss: StandardLoss,
    targets: Targets,
}

impl ColumnLoss {
    /// For these targets.
    ///
    /// # Errors
    /// A loss of numbers for classes, or the other way.
    pub fn new(loss: StandardLoss, targets: Targets) -> Result<Self, TrainError> {
        let fits = match &targets {
            Targets::Numbers(all) => {
                loss.kind() != LossKind::CrossEntropy && loss.outputs().is_multiple_of(all.len().max(1))
            }
            Targets::Classes { names, .. } => {
                loss.kind() == LossKind::CrossEntropy && loss.outputs() == names.len()
            }
        };
        if fits {
            return Ok(Self { loss, targets });
        }
        let what = match &targets {
            Targets::Numbers(_) => "the target is numbers: loss cross_entropy needs classes (classes = true)",
            Targets::Classes { .. } => "the target is classes: their loss is cross_entropy",
        };
        Err(TrainError::config(what))
    }
    /// The loss.
    pub fn standard(&self) -> &StandardLoss {
        &self.loss
    }
    /// The names of the classes.
    pub fn classes(&self) -> Option<(&str, &[String])> {
        match &self.targets {
            Targets::Classes { name, names } => Some((name, names)),
            Targets::Numbers(_) => None,
        }
    }

    /// Of target i, in its own units, one number a row: the mean, the rate, or the quantile nearest to the median.
    fn central<T: Scalar>(&self, z: &[T], i: usize, of: &Scale) -> Vec<f64> {
        let (m, k) = (self.loss.outputs(), self.loss.targets());
        let level = match self.loss.kind() {
            LossKind::Quantile => {
                let far = |q: &f64| (q - 0.5).abs();
                let all = self.loss.quantiles().iter().enumerate();
                all.min_by(|a, b| far(a.1).total_cmp(&far(b.1))).map_or(0, |(l, _)| l)
            }
            _ => 0,
        };
        z.chunks_exact(m).map(|z| self.unit(z[level * k + i].f64(), of)).collect()
    }
    /// A number that the model gives, in the column's unit.
    fn unit(&self, z: f64, of: &Scale) -> f64 {
        let z = if self.loss.kind() == LossKind::Poisson { z.exp() } else { z };
        of.mean + of.scale * z
    }
    /// Predictions by name.
    pub fn predictions<T: Scalar>(&self, z: &[T]) -> Predictions {
        let m = self.loss.outputs();
        let mut columns = vec![];
        match &self.targets {
            Targets::Classes { name, names } => {
                let probabilities: Vec<Vec<f64>> = z.chunks_exact(m).map(softmax).collect();
                let label = |z: &[T]| top(z).map_or("NaN".into(), |c| names[c].clone());
                columns.push((name.clone(), Values::Texts(z.chunks_exact(m).map(label).collect())));
                for (c, class) in names.iter().enumerate() {
                    let of = probabilities.iter().map(|p| p[c]).collect();
                    columns.push((format!("{name}={class}"), Values::Numbers(of)));
                }
            }
            Targets::Numbers(all) => {
                let k = all.len();
                for (i, s) in all.iter().enumerate() {
                    if self.loss.kind() == LossKind::Quantile {
                        for (l, q) in self.loss.quantiles().iter().enumerate() {
                            let of = z.chunks_exact(m).map(|z| self.unit(z[l * k + i].f64(), s)).collect();
                            columns.push((format!("{} q{q}", s.name), Values::Numbers(of)));
                        }
                        continue;
                    }
                    columns.push((s.name.clone(), Values::Numbers(self.central(z, i, s))));
                    if self.loss.kind() == LossKind::Gaussian {
                        let of = z.chunks_exact(m).map(|z| s.scale * (0.5 * z[k + i].f64()).exp()).collect();
                        columns.push((format!("{} deviation", s.name), Values::Numbers(of)));
                    }
                }
            }
        }
        Predictions { columns }
    }
}

fn softmax<T: Scalar>(z: &[T]) -> Vec<f64> {
    let top = z.iter().fold(f64::NEG_INFINITY, |a, b| a.max(b.f64()));
    let e: Vec<f64> = z.iter().map(|v| (v.f64() - top).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|v| v / sum).collect()
}

/// Number i of every row, in the column's unit.
fn truth<T: Scalar>(of: &Rows<T>, i: usize, k: usize, s: &Scale) -> Vec<f64> {
    of.y.chunks_exact(k).map(|y| s.mean + s.scale * y[i].f64()).collect()
}

impl<T: Scalar> Objective<T> for ColumnLoss {
    fn loss(&mut self, z: &[T], of: &Rows<T>, share: f64, z_bar: Option<&mut [T]>) -> f64 {
        self.loss.loss(z, of, share, z_bar)
    }
    fn residuals(&self, z: &[T], of: &Rows<T>, r: &mut Vec<f64>, w: &mut Vec<T>) -> bool {
        self.loss.residuals(z, of, r, w)
    }
    fn right(&self, z: &[T], of: &Rows<T>) -> Option<usize> {
        self.loss.right(z, of)
    }
    fn scores(&self, z: &[T], of: &Rows<T>, found: &mut Evaluation) {
        match &self.targets {
            Targets::Classes { names, .. } => class_scores(names, z, of, found),
            Targets::Numbers(all) => {
                let mut sums = BTreeMap::<&str, (f64, usize)>::new();
                for (i, s) in all.iter().enumerate() {
                    let (r2, rmse, mae) = of_numbers(&self.central(z, i, s), &truth(of, i, all.len(), s));
                    for (name, value) in [("r2", r2), ("rmse", Some(rmse)), ("mae", Some(mae))] {
                        let Some(value) = value else { continue };
                        let sum = sums.entry(name).or_default();
                        *sum = (sum.0 + value, sum.1 + 1);
                        if all.len() > 1 {
                            found.metrics.insert(format!("{name} {}", s.name), value);
                        }
                    }
                }
                sums.into_iter().for_each(|(name, (sum, n))| {
                    found.metrics.insert(name.into(), sum / n as f64);
                });
            }
        }
    }
    fn pictures(&self, z: &[T], of: &Rows<T>) -> Vec<Plot> {
        let Targets::Numbers(all) = &self.targets else { return vec![] };
        let picture = |(i, s): (usize, &Scale)| {
            let points: Vec<(f64, f64)> =
                truth(of, i, all.len(), s).into_iter().zip(self.central(z, i, s)).collect();
            let ends =
                points.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |e, p| (e.0.min(p.0), e.1.max(p.0)));
            let line = Curve {
                name: "equal".into(),
                points: vec![(ends.0, ends.0), (ends.1, ends.1)],
                joined: true,
            };
            let name = if all.len() == 1 { "predicted".into() } else { format!("predicted-{}", i + 1) };
            let axes = (format!("{}, true", s.name), format!("{}, predicted", s.name));
            Plot { name, axes, curves: vec![line, Curve { name: "rows".into(), points, joined: false }] }
        };
        all.iter().enumerate().map(picture).collect()
    }
}

fn class_scores<T: Scalar>(names: &[String], z: &[T], of: &Rows<T>, found: &mut Evaluation) {
    let k = names.len();
    let labels: Vec<usize> = of.y.iter().map(|y| y.f64() as usize).collect();
    let mut counts = vec![vec![0u64; k]; k];
    for (z, label) in z.chunks_exact(k).zip(&labels) {
        if let Some(c) = top(z) {
            counts[*label][c] += 1;
        }
    }
    let recalls: Vec<f64> = counts
        .iter()
        .enumerate()
        .map(|(c, row)| (row[c], labels.iter().filter(|l| **l == c).count()))
        .filter(|(_, n)| *n > 0)
        .map(|(right, n)| right as f64 / n as f64)
        .collect();
    found
        .metrics
        .insert("balanced accuracy".into(), recalls.iter().sum::<f64>() / recalls.len().max(1) as f64);
    let probabilities: Vec<Vec<f64>> = z.chunks_exact(k).map(softmax).collect();
    let area = |c: usize| {
        let scores: Vec<f64> = if k == 2 {
            // The difference of logits has no rounding to 1.
            z.chunks_exact(2).map(|z| z[c].f64() - z[1 - c].f64()).collect()
        } else {
            probabilities.iter().map(|p| p[c]).collect()
        };
        area_under_curve(&scores, &labels.iter().map(|l| *l == c).collect::<Vec<_>>())
    };
    let areas: Vec<Option<f64>> = (0..k).map(area).collect();
    let known: Vec<f64> = areas.iter().flatten().copied().collect();
    if !known.is_empty() {
        found.metrics.insert("auc".into(), known.iter().sum::<f64>() / known.len() as f64);
    }
    // With many classes the mean alone.
    if (3..=20).contains(&k) {
        for (name, area) in names.iter().zip(&areas) {
            area.map(|a| found.metrics.insert(format!("auc {name}"), a));
        }
    }
    found.confusion = Some(Confusion { names: names.to_vec(), counts });
}
