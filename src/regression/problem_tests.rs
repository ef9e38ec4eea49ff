use std::sync::Arc;

use super::super::constraints::LinearRow;
use super::super::data_term::Rows;
use super::super::families::Family;
use super::*;
use crate::randomized::{TallMatrix, normal_numbers};

fn fit(family: Family, norm: Norm, l1_norm: Option<f64>) -> ConstrainedFit {
    let (m, n) = (300, 6);
    let matrix = Arc::new(TallMatrix::dense(m, n, normal_numbers(m * n, 1)).unwrap());
    let responses: Vec<f64> = normal_numbers(m, 2)
        .into_iter()
        .map(|v| match family {
            Family::Logistic => v.signum(),
            Family::Poisson => v.abs().floor(),
            _ => v,
        })
        .collect();
    let term = DataTerm::new(family, Rows::new(family, matrix, responses).unwrap());
    let constraints = Constraints {
        linear: vec![
            LinearRow { entries: vec![(0, 1.0), (3, -2.0)], lower: 0.5, upper: 0.5 },
            LinearRow { entries: vec![(1, 1.0)], lower: -1.0, upper: 1.0 },
        ],
        norm,
        l1_norm,
        ..Constraints::default()
    };
    let penalties = (vec![0.1; n], vec![if l1_norm.is_some() { 0.02 } else { 0.0 }; n]);
    ConstrainedFit::new(term, penalties, constraints, (&[0.3; 6], 1.0), (HessianModel::Exact, None, 0))
        .unwrap()
}

#[test]
fn derivatives_are_those_of_differences() {
    for (_, family) in Family::ALL {
        for (norm, ball) in [(Norm::Equal(1.0), None), (Norm::AtMost(2.0), Some(1.5))] {
            let mut problem = fit(family, norm, ball);
            let (n, m) = (problem.meta().n(), problem.meta().m());
            let x: Vec<f64> = (0..n).map(|j| 0.3 + 0.1 * (j as f64).sin()).collect();
            let y: Vec<f64> = (0..m).map(|i| (i as f64).cos()).collect();
            let nnz = problem.meta().jacobian.as_ref().unwrap().clone();
            let pattern = problem.meta().hessian.as_ref().unwrap().clone();
            let mut values = vec![0.0; pattern.len()];
            problem.hess_values(&x, 0.7, &y, &mut values).unwrap();
            // Gradient of the Lagrangian by differences of the functions, Hessian by differences of that gradient.
            let lagrangian = |p: &mut ConstrainedFit, x: &[f64]| {
                let mut c = vec![0.0; m];
                p.cons(x, &mut c).unwrap();
                0.7 * p.obj(x).unwrap() + c.iter().zip(&y).map(|(c, y)| c * y).sum::<f64>()
            };
            let gradient = |p: &mut ConstrainedFit, x: &[f64]| {
                let (mut g, mut j, mut v) = (vec![0.0; n], vec![0.0; n], vec![0.0; nnz.len()]);
                p.grad(x, &mut g).unwrap();
                p.jac_values(x, &mut v).unwrap();
                (0..v.len()).for_each(|k| j[nnz.cols[k]] += v[k] * y[nnz.rows[k]]);
                g.iter().zip(&j).map(|(g, j)| 0.7 * g + j).collect::<Vec<f64>>()
            };
            let (g, h) = (gradient(&mut problem, &x), 1e-5);
            for k in 0..n {
                let shift = |s: f64| {
                    x.iter().enumerate().map(|(j, v)| v + if j == k { s } else { 0.0 }).collect::<Vec<_>>()
                };
                let slope =
                    (lagrangian(&mut problem, &shift(h)) - lagrangian(&mut problem, &shift(-h))) / (2.0 * h);
                assert!((slope - g[k]).abs() < 1e-7, "{family} {k}: {slope} {}", g[k]);
                let (up, down) = (gradient(&mut problem, &shift(h)), gradient(&mut problem, &shift(-h)));
                let (mut unit, mut product) = (vec![0.0; n], vec![0.0; n]);
                unit[k] = 1.0;
                problem.hess_prod(&x, 0.7, &y, &unit, &mut product).unwrap();
                for i in 0..n {
                    let curvature = (up[i] - down[i]) / (2.0 * h);
                    // A row of Huber's loss may cross its threshold within h.
                    let accuracy = if matches!(family, Family::Huber { .. }) { 1e-2 } else { 1e-6 };
                    assert!((curvature - product[i]).abs() < accuracy, "{family} {i} {k}");
                    let of = (0..values.len())
                        .find(|p| pattern.rows[*p] == i.max(k) && pattern.cols[*p] == i.min(k));
                    let value = of.map_or(0.0, |p| values[p]);
                    assert!((value - product[i]).abs() < 1e-12, "{family} {i} {k}");
                }
            }
            // <J v, w> = <v, J' w>
            let (v, w) = (normal_numbers(n, 5), normal_numbers(m, 6));
            let (mut jv, mut jtw) = (vec![0.0; m], vec![0.0; n]);
            problem.jac_prod(&x, &v, &mut jv).unwrap();
            problem.jac_t_prod(&x, &w, &mut jtw).unwrap();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            assert!((dot(&jv, &w) - dot(&v, &jtw)).abs() < 1e-12);
        }
    }
}

#[test]
fn contradictions_are_one_sentence() {
    let mut problem = fit(Family::Logistic, Norm::Free, None);
    problem.constraints.linear[0].entries[0].0 = 99;
    let error = problem.constraints.validate(6).unwrap_err().to_string();
    assert!(error.contains("linear constraint 0") && error.contains("there are 6"), "{error}");
    let negative = Constraints { norm: Norm::Equal(-1.0), ..Constraints::default() };
    assert!(negative.validate(3).unwrap_err().to_string().contains("expected a positive"));
}
