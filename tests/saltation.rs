//! Gradients through events that change the state, or end the integration at a time that counts.

#[path = "common/adjoint.rs"]
mod adjoint;

use adjoint::{central, dot, noise};
use costate::adjoint::{Adjoint, Bars, Jumps, Memory, Reverse, Transpose};
use costate::diff::{Differences, FnMap, Formula, Map, Number, Size};
use costate::expr::{Formulated, formula};
use costate::ode::*;

const POLICIES: [Memory; 5] =
    [Memory::States, Memory::Stages, Memory::Every(1), Memory::Every(4), Memory::Checkpoints(3)];

/// A map with its derivatives by formulas given as closures: value, vjp.
fn map(
    (inputs, outputs, n_params): (usize, usize, usize),
    value: impl FnMut(f64, &[f64], &[f64], &mut [f64]),
    vjp: impl FnMut(f64, &[f64], &[f64], &[f64], &mut [f64], &mut [f64]),
) -> impl Map<f64> {
    FnMap::with_outputs(inputs, outputs, n_params, value).with_vjp(vjp).autonomous()
}

/// y_i of n.
fn component(n: usize, i: usize, minus: f64) -> impl Map<f64> {
    map((n, 1, 0), move |_, y, _, g| g[0] = y[i] - minus, move |_, _, _, w, yb, _| yb[i] += w[0])
}

/// y_i becomes c y_i.
fn scale(n: usize, i: usize, c: f64) -> impl Map<f64> {
    let factor = move |k: usize| if k == i { c } else { 1.0 };
    map(
        (n, n, 0),
        move |_, y, _, to| to.iter_mut().zip(y).enumerate().for_each(|(k, (t, y))| *t = factor(k) * y),
        move |_, _, _, w, yb, _| yb.iter_mut().zip(w).enumerate().for_each(|(k, (b, w))| *b += factor(k) * w),
    )
}

/// One integration through the jumps and back: (y(t1), dL/dy0, dL/dp, steps, report).
struct Pass {
    y: Vec<f64>,
    y0_bar: Vec<f64>,
    p_bar: Vec<f64>,
    report: OdeReport,
    tape: usize,
}

#[allow(clippy::too_many_arguments)]
fn pass<D, F>(
    (method, options, memory): (D, &Options, Memory),
    field: &mut F,
    span: (f64, f64),
    (y0, p): (&[f64], &[f64]),
    jumps: &Jumps<'_, f64>,
    times: &[f64],
    (y1_bar, t_bar): (&[f64], f64),
    loss: impl FnOnce(&[f64]) -> Vec<f64>,
) -> Pass
where
    D: Method<f64>,
    F: Map<f64>,
    D::Integrator: Transpose<f64> + Integrate<f64, F>,
    <D::Integrator as Transpose<f64>>::Back: Reverse<f64, F>,
{
    let mut s = Adjoint::new(method, y0.len(), 1, options, memory).unwrap();
    let mut saved = SaveAt::new(times);
    let report = s.forward_jumps(field, span, y0, p, jumps, &mut saved).unwrap();
    let bar = loss(saved.states());
    let bars = Bars { y1: y1_bar, times, saved: &bar, ..Bars::default() };
    let (mut y0_bar, mut p_bar) = (vec![0.0; y0.len()], vec![0.0; p.len()]);
    let (y, tape) = (s.y().to_vec(), s.tape().len());
    s.reverse_jumps(field, p, &bars, jumps, t_bar, &mut y0_bar, &mut p_bar).unwrap();
    Pass { y, y0_bar, p_bar, report, tape }
}

fn close(got: &[f64], want: &[f64], tolerance: f64) {
    println!("{got:?}");
    for (a, b) in got.iter().zip(want) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{got:?} {want:?}");
    }
}

#[test]
fn a_rate_that_an_event_switches_off() {
    // x' = -a, y' = b, from (1, 0), a = 2, b = 1, which x = 0 sets to zero: y(1) = b / a, whatever comes after.
    let mut field = FnMap::new(3, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| {
        dy.copy_from_slice(&[-p[0], y[2], 0.0]);
    })
    .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        pb[0] -= w[0];
        yb[2] += w[1];
    });
    for memory in POLICIES {
        let jumps = Jumps::new().when(Crossing::Falling, component(3, 0, 0.0), scale(3, 2, 0.0));
        let (o, none) = (Options::tolerances(1e-10, 1e-10), |_: &[f64]| vec![]);
        let start = (&[1.0, 0.0, 1.0][..], &[2.0][..]);
        let bars = (&[0.0, 1.0, 0.0][..], 0.0);
        let r = pass((&TSIT54, &o, memory), &mut field, (0.0, 1.0), start, &jumps, &[], bars, none);
        close(&[r.y[1], r.p_bar[0], r.y0_bar[2], r.y0_bar[0]], &[0.5, -0.25, 0.5, 0.5], 1e-12);
    }
}

/// The same by a change of the parameters: x' = -a, y' = b, and at x = 0 b becomes c b (c = 0 above).
#[test]
fn a_parameter_that_an_event_changes() {
    let mut field = FnMap::new(2, 2, |_, _: &[f64], p: &[f64], dy: &mut [f64]| {
        dy.copy_from_slice(&[-p[0], p[1]]);
    })
    .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], _: &mut [f64], pb: &mut [f64]| {
        pb[0] -= w[0];
        pb[1] += w[1];
    });
    let (a, b) = (2.0, 1.0);
    for (memory, c) in POLICIES.into_iter().flat_map(|m| [(m, 0.0), (m, 0.3)]) {
        let jumps = || {
            Jumps::new().when_params(
                Crossing::Falling,
                component(2, 0, 0.0),
                scale(2, 0, 1.0),
                scale(2, 1, c),
            )
        };
        let (o, none) = (Options::tolerances(1e-10, 1e-10), |_: &[f64]| vec![]);
        let start = (&[1.0, 0.0][..], &[a, b][..]);
        for tab in [&TSIT54, &BS32, &VERN87] {
            let (j, bars) = (jumps(), (&[0.0, 1.0][..], 0.0));
            let r = pass((tab, &o, memory), &mut field, (0.0, 1.0), start, &j, &[], bars, none);
            // y = b / a + c b (1 - 1 / a).
            let want = [
                b / a + c * b * (1.0 - 1.0 / a),
                -b / (a * a) + c * b / (a * a),
                1.0 / a + c * (1.0 - 1.0 / a),
            ];
            close(&[r.y[1], r.p_bar[0], r.p_bar[1]], &want, 1e-12);
            assert!((r.y0_bar[0] - (b - c * b) / a).abs() < 1e-12, "{:?}", r.y0_bar);
        }
    }
    // The handler of plain events, twice with one set of events.
    let mut events = Events::new()
        .when(Crossing::Falling, AtEvent::Handle, |_, y: &[f64]| y[0])
        .on_event_with_params(&[a, b], |_, _, p| {
            p[1] = 0.0;
            std::ops::ControlFlow::Continue(())
        });
    for _ in 0..2 {
        let mut it = Integrator::new(&TSIT54, 2, 1, &Options::default()).unwrap();
        it.run(&mut field, (0.0, 1.0), &[1.0, 0.0], &[a, b], &mut events).unwrap();
        assert!((it.y()[1] - 0.5).abs() < 1e-12 && it.y()[0] < -0.9, "{:?}", it.y());
    }
}

/// A field whose parameters an event changes by a nonlinear map, several times, against differences of the whole program.
#[test]
fn changes_of_parameters_against_differences() {
    let make = || {
        FnMap::new(2, 2, |t: f64, y: &[f64], p: &[f64], dy: &mut [f64]| {
            dy[0] = p[0] * y[1] + 0.1 * t.sin();
            dy[1] = -p[1] * y[0] - 0.2 * p[0] * y[1];
        })
        .with_vjp(|_, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            yb[0] -= p[1] * w[1];
            yb[1] += p[0] * w[0] - 0.2 * p[0] * w[1];
            pb[0] += y[1] * w[0] - 0.2 * y[1] * w[1];
            pb[1] -= y[0] * w[1];
        })
    };
    let jumps = || {
        let switch = map(
            (2, 2, 0),
            |_, p, _, to| (to[0], to[1]) = (p[0] * p[1], p[1] + 0.1 * p[0] * p[0]),
            |_, p, _, w, pb, _| {
                pb[0] += p[1] * w[0] + 0.2 * p[0] * w[1];
                pb[1] += p[0] * w[0] + w[1];
            },
        );
        Jumps::new().when_params(Crossing::Any, component(2, 0, 0.2), scale(2, 1, 0.9), switch)
    };
    let o = Options::tolerances(1e-11, 1e-11);
    let loss = |x: &[f64]| {
        let mut s = Adjoint::new(&VERN76, 2, 1, &o, Memory::States).unwrap();
        let j = jumps();
        s.forward_jumps(&mut make(), (0.0, 4.0), &x[..2], &x[2..], &j, &mut ()).unwrap();
        s.y()[0] - 0.5 * s.y()[1]
    };
    let x = [1.0, 0.3, 1.1, 0.9];
    for memory in POLICIES {
        let (j, bars) = (jumps(), (&[1.0, -0.5][..], 0.0));
        let start = (&x[..2], &x[2..]);
        let r = pass((&VERN76, &o, memory), &mut make(), (0.0, 4.0), start, &j, &[], bars, |_| vec![]);
        let got = [r.y0_bar, r.p_bar].concat();
        for (i, got) in got.iter().enumerate() {
            let at = |d: f64| {
                let mut x = x;
                x[i] += d;
                loss(&x)
            };
            let want = (8.0 * (at(1e-3) - at(-1e-3)) - (at(2e-3) - at(-2e-3))) / 12e-3;
            assert!((got - want).abs() < 1e-6 * (1.0 + want.abs()), "{memory:?} {i}: {got} {want}");
        }
    }
}

/// A ball over ground and one between walls, which turns at t = 5, a save time: the state before is saved, or the one after where that is asked for, however the event's time is rounded.
#[test]
fn a_bounce_at_a_save_time() {
    let mut field = FnMap::new(4, 1, |_, y: &[f64], p: &[f64], dy: &mut [f64]| {
        dy.copy_from_slice(&[y[1], -p[0], y[3], 0.0]);
    })
    .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        yb[1] += w[0];
        yb[3] += w[2];
        pb[0] -= w[1];
    });
    let times: Vec<f64> = (0..21).map(|i| 0.5 * i as f64).collect();
    for (memory, after) in POLICIES.into_iter().flat_map(|m| [(m, false), (m, true)]) {
        for tab in [&TSIT54, &BS32, &VERN76] {
            let jumps = Jumps::new().when(Crossing::Falling, component(4, 0, 0.0), scale(4, 1, -1.0)).when(
                Crossing::Rising,
                component(4, 2, 10.0),
                scale(4, 3, -1.0),
            );
            let (jumps, mut saved) = match after {
                true => (jumps.after_events(), SaveAt::new(&times).after_events()),
                false => (jumps, SaveAt::new(&times)),
            };
            let o = Options::tolerances(1e-10, 1e-10);
            let mut s = Adjoint::new(tab, 4, 1, &o, memory).unwrap();
            let (y0, p) = ([50.0, 0.0, 0.0, 2.0], [9.8]);
            s.forward_jumps(&mut field, (0.0, 10.0), &y0, &p, &jumps, &mut saved).unwrap();
            assert_eq!(saved.len(), 21);
            let value: f64 = saved.states().iter().map(|u| 0.5 * (1.0 - u) * (1.0 - u)).sum();
            let bar: Vec<f64> = saved.states().iter().map(|u| u - 1.0).collect();
            let bars = Bars { times: &times, saved: &bar, ..Bars::default() };
            let (mut y0_bar, mut p_bar) = ([0.0; 4], [0.0]);
            s.reverse_jumps(&mut field, &p, &bars, &jumps, 0.0, &mut y0_bar, &mut p_bar).unwrap();
            let (want, last) =
                if after { (16864.6104747906, [-9.0, -112.0]) } else { (16860.6104747906, [9.0, -24.0]) };
            assert!((value - want).abs() < 1e-6, "{} {after}: {value}", tab.name);
            close(&y0_bar, &[630.58525820617, 98.80258275206, last[0], last[1]], 1e-8);
            close(&p_bar, &[218.88688693748], 1e-8);
        }
    }
}

/// A glider: r' = v cos g, h' = v sin g, v' = -D/m - G sin g, g' = -G cos g / v, D = 0.5 1.225 v^2 0.005 p0.
struct Glider;

impl Formula<f64> for Glider {
    fn size(&self) -> Size {
        Size::field(4, 1)
    }
    fn eval<D: Number<f64>>(&self, _: D, y: &[D], p: &[D], dy: &mut [D]) {
        let gravity = 9.80665;
        dy[0] = y[2] * y[3].cos();
        dy[1] = y[2] * y[3].sin();
        dy[2] = -y[2] * y[2] * p[0] * (0.5 * 1.225 * 0.005) - y[3].sin() * gravity;
        dy[3] = -y[3].cos() * gravity / y[2];
    }
}

#[test]
fn the_time_of_landing() {
    let jumps = Jumps::new().stop(Crossing::Falling, component(4, 1, 0.0));
    for memory in POLICIES {
        let o = Options::tolerances(1e-10, 1e-10);
        let start = (&[0.0, 100.0, 5.0, 0.0][..], &[0.5][..]);
        let mut field = formula(Glider).unwrap();
        let none = |_: &[f64]| vec![];
        let r = pass((&TSIT54, &o, memory), &mut field, (0.0, 50.0), start, &jumps, &[], (&[], 1.0), none);
        assert_eq!(r.report.stop, OdeStop::Stopped);
        close(&[r.report.t, r.p_bar[0]], &[4.635803999863, 0.240890], 1e-6);
    }
}

/// y0' = p0 y1 + sin(3 t) / 2, y1' = -p1 sin y0 + p2 y1 cos t.
struct Pendulum;

impl Formula<f64> for Pendulum {
    fn size(&self) -> Size {
        Size::field(2, 3)
    }
    fn eval<D: Number<f64>>(&self, t: D, y: &[D], p: &[D], dy: &mut [D]) {
        dy[0] = p[0] * y[1] + (t * 3.0).sin() * 0.5;
        dy[1] = -p[1] * y[0].sin() + p[2] * y[1] * t.cos();
    }
}

/// g and H that depend on time, state and parameters, with their derivatives by differences of fourth order, or by hand.
fn moving<'m>() -> Jumps<'m, f64> {
    let wall = FnMap::with_outputs(2, 1, 3, |t: f64, y: &[f64], p: &[f64], g: &mut [f64]| {
        g[0] = y[0] + 0.1 * y[1] * y[1] - 0.3 * p[2] - 0.1 * t;
    })
    .with_vjp(|_, y: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        yb[0] += w[0];
        yb[1] += 0.2 * y[1] * w[0];
        pb[2] -= 0.3 * w[0];
    })
    .with_time_derivative(|_, _: &[f64], _: &[f64], d: &mut [f64]| d[0] = -0.1);
    let kick = FnMap::new(2, 3, |t: f64, y: &[f64], p: &[f64], to: &mut [f64]| {
        to[0] = y[0] + 0.2 * (0.7 * t).sin() * p[1];
        to[1] = -0.8 * y[1] + 0.1 * y[0] * y[0];
    })
    .with_vjp(|t: f64, y: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        yb[0] += w[0] + 0.2 * y[0] * w[1];
        yb[1] -= 0.8 * w[1];
        pb[1] += 0.2 * (0.7 * t).sin() * w[0];
    })
    .with_time_derivative(|t: f64, _: &[f64], p: &[f64], d: &mut [f64]| {
        d.copy_from_slice(&[0.14 * (0.7 * t).cos() * p[1], 0.0]);
    });
    // At a fixed time.
    let clock = FnMap::with_outputs(2, 1, 0, |t: f64, _: &[f64], _: &[f64], g: &mut [f64]| g[0] = t - 1.9)
        .with_vjp(|_, _: &[f64], _: &[f64], _: &[f64], _: &mut [f64], _: &mut [f64]| {})
        .with_time_derivative(|_, _: &[f64], _: &[f64], d: &mut [f64]| d[0] = 1.0);
    Jumps::new().when(Crossing::Falling, wall, kick).when(Crossing::Rising, clock, scale(2, 1, 1.3))
}

const TIMES: [f64; 4] = [0.4, 1.3, 1.9, 3.0];

fn check_moving<D>(method: D, name: &str, tolerance: f64)
where
    D: Method<f64>,
    D::Integrator: Transpose<f64> + Integrate<f64, Formulated<Pendulum, f64>>,
    <D::Integrator as Transpose<f64>>::Back: Reverse<f64, Formulated<Pendulum, f64>>,
{
    let o = Options::tolerances(1e-10, 1e-10);
    let x = [0.9, -0.4, 1.1, 1.7, 0.3];
    let (wy, ws) = ([0.7, -0.4], noise(8, 5));
    let mut first: Option<(Vec<f64>, Vec<f64>)> = None;
    for memory in POLICIES {
        let mut field = formula(Pendulum).unwrap();
        let r = pass(
            (method, &o, memory),
            &mut field,
            (0.0, 4.0),
            (&x[..2], &x[2..]),
            &moving(),
            &TIMES,
            (&wy, 0.0),
            |_| ws.clone(),
        );
        assert!(r.report.ok() && r.tape > 10);
        match &first {
            Some(f) => assert_eq!((&f.0, &f.1), (&r.y0_bar, &r.p_bar), "{name} {memory:?}"),
            None => first = Some((r.y0_bar, r.p_bar)),
        }
    }
    let value = |x: &[f64]| {
        let mut s = Adjoint::new(method, 2, 1, &o, Memory::States).unwrap();
        let mut saved = SaveAt::new(&TIMES);
        let mut field = formula(Pendulum).unwrap();
        s.forward_jumps(&mut field, (0.0, 4.0), &x[..2], &x[2..], &moving(), &mut saved).unwrap();
        dot(&wy, s.y()) + dot(&ws, saved.states())
    };
    let Some((yb, pb)) = first else { panic!("no policy") };
    let want: Vec<f64> = (0..5)
        .map(|i| {
            central(1e-3, |d| {
                let mut z = x;
                z[i] += d;
                value(&z)
            })
        })
        .collect();
    println!("{name}");
    close(&[yb, pb].concat(), &want, tolerance);
}

#[test]
fn moving_walls_and_kicks_against_differences_of_the_whole_program() {
    check_moving(&TSIT54, "TSIT54", 1e-7);
    check_moving(&VERN76, "VERN76", 1e-7);
    check_moving(&RODAS5P, "RODAS5P", 1e-7);
    check_moving((&TSIT54, &RODAS5P), "both", 1e-7);
}

#[test]
fn what_has_no_derivative_is_said() {
    let mut field = formula(Pendulum).unwrap();
    let (y0, p, o) = ([0.9, -0.4], [1.1, 1.7, 0.3], Options::tolerances(1e-6, 1e-6));
    let mut s = Adjoint::new(&TSIT54, 2, 1, &o, Memory::States).unwrap();
    // A jump without a product.
    let bare = FnMap::new(2, 0, |_, y: &[f64], _: &[f64], to: &mut [f64]| to.copy_from_slice(y));
    let jumps = Jumps::new().when(Crossing::Any, component(2, 0, 0.0), bare);
    let e = s.forward_jumps(&mut field, (0.0, 4.0), &y0, &p, &jumps, &mut ()).unwrap_err().to_string();
    assert!(e.contains("the jump of event 0") && e.contains("with_vjp"), "{e}");
    // One that may depend on time.
    let timed = FnMap::with_outputs(2, 1, 0, |_, y: &[f64], _: &[f64], g: &mut [f64]| g[0] = y[0])
        .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], yb: &mut [f64], _: &mut [f64]| yb[0] += w[0]);
    let jumps = Jumps::new().when(Crossing::Any, timed, scale(2, 1, -1.0));
    let e = s.forward_jumps(&mut field, (0.0, 4.0), &y0, &p, &jumps, &mut ()).unwrap_err().to_string();
    assert!(e.contains("the function of event 0") && e.contains("autonomous"), "{e}");
    // A handler of which no derivative is known.
    let mut events =
        Events::new().when(Crossing::Any, AtEvent::Handle, |_, y: &[f64]| y[0]).on_event(|_, y| {
            y[1] *= -0.5;
            std::ops::ControlFlow::Continue(())
        });
    s.forward(&mut field, (0.0, 4.0), &y0, &p, &mut events).unwrap();
    let (mut yb, mut pb) = ([0.0; 2], [0.0; 3]);
    let bars = Bars { y1: &[1.0, 0.0], ..Bars::default() };
    let e = s.reverse(&mut field, &p, &bars, &mut yb, &mut pb).unwrap_err().to_string();
    assert!(e.contains("event 0 at t = ") && e.contains("derivatives are not known"), "{e}");
    let e = s.reverse_jumps(&mut field, &p, &bars, &moving(), 0.0, &mut yb, &mut pb).unwrap_err().to_string();
    assert!(e.contains("derivatives are not known"), "{e}");
    // Two at one time.
    let jumps = Jumps::new().when(Crossing::Any, component(2, 0, 0.0), scale(2, 1, -0.5)).when(
        Crossing::Any,
        component(2, 0, 0.0),
        scale(2, 1, -0.5),
    );
    s.forward_jumps(&mut field, (0.0, 4.0), &y0, &p, &jumps, &mut ()).unwrap();
    let e = s.reverse_jumps(&mut field, &p, &bars, &jumps, 0.0, &mut yb, &mut pb).unwrap_err().to_string();
    assert!(e.contains("2 events at t = "), "{e}");
    // Sizes.
    let jumps = Jumps::new().stop(Crossing::Any, Differences::of(component(3, 0, 0.0)));
    let e = s.forward_jumps(&mut field, (0.0, 4.0), &y0, &p, &jumps, &mut ()).unwrap_err().to_string();
    assert!(e.contains("takes 3 numbers to 1"), "{e}");
}
