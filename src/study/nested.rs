//! Delta-rule memories, a continuum of them, and M3 against what they are to replace.

use super::fits::{Plan, Problem, best, each, fit, grid, grids, named, rates};
use super::stats::{mean, median, most};
use super::streams::{STREAM, recall, regimes, stream};
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::memory::Rule;
use crate::train::optim;

pub struct Nested;

const STORED: [u64; 3] = [16, 24, 32];
const RATES: [f64; 8] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0];
const RULES: [(&str, Rule); 3] =
    [("lms", Rule::Gradient), ("implicit", Rule::Implicit), ("as printed", Rule::Surprise)];
const PACES: [(&str, [u64; 3]); 2] = [("continuum", [1, 8, 64]), ("plain", [1, 1, 1])];

impl Study for Nested {
    fn name(&self) -> &'static str {
        "nested"
    }
    fn paper(&self) -> &'static str {
        "Nested learning: the illusion of deep learning architectures (arXiv 2512.24695)"
    }
    fn claim(&self) -> &'static str {
        "Memories that learn by the delta rule recall more than sums of outer products and follow streams that drift, layers at several paces keep what returns, and momenta at two time scales train better than one."
    }
    fn criterion(&self) -> &'static str {
        "recall: error of the delta rule <= 0.75 x Hebb's at 16, 24 and 32 keys of 32 inputs (means). Stream: the implicit rule is finite at all 8 rates and its best median error <= 0.7 x that of LMS. Regimes: error after the return with paces 1, 8, 64 <= 0.9 x that of the same network with paces 1 (medians, best of seven rates). M3 <= Adam on the 1-D task"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let mut table = Table::new(&["part", "method", "keys", "rate", "seed", "error"]);
        let failed = StudyError::of("nested");
        run.say("recall")?;
        for (name, rule) in [("hebb", Rule::Hebbian), ("delta", Rule::Implicit)] {
            for n in STORED {
                for seed in run.seeds(3, 10) {
                    let head = vec!["recall".into(), name.into(), n.into(), super::Cell::Missing];
                    table.push([head, vec![seed.into(), recall(rule, n, seed)?.into()]].concat());
                }
            }
        }
        let mut push = |part: &str, name: &str, rate: f64, seed: u64, error: f64| {
            let head = vec![part.into(), name.into(), super::Cell::Missing, rate.into()];
            table.push([head, vec![seed.into(), error.into()]].concat());
        };
        run.say("stream")?;
        let mut jobs = vec![];
        for (name, rule) in RULES {
            for rate in RATES {
                jobs.extend(run.seeds(2, 10).map(|seed| (name, rule, rate, seed)));
            }
        }
        let steps = run.pick(1600, 4000);
        let done = each(run, &jobs, |(_, rule, rate, seed), _| stream(*rule, *rate, steps, *seed))?;
        jobs.iter()
            .zip(done)
            .for_each(|((name, _, rate, seed), error)| push("stream", name, *rate, *seed, error));
        run.say("regimes")?;
        let mut jobs = vec![];
        for (name, every) in PACES {
            for rate in rates(1e-3, run.options.quick) {
                jobs.extend(run.seeds(1, 5).map(|seed| (name, every, rate, seed)));
            }
        }
        let length = run.pick(500, 2000);
        let done = each(run, &jobs, |(_, every, rate, seed), _| regimes(every, *rate, length, *seed))?;
        jobs.iter()
            .zip(done)
            .for_each(|((name, _, rate, seed), error)| push("regimes", name, *rate, *seed, error));
        let n = run.pick(1000, 10_000);
        let printed = optim::M3Config { moments: optim::Accumulation::Printed, ..Default::default() };
        let methods = vec![
            named("m3", optim::M3Config::default()),
            named("m3, as printed", printed),
            named("muon", optim::MuonConfig::default()),
            named("adam", optim::AdamConfig::default()),
        ];
        run.say("1-D task")?;
        let done = grid(run, &methods, run.seeds(1, 3), |optimizer, rate, seed, stop| {
            let mut task = Problem::<f64>::one_d(seed, n).and_then(|p| p.task()).map_err(&failed)?;
            Ok(fit(&mut task, &Plan::small(optimizer, rate, seed), stop).map_err(&failed)?.error)
        })?;
        done.iter().for_each(|((m, rate, seed), error)| push("1-D", &methods[*m].0, *rate, *seed, *error));
        let notes = vec![
            "recall: the pairs are seen once, with c |x|^2 = 1 for the delta rule; error: relative squares"
                .into(),
            format!(
                "stream: {} inputs, {} outputs, {steps} steps, relative squared error of predictions made before each observation, without the first quarter; the rule as printed is biased to half of the target: 0.25",
                STREAM.0, STREAM.1
            ),
            format!(
                "regimes: 8-32-32-1, Adam, six regimes of {length} steps, two frequencies in turn, first 200 steps from the third regime on"
            ),
            format!("1-D: {n} rows, batch 32, 20 epochs; {}", grids(&methods, run.options.quick)),
        ];
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let part = |name: &str| table.only("part", name);
        let ratio = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| a / b);
        let mut judgment = Judgment::new();
        for n in STORED {
            let rows = part("recall").only("keys", n);
            let of = |name: &str| mean(&rows.only("method", name).numbers("error"));
            judgment = judgment.at_most(
                &format!("recall, {n} keys, delta / Hebb"),
                ratio(of("delta"), of("hebb")),
                0.75,
            );
        }
        let best_of = |p: &str, m: &str| best(&part(p).only("method", m), "error").map(|b| b.1);
        let all = part("stream").only("method", "implicit");
        let worst = most(
            &RATES
                .map(|rate| median(&all.only("rate", rate).numbers("error")))
                .map(|m| m.unwrap_or(f64::NAN)),
        );
        let worst = worst.filter(|_| !all.is_empty());
        judgment
            .require("stream, largest median error of the implicit rule", worst, "finite", f64::is_finite)
            .at_most(
                "stream, implicit / LMS",
                ratio(best_of("stream", "implicit"), best_of("stream", "lms")),
                0.7,
            )
            .at_most(
                "regimes, continuum / plain",
                ratio(best_of("regimes", "continuum"), best_of("regimes", "plain")),
                0.9,
            )
            .at_most("1-D, M3 / Adam", ratio(best_of("1-D", "m3"), best_of("1-D", "adam")), 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    /// Errors of the new methods, those of the old being 1; `last`: of the implicit rule at the largest rate.
    fn verdict(recall: f64, stream: f64, last: f64, regimes: f64, m3: f64) -> Verdict {
        let mut table = Table::new(&["part", "method", "keys", "rate", "error"]);
        let mut push = |part: &str, name: &str, keys: u64, rate: f64, error: f64| {
            table.push(vec![part.into(), name.into(), keys.into(), rate.into(), error.into()]);
        };
        for keys in STORED {
            push("recall", "hebb", keys, 0.0, 1.0);
            push("recall", "delta", keys, 0.0, recall);
        }
        for rate in RATES {
            push("stream", "lms", 0, rate, if rate > 0.01 { f64::INFINITY } else { 1.0 });
            push("stream", "implicit", 0, rate, if rate == 3.0 { last } else { stream });
        }
        push("regimes", "continuum", 0, 1.0, regimes);
        push("regimes", "plain", 0, 1.0, 1.0);
        push("1-D", "m3", 0, 1.0, m3);
        push("1-D", "adam", 0, 1.0, 1.0);
        Nested.judge(&table).verdict()
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        assert_eq!(verdict(0.7, 0.6, 5.0, 0.8, 0.9), Verdict::Holds);
        assert_eq!(verdict(0.8, 0.6, 5.0, 0.8, 0.9), Verdict::DoesNotHold);
        assert_eq!(verdict(0.7, 0.75, 5.0, 0.8, 0.9), Verdict::DoesNotHold);
        assert_eq!(verdict(0.7, 0.6, f64::INFINITY, 0.8, 0.9), Verdict::DoesNotHold);
        assert_eq!(verdict(0.7, 0.6, 5.0, 0.95, 0.9), Verdict::DoesNotHold);
        assert_eq!(verdict(0.7, 0.6, 5.0, 0.8, 400.0), Verdict::DoesNotHold);
    }
}
