//! Maximizing a smooth function on a box by the crate's interior point with learned second derivatives.

use crate::nlp::{EvalError, Nlp, NlpMeta};
use crate::observe::Silent;
use crate::opt::{Method, Options, solve};

/// The last point, its value and gradient: value and gradient are asked for one after the other.
struct Last<F> {
    f: F,
    x: Vec<f64>,
    value: f64,
    gradient: Vec<f64>,
}

impl<F: FnMut(&[f64], &mut [f64]) -> f64> Last<F> {
    fn at(&mut self, x: &[f64]) -> f64 {
        if self.x != x {
            self.x.clear();
            self.x.extend_from_slice(x);
            self.value = (self.f)(x, &mut self.gradient);
        }
        self.value
    }
}

/// min -f, second derivatives learned.
struct Climb<F> {
    meta: NlpMeta,
    last: Last<F>,
}

impl<F: FnMut(&[f64], &mut [f64]) -> f64> Nlp for Climb<F> {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        Ok(-self.last.at(x))
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        self.last.at(x);
        g.iter_mut().zip(&self.last.gradient).for_each(|(g, d)| *g = -d);
        Ok(())
    }
    fn cons(&mut self, _: &[f64], _: &mut [f64]) -> Result<(), EvalError> {
        Ok(())
    }
}

/// The best point found from `start` within lower <= x <= upper, and f there: never worse than the start. `f` writes its gradient; NaN says "not here".
/// Coordinates with equal bounds stay.
pub(super) fn climb(
    f: impl FnMut(&[f64], &mut [f64]) -> f64,
    start: &[f64],
    (lower, upper): (&[f64], &[f64]),
    iterations: u64,
) -> (Vec<f64>, f64) {
    let n = start.len();
    let meta = NlpMeta {
        x0: start.to_vec(),
        x_lower: lower.to_vec(),
        x_upper: upper.to_vec(),
        ..NlpMeta::equality("acquisition", n, 0)
    };
    let last = Last { f, x: vec![], value: f64::NAN, gradient: vec![0.0; n] };
    let mut problem = Climb { meta, last };
    let first = problem.last.at(start);
    let unchanged = (start.to_vec(), first);
    let options = Options {
        method: Method::InteriorPoint,
        max_iterations: iterations,
        tolerance: 1e-6,
        restarts: 0,
        presolve: false,
        ..Options::default()
    };
    let Ok(report) = solve(&mut problem, &options, &mut Silent) else { return unchanged };
    let mut x = report.x;
    x.iter_mut().zip(lower).zip(upper).for_each(|((x, l), u)| *x = x.clamp(*l, *u));
    let value = problem.last.at(&x);
    if value > first { (x, value) } else { unchanged }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_maxima_inside_and_on_the_boundary() {
        let bowl = |x: &[f64], g: &mut [f64]| {
            g.copy_from_slice(&[-2.0 * (x[0] - 0.3), -8.0 * (x[1] - 2.0)]);
            -(x[0] - 0.3).powi(2) - 4.0 * (x[1] - 2.0).powi(2)
        };
        let (x, value) = climb(bowl, &[0.9, 0.1], (&[0.0; 2], &[1.0; 2]), 50);
        assert!((x[0] - 0.3).abs() < 1e-3 && x[1] > 1.0 - 1e-4, "{x:?}");
        assert!(value > -4.0 - 1e-2);
        // A coordinate with equal bounds stays.
        let (x, _) = climb(bowl, &[0.9, 0.5], (&[0.0, 0.5], &[1.0, 0.5]), 50);
        assert!((x[0] - 0.3).abs() < 1e-3 && x[1] == 0.5, "{x:?}");
        // What has no value anywhere stays at its start.
        let (x, value) = climb(|_, _| f64::NAN, &[0.2], (&[0.0], &[1.0]), 50);
        assert!(x == [0.2] && value.is_nan());
    }
}
