//! Hyper-parameters that tune themselves while a network is trained (MacKay et al., ICLR 2019; the form of the authors' code).
//!
//! h are hyper-parameters without bounds, sigma = softplus(s) the widths in which the network ([`Responsive`]) learns how its weights respond to them. In turns
//!
//! ```text
//! some steps on the network's p:  E_eps L_train(h + eps; weights at h + eps),   eps ~ N(0, sigma^2) drawn for each sample
//! a step on h and s:              E_eps L_validation(weights at h + eps) - entropy weight x sum log sigma
//! ```
//!
//! L_train is never differentiated by h, and a validation step leaves p as it is.

use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::responsive::Responsive;
use crate::diff::{At, BarsMut, Init, Kept, Map};
use crate::error::{OdeError, check_len};
use crate::nn::Params;
use crate::train::data::{Stream, generator};
use crate::train::optim::{AdamConfig, SgdConfig};
use crate::train::{Optimizer, OptimizerConfig};

/// Data and losses of what is tuned.
pub trait Tuned {
    /// Puts a batch of the training or validation data into `x`, one column a sample, and remembers its targets. All random choices come from `rng`.
    fn load(&mut self, validation: bool, rng: &mut StdRng, x: &mut Vec<f64>);
    /// Changes the inputs `x` of a training batch at random by h, hyper-parameters x batch, one column a sample: dropout, noise. Nothing by default; not called for validation.
    fn disturb(&mut self, h: &[f64], rng: &mut StdRng, x: &mut [f64]) {
        let _ = (h, rng, x);
    }
    /// Mean loss of the batch at outputs z; ADDS its derivative to `z_bar`. A training loss may depend on h, hyper-parameters x batch, one column a sample; its penalties on weights
    /// come from [`penalty`](Self::penalty).
    fn loss(&mut self, validation: bool, z: &[f64], h: &[f64], z_bar: &mut [f64]) -> f64;
    /// The training loss's penalty on the parameters, with h of each sample; ADDS its derivative (see [`Responsive::squares`]). None by default.
    fn penalty(&mut self, net: &Responsive<f64>, p: &[f64], h: &[f64], p_bar: &mut [f64]) -> f64 {
        let _ = (net, p, h, p_bar);
        0.0
    }
}

/// How it is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneOptions {
    /// Steps on p in all; default 6000.
    pub steps: u64,
    /// Of these before the first step on h; default 500.
    pub warm_up: u64,
    /// Steps on p for each step on h; default 2.
    pub train_steps: u64,
    /// What steps on p; default gradient descent with momentum 0.9.
    pub optimizer: OptimizerConfig,
    /// Its rate; default 0.01.
    pub rate: f64,
    /// Rate of Adam, which steps on h and s; default 3e-3.
    pub hyper_rate: f64,
    /// Weight of the entropy of eps; default 1e-3.
    pub entropy: f64,
    /// sigma at the start; default 0.5.
    pub width: f64,
    /// Whether sigma is tuned too; default true.
    pub tune_width: bool,
    /// Seed; default 0.
    pub seed: u64,
}

impl Default for TuneOptions {
    fn default() -> Self {
        Self {
            steps: 6000,
            warm_up: 500,
            train_steps: 2,
            optimizer: SgdConfig::default().into(),
            rate: 0.01,
            hyper_rate: 3e-3,
            entropy: 1e-3,
            width: 0.5,
            tune_width: true,
            seed: 0,
        }
    }
}

/// What came out.
#[derive(Debug, Clone)]
pub struct TuneReport {
    /// The hyper-parameters.
    pub h: Vec<f64>,
    /// sigma.
    pub widths: Vec<f64>,
    /// The network's parameters; its weights at h are [`Responsive::weights`].
    pub params: Params<f64>,
    /// (step, training loss, validation loss, h) at each step on h.
    pub path: Vec<(u64, f64, f64, Vec<f64>)>,
}

/// What the steps are taken on.
pub(super) trait Responding {
    /// Loads a batch; the number of draws of eps.
    fn load(&mut self, validation: bool, rng: &mut StdRng) -> usize;
    /// The loss at p with the responses to h, hyper-parameters x draws; ADDS its derivatives. That by h is of the responses alone.
    fn pass(
        &mut self,
        validation: bool,
        rng: &mut StdRng,
        at: (&[f64], &[f64]),
        p_bar: &mut [f64],
        h_bar: &mut [f64],
    ) -> f64;
}

/// Trains `net` on `task` and tunes its hyper-parameters, from `start`.
///
/// # Errors
/// `start` has another length, an option is out of range, or a loss is not finite (with the step).
pub fn tune<K: Tuned>(
    task: &mut K,
    net: &mut Responsive<f64>,
    start: &[f64],
    options: &TuneOptions,
) -> Result<TuneReport, OdeError> {
    check_len("hyper-parameters at the start", start.len(), net.hyper())?;
    let mut params = Params::new();
    params.add_spec("net", net.spec(), &mut generator(options.seed, Stream::Init, 0));
    run(&mut Network { task, net, batch: Batch::default() }, params, start, options)
}

/// The steps in turns, from the parameters `params` and hyper-parameters `start`.
pub(super) fn run<R: Responding>(
    task: &mut R,
    params: Params<f64>,
    start: &[f64],
    o: &TuneOptions,
) -> Result<TuneReport, OdeError> {
    if !(o.rate > 0.0 && o.hyper_rate > 0.0 && o.width > 0.0 && o.train_steps > 0) {
        let what = "tuning: rates, width and train_steps must be positive".to_string();
        return Err(OdeError::Mismatch { what });
    }
    let mut run = Run::new(start, o, params);
    for step in 0..o.steps {
        let loss = run.train_step(task, step);
        let due = step >= o.warm_up && (step - o.warm_up) % o.train_steps == o.train_steps - 1;
        let validation = if due { run.hyper_step(task, step) } else { 0.0 };
        if !(loss + validation).is_finite() {
            let what = format!("tuning: a loss is not finite at step {step}; try smaller rates");
            return Err(OdeError::Mismatch { what });
        }
        if due {
            run.path.push((step, loss, validation, run.hyper.values()[..start.len()].to_vec()));
        }
    }
    let (h, s) = run.hyper.values().split_at(start.len());
    let widths = s.iter().map(|s| softplus(*s)).collect();
    Ok(TuneReport { h: h.to_vec(), widths, params: run.params, path: run.path })
}

struct Run<'o> {
    o: &'o TuneOptions,
    params: Params<f64>,
    optimizer: Box<dyn Optimizer<f64>>,
    /// h, then s.
    hyper: Params<f64>,
    adam: Box<dyn Optimizer<f64>>,
    /// Of the pass at hand: hyper-parameters and noise of each draw, and derivatives.
    h: Vec<f64>,
    noise: Vec<f64>,
    h_bar: Vec<f64>,
    p_bar: Vec<f64>,
    path: Vec<(u64, f64, f64, Vec<f64>)>,
}

impl<'o> Run<'o> {
    fn new(start: &[f64], o: &'o TuneOptions, params: Params<f64>) -> Self {
        let (n, k) = (params.values().len(), start.len());
        let (mut hyper, mut unused) = (Params::new(), generator(o.seed, Stream::Init, 1));
        hyper.add("h", &[k], Init::Zeros, &mut unused);
        hyper.add("s", &[k], Init::Zeros, &mut unused);
        hyper.values_mut()[..k].copy_from_slice(start);
        // The inverse of softplus.
        hyper.values_mut()[k..].fill(o.width + (-(-o.width).exp_m1()).ln());
        let adam = OptimizerConfig::from(AdamConfig::default()).build(hyper.entries());
        let optimizer = o.optimizer.build(params.entries());
        let (h, noise, h_bar, p_bar) = (vec![], vec![], vec![], vec![0.0; n]);
        Self { o, params, optimizer, hyper, adam, h, noise, h_bar, p_bar, path: vec![] }
    }

    /// Loads a batch, draws eps and evaluates the loss and its derivatives.
    fn pass<R: Responding>(&mut self, task: &mut R, validation: bool, step: u64) -> f64 {
        let index = 2 * step + validation as u64;
        let mut rng = generator(self.o.seed, Stream::Pass, index);
        let draws = task.load(validation, &mut rng);
        let k = self.hyper.values().len() / 2;
        let (h, s) = self.hyper.values().split_at(k);
        self.noise.clear();
        self.noise.extend((0..k * draws).map(|_| -> f64 { StandardNormal.sample(&mut rng) }));
        let at = |i: usize, noise: f64| h[i % k] + softplus(s[i % k]) * noise;
        self.h.clear();
        self.h.extend(self.noise.iter().enumerate().map(|(i, noise)| at(i, *noise)));
        self.h_bar.clear();
        self.h_bar.resize(k * draws, 0.0);
        self.p_bar.fill(0.0);
        let at = (self.params.values(), &self.h[..]);
        task.pass(validation, &mut rng, at, &mut self.p_bar, &mut self.h_bar)
    }

    fn train_step<R: Responding>(&mut self, task: &mut R, step: u64) -> f64 {
        let loss = self.pass(task, false, step);
        self.optimizer.step(self.o.rate, self.params.values_mut(), &self.p_bar);
        loss
    }

    fn hyper_step<R: Responding>(&mut self, task: &mut R, step: u64) -> f64 {
        let loss = self.pass(task, true, step);
        let k = self.hyper.values().len() / 2;
        let mut gradient = vec![0.0; 2 * k];
        for (bars, noise) in self.h_bar.chunks_exact(k).zip(self.noise.chunks_exact(k)) {
            for i in 0..k {
                gradient[i] += bars[i];
                gradient[k + i] += bars[i] * noise[i];
            }
        }
        for (g, s) in gradient[k..].iter_mut().zip(&self.hyper.values()[k..]) {
            let slope = 1.0 / (1.0 + (-s).exp());
            *g = if self.o.tune_width { (*g - self.o.entropy / softplus(*s)) * slope } else { 0.0 };
        }
        self.adam.step(self.o.hyper_rate, self.hyper.values_mut(), &gradient);
        loss
    }
}

/// A network on a task: one draw a sample.
struct Network<'a, K> {
    task: &'a mut K,
    net: &'a mut Responsive<f64>,
    batch: Batch,
}

/// Of the batch at hand: inputs, alone and with hyper-parameters, and what passes leave.
#[derive(Default)]
struct Batch {
    x: Vec<f64>,
    xh: Vec<f64>,
    z: Vec<f64>,
    keep: Vec<f64>,
    z_bar: Vec<f64>,
    xh_bar: Vec<f64>,
}

impl<K: Tuned> Responding for Network<'_, K> {
    fn load(&mut self, validation: bool, rng: &mut StdRng) -> usize {
        self.task.load(validation, rng, &mut self.batch.x);
        self.batch.x.len() / (self.net.inputs() - self.net.hyper())
    }
    fn pass(
        &mut self,
        validation: bool,
        rng: &mut StdRng,
        (p, h): (&[f64], &[f64]),
        p_bar: &mut [f64],
        h_bar: &mut [f64],
    ) -> f64 {
        let Self { task, net, batch: b } = self;
        let k = net.hyper();
        let n = net.inputs() - k;
        let batch = h.len() / k;
        if !validation {
            task.disturb(h, rng, &mut b.x);
        }
        b.xh.clear();
        for (x, h) in b.x.chunks_exact(n).zip(h.chunks_exact(k)) {
            b.xh.extend(x.iter().chain(h));
        }
        for (v, len) in [
            (&mut b.z, net.outputs() * batch),
            (&mut b.keep, net.keep_len(batch)),
            (&mut b.z_bar, net.outputs() * batch),
            (&mut b.xh_bar, b.xh.len()),
        ] {
            v.clear();
            v.resize(len, 0.0);
        }
        net.forward(At::new(0.0, &b.xh, p), &mut b.z, &mut b.keep);
        let loss = task.loss(validation, &b.z, h, &mut b.z_bar);
        let of = Kept { y: &b.z, keep: &b.keep };
        net.vjp(At::new(0.0, &b.xh, p), of, &b.z_bar, BarsMut::new(&mut b.xh_bar, p_bar));
        for (to, bars) in h_bar.chunks_exact_mut(k).zip(b.xh_bar.chunks_exact(n + k)) {
            to.iter_mut().zip(&bars[n..]).for_each(|(to, bar)| *to += bar);
        }
        if validation { loss } else { loss + task.penalty(net, p, h, p_bar) }
    }
}

fn softplus(s: f64) -> f64 {
    s.max(0.0) + (-s.abs()).exp().ln_1p()
}
