//! Neural differential equations that pay for the evaluations of their field: the spiral and digits, with the weight of the expected-steps penalty to be tuned.
//!
//! What counts is J = loss + price x evaluations, on data that were not trained on. A tuned run is compared with a grid of constant weights at the same cost: evaluations and
//! pullbacks of the field, along a direction counted twice.

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use super::digits::{CLASSES, Digits, INPUTS};
use super::stats::median;
use super::{Cell, Judgment, Run, StudyError, Table};
use crate::adjoint::Memory;
use crate::bilevel::{
    CrossEntropy, Curved, Inner, InnerSteps, Solved, SolvedLoss, SolvedProblem, SquaredError, TuneOptions,
    Unrolled, tune_inner,
};
use crate::diff::{FnMap, Map};
use crate::nn::{Activation, Chain, Mlp, Params, Power};
use crate::ode::{Options, TSIT54, VERN76, solve};
use crate::random::{Purpose, generator};
use crate::train::OptimizerConfig;
use crate::train::optim::AdamConfig;

/// ln(weight / price of a step) of the first and the last point of a grid, of which tuning starts in the middle.
const GRID: (f64, f64) = (-4.6, 4.6);
/// Steps of the solver, of which a field that is of use needs a tenth at most: a training that blows up ends here.
const MOST_STEPS: u64 = 500;
/// Evaluations of a step.
const STAGES: f64 = 6.0;
/// Pieces of a training with a weight of their own, where it is unrolled.
const PIECES: usize = 4;
/// Adam's rate on logarithms of weights, of the unrolled training and beside it.
const RATES: (f64, f64) = (0.4, 0.02);

/// Whether to go on.
type Check<'a> = dyn Fn() -> Result<(), StudyError> + 'a;

/// Columns of the comparison, after those of the study.
pub const COLUMNS: [&str; 7] = ["task", "method", "h", "test loss", "NFE", "J", "work"];
/// The name of the grid among the methods.
pub const GRID_NAME: &str = "grid of weights";
/// The tasks.
pub const TASKS: [&str; 2] = ["spiral", "digits 7 x 7"];

/// A task: equations to train on, to validate with, to test.
pub struct Priced<F: Map<f64> + Clone, H, L> {
    pub name: &'static str,
    pub field: F,
    pub head: H,
    /// Of training, validation and test: what is solved, and the losses.
    pub parts: [(SolvedProblem, Vec<L>); 3],
    /// Of an evaluation of the field.
    pub price: f64,
    /// Rate of gradient descent with momentum 0.9.
    pub rate: f64,
    /// Steps through which the unrolled training is differentiated.
    pub outer: usize,
}

/// A way of tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// Weights that respond, in one run.
    SelfTuned,
    /// The gradient through all steps of a training.
    Unrolled,
}

/// What a way of tuning led to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// ln(weight / price of a step); the last piece's.
    pub h: f64,
    /// Test loss, evaluations, J.
    pub loss: f64,
    pub nfe: f64,
    pub total: f64,
    /// Evaluations and pullbacks in sum.
    pub work: f64,
}

impl<F: Map<f64> + Clone, H: Map<f64> + Clone, L: Curved + Clone> Priced<F, H, L> {
    fn part(&self, k: usize, pieces: usize) -> Result<Solved<F, H, Vec<L>>, StudyError> {
        let (problem, losses) = &self.parts[k];
        let problem = SolvedProblem { pieces, ..problem.clone() };
        Solved::new(problem, self.field.clone(), self.head.clone(), losses.clone())
            .map_err(StudyError::of(self.name))
    }
    fn start(&self, seed: u64) -> Params<f64> {
        let mut params = Params::new();
        let mut rng = generator(seed, Purpose::Weights as u64, 0);
        params.add_spec("field", self.field.spec(), &mut rng);
        params.add_spec("head", self.head.spec(), &mut rng);
        params
    }
    /// ln of the price of a step.
    fn step_price(&self) -> f64 {
        (STAGES * self.price).ln()
    }
    /// Means of loss and evaluations over all batches of a part.
    fn evaluate(&self, k: usize, p: &[f64]) -> Result<(f64, f64), StudyError> {
        let (problem, mut part) = (&self.parts[k].0, self.part(k, 1)?);
        let batches = problem.starts.len() / (self.field.outputs() * problem.batch);
        let (mut loss, mut nfe, mut unused) = (0.0, 0.0, vec![0.0; p.len()]);
        for t in 0..batches {
            if part.gradient(t, p, &[self.step_price()], &mut unused).is_nan() {
                return Ok((f64::NAN, f64::NAN));
            }
            let SolvedLoss { data, evaluations, .. } = part.last();
            loss += data / batches as f64;
            nfe += evaluations as f64 / batches as f64;
        }
        Ok((loss, nfe))
    }
    fn result(&self, p: &[f64], h: f64, work: f64) -> Result<Outcome, StudyError> {
        let (loss, nfe) = self.evaluate(2, p)?;
        Ok(Outcome { h, loss, nfe, total: loss + self.price * nfe, work })
    }
    fn steps(&self) -> usize {
        self.parts[0].0.steps
    }
    /// Trains with these weights: where it ends, and what it cost.
    fn train(&self, h: &[f64], seed: u64) -> Result<(Vec<f64>, f64), StudyError> {
        let mut inner = self.part(0, h.len())?;
        let theta: Vec<f64> = h.iter().map(|h| h + self.step_price()).collect();
        let (rates, momenta) = (vec![self.rate; self.steps()], vec![0.9; self.steps()]);
        let steps = InnerSteps { rates: &rates, momenta: &momenta };
        let p = self.start(seed);
        let mut unrolled = Unrolled::new(Memory::Every(self.steps()));
        let end =
            unrolled.forward(&mut inner, p.values(), &theta, steps).map_err(StudyError::of(self.name))?;
        Ok((end.to_vec(), inner.work() as f64))
    }

    /// Constant weights, as many as cost what `work` says: the best by J on the validation data.
    pub fn grid(&self, work: f64, seed: u64, check: &Check<'_>) -> Result<Outcome, StudyError> {
        let (_, once) = self.train(&[0.0], seed)?;
        let count = (work / once).round().clamp(3.0, 60.0) as usize;
        let (mut best, mut total) = ((f64::INFINITY, f64::NAN, self.start(seed).values().to_vec()), 0.0);
        for k in 0..count {
            check()?;
            let h = GRID.0 + (GRID.1 - GRID.0) * k as f64 / (count - 1) as f64;
            let (p, work) = self.train(&[h], seed)?;
            total += work;
            let (loss, nfe) = self.evaluate(1, &p)?;
            if loss + self.price * nfe < best.0 {
                best = (loss + self.price * nfe, h, p);
            }
        }
        self.result(&best.2, best.1, total)
    }

    /// One run that tunes itself, of `lengths` trainings' steps.
    pub fn self_tuned(&self, lengths: usize, seed: u64, check: &Check<'_>) -> Result<Outcome, StudyError> {
        check()?;
        let (mut train, mut validation) = (self.part(0, 1)?, self.part(1, 1)?);
        let steps = (lengths * self.steps()) as u64;
        let options = TuneOptions {
            steps,
            warm_up: steps / 10,
            rate: self.rate,
            hyper_rate: RATES.1,
            tune_width: false,
            seed,
            ..TuneOptions::default()
        };
        let price = self.step_price();
        let fixed = (&mut validation, &[price][..]);
        let Ok(found) = tune_inner(&mut train, fixed, &self.start(seed), &[price], &options) else {
            return Ok(Outcome { total: f64::NAN, ..Outcome::default() });
        };
        let work = (train.work() + validation.work()) as f64;
        self.result(&found.weights, found.report.h[0] - price, work)
    }

    /// Weights of pieces of the training by the gradient of J on the validation data through all its steps.
    pub fn unrolled(&self, seed: u64, check: &Check<'_>) -> Result<Outcome, StudyError> {
        let failed = StudyError::of(self.name);
        let (mut inner, mut validation) = (self.part(0, PIECES)?, self.part(1, 1)?);
        let (rates, momenta) = (vec![self.rate; self.steps()], vec![0.9; self.steps()]);
        let steps = InnerSteps { rates: &rates, momenta: &momenta };
        let (p, mut unrolled, price) = (self.start(seed), Unrolled::new(Memory::States), self.step_price());
        let mut h = Params::new();
        let mut unused = generator(seed, Purpose::Weights as u64, 1);
        h.add("h", &[PIECES], crate::diff::Init::Zeros, &mut unused);
        let mut adam = OptimizerConfig::from(AdamConfig::default()).build(h.entries());
        let mut bar = vec![0.0; p.values().len()];
        for t in 0..self.outer {
            check()?;
            let theta: Vec<f64> = h.values().iter().map(|h| h + price).collect();
            let end = unrolled.forward(&mut inner, p.values(), &theta, steps).map_err(&failed)?;
            let loss = validation.gradient(t, end, &[price], &mut bar);
            let d = unrolled.reverse(&mut inner, &bar).map_err(&failed)?;
            if !loss.is_finite() || d.theta.iter().any(|d| !d.is_finite()) {
                return Ok(Outcome { total: f64::NAN, ..Outcome::default() });
            }
            adam.step(RATES.0, h.values_mut(), &d.theta);
        }
        let (end, last) = self.train(h.values(), seed)?;
        let work = last + (inner.work() + validation.work()) as f64;
        self.result(&end, h.values()[PIECES - 1], work)
    }
}

impl<F, H, L> Priced<F, H, L>
where
    F: Map<f64> + Clone,
    H: Map<f64> + Clone,
    L: Curved + Clone,
{
    /// The tuned one, then the grid of the same cost.
    fn compared(&self, how: Tuning, seed: u64, check: &Check<'_>) -> Result<[Outcome; 2], StudyError> {
        let tuned = match how {
            Tuning::SelfTuned => self.self_tuned(4 * self.outer, seed, check)?,
            Tuning::Unrolled => self.unrolled(seed, check)?,
        };
        let grid = self.grid(tuned.work, seed, check)?;
        Ok([tuned, grid])
    }
}

/// Cells of [`COLUMNS`], with the seed before them.
pub type Rows = Vec<(u64, [Cell; 7])>;

/// Both tasks with a way of tuning and the grid: cells of [`COLUMNS`] with the seed before them, and a note.
pub fn compare(
    run: &mut Run<'_>,
    (how, name): (Tuning, &str),
    (images, train): (&Digits, usize),
    seeds: std::ops::Range<u64>,
) -> Result<(Rows, String), StudyError> {
    run.say(&format!("{name}: weights of the expected-steps penalty"))?;
    let (spiral, digits) = (spiral(run)?, digits(run, images, train)?);
    let stop = run.stop();
    let check = || if stop.load(Ordering::Relaxed) { Err(StudyError::Interrupted) } else { Ok(()) };
    let jobs: Vec<(u64, usize)> = seeds.flat_map(|seed| [(seed, 1), (seed, 0)]).collect();
    let found = jobs.par_iter().map(|(seed, task)| match task {
        0 => spiral.compared(how, *seed, &check),
        _ => digits.compared(how, *seed, &check),
    });
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let mut rows = vec![];
    for ((seed, task), outcomes) in jobs.into_iter().zip(found) {
        for (method, o) in [name, GRID_NAME].into_iter().zip(outcomes) {
            let [h, loss, nfe, total, work] = [o.h, o.loss, o.nfe, o.total, o.work].map(Cell::from);
            rows.push((seed, [TASKS[task].into(), method.into(), h, loss, nfe, total, work]));
        }
    }
    let note = format!(
        "weights of the expected-steps penalty: J = loss + price x NFE on test data, price {:e} (spiral, 30 points, tolerance 1e-6, {} steps at rate {}) and {:e} (digits 7 x 7, {train} to train, tolerance 1e-4, {} steps of 50 at rate {}), gradient descent with momentum 0.9; h = ln of the weight over the price of a step, grids from {} to {}; work: evaluations and pullbacks of the field, along a direction counted twice",
        spiral.price,
        spiral.steps(),
        spiral.rate,
        digits.price,
        digits.steps(),
        digits.rate,
        GRID.0,
        GRID.1
    );
    Ok((rows, note))
}

/// Requirements: J no worse than the grid's.
pub fn judge(judgment: Judgment, table: &Table, name: &str) -> Judgment {
    TASKS.iter().fold(judgment, |judgment, task| {
        let rows = table.only("task", *task);
        let total = |method: &str| median(&rows.only("method", method).numbers("J"));
        let ratio = total(name).and_then(|t| Some(t / total(GRID_NAME)?));
        judgment.at_most(&format!("{task}, J / J of a grid of weights of equal cost"), ratio, 1.0)
    })
}

type SpiralField = Chain<Power, Mlp<f64>, f64>;

/// The spiral, u' = u^3 A on 30 points of [0, 1.5]; validated between them, tested on ten times as many.
pub fn spiral(run: &Run<'_>) -> Result<Priced<SpiralField, Power, SquaredError>, StudyError> {
    let failed = StudyError::of(TASKS[0]);
    let net = Mlp::dense(&[2, 50, 2], Activation::Tanh, Activation::Identity, false).map_err(&failed)?;
    let cube = Power { dim: 2, exponent: 3 };
    let mut truth = FnMap::new(2, 0, |_, u: &[f64], _: &[f64], du: &mut [f64]| {
        let c = [u[0].powi(3), u[1].powi(3)];
        du[0] = -0.1 * c[0] - 2.0 * c[1];
        du[1] = 2.0 * c[0] - 0.1 * c[1];
    });
    let mut part = |times: Vec<f64>| {
        let exact = Options::tolerances(1e-12, 1e-12);
        let s = solve(&mut truth, &VERN76, &exact, (0.0, 1.5), &[2.0, 0.0], &[], &times)?;
        let loss = SquaredError { targets: s.states().to_vec(), batch: times.len() };
        let problem = SolvedProblem {
            method: &TSIT54,
            options: Options { max_steps: MOST_STEPS, ..Options::tolerances(1e-6, 1e-6) },
            span: (0.0, 1.5),
            times,
            starts: vec![2.0, 0.0],
            batch: 1,
            steps: run.pick(60, 200),
            pieces: 1,
        };
        Ok::<_, crate::error::OdeError>((problem, vec![loss]))
    };
    let grid = |n: usize, shift: f64| (1..n).map(|i| 1.5 * (i as f64 - shift) / (n - 1) as f64).collect();
    let parts = [part(grid(30, 0.0)), part(grid(30, 0.5)), part(grid(300, 0.0))];
    let [a, b, c] = parts.map(|p| p.map_err(&failed));
    Ok(Priced {
        name: TASKS[0],
        field: Chain::new(cube, net).map_err(&failed)?,
        head: Power { dim: 2, exponent: 1 },
        parts: [a?, b?, c?],
        price: 1e-4,
        rate: 0.02,
        outer: run.pick(2, 8),
    })
}

/// Digits of 7 x 7 pixels, u' = tanh(W2 [tanh(W1 [u; t] + b1); t] + b2) on [0, 1], a linear head.
pub fn digits(
    run: &Run<'_>,
    digits: &Digits,
    train: usize,
) -> Result<Priced<Mlp<f64>, Mlp<f64>, CrossEntropy>, StudyError> {
    const SIDE: usize = 7;
    let failed = StudyError::of(TASKS[1]);
    let n = SIDE * SIDE;
    let pooled = |i: usize| -> Vec<f64> {
        let x = &digits.x[i * INPUTS..][..INPUTS];
        let at = |k: usize| 4 * SIDE * (k / SIDE) + 2 * (k % SIDE);
        (0..n).map(|k| [0, 1, 2 * SIDE, 2 * SIDE + 1].iter().map(|d| 0.25 * x[at(k) + d]).sum()).collect()
    };
    let part = |from: usize, to: usize, batch: usize| {
        let whole = (to - from) / batch * batch;
        let losses = (from..from + whole).collect::<Vec<_>>();
        let labels = |c: &[usize]| CrossEntropy { labels: c.iter().map(|i| digits.label(*i)).collect() };
        let problem = SolvedProblem {
            method: &TSIT54,
            options: Options { max_steps: MOST_STEPS, ..Options::tolerances(1e-4, 1e-4) },
            span: (0.0, 1.0),
            times: vec![],
            starts: losses.iter().flat_map(|i| pooled(*i)).collect(),
            batch,
            steps: run.pick(20, 100),
            pieces: 1,
        };
        (problem, losses.chunks(batch).map(labels).collect::<Vec<_>>())
    };
    let all = digits.labels.len();
    Ok(Priced {
        name: TASKS[1],
        field: Mlp::dense(&[n, 20, n], Activation::Tanh, Activation::Tanh, true).map_err(&failed)?,
        head: Mlp::linear(n, CLASSES).map_err(&failed)?,
        parts: [part(0, train, 50), part(train, 2 * train, 250), part(2 * train, all, 250)],
        price: 1e-3,
        rate: 0.1,
        outer: run.pick(2, 6),
    })
}

#[cfg(test)]
mod tests {
    use super::super::StudyOptions;
    use super::*;

    /// The gradient through a whole training, that of J on validation data by the weights of its pieces, against differences. The steps of the solver are fixed
    /// in the others: they agree to the tolerance.
    #[test]
    fn the_gradient_by_weights_is_that_of_trainings() {
        let options = StudyOptions { quick: true, ..StudyOptions::default() };
        let stop = std::sync::Arc::default();
        let mut silent = |_: &str| {};
        let run = Run { options: &options, progress: &mut silent, stop: &stop };
        let mut task = spiral(&run).unwrap();
        for (problem, _) in &mut task.parts {
            problem.steps = 8;
            // Without a relative tolerance, whose |y| has kinks.
            problem.options = Options::tolerances(0.0, 1e-6).with_fixed_step(0.05);
        }
        let (rates, momenta) = (vec![task.rate; 8], vec![0.9; 8]);
        let steps = InnerSteps { rates: &rates, momenta: &momenta };
        let (p, price) = (task.start(1), task.step_price());
        let theta: Vec<f64> = (0..PIECES).map(|k| price + 3.0 + 0.3 * k as f64).collect();
        let value = |theta: &[f64]| {
            let (mut inner, mut validation) = (task.part(0, PIECES).unwrap(), task.part(1, 1).unwrap());
            let (mut unrolled, mut bar) = (Unrolled::new(Memory::States), vec![0.0; p.values().len()]);
            let end = unrolled.forward(&mut inner, p.values(), theta, steps).unwrap();
            let loss = validation.gradient(0, end, &[price], &mut bar);
            (loss, unrolled.reverse(&mut inner, &bar).unwrap().theta)
        };
        let found = value(&theta).1;
        let size = found.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        assert!(size > 0.0, "{found:?}");
        for k in 0..PIECES {
            let at = |e: f64| {
                let mut moved = theta.clone();
                moved[k] += e;
                value(&moved).0
            };
            let h = 1e-2;
            let want = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            assert!((found[k] - want).abs() < 1e-5 * size, "{k}: {} {want}", found[k]);
        }
    }
}
