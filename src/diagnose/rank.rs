//! How many directions a set of vectors uses.

use crate::error::Error;

/// exp(- sum q log q), q = s / sum s, s the singular values after the mean of the rows is removed (Roy and Vetterli, EUSIPCO 2007). Between 1 and min(rows - 1,
/// columns); 0 if all rows are equal. `x` holds the rows one after another, `columns` numbers each (features of one sample).
///
/// # Errors
/// A length that is no multiple of `columns`, or numbers that are not finite.
pub fn effective_rank(x: &[f64], columns: usize) -> Result<f64, Error> {
    let wrong = |what: String| Error::Option { option: "x".into(), what };
    if columns == 0 || !x.len().is_multiple_of(columns) || x.is_empty() {
        return Err(wrong(format!(
            "it has {} numbers, expected a positive multiple of {columns} columns",
            x.len()
        )));
    }
    if let Some(i) = x.iter().position(|v| !v.is_finite()) {
        return Err(wrong(format!(
            "entry {} of row {} is {}, expected a finite number",
            i % columns,
            i / columns,
            x[i]
        )));
    }
    let rows = x.len() / columns;
    let mean: Vec<f64> =
        (0..columns).map(|j| x[j..].iter().step_by(columns).sum::<f64>() / rows as f64).collect();
    let centered = faer::Mat::from_fn(rows, columns, |i, j| x[i * columns + j] - mean[j]);
    let s = centered.singular_values().map_err(|_| wrong("its singular values were not found".into()))?;
    let sum: f64 = s.iter().sum();
    // What rounding leaves of equal rows.
    let largest = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if sum <= 1e-14 * largest * (rows * columns) as f64 {
        return Ok(0.0);
    }
    let entropy: f64 = s.iter().map(|s| s / sum).filter(|q| *q > 0.0).map(|q| -q * q.ln()).sum();
    Ok(entropy.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_spectra() {
        // The rows +-e_j scaled by s_j have singular values sqrt(2) s_j and mean 0.
        let rows = |s: &[f64]| {
            let n = s.len();
            let mut x = vec![];
            for (j, s) in s.iter().enumerate() {
                for sign in [1.0, -1.0] {
                    x.extend((0..n).map(|k| if k == j { sign * s } else { 0.0 } + 7.0));
                }
            }
            effective_rank(&x, n).unwrap()
        };
        assert!((rows(&[1.0, 1.0, 1.0, 1.0]) - 4.0).abs() < 1e-12);
        assert!((rows(&[1.0, 0.0, 0.0]) - 1.0).abs() < 1e-10);
        let q = [0.5f64, 0.3, 0.2];
        let want = (-q.iter().map(|q| q * q.ln()).sum::<f64>()).exp();
        assert!((rows(&q) - want).abs() < 1e-12);
        assert_eq!(effective_rank(&[0.1, 0.2, 0.1, 0.2, 0.1, 0.2], 2).unwrap(), 0.0);
    }

    #[test]
    fn bad_input_is_named() {
        for (x, columns, what) in [
            (&[1.0, 2.0, 3.0][..], 2, "3 numbers"),
            (&[], 2, "0 numbers"),
            (&[1.0], 0, "multiple of 0"),
            (&[1.0, f64::NAN], 1, "entry 0 of row 1 is NaN"),
        ] {
            assert!(effective_rank(x, columns).unwrap_err().to_string().contains(what));
        }
    }
}
