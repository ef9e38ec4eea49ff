use super::*;
use crate::nlp::{ClosureProblem, Problem};

const N: usize = 3;

/// f = x0^2 x1 + exp(x2), c = (x0 x1 - 1, x2^2 + x0), with errors where asked for.
fn problem<'a>(wrong: &'a str) -> ClosureProblem<'a> {
    let jacobian = move |x: &[f64]| {
        let a = if wrong == "jacobian" { 1.01 } else { 1.0 };
        [x[1], a * x[0], 0.0, 1.0, 0.0, 2.0 * x[2]]
    };
    let hessian = move |x: &[f64], sigma: f64, y: &[f64], h: &mut [f64]| {
        let sigma = if wrong == "sigma" { 1.0 } else { sigma };
        h[0] = 2.0 * sigma * x[1];
        h[3] = 2.0 * sigma * x[0] + y[0];
        h[8] = sigma * x[2].exp() + if wrong == "hessian" { 0.0 } else { 2.0 * y[1] };
    };
    Problem::new("test", N)
        .start(&[0.8, -1.3, 0.4])
        .variable_names(["A", "B", "C"])
        .constraint_names(["P", "Q"][..2].to_vec())
        .objective(|x| x[0] * x[0] * x[1] + x[2].exp())
        .gradient(move |x, g| {
            g[0] = 2.0 * x[0] * x[1];
            g[1] = x[0] * x[0] * if wrong == "gradient" { -1.0 } else { 1.0 };
            g[2] = x[2].exp();
        })
        .equality(2, |x, c| {
            c[0] = x[0] * x[1] - 1.0;
            c[1] = x[2] * x[2] + x[0];
        })
        .sparse_jacobian(
            if wrong == "missing" {
                Pattern { rows: vec![0, 0, 1], cols: vec![0, 1, 2] }
            } else {
                Pattern { rows: vec![0, 0, 1, 1], cols: vec![0, 1, 2, 0] }
            },
            move |x, v| {
                let j = jacobian(x);
                let all = [j[0], j[1], j[5], j[3]];
                v.copy_from_slice(&all[..v.len()]);
            },
        )
        .jacobian_products(
            move |x, v, jv| {
                let j = jacobian(x);
                for i in 0..2 {
                    jv[i] = dot(&j[i * N..(i + 1) * N], v);
                }
            },
            move |x, w, jtw| {
                let j = jacobian(x);
                let slip = if wrong == "transpose" { 0.1 } else { 0.0 };
                for k in 0..N {
                    jtw[k] = j[k] * w[0] + j[N + k] * w[1] + slip * w[0];
                }
            },
        )
        .hessian(hessian)
        .hessian_product(move |x, sigma, y, v, hv| {
            let mut h = [0.0; 9];
            hessian(x, sigma, y, &mut h);
            hv[0] = h[0] * v[0] + h[3] * v[1];
            hv[1] = h[3] * v[0] + if wrong == "symmetry" { 0.1 * v[2] } else { 0.0 };
            hv[2] = h[8] * v[2];
        })
        .build()
        .unwrap()
}

fn check(wrong: &str) -> CheckReport {
    let mut p = problem(wrong);
    let x = p.meta().x0.clone();
    check_derivatives(&mut p, &x, &CheckOptions { points: 3, ..CheckOptions::default() })
}

#[test]
fn right_derivatives_pass() {
    let report = check("");
    assert!(report.passed(), "{:?}", report.disagreements);
    assert_eq!(report.points, 3);
    assert_eq!(report.tallies.len(), Quantity::ALL.len());
    assert!(report.tallies.iter().all(|t| t.undecided == 0 && t.worst < 1e-8), "{:?}", report.tallies);
}

#[test]
fn wrong_entries_are_named() {
    let cases = [
        ("gradient", Quantity::Gradient, "objective", "B", false),
        ("jacobian", Quantity::Jacobian, "P", "B", false),
        ("missing", Quantity::Jacobian, "Q", "A", true),
        ("hessian", Quantity::Hessian, "C", "C", false),
        ("sigma", Quantity::Hessian, "A", "A", false),
    ];
    for (wrong, quantity, row, column, missing) in cases {
        let report = check(wrong);
        assert!(!report.passed(), "{wrong}");
        let found = report
            .disagreements
            .iter()
            .find(|d| d.quantity == quantity && d.row == row && d.column == column)
            .unwrap_or_else(|| panic!("{wrong}: {:?}", report.disagreements));
        assert_eq!(found.missing, missing, "{wrong}");
    }
}

#[test]
fn only_the_wrong_entry_is_named() {
    let report = check("gradient");
    let first_order = report.disagreements.iter().filter(|d| d.quantity == Quantity::Gradient);
    assert!(first_order.clone().all(|d| d.column == "B" && d.analytic == -d.analytic.abs()));
    assert_eq!(first_order.count(), 3);
    let one = &report.disagreements.iter().find(|d| d.quantity == Quantity::Gradient).unwrap();
    assert!((one.relative_error - 2.0).abs() < 1e-6, "{one}");
}

#[test]
fn identities_are_tested() {
    let broken = |wrong: &str, quantity: Quantity| {
        check(wrong).tallies.iter().any(|t| t.quantity == quantity && t.disagreeing > 0)
    };
    assert!(broken("transpose", Quantity::TransposeIdentity));
    assert!(broken("transpose", Quantity::TransposedProductValues));
    assert!(broken("symmetry", Quantity::HessianSymmetry));
    assert!(broken("symmetry", Quantity::HessianProduct));
    assert!(broken("symmetry", Quantity::HessianProductValues));
}

#[test]
fn a_subset_of_columns_and_directions_find_errors_anywhere() {
    let n = 500;
    let build = |wrong: bool| {
        Problem::new("long", n)
            .objective(|x| x.iter().map(|v| v.powi(4)).sum())
            .gradient(move |x, g| {
                g.iter_mut().zip(x).for_each(|(g, x)| *g = 4.0 * x.powi(3));
                g[137] *= if wrong { 1.1 } else { 1.0 };
            })
            .sparse_hessian(Pattern { rows: (0..n).collect(), cols: (0..n).collect() }, |x, sigma, _, h| {
                h.iter_mut().zip(x).for_each(|(h, x)| *h = sigma * 12.0 * x * x)
            })
            .build()
            .unwrap()
    };
    let options = CheckOptions { max_columns: 10, ..CheckOptions::default() };
    let x = vec![1.0; n];
    let report = check_derivatives(&mut build(false), &x, &options);
    assert!(report.passed() && report.columns <= 10, "{:?}", report.disagreements);
    assert!(!check_derivatives(&mut build(true), &x, &options).passed());
}

#[test]
fn points_that_cannot_be_evaluated_are_not_a_pass() {
    let mut p = Problem::new("log", 1)
        .objective(|x| x[0].ln())
        .gradient(|x, g| g[0] = 1.0 / x[0])
        .hessian(|x, s, _, h| h[0] = -s / (x[0] * x[0]))
        .build()
        .unwrap();
    let report = check_derivatives(&mut p, &[-1.0], &CheckOptions::default());
    assert!(!report.passed());
    assert_eq!(report.skipped[0], "point 0: objective: not finite");
}
