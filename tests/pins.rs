//! Pins the work of differential equations: steps, rejections, evaluations and derivatives of some eighty runs, one for every method and kind of pass.
//!
//! As in `work_snapshot.rs` a count may be off by 20 % or by 3, whichever is more, because kernels round differently on other processors.
//! `COSTATE_BLESS=1` rewrites the file after a change that is meant. `COSTATE_PIN_BITS=FILE` writes a hash of the final bits of every run to a file:
//! two builds on one machine can be compared by it, bit for bit.

mod common;
#[path = "common/stiff.rs"]
mod stiff;

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use costate::adjoint::{Adjoint, Bars, Memory, SdeAdjoint, StiffAdjoint};
use costate::diff::{Differences, FnMap, Formula, Map, Number, Size};
use costate::expr::{formula, record};
use costate::linalg::Scalar;
use costate::nn::{Activation, Chain, Mlp, Parallel, Power};
use costate::ode::*;
use costate::sde::*;
use costate::train::*;

const HEADER: &str = "run,steps,rejected,evaluations,derivatives";

/// One run: what it took, and a hash of what came out.
struct Pin {
    name: String,
    counts: [u64; 4],
    bits: u64,
}

#[derive(Default)]
struct Pins(Vec<Pin>);

impl Pins {
    /// Vectors as they are hashed: FNV-1a over the bits of each number in double precision, which is exact.
    fn add<T: Scalar>(&mut self, name: impl Into<String>, counts: [u64; 4], results: &[&[T]]) {
        let mut bits = 0xcbf2_9ce4_8422_2325u64;
        for byte in results.iter().flat_map(|r| r.iter()).flat_map(|v| v.f64().to_bits().to_le_bytes()) {
            bits = (bits ^ byte as u64).wrapping_mul(0x0100_0000_01b3);
        }
        self.0.push(Pin { name: name.into(), counts, bits });
    }
}

fn of(c: &OdeCounts) -> [u64; 4] {
    [c.accepted, c.rejected, c.evals, c.jacobians + c.pullbacks]
}

fn of_sde(c: &OdeCounts) -> [u64; 4] {
    [c.accepted, c.rejected, c.evals + c.diffusions, c.pullbacks]
}

fn times<T: Scalar>(end: f64) -> Vec<T> {
    [0.0, 0.13, 0.5, 0.51, 0.97].iter().map(|s| T::of(s * end)).collect()
}

fn list<T: Scalar>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&v| T::of(v)).collect()
}

fn lotka_volterra<T: Scalar>(_: T, y: &[T], p: &[T], dy: &mut [T]) {
    dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
    dy[1] = -p[2] * y[1] + p[3] * y[0] * y[1];
}

fn lotka_volterra_pullback<T: Scalar>(_: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
    y_bar[0] += w[0] * (p[0] - p[1] * y[1]) + w[1] * p[3] * y[1];
    y_bar[1] += -w[0] * p[1] * y[0] + w[1] * (p[3] * y[0] - p[2]);
    p_bar[0] += w[0] * y[0];
    p_bar[1] -= w[0] * y[0] * y[1];
    p_bar[2] -= w[1] * y[1];
    p_bar[3] += w[1] * y[0] * y[1];
}

fn lorenz<T: Scalar>(_: T, y: &[T], p: &[T], dy: &mut [T]) {
    dy[0] = p[0] * (y[1] - y[0]);
    dy[1] = y[0] * (p[1] - y[2]) - y[1];
    dy[2] = y[0] * y[1] - p[2] * y[2];
}

/// A chain of ten coupled, forced springs: longer than the short kernels.
fn springs<T: Scalar>(t: T, y: &[T], p: &[T], dy: &mut [T]) {
    let (q, v) = y.split_at(10);
    dy[..10].copy_from_slice(v);
    for i in 0..10 {
        let left = if i > 0 { q[i - 1] } else { t / (T::ONE + t * t) };
        let right = if i < 9 { q[i + 1] } else { T::ZERO };
        dy[10 + i] = p[0] * (left - q[i]) + p[1] * (right - q[i]) - T::of(0.1) * q[i] * q[i] * q[i];
    }
}

fn springs_start<T: Scalar>() -> Vec<T> {
    (0..20).map(|i| T::of(0.1 * (i as f64 * 1.7).sin())).collect()
}

const LV: [f64; 4] = [1.5, 1.0, 3.0, 1.0];
const LORENZ: [f64; 3] = [10.0, 28.0, 8.0 / 3.0];

fn explicit<T: Scalar>(pins: &mut Pins, kind: &str, tol: f64) {
    for method in Tableau::all() {
        let o = Options::tolerances(tol, tol);
        let mut run = |name: &str,
                       f: fn(T, &[T], &[T], &mut [T]),
                       y0: &[T],
                       p: &[f64],
                       end: f64,
                       o: &Options| {
            let mut field = FnMap::new(y0.len(), p.len(), f);
            let (span, p, at) = ((T::ZERO, T::of(end)), list::<T>(p), times(end));
            let s = solve(&mut field, method, o, span, y0, &p, &at).unwrap();
            assert!(s.report.ok(), "{name}: {}", s.report.message());
            pins.add(format!("{name} {kind} {}", method.name), of(&s.report.counts), &[&s.y1, s.states()]);
        };
        run("lotka-volterra", lotka_volterra, &list(&[1.0, 1.0]), &LV, 10.0, &o);
        run("lorenz", lorenz, &list(&[1.0, 0.0, 0.0]), &LORENZ, 2.0, &o);
        run(
            "springs",
            springs,
            &springs_start(),
            &[2.0, 3.0],
            5.0,
            &Options { norm: Norm::Max, ..o.clone() },
        );
    }
}

fn nystrom(pins: &mut Pins) {
    let mut field = SecondOrder::new(FnMap::new(2, 0, |_t, q: &[f64], _p: &[f64], a: &mut [f64]| {
        let r = (q[0] * q[0] + q[1] * q[1]).sqrt();
        (a[0], a[1]) = (-q[0] / (r * r * r), -q[1] / (r * r * r));
    }));
    let y0 = [1.0, 0.0, 0.0, 1.2, 0.9, 0.1, 0.0, 1.1];
    let o = Options::tolerances(1e-8, 1e-8);
    for (batch, method) in [(1, &DPRKN64), (2, &DPRKN64), (2, &TSIT54)] {
        let s = solve(&mut field, method, &o, (0.0, 6.0), &y0[..4 * batch], &[], &times(6.0)).unwrap();
        pins.add(format!("orbit {} x {batch}", method.name), of(&s.report.counts), &[&s.y1, s.states()]);
    }
}

fn symplectic(pins: &mut Pins) {
    let henon_heiles = record(2, 1, |_, q, p, a| {
        (a[0], a[1]) = (-p[0] * q[0] - 2.0 * q[0] * q[1], q[1] * q[1] - q[1] - q[0] * q[0]);
    });
    let mut field = SecondOrder::new(henon_heiles.unwrap().into_map());
    let (y0, o, mut g) = ([0.1, -0.2, 0.35, 0.1], Options::fixed(0.05), [0.0; 5]);
    for method in SymplecticTableau::all() {
        let s = solve(&mut field, method, &o, (0.0, 8.0), &y0, &[1.0], &times(8.0)).unwrap();
        pins.add(format!("henon-heiles {}", method.name), of(&s.report.counts), &[&s.y1, s.states()]);
        let mut solver = Adjoint::new(method, 4, 1, &o, Memory::Checkpoints(5)).unwrap();
        solver.forward(&mut field, (0.0, 8.0), &y0, &[1.0], &mut ()).unwrap();
        let (y0_bar, p_bar) = g.split_at_mut(4);
        let bars = Bars { y1: &[1.0, 0.5, 0.2, -0.1], ..Bars::default() };
        let counts = solver.reverse(&mut field, &[1.0], &bars, y0_bar, p_bar).unwrap();
        pins.add(format!("gradient henon-heiles {}", method.name), of(&counts), &[&g]);
    }
}

fn events(pins: &mut Pins) {
    let mut ball =
        FnMap::new(2, 0, |_t, y: &[f64], _p: &[f64], dy: &mut [f64]| (dy[0], dy[1]) = (y[1], -9.81));
    let mut events =
        Events::new().when(Crossing::Falling, AtEvent::Handle, |_t, y: &[f64]| y[0]).on_event(|_, y| {
            y[1] *= -0.9;
            ControlFlow::Continue(())
        });
    let mut it = Integrator::new(&TSIT54, 2, 1, &Options::tolerances(1e-8, 1e-8)).unwrap();
    let mut save = SaveAt::new(&times(2.0));
    let r = it.run(&mut ball, (0.0, 2.0), &[1.0, 0.0], &[], &mut (&mut events, &mut save)).unwrap();
    let at: Vec<f64> = events.happened().iter().map(|e| e.t).collect();
    pins.add("bouncing ball", of(&r.counts), &[it.y(), save.states(), &at]);
    let mut stop = Events::new().when(Crossing::Any, AtEvent::Stop, |_t, y: &[f64]| y[0] - 3.0);
    let mut it = Integrator::new(&DOP853, 2, 1, &Options::tolerances(1e-9, 1e-9)).unwrap();
    let mut field = FnMap::new(2, 4, lotka_volterra::<f64>);
    let r = it.run(&mut field, (0.0, 10.0), &[1.0, 1.0], &LV, &mut stop).unwrap();
    pins.add("stop", of(&r.counts), &[it.y(), &[r.t]]);
}

struct Robertson;

impl Formula<f64> for Robertson {
    fn size(&self) -> Size {
        Size::field(3, 3)
    }
    fn eval<D: Number<f64>>(&self, _t: D, y: &[D], p: &[D], dy: &mut [D]) {
        let (a, b, c) = (p[0] * y[0], p[1] * y[1] * y[2], p[2] * y[1] * y[1]);
        (dy[0], dy[1], dy[2]) = (b - a, a - b - c, c);
    }
}

/// y' = -p (y - cos t) - sin t: the time derivative counts.
fn forced(t: f64, y: &[f64], p: &[f64], dy: &mut [f64]) {
    dy[0] = -p[0] * (y[0] - t.cos()) - t.sin();
}

fn stiff_runs(pins: &mut Pins) {
    for method in RosenbrockTableau::all() {
        for name in ["robertson", "vdp 1e3", "hires"] {
            let pr = stiff::Stiff::by_name(name);
            let mut f = FnMap::new(pr.n, pr.p.len(), pr.f).with_jacobian(pr.jac).autonomous();
            let o = Options::tolerances(1e-5, 1e-9);
            let s = solve(&mut f, method, &o, (0.0, pr.t1), pr.y0, pr.p, &times(pr.t1)).unwrap();
            pins.add(format!("{name} {}", method.name), of(&s.report.counts), &[&s.y1, s.states()]);
        }
    }
    let (o, at) = (Options::tolerances(1e-6, 1e-6), times(2.0));
    let mut f = Differences::of(FnMap::new(1, 1, forced));
    let s = solve(&mut f, &RODAS5P, &o, (0.0, 2.0), &[1.0, 0.5, 2.0], &[1e4], &at).unwrap();
    pins.add("forced x 3 differences", of(&s.report.counts), &[&s.y1, s.states()]);
    let pull = FnMap::new(2, 4, lotka_volterra::<f64>).with_vjp(lotka_volterra_pullback);
    let mut f = pull.autonomous();
    let s = solve(&mut f, &RODAS4, &o, (0.0, 5.0), &[1.0; 4], &LV, &times(5.0)).unwrap();
    pins.add("lotka-volterra x 2 rows", of(&s.report.counts), &[&s.y1, s.states()]);
    let (y0, p) = ([1.0, 0.0, 0.0], [0.04, 1e4, 3e7]);
    let s = solve(&mut formula(Robertson).unwrap(), &RODAS3P, &o, (0.0, 1e4), &y0, &p, &[]).unwrap();
    pins.add("robertson formula", of(&s.report.counts), &[&s.y1]);
    let pr = stiff::Stiff::by_name("vdp 1e3");
    let mut f = FnMap::new(2, 1, pr.f).with_jacobian(pr.jac).autonomous();
    let mut auto = Auto::new(&TSIT54, &RODAS5P, 2, 1, &Options::tolerances(1e-6, 1e-9)).unwrap();
    let r = auto.run(&mut f, (0.0, 2e3), pr.y0, pr.p, &mut ()).unwrap();
    let at: Vec<f64> = auto.switches().iter().map(|s| s.t).collect();
    pins.add("vdp 1e3 auto", of(&r.counts), &[auto.y(), &at]);
    let make = || {
        let f = FnMap::new(1, 1, forced);
        f.with_jacobian(|_t, _y: &[f64], p: &[f64], jac: &mut [f64]| jac[0] = -p[0])
    };
    let rates: Vec<f64> = (0..40).map(|i| 10f64.powf(0.2 * i as f64)).collect();
    let s =
        solve_ensemble(&RODAS5P, &o, make, (0.0, 2.0), &[1.0; 40], Params::Each(&rates), &at[..0]).unwrap();
    pins.add("stiff ensemble", of(&s.counts()), &[&s.y1]);
}

struct LorenzLanes;

impl Formula<f64> for LorenzLanes {
    fn size(&self) -> Size {
        Size::field(3, 3)
    }
    #[inline(always)]
    fn eval<E: Number<f64>>(&self, _t: E, y: &[E], p: &[E], dy: &mut [E]) {
        dy[0] = p[0] * (y[1] - y[0]);
        dy[1] = y[0] * (p[1] - y[2]) - y[1];
        dy[2] = y[0] * y[1] - p[2] * y[2];
    }
}

fn ensembles(pins: &mut Pins) {
    let y0: Vec<f64> = (0..37).flat_map(|i| [1.0 + 0.1 * i as f64, 0.0, 0.0]).collect();
    let (o, at) = (Options::tolerances(1e-6, 1e-6), times(1.0));
    for method in [&TSIT54, &VERN76] {
        let make = || FnMap::new(3, 3, lorenz::<f64>);
        let s = solve_ensemble(method, &o, make, (0.0, 1.0), &y0, Params::Shared(&LORENZ), &at).unwrap();
        pins.add(format!("ensemble {}", method.name), of(&s.counts()), &[&s.y1, &s.saved]);
        let s = solve_lanes(method, &o, &LorenzLanes, (0.0, 1.0), &y0, Params::Shared(&LORENZ), &at).unwrap();
        pins.add(format!("lanes {}", method.name), of(&s.counts()), &[&s.y1, &s.saved]);
    }
}

/// dy_i = -p0 y_i + p1 (y_1 y_2)^(1/2) ..: three components, drift with two parameters.
fn drift<T: Scalar>(t: T, y: &[T], p: &[T], dy: &mut [T]) {
    for i in 0..3 {
        dy[i] = -p[0] * y[i] + p[1] * y[(i + 1) % 3] + T::of(0.1) * t;
    }
}

fn drift_pullback<T: Scalar>(_: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
    for i in 0..3 {
        y_bar[i] -= p[0] * w[i];
        y_bar[(i + 1) % 3] += p[1] * w[i];
        p_bar[0] -= y[i] * w[i];
        p_bar[1] += y[(i + 1) % 3] * w[i];
    }
}

fn noise<T: Scalar>(_: T, y: &[T], p: &[T], g: &mut [T]) {
    g.iter_mut().zip(y).for_each(|(g, y)| *g = p[0] * *y);
}

fn noise_pullback<T: Scalar>(_: T, y: &[T], p: &[T], w: &[T], y_bar: &mut [T], p_bar: &mut [T]) {
    for i in 0..3 {
        y_bar[i] += p[0] * w[i];
        p_bar[0] += y[i] * w[i];
    }
}

fn constant<T: Scalar>(_: T, _: &[T], p: &[T], g: &mut [T]) {
    g.iter_mut().enumerate().for_each(|(i, g)| *g = p[0] * T::of(0.3 + 0.1 * i as f64));
}

fn stochastic<T: Scalar>(pins: &mut Pins, kind: &str) {
    for method in SdeMethod::all() {
        let o = if method.is_adaptive() {
            Options::noisy().with_tolerances(1e-2, 1e-2)
        } else {
            Options::noisy().with_fixed_step(0.05)
        };
        let (y0, p) = (list::<T>(&[1.0, 0.5, 2.0, 0.7, 1.2, 0.1]), list::<T>(&[2.0, 0.7, 0.4]));
        let (span, at) = ((T::ZERO, T::ONE), times(1.0));
        let additive = method.suits == Suits::Additive;
        let drift = FnMap::new(3, 2, drift::<T>);
        let (s, form) = if additive {
            let g = FnMap::with_outputs(3, 6, 1, constant::<T>);
            let mut sde = Sde::new(drift, g, Noise::Matrix(2)).unwrap().additive();
            (solve(sde.follow(Brownian::new(7)), method, &o, span, &y0, &p, &at).unwrap(), "additive")
        } else {
            let g = FnMap::new(3, 1, noise::<T>);
            let mut sde = Sde::new(drift, g, Noise::Diagonal).unwrap();
            (solve(sde.follow(Brownian::new(7)), method, &o, span, &y0, &p, &at).unwrap(), "diagonal")
        };
        pins.add(
            format!("sde {form} {kind} {}", method.name),
            of_sde(&s.report.counts),
            &[&s.y1, s.states()],
        );
    }
}

fn stochastic_more(pins: &mut Pins) {
    // Two columns that commute: g_1 = a y, g_2 = b y.
    let columns = |_t: f64, y: &[f64], p: &[f64], g: &mut [f64]| {
        for i in 0..3 {
            (g[i], g[3 + i]) = (p[0] * y[i], 0.5 * p[0] * y[i]);
        }
    };
    let g = FnMap::with_outputs(3, 6, 1, columns);
    let mut sde = Sde::new(FnMap::new(3, 2, drift::<f64>), g, Noise::Matrix(2)).unwrap().commutative();
    let (y0, p, at) = ([1.0, 0.5, 2.0], [2.0, 0.7, 0.4], times(1.0));
    let s = solve(
        sde.follow(Brownian::new(3)),
        &MILSTEIN,
        &Options::noisy().with_fixed_step(0.05),
        (0.0, 1.0),
        &y0,
        &p,
        &at,
    );
    let s = s.unwrap();
    pins.add("sde columns milstein", of_sde(&s.report.counts), &[&s.y1, s.states()]);
    let make = || {
        let g = FnMap::new(3, 1, noise::<f64>);
        Sde::new(FnMap::new(3, 2, drift::<f64>), g, Noise::Scalar).unwrap()
    };
    let (starts, o, path) = (y0.repeat(20), Options::noisy().with_tolerances(1e-2, 1e-2), Brownian::new(9));
    let s = solve_ensemble(&SRIW1, &o, || make().along(path), (0.0, 1.0), &starts, Params::Shared(&p), &at)
        .unwrap();
    pins.add("sde ensemble", of_sde(&s.counts()), &[&s.y1, &s.saved]);
}

fn memories() -> [Memory; 4] {
    [Memory::Stages, Memory::States, Memory::Every(3), Memory::Checkpoints(4)]
}

/// A gradient with bars on everything: end, save points, errors, stiffness.
fn gradient<T: Scalar, F: Map<T>>(
    pins: &mut Pins,
    name: &str,
    field: &mut F,
    (method, memory): (&'static Tableau, Memory),
    (y0, p, end): (&[T], &[T], f64),
) {
    let o = Options::tolerances(1e-6, 1e-6);
    let (dim, at) = (field.inputs(), times::<T>(end));
    let mut solver = Adjoint::new(method, dim, y0.len() / dim, &o, memory).unwrap();
    let mut save = SaveAt::new(&at);
    let r = solver.forward(field, (T::ZERO, T::of(end)), y0, p, &mut save).unwrap();
    let steps = r.counts.accepted as usize;
    let bar = |n: usize| (0..n).map(|i| T::of(0.3 + (i as f64).sin())).collect::<Vec<T>>();
    let (y1, saved, error, s) = (bar(y0.len()), bar(y0.len() * at.len()), bar(steps), bar(steps));
    let bars = Bars { y1: &y1, times: &at, saved: &saved, error: &error, stiffness: &s };
    let (mut y0_bar, mut p_bar) = (vec![T::ZERO; y0.len()], vec![T::ZERO; p.len()]);
    let counts = solver.reverse(field, p, &bars, &mut y0_bar, &mut p_bar).unwrap();
    let label = format!("gradient {name} {} {memory:?}", method.name);
    pins.add(label, of(&counts), &[solver.y(), save.states(), &y0_bar, &p_bar]);
}

fn gradients(pins: &mut Pins) {
    let mut f = FnMap::new(2, 4, lotka_volterra::<f64>).with_vjp(lotka_volterra_pullback);
    for memory in memories() {
        gradient(pins, "lotka-volterra", &mut f, (&TSIT54, memory), (&[1.0, 1.0], &LV, 3.0));
    }
    gradient(
        pins,
        "lotka-volterra x 2",
        &mut f,
        (&DOP853, Memory::States),
        (&[1.0, 1.0, 1.1, 0.9], &LV, 3.0),
    );
    gradient(pins, "lotka-volterra", &mut f, (&BS32, Memory::Stages), (&[1.0, 1.0], &LV, 1.0));
    let mut f = FnMap::new(2, 4, lotka_volterra::<f32>).with_vjp(lotka_volterra_pullback);
    gradient(pins, "lotka-volterra f32", &mut f, (&VERN76, Memory::States), (&[1.0, 1.0], &list(&LV), 3.0));
    let orbit = FnMap::new(1, 1, |_t, q: &[f64], p: &[f64], a: &mut [f64]| a[0] = -p[0] * q[0] * q[0] * q[0])
        .with_vjp(|_t, q: &[f64], p: &[f64], w: &[f64], qb: &mut [f64], pb: &mut [f64]| {
            qb[0] -= 3.0 * p[0] * q[0] * q[0] * w[0];
            pb[0] -= q[0] * q[0] * q[0] * w[0];
        });
    let mut f = SecondOrder::new(orbit);
    gradient(pins, "duffing x 2", &mut f, (&DPRKN64, Memory::States), (&[1.0, 0.0, 0.5, 0.2], &[2.0], 3.0));
    let mlp = Mlp::dense(&[2, 12, 2], Activation::Tanh, Activation::Identity, true).unwrap();
    let map = Chain::new(Power { dim: 2, exponent: 3 }, Parallel::new(mlp, 3)).unwrap();
    let mut f = map;
    let p: Vec<f64> = (0..f.n_params()).map(|i| 0.3 * (i as f64 * 0.7).sin()).collect();
    let y0: Vec<f64> = (0..16).map(|i| (i as f64).cos()).collect();
    for memory in memories() {
        gradient(pins, "network x 8", &mut f, (&TSIT54, memory), (&y0, &p, 1.0));
    }
}

fn stiff_gradient<F: Map<f64>>(
    pins: &mut Pins,
    name: &str,
    field: &mut F,
    (method, memory): (&'static RosenbrockTableau, Memory),
    (y0, p, end): (&[f64], &[f64], f64),
) {
    let o = Options::tolerances(1e-6, 1e-8);
    let (dim, at) = (field.inputs(), times::<f64>(end));
    let mut solver = StiffAdjoint::new(method, dim, y0.len() / dim, &o, memory).unwrap();
    let mut save = SaveAt::new(&at);
    let r = solver.forward(field, (0.0, end), y0, p, &mut save).unwrap();
    let bar = |n: usize| (0..n).map(|i| 0.3 + (i as f64).sin()).collect::<Vec<f64>>();
    let steps = r.counts.accepted as usize;
    let (y1, saved, error, s) = (bar(y0.len()), bar(y0.len() * at.len()), bar(steps), bar(steps));
    let bars = Bars { y1: &y1, times: &at, saved: &saved, error: &error, stiffness: &s };
    let (mut y0_bar, mut p_bar) = (vec![0.0; y0.len()], vec![0.0; p.len()]);
    let counts = solver.reverse(field, p, &bars, &mut y0_bar, &mut p_bar).unwrap();
    let label = format!("gradient {name} {} {memory:?}", method.name);
    pins.add(label, of(&counts), &[solver.y(), save.states(), &y0_bar, &p_bar]);
}

fn stiff_gradients(pins: &mut Pins) {
    let p = [0.04, 1e4, 3e7];
    for memory in [Memory::Stages, Memory::States] {
        let mut f = formula(Robertson).unwrap();
        stiff_gradient(pins, "robertson formula", &mut f, (&RODAS5P, memory), (&[1.0, 0.0, 0.0], &p, 100.0));
    }
    let pull = || FnMap::new(2, 4, lotka_volterra::<f64>).with_vjp(lotka_volterra_pullback);
    let jacobian = |_t: f64, y: &[f64], p: &[f64], j: &mut [f64]| {
        j.copy_from_slice(&[p[0] - p[1] * y[1], p[3] * y[1], -p[1] * y[0], p[3] * y[0] - p[2]]);
    };
    let mut f = pull().with_jacobian(jacobian);
    stiff_gradient(
        pins,
        "lv x 2 jacobian",
        &mut f,
        (&RODAS4, Memory::Every(3)),
        (&[1.0, 1.0, 0.9, 1.1], &LV, 3.0),
    );
    let mut f = pull().autonomous();
    stiff_gradient(pins, "lv rows", &mut f, (&RODAS3P, Memory::Checkpoints(3)), (&[1.0, 1.0], &LV, 1.0));
}

fn stochastic_gradients(pins: &mut Pins) {
    let (y0, p, at) = ([1.0, 0.5, 2.0, 0.7, 1.2, 0.1], [2.0, 0.7, 0.4], times::<f64>(1.0));
    for (method, shape, memory) in [
        (&SOSRI2, Noise::Diagonal, Memory::Stages),
        (&SOSRI, Noise::Scalar, Memory::States),
        (&SRIW1, Noise::Diagonal, Memory::Every(3)),
    ] {
        let drift = FnMap::new(3, 2, drift::<f64>).with_vjp(drift_pullback);
        let g = FnMap::with_outputs(3, shape.len(3), 1, noise::<f64>).with_vjp(noise_pullback);
        let mut sde = Sde::new(drift, g, shape).unwrap();
        let o = Options::noisy().with_tolerances(1e-2, 1e-2);
        let mut solver = SdeAdjoint::new(method, 3, 2, &o, memory).unwrap();
        let mut save = SaveAt::new(&at);
        let r = solver.forward(sde.follow(Brownian::new(5)), (0.0, 1.0), &y0, &p, &mut save).unwrap();
        let bar = |n: usize| (0..n).map(|i| 0.3 + (i as f64).sin()).collect::<Vec<f64>>();
        let steps = r.counts.accepted as usize;
        let (y1, saved, error, s) = (bar(6), bar(6 * at.len()), bar(steps), bar(steps));
        let bars = Bars { y1: &y1, times: &at, saved: &saved, error: &error, stiffness: &s };
        let (mut y0_bar, mut p_bar) = ([0.0; 6], [0.0; 3]);
        let counts = solver.reverse(&mut sde, &p, &bars, &mut y0_bar, &mut p_bar).unwrap();
        let label = format!("gradient sde {} {memory:?}", method.name);
        pins.add(label, of_sde(&counts), &[solver.y(), save.states(), &y0_bar, &p_bar]);
    }
}

const TRAINING: [(&str, &str, &str); 5] = [
    ("spiral_ode", "hidden = 10", "jacobian"),
    ("mnist_ode", "train = 60\ntest = 20\nhidden = 8\npiece = 7", "jacobian"),
    ("spiral_sde", "trajectories = 20\nhidden = 8\npiece = 6\npaths = 500", "error_squared"),
    ("mnist_sde", "train = 60\ntest = 20\nstate = 12\nhidden = 16\npiece = 7", "stiffness"),
    (
        "latent_ode",
        "train = 12\ntest = 4\nrecurrent = 5\nlatent = 3\nhidden = 4\npiece = 3\nsigma = 0.3",
        "error",
    ),
];

/// One epoch, with a penalty along the path and one on a single sampled step.
fn training<T: Scalar>(pins: &mut Pins, (kind, keys, penalty): (&str, &str, &str)) {
    let noisy = kind.ends_with("sde");
    let (tol, method) = if noisy { (0.1, "method = \"sosri2\"") } else { (1e-4, "") };
    let text = format!(
        "[task]\nkind = \"{kind}\"\n{keys}\n[solver]\n{method}\nrtol = {tol}\natol = {tol}\nsteer = 0.3\n\
         [train]\nepochs = 1\nbatch = 20\nrate = 0.01\n[optimizer]\nkind = \"adam\"\n\
         [[penalty]]\nkind = \"{penalty}\"\nweight = 0.01\n\
         [[penalty]]\nkind = \"error\"\nscope = \"local_unbiased\"\nweight = 0.01\n"
    );
    let config: Config = toml::from_str(&text).unwrap();
    config.check().unwrap();
    let mut task = config.build::<T>(Path::new("")).unwrap();
    let mut state = State::new(&*task, &config.optimizer, 1);
    let (mut counts, mut losses) = ([0; 4], vec![]);
    let stop = train(&mut *task, &config.train, &mut state, &mut |event, _| {
        if let TrainEvent::Step(r) = event {
            counts[0] += r.pass.accepted;
            counts[1] += r.pass.rejected;
            counts[2] += r.pass.nfe;
            losses.push(T::of(r.pass.loss));
        }
        Ok(ControlFlow::Continue(()))
    });
    assert_eq!(stop.unwrap(), TrainStop::Finished);
    let found = task.evaluate(state.params.values(), Split::Test).unwrap().loss;
    pins.add(format!("train {kind}"), counts, &[state.params.values(), &losses, &[T::of(found)]]);
}

fn measure() -> Vec<Pin> {
    let mut pins = Pins::default();
    explicit::<f64>(&mut pins, "f64", 1e-6);
    explicit::<f32>(&mut pins, "f32", 1e-4);
    nystrom(&mut pins);
    symplectic(&mut pins);
    events(&mut pins);
    stiff_runs(&mut pins);
    ensembles(&mut pins);
    stochastic::<f64>(&mut pins, "f64");
    stochastic::<f32>(&mut pins, "f32");
    stochastic_more(&mut pins);
    gradients(&mut pins);
    stiff_gradients(&mut pins);
    stochastic_gradients(&mut pins);
    training::<f64>(&mut pins, TRAINING[0]);
    TRAINING[1..].iter().for_each(|&task| training::<f32>(&mut pins, task));
    pins.0
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pins.csv")
}

/// Off by more than 20 % and more than 3.
fn differs(found: u64, pinned: u64) -> bool {
    let off = found.abs_diff(pinned);
    off > 3 && 5 * off > pinned
}

#[test]
fn work_is_as_pinned() {
    let found = measure();
    if let Some(file) = std::env::var_os("COSTATE_PIN_BITS") {
        let mut text = String::new();
        for Pin { name, counts, bits } in &found {
            writeln!(text, "{name},{counts:?},{bits:016x}").unwrap();
        }
        std::fs::write(file, text).unwrap();
    }
    if std::env::var_os("COSTATE_BLESS").is_some() {
        let mut text = format!("{HEADER}\n");
        for Pin { name, counts: [a, b, c, d], .. } in &found {
            writeln!(text, "{name},{a},{b},{c},{d}").unwrap();
        }
        return std::fs::write(path(), text).unwrap();
    }
    let text = std::fs::read_to_string(path()).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(HEADER));
    let mut wrong = vec![];
    for pin in &found {
        let line = lines.next().unwrap_or_default();
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields[0], pin.name, "COSTATE_BLESS=1 rewrites the file");
        for (k, what) in ["steps", "rejections", "evaluations", "derivatives"].iter().enumerate() {
            let pinned: u64 = fields[k + 1].parse().unwrap();
            if differs(pin.counts[k], pinned) {
                wrong.push(format!("{}: {} {what}, pinned are {pinned}", pin.name, pin.counts[k]));
            }
        }
    }
    assert_eq!(lines.next(), None);
    assert!(wrong.is_empty(), "{}\nCOSTATE_BLESS=1 rewrites the file", wrong.join("\n"));
}

#[test]
fn twice_the_work_fails() {
    let text = std::fs::read_to_string(path()).unwrap();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let count = |k: usize| fields[k].parse::<u64>().unwrap();
        // Of every run at least one count is large enough to tell: evaluations, or under Memory::Stages derivatives.
        let most = count(3).max(count(4));
        assert!(most >= 4 && differs(2 * most, most) && differs(most / 5, most), "{line}");
    }
}
