//! The automatic choice by cost: many unknowns whose factorization pays, and such whose does not.

#[path = "common/diffusion.rs"]
mod diffusion;

use std::time::Instant;

use costate::diff::Map;
use costate::ode::*;
use diffusion::{AllenCahn, Brusselator, P, heat};

struct Ran {
    y: Vec<f64>,
    report: OdeReport,
    switches: Vec<Switch>,
    seconds: f64,
}

fn auto<F: Map<f64>>(field: &mut F, y0: &[f64], p: &[f64], t1: f64, tol: f64) -> Ran {
    let options = Options { max_steps: 10_000_000, ..Options::tolerances(tol, tol) };
    let mut it = Auto::new(&TSIT54, &RODAS5P, y0.len(), 1, &options).unwrap();
    let clock = Instant::now();
    let report = it.run(field, (0.0, t1), y0, p, &mut ()).unwrap();
    let seconds = clock.elapsed().as_secs_f64();
    assert!(report.ok(), "{}", report.message());
    Ran { y: it.y().to_vec(), report, switches: it.switches().to_vec(), seconds }
}

fn explicit<F: Map<f64>>(field: &mut F, y0: &[f64], p: &[f64], t1: f64, tol: f64) -> (OdeCounts, f64) {
    let clock = Instant::now();
    let s = solve(field, &TSIT54, &Options::tolerances(tol, tol), (0.0, t1), y0, p, &[]).unwrap();
    (s.report.counts, clock.elapsed().as_secs_f64())
}

/// On a surface the factors cost more than the steps they save.
#[test]
fn factors_of_surfaces_do_not_pay_for_mild_stiffness() {
    for m in [32, 48, 64, 100] {
        let ac = AllenCahn { m };
        for tol in [1e-3, 1e-4, 1e-6] {
            let ran = auto(&mut ac.field(), &ac.start(), &[], 2.0, tol);
            let (counts, seconds) = explicit(&mut ac.field(), &ac.start(), &[], 2.0, tol);
            println!(
                "m {m} {tol:e}: auto {:.1} ms {:?}, {:?}, tsit54 {:.1} ms {counts:?}",
                1e3 * ran.seconds,
                ran.report.counts,
                ran.switches,
                1e3 * seconds
            );
            assert!(ran.report.counts.factorizations == 0 && ran.switches.is_empty(), "{m} {tol:e}");
            assert!(ran.report.counts.evals <= counts.evals + counts.evals / 20 + 20, "{m} {tol:e}");
        }
    }
}

/// Those of a band do, and the wait for them is short.
#[test]
fn factors_of_bands_pay() {
    for n in [50, 200, 500, 1000, 2000, 10_000] {
        let pr = Brusselator::new(n);
        let ran = auto(&mut pr.field(), &pr.start(), &P, 10.0, 1e-4);
        let mut it = StiffIntegrator::new(&RODAS5P, n, 1, &Options::tolerances(1e-4, 1e-4)).unwrap();
        let clock = Instant::now();
        let r = it.run(&mut pr.field(), (0.0, 10.0), &pr.start(), &P, &mut ()).unwrap();
        let seconds = clock.elapsed().as_secs_f64();
        println!(
            "n {n}: auto {:.1} ms, {:?}, {:?}; rodas5p {:.1} ms {:?}",
            1e3 * ran.seconds,
            ran.report.counts,
            ran.switches,
            1e3 * seconds,
            r.counts
        );
        // The smallest is hardly stiff.
        let soon = |s: &Switch| s.to_stiff && (n < 200 || s.t < 0.5);
        assert!(ran.switches.first().is_some_and(soon), "{n} {:?}", ran.switches);
        // Less than a tenth of the steps that the explicit method would take, with n^2 / 50 its eigenvalue.
        let limit = 10.0 * 0.08 * (n as f64 / 2.0).powi(2) / 3.5;
        assert!(n < 200 || (ran.report.counts.accepted as f64) < 0.5 * limit, "{n}: {limit}");
        let far = ran.y.iter().zip(it.y()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(far < 1e-2, "{n}: {far:e}");
    }
}

#[test]
fn the_heat_equation_goes_over() {
    let n = 200;
    let y0: Vec<f64> = (1..=n).map(|i| (std::f64::consts::PI * i as f64 / (n as f64 + 1.0)).sin()).collect();
    let ran = auto(&mut heat(n), &y0, &[], 0.5, 1e-5);
    println!("{:?} {:?}", ran.report.counts, ran.switches);
    assert!(ran.switches.first().is_some_and(|s| s.to_stiff));
    assert!(ran.report.counts.accepted < 2000);
    let decay = (-0.5 * 4.0 * 201f64.powi(2) * (std::f64::consts::PI / 402.0).sin().powi(2)).exp();
    assert!(ran.y.iter().zip(&y0).all(|(y, s)| (y - s * decay).abs() < 1e-4));
}

/// The same choice, to the bit.
#[test]
fn the_choice_is_always_the_same() {
    let pr = Brusselator::new(300);
    let first = auto(&mut pr.field(), &pr.start(), &P, 3.0, 1e-5);
    let second = auto(&mut pr.field(), &pr.start(), &P, 3.0, 1e-5);
    assert!(first.y == second.y && first.switches == second.switches);
    assert_eq!(first.report.counts, second.report.counts);
}
