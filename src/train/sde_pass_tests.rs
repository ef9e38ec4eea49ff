//! Gradients of every penalty of a stochastic pass against finite differences of the frozen-step program on the same path.

use super::*;
use crate::adjoint::{Aggregate, Replay};
use crate::nn::{Activation, Mlp};
use crate::sde::{Noise, SOSRI, SOSRI2, SdeMethod};
use crate::train::Schedule;
use rand::SeedableRng;

type Equation = Sde<Mlp<f64>, Mlp<f64>>;

fn sde() -> Equation {
    let drift = Mlp::dense(&[2, 5, 2], Activation::Tanh, Activation::Identity, true).unwrap();
    let diffusion = Mlp::linear(2, 2).unwrap();
    Sde::new(drift, diffusion, Noise::Diagonal).unwrap()
}

fn wave(n: usize, a: f64) -> Vec<f64> {
    (0..n).map(|i| (a * (i + 1) as f64).sin()).collect()
}

const TIMES: [f64; 3] = [0.0, 0.4, 1.0];

fn data_loss(y1: &[f64], saved: &[f64], bars: Option<LossBars<'_, f64>>) -> f64 {
    if let Some(b) = bars {
        b.y1.iter_mut().zip(y1).for_each(|(b, y)| *b += 2.0 * y);
        b.saved.iter_mut().zip(saved).for_each(|(b, y)| *b += y.cos());
    }
    y1.iter().map(|y| y * y).sum::<f64>() + saved.iter().map(|y| y.sin()).sum::<f64>()
}

fn set(h: &mut Heuristics<f64>, r: &Replay<f64>) {
    h.set(&r.error, &r.stiffness).unwrap();
}

fn frozen(pass: &mut Pass<f64, SdeIntegrator<f64>>, y0: &[f64], p: &[f64]) -> f64 {
    let mut sde = sde();
    let r = pass.adjoint.replay(&mut sde, p, y0, &TIMES).unwrap();
    let mut loss = data_loss(&r.y1, &r.saved, None);
    let mut heuristics = pass.heuristics.clone();
    set(&mut heuristics, &r);
    for penalty in pass.penalties.clone() {
        let (term, scope) = penalty.term().unwrap();
        let value = if scope == Scope::Global {
            heuristics.add(&term, 0.0).unwrap()
        } else {
            let y = pass.sample.y.clone();
            let r = pass.local.replay(&mut sde, p, &y, &[]).unwrap();
            let mut local = pass.local_heuristics.clone();
            set(&mut local, &r);
            let steps = matches!(penalty, Penalty::ExpectedSteps { .. });
            let share = if steps { pass.sample.weight(heuristics.len(), 0.0) } else { 1.0 };
            share * local.add(&term, 0.0).unwrap()
        };
        loss += penalty.weight().at(&Progress::default()) * value;
    }
    loss
}

fn check(name: &str, method: &'static SdeMethod, penalties: &[Penalty]) {
    let mut sde = sde();
    let (y0, p) = (wave(8, 0.9), wave(sde.n_params(), 1.7).iter().map(|v| 0.5 * v).collect::<Vec<_>>());
    let options = Options::noisy().with_tolerances(1e-2, 1e-2);
    let mut pass = Pass::new(method, (2, 4), &options, Memory::States, penalties, true).unwrap();
    let (mut yb, mut pb) = (vec![0.0; 8], vec![0.0; p.len()]);
    let problem = Problem { span: (0.0, 1.0), y0: &y0, p: &p, times: &TIMES };
    let mut loss = |y1: &[f64], s: &[f64], b: LossBars<'_, f64>| data_loss(y1, s, Some(b));
    let (now, mut rng) = (Progress::default(), StdRng::seed_from_u64(3));
    let stats = pass.run(&mut sde, &problem, &now, &mut rng, &mut loss, &mut yb, &mut pb).unwrap();
    assert!(stats.accepted > 3 && stats.penalties.iter().all(|v| *v > 0.0), "{name}: {stats:?}");
    let here = frozen(&mut pass, &y0, &p);
    assert!((here - stats.loss).abs() < 1e-12 * here.abs().max(1.0), "{name}: {here} {}", stats.loss);
    let (x, g) = ([y0, p].concat(), [yb, pb].concat());
    let size = g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for i in 0..x.len() {
        let mut at = |d: f64| {
            let mut x = x.clone();
            x[i] += d;
            frozen(&mut pass, &x[..8], &x[8..])
        };
        let d = 2e-4;
        let fd = (8.0 * (at(d) - at(-d)) - (at(2.0 * d) - at(-2.0 * d))) / (12.0 * d);
        assert!((fd - g[i]).abs() < 1e-7 * size, "{name} {i}: {fd} {}", g[i]);
    }
}

#[test]
fn all_penalties() {
    let weight = Schedule::constant(2.0);
    for scope in [Scope::Global, Scope::LocalBiased, Scope::LocalUnbiased] {
        let aggregate = Aggregate::Sum;
        let error = Penalty::Error { weight, aggregate, times_step: true, scope };
        let squared = Penalty::ErrorSquared { weight, aggregate, times_step: false, scope };
        let stiff = Penalty::Stiffness { weight, aggregate: Aggregate::Max, times_step: false, scope };
        let steps = Penalty::ExpectedSteps { weight, scope };
        check(&format!("error {scope:?}"), &SOSRI, &[error]);
        check(&format!("expected steps {scope:?}"), &SOSRI, &[steps]);
        check(&format!("squared {scope:?}"), &SOSRI, &[squared]);
        check(&format!("stiffness {scope:?}"), &SOSRI2, &[stiff]);
        check(&format!("all {scope:?}"), &SOSRI2, &[error, squared, stiff]);
    }
    check("none", &SOSRI, &[]);
}

#[test]
fn what_does_not_go_with_noise_is_refused() {
    let weight = Schedule::constant(1.0);
    let make = |method, penalty| {
        let options = Options::noisy();
        let pass = Pass::<f64, _>::new(method, (2, 4), &options, Memory::States, &[penalty], true);
        pass.unwrap_err().to_string()
    };
    assert!(make(&SOSRI, Penalty::Kinetic { weight }).contains("smooth solution"));
    let (aggregate, times_step, scope) = (Aggregate::Max, false, Scope::Global);
    let stiff = Penalty::Stiffness { weight, aggregate, times_step, scope };
    assert!(make(&SOSRI, stiff).contains("sosri2"));
}
