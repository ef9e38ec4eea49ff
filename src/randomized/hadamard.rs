//! Subsampled randomized Hadamard transforms of blocks of rows, added up.
//!
//! S = [S_1 .. S_p] with S_k = (b/s)^1/2 P_k H D_k for a block of b rows: D_k random signs, H the orthogonal Walsh-Hadamard transform of b points, P_k s of its
//! rows drawn without replacement and with random signs (Balabanov, Beaupere, Grigori, Lederer, "Block subsampled randomized Hadamard transform", ICML 2023).

use rayon::prelude::*;

use super::counter::Counter;
use super::tall::TallMatrix;
use crate::error::Error;

/// Columns that are transformed together: a block of them stays in the cache.
const PANEL: usize = 16;

/// S D^1/2 A (s x n, row after row) and S b.
pub(super) fn sketch(
    a: &TallMatrix,
    weights: Option<&[f64]>,
    b: Option<&[f64]>,
    s: usize,
    seed: u64,
) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let (m, n) = (a.rows(), a.columns());
    let size = s.next_power_of_two().max(1024);
    let s = s.min(size);
    let signs = Counter::new(seed, 3);
    let sign = |i: usize| signs.sign(i as u64);
    // The panels of S A, one after another, the last one with b where there is one.
    let columns = n + usize::from(b.is_some());
    let mut panels = vec![0.0; s * columns];
    let mut buffer = vec![];
    for first in (0..m).step_by(size) {
        let rows = first..(first + size).min(m);
        let (block, drawn) = (a.block(rows.clone(), &mut buffer)?, Drawn::new(first / size, size, s, seed));
        panels.par_chunks_mut(s * PANEL).enumerate().for_each(|(p, panel)| {
            let (from, width) = (p * PANEL, panel.len() / s);
            let mut work = vec![0.0; size * width];
            for (i, work) in work.chunks_mut(width).enumerate().take(rows.len()) {
                let row = first + i;
                let factor = sign(row) * weights.map_or(1.0, |d| d[row].sqrt());
                block.for_columns(i, from..(from + width).min(n), |j, v| work[j - from] = factor * v);
                if let Some(b) = b.filter(|_| from + width > n) {
                    work[n - from] = sign(row) * b[row];
                }
            }
            transform(&mut work, width);
            drawn.add(&work, width, panel);
        });
    }
    let mut out = vec![0.0; s * n];
    let mut side = vec![0.0; if b.is_some() { s } else { 0 }];
    for (p, panel) in panels.chunks(s * PANEL).enumerate() {
        let width = panel.len() / s;
        for (r, row) in panel.chunks(width).enumerate() {
            for (j, v) in row.iter().enumerate() {
                let j = p * PANEL + j;
                if j < n { out[r * n + j] = *v } else { side[r] = *v }
            }
        }
    }
    Ok((out, side))
}

/// Rows of a transformed block, with signs and scale.
struct Drawn {
    row: Vec<u32>,
    factor: Vec<f64>,
}

impl Drawn {
    fn new(block: usize, size: usize, s: usize, seed: u64) -> Self {
        let draws = Counter::new(seed, 0x1000 + block as u64);
        let mut row: Vec<u32> = (0..size as u32).collect();
        for k in 0..s {
            row.swap(k, k + draws.below(k as u64, size - k));
        }
        row.truncate(s);
        // H without its factor b^-1/2, and (b/s)^1/2.
        let scale = (s as f64).sqrt().recip();
        let factor = (0..s).map(|k| scale * draws.sign((size + k) as u64)).collect();
        Self { row, factor }
    }
    fn add(&self, work: &[f64], width: usize, panel: &mut [f64]) {
        for ((row, factor), out) in self.row.iter().zip(&self.factor).zip(panel.chunks_mut(width)) {
            let row = &work[*row as usize * width..][..width];
            out.iter_mut().zip(row).for_each(|(y, v)| *y += factor * v);
        }
    }
}

/// Walsh-Hadamard transform over the rows, `width` numbers each; the number of rows is a power of two.
fn transform(work: &mut [f64], width: usize) {
    let mut half = width;
    while half < work.len() {
        for pair in work.chunks_exact_mut(2 * half) {
            let (a, b) = pair.split_at_mut(half);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transform_is_its_own_inverse() {
        let first: Vec<f64> = (0..24).map(|k| (k as f64).sin()).collect();
        let mut work = first.clone();
        transform(&mut work, 3);
        // Row 0 is the sum of the rows.
        let sum: f64 = (0..8).map(|i| first[3 * i]).sum();
        assert!((work[0] - sum).abs() < 1e-14);
        transform(&mut work, 3);
        assert!(work.iter().zip(&first).all(|(a, b)| (a / 8.0 - b).abs() < 1e-14));
    }
}
