//! What a solve and its present attempt may still spend.
//!
//! Attempts have shares of work. Its unit is an ordinary iteration: one factorization of the first KKT matrix. An iteration costs its
//! factorizations in multiplications of that unit, at least 1 (evaluations are not weighed), so that neither trials of the inertia nor filled
//! factors are free.

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
    /// The user's limit on iterations, or the share or patience of the attempt.
    Iterations,
}

/// A feasible point is progress if its objective is lower by this share.
const LOWER: f64 = 0.01;

/// When the residual was halved last, or the objective of a feasible point fell.
#[derive(Debug, Clone, Copy)]
struct Progress {
    residual: f64,
    objective: f64,
    spent: f64,
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
    /// Work so far.
    pub spent: f64,
    /// Multiplications of the factorizations that are in `spent`.
    counted: f64,
    /// What `spent` may become in this attempt.
    limit: f64,
    /// Work without progress after which the attempt ends.
    patience: f64,
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
            spent: 0.0,
            counted: 0.0,
            limit: f64::INFINITY,
            patience: f64::INFINITY,
            started: 0,
            progress: Progress { residual: f64::INFINITY, objective: f64::INFINITY, spent: 0.0 },
        }
    }

    /// An attempt begins: it may spend `share`, and `patience` without progress.
    pub fn begin_attempt(&mut self, share: f64, patience: f64) {
        (self.limit, self.patience) = (self.spent + share, patience);
        self.progress = Progress { residual: f64::INFINITY, objective: f64::INFINITY, spent: self.spent };
    }

    /// No limits but the user's from here on.
    pub fn end_attempt(&mut self) {
        (self.limit, self.patience) = (f64::INFINITY, f64::INFINITY);
    }

    /// A step was taken or refused. `total`: multiplications of all factorizations of the solve so far; `unit`: of the first.
    pub fn spend(&mut self, total: f64, unit: f64) {
        let cost = if unit > 0.0 { (total - self.counted) / unit } else { 0.0 };
        self.counted = total;
        self.spent += cost.max(1.0);
    }

    /// Remembers when there was progress; `objective`: of a feasible point, else infinite.
    pub fn note(&mut self, residual: f64, objective: f64) {
        let p = &mut self.progress;
        let (halved, known) = (residual <= 0.5 * p.residual, p.objective.is_finite());
        let lower = known && objective < p.objective - LOWER * (1.0 + p.objective.abs());
        if halved || lower {
            p.spent = self.spent;
        }
        if halved {
            p.residual = residual;
        }
        if halved || lower || !known {
            p.objective = p.objective.min(objective);
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
        let in_vain = self.spent > self.progress.spent + self.patience;
        (in_vain || self.spent >= self.limit || self.iteration >= self.max_iterations)
            .then_some(Over::Iterations)
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
        b.begin_attempt(50.0, 10.0);
        b.note(1.0, f64::INFINITY);
        b.spent = 10.0;
        assert_eq!(b.over(0, None), None);
        b.note(0.5, f64::INFINITY);
        b.spent = 20.0;
        b.note(0.4, f64::INFINITY);
        assert_eq!(b.over(0, None), None);
        b.spent = 21.0;
        assert_eq!(b.over(0, None), Some(Over::Iterations));
        b.end_attempt();
        assert_eq!(b.over(0, None), None);
        b.iteration = 100;
        assert_eq!(b.over(0, None), Some(Over::Iterations));
    }

    #[test]
    fn an_iteration_costs_its_factorizations_and_at_least_one() {
        let mut b = Budget::new(StopToken::default(), 100, None);
        b.begin_attempt(5.0, f64::INFINITY);
        b.spend(100.0, 100.0);
        assert_eq!(b.spent, 1.0);
        b.spend(400.0, 100.0);
        assert_eq!(b.spent, 4.0);
        assert_eq!(b.over(0, None), None);
        b.spend(400.0, 100.0);
        assert_eq!(b.spent, 5.0);
        assert_eq!(b.over(0, None), Some(Over::Iterations));
        b.begin_attempt(1.0, f64::INFINITY);
        b.spend(0.0, 0.0);
        assert_eq!(b.spent, 6.0);
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
