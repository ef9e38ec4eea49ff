//! Error estimates that must not vanish (B2, B3), and derivatives by time (B5).

use costate::diff::{Differences, FnMap, Map};
use costate::expr::record;
use costate::ode::{DOP853, Options, RODAS5P, RosenbrockTableau, Tableau, VERN87, solve};

use crate::case::{Case, Right};

/// y' = -y + 20 \[t > tau\] for 200 tau: the worst error in tolerances.
fn jumps(tab: &'static Tableau, tol: f64) -> Right {
    let mut worst = 0.0f64;
    for tau in (0..200).map(|i| 0.3001 + 0.002 * i as f64) {
        let mut field = FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy[0] = -y[0] + if t > tau { 20.0 } else { 0.0 };
        });
        let s = solve(&mut field, tab, &Options::tolerances(tol, tol), (0.0, 1.0), &[1.0], &[], &[])
            .expect("valid");
        if !s.report.ok() {
            return Err(s.report.message());
        }
        let right = (-1.0f64).exp() + 20.0 * (1.0 - (tau - 1.0).exp());
        worst = worst.max((s.y1[0] - right).abs() / tol);
    }
    let seen = format!("{worst:.1} tolerances off");
    if worst < 100.0 { Ok(seen) } else { Err(seen) }
}

/// c' = C / c from (t0, c0) to t1: c^2 = c0^2 + 2 C (t - t0).
fn root(tab: &'static RosenbrockTableau, first: Option<f64>, big: f64, span: (f64, f64), c0: f64) -> Right {
    let mut field = record(1, 0, |_, y, _, dy| dy[0] = big / y[0]).expect("set").into_map();
    let options = Options { first_step: first, ..Options::default() };
    let s = solve(&mut field, tab, &options, span, &[c0], &[], &[]).expect("valid");
    let message = s.report.message();
    if !s.report.ok() {
        let honest = message.contains("below what time resolves");
        return if honest { Ok(message) } else { Err(message) };
    }
    let right = (c0 * c0 + 2.0 * big * (span.1 - span.0)).sqrt();
    let error = (s.y1[0] - right).abs() / right;
    let seen = format!("error {error:.1e} in {} steps", s.report.counts.accepted);
    if error < 1e-4 { Ok(seen) } else { Err(seen) }
}

/// u'' = -u'/r + u/r^2 from r = 1e-6 with u = -r.
fn bessel(mut field: impl Map<f64>) -> Right {
    let s = solve(&mut field, &RODAS5P, &Options::default(), (1e-6, 1.0), &[-1e-6, -1.0], &[], &[])
        .expect("valid");
    let error = (s.y1[0] + 1.0).abs();
    let seen = format!("error {error:.1e} in {} steps", s.report.counts.accepted);
    if s.report.ok() && error < 1e-6 { Ok(seen) } else { Err(seen) }
}

fn bessel_rate(r: f64, u: &[f64], _: &[f64], du: &mut [f64]) {
    (du[0], du[1]) = (u[1], -u[1] / r + u[0] / (r * r));
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    for tab in [&VERN87, &DOP853] {
        for tol in [1e-5, 1e-6] {
            cases.push(Case::new(format!("B2 {} {tol:e}", tab.name), move || jumps(tab, tol)));
        }
    }
    for tab in RosenbrockTableau::all() {
        for first in [1e-3, 1.0, 1e3, 7.9e5, 1e8] {
            let name = format!("B3 1/y {} first step {first:e}", tab.name);
            cases.push(Case::new(name, move || root(tab, Some(first), 1.0, (0.0, 1e9), 1.0)));
        }
        let name = format!("B3 C/c {}", tab.name);
        cases.push(Case::new(name, move || root(tab, None, 1e50, (1.0, 2.0), 1e6)));
    }
    let plain = || FnMap::new(2, 0, bessel_rate);
    cases.push(Case::new("B5 df/dt by a difference", move || bessel(Differences::of(plain()))));
    cases.push(Case::new("B5 df/dt by hand", move || {
        let field = plain().with_time_derivative(|r: f64, u: &[f64], _: &[f64], dt: &mut [f64]| {
            (dt[0], dt[1]) = (0.0, u[1] / (r * r) - 2.0 * u[0] / (r * r * r));
        });
        bessel(Differences::of(field))
    }));
    cases.push(Case::new("B5 recorded", move || {
        let field = record(2, 0, |r, u, _, du| {
            du[0] = u[1];
            du[1] = -1.0 * u[1] / r + u[0] / (r * r);
        });
        bessel(field.expect("set").into_map())
    }));
    cases
}
