//! First-order optimizers. All minimize; g is the gradient, a the learning rate of the step, t the step counted from 1.

use serde::{Deserialize, Serialize};

use crate::linalg::Scalar;

/// One step changes parameters and internal state. A new optimizer implements three methods.
pub trait Optimizer<T: Scalar>: Send {
    /// Changes `p` by one step with gradient `g` and learning rate `rate`.
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]);
    /// Its vectors by name, each as long as the parameters: what a checkpoint must hold besides the count.
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)>;
    /// Steps done.
    fn count(&mut self) -> &mut u64;
}

/// Which optimizer, with its constants; the learning rate is a [`Schedule`](super::Schedule) apart from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// v <- momentum v - a g, p <- p + v.
    Sgd {
        /// Momentum; default 0.9.
        #[serde(default = "nine_tenths")]
        momentum: f64,
    },
    /// Kingma and Ba 2015: m, v averages of g, g^2 (decays beta1 = 0.9, beta2 = 0.999), p <- p - a m^ / (sqrt(v^) + epsilon), m^ = m / (1 - beta1^t).
    Adam {
        /// beta1; default 0.9.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// beta2; default 0.999.
        #[serde(default = "beta2")]
        beta2: f64,
        /// epsilon; default 1e-8.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019): also p <- p - a decay p.
    #[serde(rename = "adamw")]
    AdamW {
        /// beta1; default 0.9.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// beta2; default 0.999.
        #[serde(default = "beta2")]
        beta2: f64,
        /// epsilon; default 1e-8.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Weight decay; default 0.01.
        #[serde(default = "decay")]
        decay: f64,
    },
    /// Kingma and Ba 2015: u <- max(beta2 u, |g|), p <- p - a m^ / (u + epsilon).
    #[serde(rename = "adamax")]
    AdaMax {
        /// beta1; default 0.9.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// beta2; default 0.999.
        #[serde(default = "beta2")]
        beta2: f64,
        /// epsilon; default 1e-8.
        #[serde(default = "epsilon")]
        epsilon: f64,
    },
    /// Zhuang et al. 2020: s average of (g - m)^2, + epsilon each step, p <- p - a m^ / (sqrt(s^) + epsilon).
    #[serde(rename = "adabelief")]
    AdaBelief {
        /// beta1; default 0.9.
        #[serde(default = "nine_tenths")]
        beta1: f64,
        /// beta2; default 0.999.
        #[serde(default = "beta2")]
        beta2: f64,
        /// epsilon; default 1e-16.
        #[serde(default = "tiny")]
        epsilon: f64,
    },
}

fn nine_tenths() -> f64 {
    0.9
}
fn beta2() -> f64 {
    0.999
}
fn epsilon() -> f64 {
    1e-8
}
fn tiny() -> f64 {
    1e-16
}
fn decay() -> f64 {
    0.01
}

impl OptimizerConfig {
    /// For n parameters.
    pub fn build<T: Scalar>(&self, n: usize) -> Box<dyn Optimizer<T>> {
        let zeros = || vec![T::ZERO; n];
        let moments = |second, betas, epsilon, decay| -> Box<dyn Optimizer<T>> {
            Box::new(Moments { second, betas, epsilon, decay, m: zeros(), v: zeros(), count: 0 })
        };
        match *self {
            Self::Sgd { momentum } => Box::new(Sgd { momentum, v: zeros(), count: 0 }),
            Self::Adam { beta1, beta2, epsilon } => moments(Second::Square, (beta1, beta2), epsilon, 0.0),
            Self::AdamW { beta1, beta2, epsilon, decay } => {
                moments(Second::Square, (beta1, beta2), epsilon, decay)
            }
            Self::AdaMax { beta1, beta2, epsilon } => moments(Second::Max, (beta1, beta2), epsilon, 0.0),
            Self::AdaBelief { beta1, beta2, epsilon } => {
                moments(Second::Belief, (beta1, beta2), epsilon, 0.0)
            }
        }
    }
    /// What is wrong with the constants, if anything.
    pub fn problem(&self) -> Option<String> {
        let below_one = |name: &str, x: f64| {
            (!(0.0..1.0).contains(&x)).then(|| format!("optimizer: {name} is {x}, it must be in [0, 1)"))
        };
        let betas = |b1, b2, eps: f64| {
            let eps = (!(eps > 0.0 && eps.is_finite()))
                .then(|| format!("optimizer: epsilon is {eps}, it must be positive"));
            below_one("beta1", b1).or(below_one("beta2", b2)).or(eps)
        };
        match *self {
            Self::Sgd { momentum } => below_one("momentum", momentum),
            Self::Adam { beta1, beta2, epsilon }
            | Self::AdaMax { beta1, beta2, epsilon }
            | Self::AdaBelief { beta1, beta2, epsilon } => betas(beta1, beta2, epsilon),
            Self::AdamW { beta1, beta2, epsilon, decay } => betas(beta1, beta2, epsilon).or_else(|| {
                (!(decay >= 0.0 && decay.is_finite()))
                    .then(|| format!("optimizer: decay is {decay}, it must be at least zero"))
            }),
        }
    }
}

struct Sgd<T> {
    momentum: f64,
    v: Vec<T>,
    count: u64,
}

impl<T: Scalar> Optimizer<T> for Sgd<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let (rho, a) = (T::of(self.momentum), T::of(rate));
        for ((p, g), v) in p.iter_mut().zip(g).zip(&mut self.v) {
            *v = rho * *v - a * *g;
            *p += *v;
        }
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![("momentum", &mut self.v)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

/// What the second moment is made of.
#[derive(Clone, Copy, PartialEq)]
enum Second {
    /// g^2.
    Square,
    /// The running maximum of |g|.
    Max,
    /// (g - m)^2 + epsilon.
    Belief,
}

/// The Adam family.
struct Moments<T> {
    second: Second,
    betas: (f64, f64),
    epsilon: f64,
    decay: f64,
    m: Vec<T>,
    v: Vec<T>,
    count: u64,
}

impl<T: Scalar> Optimizer<T> for Moments<T> {
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let t = self.count as f64;
        let (b1, b2) = self.betas;
        // The correction of the first moment joins the rate.
        let a = T::of(rate / (1.0 - b1.powf(t)));
        let correct = T::of(1.0 / (1.0 - b2.powf(t)));
        let shrink = T::of(rate * self.decay);
        let (c1, c2, eps) = (T::of(1.0 - b1), T::of(1.0 - b2), T::of(self.epsilon));
        let (b1, b2) = (T::of(b1), T::of(b2));
        for (((p, g), m), v) in p.iter_mut().zip(g).zip(&mut self.m).zip(&mut self.v) {
            *m = b1 * *m + c1 * *g;
            let scale = match self.second {
                Second::Square => {
                    *v = b2 * *v + c2 * *g * *g;
                    (*v * correct).sqrt()
                }
                Second::Max => {
                    let (old, new) = (b2 * *v, g.abs());
                    *v = if new > old { new } else { old };
                    *v
                }
                Second::Belief => {
                    let d = *g - *m;
                    *v = b2 * *v + c2 * d * d + eps;
                    (*v * correct).sqrt()
                }
            };
            *p += -(shrink * *p) - a * *m / (scale + eps);
        }
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![("first_moment", &mut self.m), ("second_moment", &mut self.v)]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
}

/// |g| before clipping; with a limit, g is scaled down to it. A norm that is not finite leaves g as it is.
pub fn clip_norm<T: Scalar>(g: &mut [T], limit: Option<f64>) -> f64 {
    let norm = g.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt();
    if let Some(limit) = limit.filter(|l| norm.is_finite() && norm > *l) {
        let scale = T::of(limit / norm);
        g.iter_mut().for_each(|g| *g *= scale);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<OptimizerConfig> {
        let (beta1, beta2, epsilon) = (0.9, 0.999, 1e-8);
        vec![
            OptimizerConfig::Sgd { momentum: 0.9 },
            OptimizerConfig::Adam { beta1, beta2, epsilon },
            OptimizerConfig::AdamW { beta1, beta2, epsilon, decay: 0.1 },
            OptimizerConfig::AdaMax { beta1, beta2, epsilon },
            OptimizerConfig::AdaBelief { beta1, beta2, epsilon: 1e-16 },
        ]
    }

    /// Two steps with gradients 0.5 and -0.2, rate 0.1, from p = 1, by the papers' formulas written out.
    #[test]
    fn two_steps_by_hand() {
        let (g1, g2, a) = (0.5f64, -0.2f64, 0.1f64);
        let mut want = vec![];
        let v = -a * g1;
        want.push(1.0 + v + (0.9 * v - a * g2));
        let (m1, v1) = (0.1 * g1, 0.001 * g1 * g1);
        let (m2, v2) = (0.9 * m1 + 0.1 * g2, 0.999 * v1 + 0.001 * g2 * g2);
        let hat = |m: f64, v: f64, t: i32| {
            (m / (1.0 - 0.9f64.powi(t))) / ((v / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-8)
        };
        want.push(1.0 - a * hat(m1, v1, 1) - a * hat(m2, v2, 2));
        let after = 1.0 - a * 0.1 - a * hat(m1, v1, 1);
        want.push(after - a * 0.1 * after - a * hat(m2, v2, 2));
        let (u1, u2) = (g1.abs(), (0.999 * g1.abs()).max(g2.abs()));
        want.push(1.0 - a * (m1 / 0.1) / (u1 + 1e-8) - a * (m2 / (1.0 - 0.81)) / (u2 + 1e-8));
        let s1 = 0.001 * (g1 - m1).powi(2) + 1e-16;
        let s2 = 0.999 * s1 + 0.001 * (g2 - m2).powi(2) + 1e-16;
        let bel = |m: f64, s: f64, t: i32| {
            (m / (1.0 - 0.9f64.powi(t))) / ((s / (1.0 - 0.999f64.powi(t))).sqrt() + 1e-16)
        };
        want.push(1.0 - a * bel(m1, s1, 1) - a * bel(m2, s2, 2));
        for (config, want) in all().iter().zip(want) {
            let mut o = config.build::<f64>(1);
            let mut p = [1.0];
            o.step(a, &mut p, &[g1]);
            o.step(a, &mut p, &[g2]);
            assert!((p[0] - want).abs() < 1e-14, "{config:?}: {} {want}", p[0]);
            assert_eq!(*o.count(), 2);
        }
    }

    #[test]
    fn all_minimize_a_quadratic() {
        for config in all() {
            let mut o = config.build::<f64>(2);
            let mut p = [3.0, -2.0];
            for n in 0..3000 {
                let g = [p[0] - 1.0, 10.0 * (p[1] - 0.5)];
                o.step(0.05 / (1.0 + 0.01 * n as f64), &mut p, &g);
            }
            let shrunk = matches!(config, OptimizerConfig::AdamW { .. });
            let near = if shrunk { 0.2 } else { 1e-3 };
            assert!((p[0] - 1.0).abs() < near && (p[1] - 0.5).abs() < near, "{config:?} {p:?}");
        }
    }

    #[test]
    fn state_restores_the_trajectory() {
        for config in all() {
            let gradient = |p: &[f32; 2]| [p[0] * 3.0 - 1.0, p[1].sin()];
            let mut a = config.build::<f32>(2);
            let mut p = [1.0f32, 2.0];
            for _ in 0..5 {
                let g = gradient(&p);
                a.step(0.01, &mut p, &g);
            }
            let mut b = config.build::<f32>(2);
            let saved: Vec<Vec<f32>> = a.state().into_iter().map(|(_, v)| v.clone()).collect();
            b.state().into_iter().zip(saved).for_each(|((_, v), s)| *v = s);
            *b.count() = *a.count();
            let mut q = p;
            for _ in 0..5 {
                let g = gradient(&p);
                a.step(0.01, &mut p, &g);
                let g = gradient(&q);
                b.step(0.01, &mut q, &g);
            }
            assert_eq!(p, q, "{config:?}");
        }
    }

    #[test]
    fn clipping() {
        let mut g = [3.0, 4.0];
        assert_eq!(clip_norm(&mut g, Some(10.0)), 5.0);
        assert_eq!(g, [3.0, 4.0]);
        assert_eq!(clip_norm(&mut g, Some(1.0)), 5.0);
        assert!((g[0] - 0.6f64).abs() < 1e-15 && (g[1] - 0.8).abs() < 1e-15);
        assert!(clip_norm(&mut [f64::NAN], Some(1.0)).is_nan());
    }
}
