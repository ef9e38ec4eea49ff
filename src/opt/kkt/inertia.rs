//! Regularization by inertia: the smallest t (and delta, where J is rank deficient) with which K has n positive and m negative
//! eigenvalues (Waechter and Biegler 2006, algorithm IC).

use super::{DELTA, Env, Kkt};
use crate::linsol::LinSolError;

use super::direction::{FIRST_SHIFT, NoDirection};

const LARGEST_SHIFT: f64 = 1e30;

/// Bisections of t towards the smallest one of the right inertia.
const BISECTIONS: u32 = 5;

impl Kkt {
    /// Factorizes K with nearly the smallest t of the right inertia, so that the eigenvector of the lowest curvature stands out.
    pub(in crate::opt) fn smallest_shift(&mut self, e: &mut Env<'_, '_>) -> Result<(), NoDirection> {
        self.correct_inertia(e, 0.0)?;
        let (mut high, delta) = (self.t, self.delta);
        let mut low = 0.01 * high;
        for _ in 0..BISECTIONS {
            let middle = (low * high).sqrt();
            let right = self
                .factor(e, middle, delta)
                .is_ok_and(|p| p.inertia.is_some_and(|i| i.positive == self.n && i.negative == self.m));
            if right { high = middle } else { low = middle }
        }
        self.factor(e, high, delta)?;
        Ok(())
    }

    /// Factorizes K without regularization; false unless its inertia is right.
    pub fn factor_exactly(&mut self, e: &mut Env<'_, '_>) -> Result<bool, NoDirection> {
        let prepared = match self.factor(e, 0.0, 0.0) {
            Ok(prepared) => prepared,
            Err(LinSolError::Factorization { .. }) => return Ok(false),
            Err(other) => return Err(other.into()),
        };
        self.usable = prepared.inertia.is_some_and(|i| i.positive == self.n && i.negative == self.m);
        Ok(self.usable)
    }

    /// Factorizes K with the right inertia; `dual`: a delta that belongs to the method.
    pub(in crate::opt) fn correct_inertia(
        &mut self,
        e: &mut Env<'_, '_>,
        dual: f64,
    ) -> Result<char, NoDirection> {
        let (n, m) = (self.n, self.m);
        let mut t = self.memory.floor;
        let mut delta = dual.max(if m > 0 && (self.memory.deficient || m > n) { DELTA } else { 0.0 });
        loop {
            if e.stop.check().is_some() {
                return Err(NoDirection::Stopped);
            }
            let prepared = match self.factor(e, t, delta) {
                Ok(p) => Some(p),
                Err(LinSolError::Factorization { .. }) => None,
                Err(other) => return Err(other.into()),
            };
            let inertia = prepared.and_then(|p| p.inertia);
            let memory = &mut self.memory;
            if inertia.is_some_and(|i| i.positive == n && i.negative == m) {
                if t > 0.0 {
                    memory.last_t = t;
                }
                self.usable = t == 0.0;
                return Ok(if t > 0.0 { 'r' } else { ' ' });
            }
            let deficient = match (inertia, prepared) {
                (Some(i), Some(p)) => i.zero > 0 || i.negative < m || p.perturbed_pivots > 0,
                _ => true,
            };
            if deficient && m > 0 && delta == 0.0 {
                delta = DELTA;
                memory.deficient = true;
                continue;
            }
            t = match (t, memory.last_t) {
                (0.0, 0.0) => FIRST_SHIFT,
                (0.0, last) => (last / 3.0).max(1e-20),
                (t, 0.0) => 100.0 * t,
                (t, _) => 8.0 * t,
            };
            if t > LARGEST_SHIFT {
                return Err(NoDirection::Failed(format!(
                    "no shift of the Hessian up to {LARGEST_SHIFT:.0e} gives the KKT matrix the right inertia"
                )));
            }
        }
    }
}
