//! min over x of |A x - b| for tall A, as accurate as Householder QR.
//!
//! A factor R of a sketch makes A R^-1 well conditioned; iterations with A then take the error to zero. Two things make the result backward stable (Epperly, Meier,
//! Nakatsukasa, "Fast randomized least-squares solvers can be just as accurate and stable as classical direct solvers", 2024): the solution of the sketched problem
//! as start, and refinement: each round solves for a correction from a residual r = b - A x that is computed anew,
//!
//! ```text
//! (A R^-1)' (A R^-1) y = R^-T A' r,   x <- x + R^-1 y,
//! ```
//!
//! by iterative sketching with momentum (their FOSSILS) or by conjugate gradients (SPIR). It ends when the backward error, estimated with the sketch (Karlson and
//! Walden, BIT 37, 1997; Gratton, Jiranek, Titley-Peloquin, SIMAX 33, 2012), is at rounding.
//!
//! The sketch is drawn in two steps: a sparse sign embedding of 4 n rows gives a rough R, this the approximate leverage of all rows, and rows drawn by it the R
//! that is used. The more rows, the fewer passes over A: by default their number balances the two costs.

use super::conjugate::{CgEnd, CgOptions, CgReport, conjugate_gradients};
use super::distortion::Distortion;
use super::factor::Factor;
use super::leverage::{LeverageScores, RowSample};
use super::sketch::{SketchKind, sketch};
use super::tall::TallMatrix;
use crate::error::Error;
use crate::linalg::{axpy, norm2};

/// What iterates on the sketched problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeastSquaresMethod {
    /// Conjugate gradients, and more rows where the sketch turns out to be bad.
    #[default]
    Auto,
    /// The solution of the sketched problem alone: a residual some percent above the least one.
    SketchAndSolve,
    /// Iterative sketching with damping and momentum, refined: no inner products.
    Momentum,
    /// Conjugate gradients, refined.
    ConjugateGradients,
}

/// What may be chosen.
#[derive(Debug, Clone)]
pub struct LeastSquaresOptions {
    /// What iterates.
    pub method: LeastSquaresMethod,
    /// How the last sketch is drawn.
    pub sketch: SketchKind,
    /// Rows of the sketch; none: as many as balance its cost with that of the passes they save.
    pub rows: Option<usize>,
    /// Relative backward error that ends it. Householder QR comes to about 1e-16 / sqrt(n); refinement ends at rounding in any case.
    pub tolerance: f64,
    /// Rounds of refinement.
    pub max_rounds: usize,
    /// Inner steps of a round, a pass over A each.
    pub max_steps: usize,
    /// Seed.
    pub seed: u64,
}

impl Default for LeastSquaresOptions {
    fn default() -> Self {
        Self {
            method: LeastSquaresMethod::Auto,
            sketch: SketchKind::LeverageRows,
            rows: None,
            tolerance: 1e-18,
            max_rounds: 6,
            max_steps: 80,
            seed: 0,
        }
    }
}

/// Why it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeastSquaresEnd {
    /// The backward error is within the tolerance.
    Reached,
    /// Refinement no longer lowers it: rounding.
    Rounding,
    /// The limit of rounds.
    MaxRounds,
    /// Only the sketched problem was asked for.
    Sketched,
    /// The inner iterations did not converge: the sketch is bad (see the distortion) and more rows did not help.
    BadSketch,
}

/// A solution, with what it cost and how good it is.
#[derive(Debug, Clone)]
pub struct LeastSquares {
    /// The solution, length n.
    pub x: Vec<f64>,
    /// |b - A x|.
    pub residual_norm: f64,
    /// The least |\[E, f |A|_F / |b|\]|_F / |A|_F for which x solves (A + E, b + f), estimated with the sketch.
    pub backward_error: f64,
    /// Why it ended.
    pub end: LeastSquaresEnd,
    /// Rows of the sketch.
    pub sketch_rows: usize,
    /// How good the sketch was; none where no conjugate gradients were run.
    pub distortion: Option<Distortion>,
    /// Rounds of refinement.
    pub rounds: usize,
    /// Passes over A, those of the sketch included.
    pub passes: usize,
    /// R of the sketch.
    pub factor: Factor,
}

/// Relative backward error of x with residual r = b - A x and A'r = `gradient`: |A|_F^-1 |((|b|^2 / |A|_F^2 + |x|^2) R'R + |r|^2 I)^-1/2 A'r|, R'R close to A'A.
///
/// # Errors
/// A number is not finite.
pub fn backward_error(factor: &Factor, x: &[f64], r: f64, gradient: &[f64], b: f64) -> Result<f64, Error> {
    let frobenius: f64 = factor.frobenius();
    if frobenius == 0.0 || gradient.iter().all(|v| *v == 0.0) {
        return Ok(0.0);
    }
    let weight = (b / frobenius).powi(2) + norm2(x).powi(2);
    if weight == 0.0 {
        return Ok(0.0);
    }
    let mut g = gradient.to_vec();
    factor.shifted(r * r / weight)?.solve_transposed(&mut g);
    Ok(norm2(&g) / (weight.sqrt() * frobenius))
}

/// Rows that balance the cost of R (s n^2 additions and multiplications) with that of the passes, about 72 / ln(s / n) of them, each bound by memory.
fn balanced_rows(m: usize, n: usize) -> usize {
    // Nanoseconds: a number that is read, a multiplication in a product of matrices.
    let (read, multiply) = (0.6, 0.04);
    let cost = |k: usize| {
        let (m, n, k) = (m as f64, n as f64, k as f64);
        multiply * k * n.powi(3) + read * m * n * 72.0 / k.ln()
    };
    let best =
        [4usize, 6, 8, 12, 16, 24, 32, 48, 64, 96].into_iter().min_by(|a, b| cost(*a).total_cmp(&cost(*b)));
    best.unwrap_or(12) * n
}

struct Start {
    factor: Factor,
    x: Vec<f64>,
    rows: usize,
    passes: usize,
}

/// Sketches that are tried, each with four times the rows of the last.
const ATTEMPTS: u64 = 3;

/// R and the solution of the sketched problem.
fn start(
    a: &TallMatrix,
    b: &[f64],
    options: &LeastSquaresOptions,
    rows: usize,
    seed: u64,
) -> Result<Start, Error> {
    let (m, n) = (a.rows(), a.columns());
    if options.sketch == SketchKind::LeverageRows && rows < m {
        let rough = sketch(a, None, None, SketchKind::SparseSign(2), (4 * n).min(m), seed)?.factor;
        let scores = LeverageScores::approximate(a, &rough, seed)?;
        let sample = RowSample::draw(&scores, None, rows, seed);
        let mut gram = vec![0.0; n * n];
        a.gram_of_rows(&sample.picked, &mut gram)?;
        let factor = Factor::of_gram(n, &gram)?;
        let (least, most) = factor.equilibrated_range(&gram);
        // Squared in the Gram matrix: beyond 1e7 the rows themselves are factored.
        if factor.ridge() == 0.0 && least > 1e-7 * most {
            let mut x = vec![0.0; n];
            a.combine_rows(&sample.picked, b, &mut x)?;
            factor.solve_transposed(&mut x);
            factor.solve(&mut x);
            return Ok(Start { factor, x, rows: sample.picked.len(), passes: 3 });
        }
        let (matrix, side) = sample.gather(a, None, Some(b))?;
        return solved(n, matrix, &side, 3);
    }
    let kind = if rows >= m { SketchKind::UniformRows } else { options.sketch };
    let sketched = sketch(a, None, Some(b), kind, rows, seed)?;
    solved(n, sketched.matrix, &sketched.side, 1)
}

/// By R of [S A, S b]: its last column is Q'S b.
fn solved(n: usize, matrix: Vec<f64>, side: &[f64], passes: usize) -> Result<Start, Error> {
    let rows = matrix.len() / n;
    let mut wide = Vec::with_capacity(rows * (n + 1));
    for (row, b) in matrix.chunks(n).zip(side) {
        wide.extend_from_slice(row);
        wide.push(*b);
    }
    let wide = Factor::of_rows(n + 1, &wide)?;
    let (factor, mut x) = wide.leading();
    // Rank deficient: a start of rounding errors is worse than none.
    if factor.ridge() > 0.0 {
        x.fill(0.0);
    }
    factor.solve(&mut x);
    Ok(Start { factor, x, rows, passes })
}

/// Solves min over x of |A x - b|.
///
/// # Errors
/// b has another length or an entry that is not finite, or rows cannot be read.
pub fn least_squares(
    a: &TallMatrix,
    b: &[f64],
    options: &LeastSquaresOptions,
) -> Result<LeastSquares, Error> {
    let (m, n) = (a.rows(), a.columns());
    if b.len() != m || b.iter().any(|v| !v.is_finite()) {
        let what = format!("the right-hand side needs {m} finite numbers, found {} of any kind", b.len());
        return Err(Error::Problem { name: "least squares".into(), what });
    }
    let mut rows = options.rows.unwrap_or_else(|| balanced_rows(m, n)).max(n + 1).min(m);
    let (mut passes, mut attempt) = (0, 0);
    loop {
        let begun = start(a, b, options, rows, options.seed.wrapping_add(attempt))?;
        passes += begun.passes;
        let mut solution = refine(a, b, options, begun)?;
        solution.passes += passes;
        let retry = solution.end == LeastSquaresEnd::BadSketch && options.method == LeastSquaresMethod::Auto;
        if !retry || attempt + 1 == ATTEMPTS || rows == m {
            return Ok(solution);
        }
        passes = solution.passes;
        rows = (4 * rows).min(m);
        attempt += 1;
    }
}

fn refine(
    a: &TallMatrix,
    b: &[f64],
    options: &LeastSquaresOptions,
    begun: Start,
) -> Result<LeastSquares, Error> {
    let n = a.columns();
    let (mut r, mut gradient, mut y) = (vec![0.0; a.rows()], vec![0.0; n], vec![0.0; n]);
    let size = norm2(b);
    let mut at = LeastSquares {
        x: begun.x,
        residual_norm: f64::INFINITY,
        backward_error: f64::INFINITY,
        end: LeastSquaresEnd::MaxRounds,
        sketch_rows: begun.rows,
        distortion: None,
        rounds: 0,
        passes: 0,
        factor: begun.factor,
    };
    let mut best: Option<(f64, Vec<f64>, f64)> = None;
    for round in 0..=options.max_rounds {
        a.residual(&at.x, b, &mut r, &mut gradient)?;
        at.passes += 1;
        at.residual_norm = norm2(&r);
        at.backward_error = backward_error(&at.factor, &at.x, at.residual_norm, &gradient, size)?;
        let before = best.as_ref().map_or(f64::INFINITY, |b| b.0);
        let stuck = at.backward_error >= 0.5 * before || at.backward_error.is_nan();
        if at.backward_error < before {
            best = Some((at.backward_error, at.x.clone(), at.residual_norm));
        }
        if options.method == LeastSquaresMethod::SketchAndSolve {
            at.end = LeastSquaresEnd::Sketched;
        } else if at.backward_error <= options.tolerance {
            at.end = LeastSquaresEnd::Reached;
        } else if stuck && at.end != LeastSquaresEnd::BadSketch {
            at.end = LeastSquaresEnd::Rounding;
        } else if round < options.max_rounds && at.end != LeastSquaresEnd::BadSketch {
            let relative = (0.2 * options.tolerance / at.backward_error).clamp(1e-9, 0.1);
            let steps = correct(a, options, &mut at, (&gradient, relative), &mut y)?;
            at.passes += steps;
            at.rounds += 1;
            axpy(1.0, &y, &mut at.x);
            continue;
        }
        break;
    }
    if let Some((error, x, norm)) = best {
        (at.backward_error, at.x, at.residual_norm) = (error, x, norm);
    }
    Ok(at)
}

/// y <- a correction from A'r; sets the end where the sketch is bad. Returns the passes.
fn correct(
    a: &TallMatrix,
    options: &LeastSquaresOptions,
    at: &mut LeastSquares,
    (gradient, relative): (&[f64], f64),
    y: &mut [f64],
) -> Result<usize, Error> {
    let product = |p: &[f64], hp: &mut [f64]| a.multiply_normal(None, p, hp);
    let inner = CgOptions { relative, max_steps: options.max_steps };
    let bad = |relative: f64| relative > 1e-2;
    if options.method == LeastSquaresMethod::Momentum {
        let ratio = 1.2 * (a.columns() as f64 / at.sketch_rows as f64).sqrt();
        let (steps, reached) = momentum(product, &at.factor, gradient, y, (ratio.min(0.95), inner))?;
        if bad(reached) {
            at.end = LeastSquaresEnd::BadSketch;
        }
        return Ok(steps);
    }
    let report: CgReport = conjugate_gradients(product, &at.factor, gradient, y, inner)?;
    let longer = report.distortion.is_some_and(|d| at.distortion.is_none_or(|before| d.steps > before.steps));
    if longer {
        at.distortion = report.distortion;
    }
    if report.end == CgEnd::MaxSteps && bad(report.relative) {
        at.end = LeastSquaresEnd::BadSketch;
    }
    Ok(report.steps)
}

/// Iterative sketching with momentum in the variables R y: y <- y + (1 - e^2)^2 (c - M y) + e^2 (y - y_before), M = R^-T A'A R^-1, for a sketch of distortion e.
/// Returns the steps and the relative residual; diverging iterations end at once.
fn momentum(
    mut product: impl FnMut(&[f64], &mut [f64]) -> Result<(), Error>,
    factor: &Factor,
    b: &[f64],
    x: &mut [f64],
    (e, options): (f64, CgOptions),
) -> Result<(usize, f64), Error> {
    let n = b.len();
    let (damping, inertia) = ((1.0 - e * e).powi(2), e * e);
    let mut s = b.to_vec();
    factor.solve_transposed(&mut s);
    let (first, mut step) = (norm2(&s), vec![0.0; n]);
    let (mut p, mut hp) = (vec![0.0; n], vec![0.0; n]);
    x.fill(0.0);
    let mut relative = if first > 0.0 { 1.0 } else { 0.0 };
    for k in 0..options.max_steps {
        if relative <= options.relative || relative >= 1e3 || relative.is_nan() {
            return Ok((k, relative));
        }
        step.iter_mut().zip(&s).for_each(|(d, s)| *d = inertia * *d + damping * s);
        p.copy_from_slice(&step);
        factor.solve(&mut p);
        product(&p, &mut hp)?;
        axpy(1.0, &p, x);
        factor.solve_transposed(&mut hp);
        axpy(-1.0, &hp, &mut s);
        relative = norm2(&s) / first;
    }
    Ok((options.max_steps, relative))
}

#[cfg(test)]
#[path = "least_squares_tests.rs"]
mod tests;
