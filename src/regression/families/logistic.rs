//! log(1 + exp(-y z)).

use super::{Loss, Terms};

pub(super) struct Logistic;

impl Loss for Logistic {
    fn terms(&self, z: f64, y: f64) -> Terms {
        // With t = y z: log(1 + e^-t) = max(-t, 0) + log(1 + e^-|t|), no overflow for any t.
        let t = y * z;
        let e = (-t.abs()).exp();
        // p = 1 / (1 + e^t), the probability of the other class.
        let p = if t >= 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) };
        let curvature = e / ((1.0 + e) * (1.0 + e));
        Terms { value: (-t).max(0.0) + e.ln_1p(), slope: -y * p, curvature }
    }
    fn refuses(&self, y: f64) -> Option<&'static str> {
        (y.abs() != 1.0).then_some("-1 or 1")
    }
}
