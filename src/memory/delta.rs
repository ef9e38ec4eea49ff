//! A matrix that remembers pairs: y = W x.
//!
//! With e = W x - y* the error before an observation (x, y*) is learned, a the rate and c = a / (1 + a |x|^2):
//!
//! ```text
//! Implicit    W <- W - c e x'             argmin |W x - y*|^2 / 2 + |W - W_k|^2 / (2a): the error becomes e / (1 + a |x|^2), at any rate
//! Surprise    W <- W (I - c x x') - c e x'    as printed: the target is -e, so W x = y*/2 is where it stays
//! Gradient    W <- W - a e x'             least mean squares (Widrow and Hoff 1960); stable for a |x|^2 < 2
//! Hebbian     W <- W + a y* x'            sums of outer products
//! ```
//!
//! An infinite rate makes c = 1 / |x|^2: the pair is stored exactly, at the cost of what others have along x (the projection of Kaczmarz, normalized LMS with step 1).

use super::check;
use crate::error::Error;
use crate::linalg::Scalar;
use crate::simd::any_length;

/// How an observation changes the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// The delta rule by an implicit step.
    #[default]
    Implicit,
    /// The published form, biased to half of the target.
    Surprise,
    /// By the gradient.
    Gradient,
    /// By adding up.
    Hebbian,
}

/// A linear map, learned from a stream.
///
/// ```
/// use costate::memory::DeltaMemory;
///
/// let mut memory = DeltaMemory::new(2, 1, 0.3)?;
/// for k in 0..200 {
///     let x = [(k as f64).sin(), (1.7 * k as f64).cos()];
///     memory.observe(&x, &[2.0 * x[0] - x[1]])?;
/// }
/// let mut y = [0.0];
/// memory.predict(&[1.0, 1.0], &mut y)?;
/// assert!((y[0] - 1.0).abs() < 1e-6);
/// # Ok::<(), costate::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaMemory<T> {
    inputs: usize,
    outputs: usize,
    rule: Rule,
    rate: f64,
    /// W, outputs x inputs, column by column.
    w: Vec<T>,
    /// e, or what is added along x.
    e: Vec<T>,
}

impl<T: Scalar> DeltaMemory<T> {
    /// Zeros, with the implicit rule. The rate has the unit of 1 / |x|^2 and may be infinite.
    ///
    /// # Errors
    /// No inputs, no outputs, or a rate that is not positive.
    pub fn new(inputs: usize, outputs: usize, rate: f64) -> Result<Self, Error> {
        let wrong = |option: &str, what: String| Err(Error::Option { option: option.into(), what });
        if inputs == 0 || outputs == 0 {
            return wrong(
                "inputs, outputs",
                format!("they are {inputs} and {outputs}, both must be positive"),
            );
        }
        if rate.is_nan() || rate <= 0.0 {
            return wrong("rate", format!("it is {rate}, it must be positive"));
        }
        let (w, e) = (vec![T::ZERO; inputs * outputs], vec![T::ZERO; outputs]);
        Ok(Self { inputs, outputs, rule: Rule::Implicit, rate, w, e })
    }
    /// With another rule.
    ///
    /// # Errors
    /// An infinite rate with a rule that takes finite ones.
    pub fn with_rule(mut self, rule: Rule) -> Result<Self, Error> {
        if self.rate.is_infinite() && matches!(rule, Rule::Gradient | Rule::Hebbian) {
            let what = format!("it is infinite, the rule {rule:?} takes finite ones");
            return Err(Error::Option { option: "rate".into(), what });
        }
        self.rule = rule;
        Ok(self)
    }
    /// W, outputs x inputs, column by column.
    pub fn weights(&self) -> &[T] {
        &self.w
    }
    /// W, to be set: a map that is known in part.
    pub fn weights_mut(&mut self) -> &mut [T] {
        &mut self.w
    }
    /// Learns that x gives y. Returns |W x - y|^2 as it was before.
    ///
    /// # Errors
    /// Lengths that do not fit, or numbers that are not finite; then nothing changes.
    pub fn observe(&mut self, x: &[T], y: &[T]) -> Result<f64, Error> {
        check("x", x, self.inputs, true)?;
        check("y", y, self.outputs, true)?;
        let (n, rule, rate) = (self.outputs, self.rule, self.rate);
        let (w, e) = (&mut self.w[..], &mut self.e[..]);
        Ok(any_length(
            #[inline(always)]
            || {
                product(w, x, e);
                let mut squares = T::ZERO;
                for (e, y) in e.iter_mut().zip(y) {
                    *e -= *y;
                    squares += *e * *e;
                }
                let length: T = x.iter().map(|x| *x * *x).sum();
                // a / (1 + a |x|^2) without infinity over infinity; nothing is learned from x = 0.
                let c = if length > T::ZERO { 1.0 / (1.0 / rate + length.f64()) } else { 0.0 };
                let c = match rule {
                    Rule::Implicit | Rule::Surprise => T::of(c),
                    Rule::Gradient | Rule::Hebbian => T::of(rate),
                };
                for (e, y) in e.iter_mut().zip(y) {
                    *e = match rule {
                        Rule::Implicit | Rule::Gradient => -(c * *e),
                        // W x = e + y*.
                        Rule::Surprise => -(c * (*e + *e + *y)),
                        Rule::Hebbian => c * *y,
                    };
                }
                for (w, x) in w.chunks_exact_mut(n).zip(x) {
                    w.iter_mut().zip(&*e).for_each(|(w, e)| *w += *x * *e);
                }
                squares.f64()
            },
        ))
    }
    /// y <- W x.
    ///
    /// # Errors
    /// Lengths that do not fit.
    pub fn predict(&self, x: &[T], y: &mut [T]) -> Result<(), Error> {
        check("x", x, self.inputs, false)?;
        check("y", y, self.outputs, false)?;
        any_length(
            #[inline(always)]
            || product(&self.w, x, y),
        );
        Ok(())
    }
}

/// y <- W x, four columns at a time.
#[inline(always)]
fn product<T: Scalar>(w: &[T], x: &[T], y: &mut [T]) {
    let n = y.len();
    y.fill(T::ZERO);
    let (fours, rest) = (w.chunks_exact(4 * n), x.len() / 4 * 4);
    for (w, x) in fours.zip(x.chunks_exact(4)) {
        let (ab, cd) = w.split_at(2 * n);
        let ((a, b), (c, d)) = (ab.split_at(n), cd.split_at(n));
        for i in 0..n {
            y[i] += (x[0] * a[i] + x[1] * b[i]) + (x[2] * c[i] + x[3] * d[i]);
        }
    }
    for (w, x) in w.chunks_exact(n).zip(x).skip(rest) {
        y.iter_mut().zip(w).for_each(|(y, w)| *y += *x * *w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::normals;

    fn memory(rule: Rule, rate: f64) -> DeltaMemory<f64> {
        let mut m = DeltaMemory::new(5, 3, rate).unwrap().with_rule(rule).unwrap();
        m.weights_mut().copy_from_slice(&normals(1, 15));
        m
    }

    /// W = argmin |W x - u|^2 / 2 + |W - W_k|^2 / (2 a) is (W_k / a + u x') (I / a + x x')^-1, by a dense solve; u = y* or y* - W x.
    #[test]
    fn the_step_is_the_proximal_one() {
        let (x, y) = (normals(2, 5), normals(3, 3));
        for a in [0.01, 0.7, 40.0] {
            for rule in [Rule::Implicit, Rule::Surprise] {
                let mut m = memory(rule, a);
                let old = m.weights().to_vec();
                let wx = |i: usize| (0..5).map(|j| old[3 * j + i] * x[j]).sum::<f64>();
                let before = m.observe(&x, &y).unwrap();
                let error: f64 = (0..3).map(|i| (wx(i) - y[i]).powi(2)).sum();
                assert!((before - error).abs() < 1e-12);
                // Rows of W solve (I / a + x x') w_i = w_ki / a + u_i x.
                let system = faer::Mat::from_fn(5, 5, |r, c| x[r] * x[c] + (r == c) as u8 as f64 / a);
                let rhs = faer::Mat::from_fn(5, 3, |r, i| {
                    let u = if rule == Rule::Implicit { y[i] } else { y[i] - wx(i) };
                    old[3 * r + i] / a + u * x[r]
                });
                let want = faer::linalg::solvers::Solve::solve(&system.partial_piv_lu(), &rhs);
                for j in 0..5 {
                    for i in 0..3 {
                        let w = m.weights()[3 * j + i];
                        assert!((w - want[(j, i)]).abs() < 1e-12, "{rule:?} {a}: {w} {}", want[(j, i)]);
                    }
                }
            }
        }
    }

    #[test]
    fn fixed_points() {
        let (x, y) = (normals(2, 5), normals(3, 3));
        for (rule, share) in [(Rule::Implicit, 1.0), (Rule::Surprise, 0.5)] {
            let mut m = memory(rule, 3.0);
            for _ in 0..300 {
                m.observe(&x, &y).unwrap();
            }
            let mut found = [0.0; 3];
            m.predict(&x, &mut found).unwrap();
            assert!((0..3).all(|i| (found[i] - share * y[i]).abs() < 1e-12), "{rule:?} {found:?} {y:?}");
        }
    }

    /// As many orthogonal pairs as inputs, one after another with c |x|^2 = 1; unit keys and sums do the same.
    #[test]
    fn orthogonal_pairs_are_stored_exactly() {
        for (rule, rate) in [(Rule::Implicit, f64::INFINITY), (Rule::Hebbian, 1.0)] {
            let mut m = DeltaMemory::new(4, 3, rate).unwrap().with_rule(rule).unwrap();
            // Rows of a Hadamard matrix, halved.
            let key = |k: usize| -> Vec<f64> {
                (0..4).map(|j| if (k & j).count_ones().is_multiple_of(2) { 0.5 } else { -0.5 }).collect()
            };
            let values = normals(4, 12);
            for k in 0..4 {
                m.observe(&key(k), &values[3 * k..][..3]).unwrap();
            }
            for k in 0..4 {
                let mut y = [0.0; 3];
                m.predict(&key(k), &mut y).unwrap();
                assert!((0..3).all(|i| (y[i] - values[3 * k + i]).abs() < 1e-14), "{rule:?}");
            }
        }
    }

    #[test]
    fn the_gradient_rule_is_least_mean_squares() {
        let (x, y) = (normals(2, 5), normals(3, 3));
        let mut m = memory(Rule::Gradient, 0.2);
        let old = m.weights().to_vec();
        m.observe(&x, &y).unwrap();
        for k in 0..15 {
            let (i, j) = (k % 3, k / 3);
            let e = (0..5).map(|j| old[3 * j + i] * x[j]).sum::<f64>() - y[i];
            assert!((m.weights()[k] - (old[k] - 0.2 * e * x[j])).abs() < 1e-14);
        }
    }

    #[test]
    fn bad_input_is_named_and_changes_nothing() {
        let mut m = memory(Rule::Implicit, 1.0);
        let old = m.clone();
        let text = |e: Result<f64, Error>| e.unwrap_err().to_string();
        assert!(text(m.observe(&[1.0; 4], &[0.0; 3])).contains("4 numbers, the memory takes 5"));
        assert!(text(m.observe(&[1.0; 5], &[0.0, f64::NAN, 0.0])).contains("entry 1 is NaN"));
        assert_eq!(m.w, old.w);
        assert!(m.predict(&[1.0; 5], &mut [0.0; 2]).is_err());
        // x = 0 says nothing.
        m.observe(&[0.0; 5], &[1.0; 3]).unwrap();
        assert_eq!(m.w, old.w);
        assert!(DeltaMemory::<f64>::new(0, 1, 1.0).is_err() && DeltaMemory::<f64>::new(1, 1, 0.0).is_err());
        let infinite = DeltaMemory::<f32>::new(1, 1, f64::INFINITY).unwrap();
        assert!(infinite.with_rule(Rule::Gradient).is_err());
    }
}
