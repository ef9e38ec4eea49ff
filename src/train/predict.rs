//! Predictions by a file of weights, whatever kind of task it is of.

use std::path::Path;

use super::config::Precision;
use super::error::TrainError;
use super::supervised::{Predictions, Predictor};
use super::trajectories::Forecaster;
use crate::data::Table;
use crate::linalg::Scalar;
use crate::nn::Params;

/// Predictions for the table `input` by the weights of a run: of a task of kind "supervised" for its rows ([`Predictor`]), of kind "series" at its times ([`Forecaster`]).
///
/// # Errors
/// A file cannot be read, the weights are of another kind of task, or the table does not fit.
pub fn predict(weights: &Path, input: &Path) -> Result<Predictions, TrainError> {
    let notes = Params::<f64>::read_notes(weights)?;
    if notes.contains_key(super::supervised::NOTE) {
        return match Predictor::<f64>::precision(weights)? {
            Precision::F32 => rows::<f32>(weights, input),
            Precision::F64 => rows::<f64>(weights, input),
        };
    }
    if notes.contains_key(super::trajectories::NOTE) {
        return match Forecaster::<f64>::precision(weights)? {
            Precision::F32 => series::<f32>(weights, input),
            Precision::F64 => series::<f64>(weights, input),
        };
    }
    let what = "these weights are of no task of kind \"supervised\" or \"series\": no table can be predicted";
    Err(TrainError::Data { path: weights.display().to_string(), what: what.into() })
}

fn rows<T: Scalar>(weights: &Path, input: &Path) -> Result<Predictions, TrainError> {
    let mut predictor = Predictor::<T>::open(weights)?;
    let table = Table::open(input, predictor.encoder().columns().len())?;
    predictor.predict(&table)
}

fn series<T: Scalar>(weights: &Path, input: &Path) -> Result<Predictions, TrainError> {
    Forecaster::<T>::open(weights)?.predict(&Table::open(input, 0)?)
}
