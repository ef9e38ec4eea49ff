//! Offline optimization by a probabilistic bridge: better points from a table (x, y) of past experiments, without a new one ("ROOT: rethinking offline
//! optimization as distributional translation via probabilistic bridge", arXiv 2509.16300).
//!
//! Numbers are standardized; y is to be large. Functions around the data: posterior means of Gaussian processes on some of the data, with random length scale and
//! variance. On each, steps down and up its gradient from good points make pairs (x_low, y_low), (x_high, y_high). Between them is a Brownian bridge, and a network
//! learns the way back:
//!
//! ```text
//! x_m = (1 - m) x_high + m x_low + sqrt(v_m) e,   v_m = 2 (m - m^2),   e ~ N(0, I),   0 <= m <= 1
//! net(x_m, m, y_high, y_low) ~ m (x_low - x_high) + sqrt(v_m) e = x_m - x_high              in the mean of absolute values; y hidden with some probability
//! ```
//!
//! Sampling begins at good points x_low of the table (m = 1) and steps to m = 0, with x^ = x_m - net the predicted end, and s the next m:
//!
//! ```text
//! net = (1 + w) net(.., y) - w net(.., hidden)                                                            w: guidance
//! u = (v_m - v_s ((1 - m)/(1 - s))^2) v_s / v_m                                                           what the bridge leaves open between x^ and x_m
//! x_s = (1 - s) x^ + s x_low + sqrt((v_s - eta^2 u) / v_m) (x_m - (1 - m) x^ - m x_low) + eta sqrt(u) e
//! ```
//!
//! With eta = 1 and the exact conditional mean in place of the network it has the law of the bridge. v is twice the variance t (1 - t) of the paper, as the authors
//! compute it. They train with (y_high, y_low) and sample with the two exchanged, with w = -1.5: both [`Order`]s are there.
//!
//! Doubt: with tanh layers more guidance is better here as trained (study `root`, quick: median proposal 2.8, 7.9, 13.2 at w = -1.5, 0, 1), as the sign above says where values direct the way, and
//! -1.5 is worse than 0 in both orders; the reference run has it the other way round. Its Swish layers grow without bound where the target lies far outside of what was trained, tanh layers do not: not measured.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use rayon::prelude::*;

use super::SurrogateError;
use super::gp::Gp;
use super::kernel::{Kernel, Shape, Stationary};
use crate::diff::{At, BarsMut, Kept, Map};
use crate::nn::{Activation, Mlp, Params};
use crate::random::{Purpose, generator, normal};
use crate::sde::{Brownian, BrownianPath};
use crate::train::optim::AdamConfig;
use crate::train::{Optimizer, OptimizerConfig};

/// In which places a sampled point's own value and the target stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As in training: the target in the place of y_high.
    #[default]
    AsTrained,
    /// Exchanged, as the authors' program does.
    Exchanged,
}

/// How the bridge is learned and used.
#[derive(Debug, Clone, PartialEq)]
pub struct BridgeOptions {
    /// Epochs, each with new functions; published 100.
    pub epochs: usize,
    /// Functions of an epoch; published 8.
    pub functions: usize,
    /// Length scale and variance of a function are uniform in this number +- 0.25; published 1 for numbers, 6.25 for one-hot codes.
    pub scale: f64,
    /// Variance of the noise of the functions; published 0.01.
    pub noise: f64,
    /// Data that a function is conditioned on, drawn for each; no source says how many.
    pub conditioned: usize,
    /// The best so many data are where pairs begin; published 1024.
    pub starts: usize,
    /// Steps down and up; published 100.
    pub climb: usize,
    /// Their rate; published 1e-3 for numbers, 0.05 for one-hot codes.
    pub climb_rate: f64,
    /// Pairs with a smaller gap of y are dropped; published 1e-3.
    pub gap: f64,
    /// Width of the three hidden layers; published 1024.
    pub width: usize,
    /// Probability that both y are hidden; published 0.15.
    pub hide: f64,
    /// Pairs of a step.
    pub batch: usize,
    /// Passes over the pairs of an epoch, each with new m and e.
    pub passes: usize,
    /// Rate of Adam; published 1e-3.
    pub rate: f64,
    /// Decay of the average of the weights; published 0.995.
    pub average: f64,
    /// Points to propose; they begin at as many of the best data. Published 128.
    pub proposals: usize,
    /// Steps from m = 1 to 0; published 200.
    pub steps: usize,
    /// eta in \[0, 1\]; published 0.2.
    pub eta: f64,
    /// w; published -1.5.
    pub guidance: f64,
    /// What stands where.
    pub order: Order,
    /// The value aimed at, in units of y; published: 0.8 x the known maximum, standardized. Default: as far above the best as that is above the median.
    pub target: Option<f64>,
    /// Lengths of one-hot codes, one after another from the first column: proposals have a one in each. None: numbers.
    pub one_hot: Vec<usize>,
    /// Seed; default 0.
    pub seed: u64,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            epochs: 100,
            functions: 8,
            scale: 1.0,
            noise: 0.01,
            conditioned: 400,
            starts: 1024,
            climb: 100,
            climb_rate: 1e-3,
            gap: 1e-3,
            width: 128,
            hide: 0.15,
            batch: 64,
            passes: 8,
            rate: 1e-3,
            average: 0.995,
            proposals: 128,
            steps: 200,
            eta: 0.2,
            guidance: -1.5,
            order: Order::AsTrained,
            target: None,
            one_hot: vec![],
            seed: 0,
        }
    }
}

/// What is proposed.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposals {
    /// Points, one after another.
    pub x: Vec<f64>,
    /// The rows of the table where they began.
    pub from: Vec<usize>,
    /// Pairs of the last epoch.
    pub pairs: usize,
    /// Mean absolute error of the network in the last epoch.
    pub loss: f64,
}

/// Two ends, found on one function.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// x_low.
    pub low: Vec<f64>,
    /// x_high.
    pub high: Vec<f64>,
    /// y_low.
    pub y_low: f64,
    /// y_high.
    pub y_high: f64,
}

/// Columns to mean 0 and deviation 1; constant ones are left as they are.
struct Standard {
    mean: Vec<f64>,
    deviation: Vec<f64>,
}

impl Standard {
    fn new(x: &[f64], dim: usize) -> Self {
        let n = (x.len() / dim) as f64;
        let mean: Vec<f64> = (0..dim).map(|j| x.iter().skip(j).step_by(dim).sum::<f64>() / n).collect();
        let deviation = mean.iter().enumerate().map(|(j, m)| {
            let d = (x.iter().skip(j).step_by(dim).map(|v| (v - m) * (v - m)).sum::<f64>() / n).sqrt();
            if d > 1e-12 * m.abs().max(f64::MIN_POSITIVE) { d } else { 1.0 }
        });
        let deviation = deviation.collect();
        Self { mean, deviation }
    }
    fn apply(&self, x: &[f64]) -> Vec<f64> {
        let ends = self.mean.iter().zip(&self.deviation).cycle();
        x.iter().zip(ends).map(|(x, (m, d))| (x - m) / d).collect()
    }
    fn back(&self, x: &[f64]) -> Vec<f64> {
        let ends = self.mean.iter().zip(&self.deviation).cycle();
        x.iter().zip(ends).map(|(x, (m, d))| m + d * x).collect()
    }
}

/// Steps along the gradient that `mean` writes, from x, `rate` negative: down; the end and its value. The plain way to better points of a model.
pub fn ascend(
    mean: &dyn Fn(&[f64], &mut [f64]) -> f64,
    x: &[f64],
    steps: usize,
    rate: f64,
) -> (Vec<f64>, f64) {
    let (mut x, mut g) = (x.to_vec(), vec![0.0; x.len()]);
    for _ in 0..steps {
        mean(&x, &mut g);
        x.iter_mut().zip(&g).for_each(|(x, g)| *x += rate * g);
    }
    let value = mean(&x, &mut g);
    (x, value)
}

/// Pairs on the mean of a Gaussian process, from points one after another: y_low < y_high by at least the gap.
pub fn pairs<K: Kernel + Sync>(gp: &Gp<K>, starts: &[f64], o: &BridgeOptions) -> Vec<Pair> {
    let found = starts.par_chunks(gp.kernel().dim()).map(|x| {
        let mean = |x: &[f64], g: &mut [f64]| gp.mean_gradient(x, g);
        let (low, y_low) = ascend(&mean, x, o.climb, -o.climb_rate);
        let (high, y_high) = ascend(&mean, x, o.climb, o.climb_rate);
        // A value that is not finite has no gap.
        (y_high - y_low > o.gap).then_some(Pair { low, high, y_low, y_high })
    });
    found.flatten().collect()
}

/// v_m.
fn variance(m: f64) -> f64 {
    2.0 * (m - m * m)
}

/// x_m on the bridge, and sqrt(v_m) e + m (x_low - x_high).
fn on_bridge(pair: (&[f64], &[f64]), m: f64, noise: &[f64], x: &mut [f64], way: &mut [f64]) {
    let spread = variance(m).max(0.0).sqrt();
    for (k, ((low, high), e)) in pair.0.iter().zip(pair.1).zip(noise).enumerate() {
        x[k] = (1.0 - m) * high + m * low + spread * e;
        way[k] = m * (low - high) + spread * e;
    }
}

/// Times of the bridge, T; m goes from 0.001 to 0.999.
const TIMES: usize = 1000;

fn time(k: f64) -> f64 {
    0.001 + 0.998 * k / (TIMES - 1) as f64
}

/// Writes the predicted x_m - x_high of all points at x_m and m.
pub type Way<'f> = dyn FnMut(&[f64], f64, &mut [f64]) + 'f;

/// Samples from m = 1 at x_low (points one after another) to m = 0. `way(x, m, out)` writes the predicted x_m - x_high of all points; the noise is a Brownian path of
/// each point.
///
/// # Errors
/// One sentence: no steps, or more points than there are Brownian paths.
pub fn sample(
    start: &[f64],
    dim: usize,
    (steps, eta, seed): (usize, f64, u64),
    way: &mut Way<'_>,
) -> Result<Vec<f64>, SurrogateError> {
    if steps == 0 || dim == 0 || !(0.0..=1.0).contains(&eta) {
        return Err(SurrogateError::new(format!(
            "a bridge of {steps} steps in {dim} dimensions with eta {eta}: expected at least 1 and 1, and eta from 0 to 1"
        )));
    }
    let wrong = |e: crate::error::OdeError| SurrogateError::new(format!("bridge: {e}"));
    let brownian = Brownian::new(seed).over(0.0, 1.0).with_cells(steps as u32);
    let mut path = BrownianPath::new(&brownian, (0.0, 1.0), dim, start.len() / dim).map_err(wrong)?;
    let (mut x, mut out) = (start.to_vec(), vec![0.0; start.len()]);
    let scale = (steps as f64).sqrt();
    for k in 0..steps {
        let at = |k: usize| time((TIMES - 1) as f64 * (1.0 - k as f64 / steps as f64));
        let m = at(k);
        way(&x, m, &mut out);
        if k + 1 == steps {
            x.iter_mut().zip(&out).for_each(|(x, w)| *x -= w);
            break;
        }
        let s = at(k + 1);
        let (v_m, v_s) = (variance(m), variance(s));
        let open = (v_m - v_s * ((1.0 - m) / (1.0 - s)).powi(2)).max(0.0) * v_s / v_m;
        let (keep, noise) = (((v_s - eta * eta * open).max(0.0) / v_m).sqrt(), eta * open.sqrt());
        let (w, _) = path.advance((k + 1) as f64 / steps as f64).map_err(wrong)?;
        for (((x, low), way), w) in x.iter_mut().zip(start).zip(&out).zip(w) {
            let end = *x - way;
            *x = (1.0 - s) * end + s * low + keep * (*x - (1.0 - m) * end - m * low) + noise * scale * w;
        }
    }
    Ok(x)
}

/// The network with the average of its weights.
struct Net {
    map: Mlp<f32>,
    params: Params<f32>,
    average: Vec<f32>,
    optimizer: Box<dyn Optimizer<f32>>,
    dim: usize,
}

/// What a network sees of a point besides x: m and the two values; nothing: hidden.
type Seen = (f64, Option<(f64, f64)>);

impl Net {
    fn new(dim: usize, o: &BridgeOptions) -> Result<Self, SurrogateError> {
        let sizes = [dim + 3, o.width, o.width, o.width, dim];
        let map = Mlp::dense(&sizes, Activation::Tanh, Activation::Identity, false);
        let map = map.map_err(|e| SurrogateError::new(format!("bridge: {e}")))?;
        let mut params = Params::new();
        params.add_spec("bridge", map.spec(), &mut generator(o.seed, Purpose::Weights as u64, 3));
        let optimizer = OptimizerConfig::from(AdamConfig::default()).build(params.entries());
        let average = params.values().to_vec();
        Ok(Self { map, params, average, optimizer, dim })
    }
    fn push(inputs: &mut Vec<f32>, x: &[f64], (m, seen): Seen) {
        let (a, b) = seen.unwrap_or((0.0, 0.0));
        inputs.extend(x.iter().map(|x| *x as f32));
        inputs.extend([m as f32, a as f32, b as f32]);
    }
    /// One step on the mean absolute error.
    fn step(&mut self, inputs: &[f32], targets: &[f32], o: &BridgeOptions) -> f64 {
        let batch = targets.len() / self.dim;
        let (mut y, mut keep) = (vec![0.0; targets.len()], vec![0.0; self.map.keep_len(batch)]);
        let at = At::new(0.0, inputs, self.params.values());
        self.map.forward(at, &mut y, &mut keep);
        let share = 1.0 / targets.len() as f32;
        let loss: f64 = y.iter().zip(targets).map(|(y, t)| f64::from((y - t).abs())).sum();
        let bar: Vec<f32> = y.iter().zip(targets).map(|(y, t)| share * (y - t).signum()).collect();
        let (mut unused, mut g) = (vec![0.0; inputs.len()], vec![0.0; self.average.len()]);
        let of = Kept { y: &y, keep: &keep };
        self.map.vjp(at, of, &bar, BarsMut::new(&mut unused, &mut g));
        self.optimizer.step(o.rate, self.params.values_mut(), &g);
        let w = 1.0 - o.average as f32;
        self.average.iter_mut().zip(self.params.values()).for_each(|(a, p)| *a += w * (p - *a));
        loss / targets.len() as f64
    }
    /// Outputs of the average for some points, all with the same m; `seen` of each.
    fn predict(&mut self, x: &[f64], seen: impl Fn(usize) -> Seen) -> Vec<f32> {
        let mut inputs = vec![];
        for (i, x) in x.chunks_exact(self.dim).enumerate() {
            Self::push(&mut inputs, x, seen(i));
        }
        let mut y = vec![0.0; x.len()];
        self.map.value(At::new(0.0, &inputs, &self.average), &mut y);
        y
    }
}

/// Data standardized, the best first.
struct Sorted {
    x: Vec<f64>,
    y: Vec<f64>,
    dim: usize,
    order: Vec<usize>,
}

impl Sorted {
    fn points(&self, count: usize) -> Vec<f64> {
        let rows = self.order.iter().take(count);
        rows.flat_map(|i| self.x[i * self.dim..][..self.dim].iter().copied()).collect()
    }
    /// A random function of an epoch around the data.
    fn function(&self, o: &BridgeOptions, index: u64) -> Result<Gp<Stationary>, SurrogateError> {
        let mut rng = generator(o.seed, Purpose::Bridge as u64, 2 * index);
        let mut near = || o.scale + 0.25 * (2.0 * rng.random::<f64>() - 1.0);
        let (length, variance) = (near(), near());
        let n = self.y.len();
        let mut rows: Vec<usize> = (0..n).collect();
        let count = o.conditioned.min(n);
        for i in 0..count {
            let j = rng.random_range(i..n);
            rows.swap(i, j);
        }
        let (mut x, mut y) = (vec![], vec![]);
        for i in &rows[..count] {
            x.extend_from_slice(&self.x[i * self.dim..][..self.dim]);
            y.push(self.y[*i]);
        }
        let kernel = Stationary::new(Shape::SquaredExponential, self.dim, variance, &[length]);
        Gp::new(kernel, o.noise, &x, &y).map_err(|e| SurrogateError::new(format!("bridge: {e}")))
    }
}

fn go_on(stop: &AtomicBool) -> Result<(), SurrogateError> {
    if stop.load(Ordering::Relaxed) {
        Err(SurrogateError::new("bridge: stopped before its end"))
    } else {
        Ok(())
    }
}

/// Trains on pairs of new functions in every epoch; the number of pairs and the loss of the last.
fn learn(
    net: &mut Net,
    data: &Sorted,
    o: &BridgeOptions,
    stop: &AtomicBool,
) -> Result<(usize, f64), SurrogateError> {
    let (starts, mut last) = (data.points(o.starts), (0, f64::NAN));
    for epoch in 0..o.epochs {
        let mut found = vec![];
        for k in 0..o.functions {
            go_on(stop)?;
            found.extend(pairs(&data.function(o, (epoch * o.functions + k) as u64)?, &starts, o));
        }
        if found.is_empty() {
            continue;
        }
        let mut rng = generator(o.seed, Purpose::Bridge as u64, 2 * epoch as u64 + 1);
        let (mut sum, mut steps) = (0.0, 0);
        for _ in 0..o.passes {
            go_on(stop)?;
            for i in (1..found.len()).rev() {
                found.swap(i, rng.random_range(0..=i));
            }
            for batch in found.chunks(o.batch.max(1)) {
                let (mut inputs, mut targets) = (vec![], vec![]);
                let (mut x, mut way) = (vec![0.0; data.dim], vec![0.0; data.dim]);
                for p in batch {
                    let m = time(rng.random_range(0..TIMES) as f64);
                    let noise: Vec<f64> = (0..data.dim).map(|_| normal(&mut rng)).collect();
                    on_bridge((&p.low, &p.high), m, &noise, &mut x, &mut way);
                    let seen = (rng.random::<f64>() >= o.hide).then_some((p.y_high, p.y_low));
                    Net::push(&mut inputs, &x, (m, seen));
                    targets.extend(way.iter().map(|w| *w as f32));
                }
                sum += net.step(&inputs, &targets, o);
                steps += 1;
            }
        }
        last = (found.len(), sum / f64::from(steps));
    }
    if last.0 == 0 {
        return Err(SurrogateError::new(
            "bridge: no function rises anywhere: are all values the same, or climb and climb_rate too small?",
        ));
    }
    Ok(last)
}

fn check(x: &[f64], y: &[f64], bounds: &[(f64, f64)], o: &BridgeOptions) -> Result<(), SurrogateError> {
    let wrong = |what: String| Err(SurrogateError::new(what));
    let (dim, n) = (bounds.len(), y.len());
    if dim == 0 || x.len() != dim * n || n < 4 {
        return wrong(format!(
            "bridge: {} numbers and {n} values: expected at least 4 rows of {dim}",
            x.len()
        ));
    }
    if let Some(v) = x.iter().chain(y).find(|v| !v.is_finite()) {
        return wrong(format!("bridge: a number of the table is {v}"));
    }
    if let Some(b) = bounds.iter().find(|b| b.0.is_nan() || b.1.is_nan() || b.0 >= b.1) {
        return wrong(format!("bridge: bounds {} and {}, expected the lower one first", b.0, b.1));
    }
    if o.one_hot.iter().sum::<usize>() > dim || o.one_hot.contains(&0) {
        return wrong(format!("bridge: one-hot codes of lengths {:?} in {dim} columns", o.one_hot));
    }
    let counts =
        [o.epochs, o.functions, o.conditioned, o.starts, o.climb, o.width, o.passes, o.proposals, o.steps];
    let positive = [o.scale - 0.25, o.noise, o.climb_rate, o.rate];
    if counts.contains(&0) || positive.iter().any(|v| !(*v > 0.0 && v.is_finite())) {
        return wrong(
            "bridge: all counts must be at least 1, noise and rates positive, scale above 0.25".into(),
        );
    }
    Ok(())
}

/// A one in the place of the largest number of every one-hot code of these lengths, zeros elsewhere.
pub fn snap(x: &mut [f64], lengths: &[usize]) {
    let mut rest = x;
    for n in lengths {
        let (code, after) = rest.split_at_mut(*n);
        let top = (0..*n).fold(0, |t, i| if code[i] > code[t] { i } else { t });
        code.iter_mut().enumerate().for_each(|(i, v)| *v = f64::from(u8::from(i == top)));
        rest = after;
    }
}

/// Points whose values should be larger than those of the table, n rows x (as many numbers as bounds) with values y. They lie within the bounds. It ends early, with an error, where `stop`
/// becomes true.
///
/// # Errors
/// One sentence: a table that does not fit or is not finite, options out of range, functions that are flat everywhere, or that it was stopped.
pub fn propose(
    x: &[f64],
    y: &[f64],
    bounds: &[(f64, f64)],
    options: &BridgeOptions,
    stop: &AtomicBool,
) -> Result<Proposals, SurrogateError> {
    Ok(propose_all(x, y, bounds, std::slice::from_ref(options), stop)?.remove(0))
}

/// As [`propose`] with one training and several ways of sampling: what follows `average` may differ from the first options.
///
/// # Errors
/// As [`propose`].
pub fn propose_all(
    x: &[f64],
    y: &[f64],
    bounds: &[(f64, f64)],
    options: &[BridgeOptions],
    stop: &AtomicBool,
) -> Result<Vec<Proposals>, SurrogateError> {
    options.iter().try_for_each(|o| check(x, y, bounds, o))?;
    let Some(first) = options.first() else { return Ok(vec![]) };
    let (of_x, of_y, dim) = (Standard::new(x, bounds.len()), Standard::new(y, 1), bounds.len());
    let mut order: Vec<usize> = (0..y.len()).collect();
    order.sort_by(|a, b| y[*b].total_cmp(&y[*a]).then(a.cmp(b)));
    let data = Sorted { x: of_x.apply(x), y: of_y.apply(y), dim, order };
    let mut net = Net::new(dim, first)?;
    let (pairs, loss) = learn(&mut net, &data, first, stop)?;
    let best = y[data.order[0]];
    let default = best + (best - y[data.order[y.len() / 2]]);
    let proposed = options.iter().map(|o| {
        let target = of_y.apply(&[o.target.unwrap_or(default)])[0];
        let from: Vec<usize> = data.order.iter().copied().take(o.proposals).collect();
        let start = data.points(o.proposals);
        let both = |i: usize| match o.order {
            Order::AsTrained => (target, data.y[from[i]]),
            Order::Exchanged => (data.y[from[i]], target),
        };
        go_on(stop)?;
        let mut way = |x: &[f64], m: f64, out: &mut [f64]| {
            let told = net.predict(x, |i| (m, Some(both(i))));
            let hidden = net.predict(x, |_| (m, None));
            for ((out, a), b) in out.iter_mut().zip(told).zip(hidden) {
                *out = (1.0 + o.guidance) * f64::from(a) - o.guidance * f64::from(b);
            }
        };
        let mut x = of_x.back(&sample(&start, dim, (o.steps, o.eta, o.seed), &mut way)?);
        for row in x.chunks_exact_mut(dim) {
            row.iter_mut().zip(bounds).for_each(|(x, b)| *x = x.clamp(b.0, b.1));
            snap(row, &o.one_hot);
        }
        Ok(Proposals { x, from, pairs, loss })
    });
    proposed.collect()
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
