//! Conducting material of limited volume: heat is produced everywhere and leaves through the middle of one side.

use costate::opt::Options;
use costate::pde::{Axis, Boundary, Grid, Material, MaterialSpec};

use crate::solution::{solved, told};
use crate::{Arguments, Outcome, output};

pub fn run(arguments: &Arguments) -> Outcome {
    let cells = arguments.cells(48);
    let axis = |low| Axis { length: 1.0, cells, low, high: Boundary::Neumann };
    let grid = Grid::new(vec![axis(Boundary::Robin(10.0)), axis(Boundary::Neumann)])?;
    let source = vec![1.0; grid.unknowns()];
    let spec =
        MaterialSpec { grid: grid.clone(), source, least: 1e-3, penalty: 3.0, share: 0.4, radius: 1.5 };
    let mut problem = Material::new(spec)?;
    let options = Options { tolerance: 1e-5, max_iterations: 1000, ..Options::default() };
    let solution = solved(&mut problem, &options, false)?;
    let r = &solution.report.x;
    let filtered = problem.filtered(r);
    let grey = filtered.iter().filter(|r| (0.1..0.9).contains(*r)).count() as f64 / r.len() as f64;
    println!(
        "mean density {:.4}, {:.1} % of the cells between 0.1 and 0.9",
        r.iter().sum::<f64>() / r.len() as f64,
        100.0 * grey
    );
    output::write(arguments, &grid, &[("density", &filtered)])?;
    told(&solution, 1.0)
}
