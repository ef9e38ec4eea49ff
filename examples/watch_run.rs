//! Trains a configuration and prints how curved its loss is along the way, and which samples pull against each other.
//! `cargo run --release --example watch_run -- CONFIG.toml`; without a file, the spiral. The configuration's own [diagnose] counts, if it has one.

use std::ops::ControlFlow;
use std::path::Path;

use costate::train::{Config, DiagnoseConfig, Diagnosis, OpposingConfig, State, Watched, train};

const SPIRAL: &str = "[task]\nkind = \"spiral_ode\"\n[train]\nepochs = 300\nrate = 0.01\nprecision = \"f64\"\n[optimizer]\nkind = \"sgd\"\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1);
    let text = match &path {
        Some(path) => std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?,
        None => SPIRAL.to_string(),
    };
    let config: Config = toml::from_str(&text)?;
    config.check()?;
    let base = path.as_ref().and_then(|p| Path::new(p).parent()).unwrap_or(Path::new(""));
    let every_so_often = DiagnoseConfig {
        sharpness_every: Some(50),
        opposing: Some(OpposingConfig { every: 50, top: 3 }),
        samples: 200,
        ..DiagnoseConfig::default()
    };
    let diagnose = config.diagnose.clone().unwrap_or(every_so_often);
    let mut task = config.build::<f64>(base)?;
    let mut state = State::new(&*task, &config.optimizer, config.train.seed);
    let mut print = |d: &Diagnosis| println!("{d:?}");
    let mut watched = Watched::new(&mut *task, &diagnose, (config.train.rate, config.train.seed), &mut print);
    let stop = train(&mut watched, &config.train, &mut state, &mut |_, _| Ok(ControlFlow::Continue(())))?;
    println!("{stop:?} after {} steps", state.step);
    Ok(())
}
