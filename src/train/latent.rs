//! The latent ODE (Rubanova et al. 2019, as set up in the 2021 paper): irregular series through a recurrent encoder, a neural ODE and a linear decoder.
//!
//! ```text
//! h = GRU over the times backwards, input [x * m; m; dt], where nothing is observed h stays
//! [mean; log_var] = W2 tanh(W1 h + b1) + b2,   z(0) = mean + e^(log_var/2) * eps,   eps standard normal
//! dz/dt = tanh(W8 .. tanh(W1 tanh z + b1) ..),   x(t) = W z(t) + b
//! L = mean over observations of -log N(x; x(t), sigma) + kl_weight KL(N(mean, var) || N(0, 1)) / batch
//! ```
//!
//! kl_weight = max(0, 1 - 0.99^(epoch - 10)). Evaluations take z(0) = mean and report the mean squared error over the observations. The paper's recurrent
//! unit carries a standard deviation beside its state; this one does not.

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::error::TrainError;
use super::pass::{LossBars, Pass, PassStats, Problem};
use super::recipe::{Need, Recipe, at_least, kept, positive};
use super::schedule::Progress;
use super::series::{FEATURES, Series, TIMES};
use super::size::layer;
use super::task::{Evaluation, Split, Task, batches, jittered, of_size};
use crate::diff::{At, BarsMut, Kept, Map};
use crate::linalg::Scalar;
use crate::nn::{
    Activation, Chain, Elementwise, Gru, Mlp, Parallel, Params, gaussian_nll, kl_standard_normal,
};
use crate::ode::{Integrator, SaveAt};

const M: usize = FEATURES.len();

type Field<T> = Parallel<Chain<Elementwise, Mlp<T>, T>, T>;

/// The encoder's pass, kept for its pullback: input, what the unit kept, output, and whether a column was updated, for each time.
#[derive(Debug, Clone, Default)]
struct Encoding<T> {
    input: Vec<Vec<T>>,
    keep: Vec<Vec<T>>,
    output: Vec<Vec<T>>,
    seen: Vec<Vec<bool>>,
    h: Vec<T>,
}

/// See the module.
#[derive(Debug)]
pub struct LatentOde<T: Scalar> {
    config: Config,
    splits: [Series; 3],
    latent: usize,
    sigma: f64,
    gru: Parallel<Gru<T>, T>,
    head: Mlp<T>,
    net: Mlp<T>,
    decoder: Mlp<T>,
    field: Field<T>,
    passes: Vec<(usize, Pass<T>)>,
    integrators: Vec<(usize, Integrator<T>)>,
    times: Vec<T>,
    encoding: Encoding<T>,
    /// Values and masks of the batch: M x batch for every time.
    x: Vec<T>,
    mask: Vec<T>,
}

/// `kind = "latent_ode"`: irregular series of 37 features at 49 times through a recurrent encoder, a neural ODE and a linear decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentOdeConfig {
    /// Folder of Physionet 2012 text files, relative to the configuration file; without it, generated series.
    pub folder: Option<String>,
    /// Series to train.
    pub train: usize,
    /// Of these, the last so many are kept for validation; default 0.
    #[serde(default)]
    pub validation: usize,
    /// Series to test, after those.
    pub test: usize,
    /// State of the recurrent unit; default 50.
    #[serde(default = "fifty")]
    pub recurrent: usize,
    /// Components of the ODE; default 20.
    #[serde(default = "twenty")]
    pub latent: usize,
    /// Width of its wide layers; default 50.
    #[serde(default = "fifty")]
    pub hidden: usize,
    /// Standard deviation of an observation; default 0.01.
    #[serde(default = "hundredth")]
    pub sigma: f64,
    /// As for `mnist_ode`, in the right-hand side and the recurrent unit; default: never cut.
    pub piece: Option<usize>,
}

fn twenty() -> usize {
    20
}
fn fifty() -> usize {
    50
}
fn hundredth() -> f64 {
    0.01
}

/// Width of the encoder's head.
const HEAD: usize = 50;

impl Recipe for LatentOdeConfig {
    fn check(&self, _: &Config) -> Result<(), TrainError> {
        kept(self.validation, self.train)?;
        at_least(&[
            ("train", self.train, 1),
            ("test", self.test, 1),
            ("recurrent", self.recurrent, 1),
            ("latent", self.latent, 1),
            ("hidden", self.hidden, 1),
            ("piece", self.piece.unwrap_or(1), 1),
        ])?;
        positive("sigma", self.sigma)
    }
    fn need(&self, run: &Config) -> Need {
        let (recurrent, latent, hidden) = (self.recurrent as f64, self.latent as f64, self.hidden as f64);
        let (samples, head) = (self.train as f64 + self.test as f64, HEAD as f64);
        Need {
            parameters: 3.0 * layer(2.0 * M as f64 + recurrent, recurrent)
                + layer(recurrent, head)
                + layer(head, 2.0 * latent)
                + 4.0 * (layer(latent, hidden) + layer(hidden, latent)),
            states: TIMES as f64 * latent * run.train.batch.min(self.train) as f64,
            bytes: samples * (TIMES * M) as f64 * 5.0,
        }
    }
    fn build<T: Scalar>(&self, run: &Config, base: &Path) -> Result<Box<dyn Task<T>>, TrainError> {
        Ok(Box::new(LatentOde::new(run, self, base)?))
    }
    fn validates_by_another_loss(&self) -> bool {
        true
    }
    fn folder(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.folder)
    }
}

/// Ranges of the parts of the parameter vector.
struct Parts {
    gru: usize,
    head: usize,
    field: usize,
}

impl<T: Scalar> LatentOde<T> {
    /// Reads or generates the series; a relative folder starts at `base`.
    pub fn new(config: &Config, of: &LatentOdeConfig, base: &Path) -> Result<Self, TrainError> {
        let LatentOdeConfig { folder, train, validation, test, recurrent, latent, hidden, sigma, piece } = of;
        let total = train + test;
        let all = match folder {
            Some(folder) => Series::read(&base.join(folder))?,
            None => Series::generated(total, 0, 0),
        };
        let kept = train - validation;
        let splits = [all.part(0, kept)?, all.part(kept, *validation)?, all.part(*train, *test)?];
        let tanh = Activation::Tanh;
        let sizes: Vec<usize> = (0..9).map(|i| if i % 2 == 0 { *latent } else { *hidden }).collect();
        let net = Mlp::dense(&sizes, tanh, tanh, false)?;
        let width = piece.unwrap_or(usize::MAX);
        let first = Elementwise { dim: *latent, activation: tanh };
        Ok(Self {
            field: Parallel::new(Chain::new(first, net.clone())?, width),
            gru: Parallel::new(Gru::new(2 * M + 1, *recurrent)?, width),
            head: Mlp::dense(&[*recurrent, HEAD, 2 * latent], tanh, Activation::Identity, false)?,
            decoder: Mlp::linear(*latent, M)?,
            net,
            splits,
            latent: *latent,
            sigma: *sigma,
            config: config.clone(),
            passes: vec![],
            integrators: vec![],
            times: (0..TIMES).map(|k| T::of(k as f64 / (TIMES - 1) as f64)).collect(),
            encoding: Encoding::default(),
            x: vec![],
            mask: vec![],
        })
    }
    fn series(&self, split: Split) -> &Series {
        &self.splits[split.index()]
    }
    fn parts(&self) -> Parts {
        let gru = self.gru.n_params();
        let head = gru + self.head.n_params();
        Parts { gru, head, field: head + self.net.n_params() }
    }

    /// Values and masks of these samples.
    fn load(&mut self, split: Split, samples: &[usize]) {
        let (mut x, mut mask) = (std::mem::take(&mut self.x), std::mem::take(&mut self.mask));
        x.clear();
        mask.clear();
        for k in 0..TIMES {
            for s in samples {
                let (values, seen) = self.series(split).at(*s, k);
                x.extend(values.iter().map(|v| T::of(*v as f64)));
                mask.extend(seen.iter().map(|m| T::of(*m as f64)));
            }
        }
        (self.x, self.mask) = (x, mask);
    }

    /// The recurrent unit over the times backwards.
    fn encode(&mut self, batch: usize, p: &[T]) {
        let (nh, nx) = (self.gru.outputs(), 2 * M + 1);
        let e = &mut self.encoding;
        for list in [&mut e.input, &mut e.keep, &mut e.output] {
            list.resize(TIMES, vec![]);
        }
        e.seen.resize(TIMES, vec![]);
        e.h.clear();
        e.h.resize(nh * batch, T::ZERO);
        for k in (0..TIMES).rev() {
            let later = if k + 1 < TIMES { self.times[k + 1] } else { self.times[k] };
            let (x, mask) = (&self.x[k * M * batch..], &self.mask[k * M * batch..]);
            let input = &mut e.input[k];
            input.clear();
            e.seen[k].clear();
            for c in 0..batch {
                let (x, m) = (&x[M * c..][..M], &mask[M * c..][..M]);
                input.extend(x.iter().zip(m).map(|(x, m)| *x * *m));
                input.extend_from_slice(m);
                input.push(later - self.times[k]);
                input.extend_from_slice(&e.h[nh * c..][..nh]);
                e.seen[k].push(m.iter().any(|m| *m != T::ZERO));
            }
            debug_assert_eq!(input.len(), (nx + nh) * batch);
            e.keep[k].resize(self.gru.keep_len(batch), T::ZERO);
            e.output[k].resize(nh * batch, T::ZERO);
            self.gru.forward(At::new(T::ZERO, &e.input[k], p), &mut e.output[k], &mut e.keep[k]);
            for c in (0..batch).filter(|c| e.seen[k][*c]) {
                e.h[nh * c..][..nh].copy_from_slice(&e.output[k][nh * c..][..nh]);
            }
        }
    }

    /// From the bar of the last h to the unit's parameters.
    fn encode_bar(&mut self, mut h_bar: Vec<T>, p: &[T], p_bar: &mut [T]) {
        let (nh, nx) = (self.gru.outputs(), 2 * M + 1);
        let batch = h_bar.len() / nh;
        let e = &self.encoding;
        let (mut w, mut bar) = (vec![T::ZERO; nh * batch], vec![T::ZERO; (nx + nh) * batch]);
        for k in 0..TIMES {
            // Where nothing was seen, h passed by unchanged.
            for c in 0..batch {
                let from = &h_bar[nh * c..][..nh];
                let to = &mut w[nh * c..][..nh];
                if e.seen[k][c] { to.copy_from_slice(from) } else { to.fill(T::ZERO) }
            }
            bar.fill(T::ZERO);
            let (x, y, keep) = (&e.input[k], &e.output[k], &e.keep[k]);
            self.gru.vjp(At::new(T::ZERO, x, p), Kept { y, keep }, &w, BarsMut::new(&mut bar, p_bar));
            for c in (0..batch).filter(|c| e.seen[k][*c]) {
                h_bar[nh * c..][..nh].copy_from_slice(&bar[(nx + nh) * c + nx..][..nh]);
            }
        }
    }
}

impl<T: Scalar> Task<T> for LatentOde<T> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        let mut params = Params::new();
        params.add_spec("encoder.gru", self.gru.map().spec(), rng);
        params.add_spec("encoder.head", self.head.spec(), rng);
        params.add_spec("field", self.net.spec(), rng);
        params.add_spec("decoder", self.decoder.spec(), rng);
        params
    }
    fn samples(&self) -> usize {
        self.splits[0].len()
    }
    fn split_len(&self, split: Split) -> usize {
        self.series(split).len()
    }
    fn gradient(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        let (batch, n, parts) = (samples.len(), self.latent, self.parts());
        self.load(Split::Train, samples);
        self.encode(batch, &p[..parts.gru]);
        let times = jittered(&self.times, self.config.solver.steer, rng);
        let p_head = &p[parts.gru..parts.head];
        let mut keep = vec![T::ZERO; self.head.keep_len(batch)];
        let mut code = vec![T::ZERO; 2 * n * batch];
        self.head.forward(At::new(T::ZERO, &self.encoding.h, p_head), &mut code, &mut keep);
        // Reparametrized: z0 = mean + e^(log_var/2) eps.
        let (mut mean, mut log_var) = (Vec::with_capacity(n * batch), Vec::with_capacity(n * batch));
        for c in code.chunks_exact(2 * n) {
            mean.extend_from_slice(&c[..n]);
            log_var.extend_from_slice(&c[n..]);
        }
        let half = T::of(0.5);
        let noise: Vec<T> = log_var
            .iter()
            .map(|l| {
                let eps: f64 = StandardNormal.sample(rng);
                (half * *l).exp() * T::of(eps)
            })
            .collect();
        let z0: Vec<T> = mean.iter().zip(&noise).map(|(m, e)| *m + *e).collect();
        let solver = &self.config.solver;
        let (method, options, memory) = (solver.tableau()?, solver.options(), solver.memory());
        let (penalties, stiff) = (&self.config.penalties, solver.record_stiffness);
        let pass = of_size(&mut self.passes, batch, || {
            Pass::new(method, (n, batch), &options, memory, penalties, stiff)
        })?;
        let (g_encoder, rest) = gradient.split_at_mut(parts.head);
        let (g_field, g_decoder) = rest.split_at_mut(parts.field - parts.head);
        let (p_field, p_decoder) = (&p[parts.head..parts.field], &p[parts.field..]);
        let (decoder, x, mask, sigma) = (&mut self.decoder, &self.x, &self.mask, self.sigma);
        let observed = mask.iter().filter(|m| **m != T::ZERO).count().max(1) as f64;
        let mut loss = |_: &[T], saved: &[T], bars: LossBars<'_, T>| {
            let (mut y, mut y_bar) = (vec![T::ZERO; x.len()], vec![T::ZERO; x.len()]);
            decoder.forward(At::new(T::ZERO, saved, p_decoder), &mut y, &mut []);
            let nll = gaussian_nll(&y, x, mask, sigma, 1.0 / observed, Some(&mut y_bar));
            decoder.vjp(
                At::new(T::ZERO, saved, p_decoder),
                Kept { y: &y, keep: &[] },
                &y_bar,
                BarsMut::new(bars.saved, g_decoder),
            );
            nll
        };
        let problem = Problem { span: (T::ZERO, times[TIMES - 1]), y0: &z0, p: p_field, times: &times };
        let mut z0_bar = vec![T::ZERO; z0.len()];
        let mut stats = pass.run(&mut self.field, &problem, now, rng, &mut loss, &mut z0_bar, g_field)?;
        let weight = (1.0 - 0.99f64.powf(now.epoch as f64 - 10.0)).max(0.0) / batch as f64;
        let mut log_var_bar: Vec<T> = z0_bar.iter().zip(&noise).map(|(b, e)| half * *b * *e).collect();
        let kl = kl_standard_normal(&mean, &log_var, weight, Some((&mut z0_bar, &mut log_var_bar)));
        stats.data_loss += kl;
        stats.loss += kl;
        let code_bar: Vec<T> = z0_bar
            .chunks_exact(n)
            .zip(log_var_bar.chunks_exact(n))
            .flat_map(|(m, l)| m.iter().chain(l).copied())
            .collect();
        let (g_gru, g_head) = g_encoder.split_at_mut(parts.gru);
        let mut h_bar = vec![T::ZERO; self.encoding.h.len()];
        self.head.vjp(
            At::new(T::ZERO, &self.encoding.h, p_head),
            Kept { y: &code, keep: &keep },
            &code_bar,
            BarsMut::new(&mut h_bar, g_head),
        );
        self.encode_bar(h_bar, &p[..parts.gru], g_gru);
        Ok((stats, None))
    }
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        let (count, n, parts) = (self.series(split).len(), self.latent, self.parts());
        let size = self.config.train.batch.min(count);
        let batches = batches(count, size);
        let (mut e, share) = (Evaluation::begin(), 1.0 / batches.len() as f64);
        let (mut sum, mut observed) = (0.0, 0.0);
        for range in batches {
            let (batch, samples) = (range.len(), range.collect::<Vec<_>>());
            self.load(split, &samples);
            let begun = Instant::now();
            self.encode(batch, &p[..parts.gru]);
            let mut keep = vec![T::ZERO; self.head.keep_len(batch)];
            let mut code = vec![T::ZERO; 2 * n * batch];
            let p_head = &p[parts.gru..parts.head];
            self.head.forward(At::new(T::ZERO, &self.encoding.h, p_head), &mut code, &mut keep);
            let z0: Vec<T> = code.chunks_exact(2 * n).flat_map(|c| c[..n].iter().copied()).collect();
            let solver = &self.config.solver;
            let (method, options) = (solver.tableau()?, solver.options());
            let integrator =
                of_size(&mut self.integrators, batch, || Integrator::new(method, n, batch, &options))?;
            let mut save = SaveAt::new(&self.times);
            let (span, p_field) = ((T::ZERO, T::ONE), &p[parts.head..parts.field]);
            let report = integrator.run(&mut self.field, span, &z0, p_field, &mut save)?;
            if !report.ok() {
                return Err(TrainError::Solver { what: report.message() });
            }
            let mut y = vec![T::ZERO; self.x.len()];
            self.decoder.forward(At::new(T::ZERO, save.states(), &p[parts.field..]), &mut y, &mut []);
            e.time(begun, batch == size);
            for ((y, x), m) in y.iter().zip(&self.x).zip(&self.mask) {
                sum += m.f64() * (y.f64() - x.f64()).powi(2);
                observed += m.f64();
            }
            let c = &report.counts;
            e.add(share, (c.evals, c.accepted, c.rejected));
        }
        e.loss = sum / observed.max(1.0);
        Ok(e)
    }
}
