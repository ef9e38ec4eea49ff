//! Impacts that follow each other closely, and those that accumulate.

use std::ops::ControlFlow;

use costate::diff::FnMap;
use costate::ode::*;

const GRAVITY: f64 = 9.8;

type Fall = fn(f64, &[f64], &[f64], &mut [f64]);

fn fall() -> FnMap<Fall> {
    let field: Fall = |_, y, _, dy| (dy[0], dy[1]) = (y[1], -GRAVITY);
    FnMap::new(2, 0, field)
}

/// A ball at `y0` with speed v0 above the floor, speed times -q at each impact: (report, times of impacts, lowest height at steps and between).
fn bounce(
    tab: &'static Tableau,
    (y0, v0, floor, q): (f64, f64, f64, f64),
    end: f64,
    options: &Options,
) -> (OdeReport, Vec<f64>, f64) {
    let mut events = Events::new()
        .when(Crossing::Falling, AtEvent::Handle, move |_, y: &[f64]| y[0] - floor)
        .on_event(move |_, y| {
            y[1] *= -q;
            ControlFlow::Continue(())
        });
    let mut lowest = f64::INFINITY;
    let mut look = FnSink(|step: &mut Step<'_, f64>| {
        let mut y = [0.0; 2];
        for i in 0..=20 {
            let t = step.t0() + (step.t1() - step.t0()) * i as f64 / 20.0;
            step.interpolate(step.theta(t), &mut y);
            lowest = lowest.min(y[0]);
        }
        ControlFlow::Continue(())
    });
    let mut integrator = Integrator::new(tab, 2, 1, options).unwrap();
    let report =
        integrator.run(&mut fall(), (0.0, end), &[y0, v0], &[], &mut (&mut events, &mut look)).unwrap();
    let times = events.happened().iter().map(|e| e.t).collect();
    (report, times, lowest)
}

/// Where impacts with restitution q accumulate: the first at t_1 with speed v_1, then flights of 2 q^k v_1 / g.
fn limit((y0, v0, floor, q): (f64, f64, f64, f64)) -> (f64, f64, f64) {
    let v1 = (v0 * v0 + 2.0 * GRAVITY * (y0 - floor)).sqrt();
    let t1 = (v0 + v1) / GRAVITY;
    (t1, v1, t1 + 2.0 * v1 / GRAVITY * q / (1.0 - q))
}

#[test]
fn a_ball_comes_to_rest() {
    for tab in Tableau::all() {
        for ball in
            [(0.0, 1.0, -1.0, 0.5), (3.0, 0.0, 0.25, 0.8), (10.0, -2.0, 0.0, 0.2), (1e-3, 0.0, 0.0, 0.6)]
        {
            for options in [Options::default(), Options { max_step: 0.05, ..Options::default() }] {
                let (t1, v1, at) = limit(ball);
                let (report, times, lowest) = bounce(tab, ball, at + 0.7, &options);
                let name = format!("{} {ball:?}: {}", tab.name, report.message());
                let OdeStop::EventsAccumulate { at: found } = report.stop else { panic!("{name}") };
                assert!(
                    (found - at).abs() < 1e-7 && report.t <= at + 1e-7 && !report.ok(),
                    "{name} for {at}"
                );
                assert!(lowest >= ball.2 - 1e-9, "{name}: {lowest}");
                let mut t = t1;
                for (k, found) in times.iter().enumerate().take(8) {
                    assert!((found - t).abs() < 1e-6, "{name}: impact {k} at {found}, {t}");
                    t += 2.0 * v1 / GRAVITY * ball.3.powi(k as i32 + 1);
                }
            }
        }
    }
}

#[test]
fn the_known_impacts() {
    let (_, times, _) = bounce(&TSIT54, (0.0, 1.0, -1.0, 0.5), 2.0, &Options::default());
    for (found, want) in times.iter().zip([0.5651757436, 1.028310671, 1.259878134, 1.375661866, 1.433553732])
    {
        assert!((found - want).abs() < 1e-8, "{found} {want}");
    }
}

/// Falls from 1.225 to 0 in half a second; every impact sends it up with the same small speed: impacts at 0.5 + k 2 v / g.
#[test]
fn many_short_flights_in_one_long_step() {
    for (v, end) in [(0.002, 0.95), (0.03, 1.5), (2e-4, 0.52)] {
        let mut events =
            Events::new().when(Crossing::Falling, AtEvent::Handle, |_, y: &[f64]| y[0]).on_event(|_, y| {
                y[1] = v;
                ControlFlow::Continue(())
            });
        let options = Options { first_step: Some(0.5), max_step: 0.5, ..Options::default() };
        let mut integrator = Integrator::new(&TSIT54, 2, 1, &options).unwrap();
        let report = integrator.run(&mut fall(), (0.0, end), &[1.225, 0.0], &[], &mut events).unwrap();
        assert!(report.ok(), "{}", report.message());
        let flight = 2.0 * v / GRAVITY;
        let count = ((end - 0.5) / flight + 1e-6).floor() as usize + 1;
        assert_eq!(events.happened().len(), count, "{v}");
        for (k, e) in events.happened().iter().enumerate() {
            assert!((e.t - 0.5 - k as f64 * flight).abs() < 1e-8 + 1e-10 * k as f64, "{v} {k}: {}", e.t);
        }
    }
}

/// A handler that moves the state away from the zero, to either side.
#[test]
fn a_handler_may_move_the_state() {
    for (to, again) in [(0.5, true), (1e-9, true), (-0.5, false)] {
        let mut events =
            Events::new().when(Crossing::Falling, AtEvent::Handle, |_, y: &[f64]| y[0]).on_event(|_, y| {
                (y[0], y[1]) = (to, 0.0);
                ControlFlow::Continue(())
            });
        let mut integrator = Integrator::new(&TSIT54, 2, 1, &Options::default()).unwrap();
        integrator.run(&mut fall(), (0.0, 1.0), &[1.0, 0.0], &[], &mut events).unwrap();
        let first = (2.0 / GRAVITY).sqrt();
        let want = if again { 1 + ((1.0 - first) / (2.0 * to / GRAVITY).sqrt()).floor() as usize } else { 1 };
        let found = events.happened().len();
        assert!(found.abs_diff(want) * 1000 <= want, "{to}: {found} events, {want} expected");
    }
}
