//! Other starts, where every attempt ended at a stationary point of the violation that is not feasible.
//!
//! A local method finds a local least violation; another start may lead to a feasible point. Start k is drawn uniformly from
//!
//! ```text
//!     max(l_j, x0_j - r_k s_j) <= x_j <= min(u_j, x0_j + r_k s_j),   s_j = max(1, |x0_j|),   r_k = 1, 10, 1, 10, ...
//! ```
//!
//! and its violation is minimized as before. A start costs at most `LENGTH` iterations, as those that succeed are short (Luby,
//! Sinclair, Zuckerman 1993: restarts pay where run lengths have a heavy tail), and all together as many as were used before, or
//! those that small systems have for nothing. They end early where the same least violation is found again and again.
//! Data fits, with far more equations than unknowns, have no feasible point to look for.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::attempts::{Attempt, LESS, gave_up};
use super::engine::{Engine, Progress, Residuals};
use super::merit::Point;
use super::options::Method;
use crate::linalg::norm2;
use crate::report::StopReason;

/// Iterations of one start.
const LENGTH: u64 = 100;
/// Iterations times (n + m) that are granted to small systems.
const WORK: usize = 10_000;
/// Starts that end at the least violation known, after which no more are tried.
const AGREEING: usize = 6;
/// Half-widths of the box around the start, relative to max(1, |x0_j|).
const RADII: [f64; 2] = [1.0, 10.0];
/// Equations per unknown above which a system is taken for a data fit.
const FIT: usize = 2;

/// A stationary point of the violation: `current`, and the engine's `best` with its residuals.
pub(super) type Certified = (Point, Point, Residuals);

impl Engine<'_> {
    /// Looks for a feasible point from other starts; the end is that of the solve. Without success the least violation counts.
    pub fn other_starts(&mut self, mut least: Certified) -> StopReason {
        if let Some(end) = self.search_starts(&mut least) {
            return end;
        }
        (self.current, self.best, self.best_residuals) = least;
        StopReason::LocallyInfeasible
    }

    /// `None`: no feasible point found.
    fn search_starts(&mut self, least: &mut Certified) -> Option<StopReason> {
        let (n, m) = (self.model.n, self.model.m);
        let limit = self.options.max_iterations;
        if self.options.method != Method::Auto || self.options.warm_start.is_some() || m > FIT * n {
            return None;
        }
        let attempt = Attempt::violation_first(self);
        let budget = self.iteration.max((WORK / (n + m)) as u64);
        let end_of_budget = limit.min(self.iteration + budget);
        let origin = self.first.x.clone();
        let mut rng = StdRng::seed_from_u64(self.options.seed);
        let mut agreeing = 0;
        for k in 0..self.options.restarts {
            if self.iteration >= end_of_budget || agreeing >= AGREEING {
                break;
            }
            self.draw_start(&origin, RADII[k % RADII.len()], &mut rng);
            self.note(&format!("start {} at random: {}", k + 1, attempt.describe()));
            if self.restart().is_err() {
                continue;
            }
            self.iteration_limit = end_of_budget.min(self.iteration + LENGTH);
            self.progress = Progress { residual: f64::INFINITY, iteration: self.iteration };
            let end = self.attempt(attempt);
            self.iteration_limit = limit;
            match end {
                StopReason::LocallyInfeasible => {
                    let (known, now) = (norm2(&least.0.c), norm2(&self.current.c));
                    if now < LESS * known {
                        *least = (self.current.clone(), self.best.clone(), self.best_residuals);
                        agreeing = 0;
                    } else if now * LESS <= known {
                        agreeing += 1;
                    }
                }
                StopReason::TimeLimit | StopReason::MaxEvaluations => break,
                end if gave_up(&end) => {}
                end => return Some(end),
            }
        }
        None
    }

    /// `first.x` <- a point of the box with half-widths r max(1, |x0|) around x0, within the bounds.
    fn draw_start(&mut self, origin: &[f64], radius: f64, rng: &mut StdRng) {
        let (lower, upper) = (&self.bounds.lower, &self.bounds.upper);
        for (j, (x, x0)) in self.first.x.iter_mut().zip(origin).enumerate() {
            let width = radius * x0.abs().max(1.0);
            let (l, u) = ((x0 - width).max(lower[j]), (x0 + width).min(upper[j]));
            *x = l + (u - l) * rng.random::<f64>();
        }
    }
}
