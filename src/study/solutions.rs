//! Which solution an optimizer finds: forgetting along sequences of tasks, ranks, and evaluations of a neural ODE at equal loss.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::comparison::{COLUMNS, Comparison};
use super::fits::{Digits, Plan, grid, grids, named, spiral};
use super::sequences::Sequence;
use super::stats::median;
use super::{Cell, Judgment, Measured, Run, Study, StudyError, Table};
use crate::train::config::{Precision, TrainConfig};
use crate::train::{Config, OptimizerConfig, Schedule, State, TrainError, TrainEvent, optim, train};

pub struct Solutions;

/// Training loss at which the neural ODEs are compared.
const LOSS: f64 = 0.01;
/// Accuracies that agree.
const AGREE: f64 = 0.01;

fn methods() -> Vec<(String, OptimizerConfig)> {
    vec![
        named("sgd", optim::SgdConfig::default()),
        named("adamw", optim::AdamWConfig::default()),
        named("shampoo", optim::ShampooConfig::default()),
        named("muon", optim::MuonConfig::default()),
    ]
}

/// Steps to the loss, and evaluations of the field there; none if it was not reached.
fn to_loss(
    optimizer: &OptimizerConfig,
    rate: f64,
    seed: u64,
    steps: u64,
    stop: &AtomicBool,
) -> Result<Option<(u64, u64)>, TrainError> {
    let mut task = spiral()?;
    let config =
        TrainConfig { seed, checkpoint_every: u64::MAX, ..TrainConfig::new(steps, Schedule::constant(rate)) };
    let mut state = State::new(&task, optimizer, seed);
    let mut reached = None;
    train(&mut task, &config, &mut state, &mut |event, _| {
        if let TrainEvent::Step(r) = event
            && r.pass.loss <= LOSS
        {
            reached = Some((r.step, r.pass.nfe));
        }
        let end = reached.is_some() || stop.load(Ordering::Relaxed);
        Ok(if end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(reached)
}

/// Medians over the seeds of a method's rows, one a rate: current accuracy, forgetting, rank of the features.
fn by_rate(rows: &Table) -> Vec<[f64; 3]> {
    let columns = ["current", "forgetting", "feature rank"];
    let of = |rate: Cell| {
        let rows = rows.only("rate", rate);
        columns.map(|c| median(&rows.numbers(c)).unwrap_or(f64::NAN))
    };
    rows.values("rate").into_iter().map(of).collect()
}

/// Of Shampoo and AdamW: the pair of rates with the highest accuracy of AdamW at which accuracies agree.
fn pair(table: &Table, part: &str) -> Option<([f64; 3], [f64; 3])> {
    let rows = |name: &str| by_rate(&table.only("part", part).only("method", name));
    let mut found: Option<([f64; 3], [f64; 3])> = None;
    for adamw in rows("adamw") {
        for shampoo in rows("shampoo") {
            let agree = (adamw[0] - shampoo[0]).abs() <= AGREE;
            if agree && found.is_none_or(|(_, best)| adamw[0] > best[0]) {
                found = Some((shampoo, adamw));
            }
        }
    }
    found
}

/// The user's configuration with each optimizer: constant rates in place of schedules, double precision.
fn on_users_task(run: &mut Run<'_>, config: &Config, base: &Path) -> Result<Measured, StudyError> {
    let make = |optimizer: &OptimizerConfig, _| {
        let mut own = Config { optimizer: optimizer.clone(), ..config.clone() };
        own.train.precision = Precision::F64;
        own.check()?;
        own.build::<f64>(base)
    };
    let (methods, mut table) = (methods(), Table::new(&COLUMNS));
    let plan = Plan::new(&methods[0].1, 1.0, (config.train.batch, config.train.epochs), 0);
    let of = Comparison { part: "yours", make: &make, plan, seeds: run.seeds(1, 3), study: "solutions" };
    let seconds = of.run(run, &methods, &mut table)?;
    let what = "error: validation loss, or test loss without validation data; the claim is about the study's own tasks";
    let notes = vec![grids(&methods, run.options.quick), what.into(), seconds];
    Ok(Measured { table, notes, ..Measured::default() })
}

impl Study for Solutions {
    fn name(&self) -> &'static str {
        "solutions"
    }
    fn paper(&self) -> &'static str {
        "Optimizers qualitatively alter solutions and we should leverage this (arXiv 2507.12224)"
    }
    fn claim(&self) -> &'static str {
        "Preconditioners that are not diagonal forget less when tasks follow one another than diagonal ones at equal accuracy."
    }
    fn criterion(&self) -> &'static str {
        "permuted digits, at the rates with the highest accuracy on the task just trained at which AdamW and Shampoo agree within 1 point (medians over the seeds): forgetting of Shampoo <= 0.85 x AdamW's"
    }
    fn takes_training(&self) -> bool {
        true
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        if let Some((config, base)) = &run.options.training {
            return on_users_task(run, config, base);
        }
        let failed = StudyError::of("solutions");
        let (train, tests) = run.pick((1280, 500), (4096, 2000));
        let digits = Digits::new(run, train + tests)?;
        let mut table = Table::new(&[
            "part",
            "method",
            "rate",
            "seed",
            "current",
            "at the end",
            "forgetting",
            "weight rank",
            "feature rank",
            "steps",
            "NFE",
        ]);
        let methods = methods();
        for part in ["permuted", "pairs"] {
            let seeds = run.seeds(1, 3);
            run.say(&format!("{part} digits"))?;
            let make = |seed| match part {
                "permuted" => Sequence::permuted(&digits, train, seed),
                _ => Sequence::pairs(&digits, train, seed),
            };
            let made = seeds.clone().map(make).collect::<Result<Vec<_>, _>>().map_err(&failed)?;
            let done = grid(run, &methods, seeds.clone(), |optimizer, rate, seed, stop| {
                made[(seed - seeds.start) as usize].run(optimizer, rate, seed, stop).map_err(&failed)
            })?;
            for ((m, rate, seed), o) in done {
                let head = vec![part.into(), methods[m].0.as_str().into(), rate.into(), seed.into()];
                let middle = vec![o.current.into(), o.at_end.into(), o.forgetting.into()];
                let tail = vec![o.weight_rank.into(), o.feature_rank.into(), Cell::Missing, Cell::Missing];
                table.push([head, middle, tail].concat());
            }
        }
        let steps = run.pick(60, 400);
        run.say("spiral neural ODE")?;
        let done = grid(run, &methods, run.seeds(1, 3), |optimizer, rate, seed, stop| {
            to_loss(optimizer, rate, seed, steps, stop).map_err(&failed)
        })?;
        for ((m, rate, seed), reached) in done {
            let cell = |v: Option<u64>| v.map_or(Cell::Missing, Cell::Count);
            let head = vec!["spiral".into(), methods[m].0.as_str().into(), rate.into(), seed.into()];
            let tail = vec![cell(reached.map(|r| r.0)), cell(reached.map(|r| r.1))];
            table.push([head, vec![Cell::Missing; 5], tail].concat());
        }
        let mut notes = vec![
            format!(
                "five tasks of {train} digits (permuted; pairs of classes: a fifth of that) one after another, one pass each, 196-100-10, ReLU, batch 64; {}",
                digits.note
            ),
            format!(
                "spiral: steps until the loss is {LOSS}, at most {steps}, and evaluations of the field there"
            ),
            grids(&methods, run.options.quick),
        ];
        if let Some((shampoo, adamw)) = pair(&table, "permuted") {
            let holds = if shampoo[2] < adamw[2] { "holds" } else { "does not hold at this scale" };
            notes.push(format!("second claim, representations of lower dimension: effective rank of the features {:.1} (Shampoo), {:.1} (AdamW): {holds}", shampoo[2], adamw[2]));
        }
        if let Some((shampoo, adamw)) = pair(&table, "pairs") {
            notes.push(format!(
                "pairs of classes, at equal accuracy: forgetting {:.3} (Shampoo), {:.3} (AdamW)",
                shampoo[1], adamw[1]
            ));
        }
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        match pair(table, "permuted") {
            Some((shampoo, adamw)) => Judgment::new().at_most(
                &format!(
                    "forgetting of Shampoo / of AdamW at accuracies {:.3} and {:.3}",
                    shampoo[0], adamw[0]
                ),
                Some(shampoo[1] / adamw[1]),
                0.85,
            ),
            None => Judgment::new()
                .undecided("no rates of AdamW and Shampoo whose accuracies agree within 1 point"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    /// Accuracy and forgetting of AdamW and of Shampoo at two rates each.
    fn verdict(adamw: [(f64, f64); 2], shampoo: [(f64, f64); 2]) -> Verdict {
        let mut table = Table::new(&["part", "method", "rate", "current", "forgetting"]);
        for (name, rows) in [("adamw", adamw), ("shampoo", shampoo)] {
            for (rate, (current, forgetting)) in [0.1, 1.0].into_iter().zip(rows) {
                table.push(vec![
                    "permuted".into(),
                    name.into(),
                    rate.into(),
                    current.into(),
                    forgetting.into(),
                ]);
            }
        }
        Solutions.judge(&table).verdict()
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        // The pair 0.90 and 0.905 counts, not the one at 0.80.
        assert_eq!(verdict([(0.80, 0.1), (0.90, 0.2)], [(0.80, 0.1), (0.905, 0.16)]), Verdict::Holds);
        assert_eq!(verdict([(0.80, 0.1), (0.90, 0.2)], [(0.80, 0.01), (0.905, 0.18)]), Verdict::DoesNotHold);
        assert_eq!(verdict([(0.80, 0.1), (0.90, 0.2)], [(0.80, 0.09), (0.95, 0.01)]), Verdict::DoesNotHold);
        assert_eq!(
            verdict([(0.80, 0.1), (0.90, 0.2)], [(0.82, 0.01), (0.95, 0.01)]),
            Verdict::CannotBeDecided
        );
    }
}
