//! Control on two sides.

use costate::pde::{Axis, Boundary, Control, ControlSpec, Grid, Where};

use crate::solution::{solved_control, told};
use crate::{Arguments, Outcome, output};

pub fn run(arguments: &Arguments) -> Outcome {
    let cells = arguments.cells(64);
    let axis = Axis { length: 1.0, cells, low: Boundary::Dirichlet, high: Boundary::Neumann };
    let grid = Grid::new(vec![axis, axis])?;
    let goal = grid.evaluate(|x| (3.0 * x[0]).sin() * x[1]);
    let spec = ControlSpec {
        control: Where::Sides(vec![(0, true), (1, true)]),
        ..ControlSpec::new(grid.clone(), arguments.alpha(1e-4), goal)
    };
    let mut control = Control::new(spec)?;
    let solution = solved_control(&mut control, true)?;
    let n = control.states();
    // The control on the grid, 0 inside.
    let mut sides = vec![0.0; n];
    control.control_nodes().iter().zip(&solution.report.x[n..]).for_each(|(p, u)| sides[*p] = *u);
    let fields =
        [("state", &solution.report.x[..n]), ("control", &sides), ("multiplier", &solution.report.y)];
    output::write(arguments, &grid, &fields)?;
    told(&solution, control.unit())
}
