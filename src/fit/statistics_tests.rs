use super::*;
use crate::diff::Active;
use crate::fit::Loss;
use crate::model::{Expr, Expression, Model, variable};
use crate::nlp::Problem;
use crate::nlp::check::{CheckOptions, check_derivatives};
use crate::observe::Silent;
use crate::opt::{self, Options};

fn solve(fit: &mut dyn Nlp) -> Report {
    let report = opt::solve(fit, &Options { tolerance: 1e-10, ..Options::default() }, &mut Silent).unwrap();
    assert!(report.is_answer(), "{}: {}", fit.meta().name, report.message);
    report
}

/// A dataset of the NIST Statistical Reference Datasets for nonlinear regression (public domain), with its certified values.
struct Certified {
    name: &'static str,
    data: &'static [(f64, f64)],
    starts: [&'static [f64]; 2],
    /// Parameter, standard deviation.
    parameters: &'static [(f64, f64)],
    sum_of_squares: f64,
    model: fn(f64, &[Active]) -> Active,
}

const CERTIFIED: &[Certified] = &[
    Certified {
        name: "Misra1a",
        data: &[
            (77.6, 10.07),
            (114.9, 14.73),
            (141.1, 17.94),
            (190.8, 23.93),
            (239.9, 29.61),
            (289.0, 35.18),
            (332.8, 40.02),
            (378.4, 44.82),
            (434.8, 50.76),
            (477.3, 55.05),
            (536.8, 61.01),
            (593.1, 66.40),
            (689.1, 75.47),
            (760.0, 81.78),
        ],
        starts: [&[500.0, 0.0001], &[250.0, 0.0005]],
        parameters: &[(2.3894212918e2, 2.7070075241), (5.5015643181e-4, 7.2668688436e-6)],
        sum_of_squares: 1.2455138894e-1,
        model: |x, b| b[0] * (1.0 - (-b[1] * x).exp()),
    },
    Certified {
        name: "DanWood",
        data: &[
            (1.309, 2.138),
            (1.471, 3.421),
            (1.490, 3.597),
            (1.565, 4.340),
            (1.611, 4.882),
            (1.680, 5.660),
        ],
        starts: [&[1.0, 5.0], &[0.7, 4.0]],
        parameters: &[(7.6886226176e-1, 1.8281973860e-2), (3.8604055871, 5.1726610913e-2)],
        sum_of_squares: 4.3173084083e-3,
        model: |x, b| b[0] * Active::from(x).powf(b[1]),
    },
    Certified {
        name: "BoxBOD",
        data: &[(1.0, 109.0), (2.0, 149.0), (3.0, 149.0), (5.0, 191.0), (7.0, 213.0), (10.0, 224.0)],
        starts: [&[1.0, 1.0], &[100.0, 0.75]],
        parameters: &[(2.1380940889e2, 1.2354515176e1), (5.4723748542e-1, 1.0455993237e-1)],
        sum_of_squares: 1.1680088766e3,
        model: |x, b| b[0] * (1.0 - (-b[1] * x).exp()),
    },
    Certified {
        name: "MGH09",
        data: &[
            (4.0, 0.1957),
            (2.0, 0.1947),
            (1.0, 0.1735),
            (0.5, 0.16),
            (0.25, 0.0844),
            (0.167, 0.0627),
            (0.125, 0.0456),
            (0.1, 0.0342),
            (0.0833, 0.0323),
            (0.0714, 0.0235),
            (0.0625, 0.0246),
        ],
        starts: [&[25.0, 39.0, 41.5, 39.0], &[0.25, 0.39, 0.415, 0.39]],
        parameters: &[
            (1.9280693458e-1, 1.1435312227e-2),
            (1.9128232873e-1, 1.9633220911e-1),
            (1.2305650693e-1, 8.0842031232e-2),
            (1.3606233068e-1, 9.0025542308e-2),
        ],
        sum_of_squares: 3.0750560385e-4,
        model: |x, b| b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3]),
    },
    Certified {
        name: "MGH10",
        data: &[
            (50.0, 34780.0),
            (55.0, 28610.0),
            (60.0, 23650.0),
            (65.0, 19630.0),
            (70.0, 16370.0),
            (75.0, 13720.0),
            (80.0, 11540.0),
            (85.0, 9744.0),
            (90.0, 8261.0),
            (95.0, 7030.0),
            (100.0, 6005.0),
            (105.0, 5147.0),
            (110.0, 4427.0),
            (115.0, 3820.0),
            (120.0, 3307.0),
            (125.0, 2872.0),
        ],
        starts: [&[2.0, 400000.0, 25000.0], &[0.02, 4000.0, 250.0]],
        parameters: &[
            (5.6096364710e-3, 1.5687892471e-4),
            (6.1813463463e3, 2.3309021107e1),
            (3.4522363462e2, 7.8486103508e-1),
        ],
        sum_of_squares: 8.7945855171e1,
        model: |x, b| b[0] * (b[1] / (x + b[2])).exp(),
    },
    Certified {
        name: "Rat43",
        data: &[
            (1.0, 16.08),
            (2.0, 33.83),
            (3.0, 65.80),
            (4.0, 97.20),
            (5.0, 191.55),
            (6.0, 326.20),
            (7.0, 386.87),
            (8.0, 520.53),
            (9.0, 590.03),
            (10.0, 651.92),
            (11.0, 724.93),
            (12.0, 699.56),
            (13.0, 689.96),
            (14.0, 637.56),
            (15.0, 717.41),
        ],
        starts: [&[100.0, 10.0, 1.0, 1.0], &[700.0, 5.0, 0.75, 1.3]],
        parameters: &[
            (6.9964151270e2, 1.6302297817e1),
            (5.2771253025, 2.0828735829),
            (7.5962938329e-1, 1.9566123451e-1),
            (1.2792483859, 6.8761936385e-1),
        ],
        sum_of_squares: 8.7864049080e3,
        model: |x, b| b[0] / (1.0 + (b[1] - b[2] * x).exp()).powf(1.0 / b[3]),
    },
    Certified {
        name: "Thurber",
        data: &[
            (-3.067, 80.574),
            (-2.981, 84.248),
            (-2.921, 87.264),
            (-2.912, 87.195),
            (-2.840, 89.076),
            (-2.797, 89.608),
            (-2.702, 89.868),
            (-2.699, 90.101),
            (-2.633, 92.405),
            (-2.481, 95.854),
            (-2.363, 100.696),
            (-2.322, 101.060),
            (-1.501, 401.672),
            (-1.460, 390.724),
            (-1.274, 567.534),
            (-1.212, 635.316),
            (-1.100, 733.054),
            (-1.046, 759.087),
            (-0.915, 894.206),
            (-0.714, 990.785),
            (-0.566, 1090.109),
            (-0.545, 1080.914),
            (-0.400, 1122.643),
            (-0.309, 1178.351),
            (-0.109, 1260.531),
            (-0.103, 1273.514),
            (0.010, 1288.339),
            (0.119, 1327.543),
            (0.377, 1353.863),
            (0.790, 1414.509),
            (0.963, 1425.208),
            (1.006, 1421.384),
            (1.115, 1442.962),
            (1.572, 1464.350),
            (1.841, 1468.705),
            (2.047, 1447.894),
            (2.200, 1457.628),
        ],
        starts: [
            &[1000.0, 1000.0, 400.0, 40.0, 0.7, 0.3, 0.03],
            &[1300.0, 1500.0, 500.0, 75.0, 1.0, 0.4, 0.05],
        ],
        parameters: &[
            (1.2881396800e3, 4.6647963344),
            (1.4910792535e3, 3.9571156086e1),
            (5.8323836877e2, 2.8698696102e1),
            (7.5416644291e1, 5.5675370270),
            (9.6629502864e-1, 3.1333340687e-2),
            (3.9797285797e-1, 1.4984928198e-2),
            (4.9727297349e-2, 6.5842344623e-3),
        ],
        sum_of_squares: 5.6427082397e3,
        model: |x, b| {
            (b[0] + b[1] * x + b[2] * x * x + b[3] * x * x * x)
                / (1.0 + b[4] * x + b[5] * x * x + b[6] * x * x * x)
        },
    },
];

#[test]
fn certified_parameters_and_deviations() {
    let (mut wrong, mut stalled) = (Vec::new(), Vec::new());
    for c in CERTIFIED {
        let (t, y): (Vec<f64>, Vec<f64>) = c.data.iter().copied().unzip();
        for (k, start) in c.starts.iter().enumerate() {
            let mut fit = LeastSquares::curve(&t, &y, start, c.model).unwrap();
            let options = Options { tolerance: 1e-10, ..Options::default() };
            let report = opt::solve(&mut fit, &options, &mut Silent).unwrap();
            let s = fit.statistics(&report).unwrap();
            let far = |found: f64, certified: f64| ((found - certified) / certified).abs();
            let worst = |of: &[f64], take: fn(&(f64, f64)) -> f64| {
                of.iter().zip(c.parameters).map(|(v, p)| far(*v, take(p))).fold(0.0, f64::max)
            };
            let gaps = [
                worst(&report.x, |p| p.0),
                worst(&s.standard_errors, |p| p.1),
                far(s.sum_of_squares, c.sum_of_squares),
            ];
            eprintln!(
                "{} from start {}: {} after {} iterations, {gaps:?}",
                c.name,
                k + 1,
                report.stop.as_str(),
                report.iterations
            );
            if !report.is_answer() {
                stalled.push((c.name, k + 1));
            }
            if gaps[0] > 1e-7 || gaps[1] > 1e-7 || gaps[2] > 1e-9 {
                wrong.push((c.name, k + 1, gaps));
            }
            assert_eq!((s.degrees_of_freedom, s.rank), (t.len() - c.parameters.len(), c.parameters.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    // The parameters are the certified ones to 1e-9 there, but the gradient does not fall to this tolerance: b0 e^(b1 / (t + b2)) with b0 from 2 to 0.006.
    assert_eq!(stalled, [("MGH10", 1), ("MGH10", 2)]);
}

#[test]
fn quantiles_of_student() {
    // Tables: 97.5 % for 1, 2, 12, 30 degrees of freedom and without end; 99.5 % for 5.
    let known = [
        (0.975, 1.0, 12.706204736174694),
        (0.975, 2.0, 4.302652729749462),
        (0.975, 12.0, 2.178812829667229),
        (0.975, 30.0, 2.0422724563012373),
        (0.995, 5.0, 4.032142983557536),
        (0.975, f64::INFINITY, 1.959963984540054),
    ];
    for (p, freedom, t) in known {
        let found = quantile(p, freedom).unwrap();
        assert!((found - t).abs() < 1e-9 * t, "{p} {freedom}: {found} {t}");
    }
    assert!(quantile(0.975, 0.0).is_none());
}

/// y = b0 + b1 t with an outlier.
const T: [f64; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
const Y: [f64; 8] = [1.1, 2.9, 5.2, 6.8, 9.1, 30.0, 13.1, 14.9];

fn line(t: f64, b: &[Active]) -> Active {
    b[0] + b[1] * t
}

#[test]
fn a_line_by_its_formulas() {
    // Weighted: cov = s^2 (X'W X)^-1.
    let w = [1.0, 2.0, 1.0, 0.5, 1.0, 0.0, 3.0, 1.0];
    let sums = |f: &dyn Fn(f64, f64) -> f64| (0..8).map(|i| w[i] * f(T[i], Y[i])).sum::<f64>();
    let (s0, s1, s2) = (sums(&|_, _| 1.0), sums(&|t, _| t), sums(&|t, _| t * t));
    let (y0, y1) = (sums(&|_, y| y), sums(&|t, y| t * y));
    let det = s0 * s2 - s1 * s1;
    let (b0, b1) = ((s2 * y0 - s1 * y1) / det, (s0 * y1 - s1 * y0) / det);
    let rss = sums(&|t, y| (y - b0 - b1 * t).powi(2));
    let total = sums(&|_, y| (y - y0 / s0).powi(2));
    let mut fit = LeastSquares::curve(&T, &Y, &[0.0, 0.0], line).unwrap().weights(&w).unwrap();
    let report = solve(&mut fit);
    let s = fit.statistics(&report).unwrap();
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-8 * b.abs().max(1.0), "{a} {b}");
    near(report.x[0], b0);
    near(report.x[1], b1);
    // The observation of weight 0 is none.
    assert_eq!(s.degrees_of_freedom, 5);
    near(s.residual_variance, rss / 5.0);
    near(s.r_squared.unwrap(), 1.0 - rss / total);
    near(s.covariance[0], rss / 5.0 * s2 / det);
    near(s.covariance[1], -rss / 5.0 * s1 / det);
    near(s.covariance[3], rss / 5.0 * s0 / det);
    near(s.correlation(0, 1), -s1 / (s0 * s2).sqrt());
    let (low, high) = s.interval(1, 0.95).unwrap();
    near(high - low, 2.0 * 2.5705818366147395 * (rss / 5.0 * s0 / det).sqrt());
    assert!(s.interval(2, 0.95).is_err() && s.interval(0, 1.0).is_err());
    // Known deviations: not scaled.
    let sigma = vec![2.0; 8];
    let mut fit = LeastSquares::curve(&T, &Y, &[0.0, 0.0], line).unwrap().sigma(&sigma).unwrap();
    let report = solve(&mut fit);
    let s = fit.statistics(&report).unwrap();
    near(s.covariance[3], 4.0 / 42.0);
    let (low, high) = s.interval(1, 0.95).unwrap();
    near(high - low, 2.0 * 1.959963984540054 * (4.0f64 / 42.0).sqrt());
}

#[test]
fn robust_losses_withstand_an_outlier() {
    let slope = |loss: Loss| {
        let mut fit = LeastSquares::curve(&T, &Y, &[0.0, 1.0], line).unwrap().loss(loss).unwrap();
        let checked = check_derivatives(&mut fit, &[0.3, 1.4], &CheckOptions::default());
        assert!(checked.passed(), "{loss:?}: {:?}", checked.disagreements);
        let report = solve(&mut fit);
        let s = fit.statistics(&report).unwrap();
        (report.x[1], s.standard_errors[1])
    };
    let (squares, error) = slope(Loss::Squares);
    assert!((squares - 2.0).abs() > 0.3);
    for loss in [Loss::Huber(0.3), Loss::SoftL1(0.1), Loss::Cauchy(0.3), Loss::Arctan(1.0)] {
        let (robust, robust_error) = slope(loss);
        assert!((robust - 2.0).abs() < 0.06, "{loss:?} {robust}");
        assert!(robust_error < 0.5 * error, "{loss:?} {robust_error} {error}");
    }
    let fit = LeastSquares::curve(&T, &Y, &[0.0, 1.0], line).unwrap();
    assert!(fit.loss(Loss::Huber(0.0)).err().unwrap().to_string().contains("scale"));
}

#[test]
fn bounds_and_constraints_take_directions_away() {
    // A bound that holds b1: only the mean is left.
    let mut fit = LeastSquares::curve(&T, &Y, &[0.0, 0.5], line).unwrap().bounds(&[-50.0, 0.0], &[50.0, 1.0]);
    let report = solve(&mut fit);
    let s = fit.statistics(&report).unwrap();
    assert_eq!((s.at_bounds.as_slice(), s.rank, s.degrees_of_freedom), ([1].as_slice(), 1, 7));
    assert!((s.covariance[0] - s.residual_variance / 8.0).abs() < 1e-6 && s.standard_errors[1] == 0.0);
    // As expressions, with b0 + b1 = 3 and an inactive row: b1 alone is left, residuals b1 (t - 1) + 3 - y.
    let mut m = Model::new("tied");
    let (b0, b1) = (m.add(variable()), m.add(variable()));
    let row = m.subject_to((b0 + b1).eq(3));
    m.subject_to((b0 - b1).le(1000));
    let residuals: Vec<Expr> = T.iter().zip(Y).map(|(t, y)| b0 + *t * b1 - y).collect();
    let mut fit = LeastSquares::model(m, residuals).unwrap().observed(&Y);
    let checked = check_derivatives(&mut fit, &[0.3, 1.4], &CheckOptions::default());
    assert!(checked.passed(), "{:?}", checked.disagreements);
    assert_eq!((fit.meta().m(), fit.meta().n()), (2, 2));
    let report = solve(&mut fit);
    let s = fit.statistics(&report).unwrap();
    let sum: f64 = T.iter().map(|t| (t - 1.0) * (t - 1.0)).sum();
    let slope = T.iter().zip(Y).map(|(t, y)| (t - 1.0) * (y - 3.0)).sum::<f64>() / sum;
    assert!((b1.value(&report) - slope).abs() < 1e-7 && row.multiplier(&report).is_finite());
    let expected = s.residual_variance / sum;
    for (k, sign) in [(0, 1.0), (1, -1.0), (2, -1.0), (3, 1.0)] {
        assert!(
            (s.covariance[k] - sign * expected).abs() < 1e-7 * expected,
            "{k}: {} {expected}",
            s.covariance[k]
        );
    }
    assert_eq!(s.degrees_of_freedom, 7);
}

#[test]
fn what_the_data_do_not_determine_is_said() {
    // b0 + b1 is determined, neither of them is.
    let mut fit = LeastSquares::curve(&T, &Y, &[0.3, 0.0, 0.1], |t, b| b[0] + b[1] + b[2] * t).unwrap();
    let report = solve(&mut fit);
    let s = fit.statistics(&report).unwrap();
    assert_eq!((s.undetermined.as_slice(), s.rank), ([0, 1].as_slice(), 2));
    assert!(s.standard_errors[0].is_infinite() && s.covariance[1].is_nan());
    // The slope is that of the line.
    let mut line_fit = LeastSquares::curve(&T, &Y, &[0.0, 0.0], line).unwrap();
    let line_report = solve(&mut line_fit);
    let of_line = line_fit.statistics(&line_report).unwrap();
    assert!((s.standard_errors[2] - of_line.standard_errors[1]).abs() < 1e-8);
    // As many residuals as parameters: no degrees of freedom.
    let mut fit = LeastSquares::curve(&T[..2], &Y[..2], &[0.0, 0.0], line).unwrap();
    let report = solve(&mut fit);
    let s = fit.statistics(&report).unwrap();
    assert!(s.degrees_of_freedom == 0 && s.residual_variance.is_nan() && s.interval(0, 0.9).is_err());
}

#[test]
fn closures_and_repeated_entries() {
    // Rows by closures, no second derivatives: Gauss and Newton. Rosenbrock's residuals, one Jacobian entry in two parts.
    let pattern = crate::nlp::Pattern { rows: vec![0, 0, 0, 1], cols: vec![0, 1, 0, 0] };
    let build = || {
        Problem::new("rosenbrock", 2)
            .start(&[-1.2, 1.0])
            .equality(2, |x, r| r.copy_from_slice(&[10.0 * (x[1] - x[0] * x[0]), 1.0 - x[0]]))
            .sparse_jacobian(pattern.clone(), |x, j| {
                j.copy_from_slice(&[-15.0 * x[0], 10.0, -5.0 * x[0], -1.0])
            })
    };
    let mut fit = LeastSquares::of(build().limited_memory_hessian().build().unwrap(), 0..2).unwrap();
    let report = solve(&mut fit);
    assert!(report.x.iter().all(|x| (x - 1.0).abs() < 1e-6), "{:?}", report.x);
    let mut fit = LeastSquares::of(build().hessian_by_differences().build().unwrap(), 0..2).unwrap();
    let checked = check_derivatives(&mut fit, &[0.3, 1.4], &CheckOptions::default());
    assert!(checked.passed(), "{:?}", checked.disagreements);
    let report = solve(&mut fit);
    assert!(report.x.iter().all(|x| (x - 1.0).abs() < 1e-6), "{:?}", report.x);
    let fails = |rows: Vec<usize>| {
        let p = build().limited_memory_hessian().build().unwrap();
        LeastSquares::of(p, rows).err().unwrap().to_string()
    };
    assert!(fails(vec![2]).contains("residual row 2") && fails(vec![0, 0]).contains("residual row 0"));
}

#[test]
fn parameters_of_a_model_change() {
    let mut m = Model::new("changes");
    let b = m.add(variable());
    let p = m.parameter("p", 1.0);
    let mut fit = LeastSquares::model(m, T.iter().map(|t| b * *t - p * *t)).unwrap();
    assert!((solve(&mut fit).x[0] - 1.0).abs() < 1e-8);
    fit.change(|m| m.set(p, 2.5));
    assert!((solve(&mut fit).x[0] - 2.5).abs() < 1e-8);
}
