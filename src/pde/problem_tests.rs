//! Derivatives, transposes and preconditioners of all problems, and their solutions.

use std::ops::ControlFlow;

use super::*;
use crate::linalg::{SparseMatrix, Storage, dot, norm_inf};
use crate::linsol::LinearSolverKind;
use crate::nlp::check::{CheckOptions, check_derivatives};
use crate::nlp::{Nlp, Preconditioning};
use crate::observe::Event;
use crate::opt::{Options, solve};
use crate::report::Report;

fn random(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|p| ((p * 7919 + 31 * seed + 13) % 1009) as f64 / 1009.0 - 0.5).collect()
}

fn mixed_grid() -> Grid {
    let axis = |cells, low, high| Axis { length: 1.0, cells, low, high };
    Grid::new(vec![
        axis(7, Boundary::Dirichlet, Boundary::Neumann),
        axis(6, Boundary::Robin(1.5), Boundary::Neumann),
    ])
    .unwrap()
}

fn controls() -> Vec<Control> {
    let grid = mixed_grid();
    let target = random(grid.unknowns(), 1);
    let with = |scheme, diffusion: &Diffusion| {
        let (grid, diffusion) = (grid.clone(), diffusion.clone());
        let equation =
            StateEquation::Grid { grid, scheme, diffusion, multigrid: MultigridOptions::default() };
        let source = random(equation.unknowns(), 2);
        ControlSpec { source, ..ControlSpec::with(equation, 1e-3, target.clone()) }
    };
    let constant = Diffusion::Constant(1.0);
    let sides = Where::Sides(vec![(0, true), (1, true)]);
    let cells = Diffusion::Cells(random(grid.cells(), 3).iter().map(|v| 1.0 + v).collect());
    let (differences, elements) = (Scheme::FiniteDifferences, Scheme::Q1);
    [
        with(differences, &constant),
        ControlSpec { reaction: Some(Reaction::CUBIC), ..with(elements, &constant) },
        ControlSpec { control: sides.clone(), ..with(differences, &cells) },
        ControlSpec { control: sides, reaction: Some(Reaction::CUBIC), ..with(differences, &constant) },
        ControlSpec { cycles: 2, ..with(elements, &cells) },
        unstructured(20, 1e-3),
    ]
    .into_iter()
    .map(|spec| Control::new(spec).unwrap())
    .collect()
}

/// Linear elements on a triangulation of the unit square with random nodes inside, y = 0 on the boundary.
fn unstructured(cells: usize, alpha: f64) -> ControlSpec {
    let side = cells + 1;
    let moved = random(2 * side * side, 11);
    let node = |i: usize, j: usize| {
        let inside = (1..cells).contains(&i) && (1..cells).contains(&j);
        let shift = |k: usize| if inside { 0.6 * moved[2 * (j * side + i) + k] } else { 0.0 };
        [(i as f64 + shift(0)) / cells as f64, (j as f64 + shift(1)) / cells as f64]
    };
    let unknown = |(i, j): (usize, usize)| {
        ((1..cells).contains(&i) && (1..cells).contains(&j)).then(|| (j - 1) * (cells - 1) + i - 1)
    };
    let n = (cells - 1) * (cells - 1);
    let (mut rows, mut cols, mut values, mut mass) = (Vec::new(), Vec::new(), Vec::new(), vec![0.0; n]);
    for (i, j) in (0..cells).flat_map(|i| (0..cells).map(move |j| (i, j))) {
        for corners in [[(i, j), (i + 1, j), (i + 1, j + 1)], [(i, j), (i + 1, j + 1), (i, j + 1)]] {
            let x = corners.map(|(i, j)| node(i, j));
            let edge =
                |k: usize| [x[(k + 2) % 3][0] - x[(k + 1) % 3][0], x[(k + 2) % 3][1] - x[(k + 1) % 3][1]];
            let double = (edge(2)[0] * edge(1)[1] - edge(2)[1] * edge(1)[0]).abs();
            for a in 0..3 {
                let Some(p) = unknown(corners[a]) else { continue };
                mass[p] += double / 6.0;
                for (b, corner) in corners.iter().enumerate() {
                    if let Some(q) = unknown(*corner).filter(|q| p >= *q) {
                        let (e, f) = (edge(a), edge(b));
                        rows.push(p);
                        cols.push(q);
                        values.push((e[0] * f[0] + e[1] * f[1]) / (2.0 * double));
                    }
                }
            }
        }
    }
    let (mut stiffness, places) = SparseMatrix::from_coordinates(n, n, &rows, &cols, Storage::SymmetricLower);
    places.into_iter().zip(values).for_each(|(at, v)| stiffness.values[at] += v);
    // As on grids: divided by the mean area.
    let unit = (cells * cells) as f64;
    stiffness.values.iter_mut().for_each(|v| *v *= unit);
    mass.iter_mut().for_each(|m| *m *= unit);
    let target = (0..n).map(|p| if p % (cells - 1) < cells / 2 { 1.0 } else { 0.0 }).collect();
    ControlSpec::with(StateEquation::Matrices { stiffness, mass }, alpha, target)
}

fn heat_spec() -> HeatSpec {
    let grid = Grid::unit(2, 6, Boundary::Dirichlet).unwrap();
    let n = grid.unknowns();
    HeatSpec {
        diffusion: Diffusion::Constant(1.0),
        steps: 4,
        time: 0.5,
        alpha: 1e-3,
        target: random(4 * n, 1),
        initial: random(n, 2),
        control_bounds: (f64::NEG_INFINITY, f64::INFINITY),
        grid,
    }
}

fn burgers_spec() -> BurgersSpec {
    BurgersSpec {
        cells: 12,
        steps: 5,
        time: 0.5,
        viscosity: 0.05,
        alpha: 1e-2,
        target: random(55, 1),
        initial: random(11, 2),
    }
}

fn identification() -> Identification {
    let grid = Grid::unit(2, 7, Boundary::Dirichlet).unwrap();
    let n = grid.unknowns();
    Identification::new(IdentificationSpec {
        source: vec![10.0; n],
        data: random(n, 2),
        beta: 1e-2,
        smoothing: 0.1,
        bounds: (0.1, 10.0),
        initial: 1.0,
        grid,
    })
    .unwrap()
}

fn material() -> Material {
    let axis = |low| Axis { length: 1.0, cells: 6, low, high: Boundary::Neumann };
    let grid = Grid::new(vec![axis(Boundary::Dirichlet), axis(Boundary::Neumann)]).unwrap();
    let source = vec![1.0; grid.unknowns()];
    Material::new(MaterialSpec { grid, source, least: 1e-3, penalty: 3.0, share: 0.4, radius: 1.5 }).unwrap()
}

fn all() -> Vec<(&'static str, Box<dyn Nlp>)> {
    let mut out: Vec<(&'static str, Box<dyn Nlp>)> = Vec::new();
    for control in controls() {
        out.push(("control", Box::new(control)));
    }
    out.push(("heat", Box::new(HeatControl::new(heat_spec()).unwrap())));
    out.push(("reduced heat", Box::new(ReducedHeat::new(heat_spec()).unwrap())));
    out.push(("burgers", Box::new(Burgers::new(burgers_spec()).unwrap())));
    out.push(("identification", Box::new(identification())));
    out.push(("material", Box::new(material())));
    out
}

#[test]
fn derivatives_agree_with_differences() {
    for (name, mut problem) in all() {
        let positive = matches!(name, "identification" | "material");
        let near: Vec<f64> =
            random(problem.meta().n(), 7).iter().map(|v| if positive { 0.8 + 0.4 * v } else { *v }).collect();
        let options = CheckOptions { max_columns: 1000, radius: 1e-2, ..CheckOptions::default() };
        let report = check_derivatives(&mut *problem, &near, &options);
        assert!(report.disagreements.is_empty(), "{name}: {}", report.disagreements[0]);
        assert!(report.tallies.iter().any(|t| t.compared > 0), "{name}: nothing was compared");
    }
}

#[test]
fn transposes_are_transposes_and_hessians_symmetric() {
    for (name, mut problem) in all() {
        let (n, m) = (problem.meta().n(), problem.meta().m());
        let x: Vec<f64> = random(n, 1).iter().map(|v| 0.7 + 0.3 * v).collect();
        let (v, w, y) = (random(n, 2), random(m, 3), random(m, 4));
        let (mut jv, mut jtw) = (vec![0.0; m], vec![0.0; n]);
        if problem.meta().jacobian_products {
            problem.jac_prod(&x, &v, &mut jv).unwrap();
            problem.jac_t_prod(&x, &w, &mut jtw).unwrap();
            let (a, b) = (dot(&w, &jv), dot(&v, &jtw));
            assert!((a - b).abs() < 1e-12 * n as f64 * norm_inf(&jv), "{name}: {a} {b}");
        }
        if problem.meta().hessian_products {
            let u = random(n, 5);
            let (mut hv, mut hu) = (vec![0.0; n], vec![0.0; n]);
            problem.hess_prod(&x, 1.0, &y, &v, &mut hv).unwrap();
            problem.hess_prod(&x, 1.0, &y, &u, &mut hu).unwrap();
            let (a, b) = (dot(&u, &hv), dot(&v, &hu));
            assert!((a - b).abs() < 1e-9 * n as f64 * norm_inf(&hv), "{name}: {a} {b}");
        }
    }
}

#[test]
fn preconditioners_are_symmetric_and_positive() {
    for (name, mut problem) in all() {
        if !problem.meta().preconditioner {
            continue;
        }
        let (n, m) = (problem.meta().n(), problem.meta().m());
        let (x, y) = (random(n, 1), random(m, 2));
        for large in [0.0, 1.0, 1e4] {
            let barrier: Vec<f64> = random(n, 3).iter().map(|v| large * (0.5 + v).powi(4)).collect();
            let dual: Vec<f64> = random(m, 4).iter().map(|v| 1e-3 * large.min(1.0) * (0.5 + v)).collect();
            let at = Preconditioning { x: &x, y: &y, barrier: &barrier, dual: &dual };
            let (r, s) = (random(n + m, 5), random(n + m, 6));
            let (mut pr, mut ps) = (vec![0.0; n + m], vec![0.0; n + m]);
            problem.precondition(&at, &r, &mut pr).unwrap();
            problem.precondition(&at, &s, &mut ps).unwrap();
            let (a, b) = (dot(&s, &pr), dot(&r, &ps));
            assert!((a - b).abs() < 1e-10 * (dot(&r, &pr) + dot(&s, &ps)), "{name} {large}: {a} {b}");
            assert!(dot(&r, &pr) > 0.0, "{name} {large}");
        }
    }
}

fn minimized(problem: &mut dyn Nlp, options: Options) -> Report {
    solve(problem, &options, &mut |_: &Event<'_>| ControlFlow::Continue(())).unwrap()
}

fn minres() -> Options {
    Options { linear: LinearSolverKind::Minres, max_iterations: 200, ..Options::default() }
}

fn step(x: [f64; 3]) -> f64 {
    f64::from(u8::from(x[0] < 0.5 && x[1] < 0.5))
}

#[test]
fn the_two_ways_to_solve_a_quadratic_problem_agree() {
    for alpha in [1e-2, 1e-5, 1e-8] {
        for (cells, scheme) in [(20, Scheme::FiniteDifferences), (45, Scheme::Q1)] {
            let grid = Grid::unit(2, cells, Boundary::Dirichlet).unwrap();
            let (target, source) = (grid.evaluate(step), grid.evaluate(|x| x[0]));
            let (diffusion, multigrid) = (Diffusion::Constant(1.0), MultigridOptions::default());
            let equation = StateEquation::Grid { grid, scheme, diffusion, multigrid };
            let spec = ControlSpec { source, ..ControlSpec::with(equation, alpha, target) };
            let mut control = Control::new(spec).unwrap();
            let direct = control.solve_quadratic(1e-10, 40).unwrap();
            assert!(direct.solved.reached && direct.solved.iterations <= 25, "{:?}", direct.solved);
            let projected = control.solve_projected(1e-11, 60).unwrap();
            assert!(projected.solved.reached && projected.solved.iterations <= 30, "{:?}", projected.solved);
            let apart =
                direct.control.iter().zip(&projected.control).fold(0.0f64, |d, (a, b)| d.max((a - b).abs()));
            assert!(apart < 1e-6 * norm_inf(&direct.control), "{alpha} {scheme:?}: {apart:e}");
            let warm_start = Some(control.start(1e-6));
            let report = minimized(&mut control, Options { warm_start, ..minres() });
            assert!(report.solved(), "{}", report.message);
            let n = direct.state.len();
            for (what, a, b) in [
                ("y", &direct.state[..], &report.x[..n]),
                ("u", &direct.control, &report.x[n..]),
                ("p", &direct.multiplier, &report.y),
            ] {
                let difference = a.iter().zip(b).fold(0.0f64, |d, (a, b)| d.max((a - b).abs()));
                assert!(
                    difference < 1e-6 * norm_inf(a),
                    "{what} {alpha} {scheme:?}: {difference:e} of {:e}",
                    norm_inf(a)
                );
            }
        }
    }
}

/// Inner iterations of each step of the interior point method, with bounds that are active, are within the promise.
#[test]
fn bounds_are_kept_within_eighty_inner_iterations_a_step() {
    for alpha in [1e-2, 1e-4, 1e-6] {
        let grid = Grid::unit(2, 32, Boundary::Dirichlet).unwrap();
        let target = grid.evaluate(step);
        let spec = ControlSpec { control_bounds: (-1.0, 4.0), ..ControlSpec::new(grid, alpha, target) };
        let mut control = Control::new(spec).unwrap();
        let warm_start = Some(control.start(1e-6));
        let mut most = 0;
        let options = Options { warm_start, ..minres() };
        let report = solve(&mut control, &options, &mut |event: &Event<'_>| {
            if let Event::Iteration(row) = event {
                most = most.max(row.inner_iterations);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        let n = control.states();
        println!("alpha {alpha:e}: {} steps, at most {most} inner", report.iterations);
        assert!(report.solved(), "{}", report.message);
        assert!(report.x[n..].iter().all(|u| (-1.0..=4.0).contains(u)));
        assert!(most <= 80, "{most}");
    }
}

#[test]
fn heat_all_at_once_and_reduced_agree() {
    let mut whole = HeatControl::new(heat_spec()).unwrap();
    let mut reduced = ReducedHeat::new(heat_spec()).unwrap();
    let (a, b) = (minimized(&mut whole, minres()), minimized(&mut reduced, minres()));
    assert!(a.solved() && b.solved(), "{} {}", a.message, b.message);
    assert!((a.objective - b.objective).abs() < 1e-8 * a.objective, "{} {}", a.objective, b.objective);
    let u = &a.x[whole.states()..];
    let difference = u.iter().zip(&b.x).fold(0.0f64, |d, (a, b)| d.max((a - b).abs()));
    assert!(difference < 1e-5 * norm_inf(u), "{difference}");
}

#[test]
fn the_nonlinear_problems_are_solved() {
    let mut burgers = Burgers::new(burgers_spec()).unwrap();
    let report = minimized(&mut burgers, minres());
    assert!(report.solved(), "{}", report.message);
    for control in &mut controls()[1..4] {
        let warm_start = Some(control.start(1e-6));
        let report = minimized(control, Options { warm_start, ..minres() });
        assert!(report.solved(), "{}", report.message);
    }
    let report = minimized(&mut material(), Options { tolerance: 1e-6, ..Options::default() });
    assert!(report.solved(), "{}", report.message);
    let report = minimized(&mut identification(), Options { tolerance: 1e-6, ..Options::default() });
    assert!(report.solved(), "{}", report.message);
}

/// Iterations on meshes without structure do not grow with their size, nor as alpha falls.
#[test]
fn meshes_without_structure_are_solved_by_algebraic_multigrid() {
    for cells in [20, 40, 80, 160] {
        for alpha in [1e-2, 1e-5, 1e-8] {
            let mut control = Control::new(unstructured(cells, alpha)).unwrap();
            let found = control.solve_quadratic(1e-8, 60).unwrap();
            println!("{cells} {alpha:e}: {:?}", found.solved);
            assert!(
                found.solved.reached && found.solved.iterations <= 30,
                "{cells} {alpha:e}: {:?}",
                found.solved
            );
        }
        let StateEquation::Matrices { stiffness, .. } = unstructured(cells, 1.0).equation else { continue };
        let mut multigrid = AlgebraicMultigrid::new(&stiffness).unwrap();
        let f = random(multigrid.unknowns(), 1);
        let solved = multigrid.conjugate_gradients(&f, &mut vec![0.0; f.len()], 1e-8, 100);
        println!("{cells}: {solved:?}, complexity {:.2}", multigrid.complexity());
        assert!(solved.reached && solved.iterations <= 30, "{cells}: {solved:?}");
    }
    let (empty, _) = SparseMatrix::from_coordinates(2, 2, &[0], &[0], Storage::SymmetricLower);
    assert!(AlgebraicMultigrid::new(&empty).is_err());
}
