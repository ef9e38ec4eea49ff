//! The discrete adjoint through a terminal event: against finite differences of the whole program, whose event moves.

#[path = "common/adjoint.rs"]
mod adjoint;

use std::ops::ControlFlow;

use adjoint::central;
use costate::adjoint::*;
use costate::diff::{FnMap, Formula, Map, Number, Size};
use costate::expr::formula;
use costate::ode::*;

/// y0' = p0 y1 + p2 sin(t), y1' = -p1 sin y0 + p2 y1 cos(t).
struct Pendulum;

impl Formula<f64> for Pendulum {
    fn size(&self) -> Size {
        Size::field(2, 3)
    }
    fn eval<D: Number<f64>>(&self, t: D, y: &[D], p: &[D], dy: &mut [D]) {
        dy[0] = p[0] * y[1] + p[2] * t.sin();
        dy[1] = -p[1] * y[0].sin() + p[2] * y[1] * t.cos();
    }
}

const X: [f64; 7] = [0.9, 0.1, -0.4, 0.6, 1.1, 1.7, 0.3];
const W: [f64; 4] = [0.7, -0.4, 0.3, 0.9];
const TIMES: [f64; 2] = [0.3, 0.55];
const SAVED: [f64; 8] = [0.2, 0.5, -0.3, 0.1, 0.8, -0.6, 0.4, -0.9];
/// dL/dt_e, and dL/dE_j for the steps (there are fewer than ten).
const T_BAR: f64 = 0.6;
const E_BAR: [f64; 10] = [0.5, -0.3, 0.2, 0.7, -0.1, 0.4, 0.3, -0.6, 0.8, 0.1];

/// g(t, y, p) of a batch of two: dg/dt = 0.2, dg/dy, dg/dp = (-0.3, 0, y1 of the first).
fn g(t: f64, y: &[f64], p: &[f64]) -> f64 {
    y[0] + 0.1 * y[3] * y[3] + 0.2 * t - 0.3 * p[0] + y[1] * p[2]
}

fn event<'f>(p: [f64; 3]) -> Events<'f, f64> {
    Events::new().when(Crossing::Falling, AtEvent::Stop, move |t, y: &[f64]| g(t, y, &p))
}

/// Steps of 0.2 whatever the start: the event is inside a step. E is u over the tolerances: with tight ones its rounding shows in differences.
fn options() -> Options {
    Options { fixed_step: Some(0.2), ..Options::tolerances(1e-3, 1e-3) }
}

/// Errors and saved states of a run.
struct Seen(Vec<f64>, SaveAt<f64>);

fn loss(seen: &Seen, report: &OdeReport, y: &[f64]) -> f64 {
    assert_eq!(report.stop, OdeStop::Stopped);
    assert!(report.t > 0.6 && (report.t / 0.2).fract() > 0.1, "{}", report.t);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(y, &W) + T_BAR * report.t + dot(&seen.0, &E_BAR) + dot(seen.1.states(), &SAVED)
}

/// The loss as a function of start and parameters: `run` integrates with the sinks it is given.
fn value(x: &[f64], run: impl Fn(&[f64], &[f64], &mut dyn StepSink<f64>) -> (OdeReport, Vec<f64>)) -> f64 {
    let (y0, p) = x.split_at(4);
    let mut seen = Seen(vec![], SaveAt::new(&TIMES));
    let (report, y) = {
        let errors = FnSink(|s: &mut Step<'_, f64>| {
            seen.0.push(s.error());
            ControlFlow::Continue(())
        });
        run(y0, p, &mut (event([p[0], p[1], p[2]]), errors, &mut seen.1))
    };
    loss(&seen, &report, &y)
}

/// Largest error of the gradient against fourth-order differences, relative to the largest entry.
fn far(gradient: &[f64], value: impl Fn(&[f64]) -> f64) -> f64 {
    let size = gradient.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let d = 1e-3;
    let errors = (0..7).map(|i| {
        let at = |e: f64| {
            let mut x = X;
            x[i] += e;
            value(&x)
        };
        let fd = central(d, at);
        (fd - gradient[i]).abs() / size
    });
    errors.fold(0.0, f64::max)
}

/// Bars of the event at y, for a tape of so many steps.
fn with_bars<R>(y: &[f64], steps: usize, f: impl FnOnce(&Bars<'_, f64>, &EventBars<'_, f64>) -> R) -> R {
    let p = &X[4..];
    let event = EventBars { g_t: 0.2, g_y: &[1.0, p[2], 0.0, 0.2 * y[3]], g_p: &[-0.3, 0.0, y[1]], t: T_BAR };
    f(&Bars { y1: &W, times: &TIMES, saved: &SAVED, error: &E_BAR[..steps], ..Bars::default() }, &event)
}

const POLICIES: [Memory; 4] = [Memory::Stages, Memory::States, Memory::Every(3), Memory::Checkpoints(2)];

/// Adjoint and integrator of explicit and of Rosenbrock steps have the same shape.
macro_rules! check_gradients {
    ($tableau:ident, $integrator:ident, $adjoint:ident) => {{
        let mut field = formula(Pendulum).unwrap();
        for tab in $tableau::all() {
            let value = |x: &[f64]| {
                value(x, |y0, p, sinks| {
                    let mut it = $integrator::new(tab, 2, 2, &options()).unwrap();
                    let report =
                        it.run(&mut formula(Pendulum).unwrap(), (0.0, 5.0), y0, p, &mut { sinks }).unwrap();
                    (report, it.y().to_vec())
                })
            };
            let mut first: Option<Vec<f64>> = None;
            for memory in POLICIES {
                let mut a = $adjoint::new(tab, 2, 2, &options(), memory).unwrap();
                let p = [X[4], X[5], X[6]];
                a.forward(&mut field, (0.0, 5.0), &X[..4], &p, &mut event(p)).unwrap();
                let (mut yb, mut pb) = ([0.0; 4], [0.0; 3]);
                let (y, steps) = (a.y().to_vec(), a.tape().len());
                with_bars(&y, steps, |bars, event| {
                    a.reverse_event(&mut field, &p, bars, event, &mut yb, &mut pb).unwrap();
                });
                let gradient = [&yb[..], &pb[..]].concat();
                match &first {
                    Some(g) => assert_eq!(g, &gradient, "{} {memory:?}", tab.name),
                    None => {
                        let e = far(&gradient, value);
                        println!("{}: {e:.1e}", tab.name);
                        assert!(e < 1e-8, "{}: {e:e}", tab.name);
                        first = Some(gradient);
                    }
                }
            }
        }
    }};
}

#[test]
fn explicit_steps() {
    check_gradients!(Tableau, Integrator, Adjoint);
}

#[test]
fn rosenbrock_steps() {
    check_gradients!(RosenbrockTableau, StiffIntegrator, StiffAdjoint);
}

#[test]
fn a_falling_stone_hits_the_ground_when_it_should() {
    // y'' = -p from height y0 at rest: t_e = sqrt(2 y0 / p), speed -sqrt(2 y0 p); dt_e/dy0 = t_e / (2 y0), dt_e/dp = -t_e / (2 p).
    let mut field =
        FnMap::new(2, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| dy.copy_from_slice(&[y[1], -p[0]]))
            .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
                yb[1] += w[0];
                pb[0] -= w[1];
            });
    let (height, p) = (3.0f64, 9.81f64);
    let mut ground = Events::new().when(Crossing::Falling, AtEvent::Stop, |_, y: &[f64]| y[0]);
    let mut a = Adjoint::new(&TSIT54, 2, 1, &Options::default(), Memory::States).unwrap();
    let t = a.forward(&mut field, (0.0, 9.0), &[height, 0.0], &[p], &mut ground).unwrap().t;
    let (mut yb, mut pb) = ([0.0; 2], [0.0]);
    let event = EventBars { g_t: 0.0, g_y: &[1.0, 0.0], g_p: &[], t: 1.0 };
    a.reverse_event(&mut field, &[p], &Bars::default(), &event, &mut yb, &mut pb).unwrap();
    assert!((t - (2.0 * height / p).sqrt()).abs() < 1e-12);
    assert!(
        (yb[0] - t / (2.0 * height)).abs() < 1e-12 && (pb[0] + t / (2.0 * p)).abs() < 1e-12,
        "{yb:?} {pb:?}"
    );
    // The speed there, whatever the time: d/dy0 = -sqrt(p / (2 y0)).
    let (event, speed) = (EventBars { t: 0.0, ..event }, Bars { y1: &[0.0, 1.0], ..Bars::default() });
    pb = [0.0];
    a.reverse_event(&mut field, &[p], &speed, &event, &mut yb, &mut pb).unwrap();
    assert!((yb[0] + (p / (2.0 * height)).sqrt()).abs() < 1e-12, "{yb:?}");
    assert!((pb[0] + (height / (2.0 * p)).sqrt()).abs() < 1e-12, "{pb:?}");
}

#[test]
fn what_is_not_defined_is_refused_with_one_sentence() {
    let mut field = formula(Pendulum).unwrap();
    let p = [X[4], X[5], X[6]];
    let mut a = Adjoint::new(&TSIT54, 2, 2, &options(), Memory::States).unwrap();
    let (mut yb, mut pb) = ([0.0; 4], [0.0; 3]);
    let flat = EventBars { g_t: 0.0, g_y: &[0.0; 4], g_p: &[], t: 1.0 };
    // The event's time would be taken as fixed.
    a.forward(&mut field, (0.0, 5.0), &X[..4], &p, &mut event(p)).unwrap();
    let e = a.reverse(&mut field, &p, &Bars::default(), &mut yb, &mut pb).unwrap_err().to_string();
    assert!(e.contains("give its derivatives to reverse_event"), "{e}");
    let e = a.replay(&mut field, &p, &X[..4], &[]).unwrap_err().to_string();
    assert!(e.contains("terminal event"), "{e}");
    let short = EventBars { g_y: &[0.0; 3], ..flat };
    let e =
        a.reverse_event(&mut field, &p, &Bars::default(), &short, &mut yb, &mut pb).unwrap_err().to_string();
    assert_eq!(e, "the event's derivative by y has length 3, expected 4");
    // An event function that does not move.
    let e =
        a.reverse_event(&mut field, &p, &Bars::default(), &flat, &mut yb, &mut pb).unwrap_err().to_string();
    assert!(e.contains("its time has no derivative"), "{e}");
    // Events that end a step before the last, and events that change the state.
    let handled = |change: f64| {
        Events::new().when(Crossing::Any, AtEvent::Handle, |t, _: &[f64]| t - 0.5).on_event(move |_, y| {
            y[0] += change;
            ControlFlow::Continue(())
        })
    };
    for change in [0.0, 1.0] {
        a.forward(&mut field, (0.0, 1.0), &X[..4], &p, &mut handled(change)).unwrap();
        for event in [None, Some(&flat)] {
            let e = match event {
                None => a.reverse(&mut field, &p, &Bars::default(), &mut yb, &mut pb),
                Some(event) => a.reverse_event(&mut field, &p, &Bars::default(), event, &mut yb, &mut pb),
            };
            let e = e.unwrap_err().to_string();
            assert!(e.contains("terminal events only"), "{e}");
        }
    }
    // The next pass starts afresh.
    a.forward(&mut field, (0.0, 1.0), &X[..4], &p, &mut ()).unwrap();
    a.reverse(&mut field, &p, &Bars::default(), &mut yb, &mut pb).unwrap();
}
