//! One evaluation of everything, twice.

use costate::nlp::{EvalError, Nlp};

/// Larger problems are read but not evaluated.
const LARGE: usize = 20_000;

/// Sizes agree, functions announced are provided, and a second evaluation gives the same bits.
pub fn twice<P: Nlp>(problem: &mut P, forget: impl Fn(&mut P), elements: usize) {
    let meta = problem.meta().clone();
    let (n, m) = (meta.n(), meta.m());
    // What a file may say and a solver refuses: crossed bounds, a start that is not finite.
    let sensible = meta.validate();
    let nnzj = meta.jacobian.as_ref().map_or(0, |p| p.len());
    let nnzh = meta.hessian.as_ref().map_or(0, |p| p.len());
    assert_eq!([meta.x_upper.len(), meta.x0.len()], [n; 2]);
    assert_eq!([meta.c_upper.len(), meta.y0.len(), meta.linear.len()], [m; 3]);
    for (pattern, rows) in [(&meta.jacobian, m), (&meta.hessian, n)] {
        let Some(p) = pattern else { continue };
        assert_eq!(p.rows.len(), p.cols.len());
        assert!(p.rows.iter().all(|&i| i < rows) && p.cols.iter().all(|&j| j < n), "{sensible:?}");
    }
    if let Some(p) = &meta.hessian {
        assert!(p.rows.iter().zip(&p.cols).all(|(i, j)| i >= j));
    }
    if n.max(m).max(nnzj).max(nnzh).max(elements) > LARGE {
        return;
    }
    let mut first = Vec::new();
    for pass in 0..2 {
        let all = functions(problem, nnzj, nnzh).expect("a function that is announced");
        if pass == 0 {
            first = all;
            forget(problem);
        } else {
            let same =
                first.iter().zip(&all).all(|(a, b)| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan());
            assert!(first.len() == all.len() && same, "the same point gives another value");
        }
    }
}

/// f, c, gradient, Jacobian, Hessian and products at the start point, in one list.
fn functions(problem: &mut impl Nlp, nnzj: usize, nnzh: usize) -> Result<Vec<f64>, EvalError> {
    let (x, y) = (problem.meta().x0.clone(), problem.meta().y0.clone());
    let (n, m) = (x.len(), y.len());
    let ramp = |len: usize| -> Vec<f64> { (1..=len).map(|k| 1.0 / k as f64).collect() };
    let (v, w) = (ramp(n), ramp(m));
    let [mut g, mut jtw, mut hv] = [(); 3].map(|()| vec![0.0; n]);
    let [mut c, mut jv] = [(); 2].map(|()| vec![0.0; m]);
    let (mut jac, mut hess) = (vec![0.0; nnzj], vec![0.0; nnzh]);
    let f = problem.obj(&x)?;
    problem.cons(&x, &mut c)?;
    problem.grad(&x, &mut g)?;
    problem.jac_values(&x, &mut jac)?;
    problem.jac_prod(&x, &v, &mut jv)?;
    problem.jac_t_prod(&x, &w, &mut jtw)?;
    problem.hess_prod(&x, 1.0, &w, &v, &mut hv)?;
    if problem.meta().hessian.is_some() {
        problem.hess_values(&x, 1.0, &w, &mut hess)?;
    }
    Ok([vec![f], c, g, jac, jv, jtw, hv, hess].concat())
}
