//! Declared stop times, bounds on the state, components that stay non-negative, for every family of methods.

use costate::adjoint::{Adjoint, Bars, Memory, SdeAdjoint};
use costate::diff::{FnMap, Map};
use costate::ode::*;
use costate::sde::{Brownian, EULER_MARUYAMA, Noise, SOSRI, SRIW1, Sde, SdeIntegrator};

type Field = fn(f64, &[f64], &[f64], &mut [f64]);

/// u' = -u + p \[from < t < to\], written with strict or weak inequalities: the value at the ends must not matter.
fn pulse(from: f64, to: f64, closed: bool) -> impl Map<f64> + Clone {
    FnMap::new(1, 1, move |t: f64, u: &[f64], p: &[f64], du: &mut [f64]| {
        let inside = if closed { from <= t && t <= to } else { from < t && t < to };
        du[0] = -u[0] + if inside { p[0] } else { 0.0 };
    })
    .with_vjp(move |t, _: &[f64], _: &[f64], w: &[f64], u_bar: &mut [f64], p_bar: &mut [f64]| {
        let inside = if closed { from <= t && t <= to } else { from < t && t < to };
        u_bar[0] -= w[0];
        p_bar[0] += if inside { w[0] } else { 0.0 };
    })
}

fn exact(from: f64, to: f64, end: f64) -> (f64, f64) {
    let du_dp = (-(end - to)).exp() - (-(end - from)).exp();
    ((-end).exp() + 20.0 * du_dp, du_dp)
}

fn with_stops(stops: &[f64]) -> Options {
    Options { stops: stops.to_vec(), ..Options::tolerances(1e-8, 1e-10) }
}

#[test]
fn a_pulse_between_declared_stops() {
    assert!((exact(1.0, 1.05, 2.0).0 - 0.512566928898).abs() < 1e-12);
    for (from, to, end) in [(1.0, 1.05, 2.0), (0.1, 0.3, 5.0), (7.0 / 3.0, 7.0 / 3.0 + 1e-3, 4.0)] {
        for closed in [false, true] {
            let (want, du_dp) = exact(from, to, end);
            // In any order, twice, outside, at the ends.
            let options = with_stops(&[to, from, to, -1.0, 0.0, end, 9.0]);
            for tab in Tableau::all() {
                let saves = [from, from + 1e-16 * from, 0.5 * (from + to), to, end];
                let mut field = pulse(from, to, closed);
                let s = solve(&mut field, tab, &options, (0.0, end), &[1.0], &[20.0], &saves).unwrap();
                let name = format!("{} {from} {closed}", tab.name);
                assert!((s.y1[0] - want).abs() < 1e-6, "{name}: {} for {want}", s.y1[0]);
                assert!((s.state(0)[0] - (-from).exp()).abs() < 1e-6 && s.state(3)[0].is_finite(), "{name}");
                assert!(s.report.counts.rejected < 30, "{name}: {:?}", s.report.counts);
                for memory in [Memory::Stages, Memory::States, Memory::Checkpoints(3)] {
                    let mut adjoint = Adjoint::new(tab, 1, 1, &options, memory).unwrap();
                    adjoint.forward(&mut field, (0.0, end), &[1.0], &[20.0], &mut ()).unwrap();
                    assert_eq!(adjoint.y()[0], s.y1[0]);
                    let (mut y0_bar, mut p_bar) = ([0.0], [0.0]);
                    let bars = Bars { y1: &[1.0], ..Bars::default() };
                    adjoint.reverse(&mut field, &[20.0], &bars, &mut y0_bar, &mut p_bar).unwrap();
                    // The field is linear: the derivative of the steps is that of the solution to the tolerance.
                    assert!((y0_bar[0] - (-end).exp()).abs() < 1e-6, "{name} {memory:?}: {}", y0_bar[0]);
                    assert!((p_bar[0] - du_dp).abs() < 1e-7, "{name} {memory:?}: {} for {du_dp}", p_bar[0]);
                }
            }
            for tab in RosenbrockTableau::all() {
                let mut field = pulse(from, to, closed)
                    .with_jacobian(|_, _: &[f64], _: &[f64], j: &mut [f64]| j[0] = -1.0);
                let s = solve(&mut field, tab, &options, (0.0, end), &[1.0], &[20.0], &[]).unwrap();
                assert!((s.y1[0] - want).abs() < 1e-6, "{} {from}: {} for {want}", tab.name, s.y1[0]);
            }
            // Backwards through the same stops.
            let back =
                solve(&mut pulse(from, to, closed), &TSIT54, &options, (end, 0.0), &[want], &[20.0], &[])
                    .unwrap();
            assert!((back.y1[0] - 1.0).abs() < 1e-4, "{}", back.y1[0]);
        }
    }
}

#[test]
fn without_stops_high_orders_step_over_the_pulse() {
    let options = Options::tolerances(1e-4, 1e-4);
    let s =
        solve(&mut pulse(1.0, 1.005, false), &VERN87, &options, (0.0, 2.0), &[1.0], &[20.0], &[]).unwrap();
    assert!((s.y1[0] - exact(1.0, 1.005, 2.0).0).abs() > 0.02, "this test has lost its point");
}

#[test]
fn with_noise_steps_end_at_stops() {
    let (from, to, end) = (0.3, 0.45, 1.0);
    let noise: Field = |_, _, _, g| g[0] = 0.0;
    for (method, options, within) in [
        (&SRIW1, Options { stops: vec![to, from], ..Options::noisy().with_tolerances(1e-3, 1e-3) }, 1e-2),
        (&SRIW1, Options { stops: vec![to, from], ..Options::noisy().with_fixed_step(0.02) }, 5e-3),
        (&EULER_MARUYAMA, Options { stops: vec![to, from], ..Options::noisy().with_fixed_step(1e-4) }, 1e-3),
    ] {
        let mut sde = Sde::new(pulse(from, to, true), FnMap::new(1, 0, noise), Noise::Diagonal).unwrap();
        let s =
            solve(sde.follow(Brownian::new(1)), method, &options, (0.0, end), &[1.0], &[20.0], &[from, to])
                .unwrap();
        let want = exact(from, to, end).0;
        assert!((s.y1[0] - want).abs() < within, "{}: {} for {want}", method.name, s.y1[0]);
        assert!((s.state(0)[0] - (-from).exp()).abs() < within);
    }
}

/// dX = (1 - X) dt + sigma X dW, ten Euler steps of 1: most paths leave X > 0, and the report says so.
#[test]
fn departures_from_the_domain_are_counted_or_refused() {
    let sigma = (2e4f64 / (1e4 + 1.0)).sqrt();
    let drift: Field = |_, x, _, f| f[0] = 1.0 - x[0];
    let make = || {
        let noise = FnMap::new(1, 0, move |_: f64, x: &[f64], _: &[f64], g: &mut [f64]| g[0] = sigma * x[0]);
        Sde::new(FnMap::new(1, 0, drift), noise, Noise::Diagonal).unwrap()
    };
    let domain = vec![Bound { component: 0, lower: 0.0, upper: f64::INFINITY }];
    let options = Options { domain: domain.clone(), ..Options::noisy().with_fixed_step(1.0) };
    let mut integrator = SdeIntegrator::new(&EULER_MARUYAMA, 1, 1, &options).unwrap();
    let (mut left, paths) = (0, 4000);
    for seed in 0..paths {
        let brownian = Brownian::new(seed);
        let report = integrator.run(make().follow(brownian), (0.0, 10.0), &[1.0], &[], &mut ()).unwrap();
        assert!(report.ok());
        left += (report.counts.outside > 0) as u64;
    }
    let share = left as f64 / paths as f64;
    assert!((share - 0.9676).abs() < 4.0 * (0.9676f64 * 0.0324 / paths as f64).sqrt(), "{share}");
    // With error control a step that leaves it is refused, its path kept.
    let root =
        FnMap::new(1, 0, |_: f64, x: &[f64], _: &[f64], g: &mut [f64]| g[0] = 1.3 * x[0].max(0.0).sqrt());
    let mut cir = Sde::new(FnMap::new(1, 0, drift), root, Noise::Diagonal).unwrap();
    let options = Options { domain, ..Options::noisy().with_tolerances(3.0, 3.0) };
    let mut integrator = SdeIntegrator::new(&SOSRI, 1, 1, &options).unwrap();
    let mut refused = 0;
    for seed in 0..200 {
        let mut lowest = f64::INFINITY;
        let mut all = FnSink(|step: &mut Step<'_, f64>| {
            lowest = lowest.min(step.y1()[0]);
            std::ops::ControlFlow::Continue(())
        });
        let report =
            integrator.run(cir.follow(Brownian::new(seed)), (0.0, 10.0), &[1.0], &[], &mut all).unwrap();
        assert!(report.ok() && lowest >= 0.0, "{} {lowest}", report.message());
        refused += report.counts.outside;
    }
    assert!(refused > 0);
}

#[test]
fn a_step_that_leaves_the_domain_is_refused() {
    // x' = -sqrt(x): zero from t = 2 sqrt(x0) on; the bound keeps the square root real.
    let field: Field = |_, x, _, dx| dx[0] = -x[0].max(0.0).sqrt();
    let domain = vec![Bound { component: 0, lower: 0.0, upper: 1.0 }];
    let options = Options { domain, ..Options::tolerances(1e-6, 1e-9) };
    let mut lowest = f64::INFINITY;
    let mut look = FnSink(|s: &mut Step<'_, f64>| {
        lowest = lowest.min(s.y1()[0]);
        std::ops::ControlFlow::Continue(())
    });
    let mut integrator = Integrator::new(&TSIT54, 1, 1, &options).unwrap();
    let report = integrator.run(&mut FnMap::new(1, 0, field), (0.0, 1.9), &[1.0], &[], &mut look).unwrap();
    assert!(report.ok() && lowest >= 0.0, "{}", report.message());
    assert!((integrator.y()[0] - 0.05f64.powi(2)).abs() < 1e-6);
    // Out of it for good: the message says that it leaves its domain.
    let grow: Field = |_, x, _, dx| dx[0] = x[0];
    let report = integrator.run(&mut FnMap::new(1, 0, grow), (0.0, 1.0), &[0.5], &[], &mut ()).unwrap();
    assert!(!report.ok() && report.message().contains("domain"), "{}", report.message());
    assert!((report.t - 2f64.ln()).abs() < 1e-3);
    let wrong =
        Options { domain: vec![Bound { component: 3, lower: 0.0, upper: 1.0 }], ..Options::default() };
    assert!(Integrator::<f64>::new(&TSIT54, 1, 1, &wrong).unwrap_err().to_string().contains("component 3"));
}

/// Fast decay at loose tolerances: without the option the state becomes negative, with it it does not.
#[test]
fn concentrations_stay_non_negative() {
    let decay: Field = |_, y, _, dy| {
        (dy[0], dy[1]) = (-50.0 * y[0], 50.0 * y[0] - 0.1 * y[1]);
    };
    let mut seen = 0;
    for tab in Tableau::all() {
        for tol in [1e-2, 1e-3, 1e-4] {
            let lowest = |non_negative: Vec<usize>| {
                let options = Options { non_negative, ..Options::tolerances(tol, tol) };
                let mut low = 0.0f64;
                let mut look = FnSink(|s: &mut Step<'_, f64>| {
                    low = s.y1().iter().fold(low, |a, b| a.min(*b));
                    std::ops::ControlFlow::Continue(())
                });
                let mut integrator = Integrator::new(tab, 2, 1, &options).unwrap();
                let mut field = FnMap::new(2, 0, decay);
                let report = integrator.run(&mut field, (0.0, 10.0), &[1.0, 0.0], &[], &mut look).unwrap();
                (low, report.ok(), integrator.y()[1])
            };
            seen += (lowest(vec![]).0 < 0.0) as usize;
            let (low, ok, y) = lowest(vec![0, 1]);
            let want = 50.0 / 49.9 * (-1.0f64).exp();
            assert!(ok && low == 0.0 && (y - want).abs() < 20.0 * tol, "{} {tol}: {low} {ok} {y}", tab.name);
        }
    }
    assert!(seen > 10, "{seen} runs became negative without the option");
}

/// Fixed steps at which fast decay overshoots: what is below zero is cut off, and the gradient is that of the program with its cuts, by every memory.
#[test]
fn gradients_with_components_cut_off_at_zero() {
    // y0' = -p0 (y0 - p1 sin(3 t)^2), y1' = p0 y0 / 10 - y1, y2' = y0 - p1 y2.
    let field = || {
        FnMap::new(3, 2, |t: f64, y: &[f64], p: &[f64], dy: &mut [f64]| {
            let s = (3.0 * t).sin();
            dy[0] = -p[0] * (y[0] - p[1] * s * s);
            dy[1] = 0.1 * p[0] * y[0] - y[1];
            dy[2] = y[0] - p[1] * y[2];
        })
        .with_vjp(|t: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            let s = (3.0 * t).sin();
            yb[0] += -p[0] * w[0] + 0.1 * p[0] * w[1] + w[2];
            yb[1] -= w[1];
            yb[2] -= p[1] * w[2];
            pb[0] += -(y[0] - p[1] * s * s) * w[0] + 0.1 * y[0] * w[1];
            pb[1] += p[0] * s * s * w[0] - y[2] * w[2];
        })
    };
    let (times, end) = ([0.3, 0.5, 0.7, 1.3], [0.4, -1.0, 0.7]);
    let weights: Vec<f64> = (0..12).map(|i| (1.3 * i as f64).cos()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for (tab, h) in [(&BS32, 0.1)] {
        let options = Options { non_negative: vec![0, 1], atol: 10.0.into(), ..Options::fixed(h) };
        let mut cuts = 0;
        let mut loss = |x: &[f64]| {
            let (mut save, mut it) = (SaveAt::new(&times), Integrator::new(tab, 3, 1, &options).unwrap());
            let mut look = FnSink(|s: &mut Step<'_, f64>| {
                cuts += (s.y1()[0] == 0.0) as u32;
                std::ops::ControlFlow::Continue(())
            });
            it.run(&mut field(), (0.0, 2.0), &x[..3], &x[3..], &mut (&mut save, &mut look)).unwrap();
            dot(save.states(), &weights) + dot(it.y(), &end)
        };
        let x = [1.0, 0.2, 0.5, 30.0, 0.8];
        let want: Vec<f64> = (0..5)
            .map(|i| {
                let mut at = |d: f64| {
                    let mut x = x;
                    x[i] += d;
                    loss(&x)
                };
                (8.0 * (at(1e-4) - at(-1e-4)) - (at(2e-4) - at(-2e-4))) / 12e-4
            })
            .collect();
        assert!(cuts >= 20, "{}: this test has lost its point, {cuts} cuts in 20 runs", tab.name);
        let mut bits: Option<Vec<u64>> = None;
        for memory in [Memory::States, Memory::Stages, Memory::Every(3), Memory::Checkpoints(2)] {
            let mut solver = Adjoint::new(tab, 3, 1, &options, memory).unwrap();
            solver.forward(&mut field(), (0.0, 2.0), &x[..3], &x[3..], &mut ()).unwrap();
            let mut g = [0.0; 5];
            let (y_bar, p_bar) = g.split_at_mut(3);
            let bars = Bars { y1: &end, times: &times, saved: &weights, ..Bars::default() };
            solver.reverse(&mut field(), &x[3..], &bars, y_bar, p_bar).unwrap();
            for (g, want) in g.iter().zip(&want) {
                assert!((g - want).abs() < 1e-6 * (1.0 + want.abs()), "{} {memory:?}: {g} {want}", tab.name);
            }
            let these: Vec<u64> = g.iter().map(|v| v.to_bits()).collect();
            assert_eq!(*bits.get_or_insert_with(|| these.clone()), these, "{} {memory:?}", tab.name);
        }
        let mut solver = Adjoint::new(tab, 3, 1, &options, Memory::States).unwrap();
        solver.forward(&mut field(), (0.0, 2.0), &x[..3], &x[3..], &mut ()).unwrap();
        let text = solver.replay(&mut field(), &x[3..], &x[..3], &[]).map(|_| ()).unwrap_err().to_string();
        assert!(text.contains("cut off"), "{text}");
    }
}

#[test]
fn a_reverse_sweep_with_other_parameters_is_refused() {
    let mut field = pulse(0.2, 0.4, true);
    let (mut y0_bar, mut p_bar) = ([0.0], [0.0]);
    let bars = Bars { y1: &[1.0], ..Bars::default() };
    let mut adjoint = Adjoint::new(&TSIT54, 1, 1, &Options::default(), Memory::States).unwrap();
    adjoint.forward(&mut field, (0.0, 1.0), &[1.0], &[20.0], &mut ()).unwrap();
    for p in [20.000000000000004, -20.0, 0.0] {
        let text = adjoint.reverse(&mut field, &[p], &bars, &mut y0_bar, &mut p_bar).unwrap_err().to_string();
        assert!(text.contains("not those of the forward pass"), "{text}");
    }
    adjoint.reverse(&mut field, &[20.0], &bars, &mut y0_bar, &mut p_bar).unwrap();
    let noise = FnMap::new(1, 0, |_: f64, _: &[f64], _: &[f64], g: &mut [f64]| g[0] = 0.1)
        .with_vjp(|_, _: &[f64], _: &[f64], _: &[f64], _: &mut [f64], _: &mut [f64]| {});
    let mut sde = Sde::new(field, noise, Noise::Diagonal).unwrap();
    let options = Options::noisy().with_tolerances(1e-2, 1e-2);
    let mut adjoint = SdeAdjoint::new(&SOSRI, 1, 1, &options, Memory::States).unwrap();
    adjoint.forward(sde.follow(Brownian::new(3)), (0.0, 1.0), &[1.0], &[20.0], &mut ()).unwrap();
    let text = adjoint.reverse(&mut sde, &[21.0], &bars, &mut y0_bar, &mut p_bar).unwrap_err().to_string();
    assert!(text.contains("not those of the forward pass"), "{text}");
}
