//! The cross range of the space shuttle, in degrees of latitude; feet, slugs, seconds.

use crate::control::problem::{Phase, Problem, quantity};
use crate::model::Expression;

const MASS: f64 = 203_000.0 / 32.174;
const DENSITY: f64 = 0.002378;
const HEIGHT: f64 = 23_800.0;
const EARTH: f64 = 20_902_900.0;
const MU: f64 = 0.14076539e17;
const AREA: f64 = 2690.0;

pub fn shuttle_reentry() -> Problem {
    let rad = f64::to_radians;
    let phase = Phase::new("reentry")
        .state(quantity("h").start(260_000.0).end(80_000.0).range(0.0, 300_000.0))
        .state(quantity("phi").start(0.0).guess(0.0, 0.0))
        .state(quantity("theta").start(0.0).guess(0.0, 0.0).range(rad(-89.0), rad(89.0)))
        .state(quantity("v").start(25_600.0).end(2_500.0).range(1.0, 40_000.0))
        .state(quantity("gamma").start(rad(-1.0)).end(rad(-5.0)).range(rad(-89.0), rad(89.0)))
        .state(quantity("psi").start(rad(90.0)).guess(rad(90.0), rad(90.0)))
        .control(quantity("alpha").range(rad(-90.0), rad(90.0)).guess(0.0, 0.0))
        .control(quantity("beta").range(rad(-89.0), rad(1.0)).guess(0.0, 0.0))
        .free_end(100.0, 4000.0, 2000.0)
        .dynamics(|s| {
            let ([h, _, theta, v, gamma, psi], [alpha, beta]) = s.split();
            let alpha = (180.0 / std::f64::consts::PI) * alpha;
            let cl = -0.20704 + 0.029244 * &alpha;
            let cd = 0.07854 - 0.61592e-2 * &alpha + 0.621408e-3 * alpha.powi(2);
            let pressure = (0.5 * DENSITY * AREA / MASS) * ((-1.0 / HEIGHT) * &h).exp() * (&v).powi(2);
            let (drag, lift) = (cd * &pressure, cl * pressure);
            let r = EARTH + &h;
            let gravity = MU / (&r).powi(2);
            let (sin_gamma, cos_gamma) = ((&gamma).sin(), (&gamma).cos());
            let turn = &v / &r * &cos_gamma;
            vec![
                &v * &sin_gamma,
                &turn * (&psi).sin() / (&theta).cos(),
                &turn * (&psi).cos(),
                -drag - &gravity * &sin_gamma,
                &lift / &v * (&beta).cos() + &cos_gamma * (&v / &r - &gravity / &v),
                &lift * (&beta).sin() / (&v * &cos_gamma) + &turn * (&psi).sin() * (&theta).tan(),
            ]
        });
    let degrees = 180.0 / std::f64::consts::PI;
    Problem::new("shuttle_reentry").phase(phase).maximize(move |ends| degrees * &ends.end[0].x[2])
}
