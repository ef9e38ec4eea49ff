//! Symmetric equilibration S A S with powers of two: rows of about unit maximum norm, the same inertia, no rounding.
//!
//! Ruiz, "A scaling algorithm to equilibrate both rows and columns norms in matrices", RAL-TR-2001-034.

use crate::linalg::SparseRef;

/// Sweeps; each halves the logarithm of a row's distance from 1.
const SWEEPS: usize = 12;
/// Scale factors stay within 2^-MAX_EXPONENT .. 2^MAX_EXPONENT.
const MAX_EXPONENT: i32 = 400;

/// Improves `s`, which comes from a similar matrix or is 1, until every nonzero row of S A S has its maximum norm in about
/// [1/4, 4]. `row_max` is work space. False: A has an entry that is not finite.
pub(super) fn equilibrate(a: SparseRef<'_>, s: &mut [f64], row_max: &mut [f64]) -> bool {
    for sweep in 0..SWEEPS {
        row_max.fill(0.0);
        let mut sum = 0.0;
        for j in 0..a.ncols {
            let (from, to) = (a.col_ptr[j], a.col_ptr[j + 1]);
            let (sj, mut mj) = (s[j], row_max[j]);
            for (&i, v) in a.row_idx[from..to].iter().zip(&a.values[from..to]) {
                let w = v.abs() * s[i] * sj;
                sum += v * 0.0;
                row_max[i] = row_max[i].max(w);
                mj = mj.max(w);
            }
            row_max[j] = row_max[j].max(mj);
        }
        if sweep == 0 && sum != 0.0 {
            return false;
        }
        let mut settled = true;
        for (si, &m) in s.iter_mut().zip(row_max.iter()) {
            let e = exponent(m);
            if m > 0.0 && !(-1..=0).contains(&e) {
                let half = if e > 0 { (e + 1) / 2 } else { (e + 1).div_euclid(2) };
                let new = (exponent(*si) - half).clamp(-MAX_EXPONENT, MAX_EXPONENT);
                settled &= new == exponent(*si) || (-2..=1).contains(&e);
                *si = power_of_two(new);
            }
        }
        if settled {
            break;
        }
    }
    true
}

/// floor(log2 |v|); -1023 for zero and subnormal numbers.
fn exponent(v: f64) -> i32 {
    ((v.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

fn power_of_two(e: i32) -> f64 {
    f64::from_bits(((e + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::{SparseMatrix, Storage};

    #[test]
    fn badly_scaled_rows_come_out_near_one() {
        let (rows, cols) = ([0, 1, 2, 1, 2], [0, 0, 0, 1, 2]);
        let (mut a, at) = SparseMatrix::from_coordinates(4, 4, &rows, &cols, Storage::SymmetricLower);
        for (k, v) in at.iter().zip([1e30, 3e-12, 1e7, 1e-20, -1e3]) {
            a.values[*k] = v;
        }
        let (mut s, mut m) = (vec![1.0; 4], vec![0.0; 4]);
        assert!(equilibrate(a.as_ref(), &mut s, &mut m));
        m.fill(0.0);
        for j in 0..4 {
            for p in a.col_ptr[j]..a.col_ptr[j + 1] {
                let w = a.values[p].abs() * s[a.row_idx[p]] * s[j];
                m[j] = m[j].max(w);
                m[a.row_idx[p]] = m[a.row_idx[p]].max(w);
            }
        }
        assert!(m[..3].iter().all(|m| (0.25..=4.0).contains(m)), "{m:?}");
        assert_eq!(s[3], 1.0);
        assert!(s.iter().all(|s| s.log2().fract() == 0.0));
        a.values[0] = f64::NAN;
        assert!(!equilibrate(a.as_ref(), &mut s, &mut m));
    }
}
