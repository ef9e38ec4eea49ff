//! Events beyond a bouncing ball, hard starts, failures of the user's code, controllers.

mod common;

use std::ops::ControlFlow;

use common::lotka_volterra;
use costate::adjoint::{Adjoint, Bars, Memory};
use costate::diff::{FnMap, Map};
use costate::ode::*;

const P: [f64; 4] = [1.5, 1.0, 3.0, 1.0];

fn circle() -> impl Map<f64> {
    FnMap::new(2, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| {
        dy[0] = p[0] * y[1];
        dy[1] = -p[0] * y[0];
    })
    .with_vjp(|_, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        yb[0] -= p[0] * w[1];
        yb[1] += p[0] * w[0];
        pb[0] += w[0] * y[1] - w[1] * y[0];
    })
}

#[test]
fn recorded_events_change_nothing() {
    let o = Options::tolerances(1e-8, 1e-8);
    let plain = solve(&mut lotka_volterra(), &TSIT54, &o, (0.0, 10.0), &[1.0, 1.0], &P, &[]).unwrap();
    let mut it = Integrator::new(&TSIT54, 2, 1, &o).unwrap();
    let mut ev = Events::new().when(Crossing::Any, AtEvent::Record, |_, y: &[f64]| y[0] - 2.0).when(
        Crossing::Rising,
        AtEvent::Record,
        |_, y: &[f64]| y[1] - y[0],
    );
    let r = it.run(&mut lotka_volterra(), (0.0, 10.0), &[1.0, 1.0], &P, &mut ev).unwrap();
    assert_eq!(r.counts, plain.report.counts);
    assert_eq!(it.y(), &plain.y1[..]);
    assert!(ev.happened().len() >= 6);
    assert!(ev.happened().windows(2).all(|w| w[0].t < w[1].t));
    for o in ev.happened() {
        let g = if o.event == 0 { o.y[0] - 2.0 } else { o.y[1] - o.y[0] };
        assert!(g.abs() < 1e-12, "{o:?}");
    }

    // The discrete adjoint is that of the steps.
    let mut a = Adjoint::new(&TSIT54, 2, 1, &o, Memory::States).unwrap();
    let mut gradient = |sink: &mut dyn StepSink<f64>| {
        a.forward(&mut circle(), (0.0, 3.0), &[0.0, 1.0], &[1.3], &mut { sink }).unwrap();
        let (mut yb, mut pb) = ([0.0; 2], [0.0]);
        a.reverse(&mut circle(), &[1.3], &Bars { y1: &[1.0, 2.0], ..Bars::default() }, &mut yb, &mut pb)
            .unwrap();
        (yb, pb)
    };
    let mut ev = Events::new().when(Crossing::Any, AtEvent::Record, |_, y: &[f64]| y[1]);
    assert_eq!(gradient(&mut ()), gradient(&mut ev));
    assert_eq!(ev.happened().len(), 1);
}

#[test]
fn many_events_in_one_step() {
    // y' = 1 in one step of length 10: recorded zeros of t - 1/8, t - 1/4 (a mark) and t - 9.99, in order.
    let mut f = FnMap::new(1, 0, |_, _: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = 1.0);
    let mut it = Integrator::new(&TSIT54, 1, 1, &Options::fixed(10.0)).unwrap();
    let mut ev = Events::new();
    for t in [9.99, 2.5, 1.25] {
        ev = ev.when(Crossing::Rising, AtEvent::Record, move |_, y: &[f64]| y[0] - t);
    }
    let r = it.run(&mut f, (0.0, 10.0), &[0.0], &[], &mut ev).unwrap();
    assert_eq!(r.counts.accepted, 1);
    let found: Vec<_> = ev.happened().iter().map(|o| o.event).collect();
    assert_eq!(found, [2, 1, 0]);
    for (o, t) in ev.happened().iter().zip([1.25, 2.5, 9.99]) {
        assert!((o.t - t).abs() < 1e-13);
    }
}

#[test]
fn events_at_the_same_time_all_fire() {
    let mut it = Integrator::new(&DOP853, 2, 1, &Options::tolerances(1e-10, 1e-10)).unwrap();
    let mut handled = 0;
    let mut every = EveryStep::new();
    let mut ev = Events::new()
        .when(Crossing::Falling, AtEvent::Record, |_, y: &[f64]| y[0])
        .when(Crossing::Falling, AtEvent::Handle, |_, y: &[f64]| y[0])
        .when(Crossing::Falling, AtEvent::Handle, |_, y: &[f64]| 2.0 * y[0])
        .on_event(|o, y| {
            // The second handler sees what the first one did.
            assert_eq!(y[1], o.y[1] * 0.5f64.powi(handled));
            handled += 1;
            y[1] *= 0.5;
            ControlFlow::Continue(())
        });
    it.run(&mut circle(), (0.0, 4.0), &[0.0, 1.0], &[1.0], &mut (&mut ev, &mut every)).unwrap();
    let at = every.times().iter().position(|&t| t == ev.happened()[0].t).unwrap();
    assert_eq!(every.state(at), ev.happened()[2].y, "the state before the change");
    assert_eq!(ev.happened().iter().map(|o| o.event).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(ev.happened().iter().all(|o| (o.t - std::f64::consts::PI).abs() < 1e-9));
    drop(ev);
    assert_eq!(handled, 2);
    // A quarter of the speed is left: y0 = -sin(t - pi) / 4.
    assert!((it.y()[0] + 0.25 * (4.0f64 - std::f64::consts::PI).sin()).abs() < 1e-8);
}

#[test]
fn an_event_to_handle_needs_a_handler() {
    let mut it = Integrator::new(&TSIT54, 2, 1, &Options::default()).unwrap();
    let mut ev = Events::new().when(Crossing::Any, AtEvent::Handle, |_, y: &[f64]| y[0]);
    let e = it.run(&mut circle(), (0.0, 1.0), &[0.0, 1.0], &[1.0], &mut ev).unwrap_err();
    assert_eq!(e.to_string(), "an event is to be handled and there is no handler: give one with on_event");
}

#[test]
fn hard_starts() {
    // From zero, where there is no scale, and far from t = 0 in single precision: the first step must move t.
    let mut f = FnMap::new(1, 0, |_, y: &[f32], _: &[f32], dy: &mut [f32]| dy[0] = 1.0 - y[0]);
    let o = Options::tolerances(1e-4, 1e-5);
    let s = solve(&mut f, &TSIT54, &o, (1e5f32, 1e5 + 8.0), &[0.0], &[], &[]).unwrap();
    assert!(s.report.ok(), "{}", s.report.message());
    assert!((s.y1[0] - (1.0 - (-8.0f32).exp())).abs() < 1e-3);
    // A zero of the start with a zero absolute tolerance.
    let mut f = FnMap::new(1, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = 1.0 - y[0]);
    for tab in Tableau::all() {
        let s = solve(&mut f, tab, &Options::tolerances(1e-6, 0.0), (0.0, 1.0), &[0.0], &[], &[]).unwrap();
        assert!(s.report.ok(), "{}: {}", tab.name, s.report.message());
        assert!((s.y1[0] - (1.0 - (-1.0f64).exp())).abs() < 1e-5, "{}", tab.name);
    }
    // Nothing moves.
    let mut f = FnMap::new(1, 0, |_, _: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = 0.0);
    let s = solve(&mut f, &TSIT54, &Options::default(), (0.0, 1e6), &[0.0], &[], &[]).unwrap();
    assert!(s.report.ok() && s.report.counts.accepted < 30, "{:?}", s.report);
}

#[test]
fn a_fixed_step_that_is_not_finite_says_so() {
    let mut f = FnMap::new(1, 0, |t: f64, _: &[f64], _: &[f64], dy: &mut [f64]| dy[0] = (1.05 - t).sqrt());
    let r = solve(&mut f, &TSIT54, &Options::fixed(0.1), (0.0, 2.0), &[1.0], &[], &[]).unwrap().report;
    assert_eq!((r.stop, r.counts.accepted), (OdeStop::NotFinite, 10));
    assert!(
        r.message().contains("fixed step 1.000e-1 met values that are not finite at t = 1.0"),
        "{}",
        r.message()
    );
}

#[test]
fn controllers_keep_the_error_at_the_tolerance() {
    let exact = solve(
        &mut lotka_volterra(),
        &DOP853,
        &Options::tolerances(1e-13, 1e-13),
        (0.0, 10.0),
        &[1.0, 1.0],
        &P,
        &[],
    )
    .unwrap()
    .y1;
    let run = |controller| {
        let o = Options { controller, ..Options::tolerances(1e-7, 1e-7) };
        let s = solve(&mut lotka_volterra(), &TSIT54, &o, (0.0, 10.0), &[1.0, 1.0], &P, &[]).unwrap();
        (s.report.counts, (s.y1[0] - exact[0]).hypot(s.y1[1] - exact[1]))
    };
    let controllers = [
        Controller::default(),
        Controller::i(),
        Controller::pi(0.2, 0.65),
        Controller::pid(0.2, 0.3, 0.05),
        Controller { safety: 0.5, ..Controller::i() },
    ];
    for c in controllers {
        let (counts, error) = run(c);
        assert!(error < 1e-5, "{c:?}: {error:e}");
        assert!(counts.accepted < 300, "{c:?}: {counts:?}");
    }
    assert!(run(controllers[4]).0.rejected < run(controllers[1]).0.rejected, "safety is for that");
    let slow = Controller { max_factor: 1.01, ..Controller::i() };
    let mut every = EveryStep::new();
    let o = Options { controller: slow, ..Options::tolerances(1e-7, 1e-7) };
    let mut it = Integrator::new(&TSIT54, 2, 1, &o).unwrap();
    it.run(&mut lotka_volterra(), (0.0, 1.0), &[1.0, 1.0], &P, &mut every).unwrap();
    let h: Vec<f64> = every.times().windows(2).map(|w| w[1] - w[0]).collect();
    assert!(h.windows(2).rev().skip(1).all(|w| w[1] <= 1.01 * w[0] * (1.0 + 1e-9)));
}

#[test]
fn options_out_of_range() {
    let go = |o: Options| Integrator::<f64>::new(&TSIT54, 1, 1, &o).unwrap_err().to_string();
    let c = Controller::default();
    let with = |controller| Options { controller, ..Options::default() };
    assert_eq!(
        go(with(Controller { beta: f64::NAN, ..c })),
        "option controller beta is NaN: it must be finite"
    );
    assert_eq!(
        go(with(Controller { max_factor: f64::INFINITY, ..c })),
        "option max_factor is inf: it must be more than 1 and finite"
    );
    assert_eq!(
        go(Options { first_step: Some(0.01), min_step: 0.1, ..Options::default() }),
        "option first_step is 0.01: it must be at least min_step"
    );
    assert_eq!(
        go(Options { min_step: 0.1, ..Options::fixed(0.2) }),
        "option min_step is 0.1: it must be zero with a fixed step"
    );
    assert_eq!(
        go(Options { max_steps: 0, ..Options::default() }),
        "option max_steps is 0: it must be at least one"
    );
    assert_eq!(
        Integrator::<f64>::new(&TSIT54, 0, 1, &Options::default()).unwrap_err().to_string(),
        "a state of 0 components and a batch of 1 is empty"
    );
}

#[test]
fn a_pullback_that_panics_is_an_error_and_no_old_pass_is_transposed() {
    let mut calls = 0;
    let mut f = FnMap::new(1, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| {
        dy[0] = if y[0] > 5.0 { panic!("too large") } else { y[0] }
    })
    .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], _: &mut [f64]| {
        calls += 1;
        assert!(calls != 8, "call {calls}");
        yb[0] += w[0];
    });
    for memory in [Memory::Stages, Memory::States, Memory::Every(2), Memory::Checkpoints(2)] {
        let mut a = Adjoint::new(&TSIT54, 1, 1, &Options::tolerances(1e-8, 1e-8), memory).unwrap();
        let bars = Bars { y1: &[1.0], ..Bars::default() };
        let mut pass = |a: &mut Adjoint<f64>, t1: f64| {
            a.forward(&mut f, (0.0, t1), &[1.0], &[], &mut ())?;
            let mut yb = [0.0];
            a.reverse(&mut f, &[], &bars, &mut yb, &mut [])?;
            Ok::<f64, OdeError>(yb[0])
        };
        if memory == Memory::Stages {
            assert_eq!(pass(&mut a, 1.0).unwrap_err().to_string(), "the vector field panicked: call 8");
        }
        assert!((pass(&mut a, 1.0).unwrap() - 1f64.exp()).abs() < 1e-6, "{memory:?}");
        assert_eq!(pass(&mut a, 3.0).unwrap_err().to_string(), "the vector field panicked: too large");
        let e = a.reverse(&mut circle(), &[1.0], &bars, &mut [0.0], &mut [0.0]).unwrap_err().to_string();
        assert!(e.contains("no step"), "{e}");
        assert!((pass(&mut a, 1.0).unwrap() - 1f64.exp()).abs() < 1e-6, "{memory:?}");
    }
}

#[test]
fn short_states_have_the_same_bits_by_every_way() {
    // The forward pass has kernels of its own for them, the recomputed steps of the adjoint do not.
    let o = Options::tolerances(1e-6, 1e-7);
    for tab in Tableau::all() {
        let pass = |memory| {
            let mut a = Adjoint::new(tab, 2, 1, &o, memory).unwrap();
            a.forward(&mut circle(), (0.0, 3.0), &[0.0, 1.0], &[1.3], &mut ()).unwrap();
            let again = a.replay(&mut circle(), &[1.3], &[0.0, 1.0], &[]).unwrap();
            assert_eq!(again.y1, a.y(), "{} {memory:?}", tab.name);
            let bars = Bars { y1: &[1.0, 2.0], error: &vec![0.5; a.tape().len()], ..Bars::default() };
            let (mut yb, mut pb) = ([0.0; 2], [0.0]);
            a.reverse(&mut circle(), &[1.3], &bars, &mut yb, &mut pb).unwrap();
            (yb, pb, a.y().to_vec(), again.error)
        };
        let all = pass(Memory::Stages);
        for memory in [Memory::States, Memory::Every(3), Memory::Checkpoints(2)] {
            assert_eq!(all, pass(memory), "{} {memory:?}", tab.name);
        }
        let mut errors = vec![];
        let watch = FnSink(|s: &mut Step<'_, f64>| {
            errors.push(s.error());
            ControlFlow::Continue(())
        });
        let mut it = Integrator::new(tab, 2, 1, &o).unwrap();
        it.run(&mut circle(), (0.0, 3.0), &[0.0, 1.0], &[1.3], &mut { watch }).unwrap();
        assert_eq!(errors, all.3, "{}", tab.name);
    }
}

/// A fall with drag, v' = -10 + 0.01 v^2, from 1000 to the ground: y = 1000 - 100 ln cosh(t sqrt(0.1)), at 0 where cosh = e^10.
#[test]
fn event_points_are_among_the_saved_ones() {
    let mut fall = FnMap::new(2, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| {
        (dy[0], dy[1]) = (y[1], -10.0 + 0.01 * y[1] * y[1]);
    });
    let ground = 10f64.exp().acosh() / 0.1f64.sqrt();
    assert!((ground - 33.8147004443477).abs() < 1e-10);
    let half = 5f64.exp().acosh() / 0.1f64.sqrt();
    let times: Vec<f64> = (0..100).map(|i| 40.0 * i as f64 / 99.0).collect();
    for action in [AtEvent::Record, AtEvent::Stop] {
        let mut events = Events::new().when(Crossing::Any, action, |_, y: &[f64]| y[0]).when(
            Crossing::Falling,
            AtEvent::Record,
            |_, y: &[f64]| y[0] - 500.0,
        );
        let mut saved = SaveAt::new(&times).with_events();
        let mut it = Integrator::new(&TSIT54, 2, 1, &Options::tolerances(1e-9, 1e-9)).unwrap();
        // Twice: the second run begins with the times asked for.
        for _ in 0..2 {
            let r = it.run(&mut fall, (0.0, 40.0), &[1000.0, 0.0], &[], &mut (&mut events, &mut saved));
            assert!(r.unwrap().ok());
        }
        assert_eq!(saved.times().len(), 102);
        let marked: Vec<(usize, usize)> =
            (0..saved.len()).filter_map(|i| Some((i, saved.event(i)?))).collect();
        assert_eq!(marked.iter().map(|m| m.1).collect::<Vec<_>>(), [1, 0]);
        for (&(i, event), (t, y)) in marked.iter().zip([(half, 500.0), (ground, 0.0)]) {
            assert!((saved.times()[i] - t).abs() < 1e-7 && (saved.state(i)[0] - y).abs() < 1e-6, "{event}");
            assert!(saved.times()[i - 1] < t && (i + 1 == saved.len() || saved.times()[i + 1] > t));
        }
        let reached = if action == AtEvent::Stop { marked[1].0 + 1 } else { 102 };
        assert_eq!(saved.len(), reached);
    }
}
