//! Rosenbrock methods and their adjoint with banded and sparse Jacobians.

#[path = "common/alloc.rs"]
mod alloc;
#[path = "common/diffusion.rs"]
mod diffusion;

use std::f64::consts::PI;
use std::time::Instant;

use alloc::allocations;
use costate::adjoint::{Bars, Memory, StiffAdjoint};
use costate::diff::{Differences, FnMap, Map, Structure};
use costate::linsol::factors::Structure as Held;
use costate::ode::*;
use diffusion::{AllenCahn, Brusselator, Full, P, heat};

/// Right (u, v) at the middle at t = 10, from runs at 1e-10.
const RIGHT: [(usize, [f64; 2]); 5] = [
    (500, [0.4298588882, 3.6880747437]),
    (1000, [0.4298555081, 3.6881025897]),
    (2000, [0.42985490, 3.68811890]),
    (4000, [0.42985487, 3.68812765]),
    (10_000, [0.42985494, 3.68813310]),
];

/// Runs to t = 10; the final state, the report, and how W was held.
fn run<F: Map<f64>>(
    pr: &Brusselator,
    field: &mut F,
    method: &'static RosenbrockTableau,
    tol: f64,
) -> (Vec<f64>, OdeReport, Option<String>) {
    let mut it = StiffIntegrator::new(method, pr.n, 1, &Options::tolerances(tol, tol)).unwrap();
    let r = it.run(field, (0.0, 10.0), &pr.start(), &P, &mut ()).unwrap();
    assert!(r.ok(), "{}", r.message());
    (it.y().to_vec(), r, it.structure().map(ToString::to_string))
}

/// Largest error of the middle point, relative to 1 + |y|.
fn error(pr: &Brusselator, y: &[f64], right: [f64; 2]) -> f64 {
    let far = |(a, b): (f64, f64)| (a - b).abs() / (1.0 + b.abs());
    pr.middle(y).into_iter().zip(right).map(far).fold(0.0, f64::max)
}

#[test]
fn brusselators_of_many_unknowns_reach_the_right_values() {
    for (n, right) in RIGHT {
        let mut pr = Brusselator::new(n);
        let mut field = pr.field();
        for method in RosenbrockTableau::all() {
            if n == 4000 || (n > 4000 && method.name != RODAS5P.name) {
                continue;
            }
            let (y, r, structure) = run(&pr, &mut field, method, 1e-4);
            println!("{n} {}: {:.1e}, {:?}, {:?}", method.name, error(&pr, &y, right), structure, r.counts);
            assert_eq!(structure.as_deref(), Some("band 2 + 2, 4 colours"));
            assert!(error(&pr, &y, right) < 1e-4, "{n} {}", method.name);
        }
        // All u first, then all v: the band is found by reordering.
        if n == 1000 {
            let (ours, _, _) = run(&pr, &mut field, &RODAS5P, 1e-6);
            assert!(error(&pr, &ours, right) < 1e-6);
            pr.interleaved = false;
            let (y, _, structure) = run(&pr, &mut pr.field(), &RODAS5P, 1e-6);
            let structure = structure.unwrap();
            assert!(structure.contains("after reordering, 4 colours"), "{structure}");
            let swapped = Brusselator::new(n);
            for i in 0..n / 2 {
                let (here, there) = (pr.at(i), swapped.at(i));
                assert!((y[here.0] - ours[there.0]).abs() < 1e-9 && (y[here.1] - ours[there.1]).abs() < 1e-9);
            }
        }
    }
}

/// Largest difference.
fn far(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn structured_and_full_jacobians_agree() {
    for n in [60, 200] {
        let pr = Brusselator::new(n);
        for method in RosenbrockTableau::all() {
            let (a, ra, how) = run(&pr, &mut pr.field(), method, 1e-5);
            let (b, rb, as_full) = run(&pr, &mut Full(pr.field()), method, 1e-5);
            assert_eq!((how.as_deref(), as_full.as_deref()), (Some("band 2 + 2, 4 colours"), None));
            assert_eq!(ra.counts, rb.counts);
            assert!(far(&a, &b) < 1e-10, "{} {:e}", method.name, far(&a, &b));
        }
    }
}

#[test]
fn sparse_lu_where_there_is_no_band() {
    // Cells around a hub that all of them feed: an arrow.
    let n = 200;
    let f = |_: costate::expr::Var,
             y: &[costate::expr::Var],
             p: &[costate::expr::Var],
             dy: &mut [costate::expr::Var]| {
        dy[0] = -y[0];
        for i in 1..n {
            dy[i] = p[0] * (1.0 + i as f64) * (y[0] - y[i]) - y[i] * y[i] * y[i];
            dy[0] += (y[i] - y[0]) * 0.1;
        }
    };
    let field = || costate::expr::record(n, 1, f).unwrap().into_map();
    let y0: Vec<f64> = (0..n).map(|i| 1.0 + 0.5 * (i as f64).sin()).collect();
    let options = Options::tolerances(1e-6, 1e-8);
    let mut it = StiffIntegrator::new(&RODAS4, n, 1, &options).unwrap();
    it.run(&mut field(), (0.0, 1.0), &y0, &[3.0], &mut ()).unwrap();
    assert_eq!(it.structure().unwrap().structure, Held::Sparse);
    let full = solve(&mut Full(field()), &RODAS4, &options, (0.0, 1.0), &y0, &[3.0], &[]).unwrap();
    assert!(far(it.y(), &full.y1) < 1e-10);
}

/// Allen and Cahn's equation; the final state lies in the range that is known.
#[test]
fn sparse_lu_in_two_dimensions() {
    let ac = AllenCahn { m: 64 };
    let mut it = StiffIntegrator::new(&RODAS5P, 64 * 64, 1, &Options::tolerances(1e-4, 1e-4)).unwrap();
    let clock = Instant::now();
    let r = it.run(&mut ac.field(), (0.0, 2.0), &ac.start(), &[], &mut ()).unwrap();
    assert!(r.ok());
    let time = 1e3 * clock.elapsed().as_secs_f64();
    println!("Allen-Cahn: {}, {} steps, {time:.0} ms", it.structure().unwrap(), r.counts.accepted);
    assert_eq!(it.structure().unwrap().structure, Held::Sparse);
    let mean = it.y().iter().sum::<f64>() / (64 * 64) as f64;
    assert!((mean - 0.9999967971).abs() < 1e-5, "{mean}");
    assert!(it.y().iter().all(|u| (0.99998..1.00001).contains(u)));
    // At a tight tolerance the digits that are known.
    let mut it = StiffIntegrator::new(&RODAS5P, 64 * 64, 1, &Options::tolerances(1e-9, 1e-9)).unwrap();
    it.run(&mut ac.field(), (0.0, 2.0), &ac.start(), &[], &mut ()).unwrap();
    let mean = it.y().iter().sum::<f64>() / (64 * 64) as f64;
    let (low, high) = it.y().iter().fold((f64::INFINITY, 0.0f64), |(a, b), u| (a.min(*u), b.max(*u)));
    assert!((mean - 0.9999967971).abs() < 1e-9, "{mean:.12}");
    assert!((low - 0.9999942497).abs() < 2e-9 && (high - 0.9999979269).abs() < 2e-9, "{low:.12} {high:.12}");
}

/// The Medical Akzo Nobel problem of the IVP test set (its constants and end values): a penetrating reaction of 200 cells, with a declared stop where the inflow ends.
#[test]
fn medical_akzo_nobel() {
    let cells = 200;
    let f = move |t: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
        let d = 1.0 / cells as f64;
        let inflow = if t <= 5.0 { 2.0 } else { 0.0 };
        for j in 1..=cells {
            let z = j as f64 * d - 1.0;
            let (a, b) = (2.0 * z.powi(3) / 16.0, z.powi(4) / 16.0);
            let (u, v) = (y[2 * j - 2], y[2 * j - 1]);
            let reaction = 100.0 * u * v;
            let left = if j > 1 { y[2 * j - 4] } else { inflow };
            dy[2 * j - 1] = -reaction;
            dy[2 * j - 2] = if j < cells {
                let right = y[2 * j];
                a * (right - left) / (2.0 * d) + b * (left - 2.0 * u + right) / (d * d) - reaction
            } else {
                -reaction
            };
        }
    };
    let band = Structure::Banded { lower: 2, upper: 2 };
    let mut field = Differences::of(FnMap::new(2 * cells, 0, f)).with_structure(band);
    let y0: Vec<f64> = (0..2 * cells).map(|k| (k % 2) as f64).collect();
    let right = [
        (79, 2.339942217046434e-4),
        (133, 3.576835958481664e-4),
        (171, 3.085949832350532e-4),
        (199, 1.173741304462833e-4),
        (200, 6.190822732534586e-6),
    ];
    for (method, tol) in [(&RODAS5P, 1e-4), (&RODAS4, 1e-4), (&RODAS3P, 1e-4), (&RODAS5P, 1e-7)] {
        let options = Options { stops: vec![5.0], ..Options::tolerances(tol, tol) };
        let mut it = StiffIntegrator::new(method, 2 * cells, 1, &options).unwrap();
        let clock = Instant::now();
        let r = it.run(&mut field, (0.0, 20.0), &y0, &[], &mut ()).unwrap();
        assert!(r.ok(), "{}", r.message());
        let far = right.iter().map(|&(k, u): &(usize, f64)| (it.y()[k - 1] - u).abs()).fold(0.0, f64::max);
        let time = 1e3 * clock.elapsed().as_secs_f64();
        println!(
            "{} {tol:e}: {}, {} steps, {time:.1} ms, {far:.1e} off",
            method.name,
            it.structure().unwrap(),
            r.counts.accepted
        );
        assert!(far < tol, "{} {tol:e}: {far:e}", method.name);
        assert!(matches!(it.structure().unwrap().structure, Held::Band { .. }));
        assert!([80, 134, 172].iter().all(|&k| it.y()[k - 1].abs() < 10.0 * tol));
    }
}

#[test]
fn heat_of_5000_unknowns() {
    let n = 5000;
    let (mut field, c) = (heat(n), n as f64 + 1.0);
    let y0: Vec<f64> = (1..=n).map(|i| (PI * i as f64 / c).sin()).collect();
    let options = Options::tolerances(1e-4, 1e-6);
    let s = solve(&mut field, &RODAS3P, &options, (0.0, 0.1), &y0, &[], &[]).unwrap();
    assert!(s.report.ok());
    let decay = (-0.4 * c * c * (0.5 * PI / c).sin().powi(2)).exp();
    let right: Vec<f64> = y0.iter().map(|y| y * decay).collect();
    println!("heat: {:.1e}, {} steps", far(&s.y1, &right), s.report.counts.accepted);
    assert!(far(&s.y1, &right) < 1e-4);
}

#[test]
fn columns_of_a_batch_have_matrices_of_their_own() {
    let pr = Brusselator::new(80);
    let a = pr.start();
    let b: Vec<f64> = a.iter().map(|y| 0.7 * y + 0.1).collect();
    let both = [a.clone(), b.clone()].concat();
    // Fixed steps, for the error is that of the whole batch.
    let options = Options::fixed(0.05);
    let mut it = StiffIntegrator::new(&RODAS4, 80, 2, &options).unwrap();
    let mut field = pr.field();
    it.run(&mut field, (0.0, 2.0), &both, &P, &mut ()).unwrap();
    for (k, y0) in [a, b].iter().enumerate() {
        let one = solve(&mut field, &RODAS4, &options, (0.0, 2.0), y0, &P, &[]).unwrap();
        assert_eq!(it.y()[80 * k..][..80], one.y1);
    }
    // Another structure in the same integrator, and back.
    let y = it.y().to_vec();
    it.run(&mut Full(pr.field()), (0.0, 2.0), &both, &P, &mut ()).unwrap();
    assert!(it.structure().is_none() && far(it.y(), &y) < 1e-10);
    it.run(&mut field, (0.0, 2.0), &both, &P, &mut ()).unwrap();
    assert_eq!(it.y(), y);
    // A clone makes its matrices anew.
    let mut again = it.clone();
    again.run(&mut field, (0.0, 2.0), &both, &P, &mut ()).unwrap();
    assert_eq!(again.y(), y);
}

#[test]
fn single_precision() {
    let n = 100;
    let c = 50f32;
    let f = FnMap::new(n, 0, move |_: f32, y: &[f32], _: &[f32], dy: &mut [f32]| {
        for i in 0..n {
            let left = if i > 0 { y[i - 1] } else { 1.0 };
            dy[i] = c * (left - y[i]);
        }
    });
    let band = Structure::Banded { lower: 1, upper: 0 };
    let mut f = f
        .with_structured_jacobian(band, move |_: f32, _: &[f32], _: &[f32], jac: &mut [f32]| {
            jac.chunks_exact_mut(2).for_each(|column| column.copy_from_slice(&[-c, c]));
        })
        .autonomous();
    let mut it = StiffIntegrator::new(&RODAS4, n, 1, &Options::tolerances(1e-4, 1e-4)).unwrap();
    let r = it.run(&mut f, (0.0, 0.02), &vec![0.0; n], &[], &mut ()).unwrap();
    assert!(r.ok() && it.structure().is_some());
    // One minus e^-1 times the first terms of the exponential series.
    let (mut term, mut sum) = ((-1f64).exp(), 0.0);
    for (i, y) in it.y().iter().enumerate() {
        sum += term;
        term /= (i + 1) as f64;
        assert!((f64::from(*y) - (1.0 - sum)).abs() < 1e-3, "{i}: {y} {}", 1.0 - sum);
    }
}

#[test]
fn matrices_that_cannot_be_factored_end_a_run_as_full_ones_do() {
    let n = 40;
    let one = |structure: Structure, entry: f64, bad_after: f64| {
        let width = if structure == Structure::Dense { n } else { 1 };
        let f = FnMap::new(n, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| {
            dy.iter_mut().zip(y).for_each(|(d, y)| *d = -y);
        });
        let mut f = f
            .with_structured_jacobian(structure, move |t: f64, _: &[f64], _: &[f64], jac: &mut [f64]| {
                jac.fill(0.0);
                for j in 0..n {
                    jac[if width == 1 { j } else { j * (n + 1) }] =
                        if t > bad_after { f64::NAN } else { entry };
                }
            })
            .autonomous();
        // 1 / (h gamma) is representable: W is zero where J is that.
        let options = Options::fixed(0.1);
        let r = solve(&mut f, &RODAS4, &options, (0.0, 1.0), &vec![1.0; n], &[], &[]).unwrap();
        (r.report.stop, r.report.t, r.report.counts, r.report.message())
    };
    let band = || Structure::Banded { lower: 0, upper: 0 };
    let sparse = || Structure::Sparse { col_ptr: (0..=n).collect(), row_idx: (0..n).collect() };
    let singular = 1.0 / (0.1 * RODAS4.gamma);
    for (entry, bad_after) in [(singular, 2.0), (-1.0, 0.45), (-1.0, 2.0)] {
        let full = one(Structure::Dense, entry, bad_after);
        assert_eq!(full.0 == OdeStop::Finished, entry == -1.0 && bad_after > 1.0, "{}", full.3);
        assert_eq!(one(band(), entry, bad_after), full);
        assert_eq!(one(sparse(), entry, bad_after), full);
    }
}

#[test]
fn a_malformed_structure_is_an_error() {
    let n = 50;
    for (col_ptr, row_idx) in [
        ((0..=n).collect(), vec![n; n]),
        (vec![0; 3], vec![]),
        ((0..=n).map(|j| 2 * j).collect(), vec![1; 2 * n]),
    ] {
        let f = FnMap::new(n, 0, |_: f64, y: &[f64], _: &[f64], dy: &mut [f64]| dy.copy_from_slice(y));
        let structure = Structure::Sparse { col_ptr, row_idx };
        let mut f = f.with_structured_jacobian(structure, |_: f64, _: &[f64], _: &[f64], _: &mut [f64]| ());
        let e = solve(&mut f, &RODAS4, &Options::default(), (0.0, 1.0), &vec![1.0; n], &[], &[]);
        let what = e.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(what.contains("ascending order"), "{what}");
    }
}

#[test]
fn the_automatic_choice_goes_over_to_structured_steps() {
    let pr = Brusselator::new(200);
    let options = Options::tolerances(1e-5, 1e-5);
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 200, 1, &options).unwrap();
    let r = auto.run(&mut pr.field(), (0.0, 10.0), &pr.start(), &P, &mut ()).unwrap();
    assert!(r.ok() && !auto.switches().is_empty());
    let mut full = auto.clone();
    full.run(&mut Full(pr.field()), (0.0, 10.0), &pr.start(), &P, &mut ()).unwrap();
    // When it pays depends on the structure, so the steps are not the same.
    assert!(!full.switches().is_empty());
    assert!(far(full.y(), auto.y()) < 1e-4, "{:e}", far(full.y(), auto.y()));
}

/// dL/dy0 and dL/dp of L = sum_m w_m y_m(1) + sum_m w_m y_m(0.37).
fn gradient<F: Map<f64>>(
    pr: &Brusselator,
    field: &mut F,
    method: &'static RosenbrockTableau,
    memory: Memory,
) -> (StiffAdjoint<f64>, Vec<f64>, Vec<f64>) {
    let n = pr.n;
    let mut s = StiffAdjoint::new(method, n, 1, &Options::tolerances(1e-4, 1e-4), memory).unwrap();
    assert!(s.forward(field, (0.0, 1.0), &pr.start(), &P, &mut ()).unwrap().ok());
    let (w, mut yb, mut pb) = (weights(n), vec![0.0; n], vec![0.0; 3]);
    let bars = Bars { y1: &w, times: &[0.37], saved: &w, ..Bars::default() };
    s.reverse(field, &P, &bars, &mut yb, &mut pb).unwrap();
    (s, yb, pb)
}

fn weights(n: usize) -> Vec<f64> {
    (0..n).map(|m| (0.9 * m as f64 + 0.3).cos()).collect()
}

#[test]
fn gradients_agree_with_full_ones_and_with_differences() {
    for (n, interleaved) in [(60, true), (60, false), (200, true)] {
        let pr = Brusselator { n, interleaved };
        let mut field = pr.field();
        for method in RosenbrockTableau::all() {
            let (mut s, yb, pb) = gradient(&pr, &mut field, method, Memory::States);
            assert!(s.structure().is_some());
            let (_, yf, pf) = gradient(&pr, &mut Full(pr.field()), method, Memory::States);
            let size = |v: &[f64]| v.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            assert!(far(&yb, &yf) < 1e-9 * size(&yf), "{} {:e}", method.name, far(&yb, &yf));
            assert!(far(&pb, &pf) < 1e-9 * size(&pf), "{} {:e}", method.name, far(&pb, &pf));
            let (_, ys, ps) = gradient(&pr, &mut field, method, Memory::Stages);
            let (_, yc, pc) = gradient(&pr, &mut field, method, Memory::Checkpoints(3));
            assert!(ys == yb && ps == pb && yc == yb && pc == pb, "{}", method.name);
            // The program of the frozen steps, along a direction of y0 and each parameter.
            let w = weights(n);
            let mut loss = |y: &[f64], p: &[f64]| {
                let r = s.replay(&mut field, p, y, &[0.37]).unwrap();
                let dot = |y: &[f64]| y.iter().zip(&w).map(|(a, b)| a * b).sum::<f64>();
                dot(&r.y1) + dot(&r.saved)
            };
            let d = 1e-4;
            let mut central = |moved: &dyn Fn(f64) -> (Vec<f64>, Vec<f64>)| {
                let mut at = |d: f64| {
                    let (y, p) = moved(d);
                    loss(&y, &p)
                };
                (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d)
            };
            let direction: Vec<f64> = (0..n).map(|m| (0.05 * m as f64).sin()).collect();
            let along = central(&|d| {
                (pr.start().iter().zip(&direction).map(|(y, v)| y + d * v).collect(), P.to_vec())
            });
            let ours: f64 = yb.iter().zip(&direction).map(|(a, b)| a * b).sum();
            assert!((along - ours).abs() < 1e-7 * (1.0 + ours.abs()), "{}: {along} {ours}", method.name);
            for k in 0..3 {
                // The third is small.
                let scale = P[k].min(1.0);
                let moved = central(&|d| {
                    let mut p = P.to_vec();
                    p[k] += d * scale;
                    (pr.start(), p)
                });
                let ours = pb[k] * scale;
                assert!(
                    (moved - ours).abs() < 1e-7 * (1.0 + ours.abs()),
                    "{} p{k}: {moved} {ours}",
                    method.name
                );
            }
        }
    }
}

/// Allocations while t lies beyond 1, seen from a sink.
struct Late {
    before: Option<u64>,
    after: u64,
    steps: usize,
}

impl StepSink<f64> for Late {
    fn accepted(&mut self, step: &mut Step<'_, f64>) -> std::ops::ControlFlow<()> {
        let _ = step.t1();
        self.after = allocations();
        self.before = self.before.or(Some(self.after));
        self.steps += 1;
        std::ops::ControlFlow::Continue(())
    }
}

#[test]
fn steps_do_not_allocate_after_the_first() {
    for (n, interleaved) in [(100, true), (100, false)] {
        let pr = Brusselator { n, interleaved };
        let mut field = pr.field();
        let mut it = StiffIntegrator::new(&RODAS5P, n, 1, &Options::tolerances(1e-5, 1e-5)).unwrap();
        let mut late = Late { before: None, after: 0, steps: 0 };
        it.run(&mut field, (0.0, 5.0), &pr.start(), &P, &mut late).unwrap();
        assert!(late.steps > 5);
        assert_eq!(late.before, Some(late.after));
        // Nor does another run, nor another gradient.
        let y0 = pr.start();
        let before = allocations();
        it.run(&mut field, (0.0, 5.0), &y0, &P, &mut ()).unwrap();
        assert_eq!(allocations(), before);
        let mut s =
            StiffAdjoint::new(&RODAS5P, n, 1, &Options::tolerances(1e-5, 1e-5), Memory::States).unwrap();
        let (w, mut yb, mut pb) = (weights(n), vec![0.0; n], vec![0.0; 3]);
        let mut pass = || {
            s.forward(&mut field, (0.0, 1.0), &y0, &P, &mut ()).unwrap();
            s.reverse(&mut field, &P, &Bars { y1: &w, ..Bars::default() }, &mut yb, &mut pb).unwrap();
        };
        pass();
        let before = allocations();
        pass();
        assert_eq!(allocations(), before);
    }
}

/// Seconds, the best of three.
fn seconds(mut f: impl FnMut()) -> f64 {
    let one = |_| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    (0..3).map(one).fold(f64::INFINITY, f64::min)
}

#[test]
#[ignore = "prints times"]
fn times() {
    for (n, right) in RIGHT {
        let pr = Brusselator::new(n);
        let start = Instant::now();
        let mut field = pr.field();
        let record = start.elapsed().as_secs_f64();
        let (y0, options) = (pr.start(), Options::tolerances(1e-4, 1e-4));
        for method in RosenbrockTableau::all() {
            let mut it = StiffIntegrator::new(method, n, 1, &options).unwrap();
            let mut steps = 0;
            let time = seconds(|| {
                steps = it.run(&mut field, (0.0, 10.0), &y0, &P, &mut ()).unwrap().counts.accepted;
            });
            println!(
                "{n} {}: {:.2} ms, {steps} steps, error {:.1e}",
                method.name,
                1e3 * time,
                error(&pr, it.y(), right)
            );
        }
        let mut s = StiffAdjoint::new(&RODAS5P, n, 1, &options, Memory::Stages).unwrap();
        let forward = seconds(|| {
            s.forward(&mut field, (0.0, 10.0), &y0, &P, &mut ()).unwrap();
        });
        let (w, mut yb, mut pb) = (weights(n), vec![0.0; n], vec![0.0; 3]);
        let reverse = seconds(|| {
            s.reverse(&mut field, &P, &Bars { y1: &w, ..Bars::default() }, &mut yb, &mut pb).unwrap();
        });
        println!(
            "{n} adjoint rodas5p: forward {:.2} ms, reverse {:.2} ms, ratio {:.2}; recording {:.0} ms",
            1e3 * forward,
            1e3 * reverse,
            reverse / forward,
            1e3 * record
        );
    }
}
