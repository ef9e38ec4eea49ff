//! Samples whose losses jump up and down against each other (Rosenfeld, Risteski: Outliers with opposing signals have an outsized effect on neural network
//! optimization; arXiv 2311.04163).
//!
//! At every watched step the samples are ranked by the change of their loss; those among the `top` most positive or most negative score one. The sign of a sample is
//! that of the correlation of its change with the parity of the step: samples of opposing signals rise on even steps and fall on odd ones, or the other way.

use serde::Serialize;

/// What was seen of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Outlier {
    /// Its index.
    pub sample: usize,
    /// Steps at which it was among the largest changes.
    pub score: u64,
    /// 1 or -1: the group, by the sign of the correlation with parity; 0 if there is none.
    pub sign: i8,
}

/// Collects changes of losses along a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Opposing {
    top: usize,
    scores: Vec<u64>,
    /// Sums of change x parity, where parity is 1 on even steps and -1 on odd ones; and sums of change, of parity.
    with_parity: Vec<f64>,
    change: Vec<f64>,
    parity: f64,
    steps: u64,
}

impl Opposing {
    /// For so many samples, the `top` largest changes of either sign counted at every step.
    pub fn new(samples: usize, top: usize) -> Self {
        let zeros = vec![0.0; samples];
        Self {
            top,
            scores: vec![0; samples],
            with_parity: zeros.clone(),
            change: zeros,
            parity: 0.0,
            steps: 0,
        }
    }
    /// One step: losses of all samples before and after it. A change that is not finite counts as none.
    pub fn observe(&mut self, step: u64, before: &[f64], after: &[f64]) {
        let n = self.scores.len();
        let change = |i: usize| {
            let d = after.get(i).zip(before.get(i)).map_or(0.0, |(a, b)| a - b);
            if d.is_finite() { d } else { 0.0 }
        };
        let parity = if step.is_multiple_of(2) { 1.0 } else { -1.0 };
        let mut order: Vec<usize> = (0..n).collect();
        // Equal changes in the order of the samples.
        order.sort_by(|a, b| change(*b).total_cmp(&change(*a)).then(a.cmp(b)));
        let top = self.top.min(n);
        let (up, down) = (&order[..top], &order[n - top..]);
        for i in up.iter().filter(|i| change(**i) > 0.0).chain(down.iter().filter(|i| change(**i) < 0.0)) {
            self.scores[*i] += 1;
        }
        for i in 0..n {
            self.with_parity[i] += change(i) * parity;
            self.change[i] += change(i);
        }
        self.parity += parity;
        self.steps += 1;
    }
    /// Steps seen.
    pub fn steps(&self) -> u64 {
        self.steps
    }
    /// The `count` samples with the highest scores, the smaller index first where they are equal; none with score 0.
    pub fn outliers(&self, count: usize) -> Vec<Outlier> {
        let mut order: Vec<usize> = (0..self.scores.len()).filter(|i| self.scores[*i] > 0).collect();
        order.sort_by(|a, b| self.scores[*b].cmp(&self.scores[*a]).then(a.cmp(b)));
        let of = |i: usize| {
            let covariance = self.with_parity[i] - self.change[i] * self.parity / self.steps.max(1) as f64;
            let sign = if covariance > 0.0 { 1 } else { -((covariance < 0.0) as i8) };
            Outlier { sample: i, score: self.scores[i], sign }
        };
        order.into_iter().take(count).map(of).collect()
    }
}

/// a'b / (|a| |b|); `None` where one of them is zero. Mean gradients of two opposing groups have one below -0.5.
pub fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    (lengths > 0.0).then(|| dot(a, b) / lengths)
}

/// Spikes of a loss: it exceeds twice its running minimum + 1e-3, and counts again only after it fell below 1.2 times the minimum.
pub fn spikes(losses: &[f64]) -> u64 {
    let (mut least, mut high, mut count) = (f64::INFINITY, false, 0);
    for loss in losses {
        least = least.min(*loss);
        if !high && *loss > 2.0 * least + 1e-3 {
            (high, count) = (true, count + 1);
        } else if high && *loss < 1.2 * least {
            high = false;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gradient descent on (a p - 1)^2 / 2 and (a p + 1)^2 / 2 beyond the stable rate: the two losses jump against each other, two quiet samples do not.
    #[test]
    fn two_samples_that_pull_against_each_other() {
        let (a, rate) = (3.0, 0.215);
        let losses = |p: f64| {
            vec![
                0.5 * (a * p - 1.0f64).powi(2),
                0.01 * p * p,
                0.5 * (a * p + 1.0).powi(2),
                0.5 * (0.1 * p - 1.0).powi(2),
            ]
        };
        let (mut p, mut watch) = (0.01f64, Opposing::new(4, 1));
        for step in 0..40 {
            // The mean of the two steep ones: a^2 p, rate a^2 = 1.935 stays stable and alternates.
            let after = p - rate * a * a * p;
            watch.observe(step, &losses(p), &losses(after));
            p = after;
        }
        let found = watch.outliers(2);
        assert_eq!((found[0].sample, found[1].sample, found[0].score, found[1].score), (0, 2, 40, 40));
        assert_eq!(found[0].sign * found[1].sign, -1);
        assert_eq!(watch.steps(), 40);
        // The gradients of the two at p = 0 oppose each other.
        assert!((cosine(&[-a], &[a]).unwrap() + 1.0).abs() < 1e-15);
    }

    #[test]
    fn changes_without_size_or_number_do_not_count() {
        let mut watch = Opposing::new(3, 2);
        watch.observe(0, &[1.0, 1.0, 1.0], &[1.0, f64::NAN, 2.0]);
        let found = watch.outliers(9);
        assert_eq!(found, [Outlier { sample: 2, score: 1, sign: 0 }]);
        assert!(Opposing::new(0, 5).outliers(3).is_empty());
        assert_eq!(cosine(&[0.0], &[1.0]), None);
    }

    #[test]
    fn spikes_are_counted_once() {
        assert_eq!(spikes(&[1.0, 0.5, 0.4, 0.9, 0.95, 0.7, 0.9]), 1);
        assert_eq!(spikes(&[1.0, 0.5, 0.4, 0.9, 0.45, 0.9, 0.3]), 2);
        assert_eq!(spikes(&[1.0, 1.9, 1.0]), 0);
        assert_eq!(spikes(&[1e-9, 5e-4, 1e-9]), 0);
        assert_eq!(spikes(&[]), 0);
    }
}
