//! Digits by a neural SDE: z(0) = W_in x + b_in, dz = (W2 tanh(W1 z + b1) + b2) dt + diag(W3 z + b3) dW on [0, 1], logits a linear map of z(1).
//! One trajectory a sample in training; predictions are mean logits over several. With STEER a training pass, its Brownian path with it, lives on
//! \[0, T\], T uniform in 1 +- steer; predictions take z(1).

use std::path::Path;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::data::{CLASSES, PIXELS};
use super::data::{Stream, generator};
use super::digits::{DigitData, Digits, classify};
use super::error::TrainError;
use super::pass::{LossBars, Pass, PassStats, Problem};
use super::recipe::{Need, Recipe, at_least};
use super::schedule::Progress;
use super::size::layer;
use super::task::{Evaluation, Split, Task, batches, of_size, random_end};
use crate::diff::{At, BarsMut, Kept, Map};
use crate::linalg::Scalar;
use crate::nn::{Activation, Mlp, Parallel, Params};
use crate::sde::{Brownian, Noise, Sde, SdeIntegrator};

type Net<T> = Parallel<Mlp<T>, T>;
type Equation<T> = Sde<Net<T>, Net<T>>;

/// `kind = "mnist_sde"`: digits by a neural SDE of `state` components: a linear map in, drift of one hidden layer, linear diagonal diffusion, a linear map out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MnistSdeConfig {
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
    /// Components of the state; default 32.
    pub state: usize,
    /// Width of the drift's hidden layer; default 64.
    pub hidden: usize,
    /// Trajectories whose mean logits are the prediction; default 10.
    pub test_trajectories: usize,
    /// As for `mnist_ode`, in drift, diffusion and the map in; default: never cut.
    pub piece: Option<usize>,
}

impl Default for MnistSdeConfig {
    fn default() -> Self {
        Self {
            folder: None,
            train_files: "train".into(),
            test_files: "t10k".into(),
            train: 60_000,
            validation: 0,
            test: 10_000,
            state: 32,
            hidden: 64,
            test_trajectories: 10,
            piece: None,
        }
    }
}

impl MnistSdeConfig {
    fn digits(&self) -> Digits<'_> {
        let Self { folder, train_files, test_files, train, validation, test, .. } = self;
        let (folder, train, validation, test) = (folder.as_deref(), *train, *validation, *test);
        Digits { folder, train_files, test_files, train, validation, test }
    }
}

impl Recipe for MnistSdeConfig {
    fn check(&self, run: &Config) -> Result<(), TrainError> {
        at_least(&[
            ("state", self.state, 1),
            ("hidden", self.hidden, 1),
            ("test_trajectories", self.test_trajectories, 1),
            ("piece", self.piece.unwrap_or(1), 1),
        ])?;
        self.digits().check(run)
    }
    fn need(&self, run: &Config) -> Need {
        let (pixels, state, hidden) = (PIXELS as f64, self.state as f64, self.hidden as f64);
        let drift = layer(state, hidden) + layer(hidden, state);
        Need {
            parameters: layer(pixels, state) + drift + layer(state, state) + layer(state, CLASSES as f64),
            states: state * run.train.batch.min(self.train) as f64 + self.test_trajectories as f64,
            bytes: self.digits().bytes(),
        }
    }
    fn build<T: Scalar>(&self, run: &Config, base: &Path) -> Result<Box<dyn Task<T>>, TrainError> {
        Ok(Box::new(MnistSde::new(run, self, base)?))
    }
    fn is_stochastic(&self) -> bool {
        true
    }
    fn folder(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.folder)
    }
}

/// See the module.
#[derive(Debug)]
pub struct MnistSde<T: Scalar> {
    config: Config,
    data: DigitData<T>,
    state: usize,
    trajectories: usize,
    embed: Net<T>,
    drift: Mlp<T>,
    diffusion: Mlp<T>,
    head: Mlp<T>,
    sde: Equation<T>,
    passes: Vec<(usize, Pass<T, SdeIntegrator<T>>)>,
    integrators: Vec<(usize, SdeIntegrator<T>)>,
    x_bar: Vec<T>,
    y0: Vec<T>,
    y0_bar: Vec<T>,
}

impl<T: Scalar> MnistSde<T> {
    /// Reads the data; a relative folder starts at `base`.
    pub fn new(config: &Config, of: &MnistSdeConfig, base: &Path) -> Result<Self, TrainError> {
        let &MnistSdeConfig { state, hidden, test_trajectories, piece, .. } = of;
        let data = DigitData::new(&of.digits(), base)?;
        let drift = Mlp::dense(&[state, hidden, state], Activation::Tanh, Activation::Identity, false)?;
        let diffusion = Mlp::linear(state, state)?;
        let cut = |net: &Mlp<T>| Parallel::new(net.clone(), piece.unwrap_or(usize::MAX));
        let noise = cut(&diffusion);
        Ok(Self {
            sde: Sde::new(cut(&drift), noise, Noise::Diagonal)?,
            embed: cut(&Mlp::linear(data.pixels(), state)?),
            head: Mlp::linear(state, 10)?,
            drift,
            diffusion,
            state,
            trajectories: test_trajectories,
            data,
            config: config.clone(),
            passes: vec![],
            integrators: vec![],
            x_bar: vec![],
            y0: vec![],
            y0_bar: vec![],
        })
    }
    /// Where the equation's and the head's parameters begin.
    fn cuts(&self) -> (usize, usize) {
        let first = self.embed.n_params();
        (first, first + self.drift.n_params() + self.diffusion.n_params())
    }
    /// These samples become the batch, and y0 their start.
    fn load(&mut self, split: Split, samples: impl Iterator<Item = usize>, p: &[T]) {
        self.data.load(split, samples);
        self.y0.resize(self.state * self.data.labels.len(), T::ZERO);
        self.embed.forward(At::new(T::ZERO, &self.data.x, &p[..self.cuts().0]), &mut self.y0, &mut []);
    }
}

impl<T: Scalar> Task<T> for MnistSde<T> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        let mut params = Params::new();
        let parts = [("embed", self.embed.map()), ("drift", &self.drift), ("diffusion", &self.diffusion)];
        for (name, map) in parts.into_iter().chain([("head", &self.head)]) {
            params.add_spec(name, map.spec(), rng);
        }
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
        self.load(Split::Train, samples.iter().copied(), p);
        let (batch, (a, b)) = (samples.len(), self.cuts());
        let solver = &self.config.solver;
        let (method, options, memory) = (solver.sde_method()?, solver.sde_options(), solver.memory());
        let size = (self.state, batch);
        let pass = of_size(&mut self.passes, batch, || {
            Pass::new(method, size, &options, memory, &self.config.penalties, true)
        })?;
        let (g_embed, rest) = gradient.split_at_mut(a);
        let (g_sde, g_head) = rest.split_at_mut(b - a);
        let end = random_end(1.0, solver.steer, rng);
        let problem = Problem { span: (T::ZERO, T::of(end)), y0: &self.y0, p: &p[a..b], times: &[] };
        let (head, labels, p_head) = (&mut self.head, &self.data.labels, &p[b..]);
        let mut correct = 0;
        let mut loss = |y1: &[T], _: &[T], bars: LossBars<'_, T>| {
            let (value, right) =
                classify(head, y1, p_head, labels, 1.0 / batch as f64, Some((bars.y1, &mut *g_head)));
            correct = right;
            value
        };
        self.y0_bar.resize(self.y0.len(), T::ZERO);
        let stats = pass.run(&mut self.sde, &problem, now, rng, &mut loss, &mut self.y0_bar, g_sde)?;
        self.x_bar.resize(self.data.x.len(), T::ZERO);
        let (x, bar, x_bar) = (&self.data.x, &self.y0_bar, &mut self.x_bar);
        self.embed.vjp(
            At::new(T::ZERO, x, &p[..a]),
            Kept { y: &self.y0, keep: &[] },
            bar,
            BarsMut::new(x_bar, g_embed),
        );
        Ok((stats, Some(correct as f64 / batch as f64)))
    }
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        let count = self.data.len(split);
        let size = self.config.train.batch.min(count);
        let (batches, (a, b)) = (batches(count, size), self.cuts());
        let (mut e, mut correct) = (Evaluation::begin(), 0);
        let mut rng = generator(split as u64, Stream::Data, 0);
        let share = 1.0 / self.trajectories as f64;
        let part = share / batches.len() as f64;
        for range in batches {
            let batch = range.len();
            self.load(split, range, p);
            let begun = Instant::now();
            let solver = &self.config.solver;
            let (method, options) = (solver.sde_method()?, solver.sde_options());
            let integrator = of_size(&mut self.integrators, batch, || {
                SdeIntegrator::new(method, self.state, batch, &options)
            })?;
            let mut mean = vec![T::ZERO; self.state * batch];
            for _ in 0..self.trajectories {
                self.sde.follow(Brownian::new(rng.random()));
                let span = (T::ZERO, T::ONE);
                let report = integrator.run(&mut self.sde, span, &self.y0, &p[a..b], &mut ())?;
                if !report.ok() {
                    return Err(TrainError::Solver { what: report.message() });
                }
                // The head is affine: the mean of the logits is the logits of the mean.
                mean.iter_mut().zip(integrator.y()).for_each(|(m, y)| *m += T::of(share) * *y);
                e.add(part, (report.counts.evals, report.counts.accepted, report.counts.rejected));
            }
            let (labels, p_head) = (&self.data.labels, &p[b..]);
            let (loss, right) = classify(&mut self.head, &mean, p_head, labels, 1.0 / count as f64, None);
            e.time(begun, batch == size);
            e.loss += loss;
            correct += right;
        }
        e.accuracy = Some(correct as f64 / count.max(1) as f64);
        Ok(e)
    }
}
