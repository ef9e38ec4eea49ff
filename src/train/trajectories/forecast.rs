//! Predictions of series, from a file of weights alone.

use std::collections::HashMap;
use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::data::Columns;
use super::{Field, Scales, SeriesConfig, read};
use crate::data::Table;
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::nn::{Params, WithoutTaylor};
use crate::train::any_method::AnyIntegrator;
use crate::train::checkpoint;
use crate::train::config::{Config, Precision, SolverConfig};
use crate::train::error::TrainError;
use crate::train::pass::Problem;
use crate::train::supervised::{Predictions, Values};

/// Name of the note that goes with the weights.
pub(in crate::train) const NOTE: &str = "about.series";

/// What predictions need besides the parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recorded {
    config: SeriesConfig,
    scales: Scales,
    solver: SolverConfig,
    precision: Precision,
}

/// The note.
pub(super) fn note(run: &Config, of: &SeriesConfig, scales: &Scales) -> Result<String, TrainError> {
    let (solver, precision) = (run.solver.clone(), run.train.precision);
    let recorded = Recorded { config: of.clone(), scales: scales.clone(), solver, precision };
    let failed = |e| TrainError::config(format!("the settings of the series cannot be recorded: {e}"));
    serde_json::to_string(&recorded).map_err(failed)
}

/// A trained equation with all that it knows of its series.
pub struct Forecaster<T> {
    field: Field<T>,
    params: Params<T>,
    recorded: Recorded,
}

impl<T> std::fmt::Debug for Forecaster<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forecaster").field("recorded", &self.recorded).finish_non_exhaustive()
    }
}

fn recorded(path: &Path) -> Result<Recorded, TrainError> {
    let wrong = |what: String| TrainError::Data { path: path.display().to_string(), what };
    let notes = Params::<f64>::read_notes(path)?;
    let text = notes.get(NOTE).ok_or_else(|| {
        wrong("these weights are not of a task of kind \"series\" that can be predicted from".into())
    })?;
    serde_json::from_str(text).map_err(|e| wrong(format!("its note {NOTE:?} cannot be read: {e}")))
}

impl<T: Scalar> Forecaster<T> {
    /// Of the weights of a run.
    ///
    /// # Errors
    /// The file cannot be read, or is of another kind of task or precision.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        let recorded = recorded(path)?;
        let field = WithoutTaylor::new(recorded.config.field::<T>(&recorded.scales)?);
        let mut params = Params::new();
        params.add_spec("field", field.spec(), &mut StdRng::seed_from_u64(0));
        checkpoint::read_values(path, &mut params)?;
        Ok(Self { field, params, recorded })
    }
    /// The precision of a file's weights.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn precision(path: &Path) -> Result<Precision, TrainError> {
        Ok(recorded(path)?.precision)
    }
    /// The states at all rows of a table, in their order: solutions from the first row of each series, which must be complete; other states need not be there.
    ///
    /// # Errors
    /// A column that is not there, times that do not ascend, or a solver that gives up.
    pub fn predict(&mut self, table: &Table) -> Result<Predictions, TrainError> {
        let Recorded { config, scales, solver, .. } = self.recorded.clone();
        let columns = Columns { states: scales.states.clone(), ..config.columns() };
        let (all, _) = read(table, &columns)?;
        let (d, dim) = (scales.states.len(), self.field.inputs());
        let mut integrator = AnyIntegrator::new(solver.any_method()?, (dim, 1), &solver.options())?;
        // Of every series, states after states.
        let mut solved = Vec::with_capacity(all.len());
        for of in &all {
            let from = if config.autonomous { of.times[0] } else { 0.0 };
            let times: Vec<T> = of.times.iter().map(|t| T::of((t - from) / scales.time)).collect();
            let mut y0 = vec![T::ZERO; dim];
            for (i, (y, v)) in y0.iter_mut().zip(of.row(0, d)).enumerate() {
                *y = T::of((v - scales.mean[i]) / scales.scale[i]);
            }
            let span = (times[0], times[times.len() - 1]);
            let problem = Problem { span, y0: &y0, p: self.params.values(), times: &times[1..] };
            let (states, _) = integrator.run(&mut self.field, &problem)?;
            let unit = |u: &[T]| -> Vec<f64> {
                (0..d).map(|i| scales.mean[i] + scales.scale[i] * u[i].f64()).collect()
            };
            // The start is what was given.
            let mut rows = vec![of.row(0, d).to_vec()];
            rows.extend(states.chunks_exact(dim).map(unit));
            solved.push(rows.into_iter());
        }
        let time = table.need(&config.time, "the time")?;
        let id = config.series.as_ref().map(|s| table.need(s, "the name of a series")).transpose()?;
        let (mut times, mut names, mut states) = (vec![], vec![], vec![vec![]; d]);
        let mut places = HashMap::new();
        for row in 0..table.rows() {
            let name = id.and_then(|c| table.text(row, c)).map(|t| t.into_owned()).unwrap_or_default();
            let next = places.len();
            let place = *places.entry(name.clone()).or_insert(next);
            let Some(values) = solved.get_mut(place).and_then(|s| s.next()) else { continue };
            times.push(table.number(row, time)?.unwrap_or(f64::NAN));
            names.push(name);
            states.iter_mut().zip(values).for_each(|(to, v)| to.push(v));
        }
        let mut found = vec![];
        if let Some(series) = config.series {
            found.push((series, Values::Texts(names)));
        }
        found.push((config.time, Values::Numbers(times)));
        found.extend(scales.states.into_iter().zip(states.into_iter().map(Values::Numbers)));
        Ok(Predictions { columns: found })
    }
}
