//! The height of a vertical rocket, with the constants of COPS.

use crate::control::problem::{Phase, Problem, quantity};
use crate::model::Expression;

const H0: f64 = 1.0;
const M0: f64 = 1.0;
const G0: f64 = 1.0;
const MASS_LEFT: f64 = 0.6;
const DENSITY: f64 = 500.0;
const DRAG: f64 = 0.5 * 620.0 * M0 / G0;
const MOST_THRUST: f64 = 3.5 * G0 * M0;

pub fn goddard_rocket() -> Problem {
    let exhaust = 0.5 * (G0 * H0).sqrt();
    let phase = Phase::new("ascent")
        .state(quantity("h").start(H0).range(H0, f64::INFINITY))
        .state(quantity("v").start(0.0).range(0.0, f64::INFINITY))
        .state(quantity("m").start(M0).end(MASS_LEFT * M0).range(MASS_LEFT * M0, M0))
        .control(quantity("thrust").range(0.0, MOST_THRUST))
        .free_end(0.0, 10.0, 1.0)
        // The guess of COPS.
        .guess(|f| (vec![1.0, f * (1.0 - f), M0 + f * (MASS_LEFT - 1.0) * M0], vec![0.5 * MOST_THRUST]))
        .dynamics(move |s| {
            let ([h, v, m], [thrust]) = s.split();
            let drag = DRAG * (&v).powi(2) * ((-DENSITY / H0) * (&h - H0)).exp();
            let gravity = G0 * H0 * H0 / (&h).powi(2);
            vec![v.clone(), (&thrust - drag) / m - gravity, (-1.0 / exhaust) * thrust]
        });
    Problem::new("goddard_rocket").phase(phase).maximize(|ends| ends.end[0].x[0].clone())
}
