//! Models of AMPL's format: reading, writing, answers, damage, the protocol.

mod complement;
mod damage;
mod model;
mod mutations;
mod operations;
mod protocol;
mod reference;
mod round_trip;

use costate::nl::{Answer, NlOptions, NlProblem, SolStatus};
use costate::nlp::check::{CheckOptions, check_derivatives};
use costate::observe::Silent;
use costate::opt::{self, Options};
use costate::{Nlp, PointKind};
use model::{HS71, Text};

fn read(text: &str) -> NlProblem {
    NlProblem::from_bytes("test.nl", text.as_bytes(), &NlOptions::default())
        .unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn refusal(text: &str) -> String {
    NlProblem::from_bytes("test.nl", text.as_bytes(), &NlOptions::default())
        .map(|_| ())
        .unwrap_err()
        .to_string()
}

#[test]
fn values_and_derivatives_of_a_small_model() {
    // min (x-1)^2 + e^(-xy) + 3 subject to 1 <= xy + y <= 4, x + z = 2, x, y >= 0, with xy defined: the example of the format's description.
    let mut p = read(
        &Text { n: 3, rows: 2, defined: 1, ..Text::default() }.with(
            "V3 0 0\no2\nv0\nv1\nC0\nv3\nC1\nn0\nO0 0\no54\n3\no5\no0\nv0\nn-1\nn2\no44\no16\nv3\nn3\nx2\n0 1\n1 0.5\n\
             r\n0 1 4\n4 2\nb\n2 0\n2 0\n3\nk2\n2\n3\nJ0 2\n0 0\n1 1\nJ1 2\n0 1\n2 1\nG0 2\n0 0\n1 0\n",
        ),
    );
    assert_eq!((p.meta().n(), p.meta().m()), (3, 2));
    let (x, mut c, mut g) = (p.meta().x0.clone(), [0.0; 2], [0.0; 3]);
    let e = (-0.5f64).exp();
    assert!((p.obj_cons(&x, &mut c).unwrap() - (3.0 + e)).abs() < 1e-15);
    assert_eq!(c, [1.0, 1.0]);
    p.grad(&x, &mut g).unwrap();
    assert!((g[0] + 0.5 * e).abs() < 1e-15 && (g[1] + e).abs() < 1e-15 && g[2] == 0.0, "{g:?}");
    assert_eq!(p.meta().linear, [false, true]);
    let report = check_derivatives(&mut p, &[1.2, 0.7, 0.1], &CheckOptions::default());
    assert!(report.passed(), "{report:?}");
    let report = opt::solve(&mut p, &Options::default(), &mut Silent).unwrap();
    assert!(report.solved());
}

#[test]
fn multipliers_have_the_sense_of_the_user() {
    // The published solution of HS71, and the same with -f maximized.
    let (y, z) = ([0.55229366, -0.16146857], 1.08787121);
    for (text, sign) in [(HS71.to_string(), 1.0), (HS71.replace("O0 0\n", "O0 1\no16\n"), -1.0)] {
        let mut p = read(&text);
        assert_eq!(p.meta().maximize, sign < 0.0);
        let report = opt::solve(&mut p, &Options::default(), &mut Silent).unwrap();
        assert!(report.solved() && report.point == PointKind::Kkt);
        assert!((report.objective - sign * 17.0140173).abs() < 1e-6, "{}", report.objective);
        let answer = Answer::new(&p, &report, "done".into());
        assert_eq!(answer.status, SolStatus(0));
        for (found, y) in answer.y.iter().zip(y) {
            assert!((found - sign * y).abs() < 1e-5, "{found} {}", sign * y);
        }
        let lower = answer.suffixes.iter().find(|s| s.name == "ipopt_zL_out").unwrap();
        let first = lower.values.entries.iter().find(|e| e.0 == 0).unwrap();
        assert!((first.1 - sign * z).abs() < 1e-5, "{first:?}");
    }
}

#[test]
fn the_answer_is_what_the_readers_parse() {
    let p = read(HS71);
    let answer = Answer {
        message: "costate: converged\n\n3 iterations".into(),
        status: SolStatus(0),
        x: vec![1.0, 4.75, 3.25, 0.1],
        y: vec![0.5, -1e-20],
        suffixes: vec![],
    };
    assert_eq!(
        answer.text(&p),
        "costate: converged\n3 iterations\n\nOptions\n3\n1\n1\n0\n2\n2\n4\n4\n0.5\n-1e-20\n1.0\n4.75\n3.25\n0.1\nobjno 0 0\n"
    );
    let none = Answer::without_point(SolStatus::BOUNDS_CROSS, String::new());
    assert_eq!(none.text(&p), " \n\nOptions\n3\n1\n1\n0\n2\n0\n4\n0\nobjno 0 201\n");
}

#[test]
fn long_sums_and_deep_nests_are_ordinary() {
    const N: usize = 100_000;
    // sum_k (x_{k+1} - x_k)^2 as one sum of many terms.
    let mut body = format!("O0 0\no54\n{}\n", N - 1);
    for k in 1..N {
        body += &format!("o5\no1\nv{k}\nv{}\nn2\n", k - 1);
    }
    let mut p = read(&Text { n: N, ..Text::default() }.with(&format!("{body}b\n{}", "3\n".repeat(N))));
    let x: Vec<f64> = (0..N).map(|k| (k % 2) as f64).collect();
    assert_eq!(p.obj(&x).unwrap(), (N - 1) as f64);
    // Tridiagonal: nothing is dense.
    assert_eq!(p.meta().hessian.as_ref().unwrap().len(), 2 * N - 1);
    assert!(p.meta().quadratic_objective);
    // sin(sin(... x ...)), and one sum inside the other.
    let nest = format!("O0 0\n{}v0\nb\n3\n3\n", "o41\n".repeat(N));
    let mut p = read(&Text { n: 2, ..Text::default() }.with(&nest));
    let (mut by_hand, mut g) = (0.5f64, [0.0; 2]);
    (0..N).for_each(|_| by_hand = by_hand.sin());
    assert_eq!(p.obj(&[0.5, 0.0]).unwrap(), by_hand);
    p.grad(&[0.5, 0.0], &mut g).unwrap();
    assert!(g[0] > 0.0 && g[0] < 1.0);
    let sums = format!("O0 0\n{}v0\n{}b\n3\n3\n", "o0\n".repeat(N), "v1\n".repeat(N));
    let mut p = read(&Text { n: 2, ..Text::default() }.with(&sums));
    assert_eq!(p.obj(&[3.0, 2.0]).unwrap(), 3.0 + 2.0 * N as f64);
}

#[test]
fn defined_variables_are_evaluated_once() {
    // v_{k+1} = v_k + v_k: written out, 2^1000 terms.
    let mut body = String::new();
    for k in 0..1000 {
        let before = if k == 0 { 0 } else { k };
        body += &format!("V{} 0 0\no0\nv{before}\nv{before}\n", k + 1);
    }
    body += "O0 0\no2\nn1e-300\nv1000\nb\n3\n";
    let mut p = read(&Text { n: 1, defined: 1000, ..Text::default() }.with(&body));
    let value = p.obj(&[1.5]).unwrap();
    assert!((value / (1.5e-300 * 2f64.powi(1000)) - 1.0).abs() < 1e-12);
    // Nonlinear ones, too: v_{k+1} = sin(v_k) + v_k v_k, used twice each.
    let mut body = String::new();
    for k in 0..1000 {
        body += &format!("V{} 0 0\no0\no41\nv{k}\no2\nv{k}\nv{k}\n", k + 1);
    }
    body += "O0 0\nv1000\nb\n3\n";
    let mut p = read(&Text { n: 1, defined: 1000, ..Text::default() }.with(&body));
    let mut v = 1e-3f64;
    (0..1000).for_each(|_| v = v.sin() + v * v);
    assert_eq!(p.obj(&[1e-3]).unwrap(), v);
}

#[test]
fn data_fits_are_groups() {
    // sum_i (a_i'x - b_i)^2 with 30 variables each: one group type, no elements; the Hessian is full and exact.
    let (n, rows) = (30, 50);
    let entry = |i: usize, j: usize| ((i * 7 + j * j * 3) % 11) as f64 / 11.0 - 0.4;
    let mut body = format!("O0 0\no54\n{rows}\n");
    for i in 0..rows {
        body += &format!("o5\no54\n{}\nn{}\n", n + 1, 0.1 * i as f64);
        for j in 0..n {
            body += &format!("o2\nn{}\nv{j}\n", entry(i, j));
        }
        body += "n2\n";
    }
    let mut p = read(&Text { n, ..Text::default() }.with(&format!("{body}b\n{}", "3\n".repeat(n))));
    assert!(p.meta().quadratic_objective);
    assert_eq!(p.meta().hessian.as_ref().unwrap().len(), n * (n + 1) / 2);
    let mut values = vec![0.0; n * (n + 1) / 2];
    p.hess_values(&vec![0.3; n], 1.0, &[], &mut values).unwrap();
    let pattern = p.meta().hessian.clone().unwrap();
    for ((&i, &j), v) in pattern.rows.iter().zip(&pattern.cols).zip(values) {
        let exact: f64 = (0..rows).map(|r| 2.0 * entry(r, i) * entry(r, j)).sum();
        assert!((v - exact).abs() < 1e-12, "({i}, {j}): {v} {exact}");
    }
}

#[test]
fn what_is_not_treated_is_refused_by_name() {
    let binary = Text { n: 3, integers: "2 1 0 0 0", ..Text::default() }.with("O0 0\nn0\nb\n3\n3\n3\n");
    assert_eq!(
        refusal(&binary),
        "problem test: it has 3 integer variables (first: x[0]); costate solves continuous models only"
    );
    let relaxed = NlOptions { relax_integers: true, ..NlOptions::default() };
    assert!(NlProblem::from_bytes("test.nl", binary.as_bytes(), &relaxed).is_ok());
    let sos = Text { n: 2, ..Text::default() }
        .with("S0 2 sosno\n0 1\n1 1\nS4 2 ref\n0 1\n1 2\nO0 0\nn0\nb\n3\n3\n");
    assert!(refusal(&sos).contains("special ordered sets (SOS; first member: x[0])"));
    let function =
        Text { n: 1, functions: 1, ..Text::default() }.with("F0 1 -3 density\nO0 0\nf0 1\nv0\nb\n3\n");
    assert!(refusal(&function).contains("imported function `density`"));
    // One that is not called does no harm.
    read(&Text { n: 1, functions: 1, ..Text::default() }.with("F0 1 -3 density\nO0 0\nv0\nb\n3\n"));
    let objective = NlOptions { objective: 3, ..NlOptions::default() };
    let error = NlProblem::from_bytes("test.nl", HS71.as_bytes(), &objective).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "option objective: the model has 1 objectives, not 3");
    let without = NlOptions { objective: 0, ..NlOptions::default() };
    let mut p = NlProblem::from_bytes("test.nl", HS71.as_bytes(), &without).unwrap();
    assert!(!p.has_objective() && p.obj(&[1.0, 5.0, 5.0, 1.0]).unwrap() == 0.0);
}
