//! Numbers that say how good predictions are. All rows count alike, whatever their weights.

/// Area under the ROC curve of scores (Mann and Whitney): the share of pairs of a positive and another row in which the positive one scores higher, equal scores
/// counting half. None without both kinds of rows, or with a score that is not a number.
pub fn area_under_curve(scores: &[f64], positive: &[bool]) -> Option<f64> {
    if scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    // Ranks from 1, the mean one for equal scores.
    let (mut sum, mut ones, mut i) = (0.0, 0.0, 0);
    while i < order.len() {
        let mut j = i;
        while j < order.len() && scores[order[j]] == scores[order[i]] {
            j += 1;
        }
        let rank = 0.5 * (i + 1 + j) as f64;
        let here = order[i..j].iter().filter(|r| positive[**r]).count() as f64;
        (sum, ones, i) = (sum + rank * here, ones + here, j);
    }
    let zeros = scores.len() as f64 - ones;
    (ones > 0.0 && zeros > 0.0).then(|| (sum - 0.5 * ones * (ones + 1.0)) / (ones * zeros))
}

/// R2 = 1 - sum (y - m)^2 / sum (y - mean y)^2, root of the mean squared error, mean absolute error.
pub(in crate::train) fn of_numbers(predicted: &[f64], truth: &[f64]) -> (Option<f64>, f64, f64) {
    let n = truth.len().max(1) as f64;
    let mean = truth.iter().sum::<f64>() / n;
    let squares: f64 = predicted.iter().zip(truth).map(|(m, y)| (y - m).powi(2)).sum();
    let spread: f64 = truth.iter().map(|y| (y - mean).powi(2)).sum();
    let absolute: f64 = predicted.iter().zip(truth).map(|(m, y)| (y - m).abs()).sum();
    ((spread > 0.0).then(|| 1.0 - squares / spread), (squares / n).sqrt(), absolute / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn area_is_the_share_of_pairs() {
        let scores: Vec<f64> = (0..60).map(|i| ((i * 37 % 23) as f64) / 4.0).collect();
        let positive: Vec<bool> = (0..60).map(|i| i % 7 < 3).collect();
        let (mut pairs, mut won) = (0.0, 0.0);
        for (a, _) in scores.iter().zip(&positive).filter(|r| *r.1) {
            for (b, _) in scores.iter().zip(&positive).filter(|r| !*r.1) {
                pairs += 1.0;
                won += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
            }
        }
        let area = area_under_curve(&scores, &positive).unwrap();
        assert!((area - won / pairs).abs() < 1e-14, "{area}");
        assert_eq!(area_under_curve(&[1.0, 2.0], &[false, true]), Some(1.0));
        assert_eq!(area_under_curve(&[1.0, 2.0], &[true, true]), None);
        assert_eq!(area_under_curve(&[1.0, f64::NAN], &[false, true]), None);
    }

    #[test]
    fn numbers_by_hand() {
        let (r2, rmse, mae) = of_numbers(&[1.0, 2.0, 5.0], &[1.0, 3.0, 2.0]);
        assert_eq!((r2.unwrap(), mae), (1.0 - 10.0 / 2.0, 4.0 / 3.0));
        assert!((rmse - (10.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(of_numbers(&[1.0], &[2.0]).0, None);
    }
}
