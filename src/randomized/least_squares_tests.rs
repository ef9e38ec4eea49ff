use super::super::counter::Counter;
use super::*;

/// m x n with the given condition, a few heavy rows, b with a residual of about `noise`.
fn problem(m: usize, n: usize, condition: f64, noise: f64) -> (TallMatrix, Vec<f64>) {
    let c = Counter::new(21, 0);
    // A product with a full n x n matrix: the small singular values are in no single column.
    let turn: Vec<f64> =
        (0..(n * n) as u64).map(|k| Counter::new(22, 0).normal(k) / (n as f64).sqrt()).collect();
    let turn = faer::Mat::from_fn(n, n, |i, j| turn[i * n + j]).qr().compute_Q();
    let mut values = vec![0.0; m * n];
    for i in 0..m {
        let heavy = if i % (m / 3) == 1 { 300.0 } else { 1.0 };
        let row: Vec<f64> = (0..n)
            .map(|j| heavy * c.normal((i * n + j) as u64) * condition.powf(-(j as f64) / n as f64))
            .collect();
        for j in 0..n {
            values[i * n + j] = (0..n).map(|k| row[k] * turn[(j, k)]).sum();
        }
    }
    let b = (0..m)
        .map(|i| {
            values[i * n..(i + 1) * n].iter().sum::<f64>() + noise * Counter::new(23, 0).normal(i as u64)
        })
        .collect();
    (TallMatrix::dense(m, n, values).unwrap(), b)
}

/// The backward error with the exact factor.
fn exact_error(a: &TallMatrix, b: &[f64], x: &[f64]) -> f64 {
    let (m, n) = (a.rows(), a.columns());
    let all: Vec<(usize, f64)> = (0..m).map(|i| (i, 1.0)).collect();
    let (rows, _) = RowSample { picked: all }.gather(a, None, None).unwrap();
    let factor = Factor::of_rows(n, &rows).unwrap();
    let (mut r, mut g) = (vec![0.0; m], vec![0.0; n]);
    a.residual(x, b, &mut r, &mut g).unwrap();
    backward_error(&factor, x, norm2(&r), &g, norm2(b)).unwrap()
}

#[test]
fn backward_errors_are_those_of_householder_qr() {
    for (condition, noise) in [(1e2, 1.0), (1e6, 1e-3), (1e10, 1e-6), (1e13, 1.0)] {
        let (m, n) = (4000, 30);
        let (a, b) = problem(m, n, condition, noise);
        let all: Vec<(usize, f64)> = (0..m).map(|i| (i, 1.0)).collect();
        let (rows, side) = RowSample { picked: all }.gather(&a, None, Some(&b)).unwrap();
        let qr = faer::Mat::from_fn(m, n, |i, j| rows[i * n + j]).qr();
        use faer::linalg::solvers::SolveLstsq;
        let by_qr = qr.solve_lstsq(faer::Mat::from_fn(m, 1, |i, _| side[i]));
        let by_qr: Vec<f64> = (0..n).map(|j| by_qr[(j, 0)]).collect();
        let reference = exact_error(&a, &b, &by_qr);
        for method in [LeastSquaresMethod::Momentum, LeastSquaresMethod::Auto] {
            let options = LeastSquaresOptions { method, rows: Some(20 * n), ..Default::default() };
            let s = least_squares(&a, &b, &options).unwrap();
            let error = exact_error(&a, &b, &s.x);
            assert!(
                error <= 10.0 * reference.max(1e-16),
                "{condition:e} {method:?}: {error:e}, by QR {reference:e}, estimated {:e}, {:?}",
                s.backward_error,
                s.end
            );
            // The estimate is that of the whole matrix within the distortion.
            assert!(s.backward_error < 3.0 * error && error < 3.0 * s.backward_error, "{method:?}");
            assert!(s.passes < 70, "{condition:e} {method:?}: {}", s.passes);
        }
    }
}

#[test]
fn every_sketch_leads_to_the_solution_and_says_how_good_it_was() {
    let (m, n) = (6000, 25);
    let (a, b) = problem(m, n, 1e4, 1.0);
    for (name, kind) in SketchKind::ALL {
        let options = LeastSquaresOptions { sketch: kind, rows: Some(16 * n), ..Default::default() };
        let s = least_squares(&a, &b, &options).unwrap();
        assert!(s.backward_error < 3e-15, "{name}: {:?} {:e}", s.end, s.backward_error);
        let d = s.distortion.unwrap();
        // Uniform rows miss the heavy ones: seen in the distortion, or in a second sketch.
        let seen = kind == SketchKind::UniformRows;
        assert!(seen || d.is_good(n, s.sketch_rows), "{name}: {d:?}");
        if seen {
            assert!(!d.is_good(n, s.sketch_rows), "{name}: {d:?} {}", s.sketch_rows);
        }
    }
    let sketched = LeastSquaresOptions { method: LeastSquaresMethod::SketchAndSolve, ..Default::default() };
    let rough = least_squares(&a, &b, &sketched).unwrap();
    let best = least_squares(&a, &b, &Default::default()).unwrap();
    assert!(rough.residual_norm < 1.2 * best.residual_norm && rough.residual_norm > best.residual_norm);
    assert_eq!(rough.end, LeastSquaresEnd::Sketched);
}

#[test]
fn small_square_deficient_and_wrong() {
    let a = TallMatrix::dense(3, 3, vec![2.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 4.0]).unwrap();
    let s = least_squares(&a, &[2.0, 3.0, 8.0], &Default::default()).unwrap();
    assert!(s.x.iter().zip([1.0, 2.0, 2.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{:?}", s.x);
    // A column twice: some solution, residual zero.
    let twice: Vec<f64> = (0..200).flat_map(|i| [i as f64, i as f64]).collect();
    let a = TallMatrix::dense(200, 2, twice).unwrap();
    let b: Vec<f64> = (0..200).map(|i| 3.0 * i as f64).collect();
    let s = least_squares(&a, &b, &Default::default()).unwrap();
    assert!(s.residual_norm < 1e-9 && s.x.iter().all(|v| v.is_finite()), "{s:?}");
    let zero = least_squares(&a, &vec![0.0; 200], &Default::default()).unwrap();
    assert!(zero.x.iter().all(|v| *v == 0.0));
    assert!(least_squares(&a, &[1.0], &Default::default()).unwrap_err().to_string().contains("200 finite"));
}
