//! Rosenbrock methods and the automatic choice: orders, reference values, statuses, events, bad input, allocations.

#[path = "common/alloc.rs"]
mod alloc;
mod common;
#[path = "common/stiff.rs"]
mod problems;

use std::ops::ControlFlow;

use alloc::allocations;
use common::reference;
use costate::diff::{At, Differences, FnMap, Formula, Linearizer, Map, Number, Size, Work};
use costate::expr::formula;
use costate::ode::*;
use problems::{Stiff, relative_error};

fn field(pr: &Stiff) -> impl Map<f64> + use<> {
    FnMap::new(pr.n, pr.p.len(), pr.f).with_jacobian(pr.jac).autonomous()
}

/// Small components count. The controller is said, for work is pinned.
fn tolerances(tol: f64) -> Options {
    Options { controller: Controller::pi(0.2, 0.65), ..Options::tolerances(tol, 1e-4 * tol) }
}

/// y0' = y0 cos t, y1' = -y0 y1 sin t / exp(sin t): y0 = exp(sin t), y1 = exp(cos t).
struct Growth;

impl Formula<f64> for Growth {
    fn size(&self) -> Size {
        Size::field(2, 0)
    }
    fn eval<D: Number<f64>>(&self, t: D, y: &[D], _: &[D], dy: &mut [D]) {
        dy[0] = y[0] * t.cos();
        dy[1] = -y[0] * y[1] * t.sin() / t.sin().exp();
    }
}

/// Largest errors at the step points and between them.
fn errors<F: Map<f64>>(tab: &'static RosenbrockTableau, mut f: F, steps: usize) -> (f64, f64) {
    let exact = |t: f64| [t.sin().exp(), t.cos().exp()];
    let (mut dense, mut every) = (DenseSolution::new(), EveryStep::new());
    let mut it = StiffIntegrator::new(tab, 2, 1, &Options::fixed(2.0 / steps as f64)).unwrap();
    let r = it.run(&mut f, (0.0, 2.0), &exact(0.0), &[], &mut (&mut dense, &mut every)).unwrap();
    assert_eq!((r.stop, r.counts.accepted), (OdeStop::Finished, steps as u64));
    let far = |t: f64, y: &[f64]| (y[0] - exact(t)[0]).hypot(y[1] - exact(t)[1]);
    let at_steps = every.times().iter().enumerate().map(|(i, &t)| far(t, every.state(i))).fold(0.0, f64::max);
    let between =
        (0..2000).map(|k| far(k as f64 * 1e-3, &dense.at(k as f64 * 1e-3).unwrap())).fold(0.0, f64::max);
    (at_steps, between)
}

/// Median of the observed orders over four halvings.
fn order(mut error: impl FnMut(usize) -> f64, first: usize) -> f64 {
    let e: Vec<f64> = (0..5).map(|k| error(first << k)).collect();
    let mut p: Vec<f64> = e.windows(2).map(|w| (w[0] / w[1]).log2()).collect();
    p.sort_by(f64::total_cmp);
    0.5 * (p[1] + p[2])
}

#[test]
fn convergence_orders() {
    for (tab, first) in [(&RODAS3P, 80), (&RODAS4, 40), (&RODAS5P, 20)] {
        let p = order(|n| errors(tab, formula(Growth).unwrap(), n).0, first);
        let dense = order(|n| errors(tab, formula(Growth).unwrap(), n).1, first);
        println!("{} {p:.3} {dense:.3}", tab.name);
        assert!((p - tab.order as f64).abs() < 0.1, "{}: order {p}", tab.name);
        // The interpolant's local error is h^(dense_order + 1).
        let want = tab.order.min(tab.dense_order + 1) as f64;
        assert!((dense - want).abs() < 0.1, "{}: dense order {dense}", tab.name);
    }
}

#[test]
fn a_jacobian_by_differences_keeps_the_order_until_its_own_error_shows() {
    let f = || {
        FnMap::new(2, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy[0] = y[0] * t.cos();
            dy[1] = -y[0] * y[1] * t.sin() / t.sin().exp();
        })
    };
    let p = order(|n| errors(&RODAS4, Differences::of(f()), n).0, 10);
    assert!((p - 4.0).abs() < 0.15, "{p}");
}

#[test]
fn reference_values() {
    let Some(values) = reference("reference_values.json") else { return };
    for pr in &problems::ALL {
        let exact: Vec<f64> = serde_json::from_value(values["stiff"][pr.key].clone()).unwrap();
        let check = |what: &str, r: &OdeReport, y: &[f64], want: f64| {
            let error = relative_error(y, &exact);
            println!(
                "{} {what}: {error:.1e} {} steps, {} rejected",
                pr.name, r.counts.accepted, r.counts.rejected
            );
            assert!(r.ok(), "{} {what}: {}", pr.name, r.message());
            assert!(error < want, "{} {what}: {error:.1e}", pr.name);
        };
        let run = |f: &mut dyn FnMut(&mut StiffIntegrator<f64>) -> OdeReport, method, tol| {
            let mut it = StiffIntegrator::new(method, pr.n, 1, &tolerances(tol)).unwrap();
            let r = f(&mut it);
            (r, it.y().to_vec())
        };
        let span = (0.0, pr.t1);
        for (method, tol, want) in
            [(&RODAS3P, 1e-5, 5e-3), (&RODAS4, 1e-6, 5e-5), (&RODAS5P, 1e-6, 2e-6), (&RODAS5P, 1e-8, 2e-8)]
        {
            let (r, y) =
                run(&mut |it| it.run(&mut field(pr), span, pr.y0, pr.p, &mut ()).unwrap(), method, tol);
            check(&format!("{} {tol:.0e}", method.name), &r, &y, want);
        }
        let mut f = Differences::of(FnMap::new(pr.n, pr.p.len(), pr.f)).autonomous();
        let (r, y) = run(&mut |it| it.run(&mut f, span, pr.y0, pr.p, &mut ()).unwrap(), &RODAS5P, 1e-6);
        check("differences", &r, &y, 1e-5);

        let mut auto = Auto::new(&TSIT54, &RODAS5P, pr.n, 1, &tolerances(1e-6)).unwrap();
        let r = auto.run(&mut field(pr), span, pr.y0, pr.p, &mut ()).unwrap();
        println!("{} {:?}", pr.name, auto.switches());
        check("auto", &r, auto.y(), 1e-5);
        assert!(!auto.switches().is_empty() && r.stiff_at == Some(auto.switches()[0].t));
    }
}

#[test]
fn jacobians_agree() {
    // By hand, by differences; and the products that the benchmark gives to its peer.
    for pr in &problems::ALL {
        let n = pr.n;
        let y = solve(&mut field(pr), &RODAS5P, &tolerances(1e-6), (0.0, 0.3 * pr.t1), pr.y0, pr.p, &[])
            .unwrap()
            .y1;
        let mut dy = vec![0.0; n];
        (pr.f)(0.0, &y, pr.p, &mut dy);
        let (at, mut lin) = (At::new(0.0, &y, pr.p), Linearizer::default());
        let (mut a, mut b, mut rate) = (vec![f64::NAN; n * n], vec![f64::NAN; n * n], vec![0.0; n]);
        assert_eq!(lin.linearize(&mut field(pr), at, 1e-6, &dy, &mut a, &mut rate), Work::default());
        let mut f = Differences::of(FnMap::new(n, pr.p.len(), pr.f));
        let work = lin.linearize(&mut f, at, 1e-6, &dy, &mut b, &mut rate);
        assert_eq!(work.values, n as u64 + 1);
        assert!(rate.iter().all(|r| *r == 0.0));
        let size = a.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let most = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for j in 0..n {
            for i in 0..n {
                // Rounding of f_i over the increment of y_j.
                let terms = (0..n).map(|l| (a[l * n + i] * y[l]).abs()).fold(0.0, f64::max);
                let noise = 8.0 * f64::EPSILON * terms / (1.5e-8 * y[j].abs().max(1e-5 * most));
                let (a, b) = (a[j * n + i], b[j * n + i]);
                assert!((a - b).abs() < 1e-4 * a.abs() + noise, "{} {i} {j}: {a} {b}", pr.name);
            }
        }
        let v: Vec<f64> = (0..n).map(|i| 1.0 / (1.0 + i as f64)).collect();
        let mut out = vec![0.0; n];
        (pr.jv)(&y, pr.p, 0.0, &v, &mut out);
        for i in 0..n {
            let sum: f64 = (0..n).map(|j| a[j * n + i] * v[j]).sum();
            assert!((sum - out[i]).abs() < 1e-12 * size, "{} {i}", pr.name);
        }
    }
}

#[test]
fn work_is_pinned() {
    // Steps and rejections with Rodas5P at 1e-6, and whether the first step takes a second look: one matrix, and the evaluation that the next step begins with.
    let pinned = [(108, 3, 0), (646, 14, 0), (915, 129, 1), (221, 2, 0), (957, 16, 0), (58, 0, 1)];
    for (pr, want) in problems::ALL.iter().zip(pinned) {
        let mut it = StiffIntegrator::new(&RODAS5P, pr.n, 1, &tolerances(1e-6)).unwrap();
        let c = it.run(&mut field(pr), (0.0, pr.t1), pr.y0, pr.p, &mut ()).unwrap().counts;
        let near = |a: u64, b: u64| a.abs_diff(b) <= 2 + b / 50;
        assert!(near(c.accepted, want.0) && near(c.rejected, want.1), "{} {c:?}", pr.name);
        let attempts = c.accepted + c.rejected;
        assert_eq!(c.jacobians, attempts + want.2);
        assert_eq!(c.evals, 2 + 8 * attempts);
    }
}

#[test]
fn a_batch_of_copies_is_one_trajectory_and_single_precision_works() {
    let pr = Stiff::by_name("hires");
    let y0: Vec<f64> = (0..3).flat_map(|_| pr.y0.iter().copied()).collect();
    let s = solve(&mut field(pr), &RODAS5P, &tolerances(1e-5), (0.0, 10.0), &y0, &[], &[]).unwrap();
    let one = solve(&mut field(pr), &RODAS5P, &tolerances(1e-5), (0.0, 10.0), pr.y0, &[], &[]).unwrap();
    assert_eq!(s.report.counts, one.report.counts);
    for column in s.y1.chunks(8) {
        assert!(column.iter().zip(&one.y1).all(|(a, b)| (a - b).abs() < 1e-14));
    }
    let mut f = Differences::of(FnMap::new(1, 0, |t: f32, y: &[f32], _: &[f32], dy: &mut [f32]| {
        dy[0] = -1e3 * (y[0] - t.cos()) - t.sin();
    }));
    let o = Options::tolerances(1e-4, 1e-4);
    for tab in RosenbrockTableau::all() {
        let s = solve(&mut f, tab, &o, (0.0, 2.0), &[1.0f32], &[], &[1.0]).unwrap();
        assert!((s.y1[0] - 2f32.cos()).abs() < 1e-3, "{} {:?}", tab.name, s.report);
        // Between the steps order 2 of the error is left.
        let want = if tab.name == "rodas3p" { 1e-2 } else { 1e-3 };
        assert!((s.state(0)[0] - 1f32.cos()).abs() < want, "{} {:?}", tab.name, s.state(0));
        assert!(s.report.counts.accepted < 60, "{} {:?}", tab.name, s.report);
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
fn save_points_dense_output_and_events_compose() {
    let zero = std::f64::consts::PI - 1e3f64.atan();
    for tab in RosenbrockTableau::all() {
        let mut ev = Events::new()
            .when(Crossing::Falling, AtEvent::Record, |_, y: &[f64]| y[0])
            .when(Crossing::Any, AtEvent::Handle, |t, _: &[f64]| t - 2.0)
            .when(Crossing::Any, AtEvent::Stop, |t, _: &[f64]| t - 2.5)
            .on_event(|_, y| {
                y[0] = 5.0;
                ControlFlow::Continue(())
            });
        let (mut save, mut dense) = (SaveAt::new(&[0.0, 0.7, 1.5, 2.0, 2.4, 2.9]), DenseSolution::new());
        let mut it = StiffIntegrator::new(tab, 1, 1, &Options::tolerances(1e-7, 1e-8)).unwrap();
        let sinks = &mut (&mut ev, &mut save, &mut dense);
        let r = it.run(&mut relaxation(), (0.0, 3.0), &[slow(0.0)], &[], sinks).unwrap();
        assert_eq!(r.stop, OdeStop::Stopped);
        assert!((r.t - 2.5).abs() < 1e-14, "{} {}", tab.name, r.t);
        let seen: Vec<usize> = ev.happened().iter().map(|o| o.event).collect();
        // The jump goes to the other side: y comes back through zero.
        assert_eq!(seen, [0, 1, 0, 2], "{}", tab.name);
        assert!((ev.happened()[0].t - zero).abs() < 1e-6, "{} {}", tab.name, ev.happened()[0].t - zero);
        for (i, t) in [(1, 0.7), (2, 1.5), (4, 2.4)] {
            assert!((save.state(i)[0] - slow(t)).abs() < 1e-5, "{} {t}: {}", tab.name, save.state(i)[0]);
            assert!((dense.at(t).unwrap()[0] - save.state(i)[0]).abs() < 1e-13);
        }
        // The jump's transient: y - slow decays like exp(-1000 t).
        let want = slow(2.001) + (5.0 - slow(2.0)) * (-1f64).exp();
        assert!((dense.at(2.001).unwrap()[0] - want).abs() < 1e-4, "{}", tab.name);
        assert!(save.state(5)[0].is_nan() && save.len() == 5);
    }
}

#[test]
fn backwards_and_forwards_return() {
    let (mut f, o) = (formula(Growth).unwrap(), Options::tolerances(1e-10, 1e-12));
    for tab in [&RODAS4, &RODAS5P] {
        let y0 = [1.0, 1f64.exp()];
        let there = solve(&mut f, tab, &o, (0.0, 2.0), &y0, &[], &[]).unwrap();
        let back = solve(&mut f, tab, &o, (2.0, 0.0), &there.y1, &[], &[1.5, 0.5]).unwrap();
        assert!(there.report.ok() && back.report.ok());
        assert!(relative_error(&back.y1, &y0) < 1e-8, "{:?}", back.y1);
        assert!((back.state(1)[0] - 0.5f64.sin().exp()).abs() < 1e-7);
    }
}

#[test]
fn failures_say_where_and_what_to_try() {
    // y' = y^2 blows up at t = 1.
    let blow = || {
        Differences::of(FnMap::new(1, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = y[0] * y[0]))
            .autonomous()
    };
    let o = Options { max_steps: 20_000, ..Options::default() };
    let r = solve(&mut blow(), &RODAS5P, &o, (0.0, 2.0), &[1.0], &[], &[]).unwrap().report;
    assert!(matches!(r.stop, OdeStop::StepUnderflow | OdeStop::MaxSteps), "{r:?}");
    assert!((r.t - 1.0).abs() < 1e-3 && r.message().contains("t = "), "{}", r.message());

    let pr = Stiff::by_name("vdp 1e3");
    let few = Options { max_steps: 50, ..tolerances(1e-6) };
    let r = solve(&mut field(pr), &RODAS5P, &few, (0.0, pr.t1), pr.y0, pr.p, &[]).unwrap().report;
    assert_eq!((r.stop, r.counts.accepted + r.counts.rejected), (OdeStop::MaxSteps, 50));
    assert!(r.stiffness.unwrap() > 500.0 && !r.ok(), "{r:?}");
    let coarse = Options { min_step: 10.0, ..tolerances(1e-6) };
    let r = solve(&mut field(pr), &RODAS5P, &coarse, (0.0, pr.t1), pr.y0, pr.p, &[]).unwrap().report;
    assert_eq!(r.stop, OdeStop::StepUnderflow);

    // Not finite beyond t = 1: steps shrink towards it; at the start: said at once.
    let edge = |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = (1.0 - t).sqrt() * y[0];
    let mut f = Differences::of(FnMap::new(1, 0, edge));
    let r = solve(&mut f, &RODAS5P, &Options::default(), (0.0, 5.0), &[1.0], &[], &[]).unwrap().report;
    assert!(r.stop == OdeStop::StepUnderflow && r.counts.not_finite > 0, "{r:?}");
    assert!((r.t - 1.0).abs() < 1e-6 && r.message().contains("not finite"), "{}", r.message());
    let r = solve(&mut f, &RODAS5P, &Options::default(), (2.0, 5.0), &[1.0], &[], &[]).unwrap().report;
    assert_eq!(r.stop, OdeStop::StartNotFinite);

    // A Jacobian that is not finite, and one that belongs to another field.
    let f = || FnMap::new(1, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = -y[0]);
    let mut bad = f().with_jacobian(|_: f64, _: &[f64], _: &[f64], j: &mut [f64]| j[0] = f64::NAN);
    let r = solve(&mut bad, &RODAS5P, &Options::default(), (0.0, 1.0), &[1.0], &[], &[]).unwrap().report;
    assert!(r.stop == OdeStop::StepUnderflow && r.counts.accepted == 0, "{r:?}");
    let mut wrong = f().with_jacobian(|_: f64, _: &[f64], _: &[f64], j: &mut [f64]| j[0] = 3.0);
    let s = solve(&mut wrong, &RODAS5P, &Options::default(), (0.0, 1.0), &[1.0], &[], &[]).unwrap();
    assert!(s.report.ok() && (s.y1[0] - (-1f64).exp()).abs() < 1e-5, "error control: {:?}", s.y1);
}

#[test]
fn bad_input_is_one_clear_error_each() {
    let pr = Stiff::by_name("robertson");
    let go = |o: &Options, span, y0: &[f64], p: &[f64], save: &[f64]| {
        solve(&mut field(pr), &RODAS5P, o, span, y0, p, save).map(|_| ()).unwrap_err().to_string()
    };
    let (d, y, p) = (Options::default(), pr.y0, pr.p);
    assert_eq!(go(&d, (1.0, 1.0), y, p, &[]), "the time span is empty: t0 = t1 = 1");
    assert_eq!(go(&d, (0.0, f64::NAN), y, p, &[]), "the time span from 0 to NaN is not finite");
    assert_eq!(go(&d, (0.0, 1.0), &y[..2], p, &[]), "the start has length 2, expected 3");
    assert_eq!(go(&d, (0.0, 1.0), y, &p[..1], &[]), "the parameter vector has length 1, expected 3");
    assert!(go(&d, (0.0, 1.0), &[1.0, f64::NAN, 0.0], p, &[]).contains("entry 1 is NaN"));
    assert!(go(&d, (0.0, 1.0), y, p, &[2.0]).contains("outside the span"));
    assert!(go(&d, (0.0, 1.0), y, p, &[0.5, 0.4]).contains("order of integration"));
    assert!(go(&Options::tolerances(-1.0, 1e-6), (0.0, 1.0), y, p, &[]).contains("rtol"));
    let mut panics =
        Differences::of(FnMap::new(1, 0, |_: f64, _: &[f64], _: &[f64], _: &mut [f64]| panic!("oh no")));
    let e = solve(&mut panics, &RODAS5P, &d, (0.0, 1.0), &[1.0], &[], &[]).unwrap_err();
    assert_eq!(e, OdeError::FieldPanicked { message: "oh no".into() });
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 3, 1, &d).unwrap();
    assert!(auto.run(&mut field(pr), (0.0, 1.0), &y[..2], p, &mut ()).is_err());
    assert!(Auto::<f64>::new(&TSIT54, &RODAS5P, 0, 1, &d).is_err());
}

#[test]
fn no_allocation_per_step() {
    for pr in &problems::ALL {
        for tab in RosenbrockTableau::all() {
            let mut it = StiffIntegrator::new(tab, pr.n, 1, &tolerances(1e-4)).unwrap();
            let mut save = SaveAt::new(&[0.1 * pr.t1, 0.5 * pr.t1]);
            let mut hand = field(pr);
            let mut differences = Differences::of(FnMap::new(pr.n, pr.p.len(), pr.f));
            it.run(&mut differences, (0.0, pr.t1), pr.y0, pr.p, &mut save).unwrap();
            it.run(&mut hand, (0.0, pr.t1), pr.y0, pr.p, &mut save).unwrap();
            let before = allocations();
            let a = it.run(&mut hand, (0.0, pr.t1), pr.y0, pr.p, &mut save).unwrap();
            let b = it.run(&mut differences, (0.0, pr.t1), pr.y0, pr.p, &mut save).unwrap();
            assert_eq!(allocations() - before, 0, "{} {}", pr.name, tab.name);
            assert!(a.counts.accepted > 20 && b.counts.accepted > 20);

            let mut auto = Auto::new(&TSIT54, tab, pr.n, 1, &tolerances(1e-4)).unwrap();
            auto.run(&mut differences, (0.0, pr.t1), pr.y0, pr.p, &mut save).unwrap();
            let before = allocations();
            let r = auto.run(&mut differences, (0.0, pr.t1), pr.y0, pr.p, &mut save).unwrap();
            assert_eq!(allocations() - before, 0, "{} auto with {}", pr.name, tab.name);
            assert!(r.ok() && !auto.switches().is_empty(), "{} {}: {r:?}", pr.name, tab.name);
        }
    }
}

#[test]
fn auto_does_what_the_others_do() {
    let auto = || Auto::new(&TSIT54, &RODAS5P, 1, 2, &Options::tolerances(1e-8, 1e-8)).unwrap();
    let mut decay =
        Differences::of(FnMap::new(1, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = -y[0]));
    // Backwards, a batch.
    let mut it = auto();
    let r = it.run(&mut decay, (1.0, 0.0), &[1.0, 2.0], &[], &mut ()).unwrap();
    let e = 1f64.exp();
    assert!(r.ok() && (it.y()[0] - e).abs() < 1e-6 && (it.y()[1] - 2.0 * e).abs() < 1e-6, "{:?}", it.y());
    // An event that changes the state, in the stiff part too.
    let mut stiff = Differences::of(FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = -2e3 * (y[0] - t.cos()) - t.sin()
    }));
    let mut it = Auto::new(&TSIT54, &RODAS5P, 1, 1, &Options::tolerances(1e-8, 1e-8)).unwrap();
    let mut events =
        Events::new().when(Crossing::Falling, AtEvent::Handle, |_, y: &[f64]| y[0] - 0.5).on_event(|_, y| {
            y[0] = -1.0;
            ControlFlow::Continue(())
        });
    let r = it.run(&mut stiff, (0.0, 2.0), &[1.0], &[], &mut events).unwrap();
    assert!(r.ok() && !it.switches().is_empty(), "{r:?}");
    let t = events.happened()[0].t;
    assert!(events.happened().len() == 1 && (t - std::f64::consts::FRAC_PI_3).abs() < 1e-3, "{t}");
    assert!((it.y()[0] - 2f64.cos()).abs() < 1e-6, "{:?}", it.y());
    // Bad input.
    let mut it = auto();
    assert!(it.run(&mut decay, (1.0, 1.0), &[1.0, 2.0], &[], &mut ()).is_err());
    assert!(it.run(&mut decay, (0.0, 1.0), &[1.0, f64::NAN], &[], &mut ()).is_err());
    for times in [[0.5, 0.2], [0.5, 1.5]] {
        assert!(it.run(&mut decay, (0.0, 1.0), &[1.0, 2.0], &[], &mut SaveAt::new(&times)).is_err());
    }
    let mut panics = Differences::of(FnMap::new(1, 0, |_: f64, _: &[f64], _: &[f64], _: &mut [f64]| {
        std::panic::panic_any(7)
    }));
    let e = it.run(&mut panics, (0.0, 1.0), &[1.0, 2.0], &[], &mut ()).unwrap_err();
    assert!(matches!(e, OdeError::FieldPanicked { .. }), "{e}");
}

#[test]
fn auto_goes_there_and_back_and_sinks_see_one_integration() {
    // Stiff at first, with rate 2000 exp(-t) + 0.5: the explicit method suffices in the end.
    let f = || {
        FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy[0] = -(2e3 * (-t).exp() + 0.5) * (y[0] - t.cos()) - t.sin();
        })
    };
    let mut f =
        f().with_jacobian(|t: f64, _: &[f64], _: &[f64], j: &mut [f64]| j[0] = -(2e3 * (-t).exp() + 0.5));
    let times: Vec<f64> = (0..=40).map(|k| 0.5 * k as f64).collect();
    let (mut save, mut every, mut indices) = (SaveAt::new(&times), EveryStep::new(), vec![]);
    let watch = FnSink(|s: &mut Step<'_, f64>| {
        indices.push(s.index());
        ControlFlow::Continue(())
    });
    // Interpolants of different degrees in one solution.
    for (explicit, stiff) in [(&TSIT54, &RODAS5P), (&TSIT54, &RODAS4), (&VERN76, &RODAS5P), (&BS32, &RODAS5P)]
    {
        let (mut save, mut dense) = (SaveAt::new(&times), DenseSolution::new());
        // Low order takes short steps, far from its stability limit.
        let tol = if explicit.name == "bs32" { 1e-3 } else { 1e-6 };
        let mut auto = Auto::new(explicit, stiff, 1, 1, &Options::tolerances(tol, tol)).unwrap();
        let r = auto.run(&mut f, (0.0, 20.0), &[1.5], &[], &mut (&mut save, &mut dense)).unwrap();
        assert!(r.ok() && auto.switches().len() >= 2, "{} {} {r:?}", explicit.name, stiff.name);
        for (i, &t) in times.iter().enumerate() {
            let (a, b) = (dense.at(t).unwrap()[0], save.state(i)[0]);
            assert!((a - b).abs() < 1e-12, "{} {} at {t}: {a} {b}", explicit.name, stiff.name);
        }
    }
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 1, 1, &Options::tolerances(1e-6, 1e-6)).unwrap();
    let r = auto.run(&mut f, (0.0, 20.0), &[1.5], &[], &mut (&mut save, &mut every, watch)).unwrap();
    let s = auto.switches();
    assert!(r.stop == OdeStop::Finished && s.len() >= 2, "{r:?} {s:?}");
    assert!(s[0].to_stiff && s[0].t < 1.0 && !s[1].to_stiff && s[1].t > 1.0, "{s:?}");
    assert_eq!(indices, (0..r.counts.accepted).collect::<Vec<_>>());
    assert_eq!(every.times().len() as u64, r.counts.accepted + 1);
    assert!(every.times().windows(2).all(|w| w[1] > w[0]) && every.times()[every.times().len() - 1] == 20.0);
    assert!(times[1..].iter().enumerate().all(|(i, t)| (save.state(i + 1)[0] - t.cos()).abs() < 1e-4));
    assert!(r.counts.accepted < 300, "{r:?}");

    // Not stiff: never leaves the explicit method.
    let mut lv = Differences::of(common::lotka_volterra());
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 2, 1, &Options::tolerances(1e-6, 1e-6)).unwrap();
    let r = auto.run(&mut lv, (0.0, 10.0), &[1.0, 1.0], &[1.5, 1.0, 3.0, 1.0], &mut ()).unwrap();
    assert!(auto.switches().is_empty() && r.stiff_at.is_none() && r.counts.jacobians == 0);
    let explicit = solve(
        &mut lv,
        &TSIT54,
        &Options::tolerances(1e-6, 1e-6),
        (0.0, 10.0),
        &[1.0, 1.0],
        &[1.5, 1.0, 3.0, 1.0],
        &[],
    )
    .unwrap();
    assert_eq!(auto.y(), explicit.y1);
    // The limit on steps is one for all parts; a sink may stop in either.
    let pr = Stiff::by_name("vdp 1e3");
    let few = Options { max_steps: 300, ..tolerances(1e-6) };
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 2, 1, &few).unwrap();
    let r = auto.run(&mut field(pr), (0.0, pr.t1), pr.y0, pr.p, &mut ()).unwrap();
    assert_eq!((r.stop, r.counts.accepted + r.counts.rejected), (OdeStop::MaxSteps, 300));
    let mut ev = Events::new().when(Crossing::Any, AtEvent::Stop, |t, _: &[f64]| t - 500.0);
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 2, 1, &tolerances(1e-6)).unwrap();
    let r = auto.run(&mut field(pr), (0.0, pr.t1), pr.y0, pr.p, &mut ev).unwrap();
    assert!(r.stop == OdeStop::Stopped && (r.t - 500.0).abs() < 1e-9, "{r:?}");
}

#[test]
fn a_stiff_ensemble_does_not_depend_on_the_number_of_threads() {
    // Robertson's problem with 40 rate constants: the steps differ from one trajectory to the next.
    let pr = Stiff::by_name("robertson");
    let count = 40;
    let y0 = pr.y0.repeat(count);
    let rates: Vec<f64> =
        (0..count).flat_map(|i| pr.p.iter().map(move |p| p * 1.2f64.powi(i as i32 - 20))).collect();
    let (o, span, times) = (tolerances(1e-6), (0.0, 1e3), [1.0, 40.0, 1e3]);
    let go = |threads: usize, params| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| solve_ensemble(&RODAS5P, &o, || field(pr), span, &y0, params, &times)).unwrap()
    };
    let one = go(1, Params::Each(&rates));
    assert_eq!(one.failed().count(), 0);
    for threads in [2, 5] {
        let many = go(threads, Params::Each(&rates));
        assert_eq!((&one.y1, &one.saved, &one.reports), (&many.y1, &many.saved, &many.reports));
    }
    // Each is the trajectory one gets alone, with its own steps; the counts are sums of all.
    let mut sum = OdeCounts::default();
    for i in 0..count {
        let s = solve(&mut field(pr), &RODAS5P, &o, span, pr.y0, &rates[3 * i..3 * i + 3], &times).unwrap();
        assert_eq!((&s.y1[..], s.states()), (&one.y1[3 * i..3 * i + 3], &one.saved[9 * i..9 * i + 9]));
        assert_eq!(s.report, one.reports[i]);
        sum += s.report.counts;
    }
    assert_eq!(one.counts(), sum);
    assert!(sum.jacobians > 0 && sum.factorizations > 0);
    assert_ne!(one.reports[0].counts.accepted, one.reports[39].counts.accepted);
    let shared = go(2, Params::Shared(pr.p));
    assert!(shared.y1.chunks(3).all(|y| y == &shared.y1[..3]));
    // Bad input.
    let bad = |o: &Options, y0: &[f64], p, save: &[f64]| {
        solve_ensemble(&RODAS5P, o, || field(pr), span, y0, p, save).map(|_| ()).unwrap_err().to_string()
    };
    assert!(bad(&o, &y0[..4], Params::Shared(pr.p), &[]).contains("the start of an ensemble"));
    assert!(bad(&o, &y0, Params::Each(pr.p), &[]).contains("the parameter matrix"));
    assert!(bad(&o, &y0, Params::Shared(pr.p), &[2e3]).contains("outside the span"));
    assert!(bad(&Options::tolerances(-1.0, 1.0), &y0, Params::Shared(pr.p), &[]).contains("rtol"));
}

#[test]
fn between_very_stiff_steps_the_longest_step_rules_the_error() {
    // As the documents of StiffIntegrator say: the ends are exact, the interpolant is not controlled.
    let mut f = FnMap::new(1, 0, |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = -1e9 * (y[0] - t.cos()) - t.sin()
    })
    .with_jacobian(|_: f64, _: &[f64], _: &[f64], j: &mut [f64]| j[0] = -1e9);
    for (max_step, inside) in [(f64::INFINITY, 1e-3), (0.1, 1e-7)] {
        let o = Options { max_step, ..Options::tolerances(1e-6, 1e-6) };
        let times: Vec<f64> = (0..=40).map(|i| 0.05 * i as f64).collect();
        let s = solve(&mut f, &RODAS5P, &o, (0.0, 2.0), &[1.0], &[], &times).unwrap();
        let worst =
            times.iter().enumerate().map(|(i, t)| (s.state(i)[0] - t.cos()).abs()).fold(0.0, f64::max);
        println!("{max_step}: {worst:.1e} between, {:.1e} at the end", (s.y1[0] - 2f64.cos()).abs());
        assert!(worst < inside && (s.y1[0] - 2f64.cos()).abs() < 1e-10);
    }
}
