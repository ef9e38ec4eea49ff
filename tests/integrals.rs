//! Integrals along solutions as states: closed forms, steps that do not see them, and gradients of integral losses.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;

use adjoint::{central, noise};
use alloc::allocations;
use costate::adjoint::*;
use costate::diff::*;
use costate::expr::{RecordedMap, Sizes, Var, record, record_map};
use costate::nn::{Activation, Layer, Mlp};
use costate::ode::*;

/// y' = -p y + p sin t in two components that are coupled.
fn field() -> RecordedMap {
    record(2, 2, |t, y, p, dy| {
        dy[0] = -p[0] * y[0] + p[1] * y[1] * t.sin();
        dy[1] = -p[1] * y[1] + y[0] * y[0];
    })
    .unwrap()
    .into_map()
}

/// Three integrands, with and without time and parameters.
fn integrand() -> RecordedMap {
    outputs((2, 3, 2), |t, y, p, q| {
        q[0] = y[0] * y[0] + p[1] * y[1];
        q[1] = t.cos() * y[1] * p[0];
        q[2] = 1.0 + 0.0 * y[0];
    })
}

fn outputs(
    (inputs, outputs, params): (usize, usize, usize),
    f: impl FnOnce(Var, &[Var], &[Var], &mut [Var]),
) -> RecordedMap {
    record_map(Sizes { inputs, outputs, params }, f).unwrap().into_map()
}

type Both = WithIntegral<RecordedMap, RecordedMap, f64>;

const Y0: [f64; 2] = [0.8, -0.3];
const P: [f64; 2] = [1.3, 0.6];
const START: [f64; 5] = [0.8, -0.3, 0.0, 0.0, 0.0];

#[test]
fn closed_forms_with_every_family() {
    // y' = -p y, q' = y^2: q = y0^2 (1 - exp(-2 p t)) / (2 p).
    let decay = || record(1, 1, |_, y, p, dy| dy[0] = -p[0] * y[0]).unwrap().into_map();
    let square = || outputs((1, 1, 1), |_, y, _, q| q[0] = y[0] * y[0]);
    let (p, t) = (0.7, 1.5);
    let value = |y0: f64, p: f64| y0 * y0 * (1.0 - (-2.0 * p * t).exp()) / (2.0 * p);
    let options = Options::tolerances(1e-10, 1e-10).with_integrals(1, 1);
    fn run<D>(method: D, options: &Options, field: &mut Both, p: f64, t: f64) -> [f64; 3]
    where
        D: Method<f64>,
        D::Integrator: Transpose<f64> + Integrate<f64, Both>,
        <D::Integrator as Transpose<f64>>::Back: Reverse<f64, Both>,
    {
        let mut solver = Adjoint::new(method, 2, 1, options, Memory::States).unwrap();
        solver.forward(field, (0.0, t), &[1.2, 0.0], &[p], &mut ()).unwrap();
        let (mut yb, mut pb) = ([0.0; 2], [0.0]);
        let bars = Bars { y1: &[0.0, 1.0], ..Bars::default() };
        let q = solver.y()[1];
        solver.reverse(field, &[p], &bars, &mut yb, &mut pb).unwrap();
        assert!((yb[1] - 1.0).abs() < 1e-14);
        [q, yb[0], pb[0]]
    }
    let mut both = decay().with_integral(square()).unwrap();
    let want = [value(1.2, p), central(1e-3, |d| value(1.2 + d, p)), central(1e-3, |d| value(1.2, p + d))];
    for (name, got) in [
        ("tsit54", run(&TSIT54, &options, &mut both, p, t)),
        ("vern87", run(&VERN87, &options, &mut both, p, t)),
        ("rodas5p", run(&RODAS5P, &options, &mut both, p, t)),
        ("auto", run((&TSIT54, &RODAS4), &options, &mut both, p, t)),
    ] {
        for (a, b) in got.iter().zip(want) {
            assert!((a - b).abs() < 1e-8, "{name}: {got:?} {want:?}");
        }
    }
}

/// The steps are those of the state alone.
#[test]
fn integrals_left_out_of_the_norm_change_no_step() {
    let options = Options::tolerances(1e-6, 1e-8);
    let mut plain = solve(&mut field(), &TSIT54, &options, (0.0, 5.0), &Y0, &P, &[]).unwrap();
    let mut both = field().with_integral(integrand()).unwrap();
    let counted = options.clone().with_integrals(2, 3);
    let s = solve(&mut both, &TSIT54, &counted, (0.0, 5.0), &START, &P, &[]).unwrap();
    assert_eq!(s.report.counts.accepted, plain.report.counts.accepted);
    assert_eq!(s.report.counts.rejected, plain.report.counts.rejected);
    assert!((s.y1[0] - plain.y1[0]).abs() < 1e-12 && (s.y1[4] - 5.0).abs() < 1e-12);
    plain = solve(&mut field(), &RODAS4, &options, (0.0, 5.0), &Y0, &P, &[]).unwrap();
    let s = solve(&mut both, &RODAS4, &counted, (0.0, 5.0), &START, &P, &[]).unwrap();
    assert_eq!(s.report.counts.accepted, plain.report.counts.accepted);
    assert!((s.y1[1] - plain.y1[1]).abs() < 1e-12);
    // In the norm they count: an integrand that is hard to integrate makes shorter steps.
    let fast = outputs((2, 1, 2), |t, _, _, q| q[0] = (40.0 * t).sin());
    let mut fast = field().with_integral(fast).unwrap();
    let run = |options: &Options, fast: &mut Both| {
        solve(fast, &TSIT54, options, (0.0, 5.0), &[0.8, -0.3, 0.0], &P, &[]).unwrap()
    };
    let (all, state) = (run(&options, &mut fast), run(&options.clone().with_integrals(2, 1), &mut fast));
    assert!(all.report.counts.accepted > 2 * state.report.counts.accepted);
    let exact = (1.0 - (200.0f64).cos()) / 40.0;
    assert!((all.y1[2] - exact).abs() < 1e-5 && (state.y1[2] - exact).abs() > 1e-5);
}

#[test]
fn infinite_tolerances_are_for_some_components_of_atol() {
    let wrong = |atol: Vec<f64>, rtol: f64| {
        let options = Options { atol: atol.into(), rtol: rtol.into(), ..Options::default() };
        Integrator::<f64>::new(&TSIT54, 2, 1, &options).err().map(|e| e.to_string())
    };
    assert!(wrong(vec![f64::INFINITY, f64::INFINITY], 1e-6).unwrap().contains("finite"));
    assert!(wrong(vec![f64::NAN, 1.0], 1e-6).is_some() && wrong(vec![-1.0, 1.0], 1e-6).is_some());
    assert!(wrong(vec![1.0, 1.0], f64::INFINITY).is_some());
    assert!(wrong(vec![1.0, f64::INFINITY], 1e-6).is_none());
    assert!(field().with_integral(outputs((3, 1, 2), |_, y, _, q| q[0] = y[0])).is_err());
}

/// Every derivative of the combination by the checker: shared and own parameters, dense and sparse, batches of maps that keep something.
#[test]
fn derivatives_of_the_combination() {
    fn check(name: &str, mut map: impl Map<f64>, batch: usize) {
        let (x, p) = (noise(map.inputs() * batch, 1), noise(map.n_params(), 2));
        let report = check_map(&mut map, At::new(0.3, &x, &p), &CheckOptions::default());
        assert!(report.ok(), "{name}: {report:?}");
    }
    for batch in [1, 3] {
        check("shared", field().with_integral(integrand()).unwrap(), batch);
        check("own", field().with_own_integral(integrand()).unwrap(), batch);
        let layer = |inputs, outputs, activation, time| Layer { inputs, outputs, activation, time };
        let net = || {
            Mlp::new(&[layer(2, 4, Activation::Tanh, true), layer(4, 2, Activation::Identity, false)])
                .unwrap()
        };
        check("network", net().with_own_integral(integrand()).unwrap(), batch);
        check("networks", net().with_own_integral(net()).unwrap(), batch);
    }
    let band = record(5, 1, |_, y, p, dy| {
        for i in 0..5 {
            dy[i] = y[i] * p[0] + if i > 0 { y[i - 1] * y[i] } else { y[0] };
        }
    });
    let total = outputs((5, 2, 1), |t, y, p, q| {
        q[0] = y[1] * y[4] * t;
        q[1] = p[0] * y[2];
    });
    let both = band.unwrap().into_map().with_integral(total).unwrap();
    assert!(matches!(both.structure(), Structure::Sparse { .. }));
    check("sparse", both, 2);
}

/// L = q(t1) and a sum over save points, gradient against differences of the frozen steps.
#[test]
fn gradients_of_integral_losses() {
    let times = [0.4, 1.0, 1.7];
    let saved = noise(15, 3);
    /// `step` of the differences: it crosses no kink of the scale of E, and leaves little rounding.
    fn run<D>(name: &str, method: D, step: f64, saved: &[f64], times: &[f64])
    where
        D: Method<f64>,
        D::Integrator: Transpose<f64> + Integrate<f64, Both>,
        <D::Integrator as Transpose<f64>>::Back: Reverse<f64, Both>,
    {
        let options = Options::tolerances(1e-5, 1e-5).with_integrals(2, 3);
        let mut both = field().with_integral(integrand()).unwrap();
        let mut solver = Adjoint::new(method, 5, 1, &options, Memory::States).unwrap();
        solver.forward(&mut both, (0.0, 2.0), &START, &P, &mut ()).unwrap();
        let error = noise(solver.tape().len(), 7);
        let bars = Bars { y1: &[0.0, 0.0, 1.0, -0.5, 0.0], times, saved, error: &error, ..Bars::default() };
        let (mut yb, mut pb) = (vec![0.0; 5], vec![0.0; 2]);
        solver.reverse(&mut both, &P, &bars, &mut yb, &mut pb).unwrap();
        let size = yb.iter().chain(&pb).fold(0.0f64, |m, v| m.max(v.abs()));
        for i in 0..7 {
            let fd = central(step, |d| {
                let mut x = [&START[..], &P[..]].concat();
                x[i] += d;
                let r = solver.replay(&mut both, &x[5..], &x[..5], times).unwrap();
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                dot(bars.y1, &r.y1) + dot(saved, &r.saved) + dot(&error, &r.error)
            });
            let g = if i < 5 { yb[i] } else { pb[i - 5] };
            assert!((fd - g).abs() < 1e-7 * size, "{name} {i}: {fd} {g}");
        }
    }
    run("tsit54", &TSIT54, 2e-5, &saved, &times);
    run("vern76", &VERN76, 2e-5, &saved, &times);
    run("rodas5p", &RODAS5P, 3e-4, &saved, &times);
    run("rodas3p", &RODAS3P, 2e-5, &saved, &times);
}

/// The Hessian of an integral loss: forward over the discrete adjoint of the combination.
#[test]
fn second_derivatives_of_integral_losses() {
    let options = Options::tolerances(1e-7, 1e-7).with_integrals(2, 3);
    let both = field().with_integral(integrand()).unwrap();
    let mut solver = Adjoint::new(&TSIT54, 5, 1, &options, Memory::States).unwrap();
    solver.forward(&mut both.clone(), (0.0, 2.0), &START, &P, &mut ()).unwrap();
    let mut tangent = solver.tangent(both, 1).unwrap();
    let mut product = |v: &[f64]| {
        tangent.forward(&solver, &P, &v[..5], &v[5..], &[]).unwrap();
        let h =
            tangent.reverse(&Bars { y1: &[0.0, 0.0, 1.0, 0.3, 0.0], ..Bars::default() }, &Bars::default());
        let h = h.unwrap();
        [h.y0_bar_dot, h.p_bar_dot].concat()
    };
    let (u, v) = (noise(7, 1), noise(7, 2));
    let (hu, hv) = (product(&u), product(&v));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    assert!((dot(&u, &hv) - dot(&v, &hu)).abs() < 1e-12 && hu.iter().any(|x| x.abs() > 0.1));
}

/// Full matrices are those of y alone: the same bits for y, with a batch, and the tangents of all.
#[test]
fn stiff_steps_of_the_state_have_the_same_bits() {
    let options = Options { fixed_step: Some(0.05), ..Options::default() };
    let (y0, start) = ([0.8, -0.3, 0.2, 0.4], [0.8, -0.3, 0.0, 0.0, 0.0, 0.2, 0.4, 0.0, 0.0, 0.0]);
    let mut both = field().with_integral(integrand()).unwrap();
    for method in RosenbrockTableau::all() {
        let plain = solve(&mut field(), method, &options, (0.0, 2.0), &y0, &P, &[0.73]).unwrap();
        let s = solve(&mut both, method, &options, (0.0, 2.0), &start, &P, &[0.73]).unwrap();
        for c in 0..2 {
            assert_eq!(plain.y1[2 * c..][..2], s.y1[5 * c..][..2], "{}", method.name);
            assert_eq!(plain.state(0)[2 * c..][..2], s.state(0)[5 * c..][..2]);
        }
        let mut solver = Adjoint::new(method, 5, 2, &options, Memory::States).unwrap();
        solver.forward(&mut both, (0.0, 2.0), &start, &P, &mut ()).unwrap();
        let mut tangent = solver.tangent(both.clone(), 1).unwrap();
        let (v, w) = (noise(12, 4), noise(10, 5));
        let t = tangent.forward(&solver, &P, &v[..10], &v[10..], &[]).unwrap();
        let h = tangent.reverse(&Bars { y1: &w, ..Bars::default() }, &Bars::default()).unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (left, right) = (dot(&t.y1_dot, &w), dot(&h.y0_bar, &v) + dot(&h.p_bar, &v[10..]));
        assert!((left - right).abs() < 1e-11 * left.abs().max(1.0), "{}: {left} {right}", method.name);
    }
}

/// A band with an integral keeps the band's factors.
#[test]
fn a_banded_field_with_an_integral() {
    let n = 60;
    let heat = || {
        record(n, 1, |_, y, p, dy| {
            for i in 0..n {
                let a = if i > 0 { y[i - 1] } else { 0.0.into() };
                let b = if i + 1 < n { y[i + 1] } else { 0.0.into() };
                dy[i] = 900.0 * p[0] * (a - 2.0 * y[i] + b);
            }
        })
        .unwrap()
        .into_map()
    };
    let energy = outputs((n, 2, 1), |_, y, p, q| {
        q[0] = y.iter().fold(Var::from(0.0), |s, y| s + *y * *y);
        q[1] = p[0] * y[3];
    });
    let mut both = heat().with_integral(energy).unwrap();
    let y0: Vec<f64> = (0..n).map(|i| (0.1 * i as f64).sin()).collect();
    let start = [&y0[..], &[0.0, 0.0]].concat();
    let options = Options::tolerances(1e-5, 1e-5);
    let counted = options.clone().with_integrals(n, 2);
    let mut alone = StiffIntegrator::new(&RODAS4, n, 1, &options).unwrap();
    let mut with = StiffIntegrator::new(&RODAS4, n + 2, 1, &counted).unwrap();
    let a = alone.run(&mut heat(), (0.0, 0.1), &y0, &[1.2], &mut ()).unwrap();
    let b = with.run(&mut both, (0.0, 0.1), &start, &[1.2], &mut ()).unwrap();
    assert_eq!(a.counts.accepted, b.counts.accepted);
    assert_eq!(alone.structure().unwrap().to_string(), with.structure().unwrap().to_string());
    assert!(alone.y().iter().zip(with.y()).all(|(a, b)| (a - b).abs() < 1e-13));
    let mut solver = Adjoint::new(&RODAS4, n + 2, 1, &counted, Memory::States).unwrap();
    solver.forward(&mut both, (0.0, 0.1), &start, &[1.2], &mut ()).unwrap();
    let (mut yb, mut pb) = (vec![0.0; n + 2], [0.0]);
    let mut bar = vec![0.0; n + 2];
    (bar[n], bar[n + 1]) = (1.0, 0.3);
    solver.reverse(&mut both, &[1.2], &Bars { y1: &bar, ..Bars::default() }, &mut yb, &mut pb).unwrap();
    let mut at = |p: f64, d: f64| {
        let mut start = start.clone();
        start[7] += d;
        let r = solver.replay(&mut both, &[p], &start, &[]).unwrap();
        r.y1[n] + 0.3 * r.y1[n + 1]
    };
    let by_p = central(1e-3, |d| at(1.2 + d, 0.0));
    assert!((by_p - pb[0]).abs() < 1e-9 * by_p.abs(), "{by_p} {}", pb[0]);
    let by_y = central(1e-3, |d| at(1.2, d));
    assert!((by_y - yb[7]).abs() < 1e-9 * by_y.abs(), "{by_y} {}", yb[7]);
}

#[test]
fn steps_do_not_allocate() {
    let mut both = field().with_integral(integrand()).unwrap();
    for method in 0..2 {
        let mut count = |t1: f64| {
            let options = Options { fixed_step: Some(0.01), ..Options::default() }.with_integrals(2, 3);
            let (mut a, mut b) = (
                Integrator::new(&TSIT54, 5, 1, &options).unwrap(),
                StiffIntegrator::new(&RODAS4, 5, 1, &options).unwrap(),
            );
            let mut run = |t1: f64| match method {
                0 => a.run(&mut both, (0.0, t1), &START, &P, &mut ()).unwrap(),
                _ => b.run(&mut both, (0.0, t1), &START, &P, &mut ()).unwrap(),
            };
            run(0.1);
            let before = allocations();
            run(t1);
            allocations() - before
        };
        assert_eq!(count(0.1), count(2.0));
    }
}
