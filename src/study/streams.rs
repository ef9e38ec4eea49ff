//! Streams for memories, and the errors of memories on them.

use super::StudyError;
use super::data::SplitMix64;
use super::stats::mean;
use crate::memory::{Continuum, ContinuumOptions, DeltaMemory, Rule};

/// Inputs and outputs of pairs to be recalled.
const KEYS: usize = 32;
/// Inputs and outputs of the stream.
pub const STREAM: (usize, usize) = (16, 4);
const WINDOW: usize = 8;

/// Relative squared error of n stored pairs of unit keys and values, recalled after all of them were seen once.
pub fn recall(rule: Rule, n: u64, seed: u64) -> Result<f64, StudyError> {
    let failed = StudyError::of("nested");
    let mut r = SplitMix64::of(seed, 40 + n);
    let rate = if rule == Rule::Hebbian { 1.0 } else { f64::INFINITY };
    let mut memory = DeltaMemory::new(KEYS, KEYS, rate).and_then(|m| m.with_rule(rule)).map_err(&failed)?;
    let mut pairs = vec![];
    for _ in 0..n {
        let (mut key, value) = (r.normals(KEYS), r.normals(KEYS));
        let length = key.iter().map(|k| k * k).sum::<f64>().sqrt();
        key.iter_mut().for_each(|k| *k /= length);
        memory.observe(&key, &value).map_err(&failed)?;
        pairs.push((key, value));
    }
    let (mut error, mut size, mut y) = (0.0, 0.0, vec![0.0; KEYS]);
    for (key, value) in &pairs {
        memory.predict(key, &mut y).map_err(&failed)?;
        error += y.iter().zip(value).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        size += value.iter().map(|v| v * v).sum::<f64>();
    }
    Ok(error / size)
}

/// Relative squared error over the last three quarters of a stream: AR(1) inputs (rho 0.95, deviation 1, three times as much in every other 200 steps), y = W x + 0.01 noise, W a random walk.
pub fn stream(rule: Rule, rate: f64, steps: u64, seed: u64) -> Result<f64, StudyError> {
    let failed = StudyError::of("nested");
    let (inputs, outputs) = STREAM;
    let mut r = SplitMix64::of(seed, 50);
    let mut memory =
        DeltaMemory::<f64>::new(inputs, outputs, rate).and_then(|m| m.with_rule(rule)).map_err(&failed)?;
    let (mut w, mut state) = (r.normals(inputs * outputs), r.normals(inputs));
    let (mut error, mut size) = (0.0, 0.0);
    for k in 0..steps {
        let (drift, noise, more) = (r.normals(w.len()), r.normals(outputs), r.normals(inputs));
        w.iter_mut().zip(drift).for_each(|(w, d)| *w += 1e-3 * d);
        state.iter_mut().zip(more).for_each(|(s, e)| *s = 0.95 * *s + (1.0 - 0.95f64.powi(2)).sqrt() * e);
        let scale = if k / 200 % 2 == 1 { 3.0 } else { 1.0 };
        let x: Vec<f64> = state.iter().map(|s| scale * s).collect();
        let of = |i: usize| (0..inputs).map(|j| w[j * outputs + i] * x[j]).sum::<f64>();
        let y: Vec<f64> = (0..outputs).map(|i| of(i) + 0.01 * noise[i]).collect();
        let found = memory.observe(&x, &y).map_err(&failed)?;
        if !found.is_finite() {
            return Ok(f64::INFINITY);
        }
        if k >= steps / 4 {
            error += found;
            size += y.iter().map(|y| y * y).sum::<f64>();
        }
    }
    Ok(error / size)
}

/// Mean squared error in the first 200 steps after each return to a regime that was there before: a sine of unit size whose frequency changes between two values, predicted from its last
/// eight values.
pub fn regimes(every: &[u64; 3], rate: f64, length: u64, seed: u64) -> Result<f64, StudyError> {
    let failed = StudyError::of("nested");
    let options = ContinuumOptions { rate, seed, ..ContinuumOptions::new(&[WINDOW, 32, 32, 1], every) };
    let mut memory = Continuum::<f64>::new(&options).map_err(&failed)?;
    let mut r = SplitMix64::of(seed, 60);
    let speeds = [0.2 + 0.2 * r.uniform(), 0.8 + 0.4 * r.uniform()];
    let (mut phase, mut window, mut errors) = (r.uniform(), [0.0; WINDOW], vec![]);
    for k in 0..6 * length {
        phase += speeds[(k / length % 2) as usize];
        let value = f64::sin(phase) + 0.05 * r.normals(1)[0];
        let error = memory.observe(&window, &[value]).map_err(&failed)?;
        window.rotate_left(1);
        window[WINDOW - 1] = value;
        if k >= 2 * length && k % length < 200 {
            errors.push(error);
        }
    }
    Ok(mean(&errors).filter(|e| e.is_finite()).unwrap_or(f64::INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hebb's error is that of the other keys, (n - 1) / d; the printed rule ends at half of the target.
    #[test]
    fn parts_measure_what_they_say() {
        let hebb = (0..10).map(|s| recall(Rule::Hebbian, 16, s).unwrap()).sum::<f64>() / 10.0;
        assert!((hebb - 15.0 / 32.0).abs() < 0.05, "{hebb}");
        let printed = stream(Rule::Surprise, 0.1, 1600, 0).unwrap();
        assert!((printed - 0.25).abs() < 0.01, "{printed}");
        assert_eq!(stream(Rule::Gradient, 1.0, 1600, 0).unwrap(), f64::INFINITY);
    }
}
