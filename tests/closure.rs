//! Closure-built problems, solved.

use costate::nlp::{Nlp, Pattern, Problem};
use costate::observe::Silent;
use costate::opt::{Options, solve};

/// min (x0 - 2)^2 + (x1 - 1)^2 + x2^4  s.t.  x0^2 + x1^2 = 1,  x2 = x0 x1, without derivatives.
fn functions<'a>() -> Problem<'a> {
    Problem::new("sphere", 3)
        .start(&[0.5, 0.5, 0.5])
        .constraint_names(["circle", "product"])
        .objective(|x| (x[0] - 2.0).powi(2) + (x[1] - 1.0).powi(2) + x[2].powi(4))
        .equality(2, |x, c| {
            c[0] = x[0] * x[0] + x[1] * x[1] - 1.0;
            c[1] = x[2] - x[0] * x[1];
        })
}

fn gradient(x: &[f64], g: &mut [f64]) {
    g.copy_from_slice(&[2.0 * (x[0] - 2.0), 2.0 * (x[1] - 1.0), 4.0 * x[2].powi(3)]);
}

fn jacobian(x: &[f64]) -> [f64; 6] {
    [2.0 * x[0], 2.0 * x[1], 0.0, -x[1], -x[0], 1.0]
}

fn solution(problem: Problem<'_>, tolerance: f64) -> (Vec<f64>, f64) {
    let mut problem = problem.build().unwrap();
    let options = Options { tolerance, ..Options::default() };
    let report = solve(&mut problem, &options, &mut Silent).unwrap();
    assert!(report.solved(), "{:?} {}", report.stop, report.message);
    let mut c = [0.0; 2];
    problem.cons(&report.x, &mut c).unwrap();
    assert!(c.iter().all(|c| c.abs() < 1e-6), "{c:?}");
    (report.x, report.objective)
}

#[test]
fn every_way_to_give_derivatives_finds_the_same_point() {
    let hessian = |x: &[f64], sigma: f64, y: &[f64]| {
        [2.0 * sigma + 2.0 * y[0], -y[1], 2.0 * sigma + 2.0 * y[0], 12.0 * sigma * x[2] * x[2]]
    };
    let dense = functions().gradient(gradient).jacobian(|x, j| j.copy_from_slice(&jacobian(x))).hessian(
        move |x, sigma, y, h| {
            let v = hessian(x, sigma, y);
            (h[0], h[3], h[4], h[8]) = (v[0], v[1], v[2], v[3]);
        },
    );
    let (x, f) = solution(dense, 1e-9);

    let sparse = functions()
        .gradient(gradient)
        .sparse_jacobian(Pattern { rows: vec![0, 0, 1, 1, 1], cols: vec![0, 1, 0, 1, 2] }, |x, v| {
            let j = jacobian(x);
            v.copy_from_slice(&[j[0], j[1], j[3], j[4], j[5]]);
        })
        .sparse_hessian(Pattern { rows: vec![0, 1, 1, 2], cols: vec![0, 0, 1, 2] }, move |x, sigma, y, v| {
            v.copy_from_slice(&hessian(x, sigma, y))
        });
    let products = functions()
        .gradient(gradient)
        .jacobian_products(
            |x, v, jv| {
                let j = jacobian(x);
                jv[0] = j[0] * v[0] + j[1] * v[1];
                jv[1] = j[3] * v[0] + j[4] * v[1] + v[2];
            },
            |x, w, jtw| {
                let j = jacobian(x);
                jtw.copy_from_slice(&[j[0] * w[0] + j[3] * w[1], j[1] * w[0] + j[4] * w[1], w[1]]);
            },
        )
        .hessian_product_by_differences();
    let differences =
        functions().gradient_by_differences().jacobian_by_differences().hessian_by_differences();
    for (way, problem) in [("sparse", sparse), ("products", products), ("differences", differences)] {
        let (other, value) = solution(problem, 1e-7);
        assert!((value - f).abs() < 1e-6, "{way}: {value} {f}");
        assert!(x.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-5), "{way}: {x:?} {other:?}");
    }
}

#[test]
fn a_system_of_equations_needs_no_objective() {
    let mut problem = Problem::new("system", 2)
        .start(&[1.0, 1.0])
        .equality(2, |x, c| c.copy_from_slice(&[x[0] * x[0] - x[1] - 1.0, x[0] - x[1] * x[1] + 1.0]))
        .jacobian(|x, j| j.copy_from_slice(&[2.0 * x[0], -1.0, 1.0, -2.0 * x[1]]))
        .hessian_by_differences()
        .build()
        .unwrap();
    let report = solve(&mut problem, &Options::default(), &mut Silent).unwrap();
    assert!(report.solved() && report.primal < 1e-8, "{:?}", report.stop);
    assert_eq!(report.objective, 0.0);
}

/// c = (|x - 1| + 1, 0.1) on the right, where a kink stops every method, and ((x + 2)^2 + 1, 0.1) on the left.
fn kink<'a>() -> Problem<'a> {
    Problem::new("kink", 1)
        .start(&[0.5])
        .equality(2, |x, c| {
            c[0] = if x[0] > 99.0 {
                f64::NAN
            } else if x[0] > 0.0 {
                (x[0] - 1.0).abs() + 1.0
            } else {
                (x[0] + 2.0).powi(2) + 1.0
            };
            c[1] = 0.1;
        })
        .jacobian(|x, j| {
            j[0] = if x[0] > 0.0 { (x[0] - 1.0).signum() } else { 2.0 * (x[0] + 2.0) };
            j[1] = 0.0;
        })
        .hessian(|x, _, y, h| h[0] = if x[0] > 0.0 { 0.0 } else { 2.0 * y[0] })
}

#[test]
fn fits_are_tried_from_the_problems_other_starts() {
    let run = |p: Problem| solve(&mut p.build().unwrap(), &Options::default(), &mut Silent).unwrap();
    let alone = run(kink());
    assert!(!alone.is_answer(), "{}", alone.message);
    // A start that cannot be evaluated in between is passed over.
    let r = run(kink().other_start(&[100.0]).other_start(&[-1.0]));
    assert_eq!(r.stop.as_str(), "least_squares", "{}", r.message);
    assert!((r.x[0] + 2.0).abs() < 1e-4, "{:?}", r.x);
    let e = kink().other_start(&[1.0, 2.0]).build().err().unwrap().to_string();
    assert!(e.contains("start point 2 is not of 1 finite numbers"), "{e}");
}
