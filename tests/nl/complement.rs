//! Complementarity conditions: every kind, linear and nonlinear, alone and under an objective.

use costate::nl::{Answer, NlProblem};
use costate::observe::{Event, Silent};
use costate::opt::{self, Options};
use costate::report::Report;
use costate::{Nlp, StopReason};
use std::ops::ControlFlow;

use crate::model::Text;
use crate::{read, refusal};

fn solve(p: &mut NlProblem) -> Report {
    let report = opt::solve(p, &Options::default(), &mut Silent).unwrap();
    assert!(report.is_answer(), "{}: {:?}", report.message, report.x);
    report
}

#[test]
fn every_kind_ends_where_its_equation_says() {
    // (kind, bounds of x, body of x, solution)
    for (kind, bounds, body, x) in [
        // No bounds: x^2 + x = 2 with x near 1.
        (0, "3", "o0\no5\nv0\nn2\no0\nv0\nn-2", 1.0),
        // x >= 0: g = x - 1 vanishes at 1; g = x + 2 > 0 holds x at 0.
        (1, "2 0", "o0\nv0\nn-1", 1.0),
        (1, "2 0", "o0\nv0\nn2", 0.0),
        (1, "2 0.5", "o0\no44\nv0\nn-3", 3f64.ln()),
        // x <= 2: g = x - 5 < 0 holds x at 2; g = x - 1 vanishes.
        (2, "1 2", "o0\nv0\nn-5", 2.0),
        (2, "1 2", "o0\nv0\nn-1", 1.0),
        // 0 <= x <= 3: inside, at the upper bound (g < 0), at the lower one (g > 0).
        (3, "0 0 3", "o0\nv0\nn-1", 1.0),
        (3, "0 0 3", "o0\nv0\nn-5", 3.0),
        (3, "0 0 3", "o0\nv0\nn2", 0.0),
    ] {
        let text = Text { n: 1, rows: 1, objectives: 0, ..Text::default() }
            .with(&format!("C0\n{body}\nx1\n0 0.7\nr\n5 {kind} 1\nb\n{bounds}\n"));
        let mut p = read(&text);
        assert_eq!(p.file_sizes(), (1, 1));
        let report = solve(&mut p);
        assert!((report.x[0] - x).abs() < 2e-4, "kind {kind}, {body:?}: {} instead of {x}", report.x[0]);
        assert!(kind == 0 || p.warnings()[0].contains("complementarity"));
    }
}

/// 0 <= x complements M x + q with M = [2 1; 1 2], q = -(5, 6): x = (4/3, 7/3).
const LINEAR: &str = "C0\nn-5\nC1\nn-6\nr\n5 1 1\n5 1 2\nb\n2 0\n2 0\nJ0 2\n0 2\n1 1\nJ1 2\n0 1\n1 2\n";

#[test]
fn a_linear_problem_is_solved_and_answered_in_the_sizes_of_the_file() {
    let mut p = read(&Text { n: 2, rows: 2, objectives: 0, ..Text::default() }.with(LINEAR));
    assert_eq!((p.meta().n(), p.meta().m()), (4, 4));
    assert_eq!(p.meta().variable_names, ["x[0]", "x[1]", "c[0]_slack", "c[1]_slack"]);
    assert_eq!(p.meta().constraint_names[2..], ["c[0]_product", "c[1]_product"]);
    let report = solve(&mut p);
    assert!(
        (report.x[0] - 4.0 / 3.0).abs() < 1e-6 && (report.x[1] - 7.0 / 3.0).abs() < 1e-6,
        "{:?}",
        report.x
    );
    assert!(report.primal < 1e-6 && report.message.contains("largest product"), "{}", report.message);
    let answer = Answer::new(&p, &report, "done".into());
    assert_eq!((answer.x.len(), answer.y.len()), (2, 2));
    assert!(answer.suffixes.iter().all(|s| s.values.entries.iter().all(|e| e.0 < 2)));
    let text = answer.text(&p);
    assert!(text.contains("\n2\n2\n2\n2\n"), "{text}");
}

#[test]
fn an_objective_chooses_the_branch() {
    // min (x - 1)^2 + (y - 2)^2 with x, y >= 0 and one of them 0: the row is the variable y itself, no slack is needed.
    let text = |sense: i64, sign: &str| {
        Text { n: 2, rows: 1, ..Text::default() }.with(&format!(
            "C0\nv1\nO0 {sense}\n{sign}o0\no5\no0\nv0\nn-1\nn2\no5\no0\nv1\nn-2\nn2\nx2\n0 0.3\n1 0.9\nr\n5 1 1\nb\n2 0\n2 0\n"
        ))
    };
    for (sense, sign) in [(0, ""), (1, "o16\n")] {
        let mut p = read(&text(sense, sign));
        assert_eq!((p.meta().n(), p.meta().m()), (2, 2));
        let report = solve(&mut p);
        assert!(report.x[0].abs() < 1e-6 && (report.x[1] - 2.0).abs() < 1e-6, "{:?}", report.x);
        let objective = if sense == 0 { 1.0 } else { -1.0 };
        assert!((report.objective - objective).abs() < 1e-6);
    }
}

#[test]
fn one_solve_is_told_and_counted() {
    let mut p = read(&Text { n: 2, rows: 2, objectives: 0, ..Text::default() }.with(LINEAR));
    let (mut starts, mut stops, mut notes, mut rows) = (0, 0, Vec::new(), 0);
    let mut watch = |event: &Event<'_>| {
        match event {
            Event::Start(_) => starts += 1,
            Event::Stop(_) => stops += 1,
            Event::Note { text } => notes.push(text.to_string()),
            Event::Iteration(_) => rows += 1,
        }
        ControlFlow::Continue(())
    };
    let report = opt::solve(&mut p, &Options::default(), &mut watch).unwrap();
    assert_eq!((starts, stops), (1, 1));
    assert_eq!(notes.iter().filter(|n| n.contains("complementarity")).count(), 5, "{notes:?}");
    assert!(rows as u64 >= report.iterations && report.iterations > 0);
    let most = Options { max_iterations: report.iterations - 1, ..Options::default() };
    let fewer = opt::solve(&mut p, &most, &mut Silent).unwrap();
    assert_eq!(fewer.stop, StopReason::MaxIterations, "{}", fewer.message);
    assert_eq!(fewer.iterations, report.iterations - 1);
}

#[test]
fn a_condition_on_a_bound_that_is_not_there_is_refused() {
    let what =
        refusal(&Text { n: 1, rows: 1, objectives: 0, ..Text::default() }.with("C0\nv0\nr\n5 1 1\nb\n1 2\n"));
    assert!(what.contains("constraint c[0] complements a bound of x[0], which has no such bound"), "{what}");
}
