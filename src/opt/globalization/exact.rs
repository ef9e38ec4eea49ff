//! The exact augmented Lagrangian (Hong, Na, Mahoney, Kolar, ICML 2023)
//!
//! ```text
//! A(x, y) = f + y'c + eta1/2 |c|^2 + eta2/2 |g|^2,   g = grad f + J'y,
//! grad_x A = g + eta1 J'c + eta2 H g,   grad_y A = c + eta2 J g,   H the Hessian of the LAGRANGIAN.
//! ```
//!
//! The paper's accuracy test, with estimated norms, is |r| <= theta_k delta_k |b| / (|K| Psi_k), Psi_k >= |K^-1|, and on failure of
//! the descent condition eta1 <- nu^2 eta1, eta2 <- eta2 / nu, delta <- min(delta / nu^4, delta_trial),
//! delta_trial = (1/2 - beta) eta2 / ((1 + eta1 + eta2) Upsilon^2 Psi^2),  Upsilon = max(|J|, |H|, 1).

use super::constants::{ARMIJO_EXACT, ROUNDING_UNITS, SHORTEST_EXACT};
use super::{Globalization, Judgement};
use crate::linalg::dot;
use crate::opt::iterate::Point;
use crate::opt::kkt::{Env, Kkt, StepTest};
use crate::opt::options::{AccuracyRule, Options};
use crate::opt::phase::{PhaseEnd, Solve, linear};
use crate::opt::problem::Form;

/// nu of the paper.
const NU: f64 = 1.5;
/// Below this no double-precision solver can go; when it binds the log says so.
const FLOOR: f64 = 1e-13;
const LARGEST_PENALTY: f64 = 1e20;

/// State of the certified rule.
#[derive(Debug, Clone, Copy)]
struct Certificate {
    /// delta_k.
    delta: f64,
    /// |K|, estimated; also stands for Upsilon, of which it is an upper bound where |K| >= 1.
    norm: f64,
    /// |K^-1|, estimated from below.
    inverse_norm: f64,
}

impl Certificate {
    const FIRST: Self = Self { delta: 0.1, norm: 1.0, inverse_norm: 1.0 };
}

/// Terms of the gradient of A at the current point.
#[derive(Debug, Clone)]
struct Terms {
    /// J'c.
    jt_c: Vec<f64>,
    /// H g.
    h_g: Vec<f64>,
    /// J g.
    j_g: Vec<f64>,
}

/// A, the test of inexact steps and the line search on it.
#[derive(Debug)]
pub(in crate::opt) struct ExactMerit {
    pub merit: Merit,
    rule: AccuracyRule,
    certificate: Certificate,
    terms: Terms,
    /// Slope of A along the step, A and its rounding error, |b|^2 at the current point.
    slope: f64,
    start: f64,
    rounding: f64,
    residual: f64,
    /// A certified accuracy that no solver can reach.
    pub unreachable: Option<f64>,
}

impl ExactMerit {
    pub fn new(form: &Form, options: &Options) -> Self {
        let zeros = |k: usize| vec![0.0; k];
        Self {
            merit: Merit { eta1: 0.0, eta2: 0.0 },
            rule: options.accuracy,
            certificate: Certificate::FIRST,
            terms: Terms { jt_c: zeros(form.n), h_g: zeros(form.n), j_g: zeros(form.m) },
            slope: 0.0,
            start: 0.0,
            rounding: 0.0,
            residual: 0.0,
            unreachable: None,
        }
    }

    /// Nothing of another solve is known.
    pub fn renew(&mut self) {
        (self.certificate, self.unreachable) = (Certificate::FIRST, None);
    }

    /// First penalties. Without constraints A = f + eta2/2 |grad f|^2: the second term only delays.
    pub fn restart(&mut self, m: usize, options: &Options) {
        let eta2 = if m == 0 { 0.0 } else { options.initial_dual_penalty };
        self.merit = Merit { eta1: options.initial_penalty, eta2 };
    }

    /// grad_x A and grad_y A term by term at the current point; K is filled.
    pub fn differentiate(&mut self, s: &mut Solve<'_>) -> Result<(), PhaseEnd> {
        let (kkt, mut e) = linear(s);
        let (p, terms) = (e.at, &mut self.terms);
        e.problem.jac_t_mul(p.at(), &p.c, &mut terms.jt_c)?;
        if self.merit.eta2 > 0.0 {
            kkt.hess_mul(&mut e, &p.lag_grad, &mut terms.h_g)?;
            e.problem.jac_mul(p.at(), &p.lag_grad, &mut terms.j_g)?;
        }
        self.residual = p.residual_squared();
        Ok(())
    }

    /// Slope terms of a direction.
    fn slopes(&self, step: &[f64], p: &Point) -> Slopes {
        let (dx, dy) = step.split_at(p.x.len());
        Slopes {
            s0: dot(&p.lag_grad, dx) + dot(&p.c, dy),
            s1: dot(&self.terms.jt_c, dx),
            s2: if self.merit.eta2 > 0.0 { dot(&self.terms.h_g, dx) + dot(&self.terms.j_g, dy) } else { 0.0 },
        }
    }

    /// step <- -grad A: always descends. The way out when no linear solver helps.
    pub fn steepest_descent(&mut self, p: &Point, step: &mut [f64]) {
        let Self { merit, terms, .. } = self;
        let with_dual = merit.eta2 > 0.0;
        let (dx, dy) = step.split_at_mut(p.x.len());
        for (j, d) in dx.iter_mut().enumerate() {
            let dual = if with_dual { merit.eta2 * terms.h_g[j] } else { 0.0 };
            *d = -(p.lag_grad[j] + merit.eta1 * terms.jt_c[j] + dual);
        }
        for (i, d) in dy.iter_mut().enumerate() {
            let dual = if with_dual { merit.eta2 * terms.j_g[i] } else { 0.0 };
            *d = -(p.c[i] + dual);
        }
        self.slope = -dot(step, step);
    }

    /// Reference values of the line search.
    pub fn begin(&mut self, p: &Point, form: &Form) {
        self.start = self.merit.value(p);
        self.rounding = self.merit.rounding(p, form.scale.objective);
    }

    /// theta_k delta_k / (|K| Psi_k), theta_k = min(1, |b|).
    fn certified_accuracy(&mut self, k: &mut Kkt, e: &mut Env<'_, '_>, residual: f64) -> f64 {
        let (norm, inverse_norm) = k.norms(e);
        (self.certificate.norm, self.certificate.inverse_norm) = (norm, inverse_norm);
        let wanted = residual.min(1.0) * self.certificate.delta / (norm * inverse_norm).max(1.0);
        self.unreachable = (wanted < FLOOR).then_some(wanted);
        wanted.max(FLOOR)
    }

    /// The paper's joint update of the penalties and of delta until the descent condition holds.
    fn adapt_as_in_the_paper(&mut self, slopes: &Slopes) -> bool {
        while !self.merit.descends(slopes, self.residual) {
            if self.merit.eta1 > LARGEST_PENALTY {
                return false;
            }
            self.merit.eta1 *= NU * NU;
            self.merit.eta2 /= NU;
            let Certificate { delta, norm, inverse_norm } = self.certificate;
            let upsilon = norm.max(1.0);
            let trial = (0.5 - ARMIJO_EXACT) * self.merit.eta2
                / ((1.0 + self.merit.eta1 + self.merit.eta2) * (upsilon * inverse_norm).powi(2));
            self.certificate.delta = (delta / NU.powi(4)).min(trial).max(f64::MIN_POSITIVE);
        }
        true
    }
}

impl StepTest for ExactMerit {
    fn forcing(&mut self, k: &mut Kkt, e: &mut Env<'_, '_>) -> f64 {
        let residual = self.residual.sqrt();
        match self.rule {
            // Eisenstat and Walker 1996: kappa_k = min(kappa_0, |b|^p) gives order 1 + p.
            AccuracyRule::Practical => residual.sqrt().clamp(1e-12, 0.1),
            AccuracyRule::Certified => self.certified_accuracy(k, e, residual),
        }
    }

    fn accepts(&mut self, k: &Kkt, at: &Point) -> bool {
        let slopes = self.slopes(&k.step, at);
        let descends = match self.rule {
            AccuracyRule::Certified if !k.is_direct() => self.adapt_as_in_the_paper(&slopes),
            _ => self.merit.adapt(&slopes, self.residual),
        };
        self.slope = self.merit.slope(&slopes);
        descends
    }
}

/// Armijo's test. A trial point whose merit without the gradient term is already too large costs no derivatives.
impl Globalization for ExactMerit {
    fn shortest(&self) -> f64 {
        SHORTEST_EXACT
    }

    fn attempt(&mut self, s: &mut Solve<'_>, alpha: f64) -> Judgement {
        s.at.place(&s.problem.form.bounds, &s.kkt.step, alpha);
        let trial = &mut s.at.trial;
        let wanted = self.start + ARMIJO_EXACT * alpha * self.slope;
        let allowed = wanted + self.rounding;
        let refused = Judgement::Refused { theta: f64::INFINITY };
        if trial.functions(&mut s.problem).is_err() {
            return Judgement::Failed;
        }
        let lower = self.merit.without_gradient(trial);
        if lower.is_nan() || lower > allowed {
            return refused;
        }
        if trial.derivatives(&mut s.problem).is_err() {
            return Judgement::Failed;
        }
        let value = self.merit.value(trial);
        // Within rounding of the merit function only the residual tells progress from noise.
        let progress = value <= wanted || trial.residual_squared() < self.residual;
        if value <= allowed && progress { Judgement::Accepted { armijo: true } } else { refused }
    }

    fn failure(&self) -> &'static str {
        "no decrease of the merit function"
    }
}

/// Penalty parameters.
#[derive(Debug, Clone, Copy)]
pub(in crate::opt) struct Merit {
    pub eta1: f64,
    pub eta2: f64,
}

/// Directional derivative of A along z = (dx, dy): s0 + eta1 s1 + eta2 s2.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::opt) struct Slopes {
    /// g'dx + c'dy.
    pub s0: f64,
    /// (J'c)'dx.
    pub s1: f64,
    /// (H g)'dx + (J g)'dy.
    pub s2: f64,
}

impl Merit {
    /// A without the term in g: a lower bound of A that needs no derivatives.
    pub fn without_gradient(&self, p: &Point) -> f64 {
        p.f + dot(&p.y, &p.c) + 0.5 * self.eta1 * dot(&p.c, &p.c)
    }

    /// A.
    pub fn value(&self, p: &Point) -> f64 {
        self.without_gradient(p) + 0.5 * self.eta2 * dot(&p.lag_grad, &p.lag_grad)
    }

    /// Rounding error to be expected in a difference of two values of A. An unscaled objective is a sum of terms of at least one, or may be: cancellation
    /// hides them.
    pub fn rounding(&self, p: &Point, objective_scale: f64) -> f64 {
        let terms = p.f.abs()
            + p.y.iter().zip(&p.c).map(|(y, c)| (y * c).abs()).sum::<f64>()
            + 0.5 * self.eta1 * dot(&p.c, &p.c)
            + 0.5 * self.eta2 * dot(&p.lag_grad, &p.lag_grad);
        ROUNDING_UNITS * f64::EPSILON * terms.max(objective_scale)
    }

    pub fn slope(&self, s: &Slopes) -> f64 {
        s.s0 + self.eta1 * s.s1 + self.eta2 * s.s2
    }

    /// The paper's descent condition: slope <= -(eta2/2) |b|^2. Without constraints eta2 may be 0; then plain descent is asked.
    pub fn descends(&self, s: &Slopes, residual_squared: f64) -> bool {
        let slope = self.slope(s);
        slope < 0.0 && slope <= -0.5 * self.eta2 * residual_squared
    }

    /// Smallest change of the penalties after which the descent condition holds for this direction: first eta2 is lowered
    /// until its terms are dominated by s0 (if s0 < 0), then eta1 is raised. For an exact step s1 = -|c|^2, so this
    /// succeeds unless c = 0 and s0 >= 0 (wrong curvature). Returns whether the condition holds.
    ///
    /// The paper raises eta1 by nu^2 and lowers eta2 by nu together until the condition holds; raising eta1 where eta2
    /// is the culprit makes the merit function needlessly stiff.
    pub fn adapt(&mut self, s: &Slopes, residual_squared: f64) -> bool {
        if self.descends(s, residual_squared) {
            return true;
        }
        let dual_terms = s.s2 + 0.5 * residual_squared;
        if dual_terms > 0.0 && self.eta2 > 0.0 {
            let allowed = if s.s0 < 0.0 { -0.5 * s.s0 / dual_terms } else { 0.0 };
            self.eta2 = self.eta2.min(allowed.max(self.eta2 * 1e-3)).max(1e-14);
        }
        if s.s1 < 0.0 {
            let wanted = (s.s0 + self.eta2 * dual_terms) / -s.s1;
            self.eta1 = self.eta1.max(2.0 * wanted);
        }
        self.eta1 <= 1e20 && self.descends(s, residual_squared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opt::testing::{Setup, hs7};

    /// grad A term by term against differences of A, in x and in y.
    #[test]
    fn gradient_of_the_merit_function_by_finite_differences() {
        let mut problem = hs7();
        let options = Options { scaling: false, ..Options::default() };
        let mut setup = Setup::new(&mut problem, &options);
        setup.with(|s| {
            let mut exact = ExactMerit::new(s.problem.form, &options);
            exact.merit = Merit { eta1: 3.0, eta2: 0.7 };
            let z = [1.3, -0.4, 0.8];
            let h = 1e-6;
            for k in 0..3 {
                let mut value = |by: f64| {
                    let p = &mut s.at.current;
                    p.x.copy_from_slice(&z[..2]);
                    p.y.copy_from_slice(&z[2..]);
                    if k < 2 {
                        p.x[k] += by
                    } else {
                        p.y[0] += by
                    }
                    p.evaluate(&mut s.problem).unwrap();
                    exact.merit.value(p)
                };
                let numeric = (value(h) - value(-h)) / (2.0 * h);
                value(0.0);
                let at = &s.at.current;
                s.hessian.observe(&mut s.problem, at, crate::opt::hessian::Of::Lagrangian).unwrap();
                let (kkt, e) = crate::opt::phase::linear(s);
                kkt.fill(&e, crate::opt::kkt::System::Optimality);
                exact.differentiate(s).unwrap();
                let mut step = [0.0; 3];
                step[k] = 1.0;
                let slopes = exact.slopes(&step, &s.at.current);
                approx::assert_relative_eq!(exact.merit.slope(&slopes), numeric, max_relative = 1e-6);
            }
        });
    }
}
