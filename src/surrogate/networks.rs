//! Networks as models with an error bar: samples of their posterior, and ensembles.
//!
//! ```text
//! Bayesian:  weights a N(0, v / inputs), biases N(0, v);  y = f(x) + N(0, s^2);  members: samples of the posterior by Hamiltonian Monte Carlo
//! ensemble:  members: networks from other initial weights, each trained by Adam on its own 80 % of the data
//! ```
//!
//! Networks are tanh, with one output. Li, Rudner, Wilson, "A study of Bayesian neural network surrogates for Bayesian optimization", arXiv 2305.20028; Lakshminarayanan,
//! Pritzel, Blundell, "Simple and scalable predictive uncertainty estimation using deep ensembles", 2017.

use rand::RngExt;

use super::SurrogateError;
use super::hmc::{HmcOptions, sample};
use super::members::Members;
use super::model::Surrogate;
use crate::diff::{At, BarsMut, Kept, Map};
use crate::linalg::dot;
use crate::nn::{Activation, Layer, Mlp, Params};
use crate::random::{Purpose, generator, normal};
use crate::train::OptimizerConfig;
use crate::train::optim::AdamConfig;

fn network(dim: usize, width: usize) -> Result<Mlp<f64>, SurrogateError> {
    let map = Mlp::dense(&[dim, width, width, 1], Activation::Tanh, Activation::Identity, false);
    map.map_err(|e| SurrogateError::new(format!("network: {e}")))
}

/// sum (f - y)^2 / 2 over the rows; g <- its derivative by the parameters.
struct Squares<'a> {
    map: Mlp<f64>,
    x: &'a [f64],
    y: &'a [f64],
    z: Vec<f64>,
    keep: Vec<f64>,
    unused: Vec<f64>,
}

impl<'a> Squares<'a> {
    fn new(map: Mlp<f64>, x: &'a [f64], y: &'a [f64]) -> Self {
        let keep = vec![0.0; map.keep_len(y.len())];
        Self { map, x, y, z: vec![0.0; y.len()], keep, unused: vec![0.0; x.len()] }
    }
    fn at(&mut self, p: &[f64], g: &mut [f64]) -> f64 {
        let at = At::new(0.0, self.x, p);
        self.map.forward(at, &mut self.z, &mut self.keep);
        let r: Vec<f64> = self.z.iter().zip(self.y).map(|(z, y)| z - y).collect();
        g.fill(0.0);
        let of = Kept { y: &self.z, keep: &self.keep };
        self.map.vjp(at, of, &r, BarsMut::new(&mut self.unused, g));
        0.5 * dot(&r, &r)
    }
}

/// Finite data of the right length.
fn check(dim: usize, x: &[f64], y: &[f64]) -> Result<(), SurrogateError> {
    if y.is_empty() || x.len() != dim * y.len() || x.iter().chain(y).any(|v| !v.is_finite()) {
        return Err(SurrogateError::new("networks: no data, or numbers that are not finite"));
    }
    Ok(())
}

/// A Bayesian network by Hamiltonian Monte Carlo.
#[derive(Debug, Clone)]
pub struct BayesianNetwork {
    dim: usize,
    /// Width of the two hidden layers; default 32.
    pub width: usize,
    /// v; default 4.
    pub prior: f64,
    /// s; default 0.1, values having deviation 1.
    pub noise: f64,
    /// The chain; default 200 + 200 samples of 20 steps.
    pub chain: HmcOptions,
    /// Samples that predict, evenly out of the chain; default 40.
    pub members: usize,
    fitted: Option<Members>,
}

impl BayesianNetwork {
    /// With the defaults, for `dim` variables.
    pub fn new(dim: usize) -> Self {
        let chain = HmcOptions { samples: 200, burn_in: 200, leaps: 20, ..HmcOptions::default() };
        Self { dim, width: 32, prior: 4.0, noise: 0.1, chain, members: 40, fitted: None }
    }
    /// The deviation of every parameter's prior.
    fn deviations(&self, map: &Mlp<f64>) -> Vec<f64> {
        let of_layer = |l: &Layer| {
            let weights = std::iter::repeat_n((self.prior / l.inputs as f64).sqrt(), l.inputs * l.outputs);
            weights.chain(std::iter::repeat_n(self.prior.sqrt(), l.outputs))
        };
        map.layers().iter().flat_map(of_layer).collect()
    }
}

/// One fitted or unfitted model of members: all but the fit is the same.
macro_rules! by_members {
    () => {
        fn predict(&self, x: &[f64], mean: &mut [f64], variance: &mut [f64]) {
            match &self.fitted {
                Some(members) => members.predict(x, mean, variance),
                None => {
                    mean.fill(0.0);
                    variance.fill(1.0);
                }
            }
        }
        fn predict_gradient(&self, x: &[f64], d_mean: &mut [f64], d_variance: &mut [f64]) -> (f64, f64) {
            match &self.fitted {
                Some(members) => members.predict_gradient(x, d_mean, d_variance),
                None => {
                    d_mean.fill(0.0);
                    d_variance.fill(0.0);
                    (0.0, 1.0)
                }
            }
        }
        fn believe(&mut self, x: &[f64]) {
            if let Some(members) = &mut self.fitted {
                members.believe(x);
            }
        }
        fn fresh(&self) -> Box<dyn Surrogate> {
            Box::new(Self { fitted: None, ..self.clone() })
        }
    };
}

impl Surrogate for BayesianNetwork {
    fn fit(&mut self, x: &[f64], y: &[f64]) -> Result<(), SurrogateError> {
        check(self.dim, x, y)?;
        let map = network(self.dim, self.width)?;
        let mut rng = generator(self.chain.seed, Purpose::Weights as u64, 4);
        let scales = self.deviations(&map);
        let (mut squares, weight) = (Squares::new(map.clone(), x, y), 1.0 / (self.noise * self.noise));
        let mut p = vec![0.0; scales.len()];
        // In units of the prior's deviations.
        let mut u = |q: &[f64], g: &mut [f64]| {
            p.iter_mut().zip(q).zip(&scales).for_each(|((p, q), s)| *p = q * s);
            let fit = squares.at(&p, g);
            g.iter_mut().zip(q).zip(&scales).for_each(|((g, q), s)| *g = weight * s * *g + q);
            weight * fit + 0.5 * dot(q, q)
        };
        let start: Vec<f64> = scales.iter().map(|_| 0.3 * normal(&mut rng)).collect();
        let chain = sample(&mut u, &start, &self.chain)?;
        let (n, count) = (scales.len(), self.members.clamp(1, self.chain.samples));
        let member = |k: usize| {
            let at = (k + 1) * self.chain.samples / count - 1;
            chain.samples[at * n..][..n].iter().zip(&scales).map(|(q, s)| q * s).collect()
        };
        self.fitted = Some(Members::new(map, (0..count).map(member).collect()));
        Ok(())
    }
    by_members!();
}

/// An ensemble of networks.
#[derive(Debug, Clone)]
pub struct Ensemble {
    dim: usize,
    /// Width of the two hidden layers; default 32.
    pub width: usize,
    /// Networks; default 10.
    pub networks: usize,
    /// Share of the data that each is trained on; default 0.8.
    pub share: f64,
    /// Steps of Adam; default 1000.
    pub steps: usize,
    /// Their rate; default 3e-3.
    pub rate: f64,
    /// Seed; default 0.
    pub seed: u64,
    fitted: Option<Members>,
}

impl Ensemble {
    /// With the defaults, for `dim` variables.
    pub fn new(dim: usize) -> Self {
        Self { dim, width: 32, networks: 10, share: 0.8, steps: 1000, rate: 3e-3, seed: 0, fitted: None }
    }
}

impl Surrogate for Ensemble {
    fn fit(&mut self, x: &[f64], y: &[f64]) -> Result<(), SurrogateError> {
        check(self.dim, x, y)?;
        let map = network(self.dim, self.width)?;
        let n = y.len();
        let kept = ((self.share * n as f64).round() as usize).clamp(1, n);
        let mut members = vec![];
        for k in 0..self.networks.max(1) {
            let mut rng = generator(self.seed, Purpose::Weights as u64, 100 + k as u64);
            let mut params = Params::new();
            params.add_spec("net", map.spec(), &mut rng);
            let mut rows: Vec<usize> = (0..n).collect();
            for i in 0..kept {
                let j = rng.random_range(i..n);
                rows.swap(i, j);
            }
            let own: Vec<f64> =
                rows[..kept].iter().flat_map(|i| x[i * self.dim..][..self.dim].iter().copied()).collect();
            let values: Vec<f64> = rows[..kept].iter().map(|i| y[*i]).collect();
            let mut squares = Squares::new(map.clone(), &own, &values);
            let mut adam = OptimizerConfig::from(AdamConfig::default()).build::<f64>(params.entries());
            let mut g = vec![0.0; params.values().len()];
            for _ in 0..self.steps {
                squares.at(params.values(), &mut g);
                g.iter_mut().for_each(|g| *g *= 2.0 / kept as f64);
                adam.step(self.rate, params.values_mut(), &g);
            }
            members.push(params.values().to_vec());
        }
        self.fitted = Some(Members::new(map, members));
        Ok(())
    }
    by_members!();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (Vec<f64>, Vec<f64>) {
        let x: Vec<f64> =
            (0..12).map(|k| if k < 6 { 0.07 * f64::from(k) } else { 0.3 + 0.058 * f64::from(k) }).collect();
        let y = x.iter().map(|x| (6.0 * x).sin()).collect();
        (x, y)
    }

    /// Both follow the data and are less sure between and beyond them.
    fn check_model(mut model: Box<dyn Surrogate>) {
        let (x, y) = data();
        model.fit(&x, &y).unwrap();
        let predict = |m: &dyn Surrogate, x: f64| {
            let (mut mean, mut variance) = ([0.0], [0.0]);
            m.predict(&[x], &mut mean, &mut variance);
            (mean[0], variance[0])
        };
        for (x, y) in x.iter().zip(&y) {
            assert!((predict(&*model, *x).0 - y).abs() < 0.3, "{x}");
        }
        let (inside, gap) = (predict(&*model, 0.14).1, predict(&*model, 0.5).1);
        assert!(gap > 2.0 * inside, "{inside} {gap}");
        let mean = predict(&*model, 0.5).0;
        model.believe(&[0.5]);
        assert!(predict(&*model, 0.5).1 < 1e-9 * gap && predict(&*model, 0.5).0 == mean);
        // The same data, the same model.
        let mut again = model.fresh();
        again.fit(&x, &y).unwrap();
        assert_eq!(predict(&*again, 0.5).0, mean);
        assert!(again.fit(&x, &[f64::NAN; 12]).is_err());
    }

    #[test]
    fn samples_of_the_posterior() {
        check_model(Box::new(BayesianNetwork::new(1)));
    }

    #[test]
    fn ensembles() {
        check_model(Box::new(Ensemble { networks: 6, ..Ensemble::new(1) }));
    }

    #[test]
    fn priors_know_the_inputs_of_their_layer() {
        let b = BayesianNetwork { width: 5, prior: 4.0, ..BayesianNetwork::new(2) };
        let scales = b.deviations(&network(2, 5).unwrap());
        let count = |v: f64| scales.iter().filter(|s| (**s - v).abs() < 1e-12).count();
        // 2 x 5 weights of two inputs, 5 x 5 + 5 of five, 11 biases.
        assert_eq!((count(2f64.sqrt()), count(0.8f64.sqrt()), count(2.0)), (10, 30, 11));
    }
}
