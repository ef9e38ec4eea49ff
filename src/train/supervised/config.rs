//! `kind = "supervised"`: a table learned by a network, from a file of settings.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Supervised;
use super::columns::ColumnLoss;
use super::model::{Flow, Layers, Model};
use super::objective::{LossKind, StandardLoss};
use super::predictor::{NOTE, Recorded};
use super::source::{Memory, fold, split};
use crate::data::{Encoder, EncoderOptions, Missing, Table, Targets};
use crate::linalg::Scalar;
use crate::nn::{Activation, Mlp, Parallel};
use crate::train::config::{Config, SolverConfig};
use crate::train::data::Images;
use crate::train::error::TrainError;
use crate::train::optim::Needs;
use crate::train::penalty::Penalty;
use crate::train::recipe::{Need, Recipe, at_least};
use crate::train::size::{layer, main_memory};
use crate::train::task::Task;

/// One name or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a name or a list of names")]
pub enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Names {
    fn list(&self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name.clone()],
            Self::Several(names) => names.clone(),
        }
    }
}

/// Weights of classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"balanced\" or a table of weights by class")]
pub enum ClassWeight {
    /// "balanced": rows / (classes x rows of the class), of those trained on.
    Named(String),
    /// By class; 1 for those that are not named.
    Given(BTreeMap<String, f64>),
}

/// The network between inputs and outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// A multilayer perceptron.
    #[default]
    Mlp,
    /// u(0) = (x; 0), du/dt = a perceptron of (u, t), outputs linear in u(1).
    Ode,
}

/// Its layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    model: ModelKind,
    hidden: Vec<usize>,
    activation: Option<Activation>,
    augment: usize,
    piece: usize,
}

impl Shape {
    /// A model of these sizes.
    pub(super) fn build<T: Scalar>(
        &self,
        inputs: usize,
        outputs: usize,
        solver: &SolverConfig,
        penalties: &[Penalty],
    ) -> Result<Box<dyn Model<T>>, TrainError> {
        let sizes = |from: usize, to: usize| [&[from], &self.hidden[..], &[to]].concat();
        let mlp = |from, to, default, time| {
            Mlp::dense(&sizes(from, to), self.activation.unwrap_or(default), Activation::Identity, time)
        };
        if self.model == ModelKind::Mlp {
            let net = Parallel::new(mlp(inputs, outputs, Activation::Relu, false)?, self.piece);
            return Ok(Box::new(Layers::new(net)?));
        }
        let dim = inputs + self.augment;
        let field = Parallel::new(mlp(dim, dim, Activation::Tanh, true)?, self.piece);
        Ok(Box::new(Flow::new(inputs, field, Mlp::linear(dim, outputs)?, solver, penalties)?))
    }
}

/// `kind = "supervised"`: columns of a table from the others, by a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisedConfig {
    /// Folder of the files, relative to the configuration file; default its own.
    #[serde(default)]
    pub folder: Option<String>,
    /// CSV with a header, LIBSVM text (its target is `label`), or IDX images with `labels`; gzip or not.
    pub file: String,
    /// For IDX images: the file of their labels, which are the target `label`.
    #[serde(default)]
    pub labels: Option<String>,
    /// Column to predict, or a list of columns of numbers.
    pub target: Names,
    /// Whether the target is a class; by default if it is text. Integers are numbers unless this is true.
    #[serde(default)]
    pub classes: Option<bool>,
    /// Columns of inputs; default: all others.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Columns that are no inputs.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Columns of numbers that are names of categories.
    #[serde(default)]
    pub categorical: Vec<String>,
    /// Column of the rows' weights.
    #[serde(default)]
    pub weight: Option<String>,
    /// "balanced", or a table of weights by class.
    #[serde(default)]
    pub class_weight: Option<ClassWeight>,
    /// Missing inputs: "refuse" (default) or "mean", with an input that says so.
    #[serde(default)]
    pub missing: Missing,
    /// Inputs and targets of mean 0 and deviation 1; default true. Targets of the Poisson loss stay as they are.
    #[serde(default = "yes")]
    pub standardize: bool,
    /// Rows for validation: a share of `file`, by default 0.1.
    #[serde(default)]
    pub validation: Option<f64>,
    /// Or a file of them.
    #[serde(default)]
    pub validation_file: Option<String>,
    /// Rows for tests: a share of `file`, by default 0.2.
    #[serde(default)]
    pub test: Option<f64>,
    /// Or a file of them.
    #[serde(default)]
    pub test_file: Option<String>,
    /// Of the division, apart from the run's seed; default 0.
    #[serde(default)]
    pub split_seed: u64,
    /// Number of folds; the test rows are then those of one. Default 0: none.
    #[serde(default)]
    pub folds: usize,
    /// Which one, from 0.
    #[serde(default)]
    pub fold: usize,
    /// squared (default for numbers), huber, gaussian, poisson, quantile; cross_entropy for classes.
    #[serde(default)]
    pub loss: Option<LossKind>,
    /// Of the Huber loss, in units of the target's deviation; default 1.
    #[serde(default = "one")]
    pub delta: f64,
    /// Of the quantile loss; default 0.1, 0.5, 0.9.
    #[serde(default = "quantiles")]
    pub quantiles: Vec<f64>,
    /// "mlp" (default) or "ode".
    #[serde(default)]
    pub model: ModelKind,
    /// Widths of the hidden layers; default one of 100. None: linear.
    #[serde(default = "hidden")]
    pub hidden: Vec<usize>,
    /// identity, tanh, sigmoid, relu or gelu; default relu, for "ode" tanh.
    #[serde(default)]
    pub activation: Option<Activation>,
    /// Components of the state beyond the inputs, for "ode"; default 0.
    #[serde(default)]
    pub augment: usize,
    /// Rows that one thread takes at a time, part of the result's rounding; default 128.
    #[serde(default = "piece")]
    pub piece: usize,
}

fn yes() -> bool {
    true
}
fn one() -> f64 {
    1.0
}
fn quantiles() -> Vec<f64> {
    vec![0.1, 0.5, 0.9]
}
fn hidden() -> Vec<usize> {
    vec![100]
}
fn piece() -> usize {
    128
}

impl SupervisedConfig {
    fn share(
        &self,
        name: &str,
        share: Option<f64>,
        file: &Option<String>,
        default: f64,
    ) -> Result<f64, TrainError> {
        if file.is_some() && share.is_some() {
            let what = format!("task.{name} and task.{name}_file exclude each other: a share, or a file");
            return Err(TrainError::config(what));
        }
        let share = share.unwrap_or(if file.is_some() { 0.0 } else { default });
        if (0.0..1.0).contains(&share) {
            return Ok(share);
        }
        let what = format!("task.{name} is {share}, it must be at least 0 and below 1: a share of the rows");
        Err(TrainError::config(what))
    }
    /// Shares of validation and test.
    fn shares(&self) -> Result<(f64, f64), TrainError> {
        let validation = self.share("validation", self.validation, &self.validation_file, 0.1)?;
        let test = self.share("test", self.test, &self.test_file, 0.2)?;
        if validation + test >= 1.0 {
            let what = format!("task.validation {validation} and task.test {test} leave nothing to train on");
            return Err(TrainError::config(what));
        }
        Ok((validation, test))
    }
    fn shape(&self) -> Shape {
        let Self { model, hidden, activation, augment, piece, .. } = self.clone();
        Shape { model, hidden, activation, augment, piece }
    }
    fn encoder(&self) -> EncoderOptions {
        EncoderOptions {
            targets: self.target.list(),
            classes: self.classes.or((self.loss == Some(LossKind::CrossEntropy)).then_some(true)),
            inputs: self.inputs.clone(),
            ignore: self.ignore.clone(),
            categorical: self.categorical.clone(),
            weight: self.weight.clone(),
            missing: self.missing,
            raw_inputs: !self.standardize,
            raw_targets: !self.standardize || self.loss == Some(LossKind::Poisson),
        }
    }
    fn loss(&self, targets: &Targets) -> Result<ColumnLoss, TrainError> {
        let (default, size) = match targets {
            Targets::Numbers(all) => (LossKind::Squared, all.len()),
            Targets::Classes { names, .. } => (LossKind::CrossEntropy, names.len()),
        };
        let loss = StandardLoss::new(self.loss.unwrap_or(default), size)?;
        ColumnLoss::new(loss.with_delta(self.delta)?.with_quantiles(&self.quantiles)?, targets.clone())
    }
    /// The files: all rows, and how many are of each.
    fn tables(&self, base: &Path) -> Result<Vec<(Option<usize>, Table)>, TrainError> {
        let folder = self.folder.as_ref().map_or(base.to_path_buf(), |f| base.join(f));
        let first = self.table(&folder.join(&self.file), &folder, 0)?;
        let width = first.names().len() - 1;
        let mut all = vec![(None, first)];
        for (split, file) in [(1, &self.validation_file), (2, &self.test_file)] {
            if let Some(file) = file {
                all.push((Some(split), self.table(&folder.join(file), &folder, width)?));
            }
        }
        Ok(all)
    }
    fn table(&self, path: &Path, folder: &Path, width: usize) -> Result<Table, TrainError> {
        let Some(labels) = &self.labels else { return Ok(Table::open(path, width)?) };
        let images = Images::open(path, &folder.join(labels))?;
        let names = std::iter::once("label".into()).chain((1..=images.pixels).map(|i| i.to_string()));
        let mut values = Vec::with_capacity(images.data.len() + images.len());
        for (label, pixels) in images.labels.iter().zip(images.data.chunks_exact(images.pixels.max(1))) {
            values.push(*label);
            values.extend_from_slice(pixels);
        }
        Ok(Table::from_bytes(&path.display().to_string(), names.collect(), values)?)
    }
    /// Weights of the classes, in their order.
    fn class_weights(&self, names: &[String], trained: &[usize]) -> Result<Vec<f64>, TrainError> {
        let known = names.join(", ");
        match &self.class_weight {
            None => Ok(vec![1.0; names.len()]),
            Some(ClassWeight::Named(_)) => Ok((0..names.len())
                .map(|c| trained.iter().filter(|k| **k == c).count())
                // A class without rows to train on has no weight that matters.
                .map(|n| trained.len() as f64 / (names.len() * n.max(1)) as f64)
                .collect()),
            Some(ClassWeight::Given(given)) => {
                if let Some(name) = given.keys().find(|k| !names.contains(k)) {
                    let what = format!("task.class_weight: there is no class {name:?}; there are {known}");
                    return Err(TrainError::config(what));
                }
                Ok(names.iter().map(|n| given.get(n).copied().unwrap_or(1.0)).collect())
            }
        }
    }
}

impl SupervisedConfig {
    /// What the optimizer needs beyond the gradient only a perceptron gives, and residuals only a loss that is bounded below.
    fn check_optimizer(&self, run: &Config) -> Result<(), TrainError> {
        let (kind, needs) = (run.optimizer.kind(), run.optimizer.needs());
        let what = match needs {
            Needs::Gradient => return Ok(()),
            Needs::Residuals => "residuals row by row",
            Needs::LayerInputs => "the inputs of layers",
        };
        if self.model != ModelKind::Mlp {
            return Err(TrainError::config(format!(
                "optimizer.kind = {kind:?} needs {what}, which task.model = \"ode\" does not give: choose \"mlp\" or another optimizer"
            )));
        }
        if needs == Needs::Residuals && self.loss == Some(LossKind::Gaussian) {
            return Err(TrainError::config(format!(
                "optimizer.kind = {kind:?} needs residuals, which task.loss = \"gaussian\" does not have, as it has no least value: choose another loss or optimizer"
            )));
        }
        Ok(())
    }
}

impl Recipe for SupervisedConfig {
    fn gives(&self, _: Needs) -> bool {
        self.model == ModelKind::Mlp
    }
    fn check(&self, run: &Config) -> Result<(), TrainError> {
        at_least(&[("piece", self.piece, 1)])?;
        self.shares()?;
        self.check_optimizer(run)?;
        if self.hidden.contains(&0) {
            return Err(TrainError::config("task.hidden has a layer of width 0"));
        }
        if self.target.list().is_empty() {
            return Err(TrainError::config("task.target is an empty list"));
        }
        if self.folds == 1 || self.fold >= self.folds.max(1) {
            let (k, n) = (self.fold, self.folds);
            return Err(TrainError::config(format!(
                "task.fold is {k} of {n} folds: two folds at least, counted from 0"
            )));
        }
        if self.folds > 0 && (self.test.is_some() || self.test_file.is_some()) {
            return Err(TrainError::config(
                "task.folds and task.test exclude each other: test rows are a fold",
            ));
        }
        if self.model == ModelKind::Mlp {
            let unused = if !run.penalties.is_empty() { "[[penalty]]" } else { "task.augment" };
            if !run.penalties.is_empty() || self.augment > 0 {
                return Err(TrainError::config(format!("{unused} needs model = \"ode\"")));
            }
        } else if run.solver.steer >= 1.0 {
            let what = format!("solver.steer is {}, it must be below 1 here", run.solver.steer);
            return Err(TrainError::config(what));
        }
        match &self.class_weight {
            Some(ClassWeight::Named(name)) if name != "balanced" => {
                let what = format!(
                    "task.class_weight is {name:?}, expected \"balanced\" or a table of weights by class"
                );
                return Err(TrainError::config(what));
            }
            Some(ClassWeight::Given(given)) if given.values().any(|w| !(*w >= 0.0 && w.is_finite())) => {
                return Err(TrainError::config("task.class_weight: weights must be at least zero"));
            }
            _ => {}
        }
        // Constants are checked before the file is read; of the sizes only the data know.
        let loss = StandardLoss::new(LossKind::Squared, 1)?;
        loss.with_delta(self.delta)?.with_quantiles(&self.quantiles).map(|_| ())
    }
    fn need(&self, run: &Config) -> Need {
        // How many columns there are is in the file.
        let mut from = 1.0;
        let mut parameters = 0.0;
        for width in &self.hidden {
            parameters += layer(from, *width as f64);
            from = *width as f64;
        }
        Need { parameters: parameters + self.augment as f64, states: run.train.batch as f64, bytes: 0.0 }
    }
    fn build<T: Scalar>(&self, run: &Config, base: &Path) -> Result<Box<dyn Task<T>>, TrainError> {
        let tables = self.tables(base)?;
        let options = self.encoder();
        let table = &tables[0].1;
        let classes = Encoder::classes(table, &options)?;
        let (validation, test) = self.shares()?;
        let (n, strata) = (table.rows(), classes.as_deref());
        let mut splits = if self.folds > 0 {
            if self.folds > n {
                let what = format!("task.folds is {}, the file has {n} rows", self.folds);
                return Err(TrainError::config(what));
            }
            fold(n, strata, (self.fold, self.folds), validation, self.split_seed)
        } else {
            split(n, strata, (validation, test), self.split_seed)
        };
        let encoder = Encoder::fit(table, &splits[0], &options)?;
        let all: usize = tables.iter().map(|t| t.1.rows()).sum();
        let bytes = size_of::<T>() as f64 * all as f64 * (encoder.width() as f64 + 1.0);
        if bytes > main_memory() {
            let what =
                format!("{all} rows of {} inputs do not fit into this machine's memory", encoder.width());
            return Err(TrainError::config(what));
        }
        let (mut x, mut y, mut weights) = (vec![], vec![], vec![]);
        for (split, table) in &tables {
            if let Some(split) = split {
                let first = weights.len();
                splits[*split] = (first..first + table.rows()).collect();
            }
            let rows: Vec<usize> = (0..table.rows()).collect();
            for rows in rows.chunks(1024) {
                x.extend(encoder.inputs(table, rows)?.into_iter().map(T::of));
                y.extend(encoder.targets(table, rows)?.into_iter().map(T::of));
                weights.extend(encoder.weights(table, rows)?);
            }
        }
        let loss = self.loss(encoder.target())?;
        if loss.standard().kind() == LossKind::Poisson && y.iter().any(|y| *y < T::ZERO) {
            return Err(TrainError::config("the Poisson loss is for counts: the target has negative values"));
        }
        match loss.classes() {
            Some((_, names)) => {
                let class = |r: &usize| y[*r].f64() as usize;
                let of = self.class_weights(names, &splits[0].iter().map(class).collect::<Vec<_>>())?;
                weights.iter_mut().zip(&y).for_each(|(w, y)| *w *= of[y.f64() as usize]);
            }
            None if self.class_weight.is_some() => {
                return Err(TrainError::config(
                    "task.class_weight: the target is numbers, there are no classes",
                ));
            }
            None => {}
        }
        let shape = self.shape();
        let (inputs, outputs) = (encoder.width(), loss.standard().outputs());
        let model = shape.build(inputs, outputs, &run.solver, &run.penalties)?;
        let source = Memory::new((inputs, loss.standard().targets()), x, y)?
            .with_splits(splits)?
            .with_weights(weights)?;
        let solver = (shape.model == ModelKind::Ode).then(|| run.solver.clone());
        let recorded =
            Recorded { encoder, loss: loss.clone(), shape, solver, precision: run.train.precision };
        let note = serde_json::to_string(&recorded).map_err(|e| {
            TrainError::config(format!("what the table's columns are cannot be recorded: {e}"))
        })?;
        Ok(Box::new(Supervised::new(model, source, loss, run.train.batch)?.with_note(NOTE, note)))
    }
    fn folder(&mut self) -> Option<&mut Option<String>> {
        Some(&mut self.folder)
    }
    fn set_fold(&mut self, fold: usize, folds: usize) -> bool {
        // A test file or share gives way to the folds.
        (self.fold, self.folds, self.test, self.test_file) = (fold, folds, None, None);
        true
    }
}
