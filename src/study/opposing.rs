//! Outliers with opposing signals: the sharpness they cause, the spikes where it would pass 2 / rate, and whether the finder names them.
//!
//! The two problems are in `signals`: (a) the toy of the paper, (b) a linear network on samples with a planted group.

use std::ops::ControlFlow;

use super::signals::{PLANTED, Problem, SAMPLES, planted};
use super::stats::{mean, median};
use super::{Cell, Judgment, Measured, Picture, Run, Study, StudyError, Table};
use crate::diagnose::spikes;
use crate::train::config::{Precision, TrainConfig};
use crate::train::{
    Curve, DiagnoseConfig, Diagnosis, OpposingConfig, OptimizerConfig, Plot, Schedule, State, Task,
    TrainEvent, TrainStop, Watched, optim, train,
};

pub struct OpposingSignals;

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
    /// Their share of the squared gradient norms.
    share: Option<f64>,
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
    let opposing = net.then_some(OpposingConfig { every: 1, top: SAMPLES / PLANTED });
    let diagnose = DiagnoseConfig {
        sharpness_every: Some(every),
        opposing,
        samples: SAMPLES,
        ..DiagnoseConfig::default()
    };
    let (mut sharpness, mut groups, mut losses) = (vec![], (None, None), vec![]);
    let mut sink = |d: &Diagnosis| match d {
        Diagnosis::Sharpness { step, value, .. } => sharpness.push((*step as f64, *value)),
        Diagnosis::Opposing { cosine, share, .. } => groups = (*cosine, *share),
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
    let (cosine, share) = groups;
    Ok(Trace { losses, sharpness, failed, precision, cosine, share })
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
            "gradient share",
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
                    t.share.into(),
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
            "{toy} and {net} steps; sharpness by 30 Lanczos steps with differences of gradients, 20 times a run; the finder watches every step"
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
