//! The range of a hang glider through a thermal updraft.

use crate::control::problem::{Phase, Problem, quantity};
use crate::model::Expression;

const UPDRAFT: f64 = 2.5;
const RADIUS: f64 = 100.0;
const MASS: f64 = 100.0;
const C0: f64 = 0.034;
const C1: f64 = 0.069662;
const AREA: f64 = 14.0;
const RHO: f64 = 1.13;
const G: f64 = 9.80665;
const VX: f64 = 13.227_567_5;
const VY: f64 = -1.287_500_52;

pub fn hang_glider() -> Problem {
    let phase = Phase::new("flight")
        .state(quantity("x").start(0.0).range(0.0, f64::INFINITY).guess(0.0, 1250.0))
        .state(quantity("y").start(1000.0).end(900.0))
        .state(quantity("vx").start(VX).end(VX).range(0.0, f64::INFINITY))
        .state(quantity("vy").start(VY).end(VY))
        .control(quantity("cl").range(0.0, 1.4).guess(0.7, 0.7))
        .free_end(0.0, 500.0, 100.0)
        .dynamics(|s| {
            let ([x, _, vx, vy], [cl]) = s.split();
            let r = ((1.0 / RADIUS) * x - 2.5).powi(2);
            let rise = UPDRAFT * (1.0 - &r) * (-r).exp();
            let w = &vy - rise;
            let v = ((&vx).powi(2) + (&w).powi(2)).sqrt();
            // Drag and lift over speed.
            let drag = (0.5 * RHO * AREA / MASS) * (C0 + C1 * (&cl).powi(2)) * &v;
            let lift = (0.5 * RHO * AREA / MASS) * cl * v;
            vec![vx.clone(), vy.clone(), -(&lift * &w) - &drag * &vx, &lift * &vx - &drag * &w - G]
        });
    Problem::new("hang_glider").phase(phase).maximize(|ends| ends.end[0].x[0].clone())
}
