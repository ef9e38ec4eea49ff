//! P W = L U of small dense matrices, in place and without allocation.
//!
//! Column-major. The strict lower part is L, the upper part U with the RECIPROCALS of its diagonal on the diagonal; rows are swapped whole, as in
//! LAPACK, so all swaps come first in a solve. With a constant n everything unrolls; from [`WIDE`] on the loops run under the widest
//! instruction set of the machine.

use crate::linalg::Scalar;

/// From this size on, instruction-set dispatch pays.
const WIDE: usize = 8;

/// Runs `f` with the machine's vector instructions where that pays.
#[inline(always)]
pub(crate) fn wide<R>(n: usize, f: impl FnOnce() -> R) -> R {
    if n < WIDE { f() } else { pulp::Arch::new().dispatch(f) }
}

/// Factors the n x n matrix in `a`; false if a pivot is zero or not finite.
#[inline(always)]
pub(crate) fn factor<T: Scalar>(n: usize, a: &mut [T], swaps: &mut [u32]) -> bool {
    let (a, swaps) = (&mut a[..n * n], &mut swaps[..n]);
    for k in 0..n {
        let (left, right) = a.split_at_mut((k + 1) * n);
        let (before, column) = left.split_at_mut(k * n);
        let (mut row, mut big) = (k, column[k].abs());
        for (i, v) in column.iter().enumerate().skip(k + 1) {
            if v.abs() > big {
                (row, big) = (i, v.abs());
            }
        }
        if !(big > T::ZERO && big.is_finite()) {
            return false;
        }
        swaps[k] = row as u32;
        if row != k {
            column.swap(k, row);
            before.chunks_exact_mut(n).for_each(|c| c.swap(k, row));
            right.chunks_exact_mut(n).for_each(|c| c.swap(k, row));
        }
        let inverse = T::ONE / column[k];
        column[k] = inverse;
        let l = &mut column[k + 1..];
        l.iter_mut().for_each(|v| *v *= inverse);
        for c in right.chunks_exact_mut(n) {
            let f = c[k];
            for (v, l) in c[k + 1..].iter_mut().zip(&*l) {
                *v -= f * *l;
            }
        }
    }
    true
}

/// b <- W^-1 b.
#[inline(always)]
pub(crate) fn solve<T: Scalar>(n: usize, lu: &[T], swaps: &[u32], b: &mut [T]) {
    let (lu, swaps, b) = (&lu[..n * n], &swaps[..n], &mut b[..n]);
    for (k, &row) in swaps.iter().enumerate() {
        b.swap(k, row as usize);
    }
    for (k, c) in lu.chunks_exact(n).enumerate() {
        let x = b[k];
        for (v, l) in b[k + 1..].iter_mut().zip(&c[k + 1..]) {
            *v -= x * *l;
        }
    }
    for (k, c) in lu.chunks_exact(n).enumerate().rev() {
        let x = b[k] * c[k];
        b[k] = x;
        for (v, u) in b[..k].iter_mut().zip(&c[..k]) {
            *v -= x * *u;
        }
    }
}

/// b <- W^-T b.
#[inline(always)]
pub(crate) fn solve_transposed<T: Scalar>(n: usize, lu: &[T], swaps: &[u32], b: &mut [T]) {
    let (lu, swaps, b) = (&lu[..n * n], &swaps[..n], &mut b[..n]);
    let dot = |x: &[T], y: &[T]| x.iter().zip(y).fold(T::ZERO, |s, (a, b)| s + *a * *b);
    for (k, c) in lu.chunks_exact(n).enumerate() {
        b[k] = (b[k] - dot(&c[..k], &b[..k])) * c[k];
    }
    for (k, c) in lu.chunks_exact(n).enumerate().rev() {
        b[k] = b[k] - dot(&c[k + 1..], &b[k + 1..]);
    }
    for (k, &row) in swaps.iter().enumerate().rev() {
        b.swap(k, row as usize);
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
            let (mut lu, mut swaps) = (a.clone(), vec![0; n]);
            assert!(factor(n, &mut lu, &mut swaps));
            for transposed in [false, true] {
                let mut x = b.clone();
                if transposed {
                    solve_transposed(n, &lu, &swaps, &mut x);
                } else {
                    solve(n, &lu, &swaps, &mut x);
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
        let mut swaps = [0; 2];
        assert!(!factor(2, &mut [1.0, 2.0, 2.0, 4.0], &mut swaps));
        assert!(!factor(2, &mut [f64::NAN, 0.0, 0.0, 1.0], &mut swaps));
        assert!(!factor(2, &mut [1.0, f64::INFINITY, 0.0, 1.0], &mut swaps));
        assert!(factor(2, &mut [0.0, 1.0, 1.0, 0.0], &mut swaps));
    }
}
