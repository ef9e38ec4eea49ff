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

/// Sparse rows of weights, in three pieces of storage however many they are: making a method is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Rows<T> {
    idx: Vec<u8>,
    w: Vec<T>,
    /// End of each row in `idx` and `w`.
    ends: Vec<u16>,
}

/// sum_j w_j k_j over the terms that are not zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a, T> {
    idx: &'a [u8],
    w: &'a [T],
}

impl<T: Scalar> Rows<T> {
    pub fn new<R: AsRef<[f64]>>(rows: &[R]) -> Self {
        Self::chained::<R, R>(rows, &[])
    }
    /// The rows of both lists.
    pub fn chained<R: AsRef<[f64]>, Q: AsRef<[f64]>>(rows: &[R], more: &[Q]) -> Self {
        let lists = || rows.iter().map(|r| r.as_ref()).chain(more.iter().map(|r| r.as_ref()));
        let all = lists().flatten().filter(|x| **x != 0.0).count();
        let (mut idx, mut w, mut ends) =
            (vec![0; all + 1], vec![T::ZERO; all + 1], Vec::with_capacity(rows.len() + more.len()));
        let mut terms = 0;
        for row in lists() {
            // Every entry is written, and kept if it is not zero: no branch to mispredict.
            for (j, &x) in row.iter().enumerate() {
                (idx[terms], w[terms]) = (j as u8, T::of(x));
                terms += (x != 0.0) as usize;
            }
            ends.push(terms as u16);
        }
        Self { idx, w, ends }
    }
    #[inline(always)]
    pub fn row(&self, i: usize) -> Row<'_, T> {
        let (from, to) = (if i == 0 { 0 } else { self.ends[i - 1] as usize }, self.ends[i] as usize);
        Row { idx: &self.idx[from..to], w: &self.w[from..to] }
    }
}

impl<T: Scalar> Row<'_, T> {
    /// (j, w_j).
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = (usize, T)> + '_ {
        self.idx.iter().zip(self.w).map(|(&j, &w)| (j as usize, w))
    }
}

/// Runs `f` with the machine's vector instructions if the vectors are long.
#[inline(always)]
pub(crate) fn vectorized<R>(n: usize, f: impl FnOnce() -> R) -> R {
    if n < LONG { f() } else { pulp::Arch::new().dispatch(f) }
}

/// Runs `f` with the machine's vector instructions.
#[inline(always)]
pub(crate) fn any_length<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
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
pub(crate) fn combine<T: Scalar>(out: &mut [T], y: &[T], h: T, row: Row<T>, k: &[T]) {
    match out.len() {
        1 => return combine_short::<T, 1>(out, y, h, row, k),
        2 => return combine_short::<T, 2>(out, y, h, row, k),
        3 => return combine_short::<T, 3>(out, y, h, row, k),
        4 => return combine_short::<T, 4>(out, y, h, row, k),
        _ => {}
    }
    by_terms!(row.idx.len(), combine_n, out, y, h, row, k)
}

/// For short states no short loop is entered.
#[inline(always)]
fn combine_short<T: Scalar, const N: usize>(out: &mut [T], y: &[T], h: T, row: Row<T>, k: &[T]) {
    let mut g: [T; N] = std::array::from_fn(|i| y[i]);
    for (j, w) in row.iter() {
        let (w, k) = (h * w, &k[j * N..][..N]);
        for i in 0..N {
            g[i] += w * k[i];
        }
    }
    out[..N].copy_from_slice(&g);
}

#[inline(always)]
fn terms<'a, T: Scalar, const K: usize>(h: T, row: Row<T>, k: &'a [T], n: usize) -> ([&'a [T]; K], [T; K]) {
    let (idx, w) = (&row.idx[..K], &row.w[..K]);
    (std::array::from_fn(|j| &k[idx[j] as usize * n..][..n]), std::array::from_fn(|j| h * w[j]))
}

#[inline(always)]
fn combine_n<T: Scalar, const K: usize>(out: &mut [T], y: &[T], h: T, row: Row<T>, k: &[T]) {
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
pub(crate) fn combine_zero<T: Scalar>(out: &mut [T], h: T, row: Row<T>, k: &[T]) {
    by_terms!(row.idx.len(), combine_zero_n, out, h, row, k)
}

#[inline(always)]
fn combine_zero_n<T: Scalar, const K: usize>(out: &mut [T], h: T, row: Row<T>, k: &[T]) {
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

/// Square of the norm of h sum_j w_j k_j relative to the scale at (y0, y1).
#[inline]
pub(crate) fn error_square<T: Scalar>(
    norm: Norm,
    scale: &Scale<T>,
    y0: &[T],
    y1: &[T],
    h: T,
    row: Row<T>,
    k: &[T],
) -> T {
    by_terms!(row.idx.len(), error_square_n, norm, scale, y0, y1, h, row, k)
}

#[inline(always)]
fn error_square_n<T: Scalar, const K: usize>(
    norm: Norm,
    scale: &Scale<T>,
    y0: &[T],
    y1: &[T],
    h: T,
    row: Row<T>,
    k: &[T],
) -> T {
    let n = y0.len();
    let y1 = &y1[..n];
    let (ks, w) = terms::<T, K>(h, row, k, n);
    let sum = vectorized(
        n,
        #[inline(always)]
        || {
            scaled(
                norm,
                scale,
                y0,
                y1,
                #[inline(always)]
                |i| {
                    let mut s = T::ZERO;
                    for j in 0..K {
                        s += w[j] * ks[j][i];
                    }
                    s
                },
            )
        },
    );
    square(norm, sum, n)
}

/// Norm of x relative to the scale at (y0, y1).
pub(crate) fn scaled_norm<T: Scalar>(norm: Norm, scale: &Scale<T>, y0: &[T], y1: &[T], x: &[T]) -> T {
    let n = y0.len();
    let (y1, x) = (&y1[..n], &x[..n]);
    let sum = vectorized(
        n,
        #[inline(always)]
        || {
            scaled(
                norm,
                scale,
                y0,
                y1,
                #[inline(always)]
                |i| x[i],
            )
        },
    );
    square(norm, sum, n).sqrt()
}

#[inline(always)]
fn scaled<T: Scalar>(norm: Norm, scale: &Scale<T>, y0: &[T], y1: &[T], u: impl Fn(usize) -> T) -> T {
    let n = y0.len();
    let y1 = &y1[..n];
    match scale {
        Scale::One { atol, rtol } => reduce(
            n,
            norm,
            #[inline(always)]
            |i| u(i) * weight(*atol, *rtol, y0[i], y1[i]),
        ),
        Scale::Each { atol, rtol } => {
            let (atol, rtol) = (&atol[..n], &rtol[..n]);
            reduce(
                n,
                norm,
                #[inline(always)]
                |i| u(i) * weight(atol[i], rtol[i], y0[i], y1[i]),
            )
        }
    }
}

/// 1 / sc of a component: a reciprocal does not wait for the last stage, as a division would.
#[inline(always)]
fn weight<T: Scalar>(atol: T, rtol: T, y0: T, y1: T) -> T {
    // 0 y1 is zero unless y1 overflowed, which must not pass as a tiny relative error.
    T::ONE / (atol + rtol * larger(y0, y1)) + T::ZERO * y1
}

#[inline(always)]
fn larger<T: Scalar>(a: T, b: T) -> T {
    let (a, b) = (a.abs(), b.abs());
    if a > b { a } else { b }
}

#[inline(always)]
fn square<T: Scalar>(norm: Norm, sum: T, n: usize) -> T {
    match norm {
        Norm::Rms => sum / T::of(n as f64),
        Norm::Max => sum * sum,
    }
}

/// w = theta (1 - theta) q(theta), and dw/dtheta; q by ascending powers.
#[inline(always)]
pub(crate) fn bubble<T: Scalar>(q: impl DoubleEndedIterator<Item = T>, theta: T) -> (T, T) {
    let (value, slope) = q.rev().fold((T::ZERO, T::ZERO), |(s, d), c| (s * theta + c, d * theta + s));
    let hill = theta * (T::ONE - theta);
    (hill * value, (T::ONE - theta - theta) * value + hill * slope)
}

/// out <- dy/dt at theta of y = (1 - theta) y0 + theta y1 + sum_i w_i x_i, from the pairs (dw_i/dtheta, x_i).
pub(crate) fn interpolant_rate<'a, T: Scalar>(
    h: T,
    (y0, y1): (&[T], &[T]),
    terms: impl Iterator<Item = (T, &'a [T])>,
    out: &mut [T],
) {
    for ((o, &a), &b) in out.iter_mut().zip(y0).zip(y1) {
        *o = (b - a) / h;
    }
    terms.for_each(|(w, x)| add_scaled(out, w / h, x));
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
