//! diffsol's methods: reference values, Jacobians from a pullback, sinks, statuses, what is refused.

mod common;
#[path = "common/stiff.rs"]
mod problems;

use std::ops::ControlFlow;

use common::reference;
use costate::diff::{Differences, FnMap, Map};
use costate::ode::*;
use problems::{Stiff, relative_error};

const METHODS: [DiffsolMethod; 3] = [DiffsolMethod::Bdf, DiffsolMethod::TrBdf2, DiffsolMethod::Esdirk34];

/// Jacobian by hand.
fn by_hand(pr: &Stiff) -> impl Map<f64> + use<> {
    FnMap::new(pr.n, pr.p.len(), pr.f).with_jacobian(pr.jac).autonomous()
}

/// Jacobian from the pullback y_bar += J' w.
fn from_pullback(pr: &Stiff) -> impl Map<f64> + use<> {
    let (n, jac) = (pr.n, pr.jac);
    let mut j = vec![0.0; n * n];
    let pullback = move |t: f64, y: &[f64], p: &[f64], w: &[f64], y_bar: &mut [f64], _: &mut [f64]| {
        jac(t, y, p, &mut j);
        for (bar, column) in y_bar.iter_mut().zip(j.chunks(n)) {
            *bar += column.iter().zip(w).map(|(j, w)| j * w).sum::<f64>();
        }
    };
    FnMap::new(n, pr.p.len(), pr.f).with_vjp(pullback).autonomous()
}

/// Small components count.
fn tolerances(tol: f64) -> Options {
    Options::tolerances(tol, 1e-4 * tol)
}

#[test]
fn reference_values() {
    let Some(values) = reference("reference_values.json") else { return };
    for pr in &problems::ALL {
        let exact: Vec<f64> = serde_json::from_value(values["stiff"][pr.key].clone()).unwrap();
        // A method of order q holds a local error of size h^(q+1) at the tolerance, so that the global one behaves like tol^(q/(q+1)).
        for (method, q) in [(DiffsolMethod::Bdf, 5), (DiffsolMethod::TrBdf2, 2), (DiffsolMethod::Esdirk34, 3)]
        {
            for tol in [1e-6f64, 1e-8] {
                let want = 10.0 * tol.powf(q as f64 / (q + 1) as f64);
                let mut it = Diffsol::new(method, pr.n, 1, &tolerances(tol)).unwrap();
                let r = it.run(&mut by_hand(pr), (0.0, pr.t1), pr.y0, pr.p, &mut ()).unwrap();
                let (y, error) = (it.y().to_vec(), relative_error(it.y(), &exact));
                println!(
                    "{} {method:?} {tol:.0e}: {error:.1e} < {want:.1e}, {} steps",
                    pr.name, r.counts.accepted
                );
                assert!(r.ok(), "{} {method:?}: {}", pr.name, r.message());
                assert!(error < want, "{} {method:?} {tol:.0e}: {error:.1e}", pr.name);
                // n pullbacks give the same Jacobian to the bit, so the same steps.
                let s = it.run(&mut from_pullback(pr), (0.0, pr.t1), pr.y0, pr.p, &mut ()).unwrap();
                assert_eq!(it.y(), y, "{} {method:?} from the pullback", pr.name);
                assert_eq!((s.counts.pullbacks, r.counts.pullbacks), (pr.n as u64 * s.counts.jacobians, 0));
                assert_eq!(OdeCounts { pullbacks: 0, ..s.counts }, r.counts);
            }
        }
    }
}

#[test]
fn a_batch_with_jacobians_from_the_pullback() {
    // Three rate constants of a linear problem as columns: y0' = -1000 (y0 - y1), y1' = -y1; y1 = c e^-t, y0 follows it.
    let field = FnMap::new(2, 1, |_: f64, y: &[f64], p: &[f64], dy: &mut [f64]| {
        dy.copy_from_slice(&[-p[0] * (y[0] - y[1]), -y[1]])
    })
    .with_vjp(|_: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        yb[0] -= p[0] * w[0];
        yb[1] += p[0] * w[0] - w[1];
        pb[0] -= w[0] * (y[0] - y[1]);
    });
    let mut field = field;
    let y0 = [1.0, 1.0, 0.0, 2.0, -1.0, 0.5];
    for method in METHODS {
        let mut it = Diffsol::new(method, 2, 3, &Options::tolerances(1e-8, 1e-10)).unwrap();
        let r = it.run(&mut field, (0.0, 2.0), &y0, &[1e3], &mut ()).unwrap();
        assert!(r.ok() && r.counts.pullbacks == 2 * r.counts.jacobians, "{method:?} {r:?}");
        for (y, y0) in it.y().chunks(2).zip(y0.chunks(2)) {
            let slow = y0[1] * (-2f64).exp();
            let exact = [slow * 1e3 / 999.0, slow];
            assert!(relative_error(y, &exact) < 1e-4, "{method:?} {y:?} {exact:?}");
        }
    }
}

/// y' = -1000 (y - cos t), y(0) on the slow solution y = (1e6 cos t + 1e3 sin t) / (1e6 + 1), zero at pi - atan 1000.
fn slow(t: f64) -> f64 {
    (1e6 * t.cos() + 1e3 * t.sin()) / (1e6 + 1.0)
}

fn relaxation() -> impl Map<f64> {
    let f = FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = -1e3 * (y[0] - t.cos()));
    f.with_jacobian(|_: f64, _: &[f64], _: &[f64], j: &mut [f64]| j[0] = -1e3)
}

#[test]
fn diffsol_answers_as_the_others_do() {
    let zero = std::f64::consts::PI - 1e3f64.atan();
    for method in METHODS {
        let mut ev = Events::new()
            .when(Crossing::Falling, AtEvent::Record, |_, y: &[f64]| y[0])
            .when(Crossing::Any, AtEvent::Handle, |t, _: &[f64]| t - 2.0)
            .on_event(|_, y| {
                y[0] = 5.0;
                ControlFlow::Continue(())
            });
        let (mut save, mut dense) = (SaveAt::new(&[0.0, 0.7, 1.5, 2.4, 3.0]), DenseSolution::new());
        let mut it = Diffsol::new(method, 1, 1, &Options::tolerances(1e-7, 1e-8)).unwrap();
        let sinks = &mut (&mut ev, &mut save, &mut dense);
        let r = it.run(&mut relaxation(), (0.0, 3.0), &[slow(0.0)], &[], sinks).unwrap();
        assert_eq!((r.stop, r.t), (OdeStop::Finished, 3.0), "{method:?} {r:?}");
        assert!((ev.happened()[0].t - zero).abs() < 1e-5, "{method:?} {}", ev.happened()[0].t - zero);
        for (i, t) in [(1, 0.7), (2, 1.5), (3, 2.4), (4, 3.0)] {
            assert!(
                (save.state(i)[0] - slow(t)).abs() < 1e-5,
                "{method:?} {t}: {}",
                save.state(i)[0] - slow(t)
            );
            assert!((dense.at(t).unwrap()[0] - save.state(i)[0]).abs() < 1e-12);
        }
        let want = slow(2.001) + (5.0 - slow(2.0)) * (-1f64).exp();
        assert!((dense.at(2.001).unwrap()[0] - want).abs() < 1e-3, "{method:?}");
        assert_eq!(it.y(), save.state(4));
        assert!(r.counts.evals > r.counts.accepted && r.counts.jacobians > 0 && r.counts.factorizations > 0);

        // Backwards, a batch, a limit on steps, a field that leaves its domain, one that is not finite at the start.
        let mut decay =
            Differences::of(FnMap::new(1, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = -y[0]));
        let mut it = Diffsol::new(method, 1, 2, &Options::tolerances(1e-6, 1e-8)).unwrap();
        let r = it.run(&mut decay, (1.0, 0.0), &[1.0, 2.0], &[], &mut ()).unwrap();
        let e = 1f64.exp();
        assert!(
            r.ok() && (it.y()[0] - e).abs() < 1e-4 && (it.y()[1] - 2.0 * e).abs() < 2e-4,
            "{method:?} {:?}",
            it.y()
        );
        let few = Options { max_steps: 5, ..Options::default() };
        let mut it = Diffsol::new(method, 1, 1, &few).unwrap();
        let r = it.run(&mut relaxation(), (0.0, 3.0), &[0.0], &[], &mut ()).unwrap();
        assert_eq!(r.stop, OdeStop::MaxSteps, "{method:?}");
        assert!(r.message().contains("stability does not limit"), "{}", r.message());
        let mut f = Differences::of(FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy[0] = (1.0 - t).sqrt() * y[0]
        }));
        let mut it = Diffsol::new(method, 1, 1, &Options::default()).unwrap();
        let r = it.run(&mut f, (2.0, 5.0), &[1.0], &[], &mut ()).unwrap();
        assert_eq!(r.stop, OdeStop::StartNotFinite);
        let r = it.run(&mut f, (0.0, 5.0), &[1.0], &[], &mut ()).unwrap();
        assert!(
            matches!(r.stop, OdeStop::StepUnderflow | OdeStop::SolverFailed | OdeStop::MaxSteps),
            "{method:?} {r:?}"
        );
        assert!(!r.ok() && r.t <= 1.0 + 1e-6, "{method:?} {r:?}");
        let mut panics = Differences::of(FnMap::new(1, 0, |t: f64, _: &[f64], _: &[f64], dy: &mut [f64]| {
            assert!(t < 0.5, "too late");
            dy[0] = 1.0;
        }));
        let e = it.run(&mut panics, (0.0, 1.0), &[1.0], &[], &mut ()).unwrap_err();
        assert!(matches!(e, OdeError::FieldPanicked { .. }), "{e}");
    }
}

#[test]
fn what_diffsol_has_no_place_for_is_refused() {
    for o in [
        Options::fixed(0.1),
        Options { norm: Norm::Max, ..Options::default() },
        Options { max_step: 1.0, ..Options::default() },
        Options::tolerances(vec![1e-3, 1e-3, 1e-3], 1e-3),
    ] {
        let e = Diffsol::new(DiffsolMethod::Bdf, 3, 1, &o).unwrap_err().to_string();
        assert!(e.contains("for diffsol"), "{e}");
    }
}
