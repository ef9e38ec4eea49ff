//! Checkpoints: parameters, optimizer and counters in one safetensors file, replaced atomically.
//!
//! Everything random depends on the seed and the step only ([`super::data::generator`]), so these are the whole state: a run that goes on from a
//! checkpoint computes the same bits as one that was never interrupted.

use std::collections::HashMap;
use std::path::Path;

use super::error::TrainError;
use super::trainer::State;
use crate::linalg::Scalar;
use crate::nn::{Array, ArrayFile, Params, ParamsError, write_arrays, write_atomically};

/// Prefix of the optimizer's arrays.
const OPTIMIZER: &str = "optimizer.";
/// The average of the parameters.
const AVERAGE: &str = "average.weights";

/// Writes a checkpoint. `fingerprint` identifies the configuration: only a run with the same one may go on.
pub fn write<T: Scalar>(path: &Path, state: &mut State<T>, fingerprint: &str) -> Result<(), TrainError> {
    let text = |k: &str, v: String| (k.to_string(), v);
    let mut metadata = HashMap::from([
        text("format", "costate checkpoint 1".into()),
        text("config", fingerprint.into()),
        text("step", state.step.to_string()),
        text("optimizer_steps", state.optimizer.count().to_string()),
        // Bits, so that nothing is lost in decimal.
        text("best_bits", state.best.map_or("none".into(), |b| b.to_bits().to_string())),
        text("since_best", state.since_best.to_string()),
    ]);
    metadata.extend(state.params.metadata());
    let mut arrays: Vec<Array<'_, T>> = state
        .params
        .entries()
        .iter()
        .map(|e| Array {
            name: e.name.clone(),
            shape: e.shape.clone(),
            values: &state.params.values()[e.range.clone()],
        })
        .collect();
    for (name, values) in state.optimizer.state() {
        arrays.push(Array { name: format!("{OPTIMIZER}{name}"), shape: vec![values.len()], values });
    }
    if let Some(values) = &state.average {
        arrays.push(Array { name: AVERAGE.into(), shape: vec![values.len()], values });
    }
    Ok(write_arrays(path, &arrays, metadata)?)
}

/// The fingerprint of the configuration that a checkpoint was written with.
pub fn config(path: &Path) -> Result<String, TrainError> {
    let file = ArrayFile::read(path)?;
    let found = file.metadata()?.remove("config");
    Ok(found.ok_or_else(|| file.mismatch("it has no entry \"config\": not a checkpoint".into()))?)
}

/// Reads a checkpoint into a fresh state of the same model and optimizer.
pub fn read<T: Scalar>(path: &Path, state: &mut State<T>, fingerprint: &str) -> Result<(), TrainError> {
    let file = ArrayFile::read(path)?;
    let metadata = file.metadata()?;
    let get = |key: &str| -> Result<&String, ParamsError> {
        metadata.get(key).ok_or_else(|| file.mismatch(format!("it has no entry {key:?}: not a checkpoint")))
    };
    let number = |key: &str| -> Result<u64, ParamsError> {
        get(key)?.parse().map_err(|_| file.mismatch(format!("its entry {key:?} is not a number")))
    };
    get("format")?;
    if get("config")? != fingerprint {
        let what = "it was written with another configuration; go on with that one, or begin in a new folder";
        return Err(file.mismatch(what.into()).into());
    }
    // All or nothing: everything is read before anything is changed.
    let mut params = state.params.clone();
    params.load(path, &[OPTIMIZER, AVERAGE])?;
    let mut average = None;
    if file.names()?.iter().any(|name| name == AVERAGE) {
        let mut values = params.values().to_vec();
        file.copy(AVERAGE, &[values.len()], &mut values)?;
        average = Some(values);
    }
    let mut vectors = vec![];
    for (name, values) in state.optimizer.state() {
        let mut copy = values.clone();
        file.copy(&format!("{OPTIMIZER}{name}"), &[copy.len()], &mut copy)?;
        vectors.push(copy);
    }
    let (step, count, since_best) = (number("step")?, number("optimizer_steps")?, number("since_best")?);
    let best = if get("best_bits")? == "none" { None } else { Some(f64::from_bits(number("best_bits")?)) };
    (state.params, state.step, state.best, state.since_best) = (params, step, best, since_best);
    state.average = average;
    state.optimizer.state().into_iter().zip(vectors).for_each(|((_, v), copy)| *v = copy);
    *state.optimizer.count() = count;
    Ok(())
}

/// The weights of a parameter file or of a checkpoint, where the average counts if there is one.
pub fn read_weights<T: Scalar>(path: &Path, params: &mut Params<T>) -> Result<(), TrainError> {
    params.load(path, &[OPTIMIZER, AVERAGE])?;
    read_average(path, params)
}

/// As [`read_weights`], whatever the notes of the file: values to start from.
pub fn read_values<T: Scalar>(path: &Path, params: &mut Params<T>) -> Result<(), TrainError> {
    params.load_values(path, &[OPTIMIZER, AVERAGE])?;
    read_average(path, params)
}

fn read_average<T: Scalar>(path: &Path, params: &mut Params<T>) -> Result<(), TrainError> {
    let file = ArrayFile::read(path)?;
    if file.names()?.iter().any(|name| name == AVERAGE) {
        file.copy(AVERAGE, &[params.values().len()], params.values_mut())?;
    }
    Ok(())
}

/// Writes a file that is there completely or not at all, whenever the process or the machine stops.
pub fn write_file(path: &Path, data: &[u8]) -> Result<(), TrainError> {
    write_atomically(path, data).map_err(|source| TrainError::Io { path: path.display().to_string(), source })
}

/// A hash of a text (FNV-1a, 64 bits), to recognize a configuration.
pub fn fingerprint(text: &str) -> String {
    let hash =
        text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ b as u64).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
