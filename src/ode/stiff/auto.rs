//! Explicit where the problem is not stiff, implicit where it is.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::super::driver::{Driver, Saved};
use super::super::explicit::Integrator;
use super::super::method::{Integrate, Method, Storage};
use super::super::options::Options;
use super::super::pace::exact;
use super::super::report::{OdeCounts, OdeReport, OdeStop};
use super::super::step::{Start, Step, StepBuffers, StepSink};
use super::super::stepper::{Facts, Stepper};
use super::super::tableau::Tableau;
use super::balance::Balance;
use super::integrator::StiffIntegrator;
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Switch {
    /// Where.
    #[serde(with = "exact")]
    pub t: f64,
    /// Whether to the implicit method.
    pub to_stiff: bool,
    /// |h| times the estimate of the dominant eigenvalue that decided it.
    #[serde(with = "exact")]
    pub size: f64,
}

/// What the choice remembers of the steps so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Memory {
    stiff: bool,
    hits: u32,
    misses: u32,
    /// Change the method here.
    switch: bool,
    #[serde(with = "exact")]
    size: f64,
    balance: Balance,
    /// What the parts before this one took.
    before: OdeCounts,
}

/// Where an automatic integration stands between two steps: as [`Saved`], and what the choice of the method remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedAuto {
    part: Saved,
    memory: Memory,
    switches: Vec<Switch>,
}

impl SavedAuto {
    /// The time.
    pub fn t(&self) -> f64 {
        self.part.t()
    }
    /// The state, dim x batch.
    pub fn y(&self) -> Vec<f64> {
        self.part.y()
    }
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
    /// Where a part begins, between runs.
    start: Vec<T>,
    switches: Vec<Switch>,
    /// How the last run ended.
    memory: Option<Memory>,
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
            start: vec![T::ZERO; dim * batch],
            switches: vec![],
            memory: None,
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
        let memory = Memory {
            stiff: false,
            hits: 0,
            misses: 0,
            switch: false,
            size: 0.0,
            balance: Balance::new(field, y0.len()),
            before: OdeCounts::default(),
        };
        let y = copied(std::mem::take(&mut self.start), y0);
        let from = From::State { t: t0, y, first_step: self.options.first_step };
        self.go(field, from, t1, p, sinks, memory)
    }

    /// Where the last run stood after its last step, to go on from there ([`resume`](Self::resume)) with this integrator or another of the same methods and options; none before
    /// the first run, or where the start was not finite.
    pub fn saved(&self) -> Option<SavedAuto> {
        let memory = self.memory.clone()?;
        let part = if memory.stiff { self.stiff.saved() } else { self.explicit.saved() };
        Some(SavedAuto { part: part?, memory, switches: self.switches.clone() })
    }

    /// Goes on from a saved state to t1, as [`Driver::resume`] does: the steps and the changes of the method are, bit for bit, those of the run that was interrupted after a step.
    pub fn resume<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        saved: &SavedAuto,
        t1: T,
        p: &[T],
        sinks: &mut S,
    ) -> Result<OdeReport, OdeError> {
        let SavedAuto { part, mut memory, switches } = saved.clone();
        part.goes_on_to(t1.f64())?;
        self.switches = switches;
        let from = if memory.switch {
            // The run that was not interrupted changes its method here.
            memory.part_ends(part.counts());
            let y = part.y().into_iter().map(T::of).collect();
            let first_step = self.turn(field, &mut memory, (part.t(), part.h()), false)?;
            From::State { t: T::of(part.t()), y, first_step }
        } else {
            From::Saved(Box::new(part))
        };
        self.go(field, from, t1, p, sinks, memory)
    }

    fn go<F: Map<T>, S: StepSink<T>>(
        &mut self,
        field: &mut F,
        mut from: From<T>,
        t1: T,
        p: &[T],
        sinks: &mut S,
        memory: Memory,
    ) -> Result<OdeReport, OdeError> {
        self.memory = None;
        let (whole, patience) = ((from.t(), t1), self.options.max_steps / 4);
        let stability = self.explicit.method().stability;
        let mut watch = Watch { sinks, whole, fresh: true, patience, stability, ended: false, memory };
        loop {
            let before = watch.memory.before;
            let left = self.options.max_steps.saturating_sub(before.accepted + before.rejected);
            let mut report = if watch.memory.stiff {
                part(&mut self.stiff, field, (&from, t1), p, left, &mut watch)?
            } else {
                part(&mut self.explicit, field, (&from, t1), p, left, &mut watch)?
            };
            let y = if watch.memory.stiff { self.stiff.y() } else { self.explicit.y() };
            let shrunk = !watch.memory.stiff
                && report.stop == OdeStop::StepUnderflow
                && self.options.fixed_step.is_none();
            let switch = (watch.memory.switch && !watch.ended) || shrunk;
            if switch && T::of(report.t) != t1 {
                let storage = match from {
                    From::State { y, .. } => y,
                    From::Saved(_) => std::mem::take(&mut self.start),
                };
                let (t, y) = (T::of(report.t), copied(storage, y));
                watch.memory.part_ends(&report.counts);
                let first_step = self.turn(field, &mut watch.memory, (report.t, report.h), shrunk)?;
                from = From::State { t, y, first_step };
                continue;
            }
            if switch && !shrunk {
                report.stop = OdeStop::Finished;
            }
            self.y.copy_from_slice(y);
            if let From::State { y, .. } = from {
                self.start = y;
            }
            report.counts += before;
            report.stiff_at = self.switches.first().map(|s| s.t);
            self.memory = Some(watch.memory);
            return Ok(report);
        }
    }

    /// Changes the method at t, where the next step would have length h, if trying the other is worth it; the first step after that.
    fn turn<F: Map<T>>(
        &mut self,
        field: &F,
        memory: &mut Memory,
        (t, h): (f64, f64),
        shrunk: bool,
    ) -> Result<Option<f64>, OdeError> {
        (memory.hits, memory.misses, memory.switch) = (0, 0, false);
        // A step that shrank away would be too short for the implicit method too: it chooses its own.
        let first_step = Some(h.abs()).filter(|h| *h > 0.0 && !shrunk);
        if !memory.stiff && memory.balance.is_kept() && !shrunk {
            memory.balance.survey(&mut self.stiff, field)?;
            if !memory.may_try(0, self.options.max_steps / 4) {
                return Ok(first_step);
            }
        }
        memory.stiff = !memory.stiff;
        memory.balance.turn(memory.stiff, shrunk);
        self.switches.push(Switch { t, to_stiff: memory.stiff, size: memory.size });
        Ok(first_step)
    }
}

/// Where a part of an integration, with one method, begins.
enum From<T> {
    State { t: T, y: Vec<T>, first_step: Option<f64> },
    Saved(Box<Saved>),
}

fn copied<T: Scalar>(mut storage: Vec<T>, y: &[T]) -> Vec<T> {
    storage.clear();
    storage.extend_from_slice(y);
    storage
}

impl<T: Scalar> From<T> {
    fn t(&self) -> T {
        match self {
            Self::State { t, .. } => *t,
            Self::Saved(saved) => T::of(saved.t()),
        }
    }
}

/// Integrates with one method, until the other should take over.
fn part<T: Scalar, M: Stepper<T, F>, F: Map<T>, K: StepSink<T>>(
    integrator: &mut Driver<T, M>,
    field: &mut F,
    (from, t1): (&From<T>, T),
    p: &[T],
    max_steps: u64,
    sinks: &mut K,
) -> Result<OdeReport, OdeError> {
    integrator.options_mut().max_steps = max_steps;
    match from {
        From::State { t, y, first_step } => {
            integrator.options_mut().first_step = *first_step;
            integrator.run(field, (*t, t1), y, p, sinks)
        }
        From::Saved(saved) => integrator.resume(field, saved, t1, p, sinks),
    }
}

impl Memory {
    fn part_ends(&mut self, counts: &OdeCounts) {
        self.balance.part_ends(counts);
        self.before += *counts;
    }
    /// Whether the explicit steps, so many in this part, have cost as much as trying the other method would.
    fn may_try(&self, accepted: u64, patience: u64) -> bool {
        self.balance.may_try() || self.before.accepted + accepted > patience
    }
}

/// Passes the steps on to the user's sinks and ends a part of the integration where the method should change.
struct Watch<'s, T, S> {
    sinks: &'s mut S,
    whole: (T, T),
    fresh: bool,
    /// Steps after which a matrix is factored whatever it costs.
    patience: u64,
    stability: f64,
    /// A sink of the user's ended the integration.
    ended: bool,
    memory: Memory,
}

impl<T: Scalar, S: StepSink<T>> Watch<'_, T, S> {
    fn judge(&mut self, step: &mut Step<'_, T>, accepted: u64) {
        let m = &mut self.memory;
        let estimate = if m.stiff { step.body.radius().unwrap_or(T::ZERO) } else { step.stiffness() };
        m.size = (estimate * step.h()).abs().f64();
        let at_limit = m.size > LIMIT * self.stability;
        let hit = at_limit != m.stiff;
        if hit {
            (m.hits, m.misses) = (m.hits + 1, 0);
        } else {
            m.misses += 1;
            if m.stiff || m.misses >= 6 {
                m.hits = 0;
            }
        }
        if !m.balance.is_kept() {
            m.switch = m.hits >= if m.stiff { EASY_STEPS } else { STIFF_STEPS };
            return;
        }
        m.balance.step(step.t1().f64(), step.counts, m.hits == 1 && hit);
        m.switch = if m.stiff {
            m.hits >= EASY_STEPS || m.balance.does_not_pay()
        } else {
            m.hits >= STIFF_STEPS && m.may_try(accepted, self.patience)
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
        let accepted = step.index;
        step.index += self.memory.before.accepted;
        step.method = self.memory.stiff as u8;
        self.ended = self.sinks.accepted(step).is_break();
        self.judge(step, accepted);
        if self.ended || self.memory.switch { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
    fn retain(&mut self, buffers: &mut StepBuffers<'_, T>) {
        self.sinks.retain(buffers);
    }
    fn wants_keep(&self) -> bool {
        self.sinks.wants_keep()
    }
}
