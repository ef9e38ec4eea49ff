//! The discrete adjoint of stochastic steps against finite differences of the frozen-step program, dual numbers, and itself.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;

use adjoint::{Weights, central, dot, noise};
use alloc::allocations;
use costate::adjoint::{Bars, Memory, SdeAdjoint};
use costate::diff::{Dual, FnMap, Map, Number};
use costate::nn::{Activation, Chain, Mlp, Power};
use costate::ode::*;
use costate::sde::*;

/// y0' = p0 y1 + p2 sin(t) y0 y1, y1' = -p1 sin y0 + p2 cos(t) y1^2.
fn drift<D: Number<f64>>(t: f64, y: &[D], p: &[D]) -> [D; 2] {
    let (s, c) = (D::of(t.sin()), D::of(t.cos()));
    [p[0] * y[1] + p[2] * s * y[0] * y[1], -p[1] * y[0].sin() + p[2] * c * y[1] * y[1]]
}

/// g_ik = p0 (1 + 0.3 k) sin(y_i + 0.3 t) + p1 (0.5 + y_(1-i)), or p0 (1 + 0.3 k) cos(t + i) + p1 (0.5 + i).
fn diffusion<D: Number<f64>>(additive: bool, t: f64, y: &[D], p: &[D], i: usize, k: usize) -> D {
    let c = p[0] * (1.0 + 0.3 * k as f64);
    if additive {
        c * (t + i as f64).cos() + p[1] * (0.5 + i as f64)
    } else {
        c * (y[i] + 0.3 * t).sin() + p[1] * (y[1 - i] + 0.5)
    }
}

fn columns(noise: Noise) -> usize {
    if let Noise::Matrix(m) = noise { m } else { 1 }
}

fn equation(noise: Noise, additive: bool) -> Sde<impl Map<f64>, impl Map<f64>> {
    let f = FnMap::new(2, 3, |t, y: &[f64], p: &[f64], dy: &mut [f64]| dy.copy_from_slice(&drift(t, y, p)))
        .with_vjp(|t: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            let (s, c) = t.sin_cos();
            yb[0] += w[0] * p[2] * s * y[1] - w[1] * p[1] * y[0].cos();
            yb[1] += w[0] * (p[0] + p[2] * s * y[0]) + w[1] * p[2] * c * 2.0 * y[1];
            pb[0] += w[0] * y[1];
            pb[1] -= w[1] * y[0].sin();
            pb[2] += w[0] * s * y[0] * y[1] + w[1] * c * y[1] * y[1];
        });
    let g = FnMap::with_outputs(2, noise.len(2), 2, move |t, y: &[f64], p: &[f64], g: &mut [f64]| {
        for (j, g) in g.iter_mut().enumerate() {
            *g = diffusion(additive, t, y, p, j % 2, j / 2);
        }
    });
    let back = move |t: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        for (j, w) in w.iter().enumerate() {
            let (i, c) = (j % 2, 1.0 + 0.3 * (j / 2) as f64);
            if additive {
                pb[0] += w * c * (t + i as f64).cos();
                pb[1] += w * (0.5 + i as f64);
            } else {
                yb[i] += w * p[0] * c * (y[i] + 0.3 * t).cos();
                yb[1 - i] += w * p[1];
                pb[0] += w * c * (y[i] + 0.3 * t).sin();
                pb[1] += w * (0.5 + y[1 - i]);
            }
        }
    };
    let sde = Sde::new(f, g.with_vjp(back), noise).unwrap();
    // Not commutative, which concerns the order, not the transpose.
    if additive { sde.additive() } else { sde.commutative() }
}

const P: [f64; 5] = [1.1, 1.7, 0.3, 0.25, 0.2];
const Y0: [f64; 6] = [0.9, 0.1, -0.4, 0.6, 0.2, -0.8];
const TIMES: [f64; 5] = [0.0, 0.3, 0.31, 1.0, 1.5];
const SPAN: (f64, f64) = (0.0, 1.5);

fn cases() -> Vec<(&'static SdeMethod, Noise, bool)> {
    let mut all = vec![];
    for m in SdeMethod::all() {
        for noise in [Noise::Diagonal, Noise::Scalar, Noise::Matrix(3)] {
            let additive = matches!(m.suits, Suits::Additive);
            if noise != Noise::Matrix(3) || m.suits != Suits::DiagonalOrScalar {
                all.push((m, noise, additive));
            }
        }
    }
    all
}

fn options_for(m: &SdeMethod, norm: Norm) -> Options {
    let fixed_step = if m.is_adaptive() { None } else { Some(0.07) };
    let rtol = Tolerance::Each(vec![0.05, 0.03]);
    Options { rtol, atol: 0.04.into(), norm, fixed_step, ..Options::noisy() }
}

fn brownian() -> Brownian {
    Brownian::new(11).with_cells(1)
}

fn gradient(
    (m, shape, additive): (&'static SdeMethod, Noise, bool),
    o: &Options,
    memory: Memory,
) -> (SdeAdjoint<f64>, Vec<f64>, Vec<f64>, OdeCounts) {
    let mut sde = equation(shape, additive);
    let mut solver = SdeAdjoint::new(m, 2, 3, o, memory).unwrap();
    let r = solver.forward(sde.follow(brownian()), SPAN, &Y0, &P, &mut SaveAt::new(&TIMES)).unwrap();
    assert!(r.ok(), "{}", r.message());
    let w = Weights::new(6, &TIMES, solver.tape().len());
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 5]);
    let counts = solver.reverse(&mut sde, &P, &w.bars(), &mut yb, &mut pb).unwrap();
    (solver, yb, pb, counts)
}

#[test]
fn finite_differences_of_the_frozen_step_program() {
    for case in cases() {
        for norm in [Norm::Rms, Norm::Max] {
            let (mut solver, yb, pb, _) = gradient(case, &options_for(case.0, norm), Memory::States);
            let mut sde = equation(case.1, case.2);
            let w = Weights::new(6, &TIMES, solver.tape().len());
            let x: Vec<f64> = Y0.iter().chain(&P).copied().collect();
            let size = yb.iter().chain(&pb).fold(0.0f64, |m, v| m.max(v.abs()));
            for i in 0..11 {
                let at = |d: f64| {
                    let mut x = x.clone();
                    x[i] += d;
                    w.loss(&solver.replay(&mut sde, &x[6..], &x[..6], &TIMES).unwrap())
                };
                // Fourth-order central difference, so short that no maximum in the scale of an error estimate changes its branch.
                let d = 3e-6;
                let fd = central(d, at);
                let g = if i < 6 { yb[i] } else { pb[i - 6] };
                assert!((fd - g).abs() <= 1e-7 * size, "{} {:?} {norm:?} {i}: {fd} {g}", case.0.name, case.1);
            }
        }
    }
}

/// The frozen-step program in dual numbers, written again from the tableau and a path of its own: directional derivative of the weighted results.
fn dual_program(
    (m, shape, additive): (&'static SdeMethod, Noise, bool),
    steps: &[(f64, f64)],
    w: &Weights,
    dir: &[f64],
    o: &Options,
) -> f64 {
    let zero = Dual::splat(0.0);
    let p: Vec<Dual<f64>> = (0..5).map(|i| Dual::new(P[i], dir[6 + i])).collect();
    let mut y: Vec<Dual<f64>> = (0..6).map(|i| Dual::new(Y0[i], dir[i])).collect();
    let mut loss = zero;
    let mut add = |w: &[f64], v: &[Dual<f64>]| w.iter().zip(v).for_each(|(a, b)| loss += *b * *a);
    let width = shape.width(2);
    let mut path = BrownianPath::new(&brownian(), SPAN, width, 3).unwrap();
    add(&w.saved[..6], &y);
    let (Tolerance::Each(rtol), Tolerance::One(atol)) = (&o.rtol, &o.atol) else { panic!() };
    let at = |r: &[f64], j: usize| r.get(j).copied().unwrap_or(0.0);
    for (j, &(t, h)) in steps.iter().enumerate() {
        let (dw, area) = path.advance(t + h).unwrap();
        let x: [Vec<f64>; 4] = [
            dw.to_vec(),
            dw.iter().map(|w| (w * w - h) / 2.0 / h.sqrt()).collect(),
            dw.iter().zip(area).map(|(w, a)| w / 2.0 + a).collect(),
            dw.iter().map(|w| (w * w * w - 3.0 * h * w) / 6.0 / h).collect(),
        ];
        // sum_k g_ik x_k for component c of the batch.
        let product = |g: &[Vec<Dual<f64>>], x: &[f64], c: usize| {
            let (b, i) = (c / 2, c % 2);
            match shape {
                Noise::Diagonal => g[0][c] * x[c],
                Noise::Scalar => g[0][c] * x[b],
                Noise::Matrix(m) => (0..m).fold(zero, |s, k| s + g[k][2 * b + i] * x[b * m + k]),
            }
        };
        let mut ks: Vec<Vec<Dual<f64>>> = vec![];
        let mut h0s: Vec<Vec<Dual<f64>>> = vec![];
        let mut gs: Vec<Vec<Vec<Dual<f64>>>> = vec![];
        for i in 0..m.stages() {
            let arg = |a: &[&[f64]], noise: &dyn Fn(usize, usize) -> Dual<f64>| -> Vec<Dual<f64>> {
                (0..6)
                    .map(|c| (0..i).fold(y[c], |s, l| s + ks[l][c] * (h * at(a[i], l)) + noise(l, c)))
                    .collect()
            };
            let h0 = arg(m.a0, &|l, c| product(&gs[l], &x[2], c) * at(m.b0[i], l));
            let h1 = arg(m.a1, &|l, c| gs[l][0][c] * (h.sqrt() * at(m.b1[i], l)));
            let k = h0.chunks(2).flat_map(|y| drift(t + m.c0[i] * h, y, &p[..3])).collect();
            let g = (0..columns(shape))
                .map(|k| {
                    (0..6)
                        .map(|c| {
                            diffusion(additive, t + m.c1[i] * h, &h1[c / 2 * 2..][..2], &p[3..], c % 2, k)
                        })
                        .collect()
                })
                .collect();
            ks.push(k);
            gs.push(g);
            h0s.push(h0);
        }
        let s = m.stages();
        let part = |which: std::ops::Range<usize>, c: usize| {
            which.fold(zero, |sum, q| {
                (0..s).fold(sum, |sum, i| sum + product(&gs[i], &x[q], c) * at(m.beta[q], i))
            })
        };
        let e2: Vec<Dual<f64>> = (0..6).map(|c| part(2..4, c)).collect();
        let y1: Vec<Dual<f64>> = (0..6)
            .map(|c| (0..s).fold(y[c], |a, i| a + ks[i][c] * (h * at(m.alpha, i))) + part(0..2, c) + e2[c])
            .collect();
        if m.is_adaptive() {
            let v = |c: usize| {
                let u = e2[c] + (0..s).fold(zero, |a, i| a + ks[i][c] * (h * m.delta * at(m.e1, i)));
                let larger = if y[c].re.abs() > y1[c].re.abs() { y[c] } else { y1[c] };
                u / (larger * larger.re.signum() * rtol[c % 2] + *atol)
            };
            add(&w.error[j..=j], &[((0..6).map(|c| v(c) * v(c)).fold(zero, |a, b| a + b) / 6.0).sqrt()]);
        }
        if let Some((a, b)) = m.stiffness {
            let d2 = |u: &[Dual<f64>], v: &[Dual<f64>]| {
                (0..6).map(|c| (u[c] - v[c]) * (u[c] - v[c])).fold(zero, |a, b| a + b)
            };
            add(&w.stiffness[j..=j], &[(d2(&ks[b], &ks[a]) / d2(&h0s[b], &h0s[a])).sqrt()]);
        }
        y = y1;
        for (i, _) in TIMES.iter().enumerate().filter(|(_, ts)| (t + h - **ts).abs() < 1e-12) {
            add(&w.saved[6 * i..6 * i + 6], &y);
        }
    }
    add(&w.y1, &y);
    loss.eps
}

#[test]
fn dual_numbers_agree_to_rounding() {
    // <w, J v> in forward mode against <J' w, v>. Milstein's method with matrix noise is not the tableau's program: finite differences test it.
    for case in cases().into_iter().filter(|c| c.0.name != "milstein" || c.1 != Noise::Matrix(3)) {
        let o = options_for(case.0, Norm::Rms);
        let (solver, yb, pb, _) = gradient(case, &o, Memory::States);
        let steps: Vec<_> = (0..solver.tape().len()).map(|j| solver.tape().step(j)).collect();
        let w = Weights::new(6, &TIMES, steps.len());
        for seed in 10..13 {
            let v = noise(11, seed);
            let forward = dual_program(case, &steps, &w, &v, &o);
            let reverse: f64 = yb.iter().chain(&pb).zip(&v).map(|(a, b)| a * b).sum();
            let size: f64 = yb.iter().chain(&pb).zip(&v).map(|(a, b)| (a * b).abs()).sum();
            assert!(
                (forward - reverse).abs() <= 1e-10 * size,
                "{} {:?}: {forward} {reverse}",
                case.0.name,
                case.1
            );
        }
    }
}

#[test]
fn every_memory_policy_gives_the_same_bits() {
    for case in cases() {
        let o = Options { max_step: 0.03, ..options_for(case.0, Norm::Rms) };
        let o = Options { fixed_step: o.fixed_step.map(|_| 0.03), ..o };
        let (all, yb, pb, base) = gradient(case, &o, Memory::States);
        let n = all.tape().len();
        assert!(n >= 50);
        assert_eq!(base.recomputed, n as u64);
        let policies = [1, 3, 5, 1000].map(Memory::Checkpoints);
        let every = [1, 2, 7, 1000].map(Memory::Every);
        for memory in [Memory::Stages].into_iter().chain(policies).chain(every) {
            let (solver, yb2, pb2, counts) = gradient(case, &o, memory);
            assert_eq!((&yb, &pb), (&yb2, &pb2), "{} {:?} {memory:?}", case.0.name, case.1);
            assert_eq!(base.pullbacks, counts.pullbacks);
            match memory {
                Memory::Stages => assert_eq!(counts.recomputed, 0),
                Memory::Every(k) => assert!(solver.tape().peak_states() <= n.div_ceil(k) + k),
                Memory::Checkpoints(c) => {
                    assert!(solver.tape().peak_states() <= c);
                    assert!(c < 1000 || solver.tape().bytes() < 100_000);
                }
                Memory::States => {}
            }
        }
    }
}

#[test]
fn rejected_steps_leave_no_trace() {
    let case = (&SOSRI2, Noise::Diagonal, false);
    let steps = |s: &SdeAdjoint<f64>| (0..s.tape().len()).map(|j| s.tape().step(j)).collect::<Vec<_>>();
    // A first step that is far too long is rejected several times.
    let bad = Options { first_step: Some(1.4), ..options_for(case.0, Norm::Rms) };
    let mut sde = equation(case.1, case.2);
    let mut with = SdeAdjoint::new(case.0, 2, 3, &bad, Memory::Stages).unwrap();
    let mut save = SaveAt::new(&TIMES);
    let r = with.forward(sde.follow(brownian()), SPAN, &Y0, &P, &mut save).unwrap();
    assert!(r.counts.rejected > 0);
    let w = Weights::new(6, &TIMES, with.tape().len());
    // The same steps, forced by save points at all their ends, with a controller that would accept anything: nothing is rejected. E and S depend
    // on the tolerances, so only the states are weighed.
    let ends: Vec<f64> = steps(&with).iter().map(|(t, _)| *t).chain([1.5]).collect();
    let loose = Options { atol: 1e6.into(), first_step: Some(1.5), ..bad };
    let mut without = SdeAdjoint::new(case.0, 2, 3, &loose, Memory::Stages).unwrap();
    let r = without.forward(sde.follow(brownian()), SPAN, &Y0, &P, &mut SaveAt::new(&ends)).unwrap();
    assert_eq!(r.counts.rejected, 0);
    assert_eq!(steps(&with), steps(&without));
    assert_eq!(with.y(), without.y());
    let states = Bars { error: &[], stiffness: &[], ..w.bars() };
    let both = [&mut with, &mut without].map(|s| {
        let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 5]);
        s.reverse(&mut sde, &P, &states, &mut yb, &mut pb).unwrap();
        (yb, pb)
    });
    assert_eq!(both[0], both[1]);
}

/// The neural SDE of the spiral: drift W2 tanh(W1 x^3 + b1) + b2, diagonal diffusion W3 x + b3.
fn neural() -> Sde<impl Map<f64>, impl Map<f64>> {
    let net = Mlp::dense(&[2, 10, 2], Activation::Tanh, Activation::Identity, false).unwrap();
    let drift = Chain::new(Power { dim: 2, exponent: 3 }, net).unwrap();
    let diffusion = Mlp::linear(2, 2).unwrap();
    Sde::new(drift, diffusion, Noise::Diagonal).unwrap()
}

#[test]
fn neural_equation_with_kept_intermediates() {
    let mut sde = neural();
    let p: Vec<f64> = noise(sde.n_params(), 5).iter().map(|v| 0.5 * v).collect();
    let y0 = noise(8, 6);
    let times = [0.25, 1.0];
    let o = Options::noisy().with_tolerances(0.1, 0.1);
    let w = noise(16, 7);
    let mut results = vec![];
    for memory in [Memory::Stages, Memory::States, Memory::Checkpoints(3)] {
        let mut s = SdeAdjoint::new(&SOSRI, 2, 4, &o, memory).unwrap();
        s.forward(sde.follow(Brownian::new(3)), (0.0, 1.0), &y0, &p, &mut SaveAt::new(&times)).unwrap();
        let steps = s.tape().len();
        let error = noise(steps, 8);
        let (mut yb, mut pb) = (vec![0.0; 8], vec![0.0; p.len()]);
        let bars = Bars { times: &times, saved: &w, error: &error, ..Bars::default() };
        s.reverse(&mut sde, &p, &bars, &mut yb, &mut pb).unwrap();
        if memory == Memory::States {
            let along = |d: f64| {
                let q: Vec<f64> = p.iter().zip(noise(p.len(), 9)).map(|(p, v)| p + d * v).collect();
                let r = s.replay(&mut sde, &q, &y0, &times).unwrap();
                dot(&r.saved, &w) + dot(&r.error, &error)
            };
            let d = 1e-3;
            let fd = central(d, along);
            let g = dot(&pb, &noise(p.len(), 9));
            assert!((fd - g).abs() < 1e-7 * g.abs(), "{fd} {g}");
        }
        results.push((yb, pb));
    }
    assert_eq!(results[0], results[1]);
    assert_eq!(results[1], results[2]);
}

#[test]
fn single_precision() {
    let net = || Mlp::<f32>::dense(&[2, 10, 2], Activation::Tanh, Activation::Identity, false).unwrap();
    let diffusion = Mlp::linear(2, 2).unwrap();
    let mut single = Sde::new(net(), diffusion, Noise::Diagonal).unwrap();
    let net = Mlp::<f64>::dense(&[2, 10, 2], Activation::Tanh, Activation::Identity, false).unwrap();
    let diffusion = Mlp::linear(2, 2).unwrap();
    let mut double = Sde::new(net, diffusion, Noise::Diagonal).unwrap();
    let p = noise(single.n_params(), 5);
    let p32: Vec<f32> = p.iter().map(|&v| v as f32).collect();
    let o = Options::noisy().with_fixed_step(1.0 / 37.0);
    // The same numbers in both precisions: a path is rough, and W moves by 1e-4 between 0.3 and 0.3f32.
    let times = [0.25, 0.75, 1.0];
    let times32 = [0.25f32, 0.75, 1.0];
    let mut a = SdeAdjoint::new(&SOSRI, 2, 2, &o, Memory::Checkpoints(4)).unwrap();
    let mut b = SdeAdjoint::new(&SOSRI, 2, 2, &o, Memory::Checkpoints(4)).unwrap();
    let path = Brownian::new(8);
    a.forward(double.follow(path), (0.0, 1.0), &[0.5; 4], &p, &mut SaveAt::new(&times)).unwrap();
    b.forward(single.follow(path), (0.0, 1.0), &[0.5; 4], &p32, &mut SaveAt::new(&times32)).unwrap();
    assert_eq!(a.tape().len(), b.tape().len());
    let (mut yb, mut pb) = ([0.0; 4], vec![0.0; p.len()]);
    let (mut yb32, mut pb32) = ([0.0f32; 4], vec![0.0f32; p.len()]);
    a.reverse(
        &mut double,
        &p,
        &Bars { times: &times, saved: &[1.0; 12], ..Bars::default() },
        &mut yb,
        &mut pb,
    )
    .unwrap();
    b.reverse(
        &mut single,
        &p32,
        &Bars { times: &times32, saved: &[1.0; 12], ..Bars::default() },
        &mut yb32,
        &mut pb32,
    )
    .unwrap();
    let size = pb.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (x, y) in yb.iter().chain(&pb).zip(yb32.iter().chain(&pb32)) {
        assert!((x - *y as f64).abs() < 2e-5 * size, "{x} {y}");
    }
}

#[test]
fn no_allocation_in_later_passes() {
    let w = noise(6, 1);
    for case in cases() {
        for memory in [Memory::Stages, Memory::States, Memory::Every(5), Memory::Checkpoints(4)] {
            let mut s = SdeAdjoint::new(case.0, 2, 3, &options_for(case.0, Norm::Rms), memory).unwrap();
            let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 5]);
            let mut sde = equation(case.1, case.2);
            let mut save = SaveAt::new(&TIMES);
            let mut pass = || {
                s.forward(sde.follow(brownian()), SPAN, &Y0, &P, &mut save).unwrap();
                s.reverse(&mut sde, &P, &Bars { y1: &w, ..Bars::default() }, &mut yb, &mut pb).unwrap();
            };
            pass();
            let before = allocations();
            pass();
            assert_eq!(allocations() - before, 0, "{} {memory:?}", case.0.name);
        }
    }
}

#[test]
fn bad_input_is_an_error() {
    let mut sde = equation(Noise::Diagonal, false);
    let o = options_for(&SOSRI, Norm::Rms);
    let mut s = SdeAdjoint::new(&SOSRI, 2, 3, &o, Memory::Checkpoints(3)).unwrap();
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; 5]);
    let mut go = |s: &mut SdeAdjoint<f64>, bars: Bars<'_, f64>| {
        s.reverse(&mut equation(Noise::Diagonal, false), &P, &bars, &mut yb, &mut pb).unwrap_err().to_string()
    };
    assert!(go(&mut s, Bars::default()).contains("no step"));
    s.forward(sde.follow(brownian()), SPAN, &Y0, &P, &mut SaveAt::new(&TIMES)).unwrap();
    assert_eq!(
        go(&mut s, Bars { y1: &[1.0], ..Bars::default() }),
        "the bar of y(t1) has length 1, expected 6"
    );
    assert_eq!(
        go(&mut s, Bars { times: &[1.0], ..Bars::default() }),
        "the bar of the saved states has length 0, expected 6"
    );
    let six = [0.0; 6];
    let wrong = go(&mut s, Bars { times: &[0.123], saved: &six, ..Bars::default() });
    assert_eq!(wrong, "save point 0, t = 0.123, was no save point of the forward pass");
    assert!(go(&mut s, Bars { times: &[3.0], saved: &six, ..Bars::default() }).contains("outside the span"));
    assert!(s.reverse(&mut sde, &P[..4], &Bars::default(), &mut [0.0; 6], &mut [0.0; 4]).is_err());
    assert!(SdeAdjoint::<f64>::new(&SOSRI, 2, 3, &o, Memory::Every(0)).is_err());
}

#[test]
fn converges_to_the_sensitivities_of_the_exact_solution() {
    // dy = mu y dt + sigma y dW on one path: y = y0 exp((mu - sigma^2 / 2) t + sigma W), dy/dmu = t y, dy/dsigma = (W - sigma t) y.
    let (mu, sigma, y0, end) = (0.6, 0.8, 1.3, 1.0);
    let f = FnMap::new(1, 1, |_: f64, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]).with_vjp(
        |_: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            yb[0] += p[0] * w[0];
            pb[0] += y[0] * w[0];
        },
    );
    let g = FnMap::new(1, 1, |_: f64, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]);
    let g = g.with_vjp(|_: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        yb[0] += p[0] * w[0];
        pb[0] += y[0] * w[0];
    });
    let mut sde = Sde::new(f, g, Noise::Diagonal).unwrap();
    let path = Brownian::new(5).with_cells(1);
    let w = BrownianPath::new(&path, (0.0, end), 1, 1).unwrap().advance(end).unwrap().0[0];
    let y = y0 * ((mu - sigma * sigma / 2.0) * end + sigma * w).exp();
    let exact = [y / y0, end * y, (w - sigma * end) * y];
    let mut last = f64::INFINITY;
    for (tol, want) in [(1e-2, 1e-3), (1e-3, 1e-4), (1e-4, 1e-6)] {
        let o = Options::noisy().with_tolerances(tol, tol);
        let mut s = SdeAdjoint::new(&SOSRI, 1, 1, &o, Memory::States).unwrap();
        let r = s.forward(sde.follow(path), (0.0, end), &[y0], &[mu, sigma], &mut ()).unwrap();
        assert!(r.ok(), "{}", r.message());
        let (mut yb, mut pb) = ([0.0], [0.0; 2]);
        s.reverse(&mut sde, &[mu, sigma], &Bars { y1: &[1.0], ..Bars::default() }, &mut yb, &mut pb).unwrap();
        let error = yb.iter().chain(&pb).zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        println!("tolerance {tol:.0e}: {error:.2e}, {} steps", s.tape().len());
        assert!(error < want && error < last, "tolerance {tol:.0e}: {yb:?} {pb:?} against {exact:?}");
        last = error;
    }
}
