//! The scale of the first learned Hessian, before there is a step to learn from: gradients of the Lagrangian at x and at x + h p are
//! subtracted,
//!
//! ```text
//!     p_j = -sign(g_j) u_j,   u_j = |x_j|, or 1 where x_j = 0,   sigma = p'(H p) / p'p
//! ```
//!
//! p is a direction of descent in units that fit the variables. Where |(H p)_j / p_j| differ by orders of magnitude and the variables
//! are few, the units do not fit: then the curvatures along the variables are measured one by one and become the diagonal E.

use super::differences::weighted_gradient;
use crate::linalg::dot;
use crate::opt::iterate::Point;
use crate::opt::problem::{Evaluator, Form};

/// First h. It is shortened as long as the gradient changes by more than this share of itself, or cannot be evaluated.
const STEP: f64 = 1e-6;
const MODERATE: f64 = 0.5;
const SHORTER: f64 = 1e-3;
const MOST_STEPS: u32 = 6;
/// Curvatures that differ by more than this are measured one by one, for so many variables at most.
const SPREAD: f64 = 1e6;
const FEW: usize = 20;
/// The same where one of them is hidden by rounding: this far above the most that it can be.
const SPREAD_OF_HIDDEN: f64 = 1e10;
/// A variable along which rounding hides all curvature is moved this much farther.
const LONGER: f64 = 1e3;
/// Changes of the gradient below this many units of its rounding are none.
const NOISE: f64 = 100.0 * f64::EPSILON;

/// Vectors of the measurement. Slacks, along which the Lagrangian is linear, are left out.
#[derive(Debug)]
pub(super) struct FirstScale {
    free: usize,
    x: Vec<f64>,
    direction: Vec<f64>,
    /// grad f + J'y at the point, and its change.
    base: Vec<f64>,
    change: Vec<f64>,
    gradient: Vec<f64>,
    jacobian: Vec<f64>,
}

impl FirstScale {
    pub fn new(form: &Form) -> Self {
        let zeros = || vec![0.0; form.n];
        Self {
            free: form.free_count(),
            x: zeros(),
            direction: zeros(),
            base: zeros(),
            change: zeros(),
            gradient: zeros(),
            jacobian: vec![0.0; form.jacobian_len()],
        }
    }

    /// sigma; E, which is I before, into `weights`. 1 and I where nothing can be measured.
    pub fn measure(&mut self, p: &mut Evaluator<'_>, at: &Point, weights: &mut [f64]) -> f64 {
        if p.jac_t_mul(at.at(), &at.y, &mut self.base).is_err() {
            return 1.0;
        }
        self.base.iter_mut().zip(&at.grad).for_each(|(b, g)| *b += g);
        self.direction.fill(0.0);
        for j in 0..self.free {
            self.direction[j] = if at.lag_grad[j] > 0.0 { -unit(at.x[j]) } else { unit(at.x[j]) };
        }
        let Some(h) = self.difference(p, at) else { return 1.0 };
        let (d, y) = (&self.direction[..self.free], &self.change[..self.free]);
        let curvature = dot(d, y).abs() / (h * dot(d, d));
        let (mut least, mut hidden, mut most) = (f64::INFINITY, f64::INFINITY, 0.0f64);
        for (j, (d, y)) in d.iter().zip(y).enumerate() {
            let noise = NOISE * self.base[j].abs();
            if y.abs() > noise {
                let ratio = (y / (h * d)).abs();
                (least, most) = (least.min(ratio), most.max(ratio));
            } else if noise > 0.0 {
                hidden = hidden.min(noise / (h * d).abs());
            }
        }
        let far_apart = most > SPREAD * least || most > SPREAD_OF_HIDDEN * hidden;
        if far_apart && self.free <= FEW && self.along_variables(p, at, weights) {
            return 1.0;
        }
        if curvature.is_normal() { curvature } else { 1.0 }
    }

    /// weights <- |H_jj|; where there is none, their geometric mean. False if they are not far apart.
    fn along_variables(&mut self, p: &mut Evaluator<'_>, at: &Point, weights: &mut [f64]) -> bool {
        let (mut least, mut most, mut logs, mut known) = (f64::INFINITY, 0.0f64, 0.0, 0);
        for (j, w) in weights.iter_mut().enumerate().take(self.free) {
            *w = self.curvature_along(p, at, j).unwrap_or(f64::NAN);
            if !w.is_nan() {
                (least, most) = (least.min(*w), most.max(*w));
                logs += w.ln();
                known += 1;
            }
        }
        let differ = most > SPREAD * least && most.is_finite();
        let mean = if differ { (logs / f64::from(known)).exp() } else { 1.0 };
        for w in &mut weights[..self.free] {
            if !differ || w.is_nan() {
                *w = mean;
            }
        }
        differ
    }

    /// |H_jj|; `None` where rounding hides it.
    fn curvature_along(&mut self, p: &mut Evaluator<'_>, at: &Point, j: usize) -> Option<f64> {
        self.direction.fill(0.0);
        self.direction[j] = unit(at.x[j]);
        let mut h = self.difference(p, at)?;
        let noise = NOISE * self.base[j].abs();
        if self.change[j].abs() <= noise {
            h *= LONGER;
            let moved = at.x[j] + h * self.direction[j];
            if moved < p.form.bounds.lower[j] || moved > p.form.bounds.upper[j] {
                return None;
            }
            self.change_at(p, at, h)?;
        }
        let y = self.change[j].abs();
        (y > noise).then(|| y / (h * self.direction[j]).abs())
    }

    /// change <- grad L(x + h d) - grad L(x) with the h that suits; d is turned to where the bounds leave room.
    fn difference(&mut self, p: &mut Evaluator<'_>, at: &Point) -> Option<f64> {
        let bounds = &p.form.bounds;
        for (j, d) in self.direction.iter_mut().enumerate() {
            let (down, up) = (at.x[j] - bounds.lower[j], bounds.upper[j] - at.x[j]);
            let (ahead, behind) = if *d > 0.0 { (up, down) } else { (down, up) };
            if STEP * d.abs() >= ahead {
                let back = d.abs().min(0.5 * behind / STEP);
                *d = if behind > ahead { -d.signum() * back } else { d.signum() * 0.5 * ahead / STEP };
            }
        }
        let (mut h, mut last) = (STEP, None);
        for _ in 0..MOST_STEPS {
            match self.change_at(p, at, h) {
                Some(Change::Moderate) => return Some(h),
                Some(Change::Large) => last = Some(h),
                // The one before was at least a change.
                Some(Change::Rounding) => {
                    return last.filter(|&h| self.change_at(p, at, h).is_some()).or(Some(h));
                }
                None => {}
            }
            h *= SHORTER;
        }
        None
    }

    /// change <- grad L(x + h d) - grad L(x), and how it compares with grad L(x). `None`: not evaluated.
    fn change_at(&mut self, p: &mut Evaluator<'_>, at: &Point, h: f64) -> Option<Change> {
        let Self { x, direction, base, change, gradient, jacobian, .. } = self;
        for (o, (x, d)) in x.iter_mut().zip(at.x.iter().zip(&*direction)) {
            *o = x + h * d;
        }
        p.form.bounds.clamp(x);
        weighted_gradient(p, (x, 1.0, &at.y), gradient, jacobian, change).ok()?;
        let (mut size, mut largest, mut rounding) = (0.0f64, 0.0f64, true);
        for (c, (b, d)) in change.iter_mut().zip(base.iter().zip(&*direction)) {
            *c -= b;
            rounding &= c.abs() <= NOISE * b.abs();
            largest = largest.max((*c * d).abs());
            size = size.max((b * d).abs());
        }
        if !change.iter().all(|c| c.is_finite()) {
            return None;
        }
        Some(match () {
            () if rounding => Change::Rounding,
            () if largest <= MODERATE * size || size == 0.0 => Change::Moderate,
            () => Change::Large,
        })
    }
}

/// A change of the gradient compared with the gradient.
enum Change {
    Rounding,
    Moderate,
    Large,
}

fn unit(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { x.abs() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opt::options::Options;
    use crate::opt::testing::{Dense, Setup};

    /// sigma and E at the start.
    fn measured(mut problem: Dense) -> (f64, Vec<f64>) {
        let options = Options { scaling: false, ..Options::default() };
        Setup::new(&mut problem, &options).with(|s| {
            s.at.current.x.copy_from_slice(&s.problem.nlp().meta().x0.clone());
            s.at.current.evaluate(&mut s.problem).unwrap();
            let mut weights = vec![1.0; s.problem.form.n];
            let sigma = FirstScale::new(s.problem.form).measure(&mut s.problem, &s.at.current, &mut weights);
            (sigma, weights)
        })
    }

    #[test]
    fn one_curvature_is_measured_whatever_its_size() {
        let steep = Dense {
            f: |x| 0.5e15 * x[0] * x[0] - x[0],
            grad: |x, g| g[0] = 1e15 * x[0] - 1.0,
            ..Dense::new(1, 0, &[0.0])
        };
        approx::assert_relative_eq!(measured(steep).0, 1e15, max_relative = 1e-6);
        let flat = Dense {
            f: |x| 0.5e-6 * x[0] * x[0],
            grad: |x, g| g[0] = 1e-6 * x[0],
            ..Dense::new(1, 0, &[3e4])
        };
        approx::assert_relative_eq!(measured(flat).0, 1e-6, max_relative = 1e-6);
        // exp(1e9 x) overflows one step of 1e-6 away.
        let exponential = Dense {
            f: |x| (1e9 * x[0]).exp(),
            grad: |x, g| g[0] = 1e9 * (1e9 * x[0]).exp(),
            ..Dense::new(1, 0, &[0.0])
        };
        let sigma = measured(exponential).0;
        assert!((0.5e18..2e18).contains(&sigma), "{sigma}");
    }

    #[test]
    fn curvatures_far_apart_become_a_diagonal() {
        let units = Dense {
            f: |x| (1e-5 * x[0] - 3.0).powi(2) + (1e5 * x[1] - 2.0).powi(2),
            grad: |x, g| g.copy_from_slice(&[2e-5 * (1e-5 * x[0] - 3.0), 2e5 * (1e5 * x[1] - 2.0)]),
            ..Dense::new(2, 0, &[1e5, 1e-5])
        };
        let (sigma, weights) = measured(units);
        assert_eq!(sigma, 1.0);
        approx::assert_relative_eq!(weights[0], 2e-10, max_relative = 1e-4);
        approx::assert_relative_eq!(weights[1], 2e10, max_relative = 1e-4);
        assert_eq!(measured(crate::opt::testing::rosenbrock()).1, [1.0, 1.0]);
        // 1e-10 is hidden by rounding at first.
        let hidden = Dense {
            f: |x| 0.5e-10 * x[0] * x[0] + 0.5e10 * x[1] * x[1] - x[0] - x[1],
            grad: |x, g| g.copy_from_slice(&[1e-10 * x[0] - 1.0, 1e10 * x[1] - 1.0]),
            ..Dense::new(2, 0, &[0.0, 0.0])
        };
        let weights = measured(hidden).1;
        approx::assert_relative_eq!(weights[0], 1e-10, max_relative = 1e-2);
        approx::assert_relative_eq!(weights[1], 1e10, max_relative = 1e-2);
    }

    /// ln x fails below 0: steps go up at the bound.
    #[test]
    fn nothing_is_evaluated_outside_the_bounds() {
        let mut log = Dense {
            f: |x| x[0] - x[0].ln(),
            grad: |x, g| {
                assert!(x[0] > 0.0 && x[0] <= 1.0);
                g[0] = 1.0 - 1.0 / x[0];
            },
            ..Dense::new(1, 0, &[1e-9])
        };
        (log.meta.x_lower[0], log.meta.x_upper[0]) = (0.0, 1.0);
        let sigma = measured(log).0;
        assert!((1e17..1e19).contains(&sigma), "{sigma}");
    }
}
