//! Diagnostics of any run: the task, wrapped. The run stays the same to the last bit.
//!
//! [`Watched`] hands every call on to the task. Before the gradient of a watched step it measures with passes of its own, whose random choices come from
//! streams of their own; what it finds goes to a sink. So that the loss is one function along all of it, a measurement repeats its random choices.

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::data::{Stream, generator};
use super::error::TrainError;
use super::pass::PassStats;
use super::residual::ResidualTask;
use super::schedule::{Progress, Schedule};
use super::task::{Evaluation, Plot, Split, Task};
use crate::diagnose::{Opposing, Outlier, cosine, product_by_differences, sharpness};
use crate::linalg::Scalar;
use crate::nn::{LayerInputs, Params};

/// What is measured along a run, and how often: `[diagnose]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiagnoseConfig {
    /// Steps between measurements of the sharpness; default never.
    pub sharpness_every: Option<u64>,
    /// Products of the Hessian in one of them, two gradients each; default 30.
    pub lanczos_steps: usize,
    /// Looks for samples with opposing signals; default not.
    pub opposing: Option<OpposingConfig>,
    /// The first so many training samples are looked at; default 1000.
    pub samples: usize,
}

impl Default for DiagnoseConfig {
    fn default() -> Self {
        Self { sharpness_every: None, lanczos_steps: 30, opposing: None, samples: 1000 }
    }
}

/// Of the search for samples with opposing signals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpposingConfig {
    /// Of so many steps two in a row are watched, an even and an odd one; 1 and 2: all.
    pub every: u64,
    /// Largest changes of either sign that count at a watched step, and samples that are named.
    pub top: usize,
}

impl DiagnoseConfig {
    /// What is wrong, if anything.
    pub fn problem(&self) -> Option<String> {
        let every = self.opposing.map_or(1, |o| o.every);
        let numbers = [
            ("sharpness_every", self.sharpness_every.unwrap_or(1)),
            ("lanczos_steps", self.lanczos_steps as u64),
            ("opposing.every", every),
            ("opposing.top", self.opposing.map_or(1, |o| o.top as u64)),
            ("samples", self.samples as u64),
        ];
        let (name, _) = numbers.iter().find(|(_, v)| *v == 0)?;
        Some(format!("diagnose.{name} is 0, it must be at least 1"))
    }
}

/// A measurement; a line of the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Diagnosis {
    /// Of the loss on the samples looked at, penalties included.
    Sharpness {
        /// Steps done before.
        step: u64,
        /// The largest eigenvalue of the Hessian; NaN if a gradient is not finite.
        value: f64,
        /// Some eigenvalue is as near as this.
        residual: f64,
        /// 2 / rate: what plain gradient descent allows.
        bound: f64,
    },
    /// Of a watched step.
    Opposing {
        /// Steps done before it.
        step: u64,
        /// The samples with the highest scores so far.
        outliers: Vec<Outlier>,
        /// Cosine of the mean gradients of their two groups, after the step; below -0.5 they oppose each other.
        cosine: Option<f64>,
        /// Their share of the sum of all samples' squared gradient norms, after the step.
        share: Option<f64>,
    },
}

/// Losses before a watched step.
struct Pending {
    now: Progress,
    losses: Vec<f64>,
}

/// A task that is watched.
pub struct Watched<'a, T: Scalar> {
    task: &'a mut (dyn Task<T> + 'a),
    config: DiagnoseConfig,
    rate: Schedule,
    seed: u64,
    opposing: Opposing,
    pending: Option<Pending>,
    /// The last step that was looked at: its gradient may be asked for in parts.
    seen: Option<u64>,
    sink: &'a mut (dyn FnMut(&Diagnosis) + 'a),
}

impl<'a, T: Scalar> Watched<'a, T> {
    /// Of a run with this rate and seed.
    pub fn new(
        task: &'a mut (dyn Task<T> + 'a),
        config: &DiagnoseConfig,
        (rate, seed): (Schedule, u64),
        sink: &'a mut (dyn FnMut(&Diagnosis) + 'a),
    ) -> Self {
        let count = config.samples.min(task.samples());
        let opposing = Opposing::new(count, config.opposing.map_or(0, |o| o.top));
        Self { task, config: config.clone(), rate, seed, opposing, pending: None, seen: None, sink }
    }
    /// What was seen of opposing samples so far.
    pub fn opposing(&self) -> &Opposing {
        &self.opposing
    }

    /// Data loss of every sample by itself, and the squared norm of its gradient; NaN where the pass fails.
    fn losses(&mut self, p: &[T], now: &Progress) -> (Vec<f64>, Vec<f64>) {
        let (count, mut g) = (self.config.samples.min(self.task.samples()), vec![T::ZERO; p.len()]);
        let of = |i: usize| {
            let mut rng = generator(self.seed, Stream::Diagnose, i as u64);
            g.fill(T::ZERO);
            match self.task.gradient(p, &[i], now, &mut rng, &mut g) {
                Ok((pass, _)) => (pass.data_loss, g.iter().map(|g| g.f64() * g.f64()).sum()),
                Err(_) => (f64::NAN, f64::NAN),
            }
        };
        (0..count).map(of).unzip()
    }
    /// g <- the gradient on these samples; NaN if the pass fails.
    fn gradient_on(&mut self, p: &[f64], samples: &[usize], now: &Progress, g: &mut [f64]) {
        let p: Vec<T> = p.iter().map(|p| T::of(*p)).collect();
        let mut own = vec![T::ZERO; p.len()];
        let mut rng = generator(self.seed, Stream::Diagnose, u64::MAX);
        let ok = self.task.gradient(&p, samples, now, &mut rng, &mut own).is_ok();
        g.iter_mut().zip(own).for_each(|(g, own)| *g = if ok { own.f64() } else { f64::NAN });
    }
    fn sharpness(&mut self, p: &[T], now: &Progress) {
        let samples: Vec<usize> = (0..self.config.samples.min(self.task.samples())).collect();
        let p: Vec<f64> = p.iter().map(|p| p.f64()).collect();
        let (steps, seed) = (self.config.lanczos_steps, self.seed);
        let step = if size_of::<T>() == 4 { 1e-2 } else { 1e-4 };
        let mut product = |v: &[f64], out: &mut [f64]| {
            product_by_differences(&mut |p, g| self.gradient_on(p, &samples, now, g), &p, v, step, out);
        };
        let found = sharpness(&mut product, p.len(), steps, seed);
        let (value, residual) = found.map_or((f64::NAN, f64::NAN), |s| (s.value, s.residual));
        (self.sink)(&Diagnosis::Sharpness {
            step: now.step,
            value,
            residual,
            bound: 2.0 / self.rate.at(now),
        });
    }
    /// Before the pass of a step.
    fn watch(&mut self, p: &[T], now: &Progress) {
        if self.seen.replace(now.step) == Some(now.step) {
            return;
        }
        if let Some(pending) = self.pending.take().filter(|q| q.now.step + 1 == now.step) {
            self.after(pending, p);
        }
        if self.config.sharpness_every.is_some_and(|k| now.step.is_multiple_of(k)) {
            self.sharpness(p, now);
        }
        if self.config.opposing.is_some_and(|o| now.step % o.every < 2) {
            self.pending = Some(Pending { now: *now, losses: self.losses(p, now).0 });
        }
    }
    /// The step after `pending` led to p.
    fn after(&mut self, pending: Pending, p: &[T]) {
        let (losses, squares) = self.losses(p, &pending.now);
        self.opposing.observe(pending.now.step, &pending.losses, &losses);
        let outliers = self.opposing.outliers(self.config.opposing.map_or(0, |o| o.top));
        let p: Vec<f64> = p.iter().map(|p| p.f64()).collect();
        let mut mean = |sign: i8| {
            let group: Vec<usize> = outliers.iter().filter(|o| o.sign == sign).map(|o| o.sample).collect();
            let mut g = vec![0.0; p.len()];
            if !group.is_empty() {
                self.gradient_on(&p, &group, &pending.now, &mut g);
            }
            g
        };
        let cosine = cosine(&mean(1), &mean(-1));
        let (all, own) =
            (squares.iter().sum::<f64>(), outliers.iter().map(|o| squares[o.sample]).sum::<f64>());
        let share = (all > 0.0).then(|| own / all);
        (self.sink)(&Diagnosis::Opposing { step: pending.now.step, outliers, cosine, share });
    }
}

impl<T: Scalar> ResidualTask<T> for Watched<'_, T> {
    fn linearize(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        r: &mut Vec<f64>,
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        self.watch(p, now);
        match self.task.residuals() {
            Some(of) => of.linearize(p, samples, now, rng, r),
            None => Err(TrainError::config("this task has no residuals")),
        }
    }
    fn gram(&mut self, g: &mut [f64]) {
        if let Some(of) = self.task.residuals() {
            of.gram(g);
        }
    }
    fn rows(&mut self, rows: &mut [f64]) {
        if let Some(of) = self.task.residuals() {
            of.rows(rows);
        }
    }
    fn pull(&mut self, w: &[f64], out: &mut [T]) {
        if let Some(of) = self.task.residuals() {
            of.pull(w, out);
        }
    }
}

impl<T: Scalar> Task<T> for Watched<'_, T> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        self.task.params(rng)
    }
    fn samples(&self) -> usize {
        self.task.samples()
    }
    fn split_len(&self, split: Split) -> usize {
        self.task.split_len(split)
    }
    fn gradient(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        self.watch(p, now);
        self.task.gradient(p, samples, now, rng, gradient)
    }
    fn residuals(&mut self) -> Option<&mut dyn ResidualTask<T>> {
        self.task.residuals()?;
        Some(self)
    }
    fn layer_inputs(
        &mut self,
        p: &[T],
        samples: &[usize],
        layers: &mut Vec<LayerInputs<T>>,
    ) -> Result<bool, TrainError> {
        self.task.layer_inputs(p, samples, layers)
    }
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        self.task.evaluate(p, split)
    }
    fn fit(&mut self, p: &[T]) -> Result<Vec<Plot>, TrainError> {
        self.task.fit(p)
    }
}
