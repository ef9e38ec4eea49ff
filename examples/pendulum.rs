//! A pendulum on a cart is swung up by a bounded force: receding horizon at 1 kHz in closed loop.
//!
//!     cargo run --release --example pendulum -- pendulum.svg
//!
//! Every millisecond the next 1.2 s are planned on 20 intervals, from the measured state, by one `Solver` that begins at its last plan; the first
//! control of the plan is applied to the plant (another integrator, small steps). Time, state and duration of each solve are measured.

use std::time::Instant;

use costate::control::{Mesh, Moment, Phase, Point, Problem, Scheme, Transcription, quantity};
use costate::model::{Expr, Expression};
use costate::observe::Silent;
use costate::opt::{Options, Solver, Start};
use plotters::prelude::*;

/// Masses of cart and pendulum in kg, length in m.
const CART: f64 = 1.0;
const BOB: f64 = 0.3;
const LENGTH: f64 = 0.5;
const G: f64 = 9.81;
/// Bound on the force in N, on the position in m.
const FORCE: f64 = 12.0;
const TRACK: f64 = 1.5;
const INTERVALS: usize = 20;
const HORIZON: f64 = 1.2;
const PERIOD: f64 = 1e-3;
const DURATION: f64 = 6.0;
/// Runs of the whole loop, for the durations.
const REPEATS: usize = 5;

/// (position, angle from upright, speed, rate)' for a force.
fn field(x: &[f64; 4], force: f64) -> [f64; 4] {
    let (sin, cos) = x[1].sin_cos();
    let d = CART + BOB * sin * sin;
    let a = (force + BOB * sin * (LENGTH * x[3] * x[3] - G * cos)) / d;
    [x[2], x[3], a, (G * sin - a * cos) / LENGTH]
}

fn dynamics(s: &Point) -> Vec<Expr> {
    let ([_, angle, speed, rate], [force]) = s.split();
    let (sin, cos) = ((&angle).sin(), angle.cos());
    let d = CART + BOB * (&sin).powi(2);
    let a = (force + BOB * &sin * (LENGTH * (&rate).powi(2) - G * &cos)) / d;
    let turn = (G * sin - &a * cos) * (1.0 / LENGTH);
    vec![speed, rate, a, turn]
}

/// Energy-like running cost: position, 1 - cos of the angle, speeds, force.
fn cost(s: &Point) -> Expr {
    let ([position, angle, speed, rate], [force]) = s.split();
    2.0 * position.powi(2)
        + 10.0 * (1.0 - angle.cos())
        + 0.1 * speed.powi(2)
        + 0.05 * rate.powi(2)
        + 0.01 * force.powi(2)
}

fn plan() -> Problem {
    let phase = Phase::new("plan")
        .state(quantity("position").range(-TRACK, TRACK).start(0.0))
        .state(quantity("angle").start(std::f64::consts::PI).scale(1.0))
        .state(quantity("speed").start(0.0))
        .state(quantity("rate").start(0.0))
        .control(quantity("force").range(-FORCE, FORCE))
        .time(Moment::At(0.0), Moment::At(HORIZON))
        .dynamics(dynamics)
        .cost(cost);
    Problem::new("plan").phase(phase).minimize(|ends| {
        let [position, angle, speed, rate] = std::array::from_fn(|k| ends.end[0].x[k].clone());
        20.0 * position.powi(2) + 40.0 * (1.0 - angle.cos()) + speed.powi(2) + rate.powi(2)
    })
}

/// One period of the plant by ten steps of the classical method of order 4.
fn advance(x: &mut [f64; 4], force: f64) {
    let h = PERIOD / 10.0;
    for _ in 0..10 {
        let moved = |k: &[f64; 4], w: f64| std::array::from_fn(|i| x[i] + w * k[i]);
        let k1 = field(x, force);
        let k2 = field(&moved(&k1, h / 2.0), force);
        let k3 = field(&moved(&k2, h / 2.0), force);
        let k4 = field(&moved(&k3, h), force);
        (0..4).for_each(|i| x[i] += h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]));
    }
}

/// What a run of the closed loop measures.
struct Run {
    /// Time, state and force at each step.
    trace: Vec<(f64, [f64; 4], f64)>,
    /// Duration of each solve.
    seconds: Vec<f64>,
    failed: usize,
}

fn run() -> Result<Run, Box<dyn std::error::Error>> {
    let mut plan = Transcription::new(&plan(), &[Mesh::uniform(INTERVALS)], Scheme::Trapezoidal)?;
    let (first, scales) = plan.node_variables(0).map(|(n, s)| (n[0].clone(), s.to_vec())).unwrap_or_default();
    let force =
        plan.control_variables(0).map(|(u, s)| (u[0][0][0], s[0])).ok_or("the plan has no controls")?;
    let mut solver = Solver::new(Options::default())?;
    let mut x = [0.0, std::f64::consts::PI, 0.0, 0.0];
    let mut run = Run { trace: Vec::new(), seconds: Vec::new(), failed: 0 };
    for k in 0..(DURATION / PERIOD).round() as usize {
        for ((v, s), value) in first.iter().zip(&scales).zip(&x) {
            plan.model.set_bounds(*v, value / s, value / s);
        }
        let begun = Instant::now();
        let start = if k == 0 { Start::Problem } else { Start::Last };
        let report = solver.solve(&mut plan.model, start, &mut Silent)?;
        run.seconds.push(begun.elapsed().as_secs_f64());
        run.failed += usize::from(!report.solved());
        let u = (force.1 * force.0.value(report)).clamp(-FORCE, FORCE);
        run.trace.push((k as f64 * PERIOD, x, u));
        advance(&mut x, u);
    }
    Ok(run)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "pendulum.svg".to_string());
    let mut all = run()?;
    // The loop is the same each time: the shortest duration of each solve is that without the machine's other work.
    for _ in 1..REPEATS {
        let again = run()?;
        all.seconds.iter_mut().zip(&again.seconds).for_each(|(a, b)| *a = a.min(*b));
    }
    summary(&all);
    draw(&path, &all.trace, &all.seconds)?;
    println!("wrote {path}");
    Ok(())
}

fn summary(run: &Run) {
    let seconds = &run.seconds;
    println!("first solve {:.2} ms, {} solves, {} not solved", 1e3 * seconds[0], seconds.len(), run.failed);
    let mut sorted = seconds[1..].to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |q: f64| 1e3 * sorted[((sorted.len() - 1) as f64 * q).ceil() as usize];
    println!(
        "later solves, ms, shortest of {REPEATS} runs: median {:.3}, 99 % {:.3}, 99.9 % {:.3}, longest {:.3}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    let (_, x, _) = run.trace[run.trace.len() - 1];
    println!(
        "at the end: position {:.1e}, angle {:.1e}, speed {:.1e}, rate {:.1e}",
        x[0],
        x[1].sin(),
        x[2],
        x[3]
    );
    let upright = run.trace.iter().rposition(|r| r.1[1].cos() < 0.99).map_or(0.0, |k| run.trace[k].0);
    println!(
        "within 8 degrees of upright from {upright:.3} s on; largest |position| {:.3} m",
        run.trace.iter().fold(0.0, |a: f64, r| a.max(r.1[0].abs()))
    );
}

fn draw(
    path: &str,
    trace: &[(f64, [f64; 4], f64)],
    seconds: &[f64],
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, (900, 700)).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((3, 1));
    let positions: Vec<(f64, f64)> = trace.iter().map(|r| (r.0, r.1[0])).collect();
    let angles: Vec<(f64, f64)> = trace.iter().map(|r| (r.0, r.1[1])).collect();
    let forces: Vec<(f64, f64)> = trace.iter().map(|r| (r.0, r.2)).collect();
    let times: Vec<(f64, f64)> = trace.iter().zip(seconds).skip(1).map(|(r, s)| (r.0, 1e3 * s)).collect();
    let panels = [
        ("position in m (blue), angle from upright (red)", -4.0..7.0, vec![(positions, BLUE), (angles, RED)]),
        ("force in N", -FORCE * 1.1..FORCE * 1.1, vec![(forces, BLACK)]),
        ("duration of a solve in ms", 0.0..1.5, vec![(times, BLACK)]),
    ];
    for (area, (name, range, lines)) in areas.iter().zip(panels) {
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .x_label_area_size(25)
            .y_label_area_size(45)
            .caption(name, ("sans-serif", 16))
            .build_cartesian_2d(0.0..DURATION, range)?;
        chart.configure_mesh().light_line_style(WHITE).draw()?;
        for (line, color) in lines {
            chart.draw_series(LineSeries::new(line, color.stroke_width(1)))?;
        }
    }
    root.present()?;
    Ok(())
}
