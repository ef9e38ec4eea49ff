//! Rows of data, and how they are divided.

use super::super::data::{Stream, generator};
use crate::linalg::Scalar;
use crate::train::error::TrainError;
use crate::train::task::Split;
use rand::RngExt;

/// Some rows, one after another: of each its inputs, its targets and its weight.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows<T> {
    /// inputs x rows.
    pub x: Vec<T>,
    /// targets x rows.
    pub y: Vec<T>,
    /// One a row, at least zero. Over the rows trained on their mean should be one.
    pub weight: Vec<f64>,
}

impl<T> Rows<T> {
    /// No rows; storage stays.
    pub fn clear(&mut self) {
        self.x.clear();
        self.y.clear();
        self.weight.clear();
    }
}

/// Where rows come from: memory ([`Memory`]), or files of a user's own.
pub trait Source<T: Scalar> {
    /// Numbers of one row's input and target.
    fn sizes(&self) -> (usize, usize);
    /// Rows of a split.
    fn len(&self, split: Split) -> usize;
    /// Whether a split has no rows.
    fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }
    /// ADDS these rows of a split, by their number within it, to `rows`.
    ///
    /// # Errors
    /// They cannot be read.
    fn load(&mut self, split: Split, which: &[usize], rows: &mut Rows<T>) -> Result<(), TrainError>;
}

/// Rows in memory.
#[derive(Debug, Clone)]
pub struct Memory<T> {
    inputs: usize,
    targets: usize,
    rows: Rows<T>,
    splits: [Vec<usize>; 3],
}

impl<T: Scalar> Memory<T> {
    /// All rows to be trained on, weight one each. `x` holds inputs x rows, `y` targets x rows.
    ///
    /// # Errors
    /// Lengths that do not fit, no rows, numbers that are not finite.
    pub fn new((inputs, targets): (usize, usize), x: Vec<T>, y: Vec<T>) -> Result<Self, TrainError> {
        let n = x.len().checked_div(inputs).unwrap_or(0);
        if n == 0 || x.len() != n * inputs || y.len() != n * targets {
            return Err(TrainError::config(format!(
                "{} inputs and {} targets are no whole number of rows of {inputs} and {targets}",
                x.len(),
                y.len()
            )));
        }
        if let Some(i) = x.iter().position(|v| !v.is_finite()) {
            let what = format!("input {} of row {} is {}", i % inputs, i / inputs, x[i].f64());
            return Err(TrainError::config(what));
        }
        if let Some(i) = y.iter().position(|v| !v.is_finite()) {
            let what = format!("target {} of row {} is {}", i % targets, i / targets, y[i].f64());
            return Err(TrainError::config(what));
        }
        let splits = [(0..n).collect(), vec![], vec![]];
        Ok(Self { inputs, targets, rows: Rows { x, y, weight: vec![1.0; n] }, splits })
    }
    /// With these rows trained on, for validation and for tests.
    ///
    /// # Errors
    /// No rows to train, or a row that is not there.
    pub fn with_splits(mut self, splits: [Vec<usize>; 3]) -> Result<Self, TrainError> {
        let n = self.rows.weight.len();
        if let Some(row) = splits.iter().flatten().find(|r| **r >= n) {
            return Err(TrainError::config(format!("a split has row {row}, there are {n} rows")));
        }
        if splits[0].is_empty() {
            return Err(TrainError::config(format!("of {n} rows none is left to train on")));
        }
        self.splits = splits;
        Ok(self)
    }
    /// With these weights of the rows, divided by their mean over those trained on.
    ///
    /// # Errors
    /// Another number of them, a negative one, or no positive one among the rows trained on.
    pub fn with_weights(mut self, weights: Vec<f64>) -> Result<Self, TrainError> {
        let n = self.rows.weight.len();
        if weights.len() != n || weights.iter().any(|w| !(*w >= 0.0 && w.is_finite())) {
            let what = format!("{} weights of {n} rows: one a row is needed, at least zero", weights.len());
            return Err(TrainError::config(what));
        }
        let train = &self.splits[0];
        let mean = train.iter().map(|r| weights[*r]).sum::<f64>() / train.len() as f64;
        if mean <= 0.0 {
            return Err(TrainError::config("the weights of all rows to train on are zero"));
        }
        self.rows.weight = weights.into_iter().map(|w| w / mean).collect();
        Ok(self)
    }
}

impl<T: Scalar> Source<T> for Memory<T> {
    fn sizes(&self) -> (usize, usize) {
        (self.inputs, self.targets)
    }
    fn len(&self, split: Split) -> usize {
        self.splits[split.index()].len()
    }
    fn load(&mut self, split: Split, which: &[usize], rows: &mut Rows<T>) -> Result<(), TrainError> {
        for &i in which {
            let r = self.splits[split.index()][i];
            rows.x.extend_from_slice(&self.rows.x[r * self.inputs..][..self.inputs]);
            rows.y.extend_from_slice(&self.rows.y[r * self.targets..][..self.targets]);
            rows.weight.push(self.rows.weight[r]);
        }
        Ok(())
    }
}

/// Rows in a random order; with classes, those of one class behind those of another: every k-th of it has the classes' shares.
fn order(n: usize, classes: Option<&[usize]>, seed: u64) -> Vec<usize> {
    let mut rng = generator(seed, Stream::Split, 0);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        order.swap(i, rng.random_range(0..=i));
    }
    if let Some(classes) = classes {
        order.sort_by_key(|r| classes[*r]);
    }
    order
}

/// Every so many of `from`, by share, evenly along it; both parts, the chosen ones second.
fn apart(from: &[usize], share: f64) -> (Vec<usize>, Vec<usize>) {
    let chosen = |i: usize| ((i + 1) as f64 * share).floor() > (i as f64 * share).floor();
    let (mut rest, mut out) = (vec![], vec![]);
    from.iter().enumerate().for_each(|(i, r)| if chosen(i) { out.push(*r) } else { rest.push(*r) });
    (rest, out)
}

/// n rows divided at random: shares for validation and test, the rest to train on. With classes every part has their shares. Ascending within a part.
pub fn split(
    n: usize,
    classes: Option<&[usize]>,
    (validation, test): (f64, f64),
    seed: u64,
) -> [Vec<usize>; 3] {
    let (rest, test) = apart(&order(n, classes, seed), test);
    finish(rest, test, n, validation)
}

/// As [`split`], with every k-th row, from the fold-th on, for tests.
pub fn fold(
    n: usize,
    classes: Option<&[usize]>,
    (fold, folds): (usize, usize),
    validation: f64,
    seed: u64,
) -> [Vec<usize>; 3] {
    let (mut rest, mut test) = (vec![], vec![]);
    for (i, r) in order(n, classes, seed).into_iter().enumerate() {
        if i % folds == fold { test.push(r) } else { rest.push(r) }
    }
    finish(rest, test, n, validation)
}

/// `validation` is a share of all n rows.
fn finish(rest: Vec<usize>, test: Vec<usize>, n: usize, validation: f64) -> [Vec<usize>; 3] {
    let (train, kept) = apart(&rest, (validation * n as f64 / rest.len().max(1) as f64).min(1.0));
    let mut splits = [train, kept, test];
    splits.iter_mut().for_each(|s| s.sort_unstable());
    splits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_disjoint_complete_and_balanced() {
        let n = 200;
        let classes: Vec<usize> = (0..n).map(|i| (i % 10 == 0) as usize).collect();
        let all = |s: &[Vec<usize>; 3]| {
            let mut all: Vec<usize> = s.concat();
            all.sort_unstable();
            assert_eq!(all, (0..n).collect::<Vec<_>>());
        };
        let s = split(n, Some(&classes), (0.1, 0.2), 3);
        all(&s);
        assert_eq!(s.each_ref().map(Vec::len), [140, 20, 40]);
        let rare = |s: &[usize]| s.iter().filter(|r| classes[**r] == 1).count();
        assert_eq!((rare(&s[1]), rare(&s[2])), (2, 4));
        assert_eq!(s, split(n, Some(&classes), (0.1, 0.2), 3));
        assert_ne!(s, split(n, Some(&classes), (0.1, 0.2), 4));
        let folds: Vec<_> = (0..5).map(|k| fold(n, None, (k, 5), 0.1, 3)).collect();
        folds.iter().for_each(all);
        let mut tests: Vec<usize> = folds.iter().flat_map(|f| f[2].clone()).collect();
        tests.sort_unstable();
        assert_eq!(tests, (0..n).collect::<Vec<_>>());
    }

    #[test]
    fn weights_have_mean_one_where_trained() {
        let m = Memory::new((1, 1), vec![0.0; 4], vec![0.0; 4]).unwrap();
        let m = m.with_splits([vec![0, 1], vec![2], vec![3]]).unwrap();
        let mut m = m.with_weights(vec![1.0, 3.0, 4.0, 0.0]).unwrap();
        let mut rows = Rows::default();
        m.load(Split::Train, &[1, 0], &mut rows).unwrap();
        m.load(Split::Validation, &[0], &mut rows).unwrap();
        assert_eq!(rows.weight, [1.5, 0.5, 2.0]);
        assert!(m.clone().with_weights(vec![0.0, 0.0, 1.0, 1.0]).is_err());
        assert!(
            m.clone().with_weights(vec![1.0; 3]).is_err()
                && m.with_splits([vec![], vec![], vec![0]]).is_err()
        );
        assert!(Memory::new((2, 1), vec![0.0; 3], vec![0.0; 1]).is_err());
        let error = Memory::new((2, 1), vec![0.0, 1.0, 2.0, f64::NAN], vec![0.0; 2]).unwrap_err();
        assert_eq!(error.to_string(), "input 1 of row 1 is NaN");
    }
}
