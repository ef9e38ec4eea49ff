//! A run that goes on from a saved state has the bits of one that was not interrupted.

use std::ops::ControlFlow;

use costate::diff::{FnMap, Map};
use costate::linalg::Scalar;
use costate::ode::*;

#[path = "common/diffusion.rs"]
mod diffusion;

type Rows = Vec<(u64, Vec<u64>)>;

/// Written to a text and read from it.
fn through_text<S: serde::Serialize + serde::de::DeserializeOwned>(saved: S) -> S {
    serde_json::from_str(&serde_json::to_string(&saved).unwrap()).unwrap()
}

/// Times and states after each step.
fn recorder<T: Scalar>(rows: &mut Rows, stop_after: usize) -> impl StepSink<T> + '_ {
    let mut left = stop_after;
    FnSink(move |s: &mut Step<'_, T>| {
        rows.push((s.t1().f64().to_bits(), s.y1().iter().map(|v| v.f64().to_bits()).collect()));
        assert_eq!(s.index() + 1, rows.len() as u64);
        left = left.saturating_sub(1);
        if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

fn controllers() -> [Controller; 5] {
    [
        Controller::default(),
        Controller::i(),
        Controller::pi(0.3, 0.4),
        Controller::pid(0.3, 0.3, 0.05),
        Controller { safety: 0.995, ..Controller::pi(0.4, 0.3) },
    ]
}

/// Whole, and interrupted after every so many steps, each part by a new integrator from a text.
macro_rules! compare {
    ($name:expr, $make:expr, $field:expr, $span:expr, $y0:expr) => {
        compare!($name, $make, $field, $span, $y0, [])
    };
    ($name:expr, $make:expr, $field:expr, $span:expr, $y0:expr, $p:expr) => {{
        let (name, make, mut field, span, y0, p) = ($name, $make, $field, $span, $y0, $p);
        let mut whole = vec![];
        let report = make().run(&mut field, span, &y0, &p, &mut recorder(&mut whole, usize::MAX)).unwrap();
        assert!(report.ok() && whole.len() > 5, "{name}: {}", report.message());
        for every in [1, 3, whole.len() / 2] {
            let mut rows = vec![];
            let mut integrator = make();
            let mut part =
                integrator.run(&mut field, span, &y0, &p, &mut recorder(&mut rows, every)).unwrap();
            while part.stop == OdeStop::Stopped && rows.len() < whole.len() {
                let saved = through_text(integrator.saved().unwrap());
                assert_eq!(saved.y().iter().map(|v| v.to_bits()).collect::<Vec<_>>(), rows[rows.len() - 1].1);
                integrator = make();
                let mut record = recorder(&mut rows, every);
                part = integrator.resume(&mut field, &saved, span.1, &p, &mut record).unwrap();
            }
            assert!(rows == whole, "{name} {every}: {} and {} steps", rows.len(), whole.len());
            assert_eq!(part.counts, report.counts, "{name} {every}");
        }
    }};
}

fn lotka(_: f64, y: &[f64], _: &[f64], dy: &mut [f64]) {
    (dy[0], dy[1]) = (1.5 * y[0] - y[0] * y[1], y[0] * y[1] - 3.0 * y[1]);
}

#[test]
fn explicit_methods_with_every_controller() {
    for tab in Tableau::all() {
        for controller in controllers() {
            // The last one near rounding, where the observed order is a part of the memory.
            for (tol, stops) in [(1e-4, vec![]), (1e-6, vec![2.0, 7.0 / 3.0]), (2e-15, vec![])] {
                if tol < 1e-9 && tab.order < 7 {
                    continue;
                }
                let options = Options { controller, stops, ..Options::tolerances(tol, tol) };
                let make = || Integrator::<f64>::new(tab, 2, 1, &options).unwrap();
                compare!(tab.name, make, FnMap::new(2, 0, lotka), (0.0, 5.0), [1.0, 1.0]);
                compare!(tab.name, make, FnMap::new(2, 0, lotka), (5.0, 1.0), [1.0, 1.0]);
            }
        }
        let options = Options::fixed(0.11);
        let make = || Integrator::<f64>::new(tab, 2, 1, &options).unwrap();
        compare!(tab.name, make, FnMap::new(2, 0, lotka), (0.0, 5.0), [1.0, 1.0]);
    }
}

#[test]
fn in_single_precision() {
    let field = |_: f32, y: &[f32], _: &[f32], dy: &mut [f32]| (dy[0], dy[1]) = (y[1], -y[0]);
    let options = Options::tolerances(1e-4, 1e-4);
    let make = || Integrator::<f32>::new(&TSIT54, 2, 1, &options).unwrap();
    compare!("f32", make, FnMap::new(2, 0, field), (0.0f32, 10.0), [1.0, 0.0]);
}

#[test]
fn nystrom_and_rosenbrock_methods() {
    for controller in controllers() {
        let options = Options { controller, stops: vec![1.0], ..Options::tolerances(1e-6, 1e-6) };
        let orbit = FnMap::new(2, 0, |_: f64, q: &[f64], _: &[f64], a: &mut [f64]| {
            let r = q[0].hypot(q[1]);
            (a[0], a[1]) = (-q[0] / r.powi(3), -q[1] / r.powi(3));
        });
        let make = || Integrator::<f64>::new(&DPRKN64, 4, 1, &options).unwrap();
        compare!("dprkn64", make, SecondOrder::new(orbit), (0.0, 12.0), [1.0, 0.0, 0.0, 1.1]);
        for tab in RosenbrockTableau::all() {
            let vdp = FnMap::new(2, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
                (dy[0], dy[1]) = (y[1], 100.0 * (1.0 - y[0] * y[0]) * y[1] - y[0]);
            })
            .with_jacobian(|_, y: &[f64], _: &[f64], j: &mut [f64]| {
                j.copy_from_slice(&[0.0, -200.0 * y[0] * y[1] - 1.0, 1.0, 100.0 * (1.0 - y[0] * y[0])]);
            });
            let make = || StiffIntegrator::<f64>::new(tab, 2, 1, &options).unwrap();
            compare!(tab.name, make, vdp, (0.0, 200.0), [2.0, 0.0]);
        }
    }
}

/// Changes of the method, and what is remembered of steps that may lead to one, survive an interruption at each place.
#[test]
fn the_automatic_choice() {
    for (mu, stops) in [(100.0, vec![]), (5.0, vec![]), (100.0, vec![50.0])] {
        let vdp = FnMap::new(2, 0, move |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            (dy[0], dy[1]) = (y[1], mu * (1.0 - y[0] * y[0]) * y[1] - y[0]);
        })
        .with_jacobian(move |_, y: &[f64], _: &[f64], j: &mut [f64]| {
            j.copy_from_slice(&[0.0, -2.0 * mu * y[0] * y[1] - 1.0, 1.0, mu * (1.0 - y[0] * y[0])]);
        });
        let options = Options { stops, ..Options::tolerances(1e-6, 1e-6) };
        let make = || Auto::<f64>::new(&TSIT54, &RODAS5P, 2, 1, &options).unwrap();
        let mut auto = make();
        auto.run(&mut vdp.clone(), (0.0, 200.0), &[2.0, 0.0], &[], &mut ()).unwrap();
        assert!(mu < 50.0 || auto.switches().len() > 3, "{:?}", auto.switches());
        compare!("vdp", make, vdp, (0.0, 200.0), [2.0, 0.0]);
    }
    // Many unknowns: the costs of the two methods count.
    let pr = diffusion::Brusselator::new(60);
    let options = Options::tolerances(1e-4, 1e-4);
    let make = || Auto::<f64>::new(&TSIT54, &RODAS5P, pr.start().len(), 1, &options).unwrap();
    let mut auto = make();
    auto.run(&mut pr.field(), (0.0, 10.0), &pr.start(), &diffusion::P, &mut ()).unwrap();
    assert!(!auto.switches().is_empty());
    compare!("brusselator", make, pr.field(), (0.0, 10.0), pr.start(), diffusion::P);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut field = FnMap::new(2, 0, lotka);
    let mut integrator = Integrator::<f64>::new(&TSIT54, 2, 1, &Options::default()).unwrap();
    assert!(integrator.saved().is_none());
    integrator.run(&mut field, (0.0, 1.0), &[1.0, 1.0], &[], &mut ()).unwrap();
    let saved = integrator.saved().unwrap();
    assert_eq!(saved.t(), 1.0);
    let text = integrator.resume(&mut field, &saved, 0.5, &[], &mut ()).unwrap_err().to_string();
    assert!(text.contains("cannot go on to 0.5"), "{text}");
    let mut wider = Integrator::<f64>::new(&TSIT54, 3, 1, &Options::default()).unwrap();
    let mut three = FnMap::new(3, 0, |_: f64, _: &[f64], _: &[f64], dy: &mut [f64]| dy.fill(0.0));
    assert!(wider.resume(&mut three, &saved, 2.0, &[], &mut ()).is_err());
}
