//! exp(z) - y z.

use super::{Loss, Terms};

pub(super) struct Poisson;

impl Loss for Poisson {
    fn terms(&self, z: f64, y: f64) -> Terms {
        let rate = z.exp();
        Terms { value: rate - y * z, slope: rate - y, curvature: rate }
    }
    fn refuses(&self, y: f64) -> Option<&'static str> {
        let counts = y >= 0.0 && y.is_finite();
        (!counts).then_some("a finite number that is at least 0")
    }
}
