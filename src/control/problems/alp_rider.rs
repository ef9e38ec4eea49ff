//! A stiff system that has to stay outside of a terrain with four peaks.

use crate::control::problem::{Moment, Phase, Point, Problem, quantity};
use crate::model::{Expr, Expression};

/// factor e^(-b (t - a)^2)
fn peak(t: &Expr, (factor, a, b): (f64, f64, f64)) -> Expr {
    factor * (-b * (t - a).powi(2)).exp()
}

fn size(s: &Point) -> Expr {
    s.x.iter().map(|y| y.powi(2)).sum()
}

pub fn alp_rider() -> Problem {
    let ends = [("y1", 2.0, 2.0), ("y2", 1.0, 3.0), ("y3", 2.0, 1.0), ("y4", 1.0, -2.0)];
    let mut phase = Phase::new("ride");
    for (name, start, end) in ends {
        phase = phase.state(quantity(name).start(start).end(end));
    }
    let phase = phase
        .control(quantity("u1"))
        .control(quantity("u2"))
        .time(Moment::At(0.0), Moment::At(20.0))
        .dynamics(|s| {
            let ([y1, y2, y3, y4], [u1, u2]) = s.split();
            vec![
                -10.0 * y1 + &u1 + &u2,
                -2.0 * y2 + &u1 + 2.0 * &u2,
                -3.0 * &y3 + 5.0 * &y4 + &u1 - &u2,
                5.0 * y3 - 3.0 * y4 + u1 + 3.0 * u2,
            ]
        })
        .path("terrain", (0.01, f64::INFINITY), |s| {
            let peaks = [(3.0, 3.0, 12.0), (3.0, 6.0, 10.0), (3.0, 10.0, 6.0), (8.0, 15.0, 4.0)];
            size(s) - peaks.into_iter().map(|p| peak(&s.t, p)).sum::<Expr>()
        })
        .cost(|s| 100.0 * size(s) + 0.01 * ((&s.u[0]).powi(2) + (&s.u[1]).powi(2)));
    Problem::new("alp_rider").phase(phase)
}
