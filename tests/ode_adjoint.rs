//! The discrete adjoint against finite differences of the frozen-step program, dual numbers, the continuous adjoint, and itself.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;
mod common;

use std::ops::ControlFlow;

use adjoint::{Weights, central, noise};
use alloc::allocations;
use costate::adjoint::{Adjoint, Bars, Memory};
use costate::diff::{At, BarsMut, Dual, FnMap, Kept, Map, Number};
use costate::ode::*;

/// y0' = p0 y1 + p2 sin(t) y0 y1, y1' = -p1 sin y0 + p2 cos(t) y1^2.
fn rhs<D: Number<f64>>(t: f64, y: &[D], p: &[D]) -> [D; 2] {
    let (s, c) = (D::of(t.sin()), D::of(t.cos()));
    [p[0] * y[1] + p[2] * s * y[0] * y[1], -p[1] * y[0].sin() + p[2] * c * y[1] * y[1]]
}

fn field() -> impl Map<f64> {
    FnMap::new(2, 3, |t, y: &[f64], p: &[f64], dy: &mut [f64]| dy.copy_from_slice(&rhs(t, y, p))).with_vjp(
        |t: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            let (s, c) = t.sin_cos();
            yb[0] += w[0] * p[2] * s * y[1] - w[1] * p[1] * y[0].cos();
            yb[1] += w[0] * (p[0] + p[2] * s * y[0]) + w[1] * p[2] * c * 2.0 * y[1];
            pb[0] += w[0] * y[1];
            pb[1] -= w[1] * y[0].sin();
            pb[2] += w[0] * s * y[0] * y[1] + w[1] * c * y[1] * y[1];
        },
    )
}

const P: [f64; 3] = [1.1, 1.7, 0.3];
const Y0: [f64; 6] = [0.9, 0.1, -0.4, 0.6, 0.2, -0.8];
const TIMES: [f64; 6] = [0.0, 0.3, 0.31, 1.0, 1.9, 2.0];
const SPAN: (f64, f64) = (0.0, 2.0);

fn options(norm: Norm) -> Options {
    // The controller is fixed: finite differences need steps away from the kinks of the tolerance scale, see
    // `finite_differences_fail_only_across_kinks_of_the_scale`.
    Options { norm, controller: Controller::pi(0.2, 0.65), ..Options::tolerances(vec![1e-4, 3e-4], 1e-5) }
}

fn gradient(
    tab: &'static Tableau,
    o: &Options,
    memory: Memory,
) -> (Adjoint<f64>, Vec<f64>, Vec<f64>, OdeCounts) {
    let mut solver = Adjoint::new(tab, 2, 3, o, memory).unwrap();
    solver.forward(&mut field(), SPAN, &Y0, &P, &mut ()).unwrap();
    let w = Weights::new(6, &TIMES, solver.tape().len());
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
    let counts = solver.reverse(&mut field(), &P, &w.bars(), &mut yb, &mut pb).unwrap();
    (solver, yb, pb, counts)
}

/// Looser for the high orders: S is a quotient of differences that vanish with h^5 and more, and rounding is divided by them; so
/// is rounding in E, by the tolerances, and Verner's order 8 has weights up to 118.
fn options_for(tab: &Tableau, norm: Norm) -> Options {
    match (tab.order, tab.name) {
        (..7, _) => options(norm),
        (_, "vern87") => {
            Options { fixed_step: Some(2.0), rtol: vec![0.1, 0.3].into(), atol: 0.01.into(), ..options(norm) }
        }
        _ => Options { fixed_step: Some(1.0), ..options(norm) },
    }
}

#[test]
fn finite_differences_of_the_frozen_step_program() {
    for tab in Tableau::all() {
        for norm in [Norm::Rms, Norm::Max] {
            let (mut solver, yb, pb, _) = gradient(tab, &options_for(tab, norm), Memory::States);
            let w = Weights::new(6, &TIMES, solver.tape().len());
            let x: Vec<f64> = Y0.iter().chain(&P).copied().collect();
            let size = yb.iter().chain(&pb).fold(0.0f64, |m, v| m.max(v.abs()));
            for i in 0..9 {
                let at = |d: f64| {
                    let mut x = x.clone();
                    x[i] += d;
                    w.loss(&solver.replay(&mut field(), &x[6..], &x[..6], &TIMES).unwrap())
                };
                // Fourth-order central difference.
                let d = 2e-4;
                let fd = central(d, at);
                let g = if i < 6 { yb[i] } else { pb[i - 6] };
                assert!((fd - g).abs() <= 1e-7 * size, "{} {norm:?} {i}: {fd} {g}", tab.name);
            }
        }
    }
}

/// The frozen-step program in dual numbers, written again from the tableau: directional derivative of the weighted results.
fn dual_program(tab: &Tableau, steps: &[(f64, f64)], w: &Weights, dir: &[f64], o: &Options) -> f64 {
    let p: Vec<Dual<f64>> = (0..3).map(|i| Dual::new(P[i], dir[6 + i])).collect();
    let mut y: Vec<Dual<f64>> = (0..6).map(|i| Dual::new(Y0[i], dir[i])).collect();
    let zero = Dual::splat(0.0);
    let mut loss = zero;
    let mut add = |w: &[f64], v: &[Dual<f64>]| w.iter().zip(v).for_each(|(a, b)| loss += *b * *a);
    add(&w.saved[..6], &y);
    let (Tolerance::Each(rtol), Tolerance::One(atol)) = (&o.rtol, &o.atol) else { panic!() };
    for (j, &(t, h)) in steps.iter().enumerate() {
        let mut k: Vec<Vec<Dual<f64>>> = vec![];
        let mut g: Vec<Vec<Dual<f64>>> = vec![];
        for i in 0..tab.c.len() {
            let gi: Vec<Dual<f64>> = (0..6)
                .map(|m| y[m] + (0..i).map(|l| k[l][m] * (h * tab.a(i, l))).fold(zero, |a, b| a + b))
                .collect();
            k.push(gi.chunks(2).flat_map(|y| rhs(t + tab.c[i] * h, y, &p)).collect());
            g.push(gi);
        }
        let s = tab.stages;
        let y1 = g[s - 1].clone();
        let norms: Vec<Dual<f64>> = tab
            .e
            .iter()
            .map(|e| {
                let v = |m: usize| {
                    let u = e.iter().enumerate().fold(zero, |a, (i, e)| a + k[i][m] * (h * e));
                    let larger = if y[m].re.abs() > y1[m].re.abs() { y[m] } else { y1[m] };
                    let big = larger * larger.re.signum();
                    u / (big * rtol[m % 2] + *atol)
                };
                ((0..6).map(|m| v(m) * v(m)).fold(zero, |a, b| a + b) / 6.0).sqrt()
            })
            .collect();
        let err = match norms[..] {
            [a, b] if tab.join == Join::Larger => {
                if b.re > a.re {
                    b
                } else {
                    a
                }
            }
            [a, b] => a * a / (a * a + b * b * 0.01).sqrt(),
            _ => norms[0],
        };
        add(&w.error[j..=j], &[err]);
        let d2 = |a: &[Dual<f64>], b: &[Dual<f64>]| {
            (0..6).map(|m| (a[m] - b[m]) * (a[m] - b[m])).fold(zero, |a, b| a + b)
        };
        add(&w.stiffness[j..=j], &[(d2(&k[s - 1], &k[s - 2]) / d2(&y1, &g[s - 2])).sqrt()]);
        for (i, &ts) in TIMES.iter().enumerate().filter(|(_, ts)| t < **ts && **ts <= t + h * (1.0 + 1e-12)) {
            let th = (ts - t) / h;
            let q = |i: usize| tab.q[i].iter().rev().fold(0.0, |s, c| s * th + c);
            let v: Vec<Dual<f64>> = (0..6)
                .map(|m| {
                    let sum = (0..k.len()).fold(zero, |a, i| a + k[i][m] * (h * th * (1.0 - th) * q(i)));
                    y[m] * (1.0 - th) + y1[m] * th + sum
                })
                .collect();
            add(&w.saved[6 * i..6 * i + 6], &v);
        }
        y = y1;
    }
    add(&w.y1, &y);
    loss.eps
}

#[test]
fn dual_numbers_agree_to_rounding() {
    // <w, J v> in forward mode against <J' w, v>.
    for tab in Tableau::all() {
        let o = options_for(tab, Norm::Rms);
        let (solver, yb, pb, _) = gradient(tab, &o, Memory::States);
        let steps: Vec<_> = (0..solver.tape().len()).map(|j| solver.tape().step(j)).collect();
        let w = Weights::new(6, &TIMES, steps.len());
        for seed in 10..14 {
            let v = noise(9, seed);
            let forward = dual_program(tab, &steps, &w, &v, &o);
            let reverse: f64 = yb.iter().chain(&pb).zip(&v).map(|(a, b)| a * b).sum();
            let size: f64 = yb.iter().chain(&pb).zip(&v).map(|(a, b)| (a * b).abs()).sum();
            assert!((forward - reverse).abs() <= 1e-11 * size, "{}: {forward} {reverse}", tab.name);
        }
    }
}

#[test]
fn every_memory_policy_gives_the_same_bits() {
    for tab in Tableau::all() {
        let o = Options { max_step: 0.03, ..options(Norm::Rms) };
        let (all, yb, pb, base) = gradient(tab, &o, Memory::States);
        let n = all.tape().len();
        assert!(n >= 60);
        assert_eq!(base.recomputed, n as u64);
        let policies = [1, 2, 3, 5, 9, 1000].map(Memory::Checkpoints);
        let every = [1, 2, 7, 1000].map(Memory::Every);
        for memory in [Memory::Stages].into_iter().chain(policies).chain(every) {
            let (solver, yb2, pb2, counts) = gradient(tab, &o, memory);
            assert_eq!((&yb, &pb), (&yb2, &pb2), "{} {memory:?}", tab.name);
            assert_eq!(base.pullbacks, counts.pullbacks);
            match memory {
                Memory::Stages => assert_eq!(counts.recomputed, 0),
                Memory::Every(k) => {
                    assert!(counts.recomputed <= 2 * n as u64, "{memory:?} {counts:?}");
                    assert!(solver.tape().peak_states() <= n.div_ceil(k) + k);
                }
                Memory::Checkpoints(c) => assert!(solver.tape().peak_states() <= c, "{memory:?}"),
                Memory::States => {}
            }
        }
    }
}

#[test]
fn rejected_steps_leave_no_trace() {
    // A first step that is far too long is rejected several times; the same steps taken without rejection give the same gradient.
    let bad = Options { first_step: Some(2.0), ..options(Norm::Rms) };
    let mut solver = Adjoint::new(&TSIT54, 2, 3, &bad, Memory::Stages).unwrap();
    let r = solver.forward(&mut field(), SPAN, &Y0, &P, &mut ()).unwrap();
    assert!(r.counts.rejected > 0);
    let h0 = solver.tape().step(0).1;
    let good = Options { first_step: Some(h0), ..options(Norm::Rms) };
    let mut clean = Adjoint::new(&TSIT54, 2, 3, &good, Memory::States).unwrap();
    // Same first step; the controller's memory of the rejection may change the second, so only that step is compared.
    let w = noise(6, 1);
    let first = |s: &mut Adjoint<f64>| {
        s.forward(&mut field(), (0.0, h0), &Y0, &P, &mut ()).unwrap();
        let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
        let n = s.tape().len();
        s.reverse(
            &mut field(),
            &P,
            &Bars { y1: &w, error: &noise(n, 3), ..Bars::default() },
            &mut yb,
            &mut pb,
        )
        .unwrap();
        (n, yb, pb)
    };
    let a = first(&mut clean);
    // Rejections in front: a sink-free fixed-step run of the same step.
    let mut fixed =
        Adjoint::new(&TSIT54, 2, 3, &Options { fixed_step: Some(h0), ..good.clone() }, Memory::States)
            .unwrap();
    assert_eq!(a, first(&mut fixed));
    // And the whole pass with rejections equals finite differences of its frozen program (which has none).
    let n = solver.tape().len();
    let weights = Weights::new(6, &TIMES, n);
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
    solver.reverse(&mut field(), &P, &weights.bars(), &mut yb, &mut pb).unwrap();
    let x: Vec<f64> = Y0.iter().chain(&P).copied().collect();
    let size = yb.iter().chain(&pb).fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, g) in yb.iter().chain(&pb).enumerate() {
        let fd = central(2e-4, |d| {
            let mut x = x.clone();
            x[i] += d;
            weights.loss(&solver.replay(&mut field(), &x[6..], &x[..6], &TIMES).unwrap())
        });
        assert!((fd - g).abs() < 1e-7 * size, "{i}: {fd} {g}");
    }
}

#[test]
fn converges_to_the_continuous_adjoint() {
    // a' = -(df/dy)' a, q' = -(df/dp)' a backwards from a = w, q = 0 along the solution, all as one system of 2 + 2 + 3.
    let w = [0.3, -0.8];
    let tight = Options::tolerances(1e-12, 1e-12);
    let forward = solve(&mut field(), &DOP853, &tight, SPAN, &Y0[..2], &P, &[]).unwrap();
    let mut augmented = FnMap::new(7, 3, |t: f64, z: &[f64], p: &[f64], dz: &mut [f64]| {
        let mut f = field();
        let at = At::new(t, &z[..2], p);
        f.value(at, &mut dz[..2]);
        dz[2..].fill(0.0);
        let (a, b) = dz[2..].split_at_mut(2);
        f.vjp(at, Kept::NONE, &z[2..4], BarsMut::new(a, b));
        dz[2..].iter_mut().for_each(|v| *v = -*v);
    });
    let z1 = [forward.y1[0], forward.y1[1], w[0], w[1], 0.0, 0.0, 0.0];
    let back = solve(&mut augmented, &DOP853, &tight, (SPAN.1, SPAN.0), &z1, &P, &[]).unwrap();
    for tab in Tableau::all().into_iter().filter(|tab| tab.order >= 5) {
        let mut s = Adjoint::new(tab, 2, 1, &tight, Memory::Checkpoints(10)).unwrap();
        s.forward(&mut field(), SPAN, &Y0[..2], &P, &mut ()).unwrap();
        let (mut yb, mut pb) = (vec![0.0; 2], vec![0.0; 3]);
        s.reverse(&mut field(), &P, &Bars { y1: &w, ..Bars::default() }, &mut yb, &mut pb).unwrap();
        for (a, b) in yb.iter().chain(&pb).zip(&back.y1[2..]) {
            assert!((a - b).abs() < 1e-9, "{} {a} {b}", tab.name);
        }
    }
}

#[test]
fn backwards_in_time_and_single_precision() {
    let mut s = Adjoint::new(&DOP853, 2, 3, &options(Norm::Rms), Memory::States).unwrap();
    s.forward(&mut field(), (2.0, 0.0), &Y0, &P, &mut ()).unwrap();
    let (w, times) = (noise(18, 5), [2.0, 1.1, 0.0]);
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
    s.reverse(&mut field(), &P, &Bars { times: &times, saved: &w, ..Bars::default() }, &mut yb, &mut pb)
        .unwrap();
    let at = |d: f64| -> f64 {
        let r = s.replay(&mut field(), &[P[0], P[1] + d, P[2]], &Y0, &times).unwrap();
        r.saved.iter().zip(&w).map(|(a, b)| a * b).sum()
    };
    let fd = central(1e-4, at);
    assert!((fd - pb[1]).abs() < 1e-8, "{fd} {}", pb[1]);

    let mut f = FnMap::new(1, 1, |_, y: &[f32], p: &[f32], dy: &mut [f32]| dy[0] = -p[0] * y[0]).with_vjp(
        |_, y: &[f32], p: &[f32], w: &[f32], yb: &mut [f32], pb: &mut [f32]| {
            yb[0] -= p[0] * w[0];
            pb[0] -= y[0] * w[0];
        },
    );
    let mut s = Adjoint::new(&TSIT54, 1, 1, &Options::tolerances(1e-5, 1e-6), Memory::States).unwrap();
    s.forward(&mut f, (0.0, 1.0), &[1.0], &[2.0], &mut ()).unwrap();
    let (mut yb, mut pb) = ([0.0f32], [0.0f32]);
    s.reverse(&mut f, &[2.0], &Bars { y1: &[1.0], ..Bars::default() }, &mut yb, &mut pb).unwrap();
    assert!((yb[0] - (-2.0f32).exp()).abs() < 1e-5 && (pb[0] + (-2.0f32).exp()).abs() < 1e-5);
}

#[test]
fn no_allocation_in_later_passes() {
    let policies = [Memory::Stages, Memory::States, Memory::Every(5), Memory::Checkpoints(4)];
    for (tab, memory) in Tableau::all().into_iter().flat_map(|tab| policies.map(|m| (tab, m))) {
        let mut s = Adjoint::new(tab, 2, 3, &options(Norm::Rms), memory).unwrap();
        let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
        let mut f = field();
        s.forward(&mut f, SPAN, &Y0, &P, &mut ()).unwrap();
        // With save points, E and S.
        let w = Weights::new(6, &TIMES, s.tape().len());
        let mut pass = || {
            s.forward(&mut f, SPAN, &Y0, &P, &mut ()).unwrap();
            s.reverse(&mut f, &P, &w.bars(), &mut yb, &mut pb).unwrap();
        };
        pass();
        let before = allocations();
        pass();
        assert_eq!(allocations() - before, 0, "{} {memory:?}", tab.name);
    }
}

#[test]
fn bad_input_is_an_error() {
    let mut s = Adjoint::new(&TSIT54, 2, 3, &options(Norm::Rms), Memory::Checkpoints(3)).unwrap();
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
    let mut go = |s: &mut Adjoint<f64>, bars: Bars<'_, f64>| {
        s.reverse(&mut field(), &P, &bars, &mut yb, &mut pb).unwrap_err().to_string()
    };
    assert!(go(&mut s, Bars::default()).contains("no step"));
    s.forward(&mut field(), SPAN, &Y0, &P, &mut ()).unwrap();
    assert_eq!(
        go(&mut s, Bars { y1: &[1.0], ..Bars::default() }),
        "the bar of y(t1) has length 1, expected 6"
    );
    assert_eq!(
        go(&mut s, Bars { times: &[1.0], ..Bars::default() }),
        "the bar of the saved states has length 0, expected 6"
    );
    let six = [0.0; 6];
    assert!(go(&mut s, Bars { times: &[3.0], saved: &six, ..Bars::default() }).contains("outside the span"));
    let mut ev = Events::new()
        .when(Crossing::Any, AtEvent::Handle, |t, _| t - 1.0)
        .on_event(|_, _| ControlFlow::Continue(()));
    s.forward(&mut field(), SPAN, &Y0, &P, &mut ev).unwrap();
    assert!(go(&mut s, Bars::default()).contains("event"));
    assert!(Adjoint::<f64>::new(&TSIT54, 2, 3, &Options::default(), Memory::Every(0)).is_err());
}

#[test]
fn finite_differences_fail_only_across_kinks_of_the_scale() {
    // A batch of 32, where some |y0| and |y1| of a step are always close: E_j has a kink where max(|y0|, |y1|) changes sides, and a difference
    // across it is off by up to its share of the change of slope. Nowhere else.
    const B: usize = 32;
    let y0 = noise(2 * B, 77);
    let x: Vec<f64> = y0.iter().chain(&P).copied().collect();
    let (mut smooth, mut crossed, mut worst) = (0, 0, 0.0f64);
    for tab in [&DP54, &TSIT54] {
        let o = Options::tolerances(vec![1e-4, 3e-4], 1e-5);
        let mut solver = Adjoint::new(tab, 2, B, &o, Memory::States).unwrap();
        solver.forward(&mut field(), SPAN, &y0, &P, &mut ()).unwrap();
        let steps = solver.tape().len();
        let w = Weights::new(2 * B, &[], steps);
        let (mut yb, mut pb) = (vec![0.0; 2 * B], vec![0.0; 3]);
        let bars = Bars { error: &w.error, ..Bars::default() };
        solver.reverse(&mut field(), &P, &bars, &mut yb, &mut pb).unwrap();
        let gradient = [yb, pb].concat();
        let size = gradient.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let times: Vec<f64> = (0..steps).map(|j| solver.tape().step(j)).map(|(t, h)| t + h).collect();
        let times = [&times[..steps - 1], &[SPAN.1]].concat();
        // sum_j w_j E_j, and the sides of all maxima.
        let mut at = |i: usize, d: f64| {
            let mut x = x.clone();
            x[i] += d;
            let r = solver.replay(&mut field(), &x[2 * B..], &x[..2 * B], &times).unwrap();
            let states = [&x[..2 * B], &r.saved].concat();
            let sides: Vec<bool> =
                states.iter().zip(&states[2 * B..]).map(|(a, b)| a.abs() > b.abs()).collect();
            (w.error.iter().zip(&r.error).map(|(w, e)| w * e).sum::<f64>(), sides)
        };
        for (i, g) in gradient.iter().enumerate() {
            // Shorter until no maximum changes sides: below 2e-4 rounding counts.
            let mut d = 3.2e-3;
            loop {
                let [a, b, c, e] = [-2.0, -1.0, 1.0, 2.0].map(|k| at(i, k * d));
                let fd = (8.0 * (c.0 - b.0) - (e.0 - a.0)) / (12.0 * d);
                let error = (fd - g).abs() / size;
                if [&b, &c, &e].iter().any(|v| v.1 != a.1) {
                    (crossed, worst) = (crossed + 1, worst.max(error));
                    assert!(d > 1e-7, "{} {i} lies on a kink", tab.name);
                } else if d <= 2e-4 {
                    assert!(error < 1e-7 * (2e-4 / d), "{} {i}: {fd} {g} with {d:e}", tab.name);
                    smooth += 1;
                    break;
                }
                d *= 0.25;
            }
        }
    }
    println!("{smooth} differences without a kink, {crossed} across one: off by up to {worst:.1e}");
    assert!(smooth == 134 && crossed > 5 && worst > 1e-6, "{smooth} {crossed} {worst:e}");
}
