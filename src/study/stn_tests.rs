use super::super::Verdict;
use super::*;
use crate::bilevel::Tuned;
use crate::study::digits::INPUTS;
use crate::study::self_tuned::ROWS;

/// Ridge: (loss / optimum, cosine) of ten seeds; digits: test losses of STN and the three searches.
fn verdict(ridge: &[(f64, f64)], digits: [f64; 4]) -> Verdict {
    priced_verdict(ridge, digits, [1.0, 1.0])
}

/// And of the equations: J tuned and of the grid.
fn priced_verdict(ridge: &[(f64, f64)], digits: [f64; 4], equations: [f64; 2]) -> Verdict {
    let mut table = Table::new(&["part", "method", "loss / optimum", "cosine", "test loss", "task", "J"]);
    for task in priced::TASKS {
        for (method, total) in ["STN", priced::GRID_NAME].into_iter().zip(equations) {
            let head = vec!["equation".into(), method.into()];
            table.push([head, vec![Cell::Missing; 3], vec![task.into(), total.into()]].concat());
        }
    }
    for (ratio, cosine) in ridge {
        table.push(vec!["ridge".into(), "STN".into(), (*ratio).into(), (*cosine).into(), Cell::Missing]);
    }
    for (method, test) in ["STN", "grid", "random", "Bayesian"].into_iter().zip(digits) {
        table.push(vec!["digits".into(), method.into(), Cell::Missing, Cell::Missing, test.into()]);
    }
    SelfTuning.judge(&table).verdict()
}

#[test]
fn the_criterion_on_made_up_tables() {
    let good = [(1.005, 0.95); 8];
    let with = |more: [(f64, f64); 2]| [&good[..], &more].concat();
    let ridge = with([(1.2, 0.5), (1.01, 0.5)]);
    assert_eq!(verdict(&ridge, [0.505, 0.5, 0.6, 0.7]), Verdict::Holds);
    assert_eq!(verdict(&ridge, [0.51, 0.6, 0.5, 0.7]), Verdict::DoesNotHold);
    assert_eq!(verdict(&ridge, [f64::NAN, 0.6, 0.5, 0.7]), Verdict::DoesNotHold);
    assert_eq!(verdict(&with([(1.02, 0.95), (1.02, 0.95)]), [0.5; 4]), Verdict::DoesNotHold);
    let flat = [&good[..7], &[(1.0, 0.5), (1.0, 0.5), (1.0, f64::NAN)]].concat();
    assert_eq!(verdict(&flat, [0.5; 4]), Verdict::DoesNotHold);
    assert_eq!(verdict(&[], [0.5; 4]), Verdict::CannotBeDecided);
    assert_eq!(priced_verdict(&ridge, [0.5; 4], [0.9, 1.0]), Verdict::Holds);
    assert_eq!(priced_verdict(&ridge, [0.5; 4], [1.1, 1.0]), Verdict::DoesNotHold);
    assert_eq!(priced_verdict(&ridge, [0.5; 4], [f64::NAN, 1.0]), Verdict::DoesNotHold);
}

/// The exact response is the minimum, and its derivative that of differences.
#[test]
fn exact_responses() {
    let task = Ridge::new(3);
    let at = |h: f64| task.exact(h).unwrap();
    let [w, slope] = at(-1.3);
    let (x, y) = &task.data[0];
    let loss = |w: &[f64]| {
        let fit: f64 = x.chunks_exact(D).zip(y).map(|(x, y)| (dot(x, w) - y).powi(2)).sum();
        fit / ROWS as f64 + (-1.3f64).exp() * dot(w, w)
    };
    for i in 0..D {
        let mut moved = w.clone();
        moved[i] += 1e-4;
        let up = loss(&moved);
        moved[i] -= 2e-4;
        assert!((up - loss(&moved)).abs() < 1e-10 && up > loss(&w));
        let by_differences = (at(-1.3 + 1e-4)[0][i] - at(-1.3 - 1e-4)[0][i]) / 2e-4;
        assert!((by_differences - slope[i]).abs() < 1e-7 * (1.0 + slope[i].abs()));
    }
}

/// With the best weights no constant would be better, whatever the penalty: the network, which has one, has the same optimum.
#[test]
fn the_best_constant_is_none() {
    let task = Ridge::new(5);
    for h in [-4.0, 0.0] {
        let (w, (x, y)) = (&task.exact(h).unwrap()[0], &task.data[0]);
        let left: f64 = x.chunks_exact(D).zip(y).map(|(x, y)| y - dot(x, w)).sum();
        assert!(left.abs() < 1e-10, "{h}: {left}");
    }
}

#[test]
fn the_penalty_is_found() {
    for seed in 0..3 {
        let row = ridge(seed).unwrap();
        let [ratio, error, cosine] = [5, 6, 7].map(|k| row[k].number().unwrap());
        println!("seed {seed}: {ratio} {error} {cosine}");
        assert!(
            (1.0 - 1e-12..1.01).contains(&ratio) && error < 0.1 && cosine > 0.9,
            "{seed}: {ratio} {error} {cosine}"
        );
    }
}

/// Inputs are dropped at the rate of their own h, with their mean kept.
#[test]
fn dropout_has_the_rate_of_every_sample() {
    let digits = Digits::read(None, 4).unwrap();
    let mut task = Dropout { digits: &digits, train: 2, fixed: None, labels: vec![] };
    let mut x = vec![1.0; 2 * INPUTS];
    let mut rng = crate::random::generator(1, 1, 1);
    task.disturb(&[0.0, 0.0, 0.0, -50.0], &mut rng, &mut x);
    let dropped = x[..INPUTS].iter().filter(|x| **x == 0.0).count() as f64 / INPUTS as f64;
    assert!((dropped - 0.5).abs() < 0.15 && x[..INPUTS].iter().all(|x| *x == 0.0 || *x == 2.0));
    assert!(x[INPUTS..].iter().all(|x| *x == 1.0));
}
