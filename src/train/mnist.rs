//! Digits by a neural ODE: u(0) the image, du/dt = tanh(W2 \[tanh(W1 \[u; t\] + b1); t\] + b2) on [0, 1], logits a linear map of u(1),
//! loss the mean cross entropy.

use std::path::Path;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;

use super::config::{Config, TaskConfig};
use super::data::Images;
use super::error::TrainError;
use super::pass::{LossBars, OdePass, PassStats, Problem};
use super::schedule::Progress;
use super::task::{Evaluation, Split, Task};
use crate::linalg::Scalar;
use crate::nn::{Activation, Map, MapField, Mlp, Parallel, Params, softmax_cross_entropy};
use crate::ode::Integrator;

type Field<T> = MapField<Parallel<Mlp<T>, T>, T>;

/// See the module.
#[derive(Debug)]
pub struct MnistOde<T: Scalar> {
    config: Config,
    train: Images,
    validation: Images,
    test: Images,
    net: Mlp<T>,
    head: Mlp<T>,
    field: Field<T>,
    /// One for each batch size met.
    passes: Vec<(usize, OdePass<T>)>,
    integrators: Vec<(usize, Integrator<T>)>,
    x: Vec<T>,
    labels: Vec<usize>,
    bar: Vec<T>,
}

/// Training, validation and test images; a relative folder starts at `base`.
pub(super) fn images(task: &TaskConfig, base: &Path) -> Result<[Images; 3], TrainError> {
    let Some(d) = task.digits() else {
        return Err(TrainError::config("the task is not a classification of digits"));
    };
    // Generated data are the same for every seed of the run.
    let (all, tests) = match d.folder {
        None => (Images::generated(d.train, 0, 0), Images::generated(d.test, d.train as u64, 0)),
        Some(folder) => {
            let folder = base.join(folder);
            let all = Images::read(&folder, d.train_files)?;
            let tests = if d.train_files == d.test_files {
                all.part(d.train, d.test, "test")?
            } else {
                Images::read(&folder, d.test_files)?.part(0, d.test, "test")?
            };
            (all.part(0, d.train, "training")?, tests)
        }
    };
    if tests.pixels != all.pixels {
        let what = format!("training images have {} pixels, test images {}", all.pixels, tests.pixels);
        return Err(TrainError::config(what));
    }
    let kept = d.train - d.validation;
    Ok([all.part(0, kept, "training")?, all.part(kept, d.validation, "validation")?, tests])
}

/// Pixels in [0, 1] and labels of these samples.
pub(super) fn gather<T: Scalar>(
    images: &Images,
    samples: impl Iterator<Item = usize>,
    x: &mut Vec<T>,
    labels: &mut Vec<usize>,
) {
    x.clear();
    labels.clear();
    let scale = T::of(1.0 / 255.0);
    for s in samples {
        let pixels = &images.data[s * images.pixels..][..images.pixels];
        x.extend(pixels.iter().map(|v| scale * T::of(*v as f64)));
        labels.push(images.labels[s] as usize);
    }
}

impl<T: Scalar> MnistOde<T> {
    /// Reads the data; a relative folder starts at `base`.
    pub fn new(config: &Config, base: &Path) -> Result<Self, TrainError> {
        let TaskConfig::MnistOde { hidden, outer_tanh, piece, .. } = config.task else {
            return Err(TrainError::config("the task is not a classification of digits"));
        };
        let [train, validation, test] = images(&config.task, base)?;
        let n = train.pixels;
        let outer = if outer_tanh { Activation::Tanh } else { Activation::Identity };
        let net = Mlp::dense(&[n, hidden, n], Activation::Tanh, outer, true)?;
        Ok(Self {
            field: MapField::new(Parallel::new(net.clone(), piece, config.train.batch))?,
            head: Mlp::linear(n, 10)?,
            net,
            config: config.clone(),
            passes: vec![],
            integrators: vec![],
            x: vec![],
            labels: vec![],
            bar: vec![],
            train,
            validation,
            test,
        })
    }

    fn images(&self, split: Split) -> &Images {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// Into x and labels.
    fn gather(&mut self, split: Split, samples: impl Iterator<Item = usize>) {
        let (mut x, mut labels) = (std::mem::take(&mut self.x), std::mem::take(&mut self.labels));
        gather(self.images(split), samples, &mut x, &mut labels);
        (self.x, self.labels) = (x, labels);
    }
}

/// The entry of this batch size, made if absent.
pub(super) fn of_size<A, E>(
    list: &mut Vec<(usize, A)>,
    batch: usize,
    make: impl FnOnce() -> Result<A, E>,
) -> Result<&mut A, E> {
    let at = match list.iter().position(|(b, _)| *b == batch) {
        Some(at) => at,
        None => {
            list.push((batch, make()?));
            list.len() - 1
        }
    };
    Ok(&mut list[at].1)
}

impl<T: Scalar> Task<T> for MnistOde<T> {
    fn params(&self, rng: &mut StdRng) -> Params<T> {
        let mut params = Params::new();
        params.add_mlp("field", &self.net, rng);
        params.add_mlp("head", &self.head, rng);
        params
    }
    fn samples(&self) -> usize {
        self.train.len()
    }
    fn split_len(&self, split: Split) -> usize {
        self.images(split).len()
    }
    fn gradient(
        &mut self,
        p: &[T],
        samples: &[usize],
        now: &Progress,
        rng: &mut StdRng,
        gradient: &mut [T],
    ) -> Result<(PassStats, Option<f64>), TrainError> {
        self.gather(Split::Train, samples.iter().copied());
        let (solver, steer) = (&self.config.solver, self.config.solver.steer);
        let (batch, dim) = (samples.len(), self.train.pixels);
        let (method, options, memory) = (solver.tableau()?, solver.options(), solver.memory());
        let (penalties, stiff) = (&self.config.penalties, solver.record_stiffness);
        let pass = of_size(&mut self.passes, batch, || {
            OdePass::new(method, (dim, batch), &options, memory, penalties, stiff)
        })?;
        // STEER: a random end time.
        let end = if steer > 0.0 { 1.0 + steer * (2.0 * rng.random::<f64>() - 1.0) } else { 1.0 };
        let (p_field, p_head) = p.split_at(self.net.n_params());
        let (g_field, g_head) = gradient.split_at_mut(self.net.n_params());
        let problem = Problem { span: (T::ZERO, T::of(end)), y0: &self.x, p: p_field, times: &[] };
        let (head, labels) = (&mut self.head, &self.labels);
        let mut correct = 0;
        let mut loss = |y1: &[T], _: &[T], bars: LossBars<'_, T>| {
            let (mut z, mut z_bar) = (vec![T::ZERO; 10 * batch], vec![T::ZERO; 10 * batch]);
            head.forward(T::ZERO, y1, p_head, &mut z, &mut []);
            let (value, right) = softmax_cross_entropy(&z, labels, 1.0 / batch as f64, Some(&mut z_bar));
            correct = right;
            head.backward(T::ZERO, y1, p_head, &z, &[], &z_bar, bars.y1, g_head);
            value
        };
        self.bar.resize(self.x.len(), T::ZERO);
        let bar = &mut self.bar;
        let stats = pass.run(&mut self.field, &problem, now, rng, &mut loss, bar, g_field)?;
        Ok((stats, Some(correct as f64 / batch as f64)))
    }
    fn evaluate(&mut self, p: &[T], split: Split) -> Result<Evaluation, TrainError> {
        let (count, dim) = (self.images(split).len(), self.train.pixels);
        let (mut e, mut correct) = (Evaluation::default(), 0);
        let size = self.config.train.batch.min(count.max(1));
        let batches = count.div_ceil(size);
        e.predict_seconds = f64::INFINITY;
        let (p_field, p_head) = p.split_at(self.net.n_params());
        for b in 0..batches {
            let range = b * size..((b + 1) * size).min(count);
            let batch = range.len();
            self.gather(split, range);
            let solver = &self.config.solver;
            let (method, options) = (solver.tableau()?, solver.options());
            let integrator =
                of_size(&mut self.integrators, batch, || Integrator::new(method, dim, batch, &options))?;
            let begun = Instant::now();
            let span = (T::ZERO, T::ONE);
            let report = integrator.run(&mut self.field, span, &self.x, p_field, &mut ())?;
            if !report.ok() {
                return Err(TrainError::Solver { what: report.message() });
            }
            let mut z = vec![T::ZERO; 10 * batch];
            self.head.forward(T::ZERO, integrator.y(), p_head, &mut z, &mut []);
            if batch == size {
                e.predict_seconds = e.predict_seconds.min(begun.elapsed().as_secs_f64());
            }
            let (loss, right) = softmax_cross_entropy(&z, &self.labels, 1.0 / count as f64, None);
            e.loss += loss;
            correct += right;
            e.nfe += report.counts.evals as f64 / batches as f64;
            e.accepted += report.counts.accepted as f64 / batches as f64;
            e.rejected += report.counts.rejected as f64 / batches as f64;
        }
        e.accuracy = Some(correct as f64 / count.max(1) as f64);
        Ok(e)
    }
}
