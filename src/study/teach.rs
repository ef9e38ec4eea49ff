//! Generated samples that teach a fresh network in a few steps: better than real ones, in the order learned, and a measure of architectures?
//!
//! Digits, 14 x 14; learner 196-64-10 (tanh), fresh each time; 16 steps on 20 samples (2 a class). Learned: 320 samples, 16 rates e^r, 16 momenta 1 / (1 + e^-m), by
//! the gradient of the last parameters' loss on batches of 256 real digits through all steps, Adam 0.02 to a tenth by cosine.
//! Then the same gradient for the weight of the expected-steps penalty of neural differential equations, spiral and digits.

use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::digits::{Digits, INPUTS};
use super::priced::{self, Tuning};
use super::school::{BATCH, Lesson, STEPS, School, TESTS, net};
use super::stats::{mean, spearman};
use super::{Cell, Judgment, Measured, Run, Study, StudyError, Table};
use crate::nn::Activation;
use crate::random::{Purpose, generator};

pub struct Teaching;

const NAME: &str = "teach";

/// The batches in another order; rates and momenta stay with the steps.
fn shuffled(lesson: &Lesson, seed: u64) -> Lesson {
    let mut order: Vec<usize> = (0..STEPS).collect();
    order.shuffle(&mut generator(seed, Purpose::Design as u64, 5));
    let len = BATCH * INPUTS;
    let samples = order.iter().flat_map(|t| lesson.samples[t * len..][..len].iter().copied()).collect();
    Lesson { samples, ..lesson.clone() }
}

/// Widths and activations of learner k.
fn architecture(k: usize) -> (usize, Activation) {
    let activation = [Activation::Tanh, Activation::Sigmoid, Activation::Relu][k % 3];
    ([2, 3, 4, 6, 8, 12, 16, 32, 64, 128][k / 3 % 10], activation)
}

impl Study for Teaching {
    fn name(&self) -> &'static str {
        NAME
    }
    fn paper(&self) -> &'static str {
        "Generative teaching networks: accelerating neural architecture search by learning to generate synthetic training data (arXiv 1912.07768)"
    }
    fn claim(&self) -> &'static str {
        "Learned samples train a fresh network in far fewer steps than real ones; their order is a curriculum; and accuracy after them ranks architectures better than as many real steps."
    }
    fn criterion(&self) -> &'static str {
        "taught - real >= 5 points in all seeds; taught - shuffled >= 2 points (mean); rank correlation with training on all data: taught > 16 real steps; spiral and digits as neural ODEs: median of loss + price x NFE on test data, with the weight of the expected-steps penalty tuned by the gradient through the training, <= that of a grid of weights of equal cost"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let digits = Digits::new(run, run.pick(3000, 10_000))?;
        let school = School { digits: &digits, train: run.pick(2400, 8000) };
        let (outer, learners, epochs) = run.pick((80, 9, 2), (600, 30, 10));
        let own = ["learner", "seed", "taught", "real", "shuffled", "all data"];
        let mut table = Table::new(&[&own[..], &priced::COLUMNS].concat());
        let seeds: Vec<u64> = run.seeds(1, 3).collect();
        run.say(&format!("{outer} outer steps, {} seeds", seeds.len()))?;
        let standard = net(64, Activation::Tanh)?;
        let stop = run.stop();
        let lessons = seeds.par_iter().map(|seed| school.teach(outer, *seed, stop));
        let lessons = lessons.collect::<Result<Vec<_>, _>>()?;
        for (seed, lesson) in seeds.iter().zip(&lessons) {
            let taught = school.after(&standard, lesson, *seed)?;
            let real = school.best_real(&standard, *seed)?;
            let mixed =
                (0..TESTS).map(|k| school.after(&standard, &shuffled(lesson, TESTS * seed + k), *seed));
            let mixed = mean(&mixed.collect::<Result<Vec<_>, _>>()?);
            table.push(vec![
                "64 tanh".into(),
                (*seed).into(),
                taught.into(),
                real.into(),
                mixed.into(),
                Cell::Missing,
            ]);
        }
        run.say(&format!("{learners} learners"))?;
        let (lesson, seed, stop) = (&lessons[0], seeds[0], run.stop());
        let rows = (0..learners).into_par_iter().map(|k| {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(StudyError::Interrupted);
            }
            let (width, activation) = architecture(k);
            let net = net(width, activation)?;
            let (taught, real) = (school.after(&net, lesson, seed)?, school.best_real(&net, seed)?);
            let name = format!("{width} {activation:?}").to_lowercase();
            let all = school.whole(&net, epochs, seed)?;
            Ok(vec![Cell::Text(name), seed.into(), taught.into(), real.into(), Cell::Missing, all.into()])
        });
        rows.collect::<Result<Vec<_>, StudyError>>()?.into_iter().for_each(|row| table.push(row));
        let train = run.pick(300, 1000);
        let seeds = seeds[0]..seeds[0] + seeds.len() as u64;
        let (rows, priced) = priced::compare(run, (Tuning::Unrolled, "unrolled"), (&digits, train), seeds)?;
        for (seed, cells) in rows {
            let head = vec![Cell::Missing, seed.into()];
            table.push([head, vec![Cell::Missing; 4], cells.to_vec()].concat());
        }
        let notes = vec![
            priced,
            format!(
                "accuracies on {} test digits, means over {TESTS} fresh learners; {}",
                digits.labels.len() - school.train,
                digits.note
            ),
            format!(
                "real: 320 samples in {STEPS} steps, the best of rates 0.03, 0.1, 0.3 with momenta 0, 0.5; all data: {epochs} epochs of Adam 1e-3; {outer} outer steps"
            ),
        ];
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        let standard = table.only("learner", "64 tanh");
        // The same architecture is among the learners, where all data are known.
        let (all, shuffled) = (table.numbers("all data"), standard.numbers("shuffled"));
        let lessons = shuffled.len();
        let column = |c: &str| standard.numbers(c).into_iter().take(lessons).collect::<Vec<_>>();
        let (taught, real) = (column("taught"), column("real"));
        let gain = taught
            .iter()
            .zip(&real)
            .map(|(a, b)| a - b)
            .reduce(|a, b| if a.is_nan() || a < b { a } else { b });
        let order = mean(&taught.iter().zip(&shuffled).map(|(a, b)| a - b).collect::<Vec<_>>());
        let ranked = |c: &str| spearman(table.numbers(c).get(lessons..)?, &all);
        let better = ranked("taught").and_then(|t| Some(t - ranked("real")?));
        let judgment = Judgment::new()
            .at_least("least of taught - real", gain, 0.05)
            .at_least("taught - shuffled", order, 0.02)
            .require("rank correlation, taught - 16 real steps", better, "above 0", |v| v > 0.0);
        priced::judge(judgment, table, "unrolled")
    }
}

#[cfg(test)]
#[path = "teach_tests.rs"]
mod tests;
