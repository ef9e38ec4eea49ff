//! Value and gradient of a stiff neural ODE whose field is a recorded formula: 4 states, 76 parameters, 1e-6.
//!
//!     cargo bench --bench neural
//!
//! The peer is `benches/peers/stiff_neural_diffrax.py`, the spiral neural SDE's is `benches/peers/spiral_sde_jax.py` beside `cargo bench --bench sde -- --table euler`.

use std::hint::black_box;
use std::time::Instant;

use costate::adjoint::{Bars, Memory, StiffAdjoint};
use costate::expr::{Var, record};
use costate::ode::*;

const SCALE: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];

/// y_i' = 10^i (b_i + sum_j V_ji tanh(a_j + sum_k W_kj y_k) - y_i + 0.1 sin((1 + i) t)); W by rows 4 x 8, a, V by rows 8 x 4, b.
fn network(t: Var, y: &[Var], p: &[Var], dy: &mut [Var]) {
    let hidden: Vec<Var> =
        (0..8).map(|j| (0..4).fold(p[32 + j], |sum, k| sum + p[8 * k + j] * y[k]).tanh()).collect();
    for i in 0..4 {
        let sum = (0..8).fold(p[72 + i], |sum, j| sum + p[40 + 4 * j + i] * hidden[j]);
        dy[i] = SCALE[i] * (sum - y[i] + 0.1 * ((1.0 + i as f64) * t).sin());
    }
}

fn main() {
    let p: Vec<f64> = (0..76).map(|m| 0.4 * (1.3 * m as f64 + 0.5).sin()).collect();
    let times: Vec<f64> = (1..=10).map(|i| 0.3 * i as f64).collect();
    let weights: Vec<f64> = (0..40).map(|m| (0.9 * m as f64).cos()).collect();
    let mut field = record(4, 76, network).expect("the formula can be recorded").into_map();
    for method in [&RODAS4, &RODAS5P] {
        let options = Options::tolerances(1e-6, 1e-6);
        let mut solver = StiffAdjoint::new(method, 4, 1, &options, Memory::Stages).expect("valid options");
        let mut save = SaveAt::new(&times);
        let (mut y0_bar, mut p_bar, mut saved_bar) = ([0.0; 4], vec![0.0; 76], vec![0.0; 40]);
        let mut step = || {
            let start = [1.0, -0.5, 0.3, 0.8];
            let report = solver.forward(&mut field, (0.0, 3.0), &start, &p, &mut save).expect("it runs");
            let mut loss = 0.0;
            for ((bar, y), w) in saved_bar.iter_mut().zip(save.states()).zip(&weights) {
                loss += w * y * y;
                *bar = 2.0 * w * y;
            }
            p_bar.fill(0.0);
            let bars = Bars { times: &times, saved: &saved_bar, ..Bars::default() };
            solver.reverse(&mut field, &p, &bars, &mut y0_bar, &mut p_bar).expect("it has a pullback");
            (loss, report.counts.accepted)
        };
        let (loss, steps) = step();
        let (mut least, begin) = (f64::INFINITY, Instant::now());
        while begin.elapsed().as_secs_f64() < 2.0 {
            let start = Instant::now();
            black_box(step());
            least = least.min(start.elapsed().as_secs_f64());
        }
        let norm = p_bar.iter().map(|v| v * v).sum::<f64>().sqrt();
        println!(
            "{}: {:.3} ms, {steps} steps, L = {loss:.9} (right -0.183685550), |dL/dp| = {norm:.7} (right 2.3278914)",
            method.name,
            1e3 * least
        );
    }
}
