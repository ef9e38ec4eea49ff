//! LU of a dense matrix.

use super::faer::{DenseBackend, dense};
use super::{FactorError, FactorFacts, Factors, reason, refill, right_hand_sides, well_formed};
use crate::linalg::{MatrixRef, Scalar, small_lu};
use crate::simd::vectorized;

const NAME: &str = "dense LU";

/// From about this size on faer's blocked elimination is faster (`cargo bench --bench factors`); its solves are not.
const BLOCKED_ABOVE: usize = 30;

/// Share of the multiplications that the zeros of a matrix leave, below which own kernels, which pass over them, take less time than faer's on everything.
const OWN_BELOW: f64 = 0.25;

/// P A = L D U with partial pivoting, n^2 numbers.
///
/// Small matrices are eliminated by own kernels, unrolled up to four unknowns, and so are larger ones of which zeros leave less than a quarter of the work: bands,
/// arrows. The others go to faer's blocked kernels in one thread; solves are always own. Nothing is allocated after the first factorization of a size.
pub struct DenseLu<T> {
    /// Unknowns of the factored matrix.
    n: Option<usize>,
    lu: Vec<T>,
    rows: Vec<u32>,
    work: Vec<T>,
    backend: Option<Box<dyn DenseBackend<T> + Send>>,
    blocked_above: usize,
    /// Share of the work below which zeros are passed over.
    own_below: f64,
}

impl<T: Scalar> Default for DenseLu<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Scalar> DenseLu<T> {
    /// Nothing is factored yet.
    pub fn new() -> Self {
        Self::blocked_above(BLOCKED_ABOVE)
    }

    /// With another size from which on faer's kernels are used.
    pub fn blocked_above(size: usize) -> Self {
        Self {
            n: None,
            lu: Vec::new(),
            rows: Vec::new(),
            work: Vec::new(),
            backend: None,
            blocked_above: size,
            own_below: OWN_BELOW,
        }
    }

    /// With faer's kernels on every matrix, however many of its entries are zero.
    pub fn always_blocked() -> Self {
        Self { own_below: 0.0, ..Self::blocked_above(0) }
    }

    fn fill(&mut self, n: usize, a: &MatrixRef<'_, T>) -> Result<(), FactorError> {
        let ld = small_lu::stride(n);
        let numbers =
            ld.checked_mul(n + 1).ok_or(FactorError::Memory { solver: NAME, numbers: usize::MAX })?;
        if u32::try_from(n).is_err() {
            return Err(FactorError::Memory { solver: NAME, numbers });
        }
        refill(NAME, &mut self.rows, n, 0)?;
        refill(NAME, &mut self.work, small_lu::stride(n) + small_lu::work(n), T::ZERO)?;
        refill(NAME, &mut self.lu, numbers, T::ZERO)?;
        match a {
            MatrixRef::Dense { values, .. } if n > 0 => {
                let columns = self.lu.chunks_exact_mut(ld).zip(values.chunks_exact(n));
                columns.for_each(|(l, a)| l[..n].copy_from_slice(a));
            }
            _ => a.for_each(|i, j, v| self.lu[j * ld + i] += v),
        }
        Ok(())
    }

    /// Multiplications of own kernels, which pass over zeros of U, as a share of n^3 / 3: column c is changed from the row of its first entry on. Exchanges of rows, which may bring
    /// entries further up, are left aside.
    fn share(&self, n: usize) -> f64 {
        let ld = small_lu::stride(n);
        let column = |(c, column): (usize, &[T])| {
            let first = column[..c].iter().position(|v| *v != T::ZERO).unwrap_or(c);
            let (from, to) = ((n - first) as f64, (n - c) as f64);
            0.5 * (from * from - to * to)
        };
        let all: f64 = self.lu.chunks_exact(ld.max(1)).take(n).enumerate().map(column).sum();
        3.0 * all / (n as f64).powi(3)
    }

    fn factor_small(&mut self, n: usize) -> Result<(), usize> {
        let (lu, rows, work) = (&mut self.lu, &mut self.rows, &mut self.work);
        match n {
            0 => Ok(()),
            1 => small_lu::factor(1, lu, rows, work),
            2 => small_lu::factor(2, lu, rows, work),
            3 => small_lu::factor(3, lu, rows, work),
            4 => small_lu::factor(4, lu, rows, work),
            _ => vectorized(
                n,
                #[inline(always)]
                || small_lu::factor(n, lu, rows, work),
            ),
        }
    }

    /// faer's elimination, brought into the form of `small_lu`.
    fn factor_blocked(
        n: usize,
        backend: &mut dyn DenseBackend<T>,
        lu: &mut [T],
        rows: &mut [u32],
    ) -> Result<(), usize> {
        // NaN does not reach faer's search for pivots.
        if !all_finite(lu) {
            return Err(0);
        }
        let ld = small_lu::stride(n);
        let (lu, inverses) = lu.split_at_mut(n * ld);
        backend.factor(n, ld, lu, rows);
        for k in 0..n {
            let d = lu[k * (ld + 1)];
            if !(d.abs() > T::ZERO && d.is_finite()) {
                return Err(k);
            }
            inverses[k] = T::ONE / d;
        }
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || small_lu::scale_upper(n, lu, inverses),
        );
        Ok(())
    }

    fn solve_all(&mut self, n: usize, b: &mut [T], transposed: bool) {
        let (lu, rows) = (&self.lu[..], &self.rows[..]);
        let (x, work) = self.work.split_at_mut(small_lu::stride(n));
        for b in b.chunks_exact_mut(n) {
            match n {
                1 => solve_one(1, lu, rows, b, work, x, transposed),
                2 => solve_one(2, lu, rows, b, work, x, transposed),
                3 => solve_one(3, lu, rows, b, work, x, transposed),
                4 => solve_one(4, lu, rows, b, work, x, transposed),
                _ => vectorized(
                    n,
                    #[inline(always)]
                    || solve_one(n, lu, rows, b, work, x, transposed),
                ),
            }
        }
    }

    fn run(&mut self, b: &mut [T], transposed: bool) -> Result<(), FactorError> {
        let Some(n) = self.n else {
            return Err(FactorError::Length { solver: NAME, found: b.len(), n: 0 });
        };
        if right_hand_sides(NAME, n, b.len())? > 0 {
            self.solve_all(n, b, transposed);
        }
        Ok(())
    }
}

/// b <- A^-1 b or A^-T b with own kernels.
#[inline(always)]
fn solve_one<T: Scalar>(
    n: usize,
    lu: &[T],
    rows: &[u32],
    b: &mut [T],
    work: &mut [T],
    x: &mut [T],
    transposed: bool,
) {
    if transposed {
        small_lu::solve_transposed(n, lu, rows, b, x);
    } else {
        small_lu::solve(n, lu, rows, b, work, x);
    }
    b.copy_from_slice(&x[..n]);
}

/// No NaN and no infinity, in a pass that vectorizes.
fn all_finite<T: Scalar>(x: &[T]) -> bool {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            // 0 x is 0 or NaN.
            let mut sums = [T::ZERO; 16];
            let (blocks, rest) = (x.chunks_exact(16), x.chunks_exact(16).remainder());
            for block in blocks {
                for l in 0..16 {
                    sums[l] += T::ZERO * block[l];
                }
            }
            let sum = sums.into_iter().fold(T::ZERO, |s, v| s + v);
            rest.iter().fold(sum, |s, v| s + T::ZERO * *v) == T::ZERO
        },
    )
}

impl<T: Scalar> Factors<T> for DenseLu<T> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn factor(&mut self, a: MatrixRef<'_, T>) -> Result<(), FactorError> {
        self.n = None;
        let n = well_formed(NAME, &a)?;
        if n > self.blocked_above && self.backend.is_none() {
            self.backend = dense();
        }
        self.fill(n, &a)?;
        let blocked = n > self.blocked_above && self.share(n) >= self.own_below;
        let done = match &mut self.backend {
            Some(backend) if blocked => {
                Self::factor_blocked(n, backend.as_mut(), &mut self.lu, &mut self.rows)
            }
            _ => self.factor_small(n),
        };
        done.map_err(|column| reason(NAME, &a, FactorError::Singular { solver: NAME, column }))?;
        if !all_finite(&self.lu) {
            return Err(reason(NAME, &a, FactorError::Overflow { solver: NAME }));
        }
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
        let n = self.n.unwrap_or(0);
        let x = n as f64;
        FactorFacts { n, flops: 2.0 / 3.0 * x * x * x, solve_flops: 2.0 * x * x, fill: n * n, iterations: 0 }
    }
}
