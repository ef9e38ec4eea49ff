//! Tables of docs/pde-control.md.

use std::time::Instant;

use costate::linalg::LinOp;
use costate::linsol::{Accuracy, LinearSolver, Minres};
use costate::nlp::Preconditioning;
use costate::observe::StopToken;
use costate::pde::{Boundary, Control, ControlSpec, Grid};
use costate::{Nlp, NlpMeta};

use crate::bounds::{with_control_bounds, with_state_bounds};
use crate::solution::{solved_control, target};
use crate::{Arguments, Outcome};

const ALPHAS: [f64; 4] = [1e-2, 1e-4, 1e-6, 1e-8];
const TOLERANCE: f64 = 1e-6;

/// The KKT matrix of a linear-quadratic control problem and its preconditioner, for linear solvers alone.
struct Kkt<'a> {
    control: &'a mut Control,
    n: usize,
    m: usize,
    zero: Vec<f64>,
    work: Vec<f64>,
}

impl<'a> Kkt<'a> {
    fn new(control: &'a mut Control) -> Self {
        let meta: &NlpMeta = control.meta();
        let (n, m) = (meta.n(), meta.m());
        Self { control, n, m, zero: vec![0.0; n], work: vec![0.0; n + m] }
    }
}

impl LinOp for Kkt<'_> {
    fn nrows(&self) -> usize {
        self.n + self.m
    }
    fn ncols(&self) -> usize {
        self.n + self.m
    }
    fn apply(&mut self, alpha: f64, v: &[f64], beta: f64, out: &mut [f64]) {
        let (vx, vy) = v.split_at(self.n);
        let (wx, wy) = self.work.split_at_mut(self.n);
        let zero = &self.zero;
        let mut more = vec![0.0; self.n];
        let ok = self.control.hess_prod(zero, 1.0, &zero[..self.m], vx, wx).is_ok()
            && self.control.jac_t_prod(zero, vy, &mut more).is_ok()
            && self.control.jac_prod(zero, vx, wy).is_ok();
        wx.iter_mut().zip(&more).for_each(|(w, m)| *w += m);
        for (o, w) in out.iter_mut().zip(&self.work) {
            let old = if beta == 0.0 { 0.0 } else { beta * *o };
            *o = if ok { alpha * w + old } else { f64::NAN };
        }
    }
    fn apply_t(&mut self, alpha: f64, v: &[f64], beta: f64, out: &mut [f64]) {
        self.apply(alpha, v, beta, out);
    }
    fn precondition(&mut self, r: &[f64], z: &mut [f64]) -> bool {
        let zero = &self.zero;
        let at = Preconditioning { x: zero, y: &zero[..self.m], barrier: zero, dual: &zero[..self.m] };
        self.control.precondition(&at, r, z).is_ok()
    }
}

fn meshes(most: usize) -> Vec<usize> {
    [32, 64, 100, 128, 256, 500, 512, 1000, 1024].into_iter().filter(|n| *n <= most).collect()
}

/// Iterations to a relative residual of 1e-6: MINRES on the system of state, control and multiplier, GMRES on that of state and multiplier, projected CG
/// on that of the multiplier.
pub fn iterations(arguments: &Arguments) -> Outcome {
    println!(
        "| cells | {} |",
        ALPHAS.map(|a| format!("alpha {a:.0e}: minres, gmres, projected cg")).join(" | ")
    );
    println!("|---|{}", "---|".repeat(ALPHAS.len()));
    let mut most = [0; 3];
    for cells in meshes(arguments.cells(1024)) {
        let mut row = format!("| {cells}^2 |");
        for alpha in ALPHAS {
            let grid = Grid::unit(2, cells, Boundary::Dirichlet)?;
            let goal = grid.evaluate(target);
            let mut control = Control::new(ControlSpec::new(grid, alpha, goal))?;
            let gmres = control.solve_quadratic(TOLERANCE, 100)?.solved;
            let projected = control.solve_projected(TOLERANCE, 100)?.solved;
            let (n, m) = (control.meta().n(), control.meta().m());
            let mut b = vec![0.0; n + m];
            control.grad(&vec![0.0; n], &mut b[..n])?;
            b.iter_mut().for_each(|b| *b = -*b);
            let (mut x, stop, mut minres) = (vec![0.0; n + m], StopToken::default(), Minres::new());
            let mut kkt = Kkt::new(&mut control);
            minres.prepare(&mut kkt, &stop)?;
            let accuracy = Accuracy { relative: TOLERANCE, max_iterations: 200 };
            let ended = minres.solve(&mut kkt, &b, &mut x, accuracy, &stop)?;
            let mark = |ok: bool| if ok { "" } else { " (not reached)" };
            let reached = ended.relative_residual <= TOLERANCE;
            let counts = [
                (ended.iterations, reached),
                (gmres.iterations, gmres.reached),
                (projected.iterations, projected.reached),
            ];
            row += &format!(" {} |", counts.map(|(k, ok)| format!("{k}{}", mark(ok))).join(", "));
            most = counts
                .iter()
                .zip(most)
                .map(|(c, m)| c.0.max(m))
                .collect::<Vec<_>>()
                .try_into()
                .unwrap_or(most);
        }
        println!("{row}");
    }
    println!("\nat most {most:?}");
    Ok(())
}

/// Steps and most inner iterations of a step of the interior point method.
pub fn bounds(arguments: &Arguments) -> Outcome {
    for (what, build) in [
        ("control", with_control_bounds as fn(&Grid, f64) -> Result<ControlSpec, costate::Error>),
        ("state", with_state_bounds),
    ] {
        println!("bounds of the {what}: steps, most inner iterations of a step, seconds\n");
        println!("| cells | {} |", ALPHAS.map(|a| format!("alpha {a:.0e}")).join(" | "));
        println!("|---|{}", "---|".repeat(ALPHAS.len()));
        for cells in meshes(arguments.cells(128)) {
            let mut row = format!("| {cells}^2 |");
            for alpha in ALPHAS {
                let grid = Grid::unit(2, cells, Boundary::Dirichlet)?;
                let mut control = Control::new(build(&grid, alpha)?)?;
                let solution = solved_control(&mut control, false)?;
                let r = &solution.report;
                let mark = if r.solved() { "" } else { " (not solved)" };
                row += &format!(" {}, {}, {:.2}{mark} |", r.iterations, solution.most_inner, r.time.solve);
            }
            println!("{row}");
        }
        println!();
    }
    Ok(())
}

/// Seconds of set-up and solve in two and three dimensions.
pub fn time(arguments: &Arguments) -> Outcome {
    println!(
        "{} threads, alpha {:e}, relative residual {TOLERANCE:e}\n",
        rayon::current_num_threads(),
        arguments.alpha(1e-6)
    );
    println!(
        "| cells | unknowns of state and control | iterations | seconds | nanoseconds an unknown |\n|---|---|---|---|---|"
    );
    let most = arguments.cells(1001);
    let plane = [63, 126, 251, 501, 1001, 1415, 2001].map(|n| (2, n));
    let space = [17, 33, 65, 129].map(|n| (3, n));
    for (dimensions, cells) in plane.into_iter().chain(space).filter(|(_, n)| *n <= most) {
        let grid = Grid::unit(dimensions, cells, Boundary::Dirichlet)?;
        let goal = grid.evaluate(target);
        let unknowns = 2 * grid.unknowns();
        let mut best = f64::INFINITY;
        let mut iterations = 0;
        for _ in 0..3 {
            let start = Instant::now();
            let mut control =
                Control::new(ControlSpec::new(grid.clone(), arguments.alpha(1e-6), goal.clone()))?;
            let found = control.solve_quadratic(TOLERANCE, 60)?;
            best = best.min(start.elapsed().as_secs_f64());
            iterations = found.solved.iterations;
            if !found.solved.reached {
                return Err("not solved".into());
            }
        }
        println!(
            "| {cells}^{dimensions} | {unknowns} | {iterations} | {best:.3} | {:.0} |",
            1e9 * best / unknowns as f64
        );
    }
    Ok(())
}
