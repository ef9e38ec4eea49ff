//! Lessons for digits: samples, rates and momenta of 16 steps that train a fresh network, learned through these steps or real.

use rand::RngExt;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::StudyError;
use super::digits::{CLASSES, Digits, INPUTS};
use crate::adjoint::Memory;
use crate::bilevel::{CrossEntropy, InnerSteps, Taught, Unrolled};
use crate::diff::{At, BarsMut, Init, Kept, Map};
use crate::nn::{Activation, Mlp, Params, softmax_cross_entropy};
use crate::random::{Purpose, generator};
use crate::train::config::{Precision, TrainConfig};
use crate::train::optim::AdamConfig;
use crate::train::supervised::{Layers, LossKind, Memory as Rows, StandardLoss};
use crate::train::{OptimizerConfig, Progress, Schedule, State, Supervised, train};

const NAME: &str = "teach";
pub const STEPS: usize = 16;
pub const BATCH: usize = 20;
const OUTER_BATCH: usize = 256;
/// Fresh learners that a test averages over.
pub const TESTS: u64 = 5;
/// Rates and momenta of training on real samples.
const PAIRS: [(f64, f64); 6] = [(0.03, 0.0), (0.1, 0.0), (0.3, 0.0), (0.03, 0.5), (0.1, 0.5), (0.3, 0.5)];

fn start(net: &Mlp<f64>, seed: u64, index: u64) -> Params<f64> {
    let mut params = Params::new();
    params.add_spec("net", net.spec(), &mut generator(seed, Purpose::Weights as u64, index));
    params
}
pub fn net(width: usize, activation: Activation) -> Result<Mlp<f64>, StudyError> {
    Mlp::dense(&[INPUTS, width, CLASSES], activation, Activation::Identity, false).map_err(failed)
}
pub fn failed(e: impl std::fmt::Display) -> StudyError {
    StudyError::of(NAME)(e)
}
/// Samples, rates and momenta of all steps.
#[derive(Clone)]
pub struct Lesson {
    pub samples: Vec<f64>,
    pub rates: Vec<f64>,
    pub momenta: Vec<f64>,
}

/// A learner and its unrolled training.
pub struct Tools {
    net: Mlp<f64>,
    inner: Taught<Mlp<f64>, CrossEntropy>,
    unrolled: Unrolled,
}

impl Tools {
    pub fn new(school: &School<'_>, net: Mlp<f64>) -> Result<Self, StudyError> {
        Ok(Self { inner: school.inner(net.clone())?, unrolled: Unrolled::new(Memory::States), net })
    }
}

/// Digits: the first `train` to train on, the others to test.
pub struct School<'a> {
    pub digits: &'a Digits,
    pub train: usize,
}

impl School<'_> {
    fn inner(&self, net: Mlp<f64>) -> Result<Taught<Mlp<f64>, CrossEntropy>, StudyError> {
        let labels = (0..BATCH).map(|i| i % CLASSES).collect();
        Taught::new(net, CrossEntropy { labels }, BATCH, STEPS).map_err(failed)
    }
    /// Real samples in the same order of labels.
    pub fn real(&self, seed: u64, (rate, momentum): (f64, f64)) -> Lesson {
        let mut rng = generator(seed, Purpose::Design as u64, 3);
        let of_class = |c: usize| (0..self.train).filter(|i| self.digits.label(*i) == c).collect();
        let classes: Vec<Vec<usize>> = (0..CLASSES).map(of_class).collect();
        let pick = |k: usize| {
            let class = &classes[k % BATCH % CLASSES];
            class[rng.random_range(0..class.len())]
        };
        let which: Vec<usize> = (0..STEPS * BATCH).map(pick).collect();
        let samples = self.digits.rows(which.into_iter());
        Lesson { samples, rates: vec![rate; STEPS], momenta: vec![momentum; STEPS] }
    }
    /// Share of right answers on the test digits.
    fn accuracy(&self, net: &mut Mlp<f64>, p: &[f64]) -> f64 {
        let (from, to) = (self.train, self.digits.labels.len());
        let labels: Vec<usize> = (from..to).map(|i| self.digits.label(i)).collect();
        let mut z = vec![0.0; CLASSES * (to - from)];
        net.value(At::new(0.0, &self.digits.x[from * INPUTS..to * INPUTS], p), &mut z);
        let (_, right) = softmax_cross_entropy(&z, &labels, 1.0, None);
        right as f64 / (to - from) as f64
    }
    /// Accuracy after a lesson, mean over fresh learners.
    pub fn after(&self, net: &Mlp<f64>, lesson: &Lesson, seed: u64) -> Result<f64, StudyError> {
        let mut inner = self.inner(net.clone())?;
        let mut unrolled = Unrolled::new(Memory::Every(STEPS));
        let mut sum = 0.0;
        for k in 0..TESTS {
            let p = start(net, seed, 1 << 32 | k);
            let steps = InnerSteps { rates: &lesson.rates, momenta: &lesson.momenta };
            let end = unrolled.forward(&mut inner, p.values(), &lesson.samples, steps).map_err(failed)?;
            sum += self.accuracy(&mut net.clone(), end) / TESTS as f64;
        }
        Ok(sum)
    }
    /// The best accuracy on real samples, by pairs of rate and momentum.
    pub fn best_real(&self, net: &Mlp<f64>, seed: u64) -> Result<f64, StudyError> {
        let all = PAIRS.iter().map(|pair| self.after(net, &self.real(seed, *pair), seed));
        all.collect::<Result<Vec<_>, _>>().map(|a| a.into_iter().fold(f64::NEG_INFINITY, f64::max))
    }
    /// Loss of the learner of step `step` on real samples after the lesson in `learned`, and its gradient.
    pub fn outer(
        &self,
        tools: &mut Tools,
        learned: &[f64],
        seed: u64,
        step: u64,
    ) -> Result<(f64, Vec<f64>), StudyError> {
        let Tools { net, inner, unrolled } = tools;
        let lesson = read(learned);
        let p = start(net, seed, step);
        let steps = InnerSteps { rates: &lesson.rates, momenta: &lesson.momenta };
        let end = unrolled.forward(inner, p.values(), &lesson.samples, steps).map_err(failed)?.to_vec();
        let mut rng = generator(seed, Purpose::Candidates as u64, step);
        let which: Vec<usize> = (0..OUTER_BATCH).map(|_| rng.random_range(0..self.train)).collect();
        let x = self.digits.rows(which.iter().copied());
        let labels: Vec<usize> = which.iter().map(|i| self.digits.label(*i)).collect();
        let (mut z, mut keep) = (vec![0.0; CLASSES * OUTER_BATCH], vec![0.0; net.keep_len(OUTER_BATCH)]);
        let (mut z_bar, mut unused) = (vec![0.0; z.len()], vec![0.0; x.len()]);
        net.forward(At::new(0.0, &x, &end), &mut z, &mut keep);
        let (loss, _) = softmax_cross_entropy(&z, &labels, 1.0 / OUTER_BATCH as f64, Some(&mut z_bar));
        let mut bars = vec![0.0; end.len()];
        let of = Kept { y: &z, keep: &keep };
        net.vjp(At::new(0.0, &x, &end), of, &z_bar, BarsMut::new(&mut unused, &mut bars));
        let d = unrolled.reverse(inner, &bars).map_err(failed)?;
        let mut g = d.theta;
        // e^r and 1 / (1 + e^-m).
        g.extend(d.rates.iter().zip(&lesson.rates).map(|(d, r)| d * r));
        g.extend(d.momenta.iter().zip(&lesson.momenta).map(|(d, m)| d * m * (1.0 - m)));
        Ok((loss, g))
    }
    /// Learns a lesson in `outer` steps.
    pub fn teach(&self, outer: u64, seed: u64, stop: &AtomicBool) -> Result<Lesson, StudyError> {
        let mut tools = Tools::new(self, net(64, Activation::Tanh)?)?;
        let mut rng = generator(seed, Purpose::Design as u64, 4);
        let mut learned = Params::<f64>::new();
        learned.add("samples", &[STEPS * BATCH * INPUTS], Init::Normal { deviation: 0.5 }, &mut rng);
        let n = learned.add("steps", &[2 * STEPS], Init::Zeros, &mut rng).start;
        learned.values_mut()[n..n + STEPS].fill(0.02f64.ln());
        let mut adam = OptimizerConfig::from(AdamConfig::default()).build::<f64>(learned.entries());
        let schedule = Schedule::Cosine { from: 0.02, to: 0.002 };
        for step in 0..outer {
            if stop.load(Ordering::Relaxed) {
                return Err(StudyError::Interrupted);
            }
            let (_, g) = self.outer(&mut tools, learned.values(), seed, step)?;
            let rate = schedule.at(&Progress { step, epoch: step, epochs: outer });
            adam.step(rate, learned.values_mut(), &g);
        }
        Ok(read(learned.values()))
    }
    /// Accuracy after some epochs of Adam on all real samples.
    pub fn whole(&self, net: &Mlp<f64>, epochs: u64, seed: u64) -> Result<f64, StudyError> {
        let x = self.digits.x[..self.train * INPUTS].to_vec();
        let y = self.digits.labels[..self.train].iter().map(|l| f64::from(*l)).collect();
        let rows = Rows::new((INPUTS, 1), x, y).map_err(failed)?;
        let loss = StandardLoss::new(LossKind::CrossEntropy, CLASSES).map_err(failed)?;
        let mut task =
            Supervised::new(Layers::new(net.clone()).map_err(failed)?, rows, loss, 512).map_err(failed)?;
        let config = TrainConfig {
            batch: 64,
            seed,
            precision: Precision::F64,
            ..TrainConfig::new(epochs, Schedule::constant(1e-3))
        };
        let mut state = State::new(&task, &AdamConfig::default().into(), seed);
        train(&mut task, &config, &mut state, &mut |_, _| Ok(ControlFlow::Continue(()))).map_err(failed)?;
        Ok(self.accuracy(&mut net.clone(), state.params.values()))
    }
}

fn read(learned: &[f64]) -> Lesson {
    let (samples, steps) = learned.split_at(STEPS * BATCH * INPUTS);
    let rates = steps[..STEPS].iter().map(|r| r.exp()).collect();
    let momenta = steps[STEPS..].iter().map(|m| 1.0 / (1.0 + (-m).exp())).collect();
    Lesson { samples: samples.to_vec(), rates, momenta }
}
