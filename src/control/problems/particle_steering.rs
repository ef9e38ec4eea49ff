//! A particle is steered by the angle of a constant acceleration to a height and speed in the shortest time.

use crate::control::problem::{Phase, Problem, quantity};
use crate::model::Expression;
use std::f64::consts::FRAC_PI_2;

const A: f64 = 100.0;

pub fn particle_steering() -> Problem {
    let phase = Phase::new("particle")
        .state(quantity("y1").start(0.0).guess(0.0, 0.0))
        .state(quantity("y2").start(0.0).end(5.0))
        .state(quantity("v1").start(0.0).end(45.0))
        .state(quantity("v2").start(0.0).end(0.0))
        .control(quantity("u").range(-FRAC_PI_2, FRAC_PI_2).guess(0.0, 0.0))
        .free_end(0.0, 10.0, 1.0)
        .dynamics(|s| {
            let ([_, _, v1, v2], [u]) = s.split();
            vec![v1, v2, A * (&u).cos(), A * u.sin()]
        });
    Problem::new("particle_steering").phase(phase).minimize(|ends| ends.end[0].t.clone())
}
