//! Three dimensions.

use std::time::Instant;

use costate::pde::{Boundary, Control, ControlSpec, Grid};

use crate::solution::target;
use crate::{Arguments, Outcome, output};

pub fn run(arguments: &Arguments) -> Outcome {
    let grid = Grid::unit(3, arguments.cells(48), Boundary::Dirichlet)?;
    let goal = grid.evaluate(|x| target(x) * (1.0 - x[2]).powi(2));
    let start = Instant::now();
    let mut control = Control::new(ControlSpec::new(grid.clone(), arguments.alpha(1e-6), goal))?;
    let found = control.solve_quadratic(1e-8, 60)?;
    println!(
        "{} unknowns of state and control: {} iterations of gmres, relative residual {:.1e}, {:.3} s",
        2 * grid.unknowns(),
        found.solved.iterations,
        found.solved.relative_residual,
        start.elapsed().as_secs_f64()
    );
    let fields =
        [("state", &found.state[..]), ("control", &found.control), ("multiplier", &found.multiplier)];
    output::write(arguments, &grid, &fields)?;
    if found.solved.reached { Ok(()) } else { Err("not solved".into()) }
}
