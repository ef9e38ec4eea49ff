//! Training on data of your own, with a loss of your own, through a field of your own: the friction and frequency of a pendulum from where it is one second later.
//!
//!     cargo run --example own_data --release

use std::ops::ControlFlow;

use costate::expr::record;
use costate::nn::{Activation, Elementwise, WithoutTaylor};
use costate::ode::{Options, TSIT54, solve};
use costate::train::config::SolverConfig;
use costate::train::supervised::{Flow, Memory, Objective, Rows, Supervised, split};
use costate::train::{Split, State, Task, train};

/// sum_s w_s sum_i log cosh (z_i - y_i): outliers count by their size, not by its square.
struct LogCosh;

impl Objective<f64> for LogCosh {
    fn loss(&mut self, z: &[f64], of: &Rows<f64>, share: f64, mut z_bar: Option<&mut [f64]>) -> f64 {
        let width = z.len() / of.weight.len();
        let mut loss = 0.0;
        for (i, (z, y)) in z.iter().zip(&of.y).enumerate() {
            let (d, w) = (z - y, share * of.weight[i / width]);
            loss += w * d.cosh().ln();
            if let Some(bar) = z_bar.as_deref_mut() {
                bar[i] += w * d.tanh();
            }
        }
        loss
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut pendulum = record(2, 2, |_t, u, p, du| {
        du[0] = u[1];
        du[1] = -p[0] * u[0].sin() - p[1] * u[1];
    })?
    .into_map();
    // 200 rows: angle and speed, and both a second later; every tenth is off by 2.
    let x: Vec<f64> = (0..400).map(|i| 2.0 * (12.9898 * i as f64).sin()).collect();
    let options = Options::tolerances(1e-8, 1e-8);
    let mut y = solve(&mut pendulum, &TSIT54, &options, (0.0, 1.0), &x, &[4.0, 0.3], &[])?.y1;
    y.iter_mut().step_by(20).for_each(|y| *y += 2.0);

    let rows = Memory::new((2, 2), x, y)?.with_splits(split(200, None, (0.0, 0.2), 1))?;
    let head = Elementwise { dim: 2, activation: Activation::Identity };
    let model = Flow::new(2, WithoutTaylor::new(pendulum), head, &SolverConfig::default(), &[])?;
    let mut task = Supervised::new(model, rows, LogCosh, 200)?;

    let config =
        toml::from_str("epochs = 60\nbatch = 40\nrate = { kind = \"cosine\", from = 0.2, to = 0.001 }")?;
    let mut state = State::new(&task, &toml::from_str("kind = \"adam\"")?, 0);
    let stop = train(&mut task, &config, &mut state, &mut |_, _| Ok(ControlFlow::Continue(())))?;
    let test = task.evaluate(state.params.values(), Split::Test)?;
    println!("{stop:?}: p = {:.3?}, loss of the test rows {:.4}", state.params.values(), test.loss);
    assert!((state.params.values()[0] - 4.0).abs() < 0.1 && (state.params.values()[1] - 0.3).abs() < 0.1);
    Ok(())
}
