//! Explicit Runge-Kutta methods as data.
//!
//! A step from (t, y0) with step h, stages numbered from 0:
//!
//! ```text
//! g_i = y0 + h sum_{j<i} a_ij k_j,   k_i = f(t + c_i h, g_i),   i = 0..s-1
//! y1  = g_{s-1}                       (first same as last: k_{s-1} is the next step's k_0)
//! u   = h sum_i e_i k_i               (embedded error estimate)
//! y(t + theta h) = (1 - theta) y0 + theta y1 + theta (1 - theta) h sum_i q_i(theta) k_i
//! ```
//!
//! Every method here is written first-same-as-last: where the published one is not (Verner, Dormand-Prince 8), the evaluation
//! at the new point, which the next step needs anyway, is its last stage and is made only for an accepted step.
//! In the last line the ends y0 and y1 are exact by construction; the sum may use further stages g_s.. , evaluated on demand.
//!
//! A Nystrom method (Hairer, Norsett, Wanner: Solving ODEs I, II.14) is for y = (q; v), dq/dt = v, dv/dt = a(t, q): its stages are accelerations k_i, and
//! a, e, q above are those of the positions, with the weights b', e', q' of the velocities in [`Velocity`]:
//!
//! ```text
//! Q_i = q0 + c_i h v0 + h^2 sum_{j<i} a_ij k_j,   k_i = a(t + c_i h, Q_i),   i = 0..s-1
//! q1  = Q_{s-1},   v1 = v0 + h sum_i b'_i k_i
//! u   = (h^2 sum_i e_i k_i;  h sum_i e'_i k_i)
//! q(t + theta h) = (1 - theta) q0 + theta q1 + theta (1 - theta) h^2 sum_i q_i(theta) k_i,   v(..) the same with h sum_i q'_i(theta) k_i
//! ```

/// An explicit Runge-Kutta method with its embedded error estimate and interpolant.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tableau {
    /// Short name.
    pub name: &'static str,
    /// Where the coefficients were published.
    pub citation: &'static str,
    /// Order of y1.
    pub order: usize,
    /// The error estimate behaves like h^(error_order + 1); the controller's exponent is 1/(error_order + 1).
    pub error_order: usize,
    /// Order conditions the interpolant satisfies: its local error is h^(dense_order + 1), so the global error between the steps has
    /// order min(order, dense_order + 1).
    pub dense_order: usize,
    /// s: stages of a step, with the last one at the new point.
    pub stages: usize,
    /// Whether the error estimate uses the last stage; if not, it is evaluated only after acceptance.
    pub error_uses_last: bool,
    /// Nodes of all stages, those of the interpolant included.
    pub c: &'static [f64],
    /// Row i holds a_i0..; trailing zeros may be missing. Row s-1 is b.
    pub a: &'static [&'static [f64]],
    /// One row of e, or two, joined as `join` says.
    pub e: &'static [&'static [f64]],
    /// What E is where there are two rows.
    pub join: Join,
    /// Row i: coefficients of q_i, ascending powers of theta.
    pub q: &'static [&'static [f64]],
    /// The real interval [-x, 0] in which |R(z)| <= 1: what h times the stiffness estimate is compared with. For a Nystrom method the largest h w up to which
    /// q'' = -w^2 q does not grow by more than a hundredth a step.
    pub stability: f64,
    /// The velocities' part of a Nystrom method.
    pub velocity: Option<Velocity>,
}

/// How two error estimates become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// E = max(E1, E2): Bogacki and Shampine's two estimates of the same order, of which the first does not see what happens in the last quarter of a step.
    Larger,
    /// E = E5^2 / sqrt(E5^2 + 0.01 E3^2): Dormand-Prince 8(5,3).
    Quotient,
}

/// Weights of the velocities in a Nystrom method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Velocity {
    /// b'_i, all stages.
    pub b: &'static [f64],
    /// e'_i.
    pub e: &'static [f64],
    /// Row i: coefficients of q'_i, ascending powers of theta.
    pub q: &'static [&'static [f64]],
}

impl Tableau {
    /// Stages that only the interpolant needs.
    pub fn extra_stages(&self) -> usize {
        self.c.len() - self.stages
    }
    /// a_ij, zero beyond the stored row.
    pub fn a(&self, i: usize, j: usize) -> f64 {
        self.a[i].get(j).copied().unwrap_or(0.0)
    }
    /// b_j = a_(s-1)j.
    pub fn b(&self, j: usize) -> f64 {
        self.a(self.stages - 1, j)
    }
    /// All built-in Runge-Kutta methods.
    pub fn all() -> [&'static Tableau; 7] {
        use super::{BS32, BS54, DOP853, DP54, TSIT54, VERN76, VERN87};
        [&BS32, &DP54, &TSIT54, &BS54, &VERN76, &DOP853, &VERN87]
    }
    /// All built-in Nystrom methods.
    pub fn nystrom() -> [&'static Tableau; 1] {
        [&super::DPRKN64]
    }
    /// The built-in method of this name.
    pub fn by_name(name: &str) -> Option<&'static Tableau> {
        Self::all().into_iter().chain(Self::nystrom()).find(|t| t.name == name)
    }
}
