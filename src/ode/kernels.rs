//! Loops over the state: stage combinations and scaled norms.
//!
//! The number of terms is a compile-time constant behind one `match`, so the inner loop is free of indices. Long vectors run under the widest
//! instruction set of the machine (pulp); no fused multiply-add is used, so elementwise results do not depend on it. Sums do not either:
//! they always use eight partial sums.

use crate::linalg::Scalar;

/// From this length on, instruction-set dispatch pays.
const LONG: usize = 128;
/// Most terms of a combination.
pub(crate) const MAX_TERMS: usize = 16;

/// A sparse row of a tableau: sum_j w_j k_{idx_j}.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row<T> {
    pub idx: Vec<usize>,
    pub w: Vec<T>,
    /// All weights up to the last one that is not zero, for short vectors.
    pub dense: Vec<T>,
}

impl<T: Scalar> Row<T> {
    pub fn new(dense: &[f64]) -> Self {
        let idx: Vec<usize> = (0..dense.len()).filter(|&j| dense[j] != 0.0).collect();
        let w = idx.iter().map(|&j| T::of(dense[j])).collect();
        let dense = dense[..idx.last().map_or(0, |i| i + 1)].iter().map(|&w| T::of(w)).collect();
        Self { idx, w, dense }
    }
}

/// Runs `f` with the machine's vector instructions if the vectors are long.
#[inline(always)]
pub(crate) fn vectorized<R>(n: usize, f: impl FnOnce() -> R) -> R {
    if n < LONG { f() } else { pulp::Arch::new().dispatch(f) }
}

macro_rules! by_terms {
    ($terms:expr, $f:ident, $($arg:expr),*) => {
        match $terms {
            0 => $f::<T, 0>($($arg),*), 1 => $f::<T, 1>($($arg),*), 2 => $f::<T, 2>($($arg),*), 3 => $f::<T, 3>($($arg),*),
            4 => $f::<T, 4>($($arg),*), 5 => $f::<T, 5>($($arg),*), 6 => $f::<T, 6>($($arg),*), 7 => $f::<T, 7>($($arg),*),
            8 => $f::<T, 8>($($arg),*), 9 => $f::<T, 9>($($arg),*), 10 => $f::<T, 10>($($arg),*), 11 => $f::<T, 11>($($arg),*),
            12 => $f::<T, 12>($($arg),*), 13 => $f::<T, 13>($($arg),*), 14 => $f::<T, 14>($($arg),*), 15 => $f::<T, 15>($($arg),*),
            _ => $f::<T, MAX_TERMS>($($arg),*),
        }
    };
}

/// out <- y + h sum_j w_j k_j, with stage j of `k` at j n.
#[inline]
pub(crate) fn combine<T: Scalar>(out: &mut [T], y: &[T], h: T, row: &Row<T>, k: &[T]) {
    match out.len() {
        1 => return combine_short::<T, 1>(out, y, h, row, k),
        2 => return combine_short::<T, 2>(out, y, h, row, k),
        3 => return combine_short::<T, 3>(out, y, h, row, k),
        4 => return combine_short::<T, 4>(out, y, h, row, k),
        _ => {}
    }
    by_terms!(row.idx.len(), combine_n, out, y, h, row, k)
}

/// sum_j w_j k_j for a state of N numbers, in two interleaved sums: no index is looked up and no short loop is entered.
#[inline(always)]
pub(crate) fn sum_short<T: Scalar, const N: usize>(row: &Row<T>, k: &[T]) -> [T; N] {
    let (mut a, mut b) = ([T::ZERO; N], [T::ZERO; N]);
    let (pairs, odd) = (row.dense.chunks_exact(2), row.dense.len() % 2 == 1);
    for (w, k) in pairs.zip(k.chunks_exact(2 * N)) {
        for i in 0..N {
            a[i] += w[0] * k[i];
            b[i] += w[1] * k[N + i];
        }
    }
    if odd {
        let j = row.dense.len() - 1;
        let k = &k[j * N..][..N];
        for i in 0..N {
            a[i] += row.dense[j] * k[i];
        }
    }
    std::array::from_fn(|i| a[i] + b[i])
}

#[inline(always)]
fn combine_short<T: Scalar, const N: usize>(out: &mut [T], y: &[T], h: T, row: &Row<T>, k: &[T]) {
    let s = sum_short::<T, N>(row, k);
    let (out, y) = (&mut out[..N], &y[..N]);
    for i in 0..N {
        out[i] = y[i] + h * s[i];
    }
}

#[inline(always)]
fn terms<'a, T: Scalar, const K: usize>(h: T, row: &Row<T>, k: &'a [T], n: usize) -> ([&'a [T]; K], [T; K]) {
    let (idx, w) = (&row.idx[..K], &row.w[..K]);
    (std::array::from_fn(|j| &k[idx[j] * n..][..n]), std::array::from_fn(|j| h * w[j]))
}

#[inline(always)]
fn combine_n<T: Scalar, const K: usize>(out: &mut [T], y: &[T], h: T, row: &Row<T>, k: &[T]) {
    let n = out.len();
    let (ks, w) = terms::<T, K>(h, row, k, n);
    let y = &y[..n];
    vectorized(
        n,
        #[inline(always)]
        || {
            for i in 0..n {
                let mut s = y[i];
                for j in 0..K {
                    s += w[j] * ks[j][i];
                }
                out[i] = s;
            }
        },
    );
}

/// u <- h sum_j w_j k_j.
#[inline]
pub(crate) fn combine_zero<T: Scalar>(out: &mut [T], h: T, row: &Row<T>, k: &[T]) {
    by_terms!(row.idx.len(), combine_zero_n, out, h, row, k)
}

#[inline(always)]
fn combine_zero_n<T: Scalar, const K: usize>(out: &mut [T], h: T, row: &Row<T>, k: &[T]) {
    let n = out.len();
    let (ks, w) = terms::<T, K>(h, row, k, n);
    vectorized(
        n,
        #[inline(always)]
        || {
            for i in 0..n {
                let mut s = T::ZERO;
                for j in 0..K {
                    s += w[j] * ks[j][i];
                }
                out[i] = s;
            }
        },
    );
}

/// y <- y + a x.
#[inline]
pub(crate) fn add_scaled<T: Scalar>(y: &mut [T], a: T, x: &[T]) {
    let n = y.len();
    let x = &x[..n];
    vectorized(
        n,
        #[inline(always)]
        || {
            for i in 0..n {
                y[i] += a * x[i];
            }
        },
    );
}

/// The scale of a component: atol + rtol max(|y0|, |y1|), with one tolerance or one per component.
#[derive(Debug, Clone)]
pub(crate) enum Scale<T> {
    One { atol: T, rtol: T },
    Each { atol: Vec<T>, rtol: Vec<T> },
}

/// How component errors make one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// Root of the mean square over the whole batch.
    #[default]
    Rms,
    /// Largest component.
    Max,
}

/// Reduces v_i = x(i) / scale_i over the components: (sum of squares or maximum). NaN and infinity propagate, also those of y1.
#[inline(always)]
fn reduce<T: Scalar>(n: usize, norm: Norm, v: impl Fn(usize) -> T) -> T {
    let mut acc = [T::ZERO; 8];
    let main = n - n % 8;
    match norm {
        Norm::Rms => {
            for i0 in (0..main).step_by(8) {
                for (l, a) in acc.iter_mut().enumerate() {
                    let x = v(i0 + l);
                    *a += x * x;
                }
            }
            for i in main..n {
                let x = v(i);
                acc[i - main] += x * x;
            }
            (acc[0] + acc[4]) + (acc[1] + acc[5]) + ((acc[2] + acc[6]) + (acc[3] + acc[7]))
        }
        Norm::Max => {
            let mut big = T::ZERO;
            for i in 0..n {
                let x = v(i).abs();
                if x > big {
                    big = x;
                } else if x.is_nan() {
                    return x;
                }
            }
            big
        }
    }
}

/// Norm of h sum_j w_j k_j relative to the scale at (y0, y1).
#[inline]
pub(crate) fn error_norm<T: Scalar>(
    norm: Norm,
    scale: &Scale<T>,
    y0: &[T],
    y1: &[T],
    h: T,
    row: &Row<T>,
    k: &[T],
) -> T {
    match y0.len() {
        1 => return error_norm_short::<T, 1>(norm, scale, y0, y1, h, row, k),
        2 => return error_norm_short::<T, 2>(norm, scale, y0, y1, h, row, k),
        3 => return error_norm_short::<T, 3>(norm, scale, y0, y1, h, row, k),
        4 => return error_norm_short::<T, 4>(norm, scale, y0, y1, h, row, k),
        _ => {}
    }
    by_terms!(row.idx.len(), error_norm_n, norm, scale, y0, y1, h, row, k)
}

#[inline(always)]
fn error_norm_short<T: Scalar, const N: usize>(
    norm: Norm,
    scale: &Scale<T>,
    y0: &[T],
    y1: &[T],
    h: T,
    row: &Row<T>,
    k: &[T],
) -> T {
    let s = sum_short::<T, N>(row, k);
    let sum = scaled(norm, scale, &y0[..N], &y1[..N], |i| h * s[i]);
    finish(norm, sum, N)
}

#[inline(always)]
fn error_norm_n<T: Scalar, const K: usize>(
    norm: Norm,
    scale: &Scale<T>,
    y0: &[T],
    y1: &[T],
    h: T,
    row: &Row<T>,
    k: &[T],
) -> T {
    let n = y0.len();
    let y1 = &y1[..n];
    let (ks, w) = terms::<T, K>(h, row, k, n);
    let u = |i: usize| {
        let mut s = T::ZERO;
        for j in 0..K {
            s += w[j] * ks[j][i];
        }
        s
    };
    let sum = vectorized(
        n,
        #[inline(always)]
        || scaled(norm, scale, y0, y1, u),
    );
    finish(norm, sum, n)
}

/// Norm of x relative to the scale at (y0, y1).
pub(crate) fn scaled_norm<T: Scalar>(norm: Norm, scale: &Scale<T>, y0: &[T], y1: &[T], x: &[T]) -> T {
    let n = y0.len();
    let (y1, x) = (&y1[..n], &x[..n]);
    finish(
        norm,
        vectorized(
            n,
            #[inline(always)]
            || scaled(norm, scale, y0, y1, |i| x[i]),
        ),
        n,
    )
}

#[inline(always)]
fn scaled<T: Scalar>(norm: Norm, scale: &Scale<T>, y0: &[T], y1: &[T], u: impl Fn(usize) -> T) -> T {
    let n = y0.len();
    let larger = |i: usize| {
        let (a, b) = (y0[i].abs(), y1[i].abs());
        if a > b { a } else { b }
    };
    // 0 y1 is zero unless y1 overflowed, which must not pass as a tiny relative error.
    match scale {
        Scale::One { atol, rtol } => {
            reduce(n, norm, |i| u(i) / (*atol + *rtol * larger(i)) + T::ZERO * y1[i])
        }
        Scale::Each { atol, rtol } => {
            let (atol, rtol) = (&atol[..n], &rtol[..n]);
            reduce(n, norm, |i| u(i) / (atol[i] + rtol[i] * larger(i)) + T::ZERO * y1[i])
        }
    }
}

#[inline(always)]
fn finish<T: Scalar>(norm: Norm, sum: T, n: usize) -> T {
    match norm {
        Norm::Rms => (sum / T::of(n as f64)).sqrt(),
        Norm::Max => sum,
    }
}

/// Sum of squares of (a_i - b_i).
pub(crate) fn distance2<T: Scalar>(a: &[T], b: &[T]) -> T {
    let n = a.len();
    let b = &b[..n];
    vectorized(
        n,
        #[inline(always)]
        || reduce(n, Norm::Rms, |i| a[i] - b[i]),
    )
}

/// Whether every entry is finite.
pub(crate) fn all_finite<T: Scalar>(x: &[T]) -> bool {
    vectorized(
        x.len(),
        #[inline(always)]
        || reduce(x.len(), Norm::Rms, |i| T::ZERO * x[i]),
    ) == T::ZERO
}
