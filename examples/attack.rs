//! Maximizes a yield that a trained network predicts, under a limit on another of its outputs: attacks with a direct search, then the solver.
//! `cargo run --release --example attack`

use std::cell::RefCell;
use std::ops::ControlFlow;

use costate::nn::{Activation, Mlp};
use costate::observe::Silent;
use costate::opt::hybrid::{HybridOptions, maximize};
use costate::opt::surrogated::{MapSurrogate, as_problem};
use costate::opt::{Options, solve};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Any map will do; here 3 inputs in [-1, 1], two outputs, and weights that would come from a file.
    let net = Mlp::dense(&[3, 8, 2], Activation::Tanh, Activation::Identity, false)?;
    let weights: Vec<f64> = (0..50).map(|k| ((k * 37 + 11) % 23) as f64 / 12.0 - 0.9).collect();
    let outer = |_x: &[f64], y: &[f64], c: &mut [f64]| {
        c[0] = y[1] - 0.05; // y_1 <= 0.05
        y[0]
    };
    let mut surrogate = MapSurrogate::new(net, &weights, 1, outer)?.with_gradient(|_, _, w, _, y_bar| {
        y_bar[0] += 1.0;
        y_bar[1] += w[0];
    });
    let (lower, upper) = (vec![-1.0; 3], vec![1.0; 3]);
    let options =
        HybridOptions { bounds: Some((lower.clone(), upper.clone())), covering: 0.1, ..Default::default() };
    let found = maximize(&mut surrogate, &[0.0; 3], &options, |_| ControlFlow::Continue(()))?;
    println!(
        "attacks and search: {:.6} at {:.4?} in {} evaluations",
        found.objective, found.x, found.evaluations
    );
    let cell = RefCell::new(&mut surrogate as &mut dyn costate::opt::surrogated::Surrogated);
    let mut problem = as_problem("yield", &cell, &found.x, (&lower, &upper))?;
    let report = solve(&mut problem, &Options::default(), &mut Silent)?;
    println!(
        "solver from there: {:.6}, violation {:.1e}: {}",
        -report.objective, report.primal, report.message
    );
    Ok(())
}
