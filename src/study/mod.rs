//! Studies: does a published claim hold at the scale of one machine?
//!
//! A study measures with the library's own methods, as any caller would, and judges what it measured:
//!
//! ```text
//! claim -> measure(seeds, sizes) -> table -> judge(table) -> verdict
//! ```
//!
//! | verdict | when |
//! |---|---|
//! | `holds` | every requirement of the criterion is met |
//! | `does not hold at this scale` | one of them is not |
//! | `cannot be decided` | none fails, but something needed was not measured (no data files) |
//!
//! [`Study::judge`] is a function of the table alone, and criteria are not changed after a run. A new study is one file that implements [`Study`] and one
//! row of [`STUDIES`]; it holds no algorithm. Its table has the same bits for any number of threads: times stand in notes.

mod am;
mod attack;
mod bandit;
mod biodiesel;
mod bnn_bo;
mod comparison;
pub mod data;
mod digits;
mod early_stop;
mod fits;
mod gbnn;
#[cfg(feature = "cli")]
mod heuristics;
mod judgment;
mod lion;
mod nested;
mod opposing;
mod optimizers;
mod priced;
mod report;
mod root;
mod school;
mod self_tuned;
mod sequences;
mod signals;
mod sketched_newton;
mod solutions;
pub mod stats;
mod stn;
mod streams;
mod sven;
mod table;
mod teach;
mod wide_deep;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use judgment::{Finding, Judgment, Verdict};
pub use report::{Picture, StudyReport};
pub use table::{Cell, Table};

use crate::train::Config;

/// All studies, in the order of the table in docs/studies.md.
pub static STUDIES: &[&dyn Study] = &[
    &sketched_newton::SketchedNewton,
    // Its configurations are files in TOML, which the command reads.
    #[cfg(feature = "cli")]
    &heuristics::Heuristics,
    &optimizers::Optimizers,
    &lion::LionStudy,
    &am::AmStudy,
    &sven::SvenStudy,
    &solutions::Solutions,
    &nested::Nested,
    &opposing::OpposingSignals,
    &gbnn::Boosting,
    &attack::Attack,
    &bnn_bo::BnnBo,
    &bandit::Bandit,
    &wide_deep::WideDeep,
    &early_stop::EarlyStopping,
    &stn::SelfTuning,
    &teach::Teaching,
    &root::Root,
];

/// A published claim, how it is measured, and how it is judged.
pub trait Study: Sync {
    /// In the command line: small letters, digits, underscores.
    fn name(&self) -> &'static str;
    /// Title and number of the paper.
    fn paper(&self) -> &'static str;
    /// What the paper says, in one or two sentences.
    fn claim(&self) -> &'static str;
    /// What has to be seen for the claim to hold, with numbers.
    fn criterion(&self) -> &'static str;
    /// Whether it takes a training configuration of its user's ([`StudyOptions::training`]).
    fn takes_training(&self) -> bool {
        false
    }
    /// Measures. Long work asks [`Run::say`] or [`Run::check`] now and then whether it should end.
    ///
    /// # Errors
    /// Bad options or data, an interruption, or a method that failed where that says nothing of the claim.
    fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError>;
    /// The criterion, as a function of the table.
    fn judge(&self, table: &Table) -> Judgment;
}

/// How a study is run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StudyOptions {
    /// Fewer seeds and steps, under 20 s on two cores: the verdict is not final.
    pub quick: bool,
    /// Seeds, in place of the study's own number.
    pub seeds: Option<u64>,
    /// The first seed.
    pub seed: u64,
    /// Folder of data files, for studies that read any.
    pub data: Option<PathBuf>,
    /// A training configuration and the folder that its paths start at, in place of the study's own tasks.
    pub training: Option<(Config, PathBuf)>,
}

/// What a study found, before it is judged.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// The numbers.
    pub table: Table,
    /// What else is worth knowing: settings, grids, times, results beside the claim.
    pub notes: Vec<String>,
    /// Plots.
    pub pictures: Vec<Picture>,
}

/// Options of a run, and its line to whoever waits for it.
pub struct Run<'a> {
    /// What was asked for.
    pub options: &'a StudyOptions,
    progress: &'a mut dyn FnMut(&str),
    stop: &'a Arc<AtomicBool>,
}

impl Run<'_> {
    /// Tells what comes next.
    ///
    /// # Errors
    /// [`StudyError::Interrupted`] if the run should end.
    pub fn say(&mut self, what: &str) -> Result<(), StudyError> {
        (self.progress)(what);
        self.check()
    }
    /// As [`say`](Self::say), in silence.
    ///
    /// # Errors
    /// [`StudyError::Interrupted`] if the run should end.
    pub fn check(&self) -> Result<(), StudyError> {
        if self.stop.load(Ordering::Relaxed) { Err(StudyError::Interrupted) } else { Ok(()) }
    }
    /// Whether the run should end; for callbacks of methods.
    pub fn stop(&self) -> &Arc<AtomicBool> {
        self.stop
    }
    /// The first if quick, else the second.
    pub fn pick<A>(&self, quick: A, full: A) -> A {
        if self.options.quick { quick } else { full }
    }
    /// The seeds: as many as asked for, or `quick` or `full`.
    pub fn seeds(&self, quick: u64, full: u64) -> std::ops::Range<u64> {
        let count = self.options.seeds.unwrap_or(self.pick(quick, full));
        self.options.seed..self.options.seed.saturating_add(count)
    }
}

/// Why a study gave no report. Prints as one sentence.
#[derive(Debug, thiserror::Error)]
pub enum StudyError {
    /// It was asked to end.
    #[error("interrupted")]
    Interrupted,
    /// Options or data that cannot be used.
    #[error("{0}")]
    Input(String),
    /// A method failed.
    #[error("the study {study} failed: {what}")]
    Failed {
        /// Its name.
        study: &'static str,
        /// The method's message.
        what: String,
    },
}

impl StudyError {
    /// For `map_err`: the method's message, as a failure of this study.
    pub fn of<E: std::fmt::Display>(study: &'static str) -> impl Fn(E) -> Self {
        move |e| Self::Failed { study, what: e.to_string() }
    }
}

/// The study of this name.
pub fn find(name: &str) -> Option<&'static dyn Study> {
    STUDIES.iter().copied().find(|s| s.name() == name)
}

/// Measures and judges. `progress` gets a line now and then; raising `stop` ends the run.
///
/// # Errors
/// As [`Study::measure`].
pub fn run(
    study: &dyn Study,
    options: &StudyOptions,
    progress: &mut dyn FnMut(&str),
    stop: &Arc<AtomicBool>,
) -> Result<StudyReport, StudyError> {
    let begun = Instant::now();
    if options.seeds == Some(0) {
        return Err(StudyError::Input("seeds is 0, it must be at least 1".into()));
    }
    if options.training.is_some() && !study.takes_training() {
        let what = format!("the study {} takes no training configuration", study.name());
        return Err(StudyError::Input(what));
    }
    let measured = study.measure(&mut Run { options, progress, stop })?;
    Ok(StudyReport::new(study, options, measured, begun.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_registry() {
        for (i, study) in STUDIES.iter().enumerate() {
            let name = study.name();
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(!name.is_empty() && name.chars().all(letter) && name != "all", "{name}");
            assert!(STUDIES[..i].iter().all(|s| s.name() != name), "{name} is there twice");
            for text in [study.paper(), study.claim(), study.criterion()] {
                assert!(text.len() > 10 && !text.contains('\n'), "{name}: {text:?}");
            }
            // Nothing measured decides nothing.
            assert_eq!(study.judge(&Table::default()).verdict(), Verdict::CannotBeDecided, "{name}");
            assert!(find(name).is_some());
        }
        assert!(find("wide-deep").is_none());
    }

    struct Coin;
    impl Study for Coin {
        fn name(&self) -> &'static str {
            "coin"
        }
        fn paper(&self) -> &'static str {
            "A coin has two sides"
        }
        fn claim(&self) -> &'static str {
            "Heads are as frequent as tails."
        }
        fn criterion(&self) -> &'static str {
            "share of heads between 0.4 and 0.6"
        }
        fn measure(&self, run: &mut Run<'_>) -> Result<Measured, StudyError> {
            let mut table = Table::new(&["seed", "heads"]);
            for seed in run.seeds(1, 3) {
                run.say(&format!("seed {seed}"))?;
                table.push(vec![seed.into(), Cell::Number(0.5)]);
            }
            Ok(Measured { table, ..Measured::default() })
        }
        fn judge(&self, table: &Table) -> Judgment {
            let share = stats::mean(&table.numbers("heads"));
            Judgment::new().at_least("share", share, 0.4).at_most("share", share, 0.6)
        }
    }

    #[test]
    fn seeds_interruptions_and_bad_options() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut lines = vec![];
        let options = StudyOptions { seed: 5, ..StudyOptions::default() };
        let report = run(&Coin, &options, &mut |l| lines.push(l.to_string()), &stop).unwrap();
        assert_eq!((report.table.len(), report.verdict, report.seed), (3, Verdict::Holds, 5));
        assert_eq!(lines, ["seed 5", "seed 6", "seed 7"]);
        let quick = StudyOptions { quick: true, ..StudyOptions::default() };
        assert_eq!(run(&Coin, &quick, &mut |_| {}, &stop).unwrap().table.len(), 1);
        let none = StudyOptions { seeds: Some(0), ..StudyOptions::default() };
        assert!(run(&Coin, &none, &mut |_| {}, &stop).unwrap_err().to_string().contains("at least 1"));
        stop.store(true, Ordering::Relaxed);
        assert!(matches!(run(&Coin, &options, &mut |_| {}, &stop), Err(StudyError::Interrupted)));
    }
}
