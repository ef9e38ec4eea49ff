//! Symplectic methods: orders, energies over long times, reversibility, symplecticity, dense output, adjoint, allocations.

#[path = "common/alloc.rs"]
mod alloc;

use std::f64::consts::TAU;

use alloc::allocations;
use costate::adjoint::{Adjoint, Bars, Jumps, Memory};
use costate::diff::{FnMap, Map};
use costate::expr::{Sizes, record, record_map};
use costate::ode::*;

/// H = |p|^2 / 2 - 1 / |q|.
fn kepler() -> impl SeparableMap<f64> {
    SecondOrder::new(
        record(2, 0, |_, q, _, a| {
            let r2 = q[0] * q[0] + q[1] * q[1];
            let r3 = r2 * r2.sqrt();
            (a[0], a[1]) = (-q[0] / r3, -q[1] / r3);
        })
        .unwrap()
        .into_map(),
    )
}

fn kepler_energy(y: &[f64]) -> f64 {
    0.5 * (y[2] * y[2] + y[3] * y[3]) - 1.0 / y[0].hypot(y[1])
}

/// At the pericentre with eccentricity e, period 2 pi.
fn pericentre(e: f64) -> [f64; 4] {
    [1.0 - e, 0.0, 0.0, ((1.0 + e) / (1.0 - e)).sqrt()]
}

/// Henon and Heiles: H = |p|^2 / 2 + |q|^2 / 2 + q0^2 q1 - q1^3 / 3.
fn henon_heiles() -> impl SeparableMap<f64> {
    SecondOrder::new(
        record(2, 0, |_, q, _, a| {
            a[0] = -q[0] - 2.0 * q[0] * q[1];
            a[1] = q[1] * q[1] - q[1] - q[0] * q[0];
        })
        .unwrap()
        .into_map(),
    )
}

fn henon_heiles_energy(y: &[f64]) -> f64 {
    let (a, b) = (y[0], y[1]);
    0.5 * (y[2] * y[2] + y[3] * y[3] + a * a + b * b) + a * a * b - b * b * b / 3.0
}

/// H = p0 (cosh v0 + cosh v1) + v0 v1 / 5 + v0 cos t / 10 - p1 (cos q0 + cos q1) + q0 q1 / 10 - p2 q0 sin(2 t) / 5: neither half is linear, both depend on time.
fn forced() -> impl SeparableMap<f64> {
    let velocity = record_map(Sizes { inputs: 2, outputs: 2, params: 1 }, |t, v, p, dq| {
        dq[0] = p[0] * v[0].sinh() + v[1] * 0.2 + t.cos() * 0.1;
        dq[1] = p[0] * v[1].sinh() + v[0] * 0.2;
    });
    let force = record_map(Sizes { inputs: 2, outputs: 2, params: 2 }, |t, q, p, dv| {
        dv[0] = -p[0] * q[0].sin() - q[1] * 0.1 + p[1] * (2.0 * t).sin() * 0.2;
        dv[1] = -p[0] * q[1].sin() - q[0] * 0.1;
    });
    Separable::new(velocity.unwrap().into_map(), force.unwrap().into_map()).unwrap()
}

const FORCED: [f64; 4] = [0.9, -0.4, 0.3, 0.5];
const PARAMS: [f64; 3] = [1.1, 1.3, 0.7];

#[test]
fn convergence_orders_of_ends_and_of_the_cubic_between() {
    let times: Vec<f64> = (1..40).map(|i| 0.0511 * i as f64).collect();
    let tight = Options::tolerances(1e-13, 1e-13);
    let exact = solve(&mut forced(), &VERN87, &tight, (0.0, 2.0), &FORCED, &PARAMS, &times).unwrap();
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    for (tab, first) in [(&VERLET, 64), (&BLANES_MOAN4, 16)] {
        let mut errors = vec![];
        for k in 0..5 {
            let mut it =
                SymplecticIntegrator::new(tab, 4, 1, &Options::fixed(2.0 / (first << k) as f64)).unwrap();
            let mut save = SaveAt::new(&times);
            let r = it.run(&mut forced(), (0.0, 2.0), &FORCED, &PARAMS, &mut save).unwrap();
            assert_eq!((r.stop, r.counts.accepted), (OdeStop::Finished, first << k));
            errors.push((far(it.y(), &exact.y1), far(save.states(), exact.states())));
        }
        let orders: Vec<(f64, f64)> =
            errors.windows(2).map(|w| ((w[0].0 / w[1].0).log2(), (w[0].1 / w[1].1).log2())).collect();
        println!("{} {errors:?} {orders:?}", tab.name);
        let last = orders.last().unwrap();
        assert!((last.0 - tab.order as f64).abs() < 0.1, "{}: {orders:?}", tab.name);
        // The cubic's error is h^4.
        assert!((last.1 - tab.order as f64).abs() < 0.15, "{}: {orders:?}", tab.name);
    }
}

/// The largest error of the energy in each tenth of 10^5 steps.
fn drift(
    tab: &'static SymplecticTableau,
    mut field: impl SeparableMap<f64>,
    y0: &[f64],
    h: f64,
    energy: fn(&[f64]) -> f64,
) -> Vec<f64> {
    let (steps, e0) = (100_000usize, energy(y0));
    let (mut tenths, mut k) = (vec![0.0f64; 10], 0);
    let mut watch = FnSink(|s: &mut Step<'_, f64>| {
        let tenth = (k * 10 / steps).min(9);
        tenths[tenth] = tenths[tenth].max((energy(s.y1()) - e0).abs());
        k += 1;
        std::ops::ControlFlow::Continue(())
    });
    let mut it =
        SymplecticIntegrator::new(tab, y0.len(), 1, &Options { max_steps: 200_000, ..Options::fixed(h) })
            .unwrap();
    let r = it.run(&mut field, (0.0, h * steps as f64), y0, &[], &mut watch).unwrap();
    assert!(r.ok() && r.counts.accepted.abs_diff(steps as u64) <= 1, "{}", r.message());
    tenths
}

#[test]
fn energies_stay_for_a_hundred_thousand_steps() {
    for (tab, h, most) in [(&VERLET, TAU / 500.0, 3e-3), (&BLANES_MOAN4, TAU / 100.0, 1e-4)] {
        let e = drift(tab, kepler(), &pericentre(0.4), h, kepler_energy);
        println!("kepler {} {e:?}", tab.name);
        assert!(e.iter().all(|x| *x < most) && e[9] < 1.05 * e[0] + 1e-12, "{} {e:?}", tab.name);
    }
    for (tab, h, most) in [(&VERLET, 0.1, 1e-3), (&BLANES_MOAN4, 0.5, 1e-4)] {
        let y0 = [0.1, -0.2, 0.35, 0.1];
        let e = drift(tab, henon_heiles(), &y0, h, henon_heiles_energy);
        println!("henon-heiles {} {e:?}", tab.name);
        let (first, last) =
            (e[..5].iter().copied().fold(0.0, f64::max), e[5..].iter().copied().fold(0.0, f64::max));
        assert!(e.iter().all(|x| *x < most) && last < 1.2 * first, "{} {e:?}", tab.name);
    }
    // The comparison: as many evaluations by a method without the property drift.
    let y0 = pericentre(0.4);
    let o = Options { max_steps: 200_000, ..Options::fixed(TAU / 100.0) };
    let mut it = Integrator::new(&TSIT54, 4, 1, &o).unwrap();
    it.run(&mut kepler(), (0.0, 1000.0 * TAU), &y0, &[], &mut ()).unwrap();
    let moved = (kepler_energy(it.y()) - kepler_energy(&y0)).abs();
    println!("tsit54 {moved:.1e}");
    assert!(moved > 1e-5, "{moved}");
}

#[test]
fn steps_are_reversible() {
    for tab in SymplecticTableau::all() {
        let mut it = SymplecticIntegrator::new(tab, 4, 1, &Options::fixed(0.05)).unwrap();
        it.run(&mut henon_heiles(), (0.0, 50.0), &[0.1, -0.2, 0.35, 0.1], &[], &mut ()).unwrap();
        let there = it.y().to_vec();
        it.run(&mut henon_heiles(), (50.0, 0.0), &there, &[], &mut ()).unwrap();
        for (a, b) in it.y().iter().zip([0.1, -0.2, 0.35, 0.1]) {
            assert!((a - b).abs() < 1e-11, "{} {:?}", tab.name, it.y());
        }
    }
}

/// dy1/dy0 by rows, from the adjoint.
fn jacobian(tab: &'static SymplecticTableau, h: f64, end: f64) -> [[f64; 4]; 4] {
    let mut field = forced();
    let mut solver = Adjoint::new(tab, 4, 1, &Options::fixed(h), Memory::States).unwrap();
    solver.forward(&mut field, (0.0, end), &FORCED, &PARAMS, &mut ()).unwrap();
    std::array::from_fn(|i| {
        let (mut row, mut p_bar, mut e) = ([0.0; 4], [0.0; 3], [0.0; 4]);
        e[i] = 1.0;
        solver
            .reverse(&mut field, &PARAMS, &Bars { y1: &e, ..Bars::default() }, &mut row, &mut p_bar)
            .unwrap();
        row
    })
}

#[test]
fn the_jacobian_is_symplectic() {
    for tab in SymplecticTableau::all() {
        for (h, end) in [(0.3, 0.3), (0.3, 3.0), (0.7, 0.2)] {
            let j = jacobian(tab, h, end);
            let omega = |a: usize, b: usize| match (a, b) {
                (a, b) if b == a + 2 => 1.0,
                (a, b) if a == b + 2 => -1.0,
                _ => 0.0,
            };
            for a in 0..4 {
                for b in 0..4 {
                    let sum: f64 = (0..16).map(|k| j[k / 4][a] * omega(k / 4, k % 4) * j[k % 4][b]).sum();
                    assert!((sum - omega(a, b)).abs() < 1e-11, "{} {a} {b}: {sum}", tab.name);
                }
            }
        }
    }
}

/// The gradient of sum_i w_i y_i(t1) and of saved states, by every memory, against differences of fourth order.
#[test]
fn gradients_against_differences_and_the_same_bits_by_every_memory() {
    let times = [0.0, 0.37, 1.0, 1.93, 2.0];
    let weights: Vec<f64> = (0..20).map(|i| (1.7 * i as f64).sin()).collect();
    let end = [0.3, -1.0, 0.6, 0.2];
    for tab in SymplecticTableau::all() {
        let options = Options::fixed(0.16);
        let loss = |x: &[f64]| {
            let mut it = SymplecticIntegrator::new(tab, 4, 1, &options).unwrap();
            let mut save = SaveAt::new(&times);
            it.run(&mut forced(), (0.0, 2.0), &x[..4], &x[4..], &mut save).unwrap();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(save.states(), &weights) + dot(it.y(), &end)
        };
        let mut bits: Option<Vec<u64>> = None;
        for memory in [Memory::Stages, Memory::States, Memory::Every(3), Memory::Checkpoints(2)] {
            let mut field = forced();
            let mut solver = Adjoint::new(tab, 4, 1, &options, memory).unwrap();
            solver.forward(&mut field, (0.0, 2.0), &FORCED, &PARAMS, &mut ()).unwrap();
            let mut g = [0.0; 7];
            let (y0_bar, p_bar) = g.split_at_mut(4);
            let bars = Bars { y1: &end, times: &times, saved: &weights, ..Bars::default() };
            solver.reverse(&mut field, &PARAMS, &bars, y0_bar, p_bar).unwrap();
            let x: Vec<f64> = FORCED.iter().chain(&PARAMS).copied().collect();
            for i in 0..7 {
                let at = |d: f64| {
                    let mut x = x.clone();
                    x[i] += d;
                    loss(&x)
                };
                let d = 1e-3;
                let want = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
                assert!(
                    (g[i] - want).abs() < 1e-9 * (1.0 + want.abs()),
                    "{} {memory:?} {i}: {} {want}",
                    tab.name,
                    g[i]
                );
            }
            let these: Vec<u64> = g.iter().map(|v| v.to_bits()).collect();
            assert_eq!(*bits.get_or_insert_with(|| these.clone()), these, "{} {memory:?}", tab.name);
        }
    }
}

/// <J v, w> = <v, J' w>, J v by the tangent of the steps: for a linear field the steps of a difference.
#[test]
fn steps_of_a_linear_field_are_transposed_exactly() {
    let matrix = |rows: [[f64; 2]; 2]| {
        FnMap::new(2, 0, move |_, x: &[f64], _: &[f64], y: &mut [f64]| {
            (y[0], y[1]) = (rows[0][0] * x[0] + rows[0][1] * x[1], rows[1][0] * x[0] + rows[1][1] * x[1]);
        })
        .with_vjp(move |_, _: &[f64], _: &[f64], w: &[f64], x: &mut [f64], _: &mut [f64]| {
            x[0] += rows[0][0] * w[0] + rows[1][0] * w[1];
            x[1] += rows[0][1] * w[0] + rows[1][1] * w[1];
        })
    };
    let mut field =
        Separable::new(matrix([[2.0, 0.3], [0.3, 1.0]]), matrix([[-1.0, 0.2], [0.2, -3.0]])).unwrap();
    let (v, w) = ([0.3, -0.7, 1.1, 0.2], [0.9, 0.4, -0.6, 0.8]);
    let saved = [0.5, -0.1, 0.7, 0.3];
    for tab in SymplecticTableau::all() {
        let mut solver = Adjoint::new(tab, 4, 1, &Options::fixed(0.11), Memory::States).unwrap();
        let mut save = SaveAt::new(&[0.77]);
        solver.forward(&mut field, (0.0, 1.0), &v, &[], &mut save).unwrap();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let left = dot(solver.y(), &w) + dot(save.state(0), &saved);
        let mut y0_bar = [0.0; 4];
        let bars = Bars { y1: &w, times: &[0.77], saved: &saved, ..Bars::default() };
        solver.reverse(&mut field, &[], &bars, &mut y0_bar, &mut []).unwrap();
        assert!((left - dot(&v, &y0_bar)).abs() < 1e-13, "{}: {left} {}", tab.name, dot(&v, &y0_bar));
    }
}

#[test]
fn events_resume_and_batches() {
    // A ball that bounces: H = p^2 / 2 + g q.
    let ball = || {
        SecondOrder::new(
            FnMap::new(1, 1, |_, _: &[f64], p: &[f64], a: &mut [f64]| a[0] = -p[0])
                .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], _: &mut [f64], p: &mut [f64]| p[0] -= w[0]),
        )
    };
    let g = FnMap::with_outputs(2, 1, 0, |_, y: &[f64], _: &[f64], g: &mut [f64]| g[0] = y[0])
        .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], y: &mut [f64], _: &mut [f64]| y[0] += w[0])
        .autonomous();
    let turn = FnMap::new(2, 0, |_, y: &[f64], _: &[f64], to: &mut [f64]| (to[0], to[1]) = (y[0], -y[1]))
        .with_vjp(|_, _: &[f64], _: &[f64], w: &[f64], y: &mut [f64], _: &mut [f64]| {
            y[0] += w[0];
            y[1] -= w[1];
        })
        .autonomous();
    let jumps = Jumps::new().when(Crossing::Falling, g, turn);
    for tab in SymplecticTableau::all() {
        let mut solver = Adjoint::new(tab, 2, 1, &Options::fixed(0.13), Memory::States).unwrap();
        solver.forward_jumps(&mut ball(), (0.0, 1.0), &[2.0, 0.0], &[9.81], &jumps, &mut ()).unwrap();
        // Falls are quadratic in time: every method is exact. Up again with the speed it came with.
        let (s, te) = ((2.0 * 2.0 * 9.81f64).sqrt(), (4.0 / 9.81f64).sqrt());
        let want = s * (1.0 - te) - 9.81 * (1.0 - te) * (1.0 - te) / 2.0;
        assert!((solver.y()[0] - want).abs() < 1e-12, "{} {}", solver.y()[0], want);
        let (mut y0_bar, mut p_bar) = ([0.0; 2], [0.0]);
        let bars = Bars { y1: &[1.0, 0.0], ..Bars::default() };
        solver.reverse_jumps(&mut ball(), &[9.81], &bars, &jumps, 0.0, &mut y0_bar, &mut p_bar).unwrap();
        let right = 9.81 / s * (1.0 - te) - 1.0 + 9.81 * (1.0 - te) / s;
        assert!((y0_bar[0] - right).abs() < 1e-9, "{} {right}", y0_bar[0]);
    }
    // A run that goes on has the same bits; a batch is its columns.
    let (o, y0) = (Options::fixed(0.07), [0.1, -0.2, 0.35, 0.1, 0.2, 0.1, -0.1, 0.3]);
    let mut it = SymplecticIntegrator::new(&BLANES_MOAN4, 4, 2, &o).unwrap();
    it.run(&mut henon_heiles(), (0.0, 7.0), &y0, &[], &mut ()).unwrap();
    let whole = it.y().to_vec();
    let mut stop = FnSink(|s: &mut Step<'_, f64>| {
        if s.index() == 40 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    });
    it.run(&mut henon_heiles(), (0.0, 7.0), &y0, &[], &mut stop).unwrap();
    let saved = it.saved().unwrap();
    it.resume(&mut henon_heiles(), &saved, 7.0, &[], &mut ()).unwrap();
    assert_eq!(it.y(), whole);
    let mut one = SymplecticIntegrator::new(&BLANES_MOAN4, 4, 1, &o).unwrap();
    for (y0, y1) in y0.chunks(4).zip(whole.chunks(4)) {
        one.run(&mut henon_heiles(), (0.0, 7.0), y0, &[], &mut ()).unwrap();
        assert_eq!(one.y(), y1);
    }
}

#[test]
fn no_allocation_per_step() {
    let mut it = SymplecticIntegrator::new(&BLANES_MOAN4, 4, 1, &Options::fixed(0.05)).unwrap();
    let mut field = henon_heiles();
    let mut count = |end: f64| {
        let before = allocations();
        it.run(&mut field, (0.0, end), &[0.1, -0.2, 0.35, 0.1], &[], &mut ()).unwrap();
        allocations() - before
    };
    count(1.0);
    assert_eq!(count(1.0), count(100.0));
}

#[test]
fn bad_input_is_one_clear_error_each() {
    let make = |dim, o: &Options| {
        SymplecticIntegrator::<f64>::new(&VERLET, dim, 1, o).map(|_| ()).unwrap_err().to_string()
    };
    assert!(make(2, &Options::default()).contains("fixed step"));
    assert!(make(3, &Options::fixed(0.1)).contains("no pair"));
    let one = || FnMap::new(1, 0, |_, x: &[f64], _: &[f64], y: &mut [f64]| y[0] = x[0]);
    let two = FnMap::new(2, 0, |_, x: &[f64], _: &[f64], y: &mut [f64]| y.copy_from_slice(x));
    assert!(Separable::new(one(), two).map(|_| ()).unwrap_err().to_string().contains("force"));
    let mut field = Separable::new(one(), one()).unwrap();
    let mut it = SymplecticIntegrator::new(&VERLET, 4, 1, &Options::fixed(0.1)).unwrap();
    assert!(it.run(&mut field, (0.0, 1.0), &[0.0; 4], &[], &mut ()).is_err());
    // A force that is not finite ends the run with a word.
    let edge = FnMap::new(1, 0, |t: f64, _: &[f64], _: &[f64], y: &mut [f64]| y[0] = (0.5 - t).sqrt());
    let mut field = Separable::new(one(), edge).unwrap();
    let mut it = SymplecticIntegrator::new(&VERLET, 2, 1, &Options::fixed(0.1)).unwrap();
    let r = it.run(&mut field, (0.0, 1.0), &[0.0; 2], &[], &mut ()).unwrap();
    assert!(r.stop == OdeStop::NotFinite && r.message().contains("not finite"), "{}", r.message());
}
