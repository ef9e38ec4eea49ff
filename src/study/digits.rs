//! Digits of 14 x 14 pixels in [0, 1], by means of 2 x 2 pixels: those of a folder of IDX files, or generated ones.

use std::path::Path;

use super::StudyError;
use crate::train::data::{Images, PIXELS};

/// Numbers of an image.
pub const INPUTS: usize = PIXELS / 4;
/// Digits.
pub const CLASSES: usize = crate::train::data::CLASSES;

/// Images one after another, and labels.
#[derive(Debug, Clone, Default)]
pub struct Digits {
    pub x: Vec<f64>,
    pub labels: Vec<usize>,
    /// No files: they were drawn by the library.
    pub generated: bool,
}

impl Digits {
    /// The first `count` of t10k-* in the folder, generated ones without it.
    pub fn read(folder: Option<&Path>, count: usize) -> Result<Self, StudyError> {
        let input = |e: crate::train::TrainError| StudyError::Input(e.to_string());
        let has =
            |f: &&Path| ["", ".gz"].iter().any(|end| f.join(format!("t10k-images-idx3-ubyte{end}")).exists());
        let images = match folder.filter(has) {
            Some(folder) => {
                Images::read(folder, "t10k").and_then(|i| i.part(0, count, "study")).map_err(input)?
            }
            None => Images::generated(count, 0, 0),
        };
        if images.pixels != PIXELS {
            return Err(StudyError::Input(format!(
                "digits have {} pixels, expected {PIXELS}",
                images.pixels
            )));
        }
        let mut x = Vec::with_capacity(count * INPUTS);
        for image in images.data.chunks_exact(PIXELS) {
            for (row, column) in (0..14).flat_map(|r| (0..14).map(move |c| (r, c))) {
                let at = |dr: usize, dc: usize| f64::from(image[(2 * row + dr) * 28 + 2 * column + dc]);
                x.push((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / (4.0 * 255.0));
            }
        }
        let labels = images.labels.iter().map(|l| *l as usize).collect();
        Ok(Self { x, labels, generated: folder.filter(has).is_none() })
    }
    /// What to say of them in a report.
    pub fn note(&self) -> &'static str {
        if self.generated {
            "digits drawn by the library; real ones (the IDX files t10k-*) with --data FOLDER"
        } else {
            "the first test digits of MNIST, 14 x 14 by means of 2 x 2"
        }
    }
    /// Images of some samples, one after another.
    pub fn rows(&self, which: impl Iterator<Item = usize>) -> Vec<f64> {
        which.flat_map(|i| self.x[i * INPUTS..][..INPUTS].iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_of_four_pixels() {
        let d = Digits::read(None, 3).unwrap();
        let images = Images::generated(3, 0, 0);
        assert_eq!((d.x.len(), d.labels.len(), d.generated), (3 * INPUTS, 3, true));
        let all: f64 = images.data.iter().map(|p| f64::from(*p)).sum::<f64>() / (4.0 * 255.0);
        assert!((d.x.iter().sum::<f64>() - all).abs() < 1e-9);
        let p = |i: usize| f64::from(images.data[PIXELS + i]);
        assert!((d.x[INPUTS + 15] - (p(58) + p(59) + p(86) + p(87)) / 1020.0).abs() < 1e-15);
        assert_eq!(d.rows([1].into_iter()), d.x[INPUTS..2 * INPUTS]);
    }
}
