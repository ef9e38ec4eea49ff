use super::super::constraints::{LinearRow, Norm};
use super::super::generated::Generated;
use super::super::path::{PathOptions, cross_validate, path};
use super::*;
use crate::randomized::{SketchKind, normal_numbers};

const SMALL: Generated = Generated { rows: 6000, columns: 20, condition: 1e3, heavy_every: 1500, seed: 3 };

fn generated(family: Family, of: Generated) -> Regression {
    let matrix = Arc::new(of.matrix().unwrap());
    let responses = of.responses(&matrix, family).unwrap();
    Regression::new(family, matrix, responses).unwrap()
}

fn with(hessian: HessianModel, step: StepMethod) -> RegressionOptions {
    let mut options = RegressionOptions { hessian, step, ..RegressionOptions::default() };
    options.optimizer.tolerance = 1e-9;
    options
}

#[test]
fn every_hessian_and_step_leads_to_the_same_coefficients() {
    for (name, family) in Family::ALL {
        // Counts with heavy rows overflow: exp of hundreds.
        let heavy_every = if family == Family::Poisson { 0 } else { 1500 };
        let fit = generated(family, Generated { heavy_every, ..SMALL }).penalties(1e-7, 0.0, &[]);
        let exact = fit.solve(&with(HessianModel::Exact, StepMethod::Direct)).unwrap();
        assert!(exact.solved, "{name}: {:?}", exact.stop);
        for (_, kind) in SketchKind::ALL {
            for step in [StepMethod::QuasiNewton, StepMethod::ConjugateGradients, StepMethod::Averaged] {
                let mut options = with(HessianModel::Sketched(kind), step);
                options.sketch_rows = Some(400);
                let r = fit.solve(&options).unwrap();
                assert!(r.solved, "{name} {kind} {step:?}: {:?} after {}", r.stop, r.iterations);
                let far = r.w.iter().zip(&exact.w).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                let size = exact.w.iter().fold(1.0f64, |m, v| m.max(v.abs()));
                assert!(far < 1e-2 * size, "{name} {kind} {step:?}: {far}");
                assert!((r.objective - exact.objective).abs() < 1e-9 * (1.0 + exact.objective.abs()));
            }
        }
        let mut by_optimizer = with(HessianModel::Exact, StepMethod::Direct);
        by_optimizer.always_optimizer = true;
        let r = fit.solve(&by_optimizer).unwrap();
        assert!(
            r.solved && (r.objective - exact.objective).abs() < 1e-9 * (1.0 + exact.objective.abs()),
            "{name}"
        );
    }
}

#[test]
fn constraints_hold_and_sketched_hessians_find_the_same_point() {
    let rows = normal_numbers(2 * 20, 8);
    let row = |k: usize| LinearRow {
        entries: (0..20).map(|j| (j, rows[20 * k + j])).collect(),
        lower: 0.3,
        upper: if k == 0 { 0.3 } else { 2.0 },
    };
    let constraints =
        Constraints { linear: vec![row(0), row(1)], norm: Norm::Equal(1.0), ..Default::default() };
    let fit = generated(Family::Logistic, Generated { condition: 10.0, ..SMALL })
        .constraints(constraints)
        .start(vec![0.4; 20], 1.0);
    let exact = fit.solve(&with(HessianModel::Exact, StepMethod::Direct)).unwrap();
    assert!(exact.solved, "{:?}", exact.stop);
    assert!((exact.w.iter().map(|w| w * w).sum::<f64>() - 1.0).abs() < 1e-8);
    let mut options = with(HessianModel::Sketched(SketchKind::LeverageRows), StepMethod::Direct);
    options.sketch_rows = Some(800);
    let sketched = fit.solve(&options).unwrap();
    assert!(sketched.solved, "{:?} after {}", sketched.stop, sketched.iterations);
    assert!((sketched.objective - exact.objective).abs() < 1e-8);
}

#[test]
fn l1_penalties_agree_with_the_optimizer_and_the_path_is_monotone() {
    for family in [Family::Logistic, Family::LeastSquares] {
        let fit = generated(family, Generated { condition: 10.0, heavy_every: 0, rows: 2000, ..SMALL });
        let penalized = fit.clone().penalties(1e-3, 0.05, &[2]);
        let own = penalized.solve(&with(HessianModel::Exact, StepMethod::Direct)).unwrap();
        let mut options = with(HessianModel::Exact, StepMethod::Direct);
        options.always_optimizer = true;
        let other = penalized.solve(&options).unwrap();
        assert!(own.solved && other.solved, "{:?} {:?}", own.stop, other.stop);
        assert!((own.objective - other.objective).abs() < 1e-7, "{} {}", own.objective, other.objective);
        assert!(own.w.contains(&0.0));
        let flags = vec![true; 20];
        let mut term = DataTerm::new(family, fit.rows.clone());
        let options = PathOptions { values: 12, ..PathOptions::default() };
        let points = path(&mut term, &[0.0; 20], &flags, &options).unwrap();
        assert_eq!(points[0].report.active, 0);
        assert!(points.iter().all(|p| p.report.stop == StopReason::Converged && p.report.residual <= 1e-8));
        let l1 = |p: &super::super::path::PathPoint| p.report.w.iter().map(|w| w.abs()).sum::<f64>();
        assert!(points.windows(2).all(|p| l1(&p[0]) <= l1(&p[1]) + 1e-9));
        let chosen = cross_validate((family, &fit.rows), &[0.0; 20], &flags, 4, &options).unwrap();
        assert!(chosen.sparsest <= chosen.best && chosen.loss[chosen.best] < chosen.loss[0]);
        assert!(cross_validate((family, &fit.rows), &[0.0; 20], &flags, 1, &options).is_err());
    }
}

#[test]
fn mistakes_are_one_sentence() {
    let matrix = Arc::new(TallMatrix::dense(2, 1, vec![1.0, 2.0]).unwrap());
    let text = |r: Result<Regression, Error>| r.unwrap_err().to_string();
    assert!(text(logistic(matrix.clone(), vec![1.0, 0.0])).contains("row 1 is 0: it must be -1 or 1"));
    assert!(text(poisson(matrix.clone(), vec![1.0])).contains("1 responses for 2 rows"));
    assert!(text(huber(matrix.clone(), vec![1.0, 0.0], 0.0)).contains("threshold"));
    // Separable data: the objective has no minimum, and the solver says so by not converging to one.
    let separable = logistic(matrix, vec![1.0, 1.0]).unwrap();
    let r = separable.solve(&RegressionOptions::default()).unwrap();
    assert!(r.objective < 1e-6);
}
