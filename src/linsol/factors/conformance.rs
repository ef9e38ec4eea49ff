//! What every factorization must do, as a function that one of your own can be run through.
//!
//! ```
//! use costate::linsol::factors::{BandLu, Factors, conformance};
//!
//! let make = || -> Box<dyn Factors<f64>> { Box::new(BandLu::new()) };
//! conformance::check(&make, &conformance::Demands::default()).unwrap();
//! ```
//!
//! The matrices are random with fixed seeds: bands, sparse ones, dense ones, shifted ones that elimination must exchange rows of, with rows
//! of very different sizes, singular ones, and what is no legal input. Every residual is computed again, in f64 from the entries.

use std::fmt;

use super::{FactorError, Factors};
use crate::linalg::{BandMut, BandRef, MatrixRef, Pattern, Scalar};
use crate::linsol::testing::Random;

/// What is asked of a factorization.
#[derive(Debug, Clone, Copy)]
pub struct Demands {
    /// Residuals are at most `residual` |A| |x|, in the largest norm and in units of the rounding of T times n + 10.
    pub residual: f64,
    /// Matrices without a dominant diagonal, whose rows elimination must exchange, badly scaled ones, and dense ones.
    pub any_matrix: bool,
    /// Unknowns of the largest matrix; the suite has them up to 600.
    pub up_to: usize,
    /// How many times this thread has allocated, where a counter is at hand: solves and refactorizations must not.
    pub allocations: Option<fn() -> usize>,
    /// Refactorizations may allocate all the same; solves may not.
    pub refactoring_allocates: bool,
}

impl Default for Demands {
    fn default() -> Self {
        Self {
            residual: 4.0,
            any_matrix: true,
            up_to: usize::MAX,
            allocations: None,
            refactoring_allocates: false,
        }
    }
}

/// A demand that is not met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The demand, in words.
    pub demand: &'static str,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.demand, self.found)
    }
}

/// Makes factorizations of one kind.
pub type Make<'a, T> = &'a (dyn Fn() -> Box<dyn Factors<T>> + Sync);

type Outcome = Result<(), String>;

/// Runs factorizations fresh from `make` through the suite; all failures, one for each demand.
pub fn check<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Result<(), Vec<Failure>> {
    type Demand<T> = fn(Make<'_, T>, &Demands) -> Outcome;
    let all: [(&'static str, Demand<T>); 11] = [
        ("solves bands, sparse and dense matrices and their transposes", solves),
        ("the transposed solve is the transpose of the solve", transposes),
        ("exchanges rows where it must", exchanges),
        ("bears rows of very different sizes", bad_scales),
        ("several right-hand sides are solved as one alone is, to rounding", many_right_hand_sides),
        ("layouts of one matrix agree", layouts),
        ("singular matrices are errors that name an unknown", singular),
        ("entries that are not finite are errors that name them", not_finite),
        ("no unknowns, one unknown, matrices one after the other, wrong lengths", sizes),
        ("the same bits on every run, after any history and on any number of threads", same_bits),
        ("nothing is allocated after the first factorization", allocations),
    ];
    let failures: Vec<_> = all
        .iter()
        .filter_map(|&(demand, f)| f(make, demands).err().map(|found| Failure { demand, found }))
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(failures) }
}

macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        // A comparison with NaN does not hold.
        let holds: bool = $holds;
        if !holds {
            return Err(format!($($text)*));
        }
    };
}

/// A matrix with its entries in f64 and T.
#[derive(Clone)]
struct Matrix<T> {
    what: String,
    pattern: Pattern,
    values: Vec<T>,
}

impl<T: Scalar> Matrix<T> {
    fn new(what: String, pattern: Pattern, mut value: impl FnMut(usize, usize) -> f64) -> Self {
        let values = pattern.entries().map(|(i, j)| T::of(value(i, j))).collect();
        Self { what, pattern, values }
    }
    /// Off the diagonal random, on it larger by `dominance` than the sum of the others.
    fn dominant(what: String, pattern: Pattern, dominance: f64, random: &mut Random) -> Self {
        let mut sums = vec![0.0; pattern.nrows()];
        let mut a = Self::new(what, pattern, |i, j| {
            let v = random.symmetric();
            sums[i] += if i == j { 0.0 } else { v.abs() };
            v
        });
        for (k, (i, j)) in a.pattern.entries().enumerate() {
            if i == j {
                a.values[k] = T::of(if i % 3 == 1 { -1.0 } else { 1.0 } * (sums[i] + dominance));
            }
        }
        a
    }
    fn n(&self) -> usize {
        self.pattern.nrows()
    }
    fn as_ref(&self) -> MatrixRef<'_, T> {
        MatrixRef::Sparse(self.pattern.with_values(&self.values))
    }
    fn dense(&self) -> Vec<T> {
        let mut dense = vec![T::ZERO; self.n() * self.n()];
        for ((i, j), v) in self.pattern.entries().zip(&self.values) {
            dense[j * self.n() + i] = *v;
        }
        dense
    }
    /// The largest row sum of |A|, or column sum.
    fn norm(&self, transposed: bool) -> f64 {
        let mut sums = vec![0.0; self.n()];
        for ((i, j), v) in self.pattern.entries().zip(&self.values) {
            sums[if transposed { j } else { i }] += v.f64().abs();
        }
        largest(&sums)
    }
    /// max |b - A x| / (|A| |x|), in f64.
    fn residual(&self, x: &[T], b: &[T], transposed: bool) -> f64 {
        let mut r: Vec<f64> = b.iter().map(|v| v.f64()).collect();
        for ((i, j), v) in self.pattern.entries().zip(&self.values) {
            let (i, j) = if transposed { (j, i) } else { (i, j) };
            r[i] -= v.f64() * x[j].f64();
        }
        let x: Vec<f64> = x.iter().map(|v| v.f64()).collect();
        let scale = self.norm(transposed) * largest(&x);
        if scale == 0.0 { largest(&r) } else { largest(&r) / scale }
    }
    /// Factors, solves both ways and looks at the residuals.
    fn solved_by(&self, factors: &mut dyn Factors<T>, demands: &Demands, random: &mut Random) -> Outcome {
        let what = &self.what;
        factors.factor(self.as_ref()).map_err(|e| format!("{what}: {e}"))?;
        let facts = factors.facts();
        ensure!(facts.n == self.n() && facts.flops > 0.0 && facts.fill > 0, "{what}: {facts:?}");
        let bound = demands.residual * T::EPSILON.f64() * (self.n() as f64 + 10.0);
        for transposed in [false, true] {
            let b = vector::<T>(self.n(), random);
            let x = solved(factors, &b, transposed).map_err(|e| format!("{what}: {e}"))?;
            let r = self.residual(&x, &b, transposed);
            ensure!(r <= bound, "{what}, transposed {transposed}: residual {r:e} above {bound:e}");
        }
        Ok(())
    }
}

/// NaN if any entry is.
fn largest(x: &[f64]) -> f64 {
    x.iter().fold(0.0, |m, v| if v.is_nan() || v.abs() > m { v.abs() } else { m })
}

fn vector<T: Scalar>(n: usize, random: &mut Random) -> Vec<T> {
    (0..n).map(|_| T::of(random.symmetric())).collect()
}

fn solved<T: Scalar>(factors: &mut dyn Factors<T>, b: &[T], transposed: bool) -> Result<Vec<T>, FactorError> {
    let mut x = b.to_vec();
    if transposed {
        factors.solve_t(&mut x)?
    } else {
        factors.solve(&mut x)?
    }
    Ok(x)
}

/// About `each` random entries a row beside the diagonal.
fn scattered(n: usize, each: usize, random: &mut Random) -> Pattern {
    let mut rows_of: Vec<Vec<usize>> = (0..n).map(|j| vec![j]).collect();
    for _ in 0..n * each {
        let (i, j) = (random.below(n), random.below(n));
        rows_of[j].push(i);
    }
    Pattern::of_columns(n, rows_of)
}

/// The five-point stencil on a grid, the last row coupled with the first where it is a torus.
fn grid(side: usize, torus: bool) -> Pattern {
    let n = side * side;
    let mut rows_of: Vec<Vec<usize>> = (0..n).map(|k| vec![k]).collect();
    let mut pair = |a: usize, b: usize| {
        rows_of[a].push(b);
        rows_of[b].push(a);
    };
    for (k, x, y) in (0..n).map(|k| (k, k % side, k / side)) {
        if x + 1 < side || torus {
            pair(k, y * side + (x + 1) % side);
        }
        if y + 1 < side || torus {
            pair(k, (k + side) % n);
        }
    }
    Pattern::of_columns(n, rows_of)
}

/// Matrices with a dominant diagonal of all kinds, up to the size demanded.
fn dominant<T: Scalar>(demands: &Demands) -> Vec<Matrix<T>> {
    let mut random = Random::new(1);
    let mut all = Vec::new();
    for n in [1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 33, 100, 257, 600] {
        for (lower, upper) in
            [(0, 0), (1, 1), (1, 0), (0, 3), (2, 2), (3, 1), (3, 3), (4, 4), (5, 5), (2, 9), (17, 12)]
        {
            let band = Pattern::banded(n, lower, upper);
            all.push(Matrix::dominant(
                format!("{n} unknowns, band {lower} + {upper}"),
                band,
                0.5,
                &mut random,
            ));
        }
        let sparse = scattered(n, 2, &mut random);
        all.push(Matrix::dominant(format!("{n} unknowns, scattered"), sparse, 0.5, &mut random));
    }
    for (side, torus) in [(3, false), (12, false), (9, true), (24, true)] {
        let what = format!("a grid of side {side}, torus {torus}");
        all.push(Matrix::dominant(what, grid(side, torus), 0.1, &mut random));
    }
    all.retain(|a| a.n() <= demands.up_to);
    all
}

fn solves<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    let mut random = Random::new(2);
    // One object for all: what is left of the matrix before must not matter.
    let mut factors = make();
    for a in dominant::<T>(demands) {
        a.solved_by(&mut *factors, demands, &mut random)?;
    }
    if !demands.any_matrix {
        return Ok(());
    }
    for n in [1, 2, 3, 4, 5, 8, 13, 32, 64, 127, 128, 129, 150, 200, 257] {
        if n <= demands.up_to {
            let what = format!("{n} unknowns, dense");
            let a = Matrix::<T>::new(what, Pattern::dense(n, n), |_, _| random.symmetric());
            a.solved_by(&mut *factors, demands, &mut Random::new(n as u64))?;
        }
    }
    Ok(())
}

fn transposes<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    let mut random = Random::new(3);
    let mut factors = make();
    for a in dominant::<T>(demands) {
        factors.factor(a.as_ref()).map_err(|e| format!("{}: {e}", a.what))?;
        let (b, c) = (vector::<T>(a.n(), &mut random), vector::<T>(a.n(), &mut random));
        let x = solved(&mut *factors, &b, false).map_err(|e| e.to_string())?;
        let y = solved(&mut *factors, &c, true).map_err(|e| e.to_string())?;
        // (A^-1 b)' c = b' (A^-T c).
        let dot = |x: &[T], y: &[T]| x.iter().zip(y).map(|(a, b)| a.f64() * b.f64()).sum::<f64>();
        let size = |x: &[T], y: &[T]| x.iter().zip(y).map(|(a, b)| (a.f64() * b.f64()).abs()).sum::<f64>();
        let (left, right) = (dot(&x, &c), dot(&b, &y));
        let bound = demands.residual * T::EPSILON.f64() * (a.n() as f64 + 10.0) * 4.0;
        let scale = size(&x, &c) + size(&b, &y);
        ensure!((left - right).abs() <= bound * scale, "{}: {left:e} and {right:e}", a.what);
    }
    Ok(())
}

/// Matrices that have no pivot where it would stand without exchanges.
fn shuffled<T: Scalar>(demands: &Demands) -> Vec<Matrix<T>> {
    let mut random = Random::new(4);
    let mut all = Vec::new();
    for n in [2, 3, 5, 8, 17, 40, 130, 300] {
        for (lower, upper) in [(1, 1), (2, 2), (3, 3), (4, 4), (6, 5), (1, 3)] {
            let what = format!("{n} unknowns, random band {lower} + {upper}");
            let band = Pattern::banded(n, lower, upper);
            all.push(Matrix::new(what, band, |_, _| random.symmetric()));
        }
        // Zeros on the diagonal of a pairwise exchanged identity, and a dominant matrix whose rows have moved.
        let pairs = (0..n).map(|j| ((j ^ 1).min(n - 1), j)).chain((0..n).map(|j| (j, j)));
        if let Ok(pattern) = Pattern::new(n, n, pairs) {
            let what = format!("{n} unknowns, exchanged pairs");
            let last = if n % 2 == 1 { n - 1 } else { n };
            all.push(Matrix::new(what, pattern, |i, j| if i == j && j != last { 0.0 } else { 2.0 }));
        }
        let base = Matrix::<T>::dominant(String::new(), scattered(n, 2, &mut random), 0.3, &mut random);
        let to = |i: usize| (i + n / 3) % n;
        let moved = base.pattern.entries().zip(&base.values).map(|((i, j), v)| ((to(i), j), v.f64()));
        let moved: std::collections::BTreeMap<_, _> = moved.map(|((i, j), v)| ((j, i), v)).collect();
        if let Ok(pattern) = Pattern::new(n, n, moved.keys().map(|&(j, i)| (i, j))) {
            let what = format!("{n} unknowns, moved rows");
            all.push(Matrix::new(what, pattern, |i, j| moved[&(j, i)]));
        }
    }
    all.retain(|a| a.n() <= demands.up_to);
    all
}

fn exchanges<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    if !demands.any_matrix {
        return Ok(());
    }
    let mut factors = make();
    for a in shuffled::<T>(demands) {
        a.solved_by(&mut *factors, demands, &mut Random::new(5))?;
    }
    Ok(())
}

fn bad_scales<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    if !demands.any_matrix {
        return Ok(());
    }
    let mut factors = make();
    let span = if T::EPSILON.f64() > 1e-10 { 5.0 } else { 30.0 };
    for (seed, n) in [3, 6, 40, 140].into_iter().enumerate().filter(|(_, n)| *n <= demands.up_to) {
        for lower in [1, 2, 7] {
            let mut random = Random::new(6 + seed as u64);
            let band = Pattern::banded(n, lower, lower);
            let mut a = Matrix::<T>::dominant(format!("{n} unknowns, scaled rows"), band, 0.5, &mut random);
            let scales: Vec<f64> = (0..n).map(|_| 10f64.powf(span * random.symmetric())).collect();
            for (k, (i, _)) in a.pattern.entries().enumerate() {
                a.values[k] *= T::of(scales[i]);
            }
            a.solved_by(&mut *factors, demands, &mut random)?;
        }
    }
    Ok(())
}

fn many_right_hand_sides<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    let mut factors = make();
    for a in dominant::<T>(demands).into_iter().filter(|a| a.n() > 1 && a.n() % 2 == 1) {
        let (n, count) = (a.n(), 7);
        factors.factor(a.as_ref()).map_err(|e| e.to_string())?;
        let b = vector::<T>(n * count, &mut Random::new(7));
        for transposed in [false, true] {
            let x = solved(&mut *factors, &b, transposed).map_err(|e| e.to_string())?;
            let bound = demands.residual * T::EPSILON.f64() * (n as f64 + 10.0);
            for (x, b) in x.chunks_exact(n).zip(b.chunks_exact(n)) {
                let r = a.residual(x, b, transposed);
                ensure!(r <= bound, "{}, transposed {transposed}: residual {r:e}", a.what);
            }
        }
    }
    Ok(())
}

fn layouts<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    for n in [1, 4, 9, 60].into_iter().filter(|n| *n <= demands.up_to) {
        for (lower, upper) in [(1, 1), (2, 2), (1, 2), (6, 4)] {
            let band = Pattern::banded(n, lower, upper);
            let a = Matrix::<T>::dominant(String::new(), band, 0.5, &mut Random::new(8));
            let mut values = vec![T::of(f64::NAN); n * (lower + upper + 1)];
            for ((i, j), v) in a.pattern.entries().zip(&a.values) {
                *BandMut { n, lower, upper, values: &mut values }.at(i, j) = *v;
            }
            let dense = a.dense();
            let mut previous: Option<Vec<T>> = None;
            for layout in [
                a.as_ref(),
                MatrixRef::Band(BandRef { n, lower, upper, values: &values }),
                MatrixRef::Dense { n, values: &dense },
            ] {
                let mut factors = make();
                factors.factor(layout).map_err(|e| format!("{n} unknowns, {layout:?}: {e}"))?;
                let b = vector::<T>(n, &mut Random::new(9));
                let x = solved(&mut *factors, &b, false).map_err(|e| e.to_string())?;
                let r = a.residual(&x, &b, false);
                let bound = demands.residual * T::EPSILON.f64() * (n as f64 + 10.0);
                ensure!(r <= bound, "{n} unknowns, {lower} + {upper}: residual {r:e}");
                previous = Some(x);
            }
            ensure!(previous.is_some(), "nothing was solved");
        }
    }
    Ok(())
}

fn singular<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    for n in [1, 2, 3, 5, 9, 30, 140].into_iter().filter(|n| *n <= demands.up_to) {
        for (lower, upper) in [(1, 1), (2, 2), (7, 5), (n, n)] {
            let band = Pattern::banded(n, lower, upper);
            let base = Matrix::<T>::dominant(String::new(), band, 0.5, &mut Random::new(10));
            // A column of zeros, a row of zeros.
            for (row, at) in [(false, 0), (false, n / 2), (true, n - 1), (true, n / 2)] {
                let mut a = base.clone();
                for (k, (i, j)) in a.pattern.entries().enumerate() {
                    if (if row { i } else { j }) == at {
                        a.values[k] = T::ZERO;
                    }
                }
                let mut factors = make();
                let e = factors.factor(a.as_ref());
                let named = matches!(e, Err(FactorError::Singular { column, .. }) if column < n);
                ensure!(named, "{n} unknowns, {lower} + {upper}, zeros in {at} (row: {row}): {e:?}");
                let solved = factors.solve(&mut vec![T::ONE; n]);
                ensure!(solved.is_err(), "a solve after a failed factorization: {solved:?}");
                factors.factor(base.as_ref()).map_err(|e| format!("after a singular one: {e}"))?;
            }
        }
    }
    // Structurally singular: a column without entries.
    if demands.up_to >= 3
        && let Ok(pattern) = Pattern::new(3, 3, [(0, 0), (1, 0), (2, 2), (1, 2)])
    {
        let a = Matrix::<T>::new(String::new(), pattern, |_, _| 1.0);
        let e = make().factor(a.as_ref());
        ensure!(matches!(e, Err(FactorError::Singular { .. })), "an empty column: {e:?}");
    }
    Ok(())
}

fn not_finite<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    for n in [1, 2, 4, 6, 11, 150].into_iter().filter(|n| *n <= demands.up_to) {
        for (lower, upper) in [(1, 1), (2, 2), (6, 7)] {
            let band = Pattern::banded(n, lower, upper);
            let base = Matrix::<T>::dominant(String::new(), band, 0.5, &mut Random::new(11));
            let len = base.values.len();
            for k in [0, len / 3, len / 2, len - 1] {
                for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let mut a = base.clone();
                    a.values[k] = T::of(bad);
                    let place = a.pattern.entries().nth(k);
                    let e = make().factor(a.as_ref());
                    let right = matches!(e, Err(FactorError::NotFinite { row, column, .. })
                        if place == Some((row, column)));
                    ensure!(right, "{bad} at {place:?} of {n} unknowns: {e:?}");
                }
            }
        }
    }
    Ok(())
}

fn sizes<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    let mut factors = make();
    let e = factors.solve(&mut [T::ONE]);
    ensure!(e.is_err(), "a solve before the first factorization: {e:?}");
    for n in [0, 1, 5, 0, 2, 9, 150, 9, 9, 3].into_iter().filter(|n| *n <= demands.up_to) {
        let band = Pattern::banded(n, 1, 2);
        let a = Matrix::<T>::dominant(format!("{n} unknowns"), band, 0.5, &mut Random::new(12));
        factors.factor(a.as_ref()).map_err(|e| format!("{n} unknowns: {e}"))?;
        factors.solve(&mut []).map_err(|e| format!("no right-hand side: {e}"))?;
        for wrong in
            [n + 1, (2 * n).saturating_sub(1)].into_iter().filter(|w| *w > 0 && (n == 0 || w % n != 0))
        {
            let e = factors.solve_t(&mut vec![T::ONE; wrong]);
            ensure!(matches!(e, Err(FactorError::Length { .. })), "{wrong} numbers for {n} unknowns: {e:?}");
        }
        if n > 0 {
            a.solved_by(&mut *factors, demands, &mut Random::new(13))?;
        }
    }
    let values = [T::ONE; 5];
    for a in [
        MatrixRef::Dense { n: 2, values: &values },
        MatrixRef::Band(BandRef { n: 3, lower: 1, upper: 0, values: &values }),
        MatrixRef::Dense { n: usize::MAX, values: &values },
    ] {
        let e = factors.factor(a);
        ensure!(matches!(e, Err(FactorError::Malformed { .. })), "storage that does not fit: {e:?}");
    }
    Ok(())
}

fn same_bits<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    let all: Vec<_> = dominant::<T>(demands).into_iter().filter(|a| a.n() > 7 && a.n() % 2 == 1).collect();
    let shuffled = if demands.any_matrix { shuffled::<T>(demands) } else { Vec::new() };
    let run = |fresh: bool| -> Result<Vec<Vec<T>>, String> {
        let mut factors = make();
        let mut results = Vec::new();
        for a in all.iter().chain(&shuffled) {
            if fresh {
                factors = make();
            }
            factors.factor(a.as_ref()).map_err(|e| e.to_string())?;
            let b = vector::<T>(a.n(), &mut Random::new(14));
            for transposed in [false, true] {
                results.push(solved(&mut *factors, &b, transposed).map_err(|e| e.to_string())?);
            }
        }
        Ok(results)
    };
    let first = run(true)?;
    ensure!(first == run(true)?, "a second run has other bits");
    ensure!(first == run(false)?, "one object for all matrices gives other bits than fresh ones");
    for threads in [1, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
        let there = pool.install(|| run(true))?;
        ensure!(first == there, "{threads} threads give other bits");
    }
    Ok(())
}

fn allocations<T: Scalar>(make: Make<'_, T>, demands: &Demands) -> Outcome {
    let Some(count) = demands.allocations else { return Ok(()) };
    for mut a in dominant::<T>(demands).into_iter().filter(|a| a.n() > 7) {
        let mut factors = make();
        let n = a.n();
        let mut b = vector::<T>(5 * n, &mut Random::new(15));
        factors.factor(a.as_ref()).map_err(|e| e.to_string())?;
        factors.solve(&mut b).map_err(|e| e.to_string())?;
        factors.solve_t(&mut b).map_err(|e| e.to_string())?;
        a.values.iter_mut().for_each(|v| *v *= T::of(1.25));
        let before = count();
        let again = factors.factor(a.as_ref());
        let factored = count() - before;
        again.and_then(|()| factors.solve(&mut b)).map_err(|e| e.to_string())?;
        factors.solve_t(&mut b[..n]).map_err(|e| e.to_string())?;
        let solved = count() - before - factored;
        ensure!(solved == 0, "{}: {solved} allocations in solves", a.what);
        let free = factored == 0 || demands.refactoring_allocates;
        ensure!(free, "{}: {factored} allocations in a factorization", a.what);
    }
    Ok(())
}
