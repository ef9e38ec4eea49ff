//! The spiral neural SDE: value and gradient.
//!
//!     cargo bench --bench sde                  # criterion
//!     cargo bench --bench sde -- --table [PART OF A NAME]       # best times and steps
//!
//! Drift W2 tanh(W1 y^3 + b1) + b2 with 50 hidden units, diagonal diffusion W3 y + b3, u0 = (2, 0), t in [0, 1], 100 trajectories, 30 save points; the loss
//! is the mean squared difference of mean and variance from given moments. W1, b1, W2, b2 are made here, of the size of a network's first guess.

use std::hint::black_box;
use std::time::Instant;

use costate::adjoint::{Bars, Memory, SdeAdjoint};
use costate::linalg::Scalar;
use costate::nn::{Activation, Chain, Mlp, Power};
use costate::ode::*;
use costate::sde::*;
use criterion::Criterion;

const PATHS: usize = 100;

type Drift<T> = Chain<Power, Mlp<T>, T>;

struct Spiral<T: Scalar> {
    sde: Sde<Drift<T>, Mlp<T>>,
    solver: SdeAdjoint<T>,
    p: Vec<T>,
    y0: Vec<T>,
    times: Vec<T>,
    save: SaveAt<T>,
    bars: Vec<T>,
    y0_bar: Vec<T>,
    p_bar: Vec<T>,
    seed: u64,
}

impl<T: Scalar> Spiral<T> {
    fn new(method: &'static SdeMethod, options: &Options, memory: Memory) -> Self {
        let net = Mlp::dense(&[2, 50, 2], Activation::Tanh, Activation::Identity, false).unwrap();
        let drift = Chain::new(Power { dim: 2, exponent: 3 }, net).unwrap();
        let diffusion = Mlp::linear(2, 2).unwrap();
        let sde = Sde::new(drift, diffusion, Noise::Diagonal).unwrap();
        let mut x = 1u64;
        let mut random = || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        let p: Vec<T> = (0..sde.n_params()).map(|_| T::of(0.3 * random())).collect();
        let times: Vec<T> = (0..30).map(|i| T::of(i as f64 / 29.0)).collect();
        Self {
            solver: SdeAdjoint::new(method, 2, PATHS, options, memory).unwrap(),
            y0: [T::of(2.0), T::ZERO].repeat(PATHS),
            save: SaveAt::new(&times),
            bars: vec![T::ZERO; 2 * PATHS * times.len()],
            y0_bar: vec![T::ZERO; 2 * PATHS],
            p_bar: vec![T::ZERO; p.len()],
            times,
            sde,
            p,
            seed: 0,
        }
    }

    /// One training step without the optimizer; a new path each time.
    fn step(&mut self) -> OdeReport {
        self.seed += 1;
        let span = (T::ZERO, T::ONE);
        let path = Brownian::new(self.seed);
        let r = self.solver.forward(self.sde.follow(path), span, &self.y0, &self.p, &mut self.save).unwrap();
        let inverse = T::of(1.0 / PATHS as f64);
        for (states, bars) in
            self.save.states().chunks_exact(2 * PATHS).zip(self.bars.chunks_exact_mut(2 * PATHS))
        {
            for i in 0..2 {
                let column = || states.iter().skip(i).step_by(2);
                let mean = column().copied().sum::<T>() * inverse;
                let variance = column().map(|&y| (y - mean) * (y - mean)).sum::<T>() * inverse;
                // Moments to match: mean 1, variance 0.1.
                let (a, b) = (mean - T::ONE, variance - T::of(0.1));
                for (bar, &y) in bars.iter_mut().skip(i).step_by(2).zip(column()) {
                    *bar = T::of(2.0) * inverse * (a + T::of(2.0) * b * (y - mean));
                }
            }
        }
        self.p_bar.fill(T::ZERO);
        let bars = Bars { times: &self.times, saved: &self.bars, ..Bars::default() };
        self.solver.reverse(&mut self.sde, &self.p, &bars, &mut self.y0_bar, &mut self.p_bar).unwrap();
        r
    }
}

/// Processor seconds of this thread so far, where the system tells.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-9)
}

/// Seconds of the fastest of many calls: the smaller of the best wall time and the best mean processor time over 0.3 s, because on a busy machine a call
/// longer than a time slice is always interrupted, and the processor clock ticks too coarsely for single calls.
fn best(mut f: impl FnMut()) -> f64 {
    let mut least = f64::INFINITY;
    for _ in 0..6 {
        let (start, cpu, mut calls) = (Instant::now(), cpu_seconds(), 0.0);
        while start.elapsed().as_secs_f64() < 0.3 {
            let t = Instant::now();
            f();
            least = least.min(t.elapsed().as_secs_f64());
            calls += 1.0;
        }
        if let (Some(a), Some(b)) = (cpu, cpu_seconds()) {
            least = least.min((b - a) / calls);
        }
    }
    least
}

fn cases() -> Vec<(&'static str, &'static SdeMethod, Options)> {
    let adaptive = Options::noisy().with_tolerances(0.3, 0.3);
    vec![
        ("euler-maruyama, 116 steps", &EULER_MARUYAMA, Options::noisy().with_fixed_step(1.0 / 116.0)),
        ("milstein, 116 steps", &MILSTEIN, Options::noisy().with_fixed_step(1.0 / 116.0)),
        ("sosri, 116 steps", &SOSRI, Options::noisy().with_fixed_step(1.0 / 116.0)),
        ("sosri, tolerance 0.3", &SOSRI, adaptive.clone()),
        ("sriw1, tolerance 0.3", &SRIW1, adaptive),
    ]
}

fn row<T: Scalar>(name: &str, method: &'static SdeMethod, options: &Options, memory: Memory) {
    let wanted = std::env::args().skip_while(|a| a != "--table").nth(1);
    if wanted.is_some_and(|w| !w.starts_with('-') && !name.contains(&w)) {
        return;
    }
    let mut s = Spiral::<T>::new(method, options, memory);
    let r = s.step();
    let both = best(|| {
        black_box(s.step());
    });
    let (span, mut seed) = ((T::ZERO, T::ONE), 0);
    let forward = best(|| {
        seed += 1;
        let r = s.solver.forward(s.sde.follow(Brownian::new(seed)), span, &s.y0, &s.p, &mut s.save);
        drop(black_box(r));
    });
    println!(
        "{name:<28} f{} {memory:?}: value and gradient {:.3} ms, forward pass {:.3} ms; {} steps, {} rejections, {} drift evaluations",
        8 * size_of::<T>(),
        both * 1e3,
        forward * 1e3,
        r.counts.accepted,
        r.counts.rejected,
        r.counts.evals
    );
}

fn table() {
    for (name, method, options) in cases() {
        row::<f64>(name, method, &options, Memory::Stages);
        row::<f32>(name, method, &options, Memory::Stages);
    }
    for (name, method, options) in [&cases()[0], &cases()[2]] {
        for memory in [Memory::States, Memory::Checkpoints(10)] {
            row::<f64>(name, method, options, memory);
        }
    }
    let mut path = BrownianPath::new(&Brownian::new(1).with_cells(116), (0.0, 1.0), 2, PATHS).unwrap();
    let noise = best(|| {
        path.rewind();
        for i in 1..=116 {
            black_box(path.advance(i as f64 / 116.0).unwrap());
        }
    });
    println!("Brownian increments alone, 116 cells: {:.3} ms", noise * 1e3);
}

fn criterion_groups(c: &mut Criterion) {
    for (name, method, options) in cases() {
        let mut s = Spiral::<f64>::new(method, &options, Memory::Stages);
        c.bench_function(&format!("spiral neural SDE gradient/{name}"), |b| b.iter(|| s.step()));
    }
}

fn main() {
    if std::env::args().any(|a| a == "--table") {
        return table();
    }
    let mut c = Criterion::default().configure_from_args();
    criterion_groups(&mut c);
    c.final_summary();
}
