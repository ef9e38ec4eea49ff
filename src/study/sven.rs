//! Sven against first-order methods and L-BFGS on two regressions, by steps and by time.

use std::time::Instant;

use super::fits::{Plan, Problem, baselines, best, fit, grid, grids, named, uniform_start};
use super::stats::{median, most};
use super::{Cell, Judgment, Measured, Picture, Run, Study, StudyError, Table};
use crate::opt::lbfgs::{LbfgsOptions, minimize};
use crate::train::data::{Stream, generator};
use crate::train::{Curve, OptimizerConfig, Plot, Progress, Split, State, Task, TrainError, optim};

pub struct SvenStudy;

const TASKS: [&str; 2] = ["1-D", "polynomial"];

fn problem(task: &str, seed: u64, n: usize) -> Result<Problem<f64>, TrainError> {
    if task == TASKS[0] { Problem::one_d(seed, n) } else { Problem::polynomial(seed, n) }
}

/// Validation error of L-BFGS on all rows at once, after so many seconds.
fn lbfgs(problem: &Problem<f64>, seed: u64, budget: f64) -> Result<f64, StudyError> {
    let failed = StudyError::of("sven");
    let mut task = problem.task().map_err(&failed)?;
    let mut state = State::new(&task, &OptimizerConfig::every()[0], seed);
    let entries = state.params.entries().to_vec();
    uniform_start(&entries, seed, state.params.values_mut());
    let all: Vec<usize> = (0..task.samples()).collect();
    let begun = Instant::now();
    let mut f = |p: &[f64], g: &mut [f64]| {
        g.fill(0.0);
        let mut rng = generator(0, Stream::Pass, 0);
        let value = task.gradient(p, &all, &Progress::default(), &mut rng, g);
        // Out of time: nothing further is accepted.
        if begun.elapsed().as_secs_f64() > budget { f64::NAN } else { value.map_or(f64::NAN, |v| v.0.loss) }
    };
    let options =
        LbfgsOptions { iterations: 100_000, gradient: 0.0, decrease: 0.0, ..LbfgsOptions::default() };
    let end = minimize(&mut f, state.params.values(), &options).map_err(StudyError::of("sven"))?;
    Ok(task.evaluate(&end.x, Split::Validation).map_err(&failed)?.loss)
}

/// The error of a curve at a time; infinite before its first point.
fn at_time(curve: &[(f64, f64)], seconds: f64) -> f64 {
    curve.iter().take_while(|c| c.0 <= seconds).last().map_or(f64::INFINITY, |c| c.1)
}

impl Study for SvenStudy {
    fn name(&self) -> &'static str {
        "sven"
    }
    fn paper(&self) -> &'static str {
        "Sven: singular value descent (arXiv 2604.01279)"
    }
    fn claim(&self) -> &'static str {
        "The least change of parameters that meets all residuals of a batch leads regressions to errors far below those of first-order methods."
    }
    fn criterion(&self) -> &'static str {
        "1-D task: median error of Sven <= 0.25 x that of Adam, both at the best of seven rates, and Sven's median error at the time that Adam takes in all <= Adam's"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let failed = StudyError::of("sven");
        let n = run.pick(1000, 10_000);
        let sven = optim::SvenConfig::default();
        let mut methods = vec![named("sven", sven.clone())];
        methods.push(named("sven, half-inverse", optim::SvenConfig { power: 0.5, ..sven }));
        methods.extend(baselines());
        let mut table =
            Table::new(&["task", "method", "rate", "seed", "error", "error at Adam's time", "seconds"]);
        let mut notes = vec![
            format!("{n} rows, batch 32, 20 epochs; published: 5.1e-7 (Sven), 3.3e-5 (Adam) on the 1-D task, 0.139 and 0.238 on the polynomial"),
            grids(&methods, run.options.quick),
            "columns with times, and L-BFGS, which has the time of Sven's run of the same seed, depend on the machine".into(),
        ];
        let mut pictures = vec![];
        for task in TASKS {
            run.say(&format!("{task}: {} methods", methods.len()))?;
            let seeds = run.seeds(1, 5);
            let done = grid(run, &methods, seeds.clone(), |optimizer, rate, seed, stop| {
                let plan = Plan { curve: true, ..Plan::small(optimizer, rate, seed) };
                let mut made = problem(task, seed, n).and_then(|p| p.task()).map_err(&failed)?;
                let fitted = fit(&mut made, &plan, stop).map_err(&failed)?;
                Ok((fitted.error, fitted.curve, fitted.seconds))
            })?;
            let mut plain = Table::new(&["method", "rate", "error"]);
            for ((m, rate, _), (error, ..)) in &done {
                plain.push(vec![methods[*m].0.as_str().into(), (*rate).into(), (*error).into()]);
            }
            let chosen: Vec<Option<f64>> = methods
                .iter()
                .map(|m| best(&plain.only("method", m.0.as_str()), "error").map(|b| b.0))
                .collect();
            let time_of = |name: &str, seed: u64| {
                let m = methods.iter().position(|m| m.0 == name)?;
                let hit = done.iter().find(|(at, _)| (at.0, Some(at.1), at.2) == (m, chosen[m], seed));
                hit.map(|d| d.1.2)
            };
            for ((m, rate, seed), (error, curve, seconds)) in &done {
                let early = time_of("adam", *seed).map(|t| at_time(curve, t));
                let early = early.filter(|_| methods[*m].0.starts_with("sven"));
                table.push(vec![
                    task.into(),
                    methods[*m].0.as_str().into(),
                    (*rate).into(),
                    (*seed).into(),
                    (*error).into(),
                    early.into(),
                    (*seconds).into(),
                ]);
            }
            let first = run.options.seed;
            let mut curves = vec![];
            for (m, (name, _)) in methods.iter().enumerate() {
                let hit = done.iter().find(|(at, _)| (at.0, Some(at.1), at.2) == (m, chosen[m], first));
                if let Some((_, (_, points, _))) = hit {
                    curves.push(Curve { name: name.clone(), points: points.clone(), joined: true });
                }
            }
            for seed in seeds {
                run.say(&format!("{task}: L-BFGS, seed {seed}"))?;
                let Some(budget) = time_of("sven", seed) else { continue };
                let error = lbfgs(&problem(task, seed, n).map_err(&failed)?, seed, budget)?;
                let row = vec![task.into(), "l-bfgs".into(), Cell::Missing, seed.into(), error.into()];
                table.push([row, vec![Cell::Missing, budget.into()]].concat());
            }
            let rows = table.only("task", task);
            let line = |(name, _): &(String, OptimizerConfig)| {
                let own = rows.only("method", name.as_str());
                let (rate, error) = best(&own, "error").unwrap_or((f64::NAN, f64::NAN));
                let own = own.only("rate", rate);
                let worst = most(&own.numbers("error")).unwrap_or(f64::NAN);
                let seconds = median(&own.numbers("seconds")).unwrap_or(f64::NAN);
                format!("{name} {error:.2e} / {worst:.2e} at {rate:e} in {seconds:.2} s")
            };
            let all: Vec<String> = methods.iter().map(line).collect();
            let full = median(&rows.only("method", "l-bfgs").numbers("error")).unwrap_or(f64::NAN);
            notes.push(format!("{task}, median / largest error: {}, l-bfgs {full:.2e}", all.join(", ")));
            let axes = ("seconds".to_string(), "validation error".to_string());
            let name = if task == TASKS[0] { "one_d" } else { "polynomial" };
            let plot = Plot { name: name.into(), axes, curves };
            pictures.push(Picture { title: format!("{task}, each at its best rate"), log: true, plot });
        }
        Ok(Measured { table, notes, pictures })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let rows = table.only("task", TASKS[0]);
        let of = |name: &str| best(&rows.only("method", name), "error");
        let (sven, adam) = (of("sven"), of("adam").map(|b| b.1));
        let early = sven.and_then(|(rate, _)| {
            median(&rows.only("method", "sven").only("rate", rate).numbers("error at Adam's time"))
        });
        let ratio = |a: Option<f64>| Some(a? / adam?);
        Judgment::new().at_most("error of Sven / of Adam", ratio(sven.map(|b| b.1)), 0.25).at_most(
            "the same when Adam's time is over",
            ratio(early),
            1.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_criterion_on_made_up_tables() {
        let verdict = |sven: f64, early: Option<f64>| {
            let mut table = Table::new(&["task", "method", "rate", "error", "error at Adam's time"]);
            for (rate, worse) in [(0.1, 9.0), (1.0, 1.0)] {
                let row = |name: &str, error: f64, early: Option<f64>| {
                    vec!["1-D".into(), name.into(), rate.into(), (worse * error).into(), early.into()]
                };
                table.push(row("sven", sven, early));
                table.push(row("adam", 1.0, None));
            }
            SvenStudy.judge(&table).verdict()
        };
        assert_eq!(verdict(0.24, Some(0.9)), Verdict::Holds);
        assert_eq!(verdict(0.26, Some(0.9)), Verdict::DoesNotHold);
        assert_eq!(verdict(0.1, Some(1.1)), Verdict::DoesNotHold);
        assert_eq!(verdict(0.1, Some(f64::INFINITY)), Verdict::DoesNotHold);
        assert_eq!(verdict(0.1, None), Verdict::CannotBeDecided);
    }

    #[test]
    fn curves_by_time() {
        let curve = [(1.0, 5.0), (2.0, 3.0), (3.0, 4.0)];
        assert_eq!([0.5, 1.0, 2.9, 9.0].map(|t| at_time(&curve, t)), [f64::INFINITY, 5.0, 3.0, 4.0]);
    }
}
