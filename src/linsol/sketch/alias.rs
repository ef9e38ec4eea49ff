//! Draws indices with given weights in constant time.

use rand::RngExt;
use rand::rngs::StdRng;

/// Alias table (Vose, "A linear algorithm for generating random numbers with a given distribution", 1991).
#[derive(Debug, Default)]
pub(super) struct Alias {
    /// Probability of keeping the drawn column, and whom to take otherwise.
    keep: Vec<f64>,
    other: Vec<usize>,
    small: Vec<usize>,
    large: Vec<usize>,
}

impl Alias {
    /// Weights are nonnegative. If all are zero every index is equally likely.
    pub(super) fn build(&mut self, weights: &[f64]) {
        let n = weights.len();
        // Scaled by the largest first: squares of rows may overflow in the sum.
        let big = weights.iter().fold(0.0f64, |m, w| m.max(*w));
        let scale = |w: f64| if big > 0.0 { w / big } else { 1.0 };
        let mean = weights.iter().map(|w| scale(*w)).sum::<f64>() / n.max(1) as f64;
        self.keep.clear();
        self.keep.extend(weights.iter().map(|w| scale(*w) / mean));
        self.other.clear();
        self.other.extend(0..n);
        for list in [&mut self.small, &mut self.large] {
            list.clear();
            list.reserve(n);
        }
        for (i, p) in self.keep.iter().enumerate() {
            if *p < 1.0 { self.small.push(i) } else { self.large.push(i) }
        }
        while let (Some(&s), Some(&l)) = (self.small.last(), self.large.last()) {
            self.small.pop();
            self.other[s] = l;
            self.keep[l] -= 1.0 - self.keep[s];
            if self.keep[l] < 1.0 {
                self.large.pop();
                self.small.push(l);
            }
        }
        // What is left differs from 1 by rounding.
        for &i in self.small.iter().chain(&self.large) {
            self.keep[i] = 1.0;
        }
    }

    pub(super) fn draw(&self, random: &mut StdRng) -> usize {
        let i = random.random_range(0..self.keep.len());
        if random.random::<f64>() < self.keep[i] { i } else { self.other[i] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn frequencies_follow_the_weights() {
        let weights = [1.0, 0.0, 4.0, 2.0, 1.0];
        let mut alias = Alias::default();
        alias.build(&weights);
        let mut random = StdRng::seed_from_u64(3);
        let mut counts = [0u32; 5];
        for _ in 0..80_000 {
            counts[alias.draw(&mut random)] += 1;
        }
        assert_eq!(counts[1], 0);
        for (c, w) in counts.iter().zip(weights) {
            assert!((f64::from(*c) - 1e4 * w).abs() < 500.0, "{counts:?}");
        }
    }
}
