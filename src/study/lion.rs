//! Lion against Adam on the 1-D task, and against AdamW on digits at three sizes of the batch.

use super::fits::{Digits, Plan, Problem, best, fit, grid, grids, named};
use super::{Cell, Judgment, Measured, Run, Study, StudyError, Table};
use crate::train::optim;

pub struct LionStudy;

const BATCHES: [u64; 3] = [64, 256, 1024];

impl Study for LionStudy {
    fn name(&self) -> &'static str {
        "lion"
    }
    fn paper(&self) -> &'static str {
        "Symbolic discovery of optimization algorithms (arXiv 2302.06675)"
    }
    fn claim(&self) -> &'static str {
        "Steps by the sign of a momentum, with half of Adam's memory, are as good as AdamW's or better, the more so the larger the batch."
    }
    fn criterion(&self) -> &'static str {
        "1-D task: median error of Lion <= 2 x Adam's. Digits: at every batch of 64, 256, 1024 Lion's median accuracy >= AdamW's - 0.3 points, and its advantage at 1024 is not below that at 64. All at the best of seven rates"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let failed = StudyError::of("lion");
        let mut table = Table::new(&["part", "batch", "method", "rate", "seed", "error", "accuracy"]);
        let n = run.pick(1000, 10_000);
        let (lion, adam) = (optim::LionConfig::default(), optim::AdamConfig::default());
        let methods = vec![named("lion", lion.clone()), named("adam", adam)];
        run.say("1-D task")?;
        let done = grid(run, &methods, run.seeds(1, 5), |optimizer, rate, seed, stop| {
            let mut task = Problem::<f64>::one_d(seed, n).and_then(|p| p.task()).map_err(&failed)?;
            Ok(fit(&mut task, &Plan::small(optimizer, rate, seed), stop).map_err(&failed)?.error)
        })?;
        for ((m, rate, seed), error) in done {
            let head = vec!["1-D".into(), 32u64.into(), methods[m].0.as_str().into(), rate.into()];
            table.push([head, vec![seed.into(), error.into(), Cell::Missing]].concat());
        }
        let mut notes =
            vec![format!("1-D: {n} rows, batch 32, 20 epochs; {}", grids(&methods, run.options.quick))];
        let (count, trained) = (run.pick(2500, 10_000), run.pick(2000, 8000));
        let digits = Digits::new(run, count)?;
        let problem = Problem::<f32>::digits(&digits, trained).map_err(&failed)?;
        let (decayed, adamw) = (optim::LionConfig { decay: 0.1, ..lion }, optim::AdamWConfig::default());
        let methods = vec![named("lion", decayed), named("adamw", adamw)];
        let epochs = run.pick(2, 5);
        for batch in BATCHES {
            run.say(&format!("digits, batch {batch}"))?;
            let done = grid(run, &methods, run.seeds(1, 3), |optimizer, rate, seed, stop| {
                let plan = Plan::new(optimizer, rate, (batch as usize, epochs), seed);
                let fitted = fit(&mut problem.task().map_err(&failed)?, &plan, stop).map_err(&failed)?;
                // A run that failed knows no digit.
                Ok(fitted.found.accuracy.unwrap_or(0.0))
            })?;
            for ((m, rate, seed), accuracy) in done {
                let head = vec!["digits".into(), batch.into(), methods[m].0.as_str().into(), rate.into()];
                table.push([head, vec![seed.into(), (1.0 - accuracy).into(), accuracy.into()]].concat());
            }
        }
        notes.push(format!(
            "digits: 196-100-10, ReLU, {trained} for training, {epochs} epochs, weight decay 0.01 (AdamW), 0.1 (Lion); error: share of wrong answers; {}; {}",
            grids(&methods, run.options.quick),
            digits.note
        ));
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let of = |rows: &Table, name: &str| best(&rows.only("method", name), "error").map(|b| b.1);
        let small = table.only("part", "1-D");
        let ratio = of(&small, "lion").zip(of(&small, "adam")).map(|(a, b)| a / b);
        let mut judgment = Judgment::new().at_most("1-D, error of Lion / of Adam", ratio, 2.0);
        // In points of accuracy, Lion's less AdamW's.
        let advantage = BATCHES.map(|batch| {
            let rows = table.only("part", "digits").only("batch", batch);
            of(&rows, "adamw").zip(of(&rows, "lion")).map(|(a, l)| 100.0 * (a - l))
        });
        for (batch, advantage) in BATCHES.iter().zip(advantage) {
            judgment =
                judgment.at_least(&format!("digits, batch {batch}, points above AdamW"), advantage, -0.3);
        }
        let gain = advantage[0].zip(advantage[2]).map(|(small, large)| large - small);
        judgment.at_least("digits, points gained from batch 64 to 1024", gain, 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    /// Errors of Lion on the 1-D task, and accuracies on digits in per cent, those of the other being 1 and 95.
    fn verdict(one_d: f64, digits: [f64; 3]) -> Verdict {
        let mut table = Table::new(&["part", "batch", "method", "rate", "error"]);
        let mut push = |part: &str, batch: u64, name: &str, error: f64| {
            for (rate, worse) in [(1.0, 1.0), (2.0, 3.0)] {
                table.push(vec![part.into(), batch.into(), name.into(), rate.into(), (worse * error).into()]);
            }
        };
        push("1-D", 32, "lion", one_d);
        push("1-D", 32, "adam", 1.0);
        for (batch, accuracy) in BATCHES.iter().zip(digits) {
            push("digits", *batch, "lion", 1.0 - accuracy / 100.0);
            push("digits", *batch, "adamw", 0.05);
        }
        LionStudy.judge(&table).verdict()
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        assert_eq!(verdict(1.9, [94.8, 95.0, 95.1]), Verdict::Holds);
        assert_eq!(verdict(2.1, [95.0, 95.0, 95.1]), Verdict::DoesNotHold);
        assert_eq!(verdict(1.0, [95.0, 94.6, 95.1]), Verdict::DoesNotHold);
        assert_eq!(verdict(1.0, [95.2, 95.0, 95.1]), Verdict::DoesNotHold);
        assert_eq!(verdict(f64::INFINITY, [95.0, 95.0, 95.1]), Verdict::DoesNotHold);
    }
}
