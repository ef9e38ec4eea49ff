//! Hyper-parameters tuned in one run, by weights that respond to them: as good as the best penalty, and as a search of many runs?
//!
//! (a) Ridge regression: n = 40, d = 20, noise 1, penalty e^h |w|^2, where response and optimum are known. (b) Digits, a network 196-32-10 with an l2 penalty and
//! input dropout: against 25 runs of a grid, at random and by Bayesian optimization, all at the same number of steps in sum. (c) Neural differential equations, spiral and digits:
//! the weight of the expected-steps penalty, against a grid of the same cost.

use rayon::prelude::*;

use super::digits::Digits;
use super::priced::{self, Tuning};
use super::self_tuned::{BATCH, D, Dropout, Ridge, sigmoid};
use super::stats::{mean, median};
use super::{Cell, Judgment, Measured, Run, Study, StudyError, Table};
use crate::bilevel::{Responsive, TuneOptions, tune};
use crate::linalg::dot;
use crate::nn::Activation;
use crate::search::design;
use crate::surrogate::bayes_opt::{BayesOpt, Options, Outcome};
use crate::surrogate::space::Space;

pub struct SelfTuning;

const NAME: &str = "stn";
const SEARCHES: [&str; 3] = ["grid", "random", "Bayesian"];
/// Runs of a search.
const RUNS: usize = 25;
/// ln of the l2 weight, logit of the share of inputs that are dropped.
const BOX: [(f64, f64); 2] = [(-13.8, -2.3), (-4.0, 1.0)];

/// The row of a seed.
fn ridge(seed: u64) -> Result<Vec<Cell>, StudyError> {
    let mut task = Ridge::new(seed);
    let mut net = Responsive::new(&[D, 1], 1, Activation::Identity).map_err(StudyError::of(NAME))?;
    let options =
        TuneOptions { tune_width: false, rate: 0.02, hyper_rate: 0.01, seed, ..TuneOptions::default() };
    let found = tune(&mut task, &mut net, &[0.0], &options).map_err(StudyError::of(NAME))?;
    let h = found.h[0];
    let at = |h: f64| net.weights(0, found.params.values(), &[h]).0;
    let [w, slope] = task.exact(h)?;
    // The learned response is linear in h.
    let learned: Vec<f64> = at(h + 1.0).iter().zip(at(h)).map(|(a, b)| a - b).collect();
    let cosine = dot(&learned, &slope) / (dot(&learned, &learned) * dot(&slope, &slope)).sqrt();
    let miss: Vec<f64> = at(h).iter().zip(&w).map(|(a, b)| a - b).collect();
    let mut best = (f64::INFINITY, 0.0);
    for k in -800..=200 {
        let h = 0.01 * f64::from(k);
        let loss = task.validation(&task.exact(h)?[0]);
        if loss < best.0 {
            best = (loss, h);
        }
    }
    let error = (dot(&miss, &miss) / dot(&w, &w)).sqrt();
    let ratio = task.validation(&w) / best.0;
    Ok(vec![
        "ridge".into(),
        seed.into(),
        "STN".into(),
        h.into(),
        best.1.into(),
        ratio.into(),
        error.into(),
        cosine.into(),
        Cell::Missing,
    ])
}

/// The test loss of the run with the best validation loss, and its h.
fn search(
    digits: &Digits,
    train: usize,
    kind: &str,
    steps: u64,
    seed: u64,
) -> Result<(f64, Vec<f64>), StudyError> {
    let failed = StudyError::of(NAME);
    let space = Space::reals(&BOX).map_err(&failed)?;
    let mut bayes = BayesOpt::new(space.clone(), Options { seed, ..Options::default() }).map_err(&failed)?;
    let mut best = (f64::INFINITY, f64::NAN, vec![f64::NAN; 2]);
    for k in 0..RUNS {
        let h = match kind {
            "grid" => space.values(&[(k / 5) as f64 / 4.0, (k % 5) as f64 / 4.0]),
            "random" => space.values(&design::random(seed, k as u64, 2)),
            _ => bayes.ask().map_err(&failed)?.map_or(vec![0.0; 2], |p| p.x),
        };
        let mut run = Dropout { digits, train, fixed: Some([h[0], h[1]]), labels: vec![] };
        let (validation, test, _) = run.losses(steps, seed)?;
        if kind == "Bayesian" {
            bayes.tell(k, Outcome::of(validation)).map_err(&failed)?;
        }
        if validation < best.0 {
            best = (validation, test, h);
        }
    }
    Ok((best.1, best.2))
}

impl Study for SelfTuning {
    fn name(&self) -> &'static str {
        NAME
    }
    fn paper(&self) -> &'static str {
        "Self-tuning networks: bilevel optimization of hyperparameters using structured best-response functions (arXiv 1903.03088)"
    }
    fn claim(&self) -> &'static str {
        "A network that learns how its weights respond to hyper-parameters finds good ones in a single run, better ones than searches of many runs."
    }
    fn criterion(&self) -> &'static str {
        "(a) validation loss at the found penalty <= 1.01 x the optimum in >= 90 % of the seeds, cosine of learned and exact response >= 0.9 in >= 80 %; (b) median test loss <= 1.01 x the best median of grid, random and Bayesian search at equal steps in sum; (c) spiral and digits as neural ODEs: median of loss + price x NFE on test data, with the weight of the expected-steps penalty tuned in one run, <= that of a grid of weights of equal cost"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let mut table = Table::new(&[
            "part",
            "seed",
            "method",
            "h",
            "h of the optimum",
            "loss / optimum",
            "error of w",
            "cosine",
            "test loss",
            "task",
            "NFE",
            "J",
            "work",
        ]);
        run.say("ridge regression")?;
        let rows = run.seeds(4, 10).into_par_iter().map(ridge).collect::<Result<Vec<_>, _>>()?;
        rows.into_iter().for_each(|row| table.push(row));
        let (train, steps) = run.pick((300, 40), (1000, 200));
        let digits = Digits::new(run, run.pick(1600, 4000))?;
        run.say("digits")?;
        let first = run.options.seed;
        let seeds: Vec<u64> = (first..first + run.options.seeds.unwrap_or(run.pick(1, 3))).collect();
        let jobs: Vec<(u64, usize)> =
            seeds.iter().flat_map(|s| (0..=SEARCHES.len()).map(|m| (*s, m))).collect();
        let stop = run.stop();
        let found = jobs.par_iter().map(|(seed, method)| {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(StudyError::Interrupted);
            }
            if let Some(kind) = SEARCHES.get(*method) {
                return search(&digits, train, kind, steps, *seed);
            }
            let mut tuned = Dropout { digits: &digits, train, fixed: None, labels: vec![] };
            tuned.losses(steps * RUNS as u64, *seed).map(|(_, test, h)| (test, h))
        });
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let mut settings = vec![];
        for ((seed, method), (test, h)) in jobs.iter().zip(found) {
            let name = SEARCHES.get(*method).copied().unwrap_or("STN");
            let none = Cell::Missing;
            table.push(vec![
                "digits".into(),
                (*seed).into(),
                name.into(),
                h[0].into(),
                none.clone(),
                none.clone(),
                none.clone(),
                none,
                test.into(),
            ]);
            settings.push(format!("{name}, seed {seed}: dropout {:.3}", sigmoid(h[1])));
        }
        let (rows, priced) = priced::compare(
            run,
            (Tuning::SelfTuned, "STN"),
            (&digits, train),
            first..first + seeds.len() as u64,
        )?;
        for (seed, cells) in rows {
            let [task, method, h, test, nfe, total, work] = cells;
            let head = vec!["equation".into(), seed.into(), method, h];
            table.push([head, vec![Cell::Missing; 4], vec![test, task, nfe, total, work]].concat());
        }
        let notes = vec![
            format!("digits: {}; {train} to train, {train} for validation, h = ln of the l2 weight; {RUNS} runs of {steps} steps a search, STN {} steps; SGD with momentum 0.9, rate 0.01, batch {BATCH}", digits.note, steps * RUNS as u64),
            "the grid has 5 x 5 points of the box l2 1e-6..0.1, dropout 0.018..0.73; a run of a search is the same program with h fixed".into(),
            settings.join("; "),
            priced,
        ];
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let (ridge, digits) = (table.only("part", "ridge"), table.only("part", "digits"));
        let share = |column: &str, met: fn(f64) -> bool| {
            mean(&ridge.numbers(column).iter().map(|v| f64::from(u8::from(met(*v)))).collect::<Vec<_>>())
        };
        let test = |method: &str| median(&digits.only("method", method).numbers("test loss"));
        // A search that failed is none to compare with.
        let best = SEARCHES.iter().filter_map(|s| test(s)).reduce(f64::min);
        let ratio = test("STN").and_then(|t| Some(t / best?));
        let judgment = Judgment::new()
            .at_least(
                "ridge, share of seeds within 1 % of the optimum",
                share("loss / optimum", |v| v <= 1.01),
                0.9,
            )
            .at_least("ridge, share of seeds with cosine >= 0.9", share("cosine", |v| v >= 0.9), 0.8)
            .at_most("digits, test loss / that of the best search", ratio, 1.01);
        priced::judge(judgment, table, "STN")
    }
}

#[cfg(test)]
#[path = "stn_tests.rs"]
mod tests;
