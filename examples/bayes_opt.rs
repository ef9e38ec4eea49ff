//! Minimizes a simulation of your own in 40 evaluations, two at a time, with a constraint, an integer and a log that a kill does not lose.
//! `cargo run --release --example bayes_opt`: stop it at any time and start it again.

use costate::surrogate::bayes_opt::Options;
use costate::surrogate::campaign::{Campaign, Settings};
use costate::surrogate::space::{Space, Variable};

/// Mass of a beam and what its stress exceeds the limit by; no value where it would not hold at all.
fn simulation(width: f64, height: f64, ribs: f64) -> Result<(f64, Vec<f64>), String> {
    let stiffness = width * height.powi(2) * (1.0 + 0.15 * ribs);
    if stiffness < 0.5 {
        return Err("the beam breaks".into());
    }
    Ok((width * height + 0.3 * ribs, vec![6.0 / stiffness - 1.0]))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let space = Space::new(vec![
        Variable::real("width", 0.2, 2.0),
        Variable::log("height", 0.5, 5.0),
        Variable::integer("ribs", 0, 6),
    ])?;
    let options = Options { constraints: 1, ..Options::default() };
    let settings = Settings { evaluations: 40, workers: 2, label: "beam 1".into(), ..Settings::default() };
    let log = std::env::temp_dir().join("costate-beam.jsonl");
    let mut campaign = Campaign::open(&log, space, options, settings)?;
    println!("{} results in {}", campaign.replayed(), log.display());
    campaign.run(&|x, _| simulation(x[0], x[1], x[2]), &|| false, &mut |ended| {
        println!("{:3} {:?} {:?}", ended.id, ended.x, ended.result);
    })?;
    if let Some((id, mass, feasible)) = campaign.best() {
        println!("mass {mass:.4} (feasible: {feasible}) at {:?}", campaign.search().trials()[id].x);
    }
    Ok(())
}
