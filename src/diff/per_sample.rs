//! Derivatives of each sample of a batch by the parameters: rows of the Jacobian and their Gram matrix. Row i = s outputs + k is the gradient of output k of sample s.

use super::{At, BarsMut, Kept, Map, Size};
use crate::linalg::{Dense, Scalar};

/// Rows of the Jacobian of a map's outputs by its parameters: `rows` <- J', params x (outputs batch), from a pullback of each output for all samples at once.
pub fn jacobian_rows<T: Scalar, M: Map<T> + ?Sized>(
    map: &mut M,
    at: At<'_, T>,
    of: Kept<'_, T>,
    rows: &mut [T],
) {
    let Size { inputs, outputs, params } = map.size();
    let batch = at.x.len() / inputs.max(1);
    let (mut w, mut x_bar) = (vec![T::ZERO; outputs * batch], vec![T::ZERO; at.x.len()]);
    let mut p_bars = vec![T::ZERO; params * batch];
    for k in 0..outputs {
        w.fill(T::ZERO);
        w.iter_mut().skip(k).step_by(outputs).for_each(|w| *w = T::ONE);
        p_bars.fill(T::ZERO);
        map.vjp_each(at, of, &w, BarsMut::new(&mut x_bar, &mut p_bars));
        for (s, p_bar) in p_bars.chunks_exact(params).enumerate() {
            rows[(s * outputs + k) * params..][..params].copy_from_slice(p_bar);
        }
    }
}

/// J J' in f64 from the rows.
pub(crate) fn gram_by_rows<T: Scalar, M: Map<T> + ?Sized>(
    map: &mut M,
    at: At<'_, T>,
    of: Kept<'_, T>,
    gram: &mut [f64],
) {
    let Size { inputs, outputs, params } = map.size();
    let m = outputs * (at.x.len() / inputs.max(1));
    let mut rows = vec![T::ZERO; params * m];
    jacobian_rows(map, at, of, &mut rows);
    let rows: Vec<f64> = rows.iter().map(|v| v.f64()).collect();
    let rows = Dense::new(&rows, params, m);
    f64::gemm(1.0, rows.t(), rows, false, gram, 1);
}
