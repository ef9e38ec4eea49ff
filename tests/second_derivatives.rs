//! Second derivatives by differences, and problems whose own ones are wrong.

use std::sync::Mutex;

use costate::Error;
use costate::nlp::{ClosureProblem, Pattern, Problem};
use costate::observe::Silent;
use costate::opt::{HessianModel, Options, solve};
use costate::report::SecondOrder;

const N: usize = 6;

/// min sum 100 (x_{j+1} - x_j^2)^2 + (1 - x_j)^2 - log x_j in [1e-3, 1.5]^n subject to x_1 x_n = 0.5; `error` multiplies the
/// second derivatives at (2, 1). `least` records the smallest x that was evaluated.
fn problem(error: f64, least: &Mutex<f64>) -> ClosureProblem<'_> {
    let pattern = Pattern {
        rows: (0..N).flat_map(|j| if j + 1 < N { vec![j, j + 1] } else { vec![j] }).chain([N - 1]).collect(),
        cols: (0..N).flat_map(|j| if j + 1 < N { vec![j, j] } else { vec![j] }).chain([0]).collect(),
    };
    Problem::new("valley", N)
        .start(&[0.2; N])
        .bounds(&[1e-3; N], &[1.5; N])
        .objective(move |x| {
            let mut least = least.lock().unwrap();
            *least = x.iter().copied().fold(*least, f64::min);
            let valley = |j: usize| 100.0 * (x[j + 1] - x[j] * x[j]).powi(2) + (1.0 - x[j]).powi(2);
            (0..N - 1).map(valley).sum::<f64>() - x.iter().map(|v| v.ln()).sum::<f64>()
        })
        .gradient(move |x, g| {
            let mut least = least.lock().unwrap();
            *least = x.iter().copied().fold(*least, f64::min);
            g.iter_mut().zip(x).for_each(|(g, x)| *g = -1.0 / x);
            for j in 0..N - 1 {
                let r = x[j + 1] - x[j] * x[j];
                g[j] += -400.0 * x[j] * r - 2.0 * (1.0 - x[j]);
                g[j + 1] += 200.0 * r;
            }
        })
        .equality(1, |x, c| c[0] = x[0] * x[N - 1] - 0.5)
        .jacobian(|x, j| {
            j.fill(0.0);
            (j[0], j[N - 1]) = (x[N - 1], x[0]);
        })
        .sparse_hessian(pattern, move |x, sigma, y, h| {
            h.fill(0.0);
            for j in 0..N {
                h[2 * j] += sigma / (x[j] * x[j]) + if j > 0 { sigma * 200.0 } else { 0.0 };
                if j + 1 < N {
                    let r = x[j + 1] - x[j] * x[j];
                    h[2 * j] += sigma * (800.0 * x[j] * x[j] - 400.0 * r + 2.0);
                    h[2 * j + 1] = -400.0 * sigma * x[j];
                }
            }
            h[1] *= error;
            h[2 * N - 1] = y[0];
        })
        .build()
        .unwrap()
}

#[test]
fn differences_replace_the_values_and_stay_inside_the_bounds() {
    let least = Mutex::new(f64::INFINITY);
    let exact = solve(&mut problem(1.0, &least), &Options::default(), &mut Silent).unwrap();
    *least.lock().unwrap() = f64::INFINITY;
    // The values are wrong, but not asked for.
    let options = Options { hessian: HessianModel::Differences, ..Options::default() };
    let report = solve(&mut problem(1e9, &least), &options, &mut Silent).unwrap();
    assert!(exact.solved() && report.solved(), "{} {}", exact.message, report.message);
    assert_eq!(report.counts.hessian, 0);
    assert!(report.wrong_entry.is_none());
    assert!((report.objective - exact.objective).abs() < 1e-6 * exact.objective.abs());
    assert!(report.iterations <= exact.iterations + 2, "{} {}", report.iterations, exact.iterations);
    let least = *least.lock().unwrap();
    assert!(least >= 1e-3, "{least}");
}

#[test]
fn wrong_second_derivatives_are_found_and_replaced() {
    let least = Mutex::new(f64::INFINITY);
    let exact = solve(&mut problem(1.0, &least), &Options::default(), &mut Silent).unwrap();
    assert!(exact.wrong_entry.is_none());
    let report = solve(&mut problem(1e7, &least), &Options::default(), &mut Silent).unwrap();
    assert!(report.solved(), "{}", report.message);
    assert!((report.objective - exact.objective).abs() < 1e-6 * exact.objective.abs());
    let entry = report.wrong_entry.expect("the wrong entry");
    assert_eq!((entry.row, entry.col), (1, 0));
    assert!((entry.given / entry.expected - 1e7).abs() < 1e2, "{entry:?}");
    let least = *least.lock().unwrap();
    assert!(least >= 1e-3, "{least}");
}

#[test]
fn differences_need_a_pattern() {
    let mut problem = Problem::new("square", 2)
        .start(&[1.0; 2])
        .objective(|x| x.iter().map(|v| v * v).sum())
        .gradient(|x, g| g.iter_mut().zip(x).for_each(|(g, x)| *g = 2.0 * x))
        .hessian_product(|_, sigma, _, v, hv| hv.iter_mut().zip(v).for_each(|(h, v)| *h = 2.0 * sigma * v))
        .build()
        .unwrap();
    let options = Options { hessian: HessianModel::Differences, ..Options::default() };
    let error = solve(&mut problem, &options, &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Option { .. }) && error.to_string().contains("pattern"), "{error}");
}

/// a/2 x_1^2 + q x_1^4 + x_2^2 with a > 0, a < 0 (minima off the axis) and a = q = 0, flat in x_1.
#[test]
fn minima_are_told_from_saddles() {
    let second_order = |curvature: f64, q: f64| {
        let mut problem = Problem::new("saddle", 2)
            .start(&[0.3, 1.0])
            .bounds(&[-10.0; 2], &[1.0, 10.0])
            .objective(move |x| 0.5 * curvature * x[0] * x[0] + q * x[0].powi(4) + x[1] * x[1])
            .gradient(move |x, g| {
                (g[0], g[1]) = (curvature * x[0] + 4.0 * q * x[0].powi(3), 2.0 * x[1]);
            })
            .hessian(move |x, sigma, _, h| {
                h.copy_from_slice(&[sigma * (curvature + 12.0 * q * x[0] * x[0]), 0.0, 0.0, 2.0 * sigma]);
            })
            .build()
            .unwrap();
        let options = Options { second_order: true, ..Options::default() };
        let report = solve(&mut problem, &options, &mut Silent).unwrap();
        assert!(report.solved(), "{}", report.message);
        report.second_order
    };
    assert_eq!(second_order(1.0, 1.0), Some(SecondOrder::Minimum));
    assert_eq!(second_order(-2.0, 1.0), Some(SecondOrder::Minimum));
    assert_eq!(second_order(0.0, 0.0), Some(SecondOrder::Unconfirmed));
    let least = Mutex::new(f64::INFINITY);
    let report = solve(&mut problem(1.0, &least), &Options::default(), &mut Silent).unwrap();
    assert_eq!(report.second_order, None);
}

#[test]
fn a_slow_difference_is_stopped() {
    let n = 100;
    let mut problem = Problem::new("slow", n)
        .start(&vec![1.0; n])
        .objective(|x| x.iter().map(|v| v.powi(4)).sum())
        .gradient(|x, g| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            g.iter_mut().zip(x).for_each(|(g, x)| *g = 4.0 * x.powi(3));
        })
        .hessian(|_, _, _, _| unreachable!("values are not asked for"))
        .build()
        .unwrap();
    // One Hessian takes two seconds.
    let options = Options { hessian: HessianModel::Differences, time_limit: Some(0.2), ..Options::default() };
    let clock = std::time::Instant::now();
    let report = solve(&mut problem, &options, &mut Silent).unwrap();
    assert_eq!(report.stop, costate::StopReason::TimeLimit, "{}", report.message);
    assert!(clock.elapsed().as_secs_f64() < 1.0, "{:?}", clock.elapsed());
}
