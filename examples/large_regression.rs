//! Regression and least squares on generated tall data: exact against randomized methods, as one table.
//!
//! ```text
//! cargo run --release --example large_regression -- --rows 1000000 --columns 500 --family logistic --method exact,leverage-rows
//! cargo run --release --example large_regression -- --rows 500000 --columns 1000 --family least-squares --method qr,sketch,momentum
//! ```
//!
//! Methods: the Hessian models (exact, leverage-rows, uniform-rows, count, sparse-sign, hadamard), `NAME:cg` with the sketched Hessian as preconditioner, `NAME:direct` in place
//! of the Hessian, `NAME:averaged` averaged over the points, `NAME:quasi-newton` corrected, `NAME:opt` in the constrained optimizer; for least squares also qr (Householder QR of faer), sketch (sketch and conjugate gradients), momentum. Seconds are wall-clock and of the CPU.

use std::sync::Arc;
use std::time::Instant;

use costate::randomized::{
    LeastSquaresMethod, LeastSquaresOptions, TallMatrix, backward_error, least_squares,
};
use costate::regression::generated::Generated;
use costate::regression::{Family, HessianModel, Regression, RegressionOptions, StepMethod};

struct Args {
    of: Generated,
    family: Family,
    methods: Vec<String>,
    tolerance: f64,
    sketch_rows: Option<usize>,
    write: Option<String>,
}

fn args() -> Result<Args, String> {
    let mut of = Generated { rows: 100_000, columns: 200, condition: 1e6, heavy_every: 50_000, seed: 1 };
    let mut args = Args {
        of,
        family: Family::Logistic,
        methods: vec![],
        tolerance: 0.0,
        sketch_rows: None,
        write: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or(format!("{name} needs a value"))?;
        let number = || value.parse::<f64>().map_err(|e| format!("{name} {value}: {e}"));
        match name.as_str() {
            "--rows" => of.rows = number()? as usize,
            "--columns" => of.columns = number()? as usize,
            "--condition" => of.condition = number()?,
            "--heavy-every" => of.heavy_every = number()? as usize,
            "--seed" => of.seed = number()? as u64,
            "--tolerance" => args.tolerance = number()?,
            "--sketch-rows" => args.sketch_rows = Some(number()? as usize),
            "--family" => args.family = value.parse()?,
            "--method" => args.methods = value.split(',').map(String::from).collect(),
            "--write" => args.write = Some(value),
            _ => return Err(format!("unknown option {name}")),
        }
    }
    if args.methods.is_empty() {
        args.methods = vec!["exact".into(), "leverage-rows".into()];
    }
    if args.tolerance == 0.0 {
        // The rounding level of Householder QR; the KKT residual of a fit.
        args.tolerance = if args.family == Family::LeastSquares { 1e-18 } else { 1e-8 };
    }
    Ok(Args { of, ..args })
}

/// Seconds of all threads of this process on a processor; zero where the system does not say.
fn cpu_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    tasks.flatten().filter_map(of).sum::<f64>() * 1e-9
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = args()?;
    let matrix = Arc::new(args.of.matrix()?);
    let responses = args.of.responses(&matrix, args.family)?;
    println!("{:?}, {}, {} threads", args.of, args.family, rayon::current_num_threads());
    if let Some(path) = &args.write {
        write(path, &args.of, &matrix, &responses)?;
    }
    println!(
        "{:22} {:>8} {:>8} {:>6} {:>6} {:>10}  end",
        "method", "wall s", "cpu s", "iter", "passes", "error"
    );
    for method in &args.methods {
        let (begun, cpu) = (Instant::now(), cpu_seconds());
        let line = match method.as_str() {
            "qr" | "sketch" | "momentum" => by_least_squares(method, &args, &matrix, &responses)?,
            _ => by_newton(method, &args, &matrix, &responses)?,
        };
        let (wall, cpu) =
            (line.wall.unwrap_or(begun.elapsed().as_secs_f64()), line.cpu.unwrap_or(cpu_seconds() - cpu));
        println!(
            "{method:22} {wall:8.2} {cpu:8.2} {:6} {:6} {:10.2e}  {}",
            line.iterations, line.passes, line.error, line.end
        );
    }
    Ok(())
}

struct Line {
    iterations: u64,
    passes: u64,
    error: f64,
    end: String,
    wall: Option<f64>,
    cpu: Option<f64>,
}

fn by_newton(
    method: &str,
    args: &Args,
    matrix: &Arc<TallMatrix>,
    y: &[f64],
) -> Result<Line, Box<dyn std::error::Error>> {
    let (model, step) = method.split_once(':').unwrap_or((method, ""));
    let mut options = RegressionOptions {
        hessian: model.parse::<HessianModel>()?,
        sketch_rows: args.sketch_rows,
        step: match step {
            "cg" => StepMethod::ConjugateGradients,
            "direct" => StepMethod::Direct,
            "averaged" => StepMethod::Averaged,
            "quasi-newton" => StepMethod::QuasiNewton,
            _ => StepMethod::Auto,
        },
        always_optimizer: step == "opt",
        ..RegressionOptions::default()
    };
    options.optimizer.tolerance = args.tolerance;
    let fit = Regression::new(args.family, matrix.clone(), y.to_vec())?.solve(&options)?;
    let end = format!("{:?}, objective {:.12e}", fit.stop, fit.objective);
    Ok(Line {
        iterations: fit.iterations,
        passes: fit.passes,
        error: fit.residual,
        end,
        wall: None,
        cpu: None,
    })
}

fn by_least_squares(
    method: &str,
    args: &Args,
    a: &TallMatrix,
    b: &[f64],
) -> Result<Line, Box<dyn std::error::Error>> {
    let options = LeastSquaresOptions {
        method: if method == "momentum" { LeastSquaresMethod::Momentum } else { LeastSquaresMethod::Auto },
        rows: args.sketch_rows,
        tolerance: args.tolerance,
        ..LeastSquaresOptions::default()
    };
    let (begun, cpu) = (Instant::now(), cpu_seconds());
    let (x, iterations, passes, end, factor);
    let mut taken = (0.0, 0.0);
    match method {
        "qr" => {
            // Column by column, as faer wants it; copying is not counted.
            let (m, n) = (a.rows(), a.columns());
            let mut dense = faer::Mat::<f64>::zeros(m, n);
            let groups = vec![0..m; 1];
            let mut states = [&mut dense];
            a.visit(
                &groups,
                &mut states,
                |_| true,
                |dense, block| {
                    (0..block.rows).for_each(|i| block.for_row(i, |j, v| dense[(block.first + i, j)] = v));
                },
            )?;
            let side = faer::Mat::from_fn(m, 1, |i, _| b[i]);
            use faer::linalg::solvers::SolveLstsq;
            faer::set_global_parallelism(faer::Par::rayon(rayon::current_num_threads()));
            let (begun, cpu) = (Instant::now(), cpu_seconds());
            let by_qr = dense.qr().solve_lstsq(side);
            taken = (begun.elapsed().as_secs_f64(), cpu_seconds() - cpu);
            x = (0..n).map(|j| by_qr[(j, 0)]).collect::<Vec<f64>>();
            drop(dense);
            let estimate = LeastSquaresOptions { method: LeastSquaresMethod::SketchAndSolve, ..options };
            factor = least_squares(a, b, &estimate)?.factor;
            (iterations, passes, end) = (1, 1, "householder".to_string());
        }
        _ => {
            let s = least_squares(a, b, &options)?;
            taken.0 = begun.elapsed().as_secs_f64();
            taken.1 = cpu_seconds() - cpu;
            end = format!(
                "{:?}, {} rows, distortion {:?}",
                s.end,
                s.sketch_rows,
                s.distortion.map(|d| d.value())
            );
            (x, iterations, passes, factor) = (s.x, s.rounds as u64, s.passes as u64, s.factor);
        }
    }
    let (mut r, mut g) = (vec![0.0; a.rows()], vec![0.0; a.columns()]);
    a.residual(&x, b, &mut r, &mut g)?;
    let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let error = backward_error(&factor, &x, norm(&r), &g, norm(b))?;
    Ok(Line { iterations, passes, error, end, wall: Some(taken.0), cpu: Some(taken.1) })
}

/// Rows and responses as numbers of 8 bytes, for other programs.
fn write(path: &str, of: &Generated, a: &TallMatrix, b: &[f64]) -> Result<(), Box<dyn std::error::Error>> {
    use std::io::Write;
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    let groups = vec![0..of.rows; 1];
    let mut states = [vec![]];
    a.visit(
        &groups,
        &mut states,
        |_| true,
        |all: &mut Vec<f64>, block| {
            (0..block.rows).for_each(|i| block.for_row(i, |_, v| all.push(v)));
        },
    )?;
    for v in states[0].iter().chain(b) {
        out.write_all(&v.to_le_bytes())?;
    }
    Ok(())
}
