use super::{Adaptive, Held, Hold, Reduced, Trajectory, solve};
use crate::expr::{RecordedMap, record};
use crate::fit::LeastSquares;
use crate::nlp::Nlp;
use crate::nlp::check::{CheckOptions, check_derivatives};
use crate::observe::Silent;
use crate::ode::{Integrator, Options, RODAS5P, StiffIntegrator, TSIT54};

fn lotka() -> RecordedMap {
    let field = record(2, 4, |_, y, p, dy| {
        dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
        dy[1] = p[3] * y[0] * y[1] - p[2] * y[1];
    });
    field.unwrap().into_map()
}

const TIMES: [f64; 3] = [0.5, 1.0, 1.7];

fn all_kinds() -> Reduced<RecordedMap, Integrator<f64>> {
    let options = Options::tolerances(1e-7, 1e-7);
    let trajectory = Trajectory::new(lotka(), &TSIT54, &options, (0.0, 1.7), &TIMES).unwrap();
    Reduced::new("kinds", trajectory, &[1.0, 1.2], &[1.5, 1.0, 3.0, 1.0])
        .and_then(|r| r.free_start(&[1]))
        .and_then(|r| r.objective(|y, z| y.last()[0] * z[0] + (y[0][1] - z[4]).powi(2) * z[3]))
        .and_then(|r| {
            r.subject_to((&[0.0; 2], &[1.0; 2]), |y, z, c| {
                c[0] = y[1][0] * y[2][1] - z[1];
                c[1] = z[0] * z[4] + y[0][0].sin();
            })
        })
        .unwrap()
}

/// Along recorded steps and other steps at each point, exact second derivatives; more rows than unknowns too.
#[test]
fn derivatives_are_those_of_differences() {
    let z = [1.4, 0.9, 2.8, 1.1, 1.3];
    let mut problem = all_kinds();
    problem.adapt(&z).unwrap();
    let near = [1.45, 0.95, 2.7, 1.05, 1.25];
    let report = check_derivatives(&mut problem, &near, &CheckOptions::default());
    assert!(report.disagreements.is_empty(), "{report:?}");
    let sides = [0.0; 9];
    let mut many = all_kinds()
        .subject_to((&sides, &sides), |y, z, c| {
            for (k, c) in c.iter_mut().enumerate() {
                *c = y[k % 3][k % 2] * z[k % 5];
            }
        })
        .unwrap();
    many.adapt(&z).unwrap();
    let report = check_derivatives(&mut many, &near, &CheckOptions::default());
    assert!(report.disagreements.is_empty(), "{report:?}");
}

/// The bounded number of steps is a row of its own, of two solutions that share them. Without a relative tolerance, whose |y| has kinks.
#[test]
fn the_number_of_steps_has_derivatives() {
    let options = Options::tolerances(0.0, 1e-5);
    let trajectory = Trajectory::batch(lotka(), &TSIT54, &options, 2, (0.0, 1.7), &TIMES).unwrap();
    let z = [1.5, 1.0, 3.0, 1.0, 1.2];
    let mut problem = Reduced::new("steps", trajectory, &[1.0, 1.2, 0.8, 0.5], &z[..4])
        .and_then(|r| r.free_start(&[1]))
        .and_then(|r| r.objective(|y, z| y.last()[3] * z[0]))
        .and_then(|r| r.steps_at_most(5.0))
        .and_then(|r| r.subject_to((&[0.0], &[1.0]), |y, z, c| c[0] = y[1][2] * z[4]))
        .unwrap();
    problem.adapt(&z).unwrap();
    let near = [1.55, 0.95, 2.8, 1.1, 1.25];
    let report = check_derivatives(&mut problem, &near, &CheckOptions::default());
    assert!(report.disagreements.is_empty(), "{report:?}");
    let mut c = [0.0; 2];
    problem.cons(&near, &mut c).unwrap();
    assert!(c[0] > 2.0, "{c:?}");
}

/// The data are exact: parameters and a start come back, by Newton and by Gauss and Newton.
#[test]
fn parameters_of_exact_data() {
    let options = Options::tolerances(1e-9, 1e-9);
    let times: Vec<f64> = (1..=30).map(|k| 0.2 * k as f64).collect();
    let truth = [1.5, 1.0, 3.0, 1.0];
    let clean = crate::ode::solve(&mut lotka(), &TSIT54, &options, (0.0, 6.0), &[1.0, 1.0], &truth, &times);
    let data = clean.unwrap().states().to_vec();
    for exact in [true, false] {
        let trajectory = Trajectory::new(lotka(), &TSIT54, &options, (0.0, 6.0), &times).unwrap();
        let problem = Reduced::new("fit", trajectory, &[1.0, 0.7], &[1.3, 0.8, 2.6, 0.9]).unwrap();
        let problem = problem.free_start(&[1]).unwrap();
        let problem = problem.subject_to((&data, &data), |y, _, r| {
            (0..30).for_each(|k| r[2 * k..2 * k + 2].copy_from_slice(&y[k]));
        });
        let problem = problem.unwrap();
        let problem = if exact { problem } else { problem.first_derivatives() };
        let mut fit = LeastSquares::of(problem, 0..60).unwrap();
        let report = solve(&mut fit, &Default::default(), &mut Silent).unwrap();
        assert!(report.solved(), "{}", report.message);
        for (found, want) in report.x.iter().zip([1.5, 1.0, 3.0, 1.0, 1.0]) {
            assert!((found - want).abs() < 1e-5, "{:?}", report.x);
        }
    }
}

/// y'' = u, from rest at 0 to rest at 1 with the least integral of u^2: u = 6 - 12 t, 12. Constant pieces: the best of them.
#[test]
fn least_energy_with_a_held_control() {
    let field = record(3, 1, |_, y, p, dy| {
        dy[0] = y[1];
        dy[1] = p[0];
        dy[2] = p[0] * p[0];
    });
    let grid: Vec<f64> = (0..=20).map(|k| k as f64 / 20.0).collect();
    for (hold, count, want) in [(Hold::Constant, 20, 12.0 / (1.0 - 1.0 / 400.0)), (Hold::Linear, 21, 12.0)] {
        let held = Held::new(field.clone().unwrap().into_map(), 1, &grid, hold).unwrap();
        let options = Options { stops: held.stops().to_vec(), ..Options::tolerances(1e-9, 1e-9) };
        let trajectory = Trajectory::new(held, &TSIT54, &options, (0.0, 1.0), &[1.0]).unwrap();
        let mut problem = Reduced::new("energy", trajectory, &[0.0; 3], &vec![0.0; count])
            .and_then(|r| r.objective(|y, _| y[0][2]))
            .and_then(|r| r.subject_to((&[1.0, 0.0], &[1.0, 0.0]), |y, _, c| c.copy_from_slice(&y[0][..2])))
            .unwrap();
        let report = solve(&mut problem, &Default::default(), &mut Silent).unwrap();
        assert!(report.solved(), "{}", report.message);
        assert!((report.objective - want).abs() < 1e-6, "{} {want}", report.objective);
    }
}

/// Robertson's rates of two reactions from a stiff solution.
#[test]
fn stiff_rates() {
    let field = || {
        let f = record(3, 2, |_, y, p, dy| {
            let (a, b) = (p[0] * y[0], 1e4 * y[1] * y[2]);
            let c = 3e7 * p[1] * y[1] * y[1];
            dy[0] = b - a;
            dy[1] = a - b - c;
            dy[2] = c;
        });
        f.unwrap().into_map()
    };
    let times = [0.4, 4.0, 40.0, 400.0];
    let options = Options::tolerances(1e-8, 1e-11);
    let clean = crate::ode::solve(
        &mut field(),
        &RODAS5P,
        &options,
        (0.0, 400.0),
        &[1.0, 0.0, 0.0],
        &[0.04, 1.0],
        &times,
    );
    let data: Vec<f64> = clean.unwrap().states().chunks(3).flat_map(|y| [y[0], 1e4 * y[1]]).collect();
    let trajectory: Trajectory<_, StiffIntegrator<f64>> =
        Trajectory::new(field(), &RODAS5P, &options, (0.0, 400.0), &times).unwrap();
    let problem = Reduced::new("robertson", trajectory, &[1.0, 0.0, 0.0], &[0.03, 1.3]).unwrap();
    let problem = problem.bounds(&[0.0; 2], &[1.0, 10.0]).unwrap();
    let problem = problem.subject_to((&data, &data), |y, _, r| {
        for k in 0..4 {
            r[2 * k] = y[k][0];
            r[2 * k + 1] = 1e4 * y[k][1];
        }
    });
    let mut fit = LeastSquares::of(problem.unwrap(), 0..8).unwrap();
    let report = solve(&mut fit, &Default::default(), &mut Silent).unwrap();
    assert!(report.solved(), "{}", report.message);
    assert!((report.x[0] - 0.04).abs() < 1e-6 && (report.x[1] - 1.0).abs() < 1e-4, "{:?}", report.x);
}

#[test]
fn what_does_not_fit_is_said() {
    let trajectory = || Trajectory::new(lotka(), &TSIT54, &Options::default(), (0.0, 1.7), &TIMES).unwrap();
    assert!(Trajectory::new(lotka(), &TSIT54, &Options::default(), (0.0, 1.7), &[]).is_err());
    assert!(Reduced::new("a", trajectory(), &[1.0], &[1.0; 4]).is_err());
    assert!(Reduced::new("a", trajectory(), &[1.0, f64::NAN], &[1.0; 4]).is_err());
    let problem = || Reduced::new("a", trajectory(), &[1.0, 1.0], &[1.0; 4]).unwrap();
    assert!(problem().free_start(&[2]).is_err());
    assert!(problem().bounds(&[0.0], &[1.0]).is_err());
    let error = problem().subject_to((&[0.0], &[0.0]), |_, _, _| {}).unwrap_err();
    assert!(error.to_string().contains("never set"), "{error}");
}
