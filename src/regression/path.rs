//! Many penalties, and which of them predicts best.

use super::data_term::{DataTerm, Rows};
use super::families::Family;
use super::lasso::{LassoOptions, LassoReport, lasso};
use crate::error::Error;

/// A path over the L1 penalty, each solve from the solution before.
#[derive(Debug, Clone)]
pub struct PathOptions {
    /// Number of penalties.
    pub values: usize,
    /// Last penalty divided by the first, which is the least one that leaves no penalized coefficient.
    pub ratio: f64,
    /// Of each solve.
    pub lasso: LassoOptions,
}

impl Default for PathOptions {
    fn default() -> Self {
        Self { values: 50, ratio: 1e-3, lasso: LassoOptions::default() }
    }
}

/// One penalty.
#[derive(Debug, Clone)]
pub struct PathPoint {
    /// The L1 penalty.
    pub penalty: f64,
    /// Its solution.
    pub report: LassoReport,
}

/// Losses of rows kept aside.
#[derive(Debug, Clone)]
pub struct CrossValidation {
    /// The path of all rows.
    pub points: Vec<PathPoint>,
    /// Mean loss of the rows kept aside, for each penalty.
    pub loss: Vec<f64>,
    /// Standard error of that mean over the folds.
    pub error: Vec<f64>,
    /// Index of the least loss.
    pub best: usize,
    /// Index of the largest penalty whose loss is within one standard error of the least.
    pub sparsest: usize,
}

/// The least L1 penalty that leaves no penalized coefficient (`penalized[j]`), and the solution there.
///
/// # Errors
/// Rows cannot be read.
pub fn largest_penalty(
    term: &mut DataTerm,
    l2: &[f64],
    penalized: &[bool],
    options: &LassoOptions,
) -> Result<(f64, Vec<f64>), Error> {
    let n = penalized.len();
    let mut w = vec![0.0; n];
    if penalized.iter().any(|p| !p) {
        // Larger than any slope that is met on the way.
        let l1: Vec<f64> = penalized.iter().map(|p| if *p { 1e100 } else { 0.0 }).collect();
        w = lasso(term, (l2, &l1), &w, options)?.w;
    }
    term.evaluate(&w)?;
    let slopes = term.gradient().iter().zip(penalized).filter(|(_, p)| **p).map(|(g, _)| g.abs());
    Ok((slopes.fold(0.0, f64::max), w))
}

fn check(options: &PathOptions) -> Result<(), Error> {
    if options.values < 2 || !(options.ratio > 0.0 && options.ratio < 1.0) {
        let what = format!(
            "{} values with ratio {}: expected at least 2, and a ratio between 0 and 1",
            options.values, options.ratio
        );
        return Err(Error::Option { option: "path".into(), what });
    }
    Ok(())
}

/// The solutions for penalties that fall geometrically.
///
/// # Errors
/// Options out of range, or rows that cannot be read.
pub fn path(
    term: &mut DataTerm,
    l2: &[f64],
    penalized: &[bool],
    options: &PathOptions,
) -> Result<Vec<PathPoint>, Error> {
    check(options)?;
    let (largest, w) = largest_penalty(term, l2, penalized, &options.lasso)?;
    let last = (options.values - 1) as f64;
    let penalties: Vec<f64> =
        (0..options.values).map(|k| largest * options.ratio.powf(k as f64 / last)).collect();
    along(term, (l2, penalized), &penalties, w, &options.lasso)
}

fn along(
    term: &mut DataTerm,
    (l2, penalized): (&[f64], &[bool]),
    penalties: &[f64],
    mut w: Vec<f64>,
    options: &LassoOptions,
) -> Result<Vec<PathPoint>, Error> {
    let mut points = Vec::with_capacity(penalties.len());
    for &penalty in penalties {
        let l1: Vec<f64> = penalized.iter().map(|p| if *p { penalty } else { 0.0 }).collect();
        let report = lasso(term, (l2, &l1), &w, options)?;
        w.clone_from(&report.w);
        points.push(PathPoint { penalty, report });
    }
    Ok(points)
}

/// The path of all rows, and of the rows without each of the folds in turn. Row i is in fold (its place in a seeded order) mod `folds`; rows of other folds have weight
/// zero, so that nothing is copied.
///
/// # Errors
/// Fewer than 2 folds or more than rows, options out of range, or rows that cannot be read.
pub fn cross_validate(
    (family, rows): (Family, &Rows),
    l2: &[f64],
    penalized: &[bool],
    folds: usize,
    options: &PathOptions,
) -> Result<CrossValidation, Error> {
    let m = rows.matrix.rows();
    if folds < 2 || folds > m {
        let what = format!("found {folds}, expected 2 to {m}, the number of rows");
        return Err(Error::Option { option: "folds".into(), what });
    }
    let mut term = DataTerm::new(family, rows.clone());
    let points = path(&mut term, l2, penalized, options)?;
    let penalties: Vec<f64> = points.iter().map(|p| p.penalty).collect();
    let fold = crate::randomized::random_folds(m, folds, options.lasso.seed);
    let mut losses = vec![vec![]; penalties.len()];
    for k in 0..folds {
        let split = |kept: bool| -> Vec<f64> {
            (0..m).map(|i| if (fold[i] == k) == kept { rows.weights[i] } else { 0.0 }).collect()
        };
        let mut aside = split(true);
        let sum: f64 = aside.iter().sum();
        aside.iter_mut().for_each(|v| *v /= sum);
        let mut term = DataTerm::new(family, rows.weighted(&split(false))?);
        let (_, w) = largest_penalty(&mut term, l2, penalized, &options.lasso)?;
        let fold_points = along(&mut term, (l2, penalized), &penalties, w, &options.lasso)?;
        for (losses, point) in losses.iter_mut().zip(&fold_points) {
            losses.push(term.loss(&point.report.w, &aside)?);
        }
    }
    let count = folds as f64;
    let loss: Vec<f64> = losses.iter().map(|l| l.iter().sum::<f64>() / count).collect();
    let error: Vec<f64> = losses
        .iter()
        .zip(&loss)
        .map(|(l, mean)| (l.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0) / count).sqrt())
        .collect();
    let best = (0..loss.len()).min_by(|a, b| loss[*a].total_cmp(&loss[*b])).unwrap_or(0);
    let sparsest = (0..=best).find(|k| loss[*k] <= loss[best] + error[best]).unwrap_or(best);
    Ok(CrossValidation { points, loss, error, best, sparsest })
}
