//! A continuum of memories: a chain of layers, each of which learns at its own pace.
//!
//! Every observation (x, y*) gives the gradient of |f(x) - y*|^2 / (2 outputs). Layer l adds up its part G_l and changes every C_l observations:
//!
//! ```text
//! every C_l observations:   p_l <- optimizer_l(p_l, G_l),   G_l <- 0
//! ```
//!
//! Layers with a small C follow the stream, those with a large one see sums over whole stretches of it. With all C_l = 1 it is plain training, one sample a step.

use rand::rngs::StdRng;

use super::check;
use crate::diff::{At, BarsMut, Entry, Kept, Map};
use crate::error::Error;
use crate::linalg::Scalar;
use crate::nn::{Activation, Mlp, Params};
use crate::train::data::{Stream, generator};
use crate::train::{Needs, Optimizer, OptimizerConfig, optim};

/// Layers, paces, and how they learn.
#[derive(Debug, Clone, PartialEq)]
pub struct ContinuumOptions {
    /// Lengths of input, hidden layers, output.
    pub sizes: Vec<usize>,
    /// C_l, one for each layer.
    pub every: Vec<u64>,
    /// After all layers but the last; default tanh.
    pub activation: Activation,
    /// Of every layer; default Adam.
    pub optimizer: OptimizerConfig,
    /// Learning rate; default 1e-3.
    pub rate: f64,
    /// Of the initial weights; default 0.
    pub seed: u64,
}

impl ContinuumOptions {
    /// These sizes and paces, and the defaults.
    pub fn new(sizes: &[usize], every: &[u64]) -> Self {
        Self {
            sizes: sizes.to_vec(),
            every: every.to_vec(),
            activation: Activation::Tanh,
            optimizer: optim::AdamConfig::default().into(),
            rate: 1e-3,
            seed: 0,
        }
    }
}

/// One layer's state.
struct Pace<T> {
    range: std::ops::Range<usize>,
    every: u64,
    optimizer: Box<dyn Optimizer<T>>,
}

/// A network that learns from a stream, its layers at several time scales.
pub struct Continuum<T: Scalar> {
    net: Mlp<T>,
    p: Vec<T>,
    paces: Vec<Pace<T>>,
    rate: f64,
    count: u64,
    /// Sums of gradients since the last change.
    sum: Vec<T>,
    y: Vec<T>,
    keep: Vec<T>,
    bar: Vec<T>,
    x_bar: Vec<T>,
}

impl<T: Scalar> std::fmt::Debug for Continuum<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Continuum").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<T: Scalar> Continuum<T> {
    /// Fresh weights.
    ///
    /// # Errors
    /// Sizes and paces that do not fit, a pace of zero, a rate that is not positive, constants of the optimizer out of range, an optimizer that needs more than gradients.
    pub fn new(options: &ContinuumOptions) -> Result<Self, Error> {
        let wrong = |option: &str, what: String| Error::Option { option: option.into(), what };
        let ContinuumOptions { sizes, every, activation, optimizer, rate, seed } = options;
        let net = Mlp::dense(sizes, *activation, Activation::Identity, false)
            .map_err(|e| wrong("sizes", e.to_string()))?;
        if every.len() != net.layers().len() || every.contains(&0) {
            let what = format!(
                "it is {every:?}, one positive number for each of {} layers is needed",
                net.layers().len()
            );
            return Err(wrong("every", what));
        }
        if !(*rate > 0.0 && rate.is_finite()) {
            return Err(wrong("rate", format!("it is {rate}, it must be positive")));
        }
        if let Some(what) = optimizer.problem() {
            return Err(wrong("optimizer", what));
        }
        if optimizer.needs() != Needs::Gradient {
            let what =
                format!("{:?} needs more than gradients, which a stream does not give", optimizer.kind());
            return Err(wrong("optimizer", what));
        }
        let mut params = Params::new();
        let mut rng: StdRng = generator(*seed, Stream::Init, 0);
        params.add_spec("net", net.spec(), &mut rng);
        let pace = |(every, arrays): (&u64, &[Entry])| {
            let start = arrays[0].range.start;
            let own = |e: &Entry| Entry { range: e.range.start - start..e.range.end - start, ..e.clone() };
            let entries: Vec<Entry> = arrays.iter().map(own).collect();
            let range = start..start + optim::count_of(&entries);
            Pace { range, every: *every, optimizer: optimizer.build(&entries) }
        };
        // A weight and a bias a layer.
        let paces = every.iter().zip(params.entries().chunks(2)).map(pace).collect();
        let (p, outputs) = (params.values().to_vec(), net.outputs());
        let (sum, keep) = (vec![T::ZERO; p.len()], vec![T::ZERO; net.keep_len(1)]);
        let (y, bar, x_bar) = (vec![T::ZERO; outputs], vec![T::ZERO; outputs], vec![T::ZERO; net.inputs()]);
        Ok(Self { net, p, paces, rate: *rate, count: 0, sum, y, keep, bar, x_bar })
    }
    /// The parameters, layer after layer.
    pub fn params(&self) -> &[T] {
        &self.p
    }
    /// Observations learned.
    pub fn count(&self) -> u64 {
        self.count
    }
    /// Learns that x gives y. Returns the mean squared error as it was before.
    ///
    /// # Errors
    /// Lengths that do not fit, or numbers that are not finite; then nothing changes.
    pub fn observe(&mut self, x: &[T], y: &[T]) -> Result<f64, Error> {
        check("x", x, self.net.inputs(), true)?;
        check("y", y, self.net.outputs(), true)?;
        let at = At::new(T::ZERO, x, &self.p);
        self.net.forward(at, &mut self.y, &mut self.keep);
        let share = 1.0 / y.len() as f64;
        let mut error = 0.0;
        for ((bar, out), y) in self.bar.iter_mut().zip(&self.y).zip(y) {
            let e = *out - *y;
            error += share * e.f64() * e.f64();
            *bar = T::of(share) * e;
        }
        let of = Kept { y: &self.y, keep: &self.keep };
        self.net.vjp(at, of, &self.bar, BarsMut::new(&mut self.x_bar, &mut self.sum));
        self.count += 1;
        for Pace { range, every, optimizer } in &mut self.paces {
            if self.count.is_multiple_of(*every) {
                let sum = &mut self.sum[range.clone()];
                optimizer.step(self.rate, &mut self.p[range.clone()], sum);
                sum.fill(T::ZERO);
            }
        }
        Ok(error)
    }
    /// y <- f(x).
    ///
    /// # Errors
    /// Lengths that do not fit.
    pub fn predict(&mut self, x: &[T], y: &mut [T]) -> Result<(), Error> {
        check("x", x, self.net.inputs(), false)?;
        check("y", y, self.net.outputs(), false)?;
        self.net.value(At::new(T::ZERO, x, &self.p), y);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::normals;

    fn stream(k: u64) -> ([f64; 2], [f64; 1]) {
        let x = normals(k, 2);
        ([x[0], x[1]], [(x[0] - 0.5 * x[1]).sin()])
    }

    /// All paces one: the whole network with one optimizer, sample by sample, bit by bit.
    #[test]
    fn one_pace_is_plain_training() {
        let mut memory = Continuum::new(&ContinuumOptions::new(&[2, 7, 5, 1], &[1; 3])).unwrap();
        let mut net = Mlp::dense(&[2, 7, 5, 1], Activation::Tanh, Activation::Identity, false).unwrap();
        let mut params = Params::<f64>::new();
        params.add_spec("net", net.spec(), &mut generator(0, Stream::Init, 0));
        let mut adam = OptimizerConfig::from(optim::AdamConfig::default()).build::<f64>(params.entries());
        let mut p = params.values().to_vec();
        assert_eq!(memory.params(), p);
        for k in 0..50 {
            let (x, y) = stream(k);
            memory.observe(&x, &y).unwrap();
            let (mut out, mut keep) = ([0.0], vec![0.0; net.keep_len(1)]);
            net.forward(At::new(0.0, &x, &p), &mut out, &mut keep);
            let (mut g, mut x_bar) = (vec![0.0; p.len()], [0.0; 2]);
            let of = Kept { y: &out, keep: &keep };
            net.vjp(At::new(0.0, &x, &p), of, &[out[0] - y[0]], BarsMut::new(&mut x_bar, &mut g));
            adam.step(1e-3, &mut p, &g);
            assert_eq!(memory.params(), p, "{k}");
        }
    }

    /// Layers change when their time has come, by the sum of the gradients since.
    #[test]
    fn layers_keep_their_pace() {
        let sgd = optim::SgdConfig { momentum: 0.0 }.into();
        let options = ContinuumOptions { optimizer: sgd, ..ContinuumOptions::new(&[2, 3, 1], &[1, 4]) };
        let mut memory = Continuum::<f64>::new(&options).unwrap();
        let mut sum = [0.0; 4];
        for k in 0..12 {
            let before = memory.params().to_vec();
            let (x, y) = stream(k);
            // The last layer's gradient by hand: (f - y) (h, 1).
            let h: Vec<f64> =
                (0..3).map(|i| (before[i] * x[0] + before[3 + i] * x[1] + before[6 + i]).tanh()).collect();
            let f = (0..3).map(|i| before[9 + i] * h[i]).sum::<f64>() + before[12];
            (0..4).for_each(|i| sum[i] += (f - y[0]) * if i < 3 { h[i] } else { 1.0 });
            let error = memory.observe(&x, &y).unwrap();
            assert!((error - (f - y[0]).powi(2)).abs() < 1e-12);
            assert!(memory.params()[..9] != before[..9]);
            if (k + 1) % 4 != 0 {
                assert_eq!(memory.params()[9..], before[9..]);
                continue;
            }
            for i in 0..4 {
                assert!((memory.params()[9 + i] - (before[9 + i] - 1e-3 * sum[i])).abs() < 1e-13);
            }
            sum.fill(0.0);
        }
        assert_eq!(memory.count(), 12);
    }

    /// What is left after 5000 observations is a small share of the targets' variance.
    #[test]
    fn it_learns_a_stream() {
        let options = ContinuumOptions { rate: 3e-3, ..ContinuumOptions::new(&[2, 20, 20, 1], &[1, 4, 16]) };
        let mut memory = Continuum::<f64>::new(&options).unwrap();
        let mut errors = vec![];
        for k in 0..6000 {
            let (x, y) = stream(k);
            errors.push(memory.observe(&x, &y).unwrap());
        }
        let last = errors[5000..].iter().sum::<f64>() / 1000.0;
        let squares = (5000..6000).map(|k| stream(k).1[0].powi(2)).sum::<f64>() / 1000.0;
        assert!(last < 0.05 * squares, "{last} {squares}");
    }

    #[test]
    fn bad_options_and_observations_are_named() {
        let base = || ContinuumOptions::new(&[2, 3, 1], &[1, 4]);
        let refused = |options: ContinuumOptions, what: &str| {
            let text = Continuum::<f64>::new(&options).unwrap_err().to_string();
            assert!(text.contains(what), "{text}");
        };
        refused(ContinuumOptions { every: vec![1], ..base() }, "each of 2 layers");
        refused(ContinuumOptions { every: vec![1, 0], ..base() }, "positive number");
        refused(ContinuumOptions { sizes: vec![2, 0, 1], ..base() }, "perceptron");
        refused(ContinuumOptions { rate: f64::NAN, ..base() }, "rate");
        let sven = optim::SvenConfig::default().into();
        refused(ContinuumOptions { optimizer: sven, ..base() }, "needs more than gradients");
        let mut memory = Continuum::<f64>::new(&base()).unwrap();
        let before = memory.params().to_vec();
        assert!(
            memory.observe(&[1.0], &[0.0]).is_err() && memory.observe(&[1.0, f64::INFINITY], &[0.0]).is_err()
        );
        assert_eq!(memory.params(), before);
    }
}
