use super::super::{Cell, Verdict};
use super::*;

/// Of every seed: best known, best proposal, median proposal with guidance -1.5 and 0.
fn verdict(seeds: &[[f64; 4]]) -> Verdict {
    let mut table = Table::new(&["task", "seed", "method", "100th percentile", "50th percentile"]);
    for (seed, [best, top, guided, plain]) in seeds.iter().enumerate() {
        let mut row = |task: &str, method: &str, top: f64, middle: Cell| {
            table.push(vec![task.into(), seed.into(), method.into(), top.into(), middle]);
        };
        row(TASKS[0], "best known", *best, Cell::Missing);
        row(TASKS[0], "bridge -1.5", *top, (*guided).into());
        row(TASKS[0], "bridge 0", 0.0, (*plain).into());
        row(TASKS[1], "bridge -1.5", -9.0, (-9.0).into());
    }
    Root.judge(&table).verdict()
}

#[test]
fn the_criterion_on_made_up_tables() {
    let good = [7.0, 30.0, 20.0, 8.0];
    assert_eq!(verdict(&[good; 5]), Verdict::Holds);
    assert_eq!(verdict(&[good, good, good, good, [7.0, 30.0, 5.0, 8.0]]), Verdict::Holds);
    assert_eq!(
        verdict(&[good, good, good, [7.0, 30.0, 5.0, 8.0], [7.0, 30.0, 5.0, 8.0]]),
        Verdict::DoesNotHold
    );
    assert_eq!(verdict(&[[7.0, 20.0, 20.0, 8.0]; 5]), Verdict::DoesNotHold);
    assert_eq!(verdict(&[[7.0, f64::NAN, f64::NAN, 8.0]; 5]), Verdict::DoesNotHold);
}

#[test]
fn tables_hold_the_worse_half() {
    let task = Task::new(TASKS[0], 1).unwrap();
    assert_eq!((task.y.len(), task.x.len()), (800, 3200));
    assert!(task.y.windows(2).all(|w| w[0] <= w[1]) && (task.f)(&task.x[..4]) == task.y[0]);
    // About half of a uniform sample is below 7.4.
    assert!((task.y[799] - 7.4).abs() < 2.0, "{}", task.y[799]);
    assert!((styblinski(&[-2.903_534; 4]) - 39.166).abs() < 1e-3);
    let (top, middle) = task.percentiles(&task.x[4 * 672..]);
    assert!(top == task.y[799] && middle <= top && middle >= task.y[672]);
}
