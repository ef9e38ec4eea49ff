//! How a stochastic integration answers.

use serde::Serialize;

use crate::ode::OdeStop;

/// What it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SdeCounts {
    /// Calls of the drift (a batch is one call).
    pub drift: u64,
    /// Calls of the diffusion.
    pub diffusion: u64,
    /// Accepted steps.
    pub accepted: u64,
    /// Rejected attempts.
    pub rejected: u64,
    /// Attempts whose error was not finite.
    pub not_finite: u64,
    /// Attempts that ended outside the domain ([`SdeOptions::domain`](super::SdeOptions::domain)): refused, with a fixed step accepted.
    pub outside: u64,
    /// Calls of the two pullbacks (adjoint only).
    pub pullbacks: u64,
    /// Steps computed again (adjoint only).
    pub recomputed: u64,
}

impl std::ops::AddAssign for SdeCounts {
    fn add_assign(&mut self, other: Self) {
        let Self { drift, diffusion, accepted, rejected, not_finite, outside, pullbacks, recomputed } = other;
        self.drift += drift;
        self.diffusion += diffusion;
        self.accepted += accepted;
        self.rejected += rejected;
        self.not_finite += not_finite;
        self.outside += outside;
        self.pullbacks += pullbacks;
        self.recomputed += recomputed;
    }
}

/// The answer; the final state is the integrator's [`y`](super::SdeIntegrator::y).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SdeReport {
    /// Why it ended.
    pub stop: OdeStop,
    /// Where.
    pub t: f64,
    /// The last step tried, or the next one planned.
    pub h: f64,
    /// Scaled error of the last attempt.
    pub error: f64,
    /// Largest h S over the accepted steps, of methods that have it.
    pub stiffness: Option<f64>,
    /// The method's stability size, what h S is compared with.
    pub stability: f64,
    /// Evaluations and steps.
    pub counts: SdeCounts,
}

impl SdeReport {
    /// Of a trajectory whose drift or diffusion panicked: how far it came is lost with the panic, so the start is what it names.
    pub(crate) fn panicked(t0: f64, stability: f64) -> Self {
        let counts = SdeCounts::default();
        Self { stop: OdeStop::Panicked, t: t0, h: 0.0, error: 0.0, stiffness: None, stability, counts }
    }

    /// Whether t1 was reached, or a sink ended the integration.
    pub fn ok(&self) -> bool {
        matches!(self.stop, OdeStop::Finished | OdeStop::Stopped)
    }

    /// One or two sentences for people: where, how stiff, what to try.
    pub fn message(&self) -> String {
        let SdeCounts { accepted, rejected, not_finite, outside, .. } = self.counts;
        let names = ("drift or diffusion is", "a sink");
        let head = match self.stop.opening(names, (self.t, self.h), (accepted, rejected)) {
            Ok(head) => head,
            Err(all) => return all,
        };
        let advice = if !self.error.is_finite() {
            format!(
                "drift or diffusion is not finite near this point ({not_finite} attempts): the solution may leave its domain or blow up; use a shorter step, or check the equation"
            )
        } else if 5 * outside > 2 * (accepted + rejected) {
            format!(
                "{outside} attempts left the domain: the solution seems to leave it here; look at the bounds"
            )
        } else if self.stiffness.is_some_and(|s| s > 0.5 * self.stability) {
            format!(
                "h times the stiffness estimate reached {:.2} where the method is stable up to about {:.2}: the drift is stiff here; loosen the tolerances or shorten the step",
                self.stiffness.unwrap_or(0.0),
                self.stability
            )
        } else {
            "loosen the tolerances, lower delta, raise max_steps or the path's depth".to_string()
        };
        format!("{head}; {advice}")
    }
}
