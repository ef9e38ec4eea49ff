//! Sequences of tasks on digits, one network trained on them one after another.
//!
//! With a_ij the accuracy on task i after task j was trained, n tasks: current = mean of a_ii, at the end = mean of a_in, forgetting = mean over i < n of a_ii - a_in.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::data::SplitMix64;
use super::fits::{Digits, Fit, Problem, first_layer_rank};
use super::stats::mean;
use crate::diagnose::effective_rank;
use crate::diff::{At, Map};
use crate::nn::{Activation, Mlp};
use crate::train::config::TrainConfig;
use crate::train::{OptimizerConfig, Schedule, Split, State, Task, TrainError, TrainStop, train};

/// Tasks of as many rows each.
pub struct Sequence {
    tasks: Vec<Problem<f32>>,
    /// Images of the last task that features are looked at on.
    shown: Vec<f32>,
}

const BATCH: usize = 64;
const PIXELS: usize = 196;

/// What became of a run; all zero accuracies if it failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub current: f64,
    pub at_end: f64,
    pub forgetting: f64,
    /// Effective rank of what was added to the first layer, and of its outputs.
    pub weight_rank: Option<f64>,
    pub feature_rank: Option<f64>,
}

impl Sequence {
    fn new(sets: Vec<(Digits, usize)>) -> Result<Self, TrainError> {
        let shown = sets.last().map_or(vec![], |(d, train)| {
            d.x[train * PIXELS..].iter().take(512 * PIXELS).map(|v| *v as f32).collect()
        });
        let tasks =
            sets.iter().map(|(digits, train)| Problem::digits(digits, *train)).collect::<Result<_, _>>()?;
        Ok(Self { tasks, shown })
    }
    /// The first `train` digits to be trained on, the others for validation, under five permutations of the pixels.
    pub fn permuted(digits: &Digits, train: usize, seed: u64) -> Result<Self, TrainError> {
        let mut r = SplitMix64::of(seed, 70);
        let set = |_| {
            let mut order: Vec<usize> = (0..PIXELS).collect();
            (1..PIXELS).rev().for_each(|i| order.swap(i, (r.uniform() * (i + 1) as f64) as usize));
            let moved = |x: &[f64]| order.iter().map(|i| x[*i]).collect::<Vec<_>>();
            let x = digits.x.chunks_exact(PIXELS).flat_map(moved).collect();
            (Digits { x, labels: digits.labels.clone(), note: String::new() }, train)
        };
        Self::new((0..5).map(set).collect())
    }
    /// The same digits by pairs of classes, in a random order of the classes: as many whole batches of each pair as the rarest one has.
    pub fn pairs(digits: &Digits, train: usize, seed: u64) -> Result<Self, TrainError> {
        let mut r = SplitMix64::of(seed, 71);
        let mut order: Vec<u8> = (0..10).collect();
        (1..10).rev().for_each(|i| order.swap(i, (r.uniform() * (i + 1) as f64) as usize));
        let of = |pair: &[u8], range: std::ops::Range<usize>| -> Vec<usize> {
            range.filter(|i| pair.contains(&digits.labels[*i])).collect()
        };
        let rows: Vec<[Vec<usize>; 2]> =
            order.chunks(2).map(|p| [of(p, 0..train), of(p, train..digits.labels.len())]).collect();
        let least = rows.iter().map(|r| r[0].len()).min().unwrap_or(0) / BATCH * BATCH;
        let set = |[own, tests]: &[Vec<usize>; 2]| {
            let all = || own[..least].iter().chain(tests);
            let x = all().flat_map(|i| digits.x[i * PIXELS..][..PIXELS].iter().copied()).collect();
            let labels = all().map(|i| digits.labels[*i]).collect();
            (Digits { x, labels, note: String::new() }, least)
        };
        Self::new(rows.iter().map(set).collect())
    }
    /// One pass over each task.
    pub fn run(
        &self,
        optimizer: &OptimizerConfig,
        rate: f64,
        seed: u64,
        stop: &AtomicBool,
    ) -> Result<Outcome, TrainError> {
        let mut tasks = self.tasks.iter().map(Problem::task).collect::<Result<Vec<Fit<f32>>, _>>()?;
        let mut state = State::new(&tasks[0], optimizer, seed);
        let (start, n) = (state.params.values().to_vec(), tasks.len());
        let mut fresh = vec![];
        for (i, task) in tasks.iter_mut().enumerate() {
            // The steps go on: epoch i is that of task i.
            let config = TrainConfig {
                batch: BATCH,
                seed,
                validate_every: u64::MAX,
                checkpoint_every: u64::MAX,
                ..TrainConfig::new(i as u64 + 1, Schedule::constant(rate))
            };
            let ended = train(task, &config, &mut state, &mut |_, _| {
                let stopped = stop.load(Ordering::Relaxed);
                Ok(if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })?;
            if matches!(ended, TrainStop::Failed { .. }) {
                return Ok(Outcome::default());
            }
            fresh.push(accuracy(task, state.params.values())?);
        }
        let p = state.params.values();
        let end = tasks.iter_mut().map(|t| accuracy(t, p)).collect::<Result<Vec<f64>, _>>()?;
        let lost: Vec<f64> = (0..n - 1).map(|i| fresh[i] - end[i]).collect();
        Ok(Outcome {
            current: mean(&fresh).unwrap_or(0.0),
            at_end: mean(&end).unwrap_or(0.0),
            forgetting: mean(&lost).unwrap_or(0.0),
            weight_rank: first_layer_rank(state.params.entries(), &start, p),
            feature_rank: self.features(p),
        })
    }
    fn features(&self, p: &[f32]) -> Option<f64> {
        let sizes = &self.tasks[0].sizes[..2];
        let mut layer = Mlp::<f32>::dense(sizes, Activation::Relu, Activation::Relu, false).ok()?;
        let mut y = vec![0.0; self.shown.len() / PIXELS * sizes[1]];
        layer.value(At::new(0.0, &self.shown, &p[..(PIXELS + 1) * sizes[1]]), &mut y);
        effective_rank(&y.iter().map(|v| *v as f64).collect::<Vec<_>>(), sizes[1]).ok()
    }
}

fn accuracy(task: &mut Fit<f32>, p: &[f32]) -> Result<f64, TrainError> {
    Ok(task.evaluate(p, Split::Validation)?.accuracy.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::optim;

    fn digits(n: usize) -> Digits {
        let x = (0..n * PIXELS).map(|i| ((i / PIXELS % 10 * 7 + i % PIXELS) % 13) as f64 / 13.0).collect();
        Digits { x, labels: (0..n).map(|i| (i % 10) as u8).collect(), note: String::new() }
    }

    #[test]
    fn tasks_have_their_rows() {
        let all = digits(900);
        let permuted = Sequence::permuted(&all, 700, 0).unwrap();
        let sizes = |s: &Sequence| -> Vec<(usize, usize)> {
            let task = |p: &Problem<f32>| p.task().unwrap();
            s.tasks.iter().map(|p| (task(p).samples(), task(p).split_len(Split::Validation))).collect()
        };
        assert_eq!(sizes(&permuted), [(700, 200); 5]);
        // 140 rows a pair: two whole batches.
        assert_eq!(sizes(&Sequence::pairs(&all, 700, 0).unwrap()), [(128, 40); 5]);
    }

    #[test]
    fn a_network_without_a_rate_to_speak_of_forgets_nothing() {
        let sequence = Sequence::permuted(&digits(900), 640, 0).unwrap();
        let sgd = optim::SgdConfig::default().into();
        let stop = AtomicBool::new(false);
        let still = sequence.run(&sgd, 1e-12, 0, &stop).unwrap();
        assert!(still.forgetting.abs() < 1e-9 && still.current < 0.4, "{still:?}");
        let trained = sequence.run(&sgd, 0.1, 0, &stop).unwrap();
        assert!(trained.current > 0.6 && trained.weight_rank.unwrap() > 1.0, "{trained:?}");
        assert!(trained.feature_rank.unwrap() > 1.0);
        assert_eq!(sequence.run(&sgd, 1e30, 0, &stop).unwrap(), Outcome::default());
    }
}
