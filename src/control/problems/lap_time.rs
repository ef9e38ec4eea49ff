//! The shortest lap of a race car: a single-track model with Pacejka's tyres on a closed circuit.
//!
//! The independent variable is the distance s along the middle of the road, whose curvature is kappa(s):
//!
//! ```text
//! q = ds/dt = (u cos chi - v sin chi) / (1 - n kappa)
//! n' = (u sin chi + v cos chi) / q        chi' = omega / q - kappa
//! u' = (Fx - Ff sin delta - drag + m v omega) / (m q)
//! v' = (Fr + Ff cos delta - m u omega) / (m q)        omega' = (a Ff cos delta - b Fr) / (J q)        delta' = w / q
//! ```
//!
//! D. Casanova, On minimum time vehicle manoeuvring (Cranfield, 2000); G. Perantoni and D. J. N. Limebeer, Optimal control for a Formula One car with
//! variable parameters, Vehicle System Dynamics 52 (2014): curvilinear coordinates and the sizes of the car; tyres by H. B. Pacejka's magic formula with
//! an ellipse of friction on the driven rear axle.

use crate::control::problem::{Moment, Phase, Point, Problem, quantity};
use crate::model::{Expr, Expression};

const MASS: f64 = 660.0;
const INERTIA: f64 = 450.0;
const FRONT: f64 = 1.8;
const REAR: f64 = 1.6;
const G: f64 = 9.81;
/// 1/2 rho C A of drag and of down force.
const DRAG: f64 = 0.5 * 1.2 * 0.9 * 1.5;
const LIFT: f64 = 0.5 * 1.2 * 3.0 * 1.5;
const POWER: f64 = 560e3;
const FRICTION: f64 = 1.6;
/// B and C of the magic formula: F = mu Fz sin(C atan(B alpha)).
const STIFFNESS: f64 = 10.0;
const SHAPE: f64 = 1.5;
const HALF_WIDTH: f64 = 4.0;
const LENGTH: f64 = 2400.0;

/// (middle, length, angle) of the corners, which sum up to one turn.
const CORNERS: [(f64, f64, f64); 8] = [
    (300.0, 60.0, 1.6),
    (560.0, 50.0, 1.2),
    (820.0, 60.0, -1.1),
    (1050.0, 40.0, 1.7),
    (1350.0, 60.0, 1.3),
    (1600.0, 40.0, -0.9),
    (1820.0, 60.0, 1.5),
    (2100.0, 60.0, std::f64::consts::TAU - 5.3),
];
/// Part of the longitudinal force at the front axle.
const FRONT_SHARE: f64 = 0.4;

/// Curvature of the middle of the road: smooth corners, angle / (length sqrt(pi)) e^-((s - middle) / length)^2.
fn curvature(s: &Expr) -> Expr {
    let corner = |&(middle, length, angle): &(f64, f64, f64)| {
        let height = angle / (length * std::f64::consts::PI.sqrt());
        height * (-((1.0 / length) * (s - middle)).powi(2)).exp()
    };
    CORNERS.iter().map(corner).sum()
}

/// Loads of the axles, by weight and down force.
fn loads(u: &Expr) -> [Expr; 2] {
    let down = 0.5 * LIFT * u.powi(2);
    [MASS * G * REAR / (FRONT + REAR) + &down, MASS * G * FRONT / (FRONT + REAR) + &down]
}

/// Use of the friction of the axles by the longitudinal force: Fx / (mu Fz).
fn used(s: &Point) -> [Expr; 2] {
    let [front, rear] = loads(&s.x[2]);
    let force = MASS * G * &s.u[1];
    [(FRONT_SHARE / FRICTION) * &force / front, ((1.0 - FRONT_SHARE) / FRICTION) * force / rear]
}

/// mu Fz sqrt(1 - (Fx / mu Fz)^2) sin(C atan(B alpha)), with the load Fz.
fn lateral(load: Expr, used: Expr, slip: Expr) -> Expr {
    FRICTION * load * (1.0 - used.powi(2)).sqrt() * (SHAPE * (STIFFNESS * slip).atan()).sin()
}

/// ds/dt.
fn speed_along(s: &Point) -> Expr {
    let ([n, chi, u, v, _, _], [_, _]) = s.split();
    (u * (&chi).cos() - v * chi.sin()) / (1.0 - n * curvature(&s.t))
}

fn rates(s: &Point) -> Vec<Expr> {
    let ([_, chi, u, v, omega, delta], [w, force]) = s.split();
    let slowness = 1.0 / speed_along(s);
    let ([load_f, load_r], [used_f, used_r]) = (loads(&u), used(s));
    let front = lateral(load_f, used_f, &delta - (&v + FRONT * &omega) / &u);
    let rear = lateral(load_r, used_r, (REAR * &omega - &v) / &u);
    let pull = G * force;
    let drag = (DRAG / MASS) * (&u).powi(2);
    let (sin, cos) = ((&delta).sin(), delta.cos());
    let push = FRONT_SHARE * &pull;
    let turn = &front * &cos + MASS * &push * &sin;
    [
        &u * (&chi).sin() + &v * (&chi).cos(),
        omega.clone() - curvature(&s.t) * speed_along(s),
        (1.0 - FRONT_SHARE) * pull + push * cos - (1.0 / MASS) * front * sin - drag + &v * &omega,
        (1.0 / MASS) * (&rear + &turn) - u * omega,
        (FRONT / INERTIA) * turn - (REAR / INERTIA) * rear,
        w,
    ]
    .into_iter()
    .map(|rate| rate * &slowness)
    .collect()
}

/// The shortest lap.
pub fn lap_time() -> Problem {
    let phase = Phase::new("lap")
        .state(quantity("n").range(-HALF_WIDTH, HALF_WIDTH))
        .state(quantity("chi").range(-1.0, 1.0))
        .state(quantity("u").range(10.0, 110.0).guess(20.0, 20.0))
        .state(quantity("v").range(-20.0, 20.0).guess(0.0, 0.0))
        .state(quantity("omega").range(-3.0, 3.0))
        .state(quantity("delta").range(-0.5, 0.5))
        .control(quantity("w").range(-2.0, 2.0))
        .control(quantity("force").range(-1.5, 1.0))
        .time(Moment::At(0.0), Moment::At(LENGTH))
        .dynamics(rates)
        .path("front", (-0.95, 0.95), |s| used(s)[0].clone())
        .path("rear", (-0.95, 0.95), |s| used(s)[1].clone())
        .path("power", (f64::NEG_INFINITY, 1.0), |s| (MASS * G / POWER) * &s.u[1] * &s.x[2])
        .cost(|s| 1.0 / speed_along(s));
    Problem::new("lap_time").phase(phase).boundary(|ends| {
        let pairs = ends.start[0].x.iter().zip(&ends.end[0].x);
        pairs.map(|(a, b)| (a - b).eq(0)).collect()
    })
}
