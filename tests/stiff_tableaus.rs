//! Every Rosenbrock tableau against the order conditions of all rooted trees, its interpolant, its stability.

#[path = "common/trees.rs"]
mod rooted;

use costate::ode::{RODAS3P, RODAS5P, RosenbrockTableau};
use rooted::{Tree, trees};

/// The classical coefficients: U = Gamma K with Gamma^-1 = I / gamma - C; alpha_ij, beta_ij = alpha_ij + gamma_ij.
struct Classical {
    s: usize,
    alpha: Vec<Vec<f64>>,
    beta: Vec<Vec<f64>>,
    gamma: Vec<Vec<f64>>,
}

impl Classical {
    fn new(tab: &RosenbrockTableau) -> Self {
        let s = tab.stages();
        let c = |i: usize, j: usize| tab.c[i].get(j).copied().unwrap_or(0.0);
        let mut gamma: Vec<Vec<f64>> = vec![];
        for i in 0..s {
            // (I / gamma - C) Gamma = I by rows.
            let row = (0..s).map(|j| {
                let sum: f64 = (0..i).map(|l| c(i, l) * gamma[l][j]).sum();
                tab.gamma * (sum + (i == j) as u8 as f64)
            });
            let row = row.collect();
            gamma.push(row);
        }
        let alpha: Vec<Vec<f64>> = (0..s)
            .map(|i| (0..s).map(|j| (0..s).map(|l| tab.a(i, l) * gamma[l][j]).sum()).collect())
            .collect();
        let beta = (0..s).map(|i| (0..s).map(|j| alpha[i][j] + gamma[i][j]).collect()).collect();
        Self { s, alpha, beta, gamma }
    }
    /// Weights on the U_j as weights on the K_j.
    fn weights(&self, m: &[f64]) -> Vec<f64> {
        (0..self.s).map(|j| (0..self.s).map(|i| m[i] * self.gamma[i][j]).sum()).collect()
    }
    /// Phi_i: an edge to an only child carries beta, to one of several alpha (Hairer and Wanner, IV.7, table 7.1).
    fn phi(&self, tree: &Tree) -> Vec<f64> {
        let m = if tree.0.len() == 1 { &self.beta } else { &self.alpha };
        let mut v = vec![1.0; self.s];
        for child in &tree.0 {
            let w = self.phi(child);
            for (v, row) in v.iter_mut().zip(m) {
                *v *= row.iter().zip(&w).map(|(a, b)| a * b).sum::<f64>();
            }
        }
        v
    }
}

/// |sum_i w_i phi_i - value|, relative to the terms of the sum where they exceed one.
fn residual(w: &[f64], phi: &[f64], value: f64) -> f64 {
    let sum: f64 = w.iter().zip(phi).map(|(a, b)| a * b).sum();
    let size: f64 = w.iter().zip(phi).map(|(a, b)| (a * b).abs()).sum();
    (sum - value).abs() / size.max(1.0)
}

fn m(tab: &RosenbrockTableau) -> Vec<f64> {
    (0..tab.stages()).map(|j| tab.m(j)).collect()
}

fn m_theta(tab: &RosenbrockTableau, theta: f64) -> Vec<f64> {
    let q = |j: usize| tab.q.iter().rev().fold(0.0, |s, row| s * theta + row.get(j).copied().unwrap_or(0.0));
    (0..tab.stages()).map(|j| theta * tab.m(j) + theta * (1.0 - theta) * q(j)).collect()
}

/// Largest residual over the trees of n nodes.
fn worst(tab: &RosenbrockTableau, w: &[f64], n: usize, value: impl Fn(&Tree) -> f64) -> f64 {
    let c = Classical::new(tab);
    let b = c.weights(w);
    trees(n).iter().map(|t| residual(&b, &c.phi(t), value(t))).fold(0.0, f64::max)
}

#[test]
fn nodes_are_row_sums() {
    for tab in RosenbrockTableau::all() {
        let c = Classical::new(tab);
        for i in 0..c.s {
            assert!((c.alpha[i].iter().sum::<f64>() - tab.alpha[i]).abs() < 2e-14, "{} alpha {i}", tab.name);
            assert!((c.gamma[i].iter().sum::<f64>() - tab.d[i]).abs() < 2e-14, "{} d {i}", tab.name);
        }
    }
}

#[test]
fn order_conditions_of_the_step() {
    for tab in RosenbrockTableau::all() {
        for n in 1..=tab.order {
            let r = worst(tab, &m(tab), n, |t| 1.0 / t.gamma());
            assert!(r < 1e-14, "{} order {n}: {r}", tab.name);
        }
        assert!(worst(tab, &m(tab), tab.order + 1, |t| 1.0 / t.gamma()) > 1e-4, "{}: more?", tab.name);
    }
}

#[test]
fn order_conditions_of_the_error_estimate() {
    for tab in RosenbrockTableau::all() {
        for n in 1..=tab.error_order {
            let r = worst(tab, tab.e, n, |_| 0.0);
            assert!(r < 1e-14, "{} order {n}: {r}", tab.name);
        }
        assert!(worst(tab, tab.e, tab.error_order + 1, |_| 0.0) > 1e-3, "{}", tab.name);
    }
}

#[test]
fn order_conditions_of_the_interpolant() {
    for tab in RosenbrockTableau::all() {
        for theta in [0.1f64, 0.3, 0.5, 0.8, 1.0] {
            for n in 1..=tab.dense_order {
                let want = |t: &Tree| theta.powi(n as i32) / t.gamma();
                let r = worst(tab, &m_theta(tab, theta), n, want);
                // The coefficients, up to 80 in size, are published to 16 digits.
                assert!(r < 4e-14, "{} order {n}, theta {theta}: {r}", tab.name);
            }
        }
    }
}

/// R(z) of y' = lambda y with the weights m: 1 + z b' (I - z beta)^-1 1, z = x + i y, by complex forward substitution.
fn stability(tab: &RosenbrockTableau, w: &[f64], x: f64, y: f64) -> f64 {
    let c = Classical::new(tab);
    let b = c.weights(w);
    let mul = |a: (f64, f64), b: (f64, f64)| (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0);
    let z = (x, y);
    let mut k: Vec<(f64, f64)> = vec![];
    for i in 0..c.s {
        let sum = k
            .iter()
            .enumerate()
            .fold((0.0, 0.0), |s, (j, k)| (s.0 + c.beta[i][j] * k.0, s.1 + c.beta[i][j] * k.1));
        let right = mul(z, sum);
        let right = (1.0 + right.0, right.1);
        let d = (1.0 - tab.gamma * x, -tab.gamma * y);
        let size = d.0 * d.0 + d.1 * d.1;
        k.push(mul(right, (d.0 / size, -d.1 / size)));
    }
    let sum = k.iter().zip(&b).fold((0.0, 0.0), |s: (f64, f64), (k, b)| (s.0 + b * k.0, s.1 + b * k.1));
    let r = mul(z, sum);
    (1.0 + r.0).hypot(r.1)
}

#[test]
fn a_stable_and_zero_at_infinity() {
    for tab in RosenbrockTableau::all() {
        for k in -40..=60 {
            let r = 10f64.powf(0.1 * k as f64);
            for angle in [0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0] {
                let (s, c) = (angle * std::f64::consts::FRAC_PI_2).sin_cos();
                let size = stability(tab, &m(tab), -r * c, r * s);
                assert!(size <= 1.0 + 1e-9, "{} |z| {r} angle {angle}: {size}", tab.name);
            }
        }
        assert!(stability(tab, &m(tab), -1e9, 0.0) < 1e-7, "{}", tab.name);
        // The embedded solution, too, must damp or at least not amplify without bound.
        let embedded: Vec<f64> = m(tab).iter().zip(tab.e).map(|(m, e)| m - e).collect();
        assert!(stability(tab, &embedded, -1e9, 0.0) < 1.2, "{}", tab.name);
    }
}

#[test]
fn structure_of_the_stages() {
    assert_eq!((0..5).map(|i| RODAS3P.repeats(i)).collect::<Vec<_>>(), [None, None, Some(0), None, Some(3)]);
    assert!(!RODAS3P.has_stiffness());
    assert!(RODAS5P.continues(6) && RODAS5P.continues(7) && !RODAS5P.continues(5) && RODAS5P.has_stiffness());
    for tab in RosenbrockTableau::all() {
        assert_eq!(RosenbrockTableau::by_name(tab.name), Some(tab));
    }
    assert_eq!(RosenbrockTableau::by_name("none"), None);
}
