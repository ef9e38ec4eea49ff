//! Losses: a value (summed in f64) and the derivative, which is ADDED to the bars.

use crate::linalg::Scalar;

/// Cross entropy of softmax(z), summed over the columns of z (classes x batch) and times `weight`:
///
/// ```text
/// L = weight sum_s (log sum_c e^(z_cs) - z_(label s) s),   dL/dz_cs = weight (softmax(z_s)_c - [c = label s])
/// ```
///
/// Returns L and how many columns have their largest entry at the label (the first of equal ones counts). Labels must be below the number of classes.
pub fn softmax_cross_entropy<T: Scalar>(
    z: &[T],
    labels: &[usize],
    weight: f64,
    z_bar: Option<&mut [T]>,
) -> (f64, usize) {
    let classes = z.len() / labels.len().max(1);
    let (mut loss, mut correct) = (0.0, 0);
    let mut bars = z_bar.map(|b| b.chunks_exact_mut(classes));
    for (z, &label) in z.chunks_exact(classes).zip(labels) {
        // NaN everywhere is reported as NaN, never as a right answer.
        let top = (0..classes).fold(0, |m, c| if z[c] > z[m] { c } else { m });
        let shift = z[top].f64();
        let sum: f64 = z.iter().map(|v| (v.f64() - shift).exp()).sum();
        loss += weight * (sum.ln() + shift - z[label].f64());
        correct += (top == label && sum.is_finite()) as usize;
        if let Some(bar) = bars.as_mut().and_then(Iterator::next) {
            for (c, (b, v)) in bar.iter_mut().zip(z).enumerate() {
                let soft = (v.f64() - shift).exp() / sum;
                *b += T::of(weight * (soft - (c == label) as u8 as f64));
            }
        }
    }
    (loss, correct)
}

/// weight sum_i (y_i - target_i)^2.
pub fn squared_error<T: Scalar>(y: &[T], target: &[T], weight: f64, y_bar: Option<&mut [T]>) -> f64 {
    let diff = |i: usize| y[i].f64() - target[i].f64();
    if let Some(bar) = y_bar {
        for (i, b) in bar.iter_mut().enumerate() {
            *b += T::of(2.0 * weight * diff(i));
        }
    }
    weight * (0..y.len()).map(|i| diff(i) * diff(i)).sum::<f64>()
}

/// Negative log likelihood of observations x with mean y and standard deviation sigma, where the mask is not zero, times `weight`:
///
/// ```text
/// L = weight sum_i m_i ((y_i - x_i)^2 / (2 sigma^2) + log sigma + log(2 pi) / 2)
/// ```
///
/// An unobserved x may be NaN: it is never read into a product.
pub fn gaussian_nll<T: Scalar>(
    y: &[T],
    x: &[T],
    mask: &[T],
    sigma: f64,
    weight: f64,
    y_bar: Option<&mut [T]>,
) -> f64 {
    let constant = sigma.ln() + 0.5 * (2.0 * std::f64::consts::PI).ln();
    let precision = 1.0 / (sigma * sigma);
    let mut loss = 0.0;
    let mut bar = y_bar;
    for (i, m) in mask.iter().enumerate().filter(|(_, m)| **m != T::ZERO) {
        let (d, m) = (y[i].f64() - x[i].f64(), m.f64());
        loss += m * (0.5 * d * d * precision + constant);
        if let Some(bar) = bar.as_deref_mut() {
            bar[i] += T::of(weight * m * d * precision);
        }
    }
    weight * loss
}

/// KL(N(mean, e^(log_var)) || N(0, 1)), summed and times `weight`: weight sum (mean^2 + e^lv - 1 - lv) / 2.
pub fn kl_standard_normal<T: Scalar>(
    mean: &[T],
    log_var: &[T],
    weight: f64,
    bars: Option<(&mut [T], &mut [T])>,
) -> f64 {
    let mut kl = 0.0;
    for (m, l) in mean.iter().zip(log_var) {
        let (m, l) = (m.f64(), l.f64());
        kl += 0.5 * (m * m + l.exp_m1() - l);
    }
    if let Some((m_bar, l_bar)) = bars {
        for i in 0..mean.len() {
            m_bar[i] += T::of(weight * mean[i].f64());
            l_bar[i] += T::of(0.5 * weight * log_var[i].f64().exp_m1());
        }
    }
    weight * kl
}
