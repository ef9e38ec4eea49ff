//! Least fuel of a free-flying robot with two pairs of thrusters, in 12 s.

use crate::control::problem::{Moment, Phase, Problem, quantity};
use crate::model::{Expr, Expression};
use std::f64::consts::FRAC_PI_2;

const ARM: f64 = 0.2;

pub fn free_flying_robot() -> Problem {
    let starts = [("x", -10.0), ("y", -10.0), ("theta", FRAC_PI_2), ("vx", 0.0), ("vy", 0.0), ("omega", 0.0)];
    let mut phase = Phase::new("flight");
    for (name, start) in starts {
        phase = phase.state(quantity(name).start(start).end(0.0));
    }
    for name in ["u1", "u2", "u3", "u4"] {
        phase = phase.control(quantity(name).range(0.0, 1.0).guess(0.0, 0.0));
    }
    let phase = phase
        .time(Moment::At(0.0), Moment::At(12.0))
        .path("left", (f64::NEG_INFINITY, 1.0), |s| &s.u[0] + &s.u[1])
        .path("right", (f64::NEG_INFINITY, 1.0), |s| &s.u[2] + &s.u[3])
        .dynamics(|s| {
            let ([_, _, theta, vx, vy, omega], [u1, u2, u3, u4]) = s.split();
            let (left, right) = (u1 - u2, u3 - u4);
            let force = &left + &right;
            vec![vx, vy, omega, &force * (&theta).cos(), &force * theta.sin(), ARM * left - ARM * right]
        })
        .cost(|s| s.u.iter().sum::<Expr>());
    Problem::new("free_flying_robot").phase(phase)
}
