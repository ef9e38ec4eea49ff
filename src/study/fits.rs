//! Networks fitted by any optimizer: what the studies that compare optimizers have in common.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::data::{SplitMix64, additive_polynomial, one_d};
pub use super::digits::Digits;
use super::digits::INPUTS;
use super::stats::median;
use super::{Run, StudyError, Table};
use crate::diagnose::{effective_rank, product_by_differences, sharpness};
use crate::linalg::Scalar;
use crate::nn::{Activation, Entry, Mlp};
use crate::train::config::{Config, SolverConfig, TrainConfig};
use crate::train::data::{Stream, generator};
use crate::train::supervised::{Layers, LossKind, Memory, StandardLoss, Supervised};
use crate::train::{
    Evaluation, OptimizerConfig, Progress, Schedule, SpiralOde, SpiralOdeConfig, Split, State, Task,
    TrainError, TrainEvent, TrainStop, optim, train,
};

/// Rows and the network that is to learn them.
#[derive(Clone)]
pub struct Problem<T> {
    pub rows: Memory<T>,
    pub sizes: Vec<usize>,
    pub activation: Activation,
    pub loss: StandardLoss,
}

/// Supervised learning of it.
pub type Fit<T> = Supervised<T, Layers<Mlp<T>, T>, Memory<T>, StandardLoss>;

impl<T: Scalar> Problem<T> {
    /// The task; evaluations take a thousand rows at a time.
    pub fn task(&self) -> Result<Fit<T>, TrainError> {
        let net = Mlp::dense(&self.sizes, self.activation, Activation::Identity, false)?;
        Supervised::new(Layers::new(net)?, self.rows.clone(), self.loss.clone(), 1000)
    }
    /// n rows to train on and n for validation, targets divided by the deviation of those trained on, about their mean; three layers of 16 units, exact GELU, squared error.
    fn numbers(inputs: usize, x: Vec<f64>, y: Vec<f64>) -> Result<Self, TrainError> {
        let n = y.len() / 2;
        let mean = y[..n].iter().sum::<f64>() / n as f64;
        let deviation = (y[..n].iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n as f64).sqrt();
        let y = y.iter().map(|y| T::of((y - mean) / deviation)).collect();
        let rows = Memory::new((inputs, 1), x.into_iter().map(T::of).collect(), y)?;
        Ok(Self {
            rows: rows.with_splits([(0..n).collect(), (n..2 * n).collect(), vec![]])?,
            sizes: vec![inputs, 16, 16, 16, 1],
            activation: Activation::Gelu,
            loss: StandardLoss::new(LossKind::Squared, 1)?,
        })
    }
    /// The 1-D task.
    pub fn one_d(seed: u64, n: usize) -> Result<Self, TrainError> {
        let (x, y) = one_d(2 * n, &mut SplitMix64::of(seed, 21));
        Self::numbers(1, x, y)
    }
    /// A polynomial of degree 4 in each of six inputs.
    pub fn polynomial(seed: u64, n: usize) -> Result<Self, TrainError> {
        let (x, y) = additive_polynomial(2 * n, (6, 4), &mut SplitMix64::of(seed, 22));
        Self::numbers(6, x, y)
    }
    /// A network 196-100-10 with ReLU for these images, of which the first so many are trained on.
    pub fn digits(images: &Digits, train: usize) -> Result<Self, TrainError> {
        let (x, y) = (images.x.iter().map(|v| T::of(*v)), images.labels.iter().map(|l| T::of(*l as f64)));
        let n = images.labels.len();
        let rows = Memory::new((INPUTS, 1), x.collect(), y.collect())?;
        Ok(Self {
            rows: rows.with_splits([(0..train).collect(), (train..n).collect(), vec![]])?,
            sizes: vec![INPUTS, 100, 10],
            activation: Activation::Relu,
            loss: StandardLoss::new(LossKind::CrossEntropy, 10)?,
        })
    }
}

/// The spiral neural ODE at a tolerance of 1e-6.
pub fn spiral() -> Result<SpiralOde<f64>, TrainError> {
    let of = SpiralOdeConfig::default();
    let solver = SolverConfig { rtol: Some(1e-6), atol: Some(1e-6), ..SolverConfig::default() };
    let config = Config {
        task: of.clone().into(),
        solver,
        train: TrainConfig::new(1, Schedule::constant(1.0)),
        optimizer: optim::AdamConfig::default().into(),
        penalties: vec![],
        variants: vec![],
        diagnose: None,
    };
    SpiralOde::new(&config, &of)
}

/// How a network is fitted.
#[derive(Debug, Clone)]
pub struct Plan {
    pub optimizer: OptimizerConfig,
    pub rate: Schedule,
    pub batch: usize,
    pub epochs: u64,
    pub seed: u64,
    /// Whether weights start uniform in +-1 / sqrt(inputs), as biases do; else as the task has it.
    pub uniform: bool,
    /// Whether it is validated after every epoch.
    pub curve: bool,
}

impl Plan {
    /// The start as the task has it, no curve.
    pub fn new(optimizer: &OptimizerConfig, rate: f64, (batch, epochs): (usize, u64), seed: u64) -> Self {
        let rate = Schedule::constant(rate);
        Self { optimizer: optimizer.clone(), rate, batch, epochs, seed, uniform: false, curve: false }
    }
    /// That of the reference runs on small networks: batches of 32, 20 epochs, uniform start.
    pub fn small(optimizer: &OptimizerConfig, rate: f64, seed: u64) -> Self {
        Self { uniform: true, ..Self::new(optimizer, rate, (32, 20), seed) }
    }
}

/// What a fit led to.
pub struct Fitted<T> {
    /// Of the validation rows; infinite if the run failed.
    pub error: f64,
    /// The evaluation that the error is of; zeros if the run failed.
    pub found: Evaluation,
    /// Seconds of training so far and validation error, one point an epoch.
    pub curve: Vec<(f64, f64)>,
    /// Of all steps, without validation.
    pub seconds: f64,
    pub start: Vec<T>,
    pub end: Vec<T>,
    pub entries: Vec<Entry>,
}

/// Uniform in +-1 / sqrt(inputs of the layer), biases too.
pub fn uniform_start<T: Scalar>(entries: &[Entry], seed: u64, values: &mut [T]) {
    let mut numbers = SplitMix64::of(seed, 23);
    let mut bound = 1.0;
    for e in entries {
        if e.shape.len() == 2 {
            bound = 1.0 / (e.shape[0] as f64).sqrt();
        }
        values[e.range.clone()].iter_mut().for_each(|v| *v = T::of(bound * (2.0 * numbers.uniform() - 1.0)));
    }
}

/// Trains and validates. A run that fails, by numbers that are not finite or a solver that gives up, has an infinite error.
pub fn fit<T: Scalar>(
    task: &mut dyn Task<T>,
    plan: &Plan,
    stop: &AtomicBool,
) -> Result<Fitted<T>, TrainError> {
    let config = TrainConfig {
        batch: plan.batch,
        seed: plan.seed,
        validate_every: if plan.curve { 1 } else { u64::MAX },
        checkpoint_every: u64::MAX,
        ..TrainConfig::new(plan.epochs, plan.rate)
    };
    let mut state = State::new(task, &plan.optimizer, plan.seed);
    if plan.uniform {
        let entries = state.params.entries().to_vec();
        uniform_start(&entries, plan.seed, state.params.values_mut());
    }
    let (start, entries) = (state.params.values().to_vec(), state.params.entries().to_vec());
    let (mut seconds, mut curve) = (0.0, vec![]);
    let ended = train(task, &config, &mut state, &mut |event, _| {
        match event {
            TrainEvent::Step(record) => seconds += record.seconds,
            TrainEvent::Validation { evaluation, .. } => curve.push((seconds, evaluation.loss)),
            TrainEvent::Checkpoint { .. } => {}
        }
        Ok(if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    let end = state.params.values().to_vec();
    let split = if task.split_len(Split::Validation) > 0 { Split::Validation } else { Split::Test };
    let found = match ended {
        TrainStop::Failed { .. } => None,
        _ => match task.evaluate(&end, split) {
            Err(TrainError::Solver { .. }) => None,
            other => Some(other?),
        },
    };
    let error = found.as_ref().map(|e| e.loss).filter(|e| !e.is_nan()).unwrap_or(f64::INFINITY);
    Ok(Fitted { error, found: found.unwrap_or_default(), curve, seconds, start, end, entries })
}

/// Seven rates around a center, three a decade and a half; quick: the middle three.
pub fn rates(center: f64, quick: bool) -> Vec<f64> {
    let all = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
    // Written with one digit, so that tables can be read.
    let round = |r: f64| format!("{:.1e}", r * center).parse().unwrap_or(r * center);
    if quick { &all[2..5] } else { &all[..] }.iter().map(|r| round(*r)).collect()
}

/// About the best rate of an optimizer on small networks, from its paper or its relation to Adam.
pub fn center(optimizer: &OptimizerConfig) -> f64 {
    match optimizer.kind() {
        "sgd" | "sven" | "delta_momentum" => 0.03,
        "am" | "dgd" => 0.3,
        "lion" => 3e-4,
        "shampoo" | "muon" | "deep_momentum" => 3e-3,
        _ => 1e-3,
    }
}

/// An optimizer with its name in tables.
pub fn named(name: &str, optimizer: impl Into<OptimizerConfig>) -> (String, OptimizerConfig) {
    (name.to_string(), optimizer.into())
}

/// Those that stand for all in the comparisons of one method with others, without weight decay.
pub fn baselines() -> Vec<(String, OptimizerConfig)> {
    vec![
        named("adam", optim::AdamConfig::default()),
        named("sgd", optim::SgdConfig::default()),
        named("am", optim::AmConfig::default()),
        named("shampoo", optim::ShampooConfig::default()),
    ]
}

/// All pairs in parallel, in order; the first error, or an interruption.
pub fn each<A: Sync, B: Send>(
    run: &Run<'_>,
    jobs: &[A],
    work: impl Fn(&A, &AtomicBool) -> Result<B, StudyError> + Sync,
) -> Result<Vec<B>, StudyError> {
    let stop: &AtomicBool = run.stop();
    let one = |job: &A| {
        let done = work(job, stop)?;
        if stop.load(Ordering::Relaxed) { Err(StudyError::Interrupted) } else { Ok(done) }
    };
    jobs.par_iter().map(one).collect()
}

/// Optimizer, rate and seed, with what came of them.
pub type Jobs<B> = Vec<((usize, f64, u64), B)>;

/// Every optimizer at every rate of its grid for every seed, in this order.
pub fn grid<B: Send>(
    run: &Run<'_>,
    methods: &[(String, OptimizerConfig)],
    seeds: std::ops::Range<u64>,
    work: impl Fn(&OptimizerConfig, f64, u64, &AtomicBool) -> Result<B, StudyError> + Sync,
) -> Result<Jobs<B>, StudyError> {
    let mut jobs = vec![];
    for (m, (_, optimizer)) in methods.iter().enumerate() {
        for rate in rates(center(optimizer), run.options.quick) {
            jobs.extend(seeds.clone().map(|seed| (m, rate, seed)));
        }
    }
    let done = each(run, &jobs, |(m, rate, seed), stop| work(&methods[*m].1, *rate, *seed, stop))?;
    Ok(jobs.into_iter().zip(done).collect())
}

/// The grids, for notes.
pub fn grids(methods: &[(String, OptimizerConfig)], quick: bool) -> String {
    let one = |(name, optimizer): &(String, OptimizerConfig)| {
        let rates = rates(center(optimizer), quick);
        format!("{name} {:e} to {:e}", rates[0], rates[rates.len() - 1])
    };
    let all: Vec<String> = methods.iter().map(one).collect();
    format!("{} rates a method: {}", rates(1.0, quick).len(), all.join(", "))
}

/// Effective rank of what training added to the first layer's weight, rows: inputs; none if it is not finite.
pub fn first_layer_rank<T: Scalar>(entries: &[Entry], start: &[T], end: &[T]) -> Option<f64> {
    let weight = entries.iter().find(|e| e.shape.len() == 2)?;
    let moved = |i: usize| end[i].f64() - start[i].f64();
    effective_rank(&weight.range.clone().map(moved).collect::<Vec<_>>(), weight.shape[1]).ok()
}

/// The largest eigenvalue of the Hessian of the loss of these samples, by 30 Lanczos steps with differences of gradients.
pub fn sharpness_at(
    task: &mut dyn Task<f64>,
    p: &[f64],
    samples: &[usize],
) -> Result<Option<f64>, TrainError> {
    let mut failed = None;
    let mut gradient = |p: &[f64], g: &mut [f64]| {
        g.fill(0.0);
        let mut rng = generator(0, Stream::Diagnose, 0);
        if let Err(e) = task.gradient(p, samples, &Progress::default(), &mut rng, g) {
            failed = Some(e);
            g.fill(f64::NAN);
        }
    };
    let mut product = |v: &[f64], out: &mut [f64]| product_by_differences(&mut gradient, p, v, 1e-4, out);
    let found = sharpness(&mut product, p.len(), 30, 0).map(|s| s.value);
    match failed {
        Some(TrainError::Solver { .. }) | None => Ok(found),
        Some(e) => Err(e),
    }
}

/// Of the rows of a method: the rate whose median of a column over the seeds is least, and that median. A rate with an entry that is not a number does not count.
pub fn best(table: &Table, column: &str) -> Option<(f64, f64)> {
    let mut found: Option<(f64, f64)> = None;
    for rate in table.values("rate") {
        let value = median(&table.only("rate", rate.clone()).numbers(column)).filter(|v| !v.is_nan());
        if let (Some(rate), Some(value)) = (rate.number(), value)
            && found.is_none_or(|f| value < f.1)
        {
            found = Some((rate, value));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::Cell;
    use super::*;

    #[test]
    fn the_one_d_network_has_its_size_and_start() {
        let problem = Problem::<f64>::one_d(0, 50).unwrap();
        let task = problem.task().unwrap();
        let mut state = State::new(&task, &OptimizerConfig::every()[0], 0);
        assert_eq!((state.params.values().len(), task.split_len(Split::Validation)), (593, 50));
        let entries = state.params.entries().to_vec();
        uniform_start(&entries, 0, state.params.values_mut());
        let p = state.params.values();
        let most = |r: std::ops::Range<usize>| p[r].iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(most(0..32) <= 1.0 && most(0..32) > 0.8 && most(32..593) <= 0.25 && most(32..593) > 0.24);
        assert_eq!(
            Problem::<f64>::polynomial(0, 9).unwrap().task().unwrap().params(&mut rng()).values().len(),
            673
        );
    }

    fn rng() -> rand::rngs::StdRng {
        crate::train::data::generator(0, crate::train::data::Stream::Init, 0)
    }

    #[test]
    fn rates_and_the_best_of_them() {
        assert_eq!(rates(1e-3, false), [3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2]);
        assert_eq!(rates(3e-4, true), [9e-5, 3e-4, 9e-4]);
        let mut t = Table::new(&["rate", "error"]);
        for (rate, error) in [(0.1, 3.0), (0.1, f64::INFINITY), (0.1, 2.0), (1.0, 2.5), (1.0, f64::NAN)] {
            t.push(vec![rate.into(), error.into()]);
        }
        assert_eq!(best(&t, "error"), Some((0.1, 3.0)));
        t.push(vec![2.0.into(), Cell::Missing]);
        assert_eq!(best(&t.only("rate", 2.0), "error"), None);
    }

    #[test]
    fn a_fit_goes_down_or_is_infinite() {
        let problem = Problem::<f64>::one_d(0, 200).unwrap();
        let stop = AtomicBool::new(false);
        let sgd = optim::SgdConfig::default().into();
        let plan = |rate| Plan { uniform: true, curve: true, ..Plan::new(&sgd, rate, (20, 40), 1) };
        let good = fit(&mut problem.task().unwrap(), &plan(0.02), &stop).unwrap();
        assert!(
            good.error < 0.9 && good.curve.len() == 40 && good.curve[39].1 == good.error,
            "{:?}",
            good.curve
        );
        assert!(good.seconds > 0.0 && good.curve[0].0 < good.seconds && good.start != good.end);
        assert_eq!(fit(&mut problem.task().unwrap(), &plan(1e6), &stop).unwrap().error, f64::INFINITY);
    }
}
