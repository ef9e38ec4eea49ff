//! Linear invariants: declared ones are kept, lost ones are announced, and nothing is said where nothing is lost.

#[path = "common/stiff.rs"]
mod stiff;

use costate::adjoint::{Bars, Memory, StiffAdjoint};
use costate::diff::{FnMap, Map};
use costate::expr::record;
use costate::ode::*;

fn dot(w: &[f64], y: &[f64]) -> f64 {
    w.iter().zip(y).map(|(w, y)| w * y).sum()
}

/// A chain of reactions a -> b <-> c -> d with rates over many orders: a + b + c + d stays, and so does twice that of a copy; (rows of invariants).
fn chain() -> (impl Map<f64>, [[f64; 8]; 2]) {
    let field = record(8, 0, |_, y, _, dy| {
        for (k, m) in [(0, 1e-9), (4, 1e-7)] {
            let (r1, r2) = (m * y[k], 1e9 * y[k + 1] * y[k + 1] - 3e2 * y[k + 2]);
            let r3 = 1e-3 * y[k + 2];
            dy[k] = -r1;
            dy[k + 1] = r1 - r2;
            dy[k + 2] = r2 - r3;
            dy[k + 3] = r3;
        }
    });
    let rows = [[1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0]];
    (field.unwrap().into_map(), rows)
}

const START: [f64; 8] = [1.0, 0.0, 0.0, 0.0, 0.5, 0.1, 0.0, 0.0];

#[test]
fn declared_invariants_are_kept_to_rounding_at_every_step() {
    for tab in RosenbrockTableau::all() {
        let (mut field, rows) = chain();
        let invariants = rows.iter().map(|r| r.to_vec()).collect();
        let options = Options { invariants, ..Options::tolerances(1e-6, 1e-12) };
        let mut worst = 0.0f64;
        let mut look = FnSink(|s: &mut Step<'_, f64>| {
            for w in &rows {
                worst = worst.max((dot(w, s.y1()) - dot(w, s.y0())).abs());
            }
            std::ops::ControlFlow::Continue(())
        });
        let mut it = StiffIntegrator::new(tab, 8, 1, &options).unwrap();
        let r = it.run(&mut field, (0.0, 1e10), &START, &[], &mut look).unwrap();
        assert!(r.ok() && worst < 4e-15, "{} {worst:e} {}", tab.name, r.message());
        // The same solution as without, to the tolerance.
        let plain =
            solve(&mut field, tab, &Options::tolerances(1e-6, 1e-12), (0.0, 1e10), &START, &[], &[]).unwrap();
        for (a, b) in it.y().iter().zip(&plain.y1) {
            assert!((a - b).abs() < 1e-4 * a.abs() + 1e-8, "{} {a} {b}", tab.name);
        }
    }
}

#[test]
fn gradients_do_not_change_and_have_the_same_bits_by_every_memory() {
    let reactions = || {
        record(3, 3, |_, y, p, dy| {
            let (a, b, c) = (p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]);
            (dy[0], dy[1], dy[2]) = (b - a, a - b - c, c);
        })
        .unwrap()
        .into_map()
    };
    let (y0, p, w) = ([1.0, 0.0, 0.0], [0.04, 1e4, 3e7], [0.3, 1e4, -0.2]);
    let gradient = |invariants: Vec<Vec<f64>>, memory: Memory| {
        let options = Options { invariants, ..Options::tolerances(1e-7, 1e-11) };
        let mut solver = StiffAdjoint::new(&RODAS5P, 3, 1, &options, memory).unwrap();
        solver.forward(&mut reactions(), (0.0, 1e3), &y0, &p, &mut ()).unwrap();
        let (mut y_bar, mut p_bar) = ([0.0; 3], [0.0; 3]);
        let bars = Bars { y1: &w, ..Bars::default() };
        solver.reverse(&mut reactions(), &p, &bars, &mut y_bar, &mut p_bar).unwrap();
        [y_bar, p_bar].concat()
    };
    let plain = gradient(vec![], Memory::States);
    let kept = gradient(vec![vec![1.0; 3]], Memory::States);
    for (a, b) in plain.iter().zip(&kept) {
        assert!((a - b).abs() < 1e-8 * a.abs(), "{plain:?} {kept:?}");
    }
    for memory in [Memory::Stages, Memory::Every(3), Memory::Checkpoints(4)] {
        assert_eq!(gradient(vec![vec![1.0; 3]], memory), kept, "{memory:?}");
    }
}

#[test]
fn nothing_is_announced_where_nothing_is_lost() {
    for pr in &stiff::ALL {
        for tol in [1e-3, 1e-6, 1e-8] {
            for tab in RosenbrockTableau::all() {
                let mut field = FnMap::new(pr.n, pr.p.len(), pr.f).with_jacobian(pr.jac).autonomous();
                let o = Options { max_steps: 500_000, ..Options::tolerances(tol, 1e-4 * tol) };
                let s = solve(&mut field, tab, &o, (0.0, pr.t1), pr.y0, pr.p, &[]).unwrap();
                let d = s.report.diagnosis;
                assert!(
                    !matches!(d, Some(Diagnosis::InvariantLost { .. })),
                    "{} {} {d:?}",
                    pr.name,
                    tab.name
                );
            }
        }
    }
    // What looks like an invariant at the end and is none: y0 stands still where y1 has died out, or is driven by time.
    let quiet = |n, f: fn(f64, &[f64], &[f64], &mut [f64]), end| {
        let mut field = costate::diff::Differences::of(FnMap::new(n, 0, f)).autonomous();
        let y0 = vec![1.0; n];
        let s = solve(&mut field, &RODAS5P, &Options::default(), (0.0, end), &y0, &[], &[]).unwrap();
        assert!(s.report.ok() && s.report.diagnosis.is_none(), "{}", s.report.message());
    };
    quiet(2, |_, y, _, dy| (dy[0], dy[1]) = (y[1] * y[1], if y[1] > 0.5 { -1.0 } else { 0.0 }), 3.0);
    quiet(2, |_, y, _, dy| (dy[0], dy[1]) = (1.0, -y[1]), 3.0);
    quiet(2, |_, y, _, dy| (dy[0], dy[1]) = (y[1], -50.0 * y[1]), 3.0);
}

#[test]
fn bad_input_is_one_clear_error_each() {
    let make = |row: Vec<f64>| {
        let o = Options { invariants: vec![row], ..Options::default() };
        StiffIntegrator::<f64>::new(&RODAS4, 3, 1, &o).map(|_| ()).unwrap_err().to_string()
    };
    assert!(make(vec![1.0; 2]).contains("a row of the invariants"), "{}", make(vec![1.0; 2]));
    assert!(make(vec![0.0; 3]).contains("is zero"));
    let twice = Options { invariants: vec![vec![1.0, 2.0, 3.0], vec![2.0, 4.0, 6.0]], ..Options::default() };
    assert!(
        StiffIntegrator::<f64>::new(&RODAS4, 3, 1, &twice)
            .unwrap_err()
            .to_string()
            .contains("sum of the rows")
    );
    assert!(make(vec![f64::NAN, 1.0, 1.0]).contains("invariants"));
}
