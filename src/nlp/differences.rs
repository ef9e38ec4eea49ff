//! Central differences with a choice of steps and an estimate of their error.

use crate::nlp::EvalError;

/// Along what to differentiate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction<'a> {
    /// Variable j.
    Column(usize),
    /// A direction with entries of size 1.
    Vector(&'a [f64]),
}

impl Direction<'_> {
    /// As a vector of length n.
    pub fn to_vec(self, n: usize) -> Vec<f64> {
        match self {
            Self::Column(j) => (0..n).map(|k| f64::from(u8::from(k == j))).collect(),
            Self::Vector(v) => v.to_vec(),
        }
    }
}

/// Steps tried.
const STEPS: usize = 9;
/// Largest step, relative to max(1, |x|).
const FIRST: f64 = 1e-2;
/// Ratio of two steps; a power of 2 keeps them exact.
const RATIO: f64 = 4.0;

/// Derivatives of a vector function along a direction. For steps h_k = h_0 / RATIO^k, central differences T_k are extrapolated to
/// R_k = (RATIO^2 T_{k+1} - T_k) / (RATIO^2 - 1), with error O(h^4); of these, each component takes the one that differs least
/// from both its neighbours (after Ridders, Adv. Eng. Software 4, 1982).
#[derive(Debug)]
pub(crate) struct Differences {
    /// The derivative, NaN where no step gave finite values.
    pub value: Vec<f64>,
    /// Estimated error.
    pub error: Vec<f64>,
    quotients: Vec<Vec<f64>>,
    sizes: Vec<f64>,
}

impl Differences {
    /// For a function with `len` components.
    pub fn new(len: usize) -> Self {
        Self {
            value: vec![f64::NAN; len],
            error: vec![f64::INFINITY; len],
            quotients: vec![vec![f64::NAN; len]; STEPS],
            sizes: vec![0.0; len],
        }
    }

    /// Differentiates at x; a failed evaluation counts as not finite.
    pub fn along(
        &mut self,
        x: &[f64],
        direction: Direction<'_>,
        mut eval: impl FnMut(&[f64], &mut [f64]) -> Result<(), EvalError>,
    ) {
        let len = self.value.len();
        let (mut point, mut plus, mut minus) = (x.to_vec(), vec![0.0; len], vec![0.0; len]);
        // A power of 2, so that x + h and x - h are as exact as they can be.
        let size = match direction {
            Direction::Column(j) => x[j].abs().max(1.0),
            Direction::Vector(_) => 1.0,
        };
        let h0 = (FIRST * size).log2().round().exp2();
        let shift = |point: &mut [f64], h: f64| match direction {
            Direction::Column(j) => point[j] = x[j] + h,
            Direction::Vector(v) => point.iter_mut().zip(x).zip(v).for_each(|((p, x), v)| *p = x + h * v),
        };
        let mut h = h0;
        for quotient in &mut self.quotients {
            shift(&mut point, h);
            let right = eval(&point, &mut plus);
            shift(&mut point, -h);
            let left = eval(&point, &mut minus);
            if right.is_err() || left.is_err() {
                quotient.fill(f64::NAN);
            } else {
                for (i, q) in quotient.iter_mut().enumerate() {
                    *q = (plus[i] - minus[i]) / (2.0 * h);
                    self.sizes[i] = self.sizes[i].max(plus[i].abs()).max(minus[i].abs());
                }
            }
            h /= RATIO;
        }
        for i in 0..len {
            (self.value[i], self.error[i]) = self.best(i, h0);
        }
    }

    fn best(&self, i: usize, h0: f64) -> (f64, f64) {
        let square = RATIO * RATIO;
        let mut extrapolated = [f64::NAN; STEPS - 1];
        for (k, r) in extrapolated.iter_mut().enumerate() {
            *r = (square * self.quotients[k + 1][i] - self.quotients[k][i]) / (square - 1.0);
        }
        let mut best = (f64::NAN, f64::INFINITY);
        let mut h = h0;
        for k in 1..STEPS - 2 {
            h /= RATIO;
            let gap = (extrapolated[k] - extrapolated[k - 1]).abs();
            let gap = gap.max((extrapolated[k + 1] - extrapolated[k]).abs());
            // Rounding of the function values themselves, at the smaller of the two steps.
            let error = gap + f64::EPSILON * self.sizes[i] * RATIO / h;
            if error < best.1 {
                best = (extrapolated[k], error);
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_bound_the_error() {
        let mut d = Differences::new(3);
        let x = [0.7, 1.9];
        d.along(&x, Direction::Column(1), |x, out| {
            out.copy_from_slice(&[(x[0] * x[1]).exp(), 1e8 + x[1].sin(), (10.0 * x[1]).cos()]);
            Ok(())
        });
        let exact = [0.7 * (0.7 * 1.9f64).exp(), 1.9f64.cos(), -10.0 * 19f64.sin()];
        for (i, want) in exact.iter().enumerate() {
            let gap = (d.value[i] - want).abs();
            assert!(gap <= 20.0 * d.error[i], "{i}: {gap} {}", d.error[i]);
        }
        assert!(d.error[0] < 1e-9 && d.error[1] < 1e-3 && d.error[2] < 1e-6, "{:?}", d.error);
    }

    #[test]
    fn a_domain_boundary_is_survived_or_reported() {
        let mut d = Differences::new(1);
        // ln x at 1e-3: the two largest steps leave the domain.
        d.along(&[1e-3], Direction::Column(0), |x, out| {
            out[0] = x[0].ln();
            Ok(())
        });
        assert!((d.value[0] - 1e3).abs() <= 20.0 * d.error[0], "{d:?}");
        d.along(&[0.0], Direction::Column(0), |x, out| {
            out[0] = x[0].ln();
            Ok(())
        });
        assert!(d.value[0].is_nan());
    }
}
