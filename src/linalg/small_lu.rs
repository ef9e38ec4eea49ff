//! P A = L D U of small dense matrices, in place and without allocation.
//!
//! Column-major: L (unit) below the diagonal, U (unit) above it, the reciprocals of D in one more column. Solves are chains of n steps, each waiting for
//! the one before, twice; they are kept short: the unknown that comes next is updated first, in a register, the others behind it by
//! whole groups of four. With a constant n everything unrolls; longer loops are run under the widest instruction set of the machine ([`crate::simd`]).

use super::Scalar;

/// From this size on columns are subtracted in whole groups of four, which costs a copy.
const ALIGNED_ABOVE: usize = 20;

/// Rows of a stored column: n, or n rounded up to whole groups of four where loops run by fours.
#[inline(always)]
pub(crate) fn stride(n: usize) -> usize {
    if n <= 4 { n } else { n.next_multiple_of(4) }
}

/// Numbers that the factors take.
#[inline(always)]
pub(crate) fn size(n: usize) -> usize {
    (n + 1) * stride(n)
}

/// Numbers that a solve works with.
pub(crate) fn work(n: usize) -> usize {
    2 * stride(n)
}

/// y <- y - f x, by fours where the length is a multiple of four.
#[inline(always)]
fn subtract<T: Scalar>(f: T, x: &[T], y: &mut [T]) {
    let mut fours = y.chunks_exact_mut(4);
    let mut others = x.chunks_exact(4);
    for (y, x) in (&mut fours).zip(&mut others) {
        for l in 0..4 {
            y[l] -= f * x[l];
        }
    }
    for (y, x) in fours.into_remainder().iter_mut().zip(others.remainder()) {
        *y -= f * *x;
    }
}

/// Factors the n x n matrix in the first n columns of `a`, which are [`stride`] apart and padded with zeros, with [`stride`] numbers to work
/// with; an error with the column whose pivot is zero or not finite. Row i of L D U is row `rows[i]` of the matrix. Zeros are skipped: sparse
/// matrices cost less.
#[inline(always)]
pub(crate) fn factor<T: Scalar>(
    n: usize,
    a: &mut [T],
    rows: &mut [u32],
    work: &mut [T],
) -> Result<(), usize> {
    let ld = stride(n);
    let (a, inverses) = a[..size(n)].split_at_mut(n * ld);
    let (rows, work) = (&mut rows[..n], &mut work[..ld]);
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
            return Err(k);
        }
        if row != k {
            rows.swap(k, row);
            column.swap(k, row);
            before.chunks_exact_mut(ld).for_each(|c| c.swap(k, row));
            right.chunks_exact_mut(ld).for_each(|c| c.swap(k, row));
        }
        let inverse = T::ONE / column[k];
        inverses[k] = inverse;
        column[k + 1..n].iter_mut().for_each(|v| *v *= inverse);
        if n <= ALIGNED_ABOVE {
            let below = &column[k + 1..];
            for c in right.chunks_exact_mut(ld) {
                let f = c[k];
                if n <= 4 || f != T::ZERO {
                    subtract(f, below, &mut c[k + 1..]);
                }
            }
            continue;
        }
        // From a whole group of four on, with zeros for the rows that are done.
        let from = (k + 1) & !3;
        let below = &mut work[from..];
        below.copy_from_slice(&column[from..]);
        below[..k + 1 - from].fill(T::ZERO);
        for c in right.chunks_exact_mut(ld) {
            let f = c[k];
            if f != T::ZERO {
                subtract(f, below, &mut c[from..]);
            }
        }
    }
    scale_upper(n, a, inverses);
    Ok(())
}

/// U <- D^-1 U: the rows above the diagonal, whose reciprocals are `inverses`.
#[inline(always)]
pub(crate) fn scale_upper<T: Scalar>(n: usize, a: &mut [T], inverses: &[T]) {
    for (j, c) in a.chunks_exact_mut(stride(n)).enumerate() {
        c[..j].iter_mut().zip(inverses).for_each(|(u, d)| *u *= *d);
    }
}

/// x <- A^-1 b, with [`work`] numbers to work with.
#[inline(always)]
pub(crate) fn solve<T: Scalar>(n: usize, lu: &[T], rows: &[u32], b: &[T], work: &mut [T], x: &mut [T]) {
    let ld = stride(n);
    let (lu, inverses) = lu[..size(n)].split_at(n * ld);
    let (z, y) = work[..2 * ld].split_at_mut(ld);
    let (b, x) = (&b[..n], &mut x[..n]);
    for (z, &row) in z.iter_mut().zip(&rows[..n]) {
        *z = b[row as usize];
    }
    // Where rows are done already, what the groups of four change does not matter.
    let mut f = z[0];
    for (k, c) in lu.chunks_exact(ld).enumerate() {
        y[k] = f;
        if k + 1 == n {
            break;
        }
        let next = z[k + 1] - f * c[k + 1];
        let from = if n <= 4 { k + 1 } else { (k + 1) & !3 };
        subtract(f, &c[from..], &mut z[from..]);
        f = next;
    }
    y.iter_mut().zip(inverses).for_each(|(y, d)| *y *= *d);
    let mut f = y[n - 1];
    for (k, c) in lu.chunks_exact(ld).enumerate().rev() {
        x[k] = f;
        if k == 0 {
            break;
        }
        let next = y[k - 1] - f * c[k - 1];
        let to = if n <= 4 { k } else { k.next_multiple_of(4) };
        subtract(f, &c[..to], &mut y[..to]);
        f = next;
    }
}

/// x'y, in eight partial sums where that is long.
#[inline(always)]
fn dot<T: Scalar>(x: &[T], y: &[T]) -> T {
    let mut sums = [T::ZERO; 8];
    let (x, y) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest = x.remainder().iter().zip(y.remainder()).fold(T::ZERO, |s, (a, b)| s + *a * *b);
    if x.len() == 0 {
        return rest;
    }
    for (x, y) in x.zip(y) {
        for l in 0..8 {
            sums[l] += x[l] * y[l];
        }
    }
    sums.into_iter().fold(rest, |s, v| s + v)
}

/// x <- A^-T b; `b` is used up.
#[inline(always)]
pub(crate) fn solve_transposed<T: Scalar>(n: usize, lu: &[T], rows: &[u32], b: &mut [T], x: &mut [T]) {
    let ld = stride(n);
    let (lu, inverses) = lu[..size(n)].split_at(n * ld);
    let (rows, b) = (&rows[..n], &mut b[..n]);
    for (k, c) in lu.chunks_exact(ld).enumerate() {
        b[k] -= dot(&c[..k], &b[..k]);
    }
    b.iter_mut().zip(inverses).for_each(|(b, d)| *b *= *d);
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
            let mut lu = vec![0.0; size(n)];
            lu.chunks_exact_mut(ld).zip(a.chunks_exact(n)).for_each(|(l, a)| l[..n].copy_from_slice(a));
            factor(n, &mut lu, &mut rows, &mut vec![f64::NAN; ld]).unwrap();
            for transposed in [false, true] {
                let mut x = vec![0.0; n];
                if transposed {
                    solve_transposed(n, &lu, &rows, &mut b.clone(), &mut x);
                } else {
                    solve(n, &lu, &rows, &b, &mut vec![f64::NAN; work(n)], &mut x);
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
        let mut work = [0.0; 2];
        let mut ok =
            |a: [f64; 4]| factor(2, &mut [a[0], a[1], a[2], a[3], 0.0, 0.0], &mut [0; 2], &mut work).is_ok();
        assert!(!ok([1.0, 2.0, 2.0, 4.0]));
        assert!(!ok([f64::NAN, 0.0, 0.0, 1.0]));
        assert!(!ok([1.0, f64::INFINITY, 0.0, 1.0]));
        assert!(ok([0.0, 1.0, 1.0, 0.0]));
    }
}
