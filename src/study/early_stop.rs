//! Final scores predicted from the beginning of learning curves: how well, and what is saved if hopeless runs are ended by them?
//!
//! 240 configurations of a network 1-w-w-1 (tanh) on y = exp(-10 x^2) sin 2x, standardized, 400 samples, 30 epochs of AdamW: rate, decay, w, scale of the initial
//! weights, schedule. Score: -log10 of the mean squared error on 400 other samples.

use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use std::ops::ControlFlow;
use std::time::Instant;

use super::data::{SplitMix64, one_d};
use super::stats::{least, mean, median, most};
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::nn::{Activation, Mlp};
use crate::random::{Purpose, generator};
use crate::search::early_stop::{
    Curve, CurveModel, Decision, EarlyStop, EarlyStopOptions, Features, Regression, StopRule,
};
use crate::train::config::{Precision, TrainConfig};
use crate::train::optim::AdamWConfig;
use crate::train::supervised::{Layers, LossKind, Memory, StandardLoss};
use crate::train::{OptimizerConfig, Schedule, State, Supervised, TrainEvent, train};

pub struct EarlyStopping;

const NAME: &str = "early_stop";
const EPOCHS: usize = 30;
const SAMPLES: usize = 400;
/// A score of runs without one: that of ten times the data's variance.
const WORST: f64 = -1.0;
const TAUS: [usize; 5] = [3, 5, 8, 15, 22];
/// 17 % of the curve.
const JUDGED: usize = 5;
const DELTAS: [f64; 2] = [0.95, 0.99];

/// Inputs and standardized values, those to train on first.
fn data(seed: u64) -> (Vec<f64>, Vec<f64>) {
    let (x, y) = one_d(2 * SAMPLES, &mut SplitMix64::of(seed, 20));
    let center = y.iter().sum::<f64>() / y.len() as f64;
    let deviation = (y.iter().map(|y| (y - center).powi(2)).sum::<f64>() / y.len() as f64).sqrt();
    (x, y.iter().map(|y| (y - center) / deviation).collect())
}

/// The curve of configuration k.
fn curve(seed: u64, k: u64) -> Result<Curve, StudyError> {
    let failed = StudyError::of(NAME);
    let mut rng = generator(seed, Purpose::Hyper as u64, k);
    let mut log = |from: f64, to: f64| (from.ln() + rng.random::<f64>() * f64::ln(to / from)).exp();
    let (rate, decay, width, scale) = (log(1e-4, 1e-1), log(1e-6, 1e-1), log(1.5, 32.5), log(0.3, 3.0));
    let (width, cosine) = (width.round().max(2.0) as usize, log(1.0, 4.0) > 2.0);
    let net = Mlp::dense(&[1, width, width, 1], Activation::Tanh, Activation::Identity, false);
    let net = net.map_err(StudyError::of(NAME)).and_then(|n| Layers::new(n).map_err(StudyError::of(NAME)))?;
    let (x, y) = data(seed);
    let splits = [(0..SAMPLES).collect(), (SAMPLES..2 * SAMPLES).collect(), vec![]];
    let rows = Memory::new((1, 1), x, y).and_then(|m| m.with_splits(splits)).map_err(&failed)?;
    let loss = StandardLoss::new(LossKind::Squared, 1).map_err(&failed)?;
    let mut task = Supervised::new(net, rows, loss, SAMPLES).map_err(&failed)?;
    let schedule = if cosine { Schedule::Cosine { from: rate, to: 0.0 } } else { Schedule::constant(rate) };
    let config = TrainConfig {
        batch: 32,
        seed: k,
        precision: Precision::F64,
        ..TrainConfig::new(EPOCHS as u64, schedule)
    };
    let optimizer = OptimizerConfig::from(AdamWConfig { decay, ..AdamWConfig::default() });
    let mut state = State::new(&task, &optimizer, k);
    state.params.values_mut().iter_mut().for_each(|p| *p *= scale);
    let mut scores = vec![];
    train(&mut task, &config, &mut state, &mut |event, _| {
        if let TrainEvent::Validation { evaluation, .. } = event {
            let score = -evaluation.loss.log10();
            scores.push(if score.is_finite() { score.max(WORST) } else { WORST });
        }
        Ok(ControlFlow::Continue(()))
    })
    .map_err(&failed)?;
    scores.resize(EPOCHS, WORST);
    let hyper = vec![rate.ln(), decay.ln(), (width as f64).ln(), scale.ln(), f64::from(u8::from(cosine))];
    Ok(Curve { scores, hyper, size: vec![(state.params.values().len() as f64).ln(), 3.0] })
}

fn end(run: &Curve) -> f64 {
    run.scores[EPOCHS - 1]
}

/// 1 - squares of the errors over those around the mean.
fn r2(predicted: &[f64], runs: &[Curve]) -> f64 {
    let center = runs.iter().map(end).sum::<f64>() / runs.len() as f64;
    let around: f64 = runs.iter().map(|r| (end(r) - center).powi(2)).sum();
    let errors: f64 = runs.iter().zip(predicted).map(|(r, p)| (end(r) - p).powi(2)).sum();
    1.0 - errors / around
}

/// What predicts: name, features, regression.
fn models(seed: u64) -> [(&'static str, Features, Regression); 4] {
    let (all, ridge) = (Features::default(), Regression::KernelRidge);
    [
        ("ridge", all, ridge),
        ("nu-SVR", all, Regression::NuSvr { tries: 20, seed }),
        ("ridge, curve only", Features { hyper: false, size: false, ..all }, ridge),
        ("ridge, no curve", Features { series: false, ..all }, ridge),
    ]
}

/// (method, tau, R2), learned from the first `count` runs, tested on the others.
fn predictions(
    runs: &[Curve],
    count: usize,
    seed: u64,
) -> Result<Vec<(&'static str, usize, f64)>, StudyError> {
    let (learned, tests) = runs.split_at(count);
    let jobs: Vec<_> = TAUS.iter().flat_map(|tau| models(seed).map(|m| (*tau, m))).collect();
    let fitted = jobs.par_iter().map(|(tau, (name, features, regression))| {
        let model = CurveModel::fit(learned, (*tau, EPOCHS), *features, *regression);
        let model = model.map_err(StudyError::of(NAME))?;
        let predicted: Vec<f64> = tests.iter().map(|r| model.predict(r)).collect();
        Ok((*name, *tau, r2(&predicted, tests)))
    });
    let mut found = fitted.collect::<Result<Vec<_>, StudyError>>()?;
    for tau in TAUS {
        let last: Vec<f64> = tests.iter().map(|r| r.scores[tau - 1]).collect();
        found.push(("last value", tau, r2(&last, tests)));
    }
    Ok(found)
}

/// Speed-up of all, and after the burn-in; how far the best finished run is below the best.
fn stopping(runs: &[Curve], burn_in: usize, delta: f64) -> Result<[f64; 3], StudyError> {
    let rule = StopRule { confidence: delta, ..StopRule::default() };
    let options = EarlyStopOptions { burn_in, rule, first: 3, ..EarlyStopOptions::new(EPOCHS) };
    let mut early = EarlyStop::new(options).map_err(StudyError::of(NAME))?;
    let (mut spent, mut best) = (0, f64::NEG_INFINITY);
    for run in runs {
        let part = |tau: usize| Curve { scores: run.scores[..tau].to_vec(), ..run.clone() };
        let stop = (1..EPOCHS).find(|tau| early.decide(&part(*tau)) != Decision::Continue);
        spent += stop.unwrap_or(EPOCHS);
        if stop.is_none() {
            best = best.max(end(run));
            early.finish(run.clone());
        }
    }
    let all = (runs.len() * EPOCHS) as f64;
    let begun = (burn_in * EPOCHS) as f64;
    let regret = runs.iter().map(end).fold(f64::NEG_INFINITY, f64::max) - best;
    Ok([all / spent as f64, (all - begun) / (spent as f64 - begun), regret])
}

impl Study for EarlyStopping {
    fn name(&self) -> &'static str {
        NAME
    }
    fn paper(&self) -> &'static str {
        "Accelerating neural architecture search using performance prediction (arXiv 1705.10823)"
    }
    fn claim(&self) -> &'static str {
        "Simple regressions predict final scores from partial learning curves and hyper-parameters far better than the last value; ending runs by them saves most of the epochs and keeps the best configuration."
    }
    fn criterion(&self) -> &'static str {
        "after 17 % of the curve the median R2 of nu-SVR or ridge is >= 0.85 and >= that of the last value + 0.1; median speed-up >= 2.5 at Delta 0.95; the best configuration kept in >= 3 of 5 orders, or regret <= 0.1 decades in all"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let (count, learned, burn_in) = run.pick((120, 50, 30), (240, 100, 60));
        run.say(&format!("training {count} configurations"))?;
        let (seed, stop) = (run.options.seed, run.stop());
        let curves = (0..count as u64).into_par_iter().map(|k| {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(StudyError::Interrupted);
            }
            curve(seed, k)
        });
        let curves = curves.collect::<Result<Vec<_>, _>>()?;
        let mut table = Table::new(&["order", "what", "method", "epochs seen", "value"]);
        for order in run.seeds(1, 5) {
            run.say(&format!("order {order}"))?;
            let mut runs = curves.clone();
            runs.shuffle(&mut generator(order, Purpose::Sweep as u64, 0));
            for (method, tau, r2) in predictions(&runs, learned, order)? {
                table.push(vec![order.into(), "R2".into(), method.into(), tau.into(), r2.into()]);
            }
            for delta in DELTAS {
                let found = stopping(&runs, burn_in, delta)?;
                for (what, value) in ["speed-up", "speed-up after burn-in", "regret"].into_iter().zip(found) {
                    let method = format!("Delta {delta}");
                    table.push(vec![
                        order.into(),
                        what.into(),
                        method.as_str().into(),
                        super::Cell::Missing,
                        value.into(),
                    ]);
                }
            }
        }
        let both = models(0);
        let times = both[..2].iter().map(|(name, features, regression)| {
            let begun = Instant::now();
            let model = CurveModel::fit(&curves[..learned], (JUDGED, EPOCHS), *features, *regression);
            let model = model.map_err(StudyError::of(NAME))?;
            model.predict(&curves[learned]);
            Ok(format!("{name} {:.1} ms", 1e3 * begun.elapsed().as_secs_f64()))
        });
        let times = times.collect::<Result<Vec<_>, StudyError>>()?.join(", ");
        let ends: Vec<f64> = curves.iter().map(end).collect();
        let [low, middle, high] = [least(&ends), median(&ends), most(&ends)].map(|v| v.unwrap_or(f64::NAN));
        let notes = vec![
            format!(
                "{count} configurations, {learned} to learn R2 from, {burn_in} whole runs before any is ended; final scores {low:.2} to {high:.2}, median {middle:.2}; rate 1e-4..1e-1, decay 1e-6..1e-1, width 2..32, scale 0.3..3, constant or cosine; nu-SVR: the best of 20 random C, nu, gamma, as ridge has 42 pairs"
            ),
            format!("to fit {learned} curves and predict one: {times}"),
        ];
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let r2 = |method: &str| {
            median(
                &table.only("what", "R2").only("epochs seen", JUDGED).only("method", method).numbers("value"),
            )
        };
        let stop = |what: &str| table.only("what", what).only("method", "Delta 0.95").numbers("value");
        let best = match (r2("ridge"), r2("nu-SVR")) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (a, b) => a.or(b),
        };
        let gain = best.and_then(|b| Some(b - r2("last value")?));
        let regrets = stop("regret");
        let kept: Vec<f64> = regrets.iter().map(|r| f64::from(u8::from(*r <= 0.0))).collect();
        let small = most(&regrets).is_some_and(|r| r <= 0.1);
        Judgment::new()
            .at_least("R2 at 17 %", best, 0.85)
            .at_least("R2 at 17 % - that of the last value", gain, 0.1)
            .at_least("speed-up at Delta 0.95", median(&stop("speed-up")), 2.5)
            .at_least(
                "share of orders that keep the best (1 if all regrets <= 0.1)",
                mean(&kept).map(|k| if small { 1.0 } else { k }),
                0.6,
            )
    }
}

#[cfg(test)]
#[path = "early_stop_tests.rs"]
mod tests;
