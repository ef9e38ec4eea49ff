//! Functions of the user's that panic: one error, no harm to the solver, none to the other trajectories of an ensemble.

use costate::adjoint::{Adjoint, Bars, Memory, SdeAdjoint, StiffAdjoint};
use costate::diff::{At, BarsMut, Differences, FnMap, Formula, Kept, Map, Number, Offers, Size};
use costate::nn::Parallel;
use costate::ode::*;
use costate::sde::*;

/// y_i' = -p y_i + sin t + y_(i+1)^2 / 10 with all derivatives; panics at its `left`-th call, whichever that is.
#[derive(Clone)]
struct Bomb {
    n: usize,
    left: u64,
}

const NEVER: u64 = u64::MAX;

impl Bomb {
    fn tick(&mut self) {
        self.left -= 1;
        assert!(self.left > 0, "the last call");
    }
}

impl Map<f64> for Bomb {
    fn size(&self) -> Size {
        Size { inputs: self.n, outputs: self.n, params: 1 }
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::ALONE | Offers::JACOBIAN | Offers::DT
    }
    fn value(&mut self, at: At<'_, f64>, dy: &mut [f64]) {
        self.tick();
        for (y, dy) in at.x.chunks(self.n).zip(dy.chunks_mut(self.n)) {
            for i in 0..self.n {
                dy[i] = -at.p[0] * y[i] + at.t.sin() + 0.1 * y[(i + 1) % self.n].powi(2);
            }
        }
    }
    fn vjp(&mut self, at: At<'_, f64>, _: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
        self.tick();
        let n = self.n;
        for ((y, w), y_bar) in at.x.chunks(n).zip(w.chunks(n)).zip(bars.x.chunks_mut(n)) {
            for i in 0..n {
                y_bar[i] -= at.p[0] * w[i];
                y_bar[(i + 1) % n] += 0.2 * w[i] * y[(i + 1) % n];
                bars.p[0] -= w[i] * y[i];
            }
        }
    }
    fn jacobian(&mut self, at: At<'_, f64>, jac: &mut [f64]) {
        self.tick();
        let n = self.n;
        jac.fill(0.0);
        for (y, jac) in at.x.chunks(n).zip(jac.chunks_mut(n * n)) {
            for i in 0..n {
                jac[i * n + i] -= at.p[0];
                jac[(i + 1) % n * n + i] += 0.2 * y[(i + 1) % n];
            }
        }
    }
    fn time_derivative(&mut self, at: At<'_, f64>, dt: &mut [f64]) {
        self.tick();
        dt.fill(at.t.cos());
    }
}

/// Its values only.
struct Plain(Bomb);

impl Map<f64> for Plain {
    fn size(&self) -> Size {
        self.0.size()
    }
    fn value(&mut self, at: At<'_, f64>, dy: &mut [f64]) {
        self.0.value(at, dy);
    }
}

/// g = p y, diagonal; panics as [`Bomb`].
#[derive(Clone)]
struct Shock(Bomb);

impl Map<f64> for Shock {
    fn size(&self) -> Size {
        self.0.size()
    }
    fn offers(&self) -> Offers {
        Offers::VJP | Offers::ALONE
    }
    fn value(&mut self, at: At<'_, f64>, g: &mut [f64]) {
        self.0.tick();
        g.iter_mut().zip(at.x).for_each(|(g, y)| *g = at.p[0] * y);
    }
    fn vjp(&mut self, at: At<'_, f64>, _: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
        self.0.tick();
        for ((b, w), y) in bars.x.iter_mut().zip(w).zip(at.x) {
            *b += at.p[0] * w;
            bars.p[0] += w * y;
        }
    }
}

/// A state of one, a short one, one with a kernel for any length, each as a batch of two, too.
const SHAPES: [(usize, usize); 6] = [(1, 1), (3, 1), (6, 1), (1, 2), (3, 2), (6, 2)];
const P: [f64; 2] = [1.3, 0.2];
const SPAN: (f64, f64) = (0.0, 1.0);

fn start(n: usize) -> Vec<f64> {
    (0..n).map(|i| 0.4 + 0.1 * i as f64).collect()
}

/// The panics at calls 1, 2, .. of a first field; after each the same solver gives what a solver gives that never saw one. `run` takes a solver
/// and fields that last for that many calls. Returns how many calls were tried.
fn survives<S, R: PartialEq + std::fmt::Debug>(
    what: &str,
    make: impl Fn() -> S,
    run: impl Fn(&mut S, u64) -> Result<R, OdeError>,
) -> u64 {
    let clean = run(&mut make(), NEVER).unwrap();
    let mut solver = make();
    for calls in 1..60 {
        match run(&mut solver, calls) {
            Err(e) => {
                assert_eq!(e.to_string(), "the vector field panicked: the last call", "{what} {calls}");
                assert_eq!(run(&mut solver, NEVER).unwrap(), clean, "{what} after a panic at call {calls}");
            }
            Ok(_) => return calls - 1,
        }
    }
    59
}

#[test]
fn a_forward_pass_is_one_error_and_the_next_is_as_good_as_new() {
    let o = Options::tolerances(1e-4, 1e-4);
    for (n, batch) in SHAPES {
        let y0 = start(n * batch);
        for tab in Tableau::all() {
            let tried = survives(
                tab.name,
                || Integrator::new(tab, n, batch, &o).unwrap(),
                |it, left| {
                    let mut save = SaveAt::new(&[0.3, 1.0]);
                    it.run(&mut Bomb { n, left }, SPAN, &y0, &P[..1], &mut save)?;
                    Ok((it.y().to_vec(), save.states().to_vec()))
                },
            );
            assert!(tried > 10, "{} {tried}", tab.name);
        }
        for tab in RosenbrockTableau::all() {
            let tried = survives(
                tab.name,
                || StiffIntegrator::new(tab, n, batch, &o).unwrap(),
                |it, left| {
                    let mut save = SaveAt::new(&[0.3, 1.0]);
                    it.run(&mut Bomb { n, left }, SPAN, &y0, &P[..1], &mut save)?;
                    Ok((it.y().to_vec(), save.states().to_vec()))
                },
            );
            assert!(tried > 10, "{} {tried}", tab.name);
            let tried = survives(
                tab.name,
                || {
                    (
                        StiffIntegrator::new(tab, n, batch, &o).unwrap(),
                        Differences::of(Plain(Bomb { n, left: 1 })),
                    )
                },
                |(it, field), left| {
                    // The workspace of the differences survives, too.
                    *field = Differences::of(Plain(Bomb { n, left }));
                    it.run(field, SPAN, &y0, &P[..1], &mut ())?;
                    Ok(it.y().to_vec())
                },
            );
            assert!(tried > 10, "{} {tried}", tab.name);
        }
        // Rate 3000: both methods of the automatic choice.
        let tried = survives(
            "auto",
            || Auto::new(&BS32, &RODAS4, n, batch, &o).unwrap(),
            |it, left| {
                it.run(&mut Bomb { n, left }, (0.0, 0.05), &y0, &[3e3], &mut ())?;
                Ok((it.y().to_vec(), it.switches().to_vec()))
            },
        );
        assert!(tried > 50, "auto {tried}");
    }
}

#[test]
fn stiff_parts_of_an_automatic_choice_survive() {
    // Beyond the change of method, which `survives` may not reach.
    let (n, o) = (6, Options::tolerances(1e-4, 1e-4));
    let run = |it: &mut Auto<f64>, left| {
        it.run(&mut Bomb { n, left }, (0.0, 0.05), &start(n), &[3e3], &mut ())?;
        Ok((it.y().to_vec(), it.switches().to_vec()))
    };
    let mut it = Auto::new(&BS32, &RODAS4, n, 1, &o).unwrap();
    let clean = run(&mut it, NEVER).unwrap();
    assert!(!clean.1.is_empty());
    let mut seen = 0;
    for calls in (50..).step_by(7) {
        match run(&mut it, calls) {
            Err(OdeError::FieldPanicked { .. }) => {
                seen += it.switches().len();
                assert_eq!(run(&mut it, NEVER).unwrap(), clean, "call {calls}");
            }
            other => {
                assert_eq!(other, Ok(clean));
                break;
            }
        }
    }
    assert!(seen > 3, "{seen}");
}

#[test]
fn a_stochastic_pass_is_one_error_and_the_next_is_as_good_as_new() {
    let path = Brownian::new(3);
    for method in [&SOSRI, &SRIW1, &EULER_MARUYAMA, &MILSTEIN] {
        let o = if method.is_adaptive() {
            Options::noisy().with_tolerances(1e-2, 1e-2)
        } else {
            Options::noisy().with_fixed_step(0.1)
        };
        for (n, batch) in SHAPES {
            for drift in [true, false] {
                let tried = survives(
                    method.name,
                    || SdeIntegrator::new(method, n, batch, &o).unwrap(),
                    |it, left| {
                        let (f, g) = if drift { (left, NEVER) } else { (NEVER, left) };
                        let mut sde =
                            Sde::new(Bomb { n, left: f }, Shock(Bomb { n, left: g }), Noise::Diagonal)
                                .unwrap();
                        it.run(sde.follow(path), SPAN, &start(n * batch), &P, &mut ())?;
                        Ok(it.y().to_vec())
                    },
                );
                assert!(tried >= 10, "{} {tried}", method.name);
            }
        }
    }
}

const POLICIES: [Memory; 5] =
    [Memory::Stages, Memory::States, Memory::Every(3), Memory::Checkpoints(2), Memory::Checkpoints(1)];

/// A sweep that panics at call 1, 2, ..: one error; nothing is left to transpose; the next two passes give the bits of a solver that never saw a panic.
fn sweep_survives<S>(
    what: &str,
    make: impl Fn() -> S,
    forward: impl Fn(&mut S) -> Result<usize, OdeError>,
    reverse: impl Fn(&mut S, u64) -> Result<(Vec<f64>, Vec<f64>), OdeError>,
) {
    let mut clean = make();
    let steps = forward(&mut clean).unwrap();
    assert!(steps > 3, "{what}: {steps} steps");
    let want = reverse(&mut clean, NEVER).unwrap();
    let mut solver = make();
    for calls in (1..12).chain((13..).step_by(5)) {
        forward(&mut solver).unwrap();
        match reverse(&mut solver, calls) {
            Err(e) => assert_eq!(e.to_string(), "the vector field panicked: the last call", "{what} {calls}"),
            Ok(result) => {
                assert!(calls > 20 && result == want, "{what} {calls}");
                return;
            }
        }
        let e = reverse(&mut solver, NEVER).unwrap_err().to_string();
        assert!(e.contains("the tape has no step"), "{what}: {e}");
        forward(&mut solver).unwrap();
        assert_eq!(reverse(&mut solver, NEVER).unwrap(), want, "{what} after a panic at call {calls}");
    }
}

#[test]
fn reverse_sweeps_are_one_error_and_the_next_is_as_good_as_new() {
    let o = Options::tolerances(1e-3, 1e-3);
    for (n, batch) in SHAPES {
        let (y0, bar) = (start(n * batch), start(2 * n * batch));
        // A save point inside a step and one at the end.
        let bars = Bars { times: &[0.37, 1.0], saved: &bar, ..Bars::default() };
        for memory in POLICIES {
            for tab in [&BS32, &TSIT54, &VERN87] {
                let o = Options { max_step: 0.15, ..o.clone() };
                sweep_survives(
                    &format!("{} {memory:?} {n} {batch}", tab.name),
                    || Adjoint::new(tab, n, batch, &o, memory).unwrap(),
                    |s| {
                        s.forward(&mut Bomb { n, left: NEVER }, SPAN, &y0, &P[..1], &mut ())?;
                        Ok(s.tape().len())
                    },
                    |s, left| {
                        let (mut yb, mut pb) = (vec![0.0; n * batch], vec![0.0]);
                        s.reverse(&mut Bomb { n, left }, &P[..1], &bars, &mut yb, &mut pb)?;
                        Ok((yb, pb))
                    },
                );
            }
            for tab in RosenbrockTableau::all() {
                let o = Options { max_step: 0.2, ..o.clone() };
                sweep_survives(
                    &format!("{} {memory:?} {n} {batch}", tab.name),
                    || StiffAdjoint::new(tab, n, batch, &o, memory).unwrap(),
                    |s| {
                        s.forward(&mut Bomb { n, left: NEVER }, SPAN, &y0, &P[..1], &mut ())?;
                        Ok(s.tape().len())
                    },
                    |s, left| {
                        let (mut yb, mut pb) = (vec![0.0; n * batch], vec![0.0]);
                        s.reverse(&mut Bomb { n, left }, &P[..1], &bars, &mut yb, &mut pb)?;
                        Ok((yb, pb))
                    },
                );
            }
            for drift in [true, false] {
                let o = Options { max_step: 0.1, ..Options::noisy().with_tolerances(0.1, 0.1) };
                let bars = Bars { y1: &bar[..n * batch], ..Bars::default() };
                let sde = |left| {
                    let (f, g) = if drift { (left, NEVER) } else { (NEVER, left) };
                    Sde::new(Bomb { n, left: f }, Shock(Bomb { n, left: g }), Noise::Diagonal).unwrap()
                };
                sweep_survives(
                    &format!("sosri {memory:?} {n} {batch} {drift}"),
                    || SdeAdjoint::new(&SOSRI, n, batch, &o, memory).unwrap(),
                    |s| {
                        s.forward(sde(NEVER).follow(Brownian::new(5)), SPAN, &y0, &P, &mut ())?;
                        Ok(s.tape().len())
                    },
                    |s, left| {
                        let (mut yb, mut pb) = (vec![0.0; n * batch], vec![0.0; 2]);
                        s.reverse(&mut sde(left), &P, &bars, &mut yb, &mut pb)?;
                        Ok((yb, pb))
                    },
                );
            }
        }
    }
}

/// y = p x; panics where x is 13 or a bar is NaN.
#[derive(Clone)]
struct Unlucky;

impl Map<f64> for Unlucky {
    fn size(&self) -> Size {
        Size { inputs: 1, outputs: 1, params: 1 }
    }
    fn offers(&self) -> Offers {
        Offers::VJP
    }
    fn value(&mut self, at: At<'_, f64>, y: &mut [f64]) {
        assert!(!at.x.contains(&13.0), "unlucky");
        y.iter_mut().zip(at.x).for_each(|(y, x)| *y = at.p[0] * x);
    }
    fn vjp(&mut self, at: At<'_, f64>, _: Kept<'_, f64>, w: &[f64], bars: BarsMut<'_, f64>) {
        for ((b, w), x) in bars.x.iter_mut().zip(w).zip(at.x) {
            assert!(!w.is_nan(), "unlucky");
            *b += at.p[0] * w;
            bars.p[0] += w * x;
        }
    }
}

#[test]
fn a_panic_on_another_thread_is_the_same_error() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    pool.install(|| {
        let mut field = Parallel::new(Unlucky, 8);
        let mut s = Adjoint::new(&TSIT54, 1, 64, &Options::default(), Memory::Stages).unwrap();
        let (mut y0, mut w) = (vec![1.0; 64], vec![1.0; 64]);
        let mut pass = |y0: &[f64], w: &[f64]| {
            let (mut yb, mut pb) = (vec![0.0; 64], [0.0]);
            s.forward(&mut field, SPAN, y0, &[0.5], &mut ())?;
            s.reverse(&mut field, &[0.5], &Bars { y1: w, ..Bars::default() }, &mut yb, &mut pb)?;
            Ok((yb, pb))
        };
        let clean = pass(&y0, &w).unwrap();
        assert!(clean.0.iter().all(|v| (v - 0.5f64.exp()).abs() < 1e-5));
        let unlucky = OdeError::FieldPanicked { message: "unlucky".into() };
        y0[40] = 13.0;
        assert_eq!(pass(&y0, &w), Err(unlucky.clone()));
        y0[40] = 1.0;
        assert_eq!(pass(&y0, &w), Ok(clean.clone()));
        w[40] = f64::NAN;
        assert_eq!(pass(&y0, &w), Err(unlucky));
        w[40] = 1.0;
        assert_eq!(pass(&y0, &w), Ok(clean));
    });
}

/// y' = p, and nothing is known beyond y = 1. After a panic the field is spoilt.
struct Edge {
    spoilt: bool,
}

impl Map<f64> for Edge {
    fn size(&self) -> Size {
        Size { inputs: 1, outputs: 1, params: 1 }
    }
    fn value(&mut self, at: At<'_, f64>, dy: &mut [f64]) {
        assert!(!self.spoilt, "used after a panic");
        self.spoilt = at.x[0] > 1.0;
        assert!(!self.spoilt, "no data beyond 1");
        dy[0] = at.p[0];
    }
}

impl Formula<f64> for Edge {
    fn size(&self) -> Size {
        Size::field(1, 1)
    }
    fn eval<E: Number<f64>>(&self, _: E, y: &[E], p: &[E], dy: &mut [E]) {
        y[0].inspect(|y| assert!(y <= 1.0, "no data beyond 1"));
        dy[0] = p[0];
    }
}

/// Every third of 300 trajectories goes beyond 1 behind t = 1/2; the last of a task of any size, too.
fn slopes() -> Vec<f64> {
    (0..300).map(|i| if i % 3 == 2 { 1.5 } else { 0.001 * i as f64 }).collect()
}

fn check_ensemble(what: &str, e: &Ensemble<f64>, alone: impl Fn(usize) -> Option<Vec<f64>>) {
    let expected: Vec<usize> = (0..300).filter(|i| i % 3 == 2).collect();
    assert_eq!(e.panics.iter().map(|p| p.0).collect::<Vec<_>>(), expected, "{what}");
    assert!(e.panics.iter().all(|p| p.1 == "no data beyond 1"), "{what}");
    assert_eq!((e.y1.len(), e.saved.len(), e.reports.len()), (300, 600, 300));
    for i in 0..300 {
        let (y1, saved) = (e.y1[i], &e.saved[2 * i..2 * i + 2]);
        match alone(i) {
            Some(y) => {
                assert_eq!((&[y1, saved[0], saved[1]][..], e.reports[i].stop), (&y[..], OdeStop::Finished))
            }
            None => {
                // What was reached before stays.
                assert!(y1.is_nan() && saved[1].is_nan() && !saved[0].is_nan(), "{what} {i}: {y1} {saved:?}");
                assert_eq!(e.reports[i].stop, OdeStop::Panicked);
            }
        }
    }
}

fn with_threads<R: Send>(f: impl Fn() -> R + Sync) -> [R; 3] {
    [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(&f)
    })
}

#[test]
fn a_trajectory_that_panics_leaves_the_others_alone() {
    // Steps of at most 0.1: the save point at 0.3 lies well before the edge at 2/3.
    let o = Options { max_step: 0.1, ..Options::default() };
    let (y0, p, times) = (vec![0.0; 300], slopes(), [0.3, 1.0]);
    let each = Params::Each(&p);
    let field = || Edge { spoilt: false };
    let stiff = || field().with_jacobian(|_: f64, _: &[f64], _: &[f64], j: &mut [f64]| j[0] = 0.0);
    let result = |s: Result<Solution<f64>, OdeError>| match s {
        Ok(s) => Some([&s.y1, s.states()].concat()),
        Err(e) => {
            assert_eq!(e, OdeError::FieldPanicked { message: "no data beyond 1".into() });
            None
        }
    };
    let plain = with_threads(|| solve_ensemble(&TSIT54, &o, field, SPAN, &y0, each, &times).unwrap());
    let lanes = with_threads(|| solve_lanes(&TSIT54, &o, &field(), SPAN, &y0, each, &times).unwrap());
    let alone = |i: usize| result(solve(&mut field(), &TSIT54, &o, SPAN, &[0.0], &p[i..=i], &times));
    for e in plain.iter().chain(&lanes) {
        check_ensemble("explicit", e, alone);
        assert_eq!((&e.reports, &e.panics), (&plain[0].reports, &plain[0].panics));
        assert!(e.failed().count() == 100 && e.reports[2].message().contains("panicked"));
    }
    let alone = |i: usize| result(solve(&mut stiff(), &RODAS4, &o, SPAN, &[0.0], &p[i..=i], &times));
    for e in &with_threads(|| solve_ensemble(&RODAS4, &o, stiff, SPAN, &y0, each, &times).unwrap()) {
        check_ensemble("stiff", e, alone);
    }

    let o = Options { max_step: 0.1, ..Options::noisy() };
    let path = Brownian::new(9);
    let quiet = || FnMap::new(1, 0, |_, _: &[f64], _: &[f64], g: &mut [f64]| g[0] = 1e-9);
    let sde = || Sde::new(field(), quiet(), Noise::Diagonal).unwrap();
    let alone = |i: usize| {
        let path = path.trajectories_from(i as u32);
        match solve(sde().follow(path), &SOSRI, &o, SPAN, &[0.0], &p[i..=i], &times) {
            Ok(s) => Some([&s.y1, s.states()].concat()),
            Err(_) => None,
        }
    };
    let all =
        with_threads(|| solve_ensemble(&SOSRI, &o, || sde().along(path), SPAN, &y0, each, &times).unwrap());
    for e in &all {
        check_ensemble("stochastic", e, alone);
        assert!(e.failed().count() == 100 && e.reports[2].message().contains("panicked"));
    }
    // A diffusion that panics, everywhere.
    let bad = || {
        let g = FnMap::new(1, 0, |_, _: &[f64], _: &[f64], _: &mut [f64]| panic!("no noise"));
        Sde::new(field(), g, Noise::Diagonal).unwrap()
    };
    let e = solve_ensemble(&SOSRI, &o, || bad().along(path), SPAN, &y0[..20], Params::Shared(&[0.0]), &[])
        .unwrap();
    assert!(e.panics.len() == 20 && e.panics.iter().all(|p| p.1 == "no noise") && e.y1[0].is_nan());
}

#[test]
fn a_field_that_cannot_be_made_is_an_error() {
    let o = Options::default();
    let (y0, p) = ([0.0; 40], Params::Shared(&[0.1][..]));
    let make = || -> Edge { panic!("no field today") };
    let stiff = || -> Differences<Edge> { panic!("no field today") };
    let error = |e: Result<Ensemble<f64>, OdeError>| {
        assert_eq!(e.map(|_| ()).unwrap_err(), OdeError::FieldPanicked { message: "no field today".into() });
    };
    error(solve_ensemble(&TSIT54, &o, make, SPAN, &y0, p, &[]));
    error(solve_ensemble(&RODAS4, &o, stiff, SPAN, &y0, p, &[]));
    // Only the first can be made: sizes are known, the workers' fields are not.
    let made = std::sync::atomic::AtomicUsize::new(0);
    let once = || {
        assert!(made.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0, "no field today");
        Edge { spoilt: false }
    };
    error(solve_ensemble(&TSIT54, &o, once, SPAN, &y0, p, &[]));
    type Equation = Sde<Edge, FnMap<fn(f64, &[f64], &[f64], &mut [f64])>>;
    let sde = || -> Equation { panic!("no field today") };
    let e = solve_ensemble(&SOSRI, &Options::noisy(), || sde().along(Brownian::new(1)), SPAN, &y0, p, &[]);
    assert_eq!(e.map(|_| ()).unwrap_err(), OdeError::FieldPanicked { message: "no field today".into() });
}
