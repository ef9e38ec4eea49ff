//! The second look at a point close to a solution where second derivatives are learned: a learned B says nothing of the problem.
//!
//! With d the step of the learned K for (-g, 0), the true curvature along d is measured by a difference of gradients of the Lagrangian,
//!
//! ```text
//!     H d = (grad L(x + t d) - grad L(x)) / t,   predicted decrease (g'd)^2 / (2 d'(H + S) d).
//! ```
//!
//! Negative curvature on null(J) is looked for by a few Lanczos steps on the pencil (H + S, B + S): each solve with K takes its vector
//! to null(J). So the units of the variables do not count.

use super::hessian::Of;
use super::kkt::{REFINED, System};
use super::phase::{Solve, linear};
use crate::linalg::{axpy, dot};

/// Lanczos steps: as many gradients.
const STEPS: usize = 6;
/// Their differences reach this far, relative to max(1, |x_j|).
const REACH: f64 = 1e-5;
/// Negative eigenvalues of the pencil count from this share of the largest on.
const NEGATIVE: f64 = 1e-5;
/// A measured step is shortened to this length, and lengthened up to LONGEST while rounding hides the curvature.
const SHORT: f64 = 1e-2;
const LONGEST: f64 = 1e-3;
const LENGTHEN: f64 = 1e3;
/// Rounding of a gradient, in units of the size of its terms.
const ROUNDING: f64 = 10.0 * f64::EPSILON;
/// A step longer than this, relative to 1 + |x_j|, from a solved point: a flat valley.
const FLAT: f64 = 0.1;

/// What the second look at a point close to a solution says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confirmation {
    Solved,
    /// A Newton step would still lower the objective.
    NotYet,
    /// The Lagrangian has negative curvature on the null space of J.
    Saddle,
}

/// Does a step along d still lower the objective by more than tau (1 + |f|)? Is the Lagrangian concave somewhere on null(J)?
pub(super) fn confirm_learned(s: &mut Solve<'_>) -> Confirmation {
    if !s.kkt.is_usable() && !factor(s) {
        return Confirmation::Solved;
    }
    let g: Vec<f64> = s.at.current.lag_grad.iter().map(|g| -g).collect();
    let Some(mut d) = solve(s, &g) else { return Confirmation::Solved };
    let slope = dot(&g, &d);
    if let Some(along) = measure(s, &d) {
        let length = slope / along.curvature;
        let falls = if length > 0.0 { 0.5 * slope * length } else { 0.5 * slope.abs() };
        if falls > s.options.tolerance * (s.problem.form.scale.objective + s.at.current.f.abs()) {
            d.iter_mut().for_each(|d| *d *= along.length);
            s.hessian.learn(&d, &along.change);
            s.kkt.forget();
            return Confirmation::NotYet;
        }
        if length > 0.0 {
            d.iter_mut().for_each(|d| *d *= length);
        }
    }
    if s.hessian.is_unseen() {
        if negative_curvature(s).is_some() {
            return Confirmation::Saddle;
        }
        s.hessian.set_seen();
    }
    s.judge.flat = d.iter().zip(&s.at.current.x).any(|(d, x)| d.abs() > FLAT * (1.0 + x.abs()));
    s.kkt.step[..d.len()].copy_from_slice(&d);
    Confirmation::Solved
}

/// K of the learned Hessian at the current point.
fn factor(s: &mut Solve<'_>) -> bool {
    if s.hessian.observe(&mut s.problem, &s.at.current, Of::Lagrangian).is_err() {
        return false;
    }
    let (p, bounds) = (&s.at.current, &s.problem.form.bounds);
    if bounds.count() > 0 {
        bounds.primal_dual_hessian(&p.x, &p.zl, &p.zu, &mut s.kkt.barrier);
    }
    let (kkt, mut e) = linear(s);
    kkt.fill(&e, System::Optimality);
    kkt.correct_inertia(&mut e, 0.0).is_ok()
}

/// The first part of K^-1 (r, 0).
fn solve(s: &mut Solve<'_>, r: &[f64]) -> Option<Vec<f64>> {
    let n = r.len();
    let (kkt, mut e) = linear(s);
    kkt.rhs[..n].copy_from_slice(r);
    kkt.rhs[n..].fill(0.0);
    kkt.step.fill(0.0);
    kkt.solve(&mut e, REFINED).ok()?;
    let d = &kkt.step[..n];
    d.iter().all(|d| d.is_finite()).then(|| d.to_vec())
}

/// What a difference of gradients says of a direction.
struct Along {
    /// d'(H + S) d.
    curvature: f64,
    /// grad L(x + length d) - grad L(x).
    change: Vec<f64>,
    length: f64,
}

/// Largest entry relative to max(1, |x_j|).
fn size(s: &Solve<'_>, d: &[f64]) -> f64 {
    d.iter().zip(&s.at.current.x).fold(0.0f64, |a, (d, x)| a.max(d.abs() / x.abs().max(1.0)))
}

/// S d.
fn barrier(s: &Solve<'_>, d: &[f64]) -> Vec<f64> {
    d.iter().enumerate().map(|(j, d)| d * s.kkt.barrier.get(j).copied().unwrap_or(0.0)).collect()
}

/// The change of grad L at `length` along d or at the longest that the bounds allow; that length. Overwrites the trial point.
fn change(s: &mut Solve<'_>, d: &[f64], length: f64) -> Option<(Vec<f64>, f64)> {
    let bounds = &s.problem.form.bounds;
    let length = bounds.longest_step(&s.at.current.x, d, 0.5, length);
    s.at.place_x(bounds, d, length);
    let (current, trial) = (&s.at.current, &mut s.at.trial);
    trial.y.copy_from_slice(&current.y);
    trial.zl.copy_from_slice(&current.zl);
    trial.zu.copy_from_slice(&current.zu);
    trial.derivatives(&mut s.problem).ok()?;
    let change: Vec<f64> = trial.lag_grad.iter().zip(&current.lag_grad).map(|(a, b)| a - b).collect();
    (length > 0.0 && change.iter().all(|c| c.is_finite())).then_some((change, length))
}

/// The curvature along d; `None` where rounding hides it.
fn measure(s: &mut Solve<'_>, d: &[f64]) -> Option<Along> {
    let far = size(s, d);
    if !(far > 0.0 && far.is_finite()) {
        return None;
    }
    let p = &s.at.current;
    let terms = s.problem.form.column_terms(&p.jacobian, &p.y);
    let noise: f64 = (0..d.len()).map(|j| ROUNDING * d[j].abs() * (p.grad[j].abs() + terms[j])).sum();
    let through_bounds = dot(d, &barrier(s, d));
    let mut length = (SHORT / far).min(1.0);
    loop {
        if let Some((change, length)) = change(s, d, length) {
            let difference = dot(d, &change);
            if difference.abs() > noise {
                return Some(Along { curvature: difference / length + through_bounds, change, length });
            }
        }
        if length * far >= LONGEST {
            return None;
        }
        length = (LENGTHEN * length).min(LONGEST / far);
    }
}

/// A direction of negative curvature on null(J) into `kkt.step`, descending, as long as x is large; its curvature.
pub(super) fn negative_curvature(s: &mut Solve<'_>) -> Option<f64> {
    if !s.kkt.is_usable() && !factor(s) {
        return None;
    }
    let mut d = lowest(s)?;
    let scale = if dot(&d, &s.at.current.lag_grad) > 0.0 { -1.0 } else { 1.0 } / size(s, &d);
    d.iter_mut().for_each(|d| *d *= scale);
    let curvature = measure(s, &d)?.curvature;
    s.kkt.step.fill(0.0);
    s.kkt.step[..d.len()].copy_from_slice(&d);
    (curvature < 0.0).then_some(curvature)
}

/// The eigenvector of the lowest eigenvalue of the pencil, as far as a few Lanczos steps show it, if that is negative.
fn lowest(s: &mut Solve<'_>) -> Option<Vec<f64>> {
    let n = s.problem.form.n;
    let steps = n.checked_sub(s.problem.form.m)?.min(STEPS);
    let mut r: Vec<f64> = (0..n)
        .map(|j| {
            let seed = ((j * 7919 + 13) % 101) as f64 / 50.5 - 1.0;
            let weight = s.hessian.values().get(j).copied().unwrap_or(1.0);
            seed * (weight + s.kkt.barrier.get(j).copied().unwrap_or(0.0)).sqrt()
        })
        .collect();
    // v_i'(B + S) v_j = delta_ij, u_i = (B + S) v_i but for a part in the range of J'.
    let (mut v, mut u) = (Vec::<Vec<f64>>::new(), Vec::<Vec<f64>>::new());
    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    for _ in 0..steps {
        let mut z = solve(s, &r)?;
        let beta = dot(&r, &z).sqrt();
        let negligible = alphas.iter().fold(0.0f64, |a, b: &f64| a.max(b.abs())) * 1e-8;
        if beta <= negligible || !beta.is_normal() {
            break;
        }
        z.iter_mut().for_each(|z| *z /= beta);
        r.iter_mut().for_each(|r| *r /= beta);
        if !alphas.is_empty() {
            betas.push(beta);
        }
        let reach = REACH / size(s, &z);
        let back: Vec<f64> = z.iter().map(|z| -z).collect();
        let bounds = &s.problem.form.bounds;
        let room = |d: &[f64]| bounds.longest_step(&s.at.current.x, d, 0.5, reach);
        let (direction, sign) = if room(&back) > room(&z) { (&back, -1.0) } else { (&z, 1.0) };
        let (change, length) = change(s, direction, reach)?;
        let mut hz = barrier(s, &z);
        axpy(sign / length, &change, &mut hz);
        alphas.push(dot(&z, &hz));
        v.push(z);
        u.push(std::mem::replace(&mut r, hz));
        for _ in 0..2 {
            for (v, u) in v.iter().zip(&u) {
                axpy(-dot(v, &r), u, &mut r);
            }
        }
    }
    let (value, vector) = lowest_pair(&alphas, &betas)?;
    let largest = alphas.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let mut d = vec![0.0; n];
    v.iter().zip(&vector).for_each(|(v, q)| axpy(*q, v, &mut d));
    (value < -NEGATIVE * largest).then_some(d)
}

/// Lowest eigenvalue of a tridiagonal matrix and its eigenvector, with first entry 1: bisection on the signs of the pivots, then the
/// recurrence, which is stable enough for so few rows.
fn lowest_pair(alphas: &[f64], betas: &[f64]) -> Option<(f64, Vec<f64>)> {
    let beta = |i: usize| betas.get(i).copied().unwrap_or(0.0);
    let k = alphas.len();
    let radius = |i: usize| beta(i) + if i > 0 { beta(i - 1) } else { 0.0 };
    let mut low = (0..k).map(|i| alphas[i] - radius(i)).reduce(f64::min)?;
    let mut high = alphas.iter().copied().reduce(f64::min)?;
    let is_below = |x: f64| {
        let mut pivot = 1.0;
        (0..k).all(|i| {
            let coupling = if i > 0 { beta(i - 1) * beta(i - 1) / pivot } else { 0.0 };
            pivot = alphas[i] - x - coupling;
            pivot > 0.0
        })
    };
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if is_below(middle) { low = middle } else { high = middle }
    }
    let value = 0.5 * (low + high);
    let mut vector = vec![1.0];
    for i in 1..k {
        let before = if i > 1 { beta(i - 2) * vector[i - 2] } else { 0.0 };
        vector.push(((value - alphas[i - 1]) * vector[i - 1] - before) / beta(i - 1));
    }
    (value.is_finite() && vector.iter().all(|q| q.is_finite())).then_some((value, vector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opt::options::{HessianModel, Options};
    use crate::opt::testing::{Dense, Setup};

    fn at_start<R>(mut problem: Dense, y: f64, f: impl FnOnce(&mut Solve<'_>) -> R) -> R {
        let options = Options { scaling: false, hessian: HessianModel::LimitedMemory, ..Options::default() };
        Setup::new(&mut problem, &options).with(|s| {
            let start = s.problem.nlp().meta().x0.clone();
            s.at.current.x.copy_from_slice(&start);
            s.at.current.y.fill(y);
            s.at.current.evaluate(&mut s.problem).unwrap();
            f(s)
        })
    }

    fn double_well() -> Dense {
        Dense {
            f: |x| 0.25 * x[0].powi(4) - 0.5 * x[0] * x[0] + 1e4 * x[1] * x[1],
            grad: |x, g| g.copy_from_slice(&[x[0].powi(3) - x[0], 2e4 * x[1]]),
            ..Dense::new(2, 0, &[0.0, 0.0])
        }
    }

    #[test]
    fn a_saddle_is_seen_and_so_is_a_way_out_of_it() {
        at_start(double_well(), 0.0, |s| {
            assert_eq!(confirm_learned(s), Confirmation::Saddle);
            let curvature = negative_curvature(s).unwrap();
            approx::assert_relative_eq!(curvature, -1.0, max_relative = 1e-2);
            assert!(s.kkt.step[0].abs() > 0.99 && s.kkt.step[1].abs() < 1e-2, "{:?}", s.kkt.step);
        });
        let minimum = Dense {
            meta: {
                let mut m = double_well().meta;
                m.x0[0] = 1.0;
                m
            },
            ..double_well()
        };
        assert_eq!(at_start(minimum, 0.0, confirm_learned), Confirmation::Solved);
    }

    /// x^2 - 3 y^2 on y = 1: concave along y, but not on null(J).
    #[test]
    fn curvature_counts_on_the_null_space_only() {
        let on_a_line = || Dense {
            f: |x| x[0] * x[0] - 3.0 * x[1] * x[1],
            grad: |x, g| g.copy_from_slice(&[2.0 * x[0], -6.0 * x[1]]),
            c: |x, c| c[0] = x[1] - 1.0,
            jac: |_, j| j.copy_from_slice(&[0.0, 1.0]),
            ..Dense::new(2, 1, &[0.0, 1.0])
        };
        assert_eq!(at_start(on_a_line(), 6.0, confirm_learned), Confirmation::Solved);
    }

    /// g = 1e-9 looks small; with curvature 1e-14 it is worth 5e-5.
    #[test]
    fn a_small_gradient_with_a_smaller_curvature_is_no_solution() {
        let flat = Dense {
            f: |x| 0.5e-14 * x[0] * x[0],
            grad: |x, g| g[0] = 1e-14 * x[0],
            ..Dense::new(1, 0, &[1e5])
        };
        assert_eq!(at_start(flat, 0.0, confirm_learned), Confirmation::NotYet);
    }

    #[test]
    fn lowest_eigenpair_of_a_tridiagonal_matrix() {
        let (value, q) = lowest_pair(&[2.0; 4], &[-1.0; 3].map(f64::abs)).unwrap();
        approx::assert_relative_eq!(
            value,
            2.0 - 2.0 * (0.2 * std::f64::consts::PI).cos(),
            max_relative = 1e-12
        );
        approx::assert_relative_eq!(2.0 * q[0] + q[1], value * q[0], max_relative = 1e-10);
        approx::assert_relative_eq!(2.0 * q[3] + q[2], value * q[3], max_relative = 1e-8);
    }
}
