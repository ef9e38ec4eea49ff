//! Adaptive memory momentum in AdamW (AM-AdamW, arXiv 2510.04988), for each array of parameters by itself.
//!
//! ```text
//! v as Adam's,   P = (1 - beta1_max prod_{i<t} beta_i) (sqrt(v / (1 - beta2^t)) + epsilon),   mu the decay,   W = P^-1 (I + lambda P)^-1
//! gap  = a_prev g'(P^-1 d + mu p)
//! beta = [(1 + mu a) gap / a - <d - g, g + lambda P d>_W - mu <p, d - g>] / |d - g|^2_W   in [0, beta1_max];   0 if d = g
//! d <- (I + lambda P)^-1 [(1 - beta) g + (lambda P + beta) d],   p <- (1 - mu a) p - a P^-1 d
//! ```
//!
//! P is diagonal; the product of the momenta so far takes the place of Adam's beta1^t. d starts at zero, and the first step has beta = beta1_max.
//! Where beta is held at beta1_max and lambda = 0 this is AdamW.

use serde::{Deserialize, Serialize};

use super::sums::sums;
use super::{Facts, Optimizer, OptimizerKind, check, count_of};
use crate::linalg::Scalar;
use crate::nn::Entry;
use crate::simd::any_length;

/// `kind = "am_adamw"`: AdamW whose first momentum sets itself, for each array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmAdamWConfig {
    /// Pull towards the old direction; default 0.1.
    pub lambda: f64,
    /// Largest momentum, and that of the first step, in \[0, 1); default 0.89.
    pub beta1_max: f64,
    /// Decay of the second moment, in \[0, 1); default 0.999.
    pub beta2: f64,
    /// Added to the scale; default 1e-8.
    pub epsilon: f64,
    /// Weight decay mu; default 0.01.
    pub decay: f64,
}

impl Default for AmAdamWConfig {
    fn default() -> Self {
        Self { lambda: 0.1, beta1_max: 0.89, beta2: 0.999, epsilon: 1e-8, decay: 0.01 }
    }
}

impl OptimizerKind for AmAdamWConfig {
    fn problem(&self) -> Option<String> {
        check::at_least_zero("lambda", self.lambda)
            .or_else(|| check::below_one("beta1_max", self.beta1_max))
            .or_else(|| check::below_one("beta2", self.beta2))
            .or_else(|| check::positive("epsilon", self.epsilon))
            .or_else(|| check::at_least_zero("decay", self.decay))
    }
    fn build<T: Scalar>(&self, entries: &[Entry]) -> Box<dyn Optimizer<T>> {
        let zeros = || vec![T::ZERO; count_of(entries)];
        Box::new(AmAdamW {
            config: self.clone(),
            ends: entries.iter().map(|e| e.range.end).collect(),
            d: zeros(),
            v: zeros(),
            products: vec![T::ONE; entries.len()],
            last_rate: vec![T::ZERO],
            beta: 0.0,
            count: 0,
        })
    }
}

struct AmAdamW<T> {
    config: AmAdamWConfig,
    /// Ends of the arrays.
    ends: Vec<usize>,
    d: Vec<T>,
    v: Vec<T>,
    /// Of the momenta so far, for each array.
    products: Vec<T>,
    /// Of the step before, one number.
    last_rate: Vec<T>,
    /// Mean over the arrays.
    beta: f64,
    count: u64,
}

/// Constants of one step of one array.
struct Now {
    lambda: f64,
    mu: f64,
    beta_max: f64,
    /// The rate of this step and of the one before.
    rates: [f64; 2],
}

/// The momentum, with the diagonal of P as a function of the second moment.
fn momentum<T: Scalar>(
    now: &Now,
    p: &[T],
    g: &[T],
    d: &[T],
    v: &[T],
    diagonal: impl Fn(T) -> T + Copy,
) -> f64 {
    let &Now { lambda, mu, beta_max, rates: [a, before] } = now;
    let (by, shrink) = (T::of(lambda), T::of(mu));
    let [gap, pull, decay, distance] = sums([p, g, d, v], |[p, g, d, v]| {
        let inverse = T::ONE / diagonal(v);
        let pulled = by / inverse;
        let w = inverse / (T::ONE + pulled);
        let apart = d - g;
        [g * (d * inverse + shrink * p), w * apart * (g + pulled * d), p * apart, w * apart * apart]
    });
    if distance == 0.0 || a == 0.0 {
        return 0.0;
    }
    (((1.0 + mu * a) * before * gap / a - pull - mu * decay) / distance).clamp(0.0, beta_max)
}

/// d and p of one array.
fn advance<T: Scalar>(
    now: &Now,
    beta: f64,
    p: &mut [T],
    g: &[T],
    d: &mut [T],
    v: &[T],
    diagonal: impl Fn(T) -> T + Copy,
) {
    let &Now { lambda, mu, rates: [a, _], .. } = now;
    let (keep, new) = (T::of(beta), T::of(1.0 - beta));
    let (by, shrink, a) = (T::of(lambda), T::of(1.0 - mu * a), T::of(a));
    any_length(move || {
        // Copies, which no store below can reach.
        let (keep, new, by, shrink, a, of) = (keep, new, by, shrink, a, diagonal);
        for (((p, g), d), v) in p.iter_mut().zip(g).zip(d).zip(v) {
            let diagonal = of(*v);
            let pulled = by * diagonal;
            *d = (new * *g + (pulled + keep) * *d) / (T::ONE + pulled);
            *p = shrink * *p - a * *d / diagonal;
        }
    });
}

impl<T: Scalar> Optimizer<T> for AmAdamW<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let AmAdamWConfig { lambda, beta1_max, beta2, epsilon, decay } = self.config;
        let (b2, c2) = (T::of(beta2), T::of(1.0 - beta2));
        let v = &mut self.v;
        any_length(|| v.iter_mut().zip(g).for_each(|(v, g)| *v = b2 * *v + c2 * *g * *g));
        let correct = T::of(1.0 / (1.0 - beta2.powf(self.count as f64)));
        let epsilon = T::of(epsilon);
        let rates = [rate, self.last_rate[0].f64()];
        let now = Now { lambda, mu: decay, beta_max: beta1_max, rates };
        let (mut start, mut sum) = (0, 0.0);
        for (&end, product) in self.ends.iter().zip(&mut self.products) {
            let part = start..end;
            start = end;
            let share = T::of(1.0 - beta1_max * product.f64());
            let v = &self.v[part.clone()];
            let diagonal = move |v: T| share * ((v * correct).sqrt() + epsilon);
            let (p, g, d) = (&mut p[part.clone()], &g[part.clone()], &mut self.d[part.clone()]);
            let beta = if self.count == 1 { beta1_max } else { momentum(&now, p, g, d, v, diagonal) };
            advance(&now, beta, p, g, d, v, diagonal);
            *product = T::of(product.f64() * beta);
            sum += beta;
        }
        self.last_rate[0] = T::of(rate);
        self.beta = sum / self.ends.len().max(1) as f64;
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![
            ("memory", &mut self.d),
            ("second_moment", &mut self.v),
            ("products", &mut self.products),
            ("last_rate", &mut self.last_rate),
        ]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
    /// `beta`: the momentum, its mean over the arrays.
    fn facts(&self, facts: &mut Facts) {
        facts.add("beta", self.beta);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::vector;
    use super::super::{AdamWConfig, AmConfig};
    use super::*;

    const GRADIENTS: [[f64; 3]; 5] =
        [[0.5, -0.2, 0.1], [0.3, 0.1, 0.4], [-0.1, 0.2, 0.3], [0.6, 0.0, 0.1], [0.2, -0.4, 0.2]];

    /// With P = I and no decay it is AM.
    #[test]
    fn without_a_metric_it_is_am() {
        let now = Now { lambda: 0.1, mu: 0.0, beta_max: 0.9, rates: [0.05, 0.05] };
        let mut o = AmConfig::default().build::<f64>(&vector(3));
        let mut p = [0.3, -0.2, 1.0];
        o.step(0.05, &mut p, &GRADIENTS[0]);
        let (mut q, mut d) = (p, o.state()[0].1.clone());
        for g in &GRADIENTS[1..] {
            o.step(0.05, &mut p, g);
            let beta = momentum(&now, &q, g, &d, &d, |_| 1.0);
            let mut facts = Facts::default();
            o.facts(&mut facts);
            assert!((facts.get("beta").unwrap() - beta).abs() < 1e-13);
            advance(&now, beta, &mut q, g, &mut d, &[0.0; 3], |_| 1.0);
            assert!((0..3).all(|i| (p[i] - q[i]).abs() < 1e-14), "{p:?} {q:?}");
        }
    }

    /// With momentum zero allowed only, and no pull, it is AdamW with beta1 = 0.
    #[test]
    fn without_momentum_it_is_adamw() {
        let config = AmAdamWConfig { lambda: 0.0, beta1_max: 0.0, ..Default::default() };
        let mut o = config.build::<f64>(&vector(3));
        let mut adamw = AdamWConfig { beta1: 0.0, ..Default::default() }.build::<f64>(&vector(3));
        let (mut p, mut q) = ([0.3, -0.2, 1.0], [0.3, -0.2, 1.0]);
        for g in GRADIENTS {
            o.step(0.05, &mut p, &g);
            adamw.step(0.05, &mut q, &g);
            assert!((0..3).all(|i| (p[i] - q[i]).abs() < 1e-14), "{p:?} {q:?}");
        }
    }

    /// Two steps of one number by the formulas.
    #[test]
    fn two_steps_by_hand() {
        let (a1, a2, g1, g2, mu, lambda, top) = (0.1, 0.05, 0.5, 0.4, 0.01, 0.1, 0.89);
        let mut o = AmAdamWConfig::default().build::<f64>(&vector(1));
        let mut p = [1.0];
        o.step(a1, &mut p, &[g1]);
        let big = (1.0 - top) * (g1 + 1e-8);
        let d1 = (1.0 - top) * g1 / (1.0 + lambda * big);
        let p1 = (1.0 - mu * a1) - a1 * d1 / big;
        assert!((p[0] - p1).abs() < 1e-14, "{} {p1}", p[0]);
        o.step(a2, &mut p, &[g2]);
        let v2: f64 = (0.999 * 0.001 * g1 * g1 + 0.001 * g2 * g2) / (1.0 - 0.999f64.powi(2));
        let big = (1.0 - top * top) * (v2.sqrt() + 1e-8);
        let w = 1.0 / (big * (1.0 + lambda * big));
        let gap = a1 * g2 * (d1 / big + mu * p1);
        let raw =
            ((1.0 + mu * a2) * gap / a2 - w * (d1 - g2) * (g2 + lambda * big * d1) - mu * p1 * (d1 - g2))
                / (w * (d1 - g2) * (d1 - g2));
        let beta = raw.clamp(0.0, top);
        let d2 = ((1.0 - beta) * g2 + (lambda * big + beta) * d1) / (1.0 + lambda * big);
        let p2 = (1.0 - mu * a2) * p1 - a2 * d2 / big;
        assert!((p[0] - p2).abs() < 1e-13, "{} {p2}", p[0]);
    }
}
