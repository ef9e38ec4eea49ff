//! A user's training configuration with several optimizers: what each makes of it.

use super::fits::{Plan, best, each, first_layer_rank, fit, grid, grids, sharpness_at};
use super::{Cell, Measured, Run, StudyError, Table};
use crate::train::config::Precision;
use crate::train::{Config, OptimizerConfig};
use std::path::Path;

/// Every method at every rate of its grid for every seed; the best of each once more for sharpness and rank. Schedules give way to constant rates, precision is double.
pub fn compare(
    run: &mut Run<'_>,
    (config, base): &(Config, std::path::PathBuf),
    methods: &[(String, OptimizerConfig)],
    seeds: std::ops::Range<u64>,
) -> Result<Measured, StudyError> {
    let failed = StudyError::of("solutions");
    let columns = ["part", "method", "rate", "seed", "error", "accuracy", "NFE", "sharpness", "weight rank"];
    let (mut table, length) = (Table::new(&columns), (config.train.batch, config.train.epochs));
    let make = |optimizer: &OptimizerConfig| {
        let mut own = Config { optimizer: optimizer.clone(), ..config.clone() };
        own.train.precision = Precision::F64;
        own.check()?;
        own.build::<f64>(Path::new(base))
    };
    run.say(&format!("{} epochs of your task with {} optimizers", length.1, methods.len()))?;
    let done = grid(run, methods, seeds.clone(), |optimizer, rate, seed, stop| {
        let mut task = make(optimizer).map_err(&failed)?;
        let fitted = fit(&mut *task, &Plan::new(optimizer, rate, length, seed), stop).map_err(&failed)?;
        Ok((fitted.error, fitted.found))
    })?;
    for ((m, rate, seed), (error, found)) in done {
        let head = vec!["yours".into(), methods[m].0.as_str().into(), rate.into(), seed.into()];
        let tail = vec![error.into(), found.accuracy.into(), found.nfe.into(), Cell::Missing, Cell::Missing];
        table.push([head, tail].concat());
    }
    let chosen: Vec<_> = methods
        .iter()
        .filter_map(|(name, o)| Some((name, o, best(&table.only("method", name.as_str()), "error")?.0)))
        .collect();
    let again = each(run, &chosen, |(_, optimizer, rate), stop| {
        let mut task = make(optimizer).map_err(&failed)?;
        let plan = Plan::new(optimizer, *rate, length, seeds.start);
        let fitted = fit(&mut *task, &plan, stop).map_err(&failed)?;
        let samples: Vec<usize> = (0..task.samples().min(1000)).collect();
        let sharp = sharpness_at(&mut *task, &fitted.end, &samples).map_err(&failed)?;
        Ok((first_layer_rank(&fitted.entries, &fitted.start, &fitted.end), sharp, fitted))
    })?;
    for ((name, _, rate), (rank, sharp, fitted)) in chosen.iter().zip(again) {
        let head = vec!["yours, best".into(), name.as_str().into(), (*rate).into(), seeds.start.into()];
        let found = &fitted.found;
        let tail =
            vec![fitted.error.into(), found.accuracy.into(), found.nfe.into(), sharp.into(), rank.into()];
        table.push([head, tail].concat());
    }
    let notes = vec![
        grids(methods, run.options.quick),
        "error: validation loss, or test loss without validation data; constant rates, double precision; the claim is about the study's own tasks".into(),
    ];
    Ok(Measured { table, notes, ..Measured::default() })
}
