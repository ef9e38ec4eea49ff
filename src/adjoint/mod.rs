//! Discrete adjoints: the exact transpose of the steps taken.
//!
//! The program that is differentiated is the sequence of accepted steps with their sizes h_j FROZEN: rejected attempts and the
//! controller leave no trace. With loss L(y(t_save).., y(t1), E_.., S_..) and bars for its derivatives, the reverse sweep goes through
//!
//! ```text
//! g_i = y0 + h sum_{j<i} a_ij k_j,   k_i = f(t + c_i h, g_i, p),   y1 = g_{s-1},
//! u = h sum_i e_i k_i,   E = norm(u / (atol + rtol max(|y0|, |y1|))),   S = |k_{s-1} - k_{s-2}| / |y1 - g_{s-2}|
//! ```
//!
//! backwards. With G_l the bar of g_l and K_i the bar of k_i:
//!
//! ```text
//! G_{s-1} = y1_bar + (from E, S, save points) + (df/dy)'_{s-1} K_{s-1}
//! K_i = h (sum_{l>i} a_li G_l + e_i u_bar) + (from S, save points; for i = s-1: what the next step hands back)
//! G_i = (df/dy)'_i K_i,   p_bar += (df/dp)'_i K_i,   y0_bar = sum_l G_l + (from E, save points)
//! ```
//!
//! Because the methods are first-same-as-last, K_0 is handed to the step before, where it joins K_{s-1}: s - 1 pullbacks a step.
//! E and S are differentiated through stages, states and the tolerance scale; where the scale's maximum or the maximum norm has a kink, the branch that was taken.
//!
//! # Memory
//!
//! A [`Tape`] records (t, h) of every step and states as its [`Memory`] says. What is missing is computed again by the same
//! operations, so gradients are bit for bit the same under every policy.
//!
//! | policy | states kept | recomputed steps |
//! |---|---|---|
//! | [`Memory::Stages`] | all, with all stages and what the field keeps | none |
//! | [`Memory::States`] | all | each once, for its stages |
//! | [`Memory::Every`] (k) | every k-th, and k while going back | each at most twice |
//! | [`Memory::Checkpoints`] (c) | c | binomial (Griewank and Walther 2000) within what thinning to c left |

mod gradient;
mod heuristics;
mod reverse;
mod sweep;
mod tape;

pub use gradient::{Adjoint, Bars, Replay};
pub use heuristics::{Aggregate, Heuristic, Heuristics, LocalSample, SampleRule, Term};
pub use tape::{Memory, Tape};

/// What the adjoint of stochastic steps shares with that of ordinary ones.
pub(crate) mod internal {
    pub(crate) use super::reverse::norm_bars;
    pub(crate) use super::sweep::{Steps, find_saves, sweep};
}
