use super::{Adaptive, Held, Hold, MultipleShooting, Reduced, Trajectory, solve};
use crate::expr::{RecordedMap, record};
use crate::fit::LeastSquares;
use crate::nlp::Nlp;
use crate::nlp::check::{CheckOptions, check_derivatives};
use crate::observe::Silent;
use crate::ode::{Integrator, Options, TSIT54};

/// Van der Pol with a parameter and a control, and the integral of what it costs.
fn van_der_pol() -> RecordedMap {
    let field = record(3, 2, |_, y, q, dy| {
        dy[0] = q[0] * (1.0 - y[1] * y[1]) * y[0] - y[1] + q[1];
        dy[1] = y[0];
        dy[2] = y[0] * y[0] + y[1] * y[1] + q[1] * q[1];
    });
    field.unwrap().into_map()
}

fn grid(pieces: usize, end: f64) -> Vec<f64> {
    (0..=pieces).map(|k| end * k as f64 / pieces as f64).collect()
}

fn controlled(pieces: usize) -> MultipleShooting<RecordedMap, Integrator<f64>> {
    let options = Options::tolerances(1e-8, 1e-8);
    MultipleShooting::new("vdp", van_der_pol(), &TSIT54, &options, &grid(pieces, 5.0), 1)
        .and_then(|p| p.params(&[1.0], &[1.0], &[1.0]))
        .and_then(|p| p.controls(&[0.0], &[-1.0], &[0.75]))
        .and_then(|p| p.start(&[0.0, 1.0, 0.0]))
        .unwrap()
}

#[test]
fn derivatives_are_those_of_differences() {
    let nodes = [0, 2, 3];
    let mut problem = controlled(3)
        .objective_at(&[3], |y, q| y[2] * q[0])
        .and_then(|p| p.objective_at(&nodes, |y, q| y[0] * y[1] * q[0] + q[1] * q[1] * y[0]))
        .and_then(|p| {
            p.subject_to_at(&nodes, (&[0.0; 2], &[1.0; 2]), |y, q, c| {
                c[0] = y[0] * y[0] * q[1] + q[0] * y[1];
                c[1] = y[2] * q[0];
            })
        })
        .unwrap();
    let z: Vec<f64> = (0..problem.meta().n()).map(|k| 0.8 + 0.3 * (k as f64).sin()).collect();
    problem.adapt(&z).unwrap();
    let near: Vec<f64> = z.iter().map(|v| v + 0.01).collect();
    let report = check_derivatives(&mut problem, &near, &CheckOptions::default());
    assert!(report.disagreements.is_empty(), "{report:?}");
}

/// Van der Pol's oscillator, u in [-1, 0.75] held on 20 pieces: the same optimum as with controls alone, and costates that are slopes of the value.
#[test]
fn van_der_pol_is_controlled() {
    let mut problem = controlled(20).objective_at(&[20], |y, _| y[2]).unwrap();
    let report = solve(&mut problem, &Default::default(), &mut Silent).unwrap();
    assert!(report.solved(), "{}", report.message);
    let held = Held::new(van_der_pol(), 1, &grid(20, 5.0), Hold::Constant).unwrap();
    let options = Options { stops: held.stops().to_vec(), ..Options::tolerances(1e-8, 1e-8) };
    let trajectory = Trajectory::new(held, &TSIT54, &options, (0.0, 5.0), &[5.0]).unwrap();
    let (mut start, mut lower, mut upper) = (vec![0.0; 21], vec![-1.0; 21], vec![0.75; 21]);
    (start[0], lower[0], upper[0]) = (1.0, 1.0, 1.0);
    let mut alone = Reduced::new("alone", trajectory, &[0.0, 1.0, 0.0], &start)
        .and_then(|p| p.bounds(&lower, &upper))
        .and_then(|p| p.objective(|y, _| y[0][2]))
        .unwrap();
    let single = solve(&mut alone, &Default::default(), &mut Silent).unwrap();
    assert!(single.solved(), "{}", single.message);
    assert!((report.objective - single.objective).abs() < 1e-6, "{} {}", report.objective, single.objective);
    for k in 0..20 {
        assert!((problem.control(&report.x, k)[0] - single.x[k + 1]).abs() < 1e-4, "{k}");
    }
    // The value by the state at a node: from the rest of the problem, solved anew with that state moved.
    let k = 5;
    let lambda = problem.costate(&report.y, k - 1).to_vec();
    assert!((problem.costate(&report.y, 19)[2] - 1.0).abs() < 1e-6);
    let state = problem.state(&report.x, k).to_vec();
    let rest = |moved: f64| {
        let options = Options::tolerances(1e-8, 1e-8);
        let times: Vec<f64> = grid(20, 5.0)[k..].to_vec();
        let last = times.len() - 1;
        let mut start = state.clone();
        start[0] += moved;
        let mut tail = MultipleShooting::new("tail", van_der_pol(), &TSIT54, &options, &times, 1)
            .and_then(|p| p.params(&[1.0], &[1.0], &[1.0]))
            .and_then(|p| p.controls(&[0.0], &[-1.0], &[0.75]))
            .and_then(|p| p.start(&start))
            .and_then(|p| p.objective_at(&[last], |y, _| y[2]))
            .unwrap();
        solve(&mut tail, &Default::default(), &mut Silent).unwrap().objective
    };
    let slope = (rest(1e-3) - rest(-1e-3)) / 2e-3;
    assert!((lambda[0] - slope).abs() < 1e-4 * slope.abs().max(1.0), "{lambda:?} {slope}");
}

/// The same bits for any number of threads.
#[test]
fn threads_change_nothing() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut problem = controlled(10).objective_at(&[10], |y, _| y[2]).unwrap();
            solve(&mut problem, &Default::default(), &mut Silent).unwrap().x
        })
    };
    assert_eq!(run(1), run(2));
}

/// A parameter and a start from exact observations at the nodes.
#[test]
fn estimation_at_the_nodes() {
    let times = grid(10, 4.0);
    let options = Options::tolerances(1e-9, 1e-9);
    let truth = crate::ode::solve(
        &mut van_der_pol(),
        &TSIT54,
        &options,
        (0.0, 4.0),
        &[0.5, 1.0, 0.0],
        &[0.8, 0.0],
        &times,
    );
    let data: Vec<f64> = truth.unwrap().states().chunks(3).map(|y| y[1]).collect();
    let nodes: Vec<usize> = (0..=10).collect();
    let problem = MultipleShooting::new("fit", van_der_pol(), &TSIT54, &options, &times, 1)
        .and_then(|p| p.params(&[0.3], &[0.0], &[5.0]))
        .and_then(|p| p.controls(&[0.0], &[0.0], &[0.0]))
        .and_then(|p| p.guess(&data.iter().flat_map(|d| [0.0, *d, 0.0]).collect::<Vec<_>>()))
        .and_then(|p| p.sides_at(&nodes, (&data, &data), |y, _, r| r[0] = y[1]))
        .and_then(|p| p.subject_to_at(&[0], (&[0.0], &[0.0]), |y, _, c| c[0] = y[2]))
        .unwrap();
    let mut fit = LeastSquares::of(problem, 30..41).unwrap();
    let report = solve(&mut fit, &Default::default(), &mut Silent).unwrap();
    assert!(report.solved(), "{}", report.message);
    let found = fit.problem().parameters(&report.x)[0];
    assert!((found - 0.8).abs() < 1e-5, "{found}");
}
