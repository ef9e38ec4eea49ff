//! What a solve and its present attempt may still spend.

use crate::observe::{StopCause, StopToken};

/// Why a phase must end whatever it has reached.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Over {
    /// The user (Ctrl-C, an observer that breaks).
    Interrupted,
    /// The user's time limit.
    TimeLimit,
    /// A function of the problem panicked: its name and words.
    Panicked(String),
    /// The user's limit on evaluations.
    Evaluations,
    /// Iterations or patience of the attempt.
    Iterations,
}

/// When the residual was halved last.
#[derive(Debug, Clone, Copy)]
struct Progress {
    residual: f64,
    iteration: u64,
}

/// Counts and limits. The clock is read for the user's time limit only: same input, same iterates, however busy the machine.
#[derive(Debug)]
pub(super) struct Budget {
    /// The user's flag and deadline.
    pub stop: StopToken,
    /// Iterations of all attempts so far.
    pub iteration: u64,
    /// The user's limit on them.
    pub max_iterations: u64,
    max_evaluations: Option<u64>,
    /// Iterations allowed in this attempt, counted from the start of the solve.
    pub limit: u64,
    /// Iterations without halving the residual after which the attempt ends.
    pub patience: u64,
    /// Iteration at which the present start point was taken.
    pub started: u64,
    progress: Progress,
}

impl Budget {
    pub fn new(stop: StopToken, max_iterations: u64, max_evaluations: Option<u64>) -> Self {
        Self {
            stop,
            iteration: 0,
            max_iterations,
            max_evaluations,
            limit: max_iterations,
            patience: u64::MAX,
            started: 0,
            progress: Progress { residual: f64::INFINITY, iteration: 0 },
        }
    }

    /// An attempt begins: it may come to iteration `limit`.
    pub fn begin_attempt(&mut self, limit: u64, patience: u64) {
        (self.limit, self.patience) = (limit, patience);
        self.progress = Progress { residual: f64::INFINITY, iteration: self.iteration };
    }

    /// No limits but the user's from here on.
    pub fn end_attempt(&mut self) {
        (self.limit, self.patience) = (self.max_iterations, u64::MAX);
    }

    /// Remembers when the residual was halved.
    pub fn note(&mut self, residual: f64) {
        if residual <= 0.5 * self.progress.residual {
            self.progress = Progress { residual, iteration: self.iteration };
        }
    }

    /// Flag, deadline and limits, after so many evaluations; `panicked`: a function's name and words.
    pub fn over(&self, evaluations: u64, panicked: Option<&str>) -> Option<Over> {
        match self.stop.check() {
            Some(StopCause::Interrupted) => return Some(Over::Interrupted),
            Some(StopCause::TimeLimit) => return Some(Over::TimeLimit),
            None => {}
        }
        if let Some(what) = panicked {
            return Some(Over::Panicked(what.to_string()));
        }
        if self.max_evaluations.is_some_and(|most| evaluations >= most) {
            return Some(Over::Evaluations);
        }
        let in_vain = self.iteration > self.progress.iteration.saturating_add(self.patience);
        (in_vain || self.iteration >= self.limit).then_some(Over::Iterations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn patience_counts_from_the_last_halving() {
        let mut b = Budget::new(StopToken::default(), 100, None);
        b.begin_attempt(50, 10);
        b.note(1.0);
        b.iteration = 10;
        assert_eq!(b.over(0, None), None);
        b.note(0.5);
        b.iteration = 20;
        b.note(0.4);
        assert_eq!(b.over(0, None), None);
        b.iteration = 21;
        assert_eq!(b.over(0, None), Some(Over::Iterations));
        b.end_attempt();
        assert_eq!(b.over(0, None), None);
        b.iteration = 100;
        assert_eq!(b.over(0, None), Some(Over::Iterations));
    }

    #[test]
    fn the_user_comes_first() {
        let flag = Arc::new(AtomicBool::new(true));
        let stop = StopToken { flag: Some(flag), deadline: None };
        let b = Budget::new(stop, 0, Some(0));
        assert_eq!(b.over(5, Some("f panicked")), Some(Over::Interrupted));
        let b = Budget::new(StopToken::default(), 0, Some(5));
        assert_eq!(b.over(5, Some("f panicked")), Some(Over::Panicked("f panicked".into())));
        assert_eq!(b.over(5, None), Some(Over::Evaluations));
        assert_eq!(b.over(4, None), Some(Over::Iterations));
    }
}
