//! Numbers about numbers. All are `None` for no numbers, and NaN where one of the numbers is.

fn sorted(v: &[f64]) -> Vec<f64> {
    let mut v = v.to_vec();
    v.sort_by(f64::total_cmp);
    v
}

/// The mean.
pub fn mean(v: &[f64]) -> Option<f64> {
    (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64)
}

/// The median: the middle one, or the mean of the middle two.
pub fn median(v: &[f64]) -> Option<f64> {
    if v.is_empty() || v.iter().any(|v| v.is_nan()) {
        return v.first().map(|_| f64::NAN);
    }
    let (s, n) = (sorted(v), v.len());
    Some(if n % 2 == 1 { s[n / 2] } else { 0.5 * (s[n / 2 - 1] + s[n / 2]) })
}

/// The least.
pub fn least(v: &[f64]) -> Option<f64> {
    v.iter().copied().reduce(|a, b| if a.is_nan() || a < b { a } else { b })
}

/// The largest.
pub fn most(v: &[f64]) -> Option<f64> {
    v.iter().copied().reduce(|a, b| if a.is_nan() || a > b { a } else { b })
}

/// Standard deviation of the sample; 0 of a single number.
pub fn deviation(v: &[f64]) -> Option<f64> {
    let m = mean(v)?;
    let squares: f64 = v.iter().map(|v| (v - m) * (v - m)).sum();
    Some((squares / (v.len() as f64 - 1.0).max(1.0)).sqrt())
}

/// Share of places where two lists have the same entry.
pub fn agreement<A: PartialEq>(a: &[A], b: &[A]) -> Option<f64> {
    let same = a.iter().zip(b).filter(|(a, b)| a == b).count();
    (!a.is_empty() && a.len() == b.len()).then(|| same as f64 / a.len() as f64)
}

/// Ranks from 1; equal numbers share the mean of theirs.
fn ranks(v: &[f64]) -> Vec<f64> {
    let below = |x: f64| v.iter().filter(|y| **y < x).count() as f64;
    let equal = |x: f64| v.iter().filter(|y| **y == x).count() as f64;
    v.iter().map(|x| below(*x) + 0.5 * (equal(*x) + 1.0)).collect()
}

/// Spearman's rank correlation; `None` for fewer than two pairs, NaN where all of one list are equal.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() || a.len() < 2 {
        return None;
    }
    if a.iter().chain(b).any(|v| v.is_nan()) {
        return Some(f64::NAN);
    }
    let (a, b) = (ranks(a), ranks(b));
    let m = mean(&a)?;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - m) * (y - m)).sum::<f64>();
    Some(product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlations() {
        assert_eq!(spearman(&[1.0, 2.0, 30.0], &[-1.0, 0.0, 0.5]), Some(1.0));
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), Some(-1.0));
        // Ties: ranks 1.5, 1.5, 3 and 1, 2, 3.
        assert!((spearman(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]).unwrap() - 0.75f64.sqrt()).abs() < 1e-12);
        assert_eq!((spearman(&[1.0], &[1.0]), spearman(&[1.0, 2.0], &[1.0])), (None, None));
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).unwrap().is_nan());
    }

    #[test]
    fn small_lists() {
        assert_eq!(
            (mean(&[]), median(&[]), least(&[]), most(&[]), deviation(&[])),
            (None, None, None, None, None)
        );
        let v = [3.0, -1.0, 10.0];
        assert_eq!(
            (mean(&v), median(&v), least(&v), most(&v)),
            (Some(4.0), Some(3.0), Some(-1.0), Some(10.0))
        );
        assert_eq!(median(&[4.0, 1.0, 2.0, 30.0]), Some(3.0));
        assert_eq!((deviation(&[2.0]), deviation(&[1.0, 3.0])), (Some(0.0), Some(2f64.sqrt())));
        let nan = [1.0, f64::NAN, 2.0];
        assert!([mean(&nan), median(&nan), most(&nan[..2])].iter().all(|v| v.unwrap().is_nan()));
        assert!(least(&nan).unwrap().is_nan() && most(&nan).unwrap().is_nan());
        assert_eq!(agreement(&[1, 2, 3, 4], &[1, 2, 0, 0]), Some(0.5));
        assert_eq!((agreement::<u8>(&[], &[]), agreement(&[1], &[1, 2])), (None, None));
    }
}
