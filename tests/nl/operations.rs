//! Every operation of the format: values against the same function in Rust, derivatives against differences, and the branch at a kink.

use std::ops::ControlFlow;

use costate::Nlp;
use costate::nlp::Kink;
use costate::nlp::check::{CheckOptions, check_derivatives};
use costate::observe::Event;
use costate::opt::{self, Options};

use crate::model::Text;
use crate::{read, refusal};

type Function = fn(f64, f64) -> f64;

/// Tokens of an expression in v0 = x and v1 = y, separated by blanks, and the function.
const OPERATIONS: &[(&str, Function)] = &[
    ("o0 v0 v1", |x, y| x + y),
    ("o1 v0 v1", |x, y| x - y),
    ("o2 v0 v1", |x, y| x * y),
    ("o3 v0 v1", |x, y| x / y),
    ("o4 o2 n3 v0 v1", |x, y| (3.0 * x) % y),
    ("o5 v0 v1", f64::powf),
    ("o5 v0 n3", |x, _| x * x * x),
    ("o5 v0 n-2", |x, _| 1.0 / (x * x)),
    ("o5 v0 n0.3", |x, _| x.powf(0.3)),
    ("o5 n3 v1", |_, y| 3f64.powf(y)),
    ("o6 v1 v0", |x, y| (y - x).max(0.0)),
    ("o6 v0 v1", |x, y| (x - y).max(0.0)),
    ("o11 3 v0 v1 n0.9", |x, y| x.min(y).min(0.9)),
    ("o12 3 v0 v1 n0.1", |x, y| x.max(y).max(0.1)),
    ("o13 o2 n5 v0", |x, _| (5.0 * x).floor()),
    ("o14 o2 n5 v0", |x, _| (5.0 * x).ceil()),
    ("o15 o1 v0 v1", |x, y| (x - y).abs()),
    ("o16 v0", |x, _| -x),
    ("o34 o22 v0 v1", |x, y| (x >= y) as u8 as f64),
    ("o35 o22 v0 v1 o43 v0 o44 v1", |x, y| if x < y { x.ln() } else { y.exp() }),
    ("o35 o28 v0 v1 o43 v0 o44 v1", |x, y| if x >= y { x.ln() } else { y.exp() }),
    ("o35 o20 o24 v0 v1 o30 v0 v1 v0 v1", |x, _| x),
    ("o35 o21 o23 v0 v1 o29 v0 v1 v0 v1", |_, y| y),
    ("o37 v0", |x, _| x.tanh()),
    ("o38 v0", |x, _| x.tan()),
    ("o39 v0", |x, _| x.sqrt()),
    ("o40 v0", |x, _| x.sinh()),
    ("o41 v0", |x, _| x.sin()),
    ("o42 v0", |x, _| x.log10()),
    ("o43 v0", |x, _| x.ln()),
    ("o44 v0", |x, _| x.exp()),
    ("o45 v0", |x, _| x.cosh()),
    ("o46 v0", |x, _| x.cos()),
    ("o47 v0", |x, _| x.atanh()),
    ("o48 v0 v1", f64::atan2),
    ("o49 v0", |x, _| x.atan()),
    ("o50 v0", |x, _| x.asinh()),
    ("o51 v0", |x, _| x.asin()),
    ("o52 o0 v0 n1", |x, _| (x + 1.0).acosh()),
    ("o53 v0", |x, _| x.acos()),
    ("o54 4 v0 v1 n2 v0", |x, y| x + y + 2.0 + x),
    ("o55 o2 n7 v0 v1", |x, y| (7.0 * x / y).trunc()),
    ("o56 v0 n3", |x, _| format!("{x:.2e}").parse().unwrap()),
    ("o57 v0 n1", |x, _| (10.0 * x).round() / 10.0),
    ("o58 v0 n1", |x, _| (10.0 * x).trunc() / 10.0),
    ("o59 3 o22 v0 v1 o22 v1 v0 o23 v0 v0", |_, _| 2.0),
    ("o60 3 n1 v0 n1", |_, _| 1.0),
    ("o62 n2 o59 2 o22 v0 v1 o22 v1 v0", |_, _| 0.0),
    ("o63 n1 o59 2 o22 v0 v1 o22 v1 v0", |_, _| 1.0),
    ("o66 n1 o59 2 o22 v0 v1 o22 v1 v0", |_, _| 1.0),
    ("o67 n2 o59 2 o22 v0 v1 o22 v1 v0", |_, _| 1.0),
    ("o68 n1 o59 2 o22 v0 v1 o22 v1 v0", |_, _| 0.0),
    ("o69 n1 o59 2 o22 v0 v1 o22 v1 v0", |_, _| 0.0),
    ("o70 2 o22 v0 n9 o22 v1 n9", |_, _| 1.0),
    ("o71 2 o22 v0 v1 o22 v1 v0", |_, _| 1.0),
    ("o35 o72 o22 v0 n9 o22 v1 n9 n0 v0 v1", |x, _| x),
    ("o73 o22 v0 v1 o22 v1 v0", |_, _| 0.0),
    ("o74 3 v0 v1 n2", |_, _| 1.0),
    ("o75 3 v0 v1 v0", |_, _| 1.0),
    ("o76 v0 n3", |x, _| x * x * x),
    ("o77 v0", |x, _| x * x),
    ("o78 n3 v1", |_, y| 3f64.powf(y)),
    ("o79 v0", |x, _| 1.0 / (1.0 + (-x).exp())),
    // Small to full precision: ln of it is -50.
    ("o43 o79 o0 n-50 v0", |x, _| x - 50.0),
    ("o80 o16 v0 v1", |x, y| -x.powf(y)),
    // Slopes -1, 0.5, 2 with breaks at 0.25 and 0.5: through 0.
    ("o64 3 n-1 n0.25 n0.5 n0.5 n2 v0", |x, _| {
        if x <= 0.25 {
            -x
        } else if x <= 0.5 {
            -0.25 + 0.5 * (x - 0.25)
        } else {
            -0.125 + 2.0 * (x - 0.5)
        }
    }),
    ("o64 2 n3 n-1 n1 v1", |_, y| if y <= -1.0 { -1.0 + 3.0 * (y + 1.0) } else { y }),
];

fn model(tokens: &str) -> String {
    let mut body = String::new();
    for token in tokens.split(' ') {
        body += token;
        body.push('\n');
    }
    Text { n: 2, ..Text::default() }.with(&format!("O0 0\n{body}b\n3\n3\n"))
}

#[test]
fn values_are_those_of_the_functions() {
    for (tokens, f) in OPERATIONS {
        let mut p = read(&model(tokens));
        for (x, y) in [(0.3, 0.7), (0.62, 0.21), (0.117, 0.9)] {
            let (found, exact) = (p.obj(&[x, y]).unwrap(), f(x, y));
            assert!(
                (found - exact).abs() <= 1e-14 * exact.abs().max(1.0),
                "{tokens} at ({x}, {y}): {found} {exact}"
            );
        }
    }
}

#[test]
fn derivatives_are_those_of_differences() {
    for (tokens, _) in OPERATIONS {
        let mut p = read(&model(tokens));
        for at in [[0.3, 0.7], [0.62, 0.21]] {
            let options = CheckOptions { points: 1, ..CheckOptions::default() };
            let report = check_derivatives(&mut p, &at, &options);
            assert!(report.passed(), "{tokens} at {at:?}: {:?}", report.disagreements);
        }
    }
}

#[test]
fn at_kinks_the_branch_is_the_documented_one() {
    let slope = |tokens: &str, x: f64, y: f64| {
        let (mut p, mut g) = (read(&model(tokens)), [0.0; 2]);
        p.grad(&[x, y], &mut g).unwrap();
        g
    };
    assert_eq!(slope("o15 v0", 0.0, 1.0), [1.0, 0.0]);
    assert_eq!(slope("o12 2 v0 v1", 0.5, 0.5), [1.0, 0.0]);
    assert_eq!(slope("o11 2 v0 v1", 0.5, 0.5), [1.0, 0.0]);
    assert_eq!(slope("o6 v0 v1", 0.5, 0.5), [1.0, -1.0]);
    assert_eq!(slope("o4 o2 n7 v0 v1", 0.5, 1.0), [7.0, -3.0]);
    // At a breakpoint the slope nearer 0.
    let pieces = "o64 3 n5 n-0.5 n1 n0.5 n9 v0";
    assert_eq!([slope(pieces, 0.5, 0.0)[0], slope(pieces, -0.5, 0.0)[0]], [1.0, 1.0]);
    assert_eq!([slope(pieces, 0.6, 0.0)[0], slope(pieces, -0.6, 0.0)[0]], [9.0, 5.0]);
    // The branch that is not taken is not a number there.
    let guarded = "o35 o28 v0 n0.1 o2 v0 o43 v0 v0";
    assert_eq!(slope(guarded, -1.0, 0.0), [1.0, 0.0]);
    let (mut p, mut h) = (read(&model(guarded)), vec![0.0; 1]);
    p.hess_values(&[-1.0, 0.0], 1.0, &[], &mut h).unwrap();
    assert_eq!(h, [0.0]);
    // x^p at 0 for p > 1; 0^0 = 1; a square of a negative number.
    assert_eq!(slope("o5 v0 n1.5", 0.0, 0.0)[0], 0.0);
    assert_eq!(read(&model("o5 v0 n0")).obj(&[0.0, 0.0]).unwrap(), 1.0);
    assert_eq!(read(&model("o5 v0 o0 n1 n1")).obj(&[-3.0, 0.0]).unwrap(), 9.0);
}

#[test]
fn codes_that_are_none_are_named() {
    for code in [7, 10, 17, 19, 25, 33, 36, 81, 99] {
        assert!(refusal(&model(&format!("o{code} v0 v1"))).contains(&format!("o{code} is no operation")));
    }
    assert!(refusal(&model("o54 0")).contains("no arguments"));
    assert!(refusal(&model("o64 1 n1 v0")).contains("1 pieces"));
}

#[test]
fn kinks_are_named_where_a_solve_meets_one() {
    // min |x0 - 1| + x1^2 with max(x0, x1) + x2 = 3: the objective has a kink at its solution.
    let mut p = read(
        &Text { n: 3, rows: 1, ..Text::default() }
            .with("C0\no12\n2\nv0\nv1\nO0 0\no0\no15\no0\nv0\nn-1\no5\nv1\nn2\nx3\n0 2.3\n1 0.4\n2 1\nr\n4 3\nb\n3\n3\n3\nJ0 1\n2 1\n"),
    );
    assert!(p.warnings()[0].contains("kinks"), "{:?}", p.warnings());
    let mut told = Vec::new();
    let mut watch = |event: &Event<'_>| {
        if let Event::Stop(report) = event {
            told.push((report.message.clone(), report.kinks.clone()));
        }
        ControlFlow::Continue(())
    };
    let report = opt::solve(&mut p, &Options::default(), &mut watch).unwrap();
    assert_eq!(told, [(report.message.clone(), report.kinks.clone())]);
    assert!((report.x[0] - 1.0).abs() < 0.05, "{:?}", report.x);
    if !report.solved() {
        assert_eq!(report.kinks, [Kink { constraint: None, operation: "abs" }], "{}", report.message);
        assert!(report.message.contains("kinks are near: abs in the objective"), "{}", report.message);
    }
    let both = p.kinks(&[1.0, 1.0, 2.0], 1e-6);
    assert_eq!(
        both.iter().map(|k| k.describe(p.meta())).collect::<Vec<_>>(),
        ["max in c[0]", "abs in the objective"]
    );
}
