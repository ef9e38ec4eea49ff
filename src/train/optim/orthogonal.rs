//! Newton-Schulz iterations towards the orthogonal factor of a matrix: X_0 = M / |M|_F, X <- a X + b A X + c A^2 X with A = X X' (of a tall X the same
//! through X'X). Singular values s go through s <- a s + b s^3 + c s^5; singular vectors stay.

use crate::linalg::{Dense, Scalar};

/// Of Muon (Jordan et al. 2024): five steps take the singular values of a well-conditioned matrix near one, not to it.
pub(super) const QUINTIC: [f64; 3] = [3.4445, -4.775, 2.0315];
/// The classical cubic: converges to one for |X|_2 < sqrt 3, which the division by |M|_F ensures.
pub(super) const CUBIC: [f64; 3] = [1.5, -0.5, 0.0];

/// Work storage; it grows to the largest matrix and stays.
#[derive(Debug, Clone, Default)]
pub(super) struct NewtonSchulz<T> {
    x: Vec<T>,
    next: Vec<T>,
    gram: Vec<T>,
    square: Vec<T>,
}

impl<T: Scalar> NewtonSchulz<T> {
    /// The iterate after `steps` steps from the rows x cols matrix `m`; zeros stay zeros.
    pub fn run(
        &mut self,
        steps: u64,
        [a, b, c]: [f64; 3],
        (rows, cols): (usize, usize),
        m: &[T],
    ) -> &mut [T] {
        let norm = m.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        self.x.clear();
        self.x.extend(m.iter().map(|v| T::of(v.f64() * scale)));
        self.next.resize(m.len(), T::ZERO);
        let k = rows.min(cols);
        let (ta, tb, tc) = (T::of(a), T::of(b), T::of(c));
        for _ in 0..steps {
            let x = Dense::new(&self.x, rows, cols);
            self.gram.resize(k * k, T::ZERO);
            self.square.resize(k * k, T::ZERO);
            let (left, right) = if rows <= cols { (x, x.t()) } else { (x.t(), x) };
            T::gemm(T::ONE, left, right, false, &mut self.gram, 1);
            let gram = Dense::new(&self.gram, k, k);
            if c == 0.0 {
                self.square.fill(T::ZERO);
            } else {
                T::gemm(tc, gram, gram, false, &mut self.square, 1);
            }
            // a I + b A + c A^2.
            self.square.iter_mut().zip(&self.gram).for_each(|(s, g)| *s += tb * *g);
            (0..k).for_each(|i| self.square[i * k + i] += ta);
            let polynomial = Dense::new(&self.square, k, k);
            let (left, right) = if rows <= cols { (polynomial, x) } else { (x, polynomial) };
            T::gemm(T::ONE, left, right, false, &mut self.next, 1);
            std::mem::swap(&mut self.x, &mut self.next);
        }
        &mut self.x
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::linalg::Svd;
    use crate::train::data::{Stream, generator};

    /// A random rows x cols matrix with singular values from 1 down to 1 / condition.
    fn matrix(rows: usize, cols: usize, condition: f64, seed: u64) -> Vec<f64> {
        let mut rng = generator(seed, Stream::Data, 0);
        let raw: Vec<f64> = (0..rows * cols).map(|_| rng.random::<f64>() - 0.5).collect();
        let mut svd = Svd::new(rows, cols);
        assert!(svd.compute(&raw));
        let k = rows.min(cols);
        let mut out = vec![0.0; rows * cols];
        for l in 0..k {
            let s = condition.powf(-(l as f64) / (k - 1) as f64);
            for j in 0..cols {
                for i in 0..rows {
                    out[j * rows + i] += s * svd.left(l)[i] * svd.right(l)[j];
                }
            }
        }
        out
    }

    #[test]
    fn singular_values_come_near_one() {
        for (seed, condition) in [(1, 1.5), (2, 10.0), (3, 100.0), (4, 100.0)] {
            let m = matrix(32, 32, condition, seed);
            let x = NewtonSchulz::default().run(5, QUINTIC, (32, 32), &m).to_vec();
            let mut svd = Svd::new(32, 32);
            assert!(svd.compute(&x));
            let s = svd.values();
            assert!(s[0] <= 1.2 && s[31] >= 0.65, "{condition}: {} to {}", s[31], s[0]);
        }
        // Cubic steps converge to the orthogonal factor, wide and tall alike.
        for (rows, cols) in [(5, 9), (9, 5), (6, 6), (7, 1)] {
            let m: Vec<f64> = if cols == 1 {
                (0..7).map(|i| i as f64 - 2.0).collect()
            } else {
                matrix(rows, cols, 10.0, 9)
            };
            let x = NewtonSchulz::default().run(25, CUBIC, (rows, cols), &m).to_vec();
            let mut svd = Svd::new(rows, cols);
            assert!(svd.compute(&m));
            for j in 0..cols {
                for i in 0..rows {
                    let factor: f64 = (0..rows.min(cols)).map(|k| svd.left(k)[i] * svd.right(k)[j]).sum();
                    assert!((x[j * rows + i] - factor).abs() < 1e-12, "{rows} x {cols}");
                }
            }
        }
        assert_eq!(NewtonSchulz::default().run(3, CUBIC, (2, 2), &[0.0f32; 4]), [0.0; 4]);
    }

    #[test]
    fn a_tall_matrix_is_the_transpose_of_a_wide_one() {
        let m = matrix(4, 7, 5.0, 3);
        let t: Vec<f64> = (0..28).map(|k| m[k % 7 * 4 + k / 7]).collect();
        let wide = NewtonSchulz::default().run(5, QUINTIC, (4, 7), &m).to_vec();
        let tall = NewtonSchulz::default().run(5, QUINTIC, (7, 4), &t).to_vec();
        assert!((0..28).all(|k| (tall[k] - wide[k % 7 * 4 + k / 7]).abs() < 1e-13));
    }
}
