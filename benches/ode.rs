//! Explicit differential equations against peers on the same machine, and neural ODE gradients.
//!
//!     cargo bench --bench ode                  # criterion
//!     cargo bench --bench ode -- --ratios      # work-precision table: times, errors, ratios at equal error
//!     cargo bench --bench ode -- --ratios --explicit    # of it, Lotka-Volterra and Pleiades only (also --lorenz, --neural)
//!
//! The neural problems need the fixtures in ../shared/data/nde (or COSTATE_SHARED) and are skipped without them.

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use costate::adjoint::{Adjoint, Bars, Memory};
use costate::diff::{FnMap, Formula, Map, Number, Size};
use costate::nn::{Activation, Chain, Mlp, Power};
use costate::ode::*;
use criterion::Criterion;
use differential_equations::prelude::{ExplicitRungeKutta, IVP, ODE};
use diffsol::{NalgebraMat, OdeBuilder, OdeSolverMethod, OdeSolverStopReason};
use ode_solvers::{Dop853, Dopri5, OutputType, SVector, System};

/// A problem in the three libraries' forms: static dimension for the peers.
struct Problem<const N: usize> {
    name: &'static str,
    f: fn(f64, &[f64], &[f64], &mut [f64]),
    p: &'static [f64],
    y0: [f64; N],
    t1: f64,
}

#[derive(Clone, Copy)]
struct Peer<const N: usize> {
    f: fn(f64, &[f64], &[f64], &mut [f64]),
    p: &'static [f64],
}

macro_rules! peers {
    ($($n:literal => $f:path),*) => { $(
        impl System<f64, SVector<f64, $n>> for Peer<$n> {
            #[inline]
            fn system(&self, t: f64, y: &SVector<f64, $n>, dy: &mut SVector<f64, $n>) {
                $f(t, y.as_slice(), self.p, dy.as_mut_slice());
            }
        }
        impl ODE<f64, [f64; $n]> for Peer<$n> {
            #[inline]
            fn diff(&self, t: f64, y: &[f64; $n], dy: &mut [f64; $n]) {
                $f(t, y, self.p, dy);
            }
        }
    )* };
}
peers!(2 => lotka_volterra, 3 => lorenz, 28 => pleiades);

#[inline(always)]
fn lotka_volterra(_: f64, y: &[f64], p: &[f64], dy: &mut [f64]) {
    dy[0] = p[0] * y[0] - p[1] * y[0] * y[1];
    dy[1] = -p[2] * y[1] + p[3] * y[0] * y[1];
}

#[inline(always)]
fn lorenz(_: f64, y: &[f64], p: &[f64], dy: &mut [f64]) {
    dy[0] = p[0] * (y[1] - y[0]);
    dy[1] = y[0] * (p[1] - y[2]) - y[1];
    dy[2] = y[0] * y[1] - p[2] * y[2];
}

#[inline(always)]
fn pleiades(_: f64, y: &[f64], _: &[f64], dy: &mut [f64]) {
    // One check of the lengths instead of one an access (the peers' are known when compiled).
    let (y, dy) = (&y[..28], &mut dy[..28]);
    dy[..14].copy_from_slice(&y[14..28]);
    for i in 0..7 {
        let (mut ax, mut ay) = (0.0, 0.0);
        for j in 0..7 {
            if i != j {
                let (dx, dz) = (y[j] - y[i], y[7 + j] - y[7 + i]);
                let r2 = dx * dx + dz * dz;
                let m = (j + 1) as f64 / (r2 * r2.sqrt());
                ax += m * dx;
                ay += m * dz;
            }
        }
        dy[14 + i] = ax;
        dy[21 + i] = ay;
    }
}

/// The same for Nystrom methods. (Written twice: as a call from `pleiades` it cost the peers 15 %.)
#[inline(always)]
fn pleiades_acceleration(_: f64, q: &[f64], _: &[f64], a: &mut [f64]) {
    let (q, a) = (&q[..14], &mut a[..14]);
    for i in 0..7 {
        let (mut ax, mut ay) = (0.0, 0.0);
        for j in 0..7 {
            if i != j {
                let (dx, dz) = (q[j] - q[i], q[7 + j] - q[7 + i]);
                let r2 = dx * dx + dz * dz;
                let m = (j + 1) as f64 / (r2 * r2.sqrt());
                ax += m * dx;
                ay += m * dz;
            }
        }
        a[i] = ax;
        a[7 + i] = ay;
    }
}

const LV: Problem<2> =
    Problem { name: "lotka-volterra", f: lotka_volterra, p: &[1.5, 1.0, 3.0, 1.0], y0: [1.0, 1.0], t1: 10.0 };
const PLEIADES: Problem<28> =
    Problem { name: "pleiades", f: pleiades, p: &[], y0: common::PLEIADES, t1: 3.0 };
const LORENZ: &[f64] = &[10.0, 28.0, 8.0 / 3.0];

/// Seconds this thread has spent on a processor (Linux), for long calls on a busy machine.
fn cpu_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? * 1e-9)
}

/// Processor seconds of the fastest of a few long calls on this thread.
fn best_cpu(mut f: impl FnMut()) -> f64 {
    f();
    (0..7)
        .map(|_| {
            let (wall, cpu) = (Instant::now(), cpu_seconds());
            f();
            match (cpu, cpu_seconds()) {
                (Some(a), Some(b)) => b - a,
                _ => wall.elapsed().as_secs_f64(),
            }
        })
        .fold(f64::INFINITY, f64::min)
}

/// Seconds of the fastest of many calls.
fn best(mut f: impl FnMut()) -> f64 {
    f();
    let start = Instant::now();
    let mut fastest = f64::INFINITY;
    let mut calls = 0;
    while calls < 20 || (start.elapsed().as_secs_f64() < 0.6 && calls < 20_000) {
        let t = Instant::now();
        f();
        fastest = fastest.min(t.elapsed().as_secs_f64());
        calls += 1;
    }
    fastest
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}

type Row = (f64, f64, f64);

/// (tolerance, error, seconds) of one solver over tolerances; `run` leaves the final state.
fn sweep(name: &str, exact: &[f64], tols: &[f64], mut run: impl FnMut(f64) -> Vec<f64>) -> Vec<Row> {
    tols.iter()
        .map(|&tol| {
            let error = distance(&run(tol), exact);
            let seconds = best(|| {
                black_box(run(tol));
            });
            println!("  {name:34} tol {tol:.0e}  error {error:.2e}  {:9.2} us", seconds * 1e6);
            (tol, error, seconds)
        })
        .collect()
}

/// Our time at this error, by interpolation in the logarithms.
fn time_at(ours: &[Row], error: f64) -> Option<f64> {
    ours.windows(2).find(|w| w[0].1 >= error && w[1].1 <= error).map(|w| {
        let s = (error / w[0].1).ln() / (w[1].1 / w[0].1).ln();
        w[0].2 * (w[1].2 / w[0].2).powf(s)
    })
}

/// Seconds at this error by local linear regression in the logarithms: the error of one tolerance is luck within a factor of a few.
fn fitted(rows: &[Row], error: f64) -> f64 {
    let [mut s, mut sx, mut sy, mut sxx, mut sxy] = [0.0; 5];
    for &(_, e, seconds) in rows.iter().filter(|r| r.1 > 0.0) {
        let (x, y) = ((e / error).ln(), seconds.ln());
        let w = (-0.5 * (x / 3.0) * (x / 3.0)).exp();
        (s, sx, sy, sxx, sxy) = (s + w, sx + w * x, sy + w * y, sxx + w * x * x, sxy + w * x * y);
    }
    ((sxx * sy - sx * sxy) / (s * sxx - sx * sx)).exp()
}

/// As the peers: everything is made anew for each integration.
fn costate<const N: usize>(
    tab: &'static Tableau,
    mut field: impl Map<f64>,
    pr: &Problem<N>,
    exact: &[f64],
    grid: &[f64],
) -> Vec<Row> {
    sweep(&format!("costate {}", tab.name), exact, grid, |tol| {
        let mut it = Integrator::new(tab, N, 1, &Options::tolerances(tol, tol)).unwrap();
        it.run(&mut field, (0.0, pr.t1), &pr.y0, pr.p, &mut ()).unwrap();
        it.y().to_vec()
    })
}

macro_rules! work_precision {
    ($problem:expr, $field:path, $acceleration:expr, $n:literal, $tols:expr, $ours5:expr, $ours8:expr) => {{
        let pr = &$problem;
        println!("{} (best of many, one core)", pr.name);
        // The tolerances asked for, and between them those of the fit.
        let grid: Vec<f64> = (0..22).map(|k| 10f64.powf(-2.5 - 0.5 * k as f64)).collect();
        let is_asked = |tol: f64| $tols.iter().any(|t: &f64| (t / tol).ln().abs() < 1e-6);
        let exact = {
            let o = Options::tolerances(1e-14, 1e-14);
            solve(&mut FnMap::new($n, pr.p.len(), $field), &DOP853, &o, (0.0, pr.t1), &pr.y0, pr.p, &[]).unwrap().y1
        };
        let peer = Peer::<$n> { f: pr.f, p: pr.p };
        let _ = peer.f;
        let y0 = SVector::<f64, $n>::from_column_slice(&pr.y0);
        let dp = sweep("ode_solvers Dopri5", &exact, &grid, |tol| {
            let mut s = Dopri5::new(peer, 0.0, pr.t1, pr.t1, y0, tol, tol);
            s.set_output(OutputType::Sparse);
            s.integrate().unwrap();
            s.y_out().last().unwrap().as_slice().to_vec()
        });
        let d8 = sweep("ode_solvers Dop853", &exact, &grid, |tol| {
            let mut s = Dop853::new(peer, 0.0, pr.t1, pr.t1, y0, tol, tol);
            s.set_output(OutputType::Sparse);
            s.integrate().unwrap();
            s.y_out().last().unwrap().as_slice().to_vec()
        });
        let de5 = sweep("differential-equations dopri5", &exact, &grid, |tol| {
            let m = ExplicitRungeKutta::dopri5().rtol(tol).atol(tol);
            let s = IVP::ode(&peer, 0.0, pr.t1, pr.y0).method(m).solve().unwrap();
            s.y.last().unwrap().to_vec()
        });
        let de8 = sweep("differential-equations dop853", &exact, &grid, |tol| {
            let m = ExplicitRungeKutta::dop853().rtol(tol).atol(tol);
            let s = IVP::ode(&peer, 0.0, pr.t1, pr.y0).method(m).solve().unwrap();
            s.y.last().unwrap().to_vec()
        });
        // diffsol's problem is made once for each tolerance; only its integrations are timed.
        let ds5 = {
            let mut built = None;
            sweep("diffsol tsit45", &exact, &grid, |tol| {
                let problem = match &built {
                    Some((t, problem)) if *t == tol => problem,
                    _ => {
                        let problem = OdeBuilder::<NalgebraMat<f64>>::new()
                            .rtol(tol)
                            .atol(vec![tol; $n])
                            .p(pr.p.to_vec())
                            .rhs(|y: &[f64], p: &[f64], t: f64, dy: &mut [f64]| $field(t, y, p, dy))
                            .init(|_: &[f64], _: f64, y: &mut [f64]| y.copy_from_slice(&pr.y0), $n)
                            .build()
                            .unwrap();
                        &built.insert((tol, problem)).1
                    }
                };
                let mut solver = problem.tsit45().unwrap();
                solver.set_stop_time(pr.t1).unwrap();
                while !matches!(solver.step().unwrap(), OdeSolverStopReason::TstopReached) {}
                let state = solver.state();
                (0..$n).map(|i| state.y[i]).collect()
            })
        };
        for (order, methods, peers) in
            [(5, $ours5 as &[&'static Tableau], &[("ode_solvers", &dp), ("differential-equations", &de5), ("diffsol", &ds5)] as &[(&str, &Vec<Row>)]), (8, $ours8, &[("ode_solvers", &d8), ("differential-equations", &de8)])]
        {
            for &tab in methods {
                let ours = if tab.velocity.is_some() {
                    costate(tab, SecondOrder::new(FnMap::new($n / 2, pr.p.len(), $acceleration)), pr, &exact, &grid)
                } else {
                    costate(tab, FnMap::new($n, pr.p.len(), $field), pr, &exact, &grid)
                };
                for (name, rows) in peers {
                    for &(tol, error, seconds) in rows.iter().filter(|r| is_asked(r.0)) {
                        if let Some(t) = time_at(&ours, error) {
                            println!("  ratio order {order} {} / {name} at its tol {tol:.0e}, error {error:.1e}: {:.2}", tab.name, t / seconds);
                        }
                    }
                    let at = [1e-4, 1e-6, 1e-8, 1e-10].map(|e| fitted(&ours, e) / fitted(rows, e));
                    println!("  ratio order {order} {} / {name}, both fitted, at errors 1e-4, 1e-6, 1e-8, 1e-10: {at:.2?}", tab.name);
                }
            }
        }
    }};
}

fn lorenz_starts() -> Vec<f64> {
    (0..1000).flat_map(|i| [1.0 + 0.01 * i as f64, 0.0, 0.0]).collect()
}

struct Lorenz;

impl Formula<f64> for Lorenz {
    fn size(&self) -> Size {
        Size::field(3, 3)
    }
    #[inline(always)]
    fn eval<E: Number<f64>>(&self, _: E, y: &[E], p: &[E], dy: &mut [E]) {
        dy[0] = p[0] * (y[1] - y[0]);
        dy[1] = y[0] * (p[1] - y[2]) - y[1];
        dy[2] = y[0] * y[1] - p[2] * y[2];
    }
}

fn lorenz_ensemble(tab: &'static Tableau, y0: &[f64], tol: f64) -> Ensemble<f64> {
    let o = Options::tolerances(tol, tol);
    solve_lanes(tab, &o, &Lorenz, (0.0, 10.0), y0, Params::Shared(LORENZ), &[]).unwrap()
}

fn lorenz_one_by_one(tab: &'static Tableau, y0: &[f64], tol: f64) -> Ensemble<f64> {
    let o = Options::tolerances(tol, tol);
    let make = || FnMap::new(3, 3, lorenz);
    solve_ensemble(tab, &o, make, (0.0, 10.0), y0, Params::Shared(LORENZ), &[]).unwrap()
}

fn lorenz_table() {
    let y0 = lorenz_starts();
    println!("lorenz, 1000 trajectories, t = 10, tol 1e-6");
    let pool = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
    let peer = Peer::<3> { f: lorenz, p: LORENZ };
    let theirs = best_cpu(|| {
        for y in y0.chunks(3) {
            let mut s =
                Dopri5::new(peer, 0.0, 10.0, 10.0, SVector::<f64, 3>::from_column_slice(y), 1e-6, 1e-6);
            s.set_output(OutputType::Sparse);
            black_box(s.integrate().unwrap());
        }
    });
    println!("  ode_solvers Dopri5, sequential: {:.2} ms", theirs * 1e3);
    for tab in [&TSIT54, &DP54, &VERN76, &DOP853] {
        let one = pool(1).install(|| best_cpu(|| drop(black_box(lorenz_ensemble(tab, &y0, 1e-6)))));
        let wall = pool(1).install(|| best(|| drop(black_box(lorenz_ensemble(tab, &y0, 1e-6)))));
        let two = pool(2).install(|| best(|| drop(black_box(lorenz_ensemble(tab, &y0, 1e-6)))));
        let single = pool(1).install(|| best_cpu(|| drop(black_box(lorenz_one_by_one(tab, &y0, 1e-6)))));
        println!(
            "  costate {}: one by one {:.2} ms (ratio {:.2}); in lanes, one thread {:.2} ms (ratio {:.2}), two threads {:.2} ms (speed-up in wall time {:.2})",
            tab.name,
            single * 1e3,
            single / theirs,
            one * 1e3,
            one / theirs,
            two * 1e3,
            wall / two
        );
    }
}

/// The spiral neural ODE: value and gradient.
struct Spiral {
    p: Vec<f64>,
    times: Vec<f64>,
    target: Vec<f64>,
    field: Chain<Power, Mlp<f64>, f64>,
    solver: Adjoint<f64>,
    save: SaveAt<f64>,
    bars: Vec<f64>,
    y0_bar: [f64; 2],
    p_bar: Vec<f64>,
}

impl Spiral {
    fn new(tab: &'static Tableau) -> Option<Self> {
        let p = ["W1", "b1", "W2", "b2"].map(|n| common::read_f64(&format!("spiral_{n}.bin")));
        let [Some(a), Some(b), Some(c), Some(d)] = p else { return None };
        let p = [a, b, c, d].concat();
        let net = Mlp::dense(&[2, 50, 2], Activation::Tanh, Activation::Identity, false).ok()?;
        let times: Vec<f64> = (0..30).map(|i| 1.5 * i as f64 / 29.0).collect();
        let o = Options::tolerances(1e-7, 1e-7);
        let mut truth = FnMap::new(2, 0, |_, y: &[f64], _: &[f64], dy: &mut [f64]| {
            let c = [y[0].powi(3), y[1].powi(3)];
            dy[0] = -0.1 * c[0] - 2.0 * c[1];
            dy[1] = 2.0 * c[0] - 0.1 * c[1];
        });
        let target = solve(&mut truth, &DOP853, &o, (0.0, 1.5), &[2.0, 0.0], &[], &times).ok()?;
        Some(Self {
            p_bar: vec![0.0; p.len()],
            p,
            save: SaveAt::new(&times),
            times,
            target: target.states().to_vec(),
            field: Chain::new(Power { dim: 2, exponent: 3 }, net).ok()?,
            solver: Adjoint::new(tab, 2, 1, &o, Memory::Stages).ok()?,
            bars: vec![0.0; 60],
            y0_bar: [0.0; 2],
        })
    }
    fn step(&mut self) -> f64 {
        self.solver.forward(&mut self.field, (0.0, 1.5), &[2.0, 0.0], &self.p, &mut self.save).unwrap();
        let mut loss = 0.0;
        for ((b, y), t) in self.bars.iter_mut().zip(self.save.states()).zip(&self.target) {
            loss += (y - t) * (y - t);
            *b = 2.0 * (y - t);
        }
        self.p_bar.fill(0.0);
        let bars = Bars { times: &self.times, saved: &self.bars, ..Bars::default() };
        self.solver.reverse(&mut self.field, &self.p, &bars, &mut self.y0_bar, &mut self.p_bar).unwrap();
        loss
    }
}

/// The MNIST neural ODE without its head: value and gradient.
struct MnistStep {
    data: common::Mnist,
    field: Mlp<f32>,
    solver: Adjoint<f32>,
    bar: Vec<f32>,
    x_bar: Vec<f32>,
    p_bar: Vec<f32>,
}

impl MnistStep {
    fn new(tol: f64, memory: Memory) -> Option<Self> {
        let data = common::Mnist::load()?;
        let solver = Adjoint::new(&TSIT54, 784, 512, &Options::tolerances(tol, tol), memory).ok()?;
        let (x_bar, p_bar) = (vec![0.0; data.x.len()], vec![0.0; data.p.len()]);
        Some(Self {
            field: common::Mnist::field(),
            solver,
            bar: vec![1e-4; data.x.len()],
            x_bar,
            p_bar,
            data,
        })
    }
    fn step(&mut self) -> u64 {
        let d = &self.data;
        let r = self.solver.forward(&mut self.field, (0.0, 1.0), &d.x, &d.p, &mut ()).unwrap();
        let bars = Bars { y1: &self.bar, ..Bars::default() };
        self.solver.reverse(&mut self.field, &d.p, &bars, &mut self.x_bar, &mut self.p_bar).unwrap();
        r.counts.evals
    }
}

/// Seconds of the three matrix products of one evaluation and its pullback.
fn gemm_floor() -> f64 {
    use costate::linalg::{Dense, Scalar};
    let (w, u, mut h) = (vec![0.01f32; 78_400], vec![0.01f32; 784 * 512], vec![0.0f32; 100 * 512]);
    let (mut o, mut wb) = (vec![0.0f32; 784 * 512], vec![0.0f32; 78_400]);
    best(|| {
        let (wm, um) = (Dense::new(&w, 100, 784), Dense::new(&u, 784, 512));
        f32::gemm(1.0, wm, um, false, &mut h, 1);
        let hm = Dense::new(&h, 100, 512);
        f32::gemm(1.0, wm.t(), hm, false, &mut o, 1);
        // Backwards: two weight gradients and two inputs.
        f32::gemm(1.0, hm, um.t(), true, &mut wb, 1);
        f32::gemm(1.0, um, hm.t(), true, &mut wb, 1);
        f32::gemm(1.0, wm.t(), hm, false, &mut o, 1);
        let mut h2 = std::mem::take(&mut h);
        f32::gemm(1.0, wm, um, false, &mut h2, 1);
        h = h2;
    })
}

fn neural_table() {
    for tab in [&TSIT54, &DP54, &VERN76] {
        if let Some(mut s) = Spiral::new(tab) {
            let t = best(|| {
                black_box(s.step());
            });
            println!(
                "spiral neural ODE, value and gradient, {}: {:.4} ms, {} steps",
                tab.name,
                t * 1e3,
                s.solver.tape().len()
            );
        }
    }
    let floor = gemm_floor();
    println!("mnist_like: matrix products of one evaluation and its pullback {:.2} ms", floor * 1e3);
    for (tol, memory) in [(1.4e-8, Memory::Stages), (1.4e-8, Memory::States), (1e-3, Memory::Stages)] {
        if let Some(mut s) = MnistStep::new(tol, memory) {
            let mut evals = 0;
            let t = best_cpu(|| evals = s.step());
            let per = t / evals as f64;
            println!(
                "mnist_like tol {tol:.1e} {memory:?}: {:.1} ms, {evals} evaluations, {:.2} ms each, {:.2} of the floor",
                t * 1e3,
                per * 1e3,
                per / floor
            );
        }
    }
}

fn criterion_groups(c: &mut Criterion) {
    for tab in Tableau::all() {
        let mut it = Integrator::new(tab, 2, 1, &Options::tolerances(1e-6, 1e-6)).unwrap();
        let mut f = FnMap::new(2, 4, lotka_volterra);
        c.bench_function(&format!("lotka-volterra 1e-6/{}", tab.name), |b| {
            b.iter(|| it.run(&mut f, (0.0, LV.t1), &LV.y0, LV.p, &mut ()).unwrap())
        });
        let mut it = Integrator::new(tab, 28, 1, &Options::tolerances(1e-9, 1e-9)).unwrap();
        let mut f = FnMap::new(28, 0, pleiades);
        c.bench_function(&format!("pleiades 1e-9/{}", tab.name), |b| {
            b.iter(|| it.run(&mut f, (0.0, PLEIADES.t1), &PLEIADES.y0, &[], &mut ()).unwrap())
        });
    }
    let y0 = lorenz_starts();
    c.bench_function("lorenz ensemble 1000", |b| b.iter(|| lorenz_ensemble(&TSIT54, &y0, 1e-6)));
    if let Some(mut s) = Spiral::new(&TSIT54) {
        c.bench_function("spiral neural ODE gradient", |b| b.iter(|| s.step()));
    }
    if let Some(mut s) = MnistStep::new(1.4e-8, Memory::Stages) {
        c.bench_function("mnist_like value and gradient", |b| b.iter(|| s.step()));
    }
}

fn main() {
    if std::env::args().any(|a| a == "--ratios") {
        if std::env::args().any(|a| a == "--neural") {
            return neural_table();
        }
        if std::env::args().any(|a| a == "--lorenz") {
            return lorenz_table();
        }
        let all = !std::env::args().any(|a| a == "--explicit");
        work_precision!(
            LV,
            lotka_volterra,
            lotka_volterra, // Not of second order: no Nystrom method is asked for.
            2,
            [1e-4, 1e-6, 1e-8],
            &[&TSIT54, &DP54, &BS54],
            &[&VERN87, &DOP853, &VERN76]
        );
        work_precision!(
            PLEIADES,
            pleiades,
            pleiades_acceleration,
            28,
            [1e-6, 1e-9],
            &[&DPRKN64, &TSIT54, &DP54, &BS54],
            &[&VERN87, &DOP853, &VERN76]
        );
        if all {
            lorenz_table();
            neural_table();
        }
        return;
    }
    let mut c = Criterion::default().sample_size(20).configure_from_args();
    criterion_groups(&mut c);
    c.final_summary();
}
