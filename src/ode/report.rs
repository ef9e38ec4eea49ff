//! How an integration answers.

use serde::{Deserialize, Serialize};

use super::diagnosis::Diagnosis;

/// Why an integration ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OdeStop {
    /// It reached t1.
    Finished,
    /// A sink (an event, an observer) ended it.
    Stopped,
    /// The times of an event, as the impacts of a ball that comes to rest, have a limit: the solution goes on there in another way (at rest, sliding).
    EventsAccumulate {
        /// The limit.
        at: f64,
    },
    /// The limit on attempted steps.
    MaxSteps,
    /// The step fell below the smallest one.
    StepUnderflow,
    /// The field is not finite at the start.
    StartNotFinite,
    /// The nonlinear or linear solver inside an implicit method gave up.
    SolverFailed,
    /// A fixed step met values that are not finite, and must not shrink.
    NotFinite,
    /// Of an ensemble's trajectory: what is the user's panicked, [`Ensemble::panics`](super::Ensemble::panics) says with what. A single integration
    /// returns [`OdeError::FieldPanicked`](super::OdeError::FieldPanicked) instead.
    Panicked,
}

impl OdeStop {
    /// What happened and where; as an error if no advice follows. `names`: what may not be finite, with its verb, and who may stop the integration.
    pub(crate) fn opening(
        self,
        (field, who): (&str, &str),
        (t, h): (f64, f64),
        (accepted, rejected): (u64, u64),
    ) -> Result<String, String> {
        let steps = format!("{accepted} steps and {rejected} rejections");
        let at = format!("t = {t:.6e}");
        match self {
            OdeStop::Finished => Err(format!("finished at {at} after {steps}")),
            OdeStop::Stopped => Err(format!("stopped by {who} at {at} after {steps}")),
            OdeStop::EventsAccumulate { at: limit } => Err(format!(
                "events accumulate at t = {limit:.9e}: stopped at {at} after {steps}; go on from there with what holds then, at rest or sliding"
            )),
            OdeStop::StartNotFinite => {
                Err(format!("{field} not finite at the start, {at}: check the start and the parameters"))
            }
            OdeStop::SolverFailed => Err(format!(
                "the implicit equations could not be solved at {at} after {steps}: check that the Jacobian belongs to the field, and that the field is finite there"
            )),
            OdeStop::Panicked => {
                Err("the equation's functions panicked: the ensemble's list of panics has the text"
                    .to_string())
            }
            OdeStop::NotFinite => {
                Ok(format!("the fixed step {h:.3e} met values that are not finite at {at} after {steps}"))
            }
            OdeStop::MaxSteps => {
                Ok(format!("reached the limit of steps at {at}: {steps}, last step {h:.3e}"))
            }
            OdeStop::StepUnderflow => Ok(format!("the step fell to {h:.3e} at {at} after {steps}")),
        }
    }
}

/// What it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OdeCounts {
    /// Calls of the field, of the drift where there is noise (a batch is one call).
    pub evals: u64,
    /// Calls of the diffusion.
    pub diffusions: u64,
    /// Accepted steps.
    pub accepted: u64,
    /// Rejected attempts, those with values that are not finite included.
    pub rejected: u64,
    /// Attempts whose error was not finite.
    pub not_finite: u64,
    /// Attempts that ended outside the domain ([`Options::domain`](super::Options::domain)): refused, with a fixed step accepted.
    pub outside: u64,
    /// Jacobians made (implicit methods only).
    pub jacobians: u64,
    /// Matrices factored (implicit methods only).
    pub factorizations: u64,
    /// Calls of the pullback (by adjoints, and for Jacobians made from it).
    pub pullbacks: u64,
    /// Jacobian-vector products, each direction one: for Jacobians made of them, and df/dt.
    pub jvps: u64,
    /// Products with W = I / (h gamma) - J in linear solves by iteration (implicit methods only).
    pub iterations: u64,
    /// Steps computed again (adjoint only).
    pub recomputed: u64,
}

impl std::ops::AddAssign for OdeCounts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            evals,
            diffusions,
            accepted,
            rejected,
            not_finite,
            outside,
            jacobians,
            factorizations,
            pullbacks,
            jvps,
            iterations,
            recomputed,
        } = other;
        self.evals += evals;
        self.diffusions += diffusions;
        self.accepted += accepted;
        self.rejected += rejected;
        self.not_finite += not_finite;
        self.outside += outside;
        self.jacobians += jacobians;
        self.factorizations += factorizations;
        self.pullbacks += pullbacks;
        self.jvps += jvps;
        self.iterations += iterations;
        self.recomputed += recomputed;
    }
}

/// The answer; the final state is the integrator's [`y`](super::Integrator::y).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct OdeReport {
    /// Why it ended.
    pub stop: OdeStop,
    /// Where.
    pub t: f64,
    /// The last step tried, or the next one planned.
    pub h: f64,
    /// Scaled error of the last attempt.
    pub error: f64,
    /// Shampine's estimate of the dominant eigenvalue at the last accepted step, if one was computed; rough for [`BS32`](super::BS32).
    pub stiffness: Option<f64>,
    /// Size of the method's stability interval on the negative axis.
    pub stability: f64,
    /// First time at which h times the stiffness estimate stayed at the stability limit for 15 checked steps.
    pub stiff_at: Option<f64>,
    /// What made it fail, or cost much.
    pub diagnosis: Option<Diagnosis>,
    /// Evaluations and steps.
    pub counts: OdeCounts,
}

impl OdeReport {
    /// Of a trajectory whose field panicked: how far it came is lost with the panic, so the start is what it names.
    pub(crate) fn panicked(t0: f64, stability: f64) -> Self {
        Self {
            stop: OdeStop::Panicked,
            t: t0,
            h: 0.0,
            error: 0.0,
            stiffness: None,
            stability,
            stiff_at: None,
            diagnosis: None,
            counts: OdeCounts::default(),
        }
    }

    /// Whether t1, or a terminal event, was reached.
    pub fn ok(&self) -> bool {
        matches!(self.stop, OdeStop::Finished | OdeStop::Stopped)
    }

    /// One or two sentences for people: where, why, what to try.
    pub fn message(&self) -> String {
        let OdeCounts { accepted, rejected, .. } = self.counts;
        let names = ("the field is", "an event or a sink");
        match self.stop.opening(names, (self.t, self.h), (accepted, rejected)) {
            Ok(head) => format!("{head}; {}", self.advice()),
            Err(all) => match self.diagnosis {
                Some(
                    d @ (Diagnosis::Chattering { .. }
                    | Diagnosis::NotFinite { .. }
                    | Diagnosis::InvariantLost { .. }),
                ) => {
                    format!("{all}; {}", self.explain(d))
                }
                _ => all,
            },
        }
    }

    fn explain(&self, diagnosis: Diagnosis) -> String {
        let hs = self.stiffness.map_or(f64::NAN, |s| s * self.h.abs());
        match diagnosis {
            Diagnosis::Stiff => format!(
                "the dominant eigenvalue is about {:.3e}, and h times it is {hs:.2} where the method is stable up to {:.2}: the problem is stiff here; use a stiff method, or loosen the tolerances",
                self.stiffness.unwrap_or(f64::NAN),
                self.stability
            ),
            Diagnosis::Discontinuity { component, t } => format!(
                "component {component} of the field jumps near t = {t:.9e}, or has a singularity there: declare the time as a stop, or handle the place by an event"
            ),
            Diagnosis::Chattering { component, from, to } => format!(
                "component {component} of the field jumps and points back from both sides, from t = {from:.9e} to {to:.9e}: the solution slides along the jump and the steps cross it again and again; end there by an event and go on with the sliding equation, or smooth the jump"
            ),
            Diagnosis::LeavesDomain => {
                let OdeCounts { not_finite, outside, .. } = self.counts;
                format!(
                    "the field is not finite, or the bounds are left, in {} of the attempts: the solution leaves its domain near this point or blows up, or a zero tolerance meets a zero of the solution; check the field, or stop before with an event",
                    not_finite + outside
                )
            }
            Diagnosis::NotFinite { component } => {
                format!("component {component} of dy/dt is not finite there")
            }
            Diagnosis::InvariantLost { component, change, tolerance } => format!(
                "a linear invariant of the field, in which component {component} takes part, moved by {change:.1e} where the tolerance of its components is {tolerance:.1e}: rounding of the field over long stiff steps; declare it (Options::invariants), or use it to eliminate a component"
            ),
            Diagnosis::Resolution => format!(
                "the step is below what time resolves there, {:.1e} between neighbouring numbers: shift the origin of time, loosen the tolerances, or look for a singularity (then end before it with an event)",
                (self.t * f64::EPSILON).abs().max(f64::MIN_POSITIVE)
            ),
        }
    }

    fn advice(&self) -> String {
        if let Some(diagnosis) = self.diagnosis {
            return self.explain(diagnosis);
        }
        let limit = self.stability;
        // A limit of zero that the step fell below is no option to lower.
        let more = match self.stop {
            OdeStop::StepUnderflow => "lower min_step if it is set",
            _ => "raise max_steps",
        };
        match self.stiffness {
            Some(s) => format!(
                "the dominant eigenvalue is about {s:.3e} (h times it {:.2e}, stable up to {limit:.2}), so stability does not limit the step: loosen the tolerances, look for a discontinuity or a singularity (then an event), or {more}",
                s * self.h.abs()
            ),
            None if self.counts.accepted == 0 => {
                "no step was accepted: loosen the tolerances or give a first_step".to_string()
            }
            // Stiff methods.
            None if limit.is_infinite() => {
                format!("stability does not limit the steps of this method: loosen the tolerances, or {more}")
            }
            None => format!("the problem does not look stiff: loosen the tolerances, or {more}"),
        }
    }
}
