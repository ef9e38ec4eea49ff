//! Stochastic integrations: exact solutions on the same path, moments, save points, threads, limits, bad input.

#[path = "common/alloc.rs"]
mod alloc;
mod common;

use std::ops::ControlFlow;

use alloc::{allocations, peak_bytes};
use costate::diff::{FnMap, Map};
use costate::ode::*;
use costate::sde::*;

/// dy = mu y dt + sigma y dW, p = (mu, sigma).
fn gbm() -> Sde<impl Map<f64>, impl Map<f64>> {
    Sde::new(
        FnMap::new(1, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]),
        FnMap::new(1, 1, |_, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]),
        Noise::Diagonal,
    )
    .unwrap()
}

/// dy = -theta (y - m) dt + s dW, p = (theta, m, s) for both.
fn ornstein_uhlenbeck() -> Sde<impl Map<f64>, impl Map<f64>> {
    Sde::shared(
        FnMap::new(1, 3, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = -p[0] * (y[0] - p[1])),
        FnMap::new(1, 3, |_, _: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[2]),
        Noise::Diagonal,
    )
    .unwrap()
    .additive()
}

const MU: f64 = 0.6;
const SIGMA: f64 = 0.5;

/// Mean and variance of a normal sample within 5 standard errors: each fails by chance with probability 6e-7.
fn check_normal(what: &str, sample: &[f64], mean: f64, variance: f64) {
    let n = sample.len() as f64;
    let m = sample.iter().sum::<f64>() / n;
    let v = sample.iter().map(|x| (x - m).powi(2)).sum::<f64>() / (n - 1.0);
    let (zm, zv) = ((m - mean) / (variance / n).sqrt(), (v / variance - 1.0) / (2.0 / n).sqrt());
    println!("{what}: mean {m:.5} ({zm:.2} standard errors), variance {v:.5} ({zv:.2})");
    assert!(zm.abs() < 5.0 && zv.abs() < 5.0, "{what}: {zm} {zv}");
}

#[test]
fn moments_of_geometric_brownian_motion() {
    // ln y(t) ~ N((mu - sigma^2/2) t, sigma^2 t). A step per path, so that the choice of steps depends on the path. Pathwise errors at this tolerance
    // are under 1e-3 (see below), a standard error is 5e-3.
    for (method, tol) in [(&SRIW1, 2e-3), (&SOSRI, 2e-2), (&SOSRI2, 2e-2)] {
        let e = solve_ensemble(
            method,
            &Options::noisy().with_tolerances(tol, tol),
            || gbm().along(Brownian::new(1)),
            (0.0, 1.0),
            &[1.0; 10_000],
            Params::Shared(&[MU, SIGMA]),
            &[0.37, 1.0],
        )
        .unwrap();
        assert_eq!(e.failed().count(), 0);
        for (i, t) in [0.37, 1.0].into_iter().enumerate() {
            let logs: Vec<f64> = e.saved.iter().skip(i).step_by(2).map(|y| y.ln()).collect();
            check_normal(
                &format!("{} t = {t}", method.name),
                &logs,
                (MU - 0.5 * SIGMA * SIGMA) * t,
                SIGMA * SIGMA * t,
            );
        }
    }
}

#[test]
fn moments_of_ornstein_uhlenbeck() {
    // y(t) ~ N(m + (y0 - m) exp(-theta t), s^2 (1 - exp(-2 theta t))/(2 theta)).
    let (theta, m, s, y0) = (2.0, 0.5, 0.8, -1.0);
    for method in [&SRA1, &SOSRA, &SOSRA2, &SOSRI] {
        let mut sde = ornstein_uhlenbeck();
        let path = Brownian::new(2);
        let o = Options::noisy().with_tolerances(1e-2, 1e-2);
        let sol =
            solve(sde.follow(path), method, &o, (0.0, 2.0), &[y0; 20_000], &[theta, m, s], &[0.1, 1.0, 2.0])
                .unwrap();
        assert!(sol.report.ok());
        for (i, t) in [0.1f64, 1.0, 2.0].into_iter().enumerate() {
            let mean = m + (y0 - m) * (-theta * t).exp();
            let variance = s * s * (1.0 - (-2.0 * theta * t).exp()) / (2.0 * theta);
            check_normal(&format!("{} t = {t}", method.name), sol.state(i), mean, variance);
        }
    }
}

/// The largest error of y against the exact solution on the same path, over the save points and 50 paths.
fn pathwise_error(method: &'static SdeMethod, tol: f64, times: &[f64]) -> (f64, OdeReport) {
    let path = Brownian::new(12);
    // Far too long for most tolerances: rejected.
    let o = Options { first_step: Some(0.9), ..Options::noisy().with_tolerances(tol, tol) };
    let s = solve(gbm().follow(path), method, &o, (0.0, 1.0), &[1.0; 50], &[MU, SIGMA], times).unwrap();
    let mut motion = BrownianPath::new(&path, (0.0, 1.0), 1, 50).unwrap();
    let (mut w, mut worst) = (vec![0.0; 50], 0.0f64);
    for (i, &t) in times.iter().enumerate() {
        motion.advance(t).unwrap().0.iter().zip(&mut w).for_each(|(d, w)| *w += d);
        for (y, w) in s.state(i).iter().zip(&w) {
            worst = worst.max((y - ((MU - 0.5 * SIGMA * SIGMA) * t + SIGMA * w).exp()).abs());
        }
    }
    (worst, s.report)
}

#[test]
fn the_same_path_whatever_the_steps_and_save_points() {
    let times = [0.0, 0.3, 0.31, 0.7, 1.0];
    for method in [&SRIW1, &SOSRI, &SOSRI2] {
        let (mut last, mut rejected) = (f64::INFINITY, 0);
        for tol in [1e-1, 1e-2, 1e-3] {
            let (e, r) = pathwise_error(method, tol, &times);
            println!(
                "{} {tol:e}: error {e:.2e}, {} steps, {} rejections",
                method.name, r.counts.accepted, r.counts.rejected
            );
            assert!(r.ok() && e < 3.0 * tol && e < last, "{} {tol}: {e}", method.name);
            last = e;
            rejected += r.counts.rejected;
        }
        assert!(rejected > 0, "{}", method.name);
    }
    // Other save points: the end is the same up to the error.
    let end = |times: &[f64]| {
        let o = Options::noisy().with_tolerances(1e-3, 1e-3);
        solve(gbm().follow(Brownian::new(12)), &SOSRI, &o, (0.0, 1.0), &[1.0; 50], &[MU, SIGMA], times)
            .unwrap()
            .y1
    };
    let (a, b) = (end(&[]), end(&[0.123, 0.456, 0.789]));
    assert!(a.iter().zip(&b).all(|(a, b)| a != b && (a - b).abs() < 1e-4));
}

#[test]
fn save_points_and_every_step() {
    let times = [0.0, 0.0, 0.25, 0.3, 0.3, 1.0];
    let mut save = SaveAt::new(&times);
    let mut every = EveryStep::new();
    let mut errors = vec![];
    let mut it = SdeIntegrator::new(&SOSRI2, 1, 3, &Options::noisy()).unwrap();
    let mut watch = FnSink(|s: &mut Step<'_, f64>| {
        errors.push((s.error(), s.stiffness(), s.h()));
        assert_eq!(s.increments().len(), 3);
        ControlFlow::Continue(())
    });
    let r = it
        .run(
            gbm().follow(Brownian::new(1)),
            (0.0, 1.0),
            &[1.0, 2.0, 3.0],
            &[MU, SIGMA],
            &mut (&mut save, &mut every, &mut watch),
        )
        .unwrap();
    assert_eq!(save.len(), 6);
    assert_eq!(save.state(0), &[1.0, 2.0, 3.0]);
    assert_eq!(save.state(3), save.state(4));
    assert_eq!(save.state(5), it.y());
    for (i, t) in times.iter().enumerate() {
        let j = every.times().iter().position(|s| s == t).expect("a step ends at every save point");
        assert_eq!(save.state(i), every.state(j));
    }
    assert_eq!(errors.len() as u64, r.counts.accepted);
    // The drift is mu y: S is |mu|.
    assert!(errors.iter().all(|(e, s, h)| *e <= 1.0 && *e > 0.0 && (s - MU).abs() < 1e-6 && *h > 0.0));
    assert!(r.stiffness.unwrap() > 0.0 && r.stiffness.unwrap() < 1.0);
    // A sink ends the integration.
    let mut count = 0;
    let mut stop = FnSink(|_: &mut Step<'_, f64>| {
        count += 1;
        if count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let r = it.run(gbm().follow(Brownian::new(1)), (0.0, 1.0), &[1.0; 3], &[MU, SIGMA], &mut stop).unwrap();
    assert_eq!((r.stop, r.counts.accepted), (OdeStop::Stopped, 3));
    assert!(r.message().contains("stopped"));
}

#[test]
fn fixed_steps_and_save_points_off_the_grid() {
    let mut every = EveryStep::new();
    let mut save = SaveAt::new(&[0.1, 0.25, 1.0]);
    let mut it = SdeIntegrator::new(&EULER_MARUYAMA, 1, 1, &Options::noisy().with_fixed_step(0.1)).unwrap();
    let r = it
        .run(gbm().follow(Brownian::new(1)), (0.0, 1.0), &[1.0], &[MU, SIGMA], &mut (&mut every, &mut save))
        .unwrap();
    // Ten steps of the grid, and one more to stop at 0.25.
    assert_eq!(r.counts.accepted, 11);
    let want = [0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];
    assert!(every.times().iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-15));
    assert_eq!((save.len(), *every.times().last().unwrap()), (3, 1.0));
    // A span that is no multiple of the step.
    let mut every = EveryStep::new();
    it.run(gbm().follow(Brownian::new(1)), (0.0, 0.25), &[1.0], &[MU, SIGMA], &mut every).unwrap();
    assert_eq!(every.times(), &[0.0, 0.1, 0.2, 0.25]);
}

#[test]
fn a_batch_is_its_columns() {
    let o = Options::noisy().with_fixed_step(0.01);
    for method in SdeMethod::all() {
        let additive = method.suits == Suits::Additive;
        let solve = |y0: &[f64], first: u32| {
            let path = Brownian::new(5).trajectories_from(first);
            if additive {
                solve(ornstein_uhlenbeck().follow(path), method, &o, (0.0, 1.0), y0, &[1.0, 0.5, 0.3], &[])
                    .unwrap()
                    .y1
            } else {
                solve(gbm().follow(path), method, &o, (0.0, 1.0), y0, &[MU, SIGMA], &[]).unwrap().y1
            }
        };
        let y0: Vec<f64> = (0..200).map(|i| 1.0 + 0.01 * i as f64).collect();
        let all = solve(&y0, 0);
        for i in [0, 17, 199] {
            let one = solve(&y0[i..=i], i as u32)[0];
            assert!((one - all[i]).abs() < 1e-12, "{} {i}", method.name);
        }
    }
}

#[test]
fn ensembles_do_not_depend_on_the_number_of_threads() {
    let y0: Vec<f64> = (0..100).map(|i| 0.5 + 0.01 * i as f64).collect();
    let p: Vec<f64> = (0..200).map(|i| if i % 2 == 0 { MU } else { 0.2 + 0.003 * i as f64 }).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let o = Options::noisy().with_tolerances(1e-3, 1e-3);
        pool.install(|| {
            solve_ensemble(
                &SOSRI,
                &o,
                || gbm().along(Brownian::new(1)),
                (0.0, 1.0),
                &y0,
                Params::Each(&p),
                &[0.2, 1.0],
            )
            .unwrap()
        })
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        let many = run(threads);
        assert_eq!((&one.y1, &one.saved), (&many.y1, &many.saved));
        assert_eq!(one.reports, many.reports);
    }
    // And trajectory i is the one solved alone.
    let o = Options::noisy().with_tolerances(1e-3, 1e-3);
    let path = Brownian::new(1).trajectories_from(42);
    let alone =
        solve(gbm().follow(path), &SOSRI, &o, (0.0, 1.0), &y0[42..43], &p[84..86], &[0.2, 1.0]).unwrap();
    assert_eq!(alone.y1[0], one.y1[42]);
    assert_eq!(alone.states(), &one.saved[84..86]);
}

#[test]
fn no_allocation_per_step() {
    for method in SdeMethod::all() {
        let additive = method.suits == Suits::Additive;
        let (mut a, mut b) = (gbm(), ornstein_uhlenbeck());
        let count = |steps: f64, a: &mut _, b: &mut _| {
            let o = if method.is_adaptive() {
                Options { max_step: 1.0 / steps, ..Options::noisy().with_tolerances(0.1, 0.1) }
            } else {
                Options::noisy().with_fixed_step(1.0 / steps)
            };
            let mut it = SdeIntegrator::new(method, 1, 50, &o).unwrap();
            let path = Brownian::new(1).with_cells(1);
            let y0 = [1.0; 50];
            let mut run = |it: &mut SdeIntegrator<f64>| {
                if additive {
                    it.run(Sde::follow(b, path), (0.0, 1.0), &y0, &[1.0, 0.5, 0.3], &mut ()).unwrap()
                } else {
                    it.run(Sde::follow(a, path), (0.0, 1.0), &y0, &[MU, SIGMA], &mut ()).unwrap()
                }
            };
            let before = allocations();
            let r = run(&mut it);
            let first = allocations() - before;
            run(&mut it);
            assert!(r.counts.accepted as f64 >= steps);
            (first, allocations() - before - first)
        };
        // The first run grows the path's tree: at most a few nodes a level, however many steps.
        let ((few, again), (many, again2)) = (count(100.0, &mut a, &mut b), count(10_000.0, &mut a, &mut b));
        println!("{}: {few} allocations in 100 steps, {many} in 10 000", method.name);
        assert!(few < 120 && many < 120, "{}", method.name);
        assert_eq!((again, again2), (0, 0), "{}", method.name);
    }
}

#[test]
fn values_that_are_not_finite_are_rejections() {
    // sqrt(1 - y) is NaN beyond 1: steps that look there are rejected and shortened.
    let make = || {
        Sde::new(
            FnMap::new(1, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = (1.0 - y[0]).sqrt()),
            FnMap::new(1, 0, |_, y: &[f64], _: &[f64], g: &mut [f64]| g[0] = 0.1 * (1.0 - y[0])),
            Noise::Diagonal,
        )
        .unwrap()
    };
    let o = Options { first_step: Some(1.9), ..Options::noisy().with_tolerances(0.5, 0.5) };
    let r = solve(make().follow(Brownian::new(1)), &SOSRI, &o, (0.0, 2.0), &[0.9], &[], &[]).unwrap().report;
    assert!(r.counts.not_finite > 0, "{}", r.message());
    // At the start.
    let r = solve(
        make().follow(Brownian::new(1)),
        &SOSRI,
        &Options::noisy(),
        (0.0, 2.0),
        &[1.5],
        &[],
        &[0.0, 1.0],
    )
    .unwrap();
    assert_eq!(r.report.stop, OdeStop::StartNotFinite);
    assert!(
        r.report.message().contains("not finite at the start")
            && r.state(1)[0].is_nan()
            && r.state(0)[0] == 1.5
    );
    let fixed = Options::noisy().with_fixed_step(0.1);
    let r = solve(make().follow(Brownian::new(1)), &EULER_MARUYAMA, &fixed, (0.0, 2.0), &[1.5], &[], &[])
        .unwrap()
        .report;
    assert_eq!(r.stop, OdeStop::StartNotFinite);
    // Blow-up in finite time: the step falls until the path's ticks end.
    let mut explosive = Sde::new(
        FnMap::new(1, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = y[0] * y[0]),
        FnMap::new(1, 0, |_, _: &[f64], _: &[f64], g: &mut [f64]| g[0] = 0.0),
        Noise::Diagonal,
    )
    .unwrap();
    let r =
        solve(explosive.follow(Brownian::new(1)), &SOSRI, &Options::noisy(), (0.0, 2.0), &[1.0], &[], &[])
            .unwrap()
            .report;
    assert_eq!(r.stop, OdeStop::StepUnderflow, "{}", r.message());
    assert!((r.t - 1.0).abs() < 0.05 && !r.ok());
    // With a fixed step it overflows.
    let r = solve(explosive.follow(Brownian::new(1)), &EULER_MARUYAMA, &fixed, (0.0, 20.0), &[1.0], &[], &[])
        .unwrap()
        .report;
    assert!(!r.ok() && r.message().contains("not finite"), "{}", r.message());
    let o = Options { max_steps: 5, ..Options::noisy().with_tolerances(1e-4, 1e-4) };
    let r = solve(gbm().follow(Brownian::new(1)), &SOSRI, &o, (0.0, 1.0), &[1.0], &[MU, SIGMA], &[])
        .unwrap()
        .report;
    assert_eq!((r.stop, r.counts.accepted + r.counts.rejected), (OdeStop::MaxSteps, 5));
    assert!(r.message().contains("limit of steps"));
}

#[test]
fn bad_input_is_an_error() {
    let refused =
        |method: &'static SdeMethod, o: &Options, span: (f64, f64), y0: &[f64], p: &[f64], save: &[f64]| {
            solve(gbm().follow(Brownian::new(1)), method, o, span, y0, p, save)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
    let (o, p, span) = (Options::noisy(), [MU, SIGMA], (0.0, 1.0));
    assert_eq!(refused(&SOSRI, &o, (1.0, 1.0), &[1.0], &p, &[]), "the time span is empty: t0 = t1 = 1");
    assert!(refused(&SOSRI, &o, (1.0, 0.0), &[1.0], &p, &[]).contains("integrated forwards"));
    assert!(refused(&SOSRI, &o, (0.0, f64::NAN), &[1.0], &p, &[]).contains("not finite"));
    assert_eq!(
        refused(&SOSRI, &o, span, &[1.0], &p[..1], &[]),
        "the parameter vector has length 1, expected 2"
    );
    assert_eq!(refused(&SOSRI, &o, span, &[], &p, &[]), "the start has length 0, expected 1");
    assert_eq!(
        refused(&SOSRI, &o, span, &[1.0, f64::NAN], &p, &[]),
        "the start is not finite: entry 1 is NaN"
    );
    assert!(
        refused(&SOSRI, &o, span, &[1.0], &[MU, f64::INFINITY], &[])
            .contains("the parameter vector is not finite")
    );
    assert!(refused(&SOSRI, &o, span, &[1.0], &p, &[0.5, 1.5]).contains("outside the span"));
    assert!(refused(&SOSRI, &o, span, &[1.0], &p, &[0.5, 0.2]).contains("not in the order of integration"));
    assert!(
        refused(&SOSRI, &Options::noisy().with_tolerances(-1.0, 1.0), span, &[1.0], &p, &[])
            .contains("option rtol is -1")
    );
    assert!(
        refused(&SOSRI, &Options::noisy().with_tolerances(0.0, 0.0), span, &[1.0], &p, &[])
            .contains("positive where rtol is zero")
    );
    assert!(
        refused(&SOSRI, &Options { delta: Some(-1.0), ..o.clone() }, span, &[1.0], &p, &[])
            .contains("option delta is -1")
    );
    assert!(
        refused(&SOSRI, &Options::noisy().with_fixed_step(0.0), span, &[1.0], &p, &[]).contains("fixed_step")
    );
    assert_eq!(
        refused(&EULER_MARUYAMA, &o, span, &[1.0], &p, &[]),
        "euler-maruyama has no error estimate: give a fixed_step"
    );
    assert_eq!(
        refused(&SOSRA, &o, span, &[1.0], &p, &[]),
        "sosra needs noise that is said to be additive, this is Diagonal noise"
    );

    let matrix = || FnMap::with_outputs(1, 2, 0, |_, _: &[f64], _: &[f64], g: &mut [f64]| g.fill(1.0));
    let drift = || FnMap::new(1, 0, |_, _: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = 0.0);
    let run = |method: &'static SdeMethod, o: &Options| {
        let mut sde = Sde::new(drift(), matrix(), Noise::Matrix(2)).unwrap();
        solve(sde.follow(Brownian::new(1)), method, o, (0.0, 1.0), &[1.0], &[], &[])
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(run(&SOSRI, &o), "sosri needs diagonal or scalar noise, this is Matrix(2) noise");
    assert!(run(&MILSTEIN, &Options::noisy().with_fixed_step(0.1)).contains("said to be commutative"));
    let other = FnMap::new(2, 0, |_, _: &[f64], _: &[f64], _: &mut [f64]| ());
    assert_eq!(
        Sde::new(drift(), other, Noise::Diagonal).map(|_| ()).unwrap_err().to_string(),
        "the diffusion's state has length 2, expected 1"
    );
    let panics = FnMap::new(1, 0, |_, _: &[f64], _: &[f64], _: &mut [f64]| panic!("no diffusion today"));
    let mut sde = Sde::new(drift(), panics, Noise::Diagonal).unwrap();
    let e = solve(sde.follow(Brownian::new(1)), &SOSRI, &o, (0.0, 1.0), &[1.0], &[], &[])
        .map(|_| ())
        .unwrap_err();
    assert!(e.to_string().contains("panicked: no diffusion today"));
    let ensemble = |y0: &[f64], p| {
        solve_ensemble(&SOSRI, &o, || gbm().along(Brownian::new(1)), (0.0, 1.0), y0, p, &[])
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(ensemble(&[], Params::Shared(&p)).contains("the start of an ensemble"));
    assert!(ensemble(&[1.0, 1.0], Params::Each(&p)).contains("the parameter matrix"));
}

#[test]
fn the_spiral_equation_has_the_published_moments() {
    // du1 = -0.1 u1^3 - 2 u2^3, du2 = 2 u1^3 - 0.1 u2^3, diagonal noise 0.2 u_i, u0 = (2, 0); mean and variance of 10 000 paths are given.
    // Here as many paths, with another method.
    let Some(dir) = common::fixtures() else { return };
    let text = std::fs::read_to_string(dir.join("spiral_sde_moments.csv")).unwrap();
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|l| l.split_whitespace().map(|v| v.parse().unwrap()).collect()).collect();
    assert_eq!(rows.len(), 30);
    let times: Vec<f64> = rows.iter().map(|r| r[0]).collect();
    let make = || {
        Sde::new(
            FnMap::new(2, 0, |_, u: &[f64], _: &[f64], du: &mut [f64]| {
                let c = [u[0].powi(3), u[1].powi(3)];
                du[0] = -0.1 * c[0] - 2.0 * c[1];
                du[1] = 2.0 * c[0] - 0.1 * c[1];
            }),
            FnMap::new(2, 0, |_, u: &[f64], _: &[f64], g: &mut [f64]| {
                g.copy_from_slice(&[0.2 * u[0], 0.2 * u[1]])
            }),
            Noise::Diagonal,
        )
        .unwrap()
    };
    let paths = 10_000;
    let start = [2.0, 0.0].repeat(paths);
    let o = Options::noisy().with_tolerances(0.1, 0.1);
    let e = solve_ensemble(
        &SOSRI,
        &o,
        || make().along(Brownian::new(1)),
        (0.0, 1.0),
        &start,
        Params::Shared(&[]),
        &times,
    )
    .unwrap();
    assert_eq!(e.failed().count(), 0);
    let n = paths as f64;
    let (mut worst, mut sum) = (0.0f64, 0.0);
    for (i, row) in rows.iter().enumerate().skip(1) {
        for c in 0..2 {
            let column = || e.saved.iter().skip(2 * i + c).step_by(2 * times.len());
            let m = column().sum::<f64>() / n;
            let v = column().map(|u| (u - m).powi(2)).sum::<f64>() / n;
            let fourth = column().map(|u| (u - m).powi(4)).sum::<f64>() / n;
            // Both sides are samples.
            let scale = (1.0 / n + 1e-4).sqrt();
            let z =
                [(m - row[1 + c]) / (v.sqrt() * scale), (v - row[3 + c]) / ((fourth - v * v).sqrt() * scale)];
            for z in z {
                worst = worst.max(z.abs());
                sum += z * z;
            }
        }
    }
    // 116 statistics, strongly correlated along the path: beyond 5 with probability under 116 * 6e-7 = 7e-5.
    println!("largest deviation {worst:.2} standard errors, mean square {:.2}", sum / 116.0);
    assert!(worst < 5.0, "{worst}");
}

#[test]
fn the_memory_of_a_path_does_not_grow_with_the_steps() {
    // Of the tree only what is right of the position is held: at most one node a level, twice while looking ahead.
    let (paths, depth) = (2000, Brownian::new(4).depth as usize);
    let bound = (2 * depth + 4) * 2 * 8 * paths;
    let eager = Controller { safety: 0.95, max_factor: 5.0, ..Controller::i() };
    for (tol, most) in [(0.1, 200), (1e-3, 20_000)] {
        let o = Options {
            controller: eager,
            norm: Norm::Max,
            first_step: Some(1.0),
            ..Options::noisy().with_tolerances(tol, tol)
        };
        let mut it = SdeIntegrator::<f64>::new(&SOSRI, 1, paths, &o).unwrap();
        let (peak, r) = peak_bytes(|| {
            it.run(gbm().follow(Brownian::new(4)), (0.0, 1.0), &vec![1.0; paths], &[MU, SIGMA], &mut ())
                .unwrap()
        });
        println!(
            "{tol}: {} steps, {} rejected, {peak} bytes, bound {bound}",
            r.counts.accepted, r.counts.rejected
        );
        assert!(
            r.ok() && r.counts.accepted < most && r.counts.rejected > 1 && peak < bound as i64,
            "{peak} {bound} {r:?}"
        );
    }
}
