//! Weighted votes of labeled samples.

use rayon::prelude::*;

use super::ClassifyError;

/// Labeled samples, and queries of the same number of entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples<'a> {
    /// Sample after sample, `inputs` numbers each.
    pub x: &'a [f64],
    /// Numbers of one sample.
    pub inputs: usize,
    /// One a sample.
    pub labels: &'a [usize],
}

impl Samples<'_> {
    /// Lengths that fit, numbers that are finite, at least one sample.
    pub fn check(&self) -> Result<(), ClassifyError> {
        let (n, inputs) = (self.labels.len(), self.inputs);
        if n == 0 || inputs == 0 {
            let what = format!("there are {n} samples of {inputs} numbers, at least one of each is needed");
            return Err(ClassifyError::data(what));
        }
        if let Some(l) = self.labels.iter().find(|l| **l >= MOST_LABELS) {
            let what = format!("a label is {l}, labels are numbers from 0 to {}", MOST_LABELS - 1);
            return Err(ClassifyError::data(what));
        }
        if self.x.len() != n * inputs {
            let found = self.x.len();
            let what = format!(
                "{n} labels and {inputs} numbers a sample need {} numbers, there are {found}",
                n * inputs
            );
            return Err(ClassifyError::data(what));
        }
        finite(self.x, inputs, "sample")
    }
    /// The label of every query whose logarithmic weights for all samples `weigh` gives.
    pub fn vote(
        &self,
        queries: &[f64],
        weigh: impl Fn(&[f64], &[f64]) -> f64 + Sync,
    ) -> Result<Vec<usize>, ClassifyError> {
        if !queries.len().is_multiple_of(self.inputs) {
            let (found, inputs) = (queries.len(), self.inputs);
            let what = format!(
                "the queries have {found} numbers, not a multiple of {inputs}, the numbers of a sample"
            );
            return Err(ClassifyError::data(what));
        }
        finite(queries, self.inputs, "query")?;
        let classes = self.labels.iter().max().map_or(1, |l| l + 1);
        let decide = |query: &[f64]| {
            let logs: Vec<f64> = self.x.chunks_exact(self.inputs).map(|z| weigh(query, z)).collect();
            // Weights relative to the largest; an infinite one, of a sample at the query itself, wins alone.
            let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let mut sums = vec![0.0; classes];
            for (log, label) in logs.iter().zip(self.labels) {
                sums[*label] += if *log == top { 1.0 } else { (log - top).exp() };
            }
            (0..classes).fold(0, |best, c| if sums[c] > sums[best] { c } else { best })
        };
        Ok(queries.par_chunks_exact(self.inputs).map(decide).collect())
    }
}

/// Labels are counted in a table.
const MOST_LABELS: usize = 1 << 20;

pub(super) fn finite(x: &[f64], inputs: usize, what: &str) -> Result<(), ClassifyError> {
    match x.iter().position(|v| !v.is_finite()) {
        Some(i) => {
            let what = format!(
                "{what} {} has the entry {}, entry {}, which is not finite",
                i / inputs,
                x[i],
                i % inputs
            );
            Err(ClassifyError::data(what))
        }
        None => Ok(()),
    }
}

/// Votes by distance alone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Vote {
    /// Weights |x - z|^-power: consistent where the power is the dimension of the space (the Hilbert estimate).
    Hilbert {
        /// The power.
        power: f64,
    },
    /// All weight at the nearest sample; equally near ones vote.
    Nearest,
    /// Equal weights: the most frequent label.
    Majority,
}

impl Vote {
    /// Labels of the queries. `x` holds the samples one after another, `inputs` numbers each, with one label each.
    ///
    /// # Errors
    /// Lengths that do not fit, numbers that are not finite, no samples.
    pub fn predict(
        self,
        x: &[f64],
        inputs: usize,
        labels: &[usize],
        queries: &[f64],
    ) -> Result<Vec<usize>, ClassifyError> {
        let samples = Samples { x, inputs, labels };
        samples.check()?;
        let squared = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        samples.vote(queries, |query, z| match self {
            Self::Hilbert { power } => -0.5 * power * squared(query, z).ln(),
            // So steep that only equal distances share the weight.
            Self::Nearest => {
                let r = squared(query, z);
                if r > 0.0 { -r.ln() * NEAREST } else { f64::INFINITY }
            }
            Self::Majority => 0.0,
        })
    }
}

/// exp(-NEAREST eps) = 0.
const NEAREST: f64 = 1e20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn votes_against_brute_force() {
        let x = [0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 3.0, 3.0, 0.9, 0.1];
        let labels = [0, 1, 2, 1, 0];
        let queries = [0.1, 0.1, 2.0, 2.0, 1.0, 0.0, 0.0, 1.5];
        for power in [0.5, 2.0, 7.0] {
            let got = Vote::Hilbert { power }.predict(&x, 2, &labels, &queries).unwrap();
            for (q, got) in queries.chunks(2).zip(got) {
                let mut sums = [0.0; 3];
                for (z, l) in x.chunks(2).zip(labels) {
                    sums[l] += ((q[0] - z[0]).powi(2) + (q[1] - z[1]).powi(2)).powf(-0.5 * power);
                }
                let want = (0..3).fold(0, |b, c| if sums[c] > sums[b] { c } else { b });
                assert_eq!(got, want, "{power} {q:?} {sums:?}");
            }
        }
        let nearest = Vote::Nearest.predict(&x, 2, &labels, &queries).unwrap();
        assert_eq!(nearest, [0, 1, 1, 2]);
        assert_eq!(Vote::Majority.predict(&x, 2, &labels, &queries).unwrap(), [0; 4]);
        assert_eq!(Vote::Majority.predict(&x, 2, &[2, 2, 2, 1, 0], &queries).unwrap(), [2; 4]);
    }

    #[test]
    fn equally_near_samples_vote() {
        let got = Vote::Nearest.predict(&[-1.0, 1.0, 1.0], 1, &[0, 1, 1], &[0.0]).unwrap();
        assert_eq!(got, [1]);
    }

    #[test]
    fn bad_input_is_named() {
        let says = |r: Result<Vec<usize>, ClassifyError>, what: &str| {
            let text = r.unwrap_err().to_string();
            assert!(text.contains(what) && !text.contains('\n'), "{text}");
        };
        says(Vote::Nearest.predict(&[], 2, &[], &[]), "at least one of each");
        says(Vote::Nearest.predict(&[1.0], 2, &[0], &[]), "need 2 numbers, there are 1");
        says(Vote::Nearest.predict(&[1.0, f64::NAN], 2, &[0], &[]), "sample 0 has the entry NaN, entry 1");
        says(Vote::Nearest.predict(&[1.0, 2.0], 2, &[0], &[1.0]), "not a multiple of 2");
        says(Vote::Nearest.predict(&[1.0], 1, &[usize::MAX], &[1.0]), "labels are numbers");
    }
}
