//! Random convex quadratic programs: the KKT conditions, computed here, and the same point for scaled and permuted problems.

#[path = "common/quadratic.rs"]
mod quadratic;

use costate::StopReason;
use costate::opt::{HessianModel, Method};
use proptest::prelude::*;
use quadratic::{check, quadratic};

/// Where a bound and its multiplier are both 0 at the solution, a product of 1e-8 is met by 1e-4 for each.
const SAME_POINT: f64 = 1e-4;

#[test]
fn convex_problems_end_at_kkt_points() {
    for method in [Method::Auto, Method::InteriorPoint] {
        check(400, quadratic(0.1), |qp| {
            prop_assert_eq!(qp.wrong(&qp.solve(HessianModel::Exact, method)), None);
            Ok(())
        });
    }
}

#[test]
fn convex_problems_without_curvature_everywhere_do_too() {
    check(400, quadratic(0.0), |mut qp| {
        // Of rank one: x'Qx = (a'x)^2.
        let a = qp.hessian[0].clone();
        qp.hessian = a.iter().map(|v| a.iter().map(|w| v * w).collect()).collect();
        prop_assert_eq!(qp.wrong(&qp.solve(HessianModel::Exact, Method::Auto)), None);
        Ok(())
    });
}

#[test]
fn limited_memory_ends_at_the_same_points() {
    check(200, quadratic(0.1), |qp| {
        let learned = qp.solve(HessianModel::LimitedMemory, Method::Auto);
        prop_assert_eq!(qp.wrong(&learned), None);
        let exact = qp.solve(HessianModel::Exact, Method::Auto);
        for (a, b) in learned.x.iter().zip(&exact.x) {
            prop_assert!((a - b).abs() < SAME_POINT, "{:?} {:?}", learned.x, exact.x);
        }
        Ok(())
    });
}

#[test]
fn scaled_problems_give_the_same_point() {
    let scales = || prop::collection::vec(-2.0..2.0f64, 8);
    check(300, (quadratic(0.1), scales(), scales(), -2.0..2.0f64), |(qp, d, r, s)| {
        let power = |v: &[f64]| v.iter().map(|e| 10f64.powf(*e)).collect::<Vec<f64>>();
        let (d, r) = (power(&d), power(&r));
        let scaled = qp.scaled(&d, &r, 10f64.powf(s)).solve(HessianModel::Exact, Method::Auto);
        let plain = qp.solve(HessianModel::Exact, Method::Auto);
        prop_assert!(scaled.solved(), "{}", scaled.message);
        for ((a, d), b) in scaled.x.iter().zip(&d).zip(&plain.x) {
            prop_assert!((a * d - b).abs() < SAME_POINT, "{:?}: {} {b}", scaled.x, a * d);
        }
        Ok(())
    });
}

#[test]
fn permuted_problems_give_the_same_point() {
    check(300, (quadratic(0.1), Just((0..8).collect::<Vec<usize>>()).prop_shuffle()), |(qp, order)| {
        let order: Vec<usize> = order.into_iter().filter(|k| *k < qp.n()).collect();
        let permuted = qp.permuted(&order).solve(HessianModel::Exact, Method::Auto);
        let plain = qp.solve(HessianModel::Exact, Method::Auto);
        prop_assert!(permuted.solved(), "{}", permuted.message);
        for (k, x) in order.iter().zip(&permuted.x) {
            prop_assert!((plain.x[*k] - x).abs() < 1e-6, "{:?} {:?}", plain.x, permuted.x);
        }
        Ok(())
    });
}

/// The conditions above tell a solution from a point beside it, and from wrong multipliers.
#[test]
fn points_that_are_no_solutions_are_found_out() {
    check(200, quadratic(0.1), |qp| {
        let right = qp.solve(HessianModel::Exact, Method::Auto);
        prop_assert_eq!(qp.wrong(&right), None);
        let mut moved = right.clone();
        moved.x[0] += 1e-3;
        prop_assert!(qp.wrong(&moved).is_some());
        for (k, y) in right.y.iter().enumerate().filter(|(_, y)| y.abs() > 1e-3) {
            let mut turned = right.clone();
            turned.y[k] = -y;
            prop_assert!(qp.wrong(&turned).is_some());
        }
        let mut stopped = right;
        stopped.stop = StopReason::MaxIterations;
        prop_assert!(qp.wrong(&stopped).is_some());
        Ok(())
    });
}
