//! Optimization cases with known answers: units and scaling, verdicts, work.
//!
//! Each case is a row of a table: a problem written from its formulas, and what is right about the answer. What fails today is listed
//! with the reason in `known.rs`; a listed case that passes fails the test, and so does an unlisted one that fails.
//! `COSTATE_CASE=word` runs only the cases whose name has this word.

mod case;
mod jet;
mod judge;
mod known;
mod units;
mod verdicts;
mod work;

use case::{Case, Table};
use judge::{Right, Run};

fn judge(case: &Case) -> (Right, Option<Run>) {
    let mut run = match Run::of(case) {
        Ok(run) => run,
        Err(what) => return (Err(what), None),
    };
    let right = (case.right)(&mut run).and_then(|()| run.consistent());
    (right, Some(run))
}

/// Runs a section and compares with the list.
fn check(table: Table) {
    let filter = std::env::var("COSTATE_CASE").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for case in table.cases.iter().filter(|c| c.name.contains(&filter)) {
        assert!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        let started = std::time::Instant::now();
        let (right, run) = judge(case);
        let (stop, iterations) =
            run.map_or(("error", 0), |run| (run.report.stop.as_str(), run.report.iterations));
        let word = if right.is_ok() { "right" } else { "WRONG" };
        println!(
            "{:<44} {word} {stop:<20} {iterations:>6} {:>7.3} s  {}",
            case.name,
            started.elapsed().as_secs_f64(),
            right.as_ref().err().map_or("", String::as_str)
        );
        match (right, known::reason(&case.name)) {
            (Err(what), None) => wrong.push(format!("{}: {what}", case.name)),
            (Ok(()), Some(reason)) => {
                wrong.push(format!("{} is right now: take it off the list ({reason})", case.name));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn units_and_scaling() {
    check(units::table());
}

#[test]
fn verdicts() {
    check(verdicts::table());
}

#[test]
fn degenerate_and_stationary_points() {
    check(verdicts::points::table());
}

#[test]
fn work() {
    check(work::table());
}

#[test]
fn every_listed_failure_is_a_case() {
    let tables = [units::table(), verdicts::table(), verdicts::points::table(), work::table()];
    let names: Vec<&str> = tables.iter().flat_map(|t| &t.cases).map(|c| c.name.as_str()).collect();
    for (name, _) in known::FAILURES {
        assert!(names.contains(name), "{name} is listed in known.rs and is no case");
    }
}
