//! The heat equation: a hot spot shall move along a circle.

use costate::Nlp;
use costate::pde::{Boundary, Diffusion, Grid, HeatControl, HeatSpec, ReducedHeat};

use crate::solution::{Solution, matrix_free, solved, told};
use crate::{Arguments, Outcome, output};

fn spec(arguments: &Arguments, cells: usize, steps: usize) -> Result<HeatSpec, costate::Error> {
    let grid = Grid::unit(2, arguments.cells(cells), Boundary::Dirichlet)?;
    let target = (1..=steps)
        .flat_map(|k| {
            let angle = std::f64::consts::TAU * k as f64 / steps as f64;
            let centre = [0.5 + 0.2 * angle.cos(), 0.5 + 0.2 * angle.sin()];
            grid.evaluate(|x| (-40.0 * ((x[0] - centre[0]).powi(2) + (x[1] - centre[1]).powi(2))).exp())
        })
        .collect();
    Ok(HeatSpec {
        diffusion: Diffusion::Constant(1.0),
        steps,
        time: 1.0,
        alpha: arguments.alpha(1e-5),
        target,
        initial: vec![0.0; grid.unknowns()],
        control_bounds: (f64::NEG_INFINITY, f64::INFINITY),
        grid,
    })
}

fn finish(
    arguments: &Arguments,
    spec: &HeatSpec,
    y: &[f64],
    u: &[f64],
    p: &[f64],
    solution: &Solution,
) -> Outcome {
    // The picture is a third of the way.
    let n = spec.grid.unknowns();
    let at = |v: &[f64]| if v.is_empty() { vec![0.0; n] } else { v[spec.steps / 3 * n..][..n].to_vec() };
    output::write(arguments, &spec.grid, &[("state", &at(y)), ("control", &at(u)), ("multiplier", &at(p))])?;
    told(solution, spec.unit())
}

pub fn run(arguments: &Arguments) -> Outcome {
    let spec = spec(arguments, 64, 32)?;
    let mut problem = HeatControl::new(spec.clone())?;
    println!("{} variables", problem.meta().n());
    let solution = solved(&mut problem, &matrix_free(), true)?;
    let (y, u) = solution.report.x.split_at(problem.states());
    finish(arguments, &spec, y, u, &solution.report.y, &solution)
}

pub fn reduced(arguments: &Arguments) -> Outcome {
    let spec = spec(arguments, 24, 16)?;
    let mut problem = ReducedHeat::new(spec.clone())?;
    println!("{} variables", problem.meta().n());
    let solution = solved(&mut problem, &matrix_free(), true)?;
    let u = &solution.report.x;
    let y = problem.states(u)?.to_vec();
    finish(arguments, &spec, &y, u, &[], &solution)
}
