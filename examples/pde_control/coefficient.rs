//! A coefficient of two values from noisy measurements of the state.

use costate::opt::Options;
use costate::pde::{Axis, Boundary, Grid, Identification, IdentificationSpec};

use crate::solution::{solved, told};
use crate::{Arguments, Outcome, output};

/// Relative noise of the measurements.
const NOISE: f64 = 0.01;

fn truth(x: [f64; 3]) -> f64 {
    let disc = (x[0] - 0.35).powi(2) + (x[1] - 0.6).powi(2) < 0.04;
    let block = (0.55..0.85).contains(&x[0]) && (0.15..0.45).contains(&x[1]);
    if disc {
        3.0
    } else if block {
        2.0
    } else {
        1.0
    }
}

pub fn run(arguments: &Arguments) -> Outcome {
    let cells = arguments.cells(48);
    let grid = Grid::new(vec![Axis::unit(cells, Boundary::Dirichlet); 2])?;
    let a = grid.evaluate_cells(truth);
    let source = vec![10.0; grid.unknowns()];
    let spec = IdentificationSpec {
        data: vec![0.0; grid.unknowns()],
        source,
        beta: arguments.alpha(3e-6),
        smoothing: 0.1,
        bounds: (0.5, 5.0),
        initial: 1.0,
        grid: grid.clone(),
    };
    let exact = Identification::new(spec.clone())?.state(&a)?.to_vec();
    let largest = exact.iter().fold(0.0f64, |m, y| m.max(*y));
    // Noise of mean 0, the same in each run: a hash of the index.
    let noise = |p: usize| {
        (((p as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64 / (1u64 << 23) as f64) - 1.0
    };
    let data = exact.iter().enumerate().map(|(p, y)| y + NOISE * largest * noise(p)).collect();
    let mut problem = Identification::new(IdentificationSpec { data, ..spec })?;
    let options = Options { tolerance: 1e-6, max_iterations: 1000, ..Options::default() };
    let solution = solved(&mut problem, &options, false)?;
    let found = &solution.report.x;
    let error = found.iter().zip(&a).map(|(x, a)| (x - a).abs()).sum::<f64>() / a.len() as f64;
    let start = a.iter().map(|a| (a - 1.0).abs()).sum::<f64>() / a.len() as f64;
    println!("mean error of the coefficient {error:.4}, at the start {start:.4}");
    output::write(arguments, &grid, &[("coefficient", found), ("truth", &a)])?;
    told(&solution, grid.cell_volume())
}
