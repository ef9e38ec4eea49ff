//! The configuration of `costate optimize`.

use std::path::Path;

use serde::Deserialize;

use costate::surrogate::SurrogateError;
use costate::surrogate::bayes_opt::Options;
use costate::surrogate::campaign::Settings;
use costate::surrogate::space::{Scale, Space, Variable};

use crate::cli::Failure;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Program and arguments; `{name}` stands for a variable's value.
    pub command: Vec<String>,
    /// Read the objective behind the last occurrence of this text.
    pub objective: Option<String>,
    /// Large is good.
    #[serde(default)]
    pub maximize: bool,
    /// Evaluations in all.
    #[serde(default = "fifty")]
    pub evaluations: usize,
    /// Side by side.
    #[serde(default = "one")]
    pub workers: usize,
    /// Seconds after which an evaluation has failed.
    pub time_limit: Option<f64>,
    /// Evaluations before the first model.
    pub initial: Option<usize>,
    /// Of everything random.
    #[serde(default)]
    pub seed: u64,
    /// At least one.
    #[serde(rename = "variable")]
    pub variables: Vec<VariableConfig>,
    /// Any number.
    #[serde(rename = "constraint", default)]
    pub constraints: Vec<ConstraintConfig>,
}

/// A variable.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariableConfig {
    /// As in the command.
    pub name: String,
    /// Smallest value.
    pub lower: f64,
    /// Largest value.
    pub upper: f64,
    /// How it moves.
    #[serde(default)]
    pub scale: ScaleConfig,
}

/// How a variable moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScaleConfig {
    /// A real number.
    #[default]
    Linear,
    /// A positive real number.
    Log,
    /// An integer.
    Integer,
}

/// A constraint lower <= c <= upper on a number of the output.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConstraintConfig {
    /// For messages.
    pub name: String,
    /// Read it behind the last occurrence of this text.
    pub read: Option<String>,
    /// Smallest value allowed.
    pub lower: Option<f64>,
    /// Largest value allowed.
    pub upper: Option<f64>,
}

fn fifty() -> usize {
    50
}
fn one() -> usize {
    1
}

/// Reads and checks a file.
pub fn read(path: &Path) -> Result<Config, Failure> {
    let wrong = |what: String| Failure(format!("{}: {what}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let config: Config = toml::from_str(&text).map_err(|e| {
        let line = e.span().map_or(1, |s| text[..s.start.min(text.len())].matches('\n').count() + 1);
        wrong(format!("line {line}: {}", e.message().split_whitespace().collect::<Vec<_>>().join(" ")))
    })?;
    config.check().map_err(wrong)?;
    Ok(config)
}

impl Config {
    fn check(&self) -> Result<(), String> {
        if self.command.is_empty() {
            return Err("command is empty, expected a program and its arguments".into());
        }
        if let Some(limit) = self.time_limit
            && !(limit > 0.0 && limit.is_finite())
        {
            return Err(format!("time_limit is {limit}, expected a positive number of seconds"));
        }
        for c in &self.constraints {
            if c.lower.is_none() && c.upper.is_none() {
                return Err(format!("constraint {}: expected lower, upper or both", c.name));
            }
        }
        let named = self.objective.is_some() || self.constraints.iter().any(|c| c.read.is_some());
        let all = self.objective.is_some() && self.constraints.iter().all(|c| c.read.is_some());
        if named && !all && !self.constraints.is_empty() {
            let what = "some numbers are read behind a text and others are not: give objective and every constraint's read, or none of them";
            return Err(what.into());
        }
        self.space().map_err(|e| e.to_string())?;
        Ok(())
    }
    /// The variables.
    pub fn space(&self) -> Result<Space, SurrogateError> {
        let variable = |v: &VariableConfig| Variable {
            name: v.name.clone(),
            lower: v.lower,
            upper: v.upper,
            scale: match v.scale {
                ScaleConfig::Linear => Scale::Linear,
                ScaleConfig::Log => Scale::Log,
                ScaleConfig::Integer => Scale::Integer,
            },
        };
        Space::new(self.variables.iter().map(variable).collect())
    }
    /// One for each bound of a constraint.
    fn limits(&self) -> usize {
        self.constraints.iter().map(|c| c.lower.is_some() as usize + c.upper.is_some() as usize).sum()
    }
    /// Of the search.
    pub fn options(&self) -> Options {
        Options { constraints: self.limits(), initial: self.initial, seed: self.seed, ..Options::default() }
    }
    /// Of its evaluations. The log belongs to the command and what is read of it.
    pub fn settings(&self) -> Settings {
        let label = format!("{:?} {:?} {:?}", self.command, self.objective, self.constraints);
        Settings { evaluations: self.evaluations, workers: self.workers, maximize: self.maximize, label }
    }
}
