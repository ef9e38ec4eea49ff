//! All optimizers of [`train::optim`](crate::train::optim) side by side: on the 1-D task against an independent implementation, on the spiral neural ODE and on digits.

use super::comparison::{COLUMNS, Comparison};
use super::fits::{Digits, Plan, Problem, best, grids, spiral};
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::train::{Needs, OptimizerConfig, optim};

pub struct Optimizers;

/// Medians of 5 seeds at the better of two rates, by an implementation in another language.
const REFERENCE: [(&str, f64); 8] = [
    ("sven", 9.8e-7),
    ("adam", 1.27e-5),
    ("lion", 1.3e-5),
    ("am", 1.7e-5),
    ("am_adamw", 1.9e-5),
    ("shampoo", 7.4e-6),
    ("muon", 2.5e-5),
    ("m3", 5.4e-3),
];

/// Every kind with its default constants but for weight decay, and variants of some.
fn methods() -> Vec<(String, OptimizerConfig)> {
    let plain = |config: OptimizerConfig| match config {
        OptimizerConfig::AdamW(c) => optim::AdamWConfig { decay: 0.0, ..c }.into(),
        OptimizerConfig::AmAdamW(c) => optim::AmAdamWConfig { decay: 0.0, ..c }.into(),
        other => other,
    };
    let mut all: Vec<_> =
        OptimizerConfig::every().into_iter().map(|c| (c.kind().to_string(), plain(c))).collect();
    let sven = optim::SvenConfig::default();
    all.push(("sven, k 8".into(), optim::SvenConfig { k: 8, ..sven.clone() }.into()));
    all.push(("sven, half-inverse".into(), optim::SvenConfig { power: 0.5, ..sven }.into()));
    let printed = optim::M3Config { moments: optim::Accumulation::Printed, ..Default::default() };
    all.push(("m3, as printed".into(), printed.into()));
    all
}

impl Study for Optimizers {
    fn name(&self) -> &'static str {
        "optimizers"
    }
    fn paper(&self) -> &'static str {
        "Lion, AM, Sven, Shampoo and Muon, nested learning (arXiv 2302.06675, 2510.04988, 2604.01279, 2507.12224, 2512.24695)"
    }
    fn claim(&self) -> &'static str {
        "On the 1-D task y = exp(-10 x^2) sin 2x every optimizer reaches the error that an independent implementation reached with the same network, data and number of steps."
    }
    fn criterion(&self) -> &'static str {
        "median validation error over the seeds at the best of seven rates <= 3 x the reference's median, for sven, adam, lion, am, am_adamw, shampoo, muon and m3"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let failed = StudyError::of("optimizers");
        let (n, images) = (run.pick(1000, 10_000), run.pick(1500, 6096));
        let digits = Digits::new(run, images)?;
        let trained = images - 2000.min(images / 3);
        let classes = Problem::<f64>::digits(&digits, trained).map_err(&failed)?;
        let any = OptimizerConfig::every().swap_remove(0);
        let (spirals, epochs) = (run.pick(20, 300), run.pick(1, 5));
        let first = run.options.seed..run.options.seed + 1;
        let study = "optimizers";
        let parts = [
            Comparison {
                part: "1-D",
                make: &|_, seed| Ok(Box::new(Problem::one_d(seed, n)?.task()?)),
                plan: Plan::small(&any, 1.0, 0),
                seeds: run.seeds(1, 3),
                study,
            },
            Comparison {
                part: "spiral",
                make: &|_, _| Ok(Box::new(spiral()?)),
                plan: Plan::new(&any, 1.0, (1, spirals), 0),
                seeds: first.clone(),
                study,
            },
            Comparison {
                part: "digits",
                make: &|_, _| Ok(Box::new(classes.task()?)),
                plan: Plan::new(&any, 1.0, (64, epochs), 0),
                seeds: first,
                study,
            },
        ];
        let mut table = Table::new(&COLUMNS);
        let mut notes = vec![
            format!("1-D: {n} rows, batch 32, 20 epochs; spiral: 30 points, tolerance 1e-6, {spirals} steps; digits: {trained} for training, batch 64, {epochs} epochs; {}", digits.note),
            grids(&methods(), run.options.quick),
            "best: the best rate once more on the first seed, sharpness on at most 1000 samples, effective rank of what was added to the first layer".into(),
        ];
        for part in &parts {
            let mut methods = methods();
            // Equations are solved around their layers.
            methods.retain(|m| part.part != "spiral" || m.1.needs() != Needs::LayerInputs);
            notes.push(part.run(run, &methods, &mut table)?);
        }
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let rows = table.only("part", "1-D");
        REFERENCE.iter().fold(Judgment::new(), |judgment, (name, reference)| {
            let found = best(&rows.only("method", *name), "error").map(|b| b.1 / reference);
            judgment.at_most(&format!("{name}, error / reference"), found, 3.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn made_up(factor: impl Fn(&str) -> f64) -> Table {
        let mut table = Table::new(&["part", "method", "rate", "seed", "error"]);
        for (name, reference) in REFERENCE {
            for (rate, worse) in [(0.1, 7.0), (1.0, 1.0)] {
                for (seed, spread) in [(0u64, 0.1), (1, 1.0), (2, 50.0)] {
                    let error = reference * worse * spread * factor(name);
                    table.push(vec!["1-D".into(), name.into(), rate.into(), seed.into(), error.into()]);
                }
            }
        }
        table
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        let verdict = |table: &Table| Optimizers.judge(table).verdict();
        assert_eq!(verdict(&made_up(|_| 2.9)), Verdict::Holds);
        assert_eq!(verdict(&made_up(|name| if name == "muon" { 3.1 } else { 1.0 })), Verdict::DoesNotHold);
        assert_eq!(
            verdict(&made_up(|name| if name == "am" { f64::INFINITY } else { 1.0 })),
            Verdict::DoesNotHold
        );
        assert_eq!(verdict(&made_up(|_| 1.0).only("method", "adam")), Verdict::CannotBeDecided);
    }

    #[test]
    fn all_kinds_are_there() {
        let names: Vec<String> = methods().into_iter().map(|m| m.0).collect();
        assert!(OptimizerConfig::every().iter().all(|o| names.iter().any(|n| n == o.kind())));
        assert!(REFERENCE.iter().all(|r| names.iter().any(|n| n == r.0)));
    }
}
