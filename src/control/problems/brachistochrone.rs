//! The curve of fastest descent over a horizontal distance of 1 ft from rest: a cycloid.

use crate::control::problem::{Phase, Problem, quantity};
use crate::model::Expression;

const G: f64 = 32.174;

pub fn brachistochrone() -> Problem {
    let phase = Phase::new("fall")
        .state(quantity("x").start(0.0).end(1.0))
        .state(quantity("y").start(0.0).guess(0.0, 1.0))
        .state(quantity("v").start(0.0).guess(0.0, 8.0))
        .control(quantity("u").range(0.0, std::f64::consts::FRAC_PI_2).guess(1.0, 1.0))
        .free_end(0.0, 10.0, 1.0)
        .dynamics(|s| {
            let ([_, _, v], [u]) = s.split();
            vec![&v * (&u).cos(), &v * (&u).sin(), G * u.sin()]
        });
    Problem::new("brachistochrone").phase(phase).minimize(|ends| ends.end[0].t.clone())
}
