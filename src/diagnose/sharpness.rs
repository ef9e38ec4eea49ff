//! The largest eigenvalue of a Hessian that is known by products only.
//!
//! Lanczos: Q'HQ = T tridiagonal on the Krylov space of a random start, here with all vectors orthogonalized twice against all before, so that the extreme
//! eigenvalues of T approach those of H from inside (Golub and Van Loan, Matrix Computations, 10.1 and 10.3).

use faer::Side;

use crate::random::normals;

/// What the Lanczos process found.
#[derive(Debug, Clone, PartialEq)]
pub struct Sharpness {
    /// The largest eigenvalue of T, not above that of H but for rounding.
    pub value: f64,
    /// Its vector, of length 1.
    pub vector: Vec<f64>,
    /// |H v - value v|: some eigenvalue of H is as near as this.
    pub residual: f64,
    /// Products taken.
    pub products: usize,
}

/// The largest eigenvalue of the symmetric n x n matrix H by at most `steps` products `product(v, out)`, out <- H v. The start depends on the seed only.
///
/// `None` for n = 0, for no steps, or if a product is not finite.
pub fn sharpness(
    product: &mut dyn FnMut(&[f64], &mut [f64]),
    n: usize,
    steps: usize,
    seed: u64,
) -> Option<Sharpness> {
    let mut q: Vec<Vec<f64>> = vec![];
    let (mut alpha, mut beta): (Vec<f64>, Vec<f64>) = (vec![], vec![]);
    let mut v = normals(seed, n);
    let mut length = norm(&v);
    for _ in 0..steps.min(n) {
        v.iter_mut().for_each(|v| *v /= length);
        let mut w = vec![0.0; n];
        product(&v, &mut w);
        if w.iter().any(|w| !w.is_finite()) {
            return None;
        }
        alpha.push(dot(&v, &w));
        q.push(v);
        for _ in 0..2 {
            for u in &q {
                let along = dot(u, &w);
                w.iter_mut().zip(u).for_each(|(w, u)| *w -= along * u);
            }
        }
        length = norm(&w);
        let scale = alpha.iter().chain(&beta).fold(0.0f64, |m, a| m.max(a.abs()));
        v = w;
        beta.push(length);
        // The space is exhausted: what is left is rounding.
        if length <= 1e-14 * scale || length == 0.0 {
            break;
        }
    }
    let m = alpha.len();
    if m == 0 {
        return None;
    }
    let t = faer::Mat::from_fn(m, m, |i, j| match i.abs_diff(j) {
        0 => alpha[i],
        1 => beta[i.min(j)],
        _ => 0.0,
    });
    let eigen = t.self_adjoint_eigen(Side::Lower).ok()?;
    // Ascending.
    let value = eigen.S().column_vector()[m - 1];
    let mut vector = vec![0.0; n];
    for (i, u) in q.iter().enumerate() {
        let share = eigen.U()[(i, m - 1)];
        vector.iter_mut().zip(u).for_each(|(v, u)| *v += share * u);
    }
    let residual = beta[m - 1] * eigen.U()[(m - 1, m - 1)].abs();
    Some(Sharpness { value, vector, residual, products: m })
}

/// out <- (g(p + e v) - g(p - e v)) / (2 e), e = `step` max(|p|, 1) / |v|: the Hessian's product with v by central differences of gradients `gradient(p, g)`. A step
/// of 1e-4 suits gradients in double precision, 1e-2 those in single.
pub fn product_by_differences(
    gradient: &mut dyn FnMut(&[f64], &mut [f64]),
    p: &[f64],
    v: &[f64],
    step: f64,
    out: &mut [f64],
) {
    let length = norm(v);
    if length == 0.0 {
        return out.fill(0.0);
    }
    let e = step * norm(p).max(1.0) / length;
    let moved = |s: f64| p.iter().zip(v).map(|(p, v)| p + s * v).collect::<Vec<_>>();
    let mut minus = vec![0.0; p.len()];
    gradient(&moved(e), out);
    gradient(&moved(-e), &mut minus);
    out.iter_mut().zip(minus).for_each(|(o, m)| *o = (*o - m) / (2.0 * e));
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{At, BarsMut, Dots, Kept};
    use crate::nn::{Activation, Map, Mlp};

    /// A net 4-7-2 (51 parameters) on ten samples, half the squares: gradient by the pullback, products by its tangent.
    struct Net {
        net: Mlp<f64>,
        x: Vec<f64>,
        y: Vec<f64>,
        p: Vec<f64>,
    }

    impl Net {
        fn new() -> Self {
            let net = Mlp::dense(&[4, 7, 2], Activation::Tanh, Activation::Identity, false).unwrap();
            let (x, y, p) = (normals(1, 40), normals(2, 20), normals(3, 51));
            Self { net, x, y, p: p.iter().map(|p| 0.5 * p).collect() }
        }
        fn gradient(&mut self, p: &[f64], g: &mut [f64]) {
            let (mut y, mut keep, mut x_bar) = (vec![0.0; 20], vec![0.0; 70], vec![0.0; 40]);
            let at = At::new(0.0, &self.x, p);
            self.net.forward(at, &mut y, &mut keep);
            let w: Vec<f64> = y.iter().zip(&self.y).map(|(a, b)| a - b).collect();
            g.fill(0.0);
            self.net.vjp(at, Kept { y: &y, keep: &keep }, &w, BarsMut::new(&mut x_bar, g));
        }
        fn product(&mut self, v: &[f64], out: &mut [f64]) {
            let (mut y, mut keep, mut x_bar) = (vec![0.0; 20], vec![0.0; 70], vec![0.0; 40]);
            let (mut y_dot, mut keep_dot) = (vec![0.0; 20], vec![0.0; 70]);
            let at = At::new(0.0, &self.x, &self.p);
            self.net.forward(at, &mut y, &mut keep);
            let w: Vec<f64> = y.iter().zip(&self.y).map(|(a, b)| a - b).collect();
            let (of, dots) = (Kept { y: &y, keep: &keep }, Dots { count: 1, t: &[], x: &[], p: v });
            self.net.jvp(at, of, dots, &mut y_dot, &mut keep_dot);
            let dot = Kept { y: &y_dot, keep: &keep_dot };
            out.fill(0.0);
            // w_dot = y_dot: half the squares.
            self.net.vjp_tangent(at, of, dots, dot, &w, &y_dot, BarsMut::new(&mut x_bar, out));
        }
    }

    #[test]
    fn against_a_dense_decomposition() {
        let mut net = Net::new();
        let n = net.p.len();
        let mut columns = vec![vec![0.0; n]; n];
        for (j, column) in columns.iter_mut().enumerate() {
            let mut e = vec![0.0; n];
            e[j] = 1.0;
            net.product(&e, column);
        }
        let dense = faer::Mat::from_fn(n, n, |i, j| columns[j][i]);
        let values = dense.self_adjoint_eigenvalues(Side::Lower).unwrap();
        let want = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let found = sharpness(&mut |v, out| net.product(v, out), n, 30, 5).unwrap();
        assert!((found.value - want).abs() < 1e-6 * want, "{} {want}", found.value);
        assert!((norm(&found.vector) - 1.0).abs() < 1e-12 && found.residual < 1e-3 * want);
        let mut hv = vec![0.0; n];
        net.product(&found.vector, &mut hv);
        let gap: f64 =
            hv.iter().zip(&found.vector).map(|(h, v)| (h - found.value * v).powi(2)).sum::<f64>().sqrt();
        assert!((gap - found.residual).abs() < 1e-9 * want, "{gap} {}", found.residual);
        // And by differences of gradients.
        let p = net.p.clone();
        let mut by = |v: &[f64], out: &mut [f64]| {
            product_by_differences(&mut |p, g| net.gradient(p, g), &p, v, 1e-4, out);
        };
        let differences = sharpness(&mut by, n, 30, 5).unwrap();
        assert!((differences.value - want).abs() < 1e-5 * want, "{} {want}", differences.value);
    }

    #[test]
    fn products_by_tangent_and_differences_agree_and_are_symmetric() {
        let mut net = Net::new();
        let n = net.p.len();
        let (v, w, p) = (normals(7, n), normals(8, n), net.p.clone());
        let (mut hv, mut hw, mut by) = (vec![0.0; n], vec![0.0; n], vec![0.0; n]);
        net.product(&v, &mut hv);
        net.product(&w, &mut hw);
        assert!((dot(&hv, &w) - dot(&hw, &v)).abs() < 1e-12 * norm(&hv) * norm(&w));
        product_by_differences(&mut |p, g| net.gradient(p, g), &p, &v, 1e-5, &mut by);
        assert!(hv.iter().zip(&by).all(|(a, b)| (a - b).abs() < 1e-6 * norm(&hv)));
    }

    #[test]
    fn few_eigenvalues_end_early_and_bad_products_are_none() {
        // diag(3, 1, 1, 1): two products are enough.
        let mut product = |v: &[f64], out: &mut [f64]| {
            (0..4).for_each(|i| out[i] = if i == 0 { 3.0 * v[0] } else { v[i] });
        };
        let found = sharpness(&mut product, 4, 30, 0).unwrap();
        assert!((found.value - 3.0).abs() < 1e-12 && found.products <= 3, "{found:?}");
        // All negative: the largest is the one nearest to 0.
        let found =
            sharpness(&mut |v, out| (0..3).for_each(|i| out[i] = -(i as f64 + 1.0) * v[i]), 3, 3, 0).unwrap();
        assert!((found.value + 1.0).abs() < 1e-12, "{found:?}");
        assert_eq!(sharpness(&mut |_, out| out.fill(f64::NAN), 3, 3, 0), None);
        assert_eq!(sharpness(&mut |_, _| {}, 0, 3, 0), None);
        assert_eq!(sharpness(&mut |_, out| out.fill(0.0), 3, 3, 0).unwrap().value, 0.0);
    }
}
