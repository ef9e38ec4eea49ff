//! Where the Jacobian of a function has entries, found by evaluating it.
//!
//! NaN in some of the inputs turns every output into NaN that depends on one of them. The columns are halved again and again: it is known
//! which blocks of columns an output depends on; blocks that no output depends on together are probed in one evaluation, once for their left and
//! once for their right halves. About 2 log2(n) times the colours of the Jacobian are enough: some 80 evaluations for a band of two
//! diagonals on each side and 10 000 unknowns, some 300 for five points on a grid of 65 536.
//!
//! (Probing every k-th input for a few spacings k finds a band in fewer evaluations but is not exact: with spacings 6 and 7 an entry seven places
//! beside a tridiagonal band looks like the band's own.)

use super::colour::colour;
use crate::linalg::{Pattern, Scalar};

/// A pattern found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// Entry (i, j): output i depends on input j.
    pub pattern: Pattern,
    /// Evaluations of the function.
    pub evaluations: usize,
}

/// Why no pattern was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DetectError {
    /// The function is not finite where its Jacobian is looked for.
    #[error("output {output} is not finite at the point where the pattern of the Jacobian is looked for")]
    NotFinite {
        /// The output, from 0.
        output: usize,
    },
    /// The couplings are too many.
    #[error(
        "the {inputs} columns of the Jacobian are coupled too much to find its pattern in {limit} evaluations: give the pattern"
    )]
    TooMany {
        /// Columns.
        inputs: usize,
        /// Evaluations allowed.
        limit: usize,
    },
    /// NaN does not show a dependence that is there.
    #[error(
        "output {output} depends on inputs where NaN does not show it (min, max and branches swallow NaN): give the pattern of the Jacobian"
    )]
    Swallowed {
        /// The output, from 0.
        output: usize,
    },
}

/// Evaluations that are usually allowed: a full Jacobian of 2000 columns is found one by one.
pub const EVALUATIONS: usize = 2100;

/// Finds the pattern of the Jacobian of `f` (inputs, outputs) at `x` in at most `limit` evaluations ([`EVALUATIONS`] is usual), where `f` may be
/// given NaN.
///
/// The pattern is exact for functions that pass NaN on. At the end the inputs are changed a little, the columns of one colour together, as far as the limit allows: an output
/// that changes though none of these columns is in its row is an error. What is zero by chance or cancels (0 x, x - x) is in the pattern.
pub fn detect<T: Scalar>(
    f: &mut dyn FnMut(&[T], &mut [T]),
    x: &[T],
    outputs: usize,
    limit: usize,
) -> Result<Detected, DetectError> {
    let n = x.len();
    let mut probe = Probe { f, at: x.to_vec(), y: vec![T::ZERO; outputs], evaluations: 0, limit };
    probe.evaluate(n)?;
    if let Some(output) = probe.y.iter().position(|v| !v.is_finite()) {
        return Err(DetectError::NotFinite { output });
    }
    let here = probe.y.clone();
    // Every output may depend on the one block of all columns.
    let mut width = n.next_power_of_two().max(2);
    let mut blocks = Pattern::of_columns(outputs, vec![(0..outputs).collect(); n.min(1)]);
    while width > 1 {
        let groups = colour(&blocks);
        let children = n.div_ceil(width / 2);
        // Where nearly every block has a colour of its own halving does not help.
        let single = groups.len() >= 8 && 2 * groups.len() >= blocks.ncols();
        let to = if single { 1 } else { width / 2 };
        let needed = if single { n } else { 2 * groups.len() };
        if probe.evaluations + needed > limit {
            return Err(DetectError::TooMany { inputs: n, limit });
        }
        blocks = if single {
            let each: Vec<Vec<usize>> = (0..blocks.ncols()).map(|b| vec![b]).collect();
            probe.split(x, &blocks, &each, width, to)?
        } else {
            probe.split(x, &blocks, &groups, width, to)?
        };
        debug_assert!(blocks.ncols() == if single { n } else { children });
        width = to;
    }
    probe.check(x, &here, &blocks)?;
    Ok(Detected { pattern: blocks, evaluations: probe.evaluations })
}

struct Probe<'a, T> {
    f: &'a mut dyn FnMut(&[T], &mut [T]),
    at: Vec<T>,
    y: Vec<T>,
    evaluations: usize,
    limit: usize,
}

impl<T: Scalar> Probe<'_, T> {
    fn evaluate(&mut self, inputs: usize) -> Result<(), DetectError> {
        if self.evaluations >= self.limit {
            return Err(DetectError::TooMany { inputs, limit: self.limit });
        }
        self.evaluations += 1;
        (self.f)(&self.at, &mut self.y);
        Ok(())
    }

    /// From blocks of `width` columns to blocks of `to` columns; the blocks of a group are probed together.
    fn split(
        &mut self,
        x: &[T],
        blocks: &Pattern,
        groups: &[Vec<usize>],
        width: usize,
        to: usize,
    ) -> Result<Pattern, DetectError> {
        let n = x.len();
        let mut rows_of = vec![Vec::new(); n.div_ceil(to)];
        let mut known = vec![usize::MAX; self.y.len()];
        for (g, group) in groups.iter().enumerate() {
            group.iter().for_each(|&b| blocks.column(b).iter().for_each(|&i| known[i] = g));
            for part in 0..width / to {
                let columns = |b: usize| (b * width + part * to).min(n)..(b * width + (part + 1) * to).min(n);
                if group.iter().all(|&b| columns(b).is_empty()) {
                    continue;
                }
                group.iter().for_each(|&b| self.at[columns(b)].fill(T::of(f64::NAN)));
                self.evaluate(n)?;
                group.iter().for_each(|&b| self.at[columns(b)].copy_from_slice(&x[columns(b)]));
                for &b in group.iter().filter(|&&b| !columns(b).is_empty()) {
                    let rows = blocks.column(b).iter().copied().filter(|&i| self.y[i].is_nan());
                    rows_of[columns(b).start / to].extend(rows);
                }
                if let Some(output) = (0..self.y.len()).find(|&i| self.y[i].is_nan() && known[i] != g) {
                    return Err(DetectError::Swallowed { output });
                }
            }
        }
        Ok(Pattern::of_columns(self.y.len(), rows_of))
    }

    /// Outputs change only with columns of their rows.
    fn check(&mut self, x: &[T], here: &[T], pattern: &Pattern) -> Result<(), DetectError> {
        let mut known = vec![usize::MAX; self.y.len()];
        let mut groups = colour(pattern);
        // Columns without entries are one more group.
        groups.push((0..x.len()).filter(|&j| pattern.column(j).is_empty()).collect());
        for (g, group) in groups.iter().enumerate().filter(|(_, group)| !group.is_empty()) {
            for &j in group {
                // Not a round number of ulps, and different for neighbours.
                let step = 1e-3 * (1.0 + 0.37 * ((j * 7919) % 101) as f64 / 101.0);
                let step = T::of(step) * if x[j].abs() > T::of(1e-3) { x[j].abs() } else { T::of(1e-3) };
                self.at[j] = x[j] + step;
                pattern.column(j).iter().for_each(|&i| known[i] = g);
            }
            // Where every row has one of these columns there is nothing to see.
            if known.iter().any(|&k| k != g) {
                if self.evaluations >= self.limit {
                    return Ok(());
                }
                self.evaluate(x.len())?;
            }
            group.iter().for_each(|&j| self.at[j] = x[j]);
            let changed = |i: usize| self.y[i] != here[i] && self.y[i].is_finite() && known[i] != g;
            if let Some(output) = (0..self.y.len()).find(|&i| changed(i)) {
                return Err(DetectError::Swallowed { output });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of the inputs of each row.
    fn sums(pattern: &Pattern) -> impl FnMut(&[f64], &mut [f64]) + '_ {
        |x, y| {
            y.fill(0.0);
            pattern.entries().for_each(|(i, j)| y[i] += (1.0 + x[j]).powi(2) * (1 + i % 3) as f64);
        }
    }

    fn found(pattern: &Pattern) -> usize {
        let x: Vec<f64> = (0..pattern.ncols()).map(|j| (j as f64).sin()).collect();
        let d = detect(&mut sums(pattern), &x, pattern.nrows(), EVALUATIONS).unwrap();
        assert!(d.pattern == *pattern, "{} entries, not {}", d.pattern.len(), pattern.len());
        d.evaluations
    }

    #[test]
    fn patterns_are_found_in_few_evaluations() {
        for (n, b) in [(0, 0), (1, 0), (2, 1), (3, 1), (17, 2), (100, 0), (1000, 1)] {
            found(&Pattern::banded(n, b, b));
        }
        let evaluations = found(&Pattern::banded(10_000, 2, 2));
        assert!(evaluations <= 110, "{evaluations}");
        // What hides from spacings of 6 and 7 beside a tridiagonal band.
        let band = Pattern::banded(200, 1, 1);
        found(&band.union(&Pattern::new(200, 200, [(50, 57), (3, 190)]).unwrap()));
        // Five points on a torus; an arrow; rectangles; a dense matrix, one by one.
        let m = 40;
        let torus = (0..m * m).flat_map(|k| {
            let (x, y) = (k % m, k / m);
            [
                (k, k),
                (k, y * m + (x + 1) % m),
                (y * m + (x + 1) % m, k),
                (k, (k + m) % (m * m)),
                ((k + m) % (m * m), k),
            ]
        });
        let evaluations = found(&Pattern::new(m * m, m * m, torus).unwrap());
        assert!(evaluations <= 350, "{evaluations}");
        found(&Pattern::new(60, 60, (0..60).flat_map(|j| [(j, j), (j, 0)])).unwrap());
        found(&Pattern::new(5, 90, (0..90).map(|j| (j % 4, j))).unwrap());
        found(&Pattern::new(90, 5, (0..90).map(|i| (i, i % 4))).unwrap());
        let evaluations = found(&Pattern::dense(150, 150));
        assert!(evaluations <= 150 + 200, "{evaluations}");
    }

    #[test]
    fn what_cannot_be_found_is_said() {
        let n = 3000;
        let dense = |x: &[f64], y: &mut [f64]| {
            let sum: f64 = x.iter().sum();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = sum - x);
        };
        let x = vec![0.5; n];
        let e = detect(&mut { dense }, &x, n, EVALUATIONS).unwrap_err();
        assert_eq!(e, DetectError::TooMany { inputs: n, limit: EVALUATIONS });
        let d = detect(&mut { dense }, &x[..2000], 2000, EVALUATIONS).unwrap();
        // The diagonal cancels, which NaN does not see.
        assert!(
            d.pattern.len() == 2000 * 2000 && d.evaluations <= EVALUATIONS,
            "{} entries",
            d.pattern.len()
        );
        let mut infinite = |x: &[f64], y: &mut [f64]| (y[0], y[1]) = (x[0], 1.0 / (x[1] - 0.5));
        assert_eq!(detect(&mut infinite, &x[..2], 2, 100), Err(DetectError::NotFinite { output: 1 }));
        // max swallows NaN in its second argument and in its first.
        let mut swallows = |x: &[f64], y: &mut [f64]| {
            y[0] = x[0];
            y[1] = x[2].max(0.1);
            y[2] = x[2];
        };
        let e = detect(&mut swallows, &[0.3, 0.2, 0.7], 3, 100);
        assert_eq!(e, Err(DetectError::Swallowed { output: 1 }));
        assert!(e.unwrap_err().to_string().contains("output 1"));
    }

    #[test]
    fn f32_works() {
        let mut f = |x: &[f32], y: &mut [f32]| (y[0], y[1]) = (x[0] * x[1], x[1]);
        let d = detect(&mut f, &[1.0, 2.0], 2, 100).unwrap();
        assert_eq!(d.pattern, Pattern::new(2, 2, [(0, 0), (0, 1), (1, 1)]).unwrap());
    }
}
