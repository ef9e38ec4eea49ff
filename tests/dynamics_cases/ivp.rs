//! Problems of the test set for initial value problems (Bari, CWI; Hairer and Wanner), as ordinary differential equations.

use std::f64::consts::PI;

use costate::expr::Var;
use costate::ode::{Diagnosis, Options, RODAS3P, RODAS4, RODAS5P};

use crate::case::{By, Case, Ivp, Right};

fn robertson(_: Var, y: &[Var], dy: &mut [Var]) {
    let (a, b, c) = (0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] * y[1]);
    dy[0] = b - a;
    dy[1] = a - b - c;
    dy[2] = c;
}

fn van_der_pol(_: Var, y: &[Var], dy: &mut [Var]) {
    dy[0] = y[1];
    dy[1] = ((1.0 - y[0] * y[0]) * y[1] - y[0]) * 1e6;
}

fn orego(_: Var, y: &[Var], dy: &mut [Var]) {
    dy[0] = 77.27 * (y[1] + y[0] * (1.0 - 8.375e-6 * y[0] - y[1]));
    dy[1] = (y[2] - (1.0 + y[0]) * y[1]) / 77.27;
    dy[2] = 0.161 * (y[0] - y[2]);
}

fn hires(_: Var, y: &[Var], dy: &mut [Var]) {
    let q = 280.0 * y[5] * y[7];
    dy[0] = -1.71 * y[0] + 0.43 * y[1] + 8.32 * y[2] + 0.0007;
    dy[1] = 1.71 * y[0] - 8.75 * y[1];
    dy[2] = -10.03 * y[2] + 0.43 * y[3] + 0.035 * y[4];
    dy[3] = 8.32 * y[1] + 1.71 * y[2] - 1.12 * y[3];
    dy[4] = -1.745 * y[4] + 0.43 * (y[5] + y[6]);
    dy[5] = -q + 0.69 * y[3] + 1.71 * y[4] - 0.43 * y[5] + 0.69 * y[6];
    dy[6] = q - 1.81 * y[6];
    dy[7] = 1.81 * y[6] - q;
}

/// y1 - y2 - y3 = 0 (from 0) holds exactly.
fn e5(_: Var, y: &[Var], dy: &mut [Var]) {
    let (a, b, c, m) = (7.89e-10, 1.1e7, 1.13e3, 1e6);
    let (r1, r2, r3, r4) = (a * y[0], b * y[0] * y[2], m * c * y[1] * y[2], c * y[3]);
    dy[0] = -r1 - r2;
    dy[1] = r1 - r3;
    dy[2] = r1 - r2 - r3 + r4;
    dy[3] = r2 - r4;
}

/// With the invariant used to eliminate y1: (y0, y2, y3).
fn e5_eliminated(_: Var, y: &[Var], dy: &mut [Var]) {
    let (a, b, c, m) = (7.89e-10, 1.1e7, 1.13e3, 1e6);
    let (r1, r2, r4) = (a * y[0], b * y[0] * y[1], c * y[2]);
    dy[0] = -r1 - r2;
    dy[1] = r1 - r2 - m * c * (y[1] + y[2]) * y[1] + r4;
    dy[2] = r2 - r4;
}

fn ring_modulator(t: Var, y: &[Var], dy: &mut [Var]) {
    let (c, cs, cp, r, rp) = (1.6e-8, 2e-12, 1e-8, 25000.0, 50.0);
    let (lh, ls1, ls2, ls3) = (4.45, 2e-3, 5e-4, 5e-4);
    let (rg1, rg2, rg3, ri, rc) = (36.3, 17.3, 17.3, 50.0, 600.0);
    let diode = |u: Var| 40.67286402e-9 * ((17.7493332 * u).exp() - 1.0);
    let (e1, e2) = (0.5 * (2000.0 * PI * t).sin(), 2.0 * (20000.0 * PI * t).sin());
    let q1 = diode(y[2] - y[4] - y[6] - e2);
    let q2 = diode(y[5] - y[3] - y[6] - e2);
    let q3 = diode(y[3] + y[4] + y[6] + e2);
    let q4 = diode(y[6] - y[2] - y[5] + e2);
    dy[0] = (y[7] - 0.5 * y[9] + 0.5 * y[10] + y[13] - y[0] / r) / c;
    dy[1] = (y[8] - 0.5 * y[11] + 0.5 * y[12] + y[14] - y[1] / r) / c;
    dy[2] = (y[9] - q1 + q4) / cs;
    dy[3] = (q2 - y[10] - q3) / cs;
    dy[4] = (y[11] + q1 - q3) / cs;
    dy[5] = (q4 - y[12] - q2) / cs;
    dy[6] = (q1 + q2 - q3 - q4 - y[6] / rp) / cp;
    dy[7] = -y[0] / lh;
    dy[8] = -y[1] / lh;
    dy[9] = (0.5 * y[0] - y[2] - rg2 * y[9]) / ls2;
    dy[10] = (y[3] - 0.5 * y[0] - rg3 * y[10]) / ls3;
    dy[11] = (0.5 * y[1] - y[4] - rg2 * y[11]) / ls2;
    dy[12] = (y[5] - 0.5 * y[1] - rg3 * y[12]) / ls3;
    dy[13] = (e1 - y[0] - (ri + rg1) * y[13]) / ls1;
    dy[14] = (-y[1] - (rc + rg1) * y[14]) / ls1;
}

/// Chemical Akzo Nobel with y5 = Ks y0 y3 put in.
fn akzo(_: Var, y: &[Var], dy: &mut [Var]) {
    let (k1, k2, k3, k4) = (18.7, 0.58, 0.09, 0.42);
    let root = y[1].sqrt();
    let r1 = k1 * y[0].powi(4) * root;
    let r2 = k2 * y[2] * y[3];
    let r3 = k2 / 34.4 * y[0] * y[4];
    let r4 = k3 * y[0] * y[3] * y[3];
    let y5 = 115.83 * y[0] * y[3];
    let r5 = k4 * y5 * y5 * root;
    let inflow = 3.3 * (0.9 / 737.0 - y[1]);
    dy[0] = -2.0 * r1 + r2 - r3 - r4;
    dy[1] = -0.5 * r1 - r4 - 0.5 * r5 + inflow;
    dy[2] = r1 - r2 + r3;
    dy[3] = -1.0 * r2 + r3 - 2.0 * r4;
    dy[4] = r2 - r3 + r5;
}

fn problems() -> Vec<Ivp> {
    let ivp =
        |name, f, y0: &[f64], t1, right: &[f64]| Ivp { name, f, y0: y0.to_vec(), t1, right: right.to_vec() };
    let hires0 = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057];
    vec![
        ivp(
            "robertson to 1e5",
            robertson,
            &[1.0, 0.0, 0.0],
            1e5,
            &[1.7865921142e-2, 7.2747514684e-8, 0.9821340061],
        ),
        ivp(
            "robertson to 1e11",
            robertson,
            &[1.0, 0.0, 0.0],
            1e11,
            &[2.083340149701255e-8, 8.333360770334713e-14, 0.999999979166505],
        ),
        ivp("van der pol", van_der_pol, &[2.0, 0.0], 2.0, &[1.706167732170469, -0.8928097010248125]),
        ivp(
            "orego",
            orego,
            &[1.0, 2.0, 3.0],
            360.0,
            &[1.000814870318523, 1228.178521549917, 132.0554942846706],
        ),
        ivp(
            "hires",
            hires,
            &hires0,
            321.8122,
            &[
                7.371312573325668e-4,
                1.442485726316185e-4,
                5.888729740967575e-5,
                1.175651343283149e-3,
                2.386356198831331e-3,
                6.238968252742796e-3,
                2.849998395185769e-3,
                2.850001604814231e-3,
            ],
        ),
        ivp(
            "chemical akzo nobel",
            akzo,
            &[0.444, 0.00123, 0.0, 0.007, 0.0],
            180.0,
            &[
                0.1150794920661702,
                1.203831471567715e-3,
                0.1611562887407974,
                3.656156421249283e-4,
                0.01708010885264404,
            ],
        ),
        ring(),
    ]
}

fn ring() -> Ivp {
    let right = [
        -0.02339057358486745,
        -0.007367485485540825,
        0.2582956709291169,
        -0.406446572128345,
        -0.4039455665149794,
        0.2607966765422943,
        0.1106761861269975,
        2.939904342435596e-7,
        -2.840029933642329e-8,
        7.267198267264553e-4,
        7.92948719696084e-4,
        -7.255283495698965e-4,
        -7.941401968526521e-4,
        7.088495416976114e-5,
        2.39005907523657e-5,
    ];
    Ivp { name: "ring modulator", f: ring_modulator, y0: vec![0.0; 15], t1: 1e-3, right: right.to_vec() }
}

/// E5 at 1e11; y0 and y3 have died out.
fn e5_at_the_end() -> Ivp {
    let y0 = vec![1.76e-3, 0.0, 0.0, 0.0];
    let right = vec![f64::NAN, 1.0192582568e-20, 1.0192582568e-20, f64::NAN];
    Ivp { name: "E5", f: e5, y0, t1: 1e11, right }
}

/// Right, or the report says that the invariant is lost.
fn right_or_announced(problem: &Ivp, by: By, options: &Options, most: f64) -> Right {
    let (report, y) = problem.solve(by, options);
    match report.diagnosis {
        Some(Diagnosis::InvariantLost { .. }) => Ok(report.message()),
        _ if report.ok() && problem.error(&y) <= most => Ok(format!("error {:.1e}", problem.error(&y))),
        _ => Err(format!("error {:.1e}: {}", problem.error(&y), report.message())),
    }
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for problem in problems() {
        let ring = problem.name == "ring modulator";
        let methods = [By::Stiff(&RODAS3P), By::Stiff(&RODAS4), By::Stiff(&RODAS5P), By::Auto(&RODAS5P)];
        for by in methods {
            for tol in [1e-4, 1e-6, 1e-8] {
                // Its oscillations are resolved by every method: 1e5 steps and more with the low orders.
                let dear = ring && (tol < 1e-7 || by.name() != "rodas5p");
                if dear {
                    continue;
                }
                let problem = problem.clone();
                let atol = 1e-4 * tol * problem.right.iter().fold(1.0, |a: f64, r| a.min(r.abs() / 1e-4));
                let options = Options { max_steps: 1_000_000, ..Options::tolerances(tol, atol) };
                let name = format!("{} {} {tol:e}", problem.name, by.name());
                cases.push(Case::new(name, move || problem.judge(by, &options, 100.0 * tol)));
            }
        }
    }
    for by in [By::Stiff(&RODAS3P), By::Stiff(&RODAS4), By::Stiff(&RODAS5P)] {
        for (tol, most) in [(1e-4, 5e-3), (1e-6, 1e-3), (1e-8, 1e-4)] {
            let options = Options::tolerances(tol, 1e-18 * tol);
            let full = e5_at_the_end();
            let eliminated = Ivp {
                f: e5_eliminated,
                y0: vec![1.76e-3, 0.0, 0.0],
                right: vec![f64::NAN, full.right[2], f64::NAN],
                ..e5_at_the_end()
            };
            let (o, name) = (options.clone(), format!("E5 eliminated {} {tol:e}", by.name()));
            cases.push(Case::new(name, move || eliminated.judge(by, &o, most)));
            let (o, whole, name) = (options.clone(), full.clone(), format!("E5 {} {tol:e}", by.name()));
            cases.push(Case::new(name, move || right_or_announced(&whole, by, &o, most)));
            // y1 - y2 - y3 = 0, declared.
            let kept = Options { invariants: vec![vec![0.0, 1.0, -1.0, -1.0]], ..options };
            let name = format!("E5 declared {} {tol:e}", by.name());
            cases.push(Case::new(name, move || full.judge(by, &kept, most)));
        }
    }
    cases
}
