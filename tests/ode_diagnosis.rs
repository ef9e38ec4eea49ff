//! What a report says of runs that fail or are far too dear.

use costate::diff::{Differences, FnMap};
use costate::ode::*;

fn run(
    tab: &'static Tableau,
    options: &Options,
    span: (f64, f64),
    y0: &[f64],
    f: impl FnMut(f64, &[f64], &[f64], &mut [f64]),
) -> (OdeReport, Vec<f64>) {
    let s = solve(&mut FnMap::new(y0.len(), 0, f), tab, options, span, y0, &[], &[]).unwrap();
    (s.report, s.y1)
}

/// x' = a where g(x) < 0, -b where it is positive: the solution slides along g = 0 from the time it gets there.
#[test]
fn sliding_is_named_with_place_and_time() {
    for tab in Tableau::all() {
        for (a, b, at, tol) in [(1.0, 1.0, 0.5, 1e-6), (2.0, 0.3, 0.7, 1e-5), (0.5, 4.0, 0.25, 1e-8)] {
            let options = Options { max_steps: 20_000, ..Options::tolerances(tol, 1e-2 * tol) };
            let (report, y) = run(tab, &options, (0.0, 2.0), &[0.0, 0.0], |_, x, _, dx| {
                (dx[0], dx[1]) = (1.0, if x[1] <= at { a } else { -b });
            });
            let name = format!("{} {a} {b}: {}", tab.name, report.message());
            let Some(Diagnosis::Chattering { component, from, to }) = report.diagnosis else {
                panic!("{name}")
            };
            assert!(component == 1 && (from - at / a).abs() < 0.2 && to >= from, "{name}");
            assert!((y[1] - at).abs() < 0.1 || !report.ok(), "{name}: {y:?}");
            assert!(report.message().contains("slides") && !report.message().contains("stiff"), "{name}");
            assert_eq!(report.stiff_at, None, "{name}");
        }
    }
}

/// Friction: v' = sin t - mu sign(v) sticks while |sin t| < mu.
#[test]
fn sticking_friction_is_sliding_too() {
    let options = Options { max_steps: 50_000, ..Options::default() };
    let (report, _) = run(&TSIT54, &options, (0.0, 3.0), &[0.0, 1.0], |t, y, _, dy| {
        (dy[0], dy[1]) = (y[1], 0.4 * t.sin() - 0.9 * y[1].signum());
    });
    assert!(
        matches!(report.diagnosis, Some(Diagnosis::Chattering { component: 1, .. })),
        "{:?} {}",
        report.diagnosis,
        report.message()
    );
}

/// Smooth problems, hard ones and those with a few jumps have no such diagnosis.
#[test]
fn nothing_is_said_of_runs_that_are_well() {
    for tab in Tableau::all() {
        for tol in [1e-3, 1e-6, 1e-9] {
            let options = Options::tolerances(tol, tol);
            let vdp = |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
                (dy[0], dy[1]) = (y[1], 30.0 * (1.0 - y[0] * y[0]) * y[1] - y[0]);
            };
            let (report, _) = run(tab, &options, (0.0, 60.0), &[2.0, 0.0], vdp);
            assert!(report.ok() && report.diagnosis.is_none(), "{} {tol}: {}", tab.name, report.message());
            let square =
                |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = (10.0 * t).sin().signum() - y[0];
            let (report, _) = run(tab, &options, (0.0, 5.0), &[0.0], square);
            assert!(report.ok() && report.diagnosis.is_none(), "{} {tol}: {}", tab.name, report.message());
            let stiff = |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = -1e3 * (y[0] - t.cos());
            let (report, _) = run(tab, &options, (0.0, 5.0), &[0.0], stiff);
            assert!(report.diagnosis.is_none(), "{} {tol}: {}", tab.name, report.message());
        }
    }
}

/// x' = sqrt(1 - x) reaches 1 and has nowhere to go; x' = sqrt(c - x^2), x' = ln(c - x).
#[test]
fn leaving_the_domain_is_named() {
    type Field = fn(f64, &[f64], &[f64], &mut [f64]);
    let fields: [(Field, f64); 3] = [
        (|_, x, _, dx| dx[0] = (1.0 - x[0]).sqrt(), 0.9975),
        (|_, x, _, dx| dx[0] = 0.1 + (2.0 - x[0] * x[0]).sqrt(), 1.0),
        (|_, x, _, dx| dx[0] = 1.0 + (3.0 - x[0]).sqrt(), 0.0),
    ];
    for tab in Tableau::all() {
        for (f, x0) in fields {
            let options = Options { max_steps: 100_000, ..Options::default() };
            let (report, _) = run(tab, &options, (2.1, 15.0), &[x0], f);
            // Some steps end on the edge itself, which is the solution there.
            if report.ok() {
                continue;
            }
            assert_eq!(report.diagnosis, Some(Diagnosis::LeavesDomain), "{}: {}", tab.name, report.message());
            assert!(report.message().contains("leaves its domain"), "{}", report.message());
        }
    }
}

#[test]
fn the_component_that_is_not_finite_is_named() {
    let bessel =
        |r: f64, u: &[f64], _: &[f64], du: &mut [f64]| (du[0], du[1]) = (u[1], -u[1] / r + u[0] / (r * r));
    let (report, _) = run(&TSIT54, &Options::default(), (0.0, 1.0), &[0.0, -1.0], bessel);
    assert_eq!(
        (report.stop, report.diagnosis),
        (OdeStop::StartNotFinite, Some(Diagnosis::NotFinite { component: 1 }))
    );
    assert!(report.message().contains("component 1 of dy/dt is not finite"), "{}", report.message());
    let mut field = Differences::of(FnMap::new(2, 0, bessel));
    let s = solve(&mut field, &RODAS5P, &Options::default(), (0.0, 1.0), &[0.0, -1.0], &[], &[]).unwrap();
    assert_eq!(s.report.diagnosis, Some(Diagnosis::NotFinite { component: 1 }));
}

#[test]
fn the_resolution_of_time_is_named() {
    for tab in [&TSIT54, &VERN87] {
        let (report, _) =
            run(tab, &Options::default(), (1e20, 1e20 + 32768.0), &[1.0], |_, y, _, dy| dy[0] = -y[0]);
        assert!(!report.ok(), "{}", report.message());
        assert_eq!(report.diagnosis, Some(Diagnosis::Resolution), "{}", report.message());
        assert!(
            !report.message().contains("stiff") && !report.message().contains("min_step"),
            "{}",
            report.message()
        );
    }
    // A pole: the step falls below the spacing of t.
    let (report, _) =
        run(&TSIT54, &Options::default(), (0.0, 2.0), &[1.0], |_, y, _, dy| dy[0] = y[0] * y[0]);
    assert!(!report.ok() && !report.message().contains("lower min_step;"), "{}", report.message());
    assert!((report.t - 1.0).abs() < 1e-5, "{}", report.message());
}

#[test]
fn stiff_is_said_where_it_is_so() {
    let options = Options { max_steps: 2000, ..Options::default() };
    let (report, _) =
        run(&TSIT54, &options, (0.0, 1.0), &[0.0], |t, y, _, dy| dy[0] = -1e6 * (y[0] - t.cos()));
    assert_eq!(report.diagnosis, Some(Diagnosis::Stiff), "{}", report.message());
    assert!(report.message().contains("the problem is stiff here"), "{}", report.message());
}
