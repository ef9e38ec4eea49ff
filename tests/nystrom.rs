//! Nystrom methods: order conditions, measured orders, events, adjoints, and second-order fields.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;
mod common;
#[path = "common/trees.rs"]
mod rooted;

use std::ops::ControlFlow;

use adjoint::{Weights, central, dot, noise};
use alloc::allocations;
use costate::adjoint::{Adjoint, Bars, EventBars, Memory};
use costate::diff::{At, BarsMut, Differences, FnMap, Formula, Kept, Map, Number, Size};
use costate::ode::*;
use rooted::{Tree, trees};

/// Whether a tree belongs to q' = v, v' = a(q), its root being v's: every second generation has at most one child.
fn special(t: &Tree, one_child: bool) -> bool {
    (!one_child || t.0.len() <= 1) && t.0.iter().all(|c| special(c, !one_child))
}

/// Phi_i of every stage for a tree whose root is v's: its children are positions, c_i or (A Phi(grandchild))_i.
fn phi(t: &Tree, tab: &Tableau) -> Vec<f64> {
    let mut v = vec![1.0; tab.stages];
    for q in &t.0 {
        let w = match q.0.first() {
            None => tab.c.to_vec(),
            Some(t) => {
                let w = phi(t, tab);
                (0..tab.stages).map(|i| (0..i).map(|j| tab.a(i, j) * w[j]).sum()).collect()
            }
        };
        v.iter_mut().zip(w).for_each(|(v, w)| *v *= w);
    }
    v
}

fn dot_padded(w: &[f64], phi: &[f64]) -> f64 {
    w.iter().zip(phi).map(|(w, p)| w * p).sum()
}

/// Largest residual of `weights` over the trees of this order with value theta^order / gamma (or 0): of velocities, or of positions.
fn residual(tab: &Tableau, weights: &[f64], order: usize, velocity: bool, theta: f64) -> f64 {
    let all = trees(order).into_iter().filter(|t| special(t, !velocity) && (velocity || t.0.len() == 1));
    all.map(|t| {
        let phi = phi(if velocity { &t } else { &t.0[0] }, tab);
        (dot_padded(weights, &phi) - theta.powi(order as i32) / t.gamma()).abs()
    })
    .fold(0.0, f64::max)
}

fn at(q: &[&[f64]], b: impl Fn(usize) -> f64, theta: f64) -> Vec<f64> {
    let value = |q: &[f64]| q.iter().rev().fold(0.0, |s, c| s * theta + c);
    (0..q.len()).map(|i| theta * b(i) + theta * (1.0 - theta) * value(q[i])).collect()
}

#[test]
fn order_conditions() {
    for tab in Tableau::nystrom() {
        let v = tab.velocity.unwrap();
        assert_eq!(Tableau::by_name(tab.name), Some(tab));
        assert_eq!((tab.c.len(), tab.c[tab.stages - 1]), (tab.stages, 1.0), "no further stages");
        let b: Vec<f64> = (0..tab.stages).map(|j| tab.b(j)).collect();
        for i in 0..tab.stages {
            let sum: f64 = tab.a[i].iter().sum();
            assert!((sum - tab.c[i] * tab.c[i] / 2.0).abs() < 1e-15, "{} row {i}", tab.name);
        }
        for order in 1..=tab.order {
            assert!(residual(tab, v.b, order, true, 1.0) < 1e-15, "{} velocities, {order}", tab.name);
            assert!(order == 1 || residual(tab, &b, order, false, 1.0) < 1e-15, "{} positions", tab.name);
        }
        assert!(residual(tab, v.b, tab.order + 1, true, 1.0) > 1e-6, "{} claims too little", tab.name);
        for order in 1..=tab.error_order {
            assert!(residual(tab, v.e, order, true, 0.0) < 1e-15, "{} error of velocities", tab.name);
            assert!(order == 1 || residual(tab, tab.e[0], order, false, 0.0) < 1e-15, "{} error", tab.name);
        }
        assert!(residual(tab, v.e, tab.error_order + 1, true, 0.0) > 1e-4);
        for theta in [0.2, 0.5, 0.9] {
            let (w, wv) = (at(tab.q, |i| tab.b(i), theta), at(v.q, |i| v.b[i], theta));
            for order in 1..=tab.dense_order {
                assert!(residual(tab, &wv, order, true, theta) < 1e-14, "{} dense velocities", tab.name);
            }
            for order in 2..=tab.dense_order + 1 {
                assert!(residual(tab, &w, order, false, theta) < 1e-14, "{} dense positions", tab.name);
            }
        }
    }
}

#[test]
fn interpolant_meets_both_ends_and_its_velocity_is_the_derivative_of_its_position() {
    for tab in Tableau::nystrom() {
        let v = tab.velocity.unwrap();
        for i in 0..tab.stages {
            let w = |theta: f64| at(tab.q, |i| tab.b(i), theta)[i];
            for theta in [0.0, 0.3, 0.8, 1.0] {
                let slope = central(1e-3, |d| w(theta + d));
                let wv = at(v.q, |i| v.b[i], theta)[i];
                assert!((slope - wv).abs() < 1e-10, "{} {i} at {theta}: {slope} {wv}", tab.name);
            }
        }
    }
}

#[test]
fn stability() {
    // q'' = -w^2 q: growth of a step of size h w = x, by the spectral radius of its 2 x 2 matrix.
    for tab in Tableau::nystrom() {
        let b = tab.velocity.unwrap().b;
        let growth = |x: f64| {
            let z = x * x;
            let mut rows: Vec<[f64; 2]> = vec![];
            for i in 0..tab.stages {
                let mut r = [1.0, tab.c[i]];
                for (j, q) in rows.iter().enumerate() {
                    r.iter_mut().zip(q).for_each(|(r, q)| *r -= z * tab.a(i, j) * q);
                }
                rows.push(r);
            }
            let mut v = [0.0, 1.0];
            for (b, q) in b.iter().zip(&rows) {
                v.iter_mut().zip(q).for_each(|(v, q)| *v -= z * b * q);
            }
            let q = rows[tab.stages - 1];
            let (trace, det) = (q[0] + v[1], q[0] * v[1] - q[1] * v[0]);
            let disc = trace * trace / 4.0 - det;
            if disc < 0.0 { det.sqrt() } else { trace.abs() / 2.0 + disc.sqrt() }
        };
        assert!(growth(tab.stability) <= 1.01 && growth(1.01 * tab.stability) > 1.01, "{}", tab.name);
    }
}

/// Eccentric planet, with its mass as a parameter.
fn kepler() -> SecondOrder<impl Map<f64>> {
    SecondOrder::new(
        FnMap::new(2, 1, |_, q: &[f64], p: &[f64], a: &mut [f64]| {
            let r3 = (q[0] * q[0] + q[1] * q[1]).powf(1.5);
            a[0] = -p[0] * q[0] / r3;
            a[1] = -p[0] * q[1] / r3;
        })
        .with_vjp(|_, q: &[f64], p: &[f64], w: &[f64], qb: &mut [f64], pb: &mut [f64]| {
            let r2 = q[0] * q[0] + q[1] * q[1];
            let (r3, along) = (r2.powf(1.5), 3.0 * (w[0] * q[0] + w[1] * q[1]) / r2);
            for i in 0..2 {
                qb[i] += p[0] * (along * q[i] - w[i]) / r3;
                pb[0] -= w[i] * q[i] / r3;
            }
        }),
    )
}

const KEPLER: [f64; 4] = [0.7, 0.1, 0.1, 1.3];

#[test]
fn convergence_orders() {
    let exact = |t: f64| {
        let tight = Options::tolerances(1e-14, 1e-14);
        solve(&mut kepler(), &VERN87, &tight, (0.0, t), &KEPLER, &[1.0], &[]).unwrap().y1
    };
    let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    for tab in Tableau::nystrom() {
        let run = |steps: f64| {
            let o = Options { fixed_step: Some(6.0 / steps), ..Options::default() };
            let inside = 6.0 * (1.0 - 0.37 / steps);
            let s = solve(&mut kepler(), tab, &o, (0.0, 6.0), &KEPLER, &[1.0], &[inside]).unwrap();
            (distance(&s.y1, &exact(6.0)), distance(s.state(0), &exact(inside)))
        };
        let (coarse, fine) = (run(100.0), run(200.0));
        let order = (coarse.0 / fine.0).log2();
        assert!((order - tab.order as f64).abs() < 0.1, "{}: {order} {coarse:?} {fine:?}", tab.name);
        let dense = (coarse.1 / fine.1).log2();
        assert!(dense > tab.dense_order as f64 + 0.9, "{} dense: {dense}", tab.name);
    }
}

#[test]
fn pleiades_to_the_reference() {
    // Seven stars, the first-order field's numbers from the second-order one's methods.
    let mut first = common::pleiades();
    let mut accelerate = common::pleiades();
    let mut stars = SecondOrder::new(FnMap::new(14, 0, |t, q: &[f64], _: &[f64], a: &mut [f64]| {
        let (mut y, mut dy) = ([0.0; 28], [0.0; 28]);
        y[..14].copy_from_slice(q);
        accelerate.value(At::new(t, &y, &[]), &mut dy);
        a.copy_from_slice(&dy[14..]);
    }));
    let (y0, tight) = (common::PLEIADES, Options::tolerances(1e-13, 1e-13));
    let exact = solve(&mut first, &VERN87, &tight, (0.0, 3.0), &y0, &[], &[]).unwrap().y1;
    for tab in Tableau::nystrom() {
        let o = Options::tolerances(1e-10, 1e-10);
        let s = solve(&mut stars, tab, &o, (0.0, 3.0), &y0, &[], &[]).unwrap();
        let error = s.y1.iter().zip(&exact).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(s.report.ok() && error < 1e-8, "{}: {error:e}", tab.name);
        // Back to the start.
        let back = solve(&mut stars, tab, &o, (3.0, 0.0), &s.y1, &[], &[]).unwrap();
        let error = back.y1.iter().zip(&y0).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
        assert!(error < 1e-7, "{} backwards: {error:e}", tab.name);
    }
    // The same field under a Runge-Kutta method: the same bits as the first-order one.
    let o = Options::tolerances(1e-6, 1e-6);
    let a = solve(&mut stars, &TSIT54, &o, (0.0, 3.0), &y0, &[], &[]).unwrap();
    let b = solve(&mut first, &TSIT54, &o, (0.0, 3.0), &y0, &[], &[]).unwrap();
    assert_eq!((a.y1, a.report.counts), (b.y1, b.report.counts));
}

#[test]
fn events_and_the_stiffness_estimate() {
    // A ball under gravity hits the ground at t = 1 with v = -2 sqrt(...): q = 1 + v0 t - g t^2 / 2.
    for tab in Tableau::nystrom() {
        let mut ball =
            SecondOrder::new(FnMap::new(1, 1, |_, _: &[f64], p: &[f64], a: &mut [f64]| a[0] = -p[0]));
        let mut events = Events::new().when(Crossing::Falling, AtEvent::Stop, |_, y: &[f64]| y[0]);
        let mut it = Integrator::new(tab, 2, 1, &Options::tolerances(1e-8, 1e-8)).unwrap();
        let at = it.run(&mut ball, (0.0, 5.0), &[1.0, 3.0], &[8.0], &mut events).unwrap().t;
        assert!(
            (at - 1.0).abs() < 1e-12 && (it.y()[1] + 5.0).abs() < 1e-11,
            "{} {at} {:?}",
            tab.name,
            it.y()
        );
        // q'' = -w^2 q: S = w.
        let mut spring =
            SecondOrder::new(FnMap::new(1, 0, |_, q: &[f64], _: &[f64], a: &mut [f64]| a[0] = -49.0 * q[0]));
        let mut worst = 0.0f64;
        let mut sink = FnSink(|s: &mut Step<'_, f64>| {
            worst = worst.max((s.stiffness() - 7.0).abs());
            assert!((s.dy0()[0] - s.y0()[1]).abs() < 1e-15);
            ControlFlow::Continue(())
        });
        it.run(&mut spring, (0.0, 5.0), &[1.0, 0.0], &[], &mut sink).unwrap();
        assert!(worst < 1e-6, "{} {worst:e}", tab.name);
    }
}

/// Three coupled pendulums in a field that swings: positions 3, parameters 2.
fn pendulums() -> SecondOrder<impl Map<f64>> {
    SecondOrder::new(
        FnMap::new(3, 2, |t: f64, q: &[f64], p: &[f64], a: &mut [f64]| {
            for i in 0..3 {
                let (left, right) = (if i > 0 { q[i - 1] } else { 0.0 }, if i < 2 { q[i + 1] } else { 0.0 });
                a[i] = -p[0] * q[i].sin() + p[1] * (left + right - 2.0 * q[i]) + 0.3 * t.cos();
            }
        })
        .with_vjp(|_, q: &[f64], p: &[f64], w: &[f64], qb: &mut [f64], pb: &mut [f64]| {
            for i in 0..3 {
                let (left, right) = (if i > 0 { q[i - 1] } else { 0.0 }, if i < 2 { q[i + 1] } else { 0.0 });
                qb[i] -= w[i] * (p[0] * q[i].cos() + 2.0 * p[1]);
                if i > 0 {
                    qb[i - 1] += w[i] * p[1];
                }
                if i < 2 {
                    qb[i + 1] += w[i] * p[1];
                }
                pb[0] -= w[i] * q[i].sin();
                pb[1] += w[i] * (left + right - 2.0 * q[i]);
            }
        }),
    )
}

const P: [f64; 2] = [1.3, 0.8];
const TIMES: [f64; 5] = [0.0, 0.4, 1.1, 1.9, 2.0];
const SPAN: (f64, f64) = (0.0, 2.0);

/// Two columns.
fn start() -> Vec<f64> {
    noise(12, 4)
}

fn pendulum_options(norm: Norm) -> Options {
    let rtol: Vec<f64> = (0..6).map(|i| 1e-4 * (1.0 + i as f64)).collect();
    Options { norm, ..Options::tolerances(rtol, 1e-5) }
}

fn gradient(tab: &'static Tableau, o: &Options, memory: Memory) -> (Adjoint<f64>, Vec<f64>, Vec<f64>) {
    let mut solver = Adjoint::new(tab, 6, 2, o, memory).unwrap();
    solver.forward(&mut pendulums(), SPAN, &start(), &P, &mut ()).unwrap();
    let w = Weights::new(12, &TIMES, solver.tape().len());
    let (mut yb, mut pb) = (vec![0.0; 12], vec![0.0; 2]);
    solver.reverse(&mut pendulums(), &P, &w.bars(), &mut yb, &mut pb).unwrap();
    (solver, yb, pb)
}

#[test]
fn gradients_are_those_of_the_frozen_program() {
    for tab in Tableau::nystrom() {
        for norm in [Norm::Rms, Norm::Max] {
            let (mut solver, yb, pb) = gradient(tab, &pendulum_options(norm), Memory::States);
            let w = Weights::new(12, &TIMES, solver.tape().len());
            assert!(solver.tape().len() > 2);
            let x: Vec<f64> = start().iter().chain(&P).copied().collect();
            let g: Vec<f64> = yb.iter().chain(&pb).copied().collect();
            let size = g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for i in 0..14 {
                let fd = central(2e-4, |d| {
                    let mut x = x.clone();
                    x[i] += d;
                    w.loss(&solver.replay(&mut pendulums(), &x[12..], &x[..12], &TIMES).unwrap())
                });
                assert!((fd - g[i]).abs() <= 1e-7 * size, "{} {norm:?} {i}: {fd} {}", tab.name, g[i]);
            }
        }
    }
}

#[test]
fn every_memory_policy_gives_the_same_bits_and_none_allocates() {
    for tab in Tableau::nystrom() {
        let o = Options { max_step: 0.05, ..pendulum_options(Norm::Rms) };
        let (_, yb, pb) = gradient(tab, &o, Memory::States);
        for memory in [Memory::Stages, Memory::Every(3), Memory::Checkpoints(4), Memory::States] {
            let (mut s, yb2, pb2) = gradient(tab, &o, memory);
            assert_eq!((&yb, &pb), (&yb2, &pb2), "{} {memory:?}", tab.name);
            let (mut f, y0, w) = (pendulums(), start(), Weights::new(12, &TIMES, s.tape().len()));
            let (mut yb, mut pb) = (vec![0.0; 12], vec![0.0; 2]);
            let mut pass = || {
                s.forward(&mut f, SPAN, &y0, &P, &mut ()).unwrap();
                s.reverse(&mut f, &P, &w.bars(), &mut yb, &mut pb).unwrap();
            };
            pass();
            let before = allocations();
            pass();
            assert_eq!(allocations() - before, 0, "{} {memory:?}", tab.name);
        }
    }
}

#[test]
fn the_time_of_an_event_moves() {
    // q = q0 + v0 t - g t^2 / 2 reaches 0 at t_e; dt_e = -(dq/dx) / v(t_e), and what is left is v(t_e) = -sqrt(v0^2 + 2 g q0).
    for tab in Tableau::nystrom() {
        let mut ball = SecondOrder::new(
            FnMap::new(1, 1, |_, _: &[f64], p: &[f64], a: &mut [f64]| a[0] = -p[0])
                .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], _: &mut [f64], pb: &mut [f64]| pb[0] -= w[0]),
        );
        let mut s = Adjoint::new(tab, 2, 1, &Options::tolerances(1e-9, 1e-9), Memory::States).unwrap();
        let mut stop = Events::new().when(Crossing::Falling, AtEvent::Stop, |_, y: &[f64]| y[0]);
        s.forward(&mut ball, (0.0, 5.0), &[1.0, 3.0], &[8.0], &mut stop).unwrap();
        let (mut yb, mut pb) = ([0.0; 2], [0.0]);
        let event = EventBars { g_t: 0.0, g_y: &[1.0, 0.0], g_p: &[], t: 0.0 };
        let bars = Bars { y1: &[0.0, 1.0], ..Bars::default() };
        s.reverse_event(&mut ball, &[8.0], &bars, &event, &mut yb, &mut pb).unwrap();
        // v_e = -5: dv_e = (v0 dv0 + g dq0 + q0 dg) / v_e.
        for (got, want) in [yb[0], yb[1], pb[0]].into_iter().zip([-8.0 / 5.0, -3.0 / 5.0, -1.0 / 5.0]) {
            assert!((got - want).abs() < 1e-9, "{}: {yb:?} {pb:?}", tab.name);
        }
    }
}

#[test]
fn second_order_fields_transpose() {
    // <J v, w> = <v, J' w> in a batch of two, J v by differences.
    let (mut f, y, v, w) = (pendulums(), start(), noise(12, 5), noise(12, 6));
    let dp = noise(2, 7);
    let mut at = |d: f64, i: usize| {
        let shifted = |x: &[f64], v: &[f64]| x.iter().zip(v).map(|(x, v)| x + d * v).collect::<Vec<_>>();
        let mut dy = vec![0.0; 12];
        f.value(At::new(0.3, &shifted(&y, &v), &shifted(&P, &dp)), &mut dy);
        dy[i]
    };
    let jv: Vec<f64> = (0..12).map(|i| central(1e-3, |d| at(d, i))).collect();
    let (mut yb, mut pb) = (vec![0.0; 12], vec![0.0; 2]);
    let kept = vec![0.0; 12];
    f.vjp(At::new(0.3, &y, &P), Kept { y: &kept, keep: &[] }, &w, BarsMut::new(&mut yb, &mut pb));
    assert!((dot(&jv, &w) - dot(&yb, &v) - dot(&pb, &dp)).abs() < 1e-10);
}

#[test]
fn a_batch_of_fixed_steps_is_its_columns() {
    for tab in Tableau::nystrom() {
        let o = Options { fixed_step: Some(0.1), ..Options::default() };
        let both = solve(&mut pendulums(), tab, &o, SPAN, &start(), &P, &TIMES).unwrap();
        for (c, y0) in start().chunks(6).enumerate() {
            let one = solve(&mut pendulums(), tab, &o, SPAN, y0, &P, &TIMES).unwrap();
            assert_eq!(one.y1, both.y1[6 * c..][..6]);
            assert_eq!(one.state(2), &both.state(2)[6 * c..][..6]);
        }
    }
}

#[test]
fn single_precision_and_ensembles() {
    for tab in Tableau::nystrom() {
        let make = || {
            SecondOrder::<_, f32>::new(FnMap::new(1, 1, |_, q: &[f32], p: &[f32], a: &mut [f32]| {
                a[0] = -p[0] * q[0]
            }))
        };
        let o = Options::tolerances(1e-5, 1e-5);
        let y0: Vec<f32> = (0..20).flat_map(|i| [i as f32, 0.0]).collect();
        let s = solve_ensemble(tab, &o, make, (0.0, 1.0), &y0, Params::Shared(&[4.0]), &[]).unwrap();
        for (y1, y0) in s.y1.chunks(2).zip(y0.chunks(2)) {
            assert!((y1[0] - y0[0] * 2f32.cos()).abs() < 1e-4 * (1.0 + y0[0]), "{}", tab.name);
        }
    }
}

struct Decay;

impl Formula<f64> for Decay {
    fn size(&self) -> Size {
        Size::field(2, 0)
    }
    fn eval<E: Number<f64>>(&self, _: E, y: &[E], _: &[E], dy: &mut [E]) {
        (dy[0], dy[1]) = (-y[0], -y[1]);
    }
}

#[test]
fn other_fields_are_refused() {
    let mut f = common::lotka_volterra();
    let o = Options::default();
    let e = solve(&mut f, &DPRKN64, &o, (0.0, 1.0), &[1.0, 1.0], &[1.5, 1.0, 3.0, 1.0], &[]).unwrap_err();
    assert_eq!(
        e.to_string(),
        "dprkn64 is a method for q'' = a(t, q): give it the acceleration as a SecondOrder field"
    );
    // A batch in lanes has no acceleration of its own, and a switching method no second-order equation to hand on.
    let e = solve_lanes(&DPRKN64, &o, &Decay, (0.0, 1.0), &[1.0, 1.0], Params::Shared(&[]), &[]).unwrap_err();
    assert!(e.to_string().starts_with("dprkn64 is a method for"), "{e}");
    let mut auto = Auto::new(&DPRKN64, &RODAS4, 2, 1, &o).unwrap();
    let mut field =
        Differences::of(FnMap::new(2, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| dy.copy_from_slice(y)));
    let e = auto.run(&mut field, (0.0, 1.0), &[1.0, 1.0], &[], &mut ()).unwrap_err();
    assert!(e.to_string().starts_with("dprkn64 is a method for"), "{e}");
}
