//! A Gaussian process on features that a network learns: both by the marginal likelihood.
//!
//! ```text
//! k(x, z) = matern(phi(x), phi(z)),   phi a tanh network;   maximize ln p(y | weights, theta) - |weights|^2 / (2 v) by Adam
//! d ln p / d phi_i = sum_j (a a' - K^-1)_ij dk(phi_i, phi_j)/d phi_i,   and back through the network
//! ```
//!
//! Wilson, Hu, Salakhutdinov, Xing, "Deep kernel learning", AISTATS 2016; as a surrogate: Li, Rudner, Wilson, arXiv 2305.20028 (1000 steps of pre-training and 5000
//! joint ones; here joint ones only, fewer, and a prior of the weights).

use super::SurrogateError;
use super::gp::Gp;
use super::kernel::{Shape, Stationary};
use super::model::Surrogate;
use crate::diff::{At, BarsMut, Init, Kept, Map};
use crate::nn::{Activation, Mlp, Params};
use crate::random::{Purpose, generator};
use crate::train::OptimizerConfig;
use crate::train::optim::AdamConfig;

/// See the module.
#[derive(Debug, Clone)]
pub struct DeepKernel {
    dim: usize,
    /// Width of the two hidden layers; default 32.
    pub width: usize,
    /// Features; default 4.
    pub features: usize,
    /// Steps of Adam; default 400.
    pub steps: usize,
    /// Their rate; default 5e-3.
    pub rate: f64,
    /// v: variance of the weights' prior; default 1.
    pub prior: f64,
    /// Seed; default 0.
    pub seed: u64,
    fitted: Option<(Mlp<f64>, Vec<f64>, Gp<Stationary>)>,
}

/// ln variance, ln length, ln s (the variance of the noise): start, lower, upper.
const THETA: [(f64, f64, f64); 3] = [(0.0, -3.0, 4.0), (0.0, -3.0, 3.0), (-6.9, -13.8, 0.0)];

fn features(map: &mut Mlp<f64>, p: &[f64], x: &[f64]) -> Vec<f64> {
    let mut phi = vec![0.0; x.len() / map.inputs() * map.outputs()];
    map.value(At::new(0.0, x, p), &mut phi);
    phi
}

impl DeepKernel {
    /// With the defaults, for `dim` variables.
    pub fn new(dim: usize) -> Self {
        let (width, features, steps) = (32, 4, 400);
        Self { dim, width, features, steps, rate: 5e-3, prior: 1.0, seed: 0, fitted: None }
    }
    fn process(&self, phi: &[f64], y: &[f64], theta: &[f64]) -> Result<Gp<Stationary>, SurrogateError> {
        let kernel = Stationary::new(Shape::Matern52, self.features, theta[0].exp(), &[theta[1].exp()]);
        Gp::new(kernel, theta[2].exp(), phi, y).map_err(|e| SurrogateError::new(format!("deep kernel: {e}")))
    }
    /// ln p(y) - |w|^2 / (2 v) at (w, theta); g <- its derivative.
    fn score(
        &self,
        map: &mut Mlp<f64>,
        all: &[f64],
        (x, y): (&[f64], &[f64]),
        g: &mut [f64],
    ) -> Result<f64, SurrogateError> {
        let n = map.n_params();
        let (p, theta) = all.split_at(n);
        let mut keep = vec![0.0; map.keep_len(y.len())];
        let mut phi = vec![0.0; y.len() * self.features];
        map.forward(At::new(0.0, x, p), &mut phi, &mut keep);
        let gp = self.process(&phi, y, theta)?;
        let (mut phi_bar, mut unused) = (vec![0.0; phi.len()], vec![0.0; x.len()]);
        let (of_net, of_theta) = g.split_at_mut(n);
        gp.likelihood_gradient_by_points(of_theta, &mut phi_bar);
        of_net.fill(0.0);
        let of = Kept { y: &phi, keep: &keep };
        map.vjp(At::new(0.0, x, p), of, &phi_bar, BarsMut::new(&mut unused, of_net));
        of_net.iter_mut().zip(p).for_each(|(g, p)| *g -= p / self.prior);
        Ok(gp.log_likelihood() - 0.5 * p.iter().map(|p| p * p).sum::<f64>() / self.prior)
    }
}

impl Surrogate for DeepKernel {
    fn fit(&mut self, x: &[f64], y: &[f64]) -> Result<(), SurrogateError> {
        if y.is_empty() || x.len() != self.dim * y.len() || x.iter().chain(y).any(|v| !v.is_finite()) {
            return Err(SurrogateError::new("deep kernel: no data, or numbers that are not finite"));
        }
        let sizes = [self.dim, self.width, self.width, self.features];
        let map = Mlp::dense(&sizes, Activation::Tanh, Activation::Identity, false);
        let mut map = map.map_err(|e| SurrogateError::new(format!("deep kernel: {e}")))?;
        let (mut params, mut rng) = (Params::new(), generator(self.seed, Purpose::Weights as u64, 5));
        params.add_spec("net", map.spec(), &mut rng);
        let n = params.add("theta", &[3], Init::Zeros, &mut rng).start;
        params.values_mut()[n..].copy_from_slice(&THETA.map(|t| t.0));
        let mut adam = OptimizerConfig::from(AdamConfig::default()).build::<f64>(params.entries());
        let mut g = vec![0.0; params.values().len()];
        let mut best = (f64::NEG_INFINITY, params.values().to_vec());
        for _ in 0..=self.steps {
            // A covariance that cannot be factored ends the climb; the best so far stands.
            let Ok(score) = self.score(&mut map, params.values(), (x, y), &mut g) else { break };
            if score > best.0 {
                best = (score, params.values().to_vec());
            }
            g.iter_mut().for_each(|g| *g = -*g);
            adam.step(self.rate, params.values_mut(), &g);
            for (v, (_, lower, upper)) in params.values_mut()[n..].iter_mut().zip(THETA) {
                *v = v.clamp(lower, upper);
            }
        }
        let (p, theta) = best.1.split_at(n);
        let gp = self.process(&features(&mut map, p, x), y, theta)?;
        self.fitted = Some((map, p.to_vec(), gp));
        Ok(())
    }
    fn predict(&self, x: &[f64], mean: &mut [f64], variance: &mut [f64]) {
        match &self.fitted {
            Some((map, p, gp)) => gp.predict(&features(&mut map.clone(), p, x), mean, variance),
            None => {
                mean.fill(0.0);
                variance.fill(1.0);
            }
        }
    }
    fn predict_gradient(&self, x: &[f64], d_mean: &mut [f64], d_variance: &mut [f64]) -> (f64, f64) {
        d_mean.fill(0.0);
        d_variance.fill(0.0);
        let Some((map, p, gp)) = &self.fitted else { return (0.0, 1.0) };
        let mut map = map.clone();
        let (mut phi, mut keep) = (vec![0.0; self.features], vec![0.0; map.keep_len(1)]);
        let at = At::new(0.0, x, p);
        map.forward(at, &mut phi, &mut keep);
        let (mut of_mean, mut of_variance) = (vec![0.0; self.features], vec![0.0; self.features]);
        let found = gp.predict_gradient(&phi, &mut of_mean, &mut of_variance);
        let mut unused = vec![0.0; p.len()];
        for (bar, out) in [(&of_mean, d_mean), (&of_variance, d_variance)] {
            map.vjp(at, Kept { y: &phi, keep: &keep }, bar, BarsMut::new(out, &mut unused));
        }
        found
    }
    fn believe(&mut self, x: &[f64]) {
        if let Some((map, p, gp)) = &mut self.fitted {
            let phi = features(map, p, x);
            let (mut mean, mut variance) = ([0.0], [0.0]);
            gp.predict(&phi, &mut mean, &mut variance);
            // A point whose covariance cannot be appended says nothing new.
            let _ = gp.append(&phi, mean[0]);
        }
    }
    fn fresh(&self) -> Box<dyn Surrogate> {
        Box::new(Self { fitted: None, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> (Vec<f64>, Vec<f64>) {
        let x: Vec<f64> = (0..40).map(|k| ((k * 37 + 11) % 61) as f64 / 61.0).collect();
        // A step: steep in one place, flat elsewhere.
        let y = x.chunks(2).map(|x| (20.0 * (x[0] + 0.3 * x[1] - 0.6)).tanh()).collect();
        (x, y)
    }

    #[test]
    fn the_score_by_differences() {
        let (x, y) = data();
        let model = DeepKernel { width: 6, features: 3, ..DeepKernel::new(2) };
        let mut map = Mlp::dense(&[2, 6, 6, 3], Activation::Tanh, Activation::Identity, false).unwrap();
        let n = map.n_params();
        let mut all: Vec<f64> = (0..n).map(|k| 0.8 * (1.7 * k as f64).sin()).collect();
        all.extend([0.2, -0.3, -3.0]);
        let mut g = vec![0.0; all.len()];
        model.score(&mut map, &all, (&x, &y), &mut g).unwrap();
        let size = g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for k in (0..n).step_by(7).chain(n..n + 3) {
            let mut at = |h: f64| {
                let mut moved = all.clone();
                moved[k] += h;
                model.score(&mut map, &moved, (&x, &y), &mut vec![0.0; all.len()]).unwrap()
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - g[k]).abs() < 1e-6 * size, "{k}: {slope} {}", g[k]);
        }
    }

    #[test]
    fn predictions_follow_the_data_and_have_gradients() {
        let (x, y) = data();
        let mut model = DeepKernel::new(2);
        model.fit(&x, &y).unwrap();
        let at = |m: &DeepKernel, x: [f64; 2]| {
            let (mut mean, mut variance) = ([0.0], [0.0]);
            m.predict(&x, &mut mean, &mut variance);
            (mean[0], variance[0])
        };
        for (x, y) in x.chunks(2).zip(&y) {
            assert!((at(&model, [x[0], x[1]]).0 - y).abs() < 0.1);
        }
        let (x, h) = ([0.45, 0.3], 1e-6);
        let (mut d_mean, mut d_variance) = ([0.0; 2], [0.0; 2]);
        let found = model.predict_gradient(&x, &mut d_mean, &mut d_variance);
        assert!((found.0 - at(&model, x).0).abs() < 1e-9 && (found.1 - at(&model, x).1).abs() < 1e-9);
        for j in 0..2 {
            let (mut up, mut down) = (x, x);
            up[j] += h;
            down[j] -= h;
            let (a, b) = (at(&model, up), at(&model, down));
            let slopes = ((a.0 - b.0) / (2.0 * h), (a.1 - b.1) / (2.0 * h));
            assert!((slopes.0 - d_mean[j]).abs() < 1e-5 * (1.0 + slopes.0.abs()), "{slopes:?} {d_mean:?}");
            assert!(
                (slopes.1 - d_variance[j]).abs() < 1e-5 * (1.0 + slopes.1.abs()),
                "{slopes:?} {d_variance:?}"
            );
        }
        let before = at(&model, x);
        model.believe(&x);
        assert!((at(&model, x).0 - before.0).abs() < 1e-6 && at(&model, x).1 <= before.1);
        assert!(model.fit(&[f64::NAN; 4], &[1.0, 2.0]).is_err());
    }
}
