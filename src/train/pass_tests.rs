//! Gradients of every penalty against finite differences of the frozen-step program.

use super::*;
use crate::adjoint::Aggregate;
use crate::diff::Map;
use crate::nn::{Activation, Chain, Mlp, Power};
use crate::ode::TSIT54;
use crate::train::Schedule;
use rand::SeedableRng;

type Field = Chain<Power, Mlp<f64>, f64>;

fn field() -> Field {
    let net = Mlp::dense(&[2, 6, 2], Activation::Tanh, Activation::Identity, true).unwrap();
    Chain::new(Power { dim: 2, exponent: 3 }, net).unwrap()
}

fn wave(n: usize, a: f64) -> Vec<f64> {
    (0..n).map(|i| (a * (i + 1) as f64).sin()).collect()
}

const SPAN: (f64, f64) = (0.0, 1.5);
const TIMES: [f64; 4] = [0.0, 0.31, 0.9, 1.5];

/// Not linear, so that its bars depend on where they are taken.
fn data_loss(y1: &[f64], saved: &[f64], bars: Option<LossBars<'_, f64>>) -> f64 {
    let (w1, ws) = (wave(y1.len(), 1.1), wave(saved.len(), 0.7));
    if let Some(bars) = bars {
        (0..y1.len()).for_each(|i| bars.y1[i] += w1[i] * 2.0 * y1[i]);
        (0..saved.len()).for_each(|i| bars.saved[i] += ws[i] * saved[i].cos());
    }
    let a: f64 = y1.iter().zip(&w1).map(|(y, w)| w * y * y).sum();
    a + saved.iter().zip(&ws).map(|(y, w)| w * y.sin()).sum::<f64>()
}

fn penalty_counts_steps(penalty: &Penalty) -> bool {
    matches!(penalty, Penalty::ExpectedSteps { .. })
}

/// The frozen program's loss at other parameters or another start: same steps, same sample.
fn frozen(pass: &mut Pass<f64>, field: &mut Field, now: &Progress, y0: &[f64], p: &[f64]) -> f64 {
    let r = pass.adjoint.replay(field, p, y0, &TIMES).unwrap();
    let mut loss = data_loss(&r.y1, &r.saved, None);
    let mut heuristics = pass.heuristics.clone();
    heuristics.set(&r.error, &r.stiffness).unwrap();
    let times = pass.points.times().to_vec();
    let steps: Vec<f64> = heuristics.steps().to_vec();
    for penalty in pass.penalties.clone() {
        let weight = penalty.weight().at(now);
        loss += weight
            * match (penalty.term(), penalty.path()) {
                (Some((term, Scope::Global)), _) => heuristics.add(&term, 0.0).unwrap(),
                (Some((term, _)), _) => {
                    let y = pass.sample.y.clone();
                    let r = pass.local.replay(field, p, &y, &[]).unwrap();
                    let mut local = pass.local_heuristics.clone();
                    local.set(&r.error, &r.stiffness).unwrap();
                    let steps = pass.sample.weight(heuristics.len(), SPAN.0);
                    local.add(&term, 0.0).unwrap() * if penalty_counts_steps(&penalty) { steps } else { 1.0 }
                }
                (_, Some(path)) => {
                    let r = pass.adjoint.replay(field, p, y0, &times).unwrap();
                    let n = y0.len();
                    let value = |j: usize| {
                        let h = |j: usize| steps.get(j).copied().unwrap_or(0.0);
                        let share = 0.5 * (h(j) + if j > 0 { h(j - 1) } else { 0.0 });
                        let (y, map) = (&r.saved[j * n..][..n], &mut *field);
                        {
                            let (t, direction) = (times[j], &pass.direction[..]);
                            let at = PathPoint { term: path, t, y, p, direction, weight: 0.0 };
                            share * PathPenalty::new().add(map, &at, None)
                        }
                    };
                    (0..times.len()).map(value).sum()
                }
                _ => unreachable!(),
            };
    }
    loss
}

fn check(name: &str, penalties: &[Penalty], tol: f64) {
    let options = Options { max_step: 0.4, ..Options::tolerances(3e-4, 1e-4) };
    check_with(&options, name, penalties, tol);
}

fn check_with(options: &Options, name: &str, penalties: &[Penalty], tol: f64) {
    let mut field = field();
    let (batch, n) = (3, 2);
    let (y0, p) = (wave(n * batch, 0.9), wave(field.n_params(), 1.7));
    let now = Progress { step: 3, epoch: 1, epochs: 4 };
    for memory in [Memory::Stages, Memory::States] {
        let mut pass = Pass::new(&TSIT54, (n, batch), options, memory, penalties, true).unwrap();
        let (mut yb, mut pb) = (vec![0.0; y0.len()], vec![0.0; p.len()]);
        let problem = Problem { span: SPAN, y0: &y0, p: &p, times: &TIMES };
        let mut rng = StdRng::seed_from_u64(5);
        let mut loss = |y1: &[f64], s: &[f64], b: LossBars<'_, f64>| data_loss(y1, s, Some(b));
        let stats = pass.run(&mut field, &problem, &now, &mut rng, &mut loss, &mut yb, &mut pb).unwrap();
        assert!(stats.accepted >= 4 && stats.penalties.len() == penalties.len());
        assert!(stats.penalties.iter().all(|v| *v > 0.0), "{name}: {stats:?}");
        let here = frozen(&mut pass, &mut field, &now, &y0, &p);
        assert!((here - stats.loss).abs() < 1e-12 * here.abs().max(1.0), "{name}: {here} {}", stats.loss);
        let x = [y0.clone(), p.clone()].concat();
        let g = [yb, pb].concat();
        let size = g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        for i in 0..x.len() {
            let mut at = |d: f64| {
                let mut x = x.clone();
                x[i] += d;
                frozen(&mut pass, &mut field, &now, &x[..y0.len()], &x[y0.len()..])
            };
            let d = 2e-4;
            let fd = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
            assert!((fd - g[i]).abs() < tol * size, "{name} {memory:?} {i}: {fd} {}", g[i]);
        }
    }
}

fn with(kind: Heuristic, aggregate: Aggregate, times_step: bool, scope: Scope) -> Penalty {
    let weight = Schedule::Exponential { from: 4.0, to: 1.0 };
    match kind {
        Heuristic::Error => Penalty::Error { weight, aggregate, times_step, scope },
        Heuristic::ErrorSquared => Penalty::ErrorSquared { weight, aggregate, times_step, scope },
        Heuristic::ExpectedSteps => Penalty::ExpectedSteps { weight, scope },
        Heuristic::Stiffness => Penalty::Stiffness { weight, aggregate, times_step, scope },
    }
}

#[test]
fn global_solver_heuristics() {
    for kind in [Heuristic::Error, Heuristic::ErrorSquared, Heuristic::Stiffness] {
        for aggregate in [Aggregate::Sum, Aggregate::Mean, Aggregate::Max] {
            for times_step in [false, true] {
                let name = format!("{kind:?} {aggregate:?} {times_step}");
                check(&name, &[with(kind, aggregate, times_step, Scope::Global)], 1e-7);
            }
        }
    }
}

#[test]
fn local_solver_heuristics() {
    for kind in [Heuristic::Error, Heuristic::ErrorSquared, Heuristic::Stiffness] {
        for scope in [Scope::LocalBiased, Scope::LocalUnbiased] {
            check(&format!("{kind:?} {scope:?}"), &[with(kind, Aggregate::Mean, true, scope)], 1e-7);
        }
    }
}

#[test]
fn expected_steps() {
    for scope in [Scope::Global, Scope::LocalBiased, Scope::LocalUnbiased] {
        let penalty = Penalty::ExpectedSteps { weight: Schedule::constant(0.7), scope };
        // Steps with errors near the tolerance: of a small E the root amplifies the rounding in the differences.
        let options = Options { fixed_step: Some(0.375), ..Options::tolerances(3e-5, 3e-5) };
        check_with(&options, &format!("expected steps {scope:?}"), &[penalty], 1e-7);
    }
}

/// One pass with the expected steps as the only penalty: its value, the steps taken, and the gradient.
fn count_steps(options: &Options, scope: Scope, seed: u64) -> (f64, u64, Vec<f64>) {
    let mut field = field();
    let (y0, p) = (wave(6, 0.9), wave(field.n_params(), 1.7));
    let penalty = Penalty::ExpectedSteps { weight: Schedule::constant(1.0), scope };
    let mut pass = Pass::new(&TSIT54, (2, 3), options, Memory::States, &[penalty], false).unwrap();
    let problem = Problem { span: SPAN, y0: &y0, p: &p, times: &[] };
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut yb, mut pb) = (vec![0.0; 6], vec![0.0; p.len()]);
    let mut zero = |_: &[f64], _: &[f64], _: LossBars<'_, f64>| 0.0;
    let now = Progress::default();
    let stats = pass.run(&mut field, &problem, &now, &mut rng, &mut zero, &mut yb, &mut pb).unwrap();
    (stats.penalties[0], stats.accepted, pb)
}

#[test]
fn expected_steps_and_their_gradient_do_not_depend_on_the_steps_taken() {
    // N = int C^(1/5) dt: the error of the quadrature is of first order in h, and so halves.
    let at = |h: f64| {
        let options = Options { fixed_step: Some(h), ..Options::tolerances(1e-9, 1e-9) };
        count_steps(&options, Scope::Global, 1)
    };
    let (coarse, middle, fine) = (at(0.04), at(0.02), at(0.01));
    let ((a, _, ga), (b, _, gb), (c, _, gc)) = (&coarse, &middle, &fine);
    assert!((a - b).abs() < 0.01 * b && (b - c).abs() < 0.6 * (a - b).abs(), "{a} {b} {c}");
    let away = |x: &[f64], y: &[f64]| {
        let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
        norm(&mut x.iter().zip(y).map(|(x, y)| x - y)) / norm(&mut y.iter().copied())
    };
    assert!(away(ga, gb) < 0.05 && away(gb, gc) < 0.6 * away(ga, gb), "{} {}", away(ga, gb), away(gb, gc));
    // The controller keeps E below 1 by its safety factor: it takes somewhat more steps.
    let (n, taken, _) = count_steps(&Options::tolerances(1e-9, 1e-9), Scope::Global, 1);
    assert!((n - c).abs() < 0.1 * c && taken as f64 > n && (taken as f64) < 1.5 * n, "{n} {c} {taken}");
    // The local forms estimate the same number.
    for scope in [Scope::LocalBiased, Scope::LocalUnbiased] {
        let options = Options::tolerances(1e-9, 1e-9);
        let mean = (0..200).map(|s| count_steps(&options, scope, s).0).sum::<f64>() / 200.0;
        assert!((mean - n).abs() < 0.1 * n, "{scope:?}: {mean} {n}");
    }
}

#[test]
fn penalties_along_the_path() {
    let weight = Schedule::constant(0.3);
    for order in 1..=4 {
        check(&format!("taylor {order}"), &[Penalty::Taylor { weight, order }], 1e-7);
    }
    check("kinetic", &[Penalty::Kinetic { weight }], 1e-7);
    check("jacobian", &[Penalty::Jacobian { weight }], 1e-7);
}

#[test]
fn all_together_and_none() {
    let weight = Schedule::constant(0.2);
    let all = [
        with(Heuristic::Error, Aggregate::Mean, true, Scope::Global),
        with(Heuristic::Stiffness, Aggregate::Max, false, Scope::Global),
        with(Heuristic::ErrorSquared, Aggregate::Sum, false, Scope::LocalUnbiased),
        Penalty::Taylor { weight, order: 2 },
        Penalty::Jacobian { weight },
        Penalty::Kinetic { weight },
    ];
    check("all", &all, 1e-7);
    check("none", &[], 1e-8);
}

#[test]
fn kinetic_energy_of_a_constant_field_is_exact() {
    // y' = b: the trapezoidal rule is exact, int |b|^2 / n dt.
    let mut field = Mlp::<f64>::linear(2, 2).unwrap();
    let p = [0.0, 0.0, 0.0, 0.0, 0.6, -0.8];
    let weight = Schedule::constant(1.0);
    let penalties = [Penalty::Kinetic { weight }, Penalty::Taylor { weight, order: 2 }];
    let mut pass =
        Pass::new(&TSIT54, (2, 1), &Options::default(), Memory::States, &penalties, false).unwrap();
    let problem = Problem { span: (0.0, 2.0), y0: &[1.0, 1.0], p: &p, times: &[] };
    let mut rng = StdRng::seed_from_u64(1);
    let (mut yb, mut pb) = ([0.0; 2], [0.0; 6]);
    let mut zero = |_: &[f64], _: &[f64], _: LossBars<'_, f64>| 0.0;
    let now = Progress::default();
    let stats = pass.run(&mut field, &problem, &now, &mut rng, &mut zero, &mut yb, &mut pb).unwrap();
    assert!((stats.penalties[0] - 1.0).abs() < 1e-14 && stats.penalties[1].abs() < 1e-14);
    assert!(stats.max_stiffness.is_none());
    // d/db of int |b|^2/2 = 2 b.
    assert!((pb[4] - 1.2).abs() < 1e-12 && (pb[5] + 1.6).abs() < 1e-12);
}
