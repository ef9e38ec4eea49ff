//! One task with several optimizers: what each makes of it.

use super::fits::{Plan, best, each, first_layer_rank, fit, grid, sharpness_at};
use super::{Cell, Run, StudyError, Table};
use crate::train::{OptimizerConfig, Schedule, Task, TrainError};

/// Columns of the table.
pub const COLUMNS: [&str; 9] =
    ["part", "method", "rate", "seed", "error", "accuracy", "NFE", "sharpness", "rank"];

/// A task for an optimizer and a seed.
type Make<'a> = dyn Fn(&OptimizerConfig, u64) -> Result<Box<dyn Task<f64>>, TrainError> + Sync + 'a;

/// What is compared.
pub struct Comparison<'a> {
    /// Its name in the table.
    pub part: &'a str,
    pub make: &'a Make<'a>,
    /// Length and start; optimizer, rate and seed are replaced.
    pub plan: Plan,
    pub seeds: std::ops::Range<u64>,
    pub study: &'static str,
}

impl Comparison<'_> {
    /// Adds a row for every method, rate of its grid, and seed; then those of the best rates once more on the first seed, with sharpness and rank. Returns the seconds of these.
    pub fn run(
        &self,
        run: &mut Run<'_>,
        methods: &[(String, OptimizerConfig)],
        table: &mut Table,
    ) -> Result<String, StudyError> {
        let failed = StudyError::of(self.study);
        run.say(&format!("{}: {} methods", self.part, methods.len()))?;
        let once = |optimizer: &OptimizerConfig, rate: f64, seed: u64, stop: &_| {
            let mut task = (self.make)(optimizer, seed)?;
            let (optimizer, rate) = (optimizer.clone(), Schedule::constant(rate));
            let plan = Plan { optimizer, rate, seed, ..self.plan.clone() };
            Ok((fit(&mut *task, &plan, stop)?, task))
        };
        let done = grid(run, methods, self.seeds.clone(), |optimizer, rate, seed, stop| {
            let (fitted, _) = once(optimizer, rate, seed, stop).map_err(&failed)?;
            Ok((fitted.error, fitted.found))
        })?;
        // Tasks without equations count no evaluations.
        let nfe = |nfe: f64| Some(nfe).filter(|n| *n > 0.0);
        for ((m, rate, seed), (error, found)) in done {
            let head = vec![self.part.into(), methods[m].0.as_str().into(), rate.into(), seed.into()];
            let middle = vec![error.into(), found.accuracy.into(), nfe(found.nfe).into()];
            table.push([head, middle, vec![Cell::Missing, Cell::Missing]].concat());
        }
        let rows = table.only("part", self.part);
        let chosen: Vec<_> = methods
            .iter()
            .filter_map(|(name, o)| Some((name, o, best(&rows.only("method", name.as_str()), "error")?.0)))
            .collect();
        let first = self.seeds.start;
        let again = each(run, &chosen, |(_, optimizer, rate), stop| {
            let (fitted, mut task) = once(optimizer, *rate, first, stop).map_err(&failed)?;
            let samples: Vec<usize> = (0..task.samples().min(1000)).collect();
            let sharp = sharpness_at(&mut *task, &fitted.end, &samples).map_err(&failed)?;
            Ok((first_layer_rank(&fitted.entries, &fitted.start, &fitted.end), sharp, fitted))
        })?;
        let (mut seconds, part) = (vec![], format!("{}, best", self.part));
        for ((name, _, rate), (rank, sharp, fitted)) in chosen.iter().zip(again) {
            let head = vec![part.as_str().into(), name.as_str().into(), (*rate).into(), first.into()];
            let middle =
                vec![fitted.error.into(), fitted.found.accuracy.into(), nfe(fitted.found.nfe).into()];
            table.push([head, middle, vec![sharp.into(), rank.into()]].concat());
            seconds.push(format!("{name} {:.2}", fitted.seconds));
        }
        Ok(format!("{}, seconds of all steps at the best rate: {}", self.part, seconds.join(", ")))
    }
}
