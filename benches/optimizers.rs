//! What a step costs: optimizers on given gradients relative to descent and Adam, Sven with its Gram matrix and pullback, and a memory's update.
//!
//!     cargo bench --bench optimizers

use std::hint::black_box;
use std::time::Instant;

use costate::diff::{Entry, Init};
use costate::memory::{Continuum, ContinuumOptions, DeltaMemory};
use costate::nn::{Activation, Mlp};
use costate::train::data::{Stream, generator};
use costate::train::supervised::{Layers, LossKind, Memory, StandardLoss, Supervised};
use costate::train::{OptimizerConfig, Progress, State, Task, optim};

/// The least time of a call, in microseconds, over about a second.
fn least(mut f: impl FnMut()) -> f64 {
    let (mut best, begun) = (f64::INFINITY, Instant::now());
    while begun.elapsed().as_secs_f64() < 1.0 {
        let start = Instant::now();
        for _ in 0..20 {
            f();
        }
        best = best.min(start.elapsed().as_secs_f64() / 20.0);
    }
    1e6 * best
}

fn numbers(n: usize) -> Vec<f64> {
    (0..n).map(|i| (1.3 * i as f64 + 0.5).sin()).collect()
}

/// Steps on a 100 x 196 matrix and a vector of 100, f32.
fn steps() {
    let entry = |name: &str, shape: &[usize], start: usize| {
        let end = start + shape.iter().product::<usize>();
        Entry { name: name.into(), shape: shape.to_vec(), range: start..end, init: Init::Zeros }
    };
    let entries = [entry("w", &[196, 100], 0), entry("b", &[100], 19_600)];
    let n = 19_700;
    let g: Vec<f32> = numbers(n).iter().map(|v| *v as f32).collect();
    let time = |config: OptimizerConfig| {
        let (mut optimizer, mut p) = (config.build::<f32>(&entries), g.clone());
        least(|| optimizer.step(black_box(1e-6), &mut p, &g))
    };
    let (sgd, adam) = (time(optim::SgdConfig::default().into()), time(optim::AdamConfig::default().into()));
    println!("step on 100 x 196 + 100 (f32): sgd {sgd:.1} us, adam {adam:.1} us");
    for config in OptimizerConfig::every() {
        if matches!(config.kind(), "sgd" | "adam" | "sven" | "dgd") {
            continue;
        }
        let name = config.kind();
        let t = time(config);
        println!("  {name:15} {t:8.1} us   {:5.2} x sgd   {:5.2} x adam", t / sgd, t / adam);
    }
}

/// Gradient steps and Sven's on the 1-D task's network, 593 parameters, batch 32, f64.
fn sven() {
    let net = Mlp::<f64>::dense(&[1, 16, 16, 16, 1], Activation::Gelu, Activation::Identity, false);
    let rows = Memory::new((1, 1), numbers(320), numbers(320)).expect("whole rows");
    let loss = StandardLoss::new(LossKind::Squared, 1).expect("one target");
    let layers = Layers::new(net.expect("sizes fit")).expect("it has a pullback");
    let mut task = Supervised::new(layers, rows, loss, 32).expect("sizes fit");
    let samples: Vec<usize> = (0..32).collect();
    let (now, mut rng) = (Progress::default(), generator(0, Stream::Pass, 0));
    let adam = OptimizerConfig::from(optim::AdamConfig::default());
    let mut state = State::new(&task, &adam, 0);
    let mut g = vec![0.0; state.params.values().len()];
    let plain = least(|| {
        g.fill(0.0);
        task.gradient(state.params.values(), &samples, &now, &mut rng, &mut g).expect("a map");
        state.optimizer.step(1e-9, state.params.values_mut(), &g);
    });
    let mut optimizer = OptimizerConfig::from(optim::SvenConfig::default()).build::<f64>(&[]);
    let (mut r, mut d) = (vec![], vec![0.0; g.len()]);
    let full = least(|| {
        let of = task.residuals().expect("a squared loss");
        of.linearize(state.params.values(), &samples, &now, &mut rng, &mut r).expect("a map");
        optimizer.by_residuals().expect("sven").direction(&r, of, &mut d);
        optimizer.step(1e-9, state.params.values_mut(), &d);
    });
    let mut gram = vec![0.0; 32 * 32];
    let of = least(|| task.residuals().expect("a squared loss").gram(&mut gram));
    println!(
        "593 parameters, batch 32 (f64): gradient and adam {plain:.1} us, sven {full:.1} us ({:.2} x), its Gram matrix {of:.1} us",
        full / plain
    );
}

fn memories() {
    let (x, y) = (numbers(64), numbers(64));
    let mut wide = DeltaMemory::new(64, 64, 0.1).expect("positive sizes");
    let double = least(|| drop(wide.observe(&x, &y)));
    let single = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<_>>();
    let (x32, y32) = (single(&x), single(&y));
    let mut narrow = DeltaMemory::new(64, 64, 0.1).expect("positive sizes");
    let half = least(|| drop(narrow.observe(&x32, &y32)));
    println!("DeltaMemory 64 x 64: an update {double:.2} us (f64), {half:.2} us (f32)");
    let mut chain = Continuum::new(&ContinuumOptions::new(&[8, 32, 32, 1], &[1, 8, 64])).expect("sizes fit");
    let update = least(|| drop(chain.observe(&x[..8], &y[..1])));
    println!("Continuum 8-32-32-1, paces 1, 8, 64: an update {update:.2} us (f64)");
}

fn main() {
    steps();
    sven();
    memories();
}
