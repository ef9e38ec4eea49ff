//! The discrete adjoint of Rosenbrock methods against finite differences of the frozen-step program, dual numbers, the continuous adjoint, itself.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;

use adjoint::{Weights, central, noise};
use alloc::allocations;
use costate::adjoint::{Adjoint, Bars, Memory, StiffAdjoint};
use costate::diff::{Dual, Formula, Map, Number, Size};
use costate::expr::{Formulated, formula};
use costate::ode::*;

/// y0' = -40 p0 (y0 - y1 cos t) + p1 y1^2, y1' = -p2 y0 y1 + sin t - y1^2 y0.
struct Forced;

/// The same with t = 0.7 on the right.
struct Frozen;

impl Formula<f64> for Frozen {
    fn size(&self) -> Size {
        Size::field(2, 3)
    }
    fn eval<D: Number<f64>>(&self, _: D, y: &[D], p: &[D], dy: &mut [D]) {
        dy.copy_from_slice(&rhs(D::of(0.7), y, p));
    }
}

fn rhs<D: Number<f64>>(t: D, y: &[D], p: &[D]) -> [D; 2] {
    [
        -(p[0] * 40.0) * (y[0] - y[1] * t.cos()) + p[1] * y[1] * y[1],
        -p[2] * y[0] * y[1] + t.sin() - y[1] * y[1] * y[0],
    ]
}

impl Formula<f64> for Forced {
    fn size(&self) -> Size {
        Size::field(2, 3)
    }
    fn eval<D: Number<f64>>(&self, t: D, y: &[D], p: &[D], dy: &mut [D]) {
        dy.copy_from_slice(&rhs(t, y, p));
    }
}

/// Columns of df/dy, then df/dt, by hand.
fn derivatives<D: Number<f64>>(t: f64, y: &[D], p: &[D]) -> [[D; 2]; 3] {
    let (s, c) = t.sin_cos();
    [
        [-(p[0] * 40.0), -p[2] * y[1] - y[1] * y[1]],
        [p[0] * (40.0 * c) + p[1] * y[1] * 2.0, -p[2] * y[0] - y[1] * y[0] * 2.0],
        [-(p[0] * 40.0) * y[1] * s, D::of(c)],
    ]
}

fn jacobian(t: f64, y: &[f64], p: &[f64], j: &mut [f64]) {
    let d = derivatives(t, y, p);
    j.copy_from_slice(&[d[0][0], d[0][1], d[1][0], d[1][1]]);
}

const P: [f64; 3] = [1.1, 1.7, 0.8];
const Y0: [f64; 6] = [0.9, 0.1, 0.4, 0.6, 1.2, 0.8];
const TIMES: [f64; 6] = [0.0, 0.03, 0.31, 1.0, 1.9, 2.0];
const SPAN: (f64, f64) = (0.0, 2.0);

/// The controller is said, so that the steps are known to stay off the kinks of E (in the scale and in the maximum norm) by more than a difference.
fn options(norm: Norm) -> Options {
    let controller = Controller::pi(0.2, 0.65);
    Options { norm, controller, ..Options::tolerances(vec![1e-3, 3e-3], 1e-4) }
}

fn gradient<F: Map<f64>>(
    field: &mut F,
    tab: &'static RosenbrockTableau,
    o: &Options,
    memory: Memory,
) -> (StiffAdjoint<f64>, Vec<f64>, Vec<f64>, OdeCounts) {
    let mut solver = StiffAdjoint::new(tab, 2, 3, o, memory).unwrap();
    let r = solver.forward(field, SPAN, &Y0, &P, &mut ()).unwrap();
    assert!(r.ok());
    let w = Weights::new(6, &TIMES, solver.tape().len());
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
    let counts = solver.reverse(field, &P, &w.bars(), &mut yb, &mut pb).unwrap();
    (solver, yb, pb, counts)
}

#[test]
fn finite_differences_of_the_frozen_step_program() {
    let mut field = formula(Forced).unwrap();
    for tab in RosenbrockTableau::all() {
        for norm in [Norm::Rms, Norm::Max] {
            let (mut solver, yb, pb, _) = gradient(&mut field, tab, &options(norm), Memory::States);
            let w = Weights::new(6, &TIMES, solver.tape().len());
            let x: Vec<f64> = Y0.iter().chain(&P).copied().collect();
            let size = yb.iter().chain(&pb).fold(0.0f64, |m, v| m.max(v.abs()));
            for i in 0..9 {
                let at = |d: f64| {
                    let mut x = x.clone();
                    x[i] += d;
                    w.loss(&solver.replay(&mut field, &x[6..], &x[..6], &TIMES).unwrap())
                };
                // Fourth-order central difference: short because of the kinks in the scale's maximum, longer where rounding in S needs it.
                let d = if tab.has_stiffness() { 1e-4 } else { 2e-5 };
                let fd = central(d, at);
                let g = if i < 6 { yb[i] } else { pb[i - 6] };
                let error = (fd - g).abs() / size;
                assert!(error <= 1e-7, "{} {norm:?} {i}: {fd} {g}", tab.name);
            }
        }
    }
}

/// Gradient with bars on states alone, and with all bars.
fn gradients<F: Map<f64>>(mut f: F, tab: &'static RosenbrockTableau) -> [Vec<f64>; 2] {
    let (mut s, yb, pb, _) = gradient(&mut f, tab, &options(Norm::Rms), Memory::States);
    let w = Weights::new(6, &TIMES, 0);
    let bars = Bars { y1: &w.y1, times: &TIMES, saved: &w.saved, ..Bars::default() };
    let (mut ya, mut pa) = (vec![0.0; 6], vec![0.0; 3]);
    s.reverse(&mut f, &P, &bars, &mut ya, &mut pa).unwrap();
    [[ya, pa].concat(), [yb, pb].concat()]
}

fn far(a: &[f64], b: &[f64]) -> f64 {
    let size = a.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / size).fold(0.0, f64::max)
}

#[test]
fn second_derivatives_by_differences_agree_with_dual_numbers() {
    for tab in RosenbrockTableau::all() {
        let frozen = || formula(Frozen).unwrap();
        let jac = |_: f64, y: &[f64], p: &[f64], j: &mut [f64]| jacobian(0.7, y, p, j);
        let exact = gradients(frozen(), tab);
        let pullback = gradients(frozen().autonomous(), tab);
        let by_hand = gradients(frozen().with_jacobian(jac).autonomous(), tab);
        for g in [&pullback, &by_hand] {
            println!("{} {:.1e} {:.1e}", tab.name, far(&exact[0], &g[0]), far(&exact[1], &g[1]));
            assert!(far(&exact[0], &g[0]) <= 1e-11, "{}", tab.name);
            // E and S are made of differences between stages: rounding counts for more.
            assert!(far(&exact[1], &g[1]) <= 1e-7, "{}", tab.name);
        }
    }
}

/// The frozen-step program in dual numbers, written again from the tableau: directional derivative of the weighted results.
fn dual_program(tab: &RosenbrockTableau, steps: &[(f64, f64)], w: &Weights, dir: &[f64], o: &Options) -> f64 {
    let p: Vec<Dual<f64>> = (0..3).map(|i| Dual::new(P[i], dir[6 + i])).collect();
    let mut y: Vec<Dual<f64>> = (0..6).map(|i| Dual::new(Y0[i], dir[i])).collect();
    let zero = Dual::splat(0.0);
    let mut loss = zero;
    let mut add = |w: &[f64], v: &[Dual<f64>]| w.iter().zip(v).for_each(|(a, b)| loss += *b * *a);
    add(&w.saved[..6], &y);
    let (Tolerance::Each(rtol), Tolerance::One(atol)) = (&o.rtol, &o.atol) else { panic!() };
    let s = tab.stages();
    for (j, &(t, h)) in steps.iter().enumerate() {
        let (mut u, mut f, mut g) = (vec![], vec![], vec![]);
        for i in 0..s {
            let sum = |w: &dyn Fn(usize) -> f64, m: usize| {
                (0..i)
                    .map(|l: usize| {
                        let u: &Vec<Dual<f64>> = &u[l];
                        u[m] * w(l)
                    })
                    .fold(zero, |a, b| a + b)
            };
            let gi: Vec<Dual<f64>> = (0..6).map(|m| y[m] + sum(&|l| tab.a(i, l), m)).collect();
            let fi: Vec<Dual<f64>> =
                gi.chunks(2).flat_map(|y| rhs(Dual::splat(t + tab.alpha[i] * h), y, &p)).collect();
            let mut ui = vec![];
            for b in 0..3 {
                let d = derivatives(t, &y[2 * b..2 * b + 2], &p);
                let r = |m: usize| {
                    fi[2 * b + m] + sum(&|l| tab.c[i][l] / h, 2 * b + m) + d[2][m] * (h * tab.d[i])
                };
                // Cramer's rule for W = I / (h gamma) - J.
                let e = 1.0 / (h * tab.gamma);
                let (w00, w10, w01, w11) = (-d[0][0] + e, -d[0][1], -d[1][0], -d[1][1] + e);
                let det = w00 * w11 - w01 * w10;
                ui.push((r(0) * w11 - w01 * r(1)) / det);
                ui.push((w00 * r(1) - w10 * r(0)) / det);
            }
            u.push(ui);
            f.push(fi);
            g.push(gi);
        }
        let y1: Vec<Dual<f64>> = (0..6).map(|m| g[s - 1][m] + u[s - 1][m]).collect();
        let v = |m: usize| {
            let u = tab.e.iter().enumerate().fold(zero, |a, (i, e)| a + u[i][m] * *e);
            let larger = if y[m].re.abs() > y1[m].re.abs() { y[m] } else { y1[m] };
            u / (larger * larger.re.signum() * rtol[m % 2] + *atol)
        };
        add(&w.error[j..=j], &[((0..6).map(|m| v(m) * v(m)).fold(zero, |a, b| a + b) / 6.0).sqrt()]);
        if tab.has_stiffness() {
            let d2 = |a: &[Dual<f64>], b: &[Dual<f64>]| {
                (0..6).map(|m| (a[m] - b[m]) * (a[m] - b[m])).fold(zero, |a, b| a + b)
            };
            add(&w.stiffness[j..=j], &[(d2(&f[s - 1], &f[s - 2]) / d2(&g[s - 1], &g[s - 2])).sqrt()]);
        }
        for (i, &ts) in TIMES.iter().enumerate().filter(|(_, ts)| t < **ts && **ts <= t + h * (1.0 + 1e-12)) {
            let th = (ts - t) / h;
            let q =
                |l: usize| tab.q.iter().rev().fold(0.0, |s, row| s * th + row.get(l).copied().unwrap_or(0.0));
            let v: Vec<Dual<f64>> = (0..6)
                .map(|m| {
                    let z = (0..s).fold(zero, |a, l| a + u[l][m] * (th * (1.0 - th) * q(l)));
                    y[m] * (1.0 - th) + y1[m] * th + z
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
    // <w, J v> in forward mode against <J' w, v>: the transposition test. S is a quotient of small differences between stages, whose rounding counts
    // for more: with and without it.
    for tab in RosenbrockTableau::all() {
        let o = options(Norm::Rms);
        let mut f = formula(Forced).unwrap();
        let (mut solver, ..) = gradient(&mut f, tab, &o, Memory::States);
        let steps: Vec<_> = (0..solver.tape().len()).map(|j| solver.tape().step(j)).collect();
        for (with_stiffness, limit) in [(false, 1e-11), (true, 1e-9)] {
            let mut w = Weights::new(6, &TIMES, steps.len());
            if !with_stiffness {
                w.stiffness.fill(0.0);
            }
            let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
            solver.reverse(&mut f, &P, &w.bars(), &mut yb, &mut pb).unwrap();
            for seed in 10..14 {
                let v = noise(9, seed);
                let forward = dual_program(tab, &steps, &w, &v, &o);
                let reverse: f64 = yb.iter().chain(&pb).zip(&v).map(|(a, b)| a * b).sum();
                let size: f64 = yb.iter().chain(&pb).zip(&v).map(|(a, b)| (a * b).abs()).sum();
                println!("{} {with_stiffness} {:.1e}", tab.name, (forward - reverse).abs() / size);
                assert!((forward - reverse).abs() <= limit * size, "{}: {forward} {reverse}", tab.name);
            }
        }
    }
}

#[test]
fn a_difference_for_the_time_derivative_leaves_six_digits() {
    for tab in RosenbrockTableau::all() {
        let exact = gradients(formula(Forced).unwrap(), tab);
        let difference = gradients(formula(Forced).unwrap().with_jacobian(jacobian), tab);
        println!("{} {:.1e}", tab.name, far(&exact[0], &difference[0]));
        assert!(far(&exact[0], &difference[0]) <= 1e-6, "{}", tab.name);
    }
}

#[test]
fn every_memory_policy_gives_the_same_bits() {
    for tab in RosenbrockTableau::all() {
        let o = Options { max_step: 0.04, ..options(Norm::Rms) };
        // df/dt is a difference whose increment depends on the step: rejections must not matter.
        let mut f = formula(Forced).unwrap();
        let (all, yb, pb, base) = gradient(&mut f, tab, &o, Memory::States);
        let n = all.tape().len();
        assert!(n >= 50);
        assert_eq!(base.recomputed, n as u64);
        let policies = [1, 2, 3, 5, 9, 1000].map(Memory::Checkpoints);
        let every = [1, 2, 7, 1000].map(Memory::Every);
        for memory in [Memory::Stages].into_iter().chain(policies).chain(every) {
            let (solver, yb2, pb2, counts) = gradient(&mut f, tab, &o, memory);
            assert_eq!((&yb, &pb), (&yb2, &pb2), "{} {memory:?}", tab.name);
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

/// Robertson's reactions; parameters are the logarithms of the rate constants.
struct Robertson;

impl Formula<f64> for Robertson {
    fn size(&self) -> Size {
        Size::field(3, 3)
    }
    fn eval<D: Number<f64>>(&self, _: D, y: &[D], p: &[D], dy: &mut [D]) {
        let (a, b, c) = (p[0].exp() * y[0], p[1].exp() * y[1] * y[2], p[2].exp() * y[1] * y[1]);
        (dy[0], dy[1], dy[2]) = (b - a, a - b - c, c);
    }
}

fn robertson<F: Map<f64>>(mut f: F, tol: f64) -> (Vec<f64>, Vec<f64>, StiffAdjoint<f64>) {
    let p = [0.04f64.ln(), 1e4f64.ln(), 3e7f64.ln()];
    let o = Options::tolerances(tol, 1e-4 * tol);
    let mut solver = StiffAdjoint::new(&RODAS5P, 3, 1, &o, Memory::States).unwrap();
    let r = solver.forward(&mut f, (0.0, 1e4), &[1.0, 0.0, 0.0], &p, &mut ()).unwrap();
    // `rejected_steps_leave_no_trace` relies on rejections.
    assert!(r.ok() && r.counts.rejected > 0, "{r:?}");
    let (mut yb, mut pb) = (vec![0.0; 3], vec![0.0; 3]);
    solver.reverse(&mut f, &p, &Bars { y1: &[0.0, 0.0, 1.0], ..Bars::default() }, &mut yb, &mut pb).unwrap();
    (yb, pb, solver)
}

#[test]
fn second_derivatives_by_differences_are_good_to_ten_digits_on_a_stiff_problem() {
    let (ya, pa, _) = robertson(formula(Robertson).unwrap(), 1e-6);
    let (yb, pb, _) = robertson(formula(Robertson).unwrap().autonomous(), 1e-6);
    for (a, b) in ya.iter().zip(&yb).chain(pa.iter().zip(&pb)) {
        println!("{a} {b} {:.1e}", ((a - b) / a).abs());
        assert!((a - b).abs() <= 1e-9 * a.abs(), "{a} {b}");
    }
}

#[test]
fn the_discrete_adjoint_converges_to_the_true_sensitivities_of_robertsons_problem() {
    // Forward sensitivities: y3 with one parameter moved, at a tight tolerance, fourth-order differences.
    let p = [0.04f64.ln(), 1e4f64.ln(), 3e7f64.ln()];
    let y3 = |i: usize, d: f64| {
        let mut p = p;
        p[i] += d;
        let o = Options::tolerances(1e-11, 1e-15);
        solve(&mut formula(Robertson).unwrap(), &RODAS5P, &o, (0.0, 1e4), &[1.0, 0.0, 0.0], &p, &[])
            .unwrap()
            .y1[2]
    };
    let d = 0.01;
    let exact: Vec<f64> = (0..3)
        .map(|i| (8.0 * (y3(i, d) - y3(i, -d)) - (y3(i, 2.0 * d) - y3(i, -2.0 * d))) / (12.0 * d))
        .collect();
    let mut last = f64::INFINITY;
    for (tol, want) in [(1e-4, 1e-2), (1e-6, 1e-4), (1e-8, 1e-6)] {
        let (_, pb, _) = robertson(formula(Robertson).unwrap(), tol);
        let error = pb.iter().zip(&exact).map(|(a, b)| ((a - b) / b).abs()).fold(0.0, f64::max);
        println!("tol {tol:.0e}: {error:.1e}");
        assert!(error < want && error < last, "tol {tol:.0e}: {pb:?} {exact:?}");
        last = error;
    }
}

#[test]
fn agrees_with_the_explicit_adjoint_where_both_converge() {
    let mut f = formula(Forced).unwrap();
    let o = Options::tolerances(1e-11, 1e-11);
    let w = noise(6, 5);
    let bars = Bars { y1: &w, ..Bars::default() };
    let (mut ya, mut pa) = (vec![0.0; 6], vec![0.0; 3]);
    let mut explicit = Adjoint::new(&DOP853, 2, 3, &o, Memory::States).unwrap();
    explicit.forward(&mut f, SPAN, &Y0, &P, &mut ()).unwrap();
    explicit.reverse(&mut f, &P, &bars, &mut ya, &mut pa).unwrap();
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
    let mut stiff = StiffAdjoint::new(&RODAS5P, 2, 3, &o, Memory::States).unwrap();
    stiff.forward(&mut f, SPAN, &Y0, &P, &mut ()).unwrap();
    stiff.reverse(&mut f, &P, &bars, &mut yb, &mut pb).unwrap();
    for (a, b) in ya.iter().zip(&yb).chain(pa.iter().zip(&pb)) {
        assert!((a - b).abs() < 1e-8, "{a} {b}");
    }
}

#[test]
fn rejected_steps_leave_no_trace() {
    // The accepted steps of an adaptive pass with rejections, given one by one to fixed-step passes.
    let mut f = formula(Robertson).unwrap();
    let (ya, pa, solver) = robertson(formula(Robertson).unwrap(), 1e-3);
    let n = solver.tape().len();
    let p = [0.04f64.ln(), 1e4f64.ln(), 3e7f64.ln()];
    let mut states = vec![vec![1.0, 0.0, 0.0]];
    let steps: Vec<(f64, f64)> = (0..n).map(|j| solver.tape().step(j)).collect();
    let one = |j: usize, y: &[f64], f: &mut Formulated<Robertson, f64>| {
        let (t, h) = steps[j];
        let mut s = StiffAdjoint::new(&RODAS5P, 3, 1, &Options::fixed(h), Memory::States).unwrap();
        s.forward(f, (t, t + h), y, &p, &mut ()).unwrap();
        assert_eq!(s.tape().len(), 1);
        s
    };
    for j in 0..n {
        let y = one(j, &states[j], &mut f).y().to_vec();
        states.push(y);
    }
    let (mut lambda, mut pb) = (vec![0.0, 0.0, 1.0], vec![0.0; 3]);
    for j in (0..n).rev() {
        let mut s = one(j, &states[j], &mut f);
        let mut yb = vec![0.0; 3];
        s.reverse(&mut f, &p, &Bars { y1: &lambda, ..Bars::default() }, &mut yb, &mut pb).unwrap();
        lambda = yb;
    }
    for (a, b) in ya.iter().zip(&lambda).chain(pa.iter().zip(&pb)) {
        assert!((a - b).abs() <= 1e-8 * a.abs(), "{a} {b}");
    }
}

#[test]
fn backwards_in_time_and_single_precision() {
    let mut f = formula(Forced).unwrap();
    let mut s = StiffAdjoint::new(&RODAS4, 2, 1, &Options::tolerances(1e-6, 1e-6), Memory::Stages).unwrap();
    // Backwards the fast component grows: a short way.
    let r = s.forward(&mut f, (0.2, 0.1), &[0.9, 0.8], &P, &mut ()).unwrap();
    assert!(r.ok() && s.tape().step(0).1 < 0.0);
    let w = [0.3, -0.7];
    let (mut yb, mut pb) = ([0.0; 2], [0.0; 3]);
    s.reverse(&mut f, &P, &Bars { y1: &w, ..Bars::default() }, &mut yb, &mut pb).unwrap();
    let mut at = |d: f64| {
        let r = s.replay(&mut f, &P, &[0.9 + d, 0.8], &[]).unwrap();
        w[0] * r.y1[0] + w[1] * r.y1[1]
    };
    let fd = (at(1e-5) - at(-1e-5)) / 2e-5;
    assert!((fd - yb[0]).abs() < 1e-7 * yb[0].abs(), "{fd} {}", yb[0]);

    struct Decay;
    impl Formula<f32> for Decay {
        fn size(&self) -> Size {
            Size::field(1, 1)
        }
        fn eval<D: Number<f32>>(&self, _: D, y: &[D], p: &[D], dy: &mut [D]) {
            dy[0] = -p[0] * y[0];
        }
    }
    let mut f = formula(Decay).unwrap();
    let mut s =
        StiffAdjoint::<f32>::new(&RODAS5P, 1, 1, &Options::tolerances(1e-5, 1e-6), Memory::States).unwrap();
    s.forward(&mut f, (0.0, 1.0), &[1.0], &[2.0], &mut ()).unwrap();
    let (mut yb, mut pb) = ([0.0f32], [0.0f32]);
    s.reverse(&mut f, &[2.0], &Bars { y1: &[1.0], ..Bars::default() }, &mut yb, &mut pb).unwrap();
    assert!((yb[0] - (-2.0f32).exp()).abs() < 1e-5 && (pb[0] + (-2.0f32).exp()).abs() < 1e-5);
}

#[test]
fn no_allocation_in_later_passes() {
    for memory in [Memory::Stages, Memory::States, Memory::Every(4), Memory::Checkpoints(5)] {
        let mut f = formula(Forced).unwrap();
        let mut s = StiffAdjoint::new(&RODAS5P, 2, 3, &options(Norm::Rms), memory).unwrap();
        let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 3]);
        let w = noise(6, 1);
        let mut pass = |s: &mut StiffAdjoint<f64>| {
            s.forward(&mut f, SPAN, &Y0, &P, &mut ()).unwrap();
            s.reverse(&mut f, &P, &Bars { y1: &w, ..Bars::default() }, &mut yb, &mut pb).unwrap();
        };
        pass(&mut s);
        let before = allocations();
        pass(&mut s);
        assert_eq!(allocations(), before, "{memory:?}");
    }
}

#[test]
fn bad_input_is_an_error() {
    let mut f = formula(Forced).unwrap();
    let mut s = StiffAdjoint::new(&RODAS5P, 2, 1, &Options::default(), Memory::States).unwrap();
    let (mut yb, mut pb) = ([0.0; 2], [0.0; 3]);
    let none = s.reverse(&mut f, &P, &Bars::default(), &mut yb, &mut pb);
    assert!(matches!(none, Err(OdeError::Mismatch { .. })), "{none:?}");
    s.forward(&mut f, SPAN, &Y0[..2], &P, &mut ()).unwrap();
    let mut try_bars =
        |bars: Bars<'_, f64>| s.reverse(&mut f, &P, &bars, &mut yb, &mut pb).unwrap_err().to_string();
    assert!(try_bars(Bars { y1: &[1.0], ..Bars::default() }).contains("expected 2"));
    assert!(try_bars(Bars { error: &[1.0], ..Bars::default() }).contains("error estimates"));
    assert!(try_bars(Bars { times: &[3.0], saved: &[1.0, 1.0], ..Bars::default() }).contains("outside"));
    assert!(try_bars(Bars { times: &[1.0], saved: &[1.0], ..Bars::default() }).contains("expected 2"));
    assert!(matches!(
        StiffAdjoint::<f64>::new(&RODAS5P, 2, 1, &Options::default(), Memory::Every(0)),
        Err(OdeError::Option { .. })
    ));
}
