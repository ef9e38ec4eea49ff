//! Bounds on control or state.

use costate::pde::{Boundary, Control, ControlSpec, Grid};

use crate::solution::{solved_control, target, told};
use crate::{Arguments, Outcome, output};

/// A share of the range of the control without bounds.
pub fn with_control_bounds(grid: &Grid, alpha: f64) -> Result<ControlSpec, costate::Error> {
    let mut spec = ControlSpec::new(grid.clone(), alpha, grid.evaluate(target));
    let free = Control::new(spec.clone())?.solve_quadratic(1e-6, 60)?;
    let largest = free.control.iter().fold(0.0f64, |a, u| a.max(u.abs()));
    spec.control_bounds = (-0.1 * largest, 0.5 * largest);
    Ok(spec)
}

/// Half of the range of the state without bounds.
pub fn with_state_bounds(grid: &Grid, alpha: f64) -> Result<ControlSpec, costate::Error> {
    let mut spec = ControlSpec::new(grid.clone(), alpha, grid.evaluate(target));
    let free = Control::new(spec.clone())?.solve_quadratic(1e-6, 60)?;
    let largest = free.state.iter().fold(0.0f64, |a, y| a.max(*y));
    spec.state_bounds = (f64::NEG_INFINITY, 0.5 * largest);
    Ok(spec)
}

fn run(arguments: &Arguments, grid: &Grid, spec: ControlSpec) -> Outcome {
    println!("control in {:?}, state in {:?}", spec.control_bounds, spec.state_bounds);
    let mut control = Control::new(spec)?;
    let solution = solved_control(&mut control, true)?;
    let n = control.states();
    let (y, u) = solution.report.x.split_at(n);
    let (of_y, of_u) = solution.report.z.split_at(n);
    let fields = [
        ("state", y),
        ("control", u),
        ("multiplier", &solution.report.y),
        ("state_bound", of_y),
        ("control_bound", of_u),
    ];
    output::write(arguments, grid, &fields)?;
    told(&solution, control.unit())
}

pub fn control(arguments: &Arguments) -> Outcome {
    let grid = Grid::unit(2, arguments.cells(64), Boundary::Dirichlet)?;
    let spec = with_control_bounds(&grid, arguments.alpha(1e-4))?;
    run(arguments, &grid, spec)
}

pub fn state(arguments: &Arguments) -> Outcome {
    let grid = Grid::unit(2, arguments.cells(64), Boundary::Dirichlet)?;
    let spec = with_state_bounds(&grid, arguments.alpha(1e-4))?;
    run(arguments, &grid, spec)
}
