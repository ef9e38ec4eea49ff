//! LU of narrow bands, K diagonals on each side: the rows that elimination works on stay in registers.
//!
//! The active window is K + 1 rows of V + 1 columns, V = 2 K; its first row becomes a row of U, the others move up and left while they are
//! updated. Partial pivoting takes the pivot from the window. Stored per column j, each in its own array: the K multipliers as they were
//! applied (exchanges are done again in solves, as in LAPACK's gbtrf), the exchange, 1/d and the V entries of the unit row of U.

use crate::linalg::{BandRef, Scalar};

/// The factors; what is borrowed has n times the numbers of one column.
pub(super) struct Parts<'a, T> {
    pub lower: &'a mut [T],
    pub upper: &'a mut [T],
    pub inverses: &'a mut [T],
    pub exchanges: &'a mut [u32],
}

/// Row i of the band from column i - K on; zeros where the matrix has none.
#[inline(always)]
fn load<T: Scalar, const K: usize, const V1: usize>(a: &BandRef<'_, T>, i: usize) -> [T; V1] {
    let mut row = [T::ZERO; V1];
    if i >= a.n {
        return row;
    }
    if a.lower == K && a.upper == K && i >= K && i + K < a.n {
        // Entry (i, i - K + c) is 2 K places further on with each column.
        let from = a.position(i, i - K);
        let values = &a.values[from..from + (V1 - 1) * 2 * K + 1];
        for (c, v) in row.iter_mut().enumerate() {
            *v = values[c * 2 * K];
        }
        return row;
    }
    for (c, v) in row.iter_mut().enumerate() {
        if let Some(j) = (i + c).checked_sub(K)
            && j < a.n
            && i <= j + a.lower
            && j <= i + a.upper
        {
            *v = a.values[a.position(i, j)];
        }
    }
    row
}

/// Factors; the column without a pivot is the error. True: all factors are finite.
///
/// K diagonals on each side, K1 = K + 1, V = 2 K, V1 = V + 1.
#[inline(always)]
pub(super) fn factor<T: Scalar, const K: usize, const K1: usize, const V: usize, const V1: usize>(
    a: &BandRef<'_, T>,
    parts: Parts<'_, T>,
) -> Result<bool, usize> {
    let mut window = [[T::ZERO; V1]; K1];
    for (i, row) in window.iter_mut().enumerate() {
        // Row i from column 0 on.
        let full = load::<T, K, V1>(a, i);
        row[..V1 - K + i].copy_from_slice(&full[K - i..]);
    }
    let mut not_finite = [T::ZERO; V];
    let columns = parts.lower.chunks_exact_mut(K).zip(parts.upper.chunks_exact_mut(V));
    let columns = columns.zip(parts.inverses).zip(parts.exchanges);
    for (j, (((l, u), inverse), exchange)) in columns.enumerate() {
        let (mut p, mut big) = (0, window[0][0].abs());
        // By index: as an iterator it takes a fifth longer.
        #[allow(clippy::needless_range_loop)]
        for k in 1..K1 {
            let v = window[k][0].abs();
            if v > big {
                (p, big) = (k, v);
            }
        }
        if p != 0 {
            for k in 1..K1 {
                if k == p {
                    window.swap(0, k);
                }
            }
        }
        if !(big > T::ZERO && big.is_finite()) {
            return Err(j);
        }
        let pivot = window[0];
        let d = T::ONE / pivot[0];
        (*inverse, *exchange) = (d, p as u32);
        for c in 0..V {
            u[c] = pivot[c + 1] * d;
            not_finite[c] += T::ZERO * u[c];
        }
        for k in 1..K1 {
            let f = window[k][0] * d;
            l[k - 1] = f;
            for c in 0..V {
                window[k - 1][c] = window[k][c + 1] - f * pivot[c + 1];
            }
            window[k - 1][V] = T::ZERO;
        }
        window[K] = load::<T, K, V1>(a, j + K1);
    }
    Ok(not_finite.into_iter().fold(T::ZERO, |s, v| s + v) == T::ZERO)
}

/// Value `b[j]` of R right-hand sides, n apart.
#[inline(always)]
fn get<T: Scalar, const R: usize>(b: &[T], n: usize, j: usize) -> [T; R] {
    let mut x = [T::ZERO; R];
    if j < n {
        for (r, x) in x.iter_mut().enumerate() {
            *x = b[r * n + j];
        }
    }
    x
}

#[inline(always)]
fn put<T: Scalar, const R: usize>(b: &mut [T], n: usize, j: usize, x: [T; R]) {
    for (r, x) in x.into_iter().enumerate() {
        b[r * n + j] = x;
    }
}

/// The newest in front, the oldest is forgotten.
#[inline(always)]
fn push<V: Copy, const N: usize>(behind: &mut [V; N], newest: V) {
    for c in (1..N).rev() {
        behind[c] = behind[c - 1];
    }
    behind[0] = newest;
}

#[inline(always)]
fn subtract<T: Scalar, const R: usize>(y: &mut [T; R], f: T, x: [T; R]) {
    for r in 0..R {
        y[r] -= f * x[r];
    }
}

/// b <- A^-1 b for R right-hand sides, one after the other.
#[inline(always)]
pub(super) fn solve<T: Scalar, const K: usize, const K1: usize, const V: usize, const R: usize>(
    n: usize,
    lower: &[T],
    upper: &[T],
    inverses: &[T],
    exchanges: &[u32],
    b: &mut [T],
) {
    let mut window = [[T::ZERO; R]; K1];
    for (i, w) in window.iter_mut().enumerate() {
        *w = get(b, n, i);
    }
    let columns = lower.chunks_exact(K).zip(inverses).zip(exchanges);
    for (j, ((l, &d), &p)) in columns.enumerate() {
        if p != 0 {
            for k in 1..K1 {
                if k == p as usize {
                    window.swap(0, k);
                }
            }
        }
        let x = window[0];
        for k in 1..K1 {
            window[k - 1] = window[k];
            subtract(&mut window[k - 1], l[k - 1], x);
        }
        window[K] = get(b, n, j + K1);
        put(b, n, j, x.map(|x| x * d));
    }
    let mut behind = [[T::ZERO; R]; V];
    for (j, u) in upper.chunks_exact(V).enumerate().rev() {
        let mut x: [T; R] = get(b, n, j);
        // The newest last: the others do not wait for it.
        for c in (0..V).rev() {
            subtract(&mut x, u[c], behind[c]);
        }
        push(&mut behind, x);
        put(b, n, j, x);
    }
}

/// b <- A^-T b for R right-hand sides, one after the other.
#[inline(always)]
pub(super) fn solve_t<T: Scalar, const K: usize, const K1: usize, const V: usize, const R: usize>(
    n: usize,
    lower: &[T],
    upper: &[T],
    inverses: &[T],
    exchanges: &[u32],
    b: &mut [T],
) {
    // What the rows of U before have left to subtract from the next V unknowns.
    let mut ahead = [[T::ZERO; R]; V];
    for (j, (u, &d)) in upper.chunks_exact(V).zip(inverses).enumerate() {
        let mut x: [T; R] = get(b, n, j);
        for r in 0..R {
            x[r] -= ahead[0][r];
        }
        for c in 0..V {
            let mut sum = if c + 1 < V { ahead[c + 1] } else { [T::ZERO; R] };
            for r in 0..R {
                sum[r] += u[c] * x[r];
            }
            ahead[c] = sum;
        }
        put(b, n, j, x.map(|x| x * d));
    }
    let mut behind = [[T::ZERO; R]; K];
    for (j, (l, &p)) in lower.chunks_exact(K).zip(exchanges).enumerate().rev() {
        let mut x: [T; R] = get(b, n, j);
        for k in (0..K).rev() {
            subtract(&mut x, l[k], behind[k]);
        }
        if p != 0 {
            for k in 1..K1 {
                if k == p as usize {
                    std::mem::swap(&mut x, &mut behind[k - 1]);
                }
            }
        }
        // The unknown that leaves the window may have been exchanged.
        if j + K < n {
            put(b, n, j + K, behind[K - 1]);
        }
        push(&mut behind, x);
    }
    for (k, x) in behind.into_iter().enumerate().take(n) {
        put(b, n, k, x);
    }
}
