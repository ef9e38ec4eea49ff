//! Differential equations with known answers.
//!
//! Each case is a row of a table: a problem written from its formulas, how it is integrated, and what is right about the answer. What fails today is listed with the
//! reason in `known.rs`; a listed case that passes fails the test, and so does an unlisted one that fails. `COSTATE_CASE=word` runs only the cases whose
//! name has this word.
//!
//! Cases with a test of their own are not repeated here:
//!
//! | cases | test |
//! |---|---|
//! | Brusselator, Allen-Cahn, heat equation: large structured Jacobians | `stiff_structured.rs` |
//! | gradient of a stiff network | `formula_map.rs` |
//! | B1 impacts that accumulate | `event_accumulation.rs` |
//! | B2 jumps inside a step, methods up to order 7 and tight tolerances of the others | `error_estimates.rs` |
//! | E1 sliding, E2 leaving the domain, B5 a component that is not finite | `ode_diagnosis.rs` |
//! | E3 by a component, E4 before the event, E5b the time of a stop | `saltation.rs` |
//! | E6 pulses between stops, N1 departures from the domain | `stops_and_domain.rs` |
//! | fall with drag, event points among the saved ones | `ode_events.rs` |
//! | runs that go on | `ode_resume.rs` |
//! | a Brownian path as it is given | `sde_brownian.rs` |
//! | commands | `train_cli.rs`, `cli.rs` |
//!
//! Problems with algebraic equations that cannot be eliminated by hand (transistor amplifier) are no cases yet.

mod case;
mod estimates;
mod ivp;
mod known;
mod mechanics;

use case::Case;

/// Runs a section and compares with the list.
fn check(cases: Vec<Case>) {
    let filter = std::env::var("COSTATE_CASE").unwrap_or_default();
    let mut wrong = Vec::new();
    let mut names = std::collections::BTreeSet::new();
    for case in cases.iter().filter(|c| c.name.contains(&filter)) {
        assert!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        let started = std::time::Instant::now();
        let right = (case.run)();
        println!(
            "{:<44} {} {:>7.3} s  {}",
            case.name,
            if right.is_ok() { "right" } else { "WRONG" },
            started.elapsed().as_secs_f64(),
            right.as_ref().map_or_else(|what| what.as_str(), |seen| seen.as_str())
        );
        match (right, known::reason(&case.name)) {
            (Err(what), None) => wrong.push(format!("{}: {what}", case.name)),
            (Ok(_), Some(reason)) => {
                wrong.push(format!("{} is right now: take it off the list ({reason})", case.name));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn test_set_for_initial_value_problems() {
    check(ivp::cases());
}

#[test]
fn mechanisms() {
    check(mechanics::cases());
}

#[test]
fn error_estimates() {
    check(estimates::cases());
}

#[test]
fn every_listed_failure_is_a_case() {
    let all = [ivp::cases(), mechanics::cases(), estimates::cases()];
    let names: Vec<&str> = all.iter().flatten().map(|c| c.name.as_str()).collect();
    for (name, _) in known::FAILURES {
        assert!(names.contains(name), "{name} is listed in known.rs and is no case");
    }
}
