//! The filter line search: pairs (violation, barrier objective) that no later point may be dominated by, with second-order
//! corrections (Waechter and Biegler 2006, sections 2.3 and 2.4; constants as published).

use super::constants::*;
use super::{Globalization, Judgement};
use crate::linalg::{dot, norm1};
use crate::opt::iterate::Point;
use crate::opt::kkt::REFINED;
use crate::opt::phase::{Solve, linear};
use crate::opt::problem::{Bounds, Form};

/// Room for so many pairs from the start.
const MOST_PAIRS: usize = 64;

/// Pairs (theta, phi), with their margins subtracted.
#[derive(Debug, Clone, Default)]
pub(in crate::opt) struct Filter {
    pairs: Vec<(f64, f64)>,
}

impl Filter {
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Keeps later points from being worse in both respects than (theta, phi) less a margin.
    pub fn add(&mut self, theta: f64, phi: f64) {
        let pair = (theta * (1.0 - GAMMA_THETA), phi - GAMMA_PHI * theta);
        self.pairs.retain(|p| p.0 < pair.0 || p.1 < pair.1);
        self.pairs.push(pair);
    }

    pub fn accepts(&self, theta: f64, phi: f64) -> bool {
        self.pairs.iter().all(|p| theta <= p.0 || not_above(phi, p.1))
    }
}

/// a <= b up to rounding.
fn not_above(a: f64, b: f64) -> bool {
    a - b <= ROUNDING_UNITS * f64::EPSILON * b.abs().max(a.abs())
}

/// Sufficient progress from (theta0, phi0) in either respect.
fn improves(theta: f64, phi: f64, theta0: f64, phi0: f64) -> bool {
    theta <= (1.0 - GAMMA_THETA) * theta0 || not_above(phi, phi0 - GAMMA_PHI * theta0)
}

/// Shortest step that is tried before the violation is minimized instead, for a slope of phi along the step
/// (Waechter and Biegler 2006, (23)).
fn shortest_step(theta: f64, slope: f64, theta_min: f64) -> f64 {
    let mut shortest = GAMMA_THETA;
    if slope < 0.0 {
        shortest = shortest.min(GAMMA_PHI * theta / -slope);
        if theta <= theta_min {
            shortest = shortest.min(theta.powf(S_THETA) / (-slope).powf(S_PHI));
        }
    }
    GAMMA_ALPHA * shortest
}

/// The step promises more decrease of phi than the violation is worth.
fn switches(alpha: f64, slope: f64, theta: f64) -> bool {
    slope < 0.0 && alpha * (-slope).powf(S_PHI) > theta.powf(S_THETA)
}

/// phi = f + B.
pub(super) fn barrier_objective(bounds: &Bounds, p: &Point, mu: f64) -> f64 {
    if bounds.count() > 0 { p.f + bounds.barrier(&p.x, mu) } else { p.f }
}

/// The current point as the line search compares with it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reference {
    pub theta: f64,
    pub phi: f64,
    pub slope: f64,
}

/// The filter and its line search.
#[derive(Debug)]
pub(in crate::opt) struct FilterSearch {
    pub filter: Filter,
    theta_min: f64,
    theta_max: f64,
    /// Barrier parameter, and the share of the way to a bound that a step may go.
    pub(super) mu: f64,
    pub(super) tau: f64,
    pub(super) reference: Reference,
    /// grad phi.
    pub(super) gradient: Vec<f64>,
    /// A right-hand side or a step kept aside, length n + m.
    pub(super) kept: Vec<f64>,
    /// Full steps in a row with a shift of the Hessian.
    pub(super) shifted_steps: u32,
}

impl FilterSearch {
    pub fn new(form: &Form) -> Self {
        Self {
            filter: Filter { pairs: Vec::with_capacity(MOST_PAIRS) },
            theta_min: 0.0,
            theta_max: 0.0,
            mu: 0.0,
            tau: 0.0,
            reference: Reference::default(),
            gradient: vec![0.0; form.n],
            kept: vec![0.0; form.n + form.m],
            shifted_steps: 0,
        }
    }

    /// An empty filter, for a start with violation `theta`.
    pub fn restart(&mut self, theta: f64) {
        self.filter.clear();
        self.theta_min = THETA_MIN * theta.max(1.0);
        self.theta_max = THETA_MAX * theta.max(1.0);
        self.shifted_steps = 0;
    }

    /// Reference values of the line search along a step; `gradient`: of phi.
    pub fn begin(&mut self, form: &Form, p: &Point, (mu, tau): (f64, f64), gradient: &[f64], dx: &[f64]) {
        (self.mu, self.tau) = (mu, tau);
        self.gradient.copy_from_slice(gradient);
        self.reference = Reference {
            theta: norm1(&p.c),
            phi: barrier_objective(&form.bounds, p, mu),
            slope: dot(gradient, dx),
        };
    }

    /// No later point may be worse than this one in both respects.
    pub fn add(&mut self, form: &Form, p: &Point, mu: f64) {
        self.filter.add(norm1(&p.c), barrier_objective(&form.bounds, p, mu));
    }

    /// Largest violation that a lengthened or changed step may have.
    pub(super) fn allowed_violation(&self, trial: &Point) -> f64 {
        self.reference.theta.max(norm1(&trial.c)).max(1e-2 * self.theta_min)
    }
}

impl Globalization for FilterSearch {
    fn shortest(&self) -> f64 {
        let r = &self.reference;
        shortest_step(r.theta, r.slope, self.theta_min).max(SHORTEST_FILTER)
    }

    fn attempt(&mut self, s: &mut Solve<'_>, alpha: f64) -> Judgement {
        s.at.place(&s.problem.form.bounds, &s.kkt.step, alpha);
        let trial = &mut s.at.trial;
        if trial.functions(&mut s.problem).is_err() {
            return Judgement::Failed;
        }
        let r = &self.reference;
        let (theta, phi) = (norm1(&trial.c), barrier_objective(&s.problem.form.bounds, trial, self.mu));
        let by_phi = r.theta <= self.theta_min && switches(alpha, r.slope, r.theta);
        let armijo = not_above(phi, r.phi + ARMIJO_FILTER * alpha * r.slope);
        let progress = if by_phi { armijo } else { improves(theta, phi, r.theta, r.phi) };
        if !phi.is_finite() || theta > self.theta_max || !progress || !self.filter.accepts(theta, phi) {
            return Judgement::Refused { theta };
        }
        if trial.derivatives(&mut s.problem).is_err() {
            return Judgement::Failed;
        }
        Judgement::Accepted { armijo: by_phi && armijo }
    }

    /// Steps that aim at c(x) + J d = -(alpha c + c(x + alpha dx)) with the same matrix (Waechter and Biegler 2006, (27)).
    /// Restores the step where none is acceptable.
    fn correct(&mut self, s: &mut Solve<'_>, alpha: f64, mut theta: f64) -> Judgement {
        if theta < self.reference.theta {
            return Judgement::Refused { theta };
        }
        let n = s.problem.form.n;
        s.kkt.kept.copy_from_slice(&s.kkt.step);
        self.kept.copy_from_slice(&s.kkt.rhs);
        let mut length = alpha;
        let mut last = self.reference.theta;
        for _ in 0..CORRECTIONS {
            if theta > CORRECTION_REDUCTION * last && last < self.reference.theta {
                break;
            }
            last = theta;
            for (r, c) in self.kept[n..].iter_mut().zip(&s.at.trial.c) {
                *r = length * *r - c;
            }
            let (kkt, mut e) = linear(s);
            kkt.rhs.copy_from_slice(&self.kept);
            kkt.step.fill(0.0);
            let solved = kkt.solve(&mut e, REFINED);
            if solved.is_err() || !kkt.step.iter().all(|v| v.is_finite()) {
                break;
            }
            length = s.problem.form.bounds.primal_step(&s.at.current.x, &s.kkt.step[..n], self.tau);
            match self.attempt(s, length) {
                Judgement::Refused { theta: t } => theta = t,
                Judgement::Failed => break,
                accepted => return accepted,
            }
        }
        let kkt = &mut *s.kkt;
        kkt.step.copy_from_slice(&kkt.kept);
        Judgement::Refused { theta }
    }

    fn accepted(&mut self, s: &mut Solve<'_>, alpha: f64, armijo: bool) -> f64 {
        if !armijo {
            self.filter.add(self.reference.theta, self.reference.phi);
            return alpha;
        }
        self.stretch(s, alpha)
    }

    fn failure(&self) -> &'static str {
        "no acceptable step"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dominated_points_are_refused_and_forgotten() {
        let mut f = Filter::default();
        f.add(1.0, 5.0);
        assert!(!f.accepts(1.0, 5.0) && f.accepts(0.9, 6.0) && f.accepts(2.0, 4.9));
        f.add(0.5, 4.0);
        assert_eq!(f.pairs.len(), 1);
        assert!(!f.accepts(0.9, 4.5));
    }

    #[test]
    fn the_switching_condition_compares_slope_and_violation() {
        assert!(switches(1.0, -1.0, 0.5) && !switches(1.0, -0.1, 0.5) && !switches(1.0, 1.0, 0.0));
        assert!(shortest_step(0.0, -1.0, 1e-4) == 0.0);
    }
}
