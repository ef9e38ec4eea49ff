use super::*;

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
    assert_eq!(calls, 2);
}
