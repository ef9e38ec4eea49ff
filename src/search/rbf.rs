//! The kernel k(x, z) = exp(-gamma |x - z|^2).

use super::SearchError;

/// k(x, z).
pub(super) fn value(gamma: f64, x: &[f64], z: &[f64]) -> f64 {
    (-gamma * x.iter().zip(z).map(|(x, z)| (x - z) * (x - z)).sum::<f64>()).exp()
}

/// k of all pairs of points (dim numbers each), n x n.
pub(super) fn gram(gamma: f64, x: &[f64], dim: usize) -> Vec<f64> {
    let n = x.len() / dim;
    let mut k = vec![1.0; n * n];
    for i in 0..n {
        for j in 0..i {
            let v = value(gamma, &x[i * dim..][..dim], &x[j * dim..][..dim]);
            (k[i * n + j], k[j * n + i]) = (v, v);
        }
    }
    k
}

/// Points and values that fit together, all finite; `least` points at least.
pub(super) fn check(x: &[f64], dim: usize, y: &[f64], least: usize) -> Result<(), SearchError> {
    if dim == 0 || x.len() != dim * y.len() {
        let what = format!("{} numbers are not {} points of {dim}", x.len(), y.len());
        return Err(SearchError::new(what));
    }
    if y.len() < least {
        return Err(SearchError::new(format!("{} points, a regression needs {least}", y.len())));
    }
    match x.iter().chain(y).find(|v| !v.is_finite()) {
        Some(v) => Err(SearchError::new(format!("a number of the data is {v}"))),
        None => Ok(()),
    }
}
