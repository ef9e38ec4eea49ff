use super::super::Verdict;
use super::*;

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
