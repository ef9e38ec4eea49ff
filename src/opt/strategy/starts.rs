//! Other starts, drawn at random, where all that was found is a least violation.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{
    Certified, From, Method, PLAIN, PhaseEnd, Row, Search, Solve, describe, gave_up, is_limited, over,
    restart,
};
use crate::linalg::norm2;
use crate::opt::problem::Form;

/// A violation is less than another below this share of it.
const LESS: f64 = 1.0 - 1e-6;
/// Work of one start at random.
const LENGTH: f64 = 150.0;
/// Work times (n + m) that is granted to small systems.
const WORK: f64 = 10_000.0;
/// Starts that end at the least violation known, after which no more are tried.
const AGREEING: usize = 4;
/// A least violation below this share of that of the start is nearly none.
const NEAR: f64 = 1e-2;
/// Half-widths of the box around the start, relative to max(1, |x0_j|).
const RADII: [f64; 2] = [1.0, 10.0];
/// Equations per unknown above which a system is taken for a data fit, which has no feasible point to look for.
const FIT: usize = 2;

impl Search {
    /// Looks for a feasible point from other starts where all that was found is a least violation; without success that counts.
    ///
    /// Start k is drawn uniformly from max(l_j, x0_j - r_k s_j) <= x_j <= min(u_j, x0_j + r_k s_j), s_j = max(1, |x0_j|), r_k = 1, 10, 1, 10, ...
    /// and its violation is minimized. A start costs at most `LENGTH`, as those that succeed are short (Luby, Sinclair, Zuckerman
    /// 1993: restarts pay where run lengths have a heavy tail), and all together as much work as was done before, or what small systems have
    /// for nothing. They end early where the same least violation is found again and again.
    pub(super) fn other_starts(&mut self, s: &mut Solve<'_>, mut least: Certified) -> PhaseEnd {
        if let Some(end) = self.search_starts(s, &mut least) {
            return end;
        }
        least.restore(s);
        PhaseEnd::Stationary
    }

    /// `None`: no feasible point found.
    fn search_starts(&mut self, s: &mut Solve<'_>, least: &mut Certified) -> Option<PhaseEnd> {
        let (n, m) = (s.problem.form.n, s.problem.form.m);
        let options = s.options;
        // The violation of linear rows has no other valleys.
        let convex = s.problem.form.quadratic;
        if options.method != Method::Auto || !self.first.z.is_empty() || m > FIT * n || convex {
            return None;
        }
        let row = Row { violation_first: true, with: PLAIN, from: From::Given, ..self.rows[0] };
        // Nearly feasible, it is more likely a row that just cannot hold than a far away valley.
        let free =
            if norm2(&least.current.c) <= NEAR * self.start_violation { 0.0 } else { WORK / (n + m) as f64 };
        let end_of_budget = s.budget.spent + s.budget.spent.max(free);
        let origin = self.first.x.clone();
        let mut rng = StdRng::seed_from_u64(options.seed);
        let mut agreeing = 0;
        for k in 0..options.restarts {
            if s.budget.spent >= end_of_budget || over(s).is_some() || agreeing >= AGREEING {
                break;
            }
            draw_start(s.problem.form, &origin, RADII[k % RADII.len()], &mut rng, &mut self.first.x);
            s.watch.note(format_args!("start {} at random: {}", k + 1, describe(&row, m)));
            if restart(s, &self.first.x).is_err() {
                continue;
            }
            s.budget.begin_attempt(LENGTH.min(end_of_budget - s.budget.spent), f64::INFINITY);
            let end = self.run_row(s, &row);
            s.budget.end_attempt();
            if end == PhaseEnd::Stationary {
                let (known, now) = (norm2(&least.current.c), norm2(&s.at.current.c));
                if now < LESS * known {
                    *least = Certified::keep(s);
                    agreeing = 0;
                } else if now * LESS <= known {
                    agreeing += 1;
                }
            } else if is_limited(&end) {
                break;
            } else if !gave_up(&end) {
                return Some(end);
            }
        }
        None
    }
}

/// x <- a point of the box with half-widths r max(1, |x0|) around x0, within the bounds.
fn draw_start(form: &Form, origin: &[f64], radius: f64, rng: &mut StdRng, x: &mut [f64]) {
    let (lower, upper) = (&form.bounds.lower, &form.bounds.upper);
    for (j, (x, x0)) in x.iter_mut().zip(origin).enumerate() {
        let width = radius * x0.abs().max(1.0);
        let (l, u) = ((x0 - width).max(lower[j]), (x0 + width).min(upper[j]));
        *x = l + (u - l) * rng.random::<f64>();
    }
}
