//! Small problems with known answers.

use super::*;
use crate::model::Expression;
use crate::observe::Silent;

/// min 1/2 int (x^2 + u^2), x' = u, x(0) = 1 over [0, 1]: x = cosh(1 - t) / cosh 1, lambda = sinh(1 - t) / cosh 1, J = tanh(1) / 2.
fn regulator() -> Problem {
    let phase = Phase::new("regulator")
        .state(quantity("x").start(1.0))
        .control(quantity("u"))
        .dynamics(|s| vec![s.u[0].clone()])
        .cost(|s| 0.5 * ((&s.x[0]).powi(2) + (&s.u[0]).powi(2)));
    Problem::new("regulator").phase(phase)
}

fn run(problem: &Problem, scheme: Scheme, intervals: usize) -> Outcome {
    let settings = Settings { scheme, intervals, ..Settings::default() };
    let outcome = solve(problem, &settings, &mut Silent).unwrap();
    assert!(outcome.reached, "{}", outcome.message);
    outcome
}

/// Errors of J, x and the costate at the nodes.
fn errors(scheme: Scheme, n: usize) -> [f64; 3] {
    let outcome = run(&regulator(), scheme, n);
    let s = &outcome.solution.phases()[0];
    let most = |values: &[Vec<f64>], f: &dyn Fn(f64) -> f64| {
        s.times().iter().zip(values).map(|(t, v)| (v[0] - f(*t)).abs()).fold(0.0, f64::max)
    };
    [
        (outcome.solution.objective() - 0.5 * 1.0f64.tanh()).abs(),
        most(s.node_states(), &|t| (1.0 - t).cosh() / 1.0f64.cosh()),
        most(s.node_costates(), &|t| (1.0 - t).sinh() / 1.0f64.cosh()),
    ]
}

/// Errors fall with the order of the scheme, those of the costates at the nodes too: lambda is the adjoint variable.
#[test]
fn orders_and_costates_of_a_regulator() {
    for scheme in Scheme::ALL {
        let n = match scheme.order() {
            1..=2 => 40,
            3..=4 => 8,
            _ => 2,
        };
        let (coarse, fine) = (errors(scheme, n), errors(scheme, 2 * n));
        for (what, (a, b)) in ["J", "x", "costate"].iter().zip(coarse.iter().zip(&fine)) {
            println!("{scheme} {what} {a:.2e} {b:.2e} order {:.2}", (a / b).log2());
            let order = (a / b).log2();
            assert!(
                *b < 1e-12 || (order - f64::from(scheme.order())).abs() < 0.1,
                "{scheme} {what}: {order}"
            );
        }
    }
}

/// Dense costates between the nodes.
#[test]
fn dense_costates() {
    for scheme in Scheme::ALL {
        let error = |n: usize| {
            let outcome = run(&regulator(), scheme, n);
            let s = &outcome.solution.phases()[0];
            let at = |k: usize| f64::from(k as u32) / 100.0;
            (0..=100)
                .map(|k| (s.costate(at(k))[0] - (1.0 - at(k)).sinh() / 1.0f64.cosh()).abs())
                .fold(0.0, f64::max)
        };
        println!("{scheme} {:.2e} {:.2e}", error(10), error(20));
    }
}

/// Every problem is solved from its guess; its value on the first mesh is near the published one.
#[test]
fn problems_are_solved() {
    for b in problems::ALL {
        let settings = Settings { scheme: b.start.0, intervals: b.start.1, ..Settings::default() };
        let begun = std::time::Instant::now();
        match solve(&(b.problem)(), &settings, &mut Silent) {
            Ok(o) => println!(
                "{:20} {:.8} published {:.8} err {:.1e} n {} it {} {} {:.2} s {}",
                b.name,
                o.solution.objective(),
                b.published,
                o.solution.error(),
                o.rounds[0].variables,
                o.rounds[0].iterations,
                o.reached,
                begun.elapsed().as_secs_f64(),
                if o.reached { "" } else { &o.message }
            ),
            Err(e) => println!("{:20} {e}", b.name),
        }
    }
}
