//! (z - y)^2 / 2.

use super::{Loss, Terms};

pub(super) struct LeastSquares;

impl Loss for LeastSquares {
    fn terms(&self, z: f64, y: f64) -> Terms {
        let r = z - y;
        Terms { value: 0.5 * r * r, slope: r, curvature: 1.0 }
    }
    fn refuses(&self, y: f64) -> Option<&'static str> {
        (!y.is_finite()).then_some("a finite number")
    }
}
