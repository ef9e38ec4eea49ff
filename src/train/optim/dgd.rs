//! Delta gradient descent (nested learning, arXiv 2512.24695): steps of a layer that take its inputs into account.
//!
//! For y = W x the step from W_k is the minimum of a quadratic model, not a step along its slope. With d = dL/dy of each of m samples and L their mean, G = sum d x' / m,
//!
//! ```text
//! W = argmin 1/(2m) sum |W x - u|^2 + |W - W_k|^2 / (2a),   A = X X' / m
//! target = "label":     u = W_k x - d    ->   W <- W - a G (I + a A)^-1               (implicit step; normalized LMS for squared error)
//! target = "surprise":  u = -d           ->   W <- (W - a G) (I + a A)^-1             (as printed)
//! ```
//!
//! For one sample (I + a x x')^-1 = I - c x x' with c = a / (1 + a |x|^2): the published W (I - c x x') - c d x'. For squared error d = W x - y*, so "label" aims at y* and stays stable at
//! any rate, while the fixed point of "surprise" is W x = y*/2. A loss whose second derivative by y is c instead of 1 (`curvature`; 2 for squares without the half, as those of
//! [`supervised`](crate::train::supervised)) has c A in place of A: with c too small steps overshoot at large rates, with c too large they are short. A bias is one more input that is always 1. Parameters that belong to no layer take W <- W - a G.
//!
//! Needs a task that tells the inputs of its layers ([`Task::layer_inputs`](crate::train::Task::layer_inputs)).

use serde::{Deserialize, Serialize};

use super::{ByInputs, Needs, Optimizer, OptimizerKind, check};
use crate::linalg::{Dense, Scalar, SymmetricEigen};
use crate::nn::{Entry, LayerInputs};

/// What a layer's output is drawn to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// W x - dL/dy.
    #[default]
    Label,
    /// -dL/dy, as published.
    Surprise,
}

/// `kind = "dgd"`: delta gradient descent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DgdConfig {
    /// "label", the default, or "surprise".
    pub target: Target,
    /// c, of the loss by a layer's outputs; default 1, as published.
    pub curvature: f64,
}

impl Default for DgdConfig {
    fn default() -> Self {
        Self { target: Target::Label, curvature: 1.0 }
    }
}

impl OptimizerKind for DgdConfig {
    fn problem(&self) -> Option<String> {
        check::positive("curvature", self.curvature)
    }
    fn needs(&self) -> Needs {
        Needs::LayerInputs
    }
    fn build<T: Scalar>(&self, _: &[Entry]) -> Box<dyn Optimizer<T>> {
        Box::new(Dgd { config: self.clone(), eigen: vec![], wide: vec![], room: vec![], count: 0 })
    }
}

struct Dgd<T> {
    config: DgdConfig,
    /// One for each size.
    eigen: Vec<SymmetricEigen>,
    wide: Vec<f64>,
    room: Vec<T>,
    count: u64,
}

impl<T: Scalar> Optimizer<T> for Dgd<T> {
    /// p <- p - a g.
    fn step(&mut self, rate: f64, p: &mut [T], g: &[T]) {
        self.count += 1;
        let a = T::of(rate);
        p.iter_mut().zip(g).for_each(|(p, g)| *p += -(a * *g));
    }
    fn state(&mut self) -> Vec<(&'static str, &mut Vec<T>)> {
        vec![]
    }
    fn count(&mut self) -> &mut u64 {
        &mut self.count
    }
    fn by_inputs(&mut self) -> Option<&mut dyn ByInputs<T>> {
        Some(self)
    }
}

impl<T: Scalar> Dgd<T> {
    /// The eigen-decomposition of M M' / m of an n x k matrix; none if it has entries that are not finite.
    fn decompose(&mut self, m: Dense<'_, T>, samples: f64) -> Option<&SymmetricEigen> {
        let n = m.nrows();
        self.room.clear();
        self.room.resize(n * n, T::ZERO);
        T::gemm(T::of(1.0 / samples), m, m.t(), false, &mut self.room, 1);
        self.wide.clear();
        self.wide.extend(self.room.iter().map(|v| v.f64()));
        let i = match self.eigen.iter().position(|e| e.n() == n) {
            Some(i) => i,
            None => {
                self.eigen.push(SymmetricEigen::new(n));
                self.eigen.len() - 1
            }
        };
        self.eigen[i].compute(&self.wide).then_some(&self.eigen[i])
    }

    /// B <- B (I + a A)^-1, A = X X' / m, a with the curvature in it, through the smaller one of A and X'X / m; B is rows x inputs.
    fn shrink(&mut self, a: f64, rows: usize, x: Dense<'_, T>, b: &mut [T]) {
        let (n, m) = (x.nrows(), x.ncols());
        let direct = n <= m;
        // (I + a A)^-1 = I - a A (I + a A)^-1 = I - X f(X'X / m) X' with f(l) = (a / m) / (1 + a l).
        let k = n.min(m);
        let Some(eigen) = self.decompose(if direct { x } else { x.t() }, m as f64) else {
            b.fill(T::of(f64::NAN));
            return;
        };
        let mut wide = vec![0.0; k * k];
        if direct {
            eigen.function(|l| 1.0 / (1.0 + a * l.max(0.0)), &mut wide);
        } else {
            eigen.function(|l| -(a / m as f64) / (1.0 + a * l.max(0.0)), &mut wide);
        }
        let f: Vec<T> = wide.iter().map(|v| T::of(*v)).collect();
        let f = Dense::new(&f, k, k);
        let old = b.to_vec();
        let old = Dense::new(&old, rows, n);
        if direct {
            T::gemm(T::ONE, old, f, false, b, 1);
            return;
        }
        let (mut bx, mut bxf) = (vec![T::ZERO; rows * m], vec![T::ZERO; rows * m]);
        T::gemm(T::ONE, old, x, false, &mut bx, 1);
        T::gemm(T::ONE, Dense::new(&bx, rows, m), f, false, &mut bxf, 1);
        T::gemm(T::ONE, Dense::new(&bxf, rows, m), x.t(), true, b, 1);
    }
}

impl<T: Scalar> ByInputs<T> for Dgd<T> {
    fn precondition(&mut self, rate: f64, p: &[T], layers: &[LayerInputs<T>], g: &mut [T]) {
        for layer in layers {
            let (rows, n, m) = (layer.outputs, layer.inputs, layer.batch());
            if m == 0 || rate == 0.0 {
                continue;
            }
            let x = Dense::new(&layer.x, n, m);
            let g = &mut g[layer.range.clone()];
            let c = self.config.curvature;
            if self.config.target == Target::Surprise {
                // G + c W A.
                let mut y = vec![T::ZERO; rows * m];
                let w = Dense::new(&p[layer.range.clone()], rows, n);
                T::gemm(T::of(c / m as f64), w, x, false, &mut y, 1);
                T::gemm(T::ONE, Dense::new(&y, rows, m), x.t(), true, g, 1);
            }
            self.shrink(c * rate, rows, x, g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer of 2 outputs and 3 inputs, the last of them 1, with m samples.
    fn inputs(m: usize) -> LayerInputs<f64> {
        let x = (0..3 * m).map(|k| if k % 3 == 2 { 1.0 } else { ((k * k + 1) as f64).sin() }).collect();
        LayerInputs { range: 0..6, outputs: 2, inputs: 3, x }
    }

    fn targets(m: usize) -> Vec<f64> {
        (0..2 * m).map(|k| (3.0 * k as f64).cos()).collect()
    }

    /// Mean squared error / 2: y - y* for all samples.
    fn errors(w: &[f64], layer: &LayerInputs<f64>, target: &[f64]) -> Vec<f64> {
        let y = |s: usize, i: usize| (0..3).map(|j| w[j * 2 + i] * layer.x[s * 3 + j]).sum::<f64>();
        (0..target.len()).map(|k| y(k / 2, k % 2) - target[k]).collect()
    }

    fn gradient(d: &[f64], layer: &LayerInputs<f64>) -> Vec<f64> {
        let m = layer.batch();
        (0..6)
            .map(|k| (0..m).map(|s| d[s * 2 + k % 2] * layer.x[s * 3 + k / 2]).sum::<f64>() / m as f64)
            .collect()
    }

    fn step(target: Target, rate: f64, w: &mut [f64], layer: &LayerInputs<f64>, y: &[f64]) {
        let mut o = DgdConfig { target, ..DgdConfig::default() }.build::<f64>(&[]);
        let mut g = gradient(&errors(w, layer, y), layer);
        o.by_inputs().unwrap().precondition(rate, w, std::slice::from_ref(layer), &mut g);
        o.step(rate, w, &g);
    }

    /// The new W makes the derivative of the prox objective zero, for fewer and more samples than inputs.
    #[test]
    fn the_step_is_the_proximal_one() {
        for (m, rate) in [(1, 0.3), (2, 5.0), (3, 0.1), (8, 2.0)] {
            let (layer, y) = (inputs(m), targets(m));
            let old = [0.3, -0.2, 0.5, 0.1, -0.7, 0.4];
            let d = errors(&old, &layer, &y);
            for target in [Target::Label, Target::Surprise] {
                let mut w = old;
                step(target, rate, &mut w, &layer, &y);
                let zeros = vec![0.0; y.len()];
                let (now, before) = (errors(&w, &layer, &zeros), errors(&old, &layer, &zeros));
                // W x - u.
                let off: Vec<f64> = (0..d.len())
                    .map(|k| now[k] + d[k] - if target == Target::Label { before[k] } else { 0.0 })
                    .collect();
                let slope = gradient(&off, &layer);
                for k in 0..6 {
                    let zero = slope[k] + (w[k] - old[k]) / rate;
                    assert!(zero.abs() < 1e-12 * (1.0 + 1.0 / rate), "{target:?} {m}: {zero}");
                }
            }
        }
    }

    /// One sample: W (I - c x x') - c d x' and W - c (W x - y*) x', c = a / (1 + a |x|^2).
    #[test]
    fn one_sample_by_the_published_formula() {
        let (layer, y, a) = (inputs(1), targets(1), 0.4);
        let old = [0.3, -0.2, 0.5, 0.1, -0.7, 0.4];
        let (x, d) = (&layer.x, errors(&old, &layer, &y));
        let c = a / (1.0 + a * x.iter().map(|v| v * v).sum::<f64>());
        let (mut label, mut surprise) = (old, old);
        step(Target::Label, a, &mut label, &layer, &y);
        step(Target::Surprise, a, &mut surprise, &layer, &y);
        for k in 0..6 {
            let (i, j) = (k % 2, k / 2);
            let want = old[k] - c * d[i] * x[j];
            assert!((label[k] - want).abs() < 1e-14);
            let wx: f64 = (0..3).map(|j| old[j * 2 + i] * x[j]).sum();
            let want = old[k] - c * wx * x[j] - c * d[i] * x[j];
            assert!((surprise[k] - want).abs() < 1e-14);
        }
    }

    /// Squares without the half, curvature 2: the implicit step, after which every error is its share 1 / (1 + 2 a |x|^2).
    #[test]
    fn curvature_makes_the_step_of_squares_implicit() {
        let (layer, y, a) = (inputs(1), targets(1), 4.0);
        let mut w = [0.3, -0.2, 0.5, 0.1, -0.7, 0.4];
        let before = errors(&w, &layer, &y);
        let twice: Vec<f64> = before.iter().map(|e| 2.0 * e).collect();
        let mut g = gradient(&twice, &layer);
        let mut o = DgdConfig { curvature: 2.0, ..DgdConfig::default() }.build::<f64>(&[]);
        o.by_inputs().unwrap().precondition(a, &w, std::slice::from_ref(&layer), &mut g);
        o.step(a, &mut w, &g);
        let share = 1.0 / (1.0 + 2.0 * a * layer.x.iter().map(|v| v * v).sum::<f64>());
        for (after, before) in errors(&w, &layer, &y).iter().zip(&before) {
            assert!((after - share * before).abs() < 1e-14);
        }
    }

    /// On consistent data "label" finds the map at a rate at which plain descent explodes; "surprise" finds half of it.
    #[test]
    fn fixed_points() {
        let layer = inputs(1);
        let y = targets(1);
        for (target, share) in [(Target::Label, 1.0), (Target::Surprise, 0.5)] {
            let mut w = [0.0; 6];
            (0..400).for_each(|_| step(target, 10.0, &mut w, &layer, &y));
            let found = errors(&w, &layer, &[0.0; 2]);
            assert!((0..2).all(|k| (found[k] - share * y[k]).abs() < 1e-10), "{target:?} {found:?} {y:?}");
        }
    }

    /// Orthogonal inputs, one after another, starting from zeros: what is left of each is its share 1 - c |x|^2 = 1 / (1 + a |x|^2), nothing for c |x|^2 = 1, and none disturbs another.
    #[test]
    fn orthogonal_pairs_are_stored() {
        let mut w = [0.0; 6];
        let keys = [[1.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.5]];
        let values = [[1.0, 2.0], [-1.0, 0.5], [0.3, -4.0]];
        let layer = |x: &[f64; 3]| LayerInputs { range: 0..6, outputs: 2, inputs: 3, x: x.to_vec() };
        let a = 1e5;
        for (x, y) in keys.iter().zip(&values) {
            step(Target::Label, a, &mut w, &layer(x), y);
        }
        for (x, y) in keys.iter().zip(&values) {
            let left = 1.0 / (1.0 + a * x.iter().map(|v| v * v).sum::<f64>());
            for (e, y) in errors(&w, &layer(x), y).iter().zip(y) {
                assert!((e + left * y).abs() < 1e-10, "{e} {}", left * y);
            }
        }
    }
}
