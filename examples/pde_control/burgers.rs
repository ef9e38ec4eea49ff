//! The Burgers equation: a wave shall stand still.

use costate::Nlp;
use costate::pde::{Burgers, BurgersSpec};

use crate::solution::{matrix_free, solved, told};
use crate::{Arguments, Outcome, output};

pub fn run(arguments: &Arguments) -> Outcome {
    let (cells, steps) = (arguments.cells(128), 128);
    if cells < 2 {
        return Err(costate::Error::Problem {
            name: "burgers".into(),
            what: "1 cell, expected at least 2".into(),
        }
        .into());
    }
    let wave = |i: usize| {
        let x = (i + 1) as f64 / cells as f64;
        if x <= 0.5 { 1.0 } else { 0.0 }
    };
    let initial: Vec<f64> = (0..cells - 1).map(wave).collect();
    let target = (0..steps).flat_map(|_| initial.clone()).collect();
    let spec = BurgersSpec {
        cells,
        steps,
        time: 1.0,
        viscosity: 0.01,
        alpha: arguments.alpha(0.05),
        target,
        initial,
    };
    let mut problem = Burgers::new(spec)?;
    println!("{} variables", problem.meta().n());
    let solution = solved(&mut problem, &matrix_free(), true)?;
    let (y, u) = solution.report.x.split_at((cells - 1) * steps);
    output::write_in_time(
        arguments,
        cells - 1,
        &[("state", y), ("control", u), ("multiplier", &solution.report.y)],
    )?;
    told(&solution, problem.unit())
}
