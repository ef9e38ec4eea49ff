//! Digits of 14 x 14 pixels: those of a folder of IDX files, or generated ones.

use std::path::Path;

use super::{Run, StudyError};
use crate::train::data::Images;

/// Pixels of a side.
const SIDE: usize = 14;
/// Numbers of an image.
pub const INPUTS: usize = SIDE * SIDE;
/// Digits.
pub const CLASSES: usize = crate::train::data::CLASSES;

/// Digits of 14 x 14 pixels in [0, 1], by means of 2 x 2.
pub struct Digits {
    pub x: Vec<f64>,
    pub labels: Vec<u8>,
    /// Where they are from.
    pub note: String,
}

impl Digits {
    /// So many of `t10k-images-idx3-ubyte` in the folder of the data, or generated ones.
    pub fn new(run: &Run<'_>, count: usize) -> Result<Self, StudyError> {
        Self::read(run.options.data.as_deref(), count)
    }
    /// As [`new`](Self::new).
    pub fn read(folder: Option<&Path>, count: usize) -> Result<Self, StudyError> {
        let (images, note) = match folder {
            Some(folder) => {
                let all = Images::read(folder, "t10k").and_then(|all| all.part(0, count, "t10k"));
                let all = all.map_err(|e| {
                    StudyError::Input(format!(
                        "{e}; --data takes the folder of t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"
                    ))
                })?;
                (all, format!("{count} digits of {}", folder.display()))
            }
            None => (
                Images::generated(count, 0, 0),
                format!(
                    "{count} generated digits: no --data with t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"
                ),
            ),
        };
        if images.pixels != 4 * INPUTS {
            let what = format!("images have {} pixels, expected {}", images.pixels, 4 * INPUTS);
            return Err(StudyError::Input(what));
        }
        let mut x = Vec::with_capacity(count * INPUTS);
        for image in images.data.chunks_exact(images.pixels) {
            for i in 0..INPUTS {
                let corner = 2 * (i / SIDE) * 2 * SIDE + 2 * (i % SIDE);
                let sum: u32 = [0, 1, 2 * SIDE, 2 * SIDE + 1].iter().map(|k| image[corner + k] as u32).sum();
                x.push(sum as f64 / (4.0 * 255.0));
            }
        }
        Ok(Self { x, labels: images.labels, note })
    }
    /// The label of an image.
    pub fn label(&self, i: usize) -> usize {
        self.labels[i].into()
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
        assert_eq!((d.x.len(), d.labels.len()), (3 * INPUTS, 3));
        let all: f64 = images.data.iter().map(|p| f64::from(*p)).sum::<f64>() / (4.0 * 255.0);
        assert!((d.x.iter().sum::<f64>() - all).abs() < 1e-9);
        let p = |i: usize| f64::from(images.data[4 * INPUTS + i]);
        assert!((d.x[INPUTS + 15] - (p(58) + p(59) + p(86) + p(87)) / 1020.0).abs() < 1e-15);
        assert_eq!(d.rows([1].into_iter()), d.x[INPUTS..2 * INPUTS]);
    }
}
