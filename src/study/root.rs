//! Better points from a table of past experiments: by a bridge from low to high values, and by steps on one model.
//!
//! (a) Styblinski and Tang's function of four variables, the mean over them, to be large: the worse half of 1600 points in [-5, 5]^4; optimum 39.166. (b) Sequences of length 8
//! over 4 letters, scored by a random network; the worse half of all 65 536 is known.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::RngExt;
use rayon::prelude::*;

use super::stats::{mean, median};
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::diff::{At, Map};
use crate::nn::{Activation, Mlp, Params};
use crate::random::{Purpose, generator};
use crate::surrogate::bridge::{BridgeOptions, Order, ascend, propose_all, snap};
use crate::surrogate::model::{Surrogate, most_likely};
use crate::surrogate::networks::Ensemble;

pub struct Root;

const NAME: &str = "root";
const TASKS: [&str; 2] = ["Styblinski-Tang", "sequences"];
/// Proposals, which begin at as many of the best data.
const COUNT: usize = 128;
/// Ways of sampling: name, guidance, order.
const WAYS: [(&str, f64, Order); 5] = [
    ("bridge -1.5", -1.5, Order::AsTrained),
    ("bridge 0", 0.0, Order::AsTrained),
    ("bridge +1", 1.0, Order::AsTrained),
    ("bridge -1.5, exchanged", -1.5, Order::Exchanged),
    ("bridge 0, exchanged", 0.0, Order::Exchanged),
];

fn failed(e: impl std::fmt::Display) -> StudyError {
    StudyError::of(NAME)(e)
}

/// The mean over coordinates, to be large.
fn styblinski(x: &[f64]) -> f64 {
    x.iter().map(|x| -0.5 * (x.powi(4) - 16.0 * x * x + 5.0 * x)).sum::<f64>() / x.len() as f64
}

type Function = Box<dyn Fn(&[f64]) -> f64 + Sync>;

/// A table of bad points, and the function behind it.
struct Task {
    f: Function,
    /// Known points, one after another, and their values.
    x: Vec<f64>,
    y: Vec<f64>,
    bounds: Vec<(f64, f64)>,
    one_hot: Vec<usize>,
    /// The largest value there is.
    optimum: f64,
}

impl Task {
    fn new(name: &str, seed: u64) -> Result<Self, StudyError> {
        let mut rng = generator(seed, Purpose::Design as u64, 6);
        let (f, x, bounds, one_hot): (Function, Vec<f64>, _, _) = if name == TASKS[0] {
            let x = (0..4 * 1600).map(|_| rng.random_range(-5.0..5.0)).collect();
            (Box::new(styblinski), x, vec![(-5.0, 5.0); 4], vec![])
        } else {
            let net = Mlp::<f64>::dense(&[32, 24, 1], Activation::Tanh, Activation::Identity, false)
                .map_err(failed)?;
            let mut params = Params::new();
            params.add_spec("net", net.spec(), &mut rng);
            params.values_mut().iter_mut().for_each(|p| *p *= 3.0);
            let f = move |x: &[f64]| {
                let mut y = [0.0];
                net.clone().value(At::new(0.0, x, params.values()), &mut y);
                y[0]
            };
            let code = |k: usize| (0..32).map(move |i| f64::from(u8::from(k >> (2 * (i / 4)) & 3 == i % 4)));
            (Box::new(f), (0..65_536).flat_map(code).collect(), vec![(0.0, 1.0); 32], vec![4; 8])
        };
        let dim = bounds.len();
        let values: Vec<f64> = x.chunks_exact(dim).map(&f).collect();
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
        let optimum = if name == TASKS[0] { 39.166 } else { values[order[order.len() - 1]] };
        order.truncate(values.len() / 2);
        let rows = order.iter().flat_map(|i| x[i * dim..][..dim].iter().copied()).collect();
        Ok(Self { f, y: order.iter().map(|i| values[*i]).collect(), x: rows, bounds, one_hot, optimum })
    }
    /// The largest and the median value of some points.
    fn percentiles(&self, x: &[f64]) -> (f64, f64) {
        let values: Vec<f64> = x.chunks_exact(self.bounds.len()).map(&self.f).collect();
        (values.iter().copied().fold(f64::NEG_INFINITY, f64::max), median(&values).unwrap_or(f64::NAN))
    }
    fn bridges(&self, quick: bool, seed: u64, stop: &AtomicBool) -> Result<Vec<(f64, f64)>, StudyError> {
        let (deviation, center) = moments(&self.y);
        let discrete = !self.one_hot.is_empty();
        let base = BridgeOptions {
            epochs: if quick { 8 } else { 60 },
            functions: 2,
            scale: if discrete { 6.25 } else { 1.0 },
            climb_rate: if discrete { 0.05 } else { 1e-3 },
            starts: COUNT,
            proposals: COUNT,
            target: Some(center + 0.8 * (self.optimum - center)),
            one_hot: self.one_hot.clone(),
            seed,
            ..BridgeOptions::default()
        };
        debug_assert!(deviation > 0.0);
        let ways = WAYS.map(|(_, guidance, order)| BridgeOptions { guidance, order, ..base.clone() });
        let found = propose_all(&self.x, &self.y, &self.bounds, &ways, stop);
        if stop.load(Ordering::Relaxed) {
            return Err(StudyError::Interrupted);
        }
        let found = found.map_err(failed)?;
        Ok(found.iter().map(|p| self.percentiles(&p.x)).collect())
    }
    /// 300 steps up a model of `rows` of the data, in coordinates from 0 to 1, from the best data.
    fn ascent(&self, model: &str, seed: u64) -> Result<(f64, f64), StudyError> {
        let (dim, n) = (self.bounds.len(), self.y.len());
        let (deviation, center) = moments(&self.y);
        let unit = |i: usize| {
            self.x[i * dim..][..dim].iter().zip(&self.bounds).map(|(x, b)| (x - b.0) / (b.1 - b.0))
        };
        let mut rng = generator(seed, Purpose::Design as u64, 7);
        let mut rows: Vec<usize> = (0..n).collect();
        let kept = n.min(400);
        for i in 0..kept {
            let j = rng.random_range(i..n);
            rows.swap(i, j);
        }
        let x: Vec<f64> = rows[..kept].iter().flat_map(|i| unit(*i)).collect();
        let y: Vec<f64> = rows[..kept].iter().map(|i| (self.y[*i] - center) / deviation).collect();
        let mean: Function2 = if model == "GP ascent" {
            let lengths = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6].map(|l| l * (dim as f64).sqrt());
            let gp = most_likely(&x, dim, &y, &lengths, &[1e-6, 1e-3, 1e-1]).map_err(failed)?;
            Box::new(move |x, g| gp.mean_gradient(x, g))
        } else {
            let mut nets = Ensemble::new(dim);
            (nets.networks, nets.steps, nets.seed) = (5, 500, seed);
            nets.fit(&x, &y).map_err(failed)?;
            Box::new(move |x, g| nets.predict_gradient(x, g, &mut vec![0.0; g.len()]).0)
        };
        // The worse come first.
        let climbed = (n - COUNT.min(n)..n).map(|i| {
            let start: Vec<f64> = unit(i).collect();
            let inside = |x: &[f64], g: &mut [f64]| {
                let value = mean(x, g);
                // No way out of the box.
                g.iter_mut().zip(x).for_each(|(g, x)| {
                    if (*x <= 0.0 && *g < 0.0) || (*x >= 1.0 && *g > 0.0) {
                        *g = 0.0
                    }
                });
                value
            };
            let (end, _) = ascend(&inside, &start, 300, 2e-3);
            let mut point: Vec<f64> =
                end.iter().zip(&self.bounds).map(|(u, b)| b.0 + u.clamp(0.0, 1.0) * (b.1 - b.0)).collect();
            snap(&mut point, &self.one_hot);
            point
        });
        Ok(self.percentiles(&climbed.flatten().collect::<Vec<_>>()))
    }
}

/// A mean that writes its gradient.
type Function2 = Box<dyn Fn(&[f64], &mut [f64]) -> f64>;

/// Deviation and mean.
fn moments(y: &[f64]) -> (f64, f64) {
    let center = mean(y).unwrap_or(0.0);
    ((y.iter().map(|y| (y - center).powi(2)).sum::<f64>() / y.len() as f64).sqrt(), center)
}

impl Study for Root {
    fn name(&self) -> &'static str {
        NAME
    }
    fn paper(&self) -> &'static str {
        "ROOT: rethinking offline optimization as distributional translation via probabilistic bridge (arXiv 2509.16300)"
    }
    fn claim(&self) -> &'static str {
        "A bridge from low-value to high-value designs, learned on functions drawn around a table, proposes far better designs than the table has, and better ones than ascent on a model."
    }
    fn criterion(&self) -> &'static str {
        "on Styblinski-Tang: the median over seeds of the best of 128 proposals (guidance -1.5) >= 3 x the best known value, and guidance -1.5 beats 0 in the median proposal in >= 80 % of the seeds"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let seeds: Vec<u64> = run.seeds(1, 5).collect();
        let tasks = &TASKS[..run.pick(1, 2)];
        let jobs: Vec<(&str, u64)> = tasks.iter().flat_map(|t| seeds.iter().map(|s| (*t, *s))).collect();
        run.say(&format!("{} tables", jobs.len()))?;
        let (quick, stop) = (run.options.quick, run.stop());
        let found = jobs.par_iter().map(|(name, seed)| {
            if stop.load(Ordering::Relaxed) {
                return Err(StudyError::Interrupted);
            }
            let task = Task::new(name, *seed)?;
            let best = task.y.last().copied().unwrap_or(f64::NAN);
            let mut rows = vec![("best known", (best, f64::NAN))];
            rows.extend(WAYS.iter().map(|w| w.0).zip(task.bridges(quick, *seed, stop)?));
            for model in ["GP ascent", "ensemble ascent"] {
                rows.push((model, task.ascent(model, *seed)?));
            }
            Ok(rows)
        });
        let found = found.collect::<Result<Vec<_>, StudyError>>()?;
        let mut table = Table::new(&["task", "seed", "method", "100th percentile", "50th percentile"]);
        for ((task, seed), rows) in jobs.iter().zip(found) {
            for (method, (top, middle)) in rows {
                let middle = (!middle.is_nan()).then_some(middle);
                table.push(vec![(*task).into(), (*seed).into(), method.into(), top.into(), middle.into()]);
            }
        }
        let mut notes = vec![
            format!("{COUNT} proposals from the {COUNT} best known points, where pairs begin too (published 1024); functions are conditioned on 400 rows drawn for each; network 128 wide, tanh (published: Swish, 1024); {} epochs of 2 functions; target: mean + 0.8 (optimum - mean)", if quick { 8 } else { 60 }),
            "exchanged: sampled with the values in the other places than trained with, as the authors' program does".into(),
        ];
        for task in tasks {
            let of = |method: &str| {
                let rows = table.only("task", *task).only("method", method);
                let at = |c: &str| median(&rows.numbers(c)).unwrap_or(f64::NAN);
                (at("100th percentile"), at("50th percentile"))
            };
            let (bridge, gp) = (of(WAYS[0].0), of("GP ascent"));
            notes.push(format!("{task}, medians of the best / the median proposal: bridge {:.3} / {:.3}, ascent on one Gaussian process {:.3} / {:.3} (that the bridge beats it is not expected on smooth functions)", bridge.0, bridge.1, gp.0, gp.1));
        }
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let rows = table.only("task", TASKS[0]);
        let of = |method: &str, column: &str| rows.only("method", method).numbers(column);
        let best = median(&of("best known", "100th percentile"));
        let ratio = median(&of(WAYS[0].0, "100th percentile")).and_then(|b| Some(b / best?));
        let (guided, plain) = (of(WAYS[0].0, "50th percentile"), of(WAYS[1].0, "50th percentile"));
        let wins: Vec<f64> = guided.iter().zip(&plain).map(|(a, b)| f64::from(u8::from(a > b))).collect();
        Judgment::new().at_least("best proposal / best known value", ratio, 3.0).at_least(
            "share of seeds where guidance -1.5 beats 0 in the median proposal",
            mean(&wins),
            0.8,
        )
    }
}

#[cfg(test)]
#[path = "root_tests.rs"]
mod tests;
