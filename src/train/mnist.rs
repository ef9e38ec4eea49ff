//! Digits by a neural ODE: u(0) the image, du/dt = tanh(W2 \[tanh(W1 \[u; t\] + b1); t\] + b2) on [0, 1], logits a linear map of u(1),
//! loss the mean cross entropy.

use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;

use super::config::{Config, TaskConfig};
use super::digits::{DigitData, classify};
use super::error::TrainError;
use super::pass::{LossBars, Pass, PassStats, Problem};
use super::schedule::Progress;
use super::task::{Evaluation, Split, Task, batches, of_size, random_end};
use crate::diff::Map;
use crate::linalg::Scalar;
use crate::nn::{Activation, Mlp, Parallel, Params};
use crate::ode::Integrator;

type Field<T> = Parallel<Mlp<T>, T>;

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
    pub fn new(config: &Config, base: &Path) -> Result<Self, TrainError> {
        let TaskConfig::MnistOde { hidden, outer_tanh, piece, .. } = config.task else {
            return Err(TrainError::config("the task is not a classification of digits"));
        };
        let data = DigitData::new(&config.task, base)?;
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
