//! Sequential training of a one-hidden-layer network by gradient boosting (Emami, Martinez-Munoz: Sequential training of neural networks with gradient
//! boosting; IEEE Access 2023, arXiv 1909.12098).
//!
//! F is a sum of small networks h_t of J logistic units each, found one after another on the residuals r of the loss:
//!
//! | targets | loss | F_0 | r | step rho_t |
//! |---|---|---|---|---|
//! | numbers | (y - F)^2 / 2 | mean y | y - F | 1 |
//! | two classes, y = -1, 1 | ln(1 + e^(-2yF)) | ln((1 + mean y) / (1 - mean y)) / 2 | 2y / (1 + e^(2yF)) | sum r h / sum r (2y - r) h^2 |
//! | K classes | -ln softmax(F)_y | 0 | onehot - p, p = softmax F | a class: sum h (onehot - p) / sum h^2 p (1 - p) |
//!
//! F <- F + eta rho_t h_t, a Newton step along h_t. Each h_t minimizes
//!
//! ```text
//! 1/(2 m) sum over m samples |h(x) - r|^2 + l2/(2 m) |W|^2      (W: both weight matrices, no biases)
//! ```
//!
//! on a random part of the samples by L-BFGS. The hidden units side by side, their output weights times eta rho_t and the biases summed are ONE ordinary network,
//! [`Gbnn::network`]; its last units can be left out at any time, [`Gbnn::truncate`]. The probability of two classes is 1 / (1 + e^(-2F)).

use rand::RngExt;

use super::loss::{BoostError, Targets};
use crate::diff::{At, BarsMut, Kept};
use crate::linalg::Scalar;
use crate::nn::{Activation, Init, Map, Mlp, Params};
use crate::opt::lbfgs::{LbfgsOptions, minimize};
use crate::train::data::{Stream, generator, shuffled};

/// Sizes and rates.
#[derive(Debug, Clone, PartialEq)]
pub struct GbnnOptions {
    /// Hidden units in all; default 200.
    pub units: usize,
    /// Units of a stage, J; default 1. The last stage has what is left.
    pub per_stage: usize,
    /// eta; default 1.
    pub rate: f64,
    /// Share of the samples that a stage sees, drawn without replacement; default 0.5.
    pub subsample: f64,
    /// Weight of the squared weights; default 1e-4, which is too little for noisy data.
    pub l2: f64,
    /// Iterations of L-BFGS a stage; default 200.
    pub iterations: u64,
    /// Of subsamples and initial weights; default 0.
    pub seed: u64,
}

impl Default for GbnnOptions {
    fn default() -> Self {
        Self { units: 200, per_stage: 1, rate: 1.0, subsample: 0.5, l2: 1e-4, iterations: 200, seed: 0 }
    }
}

impl GbnnOptions {
    fn check(&self) -> Result<(), BoostError> {
        let Self { units, per_stage, rate, subsample, l2, iterations, .. } = *self;
        let wrong = |what: String| Err(BoostError(what));
        if units == 0 || per_stage == 0 || per_stage > units {
            return wrong(format!(
                "{units} units, {per_stage} a stage: both must be positive, and a stage no larger than the network"
            ));
        }
        if !(rate > 0.0 && rate.is_finite()) {
            return wrong(format!("rate is {rate}, it must be positive"));
        }
        if !(subsample > 0.0 && subsample <= 1.0) {
            return wrong(format!("subsample is {subsample}, it must be above 0 and at most 1"));
        }
        if !(l2 >= 0.0 && l2.is_finite()) {
            return wrong(format!("l2 is {l2}, it must not be negative"));
        }
        if iterations == 0 {
            return wrong("iterations is 0, it must be at least 1".into());
        }
        Ok(())
    }
}

/// Hidden units and output weights of a stage, already times eta rho.
#[derive(Debug, Clone, PartialEq)]
struct Stage {
    units: usize,
    /// As [`Mlp`] orders them: W1 (units x inputs, column-major), b1, W2 (outputs x units), b2.
    p: Vec<f64>,
}

/// A network that was trained stage by stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Gbnn {
    inputs: usize,
    outputs: usize,
    start: Vec<f64>,
    stages: Vec<Stage>,
}

fn check(x: &[f64], inputs: usize, targets: Targets<'_>, options: &GbnnOptions) -> Result<(), BoostError> {
    options.check()?;
    targets.check()?;
    let n = targets.len();
    if n == 0 || inputs == 0 || x.len() != n * inputs {
        let found = x.len();
        return Err(BoostError(format!(
            "{n} targets and {inputs} inputs need {} numbers, there are {found}",
            n * inputs
        )));
    }
    if let Some(i) = x.iter().position(|v| !v.is_finite()) {
        return Err(BoostError(format!(
            "input {} of sample {} is {}, it must be finite",
            i % inputs,
            i / inputs,
            x[i]
        )));
    }
    Ok(())
}

/// inputs - J logistic - outputs.
fn small(inputs: usize, units: usize, outputs: usize) -> Result<Mlp<f64>, BoostError> {
    let net = Mlp::dense(&[inputs, units, outputs], Activation::Sigmoid, Activation::Identity, false);
    net.map_err(|e| BoostError(e.to_string()))
}

/// Values of a network at all samples.
fn values(net: &mut Mlp<f64>, x: &[f64], p: &[f64], count: usize) -> Vec<f64> {
    let mut y = vec![0.0; net.size().outputs * count];
    net.value(At::new(0.0, x, p), &mut y);
    y
}

/// Fits inputs - units - outputs to `loss(f, d)`, which returns the loss of the values f, a mean over the samples, and writes its derivative to d; plus l2. Random
/// numbers of the start depend on seed and stage.
fn fit_small(
    x: &[f64],
    (inputs, units, outputs): (usize, usize, usize),
    loss: &dyn Fn(&[f64], &mut [f64]) -> f64,
    options: &GbnnOptions,
    stage: u64,
) -> Result<Vec<f64>, BoostError> {
    let mut net = small(inputs, units, outputs)?;
    let count = x.len() / inputs;
    // Uniform in +- sqrt(2 / (inputs + outputs)) of a layer, biases too: units differ from the start.
    let mut rng = generator(options.seed, Stream::Init, stage);
    let bounds = net
        .layers()
        .iter()
        .flat_map(|l| std::iter::repeat_n((2.0 / (l.inputs + l.outputs) as f64).sqrt(), l.n_params()));
    let start: Vec<f64> = bounds.map(|b| b * (2.0 * rng.random::<f64>() - 1.0)).collect();
    let (mut f, mut d) = (vec![0.0; outputs * count], vec![0.0; outputs * count]);
    let (mut keep, mut x_bar) = (vec![0.0; Map::<f64>::keep_len(&net, count)], vec![0.0; x.len()]);
    let ridge = options.l2 / count as f64;
    let weights = [0..inputs * units, units * (inputs + 1)..units * (inputs + 1 + outputs)];
    let mut objective = |p: &[f64], g: &mut [f64]| {
        let at = At::new(0.0, x, p);
        net.forward(at, &mut f, &mut keep);
        let mut value = loss(&f, &mut d);
        net.vjp(at, Kept { y: &f, keep: &keep }, &d, BarsMut::new(&mut x_bar, g));
        for i in weights.iter().cloned().flatten() {
            value += 0.5 * ridge * p[i] * p[i];
            g[i] += ridge * p[i];
        }
        value
    };
    let limits = LbfgsOptions { iterations: options.iterations, ..LbfgsOptions::default() };
    let report = minimize(&mut objective, &start, &limits).map_err(|e| BoostError(e.to_string()))?;
    Ok(report.x)
}

/// Half the squared distance to r, a mean over the samples.
fn half_squares(r: &[f64], outputs: usize) -> impl Fn(&[f64], &mut [f64]) -> f64 {
    let share = outputs as f64 / r.len() as f64;
    move |f, d| {
        d.iter_mut().zip(f.iter().zip(r)).for_each(|(d, (f, r))| *d = share * (f - r));
        0.5 * d.iter().map(|d| d * d).sum::<f64>() / share
    }
}

impl Gbnn {
    /// Trains on samples given one after another, `inputs` numbers each. Inputs should be of order 1: they are taken as they are.
    ///
    /// # Errors
    /// Lengths that do not fit, numbers that are not finite, options outside their range.
    pub fn fit(
        x: &[f64],
        inputs: usize,
        targets: Targets<'_>,
        options: &GbnnOptions,
    ) -> Result<Self, BoostError> {
        check(x, inputs, targets, options)?;
        let (n, outputs) = (targets.len(), targets.outputs());
        let start = targets.start();
        let mut f: Vec<f64> = (0..n).flat_map(|_| start.iter().copied()).collect();
        let mut this = Self { inputs, outputs, start, stages: vec![] };
        let seen = ((options.subsample * n as f64).round() as usize).clamp(1, n);
        let mut left = options.units;
        while left > 0 {
            let (units, t) = (options.per_stage.min(left), this.stages.len() as u64);
            left -= units;
            let r = targets.residuals(&f);
            let p = if seen < n {
                let chosen = &shuffled(n, options.seed, t)[..seen];
                let pick = |v: &[f64], k: usize| {
                    chosen.iter().flat_map(|i| v[i * k..][..k].iter().copied()).collect::<Vec<_>>()
                };
                let part = pick(&r, outputs);
                fit_small(
                    &pick(x, inputs),
                    (inputs, units, outputs),
                    &half_squares(&part, outputs),
                    options,
                    t,
                )?
            } else {
                fit_small(x, (inputs, units, outputs), &half_squares(&r, outputs), options, t)?
            };
            let h = values(&mut small(inputs, units, outputs)?, x, &p, n);
            let rho = targets.steps(&f, &r, &h);
            let mut stage = Stage { units, p };
            stage.scale(inputs, &rho, options.rate);
            for (f, h) in f.chunks_exact_mut(outputs).zip(h.chunks_exact(outputs)) {
                (0..outputs).for_each(|c| f[c] += options.rate * rho[c] * h[c]);
            }
            this.stages.push(stage);
        }
        Ok(this)
    }
    /// The same network trained at once: all units on the loss itself, F = F_0 + h, by L-BFGS; `per_stage`, `rate` and `subsample` do not count. What boosting is
    /// to be compared with.
    ///
    /// # Errors
    /// As [`fit`](Self::fit).
    pub fn at_once(
        x: &[f64],
        inputs: usize,
        targets: Targets<'_>,
        options: &GbnnOptions,
    ) -> Result<Self, BoostError> {
        check(x, inputs, targets, options)?;
        let (n, outputs, start) = (targets.len(), targets.outputs(), targets.start());
        let loss = |h: &[f64], d: &mut [f64]| {
            let f: Vec<f64> = h.iter().enumerate().map(|(i, h)| start[i % outputs] + h).collect();
            d.iter_mut().zip(targets.residuals(&f)).for_each(|(d, r)| *d = -r / n as f64);
            targets.loss(&f)
        };
        let p = fit_small(x, (inputs, options.units, outputs), &loss, options, 0)?;
        Ok(Self { inputs, outputs, start, stages: vec![Stage { units: options.units, p }] })
    }
    /// Hidden units.
    pub fn units(&self) -> usize {
        self.stages.iter().map(|s| s.units).sum()
    }
    /// The network of the first stages that have at most so many units together.
    #[must_use]
    pub fn truncate(&self, units: usize) -> Self {
        let mut sum = 0;
        let kept = self.stages.iter().take_while(|s| {
            sum += s.units;
            sum <= units
        });
        Self { stages: kept.cloned().collect(), ..self.clone() }
    }
    /// F as the sum of its stages, `outputs` numbers a sample.
    ///
    /// # Errors
    /// A length that does not fit.
    pub fn values(&self, x: &[f64]) -> Result<Vec<f64>, BoostError> {
        if !x.len().is_multiple_of(self.inputs) {
            return Err(BoostError(format!(
                "{} numbers are not a multiple of {}, the inputs of a sample",
                x.len(),
                self.inputs
            )));
        }
        let count = x.len() / self.inputs;
        let mut f: Vec<f64> = (0..count).flat_map(|_| self.start.iter().copied()).collect();
        for stage in &self.stages {
            let h = values(&mut small(self.inputs, stage.units, self.outputs)?, x, &stage.p, count);
            f.iter_mut().zip(h).for_each(|(f, h)| *f += h);
        }
        Ok(f)
    }
    /// The label of every sample: the largest F, or for two classes F > 0.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn classes(&self, x: &[f64]) -> Result<Vec<usize>, BoostError> {
        let f = self.values(x)?;
        if self.outputs == 1 {
            return Ok(f.iter().map(|f| (*f > 0.0) as usize).collect());
        }
        let best = |f: &[f64]| (0..f.len()).fold(0, |b, c| if f[c] > f[b] { c } else { b });
        Ok(f.chunks_exact(self.outputs).map(best).collect())
    }
    /// One network inputs - units - outputs with the same values, its units in the order of the stages, and its parameters by name.
    ///
    /// # Errors
    /// No stage is left.
    pub fn network<T: Scalar>(&self) -> Result<(Mlp<T>, Params<T>), BoostError> {
        let (n, units, k) = (self.inputs, self.units(), self.outputs);
        let net = Mlp::dense(&[n, units, k], Activation::Sigmoid, Activation::Identity, false);
        let net = net.map_err(|e| BoostError(e.to_string()))?;
        let (mut w1, mut b1, mut w2, mut b2) = (vec![0.0; units * n], vec![], vec![], self.start.clone());
        let mut first = 0;
        for Stage { units: j, p } in &self.stages {
            for i in 0..n {
                w1[i * units + first..][..*j].copy_from_slice(&p[i * j..][..*j]);
            }
            let (own, rest) = p[j * n..].split_at(*j);
            b1.extend_from_slice(own);
            w2.extend_from_slice(&rest[..j * k]);
            b2.iter_mut().zip(&rest[j * k..]).for_each(|(b, own)| *b += own);
            first += j;
        }
        let mut params = Params::new();
        let mut rng = generator(0, Stream::Init, 0);
        for (name, shape) in
            [("0.weight", &[n, units][..]), ("0.bias", &[units]), ("1.weight", &[units, k]), ("1.bias", &[k])]
        {
            params.add(name, shape, Init::Zeros, &mut rng);
        }
        let all = [w1, b1, w2, b2].concat();
        params.values_mut().iter_mut().zip(all).for_each(|(to, v)| *to = T::of(v));
        Ok((net, params))
    }
}

impl Stage {
    /// Output weights and biases times eta rho.
    fn scale(&mut self, inputs: usize, rho: &[f64], rate: f64) {
        let out = &mut self.p[self.units * (inputs + 1)..];
        for w in out.chunks_exact_mut(rho.len()) {
            w.iter_mut().zip(rho).for_each(|(w, rho)| *w *= rate * rho);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of three numbers in [-1, 1] and a smooth function of them.
    fn data(n: usize) -> (Vec<f64>, Vec<f64>) {
        let mut rng = generator(3, Stream::Data, 0);
        let x: Vec<f64> = (0..3 * n).map(|_| 2.0 * rng.random::<f64>() - 1.0).collect();
        let y = x.chunks_exact(3).map(|x| (2.0 * x[0]).sin() + x[1] * x[2]).collect();
        (x, y)
    }
    fn labels(y: &[f64], classes: usize) -> Vec<usize> {
        y.iter()
            .map(|y| ((y + 1.2) / 2.4 * classes as f64).clamp(0.0, classes as f64 - 1.0) as usize)
            .collect()
    }

    #[test]
    fn one_network_has_the_values_of_the_ensemble() {
        let (x, y) = data(60);
        let (two, three) = (labels(&y, 2), labels(&y, 3));
        let options =
            GbnnOptions { units: 11, per_stage: 3, rate: 0.5, iterations: 30, ..GbnnOptions::default() };
        for t in
            [Targets::Numbers(&y), Targets::TwoClasses(&two), Targets::Classes { labels: &three, classes: 3 }]
        {
            let fit = Gbnn::fit(&x, 3, t, &options).unwrap();
            assert_eq!(fit.units(), 11);
            for keep in [11, 9, 7, 3] {
                let part = fit.truncate(keep);
                assert_eq!(part.units(), if keep == 11 { 11 } else { keep / 3 * 3 });
                let (mut net, params) = part.network::<f64>().unwrap();
                let (a, b) = (part.values(&x).unwrap(), values(&mut net, &x, params.values(), 60));
                let scale = a.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12 * scale), "{keep}");
                assert_eq!(params.entries()[2].shape, [part.units(), t.outputs()]);
            }
            assert!(fit.truncate(2).network::<f64>().is_err());
        }
    }

    #[test]
    fn the_loss_falls_with_every_stage() {
        let (x, y) = data(80);
        let (two, three) = (labels(&y, 2), labels(&y, 3));
        let options = GbnnOptions {
            units: 16,
            per_stage: 2,
            rate: 0.1,
            subsample: 1.0,
            iterations: 50,
            ..GbnnOptions::default()
        };
        for t in
            [Targets::Numbers(&y), Targets::TwoClasses(&two), Targets::Classes { labels: &three, classes: 3 }]
        {
            let fit = Gbnn::fit(&x, 3, t, &options).unwrap();
            let losses: Vec<f64> =
                (0..=8).map(|s| t.loss(&fit.truncate(2 * s).values(&x).unwrap())).collect();
            assert!(losses.windows(2).all(|w| w[1] < w[0]), "{losses:?}");
        }
    }

    #[test]
    fn one_stage_is_one_fit() {
        let (x, y) = data(40);
        // Few iterations: the two ways of writing the loss differ by rounding, which grows from one to the next.
        let few =
            GbnnOptions { units: 6, per_stage: 6, subsample: 1.0, iterations: 8, ..GbnnOptions::default() };
        let fit = Gbnn::fit(&x, 3, Targets::Numbers(&y), &few).unwrap();
        let once = Gbnn::at_once(&x, 3, Targets::Numbers(&y), &few).unwrap();
        let (a, b) = (fit.values(&x).unwrap(), once.values(&x).unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-10), "{a:?} {b:?}");
        let more = GbnnOptions { iterations: 200, ..few };
        let a = Gbnn::fit(&x, 3, Targets::Numbers(&y), &more).unwrap().values(&x).unwrap();
        // It has learned most of it.
        let mean = y.iter().sum::<f64>() / 40.0;
        assert!(Targets::Numbers(&y).loss(&a) < 0.1 * Targets::Numbers(&y).loss(&[mean; 40]));
    }

    /// The end of a fit is stationary: the gradient of the whole objective, by differences, is small there.
    #[test]
    fn fits_are_stationary() {
        let (x, y) = data(30);
        let three = labels(&y, 3);
        let t = Targets::Classes { labels: &three, classes: 3 };
        let options =
            GbnnOptions { units: 3, per_stage: 3, l2: 0.5, iterations: 2000, ..GbnnOptions::default() };
        let fit = Gbnn::at_once(&x, 3, t, &options).unwrap();
        let objective = |p: &[f64]| {
            let f = values(&mut small(3, 3, 3).unwrap(), &x, p, 30);
            let squares: f64 = p[..9].iter().chain(&p[12..21]).map(|w| w * w).sum();
            t.loss(&f) + 0.5 * 0.5 / 30.0 * squares
        };
        let p = &fit.stages[0].p;
        for i in 0..p.len() {
            let at = |h: f64| {
                let mut p = p.clone();
                p[i] += h;
                objective(&p)
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(slope.abs() < 1e-4, "{i}: {slope}");
        }
    }

    #[test]
    fn classes_are_learned() {
        let (x, y) = data(300);
        let (two, three) = (labels(&y, 2), labels(&y, 3));
        let options = GbnnOptions { units: 20, per_stage: 2, rate: 0.5, l2: 1e-2, ..GbnnOptions::default() };
        for t in [Targets::TwoClasses(&two), Targets::Classes { labels: &three, classes: 3 }] {
            let truth = if t.outputs() == 1 { &two } else { &three };
            let got = Gbnn::fit(&x, 3, t, &options).unwrap().classes(&x).unwrap();
            let right = got.iter().zip(truth).filter(|(a, b)| a == b).count();
            assert!(right >= 285, "{right}");
        }
    }

    #[test]
    fn bad_input_is_named() {
        let (x, y) = data(5);
        let says = |t: Targets<'_>, x: &[f64], o: GbnnOptions, what: &str| {
            let text = Gbnn::fit(x, 3, t, &o).unwrap_err().to_string();
            assert!(text.contains(what) && !text.contains('\n'), "{text}");
        };
        let ok = GbnnOptions::default;
        says(Targets::Numbers(&y), &x[..14], ok(), "need 15 numbers, there are 14");
        says(Targets::Numbers(&[1.0, f64::NAN]), &x, ok(), "target 1 is NaN");
        says(Targets::TwoClasses(&[0, 1, 2, 0, 0]), &x, ok(), "label 2 is 2, labels are below 2");
        says(Targets::Classes { labels: &[0; 5], classes: 1 }, &x, ok(), "at least 2");
        let mut nan = x.clone();
        nan[7] = f64::INFINITY;
        says(Targets::Numbers(&y), &nan, ok(), "input 1 of sample 2 is inf");
        says(Targets::Numbers(&y), &x, GbnnOptions { per_stage: 0, ..ok() }, "both must be positive");
        says(Targets::Numbers(&y), &x, GbnnOptions { rate: f64::NAN, ..ok() }, "rate is NaN");
        says(Targets::Numbers(&y), &x, GbnnOptions { subsample: 1.5, ..ok() }, "subsample is 1.5");
        says(Targets::Numbers(&y), &x, GbnnOptions { l2: -1.0, ..ok() }, "l2 is -1");
        says(Targets::Numbers(&y), &x, GbnnOptions { iterations: 0, ..ok() }, "at least 1");
    }
}
