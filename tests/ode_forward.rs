//! The forward driver: orders, references, limits, events, bad input, ensembles, allocations.

#[path = "common/alloc.rs"]
mod alloc;
mod common;

use std::ops::ControlFlow;

use alloc::allocations;
use common::{lotka_volterra, pleiades, reference};
use costate::diff::{At, Differences, FnMap, Map};
use costate::ode::*;

/// Forced pendulum: y0' = y1, y1' = -sin y0 + 0.3 cos(1.7 t) y0.
fn pendulum() -> impl Map<f64> {
    FnMap::new(2, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = -y[0].sin() + 0.3 * (1.7 * t).cos() * y[0];
    })
}

fn run_fixed(tab: &'static Tableau, steps: usize, sinks: &mut impl StepSink<f64>) -> Vec<f64> {
    let options = Options::fixed(4.0 / steps as f64);
    let mut it = Integrator::new(tab, 2, 1, &options).unwrap();
    let r = it.run(&mut pendulum(), (0.0, 4.0), &[1.2, 0.4], &[], sinks).unwrap();
    assert_eq!((r.stop, r.counts.accepted), (OdeStop::Finished, steps as u64));
    it.y().to_vec()
}

/// A problem with a known solution on [0, t1]: right-hand side, solution, t1.
type Known = (fn(f64, &[f64], &[f64], &mut [f64]), fn(f64) -> [f64; 2], f64);

/// y0' = y0 cos t, y1' = -y1 sin t.
const GROWTH: Known = (
    |t, y, _, dy| {
        dy[0] = y[0] * t.cos();
        dy[1] = -y[1] * t.sin();
    },
    |t| [t.sin().exp(), t.cos().exp()],
    2.0,
);

/// y' = |y|^2 (-y1, y0).
const ROTATION: Known = (
    |_, y, _, dy| {
        let r = y[0] * y[0] + y[1] * y[1];
        dy[0] = -y[1] * r;
        dy[1] = y[0] * r;
    },
    |t| [t.cos(), t.sin()],
    3.0,
);

/// Largest errors at the step points and between them.
fn errors(tab: &'static Tableau, (f, exact, t1): Known, steps: usize) -> (f64, f64) {
    let (mut dense, mut every) = (DenseSolution::new(), EveryStep::new());
    let mut it = Integrator::new(tab, 2, 1, &Options::fixed(t1 / steps as f64)).unwrap();
    it.run(&mut FnMap::new(2, 0, f), (0.0, t1), &exact(0.0), &[], &mut (&mut dense, &mut every)).unwrap();
    assert_eq!(every.times().len(), steps + 1);
    let far = |t: f64, y: &[f64]| (y[0] - exact(t)[0]).hypot(y[1] - exact(t)[1]);
    let at_steps = every.times().iter().enumerate().map(|(i, &t)| far(t, every.state(i))).fold(0.0, f64::max);
    let mut y = [0.0; 2];
    let between = (0..4 * steps).map(|i| {
        let t = (i as f64 + 0.37) / (4 * steps) as f64 * t1;
        assert!(dense.eval(t, &mut y));
        far(t, &y)
    });
    (at_steps, between.fold(0.0, f64::max))
}

/// Measured orders (steps, dense output) over one halving, in the asymptotic range and above rounding. On the first problem the
/// leading error terms of Tsitouras' and Bogacki and Shampine's methods of order 5 show only below rounding, hence the second.
fn orders(tab: &'static Tableau) -> (f64, f64) {
    let (problem, n) = match tab.name {
        "bs32" => (GROWTH, 256),
        "dp54" => (GROWTH, 64),
        "tsit54" => (ROTATION, 128),
        "bs54" => (ROTATION, 64),
        "vern76" => (GROWTH, 16),
        "vern87" => (GROWTH, 6),
        _ => (GROWTH, 8),
    };
    let (a, b) = (errors(tab, problem, n), errors(tab, problem, 2 * n));
    ((a.0 / b.0).log2(), (a.1 / b.1).log2())
}

#[test]
fn convergence_orders() {
    for tab in Tableau::all() {
        let (steps, dense) = orders(tab);
        println!("{}: steps {steps:.3}, dense output {dense:.3}", tab.name);
        assert!((steps - tab.order as f64).abs() < 0.1, "{}: {steps}", tab.name);
        let want = tab.order.min(tab.dense_order + 1) as f64;
        assert!((dense - want).abs() < 0.1, "{} between steps: {dense}", tab.name);
    }
}

#[test]
fn local_order_of_the_interpolants() {
    // One step from the exact start: the error inside it behaves like h^(dense_order + 1).
    for tab in Tableau::all() {
        let err = |h: f64| {
            let exact = solve(
                &mut pendulum(),
                &DOP853,
                &Options::fixed(h / 16.0),
                (0.0, 0.6 * h),
                &[1.2, 0.4],
                &[],
                &[],
            );
            let s = solve(&mut pendulum(), tab, &Options::fixed(h), (0.0, h), &[1.2, 0.4], &[], &[0.6 * h])
                .unwrap();
            let (a, b) = (s.state(0), exact.unwrap().y1);
            (a[0] - b[0]).hypot(a[1] - b[1])
        };
        // Above rounding, which Verner's weights of order 8 amplify.
        let h = if tab.dense_order > 5 { 0.4 } else { 0.1 };
        let parts: f64 = if tab.name == "vern87" { 2.0 } else { 4.0 };
        let order = (err(h) / err(h / parts)).ln() / parts.ln();
        assert!((order - (tab.dense_order + 1) as f64).abs() < 0.25, "{}: {order}", tab.name);
    }
}

#[test]
fn dense_output_is_continuously_differentiable() {
    for tab in Tableau::all() {
        let mut dense = DenseSolution::new();
        run_fixed(tab, 20, &mut dense);
        let (mut a, mut b, mut y, mut f) = ([0.0; 2], [0.0; 2], [0.0; 2], [0.0; 2]);
        for &t in &dense.ends()[..19] {
            let e = 1e-9;
            dense.eval(t, &mut y);
            pendulum().value(At::new(t, &y, &[]), &mut f);
            dense.derivative(t - e, &mut a);
            dense.derivative(t + e, &mut b);
            for i in 0..2 {
                assert!((a[i] - f[i]).abs() < 1e-7 && (b[i] - f[i]).abs() < 1e-7, "{} at {t}", tab.name);
            }
        }
    }
}

#[test]
fn reference_values() {
    let Some(values) = reference("reference_values.json") else { return };
    let read = |name: &str| -> Vec<f64> {
        values[name].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    for tab in Tableau::all() {
        let o = Options { max_steps: 10_000_000, ..Options::tolerances(1e-11, 1e-12) };
        let far = |mut field: common::Field, t1: f64, y0: &[f64], p: &[f64], name: &str| {
            let s = solve(&mut field, tab, &o, (0.0, t1), y0, p, &[]).unwrap();
            assert!(s.report.ok(), "{} {name}: {}", tab.name, s.report.message());
            let error = s.y1.iter().zip(read(name)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            println!("{} {name}: {error:.1e}, {} steps", tab.name, s.report.counts.accepted);
            error
        };
        let lv = far(lotka_volterra(), 10.0, &[1.0, 1.0], &[1.5, 1.0, 3.0, 1.0], "LV");
        let stars = far(pleiades(), 3.0, &common::PLEIADES, &[], "Pleiades");
        let orbit = far(common::arenstorf(), common::ARENSTORF_PERIOD, &common::ARENSTORF, &[], "Arenstorf");
        assert!(lv < 1e-10 && stars < 1e-8 && orbit < 1e-6, "{}: {lv:e} {stars:e} {orbit:e}", tab.name);
    }
}

#[test]
fn work_is_pinned() {
    // Steps, rejections, evaluations at rtol 1e-6: a change of the controller or of the first step shows here.
    let counts = |tab| {
        let o = Options::tolerances(1e-6, 1e-6);
        let s = solve(&mut lotka_volterra(), tab, &o, (0.0, 10.0), &[1.0, 1.0], &[1.5, 1.0, 3.0, 1.0], &[])
            .unwrap();
        let c = s.report.counts;
        let tab: &Tableau = tab;
        let late = !tab.error_uses_last as u64;
        let attempts = c.accepted + c.rejected;
        assert_eq!(c.evals, 2 + attempts * (tab.stages as u64 - 1 - late) + late * c.accepted);
        (tab.name, c.accepted, c.rejected)
    };
    let all: Vec<_> = Tableau::all().into_iter().map(counts).collect();
    assert_eq!(all, common::PINNED, "update the pin only for a reason");
}

#[test]
fn backwards_and_forwards_return() {
    for tab in Tableau::all() {
        let o = Options::tolerances(1e-9, 1e-9);
        let p = [1.5, 1.0, 3.0, 1.0];
        let s = solve(&mut lotka_volterra(), tab, &o, (0.0, 5.0), &[1.0, 1.0], &p, &[2.0]).unwrap();
        let mid = s.state(0).to_vec();
        let b = solve(&mut lotka_volterra(), tab, &o, (5.0, 0.0), &s.y1, &p, &[2.0, 0.0]).unwrap();
        assert!((b.y1[0] - 1.0).abs() < 1e-6 && (b.y1[1] - 1.0).abs() < 1e-6);
        assert!((b.state(0)[0] - mid[0]).abs() < 1e-6);
        assert_eq!(b.state(1), &b.y1[..]);
    }
}

#[test]
fn single_precision() {
    let mut f = FnMap::new(1, 0, |_, y: &[f32], _: &[f32], dy: &mut [f32]| dy[0] = -y[0]);
    for tab in Tableau::all() {
        let o = Options::tolerances(1e-5, 1e-6);
        let s = solve(&mut f, tab, &o, (0.0f32, 1.0), &[1.0], &[], &[0.4]).unwrap();
        // Rounding is amplified by the weights.
        let weights = (0..tab.stages).map(|j| tab.b(j).abs()).sum::<f64>() as f32;
        let want = 1e-5 * weights.max(1.0);
        assert!((s.y1[0] - (-1.0f32).exp()).abs() < want, "{}", tab.name);
        // The interpolant of Verner's order 8 is for double precision.
        if tab.name != "vern87" {
            assert!((s.state(0)[0] - (-0.4f32).exp()).abs() < 10.0 * want, "{}", tab.name);
        }
        let mut ev = Events::new().when(Crossing::Falling, AtEvent::Stop, |_, y: &[f32]| y[0] - 0.5);
        let mut it = Integrator::new(tab, 1, 1, &o).unwrap();
        let r = it.run(&mut f, (0.0f32, 2.0), &[1.0], &[], &mut ev).unwrap();
        assert!(r.stop == OdeStop::Stopped && (r.t - 2f64.ln()).abs() < 1e-3, "{}: {r:?}", tab.name);
    }
}

#[test]
fn a_batch_shares_its_steps_and_a_batch_of_copies_is_one_trajectory() {
    let p = [1.5, 1.0, 3.0, 1.0];
    let o = Options::tolerances(1e-7, 1e-7);
    let one = solve(&mut lotka_volterra(), &TSIT54, &o, (0.0, 3.0), &[1.0, 1.0], &p, &[]).unwrap();
    let y0: Vec<f64> = [1.0, 1.0].repeat(100);
    let many = solve(&mut lotka_volterra(), &TSIT54, &o, (0.0, 3.0), &y0, &p, &[]).unwrap();
    assert_eq!(one.report.counts, many.report.counts);
    for y in many.y1.chunks(2) {
        assert!((y[0] - one.y1[0]).abs() < 1e-12 && (y[1] - one.y1[1]).abs() < 1e-12);
    }
}

#[test]
fn tolerances_per_component_and_the_maximum_norm() {
    let p = [1.5, 1.0, 3.0, 1.0];
    let steps = |o: &Options| {
        solve(&mut lotka_volterra(), &TSIT54, o, (0.0, 10.0), &[1.0, 1.0], &p, &[])
            .unwrap()
            .report
            .counts
            .accepted
    };
    let loose = steps(&Options::tolerances(1e-4, 1e-4));
    let tight = steps(&Options::tolerances(1e-8, 1e-8));
    let mixed = steps(&Options::tolerances(vec![1e-4, 1e-8], vec![1e-4, 1e-8]));
    assert!(loose < mixed && mixed <= tight, "{loose} {mixed} {tight}");
    let same = steps(&Options::tolerances(vec![1e-8; 2], 1e-8));
    assert_eq!(same, tight);
    let max = steps(&Options { norm: Norm::Max, ..Options::tolerances(1e-8, 1e-8) });
    assert!(max >= tight);
    // With fixed steps any finite error passes, one whose square is not finite in single precision, too.
    let mut f = FnMap::new(1, 0, |t: f32, _: &[f32], _: &[f32], dy: &mut [f32]| dy[0] = t.sin());
    for batch in [1, 2, 9] {
        let o = Options { norm: Norm::Max, fixed_step: Some(0.5), ..Options::tolerances(0.0, 1e-30) };
        let s = solve(&mut f, &TSIT54, &o, (0.0f32, 1.0), &vec![0.0; batch], &[], &[]).unwrap();
        assert!(s.report.ok() && (s.y1[0] - (1.0 - 1f32.cos())).abs() < 1e-5, "{:?}", s.report);
    }
}

#[test]
fn limits_of_the_step() {
    let p = [1.5, 1.0, 3.0, 1.0];
    let mut every = EveryStep::new();
    let o = Options { max_step: 0.1, first_step: Some(0.01), ..Options::tolerances(1e-3, 1e-3) };
    let mut it = Integrator::new(&TSIT54, 2, 1, &o).unwrap();
    it.run(&mut lotka_volterra(), (0.0, 2.0), &[1.0, 1.0], &p, &mut every).unwrap();
    let t = every.times();
    assert_eq!((t[0], t[1], t[t.len() - 1]), (0.0, 0.01, 2.0));
    assert!(t.windows(2).all(|w| w[1] - w[0] <= 0.1 * (1.0 + 1e-12)));
    assert_eq!(every.state(t.len() - 1), it.y());

    let o = Options { min_step: 0.1, ..Options::tolerances(1e-12, 1e-12) };
    let r = solve(&mut lotka_volterra(), &TSIT54, &o, (0.0, 2.0), &[1.0, 1.0], &p, &[]).unwrap().report;
    assert_eq!(r.stop, OdeStop::StepUnderflow);
    assert!(r.message().contains("lower min_step"), "{}", r.message());
}

#[test]
fn a_rejected_last_step_shrinks_too() {
    // E = 1.0001 for the whole span as one step: a controller that shrinks by half a percent must not be stretched back to the end.
    let run = |o: Options| {
        solve(&mut lotka_volterra(), &TSIT54, &o, (0.0, 0.5), &[1.0, 1.0], &[1.5, 1.0, 3.0, 1.0], &[])
            .unwrap()
            .report
    };
    let at_one = run(Options { fixed_step: Some(0.5), ..Options::tolerances(1e-6, 1e-6) }).error;
    let tol = 1e-6 * at_one / 1.0001;
    let controller = Controller { safety: 0.995, ..Controller::default() };
    let o = Options { controller, first_step: Some(0.5), max_steps: 100, ..Options::tolerances(tol, tol) };
    let r = run(o);
    assert!(r.stop == OdeStop::Finished && r.counts.rejected > 0, "{r:?}");
}

#[test]
fn values_that_are_not_finite_shrink_the_step() {
    // sqrt(1 - t) is not defined beyond t = 1, where the event ends the integration.
    let mut seen = 0;
    let mut f = FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = (1.0 - t).sqrt() * y[0];
        seen += dy[0].is_nan() as u32;
    });
    let o = Options { first_step: Some(3.0), ..Options::tolerances(1e-6, 1e-6) };
    let mut it = Integrator::new(&TSIT54, 1, 1, &o).unwrap();
    let mut ev = Events::new().when(Crossing::Rising, AtEvent::Stop, |t, _| t - 0.9);
    let r = it.run(&mut f, (0.0, 5.0), &[1.0], &[], &mut ev).unwrap();
    assert_eq!(r.stop, OdeStop::Stopped);
    assert!(r.counts.not_finite > 0 && seen > 0);
    assert!((r.t - 0.9).abs() < 1e-14);
    let exact = (2.0 / 3.0 * (1.0 - 0.1f64.powf(1.5))).exp();
    assert!((it.y()[0] - exact).abs() < 1e-5);
}

#[test]
fn failures_say_where_how_stiff_and_what_to_try() {
    // y' = y^2 blows up at t = 1.
    let mut f = FnMap::new(1, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = y[0] * y[0]);
    let r = solve(&mut f, &TSIT54, &Options::default(), (0.0, 2.0), &[1.0], &[], &[]).unwrap().report;
    assert!(matches!(r.stop, OdeStop::StepUnderflow | OdeStop::MaxSteps), "{r:?}");
    assert!((r.t - 1.0).abs() < 1e-3 && !r.ok(), "{r:?}");
    assert!(r.message().contains("t = ") && r.message().contains("event"), "{}", r.message());

    // Stiff: eigenvalue -1e6.
    let mut f =
        FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = -1e6 * (y[0] - t.cos()));
    for tab in Tableau::all() {
        let o = Options { max_steps: 5000, ..Options::default() };
        let r = solve(&mut f, tab, &o, (0.0, 2.0), &[1.0], &[], &[]).unwrap().report;
        assert_eq!(r.stop, OdeStop::MaxSteps);
        let s = r.stiffness.unwrap();
        assert!((s - 1e6).abs() < 1e4, "{} {s}", tab.name);
        assert!(r.stiff_at.is_some(), "{}", tab.name);
        assert!(r.message().contains("stiff method"), "{}", r.message());
    }
    // Not stiff: no false alarm.
    let s = solve(
        &mut pleiades(),
        &TSIT54,
        &Options::tolerances(1e-8, 1e-8),
        (0.0, 3.0),
        &common::PLEIADES,
        &[],
        &[],
    )
    .unwrap();
    assert_eq!(s.report.stiff_at, None);
}

#[test]
fn bad_input_is_one_clear_error_each() {
    let p = [1.5, 1.0, 3.0, 1.0];
    let go = |o: &Options, span, y0: &[f64], p: &[f64], save: &[f64]| {
        solve(&mut lotka_volterra(), &TSIT54, o, span, y0, p, save).map(|_| ()).unwrap_err().to_string()
    };
    let d = Options::default();
    let y = [1.0, 1.0];
    assert_eq!(go(&d, (1.0, 1.0), &y, &p, &[]), "the time span is empty: t0 = t1 = 1");
    assert_eq!(go(&d, (0.0, f64::INFINITY), &y, &p, &[]), "the time span from 0 to inf is not finite");
    assert_eq!(go(&d, (0.0, 1.0), &[1.0, 2.0, 3.0], &p, &[]), "the start has length 3, expected 2");
    assert_eq!(go(&d, (0.0, 1.0), &y, &p[..3], &[]), "the parameter vector has length 3, expected 4");
    assert_eq!(go(&d, (0.0, 1.0), &[1.0, f64::NAN], &p, &[]), "the start is not finite: entry 1 is NaN");
    assert_eq!(
        go(&d, (0.0, 1.0), &y, &[1.0, f64::INFINITY, 1.0, 1.0], &[]),
        "the parameter vector is not finite: entry 1 is inf"
    );
    assert_eq!(
        go(&d, (0.0, 1.0), &y, &p, &[0.5, 1.5]),
        "save point 1 is t = 1.5, outside the span from 0 to 1"
    );
    assert_eq!(
        go(&d, (0.0, 1.0), &y, &p, &[0.5, f64::NAN]),
        "save point 1 is t = NaN, outside the span from 0 to 1"
    );
    assert_eq!(
        go(&d, (0.0, 1.0), &y, &p, &[0.5, 0.25]),
        "save points are not in the order of integration: t[1] = 0.25 follows 0.5"
    );
    assert_eq!(
        go(&d, (1.0, 0.0), &y, &p, &[0.25, 0.5]),
        "save points are not in the order of integration: t[1] = 0.5 follows 0.25"
    );
    let neg = "option rtol is -0.1: it must be at least zero and finite";
    assert_eq!(go(&Options::tolerances(-0.1, 1e-3), (0.0, 1.0), &y, &p, &[]), neg);
    let nan = "option atol is NaN: it must be at least zero and finite";
    assert_eq!(go(&Options::tolerances(0.1, f64::NAN), (0.0, 1.0), &y, &p, &[]), nan);
    let zero = "option atol is 0: it must be positive where rtol is zero";
    assert_eq!(go(&Options::tolerances(0.0, 0.0), (0.0, 1.0), &y, &p, &[]), zero);
    let len = "rtol has length 3, expected 2";
    assert_eq!(go(&Options::tolerances(vec![0.1; 3], 0.1), (0.0, 1.0), &y, &p, &[]), len);
    let o = Options { max_step: -1.0, ..Options::default() };
    assert_eq!(go(&o, (0.0, 1.0), &y, &p, &[]), "option max_step is -1: it must be positive");
    let o = Options { first_step: Some(f64::NAN), ..Options::default() };
    assert_eq!(go(&o, (0.0, 1.0), &y, &p, &[]), "option first_step is NaN: it must be positive and finite");
    let mut f = FnMap::new(1, 0, |t: f64, _: &[f64], _: &[f64], dy: &mut [f64]| {
        assert!(t < 0.3, "no data after 0.3");
        dy[0] = 1.0;
    });
    let e = solve(&mut f, &TSIT54, &d, (0.0, 1.0), &[0.0], &[], &[]).unwrap_err();
    assert_eq!(e.to_string(), "the vector field panicked: no data after 0.3");
    let mut f = FnMap::new(1, 0, |_, _: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = f64::NAN);
    let r = solve(&mut f, &TSIT54, &d, (0.0, 1.0), &[0.0], &[], &[]).unwrap().report;
    assert_eq!(r.stop, OdeStop::StartNotFinite);
    assert!(r.message().contains("not finite at the start"));
    let e = solve_ensemble(&TSIT54, &d, lotka_volterra, (0.0, 1.0), &[1.0; 3], Params::Shared(&p), &[])
        .unwrap_err();
    assert_eq!(e.to_string(), "the start of an ensemble has length 3, expected 4");
}

#[test]
fn events_are_found_to_rounding_and_may_change_the_state() {
    // A ball falls from 1 with g = 9.81 and keeps 0.8 of its speed: bounces at t1 (1 + 2 e + 2 e^2 + ..).
    let mut ball = FnMap::new(2, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = -9.81;
    });
    let t1 = (2.0f64 / 9.81).sqrt();
    for tab in Tableau::all() {
        let mut ev =
            Events::new().when(Crossing::Falling, AtEvent::Handle, |_, y: &[f64]| y[0]).on_event(|_, y| {
                y[0] = 0.0;
                y[1] *= -0.8;
                ControlFlow::Continue(())
            });
        let mut save = SaveAt::new(&[0.5 * t1, t1, 1.5 * t1, 3.0]);
        let mut dense = DenseSolution::new();
        let o = Options { max_step: 0.1, ..Options::tolerances(1e-10, 1e-10) };
        let mut it = Integrator::new(tab, 2, 1, &o).unwrap();
        let r =
            it.run(&mut ball, (0.0, 3.0), &[1.0, 0.0], &[], &mut (&mut ev, &mut save, &mut dense)).unwrap();
        assert_eq!(r.stop, OdeStop::Finished, "{}", tab.name);
        // Rounding grows with the weights: 98 for Verner's order 8, at most 17 for the others.
        let terms = (0..tab.stages).map(|j| tab.b(j).abs()).sum::<f64>().max(10.0);
        let mut t = t1;
        let mut flight = 2.0 * t1;
        for o in ev.happened() {
            assert!((o.t - t).abs() < 1e-13 * terms, "{}: {} {t}", tab.name, o.t);
            assert!(o.y[0].abs() < 1e-12);
            flight *= 0.8;
            t += flight;
        }
        assert!(t > 3.0 && ev.happened().len() == 6, "{}: {}", tab.name, ev.happened().len());
        assert!((save.state(0)[0] - (1.0 - 9.81 / 8.0 * t1 * t1)).abs() < 1e-12);
        let after = 0.8 * 9.81 * t1 * 0.5 * t1 - 9.81 / 2.0 * (0.5 * t1) * (0.5 * t1);
        assert!((save.state(2)[0] - after).abs() < 1e-10, "{} {}", save.state(2)[0], after);
        assert!((dense.at(1.5 * t1).unwrap()[0] - after).abs() < 1e-10);
        assert!(dense.at(3.1).is_err());
    }
}

#[test]
fn event_directions_and_terminal_events() {
    let mut circle = FnMap::new(2, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = y[1];
        dy[1] = -y[0];
    });
    let mut times = |crossing, action, span: (f64, f64)| {
        let mut it = Integrator::new(&DOP853, 2, 1, &Options::tolerances(1e-12, 1e-12)).unwrap();
        let mut ev = Events::new().when(crossing, action, |_, y: &[f64]| y[0]);
        let r = it.run(&mut circle, span, &[0.0, 1.0], &[], &mut ev).unwrap();
        (ev.happened().iter().map(|o| o.t / std::f64::consts::PI).collect::<Vec<_>>(), r.stop)
    };
    let close =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-9);
    // y0 = sin t starts at zero: that does not fire.
    let (t, _) = times(Crossing::Any, AtEvent::Record, (0.0, 10.0));
    assert!(close(&t, &[1.0, 2.0, 3.0]), "{t:?}");
    let (t, _) = times(Crossing::Rising, AtEvent::Record, (0.0, 10.0));
    assert!(close(&t, &[2.0]), "{t:?}");
    let (t, _) = times(Crossing::Falling, AtEvent::Record, (0.0, 10.0));
    assert!(close(&t, &[1.0, 3.0]), "{t:?}");
    let (t, stop) = times(Crossing::Falling, AtEvent::Stop, (0.0, 10.0));
    assert!(close(&t, &[1.0]) && stop == OdeStop::Stopped);
    // Backwards the function goes the other way.
    let (t, _) = times(Crossing::Rising, AtEvent::Record, (0.0, -10.0));
    assert!(close(&t, &[-1.0, -3.0]), "{t:?}");
}

#[test]
fn sinks_compose_and_may_stop() {
    let mut errors = vec![];
    let mut it = Integrator::new(&TSIT54, 2, 1, &Options::tolerances(1e-8, 1e-8)).unwrap();
    let mut every = EveryStep::new();
    let p = [1.5, 1.0, 3.0, 1.0];
    let watch = FnSink(|s: &mut Step<'_, f64>| {
        errors.push((s.error(), s.stiffness()));
        if s.index() == 9 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let r = it.run(&mut lotka_volterra(), (0.0, 10.0), &[1.0, 1.0], &p, &mut (&mut every, watch)).unwrap();
    assert_eq!((r.stop, r.counts.accepted), (OdeStop::Stopped, 10));
    assert_eq!(every.times().len(), 11);
    assert_eq!(errors.len(), 10);
    assert!(errors.iter().all(|&(e, s)| e > 0.0 && e <= 1.0 && s > 0.1 && s < 100.0), "{errors:?}");
}

#[test]
fn no_allocation_per_step() {
    let p = [1.5, 1.0, 3.0, 1.0];
    for tab in Tableau::all() {
        let mut it = Integrator::new(tab, 2, 1, &Options::tolerances(1e-9, 1e-9)).unwrap();
        let mut save = SaveAt::new(&[1.0, 2.0, 3.0]);
        let mut field = lotka_volterra();
        it.run(&mut field, (0.0, 10.0), &[1.0, 1.0], &p, &mut save).unwrap();
        let before = allocations();
        let r = it.run(&mut field, (0.0, 10.0), &[1.0, 1.0], &p, &mut save).unwrap();
        assert_eq!(allocations() - before, 0, "{}: {} steps", tab.name, r.counts.accepted);
        assert!(r.counts.accepted > 30);
    }
}

#[test]
fn an_ensemble_does_not_depend_on_the_number_of_threads() {
    let lorenz = common::lorenz;
    let count = 100;
    let y0: Vec<f64> = (0..count).flat_map(|i| [1.0 + 0.01 * i as f64, 0.0, 0.0]).collect();
    let p = [10.0, 28.0, 8.0 / 3.0];
    let o = Options::tolerances(1e-6, 1e-6);
    let go = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| solve_ensemble(&TSIT54, &o, lorenz, (0.0, 5.0), &y0, Params::Shared(&p), &[1.0, 5.0]))
            .unwrap()
    };
    let one = go(1);
    for threads in [2, 5] {
        let many = go(threads);
        assert_eq!(one.y1, many.y1);
        assert_eq!(one.saved, many.saved);
        assert_eq!(one.reports, many.reports);
    }
    assert_eq!(one.failed().count(), 0);
    // Each is the trajectory one gets alone.
    let s = solve(&mut lorenz(), &TSIT54, &o, (0.0, 5.0), &y0[3 * 17..3 * 18], &p, &[1.0]).unwrap();
    assert_eq!(s.y1, one.y1[3 * 17..3 * 18]);
    assert_eq!(s.state(0), &one.saved[6 * 17..6 * 17 + 3]);
    let each: Vec<f64> = p.repeat(count);
    let e = solve_ensemble(&TSIT54, &o, lorenz, (0.0, 5.0), &y0, Params::Each(&each), &[]).unwrap();
    assert_eq!(e.y1, one.y1);
}

#[test]
fn ensembles_backwards_in_time_are_their_trajectories() {
    let (count, span, times) = (50, (2.0, -1.0), [2.0, 0.7, 0.5, -1.0]);
    let y0: Vec<f64> = (0..count).flat_map(|i| [1.0 + 0.02 * i as f64, 1.0]).collect();
    let p: Vec<f64> = (0..count).flat_map(|i| [1.5, 1.0, 3.0, 1.0 + 0.01 * i as f64]).collect();
    let o = Options::tolerances(1e-7, 1e-7);
    let stiff = || Differences::of(lotka_volterra());
    let columns = || y0.chunks(2).zip(p.chunks(4));
    let check = |what: &str, e: &Ensemble<f64>, alone: &[Solution<f64>]| {
        assert_eq!((e.reports.len(), e.failed().count(), e.panics.len()), (count, 0, 0), "{what}");
        for (i, s) in alone.iter().enumerate() {
            let found = (&e.y1[2 * i..2 * i + 2], &e.saved[8 * i..8 * i + 8], &e.reports[i]);
            assert_eq!(found, (&s.y1[..], s.states(), &s.report), "{what} {i}");
            assert!(s.report.t == -1.0 && s.states()[..2] == y0[2 * i..2 * i + 2], "{what} {i}");
        }
    };
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let each = Params::Each(&p);
        for tab in Tableau::all() {
            let e =
                pool.install(|| solve_ensemble(tab, &o, lotka_volterra, span, &y0, each, &times)).unwrap();
            let alone = |(y0, p)| solve(&mut lotka_volterra(), tab, &o, span, y0, p, &times).unwrap();
            check(tab.name, &e, &columns().map(alone).collect::<Vec<_>>());
        }
        for tab in RosenbrockTableau::all() {
            let e = pool.install(|| solve_ensemble(tab, &o, stiff, span, &y0, each, &times)).unwrap();
            let alone = |(y0, p)| solve(&mut stiff(), tab, &o, span, y0, p, &times).unwrap();
            check(tab.name, &e, &columns().map(alone).collect::<Vec<_>>());
        }
    }
}

#[test]
fn the_stiffness_estimate_is_the_eigenvalue_except_for_bs32() {
    // y' = -100 (y - cos t): both stages of S at t + h, the difference of f is -100 times that of y. Those of BS32 are a quarter of a
    // step apart, and on the slow solution cos t moves as far as y does.
    for tab in Tableau::all() {
        let mut f = FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy[0] = -100.0 * (y[0] - t.cos())
        });
        let (mut least, mut most) = (f64::INFINITY, 0.0f64);
        let watch = FnSink(|s: &mut Step<'_, f64>| {
            if s.t0() > 0.2 {
                (least, most) = (least.min(s.stiffness()), most.max(s.stiffness()));
            }
            ControlFlow::Continue(())
        });
        let o = Options { max_step: 5e-3, ..Options::tolerances(1e-6, 1e-6) };
        let mut it = Integrator::new(tab, 1, 1, &o).unwrap();
        it.run(&mut f, (0.0, 2.0), &[1.0], &[], &mut (watch,)).unwrap();
        println!("{}: S from {least:.3} to {most:.3}", tab.name);
        let right = least > 99.9 && most < 100.1;
        assert!(if tab.name == "bs32" { most < 10.0 } else { right }, "{}: {least} {most}", tab.name);
    }
}
