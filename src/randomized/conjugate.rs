//! Conjugate gradients for H x = b, H symmetric positive semidefinite, with R'R from a sketch as preconditioner.
//!
//! With a sketch of distortion e the error falls by e a step, whatever the condition of H (Rokhlin and Tygert, PNAS 105, 2008; Avron, Maymounkov, Toledo, "Blendenpik",
//! SISC 32, 2010). Here with products of H itself; [`least_squares`](super::least_squares) works with residuals of the rows.

use super::distortion::Distortion;
use super::factor::Factor;
use crate::error::Error;
use crate::linalg::{axpy, dot, norm2};

/// When to end.
#[derive(Debug, Clone, Copy)]
pub struct CgOptions {
    /// |R^-T (b - H x)| <= relative |R^-T b|.
    pub relative: f64,
    /// Steps at most.
    pub max_steps: usize,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgEnd {
    /// The accuracy was reached.
    Reached,
    /// The limit of steps.
    MaxSteps,
    /// p'H p is not positive beyond rounding: H is not definite along p, or rounding has taken over.
    Curvature,
}

/// What was done.
#[derive(Debug, Clone, Copy)]
pub struct CgReport {
    /// How it ended.
    pub end: CgEnd,
    /// Steps, a product with H each.
    pub steps: usize,
    /// |R^-T (b - H x)| / |R^-T b|, by recurrence.
    pub relative: f64,
    /// How good the sketch was; none without a step.
    pub distortion: Option<Distortion>,
}

/// Improves x from 0 until the accuracy holds. `product(p, hp)` is hp <- H p.
///
/// # Errors
/// Those of `product`.
pub fn conjugate_gradients(
    mut product: impl FnMut(&[f64], &mut [f64]) -> Result<(), Error>,
    factor: &Factor,
    b: &[f64],
    x: &mut [f64],
    options: CgOptions,
) -> Result<CgReport, Error> {
    let n = b.len();
    x.fill(0.0);
    // In the variables y = R x: residual s = R^-T r, direction q; p = R^-1 q.
    let mut s = b.to_vec();
    factor.solve_transposed(&mut s);
    let (mut q, mut p, mut hp) = (s.clone(), vec![0.0; n], vec![0.0; n]);
    let first = norm2(&s);
    let mut square = first * first;
    let (mut alphas, mut betas) = (vec![], vec![]);
    let mut end = CgEnd::MaxSteps;
    if !(first > 0.0 && first.is_finite()) {
        let end = if first == 0.0 { CgEnd::Reached } else { CgEnd::Curvature };
        return Ok(CgReport {
            end,
            steps: 0,
            relative: if first == 0.0 { 0.0 } else { 1.0 },
            distortion: None,
        });
    }
    for _ in 0..options.max_steps {
        p.copy_from_slice(&q);
        factor.solve(&mut p);
        product(&p, &mut hp)?;
        let curvature = dot(&p, &hp);
        if !(curvature > 1e-14 * dot(&q, &q) && curvature.is_finite()) {
            end = CgEnd::Curvature;
            break;
        }
        let alpha = square / curvature;
        axpy(alpha, &p, x);
        factor.solve_transposed(&mut hp);
        axpy(-alpha, &hp, &mut s);
        let next = dot(&s, &s);
        alphas.push(alpha);
        betas.push(next / square);
        square = next;
        if square.sqrt() <= options.relative * first {
            end = CgEnd::Reached;
            break;
        }
        let beta = betas[betas.len() - 1];
        q.iter_mut().zip(&s).for_each(|(q, s)| *q = s + beta * *q);
    }
    Ok(CgReport {
        end,
        steps: alphas.len(),
        relative: square.sqrt() / first,
        distortion: Distortion::of_steps(&alphas, &betas),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{SketchKind, TallMatrix, counter::Counter, sketch};
    use super::*;

    #[test]
    fn the_number_of_steps_does_not_depend_on_the_condition() {
        let (m, n) = (5000, 40);
        for condition in [0.0, 6.0] {
            let c = Counter::new(4, 0);
            let value = |k: usize| c.normal(k as u64) * 10f64.powf(-condition * (k % n) as f64 / n as f64);
            let a = TallMatrix::dense(m, n, (0..m * n).map(value).collect()).unwrap();
            let s = sketch(&a, None, None, SketchKind::Count, 16 * n, 1).unwrap();
            let (mut b, mut x) = (vec![0.0; n], vec![0.0; n]);
            let wanted: Vec<f64> = (0..n)
                .map(|j| 10f64.powf(condition * j as f64 / n as f64) * (1.0 + j as f64).cos())
                .collect();
            a.multiply_normal(None, &wanted, &mut b).unwrap();
            let options = CgOptions { relative: 1e-12, max_steps: 60 };
            let product = |p: &[f64], hp: &mut [f64]| a.multiply_normal(None, p, hp);
            let report = conjugate_gradients(product, &s.factor, &b, &mut x, options).unwrap();
            assert_eq!(report.end, CgEnd::Reached);
            assert!(report.steps < 25, "{report:?}");
            let d = report.distortion.unwrap();
            assert!(d.is_good(n, 16 * n) && d.value() > 0.1, "{d:?}");
            assert!(x.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6 * b.abs().max(1.0)));
        }
    }

    #[test]
    fn nothing_to_do_and_no_curvature() {
        let factor = Factor::of_gram(1, &[1.0]).unwrap();
        let mut x = [7.0];
        let options = CgOptions { relative: 1e-8, max_steps: 5 };
        let none = conjugate_gradients(|_, _| Ok(()), &factor, &[0.0], &mut x, options).unwrap();
        assert_eq!((none.end, none.steps, x), (CgEnd::Reached, 0, [0.0]));
        let negative = |p: &[f64], hp: &mut [f64]| {
            hp[0] = -p[0];
            Ok(())
        };
        let report = conjugate_gradients(negative, &factor, &[1.0], &mut x, options).unwrap();
        assert_eq!(report.end, CgEnd::Curvature);
    }
}
