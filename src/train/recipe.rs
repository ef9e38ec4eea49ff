//! Kinds of tasks: a new one is one file, with a [`Recipe`], and one row of the list at the end of this one.

use std::any::{Any, TypeId};
use std::fmt::Debug;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::error::TrainError;
use super::optim::Needs;
use super::task::Task;
use crate::linalg::Scalar;

/// What a run needs at least: numbers of its precision, and bytes of data and times.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Need {
    /// Parameters.
    pub parameters: f64,
    /// States of one batch, with the saved ones.
    pub states: f64,
    /// Bytes of data.
    pub bytes: f64,
}

/// What a task's `[task]` section holds, and how the task is made of it.
pub trait Recipe: Debug + Clone + PartialEq + Serialize + DeserializeOwned {
    /// Everything that can be wrong without looking at data.
    ///
    /// # Errors
    /// One sentence that names the key, its value, and what was expected.
    fn check(&self, run: &Config) -> Result<(), TrainError>;
    /// A lower bound on what it needs, so that absurd sizes are refused before anything is allocated.
    fn need(&self, run: &Config) -> Need;
    /// The task; relative paths start at `base`.
    fn build<T: Scalar>(&self, run: &Config, base: &Path) -> Result<Box<dyn Task<T>>, TrainError>;
    /// Whether it solves stochastic differential equations.
    fn is_stochastic(&self) -> bool {
        false
    }
    /// Whether the solver may be one for stiff equations.
    fn takes_stiff_methods(&self) -> bool {
        false
    }
    /// Whether its tasks give what an optimizer needs; all give the gradient.
    fn gives(&self, needs: Needs) -> bool {
        needs == Needs::Gradient
    }
    /// Whether evaluations give another loss than the one trained, as the mean squared error in place of a likelihood.
    fn validates_by_another_loss(&self) -> bool {
        false
    }
    /// The folder of its data files, if it reads any.
    fn folder(&mut self) -> Option<&mut Option<String>> {
        None
    }
    /// Takes the rows of one of several folds, counted from 0, for tests; false if the task has no rows to fold.
    fn set_fold(&mut self, fold: usize, folds: usize) -> bool {
        let _ = (fold, folds);
        false
    }
    /// What a step sees, in tables.
    fn step(&self, run: &Config) -> String {
        format!("batch {}", run.train.batch)
    }
}

/// The first of (key, value, least value) whose value is too small.
pub(super) fn at_least(numbers: &[(&str, usize, usize)]) -> Result<(), TrainError> {
    match numbers.iter().find(|(_, v, least)| v < least) {
        Some((name, v, least)) => {
            Err(TrainError::config(format!("task.{name} is {v}, it must be at least {least}")))
        }
        None => Ok(()),
    }
}

/// A number that must be positive.
pub(super) fn positive(name: &str, v: f64) -> Result<(), TrainError> {
    if v > 0.0 && v.is_finite() {
        return Ok(());
    }
    Err(TrainError::config(format!("task.{name} is {v}, it must be positive")))
}

/// Samples kept for validation are fewer than those to train.
pub(super) fn kept(validation: usize, train: usize) -> Result<(), TrainError> {
    if validation < train {
        return Ok(());
    }
    let what = format!("task.validation is {validation}, it must be less than task.train, {train}");
    Err(TrainError::config(what))
}

macro_rules! recipes {
    ($($(#[$doc:meta])* $kind:ident($recipe:ty),)*) => {
        /// What is learned: one variant a kind.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum TaskConfig {
            $($(#[$doc])* $kind($recipe),)*
        }

        $(impl From<$recipe> for TaskConfig {
            fn from(recipe: $recipe) -> Self {
                Self::$kind(recipe)
            }
        })*

        /// `$body` for the recipe `$r` of a configuration.
        macro_rules! each {
            ($task:expr, $r:ident => $body:expr) => {
                match $task {
                    $(TaskConfig::$kind($r) => $body,)*
                }
            };
        }
    };
}

recipes! {
    /// A spiral, learned by du/dt = W2 tanh(W1 u^3 + b1) + b2.
    SpiralOde(super::spiral::SpiralOdeConfig),
    /// Digits classified by a neural ODE and a linear head.
    MnistOde(super::mnist::MnistOdeConfig),
    /// The spiral with noise, fitted to means and variances.
    SpiralSde(super::spiral_sde::SpiralSdeConfig),
    /// Digits by a neural SDE between two linear maps.
    MnistSde(super::mnist_sde::MnistSdeConfig),
    /// Irregular series through a recurrent encoder, a neural ODE and a linear decoder.
    LatentOde(super::latent::LatentOdeConfig),
    /// Columns of a table from the others.
    Supervised(super::supervised::SupervisedConfig),
    /// Series of states by a differential equation.
    Series(super::trajectories::SeriesConfig),
}

impl TaskConfig {
    /// [`Recipe::check`].
    pub fn check(&self, run: &Config) -> Result<(), TrainError> {
        each!(self, r => r.check(run))
    }
    /// [`Recipe::need`].
    pub fn need(&self, run: &Config) -> Need {
        each!(self, r => r.need(run))
    }
    /// [`Recipe::is_stochastic`].
    pub fn is_stochastic(&self) -> bool {
        each!(self, r => r.is_stochastic())
    }
    /// [`Recipe::takes_stiff_methods`].
    pub fn takes_stiff_methods(&self) -> bool {
        each!(self, r => r.takes_stiff_methods())
    }
    /// [`Recipe::gives`].
    pub fn gives(&self, needs: Needs) -> bool {
        each!(self, r => r.gives(needs))
    }
    /// [`Recipe::validates_by_another_loss`].
    pub fn validates_by_another_loss(&self) -> bool {
        each!(self, r => r.validates_by_another_loss())
    }
    /// [`Recipe::folder`].
    pub fn folder(&mut self) -> Option<&mut Option<String>> {
        each!(self, r => r.folder())
    }
    /// [`Recipe::set_fold`].
    pub fn set_fold(&mut self, fold: usize, folds: usize) -> bool {
        each!(self, r => r.set_fold(fold, folds))
    }
    /// [`Recipe::step`].
    pub fn step(&self, run: &Config) -> String {
        each!(self, r => r.step(run))
    }
}

impl Config {
    /// The task that this configuration describes; relative paths start at `base`.
    ///
    /// # Errors
    /// A file cannot be read, or sizes do not fit.
    pub fn build<T: Scalar>(&self, base: &Path) -> Result<Box<dyn Task<T>>, TrainError> {
        // Both precisions are compiled here, not again by every caller.
        let task: Box<dyn Any> = if TypeId::of::<T>() == TypeId::of::<f32>() {
            Box::new(self.build_single(base)?)
        } else {
            Box::new(self.build_double(base)?)
        };
        let task = task.downcast::<Box<dyn Task<T>>>();
        task.map(|task| *task).map_err(|_| TrainError::config("numbers are f32 or f64"))
    }

    fn build_single(&self, base: &Path) -> Result<Box<dyn Task<f32>>, TrainError> {
        each!(&self.task, r => r.build(self, base))
    }

    fn build_double(&self, base: &Path) -> Result<Box<dyn Task<f64>>, TrainError> {
        each!(&self.task, r => r.build(self, base))
    }
}
