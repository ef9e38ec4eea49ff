//! Wide and deep networks as classifiers: are the kernels what the taxonomy says?
//!
//! Points of the positive orthant of the sphere of dimension d = 2, 4, 8, two labels with P(1 | x) = 1 / (1 + e^-g), g a random quadratic form, centered and
//! scaled to standard deviation 3. Compared on test points: the kernels with alpha = d, the Hilbert estimate, the nearest neighbor, the majority.

use super::data::{SplitMix64, orthant};
use super::stats::{agreement, mean};
use super::{Cell, Judgment, Measured, Run, Study, StudyError, Table};
use crate::classify::{DualActivation, DualKernel, DualKernelOptions, Vote, WideKernel};

pub struct WideDeep;

const DIMENSIONS: [usize; 3] = [2, 4, 8];
/// Depth of the two limits that are votes.
const LIMIT_DEPTH: usize = 100;
const TEST: usize = 500;

/// Points, labels, and the share of test labels that the best rule gets right in the mean.
struct Sample {
    train: Vec<f64>,
    labels: Vec<usize>,
    test: Vec<f64>,
    truth: Vec<usize>,
    bayes: f64,
}

fn sample(d: usize, n: usize, seed: u64) -> Sample {
    let mut numbers = SplitMix64::of(seed, d as u64);
    let k = d + 1;
    let form = numbers.normals(k * k);
    let x = orthant(n + TEST, d, &mut numbers);
    let quadratic =
        |x: &[f64]| (0..k).map(|i| x[i] * (0..k).map(|j| form[i * k + j] * x[j]).sum::<f64>()).sum::<f64>();
    let g: Vec<f64> = x.chunks_exact(k).map(quadratic).collect();
    let (center, scale) = (mean(&g).unwrap_or(0.0), super::stats::deviation(&g).unwrap_or(1.0));
    let p: Vec<f64> = g.iter().map(|g| 1.0 / (1.0 + (-3.0 * (g - center) / scale).exp())).collect();
    let mut labels: Vec<usize> = p.iter().map(|p| (numbers.uniform() < *p) as usize).collect();
    let truth = labels.split_off(n);
    let bayes = p[n..].iter().map(|p| p.max(1.0 - p)).sum::<f64>() / TEST as f64;
    Sample { train: x[..n * k].to_vec(), labels, test: x[n * k..].to_vec(), truth, bayes }
}

impl Sample {
    fn kernel(
        &self,
        d: usize,
        activation: DualActivation,
        kernel: WideKernel,
        depth: usize,
    ) -> Result<Vec<usize>, StudyError> {
        let options = DualKernelOptions { activation: Some(activation), kernel, depth };
        let fit = DualKernel::fit_sphere(&self.train, d + 1, &self.labels, &options);
        fit.and_then(|f| f.predict(&self.test)).map_err(StudyError::of("wide_deep"))
    }
    fn vote(&self, d: usize, vote: Vote) -> Result<Vec<usize>, StudyError> {
        vote.predict(&self.train, d + 1, &self.labels, &self.test).map_err(StudyError::of("wide_deep"))
    }
}

impl Study for WideDeep {
    fn name(&self) -> &'static str {
        "wide_deep"
    }
    fn paper(&self) -> &'static str {
        "Wide and deep neural networks achieve consistency for classification (arXiv 2204.14126)"
    }
    fn claim(&self) -> &'static str {
        "Infinitely wide and deep networks are of three kinds by their activation: a majority vote, the nearest neighbor, or a singular kernel, which is consistent where its exponent is the dimension."
    }
    fn criterion(&self) -> &'static str {
        "for each d: optimal S agrees with the Hilbert estimate on >= 99 % of the test points and is >= nearest neighbor + 1.5 points; optimal K lies between the nearest neighbor and Hilbert + 1 point; ReLU at depth 100 is the majority and xi^2 the nearest neighbor, each on >= 99 % (means over seeds)"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let (n, depth) = (run.pick(1000, 4000), run.pick(60, 100));
        let mut table = Table::new(&[
            "d",
            "seed",
            "bayes",
            "hilbert",
            "optimal S",
            "S = hilbert",
            "optimal K",
            "K = hilbert",
            "nearest",
            "majority",
            "ReLU",
            "ReLU = majority",
            "xi^2 = nearest",
            "S, alpha d/2",
        ]);
        for d in DIMENSIONS {
            for seed in run.seeds(2, 5) {
                run.say(&format!("d = {d}, seed {seed}"))?;
                let sample = sample(d, n, seed);
                let right = |labels: &[usize]| Cell::from(agreement(labels, &sample.truth));
                let hilbert = sample.vote(d, Vote::Hilbert { power: d as f64 })?;
                let nearest = sample.vote(d, Vote::Nearest)?;
                let majority = sample.vote(d, Vote::Majority)?;
                let named = |d| DualActivation::consistent(d).map_err(StudyError::of("wide_deep"));
                let s = sample.kernel(d, named(d)?, WideKernel::Outputs, depth)?;
                let half = sample.kernel(d, named(d / 2)?, WideKernel::Outputs, depth)?;
                let k = sample.kernel(d, named(d)?, WideKernel::Tangent, depth)?;
                let relu = sample.kernel(d, DualActivation::Relu, WideKernel::Outputs, LIMIT_DEPTH)?;
                let square = DualActivation::Polynomial(vec![0.0, 0.0, 1.0]);
                let square = sample.kernel(d, square, WideKernel::Outputs, LIMIT_DEPTH)?;
                table.push(vec![
                    d.into(),
                    seed.into(),
                    sample.bayes.into(),
                    right(&hilbert),
                    right(&s),
                    agreement(&s, &hilbert).into(),
                    right(&k),
                    agreement(&k, &hilbert).into(),
                    right(&nearest),
                    right(&majority),
                    right(&relu),
                    agreement(&relu, &majority).into(),
                    agreement(&square, &nearest).into(),
                    right(&half),
                ]);
            }
        }
        let mut notes = vec![format!(
            "{n} samples, {TEST} test points, depth {depth}; the votes at depth {LIMIT_DEPTH}; shares of test points"
        )];
        for d in DIMENSIONS {
            let of = |c: &str| mean(&table.only("d", d).numbers(c)).unwrap_or(f64::NAN);
            let (s, half) = (of("optimal S"), of("S, alpha d/2"));
            if half > s {
                notes.push(format!("d = {d}: the exponent {} does better at this n, {half:.3} for {s:.3}: consistency speaks of n to infinity", d / 2));
            }
        }
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        DIMENSIONS.iter().fold(Judgment::new(), |judgment, d| {
            let of = |c: &str| mean(&table.only("d", *d).numbers(c));
            let less = |a: &str, b: &str| Some(of(a)? - of(b)?);
            judgment
                .at_least(&format!("d = {d}, S = hilbert"), of("S = hilbert"), 0.99)
                .at_least(&format!("d = {d}, S - nearest"), less("optimal S", "nearest"), 0.015)
                .at_least(&format!("d = {d}, K - nearest"), less("optimal K", "nearest"), 0.0)
                .at_most(&format!("d = {d}, K - hilbert"), less("optimal K", "hilbert"), 0.01)
                .at_least(&format!("d = {d}, ReLU = majority"), of("ReLU = majority"), 0.99)
                .at_least(&format!("d = {d}, xi^2 = nearest"), of("xi^2 = nearest"), 0.99)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    /// (S = hilbert, S, K, nearest, ReLU = majority) at d = 4, the other dimensions as they should be.
    fn verdict([same, s, k, nearest, relu]: [f64; 5]) -> Verdict {
        let columns = [
            "d",
            "hilbert",
            "optimal S",
            "S = hilbert",
            "optimal K",
            "nearest",
            "ReLU = majority",
            "xi^2 = nearest",
        ];
        let mut table = Table::new(&columns);
        let mut row = |d: usize, [same, s, k, nearest, relu]: [f64; 5]| {
            table.push(vec![
                d.into(),
                0.74.into(),
                s.into(),
                same.into(),
                k.into(),
                nearest.into(),
                relu.into(),
                1.0.into(),
            ]);
        };
        row(2, [1.0, 0.74, 0.73, 0.70, 1.0]);
        row(8, [1.0, 0.74, 0.73, 0.70, 1.0]);
        row(4, [same, s, k, nearest, relu]);
        WideDeep.judge(&table).verdict()
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        assert_eq!(verdict([0.99, 0.74, 0.72, 0.70, 0.99]), Verdict::Holds);
        for worse in [
            [0.989, 0.74, 0.72, 0.70, 1.0],
            [1.0, 0.714, 0.71, 0.70, 1.0],
            [1.0, 0.74, 0.69, 0.70, 1.0],
            [1.0, 0.74, 0.751, 0.70, 1.0],
            [1.0, 0.74, 0.72, 0.70, 0.98],
            [f64::NAN, 0.74, 0.72, 0.70, 1.0],
        ] {
            assert_eq!(verdict(worse), Verdict::DoesNotHold, "{worse:?}");
        }
        assert_eq!(WideDeep.judge(&Table::new(&["d", "seed"])).verdict(), Verdict::CannotBeDecided);
    }

    #[test]
    fn samples_have_the_stated_bayes_rate() {
        let s = sample(4, 50, 3);
        assert_eq!((s.train.len(), s.labels.len(), s.test.len(), s.truth.len()), (250, 50, 5 * TEST, TEST));
        assert!(s.bayes > 0.7 && s.bayes < 0.95, "{}", s.bayes);
        assert_eq!(sample(4, 50, 3).truth, s.truth);
        assert_ne!(sample(4, 50, 4).truth, s.truth);
    }
}
