//! What is learned by boosting: losses, their derivatives, and the step along a new part; the table in [`Gbnn`](super::Gbnn)'s module.

/// What is to be learned, one a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Targets<'a> {
    /// Numbers.
    Numbers(&'a [f64]),
    /// Labels 0 and 1.
    TwoClasses(&'a [usize]),
    /// Labels 0..classes.
    Classes {
        /// The labels.
        labels: &'a [usize],
        /// How many classes there are.
        classes: usize,
    },
}

impl Targets<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(y) => y.len(),
            Self::TwoClasses(y) | Self::Classes { labels: y, .. } => y.len(),
        }
    }
    pub(super) fn outputs(&self) -> usize {
        if let Self::Classes { classes, .. } = self { *classes } else { 1 }
    }
    fn sign(&self, i: usize) -> f64 {
        match self {
            Self::TwoClasses(y) => 2.0 * y[i] as f64 - 1.0,
            _ => 0.0,
        }
    }
    /// F_0.
    pub(super) fn start(&self) -> Vec<f64> {
        match self {
            Self::Numbers(y) => vec![y.iter().sum::<f64>() / y.len() as f64],
            Self::TwoClasses(y) => {
                // One class alone would start at infinity.
                let mean = (0..y.len()).map(|i| self.sign(i)).sum::<f64>() / y.len() as f64;
                let mean = mean.clamp(-1.0 + 1e-6, 1.0 - 1e-6);
                vec![0.5 * ((1.0 + mean) / (1.0 - mean)).ln()]
            }
            Self::Classes { classes, .. } => vec![0.0; *classes],
        }
    }
    /// The loss of the values f, a mean over the samples.
    pub fn loss(&self, f: &[f64]) -> f64 {
        let n = self.len();
        let one = |i: usize| match self {
            Self::Numbers(y) => 0.5 * (y[i] - f[i]).powi(2),
            Self::TwoClasses(_) => {
                let m = -2.0 * self.sign(i) * f[i];
                m.max(0.0) + (-m.abs()).exp().ln_1p()
            }
            Self::Classes { labels, classes } => {
                let f = &f[i * classes..][..*classes];
                let top = f.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                top + f.iter().map(|v| (v - top).exp()).sum::<f64>().ln() - f[labels[i]]
            }
        };
        (0..n).map(one).sum::<f64>() / n as f64
    }
    /// r = -d(loss of the sample)/dF.
    pub(super) fn residuals(&self, f: &[f64]) -> Vec<f64> {
        match self {
            Self::Numbers(y) => y.iter().zip(f).map(|(y, f)| y - f).collect(),
            Self::TwoClasses(y) => (0..y.len())
                .map(|i| {
                    let y = self.sign(i);
                    2.0 * y / (1.0 + (2.0 * y * f[i]).exp())
                })
                .collect(),
            Self::Classes { labels, classes } => {
                let mut r: Vec<f64> = f.chunks_exact(*classes).flat_map(softmax).map(|p| -p).collect();
                labels.iter().enumerate().for_each(|(i, l)| r[i * classes + l] += 1.0);
                r
            }
        }
    }
    /// rho for every output: the Newton step along h, 0 where h has no curvature.
    pub(super) fn steps(&self, f: &[f64], r: &[f64], h: &[f64]) -> Vec<f64> {
        let ratio = |a: f64, b: f64| if b > 0.0 && (a / b).is_finite() { a / b } else { 0.0 };
        match self {
            Self::Numbers(_) => vec![1.0],
            Self::TwoClasses(_) => {
                let up = r.iter().zip(h).map(|(r, h)| r * h).sum();
                let curvature = |(i, (r, h)): (usize, (&f64, &f64))| r * (2.0 * self.sign(i) - r) * h * h;
                vec![ratio(up, r.iter().zip(h).enumerate().map(curvature).sum())]
            }
            Self::Classes { classes, .. } => {
                let p: Vec<f64> = f.chunks_exact(*classes).flat_map(softmax).collect();
                let of = |c: usize| {
                    let at = (c..h.len()).step_by(*classes);
                    let up = at.clone().map(|i| h[i] * r[i]).sum();
                    ratio(up, at.map(|i| h[i] * h[i] * p[i] * (1.0 - p[i])).sum())
                };
                (0..*classes).map(of).collect()
            }
        }
    }
    pub(super) fn check(&self) -> Result<(), BoostError> {
        match self {
            Self::Numbers(y) => match y.iter().position(|v| !v.is_finite()) {
                Some(i) => Err(BoostError(format!("target {i} is {}, it must be finite", y[i]))),
                None => Ok(()),
            },
            Self::TwoClasses(y) | Self::Classes { labels: y, .. } => {
                let classes = if let Self::Classes { classes, .. } = self { *classes } else { 2 };
                if classes < 2 {
                    return Err(BoostError(format!("there are {classes} classes, at least 2 are needed")));
                }
                match y.iter().position(|l| *l >= classes) {
                    Some(i) => Err(BoostError(format!("label {i} is {}, labels are below {classes}", y[i]))),
                    None => Ok(()),
                }
            }
        }
    }
}

fn softmax(f: &[f64]) -> Vec<f64> {
    let top = f.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let e: Vec<f64> = f.iter().map(|v| (v - top).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.into_iter().map(|e| e / sum).collect()
}

/// Bad input, as one sentence.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct BoostError(pub(super) String);

#[cfg(test)]
mod tests {
    use super::*;

    fn data(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * 1.7).sin()).collect()
    }
    fn labels(y: &[f64], classes: usize) -> Vec<usize> {
        y.iter()
            .map(|y| ((y + 1.2) / 2.4 * classes as f64).clamp(0.0, classes as f64 - 1.0) as usize)
            .collect()
    }

    #[test]
    fn residuals_are_derivatives_of_the_loss() {
        let y = data(7);
        let (two, three) = (labels(&y, 2), labels(&y, 3));
        let all = [
            Targets::Numbers(&y),
            Targets::TwoClasses(&two),
            Targets::Classes { labels: &three, classes: 3 },
        ];
        for t in all {
            let k = t.outputs();
            let f: Vec<f64> = (0..7 * k).map(|i| (i as f64 * 0.7).sin()).collect();
            let r = t.residuals(&f);
            for i in 0..f.len() {
                let at = |h: f64| {
                    let mut f = f.clone();
                    f[i] += h;
                    7.0 * t.loss(&f)
                };
                let want = -(at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((r[i] - want).abs() < 1e-9, "{t:?} {i}: {} {want}", r[i]);
            }
        }
    }

    /// The step is Newton's along h: numerator and denominator by differences of the loss.
    #[test]
    fn steps_are_newton_steps() {
        let y = data(9);
        let (two, three) = (labels(&y, 2), labels(&y, 3));
        for t in [Targets::TwoClasses(&two), Targets::Classes { labels: &three, classes: 3 }] {
            let k = t.outputs();
            let f: Vec<f64> = (0..9 * k).map(|i| (i as f64 * 0.7).sin()).collect();
            let h: Vec<f64> = (0..9 * k).map(|i| (i as f64 * 1.3).cos()).collect();
            let rho = t.steps(&f, &t.residuals(&f), &h);
            for (c, rho) in rho.iter().enumerate() {
                let at = |a: f64| {
                    let moved: Vec<f64> =
                        (0..f.len()).map(|i| f[i] + if i % k == c { a * h[i] } else { 0.0 }).collect();
                    t.loss(&moved)
                };
                let e = 1e-4;
                let (slope, curvature) =
                    ((at(e) - at(-e)) / (2.0 * e), (at(e) - 2.0 * at(0.0) + at(-e)) / (e * e));
                assert!(
                    (rho + slope / curvature).abs() < 1e-5 * rho.abs().max(1.0),
                    "{c}: {rho} {}",
                    -slope / curvature
                );
            }
        }
    }
}
