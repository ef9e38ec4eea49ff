//! What the tapes of all adjoints hold, measured: peaks within the budget of each policy, and no allocation in later passes.

#[path = "common/adjoint.rs"]
mod adjoint;
#[path = "common/alloc.rs"]
mod alloc;

use adjoint::noise;
use alloc::{allocations, peak_bytes};
use costate::adjoint::{Adjoint, Bars, Memory, SdeAdjoint, StiffAdjoint};
use costate::diff::{FnMap, Formula, Map, Number, Size};
use costate::expr::formula;
use costate::nn::{Activation, Chain, Mlp, Power};
use costate::ode::*;
use costate::sde::*;

const POLICIES: [Memory; 6] = [
    Memory::Stages,
    Memory::States,
    Memory::Every(8),
    Memory::Checkpoints(4),
    Memory::Checkpoints(8),
    Memory::Checkpoints(16),
];
/// Steps of every pass here.
const STEPS: usize = 40;
const H: f64 = 1.0 / STEPS as f64;
/// Columns of a batch: the tape dominates.
const N: usize = 4000;

/// Numbers of length N that a policy may hold: `stages` is what one step has besides its state under Memory::Stages, `beside` what both policies without
/// recomputation from an earlier step keep with a state.
fn budget(memory: Memory, stages: usize, beside: usize) -> usize {
    match memory {
        Memory::Stages => STEPS * (1 + beside + stages),
        Memory::States => STEPS * (1 + beside),
        // Every k-th, and k - 1 more while going back.
        Memory::Every(k) => STEPS.div_ceil(k) + k - 1,
        Memory::Checkpoints(c) => c,
    }
}

/// Peak of a pass against the budget in numbers of length N, and what the tape says of itself. Times, indices and the buffers' headers take at most
/// 600 bytes a step, with room for a list that grows: all together less than a state.
fn check(what: &str, memory: Memory, (peak, bytes): (i64, usize), budget: usize) {
    let (states, rest) = ((budget * 8 * N) as i64, 600 * STEPS as i64);
    println!("{what} {memory:?}: peak {peak} bytes, tape {bytes}, budget {states}");
    assert!(peak <= states + rest, "{what} {memory:?}: {peak} bytes, {states} allowed");
    // What is held is said, and little else was there.
    assert!(bytes as i64 <= peak && peak <= bytes as i64 + rest, "{what} {memory:?}: {peak}, said {bytes}");
}

fn quadratic() -> impl Map<f64> {
    FnMap::new(1, 1, |t: f64, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * (y[0] * y[0] - t))
        .with_vjp(|t: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            yb[0] += 2.0 * p[0] * y[0] * w[0];
            pb[0] += (y[0] * y[0] - t) * w[0];
        })
}

#[test]
fn explicit_tapes_keep_within_their_budgets() {
    let (y0, ones) = (vec![0.5; N], vec![1.0; N]);
    let bars = Bars { y1: &ones, ..Bars::default() };
    let mut gradients = vec![];
    for memory in POLICIES {
        let mut s = Adjoint::new(&TSIT54, 1, N, &Options::fixed(H), memory).unwrap();
        let (mut yb, mut pb) = (vec![0.0; N], vec![0.0]);
        let (peak, ()) = peak_bytes(|| {
            s.forward(&mut quadratic(), (0.0, 1.0), &y0, &[0.7], &mut ()).unwrap();
            s.reverse(&mut quadratic(), &[0.7], &bars, &mut yb, &mut pb).unwrap();
        });
        // The final state under Memory::Stages, which the tape holds too.
        let last = (memory == Memory::Stages) as usize;
        check("tsit54", memory, (peak, s.tape().bytes()), budget(memory, 7, 0) + last);
        assert!(s.tape().len() == STEPS || s.tape().is_empty());
        gradients.push(pb[0]);
    }
    assert!(gradients.iter().all(|g| *g == gradients[0]), "{gradients:?}");
}

#[test]
fn what_a_network_keeps_is_in_the_budget() {
    let mut f = net();
    let (n, batch, p) = (N, N / 4, noise(f.n_params(), 2));
    let (y0, bar) = (noise(n, 1), noise(n, 3));
    let bars = Bars { y1: &bar, ..Bars::default() };
    // Hidden layers of 16 and 9 for 4 components: 25 numbers a column and stage, or 25/4 states.
    let kept = 7 * f.keep_len(batch);
    assert_eq!(kept, 7 * 25 * batch);
    // In a first pass, one without what is kept, the network's own workspace grows.
    for (pass, memory) in [(0, Memory::Checkpoints(4)), (1, Memory::Stages), (2, Memory::Checkpoints(4))] {
        let mut s = Adjoint::new(&TSIT54, 4, batch, &Options::fixed(H), memory).unwrap();
        let (mut yb, mut pb) = (vec![0.0; n], vec![0.0; p.len()]);
        let (peak, ()) = peak_bytes(|| {
            s.forward(&mut f, (0.0, 1.0), &y0, &p, &mut ()).unwrap();
            s.reverse(&mut f, &p, &bars, &mut yb, &mut pb).unwrap();
        });
        // Of what is kept the forward pass and the sweep have one set each to work with; the final state under Memory::Stages.
        let (last, rows) = if memory == Memory::Stages { (1, STEPS + 2) } else { (0, 1) };
        let allowed = budget(memory, 7, 0) + last + (rows * kept).div_ceil(N);
        let said = s.tape().bytes() + (if last == 1 { 2 } else { 1 }) * 8 * kept;
        if pass > 0 {
            check("network", memory, (peak, said), allowed);
        }
    }
}

#[test]
fn stiff_tapes_keep_within_their_budgets() {
    let (y0, ones) = (vec![0.5; N], vec![1.0; N]);
    let bars = Bars { y1: &ones, ..Bars::default() };
    for tab in RosenbrockTableau::all() {
        let mut gradients = vec![];
        for memory in POLICIES {
            let mut s = StiffAdjoint::new(tab, 1, N, &Options::fixed(H), memory).unwrap();
            let (mut yb, mut pb) = (vec![0.0; N], vec![0.0]);
            let mut f = quadratic();
            let (peak, ()) = peak_bytes(|| {
                s.forward(&mut f, (0.0, 1.0), &y0, &[0.7], &mut ()).unwrap();
                s.reverse(&mut f, &[0.7], &bars, &mut yb, &mut pb).unwrap();
            });
            assert!(pb[0] != 0.0);
            // Forward pass and sweep work with a weight and a row each, for Jacobians by pullbacks: not the tape's.
            let work = 4;
            let said = s.tape().bytes() + work * 8 * N;
            check(tab.name, memory, (peak, said), budget(memory, tab.stages(), 0) + work);
            gradients.push(pb[0]);
        }
        assert!(gradients.iter().all(|g| *g == gradients[0]), "{} {gradients:?}", tab.name);
    }
}

fn growth() -> Sde<impl Map<f64>, impl Map<f64>> {
    let f = FnMap::new(1, 1, |_: f64, y: &[f64], p: &[f64], dy: &mut [f64]| dy[0] = p[0] * y[0]).with_vjp(
        |_: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
            yb[0] += p[0] * w[0];
            pb[0] += y[0] * w[0];
        },
    );
    let g = FnMap::new(1, 1, |_: f64, y: &[f64], p: &[f64], g: &mut [f64]| g[0] = p[0] * y[0]);
    let back = |_: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]| {
        yb[0] += p[0] * w[0];
        pb[0] += y[0] * w[0];
    };
    Sde::new(f, g.with_vjp(back), Noise::Diagonal).unwrap()
}

#[test]
fn stochastic_tapes_keep_within_their_budgets() {
    let (y0, ones) = (vec![0.5; N], vec![1.0; N]);
    let bars = Bars { y1: &ones, ..Bars::default() };
    let p = [0.7, 0.2];
    for method in [&EULER_MARUYAMA, &MILSTEIN, &SRIW1, &SOSRI] {
        let mut gradients = vec![];
        for memory in POLICIES {
            let o = Options::noisy().with_fixed_step(H);
            let mut s = SdeAdjoint::new(method, 1, N, &o, memory).unwrap();
            let (mut yb, mut pb) = (vec![0.0; N], vec![0.0; 2]);
            let mut sde = growth();
            let (peak, ()) = peak_bytes(|| {
                s.forward(sde.follow(Brownian::new(3)), (0.0, 1.0), &y0, &p, &mut ()).unwrap();
                s.reverse(&mut sde, &p, &bars, &mut yb, &mut pb).unwrap();
            });
            // One step is one cell of the path: its pair (w, H) is read while the tape is held.
            let path = 2 * 8 * N;
            let area = (method.name == "sriw1" || method.name == "sosri") as usize;
            let stages = 2 * method.stages();
            let allowed = budget(memory, stages, 1 + area) + 2;
            check(method.name, memory, (peak, s.tape().bytes() + path), allowed);
            gradients.push(pb);
        }
        assert!(gradients.iter().all(|g| *g == gradients[0]), "{} {gradients:?}", method.name);
    }
}

/// Allocations of the third of three equal passes.
fn third(mut pass: impl FnMut()) -> u64 {
    pass();
    pass();
    let before = allocations();
    pass();
    allocations() - before
}

const SHORT: [Memory; 4] = [Memory::Stages, Memory::States, Memory::Every(3), Memory::Checkpoints(2)];
const TIMES: [f64; 3] = [0.0, 0.33, 1.0];

/// Two hidden layers with time as an input; behind the cubes of its inputs, too.
fn net() -> Mlp<f64> {
    Mlp::dense(&[4, 16, 9, 4], Activation::Tanh, Activation::Identity, true).unwrap()
}

/// An explicit adjoint with save points inside steps, E and S.
fn explicit_pass<F: Map<f64>>(what: &str, mut f: F, batch: usize) {
    let (n, p) = (4 * batch, noise(f.n_params(), 2));
    let (y0, saved) = (noise(n, 1), noise(3 * n, 3));
    for (tab, memory) in SHORT.map(|m| (&TSIT54, m)).into_iter().chain([(&VERN76, Memory::Stages)]) {
        let mut s = Adjoint::new(tab, 4, batch, &Options::tolerances(1e-5, 1e-5), memory).unwrap();
        let (mut yb, mut pb) = (vec![0.0; n], vec![0.0; p.len()]);
        let mut estimates = vec![0.0; 1000];
        estimates.fill(0.1);
        let count = third(|| {
            s.forward(&mut f, (0.0, 1.0), &y0, &p, &mut ()).unwrap();
            let steps = &estimates[..s.tape().len()];
            let bars =
                Bars { times: &TIMES, saved: &saved, error: steps, stiffness: steps, ..Bars::default() };
            s.reverse(&mut f, &p, &bars, &mut yb, &mut pb).unwrap();
        });
        assert!(s.tape().len() > 3 || !matches!(memory, Memory::Stages | Memory::States));
        assert!(pb.iter().any(|g| *g != 0.0));
        assert_eq!(count, 0, "{what} {} {memory:?}, batch {batch}", tab.name);
    }
}

#[test]
fn networks_do_not_allocate_in_later_passes() {
    // 300 columns are several blocks of a network.
    for batch in [1, 7, 300] {
        explicit_pass("mlp", net(), batch);
        let cubes = Chain::new(Power { dim: 4, exponent: 3 }, net()).unwrap();
        explicit_pass("chain", cubes, batch);
    }
}

/// y_i' = -10 p_i (y_i - y_(i+1) cos t), stiff enough to have steps.
struct Ring;

impl Formula<f64> for Ring {
    fn size(&self) -> Size {
        Size::field(4, 4)
    }
    fn eval<D: Number<f64>>(&self, t: D, y: &[D], p: &[D], dy: &mut [D]) {
        for i in 0..4 {
            dy[i] = -p[i] * 10.0 * (y[i] - y[(i + 1) % 4] * t.cos());
        }
    }
}

fn stiff_pass<F: Map<f64>>(what: &str, mut f: F, batch: usize) {
    let (n, p) = (4 * batch, noise(f.n_params(), 2));
    let (y0, saved) = (noise(n, 1), noise(3 * n, 3));
    for tab in RosenbrockTableau::all() {
        for memory in SHORT {
            let mut s = StiffAdjoint::new(tab, 4, batch, &Options::tolerances(1e-4, 1e-4), memory).unwrap();
            let (mut yb, mut pb) = (vec![0.0; n], vec![0.0; p.len()]);
            let mut estimates = vec![0.0; 1000];
            estimates.fill(0.1);
            let count = third(|| {
                s.forward(&mut f, (0.0, 1.0), &y0, &p, &mut ()).unwrap();
                let steps = &estimates[..s.tape().len()];
                let bars =
                    Bars { times: &TIMES, saved: &saved, error: steps, stiffness: steps, ..Bars::default() };
                s.reverse(&mut f, &p, &bars, &mut yb, &mut pb).unwrap();
            });
            assert!(pb.iter().any(|g| *g != 0.0));
            assert_eq!(count, 0, "{what} {} {memory:?}, batch {batch}", tab.name);
        }
    }
}

#[test]
fn stiff_sweeps_do_not_allocate_in_later_passes() {
    for batch in [1, 7] {
        stiff_pass("mlp", net(), batch);
        stiff_pass("formula", formula(Ring).unwrap(), batch);
    }
}

#[test]
fn neural_stochastic_sweeps_do_not_allocate_in_later_passes() {
    for batch in [1, 300] {
        let n = 4 * batch;
        for memory in SHORT {
            let g = Mlp::linear(4, 4).unwrap();
            let mut sde = Sde::new(net(), g, Noise::Diagonal).unwrap();
            let p = noise(sde.n_params(), 2);
            let o = Options::noisy().with_fixed_step(0.1);
            let mut s = SdeAdjoint::new(&SOSRI, 4, batch, &o, memory).unwrap();
            let (y0, bar) = (noise(n, 1), noise(n, 3));
            let (mut yb, mut pb) = (vec![0.0; n], vec![0.0; p.len()]);
            let count = third(|| {
                s.forward(sde.follow(Brownian::new(1)), (0.0, 1.0), &y0, &p, &mut ()).unwrap();
                let bars = Bars { y1: &bar, ..Bars::default() };
                s.reverse(&mut sde, &p, &bars, &mut yb, &mut pb).unwrap();
            });
            assert!(pb.iter().any(|g| *g != 0.0));
            assert_eq!(count, 0, "{memory:?}, batch {batch}");
        }
    }
}
