//! Loops over vectors and rows, in chunks that do not depend on the number of threads.

use rayon::prelude::*;

/// Entries of a chunk: small enough for the second cache, large enough for a task.
const CHUNK: usize = 16 * 1024;

/// Entries of a row that are worked on at a time: they stay in the first cache.
pub(super) const TILE: usize = 256;

/// Calls f(first row, rows of out) on chunks of whole rows.
pub(super) fn over_rows(out: &mut [f64], width: usize, f: impl Fn(usize, &mut [f64]) + Sync) {
    let rows = (CHUNK / width.max(1)).max(1);
    if out.len() <= rows * width {
        return f(0, out);
    }
    out.par_chunks_mut(rows * width).enumerate().for_each(|(c, chunk)| f(c * rows, chunk));
}

/// Calls f(first index, chunk) on chunks of a vector.
pub(super) fn over(out: &mut [f64], f: impl Fn(usize, &mut [f64]) + Sync) {
    over_rows(out, 1, f);
}

/// The sum of f(range) over the chunks of 0..n, in their order.
pub(super) fn sum(n: usize, f: impl Fn(std::ops::Range<usize>) -> f64 + Sync) -> f64 {
    if n <= CHUNK {
        return f(0..n);
    }
    let chunks = n.div_ceil(CHUNK);
    let of = |c: usize| f(c * CHUNK..((c + 1) * CHUNK).min(n));
    // A group of chunks at a time: partial sums live on the stack.
    let group = chunks.div_ceil(64);
    let mut parts = [0.0; 64];
    parts.par_iter_mut().enumerate().for_each(|(g, part)| {
        *part = (g * group..((g + 1) * group).min(chunks)).map(of).sum();
    });
    parts.iter().sum()
}

/// x'y of one chunk, eight partial sums.
pub(super) fn chunk_dot(x: &[f64], y: &[f64]) -> f64 {
    let mut s = [0.0; 8];
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let rest: f64 = xs.remainder().iter().zip(ys.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in xs.zip(ys) {
        for k in 0..8 {
            s[k] += a[k] * b[k];
        }
    }
    ((s[0] + s[4]) + (s[1] + s[5])) + ((s[2] + s[6]) + (s[3] + s[7])) + rest
}

/// x'y.
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    sum(x.len(), |r| chunk_dot(&x[r.clone()], &y[r]))
}

/// Euclidean norm.
pub(super) fn norm(x: &[f64]) -> f64 {
    dot(x, x).sqrt()
}

/// y <- y + alpha x.
pub(super) fn axpy(alpha: f64, x: &[f64], y: &mut [f64]) {
    over(y, |at, y| {
        for (y, x) in y.iter_mut().zip(&x[at..]) {
            *y += alpha * x;
        }
    });
}

/// y <- x + beta y.
pub(super) fn xpby(x: &[f64], beta: f64, y: &mut [f64]) {
    over(y, |at, y| {
        for (y, x) in y.iter_mut().zip(&x[at..]) {
            *y = x + beta * *y;
        }
    });
}
