//! Operators, and what is refused.

use super::*;
use crate::expr::Point;

/// Same bits as the same formula on doubles.
#[test]
fn operators() {
    let mut f = record(3, 2, |t, y, p, dy| {
        let mut a = 2.0 * y[0] - y[1] / 3.0 + p[0] * t - 1.0;
        a += y[2];
        a -= 0.5;
        a *= p[1];
        a /= 1.5 + y[0] * y[0];
        dy[0] = -a + 1.0 / y[1] - 7.0 % y[2];
        dy[1] = y.iter().sum::<Var>() * y.iter().copied().product::<Var>() + Var::from(0.1) * t;
        dy[2] =
            (1.0 - y[0]).max(y[1]).min(0.3) + y[2].powi(3) + y[1].powf(1.5) + y[0].atan2(y[1]) + t.recip();
    })
    .unwrap();
    let (t, y, p) = (0.3, [0.7, 1.9, 0.4], [0.2, 1.1]);
    let mut dy = [0.0; 3];
    f.value(Point { t, x: &y, p: &p }, &mut dy);
    let mut a = 2.0 * y[0] - y[1] / 3.0 + p[0] * t - 1.0;
    a += y[2];
    a -= 0.5;
    a *= p[1];
    a /= 1.5 + y[0] * y[0];
    assert_eq!(dy[0], -a + 1.0 / y[1] - 7.0 % y[2]);
    assert_eq!(dy[1], (y[0] + y[1] + y[2]) * (y[0] * y[1] * y[2]) + 0.1 * t);
    let powers = y[2] * y[2] * y[2] + y[1].powf(1.5);
    assert_eq!(
        dy[2],
        (1.0 - y[0]).max(y[1]).min(0.3) + y[2] * y[2] * y[2] + y[1].powf(1.5) + y[0].atan2(y[1]) + 1.0 / t
    );
    assert!(powers.is_finite());
}

#[test]
fn outputs_must_be_set() {
    let unset = record(2, 0, |_, y, _, dy| dy[0] = y[1]);
    assert_eq!(unset.unwrap_err(), RecordError::Unset { output: 1 });
    let mut kept = None;
    record(1, 0, |_, y, _, dy| (kept, dy[0]) = (Some(y[0]), y[0])).unwrap();
    let foreign = record(1, 0, |_, _, _, dy| dy[0] = kept.unwrap());
    assert_eq!(foreign.unwrap_err(), RecordError::Foreign { output: 0 });
}

/// A recording inside of a recording is one of its own; after a panic there is none under way.
#[test]
fn recordings_are_apart() {
    let mut inner = None;
    let mut outer = record(1, 0, |_, y, _, dy| {
        inner = Some(record(1, 0, |_, y, _, dy| dy[0] = y[0] * 2.0).unwrap());
        dy[0] = y[0] * 3.0;
    })
    .unwrap();
    let mut value = [0.0];
    outer.value(Point { t: 0.0, x: &[1.0], p: &[] }, &mut value);
    assert_eq!(value, [3.0]);
    inner.unwrap().value(Point { t: 0.0, x: &[1.0], p: &[] }, &mut value);
    assert_eq!(value, [2.0]);
    let panicked = std::panic::catch_unwind(|| record(1, 0, |_, _, _, _| panic!("in a formula")).map(drop));
    assert!(panicked.is_err());
    assert!(RECORDERS.with_borrow(|(open, _)| open.is_empty()));
    let used = std::panic::catch_unwind(|| Var::from(1.0));
    assert!(used.is_err());
}
