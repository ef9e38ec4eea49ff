//! `kind = "series"`: the keys of a configuration.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data::{Columns, Section, Trajectory, sections};
use super::{Scales, Trajectories};
use crate::diff::Map;
use crate::expr::{Recorded, TextFormula, Var, record};
use crate::linalg::Scalar;
use crate::nn::{Activation, Mlp};
use crate::train::config::Config;
use crate::train::error::TrainError;
use crate::train::recipe::{Need, Recipe, at_least};
use crate::train::size::layer;
use crate::train::supervised::{LossKind, StandardLoss, split};
use crate::train::task::Task;

/// What is kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aside {
    /// The later part of every series.
    #[default]
    End,
    /// Whole series.
    Series,
}

/// The known part of a right-hand side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Known {
    /// A.
    Linear(Vec<Vec<f64>>),
    /// One a state, in the states by their names or as x0, x1, ..., and the time by its name ([`TextFormula`]).
    Formulas(Vec<String>),
}

impl Default for Known {
    fn default() -> Self {
        Self::Linear(vec![])
    }
}

/// `kind = "series"`: series of states by a differential equation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeriesConfig {
    /// Folder of the file, relative to the configuration file; default its own.
    #[serde(default)]
    pub folder: Option<String>,
    /// CSV with a header.
    pub file: String,
    /// Column of times; default "t".
    #[serde(default = "t")]
    pub time: String,
    /// Columns of states; default: all others.
    #[serde(default)]
    pub states: Vec<String>,
    /// Column of the series' names; default: one series.
    #[serde(default)]
    pub series: Option<String>,
    /// What is kept aside: "end" of every series (default), or whole "series".
    #[serde(default)]
    pub aside: Aside,
    /// Share for validation; default 0.1.
    #[serde(default = "tenth")]
    pub validation: f64,
    /// Share for tests, after that for validation; default 0.2.
    #[serde(default = "fifth")]
    pub test: f64,
    /// Of the division into series; default 0.
    #[serde(default)]
    pub split_seed: u64,
    /// Rows of one section to train on, each of which starts at data (multiple shooting from what was observed); default: whole series.
    #[serde(default)]
    pub window: Option<usize>,
    /// squared (default) or huber.
    #[serde(default = "squared")]
    pub loss: LossKind,
    /// Of the Huber loss, in deviations of a state; default 1.
    #[serde(default = "one")]
    pub delta: f64,
    /// States of mean 0 and deviation 1, and a time scale made of the data; default true.
    #[serde(default = "yes")]
    pub standardize: bool,
    /// The known part of dy/dt, in the units of the data: A of A y + b, a list for each row, or formulas; default none.
    #[serde(default)]
    pub known: Known,
    /// b of A y + b; default zeros.
    #[serde(default)]
    pub known_constant: Vec<f64>,
    /// Whether the network does not see the time; default true.
    #[serde(default = "yes")]
    pub autonomous: bool,
    /// Widths of the network's hidden layers; default one of 32.
    #[serde(default = "hidden")]
    pub hidden: Vec<usize>,
    /// identity, tanh (default), sigmoid, relu or gelu.
    #[serde(default = "tanh")]
    pub activation: Activation,
    /// Components beyond the states, which start at zero; default 0.
    #[serde(default)]
    pub augment: usize,
}

fn t() -> String {
    "t".into()
}
fn tenth() -> f64 {
    0.1
}
fn fifth() -> f64 {
    0.2
}
fn squared() -> LossKind {
    LossKind::Squared
}
fn one() -> f64 {
    1.0
}
fn yes() -> bool {
    true
}
fn hidden() -> Vec<usize> {
    vec![32]
}
fn tanh() -> Activation {
    Activation::Tanh
}

/// What weights belong to besides scales.
pub(super) type ModelNote = (Known, Vec<f64>, bool, Vec<usize>, Activation, usize);

impl SeriesConfig {
    pub(super) fn path(&self, base: &Path) -> PathBuf {
        self.folder.as_ref().map_or(base.to_path_buf(), |f| base.join(f)).join(&self.file)
    }
    pub(super) fn columns(&self) -> Columns {
        Columns { time: self.time.clone(), states: self.states.clone(), series: self.series.clone() }
    }
    pub(super) fn loss(&self) -> Result<StandardLoss, TrainError> {
        StandardLoss::new(self.loss, 1)?.with_delta(self.delta)
    }
    pub(super) fn model(&self) -> ModelNote {
        let Self { known, known_constant, autonomous, hidden, activation, augment, .. } = self.clone();
        (known, known_constant, autonomous, hidden, activation, augment)
    }
    /// Sections to train on, for validation, for tests.
    pub(super) fn split(&self, all: &[Trajectory], d: usize) -> Result<[Vec<Section>; 3], TrainError> {
        let whole = |i: usize| Section { series: i, first: 0, end: all[i].times.len() };
        let windows = |s: Section| sections(&all[s.series], s, d, self.window);
        if self.aside == Aside::Series {
            let [train, validation, test] =
                split(all.len(), None, (self.validation, self.test), self.split_seed);
            if train.is_empty() {
                return Err(TrainError::config(format!("of {} series none is left to train on", all.len())));
            }
            let list = |of: Vec<usize>| of.into_iter().map(whole).collect::<Vec<_>>();
            return Ok([
                train.into_iter().map(whole).flat_map(windows).collect(),
                list(validation),
                list(test),
            ]);
        }
        let mut splits = [vec![], vec![], vec![]];
        for (i, of) in all.iter().enumerate() {
            let n = of.times.len();
            let rows = |share: f64| (share * n as f64).floor() as usize;
            // At least one row behind the start is trained on.
            let test = rows(self.test).min(n - 2);
            let kept = rows(self.validation).min(n - 2 - test);
            let (a, b) = (n - test - kept, n - test);
            splits[0].extend(windows(Section { end: a, ..whole(i) }));
            for (split, from, to) in [(1, a, b), (2, b, n)] {
                // Row 0 is complete.
                let first = of.last_complete(0, from, d).unwrap_or(0);
                if to > from {
                    splits[split].push(Section { series: i, first, end: to });
                }
            }
        }
        Ok(splits)
    }
    /// The right-hand side in scaled numbers.
    pub(super) fn field<T: Scalar>(&self, scales: &Scales) -> Result<Box<dyn Map<T>>, TrainError> {
        let n = scales.states.len() + self.augment;
        let sizes = [&[n], &self.hidden[..], &[n]].concat();
        let net = Mlp::dense(&sizes, self.activation, Activation::Identity, !self.autonomous)?;
        let known = match &self.known {
            Known::Linear(a) if a.is_empty() && self.known_constant.is_empty() => return Ok(Box::new(net)),
            Known::Linear(a) => self.linear(a, scales)?,
            Known::Formulas(formulas) => self.formulas(formulas, scales)?,
        };
        Ok(Box::new(known.into_map_of::<T>().plus(net)?))
    }
    /// L (A (m + s u) + b) / s.
    fn linear(&self, a: &[Vec<f64>], scales: &Scales) -> Result<Recorded, TrainError> {
        let Scales { mean, scale, time, .. } = scales;
        let (d, n) = (mean.len(), mean.len() + self.augment);
        if a.iter().any(|r| r.len() != d) || !matches!(a.len(), 0) && a.len() != d {
            let what = format!("task.known must have {d} rows of {d} numbers, as many as there are states");
            return Err(TrainError::config(what));
        }
        if !self.known_constant.is_empty() && self.known_constant.len() != d {
            let what = format!(
                "task.known_constant has {} numbers, there are {d} states",
                self.known_constant.len()
            );
            return Err(TrainError::config(what));
        }
        let a = |i: usize, j: usize| a.get(i).map_or(0.0, |r| r[j]);
        let known = record(n, 0, |_, u, _, du| {
            for (i, du) in du.iter_mut().enumerate() {
                *du = Var::from(0.0);
                if i >= d {
                    continue;
                }
                let b = self.known_constant.get(i).copied().unwrap_or(0.0);
                let constant = b + (0..d).map(|j| a(i, j) * mean[j]).sum::<f64>();
                *du = Var::from(time / scale[i] * constant);
                for j in (0..d).filter(|j| a(i, *j) != 0.0) {
                    *du += time / scale[i] * a(i, j) * scale[j] * u[j];
                }
            }
        });
        known.map_err(|e| TrainError::config(format!("task.known: {e}")))
    }
    /// L f(t, m + s u) / s.
    fn formulas(&self, formulas: &[String], scales: &Scales) -> Result<Recorded, TrainError> {
        let Scales { states, mean, scale, time } = scales;
        let (d, n) = (mean.len(), mean.len() + self.augment);
        if formulas.len() != d {
            let what = format!("task.known has {} formulas, there are {d} states", formulas.len());
            return Err(TrainError::config(what));
        }
        if !self.known_constant.is_empty() {
            let what =
                "task.known_constant belongs to a matrix: write constants into the formulas of task.known";
            return Err(TrainError::config(what));
        }
        // States by their names first, then the time, then states by number.
        let numbered = (0..d).map(|i| format!("x{i}"));
        let names: Vec<String> = states.iter().cloned().chain([self.time.clone()]).chain(numbered).collect();
        let read = |(i, text): (usize, &String)| {
            let failed = |e| TrainError::config(format!("task.known, formula {}: {e}", i + 1));
            let read = TextFormula::read(text, &names).map_err(failed)?;
            if read.uses(d) && self.autonomous {
                let what = format!(
                    "task.known, formula {}: it has the time in it; set autonomous = false, times are then those of the file",
                    i + 1
                );
                return Err(TrainError::config(what));
            }
            Ok(read)
        };
        let read = formulas.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
        let known = record(n, 0, |tau, u, _, du| {
            let y: Vec<Var> = (0..d).map(|i| mean[i] + scale[i] * u[i]).collect();
            let values: Vec<Var> = y.iter().copied().chain([*time * tau]).chain(y.iter().copied()).collect();
            for (i, du) in du.iter_mut().enumerate() {
                *du = match read.get(i) {
                    Some(f) => time / scale[i] * f.record(&values),
                    None => Var::from(0.0),
                };
            }
        });
        known.map_err(|e| TrainError::config(format!("task.known: {e}")))
    }
}

impl Recipe for SeriesConfig {
    fn check(&self, run: &Config) -> Result<(), TrainError> {
        if self.hidden.contains(&0) {
            return Err(TrainError::config("task.hidden has a layer of width 0"));
        }
        if let Some(window) = self.window {
            at_least(&[("window", window, 1)])?;
        }
        for (name, share) in [("validation", self.validation), ("test", self.test)] {
            if !(0.0..1.0).contains(&share) {
                let what = format!("task.{name} is {share}, it must be at least 0 and below 1: a share");
                return Err(TrainError::config(what));
            }
        }
        if self.validation + self.test >= 1.0 {
            return Err(TrainError::config("task.validation and task.test leave nothing to train on"));
        }
        if !matches!(self.loss, LossKind::Squared | LossKind::Huber) {
            return Err(TrainError::config("task.loss of series must be squared or huber"));
        }
        let numbers = match &self.known {
            Known::Linear(a) => &a[..],
            Known::Formulas(_) => &[],
        };
        if numbers.iter().flatten().chain(&self.known_constant).any(|v| !v.is_finite()) {
            return Err(TrainError::config("task.known has a number that is not finite"));
        }
        if run.penalties.iter().any(|p| p.path().is_some()) {
            let what = "penalties taylor, kinetic and jacobian are not for kind = \"series\"";
            return Err(TrainError::config(what));
        }
        self.loss().map(|_| ())
    }
    fn need(&self, run: &Config) -> Need {
        // How many states and times there are is in the file.
        let (mut from, mut parameters) = (1.0 + self.augment as f64, 0.0);
        for width in &self.hidden {
            parameters += layer(from, *width as f64);
            from = *width as f64;
        }
        Need { parameters, states: run.train.batch as f64, bytes: 0.0 }
    }
    fn build<T: Scalar>(&self, run: &Config, base: &Path) -> Result<Box<dyn Task<T>>, TrainError> {
        Ok(Box::new(Trajectories::new(run, self, base)?))
    }
    fn folder(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.folder)
    }
    fn takes_stiff_methods(&self) -> bool {
        true
    }
    fn step(&self, run: &Config) -> String {
        format!("{} sections a step", run.train.batch)
    }
}
