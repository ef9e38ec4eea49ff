//! Neural bandits, a simulation: do features of a pre-trained model help to find the best candidate?
//!
//! 2000 candidates z in [-1, 1]^10; the "model" is a random two-layer map to 64 features h(z); the score is a smooth function of h, scaled to [0, 1]; noise 0.05.

use rand::RngExt;
use rand::rngs::StdRng;

use super::stats::mean;
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::random::{Purpose, generator, normal};
use crate::surrogate::bandit::{BanditOptions, NeuralUcb};
use crate::surrogate::model::most_likely;

pub struct Bandit;

const NAME: &str = "bandit";
const COUNT: usize = 2000;
const Z: usize = 10;
const H: usize = 64;
const NOISE: f64 = 0.05;
const FIRST: usize = 20;

/// Candidates, their features and true scores.
struct Problem {
    z: Vec<f64>,
    h: Vec<f64>,
    score: Vec<f64>,
    seed: u64,
}

/// tanh(W x) row by row, W (outputs x inputs) of variance gain^2 / inputs.
fn layer(x: &[f64], (inputs, outputs): (usize, usize), gain: f64, rng: &mut StdRng) -> Vec<f64> {
    let scale = gain / (inputs as f64).sqrt();
    let w: Vec<f64> = (0..inputs * outputs).map(|_| scale * normal(rng)).collect();
    let unit =
        |x: &[f64], o: usize| w[o * inputs..][..inputs].iter().zip(x).map(|(w, x)| w * x).sum::<f64>().tanh();
    x.chunks_exact(inputs).flat_map(|x| (0..outputs).map(|o| unit(x, o)).collect::<Vec<_>>()).collect()
}

impl Problem {
    fn new(seed: u64) -> Self {
        let mut rng = generator(seed, Purpose::Design as u64, 0);
        let z: Vec<f64> = (0..COUNT * Z).map(|_| rng.random_range(-1.0..1.0)).collect();
        let hidden = layer(&z, (Z, H), 2.0, &mut rng);
        let h = layer(&hidden, (H, H), 1.5, &mut rng);
        // A quadratic of a direction and a slope along another: smooth in h.
        let direction = |rng: &mut StdRng| (0..H).map(|_| normal(rng) / 8.0).collect::<Vec<f64>>();
        let (a, b) = (direction(&mut rng), direction(&mut rng));
        let along = |h: &[f64], v: &[f64]| h.iter().zip(v).map(|(h, v)| h * v).sum::<f64>();
        let raw: Vec<f64> = h.chunks_exact(H).map(|h| along(h, &a) - along(h, &b).powi(2)).collect();
        let (low, high) = raw.iter().fold((f64::MAX, f64::MIN), |(l, u), r| (l.min(*r), u.max(*r)));
        let score = raw.iter().map(|r| (r - low) / (high - low)).collect();
        Self { z, h, score, seed }
    }
    /// What an evaluation of candidate i says.
    fn noisy(&self, i: usize) -> f64 {
        self.score[i] + NOISE * normal(&mut generator(self.seed, Purpose::Posterior as u64, i as u64))
    }
    /// Different candidates in random order.
    fn order(&self) -> Vec<usize> {
        let mut rng = generator(self.seed, Purpose::Search as u64, 0);
        let mut order: Vec<usize> = (0..COUNT).collect();
        (1..COUNT).rev().for_each(|i| order.swap(i, rng.random_range(0..=i)));
        order
    }
    fn best(&self, tried: &[usize]) -> f64 {
        tried.iter().fold(f64::NEG_INFINITY, |b, i| b.max(self.score[*i]))
    }
    /// Best true score, and the mean ratio of the two terms.
    fn neural(&self, features: &[f64], dim: usize, rounds: usize) -> Result<(f64, f64), StudyError> {
        let failed = StudyError::of(NAME);
        let options = BanditOptions {
            width: 50,
            iterations: 300,
            rate: 1e-2,
            seed: self.seed,
            ..BanditOptions::default()
        };
        let mut bandit = NeuralUcb::new(features, dim, options).map_err(&failed)?;
        let mut tried = self.order()[..FIRST].to_vec();
        for i in &tried {
            bandit.observe(*i, self.noisy(*i)).map_err(&failed)?;
        }
        let mut ratio = 0.0;
        for _ in 0..rounds {
            let Some(next) = bandit.suggest().map_err(&failed)? else { break };
            ratio += next.ratio / rounds as f64;
            bandit.observe(next.index, self.noisy(next.index)).map_err(&failed)?;
            tried.push(next.index);
        }
        Ok((self.best(&tried), ratio))
    }
    /// The upper bound mean + 2 sigma of a Gaussian process on a grid of 15 hyper-parameters.
    fn process(&self, features: &[f64], dim: usize, rounds: usize) -> Result<f64, StudyError> {
        let mut tried = self.order()[..FIRST].to_vec();
        let lengths = [0.25, 0.5, 1.0, 2.0, 4.0].map(|l| l * (dim as f64).sqrt());
        let (mut mu, mut variance) = (vec![0.0; COUNT], vec![0.0; COUNT]);
        for _ in 0..rounds {
            let x: Vec<f64> = tried.iter().flat_map(|i| features[i * dim..][..dim].to_vec()).collect();
            let y: Vec<f64> = tried.iter().map(|i| self.noisy(*i)).collect();
            let (shift, scale) = (mean(&y).unwrap_or(0.0), super::stats::deviation(&y).unwrap_or(1.0));
            let y: Vec<f64> = y.iter().map(|y| (y - shift) / scale).collect();
            let gp = most_likely(&x, dim, &y, &lengths, &[1e-6, 1e-3, 1e-1]).map_err(StudyError::of(NAME))?;
            gp.predict(features, &mut mu, &mut variance);
            let bound = |i: &usize| mu[*i] + 2.0 * variance[*i].sqrt();
            let free = (0..COUNT).filter(|i| !tried.contains(i));
            let Some(next) = free.max_by(|a, b| bound(a).total_cmp(&bound(b))) else { break };
            tried.push(next);
        }
        Ok(self.best(&tried))
    }
}

impl Study for Bandit {
    fn name(&self) -> &'static str {
        NAME
    }
    fn paper(&self) -> &'static str {
        "Use your INSTINCT: instruction optimization using neural bandits coupled with transformers (arXiv 2310.02905)"
    }
    fn claim(&self) -> &'static str {
        "A neural bandit on hidden features of a pre-trained model finds better candidates in few evaluations than one on the raw inputs or a Gaussian process."
    }
    fn criterion(&self) -> &'static str {
        "simulation, mean best true score over seeds: NeuralUCB on h >= NeuralUCB on z + 0.01, and NeuralUCB on z >= the Gaussian process on z"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let rounds = run.pick(20, 50);
        let columns =
            ["seed", "random", "GP on z", "neural on z", "neural on h", "GP on h", "ratio z", "ratio h"];
        let mut table = Table::new(&columns);
        for seed in run.seeds(2, 5) {
            run.say(&format!("seed {seed}"))?;
            let p = Problem::new(seed);
            let random = p.best(&p.order()[..FIRST + rounds]);
            let (on_z, ratio_z) = p.neural(&p.z, Z, rounds)?;
            run.check()?;
            let (on_h, ratio_h) = p.neural(&p.h, H, rounds)?;
            let (gp_z, gp_h) = (p.process(&p.z, Z, rounds)?, p.process(&p.h, H, rounds)?);
            let cells = [random, gp_z, on_z, on_h, gp_h, ratio_z, ratio_h];
            table.push(std::iter::once(seed.into()).chain(cells.map(Into::into)).collect());
        }
        let of = |c: &str| mean(&table.numbers(c)).unwrap_or(f64::NAN);
        let notes = vec![
            format!(
                "a simulation: {COUNT} candidates, {FIRST} + {rounds} evaluations, network of 50 units, 300 steps at rate 0.01"
            ),
            format!(
                "the Gaussian process on h: {:.3}, NeuralUCB on h: {:.3}",
                of("GP on h"),
                of("neural on h")
            ),
            "ratio: spread of sigma over that of mu among the candidates, mean over rounds".into(),
        ];
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let less = |a: &str, b: &str| Some(mean(&table.numbers(a))? - mean(&table.numbers(b))?);
        Judgment::new().at_least("NeuralUCB on h - on z", less("neural on h", "neural on z"), 0.01).at_least(
            "NeuralUCB on z - Gaussian process on z",
            less("neural on z", "GP on z"),
            0.0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn the_criterion_is_a_function_of_the_table() {
        let judge = |gp_z: f64, z: f64, h: f64| {
            let mut t = Table::new(&["seed", "GP on z", "neural on z", "neural on h"]);
            t.push(vec![0u64.into(), gp_z.into(), z.into(), h.into()]);
            Bandit.judge(&t).verdict()
        };
        assert_eq!(judge(0.91, 0.957, 0.981), Verdict::Holds);
        assert_eq!(judge(0.96, 0.957, 0.981), Verdict::DoesNotHold);
        assert_eq!(judge(0.91, 0.957, 0.960), Verdict::DoesNotHold);
        assert_eq!(Bandit.judge(&Table::default()).verdict(), Verdict::CannotBeDecided);
    }
}
