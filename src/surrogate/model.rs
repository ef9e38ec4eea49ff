//! Models for Bayesian optimization: Gaussian processes whose hyper-parameters are fitted.
//!
//! ```text
//! maximize over theta   ln p(y | theta) - sum_i ((theta_i - m_i) / s_i)^2 / 2,   lower <= theta <= upper
//! ```
//!
//! theta are logarithms. The prior of length scales grows like sqrt(d), as distances in [0, 1]^d do: without it a Gaussian process is weak in high dimension
//! (Hvarfner, Hellsten, Nardi, "Vanilla Bayesian optimization performs great in high dimensions", 2024).

use super::SurrogateError;
use super::climb::climb;
use super::gp::Gp;
use super::kernel::{InfiniteWidth, Kernel, Shape, Stationary};

/// A model with an error bar.
pub trait Surrogate: Send {
    /// Learns from n points (n x dim, in [0, 1]) with values of mean 0 and spread 1. The result depends on the data only.
    ///
    /// # Errors
    /// One sentence, if no model can be made of the data.
    fn fit(&mut self, x: &[f64], y: &[f64]) -> Result<(), SurrogateError>;
    /// Mean and variance at some points.
    fn predict(&self, x: &[f64], mean: &mut [f64], variance: &mut [f64]);
    /// Mean and variance at one point, with their derivatives.
    fn predict_gradient(&self, x: &[f64], d_mean: &mut [f64], d_variance: &mut [f64]) -> (f64, f64);
    /// Believes in its own mean at x: what is evaluated already but not known yet. Hyper-parameters stay.
    fn believe(&mut self, x: &[f64]);
    /// Another one of this kind, without data.
    fn fresh(&self) -> Box<dyn Surrogate>;
}

/// Prior and bounds of the logarithm of one hyper-parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// Mean m; the search begins there.
    pub mean: f64,
    /// Standard deviation s; infinite: no opinion.
    pub deviation: f64,
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// A Gaussian process with fitted hyper-parameters.
#[derive(Debug, Clone)]
pub struct GpSurrogate<K> {
    kernel: K,
    /// Of the kernel's logarithms, then of ln s, s the variance of the noise.
    priors: Vec<Prior>,
    /// Added to all kernel parameters but the first: further starts.
    shifts: Vec<f64>,
    gp: Option<Gp<K>>,
}

/// ln s: as good as no noise unless the data say so.
const NOISE: Prior = Prior { mean: -11.5, deviation: 3.0, lower: -16.1, upper: 0.0 };

impl GpSurrogate<Stationary> {
    fn stationary(dim: usize, mean: f64, deviation: f64) -> Self {
        let length = Prior { mean, deviation, lower: -5.0, upper: mean + 5.0 };
        let mut priors = vec![Prior { mean: 0.0, deviation: 1.0, lower: -3.0, upper: 4.0 }];
        priors.extend(vec![length; dim]);
        priors.push(NOISE);
        let kernel = Stationary::new(Shape::Matern52, dim, 1.0, &vec![mean.exp(); dim]);
        Self { kernel, priors, shifts: vec![0.0, -1.5, -3.0], gp: None }
    }
    /// Matern 5/2, a length scale for each variable, their prior as wide as sqrt(dim): the default.
    pub fn matern(dim: usize) -> Self {
        Self::stationary(dim, std::f64::consts::SQRT_2 + 0.5 * (dim as f64).ln() - 1.0, 1.0)
    }
    /// The same with a prior that does not grow with the dimension, for comparisons.
    pub fn matern_unscaled(dim: usize) -> Self {
        Self::stationary(dim, -0.7, 0.7)
    }
}

impl GpSurrogate<InfiniteWidth> {
    /// The Gaussian process of a ReLU network with three hidden layers of infinite width.
    pub fn infinite_width(dim: usize) -> Self {
        let priors = vec![
            Prior { mean: 0.0, deviation: 1.5, lower: -4.0, upper: 4.0 },
            Prior { mean: -1.0, deviation: 1.5, lower: -6.0, upper: 3.0 },
            NOISE,
        ];
        Self {
            kernel: InfiniteWidth::new(dim, 3, 1.0, (-1.0f64).exp()),
            priors,
            shifts: vec![0.0, -1.0, 1.0],
            gp: None,
        }
    }
}

impl<K: Kernel> GpSurrogate<K> {
    /// The process, once fitted.
    pub fn process(&self) -> Option<&Gp<K>> {
        self.gp.as_ref()
    }
    /// Gradient and value of what is maximized; NaN where the covariance cannot be factored.
    fn score(&self, gp: &mut Gp<K>, theta: &[f64], gradient: Option<&mut [f64]>) -> f64 {
        if gp.set_theta(theta).is_err() {
            return f64::NAN;
        }
        let offsets = || theta.iter().zip(&self.priors).map(|(t, p)| (t - p.mean) / p.deviation);
        if let Some(g) = gradient {
            gp.likelihood_gradient(g);
            g.iter_mut().zip(offsets()).zip(&self.priors).for_each(|((g, o), p)| *g -= o / p.deviation);
        }
        gp.log_likelihood() - 0.5 * offsets().map(|o| o * o).sum::<f64>()
    }
}

impl<K: Kernel + 'static> Surrogate for GpSurrogate<K> {
    fn fit(&mut self, x: &[f64], y: &[f64]) -> Result<(), SurrogateError> {
        let wrong = |e: crate::linalg::NotPositive| SurrogateError::new(format!("Gaussian process: {e}"));
        let bounds: (Vec<f64>, Vec<f64>) = self.priors.iter().map(|p| (p.lower, p.upper)).unzip();
        let mut gp = Gp::new(self.kernel.clone(), self.priors[self.priors.len() - 1].mean.exp(), x, y)
            .map_err(wrong)?;
        let last = self.priors.len() - 1;
        let starts = self.shifts.iter().map(|shift| {
            let moved = |(k, p): (usize, &Prior)| if k == 0 || k == last { p.mean } else { p.mean + shift };
            self.priors.iter().enumerate().map(moved).collect::<Vec<f64>>()
        });
        let scored = starts.map(|t| (self.score(&mut gp, &t, None), t)).filter(|s| s.0.is_finite());
        let best = scored.fold(None, |best: Option<(f64, Vec<f64>)>, s| match best {
            Some(b) if b.0 >= s.0 => Some(b),
            _ => Some(s),
        });
        let Some((_, start)) = best else {
            return Err(SurrogateError::new(
                "Gaussian process: the data have no likelihood: are all values finite?",
            ));
        };
        let objective = |t: &[f64], g: &mut [f64]| self.score(&mut gp, t, Some(g));
        let (theta, _) = climb(objective, &start, (&bounds.0, &bounds.1), 30);
        gp.set_theta(&theta).map_err(wrong)?;
        self.gp = Some(gp);
        Ok(())
    }
    fn predict(&self, x: &[f64], mean: &mut [f64], variance: &mut [f64]) {
        match &self.gp {
            Some(gp) => gp.predict(x, mean, variance),
            None => {
                mean.fill(0.0);
                variance.fill(1.0);
            }
        }
    }
    fn predict_gradient(&self, x: &[f64], d_mean: &mut [f64], d_variance: &mut [f64]) -> (f64, f64) {
        match &self.gp {
            Some(gp) => gp.predict_gradient(x, d_mean, d_variance),
            None => {
                d_mean.fill(0.0);
                d_variance.fill(0.0);
                (0.0, 1.0)
            }
        }
    }
    fn believe(&mut self, x: &[f64]) {
        if let Some(gp) = &mut self.gp {
            let (mut mean, mut variance) = ([0.0], [0.0]);
            gp.predict(x, &mut mean, &mut variance);
            // A point whose covariance cannot be appended says nothing new.
            let _ = gp.append(x, mean[0]);
        }
    }
    fn fresh(&self) -> Box<dyn Surrogate> {
        Box::new(Self { gp: None, ..self.clone() })
    }
}

/// The most likely Gaussian process (Matern 5/2, variance 1, one length scale) on a grid of length scales and variances of the noise: for many variables and
/// few points, where a scale for each variable cannot be learned.
///
/// # Errors
/// One sentence, if none of them can be made of the data.
pub fn most_likely(
    x: &[f64],
    dim: usize,
    y: &[f64],
    lengths: &[f64],
    noises: &[f64],
) -> Result<Gp<Stationary>, SurrogateError> {
    let mut best: Option<Gp<Stationary>> = None;
    for length in lengths {
        for noise in noises {
            let kernel = Stationary::new(Shape::Matern52, dim, 1.0, &[*length]);
            let Ok(gp) = Gp::new(kernel, *noise, x, y) else { continue };
            if gp.log_likelihood().is_finite()
                && best.as_ref().is_none_or(|b| gp.log_likelihood() > b.log_likelihood())
            {
                best = Some(gp);
            }
        }
    }
    best.ok_or_else(|| {
        SurrogateError::new("Gaussian process: no point of the grid has a likelihood: are all values finite?")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitted_length_scales_find_the_variable_that_matters() {
        let n = 30;
        let x: Vec<f64> = (0..2 * n).map(|k| ((k * 37 + 11) % 61) as f64 / 61.0).collect();
        let y: Vec<f64> = x.chunks(2).map(|x| 1.4 * (6.0 * x[0]).sin()).collect();
        let mut model = GpSurrogate::matern(2);
        model.fit(&x, &y).unwrap();
        let theta = model.process().unwrap().kernel().theta();
        assert!(theta[2] > theta[1] + 1.0, "{theta:?}");
        let (mut mean, mut variance) = ([0.0], [0.0]);
        model.predict(&[0.4, 0.9], &mut mean, &mut variance);
        assert!((mean[0] - 1.4 * (2.4f64).sin()).abs() < 0.02, "{mean:?}");
        // It believes in its mean: the mean stays, the variance vanishes.
        model.believe(&[0.4, 0.9]);
        let (mut again, mut after) = ([0.0], [0.0]);
        model.predict(&[0.4, 0.9], &mut again, &mut after);
        assert!((again[0] - mean[0]).abs() < 1e-6 && after[0] <= variance[0]);
    }

    #[test]
    fn the_grid_finds_the_scale_of_the_data() {
        let x: Vec<f64> = (0..40).map(|k| k as f64 / 39.0).collect();
        let y: Vec<f64> = x.iter().map(|x| (12.0 * x).sin()).collect();
        let gp = most_likely(&x, 1, &y, &[0.01, 0.2, 20.0], &[1e-6, 1e-1]).unwrap();
        assert_eq!((gp.kernel().theta()[1], gp.noise()), (0.2f64.ln(), 1e-6));
        assert!(most_likely(&x, 1, &[f64::NAN; 40], &[0.2], &[0.1]).is_err());
    }

    #[test]
    fn the_fit_is_a_stationary_point() {
        let x: Vec<f64> = (0..12).map(|k| k as f64 / 11.0).collect();
        let y: Vec<f64> = x.iter().map(|x| (5.0 * x).cos()).collect();
        let mut model = GpSurrogate::matern(1);
        model.fit(&x, &y).unwrap();
        let mut gp = model.process().unwrap().clone();
        let mut theta = gp.kernel().theta().to_vec();
        theta.push(gp.noise().ln());
        let best = model.score(&mut gp, &theta, None);
        for j in 0..theta.len() {
            for h in [-0.3, 0.3] {
                let mut t = theta.clone();
                t[j] = (t[j] + h).clamp(model.priors[j].lower, model.priors[j].upper);
                assert!(model.score(&mut gp, &t, None) <= best + 1e-3, "{j} {h}");
            }
        }
    }
}
