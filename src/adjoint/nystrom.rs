//! The transpose of a Nystrom step.
//!
//! With the bars G_l of the arguments Q_l (positions only), lambda = (lambda_q; lambda_v) of (q1; v1), u_bar of the error and K_i of the accelerations,
//!
//! ```text
//! K_i = h^2 sum_l a_li G_l + h b'_i lambda_v + h^2 e_i u_bar_q + h e'_i u_bar_v,   G_i = (da/dq)' K_i  (G_(s-1) = lambda_q + ..)
//! q0_bar = sum_l G_l,   v0_bar = lambda_v + h sum_l c_l G_l,   l = 1..s-1
//! ```
//!
//! K_i and G_l are kept in vectors of the state's length, K_i in the velocities' half, G_l in the positions'.

use super::reverse::Transposed;
use super::transpose::StepBars;
use crate::linalg::Scalar;
use crate::linalg::kernels::{Base, Part, add_scaled, combine_part};

impl<T: Scalar> Transposed<T> {
    /// k_bar <- K_i without the direct part.
    pub(super) fn nystrom_gather(&mut self, i: usize, h: T, with_error: bool) {
        let (n, all) = (self.lambda.len(), self.erk.c.len());
        let (Some(ny), Some(v)) = (&self.erk.nystrom, self.erk.tab.velocity) else { return };
        let weight = |row: &[f64]| h * T::of(row.get(i).copied().unwrap_or(0.0));
        self.k_bar.fill(T::ZERO);
        for at in ny.columns(n) {
            let out = &mut self.k_bar[at + ny.m..][..ny.m];
            let column = if with_error { self.columns_e.row(i) } else { self.columns.row(i) };
            combine_part(out, Base::Zero, h * h, column, &self.g_bars, Part { n, from: at });
            add_scaled(out, weight(v.b), &self.lambda[at + ny.m..][..ny.m]);
            if with_error {
                add_scaled(out, weight(v.e), &self.g_bars[all * n + at + ny.m..][..ny.m]);
            }
        }
    }

    /// What the positions of the stages add to the bar of v0 in lambda.
    pub(super) fn nystrom_start(&mut self, h: T) {
        let (n, s) = (self.lambda.len(), self.erk.tab.stages);
        let Some(ny) = &self.erk.nystrom else { return };
        for l in 1..s {
            for at in ny.columns(n) {
                let v = &mut self.lambda[at + ny.m..][..ny.m];
                add_scaled(v, h * self.erk.c[l], &self.g_bars[l * n + at..][..ny.m]);
            }
        }
    }

    /// The direct parts of K_i from states saved inside the step.
    pub(super) fn nystrom_saves(&mut self, h: T, bars: &StepBars<'_, T>) {
        let n = self.lambda.len();
        let Some(ny) = &self.erk.nystrom else { return };
        for (theta, bar) in bars.states(n).filter(|(theta, _)| *theta != T::ONE) {
            for i in 0..self.erk.tab.stages {
                let (w, wv) = self.erk.nystrom_weights(ny, i, theta, h)[0];
                for at in ny.columns(n) {
                    let k = &mut self.k_direct[i * n + at + ny.m..][..ny.m];
                    add_scaled(k, w, &bar[at..][..ny.m]);
                    add_scaled(k, wv, &bar[at + ny.m..][..ny.m]);
                }
            }
        }
    }
}
