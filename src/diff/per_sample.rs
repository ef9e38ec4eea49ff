//! Derivatives of each sample of a batch by the parameters: rows of Jacobians, their Gram matrix, and what affine layers saw.
//!
//! Of each sample s the derivatives of q numbers w_sk' y_s are wanted: row s q + k of M is w_sk' dy_s/dp. `w` holds outputs x (q batch) numbers; unit vectors, q = outputs of
//! them a sample, make the Jacobian itself.

use std::ops::Range;

use super::{At, BarsMut, Kept, Map, Size};
use crate::linalg::{Dense, Scalar};

/// What one affine layer y = W x saw: the 1 of the bias, and the time if it takes it, are inputs too.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerInputs<T> {
    /// W among the parameters: outputs x inputs, column by column.
    pub range: Range<usize>,
    /// Rows of W.
    pub outputs: usize,
    /// Columns of W.
    pub inputs: usize,
    /// inputs x batch.
    pub x: Vec<T>,
}

impl<T> LayerInputs<T> {
    /// Samples.
    pub fn batch(&self) -> usize {
        self.x.len() / self.inputs.max(1)
    }
}

/// The unit vectors of every sample: with these as `w` the rows are those of the Jacobian.
pub fn unit_rows<T: Scalar>(outputs: usize, batch: usize) -> Vec<T> {
    let mut w = vec![T::ZERO; outputs * outputs * batch];
    w.iter_mut()
        .enumerate()
        .for_each(|(i, w)| *w = T::of((i % outputs == i / outputs % outputs) as u8 as f64));
    w
}

/// `rows` <- M', params x (q batch), from a pullback of each of the q numbers for all samples at once.
pub fn jacobian_rows<T: Scalar, M: Map<T> + ?Sized>(
    map: &mut M,
    at: At<'_, T>,
    of: Kept<'_, T>,
    w: &[T],
    rows: &mut [T],
) {
    let Size { inputs, outputs, params } = map.size();
    let batch = at.x.len() / inputs.max(1);
    let q = w.len() / (outputs * batch).max(1);
    let (mut wk, mut x_bar) = (vec![T::ZERO; outputs * batch], vec![T::ZERO; at.x.len()]);
    let mut p_bars = vec![T::ZERO; params * batch];
    for k in 0..q {
        for (to, from) in wk.chunks_exact_mut(outputs).zip(w.chunks_exact(outputs).skip(k).step_by(q)) {
            to.copy_from_slice(from);
        }
        p_bars.fill(T::ZERO);
        map.vjp_each(at, of, &wk, BarsMut::new(&mut x_bar, &mut p_bars));
        for (s, p_bar) in p_bars.chunks_exact(params).enumerate() {
            rows[(s * q + k) * params..][..params].copy_from_slice(p_bar);
        }
    }
}

/// M M' in f64 from the rows.
pub(crate) fn gram_by_rows<T: Scalar, M: Map<T> + ?Sized>(
    map: &mut M,
    at: At<'_, T>,
    of: Kept<'_, T>,
    w: &[T],
    gram: &mut [f64],
) {
    let (m, params) = (w.len() / map.outputs().max(1), map.n_params());
    let mut rows = vec![T::ZERO; params * m];
    jacobian_rows(map, at, of, w, &mut rows);
    let rows: Vec<f64> = rows.iter().map(|v| v.f64()).collect();
    let rows = Dense::new(&rows, params, m);
    f64::gemm(1.0, rows.t(), rows, false, gram, 1);
}
