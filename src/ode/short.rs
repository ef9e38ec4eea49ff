//! The same step for short states, everything in registers: a kernel for each length and number of stages, for one trajectory or several in lanes.

use super::tableau::Join;
use crate::diff::Lane;
use crate::linalg::Norm;
use crate::linalg::Scalar;
use crate::linalg::kernels::{Scale, square};

/// Longest state with a kernel of its own.
pub(crate) const SHORT: usize = 4;

/// What a step needs of its method, rows dense: a_ij, j < i, at i (i - 1) / 2 + j, error rows one after another.
#[derive(Debug, Clone)]
pub(crate) struct Dense<T> {
    pub a: Vec<T>,
    pub e: Vec<T>,
    pub uses_last: bool,
    pub join: Join,
}

/// Row i of the a of [`Dense`].
#[inline(always)]
fn row<T>(a: &[T], i: usize) -> &[T] {
    &a[i * i.saturating_sub(1) / 2..][..i]
}
pub(crate) fn row_mut<T>(a: &mut [T], i: usize) -> &mut [T] {
    &mut a[i * i.saturating_sub(1) / 2..][..i]
}

/// Evaluates `$call` with constants N and S for the lengths and numbers of stages that have a kernel (each costs compile time
/// for every field), else `$otherwise`.
macro_rules! by_shape {
    ($n:expr, $s:expr, $otherwise:expr, |$N:ident, $S:ident| $call:expr) => {
        by_shape!(@ $n, $s, $otherwise, $N, $S, $call, [2 7, 3 7, 4 7, 2 8, 3 8, 4 8, 2 11, 3 11, 4 11, 2 13, 3 13, 4 13, 2 14, 3 14, 4 14])
    };
    (@ $n:expr, $s:expr, $otherwise:expr, $N:ident, $S:ident, $call:expr, [$($nn:literal $ss:literal),*]) => {
        match ($n, $s) {
            $(($nn, $ss) => { const $N: usize = $nn; const $S: usize = $ss; $call })*
            _ => $otherwise,
        }
    };
}
pub(crate) use by_shape;

/// Repeats a statement for each constant below a bound: written out, so that arrays stay in registers.
macro_rules! each {
    ($i:ident < $bound:ident: $body:block) => {
        each!(@ $i, $bound, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13)
    };
    ($i:ident < $bound:ident <= 4: $body:block) => {
        each!(@ $i, $bound, $body, 0 1 2 3)
    };
    (@ $i:ident, $bound:ident, $body:block, $($value:literal)*) => {
        $( if $value < $bound {
            const $i: usize = $value;
            $body
        } )*
    };
}

/// Stage I: g <- y0 + sum_{j<I} (h a_Ij) k_j, summed in this order, then k_I <- f(t + c_I h, g).
#[inline(always)]
fn stage<T: Scalar, E: Lane<T>, const N: usize, const S: usize, const I: usize>(
    f: &mut impl FnMut(E, &[E; N], &mut [E; N]),
    m: &Dense<T>,
    c: &[T],
    (t, h): (E, E),
    y0: &[E; N],
    k: &mut [[E; N]; S],
    skip: bool,
) -> [E; N] {
    let mut g = *y0;
    let row = row(&m.a, I);
    each!(J < I: {
        let w = h * E::splat(row[J]);
        each!(M < N <= 4: {
            g[M] += w * k[J][M];
        });
    });
    if !skip {
        f(t + E::splat(c[I]) * h, &g, &mut k[I]);
    }
    g
}

/// An attempted step from y0 and k_0: all stages (the last one only if the error estimate uses it), y1 and the square of the scaled error E.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn attempt<T: Scalar, E: Lane<T>, const N: usize, const S: usize>(
    mut f: impl FnMut(E, &[E; N], &mut [E; N]),
    m: &Dense<T>,
    c: &[T],
    norm: Norm,
    scale: &Scale<T>,
    th: (E, E),
    y0: &[E; N],
    k: &mut [[E; N]; S],
) -> ([E; N], E) {
    let mut y1 = *y0;
    macro_rules! stages {
        ($($i:literal)*) => { $(
            if $i < S {
                y1 = stage::<T, E, N, S, $i>(&mut f, m, c, th, y0, k, $i + 1 == S && !m.uses_last);
            }
        )* };
    }
    stages!(1 2 3 4 5 6 7 8 9 10 11 12 13);
    let first = error::<T, E, N, S>(m, 0, norm, scale, th.1, y0, &y1, k);
    if m.e.len() == S {
        return (y1, first);
    }
    let second = error::<T, E, N, S>(m, 1, norm, scale, th.1, y0, &y1, k);
    (y1, joined(m.join, first, second))
}

/// E^2 from the squares of two estimates: the larger one, or E5^4 / (E5^2 + 0.01 E3^2), zero where both are. NaN if one is.
#[inline(always)]
pub(crate) fn joined<T: Scalar, E: Lane<T>>(join: Join, e5: E, e3: E) -> E {
    if join == Join::Larger {
        // A NaN would be lost in the maximum.
        return e5.larger(e3) + E::splat(T::ZERO) * (e5 + e3);
    }
    // A zero denominator belongs to a zero numerator. The quotient is at most one: no overflow.
    let d = (e5 + E::of(0.01) * e3).map(|d| if d == T::ZERO { T::ONE } else { d });
    e5 * (e5 / d)
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn error<T: Scalar, E: Lane<T>, const N: usize, const S: usize>(
    m: &Dense<T>,
    row: usize,
    norm: Norm,
    scale: &Scale<T>,
    h: E,
    y0: &[E; N],
    y1: &[E; N],
    k: &[[E; N]; S],
) -> E {
    let row = &m.e[row * S..][..S];
    let terms = if m.uses_last { S } else { S - 1 };
    let mut u = [E::splat(T::ZERO); N];
    each!(J < S: {
        if J < terms {
            let w = h * E::splat(row[J]);
            each!(M < N <= 4: {
                u[M] += w * k[J][M];
            });
        }
    });
    let zero = E::splat(T::ZERO);
    let v: [E; N] = std::array::from_fn(|i| scaled(scale, i, u[i], y0[i], y1[i]));
    match norm {
        Norm::Rms => {
            let mut s = [zero; 4];
            for i in 0..N {
                s[i] = v[i] * v[i];
            }
            ((s[0] + s[1]) + (s[2] + s[3])) / E::of(N as f64)
        }
        Norm::Max => {
            // A NaN would be lost in the maximum.
            let (mut big, mut bad) = (zero, zero);
            for v in v {
                big = big.larger(v.abs());
                bad += zero * v;
            }
            (big + bad).map(square)
        }
    }
}

/// [`attempt`], last stage included, for states of any length: y0 and y1 of length n, k of length s n.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn attempt_any<T: Scalar, E: Lane<T>>(
    mut f: impl FnMut(E, &[E], &mut [E]),
    m: &Dense<T>,
    c: &[T],
    norm: Norm,
    scale: &Scale<T>,
    (t, h): (E, E),
    y0: &[E],
    k: &mut [E],
    y1: &mut [E],
) -> E {
    let n = y0.len();
    let s = k.len() / n;
    // y1 holds the argument of each stage; that of the last one is the new state.
    for (i, &ci) in c.iter().enumerate().take(s).skip(1) {
        let (before, ki) = k.split_at_mut(i * n);
        for (r, (y1, y0)) in y1.iter_mut().zip(y0).enumerate() {
            *y1 = weighted(*y0, h, row(&m.a, i), r, n, before);
        }
        f(t + E::splat(ci) * h, y1, &mut ki[..n]);
    }
    let terms = if m.uses_last { s } else { s - 1 };
    let zero = E::splat(T::ZERO);
    let of = |row: usize| {
        let row = &m.e[row * s..][..terms];
        let (mut sums, mut big, mut bad) = ([zero; 8], zero, zero);
        for r in 0..n {
            let u = weighted(zero, h, row, r, n, k);
            let v = scaled(scale, r, u, y0[r], y1[r]);
            sums[r % 8] += v * v;
            big = big.larger(v.abs());
            bad += zero * v;
        }
        let [a, b, c, d, e, f, g, h] = sums;
        match norm {
            Norm::Rms => {
                let sum = (a + e) + (b + f) + ((c + g) + (d + h));
                sum / E::of(n as f64)
            }
            Norm::Max => (big + bad).map(square),
        }
    };
    if m.e.len() == s { of(0) } else { joined(m.join, of(0), of(1)) }
}

/// start + sum_j (h w_j) k_j, component r of n.
#[inline(always)]
fn weighted<T: Scalar, E: Lane<T>>(start: E, h: E, row: &[T], r: usize, n: usize, k: &[E]) -> E {
    let mut g = start;
    for (&w, k) in row.iter().zip(k.chunks_exact(n)) {
        // Short states of one trajectory are summed with the zeros.
        if n <= SHORT || w != T::ZERO {
            g += h * E::splat(w) * k[r];
        }
    }
    g
}

/// u over the tolerance scale of component i.
#[inline(always)]
fn scaled<T: Scalar, E: Lane<T>>(scale: &Scale<T>, i: usize, u: E, y0: E, y1: E) -> E {
    let (atol, rtol) = match scale {
        Scale::One { atol, rtol } => (*atol, *rtol),
        Scale::Each { atol, rtol } => (atol[i], rtol[i]),
    };
    let sc = E::splat(atol) + E::splat(rtol) * y0.abs().larger(y1.abs());
    // As in the kernels of longer states.
    u * (E::splat(T::ONE) / sc + E::splat(T::ZERO) * y1)
}
