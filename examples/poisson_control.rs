//! Optimal control of a Poisson equation on an N x N grid, matrix-free or sparse.
//!
//! min 1/2 |w - w_d|^2 + alpha/2 |z|^2  subject to  Lap_h w - r w^3 + z = 0,  w = 0 on the boundary,
//! alpha = 0.1, h = 2/(N + 1); r = 0 as in Hong, Na, Mahoney, Kolar (ICML 2023), r = 1 with --semilinear.
//!
//! cargo run --release --example poisson_control -- [N] [--sparse] [--semilinear] [--linear NAME]
//!
//! The default is matrix-free with MINRES; --sparse gives patterns and uses ldl.

use std::error::Error;
use std::ops::ControlFlow;

use costate::linsol::LinearSolverKind;
use costate::nlp::Preconditioning;
use costate::nlp::check::{CheckOptions, check_derivatives};
use costate::observe::Event;
use costate::opt::{Options, solve};
use costate::{EvalError, Nlp, NlpMeta, Pattern, Report};

const ALPHA: f64 = 0.1;

/// Unknowns x = (w, z), each N x N, row by row.
struct PoissonControl {
    meta: NlpMeta,
    side: usize,
    /// 1/h^2.
    inverse_h2: f64,
    /// Factor of w^3.
    reaction: f64,
    target: Vec<f64>,
    /// Discrete sine transform of one direction, symmetric and orthogonal: sqrt(2/(N+1)) sin(pi i j / (N+1)).
    sine: Vec<f64>,
    work: Vec<f64>,
}

impl PoissonControl {
    fn new(side: usize, semilinear: bool, sparse: bool) -> Self {
        let cells = side * side;
        let mut meta = NlpMeta::equality("PoissonControl", 2 * cells, cells);
        if sparse {
            meta.jacobian = Some(jacobian_pattern(side));
            meta.hessian = Some(Pattern { rows: (0..2 * cells).collect(), cols: (0..2 * cells).collect() });
        } else {
            meta.jacobian_products = true;
            meta.hessian_products = true;
            meta.preconditioner = true;
        }
        if !semilinear {
            meta.linear = vec![true; cells];
        }
        let h = 2.0 / (side as f64 + 1.0);
        // i and j count from 1.
        let along = |k: usize| 0.1 / 15f64.sqrt() * ((k + 1) as f64 - (side as f64 + 1.0) / 2.0);
        let target =
            (0..cells).map(|p| (4.0 + along(p / side)).sin() + (3.0 + along(p % side)).cos()).collect();
        let angle = std::f64::consts::PI / (side as f64 + 1.0);
        let sine = (0..cells)
            .map(|p| {
                let product = (p / side + 1) as f64 * (p % side + 1) as f64;
                (2.0 / (side as f64 + 1.0)).sqrt() * (product * angle).sin()
            })
            .collect();
        let work = vec![0.0; cells];
        Self {
            sine,
            work,
            meta,
            side,
            inverse_h2: 1.0 / (h * h),
            reaction: f64::from(u8::from(semilinear)),
            target,
        }
    }

    fn cells(&self) -> usize {
        self.side * self.side
    }

    /// v <- S v S for the sine transform S: eigenvectors of Lap_h in both directions.
    fn transform(&mut self, v: &mut [f64]) {
        multiply(self.side, &self.sine, v, &mut self.work);
        multiply(self.side, &self.work, &self.sine, v);
    }

    /// out <- Lap_h w, the five-point stencil.
    fn laplacian(&self, w: &[f64], out: &mut [f64]) {
        let n = self.side;
        for i in 0..n {
            for j in 0..n {
                let p = i * n + j;
                let mut sum = -4.0 * w[p];
                sum += if i > 0 { w[p - n] } else { 0.0 };
                sum += if i + 1 < n { w[p + n] } else { 0.0 };
                sum += if j > 0 { w[p - 1] } else { 0.0 };
                sum += if j + 1 < n { w[p + 1] } else { 0.0 };
                out[p] = self.inverse_h2 * sum;
            }
        }
    }
}

/// c <- a b for n x n matrices by rows.
fn multiply(n: usize, a: &[f64], b: &[f64], c: &mut [f64]) {
    for (row, out) in a.chunks(n).zip(c.chunks_mut(n)) {
        out.fill(0.0);
        for (factor, from) in row.iter().zip(b.chunks(n)) {
            out.iter_mut().zip(from).for_each(|(o, f)| *o += factor * f);
        }
    }
}

/// For each row: the diagonal, its neighbours, the control.
fn jacobian_pattern(side: usize) -> Pattern {
    let mut pattern = Pattern::default();
    for_each_entry(side, |row, col, _| {
        pattern.rows.push(row);
        pattern.cols.push(col);
    });
    pattern
}

/// Calls f(row, column, coefficient) with coefficients of h^2 Lap_h, and 0 for the control's column.
fn for_each_entry(side: usize, mut f: impl FnMut(usize, usize, f64)) {
    for p in 0..side * side {
        let (i, j) = (p / side, p % side);
        f(p, p, -4.0);
        let neighbours = [
            (i > 0, p.wrapping_sub(side)),
            (i + 1 < side, p + side),
            (j > 0, p.wrapping_sub(1)),
            (j + 1 < side, p + 1),
        ];
        for (_, q) in neighbours.into_iter().filter(|(inside, _)| *inside) {
            f(p, q, 1.0);
        }
        f(p, side * side + p, 0.0);
    }
}

impl Nlp for PoissonControl {
    fn meta(&self) -> &NlpMeta {
        &self.meta
    }
    fn obj(&mut self, x: &[f64]) -> Result<f64, EvalError> {
        let (w, z) = x.split_at(self.cells());
        let misfit: f64 = w.iter().zip(&self.target).map(|(w, d)| (w - d) * (w - d)).sum();
        Ok(0.5 * misfit + 0.5 * ALPHA * z.iter().map(|z| z * z).sum::<f64>())
    }
    fn grad(&mut self, x: &[f64], g: &mut [f64]) -> Result<(), EvalError> {
        let cells = self.cells();
        for p in 0..cells {
            g[p] = x[p] - self.target[p];
            g[cells + p] = ALPHA * x[cells + p];
        }
        Ok(())
    }
    fn cons(&mut self, x: &[f64], c: &mut [f64]) -> Result<(), EvalError> {
        let (w, z) = x.split_at(self.cells());
        self.laplacian(w, c);
        for p in 0..w.len() {
            c[p] += z[p] - self.reaction * w[p].powi(3);
        }
        Ok(())
    }
    fn jac_prod(&mut self, x: &[f64], v: &[f64], jv: &mut [f64]) -> Result<(), EvalError> {
        let (dw, dz) = v.split_at(self.cells());
        self.laplacian(dw, jv);
        for p in 0..dw.len() {
            jv[p] += dz[p] - 3.0 * self.reaction * x[p] * x[p] * dw[p];
        }
        Ok(())
    }
    fn jac_t_prod(&mut self, x: &[f64], u: &[f64], jtu: &mut [f64]) -> Result<(), EvalError> {
        let (of_w, of_z) = jtu.split_at_mut(u.len());
        self.laplacian(u, of_w); // symmetric
        for p in 0..u.len() {
            of_w[p] -= 3.0 * self.reaction * x[p] * x[p] * u[p];
        }
        of_z.copy_from_slice(u);
        Ok(())
    }
    fn hess_prod(
        &mut self,
        x: &[f64],
        sigma: f64,
        y: &[f64],
        v: &[f64],
        hv: &mut [f64],
    ) -> Result<(), EvalError> {
        self.hess_values(x, sigma, y, hv)?;
        hv.iter_mut().zip(v).for_each(|(h, v)| *h *= v);
        Ok(())
    }
    /// P = diag(I, alpha I, S), S = Lap_h^2 + I / alpha = J diag(I, alpha I)^-1 J' without the reaction: diagonal after a sine transform.
    fn precondition(&mut self, _: &Preconditioning<'_>, r: &[f64], z: &mut [f64]) -> Result<(), EvalError> {
        let (cells, side) = (self.cells(), self.side);
        z[..cells].copy_from_slice(&r[..cells]);
        z[cells..2 * cells].copy_from_slice(&r[cells..2 * cells]);
        z[cells..2 * cells].iter_mut().for_each(|v| *v /= ALPHA);
        let of_y = &mut z[2 * cells..];
        of_y.copy_from_slice(&r[2 * cells..]);
        self.transform(of_y);
        let angle = 0.5 * std::f64::consts::PI / (side as f64 + 1.0);
        let eigenvalue = |k: usize| -4.0 * self.inverse_h2 * ((k + 1) as f64 * angle).sin().powi(2);
        for (p, v) in of_y.iter_mut().enumerate() {
            *v /= (eigenvalue(p / side) + eigenvalue(p % side)).powi(2) + 1.0 / ALPHA;
        }
        self.transform(of_y);
        Ok(())
    }
    fn jac_values(&mut self, x: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let (cells, inverse_h2, reaction) = (self.cells(), self.inverse_h2, self.reaction);
        let mut values = values.iter_mut();
        for_each_entry(self.side, |row, col, coefficient| {
            let Some(value) = values.next() else { return };
            *value = if col >= cells { 1.0 } else { inverse_h2 * coefficient };
            if row == col {
                *value -= 3.0 * reaction * x[row] * x[row];
            }
        });
        Ok(())
    }
    /// The Hessian is diagonal.
    fn hess_values(&mut self, x: &[f64], sigma: f64, y: &[f64], values: &mut [f64]) -> Result<(), EvalError> {
        let (of_w, of_z) = values.split_at_mut(y.len());
        for p in 0..y.len() {
            of_w[p] = sigma - 6.0 * self.reaction * x[p] * y[p];
        }
        of_z.fill(sigma * ALPHA);
        Ok(())
    }
}

struct Arguments {
    side: usize,
    sparse: bool,
    semilinear: bool,
    linear: LinearSolverKind,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut parsed = Arguments { side: 30, sparse: false, semilinear: false, linear: LinearSolverKind::Auto };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--sparse" => parsed.sparse = true,
            "--semilinear" => parsed.semilinear = true,
            "--linear" => parsed.linear = words.next().ok_or("--linear: expected a name")?.parse()?,
            side => {
                parsed.side = side
                    .parse()
                    .map_err(|_| format!("found '{side}', expected the grid's side or an option"))?;
            }
        }
    }
    if parsed.side == 0 {
        return Err("expected a grid with at least one point".into());
    }
    if parsed.linear == LinearSolverKind::Auto {
        parsed.linear = if parsed.sparse { LinearSolverKind::Ldl } else { LinearSolverKind::Minres };
    }
    Ok(parsed)
}

/// The largest entries of c and of grad f + J'y, computed here and not taken from the report.
fn residuals(problem: &mut PoissonControl, report: &Report) -> Result<(f64, f64), EvalError> {
    let largest = |v: &[f64]| v.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    let (mut c, mut g) = (vec![0.0; report.y.len()], vec![0.0; report.x.len()]);
    let mut jty = g.clone();
    problem.cons(&report.x, &mut c)?;
    problem.grad(&report.x, &mut g)?;
    problem.jac_t_prod(&report.x, &report.y, &mut jty)?;
    g.iter_mut().zip(&jty).for_each(|(g, j)| *g += j);
    Ok((largest(&c), largest(&g)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = arguments()?;
    let mut problem = PoissonControl::new(arguments.side, arguments.semilinear, arguments.sparse);
    let (n, m) = (problem.meta.n(), problem.meta.m());
    let near: Vec<f64> = (0..n).map(|k| (k as f64).sin()).collect();
    let check =
        check_derivatives(&mut problem, &near, &CheckOptions { max_columns: 20, ..Default::default() });
    if let Some(wrong) = check.disagreements.first() {
        return Err(wrong.to_string().into());
    }

    println!("{n} variables, {m} constraints, {}", arguments.linear);
    let options = Options { linear: arguments.linear, time_limit: Some(300.0), ..Options::default() };
    let mut print = |event: &Event<'_>| {
        if let Event::Iteration(row) = event {
            println!(
                "{:3}  f {:.9e}  |c| {:.2e}  |grad L| {:.2e}  inner {}",
                row.iteration, row.objective, row.primal, row.dual, row.inner_iterations
            );
        }
        ControlFlow::Continue(())
    };
    let report = solve(&mut problem, &options, &mut print)?;
    let (primal, dual) = residuals(&mut problem, &report)?;
    println!("{}: {}", report.stop.as_str(), report.message);
    println!("objective {:.12e}, residuals {primal:.2e} {dual:.2e}", report.objective);
    println!(
        "{} iterations, {} inner, {:.3} s",
        report.iterations, report.linear.inner_iterations, report.time.solve
    );
    if report.solved() { Ok(()) } else { Err("not solved".into()) }
}
