//! An oscillator of van der Pol with a bound on its speed.

use crate::control::problem::{Moment, Phase, Problem, quantity};
use crate::model::Expression;

pub fn van_der_pol() -> Problem {
    let phase = Phase::new("oscillator")
        .state(quantity("y1").start(1.0))
        .state(quantity("y2").start(0.0).range(-0.4, f64::INFINITY))
        .control(quantity("u"))
        .time(Moment::At(0.0), Moment::At(5.0))
        .dynamics(|s| {
            let ([y1, y2], [u]) = s.split();
            vec![y2.clone(), (1.0 - (&y1).powi(2)) * &y2 - &y1 + u]
        })
        .cost(|s| {
            let ([y1, y2], [u]) = s.split();
            y1.powi(2) + y2.powi(2) + u.powi(2)
        });
    Problem::new("van_der_pol").phase(phase)
}
