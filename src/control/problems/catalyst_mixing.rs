//! Two catalysts are mixed along a reactor of length 1 for the largest yield.

use crate::control::problem::{Phase, Problem, quantity};

pub fn catalyst_mixing() -> Problem {
    let phase = Phase::new("reactor")
        .state(quantity("x1").start(1.0).guess(1.0, 1.0))
        .state(quantity("x2").start(0.0).guess(0.0, 0.0))
        .control(quantity("u").range(0.0, 1.0).guess(0.0, 0.0))
        .dynamics(|s| {
            let ([x1, x2], [u]) = s.split();
            vec![&u * (10.0 * &x2 - &x1), &u * (&x1 - 10.0 * &x2) - (1.0 - &u) * &x2]
        });
    Problem::new("catalyst_mixing").phase(phase).minimize(|ends| &ends.end[0].x[0] + &ends.end[0].x[1] - 1.0)
}
