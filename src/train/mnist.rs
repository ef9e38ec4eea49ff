//! Digits by a neural ODE: u(0) the image, du/dt = tanh(W2 \[tanh(W1 \[u; t\] + b1); t\] + b2) on [0, 1], logits a linear map of u(1),
//! loss the mean cross entropy.

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::data::{CLASSES, PIXELS};
use super::digits::{DigitData, Digits, classify};
use super::error::TrainError;
use super::pass::{LossBars, Pass, PassStats, Problem};
use super::recipe::{Need, Recipe, at_least};
use super::schedule::Progress;
use super::size::layer;
use super::task::{Evaluation, Split, Task, batches, of_size, random_end};
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::nn::{Activation, Mlp, Parallel, Params};
use crate::ode::Integrator;

type Field<T> = Parallel<Mlp<T>, T>;

/// `kind = "mnist_ode"`: digits classified by du/dt = tanh(W2 [tanh(W1 [u; t] + b1); t] + b2) on [0, 1] and a linear head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MnistOdeConfig {
    /// Folder of IDX files (gzip or not), relative to the configuration file; without it, generated digits.
    pub folder: Option<String>,
    /// Prefix of the training files; default "train".
    pub train_files: String,
    /// Prefix of the test files; default "t10k". The same prefix twice: the test images follow those used to train.
    pub test_files: String,
    /// Images to train; default 60000.
    pub train: usize,
    /// Of these, the last so many are kept for validation; default 0.
    pub validation: usize,
    /// Images to test; default 10000.
    pub test: usize,
    /// Width of the hidden layer; default 100.
    pub hidden: usize,
    /// tanh after the second layer too, as in the 2021 paper; default true.
    pub outer_tanh: bool,
    /// Columns of the batch that one thread takes at a time, part of the result's rounding; default 128.
    pub piece: usize,
}

impl Default for MnistOdeConfig {
    fn default() -> Self {
        Self {
            folder: None,
            train_files: "train".into(),
            test_files: "t10k".into(),
            train: 60_000,
            validation: 0,
            test: 10_000,
            hidden: 100,
            outer_tanh: true,
            piece: 128,
        }
    }
}

impl MnistOdeConfig {
    fn digits(&self) -> Digits<'_> {
        let Self { folder, train_files, test_files, train, validation, test, .. } = self;
        let (folder, train, validation, test) = (folder.as_deref(), *train, *validation, *test);
        Digits { folder, train_files, test_files, train, validation, test }
    }
}

impl Recipe for MnistOdeConfig {
    fn check(&self, run: &Config) -> Result<(), TrainError> {
        at_least(&[("hidden", self.hidden, 1), ("piece", self.piece, 1)])?;
        self.digits().check(run)
    }
    fn need(&self, run: &Config) -> Need {
        let (pixels, hidden) = (PIXELS as f64, self.hidden as f64);
        Need {
            parameters: layer(pixels, hidden) + layer(hidden, pixels) + layer(pixels, CLASSES as f64),
            states: pixels * run.train.batch.min(self.train) as f64,
            bytes: self.digits().bytes(),
        }
    }
    fn build<T: Scalar>(&self, run: &Config, base: &Path) -> Result<Box<dyn Task<T>>, TrainError> {
        Ok(Box::new(MnistOde::new(run, self, base)?))
    }
    fn folder(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.folder)
    }
}

/// See the module.
#[derive(Debug)]
pub struct MnistOde<T: Scalar> {
    config: Config,
    data: DigitData<T>,
    net: Mlp<T>,
    head: Mlp<T>,
    field: Field<T>,
    /// One for each batch size met.
    passes: Vec<(usize, Pass<T>)>,
    integrators: Vec<(usize, Integrator<T>)>,
    bar: Vec<T>,
}

impl<T: Scalar> MnistOde<T> {
    /// Reads the data; a relative folder starts at `base`.
    pub fn new(config: &Config, of: &MnistOdeConfig, base: &Path) -> Result<Self, TrainError> {
        let &MnistOdeConfig { hidden, outer_tanh, piece, .. } = of;
        let data = DigitData::new(&of.digits(), base)?;
        let n = data.pixels();
        let outer = if outer_tanh { Activation::Tanh } else { Activation::Identity };
        let net = Mlp::dense(&[n, hidden, n], Activation::Tanh, outer, true)?;
        Ok(Self {
            field: Parallel::new(net.clone(), piece),
            head: Mlp::linear(n, 10)?,
            net,
            config: config.clone(),
            passes: vec![],
            integrators: vec![],
            bar: vec![],
            data,
        })
    }
}

impl<T: Scalar> Task<T> for MnistOde<T> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        let mut params = Params::new();
        params.add_spec("field", self.net.spec(), rng);
        params.add_spec("head", self.head.spec(), rng);
        params
    }
    fn samples(&self) -> usize {
        self.data.len(Split::Train)
    }
    fn split_len(&self, split: Split) -> usize {
        self.data.len(split)
    }
    fn gradient(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        self.data.load(Split::Train, samples.iter().copied());
        let (solver, steer) = (&self.config.solver, self.config.solver.steer);
        let (batch, dim) = (samples.len(), self.data.pixels());
        let (method, options, memory) = (solver.tableau()?, solver.options(), solver.memory());
        let (penalties, stiff) = (&self.config.penalties, solver.record_stiffness);
        let pass = of_size(&mut self.passes, batch, || {
            Pass::new(method, (dim, batch), &options, memory, penalties, stiff)
        })?;
        let end = random_end(1.0, steer, rng);
        let (p_field, p_head) = p.split_at(self.net.n_params());
        let (g_field, g_head) = gradient.split_at_mut(self.net.n_params());
        let problem = Problem { span: (T::ZERO, T::of(end)), y0: &self.data.x, p: p_field, times: &[] };
        let (head, labels) = (&mut self.head, &self.data.labels);
        let mut correct = 0;
        let mut loss = |y1: &[T], _: &[T], bars: LossBars<'_, T>| {
            let (value, right) =
                classify(head, y1, p_head, labels, 1.0 / batch as f64, Some((bars.y1, &mut *g_head)));
            correct = right;
            value
        };
        self.bar.resize(self.data.x.len(), T::ZERO);
        let bar = &mut self.bar;
        let stats = pass.run(&mut self.field, &problem, now, rng, &mut loss, bar, g_field)?;
        Ok((stats, Some(correct as f64 / batch as f64)))
    }
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        let (count, dim) = (self.data.len(split), self.data.pixels());
        let (mut e, mut correct) = (Evaluation::begin(), 0);
        let (p_field, p_head) = p.split_at(self.net.n_params());
        let size = self.config.train.batch.min(count);
        let batches = batches(count, size);
        let share = 1.0 / batches.len() as f64;
        for range in batches {
            let batch = range.len();
            self.data.load(split, range);
            let solver = &self.config.solver;
            let (method, options) = (solver.tableau()?, solver.options());
            let integrator =
                of_size(&mut self.integrators, batch, || Integrator::new(method, dim, batch, &options))?;
            let begun = Instant::now();
            let (span, x) = ((T::ZERO, T::ONE), &self.data.x);
            let report = integrator.run(&mut self.field, span, x, p_field, &mut ())?;
            if !report.ok() {
                return Err(TrainError::Solver { what: report.message() });
            }
            let (y, labels) = (integrator.y(), &self.data.labels);
            let (loss, right) = classify(&mut self.head, y, p_head, labels, 1.0 / count as f64, None);
            e.time(begun, batch == size);
            let c = &report.counts;
            e.add(share, (c.evals, c.accepted, c.rejected));
            e.loss += loss;
            correct += right;
        }
        e.accuracy = Some(correct as f64 / count.max(1) as f64);
        Ok(e)
    }
}
