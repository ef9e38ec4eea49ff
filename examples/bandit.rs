//! The best of 500 recipes, described by 12 features each, in 30 tastings.
//! `cargo run --release --example bandit`

use costate::surrogate::bandit::{BanditOptions, NeuralUcb};

/// What a tasting would say: expensive, noisy, here made up.
fn taste(recipe: &[f64]) -> f64 {
    (recipe[0] * recipe[1]).tanh() + 0.5 * (2.0 * recipe[2]).sin() - 0.1 * recipe[3].powi(2)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (count, dim) = (500, 12);
    // Your own table: one row a candidate.
    let features: Vec<f64> =
        (0..count * dim).map(|k| ((k * 7919 + 13) % 1000) as f64 / 250.0 - 2.0).collect();
    let row = |i: usize| &features[i * dim..(i + 1) * dim];
    let options = BanditOptions { width: 50, iterations: 300, rate: 1e-2, ..BanditOptions::default() };
    let mut bandit = NeuralUcb::new(&features, dim, options)?;
    for i in [3, 141, 59, 265, 358] {
        bandit.observe(i, taste(row(i)))?;
    }
    for _ in 0..25 {
        let Some(next) = bandit.suggest()? else { break };
        let y = taste(row(next.index));
        println!("recipe {:3}: {y:+.3}, expected {:+.3} +- {:.3}", next.index, next.mean, next.deviation);
        bandit.observe(next.index, y)?;
    }
    println!(
        "best: {:?}, of all: {:.3}",
        bandit.best(),
        (0..count).map(|i| taste(row(i))).fold(f64::MIN, f64::max)
    );
    Ok(())
}
