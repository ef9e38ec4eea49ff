//! Attacks and direct search on problems with known answers.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::ControlFlow;

use costate::nn::{Activation, Mlp};
use costate::opt::hybrid::{HybridOptions, HybridStop, StepKind, maximize};
use costate::opt::surrogated::{MapSurrogate, Surrogated, as_problem};

/// max -|x - (0.3, -0.2)|^2 subject to x_0 + x_1 <= 0: the maximum is (0.25, -0.25). Keeps the points it is evaluated at.
#[derive(Default)]
struct Bowl {
    gradients: bool,
    seen: Vec<[u64; 2]>,
    hole: bool,
}

impl Surrogated for Bowl {
    fn dim(&self) -> usize {
        2
    }
    fn constraints(&self) -> usize {
        1
    }
    fn value(&mut self, x: &[f64], c: &mut [f64]) -> f64 {
        self.seen.push([x[0].to_bits(), x[1].to_bits()]);
        c[0] = x[0] + x[1];
        if self.hole && x[0] > 0.26 {
            return f64::NAN;
        }
        -(x[0] - 0.3).powi(2) - (x[1] + 0.2).powi(2)
    }
    fn has_gradient(&self) -> bool {
        self.gradients
    }
    fn gradient(&mut self, x: &[f64], w: &[f64], g: &mut [f64]) {
        g[0] = -2.0 * (x[0] - 0.3) + w[0];
        g[1] = -2.0 * (x[1] + 0.2) + w[0];
    }
}

fn quiet(_: &costate::opt::hybrid::Accepted<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn black_boxes_and_gradients_find_the_maximum() {
    for gradients in [false, true] {
        let mut bowl = Bowl { gradients, ..Bowl::default() };
        let options = HybridOptions { steepness: 30.0, ..HybridOptions::default() };
        let report = maximize(&mut bowl, &[-0.9, 0.1], &options, quiet).unwrap();
        assert_eq!(report.stop, HybridStop::SmallRadii);
        assert_eq!(report.gradients > 0, gradients);
        // The penalty leaves a violation of multiplier / (2 s^2) = 0.1 / 1800.
        assert!(report.violation < 1e-4, "{report:?}");
        let error = (report.x[0] - 0.25).abs().max((report.x[1] + 0.25).abs());
        assert!(error < 2e-3, "{report:?}");
    }
}

#[test]
fn no_evaluation_is_repeated_and_the_budget_is_exact() {
    for budget in [1, 2, 17, 100] {
        let mut bowl = Bowl::default();
        let options = HybridOptions { max_evaluations: budget, ..HybridOptions::default() };
        let report = maximize(&mut bowl, &[-0.9, 0.1], &options, quiet).unwrap();
        assert_eq!((report.evaluations, report.stop), (budget, HybridStop::MaxEvaluations));
    }
    let mut bowl = Bowl::default();
    let report = maximize(&mut bowl, &[-0.9, 0.1], &HybridOptions::default(), quiet).unwrap();
    // The last call looks up the violation at the answer.
    let seen = &bowl.seen[..bowl.seen.len() - 1];
    assert_eq!(seen.len() as u64, report.evaluations);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len());
}

#[test]
fn points_without_a_value_are_passed_over() {
    let mut bowl = Bowl { hole: true, ..Bowl::default() };
    let report = maximize(&mut bowl, &[-0.9, 0.1], &HybridOptions::default(), quiet).unwrap();
    assert!(report.objective.is_finite() && report.x[0] <= 0.26);
    let bad =
        maximize(&mut Bowl { hole: true, ..Bowl::default() }, &[0.5, 0.0], &HybridOptions::default(), quiet);
    assert!(bad.unwrap_err().to_string().contains("not finite"));
}

#[test]
fn bounds_are_kept_and_observers_stop() {
    let (lower, upper) = (vec![-1.0, -1.0], vec![0.1, 1.0]);
    let options = HybridOptions { bounds: Some((lower, upper)), ..HybridOptions::default() };
    let mut bowl = Bowl::default();
    let report = maximize(&mut bowl, &[-0.9, 0.1], &options, quiet).unwrap();
    assert!(bowl.seen.iter().all(|x| f64::from_bits(x[0]) <= 0.1));
    assert!((report.x[0] - 0.1).abs() < 1e-6, "{report:?}");
    let mut first = None;
    let stop = maximize(&mut bowl, &[-0.9, 0.1], &HybridOptions::default(), |row| {
        first.get_or_insert(row.kind);
        if row.evaluations > 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stop.unwrap().stop, HybridStop::Interrupted);
    assert_eq!(first, Some(StepKind::Start));
}

#[test]
fn bad_input_is_one_sentence() {
    let mut bowl = Bowl::default();
    let options = HybridOptions::default();
    let without = HybridOptions { search: false, ..options.clone() };
    let negative = HybridOptions { covering: -1.0, ..options.clone() };
    let outside = HybridOptions { bounds: Some((vec![0.0; 2], vec![1.0; 2])), ..options.clone() };
    for (x0, options) in [
        (&[0.0][..], &options),
        (&[0.0, f64::NAN], &options),
        (&[0.0, 0.0], &without),
        (&[0.0, 0.0], &negative),
        (&[-1.0, 0.0], &outside),
    ] {
        let text = maximize(&mut bowl, x0, options, quiet).unwrap_err().to_string();
        assert!(text.starts_with("option ") && !text.contains('\n'), "{text}");
    }
}

/// A network with objective y_0, one constraint y_1 <= 0.05 and the box |x| <= 1.
fn network() -> MapSurrogate<'static, Mlp<f64>> {
    let net = Mlp::dense(&[3, 8, 2], Activation::Tanh, Activation::Identity, false).unwrap();
    let p: Vec<f64> = (0..50).map(|k| ((k * 37 + 11) % 23) as f64 / 12.0 - 0.9).collect();
    MapSurrogate::new(net, &p, 1, |_, y, c| {
        c[0] = y[1] - 0.05;
        y[0]
    })
    .unwrap()
    .with_gradient(|_, _, w, _, y_bar| {
        y_bar[0] += 1.0;
        y_bar[1] += w[0];
    })
}

#[test]
fn gradient_of_a_network_by_differences() {
    let mut net = network();
    let (x, w, mut g, mut c) = ([0.3, -0.2, 0.5], [0.7], [0.0; 3], [0.0]);
    net.gradient(&x, &w, &mut g);
    for j in 0..3 {
        let mut at = |h: f64| {
            let mut y = x;
            y[j] += h;
            net.value(&y, &mut c) + 0.7 * c[0]
        };
        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((slope - g[j]).abs() < 1e-8, "{slope} {}", g[j]);
    }
}

#[test]
fn the_solver_agrees_with_the_hybrid() {
    let (lower, upper) = (vec![-1.0; 3], vec![1.0; 3]);
    let options = HybridOptions {
        bounds: Some((lower.clone(), upper.clone())),
        covering: 0.25,
        ..HybridOptions::default()
    };
    let mut net = network();
    let start = [0.0, 0.0, 0.0];
    let report = maximize(&mut net, &start, &options, quiet).unwrap();
    let cell = RefCell::new(&mut net as &mut dyn Surrogated);
    let mut problem = as_problem("net", &cell, &report.x, (&lower, &upper)).unwrap();
    let solved =
        costate::opt::solve(&mut problem, &costate::opt::Options::default(), &mut costate::observe::Silent)
            .unwrap();
    // The hybrid's point violates by what its penalty leaves.
    assert!(report.violation < 1e-5);
    assert!((-solved.objective - report.objective).abs() < 2e-3, "{solved:?} {report:?}");
    assert!(solved.primal < 1e-6);
}
