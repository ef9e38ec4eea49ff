//! Digits: the three splits, the batch at hand, and a linear classifier.

use std::path::Path;

use super::config::Config;
use super::data::{Images, PIXELS};
use super::error::TrainError;
use super::recipe::{at_least, kept};
use super::task::Split;
use crate::diff::{At, BarsMut, Kept, Map};
use crate::linalg::Scalar;
use crate::nn::{Mlp, softmax_cross_entropy};

/// Where digits come from, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits<'a> {
    pub folder: Option<&'a str>,
    pub train_files: &'a str,
    pub test_files: &'a str,
    pub train: usize,
    pub validation: usize,
    pub test: usize,
}

impl Digits<'_> {
    pub fn check(&self, run: &Config) -> Result<(), TrainError> {
        kept(self.validation, self.train)?;
        at_least(&[("train", self.train, 1), ("test", self.test, 1)])?;
        // Beyond, the end could come before the start.
        if run.solver.steer >= 1.0 {
            let what = format!("solver.steer is {}, it must be below 1 here", run.solver.steer);
            return Err(TrainError::config(what));
        }
        Ok(())
    }
    /// Of the images.
    pub fn bytes(&self) -> f64 {
        (self.train as f64 + self.test as f64) * (PIXELS as f64 + 1.0)
    }
}

/// Images of the splits, and pixels in [0, 1] and labels of the batch at hand.
#[derive(Debug)]
pub(super) struct DigitData<T> {
    splits: [Images; 3],
    pub x: Vec<T>,
    pub labels: Vec<usize>,
}

impl<T: Scalar> DigitData<T> {
    /// Reads or generates them; a relative folder starts at `base`.
    pub fn new(digits: &Digits<'_>, base: &Path) -> Result<Self, TrainError> {
        Ok(Self { splits: images(digits, base)?, x: vec![], labels: vec![] })
    }
    pub fn pixels(&self) -> usize {
        self.splits[0].pixels
    }
    pub fn len(&self, split: Split) -> usize {
        self.splits[split.index()].len()
    }
    /// These samples become the batch.
    pub fn load(&mut self, split: Split, samples: impl Iterator<Item = usize>) {
        let images = &self.splits[split.index()];
        self.x.clear();
        self.labels.clear();
        let scale = T::of(1.0 / 255.0);
        for s in samples {
            let pixels = &images.data[s * images.pixels..][..images.pixels];
            self.x.extend(pixels.iter().map(|v| scale * T::of(*v as f64)));
            self.labels.push(images.labels[s] as usize);
        }
    }
}

/// Training, validation and test images; a relative folder starts at `base`.
fn images(d: &Digits<'_>, base: &Path) -> Result<[Images; 3], TrainError> {
    // Generated data are the same for every seed of the run.
    let (all, tests) = match d.folder {
        None => (Images::generated(d.train, 0, 0), Images::generated(d.test, d.train as u64, 0)),
        Some(folder) => {
            let folder = base.join(folder);
            let all = Images::read(&folder, d.train_files)?;
            let tests = if d.train_files == d.test_files {
                all.part(d.train, d.test, "test")?
            } else {
                Images::read(&folder, d.test_files)?.part(0, d.test, "test")?
            };
            (all.part(0, d.train, "training")?, tests)
        }
    };
    if tests.pixels != all.pixels {
        let what = format!("training images have {} pixels, test images {}", all.pixels, tests.pixels);
        return Err(TrainError::config(what));
    }
    let kept = d.train - d.validation;
    Ok([all.part(0, kept, "training")?, all.part(kept, d.validation, "validation")?, tests])
}

/// `share` x the sum of cross entropies of logits linear in y, and the number of right answers. With bars, the derivatives with respect to y and the
/// classifier's parameters are ADDED.
pub(super) fn classify<T: Scalar>(
    head: &mut Mlp<T>,
    y: &[T],
    p: &[T],
    labels: &[usize],
    share: f64,
    bars: Option<(&mut [T], &mut [T])>,
) -> (f64, usize) {
    let mut z = vec![T::ZERO; 10 * labels.len()];
    head.forward(At::new(T::ZERO, y, p), &mut z, &mut []);
    let Some((y_bar, p_bar)) = bars else { return softmax_cross_entropy(&z, labels, share, None) };
    let mut z_bar = vec![T::ZERO; z.len()];
    let found = softmax_cross_entropy(&z, labels, share, Some(&mut z_bar));
    head.vjp(At::new(T::ZERO, y, p), Kept { y: &z, keep: &[] }, &z_bar, BarsMut::new(y_bar, p_bar));
    found
}
