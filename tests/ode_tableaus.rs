//! Every tableau against the order conditions of all rooted trees, its interpolant, and its stability interval.

#[path = "common/trees.rs"]
mod rooted;

use costate::ode::{Join, TSIT54, Tableau};
use rooted::{Tree, trees};

/// Phi_i of every stage: product over the children of (A Phi(child))_i.
fn phi(tree: &Tree, tab: &Tableau) -> Vec<f64> {
    let s = tab.c.len();
    let mut v = vec![1.0; s];
    for child in &tree.0 {
        let w = phi(child, tab);
        for (i, vi) in v.iter_mut().enumerate() {
            *vi *= (0..i).map(|j| tab.a(i, j) * w[j]).sum::<f64>();
        }
    }
    v
}

/// |sum_i w_i phi_i - value|.
fn residual(w: &[f64], phi: &[f64], value: f64) -> f64 {
    (w.iter().zip(phi).map(|(a, b)| a * b).sum::<f64>() - value).abs()
}

/// What rounding of these weights may leave of a residual, in units of 1e-14 (phi_i <= 1).
fn size(w: &[f64]) -> f64 {
    w.iter().map(|a| a.abs()).sum::<f64>().max(1.0)
}

fn b(tab: &Tableau) -> Vec<f64> {
    (0..tab.c.len()).map(|j| tab.b(j)).collect()
}

fn b_theta(tab: &Tableau, theta: f64) -> Vec<f64> {
    let q = |i: usize| tab.q[i].iter().rev().fold(0.0, |s, c| s * theta + c);
    (0..tab.c.len()).map(|i| theta * tab.b(i) + theta * (1.0 - theta) * q(i)).collect()
}

#[test]
fn number_of_rooted_trees() {
    let counts: Vec<usize> = (1..=8).map(|n| trees(n).len()).collect();
    assert_eq!(counts, [1, 1, 2, 4, 9, 20, 48, 115]);
}

#[test]
fn rows_sum_to_nodes() {
    for tab in Tableau::all() {
        assert_eq!(tab.a.len(), tab.c.len());
        assert_eq!(tab.q.len(), tab.c.len());
        for i in 0..tab.c.len() {
            let sum: f64 = tab.a[i].iter().sum();
            let size: f64 = tab.a[i].iter().map(|a| a.abs()).sum();
            assert!(
                (sum - tab.c[i]).abs() <= 1e-15 * size.max(1.0),
                "{} row {i}: {sum} {}",
                tab.name,
                tab.c[i]
            );
            assert!(tab.a[i].len() <= i, "{} is explicit", tab.name);
        }
        assert_eq!(tab.c[tab.stages - 1], 1.0);
    }
}

#[test]
fn order_conditions_of_the_step() {
    for tab in Tableau::all() {
        for order in 1..=tab.order {
            for t in trees(order) {
                let r = residual(&b(tab), &phi(&t, tab), 1.0 / t.gamma());
                assert!(r <= 1e-14 * size(&b(tab)), "{} {t:?}: {r:e}", tab.name);
            }
        }
        if tab.order < 8 {
            let worst = trees(tab.order + 1)
                .iter()
                .map(|t| residual(&b(tab), &phi(t, tab), 1.0 / t.gamma()))
                .fold(0.0, f64::max);
            assert!(worst > 1e-6, "{} claims too little", tab.name);
        }
    }
}

#[test]
fn order_conditions_of_the_error_estimate() {
    for tab in Tableau::all() {
        // u = O(h^(q + 1)): the weights annihilate all trees up to order q. Dormand-Prince 8 has orders 5 and 3 of its own.
        let orders = if tab.join == Join::Quotient { [5, 3] } else { [tab.error_order; 2] };
        for (e, q) in tab.e.iter().zip(orders) {
            for order in 1..=q {
                for t in trees(order) {
                    let r = residual(e, &phi(&t, tab), 0.0);
                    assert!(r <= 1e-14 * size(e), "{} {t:?}: {r:e}", tab.name);
                }
            }
            let next = trees(q + 1).iter().map(|t| residual(e, &phi(t, tab), 0.0)).fold(0.0, f64::max);
            assert!(next > 1e-6, "{}: the estimate vanishes at order {}", tab.name, q + 1);
        }
        assert_eq!(tab.error_uses_last, tab.e.iter().any(|e| e.len() == tab.stages));
    }
}

/// f = 0 before the fraction tau of a step, 1 after it: the stages beyond tau see the jump. Whatever tau is, the estimate is a share of the error,
/// 1 - tau less the weights of those stages.
#[test]
fn no_estimate_is_blind_to_a_jump() {
    for tab in Tableau::all() {
        for i in 0..1000 {
            let tau = (i as f64 + 0.5) / 1000.0;
            let after =
                |w: &[f64]| w.iter().zip(tab.c).filter(|(_, c)| **c > tau).map(|(w, _)| w).sum::<f64>();
            let error = (1.0 - tau - after(&b(tab))).abs();
            let estimate = tab.e.iter().map(|e| after(e).abs()).fold(0.0, f64::max);
            assert!(estimate > 2e-4 * error, "{}: {estimate:e} of {error:e} at {tau}", tab.name);
        }
    }
}

#[test]
fn order_conditions_of_the_interpolant() {
    for tab in Tableau::all() {
        for theta in [0.1, 0.3, 0.5, 0.77, 0.9] {
            let w = b_theta(tab, theta);
            // The terms of q, each rounded.
            let terms = theta * (1.0 - theta) * tab.q.iter().map(|q| size(q)).sum::<f64>();
            for order in 1..=tab.dense_order {
                for t in trees(order) {
                    let want = theta.powi(order as i32) / t.gamma();
                    let r = residual(&w, &phi(&t, tab), want);
                    assert!(r <= 1e-16 * terms + 1e-14, "{} theta {theta} {t:?}: {r:e}", tab.name);
                }
            }
        }
    }
}

#[test]
fn interpolant_meets_both_ends_with_its_derivative() {
    // d/dtheta of b_i(theta) is b_i + q_i(0) at 0 and b_i - q_i(1) at 1: 1 for the stage at that end, 0 for the others.
    for tab in Tableau::all() {
        for i in 0..tab.c.len() {
            let q0 = tab.q[i].first().copied().unwrap_or(0.0);
            let q1: f64 = tab.q[i].iter().sum();
            let size = tab.q[i].iter().map(|x| x.abs()).fold(1.0, f64::max);
            let at0 = if i == 0 { 1.0 } else { 0.0 };
            let at1 = if i == tab.stages - 1 { 1.0 } else { 0.0 };
            assert!((tab.b(i) + q0 - at0).abs() <= 1e-14 * size, "{} {i} at 0", tab.name);
            assert!((tab.b(i) - q1 - at1).abs() <= 1e-14 * size, "{} {i} at 1: {}", tab.name, tab.b(i) - q1);
        }
    }
}

#[test]
fn stability_interval() {
    // R(z) = 1 + sum_k z^k b'A^(k-1) 1.
    for tab in Tableau::all() {
        let s = tab.stages;
        let mut v = vec![1.0; s];
        let mut coefficients = vec![1.0];
        for _ in 0..s {
            coefficients.push((0..s).map(|i| tab.b(i) * v[i]).sum());
            v = (0..s).map(|i| (0..i).map(|j| tab.a(i, j) * v[j]).sum()).collect();
        }
        let r = |x: f64| coefficients.iter().rev().fold(0.0, |s, c| s * -x + c).abs();
        assert!(r(0.999 * tab.stability) <= 1.0, "{}", tab.name);
        assert!(r(1.001 * tab.stability) > 1.0, "{}: {}", tab.name, r(1.001 * tab.stability));
    }
}

#[test]
fn found_by_name() {
    assert_eq!(Tableau::by_name("tsit54"), Some(&TSIT54));
    assert_eq!(Tableau::by_name("euler"), None);
}
