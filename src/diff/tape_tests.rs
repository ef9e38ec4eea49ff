use super::*;

type F = fn(Active, Active) -> Active;

/// Values, gradient and Hessian of f at (a, b).
fn derivatives(f: F, at: [f64; 2]) -> (f64, [f64; 2], [[f64; 2]; 2]) {
    let (mut tape, mut variables) = (Tape::default(), [Active::default(); 2]);
    let mut value = 0.0;
    tape.record(&at, &mut variables, |v| {
        let y = f(v[0], v[1]);
        value = y.value();
        (y, &[])
    });
    assert!(tape.broken().is_none());
    let (mut bars, mut g, mut bar_dots) = (vec![], [0.0; 2], vec![]);
    tape.gradient(std::iter::once((0, 1.0)), &mut bars, &mut g);
    let mut dots = vec![[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]];
    tape.tangent(&mut dots);
    let dot = tape.output_dot(&dots, 0);
    // The transpose: forward and reverse give the same first derivatives.
    assert!((0..2).all(|j| (dot[j] - g[j]).abs() <= 1e-14 * g[j].abs().max(1.0)), "{dot:?} {g:?}");
    tape.second_order(&bars, &dots, &mut bar_dots);
    (value, g, [0, 1].map(|i| [bar_dots[i][0], bar_dots[i][1]]))
}

/// Every function: first derivatives against differences of values, second ones against differences of first ones.
#[test]
fn derivatives_agree_with_differences() {
    macro_rules! cases {
        ($($f:expr),* $(,)?) => { [$((stringify!($f), $f as F)),*] };
    }
    let all = cases![
        |a, b| a + b * 2.0,
        |a, b| a - b / 3.0,
        |a, b| a * b * a,
        |a, b| a / b,
        |a, b| 2.0 / a - 1.5 * b * b,
        |a, b| a.atan2(b),
        |a, b| a.hypot(b),
        |a, b| a.powf(b),
        |a, b| a.powf(2.5) + b.powf(-1.5),
        |a, b| (3.0 - a).powi(3) * b.powi(-2) + a.powi(2) + b.powi(1) + a.powi(0),
        |a, b| a.max(b) * a + a.min(b) * b,
        |a, b| (-a).select(b, a * a) * b,
        |a, b| (-a).abs() * b + a.recip(),
        |a, b| a.sqrt() * b.cbrt(),
        |a, b| (a * b).exp() + a.exp_m1(),
        |a, b| a.ln() * b.ln_1p() + (a + b).log10(),
        |a, b| a.sin() * b.cos() - (a * b).tan(),
        |a, b| a.asin() + b.acos() * a,
        |a, b| (a / b).atan() + a.sinh() * b.cosh(),
        |a, b| (a - b).tanh() + a.asinh() * b,
        |a, b| (1.5 + b).acosh() * a + (0.5 * a).atanh(),
    ];
    let at = [0.37, 0.81];
    for (name, f) in all {
        let (_, g, h) = derivatives(f, at);
        for j in 0..2 {
            let moved = |t: f64| {
                let mut x = at;
                x[j] += t;
                derivatives(f, x)
            };
            let step = 1e-3;
            let near = [moved(step), moved(-step), moved(2.0 * step), moved(-2.0 * step)];
            let of = |v: [f64; 4]| (8.0 * (v[0] - v[1]) - v[2] + v[3]) / (12.0 * step);
            let first = of([0, 1, 2, 3].map(|k| near[k].0));
            assert!((first - g[j]).abs() < 1e-8 * g[j].abs().max(1.0), "{name}: {first} {}", g[j]);
            for i in 0..2 {
                let second = of([0, 1, 2, 3].map(|k| near[k].1[i]));
                assert!((second - h[i][j]).abs() < 1e-7 * h[i][j].abs().max(1.0), "{name}: {second} {h:?}");
                assert!((h[0][1] - h[1][0]).abs() < 1e-14 * h[0][1].abs().max(1.0));
            }
        }
    }
}

fn taped(x: &[f64], c: &mut [Active], f: impl FnOnce(&[Active], &mut [Active]) -> Active) -> Tape {
    let (mut tape, mut variables) = (Tape::default(), vec![Active::default(); x.len()]);
    tape.record(x, &mut variables, move |v| {
        let y = f(v, c);
        (y, &*c)
    });
    tape
}

#[test]
fn patterns_are_those_of_the_graph() {
    let mut c = [Active::default(); 3];
    let tape = taped(&[1.0, 2.0, 0.0, 4.0, 5.0], &mut c, |x, c| {
        // What cancels counts; max counts with both sides.
        c[0] = x[0] + 0.0 * x[3];
        c[1] = x[2].max(x[4]) - 3.0;
        c[2] = Active::from(7.0);
        // x1 is there only linearly, x2 x4 through a square of a sum.
        x[0] * x[3] + x[1] + (x[2] - 2.0 * x[4]).powi(2)
    });
    assert_eq!(tape.jacobian_pattern(0, 100).unwrap(), [vec![0, 1, 2, 3, 4], vec![0, 3], vec![2, 4], vec![]]);
    assert_eq!(tape.hessian_pattern(100).unwrap(), [vec![3], vec![], vec![2, 4], vec![], vec![4]]);
    assert_eq!((0..4).map(|i| tape.output_degree(i)).collect::<Vec<_>>(), [2, 1, 3, 0]);
    assert!(tape.hessian_pattern(3).is_none() && tape.jacobian_pattern(0, 3).is_none());
    assert!(!tape.is_inspected() && tape.broken().is_none());
    // Other values, the same structure; another branch, another one.
    let branch =
        |x0: f64| taped(&[x0, 1.0], &mut [], |x, _| if x[0] > 0.0 { x[0] * x[1] } else { x[0] - x[1] });
    assert_eq!(branch(1.0).structure(), branch(2.0).structure());
    assert_ne!(branch(1.0).structure(), branch(-1.0).structure());
    assert!(branch(1.0).is_inspected());
}

#[test]
fn numbers_of_another_evaluation_are_not_used() {
    let mut kept = Active::default();
    let tape = taped(&[1.0], &mut [], |x, _| {
        kept = x[0];
        x[0]
    });
    assert!(tape.broken().is_none());
    let tape = taped(&[1.0], &mut [], |x, _| x[0] * kept);
    assert!(tape.broken().is_some_and(|what| what.contains("another evaluation")));
    assert!((kept * 2.0).value().is_nan());
    // Inside one evaluation another one.
    let tape = taped(&[2.0], &mut [], |x, _| {
        let inner = taped(&[3.0], &mut [], |y, _| y[0] * y[0]);
        let mut g = [0.0];
        inner.gradient(std::iter::once((0, 1.0)), &mut vec![], &mut g);
        x[0] * g[0]
    });
    let mut g = [0.0];
    tape.gradient(std::iter::once((0, 1.0)), &mut vec![], &mut g);
    assert_eq!(g, [6.0]);
}
