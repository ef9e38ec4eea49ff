//! Model predictive control: at each time step the next 20 controls of a cart are planned, and the first of them is applied.
//!
//! One `Solver` solves all plans. Each begins at the last plan, shifted by one step, with its multipliers.

use costate::nlp::Problem;
use costate::observe::Silent;
use costate::opt::{Options, Solver, Start, WarmStart};

const STEPS: usize = 20;

/// min 1/2 sum (p^2 + 0.1 v^2 + 0.05 u^2), p+ = p + 0.2 v + 0.02 u, v+ = v + 0.2 u, |u| <= 1, |v| <= 0.5; x = (u, p+, v+) step by step.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    const WEIGHT: [f64; 3] = [0.05, 1.0, 0.1];
    let mut solver = Solver::new(Options::default())?;
    let mut warm = WarmStart::default();
    let (mut position, mut speed) = (1.0, 0.0);
    for time in 0..40 {
        let bound: Vec<f64> = [1.0, 1e20, 0.5].repeat(STEPS);
        let lower: Vec<f64> = bound.iter().map(|b| -b).collect();
        let mut plan = Problem::new("plan", 3 * STEPS)
            .bounds(&lower, &bound)
            .objective(|x| 0.5 * x.iter().zip(WEIGHT.iter().cycle()).map(|(x, w)| w * x * x).sum::<f64>())
            .gradient(|x, g| g.iter_mut().enumerate().for_each(|(j, g)| *g = WEIGHT[j % 3] * x[j]))
            .equality(2 * STEPS, move |x, c| {
                let (mut p, mut v) = (position, speed);
                for (x, c) in x.chunks(3).zip(c.chunks_mut(2)) {
                    c[0] = x[1] - p - 0.2 * v - 0.02 * x[0];
                    c[1] = x[2] - v - 0.2 * x[0];
                    (p, v) = (x[1], x[2]);
                }
            })
            .jacobian_by_differences()
            .hessian(|_, sigma, _, h| {
                (0..3 * STEPS).for_each(|j| h[j * (3 * STEPS + 1)] = sigma * WEIGHT[j % 3])
            })
            .build()?;
        let start = if time == 0 { Start::Problem } else { Start::At(&warm) };
        let report = solver.solve(&mut plan, start, &mut Silent)?;
        println!(
            "{time:3}  p {position:7.4}  v {speed:7.4}  u {:7.4}  {} iterations",
            report.x[0], report.iterations
        );
        (position, speed) =
            (position + 0.2 * speed + 0.02 * report.x[0], (speed + 0.2 * report.x[0]).clamp(-0.5, 0.5));
        warm.set(report);
        for (values, step) in [(&mut warm.x, 3), (&mut warm.z, 3), (&mut warm.y, 2)] {
            values.rotate_left(step);
        }
    }
    Ok(())
}
