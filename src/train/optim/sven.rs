//! Sven: singular value descent (arXiv 2604.01279): every residual is a condition, and a step is the least change that meets them.
//!
//! With residuals r (m of them) and M = dr/dp = U S V',
//!
//! ```text
//! p <- p - a V_k S_k^-power U_k' r,   kept: sigma > rtol sigma_max, at most k
//! ```
//!
//! `power = 1` is the step of minimum norm, truncated Gauss-Newton; 0.5 the half-inverse gradient (Schnell, Holl and Thuerey 2022). In Gram form no M is
//! decomposed: M M' = U L U', w = U_k L_k^(-(1 + power) / 2) U_k' r, and the direction is M'w, one pullback. The Gram matrix squares the condition number:
//! singular values below 1e-7 of the largest are noise there, so smaller `rtol` need `form = "svd"`. `rtol` acts on singular values in both forms.
//!
//! Needs a task that tells its residuals ([`Task::residuals`](crate::train::Task::residuals)).

use serde::{Deserialize, Serialize};

use super::{ByResiduals, Facts, Needs, Optimizer, OptimizerKind, check};
use crate::linalg::{Scalar, Svd, SymmetricEigen};
use crate::nn::Entry;
use crate::train::residual::ResidualTask;

/// What is decomposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// M M'.
    #[default]
    Gram,
    /// M.
    Svd,
}

/// `kind = "sven"`: the least change of parameters that meets all residuals, by truncated singular values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SvenConfig {
    /// Most singular values kept; default 32.
    pub k: usize,
    /// Least singular value kept, as a share of the largest; default 1e-3.
    pub rtol: f64,
    /// Power of the inverse singular values: 1, the default, or 0.5 for half-inverse gradients.
    pub power: f64,
    /// "gram", the default, or "svd".
    pub form: Form,
}

impl Default for SvenConfig {
    fn default() -> Self {
        Self { k: 32, rtol: 1e-3, power: 1.0, form: Form::Gram }
    }
}

/// Below, the eigenvalues of the Gram matrix are rounding.
const GRAM_RTOL: f64 = 1e-6;

impl OptimizerKind for SvenConfig {
    fn problem(&self) -> Option<String> {
        let power = self.power;
        check::at_least_one("k", self.k as u64)
            .or_else(|| check::below_one("rtol", self.rtol))
            .or_else(|| {
                (!(0.0..=1.0).contains(&power))
                    .then(|| format!("optimizer: power is {power}, it must be in [0, 1]"))
            })
            .or_else(|| {
                (self.form == Form::Gram && self.rtol < GRAM_RTOL).then(|| {
                    format!(
                        "optimizer: rtol is {}, below {GRAM_RTOL} the Gram matrix is too coarse: set form = \"svd\"",
                        self.rtol
                    )
                })
            })
    }
    fn needs(&self) -> Needs {
        Needs::Residuals
    }
    fn build<T: Scalar>(&self, _: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Sven {
            config: self.clone(),
            eigen: None,
            svd: None,
            matrix: vec![],
            w: vec![],
            found: (0, 0.0, 0.0),
            count: 0,
        })
    }
}

struct Sven {
    config: SvenConfig,
    eigen: Option<SymmetricEigen>,
    svd: Option<Svd>,
    matrix: Vec<f64>,
    w: Vec<f64>,
    /// How many singular values were kept, the largest and the smallest of them.
    found: (usize, f64, f64),
    count: u64,
}

impl Sven {
    /// How many of the singular values, descending, are kept.
    fn keep(&mut self, sigma: impl Iterator<Item = f64>) -> usize {
        let (mut count, mut first, mut last) = (0, 0.0, 0.0);
        for s in sigma.take(self.config.k) {
            if count == 0 {
                first = s;
            }
            if s <= self.config.rtol * first || s <= 0.0 {
                break;
            }
            (count, last) = (count + 1, s);
        }
        self.found = (count, first, last);
        count
    }

    /// w <- U_k S_k^-(1 + power) U_k' r. False: it could not be made.
    fn weights(&mut self, r: &[f64]) -> bool {
        let m = r.len();
        let mut eigen = match self.eigen.take() {
            Some(eigen) if eigen.n() == m => eigen,
            _ => SymmetricEigen::new(m),
        };
        let made = eigen.compute(&self.matrix);
        self.w.clear();
        self.w.resize(m, 0.0);
        if made {
            let sigma = |j: usize| eigen.values()[m - 1 - j].max(0.0).sqrt();
            let kept = self.keep((0..m).map(sigma));
            for j in 0..kept {
                let u = eigen.vector(m - 1 - j);
                let s = dot(u, r) * sigma(j).powf(-1.0 - self.config.power);
                self.w.iter_mut().zip(u).for_each(|(w, u)| *w += s * u);
            }
        }
        self.eigen = Some(eigen);
        made
    }

    /// w <- V_k S_k^-power U_k' r from the n x m matrix M'. False: it could not be made.
    fn by_svd(&mut self, n: usize, r: &[f64]) -> bool {
        let m = r.len();
        let mut svd = match self.svd.take() {
            Some(svd) if svd.size() == (n, m) => svd,
            _ => Svd::new(n, m),
        };
        let made = svd.compute(&self.matrix);
        self.w.clear();
        self.w.resize(n, 0.0);
        if made {
            let kept = self.keep(svd.values().iter().copied());
            for j in 0..kept {
                let s = dot(svd.right(j), r) * svd.values()[j].powf(-self.config.power);
                self.w.iter_mut().zip(svd.left(j)).for_each(|(w, v)| *w += s * v);
            }
        }
        self.svd = Some(svd);
        made
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl<T: Scalar> Optimizer<T> for Sven {
    /// p <- p - a d.
    fn step(&mut self, rate: f64, p: &mut [T], d: &[T]) {
        self.count += 1;
        let a = T::of(rate);
        p.iter_mut().zip(d).for_each(|(p, d)| *p += -(a * *d));
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
    /// `kept`, how many singular values; `sigma_max` and `sigma_min`, the largest and the smallest of them.
    fn facts(&self, facts: &mut Facts) {
        facts.add("kept", self.found.0 as f64);
        facts.add("sigma_max", self.found.1);
        facts.add("sigma_min", self.found.2);
    }
    fn by_residuals(&mut self) -> Option<&mut dyn ByResiduals<T>> {
        Some(self)
    }
}

impl<T: Scalar> ByResiduals<T> for Sven {
    fn direction(&mut self, r: &[f64], of: &mut dyn ResidualTask<T>, d: &mut [T]) {
        let (m, n) = (r.len(), d.len());
        d.fill(T::ZERO);
        let made = match self.config.form {
            Form::Gram => {
                self.matrix.resize(m * m, 0.0);
                of.gram(&mut self.matrix);
                let made = self.weights(r);
                if made {
                    of.pull(&self.w, d);
                }
                made
            }
            Form::Svd => {
                self.matrix.resize(n * m, 0.0);
                of.rows(&mut self.matrix);
                let made = self.by_svd(n, r);
                d.iter_mut().zip(&self.w).for_each(|(d, w)| *d = T::of(*w));
                made
            }
        };
        if !made {
            d.fill(T::of(f64::NAN));
        }
    }
}
