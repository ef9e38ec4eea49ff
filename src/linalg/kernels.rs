//! Loops over the state: stage combinations and scaled norms.
//!
//! A block of components at a time, its sums in registers, under the widest instruction set of the machine (pulp); no fused
//! multiply-add is used, so elementwise results do not depend on it. Sums do not either: they always use eight partial sums.

use super::Scalar;
use crate::simd::{any_length, vectorized};

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

/// What a combination starts from.
#[derive(Clone, Copy)]
pub(crate) enum Base<'a, T> {
    Zero,
    State(&'a [T]),
    /// q + a v.
    Drift(&'a [T], T, &'a [T]),
}

/// A part of the state: in `k`, that of stage j begins at j n + from.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub n: usize,
    pub from: usize,
}

/// out <- y + h sum_j w_j k_j, with stage j of `k` at j n.
#[inline]
pub(crate) fn combine<T: Scalar>(out: &mut [T], y: &[T], h: T, row: Row<T>, k: &[T]) {
    let part = Part { n: out.len(), from: 0 };
    combine_part(out, Base::State(y), h, row, k, part);
}

/// u <- h sum_j w_j k_j.
#[inline]
pub(crate) fn combine_zero<T: Scalar>(out: &mut [T], h: T, row: Row<T>, k: &[T]) {
    let part = Part { n: out.len(), from: 0 };
    combine_part(out, Base::Zero, h, row, k, part);
}

/// out <- base + h sum_j w_j (that part of k_j).
#[inline(always)]
pub(crate) fn combine_part<T: Scalar>(out: &mut [T], y: Base<'_, T>, h: T, row: Row<T>, k: &[T], part: Part) {
    match out.len() {
        1 => combine_block::<T, 1>(out, y, h, row, k, part, 0),
        2 => combine_block::<T, 2>(out, y, h, row, k, part, 0),
        3 => combine_block::<T, 3>(out, y, h, row, k, part, 0),
        4 => combine_block::<T, 4>(out, y, h, row, k, part, 0),
        _ => combine_long(out, y, h, row, k, part),
    }
}

/// Five components or more. Not inlined: it does not depend on the field, and each field would have its own.
#[inline(never)]
fn combine_long<T: Scalar>(out: &mut [T], y: Base<'_, T>, h: T, row: Row<T>, k: &[T], part: Part) {
    let n = out.len();
    any_length(
        #[inline(always)]
        || {
            let mut i = 0;
            while i + 32 <= n {
                combine_block::<T, 32>(out, y, h, row, k, part, i);
                i += 32;
            }
            // The rest in one or two blocks, which may do some components again, to the same bits.
            match n - i {
                0 => {}
                17.. if n >= 32 => combine_block::<T, 32>(out, y, h, row, k, part, n - 32),
                17.. => {
                    combine_block::<T, 16>(out, y, h, row, k, part, 0);
                    combine_block::<T, 16>(out, y, h, row, k, part, n - 16);
                }
                9.. if n >= 16 => combine_block::<T, 16>(out, y, h, row, k, part, n - 16),
                9.. => {
                    combine_block::<T, 8>(out, y, h, row, k, part, 0);
                    combine_block::<T, 8>(out, y, h, row, k, part, n - 8);
                }
                5.. if n >= 8 => combine_block::<T, 8>(out, y, h, row, k, part, n - 8),
                5.. => {
                    combine_block::<T, 4>(out, y, h, row, k, part, 0);
                    combine_block::<T, 4>(out, y, h, row, k, part, n - 4);
                }
                _ => combine_block::<T, 4>(out, y, h, row, k, part, n - 4),
            }
        },
    )
}

/// B components from i on: their sums stay in registers.
#[inline(always)]
fn combine_block<T: Scalar, const B: usize>(
    out: &mut [T],
    y: Base<'_, T>,
    h: T,
    row: Row<T>,
    k: &[T],
    part: Part,
    i: usize,
) {
    let mut s = [T::ZERO; B];
    match y {
        Base::Zero => {}
        Base::State(y) => s.copy_from_slice(&y[i..i + B]),
        Base::Drift(q, a, v) => {
            let (q, v) = (&q[i..i + B], &v[i..i + B]);
            for l in 0..B {
                s[l] = q[l] + a * v[l];
            }
        }
    }
    accumulate(&mut s, h, row, k, part.n, part.from + i);
    out[i..i + B].copy_from_slice(&s);
}

/// s += h sum_j w_j k_j for components i.. of n, in this order.
#[inline(always)]
fn accumulate<T: Scalar>(s: &mut [T], h: T, row: Row<T>, k: &[T], n: usize, i: usize) {
    for (j, w) in row.iter() {
        let (w, k) = (h * w, &k[j * n + i..][..s.len()]);
        for (s, k) in s.iter_mut().zip(k) {
            *s += w * *k;
        }
    }
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
pub enum Scale<T> {
    One { atol: T, rtol: T },
    Each { atol: Vec<T>, rtol: Vec<T> },
}

impl<T: Scalar> Scale<T> {
    /// atol + rtol |y| of component i.
    pub fn at(&self, i: usize, y: T) -> T {
        match self {
            Self::One { atol, rtol } => *atol + *rtol * y.abs(),
            Self::Each { atol, rtol } => atol[i] + rtol[i] * y.abs(),
        }
    }
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
    let n = y0.len();
    scaled_square(
        norm,
        scale,
        y0,
        y1,
        #[inline(always)]
        |i, u| {
            let mut l = 0;
            while l + 8 <= u.len() {
                accumulate(&mut u[l..l + 8], h, row, k, n, i + l);
                l += 8;
            }
            if l + 4 <= u.len() {
                accumulate(&mut u[l..l + 4], h, row, k, n, i + l);
                l += 4;
            }
            for l in l..u.len() {
                accumulate(&mut u[l..l + 1], h, row, k, n, i + l);
            }
        },
    )
}

/// Norm of x relative to the scale at (y0, y1).
pub(crate) fn scaled_norm<T: Scalar>(norm: Norm, scale: &Scale<T>, y0: &[T], y1: &[T], x: &[T]) -> T {
    scaled_square(
        norm,
        scale,
        y0,
        y1,
        #[inline(always)]
        |i, u| u.copy_from_slice(&x[i..i + u.len()]),
    )
    .sqrt()
}

/// Square of the norm of v_i = u_i / scale_i; `u` adds components i.. to zeros. Values that are not finite propagate, also those of y1.
#[inline(always)]
fn scaled_square<T: Scalar>(
    norm: Norm,
    scale: &Scale<T>,
    y0: &[T],
    y1: &[T],
    u: impl Fn(usize, &mut [T]),
) -> T {
    let n = y0.len();
    let v = reduce(
        n,
        norm,
        #[inline(always)]
        |i, v| {
            u(i, v);
            weigh(scale, v, i, y0, y1);
        },
    );
    match norm {
        Norm::Rms => v / T::of(n as f64),
        Norm::Max => square(v),
    }
}

/// E^2 of an error E of the maximum norm. Finite ones above 1e18 count as that: their square is finite in single precision, too.
#[inline(always)]
pub(crate) fn square<T: Scalar>(e: T) -> T {
    let most = T::of(1e18);
    let e = if e > most && e.is_finite() { most } else { e };
    e * e
}

/// Components that [`reduce`] takes at a time: a multiple of its eight partial sums.
const BLOCK: usize = 32;

/// Sum of the squares of v, or its largest magnitude; `v` writes components i.. over zeros. NaN and infinity propagate.
#[inline(always)]
fn reduce<T: Scalar>(n: usize, norm: Norm, v: impl Fn(usize, &mut [T])) -> T {
    vectorized(
        n,
        #[inline(always)]
        || {
            let mut acc = [T::ZERO; 8];
            for i in (0..n).step_by(BLOCK) {
                let mut room = [T::ZERO; BLOCK];
                let block = &mut room[..BLOCK.min(n - i)];
                v(i, block);
                let eights = block.chunks_exact(8);
                let rest = eights.remainder();
                for eight in eights {
                    take(norm, &mut acc, eight);
                }
                take(norm, &mut acc, rest);
            }
            let [a, b, c, d, e, f, g, h] = acc;
            match norm {
                Norm::Rms => (a + e) + (b + f) + ((c + g) + (d + h)),
                // NaN if one is.
                Norm::Max => acc.iter().fold(T::ZERO, |m, &x| if m > x || m.is_nan() { m } else { x }),
            }
        },
    )
}

#[inline(always)]
fn take<T: Scalar>(norm: Norm, acc: &mut [T], v: &[T]) {
    for (a, &v) in acc.iter_mut().zip(v) {
        *a = match norm {
            Norm::Rms => *a + v * v,
            // Once NaN, always NaN.
            Norm::Max if *a > v.abs() || a.is_nan() => *a,
            Norm::Max => v.abs(),
        };
    }
}

/// v <- v / sc for components i.. .
#[inline(always)]
fn weigh<T: Scalar>(scale: &Scale<T>, v: &mut [T], i: usize, y0: &[T], y1: &[T]) {
    let (y0, y1) = (&y0[i..][..v.len()], &y1[i..][..v.len()]);
    match scale {
        Scale::One { atol, rtol } => {
            for (l, v) in v.iter_mut().enumerate() {
                *v *= weight(*atol, *rtol, y0[l], y1[l]);
            }
        }
        Scale::Each { atol, rtol } => {
            let (atol, rtol) = (&atol[i..][..v.len()], &rtol[i..][..v.len()]);
            for (l, v) in v.iter_mut().enumerate() {
                *v *= weight(atol[l], rtol[l], y0[l], y1[l]);
            }
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
    reduce(
        a.len(),
        Norm::Rms,
        #[inline(always)]
        |i, v| {
            let (a, b) = (&a[i..][..v.len()], &b[i..][..v.len()]);
            for (l, v) in v.iter_mut().enumerate() {
                *v = a[l] - b[l];
            }
        },
    )
}

/// Whether every entry is finite.
pub(crate) fn all_finite<T: Scalar>(x: &[T]) -> bool {
    let zeros = reduce(
        x.len(),
        Norm::Rms,
        #[inline(always)]
        |i, v| {
            let x = &x[i..][..v.len()];
            for (l, v) in v.iter_mut().enumerate() {
                *v = T::ZERO * x[l];
            }
        },
    );
    zeros == T::ZERO
}
