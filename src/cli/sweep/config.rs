//! The `[sweep]` section of a training configuration, and the configurations it stands for.

use std::path::Path;

use serde::Deserialize;
use toml::de::{DeTable, Deserializer};
use toml::{Spanned, Value};

use costate::search::early_stop::{EarlyStopOptions, Regression, StopRule};
use costate::search::halving::Halving;
use costate::surrogate::space::{Scale, Space, Variable};
use costate::train::config::Keep;
use costate::train::{Config, Evaluation, Split};

use crate::cli::Failure;
use crate::cli::train::config::{explain, line};

/// Where the next configuration comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// All combinations.
    Grid,
    /// Uniform points.
    Random,
    /// Sobol points, scrambled.
    #[default]
    Sobol,
    /// Bayesian optimization.
    Bayes,
}

/// `[sweep]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepConfig {
    /// Default "sobol".
    #[serde(default)]
    pub method: Method,
    /// Trials in all; default 50, for a grid all of its points.
    pub trials: Option<usize>,
    /// So many are proposed together and know of those before only; default 4.
    #[serde(default = "four")]
    pub together: usize,
    /// Of the proposals; default 0.
    #[serde(default)]
    pub seed: u64,
    /// What is judged: "loss" (default), "accuracy", or a number of the evaluation by its name.
    #[serde(default = "loss")]
    pub metric: String,
    /// Whether it is to be large; default for all but the loss.
    pub maximize: Option<bool>,
    /// Whether predictions are made of its logarithm; default for a loss.
    pub logarithm: Option<bool>,
    /// Data it is measured on: "validation" (default) or "train".
    #[serde(default)]
    pub split: SplitConfig,
    /// Delta: runs that will not be the best are ended; default none are.
    pub stop_early: Option<f64>,
    /// Finished runs to learn from before any is ended; default 30.
    #[serde(default = "thirty")]
    pub burn_in: usize,
    /// Epochs before a run may be ended; default a tenth, at least 2.
    pub first: Option<usize>,
    /// Runs that may end up this far below the reference go on (decades of a loss); default 0.
    #[serde(default)]
    pub slack: f64,
    /// The reference is the n-th best finished run; default 1.
    #[serde(default = "one")]
    pub rank: usize,
    /// What predicts: "ridge" (default) or "svr".
    #[serde(default)]
    pub regression: RegressionConfig,
    /// Successive halving; default none.
    pub halving: Option<HalvingConfig>,
    /// At least one.
    #[serde(rename = "variable")]
    pub variables: Vec<Spanned<VariableConfig>>,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitConfig {
    /// The validation data.
    #[default]
    Validation,
    /// The data trained on.
    Train,
}

/// What predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RegressionConfig {
    /// Kernel ridge.
    #[default]
    Ridge,
    /// nu-SVR.
    Svr,
}

/// Rungs.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HalvingConfig {
    /// Epochs of the first rung.
    pub first: u64,
    /// Of so many runs one goes on; default 3.
    #[serde(default = "three")]
    pub factor: u64,
    /// Share of the runs of a rung that stop_early must let finish it; default 0.
    #[serde(default)]
    pub finish: f64,
}

/// `[[sweep.variable]]`: a key of the configuration, with a range or a list of values.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VariableConfig {
    /// The key, with dots: "train.rate", "penalty.0.weight".
    pub name: String,
    /// Smallest value.
    pub lower: Option<f64>,
    /// Largest value.
    pub upper: Option<f64>,
    /// How a range moves; default linear.
    #[serde(default)]
    pub scale: ScaleConfig,
    /// Values of a range in a grid; default 5.
    #[serde(default = "five")]
    pub points: usize,
    /// In place of a range: values of any type.
    pub values: Option<Vec<Value>>,
}

/// How a variable moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleConfig {
    /// A real number.
    #[default]
    Linear,
    /// A positive real number.
    Log,
    /// An integer.
    Integer,
    /// A positive integer whose orders of magnitude matter.
    LogInteger,
}

fn loss() -> String {
    "loss".into()
}
fn one() -> usize {
    1
}
fn three() -> u64 {
    3
}
fn four() -> usize {
    4
}
fn five() -> usize {
    5
}
fn thirty() -> usize {
    30
}

impl VariableConfig {
    /// As a variable of a box; values are numbered from 0.
    pub fn variable(&self) -> Result<Variable, String> {
        let name = &self.name;
        match (&self.values, self.lower, self.upper) {
            (Some(values), None, None) if values.len() >= 2 => {
                Ok(Variable::integer(name, 0, values.len() as i64 - 1))
            }
            (Some(_), None, None) => Err("values has fewer than two values".into()),
            (Some(_), ..) => Err("values and a range exclude each other".into()),
            (None, Some(lower), Some(upper)) => {
                let scale = match self.scale {
                    ScaleConfig::Linear => Scale::Linear,
                    ScaleConfig::Integer => Scale::Integer,
                    ScaleConfig::Log | ScaleConfig::LogInteger => Scale::Log,
                };
                if self.scale == ScaleConfig::LogInteger && (lower.fract() != 0.0 || upper.fract() != 0.0) {
                    return Err(format!(
                        "its bounds are {lower} and {upper}, an integer needs whole numbers"
                    ));
                }
                Ok(Variable { name: name.clone(), lower, upper, scale })
            }
            (None, ..) => Err("expected lower and upper, or values".into()),
        }
    }
    /// What is put into the configuration at a number of [`variable`](Self::variable).
    pub fn value(&self, x: f64) -> Value {
        match (&self.values, self.scale) {
            (Some(values), _) => values[(x.max(0.0) as usize).min(values.len() - 1)].clone(),
            (None, ScaleConfig::Linear | ScaleConfig::Log) => Value::Float(x),
            (None, ScaleConfig::Integer | ScaleConfig::LogInteger) => Value::Integer(x.round() as i64),
        }
    }
    /// Whether its axis is logarithmic.
    pub fn is_log(&self) -> bool {
        self.values.is_none() && matches!(self.scale, ScaleConfig::Log | ScaleConfig::LogInteger)
    }
}

/// A sweep, read and checked.
pub struct Sweep {
    /// The section.
    pub config: SweepConfig,
    /// The variables, in their order.
    pub variables: Vec<VariableConfig>,
    /// Their box.
    pub space: Space,
    /// The file without the section.
    base: toml::Table,
    /// Epochs of a whole run.
    pub epochs: u64,
    /// Which weights a run ends with.
    pub keep: Keep,
}

/// Only the section.
#[derive(Deserialize)]
struct Section {
    sweep: SweepConfig,
}

/// The keys that a sweep counts with.
const FIXED: [&str; 4] = ["train.epochs", "train.validate_every", "train.checkpoint_every", "train.keep"];

/// Puts a value at a key with dots.
fn set(table: &mut toml::Table, key: &str, value: Value) -> Result<(), String> {
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut at: Option<&mut Value> = None;
    for part in parts {
        let next = match at {
            None => table.entry(part).or_insert_with(|| Value::Table(toml::Table::new())),
            Some(Value::Table(t)) => t.entry(part).or_insert_with(|| Value::Table(toml::Table::new())),
            Some(Value::Array(a)) => {
                let place = part.parse::<usize>().ok().and_then(|i| a.get_mut(i));
                place.ok_or_else(|| format!("{part} is no place of the list before it"))?
            }
            Some(_) => return Err(format!("{part}: what is before it holds no keys")),
        };
        at = Some(next);
    }
    match at {
        Some(Value::Table(t)) => {
            t.insert(last.into(), value);
            Ok(())
        }
        Some(Value::Array(a)) => match last.parse::<usize>().ok().and_then(|i| a.get_mut(i)) {
            Some(place) => {
                *place = value;
                Ok(())
            }
            None => Err(format!("{last} is no place of the list before it")),
        },
        Some(_) => Err(format!("{last}: what is before it holds no keys")),
        None => Err("expected a section and a key, as train.rate".into()),
    }
}

impl Sweep {
    /// Reads and checks a file. Both ends of every range and all values must make valid configurations.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |what: String| Failure(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        Self::parse(&text).map_err(wrong)
    }
    fn parse(text: &str) -> Result<Self, String> {
        let explained = |e: toml::de::Error| explain(text, &e);
        let mut tree = DeTable::parse(text).map_err(explained)?;
        if !tree.get_ref().contains_key("sweep") {
            return Err("there is no [sweep]: its keys are in docs/sweep.md".into());
        }
        let config = toml::from_str::<Section>(text).map_err(explained)?.sweep;
        tree.get_mut().remove("sweep");
        // What is swept may be missing.
        if let Err(e) = Config::deserialize(Deserializer::from(tree))
            && !e.message().starts_with("missing field")
        {
            return Err(explained(e));
        }
        let mut base: toml::Table = toml::from_str(text).map_err(explained)?;
        base.remove("sweep");
        let at = |v: &Spanned<VariableConfig>| {
            format!("line {}: sweep.variable {}", line(text, v.span().start), v.get_ref().name)
        };
        let mut box_of = vec![];
        for v in &config.variables {
            if FIXED.contains(&v.get_ref().name.as_str()) {
                return Err(format!("{}: a sweep counts with this key, it cannot vary", at(v)));
            }
            let variable = v.get_ref().variable().map_err(|e| format!("{}: {e}", at(v)))?;
            Space::new(vec![variable.clone()]).map_err(|e| {
                format!(
                    "{}: {}",
                    at(v),
                    e.to_string().trim_start_matches(&format!("variable {}: ", variable.name))
                )
            })?;
            box_of.push(variable);
        }
        let space = Space::new(box_of).map_err(|e| format!("sweep: {e}"))?;
        let variables: Vec<VariableConfig> = config.variables.iter().map(|v| v.get_ref().clone()).collect();
        let mut sweep = Self { config, variables, space, base, epochs: 0, keep: Keep::Last };
        let lowest: Vec<f64> = sweep.space.variables().iter().map(|v| v.lower).collect();
        let train = sweep.at(&lowest).map_err(|e| sweep.blame(&lowest, &e, &at))?.train;
        (sweep.epochs, sweep.keep) = (train.epochs, train.keep);
        for (k, v) in sweep.config.variables.iter().enumerate() {
            let (lower, upper) = (sweep.space.variables()[k].lower, sweep.space.variables()[k].upper);
            let ends = match &v.get_ref().values {
                Some(values) => (0..values.len()).map(|i| i as f64).collect(),
                None => vec![lower, upper],
            };
            for x in ends {
                let mut point = lowest.clone();
                point[k] = x;
                sweep.at(&point).map_err(|e| format!("{} = {}: {e}", at(v), v.get_ref().value(x)))?;
            }
        }
        sweep.check()?;
        Ok(sweep)
    }
    /// What is wrong with the lowest point, with the variable whose upper end would be right, if there is one.
    fn blame(&self, lowest: &[f64], error: &str, at: &dyn Fn(&Spanned<VariableConfig>) -> String) -> String {
        for (k, v) in self.config.variables.iter().enumerate() {
            let mut point = lowest.to_vec();
            point[k] = self.space.variables()[k].upper;
            if self.at(&point).is_ok() {
                return format!("{} = {}: {error}", at(v), v.get_ref().value(lowest[k]));
            }
        }
        error.into()
    }
    fn check(&self) -> Result<(), String> {
        let c = &self.config;
        if c.trials == Some(0) || c.together == 0 {
            return Err("sweep: trials and together must be at least 1".into());
        }
        if c.halving.is_some() && c.method == Method::Bayes {
            let what = "sweep: method \"bayes\" learns from scores of whole runs: leave out halving, or choose another method";
            return Err(what.into());
        }
        if self.variables.iter().any(|v| v.points < 2) {
            return Err("sweep.variable: points must be at least 2".into());
        }
        self.halving().map_err(|e| format!("sweep.halving: {e}"))?;
        if let Some(options) = self.early_stop() {
            costate::search::early_stop::EarlyStop::new(options).map_err(|e| format!("sweep: {e}"))?;
        }
        Ok(())
    }

    /// The training configuration at a point.
    pub fn at(&self, point: &[f64]) -> Result<Config, String> {
        let table = self.table(point)?;
        let mut config = Config::deserialize(table)
            .map_err(|e| e.message().split_whitespace().collect::<Vec<_>>().join(" "))?;
        config.train.validate_every = 1;
        config.check().map_err(|e| e.to_string())?;
        Ok(config)
    }
    /// The file of it.
    pub fn table(&self, point: &[f64]) -> Result<toml::Table, String> {
        let mut table = self.base.clone();
        for (v, x) in self.variables.iter().zip(point) {
            set(&mut table, &v.name, v.value(*x)).map_err(|e| format!("{}: {e}", v.name))?;
        }
        Ok(table)
    }
    /// How many trials there are.
    pub fn trials(&self) -> usize {
        let grid = || self.levels().iter().map(Vec::len).fold(1usize, usize::saturating_mul);
        match self.config.method {
            Method::Grid => self.config.trials.unwrap_or(usize::MAX).min(grid()),
            _ => self.config.trials.unwrap_or(50),
        }
    }
    /// The values of every axis of a grid.
    pub fn levels(&self) -> Vec<Vec<f64>> {
        let mut all = vec![];
        for (k, (v, of)) in self.variables.iter().zip(self.space.variables()).enumerate() {
            let count = match (&v.values, of.scale) {
                (Some(values), _) => values.len(),
                (None, Scale::Integer) => ((of.upper - of.lower) as usize + 1).min(v.points),
                _ => v.points,
            };
            let mut unit = vec![0.5; self.variables.len()];
            let mut axis: Vec<f64> = vec![];
            for i in 0..count {
                unit[k] = i as f64 / (count - 1).max(1) as f64;
                let between = match of.scale {
                    Scale::Integer => (of.lower + unit[k] * (of.upper - of.lower)).round(),
                    _ => self.space.values(&unit)[k],
                };
                // Ends as they are written.
                let x = match i {
                    0 => of.lower,
                    i if i + 1 == count => of.upper,
                    _ if v.scale == ScaleConfig::LogInteger => between.round(),
                    _ => between,
                };
                if axis.last() != Some(&x) {
                    axis.push(x);
                }
            }
            all.push(axis);
        }
        all
    }
    /// Whether the metric is to be large.
    pub fn maximize(&self) -> bool {
        self.config.maximize.unwrap_or(self.config.metric != "loss")
    }
    /// The split that is judged.
    pub fn split(&self) -> Split {
        match self.config.split {
            SplitConfig::Validation => Split::Validation,
            SplitConfig::Train => Split::Train,
        }
    }
    /// The metric of an evaluation.
    pub fn metric(&self, e: &Evaluation) -> Option<f64> {
        match self.config.metric.as_str() {
            "loss" => Some(e.loss),
            "accuracy" => e.accuracy,
            name => e.metrics.get(name).copied(),
        }
    }
    /// Whether predictions are made of the logarithm.
    pub fn logarithm(&self) -> bool {
        self.config.logarithm.unwrap_or(self.config.metric == "loss") && !self.maximize()
    }
    /// Large is good; decades where the logarithm counts. What has none is NaN.
    pub fn score(&self, value: f64) -> f64 {
        match (self.logarithm(), self.maximize()) {
            (true, _) if value > 0.0 => -value.log10(),
            (true, _) => f64::NAN,
            (false, true) => value,
            (false, false) => -value,
        }
    }
    /// Of early stopping, if it is asked for.
    pub fn early_stop(&self) -> Option<EarlyStopOptions> {
        let c = &self.config;
        let epochs = self.epochs as usize;
        let regression = match c.regression {
            RegressionConfig::Ridge => Regression::KernelRidge,
            RegressionConfig::Svr => Regression::NuSvr { tries: 20, seed: c.seed },
        };
        let options = EarlyStopOptions::new(epochs);
        Some(EarlyStopOptions {
            first: c.first.unwrap_or(options.first),
            burn_in: c.burn_in,
            rule: StopRule { confidence: c.stop_early?, slack: c.slack, rank: c.rank },
            regression,
            ..options
        })
    }
    /// Of successive halving, if it is asked for.
    pub fn halving(&self) -> Result<Option<Halving>, costate::search::SearchError> {
        let made = |h: HalvingConfig| Halving::new(self.epochs, h.first, h.factor)?.with_finish(h.finish);
        self.config.halving.map(made).transpose()
    }
    /// Hyper-parameters as features: coordinates of ranges, one number for each of several values.
    pub fn features(&self, point: &[f64]) -> Vec<f64> {
        let units = self.space.units(point);
        let mut features = vec![];
        for ((v, x), u) in self.variables.iter().zip(point).zip(units) {
            match &v.values {
                Some(values) => {
                    features.extend((0..values.len()).map(|i| f64::from(u8::from(i as f64 == *x))))
                }
                None => features.push(u),
            }
        }
        features
    }
    /// What makes results what they are, as text.
    pub fn identity(&self) -> String {
        let mut config = self.config.clone();
        config.trials = None;
        // Places in the file do not matter.
        config.variables.clear();
        format!("{} {config:?} {:?}", self.base, self.variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"[task]
kind = "spiral_ode"
[train]
epochs = 10
[optimizer]
kind = "adam"
[[penalty]]
kind = "error"
weight = 1.0
[sweep]
[[sweep.variable]]
name = "train.rate"
lower = 1e-4
upper = 1e-1
scale = "log"
[[sweep.variable]]
name = "optimizer.kind"
values = ["adam", "lion", "adamw"]
[[sweep.variable]]
name = "task.hidden"
lower = 4
upper = 64
scale = "log_integer"
[[sweep.variable]]
name = "penalty.0.weight"
lower = 0.0
upper = 2.0
points = 3
"#;

    #[test]
    fn points_become_configurations() {
        let sweep = Sweep::parse(GOOD).unwrap_or_else(|e| panic!("{e}"));
        let config = sweep.at(&[1e-2, 1.0, 16.3, 0.5]).unwrap();
        assert_eq!(config.optimizer.kind(), "lion");
        assert_eq!(config.train.rate, costate::train::Schedule::constant(1e-2));
        let text = sweep.table(&[1e-2, 1.0, 16.3, 0.5]).unwrap().to_string();
        assert!(text.contains("hidden = 16\n") && text.contains("weight = 0.5\n"), "{text}");
        assert_eq!((sweep.epochs, sweep.trials()), (10, 50));
        assert_eq!(sweep.features(&[1e-2, 2.0, 16.0, 0.5]).len(), 1 + 3 + 1 + 1);
        let levels = sweep.levels();
        assert_eq!((levels[1].clone(), levels[3].clone()), (vec![0.0, 1.0, 2.0], vec![0.0, 1.0, 2.0]));
        assert!((levels[0][2] - 10f64.powf(-2.5)).abs() < 1e-12, "{levels:?}");
        assert_eq!(
            (levels[0][0], levels[0][4], levels[2].clone()),
            (1e-4, 1e-1, vec![4.0, 8.0, 16.0, 32.0, 64.0])
        );
        let grid = Sweep::parse(&GOOD.replace("[sweep]", "[sweep]\nmethod = \"grid\""))
            .unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(grid.trials(), 5 * 3 * 5 * 3);
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        for (from, to, want) in [
            ("[sweep]", "[sweep]\nmethod = \"sobl\"", "line 11: unknown variant `sobl`"),
            ("[sweep]", "[sweep]\ntrails = 3", "did you mean `trials`?"),
            ("lower = 1e-4", "lower = 0.0", "line 11: sweep.variable train.rate: its lower bound is 0"),
            ("lower = 1e-4", "lower = 1.0", "line 11: sweep.variable train.rate: its bounds are 1 and 0.1"),
            ("lower = 1e-4\n", "", "expected lower and upper, or values"),
            ("\"train.rate\"", "\"train.raet\"", "unknown field `raet`"),
            (
                "\"train.rate\"",
                "\"train.epochs\"",
                "line 11: sweep.variable train.epochs: a sweep counts with this key",
            ),
            (
                "\"lion\"",
                "\"lyon\"",
                "line 16: sweep.variable optimizer.kind = \"lyon\": unknown variant `lyon`",
            ),
            ("upper = 2.0", "upper = 2.0\nvalues = [1, 2]", "exclude each other"),
            ("penalty.0", "penalty.3", "3 is no place of the list"),
            ("epochs = 10", "epochs = 0", "train.epochs is 0"),
            ("epochs = 10", "epochs = 10\nbatsh = 3", "line 5: unknown field `batsh`"),
            ("[sweep]", "[sweep]\nstop_early = 2.0", "the confidence is 2"),
            ("[sweep]", "[sweep]\nhalving = { first = 20 }", "sweep.halving: successive halving from 20"),
            (
                "[sweep]",
                "[sweep]\nhalving = { first = 2, finish = 1.5 }",
                "sweep.halving: successive halving: 1.5 of a rung is to finish",
            ),
            ("[sweep]", "[sweep]\nmethod = \"bayes\"\nhalving = { first = 2 }", "leave out halving"),
            ("[sweep]", "[sweep]\ntrials = 0", "at least 1"),
            ("lower = 0.0\nupper = 2.0", "lower = -1.0\nupper = 2.0", "penalty.0.weight = -1.0: "),
        ] {
            let text = GOOD.replace(from, to);
            let Err(error) = Sweep::parse(&text) else { panic!("{to}") };
            assert!(error.contains(want) && !error.contains('\n'), "{to}: {error}");
        }
        assert!(Sweep::parse("[task]\nkind = 3\n").err().unwrap().contains("no [sweep]"));
    }

    /// The block of the documentation means the same without the keys that have defaults, and names all keys there are.
    #[test]
    fn documented_keys_and_examples() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(folder.join("docs/sweep.md")).unwrap();
        let block = text.split("```toml\n").nth(1).and_then(|b| b.split("```").next()).unwrap();
        let kept = |l: &&str| l.starts_with('[') || l.contains("# required");
        let least = block.lines().filter(kept).collect::<Vec<_>>().join("\n") + "\n";
        let section = |text: &str| toml::from_str::<Section>(text).unwrap_or_else(|e| panic!("{e}")).sweep;
        let plain = |c: SweepConfig| {
            let variables: Vec<VariableConfig> = c.variables.iter().map(|v| v.get_ref().clone()).collect();
            (format!("{:?}", SweepConfig { variables: vec![], ..c }), variables)
        };
        assert_eq!(plain(section(block)), plain(section(&least)));
        let all = "method trials together seed metric maximize logarithm split stop_early burn_in first slack rank regression halving name lower upper scale points values";
        for key in all.split(' ') {
            let named = |l: &str| l.trim_start_matches("# ").split(" = ").next() == Some(key);
            assert!(block.lines().any(named), "{key} is not documented");
        }
        // A key that is not in the list above is unknown, and says which there are.
        let error = section_error("[sweep]\nnonsense = 1\nvariable = []\n");
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert!(known.iter().all(|k| *k == "variable" || all.split(' ').any(|a| a == *k)), "{error}");
        Sweep::read(&folder.join("examples/sweep/spiral_ode.toml")).unwrap_or_else(|e| panic!("{}", e.0));
    }
    fn section_error(text: &str) -> String {
        toml::from_str::<Section>(text).err().map(|e| e.message().to_string()).unwrap_or_default()
    }

    #[test]
    fn scores_are_large_where_values_are_good() {
        let sweep = |more: &str| {
            Sweep::parse(&GOOD.replace("[sweep]", &format!("[sweep]\n{more}")))
                .unwrap_or_else(|e| panic!("{e}"))
        };
        let s = sweep("");
        assert_eq!((s.score(1e-3), s.score(f64::INFINITY)), (3.0, f64::NEG_INFINITY));
        assert!(s.score(f64::NAN).is_nan() && s.score(-1.0).is_nan());
        assert_eq!(sweep("logarithm = false").score(-2.0), 2.0);
        assert_eq!(sweep("metric = \"accuracy\"").score(0.5), 0.5);
        assert_eq!(sweep("metric = \"rmse\"\nmaximize = false").score(0.5), -0.5);
    }
}
