//! Tolerances, limits and the step-size controller, all of it data.

use super::domain::Bound;
use crate::error::{OdeError, check_len};
use crate::linalg::Norm;
use crate::linalg::Scalar;
use crate::linalg::kernels::Scale;

/// A tolerance for all components or one for each of the n components of a state.
#[derive(Debug, Clone, PartialEq)]
pub enum Tolerance {
    /// The same for all.
    One(f64),
    /// Length n, repeated over a batch.
    Each(Vec<f64>),
}

impl From<f64> for Tolerance {
    fn from(x: f64) -> Self {
        Self::One(x)
    }
}

impl From<Vec<f64>> for Tolerance {
    fn from(x: Vec<f64>) -> Self {
        Self::Each(x)
    }
}

/// h_new = h safety E_n^(-alpha/k) E_(n-1)^(beta/k) E_(n-2)^(-gamma/k), k = error order + 1, within [min_factor, max_factor] h.
///
/// After a rejection, and for the rejected step itself, the integral controller alone is used (alpha = 1, beta = gamma = 0), with a factor below one.
///
/// With rtol and atol below 64 units of rounding (7.6e-6 in single precision) the estimate is mostly rounding of the stages, E ~ h, and a controller
/// that believes in h^k needs many steps to find out. There the order q in E ~ h^q is measured from the last two steps,
/// and while q < k / 2 the factor is safety E^(-1/max(q, 1)), at most 4.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Controller {
    /// Exponent of the last error.
    pub alpha: f64,
    /// Exponent of the error before it.
    pub beta: f64,
    /// Exponent of the error before that.
    pub gamma: f64,
    /// Aim below the tolerance: every factor is multiplied by this, and a rejected step shrinks at least by it. 0.8 in the default, 0.9 in
    /// [`i`](Self::i), [`pi`](Self::pi) and [`pid`](Self::pid).
    pub safety: f64,
    /// A step shrinks at most by this.
    pub min_factor: f64,
    /// A step grows at most by this.
    pub max_factor: f64,
    /// Factor after stages that are not finite.
    pub not_finite_factor: f64,
}

impl Controller {
    /// Integral control: the step that would have had an error of one, times a safety factor of 0.9 (as for [`pi`](Self::pi) and
    /// [`pid`](Self::pid); the default has 0.8).
    pub const fn i() -> Self {
        Self {
            alpha: 1.0,
            beta: 0.0,
            gamma: 0.0,
            safety: 0.9,
            min_factor: 0.2,
            max_factor: 10.0,
            not_finite_factor: 0.25,
        }
    }
    /// Proportional-integral control, alpha = p + i, beta = p (Gustafsson; Hairer and Wanner use p = 0.2, i = 0.65 for order 5).
    pub const fn pi(p: f64, i: f64) -> Self {
        Self { alpha: p + i, beta: p, ..Self::i() }
    }
    /// Proportional-integral-derivative control (Soederlind 2003): alpha = p + i + d, beta = p + 2 d, gamma = d.
    pub const fn pid(p: f64, i: f64, d: f64) -> Self {
        Self { alpha: p + i + d, beta: p + 2.0 * d, gamma: d, ..Self::i() }
    }
}

impl Default for Controller {
    /// PI with p = 0.2, i = 0.65 and a safety factor of 0.8. With 0.8 instead of 0.9 evaluations at equal error over six problems fall by nothing at
    /// order 5, by 5 % at order 7 and 8 % at order 8, because fewer steps are rejected (docs/ode-experiments.md).
    fn default() -> Self {
        Self { safety: 0.8, ..Self::pi(0.2, 0.65) }
    }
}

/// What the integrator may be told. `Options::default()` is rtol = 1e-6, atol = 1e-9.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Relative tolerance, at least zero.
    pub rtol: Tolerance,
    /// Absolute tolerance, at least zero; zero together with a zero of the solution makes the error infinite. Components of an infinite one do not count: the norm is over the others.
    pub atol: Tolerance,
    /// Norm of the scaled error.
    pub norm: Norm,
    /// Step-size controller: PI(0.2, 0.65) with a safety factor of 0.8 by default, see [`Controller::default`].
    pub controller: Controller,
    /// |h| of the first step; automatic (Hairer, Norsett, Wanner, II.4) if absent.
    pub first_step: Option<f64>,
    /// Give up when the error asks for a shorter step; the last step may be shorter. Zero: sixteen units in the last place of t.
    pub min_step: f64,
    /// Longest step.
    pub max_step: f64,
    /// Give up after this many attempts.
    pub max_steps: u64,
    /// Times at which the integration ends a step and begins anew: where the field jumps or has a kink. In any order; those outside the span are passed over.
    ///
    /// The step before is evaluated only before the stop and the one after it only behind it, each by four units in the last place: whatever the field says
    /// at the stop itself. The controller forgets the steps before. Stochastic methods whose stages reach beyond the step (`SOSRI`) look over a stop all the same:
    /// where the drift jumps in time, take `SRIW1` or `SOSRI2`.
    pub stops: Vec<f64>,
    /// Where the state may be. A step whose end is outside is refused and a shorter one tried, along the same Brownian path where there is noise; with a fixed step it is accepted and counted
    /// ([`OdeCounts::outside`](super::OdeCounts::outside)).
    pub domain: Vec<Bound>,
    /// Components that stay non-negative (concentrations): a step that ends below minus the absolute tolerance is refused, one between that and zero ends at zero.
    /// For adjoints what is cut off is a jump whose derivative in that component is zero.
    pub non_negative: Vec<usize>,
    /// Linear invariants: rows w, as long as a state, with w'y constant along every solution (w'f = 0 everywhere). Steps of Rosenbrock methods keep each to the rounding of y; without this,
    /// the rounding of f over long stiff steps moves them ([`Diagnosis::InvariantLost`](super::Diagnosis::InvariantLost)). Steps of other methods are short enough and do not look at this.
    pub invariants: Vec<Vec<f64>>,
    /// A fixed step: no error control (the error is still estimated). The last step is shortened to end at t1; a step beyond `max_step` or the span is
    /// cut to that. Stochastic steps end at t0 + j h, at save points and at t1.
    pub fixed_step: Option<f64>,
    /// Of stochastic methods: weight of the drift's part E1 in the error estimate; the method's own if absent.
    pub delta: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rtol: Tolerance::One(1e-6),
            atol: Tolerance::One(1e-9),
            norm: Norm::Rms,
            controller: Controller::default(),
            first_step: None,
            min_step: 0.0,
            max_step: f64::INFINITY,
            max_steps: 100_000,
            stops: Vec::new(),
            domain: Vec::new(),
            non_negative: Vec::new(),
            invariants: Vec::new(),
            fixed_step: None,
            delta: None,
        }
    }
}

impl Options {
    /// Defaults with these tolerances.
    pub fn tolerances(rtol: impl Into<Tolerance>, atol: impl Into<Tolerance>) -> Self {
        Self { rtol: rtol.into(), atol: atol.into(), ..Self::default() }
    }
    /// Defaults without error control, step h > 0.
    pub fn fixed(h: f64) -> Self {
        Self { fixed_step: Some(h), ..Self::default() }
    }
    /// Defaults for stochastic equations: rtol = atol = 1e-2, and the controller of Rackauckas and Nie, proportional-integral with exponents 7/(10 order) and
    /// 2/(5 order), safety factor 0.9, growth at most 9/8.
    pub fn noisy() -> Self {
        let controller = Controller { max_factor: 1.125, ..Controller::pi(0.4, 0.3) };
        Self { controller, ..Self::tolerances(1e-2, 1e-2) }
    }
    /// The same with these tolerances.
    pub fn with_tolerances(self, rtol: impl Into<Tolerance>, atol: impl Into<Tolerance>) -> Self {
        Self { rtol: rtol.into(), atol: atol.into(), ..self }
    }
    /// The same without error control, step h > 0. Stochastic runs of one seed with different steps follow different paths unless the
    /// [`Brownian`](crate::sde::Brownian) has its cells given.
    pub fn with_fixed_step(self, h: f64) -> Self {
        Self { fixed_step: Some(h), ..self }
    }

    /// Whether both tolerances of a component are near the rounding of T.
    pub(crate) fn near_rounding<T: Scalar>(&self) -> bool {
        let near = |rtol: f64, atol: f64| rtol.max(atol) < 64.0 * T::EPSILON.f64();
        match (&self.rtol, &self.atol) {
            (Tolerance::One(r), Tolerance::One(a)) => near(*r, *a),
            (Tolerance::One(r), Tolerance::Each(a)) => a.iter().any(|a| near(*r, *a)),
            (Tolerance::Each(r), Tolerance::One(a)) => r.iter().any(|r| near(*r, *a)),
            (Tolerance::Each(r), Tolerance::Each(a)) => r.iter().zip(a).any(|(r, a)| near(*r, *a)),
        }
    }

    /// Everything that can be wrong without knowing the problem.
    pub(crate) fn check(&self) -> Result<(), OdeError> {
        let c = &self.controller;
        let positive = |x: f64| x > 0.0;
        let rules: [(&'static str, f64, bool, &'static str); 16] = [
            ("min_step", self.min_step, self.min_step >= 0.0 && self.min_step.is_finite(), "at least zero"),
            ("max_step", self.max_step, positive(self.max_step), "positive"),
            (
                "max_step",
                self.max_step,
                self.max_step >= self.min_step || self.min_step.is_nan(),
                "at least min_step",
            ),
            ("max_steps", self.max_steps as f64, self.max_steps > 0, "at least one"),
            ("first_step", self.first_step.unwrap_or(1.0), pos_opt(self.first_step), "positive and finite"),
            (
                "first_step",
                self.first_step.unwrap_or(1.0),
                self.first_step.is_none_or(|h| h >= self.min_step),
                "at least min_step",
            ),
            ("fixed_step", self.fixed_step.unwrap_or(1.0), pos_opt(self.fixed_step), "positive and finite"),
            ("safety", c.safety, c.safety > 0.0 && c.safety < 1.0, "between 0 and 1"),
            ("min_factor", c.min_factor, c.min_factor > 0.0 && c.min_factor < 1.0, "between 0 and 1"),
            ("min_factor", c.min_factor, c.min_factor <= c.safety, "at most safety"),
            (
                "max_factor",
                c.max_factor,
                c.max_factor > 1.0 && c.max_factor.is_finite(),
                "more than 1 and finite",
            ),
            (
                "not_finite_factor",
                c.not_finite_factor,
                c.not_finite_factor > 0.0 && c.not_finite_factor < 1.0,
                "between 0 and 1",
            ),
            ("controller alpha", c.alpha, c.alpha > 0.0 && c.alpha.is_finite(), "positive and finite"),
            ("controller beta", c.beta, c.beta.is_finite(), "finite"),
            ("controller gamma", c.gamma, c.gamma.is_finite(), "finite"),
            (
                "min_step",
                self.min_step,
                self.fixed_step.is_none() || self.min_step == 0.0,
                "zero with a fixed step",
            ),
        ];
        if let Some(value) = self.delta.filter(|d| !(*d >= 0.0 && d.is_finite())) {
            return Err(OdeError::Option { option: "delta", value, must: "at least zero and finite" });
        }
        if let Some(&value) = self.stops.iter().find(|t| !t.is_finite()) {
            return Err(OdeError::Option { option: "stops", value, must: "finite" });
        }
        if let Some(&value) = self.invariants.iter().flatten().find(|w| !w.is_finite()) {
            return Err(OdeError::Option { option: "invariants", value, must: "finite" });
        }
        for (option, value, ok, must) in rules {
            if !ok {
                return Err(OdeError::Option { option, value, must });
            }
        }
        Ok(())
    }

    /// For a state of `dim` components with so many integrals behind it ([`Map::with_integral`](crate::diff::Map::with_integral)), whose error does not count: the steps are those of the state alone.
    pub fn with_integrals(mut self, dim: usize, integrals: usize) -> Self {
        let extend = |tol: &Tolerance, x: f64| {
            let mut each = match tol {
                Tolerance::One(t) => vec![*t; dim],
                Tolerance::Each(v) => v.clone(),
            };
            each.resize(each.len() + integrals, x);
            Tolerance::Each(each)
        };
        self.atol = extend(&self.atol, f64::INFINITY);
        if matches!(self.rtol, Tolerance::Each(_)) {
            self.rtol = extend(&self.rtol, 0.0);
        }
        self
    }

    /// The scale of the error norm for a batch.
    pub(crate) fn scale<T: Scalar>(&self, dim: usize, batch: usize) -> Result<Scale<T>, OdeError> {
        for (what, tol) in [("rtol", &self.rtol), ("atol", &self.atol)] {
            let values = match tol {
                Tolerance::One(x) => std::slice::from_ref(x),
                Tolerance::Each(v) => {
                    check_len(what, v.len(), dim)?;
                    v
                }
            };
            let finite = |v: f64| v.is_finite() || (what == "atol" && values.iter().any(|v| v.is_finite()));
            if let Some(&value) = values.iter().find(|&&v| !(v >= 0.0 && finite(v))) {
                return Err(OdeError::Option { option: what, value, must: "at least zero and finite" });
            }
        }
        let at = |tol: &Tolerance, i: usize| match tol {
            Tolerance::One(x) => *x,
            Tolerance::Each(v) => v[i],
        };
        if (0..dim).any(|i| at(&self.rtol, i) == 0.0 && at(&self.atol, i) == 0.0) {
            return Err(OdeError::Option { option: "atol", value: 0.0, must: "positive where rtol is zero" });
        }
        if let (Tolerance::One(r), Tolerance::One(a)) = (&self.rtol, &self.atol) {
            return Ok(Scale::One { atol: T::of(*a), rtol: T::of(*r) });
        }
        // The mean is of all components: scales that much smaller make it that of those that count.
        let counted = (0..dim).filter(|&i| at(&self.atol, i).is_finite()).count();
        let all = counted == dim || self.norm == Norm::Max;
        let share = if all { 1.0 } else { (counted as f64 / dim as f64).sqrt() };
        let spread = |tol: &Tolerance| -> Vec<T> {
            let scaled =
                |i: usize| if at(&self.atol, i).is_finite() { share * at(tol, i) } else { at(tol, i) };
            (0..dim * batch).map(|i| T::of(scaled(i % dim))).collect()
        };
        Ok(Scale::Each { atol: spread(&self.atol), rtol: spread(&self.rtol) })
    }
}

fn pos_opt(x: Option<f64>) -> bool {
    x.is_none_or(|v| v > 0.0 && v.is_finite())
}

/// The errors of the last two accepted steps, as logarithms.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ControlState {
    ln1: f64,
    ln2: f64,
    pub rejected: bool,
}

/// The order of the error estimate as it is observed, for tolerances near rounding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ObservedOrder {
    ln_h: f64,
    ln_e: f64,
    q: f64,
}

impl Default for ObservedOrder {
    fn default() -> Self {
        Self { ln_h: f64::NAN, ln_e: f64::NAN, q: f64::INFINITY }
    }
}

impl ObservedOrder {
    /// As numbers that can be written: at first they are not finite.
    pub fn bits(&self) -> [u64; 3] {
        [self.ln_h, self.ln_e, self.q].map(f64::to_bits)
    }
    /// From [`bits`](Self::bits).
    pub fn from_bits(bits: [u64; 3]) -> Self {
        let [ln_h, ln_e, q] = bits.map(f64::from_bits);
        Self { ln_h, ln_e, q }
    }
    /// Factor after an accepted step, where rounding rules.
    pub fn factor(&mut self, c: &Controller, k: f64, h: f64, e: f64) -> Option<f64> {
        let (ln_h, ln_e) = (h.abs().ln(), e.max(ControlState::FLOOR).ln());
        let change = ln_h - self.ln_h;
        if change.abs() > 0.1 {
            self.q = ((ln_e - self.ln_e) / change).max(1.0);
        }
        (self.ln_h, self.ln_e) = (ln_h, ln_e);
        (self.q < 0.5 * k).then(|| (c.safety * (-ln_e / self.q).exp()).clamp(c.min_factor, 4.0))
    }
}

impl ControlState {
    /// As numbers that can be written.
    pub fn bits(&self) -> [u64; 3] {
        [self.ln1.to_bits(), self.ln2.to_bits(), self.rejected as u64]
    }
    /// From [`bits`](Self::bits).
    pub fn from_bits([ln1, ln2, rejected]: [u64; 3]) -> Self {
        Self { ln1: f64::from_bits(ln1), ln2: f64::from_bits(ln2), rejected: rejected != 0 }
    }
    /// Errors below this count as this.
    const FLOOR: f64 = 1e-10;

    /// Factor for the step after an accepted one with error e <= 1, from its square. Every step waits for it, so what does not depend on e comes first;
    /// single precision is enough and its functions are faster: factors are good to 1e-6.
    #[inline(always)]
    pub fn accepted(&mut self, c: &Controller, k: f64, square: f64) -> f64 {
        let per_order = 1.0 / k;
        let past = (c.beta * self.ln1 - c.gamma * self.ln2) * per_order;
        let slope = 0.5 * c.alpha * per_order;
        let ln = (square.max(Self::FLOOR * Self::FLOOR) as f32).ln() as f64;
        let mut factor = c.safety * ((past - slope * ln) as f32).exp() as f64;
        factor = factor.clamp(c.min_factor, c.max_factor);
        if self.rejected {
            factor = factor.min(1.0);
        }
        *self = Self { ln1: 0.5 * ln, ln2: self.ln1, rejected: false };
        factor
    }
    /// Factor for another try after error e > 1 or not finite: below one.
    pub fn rejected(&mut self, c: &Controller, k: f64, e: f64) -> f64 {
        self.rejected = true;
        if e.is_finite() {
            (c.safety * (-e.ln() / k).exp()).clamp(c.min_factor, c.safety)
        } else {
            c.not_finite_factor
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_step_strictly_shrinks() {
        for c in [Controller::i(), Controller::default(), Controller::pid(0.3, 0.3, 0.05)] {
            for e in [1.0 + 1e-15, 1.01, 2.0, 1e10, 1e300, f64::INFINITY, f64::NAN] {
                let f = ControlState::default().rejected(&c, 5.0, e);
                assert!(f > 0.0 && f <= c.safety.max(c.not_finite_factor) && f < 1.0, "{e}: {f}");
            }
        }
    }

    #[test]
    fn where_rounding_rules_the_order_is_measured() {
        let (c, mut o) = (Controller::default(), ObservedOrder::default());
        // E = 3 h: nothing is known after one step, all after two.
        assert_eq!(o.factor(&c, 5.0, 0.01, 0.03), None);
        assert_eq!(o.factor(&c, 5.0, 0.02, 0.06), Some(4.0));
        assert!((o.factor(&c, 5.0, 0.08, 0.24).unwrap() - 0.8 / 0.24).abs() < 1e-12);
        // No change of h, no news.
        assert!((o.factor(&c, 5.0, 0.08, 0.4).unwrap() - 2.0).abs() < 1e-12);
        // E = h^5 again.
        assert_eq!(o.factor(&c, 5.0, 0.16, 0.4 * 32.0), None);
    }

    #[test]
    fn integral_control_hits_the_error_it_aims_at() {
        let c = Controller::i();
        let f = ControlState::default().accepted(&c, 5.0, 0.5 * 0.5);
        assert!((f - 0.9 * 0.5f64.powf(-0.2)).abs() < 1e-6);
        let mut s = ControlState::default();
        s.rejected(&c, 5.0, 3.0);
        assert_eq!(s.accepted(&c, 5.0, 1e-6), 1.0, "no growth right after a rejection");
        let pid = Controller::pid(0.1, 0.3, 0.02);
        let mut s = ControlState::default();
        s.accepted(&pid, 3.0, 0.7 * 0.7);
        s.accepted(&pid, 3.0, 0.5 * 0.5);
        let f = s.accepted(&pid, 3.0, 0.4 * 0.4);
        let want = 0.9 * 0.4f64.powf(-0.42 / 3.0) * 0.5f64.powf(0.14 / 3.0) * 0.7f64.powf(-0.02 / 3.0);
        assert!((f - want).abs() < 1e-6);
    }
}
