//! A semilinear equation.

use costate::pde::{Boundary, Control, ControlSpec, Grid, Reaction};

use crate::solution::{solved_control, target, told};
use crate::{Arguments, Outcome, output};

pub fn run(arguments: &Arguments) -> Outcome {
    let grid = Grid::unit(2, arguments.cells(64), Boundary::Dirichlet)?;
    let goal = grid.evaluate(|x| 3.0 * target(x));
    let spec = ControlSpec {
        reaction: Some(Reaction::CUBIC),
        ..ControlSpec::new(grid.clone(), arguments.alpha(1e-5), goal)
    };
    let mut control = Control::new(spec)?;
    let solution = solved_control(&mut control, true)?;
    let n = control.states();
    let (y, u) = solution.report.x.split_at(n);
    output::write(arguments, &grid, &[("state", y), ("control", u), ("multiplier", &solution.report.y)])?;
    told(&solution, control.unit())
}
