//! Layers with few inputs: too narrow for a matrix product, so one pass over the batch under the widest instruction set.

use crate::linalg::Scalar;
use crate::simd::vectorized;

/// Most inputs.
pub(super) const MOST: usize = 4;

/// y <- W x + b for every column of the batch; W is outputs x inputs, 1 <= inputs <= [`MOST`].
pub(super) fn forward<T: Scalar>(inputs: usize, w: &[T], b: &[T], x: &[T], y: &mut [T]) {
    match inputs {
        1 => forward_n::<T, 1>(w, b, x, y),
        2 => forward_n::<T, 2>(w, b, x, y),
        3 => forward_n::<T, 3>(w, b, x, y),
        _ => forward_n::<T, 4>(w, b, x, y),
    }
}

fn forward_n<T: Scalar, const N: usize>(w: &[T], b: &[T], x: &[T], y: &mut [T]) {
    let m = b.len();
    let w: [&[T]; N] = std::array::from_fn(|j| &w[j * m..][..m]);
    vectorized(
        y.len(),
        #[inline(always)]
        || {
            for (x, y) in x.chunks_exact(N).zip(y.chunks_exact_mut(m)) {
                for o in 0..m {
                    let mut s = b[o];
                    for j in 0..N {
                        s += x[j] * w[j][o];
                    }
                    y[o] = s;
                }
            }
        },
    );
}

/// w_bar <- w_bar + delta x' and x_bar <- W' delta, or x_bar + W' delta with `add`.
pub(super) fn backward<T: Scalar>(
    inputs: usize,
    w: &[T],
    x: &[T],
    delta: &[T],
    x_bar: &mut [T],
    add: bool,
    w_bar: &mut [T],
) {
    match inputs {
        1 => backward_n::<T, 1>(w, x, delta, x_bar, add, w_bar),
        2 => backward_n::<T, 2>(w, x, delta, x_bar, add, w_bar),
        3 => backward_n::<T, 3>(w, x, delta, x_bar, add, w_bar),
        _ => backward_n::<T, 4>(w, x, delta, x_bar, add, w_bar),
    }
}

fn backward_n<T: Scalar, const N: usize>(
    w: &[T],
    x: &[T],
    delta: &[T],
    x_bar: &mut [T],
    add: bool,
    w_bar: &mut [T],
) {
    const LANES: usize = 8;
    let m = w.len() / N;
    let main = m - m % LANES;
    vectorized(
        delta.len(),
        #[inline(always)]
        || {
            let columns = x.chunks_exact(N).zip(delta.chunks_exact(m)).zip(x_bar.chunks_exact_mut(N));
            for ((x, d), xb) in columns {
                let mut tail = [T::ZERO; N];
                for j in 0..N {
                    let (w, b) = (&w[j * m..][..m], &mut w_bar[j * m..][..m]);
                    let mut acc = [T::ZERO; LANES];
                    for o in (0..main).step_by(LANES) {
                        let (w, b, d) = (&w[o..][..LANES], &mut b[o..][..LANES], &d[o..][..LANES]);
                        for l in 0..LANES {
                            acc[l] += w[l] * d[l];
                            b[l] += x[j] * d[l];
                        }
                    }
                    for o in main..m {
                        tail[j] += w[o] * d[o];
                        b[o] += x[j] * d[o];
                    }
                    let s = ((acc[0] + acc[4]) + (acc[1] + acc[5]))
                        + ((acc[2] + acc[6]) + (acc[3] + acc[7]))
                        + tail[j];
                    xb[j] = if add { xb[j] + s } else { s };
                }
            }
        },
    );
}
