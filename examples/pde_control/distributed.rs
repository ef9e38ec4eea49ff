//! Poisson's equation with control everywhere.

use std::time::Instant;

use costate::opt::{Options, WarmStart};
use costate::pde::{Boundary, Control, ControlSpec, Grid};

use crate::solution::{matrix_free, solved, target, told};
use crate::{Arguments, Outcome, output};

pub fn run(arguments: &Arguments) -> Outcome {
    let grid = Grid::unit(2, arguments.cells(128), Boundary::Dirichlet)?;
    let goal = grid.evaluate(target);
    let start = Instant::now();
    let mut control = Control::new(ControlSpec::new(grid.clone(), arguments.alpha(1e-6), goal))?;
    let set_up = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let found = control.solve_quadratic(1e-10, 60)?;
    println!(
        "{} unknowns of state and control: {} iterations of gmres, relative residual {:.1e}, {:.3} s after {set_up:.3} s",
        2 * grid.unknowns(),
        found.solved.iterations,
        found.solved.relative_residual,
        start.elapsed().as_secs_f64()
    );
    if !found.solved.reached {
        return Err("not solved".into());
    }
    // The optimizer has the last word: the point is a start, which it leaves as it is or improves.
    let x: Vec<f64> = found.state.iter().chain(&found.control).copied().collect();
    let warm_start = Some(WarmStart { z: vec![0.0; x.len()], x, y: found.multiplier.clone() });
    let unit = control.unit();
    let solution = solved(&mut control, &Options { warm_start, ..matrix_free() }, false)?;
    let fields =
        [("state", &found.state[..]), ("control", &found.control), ("multiplier", &found.multiplier)];
    output::write(arguments, &grid, &fields)?;
    told(&solution, unit)
}
