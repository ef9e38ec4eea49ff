//! Least energy of a double integrator below a wall at l = 1/9.

use crate::control::problem::{Phase, Problem, quantity};
use crate::model::Expression;

const WALL: f64 = 1.0 / 9.0;

pub fn bryson_denham() -> Problem {
    let phase = Phase::new("flight")
        .state(quantity("x").range(f64::NEG_INFINITY, WALL).start(0.0).end(0.0))
        .state(quantity("v").start(1.0).end(-1.0))
        .control(quantity("u"))
        .dynamics(|s| vec![s.x[1].clone(), s.u[0].clone()])
        .cost(|s| 0.5 * (&s.u[0]).powi(2));
    Problem::new("bryson_denham").phase(phase)
}
