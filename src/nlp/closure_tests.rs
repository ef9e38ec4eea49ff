use super::*;
use crate::nlp::Nlp;

/// f = exp(x0) x1^2 + x2, c = (x0 x1 x2 - 1, x0^2 + sin x1).
fn parts<'a>() -> Problem<'a> {
    Problem::new("test", 3).start(&[0.3, 1.2, -0.7]).objective(|x| x[0].exp() * x[1] * x[1] + x[2]).equality(
        2,
        |x, c| {
            c[0] = x[0] * x[1] * x[2] - 1.0;
            c[1] = x[0] * x[0] + x[1].sin();
        },
    )
}

fn gradient(x: &[f64], g: &mut [f64]) {
    let e = x[0].exp();
    g.copy_from_slice(&[e * x[1] * x[1], 2.0 * e * x[1], 1.0]);
}

fn jacobian(x: &[f64], j: &mut [f64]) {
    j.copy_from_slice(&[x[1] * x[2], x[0] * x[2], x[0] * x[1], 2.0 * x[0], x[1].cos(), 0.0]);
}

fn hessian(x: &[f64], sigma: f64, y: &[f64], h: &mut [f64]) {
    let e = x[0].exp();
    h[0] = sigma * e * x[1] * x[1] + 2.0 * y[1];
    h[3] = sigma * 2.0 * e * x[1] + y[0] * x[2];
    h[4] = sigma * 2.0 * e - y[1] * x[1].sin();
    h[6] = y[0] * x[1];
    h[7] = y[0] * x[0];
}

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{a} {b}");
    }
}

const X: [f64; 3] = [0.3, 1.2, -0.7];
const Y: [f64; 2] = [0.8, -1.7];

fn hessian_of(problem: Problem<'_>) -> Vec<f64> {
    let mut p = problem.build().unwrap();
    let mut values = vec![f64::NAN; p.meta().hessian.as_ref().unwrap().len()];
    p.hess_values(&X, 0.6, &Y, &mut values).unwrap();
    values
}

#[test]
fn differences_are_as_accurate_as_documented() {
    let exact = hessian_of(parts().gradient(gradient).jacobian(jacobian).hessian(hessian));
    let of_gradients = hessian_of(parts().gradient(gradient).jacobian(jacobian).hessian_by_differences());
    close(&of_gradients, &exact, 1e-9);
    let of_values =
        hessian_of(parts().gradient_by_differences().jacobian_by_differences().hessian_by_differences());
    close(&of_values, &exact, 3e-7);

    let mut p = parts().gradient_by_differences().jacobian_by_differences().hessian(hessian).build().unwrap();
    let (mut g, mut j) = ([0.0; 3], [0.0; 6]);
    let (mut g_exact, mut j_exact) = ([0.0; 3], [0.0; 6]);
    p.grad_jac_values(&X, &mut g, &mut j).unwrap();
    gradient(&X, &mut g_exact);
    jacobian(&X, &mut j_exact);
    close(&g, &g_exact, 1e-9);
    close(&j, &j_exact, 1e-9);
}

#[test]
fn products_by_differences_match_the_hessian() {
    let with_products = |x: &[f64], w: &[f64], out: &mut [f64]| {
        let mut j = [0.0; 6];
        jacobian(x, &mut j);
        for k in 0..3 {
            out[k] = j[k] * w[0] + j[3 + k] * w[1];
        }
    };
    for matrix_free in [false, true] {
        let problem = parts().gradient(gradient).hessian(hessian).hessian_product_by_differences();
        let problem = if matrix_free {
            problem.jacobian_products(|_, _, _| {}, with_products)
        } else {
            problem.jacobian(jacobian)
        };
        let mut p = problem.build().unwrap();
        let v = [1.0, -2.0, 0.5];
        let (mut hv, mut h) = ([0.0; 3], [0.0; 6]);
        p.hess_prod(&X, 0.6, &Y, &v, &mut hv).unwrap();
        p.hess_values(&X, 0.6, &Y, &mut h).unwrap();
        let exact = [
            h[0] * v[0] + h[1] * v[1] + h[3] * v[2],
            h[1] * v[0] + h[2] * v[1] + h[4] * v[2],
            h[3] * v[0] + h[4] * v[1] + h[5] * v[2],
        ];
        close(&hv, &exact, 1e-9);
    }
}

#[test]
fn nothing_is_approximated_silently() {
    let what = |p: Problem<'_>| p.build().err().unwrap().to_string();
    assert!(what(parts()).contains("no gradient"));
    assert!(what(parts().gradient(gradient)).contains("no Jacobian"));
    assert!(what(parts().gradient(gradient).jacobian(jacobian)).contains("no Hessian"));
    assert!(what(Problem::new("empty", 1)).contains("neither an objective nor constraints"));
    let mixed = parts().gradient_by_differences().jacobian(jacobian).hessian_product_by_differences();
    assert!(what(mixed).contains("not differences themselves"));
    let short = parts().start(&[1.0]).gradient(gradient).jacobian(jacobian).hessian(hessian);
    assert_eq!(what(short), "problem test: x0 has 1 entries, expected 3");
}

#[test]
fn closures_may_borrow_and_count() {
    let mut calls = 0;
    let mut p = Problem::new("count", 1)
        .objective(|x| {
            calls += 1;
            x[0]
        })
        .gradient_by_differences()
        .hessian_by_differences()
        .build()
        .unwrap();
    p.grad(&[1.0], &mut [0.0]).unwrap();
    drop(p);
    assert_eq!(calls, 3);
}

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// sum over j of exp(x_j) + (x_j x_{j+1} - 1)^2: a tridiagonal Hessian.
fn chain(x: &[f64]) -> f64 {
    let pairs: f64 = x.windows(2).map(|w| (w[0] * w[1] - 1.0).powi(2)).sum();
    x.iter().map(|x| x.exp()).sum::<f64>() + pairs
}

fn chain_gradient(x: &[f64], g: &mut [f64]) {
    for (j, x) in x.iter().enumerate() {
        g[j] = x.exp();
    }
    for (j, w) in x.windows(2).enumerate() {
        let r = 2.0 * (w[0] * w[1] - 1.0);
        g[j] += r * w[1];
        g[j + 1] += r * w[0];
    }
}

fn tridiagonal(n: usize) -> Pattern {
    let mut p = Pattern::default();
    for j in 0..n {
        p.rows.extend([j, j + 1].into_iter().filter(|i| *i < n));
        p.cols.extend([j, j].into_iter().take(if j + 1 < n { 2 } else { 1 }));
    }
    p
}

#[test]
fn sparse_differences_move_variables_together() {
    let n = 40;
    let x: Vec<f64> = (0..n).map(|j| 0.5 + 0.1 * (j as f64).sin()).collect();
    let exact = |values: &[f64], p: &Pattern, accuracy: f64| {
        for ((&i, &j), v) in p.rows.iter().zip(&p.cols).zip(values) {
            let mut want = -4.0 * f64::from(u8::from(i != j)) / 2.0;
            if i == j {
                want = x[j].exp();
                want += if j > 0 { 2.0 * x[j - 1].powi(2) } else { 0.0 };
                want += if j + 1 < n { 2.0 * x[j + 1].powi(2) } else { 0.0 };
            } else {
                want += 4.0 * x[i] * x[j];
            }
            assert!((v - want).abs() < accuracy, "({i}, {j}): {v} {want}");
        }
    };
    let pattern = tridiagonal(n);
    let mut values = vec![0.0; pattern.len()];
    // Of gradients: three groups.
    let calls = AtomicUsize::new(0);
    let mut p = Problem::new("chain", n)
        .objective(chain)
        .gradient(|x, g| {
            calls.fetch_add(1, Relaxed);
            chain_gradient(x, g);
        })
        .sparse_hessian_by_differences(pattern.clone())
        .build()
        .unwrap();
    p.hess_values(&x, 1.0, &[], &mut values).unwrap();
    assert_eq!(calls.load(Relaxed), 7);
    exact(&values, &pattern, 1e-8);
    // Of values: 1, two a variable, four for each of the n - 1 pairs.
    calls.store(0, Relaxed);
    let mut p = Problem::new("chain", n)
        .objective(|x| {
            calls.fetch_add(1, Relaxed);
            chain(x)
        })
        .gradient_by_differences()
        .sparse_hessian_by_differences(pattern.clone())
        .build()
        .unwrap();
    p.hess_values(&x, 1.0, &[], &mut values).unwrap();
    assert_eq!(calls.load(Relaxed), 1 + 2 * n + 4 * (n - 1));
    // f is about 80: rounding is 80 eps / h^2.
    exact(&values, &pattern, 1e-5);
    calls.store(0, Relaxed);
    let mut g = vec![0.0; n];
    p.grad(&x, &mut g).unwrap();
    assert_eq!(calls.load(Relaxed), 2 * n + 1);
    // A Jacobian: c = grad f, with a repeated entry, whose values add.
    let mut full = Pattern { rows: vec![0], cols: vec![0] };
    for (&i, &j) in pattern.rows.iter().zip(&pattern.cols) {
        full.rows.extend(if i == j { vec![i] } else { vec![i, j] });
        full.cols.extend(if i == j { vec![j] } else { vec![j, i] });
    }
    let calls = AtomicUsize::new(0);
    let mut p = Problem::new("chain", n)
        .equality(n, |x, c| {
            calls.fetch_add(1, Relaxed);
            chain_gradient(x, c);
        })
        .sparse_jacobian_by_differences(full.clone())
        .limited_memory_hessian()
        .build()
        .unwrap();
    let mut values = vec![0.0; full.len()];
    p.jac_values(&x, &mut values).unwrap();
    assert_eq!(calls.load(Relaxed), 7);
    let sum = values[0] + values[1];
    assert!(values.iter().take(2).any(|v| *v == 0.0));
    (values[0], values[1]) = (sum, sum);
    exact(&values, &full, 1e-8);
}

#[test]
fn differences_find_the_length_of_a_variable() {
    for s in [1e-6, 1.0, 1e3, 1e6, 1e9, 1e15] {
        let calls = AtomicUsize::new(0);
        let mut p = Problem::new("steep", 1)
            .objective(|x| {
                calls.fetch_add(1, Relaxed);
                (s * x[0]).exp() - 2.0 * s * x[0]
            })
            .gradient_by_differences()
            .hessian_by_differences()
            .build()
            .unwrap();
        for t in [0.0, 0.3, -0.5] {
            let (mut g, mut h) = ([0.0], [0.0]);
            p.grad(&[t / s], &mut g).unwrap();
            let used = calls.swap(0, Relaxed);
            p.hess_values(&[t / s], 1.0, &[], &mut h).unwrap();
            assert_eq!(calls.swap(0, Relaxed), 3);
            let e = t.exp();
            assert!((g[0] / s - (e - 2.0)).abs() < 1e-7 + 1e-10 / s, "{s} {t}: {}", g[0] / s);
            if s >= 1.0 {
                assert!((h[0] / (s * s) - e).abs() < 1e-6, "{s} {t}: {}", h[0] / (s * s));
            }
            // Once the length is known, an evaluation is at three points.
            assert!(if t == 0.0 { used <= 3 + 2 * 24 } else { used == 3 }, "{s} {t}: {used}");
        }
    }
}

#[test]
fn differences_stay_inside_the_bounds() {
    // Entropy beside its singular bound, at an upper bound, and of a fixed variable.
    let outside = AtomicBool::new(false);
    let (lower, upper) = ([0.0, 0.0, 0.5, -1.0], [1.0, 2.0, 0.5, 1e30]);
    let see = |x: &[f64]| {
        if (0..4).any(|j| x[j] < lower[j] || x[j] > upper[j]) {
            outside.store(true, Relaxed);
        }
    };
    let entropy = |x: &[f64]| x[0] * x[0].ln() + (x[1] * x[3]).sin() + x[2] * x[1] + x[3].powi(3);
    let build = |exact: bool| {
        let problem = Problem::new("inside", 4).bounds(&lower, &upper).objective(move |x| {
            see(x);
            entropy(x)
        });
        let problem = if exact {
            problem.gradient(move |x, g| {
                see(x);
                let c = (x[1] * x[3]).cos();
                g.copy_from_slice(&[x[0].ln() + 1.0, x[3] * c + x[2], x[1], x[1] * c + 3.0 * x[3] * x[3]]);
            })
        } else {
            problem.gradient_by_differences()
        };
        problem.hessian_by_differences().hessian_product(|_, _, _, _, _| {}).build().unwrap()
    };
    for x0 in [0.3, 1e-3, 1e-9, 1e-20] {
        let x = [x0, 2.0, 0.5, -1.0 + 1e-9];
        let (mut h, mut g) = ([0.0; 10], [0.0; 4]);
        build(true).hess_values(&x, 1.0, &[], &mut h).unwrap();
        assert!((h[0] * x0 - 1.0).abs() < 1e-5, "{x0}: {}", h[0] * x0);
        // Entries (1, 1), (3, 1), (3, 3), by points on one side.
        let (s, c) = ((x[1] * x[3]).sin(), (x[1] * x[3]).cos());
        let want = [-x[3] * x[3] * s, c - x[1] * x[3] * s, -x[1] * x[1] * s + 6.0 * x[3]];
        for (k, want) in [2, 7, 9].into_iter().zip(want) {
            assert!((h[k] - want).abs() < 1e-6, "{k}: {} {want}", h[k]);
        }
        // The fixed variable cannot be moved.
        assert_eq!([h[3], h[4], h[5], h[8]], [0.0, 1.0, 0.0, 0.0]);
        let mut p = build(false);
        p.grad(&x, &mut g).unwrap();
        let want = [x0.ln() + 1.0, x[3] * c + 0.5, 0.0, x[1] * c + 3.0 * x[3] * x[3]];
        for j in 1..4 {
            assert!((g[j] - want[j]).abs() < 1e-7, "{j}: {} {}", g[j], want[j]);
        }
        p.hess_values(&x, 1.0, &[], &mut h).unwrap();
        assert!(!outside.load(Relaxed), "{x0}");
    }
    let mut p = build(true);
    assert!(p.meta().hessian_products);
    let mut h = [0.0; 10];
    p.hess_values(&[0.5, 0.0, 0.5, 4.0], 1.0, &[], &mut h).unwrap();
    assert!(!outside.load(Relaxed));
}

#[test]
fn products_by_differences_stay_inside_the_bounds() {
    let outside = AtomicBool::new(false);
    let mut p = Problem::new("roots", 2)
        .bounds(&[0.0, 0.0], &[4.0, 1.0])
        .objective(|x| x[0].powi(3) * x[1])
        .gradient(|x, g| {
            outside.fetch_or(!(0.0..=4.0).contains(&x[0]) || !(0.0..=1.0).contains(&x[1]), Relaxed);
            g.copy_from_slice(&[3.0 * x[0] * x[0] * x[1], x[0].powi(3)]);
        })
        .hessian_product_by_differences()
        .build()
        .unwrap();
    for (x, v) in [([1.0, 1.0], [1.0, -2.0]), ([2.0, 0.0], [0.5, 1.0]), ([1.5, 0.5], [1.0, 1.0])] {
        let mut hv = [0.0; 2];
        p.hess_prod(&x, 1.0, &[], &v, &mut hv).unwrap();
        let want = [6.0 * x[0] * x[1] * v[0] + 3.0 * x[0] * x[0] * v[1], 3.0 * x[0] * x[0] * v[0]];
        close(&hv, &want, 1e-8);
    }
    assert!(!outside.load(Relaxed));
}

/// (function, derivative, point, error allowed): what a step must cope with.
type Kind = (&'static str, fn(f64) -> f64, fn(f64) -> f64, f64, f64);

const KINDS: [Kind; 14] = [
    ("constant", |_| 3.0, |_| 0.0, 1.0, 1e-12),
    ("zero crossing", |x| x * x - 1.0, |x| 2.0 * x, 1.0, 1e-9),
    ("cancellation", |x| 1.0 - 2.0 * x + x * x, |x| 2.0 * x - 2.0, 1.0 + 1e-8, 1e-9),
    ("offset", |x| 1e8 + x.sin(), f64::cos, 0.3, 1e-2),
    ("flat quartic", |x| x.powi(4), |x| 4.0 * x.powi(3), 1e-3, 1e-12),
    ("root", f64::sqrt, |x| 0.5 / x.sqrt(), 1e-8, 1e-5),
    ("reciprocal", |x| 1.0 / x, |x| -1.0 / (x * x), 1e-12, 1e16),
    ("logarithm", f64::ln, |x| 1.0 / x, 1e-7, 1e-1),
    ("fast wave", |x| (1e5 * x).sin(), |x| 1e5 * (1e5 * x).cos(), 0.4, 1e-2),
    ("steep away from 0", |x| (1e6 * (x - 2.0)).exp(), |x| 1e6 * (1e6 * (x - 2.0)).exp(), 2.0, 1e-2),
    ("large variable", |x| (x / 1e9).powi(3), |x| 3e-9 * (x / 1e9).powi(2), 2e9, 1e-17),
    ("step function's slope", |x| (1e3 * x).tanh(), |x| 1e3 / (1e3 * x).cosh().powi(2), 1e-4, 1e-6),
    ("kink beside it", |x| (x - 1.0).abs(), |x| (x - 1.0).signum(), 1.0 + 1e-7, 1e-7),
    ("denormal", |x| 1e-300 * x, |_| 1e-300, 0.5, 1e-306),
];

#[test]
fn steps_cope_with_functions_of_many_kinds() {
    for (name, f, derivative, x, allowed) in KINDS {
        let mut p = Problem::new(name, 1)
            .bounds(&[0.0], &[1e30])
            .objective(move |x| f(x[0]))
            .gradient_by_differences()
            .limited_memory_hessian()
            .build()
            .unwrap();
        let mut g = [0.0];
        p.grad(&[x], &mut g).unwrap();
        let (error, want) = ((g[0] - derivative(x)).abs(), derivative(x));
        assert!(error <= allowed, "{name}: {} instead of {want}", g[0]);
    }
}
