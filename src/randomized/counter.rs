//! Random numbers as a pure function of (seed, counter).
//!
//! The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) of the counter's place in its sequence.

/// Mixes the bits of a 64-bit word.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of words, one for each counter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counter {
    key: u64,
}

impl Counter {
    /// Streams of one seed with different purposes do not meet.
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self { key: mix(mix(seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_add(purpose)) }
    }
    /// 64 random bits.
    pub fn word(self, counter: u64) -> u64 {
        mix(self.key.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
    /// Uniform in [0, 1).
    pub fn uniform(self, counter: u64) -> f64 {
        (self.word(counter) >> 11) as f64 / (1u64 << 53) as f64
    }
    /// Uniform in 0..n; the bias of at most n / 2^64 is of no account.
    pub fn below(self, counter: u64, n: usize) -> usize {
        ((u128::from(self.word(counter)) * n as u128) >> 64) as usize
    }
    /// -1 or 1.
    pub fn sign(self, counter: u64) -> f64 {
        if self.word(counter) >> 63 == 0 { 1.0 } else { -1.0 }
    }
    /// Standard normal (Box and Muller 1958).
    pub fn normal(self, counter: u64) -> f64 {
        let (u, v) = (1.0 - self.uniform(2 * counter), self.uniform(2 * counter + 1));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// Parts of `rows` rows in a seeded random order, of sizes that differ by one at most.
pub(crate) fn random_folds(rows: usize, folds: usize, seed: u64) -> Vec<usize> {
    let draws = Counter::new(seed, 7);
    let mut order: Vec<usize> = (0..rows).collect();
    (1..rows).rev().for_each(|k| order.swap(k, draws.below(k as u64, k + 1)));
    let mut fold = vec![0; rows];
    order.iter().enumerate().for_each(|(k, i)| fold[*i] = k % folds.max(1));
    fold
}

/// `count` standard normal numbers of a seed.
pub fn normal_numbers(count: usize, seed: u64) -> Vec<f64> {
    let draws = Counter::new(seed, 8);
    (0..count as u64).map(|k| draws.normal(k)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let c = Counter::new(3, 1);
        let n = 200_000u64;
        let mean = |f: &dyn Fn(u64) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        assert!((mean(&|i| c.uniform(i)) - 0.5).abs() < 3e-3);
        assert!(mean(&|i| c.sign(i)).abs() < 1e-2);
        assert!(mean(&|i| c.normal(i)).abs() < 1e-2);
        assert!((mean(&|i| c.normal(i).powi(2)) - 1.0).abs() < 2e-2);
        assert!((mean(&|i| c.below(i, 7) as f64) - 3.0).abs() < 2e-2);
        assert_ne!(c.word(0), Counter::new(3, 2).word(0));
    }
}
