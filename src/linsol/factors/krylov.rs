//! GMRES and BiCGStab in the place of a factorization.

use super::entries::Entries;
use super::{FactorError, FactorFacts, Factors, Ilu0, right_hand_sides, well_formed};
use crate::linalg::{LinOp, MatrixRef, Scalar, SparseRef};
use crate::linsol::krylov::{BiCgStab, Cycle, CycleEnd, Sums};

/// Which iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KrylovMethod {
    /// GMRES (Saad and Schultz 1986): `restart + 1` vectors of storage, the residual never grows.
    Gmres {
        /// Iterations after which it starts again.
        restart: usize,
    },
    /// BiCGStab (van der Vorst 1992): two products an iteration, seven vectors; its residual may go up and down.
    BiCgStab,
}

/// When an iteration ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KrylovOptions {
    /// The iteration.
    pub method: KrylovMethod,
    /// |b - A x| <= tolerance |b|, Euclidean; `None`: 1e-10, in f32 1e-5.
    pub tolerance: Option<f64>,
    /// Products with A of one solve at most.
    pub max_products: usize,
    /// Whether the residual at the end is computed, one more product, or believed as the iteration carries it along: it may be off by rounding times the
    /// size of the right-hand side, much for tight tolerances.
    pub verify: bool,
}

impl Default for KrylovOptions {
    fn default() -> Self {
        Self {
            method: KrylovMethod::Gmres { restart: 30 },
            tolerance: None,
            max_products: 1000,
            verify: true,
        }
    }
}

/// Solves by iteration, right-preconditioned: A M^-1 z = b, x = M^-1 z, so that the residual is the true one. M^-1 is any [`Factors`]: [`Ilu0`],
/// a band of the matrix, the user's own.
///
/// A solve that ends above the tolerance is an error that says how far it came; `b` is then left as it was. Between solves nothing is kept: the same
/// right-hand side gives the same bits. Nothing is allocated after the first factorization and solve.
pub struct Krylov<T> {
    options: KrylovOptions,
    preconditioner: Option<Box<dyn Factors<T> + Send>>,
    n: Option<usize>,
    entries: Entries<T>,
    seen: (Vec<bool>, Vec<bool>),
    gmres: Cycle<T>,
    bicgstab: BiCgStab<T>,
    x: Vec<T>,
    r: Vec<T>,
    z: Vec<T>,
    iterations: usize,
    /// Numbers of work a product takes, for the facts.
    product_flops: f64,
}

impl<T: Scalar> Default for Krylov<T> {
    fn default() -> Self {
        Self::new(KrylovOptions::default())
    }
}

impl<T: Scalar> Krylov<T> {
    /// With ILU(0) of the matrix as preconditioner.
    pub fn new(options: KrylovOptions) -> Self {
        Self::with_preconditioner(options, Some(Box::new(Ilu0::new())))
    }

    /// With this preconditioner, which is factored with the matrix, or none.
    pub fn with_preconditioner(
        options: KrylovOptions,
        preconditioner: Option<Box<dyn Factors<T> + Send>>,
    ) -> Self {
        Self {
            options,
            preconditioner,
            n: None,
            entries: Entries::default(),
            seen: Default::default(),
            gmres: Cycle::default(),
            bicgstab: BiCgStab::default(),
            x: Vec::new(),
            r: Vec::new(),
            z: Vec::new(),
            iterations: 0,
            product_flops: 0.0,
        }
    }

    fn name_of(method: KrylovMethod) -> &'static str {
        match method {
            KrylovMethod::Gmres { .. } => "GMRES",
            KrylovMethod::BiCgStab => "BiCGStab",
        }
    }

    fn my_name(&self) -> &'static str {
        Self::name_of(self.options.method)
    }

    /// b <- A^-1 b, or A^-T b with `transposed`, for an operator without entries; the preconditioner is the one last factored, or none if there is
    /// none.
    pub fn solve_operator(
        &mut self,
        a: &mut dyn LinOp<T>,
        b: &mut [T],
        transposed: bool,
    ) -> Result<(), FactorError> {
        let (solver, n) = (self.my_name(), a.nrows());
        if a.ncols() != n {
            return Err(FactorError::Malformed { solver });
        }
        if right_hand_sides(solver, n, b.len())? == 0 {
            return Ok(());
        }
        self.iterations = 0;
        self.resize(n);
        let wanted = T::of(self.tolerance());
        let mut both = Both { a, preconditioner: self.preconditioner.take() };
        let done = b.chunks_exact_mut(n).try_for_each(|b| {
            let target = wanted * norm(b);
            self.solve_one(&mut both, b, target, transposed)
        });
        self.preconditioner = both.preconditioner;
        done
    }

    /// b <- x with |b - A x| <= target, or for A' with `transposed`, for one right-hand side; the operator's own preconditioner takes the place of the one here. There is
    /// one iteration at least; a target below ten roundings of |b| counts as that.
    pub fn solve_to(
        &mut self,
        a: &mut dyn Operator<T>,
        b: &mut [T],
        target: T,
        transposed: bool,
    ) -> Result<(), FactorError> {
        let n = a.n();
        if n != b.len() || n == 0 {
            return Err(FactorError::Length { solver: self.my_name(), found: b.len(), n });
        }
        self.iterations = 0;
        self.resize(n);
        let least = T::of(10.0) * T::EPSILON * norm(b);
        self.solve_one(a, b, if target < least { least } else { target }, transposed)
    }

    /// Products of the last solve, or of the solves of its right-hand sides.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    fn resize(&mut self, n: usize) {
        for v in [&mut self.x, &mut self.r, &mut self.z] {
            v.resize(n, T::ZERO);
        }
        match self.options.method {
            KrylovMethod::Gmres { restart } => self.gmres.resize(n, restart.max(1)),
            KrylovMethod::BiCgStab => self.bicgstab.resize(n),
        }
    }

    fn solve_one(
        &mut self,
        a: &mut dyn Operator<T>,
        b: &mut [T],
        target: T,
        transposed: bool,
    ) -> Result<(), FactorError> {
        let sums = sums::<T>();
        let norm_b = norm(b);
        if norm_b == T::ZERO {
            return Ok(());
        }
        self.x.fill(T::ZERO);
        self.r.copy_from_slice(b);
        let (mut size, mut products) = (norm_b, 0);
        // Once at least: zero is no solution, however small the right-hand side.
        while (size > target || products == 0) && products < self.options.max_products && size.is_finite() {
            let left = self.options.max_products - products;
            let CycleEnd { iterations, residual, .. } = self.improve(&sums, a, target, left, transposed)?;
            products += iterations.max(1);
            if !self.options.verify && residual <= target {
                size = residual;
                break;
            }
            a.apply(&self.x, &mut self.r, transposed);
            self.r.iter_mut().zip(b.iter()).for_each(|(r, b)| *r = *b - *r);
            let new = norm(&self.r);
            let stalled = new.is_nan() || new > T::of(0.999) * size;
            size = new;
            if stalled {
                break;
            }
        }
        self.iterations += products;
        if size <= target {
            b.copy_from_slice(&self.x);
            return Ok(());
        }
        let (residual, wanted) = ((size / norm_b).f64(), (target / norm_b).f64());
        Err(FactorError::NotConverged { solver: self.my_name(), residual, wanted, iterations: products })
    }

    /// x <- x + M^-1 z with A M^-1 z = r to the target, or as far as one cycle comes; its products.
    fn improve(
        &mut self,
        sums: &Sums<T>,
        a: &mut dyn Operator<T>,
        target: T,
        limit: usize,
        transposed: bool,
    ) -> Result<CycleEnd<T>, FactorError> {
        let solver = self.my_name();
        let Self { options, gmres, bicgstab, x, r, z, .. } = self;
        let mut failed = Ok(());
        let mut apply = |q: &[T], w: &mut [T]| {
            z.copy_from_slice(q);
            if failed.is_ok() {
                failed = a.precondition(z, transposed);
            }
            a.apply(z, w, transposed);
        };
        let end = match options.method {
            KrylovMethod::Gmres { .. } => gmres.run(sums, r, &mut apply, target, limit, &mut || false),
            KrylovMethod::BiCgStab => bicgstab.run(sums, r, &mut apply, target, limit.div_ceil(2)),
        };
        failed?;
        let overflow =
            FactorError::NotConverged { solver, residual: f64::NAN, wanted: target.f64(), iterations: 0 };
        let end = end.map_err(|_| overflow)?;
        z.fill(T::ZERO);
        match options.method {
            KrylovMethod::Gmres { .. } => gmres.add_to(sums, z),
            KrylovMethod::BiCgStab => z.copy_from_slice(bicgstab.solution()),
        }
        a.precondition(z, transposed)?;
        axpy(T::ONE, z, x);
        let two = options.method == KrylovMethod::BiCgStab;
        Ok(CycleEnd { iterations: if two { 2 * end.iterations } else { end.iterations }, ..end })
    }

    fn tolerance(&self) -> f64 {
        let usual = if T::EPSILON.f64() < 1e-10 { 1e-10 } else { 1e-5 };
        self.options.tolerance.unwrap_or(usual)
    }

    /// A row or column without an entry that is not zero.
    fn empty(&mut self) -> Option<usize> {
        let n = self.entries.pattern.nrows();
        let (rows, columns) = &mut self.seen;
        for seen in [&mut *rows, &mut *columns] {
            seen.clear();
            seen.resize(n, false);
        }
        for ((i, j), v) in self.entries.pattern.entries().zip(&self.entries.values) {
            if *v != T::ZERO {
                (rows[i], columns[j]) = (true, true);
            }
        }
        (0..n).find(|&i| !(rows[i] && columns[i]))
    }

    fn run(&mut self, b: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let Some(n) = self.n else {
            return Err(FactorError::Length { solver: self.my_name(), found: b.len(), n: 0 });
        };
        right_hand_sides(self.my_name(), n, b.len())?;
        let mut held = Held(std::mem::take(&mut self.entries));
        let done = self.solve_operator(&mut held, b, transposed);
        self.entries = held.0;
        done
    }
}

/// A square matrix known by its products, and what stands in for its inverse.
pub trait Operator<T: Scalar> {
    /// Rows and columns.
    fn n(&self) -> usize;
    /// y <- A x, or A' x with `transposed`.
    fn apply(&mut self, x: &[T], y: &mut [T], transposed: bool);
    /// z <- M^-1 z, or M^-T z with `transposed`, where M resembles A; nothing is done without one.
    fn precondition(&mut self, z: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let _ = (z, transposed);
        Ok(())
    }
}

/// A linear operator and factors beside it.
struct Both<'a, T> {
    a: &'a mut dyn LinOp<T>,
    preconditioner: Option<Box<dyn Factors<T> + Send>>,
}

impl<T: Scalar> Operator<T> for Both<'_, T> {
    fn n(&self) -> usize {
        self.a.nrows()
    }
    fn apply(&mut self, x: &[T], y: &mut [T], transposed: bool) {
        if transposed { self.a.apply_t(T::ONE, x, T::ZERO, y) } else { self.a.apply(T::ONE, x, T::ZERO, y) }
    }
    fn precondition(&mut self, z: &mut [T], transposed: bool) -> Result<(), FactorError> {
        match &mut self.preconditioner {
            Some(m) if transposed => m.solve_t(z),
            Some(m) => m.solve(z),
            None => Ok(()),
        }
    }
}

/// Entries as an operator.
struct Held<T>(Entries<T>);

impl<T: Scalar> LinOp<T> for Held<T> {
    fn nrows(&self) -> usize {
        self.0.pattern.nrows()
    }
    fn ncols(&self) -> usize {
        self.0.pattern.ncols()
    }
    fn apply(&mut self, alpha: T, x: &[T], beta: T, y: &mut [T]) {
        self.0.pattern.with_values(&self.0.values).apply(alpha, x, beta, y);
    }
    fn apply_t(&mut self, alpha: T, x: &[T], beta: T, y: &mut [T]) {
        self.0.pattern.with_values(&self.0.values).apply_t(alpha, x, beta, y);
    }
    fn as_sparse(&self) -> Option<SparseRef<'_, T>> {
        Some(self.0.pattern.with_values(&self.0.values))
    }
}

/// Sums in sixteen parts, so that they vectorize; always the same ones.
fn sums<T: Scalar>() -> Sums<T> {
    Sums { dot, norm, axpy, tiny: T::of(4.5) * T::EPSILON, again: T::of(0.5) }
}

fn dot<T: Scalar>(x: &[T], y: &[T]) -> T {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut sums = [T::ZERO; 16];
            let (x, y) = (x.chunks_exact(16), y.chunks_exact(16));
            let rest = x.remainder().iter().zip(y.remainder()).fold(T::ZERO, |s, (a, b)| s + *a * *b);
            for (x, y) in x.zip(y) {
                for l in 0..16 {
                    sums[l] += x[l] * y[l];
                }
            }
            sums.into_iter().fold(rest, |s, v| s + v)
        },
    )
}

fn axpy<T: Scalar>(alpha: T, x: &[T], y: &mut [T]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, x)| *y += alpha * *x),
    );
}

/// Euclidean; scaled where squares overflow or vanish.
fn norm<T: Scalar>(x: &[T]) -> T {
    let square = dot(x, x);
    if square.is_finite() && square > T::of(1e-30) {
        return square.sqrt();
    }
    let big = x.iter().fold(T::ZERO, |m, v| if v.is_nan() || v.abs() > m { v.abs() } else { m });
    if big == T::ZERO || !big.is_finite() {
        return big;
    }
    let sum = x.iter().fold(T::ZERO, |s, v| s + (*v / big) * (*v / big));
    big * sum.sqrt()
}

impl<T: Scalar> Factors<T> for Krylov<T> {
    fn name(&self) -> &'static str {
        self.my_name()
    }

    fn factor(&mut self, a: MatrixRef<'_, T>) -> Result<(), FactorError> {
        self.n = None;
        let solver = self.my_name();
        let n = well_formed(solver, &a)?;
        if let Some((row, column)) = a.not_finite() {
            return Err(FactorError::NotFinite { solver, row, column });
        }
        self.entries.take(solver, &a)?;
        if let Some(column) = self.empty() {
            return Err(FactorError::Singular { solver, column });
        }
        if let Some(m) = &mut self.preconditioner {
            m.factor(a)?;
        }
        self.resize(n);
        self.product_flops = 2.0 * self.entries.values.len() as f64;
        self.n = Some(n);
        Ok(())
    }

    fn solve(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, false)
    }

    fn solve_t(&mut self, b: &mut [T]) -> Result<(), FactorError> {
        self.run(b, true)
    }

    fn facts(&self) -> FactorFacts {
        let inner = self.preconditioner.as_ref().map(|m| m.facts()).unwrap_or_default();
        let n = self.n.unwrap_or(0);
        let each = self.product_flops + inner.solve_flops + 4.0 * n as f64;
        FactorFacts {
            n,
            flops: inner.flops + self.product_flops,
            solve_flops: each * self.iterations.max(1) as f64,
            fill: inner.fill.max(self.entries.values.len()),
            iterations: self.iterations,
        }
    }

    fn set_tolerance(&mut self, relative: f64) {
        self.options.tolerance = Some(relative);
    }
}
