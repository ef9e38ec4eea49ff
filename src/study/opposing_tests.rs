use super::super::Verdict;
use super::*;
use crate::diagnose::sharpness;
use crate::train::data::{Stream, generator};

/// Loss and gradient on all samples, or some.
fn at(problem: &mut Problem, p: &[f64], samples: &[usize]) -> (f64, Vec<f64>) {
    let (mut g, mut rng) = (vec![0.0; p.len()], generator(0, Stream::Pass, 0));
    let (pass, _) = problem.gradient(p, samples, &Progress::default(), &mut rng, &mut g).unwrap();
    (pass.loss, g)
}

fn start(problem: &Problem) -> Vec<f64> {
    problem.params(&mut generator(0, Stream::Init, 0)).values().to_vec()
}

#[test]
fn gradients_by_differences() {
    for (mut problem, samples) in [(Problem::toy(1), vec![0]), (Problem::net(1), vec![0, 1, 2, 20, 33])] {
        let p = start(&problem);
        let (_, g) = at(&mut problem, &p, &samples);
        for i in 0..p.len() {
            let mut moved = |h: f64| {
                let mut q = p.clone();
                q[i] += h;
                at(&mut problem, &q, &samples).0
            };
            let want = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((g[i] - want).abs() < 1e-6 * want.abs().max(1.0), "{i}: {} {want}", g[i]);
        }
    }
}

#[test]
fn losses_of_samples_add_up() {
    let mut problem = Problem::net(2);
    let p = start(&problem);
    let all: Vec<usize> = (0..SAMPLES).collect();
    let (loss, g) = at(&mut problem, &p, &all);
    let (mut sum, mut total) = (0.0, vec![0.0; p.len()]);
    for i in 0..SAMPLES {
        let (one, own) = at(&mut problem, &p, &[i]);
        sum += one / SAMPLES as f64;
        total.iter_mut().zip(own).for_each(|(t, g)| *t += g / SAMPLES as f64);
    }
    assert!((loss - sum).abs() < 1e-11 * loss);
    assert!(g.iter().zip(&total).all(|(a, b)| (a - b).abs() < 1e-10 * loss));
}

/// The Hessian of the toy, column by column, by its formula.
fn hessian(p: &[f64], beta: &[f64]) -> Vec<Vec<f64>> {
    let (n, c, o) = (p.len(), p[0], p[1]);
    let mut h = vec![vec![0.0; n]; n];
    h[0][0] = ALPHA * o * o + p[2..].iter().map(|b| b * b).sum::<f64>();
    h[0][1] = 2.0 * ALPHA * c * o;
    h[1][0] = h[0][1];
    h[1][1] = ALPHA * c * c;
    for i in 2..n {
        h[0][i] = 2.0 * c * p[i] - beta[i - 2];
        h[i][0] = h[0][i];
        h[i][i] = c * c;
    }
    h
}

#[test]
fn sharpness_of_the_toy_is_that_of_its_hessian() {
    let mut problem = Problem::toy(3);
    let p = start(&problem);
    let Problem::Toy { beta, .. } = &problem else { unreachable!() };
    let h = hessian(&p, beta);
    let n = p.len();
    // The formula against differences of gradients.
    for j in 0..n {
        let mut moved = |e: f64| {
            let mut q = p.clone();
            q[j] += e;
            at(&mut problem, &q, &[0]).1
        };
        let (up, down) = (moved(1e-5), moved(-1e-5));
        for i in 0..n {
            let want = (up[i] - down[i]) / 2e-5;
            assert!((h[j][i] - want).abs() < 1e-6 * want.abs().max(1.0), "{i} {j}: {} {want}", h[j][i]);
        }
    }
    let dense = faer::Mat::from_fn(n, n, |i, j| h[i][j]);
    let values = dense.self_adjoint_eigenvalues(faer::Side::Lower).unwrap();
    let want = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut product = |v: &[f64], out: &mut [f64]| {
        (0..n).for_each(|i| out[i] = h[i].iter().zip(v).map(|(h, v)| h * v).sum());
    };
    let found = sharpness(&mut product, n, 30, 0).unwrap();
    assert!((found.value - want).abs() < 1e-9 * want, "{} {want}", found.value);
    // At the start about alpha c^2 = 9, as in the reference 10.
    assert!(want > 9.0 && want < 11.0, "{want}");
}

/// The run that is watched ends at the same bits as one that is not.
#[test]
fn a_watched_run_is_the_same_run() {
    let config = TrainConfig {
        batch: 100,
        seed: 1,
        precision: Precision::F64,
        checkpoint_every: 1000,
        ..TrainConfig::new(60, Schedule::constant(0.005))
    };
    let optimizer = OptimizerConfig::from(crate::train::optim::SgdConfig { momentum: 0.5 });
    let mut problem = Problem::net(4);
    let mut plain = State::new(&problem, &optimizer, 1);
    let go = |_: &TrainEvent, _: &mut State<f64>| Ok(ControlFlow::Continue(()));
    train(&mut problem, &config, &mut plain, &mut { go }).unwrap();
    let diagnose = DiagnoseConfig {
        sharpness_every: Some(150),
        lanczos_steps: 4,
        opposing: Some(OpposingConfig { every: 100, top: 5 }),
        samples: 60,
    };
    let mut seen = vec![];
    let mut sink = |d: &Diagnosis| seen.push(d.clone());
    let mut again = State::new(&problem, &optimizer, 1);
    let mut watched = Watched::new(&mut problem, &diagnose, (config.rate, 1), &mut sink);
    train(&mut watched, &config, &mut again, &mut { go }).unwrap();
    assert_eq!(watched.opposing().steps(), 12);
    assert_eq!(plain.params, again.params);
    let steps = |of: fn(&Diagnosis) -> Option<u64>| seen.iter().filter_map(of).collect::<Vec<_>>();
    assert_eq!(
        steps(|d| if let Diagnosis::Sharpness { step, .. } = d { Some(*step) } else { None }),
        [0, 150, 300, 450]
    );
    let watched = steps(|d| if let Diagnosis::Opposing { step, .. } = d { Some(*step) } else { None });
    assert_eq!(watched, [0, 1, 100, 101, 200, 201, 300, 301, 400, 401, 500, 501]);
    for d in &seen {
        match d {
            Diagnosis::Sharpness { value, bound, .. } => assert!(value.is_finite() && *bound == 400.0),
            Diagnosis::Opposing { outliers, .. } => assert!(!outliers.is_empty() && outliers.len() <= 5),
        }
    }
}

fn table(edge: [f64; 3], finder: [f64; 2]) -> Table {
    let columns = [
        "part",
        "method",
        "rate",
        "spikes",
        "sharpness, first",
        "sharpness, last",
        "share of 2 / rate",
        "planted",
        "cosine",
    ];
    let mut table = Table::new(&columns);
    let [growth, spikes, share] = edge;
    let mut toy = |rate: f64, spikes: f64, last: f64, share: f64| {
        let numbers = [spikes, 10.0, last, share].map(Cell::Number);
        let mut row = vec!["toy".into(), "GD".into(), rate.into()];
        row.extend(numbers);
        row.extend([Cell::Missing, Cell::Missing]);
        table.push(row);
    };
    toy(0.001, 0.0, 10.0 * growth, 0.15);
    toy(0.008, spikes, 240.0, share);
    toy(0.01, 1.0, 190.0, 0.95);
    let mut row: Vec<Cell> = vec!["finder".into(), "GD".into(), 0.01.into()];
    row.extend([1.0, 10.0, 190.0, 0.95, finder[0], finder[1]].map(Cell::Number));
    table.push(row);
    table
}

#[test]
fn the_criterion_on_made_up_tables() {
    let verdict = |edge, finder| OpposingSignals.judge(&table(edge, finder)).verdict();
    assert_eq!(verdict([30.0, 1.0, 0.97], [1.0, -0.99]), Verdict::Holds);
    assert_eq!(verdict([19.0, 1.0, 0.97], [1.0, -0.99]), Verdict::DoesNotHold);
    assert_eq!(verdict([30.0, 0.0, 0.97], [1.0, -0.99]), Verdict::DoesNotHold);
    assert_eq!(verdict([30.0, 1.0, 1.01], [1.0, -0.99]), Verdict::DoesNotHold);
    assert_eq!(verdict([30.0, 1.0, 0.84], [1.0, -0.99]), Verdict::DoesNotHold);
    assert_eq!(verdict([30.0, 1.0, 0.97], [0.94, -0.99]), Verdict::DoesNotHold);
    assert_eq!(verdict([30.0, 1.0, 0.97], [1.0, -0.5]), Verdict::DoesNotHold);
    assert_eq!(OpposingSignals.judge(&Table::default()).verdict(), Verdict::CannotBeDecided);
}
