//! A learning rate by one short run in which it grows (L. N. Smith, arXiv 1506.01186).
//!
//! The rate goes from `from` to `to` by equal factors, one step each. The loss, smoothed by an average with decay 0.9 (its bias removed), first stands, then falls, and grows
//! in the end; the search is over when it exceeds four times its least value or is not finite. Suggested is the rate at which the smoothed loss falls fastest by the logarithm of the rate.

use super::config::TrainConfig;
use super::data::{Stream, generator, shuffled};
use super::error::TrainError;
use super::schedule::Progress;
use super::slope::{Batch, Slope};
use super::task::Task;
use super::trainer::State;
use crate::linalg::Scalar;

/// Which rates are tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSearch {
    /// The first; default 1e-6.
    pub from: f64,
    /// The last; default 10.
    pub to: f64,
    /// How many; default 120.
    pub steps: usize,
}

impl Default for RateSearch {
    fn default() -> Self {
        Self { from: 1e-6, to: 10.0, steps: 120 }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RateCurve {
    /// The rates that were tried.
    pub rates: Vec<f64>,
    /// The loss before the step with each.
    pub losses: Vec<f64>,
    /// The same, smoothed.
    pub smoothed: Vec<f64>,
    /// Where the smoothed loss fell fastest; none if it never fell.
    pub suggestion: Option<f64>,
}

/// Decay of the average.
const SMOOTH: f64 = 0.9;
/// Times the least smoothed loss: over.
const GIVE_UP: f64 = 4.0;
/// Rates over which a slope is taken, to each side.
const REACH: usize = 3;

/// Trains from `state` with growing rates; the state is not to be used afterwards. Batches, clipping and seed are those of the configuration.
///
/// # Errors
/// Those of the task. A solver that gives up ends the search like a loss that is not finite.
pub fn find_rate<T: Scalar, K: Task<T> + ?Sized>(
    task: &mut K,
    config: &TrainConfig,
    state: &mut State<T>,
    search: &RateSearch,
) -> Result<RateCurve, TrainError> {
    let &RateSearch { from, to, steps } = search;
    if !(from > 0.0 && to > from && to.is_finite() && steps > 2 * REACH) {
        let what = format!(
            "rates from {from} to {to} in {steps} steps: they must be positive, grow, and be more than {}",
            2 * REACH
        );
        return Err(TrainError::config(what));
    }
    let n = task.samples();
    let size = config.batch.min(n).max(1);
    let per_epoch = n.div_ceil(size);
    let mut slope = Slope::new(state.params.values().len());
    let mut curve = RateCurve::default();
    let (mut average, mut best, mut order) = (0.0, f64::INFINITY, vec![]);
    for i in 0..steps {
        let (epoch, at) = (i / per_epoch, i % per_epoch);
        if at == 0 {
            order = shuffled(n, config.seed, epoch as u64);
        }
        let samples = &order[at * size..((at + 1) * size).min(n)];
        let now = Progress { step: i as u64, epoch: epoch as u64, epochs: config.epochs };
        let rate = from * (to / from).powf(i as f64 / (steps - 1) as f64);
        let mut rng = generator(config.seed, Stream::Pass, i as u64);
        let batch = Batch { samples, now, rate };
        let optimizer = &mut *state.optimizer;
        let found = match slope.at(task, optimizer, config, state.params.values(), &batch, &mut rng) {
            Err(TrainError::Solver { .. }) => break,
            other => other?,
        };
        let loss = found.pass.loss;
        if !loss.is_finite() || !found.norm.is_finite() {
            break;
        }
        average = SMOOTH * average + (1.0 - SMOOTH) * loss;
        let smoothed = average / (1.0 - SMOOTH.powi(i as i32 + 1));
        curve.rates.push(rate);
        curve.losses.push(loss);
        curve.smoothed.push(smoothed);
        best = smoothed.min(best);
        // A negative loss (a likelihood) has no multiple to exceed.
        if best > 0.0 && smoothed > GIVE_UP * best {
            break;
        }
        state.optimizer.step(rate, state.params.values_mut(), &slope.direction);
        if state.params.values().iter().any(|v| !v.is_finite()) {
            break;
        }
    }
    curve.suggestion = steepest(&curve.rates, &curve.smoothed);
    Ok(curve)
}

/// The rate where the loss falls fastest over equal factors of it; none if it falls nowhere.
fn steepest(rates: &[f64], losses: &[f64]) -> Option<f64> {
    let fall = |i: usize| losses[i + REACH] - losses[i - REACH];
    let inner = REACH..losses.len().saturating_sub(REACH);
    let best = inner.min_by(|i, j| fall(*i).total_cmp(&fall(*j)))?;
    (fall(best) < 0.0).then_some(rates[best])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steepest_place_of_a_made_curve() {
        let rates: Vec<f64> = (0..60).map(|i| 10f64.powf(-6.0 + 0.1 * i as f64)).collect();
        // Falls around 1e-3, grows from 1e-1 on.
        let of = |r: &f64| 1.0 / (1.0 + (r / 1e-3).powi(2)) + (r / 0.3).powi(2);
        let losses: Vec<f64> = rates.iter().map(of).collect();
        let found = steepest(&rates, &losses).unwrap();
        assert!((found.log10() + 3.0).abs() < 0.11, "{found}");
        assert_eq!(steepest(&rates, &rates), None);
        assert_eq!(steepest(&rates[..4], &losses[..4]), None);
    }
}
