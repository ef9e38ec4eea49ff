//! Configuration of a training run: what a TOML file holds. Unknown keys are errors.

use serde::{Deserialize, Serialize};

use super::any_method::AnyMethod;
use super::error::TrainError;
use super::optim::{Needs, OptimizerConfig};
use super::penalty::{Penalty, Scope};
pub use super::recipe::TaskConfig;
use super::schedule::Schedule;
use super::watched::DiagnoseConfig;
use crate::adjoint::Memory;
use crate::ode::{Options, RosenbrockTableau, Tableau};
use crate::sde::{SOSRI, SOSRI2, SRIW1, SdeMethod};

/// Everything about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is learned.
    pub task: TaskConfig,
    /// How the differential equation is solved.
    #[serde(default)]
    pub solver: SolverConfig,
    /// Length of training, batches, checkpoints.
    pub train: TrainConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// Penalties added to the loss; default none.
    #[serde(default, rename = "penalty")]
    pub penalties: Vec<Penalty>,
    /// Named alternatives to `penalty` and `solver.steer`, for comparisons; default none.
    #[serde(default, rename = "variant")]
    pub variants: Vec<Variant>,
    /// What is measured along the run; the run itself stays the same. Default nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnose: Option<DiagnoseConfig>,
}

/// An alternative set of penalties.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name, in tables.
    pub name: String,
    /// In place of the configuration's penalties; default none.
    #[serde(default, rename = "penalty")]
    pub penalties: Vec<Penalty>,
    /// In place of `solver.steer`; default 0.
    #[serde(default)]
    pub steer: f64,
}

/// How the differential equation is solved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SolverConfig {
    /// bs32, dp54, tsit54, bs54, vern76, dop853 or vern87; default tsit54; for series also rodas3p, rodas4, rodas5p, auto. For stochastic tasks sosri, sosri2, sriw1; default sosri.
    pub method: Option<String>,
    /// Relative tolerance; default 1.4e-8, for stochastic tasks 0.14: those of the 2021 paper's classifications.
    pub rtol: Option<f64>,
    /// Absolute tolerance; default as for `rtol`.
    pub atol: Option<f64>,
    /// Limit on attempted steps; default 10000.
    pub max_steps: u64,
    /// What is stored for the reverse sweep: "stages" (fastest), "states", { every = K } (every K-th state) or
    /// { checkpoints = N } (at most N states); gradients have the same bits. Default "stages".
    pub memory: MemoryConfig,
    /// STEER (Ghosh et al. 2020): the end time of a training pass is uniform in end +- steer; where states are saved, each save time
    /// is moved by up to `steer` half intervals instead, at most 1, and compared with the data of the unmoved one. Evaluations take the true times.
    /// Default 0.
    pub steer: f64,
    /// Record the stiffness estimate of every step even if no penalty needs it; default true.
    pub record_stiffness: bool,
}

impl Default for SolverConfig {
    fn default() -> Self {
        Self {
            method: None,
            rtol: None,
            atol: None,
            max_steps: 10_000,
            memory: MemoryConfig::Stages,
            steer: 0.0,
            record_stiffness: true,
        }
    }
}

/// What is stored of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryConfig {
    /// States and stages.
    Stages,
    /// States.
    States,
    /// Every K-th state.
    Every(usize),
    /// At most so many states.
    Checkpoints(usize),
}

impl SolverConfig {
    /// The method by name.
    pub fn tableau(&self) -> Result<&'static Tableau, TrainError> {
        named(self.method.as_deref().unwrap_or("tsit54"), &Tableau::all(), |t| t.name)
    }
    /// The method by name, one for stiff equations or "auto" among them.
    pub fn any_method(&self) -> Result<AnyMethod, TrainError> {
        let name = self.method.as_deref().unwrap_or("tsit54");
        if name == "auto" {
            return Ok(AnyMethod::Auto);
        }
        if let Some(method) = RosenbrockTableau::by_name(name) {
            return Ok(AnyMethod::Stiff(method));
        }
        self.tableau().map(AnyMethod::Explicit).map_err(|e| {
            let names = RosenbrockTableau::all().map(|m| m.name);
            TrainError::config(format!("{e}, {}, auto", names.join(", ")))
        })
    }
    /// The stochastic method by name; those for diagonal noise that estimate their error.
    pub fn sde_method(&self) -> Result<&'static SdeMethod, TrainError> {
        named(self.method.as_deref().unwrap_or("sosri"), &[&SOSRI, &SOSRI2, &SRIW1], |m| m.name)
    }
    /// Relative and absolute tolerance.
    pub fn tolerances(&self, stochastic: bool) -> (f64, f64) {
        let default = if stochastic { 0.14 } else { 1.4e-8 };
        (self.rtol.unwrap_or(default), self.atol.unwrap_or(default))
    }
    /// For the stochastic integrator.
    pub fn sde_options(&self) -> Options {
        let (rtol, atol) = self.tolerances(true);
        Options { max_steps: self.max_steps, ..Options::noisy().with_tolerances(rtol, atol) }
    }
    /// For the integrator.
    pub fn options(&self) -> Options {
        let (rtol, atol) = self.tolerances(false);
        Options { max_steps: self.max_steps, ..Options::tolerances(rtol, atol) }
    }
    /// For the tape.
    pub fn memory(&self) -> Memory {
        match self.memory {
            MemoryConfig::Stages => Memory::Stages,
            MemoryConfig::States => Memory::States,
            MemoryConfig::Every(k) => Memory::Every(k),
            MemoryConfig::Checkpoints(n) => Memory::Checkpoints(n),
        }
    }
}

fn named<M>(
    name: &str,
    all: &[&'static M],
    of: impl Fn(&M) -> &'static str,
) -> Result<&'static M, TrainError> {
    all.iter().copied().find(|m| of(m) == name).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|m| of(m)).collect();
        TrainError::config(format!("solver.method is {name:?}, it must be one of {}", names.join(", ")))
    })
}

/// Arithmetic of the whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single.
    F32,
    /// Double.
    F64,
}

/// Length of training, batches, checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Passes over the training data.
    pub epochs: u64,
    /// Samples a step; the last batch of an epoch may be smaller. Default 512.
    #[serde(default = "batch")]
    pub batch: usize,
    /// Learning rate.
    pub rate: Schedule,
    /// Micro-batches of a step: its samples are worked off in so many parts, whose gradients are averaged; less memory for the same step. Default 1.
    #[serde(default = "one_part")]
    pub accumulate: usize,
    /// Decay of an exponential average of the weights, in (0, 1): evaluated and saved in their place. Default none.
    #[serde(default)]
    pub average: Option<f64>,
    /// Largest norm of the gradient, longer ones are scaled down; default none.
    #[serde(default)]
    pub clip: Option<f64>,
    /// Seed of initial values, shuffling and all sampling; default 0.
    #[serde(default)]
    pub seed: u64,
    /// "f32" or "f64"; default "f32".
    #[serde(default = "single")]
    pub precision: Precision,
    /// Epochs between validations (if there are validation data); default 1.
    #[serde(default = "one")]
    pub validate_every: u64,
    /// Stop after so many validations without a better loss; default never.
    #[serde(default)]
    pub patience: Option<u64>,
    /// Which weights are evaluated and written at the end: "last" (default), or "best", those of the best validation. A run that stops early keeps the best.
    #[serde(default)]
    pub keep: Keep,
    /// File of weights to start from, relative to the configuration file; default random ones. Names and shapes must be the model's.
    #[serde(default)]
    pub start: Option<String>,
    /// Steps between checkpoints; default 100.
    #[serde(default = "hundred_steps")]
    pub checkpoint_every: u64,
    /// Threads; results do not depend on them. 0, the default: all.
    #[serde(default)]
    pub threads: usize,
}

/// Which weights a run ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// Those after the last step.
    #[default]
    Last,
    /// Those of the best validation.
    Best,
}

const MOST_THREADS: usize = 1024;

fn batch() -> usize {
    512
}
fn single() -> Precision {
    Precision::F32
}
fn one() -> u64 {
    1
}
fn one_part() -> usize {
    1
}
fn hundred_steps() -> u64 {
    100
}

impl TrainConfig {
    /// So many epochs at this rate, and the defaults.
    pub fn new(epochs: u64, rate: Schedule) -> Self {
        Self {
            epochs,
            batch: batch(),
            rate,
            accumulate: 1,
            average: None,
            clip: None,
            seed: 0,
            precision: single(),
            validate_every: one(),
            patience: None,
            keep: Keep::Last,
            start: None,
            checkpoint_every: hundred_steps(),
            threads: 0,
        }
    }
}

impl Config {
    /// Everything that can be wrong without looking at data.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.task.is_stochastic() {
            self.solver.sde_method()?;
        } else if self.task.takes_stiff_methods() {
            self.solver.any_method()?;
        } else {
            self.solver.tableau()?;
        }
        let t = &self.train;
        let positive = [
            ("train.epochs", t.epochs as usize),
            ("train.batch", t.batch),
            ("train.accumulate", t.accumulate),
            ("train.validate_every", t.validate_every as usize),
            ("train.checkpoint_every", t.checkpoint_every as usize),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, v)| *v == 0) {
            return Err(TrainError::config(format!("{name} is 0, it must be at least one")));
        }
        if let Some(clip) = t.clip.filter(|c| !(*c > 0.0 && c.is_finite())) {
            return Err(TrainError::config(format!("train.clip is {clip}, it must be positive")));
        }
        if let Some(average) = t.average.filter(|a| !(*a > 0.0 && *a < 1.0)) {
            return Err(TrainError::config(format!(
                "train.average is {average}, it must be above 0 and below 1"
            )));
        }
        let steer = self.solver.steer;
        if !(steer >= 0.0 && steer.is_finite()) {
            return Err(TrainError::config(format!("solver.steer is {steer}, it must be at least zero")));
        }
        // Beyond, save times could change places, or the end come before the start.
        if steer > 1.0 {
            return Err(TrainError::config(format!("solver.steer is {steer}, it must be at most 1 here")));
        }
        self.task.check(self)?;
        self.check_optimizer()?;
        super::size::check(self, super::size::main_memory())?;
        if t.threads > MOST_THREADS {
            let what = format!("train.threads is {}, it must be at most {MOST_THREADS}", t.threads);
            return Err(TrainError::config(what));
        }
        let problem = t.rate.problem("train.rate").or_else(|| self.optimizer.problem());
        let problem = problem.or_else(|| self.penalties.iter().find_map(Penalty::problem));
        let problem = problem.or_else(|| self.diagnose.as_ref().and_then(DiagnoseConfig::problem));
        if let Some(what) = problem.or_else(|| mixed_scopes(&self.penalties)) {
            return Err(TrainError::config(what));
        }
        for (i, v) in self.variants.iter().enumerate() {
            if v.name.contains(',') {
                let what =
                    format!("variant {:?}: names are listed with commas, so they must not hold one", v.name);
                return Err(TrainError::config(what));
            }
            if self.variants[..i].iter().any(|w| w.name == v.name) {
                return Err(TrainError::config(format!("variant {:?} is there twice", v.name)));
            }
            self.with_variant(&v.name)?.check()?;
        }
        Ok(())
    }
    /// What the optimizer needs is there.
    fn check_optimizer(&self) -> Result<(), TrainError> {
        let (kind, needs) = (self.optimizer.kind(), self.optimizer.needs());
        let what = match needs {
            Needs::Gradient => return Ok(()),
            Needs::Residuals => "residuals, such as those of a squared loss",
            Needs::LayerInputs => "the inputs of layers",
        };
        if !self.task.gives(needs) {
            return Err(TrainError::config(format!(
                "optimizer.kind = {kind:?} needs {what}, which this kind of task does not give: choose another optimizer"
            )));
        }
        if needs == Needs::Residuals && !self.penalties.is_empty() {
            return Err(TrainError::config(format!(
                "optimizer.kind = {kind:?} needs {what}, and penalties are none: leave out [[penalty]]"
            )));
        }
        if needs == Needs::Residuals && self.train.accumulate > 1 {
            return Err(TrainError::config(format!(
                "optimizer.kind = {kind:?} needs the residuals of the whole batch at once: train.accumulate is {}, it must be 1",
                self.train.accumulate
            )));
        }
        Ok(())
    }
    /// The configuration of a variant.
    pub fn with_variant(&self, name: &str) -> Result<Self, TrainError> {
        let Some(v) = self.variants.iter().find(|v| v.name == name) else {
            let names: Vec<_> = self.variants.iter().map(|v| v.name.as_str()).collect();
            let what = format!("there is no variant {name:?}; there are: {}", names.join(", "));
            return Err(TrainError::config(what));
        };
        let mut config = Self { penalties: v.penalties.clone(), variants: vec![], ..self.clone() };
        config.solver.steer = v.steer;
        Ok(config)
    }
}

/// One pass samples one step.
fn mixed_scopes(penalties: &[Penalty]) -> Option<String> {
    let local = |scope| penalties.iter().filter_map(|p| p.term()).any(|t| t.1 == scope);
    (local(Scope::LocalBiased) && local(Scope::LocalUnbiased))
        .then(|| "penalties: local_biased and local_unbiased exclude each other".to_string())
}
