//! Hamiltonian Monte Carlo: samples of a density e^-U(q), by leapfrog steps whose length is set by dual averaging.
//!
//! ```text
//! H(q, p) = U(q) + |p|^2 / 2
//! leapfrog:  p <- p - h/2 grad U,  q <- q + h p,  p <- p - h/2 grad U          reversible, volume-preserving, error of H of order h^2
//! accept with probability min(1, e^(H before - H after))
//! dual averaging:  ln h_t = mu - sqrt(t) / (g (t + t0)) sum (d - a_i),  their average with weights t^-k;  g = 0.05, t0 = 10, k = 0.75, d = 0.8
//! ```
//!
//! Neal, "MCMC using Hamiltonian dynamics", 2011; Hoffman, Gelman, "The No-U-Turn sampler", JMLR 15, 2014, section 3.2.

use rand::RngExt;

use super::SurrogateError;
use crate::random::{Purpose, generator, normal};

/// How a chain is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HmcOptions {
    /// Samples that are kept; published 500.
    pub samples: usize,
    /// Steps before these, in which the step length is set; published 500.
    pub burn_in: usize,
    /// Leapfrog steps of a proposal; published 20 to 100.
    pub leaps: usize,
    /// Acceptance aimed at; default 0.8.
    pub acceptance: f64,
    /// Seed; default 0.
    pub seed: u64,
}

impl Default for HmcOptions {
    fn default() -> Self {
        Self { samples: 500, burn_in: 500, leaps: 30, acceptance: 0.8, seed: 0 }
    }
}

/// What a chain found.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Samples, one after another.
    pub samples: Vec<f64>,
    /// Mean probability of acceptance of the samples that are kept.
    pub acceptance: f64,
    /// The step length that was found.
    pub step: f64,
}

/// `count` leapfrog steps of length h from (q, p), at which g = grad U(q); U at the end. `u` writes its gradient.
pub fn leapfrog(
    u: &mut dyn FnMut(&[f64], &mut [f64]) -> f64,
    (q, p, g): (&mut [f64], &mut [f64], &mut [f64]),
    (h, count): (f64, usize),
) -> f64 {
    let mut value = f64::NAN;
    for _ in 0..count {
        p.iter_mut().zip(&*g).for_each(|(p, g)| *p -= 0.5 * h * g);
        q.iter_mut().zip(&*p).for_each(|(q, p)| *q += h * p);
        value = u(q, g);
        p.iter_mut().zip(&*g).for_each(|(p, g)| *p -= 0.5 * h * g);
    }
    value
}

fn kinetic(p: &[f64]) -> f64 {
    0.5 * p.iter().map(|p| p * p).sum::<f64>()
}

/// Nesterov's dual averaging of ln h.
struct DualAveraging {
    mu: f64,
    sum: f64,
    count: f64,
    average: f64,
    target: f64,
}

impl DualAveraging {
    fn new(step: f64, target: f64) -> Self {
        Self { mu: (10.0 * step).ln(), sum: 0.0, count: 0.0, average: 0.0, target }
    }
    /// The next step length.
    fn update(&mut self, acceptance: f64) -> f64 {
        self.count += 1.0;
        self.sum += self.target - acceptance;
        let log = self.mu - self.count.sqrt() / (0.05 * (self.count + 10.0)) * self.sum;
        let weight = self.count.powf(-0.75);
        self.average += weight * (log - self.average);
        log.exp()
    }
}

/// A chain from `start`. `u` is U = -ln density, up to a constant, and writes its gradient; where it is not finite nothing is accepted.
///
/// # Errors
/// One sentence: no samples or steps, or a start without a finite density.
pub fn sample(
    u: &mut dyn FnMut(&[f64], &mut [f64]) -> f64,
    start: &[f64],
    o: &HmcOptions,
) -> Result<Chain, SurrogateError> {
    if o.samples == 0 || o.leaps == 0 || !(o.acceptance > 0.0 && o.acceptance < 1.0) {
        return Err(SurrogateError::new(format!(
            "Hamiltonian Monte Carlo: {} samples of {} steps with acceptance {}: expected at least 1, and acceptance between 0 and 1",
            o.samples, o.leaps, o.acceptance
        )));
    }
    let (n, mut q) = (start.len(), start.to_vec());
    let mut g = vec![0.0; n];
    let mut value = u(&q, &mut g);
    if !value.is_finite() || g.iter().any(|g| !g.is_finite()) {
        return Err(SurrogateError::new("Hamiltonian Monte Carlo: the start has no finite density"));
    }
    let mut h = 0.1 / (n as f64).powf(0.25);
    let mut averaging = DualAveraging::new(h, o.acceptance);
    let mut chain = Chain { samples: Vec::with_capacity(n * o.samples), acceptance: 0.0, step: h };
    for k in 0..o.burn_in + o.samples {
        let mut rng = generator(o.seed, Purpose::Chain as u64, k as u64);
        let mut p: Vec<f64> = (0..n).map(|_| normal(&mut rng)).collect();
        let before = value + kinetic(&p);
        let (mut q_new, mut g_new) = (q.clone(), g.clone());
        // Lengths that vary do not resonate with a mode.
        let step = h * (0.9 + 0.2 * rng.random::<f64>());
        let value_new = leapfrog(u, (&mut q_new, &mut p, &mut g_new), (step, o.leaps));
        let change = before - value_new - kinetic(&p);
        let probability = if change.is_nan() { 0.0 } else { change.exp().min(1.0) };
        if rng.random::<f64>() < probability {
            (q, g, value) = (q_new, g_new, value_new);
        }
        if k < o.burn_in {
            h = averaging.update(probability);
            if k + 1 == o.burn_in {
                h = averaging.average.exp();
            }
        } else {
            chain.samples.extend_from_slice(&q);
            chain.acceptance += probability / o.samples as f64;
        }
    }
    chain.step = h;
    Ok(chain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// U = q1^2 / 2 + 2 q2^2 + 0.1 q1^4 + q1 q2 / 2.
    fn well(q: &[f64], g: &mut [f64]) -> f64 {
        g[0] = q[0] + 0.4 * q[0].powi(3) + 0.5 * q[1];
        g[1] = 4.0 * q[1] + 0.5 * q[0];
        0.5 * q[0] * q[0] + 2.0 * q[1] * q[1] + 0.1 * q[0].powi(4) + 0.5 * q[0] * q[1]
    }

    /// (q, p, change of H) after some steps.
    fn run(h: f64, count: usize, q: [f64; 2], p: [f64; 2]) -> ([f64; 2], [f64; 2], f64) {
        let (mut q, mut p, mut g) = (q, p, [0.0; 2]);
        let before = well(&q, &mut g) + kinetic(&p);
        let after = leapfrog(&mut well, (&mut q, &mut p, &mut g), (h, count));
        (q, p, after + kinetic(&p) - before)
    }

    #[test]
    fn steps_are_reversible_and_their_energy_error_is_of_order_two() {
        let (q0, p0) = ([0.7, -0.4], [1.1, 0.6]);
        let (q, p, _) = run(0.1, 100, q0, p0);
        let (q, p, _) = run(0.1, 100, q, [-p[0], -p[1]]);
        for i in 0..2 {
            assert!((q[i] - q0[i]).abs() < 1e-10 && (p[i] + p0[i]).abs() < 1e-10);
        }
        let error = |k: u32| {
            let count = 20 * 2usize.pow(k);
            run(2.0 / count as f64, count, q0, p0).2.abs()
        };
        for k in 2..6 {
            let order = (error(k) / error(k + 1)).log2();
            assert!((order - 2.0).abs() < 0.1, "{k}: {order}");
        }
    }

    #[test]
    fn a_gaussian_has_its_moments() {
        // Precision [[2, 0.6], [0.6, 1]], mean (1, -2).
        let mut u = |q: &[f64], g: &mut [f64]| {
            let d = [q[0] - 1.0, q[1] + 2.0];
            g.copy_from_slice(&[2.0 * d[0] + 0.6 * d[1], 0.6 * d[0] + d[1]]);
            0.5 * (d[0] * g[0] + d[1] * g[1])
        };
        let o = HmcOptions { samples: 8000, leaps: 20, seed: 3, ..HmcOptions::default() };
        let chain = sample(&mut u, &[0.0, 0.0], &o).unwrap();
        assert!((chain.acceptance - 0.8).abs() < 0.12, "{}", chain.acceptance);
        let n = 8000.0;
        let mean = |i: usize| chain.samples.chunks(2).map(|s| s[i]).sum::<f64>() / n;
        let det = 2.0 - 0.36;
        let covariance = [[1.0 / det, -0.6 / det], [-0.6 / det, 2.0 / det]];
        // Standard errors by means of blocks: samples of a chain depend on each other.
        let blocks = |f: &dyn Fn(&[f64]) -> f64| {
            let of = |b: &[f64]| b.chunks(2).map(f).sum::<f64>() / 200.0;
            let means: Vec<f64> = chain.samples.chunks(400).map(of).collect();
            let m = means.iter().sum::<f64>() / 40.0;
            (m, (means.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (39.0 * 40.0)).sqrt())
        };
        for (i, want) in [1.0, -2.0].into_iter().enumerate() {
            let (m, error) = blocks(&|s| s[i]);
            assert!((m - want).abs() < 3.0 * error && (m - mean(i)).abs() < 1e-12, "{i}: {m} {want} {error}");
            for j in 0..2 {
                let c = [1.0, -2.0];
                let (m, error) = blocks(&|s| (s[i] - c[i]) * (s[j] - c[j]));
                assert!((m - covariance[i][j]).abs() < 3.0 * error, "{i} {j}: {m} {}", covariance[i][j]);
            }
        }
    }

    #[test]
    fn chains_repeat_and_bad_starts_are_refused() {
        let o = HmcOptions { samples: 20, burn_in: 20, ..HmcOptions::default() };
        let a = sample(&mut well, &[0.0, 0.0], &o).unwrap();
        assert_eq!(a, sample(&mut well, &[0.0, 0.0], &o).unwrap());
        assert!(sample(&mut |_, _| f64::NAN, &[0.0], &o).is_err());
        assert!(sample(&mut well, &[0.0, 0.0], &HmcOptions { samples: 0, ..o }).is_err());
        // A wall: what is not finite is never entered.
        let mut wall = |q: &[f64], g: &mut [f64]| {
            g[0] = q[0];
            if q[0] > 0.5 { f64::INFINITY } else { 0.5 * q[0] * q[0] }
        };
        let chain = sample(&mut wall, &[0.0], &o).unwrap();
        assert!(chain.samples.iter().all(|q| *q <= 0.5));
    }
}
