//! Forward sensitivities against closed forms, against the adjoint as its transpose, and through events.

#[path = "common/adjoint.rs"]
mod adjoint;

use adjoint::{central, dot, noise};
use costate::adjoint::*;
use costate::diff::{FnMap, Map, Variational};
use costate::expr::{RecordedMap, record};
use costate::ode::*;

/// y0' = -a y0, y1' = a y0 - b y1.
fn chain() -> RecordedMap {
    record(2, 2, |_, y, p, dy| {
        dy[0] = -p[0] * y[0];
        dy[1] = p[0] * y[0] - p[1] * y[1];
    })
    .unwrap()
    .into_map()
}

fn chain_at(t: f64, y: [f64; 2], p: [f64; 2]) -> [f64; 2] {
    let ([a, b], [x, z]) = (p, y);
    let (ea, eb) = ((-a * t).exp(), (-b * t).exp());
    [x * ea, z * eb + x * a / (b - a) * (ea - eb)]
}

fn check_chain<D>(name: &str, method: D, p: [f64; 2], tolerance: f64)
where
    D: Method<f64>,
    D::Integrator: Transpose<f64>,
    for<'f> D::Integrator: Integrate<f64, &'f mut RecordedMap>,
    for<'f> <D::Integrator as Transpose<f64>>::Back: Reverse<f64, Variational<&'f mut RecordedMap, f64>>,
{
    let (y0, times) = ([1.3, 0.4], [0.0, 0.25, 1.0, 2.0]);
    let problem = SensitivityProblem::new((0.0, 2.0), &y0, &p, &times);
    let options = Options::tolerances(1e-10, 1e-10);
    let s = sensitivities(&mut chain(), method, &options, &problem).unwrap();
    assert!(s.report.ok());
    for (i, &t) in times.iter().enumerate() {
        for c in 0..2 {
            let near = |a: f64, b: f64, what: &str| {
                assert!((a - b).abs() < tolerance, "{name} {what} at {t}: {a} {b}");
            };
            near(s.state(i)[c], chain_at(t, y0, p)[c], "state");
            for j in 0..2 {
                let moved = |x: [f64; 2], d: f64| if j == 0 { [x[0] + d, x[1]] } else { [x[0], x[1] + d] };
                let by_y = central(1e-3, |d| chain_at(t, moved(y0, d), p)[c]);
                let by_p = central(1e-3, |d| chain_at(t, y0, moved(p, d * p[j]))[c]) / p[j];
                near(s.by_start(i)[2 * j + c], by_y, "by start");
                near(s.by_parameters(i)[2 * j + c], by_p, "by parameters");
            }
        }
    }
}

#[test]
fn closed_forms_of_a_linear_system() {
    check_chain("tsit54", &TSIT54, [0.7, 1.9], 1e-8);
    check_chain("vern87", &VERN87, [0.7, 1.9], 1e-8);
    check_chain("rodas5p", &RODAS5P, [0.7, 900.0], 1e-7);
    check_chain("rodas4", &RODAS4, [0.7, 900.0], 1e-7);
    check_chain("auto", (&TSIT54, &RODAS5P), [0.7, 900.0], 1e-7);
}

/// Batches share parameters; each column has its own start.
#[test]
fn a_batch_is_its_columns() {
    let (y0, p) = ([1.3, 0.4, -0.2, 0.9], [0.7, 1.9]);
    let options = Options { fixed_step: Some(0.1), ..Options::default() };
    let run = |y0: &[f64], wrt: Wrt| {
        let problem = SensitivityProblem::new((0.0, 1.0), y0, &p, &[0.55, 1.0]).with_respect_to(wrt);
        sensitivities(&mut chain(), &TSIT54, &options, &problem).unwrap()
    };
    let both = run(&y0, Wrt::Both);
    for c in 0..2 {
        let (one, by_p, by_y) = (
            run(&y0[2 * c..][..2], Wrt::Both),
            run(&y0[2 * c..][..2], Wrt::Parameters),
            run(&y0[2 * c..][..2], Wrt::Start),
        );
        for i in 0..2 {
            assert_eq!(one.state(i), &both.state(i)[2 * c..][..2]);
            for j in 0..2 {
                assert_eq!(one.by_start(i)[2 * j..][..2], both.by_start(i)[4 * j + 2 * c..][..2]);
                assert_eq!(one.by_parameters(i)[2 * j..][..2], both.by_parameters(i)[4 * j + 2 * c..][..2]);
            }
            assert_eq!((by_p.by_parameters(i), by_p.by_start(i).len()), (one.by_parameters(i), 0));
            assert_eq!((by_y.by_start(i), by_y.by_parameters(i).len()), (one.by_start(i), 0));
        }
    }
}

/// What has no tangent of its vjp, and no vjp: J and its derivative along a direction by differences.
#[test]
fn a_field_with_a_jacobian_vector_product_alone() {
    let field = || {
        FnMap::new(2, 1, |t: f64, y: &[f64], p: &[f64], dy: &mut [f64]| {
            dy[0] = y[1] + t.sin() * y[0];
            dy[1] = p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0];
        })
        .with_jvp(|at, (dt, dx, dp): (f64, &[f64], &[f64]), out: &mut [f64]| {
            let (y, p) = (at.x, at.p);
            out[0] = dx[1] + at.t.sin() * dx[0] + at.t.cos() * y[0] * dt;
            let damping = (1.0 - y[0] * y[0]) * dx[1] - 2.0 * y[0] * y[1] * dx[0];
            out[1] = p[0] * damping - dx[0] + dp[0] * (1.0 - y[0] * y[0]) * y[1];
        })
    };
    let recorded = record(2, 1, |t, y, p, dy| {
        dy[0] = y[1] + t.sin() * y[0];
        dy[1] = p[0] * (1.0 - y[0] * y[0]) * y[1] - y[0];
    });
    let mut recorded = recorded.unwrap().into_map();
    let (y0, p, times) = ([2.0, 0.1], [30.0], [0.5, 1.0]);
    let problem = SensitivityProblem::new((0.0, 1.0), &y0, &p, &times);
    let options = Options { fixed_step: Some(0.05), ..Options::default() };
    let by_hand = sensitivities(&mut field(), &RODAS4, &options, &problem).unwrap();
    let exact = sensitivities(&mut recorded, &RODAS4, &options, &problem).unwrap();
    for i in 0..2 {
        let (a, b) =
            ([by_hand.by_start(i), by_hand.by_parameters(i)], [exact.by_start(i), exact.by_parameters(i)]);
        for (a, b) in a.concat().iter().zip(b.concat()) {
            assert!((a - b).abs() < 1e-9 * b.abs().max(1e-3), "{a} {b}");
        }
    }
    let options = Options::tolerances(1e-9, 1e-9);
    let explicit = sensitivities(&mut field(), &TSIT54, &options, &problem).unwrap();
    let exact = sensitivities(&mut recorded, &RODAS5P, &options, &problem).unwrap();
    for (a, b) in explicit.by_start(1).iter().zip(exact.by_start(1)) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

/// A ball that bounces twice, and the time at which it comes to a wall: the transpose of the sweep, and the closed form.
fn ball() -> RecordedMap {
    record(4, 1, |_, y, p, dy| {
        dy[0] = y[1];
        dy[1] = -p[0];
        dy[2] = y[3];
        dy[3] = -0.1 * y[3] * y[3];
    })
    .unwrap()
    .into_map()
}

fn bounce() -> impl Map<f64> {
    record(4, 1, |_, y, p, to| {
        to[0] = y[0];
        to[1] = -0.75 * y[1] + 0.01 * p[0];
        to[2] = y[2];
        to[3] = 0.9 * y[3] + 0.1 * y[1] * y[1];
    })
    .unwrap()
    .into_map()
}

#[test]
fn events_forwards_are_the_transpose_of_events_backwards() {
    let (y0, p, times) = ([2.0, 0.0, 0.0, 3.0], [9.81], [0.3, 0.7, 1.0, 1.4]);
    for stop in [false, true] {
        let mut jumps = Jumps::new().when(Crossing::Falling, outputs_one(0, 0.0), bounce());
        if stop {
            jumps = jumps.stop(Crossing::Rising, outputs_one(2, 3.9));
        }
        for method in [&TSIT54, &VERN76] {
            let options = Options::tolerances(1e-8, 1e-8);
            let mut solver = Adjoint::new(method, 4, 1, &options, Memory::States).unwrap();
            let report = solver.forward_jumps(&mut ball(), (0.0, 1.5), &y0, &p, &jumps, &mut ()).unwrap();
            let within = times.iter().filter(|t| **t <= report.t).count();
            assert_eq!(stop, report.t < 1.5);
            let direction = noise(5, 3);
            let mut tangent = solver.tangent(ball(), 1).unwrap();
            let times = &times[..within];
            let t =
                tangent.forward_jumps(&solver, &p, &direction[..4], &direction[4..], times, &jumps).unwrap();
            assert_eq!(t.y1, solver.y());
            let (saved, y1, t_bar) = (noise(4 * within, 1), noise(4, 2), if stop { 0.7 } else { 0.0 });
            let bars = Bars { y1: &y1, times, saved: &saved, ..Bars::default() };
            let (mut yb, mut pb) = (vec![0.0; 4], vec![0.0]);
            solver.reverse_jumps(&mut ball(), &p, &bars, &jumps, t_bar, &mut yb, &mut pb).unwrap();
            let left = dot(&y1, &t.y1_dot) + dot(&saved, &t.saved_dot) + t_bar * t.t1_dot[0];
            let right = dot(&yb, &direction[..4]) + pb[0] * direction[4];
            assert!((left - right).abs() < 1e-11 * right.abs().max(1.0), "{}: {left} {right}", method.name);
            assert_eq!(stop, t.t1_dot[0] != 0.0);
        }
    }
}

fn outputs_one(i: usize, minus: f64) -> impl Map<f64> {
    FnMap::with_outputs(4, 1, 0, move |_, y: &[f64], _: &[f64], g: &mut [f64]| g[0] = y[i] - minus)
        .with_vjp(move |_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], _: &mut [f64]| yb[i] += w[0])
        .autonomous()
}

/// E3: x' = -a, y' = b from (1, 0), and b becomes 0 at x = 0: y(1) = b / a, dy/da = -b / a^2, dy/db = 1 / a.
#[test]
fn an_event_that_changes_a_parameter() {
    let mut field = record(3, 2, |_, y, p, dy| {
        dy[0] = -p[0];
        dy[1] = y[2];
        dy[2] = 0.0 * p[1];
    })
    .unwrap()
    .into_map();
    let zero = record(3, 0, |_, y, _, to| {
        to[0] = y[0];
        to[1] = y[1];
        to[2] = 0.0 * y[2];
    });
    let x = FnMap::with_outputs(3, 1, 0, |_, y: &[f64], _: &[f64], g: &mut [f64]| g[0] = y[0])
        .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], _: &mut [f64]| yb[0] += w[0])
        .autonomous();
    let jumps = Jumps::new().when(Crossing::Falling, x, zero.unwrap().into_map());
    let (y0, p) = ([1.0, 0.0, 1.0], [2.0, 0.0]);
    let problem = SensitivityProblem::new((0.0, 1.0), &y0, &p, &[0.25, 1.0]).jumps(&jumps);
    let s = sensitivities(&mut field, &TSIT54, &Options::tolerances(1e-10, 1e-10), &problem).unwrap();
    assert!((s.state(1)[1] - 0.5).abs() < 1e-9);
    assert!((s.by_parameters(1)[1] + 0.25).abs() < 1e-9, "{:?}", s.by_parameters(1));
    assert!((s.by_start(1)[7] - 0.5).abs() < 1e-9, "{:?}", s.by_start(1));
    assert!(s.by_parameters(0)[1].abs() < 1e-12 && (s.by_start(0)[7] - 0.25).abs() < 1e-9);
}

#[test]
fn what_was_not_reached_is_nan_and_errors_are_sentences() {
    let (y0, p) = ([1.3, 0.4], [0.7, 1.9]);
    let options = Options { max_steps: 3, fixed_step: Some(0.1), ..Options::default() };
    let problem = SensitivityProblem::new((0.0, 1.0), &y0, &p, &[0.25, 0.9]);
    let s = sensitivities(&mut chain(), &TSIT54, &options, &problem).unwrap();
    assert!(!s.report.ok() && s.state(0)[0].is_finite() && s.by_start(0)[0].is_finite());
    assert!(s.state(1)[0].is_nan() && s.by_start(1)[0].is_nan());
    let plain = || FnMap::new(2, 2, |_, _: &[f64], _: &[f64], dy: &mut [f64]| dy.fill(0.0));
    let error = sensitivities(&mut plain(), &TSIT54, &options, &problem).unwrap_err().to_string();
    assert!(error.contains("with_jvp"), "{error}");
    let outside = SensitivityProblem::new((0.0, 1.0), &y0, &p, &[1.25]);
    assert!(sensitivities(&mut chain(), &TSIT54, &Options::default(), &outside).is_err());
    let none = SensitivityProblem::new((0.0, 1.0), &[], &p, &[]);
    assert!(sensitivities(&mut chain(), &TSIT54, &Options::default(), &none).is_err());
}
