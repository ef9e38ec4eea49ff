use super::*;
use crate::diff::Number;
use crate::nlp::check::{CheckOptions, check_derivatives};
use crate::nlp::{ClosureProblem, Problem};

fn checked(p: &mut ClosureProblem<'_>, x: &[f64]) {
    let report = check_derivatives(p, x, &CheckOptions::default());
    assert!(report.passed(), "{:?}", report.disagreements);
}

/// Rosenbrock's chain with a row that all variables share and tridiagonal ones.
fn chain(x: &[Active], c: &mut [Active]) -> Active {
    let n = x.len();
    c[0] = x.iter().sum::<Active>() - 1.0;
    for i in 1..n {
        c[i] = x[i - 1] * x[i] + x[i].sin();
    }
    x.windows(2).map(|w| 100.0 * (w[1] - w[0].powi(2)).powi(2) + (1.0 - w[0]).powi(2)).sum()
}

#[test]
fn derivatives_are_exact_dense_and_sparse() {
    for n in [1, 5, 32, 33, 200] {
        let x: Vec<f64> = (0..n).map(|i| 0.3 + 0.1 * (i as f64).sin()).collect();
        let mut p = Problem::from_dual(n, n, chain).start(&x).build().unwrap();
        let m = p.meta();
        let (jacobian, hessian) = (m.jacobian.as_ref().unwrap().len(), m.hessian.as_ref().unwrap().len());
        let sparse = (n + 2 * (n - 1), 2 * n - 1);
        let dense = (n * n, n * (n + 1) / 2);
        assert_eq!((jacobian, hessian), if n <= 32 { dense } else { sparse });
        assert_eq!((m.linear[0], m.quadratic_objective), (true, n == 1));
        checked(&mut p, &x);
    }
}

#[test]
fn one_long_row_costs_one_sweep() {
    let n = 500;
    let pattern = (0..n).flat_map(|j| [(0, j), (j + 1, j)]);
    let (rows, cols) = pattern.unzip();
    let j = Jacobian::new(n, n + 1, &Pattern { rows, cols });
    assert_eq!((j.single.len(), j.columns.groups.len()), (1, 1));
    assert_eq!(single_rows(&[3, 3, 3]), [0usize; 0]);
    assert_eq!(single_rows(&[9, 1, 9]), [0, 2]);
}

#[test]
fn a_generic_function_and_patterns_that_are_given() {
    fn energy<N: Number<f64>>(x: &[N]) -> N {
        x.windows(2).map(|w| (w[0] * w[1]).exp() + w[1].powi(2)).sum()
    }
    let n = 40;
    let x: Vec<f64> = (0..n).map(|i| 0.1 * (i as f64).cos()).collect();
    let build = |pattern: Pattern| {
        Problem::from_dual(n, 0, |x, _| energy(x)).start(&x).hessian_pattern(pattern).build()
    };
    let mut found = Problem::from_dual(n, 0, |x, _| energy(x)).start(&x).build().unwrap();
    assert_eq!(found.obj(&x).unwrap(), energy::<f64>(&x));
    let mut pattern = found.meta().hessian.clone().unwrap();
    checked(&mut found, &x);
    // An entry twice: values add.
    pattern.rows.push(pattern.rows[3]);
    pattern.cols.push(pattern.cols[3]);
    checked(&mut build(pattern.clone()).unwrap(), &x);
    let less = Pattern { rows: (0..n).collect(), cols: (0..n).collect() };
    let error = build(less).err().unwrap().to_string();
    assert!(error.contains("the pattern of the Hessian: lacks (x[1], x[0])"), "{error}");
}

#[test]
fn another_branch_is_compared_with_the_pattern() {
    let n = 40;
    // Beyond 1 the first two variables are coupled.
    let f = |x: &[Active], _: &mut [Active]| {
        let bowl: Active = x.iter().map(|x| x.powi(2)).sum();
        if x[0] > 1.0 { bowl + x[0] * x[1] } else { bowl }
    };
    let mut p = Problem::from_dual(n, 0, f).build().unwrap();
    let (here, there) = (vec![0.5; n], vec![1.5; n]);
    let mut h = vec![0.0; n];
    p.hess_values(&here, 1.0, &[], &mut h).unwrap();
    assert_eq!(h, vec![2.0; n]);
    assert!(!p.meta().quadratic_objective);
    let error = p.hess_values(&there, 1.0, &[], &mut h).unwrap_err().to_string();
    assert!(error.contains("lacks (x[1], x[0])"), "{error}");
    p.hess_values(&here, 1.0, &[], &mut h).unwrap();
    // With a start on each side both are found.
    let mut p = Problem::from_dual(n, 0, f).other_start(&there).build().unwrap();
    checked(&mut p, &here);
    checked(&mut p, &there);
    assert_eq!(p.meta().hessian.as_ref().unwrap().len(), n + 1);
    // Full patterns need no comparison.
    let mut p = Problem::from_dual(2, 0, f).build().unwrap();
    checked(&mut p, &[1.5, 0.3]);
}

#[test]
fn mistakes_are_sentences() {
    let fails = |p: Problem<'_>| p.build().err().unwrap().to_string();
    let with_gradient = Problem::from_dual(1, 0, |x, _| x[0]).gradient(|_, g| g[0] = 1.0);
    assert!(fails(with_gradient).contains("from_dual gives all functions"));
    let mut kept = Active::from(0.0);
    let keeps =
        Problem::from_dual(1, 0, move |x, _| std::mem::replace(&mut kept, x[0]) + x[0]).other_start(&[1.0]);
    let error = fails(keeps);
    assert!(error.contains("a number of another evaluation"), "{error}");
    assert!(
        fails(Problem::from_dual(2, 0, |x, _| x[0]).start(&[1.0])).contains("x0 has 1 entries, expected 2")
    );
    let not_linear = Problem::from_dual(2, 0, |x, _| x[0] * x[1]).linear();
    assert!(fails(not_linear).contains("the pattern of the Hessian: lacks"));
    // Values of a function that panics now and then are those of the others.
    let mut p = Problem::from_dual(1, 0, |x, _| {
        assert!(x[0].value() < 2.0);
        x[0] * x[0]
    })
    .build()
    .unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| p.grad(&[3.0], &mut [0.0])));
    assert!(caught.is_err());
    let mut g = [0.0];
    p.grad(&[1.0], &mut g).unwrap();
    assert_eq!(g, [2.0]);
}

#[test]
fn starts_change_and_problems_travel() {
    let mut p = Problem::from_dual(1, 1, |x, c| {
        c[0] = x[0] - 1.0;
        x[0] * x[0]
    })
    .name("travels")
    .maximize()
    .limited_memory_hessian()
    .build()
    .unwrap();
    p.set_start(&[4.0]);
    p.set_start_multipliers(&[2.0]);
    let meta = std::thread::spawn(move || p.meta().clone()).join().unwrap();
    assert_eq!(
        (meta.name.as_str(), meta.x0, meta.y0, meta.maximize),
        ("travels", vec![4.0], vec![2.0], true)
    );
    assert!(meta.hessian.is_none());
    let linear = Problem::new("linear", 2)
        .objective(|x| x[0] - x[1])
        .gradient(|_, g| g.copy_from_slice(&[1.0, -1.0]))
        .equality(1, |x, c| c[0] = x[0] + x[1] - 1.0)
        .jacobian(|_, j| j.fill(1.0))
        .linear()
        .build()
        .unwrap();
    let meta = linear.meta();
    assert!(meta.linear == [true] && meta.quadratic_objective && meta.hessian.as_ref().unwrap().is_empty());
}

#[test]
fn patterns_of_closures_are_detected() {
    let n = 60;
    // c_i = x_i x_{i+1}; f = sum x_i^4 / 4 + x_0 x_{n-1}.
    let with = || {
        Problem::new("detected", n)
            .start(&vec![0.7; n])
            .objective(|x| x.iter().map(|x| x.powi(4) / 4.0).sum::<f64>() + x[0] * x[x.len() - 1])
            .gradient(|x, g| {
                g.iter_mut().zip(x).for_each(|(g, x)| *g = x.powi(3));
                g[0] += x[x.len() - 1];
                g[x.len() - 1] += x[0];
            })
            .equality(n - 1, |x, c| c.iter_mut().zip(x.windows(2)).for_each(|(c, w)| *c = w[0] * w[1]))
    };
    let sparse = Pattern {
        rows: (0..n - 1).flat_map(|i| [i, i]).collect(),
        cols: (0..n - 1).flat_map(|i| [i, i + 1]).collect(),
    };
    let values = |x: &[f64], v: &mut [f64]| {
        v.chunks_exact_mut(2).zip(x.windows(2)).for_each(|(v, w)| v.copy_from_slice(&[w[1], w[0]]));
    };
    let mut p =
        with().sparse_jacobian(sparse.clone(), values).detected_hessian_by_differences().build().unwrap();
    // Full diagonal, the pairs of the rows, and the corner.
    assert_eq!(p.meta().hessian.as_ref().unwrap().len(), n + (n - 1) + 1);
    let x: Vec<f64> = (0..n).map(|i| 0.5 + 0.2 * (i as f64).sin()).collect();
    checked(&mut p, &x);
    let mut p = with().detected_jacobian_by_differences().limited_memory_hessian().build().unwrap();
    let found = p.meta().jacobian.clone().unwrap();
    let mut entries: Vec<_> = found.entries().collect();
    entries.sort_unstable();
    assert_eq!(entries, sparse.entries().collect::<Vec<_>>());
    checked(&mut p, &x);
    let both = with().detected_jacobian_by_differences().detected_hessian_by_differences().build();
    assert!(both.err().unwrap().to_string().contains("not differences"));
}
