use super::super::Verdict;
use super::*;

/// [ridge, nu-SVR, last value, speed-up], and the regrets of orders.
fn verdict(values: [f64; 4], regrets: &[f64]) -> Verdict {
    let mut table = Table::new(&["order", "what", "method", "epochs seen", "value"]);
    let mut row = |what: &str, method: &str, tau: usize, value: f64| {
        table.push(vec![0u64.into(), what.into(), method.into(), tau.into(), value.into()]);
    };
    row("R2", "ridge", 5, values[0]);
    row("R2", "nu-SVR", 5, values[1]);
    row("R2", "last value", 5, values[2]);
    row("R2", "ridge", 15, -9.0);
    row("speed-up", "Delta 0.95", 0, values[3]);
    row("speed-up", "Delta 0.99", 0, 0.0);
    regrets.iter().for_each(|r| row("regret", "Delta 0.95", 0, *r));
    EarlyStopping.judge(&table).verdict()
}

#[test]
fn the_criterion_on_made_up_tables() {
    let good = [0.86, 0.8, 0.75, 2.5];
    assert_eq!(verdict(good, &[0.0, 0.0, 0.0, 0.3, 0.4]), Verdict::Holds);
    assert_eq!(verdict(good, &[0.1, 0.1, 0.1, 0.1, 0.1]), Verdict::Holds);
    assert_eq!(verdict([0.1, 0.86, 0.75, 2.5], &[0.0]), Verdict::Holds);
    assert_eq!(verdict(good, &[0.0, 0.0, 0.2, 0.3, 0.4]), Verdict::DoesNotHold);
    for bad in
        [[0.84, 0.8, 0.5, 3.0], [0.9, 0.8, 0.81, 3.0], [0.9, 0.8, 0.5, 2.4], [f64::NAN, f64::NAN, 0.5, 3.0]]
    {
        assert_eq!(verdict(bad, &[0.0]), Verdict::DoesNotHold, "{bad:?}");
    }
}

#[test]
fn curves_depend_on_seed_and_number_only_and_stopping_counts_epochs() {
    let (a, b) = (curve(0, 3).unwrap(), curve(0, 3).unwrap());
    assert_eq!(a, b);
    assert!(a.scores.len() == EPOCHS && a.scores.iter().all(|s| s.is_finite()));
    // Nothing is ended during the burn-in.
    let runs: Vec<Curve> = (0..8)
        .map(|k| Curve { scores: vec![k as f64; EPOCHS], hyper: vec![k as f64], size: vec![] })
        .collect();
    assert_eq!(stopping(&runs, 8, 0.95).unwrap()[0], 1.0);
    assert!((r2(&[1.0, 1.0, 3.0], &runs[1..4]) - 0.5).abs() < 1e-12);
}
