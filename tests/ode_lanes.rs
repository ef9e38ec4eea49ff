//! Ensembles in lanes: each trajectory is to the bit the one it has alone.

#[path = "common/alloc.rs"]
mod alloc;

use alloc::allocations;
use costate::diff::{Formula, Number, Size};
use costate::expr::formula;
use costate::linalg::Scalar;
use costate::ode::*;

struct Lorenz;
impl<T: Scalar> Formula<T> for Lorenz {
    fn size(&self) -> Size {
        Size::field(3, 3)
    }
    #[inline(always)]
    fn eval<E: Number<T>>(&self, _: E, y: &[E], p: &[E], dy: &mut [E]) {
        dy[0] = p[0] * (y[1] - y[0]);
        dy[1] = y[0] * (p[1] - y[2]) - y[1];
        dy[2] = y[0] * y[1] - p[2] * y[2];
    }
}

/// A chain of n pendulums, driven in time: y_i' = sin y_(i+1) - p y_i |y_i| + e^-t / (1 + y_i^2).
struct Chain(usize);
impl Formula<f64> for Chain {
    fn size(&self) -> Size {
        Size::field(self.0, 1)
    }
    #[inline(always)]
    fn eval<E: Number<f64>>(&self, t: E, y: &[E], p: &[E], dy: &mut [E]) {
        let n = self.0;
        for i in 0..n {
            let next = y[(i + 1) % n].sin();
            dy[i] = next - p[0] * y[i] * y[i].abs() + (-t).exp() / (E::of(1.0) + y[i].powi(2));
        }
    }
}

/// y' = p y^2: some blow up, some start beyond what is finite, some do not move.
struct Square;
impl Formula<f64> for Square {
    fn size(&self) -> Size {
        Size::field(1, 1)
    }
    #[inline(always)]
    fn eval<E: Number<f64>>(&self, _: E, y: &[E], p: &[E], dy: &mut [E]) {
        dy[0] = p[0] * y[0] * y[0];
    }
}

/// Against `solve` on each trajectory, bit by bit, reports included.
fn compare<F: Formula<f64>>(
    field: &F,
    tab: &'static Tableau,
    o: &Options,
    span: (f64, f64),
    y0: &[f64],
    p: &[f64],
    save: &[f64],
) {
    let Size { inputs: n, params: np, .. } = field.size();
    let e = solve_lanes(tab, o, field, span, y0, Params::Each(p), save).unwrap();
    assert_eq!(e.y1.len(), y0.len());
    for (i, y0) in y0.chunks(n).enumerate() {
        let s = solve(&mut formula(field).unwrap(), tab, o, span, y0, &p[np * i..][..np], save).unwrap();
        let bits = |x: &[f64]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(
            bits(&s.y1),
            bits(&e.y1[n * i..][..n]),
            "{} {i}: {:?} {:?}",
            tab.name,
            s.report,
            e.reports[i]
        );
        let m = n * save.len();
        assert_eq!(bits(s.states()), bits(&e.saved[m * i..][..m]), "{} {i}", tab.name);
        let (a, b) =
            (serde_json::to_string(&s.report).unwrap(), serde_json::to_string(&e.reports[i]).unwrap());
        assert_eq!(a, b, "{} {i}", tab.name);
    }
}

fn starts(n: usize, count: usize) -> Vec<f64> {
    (0..n * count).map(|i| ((i * 7919 % 1009) as f64 / 1009.0 - 0.4) * 2.0).collect()
}

#[test]
fn trajectories_are_those_one_gets_alone() {
    let tight = Options::tolerances(1e-7, 1e-8);
    let save = [0.0, 0.3, 0.31, 2.0, 3.0];
    for tab in Tableau::all() {
        // All lengths with a kernel of their own and some without; counts that leave lanes idle; save points; both norms.
        for (n, count) in [(1, 3), (2, 17), (3, 150), (4, 9), (5, 8), (6, 11), (9, 13)] {
            let p: Vec<f64> = (0..count).map(|i| 0.1 + 0.05 * i as f64).collect();
            compare(&Chain(n), tab, &tight, (0.0, 3.0), &starts(n, count), &p, &save);
            let o = Options { norm: Norm::Max, ..Options::tolerances(vec![1e-5; n], 1e-6) };
            compare(&Chain(n), tab, &o, (3.0, 0.0), &starts(n, count), &p, &[2.0, 0.0]);
        }
        let o = Options { max_step: 0.02, ..tight.clone() };
        compare(&Chain(2), tab, &o, (0.0, 3.0), &starts(2, 20), &[0.3; 20], &[]);
        compare(&Chain(2), tab, &Options::fixed(0.07), (0.0, 3.0), &starts(2, 20), &[0.3; 20], &save);
    }
}

#[test]
fn failures_are_those_one_gets_alone() {
    let o = Options { max_steps: 300, ..Options::tolerances(1e-8, 1e-8) };
    let y0: Vec<f64> = (0..60).map(|i| if i % 7 == 3 { 1e200 } else { 0.05 * i as f64 }).collect();
    let p: Vec<f64> = (0..60).map(|i| (i % 3) as f64).collect();
    for tab in Tableau::all() {
        compare(&Square, tab, &o, (0.0, 2.0), &y0, &p, &[1.0]);
        compare(&Square, tab, &Options::fixed(0.25), (0.0, 2.0), &y0, &p, &[1.0]);
    }
    let e = solve_lanes(&TSIT54, &o, &Square, (0.0, 2.0), &y0, Params::Each(&p), &[]).unwrap();
    let stops = |stop| e.reports.iter().filter(|r| r.stop == stop).count();
    assert!(stops(OdeStop::Finished) > 20 && stops(OdeStop::StartNotFinite) > 2 && e.failed().count() > 20);
}

#[test]
fn threads_and_neighbours_do_not_matter() {
    let count = 500;
    let y0: Vec<f64> = (0..count).flat_map(|i| [1.0 + 0.01 * i as f64, 0.0, 0.0]).collect();
    let p = [10.0, 28.0, 8.0 / 3.0];
    let o = Options::tolerances(1e-6, 1e-6);
    let go = |threads: usize, y0: &[f64]| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| solve_lanes(&VERN76, &o, &Lorenz, (0.0, 5.0), y0, Params::Shared(&p), &[1.0, 5.0]))
            .unwrap()
    };
    let one = go(1, &y0);
    for threads in [2, 5] {
        let many = go(threads, &y0);
        assert_eq!((&one.y1, &one.saved, &one.reports), (&many.y1, &many.saved, &many.reports));
    }
    // Others in front: other lanes, other tasks.
    let shifted = go(2, &y0[3 * 77..]);
    assert_eq!(one.y1[3 * 77..], shifted.y1);
    let scalar = solve_ensemble(
        &VERN76,
        &o,
        || formula(&Lorenz).unwrap(),
        (0.0, 5.0),
        &y0,
        Params::Shared(&p),
        &[1.0, 5.0],
    );
    let scalar = scalar.unwrap();
    assert_eq!((&one.y1, &one.saved, &one.reports), (&scalar.y1, &scalar.saved, &scalar.reports));
    assert_eq!(one.counts(), scalar.counts());
}

#[test]
fn single_precision() {
    let y0: Vec<f32> = (0..40).flat_map(|i| [1.0 + 0.01 * i as f32, 0.0, 0.0]).collect();
    let p = [10.0f32, 28.0, 8.0 / 3.0];
    let o = Options::tolerances(1e-4, 1e-4);
    let a = solve_lanes(&TSIT54, &o, &Lorenz, (0.0, 1.0), &y0, Params::Shared(&p), &[]).unwrap();
    let b =
        solve_ensemble(&TSIT54, &o, || formula(&Lorenz).unwrap(), (0.0, 1.0), &y0, Params::Shared(&p), &[])
            .unwrap();
    assert_eq!((a.y1, a.reports), (b.y1, b.reports));
}

#[test]
fn no_allocation_per_step() {
    let y0 = starts(2, 8);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let p = Params::Shared(&[0.1]);
    // Steps short enough not to seem stiff: what is then looked for, once a run, takes a little room.
    let options = Options::tolerances(1e-9, 1e-9);
    let count = |t1: f64| {
        pool.install(|| {
            let before = allocations();
            let e = solve_lanes(&TSIT54, &options, &Chain(2), (0.0, t1), &y0, p, &[]).unwrap();
            (allocations() - before, e.counts().accepted)
        })
    };
    count(1.0);
    let ((few, short), (many, long)) = (count(1.0), count(200.0));
    assert!(few > 0 && long > 10 * short, "{short} {long}");
    assert_eq!(few, many);
}

#[test]
fn bad_input_is_one_clear_error_each() {
    let o = Options::default();
    let go = |span, y0: &[f64], p: Params<'_, f64>, save: &[f64]| {
        let lanes = solve_lanes(&TSIT54, &o, &Chain(2), span, y0, p, save).map(|_| ()).unwrap_err();
        let plain = solve_ensemble(&TSIT54, &o, || formula(&Chain(2)).unwrap(), span, y0, p, save)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(lanes.to_string(), plain.to_string());
        lanes.to_string()
    };
    let p = Params::Shared(&[0.1]);
    let y = [0.1; 8];
    assert_eq!(go((0.0, 1.0), &y[..7], p, &[]), "the start of an ensemble has length 7, expected 8");
    assert_eq!(go((0.0, 1.0), &[], p, &[]), "the start of an ensemble has length 0, expected 2");
    let bad = [0.1, 0.1, 0.1, f64::NAN];
    assert_eq!(go((0.0, 1.0), &bad, p, &[]), "the start of an ensemble is not finite: entry 3 is NaN");
    assert_eq!(go((0.0, f64::NAN), &y, p, &[0.5]), "the time span from 0 to NaN is not finite");
    assert_eq!(go((1.0, 1.0), &y, p, &[0.5]), "the time span is empty: t0 = t1 = 1");
    assert_eq!(go((0.0, 1.0), &y, p, &[1.5]), "save point 0 is t = 1.5, outside the span from 0 to 1");
    assert_eq!(go((0.0, 1.0), &y, Params::Shared(&[]), &[]), "the parameter vector has length 0, expected 1");
    assert_eq!(
        go((0.0, 1.0), &y, Params::Each(&[1.0]), &[]),
        "the parameter matrix has length 1, expected 4"
    );
    let nan = [0.1, 0.1, f64::INFINITY, 0.1];
    assert_eq!(
        go((0.0, 1.0), &y, Params::Each(&nan), &[]),
        "the parameter matrix is not finite: entry 2 is inf"
    );

    struct Panics;
    impl Formula<f64> for Panics {
        fn size(&self) -> Size {
            Size::field(1, 0)
        }
        fn eval<E: Number<f64>>(&self, t: E, _: &[E], _: &[E], dy: &mut [E]) {
            t.inspect(|t| assert!(t < 0.3, "no data after 0.3"));
            dy[0] = E::of(1.0);
        }
    }
    let e = solve_lanes(&TSIT54, &o, &Panics, (0.0, 1.0), &[0.0; 20], Params::Shared(&[]), &[]).unwrap();
    assert_eq!(e.panics, (0..20).map(|i| (i, "no data after 0.3".to_string())).collect::<Vec<_>>());
}
