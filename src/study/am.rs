//! Momentum that sets itself: logistic regression against fixed momenta, and AM-AdamW against AdamW on the 1-D task.

use super::data::SplitMix64;
use super::fits::{Plan, Problem, best, center, each, fit, named, rates};
use super::stats::median;
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::diff::{Entry, Init};
use crate::opt::lbfgs::{LbfgsOptions, minimize};
use crate::train::{OptimizerConfig, Schedule, optim};

pub struct AmStudy;

const SAMPLES: usize = 1000;
const INPUTS: usize = 50;
const L2: f64 = 1e-4;
const RATES: [f64; 6] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
const FIXED: [f64; 4] = [0.0, 0.5, 0.9, 0.99];
const WARM_UP: u64 = 500;

/// Mean logarithmic loss of y in {-1, 1} and a linear model without bias, with l2: columns of deviations 10^0 to 10^-1.5, labels drawn by the model of a standard normal w.
struct Logistic {
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Logistic {
    fn new(seed: u64) -> Self {
        let mut r = SplitMix64::of(seed, 31);
        let w = r.normals(INPUTS);
        let mut x = r.normals(SAMPLES * INPUTS);
        let scale = |j: usize| 10f64.powf(-1.5 * j as f64 / (INPUTS - 1) as f64);
        x.iter_mut().enumerate().for_each(|(i, x)| *x *= scale(i % INPUTS));
        let label = |x: &[f64]| {
            let z: f64 = x.iter().zip(&w).map(|(x, w)| x * w).sum();
            if r.uniform() < 1.0 / (1.0 + (-z).exp()) { 1.0 } else { -1.0 }
        };
        let y = x.chunks_exact(INPUTS).map(label).collect();
        Self { x, y }
    }
    /// Of these samples; g <- its gradient.
    fn loss(&self, w: &[f64], samples: &[usize], g: &mut [f64]) -> f64 {
        let share = 1.0 / samples.len() as f64;
        let mut loss = 0.0;
        for (g, w) in g.iter_mut().zip(w) {
            loss += 0.5 * L2 * w * w;
            *g = L2 * w;
        }
        for s in samples {
            let x = &self.x[s * INPUTS..][..INPUTS];
            let margin = -self.y[*s] * x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>();
            // log(1 + e^m) without overflow.
            loss += share * (margin.max(0.0) + (-margin.abs()).exp().ln_1p());
            let slope = -share * self.y[*s] / (1.0 + (-margin).exp());
            g.iter_mut().zip(x).for_each(|(g, x)| *g += slope * x);
        }
        loss
    }
    fn least(&self) -> Result<f64, StudyError> {
        let all: Vec<usize> = (0..SAMPLES).collect();
        let options = LbfgsOptions { iterations: 5000, gradient: 1e-9, decrease: 0.0, ..Default::default() };
        let end = minimize(&mut |w, g| self.loss(w, &all, g), &[0.0; INPUTS], &options);
        Ok(end.map_err(StudyError::of("am"))?.value)
    }
    /// What is left of the full loss above the least after steps on random batches of 32; infinite if the run explodes.
    fn descend(&self, optimizer: &OptimizerConfig, rate: f64, steps: u64, seed: u64) -> f64 {
        let entry = Entry { name: "w".into(), shape: vec![INPUTS], range: 0..INPUTS, init: Init::Zeros };
        let mut optimizer = optimizer.build::<f64>(&[entry]);
        let (mut w, mut g, mut r) = ([0.0; INPUTS], [0.0; INPUTS], SplitMix64::of(seed, 32));
        for _ in 0..steps {
            let batch: [usize; 32] = std::array::from_fn(|_| (r.uniform() * SAMPLES as f64) as usize);
            self.loss(&w, &batch, &mut g);
            optimizer.step(rate, &mut w, &g);
        }
        let all: Vec<usize> = (0..SAMPLES).collect();
        let loss = self.loss(&w, &all, &mut g);
        if loss.is_finite() { loss } else { f64::INFINITY }
    }
}

/// d <- beta d + (1 - beta) g: gradient descent with momentum whose rate is (1 - beta) times as large.
fn convex_methods() -> Vec<(String, OptimizerConfig, f64)> {
    let fixed = |beta: f64| (format!("beta {beta}"), optim::SgdConfig { momentum: beta }.into(), 1.0 - beta);
    let am = ("am".to_string(), optim::AmConfig::default().into(), 1.0);
    FIXED.iter().map(|beta| fixed(*beta)).chain([am]).collect()
}

impl Study for AmStudy {
    fn name(&self) -> &'static str {
        "am"
    }
    fn paper(&self) -> &'static str {
        "Adaptive memory momentum (arXiv 2510.04988)"
    }
    fn claim(&self) -> &'static str {
        "Momentum whose coefficient sets itself is not worse than hand-tuned momentum, tolerates rates that are too large, and needs no warm-up."
    }
    fn criterion(&self) -> &'static str {
        "logistic regression: at every rate the median of AM's excess loss <= 1.1 x the least of beta 0, 0.5, 0.9, and <= 0.8 x it at rates 10 and 30. 1-D task: median error of AM-AdamW without warm-up <= 2 x that of AdamW, with or without, all at the best of seven rates"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let failed = StudyError::of("am");
        let mut table = Table::new(&["part", "method", "rate", "warm-up", "seed", "error"]);
        let (steps, seeds, methods) = (run.pick(300, 1500), run.seeds(1, 3), convex_methods());
        run.say("logistic regression")?;
        let problems: Vec<(u64, Logistic)> = seeds.map(|seed| (seed, Logistic::new(seed))).collect();
        let least = each(run, &problems, |(_, problem), _| problem.least())?;
        let mut jobs = vec![];
        for m in 0..methods.len() {
            for rate in RATES {
                jobs.extend((0..problems.len()).map(|k| (m, rate, k)));
            }
        }
        let done = each(run, &jobs, |(m, rate, k), _| {
            let (seed, problem) = &problems[*k];
            let (_, optimizer, share) = &methods[*m];
            Ok(problem.descend(optimizer, share * rate, steps, *seed) - least[*k])
        })?;
        for ((m, rate, k), excess) in jobs.into_iter().zip(done) {
            let (seed, warm_up) = (problems[k].0, 0u64);
            let head = vec!["logistic".into(), methods[m].0.as_str().into(), rate.into()];
            table.push([head, vec![warm_up.into(), seed.into(), excess.into()]].concat());
        }
        let n = run.pick(1000, 10_000);
        let plain = [
            named("am_adamw", optim::AmAdamWConfig { decay: 0.0, ..Default::default() }),
            named("adamw", optim::AdamWConfig { decay: 0.0, ..Default::default() }),
        ];
        run.say("1-D task")?;
        let mut jobs = vec![];
        for (name, optimizer) in &plain {
            for rate in rates(center(optimizer), run.options.quick) {
                for warm_up in [0, WARM_UP] {
                    jobs.extend(run.seeds(1, 5).map(|seed| (name, optimizer, rate, warm_up, seed)));
                }
            }
        }
        let done = each(run, &jobs, |(_, optimizer, rate, warm_up, seed), stop| {
            let mut task = Problem::<f64>::one_d(*seed, n).and_then(|p| p.task()).map_err(&failed)?;
            let mut plan = Plan::small(optimizer, *rate, *seed);
            if *warm_up > 0 {
                plan.rate = Schedule::WarmUp { value: *rate, steps: *warm_up };
            }
            Ok(fit(&mut task, &plan, stop).map_err(&failed)?.error)
        })?;
        for ((name, _, rate, warm_up, seed), error) in jobs.into_iter().zip(done) {
            let head = vec!["1-D".into(), name.as_str().into(), rate.into(), warm_up.into()];
            table.push([head, vec![seed.into(), error.into()]].concat());
        }
        let notes = vec![
            format!(
                "logistic regression: {SAMPLES} samples, {INPUTS} inputs of deviations 1 to 0.03, l2 {L2}, batch 32, {steps} steps; error: full loss above the least; beta 0.99 is shown only"
            ),
            format!(
                "1-D: {n} rows, batch 32, 20 epochs, no decay; warm-up: steps over which the rate grows linearly; both on the rates {:?}",
                rates(1e-3, run.options.quick)
            ),
        ];
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let convex = table.only("part", "logistic");
        let mut judgment = Judgment::new();
        for rate in RATES {
            let of = |name: &str| median(&convex.only("rate", rate).only("method", name).numbers("error"));
            let fixed: Option<Vec<f64>> = FIXED[..3].iter().map(|beta| of(&format!("beta {beta}"))).collect();
            let ratio = fixed.and_then(|f| Some(of("am")? / f.into_iter().fold(f64::INFINITY, f64::min)));
            let most = if rate >= 10.0 { 0.8 } else { 1.1 };
            judgment = judgment.at_most(&format!("logistic, rate {rate}, AM / best fixed"), ratio, most);
        }
        let small = table.only("part", "1-D");
        let own = best(&small.only("method", "am_adamw").only("warm-up", 0u64), "error");
        let warm = |steps: u64| best(&small.only("method", "adamw").only("warm-up", steps), "error");
        let other = warm(0).zip(warm(WARM_UP)).map(|(a, b)| a.1.min(b.1));
        let ratio = own.zip(other).map(|(a, b)| a.1 / b);
        judgment.at_most("1-D, AM-AdamW / AdamW", ratio, 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    /// AM's excess relative to the fixed momenta's at small and at large rates, and that of AM-AdamW relative to AdamW's with a warm-up.
    fn verdict(small: f64, large: f64, adamw: f64) -> Verdict {
        let mut table = Table::new(&["part", "method", "rate", "warm-up", "error"]);
        let mut push = |part: &str, name: &str, rate: f64, warm_up: u64, error: f64| {
            table.push(vec![part.into(), name.into(), rate.into(), warm_up.into(), error.into()]);
        };
        for rate in RATES {
            for (beta, error) in FIXED.iter().zip([3.0, 2.0, 1.0, 0.1]) {
                push("logistic", &format!("beta {beta}"), rate, 0, error);
            }
            push("logistic", "am", rate, 0, if rate >= 10.0 { large } else { small });
        }
        for (name, warm_up, error) in
            [("am_adamw", 0, adamw), ("am_adamw", WARM_UP, 0.1), ("adamw", 0, 5.0), ("adamw", WARM_UP, 1.0)]
        {
            push("1-D", name, 1.0, warm_up, error);
            push("1-D", name, 2.0, warm_up, 10.0 * error);
        }
        AmStudy.judge(&table).verdict()
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        assert_eq!(verdict(1.05, 0.75, 1.9), Verdict::Holds);
        assert_eq!(verdict(1.15, 0.75, 1.9), Verdict::DoesNotHold);
        assert_eq!(verdict(1.0, 0.9, 1.9), Verdict::DoesNotHold);
        assert_eq!(verdict(1.0, 0.7, 2.1), Verdict::DoesNotHold);
        assert_eq!(verdict(1.0, f64::INFINITY, 1.0), Verdict::DoesNotHold);
    }

    #[test]
    fn the_logistic_loss_has_its_gradient_and_its_least_value() {
        let problem = Logistic::new(0);
        let (w, all) = (SplitMix64::new(5).normals(INPUTS), [3, 17, 500]);
        let (mut g, mut room) = ([0.0; INPUTS], [0.0; INPUTS]);
        problem.loss(&w, &all, &mut g);
        for i in [0, 20, 49] {
            let mut at = |h: f64| {
                let mut w = w.clone();
                w[i] += h;
                problem.loss(&w, &all, &mut room)
            };
            assert!(((at(1e-5) - at(-1e-5)) / 2e-5 - g[i]).abs() < 1e-9);
        }
        let all: Vec<usize> = (0..SAMPLES).collect();
        let least = problem.least().unwrap();
        // Strongly convex: a gradient of 1e-9 leaves 1e-18 / (2 L2). Nothing nearby is lower.
        assert!(least > 0.1 && least < problem.loss(&[0.0; INPUTS], &all, &mut g));
        let excess = problem.descend(&optim::SgdConfig { momentum: 0.0 }.into(), 1.0, 200, 0) - least;
        assert!(excess > 0.0 && excess < 0.1, "{excess}");
    }
}
