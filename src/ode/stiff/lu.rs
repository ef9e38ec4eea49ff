//! P W = L U of small dense matrices, in place and without allocation.
//!
//! Column-major. The strict lower part is L, the upper part U with the RECIPROCALS of its diagonal on the diagonal; rows are swapped whole.
//! With a constant n everything unrolls; from [`WIDE`] on the loops run under the widest instruction set of the machine.

use crate::linalg::Scalar;

/// From this size on, instruction-set dispatch pays.
const WIDE: usize = 8;

/// Runs `f` with the machine's vector instructions where that pays.
#[inline(always)]
pub(crate) fn wide<R>(n: usize, f: impl FnOnce() -> R) -> R {
    if n < WIDE { f() } else { pulp::Arch::new().dispatch(f) }
}

/// Rows of a stored column: n, or n rounded up to whole groups of four where loops run by fours.
#[inline(always)]
pub(crate) fn stride(n: usize) -> usize {
    if n <= 4 { n } else { n.next_multiple_of(4) }
}

/// y[from..] <- y[from..] - f x[from..], by fours from the next multiple of four on.
#[inline(always)]
fn subtract<T: Scalar>(from: usize, f: T, x: &[T], y: &mut [T]) {
    let start = from.next_multiple_of(4).min(y.len());
    for (y, x) in y[from..start].iter_mut().zip(&x[from..start]) {
        *y -= f * *x;
    }
    let mut fours = y[start..].chunks_exact_mut(4);
    let mut others = x[start..].chunks_exact(4);
    for (y, x) in (&mut fours).zip(&mut others) {
        for l in 0..4 {
            y[l] -= f * x[l];
        }
    }
    for (y, x) in fours.into_remainder().iter_mut().zip(others.remainder()) {
        *y -= f * *x;
    }
}

/// Factors the n x n matrix in `a`, columns [`stride`] apart, padded with zeros; false if a pivot is zero or not finite. Row i of L U is
/// row `rows[i]` of the matrix. Zeros are skipped: sparse matrices cost less.
#[inline(always)]
pub(crate) fn factor<T: Scalar>(n: usize, a: &mut [T], rows: &mut [u32]) -> bool {
    let ld = stride(n);
    let (a, rows) = (&mut a[..n * ld], &mut rows[..n]);
    rows.iter_mut().enumerate().for_each(|(i, r)| *r = i as u32);
    for k in 0..n {
        let (left, right) = a.split_at_mut((k + 1) * ld);
        let (before, column) = left.split_at_mut(k * ld);
        let (mut row, mut big) = (k, column[k].abs());
        for (i, v) in column[..n].iter().enumerate().skip(k + 1) {
            if v.abs() > big {
                (row, big) = (i, v.abs());
            }
        }
        if !(big > T::ZERO && big.is_finite()) {
            return false;
        }
        if row != k {
            rows.swap(k, row);
            column.swap(k, row);
            before.chunks_exact_mut(ld).for_each(|c| c.swap(k, row));
            right.chunks_exact_mut(ld).for_each(|c| c.swap(k, row));
        }
        let inverse = T::ONE / column[k];
        column[k] = inverse;
        column[k + 1..n].iter_mut().for_each(|v| *v *= inverse);
        for c in right.chunks_exact_mut(ld) {
            let f = c[k];
            if f != T::ZERO {
                subtract(k + 1, f, column, c);
            }
        }
    }
    true
}

/// x <- W^-1 b; x has room for [`stride`] numbers.
#[inline(always)]
pub(crate) fn solve<T: Scalar>(n: usize, lu: &[T], rows: &[u32], b: &[T], x: &mut [T]) {
    let ld = stride(n);
    let (lu, rows, b, x) = (&lu[..n * ld], &rows[..n], &b[..n], &mut x[..ld]);
    for (x, &row) in x.iter_mut().zip(rows) {
        *x = b[row as usize];
    }
    for (k, c) in lu.chunks_exact(ld).enumerate() {
        let f = x[k];
        subtract(k + 1, f, c, x);
    }
    for (k, c) in lu.chunks_exact(ld).enumerate().rev() {
        let f = x[k] * c[k];
        x[k] = f;
        // Whole groups of four above row k, then the rest.
        let whole = k - k % 4;
        for (x, u) in x[..whole].chunks_exact_mut(4).zip(c[..whole].chunks_exact(4)) {
            for l in 0..4 {
                x[l] -= f * u[l];
            }
        }
        for (x, u) in x[whole..k].iter_mut().zip(&c[whole..k]) {
            *x -= f * *u;
        }
    }
}

/// x <- W^-T b; `b` is used up.
#[inline(always)]
pub(crate) fn solve_transposed<T: Scalar>(n: usize, lu: &[T], rows: &[u32], b: &mut [T], x: &mut [T]) {
    let ld = stride(n);
    let (lu, rows, b) = (&lu[..n * ld], &rows[..n], &mut b[..n]);
    let dot = |x: &[T], y: &[T]| x.iter().zip(y).fold(T::ZERO, |s, (a, b)| s + *a * *b);
    for (k, c) in lu.chunks_exact(ld).enumerate() {
        b[k] = (b[k] - dot(&c[..k], &b[..k])) * c[k];
    }
    for (k, c) in lu.chunks_exact(ld).enumerate().rev() {
        b[k] -= dot(&c[k + 1..n], &b[k + 1..]);
    }
    for (b, &row) in b.iter().zip(rows) {
        x[row as usize] = *b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_transposed_solves_multiply_back() {
        for n in [1usize, 2, 3, 4, 5, 7, 8, 9, 20, 33] {
            let mut x = 0x2545_F491_4F6C_DD1Du64;
            let mut noise = || {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
            };
            let a: Vec<f64> = (0..n * n).map(|_| noise()).collect();
            let b: Vec<f64> = (0..n).map(|_| noise()).collect();
            let (ld, mut rows) = (stride(n), vec![0; n]);
            let mut lu = vec![0.0; n * ld];
            lu.chunks_exact_mut(ld).zip(a.chunks_exact(n)).for_each(|(l, a)| l[..n].copy_from_slice(a));
            assert!(factor(n, &mut lu, &mut rows));
            for transposed in [false, true] {
                let mut x = vec![0.0; ld];
                if transposed {
                    solve_transposed(n, &lu, &rows, &mut b.clone(), &mut x);
                } else {
                    solve(n, &lu, &rows, &b, &mut x);
                }
                let size = x.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                for i in 0..n {
                    let at = |j: usize| if transposed { a[i * n + j] } else { a[j * n + i] };
                    let sum: f64 = (0..n).map(|j| at(j) * x[j]).sum();
                    assert!((sum - b[i]).abs() < 1e-14 * n as f64 * size, "n {n} row {i}: {sum} {}", b[i]);
                }
            }
        }
    }

    #[test]
    fn singular_and_not_finite_matrices_are_refused() {
        let mut rows = [0; 2];
        assert!(!factor(2, &mut [1.0, 2.0, 2.0, 4.0], &mut rows));
        assert!(!factor(2, &mut [f64::NAN, 0.0, 0.0, 1.0], &mut rows));
        assert!(!factor(2, &mut [1.0, f64::INFINITY, 0.0, 1.0], &mut rows));
        assert!(factor(2, &mut [0.0, 1.0, 1.0, 0.0], &mut rows));
    }
}
