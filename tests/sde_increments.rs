//! Increments that are given: the same solution as along the path they were taken from, to the bit, forwards and backwards; and stochastic runs that are resumed.

use costate::adjoint::{Adjoint, Bars, Memory};
use costate::diff::{FnMap, Map};
use costate::ode::*;
use costate::sde::*;

const P: [f64; 3] = [1.3, 0.4, 0.3];
const CELLS: usize = 64;

fn drift(_t: f64, y: &[f64], p: &[f64], dy: &mut [f64]) {
    (dy[0], dy[1]) = (p[0] * y[1], -p[0] * y[0] - p[1] * y[1]);
}
fn drift_vjp(_t: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]) {
    yb[0] -= p[0] * w[1];
    yb[1] += p[0] * w[0] - p[1] * w[1];
    pb[0] += y[1] * w[0] - y[0] * w[1];
    pb[1] -= y[1] * w[1];
}
fn noise(_t: f64, y: &[f64], p: &[f64], g: &mut [f64]) {
    (g[0], g[1]) = (p[0] * y[0], p[0] * y[1].sin());
}
fn noise_vjp(_t: f64, y: &[f64], p: &[f64], w: &[f64], yb: &mut [f64], pb: &mut [f64]) {
    yb[0] += p[0] * w[0];
    yb[1] += p[0] * y[1].cos() * w[1];
    pb[0] += y[0] * w[0] + y[1].sin() * w[1];
}
fn sde() -> Sde<impl Map<f64>, impl Map<f64>> {
    let f = FnMap::new(2, 2, drift).with_vjp(drift_vjp);
    let g = FnMap::new(2, 1, noise).with_vjp(noise_vjp);
    Sde::new(f, g, Noise::Diagonal).unwrap()
}
fn y0(batch: usize) -> Vec<f64> {
    (0..2 * batch).map(|i| 0.5 + 0.1 * i as f64).collect()
}
fn times() -> Vec<f64> {
    (0..=CELLS).map(|k| k as f64 / CELLS as f64).collect()
}

/// The increments and areas of the path of a seed over the cells.
fn taken(seed: u64, batch: usize) -> Increments {
    let b = Brownian::new(seed).over(0.0, 1.0).with_cells(CELLS as u32);
    let mut path = BrownianPath::new(&b, (0.0, 1.0), 2, batch).unwrap();
    let (mut w, mut area) = (vec![], vec![]);
    for t in &times()[1..] {
        let (a, b) = path.advance(*t).unwrap();
        w.extend_from_slice(a);
        area.extend_from_slice(b);
    }
    Increments::new(&times(), &w, 2).unwrap().with_areas(&area).unwrap()
}
fn seeded(seed: u64) -> Brownian {
    Brownian::new(seed).over(0.0, 1.0).with_cells(CELLS as u32)
}

#[test]
fn fixed_steps_have_the_bits_of_the_seeded_path() {
    for method in [&EULER_MARUYAMA, &MILSTEIN, &SRIW1, &SOSRI] {
        let o = Options::noisy().with_fixed_step(1.0 / CELLS as f64);
        let save = [0.25, 0.5, 1.0];
        let run = |path: Path| solve(sde().follow(path), method, &o, (0.0, 1.0), &y0(3), &P, &save).unwrap();
        let (a, b) = (run(seeded(5).into()), run(taken(5, 3).into()));
        assert!(a.report.ok() && b.report.ok());
        assert_eq!((&a.y1, a.states()), (&b.y1, b.states()), "{}", method.name);
        assert_eq!(a.report.counts, b.report.counts);
    }
}

#[test]
fn trajectories_of_an_ensemble_take_their_columns() {
    let (o, given) = (Options::noisy().with_fixed_step(1.0 / CELLS as f64), std::sync::Arc::new(taken(5, 3)));
    let make = || sde().along(given.clone());
    let e = solve_ensemble(&SOSRI, &o, make, (0.0, 1.0), &y0(3), Params::Shared(&P), &[]).unwrap();
    let all = solve(sde().follow(seeded(5)), &SOSRI, &o, (0.0, 1.0), &y0(3), &P, &[]).unwrap();
    assert_eq!(e.y1, all.y1);
    let four = solve_ensemble(&SOSRI, &o, make, (0.0, 1.0), &y0(4), Params::Shared(&P), &[]);
    assert!(four.unwrap_err().to_string().contains("have 3 columns, 4 trajectories need one each"));
}

#[test]
fn steps_with_error_control_are_made_of_whole_intervals() {
    let o = Options::noisy().with_tolerances(0.2, 0.2);
    let mut every = EveryStep::new();
    let mut it = SdeIntegrator::new(&SOSRI, 2, 1, &o).unwrap();
    let r = it.run(sde().follow(taken(8, 1)), (0.0, 1.0), &y0(1), &P, &mut every).unwrap();
    assert!(r.ok() && r.counts.accepted < 3 * CELLS as u64 / 4, "{r:?}");
    for t in every.times() {
        assert_eq!(t * CELLS as f64, (t * CELLS as f64).round());
    }
    // The same path through the tree, with steps of its own.
    let fine = Options::noisy().with_fixed_step(1.0 / CELLS as f64);
    let want = solve(sde().follow(seeded(8)), &SOSRI, &fine, (0.0, 1.0), &y0(1), &P, &[]).unwrap();
    for (a, b) in it.y().iter().zip(&want.y1) {
        assert!((a - b).abs() < 0.05, "{a} {b}");
    }
    // At a time that is no end of an interval the state is drawn straight.
    let s =
        solve(sde().follow(taken(8, 1)), &SOSRI, &fine, (0.0, 1.0), &y0(1), &P, &[0.5, 0.51, 33.0 / 64.0]);
    let s = s.unwrap();
    let theta = 0.01 * CELLS as f64;
    for i in 0..2 {
        let straight = (1.0 - theta) * s.state(0)[i] + theta * s.state(2)[i];
        assert!((s.state(1)[i] - straight).abs() < 1e-13);
    }
    // Shorter steps than the intervals.
    let o = Options::noisy().with_tolerances(1e-9, 1e-9);
    let r = it_report(&o, taken(8, 1));
    assert_eq!(r.stop, OdeStop::StepUnderflow);
}

fn it_report(o: &Options, given: Increments) -> OdeReport {
    solve(sde().follow(given), &SOSRI, o, (0.0, 1.0), &y0(1), &P, &[]).unwrap().report
}

#[test]
fn gradients_along_given_increments() {
    let o = Options::noisy().with_fixed_step(1.0 / CELLS as f64);
    let save = [0.5, 1.0];
    let saved_bar: Vec<f64> = (0..8).map(|i| (0.7 * i as f64).cos()).collect();
    for method in [&MILSTEIN, &SOSRI] {
        for memory in [Memory::Stages, Memory::States, Memory::Every(5), Memory::Checkpoints(4)] {
            let gradient = |path: Path| {
                let mut solver = Adjoint::new(method, 2, 2, &o, memory).unwrap();
                let mut sde = sde().along(path);
                let mut sinks = SaveAt::new(&save);
                solver.forward(&mut sde, (0.0, 1.0), &y0(2), &P, &mut sinks).unwrap();
                let (mut yb, mut pb) = (vec![0.0; 4], vec![0.0; 3]);
                let bars = Bars { times: &save, saved: &saved_bar, ..Bars::default() };
                solver.reverse(&mut sde, &P, &bars, &mut yb, &mut pb).unwrap();
                (yb, pb)
            };
            let (a, b) = (gradient(seeded(2).into()), gradient(taken(2, 2).into()));
            assert_eq!(a, b, "{} {memory:?}", method.name);
            let loss = |p: &[f64]| {
                let s = solve(sde().follow(taken(2, 2)), method, &o, (0.0, 1.0), &y0(2), p, &save).unwrap();
                s.states().iter().zip(&saved_bar).map(|(a, b)| a * b).sum::<f64>()
            };
            for i in 0..3 {
                let (mut up, mut down) = (P, P);
                (up[i], down[i]) = (P[i] + 1e-5, P[i] - 1e-5);
                let want = (loss(&up) - loss(&down)) / 2e-5;
                assert!((b.1[i] - want).abs() < 1e-8 * want.abs().max(1.0), "{} {want}", b.1[i]);
            }
        }
    }
}

#[test]
fn what_cannot_be_given() {
    let text = |r: Result<Increments, OdeError>| r.unwrap_err().to_string();
    assert!(text(Increments::new(&[0.0], &[], 1)).contains("two times"));
    assert!(text(Increments::new(&[0.0, 1.0, 0.5], &[0.0; 2], 1)).contains("must ascend: time 2 is 0.5"));
    assert!(text(Increments::new(&[0.0, 1.0], &[], 1)).contains("the increments"));
    assert!(text(Increments::new(&[0.0, 1.0, 2.0], &[0.0; 3], 1)).contains("the increments"));
    assert!(text(Increments::new(&[0.0, 1.0], &[f64::NAN], 1)).contains("not finite"));
    let plain = |width| Increments::new(&[0.0, 0.5, 1.0], &vec![0.1; 2 * width], width).unwrap();
    let o = Options::noisy().with_fixed_step(0.5);
    let refused = |method: &'static SdeMethod, given: Increments, end: f64| {
        solve(sde().follow(given), method, &o, (0.0, end), &y0(1), &P, &[]).unwrap_err().to_string()
    };
    assert!(refused(&SOSRI, plain(2), 1.0).contains("sosri needs the areas"));
    assert!(refused(&MILSTEIN, plain(1), 1.0).contains("the motions of given increments"));
    assert!(refused(&MILSTEIN, plain(2), 0.7).contains("0.7 is none of the times"));
    // A grid that the increments have not.
    let o = Options::noisy().with_fixed_step(0.3);
    let r = solve(sde().follow(plain(2)), &MILSTEIN, &o, (0.0, 1.0), &y0(1), &P, &[]).unwrap().report;
    assert_eq!(r.stop, OdeStop::StepUnderflow);
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    for (path, o) in [
        (Path::from(Brownian::new(4)), Options::noisy().with_tolerances(1e-3, 1e-3)),
        (Path::from(Brownian::new(4)), Options::noisy().with_fixed_step(0.01)),
        (Path::from(taken(4, 2)), Options::noisy().with_tolerances(0.05, 0.05)),
    ] {
        let mut whole = SdeIntegrator::new(&SOSRI, 2, 2, &o).unwrap();
        let report = whole.run(sde().follow(path.clone()), (0.0, 1.0), &y0(2), &P, &mut ()).unwrap();
        assert!(report.ok());
        let mut first = SdeIntegrator::new(&SOSRI, 2, 2, &o).unwrap();
        let mut stop = FnSink(|step: &mut Step<'_, f64>| match step.index() {
            4 => std::ops::ControlFlow::Break(()),
            _ => std::ops::ControlFlow::Continue(()),
        });
        first.run(sde().follow(path.clone()), (0.0, 1.0), &y0(2), &P, &mut stop).unwrap();
        let text = serde_json::to_string(&first.saved().unwrap()).unwrap();
        let mut other = SdeIntegrator::new(&SOSRI, 2, 2, &o).unwrap();
        let saved = serde_json::from_str(&text).unwrap();
        let resumed = other.resume(sde().follow(path.clone()), &saved, 1.0, &P, &mut ()).unwrap();
        assert_eq!(other.y(), whole.y());
        assert_eq!(resumed.counts, report.counts);
    }
}
