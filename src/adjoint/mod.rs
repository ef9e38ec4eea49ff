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
//! No derivative goes through h_j. What a loss of states gains by it is of the size of the method's error, since the exact solution does not depend
//! on the steps. For E_j it would be wrong for its purpose: the controller holds E_j near the value it aims at, whatever the parameters, so the
//! total derivative is that of a constant; what a regularizer needs is how E_j changes at the same step.
//!
//! # Stiff problems
//!
//! A Rosenbrock step ([`RosenbrockTableau`](crate::ode::RosenbrockTableau)) goes backwards, stage by stage, through
//!
//! ```text
//! W U_i = f_i + (1/h) sum_{j<i} c_ij U_j + h d_i f_t,   f_i = f(t + alpha_i h, g_i),   g_i = y0 + sum_{j<i} a_ij U_j,   y1 = y0 + sum_j m_j U_j,
//! W = I / (h gamma) - J,   u = sum_i e_i U_i,   S = |f_{s-1} - f_{s-2}| / |U_{s-2}|
//! ```
//!
//! With Ub_i the bar of U_i (m_i y1_bar, and what E, S and save points add) and, from the last stage to the first,
//!
//! ```text
//! R_i = W^-T Ub_i,   G_i = (df/dy)'_i R_i,   Ub_j += (c_ij / h) R_i + a_ij G_i  (j < i),   p_bar += (df/dp)'_i R_i
//! y0_bar = y1_bar + sum_i G_i + d/dy [ sum_i R_i' J U_i + tau' f_t ],   p_bar += d/dp [ the same ],   tau = h sum_i d_i R_i
//! ```
//!
//! The last brackets are there because W depends on y0 and p: dW = -dJ, hence R_i' dJ U_i. As second derivatives commute, they are derivatives of the
//! pullback of R_i along U_i: exact where the field has them ([`Map::vjp_tangent`](crate::diff::Map::vjp_tangent)), else by fourth-order differences that
//! are right to about twelve digits. In place of U_i and R_i the untransformed increments K_i = sum_j (Gamma^-1)_ij U_j and
//! sum_i gamma_ij R_i are used, whose sum is the same without its cancellation.
//!
//! # The automatic choice
//!
//! [`Adjoint::new`] with a pair of tableaus integrates as [`Auto`](crate::ode::Auto); each step is transposed by the method that made it ([`Tape::method`]). A change of
//! method begins anew: k_0 of the first explicit step after it is an evaluation of its own, and transposed as one.
//!
//! # Terminal events
//!
//! A pass that an event g(t, y, p) = 0 ended at t_e, theta of the last step, has the results y_e = y(t_e) and t_e. With v = dy/dt of the
//! interpolant there and, at fixed theta, dy of the state there, the condition gives dt_e = -(g_y' dy + g_p' dp) / (g_t + g_y' v), hence
//!
//! ```text
//! a = (y_e_bar' v + t_e_bar) / (g_t + g_y' v),   bar of the state at theta: y_e_bar - a g_y,   p_bar -= a g_p
//! ```
//!
//! ([`EventBars`], [`Adjoint::reverse_event`]); then the last step is transposed as one with a save point at theta.
//!
//! # Events that change the state
//!
//! Events given as [`Jumps`], with y+ = H(t, y, p) at g(t, y, p) = 0, are gone through by the saltation of l+, the bar of y+ (Hiskens, Pai, IEEE Trans. Circuits Syst. I 47, 2000). With v-
//! the interpolant's rate before the event and f+ = f(t_e, y+, p) behind it,
//!
//! ```text
//! a = [ l+' (H_y v- + H_t - f+) + t_bar ] / (g_t + g_y' v-),   bar of the state at theta: H_y' l+ - a g_y,   p_bar += H_p' l+ - a g_p
//! ```
//!
//! and the cut step is transposed as above. Where the parameters become P(p), too ([`Jumps::when_params`]), f+ is with these, and the sum of p_bar over all behind the event is taken to P_p' p_bar before the
//! last line. A terminal event is the case H = identity, f+ = 0, where t_bar is dL/dt_e; elsewhere t_bar = 0. The steps behind an event begin at a time
//! that moves: this counts with f+, not as a change of the frozen steps, so gradients across jumps are right to the method's error and not to rounding. A save point at the time of an event, to rounding, takes
//! the state before it or, where it is asked for ([`Jumps::after_events`]), after it, forwards and backwards alike. A handler without derivatives is refused, and so are two events at one time.
//!
//! # Derivatives along directions
//!
//! Forwards, [`Tangent`] makes the steps of a pass again for the field's [`Variational`](crate::diff::Variational) equations: derivatives of the states along any number of directions of the
//! start and the parameters ([`sensitivities`] for all of them), through events by the formulas above, transposed. Transposed along one direction these steps give products with the
//! Hessian of the loss.
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
//!
//! Times, indices and headers of buffers take at most 600 bytes a step more, measured (`tests/tape_memory.rs`). Whatever the policy, the sweep works with
//! the stages of one step and what the field keeps for them; a stochastic path has the increments of a step, or its tree ([`crate::sde::Brownian`]).

mod auto;
mod gradient;
pub(crate) mod heuristics;
mod jumps;
mod norm;
mod nystrom;
mod reverse;
mod rosenbrock;
mod sensitivity;
mod srk;
mod sweep;
mod symplectic;
mod tangent;
mod tape;
mod transpose;

pub use gradient::{Adjoint, Replay, SdeAdjoint, StiffAdjoint};
pub use heuristics::{Aggregate, Heuristic, Heuristics, LocalSample, SampleRule, Term};
pub use jumps::Jumps;
pub use sensitivity::{Sensitivities, SensitivityProblem, Wrt, sensitivities};
pub use sweep::EventBars;
pub use tangent::{Products, Tangent, Tangents};
pub use tape::{Memory, Tape};
pub use transpose::{Backward, Bars, Recorded, Redo, Reverse, StepBars, Stored, Transpose};
