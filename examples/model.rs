//! A model with a parameter that changes between solves: the tin of a given volume with the least sheet. `cargo run --release --example model`

use std::f64::consts::PI;

use costate::model::{Expression, Model, variable};
use costate::observe::Silent;
use costate::opt::{Options, Solver, Start};

fn main() -> Result<(), costate::Error> {
    let mut m = Model::new("tin");
    let r = m.add(variable().min(0).start(5).name("radius"));
    let h = m.add(variable().min(0).start(10).name("height"));
    let volume = m.parameter("volume", 1000.0);
    m.minimize(2.0 * PI * r * (r + h));
    let filled = m.subject_to((PI * r.powi(2) * h).eq(volume).named("filled"));
    let mut solver = Solver::new(Options::default())?;
    for litres in [0.5, 1.0, 2.0] {
        m.set(volume, 1000.0 * litres);
        let report = solver.solve(&mut m, Start::Last, &mut Silent)?;
        let (r, h) = (r.value(report), h.value(report));
        // The sheet that one more cubic centimetre needs: the multiplier, the other way round.
        let price = -filled.multiplier(report);
        println!(
            "{litres} l: radius {r:.3}, height {h:.3}, sheet {:.1}, {price:.4} a cm^3",
            report.objective
        );
    }
    Ok(())
}
