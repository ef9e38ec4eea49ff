//! A robot arm is turned by two angles and moved along its length in the shortest time.

use crate::control::problem::{Phase, Problem, quantity};
use crate::model::Expression;
use std::f64::consts::{FRAC_PI_4, PI};

const L: f64 = 5.0;

pub fn robot_arm() -> Problem {
    let angle = 2.0 * PI / 3.0;
    let phase = Phase::new("arm")
        .state(quantity("rho").start(4.5).end(4.5).range(0.0, L))
        .state(quantity("theta").start(0.0).end(angle).range(-PI, PI))
        .state(quantity("phi").start(FRAC_PI_4).end(FRAC_PI_4).range(0.0, PI))
        .state(quantity("rho_rate").start(0.0).end(0.0))
        .state(quantity("theta_rate").start(0.0).end(0.0))
        .state(quantity("phi_rate").start(0.0).end(0.0))
        .control(quantity("u_rho").range(-1.0, 1.0))
        .control(quantity("u_theta").range(-1.0, 1.0))
        .control(quantity("u_phi").range(-1.0, 1.0))
        .free_end(0.0, 100.0, 1.0)
        .guess(move |f| {
            let rate = 2.0 * angle * f;
            (vec![4.5, angle * f * f, FRAC_PI_4, 0.0, rate, 0.0], vec![0.0; 3])
        })
        .dynamics(|s| {
            let ([rho, _, phi, rho_rate, theta_rate, phi_rate], [u_rho, u_theta, u_phi]) = s.split();
            let i_phi = ((L - &rho).powi(3) + rho.powi(3)) * (1.0 / 3.0);
            let i_theta = &i_phi * phi.sin().powi(2);
            vec![rho_rate, theta_rate, phi_rate, (1.0 / L) * u_rho, u_theta / i_theta, u_phi / i_phi]
        });
    Problem::new("robot_arm").phase(phase).minimize(|ends| ends.end[0].t.clone())
}
