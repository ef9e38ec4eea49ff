//! Dense kernels.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatMut, MatRef, Par};

/// Lower triangle of A'A, A m x n, both column by column in full storage; the upper triangle of `product` is left alone.
pub fn gram(m: usize, n: usize, a: &[f64], product: &mut [f64]) {
    let a = MatRef::from_column_major_slice(a, m, n);
    triangular::matmul(
        MatMut::from_column_major_slice_mut(product, n, n),
        BlockStructure::TriangularLower,
        Accum::Replace,
        a.transpose(),
        BlockStructure::Rectangular,
        a,
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gram_is_the_product() {
        let (m, n) = (7, 3);
        let a: Vec<f64> = (0..m * n).map(|k| ((k * k) % 11) as f64 - 4.0).collect();
        let mut product = vec![f64::NAN; n * n];
        gram(m, n, &a, &mut product);
        for j in 0..n {
            for i in j..n {
                let expected: f64 = (0..m).map(|k| a[i * m + k] * a[j * m + k]).sum();
                assert_eq!(product[j * n + i], expected);
            }
        }
    }
}
