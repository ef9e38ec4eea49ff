//! The best of many candidates with features, in few evaluations: neural bandits.
//!
//! ```text
//! network   mu(h) = w_2' relu(W_1 h + b_1) + b_2, trained on what was observed, from the same N(0, 1) weights in each round
//! score     mu(h) + sigma(h),  sigma^2 = lambda nu sum_k g_k^2 / U_k,  U_k = lambda + sum over observed g_k^2,  g = d mu / d weights
//! ```
//!
//! Zhou, Li, Gu, "Neural contextual bandits with UCB-based exploration", ICML 2020; on the features of a pre-trained model: Lin et al., "Use your INSTINCT",
//! arXiv 2310.02905. U may also be the whole matrix lambda I + sum g g'. Without hidden units it is LinUCB. Features are standardized on the observed candidates and divided by
//! the square root of their number, or else g, and with it sigma, is large; [`Suggestion::ratio`] says how the two terms compare.

use super::SurrogateError;
use crate::diff::{At, BarsMut, Kept, Map};
use crate::linalg::{Cholesky, Dense, Scalar, dot};
use crate::nn::{Activation, Mlp};
use crate::random::{Purpose, generator, normal};
use crate::train::optim::AdamConfig;
use crate::train::{Optimizer, OptimizerConfig};

/// How a candidate is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// The largest mu + sigma.
    #[default]
    UpperBound,
    /// The largest sample of N(mu, sigma^2).
    Thompson,
}

/// Which U.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// The diagonal.
    #[default]
    Diagonal,
    /// The whole matrix.
    Full,
}

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BanditOptions {
    /// Hidden units; 0: a linear model.
    pub width: usize,
    /// Steps of training in each round (Adam).
    pub iterations: usize,
    /// Its rate.
    pub rate: f64,
    /// lambda: also the decay of the weights, lambda / n for n observations.
    pub lambda: f64,
    /// nu, the weight of exploration.
    pub nu: f64,
    /// How a candidate is chosen.
    pub choice: Choice,
    /// Which U.
    pub precision: Precision,
    /// Of everything random.
    pub seed: u64,
}

impl Default for BanditOptions {
    fn default() -> Self {
        Self {
            width: 100,
            iterations: 1000,
            rate: 1e-3,
            lambda: 0.1,
            nu: 1.0,
            choice: Choice::UpperBound,
            precision: Precision::Diagonal,
            seed: 0,
        }
    }
}

/// A candidate to evaluate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Suggestion {
    /// Its row in the table of features.
    pub index: usize,
    /// mu, in the units of y.
    pub mean: f64,
    /// sigma, in the units of y.
    pub deviation: f64,
    /// The spread of sigma over the candidates divided by that of mu: far above 1 the search only explores, far below 1 it never does.
    pub ratio: f64,
}

/// A search among candidates for the largest y.
#[derive(Debug, Clone)]
pub struct NeuralUcb {
    /// Row by row.
    features: Vec<f64>,
    dim: usize,
    options: BanditOptions,
    observed: Vec<(usize, f64)>,
    is_observed: Vec<bool>,
}

/// The trained network of one round.
struct Trained {
    dim: usize,
    width: usize,
    /// W_1 (width x dim, column by column), b_1, w_2, b_2; without hidden units w, b.
    p: Vec<f64>,
    /// Mean and spread of y.
    shift: f64,
    scale: f64,
}

impl Trained {
    /// g at the features h, in the order of the parameters.
    fn gradient(&self, h: &[f64], g: &mut [f64]) {
        let (d, w) = (self.dim, self.width);
        if w == 0 {
            g[..d].copy_from_slice(h);
            g[d] = 1.0;
            return;
        }
        let (matrix, rest) = self.p.split_at(d * w);
        let (bias, second) = rest.split_at(w);
        for o in 0..w {
            let a = bias[o] + (0..d).map(|i| matrix[i * w + o] * h[i]).sum::<f64>();
            let slope = if a > 0.0 { second[o] } else { 0.0 };
            (0..d).for_each(|i| g[i * w + o] = slope * h[i]);
            g[d * w + o] = slope;
            g[d * w + w + o] = a.max(0.0);
        }
        g[d * w + 2 * w] = 1.0;
    }
    /// mu and sum_k g_k^2 v_k for n candidates (rows of `h`), without forming g.
    fn score(&self, h: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (d, w) = (self.dim, self.width);
        let n = h.len() / d;
        let squares: Vec<f64> = h.iter().map(|h| h * h).collect();
        if w == 0 {
            let row = |h: &[f64]| dot(h, &self.p[..d]) + self.p[d];
            let square = |s: &[f64]| dot(s, &v[..d]) + v[d];
            return (h.chunks_exact(d).map(row).collect(), squares.chunks_exact(d).map(square).collect());
        }
        // width x n: W_1 h, and V_1 h^2 with the weights V_1 of the first layer.
        let (mut a, mut b) = (vec![0.0; w * n], vec![0.0; w * n]);
        f64::gemm(1.0, Dense::new(&self.p, w, d), Dense::new(h, d, n), false, &mut a, 1);
        f64::gemm(1.0, Dense::new(v, w, d), Dense::new(&squares, d, n), false, &mut b, 1);
        let (rest, v_rest) = (&self.p[d * w..], &v[d * w..]);
        let last = 2 * w;
        let (mut mean, mut sum) = (vec![rest[last]; n], vec![v_rest[last]; n]);
        let columns = a.chunks_exact(w).zip(b.chunks_exact(w));
        for ((mean, sum), (a, b)) in mean.iter_mut().zip(&mut sum).zip(columns) {
            for o in 0..w {
                let z = a[o] + rest[o];
                if z > 0.0 {
                    let slope = rest[w + o];
                    *mean += slope * z;
                    *sum += slope * slope * (b[o] + v_rest[o]) + z * z * v_rest[w + o];
                }
            }
        }
        (mean, sum)
    }
}

impl NeuralUcb {
    /// Candidates by their features, `dim` numbers each, row by row.
    ///
    /// # Errors
    /// One sentence on a table that does not fit or has numbers that are not finite, or an option out of range.
    pub fn new(features: &[f64], dim: usize, options: BanditOptions) -> Result<Self, SurrogateError> {
        if dim == 0 || features.is_empty() || !features.len().is_multiple_of(dim) {
            let what = format!("features: {} numbers are no rows of {dim}", features.len());
            return Err(SurrogateError::new(what));
        }
        if let Some(k) = features.iter().position(|f| !f.is_finite()) {
            let (row, column, value) = (k / dim, k % dim, features[k]);
            let what = format!("features: row {row}, column {column} is {value}, expected a finite number");
            return Err(SurrogateError::new(what));
        }
        for (name, value) in [("lambda", options.lambda), ("nu", options.nu), ("rate", options.rate)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(SurrogateError::new(format!("{name} is {value}, expected a positive number")));
            }
        }
        let count = features.len() / dim;
        Ok(Self {
            features: features.to_vec(),
            dim,
            options,
            observed: vec![],
            is_observed: vec![false; count],
        })
    }
    /// What candidate i gave. A value that is not finite is a failure: the candidate is not suggested again and teaches nothing.
    ///
    /// # Errors
    /// One sentence, if there is no such candidate.
    pub fn observe(&mut self, i: usize, y: f64) -> Result<(), SurrogateError> {
        let count = self.is_observed.len();
        let Some(seen) = self.is_observed.get_mut(i) else {
            return Err(SurrogateError::new(format!("candidate {i}: there are {count}")));
        };
        *seen = true;
        if y.is_finite() {
            self.observed.push((i, y));
        }
        Ok(())
    }
    /// The observed candidate with the largest y.
    pub fn best(&self) -> Option<(usize, f64)> {
        let best = |a: (usize, f64), b: &(usize, f64)| if b.1 > a.1 { *b } else { a };
        let (first, rest) = self.observed.split_first()?;
        Some(rest.iter().fold(*first, best))
    }
    /// Of each candidate not observed yet the next best to evaluate; `None` if there is none. Needs two observations: begin with a few at random.
    ///
    /// # Errors
    /// One sentence, with fewer than two observations.
    pub fn suggest(&mut self) -> Result<Option<Suggestion>, SurrogateError> {
        Ok(self.suggest_many(1)?.into_iter().next())
    }
    /// Several to evaluate side by side: after each one U grows by its g, the network stays.
    ///
    /// # Errors
    /// As [`suggest`](Self::suggest).
    pub fn suggest_many(&mut self, count: usize) -> Result<Vec<Suggestion>, SurrogateError> {
        if self.observed.len() < 2 {
            let what = format!("a suggestion needs two observations, there are {}", self.observed.len());
            return Err(SurrogateError::new(what));
        }
        let h = self.standardized();
        let net = self.train(&h);
        let mut rows: Vec<usize> = self.observed.iter().map(|o| o.0).collect();
        let mut taken = self.is_observed.clone();
        let mut suggestions = vec![];
        let round = self.observed.len() as u64;
        for k in 0..count {
            let (mean, variance) = self.scores(&net, &h, &rows);
            let mut rng = generator(self.options.seed, Purpose::Thompson as u64, round + ((k as u64) << 32));
            let mut best: Option<(f64, usize)> = None;
            for i in 0..taken.len() {
                let weight = if self.options.choice == Choice::Thompson { normal(&mut rng) } else { 1.0 };
                let score = mean[i] + weight * variance[i].max(0.0).sqrt();
                if !taken[i] && best.is_none_or(|b| score > b.0) {
                    best = Some((score, i));
                }
            }
            let Some((_, index)) = best else { break };
            let deviations: Vec<f64> = variance.iter().map(|v| v.max(0.0).sqrt()).collect();
            suggestions.push(Suggestion {
                index,
                mean: net.shift + net.scale * mean[index],
                deviation: net.scale * deviations[index],
                ratio: spread(&deviations) / spread(&mean).max(f64::MIN_POSITIVE),
            });
            taken[index] = true;
            rows.push(index);
        }
        Ok(suggestions)
    }
    /// mu and sigma^2 of all candidates when `rows` are in U.
    fn scores(&self, net: &Trained, h: &[f64], rows: &[usize]) -> (Vec<f64>, Vec<f64>) {
        let BanditOptions { lambda, nu, .. } = self.options;
        let (d, p) = (self.dim, net.p.len());
        let mut gradients = vec![0.0; p * rows.len()];
        for (g, i) in gradients.chunks_exact_mut(p).zip(rows) {
            net.gradient(&h[i * d..][..d], g);
        }
        let mut u = vec![lambda; p];
        if self.options.precision == Precision::Diagonal {
            for g in gradients.chunks_exact(p) {
                u.iter_mut().zip(g).for_each(|(u, g)| *u += g * g);
            }
            let inverse: Vec<f64> = u.iter().map(|u| lambda * nu / u).collect();
            return net.score(h, &inverse);
        }
        // lambda g'U^-1 g = |g|^2 - |L^-1 G g|^2 with L L' = lambda I + G G'.
        let n = rows.len();
        let mut gram = vec![0.0; n * n];
        f64::gemm(1.0, Dense::new(&gradients, p, n).t(), Dense::new(&gradients, p, n), false, &mut gram, 1);
        (0..n).for_each(|i| gram[i * n + i] += lambda);
        let (mean, _) = net.score(h, &u);
        let Ok(factors) = Cholesky::new(n, &gram) else { return (mean, vec![0.0; h.len() / d]) };
        let mut g = vec![0.0; p];
        let variance = h.chunks_exact(d).map(|h| {
            net.gradient(h, &mut g);
            let mut products: Vec<f64> = gradients.chunks_exact(p).map(|q| dot(q, &g)).collect();
            factors.solve_lower(&mut products);
            nu * (dot(&g, &g) - dot(&products, &products))
        });
        (mean, variance.collect())
    }
    /// All features, standardized on the observed candidates and divided by sqrt(dim).
    fn standardized(&self) -> Vec<f64> {
        let (d, n) = (self.dim, self.observed.len() as f64);
        let (mut mean, mut square) = (vec![0.0; d], vec![0.0; d]);
        let rows = || self.observed.iter().map(|(i, _)| &self.features[i * d..][..d]);
        rows().for_each(|row| mean.iter_mut().zip(row).for_each(|(m, f)| *m += f / n));
        for row in rows() {
            let centered = row.iter().zip(&mean).map(|(f, m)| (f - m) * (f - m) / n);
            square.iter_mut().zip(centered).for_each(|(s, c)| *s += c);
        }
        let scale: Vec<f64> =
            square.iter().map(|s| if *s > 0.0 { 1.0 / (s * d as f64).sqrt() } else { 0.0 }).collect();
        let one = |(k, f): (usize, &f64)| (f - mean[k % d]) * scale[k % d];
        self.features.iter().enumerate().map(one).collect()
    }
    /// Trains from the weights of the seed on mean((mu - y)^2) + (lambda / n) |p|^2 / 2.
    fn train(&self, h: &[f64]) -> Trained {
        let BanditOptions { width, iterations, rate, lambda, seed, .. } = self.options;
        let (d, n) = (self.dim, self.observed.len());
        let y: Vec<f64> = self.observed.iter().map(|o| o.1).collect();
        let shift = y.iter().sum::<f64>() / n as f64;
        let square = y.iter().map(|y| (y - shift) * (y - shift)).sum::<f64>() / n as f64;
        let scale = if square > 0.0 { square.sqrt() } else { 1.0 };
        let x: Vec<f64> = self.observed.iter().flat_map(|(i, _)| h[i * d..][..d].iter().copied()).collect();
        let sizes: &[usize] = if width == 0 { &[d, 1] } else { &[d, width, 1] };
        let count: usize = sizes.windows(2).map(|w| (w[0] + 1) * w[1]).sum();
        let mut rng = generator(seed, Purpose::Weights as u64, 0);
        let mut p: Vec<f64> = (0..count).map(|_| normal(&mut rng)).collect();
        if let Ok(mut net) = Mlp::<f64>::dense(sizes, Activation::Relu, Activation::Identity, false) {
            let adam = OptimizerConfig::from(AdamConfig::default());
            let mut adam: Box<dyn Optimizer<f64>> = adam.build(net.spec().entries());
            let (mut out, mut keep) = (vec![0.0; n], vec![0.0; net.keep_len(n)]);
            let (mut bar, mut x_bar, mut g) = (vec![0.0; n], vec![0.0; x.len()], vec![0.0; count]);
            for _ in 0..iterations {
                let at = At::new(0.0, &x[..], &p[..]);
                net.forward(at, &mut out, &mut keep);
                for ((bar, out), y) in bar.iter_mut().zip(&out).zip(&y) {
                    *bar = 2.0 * (out - (y - shift) / scale) / n as f64;
                }
                g.iter_mut().zip(&p).for_each(|(g, p)| *g = lambda / n as f64 * p);
                x_bar.fill(0.0);
                let bars = BarsMut::new(&mut x_bar, &mut g);
                net.vjp(at, Kept { y: &out, keep: &keep }, &bar, bars);
                adam.step(rate, &mut p, &g);
            }
        }
        Trained { dim: d, width, p, shift, scale }
    }
}

/// Standard deviation.
fn spread(v: &[f64]) -> f64 {
    let n = v.len() as f64;
    let mean = v.iter().sum::<f64>() / n;
    (v.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(count: usize, dim: usize) -> Vec<f64> {
        let mut rng = generator(7, Purpose::Design as u64, 0);
        (0..count * dim).map(|_| normal(&mut rng)).collect()
    }

    fn small(width: usize, precision: Precision) -> NeuralUcb {
        let options = BanditOptions { width, iterations: 50, precision, ..BanditOptions::default() };
        let mut bandit = NeuralUcb::new(&features(30, 4), 4, options).unwrap();
        for i in [3, 8, 20, 21, 25] {
            bandit.observe(i, (i as f64).sin()).unwrap();
        }
        bandit
    }

    #[test]
    fn gradients_by_differences_and_by_the_network() {
        for width in [0, 6] {
            let bandit = small(width, Precision::Diagonal);
            let h = bandit.standardized();
            let mut net = bandit.train(&h);
            let (row, count) = (h[20..24].to_vec(), net.p.len());
            let mut g = vec![0.0; count];
            net.gradient(&row, &mut g);
            for (k, g) in g.iter().enumerate() {
                let kept = net.p[k];
                let mut at = |e: f64| {
                    net.p[k] = kept + e;
                    net.score(&row, &vec![0.0; count]).0[0]
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                net.p[k] = kept;
                assert!((slope - g).abs() < 1e-7, "{width} {k}: {slope} {g}");
            }
            // The weighted squares that are never formed.
            let v: Vec<f64> = (0..count).map(|k| 1.0 + (k % 5) as f64).collect();
            let direct: f64 = g.iter().zip(&v).map(|(g, v)| g * g * v).sum();
            assert!((net.score(&row, &v).1[0] - direct).abs() < 1e-12 * direct);
        }
    }

    #[test]
    fn growing_u_equals_computing_it_again() {
        for precision in [Precision::Diagonal, Precision::Full] {
            let mut bandit = small(6, precision);
            let both = bandit.suggest_many(2).unwrap();
            let h = bandit.standardized();
            let net = bandit.train(&h);
            let mut rows: Vec<usize> = bandit.observed.iter().map(|o| o.0).collect();
            rows.push(both[0].index);
            // Anew: lambda + sum of squares, or the inverse of the whole matrix by its definition.
            let (lambda, nu, p) = (0.1, 1.0, net.p.len());
            let mut u = vec![0.0; p * p];
            let mut g = vec![0.0; p];
            for i in &rows {
                net.gradient(&h[i * 4..][..4], &mut g);
                for a in 0..p {
                    for b in 0..p {
                        u[b * p + a] +=
                            if precision == Precision::Full || a == b { g[a] * g[b] } else { 0.0 };
                    }
                }
            }
            (0..p).for_each(|k| u[k * p + k] += lambda);
            net.gradient(&h[both[1].index * 4..][..4], &mut g);
            let mut solved = g.clone();
            Cholesky::new(p, &u).unwrap().solve(&mut solved);
            let sigma = net.scale * (lambda * nu * dot(&g, &solved)).sqrt();
            assert!((sigma / both[1].deviation - 1.0).abs() < 1e-8, "{sigma} {both:?}");
        }
    }

    #[test]
    fn without_hidden_units_it_is_linucb() {
        let mut bandit = small(0, Precision::Diagonal);
        let found = bandit.suggest().unwrap().unwrap();
        // sigma^2 = lambda nu sum_k x_k^2 / (lambda + sum of observed x_k^2), with x = (h, 1).
        let h = bandit.standardized();
        let x = |i: usize| [h[i * 4], h[i * 4 + 1], h[i * 4 + 2], h[i * 4 + 3], 1.0];
        let mut u = [0.1; 5];
        for (i, _) in &bandit.observed {
            u.iter_mut().zip(x(*i)).for_each(|(u, x)| *u += x * x);
        }
        let variance: f64 = 0.1 * x(found.index).iter().zip(u).map(|(x, u)| x * x / u).sum::<f64>();
        let scale = spread(&bandit.observed.iter().map(|o| o.1).collect::<Vec<_>>());
        assert!((found.deviation - scale * variance.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_order_of_candidates_does_not_matter() {
        let (table, n) = (features(40, 3), 40);
        let order: Vec<usize> = (0..n).map(|i| (i * 17 + 5) % n).collect();
        let turned: Vec<f64> = order.iter().flat_map(|i| table[i * 3..][..3].to_vec()).collect();
        let options = BanditOptions { width: 8, iterations: 60, ..BanditOptions::default() };
        let mut a = NeuralUcb::new(&table, 3, options).unwrap();
        let mut b = NeuralUcb::new(&turned, 3, options).unwrap();
        let place = |i: usize| order.iter().position(|o| *o == i).unwrap();
        for i in [1, 2, 30] {
            a.observe(i, i as f64).unwrap();
            b.observe(place(i), i as f64).unwrap();
        }
        for _ in 0..5 {
            let (sa, sb) = (a.suggest().unwrap().unwrap(), b.suggest().unwrap().unwrap());
            assert_eq!(place(sa.index), sb.index);
            let y = table[sa.index * 3];
            a.observe(sa.index, y).unwrap();
            b.observe(sb.index, y).unwrap();
        }
    }

    #[test]
    fn it_finds_the_best_and_ends() {
        let table = features(60, 2);
        let options = BanditOptions {
            width: 20,
            iterations: 400,
            rate: 1e-2,
            choice: Choice::Thompson,
            ..BanditOptions::default()
        };
        let value = |i: usize| 1.0 - (table[2 * i] - 0.5).abs() - table[2 * i + 1].abs();
        let best = (0..60).map(value).fold(f64::NEG_INFINITY, f64::max);
        for choice in [Choice::UpperBound, Choice::Thompson] {
            let mut bandit = NeuralUcb::new(&table, 2, BanditOptions { choice, ..options }).unwrap();
            (0..4).for_each(|i| bandit.observe(i, value(i)).unwrap());
            let mut found = f64::NEG_INFINITY;
            for _ in 0..26 {
                let s = bandit.suggest().unwrap().unwrap();
                // Failures are told and not suggested again.
                let y = if s.index % 7 == 6 { f64::NAN } else { value(s.index) };
                found = if y > found { y } else { found };
                bandit.observe(s.index, y).unwrap();
            }
            assert!(found > best - 0.3, "{choice:?} {found} {best}");
        }
        let mut bandit = NeuralUcb::new(&table[..6], 2, options).unwrap();
        (0..3).for_each(|i| bandit.observe(i, i as f64).unwrap());
        assert_eq!(bandit.suggest().unwrap(), None);
        assert_eq!(bandit.best(), Some((2, 2.0)));
    }

    #[test]
    fn bad_input_is_one_sentence() {
        let options = BanditOptions::default();
        let bad = BanditOptions { lambda: 0.0, ..options };
        for text in [
            NeuralUcb::new(&[1.0; 5], 2, options).unwrap_err().to_string(),
            NeuralUcb::new(&[1.0, f64::NAN], 2, options).unwrap_err().to_string(),
            NeuralUcb::new(&[1.0; 4], 2, bad).unwrap_err().to_string(),
            NeuralUcb::new(&[1.0; 4], 2, options).unwrap().suggest().unwrap_err().to_string(),
            NeuralUcb::new(&[1.0; 4], 2, options).unwrap().observe(2, 0.0).unwrap_err().to_string(),
        ] {
            assert!(!text.is_empty() && !text.contains('\n'), "{text}");
        }
    }
}
