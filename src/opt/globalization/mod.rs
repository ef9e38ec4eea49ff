//! Which steps are accepted: one backtracking search, three judges. Each judge's constants stand in `constants`.

mod augmented;
pub(super) mod constants;
mod exact;
mod filter;
mod stretch;

pub(super) use augmented::AugmentedMerit;
pub(super) use exact::ExactMerit;
pub(super) use filter::{Filter, FilterSearch};

use super::phase::{Cause, PhaseEnd, Solve, over};

/// What is said of a trial point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Judgement {
    /// Acceptable and evaluated with its derivatives; `armijo`: by decrease of the merit function alone.
    Accepted { armijo: bool },
    /// Refused, with its violation.
    Refused { theta: f64 },
    /// Not evaluated.
    Failed,
}

/// Judges trial points along a step.
pub(super) trait Globalization {
    /// Steps shorter than this are not tried.
    fn shortest(&self) -> f64;
    /// Places the trial point at `alpha` along the step and evaluates it as far as needed, with its derivatives where it is accepted.
    fn attempt(&mut self, s: &mut Solve<'_>, alpha: f64) -> Judgement;
    /// After the first trial was refused with violation `theta`: what is said of another step instead.
    fn correct(&mut self, s: &mut Solve<'_>, alpha: f64, theta: f64) -> Judgement {
        let _ = (s, alpha);
        Judgement::Refused { theta }
    }
    /// The accepted length, or a longer one.
    fn accepted(&mut self, s: &mut Solve<'_>, alpha: f64, armijo: bool) -> f64 {
        let _ = (s, armijo);
        alpha
    }
    /// What failed, in words.
    fn failure(&self) -> &'static str;
}

/// Halves the step until a trial point is accepted: its length and the number of trials. A trial that cannot be evaluated
/// shortens the step.
pub(super) fn backtrack(
    s: &mut Solve<'_>,
    judge: &mut dyn Globalization,
    longest: f64,
) -> Result<(f64, u32), PhaseEnd> {
    let (mut alpha, mut trials, mut failed) = (longest, 0, 0);
    let shortest = judge.shortest();
    while alpha > shortest {
        if s.budget.stop.check().is_some() {
            break;
        }
        trials += 1;
        let mut judgement = judge.attempt(s, alpha);
        if let (1, Judgement::Refused { theta }) = (trials, judgement) {
            judgement = judge.correct(s, alpha, theta);
        }
        match judgement {
            Judgement::Accepted { armijo } => return Ok((judge.accepted(s, alpha, armijo), trials)),
            Judgement::Refused { .. } => {}
            Judgement::Failed => failed += 1,
        }
        alpha *= 0.5;
    }
    if let Some(over) = over(s) {
        return Err(over.into());
    }
    if failed == trials && trials > 0 {
        return Err(PhaseEnd::no_step(Cause::Evaluation, "no trial point could be evaluated"));
    }
    Err(PhaseEnd::no_step(Cause::Search, format!("{} after {trials} trial points", judge.failure())))
}
