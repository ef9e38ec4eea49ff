//! Explicit where the problem is not stiff, implicit where it is.

use std::ops::ControlFlow;

use super::super::explicit::Integrator;
use super::super::method::{Integrate, Method, Storage};
use super::super::options::Options;
use super::super::report::{OdeCounts, OdeReport, OdeStop};
use super::super::step::{Start, Step, StepBuffers, StepSink};
use super::super::stepper::Facts;
use super::super::tableau::Tableau;
use super::integrator::StiffIntegrator;
use super::matrices::SMALL;
use super::price::Prices;
use super::tableau::RosenbrockTableau;
use crate::diff::Map;
use crate::error::OdeError;
use crate::linalg::Scalar;

/// Accepted steps at the stability limit after which the explicit method gives way.
const STIFF_STEPS: u32 = 10;
/// Steps of the implicit method, one after another, that the explicit one could make too, after which it comes back.
const EASY_STEPS: u32 = 5;
/// Share of the stability interval that counts as all of it.
const LIMIT: f64 = 0.9;

/// A change of method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Switch {
    /// Where.
    pub t: f64,
    /// Whether to the implicit method.
    pub to_stiff: bool,
    /// |h| times the estimate of the dominant eigenvalue that decided it.
    pub size: f64,
}

/// Integration that begins with an explicit method, goes over to a Rosenbrock method where |h| times Shampine's estimate S of the dominant
/// eigenvalue stays at the explicit method's stability limit, and comes back where |h| times the norm of the Jacobian, min(|J|_1, |J|_inf), stays
/// within it. (S of an implicit method would not do: it sees only what the last two stages differ by.) An explicit step that shrinks away is tried
/// by the implicit method, too.
///
/// With more than 30 unknowns a factorization must pay, too. Costs are counted in operations: those of the factors are known, an evaluation is thought to take two an entry of the
/// Jacobian. The implicit method is tried once the explicit steps have cost as much as four of its own (and, before a sparse matrix is analyzed, five times the
/// analysis), so a try that is in vain costs no more than what is done already; it stays as long as it gets further for its operations than the explicit
/// one did at its limit; after a try in vain four times as much must be spent before the next.
///
/// Options, sinks and report are those of both; [`OdeReport::stiff_at`] is the first change, [`switches`](Self::switches) has all. Sinks see
/// one integration. Its discrete adjoint is [`Adjoint`](crate::adjoint::Adjoint) with the pair of tableaus: each step is transposed by the method that made it.
///
/// ```
/// use costate::diff::{FnMap, Map};
/// use costate::ode::{Auto, Options, RODAS5P, TSIT54};
/// // Van der Pol's oscillator, mu = 1000.
/// let field = FnMap::new(2, 0, |_t, y: &[f64], _p: &[f64], dy: &mut [f64]| {
///     dy[0] = y[1];
///     dy[1] = 1e3 * (1.0 - y[0] * y[0]) * y[1] - y[0];
/// });
/// let mut field = field
///     .with_jacobian(|_t, y: &[f64], _p: &[f64], jac: &mut [f64]| {
///         jac.copy_from_slice(&[0.0, -2e3 * y[0] * y[1] - 1.0, 1.0, 1e3 * (1.0 - y[0] * y[0])]);
///     })
///     .autonomous();
/// let mut auto = Auto::new(&TSIT54, &RODAS5P, 2, 1, &Options::tolerances(1e-6, 1e-9))?;
/// let report = auto.run(&mut field, (0.0, 2e3), &[2.0, 0.0], &[], &mut ())?;
/// assert!(report.ok() && auto.switches()[0].to_stiff);
/// assert!((auto.y()[0] - 1.7061677).abs() < 1e-5);
/// # Ok::<(), costate::ode::OdeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Auto<T: Scalar> {
    explicit: Integrator<T>,
    stiff: StiffIntegrator<T>,
    options: Options,
    y: Vec<T>,
    /// Where the next part begins.
    start: Vec<T>,
    switches: Vec<Switch>,
}

impl<T: Scalar> Method<T> for (&'static Tableau, &'static RosenbrockTableau) {
    type Integrator = Auto<T>;
    fn integrator(self, dim: usize, batch: usize, options: &Options) -> Result<Auto<T>, OdeError> {
        Auto::new(self.0, self.1, dim, batch, options)
    }
}

impl<T: Scalar> Storage<T> for Auto<T> {
    fn y(&self) -> &[T] {
        &self.y
    }
    fn facts(&self) -> Facts {
        Storage::facts(&self.explicit)
    }
}

impl<T: Scalar, F: Map<T>> Integrate<T, F> for Auto<T> {
    fn sizes(field: &F) -> (usize, usize) {
        (field.inputs(), field.n_params())
    }
    fn run<K: StepSink<T>>(
        &mut self,
        field: &mut F,
        span: (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut K,
    ) -> Result<OdeReport, OdeError> {
        Auto::run(self, field, span, y0, p, sinks)
    }
}

impl<T: Scalar> Auto<T> {
    /// Storage for states of dim x batch.
    pub fn new(
        explicit: &'static Tableau,
        stiff: &'static RosenbrockTableau,
        dim: usize,
        batch: usize,
        options: &Options,
    ) -> Result<Self, OdeError> {
        let mut explicit = Integrator::new(explicit, dim, batch, options)?;
        // The runs of its parts are ended to change the method.
        explicit.explains_stops = false;
        Ok(Self {
            explicit,
            stiff: StiffIntegrator::new(stiff, dim, batch, options)?,
            options: options.clone(),
            y: vec![T::ZERO; dim * batch],
            start: vec![],
            switches: vec![],
        })
    }
    /// The final state of the last run.
    pub fn y(&self) -> &[T] {
        &self.y
    }
    /// Its two integrators.
    pub(crate) fn parts(&self) -> (&Integrator<T>, &StiffIntegrator<T>) {
        (&self.explicit, &self.stiff)
    }
    /// Where the last run changed its method, in order.
    pub fn switches(&self) -> &[Switch] {
        &self.switches
    }

    /// Integrates from (t0, y0) to t1, forwards or backwards; `sinks` see every accepted step.
    pub fn run<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        (t0, t1): (T, T),
        y0: &[T],
        p: &[T],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        self.switches.clear();
        let stability = self.explicit.method().stability;
        let mut watch = Watch {
            sinks,
            whole: (t0, t1),
            fresh: true,
            index: 0,
            patience: self.options.max_steps / 4,
            stiff: false,
            stability,
            hits: 0,
            misses: 0,
            switch: false,
            ended: false,
            size: 0.0,
            balance: Balance::new(field, y0.len()),
        };
        let (mut t, mut first_step) = (t0, self.options.first_step);
        let mut total = OdeCounts::default();
        self.start.clear();
        self.start.extend_from_slice(y0);
        loop {
            let left = self.options.max_steps.saturating_sub(total.accepted + total.rejected);
            watch.restart(total.accepted);
            let mut report = if watch.stiff {
                let options = self.stiff.options_mut();
                (options.first_step, options.max_steps) = (first_step, left);
                self.stiff.run(field, (t, t1), &self.start, p, &mut watch)?
            } else {
                let options = self.explicit.options_mut();
                (options.first_step, options.max_steps) = (first_step, left);
                self.explicit.run(field, (t, t1), &self.start, p, &mut watch)?
            };
            watch.balance.part_ends(&report.counts);
            total += report.counts;
            t = T::of(report.t);
            let y = if watch.stiff { self.stiff.y() } else { self.explicit.y() };
            self.start.copy_from_slice(y);
            let shrunk =
                !watch.stiff && report.stop == OdeStop::StepUnderflow && self.options.fixed_step.is_none();
            let switch = (watch.switch && !watch.ended) || shrunk;
            if switch && t != t1 {
                let on = Some(report.h.abs()).filter(|h| *h > 0.0 && !shrunk);
                if !watch.stiff && watch.balance.is_kept() && !shrunk {
                    watch.balance.survey(&mut self.stiff, field)?;
                    if !watch.may_try() {
                        first_step = on;
                        continue;
                    }
                }
                watch.stiff = !watch.stiff;
                watch.balance.turn(watch.stiff, shrunk);
                self.switches.push(Switch { t: report.t, to_stiff: watch.stiff, size: watch.size });
                // A step that shrank away would be too short for the implicit method too: it chooses its own.
                first_step = on;
                continue;
            }
            if switch && !shrunk {
                report.stop = OdeStop::Finished;
            }
            self.y.copy_from_slice(&self.start);
            report.counts = total;
            report.stiff_at = self.switches.first().map(|s| s.t);
            return Ok(report);
        }
    }
}

/// Tries that the explicit steps must have paid for: so many steps of the implicit method, and their lengths grow meanwhile.
const TRIAL: u64 = 4;
/// Steps, one after another, that do not pay.
const IN_VAIN: u32 = 3;
/// What the next try costs beside the one in vain.
const DEARER: f64 = 4.0;
/// Costs of an analysis that must be spent before it.
const BEFORE_ANALYSIS: f64 = 5.0;

/// The costs of the two methods, for many unknowns.
#[derive(Debug)]
struct Balance {
    prices: Prices,
    kept: bool,
    batch: usize,
    surveyed: bool,
    /// What explicit steps must cost before the next try, and what they have cost since the last.
    try_at: f64,
    spent: f64,
    /// Of the part that runs: its cost before the last step, steps, and where the last one ended.
    before: f64,
    steps: u64,
    last: f64,
    /// Where and at what cost the explicit method came to its limit, and how far it got for its operations there.
    mark: (f64, f64),
    speed: f64,
    in_vain: u32,
    /// What a try may cost before its steps must pay.
    budget: f64,
}

impl Balance {
    fn new<T: Scalar, F: Map<T>>(field: &F, len: usize) -> Self {
        let dim = field.inputs().max(1);
        let (kept, batch) = (dim > SMALL, len / dim);
        let prices = Prices::new(field, batch);
        let try_at = BEFORE_ANALYSIS * prices.analysis;
        let (surveyed, spent, before, steps, last) = (false, 0.0, 0.0, 0, f64::NAN);
        let (mark, speed, in_vain, budget) = ((0.0, 0.0), 0.0, 0, f64::INFINITY);
        Self {
            prices,
            kept,
            batch,
            surveyed,
            try_at,
            spent,
            before,
            steps,
            last,
            mark,
            speed,
            in_vain,
            budget,
        }
    }
    /// Costs count.
    fn is_kept(&self) -> bool {
        self.kept
    }
    fn may_try(&self) -> bool {
        self.spent >= self.try_at
    }
    /// An accepted step that ends at t; `hit`: the first of many at the stability limit.
    fn step(&mut self, t: f64, counts: &OdeCounts, hit: bool) {
        let now = self.prices.of(counts);
        let (cost, length) = (now - self.before, (t - self.last).abs());
        (self.before, self.last) = (now, t);
        self.spent += cost;
        self.steps += 1;
        if hit {
            self.mark = (t, self.spent);
        }
        let tried = self.steps > TRIAL || self.spent > self.budget;
        let pays = !tried || length.is_nan() || length >= self.speed * cost;
        self.in_vain = if pays { 0 } else { self.in_vain + 1 };
    }
    fn does_not_pay(&self) -> bool {
        self.in_vain >= IN_VAIN
    }
    /// A part of the integration is over.
    fn part_ends(&mut self, counts: &OdeCounts) {
        self.spent += self.prices.of(counts) - self.before;
        self.before = 0.0;
    }
    /// Finds out what the steps of the implicit method cost.
    fn survey<T: Scalar, F: Map<T>>(
        &mut self,
        stiff: &mut StiffIntegrator<T>,
        field: &F,
    ) -> Result<(), OdeError> {
        if self.surveyed {
            return Ok(());
        }
        let (choice, source, evals) = stiff.survey(field)?;
        let solves = stiff.method().stages();
        self.prices = self.prices.with(&choice, solves, self.batch);
        self.try_at = TRIAL as f64 * self.prices.step(evals, solves, source);
        self.surveyed = true;
        Ok(())
    }
    /// The method changes.
    fn turn(&mut self, to_stiff: bool, shrunk: bool) {
        if to_stiff {
            // Steps that shrank away are no limit to compare with.
            let speed = (self.last - self.mark.0).abs() / (self.spent - self.mark.1);
            self.speed = if shrunk || !speed.is_finite() { 0.0 } else { speed };
        } else if self.does_not_pay() {
            self.try_at *= DEARER;
        }
        self.budget = if to_stiff { self.spent } else { f64::INFINITY };
        (self.spent, self.steps, self.in_vain) = (0.0, 0, 0);
    }
}

/// Passes the steps on to the user's sinks and ends a part of the integration where the method should change.
struct Watch<'s, T, S> {
    sinks: &'s mut S,
    whole: (T, T),
    fresh: bool,
    index: u64,
    /// Steps after which a matrix is factored whatever it costs.
    patience: u64,
    stiff: bool,
    stability: f64,
    hits: u32,
    misses: u32,
    /// Change the method here.
    switch: bool,
    /// A sink of the user's ended the integration.
    ended: bool,
    size: f64,
    balance: Balance,
}

impl<T: Scalar, S: StepSink<T>> Watch<'_, T, S> {
    fn restart(&mut self, index: u64) {
        (self.index, self.hits, self.misses) = (index, 0, 0);
        (self.switch, self.ended) = (false, false);
    }
    /// Whether the explicit steps have cost as much as trying the other method would.
    fn may_try(&self) -> bool {
        self.balance.may_try() || self.index > self.patience
    }
    fn judge(&mut self, step: &mut Step<'_, T>) {
        let estimate = if self.stiff { step.body.radius().unwrap_or(T::ZERO) } else { step.stiffness() };
        self.size = (estimate * step.h()).abs().f64();
        let at_limit = self.size > LIMIT * self.stability;
        let hit = at_limit != self.stiff;
        if hit {
            (self.hits, self.misses) = (self.hits + 1, 0);
        } else {
            self.misses += 1;
            if self.stiff || self.misses >= 6 {
                self.hits = 0;
            }
        }
        if !self.balance.is_kept() {
            self.switch = self.hits >= if self.stiff { EASY_STEPS } else { STIFF_STEPS };
            return;
        }
        self.balance.step(step.t1().f64(), step.counts, self.hits == 1 && hit);
        self.index = step.index;
        self.switch = if self.stiff {
            self.hits >= EASY_STEPS || self.balance.does_not_pay()
        } else {
            self.hits >= STIFF_STEPS && self.may_try()
        };
    }
}

impl<T: Scalar, S: StepSink<T>> StepSink<T> for Watch<'_, T, S> {
    fn start(&mut self, start: &Start<'_, T>) -> Result<(), OdeError> {
        if !std::mem::take(&mut self.fresh) {
            return Ok(());
        }
        self.sinks.start(&Start { t0: self.whole.0, t1: self.whole.1, ..*start })
    }
    fn accepted(&mut self, step: &mut Step<'_, T>) -> ControlFlow<()> {
        step.index += self.index;
        step.method = self.stiff as u8;
        self.ended = self.sinks.accepted(step).is_break();
        self.judge(step);
        if self.ended || self.switch { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn retain(&mut self, buffers: &mut StepBuffers<'_, T>) {
        self.sinks.retain(buffers);
    }
    fn wants_keep(&self) -> bool {
        self.sinks.wants_keep()
    }
}
