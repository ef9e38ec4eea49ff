//! What every solver does first and last.

use crate::linalg::{LinOp, Storage, norm2};
use crate::linsol::LinSolError;

/// The number of unknowns of a square operator whose entries, if it has any, are finite.
pub(super) fn check_matrix(solver: &'static str, a: &dyn LinOp) -> Result<usize, LinSolError> {
    let (nrows, ncols) = (a.nrows(), a.ncols());
    if nrows != ncols {
        return Err(LinSolError::Shape { solver, expected: "square", found: format!("{nrows} x {ncols}") });
    }
    if let Some(s) = a.as_sparse()
        && s.values.iter().any(|v| !v.is_finite())
    {
        return Err(LinSolError::NotFinite { solver, what: "matrix" });
    }
    Ok(nrows)
}

/// Like [`check_matrix`], and refuses a matrix that is seen not to be symmetric.
pub(super) fn check_symmetric(solver: &'static str, a: &dyn LinOp) -> Result<usize, LinSolError> {
    let n = check_matrix(solver, a)?;
    if let Some(s) = a.as_sparse()
        && s.storage == Storage::General
    {
        let at = |i: usize, j: usize| {
            let rows = &s.row_idx[s.col_ptr[j]..s.col_ptr[j + 1]];
            rows.binary_search(&i).map_or(0.0, |p| s.values[s.col_ptr[j] + p])
        };
        for j in 0..n {
            for p in s.col_ptr[j]..s.col_ptr[j + 1] {
                let (i, v) = (s.row_idx[p], s.values[p]);
                if (v - at(j, i)).abs() > 1e-12 * v.abs() {
                    let found = format!("entries ({i}, {j}) and ({j}, {i}) that differ");
                    return Err(LinSolError::Shape { solver, expected: "symmetric", found });
                }
            }
        }
    }
    Ok(n)
}

/// Where a solve starts.
pub(super) struct Start {
    /// |b|, not 0.
    pub(super) norm_b: f64,
    /// |b - A x| for the start x.
    pub(super) norm_r: f64,
}

/// Checks sizes, b and x, sets r <- b - A x. None: b = 0, x <- 0. A start x that is not finite is replaced by 0.
pub(super) fn begin(
    solver: &'static str,
    n: usize,
    a: &mut dyn LinOp,
    b: &[f64],
    x: &mut [f64],
    r: &mut [f64],
) -> Result<Option<Start>, LinSolError> {
    if a.nrows() != n || a.ncols() != n || b.len() != n || x.len() != n {
        let found = format!("{} x {}, right-hand side {}, x {}", a.nrows(), a.ncols(), b.len(), x.len());
        return Err(LinSolError::Shape { solver, expected: "previously prepared", found });
    }
    let norm_b = norm2(b);
    if !norm_b.is_finite() {
        return Err(LinSolError::NotFinite { solver, what: "right-hand side" });
    }
    if norm_b == 0.0 {
        x.fill(0.0);
        return Ok(None);
    }
    let mut norm_r = f64::NAN;
    if x.iter().all(|v| v.is_finite()) {
        norm_r = residual(a, b, x, r);
    }
    if !norm_r.is_finite() {
        x.fill(0.0);
        r.copy_from_slice(b);
        norm_r = norm_b;
    }
    Ok(Some(Start { norm_b, norm_r }))
}

/// r <- b - A x, returns its norm.
pub(super) fn residual(a: &mut dyn LinOp, b: &[f64], x: &[f64], r: &mut [f64]) -> f64 {
    r.copy_from_slice(b);
    a.apply(-1.0, x, 1.0, r);
    norm2(r)
}

/// Sizes work vectors; keeps them if they fit.
pub(super) fn resize(n: usize, vectors: &mut [&mut Vec<f64>]) {
    for v in vectors {
        v.resize(n, 0.0);
    }
}
