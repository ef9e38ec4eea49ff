//! Sums over the numbers of an array, as fast as they are read.

use crate::linalg::Scalar;
use crate::simd::any_length;

/// Sums in so many parts: additions that do not wait for each other.
const LANES: usize = 16;
/// So many terms of a lane are added in T before they join the sums.
const RUN: usize = 16;

/// K sums of terms of N slices, all as long as the first: terms and runs of 16 of them are in T, the sums in f64.
pub(super) fn sums<T: Scalar, const N: usize, const K: usize>(
    of: [&[T]; N],
    terms: impl Fn([T; N]) -> [T; K],
) -> [f64; K] {
    any_length(move || plain(of, terms))
}

#[inline(always)]
fn plain<T: Scalar, const N: usize, const K: usize>(
    of: [&[T]; N],
    terms: impl Fn([T; N]) -> [T; K],
) -> [f64; K] {
    let (mut sums, mut block) = ([0.0; K], [[T::ZERO; LANES]; N]);
    let n = of[0].len();
    let long = n - n % (LANES * RUN);
    for start in (0..long).step_by(LANES * RUN) {
        let mut lanes = [[T::ZERO; LANES]; K];
        for run in (start..start + LANES * RUN).step_by(LANES) {
            (0..N).for_each(|k| block[k].copy_from_slice(&of[k][run..run + LANES]));
            for i in 0..LANES {
                let mut x = [T::ZERO; N];
                (0..N).for_each(|k| x[k] = block[k][i]);
                let t = terms(x);
                (0..K).for_each(|k| lanes[k][i] += t[k]);
            }
        }
        (0..K).for_each(|k| sums[k] += lanes[k].iter().map(|v| v.f64()).sum::<f64>());
    }
    for i in long..n {
        let t = terms(of.map(|v| v[i]));
        (0..K).for_each(|k| sums[k] += t[k].f64());
    }
    sums
}
