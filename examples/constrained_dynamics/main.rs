//! Neural differential equations that obey a law exactly: trained on noisy data subject to constraints, by Adam with a small penalty and from there by the optimizer, with second
//! derivatives of the discrete adjoint, beside the usual penalty with Adam at the best of a grid of weights.
//!
//!     cargo run --release --example constrained_dynamics -- [TASK] [--seeds K] [--plot FILE.svg]

mod plot;
mod tasks;

use std::time::Instant;

use costate::control::shooting::{Reduced, Trajectory, solve};
use costate::diff::Map;
use costate::fit::LeastSquares;
use costate::nlp::{Nlp, NlpMeta};
use costate::nn::{Activation, Mlp, Params};
use costate::observe::Silent;
use costate::ode::{Integrator, Options, TSIT54};
use costate::train::OptimizerConfig;
use rand::SeedableRng;
use tasks::{Law, TASKS, Task};

/// Whatever went wrong.
pub type Failure = Box<dyn std::error::Error>;
type Problem = Reduced<Mlp<f64>, Integrator<f64>>;

/// Weights of the penalty, and steps of Adam.
const WEIGHTS: [f64; 6] = [0.1, 1.0, 10.0, 100.0, 1e3, 1e4];
const STEPS: usize = 3000;
/// Square of a weight in units of the square of a residual.
const DECAY: f64 = 1e-3;

/// What a way of training led to.
pub struct Outcome {
    method: &'static str,
    /// The largest violation of the law where it was asked for, errors inside and outside the times of the data, evaluations of the field.
    violation: f64,
    inside: f64,
    outside: f64,
    evaluations: u64,
    seconds: f64,
    /// Largest multiplier of the law.
    multiplier: f64,
    weights: Vec<f64>,
}

fn field(task: &Task) -> Result<Mlp<f64>, Failure> {
    Ok(Mlp::dense(&[task.dim, task.width, task.dim], Activation::Tanh, Activation::Identity, false)?)
}

fn options() -> Options {
    Options::tolerances(1e-6, 1e-6)
}

/// Residuals at the data and of weights, as rows, and the law up to a time.
fn problem(task: &Task, seed: u64, law_until: f64, exact: bool) -> Result<Problem, Failure> {
    let times = task.times(law_until);
    let trajectory =
        Trajectory::new(field(task)?, &TSIT54, &options(), (0.0, times[times.len() - 1]), &times)?;
    let (data, start) = (task.data(seed)?, start(task, seed)?);
    let mut problem = Reduced::new(task.name, trajectory, &task.y0, start.values())?;
    if let (Law::Steps(most), true) = (&task.law, law_until > 0.0) {
        problem = problem.steps_at_most(*most)?;
    }
    let sides = [&data[..], &vec![0.0; start.values().len()]].concat();
    problem = problem.subject_to((&sides, &sides), |y, z, r| {
        let (of_data, of_weights) = r.split_at_mut(data.len());
        of_data.chunks_exact_mut(task.dim).enumerate().for_each(|(k, r)| r.copy_from_slice(&y[k]));
        of_weights.iter_mut().zip(z).for_each(|(r, z)| *r = *z * DECAY.sqrt());
    })?;
    if let (Law::Formula(law), true) = (&task.law, law_until > 0.0) {
        let places = task.law_places(law_until);
        let (lower, upper) = (law.lower.repeat(places.len()), law.upper.repeat(places.len()));
        problem = problem.subject_to((&lower, &upper), |y, z, c| {
            for (c, k) in c.chunks_exact_mut(law.lower.len()).zip(places) {
                (law.formula)(task, &y[k], z, c);
            }
        })?;
    }
    Ok(if exact { problem } else { problem.first_derivatives() })
}

fn start(task: &Task, seed: u64) -> Result<Params<f64>, Failure> {
    let mut params = Params::new();
    params.add_spec("field", field(task)?.spec(), &mut rand::rngs::StdRng::seed_from_u64(seed));
    Ok(params)
}

/// The mean square of the residuals, subject to the law up to a time.
fn fit(task: &Task, seed: u64, law_until: f64, exact: bool) -> Result<LeastSquares<Problem>, Failure> {
    let problem = problem(task, seed, law_until, exact)?;
    let rows = residual_rows(task, problem.meta().n(), law_until > 0.0);
    let weight = 1.0 / (task.data_times.len() * task.dim) as f64;
    Ok(LeastSquares::of(problem, rows.clone())?.weights(&vec![weight; rows.len()])?)
}

/// The rows that are residuals, of data and of weights.
fn residual_rows(task: &Task, weights: usize, lawful: bool) -> std::ops::Range<usize> {
    let first = usize::from(matches!(task.law, Law::Steps(_)) && lawful);
    first..first + task.data_times.len() * task.dim + weights
}

fn judge(task: &Task, seed: u64, method: &'static str, z: &[f64], seconds: f64) -> Result<Outcome, Failure> {
    let mut lawful = fit(task, seed, task.until, true)?;
    let mut c = vec![0.0; lawful.meta().m()];
    lawful.cons(z, &mut c)?;
    let violation = largest(lawful.meta(), &c);
    let (inside, outside, evaluations) = task.errors(field(task)?, z)?;
    let (multiplier, weights) = (0.0, z.to_vec());
    Ok(Outcome { method, violation, inside, outside, evaluations, seconds, multiplier, weights })
}

/// How far a row is from its sides: positive above.
fn excess(meta: &NlpMeta, i: usize, c: f64) -> f64 {
    (c - meta.c_upper[i]).max(0.0) + (c - meta.c_lower[i]).min(0.0)
}

fn largest(meta: &NlpMeta, c: &[f64]) -> f64 {
    c.iter().enumerate().fold(0.0, |m, (i, c)| m.max(excess(meta, i, *c).abs()))
}

/// Adam on the mean square of the residuals + weight times the mean square of the violations: the weights and the loss; none where the integration fails.
fn adam(task: &Task, seed: u64, weight: f64) -> Result<Option<(Vec<f64>, f64)>, Failure> {
    let (mut rows, params) = (problem(task, seed, task.until, true)?, start(task, seed)?);
    let config: OptimizerConfig = toml::from_str("kind = \"adam\"")?;
    let (mut adam, mut z) = (config.build(params.entries()), params.values().to_vec());
    let residuals = residual_rows(task, z.len(), true);
    let (n, m) = (z.len(), rows.meta().m());
    let (data, of_law) = (task.data_times.len() * task.dim, m - residuals.len());
    let (mut c, mut y, mut g, mut loss) = (vec![0.0; m], vec![0.0; m], vec![0.0; n], f64::INFINITY);
    for step in 0..STEPS {
        if rows.cons(&z, &mut c).is_err() {
            return Ok(None);
        }
        for i in 0..m {
            let share = if residuals.contains(&i) { 1.0 / data as f64 } else { weight / of_law as f64 };
            y[i] = 2.0 * share * excess(rows.meta(), i, c[i]);
        }
        loss = residuals.clone().map(|i| (c[i] - rows.meta().c_lower[i]).powi(2)).sum::<f64>() / data as f64;
        rows.gradient_of_lagrangian(&z, 0.0, &y, &mut g)?;
        let rate = 0.01 * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / STEPS as f64).cos());
        adam.step(rate, &mut z, &g);
    }
    Ok(Some((z, loss)))
}

/// Adam with the smallest weight, and from there the optimizer, subject to the law.
fn constrained(task: &Task, seed: u64) -> Result<Outcome, Failure> {
    let begin = Instant::now();
    let limits = costate::opt::Options {
        tolerance: 1e-5,
        max_iterations: 100,
        time_limit: Some(20.0),
        ..Default::default()
    };
    let mut lawful = fit(task, seed, task.until, true)?;
    if let Some((z, _)) = adam(task, seed, WEIGHTS[0])? {
        lawful.set_start(&z);
    }
    let report = solve(&mut lawful, &limits, &mut Silent)?;
    println!("  {seed:>4} {} ({} iterations)", report.message, report.iterations);
    let mut outcome = judge(task, seed, "constrained", &report.x, begin.elapsed().as_secs_f64())?;
    outcome.multiplier = report.y.iter().fold(0.0f64, |m, y| m.max(y.abs()));
    Ok(outcome)
}

/// Without the law, and with the weight that is the best of all by loss + 1e3 violation^2.
fn penalized(task: &Task, seed: u64) -> Result<[Outcome; 2], Failure> {
    let begin = Instant::now();
    let (free, _) = adam(task, seed, 0.0)?.ok_or("without the law the integration fails")?;
    let alone = judge(task, seed, "no law", &free, begin.elapsed().as_secs_f64())?;
    let (mut best, begin): (Option<(f64, Outcome)>, _) = (None, Instant::now());
    for weight in WEIGHTS {
        let Some((z, loss)) = adam(task, seed, weight)? else { continue };
        let outcome = judge(task, seed, "penalty", &z, 0.0)?;
        let merit = loss + 1e3 * outcome.violation.powi(2);
        if best.as_ref().is_none_or(|b| merit < b.0) {
            best = Some((merit, outcome));
        }
    }
    let (_, mut outcome) = best.ok_or("every weight failed")?;
    outcome.seconds = begin.elapsed().as_secs_f64();
    Ok([alone, outcome])
}

fn main() -> Result<(), Failure> {
    let (mut wanted, mut seeds, mut plot) = (vec![], 3, None);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => {
                seeds = words.next().and_then(|w| w.parse().ok()).ok_or("--seeds: expected a number")?
            }
            "--plot" => plot = Some(words.next().ok_or("--plot: expected a file")?),
            "--help" => {
                println!("constrained_dynamics [TASK] [--seeds K] [--plot FILE.svg], tasks:");
                TASKS.iter().for_each(|t| println!("  {:<10} {}", t.name, t.about));
                return Ok(());
            }
            name => wanted.push(name.to_string()),
        }
    }
    if let Some(name) = wanted.iter().find(|w| TASKS.iter().all(|t| t.name != **w)) {
        let names: Vec<_> = TASKS.iter().map(|t| t.name).collect();
        return Err(format!("'{name}' is no task, expected one of {}", names.join(", ")).into());
    }
    for task in TASKS.iter().filter(|t| wanted.is_empty() || wanted.iter().any(|w| w == t.name)) {
        let task = (task.make)();
        println!("{}: {}", task.name, task.about);
        println!(
            "  {:>4} {:<12} {:>10} {:>9} {:>9} {:>6} {:>8} {:>10}",
            "seed", "method", "violation", "inside", "outside", "NFE", "seconds", "multiplier"
        );
        for seed in 0..seeds {
            let [alone, penalty] = penalized(&task, seed)?;
            let lawful = constrained(&task, seed)?;
            for o in [&alone, &lawful, &penalty] {
                println!(
                    "  {seed:>4} {:<12} {:>10.2e} {:>9.2e} {:>9.2e} {:>6} {:>8.2} {:>10.2e}",
                    o.method, o.violation, o.inside, o.outside, o.evaluations, o.seconds, o.multiplier
                );
            }
            if let (0, Some(path)) = (seed, &plot) {
                plot::draw(&task, path, &[alone, lawful, penalty])?;
                println!("  wrote {path}");
            }
        }
    }
    Ok(())
}
