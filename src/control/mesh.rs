//! Meshes: where a phase is divided.

use crate::Error;

/// Fractions of a phase, from 0 to 1, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    points: Vec<f64>,
}

impl Mesh {
    /// Intervals of equal length; at least one.
    pub fn uniform(intervals: usize) -> Self {
        let n = intervals.max(1);
        Self { points: (0..=n).map(|k| k as f64 / n as f64).collect() }
    }
    /// From fractions.
    ///
    /// # Errors
    /// [`Error::Option`] if they do not ascend from 0 to 1.
    pub fn new(points: Vec<f64>) -> Result<Self, Error> {
        let ends = points.first() == Some(&0.0) && points.last() == Some(&1.0);
        if !ends || points.windows(2).any(|w| w[0].partial_cmp(&w[1]) != Some(std::cmp::Ordering::Less)) {
            let what = "its points do not ascend from 0 to 1".into();
            return Err(Error::Option { option: "mesh".into(), what });
        }
        Ok(Self { points })
    }
    /// Its points, one more than intervals.
    pub fn points(&self) -> &[f64] {
        &self.points
    }
    /// Number of intervals.
    pub fn intervals(&self) -> usize {
        self.points.len() - 1
    }
    /// The interval that contains a fraction, and the place in it from 0 to 1.
    pub(super) fn locate(&self, fraction: f64) -> (usize, f64) {
        let n = self.intervals();
        let k = self.points[1..n].partition_point(|p| *p <= fraction);
        let (a, b) = (self.points[k], self.points[k + 1]);
        (k, ((fraction - a) / (b - a)).clamp(0.0, 1.0))
    }
    /// Interval k cut into `pieces[k]` equal pieces.
    pub(super) fn divided(&self, pieces: &[usize]) -> Self {
        let mut points = vec![0.0];
        for (w, &n) in self.points.windows(2).zip(pieces) {
            points.extend((1..n).map(|i| w[0] + (w[1] - w[0]) * i as f64 / n as f64));
            points.push(w[1]);
        }
        Self { points }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let mesh = Mesh::new(vec![0.0, 0.25, 1.0]).unwrap();
        assert_eq!(mesh.locate(0.0), (0, 0.0));
        assert_eq!(mesh.locate(0.25), (1, 0.0));
        assert_eq!(mesh.locate(1.0), (1, 1.0));
        assert_eq!(mesh.divided(&[1, 3]).points(), &[0.0, 0.25, 0.5, 0.75, 1.0]);
        assert!(Mesh::new(vec![0.0, 0.5, 0.5, 1.0]).is_err() && Mesh::new(vec![]).is_err());
    }
}
