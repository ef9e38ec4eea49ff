//! Neural differential equations that are cheap to solve: a price on the expected number of steps against none, on five experiments.
//!
//! The experiments are the files of `examples/train`, with the variants `vanilla` and `expected steps`; what is measured are evaluations of the field on the test
//! data, and the test metric.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use super::stats::mean;
use super::{Judgment, Measured, Run, Study, StudyError, Table};
use crate::linalg::Scalar;
use crate::train::config::Precision;
use crate::train::{Config, Evaluation, Split, State, TrainStop, train};

pub struct Heuristics;

/// Name and configuration.
const EXPERIMENTS: [(&str, &str); 5] = [
    ("spiral_ode", include_str!("../../examples/train/spiral_ode.toml")),
    ("spiral_sde", include_str!("../../examples/train/spiral_sde.toml")),
    ("latent_ode", include_str!("../../examples/train/latent_ode.toml")),
    ("mnist_ode", include_str!("../../examples/train/mnist_ode.toml")),
    ("mnist_sde", include_str!("../../examples/train/mnist_sde.toml")),
];
const VARIANTS: [&str; 2] = ["vanilla", "expected steps"];

fn failed(e: impl std::fmt::Display) -> StudyError {
    StudyError::of("heuristics")(e)
}

/// The configuration of an experiment, with digits from the folder of data if there is one.
fn config(text: &str, variant: &str, data: Option<&Path>) -> Result<Config, StudyError> {
    let config: Config = toml::from_str(text).map_err(|e| failed(e.message()))?;
    let mut config = config.with_variant(variant).map_err(failed)?;
    if let (Some(folder), Some(data)) = (config.task.folder(), data) {
        // Only the digits: a folder of series is another kind of data.
        if data.join("t10k-images-idx3-ubyte.gz").exists() || data.join("t10k-images-idx3-ubyte").exists() {
            *folder = Some(data.canonicalize().map_err(failed)?.display().to_string());
        }
    }
    Ok(config)
}

/// Trains, and evaluates on the test data; the loss is NaN where training failed.
fn once<T: Scalar>(config: &Config, run: &Run<'_>) -> Result<Evaluation, StudyError> {
    let mut task = config.build::<T>(Path::new("")).map_err(failed)?;
    let mut state = State::new(&*task, &config.optimizer, config.train.seed);
    let stop = train(&mut *task, &config.train, &mut state, &mut |_, _| {
        Ok(if run.check().is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    match stop.map_err(failed)? {
        TrainStop::Interrupted => Err(StudyError::Interrupted),
        TrainStop::Failed { .. } => Ok(Evaluation { loss: f64::NAN, nfe: f64::NAN, ..Evaluation::default() }),
        TrainStop::Finished | TrainStop::EarlyStop => {
            task.evaluate(state.params.values(), Split::Test).map_err(failed)
        }
    }
}

impl Study for Heuristics {
    fn name(&self) -> &'static str {
        "heuristics"
    }
    fn paper(&self) -> &'static str {
        "Opening the blackbox: accelerating neural differential equations by regularizing internal solver heuristics (ICML 2021, arXiv 2105.03918)"
    }
    fn claim(&self) -> &'static str {
        "Penalties made of the solver's own error estimates give neural differential equations that need fewer evaluations, at the same accuracy (published ratios 0.37 to 0.70)."
    }
    fn criterion(&self) -> &'static str {
        "in each of the five experiments, with a price on the expected number of steps: evaluations <= 0.7 of those without (means over seeds), and test accuracy at most 1 point lower, or test loss <= 1.2 of that without"
    }
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
        let mut table = Table::new(&["experiment", "variant", "seed", "NFE", "accuracy", "loss"]);
        let mut notes =
            vec!["configurations: examples/train; one seed each unless --seeds says more".to_string()];
        let (count, data) = (run.pick(1, EXPERIMENTS.len()), run.options.data.clone());
        for (name, text) in &EXPERIMENTS[..count] {
            let begun = Instant::now();
            for variant in VARIANTS {
                for seed in run.seeds(1, 1) {
                    run.say(&format!("{name}, {variant}, seed {seed}"))?;
                    let mut config = config(text, variant, data.as_deref())?;
                    config.train.seed = seed;
                    if config.task.folder().is_some_and(|f| f.is_none())
                        && seed == run.options.seed
                        && variant == VARIANTS[0]
                    {
                        notes.push(format!(
                            "{name}: generated data; real digits (the IDX files t10k-*) with --data FOLDER"
                        ));
                    }
                    let e = match config.train.precision {
                        Precision::F32 => once::<f32>(&config, run)?,
                        Precision::F64 => once::<f64>(&config, run)?,
                    };
                    table.push(vec![
                        (*name).into(),
                        variant.into(),
                        seed.into(),
                        e.nfe.into(),
                        e.accuracy.into(),
                        e.loss.into(),
                    ]);
                }
            }
            notes.push(format!("{name}: {:.0} s", begun.elapsed().as_secs_f64()));
        }
        Ok(Measured { table, notes, ..Measured::default() })
    }
    fn judge(&self, table: &Table) -> Judgment {
        EXPERIMENTS.iter().fold(Judgment::new(), |judgment, (name, _)| {
            let of = |variant: &str, column: &str| {
                mean(&table.only("experiment", *name).only("variant", variant).numbers(column))
            };
            let pair = |column: &str| Some((of(VARIANTS[0], column)?, of(VARIANTS[1], column)?));
            let judgment =
                judgment.at_most(&format!("{name}, ratio of NFE"), pair("NFE").map(|(a, b)| b / a), 0.7);
            match pair("accuracy") {
                Some((a, b)) => judgment.at_least(&format!("{name}, change of accuracy"), Some(b - a), -0.01),
                None => judgment.at_most(
                    &format!("{name}, ratio of losses"),
                    pair("loss").map(|(a, b)| b / a),
                    1.2,
                ),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cell, Verdict};
    use super::*;

    /// NFE, accuracy and loss with the price in one experiment, all others as they should be; 100, 0.95, 1 without.
    fn verdict(name: &str, nfe: f64, accuracy: Option<f64>, loss: f64) -> Verdict {
        let mut table = Table::new(&["experiment", "variant", "NFE", "accuracy", "loss"]);
        for (other, _) in EXPERIMENTS {
            let mut row = |variant: &str, (nfe, accuracy, loss): (f64, Option<f64>, f64)| {
                table.push(vec![
                    other.into(),
                    variant.into(),
                    nfe.into(),
                    accuracy.into(),
                    Cell::Number(loss),
                ]);
            };
            row("vanilla", (100.0, accuracy.map(|_| 0.95), 1.0));
            row(
                "expected steps",
                if other == name { (nfe, accuracy, loss) } else { (50.0, accuracy.map(|_| 0.95), 1.0) },
            );
        }
        Heuristics.judge(&table).verdict()
    }

    #[test]
    fn the_criterion_on_made_up_tables() {
        assert_eq!(verdict("latent_ode", 69.0, None, 1.2), Verdict::Holds);
        assert_eq!(verdict("latent_ode", 71.0, None, 1.2), Verdict::DoesNotHold);
        assert_eq!(verdict("latent_ode", 69.0, None, 1.3), Verdict::DoesNotHold);
        assert_eq!(verdict("mnist_ode", 69.0, Some(0.945), 9.0), Verdict::Holds);
        assert_eq!(verdict("mnist_ode", 69.0, Some(0.935), 1.0), Verdict::DoesNotHold);
        assert_eq!(verdict("mnist_ode", f64::NAN, Some(0.95), 1.0), Verdict::DoesNotHold);
        let mut one = Table::new(&["experiment", "variant", "NFE", "accuracy", "loss"]);
        for (variant, nfe) in [("vanilla", 100.0), ("expected steps", 50.0)] {
            one.push(vec!["spiral_ode".into(), variant.into(), nfe.into(), Cell::Missing, 1.0.into()]);
        }
        assert_eq!(Heuristics.judge(&one).verdict(), Verdict::CannotBeDecided);
    }

    #[test]
    fn configurations_have_both_variants() {
        for (name, text) in EXPERIMENTS {
            for variant in VARIANTS {
                let c = config(text, variant, None).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(c.penalties.len(), (variant != "vanilla") as usize, "{name}");
            }
        }
    }
}
