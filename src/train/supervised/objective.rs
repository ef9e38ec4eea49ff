//! Losses of rows: z what the model gives for a row, y its target, w its weight.
//!
//! ```text
//! L = share sum_s w_s l(z_s, y_s)
//!
//! squared         l = (z - y)^2
//! huber           l = d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2),   d = z - y                  (Huber 1964)
//! gaussian        l = ((m - y)^2 e^-v + v + log 2 pi) / 2,   z = (m, v): mean and logarithm of the variance (Nix and Weigend 1994)
//! poisson         l = e^z - y z: the likelihood of a count y of rate e^z without log y!
//! quantile        l = max(q e, (q - 1) e),   e = y - z, mean over the levels q                              (Koenker and Bassett 1978)
//! cross_entropy   l = log sum_c e^(z_c) - z_y,   y the place of the class
//! ```
//!
//! Losses of numbers are means over the targets of a row. With several targets z holds all means, then all logarithms of variances; for quantiles all targets
//! of the first level, then those of the second.

use serde::{Deserialize, Serialize};

use super::source::Rows;
use crate::linalg::Scalar;
use crate::train::error::TrainError;
use crate::train::task::{Evaluation, Plot};

/// A loss of a user's own, or one of [`StandardLoss`].
pub trait Objective<T: Scalar> {
    /// share x sum over the rows of weight x loss; ADDS its derivative to `z_bar`. `z` holds the model's outputs, row after row.
    fn loss(&mut self, z: &[T], of: &Rows<T>, share: f64, z_bar: Option<&mut [T]>) -> f64;
    /// For optimizers of residuals: adds to `r` the residuals of all rows, as many a row, and to `w` the derivative of each by the outputs of its row; a residual is zero where the loss is
    /// least. False, the default: there are none.
    fn residuals(&self, z: &[T], of: &Rows<T>, r: &mut Vec<f64>, w: &mut Vec<T>) -> bool {
        let _ = (z, of, r, w);
        false
    }
    /// How many predictions are right, for classification.
    fn right(&self, z: &[T], of: &Rows<T>) -> Option<usize> {
        let _ = (z, of);
        None
    }
    /// Adds to what an evaluation found, from all rows of a split; their inputs are not there.
    fn scores(&self, z: &[T], of: &Rows<T>, found: &mut Evaluation) {
        let _ = (z, of, found);
    }
    /// Pictures of the same.
    fn pictures(&self, z: &[T], of: &Rows<T>) -> Vec<Plot> {
        let _ = (z, of);
        vec![]
    }
}

impl<T: Scalar, O: Objective<T> + ?Sized> Objective<T> for Box<O> {
    fn loss(&mut self, z: &[T], of: &Rows<T>, share: f64, z_bar: Option<&mut [T]>) -> f64 {
        (**self).loss(z, of, share, z_bar)
    }
    fn residuals(&self, z: &[T], of: &Rows<T>, r: &mut Vec<f64>, w: &mut Vec<T>) -> bool {
        (**self).residuals(z, of, r, w)
    }
    fn right(&self, z: &[T], of: &Rows<T>) -> Option<usize> {
        (**self).right(z, of)
    }
    fn scores(&self, z: &[T], of: &Rows<T>, found: &mut Evaluation) {
        (**self).scores(z, of, found);
    }
    fn pictures(&self, z: &[T], of: &Rows<T>) -> Vec<Plot> {
        (**self).pictures(z, of)
    }
}

/// Which loss; formulas: [`Objective`]'s module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Of numbers.
    Squared,
    /// Of numbers with outliers.
    Huber,
    /// Mean and variance of numbers.
    Gaussian,
    /// Logarithm of the rate of counts.
    Poisson,
    /// Quantiles of numbers.
    Quantile,
    /// Of classes.
    CrossEntropy,
}

/// A loss with its constants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandardLoss {
    kind: LossKind,
    delta: f64,
    quantiles: Vec<f64>,
    /// Numbers of a row's target, or of classes.
    size: usize,
}

impl StandardLoss {
    /// For this many targets, or classes. Huber's delta is 1, the quantiles 0.1, 0.5 and 0.9.
    ///
    /// # Errors
    /// No target, or fewer than two classes.
    pub fn new(kind: LossKind, size: usize) -> Result<Self, TrainError> {
        let least = 1 + (kind == LossKind::CrossEntropy) as usize;
        if size < least {
            return Err(TrainError::config(format!(
                "the loss is of {size} targets or classes, it must be of {least} at least"
            )));
        }
        Ok(Self { kind, delta: 1.0, quantiles: vec![0.1, 0.5, 0.9], size })
    }
    /// With this threshold of Huber's loss.
    ///
    /// # Errors
    /// It is not positive.
    pub fn with_delta(mut self, delta: f64) -> Result<Self, TrainError> {
        if !(delta > 0.0 && delta.is_finite()) {
            return Err(TrainError::config(format!("the loss: delta is {delta}, it must be positive")));
        }
        self.delta = delta;
        Ok(self)
    }
    /// With these quantiles.
    ///
    /// # Errors
    /// There is none, or they do not ascend between 0 and 1.
    pub fn with_quantiles(mut self, quantiles: &[f64]) -> Result<Self, TrainError> {
        let ok = quantiles.iter().all(|q| *q > 0.0 && *q < 1.0) && quantiles.windows(2).all(|q| q[0] < q[1]);
        if quantiles.is_empty() || !ok {
            let what = format!("the loss: quantiles are {quantiles:?}, they must ascend between 0 and 1");
            return Err(TrainError::config(what));
        }
        self.quantiles = quantiles.to_vec();
        Ok(self)
    }
    /// Which one.
    pub fn kind(&self) -> LossKind {
        self.kind
    }
    /// The quantiles.
    pub fn quantiles(&self) -> &[f64] {
        &self.quantiles
    }
    /// Numbers of a row's target.
    pub fn targets(&self) -> usize {
        if self.kind == LossKind::CrossEntropy { 1 } else { self.size }
    }
    /// Numbers that the model must give for a row.
    pub fn outputs(&self) -> usize {
        match self.kind {
            LossKind::Gaussian => 2 * self.size,
            LossKind::Quantile => self.quantiles.len() * self.size,
            _ => self.size,
        }
    }

    /// The least loss of a row with these targets: that of z = ln y for counts, else zero.
    fn infimum(&self, y: &[f64]) -> f64 {
        match self.kind {
            LossKind::Poisson => {
                let least = |y: &f64| if *y > 0.0 { y - y * y.ln() } else { 0.0 };
                y.iter().map(least).sum::<f64>() / y.len() as f64
            }
            _ => 0.0,
        }
    }
    /// Of one row; calls `bar(i, derivative by z_i)`.
    fn row(&self, z: &[f64], y: &[f64], mut bar: impl FnMut(usize, f64)) -> f64 {
        let k = self.size;
        let share = 1.0 / k as f64;
        let mut each = |f: &mut dyn FnMut(f64, f64) -> (f64, f64)| {
            let mut loss = 0.0;
            for i in 0..k {
                let (l, slope) = f(z[i], y[i]);
                loss += share * l;
                bar(i, share * slope);
            }
            loss
        };
        match self.kind {
            LossKind::Squared => each(&mut |z, y| ((z - y) * (z - y), 2.0 * (z - y))),
            LossKind::Huber => each(&mut |z, y| {
                let (d, delta) = (z - y, self.delta);
                if d.abs() <= delta {
                    (0.5 * d * d, d)
                } else {
                    (delta * (d.abs() - 0.5 * delta), delta * d.signum())
                }
            }),
            LossKind::Poisson => each(&mut |z, y| (z.exp() - y * z, z.exp() - y)),
            LossKind::Gaussian => {
                let mut loss = 0.0;
                for i in 0..k {
                    let (d, v) = (z[i] - y[i], z[k + i]);
                    let precision = (-v).exp();
                    loss += 0.5 * share * (d * d * precision + v + std::f64::consts::TAU.ln());
                    bar(i, share * d * precision);
                    bar(k + i, 0.5 * share * (1.0 - d * d * precision));
                }
                loss
            }
            LossKind::Quantile => {
                let share = share / self.quantiles.len() as f64;
                let mut loss = 0.0;
                for (l, q) in self.quantiles.iter().enumerate() {
                    for i in 0..k {
                        let e = y[i] - z[l * k + i];
                        loss += share * (q * e).max((q - 1.0) * e);
                        let slope = if e > 0.0 { -q } else { 1.0 - q };
                        // At the corner neither side's slope.
                        bar(l * k + i, if e == 0.0 { 0.0 } else { share * slope });
                    }
                }
                loss
            }
            LossKind::CrossEntropy => {
                let top = z.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
                let sum: f64 = z.iter().map(|v| (v - top).exp()).sum();
                let label = y[0] as usize;
                for (c, v) in z.iter().enumerate() {
                    bar(c, (v - top).exp() / sum - (c == label) as u8 as f64);
                }
                sum.ln() + top - z.get(label).copied().unwrap_or(f64::NAN)
            }
        }
    }
}

impl<T: Scalar> Objective<T> for StandardLoss {
    fn loss(&mut self, z: &[T], of: &Rows<T>, share: f64, mut z_bar: Option<&mut [T]>) -> f64 {
        let (m, k) = (self.outputs(), self.targets());
        let (mut zs, mut ys) = (vec![0.0; m], vec![0.0; k]);
        let mut loss = 0.0;
        for (s, w) in of.weight.iter().enumerate() {
            zs.iter_mut().zip(&z[s * m..]).for_each(|(a, b)| *a = b.f64());
            ys.iter_mut().zip(&of.y[s * k..]).for_each(|(a, b)| *a = b.f64());
            // A weight of zero leaves a row out, whatever is in it.
            if *w == 0.0 {
                continue;
            }
            let scale = share * w;
            loss += scale
                * self.row(&zs, &ys, |i, slope| {
                    if let Some(bar) = z_bar.as_deref_mut() {
                        bar[s * m + i] += T::of(scale * slope);
                    }
                });
        }
        loss
    }
    /// Of the squared loss sqrt(w_s) (z - y), one an output. Of the others one a row, the loss itself: w_s (l_s - its infimum), the effective residual l^(kappa / 2) with kappa = 2 (arXiv
    /// 2604.01279). The Gaussian loss has no infimum, and no residuals.
    fn residuals(&self, z: &[T], of: &Rows<T>, r: &mut Vec<f64>, w: &mut Vec<T>) -> bool {
        let (m, k) = (self.outputs(), self.targets());
        if self.kind == LossKind::Gaussian {
            return false;
        }
        let (mut zs, mut ys) = (vec![0.0; m], vec![0.0; k]);
        for (s, weight) in of.weight.iter().enumerate() {
            zs.iter_mut().zip(&z[s * m..]).for_each(|(a, b)| *a = b.f64());
            ys.iter_mut().zip(&of.y[s * k..]).for_each(|(a, b)| *a = b.f64());
            // A weight of zero leaves a row out, whatever is in it.
            let used = *weight > 0.0;
            if self.kind == LossKind::Squared {
                let root = weight.sqrt();
                for i in 0..m {
                    r.push(if used { root * (zs[i] - ys[i]) } else { 0.0 });
                    w.extend((0..m).map(|j| T::of(if i == j { root } else { 0.0 })));
                }
                continue;
            }
            let first = w.len();
            w.resize(first + m, T::ZERO);
            if used {
                let bars = &mut w[first..];
                let loss = self.row(&zs, &ys, |i, slope| bars[i] += T::of(weight * slope));
                r.push(weight * (loss - self.infimum(&ys)));
            } else {
                r.push(0.0);
            }
        }
        true
    }
    fn right(&self, z: &[T], of: &Rows<T>) -> Option<usize> {
        let m = self.outputs();
        let right = |(z, y): (&[T], &T)| top(z).is_some_and(|c| c == y.f64() as usize);
        (self.kind == LossKind::CrossEntropy)
            .then(|| z.chunks_exact(m).zip(&of.y).filter(|r| right(*r)).count())
    }
}

/// The first of the largest; none if one is not a number.
pub(super) fn top<T: Scalar>(z: &[T]) -> Option<usize> {
    let top = (0..z.len()).fold(0, |m, c| if z[c] > z[m] { c } else { m });
    z.iter().all(|v| !v.f64().is_nan()).then_some(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [LossKind; 6] = [
        LossKind::Squared,
        LossKind::Huber,
        LossKind::Gaussian,
        LossKind::Poisson,
        LossKind::Quantile,
        LossKind::CrossEntropy,
    ];

    fn rows(kind: LossKind) -> (StandardLoss, Vec<f64>, Rows<f64>) {
        let loss = StandardLoss::new(kind, 3).unwrap().with_delta(0.7).unwrap();
        let n = 4;
        let z = (0..n * loss.outputs()).map(|i| (1.3 * i as f64 + 0.4).sin()).collect();
        let y = match kind {
            LossKind::CrossEntropy => vec![0.0, 2.0, 1.0, 2.0],
            LossKind::Poisson => (0..12).map(|i| (i % 5) as f64).collect(),
            _ => (0..12).map(|i| 1.5 * (0.7 * i as f64).cos()).collect(),
        };
        (loss, z, Rows { x: vec![], y, weight: vec![1.0, 0.25, 0.0, 2.0] })
    }

    #[test]
    fn derivatives_are_those_of_differences() {
        for kind in ALL {
            let (mut loss, z, of) = rows(kind);
            let mut bar = vec![0.5; z.len()];
            loss.loss(&z, &of, 0.3, Some(&mut bar));
            for i in 0..z.len() {
                let mut at = |h: f64| {
                    let mut z = z.clone();
                    z[i] += h;
                    loss.loss(&z, &of, 0.3, None)
                };
                let h = 1e-6;
                let difference = (at(h) - at(-h)) / (2.0 * h);
                // The derivative is added to what is there.
                assert!(
                    (bar[i] - 0.5 - difference).abs() < 1e-9,
                    "{kind:?} {i}: {} {difference}",
                    bar[i] - 0.5
                );
            }
            // The weight of the third row is zero.
            let m = loss.outputs();
            assert!(bar[2 * m..3 * m].iter().all(|b| *b == 0.5));
        }
    }

    /// Their derivatives by differences; those of the squared loss make it up, the others are the loss of each row above its least.
    #[test]
    fn residuals_and_their_derivatives() {
        for kind in ALL {
            let (mut loss, z, of) = rows(kind);
            let (mut r, mut w) = (vec![], vec![]);
            let there = loss.residuals(&z, &of, &mut r, &mut w);
            assert_eq!(there, kind != LossKind::Gaussian);
            if !there {
                continue;
            }
            let (m, q) = (loss.outputs(), r.len() / 4);
            assert_eq!((q, w.len()), (if kind == LossKind::Squared { 3 } else { 1 }, q * 4 * m));
            for i in 0..z.len() {
                let at = |h: f64| {
                    let (mut z, mut r) = (z.clone(), vec![]);
                    z[i] += h;
                    loss.residuals(&z, &of, &mut r, &mut vec![]);
                    r
                };
                for (j, (a, b)) in at(1e-6).iter().zip(at(-1e-6)).enumerate() {
                    let want = if j / q == i / m { w[j * m + i % m] } else { 0.0 };
                    assert!(((a - b) / 2e-6 - want).abs() < 1e-9, "{kind:?} {i} {j}");
                }
            }
            let least = match kind {
                LossKind::Poisson => {
                    let z: Vec<f64> = of.y.iter().map(|y| f64::max(*y, 1e-300).ln()).collect();
                    loss.loss(&z, &of, 1.0, None)
                }
                _ => 0.0,
            };
            let value = loss.loss(&z, &of, 1.0, None);
            let sum: f64 = if kind == LossKind::Squared {
                r.iter().map(|r| r * r).sum::<f64>() / 3.0
            } else {
                r.iter().sum()
            };
            assert!((sum - (value - least)).abs() < 1e-12 && r.iter().all(|r| q == 3 || *r >= 0.0));
        }
    }

    #[test]
    fn values_by_hand() {
        let of = Rows { x: vec![], y: vec![1.0f64], weight: vec![2.0] };
        let value = |kind, z: &[f64]| {
            StandardLoss::new(kind, if kind == LossKind::CrossEntropy { 2 } else { 1 })
                .unwrap()
                .loss(z, &of, 0.5, None)
        };
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-14, "{a} {b}");
        near(value(LossKind::Squared, &[3.0]), 4.0);
        near(value(LossKind::Huber, &[3.0]), 1.5);
        near(value(LossKind::Huber, &[1.5]), 0.125);
        near(value(LossKind::Poisson, &[0.5]), 0.5f64.exp() - 0.5);
        near(value(LossKind::CrossEntropy, &[0.0, 0.0]), 2f64.ln());
        // The density of N(3, 2^2) at 1.
        let density = (-0.5f64).exp() / (2.0 * std::f64::consts::TAU.sqrt());
        near(value(LossKind::Gaussian, &[3.0, 4f64.ln()]), -density.ln());
        // e = -1 at each level: 0.9, 0.5, 0.1.
        near(value(LossKind::Quantile, &[2.0, 2.0, 2.0]), 0.5);
    }

    /// The least squared, Huber, pinball loss of a constant is at the mean, between, at the quantile.
    #[test]
    fn quantiles_are_quantiles() {
        let y: Vec<f64> = (0..101).map(|i| i as f64).collect();
        let of = Rows { x: vec![], weight: vec![1.0; 101], y };
        let mut loss = StandardLoss::new(LossKind::Quantile, 1).unwrap().with_quantiles(&[0.2]).unwrap();
        let mut best = (f64::INFINITY, 0.0);
        for i in 0..1000 {
            let c = 0.1 * i as f64;
            let l = loss.loss(&vec![c; 101], &of, 1.0, None);
            best = if l < best.0 { (l, c) } else { best };
        }
        assert!((best.1 - 20.0).abs() < 0.05, "{best:?}");
    }

    #[test]
    fn constants_out_of_range_are_refused() {
        let loss = || StandardLoss::new(LossKind::Quantile, 1).unwrap();
        assert!(StandardLoss::new(LossKind::CrossEntropy, 1).is_err() && loss().with_delta(0.0).is_err());
        for bad in [&[][..], &[0.0], &[0.5, 0.5], &[0.9, 1.0]] {
            assert!(loss().with_quantiles(bad).is_err(), "{bad:?}");
        }
    }
}
