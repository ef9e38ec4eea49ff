//! Outliers with opposing signals: the sharpness they cause, the spikes where it would pass 2 / rate, and whether the finder names them.
//!
//! (a) The toy of the paper, f = c b'x: L = |c b_s - beta|^2 / 2 + alpha c^2 b_o^2 / 2, p = (c, b_o, b_s). (b) A linear network f = c'B x on samples of which 5 % have
//! ten further inputs that are all +-z: half the mean squares, gradient descent on all samples.

use std::ops::ControlFlow;

use rand::rngs::StdRng;

use super::data::SplitMix64;
use super::stats::{mean, median};
use super::{Cell, Judgment, Measured, Picture, Run, Study, StudyError, Table};
use crate::diagnose::spikes;
use crate::nn::{Init, Params};
use crate::train::config::{Precision, TrainConfig};
use crate::train::{
    Curve, DiagnoseConfig, Diagnosis, Evaluation, OpposingConfig, OptimizerConfig, PassStats, Plot, Progress,
    Schedule, Split, State, Task, TrainError, TrainEvent, TrainStop, Watched, optim, train,
};

pub struct OpposingSignals;

const ALPHA: f64 = 100.0;
const BETA: f64 = 3.0;
const SIGNAL: usize = 20;
const FURTHER: usize = 10;
const WIDTH: usize = 8;
const SAMPLES: usize = 1000;
/// One sample in so many has the opposing signal.
const PLANTED: usize = 20;

/// A vector of this length in a random direction.
fn direction(numbers: &mut SplitMix64, n: usize, length: f64) -> Vec<f64> {
    let v = numbers.normals(n);
    let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
    v.iter().map(|v| v * length / norm).collect()
}

/// The two problems, with their start.
enum Problem {
    Toy {
        beta: Vec<f64>,
        start: Vec<f64>,
    },
    /// Inputs sample after sample, values; p = (c, B column-major).
    Net {
        x: Vec<f64>,
        y: Vec<f64>,
        start: Vec<f64>,
    },
}

impl Problem {
    fn toy(seed: u64) -> Self {
        let mut r = SplitMix64::of(seed, 1);
        let beta = direction(&mut r, SIGNAL, BETA);
        let start = [0.3, 0.05].into_iter().chain(r.normals(SIGNAL).iter().map(|v| 0.1 * v)).collect();
        Self::Toy { beta, start }
    }
    fn net(seed: u64) -> Self {
        let mut r = SplitMix64::of(seed, 2);
        let (beta, z) = (direction(&mut r, SIGNAL, BETA), (ALPHA * PLANTED as f64 / FURTHER as f64).sqrt());
        let (mut x, mut y) = (vec![], vec![]);
        for i in 0..SAMPLES {
            let signal = r.normals(SIGNAL);
            let further = if !planted(i) {
                0.0
            } else if r.uniform() < 0.5 {
                z
            } else {
                -z
            };
            let size = 0.3 * (FURTHER as f64).sqrt() * further.abs();
            y.push(signal.iter().zip(&beta).map(|(x, b)| x * b).sum::<f64>() + size);
            x.extend(signal);
            x.extend([further; FURTHER]);
        }
        let start = r.normals(WIDTH * (1 + SIGNAL + FURTHER)).into_iter().enumerate();
        let scaled = start.map(|(i, v)| if i < WIDTH { 0.3 * v } else { 0.1 * v });
        Self::Net { x, y, start: scaled.collect() }
    }
}

fn planted(i: usize) -> bool {
    i.is_multiple_of(PLANTED)
}

impl Task<f64> for Problem {
    fn params(&self, rng: &mut StdRng) -> Params<f64> {
        let (Self::Toy { start, .. } | Self::Net { start, .. }) = self;
        let mut params = Params::new();
        params.add("p", &[start.len()], Init::Zeros, rng);
        params.values_mut().copy_from_slice(start);
        params
    }
    fn samples(&self) -> usize {
        if let Self::Net { y, .. } = self { y.len() } else { 1 }
    }
    fn split_len(&self, split: Split) -> usize {
        if split == Split::Train { self.samples() } else { 0 }
    }
    fn gradient(
        &mut self,
        p: &[f64],
        samples: &[usize],
        _: &Progress,
        _: &mut StdRng,
        g: &mut [f64],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let mut loss = 0.0;
        match self {
            Self::Toy { beta, .. } => {
                let (c, o) = (p[0], p[1]);
                loss += 0.5 * ALPHA * c * c * o * o;
                g[0] += ALPHA * c * o * o;
                g[1] += ALPHA * c * c * o;
                for ((b, beta), g_b) in p[2..].iter().zip(beta).zip(2..) {
                    let r = c * b - *beta;
                    loss += 0.5 * r * r;
                    g[0] += r * b;
                    g[g_b] += r * c;
                }
            }
            Self::Net { x, y, .. } => {
                let (inputs, share) = (SIGNAL + FURTHER, 1.0 / samples.len() as f64);
                for i in samples {
                    let x = &x[i * inputs..][..inputs];
                    let mut hidden = [0.0; WIDTH];
                    for (x, b) in x.iter().zip(p[WIDTH..].chunks_exact(WIDTH)) {
                        hidden.iter_mut().zip(b).for_each(|(h, b)| *h += x * b);
                    }
                    let r = hidden.iter().zip(p).map(|(h, c)| h * c).sum::<f64>() - y[*i];
                    loss += 0.5 * share * r * r;
                    let (own, rest) = g.split_at_mut(WIDTH);
                    own.iter_mut().zip(hidden).for_each(|(g, h)| *g += share * r * h);
                    for (x, g) in x.iter().zip(rest.chunks_exact_mut(WIDTH)) {
                        g.iter_mut().zip(p).for_each(|(g, c)| *g += share * r * x * c);
                    }
                }
            }
        }
        Ok((PassStats { loss, data_loss: loss, ..PassStats::default() }, None))
    }
    fn evaluate(&mut self, _: &[f64], _: Split) -> Result<Evaluation, TrainError> {
        Err(TrainError::config("this problem is trained only"))
    }
}

/// What a run left.
struct Trace {
    losses: Vec<f64>,
    /// Steps and sharpness.
    sharpness: Vec<(f64, f64)>,
    /// The step at which it diverged.
    failed: Option<u64>,
    /// Of the named samples: share of planted ones, and the last cosine of the two groups.
    precision: Option<f64>,
    cosine: Option<f64>,
}

fn follow(
    run: &Run<'_>,
    mut problem: Problem,
    optimizer: &OptimizerConfig,
    rate: f64,
    steps: u64,
) -> Result<Trace, StudyError> {
    let net = matches!(problem, Problem::Net { .. });
    let rate = Schedule::constant(rate);
    let (batch, every) = (problem.samples(), steps / 20);
    let config = TrainConfig {
        batch,
        precision: Precision::F64,
        checkpoint_every: steps,
        ..TrainConfig::new(steps, rate)
    };
    let opposing = net.then_some(OpposingConfig { every: 20, top: SAMPLES / PLANTED });
    let diagnose = DiagnoseConfig {
        sharpness_every: Some(every),
        opposing,
        samples: SAMPLES,
        ..DiagnoseConfig::default()
    };
    let (mut sharpness, mut cosine, mut losses) = (vec![], None, vec![]);
    let mut sink = |d: &Diagnosis| match d {
        Diagnosis::Sharpness { step, value, .. } => sharpness.push((*step as f64, *value)),
        Diagnosis::Opposing { cosine: found, .. } => cosine = *found,
    };
    let mut state = State::new(&problem, optimizer, 0);
    let mut watched = Watched::new(&mut problem, &diagnose, (rate, 0), &mut sink);
    let stop = train(&mut watched, &config, &mut state, &mut |event, _| {
        if let TrainEvent::Step(record) = event {
            losses.push(record.pass.loss);
        }
        Ok(if run.check().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    let named = watched.opposing().outliers(SAMPLES / PLANTED);
    let right = named.iter().filter(|o| planted(o.sample)).count() as f64;
    let precision = net.then_some(right / (SAMPLES / PLANTED) as f64);
    let failed = match stop.map_err(StudyError::of("opposing"))? {
        TrainStop::Interrupted => return Err(StudyError::Interrupted),
        TrainStop::Failed { step, .. } => Some(step),
        TrainStop::Finished | TrainStop::EarlyStop => None,
    };
    Ok(Trace { losses, sharpness, failed, precision, cosine })
}

impl Study for OpposingSignals {
    fn name(&self) -> &'static str {
        "opposing"
    }
    fn paper(&self) -> &'static str {
        "Outliers with opposing signals have an outsized effect on neural network optimization (arXiv 2311.04163)"
    }
    fn claim(&self) -> &'static str {
        "Groups of outliers with opposing signals make the sharpness grow until it reaches 2 / rate; there the loss spikes and the run stays at the edge, and the outliers can be named from their losses."
    }
    fn criterion(&self) -> &'static str {
        "toy: at rate 0.001 the sharpness grows > 20-fold without a spike; at 0.008 and 0.01 every seed spikes and ends within 15 % below 2 / rate (means over seeds). Finder at rate 0.01: >= 95 % of the named samples are planted, cosine of the groups' gradients < -0.9"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let mut table = Table::new(&[
            "part",
            "method",
            "rate",
            "seed",
            "spikes",
            "sharpness, first",
            "sharpness, last",
            "2 / rate",
            "share of 2 / rate",
            "planted",
            "cosine",
            "last loss",
            "diverged at",
        ]);
        let sgd = |momentum| OptimizerConfig::from(optim::SgdConfig { momentum });
        let adam = OptimizerConfig::from(optim::AdamConfig::default());
        let (toy, net) = (run.pick(10_000, 20_000), run.pick(1000, 3000));
        let mut plans = [0.001, 0.004, 0.008, 0.01, 0.02].map(|rate| ("toy", "GD", sgd(0.0), rate)).to_vec();
        plans.push(("toy", "momentum 0.9", sgd(0.9), 0.001));
        plans.push(("toy", "Adam", adam, 0.01));
        plans.extend(
            run.pick(&[0.01][..], &[0.002, 0.005, 0.01]).iter().map(|rate| ("finder", "GD", sgd(0.0), *rate)),
        );
        let mut curves = vec![];
        for (part, method, optimizer, rate) in plans {
            for seed in run.seeds(2, 5) {
                run.say(&format!("{part}, {method}, rate {rate}, seed {seed}"))?;
                let (problem, steps) =
                    if part == "toy" { (Problem::toy(seed), toy) } else { (Problem::net(seed), net) };
                let t = follow(run, problem, &optimizer, rate, steps)?;
                let (first, last) = (t.sharpness.first().map(|s| s.1), t.sharpness.last().map(|s| s.1));
                let share = last.map(|s| s * rate / 2.0);
                table.push(vec![
                    part.into(),
                    method.into(),
                    rate.into(),
                    seed.into(),
                    spikes(&t.losses).into(),
                    first.into(),
                    last.into(),
                    (2.0 / rate).into(),
                    share.into(),
                    t.precision.into(),
                    t.cosine.into(),
                    t.losses.last().copied().into(),
                    t.failed.map_or(Cell::Missing, Cell::Count),
                ]);
                if part == "toy" && method == "GD" && seed == run.options.seed {
                    curves.push(Curve { name: format!("rate {rate}"), points: t.sharpness, joined: true });
                }
            }
        }
        let axes = ("step".to_string(), "sharpness".to_string());
        let plot = Plot { name: "sharpness".into(), axes, curves };
        let title = "toy, gradient descent".to_string();
        let notes = vec![format!(
            "{toy} and {net} steps; sharpness by 30 Lanczos steps with differences of gradients, 20 times a run; two of 20 steps are watched"
        )];
        Ok(Measured { table, notes, pictures: vec![Picture { title, log: false, plot }] })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let toy = |rate: f64| table.only("part", "toy").only("method", "GD").only("rate", rate);
        let small = toy(0.001);
        let growth: Vec<f64> = small
            .numbers("sharpness, last")
            .iter()
            .zip(small.numbers("sharpness, first"))
            .map(|(a, b)| a / b)
            .collect();
        let mut judgment = Judgment::new()
            .at_least("toy, rate 0.001, growth of the sharpness", median(&growth), 20.0)
            .at_most("toy, rate 0.001, most spikes", super::stats::most(&small.numbers("spikes")), 0.0);
        for rate in [0.008, 0.01] {
            let rows = toy(rate);
            judgment = judgment
                .at_least(
                    &format!("toy, rate {rate}, fewest spikes"),
                    super::stats::least(&rows.numbers("spikes")),
                    1.0,
                )
                .require(
                    &format!("toy, rate {rate}, share of 2 / rate"),
                    mean(&rows.numbers("share of 2 / rate")),
                    "0.85 to 1",
                    |v| (0.85..=1.0).contains(&v),
                );
        }
        let rows = table.only("part", "finder").only("rate", 0.01);
        judgment
            .at_least("finder, rate 0.01, share of planted", mean(&rows.numbers("planted")), 0.95)
            .at_most("finder, rate 0.01, cosine", mean(&rows.numbers("cosine")), -0.9)
    }
}

#[cfg(test)]
#[path = "opposing_tests.rs"]
mod tests;
