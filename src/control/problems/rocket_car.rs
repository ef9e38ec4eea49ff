//! A car from rest to rest over 300 m in the shortest time, accelerating by at most 1 and braking by at most 2 m/s^2.

use crate::control::problem::{Phase, Problem, quantity};

pub fn rocket_car() -> Problem {
    let phase = Phase::new("drive")
        .state(quantity("x").start(0.0).end(300.0))
        .state(quantity("v").start(0.0).end(0.0))
        .control(quantity("u").range(-2.0, 1.0))
        .free_end(0.0, 100.0, 20.0)
        .dynamics(|s| vec![s.x[1].clone(), s.u[0].clone()]);
    Problem::new("rocket_car").phase(phase).minimize(|ends| ends.end[0].t.clone())
}
