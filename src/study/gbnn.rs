//! Sequential training by gradient boosting against the same network trained at once.
//!
//! Two sets: Friedman's first function (500 samples, noise 1, tested without noise) and three Gaussian classes of ten inputs. Settings are chosen on 500 validation
//! samples, seed by seed, each side from 24 settings: boosting from (J, eta, l2), the network at once from l2 and the number of iterations of L-BFGS, from rate, epochs and decay of
//! AdamW, and from rate, epochs and momentum of gradient descent.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::data::{SplitMix64, friedman};
use super::fits::{Plan, fit};
use super::stats::{mean, median};
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::boost::{Gbnn, GbnnOptions, Targets};
use crate::diff::{At, Map};
use crate::nn::{Activation, Mlp};
use crate::train::OptimizerConfig;
use crate::train::optim::{AdamWConfig, SgdConfig};
use crate::train::supervised::{Layers, LossKind, Memory, StandardLoss, Supervised};

pub struct Boosting;

const UNITS: usize = 60;
const INPUTS: usize = 10;
const CLASSES: usize = 3;
const SETS: [&str; 2] = ["friedman", "mixtures"];
const METHODS: [&str; 4] = ["GBNN", "at once", "adam", "sgd"];
const VALIDATION: usize = 500;
const TEST: usize = 2000;
/// Units kept, as shares of all.
const KEPT: [usize; 4] = [10, 30, 50, 100];

/// Inputs and targets of three parts, one after another: training, validation, test.
struct Data {
    x: Vec<f64>,
    numbers: Vec<f64>,
    labels: Vec<usize>,
    train: usize,
}

impl Data {
    fn new(set: &str, train: usize, seed: u64) -> Self {
        let mut r = SplitMix64::of(seed, (set == SETS[1]) as u64);
        let (mut x, mut numbers, mut labels) = (vec![], vec![], vec![]);
        if set == SETS[0] {
            for (n, noise) in [(train, 1.0), (VALIDATION, 1.0), (TEST, 0.0)] {
                let (more, y) = friedman(n, noise, &mut r);
                x.extend(more.iter().map(|x| 2.0 * x - 1.0));
                numbers.extend(y);
            }
        } else {
            // Two centers a class, standard normal around them: classes that no plane separates.
            let centers: Vec<f64> = r.normals(2 * CLASSES * INPUTS);
            for _ in 0..train + VALIDATION + TEST {
                let c = (r.uniform() * (2 * CLASSES) as f64) as usize;
                labels.push(c % CLASSES);
                x.extend(r.normals(INPUTS).iter().zip(&centers[c * INPUTS..]).map(|(e, c)| e + c));
            }
        }
        Self { x, numbers, labels, train }
    }
    fn targets(&self, from: usize, to: usize) -> Targets<'_> {
        if self.labels.is_empty() {
            Targets::Numbers(&self.numbers[from..to])
        } else {
            Targets::Classes { labels: &self.labels[from..to], classes: CLASSES }
        }
    }
    /// The network fitted in this way; none where training failed.
    fn fit(&self, setting: &Setting, stop: &AtomicBool) -> Result<Fit, StudyError> {
        let (x, targets) = (&self.x[..self.train * INPUTS], self.targets(0, self.train));
        let failed = StudyError::of("gbnn");
        match setting {
            Setting::Boosted(o) => Ok(Fit::Units(Gbnn::fit(x, INPUTS, targets, o).map_err(failed)?)),
            Setting::AtOnce(o) => Ok(Fit::Units(Gbnn::at_once(x, INPUTS, targets, o).map_err(failed)?)),
            Setting::Steps(plan) => self.trained(plan, stop).map_err(StudyError::of("gbnn")),
        }
    }
    /// The same network by steps on batches of 32; targets that are numbers standardized.
    fn trained(&self, plan: &Plan, stop: &AtomicBool) -> Result<Fit, crate::train::TrainError> {
        let n = self.train;
        let (classes, kind) = match self.labels.is_empty() {
            true => (1, LossKind::Squared),
            false => (CLASSES, LossKind::CrossEntropy),
        };
        let (y, center, scale): (Vec<f64>, _, _) = if self.labels.is_empty() {
            let y = &self.numbers[..n];
            let center = y.iter().sum::<f64>() / n as f64;
            let scale = (y.iter().map(|y| (y - center).powi(2)).sum::<f64>() / n as f64).sqrt();
            (y.iter().map(|y| (y - center) / scale).collect(), center, scale)
        } else {
            (self.labels[..n].iter().map(|l| *l as f64).collect(), 0.0, 1.0)
        };
        let rows = Memory::new((INPUTS, 1), self.x[..n * INPUTS].to_vec(), y)?;
        // What it is validated by is measured here, for all alike.
        let rows = rows.with_splits([(0..n).collect(), vec![], vec![0]])?;
        let net = Mlp::dense(&[INPUTS, UNITS, classes], Activation::Sigmoid, Activation::Identity, false)?;
        let mut task =
            Supervised::new(Layers::new(net.clone())?, rows, StandardLoss::new(kind, classes)?, 1000)?;
        let fitted = fit(&mut task, plan, stop)?;
        let params = if fitted.error.is_finite() { fitted.end } else { vec![f64::NAN; fitted.end.len()] };
        Ok(Fit::Network { net: Box::new(net), params, center, scale })
    }
    /// Root mean squared error, or share of wrong labels, on samples from..to.
    fn error(&self, fit: &Fit, from: usize, to: usize) -> Result<f64, StudyError> {
        let x = &self.x[from * INPUTS..to * INPUTS];
        let targets = self.targets(from, to);
        let values = fit.values(x)?;
        if values.iter().any(|v| !v.is_finite()) {
            return Ok(f64::INFINITY);
        }
        if let Targets::Classes { labels, .. } = targets {
            let top = |z: &[f64]| (1..z.len()).fold(0, |t, i| if z[i] > z[t] { i } else { t });
            let wrong = values.chunks_exact(CLASSES).zip(labels).filter(|(z, label)| top(z) != **label);
            return Ok(wrong.count() as f64 / labels.len() as f64);
        }
        Ok((2.0 * targets.loss(&values)).sqrt())
    }
    fn validation(&self, net: &Fit) -> Result<f64, StudyError> {
        self.error(net, self.train, self.train + VALIDATION)
    }
    fn test(&self, net: &Fit) -> Result<f64, StudyError> {
        self.error(net, self.train + VALIDATION, self.train + VALIDATION + TEST)
    }
}

/// A way to fit.
enum Setting {
    Boosted(GbnnOptions),
    AtOnce(GbnnOptions),
    Steps(Plan),
}

/// A fitted network.
enum Fit {
    Units(Gbnn),
    Network { net: Box<Mlp<f64>>, params: Vec<f64>, center: f64, scale: f64 },
}

impl Fit {
    /// Outputs, one row after another.
    fn values(&self, x: &[f64]) -> Result<Vec<f64>, StudyError> {
        match self {
            Self::Units(net) => net.values(x).map_err(StudyError::of("gbnn")),
            Self::Network { net, params, center, scale } => {
                let mut z = vec![0.0; net.outputs() * x.len() / INPUTS];
                net.clone().value(At::new(0.0, x, params), &mut z);
                Ok(z.iter().map(|z| center + scale * z).collect())
            }
        }
    }
    /// With a share of the units, in percent.
    fn part(&self, share: usize) -> Option<Self> {
        match self {
            Self::Units(net) => {
                Some(net.truncate(UNITS * share / 100)).filter(|n| n.units() > 0).map(Self::Units)
            }
            Self::Network { .. } => None,
        }
    }
}

/// Settings with their names.
fn grid(method: &str, quick: bool, seed: u64) -> Vec<(String, Setting)> {
    let base = GbnnOptions { units: UNITS, seed, ..GbnnOptions::default() };
    let mut all = vec![];
    match method {
        "GBNN" => {
            for per_stage in [2, 3, 5, 10] {
                for rate in [0.1, 0.25, 0.5] {
                    for l2 in [1e-4, 0.1] {
                        let o = GbnnOptions { per_stage, rate, l2, ..base.clone() };
                        all.push((format!("J {per_stage}, eta {rate}, l2 {l2}"), Setting::Boosted(o)));
                    }
                }
            }
        }
        "at once" => {
            for l2 in [1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0] {
                for iterations in [50, 200, 1000] {
                    let o = GbnnOptions { l2, iterations, ..base.clone() };
                    all.push((format!("l2 {l2}, {iterations} iterations"), Setting::AtOnce(o)));
                }
            }
        }
        _ => {
            let adam = method == "adam";
            let rates = if adam { [1e-3, 3e-3, 1e-2, 3e-2] } else { [3e-3, 1e-2, 3e-2, 1e-1] };
            for rate in rates {
                for epochs in [50, 150, 500] {
                    for second in if adam { [0.0, 0.1] } else { [0.0, 0.9] } {
                        let optimizer: OptimizerConfig = if adam {
                            AdamWConfig { decay: second, ..AdamWConfig::default() }.into()
                        } else {
                            SgdConfig { momentum: second }.into()
                        };
                        let what = if adam { "decay" } else { "momentum" };
                        let plan = Plan::new(&optimizer, rate, (32, epochs), seed);
                        all.push((
                            format!("rate {rate}, {epochs} epochs, {what} {second}"),
                            Setting::Steps(plan),
                        ));
                    }
                }
            }
        }
    }
    // Every third of the same grids.
    if quick { all.into_iter().step_by(3).collect() } else { all }
}

impl Study for Boosting {
    fn name(&self) -> &'static str {
        "gbnn"
    }
    fn paper(&self) -> &'static str {
        "Sequential training of neural networks with gradient boosting (IEEE Access 2023, arXiv 1909.12098)"
    }
    fn claim(&self) -> &'static str {
        "A network trained a few units at a time is as good as the same network trained at once, and its last units can be switched off without significant loss."
    }
    fn criterion(&self) -> &'static str {
        "on each set the median test error of tuned GBNN is <= 1.05 x that of the best tuned network of the same size (L-BFGS, AdamW, gradient descent), and with half of the units it is <= 1.02 x that with all"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let (train, quick) = (500, run.options.quick);
        let mut table = Table::new(&[
            "set",
            "method",
            "seed",
            "setting",
            "validation",
            "test",
            "test 10 %",
            "test 30 %",
            "test 50 %",
            "test 100 %",
        ]);
        let mut notes = vec![format!(
            "{UNITS} units, {train} samples; errors are RMSE (friedman, tested without noise) and shares of wrong labels (mixtures); {} settings a side: J in 2, 3, 5, 10, eta in 0.1, 0.25, 0.5, l2 in 1e-4, 0.1; at once: l2 from 1e-4 to 3, 50, 200, 1000 iterations of L-BFGS; adam: rate 1e-3 to 3e-2, decay 0, 0.1, sgd: rate 3e-3 to 0.1, momentum 0, 0.9, each with 50, 150, 500 epochs in batches of 32",
            grid(METHODS[0], quick, 0).len()
        )];
        for set in SETS {
            for method in METHODS {
                for seed in run.seeds(1, 10) {
                    run.say(&format!("{set}, {method}, seed {seed}"))?;
                    let data = Data::new(set, train, seed);
                    let settings = grid(method, quick, seed);
                    let stop = run.stop();
                    let tried = settings.par_iter().map(|(_, setting)| {
                        if stop.load(Ordering::Relaxed) {
                            return Err(StudyError::Interrupted);
                        }
                        let net = data.fit(setting, stop)?;
                        Ok((data.validation(&net)?, net))
                    });
                    let tried = tried.collect::<Result<Vec<_>, StudyError>>()?;
                    let best = (0..tried.len()).fold(0, |b, i| if tried[i].0 < tried[b].0 { i } else { b });
                    let (validation, net) = &tried[best];
                    let mut row = vec![
                        set.into(),
                        method.into(),
                        seed.into(),
                        settings[best].0.as_str().into(),
                        (*validation).into(),
                    ];
                    row.push(data.test(net)?.into());
                    for share in KEPT {
                        row.push(match net.part(share) {
                            Some(part) => data.test(&part)?.into(),
                            None => super::Cell::Missing,
                        });
                    }
                    table.push(row);
                }
            }
        }
        for set in SETS {
            let of =
                |m: &str| mean(&table.only("set", set).only("method", m).numbers("test")).unwrap_or(f64::NAN);
            let all: Vec<String> = METHODS.iter().map(|m| format!("{m} {:.4}", of(m))).collect();
            notes.push(format!("{set}, mean test errors: {}", all.join(", ")));
        }
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        SETS.iter().fold(Judgment::new(), |judgment, set| {
            let of = |method: &str, column: &str| {
                median(&table.only("set", *set).only("method", method).numbers(column))
            };
            let ratio = |a: Option<f64>, b: Option<f64>| Some(a? / b?);
            let own = of(METHODS[0], "test");
            // A method without a fit is none to compare with; without any of them measured there is no best.
            let others: Option<Vec<f64>> = METHODS[1..].iter().map(|m| of(m, "test")).collect();
            let other = others.and_then(|all| all.into_iter().reduce(f64::min));
            let what = format!("{set}, error / that of the best network of the same size");
            judgment.at_most(&what, ratio(own, other), 1.05).at_most(
                &format!("{set}, half of the units / all"),
                ratio(of(METHODS[0], "test 50 %"), own),
                1.02,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn verdict(own: f64, other: f64, half: f64) -> Verdict {
        let mut table = Table::new(&["set", "method", "test", "test 50 %"]);
        for (set, [own, other, half]) in [(SETS[0], [own, other, half]), (SETS[1], [1.0, 1.0, 1.0])] {
            table.push(vec![set.into(), "GBNN".into(), own.into(), half.into()]);
            for (method, worse) in [("at once", 1.0), ("adam", 1.2), ("sgd", 3.0)] {
                table.push(vec![
                    set.into(),
                    method.into(),
                    (worse * other).into(),
                    super::super::Cell::Missing,
                ]);
            }
        }
        Boosting.judge(&table).verdict()
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        assert_eq!(verdict(1.04, 1.0, 1.05), Verdict::Holds);
        assert_eq!(verdict(1.06, 1.0, 1.06), Verdict::DoesNotHold);
        assert_eq!(verdict(1.0, 1.0, 1.03), Verdict::DoesNotHold);
        assert_eq!(verdict(f64::NAN, 1.0, 1.0), Verdict::DoesNotHold);
        let mut one = Table::new(&["set", "method", "test", "test 50 %"]);
        one.push(vec![SETS[0].into(), "GBNN".into(), 1.0.into(), 1.0.into()]);
        assert_eq!(Boosting.judge(&one).verdict(), Verdict::CannotBeDecided);
    }

    #[test]
    fn both_sides_have_as_many_settings() {
        for quick in [false, true] {
            for method in METHODS {
                assert_eq!(grid(METHODS[0], quick, 0).len(), grid(method, quick, 0).len());
            }
        }
        assert_eq!(grid(METHODS[0], false, 0).len(), 24);
    }
}
