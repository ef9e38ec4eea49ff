//! Huber's loss.

use super::{Loss, Terms};

pub(super) struct Huber {
    pub threshold: f64,
}

impl Loss for Huber {
    fn terms(&self, z: f64, y: f64) -> Terms {
        let (r, k) = (z - y, self.threshold);
        if r.abs() <= k {
            return Terms { value: 0.5 * r * r, slope: r, curvature: 1.0 };
        }
        Terms { value: k * (r.abs() - 0.5 * k), slope: k * r.signum(), curvature: 0.0 }
    }
    fn refuses(&self, y: f64) -> Option<&'static str> {
        (!y.is_finite()).then_some("a finite number")
    }
}
